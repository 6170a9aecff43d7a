//! Packet loss concealment for codecs that have none of their own: the last pitch period goes on, and fades.

use crate::splice;

/// Longest pitch period looked for: 66 Hz.
const MAX_PERIOD_US: usize = 15_000;
/// Shortest: 400 Hz.
const MIN_PERIOD_US: usize = 2_500;

/// Silence after this much concealment: beyond it, repeated pitch sounds like a machine.
const MAX_CONCEALED_MS: usize = 60;

/// Samples of the longest period and of 8 ms to compare, at 48 kHz.
const LONGEST: usize = 1_104;

/// Remembers what was played, to go on with it when nothing comes.
#[derive(Debug)]
pub struct Concealment {
    rate: usize,
    history: Vec<i16>,
    period: usize,
    concealed: usize,
}

impl Concealment {
    /// For sound of `rate` samples per second.
    #[must_use]
    pub fn new(rate: u32) -> Concealment {
        let rate = rate as usize;
        // The last 15 ms, and what lies up to that long before them.
        let length = 2 * (rate * MAX_PERIOD_US / 1_000_000);
        Concealment {
            rate,
            history: vec![0; length],
            period: 0,
            concealed: 0,
        }
    }

    /// A frame that came. After a concealment its first 5 ms are blended with what would have followed.
    pub fn heard(&mut self, frame: &mut [i16]) {
        if self.concealed > 0 {
            let overlap = (self.rate / 200).min(frame.len());
            let whole = overlap as i32;
            for (sample, rising) in frame[..overlap].iter_mut().zip(0..) {
                let (old, new) = (i32::from(self.next_sample()), i32::from(*sample));
                *sample = ((old * (whole - rising) + new * rising) / whole) as i16;
            }
            self.concealed = 0;
        }
        self.remember(frame);
    }

    /// A frame that begins at `start`, and came after something was concealed that was not lost: what is concealed goes on, by
    /// up to 15 ms, until the frame fits to it.
    pub fn resume(&mut self, samples: &mut Vec<i16>, start: usize) {
        let (reach, window) = (self.rate * MAX_PERIOD_US / 1_000_000, self.rate / 125);
        let mut onward = [0; LONGEST];
        if self.concealed == 0 || samples.len() < start + window || reach + window > LONGEST {
            return self.heard(&mut samples[start..]);
        }
        let concealed = self.concealed;
        let onward = &mut onward[..reach + window];
        onward.iter_mut().for_each(|sample| *sample = self.next_sample());
        let fitting = splice::place(onward, &samples[start..start + window], (self.rate / 8_000).max(1));
        self.concealed = concealed + fitting;
        let end = samples.len();
        samples.resize(end + fitting, 0);
        samples.copy_within(start..end, start + fitting);
        samples[start..start + fitting].copy_from_slice(&onward[..fitting]);
        self.heard(&mut samples[start + fitting..]);
    }

    /// Fills a frame that did not come.
    pub fn conceal(&mut self, frame: &mut [i16]) {
        if self.concealed == 0 {
            self.period = self.find_period();
        }
        for sample in &mut *frame {
            *sample = self.next_sample();
        }
    }

    /// The next sample of the repeated period, fading to nothing. It does not enter the history: a repeated repetition
    /// would drift.
    fn next_sample(&mut self) -> i16 {
        let from = self.history.len() - self.period.max(1) + self.concealed % self.period.max(1);
        let limit = self.rate * MAX_CONCEALED_MS / 1000;
        let hold = self.rate / 100;
        let left = limit.saturating_sub(self.concealed.max(hold)) as i32;
        self.concealed += 1;
        (i32::from(self.history[from]) * left / (limit - hold) as i32) as i16
    }

    fn remember(&mut self, frame: &[i16]) {
        let kept = self.history.len();
        let new = frame.len().min(kept);
        self.history.copy_within(new.., 0);
        self.history[kept - new..].copy_from_slice(&frame[frame.len() - new..]);
    }

    /// The lag at which the last 15 ms look most like what came before them: looked for at some 8 kHz, then around the
    /// best at the full rate.
    fn find_period(&self) -> usize {
        let (least, most) = (
            self.rate * MIN_PERIOD_US / 1_000_000,
            self.rate * MAX_PERIOD_US / 1_000_000,
        );
        let stride = (self.rate / 8_000).max(1);
        let coarse = self.likest((least..=most).step_by(stride), stride);
        let (from, to) = (coarse.saturating_sub(stride).max(least), (coarse + stride).min(most));
        if stride == 1 { coarse } else { self.likest(from..=to, 1) }
    }

    fn likest(&self, lags: impl Iterator<Item = usize>, stride: usize) -> usize {
        let most = self.rate * MAX_PERIOD_US / 1_000_000;
        let end = self.history.len();
        let recent = &self.history[end - most..];
        let likeness = |lag: usize| {
            let before = &self.history[end - most - lag..end - lag];
            let (mut product, mut power) = (0i64, 0i64);
            for (&a, &b) in recent.iter().zip(before).step_by(stride) {
                product += i64::from(a) * i64::from(b);
                power += i64::from(b) * i64::from(b);
            }
            // Normalised, so that a loud moment does not win over a like one.
            product as f64 / (power.max(1) as f64).sqrt()
        };
        lags.map(|lag| (lag, likeness(lag)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(most, |(lag, _)| lag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::goertzel::amplitude;
    use std::f32::consts::TAU;

    fn tone(hz: f32, frames: usize) -> Vec<Vec<i16>> {
        let samples: Vec<i16> = (0..frames * 160)
            .map(|n| (8000.0 * (TAU * hz * n as f32 / 8000.0).sin()) as i16)
            .collect();
        samples.chunks(160).map(<[i16]>::to_vec).collect()
    }

    #[test]
    fn a_tone_goes_on_through_a_lost_frame_without_a_jump() {
        for hz in [100.0, 200.0, 400.0] {
            let mut plc = Concealment::new(8000);
            let mut frames = tone(hz, 10);
            let mut played = Vec::new();
            for (n, frame) in frames.iter_mut().enumerate() {
                if n == 5 {
                    plc.conceal(frame)
                } else {
                    plc.heard(frame)
                }
                played.extend_from_slice(frame);
            }
            let steepest = (8000.0 * TAU * hz / 8000.0) as i32;
            let jump = played
                .windows(2)
                .map(|w| (i32::from(w[1]) - i32::from(w[0])).abs())
                .max()
                .unwrap();
            assert!(jump < steepest * 3 / 2 + 400, "{hz} Hz: {jump} against {steepest}");
            assert!(amplitude(&played[800..960], hz, 8000) > 5000.0, "{hz}");
        }
    }

    #[test]
    fn long_silence_fades_to_nothing() {
        let mut plc = Concealment::new(8000);
        tone(200.0, 5).iter_mut().for_each(|frame| plc.heard(frame));
        let mut frame = [0; 160];
        (0..4).for_each(|_| plc.conceal(&mut frame));
        assert_eq!(frame, [0; 160]);
    }
}
