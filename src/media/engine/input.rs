//! A member's sound on its way into a mix: buffered, decoded, concealed, and judged to be speech or not.

use super::level::LevelControl;
use super::recent::Recent;
use crate::codec::noise::{self, ComfortNoise};
use crate::codec::resample::Resampler;
use crate::codec::{Decoder, can_transcode};
use crate::goertzel;
use crate::jitter::{JitterBuffer, NO_SOUND, Packet, Turn};
use crate::plan::{Codec, Format, Rate};
use crate::plc::Concealment;
use crate::rtp::RtpHeader;
use crate::splice;
use clock::Mono;
use std::time::Duration;

/// Mean level of samples above which a frame is sound worth mixing: some -50 dBm0.
const TALK_LEVEL: u32 = 72;

/// Frames that count as talk after the last loud one: 300 ms, so that words keep their ends.
const HANGOVER: u8 = 15;

/// Turns for which silence is waited for before sound is shortened, where two packets or more are too many: half a second.
const URGENT_PATIENCE: u32 = 25;

/// The same where only one is: four seconds.
const PATIENCE: u32 = 200;

/// Comfort noise in the buffer: no device's payload types are that high.
const NOISE: u8 = 0xfe;

/// Frames of the answer tone of a fax (ITU-T T.30: 2100 Hz for 2.6 s at least) after which it is believed: half a second.
const FAX_FRAMES: u8 = 25;

/// What a frame without it takes back. Modems turn the phase of the tone each 450 ms (ITU-T V.8), and the frame with the turn is none.
const FAX_DOUBT: u8 = 3;

/// Decoders made between two frames at most. A device changes its codec now and then; one that does so with each packet must
/// not have the worker make decoders all the time, and is not heard for it.
const FRESH_STAGES: u32 = 4;

pub(super) struct Input {
    jitter: JitterBuffer,
    stage: Option<Stage>,
    /// A decoder for packets that are not due yet, or the one before the present: devices change codecs in mid-stream.
    other: Option<Box<Stage>>,
    /// Decoders made since the last frame.
    fresh: u32,
    /// Decoded and not yet played, at the decoder's rate; less than one packet and one frame.
    pending: Vec<i16>,
    frame: Vec<i16>,
    rate: Rate,
    ssrc: Option<u32>,
    /// Sound in a packet of this device, by the last one.
    turn: Duration,
    hangover: u8,
    /// Turns for which more has been held than is needed, and nobody paused.
    too_deep: u32,
    /// The last turn was concealed while what was due had not come yet.
    inserted: bool,
    /// Mean level of samples, smoothed over some 200 ms of talk.
    level: u32,
    noise: Option<ComfortNoise>,
    /// The device sends nothing because there is nothing to hear.
    resting: bool,
    fax: u8,
    control: Option<LevelControl>,
    /// Packets that were played, and turns that were concealed.
    pub played: u64,
    pub concealed: u64,
    /// Turns concealed since the last packet, of which the next one will say whether anything was missing.
    awaited: u32,
    /// Number and timestamp of the last packet of sound.
    last: Option<(u16, u32)>,
}

/// One payload format on its way to samples of the room's rate.
struct Stage {
    pt: u8,
    codec: Codec,
    decoder: Decoder,
    /// For codecs that have none of their own.
    concealment: Option<Concealment>,
    resampler: Option<Resampler>,
}

/// What a turn does for the depth of the buffer.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Adapted {
    Nothing,
    /// It was spent on waiting.
    Waits,
    /// Two packets are to be made one.
    Shortens,
}

/// How the room treats its members now.
#[derive(Copy, Clone, Debug)]
pub(super) struct Treatment {
    /// What lies below the threshold of talk is not heard. In a call of two nothing is gained by that.
    pub gated: bool,
    /// A fax is on the line: nothing is concealed, dropped or levelled (ITU-T V.152 section 10).
    pub exact: bool,
}

