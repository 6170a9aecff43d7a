//! A call passed on, from INVITE to BYE.

use super::*;
use sip::uri::Scheme;

#[test]
fn a_call_is_passed_on_and_both_phones_speak_to_each_other() {
    let (mut lab, mut kate, jim) = pair();
    let offer = sdp(7000, &[0, 8, 101]);
    let kates = kate.invite(&mut lab, "1001", Some(&offer));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    // What a proxy changes: target, Via, hops, Record-Route, breadth. The rest is the caller's own.
    assert_eq!(invite.request_uri(), b"sip:1001@198.51.100.1:6100");
    assert_eq!(invite.values(Name::Via).count(), 2);
    assert_eq!(invite.max_forwards(), Some(69));
    assert_eq!(header(&invite, Name::MaxBreadth), "60");
    assert_eq!(header(&invite, Name::From), kates.local);
    assert_eq!(header(&invite, Name::To), "<sip:1001@example.com>");
    assert_eq!(header(&invite, Name::CallId), kates.call_id);
    assert_eq!(
        invite.address(Name::Contact).unwrap().uri_bytes,
        kate.contact().as_bytes()
    );
    assert_eq!(invite.body_bytes(), offer.as_bytes());
    // Credentials were for us.
    assert!(invite.header(Name::ProxyAuthorization).is_none() && invite.header(Name::Authorization).is_none());
    let route = invite.address(Name::RecordRoute).unwrap();
    assert!(route.uri().unwrap().is_loose() && route.uri().unwrap().scheme() == Scheme::Sip);
    assert_eq!(route.uri().unwrap().host(), b"127.0.0.1");

    jim.reply(&mut lab, &invite, 180, None);
    let ringing = kate.expect(&mut lab, 180);
    assert_eq!(ringing.values(Name::Via).count(), 1);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    let ok = kate.expect(&mut lab, 200);
    assert_eq!(ok.address(Name::Contact).unwrap().uri_bytes, jim.contact().as_bytes());
    assert_eq!(ok.to_tag(), b"1001-6100");
    let mut kates = kates;
    kate.ack(&mut lab, &mut kates, &ok, None);
    let ack = jim.expect_request(&mut lab, Method::Ack);
    assert_eq!(ack.request_uri(), jim.contact().as_bytes());
    assert!(ack.header(Name::Route).is_none(), "our Route is taken off");
    assert_eq!(ack.values(Name::Via).count(), 2);

    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    let bye = jim.expect_request(&mut lab, Method::Bye);
    assert!(bye.header(Name::Route).is_none());
    jim.reply(&mut lab, &bye, 200, None);
    kate.expect(&mut lab, 200);
    assert_eq!(lab.figure("calls"), 0, "the switch takes no part in it");
    lab.assert_clean();
    assert_eq!(lab.figure("proxy_under_way"), 0);
}

#[test]
fn the_called_party_hangs_up_and_both_may_change_the_session() {
    let (mut lab, kate, mut jim, mut kates, mut jims) = up();
    jim.send_in(
        &mut lab,
        &mut jims,
        Method::Invite,
        "",
        Some(("application/sdp", &sdp(7102, &[0]))),
    );
    let offer = kate.expect_request(&mut lab, Method::Invite);
    assert_eq!(offer.request_uri(), kate.contact().as_bytes());
    kate.reply(&mut lab, &offer, 200, Some(&sdp(7002, &[0])));
    let ok = jim.expect(&mut lab, 200);
    let mut answered = jims.clone();
    jim.ack(&mut lab, &mut answered, &ok, None);
    // What goes with the route set of the dialog, which a re-INVITE does not change.
    kate.take(&mut lab);
    let mut kate = kate;
    kate.send_in(&mut lab, &mut kates, Method::Info, "", Some(("text/plain", "x")));
    let info = jim.expect_request(&mut lab, Method::Info);
    jim.reply(&mut lab, &info, 200, None);
    kate.expect(&mut lab, 200);
    jim.send_in(&mut lab, &mut jims, Method::Bye, "", None);
    let bye = kate.expect_request(&mut lab, Method::Bye);
    kate.reply(&mut lab, &bye, 200, None);
    jim.expect(&mut lab, 200);
    lab.assert_clean();
}

