//! Which of many failures the caller is told (RFC 3261 section 16.7 step 6), and in which words.

/// The better of two final failures of a fork: any 6xx before all others, then the lower class; within 4xx what tells the
/// caller most. Equal ones: the first stays.
#[must_use]
pub(crate) fn better(first: u16, second: u16) -> u16 {
    if rank(second) < rank(first) { second } else { first }
}

/// What the caller hears of a device's failure. The caller dialled a user, not a device: what only concerns our way to
/// the device (it is gone, it wants credentials, it moved, it does not know its own contact) means nobody is there.
///
/// * 401, 407: never answered (S8), and of no use to a caller who cannot answer them either.
/// * 3xx: not followed. A device could otherwise make us dial on its owner's behalf (S7); forwards are the switch's own.
/// * 503: not handed on (RFC 3261 section 16.7): it would make the caller avoid us.
#[must_use]
pub(crate) fn told_to_caller(status: u16) -> u16 {
    match status {
        300..=399 | 401 | 403 | 404 | 407 | 408 | 410 | 430 | 481 | 482 | 483 | 487 => 480,
        503 => 500,
        406 | 606 => 488,
        400..=699 => status,
        _ => 500,
    }
}

/// Lower is better.
fn rank(status: u16) -> u16 {
    match status {
        600..=699 => status - 600,
        // Somebody is there and talks, or pressed a key.
        486 => 400,
        // What the caller can do something about: other media, other extensions.
        415 | 420 | 484 | 488 => 401,
        480 => 498,
        400..=499 => 497,
        300..=399 => 499,
        _ => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(statuses: &[u16]) -> u16 {
        statuses
            .iter()
            .map(|&s| told_to_caller(s))
            .reduce(better)
            .unwrap_or(480)
    }

    #[test]
    fn a_decline_beats_everything() {
        assert_eq!(best(&[486, 603, 480]), 603);
        assert_eq!(best(&[600, 603]), 600);
    }

    #[test]
    fn busy_beats_a_device_that_is_gone() {
        assert_eq!(best(&[408, 486]), 486);
        assert_eq!(best(&[486, 500]), 486);
    }

    #[test]
    fn the_lower_class_wins_and_equals_keep_the_first() {
        assert_eq!(best(&[500, 488]), 488);
        assert_eq!(best(&[415, 488]), 415);
        assert_eq!(best(&[580, 501]), 501);
    }

    #[test]
    fn what_concerns_only_the_device_means_nobody_is_there() {
        for status in [302, 401, 407, 404, 408, 481, 487] {
            assert_eq!(best(&[status]), 480, "{status}");
        }
        assert_eq!(best(&[503]), 500);
        assert_eq!(best(&[606]), 488);
    }
}
