//! An interaction goes to another media worker with all its devices: a conference room is there that somebody wants to hear by
//! the line of his call, and a leg hears only what is at its own worker (decisions/0014, 0031). He has the others on hold
//! meanwhile. If a device does not go all come back, and the consultation has come to nothing.

use super::act::conflict;
use super::ending::reason_header;
use super::refer::status_of;
use super::sent::Served;
use super::side::Wish;
use super::{Calls, LegKey};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::{Asker, Interaction};
use crate::route::Target;
use crate::{RecordWish, Refusal};
use media::WorkerId;
use model::{EndReason, EndedBy, PartyId, Purpose};
use smallvec::SmallVec;

/// Where to, and what for.
#[derive(Debug)]
pub(crate) struct Removal {
    pub(super) to: WorkerId,
    /// Who consults.
    pub(super) by: PartyId,
    pub(super) service: (Target, Served),
    pub(super) asked: Asker,
}

impl Calls {
    /// Asks all devices to go. If one cannot be asked nothing has changed.
    pub(super) fn take_elsewhere(
        &mut self,
        cx: &mut Cx<'_>,
        call: Key<Interaction>,
        removal: Removal,
    ) -> Result<(), Refusal> {
        let legs = self.living(call);
        let is_alone = self.sides_of(call).is_empty() && self.parent_of(call).is_none();
        let is_quiet = self.interactions.get(call).is_some_and(|call| !call.call.exchanges());
        let is_free = is_alone && is_quiet && !self.is_sent(call) && !self.is_removing(call);
        if !is_free || !self.call_all_over(cx, &legs, removal.to) {
            return Err(conflict(
                "the room is at another media worker, and not all devices can go there now",
            ));
        }
        let by = removal.by;
        if let Some(interaction) = self.interactions.get_mut(call) {
            interaction.call.removal = Some(Box::new(removal));
        }
        self.set_holds(call, by, true);
        self.plumb(cx, call);
        Ok(())
    }

    pub(super) fn is_removing(&self, call: Key<Interaction>) -> bool {
        self.interactions
            .get(call)
            .is_some_and(|call| call.call.removal.is_some())
    }

    /// A device has come to the other worker, or somebody came or went: when all who are left are there, so is the call.
    pub(super) fn on_moved(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        let removal = self.interactions.get(call).and_then(|call| call.call.removal.as_ref());
        let Some(to) = removal.map(|removal| removal.to) else {
            return;
        };
        if self.is_moving(call) {
            return;
        }
        let mut late = self.living(call);
        late.retain(|leg| self.worker_of(*leg) != Some(to));
        match late.is_empty() {
            true => self.settle_there(cx, call),
            false if self.call_all_over(cx, &late, to) => {}
            false => self.give_up_removal(cx, call, 488),
        }
    }

    /// All are there. Who is left may be alone by now; else the consultation begins.
    fn settle_there(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        let Some(removal) = self.forget_removal(call) else {
            return;
        };
        let legs = self.living(call);
        if !self.goes_on(cx, call) {
            self.tell_removal(cx, call, removal, 487);
            return self.end_deserted_call(cx, call);
        }
        let records_anew = legs.first().is_some_and(|&leg| self.settle_where(cx, call, leg));
        for &leg in legs.iter().skip(1) {
            self.listen(cx, leg);
        }
        if records_anew {
            drop(self.set_recording(cx, call, RecordWish::On));
        }
        self.plumb(cx, call);
        let (by, service) = (removal.by, removal.service.clone());
        let wish = Wish {
            parent: call,
            by,
            purpose: Purpose::Consult,
            target: &removal.service.1.dialled,
            asked: Asker::default(),
        };
        let status = match self.aside_to_service(cx, wish, service) {
            Ok(side) => {
                self.turn_to(cx, side, by);
                200
            }
            Err(refusal) => status_of(&refusal),
        };
        self.tell_removal(cx, call, removal, status);
    }

    /// A device did not go: those that did come back.
    pub(super) fn give_up_removal(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, status: u16) {
        let Some(removal) = self.forget_removal(call) else {
            return;
        };
        self.tell_removal(cx, call, removal, status);
        for leg in self.living(call) {
            if !self.legs.get(leg).is_some_and(super::Leg::is_moving) {
                self.call_home(cx, leg);
            }
        }
        if !self.goes_on(cx, call) {
            self.end_deserted_call(cx, call);
        }
    }

    /// A device that is at another worker than its call, and waits for nothing there, comes back. One that cannot be asked is
    /// lost.
    pub(super) fn call_home(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let Some(call) = self.legs.get(key).map(|leg| leg.interaction) else {
            return;
        };
        let home = self.interactions.get(call).and_then(|call| call.call.worker);
        let is_away = home.is_some() && self.worker_of(key) != home;
        let Some(home) = home.filter(|_| is_away) else {
            // The others may have gone meanwhile.
            if self.is_up(call) && !self.goes_on(cx, call) {
                self.end_deserted_call(cx, call);
            }
            return;
        };
        if !self.call_over(cx, key, home) {
            let reason = EndReason::NoCommonCodec;
            self.leave(cx, key, EndedBy::Switch, reason, &reason_header(reason));
            self.on_left(cx, call, reason, &reason_header(reason));
        }
    }

    pub(super) fn forget_removal(&mut self, call: Key<Interaction>) -> Option<Removal> {
        let removal = self.interactions.get_mut(call)?.call.removal.take();
        removal.map(|removal| *removal)
    }

    pub(super) fn tell_removal(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, removal: Removal, status: u16) {
        let Removal { by, service, asked, .. } = removal;
        self.tell_outcome(cx, (call, by), asked, &service.1.dialled, status);
    }

    fn end_deserted_call(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        let reason = EndReason::Normal;
        self.end(cx, call, EndedBy::Other, reason, &reason_header(reason));
    }

    /// The devices of a call that are up.
    fn living(&self, call: Key<Interaction>) -> SmallVec<[LegKey; 4]> {
        let legs = self.legs_in(call).into_iter();
        legs.filter(|leg| self.legs.get(*leg).is_some_and(super::Leg::is_up))
            .collect()
    }
}
