//! Messages that wait for the switch, sorted by what would be lost with them: five bounded lanes.

use bytes::Bytes;
use clock::Mono;
use net::counters;
use sip::Flow;
use std::collections::VecDeque;
use switch::Admit;

counters! {
    /// What was sorted and what was dropped.
    LaneCounters, "queue_" {
        /// Messages that wait now.
        waiting gauge,
        /// Dropped responses and requests inside of dialogs, from registered phones and trunks. Not zero means that the node is
        /// far too small.
        dropped_ongoing,
        /// Dropped refreshes of registrations from flows that have one.
        dropped_refreshes,
        /// Dropped requests that would have begun something, from registered phones.
        dropped_known,
        /// Dropped responses and requests inside of dialogs, from elsewhere.
        dropped_stray,
        /// Dropped requests that would have begun something, from others.
        dropped_new,
        /// Datagrams that are no SIP, dropped unread.
        garbage,
        /// Messages handled.
        handled,
        /// Microseconds that handled messages have waited in all.
        delay_us,
        /// The longest wait in the latest whole second, in microseconds.
        delay_max_us gauge,
    }
}

/// A lane holds at most so many messages: at 100,000 a second the last one waits less than a quarter of T1, so that
/// answering it still makes sense.
const MAX_MESSAGES: usize = 8_192;

/// And at most so many bytes, if messages are large.
const MAX_BYTES: usize = 32 << 20;

/// After so many messages out of their turn the least important one has its turn: it waits long then, and is refused, which
/// costs little and is better for who sent it than silence.
const TURNS: u32 = 16;

/// A message that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Where it came from.
    pub(crate) flow: Flow,
    /// The message; none: the stream has ended. It waits behind the messages that came on it.
    pub(crate) bytes: Option<Bytes>,
    /// When it came.
    pub(crate) since: Mono,
}

/// The five lanes, most important first: what belongs to something that is there, refreshes of registrations, what
/// registered phones begin, what others say to belong to something, the rest.
#[derive(Default)]
pub(crate) struct Lanes {
    lanes: [Lane; 5],
    /// Messages since the last lane had its turn.
    turn: u32,
}

#[derive(Default)]
struct Lane {
    line: VecDeque<Waiting>,
    bytes: usize,
}

const LAST: usize = 4;

impl Lanes {
    /// Puts a message in its line, or drops it if that is full. What is to be refused or dropped is in no line.
    pub(crate) fn push(&mut self, since: Mono, admit: Admit, flow: Flow, bytes: Bytes, counters: &LaneCounters) {
        let (lane, dropped) = match admit {
            Admit::Ongoing => (0, &counters.dropped_ongoing),
            Admit::Refresh => (1, &counters.dropped_refreshes),
            Admit::Known => (2, &counters.dropped_known),
            Admit::Stray => (3, &counters.dropped_stray),
            Admit::New => (LAST, &counters.dropped_new),
            Admit::Refuse | Admit::Drop => return,
        };
        let bytes = Some(bytes);
        if !self.lanes[lane].push(Waiting { flow, bytes, since }) {
            dropped.one();
        }
    }

    /// The end of a stream, behind its last message. Never dropped; there are no more of them than streams.
    pub(crate) fn push_end(&mut self, since: Mono, flow: Flow) {
        let bytes = None;
        self.lanes[LAST].line.push_back(Waiting { flow, bytes, since });
    }

    /// The most important message, and of those the one that waits longest; now and then one of the last lane.
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        self.turn += 1;
        if self.turn >= TURNS {
            self.turn = 0;
            // The end of a stream has to wait for what came on it, in whatever line that is.
            let is_message = |waiting: &Waiting| waiting.bytes.is_some();
            if self.lanes[LAST].line.front().is_some_and(is_message) {
                return self.lanes[LAST].pop();
            }
        }
        self.lanes.iter_mut().find_map(Lane::pop)
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.line.len()).sum()
    }

    /// Every lane takes more. Streams are read only then: their peers wait instead of losing messages.
    pub(crate) fn have_room(&self) -> bool {
        self.lanes
            .iter()
            .all(|lane| lane.line.len() < MAX_MESSAGES / 2 && lane.bytes < MAX_BYTES / 2)
    }
}

