//! Digest nonces (RFC 7616 section 3.3): made without keeping anything, recognised by their signature, given state only by
//! a first valid use, each nonce count taken once.

use ahash::RandomState;
use clock::Mono;
use hashbrown::HashMap;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::time::Duration;

/// A nonce as written: 28 bytes in hex.
pub(crate) const TEXT_LENGTH: usize = 2 * (BODY + MAC);

/// run 4, tick 4, random 8.
const BODY: usize = 16;
/// 96 bits: beyond guessing within a nonce's life.
const MAC: usize = 12;
/// Ticks per second. Eviction forgets a whole tick's nonces at once, so ticks are short.
const TICKS: u64 = 10;
/// How many counts below the highest one may come late (several requests under way at once).
const WINDOW: u32 = 64;

/// All that is known of nonces.
#[derive(Debug)]
pub(crate) struct Nonces {
    key: [u8; 32],
    /// Which run of the node: what was used in another run is not known here, so its nonces are stale.
    run: u32,
    ttl: Duration,
    capacity: usize,
    hasher: RandomState,
    /// Nonces with state by the tick they were made in, oldest first. Most are used as soon as they are made: a table for each
    /// tick stays in the caches while that lasts, and is forgotten whole.
    used: VecDeque<(u32, Windows)>,
    /// How many they are.
    count: usize,
    /// Nonces made at or before this tick are good only while they have state: others may have been used and forgotten.
    forgotten: Option<u32>,
}

type Windows = HashMap<u64, Window, RandomState>;

/// A nonce that is ours and young enough.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nonce {
    tick: u32,
    id: u64,
}

/// The part of a nonce's number that tells to whom it was sent; the rest is random, or begins with a trace of a message.
pub(super) const MARK_BITS: u32 = 16;
pub(super) const MARK: u64 = !(u64::MAX >> MARK_BITS);
/// Of a challenge to a message: what it was about. See [`super::first`].
pub(super) const TRACE_BITS: u32 = 32;

/// The trace that a nonce bears, whoever made it: it means something only to whom it is compared with.
pub(super) fn trace_in(text: &[u8]) -> Option<u32> {
    let bytes = unhex(text)?;
    let id = bytes[8..16].iter().fold(0u64, |id, byte| id << 8 | u64::from(*byte));
    u32::try_from(id >> (64 - MARK_BITS - TRACE_BITS) & u64::from(u32::MAX)).ok()
}

impl Nonce {
    /// To whom it was sent.
    #[must_use]
    pub(super) fn mark(self) -> u64 {
        self.id & MARK
    }
}

/// Why a nonce is not taken.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// Not one of ours.
    Foreign,
    /// Ours, but too old or of another run: `stale=true` lets the phone try again without asking its user.
    Stale,
}

impl Nonces {
    /// No nonce is in use. `run` is random; `capacity` bounds the memory: some 40 bytes a nonce, and 200
    /// for each tick that has one.
    #[must_use]
    pub(crate) fn new(key: [u8; 32], run: u32, ttl: Duration, capacity: usize, hasher: RandomState) -> Nonces {
        Nonces {
            key,
            run,
            ttl,
            capacity: capacity.max(1),
            hasher,
            used: VecDeque::new(),
            count: 0,
            forgotten: None,
        }
    }

    /// New settings for the nonces to come.
    pub(crate) fn reload(&mut self, ttl: Duration, capacity: usize) {
        (self.ttl, self.capacity) = (ttl, capacity.max(1));
    }

    /// A fresh nonce. Nothing is kept.
    #[must_use]
    pub(crate) fn make(&self, now: Mono, random: u64) -> [u8; TEXT_LENGTH] {
        let mut body = [0; BODY];
        body[..4].copy_from_slice(&self.run.to_be_bytes());
        body[4..8].copy_from_slice(&tick(now).to_be_bytes());
        body[8..].copy_from_slice(&random.to_be_bytes());
        let mut text = [0; TEXT_LENGTH];
        hex(&body, &mut text[..2 * BODY]);
        hex(&self.mac(&body), &mut text[2 * BODY..]);
        text
    }

