//! Names on their way to addresses: lookups under way and who waits for them, and targets that failed of late.

use super::{ClientId, Config, Destination, Resolving};
use crate::Transport;
use crate::locate::{Found, Lookup, Question, Service, Step, Target};
use crate::output::{Output, Sink};
use crate::timers::{TimerId, Wheel};
use ahash::RandomState;
use clock::Mono;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::core::Due;

/// Lookups at one time: what is asked is configured or comes from peers that are trusted, so it is few names; more would be
/// a flood.
const MAX_LOOKUPS: usize = 256;
/// Three rounds of two seconds. After that the name leads nowhere.
const LOOKUP_WITHIN: Duration = Duration::from_secs(6);
/// A target that failed is tried after all others for so long.
const AVOID_FOR: Duration = Duration::from_secs(30);
/// Targets of which that is remembered.
const MAX_AVOIDED: usize = 1_024;

/// Who waits for a lookup.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Waiter {
    Client(ClientId),
    Parcel(u64),
}

/// What the waiter would like.
#[derive(Copy, Clone, Debug)]
pub(super) struct Wish {
    /// To send from this listener.
    pub local: SocketAddr,
    /// To targets at this address alone.
    pub only: Option<IpAddr>,
}

/// What came of asking.
pub(super) enum Located {
    /// There was nothing to ask: these are the ways.
    At(Vec<Destination>),
    /// The waiter will be told.
    Later,
    /// Too much is asked already.
    Refused,
}

/// What a lookup has come to: the host that was asked for, and the ways for each who waited.
pub(super) type Answered = (Arc<str>, Vec<(Waiter, Vec<Destination>)>);

pub(super) struct Places {
    listeners: Vec<(Transport, SocketAddr)>,
    lookups: HashMap<u64, Pending, RandomState>,
    by_service: HashMap<Arc<Service>, u64, RandomState>,
    questions: HashMap<u64, (u64, Question), RandomState>,
    avoided: HashMap<Target, Mono, RandomState>,
    /// The avoided, the oldest first.
    order: VecDeque<Target>,
    last: u64,
}

struct Pending {
    service: Arc<Service>,
    lookup: Lookup,
    waiting: Vec<(Waiter, Wish)>,
    timer: TimerId,
}

impl Places {
    pub fn new(config: &Config, hasher: &RandomState) -> Places {
        Places {
            listeners: config.listeners.clone(),
            lookups: HashMap::with_hasher(hasher.clone()),
            by_service: HashMap::with_hasher(hasher.clone()),
            questions: HashMap::with_hasher(hasher.clone()),
            avoided: HashMap::with_hasher(hasher.clone()),
            order: VecDeque::new(),
            last: 0,
        }
    }

    /// Asks where a name is served, on behalf of a waiter.
    #[allow(clippy::too_many_arguments)] // what the endpoint has in several fields
    pub fn locate(
        &mut self,
        wheel: &mut Wheel<Due>,
        now: Mono,
        service: &Arc<Service>,
        wish: Wish,
        waiter: Waiter,
        out: &mut impl Sink,
    ) -> Located {
        if let Some(pending) = self.by_service.get(service).and_then(|id| self.lookups.get_mut(id)) {
            pending.waiting.push((waiter, wish));
            return Located::Later;
        }
        let (lookup, step) = Lookup::start((**service).clone(), &self.speaks());
        let questions = match step {
            Step::Done(targets) => return Located::At(self.ways(now, &targets, wish)),
            Step::Ask(_) if self.lookups.len() >= MAX_LOOKUPS => return Located::Refused,
            Step::Ask(questions) => questions,
        };
        self.last += 1;
        let id = self.last;
        let timer = wheel.insert(now + LOOKUP_WITHIN, Due::Lookup(id));
        self.by_service.insert(service.clone(), id);
        self.lookups.insert(
            id,
            Pending {
                service: service.clone(),
                lookup,
                waiting: vec![(waiter, wish)],
                timer,
            },
        );
        self.ask(id, questions, out);
        Located::Later
    }

