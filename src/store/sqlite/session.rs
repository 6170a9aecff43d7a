//! Sessions of instant messages, their text, and the words in it. What is erased here is overwritten: see [`erasing`].

use crate::reader::{TranscriptQuery, TranscriptRow, words};
use clock::Wall;
use model::{ImMessage, ImTranscript, KeptSession, PartyId, SessionId, StoreOp, StoreReply};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result, Row, params, params_from_iter};

const PUT: &str = "INSERT INTO im_session (id, closed, ended_at, interaction, has_text, data)
    VALUES (?1, 0, ?2, ?3, 1, ?4)
    ON CONFLICT (id) DO UPDATE SET ended_at = ?2, interaction = ?3, data = ?4 WHERE closed = 0";

const PUT_MESSAGE: &str = "INSERT OR IGNORE INTO im_message (session, seq, at, party, shown, text, request)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";

const LOAD: &str = "SELECT data FROM im_session WHERE closed = 0 ORDER BY id";

const LOAD_MESSAGES: &str = "SELECT session, seq, at, party, shown, text, request FROM
    (SELECT * FROM im_message WHERE session = ?1 ORDER BY seq DESC LIMIT ?2) ORDER BY seq";

const CLOSE: &str = "INSERT INTO im_session (id, closed, ended_at, interaction, has_text, data)
    VALUES (?1, (SELECT coalesce(max(closed), 0) + 1 FROM im_session), ?2, ?3, ?4, ?5)
    ON CONFLICT (id) DO UPDATE SET closed = excluded.closed, ended_at = ?2, interaction = ?3, has_text = ?4, data = ?5
    WHERE im_session.closed = 0";

const PUT_PARTY: &str = "INSERT OR IGNORE INTO im_party (aor, closed, session)
    SELECT ?2, closed, id FROM im_session WHERE id = ?1";

const INDEX: &str = "INSERT INTO im_text (rowid, text) SELECT id, text FROM im_message WHERE session = ?1";

const UNINDEX: &str = "INSERT INTO im_text (im_text, rowid, text)
    SELECT 'delete', id, text FROM im_message WHERE session = ?1";

const OLD: &str = "SELECT id FROM im_session WHERE closed > 0 AND ended_at <= ?1 ORDER BY ended_at LIMIT ?2";

pub(super) fn put(connection: &Connection, kept: &KeptSession) -> Result<StoreReply> {
    let session = &kept.session;
    let values = params![
        id(session.id),
        session.ended_at.map(|at| at.0),
        owner(kept),
        kept.to_json()
    ];
    connection.prepare_cached(PUT)?.execute(values)?;
    Ok(StoreReply::Done)
}

pub(super) fn put_message(connection: &Connection, message: &ImMessage) -> Result<StoreReply> {
    connection.prepare_cached(PUT_MESSAGE)?.execute(params![
        id(message.session),
        message.seq.cast_signed(),
        message.at.0,
        message.from.0.cast_signed(),
        message.shown,
        message.text,
        message.request.cast_signed(),
    ])?;
    Ok(StoreReply::Done)
}

pub(super) fn load(connection: &Connection) -> Result<StoreReply> {
    let mut statement = connection.prepare_cached(LOAD)?;
    let rows = statement.query_map((), |row| kept(row, 0))?;
    let mut all = Vec::new();
    for kept in rows {
        let kept = kept?;
        let messages = messages(connection, kept.session.id, StoreOp::SESSION_MESSAGES)?;
        all.push((kept, messages));
    }
    Ok(StoreReply::Sessions(all))
}

/// The record stays; the text is erased, or its words can be found from now on.
pub(super) fn close(connection: &Connection, kept: &KeptSession, keep_text: bool) -> Result<StoreReply> {
    let session = &kept.session;
    let values = params![
        id(session.id),
        session.ended_at.unwrap_or(session.opened_at).0,
        owner(kept),
        keep_text,
        kept.to_json(),
    ];
    if connection.prepare_cached(CLOSE)?.execute(values)? == 0 {
        return Ok(StoreReply::Done);
    }
    if session.consult.is_none() {
        for party in &session.parties {
            let values = params![id(session.id), party.user.as_str()];
            connection.prepare_cached(PUT_PARTY)?.execute(values)?;
        }
    }
    if keep_text {
        connection.prepare_cached(INDEX)?.execute([id(session.id)])?;
    } else {
        run(connection, "DELETE FROM im_message WHERE session = ?1", session.id)?;
    }
    Ok(StoreReply::Done)
}

