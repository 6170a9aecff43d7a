//! The first part of a call: an INVITE from a known caller becomes a leg, the dial plan says whom it is for.

use super::divert::Origin;
use super::history::Path;
use super::identity::Identity;
use super::ring::hops_left;
use super::{Calls, Failure, Leg, LegKey, body, cdr, leg_owner};
use crate::admission;
use crate::arena::{CAPACITY, Key};
use crate::core::{Core, Cx, aor_uri};
use crate::interaction::{Interaction, Party};
use crate::registrar;
use crate::route::{self, Callee, Devices, Dialler, Target};
use crate::sips;
use crate::text::loggable;
use media::WorkerId;
use media::sdp::SessionDescription;
use model::{Direction, EndReason, EndedBy, InteractionId, PartyId};
use sip::invite::{Expiry, Local, Session, too_brief};
use sip::{Flow, Message, Name, Reply};
use smallvec::smallvec;
use std::borrow::Cow;

/// Longest dialled string that is looked at: names and numbers are shorter.
pub(super) const DIALLED_MAX: usize = 128;

/// Legs of one call at most: one caller and all devices of a callee. With this many places left a call may begin.
pub(super) const LEGS_MAX: usize = 128;

/// A call as it is asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Who calls: authenticated, or from a trunk's address.
    pub(super) caller: Dialler,
    /// How others see him.
    pub(super) identity: Identity,
    /// From where.
    pub(super) flow: Flow,
    /// In which words.
    pub(super) invite: Message,
}

impl Asked {
    fn origin(&self, core: &Core) -> Origin {
        Origin {
            caller: self.caller,
            identity: self.identity.clone(),
            named: registrar::gruu::named(core, &self.invite),
            flow: Some(self.flow),
            hops: hops_left(&self.invite),
            is_reliable: sip::invite::knows_reliable(&self.invite),
            is_secure: sips::is_asked(&self.invite),
        }
    }
}

impl Calls {
    /// An INVITE from outside of any dialog, admitted (hops, Require, scheme, our domain) and its caller authenticated;
    /// From and P-Asserted-Identity of a user are the user's. No transaction has been made for it yet.
    pub(crate) fn handle_invite(&mut self, cx: &mut Cx<'_>, caller: Dialler, flow: Flow, invite: Message) {
        if let Some(reply) = expiry(cx.core).and_then(|expiry| too_brief(&invite, expiry)) {
            return cx.core.answer(cx.now, flow, &invite, &reply);
        }
        self.figures.offered += 1;
        let is_full = self.active >= cx.core.config.calls.max_calls && !self.has_room_for_help(cx.core, &flow, &invite);
        if cx.core.draining || is_full || self.legs.len() + LEGS_MAX > CAPACITY {
            self.figures.shed += 1;
            let reply = cx.core.overloaded();
            return cx.core.reply(flow, &invite, &reply);
        }
        let asked = Asked {
            caller,
            identity: match caller {
                Dialler::User(user) => Identity::of_caller(cx.core, user, &invite),
                Dialler::Trunk(trunk) => Identity::of_stranger(cx.core, trunk, &invite),
            },
            flow,
            invite,
        };
        let key = self.receive(cx, &asked);
        if let Err(failure) = self.place_call(cx, key, &asked) {
            self.fail(cx, key, EndedBy::Switch, failure);
        }
    }

    /// Whether it is a call for help, and there are not too many of those.
    fn has_room_for_help(&self, core: &Core, flow: &Flow, invite: &Message) -> bool {
        self.active < core.config.calls.max_calls + admission::EMERGENCY_CALLS
            && admission::is_emergency(core, flow, invite)
    }

    /// Makes the interaction and its first leg. 100 is sent.
    fn receive(&mut self, cx: &mut Cx<'_>, asked: &Asked) -> Key<Interaction> {
        let (key, leg_key) = (self.interactions.next_key(), self.legs.next_key());
        let user = asked.caller.user().map(|user| cx.core.users[user].aor.clone());
        let dialled = dialled(cx.core, &asked.invite);
        let mut local = self.local(cx.core, &dialled, asked.flow, asked.caller.user().is_none());
        if sips::is_due(asked.flow, &asked.invite) {
            local.contact = sips::raised(&local.contact);
        }
        let core = &mut *cx.core;
        core.working = Some(leg_owner(leg_key));
        let session = Session::receive(
            cx.now.mono,
            leg_owner(leg_key),
            asked.flow,
            asked.invite.clone(),
            local,
            &mut core.endpoint,
            &mut core.effects,
        );
        let shown = asked.identity.shown.clone();
        let mut party = Party::new(PartyId(core.random()), user.clone(), shown, smallvec![leg_key]);
        party.asserted = asked.identity.asserted.as_deref().map(Into::into);
        let id = InteractionId(core.random());
        let interaction = Interaction::new(id, party, dialled.into(), cx.now.wall);
        tracing::info!(
            call = %interaction.id,
            call_id = %loggable(asked.invite.call_id()),
            from = %loggable(asked.identity.number.as_bytes()),
            to = %loggable(interaction.dialled.as_bytes()),
            "call begins"
        );
        let uri = match (&user, asked.invite.from()) {
            (Some(user), _) => aor_uri(user).into(),
            (None, Ok(from)) => loggable(from.uri_bytes).into(),
            (None, Err(_)) => "".into(),
        };
        let mut leg = Leg::new(cx, key, (Direction::In, user), uri, session);
        leg.trunk = asked.caller.trunk(cx.core);
        self.legs.insert(leg);
        self.active += 1;
        self.interactions.insert(interaction)
    }

