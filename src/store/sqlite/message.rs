//! Messages that wait for their reader, or for some of the reader's devices.

use super::whole;
use clock::Wall;
use model::{Aor, MessageId, StoreOp, StoreReply, StoredMessage, WaitingMessage};
use rusqlite::{Connection, Error, Result, Row, params};

/// A message that is known is left as it is; an id that another one has is refused by the primary key.
const APPEND: &str = "INSERT INTO message
    (id, recipient, sender, sender_display, call_id, cseq, content_type, body, accepted_at, expires_at, taken, imdn_id, wants)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
    ON CONFLICT (recipient, sender, call_id, cseq) DO NOTHING";

const KNOWN: &str =
    "SELECT id, delivered FROM message WHERE recipient = ?1 AND sender = ?2 AND call_id = ?3 AND cseq = ?4";

const OWE: &str = "INSERT OR IGNORE INTO message_copy (message, device) VALUES (?1, ?2)";

const LOAD: &str = "SELECT
    id, recipient, sender, sender_display, call_id, cseq, content_type, body, accepted_at, expires_at, taken, imdn_id, wants
    FROM message WHERE recipient = ?1 AND id > ?2 AND delivered = 0
    AND (taken = 0 OR EXISTS (SELECT 1 FROM message_copy WHERE message = message.id AND device = ?4))
    ORDER BY id LIMIT ?3";

const OWED: &str = "SELECT device FROM message_copy WHERE message = ?1 ORDER BY device";

const COPY_TAKEN: &str = "DELETE FROM message_copy WHERE message = ?1 AND device = ?2";

const TAKE: &str = "UPDATE message SET taken = 1 WHERE id = ?1 AND delivered = 0";

/// Who is still to get it: devices, and whoever comes first while nobody has it.
const LEFT: &str = "SELECT (SELECT count(*) FROM message_copy WHERE message = ?1)
    + (SELECT count(*) FROM message WHERE id = ?1 AND delivered = 0 AND taken = 0)";

const FORGET_COPIES: &str = "DELETE FROM message_copy WHERE device = ?2
    AND message IN (SELECT id FROM message WHERE recipient = ?1 AND delivered = 0)";

const COMPLETE: &str =
    "UPDATE message SET delivered = 1, body = x'' WHERE recipient = ?1 AND delivered = 0 AND taken = 1
    AND NOT EXISTS (SELECT 1 FROM message_copy WHERE message = message.id) RETURNING id, recipient";

const DELETE: &str = "UPDATE message SET delivered = 1, body = x'' WHERE id = ?1 AND delivered = 0";

const FORGET_DELIVERED: &str = "DELETE FROM message WHERE id IN
    (SELECT id FROM message WHERE delivered = 1 AND accepted_at <= ?1 ORDER BY accepted_at LIMIT ?2)";

/// Most delivered messages forgotten at once, so that the writer is not held up for more than some tenths of a second.
const FORGOTTEN_AT_ONCE: i64 = 65_536;

const FIND_DROPPED: &str = "SELECT id FROM message WHERE recipient = ?1 AND delivered = 0 AND (?2 IS NULL OR id = ?2)
    ORDER BY id LIMIT ?3";

const FIND_TEXTS: &str = "SELECT id FROM message WHERE recipient = ?1 AND delivered = 0 AND call_id = ?2 AND cseq <= ?3
    ORDER BY id LIMIT ?4";

const WAITING_OF: &str = "SELECT id, sender, accepted_at, expires_at, content_type, length(body), taken
    FROM message WHERE recipient = ?1 AND delivered = 0 AND id > ?2 ORDER BY id LIMIT ?3";

const EXPIRE: &str = "DELETE FROM message WHERE id IN
    (SELECT id FROM message WHERE delivered = 0 AND expires_at <= ?1 ORDER BY expires_at, id LIMIT ?2)
    RETURNING id, recipient";

const COUNT: &str = "SELECT recipient, count(*) FROM message WHERE delivered = 0 GROUP BY recipient ORDER BY recipient";

const LAST_ID: &str = "SELECT value FROM meta WHERE name = 'last_message_id'";

const WAITING: &str = "SELECT count(*) FROM message WHERE delivered = 0";

/// One statement, unless devices are to get copies of their own: then all, or none.
pub(super) fn append(connection: &Connection, m: &StoredMessage) -> Result<StoreReply> {
    if m.owed.is_empty() {
        return match insert(connection, m)? {
            0 => known(connection, m),
            _ => Ok(StoreReply::Done),
        };
    }
    whole(connection, || {
        if insert(connection, m)? == 0 {
            return known(connection, m);
        }
        let mut owe = connection.prepare_cached(OWE)?;
        for device in &m.owed {
            owe.execute((m.id.0.cast_signed(), device))?;
        }
        Ok(StoreReply::Done)
    })
}

/// What became of the one that came before.
fn known(connection: &Connection, m: &StoredMessage) -> Result<StoreReply> {
    let values = params![m.to.as_str(), m.from.as_str(), m.call_id, m.cseq];
    let mut statement = connection.prepare_cached(KNOWN)?;
    let (id, is_delivered) = statement.query_row(values, |row| Ok((id(row)?, row.get::<_, bool>(1)?)))?;
    Ok(StoreReply::Known((!is_delivered).then_some(id)))
}

