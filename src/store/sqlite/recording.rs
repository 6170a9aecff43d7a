//! What was recorded, and which files hold it.

use clock::Wall;
use model::{InteractionId, RecordingRow, StoreOp, StoreReply};
use rusqlite::{Connection, Result, Row, params};

const PUT: &str = "INSERT OR REPLACE INTO recording
    (name, interaction, started_at, ended_at, length_ms, missing_ms, bytes, error)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

const EXPIRE: &str = "DELETE FROM recording WHERE name IN
    (SELECT name FROM recording WHERE started_at <= ?2 ORDER BY started_at LIMIT ?1)";

/// The columns in the order in which [`row`] reads them, before the condition.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT name, interaction, started_at, ended_at, length_ms, missing_ms, bytes, error FROM recording ",
            $rest
        )
    };
}

const LIST: &str = select!("ORDER BY started_at DESC, name LIMIT ?1");

const OF_CALL: &str = select!("WHERE interaction = ?1 ORDER BY started_at, name LIMIT 1000");

pub(super) fn put(connection: &Connection, r: &RecordingRow) -> Result<StoreReply> {
    connection.prepare_cached(PUT)?.execute(params![
        r.name,
        r.interaction.0.cast_signed(),
        r.started_at.0,
        r.ended_at.map(|at| at.0),
        r.length_ms.cast_signed(),
        r.missing_ms.cast_signed(),
        r.bytes.cast_signed(),
        r.error,
    ])?;
    Ok(StoreReply::Done)
}

/// Forgets the oldest rows if they are too old.
pub(super) fn expire(connection: &Connection, until: Wall) -> Result<()> {
    let mut statement = connection.prepare_cached(EXPIRE)?;
    statement.execute((StoreOp::CDRS_AT_ONCE, until.0)).map(drop)
}

/// The latest, the latest first.
pub(super) fn list(connection: &Connection, limit: u32) -> Result<Vec<RecordingRow>> {
    connection.prepare_cached(LIST)?.query_map((limit,), row)?.collect()
}

/// Those of one call, the first first.
pub(super) fn of_call(connection: &Connection, call: InteractionId) -> Result<Vec<RecordingRow>> {
    let mut statement = connection.prepare_cached(OF_CALL)?;
    let rows = statement.query_map((call.0.cast_signed(),), row)?;
    rows.collect()
}

fn row(row: &Row<'_>) -> Result<RecordingRow> {
    let unsigned = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    Ok(RecordingRow {
        name: row.get(0)?,
        interaction: InteractionId(unsigned(1)?),
        started_at: Wall(row.get(2)?),
        ended_at: row.get::<_, Option<i64>>(3)?.map(Wall),
        length_ms: unsigned(4)?,
        missing_ms: unsigned(5)?,
        bytes: unsigned(6)?,
        error: row.get(7)?,
    })
}
