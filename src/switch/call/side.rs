//! Side calls: consultations, and whoever is called to take over, to join or to supervise. A side call is an interaction of
//! its own made for a parent, with a room of its own at the parent's worker; it rings, is answered and ends as any other. What
//! its purpose asks for happens when its target answers.

use super::identity::Identity;
use super::ring::Calling;
use super::room::Engine;
use super::{Bridge, Calls, Failure, LegKey, State, body};
use crate::arena::Key;
use crate::core::{Core, Cx};
use crate::interaction::{Asker, Interaction, Party, Side};
use crate::route::{self, Callee, Devices, Dialler, Target};
use crate::{Notice, Output};
use media::WorkerId;
use media::plan::Matrix;
use model::{EndReason, EndedBy, Event, InteractionId, PartyId, Purpose, VerbOutcome};
use sip::{Headers, Message, Reply};
use smallvec::SmallVec;

/// Side calls of one interaction at a time: more than anybody can keep apart.
const SIDES_MAX: usize = 8;

/// What a side call is to be.
pub(super) struct Wish<'w> {
    /// For which interaction.
    pub(super) parent: Key<Interaction>,
    /// Who wants it, or is to be supervised.
    pub(super) by: PartyId,
    /// What for.
    pub(super) purpose: Purpose,
    /// What is dialled.
    pub(super) target: &'w str,
    /// Who waits for the outcome.
    pub(super) asked: Asker,
}

impl Calls {
    /// Calls somebody for an interaction. If it cannot be done nothing has changed, and the status says why.
    pub(super) fn call_aside(&mut self, cx: &mut Cx<'_>, wish: Wish<'_>) -> Result<Key<Interaction>, u16> {
        if cx.core.draining || self.active >= cx.core.config.calls.max_calls {
            return Err(503);
        }
        let dialler = match wish.purpose {
            // Whose phone it is was found out by his name.
            Purpose::TakeOver | Purpose::Supervise => None,
            _ => Some(self.party_dials(cx.core, wish.parent, wish.by).ok_or(403u16)?),
        };
        let (callee, devices) = self.reach(cx, dialler, wish.target)?;
        let parent = wish.parent;
        let (interaction, identity) = self.aside(cx, wish).ok_or(500u16)?;
        let key = self.interactions.insert(interaction);
        self.active += 1;
        self.figures.offered += 1;
        self.attach_side(parent, key);
        let calling = Calling {
            identity: &identity,
            headers: self.side_headers(key),
            hops: 70,
            is_reliable: false,
        };
        match self.ring(cx, key, &calling, callee, devices) {
            Ok(()) => Ok(key),
            Err(failure) => {
                self.detach_side(parent, key);
                self.interactions.remove(key);
                self.active -= 1;
                Err(failure.reply.status)
            }
        }
    }

    /// Who is meant by what is dialled, and where he is. A transfer goes by the rights of who transfers (S7); without a
    /// dialler only users are meant.
    pub(super) fn reach(&self, cx: &Cx<'_>, dialler: Option<Dialler>, dialled: &str) -> Result<(Callee, Devices), u16> {
        let target = match dialler {
            Some(dialler) => route::target_for(cx.core, dialler, dialled),
            None => route::target(cx.core, dialled),
        };
        let (callee, devices) = match (target, dialler) {
            (Target::User(callee), _) => {
                let devices = route::devices(cx, &cx.core.users[callee].aor, None);
                (Callee::User(callee), devices)
            }
            (Target::Trunk(trunk), Some(dialler)) => {
                let number = route::number_for(cx.core, dialler, dialled);
                let devices = route::way_outside(cx.core, trunk, &number);
                (Callee::Outside(trunk, number), devices)
            }
            (Target::Nobody(status), _) => return Err(status),
            // A service has nobody who could be spoken to, or take over.
            _ => return Err(480),
        };
        match devices.is_empty() {
            true => Err(480),
            false => Ok((callee, devices)),
        }
    }

    /// The interaction, not yet in the arena, and whom its target sees calling.
    fn aside(&self, cx: &mut Cx<'_>, wish: Wish<'_>) -> Option<(Interaction, Identity)> {
        let parent = self.interactions.get(wish.parent)?;
        if parent.call.sides.len() >= SIDES_MAX {
            return None;
        }
        let party = parent.party(wish.by)?;
        let contact = || {
            self.others(wish.parent, wish.by)
                .first()
                .and_then(|&id| parent.party(id))
        };
        let caller = match wish.purpose {
            Purpose::Transfer => contact().unwrap_or(party),
            _ => party,
        };
        let mut first = Party::new(party.id, party.user.clone(), party.shown.clone(), SmallVec::new());
        first.asserted.clone_from(&party.asserted);
        first.line = (wish.purpose == Purpose::Consult)
            .then(|| self.device_of(party))
            .flatten();
        let mut interaction = Interaction::new(InteractionId(cx.core.random()), first, wish.target.into(), cx.now.wall);
        (interaction.grew_from, interaction.grew_for) = (Some(parent.id), Some(wish.purpose));
        interaction.call.worker = parent.call.worker;
        interaction.side = Some(Side {
            parent: wish.parent,
            by: wish.by,
            purpose: wish.purpose,
            asked: wish.asked,
        });
        Some((interaction, Identity::of_party(caller)))
    }