    fn ask(&mut self, id: u64, questions: Vec<Question>, out: &mut impl Sink) {
        for question in questions {
            self.last += 1;
            self.questions.insert(self.last, (id, question.clone()));
            out.push(Output::Resolve {
                token: Resolving(self.last),
                question,
            });
        }
    }

    /// An answer of the DNS. With the last one of a lookup: who waited for it, and the ways for each.
    pub fn handle_resolved(
        &mut self,
        wheel: &mut Wheel<Due>,
        now: Mono,
        token: Resolving,
        found: Found,
        random: &mut dyn FnMut() -> u64,
        out: &mut impl Sink,
    ) -> Option<Answered> {
        let (id, question) = self.questions.remove(&token.0)?;
        let pending = self.lookups.get_mut(&id);
        match pending.and_then(|pending| pending.lookup.handle(&question, found, random)) {
            Some(Step::Ask(questions)) => self.ask(id, questions, out),
            Some(Step::Done(targets)) => return self.finish(wheel, now, id, &targets),
            None => {}
        }
        None
    }

    /// It takes too long: whoever waits is told that there is no way.
    pub fn give_up(&mut self, wheel: &mut Wheel<Due>, now: Mono, id: u64) -> Option<Answered> {
        self.finish(wheel, now, id, &[])
    }

    fn finish(&mut self, wheel: &mut Wheel<Due>, now: Mono, id: u64, targets: &[Target]) -> Option<Answered> {
        let pending = self.lookups.remove(&id)?;
        wheel.cancel(pending.timer);
        self.by_service.remove(&pending.service);
        self.questions.retain(|_, (lookup, _)| *lookup != id);
        let waiting = pending.waiting.into_iter();
        let waiting = waiting
            .map(|(waiter, wish)| (waiter, self.ways(now, targets, wish)))
            .collect();
        Some((Arc::from(&*pending.service.host), waiting))
    }

    /// The transports we listen with and can call others by, each once.
    fn speaks(&self) -> Vec<Transport> {
        let callable = [Transport::Udp, Transport::Tcp, Transport::Tls];
        let mut speaks = Vec::new();
        for &(transport, _) in &self.listeners {
            if callable.contains(&transport) && !speaks.contains(&transport) {
                speaks.push(transport);
            }
        }
        speaks
    }

    /// Where to send from for each target, those that failed of late last.
    fn ways(&self, now: Mono, targets: &[Target], wish: Wish) -> Vec<Destination> {
        let is_meant = |target: &&Target| wish.only.is_none_or(|only| only == target.peer.ip());
        let (bad, good): (Vec<&Target>, Vec<&Target>) = targets
            .iter()
            .filter(is_meant)
            .partition(|target| self.is_avoided(now, target));
        let way = |target: &Target| {
            let local = self.listener(target, wish.local)?;
            Some(Destination::Address {
                transport: target.transport,
                local,
                peer: target.peer,
            })
        };
        good.into_iter().chain(bad).filter_map(way).collect()
    }

    /// It failed of late.
    pub fn is_avoided(&self, now: Mono, target: &Target) -> bool {
        self.avoided.get(target).is_some_and(|until| *until > now)
    }

    /// One on loopback reaches nobody elsewhere.
    fn listener(&self, target: &Target, wish: SocketAddr) -> Option<SocketAddr> {
        let peer = target.peer.ip();
        let fits =
            |local: &SocketAddr| local.is_ipv4() == peer.is_ipv4() && (!local.ip().is_loopback() || peer.is_loopback());
        let ours = self
            .listeners
            .iter()
            .filter(|(transport, _)| *transport == target.transport);
        let mut ours = ours.map(|(_, local)| *local).filter(fits);
        let first = ours.clone().next();
        ours.find(|local| *local == wish).or(first)
    }

    /// It said nothing, said 503, or could not be reached.
    pub fn avoid(&mut self, now: Mono, target: Target) {
        if self.avoided.insert(target, now + AVOID_FOR).is_none() {
            self.order.push_back(target);
        }
        if self.order.len() > MAX_AVOIDED {
            let oldest = self.order.pop_front();
            oldest.map(|oldest| self.avoided.remove(&oldest));
        }
    }

    pub fn is_idle(&self) -> bool {
        self.lookups.is_empty() && self.questions.is_empty()
    }
}
