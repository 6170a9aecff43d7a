//! Where client transactions stand: by place in a slab, and by stream.

use super::Clients;
use super::entry::{Cancel, Entry, State};
use crate::endpoint::ClientId;
use crate::endpoint::core::Core;
use crate::endpoint::wire::Branch;
use crate::{Flow, Message, Method, Name};

impl Clients {
    /// The transaction of a response: our branch, our sent-by, the method of its CSeq, and as many Vias as we sent
    /// (RFC 3261 sections 17.1.3 and 18.1.2; more or fewer mean that it was not for us, RFC 4475 section 3.3.10).
    pub(super) fn find(&self, core: &Core, response: &Message) -> Option<u32> {
        let via = response.via()?;
        let branch = Branch::parse(via.branch()?)?;
        let sent = self
            .slab
            .get(branch.index as usize)
            .filter(|e| e.random == branch.random)?;
        let (index, entry) = match (&sent.cancel, response.method()) {
            (Cancel::Sent(id), Method::Cancel) if self.is_alive(*id) => (id.index, &self.slab[id.index as usize]),
            (_, method) if method == sent.method && method != Method::Cancel => (branch.index, sent),
            _ => return None,
        };
        let ours = core.sent_by(entry.local).is_in(&via) && response.values(Name::Via).count() == entry.vias;
        ours.then_some(index)
    }

    pub(super) fn entry(&mut self, id: ClientId) -> Option<&mut Entry> {
        self.slab
            .get_mut(id.index as usize)
            .filter(|e| e.generation == id.generation)
    }

    pub(super) fn is_alive(&self, id: ClientId) -> bool {
        self.slab
            .get(id.index as usize)
            .is_some_and(|e| e.generation == id.generation)
    }

    pub(super) fn insert(&mut self, mut entry: Entry) -> ClientId {
        self.next_generation = (self.next_generation + 1) & ClientId::GENERATIONS;
        entry.generation = self.next_generation;
        ClientId {
            index: self.slab.insert(entry) as u32,
            generation: self.next_generation,
        }
    }

    pub(super) fn remove(&mut self, core: &mut Core, index: u32) -> Entry {
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

    pub(super) fn id(&self, index: u32) -> ClientId {
        ClientId {
            index,
            generation: self.slab[index as usize].generation,
        }
    }

    pub(super) fn join_stream(&mut self, index: u32, flow: &Flow) -> Option<u32> {
        if !flow.transport.is_reliable() {
            return None;
        }
        let users = self.streams.entry(flow.connection).or_default();
        users.push(index);
        Some(users.len() as u32 - 1)
    }

    pub(super) fn leave_stream(&mut self, index: u32) {
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
            if entry.deadline() != entry.timer.map(|(at, _)| at) {
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

pub(super) fn alive(core: &mut Core, method: Method) -> &mut u64 {
    match method {
        Method::Invite => &mut core.counters.invite_clients_alive,
        _ => &mut core.counters.clients_alive,
    }
}
