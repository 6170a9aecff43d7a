//! SIP URIs (RFC 3261 section 19.1) as spans of what was received. Comparison and keys: [`eq`](crate::uri_eq).

use crate::header::{Invalid, lex};
use memchr::{memchr, memchr2};
use std::borrow::Cow;
use std::net::IpAddr;

/// What kind of URI it is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:` (RFC 3966): the number is in [`Uri::user`], the host is empty.
    Tel,
    /// Any other: only [`Uri::as_bytes`] and [`Uri::scheme_bytes`] say anything.
    Other,
}

/// A URI whose syntax has been checked. Nothing is unescaped until asked.
#[derive(Copy, Clone, Debug)]
pub struct Uri<'a> {
    raw: &'a [u8],
    scheme: Scheme,
    user: Option<&'a [u8]>,
    password: Option<&'a [u8]>,
    host: &'a [u8],
    port: Option<u16>,
    params: UriParams<'a>,
    headers: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Reads a URI without `<>`. White space, control characters and broken escapes are errors.
    pub fn parse(raw: &'a [u8]) -> Result<Uri<'a>, Invalid> {
        match scheme(raw)? {
            (Scheme::Other, rest) if !rest.is_empty() && all(rest, OPAQUE) => Ok(Uri::empty(raw, Scheme::Other)),
            (Scheme::Tel, rest) => tel(raw, rest),
            (scheme @ (Scheme::Sip | Scheme::Sips), rest) => sip(raw, scheme, rest),
            _ => Err(Invalid("broken URI")),
        }
    }

    fn empty(raw: &'a [u8], scheme: Scheme) -> Uri<'a> {
        let (user, password, host, port) = (None, None, &raw[..0], None);
        Uri {
            raw,
            scheme,
            user,
            password,
            host,
            port,
            params: UriParams(&raw[..0]),
            headers: &raw[..0],
        }
    }

    /// As received.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// Kind.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Scheme as written.
    #[must_use]
    pub fn scheme_bytes(&self) -> &'a [u8] {
        &self.raw[..memchr(b':', self.raw).unwrap_or(0)]
    }

    /// True for `sip:` and `sips:`.
    #[must_use]
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// User part as written; the number of a `tel:`.
    #[must_use]
    pub fn user(&self) -> Option<&'a [u8]> {
        self.user
    }

    /// User part with its escapes undone: what it means (section 19.1.2). May hold any byte, NUL too.
    #[must_use]
    pub fn user_unescaped(&self) -> Option<Cow<'a, [u8]>> {
        self.user.map(unescape)
    }

    /// Password as written.
    #[must_use]
    pub fn password(&self) -> Option<&'a [u8]> {
        self.password
    }

    /// Host as written, an IPv6 address in its brackets; empty for other schemes than `sip:` and `sips:`.
    #[must_use]
    pub fn host(&self) -> &'a [u8] {
        self.host
    }

    /// Host as an address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        crate::header::ip(self.host)
    }

    /// Port, if given.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// URI parameters.
    #[must_use]
    pub fn params(&self) -> UriParams<'a> {
        self.params
    }

    /// The first value of a URI parameter as written; empty for a flag.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'a [u8]> {
        self.params.get(name)
    }

    /// True with `;lr`: a loose router (section 19.1.1).
    #[must_use]
    pub fn is_loose(&self) -> bool {
        self.params.get("lr").is_some()
    }

    /// Headers after `?` as written, without it; empty if there are none.
    #[must_use]
    pub fn headers_bytes(&self) -> &'a [u8] {
        self.headers
    }

    /// Headers after `?`, name and value as written.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        pairs(self.headers)
    }

    /// The first header of that name, unescaped: `uri.header("Replaces")` of a Refer-To.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        self.headers()
            .find(|(n, _)| unescape(n).eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, v)| unescape(v))
    }

    /// The URI up to `?`: what may stand in a Request-URI (section 19.1.5).
    #[must_use]
    pub fn without_headers(&self) -> &'a [u8] {
        let cut = if self.headers.is_empty() {
            0
        } else {
            self.headers.len() + 1
        };
        &self.raw[..self.raw.len() - cut]
    }
}

