//! An ear on a stream of sound: how loud it is, and which tones are in it. For people and test tools who cannot listen.

use crate::plan::Rate;
use std::f32::consts::TAU;

/// Peak of a sine at 0 dBm0 in 16 bit samples.
const PEAK_0_DBM0: f32 = 22_302.0;

/// Weaker tones are not told.
const FLOOR_DBM0: f32 = -45.0;

/// So far below the strongest tone of a window another still counts as one of its own, and not as its shadow.
const SHADOW_DB: f32 = 30.0;

/// Tones told at most; a chord of two keys and their harmonics is less.
const MAX_TONES: usize = 16;

/// Peaks within so many hertz of each other are one tone.
const SAME_HZ: f32 = 12.0;

/// So long after it was heard last a tone is forgotten.
const MEMORY_MS: u32 = 3_000;

/// What an ear has heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    /// Mean level in dBov (0 is a square wave at full scale, RFC 6464) since it was asked last, at most three seconds; `None`
    /// if there was no sound at all.
    pub level_dbov: Option<f32>,
    /// Tones of the last three seconds, the loudest first.
    pub tones: Vec<HeardTone>,
}

/// A tone that was heard.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct HeardTone {
    /// Frequency, true to some 2 Hz.
    pub hz: f32,
    /// How loud at its loudest.
    pub dbm0: f32,
    /// For how long in all.
    pub ms: u32,
    /// How long ago it was heard last.
    pub ago_ms: u32,
}

/// Listens to one stream.
#[derive(Debug)]
pub struct Ear {
    rate: Rate,
    window: Vec<f32>,
    imaginary: Vec<f32>,
    filled: usize,
    tones: Vec<HeardTone>,
    squares: f64,
    samples: u64,
    /// Milliseconds heard in all.
    heard_ms: u32,
}

impl Ear {
    /// An ear for frames of this rate.
    #[must_use]
    pub fn new(rate: Rate) -> Ear {
        let length = window_length(rate);
        Ear {
            rate,
            window: vec![0.0; length],
            imaginary: vec![0.0; length],
            filled: 0,
            tones: Vec::with_capacity(MAX_TONES + 1),
            squares: 0.0,
            samples: 0,
            heard_ms: 0,
        }
    }

    /// Takes the next samples. Every 128 ms (85 ms at 48 kHz) they are looked at, which costs some 50 microseconds.
    pub fn hear(&mut self, samples: &[i16]) {
        if self.samples > 3 * u64::from(self.rate.hz()) {
            (self.samples, self.squares) = (self.samples / 2, self.squares / 2.0);
        }
        self.samples += samples.len() as u64;
        for &sample in samples {
            let sample = f32::from(sample);
            self.squares += f64::from(sample * sample);
            self.window[self.filled] = sample;
            self.filled += 1;
            if self.filled == self.window.len() {
                self.on_window();
            }
        }
    }

    /// What was heard; the level begins anew.
    pub fn tell(&mut self) -> Heard {
        let mean = (self.squares / self.samples.max(1) as f64).sqrt() as f32;
        let level_dbov = (mean > 0.0).then(|| 20.0 * (mean / 32_768.0).log10());
        (self.squares, self.samples) = (0.0, 0);
        let mut tones = self.tones.clone();
        tones.sort_by(|a, b| b.dbm0.total_cmp(&a.dbm0));
        Heard { level_dbov, tones }
    }

    /// Milliseconds it has listened, as far as windows are full.
    #[must_use]
    pub fn heard_ms(&self) -> u32 {
        self.heard_ms
    }

    fn on_window(&mut self) {
        let length = self.window.len();
        let ms = (length * 1000 / self.rate.hz() as usize) as u32;
        self.filled = 0;
        self.heard_ms = self.heard_ms.saturating_add(ms);
        for (n, sample) in self.window.iter_mut().enumerate() {
            *sample *= 0.5 - 0.5 * (TAU * n as f32 / length as f32).cos();
        }
        self.imaginary.fill(0.0);
        fft(&mut self.window, &mut self.imaginary);
        for tone in &mut self.tones {
            tone.ago_ms += ms;
        }
        self.tones.retain(|tone| tone.ago_ms <= MEMORY_MS);
        self.find_peaks(ms);
    }

    /// Merges the peaks of the spectrum into the tones heard.
    fn find_peaks(&mut self, ms: u32) {
        let length = self.window.len();
        // A Hann window halves the amplitude, and a sine's energy is half in the negative frequencies.
        let amplitude = |bin: usize| self.window[bin].hypot(self.imaginary[bin]) * 4.0 / length as f32;
        let loudest = (2..length / 2 - 1).map(amplitude).fold(0.0, f32::max);
        let floor = FLOOR_DBM0.max(dbm0(loudest) - SHADOW_DB);
        let mut peaks: Vec<(f32, f32)> = Vec::new();
        for bin in 2..length / 2 - 1 {
            let (before, here, after) = (amplitude(bin - 1), amplitude(bin), amplitude(bin + 1));
            if here > before && here >= after && dbm0(here) > floor {
                let (offset, top) = apex(before, here, after);
                let hz = (bin as f32 + offset) * self.rate.hz() as f32 / length as f32;
                peaks.push((hz, dbm0(top)));
            }
        }
        peaks.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (hz, dbm0) in peaks.into_iter().take(MAX_TONES / 2) {
            self.on_peak(hz, dbm0, ms);
        }
    }

