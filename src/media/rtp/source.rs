//! What a receiver knows about one incoming stream (RFC 3550 appendix A.1, A.3, A.8).

use super::RtpHeader;
use super::rtcp::ReportBlock;
use clock::Mono;
use std::time::Duration;

/// A jump forward of more packets than this is a new beginning and not loss (RFC 3550 appendix A.1).
const MAX_DROPOUT: i16 = 3000;

/// Counters over every source a leg has had; loss and jitter of the present one.
#[derive(Debug, Default)]
pub struct IncomingStream {
    current: Option<Source>,
    /// The SSRC before: its stragglers must not look like yet another change.
    previous: Option<u32>,
    lost_before: u64,
    /// Packets accepted.
    pub received: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    jitter: f32,
    last_transit: Option<i64>,
    clock: u32,
}

#[derive(Debug)]
struct Source {
    ssrc: u32,
    base: u64,
    highest: u64,
    received: u64,
    /// Which of the 64 numbers up to `highest` have come.
    seen: u64,
    expected_prior: u64,
    received_prior: u64,
    /// The number after one that jumped: if it comes, the source has begun anew.
    restart: Option<u16>,
}

/// What a packet is to its stream.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The first of its stream, or after a jump nobody can call loss.
    New,
    /// Later than all before it.
    Next,
    /// Out of order, but not too late.
    Late,
    /// Came already.
    Duplicate,
    /// Of a stream that has ended, or too old to know.
    Stale,
}

impl IncomingStream {
    /// Accounts for a packet.
    pub fn arrive(&mut self, now: Mono, header: &RtpHeader, clock: u32) -> Arrival {
        let arrival = self.place(header);
        match arrival {
            Arrival::Stale => return arrival,
            Arrival::Duplicate => {
                self.duplicates += 1;
                return arrival;
            }
            Arrival::New => self.last_transit = None,
            Arrival::Next | Arrival::Late => {}
        }
        self.received += 1;
        self.bytes += header.payload.len() as u64;
        self.measure(now, header.timestamp, clock);
        arrival
    }

    fn place(&mut self, header: &RtpHeader) -> Arrival {
        match &mut self.current {
            Some(source) if source.ssrc == header.ssrc => {
                let arrival = source.place(header.sequence);
                if arrival == Arrival::New {
                    self.begin(header);
                }
                arrival
            }
            _ if self.previous == Some(header.ssrc) => Arrival::Stale,
            _ => {
                self.previous = self.current.as_ref().map(|source| source.ssrc);
                self.begin(header);
                Arrival::New
            }
        }
    }

    fn begin(&mut self, header: &RtpHeader) {
        self.lost_before = self.lost();
        let at = 0x1_0000 + u64::from(header.sequence);
        self.current = Some(Source {
            ssrc: header.ssrc,
            base: at,
            highest: at,
            received: 1,
            seen: 1,
            expected_prior: 0,
            received_prior: 0,
            restart: None,
        });
    }

    /// RFC 3550 appendix A.8, in clock units. A change of clock begins anew.
    fn measure(&mut self, now: Mono, timestamp: u32, clock: u32) {
        if clock != self.clock {
            (self.clock, self.last_transit, self.jitter) = (clock, None, 0.0);
        }
        let arrival = super::units_in(now.0, clock).cast_signed();
        let transit = arrival - i64::from(timestamp);
        if let Some(last) = self.last_transit {
            // The low 32 bits survive a wrap of the timestamp.
            let d = ((transit - last) as i32).unsigned_abs();
            // A jump of more than two seconds is a pause or a new beginning, not jitter.
            if d < clock.saturating_mul(2) {
                self.jitter += (d as f32 - self.jitter) / 16.0;
            }
        }
        self.last_transit = Some(transit);
    }

    /// The present SSRC.
    #[must_use]
    pub fn ssrc(&self) -> Option<u32> {
        self.current.as_ref().map(|source| source.ssrc)
    }

    /// Forgets who was before, so that any SSRC may come: after a re-negotiation.
    pub fn forget_previous(&mut self) {
        self.previous = None;
    }

    /// Packets that never came.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost_before
            + self
                .current
                .as_ref()
                .map_or(0, |source| source.expected().saturating_sub(source.received))
    }

    /// Interarrival jitter.
    #[must_use]
    pub fn jitter(&self) -> Duration {
        match self.clock {
            0 => Duration::ZERO,
            clock => Duration::from_secs_f32(self.jitter / clock as f32),
        }
    }

    /// The report about this stream, and the begin of the next interval.
    pub fn report(&mut self, last_sr: u32, delay: u32) -> Option<ReportBlock> {
        let jitter = self.jitter as u32;
        let source = self.current.as_mut()?;
        let (expected, received) = (source.expected(), source.received);
        let expected_interval = expected - source.expected_prior;
        let lost_interval = expected_interval.saturating_sub(received - source.received_prior);
        (source.expected_prior, source.received_prior) = (expected, received);
        let fraction = (lost_interval << 8).checked_div(expected_interval).unwrap_or(0);
        Some(ReportBlock {
            ssrc: source.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            lost: u32::try_from(expected.saturating_sub(received))
                .unwrap_or(u32::MAX)
                .min(0x7f_ffff),
            // Extended by the number of wraps, which begins at 0.
            highest: (source.highest - 0x1_0000) as u32,
            jitter,
            last_sr,
            delay,
        })
    }
}

