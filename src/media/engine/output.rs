//! What members are sent: encoders, one for each distinct output, and packets of the size each member wants.

use crate::codec::resample::Resampler;
use crate::codec::{Encoder, OpusParameters, best_rate};
use crate::limiter::Limiter;
use crate::plan::{Codec, Format, LegMedia, Rate};
use std::collections::VecDeque;
use std::ops::Range;

/// Milliseconds in a packet where nobody asked for another number (RFC 3551 section 4.2), and in a tick.
const TICK_MS: usize = 20;

/// Longest payload we make: an Ethernet frame holds it with IPv6, UDP, RTP and SRTP around it.
const MAX_PAYLOAD: usize = 1_400;

/// After so many ticks without a packet the next begins a spurt of talk, which its marker says (RFC 3551 section 4.1).
const SPURT_TICKS: u32 = 4;

/// Frames of the room's common sound that are kept: an encoder that begins runs through them first. 60 ms bring two
/// predictors together, and a packet of 60 ms may be half done.
const HISTORY: usize = 5;

/// Members with equal keys who hear the same are sent the same bytes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct OutputKey {
    codec: Codec,
    opus: OpusParameters,
    /// Milliseconds in an Opus packet. Packets of other codecs are put together member by member.
    frame_ms: u8,
}

impl OutputKey {
    pub fn new(codec: Codec, media: &LegMedia) -> OutputKey {
        let is_opus = codec == Codec::Opus;
        let frame_ms = match packet_ms(media) {
            // Opus has no packets of 30 or 50 ms in one frame (RFC 6716 section 2.1.4).
            ms @ (10 | 40 | 60) if is_opus => ms,
            _ => TICK_MS,
        };
        OutputKey {
            codec,
            opus: if is_opus { media.opus } else { OpusParameters::default() },
            frame_ms: frame_ms as u8,
        }
    }
}

/// Milliseconds of sound in a packet to the device: what it asked for, within what it takes.
fn packet_ms(media: &LegMedia) -> usize {
    let wanted = if media.ptime_ms == 0 {
        TICK_MS
    } else {
        usize::from(media.ptime_ms)
    };
    let most = if media.maxptime_ms == 0 {
        60
    } else {
        usize::from(media.maxptime_ms)
    };
    (wanted.min(most).clamp(10, 60)) / 10 * 10
}

/// One encoder and the way of the room's samples into it.
pub(super) struct Output {
    pub key: OutputKey,
    encoder: Encoder,
    resampler: Option<Resampler>,
    /// Samples at the encoder's rate that wait for a packet to be full.
    work: Vec<i16>,
    /// The tick it last ran in: it has to begin anew if that was not the last one.
    ran_at: u64,
    made: (u64, Made),
}

/// Payload made in a tick, in the buffer of encoded bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    pub bytes: Range<usize>,
    /// Where a second packet begins in it, if that is made.
    pub split: usize,
    /// It is a packet; an empty one that is not made says that this tick's sound follows later or never.
    pub full: bool,
}

impl Output {
    pub fn new(key: OutputKey, room: Rate) -> Option<Output> {
        let encoder = Encoder::new(key.codec, room, &key.opus)?;
        let resampler = Resampler::new(room, encoder.rate());
        // A tick that is a packet goes straight into the encoder.
        let waits = resampler.is_some() || usize::from(key.frame_ms) != TICK_MS;
        let ticks = usize::from(key.frame_ms).div_ceil(TICK_MS) * usize::from(waits);
        let work = Vec::with_capacity(encoder.rate().frame() * ticks);
        Some(Output {
            key,
            encoder,
            resampler,
            work,
            ran_at: 0,
            made: (0, Made::default()),
        })
    }

    /// What it makes depends on what it made before, so it serves one listener, or many that hear the same.
    pub fn has_state(&self) -> bool {
        self.resampler.is_some() || !self.encoder.is_stateless()
    }

    /// The payload of what all hear in this tick, made once.
    pub fn make_shared(&mut self, tick: u64, samples: &[i16], history: &History, encoded: &mut Vec<u8>) -> Made {
        if self.made.0 != tick {
            self.made = (tick, self.make(tick, samples, Some((history, 0)), encoded));
        }
        self.made.1.clone()
    }

