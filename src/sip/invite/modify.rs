//! re-INVITE, both ways (RFC 3261 section 14, RFC 6141).

use super::session::{Attempt, Cx, Exchange, Phase, Retry, Session, timer};
use super::timer::least_of;
use super::{Cause, Event, Refused};
use crate::draft::{Body, Headers, Reply};
use crate::endpoint::{ClientId, Endpoint, ServerId};
use crate::output::Sink;
use crate::{Flow, Message, Method, Name};
use clock::Mono;
use std::time::Duration;

/// How often an offer that meets a 491 is tried again: the back-off of both sides is random, so a second meeting is rare and
/// so many mean that the other side does not back off at all.
const MAX_TRIES: u32 = 8;

impl Session {
    // Ours.

    /// Sends a re-INVITE with an offer, or asking for one. Answered by [`Event::Answer`] or [`Event::OfferRefused`].
    /// A 491 is tried again after 2.1 to 4 s if we made the call, 0 to 2 s if not (RFC 3261 section 14.1).
    ///
    /// # Errors
    /// [`Refused::Pending`] while an offer or an INVITE is under way in either direction, [`Refused::State`] unless the
    /// session is answered and not closed.
    pub fn modify(
        &mut self,
        now: Mono,
        headers: &Headers,
        offer: Option<Body>,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Result<(), Refused> {
        if !matches!(self.phase, Phase::Talking(_)) || self.farewell.is_some() {
            return Err(Refused::State);
        }
        if self.offer_pending() {
            return Err(Refused::Pending);
        }
        let attempt = Box::new(Attempt {
            method: Method::Invite,
            headers: headers.clone(),
            offer,
            refused: 0,
            is_refresh: false,
        });
        self.attempt(&mut Cx { now, endpoint, out }, attempt);
        Ok(())
    }

    /// Sends a re-INVITE or UPDATE.
    pub(super) fn attempt(&mut self, cx: &mut Cx<'_, impl Sink>, attempt: Box<Attempt>) {
        let mut headers = Headers::new();
        self.introduce(&mut headers);
        self.ask_expiry(&mut headers);
        headers.append(&attempt.headers);
        self.describe(attempt.offer.as_ref());
        let owner = self.owner;
        let Some(dialog) = self.main_dialog() else {
            return;
        };
        let mut draft = dialog.request(attempt.method).headers(&headers);
        draft.body = attempt.offer.clone();
        let cseq = dialog.local_cseq();
        let client = cx.send(dialog, &draft, owner);
        self.exchange = Exchange::Sent { client, cseq, attempt };
    }

    pub(super) fn on_exchange_response(
        &mut self,
        cx: &mut Cx<'_, impl Sink>,
        status: u16,
        got: Option<(Flow, Message)>,
    ) {
        if status < 200 {
            return;
        }
        let Exchange::Sent { attempt, client, .. } = std::mem::replace(&mut self.exchange, Exchange::Idle) else {
            return;
        };
        match (status, got) {
            (200..300, Some((_, message))) => self.on_taken(cx, client, &attempt, message),
            (422, Some((_, message))) if least_of(&message).is_some_and(|least_s| least_s > self.least_s) => {
                self.least_s = least_of(&message).unwrap_or(0);
                self.attempt(cx, attempt);
            }
            (491, _) if attempt.refused < MAX_TRIES && matches!(self.phase, Phase::Talking(_)) => {
                self.back_off(cx, attempt)
            }
            (_, got) => self.on_not_taken(cx, &attempt, status, got.map(|(_, message)| message)),
        }
    }

    fn on_taken(&mut self, cx: &mut Cx<'_, impl Sink>, client: ClientId, attempt: &Attempt, message: Message) {
        self.learn(&message);
        if self.is_confirmed() {
            self.learn_expiry(cx, &message);
        }
        if let Some(dialog) = self.main_dialog() {
            dialog.refresh_target(&message);
        }
        let wants_answer = attempt.method == Method::Invite && attempt.offer.is_none();
        let leaving = matches!(self.phase, Phase::Leaving(_));
        if attempt.method == Method::Invite {
            self.owe(cx, client, &message, wants_answer);
            // After our BYE nobody will answer an offer.
            if !wants_answer || leaving {
                self.acknowledge(cx, None);
            }
        }
        if !leaving && !attempt.is_refresh {
            let body = Body::of(&message);
            self.tell(
                cx,
                Event::Answer {
                    body,
                    message,
                    wants_answer,
                },
            );
        }
    }

    /// The session is as before (section 14.1), unless the other side does not know it any more (section 12.2.1.2).
    fn on_not_taken(&mut self, cx: &mut Cx<'_, impl Sink>, attempt: &Attempt, status: u16, message: Option<Message>) {
        if !attempt.is_refresh {
            self.tell(
                cx,
                Event::OfferRefused {
                    status,
                    message: message.clone(),
                },
            );
        }
        if matches!(status, 408 | 481) && self.is_confirmed() {
            self.part(cx, Cause::Gone, message);
        }
    }

    /// Two offers have met. Who owns the Call-ID waits longer, so that they do not meet again (section 14.1).
    fn back_off(&mut self, cx: &mut Cx<'_, impl Sink>, mut attempt: Box<Attempt>) {
        attempt.refused += 1;
        // Units of 10 ms: 2.1 to 4 s, or 0 to 2 s.
        let units = if self.is_caller {
            210 + cx.endpoint.random() % 191
        } else {
            cx.endpoint.random() % 201
        };
        self.set_retry(cx, attempt, Duration::from_millis(units * 10));
    }

    fn set_retry(&mut self, cx: &mut Cx<'_, impl Sink>, attempt: Box<Attempt>, after: Duration) {
        let at = cx.now + after;
        let alarm = cx.endpoint.set_timer(at, self.owner, timer::RETRY);
        self.retry = Some(Box::new(Retry { attempt, alarm, at }));
    }

    pub(super) fn on_retry(&mut self, cx: &mut Cx<'_, impl Sink>) {
        let Some(retry) = self.retry.take_if(|retry| cx.now >= retry.at) else {
            return;
        };
        // Their offer came meanwhile and is not settled: after it.
        if !matches!(self.exchange, Exchange::Idle) || self.unacked.is_some() {
            let (t1, _) = cx.endpoint.intervals();
            return self.set_retry(cx, retry.attempt, t1);
        }
        self.attempt(cx, retry.attempt);
    }

    // Theirs.

    pub(super) fn on_reinvite(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, message: Message) {
        if let Some(refusal) = self.conflict(cx).or_else(|| self.too_brief(&message)) {
            // In a transaction: its retransmission would be a late request, and get another answer than the first copy.
            let server = cx.endpoint.accept(cx.now, flow, message, self.owner, cx.out);
            return cx.respond(server, &refusal);
        }
        // A new INVITE says as much as the ACK that was lost or overtaken.
        self.on_acknowledged(cx, None);
        let server = cx.endpoint.accept(cx.now, flow, message.clone(), self.owner, cx.out);
        self.on_offer(cx, server, message);
    }

    /// Why an offer cannot be taken now: another is under way (sections 14.1 and 14.2, RFC 3311 section 5.2).
    pub(super) fn conflict(&self, cx: &mut Cx<'_, impl Sink>) -> Option<Reply> {
        let later =
            |cx: &mut Cx<'_, _>| Reply::new(500).header(Name::RetryAfter, (cx.endpoint.random() % 11).to_string());
        // An offer of ours waits for its answer, or an answer for its ACK.
        let ours_waits = self.owes_ack.is_some() || self.unacked.as_ref().is_some_and(|unacked| unacked.offered);
        match (&self.phase, &self.exchange) {
            (Phase::Leaving(_) | Phase::Over, _) => Some(Reply::new(481)),
            _ if self.farewell.is_some() => Some(Reply::new(481)),
            (_, Exchange::Received { .. }) => Some(later(cx)),
            (_, Exchange::Sent { .. }) => Some(Reply::new(491)),
            (Phase::Ringing(_), _) if !self.is_settled() => Some(later(cx)),
            (Phase::Calling(_), _) if !self.is_settled() => Some(Reply::new(491)),
            _ => ours_waits.then(|| Reply::new(491)),
        }
    }

    pub(super) fn on_offer(&mut self, cx: &mut Cx<'_, impl Sink>, server: ServerId, message: Message) {
        let body = Body::of(&message);
        let (method, cseq, wants_offer) = (message.method(), message.cseq(), body.is_none());
        self.exchange = Exchange::Received {
            server,
            method,
            cseq,
            wants_offer,
        };
        self.tell(cx, Event::Offer { body, message });
    }

    /// Answers [`Event::Offer`] with 200. The body is the answer, or the offer that was asked for.
    ///
    /// # Errors
    /// [`Refused::State`] if no offer waits.
    pub fn answer(
        &mut self,
        now: Mono,
        headers: &Headers,
        body: Option<Body>,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Result<(), Refused> {
        let cx = &mut Cx { now, endpoint, out };
        let Exchange::Received {
            server,
            method,
            cseq,
            wants_offer,
        } = self.exchange
        else {
            return Err(Refused::State);
        };
        let mut reply = Reply::new(200);
        self.introduce(&mut reply.headers);
        let request = cx.endpoint.request(server).cloned();
        if let Some(request) = request.filter(|_| self.is_confirmed()) {
            reply.headers.append(&self.grant_expiry(cx, &request));
        }
        self.describe(body.as_ref());
        let mut reply = reply.headers(headers);
        let offered = wants_offer && body.is_some();
        reply.body = body;
        self.exchange = Exchange::Idle;
        cx.respond(server, &reply);
        if method == Method::Invite {
            self.await_ack(cx, server, cseq, false, offered);
        }
        Ok(())
    }

    /// Answers [`Event::Offer`] with a refusal, e.g. 488; the session stays as it was.
    ///
    /// # Errors
    /// [`Refused::State`] if no offer waits, or for a status below 300.
    pub fn refuse(
        &mut self,
        now: Mono,
        reply: Reply,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Result<(), Refused> {
        let Exchange::Received { server, .. } = self.exchange else {
            return Err(Refused::State);
        };
        if reply.status < 300 {
            return Err(Refused::State);
        }
        self.exchange = Exchange::Idle;
        Cx { now, endpoint, out }.respond(server, &reply);
        Ok(())
    }
}
