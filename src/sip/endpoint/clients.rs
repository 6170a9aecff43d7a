//! The client side: requests of ours, found again by the branch we gave them.

use super::core::{Core, Due};
use super::wire::{self, Branch, LARGEST_DATAGRAM};
use super::{ClientId, Connecting, Destination, Event, Owner};
use crate::draft::{Draft, Headers};
use crate::output::{Output, Sink};
use crate::timers::TimerId;
use crate::transaction::client::Client;
use crate::transaction::invite_client::InviteClient;
use crate::transaction::{Class, Effect, Effects};
use crate::{Flow, Message, Method, Name, Transport};
use ahash::RandomState;
use bytes::Bytes;
use clock::Mono;
use hashbrown::HashMap;
use slab::Slab;
use std::collections::VecDeque;
use std::net::SocketAddr;

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

struct Entry {
    generation: u32,
    /// With the index, our branch.
    random: u64,
    /// None: nobody wants to know.
    owner: Option<Owner>,
    method: Method,
    /// The listener whose sent-by is in our Via.
    local: SocketAddr,
    request: Bytes,
    /// Vias of a forwarded request, ours among them: as many a response must have.
    vias: usize,
    state: State,
    cancel: Cancel,
    timer: Option<(Mono, TimerId)>,
}

enum State {
    /// Waits for a stream; `fallback` is where to go without one.
    Connecting { until: Mono, fallback: Option<Flow> },
    /// On its way. `place`: in the list of its stream.
    Sent {
        flow: Flow,
        machine: Machine,
        place: Option<u32>,
    },
}

enum Machine {
    Invite(InviteClient),
    Other(Client),
}

enum Cancel {
    No,
    /// As soon as a provisional response has come, with these headers.
    Wanted(Headers),
    /// By this transaction.
    Sent(ClientId),
}

/// A request that needs only our Via.
#[derive(Copy, Clone)]
pub(super) enum Request<'a> {
    /// Of our own.
    Draft(&'a Draft),
    /// Of someone else, changed as a proxy must; see [`super::Endpoint::forward`].
    Forwarded(&'a Message),
}

impl Request<'_> {
    fn method(&self) -> Method {
        match self {
            Request::Draft(draft) => draft.method,
            Request::Forwarded(message) => message.method(),
        }
    }

    fn vias(&self) -> usize {
        match self {
            Request::Draft(_) => 1,
            Request::Forwarded(message) => message.values(Name::Via).count() + 1,
        }
    }

    pub fn print(&self, core: &Core, transport: Transport, local: SocketAddr, branch: Branch) -> Bytes {
        match self {
            Request::Draft(draft) => wire::request(draft, transport, core.sent_by(local), branch),
            Request::Forwarded(message) => wire::forwarded(message.bytes(), transport, core.sent_by(local), branch),
        }
    }
}

impl Machine {
    fn is_pending(&self) -> bool {
        match self {
            Machine::Invite(machine) => machine.is_pending(),
            Machine::Other(machine) => machine.is_pending(),
        }
    }

    fn handle_response(&mut self, core: &Core, now: Mono, class: Class) -> Effects {
        let mut effects = Effects::new();
        match self {
            Machine::Invite(machine) => machine.handle_response(now, &core.times, class, &mut effects),
            Machine::Other(machine) => machine.handle_response(now, &core.times, class, &mut effects),
        }
        effects
    }

    fn handle_timeout(&mut self, core: &Core, now: Mono) -> Effects {
        let mut effects = Effects::new();
        match self {
            Machine::Invite(machine) => machine.handle_timeout(now, &core.times, &mut effects),
            Machine::Other(machine) => machine.handle_timeout(now, &core.times, &mut effects),
        }
        effects
    }
}

impl State {
    /// What the wheel has to know: completed non-INVITE transactions stand in [`Clients::completed`].
    fn wheel_deadline(&self) -> Option<Mono> {
        match self {
            State::Connecting { until, .. } => Some(*until),
            State::Sent {
                machine: Machine::Invite(machine),
                ..
            } => machine.poll_timeout(),
            State::Sent {
                machine: Machine::Other(machine),
                ..
            } => machine.poll_timeout().filter(|_| machine.is_pending()),
        }
    }

