//! Consultations: they begin, end, and become transfers or conferences; and transfers and invitations without one before.

use super::act::{Actor, Did, Outcome, conflict};
use super::sent::Served;
use super::side::Wish;
use super::{Calls, State};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::{Asker, Interaction};
use crate::route::Target;
use crate::{Act, Answer, By, Refusal, Verb};
use model::{Aor, EndReason, InteractionId, Medium, PartyId, Purpose};

impl Calls {
    pub(super) fn consult(
        &mut self,
        cx: &mut Cx<'_>,
        actor: &Actor,
        target: &str,
        medium: Medium,
        asked: Asker,
    ) -> Outcome {
        if medium == Medium::Im {
            return Err(conflict("a consultation by messages begins with a message"));
        }
        let by = self.attendant(actor)?;
        let parent = self.parent_of(actor.call).unwrap_or(actor.call);
        if let Some(service) = self.service_at(cx, (parent, by), target) {
            return self.consult_service(cx, actor, (parent, by), service, asked);
        }
        let side = self.aside_for(cx, parent, by, Purpose::Consult, target, asked)?;
        self.turn_to(cx, side, by);
        self.write_down(cx, actor, "consult", target);
        Ok(Did::Began(side))
    }

    /// A consultation by messages becomes one by voice with the same target (R085 to R089): `user`, who takes part in the
    /// interaction that the messages are about, has it on hold from now on and hears the target ring. It is the verb
    /// `consult` and is told as such; the consultation by messages goes on beside it. The consultation by voice.
    ///
    /// # Errors
    /// As the verb, and nothing has changed: no such interaction of this user, nobody there at the target.
    pub(crate) fn consult_by_voice(
        &mut self,
        cx: &mut Cx<'_>,
        interaction: InteractionId,
        user: &Aor,
        target: &str,
        client: &str,
    ) -> Result<InteractionId, Refusal> {
        let act = Act {
            by: By::User(user.clone()),
            client: client.into(),
            verb: Verb::Consult {
                interaction,
                target: target.into(),
                medium: Medium::Voice,
            },
        };
        match self.act(cx, &act) {
            Answer::Acted(acted) => Ok(acted.view.id),
            Answer::Refused(refusal) => Err(refusal),
            _ => Err(conflict("the interaction is over")),
        }
    }

    pub(super) fn end_consult(&mut self, cx: &mut Cx<'_>, actor: &Actor) -> Outcome {
        let Some(parent) = self.parent_of(actor.call) else {
            return Err(conflict("this is no consultation"));
        };
        let by = self
            .interactions
            .get(actor.call)
            .and_then(|call| Some(call.side.as_ref()?.by));
        self.hang_up(cx, actor.call, EndReason::Normal);
        if let Some(by) = by.filter(|_| self.is_up(parent)) {
            self.turn_to(cx, parent, by);
        }
        self.write_down(
            cx,
            &Actor {
                call: parent,
                ..actor.clone()
            },
            "end-consult",
            "",
        );
        Ok(Did::Done(parent))
    }

    /// A consultation becomes a transfer or a conference: at once, or when its target answers.
    pub(super) fn complete(&mut self, cx: &mut Cx<'_>, actor: &Actor, purpose: Purpose, asked: Asker) -> Outcome {
        let side = actor.call;
        let parent = self
            .parent_of(side)
            .ok_or_else(|| conflict("this is no consultation"))?;
        let served = self.interactions.get(side).and_then(|side| side.side.as_ref());
        let Some(by) = served
            .filter(|served| served.purpose == Purpose::Consult)
            .map(|served| served.by)
        else {
            return Err(conflict("this is no consultation"));
        };
        if actor.party != Some(by) && !actor.rules {
            return Err(Refusal::Forbidden("only who consulted can do this".into()));
        }
        if self.others(parent, by).is_empty() {
            return Err(conflict("there is nobody to speak to"));
        }
        if let Some(&State::Service(service)) = self.state(side) {
            return self.complete_to_service(cx, (parent, side), by, service, purpose, asked);
        }
        let comes_over = self.is_up(side) && !self.strays(side).is_empty();
        if comes_over && !self.call_strays(cx, side) {
            return Err(conflict("the other device is in the midst of something else"));
        }
        if let Some(served) = self.interactions.get_mut(side).and_then(|side| side.side.as_mut()) {
            (served.purpose, served.asked) = (purpose, asked);
        }
        if comes_over {
            return Ok(Did::Began(side));
        }
        if !self.is_up(side) {
            self.drop_line(cx, side, by, purpose);
            return Ok(Did::Began(side));
        }
        if purpose == Purpose::Join {
            self.turn_to(cx, parent, by);
        }
        self.on_side_up(cx, side);
        Ok(Did::Done(parent))
    }

