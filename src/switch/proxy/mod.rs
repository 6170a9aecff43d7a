//! Proxy mode: requests are passed on instead of being answered (RFC 3261 section 16), statefully, with forking by q, and media
//! goes past the switch. What a rule or trunk says `mode = "proxy"` of comes here, and so does every later request of a dialog
//! whose Record-Route is ours.
//!
//! A [`Relay`] is one request under way: one server transaction, and a client transaction for each [`Branch`]. Between the
//! requests of a dialog nothing is kept: what is needed to go on is written into Record-Route, under a seal ([`seal`]).

mod answer;
mod begin;
mod best;
mod early;
mod forward;
mod identity;
mod inside;
mod record;
mod seal;
mod targets;
#[cfg(test)]
mod tests;

pub(crate) use inside::Passage;
pub(crate) use record::give_up;

use crate::arena::{Arena, Key};
use crate::core::{Core, Cx};
use crate::room::Room;
use best::Best;
use clock::Mono;
use early::Early;
use forward::Onward;
use model::{EndReason, EndedBy};
use record::Ticket;
use seal::Seal;
use sip::endpoint::{Alarm, ClientId, Event, ServerId};
use sip::{Headers, Message, Name, Owner, Reply};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::time::Duration;

/// All requests that are being passed on.
#[derive(Debug)]
pub(crate) struct Proxy {
    relays: Arena<Relay>,
    seal: Seal,
    /// Answered INVITEs, in the order in which they are forgotten: until then more 2xx may come.
    answered: VecDeque<(Mono, Key<Relay>)>,
    figures: Figures,
}

/// One request under way (the response context of section 16.7).
#[derive(Debug)]
struct Relay {
    server: ServerId,
    is_invite: bool,
    stage: Stage,
    branches: SmallVec<[Branch; 1]>,
    /// What is needed while there is more than one target.
    fork: Option<Box<Fork>>,
    /// The best refusal so far (section 16.7 step 6).
    best: Option<Box<Best>>,
    /// Of an INVITE that begins a call, until it has its record.
    ticket: Option<Box<Ticket>>,
    alarm: Option<Alarm>,
    /// When it has rung long enough where it rings now.
    rings_until: Mono,
    /// Timer C (section 16.8).
    c_until: Mono,
}

/// How far a request has come.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Who asked waits.
    Open,
    /// He has given up.
    Cancelled,
    /// Somebody declined for all (section 16.7 step 5).
    Declined,
    /// He has a 2xx; others that come are passed on too.
    Answered,
}

/// The request at one target.
#[derive(Debug)]
struct Branch {
    client: ClientId,
    /// It has no final answer yet.
    is_pending: bool,
    /// What it asserts is believed (RFC 3325).
    is_trusted: bool,
    /// It was told to stop ringing, with this outcome if it obeys.
    stopped: Option<u16>,
}

/// A request that has more targets than one, or may get more.
#[derive(Debug)]
struct Fork {
    onward: Onward,
    /// Targets that are to be tried when those before have refused, the next group last.
    later: Vec<targets::Group>,
    /// Users to whom it has gone so far. The last may have it forwarded.
    past: targets::Path,
    /// How long each of them rings.
    rings_for: Duration,
    /// A group begins only when all before it have ended: the breadth of the request allows no more (RFC 5393).
    is_strict: bool,
    early: Early,
}

/// For `/metrics`.
#[derive(Debug, Default)]
struct Figures {
    requests: u64,
    refused: u64,
    forks: u64,
    acks: u64,
}

/// Longer than three minutes (section 16.6 step 11).
const TIMER_C: Duration = Duration::from_secs(200);

/// Of a relay: it has rung long enough, or Timer C.
const ALARM: u32 = 0;
/// Of all: forget answered INVITEs.
const SWEEP: u32 = 1;

/// The owner of timers for all relays; a relay's own is its key, which is shorter.
const OF_ALL: u64 = 1 << 55;

fn owner(relay: Key<Relay>) -> Owner {
    Room::Proxy.owner(relay.pack())
}

impl Proxy {
    /// Nothing is under way. Records of routes are sealed with `key`, which must survive a restart.
    #[must_use]
    pub(crate) fn new(core: &Core, key: [u8; 32]) -> Proxy {
        Proxy {
            relays: Arena::default(),
            // The keys of the hasher are another in each run.
            seal: Seal::new(key, core.hasher.hash_one("run")),
            answered: VecDeque::new(),
            figures: Figures::default(),
        }
    }

    /// An event of the transaction layer for a relay.
    pub(crate) fn handle_event(&mut self, cx: &mut Cx<'_>, number: u64, event: Event) {
        let key = Key::unpack(number);
        match event {
            Event::Response { client, message, .. } => self.on_response(cx, key, client, message),
            // As if 408 or 503 had come (sections 16.8 and 16.9).
            Event::Timeout { client, .. } => self.on_lost(cx, key, client, 408),
            Event::SendFailed { client, .. } => self.on_lost(cx, key, client, 503),
            Event::Cancel { message, .. } => self.on_cancel(cx, key, &message),
            Event::Timer { kind: SWEEP, .. } => self.sweep(cx),
            Event::Timer { .. } => self.on_alarm(cx, key),
            Event::Request { .. } | Event::Ack { .. } | Event::StrayResponse { .. } => {}
        }
    }

