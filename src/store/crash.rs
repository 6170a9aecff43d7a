//! The store against a process that is killed and a disk that refuses, with a real process and a real file.
//!
//! The test binary runs itself as the victim: it appends messages, deletes every fifth, and says on its standard output what
//! was acknowledged. Nothing acknowledged may be lost, nothing refused may be there, and the order has no holes.

#![allow(clippy::unwrap_used)] // all of this is tests: a panic is a failure told

use clock::Wall;
use model::{Aor, MessageId, StoreError, StoreOp, StoreReply, StoredMessage};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use store::Store;

/// Set for the victim: the database it shall write.
const VICTIM: &str = "TANDEM_STORE_VICTIM";

/// Set for the victim on a disk of its own: a file there to delete when the disk is full.
const BALLAST: &str = "TANDEM_STORE_BALLAST";

/// Appends under way at once.
const IN_FLIGHT: u64 = 64;

/// Longest wait for a reply.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn fifty_kills_lose_nothing_acknowledged_and_keep_the_order() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("killed.db");
    let mut told = Told::default();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..50 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut victim = Victim::start(command(&database));
        victim.read(&mut told, |lines| lines >= random % 400);
        victim.kill(&mut told);
        if round % 2 == 1 {
            verify(&database, &told);
        }
    }
    assert!(
        told.kept.len() > 1_000,
        "only {} messages in fifty rounds",
        told.kept.len()
    );
}

/// A file that may not grow stands for a disk that fails: the write gives an error that is not "no space".
#[test]
fn a_disk_that_fails_is_told_and_works_again_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("limited.db");
    let mut told = Told::default();
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -S -f 1024; exec \"$0\" \"$@\""]);
    let mut victim = Victim::start(under(limited, &database));
    victim.read_until(&mut told, |told| told.failures.contains("Io"));
    let before = told.kept.len();
    assert!(before > 0);
    let pid = format!("--pid={}", victim.process.id());
    assert!(
        Command::new("prlimit")
            .args([&pid, "--fsize=unlimited"])
            .status()
            .unwrap()
            .success()
    );
    victim.read_until(&mut told, |told| told.kept.len() >= before + 500);
    victim.kill(&mut told);
    assert_eq!(told.failures.iter().collect::<Vec<_>>(), ["Io"]);
    verify(&database, &told);
}

/// A real file system of a megabyte, where the kernel lets us make one.
#[test]
fn a_full_disk_is_told_and_works_again_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let (database, ballast) = (directory.path().join("small.db"), directory.path().join("ballast"));
    let script = "mount -t tmpfs -o size=1m tmpfs \"$1\" || exit
        head -c 400000 /dev/zero >\"$1/ballast\"; shift; exec \"$@\"";
    let mut small = Command::new("unshare");
    small
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(directory.path());
    let mut victim = Victim::start(under(small, &database).env(BALLAST, &ballast));
    let mut told = Told::default();
    victim.read_until(&mut told, |told| told.whole || told.ended);
    if !told.opened {
        return eprintln!("SKIPPED: no file system of our own can be mounted here");
    }
    assert!(told.whole, "{told:?}");
    assert_eq!(told.failures.iter().collect::<Vec<_>>(), ["Full"]);
    victim.end(&mut told);
}

/// What the victims said.
#[derive(Debug, Default)]
struct Told {
    kept: BTreeSet<u64>,
    gone: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    failures: BTreeSet<String>,
    opened: bool,
    whole: bool,
    ended: bool,
}

impl Told {
    fn hear(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (word, id) = (words.next().unwrap_or(""), words.next().and_then(|id| id.parse().ok()));
        match (word, id) {
            ("kept", Some(id)) => {
                assert!(
                    self.kept.last().is_none_or(|&last| last < id),
                    "{id} acknowledged out of order"
                );
                self.kept.insert(id);
            }
            ("gone", Some(id)) => _ = self.gone.insert(id),
            ("failed", Some(id)) => {
                self.refused.insert(id);
                self.failures.extend(words.next().map(str::to_owned));
            }
            ("opened", None) => self.opened = true,
            ("whole", None) => self.whole = true,
            _ => {} // the test harness's own words
        }
    }
}

struct Victim {
    process: Child,
    output: BufReader<ChildStdout>,
}

/// How this binary is run as the victim.
fn command(database: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(VICTIM_ARGS).env(VICTIM, database);
    command
}

/// The same at the end of another command.
fn under(mut outer: Command, database: &Path) -> Command {
    outer
        .arg(std::env::current_exe().unwrap())
        .args(VICTIM_ARGS)
        .env(VICTIM, database);
    outer
}

const VICTIM_ARGS: [&str; 3] = ["victim", "--exact", "--nocapture"];

impl Victim {
    fn start(mut command: impl std::borrow::BorrowMut<Command>) -> Victim {
        let mut process = command
            .borrow_mut()
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Victim { process, output }
    }

    /// Listens until `enough` of the number of lines heard.
    fn read(&mut self, told: &mut Told, enough: impl Fn(u64) -> bool) {
        let mut lines = 0;
        while !enough(lines) && self.hear(told) {
            lines += 1;
        }
    }

    fn read_until(&mut self, told: &mut Told, enough: impl Fn(&Told) -> bool) {
        while !enough(told) && self.hear(told) {}
    }

    /// Hears it out.
    fn end(mut self, told: &mut Told) {
        while self.hear(told) {}
        assert!(self.process.wait().unwrap().success());
    }

    /// SIGKILL, and the words that were on their way.
    fn kill(&mut self, told: &mut Told) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        while self.hear(told) {}
    }

    fn hear(&mut self, told: &mut Told) -> bool {
        let mut line = String::new();
        told.ended = self.output.read_line(&mut line).unwrap() == 0;
        // A line that the kill cut off acknowledges nothing.
        if line.ends_with('\n') {
            told.hear(&line);
        }
        !told.ended
    }
}

