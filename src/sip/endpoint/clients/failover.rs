//! One request, several ways (RFC 3263 section 4.3, RFC 5626 section 5.3): where one fails the next is gone, as a transaction of
//! its own with a branch of its own. Its TU hears of the last one only.

use super::entry::{Cancel, Spares, State};
use super::{Clients, wire};
use crate::Flow;
use crate::endpoint::core::Core;
use crate::endpoint::places::{Located, Waiter, Wish};
use crate::endpoint::wire::Branch;
use crate::endpoint::{Alternative, ClientId, Destination};
use crate::locate::{Service, Target};
use crate::output::Sink;
use clock::Mono;
use std::collections::VecDeque;
use std::sync::Arc;

impl Clients {
    /// A request to whoever serves a name: it waits for the answer.
    pub(super) fn locate(
        &mut self,
        core: &mut Core,
        now: Mono,
        id: ClientId,
        wish: (&Arc<Service>, Wish),
        out: &mut impl Sink,
    ) {
        let (service, wish) = wish;
        let entry = &mut self.slab[id.index as usize];
        entry.spares.name = service.ip().is_none().then(|| Arc::from(&*service.host));
        self.set_timer(core, id.index);
        let waiter = Waiter::Client(id);
        match core.places.locate(&mut core.wheel, now, service, wish, waiter, out) {
            Located::At(ways) => self.handle_located(core, now, id, ways, out),
            Located::Later => {}
            Located::Refused => self.fail(core, now, id.index, out),
        }
    }

    /// Where the name leads, in the order of trying; what was left to try without it comes after.
    pub fn handle_located(
        &mut self,
        core: &mut Core,
        now: Mono,
        id: ClientId,
        ways: Vec<Destination>,
        out: &mut impl Sink,
    ) {
        let Some(entry) = self.entry(id) else { return };
        if !matches!(entry.state, State::Connecting { .. }) {
            return;
        }
        let rest = std::mem::take(&mut entry.spares.ways);
        let mut ways: VecDeque<_> = ways.into_iter().map(Alternative::as_written).collect();
        let heard = rest
            .front()
            .filter(|way| matches!(way.destination, Destination::Flow(_)));
        if let Some(heard) = heard.map(|way| way.destination.outlook()) {
            // Of the servers of one name that one goes on with the dialog on which it was heard.
            let same = |way: &Alternative| is_at(&way.destination, &heard);
            if let Some(place) = ways.iter().position(same) {
                ways.remove(place);
                ways.push_front(Alternative::as_written(Destination::Flow(heard)));
            }
        }
        ways.extend(rest);
        entry.spares.ways = ways;
        if !self.go_on(core, now, id.index, out) {
            self.fail(core, now, id.index, out);
        }
    }

    /// A request that may go several ways: the first now, the others if it fails. Addresses that failed of late come last.
    pub(super) fn begin_with(
        &mut self,
        core: &mut Core,
        now: Mono,
        id: ClientId,
        ways: &[Alternative],
        out: &mut impl Sink,
    ) {
        let is_avoided =
            |way: &&Alternative| target(&way.destination).is_some_and(|target| core.places.is_avoided(now, &target));
        let (bad, good): (Vec<&Alternative>, Vec<&Alternative>) = ways.iter().partition(is_avoided);
        let entry = &mut self.slab[id.index as usize];
        entry.spares = Spares {
            ways: good.into_iter().chain(bad).cloned().collect(),
            ..Spares::default()
        };
        self.go_on(core, now, id.index, out);
    }

    /// Whether this answer says that another way should be tried, and there is one: a server can do nothing now (RFC 3263
    /// section 4.3), or a proxy has lost its flow to the device (RFC 5626 section 11.5).
    pub(super) fn is_turned_away(&self, index: u32, status: u16) -> bool {
        let entry = &self.slab[index as usize];
        matches!(status, 430 | 503) && !entry.spares.ways.is_empty() && matches!(entry.cancel, Cancel::No)
    }

    /// This way has failed; true if there is another one.
    pub(super) fn fail_over(&mut self, core: &mut Core, now: Mono, index: u32, out: &mut impl Sink) -> bool {
        let entry = &self.slab[index as usize];
        if let Some(target) = entry.spares.target {
            core.places.avoid(now, target);
        }
        let has_more = self.turn(core, now, index, out);
        core.counters.failovers += u64::from(has_more);
        has_more
    }

    /// Takes the next way; true if there is one.
    pub(super) fn turn(&mut self, core: &mut Core, now: Mono, index: u32, out: &mut impl Sink) -> bool {
        let entry = &self.slab[index as usize];
        if entry.spares.ways.is_empty() || !matches!(entry.cancel, Cancel::No) {
            return false;
        }
        self.leave_stream(index);
        self.slab[index as usize].random = core.random();
        self.go_on(core, now, index, out)
    }

    /// The next way, if there is one.
    fn go_on(&mut self, core: &mut Core, now: Mono, index: u32, out: &mut impl Sink) -> bool {
        let id = self.id(index);
        let entry = &mut self.slab[index as usize];
        let Some(next) = entry.spares.ways.pop_front() else {
            return false;
        };
        let (transport, local) = next.destination.listener();
        let branch = Branch {
            index,
            random: entry.random,
        };
        if !next.uri.is_empty() {
            entry.request = wire::redirected(&entry.request, &next.uri, &next.route);
        }
        entry.request = wire::with_via(&entry.request, transport, core.sent_by(local), branch);
        entry.local = local;
        entry.spares.target = target(&next.destination);
        (entry.moved, entry.patience) = (false, None);
        entry.attempt = entry.attempt.wrapping_add(1);
        // A lookup has limits of its own.
        let is_asked = matches!(next.destination, Destination::Service { .. });
        let until = match is_asked || entry.spares.ways.is_empty() {
            true => now + core.times.lifetime(),
            false => now + core.patience,
        };
        entry.state = State::Connecting { until, fallback: None };
        self.depart(core, now, id, next.destination, out);
        true
    }
}

fn target(destination: &Destination) -> Option<Target> {
    match destination {
        &Destination::Address { transport, peer, .. } => Some(Target { transport, peer }),
        _ => None,
    }
}

/// Whether this address is the other side of a flow.
fn is_at(destination: &Destination, flow: &Flow) -> bool {
    target(destination).is_some_and(|target| target.transport == flow.transport && target.peer == flow.peer)
}
