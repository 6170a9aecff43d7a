//! A request from outside of all dialogs that is passed on: checked (RFC 3261 section 16.3), given its targets, and sent to the
//! best of them. Hops, scheme and credentials have been looked at before.

use super::early::Early;
use super::forward::Onward;
use super::record::Ticket;
use super::targets::{self, Group, Path, Targets};
use super::{Fork, Proxy, Relay, Stage, TIMER_C, owner};
use crate::call::reason_of;
use crate::core::Cx;
use crate::route::{Devices, Dialler};
use clock::Mono;
use model::EndedBy;
use sip::{Flow, Message, Method, Name, Reply};
use smallvec::SmallVec;

/// Max-Breadth of a request that says none (RFC 5393 section 5.3.3).
const MAX_BREADTH: usize = 60;
/// No wish goes beyond: RFC 5393 section 5.3.1 has two digits in mind.
const HIGHEST_BREADTH: u32 = 255;

impl Proxy {
    /// Passes a request on, or refuses it.
    pub(crate) fn handle_request(&mut self, cx: &mut Cx<'_>, dialler: Dialler, flow: Flow, request: Message) {
        self.figures.requests += 1;
        let (mark, breadth) = (mark(cx, &request), breadth(&request));
        let mut past = Path::new();
        let found = check(cx, &request, mark, breadth).and_then(|()| targets(cx, dialler, flow, &request, &mut past));
        let mut ticket = Ticket::of(cx, &self.seal, dialler, &request);
        match found {
            Ok(targets) => {
                let onward = Onward {
                    request,
                    source: flow,
                    dialler,
                    trunk: targets.trunk,
                    mark,
                    breadth,
                };
                if let Some(ticket) = &mut ticket {
                    ticket.callee = targets.user(&past);
                }
                self.relay(cx, onward, targets, (past, ticket));
            }
            Err(reply) => {
                self.figures.refused += 1;
                if let Some(ticket) = ticket {
                    ticket.refused(cx, reply.status, (EndedBy::Switch, reason_of(reply.status)));
                }
                cx.core.answer(cx.now, flow, &request, &reply);
            }
        }
    }

    /// Sends it to the first targets; who sent it waits from now on.
    fn relay(
        &mut self,
        cx: &mut Cx<'_>,
        mut onward: Onward,
        targets: Targets,
        (past, ticket): (Path, Option<Box<Ticket>>),
    ) {
        let count = targets.devices.len();
        let (first, later, is_strict) = onward.spread(targets.devices);
        let key = self.relays.next_key();
        cx.core.working = Some(owner(key));
        let branches = first
            .iter()
            .map(|target| onward.send(cx, &self.seal, target, key))
            .collect();
        let is_invite = onward.request.method() == Method::Invite;
        self.figures.forks += u64::from(count > 1);
        let fork = (count > 1 || targets.may_be_forwarded).then(|| {
            Box::new(Fork {
                early: Early::of(&onward.request),
                onward: onward.clone(),
                later,
                past,
                rings_for: targets.rings_for,
                is_strict,
            })
        });
        let rings_until = cx.now.mono + targets.rings_for;
        let Onward { request, source, .. } = onward;
        self.open(
            cx,
            (source, request),
            (is_invite, rings_until),
            branches,
            (fork, ticket),
        );
    }

    /// The relay of a request whose first branches have gone.
    pub(super) fn open(
        &mut self,
        cx: &mut Cx<'_>,
        (source, request): (Flow, Message),
        (is_invite, rings_until): (bool, Mono),
        branches: SmallVec<[super::Branch; 1]>,
        (fork, ticket): (Option<Box<Fork>>, Option<Box<Ticket>>),
    ) {
        let (key, core) = (self.relays.next_key(), &mut *cx.core);
        let server = core
            .endpoint
            .accept(cx.now.mono, source, request, owner(key), &mut core.effects);
        let mut relay = Relay {
            server,
            is_invite,
            stage: Stage::Open,
            branches,
            fork,
            best: None,
            ticket,
            alarm: None,
            rings_until,
            c_until: cx.now.mono + TIMER_C,
        };
        if is_invite {
            relay.arm(cx, key);
        }
        self.relays.insert(relay);
    }

    /// The next group of targets is tried.
    pub(super) fn try_next(&mut self, cx: &mut Cx<'_>, key: crate::arena::Key<Relay>, group: &Group) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        let Some(fork) = &relay.fork else { return };
        for target in group {
            relay.branches.push(fork.onward.send(cx, &self.seal, target, key));
        }
        relay.rings_until = cx.now.mono + fork.rings_for;
        relay.c_until = cx.now.mono + TIMER_C;
        if let Some(alarm) = relay.alarm.take() {
            cx.core.endpoint.cancel_timer(alarm);
        }
        if relay.is_invite {
            relay.arm(cx, key);
        }
    }
}

/// What makes a request the same for routing: two that have this in common go the same way, so the second is a loop (RFC 5393
/// section 4.2.3). Max-Forwards and Via are left out, as they change with every hop.
fn mark(cx: &Cx<'_>, request: &Message) -> u64 {
    let route = request.header(Name::Route).unwrap_or_default();
    let dialog = (request.call_id(), request.from_tag(), request.to_tag(), request.cseq());
    cx.core
        .hasher
        .hash_one((request.request_uri(), route, dialog, request.method_bytes()))
}

fn breadth(request: &Message) -> usize {
    let said = request
        .header(Name::MaxBreadth)
        .and_then(|value| sip::header::delta_seconds(value).ok());
    said.map_or(MAX_BREADTH, |breadth| breadth.min(HIGHEST_BREADTH) as usize)
}

fn check(cx: &mut Cx<'_>, request: &Message, mark: u64, breadth: usize) -> Result<(), Reply> {
    if cx.core.draining && request.method() == Method::Invite {
        return Err(cx.core.overloaded());
    }
    // Step 4, with the stricter rule of RFC 5393 section 4.2.
    if cx.core.endpoint.has_passed(request, mark) {
        return Err(Reply::new(482));
    }
    match breadth {
        0 => Err(Reply::new(440)),
        _ => Ok(()),
    }
}

impl Onward {
    /// The breadth of the request is split among all targets, so that none adds to it; if there are more, they go one after the
    /// other (RFC 5393 section 5.3.3.4). Those that go first, the others, and whether each has to end before the next.
    pub(super) fn spread(&mut self, devices: Devices) -> (Group, Vec<Group>, bool) {
        let (count, allowed) = (devices.len().max(1), breadth(&self.request).max(1));
        let is_strict = count > allowed;
        self.breadth = if is_strict { 1 } else { allowed / count };
        let (first, later) = targets::groups(devices, if is_strict { allowed } else { count });
        (first, later, is_strict)
    }
}

fn targets(cx: &Cx<'_>, dialler: Dialler, flow: Flow, request: &Message, past: &mut Path) -> Result<Targets, Reply> {
    // A route beyond us is one that we did not record: nobody is sent to third parties (S25).
    let mut routes = request.values(Name::Route);
    if routes.next().is_some() && routes.next().is_some() {
        return Err(Reply::new(403).reason("Route Leads Elsewhere"));
    }
    let dialled = cx.core.dialled(request).unwrap_or_default();
    let is_text = dialled.len() <= DIALLED_MAX && !dialled.chars().any(char::is_control);
    match is_text {
        true => targets::of(cx, (dialler, dialler), flow, request, &dialled, past),
        false => Err(Reply::new(404)),
    }
}

/// Longest dialled string that is looked at, as for calls that are bridged.
const DIALLED_MAX: usize = 128;