/// Compares what is on disk with what was said. Deletion of an acknowledged multiple of five may have been under way.
fn verify(database: &Path, told: &Told) {
    let open = Open::at(database);
    let found = open.all();
    let ids: BTreeSet<u64> = found.iter().map(|message| message.id.0).collect();
    assert!(
        found.iter().all(|found| *found == message(found.id.0)),
        "a message changed"
    );
    assert!(found.is_sorted_by_key(|message| message.id));
    let lost: Vec<_> = told
        .kept
        .iter()
        .filter(|id| *id % 5 != 0 && !ids.contains(id))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(told.gone.is_disjoint(&ids), "deleted and back again");
    assert!(told.refused.is_disjoint(&ids), "refused and yet kept");
    let last_id = open.last_id();
    assert!(told.kept.last().is_none_or(|&id| id <= last_id));
    let holes: Vec<_> = (1..=ids.last().copied().unwrap_or(0))
        .filter(|id| id % 5 != 0 && !ids.contains(id) && !told.refused.contains(id))
        .collect();
    assert!(holes.is_empty(), "kept out of order: {holes:?}");
    drop(open);
    assert_eq!(integrity(database), "ok");
}

fn integrity(database: &Path) -> String {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection
        .query_row("PRAGMA integrity_check", (), |row| row.get(0))
        .unwrap()
}

/// Does nothing unless another test runs it.
#[test]
fn victim() {
    let Some(database) = std::env::var_os(VICTIM) else {
        return;
    };
    let database = PathBuf::from(database);
    let mut open = Open::at(&database);
    let mut next = open.last_id() + 1;
    say(format_args!("\nopened at {next}"));
    (0..IN_FLIGHT).for_each(|_| open.append(&mut next));
    match std::env::var_os(BALLAST) {
        None => loop {
            open.go_on(&mut next);
        },
        Some(ballast) => {
            while open.refused == 0 {
                open.go_on(&mut next);
            }
            std::fs::remove_file(ballast).unwrap();
            let enough = open.kept + 100;
            while open.kept < enough {
                open.go_on(&mut next);
            }
            let kept = open.kept;
            drop(open);
            assert_eq!(integrity(&database), "ok");
            assert!(Open::at(&database).all().len() as u64 >= kept - kept / 5);
            say(format_args!("whole"));
        }
    }
}

/// A store and its replies.
struct Open {
    store: Store,
    replies: Receiver<(u64, StoreReply)>,
    kept: u64,
    refused: u64,
}

impl Open {
    fn at(database: &Path) -> Open {
        let (sender, replies) = channel();
        let on_reply = move |token, reply| _ = sender.send((token, reply));
        let store = Store::open(&format!("sqlite://{}", database.display()), on_reply).unwrap();
        Open {
            store,
            replies,
            kept: 0,
            refused: 0,
        }
    }

    fn append(&mut self, next: &mut u64) {
        let id = *next;
        *next += 1;
        self.store
            .submit(Some(id * 2), StoreOp::AppendMessage(Box::new(message(id))))
            .unwrap();
    }

    /// Passes one reply on, and keeps as many appends under way.
    fn go_on(&mut self, next: &mut u64) {
        let (token, reply) = self.replies.recv_timeout(PATIENCE).unwrap();
        let id = token / 2;
        match (token % 2, reply) {
            (0, StoreReply::Done) => {
                self.kept += 1;
                say(format_args!("kept {id}"));
                if id % 5 == 0 {
                    self.store
                        .submit(Some(token + 1), StoreOp::DeleteMessage(MessageId(id)))
                        .unwrap();
                }
                self.append(next);
            }
            (0, StoreReply::Failed(why)) => {
                self.refused += 1;
                say(format_args!("failed {id} {why:?}"));
                self.append(next);
            }
            (_, StoreReply::Done) => say(format_args!("gone {id}")),
            (_, StoreReply::Failed(StoreError::Full | StoreError::Io)) => {
                self.store
                    .submit(Some(token), StoreOp::DeleteMessage(MessageId(id)))
                    .unwrap();
            }
            (_, other) => panic!("{other:?}"),
        }
    }

    fn ask(&self, op: StoreOp) -> StoreReply {
        self.store.submit(Some(0), op).unwrap();
        self.replies.recv_timeout(PATIENCE).unwrap().1
    }

    fn last_id(&self) -> u64 {
        match self.ask(StoreOp::CountMessages) {
            StoreReply::Waiting { last_id, .. } => last_id.0,
            other => panic!("{other:?}"),
        }
    }

    fn all(&self) -> Vec<StoredMessage> {
        match self.ask(StoreOp::LoadMessages {
            to: message(1).to,
            device: "".into(),
            after: MessageId(0),
            limit: u32::MAX,
        }) {
            StoreReply::Messages(all) => all,
            other => panic!("{other:?}"),
        }
    }
}

fn say(words: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{words}").and_then(|()| out.flush()).unwrap();
}

fn message(id: u64) -> StoredMessage {
    StoredMessage {
        id: MessageId(id),
        to: Aor::new("bob", "tandem.test"),
        from: Aor::new("alice", "tandem.test"),
        from_display: "Alice".into(),
        call_id: format!("call-{id}").into(),
        cseq: 1,
        content_type: "text/plain".into(),
        body: format!("message number {id} ").repeat(10).into_bytes(),
        accepted_at: Wall(1_700_000_000_000),
        expires_at: Wall(1_800_000_000_000),
        is_taken: false,
        owed: Vec::new(),
        imdn_id: "".into(),
        wants: 0,
    }
}
