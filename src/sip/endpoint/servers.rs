//! The server side: which request is new, what was answered, and who cancels what.

mod entry;
mod kept;

use super::core::{Core, Due};
use super::wire::{self, Way};
use super::{Event, Owner, ServerId};
use crate::draft::{Reply, Tag};
use crate::output::{Output, Sink};
use crate::transaction::invite_server::InviteServer;
use crate::transaction::key::{Key, merge_hash};
use crate::transaction::server::Server;
use crate::transaction::{Effect, Effects};
use crate::{Flow, Message, Method, Splice};
use ahash::RandomState;
use clock::Mono;
use entry::{Entry, Machine};
use hashbrown::{HashMap, HashTable};
pub(super) use kept::MAX_KEPT;
use kept::{Answer, Kept};
use slab::Slab;

/// All server transactions, found by key.
pub(super) struct Servers {
    slab: Slab<Entry>,
    index: HashTable<u32>,
    /// For section 8.2.2.2: which transaction, by its number, has a request with this Call-ID, From-tag and CSeq.
    merged: HashMap<u64, u32, RandomState>,
    /// What is left of completed non-INVITE transactions.
    kept: Kept,
    /// The number of the latest transaction: with its place in the slab its name.
    last_number: u32,
}

impl Servers {
    pub fn new(core: &Core) -> Servers {
        Servers {
            slab: Slab::new(),
            index: HashTable::new(),
            merged: HashMap::with_hasher(core.hasher.clone()),
            kept: Kept::default(),
            last_number: 0,
        }
    }

    // What arrives.

    /// True if a request other than ACK and CANCEL has come before, and so has been dealt with.
    pub fn absorb(&mut self, core: &mut Core, now: Mono, key: &Key, out: &mut impl Sink) -> bool {
        if let Some(answer) = self.kept.find(key) {
            core.counters.retransmissions_absorbed += 1;
            core.counters.retransmissions_sent += 1;
            let (flow, bytes) = (answer.flow, answer.bytes.clone());
            out.push(Output::Transmit { flow, bytes });
            return true;
        }
        let Some(index) = self.find(key) else { return false };
        core.counters.retransmissions_absorbed += 1;
        let mut effects = Effects::new();
        match &mut self.slab[index as usize].machine {
            Machine::Invite(machine) => machine.handle_retransmission(&mut effects),
            Machine::Other(machine) => machine.handle_retransmission(&mut effects),
        }
        self.obey(core, now, index, &effects, out);
        true
    }

    /// True if a new request is a copy, by another way, of one that is being dealt with.
    pub fn is_merged(&self, core: &Core, request: &Message) -> bool {
        !self.merged.is_empty() && merge_hash(request, &core.hasher).is_some_and(|hash| self.merged.contains_key(&hash))
    }

    /// True if an ACK is the TU's: for a 2xx, or for nothing we know.
    pub fn handle_ack(&mut self, core: &mut Core, now: Mono, key: &Key, out: &mut impl Sink) -> bool {
        let Some(index) = self.find(key) else { return true };
        let mut effects = Effects::new();
        let entry = &mut self.slab[index as usize];
        if let Machine::Invite(machine) = &mut entry.machine {
            machine.handle_ack(now, &core.times, &mut effects);
            if machine.is_confirmed() {
                entry.response = None;
            }
        }
        self.obey(core, now, index, &effects, out);
        effects.contains(&Effect::Deliver)
    }

    /// Answers a CANCEL (RFC 3261 section 9.2). Only who sent the INVITE may cancel it: the source address is the same.
    pub fn handle_cancel(&mut self, core: &mut Core, now: Mono, flow: Flow, cancel: Message, out: &mut impl Sink) {
        let via = cancel.via();
        let way = Way::back(flow, via.as_ref());
        let key = Key::cancelled_by(&cancel, via.as_ref(), &core.secrets);
        let invite = self
            .find(&key)
            .filter(|&i| self.slab[i as usize].source.peer.ip() == flow.peer.ip());
        let Some(index) = invite else {
            let tag = Tag(key.tag(&core.tag_hasher));
            let bytes = wire::response(&mut core.pages, &cancel, &Reply::new(481), Some(tag), flow.peer);
            core.send_response(now, way, bytes, out);
            return;
        };
        let entry = &mut self.slab[index as usize];
        let bytes = wire::response(&mut core.pages, &cancel, &Reply::new(200), Some(entry.tag), flow.peer);
        core.send_response(now, way, bytes, out);
        if entry.cancelled {
            core.counters.retransmissions_absorbed += 1;
        } else if entry.machine.is_pending() {
            entry.cancelled = true;
            let server = ServerId {
                index,
                generation: entry.generation,
            };
            out.push(Output::Event(Event::Cancel {
                server,
                owner: entry.owner,
                message: cancel,
            }));
        }
    }

