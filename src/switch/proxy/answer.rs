//! Responses of branches (RFC 3261 section 16.7): provisional ones and 2xx go back at once, of refusals the best when there is
//! nobody left to ask.

use super::best::{Best, Refusal};
use super::identity::believed;
use super::targets::{self, Why};
use super::{Proxy, Relay, Stage, TIMER_C};
use crate::arena::Key;
use crate::core::Cx;
use crate::route::Dialler;
use sip::endpoint::ClientId;
use sip::{Headers, Message, Name, Reply, Splice};

impl Proxy {
    /// A target has said something.
    pub(super) fn on_response(&mut self, cx: &mut Cx<'_>, key: Key<Relay>, client: ClientId, message: Message) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        let Some(place) = relay.branches.iter().position(|branch| branch.client == client) else {
            return;
        };
        match message.status() {
            // Step 5: it was for us, not for who asked.
            ..=100 => {}
            101..=199 => relay.on_progress(cx, place, &message),
            200..=299 => self.on_success(cx, key, place, &message),
            status => {
                let stopped = relay.branches[place].stopped.filter(|_| status == 487);
                let refusal = match stopped {
                    Some(outcome) => Refusal::Lost(outcome),
                    None => Refusal::Said(Box::new(message)),
                };
                self.on_refusal(cx, key, place, refusal);
            }
        }
    }

    /// A target did not answer, or could not be reached.
    pub(super) fn on_lost(&mut self, cx: &mut Cx<'_>, key: Key<Relay>, client: ClientId, status: u16) {
        let Some(relay) = self.relays.get(key) else { return };
        let place = relay.branches.iter().position(|branch| branch.client == client);
        if let Some(place) = place.filter(|&place| relay.branches[place].is_pending) {
            let status = relay.branches[place].stopped.unwrap_or(status);
            self.on_refusal(cx, key, place, Refusal::Lost(status));
        }
    }

    /// Steps 5 and 10: each 2xx to an INVITE goes back, the first to another request; the others are told to stop.
    fn on_success(&mut self, cx: &mut Cx<'_>, key: Key<Relay>, place: usize, message: &Message) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        relay.branches[place].is_pending = false;
        relay.pass(cx, place, Splice::of(message));
        if !relay.is_invite {
            return self.end(cx, key);
        }
        if relay.stage == Stage::Answered {
            return;
        }
        relay.stage = Stage::Answered;
        relay.fork = None;
        relay.best = None;
        if let Some(ticket) = relay.ticket.take() {
            ticket.answered(cx, message.status());
        }
        if let Some(alarm) = relay.alarm.take() {
            cx.core.endpoint.cancel_timer(alarm);
        }
        let elsewhere = "SIP;cause=200;text=\"Call completed elsewhere\"";
        if relay.waits() {
            relay.stop_ringing(cx, &Headers::new().with(Name::Reason, elsewhere), None);
        }
        self.keep_answered(cx, key);
    }

    fn on_refusal(&mut self, cx: &mut Cx<'_>, key: Key<Relay>, place: usize, refusal: Refusal) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        relay.branches[place].is_pending = false;
        if relay.stage == Stage::Answered {
            return;
        }
        let status = refusal.status();
        relay.end_early(cx, place, status);
        let realm = &cx.core.config.security.realm;
        match &mut relay.best {
            Some(best) => best.weigh(refusal, realm),
            None => relay.best = Some(Box::new(Best::new(refusal, realm))),
        }
        // A 6xx speaks for all: nobody else is asked, and who rings is told why.
        if status >= 600 && relay.stage == Stage::Open {
            relay.stage = Stage::Declined;
            relay.give_up_the_rest();
            let reason = format!("SIP;cause={status}");
            relay.stop_ringing(cx, &Headers::new().with(Name::Reason, reason), None);
        }
        self.go_on(cx, key);
    }

    /// Tries the next targets, or answers if there are none and nothing more is awaited.
    pub(super) fn go_on(&mut self, cx: &mut Cx<'_>, key: Key<Relay>) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        // Who was told to stop is not waited for, unless the breadth of the request wants it so.
        let waits = relay.waits();
        let rings = relay
            .branches
            .iter()
            .any(|branch| branch.is_pending && branch.stopped.is_none());
        if let Some(fork) = relay.fork.as_mut().filter(|_| relay.stage == Stage::Open)
            && !rings
            && !(fork.is_strict && waits)
            && let Some(group) = fork.later.pop()
        {
            return self.try_next(cx, key, &group);
        }
        if !waits {
            self.refuse(cx, key);
        }
    }

    /// Step 6: nobody took it. It is sent on, or who asked hears the best refusal.
    fn refuse(&mut self, cx: &mut Cx<'_>, key: Key<Relay>) {
        if self.send_on(cx, key) {
            return;
        }
        let Some(relay) = self.relays.get_mut(key) else { return };
        let outcome = relay.outcome();
        let status = match relay.best.take() {
            Some(best) => relay.pass_refusal(cx, *best),
            None => relay.respond(cx, 408),
        };
        if let Some(ticket) = relay.ticket.take() {
            ticket.refused(cx, status, outcome);
        }
        self.end(cx, key);
    }

    /// The user whose phones did not take the call has it go to somebody else: true if it does.
    fn send_on(&mut self, cx: &mut Cx<'_>, key: Key<Relay>) -> bool {
        let Some(relay) = self.relays.get_mut(key) else {
            return false;
        };
        let status = relay.best.as_ref().map_or(408, |best| best.refusal.status());
        let why = match (relay.stage, status) {
            (Stage::Open, 486) | (Stage::Declined, 600) => Why::Busy,
            (Stage::Open, ..600) => Why::NoAnswer,
            // Declined is the callee's own word.
            _ => return false,
        };
        let Some(fork) = &mut relay.fork else { return false };
        let (dialler, source, request) = (fork.onward.dialler, fork.onward.source, &fork.onward.request);
        // Indices do not outlive a reload; of who was taken out of the configuration nothing is known.
        let forwarder = fork.past.last().and_then(|aor| cx.core.users.find(aor.user()));
        let next = forwarder.and_then(|user| Some((user, targets::sent_on(cx, dialler, user, request.method(), why)?)));
        let Some((user, number)) = next else { return false };
        let by = (dialler, Dialler::User(user));
        let Ok(targets) = targets::of(cx, by, source, request, &number, &mut fork.past) else {
            return false;
        };
        if let Some(ticket) = &mut relay.ticket {
            ticket.callee = targets.user(&fork.past);
        }
        fork.onward.trunk = targets.trunk;
        fork.rings_for = targets.rings_for;
        let (first, later, is_strict) = fork.onward.spread(targets.devices);
        (fork.later, fork.is_strict) = (later, is_strict);
        (relay.best, relay.stage) = (None, Stage::Open);
        self.try_next(cx, key, &first);
        true
    }
}

