//! Where calls go by what the called user has set: do not disturb, call waiting, forwards always, while busy and without an
//! answer. A call follows a few forwards and no more, and never comes to the same user twice.

use super::history::{Left, Path, Stop};
use super::identity::Identity;
use super::ring::Calling;
use super::side::HOPS;
use super::{Calls, Failure, State};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::Interaction;
use crate::route::{self, Callee, Devices, Dialler, Target};
use crate::sips;
use crate::users::UserIndex;
use model::{Aor, EndReason, UserSettings};
use sip::{Flow, Headers, Name, Reply};

/// Why a call does not stay where it was to go.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Busy,
    NoAnswer,
}

/// What is kept of a call that rings, in case it is forwarded.
#[derive(Clone, Debug)]
pub(super) struct Onward {
    origin: Origin,
    /// To whom it has gone so far.
    past: Path,
}

/// Where a call comes from, as far as it matters where it goes.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// Who calls: authenticated, or from a trunk's address.
    pub(super) caller: Dialler,
    /// How others see him.
    pub(super) identity: Identity,
    /// The device of the first callee that he has dialled (RFC 5627).
    pub(super) named: Option<Box<[u8]>>,
    /// The device he calls with, which he can call no more; none for a call that was commanded: its phones are taken.
    pub(super) flow: Option<Flow>,
    /// Max-Forwards of what goes on.
    pub(super) hops: u8,
    /// He takes reliable provisional responses.
    pub(super) is_reliable: bool,
    /// He has called a `sips` URI: it goes on under TLS only.
    pub(super) is_secure: bool,
}

impl Origin {
    /// What is called by command, by who is in a call already.
    pub(super) fn inside(caller: Dialler, identity: Identity) -> Origin {
        Origin {
            caller,
            identity,
            named: None,
            flow: None,
            hops: HOPS,
            is_reliable: false,
            is_secure: false,
        }
    }

    /// The devices that his call may ring.
    fn secured(&self, mut devices: Devices) -> Devices {
        devices.retain(|device| !self.is_secure || device.destination.is_secure());
        devices
    }

    fn nobody_there(&self) -> Failure {
        match self.is_secure {
            true => Failure::new(sips::no_way(), EndReason::Unreachable),
            false => Failure::of(480),
        }
    }

    /// What the devices that ring are told of it.
    pub(super) fn calling<'c>(&'c self, headers: Headers, past: &'c [Stop]) -> Calling<'c> {
        Calling {
            identity: &self.identity,
            headers,
            past,
            hops: self.hops,
            is_reliable: self.is_reliable,
        }
    }
}

impl Calls {
    /// Who is called in the end, and by which devices.
    pub(super) fn called(
        &self,
        cx: &Cx<'_>,
        origin: &Origin,
        first: Callee,
        past: &mut Path,
    ) -> Result<(Callee, Devices), Failure> {
        let mut next = first;
        loop {
            let callee = match next {
                Callee::User(callee) => callee,
                Callee::Outside(trunk, number) => {
                    let devices = origin.secured(route::way_outside(cx.core, trunk, &number));
                    return match devices.is_empty() {
                        true => Err(origin.nobody_there()),
                        false => Ok((Callee::Outside(trunk, number), devices)),
                    };
                }
            };
            let user = &cx.core.users[callee].aor;
            if past.iter().any(|stop| stop.user == *user) || past.len() > usize::from(cx.core.config.stars.max_forwards)
            {
                return Err(Failure::of(482));
            }
            past.push(Stop {
                user: user.clone(),
                left: None,
            });
            let is_own = origin.caller == Dialler::User(callee);
            if is_own && origin.flow.is_none() {
                return Err(Failure::of(482));
            }
            let settings = cx.core.settings.of(user).filter(|_| !is_own);
            let (number, why) = match settings.and_then(|settings| settings.forward_always.as_deref()) {
                Some(next) => (next, Left::Always),
                None if !is_own && self.is_busy(cx, user, settings) => {
                    match settings.and_then(|s| s.forward_busy.as_deref()) {
                        Some(next) => (next, left_busy(settings)),
                        None => return Err(busy(settings)),
                    }
                }
                None => {
                    // A device is dialled of who was dialled, not of whom that user has calls forwarded to.
                    let named = origin.named.as_deref().filter(|_| past.len() == 1);
                    let devices = origin.secured(route::devices(cx, user, own_flow(origin, callee), named));
                    match settings.and_then(|settings| settings.forward_no_answer.as_deref()) {
                        Some(next) if devices.is_empty() => (next, Left::Absent),
                        _ if devices.is_empty() => return Err(origin.nobody_there()),
                        _ => return Ok((Callee::User(callee), devices)),
                    }
                }
            };
            next = forwarded(cx, callee, number)?;
            leave(past, why);
        }
    }