/// Parameters of a URI.
#[derive(Copy, Clone, Debug)]
pub struct UriParams<'a>(&'a [u8]);

impl<'a> UriParams<'a> {
    /// Name and value as written, in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let parts = self.0.split(|&b| b == b';').skip(1);
        parts.map(|part| match memchr(b'=', part) {
            Some(at) => (&part[..at], Some(&part[at + 1..])),
            None => (part, None),
        })
    }

    /// The first value of that name (compared without case) as written; empty for a flag.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, v)| v.unwrap_or_default())
    }

    /// As written, from the first `;` on.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Undoes `%HH`.
#[must_use]
pub fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let [first, after @ ..] = rest {
        let byte = if *first == b'%' { hex_pair(after) } else { None };
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    Cow::Owned(out)
}

/// Escapes everything that is neither unreserved nor one of `user-unreserved`: for a user part built from text.
#[must_use]
pub fn escape_user(text: &[u8]) -> String {
    escape(text, |b| CLASS[b as usize] & USER != 0 && b != b'#')
}

/// Escapes for a header value inside a URI, as in `Refer-To: <sip:a@b?Replaces=...>`.
#[must_use]
pub fn escape_header(text: &[u8]) -> String {
    escape(text, |b| CLASS[b as usize] & UNRESERVED != 0)
}

fn escape(text: &[u8], plain: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for &b in text {
        if plain(b) {
            out.push(char::from(b));
        } else {
            out.push('%');
            for nibble in [b >> 4, b & 15] {
                out.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
            }
        }
    }
    out
}

pub(crate) fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(*text.first()?)? << 4 | digit(*text.get(1)?)?)
}

pub(crate) fn is_unreserved(b: u8) -> bool {
    CLASS[b as usize] & UNRESERVED != 0
}

/// `name=value` pairs of the headers part.
pub(crate) fn pairs(headers: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    headers.split(|&b| b == b'&').filter(|p| !p.is_empty()).map(|pair| {
        let at = memchr(b'=', pair).unwrap_or(pair.len());
        (&pair[..at], pair.get(at + 1..).unwrap_or_default())
    })
}

fn scheme(raw: &[u8]) -> Result<(Scheme, &[u8]), Invalid> {
    // As nearly everyone writes it.
    if let Some(rest) = raw.strip_prefix(b"sip:") {
        return Ok((Scheme::Sip, rest));
    }
    let colon = lex::need(memchr(b':', raw), "URI without a scheme")?;
    let (name, rest) = (&raw[..colon], &raw[colon + 1..]);
    let sound = name.first().is_some_and(u8::is_ascii_alphabetic)
        && name
            .iter()
            .all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    match name.to_ascii_lowercase().as_slice() {
        _ if !sound => Err(Invalid("URI without a scheme")),
        b"sip" => Ok((Scheme::Sip, rest)),
        b"sips" => Ok((Scheme::Sips, rest)),
        b"tel" => Ok((Scheme::Tel, rest)),
        _ => Ok((Scheme::Other, rest)),
    }
}

fn tel<'a>(raw: &'a [u8], rest: &'a [u8]) -> Result<Uri<'a>, Invalid> {
    let (number, params) = rest.split_at(memchr(b';', rest).unwrap_or(rest.len()));
    let sound = |&b: &u8| b.is_ascii_hexdigit() || matches!(b, b'+' | b'-' | b'.' | b'(' | b')' | b'*' | b'#');
    if number.is_empty() || !number.iter().all(sound) {
        return Err(Invalid("tel: without a number"));
    }
    Ok(Uri {
        user: Some(number),
        params: checked_params(params)?,
        ..Uri::empty(raw, Scheme::Tel)
    })
}

