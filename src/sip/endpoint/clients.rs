//! The client side: requests of ours, found again by the branch we gave them.

mod entry;
mod failover;
mod remains;
mod stored;

pub(super) use entry::Request;
pub use remains::Remains;

use super::core::{Core, Due};
use super::places::Wish;
use super::wire::{self, Branch, LARGEST_DATAGRAM};
use super::{ClientId, Connecting, Destination, Event, Owner};
use crate::draft::Headers;
use crate::output::{Output, Sink};
use crate::transaction::client::Client;
use crate::transaction::invite_client::InviteClient;
use crate::transaction::{Class, Effect, Effects};
use crate::{Flow, Message, Method, Transport};
use ahash::RandomState;
use bytes::Bytes;
use clock::Mono;
use entry::{Cancel, Entry, Machine, Spares, State};
use hashbrown::HashMap;
use slab::Slab;
use std::collections::VecDeque;
use stored::alive;

/// All client transactions. A branch says where its transaction is, so there is no index.
pub(super) struct Clients {
    slab: Slab<Entry>,
    /// Which transactions use a stream, so that its end is known to them at once.
    streams: HashMap<u64, Vec<u32>, RandomState>,
    /// Completed non-INVITE transactions with the end of their Timer K, in that order, as on the server side.
    completed: VecDeque<(Mono, ClientId)>,
    next_generation: u32,
}

/// How many completed non-INVITE transactions wait for their answer to come again, the oldest going first. One that is gone
/// too early costs nothing: the answer is then counted as stray instead of as absorbed.
const MAX_COMPLETED: usize = 16_384;

impl Clients {
    pub fn new(core: &Core) -> Clients {
        Clients {
            slab: Slab::new(),
            streams: HashMap::with_hasher(core.hasher.clone()),
            completed: VecDeque::new(),
            next_generation: 0,
        }
    }

    // What the TU does.

    pub fn send(
        &mut self,
        core: &mut Core,
        now: Mono,
        destination: Destination,
        request: Request<'_, '_>,
        owner: Option<Owner>,
        out: &mut impl Sink,
    ) -> ClientId {
        let (_, local) = destination.listener();
        let branch = Branch {
            index: self.slab.vacant_key() as u32,
            random: core.random(),
        };
        let id = self.insert(Entry {
            generation: 0,
            random: branch.random,
            owner,
            method: request.method(),
            local,
            request: request.print(core, &destination, branch),
            vias: request.vias(),
            state: State::Connecting {
                until: now + core.times.lifetime(),
                fallback: None,
            },
            cancel: Cancel::No,
            remains: None,
            heeds_late: false,
            asks_load: core.throttle.asks(&destination),
            moved: false,
            spares: Spares::default(),
            attempt: 0,
            patience: None,
            timer: None,
        });
        *alive(core, request.method()) += 1;
        self.depart(core, now, id, destination, out);
        id
    }

    pub fn cancel(&mut self, core: &mut Core, now: Mono, id: ClientId, headers: &Headers, out: &mut impl Sink) {
        let Some(entry) = self.entry(id).filter(|e| e.method == Method::Invite) else {
            return;
        };
        if !matches!(entry.cancel, Cancel::No) {
            return;
        }
        match &entry.state {
            // Nothing has been sent: there is nothing to cancel.
            State::Connecting { .. } => {
                entry.spares.ways.clear();
                self.time_out(core, now, id.index, out);
            }
            State::Late { .. } => {}
            State::Sent {
                machine: Machine::Invite(machine),
                ..
            } if machine.is_pending() => {
                let proceeding = machine.is_proceeding();
                entry.cancel = Cancel::Wanted(headers.clone());
                if proceeding {
                    self.send_cancel(core, now, id.index, out);
                }
            }
            State::Sent { .. } => {}
        }
    }

    pub fn disown(&mut self, id: ClientId) {
        if let Some(entry) = self.entry(id) {
            entry.owner = None;
        }
    }

