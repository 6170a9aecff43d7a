//! A switch in virtual time under a test's hands: what the shell is to a switch in a node, [`Lab`] is here. The network is
//! perfect and takes no time; nothing happens unless a test makes it happen, message by message.

use crate::config::{Action, Config, Pattern, Rule};
use crate::testing::{self, LISTENER, Studio};
use crate::{Answer, Command, Input, Notice, Output, Switch, Token};
use bytes::Bytes;
use clock::{Mono, Now, Wall};
use model::{Cdr, EndReason, MessageId, StoreOp, StoreReply};
use sip::locate::{Found, Question};
use sip::{Flow, Message};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// A switch, its clocks, its store and media workers, and the wires to the phones.
pub struct Lab {
    /// What is tested.
    pub switch: Switch,
    /// The moment.
    pub now: Now,
    /// The media plane.
    pub studio: Studio,
    /// Call records written, in order.
    pub records: Vec<Cdr>,
    /// What is kept of legs that are up.
    pub open: BTreeMap<model::LegId, Cdr>,
    /// What is kept of legs that are over and have no record yet.
    pub left: BTreeMap<model::LegId, Cdr>,
    /// Rows of recordings written, in order.
    pub recordings: Vec<model::RecordingRow>,
    /// All other store operations, in order.
    pub stored: Vec<StoreOp>,
    /// What the switch told the world, answers to commands excepted.
    pub notices: Vec<Notice>,
    /// Every datagram the switch sent, with the moment: for retransmission timelines.
    pub sent: Vec<(Mono, SocketAddr, Message)>,
    /// What the DNS knows; for all else it says that there is nothing.
    pub dns: Vec<(Question, Found)>,
    /// It is asked, and never answers.
    pub dns_is_dead: bool,
    /// A panic is what the test wants.
    pub recovers: bool,
    inboxes: BTreeMap<SocketAddr, VecDeque<Message>>,
    answers: BTreeMap<Token, Answer>,
    last_token: Token,
}

/// The switch's own address.
pub const SWITCH: &str = LISTENER;

/// The usual test switch with some more rules: a group at 2000 to 2099, and nobody at 900.
#[must_use]
pub fn config() -> Config {
    let mut config = testing::config();
    let more = [
        Rule::new(Pattern::Digits("20XX".into()), Action::Group(None)),
        Rule::new(Pattern::Prefix("900".into()), Action::Reject(603)),
    ];
    config.dialplan.splice(0..0, more);
    config
}

impl Lab {
    /// A switch with [`config()`] and an empty store.
    #[must_use]
    pub fn new() -> Lab {
        Lab::with(config())
    }

    /// A switch with this configuration and an empty store.
    #[must_use]
    pub fn with(config: Config) -> Lab {
        let now = Now {
            mono: Mono(1_000_000_000),
            wall: Wall(1_800_000_000_000),
        };
        let mut lab = Lab {
            switch: Switch::new(config, [7; 32], [9; 32], now),
            now,
            studio: Studio::default(),
            records: vec![],
            open: BTreeMap::new(),
            left: BTreeMap::new(),
            recordings: vec![],
            stored: vec![],
            notices: vec![],
            sent: vec![],
            dns: vec![],
            dns_is_dead: false,
            recovers: false,
            inboxes: BTreeMap::new(),
            answers: BTreeMap::new(),
            last_token: 0,
        };
        lab.settle();
        lab
    }

    // What happens.

    /// A datagram reaches the switch.
    pub fn deliver(&mut self, flow: Flow, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        self.input(Input::Datagram { flow, bytes });
    }

    /// Anything reaches the switch. If it panics it recovers, as in a node, where the test has said that it would.
    pub fn input(&mut self, input: Input) {
        let (switch, now) = (&mut self.switch, self.now);
        match catch_unwind(AssertUnwindSafe(|| switch.handle_input(now, input))) {
            Err(_) if self.recovers => switch.recover(now),
            Err(panic) => resume_unwind(panic),
            Ok(()) => {}
        }
        self.settle();
    }

    /// Asks as an operator would.
    pub fn ask(&mut self, command: Command) -> Answer {
        self.last_token += 1;
        let token = self.last_token;
        self.input(Input::Command { token, command });
        self.answers.remove(&token).expect("every command is answered at once")
    }

