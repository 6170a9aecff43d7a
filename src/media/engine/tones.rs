//! Key presses in the sound of a device as its packets come: G.711 only, whose samples need no state of a decoder. Other
//! codecs bend tones, and devices that use them have packets for keys.

use super::leg::Accepted;
use crate::codec::g711;
use crate::dtmf::{Detector, Press};
use crate::plan::Codec;
use clock::Mono;
use std::time::Duration;

/// Without a packet for so long, what is pressed has ended: the device is silent and sends nothing.
const SILENCE: Duration = Duration::from_millis(400);

/// Samples a packet may come later than its predecessor ended before the time between counts as silence: 60 ms.
const GAP: i32 = 480;

#[derive(Default)]
pub(super) struct Tones {
    detector: Detector,
    /// Source, and the timestamp after its last packet.
    next: Option<(u32, u32)>,
    heard: Mono,
}

impl Tones {
    /// The press that ended with this packet. What comes late is passed over, and a lost packet is less than a key.
    pub fn hear(&mut self, now: Mono, accepted: &Accepted, payload: &[u8]) -> Option<Press> {
        let decode = match accepted.format.codec {
            Codec::Pcmu => g711::from_mu,
            Codec::Pcma => g711::from_a,
            _ => return None,
        };
        let header = &accepted.header;
        let step = match self.next {
            Some((ssrc, next)) if ssrc == header.ssrc => header.timestamp.wrapping_sub(next).cast_signed(),
            _ => GAP,
        };
        if (-GAP..0).contains(&step) {
            return None;
        }
        let before = if (0..GAP).contains(&step) {
            None
        } else {
            self.detector.pause()
        };
        let length = u32::try_from(payload.len()).unwrap_or(0);
        self.next = Some((header.ssrc, header.timestamp.wrapping_add(length)));
        self.heard = now;
        before.or(self.detector.hear(payload.iter().map(|&code| decode(code))))
    }

    /// The press whose end nobody heard.
    pub fn overdue(&mut self, now: Mono) -> Option<Press> {
        let silent = self.detector.is_pressed() && now.since(self.heard) >= SILENCE;
        silent.then(|| self.detector.pause()).flatten()
    }
}
