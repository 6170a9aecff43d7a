//! The default backend: one SQLite file in WAL mode with `synchronous=FULL`, so each commit is an `fsync` of the log.
//!
//! All SQL of the program stands in this folder, and values reach it as bound parameters only. Each operation is one
//! statement (the sweep before an expiry aside, which may run alone): a statement that fails is undone by SQLite and leaves
//! the others of its transaction in place. Those few that need several have a savepoint around them: [`whole`].

mod binding;
mod cdr;
mod device;
mod failure;
mod file;
mod kept;
mod message;
mod names;
mod receipt;
mod recording;
mod schema;
mod session;

use crate::backend::{Backend, Gate, writes};
use crate::reader::Read;
use crate::{CdrQuery, CdrRow, OpenError, TranscriptQuery, TranscriptRow};
use failure::kind_of;
use file::Lock;
use model::{
    Aor, ImTranscript, InteractionId, MessageId, RecordingRow, SessionId, StoreError, StoreOp, StoreReply,
    WaitingMessage,
};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a commit waits for somebody who holds the database (a shell, a backup), while the queue grows.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);

/// Size of the log at which it is moved into the database, in pages of 4 kB: 16 MB. Less often means fewer `fsync`s of the
/// database; more would lengthen the commit that has to do it.
const CHECKPOINT_PAGES: i64 = 4_096;

/// To what the log file is cut back after it was larger.
const LOG_MAX_BYTES: i64 = 64 << 20;

/// Page cache of the writer: the upper levels of the trees of a million registrations.
const CACHE_KIB: i64 = 16_384;

/// Largest database that is checked after an unclean end: a tenth of a second or so, as a restart has to be quick. SQLite
/// itself recovers from its log at any size.
const CHECK_MAX_BYTES: u64 = 64 << 20;

/// Statements kept prepared; there are fewer.
const STATEMENTS: usize = 64;

/// The writer's connection.
pub(crate) struct Sqlite {
    connection: Connection,
    path: PathBuf,
    /// Text was erased that may still stand in the log.
    has_erased: bool,
    _lock: Lock,
}

impl Sqlite {
    /// Opens or creates the file, alone among all processes, and brings it to the present schema.
    pub(crate) fn open(path: &Path) -> Result<Sqlite, OpenError> {
        file::prepare(path)?;
        let lock = Lock::take(path)?;
        let suspect = file::log_size(path) > 0 && file::size(path) <= CHECK_MAX_BYTES;
        let failed = |why: rusqlite::Error| database_error(path, kind_of(&why), why.to_string());
        let mut connection = connect(path).map_err(failed)?;
        if suspect {
            check(&connection, path)?;
        }
        schema::migrate(&mut connection, path)?;
        Ok(Sqlite {
            connection,
            path: path.to_owned(),
            has_erased: true,
            _lock: lock,
        })
    }

    fn try_transact(&mut self, ops: &[StoreOp], gate: &mut Gate<'_>) -> Result<Vec<StoreReply>, Failure> {
        let writes = writes(ops);
        let behavior = if writes {
            TransactionBehavior::Immediate
        } else {
            TransactionBehavior::Deferred
        };
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        let mut replies = Vec::with_capacity(ops.len());
        for op in ops {
            replies.push(apply_alone(&transaction, op)?);
        }
        if ops.is_empty() {
            transaction.execute("UPDATE meta SET value = value + 1 WHERE name = 'probes'", ())?;
        }
        if writes {
            gate().map_err(Failure::Gate)?;
        }
        transaction.commit()?;
        self.has_erased |= ops.iter().any(erases);
        if self.has_erased && ops.iter().any(wants_erased) {
            self.empty_log();
        }
        Ok(replies)
    }

    /// Moves the whole log into the database and empties it: what was erased may stand in it as it was. Fails while somebody
    /// reads; then the next time.
    fn empty_log(&mut self) {
        let busy = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get::<_, bool>(0));
        match busy {
            Ok(busy) => self.has_erased = busy,
            Err(why) => {
                tracing::warn!(path = %self.path.display(), error = %why, "the log could not be moved into the database");
            }
        }
    }
}

fn erases(op: &StoreOp) -> bool {
    matches!(
        op,
        StoreOp::CloseSession { keep_text: false, .. } | StoreOp::EraseSession(_) | StoreOp::ExpireSessions(_)
    )
}

