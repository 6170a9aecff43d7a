//! Consultations with an extension that the switch answers itself: a conference room, echo, a tone, music. Who consults hears
//! it by the line of his one call, as he would by a second call of his phone. Nobody has to answer there.

use super::act::{Actor, Did, Outcome, conflict, gone};
use super::removal::Removal;
use super::room::{PLAYER, room_id};
use super::sent::Served;
use super::side::Wish;
use super::{Calls, LegKey, State};
use crate::Refusal;
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::{Asker, Interaction, Party, Role};
use crate::route::Target;
use media::Plan;
use model::{PartyId, Purpose};

impl Calls {
    /// At once, or when all devices have gone to where the room is.
    pub(super) fn consult_service(
        &mut self,
        cx: &mut Cx<'_>,
        actor: &Actor,
        (parent, by): (Key<Interaction>, PartyId),
        (service, served): (Target, Served),
        asked: Asker,
    ) -> Outcome {
        if self.is_removing(parent) {
            return Err(Refusal::Unreachable(491));
        }
        let line = self.line_for(parent, by)?;
        let worker = self.worker_for_service(cx, line, service, &served)?;
        if let Some(to) = worker.filter(|worker| self.worker_of(line) != Some(*worker)) {
            self.may_begin(cx).map_err(Refusal::Unreachable)?;
            let service = (service, served);
            self.take_elsewhere(cx, parent, Removal { to, by, service, asked })?;
            return Ok(Did::Began(parent));
        }
        let target = served.dialled.clone();
        let wish = Wish {
            parent,
            by,
            purpose: Purpose::Consult,
            target: &target,
            asked: Asker::default(),
        };
        let side = self.aside_to_service(cx, wish, (service, served))?;
        self.turn_to(cx, side, by);
        self.write_down(cx, actor, "consult", &target);
        Ok(Did::Done(side))
    }

    /// The device by which a party consults.
    fn line_for(&self, call: Key<Interaction>, by: PartyId) -> Result<LegKey, Refusal> {
        let party = self.interactions.get(call).and_then(|call| call.party(by));
        party.and_then(|party| self.device_of(party)).ok_or_else(gone)
    }

    /// The consultation, which its party is still to turn to. If it cannot be, nothing has changed.
    pub(super) fn aside_to_service(
        &mut self,
        cx: &mut Cx<'_>,
        wish: Wish<'_>,
        (service, served): (Target, Served),
    ) -> Result<Key<Interaction>, Refusal> {
        self.may_begin(cx).map_err(Refusal::Unreachable)?;
        let parent = wish.parent;
        let line = self.line_for(parent, wish.by)?;
        let worker = self.worker_for_service(cx, line, service, &served)?;
        // It has begun anew elsewhere while all went to where it was.
        if worker.is_some_and(|worker| self.worker_of(line) != Some(worker)) {
            return Err(Refusal::Unreachable(503));
        }
        if service == Target::Room && self.conferences.has_seat(line) {
            return Err(conflict("who hears one room by this line hears no other"));
        }
        let (mut interaction, _) = self.aside(cx, wish).ok_or(Refusal::Unreachable(500))?;
        interaction.call.state = State::Service(service);
        interaction.call.served = Some(served);
        interaction.answered_at = Some(cx.now.wall);
        let key = self.interactions.insert(interaction);
        self.active += 1;
        self.figures.offered += 1;
        self.figures.answered += 1;
        self.attach_side(parent, key);
        self.midst_of("aside");
        Ok(key)
    }

    /// A leg has come into this room: if it is the line by which a service is heard, the service begins, or goes on.
    pub(super) fn come_to_service(&mut self, cx: &mut Cx<'_>, room: Key<Interaction>, key: LegKey) {
        match self.state(room) {
            Some(State::Service(_)) if !self.is_heard_by(room, key) => {}
            Some(State::Service(Target::Room)) => self.come_to_seat(cx, key),
            Some(State::Service(_)) => self.begin_service(cx, key),
            _ => {}
        }
    }

    /// The line goes from there: what it was played ends.
    pub(super) fn go_from_service(&mut self, cx: &mut Cx<'_>, room: Key<Interaction>, key: LegKey) {
        if !matches!(self.state(room), Some(State::Service(_))) || !self.is_heard_by(room, key) {
            return;
        }
        let Some(interaction) = self.interactions.get_mut(room) else {
            return;
        };
        interaction.call.keys = Default::default();
        if let Some(worker) = interaction.call.worker {
            let (room, player) = (room_id(room), PLAYER);
            cx.core.media(worker, Plan::StopPlay { room, player });
        }
    }

    /// Somebody hears this service by a line.
    pub(super) fn is_heard_by_line(&self, call: Key<Interaction>) -> bool {
        let parties = self.interactions.get(call).map(|call| &call.parties);
        matches!(self.state(call), Some(State::Service(_)))
            && parties.is_some_and(|parties| parties.iter().any(|party| party.line.is_some()))
    }

    /// By a line, or by what was one while the contact was there; supervisors who came along hear no service.
    fn is_heard_by(&self, call: Key<Interaction>, key: LegKey) -> bool {
        let parties = self.interactions.get(call).map(|call| &call.parties);
        let hears =
            |party: &Party| party.role == Role::Member && (party.line == Some(key) || party.legs.contains(&key));
        parties.is_some_and(|parties| parties.iter().any(hears))
    }
}
