//! Session timers (RFC 4028): one side refreshes the session before half of its interval is over; where no refresh comes,
//! each side knows that the other is gone.

use super::Cause;
use super::session::{Attempt, Cx, Exchange, Session, timer};
use crate::draft::{Headers, Reply};
use crate::endpoint::Alarm;
use crate::header::{SessionExpires, delta_seconds};
use crate::output::Sink;
use crate::{Message, Method, Name};
use clock::Mono;
use std::time::Duration;

/// No Min-SE is below this (section 5).
const LEAST_S: u32 = 90;

/// A refresh that meets something else under way is tried again so soon.
const AGAIN: Duration = Duration::from_secs(1);

/// How long sessions live without a refresh.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// What we ask for and grant at most.
    pub interval: Duration,
    /// Shorter wishes are answered 422; at least 90 s.
    pub least: Duration,
}

/// What was agreed about refreshing this session.
#[derive(Debug)]
pub(super) struct Refresh {
    interval: Duration,
    is_ours: bool,
    alarm: Alarm,
    /// Ours: when we refresh. Theirs: when they are gone.
    at: Mono,
}

/// 422 for a request that wants a shorter life than we grant, and can be told so (section 9).
#[must_use]
pub fn too_brief(request: &Message, expiry: Expiry) -> Option<Reply> {
    let asked = expires(request)?;
    let least = seconds(expiry.least).max(LEAST_S);
    (asked.seconds < least && supports(request, b"timer"))
        .then(|| Reply::new(422).header(Name::MinSe, least.to_string()))
}

pub(super) fn supports(message: &Message, extension: &[u8]) -> bool {
    let mut names = message.values(Name::Supported).chain(message.values(Name::Require));
    names.any(|name| name.eq_ignore_ascii_case(extension))
}

/// Min-SE of a 422.
pub(super) fn least_of(message: &Message) -> Option<u32> {
    delta_seconds(message.header(Name::MinSe)?).ok()
}

fn expires(message: &Message) -> Option<SessionExpires> {
    SessionExpires::parse(message.header(Name::SessionExpires)?).ok()
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

impl Expiry {
    /// The wish of an INVITE of ours, after a 422 that wants `least_s`.
    pub(super) fn ask(self, least_s: u32, headers: &mut Headers) {
        let wish = seconds(self.interval).max(least_s).max(LEAST_S);
        headers.add(Name::SessionExpires, wish.to_string());
        if least_s > LEAST_S {
            headers.add(Name::MinSe, least_s.to_string());
        }
    }
}

impl Session {
    /// What a re-INVITE or UPDATE of ours says: as it is, with who refreshes.
    pub(super) fn ask_expiry(&self, headers: &mut Headers) {
        let (Some(_), Some(refresh)) = (self.local.expiry, &self.refresh) else {
            return;
        };
        let who = if refresh.is_ours { "uac" } else { "uas" };
        let wish = seconds(refresh.interval).max(self.least_s);
        headers.add(Name::SessionExpires, format!("{wish};refresher={who}"));
        if self.least_s > LEAST_S {
            headers.add(Name::MinSe, self.least_s.to_string());
        }
    }

    /// A 2xx to a request of ours says what holds (section 7.2). Who knows nothing of it is refreshed by us all the same, as we
    /// would have it: of a phone that has put the other on hold and died nothing else tells.
    pub(super) fn learn_expiry(&mut self, cx: &mut Cx<'_, impl Sink>, success: &Message) {
        self.stop_refresh(cx);
        let Some(expiry) = self.local.expiry else { return };
        match expires(success) {
            Some(granted) => {
                let is_ours = granted.refresher_is_uac != Some(false);
                self.start_refresh(cx, granted.seconds.max(LEAST_S), is_ours);
            }
            None => self.start_refresh(cx, seconds(expiry.interval).max(LEAST_S), true),
        }
    }

    /// What our 2xx to a request of theirs says (section 9): their wish, no longer than we would have it and no shorter than
    /// they or we bear; who was asked for refreshes, else who asks if it can, else we.
    pub(super) fn grant_expiry(&mut self, cx: &mut Cx<'_, impl Sink>, request: &Message) -> Headers {
        self.stop_refresh(cx);
        let (Some(expiry), asked) = (self.local.expiry, expires(request)) else {
            return Headers::new();
        };
        let knows = supports(request, b"timer");
        let ours = seconds(expiry.interval);
        let least = least_of(request).unwrap_or(0).max(seconds(expiry.least)).max(LEAST_S);
        let granted = asked.map_or(ours, |asked| asked.seconds.min(ours)).max(least);
        let theirs = asked.is_some_and(|asked| knows && asked.refresher_is_uac != Some(false));
        self.start_refresh(cx, granted, !theirs);
        let who = if theirs { "uac" } else { "uas" };
        let headers = Headers::new().with(Name::SessionExpires, format!("{granted};refresher={who}"));
        match theirs {
            true => headers.with(Name::Require, "timer"),
            false => headers,
        }
    }

    /// 422, if a request inside the dialog wants too short a life.
    pub(super) fn too_brief(&self, request: &Message) -> Option<Reply> {
        too_brief(request, self.local.expiry?)
    }

    fn start_refresh(&mut self, cx: &mut Cx<'_, impl Sink>, interval_s: u32, is_ours: bool) {
        let interval = Duration::from_secs(interval_s.into());
        // Section 10: half of the interval for who refreshes; for who waits, the whole but 32 s or a third of it.
        let after = match is_ours {
            true => interval / 2,
            false => interval - (interval / 3).min(Duration::from_secs(32)),
        };
        self.set_refresh(cx, interval, is_ours, after);
    }

    fn set_refresh(&mut self, cx: &mut Cx<'_, impl Sink>, interval: Duration, is_ours: bool, after: Duration) {
        let at = cx.now + after;
        let alarm = cx.endpoint.set_timer(at, self.owner, timer::REFRESH);
        self.refresh = Some(Refresh {
            interval,
            is_ours,
            alarm,
            at,
        });
    }

    pub(super) fn stop_refresh(&mut self, cx: &mut Cx<'_, impl Sink>) {
        if let Some(refresh) = self.refresh.take() {
            cx.endpoint.cancel_timer(refresh.alarm);
        }
    }

    pub(super) fn on_refresh_due(&mut self, cx: &mut Cx<'_, impl Sink>) {
        let Some(refresh) = self.refresh.as_ref().filter(|refresh| cx.now >= refresh.at) else {
            return;
        };
        let (interval, is_ours) = (refresh.interval, refresh.is_ours);
        if !self.is_confirmed() {
            return;
        }
        if !is_ours {
            return self.part(cx, Cause::Gone, None);
        }
        let busy = !matches!(self.exchange, Exchange::Idle) || self.offer_pending();
        if busy || self.farewell.is_some() {
            return self.set_refresh(cx, interval, is_ours, AGAIN);
        }
        // Should this try come to nothing, there is time for some more.
        self.set_refresh(cx, interval, is_ours, interval / 8);
        self.send_refresh(cx);
    }

    /// UPDATE without an offer where it is known, else a re-INVITE that repeats our description (section 7.4).
    fn send_refresh(&mut self, cx: &mut Cx<'_, impl Sink>) {
        let (method, offer) = match self.allows(Method::Update) {
            true => (Method::Update, None),
            false => (Method::Invite, self.described.clone()),
        };
        if method == Method::Invite && offer.is_none() {
            return;
        }
        let attempt = Box::new(Attempt {
            method,
            headers: Headers::new(),
            offer,
            refused: 0,
            is_refresh: true,
        });
        self.attempt(cx, attempt);
    }
}
