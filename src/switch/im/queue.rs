//! The stored messages of one tray, on their way out: one at a time in the order of acceptance, the next only after a
//! device took the one before and the store has forgotten it. Messages that every device refuses for good are passed over;
//! a reader who is away stops the run, and another try follows when a device registers or after a while.

use super::devices::key_of;
use super::letter::Letter;
use super::{Delivery, Im, Question, Slot, Stage, Tray, timer};
use crate::config::Copies;
use crate::core::Cx;
use crate::room::Room;
use model::{Aor, MessageId, StoreOp, StoreReply, StoredMessage};
use sip::Message;
use sip::endpoint::Alarm;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Messages loaded at once: bodies are at most `im.max_size`, so one reader's lot is at most a quarter of a megabyte by
/// default.
const LOT: u32 = 16;
/// The first pause after a try that failed; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(15);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);
/// Tries of one message that a device answers, but never with 2xx, before it is passed over: one that a device chokes on
/// must not hold up the rest for ever. With the pauses between them, most of an hour.
const MAX_REFUSALS: u32 = 8;

/// Where the stored messages of a reader stand.
#[derive(Debug)]
pub(super) struct Run {
    state: State,
    /// Loaded and not yet sent, in order.
    lot: VecDeque<StoredMessage>,
    /// The last one loaded.
    cursor: MessageId,
    /// Before the cursor, and to be looked for again: they were with devices while the run went past.
    put_back: Option<MessageId>,
    /// Something was stored while the run was on: it may lie before the cursor.
    is_stale: bool,
    /// Tries in a row that failed.
    failures: u32,
    /// Times the message at the head was answered, but not taken.
    refusals: u32,
    /// A device took these while the store was asked: they may come with the lot.
    passed: SmallVec<[MessageId; 1]>,
    /// The lot that was asked for is out of date.
    is_void: bool,
}

impl Default for Run {
    fn default() -> Run {
        Run {
            state: State::Idle,
            lot: VecDeque::new(),
            cursor: MessageId(0),
            put_back: None,
            is_stale: false,
            failures: 0,
            refusals: 0,
            passed: SmallVec::new(),
            is_void: false,
        }
    }
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// The store was asked.
    Loading,
    /// This delivery is with the devices.
    Sending(u64),
    /// A device took the last one, and the store was asked to forget it. Only then does the next one go: a crash brings
    /// at most this one again.
    Deleting,
    /// Until the next try; the number of its timer.
    Resting(u64, Alarm),
}

impl Run {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Something will come that takes the run on.
    fn is_busy(&self) -> bool {
        self.awaits_store() || self.sending().is_some()
    }

    /// The store was asked.
    pub(super) fn awaits_store(&self) -> bool {
        matches!(self.state, State::Loading | State::Deleting)
    }

    /// This message needs to be sent no more.
    pub(super) fn pass(&mut self, id: MessageId) {
        self.lot.retain(|message| message.id != id);
        if matches!(self.state, State::Loading) {
            self.passed.push(id);
        }
    }

    /// What is meant needs to be sent no more, whatever of it the store was asked for before now.
    pub(super) fn pass_all(&mut self, is_meant: impl Fn(&StoredMessage) -> bool) {
        self.lot.retain(|message| !is_meant(message));
        self.is_void |= matches!(self.state, State::Loading);
    }

    /// Nothing that the store was asked for before now is to be sent: it is asked again.
    pub(super) fn void(&mut self) {
        self.lot.clear();
        self.is_void |= matches!(self.state, State::Loading);
    }

    /// A message that was with devices waits here from now on: it goes before what comes after it. `was_known`: it waited here
    /// already, so that what comes after it may wait behind it, and be loaded.
    pub(super) fn put_back(&mut self, letter: &Letter, was_known: bool) {
        self.put_back = Some(self.put_back.map_or(letter.id, |first| first.min(letter.id)));
        if was_known {
            // All from the first on that has to wait: what follows may have to wait for that one.
            let first = self.lot.iter().position(|message| letter.comes_before(message));
            self.lot.truncate(first.unwrap_or(self.lot.len()));
            self.is_void |= matches!(self.state, State::Loading);
        }
    }

    /// What could not be sent now is looked for again.
    pub(super) fn look_again(&mut self) {
        self.is_stale = true;
    }

