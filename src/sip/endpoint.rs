//! The demultiplexer over all transactions of a switch (RFC 3261 section 17): bytes become events for the transaction
//! user, its requests and replies become bytes, and what is repeated is repeated or absorbed in here.
//!
//! How a transaction user (TU) uses it:
//!
//! * `handle_message` for what arrives, `handle_timeout` when `poll_timeout` says so; take the [`crate::Output`]s and obey.
//! * [`Event::Request`] is new. **No state has been made for it.** Answer it with [`Endpoint::reply`] (keeps nothing:
//!   challenges, refusals of strangers), [`Endpoint::answer`] (one final reply, repeated for retransmissions), or
//!   [`Endpoint::accept`] it and [`Endpoint::respond`] later.
//! * [`Endpoint::send`] makes a client transaction; exactly one final [`Event::Response`], [`Event::Timeout`] or
//!   [`Event::SendFailed`] follows (an INVITE may get several 2xx).
//! * Owners: an [`Owner`] is the TU's own number for whoever deals with an event; it comes back with each event.

use crate::draft::{Draft, Reply, Tag};
use crate::output::Sink;
use crate::{Flow, Malformed, Message, Tokens, Transport};
use clock::Mono;
use std::net::SocketAddr;
use std::time::Duration;

/// The TU's number for whoever deals with an event: a call, a registration, a delivery.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

/// A server transaction. Never names another one, also after reuse of its place.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerId {
    index: u32,
    generation: u32,
}

/// A client transaction. Never names another one, also after reuse of its place.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientId {
    index: u32,
    generation: u32,
}

/// Joins [`crate::Output::Connect`] to its answer.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connecting(pub u64);

/// A timer of the TU.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Alarm(u64);

/// Settings; the defaults are those of RFC 3261.
#[derive(Clone, Debug)]
pub struct Config {
    /// Round trip estimate, 500 ms.
    pub t1: Duration,
    /// Longest interval between retransmissions of non-INVITE requests and INVITE responses, 4 s.
    pub t2: Duration,
    /// How long a message stays in the network, 5 s.
    pub t4: Duration,
    /// What to write as sent-by for a listener whose own address peers cannot use: local address and `host[:port]`.
    /// All others write their address.
    pub sent_by: Vec<(SocketAddr, Box<str>)>,
}

impl Default for Config {
    fn default() -> Config {
        let ms = Duration::from_millis;
        Config {
            t1: ms(500),
            t2: ms(4_000),
            t4: ms(5_000),
            sent_by: Vec::new(),
        }
    }
}

/// Where a request goes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// On this flow, whatever the size.
    Flow(Flow),
    /// To this address. Over `Udp` a request of more than 1,300 bytes tries TCP first and comes back to UDP if TCP is
    /// refused (RFC 3261 section 18.1.1); over a stream an open connection is used or one is opened.
    Address {
        /// How.
        transport: Transport,
        /// From which listener.
        local: SocketAddr,
        /// To whom.
        peer: SocketAddr,
    },
}

/// What the transaction layer tells the TU.
#[derive(Debug)]
pub enum Event {
    /// A new request other than ACK and CANCEL. No transaction has been made for it.
    Request {
        /// Where it came from.
        flow: Flow,
        /// The request.
        message: Message,
        /// Owner of the dialog whose local tag is the To-tag, by [`Endpoint::bind_dialog`]. The dialog itself still
        /// has to check Call-ID and From-tag.
        dialog: Option<Owner>,
        /// The same request has come by another way (RFC 3261 section 8.2.2.2): 482, unless one is a proxy for it.
        merged: bool,
    },
    /// An ACK to a 2xx, or to nothing we know.
    Ack {
        /// Where it came from.
        flow: Flow,
        /// The ACK.
        message: Message,
        /// As in `Request`. `None`: forget it.
        dialog: Option<Owner>,
    },
    /// The INVITE of this transaction is cancelled; the CANCEL has been answered, the INVITE wants its 487.
    Cancel {
        /// The INVITE's transaction.
        server: ServerId,
        /// Its owner.
        owner: Owner,
        /// The CANCEL: it may carry Reason.
        message: Message,
    },
    /// A response to a request of ours. After a 2xx to INVITE more 2xx may follow: repeated, or of other forks.
    Response {
        /// Whose.
        client: ClientId,
        /// Its owner.
        owner: Owner,
        /// Where it came from.
        flow: Flow,
        /// The response.
        message: Message,
    },
    /// A 2xx to an INVITE of ours whose transaction is over: acknowledge again.
    StrayResponse {
        /// Owner of the dialog whose local tag is the From-tag.
        dialog: Owner,
        /// Where it came from.
        flow: Flow,
        /// The response.
        message: Message,
    },
    /// No final response in time (timers B and F, or after CANCEL): as if 408 had come.
    Timeout {
        /// Whose.
        client: ClientId,
        /// Its owner.
        owner: Owner,
    },
    /// The request could not be sent, or the stream broke before the final response: as if 503 had come.
    SendFailed {
        /// Whose.
        client: ClientId,
        /// Its owner.
        owner: Owner,
    },
    /// A timer set with [`Endpoint::set_timer`].
    Timer {
        /// Whose.
        owner: Owner,
        /// Which, in the owner's own numbers.
        kind: u32,
    },
}

