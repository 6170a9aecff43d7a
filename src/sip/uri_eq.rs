//! Comparing URIs (RFC 3261 section 19.1.4), and a key under which equal ones are found.

use crate::uri::{Scheme, Uri, hex_pair, is_unreserved, pairs};
use memchr::memchr;
use std::io::Write;
use std::net::IpAddr;

/// Parameters that make a difference even if only one side has them. (`transport` too: its absence means no particular
/// one.)
const TELLING: [&[u8]; 5] = [b"user", b"ttl", b"method", b"maddr", b"transport"];

impl Uri<'_> {
    /// Equivalent by the rules of section 19.1.4: an escape equals its character unless that is reserved, host and
    /// parameters compare without case, a default port is not the same as none, unknown parameters matter only if both
    /// sides have them. `tel:` and other schemes compare byte by byte, without case.
    #[must_use]
    pub fn equals(&self, other: &Uri<'_>) -> bool {
        if self.scheme() != other.scheme() || !self.is_sip() {
            return self.scheme() == other.scheme() && self.as_bytes().eq_ignore_ascii_case(other.as_bytes());
        }
        self.port() == other.port()
            && is_same_host(self, other)
            && is_same_user(self.user(), other.user())
            && is_same_user(self.password(), other.password())
            && params_agree(self, other)
            && params_agree(other, self)
            && headers(self) == headers(other)
    }

    /// A canonical text: URIs that are [equal](Uri::equals) have the same key. URIs with one key may still differ in a
    /// parameter both of them carry: compare them then.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        if !self.is_sip() {
            return self.as_bytes().to_ascii_lowercase();
        }
        let mut key = Vec::with_capacity(self.as_bytes().len() + 8);
        key.extend_from_slice(if self.scheme() == Scheme::Sips {
            b"sips:"
        } else {
            b"sip:"
        });
        if let Some(user) = self.user() {
            plain_into(user, &mut key);
            if let Some(password) = self.password() {
                key.push(b':');
                plain_into(password, &mut key);
            }
            key.push(b'@');
        }
        push_host(self, &mut key);
        if let Some(port) = self.port() {
            // Writing into a Vec cannot fail.
            let _ = write!(key, ":{port}");
        }
        for name in TELLING {
            if let Some(value) = first_param(self, name) {
                key.push(b';');
                key.extend_from_slice(name);
                key.push(b'=');
                folded_into(value, &mut key);
            }
        }
        for (name, value) in headers(self) {
            key.push(b'?');
            key.extend_from_slice(&name);
            key.push(b'=');
            key.extend_from_slice(&value);
        }
        key
    }
}

/// Undoes the escapes of characters that need none; the others become `%HH` with upper-case digits.
fn plain_into(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr(b'%', rest) {
        out.extend_from_slice(&rest[..at]);
        match hex_pair(&rest[at + 1..]) {
            Some(byte) if is_unreserved(byte) => out.push(byte),
            _ => out.extend(rest[at..].iter().take(3).map(u8::to_ascii_uppercase)),
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

fn plain(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    plain_into(text, &mut out);
    out
}

fn folded_into(text: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    plain_into(text, out);
    out[from..].make_ascii_lowercase();
}

fn is_escaped(text: &[u8]) -> bool {
    memchr(b'%', text).is_some()
}

fn is_same_folded(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b) || (is_escaped(a) || is_escaped(b)) && plain(a).eq_ignore_ascii_case(&plain(b))
}

fn is_same_user(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b || (is_escaped(a) || is_escaped(b)) && plain(a) == plain(b),
        (a, b) => a == b,
    }
}

/// Two ways to write one IPv6 address are one host.
fn is_same_host(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    a.host().eq_ignore_ascii_case(b.host()) || a.ip().is_some_and(|ip| b.ip() == Some(ip))
}

fn push_host(uri: &Uri<'_>, out: &mut Vec<u8>) {
    if let Some(IpAddr::V6(ip)) = uri.ip() {
        // Writing into a Vec cannot fail.
        let _ = write!(out, "[{ip}]");
    } else {
        out.extend(uri.host().iter().map(u8::to_ascii_lowercase));
    }
}

/// Of a name that is there twice, which is not legal, the first counts.
fn params_agree(one: &Uri<'_>, other: &Uri<'_>) -> bool {
    one.params()
        .iter()
        .all(|(name, _)| match (first_param(one, name), first_param(other, name)) {
            (Some(a), Some(b)) => is_same_folded(a, b),
            _ => !TELLING.iter().any(|telling| is_same_folded(name, telling)),
        })
}

fn first_param<'a>(uri: &Uri<'a>, name: &[u8]) -> Option<&'a [u8]> {
    let mut params = uri.params().iter();
    params
        .find(|(n, _)| is_same_folded(n, name))
        .map(|(_, value)| value.unwrap_or_default())
}

/// In an order of their own: theirs does not matter, but none may be missing.
fn headers(uri: &Uri<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all: Vec<_> = pairs(uri.headers_bytes())
        .map(|(n, v)| (plain(n).to_ascii_lowercase(), plain(v)))
        .collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        let (a, b) = (Uri::parse(a.as_bytes()).unwrap(), Uri::parse(b.as_bytes()).unwrap());
        assert_eq!(a.equals(&b), b.equals(&a));
        assert!(!a.equals(&b) || a.key() == b.key(), "equal URIs have one key");
        a.equals(&b)
    }

    #[test]
    fn equal_by_the_rules_of_the_standard() {
        assert!(same(
            "sip:%61lice@Voip.Example;transport=TCP",
            "sip:alice@voip.example;Transport=tcp"
        ));
        assert!(same("sip:bob@h.example", "sip:bob@h.example;newparam=5"));
        assert!(same("sip:bob@h.example", "sip:bob@h.example;security=on"));
        assert!(same(
            "sip:h.example;transport=tcp;method=INVITE?subject=p&to=x",
            "sip:h.example;method=invite;transport=tcp?to=x&Subject=p"
        ));
        assert!(same("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0:0::1]"));
        assert!(same("sip:a@h;n%61me=x", "sip:a@h;name=X"));
        assert!(same("sip:a@h;tr%61nsport=t%63p", "sip:a@h;transport=TCP"));
    }

    #[test]
    fn different_by_the_rules_of_the_standard() {
        assert!(!same("sip:ALICE@h.example", "sip:alice@h.example"));
        assert!(!same("sip:bob@h.example", "sip:bob@h.example:5060"));
        assert!(!same("sip:bob@h.example", "sip:bob@h.example;transport=udp"));
        assert!(!same("sip:bob@h.example", "sips:bob@h.example"));
        assert!(!same("sip:bob@h.example;x=1", "sip:bob@h.example;x=2"));
        assert!(!same("sip:bob@h.example", "sip:bob@h.example?subject=x"));
        assert!(!same("sip:bob@phone21.example", "sip:bob@192.0.2.4"));
        assert!(
            !same("sip:a%3bb@h", "sip:a;b@h"),
            "a reserved character is not its escape"
        );
        assert!(!same("sip:%00@h", "sip:%00%00@h"));
        assert!(!same("sip:a@h", "sip:h"));
    }

    #[test]
    fn a_uri_with_a_parameter_twice_equals_itself() {
        assert!(same("sip:a@h;x=1;x=2", "sip:a@h;x=1;x=2"));
        assert!(same("sip:a@h;x=1;x=2", "sip:a@h;x=1"));
    }

    #[test]
    fn other_schemes_compare_as_text() {
        assert!(same("tel:+12015550123", "TEL:+12015550123"));
        assert!(!same("tel:+12015550123", "tel:+12015550124"));
    }
}
