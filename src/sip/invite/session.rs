//! What a session is, and which verb takes which event.

use super::{Cause, Event, Local, Match};
use crate::dialog::{Dialog, Order};
use crate::draft::{Body, Draft, Headers, Reply, Tag};
use crate::endpoint::{self, Alarm, ClientId, Endpoint, Owner, ServerId};
use crate::output::{Output, Sink};
pub(super) use crate::step::Cx;
use crate::{Flow, Message, Method, Name};
use clock::Mono;
use smallvec::SmallVec;
use std::time::Duration;

/// One leg of a call.
#[derive(Debug)]
pub struct Session {
    pub(super) owner: Owner,
    pub(super) local: Local,
    pub(super) call_id: String,
    pub(super) tag: Tag,
    /// We made the call, and so its Call-ID.
    pub(super) is_caller: bool,
    /// CSeq of the INVITE that began it, if that was ours.
    pub(super) first_cseq: u32,
    /// What the other side said in Allow; none if it never did.
    pub(super) allowed: Option<Methods>,
    pub(super) phase: Phase,
    pub(super) exchange: Exchange,
    /// A 2xx of theirs has no ACK yet: ours, or our TU's if it has to answer an offer.
    pub(super) owes_ack: Option<Box<Owed>>,
    /// An offer of ours that met theirs (491) and is tried again.
    pub(super) retry: Option<Box<Retry>>,
    /// A 2xx of ours without its ACK.
    pub(super) unacked: Option<Unacked>,
    /// The ACK to the last 2xx of theirs, for when that comes again.
    pub(super) acked: Option<Box<Acked>>,
    /// Forks that answered after another one had: tags of dialogs that were ended as soon as they began.
    pub(super) strangers: Vec<Box<[u8]>>,
    /// The TU has closed, but BYE has to wait for the ACK to our first 2xx (section 15): its headers.
    pub(super) farewell: Option<Headers>,
    /// Who refreshes it, and when.
    pub(super) refresh: Option<super::timer::Refresh>,
    /// The least life the other side bears, once a 422 has said so.
    pub(super) least_s: u32,
    /// Our last description, for a refresh by re-INVITE.
    pub(super) described: Option<Body>,
    /// Other requests of ours that wait for their answer.
    pub(super) requests: SmallVec<[ClientId; 2]>,
    /// Our Contact while we are no focus, if we are one.
    pub(super) plain_contact: Option<String>,
}

/// How far the call is.
#[derive(Debug)]
pub(super) enum Phase {
    /// We call; no final response yet.
    Calling(Calling),
    /// We are called and have not answered.
    Ringing(Box<Ringing>),
    /// 2xx was sent or received.
    Talking(Dialog),
    /// BYE was sent; its answer is awaited.
    Leaving(Leaving),
    /// Nothing more comes.
    Over,
}

#[derive(Debug)]
pub(super) struct Calling {
    pub invite: ClientId,
    /// From with our tag.
    pub from: Vec<u8>,
    /// Request-URI of the INVITE.
    pub uri: Vec<u8>,
    /// The INVITE had an offer.
    pub offered: bool,
    /// The TU has closed: CANCEL was sent or will be, with these headers.
    pub closing: Option<Headers>,
    /// Early dialogs: one for each fork that rang.
    pub forks: Vec<Dialog>,
    /// The last RSeq of each fork, by its place.
    pub rseqs: Vec<Option<u32>>,
    /// Offer and answer of the INVITE have been exchanged reliably in this fork.
    pub settled: Option<usize>,
    /// A reliable response had the offer; our TU owes the answer that goes into the PRACK.
    pub owes_prack: Option<super::prack::OwedPrack>,
    /// For another try after a 422.
    pub invitation: Option<Box<super::Invitation>>,
}

#[derive(Debug)]
pub(super) struct Ringing {
    pub server: ServerId,
    pub invite: Message,
    pub dialog: Dialog,
    /// The last provisional response, repeated every minute so that proxies do not give up (section 13.3.1.1).
    pub progress: Option<(Reply, Alarm, Mono)>,
    /// What was sent reliably, and what waits for its PRACK.
    pub reliable: super::prack::Reliable,
}

#[derive(Debug)]
pub(super) struct Leaving {
    pub dialog: Dialog,
    pub bye: ClientId,
}

/// What is being agreed upon inside the session, beyond its first INVITE.
#[derive(Debug)]
pub(super) enum Exchange {
    Idle,
    /// Our re-INVITE, or UPDATE, awaits its final response.
    Sent {
        client: ClientId,
        cseq: u32,
        attempt: Box<Attempt>,
    },
    /// Theirs awaits our TU.
    Received {
        server: ServerId,
        method: Method,
        cseq: u32,
        wants_offer: bool,
    },
}