    pub fn abandon(&mut self, core: &mut Core, id: ClientId) {
        if self.entry(id).is_some_and(|entry| entry.method != Method::Invite) {
            self.remove(core, id.index);
        }
    }

    pub fn heed_late(&mut self, id: ClientId) {
        if let Some(entry) = self.entry(id) {
            entry.heeds_late = entry.method != Method::Invite;
        }
    }

    pub fn bequeath(&mut self, id: ClientId, remains: Remains) {
        if let Some(entry) = self.entry(id).filter(|e| e.method == Method::Invite) {
            entry.owner = None;
            entry.remains = Some(Box::new(remains));
        }
    }

    // What arrives.

    /// A response. It is returned if it belongs to no transaction.
    pub fn handle_response(
        &mut self,
        core: &mut Core,
        now: Mono,
        flow: Flow,
        message: Message,
        out: &mut impl Sink,
    ) -> Option<Message> {
        let Some(index) = self.find(core, &message) else {
            return Some(message);
        };
        self.slab[index as usize].note_load(core, now, &message);
        let machine = match &mut self.slab[index as usize].state {
            State::Sent { machine, .. } => machine,
            State::Late { .. } => {
                self.on_late(core, index, flow, message, out);
                return None;
            }
            State::Connecting { .. } => return Some(message),
        };
        let class = Class::of(message.status());
        let effects = machine.handle_response(core, now, class);
        self.slab[index as usize].patience = None;
        if effects.contains(&Effect::Deliver) && self.is_turned_away(index, message.status()) {
            if effects.contains(&Effect::Acknowledge) {
                self.slab[index as usize].acknowledge(Some(&(flow, message)), out);
            }
            self.fail_over(core, now, index, out);
            return None;
        }
        if !effects.contains(&Effect::Deliver) {
            core.counters.retransmissions_absorbed += 1;
        }
        self.obey(core, now, index, &effects, Some((flow, message)), out);
        if class == Class::Provisional && effects.contains(&Effect::Deliver) {
            self.send_cancel(core, now, index, out);
        }
        None
    }

    /// An answer after Timer F.
    fn on_late(&mut self, core: &mut Core, index: u32, flow: Flow, message: Message, out: &mut impl Sink) {
        if message.status() < 200 {
            return;
        }
        let client = self.id(index);
        if let Some(owner) = self.remove(core, index).owner {
            out.push(Output::Event(Event::Response {
                client,
                owner,
                flow,
                message,
            }));
        }
    }

    /// `attempt`: the way for which the stream was wanted; that of an earlier one is of no use.
    pub fn handle_connected(
        &mut self,
        core: &mut Core,
        now: Mono,
        (id, attempt): (ClientId, u8),
        flow: Flow,
        out: &mut impl Sink,
    ) {
        let waits = |entry: &&mut Entry| entry.attempt == attempt && matches!(entry.state, State::Connecting { .. });
        if self.entry(id).filter(waits).is_some() {
            self.begin(core, now, id.index, flow, out);
        }
    }

    pub fn handle_connect_failed(
        &mut self,
        core: &mut Core,
        now: Mono,
        (id, attempt): (ClientId, u8),
        out: &mut impl Sink,
    ) {
        let Some(Entry {
            state: State::Connecting { fallback, .. },
            request,
            ..
        }) = self.entry(id).filter(|entry| entry.attempt == attempt)
        else {
            return;
        };
        match *fallback {
            Some(flow) => {
                *request = wire::over_udp(request);
                self.begin(core, now, id.index, flow, out);
            }
            None => self.fail(core, now, id.index, out),
        }
    }

