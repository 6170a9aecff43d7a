//! Who hears whom, and how loud: each device sends a tone of its own, and each must hear exactly what the matrix says.

use super::device::*;
use super::*;

/// A frequency that is not there. Side bands of companding and of Opus lie above digital silence.
const ABSENT: f32 = -38.0;

fn assert_matrix(scene: &Scene, expected: impl Fn(usize, usize) -> Option<f32>) {
    for listener in 0..scene.devices.len() {
        for talker in 0..scene.devices.len() {
            let level = scene.level(listener, talker);
            match expected(listener, talker) {
                Some(wanted) => assert!(
                    (level - wanted).abs() < 1.6,
                    "{listener} hears {talker} at {level}, not {wanted}"
                ),
                None => assert!(level < ABSENT, "{listener} hears {talker} at {level}"),
            }
        }
    }
}

fn everybody_else(level: f32) -> impl Fn(usize, usize) -> Option<f32> {
    move |listener, talker| (listener != talker).then_some(level)
}

#[test]
fn two_three_and_ten_of_any_codec_hear_each_other_and_not_themselves() {
    for size in [2u16, 3, 10] {
        for shift in 0..3 {
            let codec = |n: u16| CODECS[usize::from(n + shift) % CODECS.len()];
            let devices = (0..size).map(|n| Device::new(n, codec(n), -24.0)).collect();
            let mut scene = Scene::new(devices, Matrix::Everyone);
            scene.run(1_500);
            assert_matrix(&scene, everybody_else(-24.0));
        }
    }
}

#[test]
fn each_of_a_hundred_hears_the_other_ninety_nine() {
    // Frequencies 30 Hz apart, each with whole periods in 400 ms; soft enough that the sum of all fits.
    let devices = (0..100)
        .map(|n| Device::with_tone(n, PCMU, 300.0 + 30.0 * f32::from(n), -36.0))
        .collect();
    let mut scene = Scene::new(devices, Matrix::Everyone);
    scene.run(700);
    for listener in 0..100 {
        for talker in 0..100 {
            let level = scene.level(listener, talker);
            if listener == talker {
                assert!(level < -46.0, "{listener} hears itself at {level}");
            } else {
                assert!((level + 36.0).abs() < 2.0, "{listener} hears {talker} at {level}");
            }
        }
    }
}

#[test]
fn a_held_customer_hears_music_and_neither_is_heard() {
    let devices = vec![Device::new(0, PCMA, -15.0), Device::new(1, G722, -15.0)];
    let mut scene = Scene::new(devices, Matrix::Everyone);
    scene.run(500);
    let music = PlayerId(1);
    scene.apply(Plan::SetEdges {
        room: ROOM,
        edges: vec![scene.edge(0, 1, Gain::MUTE), scene.edge(1, 0, Gain::MUTE)],
    });
    scene.apply(Plan::Play {
        room: ROOM,
        player: music,
        sound: Sound::Tone(Tone::steady(1_025.0, -20.0)),
        to: Audience::Leg(scene.devices[0].leg),
    });
    scene.run(1_000);
    assert!((scene.devices[0].level_of(1_025.0) + 20.0).abs() < 0.5);
    assert!(scene.level(0, 1) < ABSENT);
    let heard_by_agent = scene.devices[1].heard.len();
    scene.run(200);
    assert_eq!(
        scene.devices[1].heard.len(),
        heard_by_agent,
        "nothing is sent where nothing is heard"
    );
    scene.apply(Plan::StopPlay {
        room: ROOM,
        player: music,
    });
    let forget = |edge: Edge| Edge { gain: None, ..edge };
    scene.apply(Plan::SetEdges {
        room: ROOM,
        edges: vec![
            forget(scene.edge(0, 1, Gain::MUTE)),
            forget(scene.edge(1, 0, Gain::MUTE)),
        ],
    });
    scene.run(1_000);
    assert_matrix(&scene, everybody_else(-15.0));
}

#[test]
fn a_consultation_is_private_and_the_way_back_too() {
    // Customer 0, agent 1, expert 2 in a second room; the agent goes there and comes back.
    let devices = vec![Device::new(0, PCMU, -15.0), Device::new(1, PCMU, -15.0)];
    let mut scene = Scene::new(devices, Matrix::Everyone);
    let consultation = RoomId(10);
    scene.apply(open_room(consultation, Matrix::Everyone));
    let expert = Device::new(2, OPUS, -15.0);
    let (agent, leg) = (scene.devices[1].leg, expert.leg);
    scene.join(expert, &[]);
    scene.apply(Plan::MoveLeg {
        leg,
        room: consultation,
    });
    scene.run(600);
    assert!((scene.level(0, 1) + 15.0).abs() < 1.0 && scene.level(1, 2) < ABSENT);
    scene.apply(Plan::MoveLeg {
        leg: agent,
        room: consultation,
    });
    let before = scene.devices[0].heard.len();
    scene.run(1_000);
    assert_eq!(scene.devices[0].heard.len(), before, "the customer hears nothing of it");
    assert!((scene.level(1, 2) + 15.0).abs() < 1.0 && scene.level(1, 0) < ABSENT);
    assert!((scene.level(2, 1) + 15.0).abs() < 1.0);
    scene.devices[2].heard.clear();
    scene.apply(Plan::MoveLeg { leg: agent, room: ROOM });
    scene.run(1_000);
    assert!(scene.devices[2].heard.is_empty(), "nor the expert of what follows");
    assert!((scene.level(0, 1) + 15.0).abs() < 1.0 && (scene.level(1, 0) + 15.0).abs() < 1.0);
}