    /// What an INVITE for a side call says of its parent (R108).
    pub(super) fn side_headers(&self, key: Key<Interaction>) -> Headers {
        let parent = self.parent_of(key).and_then(|parent| self.interactions.get(parent));
        parent.map_or_else(Headers::new, |parent| {
            Headers::new().named("X-Interaction-Id", parent.id.to_string())
        })
    }

    /// A second call of somebody who has put his first on hold is a consultation about it.
    pub(super) fn link_second_call(&mut self, key: Key<Interaction>, caller: &model::Aor) {
        let held = |(leg, held): (LegKey, &super::Leg)| {
            let first = self.interactions.get(held.interaction).filter(|_| held.is_up())?;
            let party = &first.parties[first.party_of(leg)?];
            let holds = party.holds || !self.device_direction(leg).receives();
            (holds && matches!(first.call.state, State::Bridged(_))).then_some((held.interaction, party.id))
        };
        let found = self
            .legs
            .of_user(caller)
            .filter(|(_, leg)| leg.interaction != key)
            .find_map(held);
        if let Some((first, by)) = found {
            self.link(key, self.parent_of(first).unwrap_or(first), by);
        }
    }

    /// Makes a call that began by itself the consultation of another one. False if there are too many.
    pub(super) fn link(&mut self, key: Key<Interaction>, parent: Key<Interaction>, by: PartyId) -> bool {
        let Some((grew_from, sides)) = self.interactions.get(parent).map(|p| (p.id, p.call.sides.len())) else {
            return false;
        };
        let user = self
            .interactions
            .get(parent)
            .and_then(|parent| parent.party(by)?.user.clone());
        let Some(interaction) = self.interactions.get_mut(key) else {
            return false;
        };
        let own = interaction
            .parties
            .iter_mut()
            .find(|party| party.user == user && user.is_some());
        let (Some(own), true) = (own, sides < SIDES_MAX && interaction.side.is_none()) else {
            return false;
        };
        if interaction.owner == Some(own.id) {
            interaction.owner = Some(by);
        }
        own.id = by;
        let (purpose, asked) = (Purpose::Consult, Asker::default());
        (interaction.grew_from, interaction.grew_for) = (Some(grew_from), Some(purpose));
        interaction.side = Some(Side {
            parent,
            by,
            purpose,
            asked,
        });
        self.attach_side(parent, key);
        true
    }

    /// The worker at which a call that begins should live, so that its legs can meet those of other calls of its users.
    pub(super) fn worker_for(
        &self,
        core: &Core,
        key: Key<Interaction>,
        caller: Dialler,
        target: &Target,
    ) -> Option<WorkerId> {
        let parent = self
            .parent_of(key)
            .and_then(|parent| self.interactions.get(parent)?.call.worker);
        let of = |user| {
            let mut legs = self.legs.of_user(&core.users[user].aor);
            legs.find_map(|(_, leg)| Some(leg.sound.as_ref()?.port.worker))
        };
        let callee = || match target {
            Target::User(callee) => of(*callee),
            _ => None,
        };
        parent.or_else(callee).or_else(|| of(caller.user()?))
    }

    // What happens to it.

    /// The target of a side call answered, or the callee of one whose caller's device had been answered before.
    pub(super) fn on_target_answered(
        &mut self,
        cx: &mut Cx<'_>,
        call: Key<Interaction>,
        key: LegKey,
        message: &Message,
    ) {
        if let Err(failure) = self.take_first_answer(key, message) {
            return self.fail(cx, call, EndedBy::Switch, failure);
        }
        if self.awaits_agent(call) {
            return self.call_target(cx, call, key);
        }
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        interaction.call.state = State::Bridged(Bridge::default());
        interaction.answered_at = Some(cx.now.wall);
        let originated = interaction.originated.is_some();
        if !originated {
            interaction.owner = interaction.parties.last().map(|party| party.id);
        }
        self.figures.answered += 1;
        self.open_room(cx, call, Matrix::Everyone);
        self.listen(cx, key);
        self.plumb(cx, call);
        self.on_side_up(cx, call);
        if originated {
            self.on_originated(cx, call);
        }
    }

