//! A message and the devices of its reader: sent to all, the first 2xx counts, and the sender has an answer in time.
//!
//! With `im.copies = "device"` each known device is owed a copy. The sender hears 200 when the first has it, but not before
//! what the others are owed is on disk; where all others answer at once nothing is written.

use super::devices::{Kind, key_of};
use super::letter::Form;
use super::post::{self, Fate};
use super::verdict::Verdict;
use super::{Delivery, Fork, Im, Question, Stage, imdn, timer};
use crate::config::Copies;
use crate::core::Cx;
use crate::registrar;
use crate::room::Room;
use clock::Mono;
use model::{Aor, MessageId, MessageState, StoreError, StoreOp, StoredMessage, Transport};
use sip::body::imdn::Mark;
use sip::endpoint::ClientId;
use sip::{Destination, Draft, Name, Reply};
use smallvec::SmallVec;
use std::time::Duration;

/// When one device has a message the others have so long to answer before their copies are written down: T1, in which a
/// device in the same house answers.
const GRACE: Duration = Duration::from_millis(500);
/// Times the store is asked to keep what it may know from before a restart, each time it fails.
const MAX_FAULTS: u8 = 3;

/// A way to one device, and how the message is to look there.
pub(super) struct Way {
    pub(super) destination: Destination,
    pub(super) uri: Vec<u8>,
    /// Route of what goes there; empty for none.
    pub(super) path: Box<str>,
    pub(super) contact: Box<str>,
    pub(super) device: Box<str>,
    pub(super) form: Form,
}

impl Im {
    /// Sends a message of a sender to the devices of its reader, or to the store if there is none.
    pub(super) fn attempt(&mut self, cx: &mut Cx<'_>, number: u64) {
        if cx.core.config.im.copies == Copies::Device {
            self.owe(cx, number);
        }
        self.send(cx, number);
        cx.core.midst_of("attempt");
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        if delivery.forks.is_empty() {
            return self.keep(cx, number);
        }
        delivery.stage = Stage::Trying;
        let is_asked = |device: &str| delivery.forks.iter().any(|fork| *fork.device == *device);
        if !delivery.owed.iter().all(|device| is_asked(device)) {
            self.keep(cx, number);
        }
    }

    /// Notes which devices are to get copies of their own; of a body that only some take, none but those.
    fn owe(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        if !delivery.letter.is_transient && cx.core.config.im.store {
            let (to, kind) = (&delivery.letter.to, delivery.letter.kind());
            let takes = |device: &&str| kind.is_none_or(|kind| self.devices.takes(to, device).has(kind));
            let expected = self.devices.expected(to, cx.now.wall).filter(takes);
            delivery.owed = expected.map(Into::into).collect();
        }
    }

    /// A device's final answer, or that there is none.
    pub(super) fn on_answer(&mut self, cx: &mut Cx<'_>, number: u64, client: ClientId, verdict: Verdict) {
        let Some(fork) = self.take_fork(number, client, &verdict) else {
            return;
        };
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        let (owner, id) = (delivery.owner, delivery.posted_as);
        if fork.form == Form::Envelope && self.is_retried_plain(cx, number, &fork, &verdict) {
            return;
        }
        post::tell(cx, owner, id, || post::fate(fork.contact.clone(), &verdict));
        self.learn_refusal(cx, number, &fork, &verdict);
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        match verdict {
            Verdict::Took => return self.on_taken(cx, number, &fork.device),
            Verdict::Refused(refusal) => self.on_refused(cx, number, &fork.device, refusal),
            Verdict::Unable(_, after) => {
                delivery.was_heard = true;
                delivery.undecided.push(fork.device);
                delivery.retry_after = delivery.retry_after.max(after);
            }
            Verdict::Absent => {
                delivery.undecided.push(fork.device.clone());
                delivery.silent.push(fork);
            }
        }
        if self.deliveries.get(&number).is_some_and(|one| one.forks.is_empty()) {
            self.on_all_failed(cx, number);
        }
    }

    /// The copy that this answer is about. One that was given up counts only if it is taken after all.
    fn take_fork(&mut self, number: u64, client: ClientId, verdict: &Verdict) -> Option<Fork> {
        let delivery = self.deliveries.get_mut(&number)?;
        let is_it = |fork: &Fork| fork.client == client;
        if let Some(place) = delivery.forks.iter().position(is_it) {
            return Some(delivery.forks.remove(place));
        }
        let place = delivery.silent.iter().position(is_it)?;
        matches!(verdict, Verdict::Took).then(|| delivery.silent.remove(place))
    }

