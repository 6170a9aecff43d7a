//! How calls end: every leg leaves once, says goodbye as its state asks, gives its port back and is recorded; when the
//! last has gone the call is forgotten.

use super::cdr::reason_of;
use super::ring::Ringing;
use super::{Calls, Failure, LegKey, Over, Stage, State};
use crate::Notice;
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::Interaction;
use crate::subscribe::Watched;
use crate::text::loggable;
use media::LegStats;
use model::{EndReason, EndedBy};
use sip::invite::Cause;
use sip::{Headers, Message, Name};

/// Longest Reason passed on: `SIP;cause=200;text="Call completed elsewhere"` and the like.
const REASON_MAX: usize = 200;

impl Calls {
    /// A leg's session is over.
    pub(super) fn on_ended(&mut self, cx: &mut Cx<'_>, key: LegKey, cause: Cause, message: Option<&Message>) {
        let Some(leg) = self.legs.get(key) else { return };
        if !leg.is_over() {
            let answered = leg.answered_at.is_some();
            let reason = match cause {
                Cause::Bye if answered => EndReason::Normal,
                Cause::Bye | Cause::Cancelled => EndReason::Cancelled,
                Cause::NoAck | Cause::Gone => EndReason::SignallingTimeout,
                Cause::Rejected => reason_of(leg.status),
                Cause::Local => EndReason::Internal,
            };
            let by = match cause {
                Cause::Bye | Cause::Cancelled | Cause::Rejected => EndedBy::Peer,
                Cause::NoAck | Cause::Gone | Cause::Local => EndedBy::Switch,
            };
            let headers = message.and_then(passed_reason).unwrap_or_else(|| reason_header(reason));
            self.lose(cx, key, by, reason, &headers);
        }
        if let Some(leg) = self.legs.get_mut(key)
            && let Stage::Over(over) = &mut leg.stage
        {
            over.parted = true;
        }
        self.forget(cx, key);
    }

    /// A leg has gone by itself. A device that only rang leaves the others ringing; in all other cases the call is over.
    fn lose(&mut self, cx: &mut Cx<'_>, key: LegKey, by: EndedBy, reason: EndReason, headers: &Headers) {
        let Some(call) = self.legs.get(key).map(|leg| leg.interaction) else {
            return;
        };
        let rings = matches!(self.state(call), Some(State::Ringing(_)));
        let is_caller = self.caller_of(call) == Some(key);
        if is_caller && let Some(leg) = self.legs.get_mut(key) {
            leg.status = if leg.status == 0 { 487 } else { leg.status };
        }
        let bridged = matches!(self.state(call), Some(State::Bridged(_)));
        self.leave(cx, key, by, reason, headers);
        if rings && !is_caller {
            return self.on_device_gone(cx, call);
        }
        if bridged {
            return self.on_left(cx, call, reason, headers);
        }
        let originated = self
            .interactions
            .get(call)
            .is_some_and(|call| call.originated.is_some());
        if originated {
            // The owner had answered, and gives up whom he waited for.
            self.on_side_failed(cx, call, 487);
            let reason = EndReason::Cancelled;
            return self.end(cx, call, EndedBy::Other, reason, &reason_header(reason));
        }
        self.end(cx, call, EndedBy::Other, reason, headers);
    }

    /// Somebody has left a call that was up: it goes on if two are left, or somebody is on the way.
    pub(super) fn on_left(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, reason: EndReason, headers: &Headers) {
        if !self.goes_on(cx, call) {
            return self.end(cx, call, EndedBy::Other, reason, headers);
        }
        self.settle_parties(cx, call);
    }

    /// The caller is refused, which ends the call.
    pub(super) fn fail(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, by: EndedBy, failure: Failure) {
        let Failure { reply, reason } = failure;
        self.on_side_failed(cx, call, reply.status);
        if let Some(key) = self.caller_of(call)
            && let Some(leg) = self.legs.get_mut(key)
            && !leg.is_over()
        {
            // The caller of a consultation that stands alone had been answered before.
            if !leg.is_up() {
                leg.reject(cx, reply);
            }
            self.leave(cx, key, by, reason, &Headers::new());
        }
        self.end(cx, call, by, reason, &reason_header(reason));
    }

