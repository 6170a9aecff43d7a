//! A sound that plays in a room.

use super::stream::{State, Streams};
use crate::file::FileSound;
use crate::plan::{Audience, PlayerId, Rate};
use crate::sound::{MAX_SEQUENCE, Sound};
use crate::tone::ToneGenerator;

pub(super) struct Player {
    pub id: PlayerId,
    pub to: Audience,
    /// At the room's rate.
    pub frame: Vec<i16>,
    /// There is a frame to be heard; silence counts.
    pub sounding: bool,
    begun: bool,
    playing: Playing,
    /// What follows, in reverse.
    rest: Vec<Sound>,
}

enum Playing {
    Tone(ToneGenerator),
    /// Frames of it that are left.
    Silence(u32),
    Stream(usize),
    Nothing,
}

impl Player {
    pub fn new(id: PlayerId, sound: Sound, to: Audience) -> Player {
        let mut rest = match sound {
            Sound::Sequence(sounds) => sounds,
            sound => vec![sound],
        };
        rest.truncate(MAX_SEQUENCE);
        rest.reverse();
        Player {
            id,
            to,
            frame: Vec::new(),
            sounding: true,
            begun: false,
            playing: Playing::Nothing,
            rest,
        }
    }

    /// Begins the first of its sounds, once: a file is asked for before its first moment comes.
    pub fn begin(&mut self, streams: &mut Streams, rate: Rate) {
        if !std::mem::replace(&mut self.begun, true) {
            self.frame.resize(rate.frame(), 0);
            self.begin_next(streams, rate);
        }
    }

    /// What it plays may have more than the 4 kHz of a telephone.
    pub fn is_wide(&self) -> bool {
        let file = |sound: &Sound| matches!(sound, Sound::Prompt(_) | Sound::Music(_));
        matches!(self.playing, Playing::Stream(_)) || self.rest.iter().any(file)
    }

    /// Makes the next 20 ms at this rate; `sounding` says whether there were any.
    pub fn advance(&mut self, streams: &mut Streams, rate: Rate) {
        self.frame.resize(rate.frame(), 0);
        while !self.fill(streams, rate) {
            self.end(streams);
            self.sounding = self.begin_next(streams, rate);
            if !self.sounding {
                return;
            }
        }
    }

    /// Lets go of what it plays, which it must before it is forgotten.
    pub fn end(&mut self, streams: &mut Streams) {
        if let Playing::Stream(slot) = std::mem::replace(&mut self.playing, Playing::Nothing) {
            streams.close(slot);
        }
        self.frame.fill(0);
    }

    /// False if the present sound is over.
    fn fill(&mut self, streams: &mut Streams, rate: Rate) -> bool {
        match &mut self.playing {
            Playing::Tone(generator) => {
                generator.set_rate(rate.hz());
                generator.fill(&mut self.frame)
            }
            Playing::Silence(left) => {
                *left = left.saturating_sub(1);
                *left > 0
            }
            Playing::Stream(slot) => {
                let (state, frame) = streams.frame(*slot, rate);
                if state != State::Ended {
                    self.frame.copy_from_slice(frame);
                }
                state != State::Ended
            }
            Playing::Nothing => false,
        }
    }

    /// Begins what follows; false if nothing does. A file that no stream is left for is passed over.
    fn begin_next(&mut self, streams: &mut Streams, rate: Rate) -> bool {
        let Some(sound) = self.rest.pop() else { return false };
        let open = |streams: &mut Streams, sound| {
            let stream = streams.open(sound, rate);
            stream.map_or(Playing::Nothing, Playing::Stream)
        };
        self.playing = match sound {
            Sound::Tone(tone) => Playing::Tone(ToneGenerator::new(&tone, rate.hz())),
            Sound::Silence(length) => Playing::Silence(1 + (length.as_millis() / 20).min(u128::from(u16::MAX)) as u32),
            Sound::Prompt(name) => open(streams, FileSound::Prompt(name)),
            Sound::Music(class) => open(streams, FileSound::Music(class)),
            Sound::Sequence(_) => Playing::Nothing,
        };
        true
    }
}
