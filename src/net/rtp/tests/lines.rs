//! Ports that are connected to their one device.

use super::*;
use crate::rtp::line::STEADY;
use socket2::{Domain, SockRef, Socket, Type};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

/// Sends to the phone, which hears it; what came meanwhile.
fn say(sockets: &mut Plain, port: u16, phone: &UdpSocket, packet: &[u8]) -> Vec<Got> {
    sockets.send(port, phone.local_addr().unwrap(), packet);
    let came = wait_for(sockets, Duration::ZERO, None);
    let mut buffer = [0; 100];
    let (length, from) = phone.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (packet, (here(), port).into()));
    came
}

/// The next so many packets; a wait may also end without one.
fn hear(sockets: &mut Plain, count: usize) -> Vec<Got> {
    let until = Instant::now() + Duration::from_secs(5);
    let mut got = Vec::new();
    while got.len() < count {
        got.extend(wait_for(sockets, Duration::from_secs(1), None));
        assert!(Instant::now() < until, "{count} packets should have come: {got:?}");
    }
    got
}

/// Until all that comes over the line of the port is the phone's for sure.
fn settle(sockets: &mut Plain, port: u16, phone: &UdpSocket) {
    let until = Instant::now() + Duration::from_secs(5);
    while !sockets.is_settled(port) {
        phone.send_to(b"sound", (here(), port)).unwrap();
        assert_eq!(hear(sockets, 1).len(), 1);
        assert!(Instant::now() < until, "it never settles");
    }
}

/// A second of sound to the phone; what came meanwhile.
fn speak(sockets: &mut Plain, port: u16, phone: &UdpSocket) -> Vec<Got> {
    (0..STEADY).flat_map(|n| say(sockets, port, phone, &[n; 20])).collect()
}

pub(super) fn a_port_is_connected_to_its_device_and_hears_strangers_as_before() {
    let (mut sockets, _bell, counters) = plain(22_600..22_604);
    sockets.bind(2);
    sockets.open(22_600, &mut |_, _, _, _| None);
    let (phone, stranger, port) = (phone(), phone(), SocketAddr::from((here(), 22_600)));
    let said = |phone: &UdpSocket, what: &[u8]| (22_600, phone.local_addr().unwrap(), what.to_vec());
    speak(&mut sockets, 22_600, &phone);
    assert_eq!(sockets.lines_left(), 0);
    for n in 0..5u8 {
        phone.send_to(&[n; 20], port).unwrap();
        assert_eq!(wait(&mut sockets, None), [said(&phone, &[n; 20])]);
        stranger.send_to(b"let me in", port).unwrap();
        assert_eq!(wait(&mut sockets, None), [said(&stranger, b"let me in")]);
        say(&mut sockets, 22_600, &phone, &[n; 20]);
        say(&mut sockets, 22_600, &stranger, &[n; 30]);
    }
    sockets.shut(22_600);
    phone.send_to(b"late packet of this call", port).unwrap();
    wait_for(&mut sockets, Duration::ZERO, None);
    assert_eq!((counters.send_failed.value(), sockets.lines_left()), (0, 1));
    sockets.open(22_600, &mut |_, _, _, _| None);
    phone.send_to(b"next call", port).unwrap();
    stranger.send_to(b"to you", port).unwrap();
    let got = hear(&mut sockets, 2);
    assert_eq!(got, [said(&phone, b"next call"), said(&stranger, b"to you")]);
}

pub(super) fn a_device_that_moves_is_followed_and_nothing_on_the_way_is_lost() {
    let (mut sockets, _bell, _) = plain(22_700..22_702);
    sockets.bind(1);
    sockets.open(22_700, &mut |_, _, _, _| None);
    let (before, after, port) = (phone(), phone(), SocketAddr::from((here(), 22_700)));
    speak(&mut sockets, 22_700, &before);
    settle(&mut sockets, 22_700, &before);
    for (n, (phone, to)) in [(&before, &after), (&after, &before), (&before, &after)]
        .into_iter()
        .enumerate()
    {
        let mut expected = Vec::new();
        for m in 0..10u8 {
            phone.send_to(&[m, n as u8], port).unwrap();
            to.send_to(&[m, n as u8], port).unwrap();
            expected.extend([phone, to].map(|from| (22_700, from.local_addr().unwrap(), vec![m, n as u8])));
        }
        let mut got = speak(&mut sockets, 22_700, to);
        assert_eq!(sockets.line_peer(22_700), Some(to.local_addr().unwrap()), "move {n}");
        got.extend(hear(&mut sockets, expected.len() - got.len()));
        got.sort();
        expected.sort();
        assert_eq!(got, expected);
        settle(&mut sockets, 22_700, to);
    }
    before.send_to(b"a straggler", port).unwrap();
    let got = hear(&mut sockets, 1);
    assert_eq!(got[0].1, before.local_addr().unwrap());
}

