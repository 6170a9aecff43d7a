//! Who takes part in a call that is up: parties come from side calls, go, hold and attend; what that means for the others.

use super::ending::reason_header;
use super::side::SIDES_MAX;
use super::{Calls, LegKey, State, TIMER_ASK_BACK};
use crate::Supervision;
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::{Interaction, Party, Role, Side};
use model::{CdrLink, EndReason, EndedBy, PartyId, Purpose};
use smallvec::SmallVec;

impl Calls {
    // Holding and attending.

    /// A party attends to this one of its calls: the interaction, or one of its side calls; the rest of them it holds.
    pub(super) fn turn_to(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, by: PartyId) {
        let root = self.parent_of(call).unwrap_or(call);
        let mut family = self.sides_of(root);
        family.push(root);
        for member in family {
            let holds = member != call;
            if holds || !self.is_held_by_device(member, by) {
                self.set_holds(member, by, holds);
            } else {
                self.ask_back(cx, member, by);
            }
        }
        self.plumb(cx, root);
    }

    /// A party puts the others of one call on hold, or takes them off.
    pub(super) fn set_holds(&mut self, call: Key<Interaction>, by: PartyId, holds: bool) {
        if let Some(party) = self.interactions.get_mut(call).and_then(|call| call.party_mut(by)) {
            (party.holds, party.tone) = (holds, None);
        }
        let party = self.interactions.get(call).and_then(|call| call.party(by));
        let device = party.filter(|_| holds).and_then(|party| self.device_of(party));
        if let Some(leg) = device.and_then(|device| self.legs.get_mut(device)) {
            leg.is_wanted_back = false;
        }
    }

    fn is_held_by_device(&self, call: Key<Interaction>, by: PartyId) -> bool {
        let device = self
            .interactions
            .get(call)
            .and_then(|call| self.device_of(call.party(by)?));
        device.and_then(|leg| self.legs.get(leg)).is_some_and(|leg| leg.holds)
    }

    /// The device itself holds: it is offered to speak again, and its answer is what counts.
    fn ask_back(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, by: PartyId) {
        let device = self
            .interactions
            .get(call)
            .and_then(|call| self.device_of(call.party(by)?));
        if let Some(leg) = device {
            self.ask_device_back(cx, leg);
        }
    }

    /// Now, or when it has done with what it is in the midst of, unless it speaks by then or is to hold after all.
    fn ask_device_back(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let holds = |leg: &super::Leg| leg.is_up() && leg.holds;
        if !self.legs.get(key).is_some_and(holds) {
            return;
        }
        let asked = self.offer_again(cx, key);
        if let Some(leg) = self.legs.get_mut(key) {
            leg.is_wanted_back = !asked;
        }
        if !asked {
            self.try_again(cx, key, TIMER_ASK_BACK);
        }
    }

    /// A device has done with what it was in the midst of, or some time has passed.
    pub(super) fn on_settled(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        if self.legs.get(key).is_some_and(|leg| leg.is_wanted_back) {
            self.ask_device_back(cx, key);
        }
    }

    /// A device has put the call that it hears on hold by its session description, or taken it off.
    pub(super) fn hold_by_device(&mut self, cx: &mut Cx<'_>, place: Key<Interaction>, key: LegKey, holds: bool) {
        let Some(interaction) = self.interactions.get_mut(place) else {
            return;
        };
        let mut parties = interaction.parties.iter_mut();
        let party = parties.find(|party| party.legs.contains(&key) || party.line == Some(key));
        let Some(party) = party.filter(|party| party.holds != holds) else {
            return;
        };
        (party.holds, party.tone) = (holds, None);
        let who = party.shown.clone();
        interaction.note(cx.now.wall, &who, if holds { "hold" } else { "resume" }, "");
        self.plumb(cx, place);
    }

    // Coming.

    /// The target of a transfer takes the place of who transferred.
    pub(super) fn carry_over(&mut self, cx: &mut Cx<'_>, side: Key<Interaction>) {
        let dialled = self.interactions.get(side).map(|side| side.dialled.clone());
        let Some((parent, by)) = self.merge(cx, side, Role::Member) else {
            return;
        };
        let headers = reason_header(EndReason::Normal);
        for leg in self.legs_of_party(parent, by) {
            if let (Some(leg), Some(dialled)) = (self.legs.get_mut(leg), &dialled) {
                leg.transferred_to.clone_from(dialled);
            }
            self.leave(cx, leg, EndedBy::Switch, EndReason::Normal, &headers);
        }
        self.on_left(cx, parent, EndReason::Normal, &headers);
    }

