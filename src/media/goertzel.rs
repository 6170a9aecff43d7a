//! How loud one frequency is in a run of samples (Goertzel's algorithm).

use std::f32::consts::TAU;

/// Peak of a sine at 0 dBm0 in 16 bit samples.
const PEAK_0_DBM0: f32 = 22_302.0;

/// Amplitude of `hz` in `samples`, as the peak of the sine. Exact for whole periods, with leakage otherwise.
#[must_use]
pub fn amplitude(samples: &[i16], hz: f32, rate: u32) -> f32 {
    let turn = TAU * hz / rate as f32;
    let coefficient = 2.0 * turn.cos();
    let (last, before) = samples.iter().fold((0.0f32, 0.0f32), |(last, before), &sample| {
        (f32::from(sample) + coefficient * last - before, last)
    });
    let power = last * last + before * before - coefficient * last * before;
    2.0 * power.max(0.0).sqrt() / samples.len().max(1) as f32
}

/// The same in dBm0.
#[must_use]
pub fn level_dbm0(samples: &[i16], hz: f32, rate: u32) -> f32 {
    20.0 * (amplitude(samples, hz, rate).max(0.01) / PEAK_0_DBM0).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hears_the_tone_and_not_its_neighbour() {
        let samples: Vec<i16> = (0..800)
            .map(|n| (8000.0 * (TAU * 440.0 * n as f32 / 8000.0).sin()) as i16)
            .collect();
        assert!((amplitude(&samples, 440.0, 8000) - 8000.0).abs() < 20.0);
        assert!(amplitude(&samples, 640.0, 8000) < 50.0);
    }
}
