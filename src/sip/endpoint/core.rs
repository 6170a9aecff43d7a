//! What server and client transactions share: times, identifiers, timers, figures, and the way out.

use super::places::{Located, Places, Waiter, Wish};
use super::throttle::Throttle;
use super::wire::{self, Branch, Way};
use super::{ClientId, Config, Connecting, Counters, Destination, Owner, ServerId};
use crate::draft::Draft;
use crate::header::Via;
use crate::locate::Service;
use crate::output::{Output, Sink};
use crate::print::Pages;
use crate::timers::{TimerId, Wheel};
use crate::transaction::Times;
use crate::transaction::key::Secrets;
use crate::{Flow, Splice, Tokens, Transport};
use ahash::RandomState;
use bytes::Bytes;
use clock::Mono;
use hashbrown::{HashMap, HashSet};
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a timer of the wheel is for.
#[derive(Copy, Clone, Debug)]
pub(super) enum Due {
    Server(ServerId),
    Client(ClientId),
    Parcel(u64),
    Lookup(u64),
    User { owner: Owner, kind: u32 },
}

pub(super) struct Core {
    pub times: Times,
    pub tokens: Box<dyn Tokens + Send>,
    pub wheel: Wheel<Due>,
    pub counters: Counters,
    /// Keys for what peers choose: transactions.
    pub secrets: Secrets,
    /// And copies of requests, tags, streams.
    pub hasher: RandomState,
    /// Another key, because what it yields is shown: To-tags of answers without state.
    pub tag_hasher: RandomState,
    /// Where responses are written.
    pub pages: Pages,
    pub places: Places,
    /// How long a target may say nothing if there is another one.
    pub patience: Duration,
    pub throttle: Throttle,
    sent_by: Vec<(SocketAddr, Box<str>)>,
    closed: Closed,
    /// Streams that we opened and that are not gone.
    opened: HashSet<u64, RandomState>,
    parcels: HashMap<u64, Parcel, RandomState>,
    next_parcel: u64,
}

/// Streams that are gone, so that nothing is sent into the void. The ids are never reused; the oldest are forgotten.
#[derive(Default)]
struct Closed {
    ids: HashSet<u64, RandomState>,
    order: VecDeque<u64>,
}

/// More streams than this do not close within the life of one transaction on one node.
const MAX_CLOSED: usize = 65_536;

/// A message without transaction (a response, an ACK to 2xx) that waits for its stream.
struct Parcel {
    bytes: Bytes,
    timer: TimerId,
    /// The flow to take where a name leads there or nowhere.
    heard: Option<Flow>,
}

/// Peers who answer slowly must not fill memory: more than this many waiting messages are dropped, as a network would.
const MAX_PARCELS: usize = 4_096;

impl Core {
    pub fn new(config: Config, mut tokens: Box<dyn Tokens + Send>) -> Core {
        let secrets = Secrets::new(|| tokens.next_u64());
        let mut keys = || {
            let mut seed = || tokens.next_u64();
            RandomState::with_seeds(seed(), seed(), seed(), seed())
        };
        let hasher = keys();
        Core {
            places: Places::new(&config, &hasher),
            patience: config.patience,
            secrets,
            pages: Pages::default(),
            hasher,
            tag_hasher: keys(),
            closed: Closed {
                ids: HashSet::with_hasher(keys()),
                order: VecDeque::new(),
            },
            opened: HashSet::with_hasher(keys()),
            times: Times {
                t1: config.t1,
                t2: config.t2,
                t4: config.t4,
            },
            wheel: Wheel::with_capacity(config.timers),
            counters: Counters::default(),
            throttle: Throttle::default(),
            sent_by: config.sent_by,
            parcels: HashMap::with_hasher(keys()),
            next_parcel: 0,
            tokens,
        }
    }

    pub fn random(&mut self) -> u64 {
        self.tokens.next_u64()
    }

