//! The event loop under more work than it can do, in virtual time: its lanes, its bounds and the real switch, on a machine
//! where what is done for a caller takes 100 us, other things 20 us, and a refusal 4 us.

use crate::config::Source;
use crate::eventloop::MESSAGES_PER_TURN;
use crate::eventloop_lanes::{LaneCounters, Lanes};
use bytes::Bytes;
use clock::{Mono, Now, Wall};
use sip::{Flow, Transport, peek};
use std::path::Path;
use std::time::Duration;
use switch::{Admit, Input, Output, Switch};

const WORK: Duration = Duration::from_micros(100);
const CHORE: Duration = Duration::from_micros(20);
const REFUSAL: Duration = Duration::from_micros(4);
/// What the machine can do of the first in a second.
const PEAK: u64 = 10_000;

struct Machine {
    switch: Switch,
    lanes: Lanes,
    counters: LaneCounters,
    now: Now,
    seen: Seen,
}

/// What became of it all.
#[derive(Debug, Default)]
struct Seen {
    done: u64,
    refused: u64,
    chores: u64,
    slowest: Duration,
    slowest_chore: Duration,
}

impl Machine {
    /// The shipped configuration, the store empty and silent.
    fn new() -> Machine {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("sip-config");
        let sets = Vec::new();
        let config = Source { directory, sets }.load().unwrap().switch;
        let mut now = Now {
            mono: Mono(1_000_000_000),
            wall: Wall(1_767_225_600_000),
        };
        let mut switch = Switch::new(config, [7; 32], [9; 32], now);
        now.mono = now.mono + Duration::from_secs(3);
        switch.handle_timeout(now);
        while switch.poll_output().is_some() {}
        Machine {
            switch,
            lanes: Lanes::default(),
            counters: LaneCounters::default(),
            now,
            seen: Seen::default(),
        }
    }

    /// A turn of the loop: everything that has come since the last one is sorted, then a bounded number of messages handled.
    fn turn(&mut self, arrived: impl Iterator<Item = (Mono, Flow, Bytes)>) {
        for (since, flow, bytes) in arrived {
            let admit = self.switch.admit(self.now, &flow, peek::class(&bytes));
            self.lanes.push(since, admit, flow, bytes, &self.counters);
            assert!(admit <= Admit::New, "loopback has no limits of its own");
        }
        for _ in 0..MESSAGES_PER_TURN {
            let Some(waiting) = self.lanes.pop() else { break };
            self.handle(waiting.since, waiting.flow, waiting.bytes.unwrap());
        }
    }

    fn handle(&mut self, since: Mono, flow: Flow, bytes: Bytes) {
        let delay = self.now.mono.since(since);
        let is_chore = peek::class(&bytes) == peek::Class::Ongoing;
        self.switch.note_delay(delay);
        self.switch.handle_input(self.now, Input::Datagram { flow, bytes });
        let mut took = CHORE;
        while let Some(output) = self.switch.poll_output() {
            let Output::Transmit { bytes, .. } = output else {
                continue;
            };
            match peek::status(&bytes) {
                Some(200) => (self.seen.done, took) = (self.seen.done + 1, WORK),
                Some(503) => (self.seen.refused, took) = (self.seen.refused + 1, REFUSAL),
                Some(481) => self.seen.chores += 1,
                other => panic!("{other:?}"),
            }
        }
        if is_chore {
            self.seen.slowest_chore = self.seen.slowest_chore.max(delay);
        }
        self.seen.slowest = self.seen.slowest.max(delay);
        self.now.mono = self.now.mono + took;
    }

    /// `factor` times what it can do, and 2,000 requests a second that belong to dialogs.
    fn load(mut self, factor: u64, time: Duration) -> (Seen, LaneCounters) {
        let began = self.now.mono;
        let every = |rate: u64| Duration::from_secs(1) / u32::try_from(rate).unwrap();
        let (mut work, mut chores) = (began, began);
        let mut number = 0u64;
        while self.now.mono.since(began) < time {
            let mut arrived = Vec::new();
            while work <= self.now.mono {
                number += 1;
                arrived.push((work, flow(number), request("OPTIONS", number, "")));
                work = work + every(factor * PEAK);
            }
            while chores <= self.now.mono {
                number += 1;
                arrived.push((chores, flow(number), request("BYE", number, ";tag=0123456789abcdef")));
                chores = chores + every(2_000);
            }
            if arrived.is_empty() && self.lanes.len() == 0 {
                self.now.mono = work.min(chores);
            }
            self.turn(arrived.into_iter());
        }
        (self.seen, self.counters)
    }
}

/// Many phones, all of them near.
fn flow(number: u64) -> Flow {
    Flow {
        transport: Transport::Udp,
        local: ([127, 0, 0, 1], 5060).into(),
        peer: ([127, 0, 0, 2], 10_000 + u16::try_from(number % 50_000).unwrap()).into(),
        connection: 0,
    }
}

fn request(method: &str, number: u64, tag: &str) -> Bytes {
    Bytes::from(format!(
        "{method} sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2;branch=z9hG4bK{number}\r\nFrom: <sip:a@127.0.0.1>;tag=f\r\n\
         To: <sip:127.0.0.1>{tag}\r\nCall-ID: {number}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    ))
}

#[test]
fn under_overload_most_of_the_work_is_done_and_the_rest_refused_in_time() {
    for (factor, time_ms, least) in [(1, 500, 90), (2, 1_000, 90), (5, 1_000, 80), (20, 250, 10)] {
        let (seen, counters) = Machine::new().load(factor, Duration::from_millis(time_ms));
        let seconds = |rate: u64| rate * time_ms / 1_000;
        // A chore takes a fifth of the time of the other work.
        let room = seconds(PEAK - 2_000 / 5);
        assert!(seen.done * 100 >= room * least, "{factor}x: {seen:?}");
        assert!(seen.slowest <= Duration::from_millis(250), "{factor}x: {seen:?}");
        assert!(seen.slowest_chore <= Duration::from_millis(50), "{factor}x: {seen:?}");
        assert!(seen.chores * 100 >= seconds(2_000) * 90, "{factor}x: {seen:?}");
        assert_eq!(counters.dropped_ongoing.value(), 0);
        if factor >= 2 {
            assert!(seen.refused > seen.done / 2, "{factor}x: {seen:?}");
        }
    }
}
