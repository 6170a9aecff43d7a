//! The jitter buffer: packets in as they come, packets out one per turn of the clock.
//!
//! It adapts without stretching time. When the next packet is not there and the jitter seen so far says that it may still
//! come, the turn is concealed and the packet is waited for: the buffer has grown by that much. When packets came too
//! late, it asks to grow ([`JitterBuffer::wants_more`]), and when it has held more than it needs for a while, to shrink
//! ([`JitterBuffer::excess`]); the owner waits or drops a packet, in silence if there is any.

use clock::Mono;
use std::time::Duration;

/// Packets held at most: 640 ms at 20 ms each. Beyond that a phone is broken, not late.
const SLOTS: usize = 32;

/// Delay never wanted beyond this: talk becomes turn-taking.
const MAX_TARGET: Duration = Duration::from_millis(200);

/// Jitter that asks for no packet more.
const NEGLIGIBLE: Duration = Duration::from_millis(4);

/// Payload type of numbers that are no sound: key presses take part in the sequence.
pub const NO_SOUND: u8 = 0xff;

/// Turns without a packet after which the stream counts as paused and is buffered anew.
const PAUSE: u32 = 10;

/// Packets whose time in the buffer is watched, twice in a row: with 20 ms one may be dropped when the time was not needed for
/// the last 0.6 to 1.2 seconds.
const WATCH: u32 = 30;

/// Packets of one stream between arrival and playing.
#[derive(Debug)]
pub struct JitterBuffer {
    slots: [Slot; SLOTS],
    /// Payloads of the slots, as many as were ever held at once, and one that is being played: a buffer of thirty-two slots
    /// rarely holds three packets.
    payloads: Vec<Vec<u8>>,
    spare: Vec<u8>,
    /// The payload given out last.
    playing: Option<u8>,
    /// Sequence number to play next, extended.
    next: Option<u64>,
    /// Of the last 64 numbers before that, those that were there in their turn: a bit for each, at its number modulo 64.
    played: u64,
    /// Highest extended sequence number that came.
    highest: u64,
    held: usize,
    waiting: bool,
    missed: u32,
    /// Turns so far, without those in which the device paused.
    turns: u64,
    /// How much time the last one was asked for.
    turn: Duration,
    /// When the highest number was spoken, if it is sound.
    spoken: Option<u32>,
    lateness: Lateness,
    margins: Margins,
    /// A packet came too late since the buffer last grew.
    missed_one: bool,
    /// Packets that came after their turn.
    pub late: u64,
    /// Packets dropped because the buffer was full.
    pub overflow: u64,
}

#[derive(Copy, Clone, Debug, Default)]
struct Slot {
    /// [`mark`] of its extended sequence number; 0: nothing is here.
    mark: u32,
    timestamp: u32,
    pt: u8,
    /// Place of its payload.
    payload: u8,
}

/// How early packets came of late: of the present stretch of them and of the one before. Only what came is asked, so that loss
/// does not look like a buffer that is needed.
#[derive(Debug, Default)]
struct Margins {
    before: Option<Margin>,
    now: Option<Margin>,
    watched: u32,
}

/// Numbers of packets less the turn before which they came, which is what they come to at whatever depth of the buffer.
#[derive(Copy, Clone, Debug)]
struct Margin {
    least: i32,
    most: i32,
}

/// A packet as it was put in.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Payload type.
    pub pt: u8,
    /// Payload.
    pub payload: &'a [u8],
}

/// What a turn gives.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Turn<'a> {
    /// The next packet.
    Packet(Packet<'a>),
    /// The next packet is lost: later ones are here.
    Lost,
    /// Nothing is here: conceal; what comes is played later.
    Empty,
    /// The stream pauses, or is being buffered: silence.
    Paused,
}

impl Default for JitterBuffer {
    fn default() -> JitterBuffer {
        JitterBuffer {
            slots: [Slot::default(); SLOTS],
            payloads: Vec::new(),
            spare: Vec::new(),
            playing: None,
            next: None,
            played: 0,
            highest: 0,
            held: 0,
            waiting: true,
            missed: 0,
            turns: 0,
            turn: Duration::from_millis(20),
            spoken: None,
            lateness: Lateness::default(),
            margins: Margins::default(),
            missed_one: false,
            late: 0,
            overflow: 0,
        }
    }
}

