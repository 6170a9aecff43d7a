//! Real sockets on loopback, by epoll and by io_uring. Engine and switch are played by closures where they are not what is tested.

mod lines;

use super::sockets::Sockets;
use super::*;
use crate::epoll::{Epoll, Interest};
use crate::files::FileSettings;
use lines::*;
use media::plan::{Audience, Codec, Format, Latch, Matrix, Rate, Sound};
use media::rtp::RtpHeader;
use media::tone::Tone;
use media::{Forward, LegId, LegMedia, LegStats, OpenLeg, PlayerId, RoomId};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// Each of these is a test of its own in both ways.
macro_rules! in_both_ways {
    ($($name:ident,)*) => {
        mod by_epoll {
            $(#[test] fn $name() { super::run(super::Io::Epoll, super::$name); })*
        }
        mod by_uring {
            $(#[test] fn $name() { super::run(super::Io::Uring, super::$name); })*
        }
    };
}

in_both_ways! {
    binds_pairs_in_bunches_and_skips_what_others_hold,
    what_came_before_a_port_was_in_use_is_thrown_away,
    the_latest_of_what_comes_to_a_held_port_is_kept_for_its_leg,
    a_shut_port_costs_nothing_and_can_be_opened_again,
    a_port_is_watched_on_from_call_to_call_and_a_flood_between_them_is_left_to_the_kernel,
    forwards_a_batch_from_the_port_named_in_order,
    a_port_is_connected_to_its_device_and_hears_strangers_as_before,
    a_device_that_moves_is_followed_and_nothing_on_the_way_is_lost,
    a_device_that_is_deaf_for_a_while_is_sent_to_again,
    a_burst_beyond_all_buffers_is_taken_in_order,
    nothing_overtakes_what_waits_where_a_port_is_connected,
    what_a_device_says_after_its_port_has_gone_to_another_one_does_not_reach_the_next_call,
    a_wait_ends_however_many_packets_come_meanwhile,
    calls_go_on_when_a_ring_fails,
    bursts_of_many_devices_are_taken_in_order,
    what_is_on_its_way_to_one_device_does_not_go_to_the_next,
    what_comes_to_a_connected_port_after_its_call_does_not_reach_the_next_one,
    there_are_no_more_lines_than_are_allowed_and_a_call_gives_its_own_back,
    nobody_else_can_bind_a_port_that_is_connected,
    rtcp_has_the_odd_port,
    oversized_packets_are_counted_and_not_handed_on,
    two_phones_hear_each_other_and_no_stranger,
    what_a_device_says_before_its_leg_is_open_is_heard,
    late_packets_of_a_call_do_not_reach_the_next_one_on_its_port,
    a_tone_comes_as_one_packet_for_each_tick,
    exhaustion_is_said_after_what_could_be_bound,
    a_worker_survives_two_panics_and_not_three,
    a_worker_that_is_not_there_takes_no_plan,
    a_panic_loses_the_packet_it_was_about_and_no_other,
}

thread_local! {
    static IO: Cell<Io> = const { Cell::new(Io::Epoll) };
}

fn run(io: Io, test: fn()) {
    if io == Io::Uring
        && let Err(refusal) = super::ring::Ring::probe()
    {
        println!("SKIPPED: the kernel gives no io_uring: {refusal}");
        return;
    }
    IO.set(io);
    test();
}

/// A loopback address of this process and way alone, so that port numbers are never somebody else's.
fn here() -> IpAddr {
    let [_, b, c, d] = std::process::id().to_be_bytes();
    let way = if IO.get() == Io::Uring { 128 } else { 64 };
    Ipv4Addr::new(127, way + b % 64, c, d.max(1)).into()
}

/// A range of the test's own: tests run beside each other.
fn plain(ports: std::ops::Range<u32>) -> (Plain, Bell, Arc<RtpCounters>) {
    plain_with(ports, 1)
}

/// With so many lines.
fn plain_with(ports: std::ops::Range<u32>, lines: usize) -> (Plain, Bell, Arc<RtpCounters>) {
    let (bell, counters) = (Bell::new().unwrap(), Arc::new(RtpCounters::default()));
    (
        Plain::new((here(), None), ports, (IO.get(), lines), &bell, counters.clone()).unwrap(),
        bell,
        counters,
    )
}

fn phone() -> UdpSocket {
    let phone = UdpSocket::bind((here(), 0)).unwrap();
    phone.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    phone
}

/// Port, sender and packet.
type Got = (u16, SocketAddr, Vec<u8>);

/// One wait of at most five seconds; what came, with each packet returned to `forward`.
fn wait(sockets: &mut Plain, forward: Option<(u16, SocketAddr)>) -> Vec<Got> {
    wait_for(sockets, Duration::from_secs(5), forward)
}

fn wait_for(sockets: &mut Plain, limit: Duration, forward: Option<(u16, SocketAddr)>) -> Vec<Got> {
    let (mut got, limit) = (Vec::new(), Some(limit));
    let each = &mut |port: u16, source: SocketAddr, buffer: &mut [u8], length: usize| {
        got.push((port, source, buffer[..length].to_vec()));
        forward.map(|(port, to)| Forward {
            port,
            to,
            range: 0..length,
        })
    };
    sockets.wait(limit, each).unwrap();
    got
}

fn binds_pairs_in_bunches_and_skips_what_others_hold() {
    let taken = UdpSocket::bind((here(), 21_003)).unwrap();
    let (mut sockets, _bell, counters) = plain(21_000..21_010);
    assert_eq!(sockets.bind(2), [21_000, 21_004], "21003 is somebody's");
    assert_eq!(sockets.bind(5), [21_006, 21_008], "and no more");
    assert!(sockets.bind(1).is_empty());
    assert_eq!(counters.ports_bound.value(), 4);
    drop(taken);
}

fn what_came_before_a_port_was_in_use_is_thrown_away() {
    let (mut sockets, _bell, counters) = plain(21_100..21_104);
    sockets.bind(2);
    let (phone, port) = (phone(), SocketAddr::from((here(), 21_100)));
    for _ in 0..20 {
        phone.send_to(b"late packet of the last call", port).unwrap();
    }
    sockets.open(21_100, &mut |_, _, _, _| None);
    phone.send_to(b"first packet of this call", port).unwrap();
    let got = wait(&mut sockets, None);
    assert_eq!(
        got,
        [(
            21_100,
            phone.local_addr().unwrap(),
            b"first packet of this call".to_vec()
        )]
    );
    assert_eq!((counters.stale.value(), counters.packets_in.value()), (20, 1));
}

fn the_latest_of_what_comes_to_a_held_port_is_kept_for_its_leg() {
    let (mut sockets, bell, counters) = plain(22_100..22_104);
    sockets.bind(2);
    let (phone, port) = (phone(), SocketAddr::from((here(), 22_100)));
    phone.send_to(b"late packet of the last call", port).unwrap();
    sockets.hold(22_100);
    for n in 0..20u8 {
        phone.send_to(&[n; 20], port).unwrap();
        assert_eq!(wait(&mut sockets, None), [], "nobody is there yet");
    }
    let mut got = Vec::new();
    sockets.open(22_100, &mut |port, source, buffer: &mut [u8], length| {
        assert_eq!((port, source, length), (22_100, phone.local_addr().unwrap(), 20));
        got.push(buffer[0]);
        None
    });
    assert_eq!(got, (4..20).collect::<Vec<u8>>());
    assert_eq!((counters.stale.value(), counters.packets_in.value()), (5, 20));
    phone.send_to(&[20; 20], port).unwrap();
    assert_eq!(wait(&mut sockets, None).len(), 1);
    sockets.shut(22_100);
    sockets.hold(22_100);
    sockets.shut(22_100);
    phone.send_to(&[21; 20], port).unwrap();
    bell.ring();
    assert_eq!(wait(&mut sockets, None), []);
    assert_eq!(counters.ports_in_use.value(), 0);
}

fn a_shut_port_costs_nothing_and_can_be_opened_again() {
    let (mut sockets, bell, counters) = plain(21_200..21_204);
    sockets.bind(2);
    sockets.open(21_200, &mut |_, _, _, _| None);
    sockets.shut(21_200);
    let (phone, port) = (phone(), SocketAddr::from((here(), 21_200)));
    phone.send_to(b"nobody listens", port).unwrap();
    bell.ring();
    assert_eq!(wait(&mut sockets, None), [], "the bell woke us, not the packet");
    sockets.open(21_200, &mut |_, _, _, _| None);
    phone.send_to(b"again", port).unwrap();
    assert_eq!(wait(&mut sockets, None).len(), 1);
    assert_eq!((counters.ports_in_use.value(), counters.stale.value()), (1, 1));
}

fn a_port_is_watched_on_from_call_to_call_and_a_flood_between_them_is_left_to_the_kernel() {
    let (mut sockets, bell, counters) = plain(22_500..22_502);
    sockets.bind(1);
    let (phone, port) = (phone(), SocketAddr::from((here(), 22_500)));
    for call in 0..3 {
        sockets.hold(22_500);
        sockets.open(22_500, &mut |_, _, _, _| None);
        phone.send_to(b"sound", port).unwrap();
        assert_eq!(wait(&mut sockets, None).len(), 1, "call {call}");
        sockets.shut(22_500);
    }
    for _ in 0..10 {
        phone.send_to(b"flood", port).unwrap();
    }
    assert_eq!(wait(&mut sockets, None), [], "the first of them wakes us");
    bell.ring();
    for _ in 0..10 {
        assert_eq!(wait(&mut sockets, None), []);
        bell.ring();
    }
    assert_eq!((counters.stale.value(), counters.packets_in.value()), (1, 3));
    sockets.hold(22_500);
    assert_eq!(counters.stale.value(), 10);
    phone.send_to(b"report", (here(), 22_501)).unwrap();
    assert_eq!(
        wait(&mut sockets, None),
        [],
        "nobody reads reports of a port that is held"
    );
    sockets.open(22_500, &mut |_, _, _, _| panic!("nothing was kept"));
    for port in [22_500, 22_501] {
        phone.send_to(b"for this call", (here(), port)).unwrap();
        assert_eq!(wait(&mut sockets, None).len(), 1);
    }
}

fn forwards_a_batch_from_the_port_named_in_order() {
    let (mut sockets, _bell, counters) = plain(21_300..21_308);
    sockets.bind(4);
    sockets.open(21_300, &mut |_, _, _, _| None);
    let (a, b) = (phone(), phone());
    for n in 0..20u8 {
        a.send_to(&[n; 172], (here(), 21_300)).unwrap();
    }
    let mut received = 0;
    while received < 20 {
        received += wait(&mut sockets, Some((21_302, b.local_addr().unwrap()))).len();
    }
    for n in 0..20u8 {
        let mut buffer = [0; 500];
        let (length, from) = b.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..length], from),
            (&[n; 172][..], SocketAddr::from((here(), 21_302)))
        );
    }
    assert_eq!((counters.packets_in.value(), counters.packets_out.value()), (20, 20));
}

