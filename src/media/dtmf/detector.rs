//! Key presses heard in the sound (ITU-T Q.24), for devices that have no packets for them.
//!
//! Sound at 8 kHz is looked at in blocks of 12.75 ms. A block holds a key if exactly one tone of each group is loud, the two
//! are about as loud as each other (twist), and hardly anything else is there: speech has harmonics everywhere, which is
//! what keeps it from dialling (talk-off). A press needs two such blocks in a row, and ends with two without it.

use super::{HIGH_HZ, LOW_HZ, PAD};
use crate::goertzel::amplitude;
use std::time::Duration;

/// Samples of a block: short enough for two to lie within the 40 ms of the shortest press, long enough that tones 70 Hz
/// apart are two.
const BLOCK: usize = 102;

/// Samples per second.
pub const RATE: u32 = 8_000;

/// Weakest tone that counts: peak of a sine at -30 dBm0; Q.24 asks for -25 and better.
const FLOOR: f32 = 705.0;

/// Most that one tone may be louder than the other, as a ratio of powers: 8 dB. Phones send the high tone louder because
/// lines dampen it; Q.24 lists what administrations ask for either way.
const TWIST: f32 = 6.3;

/// Within a group the next tone is weaker by this: 8 dB.
const ALONE: f32 = 6.3;

/// Share of the block's energy that lies in the two tones. Tones 1.5 % off still have 0.75 of it in their place.
const PURE: f32 = 0.72;

/// Blocks of a key, or without it, that make a beginning, or an end.
const CERTAIN: u8 = 2;

/// Longest press that is reported as such.
const LONGEST: Duration = Duration::from_secs(30);

/// A press that has ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Press {
    /// Event number of RFC 4733.
    pub event: u8,
    /// To a block, 12.75 ms.
    pub duration: Duration,
}

/// Listens to one stream.
#[derive(Debug)]
pub struct Detector {
    block: [i16; BLOCK],
    filled: usize,
    /// What the last block held, and how many in a row held it.
    last: Option<u8>,
    run: u8,
    present: Option<Present>,
}

#[derive(Debug)]
struct Present {
    event: u8,
    blocks: u32,
    missing: u8,
}

impl Default for Detector {
    fn default() -> Detector {
        Detector {
            block: [0; BLOCK],
            filled: 0,
            last: None,
            run: 0,
            present: None,
        }
    }
}

impl Detector {
    /// Hears samples; says the press that ended with them. A packet of up to 60 ms cannot end two.
    pub fn hear(&mut self, samples: impl IntoIterator<Item = i16>) -> Option<Press> {
        let mut ended = None;
        for sample in samples {
            self.block[self.filled] = sample;
            self.filled += 1;
            if self.filled == BLOCK {
                self.filled = 0;
                ended = self.on_block(key_in(&self.block)).or(ended);
            }
        }
        ended
    }

    /// Nothing more comes for a while: what is pressed has ended.
    pub fn pause(&mut self) -> Option<Press> {
        (self.filled, self.last, self.run) = (0, None, 0);
        self.finish()
    }

    /// A key is being pressed.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.present.is_some()
    }

    fn on_block(&mut self, key: Option<u8>) -> Option<Press> {
        self.run = if key == self.last {
            self.run.saturating_add(1)
        } else {
            1
        };
        self.last = key;
        let certain = self.run >= CERTAIN;
        let mut ended = None;
        if let Some(present) = &mut self.present {
            if key == Some(present.event) {
                present.blocks += 1 + u32::from(present.missing);
                present.missing = 0;
                return None;
            }
            present.missing += 1;
            if present.missing >= CERTAIN {
                ended = self.finish();
            }
        }
        if let (true, None, Some(event)) = (certain, &self.present, key) {
            self.present = Some(Present {
                event,
                blocks: u32::from(self.run),
                missing: 0,
            });
        }
        ended
    }

    fn finish(&mut self) -> Option<Press> {
        let present = self.present.take()?;
        let micros = u64::from(present.blocks) * BLOCK as u64 * 1_000_000 / u64::from(RATE);
        Some(Press {
            event: present.event,
            duration: Duration::from_micros(micros).min(LONGEST),
        })
    }
}

