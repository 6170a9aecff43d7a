//! One media worker: the engine, its sockets, and the loop that feeds it.

use super::RtpCounters;
use super::file_desk::FileDesk;
use super::sockets::Sockets;
use clock::{Mono, System};
use media::engine::PACKET_BUFFER;
use media::{Engine, EngineStats, Event, Forward, LegId, Plan, WorkerId};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

use crate::wake::{Post, Refused};

/// Plans obeyed before packets get their turn again: a large room must not make others stutter.
const PLANS_PER_TURN: usize = 64;

/// Pairs of ports bound in one turn: a millisecond's work, so that sound goes on while many are wanted.
const PAIRS_PER_TURN: u16 = 32;

/// How soon a leg whose port was held is given what came before it: the legs it is joined to are opened by the plans right
/// behind its own, and early sound has to find them there.
const JOINING: Duration = Duration::from_millis(1);

/// Later than this it gets it also while plans keep coming.
const JOINING_MAX: Duration = Duration::from_millis(10);

/// Events that may wait for call control. It takes thousands in a turn, so this many wait only when it has stopped.
const MAX_UNSAID: usize = 65_536;

/// How soon call control is asked again when it took no event.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// So many panics within a minute end the worker, and the node with it: what it knows can no longer be trusted.
const MAX_PANICS: usize = 3;

pub(super) struct Worker<S> {
    id: WorkerId,
    engine: Engine,
    sockets: S,
    clock: System,
    plans: Receiver<Plan>,
    events: Post<Event>,
    /// Events that call control has not taken yet.
    unsaid: VecDeque<Event>,
    files: FileDesk,
    ports: Ports,
    /// Pairs that are still to be bound.
    unbound: u16,
    /// Ports with a new leg that are still held, and since when the first of them is.
    opening: Vec<u16>,
    opening_since: Mono,
    panics: VecDeque<Mono>,
    counted: EngineStats,
    counters: Arc<RtpCounters>,
}

/// A worker's ways to the others.
pub(super) struct Channels {
    pub(super) plans: Receiver<Plan>,
    pub(super) events: Post<Event>,
    pub(super) files: FileDesk,
}

/// Which leg uses which port.
#[derive(Default)]
struct Ports {
    of_leg: HashMap<LegId, u16>,
    users: HashMap<u16, LegId>,
}

/// Whether a worker goes on.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Turn {
    Another,
    Last,
}

impl<S: Sockets> Worker<S> {
    pub(super) fn new(
        id: WorkerId,
        engine: Engine,
        sockets: S,
        clock: System,
        channels: Channels,
        counters: Arc<RtpCounters>,
    ) -> Worker<S> {
        let Channels { plans, events, files } = channels;
        let (unsaid, ports, opening, panics) = Default::default();
        Worker {
            id,
            engine,
            sockets,
            clock,
            plans,
            events,
            unsaid,
            files,
            ports,
            unbound: 0,
            opening,
            opening_since: Mono(0),
            panics,
            counted: EngineStats::default(),
            counters,
        }
    }

