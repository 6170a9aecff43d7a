//! Digest authentication (RFC 7616, RFC 8760, and RFC 2617 for the phones that know no newer): the arithmetic, and the
//! client's side. Who is believed, and which nonces are good, is the switch's business.

use crate::header::{Auth, Invalid, quote};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt;
use subtle::ConstantTimeEq;

/// Which hash.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// What every phone knows.
    Md5,
    /// RFC 8760.
    Sha256,
}

impl Algorithm {
    /// As written: `MD5`, `SHA-256`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// Reads the name, compared without case; none is MD5 (RFC 7616 section 3.3). The session variants are not known.
    #[must_use]
    pub fn from_name(name: Option<&[u8]>) -> Option<Algorithm> {
        match name {
            None => Some(Algorithm::Md5),
            Some(n) if n.eq_ignore_ascii_case(b"MD5") => Some(Algorithm::Md5),
            Some(n) if n.eq_ignore_ascii_case(b"SHA-256") => Some(Algorithm::Sha256),
            Some(_) => None,
        }
    }

    /// Hash of the parts with a colon between each two, in hex.
    fn hash(self, parts: &[&[u8]]) -> Hex {
        match self {
            Algorithm::Md5 => Hex::of(&joined::<md5::Md5>(parts)),
            Algorithm::Sha256 => Hex::of(&joined::<sha2::Sha256>(parts)),
        }
    }
}

fn joined<D: sha2::Digest>(parts: &[&[u8]]) -> sha2::digest::Output<D> {
    // In one piece: the hash then reads its blocks where they stand.
    let mut text = SmallVec::<[u8; 256]>::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            text.push(b':');
        }
        text.extend_from_slice(part);
    }
    D::digest(&text)
}

/// A hash in lower-case hex: 32 or 64 characters.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct Hex {
    text: [u8; 64],
    len: u8,
}

impl Hex {
    /// At most 32 bytes.
    fn of(hash: &[u8]) -> Hex {
        let mut text = [0; 64];
        for (byte, pair) in hash.iter().zip(text.chunks_exact_mut(2)) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Hex {
            text,
            len: u8::try_from(hash.len() * 2).unwrap_or(64),
        }
    }

    /// The characters.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }

    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An HA1 is as good as a password, so it does not show.
impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hex({} characters)", self.len)
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// `H(user:realm:password)` (RFC 7616 section 3.4.2): what is kept instead of a password. All without quotes and escapes.
#[must_use]
pub fn ha1(algorithm: Algorithm, user: &[u8], realm: &[u8], password: &[u8]) -> Hex {
    algorithm.hash(&[user, realm, password])
}

/// All that a response is made of besides HA1. Texts are without quotes and escapes, as
/// [`Auth::text`](crate::header::Auth::text) gives them.
#[derive(Copy, Clone, Debug)]
pub struct Question<'a> {
    /// Which hash.
    pub algorithm: Algorithm,
    /// The server's nonce.
    pub nonce: &'a [u8],
    /// Nonce count as written, eight hex digits; empty for a response without qop (RFC 2069).
    pub nc: &'a [u8],
    /// The client's nonce.
    pub cnonce: &'a [u8],
    /// Method of the request.
    pub method: &'a [u8],
    /// `uri` of the credentials as written there; whether it is the Request-URI has to be checked beside this.
    pub uri: &'a [u8],
}

