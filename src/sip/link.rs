//! Two endpoints with a network between them, in virtual time: for the tests of the usages.

use crate::endpoint::{self, Endpoint, Owner};
use crate::event::{self, Notifier, Subscriber};
use crate::invite::{self, Local, Match, Session};
use crate::{Flow, Headers, Message, Method, Name, Output, Reply, Tokens, Transport};
use bytes::Bytes;
use clock::Mono;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// One of the two.
pub(crate) type Side = usize;
pub(crate) const A: Side = 0;
pub(crate) const B: Side = 1;

pub(crate) struct Link {
    pub now: Mono,
    pub users: [User; 2],
    /// What the network does to a message.
    pub network: Network,
    /// Every message that was sent: milliseconds, sender, `METHOD cseq` or `status METHOD cseq`.
    pub log: Vec<(u64, Side, String)>,
    wire: BTreeMap<(Mono, u64), (Side, Bytes)>,
    sent: u64,
}

/// A transaction user that does what tests ask and writes down what it is told.
pub(crate) struct User {
    pub endpoint: Endpoint,
    pub out: VecDeque<Output>,
    pub sessions: BTreeMap<u64, Session>,
    pub notifiers: BTreeMap<u64, Notifier>,
    pub subscribers: BTreeMap<u64, Subscriber>,
    pub told: Vec<(u64, invite::Event)>,
    pub notes: Vec<(u64, event::Event)>,
    /// SUBSCRIBEs from outside of all dialogs, for the test to take.
    pub subscribes: Vec<(Flow, Message)>,
    next_owner: u64,
    /// What it knows of session timers.
    pub expiry: Option<invite::Expiry>,
}

pub(crate) struct Network {
    /// Of a thousand.
    pub loss: u64,
    /// Of a thousand.
    pub duplication: u64,
    /// Milliseconds, shortest and longest: a spread reorders.
    pub delay: (u64, u64),
    /// Says which messages are lost in spite of all.
    pub drop: Filter,
    random: Random,
}

/// Sender and what [`describe`] says; true: it is lost.
pub(crate) type Filter = Box<dyn FnMut(Side, &str) -> bool>;

/// SplitMix64.
#[derive(Clone)]
pub(crate) struct Random(pub u64);

impl Tokens for Random {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.next_u64() % n
    }
}

fn address(side: Side) -> SocketAddr {
    format!("192.0.2.{}:5060", side + 1).parse().unwrap()
}

/// The flow from one side to the other.
pub(crate) fn flow(side: Side) -> Flow {
    Flow {
        transport: Transport::Udp,
        local: address(side),
        peer: address(1 - side),
        connection: 0,
    }
}

pub(crate) fn local(side: Side) -> Local {
    let headers = Headers::new().with(Name::Allow, "INVITE, ACK, CANCEL, BYE, UPDATE, INFO");
    Local {
        contact: format!("<sip:user@{}>", address(side)),
        headers,
        decline: Some(|offer| {
            let content = [b"no ", &*offer.content].concat();
            Some(crate::Body {
                content_type: "text/plain".into(),
                content: content.into(),
            })
        }),
        expiry: None,
        heeds_names: false,
    }
}