#[test]
fn a_cancel_stops_the_phone_and_the_caller_hears_487() {
    let (mut lab, kate, jim, kates, invite) = ringing();
    kate.cancel(
        &mut lab,
        &kates,
        "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n",
    );
    kate.expect(&mut lab, 200);
    let cancel = jim.expect_request(&mut lab, Method::Cancel);
    assert_eq!(cancel.branch(), invite.branch());
    assert_eq!(
        header(&cancel, Name::Reason),
        "SIP;cause=200;text=\"Call completed elsewhere\""
    );
    jim.reply(&mut lab, &cancel, 200, None);
    kate.expect_nothing(&mut lab);
    jim.reply(&mut lab, &invite, 487, None);
    jim.expect_request(&mut lab, Method::Ack);
    let refusal = kate.expect(&mut lab, 487);
    kate.ack_failure(&mut lab, &kates, &refusal);
    lab.assert_clean();
}

#[test]
fn a_cancel_that_crosses_the_answer_changes_nothing() {
    let (mut lab, kate, jim, kates, invite) = ringing();
    kate.cancel(&mut lab, &kates, "");
    kate.expect(&mut lab, 200);
    let cancel = jim.expect_request(&mut lab, Method::Cancel);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    jim.reply(&mut lab, &cancel, 200, None);
    kate.expect(&mut lab, 200);
    lab.assert_clean();
}

#[test]
fn a_phone_that_heeds_no_cancel_is_given_up_and_the_caller_hears_487() {
    let (mut lab, kate, jim, kates, _) = ringing();
    kate.cancel(&mut lab, &kates, "");
    kate.expect(&mut lab, 200);
    jim.expect_request(&mut lab, Method::Cancel);
    lab.pass_s(33);
    let refusal = kate.expect(&mut lab, 487);
    kate.ack_failure(&mut lab, &kates, &refusal);
    lab.assert_clean();
}

#[test]
fn each_success_that_is_repeated_goes_to_the_caller_and_each_ack_to_the_callee() {
    let (mut lab, mut kate, jim, mut kates, invite) = ringing();
    for _ in 0..3 {
        jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
        let ok = kate.expect(&mut lab, 200);
        kate.ack(&mut lab, &mut kates, &ok, None);
        jim.expect_request(&mut lab, Method::Ack);
        lab.pass(std::time::Duration::from_millis(500));
    }
    // The INVITE again is absorbed for as long (RFC 6026).
    assert!(lab.waiting(jim.flow.peer) == 0 && lab.waiting(kate.flow.peer) == 0);
    lab.assert_clean();
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    kate.expect_nothing(&mut lab);
    assert_eq!(
        lab.figure("strays_total"),
        1,
        "a response without a transaction is dropped"
    );
}

#[test]
fn a_phone_that_nobody_answers_is_stopped_after_the_time_to_ring() {
    let (mut lab, kate, jim, kates, invite) = ringing();
    lab.pass_s(59);
    jim.expect_nothing(&mut lab);
    lab.pass_s(1);
    let cancel = jim.expect_request(&mut lab, Method::Cancel);
    jim.reply(&mut lab, &cancel, 200, None);
    jim.reply(&mut lab, &invite, 487, None);
    jim.expect_request(&mut lab, Method::Ack);
    let refusal = kate.expect(&mut lab, 480);
    kate.ack_failure(&mut lab, &kates, &refusal);
    lab.assert_clean();
}

#[test]
fn timer_c_ends_an_invite_in_a_dialog_that_is_never_answered_and_progress_winds_it_up() {
    let (mut lab, mut kate, jim, mut kates, _) = up();
    kate.send_in(&mut lab, &mut kates, Method::Invite, "", None);
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    lab.pass_s(190);
    jim.reply(&mut lab, &invite, 180, None);
    lab.pass_s(190);
    jim.expect_nothing(&mut lab);
    lab.pass_s(10);
    let cancel = jim.expect_request(&mut lab, Method::Cancel);
    jim.reply(&mut lab, &cancel, 200, None);
    jim.reply(&mut lab, &invite, 487, None);
    jim.expect_request(&mut lab, Method::Ack);
    while let Some(message) = kate.take(&mut lab) {
        if message.status() >= 300 {
            assert_eq!(message.status(), 408);
            kate.ack_failure(&mut lab, &kates, &message);
            return lab.assert_clean();
        }
    }
    panic!("the re-INVITE is answered");
}

