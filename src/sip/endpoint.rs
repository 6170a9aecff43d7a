//! The demultiplexer over all transactions of a switch (RFC 3261 section 17): bytes become events for the transaction
//! user, its requests and replies become bytes, and what is repeated is repeated or absorbed in here.
//!
//! How a transaction user (TU) uses it:
//!
//! * `handle_message` for what arrives, `handle_timeout` when `poll_timeout` says so; take the [`crate::Output`]s and obey,
//!   all of them before the next input.
//! * [`Event::Request`] is new. **No state has been made for it.** Answer it with [`Endpoint::reply`] (keeps nothing:
//!   challenges, refusals of strangers), [`Endpoint::answer`] (one final reply, repeated for retransmissions), or
//!   [`Endpoint::accept`] it and [`Endpoint::respond`] later.
//! * [`Endpoint::send`] makes a client transaction; exactly one final [`Event::Response`], [`Event::Timeout`] or
//!   [`Event::SendFailed`] follows (an INVITE may get several 2xx).
//! * Owners: an [`Owner`] is the TU's own number for whoever deals with an event; it comes back with each event.

mod clients;
mod config;
mod core;
mod event;
mod id;
mod places;
mod servers;
#[cfg(test)]
mod tests;
mod throttle;
mod wire;

pub use self::config::{Alternative, Config, Destination};
pub use self::event::{Counters, Event};
pub use self::id::{Alarm, ClientId, Connecting, Owner, Resolving, ServerId};

pub use self::clients::Remains;
use self::clients::{Clients, Request};
use self::core::{Core, Due};
use self::id::Purpose;
use self::places::{Answered, Waiter};
use self::servers::Servers;
pub use self::throttle::Asked;
use self::wire::Way;
use crate::draft::{Draft, Headers, Reply, Tag};
use crate::header::Via;
use crate::locate::Found;
use crate::output::{Output, Sink};
use crate::print::Overload;
use crate::timers;
use crate::transaction::key::Key;
use crate::{Flow, Malformed, Message, Method, Name, Splice, Tokens};
use ahash::RandomState;
use clock::Mono;
use hashbrown::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Timers that fire in one turn: what follows from each, a binding or a retransmission, takes some microseconds.
const TIMERS_PER_TURN: usize = 64;

/// Answers and transactions forgotten in one turn, each in a tenth of a microsecond.
const FORGOTTEN_PER_TURN: usize = 1_024;

/// All transactions of a switch.
pub struct Endpoint {
    core: Core,
    servers: Servers,
    clients: Clients,
    /// Dialogs by local tag. Bounded by who makes them: sessions and subscriptions.
    dialogs: HashMap<u64, Owner, RandomState>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint without transactions. All identifiers come from `tokens`.
    #[must_use]
    pub fn new(config: Config, tokens: Box<dyn Tokens + Send>) -> Endpoint {
        let core = Core::new(config, tokens);
        let (servers, clients) = (Servers::new(&core), Clients::new(&core));
        let dialogs = HashMap::with_hasher(core.hasher.clone());
        Endpoint {
            core,
            servers,
            clients,
            dialogs,
        }
    }

    // What happens to it.

    /// A message came.
    pub fn handle_message(&mut self, now: Mono, flow: Flow, message: Message, out: &mut impl Sink) {
        if !message.is_request() {
            return self.handle_response(now, flow, message, out);
        }
        match message.method() {
            Method::Cancel => self.servers.handle_cancel(&mut self.core, now, flow, message, out),
            Method::Ack => self.handle_ack(now, flow, message, out),
            _ => self.handle_request(now, flow, message, out),
        }
    }

    fn handle_request(&mut self, now: Mono, flow: Flow, mut message: Message, out: &mut impl Sink) {
        let key = Key::of(&message, message.via().as_ref(), &self.core.secrets);
        message.transaction = Some(key);
        if self.servers.absorb(&mut self.core, now, &key, out) {
            return;
        }
        let merged = self.servers.is_merged(&self.core, &message);
        let dialog = self.dialog_of(message.to_tag());
        out.push(Output::Event(Event::Request {
            flow,
            message,
            dialog,
            merged,
        }));
    }

    fn handle_ack(&mut self, now: Mono, flow: Flow, message: Message, out: &mut impl Sink) {
        let key = Key::of(&message, message.via().as_ref(), &self.core.secrets);
        if self.servers.handle_ack(&mut self.core, now, &key, out) {
            let dialog = self.dialog_of(message.to_tag());
            out.push(Output::Event(Event::Ack { flow, message, dialog }));
        }
    }