    /// What a device says to an envelope tells whether it takes envelopes. If it does not, it gets what is inside.
    fn is_retried_plain(&mut self, cx: &mut Cx<'_>, number: u64, fork: &Fork, verdict: &Verdict) -> bool {
        let takes = match verdict {
            Verdict::Took => true,
            Verdict::Refused(refusal) if refusal.is_of_body() => false,
            _ => return false,
        };
        let Some(delivery) = self.deliveries.get(&number) else {
            return false;
        };
        let (to, is_only_envelope) = (delivery.letter.to.clone(), delivery.letter.kind().is_some());
        self.learn(cx, &to, &fork.device, Kind::Envelope, takes);
        if takes || is_only_envelope {
            return false;
        }
        let bindings = cx.registrar.bindings(&to, cx.now);
        let bound = bindings.iter().find(|bound| bound.binding.contact == fork.contact);
        let there = bound.map(|bound| (bound.request_uri().to_vec(), bound.binding.path.clone()));
        drop(bindings);
        let Some((uri, path)) = there else { return false };
        let way = Way {
            destination: fork.destination.clone(),
            uri,
            path,
            contact: fork.contact.clone(),
            device: fork.device.clone(),
            form: Form::Plain,
        };
        if let Some(delivery) = self.deliveries.get_mut(&number) {
            delivery.send(cx, number, [way]);
        }
        true
    }

    /// A body that only some take was refused: this device gets none of its kind any more.
    fn learn_refusal(&mut self, cx: &mut Cx<'_>, number: u64, fork: &Fork, verdict: &Verdict) {
        let Some(delivery) = self.deliveries.get(&number) else {
            return;
        };
        if let (Some(kind), Verdict::Refused(refusal)) = (delivery.letter.kind(), verdict)
            && refusal.is_of_body()
        {
            let to = delivery.letter.to.clone();
            self.learn(cx, &to, &fork.device, kind, false);
        }
    }

    /// A device has it. Unless others are owed copies, what they answer no longer matters; theirs are on the way.
    pub(super) fn on_taken(&mut self, cx: &mut Cx<'_>, number: u64, device: &str) {
        cx.core.midst_of("take");
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        // Its session has heard that it is stored, and nothing since.
        let is_late = !delivery.is_taken && delivery.owner.is_none();
        delivery.is_taken = true;
        delivery.owed.retain(|owed| **owed != *device);
        let letter = &delivery.letter;
        let (to, from, id, stage) = (letter.to.clone(), letter.from.clone(), letter.id, delivery.stage);
        let (is_news, text) = (letter.kind().is_none(), letter.of_session());
        let origin = (letter.call_id.clone(), letter.cseq);
        let may_come_again = letter.accepted_at + StoreOp::RETRY_WINDOW > cx.now.wall;
        tracing::info!(call_id = &*letter.call_id, %from, %to, "message delivered");
        if let Some(slot) = delivery.slot.take() {
            cx.core.tally.messages_forwarded += 1;
            post::tell_session(cx, (text, id), &to, None);
            self.end(cx, number);
            self.on_queue_taken(cx, &slot, id);
            if may_come_again {
                self.on_taken_from_store(cx, (id, (&to, &from, &origin.0, origin.1)), device);
            }
            return self.note_delivered(cx, (id, &from, &to), is_news);
        }
        if is_late {
            post::tell_session(cx, (text, id), &to, None);
        }
        // A run that the answer itself has set off may have asked for it.
        let is_done = delivery.owed.is_empty();
        for tray in self.readers.get_mut(&to).into_iter().flat_map(|one| &mut one.trays) {
            if is_done || tray.device.is_empty() || *tray.device == *device {
                tray.run.pass(id);
            }
        }
        if !is_done {
            self.on_taken_by_one(cx, number, device);
            return self.note_delivered(cx, (id, &from, &to), is_news);
        }
        if matches!(stage, Stage::Keeping | Stage::Kept) {
            self.forget_message(cx, &to, id);
        }
        match stage {
            Stage::Kept => cx.core.tally.messages_forwarded += 1,
            _ => cx.core.tally.messages_delivered += 1,
        }
        self.answer(cx, number, &Reply::new(200));
        self.end_live(cx, number);
        self.note_delivered(cx, (id, &from, &to), is_news);
        self.kick(cx, &to);
    }

