//! From INVITE to the answer.

use super::*;
use media::plan::Codec;
use model::EndedBy;

#[test]
fn two_users_call_each_other_and_the_caller_hangs_up() {
    let (mut lab, mut kate, jim) = pair();
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0, 8, 101])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    let ringing = kate.expect(&mut lab, 180);
    assert!(body(&ringing).is_empty());
    lab.pass_s(3);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0, 101])));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    lab.switch.audit().expect("sound");
    assert_eq!(
        (lab.figure("calls"), lab.figure("legs"), lab.figure("rtp_ports")),
        (1, 2, 2)
    );
    lab.pass_s(10);

    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    let bye = jim.expect_request(&mut lab, Method::Bye);
    assert_eq!(
        header(&bye, Name::Reason),
        "Q.850;cause=16;text=\"Normal call clearing\""
    );
    jim.reply(&mut lab, &bye, 200, None);
    lab.pass_s(4);
    assert_eq!(
        (lab.figure("calls"), lab.figure("legs"), lab.figure("rtp_ports")),
        (0, 0, 0)
    );

    let [caller, callee] = &lab.records[..] else {
        panic!("{:?}", lab.records)
    };
    assert_eq!((caller.direction, callee.direction), (Direction::In, Direction::Out));
    assert_eq!((caller.ended_by, callee.ended_by), (EndedBy::Peer, EndedBy::Other));
    for cdr in [caller, callee] {
        assert_eq!((cdr.reason, cdr.status), (EndReason::Normal, 200));
        assert_eq!(&*cdr.codec, "PCMU/8000");
        assert_eq!((&*cdr.caller, &*cdr.callee), ("\"User 1000\" <1000>", "1001"));
        assert_eq!(cdr.packets, crate::testing::STATS);
        assert_eq!(cdr.interaction, caller.interaction);
        let (ringing, answered) = (cdr.ringing_at.expect("rang"), cdr.answered_at.expect("answered"));
        assert_eq!((answered.0 - ringing.0, cdr.ended_at.0 - answered.0), (3_000, 10_000));
    }
    assert_eq!(caller.user.as_ref().map(|user| user.as_str()), Some("1000@example.com"));
    assert_eq!(callee.user.as_ref().map(|user| user.as_str()), Some("1001@example.com"));
    lab.assert_clean();
}

#[test]
fn the_callee_hangs_up() {
    let Up {
        mut lab,
        kate,
        mut jim,
        mut jims,
        ..
    } = up();
    jim.send_in(&mut lab, &mut jims, Method::Bye, "Reason: Q.850;cause=16\r\n", None);
    jim.expect(&mut lab, 200);
    let bye = told_bye(&mut lab, &kate);
    assert_eq!(header(&bye, Name::Reason), "Q.850;cause=16");
    lab.assert_clean();
    let by = |direction| {
        lab.records
            .iter()
            .find(|cdr| cdr.direction == direction)
            .map(|cdr| cdr.ended_by)
    };
    assert_eq!(
        (by(Direction::In), by(Direction::Out)),
        (Some(EndedBy::Other), Some(EndedBy::Peer))
    );
}

#[test]
fn the_callee_learns_nothing_of_the_callers_network() {
    let (mut lab, mut kate, jim) = pair();
    let kates = kate.invite_with(
        &mut lab,
        "1001",
        "User-Agent: KatePhone\r\nX-Secret: 1\r\n",
        Some(&sdp(7000, &[0])),
    );
    let invite = jim.expect_request(&mut lab, Method::Invite);
    let text = String::from_utf8_lossy(invite.bytes()).into_owned();
    for secret in [
        &kates.call_id,
        "6000",
        "7000",
        "KatePhone",
        "X-Secret",
        "tag=1000-",
        "Fancy",
    ] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert_eq!(invite.values(Name::Via).count(), 1);
    assert_eq!(header(&invite, Name::UserAgent), "Tandem/test");
    assert_eq!(
        header(&invite, Name::Contact),
        format!(
            "<sip:1000@{}>",
            lab::SWITCH.parse::<std::net::SocketAddr>().expect("address")
        )
    );
    assert_eq!(String::from_utf8_lossy(invite.request_uri()), jim.contact());
    assert_eq!(header(&invite, Name::MaxForwards), "69");
    assert_eq!(header(&invite, Name::To), "<sip:1001@example.com>");
}

