//! INVITEs that go into a call that is there already: Replaces, Join, the focus, and picking up.

use super::consult::consulting;
use super::stage::{ANN, BOSS, CUSTOMER, JIM, KATE, Stage};
use super::*;
use crate::Verb;
use model::InteractionState;

#[test]
fn replaces_moves_a_call_to_another_phone_of_the_same_user() {
    let (mut stage, id) = Stage::talking();
    let replaces = stage.replaces(KATE, 0);
    let mut second = Handset::registered(&mut stage.lab, "1000", 6950);
    let mut dialog = second.invite_with(
        &mut stage.lab,
        "1005",
        &format!("Replaces: {replaces}\r\nRequire: replaces\r\n"),
        Some(&sdp(7950, &[0])),
    );
    let ok = second.expect(&mut stage.lab, 200);
    second.ack(&mut stage.lab, &mut dialog, &ok, None);
    stage.settle();
    assert!(!stage.is_in_a_call(KATE));
    assert_eq!(stage.hears(CUSTOMER), ["7950"]);
    assert_eq!(stage.view(id).parties.len(), 2);
    let update = second.expect_request(&mut stage.lab, Method::Update);
    assert_eq!(
        header(&update, Name::PAssertedIdentity),
        "\"User 1005\" <sip:1005@example.com>"
    );
    second.reply(&mut stage.lab, &update, 200, None);
    second.send_in(&mut stage.lab, &mut dialog, Method::Bye, "", None);
    second.expect(&mut stage.lab, 200);
    stage.settle();
    stage.end();
}

#[test]
fn replaces_of_a_wrong_dialog_gets_481_and_of_a_strangers_403() {
    let (mut stage, _) = Stage::talking();
    let real = stage.replaces(KATE, 0);
    for (value, status) in [
        ("nobody@x;to-tag=1;from-tag=2".to_owned(), 481),
        (real.replace("from-tag=", "from-tag=x"), 481),
        (real.clone(), 403),
        (format!("{real};early-only"), 486),
        ("broken".to_owned(), 400),
    ] {
        stage.dial_with(ANN, "1000", &format!("Replaces: {value}\r\n"));
        assert_eq!(stage.last_reply(ANN), status, "{value}");
    }
    for twice in [
        format!("Replaces: {real}\r\nJoin: {real}\r\n"),
        format!("Replaces: {real}\r\nReplaces: {real}\r\n"),
    ] {
        stage.dial_with(ANN, "1000", &twice);
        assert_eq!(stage.last_reply(ANN), 400);
    }
    assert_eq!(stage.hears(CUSTOMER), ["1000"]);
    stage.end();
}

#[test]
fn join_is_for_supervisors_and_those_who_take_part() {
    let (mut stage, _) = Stage::talking();
    let join = format!("Join: {}\r\n", stage.replaces(KATE, 0));
    stage.dial_with(ANN, "1000", &join);
    assert_eq!(stage.last_reply(ANN), 403);
    stage.dial_with(BOSS, "1000", &join);
    assert_eq!(stage.hears(CUSTOMER), ["1000", "1009"]);
    stage.end();
}

#[test]
fn the_focus_of_a_conference_is_dialled_by_those_who_may_join_it() {
    let (mut stage, id, consultation) = consulting();
    stage.dial(BOSS, &id.to_string());
    assert_eq!(stage.last_reply(BOSS), 404, "no conference yet");
    stage.act(KATE, Verb::CompleteConference { consultation });
    stage.dial(ANN, &id.to_string());
    assert_eq!(stage.last_reply(ANN), 403);
    stage.dial(BOSS, &id.to_string());
    assert_eq!(stage.hears(BOSS), ["1000", "1001", "1005"]);
    assert_eq!(stage.hears(CUSTOMER), ["1000", "1001", "1009"]);
    // A second device of hers.
    stage.dial(KATE, &id.to_string());
    assert!(stage.is_in_a_call(KATE));
    assert_eq!(stage.view(id).parties.len(), 5);
    stage.end();
}

#[test]
fn a_colleague_picks_up_what_rings_elsewhere() {
    let mut stage = Stage::new();
    stage.dial(CUSTOMER, "1000");
    stage.dial(JIM, "*81000");
    assert!(stage.actors[KATE].ringing.is_empty());
    assert_eq!(
        (stage.hears(CUSTOMER), stage.hears(JIM)),
        (vec!["1001".into()], vec!["1005".into()])
    );
    let id = stage.newest();
    assert_eq!(stage.view(id).state, InteractionState::Up);
    stage.dial(ANN, "*81000");
    assert_eq!(stage.last_reply(ANN), 480);
    stage.end();
}

#[test]
fn replaces_of_a_dialog_that_has_just_ended_gets_603() {
    let (mut stage, _) = Stage::talking();
    let replaces = stage.replaces(KATE, 0);
    stage.actors[KATE].is_slow = true;
    // Her phone has not seen the BYE yet.
    stage.hang_up(CUSTOMER, 0);
    stage.dial_with(ANN, "1000", &format!("Replaces: {replaces}\r\n"));
    assert_eq!(stage.last_reply(ANN), 603);
    stage.slow(false);
    stage.end();
}

#[test]
fn what_rings_is_picked_up_by_replaces_with_the_tags_as_a_lamp_shows_them() {
    for order in ["ours", "the lamps"] {
        let mut stage = Stage::new();
        stage.dial(CUSTOMER, "1000");
        let invite = stage.actors[KATE].ringing[0].clone();
        let ours = invite.from().unwrap().tag().to_vec();
        let ours = String::from_utf8(ours).unwrap();
        let theirs = format!("1000-{}", stage.actors[KATE].phone.flow.peer.port());
        let (to, from) = if order == "ours" {
            (&ours, &theirs)
        } else {
            (&theirs, &ours)
        };
        let call_id = String::from_utf8_lossy(invite.call_id()).into_owned();
        let value = format!("Replaces: {call_id};to-tag={to};from-tag={from};early-only\r\n");
        stage.dial_with(JIM, "1000", &value);
        assert_eq!(stage.last_reply(JIM), 200, "{order}");
        assert!(stage.actors[KATE].ringing.is_empty());
        assert_eq!(
            (stage.hears(CUSTOMER), stage.hears(JIM)),
            (vec!["1001".into()], vec!["1005".into()])
        );
        stage.end();
    }
}