    /// The delivery that is with the devices.
    pub(super) fn sending(&self) -> Option<u64> {
        match self.state {
            State::Sending(number) => Some(number),
            _ => None,
        }
    }
}

impl Im {
    /// A device of this user has registered. `is_new`: it was not there before, or comes from elsewhere.
    pub(crate) fn on_registered(&mut self, cx: &mut Cx<'_>, aor: &Aor, is_new: bool, request: &Message) {
        self.on_device_registered(cx, aor, is_new, request);
        self.on_present(cx, aor, is_new);
    }

    /// A device of this user can be reached.
    pub(crate) fn on_present(&mut self, cx: &mut Cx<'_>, aor: &Aor, is_new: bool) {
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        if is_new {
            for tray in &mut reader.trays {
                // What it refused it is owed still: it may take it today.
                tray.is_owed |= !tray.refused.is_empty();
                tray.refused.clear();
                tray.run.failures = 0;
            }
            self.join(cx, aor);
        }
        self.kick(cx, aor);
        self.settle(cx);
    }

    /// Tries everything that waited before the restart for somebody who is bound.
    pub(crate) fn on_restored(&mut self, cx: &mut Cx<'_>) {
        let mut waiting: Vec<Aor> = self.readers.keys().cloned().collect();
        waiting.sort_unstable();
        for aor in waiting {
            self.kick(cx, &aor);
        }
        self.settle(cx);
    }

    /// A device that has just come gets at once what others have and did not answer yet.
    fn join(&mut self, cx: &mut Cx<'_>, aor: &Aor) {
        let Some(reader) = self.readers.get(aor) else { return };
        let sending = reader.trays.iter().filter_map(|tray| tray.run.sending());
        let under_way: SmallVec<[u64; 4]> = reader.live.iter().copied().chain(sending).collect();
        for number in under_way {
            if self.deliveries.get(&number).is_some_and(|one| !one.forks.is_empty()) {
                self.send(cx, number);
            }
        }
    }

    /// Starts the runs of this reader for the devices that are there.
    pub(super) fn kick(&mut self, cx: &mut Cx<'_>, aor: &Aor) {
        let Some(reader) = self.readers.get(aor) else { return };
        if cx.core.config.im.copies == Copies::User {
            return self.kick_tray(cx, &Slot::of(aor));
        }
        if reader.stored == 0 {
            return;
        }
        for device in there(cx, aor) {
            let to = aor.clone();
            self.kick_tray(cx, &Slot { to, device });
        }
    }

    /// The trays in which a message waits that those who are there did not take: that of all devices, or of each that is
    /// owed it, and while nobody has it of each that is there.
    pub(super) fn slots(&self, cx: &Cx<'_>, number: u64) -> SmallVec<[Slot; 1]> {
        let Some(delivery) = self.deliveries.get(&number) else {
            return SmallVec::new();
        };
        let to = &delivery.letter.to;
        if cx.core.config.im.copies == Copies::User {
            return SmallVec::from_elem(Slot::of(to), 1);
        }
        let mut devices: SmallVec<[Box<str>; 4]> = delivery.owed.iter().cloned().collect();
        if !delivery.is_taken {
            devices.extend(there(cx, to));
            devices.sort_unstable();
            devices.dedup();
        }
        let slots = devices.into_iter().map(|device| Slot { to: to.clone(), device });
        slots.collect()
    }

    /// A device takes more than was known: what no device would have, or this one refused, is looked at anew.
    pub(super) fn reconsider(&mut self, cx: &mut Cx<'_>, aor: &Aor, device: &str) {
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        for tray in &mut reader.trays {
            tray.is_owed |= !tray.refused.is_empty();
            tray.refused.clear();
            for refusers in tray.refusers.values_mut() {
                refusers.retain(|refuser| **refuser != *device);
            }
            tray.refusers.retain(|_, refusers| !refusers.is_empty());
        }
        self.kick(cx, aor);
    }

