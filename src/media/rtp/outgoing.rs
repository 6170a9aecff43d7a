//! One outgoing stream: one SSRC, gapless sequence numbers and a timestamp that keeps time, whatever feeds it.
//!
//! A leg hears one stream for its whole life. Behind it the source may change its SSRC, another device may take over,
//! relay may turn into a mix and back: each time the new source is spliced on with fresh offsets.

use super::RtpHeader;
use clock::Mono;

/// A source whose timestamps run off from the clock by more seconds than this has begun anew.
const MAX_DRIFT_SECS: i64 = 10;

/// A gap in packets we make that is a pause; a worker that lags makes up for less.
const PAUSE_SECS: u32 = 1;

/// Two packets of 20 ms so far apart have a pause between them.
const APART_MS: u32 = 80;

/// The stream to one leg.
#[derive(Debug)]
pub struct OutgoingStream {
    /// Ours for the life of the leg.
    pub ssrc: u32,
    /// Packets sent.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
    next_sequence: u16,
    timestamp: u32,
    /// Units of sound in the last packet, as far as two in a row have told.
    length: u32,
    sent_at: Option<Mono>,
    clock: u32,
    splice: Option<Splice>,
    /// SSRC and timestamp of the key press passed on last, and our timestamp of its begin.
    press: Option<(u32, u32, u32)>,
    /// Our timestamp of the begin of the press that we make.
    own_press: u32,
}

/// How the numbers of the source map to ours.
#[derive(Debug)]
struct Splice {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    highest: u16,
    /// Numbers from the first packet to the highest; those before the first were never ours to use.
    span: u16,
    source_timestamp: u32,
    /// A packet of ours took the number after the highest: what comes late has no number any more.
    parted: bool,
}

impl OutgoingStream {
    /// A stream with random SSRC, first sequence number and timestamp (RFC 3550 section 5.1).
    pub fn new(random: &mut dyn FnMut() -> u64) -> OutgoingStream {
        let (ids, start) = (random(), random());
        OutgoingStream {
            ssrc: (ids >> 32) as u32,
            packets: 0,
            bytes: 0,
            next_sequence: ids as u16,
            timestamp: start as u32,
            length: 160,
            sent_at: None,
            clock: 8_000,
            splice: None,
            press: None,
            own_press: 0,
        }
    }

    /// The header for a relayed packet of payload type `pt`; `None` if it belongs before what we already sent.
    pub fn relay(&mut self, now: Mono, source: &RtpHeader, pt: u8, clock: u32) -> Option<RtpHeader> {
        let spliced = self.splice.as_ref().is_some_and(|splice| splice.continues(source)) && clock == self.clock;
        if !spliced || self.drifted(now, source) {
            self.splice_on(now, source, clock);
        }
        let marker = source.marker || !spliced;
        let splice = self.splice.as_mut()?;
        let step = source.sequence.wrapping_sub(splice.highest).cast_signed();
        let too_late = step < 0 && step.unsigned_abs() > splice.span || splice.parted && step <= 0;
        if too_late {
            return None;
        }
        let sequence = source.sequence.wrapping_add(splice.sequence);
        let timestamp = source.timestamp.wrapping_add(splice.timestamp);
        if step >= 0 {
            // It stops at its end, far above the 100 numbers a packet may be late by.
            splice.span = match std::mem::take(&mut splice.parted) {
                true => step.unsigned_abs() - 1,
                false => splice.span.saturating_add(step.unsigned_abs()),
            };
            let units = source.timestamp.wrapping_sub(splice.source_timestamp);
            if step == 1 && (1..=clock / 10).contains(&units) {
                self.length = units;
            }
            (splice.highest, splice.source_timestamp) = (source.sequence, source.timestamp);
            self.next_sequence = sequence.wrapping_add(1);
            (self.timestamp, self.sent_at) = (timestamp, Some(now));
        }
        self.count(source.payload.len());
        Some(RtpHeader {
            marker,
            pt,
            sequence,
            timestamp,
            ssrc: self.ssrc,
            payload: source.payload.clone(),
        })
    }