    /// The contact goes where the one who consulted listens to a service. Who is in a conference room vouches for him.
    fn complete_to_service(
        &mut self,
        cx: &mut Cx<'_>,
        (parent, side): (Key<Interaction>, Key<Interaction>),
        by: PartyId,
        service: Target,
        purpose: Purpose,
        asked: Asker,
    ) -> Outcome {
        if purpose != Purpose::Transfer {
            return Err(conflict("a service joins nobody; transfer the contact to it"));
        }
        let (context, dialled) = self.dialled_service(cx.core, side);
        let served = Served {
            context: context.into(),
            dialled: dialled.into(),
        };
        let own = self
            .interactions
            .get(side)
            .and_then(|side| self.device_of(side.party(by)?));
        let is_vouched_for = own.is_some_and(|leg| self.is_inside(leg));
        let is_there = self.send_to(cx, (parent, by), (service, served), is_vouched_for, asked)?;
        Ok(match is_there {
            true => Did::Done(parent),
            false => Did::Began(parent),
        })
    }

    /// Who consulted does not wait for the target by the line any more: he is with the contact (conference), or on hold
    /// until the transfer is done.
    fn drop_line(&mut self, cx: &mut Cx<'_>, side: Key<Interaction>, by: PartyId, purpose: Purpose) {
        let Some(parent) = self.parent_of(side) else { return };
        if let Some(party) = self.interactions.get_mut(side).and_then(|side| side.party_mut(by)) {
            party.line = None;
        }
        match purpose {
            Purpose::Join => self.turn_to(cx, parent, by),
            _ => self.plumb(cx, parent),
        }
    }

    /// Somebody is called who takes one's place, or joins.
    pub(super) fn call_for(
        &mut self,
        cx: &mut Cx<'_>,
        actor: &Actor,
        purpose: Purpose,
        target: &str,
        asked: Asker,
    ) -> Outcome {
        let by = self.member(actor)?;
        let service = self.service_at(cx, (actor.call, by), target);
        if let (Some(service), Purpose::Transfer) = (service, purpose) {
            return self.hand_over(cx, actor, by, service, asked);
        }
        let verb = asked.verb;
        if self.others(actor.call, by).is_empty() {
            return Err(conflict("there is nobody to speak to"));
        }
        if self.parent_of(actor.call).is_some() {
            return Err(conflict("a consultation is completed, not transferred"));
        }
        let side = self.aside_for(cx, actor.call, by, purpose, target, asked)?;
        if purpose == Purpose::Transfer {
            self.set_holds(actor.call, by, true);
            self.plumb(cx, actor.call);
        }
        self.write_down(cx, actor, verb, target);
        Ok(Did::Began(side))
    }

    /// A contact is transferred to an extension that the switch answers itself.
    fn hand_over(
        &mut self,
        cx: &mut Cx<'_>,
        actor: &Actor,
        by: PartyId,
        service: (Target, Served),
        asked: Asker,
    ) -> Outcome {
        if self.parent_of(actor.call).is_some() {
            return Err(conflict("a consultation is completed, not transferred"));
        }
        let is_there = self.send_to(cx, (actor.call, by), service, false, asked)?;
        Ok(match is_there {
            true => Did::Done(actor.call),
            false => Did::Began(actor.call),
        })
    }

    pub(super) fn aside_for(
        &mut self,
        cx: &mut Cx<'_>,
        parent: Key<Interaction>,
        by: PartyId,
        purpose: Purpose,
        target: &str,
        asked: Asker,
    ) -> Result<Key<Interaction>, Refusal> {
        let wish = Wish {
            parent,
            by,
            purpose,
            target,
            asked,
        };
        let side = self.call_aside(cx, wish).map_err(Refusal::Unreachable)?;
        self.midst_of("aside");
        Ok(side)
    }
}
