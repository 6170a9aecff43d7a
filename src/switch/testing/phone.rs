//! A phone: registers and answers challenges, sends and takes messages, calls and is called. It stands on the same
//! transaction layer as the switch, so it repeats what is lost; what it does when something comes is the test's choice.

use super::network::Dice;
use super::{DOMAIN, password};
use bytes::Bytes;
use clock::{Mono, Now};
use sip::digest::{Challenge, ha1};
use sip::endpoint::Event;
use sip::invite::{self, Cause, Invitation, Local, Session};
use sip::uri::escape_user;
use sip::{
    Body, Destination, Draft, Endpoint, Flow, Headers, Message, Method, Name, Output, Owner, Reply, Transport, endpoint,
};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// What a phone does with a MESSAGE.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum OnMessage {
    /// Answers 200 and keeps it.
    Take,
    /// Answers with this status.
    Refuse(u16),
    /// Answers nothing.
    Ignore,
}

/// What a phone does with an INVITE.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum OnInvite {
    /// Rings, and answers after this time.
    AnswerAfter(Duration),
    /// Rings for ever.
    Ring,
    /// Refuses with this status.
    Refuse(u16),
    /// Answers nothing.
    Ignore,
}

/// A call as a phone sees it.
#[derive(Debug)]
pub struct Call {
    /// True if the phone was called.
    pub is_incoming: bool,
    /// Provisional statuses seen or sent, in order.
    pub progress: Vec<u16>,
    /// Answered, and acknowledged where that is the other side's part.
    pub is_up: bool,
    /// The final refusal seen.
    pub rejected: Option<u16>,
    /// Why it is over.
    pub ended: Option<Cause>,
    /// The last session description that came.
    pub remote: Option<Bytes>,
    /// The INVITE that came.
    pub invite: Option<Message>,
    session: Option<Session>,
}

/// A request on its way, to be sent again with credentials.
#[derive(Debug)]
struct Asked {
    method: Method,
    uri: String,
    to: String,
    call_id: String,
    headers: Headers,
    body: Option<Body>,
    /// From and To with both tags, inside a dialog.
    dialog: Option<(String, String)>,
    tries: u32,
}

/// One device of a user.
pub struct Phone {
    /// The extension.
    pub user: String,
    /// The password; wrong if a test says so.
    pub password: String,
    /// Its own address.
    pub address: SocketAddr,
    /// What it does with a MESSAGE; at first it takes it.
    pub on_message: OnMessage,
    /// Media types of bodies it takes; others get 415 with this list, which is also in its answers to OPTIONS. Empty: all, and
    /// it tells nothing.
    pub takes: Vec<&'static str>,
    /// Retry-After of its refusals.
    pub retry_after_s: Option<u32>,
    /// What it does with an INVITE; at first it answers after 1 s.
    pub on_invite: OnInvite,
    /// Hears nothing and says nothing: the power is off.
    pub is_dead: bool,
    /// What the switch sends can be read, or the test ends.
    pub is_strict: bool,
    /// Credentials are sent at once with a nonce seen before.
    pub caches_nonce: bool,
    /// Further parameters of its Contact in REGISTER, e.g. `;q=0.5`.
    pub contact_params: String,
    /// Messages taken, with their moment.
    pub taken: Vec<(Mono, Message)>,
    /// Every request that came but the repeated ones, in order.
    pub requests: Vec<Message>,
    /// Challenges seen, as the first WWW-Authenticate of each.
    pub challenges: Vec<String>,
    /// Its calls, in order.
    pub calls: Vec<Call>,
    /// Number of its connection; 0 while there is none.
    pub connection: u64,
    transport: Transport,
    listener: SocketAddr,
    endpoint: Endpoint,
    effects: VecDeque<Output>,
    wire: VecDeque<(Flow, Bytes)>,
    asked: BTreeMap<u64, Asked>,
    answers: BTreeMap<u64, Option<Message>>,
    last_number: u64,
    cseq: u32,
    register_call_id: String,
    challenge: Option<(Vec<u8>, u32)>,
}