    /// Starts a run, if something waits, nothing of it is with devices already, and there are devices.
    pub(super) fn kick_tray(&mut self, cx: &mut Cx<'_>, slot: &Slot) {
        let Some(reader) = self.readers.get_mut(&slot.to) else {
            return;
        };
        let tray = reader.tray(&slot.device);
        if tray.run.is_busy() {
            tray.run.is_stale = true;
            return;
        }
        let is_blocked = reader.live.iter().any(|number| {
            let delivery = self.deliveries.get(number);
            delivery.is_some_and(|delivery| is_stored(delivery.stage) && delivery.is_with(&slot.device))
        });
        if is_blocked || !reader.has_queue(&slot.device) || !is_there(cx, slot) {
            return;
        }
        self.stop_resting(cx, slot);
        let Some(tray) = self.tray(slot) else { return };
        tray.run.cursor = MessageId(0);
        tray.run.is_stale = false;
        tray.run.lot.clear();
        self.load(cx, slot);
    }

    pub(super) fn tray(&mut self, slot: &Slot) -> Option<&mut Tray> {
        Some(self.readers.get_mut(&slot.to)?.tray(&slot.device))
    }

    fn load(&mut self, cx: &mut Cx<'_>, slot: &Slot) {
        let Some(tray) = self.tray(slot) else { return };
        tray.run.state = State::Loading;
        if let Some(first) = tray.run.put_back.take() {
            tray.run.cursor = tray.run.cursor.min(MessageId(first.0.saturating_sub(1)));
        }
        let op = StoreOp::LoadMessages {
            to: slot.to.clone(),
            device: slot.device.clone(),
            after: tray.run.cursor,
            limit: LOT,
        };
        self.ask(cx.core, op, Question::Load(slot.clone()));
    }

    /// A lot has come.
    pub(super) fn on_loaded(&mut self, cx: &mut Cx<'_>, slot: &Slot, messages: Vec<StoredMessage>) {
        cx.core.midst_of("load");
        let Some(tray) = self.tray(slot) else { return };
        if std::mem::take(&mut tray.run.is_void) {
            return self.load(cx, slot);
        }
        let Some(last) = messages.last() else {
            // Where each device has a tray no other one sees all of it.
            if cx.core.config.im.copies == Copies::User && !tray.run.is_stale {
                self.recount(&slot.to);
            }
            return self.on_end_of_run(cx, slot);
        };
        tray.run.cursor = last.id;
        let passed = std::mem::take(&mut tray.run.passed);
        let wanted = |message: &StoredMessage| !passed.contains(&message.id);
        tray.run.lot = messages.into_iter().filter(wanted).collect();
        self.send_next(cx, slot);
    }

    /// The store has nothing more for this reader than what is refused, and what it is keeping or has kept right now. It
    /// keeps a repeated message once, and it was counted twice.
    fn recount(&mut self, aor: &Aor) {
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        let is_stored = |n: &&u64| self.deliveries.get(*n).is_some_and(|live| is_stored(live.stage));
        let live = reader.live.iter().filter(is_stored).count();
        let tray = reader.tray("");
        if tray.run.cursor == MessageId(0) {
            tray.refused.clear();
        }
        let stored = (live + tray.refused.len()).min(reader.stored);
        self.stored = self.stored - reader.stored + stored;
        reader.stored = stored;
    }

    /// Nothing is left behind the cursor.
    fn on_end_of_run(&mut self, cx: &mut Cx<'_>, slot: &Slot) {
        let Some(tray) = self.tray(slot) else { return };
        tray.run.state = State::Idle;
        if std::mem::take(&mut tray.run.is_stale) {
            self.kick_tray(cx, slot);
        } else {
            tray.is_owed = false;
        }
        self.forget_if_idle(&slot.to);
    }