/// One try to change the session.
#[derive(Debug)]
pub(super) struct Attempt {
    pub method: Method,
    pub headers: Headers,
    pub offer: Option<Body>,
    /// How often it met a 491 or 422.
    pub refused: u32,
    /// It only keeps the session alive; our TU knows nothing of it.
    pub is_refresh: bool,
}

#[derive(Debug)]
pub(super) struct Retry {
    pub attempt: Box<Attempt>,
    pub alarm: Alarm,
    pub at: Mono,
}

#[derive(Debug)]
pub(super) struct Unacked {
    pub server: ServerId,
    pub cseq: u32,
    /// It answered the first INVITE.
    pub first: bool,
    /// It had an offer, so the ACK has the answer.
    pub offered: bool,
    pub alarm: Alarm,
    pub at: Mono,
    pub interval: Duration,
    pub give_up: Mono,
}

/// A 2xx of theirs that waits for its ACK.
#[derive(Debug)]
pub(super) struct Owed {
    pub cseq: u32,
    pub client: ClientId,
    /// What the ACK has to answer.
    pub offer: Option<Body>,
    /// When it is answered without the TU: the other side repeats its 2xx for 64*T1 only.
    pub limit: Option<(Alarm, Mono)>,
}

/// An ACK of ours.
#[derive(Debug)]
pub(super) struct Acked {
    pub cseq: u32,
    pub client: ClientId,
    pub draft: Draft,
}

/// A set of methods.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Methods(u16);

/// Timers of a session, in [`endpoint::Event::Timer`].
pub(super) mod timer {
    /// Our 2xx again, or no more.
    pub const REPEAT_SUCCESS: u32 = 1;
    /// Our provisional response again.
    pub const REPEAT_PROGRESS: u32 = 2;
    /// An offer that met a 491 again.
    pub const RETRY: u32 = 3;
    /// Their 2xx wants its ACK now, with or without the TU.
    pub const OWED: u32 = 4;
    /// The session is to be refreshed, or was not.
    pub const REFRESH: u32 = 5;
    /// Our reliable provisional response again, or no more.
    pub const REPEAT_RELIABLE: u32 = 6;
}

/// The Contact parameter of a focus.
const FOCUS: &str = ";isfocus";

/// CSeq of the INVITE that begins a session of ours, but for what a 422 adds.
pub(super) const FIRST_CSEQ: u32 = 1;

impl Session {
    /// Our Contact says from now on that we are the focus of a conference (RFC 4579 section 5.1). Before it is sent: before
    /// [`Session::accept`].
    pub fn become_focus(&mut self) {
        if self.plain_contact.is_none() {
            let focus = self.local.contact.clone();
            self.set_focus(Some(&focus));
        }
    }

    // What happens to it.

    /// Whose this request inside a dialog is. A caller whose credentials were checked may be given to
    /// [`Session::handle_event`] in spite of [`Match::Foreign`]; the dialog then moves to its flow.
    #[must_use]
    pub fn matches(&self, flow: Flow, message: &Message) -> Match {
        match self.dialogs().iter().find(|dialog| dialog.has(message)) {
            None => Match::No,
            Some(dialog) if dialog.is_on(flow) => Match::Yes,
            Some(_) => Match::Foreign,
        }
    }

    /// Takes an event of the endpoint whose owner is this session.
    pub fn handle_event(&mut self, now: Mono, event: endpoint::Event, endpoint: &mut Endpoint, out: &mut impl Sink) {
        let cx = &mut Cx { now, endpoint, out };
        match event {
            endpoint::Event::Request { flow, message, .. } => self.on_request(cx, flow, message),
            endpoint::Event::Ack { message, .. } => self.on_ack(cx, &message),
            endpoint::Event::Cancel { server, message, .. } => self.on_cancel(cx, server, message),
            endpoint::Event::Response {
                client, flow, message, ..
            } => {
                self.on_response(cx, client, message.status(), Some((flow, message)));
            }
            endpoint::Event::StrayResponse { flow, message, .. } => self.on_success_again(cx, flow, &message),
            // As if 408 or 503 had come (RFC 3261 section 8.1.3.1).
            endpoint::Event::Timeout { client, .. } => self.on_response(cx, client, 408, None),
            endpoint::Event::SendFailed { client, .. } => self.on_response(cx, client, 503, None),
            endpoint::Event::Timer { kind, .. } => self.on_timer(cx, kind),
        }
    }

