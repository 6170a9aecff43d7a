//! What a store holds, and what each operation does to it: shared by the tests of this crate and by `tests/sim`, which differ
//! in when operations take effect and which of them fail.

use clock::Wall;
use model::{
    Aor, Binding, BindingKey, Cdr, EndReason, ImMessage, KeptSession, KeptSubscription, KnownDevice, LegId, MessageId,
    Receipt, SessionId, StoreError, StoreOp, StoreReply, StoredMessage, UserSettings,
};
use std::collections::BTreeMap;

/// To, from, Call-ID and CSeq of a message as its sender sent it.
type Origin = (Aor, Aor, Box<str>, u32);

/// What is on disk.
#[derive(Debug, Default)]
pub struct Tables {
    /// By user and key.
    pub bindings: BTreeMap<(Aor, BindingKey), Binding>,
    /// In the order of acceptance.
    pub messages: BTreeMap<MessageId, StoredMessage>,
    /// When messages came that were kept lately, or wait.
    pub came: BTreeMap<Origin, (MessageId, Wall)>,
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
    /// Of legs that are over, until their records come: what is said ahead of them outlives a crash.
    pub left: BTreeMap<LegId, Cdr>,
    /// Bindings written so far.
    pub bindings_written: u64,
    /// Something that a switch must not ask for.
    pub fault: Option<String>,
    last_id: u64,
}

impl Tables {
    /// Carries out an operation.
    pub fn apply(&mut self, op: StoreOp) -> StoreReply {
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
            StoreOp::AppendMessage(message) => return self.append(*message),
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
            StoreOp::TakeMessage { id, device, has_it } => {
                let message = self.messages.get_mut(&id);
                let left = message.map_or(0, |message| message.take(&device, has_it));
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
            StoreOp::DropMessages { to, id, except } => return self.drop_messages(&to, id, &except),
            StoreOp::ForgetTexts { to, call_id, until } => return self.forget_texts(&to, &call_id, until),
            StoreOp::ExpireMessages(at) => return self.expire(at),
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
            StoreOp::LeaveCdr(cdr) => {
                self.left.insert(cdr.leg, *cdr);
            }
            StoreOp::CloseOpenCdrs(now) => {
                for (leg, cdr) in std::mem::take(&mut self.left) {
                    self.open.remove(&leg);
                    self.cdrs.entry(leg).or_insert(cdr);
                }
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
                self.left.remove(&cdr.leg);
                if let Some(before) = self.cdrs.get(&cdr.leg) {
                    self.fault = Some(format!("two records of one leg, Call-ID {}", before.call_id));
                }
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

    /// The same message twice is kept once, even when the first was taken meanwhile.
    fn append(&mut self, message: StoredMessage) -> StoreReply {
        let origin = origin(&message);
        if let Some((id, _)) = self.came.get(&origin) {
            let waits = self.messages.contains_key(id);
            return StoreReply::Known(waits.then_some(*id));
        }
        if self.messages.contains_key(&message.id) {
            self.fault = Some(format!("id {} is given twice", message.id));
            return StoreReply::Failed(StoreError::Conflict);
        }
        self.came.insert(origin, (message.id, message.accepted_at));
        self.last_id = self.last_id.max(message.id.0);
        self.messages.insert(message.id, message);
        StoreReply::Done
    }

    fn drop_messages(&mut self, to: &Aor, id: Option<MessageId>, except: &[MessageId]) -> StoreReply {
        let theirs = self.messages.values().filter(|message| message.to == *to);
        let ids = theirs.map(|message| message.id);
        let ids = ids.filter(|one| id.is_none_or(|id| id == *one) && !except.contains(one));
        let gone: Vec<MessageId> = ids.take(StoreOp::EXPIRED_AT_ONCE).collect();
        self.messages.retain(|id, _| !gone.contains(id));
        StoreReply::Expired(gone.into_iter().map(|id| (id, to.clone())).collect())
    }

    fn forget_texts(&mut self, to: &Aor, call_id: &str, until: u32) -> StoreReply {
        let is_meant = |m: &&StoredMessage| m.to == *to && *m.call_id == *call_id && m.cseq <= until;
        let ids = self.messages.values().filter(is_meant).map(|message| message.id);
        let gone: Vec<MessageId> = ids.take(StoreOp::EXPIRED_AT_ONCE).collect();
        self.messages.retain(|id, _| !gone.contains(id));
        StoreReply::Expired(gone.into_iter().map(|id| (id, to.clone())).collect())
    }

    fn expire(&mut self, at: Wall) -> StoreReply {
        let old = self.messages.values().filter(|message| message.expires_at <= at);
        let mut old: Vec<_> = old.map(|m| (m.expires_at, m.id, m.to.clone())).collect();
        old.sort_unstable();
        old.truncate(StoreOp::EXPIRED_AT_ONCE);
        let mut gone: Vec<(MessageId, Aor)> = old.into_iter().map(|(_, id, to)| (id, to)).collect();
        gone.sort_unstable();
        for (id, _) in &gone {
            if let Some(message) = self.messages.remove(id) {
                self.came.remove(&origin(&message));
            }
        }
        let waiting: std::collections::BTreeSet<Origin> = self.messages.values().map(origin).collect();
        self.came
            .retain(|origin, (_, came)| waiting.contains(origin) || *came + StoreOp::RETRY_WINDOW > at);
        StoreReply::Expired(gone)
    }

    fn count(&self) -> StoreReply {
        let mut per_user: BTreeMap<Aor, u64> = BTreeMap::new();
        for message in self.messages.values() {
            *per_user.entry(message.to.clone()).or_default() += 1;
        }
        StoreReply::Waiting {
            per_user: per_user.into_iter().collect(),
            last_id: MessageId(self.last_id),
        }
    }
}

fn origin(message: &StoredMessage) -> Origin {
    (
        message.to.clone(),
        message.from.clone(),
        message.call_id.clone(),
        message.cseq,
    )
}
