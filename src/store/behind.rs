//! Bindings, written behind: the registrar's memory is the truth, the disk follows.
//!
//! Of several writes to one binding only the newest is done. The disk follows at once when little happens; under a storm of
//! registrations it follows in rounds with a rest of four times the work between them, so that writing takes a fifth of a
//! core and not all of it, and what a phone refreshes twice in that time is written once.

use crate::kept::footprint;
use clock::Mono;
use model::{Aor, BindingKey, StoreOp};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Most bindings queued: more than two seconds of 55,000 new phones each.
const MAX: usize = 131_072;

/// Most bytes queued: 512 for each.
const MAX_BYTES: usize = 64 << 20;

/// From so many on there is no rest: phones that are all new leave nothing to coalesce.
const CROWDED: usize = MAX / 2;

/// Rest after a round of writing, as a multiple of the work, and its limits. The upper one is what a power cut may cost: the
/// phones of its last second register again at their next refresh.
const REST_FACTOR: u32 = 4;
const REST_MIN: Duration = Duration::from_millis(20);
const REST_MAX: Duration = Duration::from_secs(1);

/// An operation and the tokens of all it stands for.
pub(crate) type Waiting = (StoreOp, Vec<u64>);

/// The queue of operations on bindings. `std`'s map is keyed with random numbers: a phone chooses what it calls itself.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    entries: VecDeque<Waiting>,
    bytes: usize,
    /// Number of `entries[0]`; the others follow.
    first: u64,
    /// Number of the newest write of each binding.
    newest: HashMap<(Aor, BindingKey), u64>,
    /// Entries numbered below stay as they are: behind them stands a question, and nothing may slip in before it.
    barrier: u64,
    /// Entries numbered below are written without a rest: the present round.
    round_end: u64,
    /// Work of the present round so far.
    worked: Duration,
    rest_until: Mono,
    coalesced: u64,
}

impl Behind {
    /// Queues `op`, or gives it back when the queue is full. Somebody who waits for a reply need not wait for a rest.
    pub(crate) fn push(&mut self, token: Option<u64>, op: StoreOp) -> Result<(), Box<StoreOp>> {
        let key = key_of(&op);
        let older = key.as_ref().and_then(|key| self.newest.get(key)).copied();
        let older = older.filter(|&number| number >= self.barrier);
        self.admit(older, token, op)?;
        let number = older.unwrap_or(self.first + self.entries.len() as u64 - 1);
        match key {
            Some(key) => drop(self.newest.insert(key, number)),
            None => self.barrier = number + 1,
        }
        if token.is_some() {
            self.round_end = self.round_end.max(number + 1);
        }
        Ok(())
    }

    /// Puts `op` in the place of the entry `number`, or last.
    fn admit(&mut self, number: Option<u64>, token: Option<u64>, op: StoreOp) -> Result<(), Box<StoreOp>> {
        let old = number
            .map(|number| index(number, self.first))
            .filter(|&at| at < self.entries.len());
        let freed = old.map_or(0, |at| size(&self.entries[at]));
        let tokens = old.map_or(0, |at| self.entries[at].1.len());
        let bytes = footprint(&op) + TOKEN_BYTES * (tokens + usize::from(token.is_some()));
        if self.bytes - freed + bytes > MAX_BYTES || (old.is_none() && self.entries.len() >= MAX) {
            return Err(Box::new(op));
        }
        self.bytes = self.bytes - freed + bytes;
        if let Some(at) = old {
            self.entries[at].0 = op;
            self.entries[at].1.extend(token);
            self.coalesced += 1;
        } else {
            self.entries.push_back((op, token.into_iter().collect()));
        }
        Ok(())
    }

    /// Queues what could not be written, unless something newer has come for the same binding or there is no room; whether it
    /// is queued or needless. Of several, the last comes first.
    pub(crate) fn put_back(&mut self, op: StoreOp) -> bool {
        let overtaken = key_of(&op).is_some_and(|key| self.newest.contains_key(&key));
        overtaken || self.push(None, op).is_ok()
    }