impl Link {
    /// Nothing is lost; every message takes 10 ms.
    pub fn new(seed: u64) -> Link {
        let user = |seed| User {
            endpoint: Endpoint::new(endpoint::Config::default(), Box::new(Random(seed))),
            out: VecDeque::new(),
            sessions: BTreeMap::new(),
            notifiers: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            told: Vec::new(),
            notes: Vec::new(),
            subscribes: Vec::new(),
            next_owner: 1,
            expiry: None,
        };
        Link {
            now: Mono(0),
            users: [user(seed ^ 1), user(seed ^ 2)],
            network: Network {
                loss: 0,
                duplication: 0,
                delay: (10, 10),
                drop: Box::new(|_, _| false),
                random: Random(seed),
            },
            log: Vec::new(),
            wire: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Lets time pass up to `ms`: messages arrive and deadlines are met in order.
    pub fn at(&mut self, ms: u64) -> &mut Link {
        let until = Mono(ms * 1_000_000);
        self.settle();
        while let Some(due) = self.next().filter(|due| *due <= until) {
            self.now = due.max(self.now);
            self.deliver();
            for side in [A, B] {
                let user = &mut self.users[side];
                user.endpoint.handle_timeout(self.now, &mut user.out);
            }
            self.settle();
        }
        self.now = until;
        self
    }

    fn next(&self) -> Option<Mono> {
        let arrival = self.wire.keys().next().map(|(at, _)| *at);
        let deadlines = self.users.iter().filter_map(|user| user.endpoint.poll_timeout());
        deadlines.chain(arrival).min()
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (side, bytes) = entry.remove();
            let message = Message::parse(bytes).expect("we write what we can read");
            let user = &mut self.users[side];
            user.endpoint
                .handle_message(self.now, flow(side), message, &mut user.out);
            self.settle();
        }
    }

    /// Works through what both sides want done.
    pub fn settle(&mut self) {
        for side in [A, B] {
            while let Some(output) = self.users[side].out.pop_front() {
                match output {
                    Output::Transmit { flow, bytes } => self.transmit(side, flow, &bytes),
                    other => self.users[side].take(self.now, side, other),
                }
            }
            self.users[side].endpoint.audit().unwrap();
        }
    }

    fn transmit(&mut self, side: Side, flow: Flow, bytes: &Bytes) {
        assert_eq!(flow.peer, address(1 - side), "sent to nobody");
        let what = describe(bytes);
        self.log.push((self.now.millis(), side, what.clone()));
        let network = &mut self.network;
        let lost = (network.drop)(side, &what) || network.random.below(1_000) < network.loss;
        let copies = match network.random.below(1_000) < network.duplication {
            _ if lost => 0,
            true => 2,
            false => 1,
        };
        for _ in 0..copies {
            let (shortest, longest) = network.delay;
            let delay = shortest + network.random.below(longest - shortest + 1);
            self.sent += 1;
            self.wire.insert(
                (Mono(self.now.0 + delay * 1_000_000), self.sent),
                (1 - side, bytes.clone()),
            );
        }
    }

    /// Calls a verb of a session and works through what follows at once.
    pub fn with<R>(
        &mut self,
        side: Side,
        owner: u64,
        verb: impl FnOnce(&mut Session, Mono, &mut Endpoint, &mut VecDeque<Output>) -> R,
    ) -> R {
        let user = &mut self.users[side];
        let session = user.sessions.get_mut(&owner).expect("no such session");
        let result = verb(session, self.now, &mut user.endpoint, &mut user.out);
        self.settle();
        result
    }

    /// What a side was told since last asked, in short.
    pub fn told(&mut self, side: Side) -> Vec<String> {
        self.users[side]
            .told
            .drain(..)
            .map(|(_, event)| short(&event))
            .collect()
    }

    /// Start of each message sent by a side since last asked.
    pub fn sent(&mut self, side: Side) -> Vec<String> {
        let (sent, rest) = std::mem::take(&mut self.log)
            .into_iter()
            .partition(|(_, s, _)| *s == side);
        self.log = rest;
        sent.into_iter().map(|(_, _, what)| what).collect()
    }

    /// When a side sent messages that begin so, in milliseconds.
    pub fn times(&self, side: Side, what: &str) -> Vec<u64> {
        let by = self
            .log
            .iter()
            .filter(|(_, s, text)| *s == side && text.starts_with(what));
        by.map(|(ms, ..)| *ms).collect()
    }

    /// After two transaction lifetimes nothing is left on either side.
    pub fn ends(&mut self) {
        self.at(self.now.millis() + 64_000 + 64_000);
        for user in &self.users {
            assert!(user.sessions.is_empty(), "{:?}", user.sessions);
            assert!(user.endpoint.is_idle(), "{:?}", user.endpoint);
        }
    }
}

impl User {
    pub fn new_owner(&mut self) -> u64 {
        self.next_owner += 1;
        self.next_owner - 1
    }

    fn take(&mut self, now: Mono, side: Side, output: Output) {
        match output {
            Output::Event(event) => self.on_event(now, side, event),
            Output::Session { owner, event } => {
                if matches!(event, invite::Event::Ended { .. }) {
                    self.sessions.remove(&owner.0);
                }
                self.told.push((owner.0, event));
            }
            Output::Subscription { owner, event } => {
                if matches!(event, event::Event::Ended(_)) {
                    self.notifiers.remove(&owner.0);
                    self.subscribers.remove(&owner.0);
                }
                self.notes.push((owner.0, event));
            }
            Output::Connect { .. } | Output::Resolve { .. } | Output::Transmit { .. } => unreachable!("all is UDP"),
        }
    }

