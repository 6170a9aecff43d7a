//! Side calls: consultations, and whoever is called to take over, to join or to supervise. A side call is an interaction of
//! its own made for a parent, with a room of its own at the parent's worker; it rings, is answered and ends as any other. What
//! its purpose asks for happens when its target answers ([`super::outcome`]).

use super::identity::Identity;
use super::ring::Calling;
use super::{Calls, LegKey, State};
use crate::arena::Key;
use crate::core::{Core, Cx};
use crate::interaction::{Asker, Interaction, Party, Side};
use crate::route::{self, Callee, Devices, Dialler, Target};
use media::WorkerId;
use model::{InteractionId, PartyId, Purpose};
use sip::{Headers, Name};
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
        self.may_begin(cx)?;
        let dialler = match wish.purpose {
            // Whose phone it is was found out by his name.
            Purpose::TakeOver | Purpose::Supervise => None,
            _ => Some(self.party_dials(cx.core, wish.parent, wish.by).ok_or(403u16)?),
        };
        let (callee, devices) = self.reach(cx, dialler, wish.target)?;
        let parent = wish.parent;
        // It would be made where the parent is about to leave.
        if self.is_removing(parent) {
            return Err(491);
        }
        let (interaction, identity) = self.aside(cx, wish).ok_or(500u16)?;
        let key = self.interactions.insert(interaction);
        self.active += 1;
        self.figures.offered += 1;
        self.attach_side(parent, key);
        let calling = Calling {
            identity: &identity,
            headers: self.side_headers(key),
            past: &[],
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

    /// Whether one more call may begin.
    pub(super) fn may_begin(&self, cx: &Cx<'_>) -> Result<(), u16> {
        match cx.core.draining || self.active >= cx.core.config.calls.max_calls {
            true => Err(503),
            false => Ok(()),
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
                let devices = route::devices(cx, &cx.core.users[callee].aor, None, None);
                (Callee::User(callee), devices)
            }
            (Target::Trunk(trunk), Some(dialler)) => {
                let number = route::number_for(cx.core, dialler, dialled);
                if route::holds_back(cx.core, cx.now.mono, trunk, &number) {
                    return Err(503);
                }
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
    pub(super) fn aside(&self, cx: &mut Cx<'_>, wish: Wish<'_>) -> Option<(Interaction, Identity)> {
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

    /// What an INVITE for a side call says of its parent (R108), and the target of a transfer of who transferred (RFC 3892
    /// section 2.1): our own word for it, whatever the REFER said, and nothing of who wants to remain unknown.
    pub(super) fn side_headers(&self, key: Key<Interaction>) -> Headers {
        let side = self.interactions.get(key).and_then(|side| side.side.as_ref());
        let Some((side, parent)) = side.and_then(|side| Some((side, self.interactions.get(side.parent)?))) else {
            return Headers::new();
        };
        let headers = Headers::new().named("X-Interaction-Id", parent.id.to_string());
        let by = parent.party(side.by).and_then(|by| by.asserted.as_deref());
        match by.filter(|_| side.purpose == Purpose::Transfer) {
            Some(by) => headers.with(Name::ReferredBy, by),
            None => headers,
        }
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
            .filter_map(held)
            // Of several it is about the one he spoke to last.
            .last();
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
}
