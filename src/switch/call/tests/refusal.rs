//! Calls that do not come about: each side is told the truth, each leg is recorded, nothing is left.

use super::*;
use model::EndedBy;
use std::time::Duration;

#[test]
fn the_caller_hears_what_the_callees_phone_said() {
    for (said, told, reason) in [
        (486, 486, EndReason::Busy),
        (600, 600, EndReason::Busy),
        (603, 603, EndReason::Declined),
        (480, 480, EndReason::Unreachable),
        (488, 488, EndReason::NoCommonCodec),
        (500, 500, EndReason::Congestion),
        (503, 500, EndReason::Congestion),
        (302, 480, EndReason::Unreachable),
        (404, 480, EndReason::Unreachable),
        (407, 480, EndReason::Declined),
    ] {
        let (mut lab, kate, jim, kates, invite) = ringing();
        let extra = "Contact: <sip:9001@example.net>\r\nProxy-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n";
        jim.reply_with(&mut lab, &invite, said, extra, None);
        jim.expect_request(&mut lab, Method::Ack);
        jim.expect_nothing(&mut lab);
        let refusal = kate.expect(&mut lab, told);
        kate.ack_failure(&mut lab, &kates, &refusal);
        let callee = &lab.records[0];
        assert_eq!(
            (callee.status, callee.ended_by, callee.reason),
            (said, EndedBy::Peer, reason),
            "{said}"
        );
        let caller = &lab.records[1];
        assert_eq!((caller.status, caller.ended_by), (told, EndedBy::Other), "{said}");
        lab.assert_clean();
    }
}

#[test]
fn a_warning_and_a_reason_of_the_callee_reach_the_caller() {
    let (mut lab, kate, jim, _, invite) = ringing();
    let extra = "Warning: 305 jim \"no\"\r\nReason: Q.850;cause=88\r\nX-Jim: 1\r\n";
    jim.reply_with(&mut lab, &invite, 488, extra, None);
    let refusal = kate.expect(&mut lab, 488);
    assert_eq!(header(&refusal, Name::Warning), "305 jim \"no\"");
    assert_eq!(header(&refusal, Name::Reason), "Q.850;cause=88");
    assert_eq!(refusal.header_named("X-Jim"), None);
}

#[test]
fn nobody_answers_for_a_minute() {
    let (mut lab, kate, jim, kates, invite) = ringing();
    lab.pass(Duration::from_millis(59_999));
    jim.expect_nothing(&mut lab);
    lab.pass(Duration::from_millis(1));
    let cancel = cancelled(&mut lab, &jim, &invite);
    assert_eq!(header(&cancel, Name::Reason), "Q.850;cause=19;text=\"No answer\"");
    let refusal = kate.expect(&mut lab, 480);
    kate.ack_failure(&mut lab, &kates, &refusal);
    assert_eq!(reasons(&lab), [EndReason::NoAnswer; 2]);
    lab.assert_clean();
}

#[test]
fn a_user_may_ring_shorter() {
    let mut config = lab::config();
    config.users[1].ring_timeout = Some(Duration::from_secs(5));
    let mut lab = Lab::with(config);
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let jim = Handset::registered(&mut lab, "1001", 6100);
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
    lab.pass_s(5);
    kate.expect(&mut lab, 480);
}

#[test]
fn a_phone_that_is_gone_is_nobody_there() {
    let (mut lab, mut kate, jim) = pair();
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    jim.expect_request(&mut lab, Method::Invite);
    lab.pass_s(32);
    kate.expect(&mut lab, 480);
    assert_eq!(reasons(&lab), [EndReason::Unreachable; 2]);
    while jim.take(&mut lab).is_some() {}
    lab.assert_clean();
}

#[test]
fn who_is_not_registered_or_does_not_exist_is_told_apart_to_users() {
    let mut lab = Lab::new();
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    for (dialled, told) in [
        ("1002", 480),
        ("4711", 404),
        ("9001", 603),
        ("2001", 480),
        ("%00", 404),
        ("1002;x", 404),
    ] {
        let dialog = kate.invite(&mut lab, dialled, Some(&sdp(7000, &[0])));
        let refusal = kate.expect(&mut lab, told);
        kate.ack_failure(&mut lab, &dialog, &refusal);
    }
    assert!(
        lab.records
            .iter()
            .all(|cdr| cdr.ended_by == EndedBy::Switch && cdr.packets == (0, 0, 0))
    );
    assert_eq!(lab.records.len(), 6);
    lab.assert_clean();
}

#[test]
fn the_caller_gives_up() {
    let (mut lab, kate, jim, kates, invite) = ringing();
    kate.cancel(&mut lab, &kates, "Reason: SIP;cause=487;text=\"Changed my mind\"\r\n");
    kate.expect(&mut lab, 200);
    let refusal = kate.expect(&mut lab, 487);
    kate.ack_failure(&mut lab, &kates, &refusal);
    let cancel = cancelled(&mut lab, &jim, &invite);
    assert_eq!(header(&cancel, Name::Reason), "SIP;cause=487;text=\"Changed my mind\"");
    assert_eq!(reasons(&lab), [EndReason::Cancelled; 2]);
    lab.assert_clean();
}