fn sip<'a>(raw: &'a [u8], scheme: Scheme, rest: &'a [u8]) -> Result<Uri<'a>, Invalid> {
    let ((user, password), rest) = userinfo(rest)?;
    let (host, rest) = lex::need(lex::host(rest), "URI without a host")?;
    let (port, rest) = match rest.strip_prefix(b":") {
        Some(rest) => lex::need(lex::port(rest), "URI with a broken port").map(|(port, rest)| (Some(port), rest))?,
        None => (None, rest),
    };
    let (params, headers) = match rest {
        [] => (UriParams(rest), rest),
        _ => {
            let (params, headers) = rest.split_at(memchr(b'?', rest).unwrap_or(rest.len()));
            (checked_params(params)?, checked_headers(headers)?)
        }
    };
    Ok(Uri {
        raw,
        scheme,
        user,
        password,
        host,
        port,
        params,
        headers,
    })
}

type User<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// The user part and its password, and what follows. '@' is legal nowhere else without escape, so it ends the user part,
/// whatever that holds (RFC 4475 section 3.1.1.9).
fn userinfo(input: &[u8]) -> Result<(User<'_>, &[u8]), Invalid> {
    // As nearly everyone writes it: without password or escapes.
    let plain = run(input, USER);
    if plain > 0 && input.get(plain) == Some(&b'@') {
        return Ok(((Some(&input[..plain]), None), &input[plain + 1..]));
    }
    match memchr(b'@', &input[plain..]).map(|at| plain + at) {
        Some(at) => Ok((split_userinfo(&input[..at])?, &input[at + 1..])),
        None => Ok(((None, None), input)),
    }
}

fn split_userinfo(userinfo: &[u8]) -> Result<User<'_>, Invalid> {
    let at = memchr(b':', userinfo).unwrap_or(userinfo.len());
    let (user, password) = (&userinfo[..at], userinfo.get(at + 1..));
    if user.is_empty() || !all(user, USER) || !password.is_none_or(|p| all(p, PASSWORD)) {
        return Err(Invalid("URI with a broken user part"));
    }
    Ok((Some(user), password))
}

fn checked_params(params: &[u8]) -> Result<UriParams<'_>, Invalid> {
    if params.is_empty() {
        return Ok(UriParams(params));
    }
    let mut sound = params[0] == b';';
    for part in params.split(|&b| b == b';').skip(1) {
        let at = memchr(b'=', part).unwrap_or(part.len());
        sound &= at > 0 && all(&part[..at], PARAM);
        sound &= part
            .get(at + 1..)
            .is_none_or(|value| !value.is_empty() && all(value, PARAM));
    }
    if sound {
        Ok(UriParams(params))
    } else {
        Err(Invalid("URI with a broken parameter"))
    }
}

fn checked_headers(headers: &[u8]) -> Result<&[u8], Invalid> {
    let Some(headers) = headers.strip_prefix(b"?") else {
        return Ok(headers);
    };
    let mut sound = true;
    for pair in headers.split(|&b| b == b'&') {
        sound &= memchr2(b'=', b'&', pair)
            .is_some_and(|at| at > 0 && all(&pair[..at], HEADER) && all(&pair[at + 1..], HEADER));
    }
    if sound {
        Ok(headers)
    } else {
        Err(Invalid("URI with broken headers"))
    }
}

const UNRESERVED: u8 = 1;
const USER: u8 = 2;
const PASSWORD: u8 = 4;
const PARAM: u8 = 8;
const HEADER: u8 = 16;
const OPAQUE: u8 = 32;

/// How many bytes at the front are of `class`.
fn run(text: &[u8], class: u8) -> usize {
    let end = text.iter().position(|&b| CLASS[b as usize] & class == 0);
    end.unwrap_or(text.len())
}

/// All of `text` is of `class` or a sound escape.
fn all(text: &[u8], class: u8) -> bool {
    let mut rest = &text[run(text, class)..];
    while let [b'%', after @ ..] = rest
        && hex_pair(after).is_some()
    {
        rest = &after[2 + run(&after[2..], class)..];
    }
    rest.is_empty()
}

