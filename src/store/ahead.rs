//! What is said about calls, with the kernel before anybody is answered.
//!
//! The writer commits call records in batches, a moment after they came. A process that is killed in that moment has told a phone
//! that its call is over and left no record of it. So each such operation is also a line of a file, written by whoever
//! submits it, before what is answered leaves: no `fsync`, for the kernel outlives the process, and a power cut is not what this
//! is against. The next opening carries out what is found there.
//!
//! There are two sheets. One is written; when it is full the other is, and it is emptied once the writer has committed all that
//! stands on it. While nothing waits both are empty, so nothing is kept here longer than in the database.

use crate::OpenError;
use model::{Cdr, EndedBy, LegId, StoreOp};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes after which the other sheet is begun: some thousand calls, more than the writer is behind when it is well.
const FULL: u64 = 4 << 20;

/// Bytes of a sheet while the writer cannot leave the other one: what it then loses with the process is counted among what
/// could not be written at all.
const MAX: u64 = 64 << 20;

/// As owner only, like the database.
const MODE: u32 = 0o600;

/// The two sheets beside a database.
pub(crate) struct Ahead {
    path: PathBuf,
    sheets: [File; 2],
    /// The one that is written.
    current: usize,
    /// Its number: the higher one is the later.
    number: u64,
    /// Bytes on it.
    written: u64,
    /// Lines that the kernel does not have yet.
    lines: Vec<u8>,
    /// How many operations had been submitted when the other sheet was left; `None` once it is empty.
    left_at: Option<u64>,
    /// A file cannot be written, which was said.
    broken: bool,
}