    fn handle_response(&mut self, now: Mono, flow: Flow, message: Message, out: &mut impl Sink) {
        let Some(message) = self.clients.handle_response(&mut self.core, now, flow, message, out) else {
            return;
        };
        let success = message.method() == Method::Invite && (200..300).contains(&message.status());
        match self.dialog_of(message.from_tag()).filter(|_| success) {
            Some(dialog) => out.push(Output::Event(Event::StrayResponse { dialog, flow, message })),
            None => self.core.counters.strays += 1,
        }
    }

    /// Something that is no message came: answered without state, or dropped.
    pub fn handle_malformed(&mut self, _now: Mono, flow: Flow, malformed: Malformed, out: &mut impl Sink) {
        self.core.counters.malformed += 1;
        if let Malformed::Answer {
            status,
            reason,
            message,
        } = malformed
        {
            self.reply(flow, &message, &Reply::new(status).reason(reason), out);
        }
    }

    /// A stream asked for by [`Output::Connect`] is open.
    pub fn handle_connected(&mut self, now: Mono, token: Connecting, flow: Flow, out: &mut impl Sink) {
        self.core.note_opened(flow.connection);
        match token.purpose() {
            Purpose::Client(id, attempt) => {
                self.clients
                    .handle_connected(&mut self.core, now, (id, attempt), flow, out)
            }
            Purpose::Parcel(id) => self.core.handle_parcel_connected(id, flow, out),
        }
    }

    /// A stream asked for by [`Output::Connect`] cannot be had.
    pub fn handle_connect_failed(&mut self, now: Mono, token: Connecting, out: &mut impl Sink) {
        match token.purpose() {
            Purpose::Client(id, attempt) => self
                .clients
                .handle_connect_failed(&mut self.core, now, (id, attempt), out),
            Purpose::Parcel(id) => self.core.drop_parcel(id),
        }
    }

    /// The DNS has answered [`Output::Resolve`], or does not: then the answer is empty.
    pub fn handle_resolved(&mut self, now: Mono, token: Resolving, found: Found, out: &mut impl Sink) {
        let Core {
            places, wheel, tokens, ..
        } = &mut self.core;
        let mut random = || tokens.next_u64();
        let located = places.handle_resolved(wheel, now, token, found, &mut random, out);
        self.on_located(now, located, out);
    }

    fn on_located(&mut self, now: Mono, answered: Option<Answered>, out: &mut impl Sink) {
        let Some((name, waiting)) = answered else { return };
        for (waiter, ways) in waiting {
            match waiter {
                Waiter::Client(id) => self.clients.handle_located(&mut self.core, now, id, ways, out),
                Waiter::Parcel(id) => self.core.handle_parcel_located(id, Some(name.clone()), &ways, out),
            }
        }
    }

    /// A stream is gone: what waits for an answer on it fails, or goes over another if we opened this one and nothing has
    /// been heard of it; answers that were to go there connect anew. Nothing happens
    /// for a datagram flow: what ICMP says can be forged, and the timers will know.
    pub fn handle_closed(&mut self, now: Mono, flow: Flow, out: &mut impl Sink) {
        if flow.transport.is_reliable() {
            self.core.close(flow.connection);
            let is_ours = self.core.forget_opened(flow.connection);
            self.clients.handle_closed(&mut self.core, now, flow, is_ours, out);
        }
    }

