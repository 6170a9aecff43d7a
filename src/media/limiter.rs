//! Brings a sum that is too loud for 16 bit into them: softer as a whole, instead of with its peaks cut off. Cut peaks of three
//! tones make tones that nobody sends, one of which may be a listener's own.

/// Part of a frame in which the gain falls: 2 ms of 20. Peaks that are still too high meanwhile are cut.
const ATTACK: usize = 10;

/// How much the gain comes back in a frame: 3 dB a second.
const RELEASE: f32 = 1.007;

/// The largest sample, as a factor wants it.
const FULL: f32 = 32_767.0;

/// The gain of one listener's sum, from frame to frame.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Limiter {
    gain: f32,
}

impl Default for Limiter {
    fn default() -> Limiter {
        Limiter { gain: 1.0 }
    }
}

impl Limiter {
    /// Writes a frame of 32 bit samples to `out`. Unless it is too loud, or one was a moment ago, nothing is changed.
    pub fn limit(&mut self, out: &mut [i16], sum: impl Iterator<Item = i32> + Clone) {
        let (mut lowest, mut highest) = (0, 0);
        for (out, sample) in out.iter_mut().zip(sum.clone()) {
            (lowest, highest) = (sample.min(lowest), sample.max(highest));
            *out = saturated(sample);
        }
        // There is one step more below than above.
        let peak = highest.max(!lowest) as f32;
        if self.gain >= 1.0 && peak <= FULL {
            return;
        }
        let most = (FULL / peak.max(1.0)).min(1.0);
        let (from, to) = (self.gain, most.min(self.gain * RELEASE));
        let length = out.len().max(1);
        let way = if to < from { length.div_ceil(ATTACK) } else { length };
        let step = (to - from) / way as f32;
        let last = way as i32 - 1;
        for (at, (out, sample)) in out.iter_mut().zip(sum).enumerate() {
            // Without a branch or a call, so that several samples are done at once: in a loud room this is most of the mixing.
            let left = (last - at as i32).max(0) as f32;
            *out = rounded(sample as f32 * (to - step * left));
        }
        self.gain = to;
    }
}

/// To the nearest of 16 bit, halves to the even one. Added to so large a number, nothing behind the point is left of a sample.
fn rounded(sample: f32) -> i16 {
    const LARGE: f32 = 12_582_912.0;
    let within = sample.clamp(-32_768.0, FULL);
    ((within + LARGE).to_bits() as i32 - LARGE.to_bits() as i32) as i16
}

fn saturated(sample: i32) -> i16 {
    sample.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goertzel::level_dbm0;
    use std::f64::consts::TAU;

    /// Three tones of half of full scale each, for so many frames from this one on.
    fn frames(limiter: &mut Limiter, frames: std::ops::Range<usize>, amplitude: f64) -> Vec<i16> {
        let sample = |n: usize| -> i32 {
            let tone = |hz: f64| amplitude * (TAU * hz * n as f64 / 8_000.0).sin();
            (tone(550.0) + tone(660.0) + tone(770.0)) as i32
        };
        let mut all = Vec::new();
        for frame in frames {
            let mut out = [0; 160];
            limiter.limit(&mut out, (frame * 160..(frame + 1) * 160).map(sample));
            all.extend_from_slice(&out);
        }
        all
    }

    #[test]
    fn samples_are_rounded_as_the_processor_does() {
        for n in -140_000i32..=140_000 {
            let sample = n as f32 / 4.0;
            assert_eq!(rounded(sample), sample.round_ties_even() as i16, "{sample}");
        }
        assert_eq!((rounded(3e8), rounded(-3e8)), (i16::MAX, i16::MIN));
    }

    #[test]
    fn three_loud_tones_stay_three_tones() {
        let heard = frames(&mut Limiter::default(), 0..200, 16_000.0).split_off(50 * 160);
        let level = |hz| level_dbm0(&heard, hz, 8_000);
        for hz in [550.0, 660.0, 770.0] {
            assert!((-8.0..-2.5).contains(&level(hz)), "{hz}: {}", level(hz));
        }
        // What cutting the peaks makes of them: 2 x 550 - 660, and so on.
        for hz in [440.0, 330.0, 880.0, 990.0] {
            assert!(level(hz) < level(660.0) - 40.0, "{hz}: {}", level(hz));
        }
    }

    #[test]
    fn what_fits_is_not_changed_and_loudness_comes_back_when_it_is_over() {
        let mut limiter = Limiter::default();
        let sample = |n: usize| if n.is_multiple_of(2) { 32_767 } else { -32_768 };
        let mut out = [0; 160];
        limiter.limit(&mut out, (0..160).map(sample));
        assert_eq!((out[0], out[1], limiter), (32_767, -32_768, Limiter::default()));
        frames(&mut limiter, 0..20, 16_000.0);
        assert!(limiter.gain < 0.8);
        frames(&mut limiter, 20..120, 1_000.0);
        assert_eq!(limiter.gain, 1.0, "two seconds bring 6 dB back");
        let soft = frames(&mut limiter, 120..121, 1_000.0);
        assert_eq!(soft, frames(&mut Limiter::default(), 120..121, 1_000.0));
    }
}
