//! CSeq (RFC 3261 section 20.16).

use super::{Invalid, lex};

/// Sequence number and method.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Below 2^31 (section 8.1.1.5).
    pub number: u32,
    /// Method token as written.
    pub method: &'a [u8],
}

impl<'a> CSeq<'a> {
    /// Reads the value.
    pub fn parse(value: &'a [u8]) -> Result<CSeq<'a>, Invalid> {
        let end = value.iter().position(|b| !b.is_ascii_digit()).unwrap_or(value.len());
        let number = lex::need(lex::digits(&value[..end]), "CSeq without a number")?;
        let number = lex::need(
            u32::try_from(number).ok().filter(|&n| n <= MAX),
            "CSeq number of 2^31 or more",
        )?;
        let rest = lex::skip_lws(&value[end..]);
        match lex::token(rest) {
            Some((method, b"")) if rest.len() < value.len() - end => Ok(CSeq { number, method }),
            _ => Err(Invalid("CSeq without a method")),
        }
    }
}

const MAX: u32 = i32::MAX as u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_number_and_method() {
        assert_eq!(
            CSeq::parse(b"0009\r\n  INVITE"),
            Ok(CSeq {
                number: 9,
                method: b"INVITE"
            })
        );
        assert_eq!(
            CSeq::parse(b"2147483647 X"),
            Ok(CSeq {
                number: MAX,
                method: b"X"
            })
        );
    }

    #[test]
    fn refuses_large_numbers_and_missing_parts() {
        for text in [
            "",
            "1",
            "INVITE",
            "1INVITE",
            "2147483648 INVITE",
            "36893488147419103232 X",
            "1 A B",
            "-1 X",
            "+1 X",
        ] {
            assert!(CSeq::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
