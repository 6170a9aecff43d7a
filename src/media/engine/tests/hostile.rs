//! Devices that send whatever they like, while control orders whatever it likes: every call returns, nothing goes to who is
//! not in a room, and of those who have left nothing is left.

use super::device::{FULL, G722, NOISE, OPUS, WIDE};
use super::*;
use crate::codec::OpusParameters;
use crate::file::{FileNews, FileOrder};
use crate::plan::{Audience, DtmfTo, Recorded, RecordingId, Side, StartRecord};
use crate::record::Recording;
use crate::srtp::{KeyPair, MasterKey, Suite};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;

const LEGS: u8 = 4;
const ROOMS: u8 = 3;

/// Packets that a tick of all legs makes at most, many times over: who waits for more waits for ever.
const MOST_PACKETS: usize = 10_000;

const PICTURE: Format = Format {
    pt_in: 96,
    pt_out: 99,
    codec: Codec::Other { id: 7, clock: 90_000 },
};

#[derive(Clone, Debug)]
enum Step {
    Order(Box<Plan>),
    Sends(Burst),
    Reports {
        leg: u8,
        from: From,
        rtp_port: bool,
        bytes: Vec<u8>,
    },
    /// So many milliseconds pass, in one step after which nothing is sent yet, or with all that is due in its time.
    Passes {
        ms: u16,
        late: bool,
    },
    /// The file thread does the next so many orders.
    Reads {
        orders: u8,
        samples: u16,
        last: bool,
    },
}

/// Where a packet says that it comes from.
#[derive(Copy, Clone, Debug)]
enum From {
    Device,
    ItsHost,
    Another,
    Stranger,
}

/// Packets that come at one moment.
#[derive(Clone, Debug)]
struct Burst {
    leg: u8,
    from: From,
    packets: u16,
    pts: Vec<u8>,
    ssrc: u8,
    sequence: Jump,
    timestamp: Jump,
    /// Of the payload; the payload itself is the number of the packet, or noise.
    length: usize,
    noise: Option<u8>,
    head: u8,
}

/// How a number goes on from packet to packet.
#[derive(Copy, Clone, Debug)]
enum Jump {
    By(i32),
    /// Anything, each time.
    Random,
}

fn leg_id(leg: u8) -> LegId {
    LegId(u64::from(leg) + 1)
}

fn port_of(leg: u8) -> u16 {
    20_000 + 2 * u16::from(leg)
}

fn address(leg: u8, port: u16) -> String {
    format!("192.0.2.{}:{}", leg + 1, port)
}

fn keypair() -> KeyPair {
    let key = |n: u8| MasterKey::new(Suite::ALL[0], &vec![n; Suite::ALL[0].master_len()]).unwrap();
    KeyPair {
        ours: key(1),
        theirs: key(2),
    }
}

fn formats() -> impl Strategy<Value = Vec<Format>> {
    let sound = vec(select(vec![PCMU, PCMA, G722, OPUS, WIDE, FULL, PICTURE]), 0..4);
    let beside = vec(select(vec![NOISE, keys(101, 101), keys(102, 96)]), 0..3);
    (sound, beside).prop_map(|(sound, beside)| [sound, beside].concat())
}

prop_compose! {
    fn media_of(leg: u8)(
        formats in formats(),
        port in select(vec![None, Some(0), Some(4_000), Some(4_000), Some(4_100)]),
        direction in select(vec![Direction::SendRecv, Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive]),
        (on_hold, rtcp_mux, dtx, secure) in (prop::bool::weighted(0.1), any::<bool>(), any::<bool>(), prop::bool::weighted(0.1)),
        (ptime_ms, maxptime_ms) in (any::<u8>(), select(vec![0, 0, 10, 40, 255])),
        (video, inband_dtmf) in (prop::bool::weighted(0.1), any::<bool>()),
    ) -> LegMedia {
        let remote = port.map(|port| addr(&address(leg, port)));
        LegMedia {
            remote,
            remote_rtcp: remote.map(|remote| match rtcp_mux {
                true => remote,
                false => SocketAddr::new(remote.ip(), remote.port() + 1),
            }),
            rtcp_mux,
            formats: formats.into_iter().collect(),
            direction,
            on_hold,
            ptime_ms,
            maxptime_ms,
            opus: OpusParameters { dtx, ..OpusParameters::default() },
            srtp: secure.then(|| Box::new(keypair())),
            video,
            inband_dtmf,
        }
    }
}

