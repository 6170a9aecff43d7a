//! A contact is transferred to an extension that the switch answers itself: a conference room, echo, a tone, music. Nobody has
//! to answer there, so it is done at once, or as soon as the contact's device has come to the worker of the room.

use super::ending::reason_header;
use super::{Calls, LegKey, State};
use crate::arena::Key;
use crate::config::trunks::INTERNAL;
use crate::core::{Core, Cx};
use crate::interaction::{Asker, Interaction};
use crate::route::{self, Target};
use crate::{RecordWish, Refusal};
use media::WorkerId;
use model::{EndReason, EndedBy, PartyId};

/// What a contact was sent to: an extension as dialled, in the context of who dialled it.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(super) context: Box<str>,
    pub(super) dialled: Box<str>,
}

/// A contact on the way to a service.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Who sends it there.
    by: PartyId,
    service: Target,
    served: Served,
    /// Who sends it is in the room: it is not asked for a PIN.
    is_vouched_for: bool,
    asked: Asker,
}

impl Calls {
    /// What a number means that a party dials, if the switch answers it itself and a contact can be sent there.
    pub(super) fn service_at(
        &self,
        cx: &Cx<'_>,
        (call, by): (Key<Interaction>, PartyId),
        dialled: &str,
    ) -> Option<(Target, Served)> {
        let dialler = self.party_dials(cx.core, call, by)?;
        let served = Served {
            context: dialler.dial(cx.core).context.clone(),
            dialled: dialled.into(),
        };
        match route::target_for(cx.core, dialler, dialled) {
            service @ (Target::Echo | Target::Tone(_) | Target::Music | Target::Digits | Target::Room) => {
                Some((service, served))
            }
            Target::User(_) | Target::Trunk(_) | Target::Star | Target::Done | Target::Nobody(_) => None,
        }
    }

    /// Sends the contact of a call of two to a service. True: it is there; false: on its way.
    pub(super) fn send_to(
        &mut self,
        cx: &mut Cx<'_>,
        (call, by): (Key<Interaction>, PartyId),
        (service, served): (Target, Served),
        is_vouched_for: bool,
        asked: Asker,
    ) -> Result<bool, Refusal> {
        let contact = match self.others(call, by).as_slice() {
            [contact] => *contact,
            _ => return Err(Refusal::Conflict("only one contact can be sent to a service".into())),
        };
        if self.is_sent(call) || self.is_removing(call) {
            return Err(Refusal::Conflict("the contact is on its way already".into()));
        }
        let party = self.interactions.get(call).and_then(|call| call.party(contact));
        let leg = party.and_then(|party| self.answering(party));
        let leg = leg.ok_or_else(|| Refusal::Conflict("the contact has no device there".into()))?;
        let worker = self.worker_for_service(cx, leg, service, &served)?;
        if let Some(interaction) = self.interactions.get_mut(call) {
            interaction.call.sent = Some(Box::new(Sent {
                by,
                service,
                served,
                is_vouched_for,
                asked,
            }));
        }
        if worker.is_none_or(|worker| self.worker_of(leg) == Some(worker)) {
            self.enter_service(cx, call);
            return Ok(true);
        }
        let moves = worker.is_some_and(|worker| self.call_over(cx, leg, worker));
        if !moves {
            self.forget_sent(call);
            return Err(Refusal::Conflict(
                "the contact's device is in the midst of something else".into(),
            ));
        }
        self.set_holds(call, by, true);
        self.plumb(cx, call);
        Ok(false)
    }

    /// Where the contact has to be for a service, if that matters; or why a room does not let it in.
    pub(super) fn worker_for_service(
        &mut self,
        cx: &mut Cx<'_>,
        leg: LegKey,
        service: Target,
        served: &Served,
    ) -> Result<Option<WorkerId>, Refusal> {
        if service != Target::Room {
            return Ok(None);
        }
        let name = route::room(cx.core, &served.context, &served.dialled)
            .unwrap_or_default()
            .to_owned();
        let user = self.legs.get(leg).and_then(|leg| leg.user.clone());
        let knocked = self.knock(cx, &name, user.as_ref());
        knocked.map_err(|failure| Refusal::Unreachable(failure.reply.status))
    }