pub(super) fn a_device_that_is_deaf_for_a_while_is_sent_to_again() {
    let (mut sockets, _bell, counters) = plain(22_800..22_802);
    sockets.bind(1);
    sockets.open(22_800, &mut |_, _, _, _| None);
    let device = phone();
    let at = device.local_addr().unwrap();
    speak(&mut sockets, 22_800, &device);
    settle(&mut sockets, 22_800, &device);
    drop(device);
    for _ in 0..10 {
        (0..3).for_each(|_| sockets.send(22_800, at, b"nobody is there"));
        wait_for(&mut sockets, Duration::ZERO, None);
    }
    // Those of one look, in which the kernel says so.
    assert!(counters.send_failed.value() <= 2, "{}", counters.send_failed.value());
    let device = UdpSocket::bind(at).unwrap();
    device.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // That the kernel says once more that nobody was there costs no packet.
    for n in 0..5u8 {
        say(&mut sockets, 22_800, &device, &[n; 30]);
        device.send_to(&[n; 20], (here(), 22_800)).unwrap();
        let got = hear(&mut sockets, 1);
        assert_eq!(got, [(22_800, at, vec![n; 20])]);
    }
}

pub(super) fn a_burst_beyond_all_buffers_is_taken_in_order() {
    let (mut sockets, _bell, counters) = plain(23_100..23_102);
    sockets.bind(1);
    sockets.open(23_100, &mut |_, _, _, _| None);
    let (phone, port) = (phone(), SocketAddr::from((here(), 23_100)));
    speak(&mut sockets, 23_100, &phone);
    settle(&mut sockets, 23_100, &phone);
    SockRef::from(sockets.line_socket(23_100))
        .set_recv_buffer_size(4 << 20)
        .unwrap();
    for burst in 0..3 {
        let numbers: Vec<u16> = (0..700).collect();
        for n in &numbers {
            phone.send_to(&n.to_be_bytes(), port).unwrap();
        }
        phone.send_to(&[0; 3_000], port).unwrap();
        let mut got = Vec::new();
        while counters.truncated.value() == burst {
            got.extend(
                wait(&mut sockets, None)
                    .into_iter()
                    .map(|(_, _, what)| u16::from_be_bytes([what[0], what[1]])),
            );
        }
        assert_eq!(got, numbers, "burst {burst}");
    }
}

pub(super) fn nothing_overtakes_what_waits_where_a_port_is_connected() {
    let (mut sockets, _bell, counters) = plain(23_600..23_602);
    sockets.bind(1);
    sockets.open(23_600, &mut |_, _, _, _| None);
    let [one, other] = [phone(), phone()];
    for device in [&one, &other, &one] {
        (0..10).for_each(|n| assert_eq!(device.send_to(&[n], (here(), 23_600)).unwrap(), 1));
        for _ in 0..STEADY {
            sockets.send(23_600, device.local_addr().unwrap(), b"sound");
        }
        (10..30).for_each(|n| assert_eq!(device.send_to(&[n], (here(), 23_600)).unwrap(), 1));
        let got = hear(&mut sockets, 30).into_iter().map(|(_, _, what)| what[0]);
        assert_eq!(got.collect::<Vec<u8>>(), (0..30).collect::<Vec<u8>>());
    }
    assert_eq!(counters.ports_connected.value(), 1);
}

pub(super) fn what_a_device_says_after_its_port_has_gone_to_another_one_does_not_reach_the_next_call() {
    let (mut sockets, _bell, _) = plain(23_800..23_802);
    sockets.bind(1);
    let [before, after] = [phone(), phone()];
    sockets.open(23_800, &mut |_, _, _, _| None);
    speak(&mut sockets, 23_800, &before);
    settle(&mut sockets, 23_800, &before);
    (0..5).for_each(|n| assert_eq!(before.send_to(&[n], (here(), 23_800)).unwrap(), 1));
    for _ in 0..=STEADY {
        sockets.send(23_800, after.local_addr().unwrap(), b"sound");
    }
    assert_eq!(sockets.line_peer(23_800), Some(after.local_addr().unwrap()));
    sockets.shut(23_800);
    sockets.open(23_800, &mut |_, _, _, _| None);
    after.send_to(b"of the next call", (here(), 23_800)).unwrap();
    let got = hear(&mut sockets, 1);
    assert_eq!(got[0].2, b"of the next call");
    assert_eq!(wait_for(&mut sockets, Duration::ZERO, None), []);
}