    /// Works until the channel of plans is closed, or nothing can be trusted any more.
    pub(super) fn run(mut self) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.turn())) {
                Ok(Ok(Turn::Another)) => {}
                Ok(Ok(Turn::Last)) => return,
                Ok(Err(e)) => return tracing::error!(worker = self.id.0, error = %e, "media worker ends"),
                Err(_) if self.on_panic() => {}
                Err(_) => return tracing::error!(worker = self.id.0, "media worker ends: too many panics"),
            }
        }
    }

    /// 1. packets and sleep, 2. plans, 3. what is due, 4. what the engine has to send, to read and to say.
    fn turn(&mut self) -> io::Result<Turn> {
        self.receive()?;
        let turn = self.obey();
        self.bind();
        self.meet_deadline();
        self.transmit();
        self.files.exchange(&mut self.engine);
        self.say();
        self.count();
        Ok(turn)
    }

    fn receive(&mut self) -> io::Result<()> {
        let limit = self.limit();
        let (engine, clock) = (&mut self.engine, self.clock);
        self.sockets
            .wait(limit, &mut |port, source, buffer: &mut [u8], length| {
                take_packet(engine, clock.now().mono, port, source, buffer, length)
            })
    }

    /// How long to sleep if nothing happens.
    fn limit(&self) -> Option<Duration> {
        if !self.plans.is_empty() || self.unbound > 0 || self.files.has_news() {
            return Some(Duration::ZERO);
        }
        let due = self.engine.poll_timeout().map(|at| at.since(self.clock.now().mono));
        let again = (!self.unsaid.is_empty() || self.files.waits()).then_some(ASK_AGAIN);
        let joining = (!self.opening.is_empty()).then_some(JOINING);
        due.into_iter().chain(again).chain(joining).min()
    }

    fn obey(&mut self) -> Turn {
        for obeyed in 0..PLANS_PER_TURN {
            match self.plans.try_recv() {
                Ok(Plan::BindPorts { count }) => self.unbound = self.unbound.saturating_add(count),
                Ok(Plan::HoldPort { port }) => self.sockets.hold(port),
                Ok(Plan::ReleasePort { port }) => self.sockets.shut(port),
                Ok(plan) => {
                    let leg = match &plan {
                        Plan::OpenLeg(open) => Some((open.leg, open.port)),
                        _ => None,
                    };
                    self.engine.apply(self.clock.now().mono, plan);
                    if let Some((leg, port)) = leg {
                        self.on_leg(leg, port);
                    }
                }
                Err(TryRecvError::Empty) => {
                    self.open_joined(obeyed == 0);
                    return Turn::Another;
                }
                Err(TryRecvError::Disconnected) => return Turn::Last,
            }
        }
        self.open_joined(false);
        Turn::Another
    }

    fn on_leg(&mut self, leg: LegId, port: u16) {
        self.ports.take(leg, port);
        if !self.sockets.is_held(port) {
            return self.open(port);
        }
        if self.opening.is_empty() {
            self.opening_since = self.clock.now().mono;
        }
        self.opening.push(port);
    }

    fn open(&mut self, port: u16) {
        let (engine, clock) = (&mut self.engine, self.clock);
        self.sockets.open(port, &mut |port, source, buffer: &mut [u8], length| {
            take_packet(engine, clock.now().mono, port, source, buffer, length)
        });
    }

    /// Opens the ports of legs that have been joined to others by now. A leg that was closed meanwhile has shut its port.
    fn open_joined(&mut self, is_quiet: bool) {
        if self.opening.is_empty() {
            return;
        }
        if is_quiet || self.clock.now().mono.since(self.opening_since) >= JOINING_MAX {
            for port in std::mem::take(&mut self.opening) {
                if self.sockets.is_held(port) {
                    self.open(port);
                }
            }
        }
    }

    /// Binds some of the ports that are wanted, and says so at once: they may be waited for.
    fn bind(&mut self) {
        let count = self.unbound.min(PAIRS_PER_TURN);
        if count == 0 {
            return;
        }
        let ports = self.sockets.bind(count);
        let exhausted = ports.len() < usize::from(count);
        self.unbound = if exhausted { 0 } else { self.unbound - count };
        if !ports.is_empty() {
            self.unsaid.push_back(Event::PortsBound { worker: self.id, ports });
        }
        if exhausted {
            self.unsaid.push_back(Event::PortsExhausted { worker: self.id });
        }
    }

    fn meet_deadline(&mut self) {
        let now = self.clock.now().mono;
        if self.engine.poll_timeout().is_some_and(|due| due <= now) {
            self.engine.handle_timeout(now);
        }
    }

    fn transmit(&mut self) {
        let mut buffer = [0; PACKET_BUFFER];
        while let Some(packet) = self.engine.poll_transmit(&mut buffer) {
            self.sockets.send(packet.port, packet.to, &buffer[..packet.len]);
        }
    }

    fn say(&mut self) {
        while let Some(event) = self.engine.poll_event() {
            if let Event::LegClosed { leg, .. } = &event
                && let Some(port) = self.ports.free(*leg)
            {
                self.sockets.shut(port);
            }
            self.unsaid.push_back(event);
        }
        while let Some(event) = self.unsaid.pop_front() {
            if let Err(Refused::Full(event)) = self.events.offer(event) {
                self.unsaid.push_front(event);
                break;
            }
        }
        let surplus = self.unsaid.len().saturating_sub(MAX_UNSAID);
        self.unsaid.drain(..surplus);
        self.counters.events_dropped.add(surplus as u64);
    }

    /// Adds to the figures of all workers what the engine has counted since the last turn.
    fn count(&mut self) {
        let stats = self.engine.stats();
        self.counters.unexpected.add(stats.unexpected - self.counted.unexpected);
        self.counters
            .ignored_plans
            .add(stats.ignored_plans - self.counted.ignored_plans);
        self.counters.late_ticks.add(stats.late_ticks - self.counted.late_ticks);
        self.counters.starved.add(stats.starved - self.counted.starved);
        self.counted = stats;
    }

    /// Counts a panic; false when there were too many of late.
    fn on_panic(&mut self) -> bool {
        let now = self.clock.now().mono;
        self.counters.panics.one();
        self.panics.push_back(now);
        self.panics.retain(|at| now.since(*at) < Duration::from_secs(60));
        self.panics.len() < MAX_PANICS
    }
}

impl Ports {
    fn take(&mut self, leg: LegId, port: u16) {
        self.of_leg.insert(leg, port);
        // A leg that was refused never says that it is closed; the port's next user removes what it left.
        if let Some(refused) = self.users.insert(port, leg).filter(|&before| before != leg) {
            self.of_leg.remove(&refused);
        }
    }

    fn free(&mut self, leg: LegId) -> Option<u16> {
        let port = self.of_leg.remove(&leg)?;
        self.users.remove(&port);
        Some(port)
    }
}

fn take_packet(
    engine: &mut Engine,
    now: Mono,
    port: u16,
    source: SocketAddr,
    buffer: &mut [u8],
    length: usize,
) -> Option<Forward> {
    if port.is_multiple_of(2) {
        return engine.handle_rtp(now, port, source, buffer, length);
    }
    engine.handle_rtcp(now, port - 1, source, &buffer[..length]);
    None
}