    fn on_event(&mut self, now: Mono, side: Side, event: endpoint::Event) {
        match event {
            endpoint::Event::Request {
                flow,
                message,
                dialog: None,
                ..
            } => self.on_request(now, side, flow, message),
            endpoint::Event::Request {
                flow,
                message,
                dialog: Some(owner),
                merged,
            } => {
                if self.matches(owner, flow, &message) == Match::Yes {
                    let dialog = Some(owner);
                    self.pass(
                        now,
                        owner,
                        endpoint::Event::Request {
                            flow,
                            message,
                            dialog,
                            merged,
                        },
                    );
                } else {
                    self.endpoint.reply(flow, &message, &Reply::new(481), &mut self.out);
                }
            }
            other => {
                if let Some(owner) = other.owner() {
                    self.pass(now, owner, other);
                }
            }
        }
    }

    fn matches(&self, owner: Owner, flow: Flow, message: &Message) -> Match {
        let sessions = self.sessions.get(&owner.0).map(|s| s.matches(flow, message));
        let notifiers = self.notifiers.get(&owner.0).map(|n| n.matches(flow, message));
        let subscribers = self.subscribers.get(&owner.0).map(|s| s.matches(flow, message));
        sessions.or(notifiers).or(subscribers).unwrap_or(Match::No)
    }

    fn pass(&mut self, now: Mono, owner: Owner, event: endpoint::Event) {
        let (endpoint, out) = (&mut self.endpoint, &mut self.out);
        if let Some(session) = self.sessions.get_mut(&owner.0) {
            session.handle_event(now, event, endpoint, out);
        } else if let Some(notifier) = self.notifiers.get_mut(&owner.0) {
            notifier.handle_event(now, event, endpoint, out);
        } else if let Some(subscriber) = self.subscribers.get_mut(&owner.0) {
            subscriber.handle_event(now, event, endpoint, out);
        }
    }

    fn on_request(&mut self, now: Mono, side: Side, flow: Flow, message: Message) {
        match message.method() {
            _ if !message.to_tag().is_empty() => {
                self.endpoint.reply(flow, &message, &Reply::new(481), &mut self.out);
            }
            Method::Invite => {
                if let Some(reply) = self.expiry.and_then(|expiry| invite::too_brief(&message, expiry)) {
                    return self.endpoint.reply(flow, &message, &reply, &mut self.out);
                }
                let owner = self.new_owner();
                let local = Local {
                    expiry: self.expiry,
                    ..local(side)
                };
                let (endpoint, out) = (&mut self.endpoint, &mut self.out);
                let session = Session::receive(now, Owner(owner), flow, message, local, endpoint, out);
                self.sessions.insert(owner, session);
            }
            Method::Subscribe => self.subscribes.push((flow, message)),
            _ => self.endpoint.reply(flow, &message, &Reply::new(501), &mut self.out),
        }
    }
}

/// `INVITE 1`, `180 INVITE 1`.
fn describe(bytes: &Bytes) -> String {
    let message = Message::parse(bytes.clone()).expect("we write what we can read");
    let method = String::from_utf8_lossy(message.method_bytes()).into_owned();
    match message.status() {
        0 => format!("{method} {}", message.cseq()),
        status => format!("{status} {method} {}", message.cseq()),
    }
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(message.body_bytes()).into_owned()
}

/// An event in a few words: bodies of these tests are words.
pub(crate) fn short(event: &invite::Event) -> String {
    use invite::Event::*;
    let body = |body: &Option<crate::Body>| {
        body.as_ref()
            .map_or(String::from("-"), |b| String::from_utf8_lossy(&b.content).into_owned())
    };
    match event {
        Progress { fork, message, .. } => format!("progress {} {fork} {}", message.status(), text(message))
            .trim()
            .into(),
        Answered {
            message, wants_answer, ..
        } => format!("answered {} {wants_answer}", text(message)),
        Pracked { body: b } => format!("pracked {}", body(b)),
        Rejected { status, .. } => format!("rejected {status}"),
        Acked { body: b } => format!("acked {}", body(b)),
        Offer { body: b, .. } => format!("offer {}", body(b)),
        Answer {
            body: b, wants_answer, ..
        } => format!("answer {} {wants_answer}", body(b)),
        OfferRefused { status, .. } => format!("refused {status}"),
        OfferWithdrawn => "withdrawn".into(),
        Settled => "settled".into(),
        Request { message, .. } => format!(
            "request {} {}",
            String::from_utf8_lossy(message.method_bytes()),
            text(message)
        ),
        Response { status, .. } => format!("response {status}"),
        Ended { cause, .. } => format!("ended {cause:?}"),
    }
}
