//! Offers and answers between one device and the switch alone, which no other device hears of: hold and resume by the device,
//! codecs of legs that are mixed or moved, and what is left of an exchange whose other side has gone.

use super::bridge::{Exchange, Step};
use super::room::Sound;
use super::{Calls, LegKey, body, service};
use crate::config::HoldMode;
use crate::core::Cx;
use media::sdp::Direction;
use sip::{Body, Headers, Method, Reply};

impl Calls {
    /// Whether the offer of a device that waits for an answer puts the call on hold, or takes it off, and the switch sees to
    /// that itself.
    pub(super) fn changes_hold(&self, cx: &Cx<'_>, key: LegKey) -> bool {
        let leg = self.legs.get(key).filter(|leg| self.is_up(leg.interaction));
        let sound = leg.and_then(|leg| leg.sound.as_ref());
        let asked = sound.and_then(|sound| sound.negotiation.asked_direction());
        cx.core.config.calls.hold != HoldMode::Pass
            && leg.is_some()
            && asked.is_some_and(|asked| asked.receives() == leg.is_some_and(|leg| leg.holds))
    }

    /// Answers the offer of a device with what was agreed before, if it still offers that.
    pub(super) fn answer_here(&mut self, cx: &mut Cx<'_>, key: LegKey) -> Result<(), Reply> {
        let agreed = self.held(key).0;
        let negotiation = self
            .sound_mut(key)
            .map(|sound| &mut sound.negotiation)
            .ok_or_else(|| Reply::new(491))?;
        let mut answer = negotiation.answer(&agreed, Direction::SendRecv).map(body::sdp);
        if answer.is_err() {
            answer = negotiation.answer(&service::CODECS, Direction::SendRecv).map(body::sdp);
        }
        let answer = answer.map_err(|error| body::refusal(error).reply)?;
        if let Some(leg) = self.legs.get_mut(key) {
            leg.answer(cx, Some(answer));
        }
        self.on_agreed(cx, key);
        Ok(())
    }

    /// A device wants an offer from us.
    pub(super) fn answer_wish(&mut self, cx: &mut Cx<'_>, key: LegKey) -> Result<(), Reply> {
        let offer = self.own_offer(key).ok_or_else(|| Reply::new(491))?;
        if let Some(leg) = self.legs.get_mut(key) {
            leg.answer(cx, Some(offer));
        }
        Ok(())
    }

    /// Offers a device again what was agreed with it, so that it learns something else: where its media goes, who it talks to.
    /// False if it cannot be asked now.
    pub(super) fn offer_again(&mut self, cx: &mut Cx<'_>, key: LegKey) -> bool {
        self.offer_with(cx, key, &Headers::new())
    }

    /// The same with further headers.
    pub(super) fn offer_with(&mut self, cx: &mut Cx<'_>, key: LegKey, headers: &Headers) -> bool {
        if self.legs.get(key).is_none_or(|leg| leg.session.offer_pending()) {
            return false;
        }
        let Some(offer) = self.own_offer(key) else { return false };
        let sent = self
            .legs
            .get_mut(key)
            .is_some_and(|leg| leg.offer_with(cx, Method::Invite, headers, Some(offer)).is_ok());
        if !sent {
            self.roll_back([key, key]);
        }
        sent
    }

    /// What was agreed, as an offer of ours; before that what the engine can do.
    fn own_offer(&mut self, key: LegKey) -> Option<Body> {
        let agreed = self.held(key).0;
        let negotiation = &mut self.sound_mut(key)?.negotiation;
        let can_say = agreed
            .iter()
            .any(|codec| codec.is_sound() && service::CODECS.contains(codec));
        let codecs = if can_say { &agreed[..] } else { &service::CODECS[..] };
        negotiation.offer(codecs, Direction::SendRecv).ok().map(body::sdp)
    }

