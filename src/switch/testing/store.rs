//! A store in memory that keeps its promises, and fails when a test wants it to.

use clock::{Mono, Now};
use model::{
    Aor, Binding, BindingKey, Cdr, EndReason, ImMessage, KeptSession, KeptSubscription, KnownDevice, LegId, MessageId,
    Receipt, SessionId, StoreError, StoreOp, StoreReply, StoredMessage, UserSettings,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What lasts over a restart of the switch.
#[derive(Debug, Default)]
pub struct MemoryStore {
    /// By user and key.
    pub bindings: BTreeMap<(Aor, BindingKey), Binding>,
    /// In the order of acceptance.
    pub messages: BTreeMap<MessageId, StoredMessage>,
    /// By user and key.
    pub devices: BTreeMap<(Aor, Box<str>), KnownDevice>,
    /// By message.
    pub receipts: BTreeMap<MessageId, Receipt>,
    /// By user.
    pub settings: BTreeMap<Aor, UserSettings>,
    /// By tag.
    pub subscriptions: BTreeMap<u64, KeptSubscription>,
    /// Sessions of messages that are open.
    pub sessions: BTreeMap<SessionId, KeptSession>,
    /// What was said in them, and in closed ones whose text is kept.
    pub said: BTreeMap<(SessionId, u64), ImMessage>,
    /// Closed ones.
    pub closed: BTreeMap<SessionId, KeptSession>,
    /// By leg.
    pub cdrs: BTreeMap<LegId, Cdr>,
    /// Of legs that are up.
    pub open: BTreeMap<LegId, Cdr>,
    /// Every operation fails with this while it is set; writes that nobody waits for are done afterwards.
    pub failing: Option<StoreError>,
    /// Replies take so long.
    pub delay: Duration,
    /// Nothing is answered, and nothing takes effect, while it is set.
    pub is_hung: bool,
    /// Bindings written so far.
    pub bindings_written: u64,
    last_id: Option<MessageId>,
    replies: VecDeque<(Mono, u64, StoreReply)>,
    /// Failed writes that nobody waits for.
    undone: Vec<StoreOp>,
}

impl MemoryStore {
    /// Carries out an operation at once; its reply comes after the delay.
    pub(super) fn push(&mut self, now: Now, token: Option<u64>, op: StoreOp) {
        if self.is_hung {
            return;
        }
        self.catch_up();
        match (self.failing, token) {
            (Some(_), None) => self.undone.push(op),
            (None, None) => drop(self.apply(op)),
            (Some(why), Some(token)) => self.reply(now, token, StoreReply::Failed(why)),
            (None, Some(token)) => {
                let reply = self.apply(op);
                self.reply(now, token, reply);
            }
        }
    }

    fn reply(&mut self, now: Now, token: u64, reply: StoreReply) {
        self.replies.push_back((now.mono + self.delay, token, reply));
    }

    fn catch_up(&mut self) {
        if self.failing.is_none() {
            for op in std::mem::take(&mut self.undone) {
                self.apply(op);
            }
        }
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.replies.front().map(|&(at, _, _)| at)
    }

    pub(super) fn pop(&mut self, now: Now) -> Option<(u64, StoreReply)> {
        self.catch_up();
        self.next().filter(|at| *at <= now.mono)?;
        self.replies.pop_front().map(|(_, token, reply)| (token, reply))
    }

    /// The switch that asked is gone.
    pub(super) fn forget_questions(&mut self) {
        self.replies.clear();
    }

    fn apply(&mut self, op: StoreOp) -> StoreReply {
        match op {
            StoreOp::PutBinding(binding) => {
                self.bindings_written += 1;
                self.bindings
                    .insert((binding.aor.clone(), binding.key.clone()), *binding);
            }
            StoreOp::DeleteBinding { aor, key } => {
                self.bindings.remove(&(aor, key));
            }
            StoreOp::LoadBindings => {
                let mut all: Vec<Binding> = self.bindings.values().cloned().collect();
                all.sort_by_key(|binding| (binding.aor.clone(), binding.created_at));
                return StoreReply::Bindings(all);
            }
            StoreOp::AppendMessage(message) => self.append(*message),
            StoreOp::LoadMessages {
                to,
                device,
                after,
                limit,
            } => {
                let waiting = self
                    .messages
                    .values()
                    .filter(|message| message.to == to && message.id > after && message.is_for(&device));
                return StoreReply::Messages(waiting.take(limit as usize).cloned().collect());
            }
            StoreOp::DeleteMessage(id) => {
                self.messages.remove(&id);
            }
            StoreOp::TakeMessage { id, device } => {
                let left = self.messages.get_mut(&id).map_or(0, |message| message.take(&device));
                if left == 0 {
                    self.messages.remove(&id);
                }
                return StoreReply::Left(u32::try_from(left).unwrap_or(u32::MAX));
            }
            StoreOp::PutDevice(known) => {
                self.devices.insert((known.aor.clone(), known.key.clone()), *known);
            }
            StoreOp::ForgetDevice { aor, key } => return self.forget_device(&aor, key),
            StoreOp::LoadDevices => return StoreReply::Devices(self.devices.values().cloned().collect()),
            StoreOp::PutReceipt(one) => {
                self.receipts.insert(one.id, *one);
            }
            StoreOp::DeleteReceipt(id) => {
                self.receipts.remove(&id);
            }
            StoreOp::LoadReceipts => return StoreReply::Receipts(self.receipts.values().cloned().collect()),
            StoreOp::ExpireMessages(at) => {
                let (old, kept) = std::mem::take(&mut self.messages)
                    .into_iter()
                    .partition(|(_, m)| m.expires_at <= at);
                self.messages = kept;
                let old: BTreeMap<MessageId, StoredMessage> = old;
                return StoreReply::Expired(old.into_values().map(|message| (message.id, message.to)).collect());
            }
            StoreOp::CountMessages => return self.count(),
            StoreOp::PutRecording(_) => {}
            StoreOp::ExpireCdrs(_) => {}
            StoreOp::PutUserSettings(settings) => {
                self.settings.insert(settings.aor.clone(), *settings);
            }
            StoreOp::LoadUserSettings => return StoreReply::UserSettings(self.settings.values().cloned().collect()),
            StoreOp::PutSubscription(one) => {
                self.subscriptions.insert(one.tag, *one);
            }
            StoreOp::DeleteSubscription(tag) => {
                self.subscriptions.remove(&tag);
            }
            StoreOp::LoadSubscriptions => {
                return StoreReply::Subscriptions(self.subscriptions.values().cloned().collect());
            }
            StoreOp::PutSession(kept) => {
                self.sessions.insert(kept.session.id, *kept);
            }
            StoreOp::PutSessionMessage(message) => {
                self.said.insert((message.session, message.seq), *message);
            }
            StoreOp::LoadSessions => {
                let of = |id: SessionId| {
                    self.said
                        .range((id, 0)..=(id, u64::MAX))
                        .map(|(_, message)| message.clone())
                };
                let all = self.sessions.iter().map(|(id, kept)| (kept.clone(), of(*id).collect()));
                return StoreReply::Sessions(all.collect());
            }
            StoreOp::CloseSession { kept, keep_text } => {
                let id = kept.session.id;
                self.sessions.remove(&id);
                self.closed.insert(id, *kept);
                self.said.retain(|(session, _), _| *session != id || keep_text);
            }
            StoreOp::EraseSession(id) => {
                self.closed.remove(&id);
                self.said.retain(|(session, _), _| *session != id);
            }
            StoreOp::ExpireSessions(until) => {
                let old = |kept: &KeptSession| kept.session.ended_at.is_some_and(|at| at <= until);
                self.closed.retain(|_, kept| !old(kept));
                let (open, closed) = (&self.sessions, &self.closed);
                self.said
                    .retain(|(id, _), _| open.contains_key(id) || closed.contains_key(id));
            }
            StoreOp::OpenCdr(cdr) => {
                self.open.insert(cdr.leg, *cdr);
            }
            StoreOp::CloseOpenCdrs(now) => {
                let lost = self.open.extract_if(.., |_, cdr| !cdr.outlives_the_switch());
                for (leg, cdr) in lost {
                    self.cdrs.entry(leg).or_insert(Cdr { ended_at: now, ..cdr });
                }
            }
            StoreOp::EndCdr { leg, at, by } => {
                if let Some(cdr) = self.open.remove(&leg) {
                    let ended = Cdr {
                        ended_at: at,
                        ended_by: by,
                        reason: EndReason::Normal,
                        ..cdr
                    };
                    self.cdrs.insert(leg, ended);
                }
            }
            StoreOp::GiveUpCdrs { answered_until, at } => {
                let is_old = |cdr: &Cdr| cdr.answered_at.is_some_and(|answered| answered <= answered_until);
                let lost = self
                    .open
                    .extract_if(.., |_, cdr| cdr.outlives_the_switch() && is_old(cdr));
                for (leg, cdr) in lost {
                    self.cdrs.entry(leg).or_insert(Cdr { ended_at: at, ..cdr });
                }
            }
            StoreOp::PutCdr(cdr) => {
                self.open.remove(&cdr.leg);
                self.cdrs.entry(cdr.leg).or_insert(*cdr);
            }
        }
        StoreReply::Done
    }

    fn forget_device(&mut self, aor: &Aor, key: Box<str>) -> StoreReply {
        let mut gone = Vec::new();
        for message in self.messages.values_mut().filter(|message| message.to == *aor) {
            message.owed.retain(|owed| *owed != key);
            if message.is_taken && message.owed.is_empty() {
                gone.push((message.id, aor.clone()));
            }
        }
        self.messages.retain(|id, _| !gone.iter().any(|(other, _)| other == id));
        self.devices.remove(&(aor.clone(), key));
        StoreReply::Expired(gone)
    }

    /// The same message twice is kept once.
    fn append(&mut self, message: StoredMessage) {
        let key = |m: &StoredMessage| (m.to.clone(), m.from.clone(), m.call_id.clone(), m.cseq);
        self.last_id = self.last_id.max(Some(message.id));
        if !self.messages.values().any(|other| key(other) == key(&message)) {
            self.messages.insert(message.id, message);
        }
    }

    fn count(&self) -> StoreReply {
        let mut per_user: BTreeMap<Aor, u64> = BTreeMap::new();
        for message in self.messages.values() {
            *per_user.entry(message.to.clone()).or_default() += 1;
        }
        StoreReply::Waiting {
            per_user: per_user.into_iter().collect(),
            last_id: self.last_id.unwrap_or(MessageId(0)),
        }
    }
}