impl Lane {
    fn push(&mut self, waiting: Waiting) -> bool {
        let size = waiting.size();
        let fits = self.line.len() < MAX_MESSAGES && self.bytes + size <= MAX_BYTES;
        if fits {
            self.bytes += size;
            self.line.push_back(waiting);
        }
        fits
    }

    fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.line.pop_front()?;
        self.bytes -= waiting.size();
        Some(waiting)
    }
}

impl Waiting {
    fn size(&self) -> usize {
        self.bytes.as_ref().map_or(0, Bytes::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip::Transport;

    fn flow(port: u16) -> Flow {
        let peer = ([192, 0, 2, 1], port).into();
        Flow {
            transport: Transport::Udp,
            local: ([192, 0, 2, 9], 5060).into(),
            peer,
            connection: 0,
        }
    }

    fn request(method: &str) -> Bytes {
        Bytes::from(format!("{method} sip:b@h SIP/2.0\r\nTo: <sip:b@h>\r\n\r\n"))
    }

    const NEW: usize = LAST;

    fn methods(lanes: &mut Lanes) -> Vec<String> {
        std::iter::from_fn(|| lanes.pop())
            .map(|waiting| {
                waiting
                    .bytes
                    .map_or("end".into(), |b| String::from_utf8_lossy(&b[..3]).into())
            })
            .collect()
    }

    #[test]
    fn what_is_going_on_comes_before_what_would_begin() {
        let (mut lanes, counters) = (Lanes::default(), LaneCounters::default());
        for (method, admit) in [
            ("INVITE", Admit::New),
            ("REGISTER", Admit::New),
            ("MESSAGE", Admit::Known),
            ("REGISTER", Admit::Refresh),
            ("PRACK", Admit::Stray),
            ("BYE", Admit::Ongoing),
            ("ACK", Admit::Ongoing),
            ("OPTIONS", Admit::Drop),
        ] {
            lanes.push(Mono(0), admit, flow(1), request(method), &counters);
        }
        assert_eq!(methods(&mut lanes), ["BYE", "ACK", "REG", "MES", "PRA", "INV", "REG"]);
    }

    #[test]
    fn the_least_important_have_their_turn_too() {
        let (mut lanes, counters) = (Lanes::default(), LaneCounters::default());
        for _ in 0..100 {
            lanes.push(Mono(0), Admit::Ongoing, flow(1), request("BYE"), &counters);
            lanes.push(Mono(0), Admit::New, flow(1), request("INVITE"), &counters);
        }
        let first: Vec<String> = methods(&mut lanes).into_iter().take(100).collect();
        assert_eq!(first.iter().filter(|method| *method == "INV").count(), 6);
    }

    #[test]
    fn a_flood_of_new_requests_drops_only_itself() {
        let (mut lanes, counters) = (Lanes::default(), LaneCounters::default());
        for _ in 0..MAX_MESSAGES + 5 {
            lanes.push(Mono(0), Admit::New, flow(1), request("INVITE"), &counters);
        }
        assert!(!lanes.have_room());
        lanes.push(Mono(0), Admit::Ongoing, flow(1), request("BYE"), &counters);
        lanes.push_end(Mono(0), flow(1));
        assert_eq!((counters.dropped_new.value(), counters.dropped_ongoing.value()), (5, 0));
        assert_eq!(lanes.len(), MAX_MESSAGES + 2);
        assert_eq!(methods(&mut lanes)[0], "BYE");
    }

    #[test]
    fn large_messages_are_bounded_by_their_bytes() {
        let (mut lanes, counters) = (Lanes::default(), LaneCounters::default());
        let large = Bytes::from([&request("INVITE")[..], &vec![b'x'; 60_000]].concat());
        for _ in 0..1_000 {
            lanes.push(Mono(0), Admit::New, flow(1), large.clone(), &counters);
        }
        assert_eq!(lanes.len(), MAX_BYTES / large.len());
        assert_eq!(counters.dropped_new.value() as usize, 1_000 - lanes.len());
        methods(&mut lanes);
        assert!(lanes.have_room() && lanes.lanes[NEW].bytes == 0);
    }
}
