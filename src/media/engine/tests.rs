//! The engine as a worker sees it: datagrams, orders and time in; datagrams and events out.

use super::*;
use crate::event::DtmfBy;
use crate::goertzel::level_dbm0;
use crate::plan::{Audience, Edge, Format, Gain, Latch, LegMedia, Matrix, PlayerId, Rate, Sound, Source};
use crate::rtp::RtpHeader;
use crate::rtp::rtcp::{self, Report, ReportBlock};
use crate::sdp::Direction;
use crate::tone::Tone;

mod changes;
mod device;
mod dtx;
mod hostile;
mod keys;
mod matrix;
mod moves;
mod mux;
mod network;
mod renegotiation;
mod secure;
mod talk;
mod video;

const A: LegId = LegId(1);
const B: LegId = LegId(2);
const ROOM: RoomId = RoomId(9);
/// Our ports for A and B.
const PORT_A: u16 = 16384;
const PORT_B: u16 = 16386;
const PHONE_A: &str = "192.0.2.1:4000";
const PHONE_B: &str = "192.0.2.2:5000";
const STRANGER: &str = "203.0.113.66:4000";

const PCMU: Format = Format {
    pt_in: 0,
    pt_out: 0,
    codec: Codec::Pcmu,
};
const PCMA: Format = Format {
    pt_in: 8,
    pt_out: 8,
    codec: Codec::Pcma,
};

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn at(ms: u64) -> Mono {
    Mono(ms * 1_000_000)
}

fn keys(pt_in: u8, pt_out: u8) -> Format {
    Format {
        pt_in,
        pt_out,
        codec: Codec::TelephoneEvent(8000),
    }
}

fn media(remote: &str, formats: &[Format]) -> LegMedia {
    let remote = addr(remote);
    LegMedia {
        remote: Some(remote),
        remote_rtcp: Some(SocketAddr::new(remote.ip(), remote.port() + 1)),
        formats: formats.iter().copied().collect(),
        ..LegMedia::default()
    }
}

fn open(leg: LegId, port: u16, media: LegMedia) -> Plan {
    let media_timeout = Some(Duration::from_secs(60));
    Plan::OpenLeg(Box::new(OpenLeg {
        leg,
        room: ROOM,
        port,
        media,
        latch: Latch::SdpHost,
        media_timeout,
    }))
}

struct Worker {
    engine: Engine,
    events: Vec<Event>,
}

impl Worker {
    fn new() -> Worker {
        let mut n = 0x9e37_79b9_7f4a_7c15u64;
        let random = move || {
            n ^= n << 13;
            n ^= n >> 7;
            n ^= n << 17;
            n
        };
        let mut worker = Worker {
            engine: Engine::new(EngineConfig::default(), Box::new(random)),
            events: Vec::new(),
        };
        worker.apply(Plan::OpenRoom {
            room: ROOM,
            matrix: Matrix::Everyone,
            rate: Rate::Narrow,
        });
        worker
    }

    /// A and B talk PCMU; A numbers key presses 101, B 96.
    fn pair() -> Worker {
        let mut worker = Worker::new();
        worker.apply(open(A, PORT_A, media(PHONE_A, &[PCMU, keys(101, 101)])));
        worker.apply(open(B, PORT_B, media(PHONE_B, &[PCMU, keys(101, 96)])));
        worker
    }

    fn apply(&mut self, plan: Plan) {
        self.engine.apply(at(0), plan);
        self.drain_events();
    }

    fn update(&mut self, now: Mono, leg: LegId, media: LegMedia) {
        let media_timeout = Some(Duration::from_secs(60));
        self.engine.apply(
            now,
            Plan::UpdateLeg {
                leg,
                media,
                media_timeout,
            },
        );
    }

    fn drain_events(&mut self) {
        self.events.extend(std::iter::from_fn(|| self.engine.poll_event()));
    }

    /// Sends to a port; returns the packet that leaves and its way.
    fn rtp(&mut self, now: Mono, port: u16, source: &str, bytes: &[u8]) -> Option<(u16, SocketAddr, Vec<u8>)> {
        let mut buffer = [0; PACKET_BUFFER];
        buffer[..bytes.len()].copy_from_slice(bytes);
        let forward = self
            .engine
            .handle_rtp(now, port, addr(source), &mut buffer, bytes.len());
        self.drain_events();
        forward.map(|forward| (forward.port, forward.to, buffer[forward.range].to_vec()))
    }

    fn rtcp(&mut self, now: Mono, port: u16, source: &str, bytes: &[u8]) {
        self.engine.handle_rtcp(now, port, addr(source), bytes);
    }

