//! ACK, both ways: ours for their 2xx, and our 2xx again until theirs comes (RFC 3261 sections 13.2.2.4 and 13.3.1.4).

use super::session::{Cx, Phase, Session, Unacked, timer};
use super::{Cause, Event, Refused};
use crate::Message;
use crate::draft::Body;
use crate::endpoint::{Endpoint, ServerId};
use crate::output::Sink;
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

    /// Sends the ACK that is owed, and keeps it for when the 2xx comes again.
    pub(super) fn acknowledge(&mut self, cx: &mut Cx<'_, impl Sink>, answer: Option<Body>) {
        let (Some(cseq), Some(dialog)) = (self.owes_ack.take(), self.dialogs().first()) else {
            return;
        };
        let mut draft = dialog.ack(cseq);
        draft.body = answer;
        cx.send_ack(dialog, &draft);
        self.acked = Some((cseq, draft));
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
            _ => {}
        }
        if let (Some(headers), Phase::Talking(_)) = (self.farewell.take(), &self.phase) {
            self.leave(cx, &headers);
        }
    }
}
