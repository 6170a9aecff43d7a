//! Call records.

use super::names::Named;
use crate::{CdrQuery, CdrRow};
use clock::Wall;
use model::{
    Aor, Cdr, CdrLink, Direction, EndReason, EndedBy, InteractionId, LegId, Purpose, Quality, StoreOp, StoreReply,
};
use rusqlite::{Connection, Result, Row, params};

const PUT: &str = "INSERT INTO cdr
    (leg, interaction, direction, user, caller, callee, call_id, started_at, ringing_at, answered_at, ended_at, ended_by,
     reason, status, codec, packets_in, packets_out, packets_lost, jitter_ms, remote_lost, remote_jitter_ms, round_trip_ms,
     mos_hundredths, link, link_how, transferred_to)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24,
     ?25, ?26)
    ON CONFLICT (leg) DO NOTHING";

const OPEN: &str = "INSERT OR REPLACE INTO open_cdr
    (leg, interaction, direction, user, caller, callee, call_id, started_at, ringing_at, answered_at, ended_by, reason, status,
     codec, link, link_how, transferred_to)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)";

/// In the order in which they were answered. Each takes itself away, but for those that have a record already.
const CLOSE: &str = "INSERT INTO cdr
    (leg, interaction, direction, user, caller, callee, call_id, started_at, ringing_at, answered_at, ended_at, ended_by,
     reason, status, codec, packets_in, packets_out, packets_lost, link, link_how, transferred_to)
    SELECT leg, interaction, direction, user, caller, callee, call_id, started_at, ringing_at, answered_at, ?1, ended_by,
     reason, status, codec, 0, 0, 0, link, link_how, transferred_to FROM open_cdr WHERE reason = ?2 ORDER BY answered_at, leg
    ON CONFLICT (leg) DO NOTHING";

/// A leg of a call that was passed on; its record is there already if it ended before.
const END: &str = "INSERT INTO cdr
    (leg, interaction, direction, user, caller, callee, call_id, started_at, ringing_at, answered_at, ended_at, ended_by,
     reason, status, codec, packets_in, packets_out, packets_lost, link, link_how, transferred_to)
    SELECT leg, interaction, direction, user, caller, callee, call_id, started_at, ringing_at, answered_at, ?2, ?3,
     ?4, status, codec, 0, 0, 0, link, link_how, transferred_to FROM open_cdr WHERE leg = ?1
    ON CONFLICT (leg) DO NOTHING";

const GIVE_UP: &str = "INSERT INTO cdr
    (leg, interaction, direction, user, caller, callee, call_id, started_at, ringing_at, answered_at, ended_at, ended_by,
     reason, status, codec, packets_in, packets_out, packets_lost, link, link_how, transferred_to)
    SELECT leg, interaction, direction, user, caller, callee, call_id, started_at, ringing_at, answered_at, ?2, ended_by,
     reason, status, codec, 0, 0, 0, link, link_how, transferred_to FROM open_cdr WHERE answered_at <= ?1 AND reason <> ?3
     ORDER BY answered_at, leg LIMIT ?4
    ON CONFLICT (leg) DO NOTHING";

/// Records are numbered in the order in which legs ended, so the oldest are looked at and no index is needed. The last one
/// stays, whatever its age: the next number is counted from it, and who exports records goes on by number.
const EXPIRE: &str = "DELETE FROM cdr WHERE seq IN (SELECT seq FROM cdr ORDER BY seq LIMIT ?1) AND ended_at <= ?2
    AND seq < (SELECT max(seq) FROM cdr)";

/// The columns in the order in which [`row`] reads them, before the condition.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT leg, interaction, direction, user, caller, callee, call_id, started_at, ringing_at, answered_at,
            ended_at, ended_by, reason, status, codec, packets_in, packets_out, packets_lost, seq, jitter_ms,
            remote_lost, remote_jitter_ms, round_trip_ms, mos_hundredths, link, link_how,
            transferred_to FROM cdr ",
            $rest
        )
    };
}

const LIST: &str = select!("WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2");

const OF_CALL: &str = select!("WHERE interaction = ?1 ORDER BY seq LIMIT 1000");

/// The index leads by number; a filter is looked at row by row, so the time a query takes grows with how far back it goes.
const FIND: &str = select!(
    "WHERE seq < ?1 AND (?3 IS NULL OR interaction = ?3) AND (?4 IS NULL OR user = ?4)
     AND (?5 IS NULL OR ended_at >= ?5) AND (?6 IS NULL OR ended_at < ?6) ORDER BY seq DESC LIMIT ?2"
);

const AFTER: &str = select!("WHERE seq > ?1 ORDER BY seq LIMIT ?2");

pub(super) fn open(connection: &Connection, c: &Cdr) -> Result<StoreReply> {
    connection.prepare_cached(OPEN)?.execute(params![
        c.leg.0.cast_signed(),
        c.interaction.0.cast_signed(),
        c.direction.name(),
        c.user.as_ref().map(Aor::as_str),
        c.caller,
        c.callee,
        c.call_id,
        c.started_at.0,
        c.ringing_at.map(|at| at.0),
        c.answered_at.map(|at| at.0),
        c.ended_by.name(),
        c.reason.name(),
        c.status,
        c.codec,
        c.link.map(|link| link.interaction.0.cast_signed()),
        c.link.map(|link| link.how.name()),
        c.transferred_to,
    ])?;
    Ok(StoreReply::Done)
}

pub(super) fn close_all(connection: &Connection, now: Wall) -> Result<StoreReply> {
    let restart = EndReason::Restart.name();
    connection.execute(CLOSE, params![now.0, restart])?;
    connection.execute("DELETE FROM open_cdr WHERE reason = ?1", (restart,))?;
    Ok(StoreReply::Done)
}

