//! The network between the switch and its phones: a fixed delay, and faults from a seed where a test wants them.

use bytes::Bytes;
use clock::Mono;
use sip::{Flow, Transport};
use std::collections::BTreeMap;
use std::time::Duration;

/// One message on its way; `flow` as its receiver sees it.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) flow: Flow,
    pub(super) bytes: Bytes,
}

/// What goes wrong with datagrams, in thousandths.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Lost.
    pub loss: u32,
    /// Delivered twice.
    pub duplication: u32,
    /// Held back for up to ten delays, so that later ones overtake.
    pub reordering: u32,
}

/// Packets on their way.
#[derive(Debug)]
pub struct Network {
    /// One way; default 1 ms.
    pub delay: Duration,
    /// Default: none.
    pub faults: Faults,
    wire: BTreeMap<(Mono, u64), Packet>,
    sent: u64,
    dice: Dice,
}

impl Network {
    pub(super) fn new(dice: Dice) -> Network {
        Network {
            delay: Duration::from_millis(1),
            faults: Faults::default(),
            wire: BTreeMap::new(),
            sent: 0,
            dice,
        }
    }

    /// Packets sent so far, lost ones too.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.wire.first_key_value().map(|(&(at, _), _)| at)
    }

    pub(super) fn pop(&mut self, now: Mono) -> Option<Packet> {
        self.wire
            .first_entry()
            .filter(|first| first.key().0 <= now)
            .map(|first| first.remove())
    }

    /// Takes a packet; `flow` as its receiver will see it. Streams lose nothing and keep their order.
    pub(super) fn send(&mut self, now: Mono, flow: Flow, bytes: Bytes) {
        self.sent += 1;
        if flow.transport != Transport::Udp {
            return self.put(now + self.delay, flow, bytes);
        }
        if self.dice.happens(self.faults.loss) {
            return;
        }
        if self.dice.happens(self.faults.duplication) {
            let later = self.delay * (1 + self.dice.below(5));
            self.put(now + later, flow, bytes.clone());
        }
        let extra = if self.dice.happens(self.faults.reordering) {
            self.dice.below(10)
        } else {
            0
        };
        self.put(now + self.delay * (1 + extra), flow, bytes);
    }

    fn put(&mut self, at: Mono, flow: Flow, bytes: Bytes) {
        let number = self.sent << 1 | u64::from(self.wire.contains_key(&(at, self.sent << 1)));
        self.wire.insert((at, number), Packet { flow, bytes });
    }
}

/// Chance from a seed (SplitMix64): for tests only.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit.max(1))).unwrap_or(0)
    }

    fn happens(&mut self, thousandths: u32) -> bool {
        thousandths > 0 && self.below(1_000) < thousandths
    }
}

impl sip::Tokens for Dice {
    fn next_u64(&mut self) -> u64 {
        self.next()
    }
}
