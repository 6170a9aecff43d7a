//! Things in numbered places. A key never names a later thing in the same place, so a late timer or event finds nothing.

use std::marker::PhantomData;

/// Names one thing in an [`Arena`]. Packs into 54 bits for owner numbers.
pub(crate) struct Key<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

/// Bits of a packed key that hold the place; the generation has the rest.
const INDEX_BITS: u32 = 24;
const GENERATION_BITS: u32 = 30;
/// So many things can be alive at once: what fits into [`INDEX_BITS`].
pub(crate) const CAPACITY: usize = 1 << INDEX_BITS;

/// Places in one block. A slab in one piece would be copied whenever it doubles, and stand in memory twice until the heap has
/// given the first copy back.
const BLOCK: usize = 32;

/// A slab whose keys have a generation. All operations are O(1) but [`Arena::iter`], which goes by place.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    /// All full but the last.
    blocks: Vec<Vec<Place<T>>>,
    free: Vec<u32>,
    /// Places of what was put in, taken out or lent for change since the last [`Arena::take_touched`], some more than once;
    /// `None`: nobody asks.
    touched: Option<Vec<Key<T>>>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    content: Option<T>,
}

impl<T> Default for Arena<T> {
    fn default() -> Arena<T> {
        Arena {
            blocks: Vec::new(),
            free: Vec::new(),
            touched: None,
        }
    }
}

impl<T> Arena<T> {
    /// The key that the next [`Arena::insert`] will give.
    #[must_use]
    pub(crate) fn next_key(&self) -> Key<T> {
        let (index, generation) = match self.free.last() {
            Some(&index) => (index, self.place(index).map_or(0, |place| place.generation)),
            None => (u32::try_from(self.places()).unwrap_or(u32::MAX), 0),
        };
        Key::new(index, generation)
    }

    /// Puts a thing into a free place. Callers keep to [`CAPACITY`].
    pub(crate) fn insert(&mut self, content: T) -> Key<T> {
        debug_assert!(self.len() < CAPACITY);
        let key = self.next_key();
        match self.free.pop() {
            Some(_) => {
                if let Some(place) = self.place_mut(key) {
                    place.content = Some(content);
                }
            }
            None => self.push(content),
        }
        self.touch(key);
        key
    }

    /// Takes a thing out; its key and all copies of it name nothing from now on.
    pub(crate) fn remove(&mut self, key: Key<T>) -> Option<T> {
        self.touch(key);
        let place = self.place_mut(key)?;
        let content = place.content.take()?;
        place.generation = (place.generation + 1) & ((1 << GENERATION_BITS) - 1);
        self.free.push(key.index);
        Some(content)
    }

    /// The thing, if it is still there.
    #[must_use]
    pub(crate) fn get(&self, key: Key<T>) -> Option<&T> {
        let place = self.place(key.index)?;
        place.content.as_ref().filter(|_| place.generation == key.generation)
    }

    /// The thing, if it is still there.
    pub(crate) fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        self.touch(key);
        self.place_mut(key)?.content.as_mut()
    }

    /// Two different things, if both are still there.
    pub(crate) fn pair_mut(&mut self, one: Key<T>, other: Key<T>) -> Option<(&mut T, &mut T)> {
        self.touch(one);
        self.touch(other);
        let (at, there) = (split(one.index), split(other.index));
        let [first, second] = if at.0 == there.0 {
            self.blocks.get_mut(at.0)?.get_disjoint_mut([at.1, there.1]).ok()?
        } else {
            let [block, other] = self.blocks.get_disjoint_mut([at.0, there.0]).ok()?;
            [block.get_mut(at.1)?, other.get_mut(there.1)?]
        };
        if first.generation != one.generation || second.generation != other.generation {
            return None;
        }
        Some((first.content.as_mut()?, second.content.as_mut()?))
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.places() - self.free.len()
    }

    /// All of them, by place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        (0..).zip(self.blocks.iter().flatten()).filter_map(|(index, place)| {
            let content = place.content.as_ref()?;
            Some((Key::new(index, place.generation), content))
        })
    }

    /// Takes note of changes from now on.
    pub(crate) fn watch(&mut self) {
        self.touched.get_or_insert_default();
    }

    /// What may have changed since the last time, each once; some of it may be gone.
    pub(crate) fn take_touched(&mut self) -> Vec<Key<T>> {
        let mut touched = self.touched.as_mut().map(std::mem::take).unwrap_or_default();
        touched.sort_unstable_by_key(|key| key.pack());
        touched.dedup();
        touched
    }

    fn touch(&mut self, key: Key<T>) {
        if let Some(touched) = &mut self.touched
            && touched.last() != Some(&key)
        {
            touched.push(key);
        }
    }

    fn push(&mut self, content: T) {
        if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let content = Some(content);
        if let Some(block) = self.blocks.last_mut() {
            block.push(Place { generation: 0, content });
        }
    }

    /// How many there are, full and free.
    fn places(&self) -> usize {
        let last = self.blocks.last().map_or(0, Vec::len);
        self.blocks.len().saturating_sub(1) * BLOCK + last
    }

    fn place(&self, index: u32) -> Option<&Place<T>> {
        let (block, at) = split(index);
        self.blocks.get(block)?.get(at)
    }

    fn place_mut(&mut self, key: Key<T>) -> Option<&mut Place<T>> {
        let (block, at) = split(key.index);
        let place = self.blocks.get_mut(block)?.get_mut(at)?;
        Some(place).filter(|place| place.generation == key.generation)
    }
}

