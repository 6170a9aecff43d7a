//! RAck (RFC 3262 section 7.2). RSeq is a plain number: [`delta_seconds`](super::delta_seconds).

use super::{CSeq, Invalid, lex};

/// Which reliable provisional response is acknowledged.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RAck<'a> {
    /// Its RSeq.
    pub rseq: u32,
    /// CSeq of the request it answered.
    pub cseq: CSeq<'a>,
}

impl<'a> RAck<'a> {
    /// Reads the value.
    pub fn parse(value: &'a [u8]) -> Result<RAck<'a>, Invalid> {
        let end = value.iter().position(|b| !b.is_ascii_digit()).unwrap_or(value.len());
        let number = lex::digits(&value[..end]).and_then(|n| u32::try_from(n).ok());
        let rseq = lex::need(number, "RAck without a number")?;
        Ok(RAck {
            rseq,
            cseq: CSeq::parse(lex::skip_lws(&value[end..]))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_three_parts() {
        let rack = RAck::parse(b"776656 1 INVITE").unwrap();
        assert_eq!(
            (rack.rseq, rack.cseq),
            (
                776656,
                CSeq {
                    number: 1,
                    method: b"INVITE"
                }
            )
        );
        assert!(RAck::parse(b"776656 INVITE").is_err());
        assert!(RAck::parse(b"4294967296 1 INVITE").is_err());
    }
}
