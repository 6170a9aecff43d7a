//! One Authorization header, read and held against what it has to be (RFC 7616 section 3.4).

use super::challenge;
use crate::config::Algorithm;
use sip::header::Auth as Fields;
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
        let fields = Fields::parse(value)
            .ok()
            .filter(Fields::is_digest)
            .ok_or(Flaw::NotOurs)?;
        let text = |name| fields.text(name).ok_or(Flaw::NotOurs);
        let is_auth = fields.text("qop").is_some_and(|qop| qop.eq_ignore_ascii_case(b"auth"));
        if *text("realm")? != *realm.as_bytes() || !is_auth {
            return Err(Flaw::NotOurs);
        }
        let nc = fields.get("nc").ok_or(Flaw::NotOurs)?;
        let credentials = Credentials {
            algorithm: algorithm(&fields, offered).ok_or(Flaw::NotOurs)?,
            username: text("username")?,
            nonce: text("nonce")?,
            count: count(nc).ok_or(Flaw::NotOurs)?,
            uri: text("uri")?,
            nc,
            cnonce: text("cnonce")?,
            response: text("response")?,
        };
        if !is_same(&credentials.uri, request.request_uri()) {
            return Err(Flaw::OtherUri);
        }
        Ok(credentials)
    }

    /// Whether the response is the one this HA1 (lower-case hex) gives. Takes as long whatever it is.
    #[must_use]
    pub(super) fn is_answer_for(&self, ha1: &str, request: &Message) -> bool {
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
        question.is_answer(ha1.as_bytes(), &self.response)
    }
}

/// The algorithm named, MD5 if none is; only if we offer it.
fn algorithm(fields: &Fields<'_>, offered: &[Algorithm]) -> Option<Algorithm> {
    let named = fields.text("algorithm").unwrap_or(Cow::Borrowed(b"MD5"));
    offered
        .iter()
        .copied()
        .find(|a| named.eq_ignore_ascii_case(challenge::name(*a).as_bytes()))
}

/// `8LHEX`; phones also write it in quotes or capitals.
fn count(nc: &[u8]) -> Option<u32> {
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