    /// Whether a nonce is ours and young enough.
    pub(crate) fn check(&self, now: Mono, text: &[u8]) -> Result<Nonce, Bad> {
        let bytes = unhex(text).ok_or(Bad::Foreign)?;
        let (body, mac) = bytes.split_at(BODY);
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&self.mac(body)[..], mac)) {
            return Err(Bad::Foreign);
        }
        let number = |at: usize| u32::from_be_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
        let (run, made) = (number(0), number(4));
        if run != self.run || tick(now).saturating_sub(made) > self.life() {
            return Err(Bad::Stale);
        }
        let id = u64::from(number(8)) << 32 | u64::from(number(12));
        Ok(Nonce { tick: made, id })
    }

    /// Takes a nonce count after its credentials proved right; `false` if it was taken before or cannot be told: then the
    /// answer is `stale=true`.
    pub(crate) fn spend(&mut self, now: Mono, nonce: Nonce, count: u32) -> bool {
        self.forget_expired(now);
        if let Some(window) = self.window(nonce) {
            return window.take(count);
        }
        if self.count >= self.capacity {
            self.forget_oldest();
        }
        if count == 0 || self.forgotten.is_some_and(|tick| nonce.tick <= tick) {
            return false;
        }
        let first = Window {
            highest: count,
            taken: 1,
        };
        self.windows(nonce.tick).insert(nonce.id, first);
        self.count += 1;
        true
    }

    /// Nonces with state.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// What is known of a nonce.
    fn window(&mut self, nonce: Nonce) -> Option<&mut Window> {
        let place = self.used.binary_search_by_key(&nonce.tick, |(tick, _)| *tick).ok()?;
        self.used[place].1.get_mut(&nonce.id)
    }

    /// The nonces of a tick.
    fn windows(&mut self, tick: u32) -> &mut Windows {
        let place = self.used.partition_point(|(before, _)| *before < tick);
        if self.used.get(place).is_none_or(|(there, _)| *there != tick) {
            let none = HashMap::with_hasher(self.hasher.clone());
            self.used.insert(place, (tick, none));
        }
        &mut self.used[place].1
    }

    fn forget_expired(&mut self, now: Mono) {
        let (now, life) = (tick(now), self.life());
        while self
            .used
            .front()
            .is_some_and(|(made, _)| now.saturating_sub(*made) > life)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((tick, windows)) = self.used.pop_front() {
            self.count -= windows.len();
            self.forgotten = self.forgotten.max(Some(tick));
        }
    }

    fn life(&self) -> u32 {
        u32::try_from(u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX) / (1_000 / TICKS)).unwrap_or(u32::MAX)
    }

    /// Of a message that came first under this CSeq: the same in each run.
    pub(super) fn trace(&self, call_id: &[u8], cseq: u32, body: &[u8]) -> u32 {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(b"a message that came first under this number");
        hash.update(cseq.to_be_bytes());
        hash.update(Sha256::digest(call_id));
        hash.update(body);
        let hash = hash.finalize();
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
    }

    /// A hash with the key before a text of fixed length: what breaks such a MAC in general, lengthening the text, is
    /// ruled out here.
    fn mac(&self, body: &[u8]) -> [u8; MAC] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(body);
        let mut mac = [0; MAC];
        mac.copy_from_slice(&hash.finalize()[..MAC]);
        mac
    }
}

/// Which counts of one nonce were taken: the highest, and a bit for each of the 64 up to it.
#[derive(Copy, Clone, Debug)]
struct Window {
    highest: u32,
    taken: u64,
}

impl Window {
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let ahead = count - self.highest;
            self.taken = if ahead < WINDOW { self.taken << ahead | 1 } else { 1 };
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        let fresh = count > 0 && behind < WINDOW && self.taken & 1 << behind == 0;
        if fresh {
            self.taken |= 1 << behind;
        }
        fresh
    }
}

fn tick(now: Mono) -> u32 {
    u32::try_from(now.millis() / (1_000 / TICKS)).unwrap_or(u32::MAX)
}

fn hex(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

fn unhex(text: &[u8]) -> Option<[u8; BODY + MAC]> {
    if text.len() != TEXT_LENGTH {
        return None;
    }
    let (mut bytes, mut wrong) = ([0; BODY + MAC], 0);
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        wrong |= high | low;
        *byte = high << 4 | low & 15;
    }
    (wrong & NO_DIGIT == 0).then_some(bytes)
}

const NO_DIGIT: u8 = 0x80;

