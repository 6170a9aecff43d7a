//! The 401 and its WWW-Authenticate headers.

use crate::config::{Algorithm, Config};
use sip::{Flow, Name, Reply};

/// The algorithms offered to this flow, in the operator's order: those of its listener, or the general ones.
#[must_use]
pub(super) fn offered(config: &Config, flow: Flow) -> &[Algorithm] {
    let is_its = |l: &&crate::config::Listener| l.local == flow.local && l.transport == flow.transport;
    match config.listeners.iter().find(is_its) {
        Some(listener) if !listener.digest.is_empty() => &listener.digest,
        _ => &config.security.digest,
    }
}

/// 401 with one header per algorithm (RFC 8760 section 2.3), all with the same nonce.
#[must_use]
pub(super) fn reply(config: &Config, flow: Flow, nonce: &[u8], stale: bool) -> Reply {
    let mut reply = Reply::new(401);
    let nonce = String::from_utf8_lossy(nonce);
    let stale = if stale { ", stale=true" } else { "" };
    for algorithm in offered(config, flow) {
        let realm = &config.security.realm;
        let name = name(*algorithm);
        let value = format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={name}, qop=\"auth\"{stale}");
        reply.headers.add(Name::WwwAuthenticate, value);
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
