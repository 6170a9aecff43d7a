//! INVITE server transaction: RFC 3261 section 17.2.1, with the Accepted state of RFC 6026 (its section 7.1).

use super::{Backoff, Class, Effect, Effects, Times, earliest};
use clock::Mono;

/// One INVITE of theirs.
#[derive(Debug)]
pub(crate) struct InviteServer {
    state: State,
    reliable: bool,
}

#[derive(Debug)]
enum State {
    /// The TU decides. The INVITE again is answered with the last provisional response.
    Proceeding,
    /// Refused. Timer G sends the refusal again (not over a reliable transport), Timer H gives up waiting for ACK.
    Completed {
        g: Option<Backoff>,
        h: Mono,
    },
    /// Refused and acknowledged. Until Timer I the ACK may come again.
    Confirmed {
        i: Mono,
    },
    /// Answered with 2xx, which the TU repeats. Until Timer L the INVITE again is no new one.
    Accepted {
        l: Mono,
    },
    Terminated,
}

impl InviteServer {
    /// An INVITE came: 100 at once, because nobody knows how soon the TU decides (section 17.2.1).
    pub(crate) fn start(reliable: bool, out: &mut Effects) -> InviteServer {
        out.push(Effect::Trying);
        InviteServer {
            state: State::Proceeding,
            reliable,
        }
    }

    /// The INVITE came again.
    pub(crate) fn handle_retransmission(&mut self, out: &mut Effects) {
        match self.state {
            State::Proceeding | State::Completed { .. } => out.push(Effect::Retransmit),
            State::Confirmed { .. } | State::Accepted { .. } | State::Terminated => {}
        }
    }

    /// The TU responds. False if it may not.
    pub(crate) fn respond(&mut self, now: Mono, times: &Times, class: Class, out: &mut Effects) -> bool {
        match (&self.state, class) {
            (State::Proceeding, Class::Provisional) => {}
            (State::Proceeding, Class::Success) => {
                self.state = State::Accepted {
                    l: now + times.lifetime(),
                }
            }
            (State::Proceeding, Class::Failure) => {
                let g = (!self.reliable).then(|| Backoff::start(now, times.t1));
                self.state = State::Completed {
                    g,
                    h: now + times.lifetime(),
                };
            }
            // The 2xx again, or of another fork that answered as well (RFC 6026 section 7.1).
            (State::Accepted { .. }, Class::Success) => {}
            _ => return false,
        }
        out.push(Effect::Transmit);
        true
    }

    /// An ACK came that has the INVITE's branch.
    pub(crate) fn handle_ack(&mut self, now: Mono, times: &Times, out: &mut Effects) {
        match self.state {
            State::Completed { .. } if self.reliable => self.terminate(out),
            State::Completed { .. } => self.state = State::Confirmed { i: now + times.t4 },
            // The ACK to a 2xx is the TU's. It has a branch of its own but for old clients (RFC 2543).
            State::Accepted { .. } => out.push(Effect::Deliver),
            State::Proceeding | State::Confirmed { .. } | State::Terminated => {}
        }
    }

