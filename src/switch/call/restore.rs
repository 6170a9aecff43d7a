//! A device cancelled its re-INVITE while the other one was already asked. What the other says is then news to nobody: it
//! is offered again what held before.

use super::{Calls, Exchange, LegKey, Step, body};
use crate::core::Cx;
use media::plan::Codec;
use media::sdp::Direction;
use sip::{Body, Method};

impl Calls {
    /// The device that began an exchange has cancelled it.
    pub(super) fn on_offer_withdrawn(&mut self, key: LegKey) {
        let Some(Exchange { by, with, step }) = self.exchange_of(key) else {
            return;
        };
        if by == key && matches!(step, Step::Offered | Step::Wanted) {
            if let Some(sound) = self.legs.get_mut(key).and_then(|leg| leg.sound.as_mut()) {
                sound.negotiation.rollback();
            }
            let step = Step::Withdrawn;
            self.set_exchange(key, Some(Exchange { by, with, step }));
        }
    }

    /// The other device has answered, or offered, what nobody waits for any more.
    pub(super) fn restore(
        &mut self,
        cx: &mut Cx<'_>,
        by: LegKey,
        key: LegKey,
        said: Option<&Body>,
        wants_answer: bool,
    ) {
        let before = self.held(by);
        if wants_answer {
            let answer = self.answer_as_before(key, said, &before);
            if let Some(leg) = self.legs.get_mut(key) {
                leg.ack(cx, answer);
            }
            return self.set_exchange(key, None);
        }
        let sent = self.take_answer(key, said).is_ok() && self.offer_as_before(cx, key, &before);
        let step = Step::Restoring;
        let with = key;
        self.set_exchange(key, sent.then_some(Exchange { by, with, step }));
    }

    /// The callee's 200 said something else than its 183: the caller is offered what holds now.
    pub(super) fn renew(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let Some(by) = self.passes_to(key) else { return };
        let now = self.held(by);
        if self.offer_as_before(cx, key, &now) {
            let step = Step::Restoring;
            let with = key;
            self.set_exchange(key, Some(Exchange { by, with, step }));
        }
    }

    /// Codecs and direction of what holds with a leg's device.
    pub(super) fn held(&self, key: LegKey) -> (Vec<Codec>, Direction) {
        let sound = self.legs.get(key).and_then(|leg| leg.sound.as_ref());
        let Some(sound) = sound else { return Default::default() };
        let media = sound.negotiation.leg_media().unwrap_or_default();
        let direction = sound.negotiation.agreed().map(|agreed| agreed.remote_direction);
        let codecs = media.formats.iter().map(|format| format.codec).collect();
        (codecs, direction.unwrap_or_default())
    }

    fn offer_as_before(&mut self, cx: &mut Cx<'_>, key: LegKey, before: &(Vec<Codec>, Direction)) -> bool {
        let Some(leg) = self.legs.get_mut(key) else {
            return false;
        };
        let Some(sound) = &mut leg.sound else { return false };
        let Ok(text) = sound.negotiation.offer(&before.0, before.1) else {
            return false;
        };
        let offer = body::sdp(text);
        if leg.offer(cx, Method::Invite, Some(offer)).is_ok() {
            return true;
        }
        if let Some(sound) = &mut leg.sound {
            sound.negotiation.rollback();
        }
        false
    }

    fn answer_as_before(
        &mut self,
        key: LegKey,
        offer: Option<&Body>,
        before: &(Vec<Codec>, Direction),
    ) -> Option<Body> {
        let offer = body::parse(offer?).ok()?;
        let sound = self.legs.get_mut(key)?.sound.as_mut()?;
        sound.negotiation.handle_offer(&offer).ok()?;
        match sound.negotiation.answer(&before.0, before.1) {
            Ok(text) => Some(body::sdp(text)),
            Err(_) => {
                sound.negotiation.rollback();
                None
            }
        }
    }
}