#[test]
fn a_reason_that_could_forge_a_header_is_not_passed() {
    let (mut lab, kate, jim, kates, invite) = ringing();
    let reason = format!("Reason: SIP;text=\"{}\"\r\n", "x".repeat(300));
    kate.cancel(&mut lab, &kates, &reason);
    let cancel = cancelled(&mut lab, &jim, &invite);
    assert_eq!(header(&cancel, Name::Reason), "SIP;cause=487;text=\"Caller gave up\"");
}

#[test]
fn a_cancel_waits_for_the_first_sign_of_the_callees_phone() {
    let (mut lab, mut kate, jim) = pair();
    let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    kate.cancel(&mut lab, &kates, "");
    kate.expect(&mut lab, 200);
    kate.expect(&mut lab, 487);
    jim.expect_nothing(&mut lab);
    jim.reply(&mut lab, &invite, 180, None);
    cancelled(&mut lab, &jim, &invite);
    kate.expect_nothing(&mut lab);
    lab.assert_clean();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let (mut lab, kate, jim, kates, invite) = ringing();
    kate.cancel(&mut lab, &kates, "");
    jim.expect_request(&mut lab, Method::Cancel);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    jim.expect_request(&mut lab, Method::Ack);
    told_bye(&mut lab, &jim);
    kate.expect(&mut lab, 200);
    kate.expect(&mut lab, 487);
    kate.expect_nothing(&mut lab);
    assert_eq!(lab.figure("rtp_ports"), 0);
    lab.assert_clean();
}

#[test]
fn a_bye_before_the_answer_gives_up_as_well() {
    let (mut lab, mut kate, jim, mut kates, invite) = ringing();
    lab.pass_s(1);
    jim.reply(&mut lab, &invite, 183, None);
    let early = kate.expect(&mut lab, 183);
    kate.learn(&mut kates, &early);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    kate.expect(&mut lab, 487);
    cancelled(&mut lab, &jim, &invite);
    assert_eq!(reasons(&lab), [EndReason::Cancelled; 2]);
    lab.assert_clean();
}

#[test]
fn an_extension_that_is_required_and_not_there_is_named() {
    for required in ["precondition", "foo"] {
        let (mut lab, mut kate, jim) = pair();
        kate.invite_with(
            &mut lab,
            "1001",
            &format!("Require: {required}\r\n"),
            Some(&sdp(7000, &[0])),
        );
        let refusal = kate.expect(&mut lab, 420);
        assert_eq!(header(&refusal, Name::Unsupported), required);
        jim.expect_nothing(&mut lab);
        assert_eq!(lab.figure("calls"), 0);
    }
}

/// Sends an INVITE with this Via below the phone's own and these hops left.
fn invite_by(lab: &mut Lab, kate: &mut Handset, via: &str, hops: u8) -> Message {
    let uri = "sip:1001@example.com";
    let mut dialog = kate.new_dialog(uri, uri);
    let extra = format!(
        "{via}Contact: <{}>\r\n{}",
        kate.contact(),
        kate.credentials(Method::Invite, uri)
    );
    let request = kate.request(
        &mut dialog,
        Method::Invite,
        &extra,
        Some(("application/sdp", &sdp(7000, &[0]))),
    );
    let text = String::from_utf8_lossy(&request).replace("Max-Forwards: 70", &format!("Max-Forwards: {hops}"));
    kate.send(lab, text.into_bytes().into());
    kate.next(lab)
}

#[test]
fn a_call_that_comes_back_to_us_is_a_loop() {
    let (mut lab, mut kate, jim) = pair();
    let via = format!("Via: SIP/2.0/UDP {};branch=z9hG4bKours\r\n", lab::SWITCH);
    assert_eq!(invite_by(&mut lab, &mut kate, &via, 70).status(), 482);
    let via = "Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKtheirs\r\n";
    assert_eq!(invite_by(&mut lab, &mut kate, via, 0).status(), 483);
    jim.expect_nothing(&mut lab);
    assert_eq!(
        lab.records.iter().map(|cdr| cdr.reason).collect::<Vec<_>>(),
        [EndReason::Loop]
    );
    assert_eq!(lab.studio.open_legs() + lab.studio.open_rooms(), 0);
}

#[test]
fn an_invite_that_comes_by_two_ways_is_answered_on_one() {
    let (mut lab, mut kate, jim) = pair();
    let uri = "sip:1001@example.com";
    let mut dialog = kate.new_dialog(uri, uri);
    let extra = format!(
        "Contact: <{}>\r\n{}",
        kate.contact(),
        kate.credentials(Method::Invite, uri)
    );
    let request = kate.request(
        &mut dialog,
        Method::Invite,
        &extra,
        Some(("application/sdp", &sdp(7000, &[0]))),
    );
    kate.send(&mut lab, request.clone());
    jim.expect_request(&mut lab, Method::Invite);
    let text = String::from_utf8_lossy(&request).replace(&dialog.branch, "z9hG4bKanother");
    kate.send(&mut lab, text.into_bytes().into());
    kate.expect(&mut lab, 482);
    jim.expect_nothing(&mut lab);
    assert_eq!(lab.figure("calls"), 1);
}

