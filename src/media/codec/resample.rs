//! From one of our rates to another: 2:1, 3:1 and 6:1 either way, by a short polyphase FIR low-pass.

use crate::plan::Rate;
use std::f64::consts::PI;
use std::sync::LazyLock;

/// Coefficients for each sample of the higher rate's filter, per ratio: 24 samples of the lower rate, 3 ms at 8 kHz.
const TAPS: usize = 24;

/// Highest ratio: 8 to 48 kHz.
const MAX_RATIO: usize = 6;

/// Longest frame: 20 ms at 48 kHz.
const MAX_FRAME: usize = Rate::Full.frame();

/// Of the lower rate's Nyquist frequency: -6 dB at 3.7 kHz for 8 kHz, over 50 dB down at 4.4 kHz.
const CUTOFF: f64 = 0.92;

/// A filter for each ratio, `[2, 3, 6]`, as reversed polyphase branches: `ratio` rows of `TAPS`.
static FILTERS: LazyLock<[Vec<f32>; 3]> = LazyLock::new(|| [2, 3, 6].map(low_pass));

/// One stream's conversion. It allocates nothing and delays by 12 samples of the lower rate.
#[derive(Debug)]
pub struct Resampler {
    from: Rate,
    to: Rate,
    /// The last samples of the frame before, as many as the filter reaches back.
    history: Vec<f32>,
    work: Vec<f32>,
}

impl Resampler {
    /// `None` between equal rates.
    #[must_use]
    pub fn new(from: Rate, to: Rate) -> Option<Resampler> {
        let ratio = ratio(from, to)?;
        let reach = if from < to { TAPS - 1 } else { (TAPS * ratio) - 1 };
        LazyLock::force(&FILTERS);
        Some(Resampler {
            from,
            to,
            history: vec![0.0; reach],
            work: Vec::with_capacity(reach + MAX_FRAME),
        })
    }

    /// Samples per second it takes.
    #[must_use]
    pub fn from(&self) -> Rate {
        self.from
    }

    /// Samples per second it makes.
    #[must_use]
    pub fn to(&self) -> Rate {
        self.to
    }

    /// Converts a frame of at most 20 ms into `out`, which is longer or shorter by exactly the ratio. A frame to be made
    /// shorter has a multiple of the ratio.
    pub fn process(&mut self, frame: &[i16], out: &mut [i16]) {
        let Some(ratio) = ratio(self.from, self.to) else { return };
        debug_assert!(frame.len() <= MAX_FRAME);
        self.work.clear();
        self.work.extend_from_slice(&self.history);
        self.work.extend(frame.iter().map(|&sample| f32::from(sample)));
        let filter = &FILTERS[ratio / 3];
        if self.from < self.to {
            for (made, samples) in out.chunks_exact_mut(ratio).zip(self.work.windows(TAPS)) {
                for (sample, branch) in made.iter_mut().zip(filter.chunks_exact(TAPS)) {
                    *sample = rounded(dot(samples, branch) * ratio as f32);
                }
            }
        } else {
            let whole = &FLAT[ratio / 3];
            for (sample, samples) in out.iter_mut().zip(self.work.windows(TAPS * ratio).step_by(ratio)) {
                *sample = rounded(dot(samples, whole));
            }
        }
        let kept = self.work.len() - self.history.len();
        self.history.copy_from_slice(&self.work[kept..]);
    }

    /// Forgets the stream.
    pub fn begin_anew(&mut self) {
        self.history.fill(0.0);
    }
}

/// The same filters in one row, for going down; they are symmetric, so nothing is reversed.
static FLAT: LazyLock<[Vec<f32>; 3]> = LazyLock::new(|| [2, 3, 6].map(|ratio| prototype(ratio).collect()));

fn ratio(from: Rate, to: Rate) -> Option<usize> {
    match (from.min(to), from.max(to)) {
        (Rate::Narrow, Rate::Wide) => Some(2),
        (Rate::Wide, Rate::Full) => Some(3),
        (Rate::Narrow, Rate::Full) => Some(MAX_RATIO),
        _ => None,
    }
}

