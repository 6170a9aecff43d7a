//! Storage as plain data behind a narrow door; does not know what a call is.
//!
//! [`Store`] takes [`StoreOp`]s from any thread and never makes the caller wait. One writer thread drains what has gathered,
//! carries it out in one transaction and commits it to the disk (group commit: a thousand messages cost one `fsync`); only
//! then are the replies handed out. Where the bytes go is behind a private trait: SQLite or memory, and
//! both pass the same suite of tests.
//!
//! The promise: what was answered [`StoreReply::Done`] survives a power cut. What was answered [`StoreReply::Failed`] is not
//! on disk; one exception cannot be excluded: a disk that reports a failed write but keeps it, and then the machine dies
//! before the next commit. An append that is repeated for that reason is still kept once. Call records, for which nobody waits,
//! survive a kill from [`Store::hand_over`] on.

mod ahead;
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

use ahead::Ahead;
use backend::Backend;
use location::Location;
use model::{StoreError, StoreOp, StoreReply};
use queue::Queue;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use writer::Writer;

/// The door to what is kept. Closing or dropping it writes what is queued and ends its thread.
pub struct Store {
    queue: Arc<Queue>,
    location: Location,
    memory: memory::Shared,
    /// `None` where nothing outlives the process.
    ahead: Mutex<Option<Ahead>>,
    thread: Option<JoinHandle<()>>,
}

/// Operations found at an opening that are carried out in one transaction.
const FOUND_AT_ONCE: usize = 2_048;

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
        let mut backend = location.open(&memory)?;
        let ahead = catch_up(&location, backend.as_mut())?;
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
            ahead: Mutex::new(ahead),
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
        if !ahead::concerns(&op) {
            return self.queue.push(token, op);
        }
        let mut ahead = self.ahead();
        let before = ahead.as_mut().map(|ahead| ahead.note(&op));
        if let (None, StoreOp::LeaveCdr(_)) = (token, &op) {
            return Ok(());
        }
        let pushed = self.queue.push(token, op);
        if let (Err(_), Some(ahead), Some(before)) = (&pushed, ahead.as_mut(), before) {
            ahead.take_back(before);
        }
        pushed
    }

    /// From here on a kill of the process loses no call record that was submitted: to be asked before anybody learns what they
    /// say. A power cut may still lose those of the last moment.
    pub fn hand_over(&self) {
        if let Some(ahead) = self.ahead().as_mut()
            && !ahead.is_handed_over()
        {
            let (submitted, settled) = self.queue.progress();
            ahead.hand_over(submitted, settled);
        }
    }

    /// For a slow timer: what [`Store::hand_over`] wrote and is committed is kept no longer.
    pub fn rest(&self) {
        if let Some(ahead) = self.ahead().as_mut() {
            let (submitted, settled) = self.queue.progress();
            ahead.rest(submitted, settled);
        }
    }

    /// A thread that panicked with the lock held has at worst left half a line.
    fn ahead(&self) -> MutexGuard<'_, Option<Ahead>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
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
            self.hand_over();
            self.rest();
        }
    }
}

/// Carries out what an earlier process had said about calls and not committed.
fn catch_up(location: &Location, backend: &mut dyn Backend) -> Result<Option<Ahead>, OpenError> {
    let Some(path) = location.file() else { return Ok(None) };
    let (mut ahead, found) = Ahead::open(path)?;
    if !found.is_empty() {
        tracing::info!(operations = found.len(), "call records of a process that was killed");
    }
    for some in found.chunks(FOUND_AT_ONCE) {
        backend
            .transact(some, &mut || Ok(()))
            .map_err(|kind| OpenError::Database {
                path: path.to_owned(),
                kind,
                detail: "call records of before could not be written".to_owned(),
            })?;
    }
    ahead.clear();
    Ok(Some(ahead))
}

impl Drop for Store {
    fn drop(&mut self) {
        self.finish();
    }
}
