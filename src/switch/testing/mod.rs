//! A switch, phones, a network between them and a store, in virtual time: what tests drive. Nothing here waits; the same seed
//! gives the same run.
//!
//! ```
//! use switch::testing::{World, config};
//! let mut world = World::new(config(), 1);
//! let (kate, jim) = (world.phone("1000"), world.phone("1001"));
//! assert_eq!(world.register(kate), 200);
//! assert_eq!(world.register(jim), 200);
//! let sent = world.message(kate, "1001", "hello");
//! world.run_ms(100);
//! assert_eq!(world.status(kate, sent), Some(200));
//! assert_eq!(world.phones[jim].texts(), ["hello"]);
//! ```

pub mod handset;
pub mod lab;
mod network;
mod phone;
mod script;
pub mod stage;
mod store;
mod studio;
mod tables;

pub use network::{Faults, Network};
pub use phone::{Call, OnInvite, OnMessage, Phone};
pub use script::play;
pub use store::MemoryStore;
pub use studio::{STATS, Studio};
pub use tables::Tables;

use crate::config::{Action, Config, Pattern, Rule, User};
use crate::{Admit, Answer, Command, Input, Notice, Output, Switch, config as settings};
use bytes::Bytes;
use clock::{Mono, Now, Wall};
use model::Aor;
use network::{Dice, Packet};
use sip::digest::{Algorithm, ha1};
use sip::locate::{Found, Question};
use sip::peek::class;
use sip::{Flow, Transport};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// The domain and realm of [`config`].
pub const DOMAIN: &str = "example.com";
/// Where the switch of [`config`] listens, UDP and TCP.
pub const LISTENER: &str = "127.0.0.1:5060";
/// The wall clock when a world begins: 2026-01-01 00:00 UTC.
const BEGINNING: Wall = Wall(1_767_225_600_000);

/// The password of an extension.
#[must_use]
pub fn password(extension: &str) -> String {
    format!("secret-{extension}")
}

