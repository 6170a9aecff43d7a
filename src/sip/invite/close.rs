//! The end: CANCEL, BYE, refusal (RFC 3261 sections 9 and 15).

use super::Cause;
use super::session::{Cx, Exchange, Leaving, Phase, Session};
use crate::draft::{Headers, Reply};
use crate::endpoint::Endpoint;
use crate::output::Sink;
use crate::{Flow, Message, Method};
use clock::Mono;

impl Session {
    /// Ends the session in whatever state it is: CANCEL while we call, 480 while we are called, BYE once it is answered
    /// (when the ACK to our first 2xx is there, as section 15 asks). `headers`: Reason (RFC 3326). [`super::Event::Ended`] follows
    /// when nothing is left to wait for, at the latest after 64*T1.
    pub fn close(&mut self, now: Mono, headers: &Headers, endpoint: &mut Endpoint, out: &mut impl Sink) {
        let cx = &mut Cx { now, endpoint, out };
        match &mut self.phase {
            Phase::Calling(calling) => {
                calling.closing.get_or_insert_with(|| headers.clone());
                cx.endpoint.cancel(now, calling.invite, headers, cx.out);
            }
            Phase::Ringing(_) => {
                let _ = self.turn_down(cx, Reply::new(480).headers(headers), Cause::Local, None);
            }
            Phase::Talking(_) if self.unacked.as_ref().is_some_and(|unacked| unacked.first) => {
                self.farewell.get_or_insert_with(|| headers.clone());
            }
            Phase::Talking(_) => self.leave(cx, headers),
            Phase::Leaving(_) | Phase::Over => {}
        }
    }

    /// Sends BYE and awaits its answer.
    pub(super) fn leave(&mut self, cx: &mut Cx<'_, impl Sink>, headers: &Headers) {
        if !self.is_confirmed() {
            return;
        }
        self.settle_all(cx);
        let Phase::Talking(mut dialog) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return;
        };
        let bye = dialog
            .request(Method::Bye)
            .headers(&self.local.headers)
            .headers(headers);
        let bye = cx.send(&dialog, &bye, self.owner);
        self.phase = Phase::Leaving(Leaving { dialog, bye });
    }

    /// Sends BYE and awaits nothing: the other side is as good as gone.
    pub(super) fn part(&mut self, cx: &mut Cx<'_, impl Sink>, cause: Cause, message: Option<Message>) {
        self.leave(cx, &Headers::new());
        self.end(cx, cause, message);
    }

    /// What is under way inside the session is over with it; what is owed is paid.
    fn settle_all(&mut self, cx: &mut Cx<'_, impl Sink>) {
        self.stop_timers(cx);
        self.farewell = None;
        self.acknowledge(cx, None);
        match self.exchange {
            // Requests of theirs that wait are answered 487 (section 15.1.2).
            Exchange::Received { server, .. } => {
                cx.respond(server, &Reply::new(487));
                self.exchange = Exchange::Idle;
            }
            // A re-INVITE of ours that has had a 1xx would wait for ever if nothing more came: it is cancelled. Should it be
            // answered with 2xx all the same, that is acknowledged.
            Exchange::Sent { client, .. } => cx.endpoint.cancel(cx.now, client, &Headers::new(), cx.out),
            Exchange::Idle => {}
        }
    }

    /// 401 to a BYE gets no credentials (whoever asks for them need not be who was called); it is over all the same.
    pub(super) fn on_bye_response(&mut self, cx: &mut Cx<'_, impl Sink>, status: u16) {
        if status >= 200 {
            self.end(cx, Cause::Local, None);
        }
    }

    /// BYE from the other side ends the session, also one that we are leaving (section 15.1.2).
    pub(super) fn on_bye(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, bye: Message) {
        cx.answer(flow, &bye, Reply::new(200));
        self.settle_all(cx);
        match &mut self.phase {
            Phase::Ringing(_) => {
                let _ = self.turn_down(cx, Reply::new(487), Cause::Bye, Some(bye));
            }
            // One fork gives up; others may still answer.
            Phase::Calling(calling) => calling.forks.retain(|fork| !fork.has(&bye)),
            Phase::Leaving(_) => self.end(cx, Cause::Local, Some(bye)),
            Phase::Talking(_) => self.end(cx, Cause::Bye, Some(bye)),
            Phase::Over => {}
        }
    }

    /// The other side does not know the dialog.
    pub(super) fn on_gone(&mut self, cx: &mut Cx<'_, impl Sink>, message: Option<Message>) {
        if self.is_confirmed() {
            self.part(cx, Cause::Gone, message);
        }
    }
}
