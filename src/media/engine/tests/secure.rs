//! Legs with SRTP: to clear ones, to each other, in mixes, and with strangers about.

use super::*;
use crate::plan::{Audience, PlayerId, Sound};
use crate::srtp::{KeyPair, MAX_GROWTH, MasterKey, Receiver, Sender, Suite};
use crate::tone::Tone;

/// A device with keys: what it sends is encrypted, what it gets it must be able to decrypt.
struct Device {
    keys: KeyPair,
    sender: Sender,
    receiver: Receiver,
}

impl Device {
    fn new(suite: Suite, seed: u8) -> Device {
        let key = |n: u8| MasterKey::new(suite, &vec![seed ^ n; suite.master_len()]).unwrap();
        // From the switch's point of view.
        let keys = KeyPair {
            ours: key(1),
            theirs: key(2),
        };
        let sender = Sender::new(&keys.theirs).unwrap();
        let receiver = Receiver::new(&keys.ours).unwrap();
        Device { keys, sender, receiver }
    }

    fn media(&self, remote: &str, formats: &[Format]) -> LegMedia {
        LegMedia {
            srtp: Some(Box::new(self.keys.clone())),
            ..media(remote, formats)
        }
    }

    fn sends(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut buffer = [plain, &[0; MAX_GROWTH]].concat();
        let length = self.sender.protect_rtp(&mut buffer, plain.len()).unwrap();
        buffer.truncate(length);
        buffer
    }

    fn hears(&mut self, sent: &[u8]) -> Vec<u8> {
        let mut copy = sent.to_vec();
        let length = self.receiver.open_rtp(&mut copy).expect("encrypted with our key");
        copy.truncate(length);
        copy
    }
}

#[test]
fn relays_between_clear_and_encrypted_legs_in_every_suite() {
    for suite in Suite::ALL {
        let mut device = Device::new(suite, 7);
        let mut worker = Worker::new();
        worker.apply(open(A, PORT_A, device.media(PHONE_A, &[PCMU])));
        worker.apply(open(B, PORT_B, media(PHONE_B, &[PCMU])));
        for n in 0..70u16 {
            let (now, plain) = (at(u64::from(n) * 20), packet(5, 0, n));
            let sent = device.sends(&plain);
            let (port, _, heard) = worker.rtp(now, PORT_A, PHONE_A, &sent).expect("relayed");
            assert_eq!((port, &heard[12..]), (PORT_B, &plain[12..]));
            let (port, _, sent) = worker.rtp(now, PORT_B, PHONE_B, &packet(6, 0, n)).expect("relayed");
            assert_ne!(sent[12..24], packet(6, 0, n)[12..24], "in clear");
            assert_eq!((port, &device.hears(&sent)[12..]), (PORT_A, &packet(6, 0, n)[12..]));
        }
    }
}

#[test]
fn relays_between_two_encrypted_legs_with_keys_and_suites_of_their_own() {
    let mut a = Device::new(Suite::AesCm128HmacSha1_80, 1);
    let mut b = Device::new(Suite::AeadAes256Gcm, 9);
    let mut worker = Worker::new();
    worker.apply(open(A, PORT_A, a.media(PHONE_A, &[PCMU])));
    worker.apply(open(B, PORT_B, b.media(PHONE_B, &[PCMU])));
    let plain = packet(5, 0, 1);
    let sent = a.sends(&plain);
    let (_, _, sent) = worker.rtp(at(0), PORT_A, PHONE_A, &sent).unwrap();
    assert_eq!(b.hears(&sent)[12..], plain[12..]);
}