impl Input {
    pub fn new(rate: Rate) -> Input {
        Input {
            jitter: JitterBuffer::default(),
            stage: None,
            other: None,
            fresh: 0,
            pending: Vec::with_capacity(3 * rate.frame()),
            frame: vec![0; rate.frame()],
            rate,
            ssrc: None,
            turn: Duration::from_millis(20),
            hangover: 0,
            too_deep: 0,
            inserted: false,
            level: 0,
            noise: None,
            resting: true,
            fax: 0,
            control: None,
            played: 0,
            concealed: 0,
            awaited: 0,
            last: None,
        }
    }

    /// Codecs that can be mixed.
    pub fn decodes(codec: Codec) -> bool {
        can_transcode(codec)
    }

    pub fn push(&mut self, now: Mono, header: &RtpHeader, format: Format, payload: &[u8]) {
        if self.ssrc.replace(header.ssrc) != Some(header.ssrc) {
            self.jitter.clear();
            // Whoever begins a new stream may be a person after a fax.
            self.fax = 0;
        }
        let pt = match format.codec {
            Codec::ComfortNoise(_) => NOISE,
            Codec::TelephoneEvent(_) => NO_SOUND,
            codec if self.prepare(format.pt_in, codec) => format.pt_in,
            _ => return,
        };
        let packet = Packet {
            sequence: header.sequence,
            timestamp: header.timestamp,
            pt,
            payload,
        };
        self.jitter.push(now, packet, format.codec.clock_rate());
    }

    /// Packets not played yet belong to a room that the member has left.
    pub fn leave(&mut self) {
        self.jitter.clear();
        self.pending.clear();
    }

    /// Runs the decoder through packets that were relayed; returns what they sounded like, at the room's rate.
    pub fn go_on_from(&mut self, recent: &Recent) -> Vec<Vec<i16>> {
        let fits = recent
            .format
            .is_some_and(|format| self.prepare(format.pt_in, format.codec));
        let (rate, Some(stage)) = (self.rate, self.stage.as_mut().filter(|_| fits)) else {
            return Vec::new();
        };
        let mut samples = Vec::new();
        for payload in &recent.payloads {
            stage.decoder.decode(payload, &mut samples);
        }
        if let Some(concealment) = &mut stage.concealment {
            concealment.heard(&mut samples);
        }
        let frame = |chunk: &[i16]| match &mut stage.resampler {
            Some(resampler) => {
                let mut raised = vec![0; rate.frame()];
                resampler.process(chunk, &mut raised);
                raised
            }
            None => chunk.to_vec(),
        };
        samples.chunks_exact(stage.decoder.rate().frame()).map(frame).collect()
    }

    /// Packets that were not played yet, as they came: to go on with when a mix becomes a relay.
    pub fn waiting(&self) -> impl Iterator<Item = (RtpHeader, &[u8])> {
        let ssrc = self.ssrc.unwrap_or_default();
        self.jitter
            .waiting()
            .filter(|packet| packet.pt < NOISE)
            .map(move |packet| {
                let header = RtpHeader {
                    marker: false,
                    pt: packet.pt,
                    sequence: packet.sequence,
                    timestamp: packet.timestamp,
                    ssrc,
                    payload: 12..12 + packet.payload.len(),
                };
                (header, packet.payload)
            })
    }

    /// Levels what the member says, or no longer does.
    pub fn control_level(&mut self, on: bool) {
        match (on, &self.control) {
            (true, None) => self.control = Some(LevelControl::default()),
            (true, Some(_)) => {}
            (false, _) => self.control = None,
        }
    }

    /// Another rate of the room. Decoders that can choose begin anew at it, so this is best done in silence.
    pub fn set_rate(&mut self, rate: Rate) {
        if self.rate == rate {
            return;
        }
        self.rate = rate;
        self.frame = vec![0; rate.frame()];
        self.pending.clear();
        let renewed = |stage: Stage| Stage::new(stage.pt, stage.codec, rate);
        self.stage = self.stage.take().and_then(renewed);
        self.other = self.other.take().and_then(|other| renewed(*other)).map(Box::new);
    }

