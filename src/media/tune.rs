//! The switch's own music on hold, played from a score of our own making: a class of music without files sounds like this,
//! at any rate, and no recording has to be shipped.

use std::f32::consts::TAU;

/// Chords of the piece, a bar each: bass note and five notes to be broken, as MIDI numbers.
const BARS: [[u8; 6]; 8] = [
    [45, 57, 60, 64, 67, 72],
    [50, 57, 60, 65, 69, 72],
    [43, 55, 59, 62, 65, 71],
    [48, 55, 60, 64, 67, 71],
    [41, 57, 60, 64, 65, 72],
    [50, 57, 62, 65, 69, 74],
    [40, 56, 59, 62, 64, 68],
    [45, 57, 59, 60, 64, 69],
];

/// Which note of the chord sounds on each eighth; two bars differ so that it turns less often.
const PATTERNS: [[usize; 8]; 2] = [[1, 3, 2, 4, 3, 5, 4, 2], [1, 2, 4, 3, 5, 4, 3, 2]];

/// Eighths a second: 84 quarters a minute.
const EIGHTHS: f32 = 2.8;

/// Notes that sound together at most: a note has died away after six eighths.
const VOICES: usize = 8;

/// Peak of one note; a few together come to some -16 dBm0.
const LOUDNESS: f32 = 3_000.0;

/// The piece, being played without end.
#[derive(Clone, Debug)]
pub struct Tune {
    rate: f32,
    voices: [Voice; VOICES],
    next_voice: usize,
    eighth: usize,
    /// Samples until the next eighth.
    wait: f32,
}

/// A note that dies away.
#[derive(Copy, Clone, Debug, Default)]
struct Voice {
    phase: f32,
    turn: f32,
    loudness: f32,
    decay: f32,
    attack: f32,
}

impl Tune {
    /// From its beginning, at `rate` samples per second.
    #[must_use]
    pub fn new(rate: u32) -> Tune {
        Tune {
            rate: rate as f32,
            voices: [Voice::default(); VOICES],
            next_voice: 0,
            eighth: 0,
            wait: 0.0,
        }
    }

    /// The next samples.
    pub fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            if self.wait <= 0.0 {
                self.on_eighth();
                self.wait += self.rate / EIGHTHS;
            }
            self.wait -= 1.0;
            let sum: f32 = self.voices.iter_mut().map(Voice::next).sum();
            *sample = sum as i16;
        }
    }

    fn on_eighth(&mut self) {
        let (bar, at) = (self.eighth / 8 % BARS.len(), self.eighth % 8);
        let chord = BARS[bar];
        if at == 0 {
            self.strike(chord[0], 1.0);
        }
        self.strike(chord[PATTERNS[bar % 2][at]], if at % 4 == 0 { 0.9 } else { 0.6 });
        self.eighth += 1;
    }

    fn strike(&mut self, note: u8, weight: f32) {
        let hz = 440.0 * ((f32::from(note) - 69.0) / 12.0).exp2();
        self.voices[self.next_voice] = Voice {
            phase: 0.0,
            turn: hz / self.rate,
            loudness: LOUDNESS * weight,
            decay: (-2.2 / self.rate).exp(),
            attack: 0.0,
        };
        self.next_voice = (self.next_voice + 1) % VOICES;
    }
}

impl Voice {
    fn next(&mut self) -> f32 {
        self.phase = (self.phase + self.turn).fract();
        self.loudness *= self.decay;
        self.attack += (1.0 - self.attack) * 0.01;
        let angle = self.phase * TAU;
        // A touch of the octave and the twelfth, which die sooner with the loudness, makes a string of a sine.
        let colour = self.loudness / LOUDNESS * 0.3;
        let wave = angle.sin() + colour * (2.0 * angle).sin() + colour * 0.5 * (3.0 * angle).sin();
        self.loudness * self.attack * wave
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_at_the_loudness_of_speech_and_never_clips() {
        for rate in [8_000u32, 16_000, 48_000] {
            let mut tune = Tune::new(rate);
            let mut second = vec![0; rate as usize];
            for n in 0..60 {
                tune.fill(&mut second);
                let power: f64 = second.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / f64::from(rate);
                let dbm0 = 20.0 * (power.sqrt() * std::f64::consts::SQRT_2 / 22_302.0).log10();
                assert!((-26.0..-12.0).contains(&dbm0), "{dbm0} in second {n} at {rate}");
                assert!(second.iter().all(|s| s.unsigned_abs() < 20_000));
            }
        }
    }
}