pub(super) fn a_wait_ends_however_many_packets_come_meanwhile() {
    let (mut sockets, _bell, counters) = plain(23_900..23_902);
    sockets.bind(1);
    sockets.open(23_900, &mut |_, _, _, _| None);
    let (phone, port) = (phone(), SocketAddr::from((here(), 23_900)));
    let to = phone.local_addr().unwrap();
    speak(&mut sockets, 23_900, &phone);
    settle(&mut sockets, 23_900, &phone);
    (0..40).for_each(|n| assert_eq!(phone.send_to(&[n; 1_400], port).unwrap(), 1_400));
    let mut came = 0;
    // What is sent on fills the room for what is to be sent, so that the kernel is entered, and gives more.
    let each = &mut |port_in: u16, _: SocketAddr, _: &mut [u8], length: usize| {
        came += 1;
        if came < 20_000 {
            phone.send_to(&[0; 1_400], port).unwrap();
        }
        Some(Forward {
            port: port_in,
            to,
            range: 0..length,
        })
    };
    sockets.wait(Some(Duration::from_secs(5)), each).unwrap();
    assert!((1..=1_100).contains(&came), "{came} packets in one wait");
    assert_eq!(counters.ports_connected.value(), 1);
}

pub(super) fn calls_go_on_when_a_ring_fails() {
    let (mut sockets, _bell, counters) = plain_with(24_000..24_004, 2);
    let phones = [phone(), phone()];
    for (port, phone) in sockets.bind(2).into_iter().zip(&phones) {
        sockets.open(port, &mut |_, _, _, _| None);
        speak(&mut sockets, port, phone);
        settle(&mut sockets, port, phone);
    }
    sockets.break_ring();
    wait_for(&mut sockets, Duration::ZERO, None);
    assert_eq!(counters.uring_workers.value(), 0);
    for (port, phone) in [24_000, 24_002].into_iter().zip(&phones) {
        for n in 0..5u8 {
            phone.send_to(&[n; 20], (here(), port)).unwrap();
            let got = hear(&mut sockets, 1);
            assert_eq!(got, [(port, phone.local_addr().unwrap(), vec![n; 20])]);
            say(&mut sockets, port, phone, &[n; 30]);
        }
    }
}

pub(super) fn what_is_on_its_way_to_one_device_does_not_go_to_the_next() {
    let (mut sockets, _bell, _) = plain(23_700..23_702);
    sockets.bind(1);
    sockets.open(23_700, &mut |_, _, _, _| None);
    let [before, after] = [phone(), phone()];
    speak(&mut sockets, 23_700, &before);
    sockets.send(23_700, before.local_addr().unwrap(), b"for one");
    for _ in 0..STEADY {
        sockets.send(23_700, after.local_addr().unwrap(), b"for the other");
    }
    wait_for(&mut sockets, Duration::ZERO, None);
    let mut buffer = [0; 100];
    assert_eq!(before.recv(&mut buffer).unwrap(), 7);
    for _ in 0..STEADY {
        assert_eq!(after.recv(&mut buffer).unwrap(), 13);
    }
}

pub(super) fn bursts_of_many_devices_are_taken_in_order() {
    const DEVICES: u16 = 40;
    const PACKETS: u16 = 2_000;
    let (at, heard, until) = (here(), AtomicU16::new(0), Instant::now() + Duration::from_secs(60));
    let (mut sockets, _bell, counters) = plain_with(23_400..23_400 + 2 * u32::from(DEVICES), 100);
    let ports = sockets.bind(DEVICES);
    let phones: Vec<UdpSocket> = ports.iter().map(|_| phone()).collect();
    for (port, phone) in ports.iter().zip(&phones) {
        sockets.open(*port, &mut |_, _, _, _| None);
        speak(&mut sockets, *port, phone);
        settle(&mut sockets, *port, phone);
    }
    let mut next = vec![0u16; ports.len()];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..PACKETS {
                for (phone, port) in phones.iter().zip(&ports) {
                    phone.send_to(&n.to_be_bytes(), (at, *port)).unwrap();
                }
                // As many as the kernel keeps for each of them.
                while n > heard.load(Ordering::Relaxed) + 60 && Instant::now() < until {
                    std::thread::yield_now();
                }
            }
        });
        while next.iter().any(|&next| next < PACKETS) {
            for (port, from, what) in wait(&mut sockets, None) {
                let device = ports.iter().position(|&p| p == port).unwrap();
                assert_eq!(from, phones[device].local_addr().unwrap());
                assert_eq!(u16::from_be_bytes([what[0], what[1]]), next[device], "device {device}");
                next[device] += 1;
            }
            heard.store(next.iter().copied().min().unwrap_or_default(), Ordering::Relaxed);
        }
    });
    assert_eq!(counters.ports_connected.value(), u64::from(DEVICES));
}