    fn is_completed(&self) -> bool {
        matches!(self, State::Sent { machine: Machine::Other(machine), .. } if !machine.is_pending())
    }
}

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
        request: Request<'_>,
        owner: Owner,
        out: &mut impl Sink,
    ) -> ClientId {
        let (transport, local) = destination.listener();
        let branch = Branch {
            index: self.slab.vacant_key() as u32,
            random: core.random(),
        };
        let id = self.insert(Entry {
            generation: 0,
            random: branch.random,
            owner: Some(owner),
            method: request.method(),
            local,
            request: request.print(core, transport, local, branch),
            vias: request.vias(),
            state: State::Connecting {
                until: now + core.times.lifetime(),
                fallback: None,
            },
            cancel: Cancel::No,
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
            State::Connecting { .. } => self.time_out(core, id.index, out),
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
        let State::Sent { machine, .. } = &mut self.slab[index as usize].state else {
            return Some(message);
        };
        let class = Class::of(message.status());
        let effects = machine.handle_response(core, now, class);
        if !effects.contains(&Effect::Deliver) {
            core.counters.retransmissions_absorbed += 1;
        }
        self.obey(core, now, index, &effects, Some((flow, message)), out);
        if class == Class::Provisional && effects.contains(&Effect::Deliver) {
            self.send_cancel(core, now, index, out);
        }
        None
    }

    pub fn handle_connected(&mut self, core: &mut Core, now: Mono, id: ClientId, flow: Flow, out: &mut impl Sink) {
        if matches!(
            self.entry(id),
            Some(Entry {
                state: State::Connecting { .. },
                ..
            })
        ) {
            self.begin(core, now, id.index, flow, out);
        }
    }

    pub fn handle_connect_failed(&mut self, core: &mut Core, now: Mono, id: ClientId, out: &mut impl Sink) {
        let Some(Entry {
            state: State::Connecting { fallback, .. },
            request,
            ..
        }) = self.entry(id)
        else {
            return;
        };
        match *fallback {
            Some(flow) => {
                *request = wire::over_udp(request);
                self.begin(core, now, id.index, flow, out);
            }
            None => self.fail(core, id.index, out),
        }
    }

    /// A stream is gone: no answer will come on it.
    pub fn handle_closed(&mut self, core: &mut Core, connection: u64, out: &mut impl Sink) {
        let Some(indices) = self.streams.remove(&connection) else {
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
            if machine.is_pending() {
                self.fail(core, index, out);
            }
        }
    }

    // Time.

    pub fn poll_timeout(&self) -> Option<Mono> {
        self.completed.front().map(|&(end, _)| end)
    }

    pub fn handle_timeout(&mut self, core: &mut Core, now: Mono, id: ClientId, out: &mut impl Sink) {
        let Some(entry) = self.entry(id) else { return };
        entry.timer = None;
        match &mut entry.state {
            State::Connecting { .. } => self.time_out(core, id.index, out),
            State::Sent { machine, .. } => {
                let effects = machine.handle_timeout(core, now);
                self.obey(core, now, id.index, &effects, None, out);
            }
        }
    }

    /// Forgets completed transactions whose Timer K is over.
    pub fn expire(&mut self, core: &mut Core, now: Mono) {
        while self.completed.front().is_some_and(|&(end, _)| end <= now) {
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
        };
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
        self.set_timer(core, id.index);
        out.push(Output::Connect {
            token: Connecting::client(id),
            transport: through,
            local,
            peer,
        });
    }

    /// There is a way: the transaction begins.
    fn begin(&mut self, core: &mut Core, now: Mono, index: u32, flow: Flow, out: &mut impl Sink) {
        if core.is_closed(&flow) {
            return self.fail(core, index, out);
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
        let (flow, request, local, vias) = (*flow, wire::cancel(&invite, headers), entry.local, entry.vias);
        let child = self.insert(Entry {
            generation: 0,
            random: core.random(),
            owner: None,
            method: Method::Cancel,
            local,
            request,
            vias,
            state: State::Connecting {
                until: now,
                fallback: None,
            },
            cancel: Cancel::No,
            timer: None,
        });
        *alive(core, Method::Cancel) += 1;
        self.slab[index as usize].cancel = Cancel::Sent(child);
        self.set_timer(core, index);
        self.begin(core, now, child.index, flow, out);
    }

    // What is stored.

    /// The transaction of a response: our branch, our sent-by, the method of its CSeq, and as many Vias as we sent
    /// (RFC 3261 sections 17.1.3 and 18.1.2; more or fewer mean that it was not for us, RFC 4475 section 3.3.9).
    fn find(&self, core: &Core, response: &Message) -> Option<u32> {
        let via = response.via()?;
        let branch = Branch::parse(via.branch()?)?;
        let entry = self
            .slab
            .get(branch.index as usize)
            .filter(|e| e.random == branch.random)?;
        if !core.sent_by(entry.local).is_in(&via) || response.values(Name::Via).count() != entry.vias {
            return None;
        }
        match (&entry.cancel, response.method()) {
            (Cancel::Sent(id), Method::Cancel) => self.is_alive(*id).then_some(id.index),
            (_, method) => (method == entry.method && method != Method::Cancel).then_some(branch.index),
        }
    }

    fn entry(&mut self, id: ClientId) -> Option<&mut Entry> {
        self.slab
            .get_mut(id.index as usize)
            .filter(|e| e.generation == id.generation)
    }

    fn is_alive(&self, id: ClientId) -> bool {
        self.slab
            .get(id.index as usize)
            .is_some_and(|e| e.generation == id.generation)
    }

    fn insert(&mut self, mut entry: Entry) -> ClientId {
        self.next_generation = (self.next_generation + 1) & ClientId::GENERATIONS;
        entry.generation = self.next_generation;
        ClientId {
            index: self.slab.insert(entry) as u32,
            generation: self.next_generation,
        }
    }

    fn remove(&mut self, core: &mut Core, index: u32) -> Entry {
        self.leave_stream(index);
        let entry = self.slab.remove(index as usize);
        *alive(core, entry.method) -= 1;
        entry.timer.and_then(|(_, timer)| core.wheel.cancel(timer));
        // Without its INVITE a CANCEL means nothing, and its response would not be found.
        if let Cancel::Sent(child) = entry.cancel
            && self.is_alive(child)
        {
            self.remove(core, child.index);
        }
        entry
    }

    fn time_out(&mut self, core: &mut Core, index: u32, out: &mut impl Sink) {
        core.counters.timeouts += 1;
        let client = self.id(index);
        if let Some(owner) = self.remove(core, index).owner {
            out.push(Output::Event(Event::Timeout { client, owner }));
        }
    }

    fn fail(&mut self, core: &mut Core, index: u32, out: &mut impl Sink) {
        core.counters.send_failures += 1;
        let client = self.id(index);
        if let Some(owner) = self.remove(core, index).owner {
            out.push(Output::Event(Event::SendFailed { client, owner }));
        }
    }

    fn id(&self, index: u32) -> ClientId {
        ClientId {
            index,
            generation: self.slab[index as usize].generation,
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
                Effect::Deliver => {
                    if let (Some((flow, message)), Some(owner)) = (response.take(), entry.owner) {
                        out.push(Output::Event(Event::Response {
                            client,
                            owner,
                            flow,
                            message,
                        }));
                    }
                }
                Effect::TimedOut => return self.time_out(core, index, out),
                Effect::Terminated => {
                    self.remove(core, index);
                    return;
                }
                Effect::Trying => {}
            }
        }
        self.set_timer(core, index);
        self.queue_if_completed(core, now, index);
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
        let deadline = entry.state.wheel_deadline();
        if deadline == entry.timer.map(|(at, _)| at) {
            return;
        }
        entry.timer.take().and_then(|(_, timer)| core.wheel.cancel(timer));
        entry.timer = deadline.map(|at| (at, core.wheel.insert(at, due)));
    }

    fn join_stream(&mut self, index: u32, flow: &Flow) -> Option<u32> {
        if !flow.transport.is_reliable() {
            return None;
        }
        let users = self.streams.entry(flow.connection).or_default();
        users.push(index);
        Some(users.len() as u32 - 1)
    }

    fn leave_stream(&mut self, index: u32) {
        let State::Sent {
            flow,
            place: Some(place),
            ..
        } = self.slab[index as usize].state
        else {
            return;
        };
        let Some(users) = self.streams.get_mut(&flow.connection) else {
            return;
        };
        users.swap_remove(place as usize);
        let moved = users.get(place as usize).copied();
        if users.is_empty() {
            self.streams.remove(&flow.connection);
        }
        if let Some(State::Sent { place: theirs, .. }) = moved.map(|i| &mut self.slab[i as usize].state) {
            *theirs = Some(place);
        }
    }

    pub fn audit(&self, core: &Core) -> Result<(), String> {
        let (mut queued, mut joined) = (0, 0);
        for (index, entry) in &self.slab {
            if entry.state.wheel_deadline() != entry.timer.map(|(at, _)| at) {
                return Err(format!("client transaction {index} has the wrong deadline"));
            }
            queued += usize::from(entry.state.is_completed());
            if let State::Sent {
                flow,
                place: Some(place),
                ..
            } = &entry.state
            {
                let users = self.streams.get(&flow.connection);
                if users.and_then(|u| u.get(*place as usize)) != Some(&(index as u32)) {
                    return Err(format!("client transaction {index} is not in the list of its stream"));
                }
                joined += 1;
            }
        }
        let alive = core.counters.invite_clients_alive + core.counters.clients_alive;
        let listed: usize = self.streams.values().map(Vec::len).sum();
        if alive != self.slab.len() as u64 || listed != joined || queued > self.completed.len() {
            return Err(format!(
                "{} client transactions, {alive} counted; {joined} on streams, {listed} listed; {queued} completed, {} queued",
                self.slab.len(),
                self.completed.len()
            ));
        }
        Ok(())
    }
}

impl Entry {
    fn transmit(&self, out: &mut impl Sink) {
        if let State::Sent { flow, .. } = self.state {
            out.push(Output::Transmit {
                flow,
                bytes: self.request.clone(),
            });
        }
    }

    /// ACK to a refusal, where the INVITE went (RFC 3261 section 17.1.1.3).
    fn acknowledge(&self, refusal: Option<&(Flow, Message)>, out: &mut impl Sink) {
        let (State::Sent { flow, .. }, Some((_, refusal))) = (&self.state, refusal) else {
            return;
        };
        if let Ok(invite) = Message::parse(self.request.clone()) {
            out.push(Output::Transmit {
                flow: *flow,
                bytes: wire::ack(&invite, refusal),
            });
        }
    }
}

fn alive(core: &mut Core, method: Method) -> &mut u64 {
    match method {
        Method::Invite => &mut core.counters.invite_clients_alive,
        _ => &mut core.counters.clients_alive,
    }
}
