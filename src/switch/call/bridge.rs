//! Two devices talk, and change what they agreed: session refresh, other codecs, other addresses. An offer of one is an
//! offer of ours to the other; whatever the other says to it, the first hears. A refusal leaves both as they were. What need
//! not concern the other is answered in [`super::anchor`].

use super::ring::Ringing;
use super::{Calls, Failure, LegKey, State, body};
use crate::core::Cx;
use crate::route::best;
use media::sdp::SessionDescription;
use model::{EndReason, EndedBy};
use sip::{Body, Message, Method, Name, Reply};

/// Two devices or more hear each other, or wait for each other.
#[derive(Debug, Default)]
pub(crate) struct Bridge {
    /// An offer/answer exchange under way from end to end: one at a time.
    pub(super) exchange: Option<Exchange>,
}

/// An exchange from end to end.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Exchange {
    /// Whose device began it.
    pub(super) by: LegKey,
    /// With whose it is.
    pub(super) with: LegKey,
    /// What is awaited.
    pub(super) step: Step,
}

/// What an exchange awaits.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The other device's answer to the offer of the one that began.
    Offered,
    /// The other device's offer: the one that began asked for it.
    Wanted,
    /// The answer of the one that began to the other's offer; the other waits for it in its ACK.
    Lent,
    /// As `Offered` or `Wanted`, but the device that began has cancelled: [`super::restore`].
    Withdrawn,
    /// The other device's answer to an offer of ours that brings back what held before.
    Restoring,
}

impl Calls {
    /// A device wants to change the session; `None`: it wants an offer from us.
    pub(super) fn on_offer(&mut self, cx: &mut Cx<'_>, key: LegKey, body: Option<Body>, message: &Message) {
        let result = match (crate::admission::unsupported_extension(message), self.is_service(key)) {
            (Some(reply), _) => Err(reply),
            (None, true) => self.serve_again(cx, key, body.as_ref()),
            (None, false) => self.take_offer(cx, key, body.as_ref(), message.method()),
        };
        if let (Err(reply), Some(leg)) = (result, self.legs.get_mut(key)) {
            leg.refuse(cx, reply);
        }
    }

    /// Passes an offer, or the wish for one, to the other device of a plain call; all else is answered here: hold, and
    /// whatever comes while others listen, wait or are consulted.
    fn take_offer(&mut self, cx: &mut Cx<'_>, key: LegKey, body: Option<&Body>, method: Method) -> Result<(), Reply> {
        // While it rings the answer is still to come (RFC 3311 section 5.2); glare and the like likewise.
        let pending = || Reply::new(491);
        let bridge = self.bridge(key).ok_or_else(pending)?;
        if bridge
            .exchange
            .is_some_and(|exchange| exchange.by == key || exchange.with == key)
        {
            return Err(pending());
        }
        let other = self.passes_to(key);
        let Some(body) = body else {
            return match other {
                Some(other) => self.pass_wish(cx, key, other, method),
                None => self.answer_wish(cx, key),
            };
        };
        let description = body::parse(body).map_err(|failure| failure.reply)?;
        self.hear_offer(key, &description)?;
        let result = match other.filter(|_| !self.changes_hold(cx, key)) {
            Some(other) => self.pass_offer(cx, key, other, method),
            None => self.answer_here(cx, key),
        };
        if result.is_err() {
            self.roll_back([key, key]);
        }
        result
    }

    /// Passes the offer that a device has made to the other.
    fn pass_offer(&mut self, cx: &mut Cx<'_>, by: LegKey, with: LegKey, method: Method) -> Result<(), Reply> {
        self.prepare_video(cx, by, with);
        let offer = self.carry_offer(by, with)?;
        self.pass(
            cx,
            Exchange {
                by,
                with,
                step: Step::Offered,
            },
            method,
            Some(offer),
        )
    }

    /// Asks the other device for the offer that this one wants.
    fn pass_wish(&mut self, cx: &mut Cx<'_>, by: LegKey, with: LegKey, method: Method) -> Result<(), Reply> {
        self.pass(
            cx,
            Exchange {
                by,
                with,
                step: Step::Wanted,
            },
            method,
            None,
        )
    }

