//! Recording and listening, as operators order them.

use super::*;
use crate::{Answer, Command, Input, Notice, RecordWish, Refusal};
use media::plan::{Recorded, Side};
use media::{Event, LegId, Plan, Recording};
use model::InteractionId;
use std::time::Duration;

fn id(lab: &mut Lab) -> InteractionId {
    match lab.ask(Command::Calls) {
        Answer::Calls(views) => views[0].id,
        other => panic!("{other:?}"),
    }
}

fn record(lab: &mut Lab, call: InteractionId, wish: RecordWish) -> Answer {
    lab.ask(Command::Record { call, wish })
}

/// Legs and sides of the last recording that was ordered.
fn sides(lab: &Lab) -> Vec<(LegId, Side)> {
    let of = |plan: &Plan| match plan {
        Plan::StartRecord(start) => Some(start.of.clone()),
        _ => None,
    };
    match lab.studio.plans.iter().rev().find_map(of) {
        Some(Recorded::Sides(sides)) => sides.to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_is_recorded_with_the_caller_left_until_it_ends() {
    let Up {
        mut lab,
        mut kate,
        mut kates,
        ..
    } = up();
    let call = id(&mut lab);
    assert_eq!(record(&mut lab, call, RecordWish::On), Answer::Done(1));
    let (left, right) = (
        lab.studio.towards(7000).unwrap().leg,
        lab.studio.towards(7100).unwrap().leg,
    );
    assert_eq!(sides(&lab), [(left, Side::Left), (right, Side::Right)]);
    let named = lab.studio.plans.iter().find_map(|plan| match plan {
        Plan::StartRecord(start) => Some(start.name.clone()),
        _ => None,
    });
    let name = named.unwrap();
    assert!(name.starts_with(&call.to_string()), "{name}");
    assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    assert_eq!(lab.figure("recordings_total"), 1);
    let rows: Vec<_> = lab
        .recordings
        .iter()
        .map(|row| (row.name.clone(), row.ended_at.is_some()))
        .collect();
    assert_eq!(
        rows,
        [(name.clone(), false), (name, true)],
        "when it begins, and when it has ended"
    );
    lab.pass_s(40);
}

#[test]
fn a_recording_pauses_goes_on_and_stops_as_ordered() {
    let Up { mut lab, .. } = up();
    let call = id(&mut lab);
    for wish in [RecordWish::Pause, RecordWish::Off] {
        assert!(matches!(
            record(&mut lab, call, wish),
            Answer::Refused(Refusal::Conflict(_))
        ));
    }
    for wish in [RecordWish::On, RecordWish::Pause, RecordWish::On, RecordWish::Off] {
        assert_eq!(record(&mut lab, call, wish), Answer::Done(1), "{wish:?}");
    }
    let told = lab.studio.plans.iter().filter_map(|plan| match plan {
        Plan::StartRecord(_) => Some("start"),
        Plan::PauseRecord { paused: true, .. } => Some("pause"),
        Plan::PauseRecord { paused: false, .. } => Some("go on"),
        Plan::StopRecord { .. } => Some("stop"),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ["start", "pause", "go on", "stop"]);
    assert_eq!(
        (
            lab.figure("recordings_total"),
            lab.figure("recordings_incomplete_total")
        ),
        (1, 0)
    );
    assert_eq!(
        record(&mut lab, call, RecordWish::On),
        Answer::Done(1),
        "again, into another file"
    );
}

#[test]
fn a_recording_that_lost_sound_or_met_a_full_disk_is_marked_and_the_call_goes_on() {
    let lost = Recording {
        length: Duration::from_millis(4_200),
        missing: Duration::from_millis(740),
        bytes: 67_244,
        error: None,
    };
    let full = Recording {
        error: Some("No space left on device".into()),
        missing: Duration::ZERO,
        ..lost.clone()
    };
    for result in [lost, full] {
        let mut up = up();
        let lab = &mut up.lab;
        lab.ask(Command::Snapshot {
            scope: None,
            user: None,
        });
        let call = id(lab);
        record(lab, call, RecordWish::On);
        assert!(recording_told(lab).last().is_some_and(|&told| told));
        let recording = lab.studio.tapes[0].0;
        let result = Box::new(result);
        lab.input(Input::Media(Event::Recorded {
            recording,
            result: result.clone(),
        }));
        let row = lab.recordings.last().expect("a row").clone();
        assert!(row.ended_at.is_some());
        assert_eq!((row.length_ms, row.bytes), (4_200, 67_244));
        assert_eq!(u128::from(row.missing_ms), result.missing.as_millis());
        assert_eq!(row.error, result.error);
        let figures = ["recordings_total", "recordings_incomplete_total"].map(|name| lab.figure(name));
        assert_eq!(figures, [1, 1]);
        assert_eq!(
            recording_told(lab),
            [false],
            "those who watch are told that it is recorded no more"
        );
        // The engine says of a recording once what came of it.
        lab.studio.tapes.clear();
        assert_eq!(id(lab), call, "it is up");
        assert_eq!(
            record(lab, call, RecordWish::On),
            Answer::Done(1),
            "and can be recorded again"
        );
        up.end();
    }
}

/// What was told since the last time of whether the call is recorded.
fn recording_told(lab: &mut Lab) -> Vec<bool> {
    let told = std::mem::take(&mut lab.notices).into_iter();
    let told = told.filter_map(|notice| match notice {
        Notice::Event(occurrence) => match occurrence.event {
            model::Event::InteractionChanged { interaction, .. } => Some(interaction.recording),
            _ => None,
        },
        _ => None,
    });
    told.collect()
}

#[test]
fn a_call_that_rings_and_one_that_is_not_there_are_not_recorded() {
    let (mut lab, ..) = ringing();
    let call = id(&mut lab);
    let refused = record(&mut lab, call, RecordWish::On);
    assert!(matches!(refused, Answer::Refused(Refusal::Conflict(_))));
    let refused = record(&mut lab, InteractionId(7), RecordWish::On);
    assert!(matches!(refused, Answer::Refused(Refusal::NotFound(_))));
}

#[test]
fn the_media_of_a_call_is_told_leg_by_leg() {
    let Up { mut lab, .. } = up();
    let call = id(&mut lab);
    let Answer::Media(legs) = lab.ask(Command::Inspect(call)) else {
        panic!()
    };
    let [kate, jim] = &legs[..] else { panic!("{legs:?}") };
    let users = legs
        .iter()
        .map(|leg| leg.user.as_ref().map(|user| user.user().to_owned()));
    assert_eq!(
        users.collect::<Vec<_>>(),
        [Some("1000".to_owned()), Some("1001".to_owned())]
    );
    for leg in [kate, jim] {
        assert_eq!((&*leg.codec, &*leg.mode), ("PCMU/8000", "relay"));
        let counts = [leg.packets_in, leg.packets_out, leg.lost, leg.duplicates, leg.strangers];
        assert_eq!((counts, leg.remote_lost), ([30, 31, 2, 3, 4], 5));
        assert_eq!((leg.jitter_ms, leg.remote_jitter_ms), (6.5, 7.2));
        assert_eq!((leg.round_trip_ms, leg.mos), (Some(48.3), Some(4.1)));
        let (received, sent) = (&leg.received, &leg.sent);
        assert_eq!((received.level_dbov, sent.level_dbov), (Some(-22.0), Some(-25.0)));
        let tone = |heard: &model::HeardView| {
            let tone = &heard.tones[0];
            (tone.hz, tone.dbm0, tone.ms, tone.ago_ms)
        };
        assert_eq!(tone(received), (400.0, -16.0, 512, 20));
        assert_eq!(tone(sent), (600.0, -19.0, 512, 20));
    }
    assert!(matches!(
        lab.ask(Command::Inspect(InteractionId(7))),
        Answer::Refused(Refusal::NotFound(_))
    ));
}
