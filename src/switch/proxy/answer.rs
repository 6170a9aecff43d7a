//! Responses of branches (RFC 3261 section 16.7): provisional ones and 2xx go back at once, of refusals the best when there is
//! nobody left to ask.

use super::best::{Best, Refusal};
use super::identity::believed;
use super::{Proxy, Relay, Stage, TIMER_C};
use crate::arena::Key;
use crate::core::Cx;
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

    /// Step 6: nobody took it. Who asked hears the best refusal.
    fn refuse(&mut self, cx: &mut Cx<'_>, key: Key<Relay>) {
        let Some(relay) = self.relays.get_mut(key) else { return };
        match relay.best.take() {
            Some(best) => relay.pass_refusal(cx, *best),
            None => relay.respond(cx, 408),
        }
        self.end(cx, key);
    }
}

impl Relay {
    /// It rings, or is on its way.
    fn on_progress(&mut self, cx: &mut Cx<'_>, place: usize, message: &Message) {
        self.c_until = cx.now.mono + TIMER_C;
        if self.stage == Stage::Answered {
            return;
        }
        if let Some(fork) = &mut self.fork {
            fork.early.note(self.branches[place].client, message);
        }
        self.pass(cx, place, Splice::of(message));
    }

    /// Sends a response back, without our Via (step 3) and without what its sender may not assert.
    fn pass(&self, cx: &mut Cx<'_>, place: usize, response: Splice<'_>) {
        let response = believed(response.remove_first(Name::Via), self.branches[place].is_trusted);
        let core = &mut *cx.core;
        core.endpoint
            .pass(cx.now.mono, self.server, &response, &mut core.effects);
    }

    fn pass_refusal(&self, cx: &mut Cx<'_>, best: Best) {
        let message = match best.refusal {
            // Who gave up has been told 200 to his CANCEL, and now that it worked.
            Refusal::Lost(_) if self.stage == Stage::Cancelled => return self.respond(cx, 487),
            // A 503 would make him avoid us (step 6).
            Refusal::Lost(503) => return self.respond(cx, 500),
            Refusal::Lost(status) => return self.respond(cx, status),
            Refusal::Said(message) => message,
        };
        let mut response = believed(Splice::of(&message).remove_first(Name::Via), false);
        match message.status() {
            503 => response = response.status(500).remove(Name::RetryAfter),
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
    }

    /// Answers in our own name. A 408 to another request than INVITE is never sent (RFC 4320 section 4.2).
    fn respond(&self, cx: &mut Cx<'_>, status: u16) {
        let core = &mut *cx.core;
        core.endpoint
            .respond(cx.now.mono, self.server, &Reply::new(status), &mut core.effects);
    }
}