    /// Lets time pass; returns everything the engine sent by itself.
    fn run(&mut self, until: Mono) -> Vec<(Mono, u16, SocketAddr, Vec<u8>)> {
        let mut sent = Vec::new();
        let mut buffer = [0; PACKET_BUFFER];
        while let Some(due) = self.engine.poll_timeout().filter(|&due| due <= until) {
            self.engine.handle_timeout(due);
            while let Some(Transmit { port, to, len }) = self.engine.poll_transmit(&mut buffer) {
                sent.push((due, port, to, buffer[..len].to_vec()));
            }
            self.drain_events();
        }
        sent
    }

    fn stats(&self, leg: LegId) -> LegStats {
        self.engine.leg_stats(leg).unwrap()
    }
}

fn packet(ssrc: u32, pt: u8, n: u16) -> Vec<u8> {
    let header = RtpHeader {
        marker: n == 0,
        pt,
        sequence: n.wrapping_add(65_530),
        timestamp: u32::from(n) * 160,
        ssrc,
        payload: 12..12,
    };
    [&header.to_bytes()[..], &[n as u8; 160]].concat()
}

fn read(bytes: &[u8]) -> RtpHeader {
    RtpHeader::parse(bytes).unwrap()
}

#[test]
fn relays_payload_untouched_with_our_own_numbers() {
    let mut worker = Worker::pair();
    let mut last: Option<RtpHeader> = None;
    for n in 0..20u16 {
        let (port, to, bytes) = worker
            .rtp(at(u64::from(n) * 20), PORT_A, PHONE_A, &packet(77, 0, n))
            .unwrap();
        assert_eq!((port, to), (PORT_B, addr(PHONE_B)));
        let header = read(&bytes);
        assert_eq!(&bytes[12..], [n as u8; 160]);
        assert_ne!(header.ssrc, 77);
        if let Some(last) = last {
            assert_eq!(header.sequence, last.sequence.wrapping_add(1));
            assert_eq!(header.timestamp, last.timestamp.wrapping_add(160));
            assert_eq!(header.ssrc, last.ssrc);
        }
        last = Some(header);
    }
    assert_eq!(
        worker.events,
        [Event::Latched {
            leg: A,
            source: addr(PHONE_A),
            as_signalled: true
        }]
    );
}

#[test]
fn strips_csrcs_extension_and_padding() {
    let mut worker = Worker::pair();
    let mut bytes = packet(77, 0, 1)[..12].to_vec();
    bytes[0] = 0xb1;
    bytes.extend_from_slice(&[0, 0, 0, 5, 0xbe, 0xde, 0, 1, 1, 2, 3, 4, b'a', b'b', 0, 2]);
    let (_, _, bytes) = worker.rtp(at(0), PORT_A, PHONE_A, &bytes).unwrap();
    assert_eq!((bytes[0], &bytes[12..]), (0x80, &b"ab"[..]));
}

#[test]
fn maps_payload_types_per_leg_and_takes_both_numbers_of_a_device() {
    let mut worker = Worker::pair();
    let press = |pt, n| [&packet(77, pt, n)[..12], &[5, 0x8a, 3, 0x20]].concat();
    let (_, _, bytes) = worker.rtp(at(0), PORT_A, PHONE_A, &press(101, 1)).unwrap();
    assert_eq!((read(&bytes).pt, &bytes[12..]), (96, &[5, 0x8a, 3, 0x20][..]));
    let (_, _, bytes) = worker.rtp(at(0), PORT_B, PHONE_B, &press(101, 1)).unwrap();
    assert_eq!(read(&bytes).pt, 101);
    let (_, _, bytes) = worker.rtp(at(0), PORT_B, PHONE_B, &press(96, 2)).unwrap();
    assert_eq!(read(&bytes).pt, 101);
    let duration = Duration::from_millis(100);
    assert!(worker.events.contains(&Event::Dtmf {
        leg: A,
        digit: '5',
        duration,
        by: DtmfBy::Packets,
        passed_on: true,
    }));
}

#[test]
fn strangers_get_nothing_and_change_nothing() {
    let mut worker = Worker::pair();
    // X comes first, from another host, and sprays.
    for n in 0..50 {
        assert_eq!(worker.rtp(at(0), PORT_A, STRANGER, &packet(1, 0, n)), None);
    }
    assert_eq!(
        worker.rtp(at(0), PORT_B, PHONE_B, &packet(2, 0, 0)).unwrap().1,
        addr(PHONE_A)
    );
    assert!(worker.rtp(at(0), PORT_A, PHONE_A, &packet(77, 0, 0)).is_some());
    for n in 1..50 {
        assert_eq!(worker.rtp(at(0), PORT_A, STRANGER, &packet(77, 0, n)), None);
        assert_eq!(worker.rtp(at(0), PORT_A, "192.0.2.1:4002", &packet(77, 0, n)), None);
        assert_eq!(
            worker.rtp(at(0), PORT_B, PHONE_B, &packet(2, 0, n)).unwrap().1,
            addr(PHONE_A)
        );
    }
    assert_eq!(worker.stats(A).strangers, 148);
    assert_eq!(worker.stats(A).received, 1);
}

