//! Flows on which a phone has registered: what comes there goes before what strangers send.

use ahash::RandomState;
use sip::Flow;

/// Places at the beginning, and at most: 1 MB. A collision costs a place in a line, no more.
const FEWEST: usize = 1 << 10;
const MOST: usize = 1 << 18;

/// A table of fingerprints: bounded, and forgetful where two flows share a place. Keyed at random, since peers choose
/// their addresses.
#[derive(Debug)]
pub(crate) struct KnownFlows {
    prints: Vec<u32>,
    /// Flows that came new, some of them again after another had taken their place.
    flows: usize,
    keys: RandomState,
}

impl KnownFlows {
    pub(crate) fn new(keys: &RandomState) -> KnownFlows {
        KnownFlows {
            prints: vec![0; FEWEST],
            flows: 0,
            keys: keys.clone(),
        }
    }

    pub(crate) fn insert(&mut self, flow: &Flow) {
        let (place, print) = self.place(flow);
        let before = std::mem::replace(&mut self.prints[place], print);
        self.flows += usize::from(before != print);
        if self.flows > self.prints.len() / 16 && self.prints.len() < MOST {
            self.grow();
        }
    }

    /// In twice as many places each flow has its old one, or the same in the second half: which of the two, its print does not
    /// tell, so it stands in both.
    fn grow(&mut self) {
        self.prints.extend_from_within(..);
    }

    pub(crate) fn contains(&self, flow: &Flow) -> bool {
        let (place, print) = self.place(flow);
        self.prints[place] == print
    }

    #[allow(clippy::cast_possible_truncation)] // two independent parts of one hash
    fn place(&self, flow: &Flow) -> (usize, u32) {
        let hash = self.keys.hash_one(flow);
        ((hash >> 32) as usize % self.prints.len(), hash as u32 | 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip::Transport;

    fn flow(n: u32) -> Flow {
        Flow {
            transport: Transport::Udp,
            local: ([192, 0, 2, 1], 5060).into(),
            peer: (std::net::Ipv4Addr::from(0x0a00_0000 + n), 5060).into(),
            connection: 0,
        }
    }

    #[test]
    fn flows_are_known_while_the_table_grows_and_strangers_are_not() {
        let mut known = KnownFlows::new(&RandomState::with_seeds(1, 2, 3, 4));
        for n in 0..10_000 {
            known.insert(&flow(n));
        }
        let found = |range: std::ops::Range<u32>| range.filter(|&n| known.contains(&flow(n))).count();
        // A later flow has taken the place of a few.
        assert!(found(0..10_000) > 9_500, "{}", found(0..10_000));
        assert!(found(1_000_000..1_020_000) < 5);
    }

    #[test]
    fn few_flows_take_little_room() {
        let mut known = KnownFlows::new(&RandomState::with_seeds(1, 2, 3, 4));
        (0..500).for_each(|n| known.insert(&flow(n)));
        assert_eq!(known.prints.len(), 8_192);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut known = KnownFlows::new(&RandomState::with_seeds(1, 2, 3, 4));
        (0..600_000).for_each(|n| known.insert(&flow(n)));
        assert_eq!(known.prints.len(), MOST);
        assert!(known.contains(&flow(599_999)));
    }
}
