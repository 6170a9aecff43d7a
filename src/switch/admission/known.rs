//! Flows on which a phone has registered: what comes there goes before what strangers send.

use ahash::RandomState;
use sip::Flow;

/// Flows remembered: 1 MB. A collision costs a place in a line, no more.
const FLOWS: usize = 1 << 18;

/// A table of fingerprints: bounded, and forgetful where two flows share a place. Keyed at random, since peers choose
/// their addresses.
#[derive(Debug)]
pub(crate) struct KnownFlows {
    prints: Box<[u32]>,
    keys: RandomState,
}

impl KnownFlows {
    pub(crate) fn new(keys: &RandomState) -> KnownFlows {
        KnownFlows {
            prints: vec![0; FLOWS].into_boxed_slice(),
            keys: keys.clone(),
        }
    }

    pub(crate) fn insert(&mut self, flow: &Flow) {
        let (place, print) = self.place(flow);
        self.prints[place] = print;
    }

    pub(crate) fn contains(&self, flow: &Flow) -> bool {
        let (place, print) = self.place(flow);
        self.prints[place] == print
    }

    #[allow(clippy::cast_possible_truncation)] // two independent parts of one hash
    fn place(&self, flow: &Flow) -> (usize, u32) {
        let hash = self.keys.hash_one(flow);
        ((hash >> 32) as usize % FLOWS, hash as u32 | 1)
    }
}