#[test]
fn the_callee_sees_the_account_that_calls_and_no_claims() {
    let (mut lab, mut kate, jim) = pair();
    let claims = "Remote-Party-ID: <sip:boss@example.com>\r\n\
                  Diversion: <sip:boss@example.com>\r\nAlert-Info: <http://example.net>;info=alert-autoanswer\r\n";
    kate.invite_with(&mut lab, "1001", claims, Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    let from = header(&invite, Name::From);
    assert!(from.starts_with("\"User 1000\" <sip:1000@example.com>;tag="), "{from}");
    assert_eq!(
        header(&invite, Name::PAssertedIdentity),
        "\"User 1000\" <sip:1000@example.com>"
    );
    for name in [Name::RemotePartyId, Name::Diversion, Name::AlertInfo] {
        assert_eq!(header(&invite, name), "");
    }
    jim.reply_with(
        &mut lab,
        &invite,
        180,
        "P-Asserted-Identity: <sip:boss@example.com>\r\n",
        None,
    );
    let ringing = kate.expect(&mut lab, 180);
    assert_eq!(
        header(&ringing, Name::PAssertedIdentity),
        "\"User 1001\" <sip:1001@example.com>"
    );
}

#[test]
fn a_user_without_a_name_is_shown_as_his_phone_says_without_control_characters() {
    let mut config = lab::config();
    config.users[0].name = "".into();
    let mut lab = Lab::with(config);
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let jim = Handset::registered(&mut lab, "1001", 6100);
    let mut dialog = kate.new_dialog("sip:1001@example.com", "sip:1001@example.com");
    dialog.local = "\"Ka\u{202e}te \\\" X\" <sip:1000@example.com>;tag=1".into();
    let extra = format!(
        "Contact: <{}>\r\n{}",
        kate.contact(),
        kate.credentials(Method::Invite, "sip:1001@example.com")
    );
    let invite = kate.request(
        &mut dialog,
        Method::Invite,
        &extra,
        Some(("application/sdp", &sdp(7000, &[0]))),
    );
    kate.send(&mut lab, invite);
    let invite = jim.expect_request(&mut lab, Method::Invite);
    let from = header(&invite, Name::From);
    assert!(
        from.starts_with("\"Kate \\\" X\" <sip:1000@example.com>;tag="),
        "{from}"
    );
}

#[test]
fn privacy_hides_the_caller_from_the_callee_but_not_from_the_record() {
    for wish in ["id", "user", "header", "Header;user", "session;header;critical"] {
        let (mut lab, mut kate, jim) = pair();
        let extra = format!(
            "Privacy: {wish}\r\nProxy-Require: privacy\r\nReply-To: <sip:1000@example.com>\r\nSubject: of 1000\r\n\
             User-Agent: Phone of 1000\r\nOrganization: 1000\r\nReferred-By: <sip:1000@example.com>\r\n\
             History-Info: <sip:1000@example.com>;index=1\r\n"
        );
        let kates = kate.invite_with(&mut lab, "1001", &extra, Some(&sdp(7000, &[0])));
        let invite = jim.expect_request(&mut lab, Method::Invite);
        let text = String::from_utf8_lossy(invite.bytes()).into_owned();
        assert!(header(&invite, Name::From).starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="));
        assert!(!text.contains("1000"), "{wish}: {text}");
        assert!(
            !text.contains("198.51.100.1:6000"),
            "{wish}: not even where the phone is"
        );
        kate.cancel(&mut lab, &kates, "");
        kate.expect(&mut lab, 200);
        lab.pass_s(1);
        assert_eq!(
            lab.records[0].user.as_ref().map(|user| user.as_str()),
            Some("1000@example.com")
        );
    }
}

#[test]
fn who_asks_for_no_privacy_is_shown_and_unknown_wishes_hide_nobody() {
    for wish in ["none", "session", "critical"] {
        let (mut lab, mut kate, jim) = pair();
        kate.invite_with(
            &mut lab,
            "1001",
            &format!("Privacy: {wish}\r\n"),
            Some(&sdp(7000, &[0])),
        );
        let invite = jim.expect_request(&mut lab, Method::Invite);
        assert!(header(&invite, Name::PAssertedIdentity).contains("1000"), "{wish}");
    }
}

#[test]
fn early_media_of_one_target_reaches_the_caller_and_the_200_repeats_it() {
    let (mut lab, mut kate, jim) = pair();
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0, 8])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 183, Some(&sdp(7100, &[8])));
    let early = kate.expect(&mut lab, 183);
    assert!(body(&early).contains("RTP/AVP 8\r\n"), "{}", body(&early));
    for port in [7000, 7100] {
        let leg = lab.studio.towards(port).expect("hears early media");
        assert_eq!(leg.media_timeout, None, "nobody has to send before the answer");
    }
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[8])));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    assert_eq!(body(&ok), body(&early));
    kate.ack(&mut lab, &mut kates, &ok, None);
    for port in [7000, 7100] {
        assert!(lab.studio.towards(port).expect("hears").media_timeout.is_some());
    }
}