    /// The contact is on its way to a service.
    pub(super) fn is_sent(&self, call: Key<Interaction>) -> bool {
        self.interactions.get(call).is_some_and(|call| call.call.sent.is_some())
    }

    pub(super) fn forget_sent(&mut self, call: Key<Interaction>) -> Option<Box<Sent>> {
        self.interactions.get_mut(call)?.call.sent.take()
    }

    /// What a call is served with, in whose context: as its caller dialled it, or who sent the contact there.
    pub(super) fn dialled_service<'a>(&'a self, core: &'a Core, call: Key<Interaction>) -> (&'a str, &'a str) {
        let Some(interaction) = self.interactions.get(call) else {
            return (INTERNAL, "");
        };
        match &interaction.call.served {
            Some(served) => (&served.context, &served.dialled),
            None => {
                let dialler = self.dialler_of(core, call);
                let context = dialler.map_or(INTERNAL, |dialler| &dialler.dial(core).context);
                (context, &interaction.dialled)
            }
        }
    }

    /// The contact is where the service is: who sent it leaves, and whatever was made for the call ends.
    pub(super) fn enter_service(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        let Some(sent) = self.forget_sent(call) else { return };
        let Sent {
            by,
            service,
            served,
            is_vouched_for,
            asked,
        } = *sent;
        let contact = self.others(call, by).first().copied();
        let device = contact.and_then(|id| self.answering(self.interactions.get(call)?.party(id)?));
        let Some(leg) = device else { return };
        self.midst_of("send");
        self.tell_outcome(cx, (call, by), asked, &served.dialled, 200);
        let headers = reason_header(EndReason::Normal);
        // First: without those who were to come by side calls it would end.
        if let Some(interaction) = self.interactions.get_mut(call) {
            interaction.call.state = State::Service(service);
        }
        for side in self.sides_of(call) {
            self.end(cx, side, EndedBy::Switch, EndReason::Normal, &headers);
        }
        for other in self.legs_in(call).into_iter().filter(|other| *other != leg) {
            if let Some(gone) = self.legs.get_mut(other) {
                gone.transferred_to.clone_from(&served.dialled);
            }
            self.leave(cx, other, EndedBy::Switch, EndReason::Normal, &headers);
        }
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        interaction.call.served = Some(served);
        interaction.owner = None;
        interaction.unheard.clear();
        interaction.parties.iter_mut().for_each(|party| party.holds = false);
        self.plumb(cx, call);
        let records_anew = self.settle_where(cx, call, leg);
        if service == Target::Room {
            self.take_seat(cx, leg);
        }
        match (service, is_vouched_for) {
            (Target::Room, true) => self.pass_the_door(cx, leg),
            _ => self.begin_service(cx, leg),
        }
        if records_anew {
            drop(self.set_recording(cx, call, RecordWish::On));
        }
        self.refresh_display(cx, leg);
    }

    /// The call's room is where its leg is. A recording does not go from worker to worker: true if another one has to begin.
    pub(super) fn settle_where(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, leg: LegKey) -> bool {
        let (worker, recorded) = (self.worker_of(leg), self.is_recorded(call));
        let moved = self
            .interactions
            .get(call)
            .is_some_and(|call| call.call.worker != worker);
        if moved {
            if recorded {
                drop(self.set_recording(cx, call, RecordWish::Off));
            }
            self.close_room(cx, call);
            if let Some(interaction) = self.interactions.get_mut(call) {
                interaction.call.worker = worker;
                interaction.call.plumbed = Default::default();
            }
        }
        self.open_room(cx, call, media::plan::Matrix::Everyone);
        self.listen(cx, leg);
        moved && recorded
    }

    /// The contact could not go there: who sent it hears why, and it stays on hold until he resumes.
    pub(super) fn send_back(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, status: u16) {
        let Some(sent) = self.forget_sent(call) else { return };
        self.tell_sent(cx, call, *sent, status);
        self.on_left(cx, call, EndReason::Normal, &reason_header(EndReason::Normal));
    }

    pub(super) fn tell_sent(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, sent: Sent, status: u16) {
        self.tell_outcome(cx, (call, sent.by), sent.asked, &sent.served.dialled, status);
    }
}
