//! The target set of a request (RFC 3261 section 16.5): where the dial plan and the registrar say it goes, in groups of equal
//! preference. Do not disturb and forwards of users hold here as they do for calls that the switch bridges.

use crate::core::Cx;
use crate::registrar;
use crate::route::{self, Device, Devices, Dialler, Target, TrunkIndex};
use crate::sips;
use crate::users::UserIndex;
use model::Aor;
use sip::{Flow, Message, Method, Name, Reply};
use smallvec::SmallVec;
use std::time::Duration;

/// Targets that are tried together.
pub(super) type Group = Devices;

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Targets {
    /// All of them, best first; at least one.
    pub(super) devices: Devices,
    /// The trunk they belong to, if it is outside.
    pub(super) trunk: Option<TrunkIndex>,
    /// An INVITE rings so long in each group.
    pub(super) rings_for: Duration,
    /// Their user has it sent on when he is busy, or does not answer.
    pub(super) may_be_forwarded: bool,
}

/// Users to whom a request has gone, in order.
pub(super) type Path = SmallVec<[Aor; 2]>;

impl Targets {
    /// Whose devices they are: that of the last on the way, unless it has left us.
    pub(super) fn user(&self, past: &Path) -> Option<Aor> {
        past.last().filter(|_| self.trunk.is_none()).cloned()
    }
}

/// Why a call does not stay where it was to go.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Busy,
    NoAnswer,
}

/// Who is to have it, or what to answer. `dialler` asks for it; `by` has dialled this number: he, or who has it sent on. `past`
/// grows by those to whom it goes.
pub(super) fn of(
    cx: &Cx<'_>,
    (dialler, by): (Dialler, Dialler),
    flow: Flow,
    request: &Message,
    dialled: &str,
    past: &mut Path,
) -> Result<Targets, Reply> {
    let method = request.method();
    let named = registrar::gruu::named(cx.core, request);
    let targets = all(cx, (dialler, by), flow, method, (dialled, named.as_deref()), past)?;
    match sips::is_asked(request) {
        true => secured(targets),
        false => Ok(targets),
    }
}

/// Those under TLS (RFC 5630 section 5.4).
fn secured(mut targets: Targets) -> Result<Targets, Reply> {
    targets.devices.retain(|device| device.destination.is_secure());
    match targets.devices.is_empty() {
        true => Err(sips::no_way()),
        false => Ok(targets),
    }
}

/// `named`: of who is dialled, the one device that is meant (RFC 5627).
fn all(
    cx: &Cx<'_>,
    (dialler, by): (Dialler, Dialler),
    flow: Flow,
    method: Method,
    (dialled, named): (&str, Option<&[u8]>),
    past: &mut Path,
) -> Result<Targets, Reply> {
    let ring_timeout = cx.core.config.calls.ring_timeout;
    let (mut who, mut number) = (by, dialled.to_owned());
    loop {
        let user = match route::target_for(cx.core, who, &number) {
            Target::User(user) => user,
            Target::Trunk(trunk) => {
                let number = route::number_for(cx.core, who, &number);
                let devices = route::way_outside(cx.core, trunk, &number);
                return found(devices, Some(trunk), (ring_timeout, false));
            }
            Target::Nobody(status) => return Err(Reply::new(status)),
            // What the switch answers itself is for those whose calls it bridges.
            _ => return Err(Reply::new(480)),
        };
        let aor = &cx.core.users[user].aor;
        if past.contains(aor) || past.len() > usize::from(cx.core.config.stars.max_forwards) {
            return Err(Reply::new(482));
        }
        past.push(aor.clone());
        match forwarded(cx, dialler, user, method)? {
            // A forward is at the expense of who set it.
            Some(next) => (who, number) = (Dialler::User(user), next),
            None => {
                let own = (dialler == Dialler::User(user)).then_some(flow);
                // A device is named of who was dialled, not of whom that user has calls forwarded to.
                let named = named.filter(|_| past.len() == 1);
                let devices = route::devices(cx, aor, own, named);
                let sent_on = |why| sent_on(cx, dialler, user, method, why);
                match sent_on(Why::NoAnswer).filter(|_| devices.is_empty()) {
                    Some(next) => (who, number) = (Dialler::User(user), next),
                    None => {
                        let rings_for = cx.core.users[user].ring_timeout.unwrap_or(ring_timeout);
                        let may_be = [Why::Busy, Why::NoAnswer].into_iter().any(|why| sent_on(why).is_some());
                        return found(devices, None, (rings_for, may_be));
                    }
                }
            }
        }
    }
}

