use super::studio::{A, B, C, ROOM, Studio};
use crate::ear::Heard;
use crate::plan::{Audience, Codec, Matrix, Sound};
use crate::tone::Tone;
use crate::{Event, LegId, LegSound, Plan, Way};

fn ask(studio: &mut Studio, token: u64) {
    let legs = vec![A, B, LegId(99)];
    studio.apply(Plan::Inspect { token, legs });
}

fn answer(studio: &Studio, wanted: u64) -> Option<Vec<LegSound>> {
    studio.events.iter().find_map(|event| match event {
        Event::Inspected { token, legs } if *token == wanted => Some(legs.clone()),
        _ => None,
    })
}

fn assert_tone(heard: &Heard, hz: f32) {
    let tone = heard.tones.first().unwrap_or_else(|| panic!("{hz} Hz: {heard:?}"));
    assert!(
        (tone.hz - hz).abs() < 3.0 && (tone.dbm0 + 16.0).abs() < 1.0,
        "{heard:?}"
    );
    assert!(
        heard.level_dbov.is_some_and(|level| (-27.0..-20.0).contains(&level)),
        "{heard:?}"
    );
}

#[test]
fn who_asks_is_told_after_half_a_second_what_each_sends_and_is_sent() {
    let mut studio = Studio::new(Matrix::Everyone);
    studio.join(A, ROOM, Some(400.0));
    studio.join(B, ROOM, Some(600.0));
    studio.run(20);
    ask(&mut studio, 7);
    studio.run(20);
    assert_eq!(answer(&studio, 7), None, "it listens first");
    studio.run(15);
    let legs = answer(&studio, 7).unwrap();
    assert_eq!((legs.len(), legs[0].leg, legs[1].leg), (2, A, B));
    assert_tone(&legs[0].received, 400.0);
    assert_tone(&legs[0].sent, 600.0);
    assert_tone(&legs[1].received, 600.0);
    assert_tone(&legs[1].sent, 400.0);
    assert!(legs[0].stats.received > 40);
    // Ears are open now: the next answer comes at once.
    ask(&mut studio, 8);
    assert!(answer(&studio, 8).is_some());
}

#[test]
fn what_a_player_plays_is_found_in_what_a_leg_is_sent() {
    let mut studio = Studio::new(Matrix::Nobody);
    studio.join(A, ROOM, None);
    studio.play(ROOM, Sound::Tone(Tone::steady(1_200.0, -16.0)), Audience::Leg(A));
    ask(&mut studio, 1);
    studio.run(40);
    let legs = answer(&studio, 1).unwrap();
    assert_tone(&legs[0].sent, 1_200.0);
    assert_eq!(legs[0].received, Heard::default());
}

#[test]
fn it_is_told_how_what_each_is_sent_is_made() {
    let ways = |studio: &mut Studio, token| {
        let legs = vec![A, B, C];
        studio.apply(Plan::Inspect { token, legs });
        studio.run(40);
        let legs = answer(studio, token).unwrap();
        legs.iter().map(|leg| leg.way).collect::<Vec<_>>()
    };
    let mut studio = Studio::new(Matrix::Everyone);
    studio.join(A, ROOM, Some(400.0));
    assert_eq!(ways(&mut studio, 1), [Way::Nothing]);
    studio.join(B, ROOM, Some(600.0));
    assert_eq!(
        ways(&mut studio, 2),
        [Way::Relay, Way::Relay],
        "also while it is listened to"
    );
    studio.join(C, ROOM, None);
    assert_eq!(ways(&mut studio, 3), [Way::Mix; 3]);
    studio.apply(Plan::CloseLeg { leg: B });
    assert_eq!(ways(&mut studio, 4), [Way::Relay, Way::Relay]);
    studio.apply(Plan::CloseLeg { leg: C });
    studio.join_as(B, ROOM, Codec::Pcma, None);
    assert_eq!(ways(&mut studio, 5), [Way::Transcode, Way::Transcode]);
    studio.play(ROOM, Sound::Tone(Tone::steady(1_200.0, -16.0)), Audience::Leg(A));
    assert_eq!(ways(&mut studio, 6), [Way::Mix, Way::Transcode]);
}

#[test]
fn ears_close_when_nobody_has_asked_for_ten_seconds_and_unknown_legs_are_answered_at_once() {
    let mut studio = Studio::new(Matrix::Everyone);
    studio.join(A, ROOM, Some(400.0));
    studio.join(B, ROOM, None);
    ask(&mut studio, 1);
    studio.run(12 * 50);
    assert_eq!(studio.engine.next_tick_for_tests(), None);
    let legs = vec![LegId(99)];
    studio.apply(Plan::Inspect { token: 2, legs });
    assert_eq!(answer(&studio, 2), Some(Vec::new()));
}

#[test]
fn a_leg_that_is_closed_meanwhile_is_left_out_of_the_answer() {
    let mut studio = Studio::new(Matrix::Everyone);
    studio.join(A, ROOM, Some(400.0));
    studio.join(B, ROOM, None);
    ask(&mut studio, 1);
    studio.apply(Plan::CloseLeg { leg: A });
    studio.apply(Plan::CloseLeg { leg: B });
    studio.run(40);
    assert_eq!(answer(&studio, 1), Some(Vec::new()));
}
