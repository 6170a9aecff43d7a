//! Text on its way into a URI, a header or a log line.

/// A From or To value: `"Name" <uri>`, or `<uri>` where there is no name.
#[must_use]
pub(crate) fn name_addr(name: &str, uri: &str) -> String {
    if name.is_empty() {
        return format!("<{uri}>");
    }
    let quoted = sip::header::quote(name.as_bytes());
    format!("{} <{uri}>", String::from_utf8_lossy(&quoted))
}

/// Name and number of `"Name" <number>`; a text of another form is a number without name.
#[must_use]
pub(crate) fn split_shown(shown: &str) -> (String, &str) {
    let Some((name, number)) = shown.strip_suffix('>').and_then(|shown| shown.rsplit_once('<')) else {
        return (String::new(), shown);
    };
    let quoted = name.trim().strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    let mut plain = String::new();
    let mut chars = quoted.unwrap_or_default().chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    (plain, number)
}

/// Appends a number in decimal.
pub(crate) fn push_number(text: &mut Vec<u8>, number: u64) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(b'0' + u8::try_from(number % 10).unwrap_or(0));
}

/// The alphabet of RFC 4648 section 5: all of it may stand in the user part of a URI as it is.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Bytes in that alphabet.
pub(crate) fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..=chunk.len() {
            text.push(DIGITS[(bits >> (18 - 6 * i)) as usize & 63]);
        }
    }
    text
}

/// What [`encode`] has made of it; the caller bounds its length.
pub(crate) fn decode(text: &[u8]) -> Option<smallvec::SmallVec<[u8; 64]>> {
    let mut bytes = smallvec::SmallVec::new();
    for chunk in text.chunks(4) {
        let mut bits = 0;
        for &digit in chunk {
            bits = bits << 6 | value(digit)?;
        }
        bits <<= 6 * (4 - chunk.len());
        let [_, first, second, third] = bits.to_be_bytes();
        bytes.extend([first, second, third].into_iter().take(chunk.len() * 3 / 4));
    }
    Some(bytes)
}

fn value(digit: u8) -> Option<u32> {
    let value = match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}

/// Longest display name passed on: no phone shows more.
const NAME_MAX: usize = 80;

/// A display name that can do no harm on a screen or in a log (GHSA-2grh-7mhv-fcfw): without control characters and the
/// marks that turn the direction of text, and of bounded length.
#[must_use]
pub(crate) fn printable(name: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    name.chars()
        .filter(|&c| !c.is_control() && !turns(c))
        .take(NAME_MAX)
        .collect()
}

/// Bytes from the wire for a log line: at most 128, what is not printable ASCII or could end a field replaced by `?`.
#[must_use]
pub(crate) fn loggable(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(128);
    shown
        .map(|&b| {
            if b.is_ascii_graphic() && b != b'"' && b != b'\\' {
                char::from(b)
            } else {
                '?'
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_name_stays_inside_its_quotes() {
        assert_eq!(name_addr("", "sip:a@b"), "<sip:a@b>");
        assert_eq!(
            name_addr("Kate \"K\" \\ \r\nLewis", "sip:a@b"),
            r#""Kate \"K\" \\ Lewis" <sip:a@b>"#
        );
    }

    #[test]
    fn what_is_shown_falls_into_name_and_number() {
        for (name, number) in [("Kate \"K\" \\ Lewis", "1000"), ("", "1000"), ("a <b>", "c")] {
            assert_eq!(split_shown(&name_addr(name, number)), (name.to_owned(), number));
        }
        assert_eq!(split_shown("9196"), (String::new(), "9196"));
    }

    #[test]
    fn numbers_are_written_as_format_writes_them() {
        for number in [0, 9, 10, 3_600, u64::MAX] {
            let mut text = Vec::new();
            push_number(&mut text, number);
            assert_eq!(text, number.to_string().as_bytes());
        }
    }

    #[test]
    fn a_log_line_cannot_be_forged() {
        assert_eq!(loggable(b"a\r\nSECURITY event=\"x\""), "a??SECURITY?event=?x?");
        assert_eq!(loggable(&[b'x'; 300]).len(), 128);
    }

    #[test]
    fn a_name_keeps_letters_of_all_scripts_and_loses_control_characters() {
        assert_eq!(printable("J\u{fc}rgen \u{5f20}"), "J\u{fc}rgen \u{5f20}");
        assert_eq!(printable("a\r\nX: y\u{0}\u{85}\u{202e}b"), "aX: yb");
        assert_eq!(printable(&"x".repeat(500)).len(), 80);
    }
}
