//! Tokens of those who logged in. Memory holds only their hashes: what is read from it logs nobody in. A lookup by the hash of
//! a secret tells a guesser nothing by its time.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use model::Aor;
use rand::Rng;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Of one user at one time: a few pages and scripts. With one more the one that was idle longest ends.
const PER_USER: usize = 16;
/// Of all users at one time: some 2 MB. With one more the one that was idle longest ends.
const MAX_TOKENS: usize = 10_000;

/// How long a token is good.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Lives {
    /// Without being used.
    pub idle: Duration,
    /// In all.
    pub total: Duration,
}

impl Default for Lives {
    fn default() -> Lives {
        Lives {
            idle: Duration::from_secs(3_600),
            total: Duration::from_secs(12 * 3_600),
        }
    }
}

/// All tokens that are good.
pub(crate) struct Tokens {
    lives: Lives,
    sessions: Mutex<HashMap<Hash, Session>>,
}

type Hash = [u8; 32];

#[derive(Clone, Debug)]
struct Session {
    user: Aor,
    /// Of the password it was got with: another password ends it.
    stamp: u64,
    since: Instant,
    used: Instant,
}

impl Tokens {
    pub(crate) fn new(lives: Lives) -> Tokens {
        Tokens {
            lives,
            sessions: Mutex::default(),
        }
    }

    pub(crate) fn lives(&self) -> Lives {
        self.lives
    }

    /// A new token for a user whose password was right: 256 random bits in base64url.
    pub(crate) fn issue(&self, now: Instant, user: Aor, stamp: u64) -> String {
        let mut secret = [0; 32];
        rand::rng().fill_bytes(&mut secret);
        let token = BASE64_URL_SAFE_NO_PAD.encode(secret);
        let mut sessions = self.sessions();
        sessions.retain(|_, session| self.is_good(now, session));
        if sessions.values().filter(|session| session.user == user).count() >= PER_USER {
            forget_idlest(&mut sessions, |session| session.user == user);
        }
        if sessions.len() >= MAX_TOKENS {
            forget_idlest(&mut sessions, |_| true);
        }
        let session = Session {
            user,
            stamp,
            since: now,
            used: now,
        };
        sessions.insert(hash(&token), session);
        token
    }

    /// Whose this token is, and the stamp of the password it was got with. It counts as used.
    pub(crate) fn user(&self, now: Instant, token: &str) -> Option<(Aor, u64)> {
        let key = hash(token);
        let mut sessions = self.sessions();
        let session = sessions.get_mut(&key)?;
        if !self.is_good(now, session) {
            sessions.remove(&key);
            return None;
        }
        session.used = now;
        Some((session.user.clone(), session.stamp))
    }

    /// It is good no longer.
    pub(crate) fn revoke(&self, token: &str) {
        self.sessions().remove(&hash(token));
    }

    /// How many there are, some of which may have run out.
    pub(crate) fn len(&self) -> usize {
        self.sessions().len()
    }

    fn is_good(&self, now: Instant, session: &Session) -> bool {
        now.duration_since(session.used) < self.lives.idle && now.duration_since(session.since) < self.lives.total
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Hash, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token).into()
}

fn forget_idlest(sessions: &mut HashMap<Hash, Session>, is_meant: impl Fn(&Session) -> bool) {
    let meant = sessions.iter().filter(|(_, session)| is_meant(session));
    let idlest = meant.min_by_key(|(_, session)| session.used).map(|(key, _)| *key);
    if let Some(key) = idlest {
        sessions.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aor(user: usize) -> Aor {
        Aor::new(&user.to_string(), "a")
    }

    #[test]
    fn a_token_is_good_for_an_hour_after_its_last_use_and_twelve_hours_in_all() {
        let (tokens, start) = (Tokens::new(Lives::default()), Instant::now());
        let minute = Duration::from_secs(60);
        let token = tokens.issue(start, aor(1), 7);
        assert_eq!(token.len(), 43);
        for n in 1..=14 {
            let good = tokens.user(start + 50 * minute * n, &token).is_some();
            assert_eq!(good, n <= 14, "at {} minutes", 50 * n);
        }
        assert_eq!(tokens.user(start + 720 * minute, &token), None);
        let idle = tokens.issue(start, aor(1), 7);
        assert_eq!(tokens.user(start + 60 * minute, &idle), None);
        assert_eq!(tokens.user(start, &idle), None, "once over it stays over");
    }

    #[test]
    fn a_revoked_token_and_one_made_up_are_nobodys() {
        let (tokens, now) = (Tokens::new(Lives::default()), Instant::now());
        let token = tokens.issue(now, aor(1), 7);
        assert_eq!(tokens.user(now, &token), Some((aor(1), 7)));
        assert_eq!(tokens.user(now, &token[1..]), None);
        tokens.revoke(&token);
        assert_eq!(tokens.user(now, &token), None);
    }

    #[test]
    fn the_idlest_of_too_many_ends() {
        let (tokens, start) = (Tokens::new(Lives::default()), Instant::now());
        let second = Duration::from_secs(1);
        let first = tokens.issue(start, aor(1), 7);
        let others: Vec<String> = (1..=16).map(|n| tokens.issue(start + second * n, aor(1), 7)).collect();
        assert_eq!(tokens.user(start, &first), None);
        assert!(
            others
                .iter()
                .all(|token| tokens.user(start + second * 20, token).is_some())
        );
    }

    #[test]
    fn the_table_is_bounded() {
        let (tokens, now) = (Tokens::new(Lives::default()), Instant::now());
        // Filled by hand: ten thousand logins walk through the table each time.
        for n in 0..MAX_TOKENS {
            let session = Session {
                user: aor(n),
                stamp: 0,
                since: now,
                used: now,
            };
            tokens.sessions().insert(hash(&n.to_string()), session);
        }
        tokens.issue(now, aor(MAX_TOKENS), 0);
        assert_eq!(tokens.sessions().len(), MAX_TOKENS);
    }
}