    fn pass(&mut self, cx: &mut Cx<'_>, exchange: Exchange, method: Method, offer: Option<Body>) -> Result<(), Reply> {
        let sent = self.legs.get_mut(exchange.with).map(|leg| leg.offer(cx, method, offer));
        self.midst_of("offer");
        if !matches!(sent, Some(Ok(()))) {
            self.roll_back([exchange.by, exchange.with]);
            return Err(Reply::new(491));
        }
        self.set_exchange(exchange.by, Some(exchange));
        Ok(())
    }

    /// What a device answered, or offered in its 2xx because we asked (`wants_answer`).
    pub(super) fn on_answer(&mut self, cx: &mut Cx<'_>, key: LegKey, body: Option<Body>, wants_answer: bool) {
        if self.is_service(key) {
            return self.on_service_answer(cx, key, body.as_ref());
        }
        let Some(Exchange { by, with, step }) = self.exchange_of(key) else {
            return self.on_own_answer(cx, key, body.as_ref(), wants_answer);
        };
        let done = match step {
            Step::Offered if with == key => self.on_far_answer(cx, by, key, body.as_ref()),
            Step::Wanted if with == key && wants_answer => return self.on_far_offer(cx, by, key, body.as_ref()),
            Step::Lent if by == key => self.on_lent_answer(cx, key, body.as_ref()),
            Step::Withdrawn if with == key => return self.restore(cx, by, key, body.as_ref(), wants_answer),
            Step::Restoring if with == key => self.take_answer(key, body.as_ref()),
            _ => Ok(()),
        };
        if wants_answer && let Some(leg) = self.legs.get_mut(key) {
            leg.ack(cx, None);
        }
        self.on_exchanged(cx, key, done);
    }

    /// An exchange has come to its end: both devices are heard as agreed.
    fn on_exchanged(&mut self, cx: &mut Cx<'_>, key: LegKey, done: Result<(), Failure>) {
        let Some(Exchange { by, with, .. }) = self.exchange_of(key) else {
            return;
        };
        self.set_exchange(key, None);
        let legs = [by, with];
        match done {
            Ok(()) => {
                self.enter_bridge(cx, key);
                for leg in legs {
                    self.listen(cx, leg);
                }
            }
            Err(_) => self.roll_back(legs),
        }
    }

    /// After a delayed offer the room opens only with its answer.
    fn enter_bridge(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        if let Some(call) = self.legs.get(key).map(|leg| leg.interaction) {
            self.open_room(cx, call, media::plan::Matrix::Everyone);
        }
    }

    /// The other device answered the offer that was passed to it.
    fn on_far_answer(&mut self, cx: &mut Cx<'_>, by: LegKey, key: LegKey, body: Option<&Body>) -> Result<(), Failure> {
        let answer = self.take_answer(key, body).and_then(|()| self.carry_answer(key, by));
        let Some(leg) = self.legs.get_mut(by) else {
            return Ok(());
        };
        match answer {
            Ok(text) => {
                leg.answer(cx, Some(text));
                Ok(())
            }
            Err(failure) => {
                leg.refuse(cx, Failure::of(488).reply);
                Err(failure)
            }
        }
    }

    /// The other device made the offer that was asked for: it is lent to the one that asked.
    fn on_far_offer(&mut self, cx: &mut Cx<'_>, by: LegKey, key: LegKey, body: Option<&Body>) {
        let text = body
            .ok_or_else(|| Failure::of(488))
            .and_then(body::parse)
            .and_then(|offer| {
                let heard = self.hear_offer(key, &offer);
                self.prepare_video(cx, key, by);
                let carried = heard.and_then(|()| self.carry_offer(key, by));
                carried.map_err(|reply| Failure::new(reply, EndReason::NoCommonCodec))
            });
        match text {
            Ok(text) => {
                if let Some(leg) = self.legs.get_mut(by) {
                    leg.answer(cx, Some(text));
                }
                let (with, step) = (key, Step::Lent);
                self.set_exchange(key, Some(Exchange { by, with, step }));
            }
            Err(failure) => {
                if let Some(leg) = self.legs.get_mut(by) {
                    leg.refuse(cx, Failure::of(488).reply);
                }
                if let Some(leg) = self.legs.get_mut(key) {
                    leg.ack(cx, None);
                }
                self.on_exchanged(cx, key, Err(failure));
            }
        }
    }

