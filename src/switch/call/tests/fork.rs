//! Several devices of one user.

use super::*;
use media::plan::Codec;

/// 1001 has two phones, and 1000 calls: each phone's INVITE.
fn both_ring() -> (Lab, Handset, Dialog, [(Handset, Message); 2]) {
    let mut lab = Lab::new();
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let desk = Handset::registered(&mut lab, "1001", 6100);
    let mobile = Handset::registered(&mut lab, "1001", 6200);
    let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0, 8])));
    let invites = [&desk, &mobile].map(|phone| phone.expect_request(&mut lab, Method::Invite));
    let [first, second] = invites;
    (lab, kate, kates, [(desk, first), (mobile, second)])
}

#[test]
fn the_first_to_answer_has_the_call_and_the_other_shows_no_missed_call() {
    let (mut lab, kate, mut kates, [(desk, desks), (mobile, mobiles)]) = both_ring();
    desk.reply(&mut lab, &desks, 180, None);
    kate.expect(&mut lab, 180);
    mobile.reply(&mut lab, &mobiles, 180, None);
    kate.expect_nothing(&mut lab);
    desk.reply(&mut lab, &desks, 200, Some(&sdp(7100, &[0])));
    desk.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    let mut kate = kate;
    kate.ack(&mut lab, &mut kates, &ok, None);
    let cancel = cancelled(&mut lab, &mobile, &mobiles);
    assert_eq!(
        header(&cancel, Name::Reason),
        "SIP;cause=200;text=\"Call completed elsewhere\""
    );
    assert_eq!(lab.figure("rtp_ports"), 2);
    let elsewhere = &lab.records[0];
    assert_eq!(
        (elsewhere.reason, elsewhere.status),
        (EndReason::AnsweredElsewhere, 487)
    );

    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    told_bye(&mut lab, &desk);
    lab.assert_clean();
    assert_eq!(lab.records.len(), 3);
}

#[test]
fn early_media_of_one_of_several_is_heard_in_a_codec_that_is_kept_whoever_answers() {
    let (mut lab, mut kate, mut kates, [(desk, desks), (mobile, mobiles)]) = both_ring();
    // G.722, which the caller has not: he is answered by the switch, and hears it transcoded.
    desk.reply(&mut lab, &desks, 183, Some(&sdp(7100, &[9])));
    let early = kate.expect(&mut lab, 183);
    assert!(body(&early).contains("RTP/AVP 0\r\n"), "{}", body(&early));
    let codec = |lab: &Lab, port| lab.studio.towards(port).map(|leg| leg.media.formats[0].codec);
    assert_eq!(codec(&lab, 7000), Some(Codec::Pcmu));
    assert_eq!(codec(&lab, 7100), Some(Codec::G722));
    // The other may say what it likes: two at once nobody understands.
    mobile.reply(&mut lab, &mobiles, 183, Some(&sdp(7200, &[8])));
    kate.expect_nothing(&mut lab);
    assert_eq!(lab.studio.open_legs(), 2);

    mobile.reply(&mut lab, &mobiles, 200, Some(&sdp(7200, &[8])));
    mobile.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    assert_eq!(body(&ok), body(&early), "chosen once");
    kate.ack(&mut lab, &mut kates, &ok, None);
    kate.expect_nothing(&mut lab);
    cancelled(&mut lab, &desk, &desks);
    assert_eq!(codec(&lab, 7100), None);
    assert_eq!(
        (codec(&lab, 7000), codec(&lab, 7200)),
        (Some(Codec::Pcmu), Some(Codec::Pcma))
    );
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    told_bye(&mut lab, &mobile);
    lab.assert_clean();
}

#[test]
fn when_the_device_that_is_heard_early_goes_another_is_heard() {
    let (mut lab, kate, _, [(desk, desks), (mobile, mobiles)]) = both_ring();
    for (phone, invite, port) in [(&desk, &desks, 7100), (&mobile, &mobiles, 7200)] {
        phone.reply(&mut lab, invite, 183, Some(&sdp(port, &[0])));
    }
    kate.expect(&mut lab, 183);
    let hears = |lab: &Lab, port| lab.studio.towards(port).is_some();
    assert!(hears(&lab, 7100) && !hears(&lab, 7200));
    desk.reply(&mut lab, &desks, 486, None);
    desk.expect_request(&mut lab, Method::Ack);
    assert!(!hears(&lab, 7100) && hears(&lab, 7200));
    mobile.reply(&mut lab, &mobiles, 480, None);
    mobile.expect_request(&mut lab, Method::Ack);
    kate.expect(&mut lab, 486);
    lab.assert_clean();
}