    /// Ends a call: all legs that are still in it leave.
    pub(super) fn end(
        &mut self,
        cx: &mut Cx<'_>,
        call: Key<Interaction>,
        by: EndedBy,
        reason: EndReason,
        headers: &Headers,
    ) {
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        let before = std::mem::replace(&mut interaction.call.state, State::Over);
        if matches!(before, State::Over) {
            return;
        }
        self.active -= 1;
        if let State::Ringing(Ringing { alarm: Some(alarm), .. }) = &before {
            cx.core.endpoint.cancel_timer(*alarm);
        }
        let id = interaction.id;
        if interaction.call.is_conference {
            cx.core.touch(Watched::Members(id));
        }
        self.outcome(cx, call, 487);
        if let Some(sent) = self.forget_sent(call) {
            self.tell_sent(cx, call, *sent, 487);
        }
        if let Some(removal) = self.forget_removal(call) {
            self.tell_removal(cx, call, removal, 487);
        }
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        let mut sides = std::mem::take(&mut interaction.call.sides);
        // The one that is heard takes the line with it.
        sides.sort_by_key(|side| !self.is_heard(*side));
        for side in sides {
            self.on_parent_over(cx, side, call);
        }
        let Some(interaction) = self.interactions.get(call) else {
            return;
        };
        let legs: smallvec::SmallVec<[LegKey; 4]> = interaction.legs().collect();
        tracing::info!(call = %id, call_id = %self.call_id_for_log(legs.first()), ?reason, ?by, "call ends");
        for key in legs {
            self.leave(cx, key, by, reason, headers);
        }
        self.midst_of("end");
        let parent = self.leave_parent(cx, call, matches!(before, State::Bridged(_) | State::Service(_)));
        self.close_room(cx, call);
        self.bury(cx, call);
        if let Some(parent) = parent {
            self.on_side_over(cx, parent, reason, headers);
        }
    }

    /// Somebody hears this side call by a line of its parent.
    pub(super) fn is_heard(&self, side: Key<Interaction>) -> bool {
        let parties = self.interactions.get(side).map(|side| &side.parties);
        parties.is_some_and(|parties| parties.iter().any(|party| party.line.is_some() && !party.holds))
    }

    /// A call that is over and has no legs left is forgotten.
    fn bury(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        let Some(interaction) = self.interactions.get(call) else {
            return;
        };
        if interaction.legs().next().is_none() && matches!(interaction.call.state, State::Over) {
            self.interactions.remove(call);
            self.on_forgotten(cx);
        }
    }

    /// Call-ID of a call's first leg, for log lines; empty once the leg is forgotten.
    pub(super) fn call_id_for_log(&self, caller: Option<&LegKey>) -> String {
        let leg = caller.and_then(|&key| self.legs.get(key));
        leg.map(|leg| loggable(leg.session.call_id().as_bytes()))
            .unwrap_or_default()
    }

    /// Ends a call that a panic has left half-way: whatever state it is in, its legs leave, and what had not been done to
    /// those that were leaving is done.
    pub(super) fn end_broken(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        let family = self.family_of(call);
        for &member in &family {
            if let Some(interaction) = self.interactions.get_mut(member) {
                interaction.side = None;
                interaction.call.sides.clear();
                interaction.parties.iter_mut().for_each(|party| party.line = None);
            }
        }
        for member in family {
            self.end_one_broken(cx, member);
        }
    }

    /// A call with what it serves and all that serves the same, which first: devices are heard in the rooms of what serves
    /// their own call, and are to leave before those close.
    fn family_of(&self, call: Key<Interaction>) -> Vec<Key<Interaction>> {
        // What was half done may be known at one end only.
        let serving = |member: Key<Interaction>| {
            self.interactions
                .iter()
                .find(|(_, call)| call.call.sides.contains(&member))
        };
        let above = |&member: &_| {
            self.parent_of(member)
                .or_else(|| serving(member).map(|(parent, _)| parent))
        };
        let root = std::iter::successors(Some(call), above).last();
        let mut family = vec![root.unwrap_or(call)];
        let mut at = 0;
        while let Some(&member) = family.get(at) {
            family.extend(self.sides_of(member));
            at += 1;
        }
        family
    }

    fn end_one_broken(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        let stray = |(key, leg): (LegKey, &super::Leg)| (leg.interaction == call).then_some(key);
        let legs: Vec<LegKey> = self.legs.iter().filter_map(stray).collect();
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        for &key in &legs {
            if let (None, Some(party)) = (interaction.party_of(key), interaction.parties.last_mut()) {
                party.legs.push(key);
            }
        }
        self.hang_up(cx, call, EndReason::Internal);
        let headers = reason_header(EndReason::Internal);
        for key in legs {
            self.leave(cx, key, EndedBy::Switch, EndReason::Internal, &headers);
            if self.silence(cx, key) {
                self.record(cx, key, None, &LegStats::default());
            }
            if let Some(leg) = self.legs.get_mut(key)
                && let (Stage::Over(over), true) = (&mut leg.stage, leg.session.is_over())
            {
                over.parted = true;
            }
            self.forget(cx, key);
        }
        self.close_room(cx, call);
        self.bury(cx, call);
    }

