//! Key presses that the engine makes, and where those of devices go.

use super::*;
use crate::plan::DtmfTo;

type Sent = (Mono, u16, SocketAddr, Vec<u8>);

/// The events in packets to a device: number, end, duration, timestamp, marker.
fn events(sent: &[Sent], pt: u8) -> Vec<(u8, bool, u16, u32, bool)> {
    let read = |(_, _, _, bytes): &Sent| {
        let header = read(bytes);
        let [event, flags, high, low] = bytes[12..].try_into().ok()?;
        let duration = u16::from_be_bytes([high, low]);
        (header.pt == pt).then_some((event, flags & 0x80 != 0, duration, header.timestamp, header.marker))
    };
    sent.iter().filter_map(read).collect()
}

fn dial(now: Mono, worker: &mut Worker, leg: LegId, digits: &str) {
    let (digits, duration) = (digits.into(), Duration::from_millis(100));
    worker.engine.apply(now, Plan::SendDtmf { leg, digits, duration });
}

#[test]
fn dials_digits_as_packets_with_rising_duration_and_three_ends() {
    let mut worker = Worker::pair();
    dial(at(0), &mut worker, B, "5#");
    let sent = events(&worker.run(at(900)), 96);
    assert_eq!(sent.len(), 14);
    let (five, pound) = sent.split_at(7);
    let durations: Vec<_> = five.iter().map(|event| event.2).collect();
    assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800]);
    assert!(five.iter().all(|event| event.0 == 5 && event.3 == five[0].3));
    let ends: Vec<_> = five.iter().map(|event| event.1).collect();
    assert_eq!(ends, [false, false, false, false, true, true, true]);
    assert_eq!(five.iter().filter(|event| event.4).count(), 1, "one marker");
    assert!(pound.iter().all(|event| event.0 == 11));
    assert!(pound[0].3.wrapping_sub(five[0].3) >= 8 * 140, "a pause between them");
}

#[test]
fn dialled_digits_take_their_numbers_between_relayed_sound() {
    let mut worker = Worker::pair();
    let mut numbers = Vec::new();
    for n in 0..30u16 {
        let now = u64::from(n) * 20;
        let (_, _, bytes) = worker.rtp(at(now), PORT_A, PHONE_A, &packet(77, 0, n)).unwrap();
        numbers.push(read(&bytes).sequence);
        if n == 5 {
            dial(at(now), &mut worker, B, "1");
        }
        let made = worker.run(at(now + 10));
        numbers.extend(
            made.iter()
                .filter(|sent| sent.1 == PORT_B)
                .map(|sent| read(&sent.3).sequence),
        );
    }
    assert_eq!(numbers.len(), 37);
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)),
        "{numbers:?}"
    );
}

#[test]
fn a_device_without_packets_for_keys_hears_tones_while_its_call_goes_on() {
    let mut worker = Worker::new();
    worker.apply(open(A, PORT_A, media(PHONE_A, &[PCMU, keys(101, 101)])));
    worker.apply(open(B, PORT_B, media(PHONE_B, &[PCMU])));
    dial(at(0), &mut worker, B, "1");
    let sent = worker.run(at(400));
    let to_b = sent.iter().filter(|sent| sent.1 == PORT_B);
    let codes = to_b.flat_map(|sent| sent.3[12..].iter().map(|&code| crate::codec::g711::from_mu(code)));
    let sound: Vec<i16> = codes.take(640).collect();
    for hz in [697.0, 1209.0] {
        let level = level_dbm0(&sound, hz, 8000);
        assert!((-11.0..=-8.0).contains(&level), "{hz}: {level}");
    }
    let after = worker.run(at(1_000));
    assert!(after.iter().all(|sent| sent.1 != PORT_B), "the relay is a relay again");
    assert!(worker.rtp(at(1_001), PORT_A, PHONE_A, &packet(77, 0, 0)).is_some());
}

