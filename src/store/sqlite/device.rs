//! Devices that are known.

use super::{message, whole};
use clock::Wall;
use model::{Aor, KnownDevice, StoreReply};
use rusqlite::{Connection, Result};

const PUT: &str = "INSERT OR REPLACE INTO device (aor, key, seen_at, takes) VALUES (?1, ?2, ?3, ?4)";

const DELETE: &str = "DELETE FROM device WHERE aor = ?1 AND key = ?2";

const LOAD: &str = "SELECT aor, key, seen_at, takes FROM device ORDER BY aor, key";

pub(super) fn put(connection: &Connection, d: &KnownDevice) -> Result<StoreReply> {
    connection
        .prepare_cached(PUT)?
        .execute((d.aor.as_str(), &d.key, d.seen_at.0, d.takes))?;
    Ok(StoreReply::Done)
}

/// With all that it was owed, or not at all.
pub(super) fn forget(connection: &Connection, aor: &Aor, key: &str) -> Result<StoreReply> {
    whole(connection, || {
        connection.prepare_cached(DELETE)?.execute((aor.as_str(), key))?;
        message::forget_copies(connection, aor, key)
    })
}

pub(super) fn load(connection: &Connection) -> Result<StoreReply> {
    let mut statement = connection.prepare_cached(LOAD)?;
    let rows = statement.query_map((), |row| {
        Ok(KnownDevice {
            aor: Aor::from(row.get_ref(0)?.as_str()?),
            key: row.get(1)?,
            seen_at: Wall(row.get(2)?),
            takes: row.get(3)?,
        })
    })?;
    rows.collect::<Result<_>>().map(StoreReply::Devices)
}