    /// One leg leaves its call; once. What its session and the engine still have to say is waited for.
    pub(super) fn leave(&mut self, cx: &mut Cx<'_>, key: LegKey, by: EndedBy, reason: EndReason, headers: &Headers) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        if leg.is_over() {
            return;
        }
        if leg.status == 0 {
            leg.status = 487;
        }
        leg.stage = Stage::Over(Over {
            at: cx.now.wall,
            by,
            reason,
            recorded: false,
            parted: false,
        });
        tracing::debug!(leg = %leg.id, call_id = %loggable(leg.session.call_id().as_bytes()), ?reason, "leg leaves");
        for (_, alarm) in std::mem::take(&mut leg.again) {
            cx.core.endpoint.cancel_timer(alarm);
        }
        self.drop_exchange(cx, key);
        self.drop_relayed(cx, key);
        if let Some(leg) = self.legs.get_mut(key) {
            leg.close(cx, headers);
        }
        if self.silence(cx, key) {
            self.record(cx, key, None, &LegStats::default());
        }
        self.keep_left(cx, key);
        self.vacate(cx, key);
    }

    /// Forgets a leg that has its record and whose session is over, and with the last one the call.
    pub(super) fn forget(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let Some(leg) = self.legs.get(key) else { return };
        let Stage::Over(Over {
            recorded: true,
            parted: true,
            ..
        }) = leg.stage
        else {
            return;
        };
        let call = leg.interaction;
        self.legs.remove(key);
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        interaction.remove(key);
        if matches!(interaction.call.state, State::Bridged(_)) {
            interaction
                .parties
                .retain(|party| !party.legs.is_empty() || party.line.is_some());
        }
        self.bury(cx, call);
    }

    /// The last call of a draining switch has gone.
    pub(super) fn on_forgotten(&mut self, cx: &mut Cx<'_>) {
        if self.interactions.len() > 0 {
            return;
        }
        if let Some(alarm) = self.draining.take() {
            cx.core.endpoint.cancel_timer(alarm);
            cx.core.outputs.push_back(crate::Output::Notice(Notice::Drained));
        }
    }
}

/// The Reason of a message, for the other legs (RFC 3326): phones show a missed call or not by it.
#[must_use]
pub(super) fn passed_reason(message: &Message) -> Option<Headers> {
    let value = message.header(Name::Reason)?;
    let plain = value.len() <= REASON_MAX && value.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    plain.then(|| Headers::new().with(Name::Reason, value))
}

/// The Reason we give ourselves.
#[must_use]
pub(super) fn reason_header(reason: EndReason) -> Headers {
    let value = match reason {
        EndReason::Normal => "Q.850;cause=16;text=\"Normal call clearing\"",
        EndReason::Cancelled => "SIP;cause=487;text=\"Caller gave up\"",
        EndReason::Busy => "SIP;cause=486;text=\"Busy\"",
        EndReason::NoAnswer => "Q.850;cause=19;text=\"No answer\"",
        EndReason::Declined => "SIP;cause=603;text=\"Declined\"",
        EndReason::Unreachable => "SIP;cause=480;text=\"Nobody there\"",
        EndReason::AnsweredElsewhere => "SIP;cause=200;text=\"Call completed elsewhere\"",
        EndReason::MediaTimeout => "Q.850;cause=41;text=\"Media timeout\"",
        EndReason::SignallingTimeout => "SIP;cause=408;text=\"Signalling timeout\"",
        EndReason::NoCommonCodec => "SIP;cause=488;text=\"No common codec\"",
        EndReason::Loop => "SIP;cause=482;text=\"Loop\"",
        EndReason::Congestion => "SIP;cause=503;text=\"Congestion\"",
        EndReason::Operator => "Q.850;cause=16;text=\"Ended by an operator\"",
        EndReason::Shutdown | EndReason::Restart => "SIP;cause=503;text=\"The switch stops\"",
        EndReason::Internal => "SIP;cause=500;text=\"Internal fault\"",
    };
    Headers::new().with(Name::Reason, value)
}