/// The block of a place, and where in it.
fn split(index: u32) -> (usize, usize) {
    (index as usize / BLOCK, index as usize % BLOCK)
}

impl<T> Key<T> {
    fn new(index: u32, generation: u32) -> Key<T> {
        let of = PhantomData;
        Key { index, generation, of }
    }

    /// As a number below 2^54.
    #[must_use]
    pub(crate) fn pack(self) -> u64 {
        u64::from(self.generation) << INDEX_BITS | u64::from(self.index)
    }

    /// From such a number; higher bits are ignored.
    #[must_use]
    pub(crate) fn unpack(number: u64) -> Key<T> {
        let bits = |number: u64, count: u32| u32::try_from(number & ((1 << count) - 1)).unwrap_or(0);
        Key::new(bits(number, INDEX_BITS), bits(number >> INDEX_BITS, GENERATION_BITS))
    }
}

// Derived ones would ask the same of `T`.
impl<T> Copy for Key<T> {}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Key<T> {
        *self
    }
}

impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Key<T>) -> bool {
        self.pack() == other.pack()
    }
}

impl<T> Eq for Key<T> {}

impl<T> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Key<T>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Key<T> {
    fn cmp(&self, other: &Key<T>) -> std::cmp::Ordering {
        self.pack().cmp(&other.pack())
    }
}

impl<T> std::fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outlives_its_thing_without_finding_the_next_one() {
        let mut arena = Arena::default();
        let first = arena.insert("first");
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second");
        assert_eq!((arena.get(first), arena.get(second)), (None, Some(&"second")));
        assert_eq!((arena.remove(first), arena.get_mut(first)), (None, None));
        assert_eq!(arena.len(), 1);
    }

    #[test]
    fn the_next_key_is_the_one_that_insert_gives() {
        let mut arena = Arena::default();
        let promised = arena.next_key();
        assert_eq!(arena.insert(1), promised);
        arena.remove(promised);
        let promised = arena.next_key();
        assert_eq!(arena.insert(2), promised);
    }

    #[test]
    fn what_may_have_changed_is_named_once_when_somebody_asks() {
        let mut arena = Arena::default();
        let (one, other) = (arena.insert(1), arena.insert(2));
        assert_eq!(arena.take_touched(), []);
        arena.watch();
        let third = arena.insert(3);
        for _ in 0..2 {
            arena.get_mut(one);
            arena.remove(other);
        }
        assert_eq!(arena.take_touched(), [one, other, third]);
        assert_eq!(arena.take_touched(), []);
    }

    #[test]
    fn a_key_packs_into_54_bits_and_back() {
        let mut arena = Arena::default();
        let mut key = arena.insert(0);
        for n in 0..70_000 {
            arena.remove(key);
            key = arena.insert(n);
        }
        assert_eq!(Key::unpack(key.pack() | 3 << 54), key);
        assert_eq!(arena.get(Key::unpack(key.pack())), Some(&69_999));
    }

    #[test]
    fn things_stay_where_they_are_however_many_come() {
        let mut arena = Arena::default();
        let keys: Vec<_> = (0..1_000usize).map(|n| arena.insert(n)).collect();
        let first: *const usize = arena.get(keys[0]).unwrap();
        for (n, &key) in keys.iter().enumerate().skip(1).step_by(2) {
            assert_eq!(arena.remove(key), Some(n));
        }
        let again: Vec<_> = (1_000..1_600).map(|n| arena.insert(n)).collect();
        assert_eq!(arena.len(), 1_100);
        assert_eq!(arena.get(keys[998]), Some(&998));
        assert_eq!(arena.get(keys[999]), None);
        assert_eq!(arena.get(again[599]), Some(&1_599));
        assert_eq!(arena.pair_mut(keys[0], again[599]), Some((&mut 0, &mut 1_599)));
        assert_eq!(arena.iter().count(), 1_100);
        assert!(std::ptr::eq(first, arena.get(keys[0]).unwrap()), "it was moved");
    }

    #[test]
    fn a_pair_is_two_different_living_things() {
        let mut arena = Arena::default();
        let (one, other) = (arena.insert(1), arena.insert(2));
        assert_eq!(arena.pair_mut(other, one), Some((&mut 2, &mut 1)));
        assert_eq!(arena.pair_mut(one, one), None);
        arena.remove(other);
        assert_eq!(arena.pair_mut(one, other), None);
    }
}
