//! Spans of time for people.

/// `42s`, `3m05s`, `2h03m`, `4d05h`.
pub(crate) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{minutes}m{:02}s", seconds % 60),
        3_600..86_400 => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn shows_the_two_largest_units() {
        let shown = [0, 59, 61, 3_600, 90_000].map(span);
        assert_eq!(shown, ["0s", "59s", "1m01s", "1h00m", "1d01h"]);
    }
}
