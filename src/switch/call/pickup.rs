//! What ringing devices say: progress and early media for the caller, and the answer that makes it a call.

use super::ending::reason_header;
use super::identity::is_private;
use super::ring::Early;
use super::service::CODECS;
use super::{Bridge, Calls, Exchange, Failure, LegKey, State, Step, body};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::Interaction;
use media::plan::{Codec, Matrix};
use media::sdp::{Direction, Negotiation};
use model::{EndReason, EndedBy};
use sip::{Body, Headers, Message, Reply};
use std::borrow::Cow;
use std::time::Duration;

/// A provisional response that says nothing new is passed on only so often: proxies want one a minute (RFC 3261 section
/// 13.3.1.1), and a device that repeats itself faster must not make us do so.
const REPEAT: Duration = Duration::from_secs(50);

impl Calls {
    /// 101 to 199 from a device.
    pub(super) fn on_progress(
        &mut self,
        cx: &mut Cx<'_>,
        key: LegKey,
        message: &Message,
        reliable: bool,
        wants_answer: bool,
    ) {
        // RFC 6228: one fork beyond the device has failed; the caller's one dialog goes on.
        if message.status() == 199 {
            return;
        }
        let Some(leg) = self.legs.get_mut(key) else { return };
        let call = leg.interaction;
        leg.on_ringing(cx.now.wall);
        let Some(ringing) = self.ringing(call) else { return };
        let alone = ringing.devices == 1;
        let early = match (alone, wants_answer) {
            (true, false) => self.early_media(cx, call, key, message),
            (true, true) => self.lend_early(call, key, message),
            (false, false) => self.early_of_several(cx, call, key, message),
            (false, true) => None,
        };
        if wants_answer && early.is_none() {
            return self.decline_early(cx, key);
        }
        if alone && reliable {
            self.bridge_early(call, key, wants_answer);
        }
        let now = cx.now.mono;
        let Some(ringing) = self.ringing(call) else { return };
        // A 180 would have the caller's phone ring over the early media that he hears.
        let status = match ringing.heard {
            _ if alone => message.status(),
            Some(_) => 183,
            None => 180,
        };
        let news = ringing
            .told
            .is_none_or(|(told, at)| told != status || now >= at + REPEAT);
        if !news && early.is_none() {
            return;
        }
        ringing.told = Some((status, now));
        let mut reply = Reply::new(status).headers(&told_of(&ringing.callee, message));
        reply.body = early;
        if let Some(caller) = self.caller_of(call).and_then(|caller| self.legs.get_mut(caller))
            && !caller.is_up()
        {
            caller.on_ringing(cx.now.wall);
            caller.progress(cx, reply, reliable);
        }
    }

    /// The device's offer in a reliable response, passed to a caller who made none; his answer comes in the PRACK.
    fn lend_early(&mut self, call: Key<Interaction>, key: LegKey, message: &Message) -> Option<Body> {
        let offer = body::description(message).ok().flatten()?;
        let caller = self.caller_of(call)?;
        let (from, to) = self.legs.pair_mut(caller, key)?;
        let (from, to) = (from.sound.as_mut()?, to.sound.as_mut()?);
        to.negotiation.handle_offer(&offer).ok()?;
        let text = from.negotiation.relay_offer(&to.negotiation).ok()?;
        Some(body::sdp(text))
    }

    /// An offer nobody can answer: the session refuses all of its streams.
    fn decline_early(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        if let Some(leg) = self.legs.get_mut(key) {
            leg.ack(cx, None);
        }
    }

    /// From now on the two can change the session before the answer (RFC 3311 section 5.1).
    fn bridge_early(&mut self, call: Key<Interaction>, key: LegKey, is_lent: bool) {
        let waits = |caller: &LegKey| self.legs.get(*caller).is_some_and(|leg| !leg.is_up());
        let Some(caller) = self.caller_of(call).filter(waits) else {
            return;
        };
        let Some(ringing) = self.ringing(call) else { return };
        ringing.is_lent |= is_lent;
        if ringing.early.is_none() {
            let exchange = is_lent.then_some(Exchange {
                by: caller,
                with: key,
                step: Step::Lent,
            });
            let (legs, bridge) = ([caller, key], Bridge { exchange });
            ringing.early = Some(Early { legs, bridge });
        }
    }

