//! The four transaction machines of RFC 3261 section 17, as corrected by RFC 6026 and RFC 4320; one figure, one file.
//!
//! A machine knows states and deadlines, nothing of messages: inputs and effects are short closed enums, and
//! [`crate::Endpoint`] has the bytes.

pub(crate) mod client;
pub(crate) mod invite_client;
pub(crate) mod invite_server;
pub(crate) mod key;
pub(crate) mod server;

use clock::Mono;
use smallvec::SmallVec;
use std::time::Duration;

/// What a machine wants done.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Client: send the request. Server: send the response last given.
    Transmit,
    /// The same once more.
    Retransmit,
    /// Acknowledge the final response in hand.
    Acknowledge,
    /// Hand the message in hand to the TU.
    Deliver,
    /// Answer 100 in the TU's name.
    Trying,
    /// Nobody answered in time: tell the TU.
    TimedOut,
    /// The transaction is over: forget it.
    Terminated,
}

/// At most three at a time.
pub(crate) type Effects = SmallVec<[Effect; 4]>;

/// A response by what the machines make of it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// 100 to 199.
    Provisional,
    /// 200 to 299.
    Success,
    /// 300 to 699.
    Failure,
}

impl Class {
    pub(crate) fn of(status: u16) -> Class {
        match status {
            ..200 => Class::Provisional,
            200..300 => Class::Success,
            _ => Class::Failure,
        }
    }
}

/// The three times of RFC 3261 section 17.1.1.1 that all others are made of.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Times {
    pub(crate) t1: Duration,
    pub(crate) t2: Duration,
    pub(crate) t4: Duration,
}

impl Times {
    /// 64*T1: timers B, D, F, H, J, L and M.
    pub(crate) fn lifetime(&self) -> Duration {
        self.t1 * 64
    }

    /// How long until a client's Timer E has grown to T2: from then on a server that has nothing to say says 100
    /// (RFC 4320 section 4.1).
    pub(crate) fn until_e_is_t2(&self) -> Duration {
        let (mut interval, mut sum) = (self.t1, Duration::ZERO);
        while interval < self.t2 && !interval.is_zero() {
            sum += interval;
            interval *= 2;
        }
        sum
    }
}

/// A retransmission timer: A, E or G.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    at: Mono,
    interval: Duration,
}

impl Backoff {
    fn start(now: Mono, interval: Duration) -> Backoff {
        Backoff {
            at: now + interval,
            interval,
        }
    }

    /// Doubled, up to `cap`. Counted from when it was due, so that a late call does not stretch the schedule.
    fn next(self, cap: Duration) -> Backoff {
        let interval = (self.interval * 2).min(cap);
        Backoff {
            at: self.at + interval,
            interval,
        }
    }
}

/// The earlier of a retransmission and an end.
fn earliest(backoff: Option<Backoff>, end: Mono) -> Mono {
    backoff.map_or(end, |b| b.at.min(end))
}

#[cfg(test)]
pub(crate) mod timeline {
    //! Machine tests as timelines: milliseconds since the transaction began.

    use super::*;

    pub(crate) fn times() -> Times {
        let ms = Duration::from_millis;
        Times {
            t1: ms(500),
            t2: ms(4_000),
            t4: ms(5_000),
        }
    }

    pub(crate) fn at(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    /// Runs `step` at each deadline up to and including `until` and says when it did what.
    pub(crate) fn run<M>(
        machine: &mut M,
        until: u64,
        deadline: impl Fn(&M) -> Option<Mono>,
        step: impl Fn(&mut M, Mono, &mut Effects),
    ) -> Vec<(u64, Effect)> {
        let mut done = Vec::new();
        while let Some(due) = deadline(machine).filter(|&due| due <= at(until)) {
            let mut effects = Effects::new();
            step(machine, due, &mut effects);
            assert!(
                deadline(machine).is_none_or(|next| next > due),
                "a deadline that does not move on"
            );
            done.extend(effects.into_iter().map(|e| (due.millis(), e)));
        }
        done
    }

    #[test]
    fn timer_e_reaches_t2_after_three_and_a_half_seconds() {
        assert_eq!(times().until_e_is_t2(), Duration::from_millis(3_500));
    }
}
