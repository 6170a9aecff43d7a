//! What users set, and subscriptions.

use super::binding::address;
use super::names::Named;
use clock::Wall;
use model::{Aor, Endpoint, KeptSubscription, Said, StoreReply, Transport, UserSettings, Willing};
use rusqlite::{Connection, Result, Row, params};

const PUT_SETTINGS: &str = "INSERT OR REPLACE INTO user_setting
    (aor, do_not_disturb, call_waiting, forward_always, forward_busy, forward_no_answer,
     voice_state, voice_reason, voice_since, im_state, im_reason, im_since)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

const LOAD_SETTINGS: &str = "SELECT
    aor, do_not_disturb, call_waiting, forward_always, forward_busy, forward_no_answer,
    voice_state, voice_reason, voice_since, im_state, im_reason, im_since
    FROM user_setting ORDER BY aor";

const PUT: &str = "INSERT OR REPLACE INTO subscription
    (tag, aor, event, resource, contact, call_id, remote_tag, our_side, their_side, routes, target, our_cseq, their_cseq,
     secure, transport, local, peer, version, kept_at, expires_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";

const DELETE: &str = "DELETE FROM subscription WHERE tag = ?1";

const LOAD: &str = "SELECT
    tag, aor, event, resource, contact, call_id, remote_tag, our_side, their_side, routes, target, our_cseq, their_cseq,
    secure, transport, local, peer, version, kept_at, expires_at
    FROM subscription ORDER BY tag";

pub(super) fn put_settings(connection: &Connection, s: &UserSettings) -> Result<StoreReply> {
    connection.prepare_cached(PUT_SETTINGS)?.execute(params![
        s.aor.as_str(),
        s.do_not_disturb,
        s.call_waiting,
        s.forward_always,
        s.forward_busy,
        s.forward_no_answer,
        s.voice.as_ref().map(|said| said.willing.name()),
        s.voice.as_ref().map(|said| &said.reason),
        s.voice.as_ref().map(|said| said.since.0),
        s.im.as_ref().map(|said| said.willing.name()),
        s.im.as_ref().map(|said| &said.reason),
        s.im.as_ref().map(|said| said.since.0),
    ])?;
    Ok(StoreReply::Done)
}

pub(super) fn load_settings(connection: &Connection) -> Result<StoreReply> {
    let mut statement = connection.prepare_cached(LOAD_SETTINGS)?;
    let rows = statement.query_map((), |row| {
        Ok(UserSettings {
            aor: Aor::from(row.get_ref(0)?.as_str()?),
            do_not_disturb: row.get(1)?,
            call_waiting: row.get(2)?,
            forward_always: row.get(3)?,
            forward_busy: row.get(4)?,
            forward_no_answer: row.get(5)?,
            voice: said(row, 6)?,
            im: said(row, 9)?,
        })
    })?;
    rows.collect::<Result<_>>().map(StoreReply::UserSettings)
}

/// Three columns: all of them are there, or none.
fn said(row: &Row<'_>, at: usize) -> Result<Option<Said>> {
    let Some(willing) = row.get_ref(at)?.as_str_or_null()? else {
        return Ok(None);
    };
    Ok(Some(Said {
        willing: Willing::from_name(willing)?,
        reason: row.get(at + 1)?,
        since: Wall(row.get(at + 2)?),
    }))
}

pub(super) fn put(connection: &Connection, s: &KeptSubscription) -> Result<StoreReply> {
    connection.prepare_cached(PUT)?.execute(params![
        s.tag.cast_signed(),
        s.user.as_str(),
        s.event,
        s.resource,
        s.contact,
        s.call_id,
        s.remote_tag,
        s.local,
        s.remote,
        s.routes,
        s.target,
        s.local_cseq,
        s.remote_cseq,
        s.secure,
        s.endpoint.transport.name(),
        s.endpoint.local.to_string(),
        s.endpoint.peer.to_string(),
        s.version,
        s.kept_at.0,
        s.expires_at.0,
    ])?;
    Ok(StoreReply::Done)
}

pub(super) fn delete(connection: &Connection, tag: u64) -> Result<StoreReply> {
    connection.prepare_cached(DELETE)?.execute([tag.cast_signed()])?;
    Ok(StoreReply::Done)
}

pub(super) fn load(connection: &Connection) -> Result<StoreReply> {
    let mut statement = connection.prepare_cached(LOAD)?;
    let rows = statement.query_map((), subscription)?;
    let mut all: Vec<KeptSubscription> = rows.collect::<Result<_>>()?;
    all.sort_by_key(|one| one.tag);
    Ok(StoreReply::Subscriptions(all))
}

fn subscription(row: &Row<'_>) -> Result<KeptSubscription> {
    Ok(KeptSubscription {
        tag: row.get::<_, i64>(0)?.cast_unsigned(),
        user: Aor::from(row.get_ref(1)?.as_str()?),
        event: row.get(2)?,
        resource: row.get(3)?,
        contact: row.get(4)?,
        call_id: row.get(5)?,
        remote_tag: row.get(6)?,
        local: row.get(7)?,
        remote: row.get(8)?,
        routes: row.get(9)?,
        target: row.get(10)?,
        local_cseq: row.get(11)?,
        remote_cseq: row.get(12)?,
        secure: row.get(13)?,
        endpoint: Endpoint {
            transport: Transport::from_name(row.get_ref(14)?.as_str()?)?,
            local: address(row, 15)?,
            peer: address(row, 16)?,
        },
        version: row.get(17)?,
        kept_at: Wall(row.get(18)?),
        expires_at: Wall(row.get(19)?),
    })
}
