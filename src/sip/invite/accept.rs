//! We are called: INVITE until our final response (RFC 3261 section 13.3).

use super::session::{Cx, Exchange, Phase, Ringing, Session, timer};
use super::{Cause, Event, Local, Refused};
use crate::dialog::Dialog;
use crate::draft::{Body, Headers, Reply};
use crate::endpoint::{Endpoint, Owner, ServerId};
use crate::output::Sink;
use crate::{Flow, Message, Method, Name};
use clock::Mono;
use smallvec::SmallVec;
use std::time::Duration;

/// How often a provisional response is said again while it rings (section 13.3.1.1).
const PROGRESS_INTERVAL: Duration = Duration::from_secs(60);

impl Session {
    /// Takes an INVITE from outside of any dialog ([`crate::endpoint::Event::Request`] without To-tag); 100 is sent.
    pub fn receive(
        now: Mono,
        owner: Owner,
        flow: Flow,
        invite: Message,
        local: Local,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Session {
        let tag = endpoint.new_tag();
        let server = endpoint.accept(now, flow, invite.clone(), owner, out);
        endpoint.bind_dialog(tag, owner);
        let dialog = local.dialog(Dialog::as_callee(flow, &invite, tag));
        let mut session = Session {
            owner,
            local,
            call_id: String::from_utf8_lossy(invite.call_id()).into_owned(),
            tag,
            is_caller: false,
            first_cseq: 0,
            allowed: None,
            phase: Phase::Over,
            exchange: Exchange::Idle,
            owes_ack: None,
            retry: None,
            unacked: None,
            acked: None,
            strangers: Vec::new(),
            farewell: None,
            refresh: None,
            least_s: 0,
            described: None,
            requests: SmallVec::new(),
            plain_contact: None,
        };
        session.learn(&invite);
        let progress = None;
        session.phase = Phase::Ringing(Box::new(Ringing {
            server,
            invite,
            dialog,
            progress,
            reliable: super::prack::Reliable::default(),
        }));
        session
    }

    /// Sends 101 to 199. A body is early media: offered in the INVITE, answered here, and the 2xx repeats it.
    ///
    /// # Errors
    /// [`Refused::State`] unless the session is a call to us that is not answered, or for another status.
    pub fn progress(
        &mut self,
        now: Mono,
        reply: Reply,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Result<(), Refused> {
        self.provide(&mut Cx { now, endpoint, out }, reply, false)
    }

    /// Sends a provisional response, reliably if the caller requires it, or can have it and `reliably` is wanted.
    pub(super) fn provide(&mut self, cx: &mut Cx<'_, impl Sink>, reply: Reply, reliably: bool) -> Result<(), Refused> {
        if !(101..200).contains(&reply.status) || !matches!(self.phase, Phase::Ringing(_)) {
            return Err(Refused::State);
        }
        self.describe(reply.body.as_ref());
        let status = reply.status;
        let mut reply = self.make_dialog(reply);
        if self.is_reliable(reliably) {
            reply = reply.headers(&self.local.headers);
            self.send_reliable(cx, reply)?;
            // Nothing that is said again may claim to be reliable, and what is reliable needs not be said again.
            let again = self.make_dialog(Reply::new(status));
            return self.keep_ringing(cx, again);
        }
        let Phase::Ringing(ringing) = &mut self.phase else {
            return Err(Refused::State);
        };
        cx.respond(ringing.server, &reply);
        self.keep_ringing(cx, reply)
    }

    fn keep_ringing(&mut self, cx: &mut Cx<'_, impl Sink>, reply: Reply) -> Result<(), Refused> {
        let Phase::Ringing(ringing) = &mut self.phase else {
            return Err(Refused::State);
        };
        if let Some((_, alarm, _)) = ringing.progress.take() {
            cx.endpoint.cancel_timer(alarm);
        }
        let at = cx.now + PROGRESS_INTERVAL;
        let alarm = cx.endpoint.set_timer(at, self.owner, timer::REPEAT_PROGRESS);
        ringing.progress = Some((reply, alarm, at));
        Ok(())
    }

    /// Remembers our description.
    pub(super) fn describe(&mut self, body: Option<&Body>) {
        if let Some(body) = body {
            self.described = Some(body.clone());
        }
    }

    pub(super) fn repeat_progress(&mut self, cx: &mut Cx<'_, impl Sink>) {
        let Phase::Ringing(ringing) = &mut self.phase else {
            return;
        };
        let Some((reply, alarm, at)) = &mut ringing.progress else {
            return;
        };
        if cx.now < *at {
            return;
        }
        *at = cx.now + PROGRESS_INTERVAL;
        *alarm = cx.endpoint.set_timer(*at, self.owner, timer::REPEAT_PROGRESS);
        let (server, reply) = (ringing.server, reply.clone());
        // A caller who requires reliable responses gets this one so too.
        match self.is_reliable(false) {
            true => drop(self.send_reliable(cx, reply)),
            false => {
                cx.respond(server, &reply);
            }
        }
    }

    /// Sends 200 and repeats it until its ACK. The body is the answer, or the offer if the INVITE had none.
    ///
    /// # Errors
    /// [`Refused::State`] unless the session is a call to us that is not answered.
    pub fn accept(
        &mut self,
        now: Mono,
        headers: &Headers,
        body: Option<Body>,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Result<(), Refused> {
        let cx = &mut Cx { now, endpoint, out };
        if !matches!(self.phase, Phase::Ringing(_)) {
            return Err(Refused::State);
        }
        self.describe(body.as_ref());
        let mut reply = self
            .make_dialog(Reply::new(200))
            .headers(&self.local.headers)
            .headers(&self.local.extensions())
            .headers(headers);
        reply.body = body;
        if let Phase::Ringing(ringing) = &self.phase
            && ringing.reliable.holds_success()
        {
            self.hold_success(reply);
            return Ok(());
        }
        self.succeed(cx, reply);
        Ok(())
    }

    /// Sends the 2xx.
    pub(super) fn succeed(&mut self, cx: &mut Cx<'_, impl Sink>, reply: Reply) {
        self.stop_timers(cx);
        let Phase::Ringing(ringing) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return;
        };
        self.phase = Phase::Talking(ringing.dialog);
        let expiry = self.grant_expiry(cx, &ringing.invite);
        let reply = reply.headers(&expiry);
        cx.respond(ringing.server, &reply);
        let offered = Body::of(&ringing.invite).is_none() && reply.body.is_some();
        self.await_ack(cx, ringing.server, ringing.invite.cseq(), true, offered);
    }

    /// Sends a final refusal, 300 to 699; [`Event::Ended`] follows.
    ///
    /// # Errors
    /// [`Refused::State`] unless the session is a call to us that is not answered, or for another status.
    pub fn reject(
        &mut self,
        now: Mono,
        reply: Reply,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Result<(), Refused> {
        let cx = &mut Cx { now, endpoint, out };
        if !(300..700).contains(&reply.status) {
            return Err(Refused::State);
        }
        self.turn_down(cx, reply, Cause::Local, None)
    }

    /// A response that makes a dialog says where we are and which proxies are on the way (section 12.1.1).
    fn make_dialog(&self, mut reply: Reply) -> Reply {
        reply.to_tag = Some(self.tag);
        if let Phase::Ringing(ringing) = &self.phase {
            for route in ringing.invite.lines(Name::RecordRoute) {
                reply.headers.add(Name::RecordRoute, route);
            }
        }
        reply.headers.add(Name::Contact, &self.local.contact);
        reply
    }

    pub(super) fn turn_down(
        &mut self,
        cx: &mut Cx<'_, impl Sink>,
        reply: Reply,
        cause: Cause,
        message: Option<Message>,
    ) -> Result<(), Refused> {
        let Phase::Ringing(ringing) = &self.phase else {
            return Err(Refused::State);
        };
        cx.respond(
            ringing.server,
            &Reply {
                to_tag: Some(self.tag),
                ..reply
            },
        );
        self.end(cx, cause, message);
        Ok(())
    }

    /// CANCEL: our final response is 487, if it was not another one before (section 9.2).
    pub(super) fn on_cancel(&mut self, cx: &mut Cx<'_, impl Sink>, server: ServerId, cancel: Message) {
        match (&self.phase, &self.exchange) {
            (Phase::Ringing(ringing), _) if ringing.server == server => {
                let _ = self.turn_down(cx, Reply::new(487), Cause::Cancelled, Some(cancel));
            }
            (
                _,
                Exchange::Received {
                    server: s,
                    method: Method::Invite,
                    ..
                },
            ) if *s == server => {
                cx.respond(server, &Reply::new(487));
                self.exchange = Exchange::Idle;
                self.tell(cx, Event::OfferWithdrawn);
            }
            _ => {}
        }
    }
}
