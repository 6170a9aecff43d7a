//! What devices refuse. A no for good is that of a device, not of its reader: that device is not asked again, so that it gets
//! nothing behind what was written later, and its own copy has come to an end. What is on disk and nobody has waits for
//! another device, until it is given up.

use super::verdict::Refusal;
use super::{Delivery, Im, Slot, Stage, post};
use crate::config::Copies;
use crate::core::Cx;
use model::MessageId;
use smallvec::SmallVec;

impl Im {
    /// A device does not want it. It is owed no copy any more, unless that is on disk for it and it may want it later.
    pub(super) fn on_refused(&mut self, cx: &mut Cx<'_>, number: u64, device: &str, refusal: Refusal) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        let for_good = refusal.is_for_good();
        let is_stored = delivery.slot.is_none() && matches!(delivery.stage, Stage::Keeping | Stage::Kept);
        let is_kept = is_stored && delivery.owed.iter().any(|owed| **owed == *device);
        delivery.note_refusal(device, refusal, is_kept && !for_good);
        if is_kept && for_good {
            self.part(cx, number, device, false);
        }
    }

    /// A device has the copy that is on disk for it or about to be, or will not have it.
    pub(super) fn part(&mut self, cx: &mut Cx<'_>, number: u64, device: &str, has_it: bool) {
        let Some(delivery) = self.deliveries.get_mut(&number) else {
            return;
        };
        if delivery.stage == Stage::Keeping {
            delivery.parted.push((device.into(), has_it));
        } else {
            let (to, id) = (delivery.letter.to.clone(), delivery.letter.id);
            self.ask_to_take(cx.core, (&to, id), device.into(), has_it);
        }
    }

    /// These devices are not asked again whether they take this one.
    pub(super) fn note_refusers(&mut self, slot: &Slot, id: MessageId, refusers: SmallVec<[Box<str>; 1]>) {
        if let Some(tray) = self.tray(slot).filter(|_| !refusers.is_empty()) {
            tray.refusers.entry(id).or_default().extend(refusers);
        }
    }

    /// What is stored and was not taken waits for another try, or for a device to come where all refused it for good.
    pub(super) fn put_by(&mut self, cx: &mut Cx<'_>, number: u64) {
        self.expect_late(number);
        let slots = self.slots(cx, number);
        let Some(delivery) = self.deliveries.get(&number) else {
            return;
        };
        let (to, id, after) = (delivery.letter.to.clone(), delivery.letter.id, delivery.retry_after);
        let (by_all, refusers) = (delivery.is_refused_for_good(), delivery.refusers.clone());
        let is_returned = self.is_returned(cx, number);
        self.end_live(cx, number);
        if is_returned {
            self.forget_message(cx, &to, id);
            return self.kick(cx, &to);
        }
        for slot in slots {
            self.note_refusers(&slot, id, refusers.clone());
            let is_refused = if slot.device.is_empty() {
                by_all
            } else {
                refusers.contains(&slot.device)
            };
            if is_refused {
                self.pass_over(&slot, id, true);
                self.kick_tray(cx, &slot);
            } else {
                self.rest(cx, &slot, after);
            }
        }
    }

    /// A text of a session that all refuse for good: who said it is there to be told, and it does not wait for another device,
    /// which would get it behind what was said since. Not where each device has its own copy: another may have one.
    pub(super) fn is_returned(&self, cx: &mut Cx<'_>, number: u64) -> bool {
        let Some(delivery) = self.deliveries.get(&number) else {
            return false;
        };
        let letter = &delivery.letter;
        let refusal = delivery.refusal.as_ref().filter(|_| delivery.is_refused_for_good());
        let text = letter.of_session().filter(|_| cx.core.config.im.copies == Copies::User);
        let status = refusal.map(|refusal| refusal.status);
        if status.is_some() {
            post::tell_session(cx, (text, letter.id), &letter.to, status);
        }
        status.is_some() && text.is_some()
    }

    /// Every device refused this one: it stays stored for a device to come, and holds up nothing.
    pub(super) fn pass_over(&mut self, slot: &Slot, id: MessageId, for_good: bool) {
        if let Some(tray) = self.tray(slot) {
            tracing::info!(to = %slot.to, message = %id, "every device refuses a stored message: passed over");
            tray.refused.insert(id, for_good);
        }
    }

    /// Whether this device has refused it for good, now or when it came from the store before.
    pub(super) fn has_refused(&self, delivery: &Delivery, device: &str) -> bool {
        let before = || {
            let tray = self
                .readers
                .get(&delivery.letter.to)?
                .known_tray(&delivery.slot.as_ref()?.device)?;
            tray.refusers.get(&delivery.letter.id)
        };
        let mut all = delivery.refusers.iter().chain(before().into_iter().flatten());
        all.any(|refuser| **refuser == *device)
    }
}

impl Delivery {
    /// All who were asked refused it, and for good. A device may have been asked at an old address, too.
    pub(super) fn is_refused_for_good(&self) -> bool {
        !self.refusers.is_empty() && self.undecided.iter().all(|device| self.refusers.contains(device))
    }

    /// A device does not want it. `stays`: it is on disk for it all the same.
    fn note_refusal(&mut self, device: &str, refusal: Refusal, stays: bool) {
        self.was_heard = true;
        match refusal.is_for_good() {
            true => self.refusers.push(device.into()),
            false => self.undecided.push(device.into()),
        }
        if !stays {
            self.owed.retain(|owed| **owed != *device);
        }
        self.refusal = Some(match self.refusal.take() {
            Some(before) => before.better(refusal),
            None => refusal,
        });
    }
}
