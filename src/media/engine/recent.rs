//! The last packets that were relayed, of codecs whose decoders remember: a relay that becomes a mix begins with them, so that
//! neither our decoder nor the listener's begins in mid-stream.

use crate::plan::{Codec, Format};
use std::collections::VecDeque;

/// Packets kept: 100 ms bring the predictors of G.722 together.
const KEPT: usize = 5;

#[derive(Default)]
pub(super) struct Recent {
    pub format: Option<Format>,
    pub payloads: VecDeque<Vec<u8>>,
}

impl Recent {
    /// Keeps a packet that is relayed. Of codecs without state nothing is kept.
    pub fn keep(&mut self, format: Format, payload: &[u8]) {
        if !matches!(format.codec, Codec::G722 | Codec::Opus) {
            return;
        }
        if self.format.replace(format) != Some(format) {
            self.payloads.clear();
        }
        let mut oldest = match self.payloads.len() < KEPT {
            true => Vec::with_capacity(payload.len()),
            false => self.payloads.pop_front().unwrap_or_default(),
        };
        oldest.clear();
        oldest.extend_from_slice(payload);
        self.payloads.push_back(oldest);
    }
}
