//! Non-INVITE client transaction: RFC 3261 section 17.1.2.2, figure 6.

use super::{Backoff, Class, Effect, Effects, Times, earliest};
use clock::Mono;

/// One request of ours other than INVITE and ACK.
#[derive(Debug)]
pub(crate) struct Client {
    state: State,
    reliable: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing came yet. Timer E sends the request again (not over a reliable transport), Timer F gives up.
    Trying {
        e: Option<Backoff>,
        f: Mono,
    },
    /// 100 came. Timer E goes on at T2: the 100 does not promise that the final response will not be lost.
    Proceeding {
        e: Option<Backoff>,
        f: Mono,
    },
    /// Answered. Until Timer K the answer may come again.
    Completed {
        k: Mono,
    },
    Terminated,
}

impl Client {
    /// Sends the request.
    pub(crate) fn start(now: Mono, times: &Times, reliable: bool, out: &mut Effects) -> Client {
        out.push(Effect::Transmit);
        let e = (!reliable).then(|| Backoff::start(now, times.t1));
        Client {
            state: State::Trying {
                e,
                f: now + times.lifetime(),
            },
            reliable,
        }
    }

    pub(crate) fn handle_response(&mut self, now: Mono, times: &Times, class: Class, out: &mut Effects) {
        match (&self.state, class) {
            (&State::Trying { e, f } | &State::Proceeding { e, f }, Class::Provisional) => {
                out.push(Effect::Deliver);
                self.state = State::Proceeding { e, f };
            }
            (State::Trying { .. } | State::Proceeding { .. }, Class::Success | Class::Failure) => {
                out.push(Effect::Deliver);
                self.complete(now, times, out);
            }
            (State::Completed { .. } | State::Terminated, _) => {}
        }
    }

    /// Time has come to [`Client::poll_timeout`].
    pub(crate) fn handle_timeout(&mut self, now: Mono, times: &Times, out: &mut Effects) {
        match &mut self.state {
            State::Trying { f, .. } | State::Proceeding { f, .. } if now >= *f => {
                out.push(Effect::TimedOut);
                self.terminate(out);
            }
            State::Trying { e: Some(e), .. } if now >= e.at => {
                out.push(Effect::Retransmit);
                *e = e.next(times.t2);
            }
            State::Proceeding { e: Some(e), .. } if now >= e.at => {
                out.push(Effect::Retransmit);
                *e = Backoff::start(e.at, times.t2);
            }
            State::Completed { k } if now >= *k => self.terminate(out),
            _ => {}
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Mono> {
        match self.state {
            State::Trying { e, f } | State::Proceeding { e, f } => Some(earliest(e, f)),
            State::Completed { k } => Some(k),
            State::Terminated => None,
        }
    }

    /// No final response has come.
    /// Nothing has come yet.
    pub(crate) fn is_trying(&self) -> bool {
        matches!(self.state, State::Trying { .. })
    }

    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.state, State::Trying { .. } | State::Proceeding { .. })
    }

    fn complete(&mut self, now: Mono, times: &Times, out: &mut Effects) {
        // Timer K is zero over a reliable transport: nothing comes twice.
        if self.reliable {
            return self.terminate(out);
        }
        self.state = State::Completed { k: now + times.t4 };
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

    fn start(reliable: bool) -> Client {
        let mut out = Effects::new();
        let machine = Client::start(at(0), &times(), reliable, &mut out);
        assert_eq!(out[..], [Transmit]);
        machine
    }

    fn receive(machine: &mut Client, ms: u64, class: Class) -> Vec<Effect> {
        let mut out = Effects::new();
        machine.handle_response(at(ms), &times(), class, &mut out);
        out.to_vec()
    }

    fn until(machine: &mut Client, ms: u64) -> Vec<(u64, Effect)> {
        run(machine, ms, Client::poll_timeout, |m, now, out| {
            m.handle_timeout(now, &times(), out)
        })
    }

    // ---- Trying ----

    #[test]
    fn retransmits_with_intervals_that_double_up_to_t2() {
        let sent =
            [500, 1_500, 3_500, 7_500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500].map(|ms| (ms, Retransmit));
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

    // ---- Proceeding ----

    #[test]
    fn after_100_retransmits_every_t2_and_gives_up_no_later() {
        let mut machine = start(false);
        assert_eq!(receive(&mut machine, 100, Class::Provisional), [Deliver]);
        let sent = [500, 4_500, 8_500, 12_500, 16_500, 20_500, 24_500, 28_500].map(|ms| (ms, Retransmit));
        assert_eq!(until(&mut machine, 31_999), sent);
        assert_eq!(until(&mut machine, 100_000), [(32_000, TimedOut), (32_000, Terminated)]);
    }

    // ---- Completed ----

    #[test]
    fn delivers_one_final_response_and_absorbs_the_rest_until_timer_k() {
        for class in [Class::Success, Class::Failure] {
            let mut machine = start(false);
            assert_eq!(receive(&mut machine, 100, class), [Deliver]);
            assert_eq!(receive(&mut machine, 200, class), []);
            assert_eq!(until(&mut machine, 100_000), [(5_100, Terminated)]);
        }
    }

    #[test]
    fn over_a_reliable_transport_the_final_response_ends_it() {
        let mut machine = start(true);
        assert_eq!(receive(&mut machine, 100, Class::Success), [Deliver, Terminated]);
    }
}
