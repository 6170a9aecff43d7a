//! Automatic level control: whoever is too soft or too loud comes out as loud as the others.

/// What is aimed at: the effective value of speech at -19 dBm0.
const TARGET: f32 = 1_770.0;

/// 12 dB either way: beyond, noise would become speech.
const LIMITS: (f32, f32) = (0.25, 4.0);

/// Steps of the gain in a frame: 3 dB a second up, 25 dB a second down.
const UP: f32 = 1.007;
const DOWN: f32 = 0.944;

/// Share of a frame in the measured level: half of a change is known after 0.7 s of talk.
const SHARE: f32 = 0.02;

/// One member's gain, as it follows its level.
#[derive(Debug)]
pub(super) struct LevelControl {
    power: f32,
    gain: f32,
}

impl Default for LevelControl {
    fn default() -> LevelControl {
        LevelControl {
            power: TARGET * TARGET,
            gain: 1.0,
        }
    }
}

impl LevelControl {
    /// Levels a frame. Only frames in which the member `talks` say how loud it is. Within the frame the gain goes from the
    /// old to the new one in a line, so that nothing clicks, and never so high that the frame would clip.
    pub fn apply(&mut self, frame: &mut [i16], talks: bool) {
        let count = frame.len().max(1) as f32;
        if talks {
            let power: f32 = frame.iter().map(|&s| f32::from(s) * f32::from(s)).sum::<f32>() / count;
            self.power += (power - self.power) * SHARE;
        }
        let wanted = (TARGET / self.power.max(1.0).sqrt()).clamp(LIMITS.0, LIMITS.1);
        let peak = frame.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0).max(1);
        let most = 32_767.0 / f32::from(peak);
        let from = self.gain.min(most);
        let to = wanted.clamp(self.gain * DOWN, self.gain * UP).min(most);
        let step = (to - from) / count;
        let mut gain = from;
        for sample in frame {
            gain += step;
            *sample = (f32::from(*sample) * gain) as i16;
        }
        self.gain = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goertzel::level_dbm0;
    use crate::tone::{Tone, ToneGenerator};

    fn levelled(from_dbm0: f32) -> f32 {
        let mut tone = ToneGenerator::new(&Tone::steady(440.0, from_dbm0), 8000);
        let (mut control, mut frame, mut all) = (LevelControl::default(), [0; 160], Vec::new());
        for _ in 0..1000 {
            tone.fill(&mut frame);
            control.apply(&mut frame, true);
            all.extend_from_slice(&frame);
        }
        level_dbm0(&all[all.len() - 8000..], 440.0, 8000)
    }

    #[test]
    fn soft_and_loud_come_to_one_level_and_the_very_soft_only_nearer() {
        for level in [-29.0, -19.0, -9.0] {
            let after = levelled(level);
            assert!((after + 19.0).abs() < 1.0, "{level} became {after}");
        }
        assert!((levelled(-45.0) + 33.0).abs() < 1.0);
    }

    #[test]
    fn a_shout_after_a_whisper_does_not_clip() {
        let mut control = LevelControl {
            power: 100.0,
            gain: 4.0,
        };
        let mut frame: Vec<i16> = (0..160).map(|n| if n % 2 == 0 { 30_000 } else { -30_000 }).collect();
        control.apply(&mut frame, true);
        assert!(frame.windows(2).all(|pair| i32::from(pair[0]) * i32::from(pair[1]) < 0));
    }
}