impl Event {
    /// Who deals with it; `None`: a request from outside of all dialogs.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        match *self {
            Event::Request { dialog, .. } | Event::Ack { dialog, .. } => dialog,
            Event::StrayResponse { dialog, .. } => Some(dialog),
            Event::Cancel { owner, .. }
            | Event::Response { owner, .. }
            | Event::Timeout { owner, .. }
            | Event::SendFailed { owner, .. }
            | Event::Timer { owner, .. } => Some(owner),
        }
    }
}

/// What there is and what has happened, for metrics. `*_alive` rise and fall, the rest only rises.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// INVITE client transactions.
    pub invite_clients_alive: u64,
    /// Other client transactions.
    pub clients_alive: u64,
    /// INVITE server transactions.
    pub invite_servers_alive: u64,
    /// Other server transactions, completed ones included.
    pub servers_alive: u64,
    /// Dialogs bound.
    pub dialogs_alive: u64,
    /// Messages we sent again: requests and responses.
    pub retransmissions_sent: u64,
    /// Requests and responses that came again and went no further.
    pub retransmissions_absorbed: u64,
    /// Client transactions without final response in time.
    pub timeouts: u64,
    /// Client transactions whose request could not be sent.
    pub send_failures: u64,
    /// Server transactions the TU left without final response, given up after 64*T1.
    pub unanswered: u64,
    /// Final responses to INVITE that were never acknowledged.
    pub unacknowledged: u64,
    /// Responses that belong to nothing of ours.
    pub strays: u64,
    /// Malformed messages: answered or dropped.
    pub malformed: u64,
    /// Completed transactions forgotten before their time because there were too many.
    pub evicted: u64,
}

/// All transactions of a switch.
pub struct Endpoint {
    tokens: Box<dyn Tokens + Send>,
}

impl Endpoint {
    /// An endpoint without transactions. All identifiers come from `tokens`.
    #[must_use]
    pub fn new(config: Config, tokens: Box<dyn Tokens + Send>) -> Endpoint {
        let _ = config;
        Endpoint { tokens }
    }

    // What happens to it.

    /// A message came.
    pub fn handle_message(&mut self, now: Mono, flow: Flow, message: Message, out: &mut impl Sink) {
        let _ = (now, flow, message, out);
        todo!()
    }

    /// Something that is no message came: answered without state, or dropped.
    pub fn handle_malformed(&mut self, now: Mono, flow: Flow, malformed: Malformed, out: &mut impl Sink) {
        let _ = (now, flow, malformed, out);
        todo!()
    }

    /// A stream asked for by [`crate::Output::Connect`] is open.
    pub fn handle_connected(&mut self, now: Mono, token: Connecting, flow: Flow, out: &mut impl Sink) {
        let _ = (now, token, flow, out);
        todo!()
    }

    /// A stream asked for by [`crate::Output::Connect`] cannot be had.
    pub fn handle_connect_failed(&mut self, now: Mono, token: Connecting, out: &mut impl Sink) {
        let _ = (now, token, out);
        todo!()
    }

    /// A stream is gone: what waits for an answer on it fails, answers that were to go there connect anew.
    pub fn handle_closed(&mut self, now: Mono, flow: Flow, out: &mut impl Sink) {
        let _ = (now, flow, out);
        todo!()
    }

    /// When to call [`Endpoint::handle_timeout`] next. May be early, never late.
    #[must_use]
    pub fn poll_timeout(&mut self) -> Option<Mono> {
        todo!()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Mono, out: &mut impl Sink) {
        let _ = (now, out);
        todo!()
    }

    // As a server.

    /// Answers without keeping state; a retransmitted request comes up again as new. The To-tag is a keyed hash of the
    /// transaction, so that retransmissions get the same (RFC 3261 section 8.2.7).
    pub fn reply(&mut self, flow: Flow, request: &Message, reply: &Reply, out: &mut impl Sink) {
        let _ = (flow, request, reply, out);
        todo!()
    }

