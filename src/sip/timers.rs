//! A hierarchical timer wheel: insert and cancel in constant time, sized for a million timers.
//!
//! Five levels of 256 slots: a slot is 1 ms wide at the bottom, then 256 ms, 65 s, 4.7 h and 50 days. A timer stands at
//! the level of the highest byte in which its tick differs from the present one, and moves down when the present enters its
//! slot, at most four times in its life.

use clock::Mono;
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const LEVELS: usize = 5;
const SLOTS: usize = 256;
/// 34 years of milliseconds: later than any deadline that means something, so later ones become this.
const FAR: u64 = (1 << (8 * LEVELS)) - 1;
const NIL: u32 = u32::MAX;

/// Timers with a key each, fired in order of deadline (in whole milliseconds, rounded up) and then of insertion.
#[derive(Clone, Debug)]
pub struct Wheel<K> {
    entries: Vec<Entry<K>>,
    free: u32,
    slots: Box<[[Slot; SLOTS]; LEVELS]>,
    occupied: [[u64; SLOTS / 64]; LEVELS],
    /// All timers of this tick and before it stand in `due`.
    tick: u64,
    /// The first of them is one that is set.
    due: BinaryHeap<Reverse<Due>>,
    /// A slot that is being entered: some of its timers have been placed anew.
    entering: Option<(usize, usize)>,
    inserted: u64,
    len: usize,
}

/// One timer; of no use after it fired or was cancelled.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

#[derive(Clone, Debug)]
struct Entry<K> {
    tick: u64,
    order: u64,
    /// Neighbours in the slot; `next` also chains free entries.
    prev: u32,
    next: u32,
    generation: u32,
    place: Place,
    /// `None` while free.
    key: Option<K>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Place {
    Due,
    Slot { level: u8, slot: u8 },
}

#[derive(Clone, Debug)]
struct Slot {
    head: u32,
    /// The earliest tick in it, if known: looked for again when asked after the earliest was cancelled.
    earliest: Cell<Option<u64>>,
}

/// Tick, order of insertion, entry and its generation: the entry may be gone when its turn comes.
type Due = (u64, u64, u32, u32);

impl<K: Copy> Default for Wheel<K> {
    fn default() -> Wheel<K> {
        Wheel {
            entries: Vec::new(),
            free: NIL,
            slots: Box::new(std::array::from_fn(|_| {
                std::array::from_fn(|_| Slot {
                    head: NIL,
                    earliest: Cell::new(None),
                })
            })),
            occupied: [[0; SLOTS / 64]; LEVELS],
            tick: 0,
            due: BinaryHeap::new(),
            entering: None,
            inserted: 0,
            len: 0,
        }
    }
}

impl<K: Copy> Wheel<K> {
    /// No timers.
    #[must_use]
    pub fn new() -> Wheel<K> {
        Wheel::default()
    }

    /// No timers, and room for so many.
    #[must_use]
    pub fn with_capacity(timers: usize) -> Wheel<K> {
        Wheel {
            entries: Vec::with_capacity(timers),
            ..Wheel::default()
        }
    }

    /// How many timers are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The keys of all timers that are set, in no order.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.entries.iter().filter_map(|entry| entry.key)
    }

    /// Sets a timer. One that is late already fires at the next [`Wheel::pop`].
    pub fn insert(&mut self, deadline: Mono, key: K) -> TimerId {
        let tick = deadline.0.div_ceil(NANOS_PER_TICK).min(FAR);
        let index = self.take_entry(Entry {
            tick,
            order: self.inserted,
            prev: NIL,
            next: NIL,
            generation: 0,
            place: Place::Due,
            key: Some(key),
        });
        self.inserted += 1;
        self.len += 1;
        self.place(index);
        TimerId {
            index,
            generation: self.entries[index as usize].generation,
        }
    }

