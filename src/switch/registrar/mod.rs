//! Who is bound where (RFC 3261 section 10). The bindings in memory count; the store is written behind.

mod alive;
#[cfg(test)]
mod expiry_tests;
#[cfg(test)]
mod flow_tests;
pub(crate) mod gruu;
mod outbound;
mod qualify;
mod register;
mod save;
pub(crate) mod temporary;
#[cfg(test)]
mod tests;
mod unbound;
mod view;

use crate::config::Config;
use crate::core::Core;
use crate::room::Room;
use crate::subscribe::Watched;
use ahash::RandomState;
use clock::{Mono, Now};
use hashbrown::{HashMap, HashTable};
use model::{Aor, Binding, Event};
pub(crate) use outbound::by_device;
use qualify::Round;
use register::Refusal;
use save::Backlog;
use sip::endpoint::{Alarm, Destination};
use sip::header::{List, NameAddr};
use sip::{Flow, Transport, Uri};
use slab::Slab;
use smallvec::SmallVec;

/// The default ports of RFC 3261 section 19.1.2.
const SIP_PORT: u16 = 5060;
const SIPS_PORT: u16 = 5061;

/// All bindings of the switch.
#[derive(Debug)]
pub(crate) struct Registrar {
    records: Slab<Record>,
    /// Places in it that have been in use: there is nothing behind them.
    places: usize,
    by_aor: HashTable<u32>,
    /// Records reached through a stream, by its connection number.
    by_connection: HashMap<u64, SmallVec<[u32; 1]>, RandomState>,
    /// Records of devices that have to be heard on a flow over datagrams, see [`alive`].
    watched: HashMap<Flow, SmallVec<[u32; 1]>, RandomState>,
    hasher: RandomState,
    /// Bindings in all.
    count: usize,
    backlog: Backlog,
    round: Round,
    date: register::Date,
    /// Until all that was stored is taken in.
    unbound: Option<unbound::Unbound>,
}

/// Bindings for which there is room from the start. To move a large table into a larger one takes as long as a hundred thousand
/// requests; memory that nothing was written to costs nothing.
pub(crate) fn room(config: &Config) -> usize {
    config.limits.max_bindings.min(1 << 20)
}

/// The bindings of one user; there is at least one.
#[derive(Debug)]
struct Record {
    aor: Aor,
    /// Oldest first.
    bindings: SmallVec<[Bound; 1]>,
    /// Set for the earliest deadline or before: a refresh leaves it as it is.
    alarm: (Mono, Alarm),
    /// Waits to be written.
    is_dirty: bool,
}

/// A binding in force.
#[derive(Debug)]
pub(crate) struct Bound {
    /// What is stored of it.
    pub(crate) binding: Binding,
    /// When its device was last heard: of several flows the youngest is used.
    pub(crate) refreshed: Mono,
    /// When it ends. Not `binding.expires_at`: a jump of the wall clock ends nothing early.
    pub(crate) deadline: Mono,
    /// When it ends if its device is not heard until then, see [`alive`].
    silent_at: Mono,
    /// While the way its REGISTER came is there: with `binding.endpoint` the flow, see [`Bound::flow`].
    connection: Option<u64>,
    /// The stored copy is older than this one.
    is_dirty: bool,
    /// It did not answer when it was asked whether it is there, and has not been heard since.
    is_silent: bool,
}

impl Registrar {
    /// An empty registrar.
    #[must_use]
    pub(crate) fn new(core: &Core) -> Registrar {
        let room = room(&core.config);
        Registrar {
            records: Slab::with_capacity(room),
            places: 0,
            // One place for each user: places of a table with more room than that are too far apart for the caches.
            by_aor: HashTable::with_capacity(room.min(core.users.iter().len())),
            by_connection: HashMap::with_hasher(core.hasher.clone()),
            watched: HashMap::with_hasher(core.hasher.clone()),
            hasher: core.hasher.clone(),
            count: 0,
            backlog: Backlog::default(),
            round: Round::default(),
            date: register::Date::default(),
            unbound: Some(unbound::Unbound::new(&core.hasher)),
        }
    }

    /// The bindings of a user that are in force and answer, best q first, older first among equals (RFC 3261 section 16.6).
    pub(crate) fn bindings(&self, aor: &Aor, now: Now) -> SmallVec<[&Bound; 4]> {
        let mut bindings = self.in_force(aor, now);
        bindings.retain(|bound| !bound.is_silent);
        bindings
    }

    /// Those too that do not answer.
    pub(crate) fn in_force(&self, aor: &Aor, now: Now) -> SmallVec<[&Bound; 4]> {
        let record = self.find(aor).map(|index| &self.records[index as usize]);
        by_preference(record.map_or(&[], |record| &record.bindings), now)
    }

    /// Bindings in all.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// A timer of [`Room::Registrar`] is due.
    pub(crate) fn handle_timer(&mut self, core: &mut Core, now: Now, number: u64) {
        match u32::try_from(number) {
            Ok(save::FLUSH) => self.flush(core, now),
            Ok(qualify::TICK) => self.on_round(core, now),
            Ok(index) => self.on_deadline(core, now, index),
            Err(_) => {}
        }
    }

