//! Challenges and credentials: WWW-Authenticate, Proxy-Authenticate, Authorization, Proxy-Authorization,
//! Authentication-Info (RFC 3261 section 20.7, RFC 7235).

use super::{Invalid, lex};
use std::borrow::Cow;

/// A scheme and comma-separated parameters. Unknown schemes parse too if they look alike.
#[derive(Copy, Clone, Debug)]
pub struct Auth<'a> {
    /// `Digest` as written; empty for Authentication-Info.
    pub scheme: &'a [u8],
    text: &'a [u8],
    params: [Param; MAX_PARAMS],
    count: u8,
}

/// Where name and value stand in the text: offset and length.
#[derive(Copy, Clone, Debug, Default)]
struct Param {
    name: (u16, u16),
    value: (u16, u16),
}

/// RFC 7616 knows 12 for credentials; extensions are rare.
const MAX_PARAMS: usize = 20;

impl<'a> Auth<'a> {
    /// Reads one header line. More than 20 parameters are an error.
    pub fn parse(value: &'a [u8]) -> Result<Auth<'a>, Invalid> {
        let (scheme, rest) = lex::need(lex::token(value), "no authentication scheme")?;
        if !rest.first().is_none_or(|&b| lex::is_lws(b)) {
            return Err(Invalid("broken authentication scheme"));
        }
        Ok(Auth {
            scheme,
            ..Auth::parse_info(rest)?
        })
    }

    /// Reads Authentication-Info, which has parameters only.
    pub fn parse_info(text: &'a [u8]) -> Result<Auth<'a>, Invalid> {
        if text.len() > usize::from(u16::MAX) {
            return Err(Invalid("authentication header over 64 KB"));
        }
        let mut auth = Auth {
            scheme: b"",
            text,
            params: [Param::default(); MAX_PARAMS],
            count: 0,
        };
        let mut rest = text;
        while let Some((name, value, after)) = step(rest)? {
            let place = auth.params.get_mut(usize::from(auth.count));
            let place = lex::need(place, "more than 20 authentication parameters")?;
            *place = Param {
                name: place_of(text, name),
                value: place_of(text, value),
            };
            auth.count += 1;
            rest = after;
        }
        Ok(auth)
    }

    /// True for the scheme we speak.
    #[must_use]
    pub fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case(b"Digest")
    }

    /// Name and value as written, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a, '_> {
        let text = self.text;
        let piece = move |(at, len): (u16, u16)| &text[usize::from(at)..][..usize::from(len)];
        let params = self.params[..usize::from(self.count)].iter();
        params.map(move |p| (piece(p.name), piece(p.value)))
    }

    /// The first value of that name as written, quotes kept.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, v)| v)
    }

    /// The first value of each of these names as written, in one walk.
    #[must_use]
    pub fn pick<const N: usize>(&self, names: [&str; N]) -> [Option<&'a [u8]>; N] {
        let mut picked = [None; N];
        for (name, value) in self.iter() {
            let place = names.iter().position(|n| n.as_bytes().eq_ignore_ascii_case(name));
            if let Some(place @ None) = place.and_then(|place| picked.get_mut(place)) {
                *place = Some(value);
            }
        }
        picked
    }

    /// The value of that name without quotes and escapes.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.get(name).map(lex::unquote)
    }
}

/// Both fit, since the text is below 64 KB.
#[allow(clippy::cast_possible_truncation)]
fn place_of(text: &[u8], piece: &[u8]) -> (u16, u16) {
    (
        (piece.as_ptr() as usize - text.as_ptr() as usize) as u16,
        piece.len() as u16,
    )
}

type Step<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// `name EQUAL value`, then a comma or the end.
fn step(input: &[u8]) -> Result<Option<Step<'_>>, Invalid> {
    let rest = lex::skip_lws(input);
    if rest.is_empty() {
        return Ok(None);
    }
    let (name, rest) = lex::need(lex::token(rest), "authentication parameter without name")?;
    let rest = lex::need(lex::separator(rest, b'='), "authentication parameter without '='")?;
    let (value, rest) = lex::need(lex::param_value(rest), "authentication parameter with a broken value")?;
    match lex::skip_lws(rest) {
        b"" => Ok(Some((name, value, b""))),
        [b',', rest @ ..] if !lex::skip_lws(rest).is_empty() => Ok(Some((name, value, rest))),
        _ => Err(Invalid("authentication parameters without a comma between")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_parameters_with_commas_inside_quotes() {
        let auth = Auth::parse(b"Digest username=\"bob\", qop=\"auth,auth-int\" , NC=00000001,\r\n uri=\"sip:a,b@c\"")
            .unwrap();
        assert!(auth.is_digest());
        assert_eq!(auth.text("qop").as_deref(), Some(&b"auth,auth-int"[..]));
        assert_eq!(auth.get("nc"), Some(&b"00000001"[..]));
        assert_eq!(auth.get("uri"), Some(&b"\"sip:a,b@c\""[..]));
        assert_eq!(auth.get("realm"), None);
        assert_eq!(
            auth.pick(["nc", "realm", "URI"]),
            [Some(&b"00000001"[..]), None, Some(&b"\"sip:a,b@c\""[..])]
        );
        let twice = Auth::parse(b"Digest nc=1, nc=2").unwrap();
        assert_eq!(twice.pick(["nc"]), [Some(&b"1"[..])]);
    }

    #[test]
    fn unknown_schemes_are_read_but_are_not_digest() {
        let auth = Auth::parse(b"SomethingElse opaque-data=here").unwrap();
        assert!(!auth.is_digest());
        assert_eq!(auth.get("opaque-data"), Some(&b"here"[..]));
    }

    #[test]
    fn refuses_broken_lists() {
        for text in [
            "",
            "Digest a",
            "Digest a=",
            "Digest a=b c=d",
            "Digest a=\"open",
            "Digest a=b,",
            "Digest ,a=b",
            "Digest,a=b",
        ] {
            assert!(Auth::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
