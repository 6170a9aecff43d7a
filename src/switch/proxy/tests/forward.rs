//! Calls that their user has sent on when he is busy, does not answer, or is away.

use super::*;

/// 1001 has calls sent on by this code; 1000 calls, and all three phones are there.
fn sent_on(code: &str) -> (Lab, Handset, Dialog, [Handset; 2]) {
    let (mut lab, mut kate, mut jim) = pair();
    let ann = Handset::registered(&mut lab, "1002", 6200);
    dial_code(&mut lab, &mut jim, code);
    let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    (lab, kate, kates, [jim, ann])
}

#[test]
fn a_busy_users_call_goes_where_he_has_said_and_is_his_own_there() {
    let (mut lab, mut kate, mut kates, [jim, ann]) = sent_on("*901002");
    let invite = jim.expect_request(&mut lab, Method::Invite);
    refuse(&mut lab, &jim, &invite, 486, "");
    let invite = ann.expect_request(&mut lab, Method::Invite);
    assert_eq!(invite.request_uri(), ann.contact().as_bytes());
    kate.expect_nothing(&mut lab);
    ann.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
    ann.reply(&mut lab, &invite, 200, Some(&sdp(7200, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    ann.expect_request(&mut lab, Method::Ack);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    let bye = ann.expect_request(&mut lab, Method::Bye);
    ann.reply(&mut lab, &bye, 200, None);
    kate.expect(&mut lab, 200);
    assert_eq!(lab.records.last().unwrap().user.as_ref().unwrap().user(), "1002");
    lab.assert_clean();
}

#[test]
fn a_call_that_rings_too_long_goes_on_and_the_second_answer_counts() {
    let (mut lab, kate, kates, [jim, ann]) = sent_on("*921002");
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
    let rings = lab::config().calls.ring_timeout.as_secs();
    lab.pass_s(rings);
    let cancel = jim.expect_request(&mut lab, Method::Cancel);
    jim.reply(&mut lab, &cancel, 200, None);
    refuse(&mut lab, &jim, &invite, 487, "");
    let invite = ann.expect_request(&mut lab, Method::Invite);
    refuse(&mut lab, &ann, &invite, 603, "");
    rejected(&mut lab, &kate, &kates, 603);
    lab.assert_clean();
}

#[test]
fn an_absent_user_and_one_who_is_not_to_be_disturbed_have_their_calls_sent_on_at_once() {
    for (codes, is_there) in [(&["*921002"][..], false), (&["*78", "*901002"][..], true)] {
        let (mut lab, mut kate, mut jim) = pair();
        let ann = Handset::registered(&mut lab, "1002", 6200);
        codes.iter().for_each(|code| dial_code(&mut lab, &mut jim, code));
        if !is_there {
            let (uri, aor) = ("sip:example.com", jim.aor());
            jim.ask(&mut lab, Method::Register, uri, &aor, "Contact: *\r\nExpires: 0\r\n");
        }
        kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
        ann.expect_request(&mut lab, Method::Invite);
        jim.expect_nothing(&mut lab);
    }
}

#[test]
fn who_declines_or_gives_up_is_not_followed_by_anybody() {
    let (mut lab, kate, kates, [jim, ann]) = sent_on("*901002");
    let invite = jim.expect_request(&mut lab, Method::Invite);
    refuse(&mut lab, &jim, &invite, 603, "");
    rejected(&mut lab, &kate, &kates, 603);
    ann.expect_nothing(&mut lab);

    let (mut lab, kate, kates, [jim, ann]) = sent_on("*921002");
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
    kate.cancel(&mut lab, &kates, "");
    kate.expect(&mut lab, 200);
    let cancel = jim.expect_request(&mut lab, Method::Cancel);
    jim.reply(&mut lab, &cancel, 200, None);
    refuse(&mut lab, &jim, &invite, 487, "");
    rejected(&mut lab, &kate, &kates, 487);
    ann.expect_nothing(&mut lab);
    lab.assert_clean();
}

#[test]
fn forwards_in_a_circle_end_where_they_began() {
    let (mut lab, mut kate, mut jim) = pair();
    let mut ann = Handset::registered(&mut lab, "1002", 6200);
    dial_code(&mut lab, &mut jim, "*901002");
    dial_code(&mut lab, &mut ann, "*901001");
    let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    for phone in [&jim, &ann] {
        let invite = phone.expect_request(&mut lab, Method::Invite);
        refuse(&mut lab, phone, &invite, 486, "");
    }
    rejected(&mut lab, &kate, &kates, 486);
    jim.expect_nothing(&mut lab);
    lab.assert_clean();
}
