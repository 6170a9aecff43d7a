//! What members say and what they must hear: tones of whole Hertz in loops of a second, so that any second of an
//! unbroken stream tells them apart exactly.

use crate::stream::{FRAME, Heard, LISTENERS, Received};
use crate::{Codec, Load};
use media::codec::{Decoder, Encoder, OpusParameters};
use media::plan::{self, Rate};
use std::f64::consts::TAU;
use std::time::{Duration, Instant};

const RATE: f64 = 8_000.0;
/// The burst that the first member sends in one packet a second, to be found in what others get.
const MARK_HZ: f64 = 3_650.0;
const MARK_LEVEL: f64 = 12_000.0;
/// A packet this much behind the pace of its stream is late.
const LATE: Duration = Duration::from_millis(20);

/// The member that marks is the first.
pub fn marks(member: usize) -> bool {
    member == 0
}

/// Each talker of a room has its own tone.
fn tone_hz(load: &Load, member: usize) -> f64 {
    let place = member % load.size();
    let step = (3_200 / load.talkers_in_room().max(1)).clamp(1, 97);
    300.0 + (place * step) as f64
}

/// So loud that the sum of all stays within range: its standard deviation is a quarter of full scale.
fn amplitude(load: &Load) -> f64 {
    (8_000.0 * (2.0 / load.talkers_in_room() as f64).sqrt()).min(8_000.0)
}

/// One second of a member's sound, packet by packet.
pub fn payloads(load: &Load, member: usize) -> Vec<Box<[u8]>> {
    let (codec, rate) = spoken(load);
    let mut encoder = Encoder::new(codec, rate, &OpusParameters::default()).expect("a codec of ours");
    let samples = sound(load, member, rate);
    let mut encode = |frame: &[i16]| {
        let mut payload = Vec::new();
        encoder.encode(frame, &mut payload);
        payload.into_boxed_slice()
    };
    samples.chunks_exact(rate.frame()).map(&mut encode).collect()
}

fn spoken(load: &Load) -> (plan::Codec, Rate) {
    match load.codec {
        Codec::Pcmu => (plan::Codec::Pcmu, Rate::Narrow),
        Codec::Opus => (plan::Codec::Opus, Rate::Full),
    }
}

fn sound(load: &Load, member: usize, rate: Rate) -> Vec<i16> {
    if !load.talks(member) {
        return vec![0; 50 * rate.frame()];
    }
    let (hz, level) = (tone_hz(load, member), amplitude(load));
    // Phases after Schroeder: tones that all began at zero would add up to a click.
    let place = (member % load.size()) as f64;
    let phase = std::f64::consts::PI * place * place / load.talkers_in_room() as f64;
    let sample = |at: usize| {
        let mark = marks(member) && at < rate.frame();
        let (hz, level) = if mark { (MARK_HZ, MARK_LEVEL) } else { (hz, level) };
        (level * (TAU * hz * at as f64 / f64::from(rate.hz()) + phase).sin()) as i16
    };
    (0..50 * rate.frame()).map(sample).collect()
}

/// What a listener heard at 8 kHz, packet by packet.
fn heard_by(load: &Load, received: &Received) -> Vec<Vec<f64>> {
    let mut decoder = Decoder::new(spoken(load).0, Rate::Narrow).expect("a codec of ours");
    let mut decode = |payload: &[u8]| {
        let mut samples = Vec::new();
        decoder.decode(payload, &mut samples);
        samples.into_iter().map(f64::from).collect()
    };
    received.payloads.iter().map(|payload| decode(payload)).collect()
}

