//! Replaces and Join (RFC 3891 section 6.1, RFC 3911).

use super::{Invalid, Params, lex};

/// Which dialog is meant.
#[derive(Copy, Clone, Debug)]
pub struct Replaces<'a> {
    /// Call-ID of that dialog.
    pub call_id: &'a [u8],
    /// Its tag at the receiver of this request.
    pub to_tag: &'a [u8],
    /// Its tag at the other side.
    pub from_tag: &'a [u8],
    /// Only if it is not answered yet.
    pub early_only: bool,
}

impl<'a> Replaces<'a> {
    /// Reads the value. Both tags must be there, once.
    pub fn parse(value: &'a [u8]) -> Result<Replaces<'a>, Invalid> {
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let (call_id, rest) = value.split_at(end);
        let call_id = lex::trim(call_id);
        if !lex::is_call_id(call_id) {
            return Err(Invalid("Replaces without a Call-ID"));
        }
        let params = Params::parse(rest)?;
        Ok(Replaces {
            call_id,
            to_tag: once(params, "to-tag")?,
            from_tag: once(params, "from-tag")?,
            early_only: params.has("early-only"),
        })
    }
}

fn once<'a>(params: Params<'a>, name: &str) -> Result<&'a [u8], Invalid> {
    let mut found = params.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
    match (found.next(), found.next()) {
        (Some((_, Some(tag))), None) => Ok(tag),
        _ => Err(Invalid("Replaces needs one to-tag and one from-tag")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_dialog() {
        let r = Replaces::parse(b"425928@bobster.example ;to-tag=7743;from-tag=6472;early-only").unwrap();
        assert_eq!(
            (r.call_id, r.to_tag, r.from_tag),
            (&b"425928@bobster.example"[..], &b"7743"[..], &b"6472"[..])
        );
        assert!(r.early_only);
    }

    #[test]
    fn both_tags_must_be_there_once() {
        for text in [
            "a;to-tag=1",
            "a;from-tag=1",
            "a;to-tag=1;from-tag=2;to-tag=3",
            "a;to-tag;from-tag=2",
            ";to-tag=1;from-tag=2",
        ] {
            assert!(Replaces::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
