//! Changes inside a call that is up.

use super::*;
use crate::{Act, Answer, By, Command, Verb};
use media::plan::Codec;
use model::Aor;
use std::time::Duration;

/// Offers of hold go to the other device.
fn up() -> Up {
    up_passing_hold()
}

/// A re-INVITE of the caller, passed to the callee.
fn reinvited(up: &mut Up, offer: &str) -> Message {
    up.kate.send_in(
        &mut up.lab,
        &mut up.kates,
        Method::Invite,
        "",
        Some(("application/sdp", offer)),
    );
    up.jim.expect_request(&mut up.lab, Method::Invite)
}

/// The callee takes it, and both sides acknowledge. The 200 that the caller got.
fn taken(up: &mut Up, invite: &Message, answer: &str) -> Message {
    up.jim.reply(&mut up.lab, invite, 200, Some(answer));
    up.jim.expect_request(&mut up.lab, Method::Ack);
    let ok = up.kate.expect(&mut up.lab, 200);
    up.kate.ack(&mut up.lab, &mut up.kates, &ok, None);
    ok
}

#[test]
fn hold_and_resume_pass_from_end_to_end() {
    let mut up = up();
    let invite = reinvited(&mut up, &hold(7000, &[0, 101]));
    assert!(body(&invite).contains("a=sendonly\r\n"), "{}", body(&invite));
    let answer = sdp(7100, &[0, 101]).replace("sendrecv", "recvonly");
    let ok = taken(&mut up, &invite, &answer);
    assert!(body(&ok).contains("a=recvonly\r\n"), "{}", body(&ok));
    assert!(up.lab.studio.towards(7000).expect("kate").media.on_hold);

    let invite = reinvited(&mut up, &sdp(7000, &[0, 101]));
    assert!(body(&invite).contains("a=sendrecv\r\n"), "{}", body(&invite));
    let ok = taken(&mut up, &invite, &sdp(7100, &[0, 101]));
    assert!(body(&ok).contains("a=sendrecv\r\n"), "{}", body(&ok));
    assert!(!up.lab.studio.towards(7000).expect("kate").media.on_hold);
    up.end();
}

#[test]
fn a_resume_right_behind_the_hold_of_a_phone_waits_for_its_ack() {
    let mut up = up_in(Lab::new(), &[0, 101]);
    let offer = hold(7000, &[0, 101]);
    let offered = Some(("application/sdp", &offer[..]));
    up.kate.send_in(&mut up.lab, &mut up.kates, Method::Invite, "", offered);
    let ok = up.kate.expect(&mut up.lab, 200);
    let interaction = match up.lab.ask(Command::Calls) {
        Answer::Calls(calls) => calls[0].id,
        other => panic!("{other:?}"),
    };
    let act = Act {
        by: By::User(Aor::new("1000", "example.com")),
        client: "".into(),
        verb: Verb::Resume { interaction },
    };
    assert!(matches!(up.lab.ask(Command::Act(Box::new(act))), Answer::Acted(_)));
    // The 200 comes again, and nothing else: no offer before the ACK (RFC 3261 section 14.1).
    up.lab.pass(Duration::from_millis(1_600));
    while let Some(told) = up.kate.take(&mut up.lab) {
        assert!(!told.is_request(), "{:?} before the ACK", told.method());
        assert_eq!(told.status(), 200);
    }
    up.kate.ack(&mut up.lab, &mut up.kates, &ok, None);
    // With it, and not some time later.
    let told = up.kate.expect_request(&mut up.lab, Method::Invite);
    assert!(body(&told).contains("a=sendrecv"), "{}", body(&told));
    up.kate.reply(&mut up.lab, &told, 200, Some(&sdp(7000, &[0, 101])));
    up.kate.expect_request(&mut up.lab, Method::Ack);
    assert!(!up.lab.studio.towards(7000).expect("kate").media.on_hold);
    up.end();
}