fn rtcp_has_the_odd_port() {
    let (mut sockets, _bell, _) = plain(21_400..21_402);
    sockets.bind(1);
    sockets.open(21_400, &mut |_, _, _, _| None);
    let phone = phone();
    phone.send_to(b"report", (here(), 21_401)).unwrap();
    assert_eq!(wait(&mut sockets, None)[0].0, 21_401);
    sockets.send(21_401, phone.local_addr().unwrap(), b"ours");
    assert_eq!(phone.recv_from(&mut [0; 10]).unwrap(), (4, (here(), 21_401).into()));
}

fn oversized_packets_are_counted_and_not_handed_on() {
    let (mut sockets, _bell, counters) = plain(21_500..21_502);
    sockets.bind(1);
    sockets.open(21_500, &mut |_, _, _, _| None);
    phone().send_to(&[0; 3_000], (here(), 21_500)).unwrap();
    assert_eq!(wait(&mut sockets, None), []);
    assert_eq!(counters.truncated.value(), 1);
}

#[test]
fn workers_share_the_range_in_whole_pairs() {
    let shares = |ports: RangeInclusive<u16>, count| (0..count).map(|n| share(&ports, n, count)).collect::<Vec<_>>();
    assert_eq!(
        shares(16_385..=16_399, 3),
        [16_386..16_390, 16_390..16_394, 16_394..16_400]
    );
    assert_eq!(share(&(16_384..=32_767), 0, 1), 16_384..32_768);
    assert_eq!(share(&(65_534..=65_535), 0, 1), 65_534..65_536);
    assert!(share(&(5_001..=5_002), 0, 1).is_empty(), "no whole pair");
}

