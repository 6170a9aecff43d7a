//! Messages that wait for the switch, sorted by what would be lost with them: three bounded lanes.

use ahash::RandomState;
use bytes::Bytes;
use clock::Mono;
use net::counters;
use sip::Flow;
use sip::peek::{self, Class};
use std::collections::VecDeque;

counters! {
    /// What was sorted and what was dropped.
    LaneCounters, "queue_" {
        /// Messages that wait now.
        waiting gauge,
        /// Dropped responses and requests inside of dialogs. Not zero means that the node is far too small.
        dropped_ongoing,
        /// Dropped refreshes of registrations from flows that have one.
        dropped_refreshes,
        /// Dropped requests that would have begun something.
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

/// Flows of which is remembered that a REGISTER was accepted. A collision costs a place in a lane, no more.
const KNOWN_FLOWS: usize = 1 << 16;

/// A message that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// Where it came from.
    pub(crate) flow: Flow,
    /// The message; none: the stream has ended. It waits behind the messages that came on it.
    pub(crate) bytes: Option<Bytes>,
    /// When it came.
    pub(crate) since: Mono,
    /// It is a REGISTER, and success will make its flow known.
    pub(crate) registers: bool,
}

/// The three lanes, most important first: what belongs to something that is there, refreshes of registrations, the rest.
pub(crate) struct Lanes {
    lanes: [Lane; 3],
    known: KnownFlows,
}

#[derive(Default)]
struct Lane {
    line: VecDeque<Waiting>,
    bytes: usize,
}

const ONGOING: usize = 0;
const REFRESHES: usize = 1;
const NEW: usize = 2;

impl Lanes {
    pub(crate) fn new() -> Lanes {
        Lanes {
            lanes: Default::default(),
            known: KnownFlows::new(),
        }
    }

    /// Sorts a message into its lane, or drops it if that is full.
    pub(crate) fn push(&mut self, since: Mono, flow: Flow, bytes: Bytes, counters: &LaneCounters) {
        let class = peek::class(&bytes);
        let (lane, dropped) = match class {
            Class::Ongoing => (ONGOING, &counters.dropped_ongoing),
            Class::Register if self.known.contains(&flow) => (REFRESHES, &counters.dropped_refreshes),
            Class::Register | Class::New => (NEW, &counters.dropped_new),
            Class::KeepAlive => return,
            Class::Garbage => return counters.garbage.one(),
        };
        let waiting = Waiting {
            flow,
            bytes: Some(bytes),
            since,
            registers: class == Class::Register,
        };
        if !self.lanes[lane].push(waiting) {
            dropped.one();
        }
    }

    /// The end of a stream, behind its last message. Never dropped; there are no more of them than streams.
    pub(crate) fn push_end(&mut self, since: Mono, flow: Flow) {
        self.lanes[NEW].line.push_back(Waiting {
            flow,
            bytes: None,
            since,
            registers: false,
        });
    }

    /// The most important message, and of those the one that waits longest.
    pub(crate) fn pop(&mut self) -> Option<Waiting> {
        self.lanes.iter_mut().find_map(Lane::pop)
    }

    /// From now on REGISTER on this flow is a refresh.
    pub(crate) fn remember(&mut self, flow: &Flow) {
        self.known.insert(flow);
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

/// A table of fingerprints: bounded, and forgetful where two flows share a place. Keyed at random, since peers choose
/// their addresses.
struct KnownFlows {
    prints: Box<[u32]>,
    keys: RandomState,
}

impl KnownFlows {
    fn new() -> KnownFlows {
        KnownFlows {
            prints: vec![0; KNOWN_FLOWS].into_boxed_slice(),
            keys: RandomState::new(),
        }
    }

    fn insert(&mut self, flow: &Flow) {
        let (place, print) = self.place(flow);
        self.prints[place] = print;
    }

    fn contains(&self, flow: &Flow) -> bool {
        let (place, print) = self.place(flow);
        self.prints[place] == print
    }

    #[allow(clippy::cast_possible_truncation)] // two independent parts of one hash
    fn place(&self, flow: &Flow) -> (usize, u32) {
        let hash = self.keys.hash_one(flow);
        ((hash >> 32) as usize % KNOWN_FLOWS, hash as u32 | 1)
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
        let (mut lanes, counters) = (Lanes::new(), LaneCounters::default());
        lanes.remember(&flow(1));
        for (method, port) in [("INVITE", 1), ("REGISTER", 2), ("REGISTER", 1), ("BYE", 3), ("ACK", 1)] {
            lanes.push(Mono(0), flow(port), request(method), &counters);
        }
        assert_eq!(methods(&mut lanes), ["BYE", "ACK", "REG", "INV", "REG"]);
    }

    #[test]
    fn a_flood_of_new_requests_drops_only_itself() {
        let (mut lanes, counters) = (Lanes::new(), LaneCounters::default());
        for _ in 0..MAX_MESSAGES + 5 {
            lanes.push(Mono(0), flow(1), request("INVITE"), &counters);
        }
        assert!(!lanes.have_room());
        lanes.push(Mono(0), flow(1), request("BYE"), &counters);
        lanes.push_end(Mono(0), flow(1));
        assert_eq!((counters.dropped_new.value(), counters.dropped_ongoing.value()), (5, 0));
        assert_eq!(lanes.len(), MAX_MESSAGES + 2);
        assert_eq!(methods(&mut lanes)[0], "BYE");
    }

    #[test]
    fn large_messages_are_bounded_by_their_bytes() {
        let (mut lanes, counters) = (Lanes::new(), LaneCounters::default());
        let large = Bytes::from([&request("INVITE")[..], &vec![b'x'; 60_000]].concat());
        for _ in 0..1_000 {
            lanes.push(Mono(0), flow(1), large.clone(), &counters);
        }
        assert_eq!(lanes.len(), MAX_BYTES / large.len());
        assert_eq!(counters.dropped_new.value() as usize, 1_000 - lanes.len());
        methods(&mut lanes);
        assert!(lanes.have_room() && lanes.lanes[NEW].bytes == 0);
    }

    #[test]
    fn garbage_and_keepalives_wait_nowhere() {
        let (mut lanes, counters) = (Lanes::new(), LaneCounters::default());
        lanes.push(Mono(0), flow(1), Bytes::from_static(b"\r\n\r\n"), &counters);
        lanes.push(
            Mono(0),
            flow(1),
            Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n"),
            &counters,
        );
        assert_eq!((lanes.len(), counters.garbage.value()), (0, 1));
    }
}