    /// The answer in a provisional response, passed to the caller's early dialog the first time. A description that cannot
    /// be used is as none.
    fn early_media(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, key: LegKey, message: &Message) -> Option<Body> {
        let answer = body::description(message).ok().flatten()?;
        let Some(caller) = self.caller_of(call) else {
            // The 200 may leave out what was said reliably before.
            let _ = self.sound_mut(key)?.negotiation.handle_answer(&answer);
            return None;
        };
        let (from, to) = self.legs.pair_mut(caller, key)?;
        let (from, to) = (from.sound.as_mut()?, to.sound.as_mut()?);
        // A provisional response without 100rel may carry an answer, never an offer (RFC 3261 section 13.2.1).
        let first = from.negotiation.owes_answer();
        to.negotiation.handle_answer(&answer).ok()?;
        let text = match first {
            true => body::sdp(from.negotiation.relay_answer(&to.negotiation).ok()?),
            false => return None,
        };
        self.open_room(cx, call, Matrix::Everyone);
        self.listen(cx, caller);
        self.listen(cx, key);
        Some(text)
    }

    /// The same where several devices ring. The caller's answer is ours, chosen once: whichever takes the call is transcoded
    /// to it. He hears the first device that has something to say, and the devices do not hear each other.
    fn early_of_several(
        &mut self,
        cx: &mut Cx<'_>,
        call: Key<Interaction>,
        key: LegKey,
        message: &Message,
    ) -> Option<Body> {
        let answer = body::description(message).ok().flatten()?;
        // Also for a caller who hears none of it: the 200 may leave out what was said reliably before.
        self.sound_mut(key)?.negotiation.handle_answer(&answer).ok()?;
        let waits = |caller: &LegKey| self.legs.get(*caller).is_some_and(|leg| !leg.is_up());
        let caller = self.caller_of(call).filter(waits)?;
        self.ringing(call).filter(|ringing| ringing.heard.is_none())?;
        let from = &mut self.sound_mut(caller)?.negotiation;
        let text = match from.owes_answer() {
            // A picture is agreed with one device, from end to end.
            true if from.asks_video() => return None,
            true => Some(body::sdp(from.answer(&CODECS, Direction::SendRecv).ok()?)),
            false => from.agreed().map(|_| None)?,
        };
        self.open_room(cx, call, Matrix::Everyone);
        self.listen(cx, caller);
        self.hear_early(cx, call, key);
        text
    }

    fn hear_early(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, key: LegKey) {
        self.listen(cx, key);
        if let Some(ringing) = self.ringing(call) {
            ringing.heard = Some(key);
        }
    }

    /// Some of several devices rings no more: if the caller heard that one, he hears another that has early media.
    pub(super) fn hear_another(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        let heard = self.ringing(call).and_then(|ringing| ringing.heard);
        let gone = |key: LegKey| self.legs.get(key).is_none_or(super::Leg::is_over);
        if !heard.is_some_and(gone) {
            return;
        }
        let speaks = |key: LegKey| {
            let sound = self.legs.get(key).filter(|leg| !leg.is_over())?.sound.as_ref()?;
            sound.negotiation.agreed().map(|_| key)
        };
        let next = self.callees(call).into_iter().find_map(speaks);
        if let Some(ringing) = self.ringing(call) {
            ringing.heard = None;
        }
        if let Some(next) = next {
            self.hear_early(cx, call, next);
        }
    }

    /// 2xx from a device: it has the call.
    pub(super) fn on_answered(&mut self, cx: &mut Cx<'_>, key: LegKey, message: &Message, wants_answer: bool) {
        let Some(leg) = self.legs.get_mut(key).filter(|leg| !leg.is_over()) else {
            return;
        };
        leg.on_answered(cx.now.wall);
        let call = leg.interaction;
        // Of a side call without a caller of its own, or whose caller's device was answered before, each device agrees with
        // the switch alone.
        let waits = |caller: &LegKey| self.legs.get(*caller).is_some_and(|leg| !leg.is_up());
        let caller = self.caller_of(call).filter(waits);
        let Some(ringing) = self.ringing(call) else { return };
        let (alarm, callee) = (ringing.alarm.take(), std::mem::take(&mut ringing.callee));
        let is_lent = ringing.is_lent;
        if let Some(alarm) = alarm {
            cx.core.endpoint.cancel_timer(alarm);
        }
        self.cancel_others(cx, call, key);
        self.midst_of("answer");
        let Some(caller) = caller else {
            return self.on_target_answered(cx, call, key, message);
        };
        match self
            .join(caller, key, message, wants_answer)
            .map(|text| (!is_lent).then_some(text))
        {
            Ok(text) => self.connect(cx, [caller, key], &told_of(&callee, message), text, wants_answer),
            Err(failure) => {
                if wants_answer && let Some(leg) = self.legs.get_mut(key) {
                    leg.ack(cx, None);
                }
                self.fail(cx, call, EndedBy::Switch, failure);
            }
        }
    }

