//! Supervisors: they listen, whisper and barge in, change between these without a new call, and take over.

use super::act::{Actor, Did, Outcome, conflict, gone};
use super::ending::reason_header;
use super::{Calls, State};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::{Asker, Interaction, Party, Role};
use crate::{Refusal, Supervision};
use model::{EndReason, EndedBy, PartyId, Purpose};

impl Calls {
    /// A supervisor who is there already changes how he takes part (R133); else his phone is called.
    pub(super) fn supervise(
        &mut self,
        cx: &mut Cx<'_>,
        actor: &Actor,
        of: Option<PartyId>,
        mode: Supervision,
        mut asked: Asker,
    ) -> Outcome {
        if !actor.rules {
            return Err(Refusal::Forbidden("this needs the role of a supervisor".into()));
        }
        let (ref actor, of) = self.where_watched(actor, of);
        let interaction = self.interactions.get_mut(actor.call).ok_or_else(gone)?;
        let role = actor.party.and_then(|id| interaction.party(id)).map(|party| party.role);
        let before = match role {
            Some(Role::Supervisor { of, .. }) => Some(of),
            _ => None,
        };
        let of = of.or(before.filter(|id| interaction.party(*id).is_some()));
        let of = of.or(interaction.owner).ok_or_else(|| conflict("the call is not up"))?;
        let Some(watched) = interaction.party(of) else {
            return Err(Refusal::NotFound(format!("party {of}").into()));
        };
        if mode == Supervision::Whisper && watched.user.is_none() {
            return Err(conflict("who is outside is not to hear what is whispered"));
        }
        if role.is_some() && before != Some(of) && watched.role != Role::Member {
            return Err(conflict("who supervises is not supervised"));
        }
        let there = actor.party.and_then(|id| interaction.party_mut(id));
        match there.map(|party| &mut party.role) {
            Some(Role::Supervisor { of: whom, mode: now }) => {
                let conversed = *now == Supervision::Barge;
                (*whom, *now) = (of, mode);
                if let Some(id) = actor.party {
                    self.note_supervision(cx, actor.call, id);
                    self.record_as_he_talks(cx, actor.call, id, conversed);
                }
                // Who barged in was one of two, perhaps.
                self.on_left(cx, actor.call, EndReason::Normal, &reason_header(EndReason::Normal));
                Ok(Did::Done(actor.call))
            }
            Some(Role::Member) => Err(conflict("who takes part cannot supervise")),
            None => {
                asked.supervision = Some((mode, of));
                self.call_own_phone(cx, actor, of, Purpose::Supervise, asked)
            }
        }
    }

    /// Who hears a consultation by the line of his call is watched over in that call, as by star code: from there his
    /// supervisor goes where he goes. If nobody is named it is about whom the supervisor who hears it watches already.
    fn where_watched(&self, actor: &Actor, of: Option<PartyId>) -> (Actor, Option<PartyId>) {
        let as_said = || (actor.clone(), of);
        let side = self.interactions.get(actor.call);
        let parent = self.parent_of(actor.call);
        let (Some(side), Some((key, parent))) = (side, parent.and_then(|key| Some((key, self.interactions.get(key)?))))
        else {
            return as_said();
        };
        let is_own = |party: &&Party| Some(party.id) == actor.party || party.user.is_some() && party.user == actor.user;
        let seat = parent.parties.iter().find(is_own);
        let watches = seat.and_then(|seat| match seat.role {
            Role::Supervisor { of, .. } => Some(of),
            Role::Member => None,
        });
        let of = of.or(watches.filter(|_| !side.parties.iter().any(|party| is_own(&party))));
        if of.and_then(|id| side.party(id)?.line).is_none() {
            return as_said();
        }
        let actor = Actor {
            call: key,
            party: seat.map(|seat| seat.id),
            ..actor.clone()
        };
        (actor, of)
    }

    /// A supervisor takes the place of the owner.
    pub(super) fn take_over(&mut self, cx: &mut Cx<'_>, actor: &Actor, asked: Asker) -> Outcome {
        if !actor.rules {
            return Err(Refusal::Forbidden("this needs the role of a supervisor".into()));
        }
        let interaction = self
            .interactions
            .get_mut(actor.call)
            .filter(|call| matches!(call.call.state, State::Bridged(_)));
        let interaction = interaction.ok_or_else(|| conflict("the call is not up"))?;
        let owner = interaction.owner.ok_or_else(|| conflict("the call has no owner"))?;
        if actor.party == Some(owner) && actor.user.is_some() {
            return Err(conflict("the call is yours"));
        }
        let there = actor
            .party
            .filter(|&id| id != owner)
            .and_then(|id| interaction.party_mut(id));
        match there {
            Some(party) => {
                let (id, conversed) = (party.id, party.converses());
                party.role = Role::Member;
                interaction.owner = actor.party;
                self.record_as_he_talks(cx, actor.call, id, conversed);
                self.write_down(cx, actor, "take-over", "");
                self.part(cx, actor.call, owner, EndedBy::Other);
                Ok(Did::Done(actor.call))
            }
            None => self.call_own_phone(cx, actor, owner, Purpose::TakeOver, asked),
        }
    }

    /// Who talks to the others from now on is on the recording, and who does so no more is not.
    fn record_as_he_talks(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, id: PartyId, conversed: bool) {
        let converses = self
            .interactions
            .get(call)
            .and_then(|call| call.party(id))
            .is_some_and(Party::converses);
        for leg in self.legs_of_party(call, id) {
            let is_here = self.legs.get(leg).is_some_and(|leg| leg.place == call);
            match (conversed, converses) {
                (false, true) if is_here => self.record_newcomer(cx, leg),
                (true, false) => self.record_absent(cx, leg),
                _ => {}
            }
        }
    }

    /// The phones of who asks ring, on behalf of a party that he is to hear or to replace.
    fn call_own_phone(
        &mut self,
        cx: &mut Cx<'_>,
        actor: &Actor,
        of: PartyId,
        purpose: Purpose,
        asked: Asker,
    ) -> Outcome {
        let user = actor
            .user
            .as_ref()
            .ok_or_else(|| conflict("an operator has no phone to be called"))?;
        if !self.is_up(actor.call) {
            return Err(conflict("the call is not up"));
        }
        let extension = user.user().to_owned();
        let side = self.aside_for(cx, actor.call, of, purpose, &extension, asked)?;
        Ok(Did::Began(side))
    }
}
