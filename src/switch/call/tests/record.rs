//! Recording and listening, as operators order them.

use super::*;
use crate::{Answer, Command, RecordWish, Refusal};
use media::plan::{Recorded, Side};
use media::{LegId, Plan};
use model::InteractionId;

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
    assert_eq!((&*kate.codec, &*kate.mode, kate.packets_in), ("PCMU/8000", "relay", 30));
    assert_eq!(
        kate.user.as_ref().map(|user| user.user().to_owned()),
        Some("1000".to_owned())
    );
    assert_eq!(
        (jim.received.tones[0].hz, jim.received.level_dbov),
        (400.0, Some(-22.0))
    );
    assert_eq!(jim.sent.level_dbov, None);
    assert!(matches!(
        lab.ask(Command::Inspect(InteractionId(7))),
        Answer::Refused(Refusal::NotFound(_))
    ));
}