static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut i = 0x21;
    while i < 0x7f {
        let b = i as u8;
        // '#' is not legal, but phones dial it unescaped.
        let sets: [(u8, &[u8]); 5] = [
            (UNRESERVED | USER | PASSWORD | PARAM | HEADER, b"-_.!~*'()"),
            (USER, b"&=+$,;?/#"),
            (PASSWORD, b"&=+$,"),
            (PARAM, b"[]/:&+$"),
            (HEADER, b"[]/?:+$"),
        ];
        let mut s = 0;
        while s < sets.len() {
            if b.is_ascii_alphanumeric() && s == 0 || in_set(b, sets[s].1) {
                class[i] |= sets[s].0;
            }
            s += 1;
        }
        if !in_set(b, b"<>\"") {
            class[i] |= OPAQUE;
        }
        i += 1;
    }
    class
};

const fn in_set(b: u8, set: &[u8]) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == b {
            return true;
        }
        i += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn takes_a_full_uri_apart() {
        let uri = read("sip:alice:secret@[2001:db8::1]:5070;transport=tcp;lr?Subject=a%20b&Priority=urgent");
        assert_eq!(
            (uri.scheme(), uri.user(), uri.password()),
            (Scheme::Sip, Some(&b"alice"[..]), Some(&b"secret"[..]))
        );
        assert_eq!(
            (uri.ip(), uri.port()),
            (Some("2001:db8::1".parse().unwrap()), Some(5070))
        );
        assert_eq!((uri.param("Transport"), uri.is_loose()), (Some(&b"tcp"[..]), true));
        assert_eq!(uri.header("subject").as_deref(), Some(&b"a b"[..]));
        assert_eq!(
            uri.without_headers(),
            b"sip:alice:secret@[2001:db8::1]:5070;transport=tcp;lr"
        );
    }

    #[test]
    fn escapes_are_kept_until_asked() {
        let uri = read("sip:sips%3Auser%40example.com@example.net");
        assert_eq!(uri.user(), Some(&b"sips%3Auser%40example.com"[..]));
        assert_eq!(uri.user_unescaped().as_deref(), Some(&b"sips:user@example.com"[..]));
        assert_eq!(read("sip:%00%00@h").user_unescaped().as_deref(), Some(&b"\0\0"[..]));
    }

    #[test]
    fn semicolons_and_question_marks_before_the_at_belong_to_the_user() {
        let uri = read("sip:user;par=u%40example.net?x@example.com");
        assert_eq!(
            (uri.user(), uri.host()),
            (Some(&b"user;par=u%40example.net?x"[..]), &b"example.com"[..])
        );
        assert_eq!(uri.params().iter().count(), 0);
    }

    #[test]
    fn other_schemes_are_opaque() {
        assert_eq!(read("soap.beep://192.0.2.103:3002").scheme(), Scheme::Other);
        assert_eq!(read("isbn:2983792873").scheme_bytes(), b"isbn");
        let tel = read("tel:+1-201-555-0123;phone-context=example.com");
        assert_eq!((tel.scheme(), tel.user()), (Scheme::Tel, Some(&b"+1-201-555-0123"[..])));
    }

    #[test]
    fn refuses_what_is_no_uri() {
        for text in [
            "",
            "sip:",
            "sip:@h",
            "sip:a@",
            "sip:a b@h",
            "sip:a@h; lr",
            "sip:a@h;",
            "sip:a@h;;lr",
            "sip:a@h:",
            "sip:a@h:65536",
        ]
        .into_iter()
        .chain([
            " sip:a@h",
            "<sip:a@h>",
            "sip:a@h>",
            "sip:%4@h",
            "sip:%zz@h",
            "sip:a@h;x=",
            "sip:a@h?",
            "sip:a@h?x",
            "sip:a@b@c",
        ])
        .chain([
            "1sip:a@h",
            ":a",
            "nothing",
            "sip:a@[::1",
            "sip:a@h\r\n",
            "tel:",
            "tel:x y",
            "other:<x>",
            "other:",
        ]) {
            assert!(Uri::parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn escaping_is_undone_by_unescaping() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(*unescape(escape_user(&all).as_bytes()), all);
        assert_eq!(*unescape(escape_header(&all).as_bytes()), all);
        assert!(Uri::parse(format!("sip:{}@h", escape_user(&all)).as_bytes()).is_ok());
        assert!(Uri::parse(format!("sip:h?Replaces={}", escape_header(&all)).as_bytes()).is_ok());
    }
}
