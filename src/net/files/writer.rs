//! The thread that writes recordings.

use super::FileCounters;
use super::tape::{self, Tape};
use media::{FileNews, FileOrder, Recording, RecordingId, WorkerId};
use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// All recordings being written.
pub(super) struct Writer {
    directory: PathBuf,
    tapes: HashMap<(WorkerId, RecordingId), Open>,
    counters: Arc<FileCounters>,
}

struct Open {
    name: Box<str>,
    /// Or why there is none.
    tape: Result<Tape<File>, Box<str>>,
    /// The log has a line about its first error.
    told: bool,
}

impl Writer {
    pub(super) fn new(directory: PathBuf, counters: Arc<FileCounters>) -> Writer {
        let tapes = HashMap::new();
        Writer {
            directory,
            tapes,
            counters,
        }
    }

    pub(super) fn obey(&mut self, worker: WorkerId, order: FileOrder) -> Option<FileNews> {
        match order {
            FileOrder::Create {
                recording,
                name,
                rate,
                channels,
            } => {
                let open = self.create(name, rate.hz(), channels);
                self.tapes.insert((worker, recording), open);
                self.counters.recordings.add(1);
                None
            }
            FileOrder::Write { recording, block } => {
                if let Some(open) = self.tapes.get_mut(&(worker, recording)) {
                    open.write(&block, &self.counters);
                }
                Some(FileNews::Written { recording, block })
            }
            FileOrder::Finish { recording, missing } => {
                let open = self.tapes.remove(&(worker, recording))?;
                let result = Box::new(self.finish(open, missing));
                Some(FileNews::Recorded { recording, result })
            }
            // The reader's business.
            FileOrder::Open { .. } | FileOrder::Read { .. } | FileOrder::Close { .. } => None,
        }
    }

    fn create(&self, name: Box<str>, rate: u32, channels: u16) -> Open {
        let file = tape::create(&self.directory, &name);
        let tape = file.map(|file| Tape::begin(file, rate, channels)).map_err(|error| {
            self.counters.recordings_failed.one();
            tracing::error!(recording = &*name, error = %error, "cannot record");
            error.to_string().into()
        });
        let told = tape.is_err();
        Open { name, tape, told }
    }

    fn finish(&self, open: Open, missing: Duration) -> Recording {
        let result = match open.tape {
            Ok(tape) => tape.finish(missing),
            Err(error) => Recording {
                missing,
                error: Some(error),
                ..Recording::default()
            },
        };
        self.counters.recordings.sub(1);
        self.counters.recorded.one();
        if !result.is_complete() {
            self.counters.recordings_incomplete.one();
            let (missing_ms, error) = (result.missing.as_millis(), result.error.as_deref());
            tracing::warn!(recording = &*open.name, missing_ms, error, "a recording is incomplete");
        }
        result
    }
}

impl Open {
    fn write(&mut self, block: &[i16], counters: &FileCounters) {
        let Ok(tape) = &mut self.tape else { return };
        tape.write(block);
        counters.recorded_bytes.add(2 * block.len() as u64);
        if tape.has_failed() && !self.told {
            self.told = true;
            tracing::error!(recording = &*self.name, "cannot write a recording; the call goes on");
        }
    }
}
