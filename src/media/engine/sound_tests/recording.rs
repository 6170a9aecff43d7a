use super::studio::{A, B, C, ROOM, Studio, Tape};
use crate::plan::{Audience, Edge, Gain, Matrix, Sound, Source};
use crate::{Event, LegId, Plan, Recorded, RecordingId, RoomId, Side, StartRecord};
use std::time::Duration;

const TAPE: RecordingId = RecordingId(5);
const OTHER: RoomId = RoomId(10);

/// A customer at 400 Hz and an agent at 600 Hz who hear each other.
fn call() -> Studio {
    let mut studio = Studio::new(Matrix::Everyone);
    studio.join(A, ROOM, Some(400.0));
    studio.join(B, ROOM, Some(600.0));
    studio.run(10);
    studio
}

fn start(studio: &mut Studio, of: Recorded) {
    let (recording, name) = (TAPE, "call-1".into());
    studio.apply(Plan::StartRecord(Box::new(StartRecord { recording, name, of })));
}

fn sides() -> Recorded {
    Recorded::Sides([(A, Side::Left), (B, Side::Right)].into_iter().collect())
}

fn stop(studio: &mut Studio) -> &Tape {
    studio.apply(Plan::StopRecord { recording: TAPE });
    &studio.files.tapes[&TAPE]
}

fn assert_heard(tape: &Tape, channel: usize, hz: &[f32], not: &[f32]) {
    for &hz in hz {
        let level = tape.level(channel, hz);
        assert!((level + 16.0).abs() < 1.0, "{hz} Hz in channel {channel}: {level}");
    }
    for &hz in not {
        let level = tape.level(channel, hz);
        assert!(level < -45.0, "{hz} Hz in channel {channel}: {level}");
    }
}

fn ended(studio: &Studio) -> usize {
    let is_end = |event: &&Event| matches!(event, Event::Recorded { recording: TAPE, .. });
    studio.events.iter().filter(is_end).count()
}

#[test]
fn a_call_is_recorded_with_each_side_in_its_channel_and_stays_a_relay() {
    let mut studio = call();
    studio.listen_anew();
    start(&mut studio, sides());
    studio.run(250);
    let tape = stop(&mut studio);
    assert_eq!(
        (tape.name.as_str(), tape.channels, tape.missing),
        ("call-1", 2, Some(Duration::ZERO))
    );
    assert!(tape.samples.len().abs_diff(2 * 40_000) <= 320, "{}", tape.samples.len());
    let late = Tape {
        samples: tape.samples[8_000..].to_vec(),
        channels: 2,
        ..Tape::default()
    };
    assert_heard(&late, 0, &[400.0], &[600.0]);
    assert_heard(&late, 1, &[600.0], &[400.0]);
    assert_eq!(ended(&studio), 1);
    for phone in &studio.phones {
        let steps = phone.packets.windows(2);
        assert!(
            steps
                .clone()
                .all(|two| two[1].sequence == two[0].sequence.wrapping_add(1))
        );
        assert!(
            steps
                .clone()
                .all(|two| two[1].timestamp == two[0].timestamp.wrapping_add(160))
        );
        assert_eq!(phone.heard.len(), 250 * 160, "every packet passed");
    }
}

#[test]
fn a_recording_follows_its_legs_through_rooms_and_others_join_it() {
    let mut studio = call();
    start(&mut studio, sides());
    studio.run(50);
    // C is consulted in a room of its own, then takes over.
    studio.join(C, ROOM, Some(900.0));
    studio.run(50);
    studio.open_room(OTHER, Matrix::Everyone);
    let (leg, room) = (A, OTHER);
    studio.apply(Plan::MoveLeg { leg, room });
    studio.apply(Plan::MoveLeg { leg: C, room });
    let (recording, leg, side) = (TAPE, C, Some(Side::Right));
    studio.apply(Plan::RecordLeg { recording, leg, side });
    studio.apply(Plan::CloseLeg { leg: B });
    studio.phones.retain(|phone| phone.leg != B);
    studio.run(100);
    let tape = stop(&mut studio);
    assert!(tape.samples.len().abs_diff(2 * 32_000) <= 320);
    let part = |from: usize, to: usize| Tape {
        samples: tape.samples[2 * from..2 * to].to_vec(),
        channels: 2,
        ..Tape::default()
    };
    assert_heard(&part(4_000, 16_000), 1, &[600.0], &[900.0]);
    assert_heard(&part(20_000, 31_000), 1, &[900.0], &[600.0]);
    assert_heard(&part(4_000, 31_000), 0, &[400.0], &[600.0, 900.0]);
}