#[test]
fn a_stranger_may_not_use_a_renegotiation() {
    let mut worker = Worker::pair();
    worker.rtp(at(0), PORT_A, PHONE_A, &packet(77, 0, 0));
    worker.update(at(0), A, media(PHONE_A, &[PCMU]));
    for n in 0..10 {
        assert_eq!(worker.rtp(at(0), PORT_A, STRANGER, &packet(77, 0, n)), None);
        assert_eq!(worker.rtp(at(0), PORT_A, "192.0.2.1:6666", &packet(78, 0, n)), None);
    }
    assert_eq!(
        worker.rtp(at(0), PORT_B, PHONE_B, &packet(2, 0, 0)).unwrap().1,
        addr(PHONE_A)
    );
}

fn report(ssrc: u32, about: u32, last_sr: u32, delay: u32) -> Vec<u8> {
    let block = ReportBlock {
        ssrc: about,
        fraction_lost: 0,
        lost: 3,
        highest: 0,
        jitter: 80,
        last_sr,
        delay,
    };
    let mut buffer = [0; rtcp::MAX_COMPOUND];
    let len = rtcp::write(&mut buffer, ssrc, None, Some(block), 1);
    buffer[..len].to_vec()
}

#[test]
fn rtcp_ends_at_the_leg_and_tells_loss_jitter_and_round_trip() {
    let mut worker = Worker::pair();
    for n in 0..250 {
        worker.rtp(at(u64::from(n) * 20), PORT_A, PHONE_A, &packet(77, 0, n));
        worker.rtp(at(u64::from(n) * 20), PORT_B, PHONE_B, &packet(88, 0, n));
    }
    let sent = worker.run(at(8000));
    let to_a: Vec<_> = sent
        .iter()
        .filter(|(_, _, to, _)| *to == addr("192.0.2.1:4001"))
        .collect();
    let (when, port, _, bytes) = to_a[0];
    assert_eq!(*port, PORT_A + 1);
    let Some(Report::Sender { ssrc, info, mut blocks }) = rtcp::parse(bytes).unwrap().next() else {
        panic!()
    };
    assert!((2500..=7500 + 1000).contains(&when.millis()));
    let block = blocks.next().unwrap();
    assert_eq!((block.ssrc, block.lost), (77, 0));
    assert!(info.packets > 0);
    // A answers 100 ms later, having held the report for 40 ms: the round trip is 60 ms.
    let delay = 40 * 65536 / 1000;
    let later = *when + Duration::from_millis(100);
    worker.rtcp(
        later,
        PORT_A,
        "192.0.2.1:4001",
        &report(77, ssrc, rtcp::middle(info.ntp), delay),
    );
    let stats = worker.stats(A);
    assert!(
        (59..=61).contains(&stats.round_trip.unwrap().as_millis()),
        "{:?}",
        stats.round_trip
    );
    assert_eq!((stats.remote_lost, stats.remote_jitter), (3, Duration::from_millis(10)));
}

#[test]
fn rtcp_of_strangers_is_dropped() {
    let mut worker = Worker::pair();
    worker.rtp(at(0), PORT_A, PHONE_A, &packet(77, 0, 0));
    worker.rtcp(at(0), PORT_A, STRANGER, &report(77, 1, 0, 0));
    worker.rtcp(at(0), PORT_A, "192.0.2.1:9999", &report(12345, 1, 0, 0));
    assert_eq!((worker.stats(A).strangers, worker.stats(A).rtcp.0), (2, 0));
    worker.rtcp(at(0), PORT_A, "192.0.2.1:9999", &report(77, 1, 0, 0));
    worker.rtcp(at(0), PORT_A, "192.0.2.1:7777", &report(77, 1, 0, 0));
    assert_eq!((worker.stats(A).strangers, worker.stats(A).rtcp.0), (3, 1));
    let sent = worker.run(at(20_000));
    assert!(sent.iter().any(|(_, _, to, _)| *to == addr("192.0.2.1:9999")));
    assert!(
        !sent
            .iter()
            .any(|(_, _, to, _)| to.port() == 7777 || *to == addr(STRANGER))
    );
}

#[test]
fn garbage_on_every_port_is_counted_and_dropped() {
    let mut worker = Worker::pair();
    worker.rtp(at(0), PORT_A, PHONE_A, &packet(77, 0, 0));
    let whole = packet(77, 0, 1);
    for len in 0..12 {
        assert_eq!(worker.rtp(at(0), PORT_A, PHONE_A, &whole[..len]), None);
    }
    assert_eq!(
        worker.rtp(at(0), PORT_A, PHONE_A, &packet(77, 33, 1)),
        None,
        "a payload type nobody agreed to"
    );
    worker.rtcp(at(0), PORT_A, "192.0.2.1:4001", &[0x80, 201, 0, 9]);
    assert_eq!(worker.rtp(at(0), 30_000, PHONE_A, &whole), None);
    assert_eq!((worker.stats(A).invalid, worker.engine.stats().unexpected), (14, 1));
}

