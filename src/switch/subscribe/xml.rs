//! XML as state documents need it: text that cannot break out of its place.

use std::fmt::Write;

/// The first line of every document.
pub(super) const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n";

/// Text for an element or attribute in double quotes (XML 1.0 section 2.4). Characters that XML does not know
/// (section 2.2) become U+FFFD.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => out.push(c),
            _ => out.push('\u{fffd}'),
        }
    }
    out
}

/// ` name="value"`.
pub(super) fn attribute(out: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = write!(out, " {name}=\"{}\"", escaped(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_in_its_place() {
        let mut out = String::new();
        attribute(&mut out, "display", "\"><evil a='1'/>&\u{0}\u{1b}é");
        assert_eq!(out, " display=\"&quot;&gt;&lt;evil a='1'/&gt;&amp;\u{fffd}\u{fffd}é\"");
    }
}