#[test]
fn a_whisper_and_music_are_never_in_the_customers_channel() {
    let mut studio = call();
    studio.join(C, ROOM, Some(900.0));
    let edge = |from, to, gain| Edge {
        from: Source::Leg(from),
        to,
        gain: Some(gain),
    };
    let edges = vec![edge(C, A, Gain::MUTE), edge(C, B, Gain::UNITY)];
    studio.apply(Plan::SetEdges { room: ROOM, edges });
    studio.play(ROOM, Sound::Music("1500".into()), Audience::Leg(A));
    let everyone = [(A, Side::Left), (B, Side::Right), (C, Side::Right)];
    start(&mut studio, Recorded::Sides(everyone.into_iter().collect()));
    studio.run(200);
    let tape = stop(&mut studio);
    let late = Tape {
        samples: tape.samples[16_000..].to_vec(),
        channels: 2,
        ..Tape::default()
    };
    assert_heard(&late, 0, &[400.0], &[600.0, 900.0, 1500.0]);
    assert_heard(&late, 1, &[600.0, 900.0], &[400.0, 1500.0]);
}

#[test]
fn a_pause_leaves_neither_sound_nor_gap() {
    let mut studio = call();
    start(&mut studio, sides());
    studio.run(60);
    let (recording, paused) = (TAPE, true);
    studio.apply(Plan::PauseRecord { recording, paused });
    assert_eq!(
        studio.files.tapes[&TAPE].samples.len(),
        60 * 320,
        "all of it is with the file thread"
    );
    studio.run(100);
    studio.apply(Plan::PauseRecord {
        recording,
        paused: false,
    });
    studio.run(40);
    let tape = stop(&mut studio);
    assert_eq!(tape.samples.len(), 100 * 320);
    assert_eq!(tape.missing, Some(Duration::ZERO));
}

#[test]
fn a_disk_that_is_too_slow_costs_sound_of_the_file_and_none_of_the_call() {
    let mut studio = call();
    start(&mut studio, sides());
    studio.listen_anew();
    studio.files.stuck = true;
    studio.run(500);
    assert!(studio.phones.iter().all(|phone| phone.heard.len() == 500 * 160));
    studio.files.stuck = false;
    studio.run(100);
    let tape = stop(&mut studio);
    let missing = tape.missing.unwrap();
    assert!((5.5..6.5).contains(&missing.as_secs_f32()), "{missing:?}");
    let length = tape.samples.len() as f32 / 16_000.0;
    assert!((length + missing.as_secs_f32() - 12.0).abs() < 0.1, "{length}");
}

#[test]
fn a_recording_ends_with_its_last_leg_and_that_of_a_room_with_the_room() {
    let mut studio = call();
    start(&mut studio, sides());
    studio.run(10);
    studio.apply(Plan::CloseLeg { leg: A });
    studio.run(10);
    assert_eq!(ended(&studio), 0);
    studio.apply(Plan::CloseLeg { leg: B });
    assert_eq!(ended(&studio), 1);
    studio.apply(Plan::StopRecord { recording: TAPE });
    let mut studio = call();
    start(&mut studio, Recorded::Room(ROOM));
    studio.run(10);
    studio.apply(Plan::CloseRoom { room: ROOM });
    assert_eq!(ended(&studio), 1);
    assert_eq!(studio.files.tapes[&TAPE].channels, 1);
}

#[test]
fn a_room_is_recorded_with_all_who_come() {
    let mut studio = call();
    start(&mut studio, Recorded::Room(ROOM));
    studio.join(C, ROOM, Some(900.0));
    studio.run(200);
    let tape = stop(&mut studio);
    let late = Tape {
        samples: tape.samples[16_000..].to_vec(),
        channels: 1,
        ..Tape::default()
    };
    assert_heard(&late, 0, &[400.0, 600.0, 900.0], &[1500.0]);
}

#[test]
fn a_member_who_is_muted_is_not_in_the_recording_of_the_room() {
    let mut studio = call();
    start(&mut studio, Recorded::Room(ROOM));
    studio.join(C, ROOM, Some(900.0));
    studio.apply(Plan::Restrict {
        leg: C,
        muted: true,
        deaf: false,
    });
    studio.run(200);
    assert_heard(stop(&mut studio), 0, &[400.0, 600.0], &[900.0]);
}

#[test]
fn what_cannot_be_recorded_has_ended_at_once() {
    let mut studio = call();
    start(&mut studio, Recorded::Leg(LegId(77)));
    start(&mut studio, Recorded::Room(RoomId(77)));
    assert_eq!(ended(&studio), 2);
    let failed = |event: &Event| matches!(event, Event::Recorded { result, .. } if !result.is_complete());
    assert!(
        studio
            .events
            .iter()
            .filter(|event| matches!(event, Event::Recorded { .. }))
            .all(failed)
    );
}

#[test]
fn nobody_is_decoded_once_nobody_records() {
    let mut studio = call();
    start(&mut studio, sides());
    studio.run(10);
    stop(&mut studio);
    let tick = studio.engine.next_tick_for_tests();
    assert_eq!(tick, None, "a relay needs no ticks");
}