// Whole workers, with their engine.

struct Call {
    workers: Workers,
    events: Receiver<Event>,
    bell: Bell,
    epoll: Epoll,
    counters: Arc<RtpCounters>,
}

fn workers(ports: RangeInclusive<u16>, random: impl FnMut() -> u64 + Send + Clone + 'static) -> Call {
    let (bell, epoll, counters) = (
        Bell::new().unwrap(),
        Epoll::new().unwrap(),
        Arc::new(RtpCounters::default()),
    );
    epoll.add(&bell, 0, Interest::Read).unwrap();
    let (post, events) = wake::channel(100, &bell);
    let settings = RtpSettings {
        address: here(),
        second: None,
        ports,
        workers: 1,
        io: IO.get(),
        lines: 100,
        cores: vec![],
    };
    let engine = EngineConfig { allow_loopback: true };
    let random = |_| -> Random { Box::new(random.clone()) };
    let workers = Workers::start(&settings, engine, random, System::start(), &post, no_files(), &counters).unwrap();
    Call {
        workers,
        events,
        bell,
        epoll,
        counters,
    }
}

fn no_files() -> Files {
    Files::start(FileSettings::default(), Arc::default()).unwrap()
}

impl Call {
    fn tell(&mut self, plan: Plan) {
        self.workers.submit(WorkerId(0), plan).unwrap();
        self.workers.wake();
    }

