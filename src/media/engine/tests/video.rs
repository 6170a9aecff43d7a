//! A picture between two devices: packets are passed on, and what the viewer says goes back.

use super::*;

const H264: Format = Format {
    pt_in: 96,
    pt_out: 96,
    codec: Codec::Other { id: 7, clock: 90_000 },
};

/// B numbers the format 111.
fn seeing() -> Worker {
    let mut worker = Worker::new();
    let shown = |remote, format| LegMedia {
        video: true,
        ..media(remote, &[format])
    };
    worker.apply(open(A, PORT_A, shown(PHONE_A, H264)));
    worker.apply(open(B, PORT_B, shown(PHONE_B, Format { pt_out: 111, ..H264 })));
    worker
}

fn picture(n: u16, marker: bool) -> Vec<u8> {
    let header = RtpHeader {
        marker,
        pt: 96,
        sequence: n,
        timestamp: u32::from(n) * 3_000,
        ssrc: 77,
        payload: 12..12,
    };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend([0x65, 1, 2, n as u8]);
    bytes
}

fn feedback(kind: u8, words: &[u32]) -> Vec<u8> {
    let head = u32::from_be_bytes([0x81, kind, 0, words.len() as u8]);
    std::iter::once(&head)
        .chain(words)
        .flat_map(|word| word.to_be_bytes())
        .collect()
}

fn transmitted(worker: &mut Worker) -> Vec<(u16, SocketAddr, Vec<u8>)> {
    let mut buffer = [0; PACKET_BUFFER];
    std::iter::from_fn(|| {
        let sent = worker.engine.poll_transmit(&mut buffer)?;
        Some((sent.port, sent.to, buffer[..sent.len].to_vec()))
    })
    .collect()
}

#[test]
fn a_picture_keeps_payload_and_marker_under_our_header() {
    let mut worker = seeing();
    let (port, to, first) = worker.rtp(at(0), PORT_A, PHONE_A, &picture(5, false)).unwrap();
    assert_eq!((port, to), (PORT_B, addr(PHONE_B)));
    let (_, _, second) = worker.rtp(at(1), PORT_A, PHONE_A, &picture(6, true)).unwrap();
    let (one, two) = (RtpHeader::parse(&first).unwrap(), RtpHeader::parse(&second).unwrap());
    assert_eq!((one.marker, two.marker, one.pt), (false, true, 111));
    assert_eq!(two.sequence, one.sequence.wrapping_add(1));
    assert_eq!(two.timestamp, one.timestamp.wrapping_add(3_000));
    assert_ne!(one.ssrc, 77);
    assert_eq!(&second[12..], &[0x65, 1, 2, 6]);
    assert_eq!(worker.rtp(at(2), PORT_A, STRANGER, &picture(7, false)), None);
}

#[test]
fn feedback_of_the_viewer_reaches_the_sender_and_that_of_strangers_does_not() {
    let mut worker = seeing();
    let sent = worker.rtp(at(0), PORT_A, PHONE_A, &picture(5, false)).unwrap().2;
    let heard = RtpHeader::parse(&sent).unwrap();
    let mut compound = report(9, heard.ssrc, 0, 0);
    compound.extend(feedback(206, &[9, heard.ssrc]));
    compound.extend(feedback(205, &[9, heard.ssrc, u32::from(heard.sequence) << 16]));
    worker.rtcp(at(1), PORT_B, STRANGER, &compound);
    assert_eq!(transmitted(&mut worker), []);
    worker.rtcp(at(1), PORT_B, "192.0.2.2:5001", &compound);
    let sent = transmitted(&mut worker);
    assert_eq!(sent.len(), 1);
    let (port, to, said) = &sent[0];
    assert_eq!((*port, *to), (PORT_A + 1, addr("192.0.2.1:4001")));
    assert!(rtcp::parse(said).is_some(), "a compound begins with a report");
    let ours = u32::from_be_bytes(said[4..8].try_into().unwrap());
    let mut expected = feedback(206, &[ours, 77]);
    expected.extend(feedback(205, &[ours, 77, 5 << 16]));
    assert!(said.ends_with(&expected), "{said:?}");
    // Some send it alone (RFC 5506).
    worker.rtcp(at(2), PORT_B, "192.0.2.2:5001", &feedback(206, &[9, heard.ssrc]));
    assert_eq!(transmitted(&mut worker).len(), 1);
}

#[test]
fn feedback_about_sound_ends_here() {
    let mut worker = Worker::pair();
    let sent = worker.rtp(at(0), PORT_A, PHONE_A, &packet(77, 0, 0)).unwrap().2;
    let heard = RtpHeader::parse(&sent).unwrap().ssrc;
    worker.rtcp(at(1), PORT_B, "192.0.2.2:5001", &feedback(206, &[9, heard]));
    assert_eq!(transmitted(&mut worker), []);
}
