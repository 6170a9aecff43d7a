//! The side that asks (RFC 6665 section 4.1).

use super::{End, Event};
use crate::dialog::{Dialog, Order};
use crate::draft::{Draft, Headers, Reply, Tag};
use crate::endpoint::{self, Alarm, ClientId, Destination, Endpoint, Owner};
use crate::header::{SubscriptionState, delta_seconds};
use crate::invite::Match;
use crate::output::{Output, Sink};
use crate::step::Cx;
use crate::{Flow, Message, Method, Name};
use clock::Mono;
use std::time::Duration;

/// What a subscription to be made needs.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Where the SUBSCRIBE goes.
    pub destination: Destination,
    /// Request-URI.
    pub uri: String,
    /// From without tag.
    pub from: String,
    /// To without tag.
    pub to: String,
    /// Our Contact.
    pub contact: String,
    /// Event package, e.g. `presence`.
    pub package: String,
    /// How long, seconds.
    pub expires: u32,
    /// Accept and the like: in every SUBSCRIBE.
    pub headers: Headers,
}

/// One subscription to a state of others. The first dialog that answers is kept; NOTIFYs of other forks get 481 (section
/// 4.4.1 lets packages choose).
#[derive(Debug)]
pub struct Subscriber {
    owner: Owner,
    pub(super) subscription: Subscription,
    call_id: String,
    tag: Tag,
    from: String,
    dialog: Option<Dialog>,
    under_way: Option<ClientId>,
    /// A 423 has been heeded once.
    lengthened: bool,
    /// We want no more.
    leaving: bool,
    /// And have said so.
    left: bool,
    phase: Phase,
    alarm: Option<Alarm>,
}

/// What the one timer is for.
#[derive(Copy, Clone, Debug)]
enum Phase {
    /// No NOTIFY yet, or our last one is awaited: Timer N, 64*T1 (section 4.1.2.4).
    Awaiting { until: Mono },
    /// It is time to refresh at `at`; at `until` it will be over.
    Active { at: Mono, until: Mono },
    /// The refresh came to nothing; it may live until then.
    Fading { until: Mono },
}

