//! Storage as plain data behind a narrow door; does not know what a call is.
//!
//! [`Store`] takes [`StoreOp`]s from any thread and never makes the caller wait. One writer thread drains what has gathered,
//! carries it out in one transaction and commits it to the disk (group commit: a thousand messages cost one `fsync`); only
//! then are the replies handed out. Where the bytes go is behind a private trait: SQLite or memory, and
//! both pass the same suite of tests.
//!
//! The promise: what was answered [`StoreReply::Done`] survives a power cut. What was answered [`StoreReply::Failed`] is not
//! on disk; one exception cannot be excluded: a disk that reports a failed write but keeps it, and then the machine dies
//! before the next commit. An append that is repeated for that reason is still kept once.

mod backend;
mod behind;
mod error;
mod faults;
mod health;
mod kept;
mod location;
mod memory;
mod memory_sessions;
mod queue;
mod reader;
mod sqlite;
mod writer;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;

pub use error::{OpenError, Refused};
pub use faults::Faults;
pub use health::Health;
pub use reader::{CdrQuery, CdrRow, Reader, TranscriptQuery, TranscriptRow};

use location::Location;
use model::{StoreError, StoreOp, StoreReply};
use queue::Queue;
use std::sync::Arc;
use std::thread::JoinHandle;
use writer::Writer;

/// The door to what is kept. Closing or dropping it writes what is queued and ends its thread.
pub struct Store {
    queue: Arc<Queue>,
    location: Location,
    memory: memory::Shared,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens what `url` names, creating it if it is not there: `sqlite:///absolute/path`, `sqlite:relative/path` or `memory:`.
    /// Blocks until the database is open, moved to the present schema and, after an unclean end, checked.
    ///
    /// `on_reply` gets the token and reply of every operation that was submitted with a token, once each, in the order of
    /// execution, on the store's own thread: it must hand them over quickly (a channel, a wake-up) and not call back into
    /// the store's closing.
    ///
    /// # Errors
    /// The URL is none of these; the file cannot be opened or belongs to somebody else; see [`OpenError`].
    pub fn open(url: &str, on_reply: impl FnMut(u64, StoreReply) + Send + 'static) -> Result<Store, OpenError> {
        Store::open_with_faults(url, Faults::default(), on_reply)
    }

    /// [`Store::open`] with a handle by which tests make commits fail.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with_faults(
        url: &str,
        faults: Faults,
        on_reply: impl FnMut(u64, StoreReply) + Send + 'static,
    ) -> Result<Store, OpenError> {
        let location: Location = url.parse()?;
        let memory = memory::Shared::default();
        let backend = location.open(&memory)?;
        let queue = Arc::new(Queue::new());
        let writer = Writer::new(queue.clone(), backend, faults, Box::new(on_reply));
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || writer.run())
            .map_err(|why| OpenError::Thread { why })?;
        Ok(Store {
            queue,
            location,
            memory,
            thread: Some(thread),
        })
    }

    /// Queues `op`; never blocks. With a token the reply comes through the callback; without one a failed write is tried
    /// again until it succeeds.
    ///
    /// # Errors
    /// Gives the operation back with [`StoreError::Busy`] when the queue is full (a write may be submitted again later), or
    /// [`StoreError::Io`] when the store's thread has died.
    pub fn submit(&self, token: Option<u64>, op: StoreOp) -> Result<(), Refused> {
        self.queue.push(token, op)
    }

    /// A second, read-only way in for other threads. It sees what is committed.
    ///
    /// # Errors
    /// The database cannot be opened a second time.
    pub fn reader(&self) -> Result<Reader, OpenError> {
        self.location.reader(&self.memory)
    }

    /// How the store is doing, for metrics and alarms.
    #[must_use]
    pub fn health(&self) -> Health {
        self.queue.health()
    }

    /// Writes what is queued, ends the thread and closes the database.
    ///
    /// # Errors
    /// The last commit failed, so some of it is not on disk.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.finish();
        self.health().failing.map_or(Ok(()), Err)
    }

    fn finish(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has said so: health() shows it as failing.
            let _ = thread.join();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.finish();
    }
}