/// A leg of a call that was passed on has ended.
pub(super) fn end(connection: &Connection, leg: LegId, at: Wall, by: EndedBy) -> Result<StoreReply> {
    connection
        .prepare_cached(END)?
        .execute(params![leg.0.cast_signed(), at.0, by.name(), EndReason::Normal.name()])?;
    Ok(StoreReply::Done)
}

/// Nobody will say any more when these calls ended.
pub(super) fn give_up(connection: &Connection, answered_until: Wall, at: Wall) -> Result<StoreReply> {
    connection.prepare_cached(GIVE_UP)?.execute(params![
        answered_until.0,
        at.0,
        EndReason::Restart.name(),
        StoreOp::CDRS_AT_ONCE
    ])?;
    Ok(StoreReply::Done)
}

pub(super) fn put(connection: &Connection, c: &Cdr) -> Result<StoreReply> {
    connection.prepare_cached(PUT)?.execute(params![
        c.leg.0.cast_signed(),
        c.interaction.0.cast_signed(),
        c.direction.name(),
        c.user.as_ref().map(Aor::as_str),
        c.caller,
        c.callee,
        c.call_id,
        c.started_at.0,
        c.ringing_at.map(|at| at.0),
        c.answered_at.map(|at| at.0),
        c.ended_at.0,
        c.ended_by.name(),
        c.reason.name(),
        c.status,
        c.codec,
        c.packets.0.cast_signed(),
        c.packets.1.cast_signed(),
        c.packets.2.cast_signed(),
        c.quality.jitter_ms,
        c.quality.remote_lost.cast_signed(),
        c.quality.remote_jitter_ms,
        c.quality.round_trip_ms,
        c.quality.mos_hundredths,
        c.link.map(|link| link.interaction.0.cast_signed()),
        c.link.map(|link| link.how.name()),
        c.transferred_to,
    ])?;
    Ok(StoreReply::Done)
}

/// Forgets the oldest records if they are too old.
pub(super) fn expire(connection: &Connection, until: Wall) -> Result<StoreReply> {
    connection
        .prepare_cached(EXPIRE)?
        .execute((StoreOp::CDRS_AT_ONCE, until.0))?;
    super::recording::expire(connection, until)?;
    Ok(StoreReply::Done)
}

/// The latest `limit` before the one numbered `before`, the latest first.
pub(super) fn list(connection: &Connection, limit: u32, before: Option<u64>) -> Result<Vec<CdrRow>> {
    let before = before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(LIST)?;
    let rows = statement.query_map((before, limit), row)?;
    rows.collect()
}

/// The legs of one call, in the order in which they were kept.
pub(super) fn of_call(connection: &Connection, call: InteractionId) -> Result<Vec<CdrRow>> {
    let mut statement = connection.prepare_cached(OF_CALL)?;
    let rows = statement.query_map((call.0.cast_signed(),), row)?;
    rows.collect()
}

/// The latest `limit` that the query is for, the latest first.
pub(super) fn find(connection: &Connection, query: &CdrQuery, limit: u32) -> Result<Vec<CdrRow>> {
    let before = query.before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(FIND)?;
    let values = params![
        before,
        limit,
        query.call.map(|call| call.0.cast_signed()),
        query.user.as_ref().map(Aor::as_str),
        query.since.map(|at| at.0),
        query.until.map(|at| at.0),
    ];
    let rows = statement.query_map(values, row)?;
    rows.collect()
}

/// The first `limit` after the one numbered `seq`.
pub(super) fn after(connection: &Connection, seq: u64, limit: u32) -> Result<Vec<CdrRow>> {
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(AFTER)?;
    let rows = statement.query_map((seq, limit), row)?;
    rows.collect()
}

fn row(row: &Row<'_>) -> Result<CdrRow> {
    Ok(CdrRow {
        seq: unsigned(row, 18)?,
        cdr: cdr(row)?,
    })
}

fn cdr(row: &Row<'_>) -> Result<Cdr> {
    Ok(Cdr {
        leg: LegId(unsigned(row, 0)?),
        interaction: InteractionId(unsigned(row, 1)?),
        direction: named::<Direction>(row, 2)?,
        user: row.get_ref(3)?.as_str_or_null()?.map(Aor::from),
        caller: row.get(4)?,
        callee: row.get(5)?,
        call_id: row.get(6)?,
        started_at: Wall(row.get(7)?),
        ringing_at: row.get::<_, Option<i64>>(8)?.map(Wall),
        answered_at: row.get::<_, Option<i64>>(9)?.map(Wall),
        ended_at: Wall(row.get(10)?),
        ended_by: named::<EndedBy>(row, 11)?,
        reason: named::<EndReason>(row, 12)?,
        status: row.get(13)?,
        codec: row.get(14)?,
        packets: (unsigned(row, 15)?, unsigned(row, 16)?, unsigned(row, 17)?),
        quality: Quality {
            jitter_ms: row.get(19)?,
            remote_lost: unsigned(row, 20)?,
            remote_jitter_ms: row.get(21)?,
            round_trip_ms: row.get(22)?,
            mos_hundredths: row.get(23)?,
        },
        link: link(row)?,
        transferred_to: row.get(26)?,
    })
}

fn link(row: &Row<'_>) -> Result<Option<CdrLink>> {
    match row.get::<_, Option<i64>>(24)? {
        Some(interaction) => Ok(Some(CdrLink {
            interaction: InteractionId(interaction.cast_unsigned()),
            how: named::<Purpose>(row, 25)?,
        })),
        None => Ok(None),
    }
}

fn unsigned(row: &Row<'_>, column: usize) -> Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn named<T: Named>(row: &Row<'_>, column: usize) -> Result<T> {
    Ok(T::from_name(row.get_ref(column)?.as_str()?)?)
}