    fn on_request(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, message: Message) {
        let Some(dialog) = self.dialogs_mut().iter_mut().find(|dialog| dialog.has(&message)) else {
            return cx.reply(flow, &message, Reply::new(481));
        };
        if dialog.receive(&message) == Order::Late {
            return cx.reply(flow, &message, Reply::new(500));
        }
        dialog.set_flow(flow);
        if refreshes_target(message.method()) {
            dialog.refresh_target(&message);
        }
        self.learn(&message);
        match message.method() {
            Method::Invite => self.on_reinvite(cx, flow, message),
            Method::Update => self.on_update(cx, flow, message),
            Method::Bye => self.on_bye(cx, flow, message),
            Method::Prack => self.on_prack(cx, flow, message),
            _ => self.on_other_request(cx, flow, message),
        }
    }

    fn on_response(&mut self, cx: &mut Cx<'_, impl Sink>, client: ClientId, status: u16, got: Option<(Flow, Message)>) {
        match (&self.phase, &self.exchange) {
            (Phase::Calling(calling), _) if calling.invite == client => self.on_invite_response(cx, status, got),
            (_, Exchange::Sent { client: c, .. }) if *c == client => self.on_exchange_response(cx, status, got),
            (Phase::Leaving(leaving), _) if leaving.bye == client => self.on_bye_response(cx, status),
            _ if self.requests.contains(&client) => self.on_other_response(cx, client, status, got),
            _ => {
                if let Some((flow, message)) = got {
                    self.on_success_again(cx, flow, &message);
                }
            }
        }
    }

    fn on_timer(&mut self, cx: &mut Cx<'_, impl Sink>, kind: u32) {
        match kind {
            timer::REPEAT_SUCCESS => self.repeat_success(cx),
            timer::REPEAT_PROGRESS => self.repeat_progress(cx),
            timer::RETRY => self.on_retry(cx),
            timer::OWED => self.on_owed(cx),
            timer::REFRESH => self.on_refresh_due(cx),
            timer::REPEAT_RELIABLE => self.repeat_reliable(cx),
            _ => {}
        }
    }

    /// Takes Allow, where there is one.
    pub(super) fn learn(&mut self, message: &Message) {
        if message.header(Name::Allow).is_some() {
            self.allowed = Some(message.values(Name::Allow).collect());
        }
    }

    // What all verbs use.

    pub(super) fn tell(&self, cx: &mut Cx<'_, impl Sink>, event: Event) {
        cx.out.push(Output::Session {
            owner: self.owner,
            event,
        });
    }

    /// A request or 2xx that says where we are.
    pub(super) fn introduce(&self, headers: &mut Headers) {
        headers.add(Name::Contact, &self.local.contact);
        headers.append(&self.local.headers);
        headers.append(&self.local.extensions());
    }

    pub(super) fn dialogs(&self) -> &[Dialog] {
        match &self.phase {
            Phase::Calling(calling) => &calling.forks,
            Phase::Ringing(ringing) => std::slice::from_ref(&ringing.dialog),
            Phase::Talking(dialog) | Phase::Leaving(Leaving { dialog, .. }) => std::slice::from_ref(dialog),
            Phase::Over => &[],
        }
    }

    pub(super) fn dialogs_mut(&mut self) -> &mut [Dialog] {
        match &mut self.phase {
            Phase::Calling(calling) => &mut calling.forks,
            Phase::Ringing(ringing) => std::slice::from_mut(&mut ringing.dialog),
            Phase::Talking(dialog) | Phase::Leaving(Leaving { dialog, .. }) => std::slice::from_mut(dialog),
            Phase::Over => &mut [],
        }
    }

    /// Nothing more is wanted of it: no timer, no event, no dialog.
    pub(super) fn end(&mut self, cx: &mut Cx<'_, impl Sink>, cause: Cause, message: Option<Message>) {
        self.stop_timers(cx);
        self.bequeath(cx);
        cx.endpoint.unbind_dialog(self.tag);
        for client in self.requests.drain(..) {
            cx.endpoint.disown(client);
        }
        if let Exchange::Sent { client, .. } = self.exchange {
            cx.endpoint.disown(client);
        }
        if let Phase::Leaving(Leaving { bye, .. }) = self.phase {
            cx.endpoint.disown(bye);
        }
        self.exchange = Exchange::Idle;
        self.phase = Phase::Over;
        self.tell(cx, Event::Ended { cause, message });
    }

