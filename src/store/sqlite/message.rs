//! Messages that wait for their reader.

use clock::Wall;
use model::{Aor, MessageId, StoreOp, StoreReply, StoredMessage};
use rusqlite::{Connection, Error, Result, Row, params};

/// A message that is known is left as it is; an id that another one has is refused by the primary key.
const APPEND: &str = "INSERT INTO message
    (id, recipient, sender, sender_display, call_id, cseq, content_type, body, accepted_at, expires_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    ON CONFLICT (recipient, sender, call_id, cseq) DO NOTHING";

const LOAD: &str = "SELECT
    id, recipient, sender, sender_display, call_id, cseq, content_type, body, accepted_at, expires_at
    FROM message WHERE recipient = ?1 AND id > ?2 AND delivered = 0 ORDER BY id LIMIT ?3";

const DELETE: &str = "UPDATE message SET delivered = 1, body = x'' WHERE id = ?1 AND delivered = 0";

const FORGET_DELIVERED: &str = "DELETE FROM message WHERE id IN
    (SELECT id FROM message WHERE delivered = 1 AND accepted_at <= ?1 ORDER BY accepted_at LIMIT ?2)";

/// Most delivered messages forgotten at once, so that the writer is not held up for more than some tenths of a second.
const FORGOTTEN_AT_ONCE: i64 = 65_536;

const EXPIRE: &str = "DELETE FROM message WHERE id IN
    (SELECT id FROM message WHERE delivered = 0 AND expires_at <= ?1 ORDER BY expires_at, id LIMIT ?2)
    RETURNING id, recipient";

const COUNT: &str = "SELECT recipient, count(*) FROM message WHERE delivered = 0 GROUP BY recipient ORDER BY recipient";

const LAST_ID: &str = "SELECT value FROM meta WHERE name = 'last_message_id'";

const WAITING: &str = "SELECT count(*) FROM message WHERE delivered = 0";

pub(super) fn append(connection: &Connection, m: &StoredMessage) -> Result<StoreReply> {
    let id = i64::try_from(m.id.0).map_err(|why| Error::ToSqlConversionFailure(Box::new(why)))?;
    connection.prepare_cached(APPEND)?.execute(params![
        id,
        m.to.as_str(),
        m.from.as_str(),
        m.from_display,
        m.call_id,
        m.cseq,
        m.content_type,
        m.body,
        m.accepted_at.0,
        m.expires_at.0,
    ])?;
    Ok(StoreReply::Done)
}

pub(super) fn load(connection: &Connection, to: &Aor, after: MessageId, limit: u32) -> Result<StoreReply> {
    let mut statement = connection.prepare_cached(LOAD)?;
    let after = i64::try_from(after.0).unwrap_or(i64::MAX);
    let rows = statement.query_map((to.as_str(), after, limit), message)?;
    rows.collect::<Result<_>>().map(StoreReply::Messages)
}

pub(super) fn delete(connection: &Connection, id: MessageId) -> Result<StoreReply> {
    connection.prepare_cached(DELETE)?.execute((id.0.cast_signed(),))?;
    Ok(StoreReply::Done)
}

pub(super) fn expire(connection: &Connection, now: Wall) -> Result<StoreReply> {
    connection
        .prepare_cached(FORGET_DELIVERED)?
        .execute(((now - StoreOp::RETRY_WINDOW).0, FORGOTTEN_AT_ONCE))?;
    let mut statement = connection.prepare_cached(EXPIRE)?;
    let rows = statement.query_map((now.0, StoreOp::EXPIRED_AT_ONCE as i64), |row| {
        Ok((id(row)?, aor(row, 1)?))
    })?;
    let mut gone = rows.collect::<Result<Vec<_>>>()?;
    gone.sort_unstable();
    Ok(StoreReply::Expired(gone))
}

pub(super) fn count(connection: &Connection) -> Result<StoreReply> {
    let last_id = connection.prepare_cached(LAST_ID)?.query_row((), id)?;
    let per_user = waiting_by_user(connection)?;
    Ok(StoreReply::Waiting { per_user, last_id })
}

/// How many wait for whom.
pub(super) fn waiting_by_user(connection: &Connection) -> Result<Vec<(Aor, u64)>> {
    let mut statement = connection.prepare_cached(COUNT)?;
    let rows = statement.query_map((), |row| Ok((aor(row, 0)?, number(row, 1)?)))?;
    rows.collect()
}

/// How many wait for anybody.
pub(super) fn waiting(connection: &Connection) -> Result<u64> {
    connection.prepare_cached(WAITING)?.query_row((), |row| number(row, 0))
}

fn message(row: &Row<'_>) -> Result<StoredMessage> {
    Ok(StoredMessage {
        id: id(row)?,
        to: aor(row, 1)?,
        from: aor(row, 2)?,
        from_display: row.get(3)?,
        call_id: row.get(4)?,
        cseq: row.get(5)?,
        content_type: row.get(6)?,
        body: row.get(7)?,
        accepted_at: Wall(row.get(8)?),
        expires_at: Wall(row.get(9)?),
    })
}

fn id(row: &Row<'_>) -> Result<MessageId> {
    number(row, 0).map(MessageId)
}

/// A count or an id: never negative.
fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn aor(row: &Row<'_>, column: usize) -> Result<Aor> {
    Ok(Aor::from(row.get_ref(column)?.as_str()?))
}
