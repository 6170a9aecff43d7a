//! All subscriptions, found by number, by whose they are, and by what they watch.

use super::{Package, Subscription, Watched};
use ahash::RandomState;
use hashbrown::HashMap;
use model::Aor;
use std::collections::VecDeque;
use std::hash::Hash;

/// The tables; they always agree.
#[derive(Debug)]
pub(super) struct Table {
    /// By number: the owner number, never used again.
    alive: HashMap<u64, Subscription, RandomState>,
    /// Oldest first.
    by_user: HashMap<Aor, VecDeque<u64>, RandomState>,
    /// Oldest first. Who watches a list is there for each who is on it.
    by_watched: HashMap<Watched, VecDeque<u64>, RandomState>,
    /// How many there are of each [`Package`], lists among them.
    by_package: [usize; Package::ALL.len()],
    lists: usize,
    last_number: u64,
}

impl Table {
    pub(super) fn new(hasher: RandomState) -> Table {
        Table {
            alive: HashMap::with_hasher(hasher.clone()),
            by_user: HashMap::with_hasher(hasher.clone()),
            by_watched: HashMap::with_hasher(hasher),
            by_package: [0; Package::ALL.len()],
            lists: 0,
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
        self.by_package[one.watched.package() as usize] += 1;
        self.lists += usize::from(one.watched.is_list());
        self.watch(number, &one);
        self.alive.insert(number, one);
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Subscription> {
        let one = self.alive.remove(&number)?;
        take_out(&mut self.by_user, &one.user, number);
        self.by_package[one.watched.package() as usize] -= 1;
        self.lists -= usize::from(one.watched.is_list());
        self.unwatch(number, &one);
        Some(one)
    }

    /// Changes what one watches.
    pub(super) fn change(&mut self, number: u64, change: impl FnOnce(&mut Subscription)) {
        let Some(mut one) = self.alive.remove(&number) else {
            return;
        };
        self.unwatch(number, &one);
        change(&mut one);
        self.watch(number, &one);
        self.alive.insert(number, one);
    }

    fn watch(&mut self, number: u64, one: &Subscription) {
        for watched in one.all_watched() {
            self.by_watched.entry(watched.clone()).or_default().push_back(number);
        }
    }

    fn unwatch(&mut self, number: u64, one: &Subscription) {
        for watched in one.all_watched() {
            take_out(&mut self.by_watched, watched, number);
        }
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

    /// How many there are of a package, lists among them.
    pub(super) fn of(&self, package: Package) -> usize {
        self.by_package[package as usize]
    }

    /// How many of all are to lists.
    pub(super) fn lists(&self) -> usize {
        self.lists
    }

    /// All numbers, oldest first.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = self.alive.keys().copied().collect();
        numbers.sort_unstable();
        numbers
    }

    /// The oldest subscription of a user who has more than `limit`.
    pub(super) fn oldest_beyond(&self, user: &Aor, limit: usize) -> Option<u64> {
        let numbers = self.by_user.get(user).filter(|numbers| numbers.len() > limit)?;
        numbers.front().copied()
    }

    /// Who watches this, in the order they came.
    pub(super) fn watchers(&self, watched: &Watched) -> impl Iterator<Item = u64> {
        self.by_watched.get(watched).into_iter().flatten().copied()
    }

    /// # Errors
    /// What is wrong, for the log.
    pub(super) fn audit(&self) -> Result<(), String> {
        let alive = self.alive.len();
        let wanted: usize = self.alive.values().map(|one| one.all_watched().count()).sum();
        let by_user: usize = self.by_user.values().map(VecDeque::len).sum();
        let by_watched: usize = self.by_watched.values().map(VecDeque::len).sum();
        let by_package: usize = self.by_package.iter().sum();
        ([by_user, by_package, by_watched] == [alive, alive, wanted])
            .then_some(())
            .ok_or_else(|| {
                format!(
                    "subscriptions: {alive} alive, {by_user} by user, {by_package} by package, {by_watched} by what they watch \
                     instead of {wanted}"
                )
            })
    }
}

/// Takes a number out of the ones of a key, and a key without any out of the map.
fn take_out<K: Eq + Hash>(map: &mut HashMap<K, VecDeque<u64>, RandomState>, key: &K, number: u64) {
    let Some(numbers) = map.get_mut(key) else { return };
    numbers.retain(|other| *other != number);
    if numbers.is_empty() {
        map.remove(key);
    }
}