    /// When [`Behind::pop`] has something to give, if ever.
    pub(crate) fn due_at(&self) -> Option<Mono> {
        if self.entries.is_empty() {
            return None;
        }
        let hurried = self.first < self.round_end || self.entries.len() > CROWDED;
        Some(if hurried { Mono(0) } else { self.rest_until })
    }

    /// The next operation of this round; a rest that is over begins a round of all that is queued now.
    pub(crate) fn pop(&mut self, now: Mono) -> Option<Waiting> {
        if self.due_at().is_none_or(|at| at > now) {
            return None;
        }
        if self.first >= self.round_end {
            self.round_end = self.first + self.entries.len() as u64;
        }
        self.pop_first()
    }

    /// The next operation, rest or no rest.
    pub(crate) fn pop_first(&mut self) -> Option<Waiting> {
        let entry = self.entries.pop_front()?;
        self.bytes -= size(&entry);
        if let Some(key) = key_of(&entry.0)
            && self.newest.get(&key) == Some(&self.first)
        {
            self.newest.remove(&key);
        }
        self.first += 1;
        Some(entry)
    }

    /// Some of a round was written, which took `work`; after the last of it comes the rest.
    pub(crate) fn on_written(&mut self, now: Mono, work: Duration) {
        self.worked += work;
        if self.first >= self.round_end {
            self.rest_until = now + (self.worked * REST_FACTOR).clamp(REST_MIN, REST_MAX);
            self.worked = Duration::ZERO;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn coalesced(&self) -> u64 {
        self.coalesced
    }
}

const TOKEN_BYTES: usize = size_of::<u64>();

fn size((op, tokens): &Waiting) -> usize {
    footprint(op) + TOKEN_BYTES * tokens.len()
}

fn index(number: u64, first: u64) -> usize {
    usize::try_from(number - first).unwrap_or(usize::MAX)
}

fn key_of(op: &StoreOp) -> Option<(Aor, BindingKey)> {
    match op {
        StoreOp::PutBinding(binding) => Some((binding.aor.clone(), binding.key.clone())),
        StoreOp::DeleteBinding { aor, key } => Some((aor.clone(), key.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{delete_binding, put_binding, put_binding_of};

    fn ms(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    fn drain(behind: &mut Behind, now: Mono) -> Vec<Waiting> {
        std::iter::from_fn(|| behind.pop(now)).collect()
    }

    #[test]
    fn the_newest_write_of_a_binding_takes_the_place_of_the_older() {
        let mut behind = Behind::default();
        behind.push(Some(1), put_binding("alice", 1)).unwrap();
        behind.push(None, put_binding("bob", 1)).unwrap();
        behind.push(Some(2), put_binding("alice", 2)).unwrap();
        behind.push(None, delete_binding("bob")).unwrap();
        let written = drain(&mut behind, ms(0));
        assert_eq!(
            written,
            [(put_binding("alice", 2), vec![1, 2]), (delete_binding("bob"), vec![])]
        );
        assert_eq!(behind.coalesced(), 2);
        assert_eq!((behind.bytes, behind.newest.len()), (0, 0));
    }

    #[test]
    fn a_question_sees_what_was_put_before_it_and_nothing_later() {
        let mut behind = Behind::default();
        behind.push(None, put_binding("alice", 1)).unwrap();
        behind.push(Some(7), StoreOp::LoadBindings).unwrap();
        behind.push(None, put_binding("alice", 2)).unwrap();
        let ops: Vec<_> = drain(&mut behind, ms(0)).into_iter().map(|(op, _)| op).collect();
        assert_eq!(
            ops,
            [put_binding("alice", 1), StoreOp::LoadBindings, put_binding("alice", 2)]
        );
    }

    #[test]
    fn rests_four_times_as_long_as_it_worked() {
        let mut behind = Behind::default();
        behind.push(None, put_binding("alice", 1)).unwrap();
        assert_eq!(drain(&mut behind, ms(0)).len(), 1);
        behind.on_written(ms(100), Duration::from_millis(100));
        behind.push(None, put_binding("alice", 2)).unwrap();
        assert_eq!(behind.due_at(), Some(ms(500)));
        assert!(behind.pop(ms(499)).is_none());
        assert!(behind.pop(ms(500)).is_some());
        behind.on_written(ms(501), Duration::from_millis(1));
        behind.push(None, put_binding("alice", 3)).unwrap();
        assert_eq!(behind.due_at(), Some(ms(521)));
        assert!(behind.pop(ms(521)).is_some());
        behind.on_written(ms(2_000), Duration::from_secs(2));
        behind.push(None, put_binding("alice", 4)).unwrap();
        assert_eq!(behind.due_at(), Some(ms(3_000)));
    }

    #[test]
    fn whoever_waits_for_a_reply_does_not_wait_for_the_rest() {
        let mut behind = Behind::default();
        behind.push(None, put_binding("alice", 1)).unwrap();
        drain(&mut behind, ms(0));
        behind.on_written(ms(100), Duration::from_millis(100));
        behind.push(None, put_binding("alice", 2)).unwrap();
        behind.push(Some(1), put_binding("bob", 1)).unwrap();
        behind.push(None, put_binding("carol", 1)).unwrap();
        assert_eq!(drain(&mut behind, ms(101)).len(), 2);
        behind.on_written(ms(102), Duration::from_millis(1));
        assert_eq!(drain(&mut behind, ms(103)).len(), 0);
    }

    #[test]
    fn takes_no_rest_when_crowded() {
        let mut behind = Behind::default();
        behind.on_written(ms(0), Duration::from_secs(1));
        for n in 0..=CROWDED {
            behind.push(None, put_binding(&n.to_string(), 1)).unwrap();
        }
        assert_eq!(drain(&mut behind, ms(1)).len(), CROWDED + 1);
    }

    #[test]
    fn what_failed_is_written_later_unless_something_newer_came() {
        let mut behind = Behind::default();
        behind.push(None, put_binding("alice", 1)).unwrap();
        behind.push(None, put_binding("bob", 1)).unwrap();
        let failed = drain(&mut behind, ms(0));
        behind.push(None, put_binding("alice", 2)).unwrap();
        assert!(failed.into_iter().all(|(op, _)| behind.put_back(op)));
        let ops: Vec<_> = drain(&mut behind, ms(0)).into_iter().map(|(op, _)| op).collect();
        assert_eq!(ops, [put_binding("alice", 2), put_binding("bob", 1)]);
    }

    #[test]
    fn a_question_between_them_lets_no_older_write_win() {
        let mut behind = Behind::default();
        behind.push(None, put_binding("alice", 1)).unwrap();
        let failed = drain(&mut behind, ms(0));
        behind.push(None, put_binding("alice", 2)).unwrap();
        behind.push(Some(1), StoreOp::LoadBindings).unwrap();
        assert!(failed.into_iter().all(|(op, _)| behind.put_back(op)));
        let ops: Vec<_> = drain(&mut behind, ms(0)).into_iter().map(|(op, _)| op).collect();
        assert_eq!(ops, [put_binding("alice", 2), StoreOp::LoadBindings]);
    }

    #[test]
    fn is_bounded_in_number_and_bytes_but_a_known_binding_always_finds_its_place() {
        let mut behind = Behind::default();
        for n in 0..MAX {
            behind.push(None, delete_binding(&n.to_string())).unwrap();
        }
        behind.push(None, delete_binding("one too many")).unwrap_err();
        behind.push(None, delete_binding("7")).unwrap();
        assert_eq!(behind.len(), MAX);
        assert!(!behind.put_back(put_binding("lost", 1)));

        let mut behind = Behind::default();
        let mut n = 0;
        while behind.push(None, put_binding_of(&n.to_string(), 8_000)).is_ok() {
            n += 1;
        }
        assert!((7_500..8_500).contains(&n), "{n} bindings of 8,000 bytes in 64 MiB");
    }
}