    /// Makes the next frame; true if the member talks in it.
    pub fn advance(&mut self, how: Treatment) -> bool {
        self.fresh = 0;
        // The stage may change with each turn, and with it what a frame takes.
        while self.wanted().is_some_and(|wanted| self.pending.len() < wanted) {
            self.take_turn(how);
        }
        let Some(wanted) = self.wanted() else {
            // Nothing ever came, or nothing but comfort noise.
            self.rest(how);
            return false;
        };
        match self.stage.as_mut().and_then(|stage| stage.resampler.as_mut()) {
            Some(resampler) => resampler.process(&self.pending[..wanted], &mut self.frame),
            None => self.frame.copy_from_slice(&self.pending[..wanted]),
        }
        self.pending.drain(..wanted);
        self.judge(how);
        self.talks()
    }

    /// Samples in a frame at the decoder's rate.
    fn wanted(&self) -> Option<usize> {
        self.stage.as_ref().map(|stage| stage.decoder.rate().frame())
    }

    pub fn talks(&self) -> bool {
        self.hangover > 0
    }

    /// Something has been played since the input was made.
    pub fn has_begun(&self) -> bool {
        self.played > 0
    }

    pub fn frame(&self) -> &[i16] {
        &self.frame
    }

    /// How loud it talks: mean level of samples.
    pub fn level(&self) -> u32 {
        self.level
    }

    /// How long sound waits here: packets held, and samples made of the one before them.
    #[cfg(test)]
    pub fn delay(&self) -> Duration {
        let hz = self.stage.as_ref().map_or(8_000, |stage| stage.decoder.rate().hz());
        self.turn * self.jitter.depth() as u32 + Duration::from_millis(self.pending.len() as u64 * 1000 / u64::from(hz))
    }

    #[cfg(test)]
    pub fn decoders_made(&self) -> u32 {
        self.fresh
    }

    /// Packets that came after their turn.
    pub fn late(&self) -> u64 {
        self.jitter.late
    }

    /// The answer tone of a fax was heard.
    pub fn is_fax(&self) -> bool {
        self.fax >= FAX_FRAMES
    }

    /// A decoder is there for this format; false if there is none. Only a device that changes its codec makes this allocate.
    fn prepare(&mut self, pt: u8, codec: Codec) -> bool {
        if self.stage.is_none() {
            self.stage = self.other.take().map(|other| *other);
        }
        let fits = |stage: &Stage| (stage.pt, stage.codec) == (pt, codec);
        if self.stage.as_ref().is_some_and(fits) || self.other.as_deref().is_some_and(fits) {
            return true;
        }
        if self.fresh >= FRESH_STAGES {
            return false;
        }
        self.fresh += 1;
        let fresh = Stage::new(pt, codec, self.rate);
        let is_known = fresh.is_some();
        match &self.stage {
            None => self.stage = fresh,
            // The payload type means another codec from now on: what was not played yet cannot be told from what comes.
            Some(stage) if stage.pt == pt => {
                self.jitter.clear();
                self.pending.clear();
                self.stage = fresh;
            }
            Some(_) => self.other = fresh.map(Box::new),
        }
        is_known
    }

    /// A turn before any decoder is there.
    fn rest(&mut self, how: Treatment) {
        if let Turn::Packet(packet) = self.jitter.pop(self.turn)
            && packet.pt == NOISE
        {
            let level = noise::level(packet.payload).unwrap_or(noise::USUAL_LEVEL);
            self.noise
                .get_or_insert_with(|| ComfortNoise::new(level, 1))
                .set_level(level);
        }
        match self.noise.as_mut().filter(|_| !how.gated) {
            Some(noise) => noise.fill(&mut self.frame),
            None => self.frame.fill(0),
        }
        self.hangover = self.hangover.saturating_sub(1);
    }

    fn judge(&mut self, how: Treatment) {
        let sum: u32 = self.frame.iter().map(|sample| u32::from(sample.unsigned_abs())).sum();
        let level = sum / self.frame.len() as u32;
        if level > TALK_LEVEL && !self.resting {
            self.hangover = HANGOVER;
            self.level = (self.level * 7 + level) / 8;
        } else {
            self.hangover = self.hangover.saturating_sub(1);
            if self.hangover == 0 {
                self.level = 0;
            }
        }
        if !how.gated && self.hangover > 0 && !self.is_fax() {
            self.listen_for_fax(level);
        }
        if let Some(control) = self.control.as_mut().filter(|_| !how.exact) {
            control.apply(&mut self.frame, self.hangover == HANGOVER);
        }
    }

