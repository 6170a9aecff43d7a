//! A message and the devices of its reader: sent to all, the first 2xx counts, and the sender has an answer in time.

use super::post::{self, Fate};
use super::verdict::Verdict;
use super::{Delivery, Fork, Im, Question, Stage};
use crate::core::Cx;
use crate::registrar::Bound;
use crate::room::Room;
use model::{Aor, StoreError, StoreOp};
use sip::endpoint::ClientId;
use sip::{Destination, Reply};
use smallvec::SmallVec;

impl Im {
    /// Sends a message of a sender to the devices of its reader, or to the store if there is none.
    pub(super) fn attempt(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        delivery.send(cx, number);
        cx.core.midst_of("attempt");
        if delivery.forks.is_empty() {
            self.keep(cx, number);
        } else {
            delivery.stage = Stage::Trying;
        }
    }

    /// A device's final answer, or that there is none.
    pub(super) fn on_answer(&mut self, cx: &mut Cx<'_>, number: u64, client: ClientId, verdict: Verdict) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        let place = delivery.forks.iter().position(|fork| fork.client == client);
        if let Some(fork) = place.map(|place| delivery.forks.remove(place)) {
            let (owner, id) = (delivery.owner, delivery.letter.id);
            post::tell(cx, owner, id, || post::fate(fork.contact, &verdict));
        }
        match verdict {
            Verdict::Took => return self.on_taken(cx, number),
            Verdict::Refused(refusal) => {
                delivery.was_heard = true;
                delivery.refusal = Some(match delivery.refusal.take() {
                    Some(before) => before.better(refusal),
                    None => refusal,
                });
            }
            Verdict::Unable(_) => delivery.was_heard = true,
            Verdict::Absent => {}
        }
        if delivery.forks.is_empty() {
            self.on_all_failed(cx, number);
        }
    }

    /// A device has it. What other devices answer no longer matters; their copies are on the way.
    pub(super) fn on_taken(&mut self, cx: &mut Cx<'_>, number: u64) {
        cx.core.midst_of("take");
        let Some(delivery) = self.deliveries.get(&number) else {
            return;
        };
        let (to, id, stage) = (delivery.letter.to.clone(), delivery.letter.id, delivery.stage);
        tracing::info!(call_id = &*delivery.letter.call_id, from = %delivery.letter.from, %to, "message delivered");
        if self.is_of_queue(&to, number) {
            cx.core.tally.messages_forwarded += 1;
            self.end(cx, number);
            return self.on_queue_taken(cx, &to, id);
        }
        if matches!(stage, Stage::Keeping | Stage::Kept) {
            cx.core.store(StoreOp::DeleteMessage(id));
            self.uncount(&to, id);
        }
        match stage {
            Stage::Kept => cx.core.tally.messages_forwarded += 1,
            _ => cx.core.tally.messages_delivered += 1,
        }
        self.answer(cx, number, &Reply::new(200));
        self.end_live(cx, number);
        self.kick(cx, &to);
    }

    /// No device is left that could take it.
    fn on_all_failed(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(delivery) = self.deliveries.get(&number) else {
            return;
        };
        let (to, refusal) = (delivery.letter.to.clone(), delivery.refusal.clone());
        if self.is_of_queue(&to, number) {
            return self.on_queue_refused(cx, &to, number);
        }
        let Some(delivery) = self.deliveries.get(&number) else {
            return;
        };
        match (delivery.stage, refusal) {
            (Stage::Trying, Some(refusal)) => self.give_up(cx, number, &refusal.reply()),
            (Stage::Trying | Stage::Behind, _) => self.keep(cx, number),
            // The store's answer is still to come; then it is one of the queue.
            (Stage::Keeping, _) => {}
            (Stage::Kept, refusal) => {
                let id = delivery.letter.id;
                self.expect_late(number);
                self.end_live(cx, number);
                if refusal.is_some_and(|refusal| refusal.is_for_good()) {
                    self.pass_over(&to, id, true);
                    self.kick(cx, &to);
                } else {
                    self.rest(cx, &to);
                }
            }
        }
    }

