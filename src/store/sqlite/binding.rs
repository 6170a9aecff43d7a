//! Bindings of addresses of record.

use super::names::Named;
use clock::Wall;
use model::{Aor, Binding, BindingKey, Endpoint, StoreReply, Transport};
use rusqlite::types::Type;
use rusqlite::{Connection, Error, Result, Row, params};
use std::net::SocketAddr;

const PUT: &str = "INSERT OR REPLACE INTO binding
    (aor, key, contact, params, q, call_id, cseq, expires_at, created_at, path, user_agent, transport, local, peer)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

const DELETE: &str = "DELETE FROM binding WHERE aor = ?1 AND key = ?2";

const LOAD: &str = "SELECT
    aor, key, contact, params, q, call_id, cseq, expires_at, created_at, path, user_agent, transport, local, peer
    FROM binding ORDER BY aor, created_at, key";

pub(super) fn put(connection: &Connection, b: &Binding) -> Result<StoreReply> {
    connection.prepare_cached(PUT)?.execute(params![
        b.aor.as_str(),
        b.key.0,
        b.contact,
        b.params,
        b.q,
        b.call_id,
        b.cseq,
        b.expires_at.0,
        b.created_at.0,
        b.path,
        b.user_agent,
        b.endpoint.transport.name(),
        b.endpoint.local.to_string(),
        b.endpoint.peer.to_string(),
    ])?;
    Ok(StoreReply::Done)
}

pub(super) fn delete(connection: &Connection, aor: &Aor, key: &BindingKey) -> Result<StoreReply> {
    connection.prepare_cached(DELETE)?.execute((aor.as_str(), &key.0))?;
    Ok(StoreReply::Done)
}

pub(super) fn load(connection: &Connection) -> Result<StoreReply> {
    let mut statement = connection.prepare_cached(LOAD)?;
    let rows = statement.query_map((), binding)?;
    rows.collect::<Result<_>>().map(StoreReply::Bindings)
}

fn binding(row: &Row<'_>) -> Result<Binding> {
    Ok(Binding {
        aor: Aor::from(row.get_ref(0)?.as_str()?),
        key: BindingKey(row.get(1)?),
        contact: row.get(2)?,
        params: row.get(3)?,
        q: row.get(4)?,
        call_id: row.get(5)?,
        cseq: row.get(6)?,
        expires_at: Wall(row.get(7)?),
        created_at: Wall(row.get(8)?),
        path: row.get(9)?,
        user_agent: row.get(10)?,
        endpoint: Endpoint {
            transport: Transport::from_name(row.get_ref(11)?.as_str()?)?,
            local: address(row, 12)?,
            peer: address(row, 13)?,
        },
    })
}

pub(super) fn address(row: &Row<'_>, column: usize) -> Result<SocketAddr> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse()
        .map_err(|why| Error::FromSqlConversionFailure(column, Type::Text, Box::new(why)))
}