    /// The description the caller gets: the device's answer, or its offer where the caller made none.
    fn join(&mut self, caller: LegKey, callee: LegKey, message: &Message, wants_answer: bool) -> Result<Body, Failure> {
        let unusable = || Failure::of(488);
        let description = body::description(message).map_err(|_| unusable())?;
        let (from, to) = self.legs.pair_mut(caller, callee).ok_or_else(unusable)?;
        let renews = &mut from.renews;
        let (Some(from), Some(to)) = (&mut from.sound, &mut to.sound) else {
            return Err(unusable());
        };
        let before = meaning(&to.negotiation);
        if wants_answer {
            let offer = description.ok_or_else(unusable)?;
            to.negotiation.handle_offer(&offer).map_err(body::refusal)?;
            let text = from.negotiation.relay_offer(&to.negotiation).map_err(body::refusal)?;
            return Ok(body::sdp(text));
        }
        match description {
            Some(answer) => to.negotiation.handle_answer(&answer).map_err(body::refusal)?,
            // The answer has come before, in a 183.
            None if to.negotiation.agreed().is_some() => {}
            None => return Err(unusable()),
        }
        // Another answer than the one the caller has: he is told by an offer of ours, when he has acknowledged.
        *renews = !from.negotiation.owes_answer() && before.is_some() && before != meaning(&to.negotiation);
        if from.negotiation.owes_answer() {
            let text = from.negotiation.relay_answer(&to.negotiation).map_err(body::refusal)?;
            return Ok(body::sdp(text));
        }
        let text = from.negotiation.local_description().ok_or_else(unusable)?;
        Ok(body::sdp(text))
    }

    /// The caller is answered, and both hear each other.
    fn connect(
        &mut self,
        cx: &mut Cx<'_>,
        legs: [LegKey; 2],
        callee: &Headers,
        text: Option<Body>,
        wants_answer: bool,
    ) {
        let [caller, _] = legs;
        let Some(leg) = self.legs.get_mut(caller) else { return };
        leg.on_answered(cx.now.wall);
        leg.accept(cx, callee, text);
        let call = leg.interaction;
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        let lent = wants_answer.then_some(Exchange {
            by: caller,
            with: legs[1],
            step: Step::Lent,
        });
        // What the two began to change before the answer goes on.
        let early = match &interaction.call.state {
            State::Ringing(ringing) => ringing.early.as_ref().and_then(|early| early.bridge.exchange),
            _ => None,
        };
        let exchange = lent.or(early);
        interaction.call.state = State::Bridged(Bridge { exchange });
        interaction.owner = interaction
            .parties
            .get(1)
            .or(interaction.parties.first())
            .map(|party| party.id);
        interaction.answered_at = Some(cx.now.wall);
        self.figures.answered += 1;
        let took = interaction.started_at.until(cx.now.wall);
        self.figures.setup_ms += u64::try_from(took.as_millis()).unwrap_or(0);
        let id = interaction.id;
        let setup_ms = took.as_millis();
        tracing::info!(call = %id, call_id = %self.call_id_for_log(Some(&caller)), setup_ms, "call answered");
        if !wants_answer {
            self.open_room(cx, call, Matrix::Everyone);
            for leg in legs {
                self.listen(cx, leg);
            }
        }
        self.on_side_up(cx, call);
    }

    /// One device answered: the others stop ringing and show no missed call (RFC 3326).
    fn cancel_others(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, answered: LegKey) {
        let headers = reason_header(EndReason::AnsweredElsewhere);
        for key in self.callees(call) {
            if key != answered {
                self.leave(cx, key, EndedBy::Other, EndReason::AnsweredElsewhere, &headers);
            }
        }
    }
}

/// What the caller is told of the callee: nothing if his device asks for privacy (RFC 3325 section 9.1).
fn told_of<'h>(callee: &'h Headers, response: &Message) -> Cow<'h, Headers> {
    match is_private(response) {
        true => Cow::Owned(Headers::new()),
        false => Cow::Borrowed(callee),
    }
}

/// What an agreement means for the other side: codecs and direction.
fn meaning(negotiation: &Negotiation) -> Option<(Vec<Codec>, media::sdp::Direction)> {
    let agreed = negotiation.agreed()?;
    let codecs = agreed.formats.iter().map(|agreed| agreed.format.codec()).collect();
    Some((codecs, agreed.remote_direction))
}
