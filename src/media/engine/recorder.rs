//! Recorders: every 20 ms what the recorded legs send, in blocks on their way to the file thread.

use crate::codec::resample::Resampler;
use crate::file::FileOrder;
use crate::limiter::Limiter;
use crate::mixer::MixBuffer;
use crate::plan::{LegId, Rate, RoomId};
use crate::record::{RecordingId, Side};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::time::Duration;

/// Recordings at once: two for each call of a full worker's. Each holds some 32 KiB at 8 kHz while the disk keeps up.
pub(super) const MAX_RECORDINGS: usize = 8_192;

/// Legs in one recording: a large conference is recorded as a room.
const MAX_LEGS: usize = 64;

/// Frames in a block: half a second.
const BLOCK: usize = 25;

/// Blocks of a recording: so many half seconds the disk may be silent before sound is lost.
const BLOCKS: usize = 8;

/// One recording.
pub(super) struct Recorder {
    pub id: RecordingId,
    pub of: Of,
    pub paused: bool,
    rate: Rate,
    /// Being filled.
    block: Vec<i16>,
    spare: Vec<Vec<i16>>,
    /// How many there are, wherever they are.
    blocks: usize,
    missing: Duration,
    channels: SmallVec<[(MixBuffer, Limiter); 2]>,
    /// Legs whose sound has another rate than the file.
    others: Vec<Other>,
}

struct Other {
    leg: LegId,
    resampler: Resampler,
    frame: Vec<i16>,
}

/// Who is recorded.
pub(super) enum Of {
    /// In the left or only channel, or the right one.
    Legs(SmallVec<[(LegId, Side); 2]>),
    Room(RoomId),
}

impl Recorder {
    pub fn new(id: RecordingId, of: Of, channels: u16, rate: Rate) -> Recorder {
        let frame = rate.frame();
        let size = BLOCK * frame * usize::from(channels);
        Recorder {
            id,
            of,
            paused: false,
            rate,
            block: Vec::with_capacity(size),
            spare: vec![Vec::with_capacity(size)],
            blocks: 2,
            missing: Duration::ZERO,
            channels: (0..channels)
                .map(|_| (MixBuffer::new(frame), Limiter::default()))
                .collect(),
            others: Vec::new(),
        }
    }

    /// The order that begins the file.
    pub fn create(&self, name: Box<str>) -> FileOrder {
        let (recording, rate, channels) = (self.id, self.rate, self.channels.len() as u16);
        FileOrder::Create {
            recording,
            name,
            rate,
            channels,
        }
    }

    /// A leg joins, changes its side or leaves; false if that cannot be.
    pub fn set_side(&mut self, leg: LegId, side: Option<Side>) -> bool {
        let Of::Legs(legs) = &mut self.of else { return false };
        legs.retain(|(known, _)| *known != leg);
        self.others.retain(|other| other.leg != leg);
        let fits = self.channels.len() == 2 && legs.len() < MAX_LEGS;
        legs.extend(side.filter(|_| fits).map(|side| (leg, side)));
        side.is_none() || fits
    }

    /// Nobody is left who could be recorded.
    pub fn is_orphan(&self) -> bool {
        matches!(&self.of, Of::Legs(legs) if legs.is_empty())
    }

    /// Puts 20 ms into the file: `each` is given who is recorded, and adds what they send. `steps` is more than one after
    /// ticks were left out, for which there is silence.
    pub fn record(
        &mut self,
        orders: &mut VecDeque<FileOrder>,
        steps: u32,
        each: impl FnOnce(&Of, &mut dyn FnMut(LegId, Side, Rate, &[i16])),
    ) {
        let frame = self.rate.frame();
        self.channels.iter_mut().for_each(|(channel, _)| channel.clear(frame));
        let (channels, others, wanted) = (&mut self.channels, &mut self.others, self.rate);
        each(&self.of, &mut |leg, side, rate, frame| {
            let place = usize::from(side == Side::Right);
            if let Some((channel, _)) = channels.get_mut(place) {
                channel.add(at_rate(others, leg, rate, wanted, frame));
            }
        });
        self.commit(steps.saturating_sub(1), orders);
    }

    fn commit(&mut self, silent: u32, orders: &mut VecDeque<FileOrder>) {
        let length = self.rate.frame() * self.channels.len();
        for _ in 0..silent {
            if self.make_room(length, orders) {
                self.block.resize(self.block.len() + length, 0);
            }
        }
        if !self.make_room(length, orders) {
            return;
        }
        match &mut self.channels[..] {
            [(only, limiter)] => self.block.extend_from_slice(only.all().through(limiter)),
            [(left, first), (right, second)] => {
                let both = left.all().through(first).iter().zip(right.all().through(second));
                self.block.extend(both.flat_map(|(&left, &right)| [left, right]));
            }
            _ => {}
        }
    }

    /// Room for a frame in the block; false if every block is with the file thread: then the frame is missing.
    fn make_room(&mut self, length: usize, orders: &mut VecDeque<FileOrder>) -> bool {
        if self.block.len() + length > self.block.capacity() {
            self.flush(orders);
        }
        let has_room = self.block.capacity() >= length;
        if !has_room {
            self.missing += Duration::from_millis(20);
        }
        has_room
    }

    /// Sends what there is to the file thread, and takes the next block if there is one.
    pub fn flush(&mut self, orders: &mut VecDeque<FileOrder>) {
        let size = BLOCK * self.rate.frame() * self.channels.len();
        if !self.block.is_empty() {
            let (recording, block) = (self.id, std::mem::take(&mut self.block));
            orders.push_back(FileOrder::Write { recording, block });
        }
        if self.block.capacity() == 0 {
            if let Some(spare) = self.spare.pop() {
                self.block = spare;
            } else if self.blocks < BLOCKS {
                self.blocks += 1;
                self.block = Vec::with_capacity(size);
            }
        }
    }

    /// A block came back.
    pub fn on_written(&mut self, mut block: Vec<i16>) {
        block.clear();
        if self.block.capacity() == 0 {
            self.block = block;
        } else {
            self.spare.push(block);
        }
    }

    /// Ends the file.
    pub fn finish(mut self, orders: &mut VecDeque<FileOrder>) {
        self.flush(orders);
        let (recording, missing) = (self.id, self.missing);
        orders.push_back(FileOrder::Finish { recording, missing });
    }
}

/// A leg's frame at the rate of the file.
fn at_rate<'a>(others: &'a mut Vec<Other>, leg: LegId, from: Rate, to: Rate, frame: &'a [i16]) -> &'a [i16] {
    // A member that left a room and came back may speak another codec.
    others.retain(|other| other.leg != leg || (other.resampler.from(), other.resampler.to()) == (from, to));
    let known = others.iter().position(|other| other.leg == leg);
    let Some(at) = known.or_else(|| {
        let resampler = Resampler::new(from, to)?;
        let frame = vec![0; to.frame()];
        // Those who have left a room that is recorded are forgotten when it has had many.
        if others.len() > MAX_LEGS {
            others.clear();
        }
        others.push(Other { leg, resampler, frame });
        Some(others.len() - 1)
    }) else {
        return frame;
    };
    let other = &mut others[at];
    other.resampler.process(frame, &mut other.frame);
    &other.frame
}