impl JitterBuffer {
    /// Puts a packet in. `clock` is the rate of its timestamps in Hz. Duplicates and what is too late are dropped.
    pub fn push(&mut self, now: Mono, packet: Packet<'_>, clock: u32) {
        let mut sequence = self.extend(packet.sequence);
        if self.is_known(sequence) {
            return;
        }
        self.lateness.arrive(now, packet.timestamp, clock);
        match self.next {
            Some(next) if sequence < next && next - sequence > 100 => sequence = self.restart(packet.sequence),
            Some(next) if sequence < next && !self.waiting => {
                self.late += 1;
                self.missed_one = true;
                self.margins.watch(sequence, self.turns);
                return;
            }
            Some(next) if sequence >= next + SLOTS as u64 => {
                self.overflow += self.held as u64;
                sequence = self.restart(packet.sequence);
            }
            Some(next) => self.next = Some(next.min(sequence)),
            None => sequence = self.begin(packet.sequence),
        }
        self.leave_out_pause(sequence, packet.timestamp, clock);
        self.margins.watch(sequence, self.turns);
        self.store(sequence, packet);
    }

    /// A device that has nothing to send goes on with the next number after more time than a packet has. Turns that passed so are none
    /// by which packets before came earlier than those behind.
    fn leave_out_pause(&mut self, sequence: u64, timestamp: u32, clock: u32) {
        let Some(spoken) = self.spoken.filter(|_| sequence == self.highest + 1) else {
            return;
        };
        let packet = (self.turn.as_micros() * u128::from(clock) / 1_000_000).max(1);
        let passed = u128::from(timestamp.wrapping_sub(spoken)) / packet;
        // Longer pauses are another beginning.
        if (2..=u128::from(PAUSE)).contains(&passed) {
            self.turns = self.turns.wrapping_sub(passed as u64 - 1);
        }
    }

    /// Forgets everything but the measured jitter: the stream has a new source.
    pub fn clear(&mut self) {
        (0..SLOTS).for_each(|at| self.empty(at));
        (self.next, self.held, self.waiting, self.missed) = (None, 0, true, 0);
        (self.played, self.spoken) = (0, None);
        (self.margins, self.missed_one) = (Margins::default(), false);
        self.lateness.begin_anew();
    }

