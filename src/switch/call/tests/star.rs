//! Star codes, do not disturb, forwards, call waiting and pick-up.

use super::*;
use crate::Input;
use media::Event;
use model::{StoreOp, UserSettings, Willing};

/// Dials a code: answered, beeped at, and told goodbye.
fn code(lab: &mut Lab, phone: &mut Handset, dialled: &str) {
    let mut dialog = phone.invite(lab, dialled, Some(&sdp(7900, &[0])));
    let ok = phone.expect(lab, 200);
    phone.ack(lab, &mut dialog, &ok, None);
    let leg = lab.studio.towards(7900).expect("a leg");
    let (room, player) = (leg.room, media::PlayerId(1));
    lab.input(Input::Media(Event::Played { room, player }));
    told_bye(lab, phone);
}

fn refused(lab: &mut Lab, phone: &mut Handset, dialled: &str) -> u16 {
    let dialog = phone.invite(lab, dialled, Some(&sdp(7900, &[0])));
    let refusal = phone.next(lab);
    phone.ack_failure(lab, &dialog, &refusal);
    refusal.status()
}

fn stored(lab: &Lab) -> Vec<UserSettings> {
    let settings = |op: &StoreOp| match op {
        StoreOp::PutUserSettings(settings) => Some((**settings).clone()),
        _ => None,
    };
    lab.stored.iter().filter_map(settings).collect()
}

/// Kate is 1000, Jim 1001, Carol 1002.
fn three() -> (Lab, Handset, Handset, Handset) {
    let (mut lab, kate, jim) = pair();
    let carol = Handset::registered(&mut lab, "1002", 6200);
    (lab, kate, jim, carol)
}

#[test]
fn do_not_disturb_refuses_all_but_oneself_until_it_is_switched_off() {
    let (mut lab, mut kate, mut jim, _) = three();
    code(&mut lab, &mut jim, "*78");
    assert_eq!(refused(&mut lab, &mut kate, "1001"), 486);
    jim.expect_nothing(&mut lab);
    assert!(stored(&lab)[0].do_not_disturb);
    code(&mut lab, &mut jim, "*79");
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    jim.expect_request(&mut lab, Method::Invite);
    assert!(!stored(&lab)[1].do_not_disturb);
}

#[test]
fn all_calls_follow_a_forward_and_the_forwarder_can_still_be_called_by_himself() {
    let (mut lab, mut kate, mut jim, carol) = three();
    code(&mut lab, &mut jim, "*721002");
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    jim.expect_nothing(&mut lab);
    let invite = carol.expect_request(&mut lab, Method::Invite);
    carol.reply(&mut lab, &invite, 200, Some(&sdp(7200, &[0])));
    carol.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    assert!(header(&ok, Name::PAssertedIdentity).contains("1002"));
    kate.ack(&mut lab, &mut kates, &ok, None);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    told_bye(&mut lab, &carol);
    code(&mut lab, &mut jim, "*73");
    assert_eq!(stored(&lab).last().unwrap().forward_always, None);
    lab.assert_clean();
}

#[test]
fn forwards_in_a_circle_end() {
    let (mut lab, mut kate, mut jim, mut carol) = three();
    code(&mut lab, &mut jim, "*721002");
    code(&mut lab, &mut carol, "*721001");
    assert_eq!(refused(&mut lab, &mut kate, "1001"), 482);
    for n in 1003..1008 {
        let mut phone = Handset::registered(&mut lab, &n.to_string(), 6000 + 10 * (n - 1000));
        code(&mut lab, &mut phone, &format!("*72{}", n + 1));
    }
    assert_eq!(refused(&mut lab, &mut kate, "1003"), 482, "too many");
    lab.assert_clean();
}

#[test]
fn forwards_lead_to_other_users_only() {
    let (mut lab, mut kate, _, _) = three();
    for (dialled, status) in [
        ("*72", 484),
        ("*721000", 403),
        ("*724711", 404),
        ("*729196", 403),
        ("*72*78", 403),
    ] {
        assert_eq!(refused(&mut lab, &mut kate, dialled), status, "{dialled}");
    }
    assert_eq!(refused(&mut lab, &mut kate, "*41"), 403, "she is no agent");
    assert_eq!(stored(&lab), []);
}

#[test]
fn a_busy_phone_forwards_and_without_a_forward_is_busy() {
    let (mut lab, mut kate, mut jim, carol) = three();
    code(&mut lab, &mut jim, "*901002");
    let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 486, None);
    jim.expect_request(&mut lab, Method::Ack);
    let invite = carol.expect_request(&mut lab, Method::Invite);
    kate.expect(&mut lab, 181);
    carol.reply(&mut lab, &invite, 486, None);
    carol.expect_request(&mut lab, Method::Ack);
    let refusal = kate.expect(&mut lab, 486);
    kate.ack_failure(&mut lab, &kates, &refusal);
    lab.assert_clean();
}