    /// The next event within five seconds.
    fn event(&mut self) -> Event {
        loop {
            if let Ok(event) = self.events.try_recv() {
                return event;
            }
            let mut ready = Vec::new();
            self.epoll.wait(&mut ready, Some(Duration::from_secs(5))).unwrap();
            assert!(!ready.is_empty(), "the worker should have said something");
            self.bell.hear();
        }
    }

    /// Binds pairs and gives their ports. Since plans are obeyed in order, all plans before it have been then.
    fn bind(&mut self, count: u16) -> Vec<u16> {
        self.tell(Plan::BindPorts { count });
        loop {
            if let Event::PortsBound { ports, .. } = self.event() {
                return ports;
            }
        }
    }

    /// A room of its own for two phones, ready to be spoken in.
    fn connect(&mut self, room: u64, ports: [u16; 2], phones: [&UdpSocket; 2]) {
        let room = RoomId(room);
        self.tell(Plan::OpenRoom {
            room,
            matrix: Matrix::Everyone,
            rate: Rate::Narrow,
        });
        for ((port, phone), n) in ports.into_iter().zip(phones).zip(0..) {
            let media = LegMedia {
                remote: phone.local_addr().ok(),
                formats: [PCMU].into_iter().collect(),
                ..LegMedia::default()
            };
            let (leg, latch, media_timeout) = (LegId(room.0 * 2 + n), Latch::default(), None);
            self.tell(Plan::OpenLeg(Box::new(OpenLeg {
                leg,
                room,
                port,
                media,
                latch,
                media_timeout,
            })));
        }
        self.bind(1);
    }

    fn closed(&mut self, leg: u64) -> Box<LegStats> {
        self.tell(Plan::CloseLeg { leg: LegId(leg) });
        loop {
            match self.event() {
                Event::LegClosed {
                    leg: LegId(closed),
                    stats,
                    ..
                } if closed == leg => return stats,
                _ => {}
            }
        }
    }
}

const PCMU: Format = Format {
    pt_in: 0,
    pt_out: 0,
    codec: Codec::Pcmu,
};

/// 20 ms of G.711 as a phone sends it.
fn rtp(number: u16, sound: u8) -> Vec<u8> {
    let timestamp = u32::from(number) * 160;
    [
        &[0x80, 0][..],
        &number.to_be_bytes(),
        &timestamp.to_be_bytes(),
        &[0, 0, 0, 77],
        &[sound; 160],
    ]
    .concat()
}

fn heard(phone: &UdpSocket) -> (Vec<u8>, u16) {
    let mut buffer = [0; 500];
    let (length, from) = phone.recv_from(&mut buffer).expect("sound should have come");
    (buffer[12..length].to_vec(), from.port())
}

fn two_phones_hear_each_other_and_no_stranger() {
    let mut call = workers(21_600..=21_699, || 4);
    let ports = call.bind(2);
    let (a, b, stranger) = (phone(), phone(), phone());
    call.connect(1, [ports[0], ports[1]], [&a, &b]);
    for n in 0..20 {
        stranger.send_to(&rtp(n, 3), (here(), ports[0])).unwrap();
        a.send_to(&rtp(n, 1), (here(), ports[0])).unwrap();
        assert_eq!(heard(&b), (vec![1; 160], ports[1]));
        b.send_to(&rtp(n, 2), (here(), ports[1])).unwrap();
        assert_eq!(heard(&a), (vec![2; 160], ports[0]));
    }
    assert_eq!((call.closed(2).strangers, call.closed(3).received), (20, 20));
    assert_eq!(
        (call.counters.packets_in.value(), call.counters.packets_out.value()),
        (60, 40)
    );
    assert_eq!(call.counters.ports_in_use.value(), 0);
}

