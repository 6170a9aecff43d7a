//! The one thread that does all signalling: feeds the switch and executes its outputs.
//!
//! Each turn of the loop, by priority:
//!
//! 0. Sleep until something happens or is due.
//! 1. What the node's other parts say (store, media, streams, commands): it finishes what is under way.
//! 2. Everything off the sockets, sorted into lanes: so it is we who choose what is dropped, not the kernel.
//! 3. Messages, the most important first, up to a bound; then it is time to look at the sockets again.
//! 4. Timers that are due.
//! 5. What was put in line for the sockets is sent, in batches, and media workers are woken that have something to do.
//!
//! No message crosses a thread or a channel on its way from a UDP socket through the switch to a UDP socket.

use crate::eventloop_backlog::{ASK_AGAIN, Backlog};
use crate::eventloop_handle::Errand;
pub use crate::eventloop_handle::{Ended, Handle, Inlets, Posts, Unavailable, channels};
use crate::eventloop_lanes::{LaneCounters, Lanes, Waiting};
use crate::eventloop_sockets::Sockets;
use crate::sip_trace::trace;
use bytes::Bytes;
use clock::{Mono, Now, System};
use model::{Occurrence, StoreOp, StoreReply};
use net::counters;
use net::counters::Figure;
use net::resolve::{Resolved, Resolver};
use net::rtp::Workers;
use net::tcp::{StreamEvent, Tcp};
use net::udp::Udp;
use sip::peek::{self, Class};
use sip::{Flow, Transport};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use switch::{Admit, Answer, Command, Counters, Input, Notice, Output, Switch, Token};
use tokio::sync::mpsc::{self, Receiver};
use tokio::sync::{oneshot, watch};

/// What the loop drives: the switch, or what a test puts in its place or around it. The methods are those of [`Switch`].
#[allow(missing_docs)]
pub trait Core: Send + 'static {
    fn admit(&mut self, now: Now, flow: &Flow, class: Class, datagram: &[u8]) -> Admit;
    fn note_delay(&mut self, waited: Duration);
    fn handle_input(&mut self, now: Now, input: Input);
    fn poll_output(&mut self) -> Option<Output>;
    fn poll_timeout(&mut self) -> Option<Mono>;
    fn handle_timeout(&mut self, now: Now);
    fn recover(&mut self, now: Now);
    fn audit(&self) -> Result<(), String>;
    fn counters(&self) -> Counters;
}

/// The parts the loop works with.
pub struct Parts {
    /// The node's clock: the one the switch was built with.
    pub clock: System,
    /// Every bound UDP socket.
    pub udp: Vec<Udp>,
    /// All streams.
    pub tcp: Tcp,
    /// The DNS.
    pub dns: Resolver,
    /// The media workers.
    pub media: Workers,
    /// What is kept.
    pub store: Arc<Store>,
    /// For those who watch. When it is full events are lost: who reads it sees the gap in their numbers.
    pub events: mpsc::Sender<Occurrence>,
}

counters! {
    /// What the loop did.
    TurnCounters, "loop_" {
        /// Turns.
        turns,
        /// Microseconds in which it did not sleep.
        busy_us,
        /// Timers met.
        timeouts,
        /// Panics caught.
        panics,
        /// Plans that wait because a media worker is busy.
        plans_waiting gauge,
        /// Writes that wait because the store's queue is full.
        writes_waiting gauge,
        /// Writes lost because too many waited.
        writes_lost,
    }
}

/// All figures of the loop.
#[derive(Debug, Default)]
pub struct LoopCounters {
    /// Of its turns.
    pub turns: TurnCounters,
    /// Of the messages that wait.
    pub lanes: LaneCounters,
}

impl LoopCounters {
    /// Every figure, in a fixed order.
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        [self.turns.figures(), self.lanes.figures()].concat()
    }
}

/// Starts the loop on a thread of its own.
///
/// # Errors
/// No descriptor or thread is left.
pub fn start(core: impl Core, parts: Parts, inlets: Inlets) -> io::Result<Handle> {
    let counters = Arc::new(LoopCounters::default());
    let (ended, ended_in) = watch::channel(None);
    let (drained, drained_in) = watch::channel(false);
    let handle = Handle::new(&inlets, counters.clone(), ended_in, drained_in);
    let eventloop = EventLoop::new(core, parts, inlets, counters, drained)?;
    std::thread::Builder::new().name("switch".into()).spawn(move || {
        let end = eventloop.run();
        if let Ended::Failed(why) = &end {
            tracing::error!(why, "the event loop has failed");
        }
        ended.send_replace(Some(end));
    })?;
    Ok(handle)
}