    /// A sine has a peak of 1.57 times its mean level; if 2100 Hz has nearly all of that, it is alone.
    fn listen_for_fax(&mut self, level: u32) {
        let tone = goertzel::amplitude(&self.frame, 2_100.0, self.rate.hz());
        let alone = tone > 1.57 * 0.9 * level as f32;
        self.fax = match alone {
            true => self.fax + 1,
            false => self.fax.saturating_sub(FAX_DOUBT),
        };
    }

    fn take_turn(&mut self, how: Treatment) {
        let mut shortens = false;
        if !how.exact {
            match self.adapt() {
                Adapted::Waits => return,
                Adapted::Shortens => shortens = true,
                Adapted::Nothing => {}
            }
        }
        let start = self.pending.len();
        self.play(how);
        if shortens {
            self.shorten(start, how);
        }
    }

    /// Plays more behind the packet that begins at `start`, and takes as much out as one packet has, or a little less.
    fn shorten(&mut self, start: usize, how: Treatment) {
        let Some((pt, packet, rate)) = self.stage.as_ref().map(|stage| {
            let rate = stage.decoder.rate();
            (stage.pt, stage.samples(self.turn), rate)
        }) else {
            return;
        };
        let follows = |input: &Input| input.jitter.peek().is_some_and(|next| next.pt == pt);
        while self.pending.len() < start + packet + rate.frame() && follows(self) {
            self.play(how);
        }
        let most = self.pending.len().saturating_sub(rate.frame()).min(packet);
        splice::shorten(&mut self.pending, start, most, rate.hz());
    }

    /// Takes the next turn of the buffer, whatever it gives, and adds its sound to what is pending.
    fn play(&mut self, how: Treatment) {
        let Input {
            jitter,
            stage,
            other,
            pending,
            inserted,
            ..
        } = self;
        let start = pending.len();
        match jitter.pop(self.turn) {
            Turn::Packet(packet) if packet.pt == NOISE => {
                let level = noise::level(packet.payload).unwrap_or(noise::USUAL_LEVEL);
                self.noise
                    .get_or_insert_with(|| ComfortNoise::new(level, 1))
                    .set_level(level);
                self.resting = true;
                self.fill_quiet();
            }
            Turn::Packet(packet) => {
                let here = (packet.sequence, packet.timestamp);
                let awaited = std::mem::take(&mut self.awaited);
                let last = self.last.replace(here);
                if let (Some(stage), Some(other)) = (stage.as_mut(), other.as_deref_mut())
                    && stage.pt != packet.pt
                    && other.pt == packet.pt
                {
                    std::mem::swap(stage, other);
                    // What is pending has the other decoder's rate; it is less than a frame.
                    pending.clear();
                }
                let start = start.min(pending.len());
                let Some(stage) = stage else { return };
                self.played += 1;
                if !last.is_some_and(|last| stage.paused(last, here, self.turn)) {
                    self.concealed += u64::from(awaited);
                }
                if stage.pt != packet.pt {
                    // A third codec has taken its decoder's place before its turn.
                    return stage.conceal(None, self.turn, pending);
                }
                let silent = how.gated && self.hangover == 0 && stage.decoder.is_silent(packet.payload, TALK_LEVEL);
                if silent {
                    let samples = stage.decoder.samples(packet.payload);
                    pending.resize(start + samples, 0);
                } else if !stage.decoder.decode(packet.payload, pending) {
                    stage.conceal(None, self.turn, pending);
                }
                let made = pending.len() - start;
                // An empty packet, or one nobody can read, takes a turn all the same.
                if made == 0 {
                    pending.resize(start + stage.samples(self.turn), 0);
                } else {
                    let hz = u64::from(stage.decoder.rate().hz());
                    self.turn = Duration::from_micros(made as u64 * 1_000_000 / hz);
                }
                match &mut stage.concealment {
                    // It is only late: the concealed turn was put in before it.
                    Some(concealment) if *inserted => concealment.resume(pending, start),
                    Some(concealment) => concealment.heard(&mut pending[start..]),
                    None => {}
                }
                *inserted = false;
                self.resting = crate::codec::opus::is_dtx(packet.payload) && stage.codec == Codec::Opus;
            }
            Turn::Paused => {
                self.resting = true;
                self.fill_quiet();
            }
            Turn::Lost | Turn::Empty if self.resting || how.exact => self.fill_quiet(),
            Turn::Lost => {
                self.concealed += 1 + u64::from(std::mem::take(&mut self.awaited));
                *inserted = false;
                let next = jitter.peek();
                if let Some(stage) = stage {
                    let next = next.filter(|next| next.pt == stage.pt).map(|next| next.payload);
                    stage.conceal(next, self.turn, pending);
                }
            }
            Turn::Empty => {
                self.awaited += 1;
                *inserted = true;
                if let Some(stage) = stage {
                    stage.conceal(None, self.turn, pending);
                }
            }
        }
    }