    // What the TU does.

    pub fn accept(
        &mut self,
        core: &mut Core,
        now: Mono,
        flow: Flow,
        request: Message,
        owner: Owner,
        out: &mut impl Sink,
    ) -> ServerId {
        let (id, effects) = self.insert(core, now, flow, &request, owner);
        let entry = &mut self.slab[id.index as usize];
        if entry.machine.is_pending() {
            entry.request = Some(Box::new(request));
        }
        self.obey(core, now, id.index, &effects, out);
        id
    }

    pub fn answer(
        &mut self,
        core: &mut Core,
        now: Mono,
        flow: Flow,
        request: &Message,
        reply: &Reply,
        out: &mut impl Sink,
    ) {
        let (key, way) = identify(core, flow, request);
        if request.method() == Method::Invite || self.find(&key).is_some() {
            let (id, _) = self.insert(core, now, flow, request, Owner(0));
            self.respond_to(core, now, id, request, reply, out);
            return;
        }
        if self.kept.find(&key).is_some() {
            return;
        }
        let mut machine = Machine::Other(Server::start(now, &core.times, flow.transport.is_reliable()));
        let mut effects = Effects::new();
        machine.respond(now, core, reply.status, &mut effects);
        if !effects.contains(&Effect::Transmit) {
            return;
        }
        let tag = reply.to_tag.unwrap_or(Tag(key.tag(&core.tag_hasher)));
        let bytes = wire::response(&mut core.pages, request, reply, Some(tag), flow.peer);
        core.send_response(now, way, bytes.clone(), out);
        if let Some(end) = machine.completed_until() {
            let (number, merge) = (self.next_number(), merge_hash(request, &core.hasher));
            merge.map(|hash| self.merged.entry(hash).or_insert(number));
            core.counters.servers_alive += 1;
            let flow = way.flow;
            self.keep(
                core,
                Answer {
                    key,
                    merge,
                    number,
                    end,
                    flow,
                    bytes,
                },
            );
        }
    }

    pub fn respond(&mut self, core: &mut Core, now: Mono, id: ServerId, reply: &Reply, out: &mut impl Sink) -> bool {
        let Some(request) = self.entry(id).and_then(|entry| entry.request.take()) else {
            return false;
        };
        let done = self.respond_to(core, now, id, &request, reply, out);
        // Wanted again for the next response, until the final one.
        if let Some(entry) = self.entry(id).filter(|entry| entry.machine.is_pending()) {
            entry.request = Some(request);
        }
        done
    }

    fn respond_to(
        &mut self,
        core: &mut Core,
        now: Mono,
        id: ServerId,
        request: &Message,
        reply: &Reply,
        out: &mut impl Sink,
    ) -> bool {
        let Some(entry) = self.entry(id) else { return false };
        let mut effects = Effects::new();
        if !entry.machine.respond(now, core, reply.status, &mut effects) {
            return false;
        }
        entry.tag = reply.to_tag.unwrap_or(entry.tag);
        if effects.contains(&Effect::Transmit) {
            let source = entry.source.peer;
            entry.response = Some(wire::response(&mut core.pages, request, reply, Some(entry.tag), source));
        }
        self.obey(core, now, id.index, &effects, out);
        self.keep_if_completed(core, id);
        true
    }

    pub fn pass(
        &mut self,
        core: &mut Core,
        now: Mono,
        id: ServerId,
        response: &Splice<'_>,
        out: &mut impl Sink,
    ) -> bool {
        let Some(entry) = self.entry(id) else { return false };
        let mut effects = Effects::new();
        if !entry.machine.respond(now, core, response.final_status(), &mut effects) {
            return false;
        }
        if effects.contains(&Effect::Transmit) {
            entry.response = Some(wire::passed(&mut core.pages, response));
        }
        if !entry.machine.is_pending() {
            entry.request = None;
        }
        self.obey(core, now, id.index, &effects, out);
        if let Some(entry) = self.entry(id).filter(|entry| entry.machine.is_accepted()) {
            entry.response = None;
        }
        self.keep_if_completed(core, id);
        true
    }

