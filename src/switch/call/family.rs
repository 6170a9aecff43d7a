//! An interaction and its side calls know each other: what the end of one means for the other, and how parties go from one to
//! the other with their devices.

use super::room::Engine;
use super::{Calls, LegKey, State};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::{Interaction, Party, Side};
use model::{EndReason, EndedBy, PartyId, Purpose};
use sip::Headers;
use smallvec::SmallVec;

impl Calls {
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
            self.plumb(cx, side);
            return self.refresh_displays(cx, side);
        }
        self.on_side_failed(cx, side, 487);
        self.cut_lines(cx, side);
        if let Some(interaction) = self.interactions.get_mut(side) {
            interaction.side = None;
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
        // At a service there is nobody to be overheard: who watched goes with the interaction.
        if self.is_up(side) || matches!(self.state(side), Some(State::Ringing(_))) {
            for watcher in self.watchers_of(parent, by) {
                self.adopt(cx, parent, side, watcher);
            }
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
        let had_line = self.cut_lines(cx, call);
        self.detach_side(parent, call);
        if purpose == Purpose::Consult && was_up && had_line {
            self.turn_to(cx, parent, by);
        }
        self.plumb(cx, parent);
        Some(parent)
    }

    /// Nobody hears this side call by a line any more. True if somebody did.
    pub(super) fn cut_lines(&mut self, cx: &mut Cx<'_>, side: Key<Interaction>) -> bool {
        let parties = self.interactions.get_mut(side).map(|side| &mut side.parties);
        let lines = parties.into_iter().flatten().filter_map(|party| party.line.take());
        let lines: SmallVec<[LegKey; 1]> = lines.collect();
        for &line in &lines {
            self.give_up_seat(cx, side, line);
        }
        !lines.is_empty()
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

    pub(super) fn attach_side(&mut self, parent: Key<Interaction>, side: Key<Interaction>) {
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

    /// All devices of a call, those that only ring too.
    pub(super) fn legs_in(&self, call: Key<Interaction>) -> SmallVec<[LegKey; 4]> {
        let interaction = self.interactions.get(call);
        interaction.into_iter().flat_map(Interaction::legs).collect()
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
