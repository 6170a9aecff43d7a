//! A sound that plays in a room.

use super::stream::{State, Streams};
use super::tick::{FRAME, MIX_RATE};
use crate::file::FileSound;
use crate::plan::{Audience, PlayerId, Rate};
use crate::sound::{MAX_SEQUENCE, Sound};
use crate::tone::ToneGenerator;

pub(super) struct Player {
    pub id: PlayerId,
    pub to: Audience,
    pub frame: [i16; FRAME],
    /// There is a frame to be heard; silence counts.
    pub sounding: bool,
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
    pub fn new(id: PlayerId, sound: Sound, to: Audience, streams: &mut Streams) -> Player {
        let mut rest = match sound {
            Sound::Sequence(sounds) => sounds,
            sound => vec![sound],
        };
        rest.truncate(MAX_SEQUENCE);
        rest.reverse();
        let mut player = Player {
            id,
            to,
            frame: [0; FRAME],
            sounding: true,
            playing: Playing::Nothing,
            rest,
        };
        player.begin_next(streams);
        player
    }

    /// Makes the next 20 ms; `sounding` says whether there were any.
    pub fn advance(&mut self, streams: &mut Streams) {
        while !self.fill(streams) {
            self.end(streams);
            self.sounding = self.begin_next(streams);
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
    fn fill(&mut self, streams: &Streams) -> bool {
        match &mut self.playing {
            Playing::Tone(generator) => generator.fill(&mut self.frame),
            Playing::Silence(left) => {
                *left = left.saturating_sub(1);
                *left > 0
            }
            Playing::Stream(slot) => {
                let (state, frame) = streams.frame(*slot);
                if state != State::Ended {
                    self.frame.copy_from_slice(frame);
                }
                state != State::Ended
            }
            Playing::Nothing => false,
        }
    }

    /// Begins what follows; false if nothing does. A file that no stream is left for is passed over.
    fn begin_next(&mut self, streams: &mut Streams) -> bool {
        let Some(sound) = self.rest.pop() else { return false };
        let open = |streams: &mut Streams, sound| {
            let stream = streams.open(sound, Rate::Narrow);
            stream.map_or(Playing::Nothing, Playing::Stream)
        };
        self.playing = match sound {
            Sound::Tone(tone) => Playing::Tone(ToneGenerator::new(&tone, MIX_RATE)),
            Sound::Silence(length) => Playing::Silence(1 + (length.as_millis() / 20).min(u128::from(u16::MAX)) as u32),
            Sound::Prompt(name) => open(streams, FileSound::Prompt(name)),
            Sound::Music(class) => open(streams, FileSound::Music(class)),
            Sound::Sequence(_) => Playing::Nothing,
        };
        true
    }
}