/// Messages handled before the sockets are read again: a few milliseconds' work.
pub(crate) const MESSAGES_PER_TURN: usize = 256;

/// Messages handled at what counts as one moment: some tens of microseconds, where timers have milliseconds.
const MESSAGES_PER_LOOK: usize = 8;

/// Messages after which media workers learn what they are to do at the latest: a millisecond's work. Each time they are woken
/// costs two changes of threads where they share our core.
const MESSAGES_PER_WAKING: usize = 32;

/// Time for timers in one turn, as long as its messages take: however many are due at once, messages do not wait for all of
/// them, nor they for messages.
const TIMERS_WITHIN: Duration = Duration::from_millis(2);

/// Things taken from one channel per turn.
const TAKEN_PER_TURN: usize = 512;

/// So many panics within a minute, and what the switch knows can no longer be trusted.
const MAX_PANICS: usize = 3;

/// Why the loop ends.
#[derive(Debug)]
enum Stop {
    Asked,
    Failed(String),
}

type Turn = Result<(), Stop>;

struct EventLoop<C> {
    core: C,
    clock: System,
    sockets: Sockets,
    tcp: Tcp,
    dns: Resolver,
    backlog: Backlog,
    inlets: Inlets,
    /// Something may be in the channels.
    rung: bool,
    lanes: Lanes,
    /// What the switch is still to be told by the shell itself: sending that failed, operations that were refused.
    own: VecDeque<Input>,
    /// What others are told of one step.
    telling: VecDeque<Output>,
    answers: HashMap<Token, oneshot::Sender<Answer>>,
    last_token: Token,
    panics: VecDeque<Mono>,
    woke: Mono,
    slow_timer: Mono,
    slowest: Duration,
    tracing: bool,
    counters: Arc<LoopCounters>,
    drained: watch::Sender<bool>,
    events: mpsc::Sender<Occurrence>,
    /// The last event that could not be told.
    unheard: Option<Occurrence>,
}

/// What becomes of a message off the network.
struct Sorting<'a, C> {
    core: &'a mut C,
    lanes: &'a mut Lanes,
    own: &'a mut VecDeque<Input>,
    counters: &'a LaneCounters,
}

impl<C: Core> Sorting<'_, C> {
    /// Puts it in the line it belongs in, or has it refused before all that wait, or drops it.
    fn sort(&mut self, now: Now, flow: Flow, bytes: Bytes) {
        let class = peek::class(&bytes);
        if class == Class::Garbage {
            self.counters.garbage.one();
        }
        match self.core.admit(now, &flow, class, &bytes) {
            Admit::Refuse => self.own.push_back(Input::Unheard { flow, bytes }),
            admit => self.lanes.push(now.mono, admit, flow, bytes, self.counters),
        }
    }
}

/// The parts of an event loop that sorting needs, while its sockets are read.
macro_rules! sorting {
    ($eventloop:ident) => {
        Sorting {
            core: &mut $eventloop.core,
            lanes: &mut $eventloop.lanes,
            own: &mut $eventloop.own,
            counters: &$eventloop.counters.lanes,
        }
    };
}

impl<C: Core> EventLoop<C> {
    fn new(
        core: C,
        parts: Parts,
        inlets: Inlets,
        counters: Arc<LoopCounters>,
        drained: watch::Sender<bool>,
    ) -> io::Result<EventLoop<C>> {
        let now = parts.clock.now().mono;
        Ok(EventLoop {
            core,
            clock: parts.clock,
            sockets: Sockets::new(parts.udp, &inlets.bell)?,
            tcp: parts.tcp,
            dns: parts.dns,
            backlog: Backlog::new(parts.media, parts.store),
            inlets,
            rung: false,
            lanes: Lanes::default(),
            own: VecDeque::new(),
            telling: VecDeque::new(),
            answers: HashMap::new(),
            last_token: 0,
            panics: VecDeque::new(),
            woke: now,
            slow_timer: now,
            slowest: Duration::ZERO,
            tracing: false,
            counters,
            drained,
            events: parts.events,
            unheard: None,
        })
    }

    fn run(mut self) -> Ended {
        let mut end = self.obey();
        self.backlog.wake();
        while end.is_ok() {
            end = self.turn();
        }
        self.backlog.hand_over();
        self.sockets.flush();
        self.tcp.stop();
        self.backlog.write_last(&self.counters.turns);
        match end {
            Err(Stop::Failed(why)) => Ended::Failed(why),
            Ok(()) | Err(Stop::Asked) => Ended::Stopped,
        }
    }