    fn take_first_answer(&mut self, key: LegKey, message: &Message) -> Result<(), Failure> {
        let unusable = || Failure::of(488);
        let description = body::description(message).map_err(|_| unusable())?;
        let sound = self.sound_mut(key).ok_or_else(unusable)?;
        match description {
            Some(answer) => sound.negotiation.handle_answer(&answer).map_err(body::refusal),
            None if sound.negotiation.agreed().is_some() => Ok(()),
            None => Err(unusable()),
        }
    }

    /// A call is up: if it serves another, its purpose is carried out.
    pub(super) fn on_side_up(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        let Some(side) = self.interactions.get(call).and_then(|call| call.side.as_ref()) else {
            return;
        };
        match side.purpose {
            Purpose::Consult => {
                let parent = side.parent;
                self.outcome(cx, call, 200);
                self.plumb(cx, parent);
            }
            Purpose::Transfer => self.carry_over(cx, call),
            Purpose::Join | Purpose::Supervise | Purpose::TakeOver => self.bring_in(cx, call),
        }
    }

    /// A side call comes to nothing: who asked for it hears why.
    pub(super) fn on_side_failed(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, status: u16) {
        if matches!(self.state(call), Some(State::Ringing(_) | State::Routing)) {
            self.outcome(cx, call, status);
        }
    }

    /// Tells who asked for a side call, or for a call on behalf of a user, what came of it; once.
    pub(super) fn outcome(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, status: u16) {
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        let (parent, by, asked) = match (&mut interaction.side, &mut interaction.originated) {
            (Some(side), _) => (side.parent, side.by, std::mem::take(&mut side.asked)),
            (None, Some(originated)) => (call, originated.by, std::mem::take(&mut originated.asked)),
            (None, None) => return,
        };
        let dialled = interaction.dialled.clone();
        if let Some(refer) = asked.refer {
            self.notify_refer(cx, refer, &Reply::new(status), true);
        }
        let Some(interaction) = self.interactions.get_mut(parent).filter(|_| !asked.verb.is_empty()) else {
            return;
        };
        let party = interaction.party(by);
        let (user, who) = party
            .map(|party| (party.user.clone(), party.shown.clone()))
            .unwrap_or_default();
        let detail = if status < 300 {
            dialled.into()
        } else {
            format!("{dialled}: {status}")
        };
        interaction.note(cx.now.wall, &who, asked.verb, detail);
        let outcome = VerbOutcome {
            interaction: interaction.id,
            by: user,
            verb: asked.verb.into(),
            client: asked.client,
            status,
        };
        cx.core.announce(|| Event::Verb {
            outcome: outcome.clone(),
        });
        cx.core
            .outputs
            .push_back(Output::Notice(Notice::Verb(Box::new(outcome))));
    }

    /// The interaction that a side call served ends. A consultation lives on by itself if the agent is still there (R096);
    /// all else is for nothing.
    pub(super) fn on_parent_over(&mut self, cx: &mut Cx<'_>, side: Key<Interaction>, parent: Key<Interaction>) {
        let Some(Side { by, purpose, .. }) = self.interactions.get(side).and_then(|call| call.side.as_ref()) else {
            return;
        };
        let (by, purpose) = (*by, *purpose);
        if purpose == Purpose::Consult && self.stands_alone(side, parent, by) {
            self.take_line(cx, side, parent, by);
            if let Some(interaction) = self.interactions.get_mut(side) {
                interaction.side = None;
            }
            return self.plumb(cx, side);
        }
        self.on_side_failed(cx, side, 487);
        if let Some(interaction) = self.interactions.get_mut(side) {
            interaction.side = None;
            interaction.parties.iter_mut().for_each(|party| party.line = None);
        }
        // Who watched over the consultation goes home before its room closes.
        self.plumb(cx, parent);
        let headers = super::ending::reason_header(EndReason::Cancelled);
        self.end(cx, side, EndedBy::Other, EndReason::Cancelled, &headers);
    }

    /// Whether the party that consults has a device there: one of its own, or a line that lives.
    fn stands_alone(&self, side: Key<Interaction>, parent: Key<Interaction>, by: PartyId) -> bool {
        let party = self.interactions.get(side).and_then(|side| side.party(by));
        let device = party.and_then(|party| self.device_of(party));
        // A line that another consultation of the same party has taken is no line any more.
        let home = device
            .and_then(|device| self.legs.get(device))
            .map(|leg| leg.interaction);
        home == Some(side) || home == Some(parent)
    }