fn gain() -> impl Strategy<Value = Option<Gain>> {
    select(vec![
        None,
        Some(Gain::MUTE),
        Some(Gain::UNITY),
        Some(Gain::from_db(-6.0)),
        Some(Gain::from_db(24.0)),
    ])
}

fn sound() -> impl Strategy<Value = Sound> {
    let one = select(vec![
        Sound::Tone(Tone::milliwatt()),
        Sound::Tone(Tone::beep()),
        Sound::Silence(Duration::from_millis(60)),
        Sound::Prompt("hello".into()),
        Sound::Music("default".into()),
    ]);
    prop_oneof![3 => one.clone(), 1 => vec(one, 0..5).prop_map(Sound::Sequence)]
}

fn order() -> impl Strategy<Value = Plan> {
    let leg = || (0..LEGS).prop_map(leg_id);
    let room = || (0..ROOMS).prop_map(|room| RoomId(u64::from(room)));
    let player = || (0..4u64).prop_map(PlayerId);
    let recording = || (0..3u64).prop_map(RecordingId);
    let side = || select(vec![None, Some(Side::Left), Some(Side::Right)]);
    let timeout = || select(vec![None, Some(Duration::from_secs(2))]);
    let open = (0..LEGS).prop_flat_map(move |leg| {
        (room(), media_of(leg), timeout()).prop_map(move |(room, media, media_timeout)| {
            let (leg, port, latch) = (leg_id(leg), port_of(leg), Latch::SdpHost);
            Plan::OpenLeg(Box::new(OpenLeg {
                leg,
                room,
                port,
                media,
                latch,
                media_timeout,
            }))
        })
    });
    let update = (0..LEGS).prop_flat_map(move |leg| {
        (media_of(leg), timeout()).prop_map(move |(media, media_timeout)| {
            let leg = leg_id(leg);
            Plan::UpdateLeg {
                leg,
                media,
                media_timeout,
            }
        })
    });
    let rates = select(vec![Rate::Narrow, Rate::Wide, Rate::Full]);
    let matrices = select(vec![Matrix::Everyone, Matrix::Everyone, Matrix::Nobody]);
    let source = prop_oneof![leg().prop_map(Source::Leg), player().prop_map(Source::Player)];
    let edge = (source, leg(), gain()).prop_map(|(from, to, gain)| Edge { from, to, gain });
    let audience = prop_oneof![
        Just(Audience::Room),
        leg().prop_map(Audience::Leg),
        Just(Audience::Edges)
    ];
    let of = prop_oneof![
        leg().prop_map(Recorded::Leg),
        room().prop_map(Recorded::Room),
        vec((leg(), select(vec![Side::Left, Side::Right])), 0..3).prop_map(|legs| Recorded::Sides(legs.into())),
    ];
    let keys_to = prop_oneof![Just(DtmfTo::Pair), leg().prop_map(DtmfTo::Leg), Just(DtmfTo::Nobody)];
    let digits = select(vec!["5", "12#", "*0A", "", "x"]);
    let held = (0..400u64).prop_map(Duration::from_millis);
    let rooms = prop_oneof![
        3 => (room(), matrices, rates).prop_map(|(room, matrix, rate)| Plan::OpenRoom { room, matrix, rate }),
        1 => room().prop_map(|room| Plan::CloseRoom { room }),
        2 => (room(), vec(edge, 0..4)).prop_map(|(room, edges)| Plan::SetEdges { room, edges }),
        1 => (room(), prop::option::of(leg()), any::<bool>()).prop_map(|(room, leg, on)| Plan::ControlLevel { room, leg, on }),
        3 => (room(), player(), sound(), audience).prop_map(|(room, player, sound, to)| Plan::Play { room, player, sound, to }),
        1 => (room(), player()).prop_map(|(room, player)| Plan::StopPlay { room, player }),
    ];
    let legs = prop_oneof![
        5 => open,
        3 => update,
        1 => leg().prop_map(|leg| Plan::CloseLeg { leg }),
        2 => (leg(), room()).prop_map(|(leg, room)| Plan::MoveLeg { leg, room }),
        1 => (leg(), any::<bool>(), any::<bool>()).prop_map(|(leg, muted, deaf)| Plan::Restrict { leg, muted, deaf }),
        2 => (leg(), digits, held).prop_map(|(leg, digits, duration)| Plan::SendDtmf { leg, digits: digits.into(), duration }),
        1 => (leg(), keys_to).prop_map(|(leg, to)| Plan::SetDtmf { leg, to }),
    ];
    let tapes = prop_oneof![
        3 => (recording(), of).prop_map(|(recording, of)| {
            Plan::StartRecord(Box::new(StartRecord { recording, name: "tape".into(), of }))
        }),
        1 => (recording(), leg(), side()).prop_map(|(recording, leg, side)| Plan::RecordLeg { recording, leg, side }),
        1 => (recording(), any::<bool>()).prop_map(|(recording, paused)| Plan::PauseRecord { recording, paused }),
        1 => recording().prop_map(|recording| Plan::StopRecord { recording }),
        1 => (any::<u64>(), vec(leg(), 0..4)).prop_map(|(token, legs)| Plan::Inspect { token, legs }),
    ];
    prop_oneof![3 => rooms, 5 => legs, 2 => tapes]
}

