//! How fast somebody may go: so many at once, then so many a second (a token bucket, kept as the one moment at which it
//! would be full again).

use clock::Mono;
use std::time::Duration;

/// What is allowed: `burst` at once, then `per_second`.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Rate {
    /// Time between two at the steady rate.
    interval: Duration,
    /// How far ahead of the steady rate one may be.
    slack: Duration,
}

/// How far somebody is ahead of the steady rate.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct Pace {
    full_again: Option<Mono>,
}

impl Rate {
    pub(crate) fn new(per_second: u32, burst: u32) -> Rate {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Rate {
            interval,
            slack: interval.saturating_mul(burst.max(1) - 1),
        }
    }
}

impl Pace {
    /// Takes one; false if that would be too fast, and then nothing is taken.
    pub(crate) fn take(&mut self, now: Mono, rate: Rate) -> bool {
        let full_again = self.full_again.map_or(now, |moment| moment.max(now));
        let is_fine = full_again.since(now) <= rate.slack;
        if is_fine {
            self.full_again = Some(full_again + rate.interval);
        }
        is_fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pace: &mut Pace, rate: Rate, at_ms: u64, wishes: u32) -> u32 {
        let now = Mono(at_ms * 1_000_000);
        (0..wishes).map(|_| u32::from(pace.take(now, rate))).sum()
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_the_steady_rate() {
        let (mut pace, rate) = (Pace::default(), Rate::new(10, 5));
        assert_eq!(taken(&mut pace, rate, 1_000, 20), 5);
        assert_eq!(taken(&mut pace, rate, 1_099, 20), 0);
        assert_eq!(taken(&mut pace, rate, 1_300, 20), 3);
        assert_eq!(
            taken(&mut pace, rate, 60_000, 20),
            5,
            "nothing is saved up beyond the burst"
        );
    }

    #[test]
    fn who_goes_on_too_fast_still_gets_the_steady_rate() {
        let (mut pace, rate) = (Pace::default(), Rate::new(100, 1));
        let all: u32 = (0..10_000).map(|ms| taken(&mut pace, rate, ms, 3)).sum();
        assert_eq!(
            all, 1_000,
            "100 a second for ten seconds, although 3,000 a second were wanted"
        );
    }
}
