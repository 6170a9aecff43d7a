//! What was accepted lately: the same message again, by another way or in a new transaction, gets the same answer and has no
//! second effect.

use ahash::RandomState;
use clock::Mono;
use hashbrown::HashMap;
use model::{Aor, StoreOp};
use std::collections::VecDeque;

/// Messages remembered, the oldest forgotten first: those of some seconds at the highest rate measured. The store knows for
/// longer which it has kept.
const MAX: usize = 65_536;

/// By a hash of what tells a repeat: of 64 keyed bits, so that nobody finds two of a kind.
#[derive(Debug)]
pub(super) struct Recent {
    statuses: HashMap<u64, u16, RandomState>,
    order: VecDeque<(Mono, u64)>,
    hasher: RandomState,
}

impl Recent {
    pub(super) fn new(hasher: &RandomState) -> Recent {
        Recent {
            statuses: HashMap::with_hasher(hasher.clone()),
            order: VecDeque::new(),
            hasher: hasher.clone(),
        }
    }

    fn key(&self, to: &Aor, from: &Aor, call_id: &str, cseq: u32) -> u64 {
        self.hasher.hash_one((to.as_str(), from.as_str(), call_id, cseq))
    }

    /// What the sender of this message was told before.
    pub(super) fn status(&self, to: &Aor, from: &Aor, call_id: &str, cseq: u32) -> Option<u16> {
        self.statuses.get(&self.key(to, from, call_id, cseq)).copied()
    }

    /// A device took what an earlier run of the switch had stored: its sender may not have heard so.
    pub(super) fn note_late(&mut self, now: Mono, name: (&Aor, &Aor, &str, u32), status: u16) {
        if self.status(name.0, name.1, name.2, name.3).is_none() {
            self.note(now, name, status);
        }
    }

    /// The sender is told so now.
    pub(super) fn note(&mut self, now: Mono, (to, from, call_id, cseq): (&Aor, &Aor, &str, u32), status: u16) {
        let key = self.key(to, from, call_id, cseq);
        if self.statuses.insert(key, status).is_none() {
            self.order.push_back((now, key));
        }
        let is_old = |&mut (at, _): &mut (Mono, u64)| at + StoreOp::RETRY_WINDOW <= now;
        while let Some((_, key)) = self.order.pop_front_if(|one| is_old(one)) {
            self.statuses.remove(&key);
        }
        if self.order.len() > MAX
            && let Some((_, key)) = self.order.pop_front()
        {
            self.statuses.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_for_a_while_and_no_more_than_so_many() {
        let (kate, jim) = (Aor::new("1000", "x"), Aor::new("1001", "x"));
        let mut recent = Recent::new(&RandomState::with_seeds(1, 2, 3, 4));
        let second = |s: u64| Mono(s * 1_000_000_000);
        recent.note(second(1), (&jim, &kate, "a", 1), 202);
        assert_eq!(recent.status(&jim, &kate, "a", 1), Some(202));
        assert_eq!(recent.status(&kate, &jim, "a", 1), None);
        assert_eq!(recent.status(&jim, &kate, "a", 2), None);
        recent.note(second(70), (&jim, &kate, "b", 1), 200);
        assert_eq!(recent.status(&jim, &kate, "a", 1), None);
        for cseq in 0..70_000 {
            recent.note(second(71), (&jim, &kate, "c", cseq), 200);
        }
        assert_eq!((recent.statuses.len(), recent.order.len()), (MAX, MAX));
        assert_eq!(recent.status(&jim, &kate, "b", 1), None);
    }
}
