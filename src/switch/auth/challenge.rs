//! The 401 and its WWW-Authenticate headers.

use super::Asks;
use crate::config::{Algorithm, Config};
use sip::{Flow, Name, Reply};

/// The algorithms offered to this flow, in the operator's order: those of its listener, or the general ones.
#[must_use]
pub(super) fn offered(config: &Config, flow: Flow) -> &[Algorithm] {
    match config.listeners.iter().find(|listener| listener.is_of(&flow)) {
        Some(listener) if !listener.digest.is_empty() => &listener.digest,
        _ => &config.security.digest,
    }
}

/// 401 or 407 with one header per algorithm (RFC 8760 section 2.3), all with the same nonce.
#[must_use]
pub(super) fn reply(config: &Config, flow: Flow, nonce: &[u8], (stale, asks): (bool, Asks)) -> Reply {
    let (status, header) = match asks {
        Asks::AsServer => (401, Name::WwwAuthenticate),
        Asks::AsProxy => (407, Name::ProxyAuthenticate),
    };
    let mut reply = Reply::new(status);
    let stale: &[u8] = if stale { b", stale=true" } else { b"" };
    for algorithm in offered(config, flow) {
        let (realm, name) = (config.security.realm.as_bytes(), name(*algorithm).as_bytes());
        reply.headers.write(header, |line| {
            let algorithm = [b"\", algorithm=", name, b", qop=\"auth\"", stale];
            let pieces = [b"Digest realm=\"", realm, b"\", nonce=\"", nonce].into_iter();
            pieces.chain(algorithm).for_each(|piece| line.extend_from_slice(piece));
        });
    }
    reply
}

/// As written in the header.
#[must_use]
pub(super) fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Md5 => "MD5",
        Algorithm::Sha256 => "SHA-256",
    }
}
