//! Leaving out a piece of sound where it cannot be heard: a stretch is taken out between two moments that look alike, and the
//! seam is blended.

use std::ops::RangeInclusive;

/// Longest period of a voice: moments that look alike are found within so many microseconds.
const SEARCH_US: usize = 15_000;

/// What is compared of two moments.
const WINDOW_US: usize = 8_000;

/// The blend from one to the other.
const BLEND_US: usize = 5_000;

/// Shortens the samples from `start` on by at most `most`, and by no more than 15 ms less. The place of the seam is where the
/// sound goes on most like it would have. `rate` is samples per second. False, and nothing is changed, if there is too little
/// sound for that.
pub fn shorten(samples: &mut Vec<i16>, start: usize, most: usize, rate: u32) -> bool {
    let length = |us: usize| rate as usize * us / 1_000_000;
    let (window, blend) = (length(WINDOW_US), length(BLEND_US));
    let sound = &samples[start.min(samples.len())..];
    let most = most.min(sound.len().saturating_sub(window));
    let least = most.saturating_sub(length(SEARCH_US)).max(blend);
    if most < least || sound.len() < 2 * window {
        return false;
    }
    let cut = likest(sound, least..=most, window, (rate as usize / 8_000).max(1));
    let whole = blend as i32;
    for (n, rising) in (start..start + blend).zip(0..) {
        let (old, new) = (i32::from(samples[n]), i32::from(samples[n + cut]));
        samples[n] = ((old * (whole - rising) + new * rising) / whole) as i16;
    }
    samples.drain(start + blend..start + blend + cut);
    true
}

/// Where in `sound` something that begins like `next` would go on best: looked for at some 8 kHz, then around the best at the
/// full rate. Of several equal places it is the first.
pub(crate) fn place(sound: &[i16], next: &[i16], stride: usize) -> usize {
    let most = sound.len().saturating_sub(next.len());
    refined(sound, next, (0..=most).step_by(stride), 0..=most, stride)
}

/// The distance at which the sound looks most like its beginning. Of several equal ones it is the longest, which in silence
/// takes out the most.
fn likest(sound: &[i16], range: RangeInclusive<usize>, window: usize, stride: usize) -> usize {
    let coarse = range.clone().rev().step_by(stride);
    refined(sound, &sound[..window], coarse, range, stride)
}

fn refined(
    sound: &[i16],
    like: &[i16],
    coarse: impl Iterator<Item = usize>,
    range: RangeInclusive<usize>,
    stride: usize,
) -> usize {
    let found = best(sound, like, coarse, stride);
    let near = found.saturating_sub(stride).max(*range.start())..=(found + stride).min(*range.end());
    if stride == 1 { found } else { best(sound, like, near, 1) }
}

fn best(sound: &[i16], like: &[i16], places: impl Iterator<Item = usize>, stride: usize) -> usize {
    let likeness = |place: usize| {
        let pairs = like.iter().zip(&sound[place..place + like.len()]);
        let (mut product, mut power) = (0i64, 0i64);
        for (&a, &b) in pairs.step_by(stride) {
            product += i64::from(a) * i64::from(b);
            power += i64::from(b) * i64::from(b);
        }
        // Normalised, so that a loud moment does not win over a like one.
        product as f64 / (power.max(1) as f64).sqrt()
    };
    let mut found = (0, f64::MIN);
    for place in places {
        let likeness = likeness(place);
        if likeness > found.1 {
            found = (place, likeness);
        }
    }
    found.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::{Tone, ToneGenerator};

    fn tone(hz: f32, rate: u32, ms: usize) -> Vec<i16> {
        let mut samples = vec![0; rate as usize * ms / 1_000];
        ToneGenerator::new(&Tone::steady(hz, -10.0), rate).fill(&mut samples);
        samples
    }

    fn steepest(samples: &[i16]) -> i32 {
        let steps = samples.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs());
        steps.max().unwrap_or(0)
    }

    #[test]
    fn a_tone_is_shortened_without_a_seam_that_can_be_heard() {
        for rate in [8_000, 16_000, 48_000] {
            for hz in [70.0, 211.0, 440.0, 1_004.0] {
                let mut samples = tone(hz, rate, 100);
                let (whole, before) = (samples.len(), steepest(&samples));
                let turn = rate as usize / 50;
                assert!(shorten(&mut samples, turn, turn, rate));
                let cut = whole - samples.len();
                assert!(cut <= turn && cut >= turn / 4, "{cut} of {turn}");
                assert!(steepest(&samples) <= before * 5 / 4 + 8, "{hz} Hz at {rate}");
                // Nothing but the tone: its level over the seam is what it was.
                let level = crate::goertzel::level_dbm0(&samples[..4 * turn], hz, rate);
                assert!((level + 10.0).abs() < 1.0, "{hz} Hz at {rate}: {level}");
            }
        }
    }

    #[test]
    fn silence_gives_all_it_has_and_too_little_sound_stays() {
        let mut samples = vec![0; 480];
        assert!(shorten(&mut samples, 0, 160, 8_000));
        assert_eq!(samples.len(), 320);
        let mut little = vec![5; 100];
        assert!(!shorten(&mut little, 0, 160, 8_000));
        assert_eq!(little.len(), 100);
    }
}
