//! The bodies of the `media` fuzz targets: called by the fuzzer with what it invents, and by the tests of the `media` crate
//! with the committed corpora. A panic is a finding.

use clock::Mono;
use media::plan::{Codec, Format, Latch, Matrix, Rate};
use media::rtp::RtpHeader;
use media::rtp::rtcp::{self, Report};
use media::sdp::{Direction, Local, Negotiation, SessionDescription, SrtpPolicy, SrtpUse};
use media::srtp::{MAX_GROWTH, MasterKey, Receiver, Sender, Suite};
use media::{Engine, EngineConfig, LegId, LegMedia, OpenLeg, Plan, RoomId};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Reads a description, prints it, offers it through us to another device, and takes it as that device's answer.
pub fn sdp(input: &[u8]) {
    let Ok(sdp) = SessionDescription::parse(input) else {
        return;
    };
    let again = SessionDescription::parse(sdp.to_string().as_bytes());
    assert_eq!(again.as_ref(), Ok(&sdp), "what was read can be printed and read");
    let local = |port| Local {
        address: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
        port,
        session_id: 1,
    };
    let (mut a, mut b) = (Negotiation::new(local(16384)), Negotiation::new(local(16386)));
    if a.handle_offer(&sdp).is_err() {
        return;
    }
    let offer = b
        .relay_offer(&a)
        .expect("an offer that was taken can be relayed")
        .to_owned();
    let offer = SessionDescription::parse(offer.as_bytes()).expect("we write what we can read");
    b.handle_answer(&offer).expect("an offer is an answer to itself");
    let answer = a.relay_answer(&b).expect("what was offered was answered").to_owned();
    let answer = SessionDescription::parse(answer.as_bytes()).expect("we write what we can read");
    assert_eq!(answer.streams.len(), sdp.streams.len());
    assert!(a.leg_media().is_some() && b.leg_media().is_some());
    secured(&sdp);
    let _ = b
        .handle_offer(&sdp)
        .and_then(|()| b.answer(&[Codec::Pcmu], Direction::SendRecv).map(drop));
}

/// The same where keys may be spoken of: whatever they are, what we write of them is an answer to itself.
fn secured(sdp: &SessionDescription) {
    let leg = |wanted, seed: u64| {
        let mut leg = Negotiation::new(Local {
            address: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
            port: 16388,
            session_id: seed,
        });
        let mut n = seed;
        leg.secure(SrtpPolicy { allowed: true, wanted }, &mut || {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            n
        });
        leg
    };
    for wanted in [SrtpUse::Off, SrtpUse::Optional, SrtpUse::Required] {
        let (mut a, mut b) = (leg(SrtpUse::Off, 1), leg(wanted, 2));
        if a.handle_offer(sdp).is_err() {
            return;
        }
        let offer = b
            .relay_offer(&a)
            .expect("an offer that was taken can be relayed")
            .to_owned();
        let offer = SessionDescription::parse(offer.as_bytes()).expect("we write what we can read");
        b.handle_answer(&offer).expect("an offer is an answer to itself");
        let encrypted = b.leg_media().is_some_and(|media| media.srtp.is_some());
        assert_eq!(encrypted, wanted != SrtpUse::Off);
        let _ = a.relay_answer(&b);
    }
}

/// Two bytes for suite and packet, then for each packet a byte for what it is and one for its length: a packet that we
/// protect, one damaged after that, or rubbish. Only the first opens, and only once.
pub fn srtp(input: &[u8]) {
    let Some((&suite, mut rest)) = input.split_first() else {
        return;
    };
    let suite = Suite::ALL[usize::from(suite & 3)];
    let master = vec![suite.master_len() as u8; suite.master_len()];
    let key = MasterKey::new(suite, &master).expect("as long as the suite wants");
    let (mut sender, mut receiver) = (Sender::new(&key).expect("a key"), Receiver::new(&key).expect("a key"));
    while let Some((&[way, length], tail)) = rest.split_first_chunk() {
        let (packet, tail) = tail.split_at(usize::from(length).min(tail.len()));
        rest = tail;
        let mut buffer = [packet, &[0; MAX_GROWTH]].concat();
        let protected = match way & 1 {
            0 => sender.protect_rtp(&mut buffer, packet.len()),
            _ => sender.protect_rtcp(&mut buffer, packet.len()),
        };
        let mut open = |bytes: &mut [u8]| match way & 1 {
            0 => receiver.open_rtp(bytes),
            _ => receiver.open_rtcp(bytes),
        };
        assert!(open(&mut packet.to_vec()).is_err(), "nobody guesses a tag");
        let Some(protected) = protected else { continue };
        buffer.truncate(protected);
        if way & 2 != 0 {
            let at = usize::from(way >> 2) % protected;
            buffer[at] ^= 0x40;
            assert!(open(&mut buffer).is_err());
            continue;
        }
        let mut copy = buffer.clone();
        if let Ok(length) = open(&mut copy) {
            assert_eq!(&copy[..length], packet);
        }
        assert!(open(&mut buffer).is_err(), "it came before");
    }
}

