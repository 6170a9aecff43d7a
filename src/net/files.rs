//! The file threads: one reads prompts and music for the media workers, one writes recordings, so that the one never waits
//! for the other's disk. Workers never touch a file.
//!
//! A worker's engine orders blocks ([`media::FileOrder`]); they come back filled, or to be filled, through a channel of the
//! worker. Every block belongs to the engine that sent it, so a slow disk holds up no more than the blocks it was given.

mod music;
mod tape;
#[cfg(test)]
mod tests;
mod wav;
mod writer;

use crate::counters;
use crate::wake::Post;
use media::plan::Rate;
use media::{FileNews, FileOrder, FileSound, StreamId, WorkerId};
use music::Music;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use wav::Wav;
use writer::Writer;

counters! {
    /// What the file thread did.
    FileCounters, "files_" {
        /// Prompts that could not be played: not there, or no WAV.
        unreadable,
        /// Recordings being made.
        recordings gauge,
        /// Recordings that have ended.
        recorded,
        /// Of which some sound is missing.
        recordings_incomplete,
        /// Recordings that could not be begun.
        recordings_failed,
        /// Bytes of sound recorded.
        recorded_bytes,
        /// Orders a worker had to keep for later because the disk is slow.
        delayed,
    }
}

/// Orders that may wait. A stream has at most six under way.
const ORDERS: usize = 8_192;

/// Where files are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSettings {
    /// Prompts: `NAME.wav`, also in folders.
    pub prompts: PathBuf,
    /// Music on hold: WAV files of class `default`, and a folder for each other class.
    pub music: PathBuf,
    /// Where recordings are written; made when it is needed.
    pub recordings: PathBuf,
}

/// The file threads. Dropping it ends them, once no worker has a [`Door`] any more.
pub struct Files {
    reader: Lane,
    writer: Lane,
    counters: Arc<FileCounters>,
}

/// One thread and the way to it.
struct Lane {
    orders: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// A worker's way to the file threads.
#[derive(Clone)]
pub(crate) struct Door {
    worker: WorkerId,
    reader: SyncSender<Job>,
    writer: SyncSender<Job>,
    news: Post<FileNews>,
    counters: Arc<FileCounters>,
}

struct Job {
    worker: WorkerId,
    order: FileOrder,
    news: Post<FileNews>,
}

impl Files {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(settings: FileSettings, counters: Arc<FileCounters>) -> io::Result<Files> {
        let mut writer = Writer::new(settings.recordings.clone(), counters.clone());
        let mut library = Library {
            settings,
            streams: HashMap::new(),
            counters: counters.clone(),
        };
        Ok(Files {
            reader: Lane::start("files-read", move |worker, order| library.obey(worker, order))?,
            writer: Lane::start("files-write", move |worker, order| writer.obey(worker, order))?,
            counters,
        })
    }

    /// A way in for one worker, whose answers come through `news`; `None` when this is being dropped.
    pub(crate) fn door(&self, worker: WorkerId, news: Post<FileNews>) -> Option<Door> {
        let counters = self.counters.clone();
        Some(Door {
            worker,
            reader: self.reader.orders.clone()?,
            writer: self.writer.orders.clone()?,
            news,
            counters,
        })
    }
}

impl Lane {
    fn start(
        name: &str,
        mut obey: impl FnMut(WorkerId, FileOrder) -> Option<FileNews> + Send + 'static,
    ) -> io::Result<Lane> {
        let (orders, inbox) = sync_channel::<Job>(ORDERS);
        let work = move || {
            while let Ok(Job { worker, order, news }) = inbox.recv() {
                if let Some(done) = obey(worker, order) {
                    // A worker that is gone needs no answer.
                    let _ = news.put_blocking(done);
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Lane {
            orders: Some(orders),
            thread: Some(thread),
        })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It logs what goes wrong; there is nothing more to learn here.
            let _ = thread.join();
        }
    }
}

impl Door {
    /// Hands an order over, or gives it back if too many wait. Without a thread the order is forgotten: the node ends.
    pub(crate) fn submit(&self, order: FileOrder) -> Result<(), FileOrder> {
        let lane = if order.writes() { &self.writer } else { &self.reader };
        let (worker, news) = (self.worker, self.news.clone());
        match lane.try_send(Job { worker, order, news }) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full(job)) => {
                self.counters.delayed.one();
                Err(job.order)
            }
        }
    }
}

/// What is being read.
struct Library {
    settings: FileSettings,
    streams: HashMap<(WorkerId, StreamId), Source>,
    counters: Arc<FileCounters>,
}

enum Source {
    Prompt(Box<Wav>),
    Music(Box<Music>),
    Nothing,
}

impl Library {
    fn obey(&mut self, worker: WorkerId, order: FileOrder) -> Option<FileNews> {
        match order {
            FileOrder::Open { stream, sound, rate } => {
                let source = self.open(&sound, rate);
                self.streams.insert((worker, stream), source);
                None
            }
            FileOrder::Read { stream, block } => {
                let source = self.streams.get_mut(&(worker, stream))?;
                let (block, last) = source.fill(block);
                Some(FileNews::Read { stream, block, last })
            }
            FileOrder::Close { stream } => {
                self.streams.remove(&(worker, stream));
                None
            }
            // The writer's business.
            FileOrder::Create { .. } | FileOrder::Write { .. } | FileOrder::Finish { .. } => None,
        }
    }

    fn open(&self, sound: &FileSound, rate: Rate) -> Source {
        match sound {
            FileSound::Music(class) => Source::Music(Box::new(Music::new(&self.settings.music, class, rate.hz()))),
            FileSound::Prompt(name) => {
                let path = wav::path(&self.settings.prompts, name);
                let opened = path.and_then(|path| Wav::open(&path, rate.hz()));
                opened.map_or_else(|why| self.unreadable(name, &why), |wav| Source::Prompt(Box::new(wav)))
            }
        }
    }

    fn unreadable(&self, name: &str, why: &io::Error) -> Source {
        self.counters.unreadable.one();
        tracing::warn!(prompt = name, error = %why, "cannot play a prompt");
        Source::Nothing
    }
}

impl Source {
    /// Fills the block as far as it goes; true if nothing follows.
    fn fill(&mut self, mut block: Vec<i16>) -> (Vec<i16>, bool) {
        let wanted = block.capacity();
        let last = match self {
            Source::Prompt(wav) => !wav.read(&mut block, wanted),
            Source::Music(music) => {
                music.read(&mut block, wanted);
                false
            }
            Source::Nothing => true,
        };
        (block, last)
    }
}
