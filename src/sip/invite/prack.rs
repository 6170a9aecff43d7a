//! Reliable provisional responses and PRACK (RFC 3262), both ways.

use super::session::{Cx, Exchange, Phase, Session, timer};
use super::timer::supports;
use super::{Cause, Event, Refused};
use crate::draft::{Body, Headers, Reply};
use crate::endpoint::{Alarm, Endpoint};
use crate::header::{RAck, delta_seconds};
use crate::output::Sink;
use crate::{Flow, Message, Method, Name};
use clock::Mono;
use std::collections::VecDeque;
use std::time::Duration;

/// Provisional responses that may wait for the PRACK to the one before them: ringing and early media say no more.
const MAX_WAITING: usize = 8;

/// We are called: what was sent reliably.
#[derive(Debug, Default)]
pub(super) struct Reliable {
    /// The last number given, once there is one.
    rseq: Option<u32>,
    /// Sent, and not acknowledged.
    unacked: Option<Unacked>,
    /// Only one may be on its way (section 3).
    waiting: VecDeque<Reply>,
    /// The 2xx that waits for the PRACK to a description.
    success: Option<Reply>,
    /// Offer or answer of the INVITE went reliably.
    described: bool,
    /// ... and is acknowledged.
    settled: bool,
}

#[derive(Debug)]
struct Unacked {
    reply: Reply,
    alarm: Alarm,
    at: Mono,
    interval: Duration,
    give_up: Mono,
    /// It has our description.
    describes: bool,
}

/// We call: a reliable response whose offer our TU has to answer.
#[derive(Debug)]
pub(super) struct OwedPrack {
    fork: usize,
    rseq: u32,
    cseq: u32,
}

/// Whether the sender of this INVITE takes reliable provisional responses.
#[must_use]
pub fn knows_reliable(invite: &Message) -> bool {
    supports(invite, b"100rel")
}

impl Reliable {
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    pub fn stop(&mut self) -> Option<Alarm> {
        self.unacked.take().map(|unacked| unacked.alarm)
    }

    /// A 2xx may not go before the PRACK to a response with a description (section 3).
    pub fn holds_success(&self) -> bool {
        self.unacked.as_ref().is_some_and(|unacked| unacked.describes)
    }
}

impl Session {
    // We are called.

    /// Sends a provisional response so that it arrives: if the caller requires that, or `wanted` and he knows how.
    pub(super) fn is_reliable(&self, wanted: bool) -> bool {
        let Phase::Ringing(ringing) = &self.phase else {
            return false;
        };
        let requires = || {
            let mut required = ringing.invite.values(Name::Require);
            required.any(|name| name.eq_ignore_ascii_case(b"100rel"))
        };
        wanted && supports(&ringing.invite, b"100rel") || requires()
    }

