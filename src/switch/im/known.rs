//! Messages that the store knows: their senders had no answer before the switch died, and said them again.

use super::letter::Letter;
use super::{Im, Stage};
use crate::config::Copies;
use crate::core::Cx;
use model::{Aor, MessageId};
use sip::Reply;

impl Im {
    /// What was to be kept under `id` came before. It waits as `known`, or has been delivered.
    pub(super) fn on_known(
        &mut self,
        cx: &mut Cx<'_>,
        (number, to, id): (u64, &Aor, MessageId),
        known: Option<MessageId>,
    ) {
        match (self.deliveries.contains_key(&number), known) {
            (true, Some(known)) => {
                // Counted twice: the store's count at the start has it.
                self.uncount(to, id);
                self.adopt(cx, number, known);
                self.on_kept(cx, number);
            }
            (true, None) => {
                self.uncount(to, id);
                self.succeed(cx, number);
                self.kick(cx, to);
            }
            // All that were to get it have it by now.
            (false, Some(known)) => {
                self.forget_message(cx, to, known);
            }
            (false, None) => {}
        }
    }

    /// A device took what was stored. A sender whose request no earlier run of the switch has answered hears that when it comes
    /// again, or now if it has.
    pub(super) fn on_taken_from_store(
        &mut self,
        cx: &mut Cx<'_>,
        (id, name): (MessageId, (&Aor, &Aor, &str, u32)),
        device: &str,
    ) {
        let (to, from, call_id, cseq) = name;
        self.recent.note_late(cx.now.mono, name, 200);
        let is_it = |one: &Letter| one.from == *from && *one.call_id == *call_id && one.cseq == cseq;
        let mut live = self.readers.get(to).into_iter().flat_map(|reader| &reader.live);
        let again = live.find(|number| self.deliveries.get(*number).is_some_and(|one| is_it(&one.letter)));
        let Some(again) = again.copied() else { return };
        if self.deliveries.get(&again).is_some_and(|one| one.letter.id == id) {
            return self.on_original_taken(cx, again, device);
        }
        self.on_taken(cx, again, device);
    }

    /// A device took from the store what is with others straight from its sender. The store and the session know of it.
    fn on_original_taken(&mut self, cx: &mut Cx<'_>, number: u64, device: &str) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        delivery.is_taken = true;
        delivery.owed.retain(|owed| **owed != *device);
        if delivery.owed.is_empty() {
            self.answer(cx, number, &Reply::new(200));
            self.end_live(cx, number);
        } else if delivery.stage == Stage::Kept {
            self.conclude(cx, number);
        }
    }

    /// This delivery is of the message that waits as `known`: who took it meanwhile is owed it no more.
    fn adopt(&mut self, cx: &mut Cx<'_>, number: u64, known: MessageId) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        let before = std::mem::replace(&mut delivery.letter.id, known);
        self.receipts.rename(cx.core, before, known);
        if !delivery.is_taken || cx.core.config.im.copies == Copies::User {
            return;
        }
        delivery.parted.clear();
        let (to, owed) = (delivery.letter.to.clone(), delivery.owed.clone());
        let expected = self.devices.expected(&to, cx.now.wall).map(Box::<str>::from);
        let took: Vec<Box<str>> = expected.filter(|device| !owed.contains(device)).collect();
        for device in took {
            self.ask_to_take(cx.core, (&to, known), device, true);
        }
    }
}
