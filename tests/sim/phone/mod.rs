//! A phone: a small user agent of its own, written from RFC 3261 and sharing nothing with the switch but the digest
//! arithmetic. One for each device; all of them registered at the one switch.

mod call;
mod client;
mod letter;
mod register;
mod server;

use crate::ledger::Ledger;
use crate::random::Random;
use crate::text::Text;
use bytes::Bytes;
use call::Call;
use client::Client;
use clock::Mono;
use server::Server;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

pub use call::CallPlan;

/// RFC 3261 timers.
const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
const TIMEOUT: Duration = Duration::from_secs(32);
/// The domain of all users.
pub const DOMAIN: &str = "tandem.test";

/// What a phone works with while it handles one event.
pub struct Cx<'a> {
    pub now: Mono,
    pub random: &'a mut Random,
    pub ledger: &'a mut Ledger,
    pub settings: &'a Settings,
    pub out: Vec<Do>,
}

/// What a phone wants done.
pub enum Do {
    Send(Bytes),
    After(Duration, Timer),
}

/// What a phone waits for.
#[derive(Clone, Debug)]
pub enum Timer {
    /// Of a client transaction.
    Resend(String),
    /// Of a client transaction.
    GiveUp(String),
    /// Of a client transaction.
    Forget(String),
    /// Of a server transaction.
    Again(String),
    /// Of a server transaction.
    Drop(String),
    /// Of a call.
    Act(String, call::Act),
    Refresh,
    /// Time for the next letter that waits.
    Write,
    /// Time to take the letter of this server transaction.
    Take(String),
}

/// How all phones behave; shares in thousandths.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Seconds asked for in REGISTER.
    pub expires: u64,
    /// A callee is busy for no reason.
    pub busy: u32,
    /// A callee declines with 603.
    pub decline: u32,
    /// A callee lets it ring.
    pub ignore: u32,
    /// A callee sends 183 with a description before it answers.
    pub early: u32,
    /// A device takes a letter only after its sender was answered.
    pub slow: u32,
    /// A device refuses a letter, for good or for now.
    pub refuse: u32,
    /// A letter from a phone that knows envelopes is in one, and asks to be told what becomes of it.
    pub envelopes: u32,
    /// A letter is given up soon.
    pub short: u32,
    /// A callee answers after this many milliseconds.
    pub answer: (u64, u64),
    /// No callee hangs up before.
    pub talk_at_least: Duration,
    /// Longest time from INVITE to its final answer.
    pub longest_setup: Duration,
    /// Who of the devices of a user is to get a letter.
    pub copies: switch::config::Copies,
}

/// One device.
pub struct Phone {
    pub index: usize,
    /// Place of its user: extension 1000 + user.
    pub user: usize,
    pub address: SocketAddr,
    /// Rises each time it comes back from somewhere else; timers of earlier lives mean nothing.
    pub life: u32,
    pub online: bool,
    pub registered: bool,
    ha1: sip::digest::Hex,
    nonce: Option<(String, u32)>,
    clients: BTreeMap<String, Client>,
    servers: BTreeMap<String, Server>,
    calls: BTreeMap<String, Call>,
    registration: (String, u32),
    letters: VecDeque<(String, usize)>,
    is_writing: bool,
    serial: u32,
}

impl Phone {
    pub fn new(index: usize, user: usize, address: SocketAddr) -> Phone {
        let extension = 1000 + user;
        let name = extension.to_string();
        let ha1 = sip::digest::ha1(
            sip::digest::Algorithm::Md5,
            name.as_bytes(),
            DOMAIN.as_bytes(),
            password(user).as_bytes(),
        );
        Phone {
            index,
            user,
            address,
            life: 0,
            online: false,
            registered: false,
            ha1,
            nonce: None,
            clients: BTreeMap::new(),
            servers: BTreeMap::new(),
            calls: BTreeMap::new(),
            registration: (String::new(), 0),
            letters: VecDeque::new(),
            is_writing: false,
            serial: 0,
        }
    }

    /// Goes away without a word: power cut, another network.
    pub fn vanish(&mut self) {
        self.online = false;
        self.registered = false;
        self.nonce = None;
        self.is_writing = false;
        self.clients.clear();
        self.servers.clear();
        self.calls.clear();
        self.letters.clear();
    }

    /// Comes back from another port, and registers.
    pub fn return_at(&mut self, cx: &mut Cx<'_>, address: SocketAddr) {
        self.life += 1;
        self.address = address;
        self.online = true;
        self.registration = (format!("reg-{}-{}", self.index, self.life), 0);
        self.register(cx);
    }

    pub fn handle(&mut self, cx: &mut Cx<'_>, bytes: &Bytes) {
        let Some(text) = Text::parse(bytes) else { return };
        if text.is_response() {
            self.handle_response(cx, &text);
        } else {
            self.handle_request(cx, &text);
        }
    }

    pub fn on_timer(&mut self, cx: &mut Cx<'_>, timer: Timer) {
        match timer {
            Timer::Resend(branch) => self.resend(cx, &branch),
            Timer::GiveUp(branch) => self.give_up(cx, &branch),
            Timer::Forget(branch) => {
                self.clients.remove(&branch);
            }
            Timer::Again(key) => self.answer_again(cx, &key),
            Timer::Drop(key) => self.drop_server(cx, &key),
            Timer::Act(call, act) => self.act(cx, &call, act),
            Timer::Refresh => self.register(cx),
            Timer::Write => self.write_next(cx),
            Timer::Take(key) => self.take(cx, &key),
        }
    }

    /// Neither calls nor rings.
    pub fn is_free(&self) -> bool {
        self.online && self.registered && self.calls.values().all(Call::is_over)
    }

    /// Whether a device of this phone sends sound from this port.
    pub fn sends_from(&self, port: u16) -> bool {
        self.online && self.calls.values().any(|call| call.rtp() == port && !call.is_over())
    }

    /// Calls that are not over.
    pub fn open_calls(&self) -> usize {
        self.calls.values().filter(|call| !call.is_over()).count()
    }

    /// Knows envelopes and notifications.
    fn is_modern(&self) -> bool {
        self.index.is_multiple_of(3)
    }

    fn extension(&self) -> String {
        (1000 + self.user).to_string()
    }

    fn uri(&self) -> String {
        format!("sip:{}@{DOMAIN}", self.extension())
    }

    fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.extension(), self.address)
    }

    /// A number that this phone has not used before.
    fn fresh(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    /// A tag, Call-ID or branch that nobody has used before.
    fn name(&mut self, kind: &str) -> String {
        let serial = self.fresh();
        format!("{kind}-{}-{}-{serial}", self.index, self.life)
    }
}

/// Everybody's password.
pub fn password(user: usize) -> String {
    format!("secret-{user}")
}
