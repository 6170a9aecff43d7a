//! A store that forgets everything at the end of the process: for tests, trials and sites that want no file.

use crate::backend::{Backend, Gate, writes};
use crate::memory_sessions::{Before, Sessions};
use crate::reader::Read;
use crate::{CdrQuery, CdrRow, TranscriptQuery, TranscriptRow};
use model::{
    Aor, Binding, BindingKey, Cdr, EndReason, EndedBy, ImTranscript, InteractionId, KeptSubscription, KnownDevice,
    LegId, MessageId, Receipt, RecordingRow, SessionId, StoreError, StoreOp, StoreReply, StoredMessage, UserSettings,
    WaitingMessage,
};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most call records held, since memory is all there is; the oldest goes first. A file has no such limit.
const MAX_CDRS: usize = 65_536;

/// The tables, for the writer and its readers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shared(Arc<Mutex<Tables>>);

impl Shared {
    /// Whoever holds the lock sees whole transactions only. A holder that panicked had a fault in this file; what it left is
    /// not worse than nothing.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer's side.
#[derive(Debug, Default)]
pub(crate) struct Memory(Shared);

impl Memory {
    pub(crate) fn new(shared: Shared) -> Memory {
        Memory(shared)
    }
}

impl Backend for Memory {
    fn transact(&mut self, ops: &[StoreOp], gate: &mut Gate<'_>) -> Result<Vec<StoreReply>, StoreError> {
        let mut tables = self.0.tables();
        let replies = ops.iter().map(|op| tables.apply(op)).collect();
        match if writes(ops) { gate() } else { Ok(()) } {
            Ok(()) => {
                tables.commit();
                Ok(replies)
            }
            Err(why) => {
                tables.roll_back();
                Err(why)
            }
        }
    }
}

impl Read for Shared {
    fn cdrs(&mut self, limit: u32, before: Option<u64>) -> Result<Vec<CdrRow>, StoreError> {
        let tables = self.tables();
        let latest_first = tables.numbered_cdrs().rev();
        let older = latest_first.filter(|(seq, _)| before.is_none_or(|before| *seq < before));
        Ok(older.take(limit as usize).map(row).collect())
    }

    fn cdrs_of(&mut self, call: InteractionId) -> Result<Vec<CdrRow>, StoreError> {
        let tables = self.tables();
        let of_call = tables.numbered_cdrs().filter(|(_, cdr)| cdr.interaction == call);
        Ok(of_call.take(1_000).map(row).collect())
    }

    fn find_cdrs(&mut self, query: &CdrQuery, limit: u32) -> Result<Vec<CdrRow>, StoreError> {
        let tables = self.tables();
        let meant = |(seq, cdr): &(u64, &Cdr)| {
            query.before.is_none_or(|before| *seq < before)
                && query.call.is_none_or(|call| cdr.interaction == call)
                && query.user.as_ref().is_none_or(|user| cdr.user.as_ref() == Some(user))
                && query.since.is_none_or(|since| cdr.ended_at >= since)
                && query.until.is_none_or(|until| cdr.ended_at < until)
        };
        let latest_first = tables.numbered_cdrs().rev().filter(meant);
        Ok(latest_first.take(limit as usize).map(row).collect())
    }

    fn cdrs_after(&mut self, seq: u64, limit: u32) -> Result<Vec<CdrRow>, StoreError> {
        let tables = self.tables();
        let before = seq.saturating_sub(tables.forgotten_cdrs);
        let later = tables
            .numbered_cdrs()
            .skip(usize::try_from(before).unwrap_or(usize::MAX));
        Ok(later.take(limit as usize).map(row).collect())
    }

    fn recordings(&mut self, limit: u32) -> Result<Vec<RecordingRow>, StoreError> {
        let mut rows: Vec<RecordingRow> = self.tables().recordings.values().cloned().collect();
        rows.sort_by(|a, b| (b.started_at, &a.name).cmp(&(a.started_at, &b.name)));
        rows.truncate(limit as usize);
        Ok(rows)
    }

    fn recordings_of(&mut self, call: InteractionId) -> Result<Vec<RecordingRow>, StoreError> {
        let tables = self.tables();
        let of_call = tables.recordings.values().filter(|row| row.interaction == call);
        let mut rows: Vec<RecordingRow> = of_call.cloned().collect();
        rows.sort_by(|a, b| (a.started_at, &a.name).cmp(&(b.started_at, &b.name)));
        rows.truncate(1_000);
        Ok(rows)
    }

