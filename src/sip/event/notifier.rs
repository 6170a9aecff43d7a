//! The side that has the state (RFC 6665 section 4.2).

use super::{End, Event, Kept};
use crate::dialog::{Dialog, Order};
use crate::draft::{Body, Draft, Headers, Reply, Tag};
use crate::endpoint::{self, Alarm, ClientId, Endpoint, Owner};
use crate::header;
use crate::invite::Match;
use crate::output::{Output, Sink};
use crate::step::Cx;
use crate::{Flow, Message, Method, Name};
use clock::Mono;
use std::time::Duration;

/// Bounds of a subscription's life, seconds.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Shorter ones are refused with 423; 0 always means unsubscribe or fetch.
    pub min: u32,
    /// If the subscriber does not say.
    pub default: u32,
    /// Longer ones are shortened.
    pub max: u32,
}

/// What a notifier grants.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Our Contact.
    pub contact: String,
    /// Bounds of its life.
    pub lifetimes: Lifetimes,
    /// The state now.
    pub state: Option<Body>,
    /// The extension by which its states are written, for Require of the 200 and of each NOTIFY (RFC 4662 section 4.2).
    pub requires: Option<&'static str>,
}

/// One subscription to a state of ours.
#[derive(Debug)]
pub struct Notifier {
    owner: Owner,
    tag: Tag,
    /// Event as the subscriber wrote it, with its id.
    package: String,
    contact: String,
    lifetimes: Lifetimes,
    requires: Option<&'static str>,
    dialog: Dialog,
    expires_at: Mono,
    alarm: Option<Alarm>,
    /// The state last given: for the NOTIFY that ends it.
    state: Option<Body>,
    /// The NOTIFY under way. One at a time, so that states cannot overtake each other.
    under_way: Option<ClientId>,
    /// The state has changed since: it is told when that one is answered. Only the newest counts.
    changed: bool,
}

impl Lifetimes {
    /// For how many seconds a SUBSCRIBE is granted; `None`: too short.
    pub(super) fn grant(&self, subscribe: &Message) -> Option<u32> {
        match subscribe.expires().unwrap_or(self.default) {
            0 => Some(0),
            short if short < self.min => None,
            fine => Some(fine.min(self.max)),
        }
    }

    /// What a too short one is answered.
    pub(super) fn too_brief(&self) -> Reply {
        Reply::new(423).header(Name::MinExpires, self.min.to_string())
    }
}

