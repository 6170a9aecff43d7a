//! Wrong answers, counted per account and source address (S12): a guesser is slowed down, and the account stays open to its
//! owner from elsewhere.

use ahash::RandomState;
use clock::Mono;
use hashbrown::HashMap;
use std::net::IpAddr;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// Keys a minute. A flood of made-up accounts that overflows it costs its sender a wrong answer each and only shortens the
/// memory; about 1 MB.
const CAPACITY: usize = 32_768;

/// Wrong answers of this minute and the one before.
#[derive(Debug)]
pub(crate) struct Failures {
    hasher: RandomState,
    since: Mono,
    current: HashMap<u64, u32, RandomState>,
    previous: HashMap<u64, u32, RandomState>,
}

impl Failures {
    /// Nothing has gone wrong yet.
    #[must_use]
    pub(crate) fn new(hasher: RandomState) -> Failures {
        Failures {
            since: Mono(0),
            current: HashMap::with_hasher(hasher.clone()),
            previous: HashMap::with_hasher(hasher.clone()),
            hasher,
        }
    }

    /// Wrong answers for this account, which need not exist, from this address in the last minute; the minute before
    /// counts by the part of it that is still less than a minute ago.
    pub(crate) fn recent(&mut self, now: Mono, account: &[u8], source: IpAddr) -> u32 {
        self.turn(now);
        if self.current.is_empty() && self.previous.is_empty() {
            return 0;
        }
        let key = self.key(account, source);
        let of = |minute: &HashMap<u64, u32, RandomState>| minute.get(&key).copied().unwrap_or(0);
        let left_ms = 60_000
            - u32::try_from(now.since(self.since).as_millis())
                .unwrap_or(60_000)
                .min(60_000);
        let before = u64::from(of(&self.previous)) * u64::from(left_ms) / 60_000;
        of(&self.current).saturating_add(u32::try_from(before).unwrap_or(u32::MAX))
    }

    /// Notes a wrong answer.
    pub(crate) fn note(&mut self, now: Mono, account: &[u8], source: IpAddr) {
        self.turn(now);
        if self.current.len() >= CAPACITY {
            self.next_minute(now);
        }
        let key = self.key(account, source);
        let count = self.current.entry(key).or_insert(0);
        *count = count.saturating_add(1);
    }

    fn turn(&mut self, now: Mono) {
        let age = now.since(self.since);
        if age >= 2 * MINUTE {
            self.next_minute(now);
            self.previous.clear();
        } else if age >= MINUTE {
            self.next_minute(self.since + MINUTE);
        }
    }

    fn next_minute(&mut self, since: Mono) {
        self.since = since;
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.clear();
    }

    fn key(&self, account: &[u8], source: IpAddr) -> u64 {
        self.hasher.hash_one((account, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    #[test]
    fn counts_per_account_and_source_and_forgets_within_two_minutes() {
        let mut failures = Failures::new(RandomState::with_seeds(1, 2, 3, 4));
        for second in 0..10 {
            failures.note(at(100 + second), b"1001", IP);
        }
        assert_eq!(failures.recent(at(110), b"1001", IP), 10);
        assert_eq!(failures.recent(at(110), b"1002", IP), 0);
        assert_eq!(failures.recent(at(110), b"1001", "127.0.0.2".parse().unwrap()), 0);
        let later = failures.recent(at(190), b"1001", IP);
        assert!(later < 10, "{later}");
        assert_eq!(failures.recent(at(240), b"1001", IP), 0);
    }

    #[test]
    fn a_flood_of_accounts_stays_bounded() {
        let mut failures = Failures::new(RandomState::with_seeds(1, 2, 3, 4));
        for account in 0..200_000u32 {
            failures.note(at(1), &account.to_be_bytes(), IP);
        }
        assert!(failures.current.len() + failures.previous.len() <= 2 * CAPACITY);
    }
}
