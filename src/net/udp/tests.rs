use super::*;
use std::net::Ipv4Addr;
use std::time::Duration;

fn bind(settings: UdpSettings) -> (Udp, UdpSocket, Arc<UdpCounters>) {
    let counters = Arc::new(UdpCounters::default());
    let udp = Udp::bind((Ipv4Addr::LOCALHOST, 0).into(), settings, counters.clone()).unwrap();
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    phone.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    (udp, phone, counters)
}

/// Loopback delivers before send returns, so all that was sent is there to be read.
fn receive_all(udp: &mut Udp) -> Vec<(SocketAddr, Bytes)> {
    let mut got = Vec::new();
    while udp.receive(|peer, bytes| got.push((peer, bytes))).unwrap() == Waiting::More {}
    got
}

#[test]
fn receives_batches_in_order_with_their_sender() {
    let (mut udp, phone, counters) = bind(UdpSettings::default());
    for n in 0..150u32 {
        phone.send_to(format!("message {n}").as_bytes(), udp.local()).unwrap();
    }
    let got = receive_all(&mut udp);
    assert_eq!(got.len(), 150);
    for (n, (peer, bytes)) in got.iter().enumerate() {
        assert_eq!(
            (*peer, &bytes[..]),
            (phone.local_addr().unwrap(), format!("message {n}").as_bytes())
        );
    }
    assert_eq!(counters.datagrams_in.value(), 150);
    assert_eq!(udp.receive(|_, _| panic!("nothing waits")).unwrap(), Waiting::Nothing);
}

#[test]
fn sends_batches_in_order() {
    let (mut udp, phone, counters) = bind(UdpSettings::default());
    for n in 0..150u32 {
        udp.queue(phone.local_addr().unwrap(), Bytes::from(format!("message {n}")));
    }
    assert_eq!(udp.flush(), Flushed::All);
    let mut buffer = [0; 100];
    for n in 0..150 {
        let (length, from) = phone.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..length], from),
            (format!("message {n}").as_bytes(), udp.local())
        );
    }
    assert_eq!(
        (counters.datagrams_out.value(), udp.queued(), udp.take_failed().count()),
        (150, 0, 0)
    );
}

#[test]
fn speaks_version_6() {
    let counters = Arc::new(UdpCounters::default());
    let Ok(mut udp) = Udp::bind("[::1]:0".parse().unwrap(), UdpSettings::default(), counters) else {
        return eprintln!("SKIPPED: this machine has no IPv6");
    };
    let phone = UdpSocket::bind("[::1]:0").unwrap();
    phone.send_to(b"hello", udp.local()).unwrap();
    let got = receive_all(&mut udp);
    assert_eq!(got, [(phone.local_addr().unwrap(), Bytes::from_static(b"hello"))]);
    udp.queue(got[0].0, got[0].1.clone());
    assert_eq!(udp.flush(), Flushed::All);
    assert_eq!(phone.recv(&mut [0; 10]).unwrap(), 5);
}

#[test]
fn cut_datagrams_and_keepalives_go_no_further() {
    let (mut udp, phone, counters) = bind(UdpSettings {
        max_datagram: 100,
        ..UdpSettings::default()
    });
    for bytes in [&[b'x'; 101][..], b"\r\n\r\n", b"\0", b"", &[b'y'; 100]] {
        phone.send_to(bytes, udp.local()).unwrap();
    }
    let got = receive_all(&mut udp);
    assert_eq!(got.len(), 1);
    assert_eq!(&got[0].1[..], &[b'y'; 100]);
    assert_eq!((counters.truncated.value(), counters.keepalives.value()), (1, 3));
}

#[test]
fn the_largest_datagram_arrives_whole() {
    let (mut udp, phone, _) = bind(UdpSettings::default());
    let largest: Vec<u8> = (0..65_507u32).map(|n| n as u8).collect();
    phone.send_to(&largest, udp.local()).unwrap();
    assert_eq!(&receive_all(&mut udp)[0].1[..], &largest[..]);
}

#[test]
fn a_closed_port_is_reported_and_costs_others_nothing() {
    let (mut udp, phone, counters) = bind(UdpSettings::default());
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    udp.queue(closed, Bytes::from_static(b"nobody hears this"));
    assert_eq!(udp.flush(), Flushed::All);
    // The refusal waits as the socket's pending error, which the kernel says to whatever is sent next.
    udp.queue(phone.local_addr().unwrap(), Bytes::from_static(b"you hear this"));
    assert_eq!(udp.flush(), Flushed::All);
    assert_eq!(phone.recv(&mut [0; 100]).unwrap(), 13);
    udp.read_errors();
    assert_eq!(udp.take_failed().collect::<Vec<_>>(), [closed]);
    assert_eq!(counters.send_failed.value(), 1);
    assert_eq!(receive_all(&mut udp), []);
}

#[test]
fn what_can_never_be_sent_is_reported_and_skipped() {
    let (mut udp, phone, counters) = bind(UdpSettings::default());
    let peer = phone.local_addr().unwrap();
    udp.queue(peer, Bytes::from(vec![0; 70_000]));
    udp.queue(peer, Bytes::from_static(b"next"));
    assert_eq!(udp.flush(), Flushed::All);
    assert_eq!(udp.take_failed().collect::<Vec<_>>(), [peer]);
    assert_eq!(
        (phone.recv(&mut [0; 100]).unwrap(), counters.send_failed.value()),
        (4, 1)
    );
}