    /// The next turn; `turn` is how much time packets of this stream hold.
    pub fn pop(&mut self, turn: Duration) -> Turn<'_> {
        (self.turns, self.turn) = (self.turns.wrapping_add(1), turn);
        let Some(mut next) = self.next else { return Turn::Paused };
        if self.waiting && !self.is_filled(turn) {
            return Turn::Paused;
        }
        self.waiting = false;
        while self.has(next) && self.slots[slot_of(next)].pt == NO_SOUND {
            self.empty(slot_of(next));
            self.pass(next, true);
            next += 1;
        }
        if self.has(next) {
            self.pass(next, true);
            self.missed = 0;
            self.spare.extend(self.playing.take());
            let slot = std::mem::take(&mut self.slots[slot_of(next)]);
            (self.held, self.playing) = (self.held - 1, Some(slot.payload));
            return Turn::Packet(slot.packet(next, &self.payloads));
        }
        self.missed += 1;
        if self.held > 0 && !self.may_still_come(next, turn) {
            // The turns in which it was waited for were those of as many lost ones. The last one has a turn in any case: the
            // packet behind it may help.
            while self.missed > 1 && !self.has(next + 1) {
                self.pass(next, false);
                (next, self.missed) = (next + 1, self.missed - 1);
            }
            self.pass(next, false);
            self.missed = 0;
            return Turn::Lost;
        }
        if self.held == 0 && self.missed >= PAUSE {
            self.clear();
            return Turn::Paused;
        }
        self.missed_one = false;
        Turn::Empty
    }

    /// The packet that is due is only late, if later ones than the jitter accounts for are not here yet, nor would be if none
    /// were lost. But it is not waited for longer than that jitter.
    fn may_still_come(&self, next: u64, turn: Duration) -> bool {
        let target = self.target_packets(turn);
        let margin = self.margins.now.or(self.margins.before);
        let ahead = margin.map_or(0, |margin| {
            margin.most.wrapping_sub(base(next, self.turns.wrapping_sub(1))) + 1
        });
        let span = (self.highest + 1)
            .saturating_sub(next)
            .max(u64::from(ahead.max(0).unsigned_abs()));
        span as usize <= target && (self.missed as usize) < target
    }

    /// The packet whose turn is next, if it is here.
    #[must_use]
    pub fn peek(&self) -> Option<Packet<'_>> {
        let next = self.next.filter(|&next| self.has(next))?;
        Some(self.slots[slot_of(next)].packet(next, &self.payloads))
    }

    /// Every packet that waits for its turn, in order.
    pub fn waiting(&self) -> impl Iterator<Item = Packet<'_>> {
        let numbers = self.next.into_iter().flat_map(|next| next..next + SLOTS as u64);
        numbers
            .filter(|&sequence| self.has(sequence))
            .map(|sequence| self.slots[slot_of(sequence)].packet(sequence, &self.payloads))
            .filter(|packet| packet.pt != NO_SOUND)
    }

    /// The turn of this number is over.
    fn pass(&mut self, number: u64, was_here: bool) {
        let bit = 1 << (number % 64);
        self.played = if was_here {
            self.played | bit
        } else {
            self.played & !bit
        };
        self.next = Some(number + 1);
    }

    /// It waits for its turn, or has been there in it.
    fn is_known(&self, sequence: u64) -> bool {
        let was_played =
            |next: u64| (1..=64).contains(&next.wrapping_sub(sequence)) && self.played >> (sequence % 64) & 1 == 1;
        self.has(sequence) || self.next.is_some_and(was_played)
    }

    fn has(&self, sequence: u64) -> bool {
        self.slots[slot_of(sequence)].mark == mark(sequence)
    }

    /// Packets came after their turn, and the jitter they show is more than the buffer holds: wait a turn, best in silence.
    #[must_use]
    pub fn wants_more(&self, turn: Duration) -> bool {
        self.missed_one && !self.waiting && self.held < self.target_packets(turn)
    }

    /// The owner waits a turn.
    pub fn grow(&mut self) {
        self.missed_one = false;
    }

    /// So many turns less would have been enough for every packet of the last second, and for the jitter seen before.
    #[must_use]
    pub fn excess(&self, turn: Duration) -> usize {
        let (Some(next), Some(margin)) = (self.next, self.margins.of_late()) else {
            return 0;
        };
        let base = base(next, self.turns);
        let wanted = self.target_packets(turn).saturating_sub(1).max(1);
        let (least, most) = (margin.least.wrapping_sub(base), margin.most.wrapping_sub(base));
        let (unneeded, unwanted) = (least, most + 1 - wanted as i32);
        unneeded.min(unwanted).max(0) as usize
    }

    /// Drops the next packet, if it is there.
    pub fn drop_next(&mut self) {
        if let Some(next) = self.next {
            let is_here = self.has(next);
            if is_here {
                self.empty(slot_of(next));
            }
            self.pass(next, is_here);
        }
    }

    /// Packets held now.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.held
    }

    /// The delay the measured jitter asks for.
    #[must_use]
    pub fn target(&self) -> Duration {
        self.lateness.peak().min(MAX_TARGET)
    }

    /// At least one packet, and enough to cover the jitter.
    fn target_packets(&self, turn: Duration) -> usize {
        let jitter = self.target().saturating_sub(NEGLIGIBLE);
        let turns = jitter.as_micros().div_ceil(turn.as_micros().max(1));
        (1 + turns as usize).min(SLOTS / 2)
    }

    fn is_filled(&self, turn: Duration) -> bool {
        let span = self
            .next
            .map_or(0, |next| (self.highest + 1).saturating_sub(next) as usize);
        span >= self.target_packets(turn)
    }

    /// The number nearest to the highest one seen.
    fn extend(&self, sequence: u16) -> u64 {
        let step = sequence.wrapping_sub(self.highest as u16).cast_signed();
        self.highest.saturating_add_signed(i64::from(step))
    }

    /// Numbers begin one turn above 0, which is an empty slot: however far before the first one a packet is, it has a number
    /// of its own. They do so whenever the source begins anew, else who does that often would count down to 0.
    fn begin(&mut self, sequence: u16) -> u64 {
        self.highest = 0x1_0000 + u64::from(sequence);
        self.next = Some(self.highest);
        self.highest
    }

    fn restart(&mut self, sequence: u16) -> u64 {
        self.clear();
        self.begin(sequence)
    }

    fn store(&mut self, sequence: u64, packet: Packet<'_>) {
        let at = slot_of(sequence);
        self.empty(at);
        let payload = self.spare.pop().unwrap_or_else(|| {
            self.payloads.push(Vec::new());
            // One for each slot and one that is being played: it fits.
            (self.payloads.len() - 1) as u8
        });
        self.slots[at] = Slot {
            mark: mark(sequence),
            timestamp: packet.timestamp,
            pt: packet.pt,
            payload,
        };
        let bytes = &mut self.payloads[usize::from(payload)];
        bytes.clear();
        // 20 ms of G.711 exactly, and room for what varies in codecs of a variable rate.
        bytes.reserve_exact(packet.payload.len().next_multiple_of(160));
        bytes.extend_from_slice(packet.payload);
        self.held += 1;
        if sequence >= self.highest {
            self.highest = sequence;
            self.spoken = (packet.pt != NO_SOUND).then_some(packet.timestamp);
        }
    }

    /// Nothing is in this slot any more.
    fn empty(&mut self, at: usize) {
        let slot = std::mem::take(&mut self.slots[at]);
        if slot.mark != 0 {
            self.spare.push(slot.payload);
            self.held -= 1;
        }
    }
}

