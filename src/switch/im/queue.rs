//! The stored messages of one reader, on their way out: one at a time in the order of acceptance, the next only after a
//! device took the one before and the store has forgotten it. Messages that every device refuses for good are passed over;
//! a reader who is away stops the run, and another try follows when a device registers or after a while.

use super::letter::Letter;
use super::{Delivery, Im, Question, Stage, timer};
use crate::core::Cx;
use crate::room::Room;
use model::{Aor, MessageId, StoreOp, StoreReply, StoredMessage};
use sip::endpoint::Alarm;
use smallvec::SmallVec;
use std::collections::VecDeque;
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
    /// Something was stored while the run was on: it may lie before the cursor.
    is_stale: bool,
    /// Tries in a row that failed.
    failures: u32,
    /// Times the message at the head was answered, but not taken.
    refusals: u32,
    /// A device took these while the store was asked: they may come with the lot.
    passed: SmallVec<[MessageId; 1]>,
}

impl Default for Run {
    fn default() -> Run {
        Run {
            state: State::Idle,
            lot: VecDeque::new(),
            cursor: MessageId(0),
            is_stale: false,
            failures: 0,
            refusals: 0,
            passed: SmallVec::new(),
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
    pub(crate) fn on_registered(&mut self, cx: &mut Cx<'_>, aor: &Aor, is_new: bool) {
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        if is_new {
            reader.refused.clear();
            reader.run.failures = 0;
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
        let under_way: SmallVec<[u64; 4]> = reader.live.iter().copied().chain(reader.run.sending()).collect();
        for number in under_way {
            if let Some(delivery) = self
                .deliveries
                .get_mut(&number)
                .filter(|delivery| !delivery.forks.is_empty())
            {
                delivery.send(cx, number);
            }
        }
    }

    /// Starts a run, if something waits, nothing of it is with devices already, and there are devices.
    pub(super) fn kick(&mut self, cx: &mut Cx<'_>, aor: &Aor) {
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        if reader.run.is_busy() {
            reader.run.is_stale = true;
            return;
        }
        let is_blocked = reader.live.iter().any(|number| {
            let delivery = self.deliveries.get(number);
            delivery.is_some_and(|delivery| is_stored(delivery.stage) && !delivery.forks.is_empty())
        });
        if is_blocked || !reader.has_queue() || cx.registrar.bindings(aor, cx.now).is_empty() {
            return;
        }
        self.stop_resting(cx, aor);
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        reader.run.cursor = MessageId(0);
        reader.run.is_stale = false;
        reader.run.lot.clear();
        self.load(cx, aor);
    }

    fn load(&mut self, cx: &mut Cx<'_>, aor: &Aor) {
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        reader.run.state = State::Loading;
        let after = reader.run.cursor;
        self.ask(
            cx.core,
            StoreOp::LoadMessages {
                to: aor.clone(),
                device: "".into(),
                after,
                limit: LOT,
            },
            Question::Load(aor.clone()),
        );
    }

    /// A lot has come.
    pub(super) fn on_loaded(&mut self, cx: &mut Cx<'_>, aor: &Aor, messages: Vec<StoredMessage>) {
        cx.core.midst_of("load");
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        let Some(last) = messages.last() else {
            if reader.run.cursor == MessageId(0) {
                self.recount(aor);
            }
            return self.on_end_of_run(cx, aor);
        };
        reader.run.cursor = last.id;
        let passed = std::mem::take(&mut reader.run.passed);
        let wanted = |message: &StoredMessage| !passed.contains(&message.id);
        reader.run.lot = messages.into_iter().filter(wanted).collect();
        self.send_next(cx, aor);
    }

    /// The store has nothing for this reader but what it is keeping right now. It kept a repeated message once that was
    /// counted twice.
    fn recount(&mut self, aor: &Aor) {
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        let is_keeping = |n: &&u64| self.deliveries.get(*n).is_some_and(|live| live.stage == Stage::Keeping);
        let stored = reader.live.iter().filter(is_keeping).count();
        self.stored = self.stored - reader.stored + stored;
        reader.stored = stored;
        reader.refused.clear();
    }

    /// Nothing is left behind the cursor.
    fn on_end_of_run(&mut self, cx: &mut Cx<'_>, aor: &Aor) {
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        reader.run.state = State::Idle;
        if std::mem::take(&mut reader.run.is_stale) {
            self.kick(cx, aor);
        }
        self.forget_if_idle(aor);
    }

    /// Sends the next message of the lot.
    fn send_next(&mut self, cx: &mut Cx<'_>, aor: &Aor) {
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        let Some(message) = reader.run.lot.pop_front() else {
            return self.load(cx, aor);
        };
        // One that a device refused for good, or that is with devices right now from before it was stored.
        let is_under_way = |number: &u64| {
            self.deliveries
                .get(number)
                .is_some_and(|live| live.letter.id == message.id)
        };
        if reader.refused.contains_key(&message.id) || reader.live.iter().any(is_under_way) {
            return self.send_next(cx, aor);
        }
        let number = self.next_number();
        let mut delivery = Delivery::new(Letter::from(message));
        delivery.stage = Stage::Kept;
        delivery.send(cx, number);
        if delivery.forks.is_empty() {
            // Away again: the next REGISTER starts another run.
            self.set_state(aor, State::Idle);
            return;
        }
        self.deliveries.insert(number, delivery);
        self.set_state(aor, State::Sending(number));
    }

    /// Whether this delivery is the one the run of this reader has sent.
    pub(super) fn is_of_queue(&self, aor: &Aor, number: u64) -> bool {
        self.readers.get(aor).and_then(|reader| reader.run.sending()) == Some(number)
    }

    /// A device took what the run has sent.
    pub(super) fn on_queue_taken(&mut self, cx: &mut Cx<'_>, aor: &Aor, id: MessageId) {
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        (reader.run.failures, reader.run.refusals) = (0, 0);
        // A device is well: what it could not take for the moment gets another try after this run.
        reader.run.is_stale |= reader.refused.values().any(|for_good| !for_good);
        reader.refused.retain(|_, for_good| *for_good);
        reader.run.state = State::Deleting;
        self.ask(cx.core, StoreOp::DeleteMessage(id), Question::Delete(aor.clone(), id));
    }

    /// What a device took is off the disk, or the store cannot do it now: then it is left to it, and the next one goes.
    pub(super) fn on_deleted(&mut self, cx: &mut Cx<'_>, aor: &Aor, id: MessageId, reply: &StoreReply) {
        if let StoreReply::Failed(why) = reply {
            cx.core.tally.store_failures += 1;
            tracing::error!(to = %aor, message = %id, %why, "delivered message not forgotten yet");
            cx.core.store(StoreOp::DeleteMessage(id));
        }
        self.uncount(aor, id);
        self.send_next(cx, aor);
    }

    /// No device took what the run has sent.
    pub(super) fn on_queue_refused(&mut self, cx: &mut Cx<'_>, aor: &Aor, number: u64) {
        let delivery = self.deliveries.get(&number);
        let Some((id, refusal, was_heard)) = delivery.map(|one| (one.letter.id, one.refusal.clone(), one.was_heard))
        else {
            return;
        };
        self.expect_late(number);
        self.end(cx, number);
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        reader.run.refusals += u32::from(was_heard);
        let for_good = refusal.is_some_and(|refusal| refusal.is_for_good());
        if for_good || reader.run.refusals >= MAX_REFUSALS {
            reader.run.refusals = 0;
            self.pass_over(aor, id, for_good);
            self.send_next(cx, aor);
        } else {
            reader.run.state = State::Idle;
            self.rest(cx, aor);
        }
    }

    /// Every device refused this one: it stays stored for a device to come, and holds up nothing.
    pub(super) fn pass_over(&mut self, aor: &Aor, id: MessageId, for_good: bool) {
        if let Some(reader) = self.readers.get_mut(aor) {
            tracing::info!(to = %aor, message = %id, "every device refuses a stored message: passed over");
            reader.refused.insert(id, for_good);
        }
    }

    /// A try failed: another one after a while. A REGISTER comes first as a rule.
    pub(super) fn rest(&mut self, cx: &mut Cx<'_>, aor: &Aor) {
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        if reader.run.is_busy() {
            reader.run.is_stale = true;
            return;
        }
        self.stop_resting(cx, aor);
        let number = self.next_number();
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        reader.run.lot.clear();
        let pause = FIRST_PAUSE
            .saturating_mul(1 << reader.run.failures.min(10))
            .min(LONGEST_PAUSE);
        reader.run.failures += 1;
        let alarm = cx
            .core
            .endpoint
            .set_timer(cx.now.mono + pause, Room::Im.owner(number), timer::RETRY);
        reader.run.state = State::Resting(number, alarm);
        self.retries.insert(number, aor.clone());
    }

    fn stop_resting(&mut self, cx: &mut Cx<'_>, aor: &Aor) {
        let Some(reader) = self.readers.get_mut(aor) else {
            return;
        };
        if let State::Resting(number, alarm) = std::mem::take(&mut reader.run.state) {
            cx.core.endpoint.cancel_timer(alarm);
            self.retries.remove(&number);
        }
    }

    /// The pause is over.
    pub(super) fn on_retry(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(aor) = self.retries.remove(&number) else {
            return;
        };
        self.set_state(&aor, State::Idle);
        self.kick(cx, &aor);
        self.forget_if_idle(&aor);
    }

    /// Gives up what is too old, here by the clock on the wall: days, not seconds.
    pub(super) fn expire(&mut self, cx: &mut Cx<'_>) {
        let next = cx.now.mono + super::EXPIRY_INTERVAL;
        cx.core.endpoint.set_timer(next, Room::Im.owner(0), timer::EXPIRE);
        self.ask(cx.core, StoreOp::ExpireMessages(cx.now.wall), Question::Expire);
    }

    /// These were given up.
    pub(super) fn on_expired(&mut self, cx: &mut Cx<'_>, given_up: &[(MessageId, Aor)]) {
        for (id, to) in given_up {
            tracing::info!(%to, message = %id, "stored message given up for its age");
            cx.core.tally.messages_expired += 1;
            self.uncount(to, *id);
        }
        if given_up.len() >= StoreOp::EXPIRED_AT_ONCE {
            self.ask(cx.core, StoreOp::ExpireMessages(cx.now.wall), Question::Expire);
        }
    }

    /// The store could not say what waits.
    pub(super) fn on_load_failed(&mut self, cx: &mut Cx<'_>, aor: &Aor) {
        cx.core.tally.store_failures += 1;
        self.set_state(aor, State::Idle);
        self.rest(cx, aor);
    }

    pub(super) fn set_idle(&mut self, aor: &Aor) {
        self.set_state(aor, State::Idle);
    }

    fn set_state(&mut self, aor: &Aor, state: State) {
        if let Some(reader) = self.readers.get_mut(aor) {
            reader.run.state = state;
        }
    }
}

fn is_stored(stage: Stage) -> bool {
    matches!(stage, Stage::Keeping | Stage::Kept)
}