    /// Time has come to [`InviteServer::poll_timeout`].
    pub(crate) fn handle_timeout(&mut self, now: Mono, times: &Times, out: &mut Effects) {
        match &mut self.state {
            State::Completed { h, .. } if now >= *h => {
                out.push(Effect::TimedOut);
                self.terminate(out);
            }
            State::Completed { g: Some(g), .. } if now >= g.at => {
                out.push(Effect::Retransmit);
                *g = g.next(times.t2);
            }
            State::Confirmed { i: end } | State::Accepted { l: end } if now >= *end => self.terminate(out),
            _ => {}
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Mono> {
        match self.state {
            State::Completed { g, h } => Some(earliest(g, h)),
            State::Confirmed { i: end } | State::Accepted { l: end } => Some(end),
            State::Proceeding | State::Terminated => None,
        }
    }

    /// The TU has not responded finally.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.state, State::Proceeding)
    }

    /// The TU has answered with 2xx.
    pub(crate) fn is_accepted(&self) -> bool {
        matches!(self.state, State::Accepted { .. })
    }

    /// Refused, and the refusal has its ACK: it is not sent again.
    pub(crate) fn is_confirmed(&self) -> bool {
        matches!(self.state, State::Confirmed { .. })
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

    fn start(reliable: bool) -> InviteServer {
        let mut out = Effects::new();
        let machine = InviteServer::start(reliable, &mut out);
        assert_eq!(out[..], [Trying]);
        machine
    }

    fn respond(machine: &mut InviteServer, ms: u64, class: Class) -> Option<Vec<Effect>> {
        let mut out = Effects::new();
        machine.respond(at(ms), &times(), class, &mut out).then(|| out.to_vec())
    }

    fn again(machine: &mut InviteServer) -> Vec<Effect> {
        let mut out = Effects::new();
        machine.handle_retransmission(&mut out);
        out.to_vec()
    }

    fn ack(machine: &mut InviteServer, ms: u64) -> Vec<Effect> {
        let mut out = Effects::new();
        machine.handle_ack(at(ms), &times(), &mut out);
        out.to_vec()
    }

    fn until(machine: &mut InviteServer, ms: u64) -> Vec<(u64, Effect)> {
        run(machine, ms, InviteServer::poll_timeout, |m, now, out| {
            m.handle_timeout(now, &times(), out)
        })
    }

    // ---- Proceeding ----

    #[test]
    fn repeats_the_last_provisional_for_the_invite_again() {
        let mut machine = start(false);
        assert_eq!(again(&mut machine), [Retransmit]);
        assert_eq!(respond(&mut machine, 20, Class::Provisional), Some(vec![Transmit]));
        assert_eq!(again(&mut machine), [Retransmit]);
        assert_eq!(ack(&mut machine, 30), []);
        assert_eq!(machine.poll_timeout(), None);
    }

    // ---- Completed ----

    #[test]
    fn repeats_a_refusal_until_timer_h() {
        let mut machine = start(false);
        assert_eq!(respond(&mut machine, 0, Class::Failure), Some(vec![Transmit]));
        assert_eq!(again(&mut machine), [Retransmit]);
        let sent =
            [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500].map(|ms| (ms, Retransmit));
        assert_eq!(until(&mut machine, 31_999), sent);
        assert_eq!(until(&mut machine, 100_000), [(32_000, TimedOut), (32_000, Terminated)]);
    }

    #[test]
    fn nothing_may_follow_a_refusal() {
        let mut machine = start(false);
        respond(&mut machine, 0, Class::Failure);
        for class in [Class::Provisional, Class::Success, Class::Failure] {
            assert_eq!(respond(&mut machine, 1, class), None);
        }
    }

    #[test]
    fn over_a_reliable_transport_a_refusal_is_sent_once_but_its_ack_awaited() {
        let mut machine = start(true);
        respond(&mut machine, 0, Class::Failure);
        assert_eq!(until(&mut machine, 31_999), []);
        assert_eq!(ack(&mut machine, 31_999), [Terminated]);
    }

    // ---- Confirmed ----

    #[test]
    fn absorbs_acks_and_invites_for_t4_after_the_ack() {
        let mut machine = start(false);
        respond(&mut machine, 0, Class::Failure);
        assert_eq!(ack(&mut machine, 100), []);
        assert_eq!(ack(&mut machine, 200), []);
        assert_eq!(again(&mut machine), []);
        assert_eq!(until(&mut machine, 100_000), [(5_100, Terminated)]);
    }

    // ---- Accepted ----

    #[test]
    fn absorbs_the_invite_and_lets_the_user_repeat_its_success_until_timer_l() {
        let mut machine = start(false);
        assert_eq!(respond(&mut machine, 0, Class::Success), Some(vec![Transmit]));
        assert_eq!(again(&mut machine), []);
        assert_eq!(respond(&mut machine, 500, Class::Success), Some(vec![Transmit]));
        assert_eq!(respond(&mut machine, 600, Class::Failure), None);
        assert_eq!(respond(&mut machine, 600, Class::Provisional), None);
        assert_eq!(ack(&mut machine, 700), [Deliver]);
        assert_eq!(until(&mut machine, 100_000), [(32_000, Terminated)]);
    }
}
