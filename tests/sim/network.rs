//! The network between phones and switch: it loses, doubles, delays and so reorders datagrams.

use crate::random::Random;
use std::time::Duration;

/// How bad the network is; shares in thousandths.
#[derive(Clone, Debug)]
pub struct Network {
    pub loss: u32,
    pub duplication: u32,
    /// Held back so that later ones overtake.
    pub reordering: u32,
    /// Smallest and largest delay of one way, in milliseconds.
    pub delay: (u64, u64),
}

impl Network {
    /// 5 % each, as issue and requirements ask.
    pub const LOSSY: Network = Network {
        loss: 50,
        duplication: 50,
        reordering: 50,
        delay: (1, 40),
    };

    /// Nothing happens to datagrams.
    pub const PERFECT: Network = Network {
        loss: 0,
        duplication: 0,
        reordering: 0,
        delay: (1, 5),
    };

    /// When the copies of one datagram arrive: none, one or two.
    pub fn carry(&self, random: &mut Random) -> Vec<Duration> {
        let mut copies = Vec::with_capacity(2);
        if !random.permille(self.loss) {
            copies.push(self.delay(random));
        }
        if random.permille(self.duplication) {
            copies.push(self.delay(random));
        }
        copies
    }

    fn delay(&self, random: &mut Random) -> Duration {
        let (least, most) = self.delay;
        let delay = random.millis(least, most);
        if random.permille(self.reordering) {
            delay + random.millis(most, 10 * most)
        } else {
            delay
        }
    }
}