fn from() -> impl Strategy<Value = From> {
    select(vec![
        From::Device,
        From::Device,
        From::Device,
        From::Device,
        From::ItsHost,
        From::Another,
        From::Stranger,
    ])
}

fn jump(usual: i32) -> impl Strategy<Value = Jump> {
    prop_oneof![
        4 => Just(Jump::By(usual)),
        1 => any::<i32>().prop_map(Jump::By),
        1 => (-300..300).prop_map(Jump::By),
        1 => Just(Jump::Random),
    ]
}

prop_compose! {
    fn burst()(
        leg in 0..LEGS,
        from in from(),
        packets in prop_oneof![4 => 1u16..4, 1 => 1u16..300],
        pts in vec(select(vec![0u8, 0, 8, 9, 96, 97, 98, 101, 102, 107, 107, 13, 33, 127]), 1..4),
        ssrc in prop_oneof![4 => Just(0u8), 1 => 0u8..3],
        sequence in jump(1),
        timestamp in jump(160),
        length in prop_oneof![3 => Just(160usize), 1 => select(vec![0, 1, 2, 3, 4, 12, 320, 1_400, 2_036]), 1 => 0usize..700],
        noise in prop::option::of(any::<u8>()),
        head in prop_oneof![6 => Just(0x80u8), 1 => 0x80u8..=0xbf, 1 => any::<u8>()],
    ) -> Burst {
        Burst { leg, from, packets, pts, ssrc, sequence, timestamp, length, noise, head }
    }
}

/// Compounds that may lie about how long they are, what they hold and whom they are about.
fn compound() -> impl Strategy<Value = Vec<u8>> {
    let packet = (
        0u8..32,
        192u8..=223,
        any::<bool>(),
        vec(any::<u8>(), 0..60),
        any::<u16>(),
    )
        .prop_map(|(count, kind, honest, mut body, lie)| {
            body.resize(body.len() / 4 * 4, 0);
            let words = if honest { (body.len() / 4) as u16 } else { lie };
            let [high, low] = words.to_be_bytes();
            [&[0x80 | count, kind, high, low], &body[..]].concat()
        });
    let ours = (0u32..3, any::<u32>(), any::<u32>()).prop_map(|(ssrc, last_sr, delay)| report(ssrc, 1, last_sr, delay));
    prop_oneof![
        2 => vec(packet, 1..4).prop_map(|packets| packets.concat()),
        2 => ours,
        1 => vec(any::<u8>(), 0..PACKET_BUFFER),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => order().prop_map(|plan| Step::Order(Box::new(plan))),
        8 => burst().prop_map(Step::Sends),
        2 => (0..LEGS, from(), any::<bool>(), compound())
            .prop_map(|(leg, from, rtp_port, bytes)| Step::Reports { leg, from, rtp_port, bytes }),
        6 => (prop_oneof![4 => 1u16..60, 1 => 0u16..3_000], prop::bool::weighted(0.2))
            .prop_map(|(ms, late)| Step::Passes { ms, late }),
        2 => (1u8..20, 0u16..3_000, any::<bool>()).prop_map(|(orders, samples, last)| Step::Reads { orders, samples, last }),
    ]
}

struct Siege {
    worker: Worker,
    now: Mono,
    numbers: BTreeMap<(u8, u8), (u16, u32)>,
    random: Box<dyn FnMut(u64) -> u64>,
    orders: Vec<FileOrder>,
    begun: usize,
    recorded: usize,
}

