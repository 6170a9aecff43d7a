//! How many wrong passwords came from where: a limit on guessing that never locks the true user out from elsewhere.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Wrong answers for one account from one address in a window.
const PER_ACCOUNT: u32 = 10;
/// Wrong answers from one address in a window, whatever the account: one host does not fill the table.
const PER_ADDRESS: u32 = 100;
/// How long failures count.
const WINDOW: Duration = Duration::from_secs(60);
/// Accounts and addresses remembered in one window: some 3 MiB. When it is full, who is not yet in it waits too.
const MAX_REMEMBERED: usize = 20_000;
/// Longer names are no accounts of ours; they share what their first bytes say.
const MAX_NAME: usize = 64;

/// Failures of the present window. `std`'s maps hash with a random key, so peers cannot choose collisions.
pub(crate) struct Failures(Mutex<Window>);

struct Window {
    since: Instant,
    counts: HashMap<(IpAddr, Option<Box<str>>), u32>,
}

impl Failures {
    pub(crate) fn new(now: Instant) -> Failures {
        Failures(Mutex::new(Window {
            since: now,
            counts: HashMap::new(),
        }))
    }

    /// Whether a further password may be looked at.
    pub(crate) fn allows(&self, now: Instant, from: IpAddr, account: &str) -> bool {
        let window = &mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        window.turn(now);
        let full = window.counts.len() >= MAX_REMEMBERED;
        let below = |key, limit| match window.counts.get(&key) {
            Some(count) => *count < limit,
            None => !full,
        };
        below((from, Some(name(account))), PER_ACCOUNT) && below((from, None), PER_ADDRESS)
    }

    /// Takes note of a wrong password.
    pub(crate) fn on_wrong(&self, now: Instant, from: IpAddr, account: &str) {
        let window = &mut *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        window.turn(now);
        for key in [(from, Some(name(account))), (from, None)] {
            if window.counts.len() < MAX_REMEMBERED || window.counts.contains_key(&key) {
                *window.counts.entry(key).or_default() += 1;
            }
        }
    }
}

impl Window {
    fn turn(&mut self, now: Instant) {
        if now.duration_since(self.since) >= WINDOW {
            self.since = now;
            self.counts.clear();
        }
    }
}

fn name(account: &str) -> Box<str> {
    let end = account
        .char_indices()
        .map(|(at, _)| at)
        .take_while(|at| *at <= MAX_NAME)
        .last();
    match account.len() {
        ..=MAX_NAME => account.into(),
        _ => account[..end.unwrap_or(0)].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn ten_wrong_answers_close_the_account_for_that_address_only() {
        let start = Instant::now();
        let failures = Failures::new(start);
        for _ in 0..10 {
            assert!(failures.allows(start, A, "1000"));
            failures.on_wrong(start, A, "1000");
        }
        assert!(!failures.allows(start, A, "1000"));
        assert!(failures.allows(start, B, "1000"), "the true user comes from elsewhere");
        assert!(failures.allows(start, A, "1001"));
        assert!(
            failures.allows(start + WINDOW, A, "1000"),
            "after a minute all is forgotten"
        );
    }

    #[test]
    fn one_address_cannot_try_account_after_account() {
        let start = Instant::now();
        let failures = Failures::new(start);
        for account in 0..100 {
            failures.on_wrong(start, A, &account.to_string());
        }
        assert!(!failures.allows(start, A, "1000"));
        assert!(failures.allows(start, B, "1000"));
    }

    #[test]
    fn the_table_is_bounded_and_a_full_one_lets_nobody_guess() {
        let start = Instant::now();
        let failures = Failures::new(start);
        for host in 0..30_000_u32 {
            failures.on_wrong(start, IpAddr::V4(Ipv4Addr::from(host)), "1000");
        }
        assert_eq!(failures.0.lock().unwrap().counts.len(), MAX_REMEMBERED);
        assert!(!failures.allows(start, IpAddr::V4(Ipv4Addr::from(29_999)), "1000"));
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(name(&"é".repeat(100)).len(), 64);
        assert_eq!(&*name("1000"), "1000");
    }
}