#[test]
fn a_leg_on_hold_is_not_sent_to_and_its_stream_goes_on_after() {
    let mut worker = Worker::pair();
    let before = worker.rtp(at(0), PORT_A, PHONE_A, &packet(77, 0, 0)).unwrap().2;
    let held = LegMedia {
        on_hold: true,
        direction: Direction::RecvOnly,
        ..media(PHONE_B, &[PCMU])
    };
    worker.update(at(10), B, held);
    assert_eq!(worker.rtp(at(20), PORT_A, PHONE_A, &packet(77, 0, 1)), None);
    worker.update(at(1000), B, media(PHONE_B, &[PCMU]));
    let after = worker.rtp(at(1000), PORT_A, PHONE_A, &packet(77, 0, 50)).unwrap().2;
    assert_eq!(read(&after).ssrc, read(&before).ssrc);
    assert_eq!(read(&after).timestamp.wrapping_sub(read(&before).timestamp), 8000);
}

#[test]
fn says_once_that_a_leg_is_silent_and_not_while_it_is_held() {
    let mut worker = Worker::pair();
    worker.update(
        at(0),
        B,
        LegMedia {
            on_hold: true,
            ..media(PHONE_B, &[PCMU])
        },
    );
    worker.run(at(59_000));
    assert!(worker.events.is_empty());
    worker.run(at(200_000));
    assert_eq!(worker.events, [Event::MediaTimeout { leg: A }]);
}

#[test]
fn an_empty_packet_keeps_the_way_open_and_the_relay_a_relay() {
    let mut worker = Worker::pair();
    worker.rtp(at(0), PORT_A, PHONE_A, &packet(7, 0, 0)).unwrap();
    assert_eq!(worker.rtp(at(20), PORT_A, PHONE_A, &packet(7, 0, 1)[..12]), None);
    assert!(worker.rtp(at(40), PORT_A, PHONE_A, &packet(7, 0, 2)).is_some());
    assert_eq!(worker.stats(A).invalid, 0);
}

#[test]
fn rtcp_alone_keeps_a_leg_alive() {
    let mut worker = Worker::pair();
    for s in 0..100 {
        worker.run(at(s * 1000));
        for (port, phone) in [(PORT_A, "192.0.2.1:4001"), (PORT_B, "192.0.2.2:5001")] {
            worker.rtcp(at(s * 1000), port, phone, &report(7, 7, 0, 0));
        }
    }
    assert!(worker.events.is_empty(), "{:?}", worker.events);
}

#[test]
fn s25_never_sends_to_loopback_groups_or_the_link_unless_allowed() {
    for host in [
        "127.0.0.1",
        "0.0.0.0",
        "224.0.0.5",
        "169.254.169.254",
        "255.255.255.255",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
    ] {
        let mut worker = Worker::new();
        worker.apply(open(A, PORT_A, media(PHONE_A, &[PCMU])));
        worker.apply(open(B, PORT_B, media(&format!("{host}:5000"), &[PCMU])));
        assert_eq!(worker.rtp(at(0), PORT_A, PHONE_A, &packet(77, 0, 0)), None, "{host}");
        assert!(
            worker.run(at(20_000)).iter().all(|(_, port, ..)| *port == PORT_A + 1),
            "{host}"
        );
    }
    let mut worker = Worker::new();
    worker.engine.config.allow_loopback = true;
    worker.apply(open(A, PORT_A, media("127.0.0.1:4000", &[PCMU])));
    worker.apply(open(B, PORT_B, media("127.0.0.1:5000", &[PCMU])));
    assert!(worker.rtp(at(0), PORT_A, "127.0.0.1:4000", &packet(77, 0, 0)).is_some());
}

#[test]
fn echoes_a_device_to_itself() {
    let mut worker = Worker::new();
    worker.apply(open(A, PORT_A, media(PHONE_A, &[PCMA])));
    assert_eq!(worker.rtp(at(0), PORT_A, PHONE_A, &packet(77, 8, 0)), None);
    worker.apply(Plan::SetEdges {
        room: ROOM,
        edges: vec![Edge {
            from: Source::Leg(A),
            to: A,
            gain: Some(Gain::UNITY),
        }],
    });
    let (port, to, bytes) = worker.rtp(at(20), PORT_A, PHONE_A, &packet(77, 8, 1)).unwrap();
    assert_eq!((port, to, &bytes[12..]), (PORT_A, addr(PHONE_A), &[1u8; 160][..]));
}

