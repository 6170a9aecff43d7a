//! Who sent a request (RFC 3261 section 22, RFC 7616, RFC 8760).
//!
//! The switch is registrar and UAS to every phone, so it challenges with 401 and WWW-Authenticate, INVITE included (section
//! 22.2; 407 is for proxies). A challenge keeps nothing and is the same whether or not the user exists (S11, S13).

mod challenge;
mod credentials;
mod failures;
mod first;
mod identity;
mod nonce;

use crate::config::Algorithm;
use crate::core::Core;
use crate::users::UserIndex;
use crate::{admission, security};
use clock::Now;
use credentials::{Credentials, Flaw, LastHa2};
use failures::Failures;
use nonce::{Bad, MARK_BITS, Nonce, Nonces, TRACE_BITS};
use sip::{Flow, Message, Name, Reply};

pub(crate) use identity::{asserts_only, claimed, is_user};

/// Authorization headers looked at: phones send one per realm and algorithm they know; each may cost two hashes.
const MAX_CREDENTIALS: usize = 4;

/// What is known about nonces and wrong answers.
#[derive(Debug)]
pub(crate) struct Auth {
    nonces: Nonces,
    failures: Failures,
    last_ha2: LastHa2,
    /// The HA1 of users that do not exist: their answers are computed and compared like all others.
    nobody: String,
}

/// In which role we ask for credentials (RFC 3261 section 22).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// 401 and WWW-Authenticate: the answer will be ours.
    AsServer,
    /// 407 and Proxy-Authenticate: the request will be passed on.
    AsProxy,
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
        asks: Asks,
    ) -> Result<UserIndex, Reply> {
        let mut stale = false;
        let mut other_uri = false;
        // Phones answer in the header that fits the question; who asked how is not held against them.
        let headers = [Name::Authorization, Name::ProxyAuthorization].into_iter();
        let credentials = headers.flat_map(|name| request.values(name));
        for value in credentials.take(MAX_CREDENTIALS) {
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
        Err(self.challenge(core, now, flow, request, (stale, asks)))
    }

    fn challenge(
        &self,
        core: &mut Core,
        now: Now,
        flow: Flow,
        request: &Message,
        (stale, asks): (bool, Asks),
    ) -> Reply {
        let random = core.random() >> MARK_BITS;
        let own = match self.trace_for(request) {
            Some(trace) => random >> TRACE_BITS | u64::from(trace) << (64 - MARK_BITS - TRACE_BITS),
            None => random,
        };
        let nonce = self.nonces.make(now.mono, self.mark(core, flow) | own);
        challenge::reply(&core.config, flow, &nonce, (stale, asks))
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
            self.on_wrong(core, now, "auth-limited", flow, (account, nonce), request);
            return Verdict::Limited;
        }
        let user = std::str::from_utf8(account).ok().and_then(|name| core.users.find(name));
        core.tally.digests += 1;
        let ha1 = user.and_then(|user| ha1(core, user, credentials.algorithm));
        if !credentials.is_answer_for(ha1.unwrap_or(&self.nobody), request, &mut self.last_ha2) || ha1.is_none() {
            self.failures.note(now.mono, account, source);
            core.tally.auth_failures += 1;
            self.on_wrong(core, now, "auth-failed", flow, (account, nonce), request);
            return Verdict::Wrong;
        }
        if !self.nonces.spend(now.mono, nonce, credentials.count) {
            return Verdict::Stale;
        }
        user.map_or(Verdict::Wrong, Verdict::Right)
    }

    /// A wrong answer is told, and counts against its source if the challenge was sent there: who forges addresses does
    /// not see what comes to them, and cannot have others banned.
    fn on_wrong(
        &self,
        core: &mut Core,
        now: Now,
        event: &'static str,
        flow: Flow,
        (account, nonce): (&[u8], Nonce),
        request: &Message,
    ) {
        security::event(core, now, event, flow, account, request);
        if nonce.mark() == self.mark(core, flow) {
            admission::offend(core, now, flow.peer.ip(), event);
        }
    }

    /// The upper bits of every nonce that is sent to this address.
    fn mark(&self, core: &Core, flow: Flow) -> u64 {
        core.hasher.hash_one(flow.peer.ip().to_canonical()) & nonce::MARK
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

#[cfg(test)]
mod tests;