    /// What we write as sent-by for a listener.
    pub fn sent_by(&self, local: SocketAddr) -> SentBy<'_> {
        match self.sent_by.iter().find(|(l, _)| *l == local) {
            Some((_, text)) => SentBy::Name(text),
            None => SentBy::Address(local),
        }
    }

    pub fn close(&mut self, connection: u64) {
        if self.closed.ids.insert(connection) {
            self.closed.order.push_back(connection);
        }
        if self.closed.order.len() > MAX_CLOSED {
            let oldest = self.closed.order.pop_front();
            oldest.map(|id| self.closed.ids.remove(&id));
        }
    }

    /// We opened this stream. Bounded by the streams there are.
    pub fn note_opened(&mut self, connection: u64) {
        self.opened.insert(connection);
    }

    /// A stream is gone; true if we had opened it.
    pub fn forget_opened(&mut self, connection: u64) -> bool {
        self.opened.remove(&connection)
    }

    pub fn is_closed(&self, flow: &Flow) -> bool {
        flow.transport.is_reliable() && self.closed.ids.contains(&flow.connection)
    }

    /// Sends a response: back, or if that stream is gone on a new one (RFC 3261 section 18.2.2). Nobody listens behind a
    /// websocket (RFC 7118 section 5).
    pub fn send_response(&mut self, now: Mono, way: Way, bytes: Bytes, out: &mut impl Sink) {
        let Way { flow, anew } = way;
        match flow.transport {
            _ if !self.is_closed(&flow) => out.push(Output::Transmit { flow, bytes }),
            Transport::Ws | Transport::Wss => self.counters.send_failures += 1,
            transport => self.send_parcel(now, transport, flow.local, anew, bytes, out),
        }
    }

    /// Sends an ACK to a 2xx.
    pub fn send_ack(&mut self, now: Mono, destination: Destination, draft: &Draft, out: &mut impl Sink) {
        let (transport, local) = destination.listener();
        let branch = Branch {
            index: u32::MAX,
            random: self.random(),
        };
        let bytes = wire::request(draft, transport, self.sent_by(local), branch, false);
        self.send_alone(now, destination, bytes, out);
    }

    /// Sends on an ACK of someone else.
    pub fn forward_ack(&mut self, now: Mono, destination: Destination, ack: &Splice<'_>, out: &mut impl Sink) {
        let (transport, local) = destination.listener();
        let branch = Branch {
            index: u32::MAX,
            random: self.random(),
        };
        let bytes = wire::forwarded(ack, transport, self.sent_by(local), branch, (None, false));
        self.send_alone(now, destination, bytes, out);
    }

    fn send_alone(&mut self, now: Mono, destination: Destination, bytes: Bytes, out: &mut impl Sink) {
        match destination {
            Destination::AnyOf(ways) => {
                let spare = ways.get(1).map(|way| &way.destination);
                match (&ways[0].destination, spare) {
                    (Destination::Service { service, local, only }, Some(&Destination::Flow(heard))) => {
                        let (local, only) = (*local, *only);
                        self.send_parcel_to(now, (service, Wish { local, only }), Some(heard), bytes, out);
                    }
                    (first, _) => self.send_alone(now, first.clone(), bytes, out),
                }
            }
            Destination::Service { service, local, only } => {
                self.send_parcel_to(now, (&service, Wish { local, only }), None, bytes, out);
            }
            Destination::Flow(flow) => out.push(Output::Transmit { flow, bytes }),
            Destination::Address {
                transport: Transport::Udp,
                local,
                peer,
            } => {
                out.push(Output::Transmit {
                    flow: Flow {
                        transport: Transport::Udp,
                        local,
                        peer,
                        connection: 0,
                    },
                    bytes,
                });
            }
            Destination::Address { transport, local, peer } => {
                self.send_parcel(now, transport, local, peer, bytes, out);
            }
        }
    }

    /// Sends something without transaction to whoever serves a name.
    fn send_parcel_to(
        &mut self,
        now: Mono,
        (service, wish): (&Arc<Service>, Wish),
        heard: Option<Flow>,
        bytes: Bytes,
        out: &mut impl Sink,
    ) {
        let Some(id) = self.keep_parcel(now, bytes, heard) else {
            return;
        };
        let waiter = Waiter::Parcel(id);
        match self.places.locate(&mut self.wheel, now, service, wish, waiter, out) {
            Located::At(ways) => self.handle_parcel_located(id, None, &ways, out),
            Located::Later => {}
            Located::Refused => self.handle_parcel_located(id, None, &[], out),
        }
    }

    /// Where a parcel goes is known: to where its receiver was heard if that is one of these ways, else to the first. `name` is
    /// what was looked up.
    pub fn handle_parcel_located(
        &mut self,
        id: u64,
        name: Option<Arc<str>>,
        ways: &[Destination],
        out: &mut impl Sink,
    ) {
        let heard = self.parcels.get(&id).and_then(|parcel| parcel.heard);
        let is_known = |heard: &Flow| ways.is_empty() || ways.iter().any(|way| is_same_place(&way.outlook(), heard));
        let flow = heard.filter(|heard| is_known(heard) && !self.is_closed(heard));
        let Some(way) = flow.or_else(|| ways.first().map(Destination::outlook)) else {
            return self.drop_parcel(id);
        };
        let sent_by = match self.sent_by.iter().find(|(l, _)| *l == way.local) {
            Some((_, text)) => SentBy::Name(text),
            None => SentBy::Address(way.local),
        };
        let Some(parcel) = self.parcels.get_mut(&id) else {
            return;
        };
        parcel.bytes = wire::with_sent_by(&parcel.bytes, way.transport, sent_by);
        if flow.is_none() && way.transport != Transport::Udp {
            return out.push(Output::Connect {
                token: Connecting::parcel(id),
                transport: way.transport,
                local: way.local,
                peer: way.peer,
                name,
            });
        }
        self.handle_parcel_connected(id, way, out);
    }

    /// Sends something without transaction over a stream that has first to be opened.
    pub fn send_parcel(
        &mut self,
        now: Mono,
        transport: Transport,
        local: SocketAddr,
        peer: SocketAddr,
        bytes: Bytes,
        out: &mut impl Sink,
    ) {
        let Some(id) = self.keep_parcel(now, bytes, None) else {
            return;
        };
        out.push(Output::Connect {
            token: Connecting::parcel(id),
            transport,
            local,
            peer,
            name: None,
        });
    }

    fn keep_parcel(&mut self, now: Mono, bytes: Bytes, heard: Option<Flow>) -> Option<u64> {
        if self.parcels.len() >= MAX_PARCELS {
            self.counters.send_failures += 1;
            return None;
        }
        let id = self.next_parcel;
        self.next_parcel += 1;
        let timer = self.wheel.insert(now + self.times.lifetime(), Due::Parcel(id));
        self.parcels.insert(id, Parcel { bytes, timer, heard });
        Some(id)
    }

    pub fn handle_parcel_connected(&mut self, id: u64, flow: Flow, out: &mut impl Sink) {
        if let Some(bytes) = self.take_parcel(id) {
            out.push(Output::Transmit { flow, bytes });
        }
    }

    /// It will not be sent any more.
    pub fn drop_parcel(&mut self, id: u64) {
        if self.take_parcel(id).is_some() {
            self.counters.send_failures += 1;
        }
    }

    fn take_parcel(&mut self, id: u64) -> Option<Bytes> {
        let parcel = self.parcels.remove(&id)?;
        self.wheel.cancel(parcel.timer);
        Some(parcel.bytes)
    }

    pub fn parcels(&self) -> usize {
        self.parcels.len()
    }
}