#[test]
fn a_description_that_cannot_be_used_fails_that_call_only() {
    let deaf = sdp(7000, &[0]).replace("m=audio 7000", "m=audio 0");
    let image =
        "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=image 7000 udptl t38\r\n";
    for (offer, told, warning) in [
        ("rubbish", 400, ""),
        ("v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nb=64\r\n", 400, ""),
        (deaf.as_str(), 488, "304 tandem \"no audio over RTP\""),
        (image, 488, "304 tandem \"no audio over RTP\""),
        (&sdp(7000, &[99]), 488, "305 tandem \"no common codec\""),
    ] {
        let Up {
            mut lab,
            mut kate,
            jim,
            kates,
            jims,
        } = up();
        let second = kate.invite(&mut lab, "1001", Some(offer));
        let refusal = kate.expect(&mut lab, told);
        kate.ack_failure(&mut lab, &second, &refusal);
        assert_eq!(header(&refusal, Name::Warning), warning);
        assert_eq!(reasons(&lab), [EndReason::NoCommonCodec]);
        jim.expect_nothing(&mut lab);
        Up {
            lab,
            kate,
            jim,
            kates,
            jims,
        }
        .end();
    }
}

#[test]
fn a_body_of_another_kind_is_refused_unless_it_may_be_passed_over() {
    let (mut lab, mut kate, jim) = pair();
    let uri = "sip:1001@example.com";
    for (extra, told) in [("", 415), ("Content-Disposition: render; handling=optional\r\n", 0)] {
        let mut dialog = kate.new_dialog(uri, uri);
        let extra = format!(
            "{extra}Contact: <{}>\r\n{}",
            kate.contact(),
            kate.credentials(Method::Invite, uri)
        );
        let request = kate.request(&mut dialog, Method::Invite, &extra, Some(("text/plain", "hello")));
        kate.send(&mut lab, request);
        if told == 0 {
            assert!(body(&jim.expect_request(&mut lab, Method::Invite)).is_empty());
        } else {
            assert_eq!(header(&kate.expect(&mut lab, told), Name::Accept), "application/sdp");
        }
    }
}

#[test]
fn an_answer_that_cannot_be_used_ends_both_sides() {
    for answer in ["rubbish", "", &sdp(7100, &[18])] {
        let (mut lab, kate, jim, kates, invite) = ringing();
        jim.reply(&mut lab, &invite, 200, Some(answer).filter(|answer| !answer.is_empty()));
        jim.expect_request(&mut lab, Method::Ack);
        told_bye(&mut lab, &jim);
        let refusal = kate.expect(&mut lab, 488);
        kate.ack_failure(&mut lab, &kates, &refusal);
        assert_eq!(reasons(&lab), [EndReason::NoCommonCodec; 2]);
        lab.assert_clean();
    }
}

#[test]
fn without_a_port_there_is_no_call() {
    let mut lab = Lab::new();
    lab.studio.port_limit = Some(256);
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let jim = Handset::registered(&mut lab, "1001", 6100);
    let dialogs: Vec<_> = (0..128)
        .map(|_| kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0]))))
        .collect();
    kate.expect_nothing(&mut lab);
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let refusal = kate.expect(&mut lab, 503);
    assert!(!header(&refusal, Name::RetryAfter).is_empty());
    assert_eq!(reasons(&lab), [EndReason::Congestion]);
    while jim.take(&mut lab).is_some() {}

    for dialog in &dialogs {
        kate.cancel(&mut lab, dialog, "");
    }
    while kate.take(&mut lab).is_some() {}
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    kate.expect(&mut lab, 503);
    lab.pass_s(2);
    while jim.take(&mut lab).is_some() || kate.take(&mut lab).is_some() {}
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    jim.expect_request(&mut lab, Method::Invite);
}

#[test]
fn more_calls_than_allowed_are_refused_without_a_trace() {
    let mut config = lab::config();
    config.calls.max_calls = 1;
    let mut lab = Lab::with(config);
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let jim = Handset::registered(&mut lab, "1001", 6100);
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    jim.expect_request(&mut lab, Method::Invite);
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let refusal = kate.expect(&mut lab, 503);
    assert!((1..=10).contains(&header(&refusal, Name::RetryAfter).parse::<u32>().expect("seconds")));
    assert_eq!((lab.figure("calls"), lab.figure("calls_shed_total")), (1, 1));
    jim.expect_nothing(&mut lab);
}

#[test]
fn calls_to_nobody_use_up_no_ports() {
    let mut lab = Lab::new();
    lab.studio.port_limit = Some(256);
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    for _ in 0..300 {
        kate.invite(&mut lab, "1002", Some(&sdp(7000, &[0])));
        kate.expect(&mut lab, 480);
    }
    let jim = Handset::registered(&mut lab, "1001", 6100);
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    jim.expect_request(&mut lab, Method::Invite);
}