impl Question<'_> {
    /// The response to this, for an HA1 in lower-case hex (RFC 7616 section 3.4.1, qop=auth).
    #[must_use]
    pub fn answer(&self, ha1: &[u8]) -> Hex {
        self.answer_with(ha1, &self.ha2())
    }

    /// `H(method:uri)` (section 3.4.3): the same for all who ask for the same.
    #[must_use]
    pub fn ha2(&self) -> Hex {
        self.algorithm.hash(&[self.method, self.uri])
    }

    fn answer_with(&self, ha1: &[u8], ha2: &Hex) -> Hex {
        let ha2 = ha2.as_bytes();
        if self.nc.is_empty() {
            self.algorithm.hash(&[ha1, self.nonce, ha2])
        } else {
            self.algorithm
                .hash(&[ha1, self.nonce, self.nc, self.cnonce, b"auth", ha2])
        }
    }

    /// True if `response` is the answer; takes as long whether or not it is, and however much of it is right. Hex digits
    /// may be in capitals.
    #[must_use]
    pub fn is_answer(&self, ha1: &[u8], response: &[u8]) -> bool {
        self.is_answer_with(ha1, &self.ha2(), response)
    }

    /// The same with [`Question::ha2`] at hand.
    #[must_use]
    pub fn is_answer_with(&self, ha1: &[u8], ha2: &Hex, response: &[u8]) -> bool {
        let right = self.answer_with(ha1, ha2);
        let mut lower = [0; 64];
        let given = &mut lower[..response.len().min(64)];
        given.copy_from_slice(&response[..response.len().min(64)]);
        given.make_ascii_lowercase();
        response.len() <= 64 && right.as_bytes().ct_eq(given).into()
    }
}

/// What a server asks for, as its client reads it. Texts are without quotes and escapes.
#[derive(Clone, Debug)]
pub struct Challenge<'a> {
    /// Which hash.
    pub algorithm: Algorithm,
    /// For whose accounts.
    pub realm: Cow<'a, [u8]>,
    /// To be hashed in.
    pub nonce: Cow<'a, [u8]>,
    /// To be sent back.
    pub opaque: Option<Cow<'a, [u8]>>,
    /// `qop` offers `auth`; if not, the answer is that of RFC 2069.
    pub has_qop: bool,
    /// The password was right, only the nonce too old.
    pub is_stale: bool,
}

