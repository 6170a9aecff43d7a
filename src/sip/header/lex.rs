//! The smallest pieces of the grammar: tokens, quoted strings, white space, comma lists (RFC 3261 section 25.1).
//!
//! Values keep their folding, so CR and LF count as white space here; the scan has already made sure that they only occur
//! as a folded line end.

use super::Invalid;
use memchr::memchr;
use std::borrow::Cow;

const TOKEN: u8 = 1;
const LWS: u8 = 2;
const BARE_VALUE: u8 = 4;
const QDTEXT: u8 = 8;
const HOST: u8 = 16;
const CALL_ID: u8 = 32;

static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        let graphic = b > 0x20 && b != 0x7f;
        if b.is_ascii_alphanumeric() || in_set(b, b"-.!%*_+`'~") {
            class[i] |= TOKEN;
        }
        if in_set(b, b" \t\r\n") {
            class[i] |= LWS;
        }
        if graphic && !in_set(b, b",;<>\"") {
            class[i] |= BARE_VALUE;
        }
        if (graphic || in_set(b, b" \t\r\n")) && !in_set(b, b"\"\\") {
            class[i] |= QDTEXT;
        }
        if b.is_ascii_alphanumeric() || in_set(b, b"-._") {
            class[i] |= HOST;
        }
        if b.is_ascii_graphic() && !in_set(b, b",;") {
            class[i] |= CALL_ID;
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

pub(crate) fn is_token(b: u8) -> bool {
    CLASS[b as usize] & TOKEN != 0
}

pub(crate) fn is_lws(b: u8) -> bool {
    CLASS[b as usize] & LWS != 0
}

/// A Call-ID is a word, perhaps with one `@word`. Wider than the RFC (base64 with `=` is common) but never something that
/// would end the value when it is copied into Replaces.
pub(crate) fn is_call_id(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| CLASS[b as usize] & CALL_ID != 0)
}

/// How many bytes at the front are of `class`.
fn run(input: &[u8], class: u8) -> usize {
    input
        .iter()
        .position(|&b| CLASS[b as usize] & class == 0)
        .unwrap_or(input.len())
}

pub(crate) fn token_len(input: &[u8]) -> usize {
    run(input, TOKEN)
}

pub(crate) fn skip_lws(input: &[u8]) -> &[u8] {
    match input.first() {
        Some(&b) if is_lws(b) => &input[run(input, LWS)..],
        _ => input,
    }
}

pub(crate) fn trim(input: &[u8]) -> &[u8] {
    trim_end(skip_lws(input))
}

pub(crate) fn trim_end(mut input: &[u8]) -> &[u8] {
    while let [rest @ .., last] = input
        && is_lws(*last)
    {
        input = rest;
    }
    input
}

/// Takes one byte with white space on both sides, as SLASH, EQUAL, COLON and SEMI of the grammar allow.
pub(crate) fn separator(input: &[u8], byte: u8) -> Option<&[u8]> {
    skip_lws(input).strip_prefix(&[byte]).map(skip_lws)
}

/// A token and the rest; `None` if there is none.
pub(crate) fn token(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let n = token_len(input);
    (n > 0).then(|| input.split_at(n))
}

/// A quoted string with its quotes, and the rest; `None` if it does not close or holds a bare control character.
pub(crate) fn quoted(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut i = 1;
    loop {
        i += run(input.get(i..)?, QDTEXT);
        match input.get(i)? {
            b'"' => return Some(input.split_at(i + 1)),
            b'\\' if !matches!(input.get(i + 1)?, b'\r' | b'\n' | 0x80..) => i += 2,
            _ => return None,
        }
    }
}

/// The value of a parameter: a quoted string, or any run that cannot be mistaken for the next part. Wider than
/// `token / host` on purpose: tags with `=` and bare IPv6 addresses in `received` are on every network.
pub(crate) fn param_value(input: &[u8]) -> Option<(&[u8], &[u8])> {
    if input.first() == Some(&b'"') {
        return quoted(input);
    }
    let n = run(input, BARE_VALUE);
    (n > 0).then(|| input.split_at(n))
}

/// `host`: a name, an IPv4 address or an IPv6 reference in brackets.
pub(crate) fn host(input: &[u8]) -> Option<(&[u8], &[u8])> {
    if input.first() == Some(&b'[') {
        let end = memchr(b']', input)?;
        let inside = std::str::from_utf8(&input[1..end]).ok()?;
        inside.parse::<std::net::Ipv6Addr>().ok()?;
        return Some(input.split_at(end + 1));
    }
    let n = run(input, HOST);
    (n > 0).then(|| input.split_at(n))
}

/// `1*5DIGIT` up to 65535, and the rest.
pub(crate) fn port(input: &[u8]) -> Option<(u16, &[u8])> {
    let n = input.iter().position(|b| !b.is_ascii_digit()).unwrap_or(input.len());
    let port = digits(&input[..n])?;
    Some((u16::try_from(port).ok()?, &input[n..]))
}

/// `1*DIGIT`, stopping at `u64::MAX`; `None` if anything else is there.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, b| {
        b.is_ascii_digit()
            .then(|| n.saturating_mul(10).saturating_add(u64::from(b - b'0')))
    })
}