/// The first line of a sheet, and all others.
#[derive(Serialize, Deserialize)]
enum Line<'a> {
    Sheet(u64),
    Open(Cow<'a, Cdr>),
    Leave(Cow<'a, Cdr>),
    Put(Cow<'a, Cdr>),
    End(LegId, i64, EndedBy),
}

impl Ahead {
    /// Opens the sheets beside the database at `path`, and says what stands on them, in the order in which it was said. They
    /// stay as they are until [`Ahead::clear`].
    pub(crate) fn open(path: &Path) -> Result<(Ahead, Vec<StoreOp>), OpenError> {
        let mut sheets = [sheet(path, 0)?, sheet(path, 1)?];
        let mut found = [Vec::new(), Vec::new()];
        for (place, (sheet, text)) in sheets.iter_mut().zip(&mut found).enumerate() {
            sheet.read_to_end(text).map_err(|why| OpenError::File {
                path: name(path, place),
                why,
            })?;
        }
        let mut found = found.map(|text| lines(&text));
        found.sort_by_key(|(number, _)| *number);
        let [(_, older), (number, newer)] = found;
        let ahead = Ahead {
            path: path.to_owned(),
            sheets,
            current: 0,
            number,
            written: 0,
            lines: Vec::new(),
            left_at: None,
            broken: false,
        };
        Ok((ahead, operations(older.into_iter().chain(newer))))
    }

    /// What stood on the sheets is in the database.
    pub(crate) fn clear(&mut self) {
        for place in 0..2 {
            self.empty(place);
        }
        self.written = 0;
        self.left_at = None;
    }

    /// Puts `op` in line for the kernel; gives back where the line was before.
    pub(crate) fn note(&mut self, op: &StoreOp) -> usize {
        let before = self.lines.len();
        match op {
            StoreOp::OpenCdr(cdr) => self.push(&Line::Open(Cow::Borrowed(cdr))),
            StoreOp::LeaveCdr(cdr) => self.push(&Line::Leave(Cow::Borrowed(cdr))),
            StoreOp::PutCdr(cdr) => self.push(&Line::Put(Cow::Borrowed(cdr))),
            StoreOp::EndCdr { leg, at, by } => self.push(&Line::End(*leg, at.0, *by)),
            _ => {}
        }
        before
    }

    /// The operation was refused.
    pub(crate) fn take_back(&mut self, before: usize) {
        self.lines.truncate(before);
    }

    fn push(&mut self, line: &Line<'_>) {
        // Plain data always becomes text, and a vector takes all.
        let _ = serde_json::to_writer(&mut self.lines, line);
        self.lines.push(b'\n');
    }

    /// Nothing is left to give to the kernel.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.lines.is_empty()
    }

    /// Gives the kernel what is in line. `submitted` and `settled` count operations: how many have been queued, and how many
    /// of the first of them are on the disk.
    pub(crate) fn hand_over(&mut self, submitted: u64, settled: u64) {
        if self.left_at.is_some_and(|at| at <= settled) {
            self.empty(1 - self.current);
            self.left_at = None;
        }
        if self.written >= FULL && self.left_at.is_none() {
            self.left_at = Some(submitted);
            self.current = 1 - self.current;
            self.written = 0;
        }
        if self.written < MAX {
            self.write();
        } else {
            self.on_failure(&io::Error::other("the database takes nothing"));
        }
        self.lines.clear();
    }

    fn write(&mut self) {
        if self.written == 0 {
            self.number += 1;
            let lines = std::mem::take(&mut self.lines);
            self.push(&Line::Sheet(self.number));
            self.lines.extend(lines);
        }
        match self.sheets[self.current].write_all(&self.lines) {
            Ok(()) => {
                self.written += self.lines.len() as u64;
                self.broken = false;
            }
            Err(why) => self.on_failure(&why),
        }
    }

    /// Empties both sheets if all that was ever queued is on the disk. For a slow timer.
    pub(crate) fn rest(&mut self, submitted: u64, settled: u64) {
        if submitted == settled && self.lines.is_empty() && (self.written > 0 || self.left_at.is_some()) {
            self.clear();
        }
    }

    fn empty(&mut self, place: usize) {
        if let Err(why) = self.sheets[place].set_len(0) {
            self.on_failure(&why);
        }
    }

    /// Once for each outage. Calls go on, and their records are written a moment later as ever.
    fn on_failure(&mut self, why: &io::Error) {
        if !std::mem::replace(&mut self.broken, true) {
            tracing::warn!(path = %self.path.display(), error = %why, "call records cannot be noted ahead of their commit: a kill would lose the last of them");
        }
    }
}

/// Whether an operation is noted.
pub(crate) fn concerns(op: &StoreOp) -> bool {
    matches!(
        op,
        StoreOp::OpenCdr(_) | StoreOp::LeaveCdr(_) | StoreOp::PutCdr(_) | StoreOp::EndCdr { .. }
    )
}

fn name(path: &Path, place: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push([".calls-0", ".calls-1"][place]);
    name.into()
}

fn sheet(path: &Path, place: usize) -> Result<File, OpenError> {
    let path = name(path, place);
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(MODE);
    options.open(&path).map_err(|why| OpenError::File { path, why })
}

/// The number of a sheet and what stands on it. The last line may be half a line; after a power cut any may be none.
fn lines(text: &[u8]) -> (u64, Vec<Line<'static>>) {
    let read = |line| serde_json::from_slice::<Line<'_>>(line).ok();
    let mut lines = text.split(|byte| *byte == b'\n').filter_map(read);
    match lines.next() {
        Some(Line::Sheet(number)) => (number, lines.collect()),
        _ => (0, Vec::new()),
    }
}

/// What has to be carried out. Of a leg that has left, whose figures never came, the record is what was known then.
fn operations<'a>(lines: impl Iterator<Item = Line<'a>>) -> Vec<StoreOp> {
    let mut left = BTreeMap::new();
    let mut operations = Vec::new();
    for line in lines {
        match line {
            Line::Sheet(_) => {}
            Line::Open(cdr) => operations.push(StoreOp::OpenCdr(Box::new(cdr.into_owned()))),
            Line::Leave(cdr) => drop(left.insert(cdr.leg, cdr.into_owned())),
            Line::Put(cdr) => {
                left.remove(&cdr.leg);
                operations.push(StoreOp::PutCdr(Box::new(cdr.into_owned())));
            }
            Line::End(leg, at, by) => operations.push(StoreOp::EndCdr {
                leg,
                at: clock::Wall(at),
                by,
            }),
        }
    }
    operations.extend(left.into_values().map(|cdr| StoreOp::PutCdr(Box::new(cdr))));
    operations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{cdr, put_cdr};
    use model::EndReason;

    fn open_cdr(leg: u64) -> StoreOp {
        StoreOp::OpenCdr(Box::new(Cdr {
            reason: EndReason::Restart,
            ..cdr(leg)
        }))
    }

    fn leave_cdr(leg: u64) -> StoreOp {
        StoreOp::LeaveCdr(Box::new(cdr(leg)))
    }

    /// What a process finds after one that was killed.
    fn found(path: &Path) -> Vec<StoreOp> {
        Ahead::open(path).unwrap().1
    }

    struct Desk {
        ahead: Ahead,
        path: PathBuf,
        _directory: tempfile::TempDir,
    }

    fn desk() -> Desk {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.db");
        let (ahead, found) = Ahead::open(&path).unwrap();
        assert_eq!(found, []);
        Desk {
            ahead,
            path,
            _directory: directory,
        }
    }

    #[test]
    fn what_was_handed_over_is_found_and_what_was_not_is_lost() {
        let mut desk = desk();
        desk.ahead.note(&open_cdr(1));
        desk.ahead.note(&put_cdr(2));
        let before = desk.ahead.note(&put_cdr(3));
        desk.ahead.take_back(before);
        desk.ahead.hand_over(2, 0);
        desk.ahead.note(&put_cdr(4));
        assert_eq!(found(&desk.path), [open_cdr(1), put_cdr(2)]);
        desk.ahead.clear();
        assert_eq!(found(&desk.path), []);
    }

    #[test]
    fn a_leg_that_has_left_has_the_record_of_that_moment_until_its_own_comes() {
        let mut desk = desk();
        for op in [open_cdr(1), leave_cdr(1), leave_cdr(2), put_cdr(2)] {
            desk.ahead.note(&op);
        }
        desk.ahead.hand_over(3, 0);
        assert_eq!(found(&desk.path), [open_cdr(1), put_cdr(2), put_cdr(1)]);
    }

    #[test]
    fn half_a_line_costs_no_other() {
        let mut desk = desk();
        desk.ahead.note(&put_cdr(1));
        desk.ahead.hand_over(1, 0);
        desk.ahead.sheets[0].write_all(b"{\"Put\":{\"interac").unwrap();
        assert_eq!(found(&desk.path), [put_cdr(1)]);
    }

    /// Notes records until the sheet changes.
    fn fill(ahead: &mut Ahead, submitted: &mut u64, settled: u64) {
        let current = ahead.current;
        while ahead.current == current {
            *submitted += 1;
            ahead.note(&put_cdr(*submitted));
            ahead.hand_over(*submitted, settled);
        }
    }

    #[test]
    fn a_full_sheet_is_kept_until_all_that_stands_on_it_is_on_the_disk() {
        let mut desk = desk();
        let mut submitted = 0;
        fill(&mut desk.ahead, &mut submitted, 0);
        let left_at = submitted;
        submitted += 1;
        desk.ahead.note(&put_cdr(submitted));
        desk.ahead.hand_over(submitted, left_at - 1);
        let all: Vec<_> = (1..=submitted).map(put_cdr).collect();
        assert_eq!(found(&desk.path), all);
        desk.ahead.hand_over(submitted, left_at);
        assert_eq!(found(&desk.path), all[left_at as usize - 1..]);
    }

    #[test]
    fn sheets_are_read_in_the_order_in_which_they_were_written() {
        let mut desk = desk();
        let mut submitted = 0;
        for _ in 0..3 {
            let settled = submitted;
            fill(&mut desk.ahead, &mut submitted, settled);
        }
        let legs: Vec<_> = found(&desk.path);
        let last = put_cdr(submitted);
        assert_eq!(legs.last(), Some(&last));
        assert!(legs.is_sorted_by_key(|op| match op {
            StoreOp::PutCdr(cdr) => cdr.leg,
            _ => panic!("only records"),
        }));
    }

    #[test]
    fn nothing_is_kept_once_all_is_on_the_disk() {
        let mut desk = desk();
        desk.ahead.note(&put_cdr(1));
        desk.ahead.hand_over(1, 0);
        desk.ahead.rest(1, 0);
        assert_eq!(found(&desk.path).len(), 1);
        desk.ahead.rest(1, 1);
        assert_eq!(found(&desk.path), []);
    }

    #[test]
    fn a_sheet_does_not_grow_without_end_while_nothing_is_committed() {
        let mut desk = desk();
        let mut submitted = 0;
        fill(&mut desk.ahead, &mut submitted, 0);
        desk.ahead.written = MAX;
        submitted += 1;
        desk.ahead.note(&put_cdr(submitted));
        desk.ahead.hand_over(submitted, 0);
        assert!(desk.ahead.broken);
        assert!(desk.ahead.is_handed_over(), "nor does the line");
        assert!(!found(&desk.path).contains(&put_cdr(submitted)));
    }
}
