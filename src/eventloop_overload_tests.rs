//! The event loop under more work than it can do, and under floods, in virtual time: its lanes, its bounds and the real switch,
//! on a machine where what is done for a caller takes 100 us, other things 20 us, a refusal 4 us, and sorting a datagram 1 us.

use crate::config::Source;
use crate::eventloop::MESSAGES_PER_TURN;
use crate::eventloop_lanes::{LaneCounters, Lanes};
use bytes::Bytes;
use clock::{Mono, Now, Wall};
use sip::digest::{Algorithm, Challenge, Hex, ha1};
use sip::{Flow, Message, Name, Transport, peek};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use switch::{Admit, Input, Output, Switch};

const WORK: Duration = Duration::from_micros(100);
const CHORE: Duration = Duration::from_micros(20);
const REFUSAL: Duration = Duration::from_micros(4);
const SORTING: Duration = Duration::from_micros(1);
/// What the machine can do of the first in a second.
const PEAK: u64 = 10_000;

struct Machine {
    switch: Switch,
    realm: String,
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
    /// Of floods: what was sent, and what was heard within half a second and not refused, by who and what.
    asked: BTreeMap<&'static str, (u64, u64)>,
    /// The last answer.
    answer: Option<Bytes>,
}

impl Machine {
    /// The shipped configuration, the store empty and silent.
    fn new() -> Machine {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("sip-config");
        let sets = Vec::new();
        let config = Source { directory, sets }.load().unwrap().switch;
        let realm = config.security.realm.to_string();
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
            realm,
            lanes: Lanes::default(),
            counters: LaneCounters::default(),
            now,
            seen: Seen::default(),
        }
    }

    /// A turn of the loop: everything that has come since the last one is sorted, then a bounded number of messages handled.
    fn turn(&mut self, arrived: impl Iterator<Item = (Mono, Flow, Bytes)>) {
        for (since, flow, bytes) in arrived {
            match self.switch.admit(self.now, &flow, peek::class(&bytes), &bytes) {
                Admit::Refuse => self.refuse(flow, bytes),
                admit => self.lanes.push(since, admit, flow, bytes, &self.counters),
            }
        }
        for _ in 0..MESSAGES_PER_TURN {
            let Some(waiting) = self.lanes.pop() else { break };
            self.handle(waiting.since, waiting.flow, waiting.bytes.unwrap());
        }
    }

    fn refuse(&mut self, flow: Flow, bytes: Bytes) {
        self.switch.handle_input(self.now, Input::Unheard { flow, bytes });
        while self.switch.poll_output().is_some() {}
        self.now.mono = self.now.mono + REFUSAL;
    }

    fn handle(&mut self, since: Mono, flow: Flow, bytes: Bytes) {
        let delay = self.now.mono.since(since);
        let (who, refused) = (kind(&flow, &bytes), self.seen.refused);
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
                _ => self.seen.chores += 1,
            }
            self.seen.answer = Some(bytes);
        }
        let (_, heard) = self.seen.asked.entry(who).or_default();
        *heard += u64::from(delay <= IN_TIME && self.seen.refused == refused);
        if is_chore {
            self.seen.slowest_chore = self.seen.slowest_chore.max(delay);
        }
        self.seen.slowest = self.seen.slowest.max(delay);
        self.now.mono = self.now.mono + took;
    }

    /// `factor` times what it can do, and 2,000 requests a second that belong to dialogs.
    fn load(mut self, factor: u64, time: Duration) -> Seen {
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
                arrived.push((chores, flow(number), request("BYE", number, IN_DIALOG)));
                chores = chores + every(2_000);
            }
            if arrived.is_empty() && self.lanes.len() == 0 {
                self.now.mono = work.min(chores);
            }
            self.turn(arrived.into_iter());
        }
        assert_eq!(self.counters.dropped_ongoing.value(), 0);
        self.seen
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
        let seen = Machine::new().load(factor, Duration::from_millis(time_ms));
        let seconds = |rate: u64| rate * time_ms / 1_000;
        // A chore takes a fifth of the time of the other work.
        let room = seconds(PEAK - 2_000 / 5);
        assert!(seen.done * 100 >= room * least, "{factor}x: {seen:?}");
        assert!(seen.slowest <= Duration::from_millis(250), "{factor}x: {seen:?}");
        assert!(seen.slowest_chore <= Duration::from_millis(50), "{factor}x: {seen:?}");
        assert!(seen.chores * 100 >= seconds(2_000) * 90, "{factor}x: {seen:?}");
        if factor >= 2 {
            assert!(seen.refused > seen.done / 2, "{factor}x: {seen:?}");
        }
    }
}