    /// Of what says something about messages nobody is told.
    fn note_delivered(&mut self, cx: &mut Cx<'_>, of: (MessageId, &Aor, &Aor), is_news: bool) {
        if is_news {
            self.mark(cx, of, Mark::Delivered);
        }
    }

    /// A device has it, and others are to get theirs.
    fn on_taken_by_one(&mut self, cx: &mut Cx<'_>, number: u64, device: &str) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        match delivery.stage {
            Stage::Trying | Stage::Behind if delivery.forks.is_empty() => self.keep(cx, number),
            Stage::Trying | Stage::Behind => {
                let (endpoint, at) = (&mut cx.core.endpoint, cx.now.mono + GRACE);
                let alarm = endpoint.set_timer(at, Room::Im.owner(number), timer::ANSWER);
                if let Some(before) = delivery.alarm.replace(alarm) {
                    endpoint.cancel_timer(before);
                }
            }
            Stage::Keeping | Stage::Kept => {
                let is_kept = delivery.stage == Stage::Kept;
                self.part(cx, number, device, true);
                if is_kept {
                    self.conclude(cx, number);
                }
            }
        }
    }

    /// No device is left that could take it.
    fn on_all_failed(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(delivery) = self.deliveries.get(&number) else {
            return;
        };
        let is_owed = !delivery.owed.is_empty();
        match (&delivery.slot, delivery.stage, delivery.refusal.clone()) {
            (Some(slot), ..) => {
                let slot = slot.clone();
                self.on_queue_refused(cx, &slot, number);
            }
            (None, Stage::Trying | Stage::Behind, _) if delivery.is_taken && !is_owed => self.succeed(cx, number),
            (None, Stage::Trying, Some(refusal)) if !is_owed => self.give_up(cx, number, &refusal.reply()),
            (None, Stage::Trying | Stage::Behind, _) => self.keep(cx, number),
            // The store's answer is still to come; then it is one of the queue.
            (None, Stage::Keeping, _) => {}
            // It is stored, and who is there did not take it: another time.
            (None, Stage::Kept, _) => {
                self.answer_kept(cx, number);
                self.release(number);
                self.put_by(cx, number);
            }
        }
    }

    /// All that are owed it have it, or do not want it.
    pub(super) fn succeed(&mut self, cx: &mut Cx<'_>, number: u64) {
        cx.core.tally.messages_delivered += 1;
        self.answer(cx, number, &Reply::new(200));
        self.end_live(cx, number);
    }

    /// The time for an answer is over: the message is stored, and so are those that wait behind it.
    pub(super) fn on_no_answer(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        delivery.alarm = None;
        match delivery.stage {
            Stage::Trying | Stage::Behind => self.keep(cx, number),
            Stage::Keeping => self.release(number),
            Stage::Kept => self.conclude(cx, number),
        }
    }

    /// Asks the store to keep a message, where that is wanted and of use; otherwise its sender hears that nobody is there.
    pub(super) fn keep(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        if delivery.letter.is_transient || !cx.core.config.im.store {
            return if delivery.is_taken {
                self.succeed(cx, number);
            } else {
                self.give_up(cx, number, &Reply::new(480));
            };
        }
        if delivery.is_taken && delivery.owed.is_empty() {
            // Who has not answered has it by another way, or will not come back.
            return self.succeed(cx, number);
        }
        delivery.stage = Stage::Keeping;
        let stored = Box::new(StoredMessage {
            owed: delivery.owed.clone(),
            is_taken: delivery.is_taken,
            ..delivery.letter.stored()
        });
        // Somebody may take it soon and its sender be told 200: who waits behind it is not to be stored for that.
        let is_early = !delivery.forks.is_empty() && !delivery.is_taken && delivery.alarm.is_some();
        let to = stored.to.clone();
        let reader = self.readers.entry(to.clone()).or_default();
        if reader.stored == 0 && !delivery.owed.is_empty() {
            // Whoever has it is owed nothing, and need not look.
            for device in self.devices.expected(&to, cx.now.wall) {
                reader.tray(device).is_owed = false;
            }
        }
        reader.stored += 1;
        let delivery = &*delivery;
        reader.owe(delivery, |device| delivery.is_with(device));
        self.stored += 1;
        self.note_change(&to);
        self.keep_receipt(cx.core, stored.id);
        let id = stored.id;
        let question = Question::Append { number, to, id };
        self.ask(cx.core, StoreOp::AppendMessage(stored), question);
        if !is_early {
            self.release(number);
        }
    }

    /// From now on it counts as stored for whoever has not taken it: what waits behind it goes on.
    fn release(&mut self, number: u64) {
        let delivery = self.deliveries.get_mut(&number);
        let was_known = delivery.is_some_and(|delivery| std::mem::replace(&mut delivery.is_released, true));
        let Some(delivery) = self.deliveries.get(&number) else {
            return;
        };
        if let Some(reader) = self.readers.get_mut(&delivery.letter.to) {
            reader.owe(delivery, |_| false);
            for tray in &mut reader.trays {
                tray.run.put_back(&delivery.letter, was_known);
            }
        }
        let next = self.next_behind(&delivery.letter.to, &delivery.letter.from);
        self.due.extend(next);
    }

    /// The message is on disk.
    pub(super) fn on_kept(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        delivery.stage = Stage::Kept;
        cx.core.midst_of("keep");
        let parted = std::mem::take(&mut delivery.parted);
        let letter = &delivery.letter;
        let (id, from, to) = (letter.id, letter.from.clone(), letter.to.clone());
        tracing::info!(call_id = &*letter.call_id, %from, %to, "message stored");
        if !delivery.is_taken {
            cx.core.tally.messages_stored += 1;
        }
        if !delivery.is_taken && letter.kind().is_none() {
            imdn::announce(cx, id, &from, &to, MessageState::Stored);
        }
        let may_be_taken = !delivery.forks.is_empty() && !delivery.is_taken && delivery.alarm.is_some();
        for (device, has_it) in parted {
            self.ask_to_take(cx.core, (&to, id), device, has_it);
        }
        if !may_be_taken {
            self.conclude(cx, number);
        }
    }

    /// It is on disk, and its sender need not wait longer.
    pub(super) fn conclude(&mut self, cx: &mut Cx<'_>, number: u64) {
        self.answer_kept(cx, number);
        self.release(number);
        let Some(delivery) = self.deliveries.get(&number) else {
            return;
        };
        if delivery.forks.is_empty() {
            let to = delivery.letter.to.clone();
            let has_failed = delivery.refusal.is_some() || !delivery.tried.is_empty() && !delivery.is_taken;
            if has_failed {
                // Who could not take it a moment ago is given the same time as after any try.
                return self.put_by(cx, number);
            }
            self.end_live(cx, number);
            self.kick(cx, &to);
        }
    }

    fn answer_kept(&mut self, cx: &mut Cx<'_>, number: u64) {
        let is_taken = self.deliveries.get(&number).is_some_and(|delivery| delivery.is_taken);
        self.answer(cx, number, &Reply::new(if is_taken { 200 } else { 202 }));
    }

    /// The message is not on disk, and its sender must not think so.
    pub(super) fn on_not_kept(&mut self, cx: &mut Cx<'_>, number: u64, why: StoreError) {
        cx.core.tally.store_failures += 1;
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        let (to, id) = (delivery.letter.to.clone(), delivery.letter.id);
        delivery.parted.clear();
        delivery.faults += 1;
        tracing::error!(call_id = &*delivery.letter.call_id, %to, %why, "message not stored");
        let (is_taken, may_be_taken) = (
            delivery.is_taken,
            !delivery.forks.is_empty() && delivery.alarm.is_some(),
        );
        if may_be_taken && !is_taken {
            // A device may take it yet; the store is asked again for the others then, or when the time is over.
            delivery.stage = Stage::Trying;
            return self.uncount(&to, id);
        }
        if is_taken {
            return self.keep_behind(cx, number);
        }
        self.uncount(&to, id);
        if self.may_be_known(cx, number) {
            return self.keep(cx, number);
        }
        let reply = cx.core.overloaded();
        self.give_up(cx, number, &reply);
        self.kick(cx, &to);
    }

    /// The switch that ran before may have kept this one, and had no time to say so: whoever sends it again is not to hear that
    /// nobody has it before the store has been asked more than once.
    fn may_be_known(&self, cx: &Cx<'_>, number: u64) -> bool {
        let faults = self.deliveries.get(&number).map_or(u8::MAX, |delivery| delivery.faults);
        cx.now.mono < Mono(0) + StoreOp::RETRY_WINDOW && faults < MAX_FAULTS
    }

    /// A device has it, and the copies of the others could not be written now: the store is left to bring them home, and the
    /// sender is told what is true.
    fn keep_behind(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(delivery) = self.deliveries.get(&number) else {
            return;
        };
        let stored = StoredMessage {
            owed: delivery.owed.clone(),
            is_taken: true,
            ..delivery.letter.stored()
        };
        let slots = self.slots(cx, number);
        cx.core.store(StoreOp::AppendMessage(Box::new(stored)));
        self.release(number);
        self.succeed(cx, number);
        for slot in slots {
            self.rest(cx, &slot, None);
        }
    }

    /// Tells the sender that the message cannot be had, and forgets it.
    fn give_up(&mut self, cx: &mut Cx<'_>, number: u64, reply: &Reply) {
        cx.core.tally.messages_refused += 1;
        if let Some(delivery) = self.deliveries.get(&number) {
            let letter = &delivery.letter;
            tracing::info!(call_id = &*letter.call_id, to = %letter.to, status = reply.status, "message not delivered");
        }
        // Who has not answered is not to get what its sender is told that nobody has.
        self.take_back(cx, number);
        self.answer(cx, number, reply);
        self.end_live(cx, number);
    }

    /// The copies that are with devices are not sent again, and no answer to them is waited for.
    pub(super) fn take_back(&self, cx: &mut Cx<'_>, number: u64) {
        let forks = self.deliveries.get(&number).into_iter().flat_map(|one| &one.forks);
        forks.for_each(|fork| cx.core.endpoint.abandon(fork.client));
    }

    /// Answers the sender, once.
    pub(super) fn answer(&mut self, cx: &mut Cx<'_>, number: u64, reply: &Reply) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        let core = &mut *cx.core;
        if let Some(alarm) = delivery.alarm.take() {
            core.endpoint.cancel_timer(alarm);
        }
        let letter = &delivery.letter;
        let id = letter.id;
        if let Some(server) = delivery.sender.take() {
            core.endpoint.respond(cx.now.mono, server, reply, &mut core.effects);
            if reply.status < 300 {
                let name = (&letter.to, &letter.from, &*letter.call_id, letter.cseq);
                self.recent.note(cx.now.mono, name, reply.status);
                self.keep_receipt(core, id);
            } else {
                self.drop_receipt(core, id);
            }
        }
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        let (owner, id) = (delivery.owner.take(), delivery.posted_as);
        post::tell(cx, owner, id, || match reply.status {
            200 => Fate::Delivered,
            202 => Fate::Stored,
            status => Fate::Failed { status },
        });
    }

    /// A delivery of a sender is over: what waits behind it goes on.
    pub(super) fn end_live(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(delivery) = self.deliveries.get(&number) else {
            return;
        };
        let (to, from) = (delivery.letter.to.clone(), delivery.letter.from.clone());
        self.end(cx, number);
        self.due.extend(self.next_behind(&to, &from));
        self.forget_if_idle(&to);
    }

    /// Forgets a delivery: nobody asks for what its devices may still say.
    pub(super) fn end(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(delivery) = self.deliveries.remove(&number) else {
            return;
        };
        for fork in delivery.forks {
            cx.core.endpoint.disown(fork.client);
        }
        if let Some(alarm) = delivery.alarm {
            cx.core.endpoint.cancel_timer(alarm);
        }
        if let Some(reader) = self.readers.get_mut(&delivery.letter.to) {
            reader.live.retain(|live| *live != number);
        }
    }

    /// The oldest message of this sender to this reader that waits behind another.
    fn next_behind(&self, to: &Aor, from: &Aor) -> Option<u64> {
        let is_next = |delivery: &Delivery| delivery.stage == Stage::Behind && delivery.letter.from == *from;
        let live = &self.readers.get(to)?.live;
        live.iter()
            .copied()
            .find(|number| self.deliveries.get(number).is_some_and(is_next))
    }

    /// Whether a new message has to be stored behind others. Where devices have trays of their own each is looked at when
    /// the message goes out.
    pub(super) fn has_queue_for_all(&self, cx: &Cx<'_>, to: &Aor) -> bool {
        cx.core.config.im.copies == Copies::User && self.readers.get(to).is_some_and(|reader| reader.has_queue(""))
    }

    /// Sends the message to every device that can be reached, has not been tried and is to get it.
    pub(super) fn send(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(delivery) = self.deliveries.get(&number) else {
            return;
        };
        let ways = self.ways(cx, delivery);
        let asks = !delivery.letter.imdn_id.is_empty() && delivery.letter.of_session().is_none();
        let to = delivery.letter.to.clone();
        // Who might want an envelope and did not say so is asked, for the next time.
        let open: SmallVec<[Box<str>; 2]> = ways
            .iter()
            .filter(|way| asks && way.form == Form::Plain)
            .map(|way| way.device.clone())
            .collect();
        if let Some(delivery) = self.deliveries.get_mut(&number) {
            delivery.send(cx, number, ways);
        }
        for device in open {
            self.ask_device(cx, &to, &device, Kind::Envelope);
        }
    }

    fn ways(&self, cx: &Cx<'_>, delivery: &Delivery) -> SmallVec<[Way; 2]> {
        let letter = &delivery.letter;
        let is_counted = cx.core.config.im.copies == Copies::Device;
        let kind = letter.kind();
        let mut ways = SmallVec::new();
        let meant = cx.registrar.meant(&letter.to, letter.named.as_deref(), cx.now);
        let may_go = |bound: &&registrar::Bound| !letter.is_secure || bound.is_secure();
        let fresh = meant.into_iter().filter(may_go).filter_map(|bound| {
            let destination = bound.destination().filter(|one| !delivery.tried.contains(one))?;
            Some((bound, destination))
        });
        for (bound, destination) in registrar::by_device(fresh) {
            let device = key_of(&bound.binding);
            if self.has_refused(delivery, device) || is_counted && !self.is_due_to(delivery, device) {
                continue;
            }
            let takes = |kind| self.devices.takes(&letter.to, device).has(kind);
            if kind.is_some_and(|kind| !takes(kind)) {
                continue;
            }
            let is_page = matches!(bound.binding.endpoint.transport, Transport::Ws | Transport::Wss);
            let form = match kind {
                None if !letter.imdn_id.is_empty() && takes(Kind::Envelope) => Form::Envelope,
                None if is_page => Form::Named,
                _ => Form::Plain,
            };
            ways.push(Way {
                destination,
                uri: bound.request_uri().to_vec(),
                path: bound.binding.path.clone(),
                contact: bound.binding.contact.clone(),
                device: device.into(),
                form,
            });
        }
        ways
    }

    /// Whether this device is to get a copy now: from its own tray, or straight if nothing waits for it.
    fn is_due_to(&self, delivery: &Delivery, device: &str) -> bool {
        match &delivery.slot {
            Some(slot) => slot.device.is_empty() || *slot.device == *device,
            None => {
                let reader = self.readers.get(&delivery.letter.to);
                let is_owed = !delivery.is_taken || delivery.owed.iter().any(|owed| **owed == *device);
                is_owed && !reader.is_some_and(|reader| reader.has_queue(device))
            }
        }
    }
}