    /// Who asked has given up (section 16.10). Every branch is told, with his reason (RFC 3326).
    fn on_cancel(&mut self, cx: &mut Cx<'_>, key: Key<Relay>, cancel: &Message) {
        let Some(relay) = self.relays.get_mut(key).filter(|relay| relay.stage == Stage::Open) else {
            return;
        };
        relay.stage = Stage::Cancelled;
        relay.give_up_the_rest();
        let mut headers = Headers::new();
        for reason in cancel.lines(Name::Reason) {
            headers.add(Name::Reason, reason);
        }
        relay.stop_ringing(cx, &headers, None);
        self.go_on(cx, key);
    }

    /// It has rung long enough, or nothing has been heard for as long as Timer C.
    fn on_alarm(&mut self, cx: &mut Cx<'_>, key: Key<Relay>) {
        let now = cx.now.mono;
        let Some(relay) = self.relays.get_mut(key) else { return };
        relay.alarm = None;
        if relay.stage != Stage::Open {
            return;
        }
        let outcome = match (relay.rings_until <= now, relay.c_until <= now) {
            (true, _) => 480,
            (false, true) => 408,
            (false, false) => return relay.arm(cx, key),
        };
        relay.stop_ringing(cx, &Headers::new(), Some(outcome));
        self.go_on(cx, key);
    }

    /// Forgets INVITEs whose answers can come no more.
    fn sweep(&mut self, cx: &mut Cx<'_>) {
        while let Some(&(_, key)) = self.answered.front().filter(|(at, _)| *at <= cx.now.mono) {
            self.answered.pop_front();
            self.relays.remove(key);
        }
        if let Some(&(at, _)) = self.answered.front() {
            cx.core.endpoint.set_timer(at, Room::Proxy.owner(OF_ALL), SWEEP);
        }
    }

    /// An INVITE was answered: its relay is kept until no more 2xx can come. All wait equally long, so this is in order.
    fn keep_answered(&mut self, cx: &mut Cx<'_>, key: Key<Relay>) {
        let at = cx.now.mono + cx.core.endpoint.lifetime();
        if self.answered.is_empty() {
            cx.core.endpoint.set_timer(at, Room::Proxy.owner(OF_ALL), SWEEP);
        }
        self.answered.push_back((at, key));
    }

    /// A relay is over: nobody asks for what its branches may still say.
    fn end(&mut self, cx: &mut Cx<'_>, key: Key<Relay>) {
        let Some(relay) = self.relays.remove(key) else { return };
        if let Some(alarm) = relay.alarm {
            cx.core.endpoint.cancel_timer(alarm);
        }
        for branch in relay.branches.iter().filter(|branch| branch.is_pending) {
            cx.core.endpoint.disown(branch.client);
        }
    }

    /// A panic was caught while an event of this relay was handled: who asked is told, its branches are stopped.
    pub(crate) fn recover(&mut self, cx: &mut Cx<'_>, number: u64) {
        let key = Key::unpack(number);
        let Some(relay) = self.relays.get_mut(key) else { return };
        relay.stop_ringing(cx, &Headers::new(), None);
        let (server, ticket, core) = (relay.server, relay.ticket.take(), &mut *cx.core);
        core.endpoint
            .respond(cx.now.mono, server, &Reply::new(500), &mut core.effects);
        if let Some(ticket) = ticket {
            ticket.refused(cx, 500, (EndedBy::Switch, EndReason::Internal));
        }
        self.end(cx, key);
    }

    /// Adds its figures to those of `/metrics`: name, value, whether it is a gauge.
    pub(crate) fn count(&self, values: &mut Vec<(&'static str, u64, bool)>) {
        let under_way = self.relays.len() - self.answered.len();
        values.extend([
            ("proxy_under_way", u64::try_from(under_way).unwrap_or(u64::MAX), true),
            ("proxy_requests_total", self.figures.requests, false),
            ("proxy_refused_total", self.figures.refused, false),
            ("proxy_forks_total", self.figures.forks, false),
            ("proxy_acks_total", self.figures.acks, false),
        ]);
    }

    /// Checks that every relay waits for something.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let is_stuck = |relay: &Relay| relay.stage != Stage::Answered && !relay.waits();
        if let Some((key, _)) = self.relays.iter().find(|(_, relay)| is_stuck(relay)) {
            return Err(format!("proxy: relay {key:?} waits for nobody"));
        }
        let answered = self.relays.iter().filter(|(_, relay)| relay.stage == Stage::Answered);
        match (answered.count(), self.answered.len()) {
            (there, listed) if there != listed => Err(format!("proxy: {there} answered, {listed} listed")),
            _ => Ok(()),
        }
    }
}

impl Relay {
    /// A branch has no final answer yet.
    fn waits(&self) -> bool {
        self.branches.iter().any(|branch| branch.is_pending)
    }

    /// No further targets are tried.
    fn give_up_the_rest(&mut self) {
        if let Some(fork) = &mut self.fork {
            fork.later.clear();
        }
    }

    /// Cancels what rings (section 16.10); `outcome` is what that is to count as.
    fn stop_ringing(&mut self, cx: &mut Cx<'_>, headers: &Headers, outcome: Option<u16>) {
        if !self.is_invite {
            return;
        }
        let core = &mut *cx.core;
        for branch in self.branches.iter_mut().filter(|branch| branch.is_pending) {
            branch.stopped = branch.stopped.or(outcome);
            core.endpoint
                .cancel(cx.now.mono, branch.client, headers, &mut core.effects);
        }
    }

    /// Sets the alarm for what is due first.
    fn arm(&mut self, cx: &mut Cx<'_>, key: Key<Relay>) {
        let at = self.rings_until.min(self.c_until);
        self.alarm = Some(cx.core.endpoint.set_timer(at, owner(key), ALARM));
    }
}
