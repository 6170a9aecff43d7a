use super::studio::{A, B, C, PLAYER, ROOM, Studio};
use crate::plan::{Audience, Codec, Matrix, Sound};
use crate::tone::Tone;
use crate::{Event, Plan, RoomId};
use std::time::Duration;

fn prompt(name: &str) -> Sound {
    Sound::Prompt(name.into())
}

fn played(room: RoomId) -> Event {
    Event::Played { room, player: PLAYER }
}

#[test]
fn a_prompt_is_heard_whole_and_its_end_is_said() {
    let mut studio = Studio::new(Matrix::Nobody);
    studio.join(A, ROOM, None);
    studio.play(ROOM, prompt("440"), Audience::Leg(A));
    studio.run(50);
    assert!((studio.phone(A).level(440.0) + 16.0).abs() < 0.5);
    assert_eq!(studio.phone(A).heard.len(), 8_000);
    assert_eq!(studio.events, []);
    studio.run(1);
    assert_eq!(studio.events, [played(ROOM)]);
    assert_eq!(studio.files.closed, 1);
    studio.run(50);
    assert_eq!(studio.events.len(), 1);
}

#[test]
fn a_prompt_that_is_not_there_ends_at_once() {
    let mut studio = Studio::new(Matrix::Nobody);
    studio.join(A, ROOM, None);
    studio.play(ROOM, prompt("none"), Audience::Leg(A));
    studio.run(1);
    assert_eq!(studio.events, [played(ROOM)]);
}

#[test]
fn a_sequence_plays_one_after_the_other() {
    let mut studio = Studio::new(Matrix::Nobody);
    studio.join(A, ROOM, None);
    let pause = Sound::Silence(Duration::from_millis(200));
    let sounds = vec![Sound::Tone(Tone::beep()), pause, prompt("gone"), prompt("440")];
    studio.play(ROOM, Sound::Sequence(sounds), Audience::Leg(A));
    studio.run(200);
    assert_eq!(studio.events, [played(ROOM)]);
    let loud = |from_ms: usize, to_ms: usize, hz| {
        crate::goertzel::level_dbm0(&studio.phone(A).heard[from_ms * 8..to_ms * 8], hz, 8_000) > -17.0
    };
    assert!(loud(0, 200, 1000.0) && !loud(200, 400, 1000.0) && !loud(200, 400, 440.0));
    assert!(loud(440, 1400, 440.0));
}

#[test]
fn digits_sound_as_their_keys() {
    let mut studio = Studio::new(Matrix::Nobody);
    studio.join(A, ROOM, None);
    studio.play(ROOM, Sound::digits("19"), Audience::Leg(A));
    studio.run(100);
    let heard = &studio.phone(A).heard;
    for (from_ms, low, high) in [(0, 697.0, 1209.0), (260, 852.0, 1477.0)] {
        let part = &heard[from_ms * 8..from_ms * 8 + 1_120];
        assert!(crate::goertzel::level_dbm0(part, low, 8_000) > -15.0);
        assert!(crate::goertzel::level_dbm0(part, high, 8_000) > -15.0);
    }
    assert_eq!(studio.events, [played(ROOM)]);
}

#[test]
fn music_is_decoded_once_for_all_rooms_and_goes_on_where_it_stood() {
    let mut studio = Studio::new(Matrix::Nobody);
    let other = RoomId(10);
    studio.open_room(other, Matrix::Nobody);
    studio.join(A, ROOM, None);
    studio.join(B, other, None);
    studio.play(ROOM, Sound::Music("600".into()), Audience::Room);
    studio.run(10);
    studio.play(other, Sound::Music("600".into()), Audience::Leg(B));
    studio.run(500);
    let (a, b) = (&studio.phone(A).heard, &studio.phone(B).heard);
    assert!(b.len() >= 80_000);
    assert_eq!(a[a.len() - b.len()..], b[..], "both hear the same moment");
    studio.apply(Plan::StopPlay {
        room: ROOM,
        player: PLAYER,
    });
    studio.apply(Plan::CloseRoom { room: other });
    studio.play(ROOM, Sound::Music("600".into()), Audience::Leg(A));
    studio.run(10);
    assert_eq!(studio.files.opened.len(), 1);
    assert_eq!(
        studio
            .events
            .iter()
            .filter(|event| matches!(event, Event::Played { .. }))
            .count(),
        0
    );
}

#[test]
fn a_slow_disk_is_silence_and_the_sound_goes_on_after_it() {
    let mut studio = Studio::new(Matrix::Nobody);
    studio.join(A, ROOM, None);
    studio.play(ROOM, Sound::Music("600".into()), Audience::Room);
    studio.run(50);
    studio.files.stuck = true;
    studio.run(38);
    assert_eq!(
        studio.engine.stats().starved,
        0,
        "three quarters of a second are read ahead"
    );
    studio.run(50);
    assert!(studio.engine.stats().starved > 20);
    studio.files.stuck = false;
    studio.run(2);
    studio.listen_anew();
    studio.run(50);
    assert!((studio.phone(A).level(600.0) + 16.0).abs() < 0.5);
    let sequences: Vec<u16> = studio.phone(A).packets.iter().map(|header| header.sequence).collect();
    assert!(sequences.windows(2).all(|two| two[1] == two[0].wrapping_add(1)));
}

#[test]
fn a_wideband_listener_hears_files_as_wide_as_they_are_and_a_telephone_nothing_folded() {
    for sound in [prompt("5500"), Sound::Music("5500".into())] {
        let mut studio = Studio::new(Matrix::Nobody);
        let (wide, full) = (RoomId(10), RoomId(11));
        for (room, leg, codec) in [
            (ROOM, A, Codec::Pcmu),
            (wide, B, Codec::G722),
            (full, C, Codec::L16(48_000)),
        ] {
            if room != ROOM {
                studio.open_room(room, Matrix::Nobody);
            }
            studio.join_as(leg, room, codec, None);
            studio.play(room, sound.clone(), Audience::Room);
        }
        studio.run(48);
        let level = |leg, hz| studio.phone(leg).level(hz);
        assert!(
            (level(B, 5_500.0) + 16.0).abs() < 1.0,
            "{sound:?}: {}",
            level(B, 5_500.0)
        );
        assert!(
            (level(C, 5_500.0) + 16.0).abs() < 1.0,
            "{sound:?}: {}",
            level(C, 5_500.0)
        );
        assert!(level(A, 2_500.0) < -50.0, "{sound:?}: {}", level(A, 2_500.0));
    }
}

#[test]
fn music_goes_on_in_another_width_when_a_wideband_listener_comes() {
    let mut studio = Studio::new(Matrix::Nobody);
    studio.join(A, ROOM, None);
    studio.play(ROOM, Sound::Music("1000".into()), Audience::Room);
    studio.run(50);
    studio.join_as(B, ROOM, Codec::G722, None);
    studio.run(5);
    studio.listen_anew();
    studio.run(50);
    for leg in [A, B] {
        assert!((studio.phone(leg).level(1_000.0) + 16.0).abs() < 0.7);
    }
    assert_eq!(studio.files.opened.len(), 1);
}
