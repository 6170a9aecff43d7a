//! ACK, both ways: ours for their 2xx, and our 2xx again until theirs comes (RFC 3261 sections 13.2.2.4 and 13.3.1.4).

use super::session::{Acked, Cx, Exchange, Owed, Phase, Session, Unacked, timer};
use super::{Cause, Event, Refused};
use crate::draft::Body;
use crate::endpoint::{ClientId, Endpoint, Remains, ServerId};
use crate::output::Sink;
use crate::{Message, Method};
use clock::Mono;

impl Session {
    /// Sends the ACK that [`Event::Answered`] or [`Event::Answer`] with `wants_answer` waits for.
    ///
    /// # Errors
    /// [`Refused::State`] if none waits.
    pub fn ack(
        &mut self,
        now: Mono,
        answer: Option<Body>,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Result<(), Refused> {
        if self.owes_ack.is_none() {
            return Err(Refused::State);
        }
        self.acknowledge(&mut Cx { now, endpoint, out }, answer);
        Ok(())
    }

    /// A 2xx has come that wants its ACK. With an offer to answer that is the TU's to make, but not for ever: the other
    /// side repeats its 2xx for 64*T1, and an answer later than its last one would come too late.
    pub(super) fn owe(&mut self, cx: &mut Cx<'_, impl Sink>, client: ClientId, message: &Message, wants_answer: bool) {
        let limit = wants_answer.then(|| {
            let (_, longest) = cx.endpoint.intervals();
            let at = cx.now + cx.endpoint.lifetime().saturating_sub(longest);
            (cx.endpoint.set_timer(at, self.owner, timer::OWED), at)
        });
        self.owes_ack = Some(Box::new(Owed {
            cseq: message.cseq(),
            client,
            offer: Body::of(message).filter(|_| wants_answer),
            limit,
        }));
    }

    pub(super) fn on_owed(&mut self, cx: &mut Cx<'_, impl Sink>) {
        let limit = self.owes_ack.as_ref().and_then(|owed| owed.limit.as_ref());
        if limit.is_some_and(|(_, at)| cx.now >= *at) {
            self.part(cx, Cause::NoAck, None);
        }
    }

    /// Sends the ACK that is owed, and keeps it for when the 2xx comes again. An offer is always answered, if only with a
    /// refusal of all it has (RFC 3261 section 13.2.2.4).
    pub(super) fn acknowledge(&mut self, cx: &mut Cx<'_, impl Sink>, answer: Option<Body>) {
        let Some(owed) = self.owes_ack.take() else { return };
        if let Some((alarm, _)) = owed.limit {
            cx.endpoint.cancel_timer(alarm);
        }
        let decline = || self.local.decline?(owed.offer.as_ref()?);
        let answer = answer.or_else(decline);
        self.describe(answer.as_ref());
        let Some(dialog) = self.dialogs().first() else { return };
        let mut draft = dialog.ack(owed.cseq);
        draft.body = answer;
        cx.send_ack(dialog, &draft);
        let Owed { cseq, client, .. } = *owed;
        self.acked = Some(Box::new(Acked { cseq, client, draft }));
    }

    /// The session ends; 2xx of its last INVITE may still come, and each of them wants an ACK.
    pub(super) fn bequeath(&mut self, cx: &mut Cx<'_, impl Sink>) {
        let (Phase::Talking(dialog) | Phase::Leaving(super::session::Leaving { dialog, .. })) = &self.phase else {
            return;
        };
        let last = self.acked.take().map(|acked| (acked.client, acked.draft));
        let sent = match &self.exchange {
            Exchange::Sent { client, cseq, attempt } if attempt.method == Method::Invite => {
                Some((*client, dialog.ack(*cseq)))
            }
            _ => None,
        };
        for (client, ack) in last.into_iter().chain(sent) {
            let remains = Remains::new(self.tag, dialog, ack, self.strangers.clone());
            cx.endpoint.bequeath(client, remains);
        }
    }

    /// Our 2xx was sent: again after T1, doubling up to T2, over any transport, since a later hop may be UDP.
    pub(super) fn await_ack(
        &mut self,
        cx: &mut Cx<'_, impl Sink>,
        server: ServerId,
        cseq: u32,
        first: bool,
        offered: bool,
    ) {
        let (interval, _) = cx.endpoint.intervals();
        let (at, give_up) = (cx.now + interval, cx.now + cx.endpoint.lifetime());
        let alarm = cx.endpoint.set_timer(at, self.owner, timer::REPEAT_SUCCESS);
        self.unacked = Some(Unacked {
            server,
            cseq,
            first,
            offered,
            alarm,
            at,
            interval,
            give_up,
        });
    }

    pub(super) fn repeat_success(&mut self, cx: &mut Cx<'_, impl Sink>) {
        let (_, longest) = cx.endpoint.intervals();
        let Some(unacked) = self.unacked.as_mut().filter(|unacked| cx.now >= unacked.at) else {
            return;
        };
        // The other side has our 2xx or is gone; either way there is no session without its ACK.
        if cx.now >= unacked.give_up {
            return self.part(cx, Cause::NoAck, None);
        }
        cx.endpoint.repeat(cx.now, unacked.server, cx.out);
        unacked.interval = (unacked.interval * 2).min(longest);
        unacked.at = (unacked.at + unacked.interval).min(unacked.give_up);
        unacked.alarm = cx.endpoint.set_timer(unacked.at, self.owner, timer::REPEAT_SUCCESS);
    }

    pub(super) fn on_ack(&mut self, cx: &mut Cx<'_, impl Sink>, ack: &Message) {
        let ours = self.dialogs().iter().any(|dialog| dialog.has(ack));
        if ours && self.unacked.as_ref().is_some_and(|unacked| unacked.cseq == ack.cseq()) {
            self.on_acknowledged(cx, Some(ack));
        }
    }

    /// The other side has our 2xx: its ACK says so, or a later request does.
    pub(super) fn on_acknowledged(&mut self, cx: &mut Cx<'_, impl Sink>, ack: Option<&Message>) {
        let Some(unacked) = self.unacked.take() else { return };
        cx.endpoint.cancel_timer(unacked.alarm);
        cx.endpoint.settle(unacked.server);
        let body = ack.and_then(Body::of);
        match ack {
            _ if unacked.first => self.tell(cx, Event::Acked { body }),
            Some(ack) if unacked.offered => {
                self.tell(
                    cx,
                    Event::Answer {
                        body,
                        message: ack.clone(),
                        wants_answer: false,
                    },
                );
            }
            Some(_) => self.tell(cx, Event::Settled),
            None => {}
        }
        if let (Some(headers), Phase::Talking(_)) = (self.farewell.take(), &self.phase) {
            self.leave(cx, &headers);
        }
    }
}