#[test]
fn a_phone_of_one_law_calls_a_phone_of_the_other() {
    let (mut lab, mut kate, jim) = pair();
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert!(body(&invite).contains("RTP/AVP 0 "), "{}", body(&invite));
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[8])));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    assert!(body(&ok).contains("RTP/AVP 0\r\n"), "{}", body(&ok));
    kate.ack(&mut lab, &mut kates, &ok, None);
    let codec = |port| lab.studio.towards(port).expect("hears").media.formats[0].codec;
    assert_eq!((codec(7000), codec(7100)), (Codec::Pcmu, Codec::Pcma));
}

#[test]
fn a_200_without_description_after_a_183_with_one_is_an_answer() {
    let (mut lab, mut kate, jim) = pair();
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 183, Some(&sdp(7100, &[0])));
    let early = kate.expect(&mut lab, 183);
    jim.reply(&mut lab, &invite, 200, None);
    assert_eq!(body(&kate.expect(&mut lab, 200)), body(&early));
}

#[test]
fn progress_without_description_is_passed_as_it_is_and_repeated_seldom() {
    let (mut lab, mut kate, jim) = pair();
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 183, None);
    assert!(body(&kate.expect(&mut lab, 183)).is_empty());
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
    for _ in 0..5 {
        jim.reply(&mut lab, &invite, 180, None);
    }
    kate.expect_nothing(&mut lab);
    lab.pass_s(51);
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
}

#[test]
fn a_183_that_cannot_be_read_is_progress_without_description() {
    let (mut lab, mut kate, jim) = pair();
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 183, Some("v=0\r\nrubbish\r\n"));
    assert!(body(&kate.expect(&mut lab, 183)).is_empty());
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    assert!(!body(&kate.expect(&mut lab, 200)).is_empty());
}

#[test]
fn an_invite_without_offer_gets_the_callees_offer_and_its_ack_brings_the_answer() {
    let (mut lab, mut kate, jim) = pair();
    let mut kates = kate.invite(&mut lab, "1001", None);
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert!(body(&invite).is_empty());
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[9, 8, 0])));
    jim.expect_nothing(&mut lab);
    let ok = kate.expect(&mut lab, 200);
    assert!(body(&ok).contains("RTP/AVP 9 8 0 "), "{}", body(&ok));
    assert!(lab.studio.towards(7100).is_none());
    kate.ack(&mut lab, &mut kates, &ok, Some(&sdp(7000, &[8])));
    let ack = jim.expect_request(&mut lab, Method::Ack);
    assert!(body(&ack).contains("RTP/AVP 8\r\n"), "{}", body(&ack));
    assert!(lab.studio.towards(7000).is_some() && lab.studio.towards(7100).is_some());
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
fn an_ack_without_the_answer_that_is_owed_ends_the_call() {
    let (mut lab, mut kate, jim) = pair();
    let mut kates = kate.invite(&mut lab, "1001", None);
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    jim.expect_request(&mut lab, Method::Ack);
    told_bye(&mut lab, &jim);
    told_bye(&mut lab, &kate);
    assert_eq!(reasons(&lab), [EndReason::NoCommonCodec; 2]);
    lab.assert_clean();
}

#[test]
fn media_is_anchored_between_ports_of_the_switch() {
    let (mut lab, mut kate, jim) = pair();
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert!(body(&invite).contains("c=IN IP4 127.0.0.1\r\n"));
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    let (kates_leg, jims_leg) = (
        lab.studio.towards(7000).expect("kate"),
        lab.studio.towards(7100).expect("jim"),
    );
    assert_eq!((kates_leg.port, jims_leg.port), (audio_port(&ok), audio_port(&invite)));
    assert_eq!(kates_leg.room, jims_leg.room);
    assert_ne!(kates_leg.port, jims_leg.port);
    assert_eq!(kates_leg.latch, media::plan::Latch::Host([198, 51, 100, 1].into()));
}