fn tone_worker(format: Format) -> Worker {
    let mut worker = Worker::new();
    worker.apply(open(A, PORT_A, media(PHONE_A, &[format])));
    worker.apply(Plan::Play {
        room: ROOM,
        player: PlayerId(1),
        sound: Sound::Tone(Tone::milliwatt()),
        to: Audience::Room,
    });
    worker
}

#[test]
fn plays_1004_hz_at_0_dbm0_in_both_laws_every_20_ms_exactly() {
    for (format, decode) in [
        (PCMU, crate::codec::g711::from_mu as fn(u8) -> i16),
        (PCMA, crate::codec::g711::from_a),
    ] {
        let sent = tone_worker(format).run(at(2000));
        let frames: Vec<_> = sent.iter().filter(|(_, port, ..)| *port == PORT_A).collect();
        assert_eq!(frames.len(), 100);
        for (n, pair) in frames.windows(2).enumerate() {
            let (one, two) = (read(&pair[0].3), read(&pair[1].3));
            assert_eq!(pair[1].0, at(20 * (n as u64 + 2)));
            assert_eq!(two.sequence, one.sequence.wrapping_add(1));
            assert_eq!(two.timestamp, one.timestamp.wrapping_add(160));
            assert_eq!((two.pt, two.marker, one.marker), (format.pt_out, false, n == 0));
        }
        let sound: Vec<i16> = frames
            .iter()
            .flat_map(|(.., bytes)| &bytes[12..])
            .map(|&code| decode(code))
            .collect();
        assert!(level_dbm0(&sound[..8000], 1004.0, 8000).abs() < 0.2);
        assert!(level_dbm0(&sound[..8000], 700.0, 8000) < -45.0);
    }
}

#[test]
fn a_late_worker_makes_up_for_five_ticks_and_leaves_out_the_rest_with_true_timestamps() {
    let mut worker = tone_worker(PCMU);
    let mut buffer = [0; PACKET_BUFFER];
    let mut late = |now| {
        worker.engine.handle_timeout(now);
        let packets = std::iter::from_fn(|| {
            worker
                .engine
                .poll_transmit(&mut buffer)
                .map(|sent| read(&buffer[..sent.len]))
        });
        (packets.collect::<Vec<_>>(), worker.engine.poll_timeout())
    };
    let (one, next) = late(at(20));
    assert_eq!((one.len(), next), (1, Some(at(40))));
    let (five, next) = late(at(345));
    assert_eq!((five.len(), next), (5, Some(at(360))));
    assert_eq!(five[0].sequence, one[0].sequence.wrapping_add(1));
    assert_eq!(five[4].timestamp.wrapping_sub(one[0].timestamp), 160 * 16);
    // Those of 40 to 320 ms came late, that of 340 ms did not.
    assert_eq!(worker.engine.stats().late_ticks, 15);
}

#[test]
fn a_tick_is_late_when_it_is_more_than_five_milliseconds_behind_its_time() {
    let mut worker = tone_worker(PCMU);
    for (now, late) in [(20, 0), (45, 0), (66, 1), (85, 1), (125, 2)] {
        worker.engine.handle_timeout(at(now));
        assert_eq!(worker.engine.stats().late_ticks, late, "at {now} ms");
    }
}

#[test]
fn a_tone_and_then_a_partner_is_one_stream() {
    let mut worker = tone_worker(PCMU);
    let tone = worker.run(at(100));
    worker.engine.apply(
        at(100),
        Plan::StopPlay {
            room: ROOM,
            player: PlayerId(1),
        },
    );
    worker.engine.apply(at(100), open(B, PORT_B, media(PHONE_B, &[PCMU])));
    let (_, _, bytes) = worker.rtp(at(120), PORT_B, PHONE_B, &packet(5, 0, 0)).unwrap();
    let (last, next) = (read(&tone.last().unwrap().3), read(&bytes));
    assert_eq!(next.ssrc, last.ssrc);
    assert_eq!(next.sequence, last.sequence.wrapping_add(1));
    assert_eq!(next.timestamp, last.timestamp.wrapping_add(160));
}

#[test]
fn closing_a_leg_gives_its_figures_and_frees_its_port() {
    let mut worker = Worker::pair();
    worker.rtp(at(0), PORT_A, PHONE_A, &packet(77, 0, 0));
    worker.rtp(at(20), PORT_A, PHONE_A, &packet(77, 0, 2));
    worker.apply(Plan::CloseLeg { leg: A });
    let Some(Event::LegClosed { leg: A, stats, .. }) = worker.events.pop() else {
        panic!()
    };
    assert_eq!((stats.received, stats.lost, stats.codec), (2, 1, Some(Codec::Pcmu)));
    assert_eq!(worker.rtp(at(40), PORT_A, PHONE_A, &packet(77, 0, 3)), None);
    assert_eq!(worker.engine.stats().unexpected, 1);
    worker.apply(open(LegId(3), PORT_A, media(PHONE_A, &[PCMU])));
    assert!(worker.rtp(at(60), PORT_A, PHONE_A, &packet(78, 0, 0)).is_some());
    worker.apply(Plan::CloseRoom { room: ROOM });
    worker.run(at(5000));
    assert_eq!(
        (
            worker.engine.legs.len(),
            worker.engine.rooms.len(),
            worker.engine.poll_timeout()
        ),
        (0, 0, None)
    );
}

