//! The store as the switch sees it: operations take effect a while after they were asked, in order, many at once; those
//! with a token may fail; what had not taken effect when the switch died may or may not have.

use crate::random::Random;
use clock::Wall;
use model::{
    Aor, Binding, BindingKey, Cdr, EndReason, KeptSubscription, KnownDevice, LegId, MessageId, Receipt, StoreError,
    StoreOp, StoreReply, StoredMessage, UserSettings,
};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use switch::Token;

/// To, from, Call-ID and CSeq of a message as its sender sent it.
type Origin = (Aor, Aor, Box<str>, u32);

/// What is on disk, and what waits to be.
#[derive(Debug, Default)]
pub struct Store {
    bindings: BTreeMap<(Aor, BindingKey), Binding>,
    messages: BTreeMap<MessageId, StoredMessage>,
    came: HashMap<Origin, Wall>,
    /// Call-IDs of all messages that ever were on disk.
    kept: HashSet<Box<str>>,
    last_id: u64,
    cdrs: BTreeMap<LegId, Cdr>,
    open: BTreeMap<LegId, Cdr>,
    settings: BTreeMap<Aor, UserSettings>,
    devices: BTreeMap<(Aor, Box<str>), KnownDevice>,
    receipts: BTreeMap<MessageId, Receipt>,
    subscriptions: BTreeMap<u64, KeptSubscription>,
    waiting: VecDeque<(Option<Token>, StoreOp)>,
    /// In how many of 1000 cases an operation with a token fails.
    pub failing: u32,
    /// Something that must not be; the caller says it aloud.
    pub fault: Option<String>,
}

impl Store {
    /// Takes an operation; true if a commit has to be made soon.
    pub fn ask(&mut self, token: Option<Token>, op: StoreOp) -> bool {
        self.waiting.push_back((token, op));
        self.waiting.len() == 1
    }

    /// All that waits takes effect; the replies.
    pub fn commit(&mut self, random: &mut Random) -> Vec<(Token, StoreReply)> {
        let mut replies = Vec::new();
        for (token, op) in std::mem::take(&mut self.waiting) {
            // Who does not know which devices there are owes them nothing: a switch that cannot read them at its start is not
            // what is looked at here.
            let may_fail = token.is_some() && !matches!(op, StoreOp::LoadDevices);
            let fails = may_fail && random.permille(self.failing);
            let reply = if fails {
                StoreReply::Failed(StoreError::Io)
            } else {
                self.run(op)
            };
            replies.extend(token.map(|token| (token, reply)));
        }
        replies
    }

    /// The switch died: of what waits, a part reached the disk, and nobody hears of it.
    pub fn crash(&mut self, random: &mut Random) {
        let reached = random.below(self.waiting.len() + 1);
        let waiting: Vec<_> = std::mem::take(&mut self.waiting).into_iter().take(reached).collect();
        for (_, op) in waiting {
            self.run(op);
        }
    }

    fn run(&mut self, op: StoreOp) -> StoreReply {
        match op {
            StoreOp::PutBinding(binding) => {
                self.bindings
                    .insert((binding.aor.clone(), binding.key.clone()), *binding);
            }
            StoreOp::DeleteBinding { aor, key } => {
                self.bindings.remove(&(aor, key));
            }
            StoreOp::LoadBindings => {
                let mut all: Vec<Binding> = self.bindings.values().cloned().collect();
                all.sort_by(|a, b| (&a.aor, a.created_at).cmp(&(&b.aor, b.created_at)));
                return StoreReply::Bindings(all);
            }
            StoreOp::AppendMessage(message) => return self.append(*message),
            StoreOp::LoadMessages {
                to,
                device,
                after,
                limit,
            } => {
                let waits = |m: &&StoredMessage| m.to == to && m.id > after && m.is_for(&device);
                let of_reader = self.messages.values().filter(waits);
                return StoreReply::Messages(of_reader.take(limit as usize).cloned().collect());
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
            StoreOp::ExpireMessages(at) => return self.expire(at),
            StoreOp::CountMessages => {
                let mut per_user: BTreeMap<Aor, u64> = BTreeMap::new();
                for message in self.messages.values() {
                    *per_user.entry(message.to.clone()).or_default() += 1;
                }
                let per_user = per_user.into_iter().collect();
                let last_id = MessageId(self.last_id);
                return StoreReply::Waiting { per_user, last_id };
            }
            StoreOp::ExpireCdrs(_) | StoreOp::PutRecording(_) => {}
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
            // Nobody in this simulation has a workspace: there are no sessions.
            StoreOp::LoadSessions => return StoreReply::Sessions(Vec::new()),
            StoreOp::ExpireSessions(_) => {}
            StoreOp::PutSession(_)
            | StoreOp::PutSessionMessage(_)
            | StoreOp::CloseSession { .. }
            | StoreOp::EraseSession(_) => self.fault = Some("a session without a workspace".to_owned()),
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
                if let Some(before) = self.cdrs.insert(cdr.leg, *cdr) {
                    self.fault = Some(format!("two records of one leg, Call-ID {}", before.call_id));
                }
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

    fn append(&mut self, message: StoredMessage) -> StoreReply {
        let origin = origin(&message);
        if self.came.contains_key(&origin) {
            return StoreReply::Done;
        }
        if self.messages.contains_key(&message.id) {
            self.fault = Some(format!("id {} is given twice", message.id));
            return StoreReply::Failed(StoreError::Conflict);
        }
        self.kept.insert(message.call_id.clone());
        self.came.insert(origin, message.accepted_at);
        self.last_id = self.last_id.max(message.id.0);
        self.messages.insert(message.id, message);
        StoreReply::Done
    }

    fn expire(&mut self, at: Wall) -> StoreReply {
        let old: Vec<(MessageId, Aor)> = self
            .messages
            .values()
            .filter(|m| m.expires_at <= at)
            .take(StoreOp::EXPIRED_AT_ONCE)
            .map(|m| (m.id, m.to.clone()))
            .collect();
        for (id, _) in &old {
            self.messages.remove(id);
        }
        let waiting: HashSet<Origin> = self.messages.values().map(origin).collect();
        self.came
            .retain(|origin, came| waiting.contains(origin) || *came + StoreOp::RETRY_WINDOW > at);
        StoreReply::Expired(old)
    }

    /// Whether a message of this Call-ID is, or was, on disk.
    pub fn has_kept(&self, call_id: &str) -> bool {
        self.kept.contains(call_id)
    }

    /// Messages that wait, as (sender, reader, content).
    pub fn messages(&self) -> impl Iterator<Item = &StoredMessage> {
        self.messages.values()
    }

    pub fn bindings(&self) -> usize {
        self.bindings.len()
    }

    pub fn cdrs(&self) -> impl Iterator<Item = &Cdr> {
        self.cdrs.values()
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