/// Whose reply promises that nothing erased is in any file.
fn wants_erased(op: &StoreOp) -> bool {
    matches!(op, StoreOp::EraseSession(_) | StoreOp::ExpireSessions(_))
}

impl Backend for Sqlite {
    fn transact(&mut self, ops: &[StoreOp], gate: &mut Gate<'_>) -> Result<Vec<StoreReply>, StoreError> {
        self.try_transact(ops, gate).map_err(|failure| failure.told(&self.path))
    }

    /// Moves the whole log into the database: an empty log is the mark of a clean end.
    fn close(&mut self) {
        self.empty_log();
    }
}

/// Why a transaction came to nothing.
enum Failure {
    Engine(rusqlite::Error),
    Gate(StoreError),
}

impl From<rusqlite::Error> for Failure {
    fn from(why: rusqlite::Error) -> Failure {
        Failure::Engine(why)
    }
}

impl Failure {
    /// The engine's own words go to the log only at debug level: a broken disk would repeat them with each message.
    fn told(self, path: &Path) -> StoreError {
        match self {
            Failure::Gate(why) => why,
            Failure::Engine(why) => {
                tracing::debug!(path = %path.display(), error = %why, "transaction failed");
                kind_of(&why)
            }
        }
    }
}

/// An operation that fails is answered so, unless the engine gave up the whole transaction with it (a full or failing disk).
fn apply_alone(connection: &Connection, op: &StoreOp) -> rusqlite::Result<StoreReply> {
    match apply(connection, op) {
        Err(why) if connection.is_autocommit() => Err(why),
        Err(why) => {
            tracing::debug!(error = %why, "operation failed");
            Ok(StoreReply::Failed(kind_of(&why)))
        }
        done => done,
    }
}

fn apply(connection: &Connection, op: &StoreOp) -> rusqlite::Result<StoreReply> {
    match op {
        StoreOp::PutBinding(binding) => binding::put(connection, binding),
        StoreOp::DeleteBinding { aor, key } => binding::delete(connection, aor, key),
        StoreOp::LoadBindings => binding::load(connection),
        StoreOp::AppendMessage(message) => message::append(connection, message),
        StoreOp::LoadMessages {
            to,
            device,
            after,
            limit,
        } => message::load(connection, to, device, *after, *limit),
        StoreOp::DeleteMessage(id) => message::delete(connection, *id),
        StoreOp::TakeMessage { id, device, has_it } => message::take(connection, *id, device, *has_it),
        StoreOp::PutDevice(known) => device::put(connection, known),
        StoreOp::ForgetDevice { aor, key } => device::forget(connection, aor, key),
        StoreOp::LoadDevices => device::load(connection),
        StoreOp::PutReceipt(one) => receipt::put(connection, one),
        StoreOp::DeleteReceipt(id) => receipt::delete(connection, *id),
        StoreOp::LoadReceipts => receipt::load(connection),
        StoreOp::DropMessages { to, id, except } => message::drop_of(connection, to, *id, except),
        StoreOp::ForgetTexts { to, call_id, until } => message::forget_texts(connection, to, call_id, *until),
        StoreOp::ExpireMessages(now) => message::expire(connection, *now),
        StoreOp::CountMessages => message::count(connection),
        StoreOp::PutCdr(cdr) => cdr::put(connection, cdr),
        StoreOp::OpenCdr(cdr) => cdr::open(connection, cdr),
        StoreOp::LeaveCdr(_) => Ok(StoreReply::Done),
        StoreOp::CloseOpenCdrs(now) => cdr::close_all(connection, *now),
        StoreOp::EndCdr { leg, at, by } => cdr::end(connection, *leg, *at, *by),
        StoreOp::GiveUpCdrs { answered_until, at } => cdr::give_up(connection, *answered_until, *at),
        StoreOp::PutRecording(row) => recording::put(connection, row),
        StoreOp::PutUserSettings(settings) => kept::put_settings(connection, settings),
        StoreOp::LoadUserSettings => kept::load_settings(connection),
        StoreOp::PutSubscription(one) => kept::put(connection, one),
        StoreOp::DeleteSubscription(tag) => kept::delete(connection, *tag),
        StoreOp::LoadSubscriptions => kept::load(connection),
        StoreOp::ExpireCdrs(until) => cdr::expire(connection, *until),
        StoreOp::PutSession(kept) => session::put(connection, kept),
        StoreOp::PutSessionMessage(message) => session::erasing(connection, |c| session::put_message(c, message)),
        StoreOp::LoadSessions => session::load(connection),
        StoreOp::CloseSession { kept, keep_text } => {
            session::erasing(connection, |c| session::close(c, kept, *keep_text))
        }
        StoreOp::EraseSession(id) => session::erasing(connection, |c| session::erase(c, *id)),
        StoreOp::ExpireSessions(until) => session::erasing(connection, |c| session::expire(c, *until)),
    }
}