    /// Sends the next message of the lot.
    fn send_next(&mut self, cx: &mut Cx<'_>, slot: &Slot) {
        let Some(reader) = self.readers.get_mut(&slot.to) else {
            return;
        };
        let tray = reader.tray(&slot.device);
        let Some(message) = tray.run.lot.pop_front() else {
            return self.load(cx, slot);
        };
        // With devices from before they were stored.
        let live = || {
            let live = reader.live.iter().filter_map(|number| self.deliveries.get(number));
            live.filter(|live| live.is_with(&slot.device)).map(|live| &live.letter)
        };
        if live().any(|letter| letter.comes_before(&message)) {
            // Another run follows when it is known what comes of that one: who wrote this one, or the same conversation, goes
            // in order, and so does whoever is behind.
            return self.set_state(slot, State::Idle);
        }
        let is_under_way = live().any(|letter| letter.id == message.id);
        if is_under_way
            || reader.gone.contains(&message.id)
            || reader.tray(&slot.device).refused.contains_key(&message.id)
        {
            return self.send_next(cx, slot);
        }
        let (number, id) = (self.next_number(), message.id);
        let mut delivery = Delivery::new(Letter::from(message));
        delivery.stage = Stage::Kept;
        delivery.slot = Some(Box::new(slot.clone()));
        let is_for_few = delivery.letter.kind().is_some();
        self.deliveries.insert(number, delivery);
        self.send(cx, number);
        if self.deliveries.get(&number).is_some_and(|one| !one.forks.is_empty()) {
            return self.set_state(slot, State::Sending(number));
        }
        self.deliveries.remove(&number);
        let is_refused = || {
            Some(
                self.readers
                    .get(&slot.to)?
                    .known_tray(&slot.device)?
                    .refusers
                    .contains_key(&id),
            )
        };
        if (is_for_few || is_refused() == Some(true)) && is_there(cx, slot) {
            // None of those who are there takes such a body, or this one: it waits for one who does.
            self.pass_over(slot, id, true);
            return self.send_next(cx, slot);
        }
        // Away again: the next REGISTER starts another run.
        self.set_state(slot, State::Idle);
    }

    /// A device took what the run has sent.
    pub(super) fn on_queue_taken(&mut self, cx: &mut Cx<'_>, slot: &Slot, id: MessageId) {
        let Some(tray) = self.tray(slot) else { return };
        (tray.run.failures, tray.run.refusals) = (0, 0);
        // A device is well: what it could not take for the moment gets another try after this run.
        tray.run.is_stale |= tray.refused.values().any(|for_good| !for_good);
        tray.refused.retain(|_, for_good| *for_good);
        self.take_off(cx, slot, id, true);
    }

    /// This tray is done with a message: it was taken, or refused for good.
    fn take_off(&mut self, cx: &mut Cx<'_>, slot: &Slot, id: MessageId, has_it: bool) {
        self.set_state(slot, State::Deleting);
        let op = if slot.device.is_empty() {
            StoreOp::DeleteMessage(id)
        } else {
            let device = slot.device.clone();
            StoreOp::TakeMessage { id, device, has_it }
        };
        self.ask(cx.core, op, Question::Delete(slot.clone(), id, has_it));
    }

    /// What a device took is off the disk, or the store cannot do it now: then it is left to it, and the next one goes.
    pub(super) fn on_deleted(
        &mut self,
        cx: &mut Cx<'_>,
        slot: &Slot,
        (id, has_it): (MessageId, bool),
        reply: &StoreReply,
    ) {
        match reply {
            StoreReply::Failed(why) => {
                let device = slot.device.clone();
                if device.is_empty() {
                    self.uncount(&slot.to, id);
                    self.on_gone(cx, &slot.to, id, reply);
                } else {
                    cx.core.tally.store_failures += 1;
                    tracing::error!(to = %slot.to, message = %id, %why, "delivered message not forgotten yet");
                    cx.core.store(StoreOp::TakeMessage { id, device, has_it });
                }
            }
            // Others are owed it, or nobody has it.
            StoreReply::Left(1..) => {}
            _ => self.uncount(&slot.to, id),
        }
        self.send_next(cx, slot);
    }

    /// No device took what the run has sent.
    pub(super) fn on_queue_refused(&mut self, cx: &mut Cx<'_>, slot: &Slot, number: u64) {
        let Some(delivery) = self.deliveries.get(&number) else {
            return;
        };
        let (id, was_heard, after) = (delivery.letter.id, delivery.was_heard, delivery.retry_after);
        let (for_good, refusers) = (delivery.is_refused_for_good(), delivery.refusers.clone());
        let is_returned = self.is_returned(cx, number);
        self.expect_late(number);
        self.end(cx, number);
        self.note_refusers(slot, id, refusers);
        let Some(tray) = self.tray(slot) else { return };
        tray.run.refusals += u32::from(was_heard);
        if for_good || tray.run.refusals >= MAX_REFUSALS {
            tray.run.refusals = 0;
            self.pass_over(slot, id, for_good);
            match is_returned || for_good && !slot.device.is_empty() {
                // Its copy has come to an end; nobody else's has.
                true => self.take_off(cx, slot, id, false),
                false => self.send_next(cx, slot),
            }
        } else {
            tray.run.state = State::Idle;
            self.rest(cx, slot, after);
        }
    }