/// How many rows: none if it is known already.
fn insert(connection: &Connection, m: &StoredMessage) -> Result<usize> {
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
        m.is_taken,
        m.imdn_id,
        m.wants,
    ])
}

pub(super) fn load(
    connection: &Connection,
    to: &Aor,
    device: &str,
    after: MessageId,
    limit: u32,
) -> Result<StoreReply> {
    let mut statement = connection.prepare_cached(LOAD)?;
    let after = i64::try_from(after.0).unwrap_or(i64::MAX);
    let rows = statement.query_map((to.as_str(), after, limit, device), message)?;
    let mut messages: Vec<StoredMessage> = rows.collect::<Result<_>>()?;
    let mut owed = connection.prepare_cached(OWED)?;
    // Without a device of its own nobody has a copy of his own.
    for message in messages.iter_mut().filter(|_| !device.is_empty()) {
        let devices = owed.query_map((message.id.0.cast_signed(),), |row| row.get(0))?;
        message.owed = devices.collect::<Result<_>>()?;
    }
    Ok(StoreReply::Messages(messages))
}

/// A device took it, or will not. All statements, or none.
pub(super) fn take(connection: &Connection, id: MessageId, device: &str, has_it: bool) -> Result<StoreReply> {
    whole(connection, || {
        let number = id.0.cast_signed();
        connection.prepare_cached(COPY_TAKEN)?.execute((number, device))?;
        if has_it {
            connection.prepare_cached(TAKE)?.execute((number,))?;
        }
        let left: u32 = connection
            .prepare_cached(LEFT)?
            .query_row((number,), |row| row.get(0))?;
        if left == 0 {
            delete(connection, id)?;
        }
        Ok(StoreReply::Left(left))
    })
}

/// A device will not come back: what it was owed it gets no more.
pub(super) fn forget_copies(connection: &Connection, aor: &Aor, device: &str) -> Result<StoreReply> {
    connection
        .prepare_cached(FORGET_COPIES)?
        .execute((aor.as_str(), device))?;
    let mut statement = connection.prepare_cached(COMPLETE)?;
    let rows = statement.query_map((aor.as_str(),), |row| Ok((id(row)?, self::aor(row, 1)?)))?;
    let mut gone = rows.collect::<Result<Vec<_>>>()?;
    gone.sort_unstable();
    Ok(StoreReply::Expired(gone))
}

pub(super) fn delete(connection: &Connection, id: MessageId) -> Result<StoreReply> {
    connection.prepare_cached(DELETE)?.execute((id.0.cast_signed(),))?;
    Ok(StoreReply::Done)
}

/// Of all statements as many as there are messages, or none.
pub(super) fn drop_of(
    connection: &Connection,
    to: &Aor,
    only: Option<MessageId>,
    except: &[MessageId],
) -> Result<StoreReply> {
    whole(connection, || {
        let limit = (StoreOp::EXPIRED_AT_ONCE + except.len()) as i64;
        let mut find = connection.prepare_cached(FIND_DROPPED)?;
        let rows = find.query_map((to.as_str(), only.map(|id| id.0.cast_signed()), limit), id)?;
        let mut gone = rows.collect::<Result<Vec<_>>>()?;
        gone.retain(|id| !except.contains(id));
        gone.truncate(StoreOp::EXPIRED_AT_ONCE);
        for id in &gone {
            delete(connection, *id)?;
        }
        Ok(StoreReply::Expired(
            gone.into_iter().map(|id| (id, to.clone())).collect(),
        ))
    })
}

/// The same of one conversation.
pub(super) fn forget_texts(connection: &Connection, to: &Aor, call_id: &str, until: u32) -> Result<StoreReply> {
    whole(connection, || {
        let mut find = connection.prepare_cached(FIND_TEXTS)?;
        let values = (to.as_str(), call_id, until, StoreOp::EXPIRED_AT_ONCE as i64);
        let gone = find.query_map(values, id)?.collect::<Result<Vec<_>>>()?;
        for id in &gone {
            delete(connection, *id)?;
        }
        Ok(StoreReply::Expired(
            gone.into_iter().map(|id| (id, to.clone())).collect(),
        ))
    })
}

/// What waits for somebody, without the text.
pub(super) fn waiting_of(
    connection: &Connection,
    to: &Aor,
    after: MessageId,
    limit: u32,
) -> Result<Vec<WaitingMessage>> {
    let mut statement = connection.prepare_cached(WAITING_OF)?;
    let after = i64::try_from(after.0).unwrap_or(i64::MAX);
    let rows = statement.query_map((to.as_str(), after, limit), |row| {
        Ok(WaitingMessage {
            id: id(row)?,
            from: aor(row, 1)?,
            accepted_at: Wall(row.get(2)?),
            expires_at: Wall(row.get(3)?),
            content_type: row.get(4)?,
            bytes: number(row, 5)?,
            is_taken: row.get(6)?,
            owed: Vec::new(),
        })
    })?;
    let mut waiting = rows.collect::<Result<Vec<_>>>()?;
    let mut owed = connection.prepare_cached(OWED)?;
    for message in &mut waiting {
        let devices = owed.query_map((message.id.0.cast_signed(),), |row| row.get(0))?;
        message.owed = devices.collect::<Result<_>>()?;
    }
    Ok(waiting)
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
        is_taken: row.get(10)?,
        owed: Vec::new(),
        imdn_id: row.get(11)?,
        wants: row.get(12)?,
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
