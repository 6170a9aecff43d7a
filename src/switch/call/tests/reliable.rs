//! Reliable provisional responses (RFC 3262), UPDATE before the answer (RFC 3311), session timers (RFC 4028), and a 200 that
//! says something else than the 183.

use super::*;
use media::plan::Codec;
use std::time::Duration;

/// The PRACK to a reliable response, and its 200.
fn prack(lab: &mut Lab, phone: &mut Handset, dialog: &mut Dialog, response: &Message, answer: Option<&str>) {
    assert_eq!(header(response, Name::Require), "100rel");
    phone.learn(dialog, response);
    let rack = format!("RAck: {} {} INVITE\r\n", header(response, Name::RSeq), response.cseq());
    let body = answer.map(|answer| ("application/sdp", answer));
    phone.send_in(lab, dialog, Method::Prack, &rack, body);
}

const RELIABLY: &str = "Require: 100rel\r\nRSeq: 7\r\n";

/// 1001 has described itself reliably to 1000, and both have said PRACK.
fn early() -> (Up, Message) {
    let (mut lab, mut kate, jim) = pair();
    let mut kates = kate.invite_with(&mut lab, "1001", "Supported: 100rel\r\n", Some(&sdp(7000, &[0, 8])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert_eq!(header(&invite, Name::Supported), "100rel");
    jim.reply_with(&mut lab, &invite, 183, RELIABLY, Some(&sdp(7100, &[8])));
    let acked = jim.expect_request(&mut lab, Method::Prack);
    assert_eq!(header(&acked, Name::RAck), "7 1 INVITE");
    jim.reply(&mut lab, &acked, 200, None);
    let early = kate.expect(&mut lab, 183);
    prack(&mut lab, &mut kate, &mut kates, &early, None);
    kate.expect(&mut lab, 200);
    let jims = jim.dialog_of(&invite);
    let up = Up {
        lab,
        kate,
        jim,
        kates,
        jims,
    };
    (up, invite)
}

fn answered(mut up: Up, invite: &Message) -> Up {
    up.jim.reply(&mut up.lab, invite, 200, None);
    up.jim.expect_request(&mut up.lab, Method::Ack);
    let ok = up.kate.expect(&mut up.lab, 200);
    up.kate.ack(&mut up.lab, &mut up.kates, &ok, None);
    up
}

#[test]
fn an_early_answer_is_passed_reliably_and_acknowledged_on_both_sides() {
    let (mut up, invite) = early();
    assert!(up.lab.studio.towards(7000).is_some(), "early media");
    up.lab.pass_s(10);
    up.kate.expect_nothing(&mut up.lab);
    answered(up, &invite).end();
}

#[test]
fn what_was_agreed_early_is_changed_from_end_to_end_before_the_answer() {
    let (mut up, invite) = early();
    let held = hold(7000, &[8]);
    up.kate.send_in(
        &mut up.lab,
        &mut up.kates,
        Method::Update,
        "",
        Some(("application/sdp", &held)),
    );
    let update = up.jim.expect_request(&mut up.lab, Method::Update);
    assert!(body(&update).contains("a=sendonly"), "{}", body(&update));
    let answer = sdp(7100, &[8]).replace("sendrecv", "recvonly");
    up.jim.reply(&mut up.lab, &update, 200, Some(&answer));
    let ok = up.kate.expect(&mut up.lab, 200);
    assert!(body(&ok).contains("a=recvonly"), "{}", body(&ok));
    up.jim.send_in(
        &mut up.lab,
        &mut up.jims,
        Method::Update,
        "",
        Some(("application/sdp", &sdp(7102, &[8]))),
    );
    let update = up.kate.expect_request(&mut up.lab, Method::Update);
    up.kate.reply(&mut up.lab, &update, 200, Some(&sdp(7000, &[8])));
    up.jim.expect(&mut up.lab, 200);
    assert!(up.lab.studio.towards(7102).is_some());
    answered(up, &invite).end();
}

#[test]
fn who_requires_reliable_responses_gets_even_ringing_so_until_his_prack() {
    let (mut lab, mut kate, jim) = pair();
    let mut kates = kate.invite_with(&mut lab, "1001", "Require: 100rel\r\n", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    let ringing = kate.expect(&mut lab, 180);
    lab.pass(Duration::from_millis(1_600));
    assert_eq!(
        header(&kate.expect(&mut lab, 180), Name::RSeq),
        header(&ringing, Name::RSeq)
    );
    kate.expect(&mut lab, 180);
    prack(&mut lab, &mut kate, &mut kates, &ringing, None);
    kate.expect(&mut lab, 200);
    lab.pass_s(5);
    kate.expect_nothing(&mut lab);
    kate.send_in(&mut lab, &mut kates, Method::Prack, "RAck: 1 1 INVITE\r\n", None);
    kate.expect(&mut lab, 481);
    kate.cancel(&mut lab, &kates, "");
    cancelled(&mut lab, &jim, &invite);
    lab.pass_s(40);
    lab.assert_clean();
}

#[test]
fn a_callees_early_offer_is_answered_by_the_caller_in_his_prack() {
    let (mut lab, mut kate, jim) = pair();
    let mut kates = kate.invite_with(&mut lab, "1001", "Supported: 100rel\r\n", None);
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert!(body(&invite).is_empty());
    jim.reply_with(&mut lab, &invite, 183, RELIABLY, Some(&sdp(7100, &[8, 0])));
    jim.expect_nothing(&mut lab);
    let early = kate.expect(&mut lab, 183);
    assert!(body(&early).contains("m=audio "), "{}", body(&early));
    prack(&mut lab, &mut kate, &mut kates, &early, Some(&sdp(7000, &[0])));
    kate.expect(&mut lab, 200);
    let acked = jim.expect_request(&mut lab, Method::Prack);
    assert!(body(&acked).contains("RTP/AVP 0\r\n"), "{}", body(&acked));
    jim.reply(&mut lab, &acked, 200, None);
    assert!(lab.studio.towards(7000).is_some() && lab.studio.towards(7100).is_some());
    jim.reply(&mut lab, &invite, 200, None);
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    assert!(body(&ok).is_empty(), "a description would be another offer");
    kate.ack(&mut lab, &mut kates, &ok, None);
    let jims = jim.dialog_of(&invite);
    Up {
        lab,
        kate,
        jim,
        kates,
        jims,
    }
    .end();
}

#[test]
fn a_caller_who_does_not_know_reliable_responses_is_offered_none_to_answer() {
    let (mut lab, mut kate, jim) = pair();
    kate.invite(&mut lab, "1001", None);
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert!(!header(&invite, Name::Supported).contains("100rel"));
}

#[test]
fn a_200_that_says_something_else_than_the_183_is_told_to_the_caller_by_an_offer() {
    let (mut lab, mut kate, jim) = pair();
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0, 8])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 183, Some(&sdp(7100, &[8])));
    kate.expect(&mut lab, 183);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    assert!(
        body(&ok).contains("RTP/AVP 8\r\n"),
        "the answer is not changed: {}",
        body(&ok)
    );
    kate.ack(&mut lab, &mut kates, &ok, None);
    let offer = kate.expect_request(&mut lab, Method::Invite);
    assert!(body(&offer).contains("RTP/AVP 0\r\n"), "{}", body(&offer));
    kate.reply(&mut lab, &offer, 200, Some(&sdp(7000, &[0])));
    kate.expect_request(&mut lab, Method::Ack);
    let codec = |port| lab.studio.towards(port).expect("hears").media.formats[0].codec;
    assert_eq!((codec(7000), codec(7100)), (Codec::Pcmu, Codec::Pcmu));
    let jims = jim.dialog_of(&invite);
    Up {
        lab,
        kate,
        jim,
        kates,
        jims,
    }
    .end();
}

