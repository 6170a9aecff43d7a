//! Key presses in RTP (RFC 4733): each press once, although its packets repeat, are lost, and end three times.

use super::RtpHeader;
use clock::Mono;
use std::time::Duration;

/// A press whose end was lost counts as ended after this long without a packet of it.
const SILENCE: Duration = Duration::from_millis(400);

/// Presses a second that are reported; a device that sends more is broken or hostile.
const RATE: u32 = 20;

/// Clock units in which a repetition may come behind another press: ten seconds of the fastest clock. Beyond it the device has
/// begun to count anew.
const PAST: u32 = 480_000;

/// A key that was pressed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct KeyPress {
    /// `0`-`9`, `*`, `#`, `A`-`D`.
    pub digit: char,
    /// In clock units of the event format.
    pub duration: u32,
}

/// Watches the events of one incoming stream.
#[derive(Debug, Default)]
pub struct KeyPresses {
    present: Option<Present>,
    /// Timestamp of the last press that was reported.
    last: Option<(u32, u32)>,
    reported: u32,
    counted_since: Mono,
}

#[derive(Debug)]
struct Present {
    ssrc: u32,
    timestamp: u32,
    event: u8,
    /// Of earlier segments of a long press.
    before: u32,
    duration: u16,
    heard: Mono,
}

impl KeyPresses {
    /// A packet of the event format came; says which press ended with it.
    pub fn arrive(&mut self, now: Mono, header: &RtpHeader, payload: &[u8]) -> Option<KeyPress> {
        let [event, flags, high, low] = *payload.first_chunk::<4>()?;
        let duration = u16::from_be_bytes([high, low]);
        if event > 15 || self.is_past(header) {
            return None;
        }
        // With a lost end before it, the older press is said now, and this one by its next packet or by `overdue`.
        let unfinished = self.follow(now, header, event, duration);
        if unfinished.is_some() || flags & 0x80 == 0 {
            return unfinished;
        }
        self.finish(now)
    }

    /// The press whose end was lost, when nothing was heard of it for a while.
    pub fn overdue(&mut self, now: Mono) -> Option<KeyPress> {
        let silent = self
            .present
            .as_ref()
            .is_some_and(|present| now.since(present.heard) >= SILENCE);
        silent.then(|| self.finish(now)).flatten()
    }

    /// A repetition of a press that was said, or of one before it.
    fn is_past(&self, header: &RtpHeader) -> bool {
        self.last
            .is_some_and(|(ssrc, timestamp)| ssrc == header.ssrc && timestamp.wrapping_sub(header.timestamp) <= PAST)
    }

    /// Takes the packet into the present press; returns the one before if its end was lost.
    fn follow(&mut self, now: Mono, header: &RtpHeader, event: u8, duration: u16) -> Option<KeyPress> {
        match &mut self.present {
            Some(present) if present.ssrc == header.ssrc && present.timestamp == header.timestamp => {
                present.duration = present.duration.max(duration);
                present.heard = now;
                return None;
            }
            // RFC 4733 section 2.5.1.3: a press longer than 65,535 units goes on as a new event right where it ended.
            Some(present) if present.is_continued_by(header, event) => {
                present.before += u32::from(present.duration);
                (present.timestamp, present.duration, present.heard) = (header.timestamp, duration, now);
                return None;
            }
            // A late packet of the press before the present one.
            Some(present)
                if present.ssrc == header.ssrc && present.timestamp.wrapping_sub(header.timestamp) <= PAST =>
            {
                return None;
            }
            _ => {}
        }
        let before = self.finish(now);
        self.present = Some(Present {
            ssrc: header.ssrc,
            timestamp: header.timestamp,
            event,
            before: 0,
            duration,
            heard: now,
        });
        before
    }

    fn finish(&mut self, now: Mono) -> Option<KeyPress> {
        let present = self.present.take()?;
        self.last = Some((present.ssrc, present.timestamp));
        let digit = char::from(*b"0123456789*#ABCD".get(usize::from(present.event))?);
        self.may_report(now).then_some(KeyPress {
            digit,
            duration: present.before + u32::from(present.duration),
        })
    }

