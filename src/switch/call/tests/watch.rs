//! What those who watch are told.

use super::*;
use crate::{Answer, Command, Notice};
use model::{Aor, Event, Occurrence, Snapshot};

fn snapshot(lab: &mut Lab, user: Option<Aor>) -> Snapshot {
    match lab.ask(Command::Snapshot {
        scope: user,
        user: None,
    }) {
        Answer::Snapshot(snapshot) => *snapshot,
        other => panic!("{other:?}"),
    }
}

fn aor(user: &str) -> Aor {
    Aor::new(user, crate::testing::DOMAIN)
}

/// What was told since the last time.
fn told(lab: &mut Lab) -> Vec<Occurrence> {
    let told = std::mem::take(&mut lab.notices).into_iter();
    told.filter_map(|notice| match notice {
        Notice::Event(occurrence) => Some(*occurrence),
        _ => None,
    })
    .collect()
}

/// The same without how people are: for tests of what else is told.
fn told_of_things(lab: &mut Lab) -> Vec<Occurrence> {
    let mut told = told(lab);
    told.retain(|told| !matches!(told.event, Event::PresenceChanged { .. }));
    told
}

/// The names and states of calls told since the last time.
fn calls_told(lab: &mut Lab) -> Vec<(&'static str, String)> {
    let name = |event| match event {
        Event::CallStarted { call } => Some(("started", call.state.to_string())),
        Event::CallChanged { call, .. } => Some(("changed", call.state.to_string())),
        Event::CallEnded { call, .. } => Some(("ended", call.state.to_string())),
        _ => None,
    };
    told(lab).into_iter().filter_map(|told| name(told.event)).collect()
}

/// The names of what was told of interactions since the last time, and how many parties were shown.
fn interactions_told(lab: &mut Lab) -> Vec<(&'static str, usize)> {
    let name = |event| match event {
        Event::InteractionStarted { interaction } => Some(("started", interaction.parties.len())),
        Event::InteractionChanged { interaction, .. } => Some(("changed", interaction.parties.len())),
        Event::InteractionEnded { interaction, .. } => Some(("ended", interaction.parties.len())),
        _ => None,
    };
    told(lab).into_iter().filter_map(|told| name(told.event)).collect()
}

#[test]
fn an_interaction_is_told_with_its_people_and_its_case_data() {
    let (mut lab, kate, jim) = pair();
    snapshot(&mut lab, None);
    let (mut kate, jim) = (kate, jim);
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert_eq!(interactions_told(&mut lab), [("started", 2)]);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    let [interaction] = &snapshot(&mut lab, Some(aor("1001"))).interactions[..] else {
        panic!("one interaction")
    };
    told(&mut lab);
    let verb = crate::Verb::SetCaseData {
        interaction: interaction.id,
        key: "order".into(),
        value: "7".into(),
    };
    let act = crate::Act {
        by: crate::By::User(aor("1000")),
        client: "".into(),
        verb,
    };
    assert!(matches!(lab.ask(Command::Act(Box::new(act))), Answer::Acted(_)));
    assert_eq!(interactions_told(&mut lab), [("changed", 2)]);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    told_bye(&mut lab, &jim);
    assert!(matches!(interactions_told(&mut lab)[..], [("ended", _)]));
}

#[test]
fn nothing_is_told_before_somebody_watches() {
    let (mut lab, ..) = ringing();
    assert_eq!(lab.notices, []);
    let first = snapshot(&mut lab, None);
    assert_eq!((first.registrations.len(), first.calls.len()), (2, 1));
    assert_eq!(lab.notices, [], "what was is in the snapshot");
}

#[test]
fn a_call_is_told_from_its_beginning_to_its_end() {
    let (mut lab, mut kate, jim) = pair();
    let before = snapshot(&mut lab, None).seq;
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert_eq!(calls_told(&mut lab), [("started", "ringing".to_owned())]);
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
    assert_eq!(calls_told(&mut lab), [("changed", "ringing".to_owned())]);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    assert_eq!(calls_told(&mut lab).last(), Some(&("changed", "answered".to_owned())));
    let now = snapshot(&mut lab, None);
    assert!(now.seq > before && now.calls.len() == 1);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    assert_eq!(
        calls_told(&mut lab),
        [("ended", "ending".to_owned())],
        "before the farewells"
    );
    told_bye(&mut lab, &jim);
    lab.assert_clean();
    assert_eq!(snapshot(&mut lab, None).calls, []);
    let late = told(&mut lab).into_iter().map(|told| told.event);
    assert!(
        !late.into_iter().any(|event| matches!(event, Event::CallEnded { .. })),
        "an end is told once"
    );
}

