//! Retry-After (RFC 3261 section 20.33).

use super::{Invalid, Params, lex};

/// When a service may be asked again.
#[derive(Copy, Clone, Debug)]
pub struct RetryAfter<'a> {
    /// Wait so long; too large is the largest.
    pub seconds: u32,
    /// `duration`: how long it will then be there.
    pub params: Params<'a>,
}

impl<'a> RetryAfter<'a> {
    /// Reads the value; a comment in parentheses is skipped.
    pub fn parse(value: &'a [u8]) -> Result<RetryAfter<'a>, Invalid> {
        let end = value.iter().position(|b| !b.is_ascii_digit()).unwrap_or(value.len());
        let seconds = lex::need(lex::seconds(&value[..end]), "Retry-After without seconds")?;
        let rest = lex::need(
            skip_comment(lex::skip_lws(&value[end..])),
            "Retry-After with an open comment",
        )?;
        Ok(RetryAfter {
            seconds,
            params: Params::parse(rest)?,
        })
    }
}

/// Comments nest; counted, not recursed into.
fn skip_comment(input: &[u8]) -> Option<&[u8]> {
    if input.first() != Some(&b'(') {
        return Some(input);
    }
    let (mut depth, mut i) = (0u32, 0);
    loop {
        match input.get(i)? {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\\' => i += 1,
            _ => {}
        }
        i += 1;
        if depth == 0 {
            return input.get(i..);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_seconds_comment_and_duration() {
        let r = RetryAfter::parse(b"18000 (in a (long\\)) meeting) ;duration=3600").unwrap();
        assert_eq!((r.seconds, r.params.get("duration")), (18000, Some(&b"3600"[..])));
        assert_eq!(
            RetryAfter::parse(b"949302838503028349304023988").unwrap().seconds,
            u32::MAX
        );
    }

    #[test]
    fn refuses_open_comments_and_words() {
        assert!(RetryAfter::parse(b"5 (open").is_err());
        assert!(RetryAfter::parse(b"5 (open\\").is_err());
        assert!(RetryAfter::parse(b"soon").is_err());
    }
}
