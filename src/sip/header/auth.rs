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
        let (scheme, rest) = scheme(value)?;
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
        walk(text, |name, value| {
            auth.params[usize::from(auth.count)] = Param {
                name: place_of(text, name),
                value: place_of(text, value),
            };
            auth.count += 1;
        })?;
        Ok(auth)
    }

    /// Reads one header line as [`Auth::parse`] does, for no more than its scheme and the first value of each of these
    /// names, as written.
    pub fn pick<const N: usize>(value: &'a [u8], names: [&str; N]) -> Result<Picked<'a, N>, Invalid> {
        let (scheme, rest) = scheme(value)?;
        let mut values = [None; N];
        walk(rest, |name, value| {
            // Nearly everyone writes them as the RFCs do.
            let place = names.iter().position(|n| n.as_bytes() == name);
            let place = place.or_else(|| names.iter().position(|n| n.as_bytes().eq_ignore_ascii_case(name)));
            if let Some(place @ None) = place.map(|place| &mut values[place]) {
                *place = Some(value);
            }
        })?;
        Ok(Picked { scheme, values })
    }

    /// True for the scheme we speak.
    #[must_use]
    pub fn is_digest(&self) -> bool {
        is_digest(self.scheme)
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

    /// The value of that name without quotes and escapes.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.get(name).map(lex::unquote)
    }
}

/// What [`Auth::pick`] finds.
#[derive(Copy, Clone, Debug)]
pub struct Picked<'a, const N: usize> {
    /// As in [`Auth`].
    pub scheme: &'a [u8],
    /// In the order of the names, quotes kept.
    pub values: [Option<&'a [u8]>; N],
}

impl<const N: usize> Picked<'_, N> {
    /// True for the scheme we speak.
    #[must_use]
    pub fn is_digest(&self) -> bool {
        is_digest(self.scheme)
    }
}

fn is_digest(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"Digest")
}

fn scheme(value: &[u8]) -> Result<(&[u8], &[u8]), Invalid> {
    let (scheme, rest) = lex::need(lex::token(value), "no authentication scheme")?;
    if !rest.first().is_none_or(|&b| lex::is_lws(b)) {
        return Err(Invalid("broken authentication scheme"));
    }
    Ok((scheme, rest))
}

/// Gives every name with its value, in order.
fn walk<'a>(text: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), Invalid> {
    let (mut rest, mut count) = (text, 0);
    while let Some((name, value, after)) = step(rest)? {
        if count == MAX_PARAMS {
            return Err(Invalid("more than 20 authentication parameters"));
        }
        each(name, value);
        (rest, count) = (after, count + 1);
    }
    Ok(())
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
    }

    #[test]
    fn the_first_value_of_a_name_is_picked_however_the_name_is_written() {
        let picked = Auth::pick(b"Digest NC=00000001, uri=\"sip:a,b@c\", nc=2", ["nc", "realm", "URI"]).unwrap();
        assert!(picked.is_digest());
        assert_eq!(
            picked.values,
            [Some(&b"00000001"[..]), None, Some(&b"\"sip:a,b@c\""[..])]
        );
        let many = |count: usize| format!("Digest {}", vec!["a=1"; count].join(","));
        assert!(Auth::pick(many(20).as_bytes(), ["a"]).is_ok());
        for text in [&many(21), "Digest a=b c=d", "Digest,a=b"] {
            assert!(Auth::pick(text.as_bytes(), ["a"]).is_err(), "{text}");
            assert!(Auth::parse(text.as_bytes()).is_err(), "{text}");
        }
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
