//! All subscriptions, found by number, by whose they are, and by what they watch.

use super::{Subscription, Watched};
use ahash::RandomState;
use hashbrown::HashMap;
use model::Aor;
use std::collections::VecDeque;

/// The tables; they always agree.
#[derive(Debug)]
pub(super) struct Table {
    /// By number: the owner number, never used again.
    alive: HashMap<u64, Subscription, RandomState>,
    /// Oldest first.
    by_user: HashMap<Aor, VecDeque<u64>, RandomState>,
    /// Oldest first.
    by_watched: HashMap<Watched, VecDeque<u64>, RandomState>,
    last_number: u64,
}

impl Table {
    pub(super) fn new(hasher: RandomState) -> Table {
        Table {
            alive: HashMap::with_hasher(hasher.clone()),
            by_user: HashMap::with_hasher(hasher.clone()),
            by_watched: HashMap::with_hasher(hasher),
            last_number: 0,
        }
    }

    /// A number for the next subscription.
    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn insert(&mut self, number: u64, one: Subscription) {
        self.by_user.entry(one.user.clone()).or_default().push_back(number);
        self.by_watched
            .entry(one.watched.clone())
            .or_default()
            .push_back(number);
        self.alive.insert(number, one);
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Subscription> {
        let one = self.alive.remove(&number)?;
        if let Some(numbers) = self.by_user.get_mut(&one.user) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_user.remove(&one.user);
            }
        }
        if let Some(numbers) = self.by_watched.get_mut(&one.watched) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_watched.remove(&one.watched);
            }
        }
        Some(one)
    }

    pub(super) fn get(&self, number: u64) -> Option<&Subscription> {
        self.alive.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Subscription> {
        self.alive.get_mut(&number)
    }

    pub(super) fn len(&self) -> usize {
        self.alive.len()
    }

    /// The oldest subscription of a user who has `limit` or more.
    pub(super) fn oldest_beyond(&self, user: &Aor, limit: usize) -> Option<u64> {
        let numbers = self.by_user.get(user).filter(|numbers| numbers.len() >= limit)?;
        numbers.front().copied()
    }

    /// Who watches this, in the order they came.
    pub(super) fn watchers(&self, watched: &Watched) -> Vec<u64> {
        let numbers = self.by_watched.get(watched);
        numbers
            .map(|numbers| numbers.iter().copied().collect())
            .unwrap_or_default()
    }

    /// # Errors
    /// What is wrong, for the log.
    pub(super) fn audit(&self) -> Result<(), String> {
        let alive = self.alive.len();
        let by_user: usize = self.by_user.values().map(VecDeque::len).sum();
        let by_watched: usize = self.by_watched.values().map(VecDeque::len).sum();
        ([by_user, by_watched] == [alive, alive])
            .then_some(())
            .ok_or_else(|| format!("subscriptions: {alive} alive, {by_user} by user, {by_watched} by what they watch"))
    }
}
