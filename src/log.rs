//! The log: lines on stderr, written by a thread of their own, so that whoever reads them slowly never holds up the switch.

use crate::config::{Log, LogFormat};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Lines that may wait for stderr: some seconds of a busy switch, a few MiB. More are dropped and counted.
const MAX_WAITING: usize = 8_192;

/// The running log. When it is dropped, what waits is written.
pub struct Logging {
    lines: Lines,
}

/// Starts logging for the whole process.
///
/// # Errors
/// Something else logs already, or the level makes no sense.
pub fn start(log: &Log) -> Result<Logging, String> {
    let (sender, receiver) = sync_channel(MAX_WAITING);
    let lines = Lines {
        sender,
        dropped: Arc::default(),
    };
    let dropped = lines.dropped.clone();
    let thread = std::thread::Builder::new().name("log".to_owned());
    thread
        .spawn(move || write_lines(&receiver, &dropped))
        .map_err(|error| error.to_string())?;
    let level: Targets = log.level.parse().map_err(|error| format!("[log] level: {error}"))?;
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(lines.clone());
    let registry = tracing_subscriber::registry().with(level);
    let started = match log.format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json()).try_init(),
    };
    started.map_err(|error| error.to_string())?;
    Ok(Logging { lines })
}

/// Work for the writing thread.
enum Work {
    Line(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

#[derive(Clone)]
struct Lines {
    sender: SyncSender<Work>,
    dropped: Arc<AtomicU64>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Lines;
    fn make_writer(&'a self) -> &'a Lines {
        self
    }
}

/// One call is one line: that is how the formatter writes.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Work::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let (sender, done) = sync_channel(1);
        if self.lines.sender.send(Work::Flush(sender)).is_ok() {
            let _ = done.recv_timeout(Duration::from_secs(1));
        }
    }
}

/// Nobody is left to tell when stderr itself fails.
fn write_lines(work: &Receiver<Work>, dropped: &AtomicU64) {
    let mut stderr = io::stderr();
    while let Ok(work) = work.recv() {
        match work {
            Work::Line(line) => drop(stderr.write_all(&line)),
            Work::Flush(done) => drop(done.send(())),
        }
        match dropped.swap(0, Relaxed) {
            0 => {}
            lost => drop(writeln!(
                stderr,
                "{lost} log lines were lost: stderr is read too slowly"
            )),
        }
    }
}