/// Sends packets to the ports of a call: each is a byte for the way, two for the length, and so many bytes.
pub fn rtp(input: &[u8]) {
    let mut engine = call();
    let mut rest = input;
    let mut now = Mono(0);
    let mut buffer = [0; 2048];
    while let Some((&[way, high, low], tail)) = rest.split_first_chunk() {
        let length = (usize::from(high) << 8 | usize::from(low)).min(tail.len()).min(1500);
        let (packet, tail) = tail.split_at(length);
        rest = tail;
        now = now + Duration::from_millis(u64::from(way >> 3));
        let (port, source) = [
            (16384, phone(1)),
            (16386, phone(2)),
            (16388, phone(3)),
            (16384, phone(9)),
        ][usize::from(way & 3)];
        buffer[..length].copy_from_slice(packet);
        if way & 4 != 0 {
            engine.handle_rtcp(now, port, source, packet);
        } else if let Some(forward) = engine.handle_rtp(now, port, source, &mut buffer, length) {
            let sent = RtpHeader::parse(&buffer[forward.range]).expect("we send what we can read");
            assert!(!sent.payload.is_empty());
        }
        if engine.poll_timeout().is_some_and(|due| due <= now) {
            engine.handle_timeout(now);
        }
        while let Some(sent) = engine.poll_transmit(&mut buffer) {
            let packet = &buffer[..sent.len];
            assert!(if sent.port % 2 == 0 {
                RtpHeader::parse(packet).is_some()
            } else {
                rtcp::parse(packet).is_some()
            });
        }
        while engine.poll_event().is_some() {}
    }
}

/// Three devices in one room: one pair could be relayed, with the third all is mixed.
fn call() -> Engine {
    let mut state = 1u64;
    let random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state
    };
    let mut engine = Engine::new(EngineConfig::default(), Box::new(random));
    let room = RoomId(1);
    engine.apply(
        Mono(0),
        Plan::OpenRoom {
            room,
            matrix: Matrix::Everyone,
            rate: Rate::Narrow,
        },
    );
    for (n, codec, pt) in [(1u8, Codec::Pcmu, 0), (2, Codec::Pcma, 8), (3, Codec::Pcmu, 0)] {
        let formats = [(pt, codec), (101, Codec::TelephoneEvent(8000))];
        let media = LegMedia {
            remote: Some(phone(n)),
            formats: formats
                .into_iter()
                .map(|(pt, codec)| Format {
                    pt_in: pt,
                    pt_out: pt,
                    codec,
                })
                .collect(),
            ..LegMedia::default()
        };
        let (leg, port) = (LegId(u64::from(n)), 16382 + 2 * u16::from(n));
        let open = OpenLeg {
            leg,
            room,
            port,
            media,
            latch: Latch::Any,
            media_timeout: Some(Duration::from_secs(1)),
        };
        engine.apply(Mono(0), Plan::OpenLeg(Box::new(open)));
    }
    engine
}

fn phone(n: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, n)), 4000)
}

/// Reads a compound to its last block.
pub fn rtcp(input: &[u8]) {
    for report in rtcp::parse(input).into_iter().flatten() {
        if let Report::Sender { blocks, .. } | Report::Receiver { blocks, .. } = report {
            assert!(blocks.count() <= rtcp::MAX_BLOCKS);
        }
    }
}