    fn may_report(&mut self, now: Mono) -> bool {
        if now.since(self.counted_since) >= Duration::from_secs(1) {
            (self.reported, self.counted_since) = (0, now);
        }
        self.reported += 1;
        self.reported <= RATE
    }
}

impl Present {
    fn is_continued_by(&self, header: &RtpHeader, event: u8) -> bool {
        self.ssrc == header.ssrc
            && self.event == event
            && !header.marker
            && self.duration == u16::MAX
            && header.timestamp == self.timestamp.wrapping_add(u32::from(self.duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    fn header(timestamp: u32, marker: bool) -> RtpHeader {
        RtpHeader {
            marker,
            pt: 101,
            sequence: 0,
            timestamp,
            ssrc: 1,
            payload: 12..16,
        }
    }

    /// The packets of one press of 100 ms: five updates, three ends.
    fn press(digit: u8, timestamp: u32) -> Vec<(RtpHeader, [u8; 4])> {
        (1..=8u16)
            .map(|n| {
                let [high, low] = (n.min(5) * 160).to_be_bytes();
                let end = if n > 5 { 0x80 } else { 0 };
                (header(timestamp, n == 1), [digit, end | 10, high, low])
            })
            .collect()
    }

    fn digits(packets: &[(RtpHeader, [u8; 4])]) -> String {
        let mut keys = KeyPresses::default();
        let mut heard: Vec<char> = packets
            .iter()
            .zip(0..)
            .filter_map(|((header, payload), n)| keys.arrive(at(n * 20), header, payload))
            .map(|press| press.digit)
            .collect();
        heard.extend(keys.overdue(at(100_000)).map(|press| press.digit));
        heard.iter().collect()
    }

    #[test]
    fn a_press_is_said_once_with_its_length() {
        let mut keys = KeyPresses::default();
        let said: Vec<_> = press(5, 800)
            .iter()
            .filter_map(|(h, p)| keys.arrive(at(0), h, p))
            .collect();
        assert_eq!(
            said,
            [KeyPress {
                digit: '5',
                duration: 800
            }]
        );
    }

    #[test]
    fn any_single_packet_left_of_a_press_is_enough() {
        for keep in 0..8 {
            let packets = [vec![press(1, 0)[keep].clone()], press(2, 4000)].concat();
            assert_eq!(digits(&packets), "12", "{keep}");
        }
    }

    #[test]
    fn the_same_key_twice_is_two_presses_and_repetition_is_none() {
        let twice = [press(7, 0), press(7, 4000), press(7, 4000), press(7, 0)].concat();
        assert_eq!(digits(&twice), "77");
    }

    #[test]
    fn a_device_that_counts_anew_is_heard_on() {
        let anew = [press(1, 3_000_000_000), press(2, 0), press(3, 4_000), press(3, 4_000)].concat();
        assert_eq!(digits(&anew), "123");
    }

    #[test]
    fn nothing_is_said_twice_or_lost_under_reordering_of_neighbours() {
        let mut packets = [press(1, 0), press(2, 4000), press(11, 8000)].concat();
        for at in (0..packets.len() - 1).step_by(2) {
            packets.swap(at, at + 1);
        }
        assert_eq!(digits(&packets), "12#");
    }

    #[test]
    fn a_long_press_in_segments_is_one() {
        let long = header(1000, true);
        let next = header(1000 + 65535, false);
        assert_eq!(
            digits(&[
                (long, [9, 10, 0xff, 0xff]),
                (next.clone(), [9, 10, 0, 160]),
                (next, [9, 0x8a, 1, 64])
            ]),
            "9"
        );
    }

    #[test]
    fn flash_hooks_fax_tones_and_rubbish_are_no_keys() {
        let odd = [
            (header(0, true), [16, 0x80, 0, 1]),
            (header(160, true), [255, 0x80, 0, 1]),
        ];
        assert_eq!(digits(&odd), "");
        assert_eq!(KeyPresses::default().arrive(at(0), &header(0, true), &[1, 0x80]), None);
    }

    #[test]
    fn a_flood_of_presses_is_bounded() {
        let mut keys = KeyPresses::default();
        let said = (1..1000)
            .filter_map(|n| keys.arrive(at(10), &header(n * 10, true), &[1, 0x80, 0, 1]))
            .count();
        assert_eq!(said, 20);
    }
}