    /// The target of an invitation, or a supervisor whose phone was called, comes into the interaction.
    pub(super) fn bring_in(&mut self, cx: &mut Cx<'_>, side: Key<Interaction>) {
        let Some(served) = self.interactions.get(side).and_then(|call| call.side.as_ref()) else {
            return;
        };
        let purpose = served.purpose;
        let role = match served.asked.supervision {
            Some((mode, of)) => Role::Supervisor { of, mode },
            None => Role::Member,
        };
        let Some((parent, by)) = self.merge(cx, side, role) else {
            return;
        };
        if purpose == Purpose::TakeOver {
            let headers = reason_header(EndReason::Normal);
            for leg in self.legs_of_party(parent, by) {
                self.leave(cx, leg, EndedBy::Switch, EndReason::Normal, &headers);
            }
            return self.on_left(cx, parent, EndReason::Normal, &headers);
        }
        self.settle_parties(cx, parent);
    }

    /// All of a side call but who wanted it move to its parent; what is left of it ends. The parent, and who wanted it.
    pub(super) fn merge(
        &mut self,
        cx: &mut Cx<'_>,
        side: Key<Interaction>,
        served_as: Role,
    ) -> Option<(Key<Interaction>, PartyId)> {
        self.outcome(cx, side, 200);
        let interaction = self.interactions.get_mut(side)?;
        let (served, from) = (interaction.side.take()?, interaction.id);
        let (parent, by) = (served.parent, served.by);
        self.midst_of("merge");
        for id in self.coming(side, &served) {
            for leg in self.legs_of_party(side, id) {
                if let Some(leg) = self.legs.get_mut(leg) {
                    leg.link = Some(CdrLink {
                        interaction: from,
                        how: served.purpose,
                    });
                }
            }
            self.adopt(cx, side, parent, id);
            // Who watches over one who comes goes on with that.
            let own = self.interactions.get(parent).and_then(|parent| parent.party(id));
            let role = own.map(|party| party.role).filter(|own| *own != Role::Member);
            self.seat_as(cx, parent, id, role.unwrap_or(served_as));
        }
        self.detach_side(parent, side);
        if let Some(interaction) = self.interactions.get_mut(side) {
            interaction.parties.iter_mut().for_each(|party| party.line = None);
        }
        self.bring_calls_along(side, parent);
        self.plumb(cx, parent);
        let headers = reason_header(EndReason::Normal);
        self.end(cx, side, EndedBy::Switch, EndReason::Normal, &headers);
        Some((parent, by))
    }

    /// All but who wanted it, and who watches over them; over who wanted it too, if he stays with the interaction.
    fn coming(&self, side: Key<Interaction>, served: &Side) -> SmallVec<[PartyId; 4]> {
        let mut coming = self.others(side, served.by);
        let stays = (served.purpose != Purpose::Transfer).then_some(served.by);
        let watched: SmallVec<[PartyId; 4]> = coming.iter().copied().chain(stays).collect();
        for watcher in watched.into_iter().flat_map(|id| self.watchers_of(side, id)) {
            // Who has barged in is there already.
            if !coming.contains(&watcher) {
                coming.push(watcher);
            }
        }
        coming
    }

    /// Supervisors' phones that ring on behalf of somebody who came ring on, for where he is now.
    fn bring_calls_along(&mut self, side: Key<Interaction>, parent: Key<Interaction>) {
        for calling in self.sides_of(side) {
            let served = self.interactions.get(calling).and_then(|call| call.side.as_ref());
            let by = served.map(|served| served.by);
            let takes = |parent: &Interaction| {
                by.is_some_and(|by| parent.party(by).is_some()) && parent.call.sides.len() < SIDES_MAX
            };
            if !self.interactions.get(parent).is_some_and(takes) {
                continue;
            }
            self.detach_side(side, calling);
            if let Some(served) = self.interactions.get_mut(calling).and_then(|call| call.side.as_mut()) {
                served.parent = parent;
            }
            self.attach_side(parent, calling);
        }
    }

    /// A party that came takes part as this; it is written down.
    pub(super) fn seat_as(&mut self, cx: &Cx<'_>, call: Key<Interaction>, id: PartyId, role: Role) {
        let interaction = self.interactions.get_mut(call);
        let Some(party) = interaction.and_then(|call| call.party_mut(id)) else {
            return;
        };
        party.role = role;
        let who = party.shown.clone();
        match (role, self.interactions.get_mut(call)) {
            (Role::Member, Some(interaction)) => interaction.note(cx.now.wall, &who, "joined", ""),
            _ => self.note_supervision(cx, call, id),
        }
    }

    // Going.

    /// Whether a call that is up makes sense with those who are left.
    pub(super) fn goes_on(&self, cx: &Cx<'_>, call: Key<Interaction>) -> bool {
        let Some(interaction) = self.interactions.get(call) else {
            return false;
        };
        let present = self.present(call);
        let is_ours = |id: &PartyId| interaction.party(*id).is_some_and(|party| party.user.is_some());
        match present.as_slice() {
            [] => false,
            // Somebody is on the way to take the place of who has left, or who is left is on the way elsewhere.
            [alone] => {
                let comes = self.sides_of(call).into_iter().any(|side| {
                    let side = self.interactions.get(side).and_then(|side| side.side.as_ref());
                    side.is_some_and(|side| side.purpose == Purpose::Transfer && side.by != *alone)
                });
                comes || self.is_moving(call)
            }
            // R128: of an added party and a contact nobody here would know what they talk about.
            all => !cx.core.config.calls.end_without_us || all.iter().any(is_ours),
        }
    }

