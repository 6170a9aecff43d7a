//! A device changes its codec, the length of its packets and its payload types as it likes, and the room its rate: each frame
//! is made, whatever comes.

use super::device::*;
use super::*;
use crate::codec::{Encoder, OpusParameters, best_rate};
use crate::engine::input::{Input, Treatment};
use proptest::collection::vec;
use proptest::prelude::*;

const HOW: Treatment = Treatment {
    gated: true,
    exact: false,
};

/// What a device sends, straight into an input.
struct Line {
    input: Input,
    now: Mono,
    sequence: u16,
    timestamp: u32,
    phase: f32,
    encoder: Option<(Codec, Encoder)>,
}

impl Line {
    fn at(rate: Rate) -> Line {
        Line {
            input: Input::new(rate),
            now: Mono(0),
            sequence: 65_530,
            timestamp: u32::MAX - 4_000,
            phase: 0.0,
            encoder: None,
        }
    }

    /// A packet of so many milliseconds; of one whole frame at most, where the codec is Opus.
    fn send(&mut self, format: Format, ms: u32) {
        let rate = best_rate(format.codec).unwrap();
        let ms = if format.codec == Codec::Opus { 20 } else { ms };
        let samples: Vec<i16> = (0..rate.hz() * ms / 1_000)
            .map(|_| {
                self.phase += 440.0 * std::f32::consts::TAU / rate.hz() as f32;
                (8_000.0 * self.phase.sin()) as i16
            })
            .collect();
        let mut payload = Vec::new();
        self.encoder(format).encode(&samples, &mut payload);
        self.carry(format, ms, &payload);
    }

    fn encoder(&mut self, format: Format) -> &mut Encoder {
        let fresh = || {
            let rate = best_rate(format.codec).unwrap();
            Encoder::new(format.codec, rate, &OpusParameters::default()).unwrap()
        };
        if self.encoder.as_ref().is_none_or(|(codec, _)| *codec != format.codec) {
            self.encoder = Some((format.codec, fresh()));
        }
        &mut self.encoder.as_mut().unwrap().1
    }

