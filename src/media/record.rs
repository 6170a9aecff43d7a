//! What recorders record, and what came of it.

use crate::plan::{LegId, RoomId};
use smallvec::SmallVec;
use std::time::Duration;

/// A recording. Chosen by control, unique in the node.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordingId(pub u64);

/// A channel of a stereo recording.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// The outer party: the customer.
    Left,
    /// Those who work here: agents, and whoever they consult.
    Right,
}

/// Whose sound is recorded: always what they send, and never what they hear. So a whisper is in the channel of the one who
/// whispers, and music on hold in none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// One leg, in one channel.
    Leg(LegId),
    /// Legs in two channels; [`crate::Plan::RecordLeg`] adds and removes some. It goes on while one of them is left, in
    /// whatever rooms they are.
    Sides(SmallVec<[(LegId, Side); 2]>),
    /// All members of a room, mixed into one channel; it ends with the room.
    Room(RoomId),
}

/// The order to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartRecord {
    /// Its name from now on; [`crate::Event::Recorded`] is said of it exactly once.
    pub recording: RecordingId,
    /// The file's name without `.wav`: letters, digits, `-` and `_` only.
    pub name: Box<str>,
    /// Who.
    pub of: Recorded,
}

/// What came of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// Sound in the file.
    pub length: Duration,
    /// Sound that is not in the file although it should be: the disk was too slow, full or broken.
    pub missing: Duration,
    /// Size of the file.
    pub bytes: u64,
    /// The first thing that went wrong.
    pub error: Option<Box<str>>,
}

impl Recording {
    /// Nothing is missing, and it is on disk.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_zero() && self.error.is_none()
    }
}
