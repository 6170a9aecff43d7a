//! Call records as CSV, a file a day (UTC): `cdr-2026-11-20.csv`.
//!
//! Each record is written exactly once, also when the node is killed in between: records are read from the store in the order
//! of their numbers, each line begins with its number, and what was begun when the node ended is cut off at the next start.
//! So the last whole line says where to go on; a small file beside it says the same for operators who move files away.

use clock::Wall;
use model::{CSV_HEADER, csv_row};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use store::Reader;

/// How often the store is looked at for new records.
const EVERY: Duration = Duration::from_secs(1);
/// Records read at one time.
const LOT: u32 = 1_000;
/// Longer lines than this are none of ours.
const MAX_LINE: u64 = 64 << 10;
/// Where to go on, beside the files.
const CURSOR: &str = "cursor";

/// The thread that writes the files.
pub(crate) struct CdrFiles {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl CdrFiles {
    /// Writes what the store has and will have.
    ///
    /// # Errors
    /// The directory cannot be made, or no thread is left.
    pub(crate) fn start(directory: PathBuf, reader: Reader) -> io::Result<CdrFiles> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("cdr".into())
            .spawn(move || run(&directory, reader, &stopped))?;
        let (stop, thread) = (Some(stop), Some(thread));
        Ok(CdrFiles { stop, thread })
    }
}

impl Drop for CdrFiles {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, the files are in order at the next start.
            let _ = thread.join();
        }
    }
}

fn run(directory: &Path, mut reader: Reader, stopped: &Receiver<()>) {
    let mut files = None;
    loop {
        let going_on = matches!(stopped.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout));
        if let Err(error) = write_new(&mut files, directory, &mut reader) {
            // What was half written is cut off when the files are opened anew.
            tracing::error!(%error, directory = %directory.display(), "call records cannot be written as CSV; trying again");
            files = None;
        }
        if !going_on {
            return;
        }
    }
}

fn write_new(files: &mut Option<Files>, directory: &Path, reader: &mut Reader) -> io::Result<()> {
    let broken = |error: model::StoreError| io::Error::other(error.to_string());
    if files.is_none() {
        let last = reader.cdrs(1, None).map_err(broken)?.first().map_or(0, |row| row.seq);
        *files = Some(Files::open(directory, last)?);
    }
    let Some(files) = files else { return Ok(()) };
    loop {
        let rows = reader.cdrs_after(files.seq, LOT).map_err(broken)?;
        files.append(&rows)?;
        if rows.len() < LOT as usize {
            return Ok(());
        }
    }
}

/// The files of a directory, and how far they go.
struct Files {
    directory: PathBuf,
    /// The last day that has one, and its file once it was written to.
    day: String,
    file: Option<File>,
    /// Number of the last record in them.
    seq: u64,
}

impl Files {
    /// Cuts off what was half written. `last` is the number of the last record in the store: a store that has fewer records
    /// than the files is another one, or came from a backup.
    fn open(directory: &Path, last: u64) -> io::Result<Files> {
        let mut names: Vec<String> = fs::read_dir(directory)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| day_of(name).is_some())
            .collect();
        names.sort_unstable();
        let mut seq = read_cursor(directory);
        if let Some(newest) = names.last() {
            mend(&directory.join(newest))?;
        }
        for name in names.iter().rev() {
            if let Some(found) = last_number(&directory.join(name))? {
                seq = seq.max(found);
                break;
            }
        }
        let newest = names.last().and_then(|name| day_of(name));
        Ok(Files {
            directory: directory.to_owned(),
            day: newest.unwrap_or_default().to_owned(),
            file: None,
            seq: seq.min(last),
        })
    }

    /// Appends records and waits for the disk.
    fn append(&mut self, rows: &[store::CdrRow]) -> io::Result<()> {
        for row in rows {
            let day = day(row.cdr.ended_at);
            // A record of yesterday that is kept today stands in today's file: numbers rise from file to file.
            if self.file.is_none() || day > self.day {
                self.turn(day)?;
            }
            if let Some(file) = &mut self.file {
                file.write_all(csv_row(row.seq, &row.cdr).as_bytes())?;
            }
            self.seq = row.seq;
        }
        match &self.file {
            Some(file) if !rows.is_empty() => file.sync_data(),
            _ => Ok(()),
        }?;
        if rows.is_empty() { Ok(()) } else { self.write_cursor() }
    }

    /// Goes on in the file of this day, or of the last one that has a file.
    fn turn(&mut self, day: String) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            file.sync_data()?;
        }
        self.day = std::mem::take(&mut self.day).max(day);
        let path = self.directory.join(format!("cdr-{}.csv", self.day));
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        if file.metadata()?.len() == 0 {
            file.write_all(CSV_HEADER.as_bytes())?;
            File::open(&self.directory)?.sync_all()?;
        }
        self.file = Some(file);
        Ok(())
    }

    fn write_cursor(&self) -> io::Result<()> {
        let (new, path) = (self.directory.join("cursor.new"), self.directory.join(CURSOR));
        fs::write(&new, format!("{}\n", self.seq))?;
        fs::rename(new, path)
    }
}

/// `2026-11-20` of `cdr-2026-11-20.csv`.
fn day_of(name: &str) -> Option<&str> {
    let day = name.strip_prefix("cdr-")?.strip_suffix(".csv")?;
    (day.len() == 10 && day.bytes().all(|b| b.is_ascii_digit() || b == b'-')).then_some(day)
}

fn day(at: Wall) -> String {
    let civil = at.civil();
    format!("{:04}-{:02}-{:02}", civil.year, civil.month, civil.day)
}