    fn transcripts(&mut self, query: &TranscriptQuery, limit: u32) -> Result<Vec<TranscriptRow>, StoreError> {
        Ok(self.tables().sessions.find(query, limit))
    }

    fn transcript(&mut self, id: SessionId) -> Result<Option<ImTranscript>, StoreError> {
        Ok(self.tables().sessions.show(id))
    }

    fn waiting_by_user(&mut self) -> Result<Vec<(Aor, u64)>, StoreError> {
        Ok(self.tables().waiting_by_user())
    }

    fn waiting_of(&mut self, to: &Aor, after: MessageId, limit: u32) -> Result<Vec<WaitingMessage>, StoreError> {
        let tables = self.tables();
        let theirs = tables.waiting_for(to, MessageId(after.0.saturating_add(1)));
        Ok(theirs.take(limit as usize).map(waiting_row).collect())
    }

    fn messages_waiting(&mut self) -> Result<u64, StoreError> {
        Ok(self.tables().waiting.len() as u64)
    }
}

fn waiting_row(message: &StoredMessage) -> WaitingMessage {
    let mut owed = message.owed.clone();
    owed.sort_unstable();
    WaitingMessage {
        id: message.id,
        from: message.from.clone(),
        accepted_at: message.accepted_at,
        expires_at: message.expires_at,
        content_type: message.content_type.clone(),
        bytes: message.body.len() as u64,
        is_taken: message.is_taken,
        owed,
    }
}

fn row((seq, cdr): (u64, &Cdr)) -> CdrRow {
    CdrRow { seq, cdr: cdr.clone() }
}

/// A message, or what is remembered of a delivered one.
#[derive(Clone, Debug)]
struct Row {
    message: StoredMessage,
    delivered: bool,
}

/// What tells a retry from a new message: to, from, Call-ID, CSeq.
type RetryKey = (Aor, Aor, Box<str>, u32);

#[derive(Debug, Default)]
struct Tables {
    bindings: BTreeMap<(Aor, BindingKey), Binding>,
    messages: BTreeMap<MessageId, Row>,
    by_retry_key: BTreeMap<RetryKey, MessageId>,
    waiting: BTreeSet<(Aor, MessageId)>,
    last_message_id: u64,
    cdrs: VecDeque<Cdr>,
    legs: HashSet<LegId>,
    /// Of legs that are up.
    open: BTreeMap<LegId, Cdr>,
    forgotten_cdrs: u64,
    recordings: BTreeMap<Box<str>, RecordingRow>,
    settings: BTreeMap<Aor, UserSettings>,
    subscriptions: BTreeMap<u64, KeptSubscription>,
    devices: BTreeMap<(Aor, Box<str>), KnownDevice>,
    receipts: BTreeMap<MessageId, Receipt>,
    sessions: Sessions,
    undo: Vec<Undo>,
}

/// How one change is taken back.
#[derive(Debug)]
enum Undo {
    Binding((Aor, BindingKey), Option<Binding>),
    Message(MessageId, Option<Row>),
    LastMessageId(u64),
    Settings(Aor, Option<Box<UserSettings>>),
    Subscription(u64, Option<Box<KeptSubscription>>),
    Device((Aor, Box<str>), Option<KnownDevice>),
    Receipt(MessageId, Option<Box<Receipt>>),
    Cdr,
    OpenCdr(LegId, Option<Box<Cdr>>),
    /// The oldest record was forgotten.
    ForgottenCdr(Box<Cdr>),
    Recording(Box<str>, Option<Box<RecordingRow>>),
    ImSession(Before),
}

impl Tables {
    fn apply(&mut self, op: &StoreOp) -> StoreReply {
        match op {
            StoreOp::PutBinding(binding) => self.change_binding(
                (binding.aor.clone(), binding.key.clone()),
                Some(binding.as_ref().clone()),
            ),
            StoreOp::DeleteBinding { aor, key } => self.change_binding((aor.clone(), key.clone()), None),
            StoreOp::LoadBindings => self.load_bindings(),
            StoreOp::AppendMessage(message) => self.append(message),
            StoreOp::LoadMessages {
                to,
                device,
                after,
                limit,
            } => self.load_messages(to, device, *after, *limit),
            StoreOp::DeleteMessage(id) => self.on_delivered(*id),
            StoreOp::TakeMessage { id, device, has_it } => self.take(*id, device, *has_it),
            StoreOp::PutDevice(known) => {
                let key = (known.aor.clone(), known.key.clone());
                self.change_device(key, Some(known.as_ref().clone()))
            }
            StoreOp::ForgetDevice { aor, key } => {
                self.change_device((aor.clone(), key.clone()), None);
                self.forget_copies(aor, key)
            }
            StoreOp::LoadDevices => StoreReply::Devices(self.devices.values().cloned().collect()),
            StoreOp::PutReceipt(one) => self.change_receipt(one.id, Some(one.as_ref().clone())),
            StoreOp::DeleteReceipt(id) => self.change_receipt(*id, None),
            StoreOp::LoadReceipts => StoreReply::Receipts(self.receipts.values().cloned().collect()),
            StoreOp::DropMessages { to, id, except } => self.drop_of(to, *id, except),
            StoreOp::ForgetTexts { to, call_id, until } => self.forget_texts(to, call_id, *until),
            StoreOp::ExpireMessages(now) => self.expire(*now),
            StoreOp::CountMessages => self.count(),
            StoreOp::PutCdr(cdr) => self.put_cdr(cdr),
            StoreOp::OpenCdr(cdr) => self.change_open(cdr.leg, Some(cdr.as_ref().clone())),
            StoreOp::LeaveCdr(_) => StoreReply::Done,
            StoreOp::CloseOpenCdrs(now) => self.close_open(*now, |cdr| !cdr.outlives_the_switch()),
            StoreOp::EndCdr { leg, at, by } => self.end_open(*leg, *at, *by),
            StoreOp::GiveUpCdrs { answered_until, at } => {
                let is_old = |cdr: &Cdr| cdr.answered_at.is_some_and(|answered| answered <= *answered_until);
                self.close_open(*at, |cdr| cdr.outlives_the_switch() && is_old(cdr))
            }
            StoreOp::PutRecording(row) => self.put_recording(row),
            StoreOp::PutUserSettings(settings) => {
                let before = self.settings.insert(settings.aor.clone(), settings.as_ref().clone());
                self.undo
                    .push(Undo::Settings(settings.aor.clone(), before.map(Box::new)));
                StoreReply::Done
            }
            StoreOp::LoadUserSettings => StoreReply::UserSettings(self.settings.values().cloned().collect()),
            StoreOp::PutSubscription(one) => self.change_subscription(one.tag, Some(one.as_ref().clone())),
            StoreOp::DeleteSubscription(tag) => self.change_subscription(*tag, None),
            StoreOp::LoadSubscriptions => StoreReply::Subscriptions(self.subscriptions.values().cloned().collect()),
            StoreOp::ExpireCdrs(until) => self.expire_cdrs(*until),
            StoreOp::LoadSessions => StoreReply::Sessions(self.sessions.open()),
            StoreOp::PutSession(_)
            | StoreOp::PutSessionMessage(_)
            | StoreOp::CloseSession { .. }
            | StoreOp::EraseSession(_)
            | StoreOp::ExpireSessions(_) => {
                let before = self.sessions.apply(op);
                self.undo.extend(before.into_iter().map(Undo::ImSession));
                StoreReply::Done
            }
        }
    }

