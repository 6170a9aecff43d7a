//! What the engine asks of the file thread, and what it is told: sound in blocks that travel there and back.
//!
//! Every block is the engine's own and comes back to it, so nothing grows with a slow disk: without a block there is
//! nothing to order.

use crate::plan::Rate;
use std::sync::Arc;

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

/// An order to the file thread. Orders of one stream are obeyed in the order given.
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
}