    pub fn repeat(&mut self, core: &mut Core, now: Mono, id: ServerId, out: &mut impl Sink) {
        let accepted = self
            .entry(id)
            .is_some_and(|e| matches!(&e.machine, Machine::Invite(m) if m.is_accepted()));
        if accepted {
            self.obey(core, now, id.index, &[Effect::Retransmit], out);
        }
    }

    pub fn settle(&mut self, id: ServerId) {
        if let Some(entry) = self.entry(id).filter(|entry| entry.machine.is_accepted()) {
            entry.response = None;
        }
    }

    pub fn request(&self, id: ServerId) -> Option<&Message> {
        let entry = self
            .slab
            .get(id.index as usize)
            .filter(|e| e.generation == id.generation)?;
        entry.request.as_deref()
    }

    // Time.

    /// The end of the oldest answer kept.
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.kept.first_end()
    }

    pub fn handle_timeout(&mut self, core: &mut Core, now: Mono, id: ServerId, out: &mut impl Sink) {
        let Some(entry) = self.entry(id) else { return };
        entry.timer = None;
        let mut effects = Effects::new();
        match &mut entry.machine {
            Machine::Invite(machine) => machine.handle_timeout(now, &core.times, &mut effects),
            Machine::Other(machine) => machine.handle_timeout(now, &mut effects),
        }
        self.obey(core, now, id.index, &effects, out);
    }

    /// Forgets answers whose Timer J is over, so many of them.
    pub fn expire(&mut self, core: &mut Core, now: Mono, limit: usize) {
        for _ in 0..limit {
            if self.kept.first_end().is_none_or(|end| end > now) {
                return;
            }
            self.forget_oldest(core);
        }
    }

    /// Of a completed transaction nothing is kept but its answer.
    fn keep_if_completed(&mut self, core: &mut Core, id: ServerId) {
        let Some(end) = self.entry(id).and_then(|entry| entry.machine.completed_until()) else {
            return;
        };
        let entry = self.take(core, id.index);
        if let Some(bytes) = entry.response {
            self.keep(
                core,
                Answer {
                    key: entry.key,
                    merge: entry.merge,
                    number: entry.generation,
                    end,
                    flow: entry.way.flow,
                    bytes,
                },
            );
        }
    }

    /// All live equally long, so this is in the order of their ends and none of them needs a place in the wheel.
    fn keep(&mut self, core: &mut Core, answer: Answer) {
        // Before, so that the line never grows beyond this.
        if self.kept.len() >= MAX_KEPT {
            core.counters.evicted += 1;
            self.forget_oldest(core);
        }
        self.kept.push(answer);
    }

    fn forget_oldest(&mut self, core: &mut Core) {
        if let Some(answer) = self.kept.pop() {
            core.counters.servers_alive -= 1;
            self.forget_merge(answer.merge, answer.number);
        }
    }

    fn forget_merge(&mut self, merge: Option<u64>, number: u32) {
        if let Some(hash) = merge.filter(|hash| self.merged.get(hash) == Some(&number)) {
            self.merged.remove(&hash);
        }
    }

    fn next_number(&mut self) -> u32 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }

    // What is stored.

    fn find(&self, key: &Key) -> Option<u32> {
        self.index
            .find(key.hash(), |&i| self.slab[i as usize].key == *key)
            .copied()
    }

    fn entry(&mut self, id: ServerId) -> Option<&mut Entry> {
        self.slab
            .get_mut(id.index as usize)
            .filter(|e| e.generation == id.generation)
    }

    /// A new transaction; or, should the TU accept one request twice, the one there is.
    fn insert(
        &mut self,
        core: &mut Core,
        now: Mono,
        flow: Flow,
        request: &Message,
        owner: Owner,
    ) -> (ServerId, Effects) {
        let (key, way) = identify(core, flow, request);
        if let Some(index) = self.find(&key) {
            return (
                ServerId {
                    index,
                    generation: self.slab[index as usize].generation,
                },
                Effects::new(),
            );
        }
        let mut effects = Effects::new();
        let reliable = flow.transport.is_reliable();
        let machine = match request.method() {
            Method::Invite => Machine::Invite(InviteServer::start(reliable, &mut effects)),
            _ => Machine::Other(Server::start(now, &core.times, reliable)),
        };
        let (generation, hash, merge) = (self.next_number(), key.hash(), merge_hash(request, &core.hasher));
        *alive(core, &machine) += 1;
        let entry = Entry {
            generation,
            key,
            merge,
            owner,
            source: flow,
            way,
            machine,
            request: None,
            tag: Tag(core.random()),
            response: None,
            cancelled: false,
            timer: None,
        };
        let index = self.slab.insert(entry) as u32;
        merge.map(|hash| self.merged.entry(hash).or_insert(generation));
        self.index
            .insert_unique(hash, index, |&i| self.slab[i as usize].key.hash());
        (ServerId { index, generation }, effects)
    }

    fn remove(&mut self, core: &mut Core, index: u32) {
        let entry = self.take(core, index);
        *alive(core, &entry.machine) -= 1;
        self.forget_merge(entry.merge, entry.generation);
    }

    /// Out of slab, index and wheel.
    fn take(&mut self, core: &mut Core, index: u32) -> Entry {
        let mut entry = self.slab.remove(index as usize);
        entry.timer.take().and_then(|(_, timer)| core.wheel.cancel(timer));
        if let Ok(found) = self.index.find_entry(entry.key.hash(), |&i| i == index) {
            found.remove();
        }
        entry
    }

    fn obey(&mut self, core: &mut Core, now: Mono, index: u32, effects: &[Effect], out: &mut impl Sink) {
        for effect in effects {
            let entry = &mut self.slab[index as usize];
            match effect {
                Effect::Trying => {
                    let (pages, source) = (&mut core.pages, entry.source.peer);
                    let trying = |request| wire::response(pages, request, &Reply::new(100), None, source);
                    entry.response = entry.request.as_deref().map(trying);
                    entry.transmit(core, now, out);
                }
                Effect::Transmit => entry.transmit(core, now, out),
                Effect::Retransmit => {
                    core.counters.retransmissions_sent += 1;
                    entry.transmit(core, now, out);
                }
                Effect::TimedOut => match entry.machine {
                    Machine::Invite(_) => core.counters.unacknowledged += 1,
                    Machine::Other(_) => core.counters.unanswered += 1,
                },
                Effect::Terminated => return self.remove(core, index),
                Effect::Deliver | Effect::Acknowledge => {}
            }
        }
        self.set_timer(core, index);
    }

    fn set_timer(&mut self, core: &mut Core, index: u32) {
        let entry = &mut self.slab[index as usize];
        let deadline = entry.machine.wheel_deadline();
        if deadline == entry.timer.map(|(at, _)| at) {
            return;
        }
        entry.timer.take().and_then(|(_, timer)| core.wheel.cancel(timer));
        let due = Due::Server(ServerId {
            index,
            generation: entry.generation,
        });
        entry.timer = deadline.map(|at| (at, core.wheel.insert(at, due)));
    }

    pub fn audit(&self, core: &Core) -> Result<(), String> {
        for (index, entry) in &self.slab {
            if self.find(&entry.key) != Some(index as u32) {
                return Err(format!("server transaction {index} is not found by its key"));
            }
            if entry.machine.wheel_deadline() != entry.timer.map(|(at, _)| at) {
                return Err(format!("server transaction {index} has the wrong deadline"));
            }
        }
        let alive = core.counters.invite_servers_alive + core.counters.servers_alive;
        if self.index.len() != self.slab.len() || alive != (self.slab.len() + self.kept.len()) as u64 {
            return Err(format!(
                "{} server transactions, {} in the index, {alive} counted, {} answers kept",
                self.slab.len(),
                self.index.len(),
                self.kept.len()
            ));
        }
        self.kept.audit()
    }
}

fn identify(core: &Core, flow: Flow, request: &Message) -> (Key, Way) {
    let via = request.via();
    (
        Key::of(request, via.as_ref(), &core.secrets),
        Way::back(flow, via.as_ref()),
    )
}

fn alive<'a>(core: &'a mut Core, machine: &Machine) -> &'a mut u64 {
    match machine {
        Machine::Invite(_) => &mut core.counters.invite_servers_alive,
        Machine::Other(_) => &mut core.counters.servers_alive,
    }
}
