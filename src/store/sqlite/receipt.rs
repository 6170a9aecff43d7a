//! What senders want to hear of their messages.

use clock::Wall;
use model::{Aor, MessageId, Receipt, StoreReply};
use rusqlite::{Connection, Result, params};

const PUT: &str = "INSERT OR REPLACE INTO receipt
    (id, sender, reader, imdn_id, wants, seen, told, accepted_at, expires_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

const DELETE: &str = "DELETE FROM receipt WHERE id = ?1";

const LOAD: &str =
    "SELECT id, sender, reader, imdn_id, wants, seen, told, accepted_at, expires_at FROM receipt ORDER BY id";

pub(super) fn put(connection: &Connection, r: &Receipt) -> Result<StoreReply> {
    connection.prepare_cached(PUT)?.execute(params![
        r.id.0.cast_signed(),
        r.sender.as_str(),
        r.reader.as_str(),
        r.imdn_id,
        r.wants,
        r.seen,
        r.told,
        r.accepted_at.0,
        r.expires_at.0,
    ])?;
    Ok(StoreReply::Done)
}

pub(super) fn delete(connection: &Connection, id: MessageId) -> Result<StoreReply> {
    connection.prepare_cached(DELETE)?.execute((id.0.cast_signed(),))?;
    Ok(StoreReply::Done)
}

pub(super) fn load(connection: &Connection) -> Result<StoreReply> {
    let mut statement = connection.prepare_cached(LOAD)?;
    let rows = statement.query_map((), |row| {
        Ok(Receipt {
            id: MessageId(row.get::<_, i64>(0)?.cast_unsigned()),
            sender: Aor::from(row.get_ref(1)?.as_str()?),
            reader: Aor::from(row.get_ref(2)?.as_str()?),
            imdn_id: row.get(3)?,
            wants: row.get(4)?,
            seen: row.get(5)?,
            told: row.get(6)?,
            accepted_at: Wall(row.get(7)?),
            expires_at: Wall(row.get(8)?),
        })
    })?;
    rows.collect::<Result<_>>().map(StoreReply::Receipts)
}