    /// As [`Session::progress`], reliably if the caller knows how (RFC 3262). [`Event::Pracked`] says that it has arrived; a
    /// 2xx waits for that if there is a description in it.
    ///
    /// # Errors
    /// As [`Session::progress`]; [`Refused::Pending`] if eight wait.
    pub fn progress_reliably(
        &mut self,
        now: Mono,
        reply: Reply,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Result<(), Refused> {
        self.provide(&mut Cx { now, endpoint, out }, reply, true)
    }

    pub(super) fn send_reliable(&mut self, cx: &mut Cx<'_, impl Sink>, reply: Reply) -> Result<(), Refused> {
        let Phase::Ringing(ringing) = &mut self.phase else {
            return Err(Refused::State);
        };
        if ringing.reliable.unacked.is_some() {
            if ringing.reliable.waiting.len() >= MAX_WAITING {
                return Err(Refused::Pending);
            }
            ringing.reliable.waiting.push_back(reply);
            return Ok(());
        }
        let first = || (cx.endpoint.random() % 0x7fff_0000) as u32 + 1;
        let rseq = ringing.reliable.rseq.map_or_else(first, |last| last + 1);
        ringing.reliable.rseq = Some(rseq);
        let describes = reply.body.is_some() && !ringing.reliable.described;
        ringing.reliable.described |= describes;
        let reply = reply
            .header(Name::Require, "100rel")
            .header(Name::RSeq, rseq.to_string());
        cx.respond(ringing.server, &reply);
        let (interval, _) = cx.endpoint.intervals();
        let (at, give_up) = (cx.now + interval, cx.now + cx.endpoint.lifetime());
        let alarm = cx.endpoint.set_timer(at, self.owner, timer::REPEAT_RELIABLE);
        ringing.reliable.unacked = Some(Unacked {
            reply,
            alarm,
            at,
            interval,
            give_up,
            describes,
        });
        Ok(())
    }

    /// Again after T1, twice T1 and so on; after 64*T1 the caller is gone (section 3).
    pub(super) fn repeat_reliable(&mut self, cx: &mut Cx<'_, impl Sink>) {
        let Phase::Ringing(ringing) = &mut self.phase else {
            return;
        };
        let server = ringing.server;
        let Some(unacked) = ringing.reliable.unacked.as_mut().filter(|one| cx.now >= one.at) else {
            return;
        };
        if cx.now >= unacked.give_up {
            let _ = self.turn_down(cx, Reply::new(504), Cause::NoAck, None);
            return;
        }
        cx.respond(server, &unacked.reply);
        unacked.interval *= 2;
        unacked.at = (cx.now + unacked.interval).min(unacked.give_up);
        unacked.alarm = cx.endpoint.set_timer(unacked.at, self.owner, timer::REPEAT_RELIABLE);
    }

    /// PRACK: 481 unless it names what is on its way. Its body is the answer to our offer, or an offer (section 5).
    pub(super) fn on_prack(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, prack: Message) {
        let named = prack.header(Name::RAck).and_then(|value| RAck::parse(value).ok());
        let Phase::Ringing(ringing) = &mut self.phase else {
            return cx.answer(flow, &prack, Reply::new(481));
        };
        let fits = named.is_some_and(|rack| {
            Some(rack.rseq) == ringing.reliable.rseq
                && rack.cseq.number == ringing.invite.cseq()
                && rack.cseq.method == b"INVITE"
        });
        let Some(unacked) = ringing.reliable.unacked.take_if(|_| fits) else {
            return cx.answer(flow, &prack, Reply::new(481));
        };
        cx.endpoint.cancel_timer(unacked.alarm);
        let (body, we_offered) = (Body::of(&prack), Body::of(&ringing.invite).is_none());
        ringing.reliable.settled |= unacked.describes;
        let settled = ringing.reliable.settled;
        if body.is_some() && settled && !(we_offered && unacked.describes) {
            self.on_prack_offer(cx, flow, prack);
        } else {
            cx.answer(flow, &prack, Reply::new(200));
        }
        let body = body.filter(|_| we_offered && unacked.describes);
        self.tell(cx, Event::Pracked { body });
        self.send_waiting(cx);
    }

    fn on_prack_offer(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, prack: Message) {
        if let Some(refusal) = self.conflict(cx) {
            return cx.answer(flow, &prack, refusal);
        }
        let server = cx.endpoint.accept(cx.now, flow, prack.clone(), self.owner, cx.out);
        self.on_offer(cx, server, prack);
    }

    /// What waited for the PRACK goes now.
    fn send_waiting(&mut self, cx: &mut Cx<'_, impl Sink>) {
        let Phase::Ringing(ringing) = &mut self.phase else {
            return;
        };
        if let Some(success) = ringing.reliable.success.take() {
            return self.succeed(cx, success);
        }
        if let Some(reply) = ringing.reliable.waiting.pop_front() {
            let _ = self.send_reliable(cx, reply);
        }
    }

    /// Keeps a 2xx until the description before it has arrived.
    pub(super) fn hold_success(&mut self, reply: Reply) {
        if let Phase::Ringing(ringing) = &mut self.phase {
            ringing.reliable.waiting.clear();
            ringing.reliable.success = Some(reply);
        }
    }

    // We call.

    /// A provisional response: whether it came reliably, and whether its offer wants an answer. `None`: it is a repetition, or
    /// one before it is missing, and goes no further (section 4).
    pub(super) fn take_reliable(
        &mut self,
        cx: &mut Cx<'_, impl Sink>,
        fork: u32,
        message: &Message,
    ) -> Option<(bool, bool)> {
        let required = message
            .values(Name::Require)
            .any(|name| name.eq_ignore_ascii_case(b"100rel"));
        let rseq = message.header(Name::RSeq).and_then(|value| delta_seconds(value).ok());
        let (Phase::Calling(calling), true, Some(rseq)) = (&mut self.phase, required, rseq) else {
            return Some((false, false));
        };
        let fork = fork as usize;
        if message.to_tag().is_empty() || calling.forks.get(fork).is_none() {
            return Some((false, false));
        }
        calling.rseqs.resize(calling.forks.len(), None);
        if calling.rseqs[fork].is_some_and(|last| rseq != last.wrapping_add(1)) {
            return None;
        }
        calling.rseqs[fork] = Some(rseq);
        let describes = Body::of(message).is_some() && calling.settled.is_none();
        let wants_answer = describes && !calling.offered;
        let owed = OwedPrack {
            fork,
            rseq,
            cseq: message.cseq(),
        };
        if describes {
            calling.settled = (!wants_answer).then_some(fork);
        }
        if wants_answer && calling.closing.is_none() {
            calling.owes_prack = Some(owed);
        } else {
            let answer = match wants_answer {
                true => self.local.decline.and_then(|decline| decline(&Body::of(message)?)),
                false => None,
            };
            self.send_prack(cx, &owed, answer);
        }
        Some((true, wants_answer))
    }

    /// The answer to the offer of [`Event::Progress`] with `wants_answer`.
    ///
    /// # Errors
    /// [`Refused::State`] if none waits.
    pub fn prack(
        &mut self,
        now: Mono,
        answer: Option<Body>,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Result<(), Refused> {
        let Phase::Calling(calling) = &mut self.phase else {
            return Err(Refused::State);
        };
        let owed = calling.owes_prack.take().ok_or(Refused::State)?;
        calling.settled = Some(owed.fork);
        self.send_prack(&mut Cx { now, endpoint, out }, &owed, answer);
        Ok(())
    }

    /// Nothing depends on its answer: if the other side does not take it, the INVITE says so.
    fn send_prack(&mut self, cx: &mut Cx<'_, impl Sink>, owed: &OwedPrack, answer: Option<Body>) {
        let owner = self.owner;
        let headers = self.local.headers.clone();
        let Phase::Calling(calling) = &mut self.phase else {
            return;
        };
        let Some(dialog) = calling.forks.get_mut(owed.fork) else {
            return;
        };
        let rack = Headers::new().with(Name::RAck, format!("{} {} INVITE", owed.rseq, owed.cseq));
        let mut draft = dialog.request(Method::Prack).headers(&headers).headers(&rack);
        draft.body = answer;
        let client = cx.send(dialog, &draft, owner);
        cx.endpoint.disown(client);
    }

    /// True while an UPDATE or PRACK with an offer may come or go before the answer to the INVITE.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.exchange, Exchange::Idle)
    }
}