/// Eight sums side by side, so that the compiler finds vectors.
fn dot(samples: &[f32], filter: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    for (samples, filter) in samples.chunks_exact(8).zip(filter.chunks_exact(8)) {
        for ((sum, sample), factor) in sums.iter_mut().zip(samples).zip(filter) {
            *sum += sample * factor;
        }
    }
    sums.iter().sum()
}

/// A cast of f32 saturates by itself.
fn rounded(sample: f32) -> i16 {
    sample.round() as i16
}

/// Branch `p` makes the sample `p` steps of the higher rate after the newest-but-`TAPS/2` one; oldest sample first.
fn low_pass(ratio: usize) -> Vec<f32> {
    let whole: Vec<f32> = prototype(ratio).collect();
    (0..ratio)
        .flat_map(|p| (0..TAPS).rev().map(move |tap| (tap, p)))
        .map(|(tap, p)| whole[tap * ratio + p])
        .collect()
}

/// A sinc under a Kaiser window, of unit gain.
fn prototype(ratio: usize) -> impl Iterator<Item = f32> {
    let length = TAPS * ratio;
    let middle = (length - 1) as f64 / 2.0;
    let cutoff = CUTOFF / ratio as f64;
    let tap = move |n: usize| {
        let x = n as f64 - middle;
        let sinc = if x.abs() < 1e-9 {
            cutoff
        } else {
            (PI * cutoff * x).sin() / (PI * x)
        };
        sinc * kaiser(x / middle)
    };
    let sum: f64 = (0..length).map(tap).sum();
    (0..length).map(move |n| (tap(n) / sum) as f32)
}

/// Beta 5.6: side lobes 60 dB down.
fn kaiser(x: f64) -> f64 {
    let beta = 5.6;
    bessel(beta * (1.0 - x * x).max(0.0).sqrt()) / bessel(beta)
}

/// The modified Bessel function of order 0 by its series.
fn bessel(x: f64) -> f64 {
    let mut term = 1.0;
    (1..30).fold(1.0, |sum, n| {
        term *= (x / (2.0 * f64::from(n))).powi(2);
        sum + term
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goertzel::level_dbm0;
    use crate::tone::{Tone, ToneGenerator};

    const PAIRS: [(Rate, Rate); 6] = [
        (Rate::Narrow, Rate::Wide),
        (Rate::Wide, Rate::Full),
        (Rate::Narrow, Rate::Full),
        (Rate::Wide, Rate::Narrow),
        (Rate::Full, Rate::Wide),
        (Rate::Full, Rate::Narrow),
    ];

    fn converted(from: Rate, to: Rate, hz: f32) -> Vec<i16> {
        let mut tone = ToneGenerator::new(&Tone::steady(hz, -6.0), from.hz());
        let mut resampler = Resampler::new(from, to).unwrap();
        let (mut frame, mut made) = (vec![0; from.frame()], vec![0; to.frame()]);
        let mut all = Vec::new();
        for _ in 0..50 {
            tone.fill(&mut frame);
            resampler.process(&frame, &mut made);
            all.extend_from_slice(&made);
        }
        all.split_off(2 * to.frame())
    }

    #[test]
    fn tones_keep_their_level_up_to_three_quarters_of_the_lower_band() {
        for (from, to) in PAIRS {
            let band = from.min(to).hz() as f32 / 2.0;
            for part in [0.05, 0.25, 0.5, 0.75] {
                let hz = (band * part / 50.0).round() * 50.0;
                let level = level_dbm0(&converted(from, to, hz), hz, to.hz());
                assert!((level + 6.0).abs() < 0.2, "{from:?} to {to:?}, {hz} Hz: {level}");
            }
        }
    }

    #[test]
    fn nothing_folds_back_or_is_mirrored() {
        for (from, to) in PAIRS {
            let low = from.min(to).hz() as f32;
            // Going down, a tone above the new band must vanish; going up, a mirror image must not appear.
            let (hz, image) = if from > to {
                (low * 0.6, low * 0.4)
            } else {
                (low * 0.4, low * 0.6)
            };
            let level = level_dbm0(&converted(from, to, hz), image, to.hz());
            assert!(level < -50.0, "{from:?} to {to:?}: {level}");
        }
    }

    #[test]
    fn equal_rates_need_no_resampler() {
        assert!(Resampler::new(Rate::Wide, Rate::Wide).is_none());
    }
}