    /// The header for a packet we made, `step` clock units after the packet made before it.
    pub fn make(&mut self, now: Mono, pt: u8, clock: u32, step: u32, length: usize) -> RtpHeader {
        let first = self.sent_at.is_none();
        let spliced = self.splice.take().is_some() || clock != self.clock || self.has_paused(now, step);
        let timestamp = match (first, spliced) {
            (true, _) => self.timestamp,
            (_, true) if !self.is_apart(now) => self.timestamp.wrapping_add(self.last_length(clock)),
            (_, true) => self.timestamp_at(now, clock).max_after(self.timestamp, step),
            _ => self.timestamp.wrapping_add(step),
        };
        (self.clock, self.timestamp, self.sent_at) = (clock, timestamp, Some(now));
        self.length = step.min(clock / 10);
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        self.count(length);
        RtpHeader {
            marker: first || spliced,
            pt,
            sequence,
            timestamp,
            ssrc: self.ssrc,
            payload: 12..12 + length,
        }
    }

    /// How long the packet before was, in units of a clock: what follows it right away begins there.
    fn last_length(&self, clock: u32) -> u32 {
        let length = u64::from(self.length) * u64::from(clock) / u64::from(self.clock.max(1));
        u32::try_from(length).unwrap_or(clock / 50).max(1)
    }

    /// What comes now does not follow right after what was sent last: to change from relay to a mix and back takes a buffer's
    /// time, but no sound is missing between, and none shall seem to be.
    fn is_apart(&self, now: Mono) -> bool {
        self.timestamp_now(now).wrapping_sub(self.timestamp) > APART_MS * (self.clock / 1_000)
    }

    /// Nothing was made for a while, and it was not the worker that was late: the time shows in the timestamp, for the
    /// sender reports tell the listener that it passes.
    fn has_paused(&self, now: Mono, step: u32) -> bool {
        let behind = self.timestamp_now(now).wrapping_sub(self.timestamp);
        behind.saturating_sub(step) > PAUSE_SECS * self.clock
    }

    /// The header for a packet of a key press passed on beside sound we make: all packets of one press have the
    /// timestamp of its begin (RFC 4733 section 2.2.1).
    pub fn key_press(&mut self, now: Mono, source: &RtpHeader, pt: u8) -> RtpHeader {
        let begun = match self.press {
            Some((ssrc, timestamp, ours)) if (ssrc, timestamp) == (source.ssrc, source.timestamp) => ours,
            _ => self.timestamp_now(now),
        };
        self.press = Some((source.ssrc, source.timestamp, begun));
        let header = self.beside(pt, source.marker, begun, source.payload.len());
        let payload = source.payload.clone();
        RtpHeader { payload, ..header }
    }

    /// The header for a packet of a key press that we make beside the sound; its four bytes follow.
    pub fn own_press(&mut self, now: Mono, pt: u8, begins: bool) -> RtpHeader {
        if begins {
            // Before any sound the time runs from the first press, so that the next one has another timestamp.
            self.sent_at.get_or_insert(now);
            self.own_press = self.timestamp_now(now);
        }
        self.beside(pt, begins, self.own_press, 4)
    }

    /// A packet between those of the sound: it takes the next number, and what is relayed makes room for it.
    fn beside(&mut self, pt: u8, marker: bool, timestamp: u32, length: usize) -> RtpHeader {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        if let Some(splice) = &mut self.splice {
            splice.sequence = splice.sequence.wrapping_add(1);
            splice.parted = true;
        }
        self.count(length);
        RtpHeader {
            marker,
            pt,
            sequence,
            timestamp,
            ssrc: self.ssrc,
            payload: 12..12 + length,
        }
    }

    /// The SSRC of what is passed on, and by how much its sequence numbers are behind ours.
    #[must_use]
    pub fn source(&self) -> Option<(u32, u16)> {
        self.splice.as_ref().map(|splice| (splice.ssrc, splice.sequence))
    }