    /// When to call [`Endpoint::handle_timeout`] next. May be early, never late.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        let wheel = self.core.wheel.next_deadline();
        [wheel, self.servers.poll_timeout(), self.clients.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Time has passed. Of what is due so much is done as takes less than a millisecond; if that is not all,
    /// [`Endpoint::poll_timeout`] is not after `now`.
    pub fn handle_timeout(&mut self, now: Mono, out: &mut impl Sink) {
        let mut work = TIMERS_PER_TURN * timers::FIRED;
        while let Some(due) = self.core.wheel.pop(now, &mut work) {
            match due {
                Due::Server(id) => self.servers.handle_timeout(&mut self.core, now, id, out),
                Due::Client(id) => self.clients.handle_timeout(&mut self.core, now, id, out),
                Due::Parcel(id) => self.core.drop_parcel(id),
                Due::Lookup(id) => {
                    let located = self.core.places.give_up(&mut self.core.wheel, now, id);
                    self.on_located(now, located, out);
                }
                Due::User { owner, kind } => out.push(Output::Event(Event::Timer { owner, kind })),
            }
        }
        self.servers.expire(&mut self.core, now, FORGOTTEN_PER_TURN);
        self.clients.expire(&mut self.core, now, FORGOTTEN_PER_TURN);
    }

    // As a server.

    /// Answers without keeping state; a retransmitted request comes up again as new. The To-tag is a keyed hash of the
    /// transaction, so that retransmissions get the same (RFC 3261 section 8.2.7).
    pub fn reply(&mut self, flow: Flow, request: &Message, reply: &Reply, out: &mut impl Sink) {
        let via = request.via();
        let hashed = || Tag(Key::of(request, via.as_ref(), &self.core.secrets).tag(&self.core.tag_hasher));
        let tag = reply.to_tag.unwrap_or_else(hashed);
        let Way { flow: back, .. } = Way::back(flow, via.as_ref());
        out.push(Output::Transmit {
            flow: back,
            bytes: wire::response(&mut self.core.pages, request, reply, Some(tag), flow.peer),
        });
    }

    /// Answers finally and keeps the answer for retransmissions, for requests that are answered at once: REGISTER,
    /// OPTIONS, MESSAGE. At most 65,536 such answers are kept; beyond that the oldest is forgotten before its time.
    pub fn answer(&mut self, now: Mono, flow: Flow, request: &Message, reply: &Reply, out: &mut impl Sink) {
        self.servers.answer(&mut self.core, now, flow, request, reply, out);
    }

    /// Makes a server transaction for a request from [`Event::Request`]. An INVITE is answered 100 at once.
    pub fn accept(&mut self, now: Mono, flow: Flow, request: Message, owner: Owner, out: &mut impl Sink) -> ServerId {
        self.servers.accept(&mut self.core, now, flow, request, owner, out)
    }

    /// Sends a response. False, and nothing is sent, if the transaction is over or has had its final response, or for a
    /// provisional one to a non-INVITE (its 100 is sent in here, when RFC 4320 allows it). A 408 to a non-INVITE ends the
    /// transaction silently, as that RFC asks (section 4.2).
    pub fn respond(&mut self, now: Mono, server: ServerId, reply: &Reply, out: &mut impl Sink) -> bool {
        self.servers.respond(&mut self.core, now, server, reply, out)
    }

    /// Sends the 2xx to an INVITE again, as its TU must (RFC 3261 section 13.3.1.4).
    pub fn repeat(&mut self, now: Mono, server: ServerId, out: &mut impl Sink) {
        self.servers.repeat(&mut self.core, now, server, out);
    }

    /// The 2xx to an INVITE has its ACK, and is not repeated any more.
    pub fn settle(&mut self, server: ServerId) {
        self.servers.settle(server);
    }

    /// The request of a transaction that has no final response yet.
    #[must_use]
    pub fn request(&self, server: ServerId) -> Option<&Message> {
        self.servers.request(server)
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
        self.clients.send(
            &mut self.core,
            now,
            destination,
            Request::Draft(draft),
            Some(owner),
            out,
        )
    }

    /// Sends on a request of someone else as a proxy does: `request` has all changes of RFC 3261 section 16.6 but our Via,
    /// whose branch carries `mark` for finding loops ([`Endpoint::has_passed`]). Its responses come with our Via still on top.
    pub fn forward(
        &mut self,
        now: Mono,
        destination: Destination,
        request: &Splice<'_>,
        mark: u64,
        owner: Owner,
        out: &mut impl Sink,
    ) -> ClientId {
        self.clients.send(
            &mut self.core,
            now,
            destination,
            Request::Forwarded(request, mark),
            Some(owner),
            out,
        )
    }

    /// Sends on an ACK to a 2xx: without a transaction, and so without anything that would repeat it (section 16.11).
    pub fn forward_ack(&mut self, now: Mono, destination: Destination, ack: &Splice<'_>, out: &mut impl Sink) {
        self.core.forward_ack(now, destination, ack, out);
    }

    /// Sends a response of a branch to who sent the request: `response` has lost our Via. Repeated like one of our own, but for
    /// a 2xx to INVITE, which its UAS repeats. False, and nothing is sent, in the cases of [`Endpoint::respond`].
    pub fn pass(&mut self, now: Mono, server: ServerId, response: &Splice<'_>, out: &mut impl Sink) -> bool {
        self.servers.pass(&mut self.core, now, server, response, out)
    }

    /// Whether one of the Vias of a request is ours with this mark: it was here before, and nothing has changed since that
    /// would send it elsewhere now (RFC 5393 section 4.2.2).
    #[must_use]
    pub fn has_passed(&self, request: &Message, mark: u64) -> bool {
        let is_marked = |via: &[u8]| Via::parse(via).is_ok_and(|via| via.branch().and_then(wire::mark) == Some(mark));
        request.values(Name::Via).any(is_marked)
    }

    /// Sends an ACK to a 2xx: a request without transaction (RFC 3261 section 13.2.2.4), once for each time the 2xx comes.
    pub fn send_ack(&mut self, now: Mono, destination: Destination, draft: &Draft, out: &mut impl Sink) {
        self.core.send_ack(now, destination, draft, out);
    }

    /// The session of an INVITE of ours is over: what comes to it yet is acknowledged in here until Timer M.
    pub fn bequeath(&mut self, client: ClientId, remains: Remains) {
        self.clients.bequeath(client, remains);
    }

    /// A final response to this request is told also when it comes after the timeout, for another 64*T1. Not for INVITE.
    pub fn heed_late(&mut self, client: ClientId) {
        self.clients.heed_late(client);
    }

    /// Cancels an INVITE: once a provisional response has come (RFC 3261 section 9.1), or not at all if a final one comes
    /// first. A final response, 487 as a rule, or a Timeout still follows. `headers`: Reason (RFC 3326).
    pub fn cancel(&mut self, now: Mono, client: ClientId, headers: &Headers, out: &mut impl Sink) {
        self.clients.cancel(&mut self.core, now, client, headers, out);
    }

    /// Nobody wants the response any more: the transaction goes on, its events do not come up.
    pub fn disown(&mut self, client: ClientId) {
        self.clients.disown(client);
    }

    /// What is asked is not wanted any more: the request is not repeated, and an answer belongs to nothing. Not for INVITE, which
    /// has its CANCEL.
    pub fn abandon(&mut self, client: ClientId) {
        self.clients.abandon(&mut self.core, client);
    }

    /// From now on those who ask for our load in their Via are told this (RFC 7339).
    pub fn tell_overload(&mut self, overload: Overload) {
        self.core.pages.overload = Some(overload);
    }

    /// From now on these are asked for their load in our Via, and what they say is heeded (RFC 7339). A request that is kept
    /// from all who could take it ends as one that could not be sent.
    pub fn ask_load(&mut self, asked: Asked) {
        self.core.throttle.ask(asked);
    }

    // For the usages above.

    /// A fresh tag.
    #[must_use]
    pub fn new_tag(&mut self) -> Tag {
        Tag(self.core.random())
    }

    /// A fresh Call-ID: 128 random bits, no address in it.
    #[must_use]
    pub fn new_call_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.core.random(), self.core.random())
    }

    /// 64 random bits, for back-offs and the like.
    #[must_use]
    pub fn random(&mut self) -> u64 {
        self.core.random()
    }

    /// Whether a stream is known to be gone.
    #[must_use]
    pub fn is_closed(&self, flow: &Flow) -> bool {
        self.core.is_closed(flow)
    }

    /// 64*T1: how long one waits for the other side.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.core.times.lifetime()
    }

    /// T1 and T2.
    #[must_use]
    pub fn intervals(&self) -> (Duration, Duration) {
        (self.core.times.t1, self.core.times.t2)
    }

    /// From now on events of a dialog with this local tag name `owner`.
    pub fn bind_dialog(&mut self, local: Tag, owner: Owner) {
        self.dialogs.insert(local.0, owner);
    }

    /// The dialog is over.
    pub fn unbind_dialog(&mut self, local: Tag) {
        self.dialogs.remove(&local.0);
    }

    fn dialog_of(&self, tag: &[u8]) -> Option<Owner> {
        self.dialogs.get(&Tag::parse(tag)?.0).copied()
    }

    /// Whose the dialog with this local tag is.
    #[must_use]
    pub fn owner_of(&self, local: &[u8]) -> Option<Owner> {
        self.dialog_of(local)
    }

    /// Asks for [`Event::Timer`] at `at`.
    pub fn set_timer(&mut self, at: Mono, owner: Owner, kind: u32) -> Alarm {
        Alarm(self.core.wheel.insert(at, Due::User { owner, kind }))
    }

    /// Forgets a timer; one that has fired is forgotten already.
    pub fn cancel_timer(&mut self, alarm: Alarm) {
        self.core.wheel.cancel(alarm.0);
    }

    /// Owners and kinds of all timers that are set with [`Endpoint::set_timer`], in no order.
    pub fn alarms(&self) -> impl Iterator<Item = (Owner, u32)> {
        self.core.wheel.keys().filter_map(|due| match due {
            Due::User { owner, kind } => Some((owner, kind)),
            _ => None,
        })
    }

    /// What to write as `host:port`, as in Via, so in a Contact, for a listener.
    #[must_use]
    pub fn sent_by(&self, local: SocketAddr) -> String {
        self.core.sent_by(local).to_string()
    }

    /// Figures for metrics.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            dialogs_alive: self.dialogs.len() as u64,
            ..self.core.counters
        }
    }

    /// Checks the invariants: every index entry leads to a transaction and back, every deadline is in the wheel.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub fn audit(&self) -> Result<(), String> {
        self.servers.audit(&self.core)?;
        self.clients.audit(&self.core)
    }

    /// True if no transaction, timer, dialog or waiting message is left.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.core.parcels() == 0
            && self.core.places.is_idle()
            && self.dialogs.is_empty()
            && self.poll_timeout().is_none()
            && {
                let c = self.counters();
                c.invite_clients_alive + c.clients_alive + c.invite_servers_alive + c.servers_alive == 0
            }
    }
}