    /// A line becomes the side call's own leg, and whoever watches over its party comes along.
    fn take_line(&mut self, cx: &mut Cx<'_>, side: Key<Interaction>, parent: Key<Interaction>, by: PartyId) {
        let Some(line) = self
            .interactions
            .get_mut(side)
            .and_then(|side| side.party_mut(by)?.line.take())
        else {
            return;
        };
        self.drop_exchange(cx, line);
        self.drop_relayed(cx, line);
        if let Some(interaction) = self.interactions.get_mut(parent) {
            interaction.remove(line);
        }
        if let Some(leg) = self.legs.get_mut(line) {
            leg.interaction = side;
        }
        let data = self
            .interactions
            .get(parent)
            .map(|parent| parent.data.clone())
            .unwrap_or_default();
        if let Some(interaction) = self.interactions.get_mut(side) {
            interaction.data = data;
            if let Some(party) = interaction.party_mut(by) {
                party.legs.insert(0, line);
                party.holds = false;
            }
        }
        for watcher in self.watchers_of(parent, by) {
            self.adopt(cx, parent, side, watcher);
        }
    }

    /// A call that is over leaves the one it served. Its line goes home, and after a consultation the contact is resumed
    /// (R094).
    pub(super) fn leave_parent(
        &mut self,
        cx: &mut Cx<'_>,
        call: Key<Interaction>,
        was_up: bool,
    ) -> Option<Key<Interaction>> {
        let interaction = self.interactions.get_mut(call)?;
        let Side {
            parent, by, purpose, ..
        } = interaction.side.take()?;
        let had_line = interaction
            .parties
            .iter_mut()
            .filter_map(|party| party.line.take())
            .count()
            > 0;
        self.detach_side(parent, call);
        if purpose == Purpose::Consult && was_up && had_line {
            self.turn_to(cx, parent, by);
        }
        self.plumb(cx, parent);
        Some(parent)
    }

    /// A side call of this interaction is over: without it there may be nothing left to wait for.
    pub(super) fn on_side_over(
        &mut self,
        cx: &mut Cx<'_>,
        parent: Key<Interaction>,
        reason: EndReason,
        headers: &Headers,
    ) {
        let bridged = matches!(self.state(parent), Some(State::Bridged(_)));
        if bridged && !self.goes_on(cx, parent) {
            self.end(cx, parent, EndedBy::Other, reason, headers);
        }
    }

    // The bricks.

    fn attach_side(&mut self, parent: Key<Interaction>, side: Key<Interaction>) {
        if let Some(parent) = self.interactions.get_mut(parent) {
            parent.call.sides.push(side);
        }
    }

    pub(super) fn detach_side(&mut self, parent: Key<Interaction>, side: Key<Interaction>) {
        if let Some(parent) = self.interactions.get_mut(parent) {
            parent.call.sides.retain(|other| *other != side);
        }
    }

    /// Brings a party with its devices, which are up, from one call to another.
    pub(super) fn adopt(&mut self, cx: &mut Cx<'_>, from: Key<Interaction>, to: Key<Interaction>, id: PartyId) {
        let party = self.interactions.get(from).and_then(|from| from.party(id));
        let legs = party.map(|party| party.legs.clone()).unwrap_or_default();
        for &leg in &legs {
            self.drop_exchange(cx, leg);
            self.drop_relayed(cx, leg);
        }
        let Some(source) = self.interactions.get_mut(from) else {
            return;
        };
        let Some(at) = source.parties.iter().position(|party| party.id == id) else {
            return;
        };
        let party = source.parties.remove(at);
        for &leg in &legs {
            if let Some(leg) = self.legs.get_mut(leg) {
                leg.interaction = to;
                // Who has not entered a room yet enters this one.
                if leg
                    .sound
                    .as_ref()
                    .is_none_or(|sound| matches!(sound.engine, Engine::Idle))
                {
                    leg.place = to;
                }
            }
        }
        if let Some(target) = self.interactions.get_mut(to) {
            target.parties.push(party);
        }
    }

    /// The device of a party that is up: its own, or the line it hears a consultation by.
    pub(super) fn device_of(&self, party: &Party) -> Option<LegKey> {
        let up = |key: &LegKey| self.legs.get(*key).is_some_and(super::Leg::is_up);
        party.legs.iter().chain(&party.line).copied().find(up)
    }

    /// The one of its own devices that is up: others that rang may not have confirmed yet that they stopped.
    pub(super) fn answering(&self, party: &Party) -> Option<LegKey> {
        let up = |key: &LegKey| self.legs.get(*key).is_some_and(super::Leg::is_up);
        party.legs.iter().copied().find(up)
    }

    /// Those who converse in a call and have a device up, in the order of coming.
    pub(super) fn present(&self, call: Key<Interaction>) -> SmallVec<[PartyId; 4]> {
        let Some(interaction) = self.interactions.get(call) else {
            return SmallVec::new();
        };
        let here = |party: &&Party| party.converses() && self.device_of(party).is_some();
        interaction.parties.iter().filter(here).map(|party| party.id).collect()
    }

    /// The others of those.
    pub(super) fn others(&self, call: Key<Interaction>, id: PartyId) -> SmallVec<[PartyId; 4]> {
        let mut present = self.present(call);
        present.retain(|other| *other != id);
        present
    }
}
