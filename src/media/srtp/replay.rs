//! Where a packet stands in its stream, and whether it came before (RFC 3711 sections 3.3.1 and 3.3.2).

/// How far back packets may come late. RFC 3711 asks for at least 64.
const WINDOW: u64 = 128;

/// The highest index that came, and which of those before it did.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Window {
    highest: Option<u64>,
    /// Bit n: `highest - n` came.
    seen: u128,
}

impl Window {
    /// Nothing came yet.
    pub fn is_new(&self) -> bool {
        self.highest.is_none()
    }

    /// The index of a sequence number: of those that end in it the nearest to the highest so far. `None` for one before
    /// the stream began.
    pub fn index_of(&self, sequence: u16) -> Option<u64> {
        let Some(highest) = self.highest else {
            return Some(u64::from(sequence));
        };
        let step = sequence.wrapping_sub(highest as u16).cast_signed();
        highest.checked_add_signed(i64::from(step))
    }

    /// It came already, or is too old to tell.
    pub fn is_replay(&self, index: u64) -> bool {
        self.highest
            .and_then(|highest| highest.checked_sub(index))
            .is_some_and(|back| back >= WINDOW || self.seen & (1 << back) != 0)
    }

    /// It came, and is authentic.
    pub fn accept(&mut self, index: u64) {
        let highest = self.highest.unwrap_or(index);
        if index >= highest {
            let step = u32::try_from(index - highest).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(step).unwrap_or(0) | 1;
            self.highest = Some(index);
        } else if highest - index < WINDOW {
            self.seen |= 1 << (highest - index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_rollovers_forward_and_back_again() {
        let mut window = Window::default();
        let mut take = |sequence| {
            let index = window.index_of(sequence)?;
            window.accept(index);
            Some(index)
        };
        assert_eq!(take(65_534), Some(65_534));
        assert_eq!(take(1), Some(0x1_0001));
        assert_eq!(take(65_535), Some(65_535), "late, from before the rollover");
        assert_eq!(take(2), Some(0x1_0002));
        assert_eq!(take(32_000), Some(0x1_7d00));
        assert_eq!(take(64_000), Some(0x1_fa00));
        assert_eq!(take(3), Some(0x2_0003));
    }

    #[test]
    fn what_lies_before_the_first_rollover_of_a_stream_that_begins_low_has_no_index() {
        let mut window = Window::default();
        window.accept(5);
        assert_eq!(window.index_of(65_000), None);
    }

    #[test]
    fn each_index_is_taken_once_within_the_window() {
        let mut window = Window::default();
        for index in [1000, 1001, 1003, 900] {
            assert!(!window.is_replay(index), "{index}");
            window.accept(index);
            assert!(window.is_replay(index), "{index}");
        }
        assert!(!window.is_replay(1002));
        assert!(window.is_replay(1003 - WINDOW), "too old to tell");
        window.accept(5000);
        assert!(window.is_replay(1003) && !window.is_replay(4999));
    }
}