    pub(super) fn stop_timers(&mut self, cx: &mut Cx<'_, impl Sink>) {
        self.stop_refresh(cx);
        let mut alarms: SmallVec<[Alarm; 4]> = SmallVec::new();
        alarms.extend(self.retry.take().map(|retry| retry.alarm));
        let limit = self.owes_ack.as_mut().and_then(|owed| owed.limit.take());
        alarms.extend(limit.map(|(alarm, _)| alarm));
        alarms.extend(self.unacked.take().map(|unacked| unacked.alarm));
        if let Phase::Ringing(ringing) = &mut self.phase {
            alarms.extend(ringing.progress.take().map(|(_, alarm, _)| alarm));
            alarms.extend(ringing.reliable.stop());
        }
        for alarm in alarms {
            cx.endpoint.cancel_timer(alarm);
        }
    }

    // What it is.

    /// Its owner.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Our tag: that of From if we made the call, of To if not.
    #[must_use]
    pub fn local_tag(&self) -> Tag {
        self.tag
    }

    /// The other side's tag; `None` before there is a dialog.
    #[must_use]
    pub fn remote_tag(&self) -> Option<&[u8]> {
        self.dialogs().first().map(|dialog| dialog.id().remote())
    }

    /// True if one of its dialogs has this tag on the other side.
    #[must_use]
    pub fn has_remote_tag(&self, tag: &[u8]) -> bool {
        self.dialogs().iter().any(|dialog| dialog.id().remote() == tag)
    }

    /// True once a 2xx was sent or received, until the end.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        matches!(self.phase, Phase::Talking(_))
    }

    /// True after the end: nothing more comes of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// True while [`Session::modify`], and [`Session::update`] with an offer, would be refused for now
    /// ([`super::Refused::Pending`]).
    #[must_use]
    pub fn offer_pending(&self) -> bool {
        let exchanging = !matches!(self.exchange, Exchange::Idle) || self.retry.is_some();
        let acknowledging = self.owes_ack.is_some() || self.unacked.is_some();
        exchanging || acknowledging || !self.is_settled()
    }

    /// The offer of the first INVITE has its answer, as far as both sides know: by a 2xx, or reliably before it.
    pub(super) fn is_settled(&self) -> bool {
        match &self.phase {
            Phase::Calling(calling) => calling.settled.is_some(),
            Phase::Ringing(ringing) => ringing.reliable.is_settled(),
            Phase::Talking(_) | Phase::Leaving(_) | Phase::Over => true,
        }
    }

    /// The dialog in which requests of ours go.
    pub(super) fn main_dialog(&mut self) -> Option<&mut Dialog> {
        let at = match &self.phase {
            Phase::Calling(calling) => calling.settled.unwrap_or(0),
            _ => 0,
        };
        self.dialogs_mut().get_mut(at)
    }

    /// True if the other side said in Allow that it knows this method.
    #[must_use]
    pub fn allows(&self, method: Method) -> bool {
        self.allowed.is_some_and(|methods| methods.has(method))
    }

    /// The flow its requests go to and come from; `None` before the first response to our INVITE, and after the end.
    #[must_use]
    pub fn flow(&self) -> Option<Flow> {
        self.dialogs().first().map(Dialog::flow)
    }

    /// Their Contact, the target of our requests.
    #[must_use]
    pub fn target(&self) -> Option<&[u8]> {
        self.dialogs().first().map(Dialog::target)
    }

    /// From now on our Contact is this one, and says that we are the focus of a conference; or it is again what it was before
    /// (RFC 4579 section 4.1).
    pub fn set_focus(&mut self, focus: Option<&str>) {
        let plain = self.plain_contact.take();
        let plain = plain.unwrap_or_else(|| std::mem::take(&mut self.local.contact));
        match focus {
            Some(focus) => {
                self.local.contact = [focus, FOCUS].concat();
                self.plain_contact = Some(plain);
            }
            None => self.local.contact = plain,
        }
    }
}

impl Methods {
    fn has(self, method: Method) -> bool {
        self.0 & 1 << (method as u16) != 0
    }
}

impl<'a> FromIterator<&'a [u8]> for Methods {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(names: I) -> Methods {
        let known = names
            .into_iter()
            .map(Method::from_bytes)
            .filter(|method| *method != Method::Other);
        Methods(known.fold(0, |set, method| set | 1 << (method as u16)))
    }
}

/// RFC 3261 section 12.2, RFC 3311 section 5, RFC 6665 section 4.1.2.1, RFC 3515 section 2.4.
fn refreshes_target(method: Method) -> bool {
    use Method::{Invite, Notify, Refer, Subscribe, Update};
    matches!(method, Invite | Update | Subscribe | Notify | Refer)
}