    /// A stream is gone: what was reached through it is reached by its contact address from now on, and gone if it has
    /// none.
    pub(crate) fn on_closed(&mut self, core: &mut Core, flow: Flow) {
        for index in self.by_connection.remove(&flow.connection).unwrap_or_default() {
            let Some(record) = self.records.get_mut(index as usize) else {
                continue;
            };
            for bound in record.bindings.iter_mut().filter(|bound| bound.flow() == Some(flow)) {
                bound.connection = None;
            }
            while let Some(place) = self.lost(index) {
                let binding = &self.records[index as usize].bindings[place].binding;
                tracing::info!(aor = %binding.aor, contact = &*binding.contact, peer = %flow.peer, "flow failed, contact unbound");
                core.tally.flows_failed += 1;
                self.remove(core, index, place);
            }
        }
    }

    /// A binding to which there is no way any more.
    fn lost(&self, index: u32) -> Option<usize> {
        let bindings = &self.records.get(index as usize)?.bindings;
        let is_lost = |bound: &Bound| bound.connection.is_none() && bound.ends_with_connection();
        bindings.iter().position(is_lost)
    }

    /// Checks that records, index and count agree.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let bound: usize = self.records.iter().map(|(_, record)| record.bindings.len()).sum();
        if bound != self.count || self.by_aor.len() != self.records.len() {
            return Err(format!(
                "registrar: {bound} bindings, {} counted, {} indexed",
                self.count,
                self.by_aor.len()
            ));
        }
        match self.records.iter().find(|(_, record)| record.bindings.is_empty()) {
            Some((_, record)) => Err(format!("registrar: a record without binding, {}", record.aor)),
            None => self.audit_watched(),
        }
    }

    fn find(&self, aor: &Aor) -> Option<u32> {
        let hash = self.hasher.hash_one(aor.as_str());
        self.by_aor
            .find(hash, |&index| self.records[index as usize].aor == *aor)
            .copied()
    }

    /// Takes in a new binding; the record of its user is made if there is none.
    fn insert(&mut self, core: &mut Core, bound: Bound) -> u32 {
        let aor = bound.binding.aor.clone();
        let index = match self.find(&aor) {
            Some(index) => index,
            None => self.insert_record(core, aor, bound.ends_at()),
        };
        self.link(index, bound.flow());
        self.count += 1;
        core.touch(Watched::Presence(bound.binding.aor.clone()));
        let bindings = &mut self.records[index as usize].bindings;
        let place = bindings.len();
        bindings.push(bound);
        self.watch(core, index, place);
        self.rearm(core, index);
        index
    }

    fn insert_record(&mut self, core: &mut Core, aor: Aor, deadline: Mono) -> u32 {
        let entry = self.records.vacant_entry();
        // A slab of bindings is bounded by `limits.max_bindings`, far below 2^32.
        let index = u32::try_from(entry.key()).unwrap_or(u32::MAX);
        self.places = self.places.max(entry.key() + 1);
        let alarm = core
            .endpoint
            .set_timer(deadline, Room::Registrar.owner(u64::from(index)), 0);
        let hash = self.hasher.hash_one(aor.as_str());
        entry.insert(Record {
            aor,
            bindings: SmallVec::new(),
            alarm: (deadline, alarm),
            is_dirty: false,
        });
        let Registrar {
            by_aor,
            records,
            hasher,
            ..
        } = self;
        by_aor.insert_unique(hash, index, |&i| hasher.hash_one(records[i as usize].aor.as_str()));
        index
    }

    /// Removes one binding, here and in the store; with the last one the record goes.
    fn remove(&mut self, core: &mut Core, index: u32, place: usize) {
        let record = &mut self.records[index as usize];
        let bound = record.bindings.remove(place);
        self.count -= 1;
        self.unwatch(index, bound.flow());
        let Binding { aor, key, contact, .. } = bound.binding;
        core.announce(|| Event::Unregistered {
            aor: aor.clone(),
            contact,
        });
        core.touch(Watched::Presence(aor.clone()));
        core.store(model::StoreOp::DeleteBinding { aor, key });
        if self.records[index as usize].bindings.is_empty() {
            let record = self.records.remove(index as usize);
            core.endpoint.cancel_timer(record.alarm.1);
            let hash = self.hasher.hash_one(record.aor.as_str());
            if let Ok(entry) = self.by_aor.find_entry(hash, |&i| i == index) {
                entry.remove();
            }
        }
    }

    /// Remembers which records a stream carries.
    fn link(&mut self, index: u32, flow: Option<Flow>) {
        let Some(flow) = flow.filter(|flow| flow.transport != Transport::Udp) else {
            return;
        };
        let carried = self.by_connection.entry(flow.connection).or_default();
        if !carried.contains(&index) {
            carried.push(index);
        }
    }

    /// Brings the alarm of a record forward if a binding ends before it. Later is left: the alarm finds out by itself.
    fn rearm(&mut self, core: &mut Core, index: u32) {
        let record = &mut self.records[index as usize];
        let Some(earliest) = record.bindings.iter().map(Bound::ends_at).min() else {
            return;
        };
        if earliest < record.alarm.0 {
            core.endpoint.cancel_timer(record.alarm.1);
            record.alarm = (
                earliest,
                core.endpoint
                    .set_timer(earliest, Room::Registrar.owner(u64::from(index)), 0),
            );
        }
    }

    /// The alarm of a record: drops what has run out, and looks again at the next deadline.
    fn on_deadline(&mut self, core: &mut Core, now: Now, index: u32) {
        while let Some(record) = self.records.get(index as usize) {
            match record.bindings.iter().position(|bound| bound.ends_at() <= now.mono) {
                Some(place) if record.bindings[place].deadline <= now.mono => self.expire(core, index, place),
                Some(place) => self.fall_silent(core, index, place),
                None => break,
            }
        }
        let Some(record) = self.records.get_mut(index as usize) else {
            return;
        };
        let Some(earliest) = record.bindings.iter().map(Bound::ends_at).min() else {
            return;
        };
        core.endpoint.cancel_timer(record.alarm.1);
        record.alarm = (
            earliest,
            core.endpoint
                .set_timer(earliest, Room::Registrar.owner(u64::from(index)), 0),
        );
    }

    fn expire(&mut self, core: &mut Core, index: u32, place: usize) {
        let binding = &self.records[index as usize].bindings[place].binding;
        tracing::info!(aor = %binding.aor, contact = &*binding.contact, call_id = &*binding.call_id, "binding ran out");
        core.tally.bindings_expired += 1;
        self.remove(core, index, place);
    }
}