#[test]
fn a_tone_of_a_key_ends_though_its_device_takes_packets_by_now_or_has_left_the_room() {
    let elsewhere = RoomId(10);
    let agrees = Plan::UpdateLeg {
        leg: B,
        media: media(PHONE_B, &[PCMU, keys(101, 101)]),
        media_timeout: None,
    };
    let leaves = Plan::MoveLeg {
        leg: B,
        room: elsewhere,
    };
    let returns = Plan::MoveLeg { leg: B, room: ROOM };
    for (plan, then) in [(agrees, None), (leaves, Some(returns))] {
        let mut worker = Worker::new();
        worker.apply(device::open_room(elsewhere, Matrix::Everyone));
        worker.apply(open(A, PORT_A, media(PHONE_A, &[PCMU])));
        worker.apply(open(B, PORT_B, media(PHONE_B, &[PCMU])));
        dial(at(0), &mut worker, B, "1");
        assert!(!worker.run(at(50)).is_empty(), "it sounds");
        worker.engine.apply(at(50), plan);
        worker.run(at(1_000));
        then.into_iter().for_each(|plan| worker.engine.apply(at(1_000), plan));
        let to_b = |sent: Vec<(Mono, u16, SocketAddr, Vec<u8>)>| sent.iter().filter(|sent| sent.1 == PORT_B).count();
        assert_eq!(to_b(worker.run(at(2_000))), 0, "nothing sounds any more");
        assert!(worker.rtp(at(2_001), PORT_A, PHONE_A, &packet(77, 0, 0)).is_some());
    }
}

/// A press of one packet.
fn press(pt: u8, n: u16) -> Vec<u8> {
    let mut bytes = packet(77, pt, n);
    bytes.truncate(12);
    bytes[4..8].copy_from_slice(&(u32::from(n) * 1600).to_be_bytes());
    bytes.extend([5, 0x8a, 0, 160]);
    bytes
}

#[test]
fn keys_follow_their_own_edges_and_never_reach_a_monitor() {
    let monitor = LegId(3);
    let mut worker = Worker::pair();
    let listens = media("192.0.2.3:6000", &[PCMU, keys(101, 101)]);
    worker.apply(open(monitor, 16388, listens));
    let sent = worker.rtp(at(0), PORT_A, PHONE_A, &press(101, 1));
    assert_eq!(sent, None, "three: to nobody");
    worker.apply(Plan::SetDtmf {
        leg: A,
        to: DtmfTo::Leg(B),
    });
    let (port, _, _) = worker.rtp(at(200), PORT_A, PHONE_A, &press(101, 2)).unwrap();
    assert_eq!(port, PORT_B);
    worker.apply(Plan::CloseLeg { leg: monitor });
    worker.apply(Plan::SetDtmf {
        leg: A,
        to: DtmfTo::Nobody,
    });
    let sent = worker.rtp(at(400), PORT_A, PHONE_A, &press(101, 3));
    assert_eq!(sent, None, "a PIN, although relayed");
    let heard = worker.events.iter().filter_map(|event| match event {
        Event::Dtmf { passed_on, .. } => Some(*passed_on),
        _ => None,
    });
    assert_eq!(heard.collect::<Vec<_>>(), [false, true, false], "said in any case");
}

#[test]
fn a_press_is_rescaled_to_the_clock_of_the_other_leg() {
    let wide = Format {
        pt_in: 102,
        pt_out: 102,
        codec: Codec::TelephoneEvent(48_000),
    };
    let mut worker = Worker::new();
    worker.apply(open(A, PORT_A, media(PHONE_A, &[PCMU, keys(101, 101)])));
    worker.apply(open(B, PORT_B, media(PHONE_B, &[PCMU, wide])));
    let (_, _, bytes) = worker.rtp(at(0), PORT_A, PHONE_A, &press(101, 1)).unwrap();
    assert_eq!((read(&bytes).pt, &bytes[14..16]), (102, &960u16.to_be_bytes()[..]));
}