#[test]
fn listen_whisper_and_barge_in_mixed_codecs_and_rates() {
    // Customer 0 (PCMU), agent 1 (Opus), supervisor 2 (G.722).
    let formats = [PCMU, OPUS, G722];
    let devices = (0..3).map(|n| Device::new(n, formats[usize::from(n)], -15.0)).collect();
    let mut scene = Scene::new(devices, Matrix::Everyone);
    let listen = vec![scene.edge(2, 0, Gain::MUTE), scene.edge(2, 1, Gain::MUTE)];
    scene.apply(Plan::SetEdges {
        room: ROOM,
        edges: listen,
    });
    scene.run(1_000);
    let listens = |listener, talker| (talker != 2 && listener != talker).then_some(-15.0);
    assert_matrix(&scene, listens);
    let whisper = vec![scene.edge(2, 1, Gain::from_db(-6.0))];
    scene.apply(Plan::SetEdges {
        room: ROOM,
        edges: whisper,
    });
    scene.run(1_000);
    assert_matrix(&scene, |listener, talker| match (listener, talker) {
        (1, 2) => Some(-21.0),
        _ => listens(listener, talker),
    });
    let barge = vec![scene.edge(2, 0, Gain::UNITY), scene.edge(2, 1, Gain::UNITY)];
    scene.apply(Plan::SetEdges {
        room: ROOM,
        edges: barge,
    });
    scene.run(1_000);
    assert_matrix(&scene, everybody_else(-15.0));
}

#[test]
fn selective_mute_takes_one_edge_and_no_other() {
    let devices = (0..4).map(|n| Device::new(n, CODECS[usize::from(n)], -18.0)).collect();
    let mut scene = Scene::new(devices, Matrix::Everyone);
    let edges = vec![scene.edge(3, 1, Gain::MUTE)];
    scene.apply(Plan::SetEdges { room: ROOM, edges });
    scene.run(1_000);
    assert_matrix(&scene, |listener, talker| match (listener, talker) {
        (1, 3) => None,
        _ => everybody_else(-18.0)(listener, talker),
    });
}

#[test]
fn a_sum_too_loud_for_one_is_softer_for_him_and_as_it_was_for_the_others() {
    // Two shout in phase; each hears only the other, as loud as it is, and the third hears their sum undistorted.
    let devices = vec![
        Device::with_tone(0, FULL, 425.0, 2.0),
        Device::with_tone(1, FULL, 425.0, 2.0),
        Device::with_tone(2, FULL, 925.0, -90.0),
    ];
    let mut scene = Scene::new(devices, Matrix::Everyone);
    scene.run(1_000);
    for listener in 0..3 {
        let third_harmonic = scene.devices[listener].level_of(1_275.0);
        assert!(third_harmonic < -50.0, "{listener}: {third_harmonic}");
    }
    assert!((scene.level(0, 1) - 2.0).abs() < 0.3 && (scene.level(1, 0) - 2.0).abs() < 0.3);
    assert!((2.5..3.4).contains(&scene.level(2, 0)), "{}", scene.level(2, 0));
}

#[test]
fn three_loud_tones_reach_a_listener_of_every_codec_and_no_fourth() {
    // Evenly spaced, as a sum that is cut at full scale turns them into each other: 450 + 825 - 700 is the listener's own.
    let hz = [575.0, 450.0, 700.0, 825.0];
    for listener in CODECS {
        let codecs = [listener, PCMU, OPUS, G722];
        let device = |n: u16| Device::with_tone(n, codecs[usize::from(n)], hz[usize::from(n)], -2.9);
        let mut scene = Scene::new((0..4).map(device).collect(), Matrix::Everyone);
        scene.run(3_000);
        let level = |n: usize| scene.level(0, n);
        for talker in 1..4 {
            assert!((-9.0..-2.0).contains(&level(talker)), "{listener:?}: {}", level(talker));
        }
        // An echo of -30 dB below the others is what companding and Opus leave.
        assert!(level(0) < level(1) - 30.0, "{listener:?}: {} of {}", level(0), level(1));
        let stray = scene.devices[0].level_of(950.0);
        assert!(stray < level(1) - 30.0, "{listener:?}: {stray}");
    }
}

