//! What operators see and do.

use super::*;
use crate::{Answer, Command, Notice, Refusal};
use model::{CallView, StoreOp};
use std::time::Duration;

fn calls(lab: &mut Lab) -> Vec<CallView> {
    match lab.ask(Command::Calls) {
        Answer::Calls(views) => views,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_is_shown_with_its_legs() {
    let (mut lab, _, jim, _, invite) = ringing();
    let [view] = &calls(&mut lab)[..] else {
        panic!("one call")
    };
    assert_eq!((&*view.state, view.answered_at), ("ringing", None));
    let states: Vec<_> = view.legs.iter().map(|leg| &*leg.state).collect();
    assert_eq!(states, ["ringing", "ringing"]);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    let [view] = &calls(&mut lab)[..] else {
        panic!("one call")
    };
    assert_eq!(&*view.state, "answered");
    for leg in &view.legs {
        assert_eq!((&*leg.state, &*leg.codec), ("up", "PCMU/8000"));
        assert!(leg.rtp_port >= 16_384);
    }
    assert_eq!(&*view.legs[1].uri, jim.contact());
    assert_eq!(lab.ask(Command::Call(view.id)), Answer::Calls(vec![view.clone()]));
}

#[test]
fn an_operator_hangs_up() {
    let Up { mut lab, kate, jim, .. } = up();
    let id = calls(&mut lab)[0].id;
    assert_eq!(lab.ask(Command::Hangup(id)), Answer::Done(1));
    for phone in [&kate, &jim] {
        assert!(header(&told_bye(&mut lab, phone), Name::Reason).contains("operator"));
    }
    assert_eq!(reasons(&lab), [EndReason::Operator; 2]);
    assert!(matches!(
        lab.ask(Command::Hangup(id)),
        Answer::Refused(Refusal::NotFound(_))
    ));
    assert!(matches!(
        lab.ask(Command::Call(id)),
        Answer::Refused(Refusal::NotFound(_))
    ));
    lab.assert_clean();
}

#[test]
fn an_operator_ends_a_call_that_rings() {
    let (mut lab, kate, jim, _, invite) = ringing();
    let id = calls(&mut lab)[0].id;
    lab.ask(Command::Hangup(id));
    kate.expect(&mut lab, 480);
    cancelled(&mut lab, &jim, &invite);
    lab.assert_clean();
}

#[test]
fn the_dial_plan_can_be_asked() {
    let mut lab = Lab::new();
    let mut route = |to: &str| match lab.ask(Command::RouteTest {
        from: "1000".into(),
        to: to.into(),
    }) {
        Answer::Route(text) => text.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(route("1001"), "user 1001@example.com");
    assert_eq!(route("9196"), "echo");
    assert_eq!(route("9197"), "tone of 1004 Hz");
    assert_eq!(route("2000"), "group \"2000\": answers 480");
    assert_eq!(route("9001"), "reject 603");
    assert_eq!(route("4711"), "user \"4711\": there is none, 404");
    let strange = Command::RouteTest {
        from: "nobody".into(),
        to: "1001".into(),
    };
    assert!(matches!(lab.ask(strange), Answer::Refused(Refusal::NotFound(_))));
}

#[test]
fn a_draining_switch_takes_no_calls_and_says_when_the_last_has_ended() {
    let Up {
        mut lab,
        mut kate,
        jim,
        mut kates,
        ..
    } = up();
    lab.ask(Command::Drain { limit_s: 30 });
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let refusal = kate.expect(&mut lab, 503);
    assert!(!header(&refusal, Name::RetryAfter).is_empty());
    assert_eq!(lab.notices, []);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    told_bye(&mut lab, &jim);
    assert_eq!(lab.notices, [Notice::Drained]);
    lab.pass_s(60);
    assert_eq!(lab.notices, [Notice::Drained], "once");
}

#[test]
fn a_drain_ends_what_is_left_at_its_limit() {
    let Up { mut lab, kate, jim, .. } = up();
    lab.ask(Command::Drain { limit_s: 30 });
    lab.pass_s(30);
    let bye = told_bye(&mut lab, &kate);
    assert!(header(&bye, Name::Reason).contains("The switch stops"));
    assert_eq!(lab.notices, []);
    // Jim's phone is gone.
    lab.pass_s(4);
    assert_eq!(lab.notices, [Notice::Drained]);
    assert_eq!(reasons(&lab), [EndReason::Shutdown; 2]);
    while jim.take(&mut lab).is_some() {}
}

#[test]
fn a_drain_without_calls_is_done_at_once() {
    let mut lab = Lab::new();
    lab.ask(Command::Drain { limit_s: 30 });
    assert_eq!(lab.notices, [Notice::Drained]);
}

#[test]
fn figures_tell_what_became_of_calls() {
    let (mut lab, kate, jim, kates, invite) = ringing();
    jim.reply(&mut lab, &invite, 486, None);
    let refusal = kate.expect(&mut lab, 486);
    kate.ack_failure(&mut lab, &kates, &refusal);
    assert_eq!(lab.figure("calls_offered_total"), 1);
    assert_eq!(lab.figure("calls_answered_total"), 0);
    assert_eq!(lab.figure("calls_ended_busy_total"), 1);
    assert_eq!(lab.figure("legs_ended_total"), 2);
}

#[test]
fn old_records_are_forgotten_each_minute_if_that_is_wanted() {
    for keep in [None, Some(Duration::from_secs(86_400))] {
        let mut config = super::lab::config();
        config.calls.keep_records = keep;
        let mut lab = Lab::with(config);
        lab.pass_s(121);
        let until = |op: &StoreOp| match op {
            StoreOp::ExpireCdrs(until) => Some(*until),
            _ => None,
        };
        let asked: Vec<_> = lab.stored.iter().filter_map(until).collect();
        let expected = keep.map(|keep| lab.now.wall - keep - Duration::from_secs(1));
        assert_eq!((asked.len(), asked.last().copied()), (keep.map_or(0, |_| 2), expected));
    }
}