impl Bound {
    /// The way its REGISTER came, while there is one: requests to it go back there, whatever its Contact says.
    fn flow(&self) -> Option<Flow> {
        let endpoint = &self.binding.endpoint;
        let flow = |connection| Flow {
            transport: transport(endpoint.transport),
            local: endpoint.local,
            peer: endpoint.peer,
            connection,
        };
        self.connection.map(flow)
    }

    /// Where a request to this contact goes; its Request-URI is `binding.contact`. `None`: the way it came is gone, and
    /// the contact is not an address of the same device.
    #[must_use]
    pub(crate) fn destination(&self) -> Option<Destination> {
        self.flow().map(Destination::Flow).or_else(|| self.contact_address())
    }

    /// It is reached under TLS.
    #[must_use]
    pub(crate) fn is_secure(&self) -> bool {
        transport(self.binding.endpoint.transport).is_secure()
    }

    /// What a request to this contact has as its Request-URI: the Contact without its headers (RFC 3261 section 19.1.5).
    #[must_use]
    pub(crate) fn request_uri(&self) -> &[u8] {
        let contact = self.binding.contact.as_bytes();
        Uri::parse(contact).map_or(contact, |uri| uri.without_headers())
    }

    /// The address in the Contact URI, or of the first proxy that a Path names (RFC 3327 section 5.3), through the same
    /// listener, if it is the host the REGISTER came from: nobody is to make us connect to third parties (S25).
    fn contact_address(&self) -> Option<Destination> {
        let endpoint = &self.binding.endpoint;
        let transport = transport(endpoint.transport);
        // A browser cannot be called back.
        if matches!(transport, Transport::Ws | Transport::Wss) {
            return None;
        }
        let uri = match List::new(self.binding.path.as_bytes()).next() {
            Some(first) if !first.is_empty() => NameAddr::parse(first).ok()?.uri().ok()?,
            _ => Uri::parse(self.binding.contact.as_bytes()).ok()?,
        };
        let default = if transport == Transport::Tls {
            SIPS_PORT
        } else {
            SIP_PORT
        };
        let ip = uri.ip().filter(|ip| *ip == endpoint.peer.ip())?;
        Some(Destination::Address {
            transport,
            local: endpoint.local,
            peer: (ip, uri.port().unwrap_or(default)).into(),
        })
    }
}

/// Those in force, best q first, older first among equals.
fn by_preference(bindings: &[Bound], now: Now) -> SmallVec<[&Bound; 4]> {
    let mut bindings: SmallVec<[&Bound; 4]> = bindings.iter().filter(|bound| bound.deadline > now.mono).collect();
    if bindings.len() > 1 {
        bindings.sort_by_key(|bound| std::cmp::Reverse(bound.binding.q));
    }
    bindings
}

/// The transport of a stored binding.
fn transport(stored: model::Transport) -> Transport {
    match stored {
        model::Transport::Udp => Transport::Udp,
        model::Transport::Tcp => Transport::Tcp,
        model::Transport::Tls => Transport::Tls,
        model::Transport::Ws => Transport::Ws,
        model::Transport::Wss => Transport::Wss,
    }
}

/// What is stored of a flow.
pub(crate) fn endpoint(flow: Flow) -> model::Endpoint {
    model::Endpoint {
        transport: match flow.transport {
            Transport::Udp => model::Transport::Udp,
            Transport::Tcp => model::Transport::Tcp,
            Transport::Tls => model::Transport::Tls,
            Transport::Ws => model::Transport::Ws,
            Transport::Wss => model::Transport::Wss,
        },
        local: flow.local,
        peer: flow.peer,
    }
}