    /// Clock of what was sent last.
    #[must_use]
    pub fn clock(&self) -> u32 {
        self.clock
    }

    /// The timestamp of this moment, for sender reports.
    #[must_use]
    pub fn timestamp_now(&self, now: Mono) -> u32 {
        self.timestamp_at(now, self.clock)
    }

    fn count(&mut self, length: usize) {
        self.packets += 1;
        self.bytes += length as u64;
    }

    fn timestamp_at(&self, now: Mono, clock: u32) -> u32 {
        self.sent_at.map_or(self.timestamp, |sent| {
            self.timestamp.wrapping_add(units(now, sent, clock))
        })
    }

    fn splice_on(&mut self, now: Mono, source: &RtpHeader, clock: u32) {
        // At least 20 ms after the last packet: the same timestamp twice would merge two frames.
        let timestamp = match self.sent_at {
            Some(_) if !self.is_apart(now) => self.timestamp.wrapping_add(self.last_length(clock)),
            Some(_) => self.timestamp_at(now, clock).max_after(self.timestamp, clock / 50),
            None => self.timestamp,
        };
        self.clock = clock;
        self.splice = Some(Splice {
            ssrc: source.ssrc,
            sequence: self.next_sequence.wrapping_sub(source.sequence),
            timestamp: timestamp.wrapping_sub(source.timestamp),
            highest: source.sequence,
            span: 0,
            source_timestamp: source.timestamp,
            parted: false,
        });
    }

    fn drifted(&self, now: Mono, source: &RtpHeader) -> bool {
        let (Some(splice), Some(sent)) = (&self.splice, self.sent_at) else {
            return false;
        };
        let step = i64::from(source.timestamp.wrapping_sub(splice.source_timestamp).cast_signed());
        let elapsed = i64::from(units(now, sent, self.clock).cast_signed());
        (step - elapsed).abs() > MAX_DRIFT_SECS * i64::from(self.clock)
    }
}

impl Splice {
    /// RFC 3550 appendix A.1 calls a jump of 3000 forward or 100 back a restart of the source.
    fn continues(&self, source: &RtpHeader) -> bool {
        let step = source.sequence.wrapping_sub(self.highest).cast_signed();
        source.ssrc == self.ssrc && (-100..=3000).contains(&step)
    }
}

fn units(now: Mono, since: Mono, clock: u32) -> u32 {
    super::units_in(now.0.saturating_sub(since.0), clock) as u32
}

trait MaxAfter {
    fn max_after(self, last: u32, step: u32) -> u32;
}