fn is_same_place(way: &Flow, heard: &Flow) -> bool {
    way.transport == heard.transport && way.peer == heard.peer
}

/// Host and port as written into Via and Contact.
#[derive(Copy, Clone, Debug)]
pub(super) enum SentBy<'a> {
    Name(&'a str),
    Address(SocketAddr),
}

impl SentBy<'_> {
    /// True if a response's Via has it (RFC 3261 section 18.1.2).
    pub fn is_in(&self, via: &Via<'_>) -> bool {
        match *self {
            SentBy::Address(a) => via.ip() == Some(a.ip()) && via.port.unwrap_or(DEFAULT_PORT) == a.port(),
            SentBy::Name(text) => {
                let (host, port) = text
                    .rsplit_once(':')
                    .filter(|(_, p)| p.parse::<u16>().is_ok())
                    .unwrap_or((text, ""));
                via.host.eq_ignore_ascii_case(host.as_bytes()) && via.port == port.parse().ok()
            }
        }
    }
}

impl fmt::Display for SentBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SentBy::Name(text) => f.write_str(text),
            SentBy::Address(address) => address.fmt(f),
        }
    }
}

/// Where a sent-by without port listens, TLS aside (RFC 3261 section 18.2.2).
pub(super) const DEFAULT_PORT: u16 = 5060;
