//! Time as plain values: the only time in the pure crates.
//!
//! [`Mono`] runs timers and never jumps. [`Wall`] is what is stored or shown. [`System`] is the one place that asks the
//! operating system; the pure crates' `clippy.toml` forbids it there.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the node started.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

/// Milliseconds since 1970-01-01 UTC.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub i64);

/// One reading of both clocks, taken at one moment.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For timers.
    pub mono: Mono,
    /// For what is stored or shown.
    pub wall: Wall,
}

impl Mono {
    /// Time since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Whole milliseconds since the node started.
    #[must_use]
    pub fn millis(self) -> u64 {
        self.0 / 1_000_000
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, after: Duration) -> Mono {
        Mono(
            self.0
                .saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Wall {
    /// Time until `later`; zero if it has passed.
    #[must_use]
    pub fn until(self, later: Wall) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Wall {
    type Output = Wall;
    fn add(self, after: Duration) -> Wall {
        Wall(
            self.0
                .saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

impl Sub<Duration> for Wall {
    type Output = Wall;
    fn sub(self, before: Duration) -> Wall {
        Wall(
            self.0
                .saturating_sub(i64::try_from(before.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

impl fmt::Display for Wall {
    /// RFC 3339 in UTC with milliseconds, as logs and the API show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.civil();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            c.year, c.month, c.day, c.hour, c.minute, c.second, c.millis
        )
    }
}

/// A moment in the proleptic Gregorian calendar, UTC.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Astronomical year.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59: UTC without leap seconds.
    pub second: u8,
    /// 0 to 999.
    pub millis: u16,
    /// 0 is Sunday.
    pub weekday: u8,
}

impl Wall {
    /// The calendar date and time of this moment (days-from-civil of Howard Hinnant, run backwards).
    #[must_use]
    pub fn civil(self) -> Civil {
        let (days, in_day) = (self.0.div_euclid(86_400_000), self.0.rem_euclid(86_400_000));
        let z = days + 719_468;
        let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let seconds = in_day / 1_000;
        let small = |n: i64| u8::try_from(n).unwrap_or(0);
        Civil {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: small(month),
            day: small(day_of_year - (153 * shifted + 2) / 5 + 1),
            hour: small(seconds / 3_600),
            minute: small(seconds / 60 % 60),
            second: small(seconds % 60),
            millis: u16::try_from(in_day % 1_000).unwrap_or(0),
            weekday: small((days + 4).rem_euclid(7)),
        }
    }
}

/// The operating system's clocks, read by the shell.
#[derive(Copy, Clone, Debug)]
pub struct System {
    start: Instant,
}

impl System {
    /// Starts the monotonic clock at zero.
    #[must_use]
    pub fn start() -> System {
        System { start: Instant::now() }
    }

    /// Reads both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: Mono(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)),
            wall: Wall(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_wall_time_as_rfc3339() {
        assert_eq!(Wall(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Wall(951_782_400_123).to_string(), "2000-02-29T00:00:00.123Z");
        assert_eq!(Wall(1_795_200_299_999).to_string(), "2026-11-20T18:44:59.999Z");
        assert_eq!(Wall(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn knows_the_weekday() {
        assert_eq!(Wall(0).civil().weekday, 4);
        assert_eq!(Wall(1_795_200_299_999).civil().weekday, 5);
    }

    #[test]
    fn time_since_a_later_moment_is_zero() {
        assert_eq!(Mono(5).since(Mono(9)), Duration::ZERO);
        assert_eq!(Wall(5).until(Wall(3)), Duration::ZERO);
    }
}