fn found(
    devices: Devices,
    trunk: Option<TrunkIndex>,
    (rings_for, may_be_forwarded): (Duration, bool),
) -> Result<Targets, Reply> {
    match devices.is_empty() {
        true => Err(Reply::new(480)),
        false => Ok(Targets {
            devices,
            trunk,
            rings_for,
            may_be_forwarded,
        }),
    }
}

/// Where the user has sent his calls; 486 if he does not want to be disturbed. Both are about calls, and not about one's own.
fn forwarded(cx: &Cx<'_>, dialler: Dialler, user: UserIndex, method: Method) -> Result<Option<String>, Reply> {
    if method != Method::Invite || dialler == Dialler::User(user) {
        return Ok(None);
    }
    let Some(settings) = cx.core.settings.of(&cx.core.users[user].aor) else {
        return Ok(None);
    };
    if let Some(next) = &settings.forward_always {
        return Ok(Some(next.to_string()));
    }
    if settings.do_not_disturb {
        if let Some(next) = &settings.forward_busy {
            return Ok(Some(next.to_string()));
        }
        return Err(Reply::new(486).header(Name::Warning, "399 tandem \"do not disturb\""));
    }
    Ok(None)
}

/// Where the user has calls sent on of which this has come.
pub(super) fn sent_on(cx: &Cx<'_>, dialler: Dialler, user: UserIndex, method: Method, why: Why) -> Option<String> {
    if method != Method::Invite || dialler == Dialler::User(user) {
        return None;
    }
    let settings = cx.core.settings.of(&cx.core.users[user].aor)?;
    let next = match why {
        Why::Busy => settings.forward_busy.as_deref(),
        Why::NoAnswer => settings.forward_no_answer.as_deref(),
    };
    next.map(ToOwned::to_owned)
}

/// The groups in which they are tried, the first apart: those of equal q together (section 16.6), and never more of them at a
/// time than `breadth` allows (RFC 5393 section 5.3.3.4). The rest is in the order last to first.
pub(super) fn groups(devices: Devices, breadth: usize) -> (Group, Vec<Group>) {
    let mut groups: Vec<Group> = Vec::new();
    let mut first = Group::new();
    let mut last_q = None;
    for device in devices {
        let fits = |group: &Group, device: &Device| last_q == Some(device.q) && group.len() < breadth.max(1);
        let q = device.q;
        let current = groups.last_mut().unwrap_or(&mut first);
        if current.is_empty() || fits(current, &device) {
            current.push(device);
        } else {
            groups.push(smallvec::smallvec![device]);
        }
        last_q = Some(q);
    }
    groups.reverse();
    (first, groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip::{Destination, Transport};

    fn devices(qs: &[u16]) -> Devices {
        let device = |q: &u16| Device {
            destination: Destination::Address {
                transport: Transport::Udp,
                local: ([192, 0, 2, 1], 5060).into(),
                peer: ([192, 0, 2, 2], 5060).into(),
            },
            contact: "sip:a@192.0.2.2".into(),
            path: "".into(),
            q: *q,
            aor: None,
        };
        qs.iter().map(device).collect()
    }

    fn sizes(qs: &[u16], breadth: usize) -> Vec<usize> {
        let (first, mut later) = groups(devices(qs), breadth);
        later.reverse();
        std::iter::once(first.len())
            .chain(later.iter().map(|group| group.len()))
            .collect()
    }

    #[test]
    fn equal_preference_goes_together_and_the_rest_one_after_the_other() {
        assert_eq!(sizes(&[1000], 60), [1]);
        assert_eq!(sizes(&[1000, 1000, 500, 0, 0], 60), [2, 1, 2]);
    }

    #[test]
    fn a_group_is_no_broader_than_the_request_allows() {
        assert_eq!(sizes(&[1000, 1000, 1000, 500], 2), [2, 1, 1]);
        assert_eq!(sizes(&[1000, 1000], 1), [1, 1]);
    }
}