#[test]
fn a_second_answer_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let (mut lab, mut kate, mut kates, [(desk, desks), (mobile, mobiles)]) = both_ring();
    mobile.reply(&mut lab, &mobiles, 180, None);
    kate.expect(&mut lab, 180);
    desk.reply(&mut lab, &desks, 200, Some(&sdp(7100, &[0])));
    mobile.expect_request(&mut lab, Method::Cancel);
    mobile.reply(&mut lab, &mobiles, 200, Some(&sdp(7200, &[0])));
    mobile.expect_request(&mut lab, Method::Ack);
    told_bye(&mut lab, &mobile);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    kate.expect_nothing(&mut lab);
    desk.expect_request(&mut lab, Method::Ack);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    told_bye(&mut lab, &desk);
    lab.assert_clean();
}

#[test]
fn a_decline_on_one_device_speaks_for_all() {
    let (mut lab, kate, _, [(desk, desks), (mobile, mobiles)]) = both_ring();
    mobile.reply(&mut lab, &mobiles, 180, None);
    kate.expect(&mut lab, 180);
    desk.reply(&mut lab, &desks, 603, None);
    desk.expect_request(&mut lab, Method::Ack);
    kate.expect(&mut lab, 603);
    let cancel = cancelled(&mut lab, &mobile, &mobiles);
    assert_eq!(header(&cancel, Name::Reason), "SIP;cause=603;text=\"Declined\"");
    lab.assert_clean();
    assert_eq!(reasons(&lab)[0], EndReason::Declined);
}

#[test]
fn busy_is_told_only_when_no_other_device_rings() {
    let (mut lab, kate, _, [(desk, desks), (mobile, mobiles)]) = both_ring();
    desk.reply(&mut lab, &desks, 486, None);
    kate.expect_nothing(&mut lab);
    mobile.reply(&mut lab, &mobiles, 480, None);
    kate.expect(&mut lab, 486);
    lab.assert_clean();
    assert_eq!(
        reasons(&lab),
        [EndReason::Busy, EndReason::Busy, EndReason::Unreachable]
    );
}

#[test]
fn a_device_that_is_gone_does_not_keep_the_other_from_answering() {
    let (mut lab, mut kate, mut kates, [(desk, _), (mobile, mobiles)]) = both_ring();
    mobile.reply(&mut lab, &mobiles, 180, None);
    kate.expect(&mut lab, 180);
    lab.pass_s(40);
    while desk.take(&mut lab).is_some() {}
    kate.expect_nothing(&mut lab);
    mobile.reply(&mut lab, &mobiles, 200, Some(&sdp(7200, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    assert_eq!(lab.figure("rtp_ports"), 2);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    mobile.expect_request(&mut lab, Method::Ack);
    told_bye(&mut lab, &mobile);
    lab.assert_clean();
}

#[test]
fn a_user_who_calls_himself_reaches_his_other_devices() {
    let mut lab = Lab::new();
    let mut desk = Handset::registered(&mut lab, "1001", 6100);
    let mobile = Handset::registered(&mut lab, "1001", 6200);
    desk.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    mobile.expect_request(&mut lab, Method::Invite);
    desk.expect_nothing(&mut lab);
}

#[test]
fn with_ports_for_some_devices_these_ring() {
    let mut lab = Lab::new();
    lab.studio.port_limit = Some(257);
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let desk = Handset::registered(&mut lab, "1001", 6100);
    let mobile = Handset::registered(&mut lab, "1001", 6200);
    for _ in 0..85 {
        kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
        desk.expect_request(&mut lab, Method::Invite);
        mobile.expect_request(&mut lab, Method::Invite);
    }
    // Two ports are left.
    let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    desk.expect_request(&mut lab, Method::Invite);
    mobile.expect_nothing(&mut lab);
    lab.switch.audit().expect("sound");
    kate.cancel(&mut lab, &kates, "");
    lab.switch.audit().expect("sound");
}