    /// The payload of these samples. After a pause the encoder is first run through what was heard before, which is the
    /// history without so many frames at its end.
    pub fn make(
        &mut self,
        tick: u64,
        samples: &[i16],
        history: Option<(&History, usize)>,
        encoded: &mut Vec<u8>,
    ) -> Made {
        if self.has_state() && self.ran_at + 1 != tick {
            self.begin_anew(tick, history, encoded);
        }
        self.ran_at = tick;
        self.run(tick, samples, encoded)
    }

    fn begin_anew(&mut self, tick: u64, history: Option<(&History, usize)>, encoded: &mut Vec<u8>) {
        self.encoder.begin_anew();
        self.work.clear();
        if let Some(resampler) = &mut self.resampler {
            resampler.begin_anew();
        }
        let Some((history, newer)) = history else { return };
        let keep = encoded.len();
        let frames = history.frames.len().saturating_sub(newer);
        for (frame, before) in history.frames.iter().zip((1..=frames as u64).rev()) {
            self.run(tick.wrapping_sub(before), frame, encoded);
        }
        encoded.truncate(keep);
        self.encoder.stand_alone();
    }

    /// Begins as if these frames had been sent by it, in the ticks up to this one.
    pub fn go_on_from(&mut self, tick: u64, frames: &[Vec<i16>]) {
        self.encoder.begin_anew();
        self.work.clear();
        let (mut nowhere, count) = (Vec::new(), frames.len() as u64);
        for (frame, before) in frames.iter().zip((0..count).rev()) {
            self.run(tick.wrapping_sub(before), frame, &mut nowhere);
        }
        self.encoder.stand_alone();
        self.rest(tick);
    }

    /// Its listener is sent nothing in this tick, but misses nothing either.
    pub fn rest(&mut self, tick: u64) {
        self.ran_at = tick;
    }

    fn run(&mut self, tick: u64, samples: &[i16], encoded: &mut Vec<u8>) -> Made {
        let start = encoded.len();
        if self.resampler.is_none() && usize::from(self.key.frame_ms) == TICK_MS {
            self.encoder.encode(samples, encoded);
            return Made::whole(start, encoded.len());
        }
        let length = self.encoder.rate().frame();
        let at = self.work.len();
        self.work.resize(at + length, 0);
        match &mut self.resampler {
            Some(resampler) => resampler.process(samples, &mut self.work[at..]),
            None => self.work[at..].copy_from_slice(samples),
        }
        let ticks = (usize::from(self.key.frame_ms) / TICK_MS).max(1) as u64;
        if !tick.wrapping_add(1).is_multiple_of(ticks) && self.work.len() < ticks as usize * length {
            return Made::default();
        }
        // A packet that began in mid-time is as short as it is long: 40 ms or 20 ms are frames as well.
        let split = if usize::from(self.key.frame_ms) < TICK_MS {
            self.work.len() / 2
        } else {
            self.work.len()
        };
        self.encoder.encode(&self.work[..split], encoded);
        let middle = encoded.len();
        if split < self.work.len() {
            self.encoder.encode(&self.work[split..], encoded);
        }
        self.work.clear();
        Made {
            split: middle,
            ..Made::whole(start, encoded.len())
        }
    }
}

impl Made {
    fn whole(start: usize, end: usize) -> Made {
        Made {
            bytes: start..end,
            split: end,
            full: end > start,
        }
    }
}

/// The last frames that all who do not talk have heard.
#[derive(Default)]
pub(super) struct History {
    frames: VecDeque<Vec<i16>>,
}

impl History {
    pub fn remember(&mut self, frame: &[i16]) {
        let mut oldest = match self.frames.len() < HISTORY {
            true => Vec::with_capacity(frame.len()),
            false => self.frames.pop_front().unwrap_or_default(),
        };
        oldest.clear();
        oldest.extend_from_slice(frame);
        self.frames.push_back(oldest);
    }

    /// More that was heard at the same time as what is here.
    pub fn add(&mut self, frames: &[Vec<i16>]) {
        if self.frames.len() != frames.len() {
            self.frames = frames.iter().cloned().collect();
            return;
        }
        for (sum, frame) in self.frames.iter_mut().zip(frames) {
            sum.iter_mut()
                .zip(frame)
                .for_each(|(sum, sample)| *sum = sum.saturating_add(*sample));
        }
    }