    /// Understands the offer, gives the caller a port, and goes where the dial plan points.
    fn place_call(&mut self, cx: &mut Cx<'_>, key: Key<Interaction>, asked: &Asked) -> Result<(), Failure> {
        if route::has_looped(cx.core, &asked.invite) {
            return Err(Failure::of(482));
        }
        let offer = body::description(&asked.invite)?;
        if let Some(entry) = self.entry(cx, key, asked)? {
            return self.enter(cx, key, asked, entry, offer.as_ref());
        }
        // Who dials a code calls nobody.
        let dialled = self.interactions.get(key).map_or("", |call| &call.dialled);
        if route::target_for(cx.core, asked.caller, dialled) == Target::Star {
            return self.dial_star(cx, key, asked, offer.as_ref());
        }
        if let Some(user) = asked.caller.user() {
            self.link_second_call(key, &cx.core.users[user].aor);
        }
        let mut past = Path::new();
        let origin = asked.origin(cx.core);
        let (target, called) = self.goal(cx, key, &origin, &mut past)?;
        let Some(caller) = self.caller_of(key) else {
            return Ok(());
        };
        let worker = match target {
            Target::Room => self.knock_dialled(cx, key)?,
            _ => self.worker_for(cx.core, key, asked.caller, &target),
        };
        let mut seated = self.seat_caller(cx, key, (caller, worker), asked.flow, offer.as_ref());
        // A worker without a free port costs only that this call cannot be joined with others of its users later.
        if seated.is_err() && target != Target::Room && self.sound_mut(caller).is_none() {
            seated = self.seat_caller(cx, key, (caller, None), asked.flow, offer.as_ref());
        }
        seated?;
        match called {
            Some((callee, devices)) => {
                let calling = origin.calling(self.side_headers(key), &past);
                self.ring(cx, key, &calling, callee, devices)?;
                self.keep_onward(key, &origin, past);
                Ok(())
            }
            None => self.serve(cx, caller, target, offer.is_some()),
        }
    }

    /// What the dial plan and the registrar say: somebody with at least one device, or a service. No port is taken before:
    /// calls to nobody must not use them up.
    fn goal(
        &self,
        cx: &Cx<'_>,
        key: Key<Interaction>,
        origin: &Origin,
        past: &mut Path,
    ) -> Result<(Target, Option<(Callee, Devices)>), Failure> {
        let dialled = self
            .interactions
            .get(key)
            .map_or("", |interaction| &interaction.dialled);
        let target = route::target_for(cx.core, origin.caller, dialled);
        let callee = match target {
            Target::User(callee) => Callee::User(callee),
            Target::Trunk(trunk) => Callee::Outside(trunk, route::number_for(cx.core, origin.caller, dialled)),
            Target::Nobody(status) => return Err(Failure::of(status)),
            service => return Ok((service, None)),
        };
        self.called(cx, origin, callee, past)
            .map(|called| (target, Some(called)))
    }

    /// The caller's port, at the worker where the call will live from now on, if that is known already, and his offer.
    pub(super) fn seat_caller(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key<Interaction>,
        (caller, worker): (LegKey, Option<WorkerId>),
        flow: Flow,
        offer: Option<&SessionDescription>,
    ) -> Result<(), Failure> {
        let mut sound = self
            .reserve(cx, worker, Some(flow.local))
            .map_err(|_| Failure::congested())?;
        let user = self.legs.get(caller).and_then(|leg| leg.user.clone());
        sound.secure(cx, user.as_ref(), flow.transport);
        let worker = sound.port.worker;
        let understood = match offer {
            Some(offer) => sound.negotiation.handle_offer(offer).map_err(body::refusal),
            None => Ok(()),
        };
        if let Some(leg) = self.legs.get_mut(caller) {
            leg.sound = Some(sound);
        }
        if let Some(interaction) = self.interactions.get_mut(key) {
            interaction.call.worker = Some(worker);
        }
        understood
    }

    /// How we present ourselves to the device on this flow, or to a trunk, as the one the other side calls `number`.
    pub(super) fn local(&self, core: &Core, number: &str, flow: Flow, is_outside: bool) -> Local {
        Local {
            contact: core.contact(number, flow.transport, flow.local),
            headers: self.manners.clone(),
            decline: Some(body::decline),
            expiry: expiry(core),
            // A carrier may be several machines; a phone is where it is heard (S25).
            heeds_names: is_outside,
        }
    }
}

/// Session timers as configured.
fn expiry(core: &Core) -> Option<Expiry> {
    let timers = &core.config.timers;
    let least = timers.min_se;
    timers.session_expires.map(|interval| Expiry { interval, least })
}

/// What was dialled, bounded. What is not text or has control characters in it was dialled by nobody: it stays empty, and
/// matches no rule.
fn dialled(core: &Core, invite: &Message) -> String {
    let dialled = core
        .dialled(invite)
        .filter(|text| text.len() <= DIALLED_MAX && !text.chars().any(char::is_control));
    dialled.map(Cow::into_owned).unwrap_or_default()
}

impl Failure {
    /// A plain status.
    #[must_use]
    pub(crate) fn of(status: u16) -> Failure {
        let reason = cdr::reason_of(status);
        Failure::new(Reply::new(status), reason)
    }

    /// No port, no room.
    #[must_use]
    pub(crate) fn congested() -> Failure {
        Failure::new(Reply::new(503).header(Name::RetryAfter, "5"), EndReason::Congestion)
    }
}
