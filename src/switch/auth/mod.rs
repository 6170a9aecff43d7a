//! Who sent a request (RFC 3261 section 22, RFC 7616, RFC 8760).
//!
//! The switch is registrar and UAS to every phone, so it challenges with 401 and WWW-Authenticate, INVITE included (section
//! 22.2; 407 is for proxies). A challenge keeps nothing and is the same whether or not the user exists (S11, S13).

mod challenge;
mod credentials;
mod failures;
mod identity;
mod nonce;

use crate::config::Algorithm;
use crate::core::Core;
use crate::text::loggable;
use crate::users::UserIndex;
use clock::Now;
use credentials::{Credentials, Flaw, LastHa2};
use failures::Failures;
use nonce::{Bad, Nonces};
use sip::{Flow, Message, Name, Reply};

pub(crate) use identity::{asserts_only, claimed, is_user};

/// Authorization headers looked at: phones send one per realm and algorithm they know; each may cost two hashes.
const MAX_CREDENTIALS: usize = 4;

/// Security lines a second: enough for a watcher to act on, too few for a flood to fill the disk.
const MAX_LINES: u32 = 100;

/// What is known about nonces and wrong answers.
#[derive(Debug)]
pub(crate) struct Auth {
    nonces: Nonces,
    failures: Failures,
    last_ha2: LastHa2,
    /// The HA1 of users that do not exist: their answers are computed and compared like all others.
    nobody: String,
}

/// What came of one set of credentials.
enum Verdict {
    Right(UserIndex),
    /// Not for us, or incomplete: as if it were not there.
    Nothing,
    /// The nonce or its count is used up; the password may be right.
    Stale,
    Wrong,
    /// Too many wrong answers before: not looked at.
    Limited,
    /// Made for another Request-URI.
    OtherUri,
}

impl Auth {
    /// Nonces are signed with `nonce_key`, which should survive a restart.
    #[must_use]
    pub(crate) fn new(core: &mut Core, nonce_key: [u8; 32]) -> Auth {
        let security = &core.config.security;
        let (ttl, capacity, hasher) = (security.nonce_ttl, security.max_nonces, core.hasher.clone());
        let run = u32::try_from(core.random() >> 32).unwrap_or(0);
        Auth {
            nonces: Nonces::new(nonce_key, run, ttl, capacity, hasher.clone()),
            failures: Failures::new(hasher),
            last_ha2: LastHa2::default(),
            nobody: format!("{:016x}{:016x}", core.random(), core.random()),
        }
    }

    /// New settings are in force.
    pub(crate) fn on_reload(&mut self, core: &Core) {
        self.nonces
            .reload(core.config.security.nonce_ttl, core.config.security.max_nonces);
    }

    /// Nonces with state.
    #[must_use]
    pub(crate) fn nonces(&self) -> usize {
        self.nonces.len()
    }

    /// Who sent this request; otherwise what to answer: 401, or 403 and 400 for what no password can mend.
    pub(crate) fn authenticate(
        &mut self,
        core: &mut Core,
        now: Now,
        flow: Flow,
        request: &Message,
    ) -> Result<UserIndex, Reply> {
        let mut stale = false;
        let mut other_uri = false;
        for value in request.values(Name::Authorization).take(MAX_CREDENTIALS) {
            match self.judge(core, now, flow, request, value) {
                Verdict::Right(user) => return Ok(user),
                Verdict::Nothing | Verdict::Wrong => {}
                Verdict::Stale => stale = true,
                Verdict::OtherUri => other_uri = true,
                Verdict::Limited => return Err(limited(core)),
            }
        }
        if other_uri && !stale {
            // RFC 7616 section 3.4.6: the digest is bound to the Request-URI (S9).
            return Err(Reply::new(400).reason("Digest uri Differs From Request-URI"));
        }
        core.tally.challenges += 1;
        Err(self.challenge(core, now, flow, stale))
    }

    fn challenge(&self, core: &mut Core, now: Now, flow: Flow, stale: bool) -> Reply {
        let nonce = self.nonces.make(now.mono, core.random());
        challenge::reply(&core.config, flow, &nonce, stale)
    }

    fn judge(&mut self, core: &mut Core, now: Now, flow: Flow, request: &Message, value: &[u8]) -> Verdict {
        let offered = challenge::offered(&core.config, flow);
        let credentials = match Credentials::parse(value, request, &core.config.security.realm, offered) {
            Ok(credentials) => credentials,
            Err(Flaw::NotOurs) => return Verdict::Nothing,
            Err(Flaw::OtherUri) => return Verdict::OtherUri,
        };
        let nonce = match self.nonces.check(now.mono, &credentials.nonce) {
            Ok(nonce) => nonce,
            Err(Bad::Foreign) => return Verdict::Nothing,
            Err(Bad::Stale) => return Verdict::Stale,
        };
        let (account, source) = (&credentials.username, flow.peer.ip());
        if self.failures.recent(now.mono, account, source) >= core.config.security.max_failures {
            core.tally.auth_limited += 1;
            security(core, now, "auth-limited", flow, account, request);
            return Verdict::Limited;
        }
        let user = std::str::from_utf8(account).ok().and_then(|name| core.users.find(name));
        let ha1 = user.and_then(|user| ha1(core, user, credentials.algorithm));
        if !credentials.is_answer_for(ha1.unwrap_or(&self.nobody), request, &mut self.last_ha2) || ha1.is_none() {
            self.failures.note(now.mono, account, source);
            core.tally.auth_failures += 1;
            security(core, now, "auth-failed", flow, account, request);
            return Verdict::Wrong;
        }
        if !self.nonces.spend(now.mono, nonce, credentials.count) {
            return Verdict::Stale;
        }
        user.map_or(Verdict::Wrong, Verdict::Right)
    }
}

fn ha1(core: &Core, user: UserIndex, algorithm: Algorithm) -> Option<&str> {
    match algorithm {
        Algorithm::Md5 => core.users[user].ha1_md5.as_deref(),
        Algorithm::Sha256 => core.users[user].ha1_sha256.as_deref(),
    }
}

/// The same for users that exist and others: it says only how often somebody there guessed.
fn limited(core: &mut Core) -> Reply {
    let wait_s = 30 + core.random() % 30;
    Reply::new(403)
        .reason("Too Many Wrong Answers")
        .header(Name::RetryAfter, wait_s.to_string())
}

/// One line per security event, in a form that log watchers can match; no more than [`MAX_LINES`] a second.
pub(crate) fn security(core: &mut Core, now: Now, event: &str, flow: Flow, account: &[u8], request: &Message) {
    let second = now.mono.millis() / 1_000;
    if core.security_lines.0 != second {
        core.security_lines = (second, 0);
    }
    core.security_lines.1 += 1;
    if core.security_lines.1 > MAX_LINES {
        core.tally.security_lines_dropped += 1;
        return;
    }
    tracing::warn!(
        target: "security",
        "SECURITY event={event} ip={} transport={} account=\"{}\" method={} call_id=\"{}\"",
        flow.peer.ip(),
        flow.transport.as_str(),
        loggable(account),
        loggable(request.method_bytes()),
        loggable(request.call_id()),
    );
}

#[cfg(test)]
mod tests;