/// What a packet comes to that is the next and comes before this turn; see [`Margin`].
fn base(next: u64, turns: u64) -> i32 {
    (next.wrapping_sub(turns) as u32).cast_signed()
}

/// A number in half the room, and never 0.
fn mark(sequence: u64) -> u32 {
    (sequence % u64::from(u32::MAX)) as u32 + 1
}

fn slot_of(sequence: u64) -> usize {
    (sequence % SLOTS as u64) as usize
}

impl Slot {
    fn packet<'a>(&self, sequence: u64, payloads: &'a [Vec<u8>]) -> Packet<'a> {
        Packet {
            sequence: sequence as u16,
            timestamp: self.timestamp,
            pt: self.pt,
            payload: &payloads[usize::from(self.payload)],
        }
    }
}

impl Margins {
    fn watch(&mut self, sequence: u64, turns: u64) {
        let at = base(sequence, turns);
        let alone = Margin { least: at, most: at };
        self.now = Some(self.now.map_or(alone, |now| now.with(alone)));
        self.watched += 1;
        if self.watched >= WATCH {
            (self.before, self.now, self.watched) = (self.now, None, 0);
        }
    }

    /// `None` until it has been watched for long enough.
    fn of_late(&self) -> Option<Margin> {
        let before = self.before?;
        Some(self.now.map_or(before, |now| now.with(before)))
    }
}

impl Margin {
    fn with(self, other: Margin) -> Margin {
        Margin {
            least: self.least.min(other.least),
            most: self.most.max(other.most),
        }
    }
}

/// How much later than the fastest packets come.
#[derive(Debug, Default)]
struct Lateness {
    last: Option<(u32, i64)>,
    /// Of the fastest packet, in microseconds; forgets 1 ms a second so that a drifting clock does not count.
    fastest: f64,
    peak: f64,
}