    /// A stream is gone: no answer will come on it. What the other side may not have seen goes over another stream, once,
    /// if we opened this one: then somebody listens at its far end.
    pub fn handle_closed(&mut self, core: &mut Core, now: Mono, gone: Flow, is_ours: bool, out: &mut impl Sink) {
        let Some(indices) = self.streams.remove(&gone.connection) else {
            return;
        };
        for index in indices {
            let Some(entry) = self.slab.get_mut(index as usize) else {
                continue;
            };
            let State::Sent { place, machine, .. } = &mut entry.state else {
                continue;
            };
            *place = None;
            if is_ours && !entry.moved && machine.is_unheard() {
                self.move_over(core, now, index, gone, out);
            } else if machine.is_pending() {
                self.fail(core, now, index, out);
            }
        }
    }

    /// The same request, so the same transaction, to the same place over a stream of its own. The other side had one open
    /// a moment ago: it answers soon or not at all.
    fn move_over(&mut self, core: &mut Core, now: Mono, index: u32, gone: Flow, out: &mut impl Sink) {
        let id = self.id(index);
        let entry = &mut self.slab[index as usize];
        entry.moved = true;
        entry.state = State::Connecting {
            until: now + core.times.t2,
            fallback: None,
        };
        entry.patience = None;
        let (token, name) = (Connecting::client(id, entry.attempt), entry.spares.name.clone());
        self.set_timer(core, index);
        out.push(Output::Connect {
            token,
            transport: gone.transport,
            local: gone.local,
            peer: gone.peer,
            name,
        });
    }

    // Time.

    pub fn poll_timeout(&self) -> Option<Mono> {
        self.completed.front().map(|&(end, _)| end)
    }

    pub fn handle_timeout(&mut self, core: &mut Core, now: Mono, id: ClientId, out: &mut impl Sink) {
        let Some(entry) = self.entry(id) else { return };
        entry.timer = None;
        if entry.patience.take_if(|patience| *patience <= now).is_some() && self.fail_over(core, now, id.index, out) {
            return;
        }
        let Some(entry) = self.entry(id) else { return };
        match &mut entry.state {
            State::Connecting { .. } => self.time_out(core, now, id.index, out),
            State::Late { .. } => {
                self.remove(core, id.index);
            }
            State::Sent { machine, .. } => {
                let effects = machine.handle_timeout(core, now);
                self.obey(core, now, id.index, &effects, None, out);
            }
        }
    }

    /// Forgets completed transactions whose Timer K is over, so many of them.
    pub fn expire(&mut self, core: &mut Core, now: Mono, limit: usize) {
        for _ in 0..limit {
            if self.completed.front().is_none_or(|&(end, _)| end > now) {
                return;
            }
            self.forget_oldest(core);
        }
    }

    fn forget_oldest(&mut self, core: &mut Core) {
        // A CANCEL may have gone already, with its INVITE.
        if let Some((_, id)) = self.completed.pop_front()
            && self.entry(id).is_some()
        {
            self.remove(core, id.index);
        }
    }

    // On the way out.

    fn depart(&mut self, core: &mut Core, now: Mono, id: ClientId, destination: Destination, out: &mut impl Sink) {
        let (transport, local, peer) = match destination {
            Destination::Flow(flow) => return self.begin(core, now, id.index, flow, out),
            Destination::Address { transport, local, peer } => (transport, local, peer),
            Destination::Service { service, local, only } => {
                return self.locate(core, now, id, (&service, Wish { local, only }), out);
            }
            Destination::AnyOf(ways) => return self.begin_with(core, now, id, &ways, out),
        };
        let entry = &mut self.slab[id.index as usize];
        if core.throttle.holds_back(now, peer, &entry.request) {
            core.counters.held_back += 1;
            return self.pass_by(core, now, id.index, out);
        }
        let datagram = Flow {
            transport: Transport::Udp,
            local,
            peer,
            connection: 0,
        };
        let entry = &mut self.slab[id.index as usize];
        if transport == Transport::Udp && entry.request.len() <= LARGEST_DATAGRAM {
            return self.begin(core, now, id.index, datagram, out);
        }
        let mut through = transport;
        if transport == Transport::Udp {
            entry.request = wire::over_tcp(&entry.request);
            if let State::Connecting { fallback, .. } = &mut entry.state {
                *fallback = Some(datagram);
            }
            through = Transport::Tcp;
        }
        let (token, name) = (Connecting::client(id, entry.attempt), entry.spares.name.clone());
        self.set_timer(core, id.index);
        out.push(Output::Connect {
            token,
            transport: through,
            local,
            peer,
            name,
        });
    }