#[test]
fn methods_of_all_kinds_are_passed_on() {
    let (mut lab, mut kate, jim) = pair();
    let uri = "sip:1001@example.com";
    for (method, extra) in [
        (Method::Message, "Content-Type: text/plain\r\n"),
        (Method::Options, ""),
        (Method::Info, ""),
        (
            Method::Refer,
            "Refer-To: <sip:1002@example.com>\r\nContact: <sip:1000@198.51.100.1:6000>\r\n",
        ),
        (
            Method::Subscribe,
            "Event: weather\r\nContact: <sip:1000@198.51.100.1:6000>\r\n",
        ),
        (
            Method::Notify,
            "Event: weather\r\nSubscription-State: active\r\nContact: <sip:1000@198.51.100.1:6000>\r\n",
        ),
    ] {
        let mut dialog = kate.new_dialog(uri, uri);
        for _ in 0..2 {
            let credentials = kate.credentials(method, uri);
            let request = kate.request(&mut dialog, method, &format!("{credentials}{extra}"), None);
            kate.send(&mut lab, request);
            match lab.peek(kate.flow.peer).map(Message::status) {
                Some(407) => kate.next(&mut lab),
                Some(other) => panic!("{method:?}: {other}"),
                None => break,
            };
        }
        let request = jim.expect_request(&mut lab, method);
        jim.reply(&mut lab, &request, 200, None);
        kate.expect(&mut lab, 200);
    }
    lab.assert_clean();
}

#[test]
fn what_nobody_knows_is_passed_on_too_with_its_name() {
    let (mut lab, mut kate, jim) = pair();
    kate.ask(
        &mut lab,
        Method::Options,
        "sip:1005@example.com",
        "sip:1005@example.com",
        "",
    );
    let uri = "sip:1001@example.com";
    let mut dialog = kate.new_dialog(uri, uri);
    let request = kate.request(&mut dialog, Method::Info, "", None);
    let text = String::from_utf8(request.to_vec()).unwrap().replace("INFO", "DANCE");
    let challenged = {
        kate.send(&mut lab, text.clone().into());
        kate.expect(&mut lab, 407)
    };
    assert_eq!(challenged.header(Name::WwwAuthenticate), None);
    let credentials = kate.credentials_for("DANCE", uri);
    let text = text.replace("CSeq: 1", "CSeq: 2").replace("z9hG4bK-", "z9hG4bK-2-");
    kate.send(
        &mut lab,
        text.replacen("Max-Forwards", &format!("{credentials}Max-Forwards"), 1)
            .into(),
    );
    let request = jim.next(&mut lab);
    assert_eq!(request.method_bytes(), b"DANCE");
    jim.reply(&mut lab, &request, 200, None);
    kate.expect(&mut lab, 200);
    lab.assert_clean();
}

#[test]
fn what_the_switch_knows_itself_it_answers_itself() {
    let (mut lab, mut kate, jim) = pair();
    let extra = "Event: message-summary\r\nContact: <sip:1000@198.51.100.1:6000>\r\n";
    let reply = kate.ask(
        &mut lab,
        Method::Subscribe,
        "sip:1000@example.com",
        "sip:1000@example.com",
        extra,
    );
    assert_eq!(reply.status(), 200);
    jim.expect_nothing(&mut lab);
}

/// RFC 5627 section 5.3: by a proxy too.
#[test]
fn a_request_to_the_address_of_a_device_is_passed_on_to_it_alone() {
    let (mut lab, mut kate, plain) = pair();
    let mut jim = Handset::new("1001", 6200);
    let extra =
        "Contact: <sip:1001@198.51.100.1:6200>;+sip.instance=\"<urn:uuid:7>\"\r\nSupported: gruu\r\nExpires: 600\r\n";
    let aor = jim.aor();
    let told = jim.ask(&mut lab, Method::Register, "sip:example.com", &aor, extra);
    let contacts = values(&told, Name::Contact).join(" ");
    assert!(
        contacts.contains("pub-gruu=\"sip:1001@example.com;gr=urn:uuid:7\""),
        "{contacts}"
    );
    let temporary = contacts
        .split("temp-gruu=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    for uri in ["sip:1001@example.com;gr=urn:uuid:7", &temporary] {
        let credentials = kate.credentials_for("OPTIONS", uri);
        let mut dialog = kate.new_dialog(uri, "sip:1001@example.com");
        kate.send_in(&mut lab, &mut dialog, Method::Options, &credentials, None);
        let options = jim.expect_request(&mut lab, Method::Options);
        assert_eq!(options.request_uri(), b"sip:1001@198.51.100.1:6200");
        jim.reply(&mut lab, &options, 200, None);
        kate.expect(&mut lab, 200);
        plain.expect_nothing(&mut lab);
    }
}