#[test]
fn relay_becomes_a_mix_and_a_relay_again_over_rollovers_of_one_context() {
    let mut device = Device::new(Suite::AeadAes128Gcm, 3);
    let mut worker = Worker::new();
    worker.apply(open(A, PORT_A, media(PHONE_A, &[PCMU])));
    worker.apply(open(B, PORT_B, device.media(PHONE_B, &[PCMU])));
    let (mut last, mut rollovers) = (None::<u16>, 0);
    let mut take = |device: &mut Device, sent: &[u8]| {
        let sequence = read(&device.hears(sent)).sequence;
        if let Some(last) = last.replace(sequence) {
            assert_eq!(sequence, last.wrapping_add(1));
            rollovers += u32::from(sequence == 0);
        }
    };
    let mut now = 0;
    for round in 0..9u32 {
        for n in 0..15_000u32 {
            let n = round * 15_000 + n;
            let mut plain = packet(5, 0, n as u16);
            plain[4..8].copy_from_slice(&(n * 160).to_be_bytes());
            let (_, _, sent) = worker.rtp(at(now), PORT_A, PHONE_A, &plain).expect("relayed");
            take(&mut device, &sent);
            now += 20;
        }
        let (player, sound) = (PlayerId(1), Sound::Tone(Tone::milliwatt()));
        worker.engine.apply(
            at(now),
            Plan::Play {
                room: ROOM,
                player,
                sound,
                to: Audience::Leg(B),
            },
        );
        for sent in worker.run(at(now + 400)).iter().filter(|sent| sent.1 == PORT_B) {
            take(&mut device, &sent.3);
        }
        now += 400;
        worker.engine.apply(at(now), Plan::StopPlay { room: ROOM, player });
    }
    assert!(rollovers >= 2, "{rollovers}");
}

#[test]
fn forged_repeated_and_clear_packets_are_counted_and_change_nothing() {
    let mut device = Device::new(Suite::AesCm128HmacSha1_80, 7);
    let mut worker = Worker::new();
    worker.apply(open(A, PORT_A, device.media(PHONE_A, &[PCMU])));
    worker.apply(open(B, PORT_B, media(PHONE_B, &[PCMU])));
    let first = device.sends(&packet(5, 0, 1));
    assert!(worker.rtp(at(0), PORT_A, PHONE_A, &first).is_some());
    worker.events.clear();
    for n in 0..150u16 {
        assert_eq!(
            worker.rtp(at(20), PORT_A, PHONE_A, &packet(5, 0, 2 + n)),
            None,
            "clear, after encryption"
        );
    }
    assert_eq!(worker.rtp(at(20), PORT_A, PHONE_A, &first), None);
    let stats = worker.stats(A);
    assert_eq!((stats.forged, stats.replayed, stats.received), (150, 1, 1));
    assert_eq!(worker.events, [], "the call knows nothing of it");
    let next = device.sends(&packet(5, 0, 2));
    assert!(worker.rtp(at(40), PORT_A, PHONE_A, &next).is_some(), "and goes on");
}

#[test]
fn a_source_without_the_key_is_never_learnt_not_even_in_the_window_of_a_renegotiation() {
    let mut device = Device::new(Suite::AesCm128HmacSha1_80, 7);
    let mut worker = Worker::new();
    worker.apply(open(A, PORT_A, device.media(PHONE_A, &[PCMU])));
    worker.apply(open(B, PORT_B, media(PHONE_B, &[PCMU])));
    let neighbour = "192.0.2.1:7777";
    for n in 0..20 {
        assert_eq!(worker.rtp(at(0), PORT_A, neighbour, &packet(5, 0, n)), None);
    }
    assert_eq!(
        worker.rtp(at(0), PORT_A, PHONE_A, &packet(5, 0, 3)),
        None,
        "nor the right address without the key"
    );
    assert_eq!((worker.stats(A).strangers, worker.events.len()), (21, 0));
    let sent = device.sends(&packet(5, 0, 1));
    assert!(worker.rtp(at(0), PORT_A, PHONE_A, &sent).is_some());
    worker.update(at(100), A, device.media(PHONE_A, &[PCMU]));
    for n in 0..20 {
        assert_eq!(worker.rtp(at(120), PORT_A, neighbour, &packet(5, 0, 2 + n)), None);
    }
    let (_, to, _) = worker.rtp(at(140), PORT_B, PHONE_B, &packet(6, 0, 1)).unwrap();
    assert_eq!(to, addr(PHONE_A), "nothing goes to the neighbour");
}