    /// There is a way: the transaction begins.
    fn begin(&mut self, core: &mut Core, now: Mono, index: u32, flow: Flow, out: &mut impl Sink) {
        if core.is_closed(&flow) {
            return self.fail(core, now, index, out);
        }
        let place = self.join_stream(index, &flow);
        let mut effects = Effects::new();
        let reliable = flow.transport.is_reliable();
        let entry = &mut self.slab[index as usize];
        let machine = match entry.method {
            Method::Invite => Machine::Invite(InviteClient::start(now, &core.times, reliable, &mut effects)),
            _ => Machine::Other(Client::start(now, &core.times, reliable, &mut effects)),
        };
        entry.state = State::Sent { flow, machine, place };
        entry.patience = (!entry.spares.ways.is_empty()).then(|| now + core.patience);
        self.obey(core, now, index, &effects, None, out);
    }

    /// Sends the CANCEL that is wanted. It goes where the INVITE went, with its Via (RFC 3261 section 9.1), and so is found
    /// through the INVITE's transaction.
    fn send_cancel(&mut self, core: &mut Core, now: Mono, index: u32, out: &mut impl Sink) {
        let Some(entry) = self.slab.get_mut(index as usize) else {
            return;
        };
        let State::Sent {
            flow,
            machine: Machine::Invite(machine),
            ..
        } = &mut entry.state
        else {
            return;
        };
        let Cancel::Wanted(headers) = &entry.cancel else { return };
        let Ok(invite) = Message::parse(entry.request.clone()) else {
            return;
        };
        machine.handle_cancel(now, &core.times);
        let (flow, request, local) = (*flow, wire::cancel(&invite, headers), entry.local);
        let child = self.insert(Entry {
            generation: 0,
            random: core.random(),
            owner: None,
            method: Method::Cancel,
            local,
            request,
            // A CANCEL has ours alone, whatever its INVITE has (section 9.1).
            vias: 1,
            state: State::Connecting {
                until: now,
                fallback: None,
            },
            cancel: Cancel::No,
            remains: None,
            heeds_late: false,
            asks_load: false,
            moved: false,
            spares: Spares::default(),
            attempt: 0,
            patience: None,
            timer: None,
        });
        *alive(core, Method::Cancel) += 1;
        self.slab[index as usize].cancel = Cancel::Sent(child);
        self.set_timer(core, index);
        self.begin(core, now, child.index, flow, out);
    }

    fn time_out(&mut self, core: &mut Core, now: Mono, index: u32, out: &mut impl Sink) {
        core.counters.timeouts += 1;
        if self.fail_over(core, now, index, out) {
            return;
        }
        let client = self.id(index);
        if let Some(owner) = self.remove(core, index).owner {
            out.push(Output::Event(Event::Timeout { client, owner }));
        }
    }

    /// As `time_out`, but the answer may still come.
    fn linger(&mut self, core: &mut Core, now: Mono, index: u32, out: &mut impl Sink) {
        core.counters.timeouts += 1;
        self.leave_stream(index);
        let client = self.id(index);
        let entry = &mut self.slab[index as usize];
        let until = now + core.times.lifetime();
        entry.state = State::Late { until };
        let owner = entry.owner;
        self.set_timer(core, index);
        if let Some(owner) = owner {
            out.push(Output::Event(Event::Timeout { client, owner }));
        }
    }

    fn fail(&mut self, core: &mut Core, now: Mono, index: u32, out: &mut impl Sink) {
        core.counters.send_failures += 1;
        if !self.fail_over(core, now, index, out) {
            self.give_up(core, index, out);
        }
    }

