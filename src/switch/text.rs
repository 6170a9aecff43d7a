//! Text on its way into a URI, a header or a log line.

/// A user name as the user part of a URI: everything outside `unreserved` and `user-unreserved` becomes `%XX`
/// (RFC 3261 section 25.1).
#[must_use]
pub(crate) fn escape_user(user: &str) -> std::borrow::Cow<'_, str> {
    if user.bytes().all(is_plain) {
        return user.into();
    }
    let mut escaped = String::with_capacity(user.len() + 8);
    for byte in user.bytes() {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped.into()
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte)
}

/// A From or To value: `"Name" <uri>`, or `<uri>` where there is no name.
#[must_use]
pub(crate) fn name_addr(name: &str, uri: &str) -> String {
    if name.is_empty() {
        return format!("<{uri}>");
    }
    let mut quoted = String::with_capacity(name.len() + uri.len() + 6);
    quoted.push('"');
    for c in name.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push_str("\" <");
    quoted.push_str(uri);
    quoted.push('>');
    quoted
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
    fn escapes_what_a_user_part_may_not_hold() {
        assert_eq!(escape_user("1001"), "1001");
        assert_eq!(escape_user("a b@c%\u{e9}"), "a%20b%40c%25%C3%A9");
    }

    #[test]
    fn a_display_name_stays_inside_its_quotes() {
        assert_eq!(name_addr("", "sip:a@b"), "<sip:a@b>");
        assert_eq!(
            name_addr("Kate \"K\" \\ \r\nLewis", "sip:a@b"),
            r#""Kate \"K\" \\ Lewis" <sip:a@b>"#
        );
    }

    #[test]
    fn a_log_line_cannot_be_forged() {
        assert_eq!(loggable(b"a\r\nSECURITY event=\"x\""), "a??SECURITY?event=?x?");
        assert_eq!(loggable(&[b'x'; 300]).len(), 128);
    }
}
