//! Tables for people: columns as wide as their widest cell, the last one as it comes.

/// Lines under a heading. No rows: only `empty`.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]], empty: &str) -> String {
    if rows.is_empty() {
        return empty.to_owned();
    }
    let wide = |column: usize| {
        let cells = rows.iter().map(|row| shown(&row[column]).chars().count());
        cells.chain([heading[column].len()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(wide);
    let heading = heading.map(ToOwned::to_owned);
    let lines: Vec<String> = std::iter::once(&heading)
        .chain(rows)
        .map(|row| line(row, &widths))
        .collect();
    lines.join("\n")
}

fn line<const N: usize>(row: &[String; N], widths: &[usize; N]) -> String {
    let cell = |(text, width): (&String, &usize)| format!("{:width$}", shown(text));
    let cells: Vec<String> = row.iter().zip(widths).map(cell).collect();
    cells.join("  ").trim_end().to_owned()
}

/// Names and User-Agents come from peers: a terminal must not obey them.
pub(crate) fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    match text {
        "" => "-".to_owned(),
        _ => text.chars().map(plain).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["1000", "Ägid"], ["100000", ""]].map(|row| row.map(ToOwned::to_owned));
        assert_eq!(
            table(["USER", "NAME"], &rows, "nobody"),
            "USER    NAME\n1000    Ägid\n100000  -"
        );
        assert_eq!(table(["USER", "NAME"], &[], "nobody"), "nobody");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(shown("a\u{1b}[31m\n"), "a\u{fffd}[31m\u{fffd}");
    }
}