// Floods.

/// What takes longer than this is sent again.
const IN_TIME: Duration = Duration::from_millis(500);
/// Datagrams of the attackers in a second: many times what the machine can answer.
const FLOOD: u64 = 60_000;
/// How long it lasts.
const FLOOD_MS: u64 = 2_000;
const PHONES: u64 = 50;

/// The datagram of an attacker with this number, and where it comes from.
type Attack<'a> = dyn Fn(u64) -> (Flow, Bytes) + 'a;
type Arrival = (Mono, Flow, Bytes);

/// A tag as ours are.
const IN_DIALOG: &str = ";tag=0123456789abcdef";

/// Who sent it, and what it is.
fn kind(flow: &Flow, bytes: &Bytes) -> &'static str {
    let std::net::IpAddr::V4(peer) = flow.peer.ip() else {
        return "nobody";
    };
    match (peer.octets(), bytes[0]) {
        ([198, 51, 100, _], b'B') => "phone, in a dialog",
        ([198, 51, 100, _], b'R') => "phone, refresh",
        ([198, 51, 100, _], _) => "phone, new",
        ([203, 0, 113, _], _) => "stranger, new",
        _ => "attacker",
    }
}

fn from(ip: [u8; 4], port: u16) -> Flow {
    Flow {
        transport: Transport::Udp,
        local: ([192, 0, 2, 9], 5060).into(),
        peer: (Ipv4Addr::from(ip), port).into(),
        connection: 0,
    }
}

/// Where a registered phone is.
fn phone(n: u64) -> Flow {
    from([198, 51, 100, 1 + u8::try_from(n % PHONES).unwrap()], 5060)
}

/// Somebody who is not registered and sends what he may.
fn stranger(n: u64) -> Flow {
    from([203, 0, 113, 1], 10_000 + u16::try_from(n % 50_000).unwrap())
}

/// An address that an attacker has made up.
fn forged(n: u64) -> Flow {
    let [.., a, b, c] = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).to_be_bytes();
    from([100, a, b, c], 5060)
}

/// One of twenty machines that an attacker has.
fn owned(n: u64) -> Flow {
    from([192, 0, 2, 100 + u8::try_from(n % 20).unwrap()], 5060)
}

/// A registered phone: what it answers challenges with.
struct Phone {
    challenge: Vec<u8>,
    secret: Hex,
    count: u32,
}

impl Phone {
    fn register(&mut self, n: u64, number: u64) -> Bytes {
        let user = 1_000 + n % 20;
        let uri = "sip:192.0.2.9";
        let mut more = format!("Contact: <sip:{user}@{}>\r\nExpires: 600\r\n", phone(n).peer);
        if let Ok(challenge) = Challenge::parse(&self.challenge) {
            self.count += 1;
            let user = user.to_string();
            let value = challenge.credentials(&user, &self.secret, b"REGISTER", uri.as_bytes(), "c", self.count);
            more += &format!("Authorization: {}\r\n", String::from_utf8(value).unwrap());
        }
        Bytes::from(format!(
            "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.1;rport;branch=z9hG4bK{number}\r\nFrom: <sip:{user}@192.0.2.9>;\
             tag=f\r\nTo: <sip:{user}@192.0.2.9>\r\nCall-ID: r{n}\r\nCSeq: {number} REGISTER\r\n{more}Content-Length: 0\r\n\r\n"
        ))
    }
}

impl Machine {
    /// Phones that have registered.
    fn phones(&mut self) -> Vec<Phone> {
        let enrol = |n: u64| {
            let user = (1_000 + n % 20).to_string();
            let realm = self.realm.as_bytes();
            let password = format!("demo-{user}");
            let mut known = Phone {
                challenge: Vec::new(),
                secret: ha1(Algorithm::Md5, user.as_bytes(), realm, password.as_bytes()),
                count: 0,
            };
            for number in 1..=2 {
                let request = known.register(n, number);
                self.handle(self.now.mono, phone(n), request);
                let answer = Message::parse(self.seen.answer.take().unwrap()).unwrap();
                assert_eq!(answer.status(), if number == 1 { 401 } else { 200 });
                let md5 = answer
                    .lines(Name::WwwAuthenticate)
                    .find(|line| line.windows(3).any(|word| word == b"MD5"));
                known.challenge = md5.map_or(known.challenge, <[u8]>::to_vec);
            }
            known
        };
        (0..PHONES).map(enrol).collect()
    }

