//! INVITE client transaction: RFC 3261 section 17.1.1.2, with the Accepted state of RFC 6026 (its figure 1 of section 8.4).

use super::{Backoff, Class, Effect, Effects, Times, earliest};
use clock::Mono;

/// One INVITE of ours.
#[derive(Debug)]
pub(crate) struct InviteClient {
    state: State,
    reliable: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing came yet. Timer A sends the INVITE again (not over a reliable transport), Timer B gives up.
    Calling {
        a: Option<Backoff>,
        b: Mono,
    },
    /// It rings. Only the TU ends this: it cancels, and 64*T1 later nobody waits any more (section 9.1).
    Proceeding {
        cancelled: Option<Mono>,
    },
    /// Refused and acknowledged. Until Timer D the refusal may come again.
    Completed {
        d: Mono,
    },
    /// Answered. Until Timer M more 2xx may come, repeated or of other forks; the TU acknowledges each.
    Accepted {
        m: Mono,
    },
    Terminated,
}

impl InviteClient {
    /// Sends the INVITE.
    pub(crate) fn start(now: Mono, times: &Times, reliable: bool, out: &mut Effects) -> InviteClient {
        out.push(Effect::Transmit);
        let a = (!reliable).then(|| Backoff::start(now, times.t1));
        InviteClient {
            state: State::Calling {
                a,
                b: now + times.lifetime(),
            },
            reliable,
        }
    }

    pub(crate) fn handle_response(&mut self, now: Mono, times: &Times, class: Class, out: &mut Effects) {
        match (&self.state, class) {
            (State::Calling { .. }, Class::Provisional) => {
                out.push(Effect::Deliver);
                self.state = State::Proceeding { cancelled: None };
            }
            (State::Proceeding { .. }, Class::Provisional) => out.push(Effect::Deliver),
            // A 2xx is acknowledged by the TU, end to end, with a transaction of its own (section 13.2.2.4).
            (State::Calling { .. } | State::Proceeding { .. }, Class::Success) => {
                out.push(Effect::Deliver);
                self.state = State::Accepted {
                    m: now + times.lifetime(),
                };
            }
            (State::Accepted { .. }, Class::Success) => out.push(Effect::Deliver),
            // A refusal is acknowledged here, hop by hop (section 17.1.1.3).
            (State::Calling { .. } | State::Proceeding { .. }, Class::Failure) => {
                out.extend([Effect::Acknowledge, Effect::Deliver]);
                self.complete(now, times, out);
            }
            (State::Completed { .. }, Class::Failure) => out.push(Effect::Acknowledge),
            // Too late to mean anything.
            (State::Completed { .. } | State::Accepted { .. } | State::Terminated, _) => {}
        }
    }

    /// The TU has sent CANCEL: should the other side say nothing more, it is over 64*T1 later (section 9.1).
    pub(crate) fn handle_cancel(&mut self, now: Mono, times: &Times) {
        if let State::Proceeding {
            cancelled: cancelled @ None,
        } = &mut self.state
        {
            *cancelled = Some(now + times.lifetime());
        }
    }

    /// Time has come to [`InviteClient::poll_timeout`].
    pub(crate) fn handle_timeout(&mut self, now: Mono, times: &Times, out: &mut Effects) {
        match &mut self.state {
            State::Calling { b, .. } if now >= *b => self.time_out(out),
            State::Calling { a: Some(a), .. } if now >= a.at => {
                out.push(Effect::Retransmit);
                *a = a.next(times.lifetime());
            }
            State::Proceeding { cancelled: Some(end) } if now >= *end => self.time_out(out),
            State::Completed { d: end } | State::Accepted { m: end } if now >= *end => self.terminate(out),
            _ => {}
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Mono> {
        match self.state {
            State::Calling { a, b } => Some(earliest(a, b)),
            State::Proceeding { cancelled } => cancelled,
            State::Completed { d: end } | State::Accepted { m: end } => Some(end),
            State::Terminated => None,
        }
    }

    /// Only now may a CANCEL be sent (section 9.1).
    pub(crate) fn is_proceeding(&self) -> bool {
        matches!(self.state, State::Proceeding { .. })
    }

    /// No final response has come.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.state, State::Calling { .. } | State::Proceeding { .. })
    }

    /// A 2xx has come.
    pub(crate) fn is_accepted(&self) -> bool {
        matches!(self.state, State::Accepted { .. })
    }

    fn complete(&mut self, now: Mono, times: &Times, out: &mut Effects) {
        // Timer D is zero over a reliable transport: nothing comes twice.
        if self.reliable {
            return self.terminate(out);
        }
        self.state = State::Completed {
            d: now + times.lifetime(),
        };
    }

    fn time_out(&mut self, out: &mut Effects) {
        out.push(Effect::TimedOut);
        self.terminate(out);
    }

    fn terminate(&mut self, out: &mut Effects) {
        out.push(Effect::Terminated);
        self.state = State::Terminated;
    }
}

#[cfg(test)]
mod tests {
    use super::super::timeline::{at, run, times};
    use super::*;
    use Effect::*;

