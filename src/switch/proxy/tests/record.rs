//! Records of calls that are passed on (decision 0039).

use super::*;
use model::{Direction, EndReason, EndedBy};

/// Reason and status of each record.
fn told(lab: &Lab) -> Vec<(EndReason, u16)> {
    lab.records.iter().map(|cdr| (cdr.reason, cdr.status)).collect()
}

#[test]
fn an_answered_call_has_a_record_of_each_side_when_somebody_hangs_up() {
    let (mut lab, mut kate, mut jim) = pair();
    let began = lab.now.wall;
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    lab.pass_s(1);
    jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
    lab.pass_s(4);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    jim.expect_request(&mut lab, Method::Ack);
    assert!(lab.records.is_empty() && lab.open.len() == 2);
    lab.pass_s(20);
    let mut jims = jim.dialog_of(&invite);
    jim.send_in(&mut lab, &mut jims, Method::Bye, "", None);
    let bye = kate.expect_request(&mut lab, Method::Bye);
    kate.reply(&mut lab, &bye, 200, None);
    jim.expect(&mut lab, 200);
    let users: Vec<_> = lab
        .records
        .iter()
        .map(|cdr| (cdr.direction, cdr.user.as_ref().unwrap().user(), cdr.ended_by))
        .collect();
    let expected = [
        (Direction::In, "1000", EndedBy::Other),
        (Direction::Out, "1001", EndedBy::Peer),
    ];
    assert_eq!(users, expected);
    for cdr in &lab.records {
        let seconds = |at: clock::Wall| began.until(at).as_secs();
        let times = [
            cdr.started_at,
            cdr.ringing_at.unwrap(),
            cdr.answered_at.unwrap(),
            cdr.ended_at,
        ];
        assert_eq!(times.map(seconds), [0, 1, 5, 25]);
        assert_eq!((cdr.reason, cdr.status, &*cdr.callee), (EndReason::Normal, 200, "1001"));
        assert_eq!(
            (&*cdr.call_id, cdr.interaction),
            (&*kates.call_id, lab.records[0].interaction)
        );
        assert!(cdr.caller.contains("1000"), "{}", cdr.caller);
    }
    lab.assert_clean();
    assert!(lab.open.is_empty());
}

#[test]
fn a_call_that_ends_after_a_restart_has_its_records_all_the_same() {
    let (mut lab, mut kate, jim, mut kates, _) = up();
    let mut again = Lab::with(config());
    again.open = std::mem::take(&mut lab.open);
    kate.send_in(&mut again, &mut kates, Method::Bye, "", None);
    let bye = jim.expect_request(&mut again, Method::Bye);
    jim.reply(&mut again, &bye, 200, None);
    kate.expect(&mut again, 200);
    assert_eq!(told(&again), [(EndReason::Normal, 200); 2]);
    // Nobody else's BYE ends a record: it has no seal of ours.
    assert!(again.open.is_empty());
}

#[test]
fn a_call_whose_end_nobody_tells_is_given_up_after_a_day() {
    let (mut lab, ..) = up();
    lab.pass_s(60);
    let answered = lab.now.wall - std::time::Duration::from_secs(24 * 3_600);
    let asked = lab.stored.iter().rev().find_map(|op| match op {
        model::StoreOp::GiveUpCdrs { answered_until, .. } => Some(*answered_until),
        _ => None,
    });
    assert!(asked.is_some_and(|until| until <= answered), "{asked:?}");
    let left: Vec<_> = lab.open.values().map(|cdr| (cdr.reason, cdr.ended_by)).collect();
    assert_eq!(left, [(EndReason::SignallingTimeout, EndedBy::Switch); 2]);
}

#[test]
fn a_call_that_came_to_nothing_has_one_record_that_says_why() {
    let (mut lab, mut kate, jim) = pair();
    for (status, reason) in [
        (486, EndReason::Busy),
        (603, EndReason::Declined),
        (488, EndReason::NoCommonCodec),
    ] {
        let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
        let invite = jim.expect_request(&mut lab, Method::Invite);
        refuse(&mut lab, &jim, &invite, status, "");
        rejected(&mut lab, &kate, &kates, status);
        assert_eq!(told(&lab).last(), Some(&(reason, status)));
        assert_eq!(lab.records.last().unwrap().ended_by, EndedBy::Other);
    }
    let kates = kate.invite(&mut lab, "1005", Some(&sdp(7000, &[0])));
    rejected(&mut lab, &kate, &kates, 480);
    assert_eq!(told(&lab).last(), Some(&(EndReason::Unreachable, 480)));

    let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
    kate.cancel(&mut lab, &kates, "");
    kate.expect(&mut lab, 200);
    let cancel = jim.expect_request(&mut lab, Method::Cancel);
    jim.reply(&mut lab, &cancel, 200, None);
    refuse(&mut lab, &jim, &invite, 487, "");
    rejected(&mut lab, &kate, &kates, 487);
    assert_eq!(told(&lab).last(), Some(&(EndReason::Cancelled, 487)));
    assert_eq!(lab.records.last().unwrap().ended_by, EndedBy::Peer);

    let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 180, None);
    kate.expect(&mut lab, 180);
    let rings = lab::config().calls.ring_timeout.as_secs();
    lab.pass_s(rings);
    let cancel = jim.expect_request(&mut lab, Method::Cancel);
    jim.reply(&mut lab, &cancel, 200, None);
    refuse(&mut lab, &jim, &invite, 487, "");
    rejected(&mut lab, &kate, &kates, 480);
    assert_eq!(told(&lab).last(), Some(&(EndReason::NoAnswer, 480)));
    assert_eq!(lab.records.len(), 6);
    lab.assert_clean();
}