/// `delta-seconds` of Expires and its like. Too large is the largest (RFC 4475 section 3.1.2.4).
pub(crate) fn seconds(text: &[u8]) -> Option<u32> {
    digits(text).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

/// Without quotes and escapes, if it has any.
#[must_use]
pub fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inside) = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")) else {
        return Cow::Borrowed(value);
    };
    if memchr(b'\\', inside).is_none() {
        return Cow::Borrowed(inside);
    }
    let mut out = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(&b) = bytes.next() {
        out.push(if b == b'\\' {
            bytes.next().copied().unwrap_or(b)
        } else {
            b
        });
    }
    Cow::Owned(out)
}

/// In quotes, with `"` and `\` escaped and control characters left out.
#[must_use]
pub fn quote(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'"');
    for &b in text.iter().filter(|b| !b.is_ascii_control()) {
        if matches!(b, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(b);
    }
    out.push(b'"');
    out
}

/// The values of one line, taken apart at commas that are not inside quotes or `<>`.
#[derive(Clone, Debug)]
pub struct List<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> List<'a> {
    /// Over the value of one header line.
    #[must_use]
    pub fn new(line: &'a [u8]) -> List<'a> {
        List { rest: Some(line) }
    }
}

impl<'a> Iterator for List<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        match comma(rest) {
            Some(at) => {
                self.rest = Some(&rest[at + 1..]);
                Some(trim(&rest[..at]))
            }
            None => Some(trim(rest)),
        }
    }
}

/// Where the first comma outside quotes and `<>` is. An open quote or bracket runs to the end.
pub(crate) fn comma(input: &[u8]) -> Option<usize> {
    memchr(b',', input)?;
    let (mut i, mut bracket) = (0, false);
    while i < input.len() {
        match input[i] {
            b'"' if !bracket => i += quoted(&input[i..])?.0.len() - 1,
            b'<' => bracket = true,
            b'>' => bracket = false,
            b',' if !bracket => return Some(i),
            _ => {}
        }
        i += 1;
    }
    None
}

/// The values of a line that is a list, or the line.
pub(crate) fn values(line: &[u8], is_list: bool) -> SingleOrList<'_> {
    if is_list && memchr(b',', line).is_some() {
        SingleOrList::List(List::new(line))
    } else {
        SingleOrList::Single(Some(line))
    }
}

/// Either one value or several.
#[derive(Clone, Debug)]
pub(crate) enum SingleOrList<'a> {
    Single(Option<&'a [u8]>),
    List(List<'a>),
}

impl<'a> Iterator for SingleOrList<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match self {
            SingleOrList::Single(line) => line.take(),
            SingleOrList::List(list) => list.next(),
        }
    }
}

/// Turns a missing piece into an error that says which.
pub(crate) fn need<T>(piece: Option<T>, what: &'static str) -> Result<T, Invalid> {
    piece.ok_or(Invalid(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<&str> {
        List::new(line.as_bytes())
            .map(|v| std::str::from_utf8(v).unwrap())
            .collect()
    }

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        assert_eq!(split("a , b,c"), ["a", "b", "c"]);
        assert_eq!(
            split("\"Doe, \\\"J\\\"\" <sip:a,b@c>;x=\",\", <sip:d>"),
            ["\"Doe, \\\"J\\\"\" <sip:a,b@c>;x=\",\"", "<sip:d>"]
        );
        assert_eq!(split("a,,b"), ["a", "", "b"]);
        assert_eq!(split("\"open, quote"), ["\"open, quote"]);
    }

    #[test]
    fn quoting_and_unquoting_are_inverse() {
        for text in ["", "plain", "with \"quotes\"", "back\\slash", "\\\"", "Zoë"] {
            assert_eq!(unquote(&quote(text.as_bytes())), text.as_bytes());
        }
        assert_eq!(quote(b"a\r\nVia: x\0"), b"\"aVia: x\"");
    }

    #[test]
    fn a_quoted_string_ends_at_the_first_bare_quote() {
        assert_eq!(quoted(b"\"a\\\"b\" c"), Some((&b"\"a\\\"b\""[..], &b" c"[..])));
        assert_eq!(quoted(b"\"a\\\0b\""), Some((&b"\"a\\\0b\""[..], &b""[..])));
        assert_eq!(quoted(b"\"open"), None);
        assert_eq!(quoted(b"\"nul\0\""), None);
        assert_eq!(quoted(b"\"ends in a backslash\\"), None);
    }

    #[test]
    fn numbers_stop_at_their_bound() {
        assert_eq!(digits(b"0068"), Some(68));
        assert_eq!(digits(b"99999999999999999999999"), Some(u64::MAX));
        assert_eq!(digits(b""), None);
        assert_eq!(digits(b"-1"), None);
        assert_eq!(port(b"5060;x"), Some((5060, &b";x"[..])));
        assert_eq!(port(b"65536"), None);
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        assert_eq!(
            host(b"[2001:db8::9:1]:5060"),
            Some((&b"[2001:db8::9:1]"[..], &b":5060"[..]))
        );
        assert_eq!(host(b"[2001:db8::9:1"), None);
        assert_eq!(host(b"[::g]"), None);
        assert_eq!(host(b"a-b.example;x"), Some((&b"a-b.example"[..], &b";x"[..])));
        assert_eq!(host(b";x"), None);
    }
}
