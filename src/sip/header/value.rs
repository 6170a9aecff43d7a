//! A value with parameters: Content-Type, Content-Disposition, Accept, Reason, Session-Expires, Alert-Info and the like.

use super::{Invalid, Params, lex};
use std::borrow::Cow;

/// `value *( ;name=value )`.
#[derive(Copy, Clone, Debug)]
pub struct Value<'a> {
    /// Up to the first `;`, trimmed: `application/sdp`, `SIP`, `session`.
    pub value: &'a [u8],
    /// The rest.
    pub params: Params<'a>,
}

impl<'a> Value<'a> {
    /// Reads one value.
    pub fn parse(value: &'a [u8]) -> Result<Value<'a>, Invalid> {
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let (head, rest) = value.split_at(end);
        let head = lex::trim(head);
        if head.is_empty() {
            return Err(Invalid("empty value"));
        }
        Ok(Value {
            value: head,
            params: Params::parse(rest)?,
        })
    }

    /// Compares the value without case; for media types white space around `/` is not taken into account.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        self.value.eq_ignore_ascii_case(text.as_bytes()) || self.is_spaced(text)
    }

    fn is_spaced(&self, text: &str) -> bool {
        let packed = self
            .value
            .iter()
            .filter(|&&b| !lex::is_lws(b))
            .map(u8::to_ascii_lowercase);
        self.value.contains(&b'/') && packed.eq(text.bytes().map(|b| b.to_ascii_lowercase()))
    }
}

/// One value of Reason (RFC 3326).
#[derive(Copy, Clone, Debug)]
pub struct Reason<'a>(Value<'a>);

impl<'a> Reason<'a> {
    /// Reads one value.
    pub fn parse(value: &'a [u8]) -> Result<Reason<'a>, Invalid> {
        Value::parse(value).map(Reason)
    }

    /// `SIP`, `Q.850`.
    #[must_use]
    pub fn protocol(&self) -> &'a [u8] {
        self.0.value
    }

    /// A SIP status or a Q.850 cause.
    #[must_use]
    pub fn cause(&self) -> Option<u32> {
        self.0.params.get("cause").and_then(lex::seconds)
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'a, [u8]>> {
        self.0.params.text("text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_compare_without_case_and_inner_space() {
        assert!(
            Value::parse(b"Application / SDP;charset=\"utf-8\"")
                .unwrap()
                .is("application/sdp")
        );
        assert!(!Value::parse(b"application/sdpx").unwrap().is("application/sdp"));
        assert!(Value::parse(b";x").is_err());
    }

    #[test]
    fn reads_a_reason() {
        let reason = Reason::parse(b"SIP ;cause=200 ;text=\"Call completed elsewhere\"").unwrap();
        assert_eq!((reason.protocol(), reason.cause()), (&b"SIP"[..], Some(200)));
        assert_eq!(reason.text().as_deref(), Some(&b"Call completed elsewhere"[..]));
    }
}
