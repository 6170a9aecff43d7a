//! What players play.

use crate::tone::Tone;
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;

/// What a player plays. [`Sound::Prompt`] and [`Sound::Music`] come from the file thread through a
/// [`crate::file::FileOrder`].
#[derive(Clone, Debug, PartialEq)]
pub enum Sound {
    /// Steady or cadenced tones.
    Tone(Tone),
    /// Nothing for this long, as a pause in a sequence.
    Silence(Duration),
    /// A prompt by its name: a WAV file of the prompts directory, named without `.wav`. One that is not there ends at once.
    Prompt(Arc<str>),
    /// Music of a class, without end; all listeners of a worker hear the same moment of it. A class without files has the
    /// switch's own tune.
    Music(Arc<str>),
    /// One after the other; at most [`MAX_SEQUENCE`] of them, and no sequences among them: what is beyond is left out.
    Sequence(Vec<Sound>),
}

/// Sounds in a sequence at most: the longest number anybody reads back has some thirty digits.
pub const MAX_SEQUENCE: usize = 64;

/// Milliseconds that a digit's tone lasts in [`Sound::digits`].
const DIGIT_MS: u16 = 150;

/// Milliseconds between digits.
const GAP_MS: u16 = 100;

impl Sound {
    /// Music on hold of the class that is named nowhere.
    #[must_use]
    pub fn hold_music() -> Sound {
        Sound::Music(DEFAULT_MUSIC.into())
    }

    /// Keys as the tones a telephone would make for them (ITU-T Q.23); other characters are left out.
    #[must_use]
    pub fn digits(digits: &str) -> Sound {
        Sound::Sequence(digits.chars().filter_map(key_tone).map(Sound::Tone).collect())
    }
}

/// The music class of those who name none.
pub const DEFAULT_MUSIC: &str = "default";

/// The two frequencies of a key (ITU-T Q.23), once, with the pause after it.
fn key_tone(key: char) -> Option<Tone> {
    const LOW: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
    const HIGH: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
    let at = "123A456B789C*0#D".find(key.to_ascii_uppercase())?;
    Some(Tone {
        hz: SmallVec::from_slice(&[LOW[at / 4], HIGH[at % 4]]),
        level_dbm0: -10.0,
        cadence_ms: SmallVec::from_slice(&[DIGIT_MS, GAP_MS]),
        repeat: Some(1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_the_tones_of_their_keys_and_strangers_are_left_out() {
        let Sound::Sequence(tones) = Sound::digits("5x#d") else {
            panic!()
        };
        let hz = |sound: &Sound| match sound {
            Sound::Tone(tone) => tone.hz.to_vec(),
            _ => panic!(),
        };
        let hz: Vec<_> = tones.iter().map(hz).collect();
        assert_eq!(hz, [[770.0, 1336.0], [941.0, 1477.0], [941.0, 1633.0]]);
    }
}
