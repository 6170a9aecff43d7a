//! The first part of a call: an INVITE from a known caller becomes a leg, the dial plan says whom it is for.

use super::identity::Identity;
use super::{Call, Calls, Failure, Leg, Stage, body, cdr, leg_owner};
use crate::arena::{CAPACITY, Key};
use crate::core::{Core, Cx, aor_uri};
use crate::interaction::{Interaction, Party};
use crate::route::{self, Target};
use crate::text::loggable;
use crate::users::UserIndex;
use model::{Direction, EndReason, EndedBy, InteractionId, LegId};
use sip::invite::{Local, Session};
use sip::{Flow, Message, Name, Reply};
use smallvec::smallvec;
use std::borrow::Cow;

/// Longest dialled string that is looked at: names and numbers are shorter.
const DIALLED_MAX: usize = 128;

/// Legs of one call at most: one caller and all devices of a callee. With this many places left a call may begin.
const LEGS_MAX: usize = 128;

impl Calls {
    /// An INVITE from outside of any dialog, admitted (hops, Require, scheme, our domain) and its caller authenticated;
    /// From and P-Asserted-Identity are the caller's. No transaction has been made for it yet.
    pub(crate) fn handle_invite(&mut self, cx: &mut Cx<'_>, caller: UserIndex, flow: Flow, invite: Message) {
        self.figures.offered += 1;
        if cx.core.draining || self.active >= cx.core.config.calls.max_calls || self.legs.len() + LEGS_MAX > CAPACITY {
            self.figures.shed += 1;
            let reply = cx.core.overloaded();
            return cx.core.reply(flow, &invite, &reply);
        }
        let key = self.receive(cx, caller, flow, &invite);
        if let Err(failure) = self.place_call(cx, key, caller, flow, &invite) {
            self.fail(cx, key, EndedBy::Switch, failure);
        }
    }

    /// Makes the interaction and its first leg. 100 is sent.
    fn receive(&mut self, cx: &mut Cx<'_>, caller: UserIndex, flow: Flow, invite: &Message) -> Key<Interaction> {
        let (key, leg_key) = (self.interactions.next_key(), self.legs.next_key());
        let identity = Identity::of_caller(cx.core, caller, invite);
        let user = cx.core.users[caller].aor.clone();
        let dialled = dialled(cx.core, invite);
        let local = self.local(cx.core, &dialled, flow);
        let core = &mut *cx.core;
        let session = Session::receive(
            cx.now.mono,
            leg_owner(leg_key),
            flow,
            invite.clone(),
            local,
            &mut core.endpoint,
            &mut core.effects,
        );
        let interaction = Interaction {
            id: InteractionId(core.random()),
            parties: smallvec![Party {
                shown: identity.shown,
                legs: smallvec![leg_key],
            }],
            dialled: dialled.into(),
            call: Call::default(),
            started_at: cx.now.wall,
            answered_at: None,
        };
        tracing::info!(
            call = %interaction.id,
            call_id = %loggable(invite.call_id()),
            from = %loggable(user.as_str().as_bytes()),
            to = %loggable(interaction.dialled.as_bytes()),
            "call begins"
        );
        core.working = Some(leg_owner(leg_key));
        self.legs.insert(Leg {
            id: LegId(core.random()),
            interaction: key,
            direction: Direction::In,
            uri: aor_uri(&user).into(),
            user: Some(user),
            host: Some(flow.peer.ip()),
            session,
            sound: None,
            stage: Stage::Calling,
            started_at: cx.now.wall,
            ringing_at: None,
            answered_at: None,
            status: 0,
            relayed: smallvec![],
        });
        self.active += 1;
        self.interactions.insert(interaction)
    }

    /// Gives the caller a port, understands the offer, and goes where the dial plan points.
    fn place_call(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key<Interaction>,
        caller: UserIndex,
        flow: Flow,
        invite: &Message,
    ) -> Result<(), Failure> {
        if route::has_looped(cx.core, invite) {
            return Err(Failure::of(482));
        }
        let offer = body::description(invite)?;
        let target = match self.interactions.get(key) {
            Some(interaction) => route::target(cx.core, &interaction.dialled),
            None => Target::Nobody(500),
        };
        if let Target::Nobody(status) = target {
            return Err(Failure::of(status));
        }
        let mut sound = self
            .reserve(cx, None, Some(flow.local))
            .map_err(|_| Failure::congested())?;
        let worker = sound.port.worker;
        let understood = match &offer {
            Some(offer) => sound.negotiation.handle_offer(offer).map_err(body::refusal),
            None => Ok(()),
        };
        let Some(leg_key) = self.caller_of(key) else {
            return Ok(());
        };
        if let Some(leg) = self.legs.get_mut(leg_key) {
            leg.sound = Some(sound);
        }
        understood?;
        if let Some(interaction) = self.interactions.get_mut(key) {
            interaction.call.worker = Some(worker);
        }
        match target {
            Target::User(callee) => self.ring(cx, key, caller, callee, flow, invite),
            service => self.serve(cx, leg_key, service, offer.is_some()),
        }
    }

    /// How we present ourselves to the device on this flow, as the one the other side calls `number`.
    pub(super) fn local(&self, core: &Core, number: &str, flow: Flow) -> Local {
        Local {
            contact: core.contact(number, flow.transport, flow.local),
            headers: self.manners.clone(),
        }
    }
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
