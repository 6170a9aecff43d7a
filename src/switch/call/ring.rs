//! Devices ring: all of the callee's together, the first to answer has the call, the rest are told so. When none is left
//! the caller hears the best of their refusals.

use super::divert::{Onward, Why};
use super::ending::{passed_reason, reason_header};
use super::history::{self, Stop};
use super::identity::Identity;
use super::room::Sound;
use super::service::CODECS;
use super::{Bridge, Calls, Failure, Leg, LegKey, State, TIMER_RING, body, call_timer, cdr, leg_owner};
use crate::arena::Key;
use crate::core::{Core, Cx, aor_uri};
use crate::interaction::{Interaction, Party};
use crate::route::{Callee, Device, Devices, TrunkIndex, best};
use crate::sips;
use crate::text::loggable;
use clock::Mono;
use model::{Aor, Direction, EndReason, EndedBy, PartyId};
use sip::endpoint::Alarm;
use sip::invite::{Invitation, Session};
use sip::uri::escape_user;
use sip::{Body, Flow, Headers, Message, Name, Reply};
use smallvec::{SmallVec, smallvec};

/// The callee's devices ring.
#[derive(Debug)]
pub(crate) struct Ringing {
    /// When that is no answer.
    pub(super) alarm: Option<Alarm>,
    /// How many were called.
    pub(super) devices: usize,
    /// Of several, the one whose early media the caller hears: the first that has any.
    pub(super) heard: Option<LegKey>,
    /// The best refusal so far.
    best: Option<(u16, Option<Box<Message>>)>,
    /// What the caller was told last, and when.
    pub(super) told: Option<(u16, Mono)>,
    /// The headers that say who is called.
    pub(super) callee: Headers,
    /// The only device has described itself reliably: what the two change before the answer goes from end to end.
    pub(super) early: Option<Early>,
    /// The offer was the device's, in a reliable provisional response.
    pub(super) is_lent: bool,
    /// For the case that it is forwarded.
    pub(super) onward: Option<Box<Onward>>,
}

/// Who calls, as the devices that ring are told.
pub(super) struct Calling<'c> {
    /// As whom.
    pub(super) identity: &'c Identity,
    /// Further headers of the INVITE.
    pub(super) headers: Headers,
    /// To whom it has gone before.
    pub(super) past: &'c [Stop],
    /// Its Max-Forwards.
    pub(super) hops: u8,
    /// The caller takes reliable provisional responses.
    pub(super) is_reliable: bool,
}

/// Who is called, as the legs are made.
struct Called {
    user: Option<Aor>,
    trunk: Option<TrunkIndex>,
    /// To, without tag.
    to: String,
}

impl Called {
    fn of(core: &Core, callee: &Callee) -> Called {
        match callee {
            Callee::User(user) => {
                let aor = &core.users[*user].aor;
                Called {
                    user: Some(aor.clone()),
                    trunk: None,
                    to: format!("<{}>", aor_uri(aor)),
                }
            }
            Callee::Outside(trunk, number) => Called {
                user: None,
                trunk: Some(*trunk),
                to: format!("<sip:{}@{}>", escape_user(number.as_bytes()), trunk.of(core).host()),
            },
        }
    }
}

/// What two devices share before the answer.
#[derive(Debug)]
pub(super) struct Early {
    /// The caller's first.
    pub(super) legs: [LegKey; 2],
    /// What goes from end to end.
    pub(super) bridge: Bridge,
}

impl Calls {
    /// Calls all devices of a user, or a number outside.
    pub(super) fn ring(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key<Interaction>,
        calling: &Calling<'_>,
        callee: Callee,
        devices: Devices,
    ) -> Result<(), Failure> {
        let called = Called::of(cx.core, &callee);
        let timeout = match callee {
            Callee::User(user) => cx.core.users[user].ring_timeout,
            Callee::Outside(..) => None,
        };
        let mut legs: SmallVec<[LegKey; 1]> = smallvec![];
        let alone = devices.len() == 1;
        for device in devices {
            match self.invite(cx, key, calling, &called, device, alone) {
                Ok(leg) => legs.push(leg),
                // What rings, rings; without any there is no call.
                Err(failure) if legs.is_empty() => return Err(failure),
                Err(_) => break,
            }
        }
        self.midst_of("ring");
        let at = cx.now.mono + timeout.unwrap_or(cx.core.config.calls.ring_timeout);
        let alarm = cx.core.endpoint.set_timer(at, call_timer(key), TIMER_RING);
        let callee = Identity::of_called(cx.core, &callee);
        let Some(interaction) = self.interactions.get_mut(key) else {
            return Ok(());
        };
        interaction.call.state = State::Ringing(Ringing {
            alarm: Some(alarm),
            devices: legs.len(),
            heard: None,
            best: None,
            told: None,
            callee: callee.headers(),
            early: None,
            is_lent: false,
            onward: None,
        });
        let mut party = Party::new(PartyId(cx.core.random()), called.user, callee.shown, legs);
        party.asserted = callee.asserted.map(Into::into);
        interaction.parties.push(party);
        Ok(())
    }