    /// The time for an answer is over: the message is stored, and so are those that wait behind it.
    pub(super) fn on_no_answer(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        delivery.alarm = None;
        if matches!(delivery.stage, Stage::Trying | Stage::Behind) {
            self.keep(cx, number);
        }
    }

    /// Asks the store to keep a message, where that is wanted and of use; otherwise its sender hears that nobody is there.
    pub(super) fn keep(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        if delivery.letter.is_transient || !cx.core.config.im.store {
            return self.give_up(cx, number, &Reply::new(480));
        }
        delivery.stage = Stage::Keeping;
        let stored = Box::new(delivery.letter.stored());
        let (to, from) = (stored.to.clone(), stored.from.clone());
        self.readers.entry(to.clone()).or_default().stored += 1;
        self.stored += 1;
        self.ask(cx.core, StoreOp::AppendMessage(stored), Question::Append(number));
        self.due.extend(self.next_behind(&to, &from));
    }

    /// The message is on disk.
    pub(super) fn on_kept(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        delivery.stage = Stage::Kept;
        cx.core.midst_of("keep");
        cx.core.tally.messages_stored += 1;
        let to = delivery.letter.to.clone();
        tracing::info!(call_id = &*delivery.letter.call_id, from = %delivery.letter.from, %to, "message stored");
        let is_with_devices = !delivery.forks.is_empty();
        self.answer(cx, number, &Reply::new(202));
        if !is_with_devices {
            self.expect_late(number);
            self.end_live(cx, number);
            self.kick(cx, &to);
        }
    }

    /// The message is not on disk, and its sender must not think so.
    pub(super) fn on_not_kept(&mut self, cx: &mut Cx<'_>, number: u64, why: StoreError) {
        cx.core.tally.store_failures += 1;
        let Some(delivery) = self.deliveries.get(&number) else {
            return;
        };
        let (to, id) = (delivery.letter.to.clone(), delivery.letter.id);
        tracing::error!(call_id = &*delivery.letter.call_id, %to, %why, "message not stored");
        self.uncount(&to, id);
        let reply = cx.core.overloaded();
        self.give_up(cx, number, &reply);
        self.kick(cx, &to);
    }

    /// Tells the sender that the message cannot be had, and forgets it.
    fn give_up(&mut self, cx: &mut Cx<'_>, number: u64, reply: &Reply) {
        cx.core.tally.messages_refused += 1;
        if let Some(delivery) = self.deliveries.get(&number) {
            let letter = &delivery.letter;
            tracing::info!(call_id = &*letter.call_id, to = %letter.to, status = reply.status, "message not delivered");
        }
        self.answer(cx, number, reply);
        self.end_live(cx, number);
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
        if let Some(server) = delivery.sender.take() {
            core.endpoint.respond(cx.now.mono, server, reply, &mut core.effects);
        }
        let (owner, id) = (delivery.owner.take(), delivery.letter.id);
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
}

impl Delivery {
    /// Sends the message to every device that can be reached and has not been tried.
    pub(super) fn send(&mut self, cx: &mut Cx<'_>, number: u64) {
        let bindings = cx.registrar.bindings(&self.letter.to, cx.now);
        let is_new = |to: &Destination| !self.tried.contains(to);
        let ways = bindings
            .iter()
            .filter_map(|bound| Some((bound.destination().filter(is_new)?, *bound)));
        let ways: SmallVec<[(Destination, &Bound); 4]> = ways.collect();
        if ways.is_empty() {
            return;
        }
        let (core, owner) = (&mut *cx.core, Room::Im.owner(number));
        let mut draft = self.letter.draft(core);
        for (destination, bound) in ways {
            draft.uri.clear();
            draft.uri.extend_from_slice(bound.request_uri());
            let fork = core
                .endpoint
                .send(cx.now.mono, destination, &draft, owner, &mut core.effects);
            // A message that can be stored may be delivered again: a late answer spares it that.
            if !self.letter.is_transient {
                core.endpoint.heed_late(fork);
            }
            self.forks.push(Fork {
                client: fork,
                contact: bound.binding.contact.clone(),
            });
            self.tried.push(destination);
        }
    }
}