impl Lateness {
    fn arrive(&mut self, now: Mono, timestamp: u32, clock: u32) {
        let micros = |units: i64| units * 1_000_000 / i64::from(clock.max(1));
        let arrived = (now.0 / 1_000) as i64;
        let Some((last, played)) = self.last else {
            self.last = Some((timestamp, arrived));
            return;
        };
        let step = micros(i64::from(timestamp.wrapping_sub(last).cast_signed()));
        // Over two seconds either way is a pause or a new beginning.
        if step.abs() > 2_000_000 || (arrived - played - step).abs() > 2_000_000 {
            *self = Lateness {
                peak: self.peak,
                last: Some((timestamp, arrived)),
                fastest: 0.0,
            };
            return;
        }
        let due = played + step;
        self.last = Some((timestamp, due));
        let late = (arrived - due) as f64;
        self.fastest = (self.fastest + step.max(0) as f64 / 1_000.0).min(late);
        // Half of a peak is forgotten in some three seconds of 20 ms packets.
        self.peak = (self.peak * 0.9955).max(late - self.fastest);
    }

    /// The times before say nothing about those to come, but the jitter stays.
    fn begin_anew(&mut self) {
        (self.last, self.fastest) = (None, 0.0);
    }

    fn peak(&self) -> Duration {
        Duration::from_micros(self.peak.max(0.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(20);

    fn at(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    /// Plays packets that arrive at the given times (None: lost); returns what each turn gave: the packet's number,
    /// 'L'ost, 'E'mpty or 'P'aused.
    fn play(buffer: &mut JitterBuffer, arrivals: &[Option<u64>], turns: u64) -> Vec<Result<u16, char>> {
        let mut due: Vec<(u64, u16)> = arrivals
            .iter()
            .zip(0u16..)
            .filter_map(|(t, n)| Some(((*t)?, n)))
            .collect();
        due.sort();
        let mut due = due.into_iter().peekable();
        (0..turns)
            .map(|turn| {
                while let Some((ms, n)) = due.next_if(|&(ms, _)| ms <= turn * 20) {
                    let sequence = n.wrapping_add(65_500);
                    let packet = Packet {
                        sequence,
                        timestamp: u32::from(n) * 160,
                        pt: 0,
                        payload: &[n as u8],
                    };
                    buffer.push(at(ms), packet, 8000);
                }
                match buffer.pop(TURN) {
                    Turn::Packet(packet) => Ok(packet.sequence.wrapping_sub(65_500)),
                    Turn::Lost => Err('L'),
                    Turn::Empty => Err('E'),
                    Turn::Paused => Err('P'),
                }
            })
            .collect()
    }

    fn numbers(turns: &[Result<u16, char>]) -> Vec<u16> {
        turns.iter().filter_map(|turn| turn.ok()).collect()
    }

    #[test]
    fn a_steady_stream_plays_at_once_and_whole_over_the_wrap() {
        let arrivals: Vec<_> = (0..200).map(|n| Some(n * 20)).collect();
        let turns = play(&mut JitterBuffer::default(), &arrivals, 200);
        assert_eq!(numbers(&turns), (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn a_new_source_with_lower_numbers_is_buffered_as_long_as_any() {
        let mut buffer = JitterBuffer::default();
        buffer.lateness.peak = 60_000.0;
        let packet = |sequence| Packet {
            sequence,
            timestamp: 0,
            pt: 0,
            payload: &[],
        };
        buffer.push(at(0), packet(60_000), 8000);
        buffer.clear();
        buffer.push(at(0), packet(40_000), 8000);
        assert_eq!(
            buffer.pop(TURN),
            Turn::Paused,
            "60 ms of jitter are to be covered first"
        );
    }

    #[test]
    fn a_source_that_begins_anew_again_and_again_is_heard_each_time() {
        let mut buffer = JitterBuffer::default();
        for round in 0..12u16 {
            let first = 60_000u16.wrapping_sub(round.wrapping_mul(30_000));
            // A new source, or the same with other numbers.
            if round % 2 == 0 {
                buffer.clear();
            }
            for n in 0..3 {
                let tick = u64::from(round) * 3 + n;
                let packet = Packet {
                    sequence: first.wrapping_add(n as u16),
                    timestamp: tick as u32 * 160,
                    pt: 0,
                    payload: &[],
                };
                buffer.push(at(tick * 20), packet, 8000);
                let Turn::Packet(played) = buffer.pop(TURN) else {
                    panic!("packet {n} of round {round} is not played")
                };
                assert_eq!(played.sequence, packet.sequence);
            }
        }
    }

    #[test]
    fn a_lost_packet_costs_one_turn_and_no_order() {
        let arrivals: Vec<_> = (0..20).map(|n| (n != 7).then_some(n * 20)).collect();
        let turns = play(&mut JitterBuffer::default(), &arrivals, 20);
        let missing: Vec<_> = turns.iter().filter(|turn| turn.is_err()).collect();
        assert!(missing.len() <= 2, "{turns:?}");
        let mut expected: Vec<u16> = (0..20).filter(|&n| n != 7).collect();
        expected.truncate(numbers(&turns).len());
        assert_eq!(numbers(&turns), expected);
    }

    #[test]
    fn a_run_of_lost_packets_costs_as_many_turns_and_no_more_than_one_turn_of_delay() {
        let arrivals: Vec<_> = (0..40).map(|n| (!(7..12).contains(&n)).then_some(n * 20)).collect();
        let mut buffer = JitterBuffer::default();
        let turns = play(&mut buffer, &arrivals, 40);
        let missing = turns.iter().filter(|turn| turn.is_err()).count();
        assert!((5..=6).contains(&missing), "{turns:?}");
        assert!(buffer.depth() <= 1, "{}", buffer.depth());
    }

    #[test]
    fn packets_that_all_wait_for_longer_than_they_must_are_too_many_however_many_are_lost() {
        let mut buffer = JitterBuffer::default();
        let mut deepest = 0;
        for turn in 0..200u64 {
            // Five packets are put in ahead; later on every other one is lost.
            let ahead = if turn == 0 { 0..=5 } else { turn + 5..=turn + 5 };
            for n in ahead.filter(|n| n % 2 == 0) {
                let packet = Packet {
                    sequence: n as u16,
                    timestamp: n as u32 * 160,
                    pt: 0,
                    payload: &[],
                };
                buffer.push(at(turn * 20), packet, 8000);
            }
            deepest = deepest.max(buffer.excess(TURN));
            buffer.pop(TURN);
        }
        assert_eq!(deepest, 5);
    }

    #[test]
    fn jitter_of_60_ms_is_absorbed_after_it_was_seen() {
        let mut random = 1u64;
        let arrivals: Vec<_> = (0..2000u64)
            .map(|n| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                Some(n * 20 + (random >> 33) % 60)
            })
            .collect();
        let mut buffer = JitterBuffer::default();
        let turns = play(&mut buffer, &arrivals, 2000);
        let gaps = turns[200..].iter().filter(|turn| turn.is_err()).count();
        assert!(gaps < 20, "{gaps} gaps");
        assert!(buffer.depth() <= 6, "{}", buffer.depth());
        assert!(numbers(&turns).windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn after_a_burst_the_delay_comes_back() {
        // 300 ms of nothing, then everything at once.
        let arrivals: Vec<_> = (0..1500u64)
            .map(|n| Some(if (100..115).contains(&n) { 2300 } else { n * 20 }))
            .collect();
        let mut buffer = JitterBuffer::default();
        let mut depth_after = Vec::new();
        let mut due = arrivals.iter().flatten().zip(0u16..).peekable();
        for turn in 0..1500u64 {
            while let Some((&ms, n)) = due.next_if(|(ms, _)| **ms <= turn * 20) {
                buffer.push(
                    at(ms),
                    Packet {
                        sequence: n,
                        timestamp: u32::from(n) * 160,
                        pt: 0,
                        payload: &[],
                    },
                    8000,
                );
            }
            if buffer.excess(TURN) > 0 {
                buffer.drop_next();
            }
            buffer.pop(TURN);
            depth_after.push(buffer.depth());
        }
        assert!(depth_after[120] >= 8, "{}", depth_after[120]);
        assert!(depth_after[1499] <= 3, "{}", depth_after[1499]);
    }

    #[test]
    fn a_phone_100_ppm_fast_gathers_no_delay_in_an_hour() {
        let mut buffer = JitterBuffer::default();
        let mut sent = 0u64;
        let (mut most, mut dropped) = (0, 0);
        for turn in 0..180_000u64 {
            // 20 ms of its clock are 19.998 ms of ours.
            while sent * 19_998 <= turn * 20_000 {
                let packet = Packet {
                    sequence: sent as u16,
                    timestamp: (sent * 160) as u32,
                    pt: 0,
                    payload: &[],
                };
                buffer.push(Mono(sent * 19_998_000), packet, 8000);
                sent += 1;
            }
            if buffer.excess(TURN) > 0 {
                buffer.drop_next();
                dropped += 1;
            }
            buffer.pop(TURN);
            most = most.max(buffer.depth());
        }
        assert!(most <= 4, "{most}");
        assert!((10..=25).contains(&dropped), "{dropped}");
    }

    #[test]
    fn a_pause_is_buffered_anew_and_duplicates_play_once() {
        let arrivals: Vec<_> = (0..5)
            .map(|n| Some(n * 20))
            .chain((5..10).map(|n| Some(n * 20 + 2000)))
            .collect();
        let mut buffer = JitterBuffer::default();
        let turns = play(&mut buffer, &arrivals, 200);
        assert_eq!(numbers(&turns), (0..10).collect::<Vec<_>>());
        assert_eq!(turns[50], Err('P'));
        let packet = Packet {
            sequence: 1,
            timestamp: 0,
            pt: 0,
            payload: &[],
        };
        buffer.clear();
        buffer.push(at(0), packet, 8000);
        buffer.push(at(0), packet, 8000);
        assert_eq!(buffer.depth(), 1);
    }

    #[test]
    fn duplicates_say_nothing_of_how_early_packets_come() {
        let packet = |n: u64| Packet {
            sequence: n as u16,
            timestamp: n as u32 * 160,
            pt: 0,
            payload: &[],
        };
        let [mut once, mut twice] = [JitterBuffer::default(), JitterBuffer::default()];
        for turn in 0..200u64 {
            let ahead = if turn == 0 { 0..=5 } else { turn + 5..=turn + 5 };
            for n in ahead {
                once.push(at(turn * 20), packet(n), 8000);
                twice.push(at(turn * 20), packet(n), 8000);
            }
            // One that waits, and one whose turn is over.
            for n in [turn + 1, turn.saturating_sub(3)] {
                twice.push(at(turn * 20), packet(n), 8000);
            }
            assert_eq!(twice.excess(TURN), once.excess(TURN), "turn {turn}");
            assert_eq!(twice.pop(TURN), once.pop(TURN));
        }
        assert_eq!((once.excess(TURN), twice.late), (5, 0));
    }

    #[test]
    fn what_came_before_a_pause_of_the_device_is_not_taken_to_have_come_earlier() {
        let mut buffer = JitterBuffer::default();
        let packet = |sequence: u16, tick: u32| Packet {
            sequence,
            timestamp: tick * 160,
            pt: 0,
            payload: &[],
        };
        for tick in 0..57u32 {
            buffer.lateness.peak = 60_000.0;
            // It rests for six packets, and its numbers do not.
            match tick {
                ..50 => buffer.push(at(u64::from(tick) * 20), packet(tick as u16, tick), 8000),
                56 => buffer.push(at(56 * 20), packet(50, 56), 8000),
                _ => {}
            }
            buffer.pop(TURN);
        }
        assert_eq!(buffer.next, Some(0x1_0000 + 51));
        buffer.push(at(57 * 20), packet(52, 58), 8000);
        assert_eq!(
            buffer.pop(TURN),
            Turn::Empty,
            "the one before it may be late by so much"
        );
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut buffer = JitterBuffer::default();
        for n in 0..10_000u16 {
            buffer.push(
                at(0),
                Packet {
                    sequence: n,
                    timestamp: 0,
                    pt: 0,
                    payload: &[0; 160],
                },
                8000,
            );
            assert!(buffer.depth() <= SLOTS);
        }
    }
}
