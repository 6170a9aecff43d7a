//! UPDATE, both ways (RFC 3311).

use super::Refused;
use super::session::{Attempt, Cx, Phase, Session};
use crate::draft::{Body, Headers, Reply};
use crate::endpoint::Endpoint;
use crate::output::Sink;
use crate::{Flow, Message, Method};
use clock::Mono;

impl Session {
    /// Sends an UPDATE, also before the answer; without body it only tells headers (identity). Answered as
    /// [`Session::modify`].
    ///
    /// # Errors
    /// [`Refused::NotAllowed`] if the other side has not listed UPDATE in Allow, [`Refused::Pending`] while an offer is under
    /// way in either direction (before the answer one always is, unless it was answered reliably) or, without offer, another request of this kind,
    /// [`Refused::State`] before there is a dialog and after the end.
    pub fn update(
        &mut self,
        now: Mono,
        headers: &Headers,
        offer: Option<Body>,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Result<(), Refused> {
        if !self.has_dialog() || self.farewell.is_some() {
            return Err(Refused::State);
        }
        if !self.allows(Method::Update) {
            return Err(Refused::NotAllowed);
        }
        let busy = !self.is_idle() || self.retry.is_some();
        if busy || offer.is_some() && self.offer_pending() {
            return Err(Refused::Pending);
        }
        let attempt = Box::new(Attempt {
            method: Method::Update,
            headers: headers.clone(),
            offer,
            refused: 0,
            is_refresh: false,
        });
        self.attempt(&mut Cx { now, endpoint, out }, attempt);
        Ok(())
    }

    /// The other side knows a dialog: it has our tag and we have its.
    fn has_dialog(&self) -> bool {
        match &self.phase {
            Phase::Calling(calling) => !calling.forks.is_empty() && calling.closing.is_none(),
            Phase::Ringing(ringing) => ringing.progress.is_some(),
            Phase::Talking(_) => true,
            Phase::Leaving(_) | Phase::Over => false,
        }
    }

    pub(super) fn on_update(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, message: Message) {
        if let Some(refusal) = self.too_brief(&message) {
            return cx.answer(flow, &message, refusal);
        }
        if Body::of(&message).is_none() {
            let mut reply = Reply::new(200);
            self.introduce(&mut reply.headers);
            if self.is_confirmed() {
                reply.headers.append(&self.grant_expiry(cx, &message));
            }
            return cx.answer(flow, &message, reply);
        }
        if let Some(refusal) = self.conflict(cx) {
            return cx.answer(flow, &message, refusal);
        }
        let server = cx.endpoint.accept(cx.now, flow, message.clone(), self.owner, cx.out);
        self.on_offer(cx, server, message);
    }
}
