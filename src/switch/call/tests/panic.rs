//! A panic costs the call that was being worked on, and nothing else.

use super::*;

/// A second call, of 1002 to 1003, that must not notice.
fn bystanders(lab: &mut Lab) -> (Handset, Handset, Dialog) {
    let mut ann = Handset::registered(lab, "1002", 6400);
    let bob = Handset::registered(lab, "1003", 6500);
    let mut anns = ann.invite(lab, "1003", Some(&sdp(7400, &[0])));
    let invite = bob.expect_request(lab, Method::Invite);
    bob.reply(lab, &invite, 200, Some(&sdp(7500, &[0])));
    bob.expect_request(lab, Method::Ack);
    let ok = ann.expect(lab, 200);
    ann.ack(lab, &mut anns, &ok, None);
    (ann, bob, anns)
}

/// The bystanders still talk, hang up, and nothing is left of the other call.
fn nobody_else_noticed(mut lab: Lab, (mut ann, bob, mut anns): (Handset, Handset, Dialog)) {
    lab.switch.audit().expect("the invariants hold");
    assert_eq!(lab.figure("recoveries_total"), 1);
    assert_eq!(lab.figure("calls"), 1);
    ann.expect_nothing(&mut lab);
    ann.send_in(&mut lab, &mut anns, Method::Bye, "", None);
    ann.expect(&mut lab, 200);
    told_bye(&mut lab, &bob);
    lab.assert_clean();
}

#[test]
fn while_devices_are_called() {
    let (mut lab, mut kate, jim) = pair();
    let others = bystanders(&mut lab);
    lab.recovers = true;
    lab.switch.panic_in("ring");
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    cancelled(&mut lab, &jim, &invite);
    kate.expect(&mut lab, 500);
    nobody_else_noticed(lab, others);
}

#[test]
fn while_an_answer_is_passed_on() {
    let (mut lab, kate, jim, kates, invite) = ringing();
    let others = bystanders(&mut lab);
    lab.recovers = true;
    lab.switch.panic_in("answer");
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    jim.expect_request(&mut lab, Method::Ack);
    let bye = told_bye(&mut lab, &jim);
    assert_eq!(header(&bye, Name::Reason), "SIP;cause=500;text=\"Internal fault\"");
    let refusal = kate.expect(&mut lab, 500);
    kate.ack_failure(&mut lab, &kates, &refusal);
    assert_eq!(reasons(&lab), [EndReason::Internal; 2]);
    nobody_else_noticed(lab, others);
}

#[test]
fn while_an_offer_is_passed_on() {
    let Up {
        mut lab,
        mut kate,
        jim,
        mut kates,
        ..
    } = up_passing_hold();
    let others = bystanders(&mut lab);
    lab.recovers = true;
    lab.switch.panic_in("offer");
    let offer = hold(7000, &[0]);
    kate.send_in(
        &mut lab,
        &mut kates,
        Method::Invite,
        "",
        Some(("application/sdp", &offer)),
    );
    kate.expect(&mut lab, 487);
    told_bye(&mut lab, &kate);
    jim.expect_request(&mut lab, Method::Invite);
    told_bye(&mut lab, &jim);
    assert_eq!(reasons(&lab), [EndReason::Internal; 2]);
    nobody_else_noticed(lab, others);
}

#[test]
fn while_a_call_ends() {
    let Up {
        mut lab,
        mut kate,
        jim,
        mut kates,
        ..
    } = up();
    let others = bystanders(&mut lab);
    lab.recovers = true;
    lab.switch.panic_in("end");
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    told_bye(&mut lab, &jim);
    assert_eq!(reasons(&lab), [EndReason::Normal; 2]);
    nobody_else_noticed(lab, others);
}

#[test]
fn while_a_supervisor_comes_into_a_consultation() {
    use super::stage::{ANN, BOSS, CUSTOMER, JIM, KATE};
    use crate::Verb;
    let (mut stage, interaction, consultation) = super::consult::consulting();
    let listen = Verb::Supervise {
        interaction: consultation,
        party: None,
        mode: crate::Supervision::Listen,
    };
    stage.act(BOSS, listen);
    // Somebody else is called for the same contact.
    stage.act(KATE, Verb::Resume { interaction });
    let target = "1002".into();
    stage.act(KATE, Verb::InstantConference { interaction, target });
    stage.lab.recovers = true;
    stage.lab.switch.panic_in("merge");
    stage.answer(BOSS);
    for who in [KATE, CUSTOMER, JIM, ANN, BOSS] {
        assert!(
            !stage.is_in_a_call(who) && stage.actors[who].ringing.is_empty(),
            "{who}"
        );
    }
    stage.end();
}
