//! Sound from files: blocks that the file thread fills ahead, and the streams that play them.
//!
//! A prompt is a stream of its player's own, at the rate its room had when it began. Music is one stream per class, whoever
//! listens; it stands still while nobody does. Who needs another rate than the stream's shares a resampler with all who need
//! that.

use crate::codec::resample::Resampler;
use crate::file::{FileOrder, FileSound, StreamId};
use crate::plan::Rate;
use slab::Slab;
use std::collections::VecDeque;

/// Blocks of a stream: so many times [`BLOCK_MS`] the disk may be silent without anybody hearing it.
const BLOCKS: usize = 4;

/// Milliseconds in a block.
const BLOCK_MS: usize = 260;

/// Music is read at this rate.
const MUSIC_RATE: Rate = Rate::Full;

/// Streams at once. A prompt takes some 17 KiB at 8 kHz, so this is about 70 MiB.
const MAX_STREAMS: usize = 4_096;

/// All streams of one worker.
#[derive(Default)]
pub(super) struct Streams {
    streams: Slab<Stream>,
    orders: VecDeque<FileOrder>,
    /// How many have been opened: a slot and this make a name that never comes again.
    opened: u64,
    /// Frames that had to be silent because the file thread was late.
    pub starved: u64,
}

struct Stream {
    id: StreamId,
    sound: FileSound,
    rate: Rate,
    blocks: VecDeque<Vec<i16>>,
    /// Samples of the first block that were played.
    played: usize,
    /// The file thread has said that nothing follows.
    last_came: bool,
    /// It has played something.
    begun: bool,
    users: usize,
    frame: Vec<i16>,
    others: Vec<Other>,
    state: State,
}

/// The stream's present frame at another rate.
struct Other {
    resampler: Resampler,
    frame: Vec<i16>,
    /// It is that of the present tick.
    fresh: bool,
}

/// What a stream has for this tick.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Sound.
    Sounding,
    /// Nothing yet: the file thread has been asked.
    Waiting,
    /// It is over.
    Ended,
}

impl Streams {
    /// A stream for one more user, best at `rate`; `None` if there are too many.
    pub fn open(&mut self, sound: FileSound, rate: Rate) -> Option<usize> {
        let is_music = matches!(sound, FileSound::Music(_));
        let rate = if is_music { MUSIC_RATE } else { rate };
        if let Some(slot) = self.shared(&sound) {
            self.streams[slot].users += 1;
            return Some(slot);
        }
        if self.streams.len() >= MAX_STREAMS {
            return None;
        }
        let entry = self.streams.vacant_entry();
        self.opened += 1;
        let (slot, stream) = (entry.key(), StreamId(self.opened << 16 | entry.key() as u64));
        self.orders.push_back(FileOrder::Open {
            stream,
            sound: sound.clone(),
            rate,
        });
        let room = rate.hz() as usize * BLOCK_MS / 1000;
        let block = || Vec::with_capacity(room);
        self.orders
            .extend((0..BLOCKS).map(|_| FileOrder::Read { stream, block: block() }));
        entry.insert(Stream {
            id: stream,
            sound,
            rate,
            blocks: VecDeque::with_capacity(BLOCKS),
            played: 0,
            last_came: false,
            begun: false,
            users: 1,
            frame: vec![0; rate.frame()],
            others: Vec::new(),
            state: State::Waiting,
        });
        Some(slot)
    }

    fn shared(&self, sound: &FileSound) -> Option<usize> {
        matches!(sound, FileSound::Music(_))
            .then(|| self.streams.iter().find(|(_, stream)| stream.sound == *sound))
            .flatten()
            .map(|(slot, _)| slot)
    }

    /// A user leaves. Music is kept as it stands, so that the next listener hears it go on; a prompt is over.
    pub fn close(&mut self, slot: usize) {
        let Some(stream) = self.streams.get_mut(slot) else {
            return;
        };
        stream.users = stream.users.saturating_sub(1);
        if stream.users == 0 && matches!(stream.sound, FileSound::Prompt(_)) {
            let stream = self.streams.remove(slot).id;
            self.orders.push_back(FileOrder::Close { stream });
        }
    }

    /// Makes the next 20 ms of every stream that somebody hears.
    pub fn advance(&mut self) {
        let Streams {
            streams,
            orders,
            starved,
            ..
        } = self;
        for (_, stream) in streams.iter_mut().filter(|(_, stream)| stream.users > 0) {
            stream.advance(orders);
            *starved += u64::from(stream.state == State::Waiting && stream.begun);
        }
    }

    /// What the stream has for this tick, at this rate; the samples are silence unless it sounds.
    pub fn frame(&mut self, slot: usize, rate: Rate) -> (State, &[i16]) {
        match self.streams.get_mut(slot) {
            Some(stream) => (stream.state, stream.frame_at(rate)),
            None => (State::Ended, &[]),
        }
    }

    /// The file thread has filled a block.
    pub fn on_read(&mut self, stream: StreamId, block: Vec<i16>, last: bool) {
        let slot = (stream.0 & 0xffff) as usize;
        if let Some(stream) = self.streams.get_mut(slot).filter(|known| known.id == stream) {
            stream.last_came |= last;
            stream.blocks.push_back(block);
        }
    }

    pub fn poll_order(&mut self) -> Option<FileOrder> {
        self.orders.pop_front()
    }
}

#[cfg(test)]
impl Streams {
    /// A prompt is there, or somebody listens to music.
    pub fn is_used(&self) -> bool {
        let music = |stream: &Stream| matches!(stream.sound, FileSound::Music(_)) && stream.users == 0;
        !self.streams.iter().all(|(_, stream)| music(stream))
    }
}

impl Stream {
    fn advance(&mut self, orders: &mut VecDeque<FileOrder>) {
        let filled = self.fill(orders);
        self.frame[filled..].fill(0);
        self.begun |= filled > 0;
        self.state = match filled {
            0 if self.last_came => State::Ended,
            0 => State::Waiting,
            _ => State::Sounding,
        };
        self.others.iter_mut().for_each(|other| other.fresh = false);
    }

    fn frame_at(&mut self, rate: Rate) -> &[i16] {
        let known = self.others.iter().position(|other| other.resampler.to() == rate);
        let Some(at) = known.or_else(|| {
            // Only the first who needs this rate makes this allocate.
            let resampler = Resampler::new(self.rate, rate)?;
            self.others.push(Other {
                resampler,
                frame: vec![0; rate.frame()],
                fresh: false,
            });
            Some(self.others.len() - 1)
        }) else {
            return &self.frame;
        };
        let other = &mut self.others[at];
        if !std::mem::replace(&mut other.fresh, true) {
            other.resampler.process(&self.frame, &mut other.frame);
        }
        &other.frame
    }

    /// Copies what there is into the frame and sends emptied blocks back to be filled.
    fn fill(&mut self, orders: &mut VecDeque<FileOrder>) -> usize {
        let mut filled = 0;
        while let Some(block) = self.blocks.front() {
            let samples = &block[self.played..];
            let count = samples.len().min(self.frame.len() - filled);
            self.frame[filled..filled + count].copy_from_slice(&samples[..count]);
            (filled, self.played) = (filled + count, self.played + count);
            if self.played < block.len() {
                break;
            }
            self.played = 0;
            if let Some(mut block) = self.blocks.pop_front().filter(|_| !self.last_came) {
                block.clear();
                let stream = self.id;
                orders.push_back(FileOrder::Read { stream, block });
            }
        }
        filled
    }
}