#[test]
fn what_changes_nothing_that_is_shown_is_not_told() {
    let Up {
        mut lab,
        kate,
        mut kates,
        ..
    } = up();
    snapshot(&mut lab, None);
    let mut kate = kate;
    kate.send_in(&mut lab, &mut kates, Method::Options, "", None);
    kate.expect(&mut lab, 200);
    lab.pass_s(20);
    assert_eq!(told(&mut lab), []);
}

#[test]
fn numbers_rise_by_one_and_stay_safe_in_json() {
    let mut lab = Lab::new();
    let first = snapshot(&mut lab, None).seq;
    assert!(first > 0 && first < 1 << 53);
    for port in 6000..6010 {
        let _ = Handset::registered(&mut lab, "1000", port);
    }
    let numbers: Vec<u64> = told(&mut lab).iter().map(|told| told.seq).collect();
    // Ten contacts of one user, who can be reached from the first one on.
    assert_eq!(numbers, (first + 1..=first + 11).collect::<Vec<_>>());
}

#[test]
fn bindings_are_told_when_they_come_and_go_and_not_when_they_are_refreshed() {
    let mut lab = Lab::new();
    snapshot(&mut lab, None);
    let _ = Handset::registered(&mut lab, "1000", 6000);
    let [
        Occurrence {
            event: Event::Registered { registration },
            ..
        },
    ] = &told_of_things(&mut lab)[..]
    else {
        panic!("one binding")
    };
    assert_eq!(registration.aor, aor("1000"));
    let _ = Handset::registered(&mut lab, "1000", 6000);
    assert_eq!(told(&mut lab), [], "a refresh");
    lab.ask(Command::DropRegistration {
        aor: aor("1000"),
        contact: None,
    });
    assert!(matches!(
        &told_of_things(&mut lab)[..],
        [Occurrence {
            event: Event::Unregistered { .. },
            ..
        }]
    ));
}

#[test]
fn events_and_snapshots_for_an_agent_are_their_own() {
    let (mut lab, ..) = ringing();
    let own = snapshot(&mut lab, Some(aor("1001")));
    assert_eq!((own.registrations.len(), own.calls.len()), (1, 1));
    let other = snapshot(&mut lab, Some(aor("1002")));
    assert_eq!((other.registrations.len(), other.calls.len()), (0, 0));
    let started = Event::CallStarted {
        call: own.calls[0].clone(),
    };
    assert!(started.concerns(&aor("1000")) && started.concerns(&aor("1001")));
    assert!(!started.concerns(&aor("1002")));
}

#[test]
fn a_drain_is_told() {
    let mut lab = Lab::new();
    snapshot(&mut lab, None);
    lab.ask(Command::Drain { limit_s: 1 });
    assert!(told(&mut lab).iter().any(|told| told.event == Event::Draining));
}

#[test]
fn what_came_of_a_verb_is_told_with_the_id_of_its_command() {
    let Up { mut lab, .. } = up();
    let ann = Handset::registered(&mut lab, "1002", 6200);
    let interaction = snapshot(&mut lab, None).interactions[0].id;
    let verb = crate::Verb::Consult {
        interaction,
        target: "1002".into(),
        medium: model::Medium::Voice,
    };
    let act = crate::Act {
        by: crate::By::User(aor("1000")),
        client: "a1".into(),
        verb,
    };
    assert!(matches!(lab.ask(Command::Act(Box::new(act))), Answer::Acted(_)));
    let invite = ann.expect_request(&mut lab, Method::Invite);
    ann.reply(&mut lab, &invite, 486, None);
    let outcomes: Vec<_> = told(&mut lab)
        .into_iter()
        .filter_map(|told| match told.event {
            Event::Verb { outcome } => Some((outcome.client, outcome.status, outcome.by)),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [("a1".into(), 486, Some(aor("1000")))]);
}