    fn turn(&mut self) -> Turn {
        self.sleep()?;
        self.counters.turns.turns.one();
        self.hear()?;
        self.receive()?;
        self.handle_messages()?;
        self.meet_deadline()?;
        self.flush();
        self.keep_house()
    }

    // 0. Sleep.

    fn sleep(&mut self) -> Turn {
        let limit = self.limit();
        let fell_asleep = self.clock.now().mono;
        self.counters.turns.busy_us.add(micros(fell_asleep.since(self.woke)));
        let slept = self.sockets.wait(limit);
        self.woke = self.clock.now().mono;
        self.rung |= slept.map_err(|e| Stop::Failed(format!("waiting for the sockets failed: {e}")))?;
        Ok(())
    }

    /// How long to sleep if nothing happens: never longer than until the slow timer.
    fn limit(&mut self) -> Duration {
        if self.rung || self.sockets.are_readable() || !self.own.is_empty() || self.lanes.len() > 0 {
            return Duration::ZERO;
        }
        let now = self.clock.now().mono;
        let slow = (self.slow_timer + Duration::from_secs(1)).since(now);
        let due = self.core.poll_timeout().map_or(slow, |due| due.since(now));
        let again = if self.backlog.is_empty() { slow } else { ASK_AGAIN };
        slow.min(due).min(again)
    }

    // 1. What others say.

    fn hear(&mut self) -> Turn {
        for _ in 0..self.own.len() {
            let Some(input) = self.own.pop_front() else { break };
            self.give(input)?;
        }
        self.backlog.submit(&self.counters.turns).map_err(Stop::Failed)?;
        if !self.rung {
            return Ok(());
        }
        // More than one bound's worth may be there; then the next turn goes on.
        self.rung = false;
        self.hear_errands()?;
        self.hear_stored()?;
        self.hear_resolved()?;
        self.hear_media()?;
        self.hear_streams()
    }

    fn hear_errands(&mut self) -> Turn {
        while let Some(errand) = take(&mut self.inlets.errands) {
            match errand {
                Errand::Command(command, reply) => self.on_command(command, reply)?,
                Errand::Reload(config) => self.give(Input::Reload(config))?,
                Errand::Figures(reply) => {
                    // An error means that nobody waits any more.
                    let _ = reply.send(self.core.counters());
                }
                Errand::Stop => return Err(Stop::Asked),
            }
        }
        Ok(())
    }

    fn on_command(&mut self, command: Command, reply: oneshot::Sender<Answer>) -> Turn {
        if let Command::Trace(on) = command {
            self.tracing = on;
            let _ = reply.send(Answer::Done(1));
            return Ok(());
        }
        self.last_token += 1;
        let token = self.last_token;
        self.answers.insert(token, reply);
        self.give(Input::Command { token, command })
    }

    fn hear_stored(&mut self) -> Turn {
        for _ in 0..TAKEN_PER_TURN {
            let Some((token, reply)) = take(&mut self.inlets.stored) else {
                return Ok(());
            };
            self.give(Input::Stored { token, reply })?;
        }
        self.rung = true;
        Ok(())
    }

    fn hear_resolved(&mut self) -> Turn {
        for _ in 0..TAKEN_PER_TURN {
            let Some(Resolved { token, found }) = take(&mut self.inlets.resolved) else {
                return Ok(());
            };
            self.give(Input::Resolved { token, found })?;
        }
        self.rung = true;
        Ok(())
    }

    fn hear_media(&mut self) -> Turn {
        for _ in 0..TAKEN_PER_TURN {
            let Some(event) = take(&mut self.inlets.media) else {
                return Ok(());
            };
            self.give(Input::Media(event))?;
        }
        self.rung = true;
        Ok(())
    }

    fn hear_streams(&mut self) -> Turn {
        let now = self.clock.now();
        for _ in 0..TAKEN_PER_TURN {
            if !self.lanes.have_room() {
                break;
            }
            match take(&mut self.inlets.streams) {
                None => return Ok(()),
                Some(StreamEvent::Message { flow, bytes }) => {
                    sorting!(self).sort(now, flow, bytes);
                }
                Some(StreamEvent::Closed { flow }) => self.lanes.push_end(now.mono, flow),
                Some(StreamEvent::Opened { flow, token }) => self.give(Input::Opened { flow, token })?,
                Some(StreamEvent::ConnectFailed { token }) => self.give(Input::ConnectFailed { token })?,
            }
        }
        self.rung = true;
        Ok(())
    }