#[test]
fn video_that_the_callee_refuses_is_refused_and_the_call_goes_on_with_sound() {
    let (mut lab, mut kate, jim) = pair();
    let offer = format!(
        "{}m=video 7002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n",
        sdp(7000, &[0])
    );
    kate.invite(&mut lab, "1001", Some(&offer));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert!(body(&invite).contains("a=rtpmap:96 H264/90000\r\n"));
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    let ok = kate.expect(&mut lab, 200);
    assert!(body(&ok).contains("m=video 0 RTP/AVP 96\r\n"), "{}", body(&ok));
}

#[test]
fn a_retransmitted_invite_makes_no_second_call() {
    let (mut lab, mut kate, jim) = pair();
    let mut dialog = kate.new_dialog("sip:1001@example.com", "sip:1001@example.com");
    let extra = format!(
        "Contact: <{}>\r\n{}",
        kate.contact(),
        kate.credentials(Method::Invite, "sip:1001@example.com")
    );
    let invite = kate.request(
        &mut dialog,
        Method::Invite,
        &extra,
        Some(("application/sdp", &sdp(7000, &[0]))),
    );
    kate.send(&mut lab, invite.clone());
    jim.expect_request(&mut lab, Method::Invite);
    kate.send(&mut lab, invite);
    jim.expect_nothing(&mut lab);
    assert_eq!(lab.figure("calls"), 1);
}

#[test]
fn two_lines_of_one_phone_call_each_other() {
    let mut lab = Lab::new();
    let mut first = Handset::registered(&mut lab, "1000", 6000);
    let second = Handset::registered(&mut lab, "1001", 6000);
    first.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    second.expect_request(&mut lab, Method::Invite);
}

#[test]
fn a_callee_who_wants_privacy_is_not_named_to_the_caller() {
    for wish in ["id", "user", "header"] {
        let (mut lab, mut kate, jim) = pair();
        kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
        let invite = jim.expect_request(&mut lab, Method::Invite);
        jim.reply_with(&mut lab, &invite, 180, &format!("Privacy: {wish}\r\n"), None);
        assert_eq!(
            header(&kate.expect(&mut lab, 180), Name::PAssertedIdentity),
            "",
            "{wish}"
        );
        jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
        assert_ne!(header(&kate.expect(&mut lab, 200), Name::PAssertedIdentity), "");
    }
}

#[test]
fn a_fork_that_failed_beyond_the_device_is_not_the_callers_business() {
    let (mut lab, kate, jim, _, invite) = ringing();
    jim.reply(&mut lab, &invite, 199, None);
    kate.expect_nothing(&mut lab);
}

#[test]
fn a_path_of_the_registration_is_the_route_of_the_call() {
    let mut lab = Lab::new();
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let mut jim = Handset::new("1001", 6100);
    let extra = format!(
        "Contact: <{}>\r\nExpires: 3600\r\nSupported: path\r\nPath: <sip:edge.example.net;lr>\r\n",
        jim.contact()
    );
    let aor = jim.aor();
    let reply = jim.ask(&mut lab, Method::Register, "sip:example.com", &aor, &extra);
    assert_eq!(reply.status(), 200);
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert_eq!(header(&invite, Name::Route), "<sip:edge.example.net;lr>");
}

#[test]
fn a_phone_on_a_stream_that_breaks_in_mid_call_leaves_nothing_behind() {
    use crate::testing::{OnInvite, World};
    let mut world = World::new(crate::testing::config(), 5);
    let kate = world.phone("1000");
    let jim = world.phone_over("1001", sip::Transport::Tcp);
    assert_eq!((world.register(kate), world.register(jim)), (200, 200));
    world.phones[jim].on_invite = OnInvite::AnswerAfter(std::time::Duration::from_secs(1));
    let call = world.call(kate, "1001");
    world.run_ms(2_000);
    assert!(world.phones[kate].calls[call].is_up);
    world.disconnect(jim);
    world.run_ms(1_000);
    world.hang_up(kate, call);
    world.run_ms(70_000);
    let counters = world.switch.counters();
    for name in ["calls", "legs", "rtp_ports", "transactions", "dialogs"] {
        let figure = counters
            .values
            .iter()
            .find(|(known, ..)| *known == name)
            .map(|figure| figure.1);
        assert_eq!(figure, Some(0), "{name}");
    }
    assert_eq!(world.store.cdrs.len(), 2);
}