    fn start(reliable: bool) -> InviteClient {
        let mut out = Effects::new();
        let machine = InviteClient::start(at(0), &times(), reliable, &mut out);
        assert_eq!(out[..], [Transmit]);
        machine
    }

    fn receive(machine: &mut InviteClient, ms: u64, class: Class) -> Vec<Effect> {
        let mut out = Effects::new();
        machine.handle_response(at(ms), &times(), class, &mut out);
        out.to_vec()
    }

    fn until(machine: &mut InviteClient, ms: u64) -> Vec<(u64, Effect)> {
        run(machine, ms, InviteClient::poll_timeout, |m, now, out| {
            m.handle_timeout(now, &times(), out)
        })
    }

    // ---- Calling ----

    #[test]
    fn retransmits_invite_with_doubling_intervals_until_timer_b() {
        let sent = [500, 1_500, 3_500, 7_500, 15_500, 31_500].map(|ms| (ms, Retransmit));
        let mut machine = start(false);
        assert_eq!(until(&mut machine, 31_999), sent);
        assert_eq!(until(&mut machine, 100_000), [(32_000, TimedOut), (32_000, Terminated)]);
    }

    #[test]
    fn a_reliable_transport_is_not_helped_but_still_given_up() {
        assert_eq!(
            until(&mut start(true), 100_000),
            [(32_000, TimedOut), (32_000, Terminated)]
        );
    }

    #[test]
    fn retransmits_invite_until_provisional() {
        let mut machine = start(false);
        assert_eq!(until(&mut machine, 600), [(500, Retransmit)]);
        assert_eq!(receive(&mut machine, 700, Class::Provisional), [Deliver]);
        assert_eq!(until(&mut machine, 1_000_000), []);
    }

    #[test]
    fn a_late_call_does_not_stretch_the_schedule() {
        let mut machine = start(false);
        machine.handle_timeout(at(900), &times(), &mut Effects::new());
        assert_eq!(machine.poll_timeout(), Some(at(1_500)));
    }

    // ---- Proceeding ----

    #[test]
    fn rings_as_long_as_the_user_likes() {
        let mut machine = start(false);
        receive(&mut machine, 10, Class::Provisional);
        assert_eq!(receive(&mut machine, 200_000, Class::Provisional), [Deliver]);
        assert_eq!(machine.poll_timeout(), None);
    }

    #[test]
    fn a_cancelled_invite_that_nobody_answers_ends_after_64_t1() {
        let mut machine = start(false);
        receive(&mut machine, 10, Class::Provisional);
        machine.handle_cancel(at(1_000), &times());
        machine.handle_cancel(at(9_000), &times());
        assert_eq!(until(&mut machine, 100_000), [(33_000, TimedOut), (33_000, Terminated)]);
    }

    // ---- Completed ----

    #[test]
    fn acknowledges_each_refusal_and_delivers_the_first() {
        let mut machine = start(false);
        assert_eq!(receive(&mut machine, 10, Class::Failure), [Acknowledge, Deliver]);
        assert_eq!(receive(&mut machine, 510, Class::Failure), [Acknowledge]);
        assert_eq!(receive(&mut machine, 520, Class::Provisional), []);
        assert_eq!(receive(&mut machine, 530, Class::Success), []);
        assert_eq!(until(&mut machine, 100_000), [(32_010, Terminated)]);
    }

    #[test]
    fn over_a_reliable_transport_a_refusal_ends_it_at_once() {
        let mut machine = start(true);
        assert_eq!(
            receive(&mut machine, 10, Class::Failure),
            [Acknowledge, Deliver, Terminated]
        );
    }

    // ---- Accepted ----

    #[test]
    fn delivers_every_success_until_timer_m() {
        for reliable in [false, true] {
            let mut machine = start(reliable);
            assert_eq!(receive(&mut machine, 10, Class::Success), [Deliver]);
            assert_eq!(receive(&mut machine, 510, Class::Success), [Deliver]);
            assert_eq!(receive(&mut machine, 520, Class::Failure), []);
            assert_eq!(receive(&mut machine, 530, Class::Provisional), []);
            assert_eq!(until(&mut machine, 100_000), [(32_010, Terminated)]);
        }
    }
}