#[test]
fn a_room_works_at_the_rate_its_members_need_and_no_higher() {
    let rate = |scene: &Scene| scene.worker.engine.rooms.iter().next().unwrap().1.mix.rate;
    let device = |n, format| Device::new(n, format, -20.0);
    let mut scene = Scene::new(
        vec![device(0, PCMU), device(1, PCMA), device(2, OPUS)],
        Matrix::Everyone,
    );
    scene.run(500);
    assert_eq!(
        rate(&scene),
        Rate::Narrow,
        "nobody else could hear what Opus has above 4 kHz"
    );
    scene.join(device(3, G722), &[]);
    scene.run(4_000);
    assert_eq!(rate(&scene), Rate::Wide);
    scene.join(device(4, OPUS), &[]);
    scene.run(4_000);
    assert_eq!(rate(&scene), Rate::Full);
    assert_matrix(&scene, everybody_else(-20.0));
}

#[test]
fn what_only_wideband_members_can_hear_they_hear() {
    let devices = vec![
        Device::with_tone(0, G722, 5_025.0, -20.0),
        Device::with_tone(1, OPUS, 625.0, -20.0),
        Device::with_tone(2, PCMU, 825.0, -20.0),
    ];
    let mut scene = Scene::new(devices, Matrix::Everyone);
    scene.run(1_000);
    assert!((scene.level(1, 0) + 20.0).abs() < 2.0, "{}", scene.level(1, 0));
    // At 8 kHz it is left out, not folded to 2975 Hz.
    assert!(scene.devices[2].level_of(2_975.0) < ABSENT);
    assert!((scene.level(2, 1) + 20.0).abs() < 1.0);
}

#[test]
fn what_is_too_soft_for_talk_is_left_out_of_a_conference_and_kept_in_a_call_of_two() {
    let devices = vec![Device::new(0, PCMU, -54.0), Device::new(1, PCMA, -15.0)];
    let mut scene = Scene::new(devices, Matrix::Everyone);
    scene.run(1_000);
    assert!((scene.level(1, 0) + 54.0).abs() < 3.0, "{}", scene.level(1, 0));
    let mut third = Device::new(2, PCMU, -15.0);
    third.silence(true);
    scene.join(third, &[]);
    scene.run(1_000);
    let heard = scene.devices[1].last_ms(400);
    assert!(
        heard.iter().all(|sample| sample.unsigned_abs() <= 8),
        "nothing is summed"
    );
}

#[test]
fn listeners_who_do_not_talk_share_one_encoding() {
    for format in [PCMU, G722, OPUS] {
        let mut devices: Vec<_> = (0..6).map(|n| Device::new(n, format, -20.0)).collect();
        devices[2..].iter_mut().for_each(|device| device.silence(true));
        let mut scene = Scene::new(devices, Matrix::Everyone);
        scene.run(1_000);
        let last = |n: usize| &scene.devices[n].payloads[30..];
        assert!((3..6).all(|n| last(n) == last(2)), "{format:?}");
        assert_ne!(last(0), last(2));
    }
}

#[test]
fn a_listener_who_begins_to_talk_hears_on_without_a_break() {
    for format in [PCMU, G722, OPUS, WIDE] {
        let mut devices: Vec<_> = (0..3).map(|n| Device::new(n, format, -15.0)).collect();
        devices[1].silence(true);
        devices[2].silence(true);
        let mut scene = Scene::new(devices, Matrix::Everyone);
        scene.run(1_000);
        for turn in 0..4 {
            scene.devices[1].silence(turn % 2 == 1);
            scene.run(1_000);
        }
        let (low, high) = scene.devices[1].steadiness(scene.devices[0].hz, 500);
        assert!(low > -17.0 && high < -13.5, "{format:?}: {low} to {high}");
        scene.devices[1].assert_gapless();
    }
}

#[test]
fn the_loudest_is_said_to_speak_when_that_changes_and_not_in_pauses() {
    let devices = (0..3).map(|n| Device::new(n, PCMU, -20.0)).collect();
    let mut scene = Scene::new(devices, Matrix::Everyone);
    scene.devices[1].silence(true);
    scene.devices[2].silence(true);
    scene.run(2_000);
    scene.devices[0].silence(true);
    scene.run(2_000);
    scene.devices[1].silence(false);
    scene.run(2_000);
    let said: Vec<_> = scene
        .worker
        .events
        .iter()
        .filter_map(|event| match event {
            Event::ActiveSpeaker { room: ROOM, leg } => Some(*leg),
            _ => None,
        })
        .collect();
    assert_eq!(said, [scene.devices[0].leg, scene.devices[1].leg]);
}

#[test]
fn level_control_brings_members_to_one_level() {
    let devices = vec![
        Device::new(0, PCMU, -29.0),
        Device::new(1, PCMU, -10.0),
        Device::new(2, PCMA, -90.0),
    ];
    let mut scene = Scene::new(devices, Matrix::Everyone);
    scene.apply(Plan::ControlLevel {
        room: ROOM,
        leg: None,
        on: true,
    });
    scene.run(15_000);
    let (soft, loud) = (scene.level(2, 0), scene.level(2, 1));
    assert!((soft - loud).abs() < 2.0, "{soft} and {loud}");
    scene.apply(Plan::ControlLevel {
        room: ROOM,
        leg: None,
        on: false,
    });
    scene.run(1_000);
    assert!((scene.level(2, 0) + 29.0).abs() < 1.0 && (scene.level(2, 1) + 10.0).abs() < 1.0);
}