    fn commit(&mut self) {
        self.undo.clear();
        while self.cdrs.len() > MAX_CDRS {
            let oldest = self.cdrs.pop_front();
            oldest.map(|cdr| self.legs.remove(&cdr.leg));
            self.forgotten_cdrs += 1;
        }
    }

    fn roll_back(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Binding(key, before) => drop(self.set_binding(key, before)),
                Undo::Message(id, before) => drop(self.set_message(id, before)),
                Undo::Settings(aor, before) => drop(set(&mut self.settings, aor, before.map(|before| *before))),
                Undo::Subscription(tag, before) => {
                    drop(set(&mut self.subscriptions, tag, before.map(|before| *before)));
                }
                Undo::Device(key, before) => drop(set(&mut self.devices, key, before)),
                Undo::Receipt(id, before) => drop(set(&mut self.receipts, id, before.map(|before| *before))),
                Undo::ImSession(before) => self.sessions.restore(before),
                Undo::LastMessageId(before) => self.last_message_id = before,
                Undo::Recording(name, Some(before)) => drop(self.recordings.insert(name, *before)),
                Undo::Recording(name, None) => drop(self.recordings.remove(&name)),
                Undo::OpenCdr(leg, before) => drop(set(&mut self.open, leg, before.map(|before| *before))),
                Undo::Cdr => drop(self.cdrs.pop_back().map(|cdr| self.legs.remove(&cdr.leg))),
                Undo::ForgottenCdr(cdr) => {
                    self.forgotten_cdrs -= 1;
                    self.legs.insert(cdr.leg);
                    self.cdrs.push_front(*cdr);
                }
            }
        }
    }

    fn change_subscription(&mut self, tag: u64, one: Option<KeptSubscription>) -> StoreReply {
        let before = set(&mut self.subscriptions, tag, one);
        self.undo.push(Undo::Subscription(tag, before.map(Box::new)));
        StoreReply::Done
    }

    fn change_device(&mut self, key: (Aor, Box<str>), known: Option<KnownDevice>) -> StoreReply {
        let before = set(&mut self.devices, key.clone(), known);
        self.undo.push(Undo::Device(key, before));
        StoreReply::Done
    }

    fn change_receipt(&mut self, id: MessageId, one: Option<Receipt>) -> StoreReply {
        let before = set(&mut self.receipts, id, one);
        self.undo.push(Undo::Receipt(id, before.map(Box::new)));
        StoreReply::Done
    }

    fn change_binding(&mut self, key: (Aor, BindingKey), binding: Option<Binding>) -> StoreReply {
        let before = self.set_binding(key.clone(), binding);
        self.undo.push(Undo::Binding(key, before));
        StoreReply::Done
    }

    fn set_binding(&mut self, key: (Aor, BindingKey), binding: Option<Binding>) -> Option<Binding> {
        match binding {
            Some(binding) => self.bindings.insert(key, binding),
            None => self.bindings.remove(&key),
        }
    }

    fn load_bindings(&self) -> StoreReply {
        let mut all: Vec<_> = self.bindings.values().cloned().collect();
        all.sort_by(|a, b| (&a.aor, a.created_at).cmp(&(&b.aor, b.created_at)));
        StoreReply::Bindings(all)
    }

    fn append(&mut self, message: &StoredMessage) -> StoreReply {
        if let Some(id) = self.by_retry_key.get(&retry_key(message)) {
            let waits = self.messages.get(id).is_some_and(|row| !row.delivered);
            return StoreReply::Known(waits.then_some(*id));
        }
        if self.messages.contains_key(&message.id) || i64::try_from(message.id.0).is_err() {
            return StoreReply::Failed(StoreError::Conflict);
        }
        self.undo.push(Undo::LastMessageId(self.last_message_id));
        self.last_message_id = self.last_message_id.max(message.id.0);
        self.change_message(
            message.id,
            Some(Row {
                message: message.clone(),
                delivered: false,
            }),
        );
        StoreReply::Done
    }

    fn load_messages(&self, to: &Aor, device: &str, after: MessageId, limit: u32) -> StoreReply {
        let messages = self.waiting_for(to, MessageId(after.0.saturating_add(1)));
        let theirs = messages.filter(|message| message.is_for(device)).take(limit as usize);
        let shown = |message: &StoredMessage| StoredMessage {
            // Without a device of its own nobody has a copy of his own.
            owed: if device.is_empty() {
                Vec::new()
            } else {
                message.owed.clone()
            },
            ..message.clone()
        };
        StoreReply::Messages(theirs.map(shown).collect())
    }

    fn waiting_for(&self, to: &Aor, from: MessageId) -> impl Iterator<Item = &StoredMessage> {
        let theirs = self.waiting.range((to.clone(), from)..);
        let ids = theirs.take_while(move |(aor, _)| aor == to);
        ids.filter_map(|(_, id)| self.messages.get(id)).map(|row| &row.message)
    }

    fn take(&mut self, id: MessageId, device: &str, has_it: bool) -> StoreReply {
        let Some(row) = self.messages.get(&id).filter(|row| !row.delivered) else {
            return StoreReply::Left(0);
        };
        let mut row = row.clone();
        let left = row.message.take(device, has_it);
        self.change_message(id, Some(row));
        if left == 0 {
            self.on_delivered(id);
        }
        StoreReply::Left(u32::try_from(left).unwrap_or(u32::MAX))
    }

    fn forget_copies(&mut self, aor: &Aor, device: &str) -> StoreReply {
        let owed = |message: &&StoredMessage| message.owed.iter().any(|owed| **owed == *device);
        let messages: Vec<StoredMessage> = self.waiting_for(aor, MessageId(0)).filter(owed).cloned().collect();
        let mut gone = Vec::new();
        for mut message in messages {
            let id = message.id;
            message.owed.retain(|owed| **owed != *device);
            let is_complete = message.is_taken && message.owed.is_empty();
            self.change_message(
                id,
                Some(Row {
                    message,
                    delivered: false,
                }),
            );
            if is_complete {
                self.on_delivered(id);
                gone.push((id, aor.clone()));
            }
        }
        StoreReply::Expired(gone)
    }

    fn drop_of(&mut self, to: &Aor, only: Option<MessageId>, except: &[MessageId]) -> StoreReply {
        let ids = self.waiting_for(to, MessageId(0)).map(|message| message.id);
        let ids = ids.filter(|id| only.is_none_or(|only| only == *id) && !except.contains(id));
        let gone: Vec<MessageId> = ids.take(StoreOp::EXPIRED_AT_ONCE).collect();
        for id in &gone {
            self.on_delivered(*id);
        }
        StoreReply::Expired(gone.into_iter().map(|id| (id, to.clone())).collect())
    }

    fn forget_texts(&mut self, to: &Aor, call_id: &str, until: u32) -> StoreReply {
        let theirs = self.waiting_for(to, MessageId(0));
        let meant = theirs.filter(|message| *message.call_id == *call_id && message.cseq <= until);
        let gone: Vec<MessageId> = meant.map(|message| message.id).take(StoreOp::EXPIRED_AT_ONCE).collect();
        for id in &gone {
            self.on_delivered(*id);
        }
        StoreReply::Expired(gone.into_iter().map(|id| (id, to.clone())).collect())
    }

    fn on_delivered(&mut self, id: MessageId) -> StoreReply {
        if let Some(row) = self.messages.get(&id).filter(|row| !row.delivered) {
            let message = StoredMessage {
                body: Vec::new(),
                owed: Vec::new(),
                ..row.message.clone()
            };
            self.change_message(
                id,
                Some(Row {
                    message,
                    delivered: true,
                }),
            );
        }
        StoreReply::Done
    }

    fn expire(&mut self, now: clock::Wall) -> StoreReply {
        let retries_end = now - StoreOp::RETRY_WINDOW;
        let rows = self.messages.values();
        let past = rows
            .clone()
            .filter(|row| row.delivered && row.message.accepted_at <= retries_end);
        let past: Vec<_> = past.map(|row| row.message.id).collect();
        let old = rows.filter(|row| !row.delivered && row.message.expires_at <= now);
        let mut old: Vec<_> = old
            .map(|row| (row.message.expires_at, row.message.id, row.message.to.clone()))
            .collect();
        old.sort_unstable();
        old.truncate(StoreOp::EXPIRED_AT_ONCE);
        let mut gone: Vec<_> = old.into_iter().map(|(_, id, to)| (id, to)).collect();
        gone.sort_unstable();
        past.iter()
            .chain(gone.iter().map(|(id, _)| id))
            .for_each(|id| self.change_message(*id, None));
        StoreReply::Expired(gone)
    }

    fn numbered_cdrs(&self) -> impl DoubleEndedIterator<Item = (u64, &Cdr)> {
        let number = |(at, cdr)| (self.forgotten_cdrs + 1 + at as u64, cdr);
        self.cdrs.iter().enumerate().map(number)
    }

    fn count(&self) -> StoreReply {
        StoreReply::Waiting {
            per_user: self.waiting_by_user(),
            last_id: MessageId(self.last_message_id),
        }
    }

    fn waiting_by_user(&self) -> Vec<(Aor, u64)> {
        let mut per_user: Vec<(Aor, u64)> = Vec::new();
        for (aor, _) in &self.waiting {
            match per_user.last_mut() {
                Some((last, count)) if last == aor => *count += 1,
                _ => per_user.push((aor.clone(), 1)),
            }
        }
        per_user
    }

    fn change_message(&mut self, id: MessageId, row: Option<Row>) {
        let before = self.set_message(id, row);
        self.undo.push(Undo::Message(id, before));
    }

    /// Sets or removes a row and keeps both indexes true.
    fn set_message(&mut self, id: MessageId, row: Option<Row>) -> Option<Row> {
        let before = self.messages.remove(&id);
        if let Some(before) = &before {
            self.by_retry_key.remove(&retry_key(&before.message));
            self.waiting.remove(&(before.message.to.clone(), id));
        }
        if let Some(row) = row {
            self.by_retry_key.insert(retry_key(&row.message), id);
            if !row.delivered {
                self.waiting.insert((row.message.to.clone(), id));
            }
            self.messages.insert(id, row);
        }
        before
    }

    fn expire_cdrs(&mut self, until: clock::Wall) -> StoreReply {
        for _ in 0..StoreOp::CDRS_AT_ONCE {
            // The last one stays, as in a database, where the next number is counted from it.
            let is_last = self.cdrs.len() <= 1;
            let Some(cdr) = self.cdrs.pop_front_if(|cdr| !is_last && cdr.ended_at <= until) else {
                break;
            };
            self.forgotten_cdrs += 1;
            self.legs.remove(&cdr.leg);
            self.undo.push(Undo::ForgottenCdr(Box::new(cdr)));
        }
        self.expire_recordings(until);
        StoreReply::Done
    }

    fn expire_recordings(&mut self, until: clock::Wall) {
        let old = self.recordings.values().filter(|row| row.started_at <= until);
        let mut old: Vec<_> = old.map(|row| (row.started_at, row.name.clone())).collect();
        old.sort_unstable();
        for (_, name) in old.into_iter().take(StoreOp::CDRS_AT_ONCE as usize) {
            let before = self.recordings.remove(&name).map(Box::new);
            self.undo.push(Undo::Recording(name, before));
        }
    }

    fn put_recording(&mut self, row: &RecordingRow) -> StoreReply {
        let name = row.name.clone();
        let before = self.recordings.insert(name.clone(), row.clone()).map(Box::new);
        self.undo.push(Undo::Recording(name, before));
        StoreReply::Done
    }

    fn put_cdr(&mut self, cdr: &Cdr) -> StoreReply {
        if self.legs.insert(cdr.leg) {
            self.cdrs.push_back(cdr.clone());
            self.undo.push(Undo::Cdr);
            self.change_open(cdr.leg, None);
        }
        StoreReply::Done
    }

    fn change_open(&mut self, leg: LegId, open: Option<Cdr>) -> StoreReply {
        let before = set(&mut self.open, leg, open).map(Box::new);
        self.undo.push(Undo::OpenCdr(leg, before));
        StoreReply::Done
    }

    fn end_open(&mut self, leg: LegId, at: clock::Wall, by: EndedBy) -> StoreReply {
        if let Some(cdr) = self.open.get(&leg) {
            self.put_cdr(&Cdr {
                ended_at: at,
                ended_by: by,
                reason: EndReason::Normal,
                ..cdr.clone()
            });
        }
        StoreReply::Done
    }

    fn close_open(&mut self, now: clock::Wall, which: impl Fn(&Cdr) -> bool) -> StoreReply {
        let mut open: Vec<Cdr> = self.open.values().filter(|cdr| which(cdr)).cloned().collect();
        open.sort_by_key(|cdr| (cdr.answered_at, cdr.leg));
        for cdr in open {
            let leg = cdr.leg;
            let packets = (0, 0, 0);
            let quality = model::Quality::default();
            self.put_cdr(&Cdr {
                ended_at: now,
                packets,
                quality,
                ..cdr
            });
            self.change_open(leg, None);
        }
        StoreReply::Done
    }
}

/// Inserts or removes; what was there before.
fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) -> Option<V> {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    }
}

fn retry_key(message: &StoredMessage) -> RetryKey {
    (
        message.to.clone(),
        message.from.clone(),
        message.call_id.clone(),
        message.cseq,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn holds_so_many_call_records_and_no_more() {
        let mut memory = Memory::default();
        let ops: Vec<_> = (0..MAX_CDRS as u64 + 10).map(samples::put_cdr).collect();
        memory.transact(&ops, &mut || Ok(())).unwrap();
        let mut read = memory.0.clone();
        let all = read.cdrs(u32::MAX, None).unwrap();
        assert_eq!(all.len(), MAX_CDRS);
        assert_eq!(all[0].seq, MAX_CDRS as u64 + 10);
        assert_eq!(all[MAX_CDRS - 1].seq, 11);
        assert_eq!(memory.0.tables().legs.len(), MAX_CDRS);
    }
}
