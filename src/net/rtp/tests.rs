//! Real sockets on loopback. Engine and switch are played by closures where they are not what is tested.

use super::sockets::Sockets;
use super::*;
use media::Forward;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A range of the test's own, so that tests beside each other do not race for ports.
fn plain(ports: std::ops::Range<u32>) -> (Plain, Bell, Arc<RtpCounters>) {
    let (bell, counters) = (Bell::new().unwrap(), Arc::new(RtpCounters::default()));
    (
        Plain::new(HERE, ports, &bell, counters.clone()).unwrap(),
        bell,
        counters,
    )
}

fn phone() -> UdpSocket {
    let phone = UdpSocket::bind((HERE, 0)).unwrap();
    phone.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    phone
}

/// One wait of at most five seconds; what came, with each packet returned to `forward`.
fn wait(sockets: &mut Plain, forward: Option<(u16, SocketAddr)>) -> Vec<(u16, SocketAddr, Vec<u8>)> {
    let mut got = Vec::new();
    let limit = Some(Duration::from_secs(5));
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

#[test]
fn binds_pairs_in_bunches_and_skips_what_others_hold() {
    let taken = UdpSocket::bind((HERE, 21_003)).unwrap();
    let (mut sockets, _bell, counters) = plain(21_000..21_010);
    assert_eq!(sockets.bind(2), [21_000, 21_004], "21003 is somebody's");
    assert_eq!(sockets.bind(5), [21_006, 21_008], "and no more");
    assert_eq!(sockets.bind(1), []);
    assert_eq!(counters.ports_bound.value(), 4);
    drop(taken);
}

#[test]
fn what_came_before_a_port_was_in_use_is_thrown_away() {
    let (mut sockets, _bell, counters) = plain(21_100..21_104);
    sockets.bind(2);
    let (phone, port) = (phone(), SocketAddr::from((HERE, 21_100)));
    for _ in 0..20 {
        phone.send_to(b"late packet of the last call", port).unwrap();
    }
    sockets.open(21_100);
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

#[test]
fn a_shut_port_costs_nothing_and_can_be_opened_again() {
    let (mut sockets, bell, counters) = plain(21_200..21_204);
    sockets.bind(2);
    sockets.open(21_200);
    sockets.shut(21_200);
    let (phone, port) = (phone(), SocketAddr::from((HERE, 21_200)));
    phone.send_to(b"nobody listens", port).unwrap();
    bell.ring();
    assert_eq!(wait(&mut sockets, None), [], "the bell woke us, not the packet");
    sockets.open(21_200);
    phone.send_to(b"again", port).unwrap();
    assert_eq!(wait(&mut sockets, None).len(), 1);
    assert_eq!((counters.ports_in_use.value(), counters.stale.value()), (1, 1));
}

#[test]
fn forwards_a_batch_from_the_port_named_in_order() {
    let (mut sockets, _bell, counters) = plain(21_300..21_308);
    sockets.bind(4);
    sockets.open(21_300);
    let (a, b) = (phone(), phone());
    for n in 0..20u8 {
        a.send_to(&[n; 172], (HERE, 21_300)).unwrap();
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
            (&[n; 172][..], SocketAddr::from((HERE, 21_302)))
        );
    }
    assert_eq!((counters.packets_in.value(), counters.packets_out.value()), (20, 20));
}

#[test]
fn rtcp_has_the_odd_port() {
    let (mut sockets, _bell, _) = plain(21_400..21_402);
    sockets.bind(1);
    sockets.open(21_400);
    let phone = phone();
    phone.send_to(b"report", (HERE, 21_401)).unwrap();
    assert_eq!(wait(&mut sockets, None)[0].0, 21_401);
    sockets.send(21_401, phone.local_addr().unwrap(), b"ours");
    assert_eq!(phone.recv_from(&mut [0; 10]).unwrap(), (4, (HERE, 21_401).into()));
}

#[test]
fn oversized_packets_are_counted_and_not_handed_on() {
    let (mut sockets, _bell, counters) = plain(21_500..21_502);
    sockets.bind(1);
    sockets.open(21_500);
    phone().send_to(&[0; 3_000], (HERE, 21_500)).unwrap();
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