impl Source {
    /// RFC 3550 appendix A.1: after a jump only two packets in sequence are a new beginning; one alone is a straggler.
    fn place(&mut self, sequence: u16) -> Arrival {
        let expected = self.restart.take();
        let step = sequence.wrapping_sub(self.highest as u16).cast_signed();
        match step {
            1..=MAX_DROPOUT => {
                self.seen = self.seen.checked_shl(u32::from(step.unsigned_abs())).unwrap_or(0) | 1;
                self.highest += u64::from(step.unsigned_abs());
                self.received += 1;
                Arrival::Next
            }
            -63..=0 => self.fill(step.unsigned_abs()),
            // Older than 63 packets (over a second of speech), but not so old that it is a new beginning.
            -100..-63 => Arrival::Stale,
            _ if expected == Some(sequence) => Arrival::New,
            _ => {
                self.restart = Some(sequence.wrapping_add(1));
                Arrival::Stale
            }
        }
    }

    fn fill(&mut self, back: u16) -> Arrival {
        let bit = 1 << back;
        if self.seen & bit != 0 {
            return Arrival::Duplicate;
        }
        self.seen |= bit;
        self.received += 1;
        self.base = self.base.min(self.highest - u64::from(back));
        Arrival::Late
    }

    fn expected(&self) -> u64 {
        self.highest - self.base + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ssrc: u32, sequence: u16) -> RtpHeader {
        RtpHeader {
            marker: false,
            pt: 0,
            sequence,
            timestamp: u32::from(sequence) * 160,
            ssrc,
            payload: 12..172,
        }
    }

    fn at(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    fn feed(stream: &mut IncomingStream, sequences: &[u16]) -> Vec<Arrival> {
        sequences
            .iter()
            .map(|&s| stream.arrive(at(0), &packet(1, s), 8000))
            .collect()
    }

    #[test]
    fn counts_loss_over_a_wrap_and_takes_it_back_when_late_packets_come() {
        let mut stream = IncomingStream::default();
        feed(&mut stream, &[65533, 65534, 1, 2]);
        assert_eq!(stream.lost(), 2);
        assert_eq!(feed(&mut stream, &[65535, 65535]), [Arrival::Late, Arrival::Duplicate]);
        assert_eq!((stream.lost(), stream.duplicates, stream.received), (1, 1, 5));
    }

    #[test]
    fn a_packet_before_the_first_widens_the_stream() {
        let mut stream = IncomingStream::default();
        assert_eq!(
            feed(&mut stream, &[10, 9, 8]),
            [Arrival::New, Arrival::Late, Arrival::Late]
        );
        assert_eq!(stream.lost(), 0);
    }

    #[test]
    fn a_great_jump_is_a_new_beginning_and_not_loss() {
        let mut stream = IncomingStream::default();
        let arrivals = feed(&mut stream, &[1, 2, 40000, 40001, 40002]);
        assert_eq!(arrivals[2..], [Arrival::Stale, Arrival::New, Arrival::Next]);
        assert_eq!(stream.lost(), 0);
    }

    #[test]
    fn one_straggler_from_seconds_ago_is_no_new_beginning() {
        let mut stream = IncomingStream::default();
        let arrivals = feed(&mut stream, &[500, 501, 300, 502, 303, 503]);
        assert_eq!(
            arrivals[2..],
            [Arrival::Stale, Arrival::Next, Arrival::Stale, Arrival::Next]
        );
        assert_eq!(stream.lost(), 0);
    }

    #[test]
    fn stragglers_of_the_former_ssrc_change_nothing() {
        let mut stream = IncomingStream::default();
        feed(&mut stream, &[1, 2]);
        assert_eq!(stream.arrive(at(0), &packet(2, 700), 8000), Arrival::New);
        assert_eq!(feed(&mut stream, &[3]), [Arrival::Stale]);
        assert_eq!(stream.ssrc(), Some(2));
    }

    #[test]
    fn reports_the_fraction_lost_since_the_last_report() {
        let mut stream = IncomingStream::default();
        feed(&mut stream, &[1, 2, 4, 5]);
        let first = stream.report(0, 0).unwrap();
        assert_eq!((first.fraction_lost, first.lost, first.highest), (51, 1, 5));
        feed(&mut stream, &[6, 7]);
        assert_eq!(stream.report(0, 0).unwrap().fraction_lost, 0);
    }

    #[test]
    fn jitter_follows_the_spread_of_arrivals() {
        let mut stream = IncomingStream::default();
        for n in 0..400u16 {
            let late = u64::from(n % 2) * 10;
            stream.arrive(at(u64::from(n) * 20 + late), &packet(1, n), 8000);
        }
        let ms = stream.jitter().as_millis();
        assert!((8..=10).contains(&ms), "{ms}");
    }
}