    /// Calls one device, with an offer of its own if the caller made one.
    fn invite(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key<Interaction>,
        calling: &Calling<'_>,
        callee: &Called,
        device: Device,
        alone: bool,
    ) -> Result<LegKey, Failure> {
        let flow = device.flow();
        let (sound, offer) = self.seat_callee(cx, key, callee.user.as_ref(), flow)?;
        let leg_key = self.legs.next_key();
        let caller = calling.identity.towards(cx.core, callee.trunk);
        // Of our interactions nobody outside is told.
        let mut headers = match callee.trunk {
            Some(_) => caller.headers(),
            None => joined(&caller, calling),
        };
        // Who forwarded to whom is not for peers that we do not trust.
        if callee.trunk.is_none_or(|trunk| trunk.of(cx.core).is_trusted) {
            headers.append(&history::told(calling.past, callee.to.trim_matches(['<', '>'])));
        }
        let mut local = self.local(cx.core, &caller.number, flow, callee.trunk.is_some());
        if device.contact.starts_with("sips:") {
            local.contact = sips::raised(&local.contact);
        }
        let invitation = Invitation {
            destination: device.destination,
            uri: device.contact.to_string(),
            from: caller.from.clone(),
            to: callee.to.clone(),
            local,
            headers: routed(headers, &device.path),
            max_forwards: calling.hops,
            // Its offer in a provisional response would be the caller's to answer, in a PRACK.
            reliable: offer.is_some() || alone && calling.is_reliable,
            offer,
        };
        let core = &mut *cx.core;
        let session = Session::connect(
            cx.now.mono,
            leg_owner(leg_key),
            invitation,
            &mut core.endpoint,
            &mut core.effects,
        );
        if let Some(interaction) = self.interactions.get(key) {
            let (id, call_id) = (interaction.id, session.call_id().as_bytes());
            tracing::debug!(call = %id, call_id = %loggable(call_id), peer = %flow.peer, "device called");
        }
        let whose = (Direction::Out, callee.user.clone());
        let mut leg = Leg::new(cx, key, whose, device.contact, session);
        leg.trunk = callee.trunk.map(|trunk| trunk.of(cx.core).name.clone());
        leg.sound = Some(sound);
        Ok(self.legs.insert(leg))
    }

    /// A port for a device at the worker of its call, and our offer to it if the caller made one.
    fn seat_callee(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key<Interaction>,
        callee: Option<&Aor>,
        flow: Flow,
    ) -> Result<(Sound, Option<Body>), Failure> {
        let worker = self.interactions.get(key).and_then(|call| call.call.worker);
        let mut sound = self
            .reserve(cx, worker, Some(flow.local))
            .map_err(|_| Failure::congested())?;
        sound.secure(cx, callee, flow.transport);
        if let Some(interaction) = self.interactions.get_mut(key) {
            interaction.call.worker.get_or_insert(sound.port.worker);
        }
        // Who is up has agreed with the switch already.
        let waits = |caller: &LegKey| self.legs.get(*caller).is_some_and(|leg| !leg.is_up());
        let caller = self.caller_of(key).filter(waits);
        let asks = caller
            .and_then(|caller| self.sound_mut(caller))
            .is_some_and(|from| from.negotiation.asks_video());
        if let (Some(caller), true) = (caller, asks && self.may_see(key)) {
            self.admit_video(cx, caller, true);
            self.admit_newcomer(cx, &mut sound, true);
        }
        let from = caller.and_then(|leg| self.legs.get(leg)?.sound.as_ref());
        let text = match from.filter(|from| from.negotiation.owes_answer()) {
            Some(from) => sound.negotiation.relay_offer(&from.negotiation),
            None if caller.is_some() => return Ok((sound, None)),
            None => sound.negotiation.offer(&CODECS, media::sdp::Direction::SendRecv),
        };
        match text {
            Ok(text) => {
                let offer = body::sdp(text);
                Ok((sound, Some(offer)))
            }
            Err(error) => {
                self.release(cx, &sound);
                Err(body::refusal(error))
            }
        }
    }