#[test]
fn orders_about_what_is_gone_are_counted_and_harmless() {
    let mut worker = Worker::pair();
    worker.apply(Plan::CloseLeg { leg: LegId(99) });
    worker.apply(Plan::CloseRoom { room: RoomId(99) });
    worker.apply(Plan::MoveLeg {
        leg: A,
        room: RoomId(99),
    });
    worker.apply(open(LegId(3), PORT_A, media(PHONE_A, &[PCMU])));
    worker.apply(open(LegId(3), PORT_A + 1, media(PHONE_A, &[PCMU])));
    worker.apply(open(A, 20_000, media(PHONE_A, &[PCMU])));
    assert_eq!(worker.engine.stats().ignored_plans, 6);
    assert!(worker.rtp(at(0), PORT_A, PHONE_A, &packet(77, 0, 0)).is_some());
}

#[test]
fn a_moved_leg_keeps_its_stream() {
    let mut worker = Worker::pair();
    let before = worker.rtp(at(0), PORT_A, PHONE_A, &packet(77, 0, 0)).unwrap().2;
    worker.apply(Plan::OpenRoom {
        room: RoomId(10),
        matrix: Matrix::Everyone,
        rate: Rate::Narrow,
    });
    worker.apply(open(LegId(3), 16_388, media("192.0.2.3:6000", &[PCMU])));
    worker.apply(Plan::MoveLeg {
        leg: LegId(3),
        room: RoomId(10),
    });
    worker.apply(Plan::MoveLeg {
        leg: B,
        room: RoomId(10),
    });
    assert_eq!(worker.rtp(at(20), PORT_A, PHONE_A, &packet(77, 0, 1)), None);
    let (port, _, after) = worker.rtp(at(20), 16_388, "192.0.2.3:6000", &packet(99, 0, 7)).unwrap();
    assert_eq!((port, read(&after).ssrc), (PORT_B, read(&before).ssrc));
    assert_eq!(read(&after).sequence, read(&before).sequence.wrapping_add(1));
}

/// A phone that sends its own tone and remembers what it hears.
struct Phone {
    leg: LegId,
    port: u16,
    address: String,
    format: Format,
    tone: crate::tone::ToneGenerator,
    hz: f32,
    heard: Vec<i16>,
    headers: Vec<RtpHeader>,
}

impl Phone {
    /// The n-th phone of a room. Frequencies are multiples of 20 Hz, so that they do not leak into each other.
    fn new(n: u16, format: Format, level_dbm0: f32) -> Phone {
        let hz = 300.0 + 40.0 * f32::from(n % 60);
        Phone {
            leg: LegId(100 + u64::from(n)),
            port: 20_000 + 2 * n,
            address: format!("192.0.2.{}:{}", 1 + n % 250, 4000 + 2 * n),
            format,
            tone: crate::tone::ToneGenerator::new(&Tone::steady(hz, level_dbm0), 8000),
            hz,
            heard: Vec::new(),
            headers: Vec::new(),
        }
    }

    fn send(&mut self, worker: &mut Worker, n: u16) -> Option<(u16, SocketAddr, Vec<u8>)> {
        let mut samples = [0; 160];
        self.tone.fill(&mut samples);
        let code = if self.format.codec == Codec::Pcma {
            crate::codec::g711::to_a
        } else {
            crate::codec::g711::to_mu
        };
        let mut bytes = packet(u32::from(self.port), self.format.pt_in, n)[..12].to_vec();
        bytes.extend(samples.iter().map(|&sample| code(sample)));
        worker.rtp(at(u64::from(n) * 20), self.port, &self.address, &bytes)
    }

    fn hear(&mut self, bytes: &[u8]) {
        let decode = if self.format.codec == Codec::Pcma {
            crate::codec::g711::from_a
        } else {
            crate::codec::g711::from_mu
        };
        self.headers.push(read(bytes));
        self.heard.extend(bytes[12..].iter().map(|&code| decode(code)));
    }

    /// Level of a frequency in the last 200 ms.
    fn level(&self, hz: f32) -> f32 {
        level_dbm0(&self.heard[self.heard.len() - 1600..], hz, 8000)
    }
}

