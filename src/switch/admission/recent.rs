//! A bounded memory of those who were here lately. Peers choose what it is asked about, so it forgets instead of growing.

use ahash::RandomState;
use clock::Mono;
use hashbrown::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Who was not here for one to two of these is forgotten.
const AGE: Duration = Duration::from_secs(600);

/// Two generations: who comes back from the older one moves into the newer. When that is full or old, the older one goes.
/// A flood from made-up addresses shortens the memory and does no more.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    since: Mono,
    newer: HashMap<K, V, RandomState>,
    older: HashMap<K, V, RandomState>,
    capacity: usize,
}

impl<K: Hash + Eq, V: Default> Recent<K, V> {
    /// Remembers nobody yet, and at most `capacity` in each generation.
    pub(crate) fn new(capacity: usize, hasher: &RandomState) -> Recent<K, V> {
        Recent {
            since: Mono(0),
            newer: HashMap::with_hasher(hasher.clone()),
            older: HashMap::with_hasher(hasher.clone()),
            capacity,
        }
    }

    /// What is known of somebody; of who is not remembered, nothing.
    pub(crate) fn of(&mut self, now: Mono, key: K) -> &mut V {
        if now.since(self.since) >= AGE || self.newer.len() >= self.capacity && !self.newer.contains_key(&key) {
            self.since = now;
            self.older = std::mem::replace(&mut self.newer, HashMap::with_hasher(self.older.hasher().clone()));
        }
        let older = &mut self.older;
        self.newer
            .entry(key)
            .or_insert_with_key(|key| if older.is_empty() { None } else { older.remove(key) }.unwrap_or_default())
    }

    pub(crate) fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    #[test]
    fn who_comes_back_in_time_is_known_and_who_does_not_is_forgotten() {
        let mut recent: Recent<u32, u32> = Recent::new(100, &RandomState::with_seeds(1, 2, 3, 4));
        for second in (0..3_000).step_by(300) {
            *recent.of(at(second), 1) += 1;
        }
        *recent.of(at(0), 2) += 1;
        assert_eq!(*recent.of(at(3_000), 1), 10);
        recent.of(at(3_700), 1);
        assert_eq!(*recent.of(at(4_400), 2), 0);
    }

    #[test]
    fn a_flood_of_new_ones_stays_bounded() {
        let mut recent: Recent<u32, u32> = Recent::new(1_000, &RandomState::with_seeds(1, 2, 3, 4));
        for key in 0..100_000 {
            *recent.of(at(1), key) += 1;
            assert!(recent.len() <= 2_000);
        }
    }
}
