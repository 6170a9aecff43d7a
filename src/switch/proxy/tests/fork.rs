//! Several targets: together where they are equally preferred, one after the other where not.

use super::*;

/// 1001 has these phones, with these preferences; 1000 calls.
fn forked(qs: &[&str], extra: &str) -> (Lab, Handset, Dialog, Vec<Handset>) {
    let mut lab = Lab::with(config());
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let phones = qs.iter().zip(0u16..).map(|(q, n)| {
        let mut phone = Handset::new("1001", 6100 + n);
        let contact = format!("Contact: <{}>;q={q}\r\nExpires: 3600\r\n", phone.contact());
        let aor = phone.aor();
        let reply = phone.ask(&mut lab, Method::Register, "sip:example.com", &aor, &contact);
        assert_eq!(reply.status(), 200);
        phone
    });
    let phones = phones.collect();
    let kates = kate.invite_with(&mut lab, "1001", extra, Some(&sdp(7000, &[0])));
    (lab, kate, kates, phones)
}

#[test]
fn equally_preferred_phones_ring_together_and_the_first_to_answer_has_the_call() {
    let (mut lab, mut kate, mut kates, phones) = forked(&["1.0", "1.0"], "");
    let invites: Vec<_> = phones
        .iter()
        .map(|phone| phone.expect_request(&mut lab, Method::Invite))
        .collect();
    for (phone, invite) in phones.iter().zip(&invites) {
        phone.reply(&mut lab, invite, 180, None);
        kate.expect(&mut lab, 180);
        assert_eq!(header(invite, Name::MaxBreadth), "30", "the breadth is split");
    }
    phones[1].reply(&mut lab, &invites[1], 200, Some(&sdp(7100, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    phones[1].expect_request(&mut lab, Method::Ack);
    let cancel = phones[0].expect_request(&mut lab, Method::Cancel);
    assert_eq!(
        header(&cancel, Name::Reason),
        "SIP;cause=200;text=\"Call completed elsewhere\""
    );
    phones[0].reply(&mut lab, &cancel, 200, None);
    refuse(&mut lab, &phones[0], &invites[0], 487, "");
    kate.expect_nothing(&mut lab);
    lab.assert_clean();
}

#[test]
fn two_phones_that_answer_at_once_are_both_told_to_the_caller() {
    let (mut lab, mut kate, mut kates, phones) = forked(&["1.0", "1.0"], "");
    let invites: Vec<_> = phones
        .iter()
        .map(|phone| phone.expect_request(&mut lab, Method::Invite))
        .collect();
    for (phone, invite) in phones.iter().zip(&invites) {
        phone.reply(&mut lab, invite, 180, None);
        kate.expect(&mut lab, 180);
    }
    for (phone, invite) in phones.iter().zip(&invites) {
        phone.reply(&mut lab, invite, 200, Some(&sdp(7100, &[0])));
    }
    let tags: Vec<_> = (0..2)
        .map(|_| {
            let ok = kate.expect(&mut lab, 200);
            let mut dialog = kates.clone();
            kate.ack(&mut lab, &mut dialog, &ok, None);
            (String::from_utf8_lossy(ok.to_tag()).into_owned(), dialog)
        })
        .collect();
    assert_ne!(tags[0].0, tags[1].0);
    // The second is sent away by its own dialog.
    kates = tags[1].1.clone();
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    let mut heard = vec![];
    while let Some(message) = phones[1].take(&mut lab) {
        heard.push(message.method());
        if message.method() == Method::Bye {
            phones[1].reply(&mut lab, &message, 200, None);
        }
    }
    assert_eq!(heard.last(), Some(&Method::Bye), "{heard:?}");
    kate.expect(&mut lab, 200);
    lab.assert_clean();
}

#[test]
fn less_preferred_phones_are_tried_when_the_others_have_refused() {
    let (mut lab, kate, kates, phones) = forked(&["0.5", "1.0", "0.1"], "");
    for (place, status) in [(1, 486), (0, 404), (2, 480)] {
        let others = phones.iter().enumerate().filter(|(n, _)| *n != place);
        others.for_each(|(_, other)| other.expect_nothing(&mut lab));
        let invite = phones[place].expect_request(&mut lab, Method::Invite);
        kate.expect_nothing(&mut lab);
        refuse(&mut lab, &phones[place], &invite, status, "");
    }
    rejected(&mut lab, &kate, &kates, 486);
    lab.assert_clean();
}

#[test]
fn a_phone_that_rings_too_long_makes_room_for_the_next() {
    let (mut lab, kate, kates, phones) = forked(&["1.0", "0.5"], "");
    let first = phones[0].expect_request(&mut lab, Method::Invite);
    phones[0].reply(&mut lab, &first, 180, None);
    kate.expect(&mut lab, 180);
    lab.pass_s(60);
    let cancel = phones[0].expect_request(&mut lab, Method::Cancel);
    let second = phones[1].expect_request(&mut lab, Method::Invite);
    phones[0].reply(&mut lab, &cancel, 200, None);
    refuse(&mut lab, &phones[0], &first, 487, "");
    refuse(&mut lab, &phones[1], &second, 486, "");
    rejected(&mut lab, &kate, &kates, 486);
    lab.assert_clean();
}

#[test]
fn a_decline_speaks_for_all() {
    let (mut lab, kate, kates, phones) = forked(&["1.0", "1.0", "0.5"], "");
    let invites: Vec<_> = phones[..2]
        .iter()
        .map(|phone| phone.expect_request(&mut lab, Method::Invite))
        .collect();
    phones[0].reply(&mut lab, &invites[0], 180, None);
    kate.expect(&mut lab, 180);
    refuse(&mut lab, &phones[1], &invites[1], 603, "");
    let cancel = phones[0].expect_request(&mut lab, Method::Cancel);
    assert_eq!(header(&cancel, Name::Reason), "SIP;cause=603");
    phones[0].reply(&mut lab, &cancel, 200, None);
    // He answered as it came: a 2xx is passed on whatever was before.
    refuse(&mut lab, &phones[0], &invites[0], 487, "");
    rejected(&mut lab, &kate, &kates, 603);
    phones[2].expect_nothing(&mut lab);
    lab.assert_clean();
}

#[test]
fn a_cancel_reaches_every_phone_and_no_other_is_tried() {
    let (mut lab, kate, kates, phones) = forked(&["1.0", "1.0", "0.5"], "");
    let invites: Vec<_> = phones[..2]
        .iter()
        .map(|phone| phone.expect_request(&mut lab, Method::Invite))
        .collect();
    for (phone, invite) in phones.iter().zip(&invites) {
        phone.reply(&mut lab, invite, 180, None);
        kate.expect(&mut lab, 180);
    }
    kate.cancel(&mut lab, &kates, "");
    kate.expect(&mut lab, 200);
    for (phone, invite) in phones.iter().zip(&invites) {
        let cancel = phone.expect_request(&mut lab, Method::Cancel);
        phone.reply(&mut lab, &cancel, 200, None);
        refuse(&mut lab, phone, invite, 487, "");
    }
    rejected(&mut lab, &kate, &kates, 487);
    phones[2].expect_nothing(&mut lab);
    lab.assert_clean();
}

#[test]
fn challenges_of_all_branches_go_back_in_one_answer_but_none_in_our_realm() {
    let (mut lab, kate, kates, phones) = forked(&["1.0", "1.0", "1.0"], "");
    let digest = |realm: &str| format!("Digest realm=\"{realm}\", nonce=\"n\", qop=\"auth\"");
    let answers = [
        (401, format!("WWW-Authenticate: {}\r\n", digest("one"))),
        (407, format!("Proxy-Authenticate: {}\r\n", digest("two"))),
        (401, format!("WWW-Authenticate: {}\r\n", digest("example.com"))),
    ];
    for (phone, (status, extra)) in phones.iter().zip(&answers) {
        let invite = phone.expect_request(&mut lab, Method::Invite);
        refuse(&mut lab, phone, &invite, *status, extra);
    }
    let refusal = rejected(&mut lab, &kate, &kates, 401);
    assert_eq!(values(&refusal, Name::WwwAuthenticate), [digest("one")]);
    assert_eq!(values(&refusal, Name::ProxyAuthenticate), [digest("two")]);
    lab.assert_clean();
}

#[test]
fn a_phone_that_challenges_in_our_realm_harvests_nothing() {
    let (mut lab, kate, kates, phones) = forked(&["1.0"], "");
    let invite = phones[0].expect_request(&mut lab, Method::Invite);
    let challenge = "WWW-Authenticate: Digest realm=\"example.com\", nonce=\"n\"\r\n";
    refuse(&mut lab, &phones[0], &invite, 401, challenge);
    let refusal = rejected(&mut lab, &kate, &kates, 480);
    assert_eq!(refusal.header(Name::WwwAuthenticate), None);
    lab.assert_clean();
}

#[test]
fn a_phone_without_room_does_not_speak_for_us() {
    let (mut lab, kate, kates, phones) = forked(&["1.0"], "");
    let invite = phones[0].expect_request(&mut lab, Method::Invite);
    refuse(&mut lab, &phones[0], &invite, 503, "Retry-After: 600\r\n");
    let refusal = rejected(&mut lab, &kate, &kates, 500);
    assert_eq!(refusal.header(Name::RetryAfter), None);
    lab.assert_clean();
}

#[test]
fn an_early_dialog_that_ends_while_others_ring_is_told_with_199() {
    for (supported, told) in [
        ("Supported: 199\r\n", true),
        ("", false),
        ("Supported: 199\r\nRequire: 100rel\r\n", false),
    ] {
        let (mut lab, kate, kates, phones) = forked(&["1.0", "1.0"], supported);
        let invites: Vec<_> = phones
            .iter()
            .map(|phone| phone.expect_request(&mut lab, Method::Invite))
            .collect();
        for (phone, invite) in phones.iter().zip(&invites) {
            phone.reply(&mut lab, invite, 183, None);
            kate.expect(&mut lab, 183);
        }
        refuse(&mut lab, &phones[0], &invites[0], 486, "");
        if told {
            let ended = kate.expect(&mut lab, 199);
            assert_eq!(ended.to_tag(), b"1001-6100");
            assert_eq!(header(&ended, Name::Reason), "SIP;cause=486");
            assert!(ended.body_bytes().is_empty() && ended.header(Name::RSeq).is_none());
        }
        kate.expect_nothing(&mut lab);
        // The last refusal ends all: nothing is told beside it.
        refuse(&mut lab, &phones[1], &invites[1], 480, "");
        rejected(&mut lab, &kate, &kates, 486);
        lab.assert_clean();
    }
}

#[test]
fn a_message_goes_to_all_phones_and_is_answered_once() {
    let (mut lab, mut kate, _, phones) = forked(&["1.0", "1.0"], "");
    for phone in &phones {
        let invite = phone.expect_request(&mut lab, Method::Invite);
        refuse(&mut lab, phone, &invite, 486, "");
    }
    kate.next(&mut lab);
    let uri = "sip:1001@example.com";
    let mut dialog = kate.new_dialog(uri, uri);
    let credentials = kate.credentials(Method::Message, uri);
    let request = kate.request(
        &mut dialog,
        Method::Message,
        &credentials,
        Some(("text/plain", "hello")),
    );
    kate.send(&mut lab, request);
    for phone in &phones {
        let message = phone.expect_request(&mut lab, Method::Message);
        assert_eq!(message.body_bytes(), b"hello");
        phone.reply(&mut lab, &message, 200, None);
    }
    kate.expect(&mut lab, 200);
    kate.expect_nothing(&mut lab);
}
