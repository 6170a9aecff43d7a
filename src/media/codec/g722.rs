//! G.722 at 64 kbit/s: 16 kHz samples, two for each byte. The filters are those of the `audio-codec` crate.

use audio_codec::g722::{G722Decoder, G722Encoder};
use audio_codec::{Decoder as _, Encoder as _};
use std::fmt;

/// One stream's decoder.
#[derive(Default)]
pub struct Decoder(G722Decoder);

impl Decoder {
    /// Appends two samples for each byte.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        let start = out.len();
        out.resize(start + 2 * payload.len(), 0);
        // The space is exactly what 64 kbit/s need; were it not, what is missing would be silence.
        let _ = self.0.decode_into(payload, &mut out[start..]);
    }
}

/// One stream's encoder.
#[derive(Default)]
pub struct Encoder(G722Encoder);

impl Encoder {
    /// Appends a byte for each two samples.
    pub fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + self.0.max_encode_bytes(samples.len()), 0);
        let length = self.0.encode_into(samples, &mut out[start..]).unwrap_or(0);
        out.truncate(start + length);
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("g722::Decoder")
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("g722::Encoder")
    }
}