impl Delivery {
    pub(super) fn send(&mut self, cx: &mut Cx<'_>, number: u64, ways: impl IntoIterator<Item = Way>) {
        let (core, owner) = (&mut *cx.core, Room::Im.owner(number));
        let mut drafts: SmallVec<[(Form, Draft); 1]> = SmallVec::new();
        for way in ways {
            let place = drafts.iter().position(|(form, _)| *form == way.form);
            let place = place.unwrap_or_else(|| {
                drafts.push((way.form, self.letter.draft(core, way.form)));
                drafts.len() - 1
            });
            let draft = &mut drafts[place].1;
            draft.uri = way.uri;
            let routed = (!way.path.is_empty()).then(|| draft.clone().header(Name::Route, &*way.path));
            let draft = routed.as_ref().unwrap_or(&*draft);
            let client = core
                .endpoint
                .send(cx.now.mono, way.destination.clone(), draft, owner, &mut core.effects);
            // A message that can be stored may be delivered again: a late answer spares it that.
            if !self.letter.is_transient {
                core.endpoint.heed_late(client);
            }
            match &way.destination {
                Destination::AnyOf(ways) => self.tried.extend(ways.iter().map(|way| way.destination.clone())),
                one => self.tried.push(one.clone()),
            }
            self.forks.push(Fork {
                client,
                contact: way.contact,
                device: way.device,
                form: way.form,
                destination: way.destination,
            });
        }
    }
}