/// Phones talk in a room for so many 20 ms turns; everything the engine sends is heard.
fn talk(worker: &mut Worker, phones: &mut [Phone], turns: std::ops::Range<u16>, silent: impl Fn(usize, u16) -> bool) {
    let hear = |phones: &mut [Phone], port: u16, bytes: &[u8]| {
        if let Some(phone) = phones.iter_mut().find(|phone| phone.port == port) {
            phone.hear(bytes);
        }
    };
    for n in turns {
        for sender in 0..phones.len() {
            if silent(sender, n) {
                continue;
            }
            if let Some((port, _, bytes)) = phones[sender].send(worker, n) {
                hear(phones, port, &bytes);
            }
        }
        for (_, port, _, bytes) in worker.run(at(u64::from(n) * 20 + 19)) {
            hear(phones, port, &bytes);
        }
    }
}

fn room_of(phones: &[Phone], matrix: Matrix) -> Worker {
    let mut worker = Worker::new();
    worker.apply(Plan::CloseRoom { room: ROOM });
    worker.apply(Plan::OpenRoom {
        room: ROOM,
        matrix,
        rate: Rate::Narrow,
    });
    for phone in phones {
        worker.apply(open(
            phone.leg,
            phone.port,
            media(&phone.address, &[phone.format, keys(101, 101)]),
        ));
    }
    worker
}

#[test]
fn in_a_conference_each_hears_exactly_the_others_as_loud_as_they_speak() {
    for size in [3u16, 10] {
        let mut phones: Vec<_> = (0..size)
            .map(|n| Phone::new(n, if n % 2 == 0 { PCMU } else { PCMA }, -20.0))
            .collect();
        let mut worker = room_of(&phones, Matrix::Everyone);
        talk(&mut worker, &mut phones, 0..40, |_, _| false);
        for listener in &phones {
            for talker in &phones {
                let level = listener.level(talker.hz);
                if listener.leg == talker.leg {
                    assert!(level < -40.0, "{size}: hears itself at {level}");
                } else {
                    assert!((level + 20.0).abs() < 0.7, "{size}: {level}");
                }
            }
        }
    }
}

#[test]
fn a_hundred_members_of_which_three_talk_hear_the_three() {
    let mut phones: Vec<_> = (0..100)
        .map(|n| Phone::new(n, PCMU, if n < 3 { -10.0 } else { -90.0 }))
        .collect();
    let mut worker = room_of(&phones, Matrix::Everyone);
    talk(&mut worker, &mut phones, 0..40, |_, _| false);
    for listener in &phones[3..] {
        assert!((0..3).all(|n| (listener.level(phones[n].hz) + 10.0).abs() < 0.5));
    }
    let talking = worker
        .events
        .iter()
        .filter(|event| matches!(event, Event::Talking { talking: true, .. }))
        .count();
    assert_eq!(talking, 3);
}

#[test]
fn whisper_selective_mute_and_listening_follow_the_matrix() {
    // Customer 0, agent 1, supervisor 2: the supervisor hears both, is heard by the agent 6 dB down, never by the customer.
    let mut phones: Vec<_> = (0..3).map(|n| Phone::new(n, PCMU, -15.0)).collect();
    let mut worker = room_of(&phones, Matrix::Everyone);
    let edge = |from: usize, to: usize, gain| Edge {
        from: Source::Leg(phones[from].leg),
        to: phones[to].leg,
        gain: Some(gain),
    };
    worker.apply(Plan::SetEdges {
        room: ROOM,
        edges: vec![edge(2, 0, Gain::MUTE), edge(2, 1, Gain::from_db(-6.0))],
    });
    talk(&mut worker, &mut phones, 0..40, |_, _| false);
    let level = |listener: usize, talker: usize| phones[listener].level(phones[talker].hz);
    assert!((level(0, 1) + 15.0).abs() < 0.5 && level(0, 2) < -60.0);
    assert!((level(1, 0) + 15.0).abs() < 0.5 && (level(1, 2) + 21.0).abs() < 0.5);
    assert!((level(2, 0) + 15.0).abs() < 0.5 && (level(2, 1) + 15.0).abs() < 0.5);
}

#[test]
fn a_muted_member_hears_and_a_deaf_one_is_heard() {
    let mut phones: Vec<_> = (0..4).map(|n| Phone::new(n, PCMU, -15.0)).collect();
    let mut worker = room_of(&phones, Matrix::Everyone);
    let restrict = |n: usize, muted, deaf| Plan::Restrict {
        leg: phones[n].leg,
        muted,
        deaf,
    };
    worker.apply(restrict(0, true, false));
    worker.apply(restrict(1, false, true));
    talk(&mut worker, &mut phones, 0..40, |_, _| false);
    for (listener, hears) in [(0, [1, 2, 3].as_slice()), (1, &[]), (2, &[1, 3]), (3, &[1, 2])] {
        for talker in 0..4 {
            let level = phones[listener].level(phones[talker].hz);
            match hears.contains(&talker) {
                true => assert!((level + 15.0).abs() < 0.7, "{listener} hears {talker} at {level}"),
                false => assert!(level < -40.0, "{listener} hears {talker} at {level}"),
            }
        }
    }
    assert!(
        phones.iter().all(|phone| phone.headers.len() >= 38),
        "silence is sent too"
    );
}

