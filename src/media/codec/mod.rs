//! Codecs of sound: what the engine can turn into samples and back.
//!
//! A [`Decoder`] and an [`Encoder`] belong to one stream each. G.711 and L16 have no state and cost nothing to hold; the
//! others are boxed. Neither allocates once it exists.

pub mod g711;
pub mod g722;
pub mod l16;
pub mod noise;
pub mod opus;
pub mod resample;

use crate::plan::{Codec, Rate};
pub use opus::OpusParameters;

/// Codecs that are transcoded between each other, the best sound first: what a callee may be offered whatever its caller
/// speaks. L16 is transcoded too ([`can_transcode`]) but not offered by default: it costs four times the bandwidth.
#[must_use]
pub fn transcoded() -> &'static [Codec] {
    &[Codec::Opus, Codec::G722, Codec::Pcma, Codec::Pcmu]
}

/// The engine decodes and encodes this codec. Comfort noise and key presses are understood beside it.
#[must_use]
pub fn can_transcode(codec: Codec) -> bool {
    best_rate(codec).is_some()
}

/// The highest rate a codec's sound can have; `None` if it is not transcoded.
#[must_use]
pub fn best_rate(codec: Codec) -> Option<Rate> {
    match codec {
        Codec::Pcmu | Codec::Pcma => Some(Rate::Narrow),
        Codec::G722 => Some(Rate::Wide),
        Codec::Opus => Some(Rate::Full),
        Codec::L16(hz) => [Rate::Narrow, Rate::Wide, Rate::Full]
            .into_iter()
            .find(|rate| rate.hz() == hz),
        Codec::ComfortNoise(_) | Codec::TelephoneEvent(_) | Codec::Other { .. } => None,
    }
}

/// Payload to samples, for one stream.
#[derive(Debug)]
pub enum Decoder {
    /// PCMU.
    Mu,
    /// PCMA.
    A,
    /// L16 of this rate.
    L16(Rate),
    /// G.722.
    G722(Box<g722::Decoder>),
    /// Opus.
    Opus(Box<opus::Decoder>),
}

impl Decoder {
    /// A decoder whose samples have `wanted` samples per second if the codec can choose, as Opus can, else its own rate.
    #[must_use]
    pub fn new(codec: Codec, wanted: Rate) -> Option<Decoder> {
        Some(match codec {
            Codec::Pcmu => Decoder::Mu,
            Codec::Pcma => Decoder::A,
            Codec::G722 => Decoder::G722(Box::default()),
            Codec::Opus => Decoder::Opus(Box::new(opus::Decoder::new(wanted)?)),
            Codec::L16(_) => Decoder::L16(best_rate(codec)?),
            _ => return None,
        })
    }

    /// Samples per second it makes.
    #[must_use]
    pub fn rate(&self) -> Rate {
        match self {
            Decoder::Mu | Decoder::A => Rate::Narrow,
            Decoder::L16(rate) => *rate,
            Decoder::G722(_) => Rate::Wide,
            Decoder::Opus(decoder) => decoder.rate(),
        }
    }

