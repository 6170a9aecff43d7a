//! RTCP that shares the port of RTP (RFC 5761).

use super::*;

/// A puts both on one port, B does not.
fn muxed_pair() -> Worker {
    let mut worker = Worker::new();
    let muxed = LegMedia {
        rtcp_mux: true,
        remote_rtcp: Some(addr(PHONE_A)),
        ..media(PHONE_A, &[PCMU])
    };
    worker.apply(open(A, PORT_A, muxed));
    worker.apply(open(B, PORT_B, media(PHONE_B, &[PCMU])));
    worker
}

/// The SSRC that each port of ours reports from, and where to.
fn reports(sent: &[(Mono, u16, SocketAddr, Vec<u8>)]) -> Vec<(u16, SocketAddr, u32)> {
    let ssrc = |bytes: &[u8]| rtcp::parse(bytes)?.next()?.ssrc();
    sent.iter()
        .filter_map(|(_, port, to, bytes)| Some((*port, *to, ssrc(bytes)?)))
        .collect()
}

#[test]
fn our_reports_leave_from_the_port_of_rtp_and_what_comes_there_is_read() {
    let mut worker = muxed_pair();
    for n in 0..250 {
        worker.rtp(at(u64::from(n) * 20), PORT_A, PHONE_A, &packet(77, 0, n));
        worker.rtp(at(u64::from(n) * 20), PORT_B, PHONE_B, &packet(88, 0, n));
    }
    let sent = reports(&worker.run(at(8_000)));
    let to_a: Vec<_> = sent.iter().filter(|(_, to, _)| to.ip() == addr(PHONE_A).ip()).collect();
    assert!(!to_a.is_empty());
    assert!(to_a.iter().all(|(port, to, _)| (*port, *to) == (PORT_A, addr(PHONE_A))));
    assert!(
        sent.iter()
            .any(|(port, to, _)| (*port, *to) == (PORT_B + 1, addr("192.0.2.2:5001")))
    );
    let ours = to_a[0].2;
    assert_eq!(worker.rtp(at(8_000), PORT_A, PHONE_A, &report(77, ours, 0, 0)), None);
    let stats = worker.stats(A);
    assert_eq!((stats.rtcp.0, stats.invalid, stats.strangers), (1, 0, 0));
    assert_eq!((stats.remote_lost, stats.remote_jitter), (3, Duration::from_millis(10)));
    assert_eq!(stats.received, 250, "it is no sound");
}

#[test]
fn reports_of_strangers_to_the_shared_port_are_dropped() {
    let mut worker = muxed_pair();
    let told = report(77, 1, 0, 0);
    worker.rtp(at(0), PORT_A, PHONE_A, &told);
    assert_eq!(
        (worker.stats(A).strangers, worker.stats(A).rtcp.0),
        (1, 0),
        "nobody is known yet"
    );
    worker.rtp(at(0), PORT_A, PHONE_A, &packet(77, 0, 0));
    for stranger in [STRANGER, "192.0.2.1:4001", "192.0.2.1:9999"] {
        assert_eq!(worker.rtp(at(0), PORT_A, stranger, &told), None);
        worker.rtcp(at(0), PORT_A, stranger, &told);
    }
    assert_eq!((worker.stats(A).strangers, worker.stats(A).rtcp.0), (7, 0));
    worker.rtp(at(0), PORT_A, PHONE_A, &told);
    assert_eq!((worker.stats(A).strangers, worker.stats(A).rtcp.0), (7, 1));
    let sent = worker.run(at(20_000));
    assert!(
        sent.iter()
            .all(|(_, port, to, _)| *port != PORT_A || *to == addr(PHONE_A))
    );
}

#[test]
fn reports_to_a_port_that_is_not_shared_are_no_sound_and_tell_nothing() {
    let mut worker = muxed_pair();
    worker.rtp(at(0), PORT_B, PHONE_B, &packet(88, 0, 0));
    assert_eq!(worker.rtp(at(0), PORT_B, PHONE_B, &report(88, 1, 0, 0)), None);
    let stats = worker.stats(B);
    assert_eq!((stats.rtcp.0, stats.invalid, stats.received), (0, 1, 1));
}
