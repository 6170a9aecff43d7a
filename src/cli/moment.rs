//! Moments as people write them: a day, a time of day as the API shows it (RFC 3339), or milliseconds since 1970; all UTC.

/// Milliseconds since 1970 UTC.
///
/// # Errors
/// What a moment looks like.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let millis = text.parse().ok().or_else(|| date_and_time(text));
    millis.ok_or_else(|| "a moment is 2026-01-31, 2026-01-31T08:00:00Z, or milliseconds since 1970".to_owned())
}

fn date_and_time(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (
        number(date.next()?, 4)?,
        number(date.next()?, 2)?,
        number(date.next()?, 2)?,
    );
    let (time, fraction) = time.split_once('.').unwrap_or((time, "000"));
    let mut time = time.splitn(3, ':');
    let (hour, minute, second) = (
        number(time.next()?, 2)?,
        number(time.next()?, 2)?,
        number(time.next()?, 2)?,
    );
    let is_sound = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let millis = number(fraction, 3)?;
    let seconds = (days_since_1970(year, month, day) * 24 + hour) * 3_600 + minute * 60 + second;
    is_sound.then_some(seconds * 1_000 + millis)
}

/// So many digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Years begin in March here, so that the odd day is their last (days-from-civil of Howard Hinnant).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_day_a_time_or_a_number() {
        for (text, millis) in [
            ("0", 0),
            ("1769817600000", 1_769_817_600_000),
            ("1970-01-01", 0),
            ("2026-01-31", 1_769_817_600_000),
            ("2000-02-29T00:00:00.123Z", 951_782_400_123),
            ("2026-11-20T18:44:59.999Z", 1_795_200_299_999),
            ("2024-12-31T23:59:59Z", 1_735_689_599_000),
        ] {
            assert_eq!(parse(text), Ok(millis), "{text}");
        }
        for text in [
            "",
            "today",
            "2026-1-31",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-01-31T25:00:00Z",
            "2026-01-31T08:00:00",
            "2026-01-31T08:00Z",
            "2026-01-31T08:00:00.1Z",
            "+026-01-31",
            "2026-01-31T08:00:00+01:00",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
