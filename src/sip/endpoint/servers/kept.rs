//! Answers to non-INVITE requests, kept for retransmissions until Timer J (RFC 3261 section 17.2.2): all that is left of a
//! transaction that is completed, in the order in which they end.

use crate::Flow;
use crate::transaction::key::Key;
use bytes::Bytes;
use clock::Mono;
use hashbrown::HashTable;
use std::collections::VecDeque;

/// How many are kept, the oldest going first. Timer J would keep 128,000 REGISTER per second for 32 s: four million. This
/// many are some 40 MB, and at that rate half a second, which covers the first retransmission; a later one is a new
/// request, and those are idempotent or have a CSeq.
pub(crate) const MAX_KEPT: usize = 65_536;

/// One answer.
pub(super) struct Answer {
    pub key: Key,
    /// For section 8.2.2.2, as in a transaction that is alive.
    pub merge: Option<u64>,
    pub number: u32,
    /// Timer J.
    pub end: Mono,
    /// Where it went. Only datagrams are answered twice, so this never needs a new stream.
    pub flow: Flow,
    pub bytes: Bytes,
}

/// All of them. They come and go at the two ends of one line, so that of all the memory they take only those ends are
/// touched; the index knows them by their place in the order of all that ever came.
#[derive(Default)]
pub(super) struct Kept {
    line: VecDeque<Answer>,
    index: HashTable<u32>,
    /// Place of the oldest.
    first: u32,
}

impl Kept {
    pub fn len(&self) -> usize {
        self.line.len()
    }

    pub fn find(&self, key: &Key) -> Option<&Answer> {
        let place = self
            .index
            .find(key.hash(), |&place| at(&self.line, self.first, place).key == *key)?;
        Some(at(&self.line, self.first, *place))
    }

    /// Adds one that is not there yet and ends after all others.
    #[allow(clippy::cast_possible_truncation)] // the line is no longer than MAX_KEPT
    pub fn push(&mut self, answer: Answer) {
        let place = self.first.wrapping_add(self.line.len() as u32);
        let hash = answer.key.hash();
        self.line.push_back(answer);
        let Kept { line, index, first } = self;
        index.insert_unique(hash, place, |&place| at(line, *first, place).key.hash());
    }

    /// The end of the oldest.
    pub fn first_end(&self) -> Option<Mono> {
        self.line.front().map(|answer| answer.end)
    }

    pub fn pop(&mut self) -> Option<Answer> {
        let oldest = self.line.pop_front()?;
        if let Ok(found) = self.index.find_entry(oldest.key.hash(), |&place| place == self.first) {
            found.remove();
        }
        self.first = self.first.wrapping_add(1);
        Some(oldest)
    }

    pub fn audit(&self) -> Result<(), String> {
        if self.index.len() != self.line.len() {
            return Err(format!(
                "{} answers kept, {} in the index",
                self.line.len(),
                self.index.len()
            ));
        }
        match self.line.iter().find(|answer| self.find(&answer.key).is_none()) {
            Some(answer) => Err(format!("answer {} is not found by its key", answer.number)),
            None => Ok(()),
        }
    }
}

fn at(line: &VecDeque<Answer>, first: u32, place: u32) -> &Answer {
    &line[place.wrapping_sub(first) as usize]
}