impl Siege {
    fn new() -> Siege {
        let mut worker = Worker::new();
        worker.apply(Plan::CloseRoom { room: ROOM });
        Siege {
            worker,
            now: at(1),
            numbers: BTreeMap::new(),
            random: Box::new(super::device::random(11)),
            orders: Vec::new(),
            begun: 0,
            recorded: 0,
        }
    }

    fn take(&mut self, step: Step) {
        let sends = !matches!(step, Step::Passes { late: true, .. });
        match step {
            // A worker obeys many before it sends what came of them.
            Step::Order(plan) => return self.order(*plan),
            Step::Sends(burst) => self.send(&burst),
            Step::Reports {
                leg,
                from,
                rtp_port,
                bytes,
            } => self.report(leg, from, rtp_port, &bytes),
            Step::Passes { ms, late } => self.pass(Duration::from_millis(ms.into()), late),
            Step::Reads { orders, samples, last } => self.read(orders.into(), samples.into(), last),
        }
        if sends {
            self.transmit();
        }
        self.settle();
    }

    fn order(&mut self, plan: Plan) {
        self.begun += usize::from(matches!(plan, Plan::StartRecord(_)));
        self.worker.engine.apply(self.now, plan);
    }

    fn source(&self, leg: u8, from: From) -> String {
        match from {
            From::Device => address(leg, 4_000),
            From::ItsHost => address(leg, 9_000),
            From::Another => address((leg + 1) % LEGS, 4_000),
            From::Stranger => STRANGER.into(),
        }
    }

    fn send(&mut self, burst: &Burst) {
        let source = self.source(burst.leg, burst.from);
        for n in 0..burst.packets {
            let bytes = self.packet(burst, usize::from(n));
            let sent = self.worker.rtp(self.now, port_of(burst.leg), &source, &bytes);
            if let Some((port, to, _)) = sent {
                self.assert_known(port, to);
            }
        }
    }