pub(super) fn what_comes_to_a_connected_port_after_its_call_does_not_reach_the_next_one() {
    let (mut sockets, _bell, counters) = plain(23_200..23_202);
    sockets.bind(1);
    let (phone, port) = (phone(), SocketAddr::from((here(), 23_200)));
    for call in 1..=3 {
        sockets.open(23_200, &mut |_, _, _, _| None);
        speak(&mut sockets, 23_200, &phone);
        settle(&mut sockets, 23_200, &phone);
        phone.send_to(b"not read in time", port).unwrap();
        sockets.shut(23_200);
        phone.send_to(b"late", port).unwrap();
        if call == 3 {
            sockets.hold(23_200);
        }
        sockets.open(23_200, &mut |_, _, _, _| panic!("nothing was kept"));
        phone.send_to(b"of the next call", port).unwrap();
        let got = hear(&mut sockets, 1);
        assert_eq!(got[0].2, b"of the next call");
        assert_eq!(wait_for(&mut sockets, Duration::ZERO, None), []);
        // Closing a socket may take what waited there along.
        assert!((call..=2 * call).contains(&counters.stale.value()));
        sockets.shut(23_200);
        assert_eq!((sockets.lines_left(), counters.ports_connected.value()), (1, 0));
    }
}

pub(super) fn there_are_no_more_lines_than_are_allowed_and_a_call_gives_its_own_back() {
    let (mut sockets, _bell, _) = plain(22_900..22_904);
    sockets.bind(2);
    let phone = phone();
    for port in [22_900, 22_902, 22_900] {
        sockets.open(port, &mut |_, _, _, _| None);
        speak(&mut sockets, port, &phone);
    }
    assert_eq!(sockets.lines_left(), 0);
    sockets.shut(22_902);
    assert_eq!(sockets.lines_left(), 0, "it had none");
    sockets.shut(22_900);
    assert_eq!(sockets.lines_left(), 1);
    sockets.open(22_902, &mut |_, _, _, _| None);
    speak(&mut sockets, 22_902, &phone);
    assert_eq!(sockets.lines_left(), 0);
}

pub(super) fn nobody_else_can_bind_a_port_that_is_connected() {
    let (mut sockets, _bell, _) = plain(23_000..23_002);
    sockets.bind(1);
    sockets.open(23_000, &mut |_, _, _, _| None);
    speak(&mut sockets, 23_000, &phone());
    assert_eq!(sockets.lines_left(), 0);
    let other = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
    other.set_reuse_port(true).unwrap();
    other.set_reuse_address(true).unwrap();
    let bound = other.bind(&SocketAddr::from((here(), 23_000)).into());
    assert_eq!(bound.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}

/// As container runtimes do: a call of the system is answered with EPERM from now on, in this thread and those it starts.
#[allow(unsafe_code)]
fn forbid(call: libc::c_long) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jf, k| libc::sock_filter { code, jt: 0, jf, k };
    // The number of the call is the first word of what a filter sees.
    let mut steps = [
        step(LOAD, 0, 0),
        step(JUMP, 1, call as u32),
        step(RETURN, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(RETURN, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the filter points to its steps, and both live through the calls, which copy them.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn where_the_kernel_gives_no_io_uring_sound_goes_by_epoll_unless_that_is_not_wanted() {
    let in_a_container = || {
        forbid(libc::SYS_io_uring_setup);
        IO.set(Io::Auto);
        let (mut sockets, _bell, counters) = plain(23_300..23_302);
        sockets.bind(1);
        sockets.open(23_300, &mut |_, _, _, _| None);
        let phone = phone();
        speak(&mut sockets, 23_300, &phone);
        settle(&mut sockets, 23_300, &phone);
        assert_eq!(
            (counters.uring_workers.value(), counters.ports_connected.value()),
            (0, 1)
        );
        let (post, _events) = wake::channel(8, &Bell::new().unwrap());
        let random = |_| -> Random { Box::new(|| 4) };
        let start = |io| {
            let settings = RtpSettings {
                address: here(),
                second: None,
                ports: 23_310..=23_311,
                workers: 1,
                io,
                lines: 0,
                cores: vec![],
            };
            let config = EngineConfig::default();
            let clock = System::start();
            Workers::start(&settings, config, random, clock, &post, no_files(), &Arc::default()).map(drop)
        };
        assert_eq!(
            start(Io::Uring).unwrap_err().kind(),
            std::io::ErrorKind::PermissionDenied
        );
        start(Io::Auto).unwrap();
        IO.set(Io::Uring);
        let (mut sockets, _bell, _) = plain(23_320..23_322);
        let waited = sockets.wait(Some(Duration::ZERO), &mut |_, _, _, _| None);
        assert_eq!(waited.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    };
    std::thread::spawn(in_a_container).join().unwrap();
}

#[test]
fn a_ring_that_may_be_made_and_not_used_is_none() {
    let in_a_container = || {
        forbid(libc::SYS_io_uring_enter);
        assert!(crate::rtp::ring::Ring::probe().is_err());
    };
    std::thread::spawn(in_a_container).join().unwrap();
}