impl Notifier {
    /// Takes a SUBSCRIBE from outside of any dialog: 200 with Expires, and at once the NOTIFY with the state (RFC 6665
    /// section 4.2.1.2). After a fetch (Expires 0) [`Event::Ended`] follows. `None`: it was refused, 423 for too short a
    /// life, 489 without Event.
    pub fn accept(
        now: Mono,
        owner: Owner,
        flow: Flow,
        subscribe: &Message,
        grant: Grant,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Option<Notifier> {
        let cx = &mut Cx { now, endpoint, out };
        let package = subscribe
            .header(Name::Event)
            .filter(|value| header::Event::parse(value).is_ok());
        let Some(package) = package else {
            cx.answer(flow, subscribe, Reply::new(489));
            return None;
        };
        let Some(seconds) = grant.lifetimes.grant(subscribe) else {
            cx.answer(flow, subscribe, grant.lifetimes.too_brief());
            return None;
        };
        let tag = cx.endpoint.new_tag();
        cx.endpoint.bind_dialog(tag, owner);
        let mut notifier = Notifier {
            owner,
            tag,
            package: String::from_utf8_lossy(package).into_owned(),
            contact: grant.contact,
            lifetimes: grant.lifetimes,
            requires: grant.requires,
            dialog: Dialog::as_callee(flow, subscribe, tag),
            expires_at: now,
            alarm: None,
            state: grant.state,
            under_way: None,
            changed: false,
        };
        notifier.grant(cx, flow, subscribe, seconds);
        if seconds > 0 {
            notifier.tell_state(cx);
        }
        Some(notifier)
    }

    /// Sends the new state: at once, or when the NOTIFY before it is answered. A state that came and went meanwhile is not
    /// told, so bodies have to be whole states.
    pub fn notify(&mut self, now: Mono, state: Option<Body>, endpoint: &mut Endpoint, out: &mut impl Sink) {
        self.state = state;
        if self.under_way.is_some() {
            self.changed = true;
        } else {
            self.tell_state(&mut Cx { now, endpoint, out });
        }
    }

    /// A NOTIFY is under way. What changes by parts is told when it no longer is ([`Event::Told`]).
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// The state given last was good for one NOTIFY only: a part, or numbered. The one that ends the subscription goes
    /// without it.
    pub fn forget_state(&mut self) {
        if self.under_way.is_some() && !self.changed {
            self.state = None;
        }
    }

    /// Ends it: `reason` as in Subscription-State, e.g. `deactivated`, `noresource`, `rejected`. Who may no longer watch is not
    /// told the state either.
    pub fn terminate(&mut self, now: Mono, reason: &str, endpoint: &mut Endpoint, out: &mut impl Sink) {
        self.state = None;
        self.finish(&mut Cx { now, endpoint, out }, reason, End::Local);
    }

    /// Takes an event of the endpoint whose owner is this subscription: SUBSCRIBE, responses to NOTIFY, timers.
    pub fn handle_event(&mut self, now: Mono, event: endpoint::Event, endpoint: &mut Endpoint, out: &mut impl Sink) {
        let cx = &mut Cx { now, endpoint, out };
        match event {
            endpoint::Event::Request { flow, message, .. } => self.on_request(cx, flow, message),
            endpoint::Event::Response { client, message, .. } => {
                self.on_response(cx, client, message.status(), message.header(Name::RetryAfter).is_some());
            }
            endpoint::Event::Timeout { client, .. } => self.on_response(cx, client, 408, false),
            endpoint::Event::SendFailed { client, .. } => self.on_response(cx, client, 503, false),
            endpoint::Event::Timer { .. } if now >= self.expires_at => self.finish(cx, "timeout", End::Expired),
            _ => {}
        }
    }

    fn on_request(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, message: Message) {
        if !self.dialog.has(&message) {
            return cx.reply(flow, &message, Reply::new(481));
        }
        if self.dialog.receive(&message) == Order::Late {
            return cx.reply(flow, &message, Reply::new(500));
        }
        self.dialog.set_flow(flow);
        match message.method() {
            Method::Subscribe => self.on_refresh(cx, flow, message),
            method if method == Method::Bye || method == Method::Invite => cx.reply(flow, &message, Reply::new(481)),
            _ => cx.answer(flow, &message, Reply::new(405).header(Name::Allow, "SUBSCRIBE, NOTIFY")),
        }
    }

    fn on_refresh(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, message: Message) {
        // One dialog, one subscription: sharing is no longer done (section 4.5).
        if !is_same(&self.package, &message) {
            return cx.answer(flow, &message, Reply::new(489));
        }
        let Some(seconds) = self.lifetimes.grant(&message) else {
            return cx.answer(flow, &message, self.lifetimes.too_brief());
        };
        self.dialog.refresh_target(&message);
        self.grant(cx, flow, &message, seconds);
        if seconds > 0 {
            self.tell(cx, Event::Refreshed { message });
        }
    }

    /// 200 with Expires; and the end, if that is what was asked for.
    fn grant(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, subscribe: &Message, seconds: u32) {
        let mut reply = Reply {
            to_tag: Some(self.tag),
            ..Reply::new(200)
        }
        .header(Name::Expires, seconds.to_string())
        .header(Name::Contact, &self.contact);
        for route in subscribe.lines(Name::RecordRoute) {
            reply.headers.add(Name::RecordRoute, route);
        }
        if let Some(extension) = self.requires {
            reply.headers.add(Name::Require, extension);
        }
        cx.answer(flow, subscribe, reply);
        self.stop(cx);
        if seconds == 0 {
            return self.finish(cx, "timeout", End::Unsubscribed);
        }
        self.expires_at = cx.now + Duration::from_secs(u64::from(seconds));
        self.alarm = Some(cx.endpoint.set_timer(self.expires_at, self.owner, 0));
    }

    fn on_response(&mut self, cx: &mut Cx<'_, impl Sink>, client: ClientId, status: u16, come_back: bool) {
        if self.under_way != Some(client) || status < 200 {
            return;
        }
        self.under_way = None;
        match status {
            200..300 => {}
            // It lives on only where the other side says when to try again (section 4.2.2).
            _ if come_back && status != 481 => {}
            _ => return self.end(cx, End::Gone),
        }
        if std::mem::take(&mut self.changed) {
            self.tell_state(cx);
        } else {
            self.tell(cx, Event::Told);
        }
    }

    fn tell_state(&mut self, cx: &mut Cx<'_, impl Sink>) {
        let left = self.expires_at.since(cx.now).as_secs();
        let draft = self.draft(&format!("active;expires={left}"));
        self.under_way = Some(cx.send(&self.dialog, &draft, self.owner));
    }

    /// The last NOTIFY. Nobody waits for its answer.
    fn finish(&mut self, cx: &mut Cx<'_, impl Sink>, reason: &str, end: End) {
        let draft = self.draft(&format!("terminated;reason={reason}"));
        let client = cx.send(&self.dialog, &draft, self.owner);
        cx.endpoint.disown(client);
        self.end(cx, end);
    }

    fn draft(&mut self, state: &str) -> Draft {
        let mut headers = Headers::new()
            .with(Name::Contact, &self.contact)
            .with(Name::Event, &self.package)
            .with(Name::SubscriptionState, state);
        if let Some(extension) = self.requires {
            headers.add(Name::Require, extension);
        }
        Draft {
            body: self.state.clone(),
            ..self.dialog.request(Method::Notify).headers(&headers)
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

    fn stop(&mut self, cx: &mut Cx<'_, impl Sink>) {
        if let Some(alarm) = self.alarm.take() {
            cx.endpoint.cancel_timer(alarm);
        }
    }

    fn tell(&self, cx: &mut Cx<'_, impl Sink>, event: Event) {
        cx.out.push(Output::Subscription {
            owner: self.owner,
            event,
        });
    }

    /// What a store has to keep, so that [`Notifier::restore`] can go on after a restart.
    #[must_use]
    pub fn kept(&self, now: Mono) -> Kept {
        Kept {
            tag: self.tag,
            package: self.package.clone(),
            contact: self.contact.clone(),
            dialog: self.dialog.kept(),
            left: self.expires_at.since(now),
            requires: self.requires,
        }
    }

    /// Takes up a subscription of before a restart. `skip` is at least the number of NOTIFYs sent since it was kept, so
    /// that the next CSeq is higher than theirs. Nothing is sent: call [`Notifier::notify`] now.
    pub fn restore(
        now: Mono,
        owner: Owner,
        kept: Kept,
        (lifetimes, skip): (Lifetimes, u32),
        endpoint: &mut Endpoint,
    ) -> Notifier {
        endpoint.bind_dialog(kept.tag, owner);
        let expires_at = now + kept.left;
        Notifier {
            owner,
            tag: kept.tag,
            package: kept.package,
            contact: kept.contact,
            lifetimes,
            requires: kept.requires,
            dialog: Dialog::restored(kept.tag, kept.dialog, skip),
            expires_at,
            alarm: Some(endpoint.set_timer(expires_at, owner, 0)),
            state: None,
            under_way: None,
            changed: false,
        }
    }

    /// Whose this request inside the dialog is: as [`crate::invite::Session::matches`].
    #[must_use]
    pub fn matches(&self, flow: Flow, message: &Message) -> Match {
        match self.dialog.has(message) {
            false => Match::No,
            true if self.dialog.is_on(flow) => Match::Yes,
            true => Match::Foreign,
        }
    }

    /// Its owner.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Our tag in its dialog.
    #[must_use]
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// The event package with its parameters, as the subscriber wrote it.
    #[must_use]
    pub fn package(&self) -> &str {
        &self.package
    }
}

/// The same package and id (section 4.5.2 of RFC 6665 keeps the id for old subscribers).
fn is_same(package: &str, message: &Message) -> bool {
    let (Ok(ours), Some(Ok(theirs))) = (
        header::Event::parse(package.as_bytes()),
        message.header(Name::Event).map(header::Event::parse),
    ) else {
        return false;
    };
    ours.package() == theirs.package() && ours.id() == theirs.id()
}