    /// A device refused, or cannot be reached.
    pub(super) fn on_rejected(&mut self, cx: &mut Cx<'_>, key: LegKey, status: u16, message: Option<Message>) {
        let Some(leg) = self.legs.get_mut(key).filter(|leg| !leg.is_over()) else {
            return;
        };
        leg.status = status;
        let call = leg.interaction;
        self.leave(cx, key, EndedBy::Peer, cdr::reason_of(status), &Headers::new());
        let Some(ringing) = self.ringing(call) else { return };
        let told = best::told_to_caller(status);
        let better = match &ringing.best {
            Some((so_far, _)) => best::better(*so_far, told) != *so_far,
            None => true,
        };
        if better {
            ringing.best = Some((told, message.map(Box::new)));
        }
        // RFC 3261 section 16.7 step 5: a 6xx speaks for all devices.
        if status >= 600 {
            let reason = cdr::reason_of(status);
            for other in self.callees(call) {
                self.leave(cx, other, EndedBy::Other, reason, &reason_header(reason));
            }
        }
        self.on_device_gone(cx, call);
    }

    /// A device has left a call that rings; without any the caller is refused.
    pub(super) fn on_device_gone(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        let left = self.callees(call);
        if left
            .iter()
            .any(|&key| self.legs.get(key).is_some_and(|leg| !leg.is_over()))
        {
            return self.hear_another(cx, call);
        }
        let busy = self
            .ringing(call)
            .and_then(|ringing| ringing.best.as_ref())
            .map(|(status, _)| *status);
        let why = match busy {
            Some(486 | 600) => Some(Why::Busy),
            // Declined is the callee's own word.
            Some(601..) => None,
            _ => Some(Why::NoAnswer),
        };
        if why.is_some_and(|why| self.forward(cx, call, why)) {
            return;
        }
        let Some(ringing) = self.ringing(call) else { return };
        let (status, message) = ringing.best.take().unwrap_or((480, None));
        let mut failure = Failure::of(status);
        if let Some(message) = message {
            failure.reply = failure.reply.headers(&explanation(&message));
        }
        self.fail(cx, call, EndedBy::Other, failure);
    }

    /// Nobody answered in time.
    pub(super) fn on_no_answer(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        if self.ringing(call).is_none() {
            return;
        }
        let headers = reason_header(EndReason::NoAnswer);
        for key in self.callees(call) {
            self.leave(cx, key, EndedBy::Switch, EndReason::NoAnswer, &headers);
        }
        if self.forward(cx, call, Why::NoAnswer) {
            return;
        }
        let failure = Failure::new(Reply::new(480), EndReason::NoAnswer);
        self.fail(cx, call, EndedBy::Switch, failure);
    }

    /// The ringing devices' state, while they ring.
    pub(super) fn ringing(&mut self, call: Key<Interaction>) -> Option<&mut Ringing> {
        match &mut self.interactions.get_mut(call)?.call.state {
            State::Ringing(ringing) => Some(ringing),
            _ => None,
        }
    }

    /// The devices that are called.
    pub(super) fn callees(&self, call: Key<Interaction>) -> SmallVec<[LegKey; 4]> {
        let interaction = self.interactions.get(call);
        interaction.map_or_else(SmallVec::new, |interaction| {
            interaction
                .parties
                .iter()
                .skip(1)
                .flat_map(|party| party.legs.iter().copied())
                .collect()
        })
    }
}

/// What of a refusal helps the caller to understand it.
fn explanation(message: &Message) -> Headers {
    let mut headers = passed_reason(message).unwrap_or_default();
    for name in [Name::Warning, Name::RetryAfter] {
        if let Some(value) = message.header(name).filter(|value| value.len() <= 200) {
            headers.add(name, value);
        }
    }
    headers
}

/// One hop fewer than the caller's request had; 70 if it did not say.
pub(super) fn hops_left(invite: &Message) -> u8 {
    let hops = invite
        .header(Name::MaxForwards)
        .and_then(|value| std::str::from_utf8(value).ok());
    hops.and_then(|hops| hops.trim().parse::<u8>().ok())
        .map_or(70, |hops| hops.saturating_sub(1))
}

/// Who calls, and what else the INVITE says.
fn joined(caller: &Identity, calling: &Calling<'_>) -> Headers {
    let mut headers = caller.headers();
    headers.append(&calling.headers);
    headers
}

/// The Path of a registration becomes the Route of what goes there (RFC 3327 section 5.3).
fn routed(headers: Headers, path: &str) -> Headers {
    if path.is_empty() {
        headers
    } else {
        headers.with(Name::Route, path)
    }
}