    /// Time passes; what is due meanwhile happens in order.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now.mono + duration;
        loop {
            match self.switch.poll_timeout() {
                Some(due) if due <= end => {
                    self.set(due.max(self.now.mono));
                    self.switch.handle_timeout(self.now);
                    self.settle();
                }
                _ => return self.set(end),
            }
        }
    }

    /// Whole seconds pass.
    pub fn pass_s(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    fn set(&mut self, mono: Mono) {
        let passed = mono.since(self.now.mono);
        self.now = Now {
            mono,
            wall: self.now.wall + passed,
        };
    }

    // What came of it.

    /// The oldest message that waits at this address.
    pub fn take(&mut self, address: SocketAddr) -> Option<Message> {
        self.inboxes.get_mut(&address)?.pop_front()
    }

    /// The oldest message that waits at this address, 100 Trying passed over, left there.
    #[must_use]
    pub fn peek(&self, address: SocketAddr) -> Option<&Message> {
        let mut waiting = self.inboxes.get(&address)?.iter();
        waiting.find(|message| message.status() != 100)
    }

    /// How many messages wait at this address.
    #[must_use]
    pub fn waiting(&self, address: SocketAddr) -> usize {
        self.inboxes.get(&address).map_or(0, VecDeque::len)
    }

    /// A figure of `/metrics`.
    #[must_use]
    pub fn figure(&self, name: &str) -> u64 {
        let counters = self.switch.counters();
        let found = counters.values.iter().find(|(known, ..)| *known == name);
        found.unwrap_or_else(|| panic!("no figure {name}")).1
    }

    /// Nothing is left of any call: no leg, port, room, timer, dialog or transaction, once `pass_s(64)` let the last timers run.
    pub fn assert_clean(&mut self) {
        self.pass_s(64);
        self.switch.audit().expect("the invariants hold");
        for figure in ["calls", "legs", "rtp_ports", "transactions", "dialogs"] {
            assert_eq!(self.figure(figure), 0, "{figure} left");
        }
        let alarms = crate::call::Calls::alarms(&self.switch.core.endpoint);
        assert!(alarms.is_empty(), "timers of calls left: {alarms:?}");
        assert_eq!(self.studio.open_legs(), 0, "legs left in the engine");
        assert_eq!(self.studio.open_rooms(), 0, "rooms left in the engine");
        let mut legs: Vec<_> = self.records.iter().map(|cdr| cdr.leg).collect();
        let written = legs.len();
        legs.sort_unstable();
        legs.dedup();
        assert_eq!(legs.len(), written, "a leg with two records");
        let is_lost = |cdr: &Cdr| !cdr.outlives_the_switch();
        assert!(!self.open.values().any(is_lost), "legs that the store thinks are up");
        assert!(self.left.is_empty(), "legs without a record");
    }

    /// Carries out what the switch asks for, until it asks for no more.
    fn settle(&mut self) {
        while let Some(output) = self.switch.poll_output() {
            match output {
                Output::Transmit { flow, bytes } => {
                    let message = Message::parse(bytes.clone()).unwrap_or_else(|why| {
                        panic!(
                            "what the switch sends can be read: {why:?}\n{}",
                            String::from_utf8_lossy(&bytes)
                        )
                    });
                    self.sent.push((self.now.mono, flow.peer, message.clone()));
                    self.inboxes.entry(flow.peer).or_default().push_back(message);
                }
                Output::Connect { token, .. } => self.switch.handle_input(self.now, Input::ConnectFailed { token }),
                Output::Resolve { .. } if self.dns_is_dead => {}
                Output::Resolve { token, question } => {
                    let found = self.found(question);
                    self.switch.handle_input(self.now, Input::Resolved { token, found });
                }
                Output::Close { .. } | Output::Expect { .. } => {}
                Output::Media(worker, plan) => {
                    for event in self.studio.obey(worker, plan) {
                        self.switch.handle_input(self.now, Input::Media(event));
                    }
                }
                Output::Store { token, op } => self.store(token, op),
                Output::Notice(Notice::Answer { token, answer }) => {
                    self.answers.insert(token, answer);
                }
                Output::Notice(notice) => self.notices.push(notice),
            }
        }
    }

    fn found(&self, question: Question) -> Found {
        let known = self.dns.iter().find(|(asked, _)| *asked == question);
        match (known, question) {
            (Some((_, found)), _) => found.clone(),
            (None, Question::Naptr(_)) => Found::Naptr(vec![]),
            (None, Question::Srv(_)) => Found::Srv(vec![]),
            (None, Question::Address(_)) => Found::Address(vec![]),
        }
    }

    fn store(&mut self, token: Option<Token>, op: StoreOp) {
        let reply = match &op {
            StoreOp::LoadBindings => StoreReply::Bindings(vec![]),
            StoreOp::CountMessages => StoreReply::Waiting {
                per_user: vec![],
                last_id: MessageId(0),
            },
            StoreOp::LoadMessages { .. } => StoreReply::Messages(vec![]),
            StoreOp::ExpireMessages(_) => StoreReply::Expired(vec![]),
            StoreOp::LoadUserSettings => StoreReply::UserSettings(vec![]),
            StoreOp::LoadSubscriptions => StoreReply::Subscriptions(vec![]),
            _ => StoreReply::Done,
        };
        match op {
            StoreOp::OpenCdr(cdr) => drop(self.open.insert(cdr.leg, *cdr)),
            StoreOp::LeaveCdr(cdr) => drop(self.left.insert(cdr.leg, *cdr)),
            StoreOp::CloseOpenCdrs(_) => self.open.retain(|_, cdr| cdr.outlives_the_switch()),
            StoreOp::EndCdr { leg, at, by } => {
                if let Some(cdr) = self.open.remove(&leg) {
                    self.records.push(Cdr {
                        ended_at: at,
                        ended_by: by,
                        reason: EndReason::Normal,
                        ..cdr
                    });
                }
            }
            StoreOp::PutCdr(cdr) => {
                self.open.remove(&cdr.leg);
                self.left.remove(&cdr.leg);
                self.records.push(*cdr);
            }
            StoreOp::PutRecording(row) => self.recordings.push(*row),
            op => self.stored.push(op),
        }
        if let Some(token) = token {
            self.switch.handle_input(self.now, Input::Stored { token, reply });
        }
    }
}

impl Default for Lab {
    fn default() -> Lab {
        Lab::new()
    }
}
