//! The sessions of instant messages of the store in memory.

use crate::reader::words;
use crate::{TranscriptQuery, TranscriptRow};
use clock::Wall;
use model::{Aor, ImMessage, ImTranscript, KeptSession, SessionId, StoreOp};
use std::collections::BTreeMap;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Sessions(BTreeMap<SessionId, Row>);

/// A session with what was said. Messages may come before the session itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    kept: Option<KeptSession>,
    /// Its place in the order of closing; `None` while it is open.
    closed: Option<u64>,
    has_text: bool,
    messages: BTreeMap<u64, ImMessage>,
}

/// How one change is taken back.
pub(crate) type Before = (SessionId, Option<Box<Row>>);

impl Sessions {
    /// Carries out an operation on sessions that writes; what to do to take it back.
    pub(crate) fn apply(&mut self, op: &StoreOp) -> Vec<Before> {
        match op {
            StoreOp::PutSession(kept) => self.change(kept.session.id, |row| {
                if row.closed.is_none() {
                    row.kept = Some(kept.as_ref().clone());
                }
            }),
            StoreOp::PutSessionMessage(message) => self.change(message.session, |row| {
                let kept = ImMessage {
                    failed: Vec::new(),
                    ..message.as_ref().clone()
                };
                row.messages.entry(message.seq).or_insert(kept);
            }),
            StoreOp::CloseSession { kept, keep_text } => {
                let last = self.0.values().filter_map(|row| row.closed).max().unwrap_or(0);
                self.change(kept.session.id, |row| {
                    if row.closed.is_none() {
                        row.kept = Some(kept.as_ref().clone());
                        (row.closed, row.has_text) = (Some(last + 1), *keep_text);
                        row.messages.retain(|_, _| *keep_text);
                    }
                })
            }
            StoreOp::EraseSession(id) => self.erase(*id),
            StoreOp::ExpireSessions(until) => {
                let closed = self.0.iter().filter(|(_, row)| row.closed.is_some());
                let mut old: Vec<(Wall, SessionId)> = closed.map(|(id, row)| (row.ended_at(), *id)).collect();
                old.retain(|(at, _)| at <= until);
                old.sort_unstable();
                old.truncate(StoreOp::SESSIONS_AT_ONCE as usize);
                old.into_iter().flat_map(|(_, id)| self.erase(id)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn change(&mut self, id: SessionId, change: impl FnOnce(&mut Row)) -> Vec<Before> {
        let before = self.0.get(&id).cloned();
        change(self.0.entry(id).or_default());
        vec![(id, before.map(Box::new))]
    }

    fn erase(&mut self, id: SessionId) -> Vec<Before> {
        match self.0.get(&id) {
            Some(row) if row.closed.is_some() => vec![(id, self.0.remove(&id).map(Box::new))],
            _ => Vec::new(),
        }
    }

    /// Takes a change back.
    pub(crate) fn restore(&mut self, (id, row): Before) {
        match row {
            Some(row) => drop(self.0.insert(id, *row)),
            None => drop(self.0.remove(&id)),
        }
    }

    /// Open ones with their last messages.
    pub(crate) fn open(&self) -> Vec<(KeptSession, Vec<ImMessage>)> {
        let open = self.0.values().filter(|row| row.closed.is_none());
        let most = StoreOp::SESSION_MESSAGES as usize;
        open.filter_map(|row| {
            let skipped = row.messages.len().saturating_sub(most);
            Some((
                row.kept.clone()?,
                row.messages.values().skip(skipped).cloned().collect(),
            ))
        })
        .collect()
    }

    /// Closed ones, the last first.
    pub(crate) fn find(&self, query: &TranscriptQuery, limit: u32) -> Vec<TranscriptRow> {
        let rows = self.0.values().filter(|row| row.is_meant(query));
        let mut found: Vec<TranscriptRow> = rows.filter_map(Row::listed).collect();
        found.sort_by_key(|row| std::cmp::Reverse(row.seq));
        found.truncate(limit as usize);
        found
    }

    /// One closed session with its text.
    pub(crate) fn show(&self, id: SessionId) -> Option<ImTranscript> {
        let row = self.0.get(&id).filter(|row| row.closed.is_some())?;
        Some(ImTranscript {
            session: row.kept.as_ref()?.session.clone(),
            messages: row.messages.values().cloned().collect(),
        })
    }
}

impl Row {
    fn ended_at(&self) -> Wall {
        let session = self.kept.as_ref().map(|kept| &kept.session);
        session.map_or(Wall(0), |session| session.ended_at.unwrap_or(session.opened_at))
    }

    fn listed(&self) -> Option<TranscriptRow> {
        Some(TranscriptRow {
            seq: self.closed?,
            has_text: self.has_text,
            session: self.kept.as_ref()?.session.clone(),
        })
    }

    fn is_meant(&self, query: &TranscriptQuery) -> bool {
        let (Some(kept), Some(closed)) = (&self.kept, self.closed) else {
            return false;
        };
        let session = &kept.session;
        let owner = session.consult.as_ref().map(|consult| consult.interaction);
        let is_of = |user: &Aor| owner.is_none() && session.parties.iter().any(|party| party.user == *user);
        query.user.as_ref().is_none_or(is_of)
            && query.interaction.is_none_or(|wanted| owner == Some(wanted))
            && query.since.is_none_or(|since| self.ended_at() >= since)
            && query.until.is_none_or(|until| self.ended_at() < until)
            && query.before.is_none_or(|before| closed < before)
            && query.text.as_ref().is_none_or(|text| self.says(text))
    }

    /// Whether one message has all these words.
    fn says(&self, text: &str) -> bool {
        let lower = text.to_lowercase();
        let wanted: Vec<&str> = words(&lower).collect();
        let has_all = |message: &ImMessage| {
            let said = message.text.to_lowercase();
            !wanted.is_empty() && wanted.iter().all(|wanted| words(&said).any(|word| word == *wanted))
        };
        self.has_text && self.messages.values().any(has_all)
    }
}
