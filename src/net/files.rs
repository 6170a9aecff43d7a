//! The file thread: reads prompts and music for the media workers, which never touch a file.
//!
//! A worker's engine orders blocks ([`media::FileOrder`]); they come back filled through a channel of the worker. Every
//! block belongs to the engine that sent it, so a slow disk holds up no more than the blocks it was given.

mod music;
#[cfg(test)]
mod tests;
mod wav;

use crate::counters;
use crate::wake::Post;
use media::plan::Rate;
use media::{FileNews, FileOrder, FileSound, StreamId, WorkerId};
use music::Music;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use wav::Wav;

counters! {
    /// What the file thread did.
    FileCounters, "files_" {
        /// Prompts that could not be played: not there, or no WAV.
        unreadable,
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
}

/// The file thread. Dropping it ends it, once no worker has a [`Door`] any more.
pub struct Files {
    orders: Option<SyncSender<Job>>,
    counters: Arc<FileCounters>,
    thread: Option<JoinHandle<()>>,
}

/// A worker's way to the file thread.
#[derive(Clone)]
pub(crate) struct Door {
    worker: WorkerId,
    orders: SyncSender<Job>,
    news: Post<FileNews>,
    counters: Arc<FileCounters>,
}

struct Job {
    worker: WorkerId,
    order: FileOrder,
    news: Post<FileNews>,
}

impl Files {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(settings: FileSettings, counters: Arc<FileCounters>) -> io::Result<Files> {
        let (orders, inbox) = sync_channel(ORDERS);
        let library = Library {
            settings,
            streams: HashMap::new(),
            counters: counters.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("files".into())
            .spawn(move || library.run(&inbox))?;
        Ok(Files {
            orders: Some(orders),
            counters,
            thread: Some(thread),
        })
    }

    /// A way in for one worker, whose answers come through `news`; `None` when this is being dropped.
    pub(crate) fn door(&self, worker: WorkerId, news: Post<FileNews>) -> Option<Door> {
        let orders = self.orders.clone()?;
        let counters = self.counters.clone();
        Some(Door {
            worker,
            orders,
            news,
            counters,
        })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It has caught and logged what went wrong; there is nothing more to learn here.
            let _ = thread.join();
        }
    }
}

impl Door {
    /// Hands an order over, or gives it back if too many wait. Without a thread the order is forgotten: the node ends.
    pub(crate) fn submit(&self, order: FileOrder) -> Result<(), FileOrder> {
        let (worker, news) = (self.worker, self.news.clone());
        match self.orders.try_send(Job { worker, order, news }) {
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
    fn run(mut self, inbox: &Receiver<Job>) {
        while let Ok(Job { worker, order, news }) = inbox.recv() {
            if let Some(done) = self.obey(worker, order) {
                // A worker that is gone needs no answer.
                let _ = news.put_blocking(done);
            }
        }
    }

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
