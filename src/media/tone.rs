//! Tones as data: frequencies, level and cadence.

use smallvec::SmallVec;

/// A sum of sines, steady or cadenced.
#[derive(Clone, Debug, PartialEq)]
pub struct Tone {
    /// Frequencies in Hz, at most four, each as loud as the others.
    pub hz: SmallVec<[f32; 4]>,
    /// Level of the whole in dBm0 (0 dBm0 is a sine 3.14 dB below full scale of G.711).
    pub level_dbm0: f32,
    /// Milliseconds on, off, on, off ...; empty is steady.
    pub cadence_ms: SmallVec<[u16; 4]>,
    /// How often the cadence is repeated; `None` is for ever.
    pub repeat: Option<u16>,
}

impl Tone {
    /// 1004 Hz at 0 dBm0, for ever: the milliwatt of test extension 9197.
    #[must_use]
    pub fn milliwatt() -> Tone {
        Tone::steady(1004.0, 0.0)
    }

    /// One frequency for ever.
    #[must_use]
    pub fn steady(hz: f32, level_dbm0: f32) -> Tone {
        Tone {
            hz: SmallVec::from_slice(&[hz]),
            level_dbm0,
            cadence_ms: SmallVec::new(),
            repeat: None,
        }
    }
}