    fn packet(&mut self, burst: &Burst, n: usize) -> Vec<u8> {
        let (sequence, timestamp) = self.numbers.entry((burst.leg, burst.ssrc)).or_default();
        match burst.sequence {
            Jump::By(step) => *sequence = sequence.wrapping_add(step as u16),
            Jump::Random => *sequence = (self.random)(1 << 16) as u16,
        }
        match burst.timestamp {
            Jump::By(step) => *timestamp = timestamp.wrapping_add(step as u32),
            Jump::Random => *timestamp = (self.random)(1 << 32) as u32,
        }
        let header = RtpHeader {
            marker: n == 0,
            pt: burst.pts[n % burst.pts.len()],
            sequence: *sequence,
            timestamp: *timestamp,
            ssrc: u32::from(burst.ssrc),
            payload: 12..12,
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes[0] = burst.head;
        let random = &mut self.random;
        bytes.extend((0..burst.length).map(|_| burst.noise.unwrap_or_else(|| random(256) as u8)));
        bytes
    }

    fn report(&mut self, leg: u8, from: From, rtp_port: bool, bytes: &[u8]) {
        let source = self.source(leg, from);
        match rtp_port {
            true => assert_eq!(self.worker.rtp(self.now, port_of(leg), &source, &as_rtcp(bytes)), None),
            false => self.worker.rtcp(self.now, port_of(leg), &source, bytes),
        }
    }

    fn pass(&mut self, time: Duration, late: bool) {
        let until = self.now + time;
        if late {
            self.now = until;
            return self.worker.engine.handle_timeout(until);
        }
        let mut again = 0;
        while let Some(due) = self.worker.engine.poll_timeout().filter(|&due| due <= until) {
            self.now = self.now.max(due);
            self.worker.engine.handle_timeout(self.now);
            self.transmit();
            // A press that is late is caught up with step by step.
            let is_due = self.worker.engine.poll_timeout().is_some_and(|next| next <= self.now);
            again = if is_due { again + 1 } else { 0 };
            assert!(again < 10, "it is due for ever");
        }
        self.now = until;
    }

    fn transmit(&mut self) {
        let mut buffer = [0; PACKET_BUFFER];
        for sent in 0.. {
            let Some(Transmit { port, to, len }) = self.worker.engine.poll_transmit(&mut buffer) else {
                break;
            };
            assert!(len <= PACKET_BUFFER && sent < MOST_PACKETS);
            self.assert_known(port, to);
        }
    }

    /// From a port of an open leg, to its host.
    fn assert_known(&self, port: u16, to: SocketAddr) {
        let leg = self.worker.engine.legs.iter().find(|(_, leg)| leg.port == port / 2 * 2);
        let (_, leg) = leg.unwrap_or_else(|| panic!("a packet leaves from {port}, where nobody is"));
        let host = addr(&address((leg.id.0 - 1) as u8, 1)).ip();
        assert!(to.ip() == host && to.port() != 0, "{:?} is sent to {to}", leg.id);
    }

    /// What was ordered of the file thread waits for it.
    fn settle(&mut self) {
        self.worker.drain_events();
        let is_told = |event: &Event| matches!(event, Event::Recorded { .. });
        self.recorded += self.worker.events.drain(..).filter(is_told).count();
        let orders = std::iter::from_fn(|| self.worker.engine.poll_file_order());
        self.orders.extend(orders);
        assert!(self.orders.len() < 2_000, "orders heap up");
    }

    fn read(&mut self, orders: usize, samples: usize, last: bool) {
        let count = orders.min(self.orders.len());
        for order in self.orders.drain(..count).collect::<Vec<_>>() {
            let news = match order {
                FileOrder::Read { stream, mut block } => {
                    block.resize(samples.min(block.capacity()), 1_000);
                    FileNews::Read { stream, block, last }
                }
                FileOrder::Write { recording, block } => FileNews::Written { recording, block },
                FileOrder::Finish { recording, .. } => FileNews::Recorded {
                    recording,
                    result: Box::new(Recording::default()),
                },
                FileOrder::Open { .. } | FileOrder::Close { .. } | FileOrder::Create { .. } => continue,
            };
            self.worker.engine.handle_file(news);
        }
    }

    /// All legs leave, and nothing of them is left; then the rooms go.
    fn end(mut self) {
        // Sound and reports wait to be sent to them.
        self.pass(Duration::from_secs(8), true);
        for leg in 0..LEGS {
            self.order(Plan::CloseLeg { leg: leg_id(leg) });
        }
        assert!(self.worker.engine.remembers_no_leg());
        for room in 0..ROOMS {
            let room = RoomId(room.into());
            self.order(Plan::CloseRoom { room });
            self.settle();
        }
        self.pass(Duration::from_secs(12), false);
        while !self.orders.is_empty() {
            self.read(1_000, 0, true);
            self.settle();
        }
        let engine = &self.worker.engine;
        assert!(engine.remembers_no_leg() && engine.rooms.is_empty() && engine.room_slots.is_empty());
        assert_eq!((engine.mixing, engine.poll_timeout()), (0, None));
        assert!(!engine.plays_a_prompt());
        assert_eq!(self.recorded, self.begun, "each recording is said to have ended, once");
    }
}

/// Bytes whose second says that they are RTCP.
fn as_rtcp(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().max(8), 0);
    (bytes[0], bytes[1]) = (bytes[0] & 0x3f | 0x80, bytes[1] & 0x1f | 0xc0);
    bytes
}

impl Engine {
    /// No leg, and nothing that was there for one.
    fn remembers_no_leg(&self) -> bool {
        let rooms = self.rooms.iter().all(|(_, room)| room.remembers_nobody());
        let none = self.legs.is_empty() && self.leg_slots.is_empty() && self.ports.iter().all(Option::is_none);
        let queues = self.reports.is_empty() && self.feedback.is_empty() && self.outbox.is_empty();
        rooms && none && queues && self.dialling.is_idle() && self.listeners.is_deaf()
    }

    fn plays_a_prompt(&self) -> bool {
        self.streams.is_used()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]
    #[test]
    fn whatever_devices_send_and_control_orders_each_call_returns_and_who_has_left_is_sent_nothing(
        steps in vec(step(), 1..150),
    ) {
        let mut siege = Siege::new();
        // Most of the time somebody is there.
        for room in 0..2 {
            let (room, matrix, rate) = (RoomId(room), Matrix::Everyone, Rate::Full);
            siege.take(Step::Order(Box::new(Plan::OpenRoom { room, matrix, rate })));
        }
        for leg in 0..3 {
            let (leg, port, media) = (leg_id(leg), port_of(leg), media(&address(leg, 4_000), &[PCMU, OPUS, G722, keys(101, 101)]));
            let (room, latch, media_timeout) = (RoomId(u64::from(leg.0 == 3)), Latch::SdpHost, None);
            siege.take(Step::Order(Box::new(Plan::OpenLeg(Box::new(OpenLeg { leg, room, port, media, latch, media_timeout })))));
        }
        for step in steps {
            siege.take(step);
        }
        siege.end();
    }
}