impl Relay {
    /// It rings, or is on its way.
    fn on_progress(&mut self, cx: &mut Cx<'_>, place: usize, message: &Message) {
        self.c_until = cx.now.mono + TIMER_C;
        if self.stage == Stage::Answered {
            return;
        }
        if let Some(ticket) = &mut self.ticket {
            ticket.note_ringing(cx.now.wall);
        }
        if let Some(fork) = &mut self.fork {
            fork.early.note(self.branches[place].client, message);
        }
        self.pass(cx, place, Splice::of(message));
    }

    /// Sends a response back, without our Via (step 3) and without what its sender may not assert.
    fn pass(&self, cx: &mut Cx<'_>, place: usize, response: Splice<'_>) {
        // Who asked is a phone, as far as is known here.
        let response = believed(response.remove_first(Name::Via), self.branches[place].is_trusted, false);
        let core = &mut *cx.core;
        core.endpoint
            .pass(cx.now.mono, self.server, &response, &mut core.effects);
    }

    /// The refusal that goes back; its status.
    fn pass_refusal(&self, cx: &mut Cx<'_>, best: Best) -> u16 {
        let message = match best.refusal {
            // Who gave up has been told 200 to his CANCEL, and now that it worked.
            Refusal::Lost(_) if self.stage == Stage::Cancelled => return self.respond(cx, 487),
            // A 503 would make him avoid us (step 6).
            Refusal::Lost(503) => return self.respond(cx, 500),
            Refusal::Lost(status) => return self.respond(cx, status),
            Refusal::Said(message) => message,
        };
        let mut response = believed(Splice::of(&message).remove_first(Name::Via), false, false);
        let mut status = message.status();
        match status {
            503 => {
                status = 500;
                response = response.status(500).remove(Name::RetryAfter);
            }
            401 | 407 if best.challenges.is_empty() => return self.respond(cx, 480),
            401 | 407 => {
                response = response.remove(Name::WwwAuthenticate).remove(Name::ProxyAuthenticate);
                for (name, challenge) in best.challenges {
                    response = response.append(name, challenge.into_vec());
                }
            }
            _ => {}
        }
        let core = &mut *cx.core;
        core.endpoint
            .pass(cx.now.mono, self.server, &response, &mut core.effects);
        status
    }

    /// Answers in our own name. A 408 to another request than INVITE is never sent (RFC 4320 section 4.2). The status.
    fn respond(&self, cx: &mut Cx<'_>, status: u16) -> u16 {
        let core = &mut *cx.core;
        core.endpoint
            .respond(cx.now.mono, self.server, &Reply::new(status), &mut core.effects);
        status
    }
}