    /// A try failed: another one after a while, or when the device said. A REGISTER comes first as a rule.
    pub(super) fn rest(&mut self, cx: &mut Cx<'_>, slot: &Slot, after: Option<Duration>) {
        let Some(tray) = self.tray(slot) else { return };
        if tray.run.is_busy() {
            tray.run.is_stale = true;
            return;
        }
        self.stop_resting(cx, slot);
        let number = self.next_number();
        let Some(tray) = self.tray(slot) else { return };
        tray.run.lot.clear();
        let pause = FIRST_PAUSE.saturating_mul(1 << tray.run.failures.min(10));
        let pause = pause.max(after.unwrap_or_default()).min(LONGEST_PAUSE);
        tray.run.failures += 1;
        let alarm = cx
            .core
            .endpoint
            .set_timer(cx.now.mono + pause, Room::Im.owner(number), timer::RETRY);
        tray.run.state = State::Resting(number, alarm);
        self.retries.insert(number, slot.clone());
    }

    /// All trays of this reader.
    pub(super) fn rest_all(&mut self, cx: &mut Cx<'_>, aor: &Aor) {
        let trays = self.readers.get(aor).into_iter().flat_map(|reader| &reader.trays);
        let mut devices: SmallVec<[Box<str>; 2]> = trays.map(|tray| tray.device.clone()).collect();
        if cx.core.config.im.copies == Copies::User && devices.is_empty() {
            devices.push("".into());
        }
        for device in devices {
            let to = aor.clone();
            self.rest(cx, &Slot { to, device }, None);
        }
    }

    fn stop_resting(&mut self, cx: &mut Cx<'_>, slot: &Slot) {
        let Some(tray) = self.tray(slot) else { return };
        if let State::Resting(number, alarm) = std::mem::take(&mut tray.run.state) {
            cx.core.endpoint.cancel_timer(alarm);
            self.retries.remove(&number);
        }
    }

    /// The pause is over.
    pub(super) fn on_retry(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(slot) = self.retries.remove(&number) else {
            return;
        };
        self.set_state(&slot, State::Idle);
        match slot.device.is_empty() == (cx.core.config.im.copies == Copies::User) {
            true => self.kick_tray(cx, &slot),
            // From before a reload: another tray has it.
            false => self.kick(cx, &slot.to),
        }
        self.forget_if_idle(&slot.to);
    }

    /// Gives up what is too old, here by the clock on the wall: days, not seconds.
    pub(super) fn expire(&mut self, cx: &mut Cx<'_>) {
        let next = cx.now.mono + super::EXPIRY_INTERVAL;
        cx.core.endpoint.set_timer(next, Room::Im.owner(0), timer::EXPIRE);
        self.give_up_old(cx);
        self.ask_for_gone(cx);
        if cx.core.config.im.copies == Copies::Device && self.recounting.is_none() {
            self.recounting = Some(BTreeSet::new());
            self.ask(cx.core, StoreOp::CountMessages, Question::Recount);
        }
    }

    /// What waits, where no tray sees all of it: repeated messages were counted twice, and what the store could not keep or
    /// forget at once was miscounted. Readers for whom something happens are left for the next time.
    pub(super) fn on_recounted(&mut self, cx: &mut Cx<'_>, per_user: Vec<(Aor, u64)>) {
        let changed = self.recounting.take().unwrap_or_default();
        let per_user = per_user.into_iter();
        let counted: BTreeMap<Aor, usize> = per_user
            .map(|(aor, count)| (aor, usize::try_from(count).unwrap_or(usize::MAX)))
            .collect();
        for aor in counted.keys().filter(|aor| !changed.contains(*aor)) {
            self.readers.entry(aor.clone()).or_default();
        }
        let mut found = Vec::new();
        let is_quiet = |aor: &Aor, reader: &super::Reader| {
            let is_busy = !reader.live.is_empty() || reader.trays.iter().any(|tray| tray.run.is_busy());
            !is_busy && !changed.contains(aor)
        };
        for (aor, reader) in self.readers.iter_mut().filter(|(aor, reader)| is_quiet(aor, reader)) {
            let counted = counted.get(aor).copied().unwrap_or(0);
            // What a tray passes over may be gone, or there again.
            if counted != reader.stored {
                for tray in &mut reader.trays {
                    tray.refused.clear();
                    tray.is_owed = true;
                }
                found.push(aor.clone());
            }
            self.stored = self.stored - reader.stored + counted;
            reader.stored = counted;
        }
        found.sort_unstable();
        self.readers.retain(|_, reader| !reader.is_idle());
        for aor in found {
            self.kick(cx, &aor);
        }
    }