    fn carry(&mut self, format: Format, ms: u32, payload: &[u8]) {
        let header = RtpHeader {
            marker: false,
            pt: format.pt_in,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: 7,
            payload: 12..12 + payload.len(),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let units = format.codec.clock_rate() / 1_000 * ms;
        self.timestamp = self.timestamp.wrapping_add(units);
        self.input.push(self.now, &header, format, payload);
    }

    fn tick(&mut self) {
        self.now = self.now + std::time::Duration::from_millis(20);
        self.input.advance(HOW);
    }

    /// So many milliseconds of packets of that length, each in its time; the loudest frame of the last half.
    fn talk(&mut self, format: Format, packet_ms: u32, ms: u32) -> u32 {
        let mut loudest = 0;
        for at in 0..ms / 20 {
            (0..20 / packet_ms).for_each(|_| self.send(format, packet_ms));
            self.tick();
            if at >= ms / 40 {
                loudest = loudest.max(peak(self.input.frame()));
            }
        }
        loudest
    }
}

fn peak(frame: &[i16]) -> u32 {
    frame
        .iter()
        .map(|sample| u32::from(sample.unsigned_abs()))
        .max()
        .unwrap()
}

#[test]
fn the_rate_of_a_room_changes_while_a_packet_of_the_other_codec_is_due() {
    let mut line = Line::at(Rate::Narrow);
    line.talk(PCMU, 20, 400);
    line.send(G722, 20);
    line.input.set_rate(Rate::Wide);
    line.tick();
    assert!((7_000..9_500).contains(&line.talk(G722, 20, 400)));
    assert!((7_000..9_500).contains(&line.talk(PCMU, 20, 400)), "and back");
}

#[test]
fn a_codec_of_another_rate_follows_in_short_packets() {
    for (rate, after) in [(Rate::Wide, G722), (Rate::Wide, WIDE), (Rate::Full, FULL)] {
        for packet_ms in [10, 20] {
            let mut line = Line::at(rate);
            line.talk(PCMU, 20, 400);
            let loudest = line.talk(after, packet_ms, 400);
            assert!((7_000..9_500).contains(&loudest), "{after:?} {packet_ms} ms: {loudest}");
        }
    }
}

#[test]
fn a_payload_type_that_means_another_codec_is_decoded_as_that() {
    let (narrow, wide) = (Format { pt_in: 97, ..PCMU }, WIDE);
    let mut line = Line::at(Rate::Wide);
    line.talk(narrow, 20, 400);
    assert!((7_000..9_500).contains(&line.talk(wide, 20, 400)));
    assert!((7_000..9_500).contains(&line.talk(narrow, 20, 400)));
}

#[test]
fn a_payload_type_that_becomes_a_codec_nobody_decodes_silences_no_other_one() {
    let mut line = Line::at(Rate::Wide);
    line.talk(PCMU, 20, 400);
    line.talk(PCMA, 20, 400);
    let codec = Codec::Other { id: 7, clock: 8_000 };
    line.carry(Format { codec, ..PCMA }, 20, &[0; 33]);
    assert!((7_000..9_500).contains(&line.talk(PCMU, 20, 400)));
}

#[test]
fn a_third_codec_before_the_second_had_its_turn_costs_a_turn_and_no_noise() {
    let mut line = Line::at(Rate::Wide);
    line.talk(PCMU, 20, 400);
    for format in [WIDE, PCMA, G722] {
        line.send(format, 20);
    }
    for _ in 0..10 {
        line.tick();
        assert!(peak(line.input.frame()) < 12_000);
    }
}

#[test]
fn a_device_that_changes_its_codec_with_each_packet_costs_a_few_decoders_a_frame() {
    let mut line = Line::at(Rate::Wide);
    for _ in 0..10 {
        for format in [PCMU, WIDE, G722].into_iter().cycle().take(100) {
            line.carry(format, 20, &[0xff; 160]);
        }
        assert!(line.input.decoders_made() <= 4, "{}", line.input.decoders_made());
        line.tick();
    }
    assert!(
        (7_000..9_500).contains(&line.talk(PCMU, 20, 2_000)),
        "and is heard when it has chosen"
    );
}

#[derive(Clone, Debug)]
enum Happens {
    Sound { format: usize, ms: u32, remapped: bool },
    Rubbish { format: usize, payload: Vec<u8> },
    Noise,
    Lost(u16),
    Rate(Rate),
    Ticks(u8),
}

fn happens() -> impl Strategy<Value = Happens> {
    let lengths = prop::sample::select(vec![10, 20, 30, 60]);
    let rates = prop::sample::select(vec![Rate::Narrow, Rate::Wide, Rate::Full]);
    prop_oneof![
        5 => (0..CODECS.len(), lengths, prop::bool::weighted(0.1))
            .prop_map(|(format, ms, remapped)| Happens::Sound { format, ms, remapped }),
        1 => (0..CODECS.len(), vec(any::<u8>(), 0..400)).prop_map(|(format, payload)| Happens::Rubbish { format, payload }),
        1 => Just(Happens::Noise),
        1 => (1u16..6).prop_map(Happens::Lost),
        1 => rates.prop_map(Happens::Rate),
        4 => (1u8..4).prop_map(Happens::Ticks),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]
    #[test]
    fn whatever_comes_in_whatever_order_each_frame_is_made(all in vec(happens(), 1..200)) {
        let mut line = Line::at(Rate::Narrow);
        for one in all {
            match one {
                Happens::Sound { format, ms, remapped } => {
                    let pt_in = if remapped { 97 } else { CODECS[format].pt_in };
                    line.send(Format { pt_in, ..CODECS[format] }, ms);
                }
                Happens::Rubbish { format, payload } => line.carry(CODECS[format], 20, &payload),
                Happens::Noise => line.carry(NOISE, 20, &[40]),
                Happens::Lost(packets) => line.sequence = line.sequence.wrapping_add(packets),
                Happens::Rate(rate) => line.input.set_rate(rate),
                Happens::Ticks(ticks) => (0..ticks).for_each(|_| line.tick()),
            }
        }
        line.tick();
    }
}