/// Members whose sound is looked at, spread over all, in rooms that have a marker first.
pub fn listeners(load: &Load) -> Vec<usize> {
    let count = LISTENERS.min(load.members);
    let mut chosen: Vec<usize> = (0..count).map(|at| at * load.members / count).collect();
    chosen.push(1);
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// The figures of a run.
#[derive(Default)]
pub struct Report {
    pub deficit_percent: f64,
    pub late_percent: f64,
    /// Jumps of the sequence number.
    pub gaps: usize,
    /// Tones that had to be heard and were, at about their level.
    pub heard_percent: f64,
    /// Own tones, or those of members of other rooms, that were heard.
    pub false_heard: usize,
    pub delay_p50_ms: f64,
    pub delay_p99_ms: f64,
}

pub fn report(load: &Load, heard: &Heard) -> Report {
    let expected = heard.elapsed.as_secs_f64() * 50.0 * load.members as f64;
    let came: usize = heard.members.iter().map(|m| m.packets.len()).sum();
    let late: usize = heard.members.iter().map(late).sum();
    let (wanted, found, wrong) = matrix(load, heard);
    let mut delays = delays(load, heard);
    delays.sort_by(f64::total_cmp);
    let at = |part: f64| {
        delays
            .get((delays.len() as f64 * part) as usize)
            .copied()
            .unwrap_or(f64::NAN)
    };
    Report {
        deficit_percent: (100.0 * (1.0 - came as f64 / expected)).max(0.0),
        late_percent: 100.0 * late as f64 / came.max(1) as f64,
        gaps: heard.members.iter().map(gaps).sum(),
        heard_percent: 100.0 * found as f64 / wanted.max(1) as f64,
        false_heard: wrong,
        delay_p50_ms: at(0.5),
        delay_p99_ms: at(0.99),
    }
}

/// Packets behind the pace of the stream, whose beat is its median packet.
fn late(received: &Received) -> usize {
    let Some(first) = received.packets.first() else {
        return 0;
    };
    let mut offsets: Vec<f64> = received
        .packets
        .iter()
        .map(|p| {
            let due = f64::from(p.sequence.wrapping_sub(first.sequence) as i16) * 0.020;
            p.at.duration_since(first.at).as_secs_f64() - due
        })
        .collect();
    offsets.sort_by(f64::total_cmp);
    let beat = offsets[offsets.len() / 2];
    offsets.iter().filter(|&&o| o - beat > LATE.as_secs_f64()).count()
}

fn gaps(received: &Received) -> usize {
    let pairs = received.packets.windows(2);
    pairs.filter(|p| p[1].sequence != p[0].sequence.wrapping_add(1)).count()
}

/// Tones that listeners had to hear, those they heard, and those they must not have heard.
fn matrix(load: &Load, heard: &Heard) -> (usize, usize, usize) {
    let (mut wanted, mut found, mut wrong) = (0, 0, 0);
    let level = amplitude(load);
    for &listener in &heard.listeners {
        // The second second, without the marker's burst.
        let sound = heard_by(load, &heard.members[listener]).concat();
        let Some(samples) = sound
            .get(sound.len().saturating_sub(50 * FRAME)..)
            .filter(|s| s.len() == 50 * FRAME)
        else {
            wanted += load.talkers_in_room();
            continue;
        };
        let room = listener / load.size() * load.size();
        for place in (0..load.talkers_in_room()).filter(|&p| !marks(room + p)) {
            let amplitude = magnitude(samples, tone_hz(load, place));
            if room + place == listener {
                wrong += usize::from(amplitude > level / 3.0);
            } else {
                wanted += 1;
                found += usize::from((level / 2.0..level * 2.0).contains(&amplitude));
            }
        }
    }
    (wanted, found, wrong)
}

/// From the sending of a marked packet to the receiving of its first sample, less where in the packet that is.
fn delays(load: &Load, heard: &Heard) -> Vec<f64> {
    let room = load.size();
    let near = heard.listeners.iter().filter(|&&l| l < room && !marks(l));
    near.flat_map(|&listener| {
        let arrivals = bursts(load, &heard.members[listener]);
        heard.marks.iter().filter_map(move |(_, sent)| {
            let (at, part) = arrivals.iter().find(|(at, _)| at >= sent)?;
            let delay = at.duration_since(*sent).as_secs_f64() * 1e3 + (1.0 - part) * 20.0;
            (delay < 500.0).then_some(delay)
        })
    })
    .collect()
}

/// When a burst began to arrive, and what part of it was in that packet.
fn bursts(load: &Load, received: &Received) -> Vec<(Instant, f64)> {
    let strength: Vec<f64> = heard_by(load, received)
        .iter()
        .map(|frame| magnitude(frame, MARK_HZ) / MARK_LEVEL)
        .collect();
    let begins = |at: &usize| strength[*at] > 0.25 && (*at == 0 || strength[at - 1] <= 0.25);
    (0..strength.len())
        .filter(begins)
        .map(|at| {
            let next = strength.get(at + 1).copied().filter(|&s| s > 0.1).unwrap_or(0.0);
            (received.packets[at].at, strength[at] / (strength[at] + next))
        })
        .collect()
}

/// The amplitude of one frequency in these samples.
fn magnitude(samples: &[f64], hz: f64) -> f64 {
    let coefficient = 2.0 * (TAU * hz / RATE).cos();
    let (mut one, mut two) = (0.0, 0.0);
    for &sample in samples {
        (one, two) = (sample + coefficient * one - two, one);
    }
    2.0 * (one * one + two * two - coefficient * one * two).max(0.0).sqrt() / samples.len().max(1) as f64
}