    /// Takes a timer back; `None` if it has fired or was cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> Option<K> {
        let entry = self
            .entries
            .get(id.index as usize)
            .filter(|e| e.generation == id.generation)?;
        if let Place::Slot { level, slot } = entry.place {
            self.unlink(id.index, usize::from(level), usize::from(slot));
        }
        let key = self.release(id.index);
        self.forget_cancelled();
        key
    }

    /// When the next timer fires, exactly (in whole milliseconds); a moment that has passed while [`Wheel::pop`] has not come
    /// to an end. Costs the length of one slot if the earliest timer of the next 256 ms and more was cancelled since it was
    /// last asked; otherwise nothing.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        let due = self.due.peek().map(|Reverse((tick, ..))| *tick);
        let entering = || self.entering.map(|_| self.tick);
        let ahead = || self.first_slot().map(|(level, slot)| self.earliest(level, slot));
        let tick = due.or_else(entering).or_else(ahead)?;
        Some(Mono(tick * NANOS_PER_TICK))
    }

    /// Takes the next timer whose deadline is not after `now`. It costs [`FIRED`] of `work`, and each that stands before it
    /// and is placed anew costs 1: a million timers of one moment are not the work of one. `None` if there is no more, or
    /// no more work to be spent: then [`Wheel::next_deadline`] is not after `now`.
    pub fn pop(&mut self, now: Mono, work: &mut usize) -> Option<K> {
        let now = (now.0 / NANOS_PER_TICK).min(FAR);
        while *work > 0 {
            // Before a slot is entered as a whole, an earlier one may be in it.
            if self.entering.is_none()
                && let Some(Reverse((_, _, index, _))) = self.due.pop()
            {
                *work = work.saturating_sub(FIRED);
                let key = self.release(index);
                self.forget_cancelled();
                return key;
            }
            if !self.advance(now, work) {
                return None;
            }
        }
        None
    }

    /// Keeps the promise of `due`.
    fn forget_cancelled(&mut self) {
        while self.due.peek().is_some_and(|Reverse(due)| !self.is_set(due)) {
            self.due.pop();
        }
    }

    /// Goes on with the slot that is being entered, or enters the next occupied one if it begins by `now`.
    fn advance(&mut self, now: u64, work: &mut usize) -> bool {
        if let Some((level, slot)) = self.entering {
            self.scatter(level, slot, work);
            return true;
        }
        let next = self
            .first_slot()
            .map(|(level, slot)| (level, slot, self.begin(level, slot)));
        match next {
            Some((level, slot, begin)) if begin <= now => {
                self.tick = begin;
                self.scatter(level, slot, work);
                true
            }
            _ => {
                self.tick = self.tick.max(now);
                false
            }
        }
    }

    /// Places the timers of a slot anew, lower down or among those that are due, as far as the work reaches.
    fn scatter(&mut self, level: usize, slot: usize, work: &mut usize) {
        self.entering = Some((level, slot));
        while *work > 0 {
            let index = self.slots[level][slot].head;
            if index == NIL {
                self.entering = None;
                return;
            }
            self.unlink(index, level, slot);
            self.place(index);
            *work -= 1;
        }
    }

    fn place(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        if entry.tick <= self.tick {
            entry.place = Place::Due;
            self.due
                .push(Reverse((entry.tick, entry.order, index, entry.generation)));
            return;
        }
        let level = (63 - (entry.tick ^ self.tick).leading_zeros() as usize) / 8;
        let slot = digit(entry.tick, level);
        self.link(index, level, slot);
    }

    #[allow(clippy::cast_possible_truncation)] // level < 5, slot < 256
    fn link(&mut self, index: u32, level: usize, slot: usize) {
        let place = &mut self.slots[level][slot];
        let head = std::mem::replace(&mut place.head, index);
        let entry = &mut self.entries[index as usize];
        (entry.prev, entry.next) = (NIL, head);
        entry.place = Place::Slot {
            level: level as u8,
            slot: slot as u8,
        };
        if head == NIL {
            place.earliest.set(Some(entry.tick));
            self.occupied[level][slot / 64] |= 1 << (slot % 64);
        } else {
            place.earliest.set(place.earliest.get().map(|t| t.min(entry.tick)));
            self.entries[head as usize].prev = index;
        }
    }

    fn unlink(&mut self, index: u32, level: usize, slot: usize) {
        let Entry { tick, prev, next, .. } = self.entries[index as usize];
        if next != NIL {
            self.entries[next as usize].prev = prev;
        }
        if prev != NIL {
            self.entries[prev as usize].next = next;
        }
        let place = &mut self.slots[level][slot];
        if place.head == index {
            place.head = next;
        }
        if place.head == NIL {
            self.occupied[level][slot / 64] &= !(1 << (slot % 64));
        }
        // At the bottom all timers of a slot have one tick.
        if level > 0 && place.earliest.get() == Some(tick) {
            place.earliest.set(None);
        }
    }

    /// The lowest level holds the earliest timers, since all levels above begin after it ends.
    fn first_slot(&self) -> Option<(usize, usize)> {
        (0..LEVELS).find_map(|level| {
            let words = self.occupied[level].iter().enumerate();
            let (word, bits) = words.into_iter().find(|(_, bits)| **bits != 0)?;
            Some((level, word * 64 + bits.trailing_zeros() as usize))
        })
    }

    /// The first tick of a slot that lies ahead.
    fn begin(&self, level: usize, slot: usize) -> u64 {
        let above = self.tick >> (8 * (level + 1)) << (8 * (level + 1));
        above | (slot as u64) << (8 * level)
    }

    fn earliest(&self, level: usize, slot: usize) -> u64 {
        let place = &self.slots[level][slot];
        if let Some(tick) = place.earliest.get() {
            return tick;
        }
        let (mut index, mut earliest) = (place.head, FAR);
        while index != NIL {
            let entry = &self.entries[index as usize];
            earliest = earliest.min(entry.tick);
            index = entry.next;
        }
        place.earliest.set(Some(earliest));
        earliest
    }

    fn is_set(&self, (_, _, index, generation): &Due) -> bool {
        self.entries[*index as usize].generation == *generation
    }

    fn take_entry(&mut self, entry: Entry<K>) -> u32 {
        if self.free == NIL {
            let index = u32::try_from(self.entries.len()).unwrap_or(NIL);
            // Four thousand million timers do not fit into memory.
            assert!(index != NIL, "timers fit into 32 bits");
            self.entries.push(entry);
            return index;
        }
        let index = self.free;
        let place = &mut self.entries[index as usize];
        self.free = place.next;
        *place = Entry {
            generation: place.generation,
            ..entry
        };
        index
    }

    /// Frees an entry; its identifiers mean nothing from now on.
    fn release(&mut self, index: u32) -> Option<K> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
        entry.key.take()
    }
}