// ---- session timers ----

fn timed() -> (Lab, Handset, Handset) {
    let mut config = super::lab::config();
    config.timers.session_expires = Some(Duration::from_secs(600));
    let mut lab = Lab::with(config);
    let kate = Handset::registered(&mut lab, "1000", 6000);
    let jim = Handset::registered(&mut lab, "1001", 6100);
    (lab, kate, jim)
}

#[test]
fn each_leg_has_its_own_refresher_and_a_phone_that_does_not_refresh_ends_the_call() {
    let (mut lab, mut kate, jim) = timed();
    let extra = "Supported: timer\r\nSession-Expires: 1800;refresher=uac\r\n";
    let mut kates = kate.invite_with(&mut lab, "1001", extra, Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert_eq!(header(&invite, Name::SessionExpires), "600");
    let granted = "Require: timer\r\nSession-Expires: 200;refresher=uac\r\n";
    jim.reply_with(&mut lab, &invite, 200, granted, Some(&sdp(7100, &[0])));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    assert_eq!(header(&ok, Name::SessionExpires), "600;refresher=uac");
    assert_eq!(header(&ok, Name::Require), "timer");
    kate.ack(&mut lab, &mut kates, &ok, None);
    let mut refreshes = 0;
    for _ in 0..540 {
        lab.pass_s(1);
        while let Some(update) = jim.take(&mut lab) {
            assert_eq!(update.method(), Method::Update);
            assert_eq!(header(&update, Name::SessionExpires), "200;refresher=uac");
            jim.reply_with(&mut lab, &update, 200, granted, None);
            refreshes += 1;
        }
    }
    assert!((5..=6).contains(&refreshes), "each 100 s: {refreshes}");
    kate.expect_nothing(&mut lab);
    lab.pass_s(27);
    kate.expect_nothing(&mut lab);
    lab.pass_s(2);
    told_bye(&mut lab, &kate);
    told_bye(&mut lab, &jim);
    assert_eq!(reasons(&lab), [EndReason::SignallingTimeout; 2]);
    lab.pass_s(40);
    lab.assert_clean();
}

#[test]
fn a_phone_that_refreshes_keeps_its_call() {
    let (mut lab, mut kate, jim) = timed();
    let extra = "Supported: timer\r\nSession-Expires: 600\r\n";
    let mut kates = kate.invite_with(&mut lab, "1001", extra, Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    let his = "Supported: timer\r\nSession-Expires: 7200;refresher=uas\r\n";
    jim.reply_with(&mut lab, &invite, 200, his, Some(&sdp(7100, &[0])));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    let extra = "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n";
    for _ in 0..5 {
        lab.pass_s(300);
        kate.send_in(&mut lab, &mut kates, Method::Update, extra, None);
        let ok = kate.expect(&mut lab, 200);
        assert_eq!(header(&ok, Name::SessionExpires), "600;refresher=uac");
    }
    jim.expect_nothing(&mut lab);
    let jims = jim.dialog_of(&invite);
    Up {
        lab,
        kate,
        jim,
        kates,
        jims,
    }
    .end();
}

#[test]
fn who_wants_too_short_a_life_is_told_the_least() {
    let (mut lab, mut kate, jim) = timed();
    let extra = "Supported: timer\r\nSession-Expires: 60\r\n";
    kate.invite_with(&mut lab, "1001", extra, Some(&sdp(7000, &[0])));
    let refusal = kate.expect(&mut lab, 422);
    assert_eq!(header(&refusal, Name::MinSe), "90");
    jim.expect_nothing(&mut lab);
    kate.invite_with(&mut lab, "1001", "Session-Expires: 60\r\n", Some(&sdp(7000, &[0])));
    jim.expect_request(&mut lab, Method::Invite);
}

#[test]
fn a_device_that_wants_a_longer_life_is_asked_for_it() {
    let (mut lab, mut kate, jim) = timed();
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply_with(&mut lab, &invite, 422, "Min-SE: 900\r\n", None);
    jim.expect_request(&mut lab, Method::Ack);
    let again = jim.expect_request(&mut lab, Method::Invite);
    assert_eq!((again.cseq(), again.call_id()), (2, invite.call_id()));
    assert_eq!(
        (header(&again, Name::SessionExpires), header(&again, Name::MinSe)),
        ("900".into(), "900".into())
    );
    assert_eq!(body(&again), body(&invite));
    jim.reply(&mut lab, &again, 200, Some(&sdp(7100, &[0])));
    jim.expect_request(&mut lab, Method::Ack);
    kate.expect(&mut lab, 200);
}