    /// This way is not gone, and has not failed: it is neither avoided nor counted.
    fn pass_by(&mut self, core: &mut Core, now: Mono, index: u32, out: &mut impl Sink) {
        if !self.turn(core, now, index, out) {
            self.give_up(core, index, out);
        }
    }

    /// No way is left.
    fn give_up(&mut self, core: &mut Core, index: u32, out: &mut impl Sink) {
        let client = self.id(index);
        if let Some(owner) = self.remove(core, index).owner {
            out.push(Output::Event(Event::SendFailed { client, owner }));
        }
    }

    fn obey(
        &mut self,
        core: &mut Core,
        now: Mono,
        index: u32,
        effects: &[Effect],
        mut response: Option<(Flow, Message)>,
        out: &mut impl Sink,
    ) {
        for effect in effects {
            let client = self.id(index);
            let entry = &self.slab[index as usize];
            match effect {
                Effect::Transmit => entry.transmit(out),
                Effect::Retransmit => {
                    core.counters.retransmissions_sent += 1;
                    entry.transmit(out);
                }
                Effect::Acknowledge => entry.acknowledge(response.as_ref(), out),
                Effect::Deliver => match (response.take(), entry.owner) {
                    (Some((flow, message)), Some(owner)) => out.push(Output::Event(Event::Response {
                        client,
                        owner,
                        flow,
                        message,
                    })),
                    (Some((flow, message)), None) => self.on_bequeathed(core, now, index, flow, &message, out),
                    (None, _) => {}
                },
                Effect::TimedOut if self.slab[index as usize].heeds_late => return self.linger(core, now, index, out),
                Effect::TimedOut => return self.time_out(core, now, index, out),
                Effect::Terminated => {
                    self.remove(core, index);
                    return;
                }
                Effect::Trying => {}
            }
        }
        self.set_timer(core, index);
        self.queue_if_completed(core, now, index);
        let entry = &mut self.slab[index as usize];
        if matches!(&entry.state, State::Sent { machine, .. } if machine.is_accepted()) {
            // Neither sent again nor cancelled nor acknowledged in here, and kept for half a minute.
            entry.request = Bytes::new();
        }
    }

    /// A 2xx for a session that is over.
    fn on_bequeathed(
        &mut self,
        core: &mut Core,
        now: Mono,
        index: u32,
        flow: Flow,
        message: &Message,
        out: &mut impl Sink,
    ) {
        let is_success = (200..300).contains(&message.status());
        let remains = self.slab[index as usize].remains.as_mut().filter(|_| is_success);
        let Some(due) = remains.and_then(|remains| remains.on_success(flow, message)) else {
            return;
        };
        core.send_ack(now, due.destination.clone(), &due.ack, out);
        if let Some(bye) = due.bye {
            self.send(core, now, due.destination, Request::Draft(&bye), None, out);
        }
    }

    fn queue_if_completed(&mut self, core: &mut Core, now: Mono, index: u32) {
        let id = self.id(index);
        let entry = &mut self.slab[index as usize];
        // Its bytes are wanted no more, which also shows that it is queued.
        if !entry.state.is_completed() || std::mem::take(&mut entry.request).is_empty() {
            return;
        }
        self.completed.push_back((now + core.times.t4, id));
        if self.completed.len() > MAX_COMPLETED {
            self.forget_oldest(core);
        }
    }

    fn set_timer(&mut self, core: &mut Core, index: u32) {
        let due = Due::Client(self.id(index));
        let entry = &mut self.slab[index as usize];
        let deadline = entry.deadline();
        if deadline == entry.timer.map(|(at, _)| at) {
            return;
        }
        entry.timer.take().and_then(|(_, timer)| core.wheel.cancel(timer));
        entry.timer = deadline.map(|at| (at, core.wheel.insert(at, due)));
    }
}