    pub(super) fn give_up_old(&mut self, cx: &mut Cx<'_>) {
        self.ask(cx.core, StoreOp::ExpireMessages(cx.now.wall), Question::Expire);
    }

    /// These were given up. Who wants to hear of it does.
    pub(super) fn on_expired(&mut self, cx: &mut Cx<'_>, given_up: &[(MessageId, Aor)]) {
        for (id, to) in given_up {
            tracing::info!(%to, message = %id, "stored message given up for its age");
            cx.core.tally.messages_expired += 1;
            self.uncount(to, *id);
            self.mark_failed(cx, *id);
        }
        if given_up.len() >= StoreOp::EXPIRED_AT_ONCE {
            return self.give_up_old(cx);
        }
        // Only now: after a jump of the clock a message and its receipt are over in the same minute, and its sender is told.
        self.expire_receipts(cx);
    }

    /// The store could not say what waits.
    pub(super) fn on_load_failed(&mut self, cx: &mut Cx<'_>, slot: &Slot) {
        cx.core.tally.store_failures += 1;
        if let Some(tray) = self.tray(slot) {
            tray.run.is_void = false;
        }
        self.set_state(slot, State::Idle);
        self.rest(cx, slot, None);
    }

    pub(super) fn set_idle(&mut self, slot: &Slot) {
        self.set_state(slot, State::Idle);
    }

    fn set_state(&mut self, slot: &Slot, state: State) {
        if let Some(tray) = self.tray(slot) {
            tray.run.state = state;
        }
    }
}

impl Delivery {
    /// Whether this device has a copy and has not answered; for the tray of all devices, whether any.
    pub(super) fn is_with(&self, device: &str) -> bool {
        self.forks
            .iter()
            .any(|fork| device.is_empty() || *fork.device == *device)
    }
}

/// The devices of this user that are there.
fn there(cx: &Cx<'_>, aor: &Aor) -> SmallVec<[Box<str>; 4]> {
    let mut devices: SmallVec<[Box<str>; 4]> = SmallVec::new();
    for bound in cx.registrar.bindings(aor, cx.now) {
        let key = key_of(&bound.binding);
        if !devices.iter().any(|device| **device == *key) {
            devices.push(key.into());
        }
    }
    devices
}

/// Whether there is a device that gets what is in this tray.
fn is_there(cx: &Cx<'_>, slot: &Slot) -> bool {
    let bindings = cx.registrar.bindings(&slot.to, cx.now);
    let is_its = |device: &str| slot.device.is_empty() || *slot.device == *device;
    bindings.iter().any(|bound| is_its(key_of(&bound.binding)))
}

fn is_stored(stage: Stage) -> bool {
    matches!(stage, Stage::Keeping | Stage::Kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::Wall;
    use model::SessionId;

    /// The text of a session.
    fn text(id: u64, from: &str, session: u64) -> StoredMessage {
        StoredMessage {
            id: MessageId(id),
            to: Aor::new("1000", "x"),
            from: Aor::new(from, "x"),
            from_display: "".into(),
            call_id: session.to_string().into(),
            cseq: 1,
            content_type: "text/plain".into(),
            body: Vec::new(),
            accepted_at: Wall(0),
            expires_at: Wall(1),
            is_taken: false,
            owed: Vec::new(),
            imdn_id: super::super::session::text_name((SessionId(session), id)),
            wants: 0,
        }
    }

    #[test]
    fn what_has_to_wait_for_one_that_waits_waits_too() {
        let mut run = Run {
            lot: [text(2, "1003", 7), text(3, "1001", 8), text(4, "1002", 8)].into(),
            ..Run::default()
        };
        // It goes before what the same one said in another session, which goes before what is said there.
        run.put_back(&Letter::from(text(1, "1001", 9)), true);
        let left: Vec<u64> = run.lot.iter().map(|message| message.id.0).collect();
        assert_eq!((left, run.put_back), (vec![2], Some(MessageId(1))));
    }
}