impl MaxAfter for u32 {
    /// This timestamp, or `last + step` if that is later.
    fn max_after(self, last: u32, step: u32) -> u32 {
        last.wrapping_add(self.wrapping_sub(last).max(step))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> OutgoingStream {
        let mut n = 0xffff_fff0_0000_fffe;
        OutgoingStream::new(&mut || {
            n += 1;
            n
        })
    }

    fn source(ssrc: u32, sequence: u16, timestamp: u32) -> RtpHeader {
        RtpHeader {
            marker: false,
            pt: 0,
            sequence,
            timestamp,
            ssrc,
            payload: 12..172,
        }
    }

    fn at(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    #[test]
    fn keeps_numbers_over_a_change_of_source() {
        let mut out = stream();
        let a = out.relay(at(0), &source(1, 100, 5000), 0, 8000).unwrap();
        let b = out.relay(at(20), &source(1, 101, 5160), 0, 8000).unwrap();
        let c = out.relay(at(40), &source(2, 9, 77), 0, 8000).unwrap();
        assert_eq!(b.sequence, a.sequence.wrapping_add(1));
        assert_eq!(c.sequence, b.sequence.wrapping_add(1));
        assert_eq!(b.timestamp.wrapping_sub(a.timestamp), 160);
        assert_eq!(c.timestamp.wrapping_sub(b.timestamp), 160);
        assert_eq!([a.marker, b.marker, c.marker], [true, false, true]);
        assert_eq!([a.ssrc, b.ssrc, c.ssrc], [out.ssrc; 3]);
    }

    #[test]
    fn passes_loss_and_reordering_on_as_they_are() {
        let mut out = stream();
        let a = out.relay(at(0), &source(1, 100, 0), 0, 8000).unwrap();
        let d = out.relay(at(60), &source(1, 103, 480), 0, 8000).unwrap();
        let c = out.relay(at(61), &source(1, 102, 320), 0, 8000).unwrap();
        assert_eq!(d.sequence.wrapping_sub(a.sequence), 3);
        assert_eq!(c.sequence.wrapping_sub(a.sequence), 2);
        assert_eq!(out.relay(at(62), &source(1, 99, 0), 0, 8000), None);
        assert_eq!(
            out.relay(at(80), &source(1, 104, 640), 0, 8000)
                .unwrap()
                .sequence
                .wrapping_sub(a.sequence),
            4
        );
    }

    #[test]
    fn a_pause_shows_as_time_and_not_as_loss() {
        let mut out = stream();
        let a = out.relay(at(0), &source(1, 100, 0), 0, 8000).unwrap();
        let b = out.relay(at(5000), &source(2, 7000, 0), 0, 8000).unwrap();
        assert_eq!(b.sequence, a.sequence.wrapping_add(1));
        assert_eq!(b.timestamp.wrapping_sub(a.timestamp), 40_000);
    }

    #[test]
    fn a_source_that_resets_its_clock_is_spliced_anew() {
        let mut out = stream();
        let a = out.relay(at(0), &source(1, 100, 3_000_000_000), 0, 8000).unwrap();
        let b = out.relay(at(20), &source(1, 101, 0), 0, 8000).unwrap();
        assert_eq!(b.timestamp.wrapping_sub(a.timestamp), 160);
    }

    #[test]
    fn a_call_of_an_hour_is_heard_to_its_end() {
        let mut out = stream();
        let mut last = out.relay(at(0), &source(1, 65_000, 0), 0, 8000).unwrap();
        for n in 1..180_000u32 {
            let packet = source(1, 65_000u16.wrapping_add(n as u16), n * 160);
            let sent = out.relay(at(u64::from(n) * 20), &packet, 0, 8000).expect("relayed");
            assert_eq!(sent.sequence, last.sequence.wrapping_add(1), "packet {n}");
            last = sent;
        }
    }

    #[test]
    fn a_pause_of_made_packets_shows_as_time() {
        let mut out = stream();
        let a = out.make(at(0), 0, 8000, 160, 160);
        let b = out.make(at(30_000), 0, 8000, 160, 160);
        assert_eq!(b.sequence, a.sequence.wrapping_add(1));
        assert_eq!((b.marker, b.timestamp.wrapping_sub(a.timestamp)), (true, 240_000));
        let late = out.make(at(30_090), 0, 8000, 160, 160);
        assert_eq!((late.marker, late.timestamp.wrapping_sub(b.timestamp)), (false, 160));
    }

    #[test]
    fn turns_from_relay_to_made_packets_and_back() {
        let mut out = stream();
        let a = out.relay(at(0), &source(1, 100, 0), 0, 8000).unwrap();
        let b = out.make(at(20), 0, 8000, 160, 160);
        let c = out.make(at(40), 0, 8000, 160, 160);
        let d = out.relay(at(60), &source(1, 103, 480), 0, 8000).unwrap();
        let steps: Vec<u16> = [&a, &b, &c, &d]
            .windows(2)
            .map(|w| w[1].sequence.wrapping_sub(w[0].sequence))
            .collect();
        assert_eq!(steps, [1, 1, 1]);
        let steps: Vec<u32> = [&a, &b, &c, &d]
            .windows(2)
            .map(|w| w[1].timestamp.wrapping_sub(w[0].timestamp))
            .collect();
        assert_eq!(steps, [160, 160, 160]);
    }
}