/// The key whose tones, and nothing else, a block holds.
fn key_in(block: &[i16; BLOCK]) -> Option<u8> {
    let energy = block.iter().map(|&sample| f32::from(sample).powi(2)).sum::<f32>() / BLOCK as f32;
    // Cheaper than eight filters, and true of nearly every block of a pause.
    if energy < FLOOR * FLOOR {
        return None;
    }
    let (row, low) = loudest(block, LOW_HZ)?;
    let (column, high) = loudest(block, HIGH_HZ)?;
    let balanced = high <= low * TWIST && low <= high * TWIST;
    let pure = (low + high) / 2.0 >= energy * PURE;
    (balanced && pure).then(|| PAD[row][column])
}

/// The one loud tone of a group, and its power.
fn loudest(block: &[i16; BLOCK], hz: [f32; 4]) -> Option<(usize, f32)> {
    let power = hz.map(|hz| amplitude(block, hz, RATE).powi(2));
    let (at, most) = (0..).zip(power).max_by(|a, b| a.1.total_cmp(&b.1))?;
    let alone = (0..)
        .zip(power)
        .all(|(other, power)| other == at || power * ALONE <= most);
    (most >= FLOOR * FLOOR && alone).then_some((at, most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtmf::{event_of, key_of};
    use std::f32::consts::TAU;

    /// Peak of a sine of this level.
    fn peak(dbm0: f32) -> f32 {
        22_302.0 * 10f32.powf(dbm0 / 20.0)
    }

    struct Line {
        samples: Vec<i16>,
        noise: u32,
    }

    impl Line {
        fn new() -> Line {
            let (samples, noise) = (Vec::new(), 1);
            Line { samples, noise }
        }

        fn random(&mut self) -> f32 {
            self.noise = self.noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (self.noise >> 8) as f32 / (1 << 23) as f32 - 1.0
        }

        /// Two tones for so many ms, over white noise of a level.
        fn tones(&mut self, tones: [(f32, f32); 2], ms: usize, noise: f32) {
            let start = self.samples.len();
            for n in start..start + 8 * ms {
                let at = n as f32 / 8_000.0;
                let sound: f32 = tones.iter().map(|(hz, peak)| peak * (TAU * hz * at).sin()).sum();
                let sample = sound + noise * self.random();
                self.samples.push(sample as i16);
            }
        }

        fn key(&mut self, key: char, ms: usize, dbm0: [f32; 2], shift: f32) {
            let at = |event| PAD.iter().flatten().position(|&known| known == event).unwrap();
            let place = at(event_of(key).unwrap());
            let (low, high) = (LOW_HZ[place / 4], HIGH_HZ[place % 4]);
            self.tones([(low * shift, peak(dbm0[0])), (high * shift, peak(dbm0[1]))], ms, 40.0);
        }

        fn silence(&mut self, ms: usize) {
            self.tones([(0.0, 0.0); 2], ms, 40.0);
        }

        fn heard(&self) -> String {
            let mut detector = Detector::default();
            let presses = self
                .samples
                .chunks(160)
                .filter_map(|packet| detector.hear(packet.iter().copied()));
            let mut heard: Vec<Press> = presses.collect();
            heard.extend(detector.pause());
            heard.iter().filter_map(|press| key_of(press.event)).collect()
        }
    }

    const KEYS: &str = "0123456789*#ABCD";

    fn dialled(ms: usize, dbm0: [f32; 2], shift: f32) -> String {
        let mut line = Line::new();
        line.silence(33);
        for key in KEYS.chars() {
            line.key(key, ms, dbm0, shift);
            line.silence(50);
        }
        line.heard()
    }

    #[test]
    fn every_key_is_heard_once_at_every_level_twist_and_length_a_line_may_give_it() {
        for (ms, dbm0, shift) in [
            (80, [-10.0, -8.0], 1.0),
            (40, [-10.0, -8.0], 1.0),
            (500, [-6.0, -6.0], 1.0),
            (60, [-25.0, -25.0], 1.0),
            (60, [-15.0, -8.0], 1.0),
            (60, [-8.0, -15.0], 1.0),
            (60, [-10.0, -10.0], 1.015),
            (60, [-10.0, -10.0], 0.985),
        ] {
            assert_eq!(dialled(ms, dbm0, shift), KEYS, "{ms} ms, {dbm0:?}, {shift}");
        }
    }

    #[test]
    fn what_is_too_short_too_weak_too_unlike_or_beside_is_no_key() {
        for (ms, dbm0, shift) in [
            (15, [-10.0, -10.0], 1.0),
            (80, [-38.0, -38.0], 1.0),
            (80, [-20.0, -5.0], 1.0),
            (80, [-5.0, -20.0], 1.0),
            (80, [-10.0, -10.0], 1.04),
            (80, [-10.0, -10.0], 0.96),
        ] {
            assert_eq!(dialled(ms, dbm0, shift), "", "{ms} ms, {dbm0:?}, {shift}");
        }
    }

    #[test]
    fn a_press_has_its_length_and_survives_a_short_break() {
        let mut line = Line::new();
        line.key('7', 100, [-10.0, -10.0], 1.0);
        line.silence(8);
        line.key('7', 100, [-10.0, -10.0], 1.0);
        line.silence(60);
        let mut detector = Detector::default();
        let press = detector.hear(line.samples).unwrap();
        assert_eq!(press.event, 7);
        assert!((170..=220).contains(&press.duration.as_millis()), "{press:?}");
        assert!(!detector.is_pressed());
    }

    #[test]
    fn call_progress_tones_fax_and_single_tones_are_no_keys() {
        let mut line = Line::new();
        for tones in [
            [(350.0, 0.1), (440.0, 0.1)],
            [(480.0, 0.1), (620.0, 0.1)],
            [(425.0, 0.2), (0.0, 0.0)],
            [(1_100.0, 0.2), (0.0, 0.0)],
            [(2_100.0, 0.2), (0.0, 0.0)],
            [(697.0, 0.2), (0.0, 0.0)],
            [(1_336.0, 0.2), (0.0, 0.0)],
            [(697.0, 0.2), (770.0, 0.2)],
        ] {
            line.tones(tones.map(|(hz, share)| (hz, share * 32_767.0)), 400, 40.0);
        }
        assert_eq!(line.heard(), "");
    }

    /// Vowels of random pitch and formants, gliding, with breath between.
    #[test]
    fn two_minutes_of_speech_like_sound_press_no_key() {
        let mut line = Line::new();
        let mut detector = Detector::default();
        let (mut heard, mut phase) = (0, 0.0f32);
        for _ in 0..600 {
            let pitch = 90.0 + 130.0 * line.random().abs();
            let glide = 1.0 + 0.15 * line.random();
            let formants = [500.0 + 350.0 * line.random(), 1_400.0 + 600.0 * line.random(), 2_600.0];
            let loud = peak(-30.0 + 14.0 * line.random());
            let voiced = line.random() > -0.6;
            let shape = |hz: f32| {
                formants
                    .iter()
                    .map(|f| 1.0 / (1.0 + ((hz - f) / 90.0).powi(2)))
                    .sum::<f32>()
            };
            let harmonics: Vec<f32> = (0..(3_400.0 / pitch) as u32).map(|k| shape(pitch * k as f32)).collect();
            for n in 0..1_600 {
                phase = (phase + pitch * (1.0 + (glide - 1.0) * n as f32 / 1_600.0) / 8_000.0) % 1.0;
                let voice: f32 = match voiced {
                    true => (0u8..)
                        .zip(&harmonics)
                        .map(|(k, loud)| loud * (TAU * phase * f32::from(k)).sin())
                        .sum(),
                    false => line.random(),
                };
                let sample = (2.0 * loud * voice) as i16;
                heard += usize::from(detector.hear([sample]).is_some());
            }
        }
        assert_eq!(heard, 0);
    }
}