    // 2. Everything off the sockets.

    fn receive(&mut self) -> Turn {
        let mut sorting = sorting!(self);
        self.sockets
            .receive(self.clock, |now, flow, bytes| sorting.sort(now, flow, bytes))
            .map_err(|e| Stop::Failed(format!("receiving failed: {e}")))?;
        self.obey()
    }

    // 3. Messages.

    fn handle_messages(&mut self) -> Turn {
        let mut now = self.clock.now();
        for n in 1..=MESSAGES_PER_TURN {
            let Some(waiting) = self.lanes.pop() else { break };
            self.handle_message(now, waiting)?;
            if n % MESSAGES_PER_LOOK == 0 {
                now = self.clock.now();
            }
            if n % MESSAGES_PER_WAKING == 0 {
                self.backlog.wake();
            }
        }
        self.counters.lanes.waiting.set(self.lanes.len() as u64);
        Ok(())
    }

    fn handle_message(&mut self, now: Now, waiting: Waiting) -> Turn {
        let Waiting { flow, bytes, since } = waiting;
        let Some(bytes) = bytes else {
            return self.give_at(now, Input::Closed { flow });
        };
        if self.tracing {
            trace("received from", &flow, &bytes);
        }
        self.on_delay(now.mono.since(since));
        self.give_at(now, Input::Datagram { flow, bytes })
    }

    fn on_delay(&mut self, delay: Duration) {
        self.core.note_delay(delay);
        self.slowest = self.slowest.max(delay);
        self.counters.lanes.handled.one();
        self.counters.lanes.delay_us.add(micros(delay));
    }

    // 4. Timers.

    fn meet_deadline(&mut self) -> Turn {
        let mut now = self.clock.now();
        let until = now.mono + TIMERS_WITHIN;
        while now.mono < until && self.core.poll_timeout().is_some_and(|due| due <= now.mono) {
            self.counters.turns.timeouts.one();
            self.step(now, |core| core.handle_timeout(now))?;
            now = self.clock.now();
        }
        Ok(())
    }

    // 5. Send.

    fn flush(&mut self) {
        self.backlog.wake();
        self.backlog.hand_over();
        self.sockets.flush();
        self.own
            .extend(self.sockets.take_failed().map(|flow| Input::SendFailed { flow }));
    }

    // Once a second.

    fn keep_house(&mut self) -> Turn {
        if self.woke.since(self.slow_timer) < Duration::from_secs(1) {
            return Ok(());
        }
        self.slow_timer = self.woke;
        self.counters
            .lanes
            .delay_max_us
            .set(micros(std::mem::take(&mut self.slowest)));
        self.sockets.count_kernel_drops();
        self.answers.retain(|_, reply| !reply.is_closed());
        if let Some(occurrence) = self.unheard.take() {
            self.announce(occurrence);
        }
        self.backlog.rest();
        self.backlog.check().map_err(Stop::Failed)
    }

    // The switch.

    fn give(&mut self, input: Input) -> Turn {
        self.give_at(self.clock.now(), input)
    }

    fn give_at(&mut self, now: Now, input: Input) -> Turn {
        self.step(now, |core| core.handle_input(now, input))
    }

    /// One step of the switch and what it wants done. A panic costs what was being worked on and nothing else, unless
    /// the switch cannot put itself in order again.
    fn step(&mut self, now: Now, step: impl FnOnce(&mut C)) -> Turn {
        let core = &mut self.core;
        if catch_unwind(AssertUnwindSafe(|| step(core))).is_err() {
            self.on_panic(now)?;
        }
        self.obey()
    }

    fn on_panic(&mut self, now: Now) -> Turn {
        self.counters.turns.panics.one();
        self.panics.push_back(now.mono);
        self.panics.retain(|at| now.mono.since(*at) < Duration::from_secs(60));
        if self.panics.len() >= MAX_PANICS {
            return Err(Stop::Failed(format!("{MAX_PANICS} panics within a minute")));
        }
        let core = &mut self.core;
        catch_unwind(AssertUnwindSafe(|| {
            core.recover(now);
            core.audit()
        }))
        .map_err(|_| Stop::Failed("a panic while recovering from a panic".into()))?
        .map_err(|why| Stop::Failed(format!("after a panic: {why}")))
    }