    /// Everybody does what he does, for so long; attackers only if there is an attack.
    fn play(&mut self, phones: &mut [Phone], time_ms: u64, attack: Option<&Attack<'_>>) {
        let began = self.now.mono.0 / 1_000_000 + 1;
        let mut next = began;
        while next < began + time_ms {
            let mut arrived = Vec::new();
            while next < began + time_ms && Mono(next * 1_000_000) <= self.now.mono {
                self.arrive(phones, next, attack, &mut arrived);
                next += 1;
            }
            if arrived.is_empty() && self.lanes.len() == 0 {
                self.now.mono = Mono(next * 1_000_000);
                continue;
            }
            self.now.mono = self.now.mono + SORTING * u32::try_from(arrived.len()).unwrap();
            self.turn(arrived.into_iter());
        }
    }

    /// What comes in one millisecond.
    fn arrive(&mut self, phones: &mut [Phone], ms: u64, attack: Option<&Attack<'_>>, arrived: &mut Vec<Arrival>) {
        let (at, number) = (Mono(ms * 1_000_000), |n: u64| ms * 1_000 + n);
        let mut sent = Vec::new();
        for n in 0..2 {
            sent.push((phone(number(n)), request("BYE", number(n), IN_DIALOG)));
        }
        if ms.is_multiple_of(20) {
            let n = ms / 20 % PHONES;
            let refresh = phones[usize::try_from(n).unwrap()].register(n, number(3));
            sent.push((phone(n), refresh));
            sent.push((stranger(ms), request("INVITE", number(4), "")));
        }
        if ms.is_multiple_of(10) {
            sent.push((phone(ms / 10), request("INVITE", number(5), "")));
        }
        for (flow, bytes) in &sent {
            self.seen.asked.entry(kind(flow, bytes)).or_default().0 += 1;
        }
        let attackers = (0..FLOOD / 1_000).filter_map(|n| Some(attack?(number(10 + n))));
        arrived.extend(sent.into_iter().chain(attackers).map(|(flow, bytes)| (at, flow, bytes)));
    }
}

/// Of a thousand that were sent, so many were heard.
fn permille(seen: &Seen, who: &str) -> u64 {
    let (asked, heard) = seen.asked[who];
    heard * 1_000 / asked
}

/// Plays an attack; what became of everybody, and of strangers afterwards.
fn flood(attack: &Attack<'_>) -> (Seen, Seen) {
    let mut machine = Machine::new();
    let mut phones = machine.phones();
    machine.seen = Seen::default();
    machine.play(&mut phones, FLOOD_MS, Some(attack));
    assert_eq!(machine.counters.dropped_ongoing.value(), 0);
    let during = std::mem::take(&mut machine.seen);
    machine.play(&mut phones, 1_000, None);
    machine.seen = Seen::default();
    machine.play(&mut phones, 1_000, None);
    assert_eq!(machine.switch.audit(), Ok(()));
    (during, machine.seen)
}

#[test]
fn in_a_flood_phones_are_heard_as_before_and_clean_strangers_mostly() {
    let invite = |n: u64| request("INVITE", n, "");
    let forged_bye = |n: u64| request("BYE", n, IN_DIALOG);
    let attacks: [(&str, &Attack<'_>, bool); 5] = [
        ("twenty machines", &|n| (owned(n), invite(n)), true),
        ("in dialogs, from twenty machines", &|n| (owned(n), forged_bye(n)), true),
        (
            "garbage",
            &|n| (forged(n), Bytes::from_static(b"GET / HTTP/1.0\r\n\r\n")),
            true,
        ),
        // Nobody can tell these from strangers who mean well.
        ("made-up addresses", &|n| (forged(n), invite(n)), false),
        (
            "in dialogs, from made-up addresses",
            &|n| (forged(n), forged_bye(n)),
            false,
        ),
    ];
    for (name, attack, spares_strangers) in attacks {
        let (during, after) = flood(attack);
        for who in ["phone, in a dialog", "phone, refresh"] {
            assert!(permille(&during, who) >= 999, "{name}: {who}: {during:?}");
        }
        assert!(permille(&during, "phone, new") >= 800, "{name}: {during:?}");
        if spares_strangers {
            assert!(permille(&during, "stranger, new") >= 800, "{name}: {during:?}");
        }
        for who in ["phone, new", "stranger, new"] {
            assert_eq!(permille(&after, who), 1_000, "{name}, a second later: {who}: {after:?}");
        }
    }
}