    /// Appends the samples of a packet to `out`; false, and nothing is appended, if it is no packet of this codec.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> bool {
        match self {
            Decoder::Mu => out.extend(payload.iter().map(|&code| g711::from_mu(code))),
            Decoder::A => out.extend(payload.iter().map(|&code| g711::from_a(code))),
            Decoder::L16(_) => l16::decode(payload, out),
            Decoder::G722(decoder) => decoder.decode(payload, out),
            Decoder::Opus(decoder) => return decoder.decode(payload, out),
        }
        true
    }

    /// Appends `samples` samples for a packet that is lost, if the codec knows how; false if concealment is left to the
    /// caller. `next` is the packet after the lost one, where it is here already: it may hold a copy (RFC 6716 section 2.1.7).
    pub fn conceal(&mut self, next: Option<&[u8]>, samples: usize, out: &mut Vec<i16>) -> bool {
        match self {
            Decoder::Opus(decoder) => decoder.conceal(next, samples, out),
            _ => false,
        }
    }

    /// Samples in a packet, without decoding it.
    #[must_use]
    pub fn samples(&self, payload: &[u8]) -> usize {
        match self {
            Decoder::Mu | Decoder::A => payload.len(),
            Decoder::L16(_) => payload.len() / 2,
            Decoder::G722(_) => payload.len() * 2,
            Decoder::Opus(decoder) => decoder.samples(payload),
        }
    }

    /// A packet that surely holds nothing to hear, known without decoding: some samples of it for G.711, its size for
    /// Opus. `level` is the mean level of samples below which sound counts as silence.
    #[must_use]
    pub fn is_silent(&self, payload: &[u8], level: u32) -> bool {
        match self {
            Decoder::Mu => g711::sampled_level(payload, g711::from_mu) < level / 2,
            Decoder::A => g711::sampled_level(payload, g711::from_a) < level / 2,
            Decoder::Opus(_) => opus::is_dtx(payload),
            Decoder::L16(_) | Decoder::G722(_) => false,
        }
    }
}

/// Samples to payload, for one stream.
#[derive(Debug)]
pub enum Encoder {
    /// PCMU.
    Mu,
    /// PCMA.
    A,
    /// L16 of this rate.
    L16(Rate),
    /// G.722.
    G722(Box<g722::Encoder>),
    /// Opus.
    Opus(Box<opus::Encoder>),
}

impl Encoder {
    /// An encoder for samples of `wanted` samples per second if the codec can choose, else of its own rate.
    #[must_use]
    pub fn new(codec: Codec, wanted: Rate, opus: &OpusParameters) -> Option<Encoder> {
        Some(match codec {
            Codec::Pcmu => Encoder::Mu,
            Codec::Pcma => Encoder::A,
            Codec::G722 => Encoder::G722(Box::default()),
            Codec::Opus => Encoder::Opus(Box::new(opus::Encoder::new(wanted, opus)?)),
            Codec::L16(_) => Encoder::L16(best_rate(codec)?),
            _ => return None,
        })
    }

    /// Samples per second it takes.
    #[must_use]
    pub fn rate(&self) -> Rate {
        match self {
            Encoder::Mu | Encoder::A => Rate::Narrow,
            Encoder::L16(rate) => *rate,
            Encoder::G722(_) => Rate::Wide,
            Encoder::Opus(encoder) => encoder.rate(),
        }
    }

    /// What it makes does not depend on what it made before.
    #[must_use]
    pub fn is_stateless(&self) -> bool {
        matches!(self, Encoder::Mu | Encoder::A | Encoder::L16(_))
    }

    /// Appends the payload of 10, 20, 40 or 60 ms of samples to `out`, one frame of Opus. Nothing is appended when the far end needs no packet for
    /// them (discontinuous transmission).
    pub fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        match self {
            Encoder::Mu => out.extend(samples.iter().map(|&sample| g711::to_mu(sample))),
            Encoder::A => out.extend(samples.iter().map(|&sample| g711::to_a(sample))),
            Encoder::L16(_) => l16::encode(samples, out),
            Encoder::G722(encoder) => encoder.encode(samples, out),
            Encoder::Opus(encoder) => encoder.encode(samples, out),
        }
    }

    /// The next frame is understood by a decoder that has not heard the one before, where the codec can do that.
    pub fn stand_alone(&mut self) {
        if let Encoder::Opus(encoder) = self {
            encoder.stand_alone();
        }
    }

    /// Forgets the stream: the next frame does not build upon frames the far end has not heard.
    pub fn begin_anew(&mut self) {
        match self {
            Encoder::Mu | Encoder::A | Encoder::L16(_) => {}
            Encoder::G722(encoder) => **encoder = g722::Encoder::default(),
            Encoder::Opus(encoder) => encoder.begin_anew(),
        }
    }
}

#[cfg(test)]
mod tests;