    pub fn clear(&mut self) {
        self.frames.clear();
    }
}

/// The sending side of one member in a mix.
#[derive(Default)]
pub(super) struct Sending {
    /// Which of the room's outputs it shares.
    pub shared: usize,
    /// An encoder for what only this member hears.
    pub own: Option<Box<Output>>,
    /// Bytes that wait for a packet to be full, where packets do not hold a tick each.
    packer: Option<Box<Packer>>,
    /// Clock units since the last packet that no packet covers.
    owed: u32,
    /// Ticks of silence, for members that take comfort noise.
    pub quiet: u32,
    pub limiter: Limiter,
    /// Its relayed source is being buffered: nothing is sent for so many ticks, or until it is heard.
    pub hold: Option<(usize, u8)>,
}

struct Packer {
    want: usize,
    units: u32,
    bytes: Vec<u8>,
}

/// A packet of a member, ready but for its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    pub bytes: Range<usize>,
    /// Clock units since the last packet.
    pub step: u32,
    pub marker: bool,
}

impl Sending {
    /// Prepares for packets of the size that was agreed.
    pub fn agree(&mut self, format: Option<Format>, media: &LegMedia) {
        let want = format.and_then(|format| packet_bytes(format.codec, packet_ms(media)));
        self.packer = want.map(|(want, units)| {
            let mut packer = self.packer.take().unwrap_or_else(|| {
                Box::new(Packer {
                    want,
                    units,
                    bytes: Vec::with_capacity(4 * MAX_PAYLOAD),
                })
            });
            (packer.want, packer.units) = (want, units);
            packer
        });
    }

    /// Time passes that no packet covers.
    pub fn skip(&mut self, ticks: u32, clock: u32) {
        // A day of silence has as many units as a timestamp has; it wraps like that.
        self.owed = self.owed.wrapping_add(ticks.wrapping_mul(clock / 50));
    }

    /// Makes packets of a tick's payload; `ticks` is more than one after a worker was late.
    pub fn take(&mut self, ticks: u32, clock: u32, made: &Made, encoded: &mut Vec<u8>, mut send: impl FnMut(Payload)) {
        self.skip(ticks - 1, clock);
        let tick = clock / 50;
        if let Some(packer) = &mut self.packer {
            packer.bytes.extend_from_slice(&encoded[made.bytes.clone()]);
            while packer.bytes.len() >= packer.want {
                let start = encoded.len();
                encoded.extend(packer.bytes.drain(..packer.want));
                let owed = std::mem::take(&mut self.owed);
                send(Payload {
                    bytes: start..encoded.len(),
                    step: packer.units.wrapping_add(owed),
                    marker: owed > 0,
                });
            }
            return;
        }
        if !made.full {
            self.owed = self.owed.wrapping_add(tick);
            return;
        }
        let halves = made.split > made.bytes.start && made.split < made.bytes.end;
        let step = if halves { tick / 2 } else { tick };
        let owed = std::mem::take(&mut self.owed);
        send(Payload {
            bytes: made.bytes.start..made.split,
            step: step.wrapping_add(owed),
            marker: owed > SPURT_TICKS * tick,
        });
        if halves {
            send(Payload {
                bytes: made.split..made.bytes.end,
                step,
                marker: false,
            });
        }
    }

    /// A packet of comfort noise in place of this tick's sound.
    pub fn take_noise(&mut self, ticks: u32, clock: u32, bytes: Range<usize>) -> Payload {
        self.skip(ticks - 1, clock);
        let owed = std::mem::take(&mut self.owed);
        Payload {
            bytes,
            step: (clock / 50).wrapping_add(owed),
            marker: false,
        }
    }
}

/// Bytes and clock units of a packet, for codecs whose frames can be cut anywhere; `None` if a tick is a packet.
fn packet_bytes(codec: Codec, ms: usize) -> Option<(usize, u32)> {
    let per_ms = match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 => 8,
        Codec::L16(_) => best_rate(codec)?.hz() as usize / 500,
        _ => return None,
    };
    let fits = MAX_PAYLOAD / per_ms / 10 * 10;
    let ms = ms.min(fits);
    let units = codec.clock_rate() / 1_000 * ms as u32;
    (ms != TICK_MS).then_some((per_ms * ms, units))
}
