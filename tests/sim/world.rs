//! Phones, a network, a store, a media plane and the switch on one virtual clock. What happens next is the earliest of
//! what is due; equal seeds give equal worlds.

use crate::ledger::Ledger;
use crate::media::{Effect, MediaPlane};
use crate::network::Network;
use crate::phone::{CallPlan, Cx, DOMAIN, Do, Phone, Settings, Timer, password};
use crate::random::Random;
use crate::store::Store;
use bytes::Bytes;
use clock::{Mono, Now, Wall};
use sip::{Flow, Transport};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;
use switch::{Config, Input, Notice, Output, Switch};

/// The switch's one listener.
fn listener() -> SocketAddr {
    ([10, 9, 9, 9], 5060).into()
}

/// Steps without time passing: more is a circle.
const MAX_STEPS_AT_ONCE: u32 = 20_000;
/// Outputs of one step: a REGISTER at which hundreds of stored messages wait is the most there is.
const MAX_OUTPUTS: usize = 4_000;
/// Steps between two audits.
const AUDIT_EVERY: u64 = 64;

/// Everything there is.
pub struct World {
    pub now: Mono,
    pub phones: Vec<Phone>,
    pub ledger: Ledger,
    pub store: Store,
    pub media: MediaPlane,
    pub random: Random,
    pub network: Network,
    pub settings: Settings,
    /// How far the clock on the wall is ahead of where it should be, in milliseconds.
    pub wall_ahead: i64,
    pub users: usize,
    config: Config,
    node: Option<Node>,
    generation: u32,
    queue: BinaryHeap<Reverse<Entry>>,
    serial: u64,
    at: HashMap<SocketAddr, usize>,
    lines: u16,
    steps: u64,
    steps_at_once: u32,
    /// Times the switch was woken by its own deadline.
    pub wakes: u64,
    /// Highest value seen of each gauge.
    pub peaks: BTreeMap<&'static str, u64>,
}

/// A switch that runs, and when it began: its monotonic clock starts there.
struct Node {
    switch: Switch,
    began: Mono,
}

/// Something that happens at its time.
struct Entry {
    at: Mono,
    serial: u64,
    what: What,
}

enum What {
    ToSwitch(SocketAddr, Bytes),
    ToPhone(SocketAddr, Bytes),
    Phone(usize, u32, Timer),
    Commit(u32),
    Media(u32, media::Event),
    Listen(u32, media::LegId, u32),
    Boot,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

impl World {
    /// A world in which nobody is registered yet. The first `phones` users have one phone each, further phones are second
    /// ones.
    pub fn new(seed: u64, users: usize, phones: usize, network: Network, settings: Settings) -> World {
        let copies = settings.copies;
        let mut world = World {
            now: Mono(0),
            phones: Vec::new(),
            ledger: Ledger::default(),
            store: Store::default(),
            media: MediaPlane::default(),
            random: Random::new(seed),
            network,
            settings,
            wall_ahead: 0,
            users,
            config: config(users, copies),
            node: None,
            generation: 0,
            queue: BinaryHeap::new(),
            serial: 0,
            at: HashMap::new(),
            lines: 0,
            steps: 0,
            steps_at_once: 0,
            wakes: 0,
            peaks: BTreeMap::new(),
        };
        for index in 0..phones {
            let address = world.new_address(index);
            world.phones.push(Phone::new(index, index % users, address));
        }
        world.ledger.to_each = copies == switch::config::Copies::Device;
        world.boot();
        world
    }

    // Time.