/// Record, text and words.
pub(super) fn erase(connection: &Connection, session: SessionId) -> Result<StoreReply> {
    let state = "SELECT closed, has_text FROM im_session WHERE id = ?1";
    let mut statement = connection.prepare_cached(state)?;
    let found: Option<(i64, bool)> = statement
        .query_row([id(session)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((1.., has_text)) = found else {
        return Ok(StoreReply::Done);
    };
    if has_text {
        connection.prepare_cached(UNINDEX)?.execute([id(session)])?;
    }
    run(connection, "DELETE FROM im_message WHERE session = ?1", session)?;
    run(connection, "DELETE FROM im_party WHERE session = ?1", session)?;
    run(connection, "DELETE FROM im_session WHERE id = ?1", session)?;
    Ok(StoreReply::Done)
}

pub(super) fn expire(connection: &Connection, until: Wall) -> Result<StoreReply> {
    let mut statement = connection.prepare_cached(OLD)?;
    let values = params![until.0, i64::from(StoreOp::SESSIONS_AT_ONCE)];
    let old: Vec<i64> = statement.query_map(values, |row| row.get(0))?.collect::<Result<_>>()?;
    for session in old {
        erase(connection, SessionId(session.cast_unsigned()))?;
    }
    Ok(StoreReply::Done)
}

/// Runs what may remove or move text, and has SQLite overwrite what it frees: pages that are freed keep their content
/// otherwise. Elsewhere that would cost writing for nothing.
pub(super) fn erasing(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<StoreReply>,
) -> Result<StoreReply> {
    connection.pragma_update_and_check(None, "secure_delete", "ON", |_| Ok(()))?;
    let done = work(connection);
    connection.pragma_update_and_check(None, "secure_delete", "FAST", |_| Ok(()))?;
    done
}

fn run(connection: &Connection, sql: &str, session: SessionId) -> Result<usize> {
    connection.prepare_cached(sql)?.execute([id(session)])
}

/// Closed sessions, the last one first.
pub(super) fn find(connection: &Connection, query: &TranscriptQuery, limit: u32) -> Result<Vec<TranscriptRow>> {
    let mut sql = String::from("SELECT s.closed, s.has_text, s.data FROM im_session AS s WHERE s.closed > 0");
    let mut values: Vec<rusqlite::types::Value> = Vec::new();
    let mut and = |condition: &str, value: rusqlite::types::Value| {
        values.push(value);
        sql += &format!(" AND {}", condition.replace('?', &format!("?{}", values.len())));
    };
    if let Some(user) = &query.user {
        let closed = "s.id IN (SELECT session FROM im_party WHERE aor = ?)";
        and(closed, user.as_str().to_owned().into());
    }
    if let Some(interaction) = query.interaction {
        and("s.interaction = ?", interaction.0.cast_signed().into());
    }
    if let Some(since) = query.since {
        and("s.ended_at >= ?", since.0.into());
    }
    if let Some(until) = query.until {
        and("s.ended_at < ?", until.0.into());
    }
    if let Some(before) = query.before {
        and("s.closed < ?", before.cast_signed().into());
    }
    if let Some(text) = &query.text {
        let found = "s.id IN (SELECT m.session FROM im_text JOIN im_message AS m ON m.id = im_text.rowid
            WHERE im_text MATCH ?)";
        and(found, phrase(text).into());
    }
    sql += &format!(" ORDER BY s.closed DESC LIMIT {limit}");
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), |row| {
        Ok(TranscriptRow {
            seq: row.get::<_, i64>(0)?.cast_unsigned(),
            has_text: row.get(1)?,
            session: kept(row, 2)?.session,
        })
    })?;
    rows.collect()
}

/// All words, each as it stands: what a user types is no expression of FTS5.
fn phrase(text: &str) -> String {
    let quoted: Vec<String> = words(text).map(|word| format!("\"{word}\"")).collect();
    match quoted.is_empty() {
        true => "\"\"".to_owned(),
        false => quoted.join(" "),
    }
}

/// One closed session with all its text.
pub(super) fn show(connection: &Connection, session: SessionId) -> Result<Option<ImTranscript>> {
    let sql = "SELECT data FROM im_session WHERE id = ?1 AND closed > 0";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row([id(session)], |row| kept(row, 0)).optional()?;
    let Some(found) = found else { return Ok(None) };
    let messages = messages(connection, session, u32::MAX)?;
    let session = found.session;
    Ok(Some(ImTranscript { session, messages }))
}

fn messages(connection: &Connection, session: SessionId, limit: u32) -> Result<Vec<ImMessage>> {
    let mut statement = connection.prepare_cached(LOAD_MESSAGES)?;
    let rows = statement.query_map(params![id(session), limit], message)?;
    rows.collect()
}

fn message(row: &Row<'_>) -> Result<ImMessage> {
    let unsigned = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    Ok(ImMessage {
        session: SessionId(unsigned(0)?),
        seq: unsigned(1)?,
        at: Wall(row.get(2)?),
        from: PartyId(unsigned(3)?),
        shown: row.get(4)?,
        text: row.get(5)?,
        failed: Vec::new(),
        request: unsigned(6)?,
    })
}

fn kept(row: &Row<'_>, column: usize) -> Result<KeptSession> {
    let text = row.get_ref(column)?.as_str()?;
    let unreadable = || rusqlite::Error::FromSqlConversionFailure(column, Type::Text, "not a session".into());
    KeptSession::from_json(text).ok_or_else(unreadable)
}

fn id(session: SessionId) -> i64 {
    session.0.cast_signed()
}

fn owner(kept: &KeptSession) -> Option<i64> {
    let consult = kept.session.consult.as_ref();
    consult.map(|consult| consult.interaction.0.cast_signed())
}
