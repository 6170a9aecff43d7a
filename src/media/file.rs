//! What the engine asks of the file thread, and what it is told: sound in blocks that travel there and back.
//!
//! Every block is the engine's own and comes back to it, so nothing grows with a slow disk: without a block there is
//! nothing to order.

use crate::plan::Rate;
use crate::record::{Recording, RecordingId};
use std::sync::Arc;
use std::time::Duration;

/// A file being read ahead. Chosen by the engine, unique in it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What a stream reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSound {
    /// A prompt, once.
    Prompt(Arc<str>),
    /// A class of music, for ever.
    Music(Arc<str>),
}

/// An order to the file thread. Orders of one stream or recording are obeyed in the order given.
#[derive(Debug, PartialEq, Eq)]
pub enum FileOrder {
    /// Begins a stream.
    Open {
        /// Its name from now on.
        stream: StreamId,
        /// What to read.
        sound: FileSound,
        /// Samples per second wanted, whatever the file has; one channel.
        rate: Rate,
    },
    /// Fill this block, as far as its capacity goes, with the next samples: answered by [`FileNews::Read`].
    Read {
        /// Which stream.
        stream: StreamId,
        /// Empty.
        block: Vec<i16>,
    },
    /// Ends a stream; its blocks need not come back.
    Close {
        /// Which.
        stream: StreamId,
    },
    /// Begins a file.
    Create {
        /// Its name from now on.
        recording: RecordingId,
        /// The file's name without `.wav`.
        name: Box<str>,
        /// Samples per second and channel.
        rate: Rate,
        /// One or two.
        channels: u16,
    },
    /// Append these samples, the channels in turn: answered by [`FileNews::Written`], whatever came of it.
    Write {
        /// Which recording.
        recording: RecordingId,
        /// The samples.
        block: Vec<i16>,
    },
    /// Nothing more comes: answered by [`FileNews::Recorded`] when it is on disk.
    Finish {
        /// Which recording.
        recording: RecordingId,
        /// Sound that was not written because too many blocks were under way.
        missing: Duration,
    },
}

impl FileOrder {
    /// It is about a recording.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(
            self,
            FileOrder::Create { .. } | FileOrder::Write { .. } | FileOrder::Finish { .. }
        )
    }
}

/// From the file thread to the engine.
#[derive(Debug, PartialEq, Eq)]
pub enum FileNews {
    /// The next samples of a stream.
    Read {
        /// Which stream.
        stream: StreamId,
        /// What was read: full, unless it is the last.
        block: Vec<i16>,
        /// Nothing comes after this.
        last: bool,
    },
    /// A block to be filled again.
    Written {
        /// Of which recording.
        recording: RecordingId,
        /// The block.
        block: Vec<i16>,
    },
    /// A recording is at its end.
    Recorded {
        /// Which.
        recording: RecordingId,
        /// What came of it.
        result: Box<Recording>,
    },
}