    /// Lets time pass up to `end`.
    pub fn run_until(&mut self, end: Mono) {
        while let Some(at) = self.next_at().filter(|at| *at <= end) {
            self.advance(at);
            match self.queue.peek() {
                Some(Reverse(entry)) if entry.at <= self.now => {
                    if let Some(Reverse(entry)) = self.queue.pop() {
                        self.happen(entry.what);
                    }
                }
                _ => self.wake(),
            }
        }
        self.now = self.now.max(end);
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    fn next_at(&mut self) -> Option<Mono> {
        let queued = self.queue.peek().map(|Reverse(entry)| entry.at);
        [queued, self.deadline()].into_iter().flatten().min()
    }

    fn advance(&mut self, at: Mono) {
        if at > self.now {
            self.now = at;
            self.steps_at_once = 0;
        }
        self.steps_at_once += 1;
        if self.steps_at_once > MAX_STEPS_AT_ONCE {
            self.violated("", "time does not pass: the switch is woken again and again");
        }
    }

    fn deadline(&mut self) -> Option<Mono> {
        let node = self.node.as_mut()?;
        let deadline = node.switch.poll_timeout()?;
        Some(Mono(node.began.0 + deadline.0))
    }

    fn wake(&mut self) {
        self.wakes += 1;
        self.step(|switch, now| switch.handle_timeout(now));
    }

    fn at(&mut self, after: Duration, what: What) {
        self.serial += 1;
        let at = self.now + after;
        let serial = self.serial;
        self.queue.push(Reverse(Entry { at, serial, what }));
    }

    fn happen(&mut self, what: What) {
        match what {
            What::ToSwitch(peer, bytes) => {
                if self.node.is_some() {
                    self.ledger.on_heard(self.now, &bytes);
                    let flow = flow(peer);
                    self.input(Input::Datagram { flow, bytes });
                }
            }
            What::ToPhone(address, bytes) => {
                if let Some(&index) = self.at.get(&address) {
                    self.with_phone(index, |phone, cx| phone.handle(cx, &bytes));
                }
            }
            What::Phone(index, life, timer) => {
                if self.phones[index].life == life && self.phones[index].online {
                    self.with_phone(index, |phone, cx| phone.on_timer(cx, timer));
                }
            }
            What::Commit(generation) if generation == self.generation => self.commit(),
            What::Media(generation, event) if generation == self.generation => self.input(Input::Media(event)),
            What::Listen(generation, leg, version) if generation == self.generation => self.listen(leg, version),
            What::Commit(_) | What::Media(..) | What::Listen(..) => {}
            What::Boot => self.boot(),
        }
    }

    // The switch.

    /// A new switch, with what the store has.
    fn boot(&mut self) {
        let seed = self.random.seed();
        let began = self.now;
        let now = Now {
            mono: Mono(0),
            wall: self.wall(),
        };
        let switch = Switch::new(self.config.clone(), seed, [7; 32], now);
        self.generation += 1;
        self.node = Some(Node { switch, began });
        if self.generation > 1 {
            self.disturb();
        }
        self.step(|_, _| {});
        self.watch();
    }

    /// Whether there is a switch.
    pub fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// A command; what it is answered goes to [`crate::talk::Talk`].
    pub fn command(&mut self, token: switch::Token, command: switch::Command) {
        self.input(Input::Command { token, command });
    }

    /// kill -9, and a new one after `down`.
    pub fn crash(&mut self, down: Duration) {
        self.node = None;
        // Whatever was on its way from the old one means nothing to the new one.
        self.generation += 1;
        self.store.crash(&mut self.random);
        // Nobody may have been told that these were said, and they were.
        self.store.said().for_each(|text| self.ledger.on_said(text));
        self.media = MediaPlane::default();
        self.ledger.forget_confirmations(self.now);
        self.ledger.talk.on_crash(self.now);
        self.ledger.count("crashes");
        self.disturb();
        self.at(down, What::Boot);
    }

    fn disturb(&mut self) {
        let recorded: HashSet<&str> = self.store.cdrs().map(|cdr| &*cdr.call_id).collect();
        self.ledger.on_disturbance(self.now, &recorded);
    }

    fn wall(&self) -> Wall {
        let passed = i64::try_from(self.now.millis()).unwrap_or(i64::MAX);
        Wall(1_790_000_000_000 + passed + self.wall_ahead)
    }

    pub fn input(&mut self, input: Input) {
        self.step(|switch, now| switch.handle_input(now, input));
    }

    /// One step of the switch, and all that it wants done.
    fn step(&mut self, act: impl FnOnce(&mut Switch, Now)) {
        let wall = self.wall();
        let Some(node) = &mut self.node else { return };
        let mono = Mono(self.now.0 - node.began.0);
        act(&mut node.switch, Now { mono, wall });
        let mut outputs = Vec::new();
        while let Some(output) = node.switch.poll_output() {
            outputs.push(output);
        }
        if outputs.len() > MAX_OUTPUTS {
            let what = format!("{} outputs of one step", outputs.len());
            self.violated("", &what);
        }
        for output in outputs {
            self.carry_out(output);
        }
        self.steps += 1;
        if self.steps.is_multiple_of(AUDIT_EVERY) {
            self.audit();
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Transmit { flow, bytes } => {
                let store = &self.store;
                self.ledger
                    .on_sent(self.now, flow.peer, &bytes, |call_id| store.has_kept(call_id));
                for delay in self.network.carry(&mut self.random) {
                    self.at(delay, What::ToPhone(flow.peer, bytes.clone()));
                }
            }
            Output::Media(worker, plan) => match self.media.obey(worker, plan) {
                Ok(effect) => self.effect(effect),
                Err(why) => self.violated("", &format!("a plan that cannot be carried out: {why}")),
            },
            Output::Store { token, op } => {
                if let model::StoreOp::DeleteMessage(id) = &op
                    && let Some(letter) = self.store.text_of(*id)
                {
                    self.ledger.on_gone(letter);
                }
                if self.store.ask(token, op) {
                    let after = self.random.millis(1, 30);
                    self.at(after, What::Commit(self.generation));
                }
            }
            Output::Connect { token, .. } => self.input(Input::ConnectFailed { token }),
            Output::Resolve { .. } => self.violated("", "a name is asked for, and no phone has one"),
            Output::Close { .. } | Output::Expect { .. } => {}
            Output::Notice(Notice::Answer { token, answer }) => {
                let told = self.ledger.talk.on_answer(token, answer);
                self.expect_talk(told);
            }
            Output::Notice(Notice::Event(occurrence)) => {
                if let model::Event::ImMessage { message, .. } = &occurrence.event {
                    if !self.store.has_said(&message.text) {
                        self.violated(&message.text, "what is not on disk is told");
                    }
                    self.ledger.on_said(&message.text);
                }
                let told = self.ledger.talk.on_event(occurrence.event);
                self.expect_talk(told);
            }
            Output::Notice(Notice::Drained | Notice::Verb(_)) => {}
        }
    }

    fn expect_talk(&self, told: Result<(), String>) {
        if let Err(why) = told {
            self.violated("", &why);
        }
    }

    fn commit(&mut self) {
        let replies = self.store.commit(&mut self.random);
        if let Some(fault) = self.store.take_fault() {
            self.violated("", &fault);
        }
        for (token, reply) in replies {
            self.input(Input::Stored { token, reply });
        }
    }

    fn effect(&mut self, effect: Option<Effect>) {
        match effect {
            Some(Effect::Say(event)) => {
                let after = self.random.millis(1, 25);
                self.at(after, What::Media(self.generation, event));
            }
            Some(Effect::Listen(after, leg, version)) => self.at(after, What::Listen(self.generation, leg, version)),
            None => {}
        }
    }

    fn listen(&mut self, leg: media::LegId, version: u32) {
        let phones = &self.phones;
        let sends = |address: SocketAddr| {
            let its = |phone: &&Phone| phone.address.ip() == address.ip();
            phones
                .iter()
                .find(its)
                .is_some_and(|phone| phone.sends_from(address.port()))
        };
        let effect = self.media.listened(leg, version, sends);
        if matches!(&effect, Some(Effect::Say(_))) {
            self.ledger.count("media timeouts");
        }
        self.effect(effect);
    }

    /// The invariants of the switch, and its gauges.
    pub fn audit(&mut self) {
        let Some(node) = &self.node else { return };
        if let Err(why) = node.switch.audit() {
            self.violated("", &format!("audit: {why}"));
        }
        for (name, value, is_gauge) in node.switch.counters().values {
            if is_gauge {
                let peak = self.peaks.entry(name).or_default();
                *peak = value.max(*peak);
            }
        }
    }

    /// A figure of the switch.
    pub fn figure(&self, name: &str) -> u64 {
        let Some(node) = &self.node else { return 0 };
        let values = node.switch.counters().values;
        match values.iter().find(|(n, _, _)| *n == name) {
            Some((_, value, _)) => *value,
            None => self.violated("", &format!("the switch has no figure {name}")),
        }
    }

    pub fn violated(&self, about: &str, what: &str) -> ! {
        self.ledger.violated(self.now, about, what)
    }

    // The phones.

    /// Lets a phone do something, and carries out what it wants.
    pub fn with_phone(&mut self, index: usize, act: impl FnOnce(&mut Phone, &mut Cx<'_>)) {
        let mut cx = Cx {
            now: self.now,
            random: &mut self.random,
            ledger: &mut self.ledger,
            settings: &self.settings,
            out: Vec::new(),
        };
        act(&mut self.phones[index], &mut cx);
        let out = cx.out;
        let (address, life) = (self.phones[index].address, self.phones[index].life);
        for want in out {
            match want {
                Do::Send(bytes) => self.send(address, bytes),
                Do::After(after, timer) => self.at(after, What::Phone(index, life, timer)),
            }
        }
    }

    fn send(&mut self, from: SocketAddr, bytes: Bytes) {
        self.ledger.saw(self.now, true, from, &bytes);
        for delay in self.network.carry(&mut self.random) {
            self.at(delay, What::ToSwitch(from, bytes.clone()));
        }
    }

    /// A phone comes (back), from a port where nobody was before.
    pub fn appear(&mut self, index: usize) {
        let address = self.new_address(index);
        self.at.insert(address, index);
        self.with_phone(index, |phone, cx| phone.return_at(cx, address));
    }

    /// A phone is gone without a word.
    pub fn vanish(&mut self, index: usize) {
        self.at.remove(&self.phones[index].address);
        self.phones[index].vanish();
        self.ledger.count("vanished");
    }

    pub fn call(&mut self, index: usize, plan: CallPlan) {
        self.with_phone(index, |phone, cx| phone.call(cx, plan));
    }

    fn new_address(&mut self, index: usize) -> SocketAddr {
        self.lines = self.lines.wrapping_add(1) % 50_000;
        let [high, low] = u16::try_from(index).unwrap_or(0).to_be_bytes();
        ([10, 1, high, low], 6_000 + self.lines).into()
    }
}

/// Datagrams between the listener and a phone.
fn flow(peer: SocketAddr) -> Flow {
    Flow {
        transport: Transport::Udp,
        local: listener(),
        peer,
        connection: 0,
    }
}

/// Users 1000 and up, 9196 echo, 9197 tone, 9000 refused.
fn config(users: usize, copies: switch::config::Copies) -> Config {
    use switch::config::{self, Action, Algorithm, Pattern, Rule, User};
    let seconds = Duration::from_secs;
    let user = |index: usize| {
        let name = (1000 + index).to_string();
        let secret = password(index);
        let ha1 = |algorithm| {
            let ha1 = sip::digest::ha1(algorithm, name.as_bytes(), DOMAIN.as_bytes(), secret.as_bytes());
            Some(ha1.as_str().into())
        };
        User {
            aor: model::Aor::new(&name, DOMAIN),
            name: format!("User {index}").into(),
            ha1_md5: ha1(sip::digest::Algorithm::Md5),
            ha1_sha256: ha1(sip::digest::Algorithm::Sha256),
            roles: Vec::new(),
            im: true,
            email: "".into(),
            skills: Vec::new(),
            contacts: Vec::new(),
            ring_timeout: None,
            srtp: Default::default(),
            dial: Default::default(),
        }
    };
    let exact = |text: &str, action| Rule::new(Pattern::Exact(text.into()), action);
    let digits = |text: &str, action| Rule::new(Pattern::Digits(text.into()), action);
    Config {
        domain: DOMAIN.into(),
        aliases: Vec::new(),
        listeners: vec![config::Listener {
            transport: Transport::Udp,
            local: listener(),
            advertised: None,
            digest: Vec::new(),
        }],
        users: (0..users).map(user).collect(),
        dialplan: vec![
            exact("9196", Action::Echo),
            exact("9197", Action::Tone(1004)),
            exact("9000", Action::Reject(403)),
            digits("1XXX", Action::User(None)),
        ],
        trunks: Vec::new(),
        timers: config::Timers {
            t1: Duration::from_millis(500),
            t2: seconds(4),
            t4: seconds(5),
            session_expires: Some(seconds(1_800)),
            min_se: seconds(90),
        },
        registrar: config::Registrar {
            min_expires: seconds(60),
            max_expires: seconds(3_600),
            default_expires: seconds(3_600),
            max_contacts: 10,
            service_route: Vec::new(),
            beyond: config::Beyond::Refuse,
            qualify: None,
            silent: config::Silent::Mark,
        },
        features: config::Features::default(),
        calls: config::Calls {
            ring_timeout: RING_TIMEOUT,
            max_calls: 1_000,
            keep_records: None,
            hold: config::HoldMode::Music,
            end_without_us: true,
            show_supervisors: false,
            originate_auto_answer: false,
        },
        im: config::Im {
            keep_records: None,
            copies,
            ..config::Im::default()
        },
        security: config::Security {
            realm: DOMAIN.into(),
            digest: vec![Algorithm::Md5],
            nonce_ttl: seconds(300),
            max_nonces: 10_000,
            max_failures: 10,
            abuse: config::Abuse {
                // The phones of a simulation share few addresses.
                exempt: vec!["0.0.0.0/0".parse().expect("a network")],
                packets_per_second: 1,
                new_per_second: 1,
                new_burst: 1,
                user_per_second: 1,
                user_burst: 1,
                ban_after: 1,
                ban_for: seconds(1),
                scanners: Vec::new(),
            },
        },
        conferences: config::conference::Conferences::default(),
        stars: config::stars::Stars::default(),
        groups: config::groups::Groups::default(),
        subscriptions: config::Subscriptions {
            notify_interval: Duration::from_millis(500),
            per_user: 16,
            watch_calls: config::Audience::Everyone,
            watch_peers: config::Audience::Everyone,
            watch_presence: config::Audience::Everyone,
            lamps_show_breaks: true,
        },
        media: config::Media {
            local: listener().ip(),
            advertised: None,
            second: None,
            timeout: seconds(60),
            port_rest: seconds(2),
            ports_ahead: 256,
            workers: 1,
            sdes_over_clear: false,
            inband_dtmf: false,
            tones: media::tone::Country::default(),
        },
        limits: config::Limits {
            max_transactions: 20_000,
            max_bindings: 2_000,
            max_subscriptions: 1_000,
            queue_delay: seconds(1),
        },
        product: "Tandem/simulated".into(),
    }
}

/// Ringing longer than this is no answer.
pub const RING_TIMEOUT: Duration = Duration::from_secs(20);
