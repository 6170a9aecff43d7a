//! Comparing URIs (RFC 3261 section 19.1.4), and a key under which equal ones are found.

use crate::uri::{Scheme, Uri, hex_pair, is_unreserved, pairs};

/// Parameters that make a difference even if only one side has them. (`transport` too: its absence means no particular
/// one.)
const TELLING: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

impl Uri<'_> {
    /// Equivalent by the rules of section 19.1.4: an escape equals its character unless that is reserved, host and
    /// parameters compare without case, a default port is not the same as none, unknown parameters matter only if both
    /// sides have them. `tel:` and other schemes compare byte by byte, without case.
    #[must_use]
    pub fn equals(&self, other: &Uri<'_>) -> bool {
        if self.scheme() != other.scheme() || !self.is_sip() {
            return self.scheme() == other.scheme() && self.as_bytes().eq_ignore_ascii_case(other.as_bytes());
        }
        plain_opt(self.user()) == plain_opt(other.user())
            && plain_opt(self.password()) == plain_opt(other.password())
            && host(self) == host(other)
            && self.port() == other.port()
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
        let mut key = Vec::with_capacity(self.as_bytes().len());
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
        key.extend_from_slice(&host(self));
        if let Some(port) = self.port() {
            key.extend_from_slice(format!(":{port}").as_bytes());
        }
        for name in TELLING {
            if let Some(value) = self.param(name) {
                key.extend_from_slice(format!(";{name}=").as_bytes());
                key.extend_from_slice(&folded(value));
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
    while let [first, after @ ..] = rest {
        match if *first == b'%' { hex_pair(after) } else { None } {
            Some(byte) if is_unreserved(byte) => out.push(byte),
            Some(_) => out.extend_from_slice(&[b'%', after[0].to_ascii_uppercase(), after[1].to_ascii_uppercase()]),
            None => out.push(*first),
        }
        rest = if *first == b'%' {
            after.get(2..).unwrap_or_default()
        } else {
            after
        };
    }
}

fn plain(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    plain_into(text, &mut out);
    out
}

fn plain_opt(text: Option<&[u8]>) -> Option<Vec<u8>> {
    text.map(plain)
}

fn folded(text: &[u8]) -> Vec<u8> {
    plain(text).to_ascii_lowercase()
}

/// Two ways to write one address are one host.
fn host(uri: &Uri<'_>) -> Vec<u8> {
    match uri.ip() {
        Some(ip) => ip.to_string().into_bytes(),
        None => uri.host().to_ascii_lowercase(),
    }
}

fn params_agree(one: &Uri<'_>, other: &Uri<'_>) -> bool {
    one.params().iter().all(|(name, value)| {
        let mut theirs = other.params().iter().filter(|(n, _)| folded(n) == folded(name));
        match theirs.next() {
            Some((_, v)) => folded(v.unwrap_or_default()) == folded(value.unwrap_or_default()),
            None => !TELLING.iter().any(|t| folded(name) == t.as_bytes()),
        }
    })
}

/// In an order of their own: theirs does not matter, but none may be missing.
fn headers(uri: &Uri<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all: Vec<_> = pairs(uri.headers_bytes()).map(|(n, v)| (folded(n), plain(v))).collect();
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
    fn other_schemes_compare_as_text() {
        assert!(same("tel:+12015550123", "TEL:+12015550123"));
        assert!(!same("tel:+12015550123", "tel:+12015550124"));
    }
}