/// What each lower-case hex digit stands for.
static VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let (digits, mut value) = (b"0123456789abcdef", 0);
    while value < 16 {
        values[digits[value as usize] as usize] = value;
        value += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    fn nonces(capacity: usize) -> Nonces {
        Nonces::new(
            [7; 32],
            1,
            Duration::from_secs(300),
            capacity,
            RandomState::with_seeds(1, 2, 3, 4),
        )
    }

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    fn fresh(nonces: &Nonces, now: Mono, random: u64) -> Nonce {
        nonces.check(now, &nonces.make(now, random)).unwrap()
    }

    #[test]
    fn a_nonce_is_good_for_its_life_and_then_stale() {
        let nonces = nonces(10);
        let text = nonces.make(at(10), 99);
        assert!(nonces.check(at(310), &text).is_ok());
        assert_eq!(nonces.check(at(311), &text), Err(Bad::Stale));
    }

    #[test]
    fn a_changed_nonce_is_foreign() {
        let nonces = nonces(10);
        let text = nonces.make(at(10), 99);
        for place in 0..TEXT_LENGTH {
            let mut changed = text;
            changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
            assert_eq!(nonces.check(at(10), &changed), Err(Bad::Foreign), "{place}");
        }
        assert_eq!(nonces.check(at(10), b""), Err(Bad::Foreign));
        assert_eq!(nonces.check(at(10), &[b'z'; TEXT_LENGTH]), Err(Bad::Foreign));
    }

    #[test]
    fn a_nonce_of_another_run_with_the_same_key_is_stale() {
        let before = nonces(10);
        let mut after = nonces(10);
        after.run = 2;
        assert_eq!(after.check(at(0), &before.make(at(0), 5)), Err(Bad::Stale));
    }

    #[test]
    fn each_count_is_taken_once_within_a_window_of_64() {
        let mut nonces = nonces(10);
        let nonce = fresh(&nonces, at(0), 1);
        assert!(nonces.spend(at(0), nonce, 1));
        assert!(!nonces.spend(at(0), nonce, 1));
        assert!(nonces.spend(at(0), nonce, 70));
        assert!(!nonces.spend(at(0), nonce, 6), "64 below the highest is outside");
        assert!(nonces.spend(at(0), nonce, 7));
        assert!(!nonces.spend(at(0), nonce, 7));
        assert!(nonces.spend(at(0), nonce, 69));
        assert!(!nonces.spend(at(0), nonce, 70));
        assert!(nonces.spend(at(0), nonce, u32::MAX));
        assert!(!nonces.spend(at(0), nonce, 71));
        assert!(!nonces.spend(at(0), nonce, 0));
    }

    #[test]
    fn the_window_agrees_with_a_plain_set() {
        let mut nonces = nonces(10);
        let nonce = fresh(&nonces, at(0), 1);
        let (mut seen, mut highest, mut random) = (std::collections::BTreeSet::new(), 0u32, 12_345u32);
        for _ in 0..5_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let count = highest.saturating_sub(40) + random % 90;
            let expected = count > 0 && (highest == 0 || count + 63 >= highest) && seen.insert(count);
            assert_eq!(nonces.spend(at(0), nonce, count), expected, "{count} below {highest}");
            if expected {
                highest = highest.max(count);
            }
        }
    }

    #[test]
    fn a_forgotten_nonce_cannot_be_used_again() {
        let mut nonces = nonces(3);
        let first = fresh(&nonces, at(0), 1);
        assert!(nonces.spend(at(0), first, 1));
        for n in 1..10 {
            let next = fresh(&nonces, at(n), n + 1);
            assert!(nonces.spend(at(n), next, 1));
            assert!(nonces.len() <= 3);
        }
        assert!(!nonces.spend(at(10), first, 1));
        assert!(!nonces.spend(at(10), first, 2));
    }

    #[test]
    fn state_goes_with_the_life_of_the_nonce() {
        let mut nonces = nonces(10);
        let first = fresh(&nonces, at(0), 1);
        assert!(nonces.spend(at(0), first, 1));
        let second = fresh(&nonces, at(400), 2);
        assert!(nonces.spend(at(400), second, 1));
        assert_eq!(nonces.len(), 1);
    }

    #[test]
    fn a_late_first_use_of_an_older_nonce_is_kept_in_order() {
        let mut nonces = nonces(2);
        let (old, middle, new) = (
            fresh(&nonces, at(0), 1),
            fresh(&nonces, at(5), 2),
            fresh(&nonces, at(9), 3),
        );
        assert!(nonces.spend(at(10), new, 1));
        assert!(nonces.spend(at(10), old, 1));
        assert!(nonces.spend(at(10), middle, 1), "the oldest one makes room");
        assert!(!nonces.spend(at(10), old, 2));
        assert!(nonces.spend(at(10), new, 2));
    }
}