/// Statements that take effect together, or not at all.
fn whole<T>(connection: &Connection, work: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    connection.execute_batch("SAVEPOINT whole")?;
    let result = work();
    // A full or failing disk may have ended the whole transaction, and the savepoint with it.
    if !connection.is_autocommit() {
        let end = if result.is_ok() {
            "RELEASE whole"
        } else {
            "ROLLBACK TO whole; RELEASE whole"
        };
        connection.execute_batch(end)?;
    }
    result
}

/// A connection beside the writer's.
pub(crate) struct SqliteReader(Connection);

impl SqliteReader {
    pub(crate) fn open(path: &Path) -> Result<SqliteReader, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            Ok(connection)
        };
        let connection = open().map_err(|why| database_error(path, kind_of(&why), why.to_string()))?;
        Ok(SqliteReader(connection))
    }
}

impl Read for SqliteReader {
    fn cdrs(&mut self, limit: u32, before: Option<u64>) -> Result<Vec<CdrRow>, StoreError> {
        cdr::list(&self.0, limit, before).map_err(|why| kind_of(&why))
    }

    fn cdrs_of(&mut self, call: InteractionId) -> Result<Vec<CdrRow>, StoreError> {
        cdr::of_call(&self.0, call).map_err(|why| kind_of(&why))
    }

    fn find_cdrs(&mut self, query: &CdrQuery, limit: u32) -> Result<Vec<CdrRow>, StoreError> {
        cdr::find(&self.0, query, limit).map_err(|why| kind_of(&why))
    }

    fn cdrs_after(&mut self, seq: u64, limit: u32) -> Result<Vec<CdrRow>, StoreError> {
        cdr::after(&self.0, seq, limit).map_err(|why| kind_of(&why))
    }

    fn recordings(&mut self, limit: u32) -> Result<Vec<RecordingRow>, StoreError> {
        recording::list(&self.0, limit).map_err(|why| kind_of(&why))
    }

    fn recordings_of(&mut self, call: InteractionId) -> Result<Vec<RecordingRow>, StoreError> {
        recording::of_call(&self.0, call).map_err(|why| kind_of(&why))
    }

    fn transcripts(&mut self, query: &TranscriptQuery, limit: u32) -> Result<Vec<TranscriptRow>, StoreError> {
        session::find(&self.0, query, limit).map_err(|why| kind_of(&why))
    }

    fn transcript(&mut self, id: SessionId) -> Result<Option<ImTranscript>, StoreError> {
        session::show(&self.0, id).map_err(|why| kind_of(&why))
    }

    fn waiting_of(&mut self, to: &Aor, after: MessageId, limit: u32) -> Result<Vec<WaitingMessage>, StoreError> {
        message::waiting_of(&self.0, to, after, limit).map_err(|why| kind_of(&why))
    }

    fn waiting_by_user(&mut self) -> Result<Vec<(Aor, u64)>, StoreError> {
        message::waiting_by_user(&self.0).map_err(|why| kind_of(&why))
    }

    fn messages_waiting(&mut self) -> Result<u64, StoreError> {
        message::waiting(&self.0).map_err(|why| kind_of(&why))
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_MAX_BYTES)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // What is deleted is overwritten where that costs no writing of its own; see `session::erasing` for the rest.
    connection.pragma_update_and_check(None, "secure_delete", "FAST", |_| Ok(()))?;
    Ok(connection)
}

fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    match connection.query_row("PRAGMA quick_check(1)", (), |row| row.get::<_, String>(0)) {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(verdict) => Err(database_error(path, StoreError::Corrupt, verdict)),
        Err(why) => Err(database_error(path, kind_of(&why), why.to_string())),
    }
}

fn database_error(path: &Path, kind: StoreError, detail: String) -> OpenError {
    OpenError::Database {
        path: path.to_owned(),
        kind,
        detail,
    }
}

#[cfg(test)]
mod tests;