    /// Answers finally and keeps the answer for retransmissions, for requests other than INVITE that are answered at
    /// once: REGISTER, OPTIONS, MESSAGE.
    pub fn answer(&mut self, now: Mono, flow: Flow, request: &Message, reply: &Reply, out: &mut impl Sink) {
        let _ = (now, flow, request, reply, out);
        todo!()
    }

    /// Makes a server transaction for a request from [`Event::Request`]. An INVITE is answered 100 at once.
    pub fn accept(&mut self, now: Mono, flow: Flow, request: Message, owner: Owner, out: &mut impl Sink) -> ServerId {
        let _ = (now, flow, request, owner, out);
        todo!()
    }

    /// Sends a response. After a final one only 2xx to INVITE may be repeated ([`Endpoint::repeat`]); anything else, and
    /// an id that is over, does nothing and says `false`. A 408 to a non-INVITE is not sent (RFC 4320 section 4.2).
    pub fn respond(&mut self, now: Mono, server: ServerId, reply: &Reply, out: &mut impl Sink) -> bool {
        let _ = (now, server, reply, out);
        todo!()
    }

    /// Sends the last response to an INVITE again, as its TU must for a 2xx (RFC 3261 section 13.3.1.4).
    pub fn repeat(&mut self, server: ServerId, out: &mut impl Sink) {
        let _ = (server, out);
        todo!()
    }

    /// The request of a transaction that has no final response yet.
    #[must_use]
    pub fn request(&self, server: ServerId) -> Option<&Message> {
        let _ = server;
        todo!()
    }

    // As a client.

    /// Sends a request with a Via of ours on top and awaits its response.
    pub fn send(
        &mut self,
        now: Mono,
        destination: Destination,
        draft: &Draft,
        owner: Owner,
        out: &mut impl Sink,
    ) -> ClientId {
        let _ = (now, destination, draft, owner, out);
        todo!()
    }

    /// Sends an ACK to a 2xx: a request without transaction (RFC 3261 section 13.2.2.4). The bytes and their flow are
    /// returned, to be sent again for each repeated 2xx; `None` if a stream has first to be opened.
    pub fn send_ack(
        &mut self,
        now: Mono,
        destination: Destination,
        draft: &Draft,
        out: &mut impl Sink,
    ) -> Option<(Flow, bytes::Bytes)> {
        let _ = (now, destination, draft, out);
        todo!()
    }

    /// Cancels an INVITE: once a provisional response has come (RFC 3261 section 9.1), or not at all if a final one comes
    /// first. A final response, 487 as a rule, or a Timeout still follows. `headers`: Reason (RFC 3326).
    pub fn cancel(&mut self, now: Mono, client: ClientId, headers: &crate::draft::Headers, out: &mut impl Sink) {
        let _ = (now, client, headers, out);
        todo!()
    }

    /// Nobody wants the response any more: the transaction goes on, its events do not come up.
    pub fn disown(&mut self, client: ClientId) {
        let _ = client;
        todo!()
    }

    // For the usages above.

    /// A fresh tag.
    #[must_use]
    pub fn new_tag(&mut self) -> Tag {
        Tag(self.tokens.next_u64())
    }

    /// A fresh Call-ID: 128 random bits, no address in it.
    #[must_use]
    pub fn new_call_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.tokens.next_u64(), self.tokens.next_u64())
    }

    /// 64 random bits, for back-offs and the like.
    #[must_use]
    pub fn random(&mut self) -> u64 {
        self.tokens.next_u64()
    }

    /// From now on events of a dialog with this local tag name `owner`.
    pub fn bind_dialog(&mut self, local: Tag, owner: Owner) {
        let _ = (local, owner);
        todo!()
    }

    /// The dialog is over.
    pub fn unbind_dialog(&mut self, local: Tag) {
        let _ = local;
        todo!()
    }

    /// Asks for [`Event::Timer`] at `at`.
    pub fn set_timer(&mut self, at: Mono, owner: Owner, kind: u32) -> Alarm {
        let _ = (at, owner, kind);
        todo!()
    }

    /// Forgets a timer; one that has fired is forgotten already.
    pub fn cancel_timer(&mut self, alarm: Alarm) {
        let _ = alarm;
        todo!()
    }

    /// What to write as sent-by, and in a Contact, for a listener.
    #[must_use]
    pub fn sent_by(&self, local: SocketAddr) -> String {
        local.to_string()
    }

    /// Figures for metrics.
    #[must_use]
    pub fn counters(&self) -> Counters {
        todo!()
    }

    /// Checks the invariants: every index entry leads to a transaction and back, every transaction has a deadline.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub fn audit(&self) -> Result<(), String> {
        todo!()
    }
}
