//! One Authorization header, read and held against what it has to be (RFC 7616 section 3.4).

use super::challenge;
use crate::config::Algorithm;
use sip::header::{Auth as Fields, Picked, unquote};
use sip::{Message, Uri};
use std::borrow::Cow;

/// Complete digest credentials for our realm, made for this Request-URI.
#[derive(Debug)]
pub(super) struct Credentials<'m> {
    pub(super) algorithm: Algorithm,
    pub(super) username: Cow<'m, [u8]>,
    pub(super) nonce: Cow<'m, [u8]>,
    /// Nonce count.
    pub(super) count: u32,
    uri: Cow<'m, [u8]>,
    nc: &'m [u8],
    cnonce: Cow<'m, [u8]>,
    response: Cow<'m, [u8]>,
}

/// What is read of the header.
const FIELDS: [&str; 9] = [
    "realm",
    "qop",
    "nc",
    "username",
    "nonce",
    "uri",
    "cnonce",
    "response",
    "algorithm",
];

/// Why credentials do not count.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Another scheme, realm or algorithm, without qop=auth, or incomplete: as if the header were not there
    /// (RFC 4475 section 3.3.7).
    NotOurs,
    /// For another Request-URI.
    OtherUri,
}

impl<'m> Credentials<'m> {
    pub(super) fn parse(
        value: &'m [u8],
        request: &Message,
        realm: &str,
        offered: &[Algorithm],
    ) -> Result<Credentials<'m>, Flaw> {
        let picked = Fields::pick(value, FIELDS)
            .ok()
            .filter(Picked::is_digest)
            .ok_or(Flaw::NotOurs)?;
        let [realm_given, qop, nc, username, nonce, uri, cnonce, response, name] = picked.values;
        let text = |value: Option<&'m [u8]>| value.map(unquote).ok_or(Flaw::NotOurs);
        if *text(realm_given)? != *realm.as_bytes() || !text(qop)?.eq_ignore_ascii_case(b"auth") {
            return Err(Flaw::NotOurs);
        }
        let nc = nc.ok_or(Flaw::NotOurs)?;
        let credentials = Credentials {
            algorithm: algorithm(name, offered).ok_or(Flaw::NotOurs)?,
            username: text(username)?,
            nonce: text(nonce)?,
            count: count(nc).ok_or(Flaw::NotOurs)?,
            uri: text(uri)?,
            nc,
            cnonce: text(cnonce)?,
            response: text(response)?,
        };
        if !is_same(&credentials.uri, request.request_uri()) {
            return Err(Flaw::OtherUri);
        }
        Ok(credentials)
    }

    /// Whether the response is the one this HA1 (lower-case hex) gives. Takes as long whatever it is.
    #[must_use]
    pub(super) fn is_answer_for(&self, ha1: &str, request: &Message, last: &mut LastHa2) -> bool {
        let question = sip::digest::Question {
            algorithm: match self.algorithm {
                Algorithm::Md5 => sip::digest::Algorithm::Md5,
                Algorithm::Sha256 => sip::digest::Algorithm::Sha256,
            },
            nonce: &self.nonce,
            nc: self.nc,
            cnonce: &self.cnonce,
            method: request.method_bytes(),
            uri: &self.uri,
        };
        question.is_answer_with(ha1.as_bytes(), last.of(&question), &self.response)
    }
}

/// The latest HA2: every phone's REGISTER has the same.
#[derive(Debug, Default)]
pub(super) struct LastHa2 {
    known: Option<(sip::digest::Algorithm, sip::digest::Hex)>,
    method: Vec<u8>,
    uri: Vec<u8>,
}

impl LastHa2 {
    fn of(&mut self, question: &sip::digest::Question<'_>) -> &sip::digest::Hex {
        let is_known = self.known.is_some_and(|(algorithm, _)| algorithm == question.algorithm)
            && self.uri == question.uri
            && self.method == question.method;
        if !is_known {
            self.known = None;
            self.method.clear();
            self.method.extend_from_slice(question.method);
            self.uri.clear();
            self.uri.extend_from_slice(question.uri);
        }
        &self.known.get_or_insert_with(|| (question.algorithm, question.ha2())).1
    }
}

/// The algorithm named, MD5 if none is; only if we offer it.
fn algorithm(name: Option<&[u8]>, offered: &[Algorithm]) -> Option<Algorithm> {
    let named = name.map_or(Cow::Borrowed(&b"MD5"[..]), unquote);
    offered
        .iter()
        .copied()
        .find(|a| named.eq_ignore_ascii_case(challenge::name(*a).as_bytes()))
}

/// `8LHEX`; phones also write it in quotes or capitals.
pub(super) fn count(nc: &[u8]) -> Option<u32> {
    let digits = nc
        .strip_prefix(b"\"")
        .and_then(|nc| nc.strip_suffix(b"\""))
        .unwrap_or(nc);
    let text = std::str::from_utf8(digits).ok().filter(|text| text.len() == 8)?;
    u32::from_str_radix(text, 16).ok()
}

/// Equal byte by byte, as nearly always, or as URIs.
fn is_same(digest_uri: &[u8], request_uri: &[u8]) -> bool {
    digest_uri == request_uri
        || matches!((Uri::parse(digest_uri), Uri::parse(request_uri)), (Ok(a), Ok(b)) if a.equals(&b))
}