#[test]
fn a_call_that_nobody_answers_goes_on() {
    let (mut lab, mut kate, mut jim, carol) = three();
    code(&mut lab, &mut jim, "*921002");
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
    lab.pass_s(60);
    cancelled(&mut lab, &jim, &invite);
    kate.expect(&mut lab, 181);
    let invite = carol.expect_request(&mut lab, Method::Invite);
    carol.reply(&mut lab, &invite, 200, Some(&sdp(7200, &[0])));
    carol.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    lab.switch.audit().unwrap();
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    told_bye(&mut lab, &carol);
    lab.assert_clean();
}

#[test]
fn a_user_without_a_phone_forwards_too_and_a_decline_is_final() {
    let (mut lab, mut kate, mut jim, carol) = three();
    code(&mut lab, &mut jim, "*921002");
    let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 603, None);
    jim.expect_request(&mut lab, Method::Ack);
    let refusal = kate.expect(&mut lab, 603);
    kate.ack_failure(&mut lab, &kates, &refusal);
    let unregister = "Contact: *\r\nExpires: 0\r\n";
    jim.ask(&mut lab, Method::Register, "sip:example.com", &jim.aor(), unregister);
    kate.invite(&mut lab, "1001", Some(&sdp(7010, &[0])));
    carol.expect_request(&mut lab, Method::Invite);
}

#[test]
fn a_second_call_rings_or_is_busy_as_the_user_likes() {
    let Up { mut lab, mut jim, .. } = up();
    let mut carol = Handset::registered(&mut lab, "1002", 6200);
    let carols = carol.invite(&mut lab, "1001", Some(&sdp(7200, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    carol.expect(&mut lab, 180);
    carol.cancel(&mut lab, &carols, "");
    while carol.take(&mut lab).is_some() {}
    cancelled(&mut lab, &jim, &invite);
    code(&mut lab, &mut jim, "*44");
    assert_eq!(refused(&mut lab, &mut carol, "1001"), 486);
    code(&mut lab, &mut jim, "*43");
    carol.invite(&mut lab, "1001", Some(&sdp(7210, &[0])));
    jim.expect_request(&mut lab, Method::Invite);
}

#[test]
fn members_of_a_group_pick_up_each_others_calls() {
    let mut config = lab::config();
    config.stars.pick_up_groups = vec![vec!["1001".into(), "1003".into()]];
    let mut lab = Lab::with(config);
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let jim = Handset::registered(&mut lab, "1001", 6100);
    let mut carol = Handset::registered(&mut lab, "1002", 6200);
    let mut dave = Handset::registered(&mut lab, "1003", 6300);
    assert_eq!(refused(&mut lab, &mut dave, "*81001"), 480, "nothing rings");
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    jim.expect_request(&mut lab, Method::Invite);
    assert_eq!(refused(&mut lab, &mut carol, "*81001"), 403, "no common group");
    dave.invite(&mut lab, "*81001", Some(&sdp(7300, &[0])));
    dave.expect(&mut lab, 200);
    kate.expect(&mut lab, 200);
}

#[test]
fn what_was_set_is_in_force_after_a_restart() {
    use crate::testing::{World, config};
    let mut world = World::new(config(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    world.register(kate);
    world.register(jim);
    world.call(jim, "*78");
    world.run_ms(500);
    world.restart();
    world.register(kate);
    let call = world.call(kate, "1001");
    world.run_ms(500);
    assert_eq!(world.phones[kate].calls[call].rejected, Some(486));
}

#[test]
fn agents_log_in_and_out_and_are_ready_and_not_by_dialling() {
    let (mut lab, _, mut jim, _) = three();
    let mut config = super::lab::config();
    config.users[1].roles.push(crate::config::Role::Agent);
    lab.input(Input::Reload(Box::new(config)));
    let willing = |lab: &Lab| {
        let last = stored(lab).pop().expect("something was set");
        [last.voice, last.im].map(|said| said.expect("both media").willing)
    };
    for (dialled, expected) in [
        ("*41", Willing::Ready),
        ("*46", Willing::NotReady),
        ("*41", Willing::NotReady),
        ("*45", Willing::Ready),
        ("*42", Willing::LoggedOff),
    ] {
        code(&mut lab, &mut jim, dialled);
        assert_eq!(willing(&lab), [expected; 2], "{dialled}");
    }
}

#[test]
fn a_forwarded_call_tells_its_way_and_a_device_cannot_make_one_up() {
    let (mut lab, mut kate, mut jim, ann) = three();
    code(&mut lab, &mut jim, "*721002");
    let claims = "Diversion: <sip:1009@example.com>;reason=away\r\nHistory-Info: <sip:1009@example.com>;index=1\r\n";
    kate.invite_with(&mut lab, "1001", claims, Some(&sdp(7000, &[0])));
    let invite = ann.expect_request(&mut lab, Method::Invite);
    assert_eq!(
        header(&invite, Name::Diversion),
        "<sip:1001@example.com>;reason=unconditional;counter=1"
    );
    assert_eq!(
        header(&invite, Name::HistoryInfo),
        "<sip:1001@example.com>;index=1, <sip:1002@example.com;cause=302>;index=1.1;mp=1"
    );
}