    /// Brings the buffer to the depth the jitter asks for: in silence, or in sound when there has been none for long.
    fn adapt(&mut self) -> Adapted {
        let (quiet, excess) = (self.hangover == 0, self.jitter.excess(self.turn));
        self.too_deep = if excess > 0 { self.too_deep + 1 } else { 0 };
        let patience = if excess > 1 { URGENT_PATIENCE } else { PATIENCE };
        if excess > 0 && quiet && self.next_is_silent() {
            self.jitter.drop_next();
            self.too_deep = 0;
        } else if self.too_deep > patience {
            self.too_deep = 0;
            return Adapted::Shortens;
        } else if quiet && self.jitter.wants_more(self.turn) {
            self.jitter.grow();
            self.fill_quiet();
            return Adapted::Waits;
        }
        Adapted::Nothing
    }

    fn next_is_silent(&self) -> bool {
        match (&self.stage, self.jitter.peek()) {
            (Some(stage), Some(packet)) if stage.pt == packet.pt => {
                let tells = matches!(stage.decoder, Decoder::Mu | Decoder::A);
                !tells || stage.decoder.is_silent(packet.payload, TALK_LEVEL)
            }
            _ => true,
        }
    }

    /// A turn of what is heard while the device sends nothing.
    fn fill_quiet(&mut self) {
        let Some(samples) = self.stage.as_ref().map(|stage| stage.samples(self.turn)) else {
            return;
        };
        let start = self.pending.len();
        self.pending.resize(start + samples, 0);
        if let Some(noise) = &mut self.noise {
            noise.fill(&mut self.pending[start..]);
        }
    }
}

impl Stage {
    fn new(pt: u8, codec: Codec, rate: Rate) -> Option<Stage> {
        let decoder = Decoder::new(codec, rate)?;
        let own = decoder.rate();
        Some(Stage {
            pt,
            codec,
            concealment: (codec != Codec::Opus).then(|| Concealment::new(own.hz())),
            resampler: Resampler::new(own, rate),
            decoder,
        })
    }

    /// Nothing is missing between two packets, each with its number and timestamp, but time: the device has sent nothing
    /// because there was nothing to hear.
    fn paused(&self, before: (u16, u32), now: (u16, u32), turn: Duration) -> bool {
        let packet = turn.as_micros() as u64 * u64::from(self.codec.clock_rate()) / 1_000_000;
        let passed = u64::from(now.1.wrapping_sub(before.1));
        now.0 == before.0.wrapping_add(1) && passed >= 2 * packet && passed < 1 << 31
    }

    /// Samples in so much time, at least one.
    fn samples(&self, turn: Duration) -> usize {
        (turn.as_micros() as usize * self.decoder.rate().hz() as usize / 1_000_000).max(1)
    }

    fn conceal(&mut self, next: Option<&[u8]>, turn: Duration, pending: &mut Vec<i16>) {
        let (start, samples) = (pending.len(), self.samples(turn));
        if !self.decoder.conceal(next, samples, pending) {
            pending.truncate(start);
            pending.resize(start + samples, 0);
            if let Some(concealment) = &mut self.concealment {
                concealment.conceal(&mut pending[start..]);
            }
        }
    }
}