/// Users 1000 to 1019, 9196 echo, 9197 tone; all other settings at their defaults.
#[must_use]
pub fn config() -> Config {
    let local: SocketAddr = ([127, 0, 0, 1], 5060).into();
    let listener = |transport| settings::Listener {
        transport,
        local,
        advertised: None,
        digest: Vec::new(),
    };
    let exact = |text: &str, action| Rule::new(Pattern::Exact(text.into()), action);
    let seconds = Duration::from_secs;
    Config {
        domain: DOMAIN.into(),
        aliases: vec!["localhost".into()],
        listeners: vec![listener(Transport::Udp), listener(Transport::Tcp)],
        users: (1000..1020).map(|n| user(&n.to_string())).collect(),
        dialplan: vec![
            exact("9196", Action::Echo),
            exact("9197", Action::Tone(1004)),
            exact("9198", Action::Digits),
            exact("9664", Action::Music(None)),
            Rule::new(Pattern::Digits("3[0-2]XX".into()), Action::Room(None)),
            Rule::new(Pattern::Any, Action::User(None)),
        ],
        trunks: Vec::new(),
        timers: settings::Timers {
            t1: Duration::from_millis(500),
            t2: seconds(4),
            t4: seconds(5),
            session_expires: None,
            min_se: seconds(90),
        },
        registrar: settings::Registrar {
            min_expires: seconds(60),
            max_expires: seconds(3_600),
            default_expires: seconds(3_600),
            max_contacts: 10,
            service_route: Vec::new(),
            beyond: settings::Beyond::Refuse,
            qualify: None,
            silent: settings::Silent::Mark,
        },
        calls: settings::Calls {
            ring_timeout: seconds(60),
            max_calls: 1_000,
            keep_records: None,
            hold: settings::HoldMode::Music,
            end_without_us: true,
            show_supervisors: false,
            originate_auto_answer: false,
        },
        im: settings::Im {
            max_per_user: 500,
            ..settings::Im::default()
        },
        security: settings::Security {
            realm: DOMAIN.into(),
            digest: vec![settings::Algorithm::Md5],
            nonce_ttl: seconds(300),
            max_nonces: 100_000,
            max_failures: 10,
            abuse: settings::Abuse {
                exempt: vec!["127.0.0.0/8".parse().expect("a network")],
                packets_per_second: 2_000,
                new_per_second: 100,
                new_burst: 1_000,
                // Phones in tests take no breath.
                user_per_second: 1_000,
                user_burst: 10_000,
                ban_after: 100,
                ban_for: seconds(600),
                scanners: vec!["friendly-scanner".into(), "sipvicious".into(), "sipcli".into()],
            },
        },
        conferences: settings::conference::Conferences::default(),
        stars: settings::stars::Stars::default(),
        groups: settings::groups::Groups::default(),
        subscriptions: settings::Subscriptions {
            notify_interval: Duration::from_millis(500),
            per_user: 16,
            watch_calls: settings::Audience::Everyone,
            watch_peers: settings::Audience::Everyone,
            watch_presence: settings::Audience::Everyone,
            lamps_show_breaks: true,
        },
        features: settings::Features::default(),
        media: settings::Media {
            local: [127, 0, 0, 1].into(),
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
        limits: settings::Limits {
            max_transactions: 100_000,
            max_bindings: 100_000,
            max_subscriptions: 10_000,
            queue_delay: Duration::from_millis(100),
        },
        product: "Tandem/test".into(),
    }
}

/// A user with [`password`] and the display name `User 1000`.
#[must_use]
pub fn user(extension: &str) -> User {
    let secret = |algorithm| {
        let ha1 = ha1(
            algorithm,
            extension.as_bytes(),
            DOMAIN.as_bytes(),
            password(extension).as_bytes(),
        );
        Some(ha1.as_str().into())
    };
    User {
        aor: Aor::new(extension, DOMAIN),
        name: format!("User {extension}").into(),
        ha1_md5: secret(Algorithm::Md5),
        ha1_sha256: secret(Algorithm::Sha256),
        roles: Vec::new(),
        im: true,
        email: format!("{extension}@{DOMAIN}").into(),
        skills: Vec::new(),
        contacts: Vec::new(),
        ring_timeout: None,
        srtp: Default::default(),
        dial: Default::default(),
    }
}

impl Switch {
    /// The next time it comes to this verb of a call it panics in its midst: `ring`, `answer`, `offer`, `end`.
    pub fn panic_in(&mut self, verb: &'static str) {
        self.calls.panics_in = Some(verb);
        self.core.panics_in = Some(verb);
    }
}

/// A switch and all that is around it.
pub struct World {
    /// The switch under test.
    pub switch: Switch,
    /// The moment.
    pub now: Now,
    /// What lasts over [`World::restart`].
    pub store: MemoryStore,
    /// How packets travel.
    pub network: Network,
    /// In the order they were made: [`World::phone`].
    pub phones: Vec<Phone>,
    /// What came for addresses that are no phone's: [`World::send_raw`].
    pub strangers: Vec<(Mono, SocketAddr, Bytes)>,
    /// The media plane.
    pub studio: Studio,
    /// A panic of the switch is caught and recovered from; otherwise it ends the test.
    pub recovers: bool,
    /// Notices that answer no command of [`World::command`].
    pub notices: Vec<Notice>,
    /// What the DNS knows; to all else it says nothing.
    pub dns: BTreeMap<String, Found>,
    resolved: VecDeque<(u64, Found)>,
    config: Config,
    seed: u64,
    restarts: u64,
    by_address: BTreeMap<SocketAddr, usize>,
    /// When each phone wants to be called, and which ones in order of time.
    due: Vec<Option<Mono>>,
    by_time: BTreeSet<(Mono, usize)>,
    last_token: u64,
    answers: BTreeMap<u64, Answer>,
    last_connection: u64,
    /// Streams that are to be closed if nothing comes for so long.
    pub expected: Vec<(Flow, Duration)>,
    /// What the media engine says.
    events: VecDeque<media::Event>,
}

impl World {
    /// A world with a switch that has been started on an empty store.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> World {
        let now = Now {
            mono: Mono(1_000_000_000),
            wall: BEGINNING,
        };
        let mut world = World {
            switch: Switch::new(config.clone(), seed_bytes(seed, 0), [9; 32], now),
            now,
            store: MemoryStore::default(),
            network: Network::new(Dice::new(seed)),
            phones: Vec::new(),
            strangers: Vec::new(),
            studio: Studio::default(),
            recovers: false,
            notices: Vec::new(),
            dns: BTreeMap::new(),
            resolved: VecDeque::new(),
            config,
            seed,
            restarts: 0,
            by_address: BTreeMap::new(),
            due: Vec::new(),
            by_time: BTreeSet::new(),
            last_token: 0,
            answers: BTreeMap::new(),
            last_connection: 0,
            expected: Vec::new(),
            events: VecDeque::new(),
        };
        world.obey();
        world.run_ms(1);
        world
    }

    /// Adds a UDP phone of this user that is not registered yet; its index in [`World::phones`].
    pub fn phone(&mut self, extension: &str) -> usize {
        self.phone_over(extension, Transport::Udp)
    }

    /// The same over UDP or TCP; a TCP phone's connection is open.
    pub fn phone_over(&mut self, extension: &str, transport: Transport) -> usize {
        let index = self.phones.len();
        let port = u16::try_from(20_000 + index % 10_000).unwrap_or(0);
        let host = 1 + u8::try_from(index / 10_000).unwrap_or(0);
        let address: SocketAddr = ([127, 0, 0, host], port).into();
        let phone = Phone::new(
            extension,
            transport,
            address,
            self.listener(),
            self.seed ^ (index as u64 + 1) << 32,
        );
        self.by_address.insert(address, index);
        self.phones.push(phone);
        self.due.push(None);
        self.connect(index);
        index
    }

    /// Opens the connection of a TCP phone anew.
    pub fn connect(&mut self, phone: usize) {
        if self.phones[phone].transport() == Transport::Tcp {
            self.last_connection += 1;
            self.phones[phone].connection = self.last_connection;
            let flow = self.phones[phone].flow_of_switch();
            self.input(Input::Opened { flow, token: None });
        }
    }

    /// Breaks the connection of a TCP phone.
    pub fn disconnect(&mut self, phone: usize) {
        let flow = self.phones[phone].flow_of_switch();
        self.phones[phone].connection = 0;
        self.input(Input::Closed { flow });
    }

    fn listener(&self) -> SocketAddr {
        self.config.listeners[0].local
    }

    // Time.

    /// Lets this time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(at) = self.next_event().filter(|at| *at <= end) {
            self.step(at);
        }
        self.pass(end);
    }

    /// Lets so many milliseconds pass.
    pub fn run_ms(&mut self, time_ms: u64) {
        self.run(Duration::from_millis(time_ms));
    }

    /// Lets time pass until something holds, `limit` at most; whether it does.
    pub fn run_until(&mut self, limit: Duration, holds: impl Fn(&World) -> bool) -> bool {
        let end = self.now.mono + limit;
        while !holds(self) {
            match self.next_event().filter(|at| *at <= end) {
                Some(at) => self.step(at),
                None => {
                    self.pass(end);
                    return holds(self);
                }
            }
        }
        true
    }

    /// Sets the wall clock ahead without time passing.
    pub fn jump_wall(&mut self, by: Duration) {
        self.now.wall = self.now.wall + by;
    }

    fn next_event(&mut self) -> Option<Mono> {
        let switch = self.switch.poll_timeout();
        let phones = self.by_time.first().map(|(at, _)| *at);
        [self.network.next(), self.store.next(), switch, phones]
            .into_iter()
            .flatten()
            .min()
    }

    fn pass(&mut self, to: Mono) {
        let time = to.since(self.now.mono);
        self.now.wall = self.now.wall + time;
        self.now.mono = self.now.mono.max(to);
    }

    /// Everything that is due at `at`.
    fn step(&mut self, at: Mono) {
        self.pass(at);
        while let Some(packet) = self.network.pop(self.now.mono) {
            self.arrive(packet);
        }
        while let Some((token, reply)) = self.store.pop(self.now) {
            self.input(Input::Stored { token, reply });
        }
        if self.switch.poll_timeout().is_some_and(|due| due <= self.now.mono) {
            self.drive(|switch, now| switch.handle_timeout(now));
        }
        while let Some(&(_, index)) = self.by_time.first().filter(|(due, _)| *due <= self.now.mono) {
            self.phones[index].handle_timeout(self.now);
            self.collect(index);
        }
    }

    fn arrive(&mut self, packet: Packet) {
        if packet.flow.local == self.listener() {
            return self.receive(packet.flow, packet.bytes);
        }
        match self.by_address.get(&packet.flow.local) {
            Some(&index) => {
                self.phones[index].handle_bytes(self.now, packet.bytes);
                self.collect(index);
            }
            None => self.strangers.push((self.now.mono, packet.flow.local, packet.bytes)),
        }
    }

    // The switch.

    /// A packet comes to the switch, which may not want it.
    pub fn receive(&mut self, flow: Flow, bytes: Bytes) {
        match self.switch.admit(self.now, &flow, class(&bytes), &bytes) {
            Admit::Drop => {}
            Admit::Refuse => self.input(Input::Unheard { flow, bytes }),
            _ => self.input(Input::Datagram { flow, bytes }),
        }
    }

    /// Gives the switch an input and obeys its outputs.
    pub fn input(&mut self, input: Input) {
        self.drive(|switch, now| switch.handle_input(now, input));
    }

    /// A step of the switch. If it panics it recovers, as in a node, where the test has said that it would.
    pub(crate) fn drive(&mut self, step: impl FnOnce(&mut Switch, Now)) {
        let (switch, now) = (&mut self.switch, self.now);
        match catch_unwind(AssertUnwindSafe(|| step(switch, now))) {
            Err(_) if self.recovers => switch.recover(now),
            Err(panic) => resume_unwind(panic),
            Ok(()) => {}
        }
        self.obey();
    }

    fn obey(&mut self) {
        while let Some(output) = self.switch.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => self.network.send(self.now.mono, turned(flow), bytes),
                Output::Store { token, op } => self.store.push(self.now, token, op),
                Output::Media(worker, plan) => self.events.extend(self.studio.obey(worker, plan)),
                Output::Connect {
                    token,
                    transport,
                    local,
                    peer,
                    ..
                } => self.open(token, transport, local, peer),
                Output::Resolve { token, question } => {
                    self.resolved.push_back((token, self.found(&question)));
                }
                Output::Expect { flow, within } => self.expected.push((flow, within)),
                Output::Close { .. } => {}
                Output::Notice(Notice::Answer { token, answer }) if token <= self.last_token => {
                    self.answers.insert(token, answer);
                }
                Output::Notice(notice) => self.notices.push(notice),
            }
        }
        if let Some(event) = self.events.pop_front() {
            self.input(Input::Media(event));
        }
        if let Some((token, found)) = self.resolved.pop_front() {
            self.input(Input::Resolved { token, found });
        }
    }

    fn found(&self, question: &Question) -> Found {
        let (name, nothing) = match question {
            Question::Naptr(name) => (name, Found::Naptr(Vec::new())),
            Question::Srv(name) => (name, Found::Srv(Vec::new())),
            Question::Address(name) => (name, Found::Address(Vec::new())),
        };
        self.dns.get(&**name).cloned().unwrap_or(nothing)
    }

    /// Nobody but phones can be called; a TCP phone takes a connection.
    fn open(&mut self, token: u64, transport: Transport, local: SocketAddr, peer: SocketAddr) {
        let phone = self.by_address.get(&peer).copied();
        match phone.filter(|index| self.phones[*index].transport() == transport) {
            Some(index) => {
                self.last_connection += 1;
                self.phones[index].connection = self.last_connection;
                let flow = Flow {
                    transport,
                    local,
                    peer,
                    connection: self.last_connection,
                };
                self.input(Input::Opened {
                    flow,
                    token: Some(token),
                });
            }
            None => self.input(Input::ConnectFailed { token }),
        }
    }

    /// Kills the switch and starts another one on the same store. What it had not said is lost, what was on its way to
    /// the store is not.
    pub fn restart(&mut self) {
        self.restarts += 1;
        self.store.forget_questions();
        self.studio = Studio::default();
        self.events.clear();
        self.studio = Studio::default();
        self.switch = Switch::new(
            self.config.clone(),
            seed_bytes(self.seed, self.restarts),
            [9; 32],
            self.now,
        );
        self.obey();
        // A store that fails is waited for.
        self.run_ms(if self.store.failing.is_some() { 2_001 } else { 1 });
    }

    /// Puts a new configuration in force.
    pub fn reload(&mut self, config: Config) {
        self.config = config.clone();
        self.input(Input::Reload(Box::new(config)));
    }

    /// Carries out a command.
    ///
    /// # Panics
    /// If it is not answered at once.
    pub fn command(&mut self, command: Command) -> Answer {
        self.last_token += 1;
        let token = self.last_token;
        self.input(Input::Command { token, command });
        self.answers.remove(&token).expect("a command is answered at once")
    }

    /// Carries out a command whose answer may take the store's time.
    ///
    /// # Panics
    /// If it is not answered within ten seconds.
    pub fn ask(&mut self, command: Command) -> Answer {
        self.last_token += 1;
        let token = self.last_token;
        self.input(Input::Command { token, command });
        self.run_until(Duration::from_secs(10), |world| world.answers.contains_key(&token));
        self.answers.remove(&token).expect("a command is answered")
    }

    // Phones.

    /// Sends bytes from an address that is no phone's, over UDP; answers come in [`World::strangers`].
    pub fn send_raw(&mut self, from: SocketAddr, bytes: impl Into<Bytes>) {
        let flow = Flow {
            transport: Transport::Udp,
            local: self.listener(),
            peer: from,
            connection: 0,
        };
        self.receive(flow, bytes.into());
        self.run_ms(50);
    }

    /// Registers a phone for an hour and waits for the end of it: the final status, or 408.
    pub fn register(&mut self, phone: usize) -> u16 {
        self.register_for(phone, 3_600)
    }

    /// The same for so many seconds; 0 unregisters.
    pub fn register_for(&mut self, phone: usize, expires_s: u32) -> u16 {
        let now = self.now;
        let number = self.phones[phone].register(now, expires_s);
        self.finish(phone, number)
    }

    /// Sends a text; the number for [`World::status`].
    pub fn message(&mut self, phone: usize, to: &str, text: &str) -> u64 {
        let now = self.now;
        let number = self.phones[phone].message(now, to, "text/plain", text.as_bytes());
        self.collect(phone);
        number
    }

    /// Calls an extension; the index in [`Phone::calls`].
    pub fn call(&mut self, phone: usize, to: &str) -> usize {
        let call = self.phones[phone].call(self.now, to);
        self.collect(phone);
        call
    }

    /// The same to any URI.
    pub fn call_uri(&mut self, phone: usize, uri: &str) -> usize {
        let call = self.phones[phone].call_uri(self.now, uri.to_owned());
        self.collect(phone);
        call
    }

    /// Hangs up, or gives up.
    pub fn hang_up(&mut self, phone: usize, call: usize) {
        self.phones[phone].hang_up(self.now, call);
        self.collect(phone);
    }

    /// Final status of a request; `None` while there is none.
    #[must_use]
    pub fn status(&self, phone: usize, number: u64) -> Option<u16> {
        self.phones[phone].status(number)
    }

    /// Waits for the final status of a request.
    pub fn finish(&mut self, phone: usize, number: u64) -> u16 {
        self.collect(phone);
        self.run_until(Duration::from_secs(40), |world| world.status(phone, number).is_some());
        self.status(phone, number).unwrap_or(408)
    }

    /// Does something with a phone and sends what it says.
    pub fn with<T>(&mut self, phone: usize, act: impl FnOnce(&mut Phone, Now) -> T) -> T {
        let result = act(&mut self.phones[phone], self.now);
        self.collect(phone);
        result
    }

    /// Puts on the wire what a phone has to say.
    fn collect(&mut self, phone: usize) {
        while let Some((flow, bytes)) = self.phones[phone].poll_transmit() {
            let is_connected = flow.transport == Transport::Udp || self.phones[phone].connection != 0;
            if is_connected {
                self.network.send(self.now.mono, turned(flow), bytes);
            }
        }
        self.note_due(phone);
    }

    fn note_due(&mut self, phone: usize) {
        let due = self.phones[phone].poll_timeout();
        if let Some(before) = std::mem::replace(&mut self.due[phone], due) {
            self.by_time.remove(&(before, phone));
        }
        self.by_time.extend(due.map(|due| (due, phone)));
    }
}

/// The same way, seen from its other end.
fn turned(flow: Flow) -> Flow {
    Flow {
        local: flow.peer,
        peer: flow.local,
        ..flow
    }
}

fn seed_bytes(seed: u64, restarts: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&restarts.to_le_bytes());
    bytes
}