#[test]
fn a_full_backlog_drops_its_oldest_and_says_whose() {
    let peer = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut backlog = Backlog::new(3, 100);
    let pushes = [(1, 10), (2, 10), (3, 10), (4, 10), (5, 90)];
    let dropped: Vec<u64> = pushes
        .map(|(port, size)| backlog.push(peer(port), Bytes::from(vec![0; size])))
        .to_vec();
    assert_eq!(dropped, [0, 0, 0, 1, 2], "by count, then by bytes");
    assert_eq!(backlog.failed, [peer(1), peer(2), peer(3)]);
    assert_eq!((backlog.line.len(), backlog.bytes), (2, 100));
}

#[test]
fn a_wildcard_address_is_refused_with_the_reason() {
    let counters = Arc::new(UdpCounters::default());
    let Err(e) = Udp::bind("0.0.0.0:0".parse().unwrap(), UdpSettings::default(), counters) else {
        panic!("bound a wildcard");
    };
    assert_eq!(e.kind(), io::ErrorKind::InvalidInput);
    assert!(e.to_string().contains("Via"), "{e}");
}

#[test]
fn small_datagrams_share_a_chunk_and_large_ones_have_their_own() {
    let mut arena = BytesMut::with_capacity(CHUNK);
    let one = keep(&mut arena, &[1; 500]);
    let two = keep(&mut arena, &[2; 500]);
    let large = keep(&mut arena, &[3; CHUNK]);
    assert_eq!(one.as_ptr().wrapping_add(500), two.as_ptr());
    assert_eq!((one.len(), two.len(), large.len()), (500, 500, CHUNK));
    let three = keep(&mut arena, &[4; 500]);
    assert_eq!(
        two.as_ptr().wrapping_add(500),
        three.as_ptr(),
        "the large one took nothing from the chunk"
    );
}

#[test]
fn counts_what_the_kernel_dropped() {
    let (mut udp, phone, counters) = bind(UdpSettings {
        receive_buffer: 4_096,
        ..UdpSettings::default()
    });
    for _ in 0..200 {
        phone.send_to(&[b'x'; 1_000], udp.local()).unwrap();
    }
    let got = receive_all(&mut udp).len() as u64;
    udp.count_kernel_drops();
    udp.count_kernel_drops();
    assert!(got < 200);
    assert_eq!(counters.kernel_dropped.value(), 200 - got);
}

/// ICMP "destination unreachable" as a router would send it of a datagram from this socket.
fn unreachable(code: u8, socket: SocketAddr) -> Vec<u8> {
    let port = socket.port().to_be_bytes();
    let about = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1];
    let udp = [port[0], port[1], 0, 9, 0, 8, 0, 0];
    let mut packet = [&[3, code, 0, 0, 0, 0, 0, 0], &about[..], &udp].concat();
    let sum: u32 = packet
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    packet[2..4].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    packet
}

#[test]
fn no_icmp_message_ends_the_socket() {
    let Ok(router) = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)) else {
        return eprintln!("SKIPPED: making up ICMP messages needs CAP_NET_RAW");
    };
    let (mut udp, phone, _) = bind(UdpSettings::default());
    // Not 4, which would teach the kernel a path MTU.
    for code in (0..=15).filter(|&code| code != 4) {
        let target = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into();
        router.send_to(&unreachable(code, udp.local()), &target).unwrap();
        assert_eq!(receive_all(&mut udp), [], "code {code}");
    }
    phone.send_to(b"hello", udp.local()).unwrap();
    assert_eq!(receive_all(&mut udp).len(), 1);
}

#[test]
fn datagrams_that_leave_joined_arrive_as_they_were() {
    let (mut udp, phone, counters) = bind(UdpSettings::default());
    let (mut other, ..) = bind(UdpSettings::default());
    let lengths = [300, 300, 300, 200, 300, 1, 1, 0, 1_500, 1_500, 900, 900, 900];
    let sent: Vec<Vec<u8>> = (0u8..).zip(lengths).map(|(n, length)| vec![n; length]).collect();
    for bytes in &sent {
        udp.queue(phone.local_addr().unwrap(), Bytes::copy_from_slice(bytes));
    }
    for n in 0..200u8 {
        udp.queue(other.local(), Bytes::from(vec![n; 450]));
    }
    assert_eq!(udp.flush(), Flushed::All);
    let mut buffer = [0; 2_000];
    for bytes in &sent {
        let length = phone.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], &bytes[..]);
    }
    let got = receive_all(&mut other);
    assert_eq!(got.len(), 200);
    assert!(
        (0u8..)
            .zip(&got)
            .all(|(n, (peer, bytes))| *peer == udp.local() && bytes[..] == [n; 450])
    );
    assert_eq!(counters.datagrams_out.value(), 213);
    assert_eq!(counters.joining_refused.value(), 0);
}

#[test]
fn joined_datagrams_that_the_kernel_will_not_cut_go_each_by_itself() {
    let (mut udp, phone, counters) = bind(UdpSettings::default());
    // Cutting needs a checksum (udp(7)): without, the kernel refuses to.
    let socket = Socket::from(udp.socket.try_clone().unwrap());
    set_option(&socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    for n in 0..3u8 {
        udp.queue(phone.local_addr().unwrap(), Bytes::from(vec![n; 100]));
    }
    assert_eq!(udp.flush(), Flushed::All);
    for n in 0..3u8 {
        let mut buffer = [9; 101];
        assert_eq!(phone.recv(&mut buffer).unwrap(), 100);
        assert_eq!(buffer[..100], [n; 100]);
    }
    assert_eq!((counters.joining_refused.value(), counters.send_failed.value()), (1, 0));
}