fn read_cursor(directory: &Path) -> u64 {
    let text = fs::read_to_string(directory.join(CURSOR)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Cuts a line off that has no end.
fn mend(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let (begin, tail) = tail(&mut file)?;
    let whole = tail
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at as u64 + 1);
    if whole < tail.len() as u64 {
        file.set_len(begin + whole)?;
        file.sync_data()?;
    }
    Ok(())
}

/// The number of the last record in a file; `None` if there is none.
fn last_number(path: &Path) -> io::Result<Option<u64>> {
    let (_, tail) = tail(&mut File::open(path)?)?;
    let last = BufReader::new(&tail[..]).split(b'\n').map_while(Result::ok).last();
    let text = last.and_then(|line| String::from_utf8(line).ok()).unwrap_or_default();
    Ok(text.split_once(',').and_then(|(number, _)| number.parse().ok()))
}

/// The last bytes of a file, and where they begin.
fn tail(file: &mut File) -> io::Result<(u64, Vec<u8>)> {
    let begin = file.metadata()?.len().saturating_sub(MAX_LINE);
    file.seek(SeekFrom::Start(begin))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok((begin, tail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Cdr, Direction, EndReason, EndedBy, InteractionId, LegId};
    use store::CdrRow;

    const DAY: i64 = 86_400_000;

    fn row(seq: u64, ended_at: i64) -> CdrRow {
        let cdr = Cdr {
            interaction: InteractionId(1),
            leg: LegId(seq),
            direction: Direction::In,
            user: None,
            caller: "A, B".into(),
            callee: "1".into(),
            call_id: "c".into(),
            started_at: Wall(0),
            ringing_at: None,
            answered_at: None,
            ended_at: Wall(ended_at),
            ended_by: EndedBy::Peer,
            reason: EndReason::Normal,
            status: 200,
            codec: "".into(),
            packets: (0, 0, 0),
            quality: model::Quality::default(),
            link: None,
            transferred_to: "".into(),
        };
        CdrRow { seq, cdr }
    }

    /// The numbers in each file, by name.
    fn numbers(directory: &Path) -> Vec<(String, Vec<u64>)> {
        let mut files: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "csv"))
            .map(|path| {
                let text = fs::read_to_string(&path).unwrap();
                let mut lines = text.split_inclusive("\r\n");
                assert_eq!(lines.next(), Some(CSV_HEADER));
                let number = |line: &str| line.split_once(',').unwrap().0.parse().unwrap();
                (
                    path.file_name().unwrap().to_string_lossy().into_owned(),
                    lines.map(number).collect(),
                )
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn records_go_into_a_file_a_day_and_numbers_rise_from_file_to_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = Files::open(directory.path(), 9).unwrap();
        files.append(&[row(1, 0), row(2, DAY), row(3, DAY - 1)]).unwrap();
        let named = |name: &str, numbers: &[u64]| (name.to_owned(), numbers.to_vec());
        let expected = [named("cdr-1970-01-01.csv", &[1]), named("cdr-1970-01-02.csv", &[2, 3])];
        assert_eq!(numbers(directory.path()), expected);
        let again = Files::open(directory.path(), 9).unwrap();
        assert_eq!((again.seq, &*again.day), (3, "1970-01-02"));
    }

    #[test]
    fn a_node_that_dies_at_any_byte_writes_each_record_once() {
        let directory = tempfile::tempdir().unwrap();
        Files::open(directory.path(), 9)
            .unwrap()
            .append(&[row(1, 0), row(2, 0)])
            .unwrap();
        let path = directory.path().join("cdr-1970-01-01.csv");
        let whole = fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            // It died before it could say how far it was.
            fs::remove_file(directory.path().join(CURSOR)).unwrap();
            let mut files = Files::open(directory.path(), 9).unwrap();
            let rest: Vec<CdrRow> = (files.seq + 1..=3).map(|seq| row(seq, 0)).collect();
            files.append(&rest).unwrap();
            let expected = [("cdr-1970-01-01.csv".to_owned(), vec![1, 2, 3])];
            assert_eq!(numbers(directory.path()), expected, "cut at {cut}");
        }
    }

    #[test]
    fn files_that_were_moved_away_are_not_written_again() {
        let directory = tempfile::tempdir().unwrap();
        Files::open(directory.path(), 9)
            .unwrap()
            .append(&[row(1, 0), row(2, 0)])
            .unwrap();
        fs::remove_file(directory.path().join("cdr-1970-01-01.csv")).unwrap();
        assert_eq!(Files::open(directory.path(), 9).unwrap().seq, 2);
    }

    #[test]
    fn a_new_store_begins_anew() {
        let directory = tempfile::tempdir().unwrap();
        Files::open(directory.path(), 9).unwrap().append(&[row(7, 0)]).unwrap();
        let mut files = Files::open(directory.path(), 0).unwrap();
        assert_eq!(files.seq, 0);
        files.append(&[row(1, DAY)]).unwrap();
        assert_eq!(Files::open(directory.path(), 1).unwrap().seq, 1);
    }

    #[test]
    fn what_the_store_gets_comes_into_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let (replies, replied) = channel();
        let store = store::Store::open("memory:", move |token, _| replies.send(token).unwrap()).unwrap();
        for seq in 1..=3 {
            let put = model::StoreOp::PutCdr(Box::new(row(seq, 0).cdr));
            store.submit(Some(seq), put).unwrap();
            replied.recv().unwrap();
        }
        let path = directory.path().join("cdr");
        // Stopping it makes it look once more.
        drop(CdrFiles::start(path.clone(), store.reader().unwrap()).unwrap());
        assert_eq!(numbers(&path), [("cdr-1970-01-01.csv".to_owned(), vec![1, 2, 3])]);
    }
}
