//! Lists of tokens (Allow, Supported, Require) and plain numbers (Expires, Min-Expires, RSeq).

use super::{Invalid, lex};

/// The tokens of one line, in order; an empty line is an empty list, an empty place or anything but a token is an error.
pub fn tokens(line: &[u8]) -> impl Iterator<Item = Result<&[u8], Invalid>> {
    let empty = lex::trim(line).is_empty();
    lex::List::new(line).filter(move |_| !empty).map(|item| {
        let sound = !item.is_empty() && lex::token_len(item) == item.len();
        if sound {
            Ok(item)
        } else {
            Err(Invalid("list with something that is no token"))
        }
    })
}

/// A number of seconds, or another plain number up to 2^32-1; larger ones become that (RFC 4475 section 3.1.2.4).
pub fn delta_seconds(value: &[u8]) -> Result<u32, Invalid> {
    lex::need(lex::seconds(value), "not a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stand_between_commas() {
        let read = |line: &'static str| tokens(line.as_bytes()).collect::<Result<Vec<_>, _>>();
        assert_eq!(
            read("100rel, timer ,replaces"),
            Ok(vec![&b"100rel"[..], b"timer", b"replaces"])
        );
        assert_eq!(read(""), Ok(vec![]));
        assert!(read("a,,b").is_err());
        assert!(read("a b").is_err());
    }

    #[test]
    fn large_numbers_are_the_largest() {
        assert_eq!(delta_seconds(b"3600"), Ok(3600));
        assert_eq!(delta_seconds(b"10000000000000000000000000000000000"), Ok(u32::MAX));
        assert!(delta_seconds(b"-1").is_err());
        assert!(delta_seconds(b"1 2").is_err());
    }
}