fn what_a_device_says_before_its_leg_is_open_is_heard() {
    let mut call = workers(22_200..=22_299, || 4);
    let ports = call.bind(2);
    let (a, b) = (phone(), phone());
    ports.iter().for_each(|&port| call.tell(Plan::HoldPort { port }));
    while call.counters.ports_in_use.value() < 2 {
        std::thread::yield_now();
    }
    for n in 0..3 {
        b.send_to(&rtp(n, 7), (here(), ports[1])).unwrap();
    }
    while call.counters.packets_in.value() < 3 {
        std::thread::yield_now();
    }
    call.connect(1, [ports[0], ports[1]], [&a, &b]);
    for _ in 0..3 {
        assert_eq!(heard(&a), (vec![7; 160], ports[0]));
    }
    assert_eq!(call.counters.stale.value(), 0);
    assert_eq!((call.closed(2).sent, call.closed(3).received), (3, 3));
}

fn late_packets_of_a_call_do_not_reach_the_next_one_on_its_port() {
    let mut call = workers(21_700..=21_799, || 4);
    let ports = call.bind(2);
    let (a, b, c, d) = (phone(), phone(), phone(), phone());
    call.connect(1, [ports[0], ports[1]], [&a, &b]);
    call.closed(2);
    call.closed(3);
    for n in 0..5 {
        a.send_to(&rtp(n, 1), (here(), ports[0])).unwrap();
    }
    call.connect(2, [ports[0], ports[1]], [&c, &d]);
    c.send_to(&rtp(0, 9), (here(), ports[0])).unwrap();
    assert_eq!(heard(&d), (vec![9; 160], ports[1]));
    assert_eq!(call.counters.stale.value(), 5);
    assert_eq!(call.closed(4).strangers, 0);
}

fn a_tone_comes_as_one_packet_for_each_tick() {
    let mut call = workers(21_800..=21_899, || 4);
    let ports = call.bind(2);
    let (a, b) = (phone(), phone());
    call.connect(1, [ports[0], ports[1]], [&a, &b]);
    let sound = Sound::Tone(Tone::milliwatt());
    call.tell(Plan::Play {
        room: RoomId(1),
        player: PlayerId(1),
        sound,
        to: Audience::Room,
    });
    let packets: Vec<RtpHeader> = (0..10).map(|_| received(&a)).collect();
    for pair in packets.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(160));
    }
}

fn received(phone: &UdpSocket) -> RtpHeader {
    let mut buffer = [0; 500];
    let length = phone.recv(&mut buffer).expect("sound should have come");
    RtpHeader::parse(&buffer[..length]).unwrap()
}

fn exhaustion_is_said_after_what_could_be_bound() {
    let mut call = workers(21_900..=21_903, || 4);
    call.tell(Plan::BindPorts { count: 5 });
    let worker = WorkerId(0);
    assert_eq!(
        call.event(),
        Event::PortsBound {
            worker,
            ports: vec![21_900, 21_902]
        }
    );
    assert_eq!(call.event(), Event::PortsExhausted { worker });
}

fn a_worker_survives_two_panics_and_not_three() {
    let mut call = workers(21_950..=21_999, || panic!("a fault of the engine"));
    let ports = call.bind(3);
    let open = |n: u64| {
        let (leg, room, latch, media_timeout) = (LegId(n), RoomId(1), Latch::default(), None);
        let port = ports[n as usize];
        Plan::OpenLeg(Box::new(OpenLeg {
            leg,
            room,
            port,
            media: LegMedia::default(),
            latch,
            media_timeout,
        }))
    };
    call.tell(Plan::OpenRoom {
        room: RoomId(1),
        matrix: Matrix::Everyone,
        rate: Rate::Narrow,
    });
    call.tell(open(0));
    call.tell(open(1));
    call.bind(1);
    assert_eq!(call.counters.panics.value(), 2);
    call.tell(open(2));
    let until = std::time::Instant::now() + Duration::from_secs(5);
    let is_gone = |sent: Result<(), Refused<Plan>>| matches!(sent, Err(Refused::Gone(_)));
    while !is_gone(call.workers.submit(WorkerId(0), Plan::BindPorts { count: 0 })) {
        call.workers.wake();
        assert!(std::time::Instant::now() < until, "the worker should have ended");
        std::thread::yield_now();
    }
    assert_eq!(call.counters.panics.value(), 3);
}