const NANOS_PER_TICK: u64 = 1_000_000;

/// What a timer that fires costs of [`Wheel::pop`]'s work: what follows from it takes some microseconds, to be placed anew some
/// tens of nanoseconds.
pub const FIRED: usize = 16;

/// Byte `level` of a tick.
fn digit(tick: u64, level: usize) -> usize {
    (tick >> (8 * level)) as usize & (SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn at(ms: u64) -> Mono {
        Mono(ms * NANOS_PER_TICK)
    }

    fn fired(wheel: &mut Wheel<u32>, now: Mono) -> Vec<u32> {
        let mut fired = Vec::new();
        loop {
            let mut work = 2 * FIRED;
            fired.extend(std::iter::from_fn(|| wheel.pop(now, &mut work)));
            if wheel.next_deadline().is_none_or(|deadline| deadline > now) {
                return fired;
            }
        }
    }

    #[test]
    fn fires_in_order_of_deadline_and_then_of_insertion() {
        let mut wheel = Wheel::new();
        for (ms, key) in [(70_000, 5), (500, 2), (1, 0), (500, 3), (300, 1), (4_000, 4)] {
            wheel.insert(at(ms), key);
        }
        assert_eq!(fired(&mut wheel, at(499)), [0, 1]);
        assert_eq!(fired(&mut wheel, at(500)), [2, 3]);
        assert_eq!(wheel.next_deadline(), Some(at(4_000)));
        assert_eq!(fired(&mut wheel, at(100_000)), [4, 5]);
        assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
    }

    #[test]
    fn never_fires_early() {
        let mut wheel = Wheel::new();
        wheel.insert(Mono(1_000_001), 1);
        assert!(fired(&mut wheel, Mono(1_999_999)).is_empty());
        assert_eq!(fired(&mut wheel, Mono(2_000_000)), [1]);
    }

    #[test]
    fn a_cancelled_timer_does_not_fire_and_its_identifier_is_spent() {
        let mut wheel = Wheel::new();
        let first = wheel.insert(at(10), 1);
        assert_eq!((wheel.cancel(first), wheel.cancel(first)), (Some(1), None));
        let second = wheel.insert(at(10), 2);
        assert_eq!(wheel.cancel(first), None, "the place was used again");
        assert_eq!(fired(&mut wheel, at(10)), [2]);
        assert_eq!(wheel.cancel(second), None);
    }

    #[test]
    fn a_late_timer_fires_before_those_that_are_due_later() {
        let mut wheel = Wheel::new();
        wheel.insert(at(100), 1);
        wheel.insert(at(100), 2);
        assert_eq!(wheel.pop(at(200), &mut 100), Some(1));
        wheel.insert(at(50), 0);
        assert_eq!(wheel.next_deadline(), Some(at(50)));
        assert_eq!(fired(&mut wheel, at(200)), [0, 2]);
    }

    #[test]
    fn very_many_timers_of_one_moment_are_taken_in_pieces_and_in_order() {
        let mut wheel = Wheel::new();
        let ids: Vec<_> = (0..10_000).map(|key| wheel.insert(at(70_000), key)).collect();
        assert_eq!(wheel.pop(at(69_999), &mut 100), None, "none is early");
        let (mut taken, mut turns) = (Vec::new(), 0);
        while wheel.next_deadline().is_some_and(|deadline| deadline <= at(70_000)) {
            let mut work = 10 * FIRED;
            taken.extend(std::iter::from_fn(|| wheel.pop(at(70_000), &mut work)));
            turns += 1;
            assert!(taken.len() <= 10 * turns);
            // While the slot is entered others come and go.
            if turns == 5 {
                wheel.cancel(ids[0]);
                wheel.cancel(ids[9_999]);
                wheel.insert(at(60_000), 10_000);
            }
        }
        assert_eq!(taken, std::iter::once(10_000).chain(1..9_999).collect::<Vec<_>>());
        assert!(wheel.is_empty());
    }

    #[test]
    fn the_far_future_is_held() {
        let mut wheel = Wheel::new();
        let far = wheel.insert(Mono(u64::MAX), 1);
        assert!(fired(&mut wheel, at(1 << 39)).is_empty());
        assert_eq!(wheel.cancel(far), Some(1));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Cancel(usize),
        Advance(u64),
        Pop,
    }

    fn step() -> impl Strategy<Value = Step> {
        let span = prop_oneof![0..300u64, 0..70_000u64, 0..20_000_000u64, 0..10_000_000_000u64];
        prop_oneof![
            4 => span.clone().prop_map(Step::Insert),
            2 => any::<usize>().prop_map(Step::Cancel),
            2 => span.prop_map(Step::Advance),
            1 => Just(Step::Pop),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_map(steps in prop::collection::vec(step(), 1..200)) {
            let (mut wheel, mut model, mut ids) = (Wheel::new(), BTreeMap::new(), Vec::new());
            let (mut now, mut order) = (0u64, 0u32);
            for step in steps {
                match step {
                    Step::Insert(after) => {
                        let tick = (now + after).saturating_sub(100);
                        ids.push((wheel.insert(at(tick), order), tick, order));
                        model.insert((tick, order), order);
                        order += 1;
                    }
                    Step::Cancel(which) if !ids.is_empty() => {
                        let (id, tick, order) = ids[which % ids.len()];
                        prop_assert_eq!(wheel.cancel(id), model.remove(&(tick, order)));
                    }
                    Step::Cancel(_) => {}
                    Step::Pop => {
                        let due = model.first_key_value().filter(|((tick, _), _)| *tick <= now).map(|(k, _)| *k);
                        prop_assert_eq!(wheel.pop(at(now), &mut 1_000_000), due.and_then(|k| model.remove(&k)));
                    }
                    Step::Advance(by) => {
                        now += by;
                        let later = model.split_off(&(now + 1, 0));
                        prop_assert_eq!(fired(&mut wheel, at(now)), model.into_values().collect::<Vec<_>>());
                        model = later;
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                prop_assert_eq!(wheel.next_deadline(), model.keys().next().map(|(tick, _)| at(*tick)));
            }
        }
    }
}