    fn on_peak(&mut self, hz: f32, dbm0: f32, ms: u32) {
        if let Some(tone) = self.tones.iter_mut().find(|tone| (tone.hz - hz).abs() < SAME_HZ) {
            // A window that holds the tone's begin or end only is off the mark: the loudest has the truth.
            if dbm0 >= tone.dbm0 {
                (tone.hz, tone.dbm0) = (hz, dbm0);
            }
            (tone.ms, tone.ago_ms) = (tone.ms + ms, 0);
        } else if self.tones.len() < MAX_TONES {
            let ago_ms = 0;
            self.tones.push(HeardTone { hz, dbm0, ms, ago_ms });
        }
    }
}

/// Samples looked at together; a power of two of about a tenth of a second.
fn window_length(rate: Rate) -> usize {
    match rate {
        Rate::Narrow => 1_024,
        Rate::Wide => 2_048,
        Rate::Full => 4_096,
    }
}

fn dbm0(amplitude: f32) -> f32 {
    20.0 * (amplitude.max(0.01) / PEAK_0_DBM0).log10()
}

/// Where the top of a peak lies between bins, and how high it is: a parabola through the logarithms of three bins, which
/// fits a Hann window to a hundredth of a bin or so.
fn apex(before: f32, here: f32, after: f32) -> (f32, f32) {
    let (a, b, c) = (before.max(1e-3).ln(), here.max(1e-3).ln(), after.max(1e-3).ln());
    let bend = a - 2.0 * b + c;
    if bend.abs() < 1e-6 {
        return (0.0, here);
    }
    let offset = (0.5 * (a - c) / bend).clamp(-0.5, 0.5);
    (offset, (b - 0.25 * (a - c) * offset).exp())
}

/// The discrete Fourier transform in place (Cooley and Tukey, radix 2); the length is a power of two.
fn fft(re: &mut [f32], im: &mut [f32]) {
    let length = re.len();
    let shift = usize::BITS - length.trailing_zeros();
    for n in 0..length {
        let mirrored = n.reverse_bits() >> shift;
        if n < mirrored {
            re.swap(n, mirrored);
            im.swap(n, mirrored);
        }
    }
    let mut half = 1;
    while half < length {
        let turn = -TAU / (2 * half) as f32;
        for k in 0..half {
            let (sin, cos) = (turn * k as f32).sin_cos();
            for low in (k..length).step_by(2 * half) {
                let high = low + half;
                let (x, y) = (re[high] * cos - im[high] * sin, re[high] * sin + im[high] * cos);
                (re[high], im[high]) = (re[low] - x, im[low] - y);
                (re[low], im[low]) = (re[low] + x, im[low] + y);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::Sound;
    use crate::tone::{Tone, ToneGenerator};

    fn listen(tone: &Tone, rate: Rate, ms: usize) -> Heard {
        let mut samples = vec![0; rate.hz() as usize * ms / 1000];
        ToneGenerator::new(tone, rate.hz()).fill(&mut samples);
        let mut ear = Ear::new(rate);
        samples.chunks(rate.frame()).for_each(|frame| ear.hear(frame));
        ear.tell()
    }

    #[test]
    fn finds_frequency_and_level_of_a_tone_at_every_rate() {
        for rate in [Rate::Narrow, Rate::Wide, Rate::Full] {
            for hz in [211.0, 440.0, 1004.0, 3333.3] {
                let heard = listen(&Tone::steady(hz, -16.0), rate, 1_000);
                assert_eq!(heard.tones.len(), 1, "{hz} at {rate:?}: {heard:?}");
                let tone = heard.tones[0];
                assert!((tone.hz - hz).abs() < 2.0 && (tone.dbm0 + 16.0).abs() < 0.5, "{tone:?}");
                assert!((800..=1_000).contains(&tone.ms));
                // A sine at -16 dBm0 has a root mean square of 22302 / 6.31 / 1.414.
                assert!((heard.level_dbov.unwrap() + 22.4).abs() < 0.3);
            }
        }
    }

    #[test]
    fn tells_the_two_tones_of_a_key_apart() {
        let Sound::Sequence(sounds) = Sound::digits("1") else {
            panic!()
        };
        let Sound::Tone(tone) = &sounds[0] else { panic!() };
        let steady = Tone {
            cadence_ms: Default::default(),
            ..tone.clone()
        };
        let mut hz: Vec<f32> = listen(&steady, Rate::Narrow, 500)
            .tones
            .iter()
            .map(|tone| tone.hz)
            .collect();
        hz.sort_by(f32::total_cmp);
        assert!(
            hz.len() == 2 && (hz[0] - 697.0).abs() < 2.0 && (hz[1] - 1209.0).abs() < 2.0,
            "{hz:?}"
        );
    }

    #[test]
    fn silence_has_no_level_and_no_tones_and_old_tones_are_forgotten() {
        let mut ear = Ear::new(Rate::Narrow);
        let mut second = [0; 8_000];
        ear.hear(&second);
        assert_eq!(ear.tell(), Heard::default());
        ToneGenerator::new(&Tone::milliwatt(), 8_000).fill(&mut second);
        ear.hear(&second);
        (0..2).for_each(|_| ear.hear(&[0; 8_000]));
        assert_eq!(ear.tell().tones.len(), 1);
        (0..2).for_each(|_| ear.hear(&[0; 8_000]));
        assert_eq!(ear.tell(), Heard::default());
    }
}