    /// A device answers an offer of ours, or makes the one that we asked for on behalf of one that has gone.
    pub(super) fn on_own_answer(&mut self, cx: &mut Cx<'_>, key: LegKey, body: Option<&Body>, wants_answer: bool) {
        if wants_answer {
            return self.answer_in_ack(cx, key, body);
        }
        let open = self
            .sound_mut(key)
            .is_some_and(|sound| sound.negotiation.is_open() && !sound.negotiation.owes_answer());
        if !open {
            return;
        }
        match self.take_answer(key, body) {
            Ok(()) => self.on_agreed(cx, key),
            Err(_) => self.on_own_offer_refused(cx, key),
        }
    }

    fn answer_in_ack(&mut self, cx: &mut Cx<'_>, key: LegKey, body: Option<&Body>) {
        let offer = body.and_then(|body| body::parse(body).ok());
        let heard = offer.is_some_and(|offer| self.hear_offer(key, &offer).is_ok());
        let answer = if heard { self.own_answer(key) } else { None };
        if let Some(leg) = self.legs.get_mut(key) {
            leg.ack(cx, answer);
        }
        self.on_agreed(cx, key);
    }

    /// Our answer to the offer of a device; none, and the offer forgotten, if there is nothing in it.
    fn own_answer(&mut self, key: LegKey) -> Option<Body> {
        let agreed = self.held(key).0;
        let negotiation = &mut self.sound_mut(key)?.negotiation;
        let mut answer = negotiation.answer(&agreed, Direction::SendRecv).ok().map(body::sdp);
        if answer.is_none() {
            answer = negotiation
                .answer(&service::CODECS, Direction::SendRecv)
                .ok()
                .map(body::sdp);
        }
        if answer.is_none() {
            negotiation.rollback();
        }
        answer
    }

    /// A device did not take an offer of our own: what held still holds.
    pub(super) fn on_own_offer_refused(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        self.roll_back([key, key]);
        if self.legs.get(key).is_some_and(super::Leg::is_moving) {
            self.on_stayed(cx, key);
        }
    }

    /// Something was agreed with one device: the engine hears of it, and its direction is a hold, or the end of one.
    fn on_agreed(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        if self.come_over(cx, key) {
            self.on_came_over(cx, key);
        }
        let enters = self.listen(cx, key);
        if enters && let Some(place) = self.legs.get(key).map(|leg| leg.place) {
            self.plumb(cx, place);
            self.come_to_service(cx, place, key);
        }
        let direction = self.device_direction(key);
        let Some(leg) = self.legs.get_mut(key) else { return };
        let (place, holds) = (leg.place, !direction.receives());
        if cx.core.config.calls.hold == HoldMode::Pass || leg.holds == holds {
            return;
        }
        leg.holds = holds;
        self.hold_by_device(cx, place, key, holds);
    }

    /// What the device does with its stream.
    pub(super) fn device_direction(&self, key: LegKey) -> Direction {
        let sound = self.legs.get(key).and_then(|leg| leg.sound.as_ref());
        let agreed = sound.and_then(|sound| sound.negotiation.agreed());
        agreed.map(|agreed| agreed.remote_direction).unwrap_or_default()
    }

    /// A leg leaves its call, or goes to another: an exchange from end to end that it takes part in ends here, and the other
    /// side gets what it is owed.
    pub(super) fn drop_exchange(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let Some(Exchange { by, with, step }) = self.exchange_of(key) else {
            return;
        };
        self.set_exchange(key, None);
        if step == Step::Lent {
            // `with` waits for an answer in its ACK. What `by` was lent it will answer to us.
            let answer = self.own_answer(with);
            if let Some(leg) = self.legs.get_mut(with) {
                leg.ack(cx, answer);
            }
            return;
        }
        let waits = matches!(step, Step::Offered | Step::Wanted);
        if waits && let Some(leg) = self.legs.get_mut(by) {
            leg.refuse(cx, Reply::new(491));
        }
        // The other's offer goes; ours to `with` it may still answer.
        if let Some(sound) = self.sound_mut(by) {
            sound.negotiation.rollback();
        }
    }

    pub(super) fn sound_mut(&mut self, key: LegKey) -> Option<&mut Sound> {
        self.legs.get_mut(key)?.sound.as_mut()
    }
}