#[test]
fn a_hold_by_command_behind_a_resume_that_waits_takes_it_back() {
    let mut up = up_in(Lab::new(), &[0, 101]);
    let offer = hold(7000, &[0, 101]);
    let offered = Some(("application/sdp", &offer[..]));
    up.kate.send_in(&mut up.lab, &mut up.kates, Method::Invite, "", offered);
    let ok = up.kate.expect(&mut up.lab, 200);
    let interaction = match up.lab.ask(Command::Calls) {
        Answer::Calls(calls) => calls[0].id,
        other => panic!("{other:?}"),
    };
    for verb in [Verb::Resume { interaction }, Verb::Hold { interaction }] {
        let (by, client) = (By::User(Aor::new("1000", "example.com")), "".into());
        let answer = up.lab.ask(Command::Act(Box::new(Act { by, client, verb })));
        assert!(matches!(answer, Answer::Acted(_)));
    }
    up.kate.ack(&mut up.lab, &mut up.kates, &ok, None);
    up.lab.pass(Duration::from_secs(2));
    up.kate.expect_nothing(&mut up.lab);
    assert!(up.lab.studio.towards(7000).expect("kate").media.on_hold);
    up.end();
}

#[test]
fn the_callee_can_hold_too() {
    let mut up = up();
    let offer = hold(7100, &[0]);
    up.jim.send_in(
        &mut up.lab,
        &mut up.jims,
        Method::Invite,
        "",
        Some(("application/sdp", &offer)),
    );
    let invite = up.kate.expect_request(&mut up.lab, Method::Invite);
    up.kate.reply(
        &mut up.lab,
        &invite,
        200,
        Some(&sdp(7000, &[0]).replace("sendrecv", "recvonly")),
    );
    up.kate.expect_request(&mut up.lab, Method::Ack);
    let ok = up.jim.expect(&mut up.lab, 200);
    up.jim.ack(&mut up.lab, &mut up.jims, &ok, None);
    assert!(up.lab.studio.towards(7100).expect("jim").media.on_hold);
    up.end();
}

#[test]
fn a_refused_change_keeps_the_session_as_it_was() {
    let mut up = up();
    let before = up.lab.studio.towards(7000).expect("kate").clone();
    let invite = reinvited(&mut up, &sdp(7002, &[8]));
    up.jim
        .reply_with(&mut up.lab, &invite, 488, "Warning: 305 jim \"no\"\r\n", None);
    up.jim.expect_request(&mut up.lab, Method::Ack);
    let refusal = up.kate.expect(&mut up.lab, 488);
    assert_eq!(header(&refusal, Name::Warning), "305 jim \"no\"");
    up.kate.ack_failure(&mut up.lab, &up.kates.clone(), &refusal);
    assert_eq!(up.lab.studio.towards(7000), Some(&before));
    // And it can be changed again.
    let invite = reinvited(&mut up, &sdp(7002, &[8]));
    taken(&mut up, &invite, &sdp(7100, &[8]));
    assert_eq!(
        up.lab.studio.towards(7002).expect("kate").media.formats[0].codec,
        Codec::Pcma
    );
    assert_eq!(
        up.lab.studio.towards(7100).expect("jim").media.formats[0].codec,
        Codec::Pcma
    );
    up.end();
}

#[test]
fn a_change_that_cannot_be_understood_fails_alone() {
    let mut up = up();
    for (offer, told) in [("rubbish", 400), (&sdp(7000, &[99])[..], 488)] {
        up.kate.send_in(
            &mut up.lab,
            &mut up.kates,
            Method::Invite,
            "",
            Some(("application/sdp", offer)),
        );
        let refusal = up.kate.expect(&mut up.lab, told);
        up.kate.ack_failure(&mut up.lab, &up.kates.clone(), &refusal);
    }
    up.kate.send_in(
        &mut up.lab,
        &mut up.kates,
        Method::Invite,
        "Require: foo\r\n",
        Some(("application/sdp", &sdp(7000, &[0]))),
    );
    up.kate.expect(&mut up.lab, 420);
    up.jim.expect_nothing(&mut up.lab);
    up.end();
}

#[test]
fn two_offers_that_meet_are_tried_again_one_after_the_other() {
    let mut up = up();
    let invite = reinvited(&mut up, &hold(7000, &[0]));
    // Jim's own offer is under way: ours is refused, his meets ours at the switch.
    up.jim.send_in(
        &mut up.lab,
        &mut up.jims,
        Method::Invite,
        "",
        Some(("application/sdp", &hold(7100, &[0]))),
    );
    let glare = up.jim.expect(&mut up.lab, 491);
    up.jim.ack_failure(&mut up.lab, &up.jims.clone(), &glare);
    up.jim.reply(&mut up.lab, &invite, 491, None);
    up.jim.expect_request(&mut up.lab, Method::Ack);
    up.kate.expect_nothing(&mut up.lab);
    // The switch made this dialog, so it waits 2.1 to 4 s.
    up.lab.pass(Duration::from_millis(2_090));
    up.jim.expect_nothing(&mut up.lab);
    let limit = up.lab.now.mono + Duration::from_millis(1_910);
    while up.lab.waiting(up.jim.flow.peer) == 0 && up.lab.now.mono < limit {
        up.lab.pass(Duration::from_millis(10));
    }
    let again = up.jim.expect_request(&mut up.lab, Method::Invite);
    assert_eq!(body(&again), body(&invite));
    taken(&mut up, &again, &sdp(7100, &[0]).replace("sendrecv", "recvonly"));
    up.end();
}

