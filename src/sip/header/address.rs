//! Name and address with parameters: From, To, Contact, Route, Record-Route, Path, Refer-To, Referred-By,
//! P-Asserted-Identity, Diversion (RFC 3261 section 20.10).

use super::{Invalid, Params, lex};
use crate::Uri;
use memchr::memchr;

/// `[display-name] <uri>` or a bare `uri`, and parameters.
#[derive(Copy, Clone, Debug)]
pub struct NameAddr<'a> {
    /// As written, quotes kept; empty if there is none. See [`NameAddr::display_name`].
    pub display: &'a [u8],
    /// The URI as written, without `<>`. Its own syntax is checked by [`NameAddr::uri`].
    pub uri_bytes: &'a [u8],
    /// Header parameters. Those of a URI without `<>` belong to the header (section 20).
    pub params: Params<'a>,
    tag: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one value. The `*` of Contact is not one.
    pub fn parse(value: &'a [u8]) -> Result<NameAddr<'a>, Invalid> {
        let (display, rest) = display_name(value)?;
        let (uri_bytes, rest) = match rest.strip_prefix(b"<") {
            Some(inside) => {
                let end = lex::need(memchr(b'>', inside), "'<' without '>'")?;
                (&inside[..end], &inside[end + 1..])
            }
            None => bare_uri(rest)?,
        };
        if uri_bytes.is_empty() {
            return Err(Invalid("no URI"));
        }
        let (params, [tag]) = Params::parse_noting(rest, ["tag"])?;
        Ok(NameAddr {
            display,
            uri_bytes,
            params,
            tag: tag.unwrap_or_default(),
        })
    }

    /// From pieces that [`NameAddr::parse`] has read before.
    pub(crate) fn checked(display: &'a [u8], uri_bytes: &'a [u8], params: &'a [u8], tag: &'a [u8]) -> NameAddr<'a> {
        NameAddr {
            display,
            uri_bytes,
            params: Params::checked(params),
            tag,
        }
    }

    /// The URI, its syntax checked.
    pub fn uri(&self) -> Result<Uri<'a>, Invalid> {
        Uri::parse(self.uri_bytes)
    }

    /// The display name without quotes, escapes and control characters, as people may see it; bytes that are no UTF-8 are
    /// replaced.
    #[must_use]
    pub fn display_name(&self) -> String {
        String::from_utf8_lossy(&lex::unquote(self.display))
            .chars()
            .filter(|c| !c.is_control())
            .collect()
    }

    /// Tag of From and To; empty if there is none (RFC 2543).
    #[must_use]
    pub fn tag(&self) -> &'a [u8] {
        self.tag
    }

    /// Contact's `expires` in seconds; too large is the largest, broken is none (section 10.2.1.1).
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        self.params.get("expires").and_then(lex::seconds)
    }

    /// Contact's preference in thousandths, 0 to 1000; none if it is missing or broken.
    #[must_use]
    pub fn q(&self) -> Option<u16> {
        self.params.get("q").and_then(qvalue)
    }
}

/// Quoted, or tokens with spaces between; empty before `<` and before a bare URI. Bytes above ASCII are taken too: many
/// phones write names in UTF-8 without quotes.
fn display_name(value: &[u8]) -> Result<(&[u8], &[u8]), Invalid> {
    match value.first() {
        Some(b'<') => Ok((&[], value)),
        Some(b'"') => {
            let (name, rest) = lex::need(lex::quoted(value), "display name with an open quote")?;
            let rest = lex::skip_lws(rest);
            if rest.first() == Some(&b'<') {
                Ok((name, rest))
            } else {
                Err(Invalid("display name without '<'"))
            }
        }
        _ => {
            let words = value
                .iter()
                .position(|&b| !(lex::is_token(b) || lex::is_lws(b) || b >= 0x80));
            match words {
                Some(end) if value[end] == b'<' => Ok((lex::trim_end(&value[..end]), &value[end..])),
                _ => Ok((&[], value)),
            }
        }
    }
}

/// A URI without `<>` ends at `;` or white space and must hold none of `,`, `?` (section 20: it would need the brackets).
fn bare_uri(input: &[u8]) -> Result<(&[u8], &[u8]), Invalid> {
    let end = input
        .iter()
        .position(|&b| b == b';' || lex::is_lws(b))
        .unwrap_or(input.len());
    let (uri, rest) = input.split_at(end);
    if uri.iter().any(|b| matches!(b, b',' | b'?' | b'<' | b'>' | b'"')) {
        return Err(Invalid("URI that needs '<' and '>'"));
    }
    Ok((uri, rest))
}

/// `0`, `1`, `0.5`, `1.000` in thousandths.
fn qvalue(text: &[u8]) -> Option<u16> {
    let (whole, fraction) = match memchr(b'.', text) {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &[][..]),
    };
    if fraction.len() > 3 || !matches!(whole, b"0" | b"1" | b"") || text.is_empty() {
        return None;
    }
    let scale = [1000, 100, 10, 1][fraction.len()];
    let part = if fraction.is_empty() { 0 } else { lex::digits(fraction)? };
    let q = u64::from(whole == b"1") * 1000 + part * scale;
    u16::try_from(q).ok().filter(|&q| q <= 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> NameAddr<'_> {
        NameAddr::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn reads_quoted_plain_and_missing_display_names() {
        assert_eq!(
            read("\"Doe, \\\"J\\\"\" <sip:j@d.example>").display_name(),
            "Doe, \"J\""
        );
        assert_eq!(read("caller<sip:c@d.example>;tag=3").display_name(), "caller");
        assert_eq!(
            read("Jürgen von Wort <sip:c@d.example>").display_name(),
            "Jürgen von Wort"
        );
        assert_eq!(read("<sip:c@d.example>").display_name(), "");
        assert_eq!(read("sip:c@d.example").display, b"");
    }

    #[test]
    fn shown_names_hold_no_control_characters() {
        assert_eq!(read("\"a\\\u{7}b\\\0c\" <sip:x@y>").display_name(), "abc");
    }

    #[test]
    fn parameters_of_a_bare_uri_belong_to_the_header() {
        let bare = read("sip:+1972@gw.example;unknown;tag=x");
        assert_eq!((bare.uri_bytes, bare.tag()), (&b"sip:+1972@gw.example"[..], &b"x"[..]));
        let bracketed = read("<sip:+1972@gw.example;unknown>;tag = y ; q = 0.33;expires=60");
        assert_eq!(bracketed.uri_bytes, b"sip:+1972@gw.example;unknown");
        assert_eq!(
            (bracketed.tag(), bracketed.q(), bracketed.expires()),
            (&b"y"[..], Some(330), Some(60))
        );
    }

    #[test]
    fn refuses_what_is_ambiguous() {
        for text in [
            "",
            "\"open <sip:a@b>",
            "Bell, A <sip:a@b>",
            "<sip:a@b",
            "<>",
            "sip:a@b?Route=x",
            "\"a\"",
            "\"a\" sip:a@b",
        ]
        .into_iter()
        .chain(["<sip:a@b>;;", "<sip:a@b> x", "sip:a@b, sip:c@d"])
        {
            assert!(NameAddr::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn preference_is_in_thousandths() {
        for (text, q) in [
            ("1", Some(1000)),
            ("0.5", Some(500)),
            ("0.123", Some(123)),
            (".7", Some(700)),
            ("1.001", None),
        ]
        .into_iter()
        .chain([("0", Some(0)), ("2", None), ("0.1234", None), ("", None), ("x", None)])
        {
            assert_eq!(qvalue(text.as_bytes()), q, "{text}");
        }
    }
}