fn a_worker_that_is_not_there_takes_no_plan() {
    let mut call = workers(21_998..=21_999, || 4);
    let plan = Plan::BindPorts { count: 1 };
    assert_eq!(call.workers.submit(WorkerId(1), plan.clone()), Err(Refused::Gone(plan)));
}

fn a_panic_loses_the_packet_it_was_about_and_no_other() {
    let (mut sockets, _bell, _) = plain(22_300..22_302);
    sockets.bind(1);
    sockets.open(22_300, &mut |_, _, _, _| None);
    let (phone, to) = (phone(), phone());
    phone.send_to(b"one", (here(), 22_300)).unwrap();
    phone.send_to(b"two", (here(), 22_300)).unwrap();
    let each: &mut super::sockets::Each<'_> = &mut |_, _, _, _| panic!("the test's own panic");
    let wait_once = std::panic::AssertUnwindSafe(|| sockets.wait(Some(Duration::from_secs(5)), each));
    assert!(std::panic::catch_unwind(wait_once).is_err());
    assert_eq!(wait(&mut sockets, Some((22_300, to.local_addr().unwrap()))).len(), 1);
    let mut buffer = [0; 100];
    let length = to.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"two");
}

/// The cores that threads of this name may run on, as the system writes them.
fn cores_of_threads(name: &str) -> Vec<String> {
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let paths = tasks.map(|task| task.unwrap().path());
    let named = paths.filter(|path| read(path.join("comm")).trim() == name);
    let allowed = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        line.unwrap_or_default().trim().to_owned()
    };
    named.map(|path| allowed(read(path.join("status")))).collect()
}

#[test]
fn workers_run_on_the_cores_they_are_given() {
    let all = core_affinity::get_core_ids().unwrap();
    let (bell, core) = (Bell::new().unwrap(), all.last().unwrap().id);
    let (post, _events) = wake::channel(8, &bell);
    let settings = RtpSettings {
        address: here(),
        second: None,
        ports: 22_500..=22_599,
        // More than any other test here starts: the last of them has a name of its own.
        workers: 9,
        io: IO.get(),
        lines: 100,
        cores: vec![core],
    };
    let random = |_| -> Random { Box::new(|| 4) };
    let (config, clock, files) = (EngineConfig::default(), System::start(), no_files());
    let _workers = Workers::start(&settings, config, random, clock, &post, files, &Arc::default()).unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(5);
    while cores_of_threads("media-8") != [core.to_string()] {
        assert!(std::time::Instant::now() < until, "{:?}", cores_of_threads("media-8"));
        std::thread::yield_now();
    }
}

#[test]
fn the_end_of_an_idle_worker_is_noticed() {
    let bell = Bell::new().unwrap();
    let (post, _events) = wake::channel(8, &bell);
    let settings = RtpSettings {
        address: here(),
        second: None,
        ports: 22_400..=22_403,
        workers: 2,
        io: IO.get(),
        lines: 100,
        cores: vec![],
    };
    let random = |id: WorkerId| -> Random {
        Box::new(move || match id {
            WorkerId(1) => panic!("the test's own panic"),
            _ => 4,
        })
    };
    let config = EngineConfig::default();
    let mut workers = Workers::start(
        &settings,
        config,
        random,
        System::start(),
        &post,
        no_files(),
        &Arc::default(),
    )
    .unwrap();
    assert_eq!(workers.ended(), None);
    let room = RoomId(1);
    let (matrix, rate) = (Matrix::Everyone, Rate::Narrow);
    workers
        .submit(WorkerId(1), Plan::OpenRoom { room, matrix, rate })
        .unwrap();
    for leg in 1..=3 {
        let open = OpenLeg {
            leg: LegId(leg),
            room,
            port: 22_402,
            media: LegMedia::default(),
            latch: Latch::default(),
            media_timeout: None,
        };
        workers.submit(WorkerId(1), Plan::OpenLeg(Box::new(open))).unwrap();
        workers.wake();
    }
    let until = std::time::Instant::now() + Duration::from_secs(5);
    while workers.ended().is_none() && std::time::Instant::now() < until {
        std::thread::yield_now();
    }
    assert_eq!(workers.ended(), Some(WorkerId(1)));
}