#[test]
fn a_second_offer_of_the_same_phone_waits_for_the_first() {
    let mut up = up();
    let invite = reinvited(&mut up, &hold(7000, &[0]));
    let mut kates = up.kates.clone();
    up.kate.send_in(
        &mut up.lab,
        &mut kates,
        Method::Update,
        "",
        Some(("application/sdp", &sdp(7000, &[0]))),
    );
    assert_eq!(up.kate.next(&mut up.lab).status(), 500);
    taken(&mut up, &invite, &sdp(7100, &[0]));
    up.kates.cseq += 1;
    up.end();
}

#[test]
fn an_update_goes_on_as_update_where_it_is_known_and_else_as_invite() {
    let mut up = up();
    up.kate.send_in(
        &mut up.lab,
        &mut up.kates,
        Method::Update,
        "",
        Some(("application/sdp", &hold(7000, &[0]))),
    );
    let update = up.jim.expect_request(&mut up.lab, Method::Update);
    assert!(body(&update).contains("a=sendonly"));
    up.jim.reply(
        &mut up.lab,
        &update,
        200,
        Some(&sdp(7100, &[0]).replace("sendrecv", "recvonly")),
    );
    assert!(body(&up.kate.expect(&mut up.lab, 200)).contains("a=recvonly"));

    up.jim.allow = "INVITE, ACK, CANCEL, BYE";
    let invite = reinvited(&mut up, &sdp(7000, &[0]));
    taken(&mut up, &invite, &sdp(7100, &[0]));
    up.kate.send_in(
        &mut up.lab,
        &mut up.kates,
        Method::Update,
        "",
        Some(("application/sdp", &hold(7000, &[0]))),
    );
    let invite = up.jim.expect_request(&mut up.lab, Method::Invite);
    up.jim.reply(
        &mut up.lab,
        &invite,
        200,
        Some(&sdp(7100, &[0]).replace("sendrecv", "recvonly")),
    );
    up.jim.expect_request(&mut up.lab, Method::Ack);
    assert!(body(&up.kate.expect(&mut up.lab, 200)).contains("a=recvonly"));
    up.end();
}

#[test]
fn a_session_refresh_changes_nothing_and_says_so() {
    let mut up = up();
    let invite = reinvited(&mut up, &sdp(7000, &[0, 8, 101]));
    let origin = |message: &Message| {
        body(message)
            .lines()
            .find(|line| line.starts_with("o="))
            .map(str::to_owned)
    };
    let ok = taken(&mut up, &invite, &sdp(7100, &[0, 101]));
    let invite = reinvited(&mut up, &sdp(7000, &[0, 8, 101]));
    let again = taken(&mut up, &invite, &sdp(7100, &[0, 101]));
    assert_eq!(origin(&ok), origin(&again), "the version rises only with a change");
    up.kate.send_in(&mut up.lab, &mut up.kates, Method::Update, "", None);
    up.kate.expect(&mut up.lab, 200);
    up.jim.expect_nothing(&mut up.lab);
    up.end();
}

#[test]
fn an_invite_without_offer_inside_a_call_fetches_one_from_the_other_side() {
    let mut up = up();
    up.kate.send_in(&mut up.lab, &mut up.kates, Method::Invite, "", None);
    let invite = up.jim.expect_request(&mut up.lab, Method::Invite);
    assert!(body(&invite).is_empty());
    up.jim.reply(&mut up.lab, &invite, 200, Some(&sdp(7102, &[8, 0])));
    up.jim.expect_nothing(&mut up.lab);
    let offer = up.kate.expect(&mut up.lab, 200);
    assert!(body(&offer).contains("RTP/AVP 8 0 "), "{}", body(&offer));
    up.kate.ack(&mut up.lab, &mut up.kates, &offer, Some(&sdp(7002, &[8])));
    let ack = up.jim.expect_request(&mut up.lab, Method::Ack);
    assert!(body(&ack).contains("RTP/AVP 8\r\n"), "{}", body(&ack));
    assert!(up.lab.studio.towards(7002).is_some() && up.lab.studio.towards(7102).is_some());
    up.end();
}