#[test]
fn two_devices_without_a_common_codec_are_transcoded() {
    let mut phones = vec![Phone::new(0, PCMU, -10.0), Phone::new(1, PCMA, -10.0)];
    let mut worker = room_of(&phones, Matrix::Everyone);
    talk(&mut worker, &mut phones, 0..40, |_, _| false);
    assert!((phones[0].level(phones[1].hz) + 10.0).abs() < 0.3);
    assert!((phones[1].level(phones[0].hz) + 10.0).abs() < 0.3);
    assert!(
        phones[0].headers.iter().all(|header| header.pt == 0) && phones[1].headers.iter().all(|header| header.pt == 8)
    );
    // Key presses go along, with one timestamp each.
    let press = |n, payload: [u8; 4]| {
        [
            &packet(20_000, 101, n)[..4],
            &9000u32.to_be_bytes(),
            &20_000u32.to_be_bytes(),
            &payload,
        ]
        .concat()
    };
    let first = worker
        .rtp(at(800), 20_000, &phones[0].address, &press(40, [5, 10, 0, 160]))
        .unwrap();
    let second = worker
        .rtp(at(820), 20_000, &phones[0].address, &press(41, [5, 0x8a, 1, 64]))
        .unwrap();
    assert_eq!(
        (first.0, read(&first.2).pt, &first.2[12..]),
        (20_002, 101, &[5, 10, 0, 160][..])
    );
    assert_eq!(read(&first.2).timestamp, read(&second.2).timestamp);
}

#[test]
fn a_device_that_switches_to_a_codec_its_partner_lacks_is_transcoded_from_then_on() {
    let mut phones = vec![Phone::new(0, PCMU, -10.0), Phone::new(1, PCMU, -10.0)];
    let mut worker = Worker::new();
    worker.apply(open(
        phones[0].leg,
        phones[0].port,
        media(&phones[0].address, &[PCMU, PCMA]),
    ));
    worker.apply(open(phones[1].leg, phones[1].port, media(&phones[1].address, &[PCMU])));
    talk(&mut worker, &mut phones, 0..20, |_, _| false);
    phones[0].format = PCMA;
    talk(&mut worker, &mut phones, 20..60, |_, _| false);
    assert!((phones[1].level(phones[0].hz) + 10.0).abs() < 0.3);
    assert_stream_is_gapless(&phones[1]);
}

fn assert_stream_is_gapless(phone: &Phone) {
    for pair in phone.headers.windows(2) {
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!((160..=480).contains(&step), "{step}");
    }
}

#[test]
fn a_call_becomes_a_conference_and_a_call_again_in_one_stream() {
    let mut phones: Vec<_> = (0..3).map(|n| Phone::new(n, PCMU, -20.0)).collect();
    let mut worker = room_of(&phones[..2], Matrix::Everyone);
    talk(&mut worker, &mut phones[..2], 0..30, |_, _| false);
    assert!(
        phones[0].headers.len() == 30 && worker.engine.poll_timeout().unwrap() >= at(1000),
        "a pair is relayed"
    );
    worker.engine.apply(
        at(600),
        open(phones[2].leg, phones[2].port, media(&phones[2].address, &[PCMU])),
    );
    talk(&mut worker, &mut phones, 30..70, |_, _| false);
    assert!((phones[0].level(phones[2].hz) + 20.0).abs() < 0.7 && (phones[0].level(phones[1].hz) + 20.0).abs() < 0.7);
    worker.engine.apply(at(1400), Plan::CloseLeg { leg: phones[2].leg });
    talk(&mut worker, &mut phones[..2], 70..100, |_, _| false);
    assert!((phones[0].level(phones[1].hz) + 20.0).abs() < 0.7);
    assert_stream_is_gapless(&phones[0]);
    assert_stream_is_gapless(&phones[1]);
}

#[test]
fn a_tone_in_a_mix_survives_five_per_cent_loss() {
    let mut phones: Vec<_> = (0..3)
        .map(|n| Phone::new(n, PCMU, if n == 0 { -10.0 } else { -90.0 }))
        .collect();
    let mut worker = room_of(&phones, Matrix::Everyone);
    talk(&mut worker, &mut phones, 0..200, |sender, n| sender == 0 && n % 20 == 7);
    // 200 ms hold half a lost frame on average; concealed, the tone must be as loud as sent.
    assert!(
        (phones[1].level(phones[0].hz) + 10.0).abs() < 1.0,
        "{}",
        phones[1].level(phones[0].hz)
    );
    assert!(
        phones[1].heard[1600..]
            .chunks(160)
            .all(|frame| frame.iter().any(|&s| s.abs() > 2000)),
        "a hole in the tone"
    );
}