impl<'a> Challenge<'a> {
    /// Reads one line of WWW-Authenticate or Proxy-Authenticate. A server may send several: take the first that can be
    /// read here (RFC 8760 section 2.4).
    pub fn parse(line: &'a [u8]) -> Result<Challenge<'a>, Invalid> {
        let auth = Auth::parse(line)?;
        if !auth.is_digest() {
            return Err(Invalid("challenge of another scheme"));
        }
        let algorithm = Algorithm::from_name(auth.text("algorithm").as_deref());
        let qop = auth.text("qop");
        let has_qop = qop
            .as_deref()
            .is_some_and(|q| crate::header::List::new(q).any(|v| v.eq_ignore_ascii_case(b"auth")));
        if qop.is_some() && !has_qop {
            return Err(Invalid("challenge without qop=auth"));
        }
        Ok(Challenge {
            algorithm: algorithm.ok_or(Invalid("challenge with an unknown algorithm"))?,
            realm: auth.text("realm").ok_or(Invalid("challenge without realm"))?,
            nonce: auth.text("nonce").ok_or(Invalid("challenge without nonce"))?,
            opaque: auth.text("opaque"),
            has_qop,
            is_stale: auth.text("stale").is_some_and(|s| s.eq_ignore_ascii_case(b"true")),
        })
    }

    /// The value of Authorization or Proxy-Authorization that answers it. `ha1` is of this challenge's realm and algorithm;
    /// `count` is 1 for the first use of a nonce and rises by one with each; `cnonce` is random.
    #[must_use]
    pub fn credentials(&self, user: &str, ha1: &Hex, method: &[u8], uri: &[u8], cnonce: &str, count: u32) -> Vec<u8> {
        let nc = if self.has_qop {
            format!("{count:08x}")
        } else {
            String::new()
        };
        let (nonce, cnonce) = (&*self.nonce, cnonce.as_bytes());
        let question = Question {
            algorithm: self.algorithm,
            nonce,
            nc: nc.as_bytes(),
            cnonce,
            method,
            uri,
        };
        let mut out = b"Digest username=".to_vec();
        let mut add = |name: &str, value: &[u8]| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(value);
        };
        add("", &quote(user.as_bytes()));
        add(", realm=", &quote(&self.realm));
        add(", nonce=", &quote(&self.nonce));
        add(", uri=", &quote(uri));
        add(", response=", &quote(question.answer(ha1.as_bytes()).as_bytes()));
        add(", algorithm=", self.algorithm.as_str().as_bytes());
        if self.has_qop {
            add(", cnonce=", &quote(cnonce));
            add(", qop=auth, nc=", nc.as_bytes());
        }
        if let Some(opaque) = &self.opaque {
            add(", opaque=", &quote(opaque));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7616 section 3.9.1.
    fn example(algorithm: Algorithm) -> Hex {
        let question = Question {
            algorithm,
            nonce: b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            nc: b"00000001",
            cnonce: b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            method: b"GET",
            uri: b"/dir/index.html",
        };
        let ha1 = ha1(algorithm, b"Mufasa", b"http-auth@example.org", b"Circle of Life");
        question.answer(ha1.as_bytes())
    }

    #[test]
    fn agrees_with_the_examples_of_the_standard() {
        assert_eq!(example(Algorithm::Md5).as_str(), "8ca523f5e9506fed4657c9700eebdbec");
        assert_eq!(
            example(Algorithm::Sha256).as_str(),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    #[test]
    fn agrees_with_the_example_of_rfc_2617() {
        let question = Question {
            algorithm: Algorithm::Md5,
            nonce: b"dcd98b7102dd2f0e8b11d0f600bfb0c093",
            nc: b"00000001",
            cnonce: b"0a4f113b",
            method: b"GET",
            uri: b"/dir/index.html",
        };
        let ha1 = ha1(Algorithm::Md5, b"Mufasa", b"testrealm@host.com", b"Circle Of Life");
        assert_eq!(
            question.answer(ha1.as_bytes()).as_str(),
            "6629fae49393a05397450978507c4ef1"
        );
        assert!(question.is_answer(ha1.as_bytes(), b"6629FAE49393A05397450978507C4EF1"));
        for wrong in [
            &b""[..],
            b"6629fae49393a05397450978507c4ef",
            b"6629fae49393a05397450978507c4ef10",
            &[b'6'; 200],
        ] {
            assert!(!question.is_answer(ha1.as_bytes(), wrong));
        }
    }

    #[test]
    fn answers_a_challenge_so_that_its_server_agrees() {
        for line in [
            "Digest realm=\"a \\\"b\\\"\", nonce=\"n/1=\", qop=\"auth-int, auth\", algorithm=SHA-256, opaque=\"o\", stale=TRUE",
            "Digest realm=\"tandem\", nonce=\"n\"",
        ] {
            let challenge = Challenge::parse(line.as_bytes()).unwrap();
            let ha1 = ha1(challenge.algorithm, b"10\"00", &challenge.realm, b"pw");
            let value = challenge.credentials("10\"00", &ha1, b"REGISTER", b"sip:h", "c1", 2);
            let auth = Auth::parse(&value).unwrap();
            let text = |name: &str| auth.text(name).unwrap_or_default();
            let question = Question {
                algorithm: Algorithm::from_name(auth.get("algorithm")).unwrap(),
                nonce: &text("nonce"),
                nc: &text("nc"),
                cnonce: &text("cnonce"),
                method: b"REGISTER",
                uri: &text("uri"),
            };
            assert_eq!(
                (&*text("username"), &*text("realm")),
                (&b"10\"00"[..], &*challenge.realm)
            );
            assert_eq!(
                (challenge.has_qop, auth.get("nc").is_some()),
                (challenge.is_stale, challenge.has_qop)
            );
            assert!(question.is_answer(ha1.as_bytes(), &text("response")));
        }
    }

    #[test]
    fn refuses_challenges_it_cannot_answer() {
        for line in [
            "Basic realm=\"x\"",
            "Digest nonce=\"n\"",
            "Digest realm=\"r\"",
            "Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"",
        ]
        .into_iter()
        .chain(["Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess"])
        {
            assert!(Challenge::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn secrets_do_not_show_in_logs() {
        assert_eq!(
            format!("{:?}", ha1(Algorithm::Md5, b"u", b"r", b"p")),
            "Hex(32 characters)"
        );
    }
}