#[test]
fn an_offer_that_is_withdrawn_leaves_the_other_side_as_before() {
    let mut up = up();
    let invite = reinvited(&mut up, &hold(7000, &[0]));
    up.kate.cancel(&mut up.lab, &up.kates.clone(), "");
    let mut answers = [up.kate.next(&mut up.lab), up.kate.next(&mut up.lab)].map(|answer| answer.status());
    answers.sort_unstable();
    assert_eq!(answers, [200, 487]);
    up.jim.reply(
        &mut up.lab,
        &invite,
        200,
        Some(&sdp(7100, &[0]).replace("sendrecv", "recvonly")),
    );
    up.jim.expect_request(&mut up.lab, Method::Ack);
    let back = up.jim.expect_request(&mut up.lab, Method::Invite);
    assert!(body(&back).contains("a=sendrecv"), "{}", body(&back));
    up.jim.reply(&mut up.lab, &back, 200, Some(&sdp(7100, &[0])));
    up.jim.expect_request(&mut up.lab, Method::Ack);
    up.kate.expect_nothing(&mut up.lab);
    let invite = reinvited(&mut up, &hold(7000, &[0]));
    taken(&mut up, &invite, &sdp(7100, &[0]));
    up.end();
}

#[test]
fn a_phone_that_knows_the_call_no_more_ends_it() {
    for status in [481, 408] {
        let mut up = up();
        let invite = reinvited(&mut up, &hold(7000, &[0]));
        up.jim.reply(&mut up.lab, &invite, status, None);
        up.jim.expect_request(&mut up.lab, Method::Ack);
        told_bye(&mut up.lab, &up.jim);
        let refusal = up.kate.expect(&mut up.lab, 480);
        up.kate.ack_failure(&mut up.lab, &up.kates, &refusal);
        told_bye(&mut up.lab, &up.kate);
        assert_eq!(reasons(&up.lab), [EndReason::SignallingTimeout; 2]);
        up.lab.assert_clean();
    }
}

#[test]
fn an_offer_of_fax_over_ip_is_refused_and_the_call_goes_on() {
    let mut up = up();
    let fax = "v=0\r\no=- 7000 2 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
               m=image 7004 udptl t38\r\na=T38FaxVersion:0\r\n";
    let body = Some(("application/sdp", fax));
    up.kate.send_in(&mut up.lab, &mut up.kates, Method::Invite, "", body);
    let refusal = up.kate.expect(&mut up.lab, 488);
    assert_eq!(header(&refusal, Name::Warning), "304 tandem \"no audio over RTP\"");
    up.kate.ack_failure(&mut up.lab, &up.kates, &refusal);
    up.jim.expect_nothing(&mut up.lab);
    assert_eq!(up.lab.studio.open_legs(), 2);
    up.end();
}

#[test]
fn a_device_that_takes_its_only_stream_away_is_refused_and_the_session_goes_on() {
    let mut up = up();
    let before = (
        up.lab.studio.towards(7000).expect("kate").clone(),
        up.lab.studio.towards(7100).expect("jim").clone(),
    );
    let away = sdp(7000, &[0, 101]).replace("m=audio 7000", "m=audio 0");
    let body = Some(("application/sdp", &away[..]));
    up.kate.send_in(&mut up.lab, &mut up.kates, Method::Invite, "", body);
    let refusal = up.kate.expect(&mut up.lab, 488);
    assert_eq!(header(&refusal, Name::Warning), "304 tandem \"no audio over RTP\"");
    up.kate.ack_failure(&mut up.lab, &up.kates, &refusal);
    up.jim.expect_nothing(&mut up.lab);
    assert_eq!(up.lab.studio.towards(7000), Some(&before.0));
    assert_eq!(up.lab.studio.towards(7100), Some(&before.1));
    // And it can be changed again.
    let invite = reinvited(&mut up, &sdp(7002, &[0, 101]));
    taken(&mut up, &invite, &sdp(7100, &[0, 101]));
    assert!(up.lab.studio.towards(7002).is_some());
    up.end();
}
