//! Comfort noise (RFC 3389): the level of what is not sent, and noise of that level.

/// Quiet but not dead: what is heard where no level was told, in -dBov.
pub const USUAL_LEVEL: u8 = 70;

/// The level in a comfort noise payload: 0 to 127 below overload, in dB. Its spectrum is not used: white noise that soft
/// is told from no other.
#[must_use]
pub fn level(payload: &[u8]) -> Option<u8> {
    payload.first().map(|level| level & 0x7f)
}

/// The level of samples in -dBov: 0 dBov is a square wave of full scale (RFC 3389 section 3).
#[must_use]
pub fn level_of(samples: &[i16]) -> u8 {
    let power: f64 = samples.iter().map(|&s| f64::from(s) * f64::from(s)).sum::<f64>() / samples.len().max(1) as f64;
    let below = -10.0 * (power.max(1e-4) / (32_768.0 * 32_768.0)).log10();
    below.clamp(0.0, 127.0).round() as u8
}

/// Makes noise of a level.
#[derive(Debug)]
pub struct ComfortNoise {
    peak: i32,
    state: u32,
}

impl ComfortNoise {
    /// Noise of so many -dBov. `seed` tells two generators apart.
    #[must_use]
    pub fn new(level: u8, seed: u32) -> ComfortNoise {
        let mut noise = ComfortNoise {
            peak: 0,
            state: seed | 1,
        };
        noise.set_level(level);
        noise
    }

    /// Another level from now on. Louder than -30 dBov is no noise anybody finds comfortable.
    pub fn set_level(&mut self, level: u8) {
        let effective = 32_768.0 * 10f64.powf(-f64::from(level.max(30)) / 20.0);
        // Even distribution: the peak is the root of three times the effective value.
        self.peak = (effective * 3f64.sqrt() * 256.0) as i32;
    }

    /// Fills samples with noise.
    pub fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 17;
            self.state ^= self.state << 5;
            let random = i64::from(self.state.cast_signed() >> 8);
            // In 1/256, then rounded: the softest levels are ones and zeros.
            *sample = ((random * i64::from(self.peak) + (1 << 30)) >> 31) as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_the_level_it_was_asked_for_and_measures_so() {
        for level in (35..80).step_by(5) {
            let mut samples = [0; 8000];
            ComfortNoise::new(level, 7).fill(&mut samples);
            let measured = level_of(&samples);
            assert!(measured.abs_diff(level) <= 1, "{level}: {measured}");
        }
    }

    #[test]
    fn levels_of_the_rfc() {
        assert_eq!(level_of(&[i16::MIN; 160]), 0);
        assert_eq!(level_of(&[0; 160]), 127);
        assert_eq!((level(&[0x80 | 60, 3]), level(&[])), (Some(60), None));
    }
}
