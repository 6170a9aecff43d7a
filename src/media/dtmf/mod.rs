//! Key presses: their names and tones (ITU-T Q.23), and how to hear them in sound.

mod detector;
mod dialer;

pub use detector::{Detector, Press, RATE};
pub(crate) use dialer::{Dialer, Pulse};

use crate::tone::Tone;
use smallvec::SmallVec;

/// Events 0 to 15 of RFC 4733 section 3.2.
pub const KEYS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D',
];

/// Low and high frequencies in Hz (ITU-T Q.23).
pub const LOW_HZ: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
/// See [`LOW_HZ`].
pub const HIGH_HZ: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];

/// Keys by row (low frequency) and column (high frequency).
const PAD: [[u8; 4]; 4] = [[1, 2, 3, 12], [4, 5, 6, 13], [7, 8, 9, 14], [10, 0, 11, 15]];

/// The event number of a key; small letters count as large ones.
#[must_use]
pub fn event_of(key: char) -> Option<u8> {
    let at = KEYS.iter().position(|known| *known == key.to_ascii_uppercase())?;
    u8::try_from(at).ok()
}

/// The key of an event number.
#[must_use]
pub fn key_of(event: u8) -> Option<char> {
    KEYS.get(usize::from(event)).copied()
}

/// The two tones of a key, at the level telephones send them with; steady.
#[must_use]
pub fn tone_of(event: u8) -> Option<Tone> {
    let place = |row: &[u8; 4]| row.iter().position(|key| *key == event);
    let (row, column) = PAD.iter().zip(0..4).find_map(|(row, at)| Some((at, place(row)?)))?;
    Some(Tone {
        hz: SmallVec::from_slice(&[LOW_HZ[row], HIGH_HZ[column]]),
        level_dbm0: -7.0,
        cadence_ms: SmallVec::new(),
        repeat: None,
    })
}