    /// The answer to a lent offer goes back to the device it came from, in its ACK. Without an answer that can be used
    /// neither device knows what holds: the call ends.
    pub(super) fn on_lent_answer(&mut self, cx: &mut Cx<'_>, by: LegKey, body: Option<&Body>) -> Result<(), Failure> {
        let Some(other) = self.exchange_of(by).map(|exchange| exchange.with) else {
            return Ok(());
        };
        let answer = self.take_answer(by, body).and_then(|()| self.carry_answer(by, other));
        let failed = answer.is_err();
        if let Some(leg) = self.legs.get_mut(other) {
            leg.ack(cx, answer.ok());
        }
        if failed && let Some(call) = self.legs.get(by).map(|leg| leg.interaction) {
            let reason = EndReason::NoCommonCodec;
            let headers = super::ending::reason_header(reason);
            self.end(cx, call, EndedBy::Switch, reason, &headers);
        }
        Ok(())
    }

    /// The ACK of the first 200: with a delayed offer it brings the answer.
    pub(super) fn on_acked(&mut self, cx: &mut Cx<'_>, key: LegKey, body: Option<&Body>) {
        if self.is_service(key) {
            return self.on_service_answer(cx, key, body);
        }
        match self.exchange_of(key) {
            Some(Exchange {
                by, step: Step::Lent, ..
            }) if by == key => {
                let done = self.on_lent_answer(cx, key, body);
                self.on_exchanged(cx, key, done);
            }
            Some(_) => {}
            None => self.on_own_answer(cx, key, body, false),
        }
        if self
            .legs
            .get_mut(key)
            .is_some_and(|leg| std::mem::take(&mut leg.renews))
        {
            self.renew(cx, key);
        }
    }

    /// The device did not take what we offered: the one that began hears it, and all stays as it was.
    pub(super) fn on_offer_refused(&mut self, cx: &mut Cx<'_>, key: LegKey, status: u16, message: Option<&Message>) {
        let Some(Exchange { by, with, step }) = self.exchange_of(key).filter(|exchange| exchange.with == key) else {
            return self.on_own_offer_refused(cx, key);
        };
        self.roll_back([by, with]);
        self.set_exchange(key, None);
        if let Step::Offered | Step::Wanted = step
            && let Some(leg) = self.legs.get_mut(by)
        {
            let mut reply = Reply::new(best::told_to_caller(status));
            if let Some(warning) = message.and_then(|message| message.header(Name::Warning)) {
                reply = reply.header(Name::Warning, warning);
            }
            leg.refuse(cx, reply);
        }
    }

    // The bricks.

    /// The bridge a leg is in.
    pub(super) fn bridge(&self, key: LegKey) -> Option<&Bridge> {
        match &self.interactions.get(self.legs.get(key)?.interaction)?.call.state {
            State::Bridged(bridge) => Some(bridge),
            State::Ringing(Ringing { early: Some(early), .. }) => early.legs.contains(&key).then_some(&early.bridge),
            _ => None,
        }
    }

    /// The exchange that a leg takes part in.
    pub(super) fn exchange_of(&self, key: LegKey) -> Option<Exchange> {
        let exchange = self.bridge(key)?.exchange;
        exchange.filter(|exchange| exchange.by == key || exchange.with == key)
    }

    /// The one other device that hears the same room and takes part in it: in a consultation whoever is consulted. What one
    /// says beside the conversation, the other hears.
    pub(super) fn partner(&self, key: LegKey) -> Option<LegKey> {
        let place = self.legs.get(key)?.place;
        let interaction = self.interactions.get(place)?;
        let devices = interaction.parties.iter().filter(|party| party.converses());
        let mut others = devices
            .filter_map(|party| self.device_of(party))
            .filter(|&device| device != key && self.legs.get(device).is_some_and(|leg| leg.place == place));
        let other = others.next()?;
        (others.next().is_none() && matches!(interaction.call.state, State::Bridged(_))).then_some(other)
    }

    /// The other device of a call of two.
    pub(super) fn peer(&self, key: LegKey) -> Option<LegKey> {
        self.bridge(key)?;
        let interaction = self.interactions.get(self.legs.get(key)?.interaction)?;
        let lives = |other: &LegKey| *other != key && self.legs.get(*other).is_some_and(|leg| !leg.is_over());
        let mut others = interaction.legs().filter(lives);
        let other = others.next()?;
        others.next().is_none().then_some(other)
    }

