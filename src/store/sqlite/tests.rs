//! What only the file can show.

use super::*;
use crate::samples::{append, append_of, load, message};
use model::MessageId;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/for/it/test.db");
    (directory, path)
}

fn run(sqlite: &mut Sqlite, ops: &[StoreOp]) -> Result<Vec<StoreReply>, StoreError> {
    sqlite.transact(ops, &mut || Ok(()))
}

fn kind(result: Result<Sqlite, OpenError>) -> StoreError {
    match result.err().expect("it opened") {
        OpenError::Database { kind, .. } => kind,
        other => panic!("{other}"),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn is_whole(sqlite: &Sqlite) -> bool {
    let verdict = sqlite
        .connection
        .query_row("PRAGMA integrity_check", (), |row| row.get::<_, String>(0));
    verdict.unwrap() == "ok"
}

#[test]
fn commits_with_a_synced_log() {
    let (_directory, path) = place();
    let sqlite = Sqlite::open(&path).unwrap();
    let pragma = |name| {
        sqlite
            .connection
            .pragma_query_value(None, name, |row| row.get::<_, String>(0))
    };
    assert_eq!(pragma("journal_mode").unwrap(), "wal");
    let synchronous = sqlite
        .connection
        .pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0));
    assert_eq!(synchronous.unwrap(), 2, "2 is FULL");
}

#[test]
fn nobody_else_may_read_the_files() {
    let (_directory, path) = place();
    drop(Sqlite::open(&path).unwrap());
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let mut sqlite = Sqlite::open(&path).unwrap();
    run(&mut sqlite, &[append(1)]).unwrap();
    let directory = path.parent().unwrap();
    assert_eq!(mode(directory), 0o700);
    for file in fs::read_dir(directory).unwrap() {
        let file = file.unwrap().path();
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_second_switch_is_refused_until_the_first_has_ended() {
    let (_directory, path) = place();
    let first = Sqlite::open(&path).unwrap();
    assert_eq!(kind(Sqlite::open(&path)), StoreError::Locked);
    drop(first);
    Sqlite::open(&path).unwrap();
}

#[test]
fn says_locked_while_somebody_else_writes_and_works_after() {
    let (_directory, path) = place();
    let mut sqlite = Sqlite::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(run(&mut sqlite, &[append(1)]), Err(StoreError::Locked));
    assert_eq!(run(&mut sqlite, &[load("bob")]), Ok(vec![StoreReply::Messages(vec![])]));
    other.execute_batch("ROLLBACK").unwrap();
    run(&mut sqlite, &[append(1)]).unwrap();
    assert_eq!(
        run(&mut sqlite, &[load("bob")]),
        Ok(vec![StoreReply::Messages(vec![message(1)])])
    );
}

#[test]
fn says_full_when_there_are_no_more_pages_and_recovers_when_there_are() {
    let (_directory, path) = place();
    let mut sqlite = Sqlite::open(&path).unwrap();
    let limit = |sqlite: &Sqlite, pages: i64| {
        sqlite
            .connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .unwrap();
    };
    let kept = |last_id| StoreReply::Waiting {
        per_user: vec![(message(1).to, last_id)],
        last_id: MessageId(last_id),
    };
    limit(&sqlite, 60);
    let mut last_id = 0;
    while run(&mut sqlite, &[append_of(last_id + 1, 1_000)]) == Ok(vec![StoreReply::Done]) {
        last_id += 1;
        assert!(last_id < 1_000, "the limit does not hold");
    }
    let large = append_of(last_id + 1, 100_000);
    let full = StoreReply::Failed(StoreError::Full);
    assert_eq!(
        run(&mut sqlite, &[large.clone(), StoreOp::CountMessages]),
        Ok(vec![full, kept(last_id)])
    );
    assert!(is_whole(&sqlite));
    limit(&sqlite, 10_000);
    assert_eq!(
        run(&mut sqlite, &[large, StoreOp::CountMessages]),
        Ok(vec![StoreReply::Done, kept(last_id + 1)])
    );
    assert!(is_whole(&sqlite));
}

#[test]
fn a_clean_end_leaves_no_log_and_everything_in_place() {
    let (_directory, path) = place();
    let mut sqlite = Sqlite::open(&path).unwrap();
    run(&mut sqlite, &[append(1)]).unwrap();
    assert!(file::log_size(&path) > 0);
    sqlite.close();
    assert_eq!(file::log_size(&path), 0);
    drop(sqlite);
    let mut sqlite = Sqlite::open(&path).unwrap();
    assert_eq!(
        run(&mut sqlite, &[load("bob")]),
        Ok(vec![StoreReply::Messages(vec![message(1)])])
    );
}

#[test]
fn a_file_that_is_no_database_is_refused_and_left_as_it_was() {
    let (directory, _) = place();
    let path = directory.path().join("letter.txt");
    let text = "Dear all, ".repeat(1_000);
    fs::write(&path, &text).unwrap();
    assert_eq!(kind(Sqlite::open(&path)), StoreError::Corrupt);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn damage_is_found_after_an_unclean_end() {
    let (_directory, path) = place();
    let mut sqlite = Sqlite::open(&path).unwrap();
    run(&mut sqlite, &(1..500).map(append).collect::<Vec<_>>()).unwrap();
    sqlite.close();
    drop(sqlite);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4_096 * 4_096;
    bytes[middle..middle + 4_096].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    drop(Sqlite::open(&path).expect("a clean end is believed"));
    fs::write(path.with_extension("db-wal"), "what a process that was killed leaves").unwrap();
    assert_eq!(kind(Sqlite::open(&path)), StoreError::Corrupt);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let (directory, _) = place();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Sqlite::open(&file.join("test.db")).err().unwrap().to_string();
    assert!(error.contains("file/test.db"), "{error}");
}

/// What stands in the files of a database.
fn bytes_of(directory: &Path) -> Vec<u8> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    bytes
}

fn holds(bytes: &[u8], text: &str) -> bool {
    let lower = bytes.to_ascii_lowercase();
    lower.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Words as the index keeps them: each after the part it shares with the one before.
#[test]
fn erased_text_and_its_words_are_in_no_file_any_more() {
    use crate::samples::{close, put_said, session};
    use model::{SessionId, StoreOp};
    let directory = tempfile::tempdir().unwrap();
    let mut sqlite = Sqlite::open(&directory.path().join("test.db")).unwrap();
    let mut run = |ops: &[StoreOp]| sqlite.transact(ops, &mut || Ok(())).unwrap();
    let long = "zebrawood ".repeat(2_000);
    for id in 1..=40 {
        let kept = session(id, &["alice", "bob"], 0);
        let text = format!(
            "xylophone glockenspiel{id} {}",
            if id % 2 == 0 { &*long } else { "short" }
        );
        run(&[
            StoreOp::PutSession(Box::new(kept.clone())),
            put_said(id, 1, &text),
            put_said(id, 2, "quietude"),
        ]);
        run(&[close(&kept, id % 4 != 0)]);
    }
    assert!(holds(&bytes_of(directory.path()), "xylophone"), "this test can fail");
    for id in 1..40 {
        run(&[StoreOp::EraseSession(SessionId(id))]);
    }
    run(&[StoreOp::ExpireSessions(clock::Wall(i64::MAX))]);
    let bytes = bytes_of(directory.path());
    for text in [
        "xylophone",
        "zebrawood",
        "quietude",
        "glockenspiel",
        "alice@",
        "ebrawood",
    ] {
        assert!(!holds(&bytes, text), "{text} is still there");
    }
}
