//! Non-INVITE server transaction: RFC 3261 section 17.2.2, figure 8, as corrected by RFC 4320.

use super::{Class, Effect, Effects, Times};
use clock::Mono;

/// One request of theirs other than INVITE and ACK.
#[derive(Debug)]
pub(crate) struct Server {
    state: State,
    reliable: bool,
}

#[derive(Debug)]
enum State {
    /// The TU decides. `hold_on`: when the client's retransmissions have slowed down to T2, and not before, it is told 100
    /// (RFC 4320 section 4.1). `f`: when the client has given up and nothing will be heard any more (section 4.2).
    Trying {
        hold_on: Mono,
        f: Mono,
    },
    /// 100 was said.
    Proceeding {
        f: Mono,
    },
    /// Answered. Until Timer J the request again gets the same.
    Completed {
        j: Mono,
    },
    Terminated,
}

impl Server {
    /// A request came.
    pub(crate) fn start(now: Mono, times: &Times, reliable: bool) -> Server {
        let (hold_on, f) = (now + times.until_e_is_t2(), now + times.lifetime());
        Server {
            state: State::Trying { hold_on, f },
            reliable,
        }
    }

    /// The request came again.
    pub(crate) fn handle_retransmission(&mut self, out: &mut Effects) {
        if matches!(self.state, State::Proceeding { .. } | State::Completed { .. }) {
            out.push(Effect::Retransmit);
        }
    }

    /// The TU responds. False if it may not: the only provisional response to a non-INVITE is the 100 that is made in here
    /// (RFC 4320 section 4.1).
    pub(crate) fn respond(&mut self, now: Mono, times: &Times, class: Class, out: &mut Effects) -> bool {
        let pending = matches!(self.state, State::Trying { .. } | State::Proceeding { .. });
        if !pending || class == Class::Provisional {
            return false;
        }
        out.push(Effect::Transmit);
        self.state = State::Completed {
            j: now + times.lifetime(),
        };
        // Timer J is zero over a reliable transport: nothing comes twice.
        if self.reliable {
            self.terminate(out);
        }
        true
    }

    /// The TU has nothing to say that would still be heard: 408 is never sent (RFC 4320 section 4.2). False if it has said
    /// something before.
    pub(crate) fn abandon(&mut self, out: &mut Effects) -> bool {
        let pending = self.is_pending();
        if pending {
            self.terminate(out);
        }
        pending
    }

    /// Time has come to [`Server::poll_timeout`].
    pub(crate) fn handle_timeout(&mut self, now: Mono, out: &mut Effects) {
        match self.state {
            State::Trying { f, .. } | State::Proceeding { f } if now >= f => {
                out.push(Effect::TimedOut);
                self.terminate(out);
            }
            State::Trying { hold_on, f } if now >= hold_on => {
                out.push(Effect::Trying);
                self.state = State::Proceeding { f };
            }
            State::Completed { j } if now >= j => self.terminate(out),
            _ => {}
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Mono> {
        match self.state {
            State::Trying { hold_on, f } => Some(hold_on.min(f)),
            State::Proceeding { f: end } | State::Completed { j: end } => Some(end),
            State::Terminated => None,
        }
    }

    /// The TU has not responded finally.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.state, State::Trying { .. } | State::Proceeding { .. })
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

    fn start(reliable: bool) -> Server {
        Server::start(at(0), &times(), reliable)
    }

    fn respond(machine: &mut Server, ms: u64, class: Class) -> Option<Vec<Effect>> {
        let mut out = Effects::new();
        machine.respond(at(ms), &times(), class, &mut out).then(|| out.to_vec())
    }

    fn again(machine: &mut Server) -> Vec<Effect> {
        let mut out = Effects::new();
        machine.handle_retransmission(&mut out);
        out.to_vec()
    }

    fn until(machine: &mut Server, ms: u64) -> Vec<(u64, Effect)> {
        run(machine, ms, Server::poll_timeout, |m, now, out| {
            m.handle_timeout(now, out)
        })
    }

    // ---- Trying ----

    #[test]
    fn says_nothing_before_the_client_has_slowed_down_to_t2() {
        let mut machine = start(false);
        assert_eq!(again(&mut machine), []);
        assert_eq!(respond(&mut machine, 100, Class::Provisional), None);
        assert_eq!(until(&mut machine, 3_499), []);
        assert_eq!(until(&mut machine, 3_500), [(3_500, Trying)]);
    }

    // ---- Proceeding ----

    #[test]
    fn repeats_100_and_is_given_up_when_the_client_has_gone() {
        let mut machine = start(false);
        until(&mut machine, 3_500);
        assert_eq!(again(&mut machine), [Retransmit]);
        assert_eq!(until(&mut machine, 100_000), [(32_000, TimedOut), (32_000, Terminated)]);
    }

    // ---- Completed ----

    #[test]
    fn repeats_its_answer_until_timer_j() {
        let mut machine = start(false);
        assert_eq!(respond(&mut machine, 100, Class::Failure), Some(vec![Transmit]));
        assert_eq!(again(&mut machine), [Retransmit]);
        assert_eq!(respond(&mut machine, 200, Class::Success), None);
        assert_eq!(until(&mut machine, 100_000), [(32_100, Terminated)]);
    }

    #[test]
    fn over_a_reliable_transport_the_answer_ends_it() {
        assert_eq!(
            respond(&mut start(true), 100, Class::Success),
            Some(vec![Transmit, Terminated])
        );
    }
}