/// Owners from here on are calls.
const CALLS: u64 = 1 << 32;
const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio PORT RTP/AVP 0 8\r\n";

impl Phone {
    pub(super) fn new(user: &str, transport: Transport, address: SocketAddr, listener: SocketAddr, seed: u64) -> Phone {
        let mut endpoint = Endpoint::new(endpoint::Config::default(), Box::new(Dice::new(seed)));
        Phone {
            user: user.to_owned(),
            password: password(user),
            address,
            on_message: OnMessage::Take,
            takes: Vec::new(),
            retry_after_s: None,
            on_invite: OnInvite::AnswerAfter(Duration::from_secs(1)),
            is_dead: false,
            is_strict: true,
            caches_nonce: true,
            contact_params: String::new(),
            taken: Vec::new(),
            requests: Vec::new(),
            challenges: Vec::new(),
            calls: Vec::new(),
            connection: 0,
            transport,
            listener,
            register_call_id: endpoint.new_call_id(),
            endpoint,
            effects: VecDeque::new(),
            wire: VecDeque::new(),
            asked: BTreeMap::new(),
            answers: BTreeMap::new(),
            last_number: 0,
            cseq: 0,
            challenge: None,
        }
    }

    // What it has seen.

    /// UDP or TCP.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The bodies of the messages taken, as text, in order.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let text = |(_, message): &(Mono, Message)| String::from_utf8_lossy(message.body_bytes()).into_owned();
        self.taken.iter().map(text).collect()
    }

    /// Final status of a request; 408 if none came in time, `None` while it is on its way.
    #[must_use]
    pub fn status(&self, number: u64) -> Option<u16> {
        self.answers
            .get(&number)
            .map(|answer| answer.as_ref().map_or(408, Message::status))
    }

    /// Final response to a request.
    #[must_use]
    pub fn answer(&self, number: u64) -> Option<&Message> {
        self.answers.get(&number)?.as_ref()
    }

    /// Its Contact URI.
    #[must_use]
    pub fn contact(&self) -> String {
        let parameter = if self.transport == Transport::Udp {
            ""
        } else {
            ";transport=tcp"
        };
        format!("sip:{}@{}{parameter}", escape_user(self.user.as_bytes()), self.address)
    }

    /// The way to it as the switch sees it.
    #[must_use]
    pub fn flow_of_switch(&self) -> Flow {
        Flow {
            transport: self.transport,
            local: self.listener,
            peer: self.address,
            connection: self.connection,
        }
    }

    fn flow(&self) -> Flow {
        Flow {
            transport: self.transport,
            local: self.address,
            peer: self.listener,
            connection: self.connection,
        }
    }

    // What it does.

    /// Starts anew, as after a loss of power: other Call-ID and nonce, no calls.
    pub fn reboot(&mut self) {
        self.register_call_id = self.endpoint.new_call_id();
        self.challenge = None;
        self.calls.clear();
    }

    /// Sends REGISTER for so many seconds.
    pub fn register(&mut self, now: Now, expires_s: u32) -> u64 {
        let contact = format!("<{}>;expires={expires_s}{}", self.contact(), self.contact_params);
        self.register_with(now, Headers::new().with(Name::Contact, contact))
    }

    /// Sends REGISTER with these headers.
    pub fn register_with(&mut self, now: Now, headers: Headers) -> u64 {
        let (uri, call_id) = (format!("sip:{DOMAIN}"), self.register_call_id.clone());
        let to = self.own_uri();
        self.ask(
            now,
            Asked {
                method: Method::Register,
                uri,
                to,
                call_id,
                headers,
                body: None,
                dialog: None,
                tries: 0,
            },
        )
    }

    /// Sends REGISTER with this Call-ID and CSeq: with credentials at once, so register in the common way before.
    pub fn register_as(&mut self, now: Now, call_id: &str, cseq: u32, headers: Headers) -> u64 {
        self.cseq = cseq.wrapping_sub(1);
        let (uri, call_id, to) = (format!("sip:{DOMAIN}"), call_id.to_owned(), self.own_uri());
        self.ask(
            now,
            Asked {
                method: Method::Register,
                uri,
                to,
                call_id,
                headers,
                body: None,
                dialog: None,
                tries: 0,
            },
        )
    }

    /// Sends REGISTER for the address of record of somebody else.
    pub fn register_to(&mut self, now: Now, to: &str) -> u64 {
        let headers = Headers::new().with(Name::Contact, format!("<{}>", self.contact()));
        let (uri, call_id, to) = (format!("sip:{DOMAIN}"), self.register_call_id.clone(), to.to_owned());
        self.ask(
            now,
            Asked {
                method: Method::Register,
                uri,
                to,
                call_id,
                headers,
                body: None,
                dialog: None,
                tries: 0,
            },
        )
    }

    /// Final status of the last request.
    #[must_use]
    pub fn last_status(&self) -> Option<u16> {
        self.status(self.last_number)
    }

    /// Sends MESSAGE.
    pub fn message(&mut self, now: Now, to: &str, content_type: &str, content: &[u8]) -> u64 {
        let body = Body {
            content_type: content_type.to_owned().into(),
            content: content.to_vec().into(),
        };
        self.request(now, Method::Message, to, Headers::new(), Some(body))
    }

    /// Sends MESSAGE with this Call-ID and CSeq: with credentials at once, so send another before.
    pub fn message_as(&mut self, now: Now, (call_id, cseq): (&str, u32), to: &str, text: &str) -> u64 {
        self.cseq = cseq.wrapping_sub(1);
        let body = Body {
            content_type: "text/plain".into(),
            content: text.as_bytes().to_vec().into(),
        };
        self.request_as(now, Method::Message, to, call_id.to_owned(), Headers::new(), Some(body))
    }

    /// Sends any request from outside of all dialogs to an extension.
    pub fn request(&mut self, now: Now, method: Method, to: &str, headers: Headers, body: Option<Body>) -> u64 {
        let call_id = self.endpoint.new_call_id();
        self.request_as(now, method, to, call_id, headers, body)
    }

    /// The same to any URI.
    pub fn request_to_uri(&mut self, now: Now, method: Method, uri: &str, headers: Headers, body: Option<Body>) -> u64 {
        let call_id = self.endpoint.new_call_id();
        self.ask(
            now,
            Asked {
                method,
                to: uri.to_owned(),
                uri: uri.to_owned(),
                call_id,
                headers,
                body,
                dialog: None,
                tries: 0,
            },
        )
    }

    fn request_as(
        &mut self,
        now: Now,
        method: Method,
        to: &str,
        call_id: String,
        headers: Headers,
        body: Option<Body>,
    ) -> u64 {
        let uri = format!("sip:{}@{DOMAIN}", escape_user(to.as_bytes()));
        self.ask(
            now,
            Asked {
                method,
                to: uri.clone(),
                uri,
                call_id,
                headers,
                body,
                dialog: None,
                tries: 0,
            },
        )
    }

    /// Sends a request inside the dialog that this response to one of its requests made.
    pub fn request_inside(&mut self, now: Now, method: Method, response: &Message, headers: Headers) -> u64 {
        let text = |name| String::from_utf8_lossy(response.header(name).unwrap_or_default()).into_owned();
        let contact = response.address(Name::Contact).expect("the response has a Contact");
        let uri = String::from_utf8_lossy(contact.uri_bytes).into_owned();
        let asked = Asked {
            method,
            uri,
            to: String::new(),
            call_id: text(Name::CallId),
            headers,
            body: None,
            dialog: Some((text(Name::From), text(Name::To))),
            tries: 0,
        };
        self.ask(now, asked)
    }

    /// Calls an extension; the index in [`Phone::calls`].
    pub fn call(&mut self, now: Now, to: &str) -> usize {
        self.call_uri(now, format!("sip:{}@{DOMAIN}", escape_user(to.as_bytes())))
    }

    /// The same to any URI.
    pub fn call_uri(&mut self, now: Now, uri: String) -> usize {
        let mut headers = Headers::new();
        if let Some(credentials) = self.credentials(Method::Invite, &uri) {
            headers.add(Name::Authorization, credentials);
        }
        let index = self.calls.len();
        let invitation = Invitation {
            destination: Destination::Flow(self.flow()),
            to: format!("<{uri}>"),
            uri,
            from: format!("<{}>", self.own_uri()),
            local: Local {
                heeds_names: false,
                contact: format!("<{}>", self.contact()),
                ..Local::default()
            },
            headers,
            max_forwards: 70,
            offer: Some(Body::sdp(self.sdp())),
            reliable: false,
        };
        let owner = Owner(CALLS + index as u64);
        let session = Session::connect(now.mono, owner, invitation, &mut self.endpoint, &mut self.effects);
        self.calls.push(Call::new(session, None));
        self.settle(now);
        index
    }

    /// Hangs up, or gives up.
    pub fn hang_up(&mut self, now: Now, call: usize) {
        let Phone {
            calls,
            endpoint,
            effects,
            ..
        } = self;
        if let Some(session) = calls.get_mut(call).and_then(|call| call.session.as_mut()) {
            session.close(now.mono, &Headers::new(), endpoint, effects);
        }
        self.settle(now);
    }

    fn own_uri(&self) -> String {
        format!("sip:{}@{DOMAIN}", escape_user(self.user.as_bytes()))
    }

    fn sdp(&self) -> String {
        SDP.replace("PORT", &(self.address.port() + 10_000).to_string())
    }

    fn ask(&mut self, now: Now, asked: Asked) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        self.asked.insert(number, asked);
        self.send(now, number);
        number
    }

    /// Sends a request, with credentials if there is a challenge.
    fn send(&mut self, now: Now, number: u64) {
        let Some(asked) = self.asked.get_mut(&number) else {
            return;
        };
        asked.tries += 1;
        self.cseq += 1;
        let (method, uri) = (asked.method, asked.uri.clone());
        let (from, to) = asked.dialog.clone().unwrap_or_else(|| {
            let (user, tag) = (escape_user(self.user.as_bytes()), self.endpoint.new_tag());
            (format!("<sip:{user}@{DOMAIN}>;tag={tag}"), format!("<{}>", asked.to))
        });
        let mut draft = Draft::new(method, &uri, &from, &to, &asked.call_id, self.cseq).headers(&asked.headers);
        draft.body = asked.body.clone();
        if let Some(credentials) = self.credentials(method, &uri) {
            draft = draft.header(Name::Authorization, credentials);
        }
        let destination = Destination::Flow(self.flow());
        self.endpoint
            .send(now.mono, destination, &draft, Owner(number), &mut self.effects);
        self.settle(now);
    }

    /// The value of Authorization, once a challenge has come.
    fn credentials(&mut self, method: Method, uri: &str) -> Option<Vec<u8>> {
        let cnonce = format!("{:x}", self.endpoint.random());
        let (line, count) = self.challenge.as_mut()?;
        *count += 1;
        let challenge = Challenge::parse(line).ok()?;
        let ha1 = ha1(
            challenge.algorithm,
            self.user.as_bytes(),
            &challenge.realm,
            self.password.as_bytes(),
        );
        let method = method.as_str().as_bytes();
        Some(challenge.credentials(&self.user, &ha1, method, uri.as_bytes(), &cnonce, *count))
    }

    // What happens to it.

    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.endpoint.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        self.endpoint.handle_timeout(now.mono, &mut self.effects);
        self.settle(now);
    }

    pub(super) fn handle_bytes(&mut self, now: Now, bytes: Bytes) {
        // The answer to a keep-alive by STUN.
        if bytes.starts_with(&[1, 1]) {
            return;
        }
        if self.is_dead {
            return;
        }
        let message = match Message::parse(bytes.clone()) {
            Ok(message) => message,
            Err(why) if self.is_strict => {
                panic!("{why:?}, sent by the switch:\n{}", String::from_utf8_lossy(&bytes))
            }
            Err(_) => return,
        };
        let flow = self.flow();
        self.endpoint.handle_message(now.mono, flow, message, &mut self.effects);
        self.settle(now);
    }

    pub(super) fn poll_transmit(&mut self) -> Option<(Flow, Bytes)> {
        if self.is_dead {
            self.wire.clear();
        }
        self.wire.pop_front()
    }

    fn settle(&mut self, now: Now) {
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Output::Transmit { flow, bytes } => self.wire.push_back((flow, bytes)),
                Output::Event(event) => self.on_event(now, event),
                Output::Session { owner, event } => self.on_session(now, call_index(owner), event),
                Output::Connect { .. } | Output::Resolve { .. } | Output::Subscription { .. } => {}
            }
        }
    }

    fn on_event(&mut self, now: Now, event: Event) {
        match event {
            Event::Request {
                flow,
                message,
                dialog: None,
                ..
            } => self.on_request(now, flow, message),
            Event::Response { owner, message, .. } if owner.0 < CALLS && message.status() >= 200 => {
                self.on_answer(now, owner.0, message);
            }
            Event::Timeout { owner, .. } | Event::SendFailed { owner, .. } if owner.0 < CALLS => {
                self.answers.insert(owner.0, None);
            }
            Event::Timer { owner, kind: 1 } if owner.0 >= 2 * CALLS => self.pick_up(now, owner.0 - 2 * CALLS),
            other => {
                let index = other.owner().map_or(usize::MAX, call_index);
                let Phone {
                    calls,
                    endpoint,
                    effects,
                    ..
                } = self;
                if let Some(session) = calls.get_mut(index).and_then(|call| call.session.as_mut()) {
                    session.handle_event(now.mono, other, endpoint, effects);
                }
            }
        }
    }

    /// A 401 is answered once, or again if the nonce was only stale.
    fn on_answer(&mut self, now: Now, number: u64, message: Message) {
        let challenge = message.header(Name::WwwAuthenticate).map(<[u8]>::to_vec);
        let is_stale = challenge
            .as_deref()
            .and_then(|line| Challenge::parse(line).ok())
            .is_some_and(|c| c.is_stale);
        let tries = self.asked.get(&number).map_or(0, |asked| asked.tries);
        let had_nonce = self.challenge.is_some();
        if let (401, Some(line)) = (message.status(), challenge) {
            self.challenges.push(String::from_utf8_lossy(&line).into_owned());
            self.challenge = Some((line, 0));
            if tries == 1 && !had_nonce || is_stale && tries < 4 {
                return self.send(now, number);
            }
            self.challenge = None;
        }
        if !self.caches_nonce {
            self.challenge = None;
        }
        self.answers.insert(number, Some(message));
    }

    fn on_request(&mut self, now: Now, flow: Flow, message: Message) {
        self.requests.push(message.clone());
        match message.method() {
            Method::Message => self.on_text(now, flow, message),
            Method::Invite => self.on_invite(now, flow, message),
            Method::Options if !self.takes.is_empty() => {
                let reply = Reply::new(200).header(Name::Accept, self.takes.join(", "));
                self.reply(now, flow, &message, &reply);
            }
            Method::Notify | Method::Options => self.reply(now, flow, &message, &Reply::new(200)),
            _ => self.reply(now, flow, &message, &Reply::new(501)),
        }
    }

    fn on_text(&mut self, now: Now, flow: Flow, message: Message) {
        let content_type = message.header(Name::ContentType).unwrap_or_default();
        let content_type = String::from_utf8_lossy(content_type).into_owned();
        let is_taken = |known: &&str| sip::body::is(&content_type, known);
        match self.on_message {
            OnMessage::Take if !self.takes.is_empty() && !self.takes.iter().any(is_taken) => {
                let reply = Reply::new(415).header(Name::Accept, self.takes.join(", "));
                self.reply(now, flow, &message, &reply);
            }
            OnMessage::Take => {
                self.reply(now, flow, &message, &Reply::new(200));
                self.taken.push((now.mono, message));
            }
            OnMessage::Refuse(status) => {
                let mut reply = Reply::new(status);
                if let Some(after_s) = self.retry_after_s {
                    reply = reply.header(Name::RetryAfter, after_s.to_string());
                }
                self.reply(now, flow, &message, &reply);
            }
            OnMessage::Ignore => {}
        }
    }

    fn reply(&mut self, now: Now, flow: Flow, message: &Message, reply: &Reply) {
        self.endpoint.answer(now.mono, flow, message, reply, &mut self.effects);
    }

    // Calls.

    fn on_invite(&mut self, now: Now, flow: Flow, message: Message) {
        if self.on_invite == OnInvite::Ignore {
            return;
        }
        let index = self.calls.len();
        let owner = Owner(CALLS + index as u64);
        let local = Local {
            heeds_names: false,
            contact: format!("<{}>", self.contact()),
            ..Local::default()
        };
        let Phone { endpoint, effects, .. } = self;
        let mut session = Session::receive(now.mono, owner, flow, message.clone(), local, endpoint, effects);
        let said = match self.on_invite {
            OnInvite::Refuse(status) => session.reject(now.mono, Reply::new(status), endpoint, effects),
            _ => session.progress(now.mono, Reply::new(180), endpoint, effects),
        };
        said.expect("a fresh session says what is wanted");
        if let OnInvite::AnswerAfter(time) = self.on_invite {
            endpoint.set_timer(now.mono + time, Owner(2 * CALLS + index as u64), 1);
        }
        self.calls.push(Call::new(session, Some(message)));
    }

    fn pick_up(&mut self, now: Now, index: u64) {
        let body = Body::sdp(self.sdp());
        let Phone {
            calls,
            endpoint,
            effects,
            ..
        } = self;
        let call = usize::try_from(index).ok().and_then(|index| calls.get_mut(index));
        if let Some(session) = call.and_then(|call| call.session.as_mut()) {
            // Refused if the caller has given up meanwhile.
            let _ = session.accept(now.mono, &Headers::new(), Some(body), endpoint, effects);
        }
    }

    fn on_session(&mut self, now: Now, index: usize, event: invite::Event) {
        let body = Body::sdp(self.sdp());
        let Phone {
            calls,
            endpoint,
            effects,
            ..
        } = self;
        let Some(call) = calls.get_mut(index) else { return };
        match event {
            invite::Event::Progress { message, .. } => call.progress.push(message.status()),
            invite::Event::Answered { message, .. } => {
                call.is_up = true;
                call.remote = Some(message.body());
            }
            invite::Event::Acked { .. } => call.is_up = true,
            invite::Event::Rejected { status, .. } => call.rejected = Some(status),
            invite::Event::Offer { body: offer, .. } => {
                call.remote = offer.map(|offer| offer.content);
                if let Some(session) = &mut call.session {
                    let _ = session.answer(now.mono, &Headers::new(), Some(body), endpoint, effects);
                }
            }
            invite::Event::Request { server, .. } => {
                if let Some(session) = &mut call.session {
                    session.respond(now.mono, server, Reply::new(200), endpoint, effects);
                }
            }
            invite::Event::Ended { cause, .. } => {
                (call.is_up, call.ended) = (false, Some(cause));
                call.session = None;
            }
            _ => {}
        }
    }
}

fn call_index(owner: Owner) -> usize {
    usize::try_from(owner.0.wrapping_sub(CALLS)).unwrap_or(usize::MAX)
}

impl Call {
    fn new(session: Session, invite: Option<Message>) -> Call {
        Call {
            is_incoming: invite.is_some(),
            progress: Vec::new(),
            is_up: false,
            rejected: None,
            ended: None,
            remote: invite.as_ref().map(Message::body),
            invite,
            session: Some(session),
        }
    }
}