    // What it wants done.

    /// The store comes first: who is told that a call is over must find its record, however soon we are killed.
    fn obey(&mut self) -> Turn {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Store { token, op } => self.keep(token, op),
                Output::Media(worker, plan) => self.backlog.plan(worker, plan).map_err(Stop::Failed)?,
                telling => self.telling.push_back(telling),
            }
        }
        while let Some(output) = self.telling.pop_front() {
            self.tell(output);
        }
        Ok(())
    }

    fn tell(&mut self, output: Output) {
        match output {
            Output::Store { .. } | Output::Media(..) => {}
            Output::Transmit { flow, bytes } => self.transmit(flow, bytes),
            Output::Connect {
                token,
                transport,
                local,
                peer,
                name,
            } => self.connect(token, transport, (local, peer), name),
            Output::Resolve { token, question } => self.dns.ask(token, question),
            Output::Close { flow } => self.tcp.close(&flow),
            Output::Expect { flow, within } => self.tcp.expect(&flow, within),
            Output::Notice(Notice::Answer { token, answer }) => self.answer(token, answer),
            Output::Notice(Notice::Event(occurrence)) => self.announce(*occurrence),
            Output::Notice(Notice::Drained) => {
                self.drained.send_replace(true);
            }
            Output::Notice(Notice::Verb(outcome)) => tracing::info!(
                call = %outcome.interaction,
                verb = %outcome.verb,
                status = outcome.status,
                "verb over"
            ),
        }
    }

    fn transmit(&mut self, flow: Flow, bytes: bytes::Bytes) {
        if self.tracing {
            trace("sent to", &flow, &bytes);
        }
        if flow.transport != Transport::Udp || self.sockets.is_batch_due(&flow) {
            self.backlog.hand_over();
        }
        let sent = match flow.transport {
            Transport::Udp => self.sockets.send(&flow, bytes),
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => self.tcp.send(&flow, bytes).is_ok(),
        };
        if !sent {
            self.own.push_back(Input::SendFailed { flow });
        }
    }

    fn connect(
        &mut self,
        token: Token,
        transport: Transport,
        (local, peer): (SocketAddr, SocketAddr),
        name: Option<Arc<str>>,
    ) {
        match transport {
            Transport::Tcp | Transport::Tls => self.tcp.connect(token, transport, local, peer, name),
            Transport::Udp | Transport::Ws | Transport::Wss => {
                self.own.push_back(Input::ConnectFailed { token });
            }
        }
    }

    fn keep(&mut self, token: Option<Token>, op: StoreOp) {
        if let Err((token, why)) = self.backlog.store(token, op, &self.counters.turns) {
            let reply = StoreReply::Failed(why);
            self.own.push_back(Input::Stored { token, reply });
        }
    }

    /// Nobody is waited for: the switch does not stop because somebody watches slowly. What could not be told is tried again
    /// once a second, until something later was told: either way its number shows the gap.
    fn announce(&mut self, occurrence: Occurrence) {
        self.unheard = match self.events.try_send(occurrence) {
            Err(mpsc::error::TrySendError::Full(occurrence)) => Some(occurrence),
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => None,
        };
    }

    fn answer(&mut self, token: Token, answer: Answer) {
        if let Some(reply) = self.answers.remove(&token) {
            self.backlog.hand_over();
            // An error means that nobody waits any more.
            let _ = reply.send(answer);
        }
    }
}

fn take<T>(inlet: &mut Receiver<T>) -> Option<T> {
    inlet.try_recv().ok()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Core for Switch {
    fn admit(&mut self, now: Now, flow: &Flow, class: Class, datagram: &[u8]) -> Admit {
        Switch::admit(self, now, flow, class, datagram)
    }
    fn note_delay(&mut self, waited: Duration) {
        Switch::note_delay(self, waited);
    }
    fn handle_input(&mut self, now: Now, input: Input) {
        Switch::handle_input(self, now, input);
    }
    fn poll_output(&mut self) -> Option<Output> {
        Switch::poll_output(self)
    }
    fn poll_timeout(&mut self) -> Option<Mono> {
        Switch::poll_timeout(self)
    }
    fn handle_timeout(&mut self, now: Now) {
        Switch::handle_timeout(self, now);
    }
    fn recover(&mut self, now: Now) {
        Switch::recover(self, now);
    }
    fn audit(&self) -> Result<(), String> {
        Switch::audit(self)
    }
    fn counters(&self) -> Counters {
        Switch::counters(self)
    }
}
