//! Date (RFC 3261 section 20.17): always GMT, in the fixed form of RFC 1123.

use clock::Wall;

/// The value of Date, `Sat, 13 Nov 2010 23:29:00 GMT`.
#[must_use]
pub fn write_date(at: Wall) -> String {
    let c = at.civil();
    let (day, month) = (
        DAYS[usize::from(c.weekday) % 7],
        MONTHS[(usize::from(c.month) + 11) % 12],
    );
    format!(
        "{day}, {:02} {month} {:04} {:02}:{:02}:{:02} GMT",
        c.day, c.year, c.hour, c.minute, c.second
    )
}

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_rfc_1123() {
        assert_eq!(write_date(Wall(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(write_date(Wall(1_289_690_940_999)), "Sat, 13 Nov 2010 23:29:00 GMT");
        assert_eq!(write_date(Wall(951_782_400_000)), "Tue, 29 Feb 2000 00:00:00 GMT");
    }
}