#[test]
fn reports_are_encrypted_both_ways() {
    let mut device = Device::new(Suite::AesCm128HmacSha1_32, 7);
    let mut worker = Worker::new();
    worker.apply(open(A, PORT_A, device.media(PHONE_A, &[PCMU])));
    worker.apply(open(B, PORT_B, media(PHONE_B, &[PCMU])));
    let sent = device.sends(&packet(5, 0, 1));
    worker.rtp(at(0), PORT_A, PHONE_A, &sent);
    let plain = report(5, 0, 0, 0);
    worker.rtcp(at(10), PORT_A, "192.0.2.1:4001", &plain);
    assert_eq!((worker.stats(A).rtcp.0, worker.stats(A).forged), (0, 1));
    let mut sent = [plain.clone(), vec![0; MAX_GROWTH]].concat();
    let length = device.sender.protect_rtcp(&mut sent, plain.len()).unwrap();
    worker.rtcp(at(20), PORT_A, "192.0.2.1:4001", &sent[..length]);
    assert_eq!(worker.stats(A).rtcp.0, 1);
    let ours = worker
        .run(at(10_000))
        .into_iter()
        .find(|sent| sent.1 == PORT_A + 1)
        .expect("a report");
    let mut ours = ours.3;
    assert!(rtcp::parse(&ours).is_none_or(|mut reports| reports.next().is_none()) || ours[8..] != plain[8..]);
    let length = device.receiver.open_rtcp(&mut ours).expect("encrypted");
    assert!(rtcp::parse(&ours[..length]).is_some());
}

#[test]
fn a_new_key_begins_anew_and_the_old_one_is_worth_nothing() {
    let mut device = Device::new(Suite::AesCm128HmacSha1_80, 7);
    let mut worker = Worker::new();
    worker.apply(open(A, PORT_A, device.media(PHONE_A, &[PCMU])));
    worker.apply(open(B, PORT_B, media(PHONE_B, &[PCMU])));
    let first = device.sends(&packet(5, 0, 1));
    worker.rtp(at(0), PORT_A, PHONE_A, &first);
    let mut renewed = Device::new(Suite::AesCm128HmacSha1_80, 99);
    worker.update(at(10), A, renewed.media(PHONE_A, &[PCMU]));
    let old = device.sends(&packet(5, 0, 2));
    assert_eq!(worker.rtp(at(20), PORT_A, PHONE_A, &old), None);
    let new = renewed.sends(&packet(5, 0, 3));
    assert!(worker.rtp(at(40), PORT_A, PHONE_A, &new).is_some());
    let (_, _, sent) = worker.rtp(at(40), PORT_B, PHONE_B, &packet(6, 0, 1)).unwrap();
    renewed.hears(&sent);
}

#[test]
fn key_presses_in_the_sound_are_said_while_the_sound_goes_on() {
    let mut worker = Worker::new();
    let listening = LegMedia {
        inband_dtmf: true,
        ..media(PHONE_A, &[PCMA])
    };
    worker.apply(open(A, PORT_A, listening));
    worker.apply(open(B, PORT_B, media(PHONE_B, &[PCMA])));
    let mut tone = crate::tone::ToneGenerator::new(&crate::dtmf::tone_of(9).unwrap(), 8_000);
    for n in 0..20u16 {
        let mut frame = [0i16; 160];
        if n < 5 {
            tone.fill(&mut frame);
        }
        let mut bytes = packet(5, 8, n);
        bytes.splice(12.., frame.iter().map(|&sample| crate::codec::g711::to_a(sample)));
        assert!(worker.rtp(at(u64::from(n) * 20), PORT_A, PHONE_A, &bytes).is_some());
    }
    let said: Vec<_> = worker
        .events
        .iter()
        .filter(|event| matches!(event, Event::Dtmf { .. }))
        .collect();
    let [
        Event::Dtmf {
            leg: A,
            digit: '9',
            by: DtmfBy::Tones,
            duration,
            passed_on: false,
        },
    ] = said[..]
    else {
        panic!("{said:?}")
    };
    assert!((75..=115).contains(&duration.as_millis()), "{duration:?}");
}