    /// Do not disturb, or in a call and not to be rung meanwhile.
    fn is_busy(&self, cx: &Cx<'_>, user: &Aor, settings: Option<&UserSettings>) -> bool {
        let waits = settings.and_then(|settings| settings.call_waiting);
        let in_call = || self.legs.of_user(user).any(|(_, leg)| !leg.is_over());
        settings.is_some_and(|settings| settings.do_not_disturb)
            || !waits.unwrap_or(cx.core.config.stars.call_waiting) && in_call()
    }

    /// The call rings; what is needed to send it on is kept.
    pub(super) fn keep_onward(&mut self, key: Key<Interaction>, origin: &Origin, past: Path) {
        let origin = origin.clone();
        if let Some(ringing) = self.ringing(key) {
            ringing.onward = Some(Box::new(Onward { origin, past }));
        }
    }

    /// All devices of the callee are busy, gone, or have rung long enough: true if the call goes to somebody else now.
    pub(super) fn forward(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, why: Why) -> bool {
        let Some(onward) = self.ringing(call).and_then(|ringing| ringing.onward.take()) else {
            return false;
        };
        // Whom the caller hears already, by early media, nobody else can follow: he is answered once.
        let caller = self.caller_of(call).and_then(|leg| self.legs.get(leg));
        let settled = |leg: &super::Leg| {
            let sound = leg.sound.as_ref().filter(|_| !leg.is_up());
            sound.is_some_and(|sound| sound.negotiation.agreed().is_some())
        };
        // For who is called for a side call nobody waits with a phone of his own.
        let is_aside = self.parent_of(call).is_some();
        if caller.map_or(!is_aside, settled) {
            return false;
        }
        let Onward { mut origin, mut past } = *onward;
        let forwarder = past.last().and_then(|stop| cx.core.users.find(stop.user.user()));
        let settings = past.last().and_then(|stop| cx.core.settings.of(&stop.user));
        let next = settings.and_then(|settings| match why {
            Why::Busy => settings.forward_busy.clone(),
            Why::NoAnswer => settings.forward_no_answer.clone(),
        });
        // Indices do not outlive a reload.
        let dialler = self
            .dialler_of(cx.core, call)
            .or_else(|| self.asker_dials(cx.core, call));
        let (Some(next), Some(caller), Some(forwarder)) = (next, dialler, forwarder) else {
            return false;
        };
        origin.caller = caller;
        leave(
            &mut past,
            match why {
                Why::Busy => Left::Busy,
                Why::NoAnswer => Left::NoAnswer,
            },
        );
        let called = forwarded(cx, forwarder, &next).and_then(|first| self.called(cx, &origin, first, &mut past));
        let Ok((callee, devices)) = called else { return false };
        let alarm = self.ringing(call).and_then(|ringing| ringing.alarm.take());
        if let Some(alarm) = alarm {
            cx.core.endpoint.cancel_timer(alarm);
        }
        let calling = origin.calling(self.side_headers(call), &past);
        if self.ring(cx, call, &calling, callee, devices).is_err() {
            return false;
        }
        self.keep_onward(call, &origin, past);
        self.tell_forwarded(cx, call);
        true
    }

    /// RFC 3261 section 21.1.3: the caller's phone may show it.
    fn tell_forwarded(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        let rings = matches!(self.state(call), Some(State::Ringing(_)));
        let caller = self.caller_of(call).filter(|_| rings);
        let caller = caller.and_then(|leg| self.legs.get_mut(leg));
        if let Some(leg) = caller.filter(|leg| !leg.is_up()) {
            leg.progress(cx, Reply::new(181), false);
        }
    }
}

/// Where a forward leads: what the forwarder himself may dial, for outside it is at his expense (S7). What was a user when
/// it was set may be none now.
fn forwarded(cx: &Cx<'_>, forwarder: UserIndex, number: &str) -> Result<Callee, Failure> {
    let dialler = Dialler::User(forwarder);
    match route::target_for(cx.core, dialler, number) {
        Target::User(next) => Ok(Callee::User(next)),
        Target::Trunk(trunk) => Ok(Callee::Outside(trunk, route::number_for(cx.core, dialler, number))),
        _ => Err(Failure::of(480)),
    }
}

/// Two lines of one desk phone share a flow and may call each other: only a caller's own device is not rung.
fn own_flow(origin: &Origin, callee: UserIndex) -> Option<Flow> {
    origin.flow.filter(|_| origin.caller == Dialler::User(callee))
}

/// The last stop of a call was not its last.
fn leave(past: &mut Path, why: Left) {
    if let Some(stop) = past.last_mut() {
        stop.left = Some(why);
    }
}

fn left_busy(settings: Option<&UserSettings>) -> Left {
    match settings.is_some_and(|settings| settings.do_not_disturb) {
        true => Left::DoNotDisturb,
        false => Left::Busy,
    }
}

fn busy(settings: Option<&UserSettings>) -> Failure {
    let silent = settings.is_some_and(|settings| settings.do_not_disturb);
    let reply = match silent {
        true => Reply::new(486).header(Name::Warning, "399 tandem \"do not disturb\""),
        false => Reply::new(486),
    };
    Failure::new(reply, EndReason::Busy)
}