    /// The device that offers are passed to: that of a plain call of two, where nobody is on hold, elsewhere or consulted.
    pub(super) fn passes_to(&self, key: LegKey) -> Option<LegKey> {
        let other = self.plain_peer(key)?;
        let call = &self.interactions.get(self.legs.get(key)?.interaction)?.call;
        (matches!(call.state, State::Ringing(_)) || !call.exchanges()).then_some(other)
    }

    /// The other device of a plain call of two, as [`Calls::passes_to`], whatever is exchanged now.
    pub(super) fn plain_peer(&self, key: LegKey) -> Option<LegKey> {
        let other = self.peer(key)?;
        let interaction = self.interactions.get(self.legs.get(key)?.interaction)?;
        if let State::Ringing(_) = interaction.call.state {
            return Some(other);
        }
        let plain = interaction.call.sides.is_empty()
            && interaction.side.is_none()
            && interaction
                .parties
                .iter()
                .all(|party| !party.holds && party.line.is_none());
        let both = |leg: &super::Leg| leg.is_up() && leg.place == leg.interaction;
        let here = [key, other].into_iter().all(|key| self.legs.get(key).is_some_and(both));
        (plain && here).then_some(other)
    }

    pub(super) fn set_exchange(&mut self, key: LegKey, exchange: Option<Exchange>) {
        let Some(call) = self.legs.get(key).map(|leg| leg.interaction) else {
            return;
        };
        match self.interactions.get_mut(call).map(|i| &mut i.call.state) {
            Some(State::Bridged(bridge)) => bridge.exchange = exchange,
            Some(State::Ringing(Ringing { early: Some(early), .. })) => early.bridge.exchange = exchange,
            _ => {}
        }
    }

    /// A device offers; nobody has answered yet.
    pub(super) fn hear_offer(&mut self, key: LegKey, offer: &SessionDescription) -> Result<(), Reply> {
        let sound = self.legs.get_mut(key).and_then(|leg| leg.sound.as_mut());
        let sound = sound.ok_or_else(|| Reply::new(491))?;
        sound
            .negotiation
            .handle_offer(offer)
            .map_err(|error| body::refusal(error).reply)
    }

    /// What `from`'s device offers is our offer to `to`'s; the text.
    fn carry_offer(&mut self, from: LegKey, to: LegKey) -> Result<Body, Reply> {
        let legs = self.legs.pair_mut(from, to);
        let (Some(from), Some(to)) = legs.map_or((None, None), |(from, to)| (from.sound.as_mut(), to.sound.as_mut()))
        else {
            return Err(Reply::new(491));
        };
        match to.negotiation.relay_offer(&from.negotiation) {
            Ok(text) => Ok(body::sdp(text)),
            Err(error) => {
                from.negotiation.rollback();
                Err(body::refusal(error).reply)
            }
        }
    }

    /// The device of `key` answers our offer.
    pub(super) fn take_answer(&mut self, key: LegKey, body: Option<&Body>) -> Result<(), Failure> {
        let body = body.ok_or_else(|| Failure::of(488))?;
        let answer = body::parse(body)?;
        let sound = self.legs.get_mut(key).and_then(|leg| leg.sound.as_mut());
        let sound = sound.ok_or_else(|| Failure::of(488))?;
        sound.negotiation.handle_answer(&answer).map_err(body::refusal)
    }

    /// What `from`'s device answered is our answer to `to`'s.
    fn carry_answer(&mut self, from: LegKey, to: LegKey) -> Result<Body, Failure> {
        let legs = self.legs.pair_mut(from, to);
        let (Some(from), Some(to)) = legs.map_or((None, None), |(from, to)| (from.sound.as_mut(), to.sound.as_mut()))
        else {
            return Err(Failure::of(488));
        };
        let text = to.negotiation.relay_answer(&from.negotiation).map_err(body::refusal)?;
        Ok(body::sdp(text))
    }

    pub(super) fn roll_back(&mut self, legs: [LegKey; 2]) {
        for key in legs {
            if let Some(sound) = self.legs.get_mut(key).and_then(|leg| leg.sound.as_mut()) {
                sound.negotiation.rollback();
            }
        }
    }
}