    /// Somebody came or went: the owner is one who is there, nobody watches over one who is not, and everybody hears and
    /// is shown what is so now.
    pub(super) fn settle_parties(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        self.end_deserted(cx, call);
        let present = self.present(call);
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        if interaction.owner.is_none_or(|owner| !present.contains(&owner)) {
            let ours = |id: &&PartyId| interaction.party(**id).is_some_and(|party| party.user.is_some());
            interaction.owner = present.iter().rev().find(ours).or(present.first()).copied();
        }
        interaction.call.is_conference |= present.len() > 2;
        interaction
            .unheard
            .retain(|(from, to)| present.contains(from) || present.contains(to));
        let headers = reason_header(EndReason::Normal);
        for leg in self.idle_watchers(call, &present) {
            self.leave(cx, leg, EndedBy::Switch, EndReason::Normal, &headers);
        }
        self.plumb(cx, call);
        self.refresh_displays(cx, call);
        self.on_moved(cx, call);
    }

    /// Whether who consults in a side call has left its line, or who is to be watched over or replaced has gone.
    fn is_deserted(&self, side: &Interaction, present: &[PartyId]) -> bool {
        let is_gone = |line| self.legs.get(line).is_none_or(super::Leg::is_over);
        let is_left = side.parties.iter().filter_map(|party| party.line).any(is_gone);
        let is_for_nothing = |served: &Side| {
            let supervises = matches!(served.purpose, Purpose::Supervise | Purpose::TakeOver);
            supervises && !present.contains(&served.by)
        };
        is_left || side.side.as_ref().is_some_and(is_for_nothing)
    }

    /// Side calls of those who are not there any more end.
    fn end_deserted(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        let headers = reason_header(EndReason::Normal);
        let present = self.present(call);
        for side in self.sides_of(call) {
            let is_deserted = |side| self.is_deserted(side, &present);
            if self.interactions.get(side).is_some_and(is_deserted) {
                self.on_side_failed(cx, side, 487);
                self.cut_lines(cx, side);
                self.end(cx, side, EndedBy::Other, EndReason::Normal, &headers);
            }
        }
    }

    /// The devices of supervisors whose agent is not there any more.
    fn idle_watchers(&self, call: Key<Interaction>, present: &[PartyId]) -> SmallVec<[LegKey; 4]> {
        let Some(interaction) = self.interactions.get(call) else {
            return SmallVec::new();
        };
        let idle = |party: &&Party| match party.role {
            Role::Supervisor { of, mode } => mode != Supervision::Barge && !present.contains(&of),
            Role::Member => false,
        };
        interaction
            .parties
            .iter()
            .filter(idle)
            .flat_map(|party| party.legs.iter().copied())
            .collect()
    }

    /// Supervisors who watch over a party.
    pub(super) fn watchers_of(&self, call: Key<Interaction>, id: PartyId) -> SmallVec<[PartyId; 2]> {
        let Some(interaction) = self.interactions.get(call) else {
            return SmallVec::new();
        };
        let watches = |party: &&Party| matches!(party.role, Role::Supervisor { of, .. } if of == id);
        interaction
            .parties
            .iter()
            .filter(watches)
            .map(|party| party.id)
            .collect()
    }

    /// A party is taken out, or goes.
    pub(super) fn part(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, id: PartyId, by: EndedBy) {
        let headers = reason_header(EndReason::Normal);
        let mut legs = self.legs_of_party(call, id);
        let line = self.interactions.get(call).and_then(|call| call.party(id)?.line);
        if line.is_some() {
            // Who hears a consultation by a line goes from the consultation, not from the call.
            return self.end(cx, call, by, EndReason::Normal, &headers);
        }
        legs.retain(|leg| self.legs.get(*leg).is_some_and(|leg| !leg.is_over()));
        for leg in legs {
            self.leave(cx, leg, by, EndReason::Normal, &headers);
        }
        self.on_left(cx, call, EndReason::Normal, &headers);
    }

    /// A device that should send does not: it is as good as gone.
    pub(super) fn on_silent(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let Some(call) = self.legs.get(key).map(|leg| leg.interaction) else {
            return;
        };
        let reason = EndReason::MediaTimeout;
        let simple = self.present(call).len() <= 2 && self.sides_of(call).is_empty() && self.parent_of(call).is_none();
        if simple || !matches!(self.state(call), Some(State::Bridged(_))) {
            return self.hang_up(cx, call, reason);
        }
        let headers = reason_header(reason);
        self.leave(cx, key, EndedBy::Switch, reason, &headers);
        self.on_left(cx, call, reason, &headers);
    }

    pub(super) fn legs_of_party(&self, call: Key<Interaction>, id: PartyId) -> SmallVec<[LegKey; 1]> {
        let party = self.interactions.get(call).and_then(|call| call.party(id));
        party.map(|party| party.legs.clone()).unwrap_or_default()
    }
}