impl Subscriber {
    /// Sends SUBSCRIBE, and refreshes it until the end.
    pub fn subscribe(
        now: Mono,
        owner: Owner,
        subscription: Subscription,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Subscriber {
        let (tag, call_id) = (endpoint.new_tag(), endpoint.new_call_id());
        endpoint.bind_dialog(tag, owner);
        let mut subscriber = Subscriber {
            owner,
            from: format!("{};tag={tag}", subscription.from),
            subscription,
            call_id,
            tag,
            dialog: None,
            under_way: None,
            lengthened: false,
            leaving: false,
            left: false,
            phase: Phase::Awaiting { until: now },
            alarm: None,
        };
        let cx = &mut Cx { now, endpoint, out };
        subscriber.ask(cx, 1);
        subscriber.await_notify(cx);
        subscriber
    }

    /// Sends SUBSCRIBE with Expires 0, as soon as there is a dialog to send it in; [`Event::Ended`] follows the last NOTIFY,
    /// at the latest after 64*T1.
    pub fn unsubscribe(&mut self, now: Mono, endpoint: &mut Endpoint, out: &mut impl Sink) {
        let cx = &mut Cx { now, endpoint, out };
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        self.subscription.expires = 0;
        self.await_notify(cx);
        self.leave(cx);
    }

    fn leave(&mut self, cx: &mut Cx<'_, impl Sink>) {
        if self.dialog.is_none() || std::mem::replace(&mut self.left, true) {
            return;
        }
        if let Some(client) = self.under_way.take() {
            cx.endpoint.disown(client);
        }
        self.ask(cx, 0);
    }

    /// `cseq` counts only while there is no dialog.
    fn ask(&mut self, cx: &mut Cx<'_, impl Sink>, cseq: u32) {
        let s = &self.subscription;
        let headers = Headers::new()
            .with(Name::Contact, &s.contact)
            .with(Name::Event, &s.package)
            .with(Name::Expires, s.expires.to_string());
        let draft = match &mut self.dialog {
            Some(dialog) => dialog.request(Method::Subscribe),
            None => Draft::new(Method::Subscribe, &s.uri, &self.from, &s.to, &self.call_id, cseq),
        };
        let draft = draft.headers(&headers).headers(&s.headers);
        let destination = self
            .dialog
            .as_ref()
            .map_or_else(|| s.destination.clone(), Dialog::destination);
        self.under_way = Some(cx.endpoint.send(cx.now, destination, &draft, self.owner, cx.out));
    }

    /// Takes an event of the endpoint whose owner is this subscription.
    pub fn handle_event(&mut self, now: Mono, event: endpoint::Event, endpoint: &mut Endpoint, out: &mut impl Sink) {
        let cx = &mut Cx { now, endpoint, out };
        match event {
            endpoint::Event::Request { flow, message, .. } => self.on_request(cx, flow, message),
            endpoint::Event::Response {
                client, flow, message, ..
            } => {
                self.on_response(cx, client, message.status(), Some((flow, &message)));
            }
            endpoint::Event::Timeout { client, .. } => self.on_response(cx, client, 408, None),
            endpoint::Event::SendFailed { client, .. } => self.on_response(cx, client, 503, None),
            endpoint::Event::Timer { .. } => self.on_timer(cx),
            _ => {}
        }
    }

    fn on_response(
        &mut self,
        cx: &mut Cx<'_, impl Sink>,
        client: ClientId,
        status: u16,
        got: Option<(Flow, &Message)>,
    ) {
        if self.under_way != Some(client) || status < 200 {
            return;
        }
        self.under_way = None;
        match (status, got) {
            (200..300, Some((flow, message))) => self.on_granted(cx, flow, message),
            (423, Some((_, message))) if !self.lengthened && !self.leaving => self.on_too_brief(cx, message),
            // A refresh that fails for another reason than 481 leaves the rest of its life (section 4.1.2.2).
            _ => match self.phase {
                Phase::Active { until, .. } if status != 481 && !self.leaving => {
                    self.phase = Phase::Fading { until };
                    self.set_alarm(cx, until);
                }
                _ if self.leaving => self.end(cx, End::Local),
                _ => self.end(cx, End::Gone),
            },
        }
    }

    fn on_granted(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, message: &Message) {
        if self.dialog.is_none() && !message.to_tag().is_empty() {
            let (from, uri) = (self.from.as_bytes(), self.subscription.uri.as_bytes());
            self.dialog = Some(Dialog::as_caller(flow, message, from, self.tag, uri));
        }
        if self.leaving {
            return self.leave(cx);
        }
        if let (Some(seconds), false) = (message.expires(), matches!(self.phase, Phase::Awaiting { .. })) {
            self.live(cx, seconds.min(self.subscription.expires));
        }
    }

    /// Asks again for as long as the other side wants at least (section 4.1.2.1).
    fn on_too_brief(&mut self, cx: &mut Cx<'_, impl Sink>, message: &Message) {
        self.lengthened = true;
        let least = message
            .header(Name::MinExpires)
            .and_then(|value| delta_seconds(value).ok());
        self.subscription.expires = least.unwrap_or(0).max(self.subscription.expires);
        self.ask(cx, message.cseq() + 1);
    }

    fn on_request(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, message: Message) {
        let state = message.header(Name::SubscriptionState).map(SubscriptionState::parse);
        let (Method::Notify, Some(Ok(state))) = (message.method(), state) else {
            let status = if message.method() == Method::Notify { 400 } else { 481 };
            return cx.reply(flow, &message, Reply::new(status));
        };
        if self.matches(flow, &message) == Match::No {
            return cx.reply(flow, &message, Reply::new(481));
        }
        // The NOTIFY may overtake the 200 (section 4.4.1).
        let dialog = self
            .dialog
            .get_or_insert_with(|| Dialog::as_notified(flow, &message, self.tag, 1));
        if dialog.receive(&message) == Order::Late {
            return cx.reply(flow, &message, Reply::new(500));
        }
        dialog.set_flow(flow);
        dialog.refresh_target(&message);
        cx.answer(flow, &message, Reply::new(200));
        let (over, seconds) = (state.is_terminated(), state.expires());
        self.tell(cx, Event::Notified { message });
        match over {
            true if self.leaving => self.end(cx, End::Local),
            true => self.end(cx, End::Terminated),
            false if self.leaving => self.leave(cx),
            false => self.live(cx, seconds.unwrap_or(self.subscription.expires)),
        }
    }

    fn on_timer(&mut self, cx: &mut Cx<'_, impl Sink>) {
        match self.phase {
            Phase::Awaiting { until } if cx.now >= until => {
                let end = if self.leaving { End::Local } else { End::Gone };
                self.end(cx, end);
            }
            Phase::Active { at, until } if cx.now >= at && self.under_way.is_none() => {
                self.ask(cx, 0);
                self.phase = Phase::Active { at: until, until };
                self.set_alarm(cx, until);
            }
            Phase::Active { until, .. } | Phase::Fading { until } if cx.now >= until => self.end(cx, End::Expired),
            _ => {}
        }
    }

    /// Refresh when nine tenths are over: a lost one is repeated for 32 s.
    fn live(&mut self, cx: &mut Cx<'_, impl Sink>, seconds: u32) {
        let life = Duration::from_secs(u64::from(seconds.max(1)));
        let (at, until) = (cx.now + life * 9 / 10, cx.now + life);
        self.phase = Phase::Active { at, until };
        self.set_alarm(cx, at);
    }

    fn await_notify(&mut self, cx: &mut Cx<'_, impl Sink>) {
        let until = cx.now + cx.endpoint.lifetime();
        self.phase = Phase::Awaiting { until };
        self.set_alarm(cx, until);
    }

    fn set_alarm(&mut self, cx: &mut Cx<'_, impl Sink>, at: Mono) {
        self.stop(cx);
        self.alarm = Some(cx.endpoint.set_timer(at, self.owner, 0));
    }

    fn stop(&mut self, cx: &mut Cx<'_, impl Sink>) {
        if let Some(alarm) = self.alarm.take() {
            cx.endpoint.cancel_timer(alarm);
        }
    }

    fn end(&mut self, cx: &mut Cx<'_, impl Sink>, end: End) {
        self.stop(cx);
        if let Some(client) = self.under_way.take() {
            cx.endpoint.disown(client);
        }
        cx.endpoint.unbind_dialog(self.tag);
        self.tell(cx, Event::Ended(end));
    }

    fn tell(&self, cx: &mut Cx<'_, impl Sink>, event: Event) {
        cx.out.push(Output::Subscription {
            owner: self.owner,
            event,
        });
    }

    /// Whose this request inside the dialog is: as [`crate::invite::Session::matches`]. Before there is a dialog, a NOTIFY
    /// with our Call-ID and tag from where the SUBSCRIBE went makes it.
    #[must_use]
    pub fn matches(&self, flow: Flow, message: &Message) -> Match {
        let (known, near) = match &self.dialog {
            Some(dialog) => (dialog.has(message), dialog.is_on(flow)),
            None => {
                let ours =
                    message.call_id() == self.call_id.as_bytes() && Tag::parse(message.to_tag()) == Some(self.tag);
                (ours, flow.peer.ip() == self.subscription.destination.peer().ip())
            }
        };
        match (known, near) {
            (false, _) => Match::No,
            (true, true) => Match::Yes,
            (true, false) => Match::Foreign,
        }
    }

    /// Its owner.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner
    }
}
