//! More than two: who joins, who goes, who takes another's place.

use super::*;

fn add(session: SessionId, target: &str) -> ImVerb {
    let target = target.into();
    ImVerb::Add { session, target }
}

#[test]
fn a_third_joins_with_all_that_was_said_and_all_hear_each_other() {
    let mut desk = Desk::with(&["1000", "1001", "1002"]);
    let session = desk.connect("1000", "1001");
    desk.say("1001", session, "let us ask Bob");
    desk.act("1000", add(session, "1002"));
    assert_eq!(
        desk.state("1001", session),
        ImState::Connected,
        "the two go on meanwhile"
    );
    assert_eq!(desk.state("1002", session), ImState::NotConnected);
    desk.say("1000", session, "he is coming");
    let Answer::Session(transcript) = desk.act("1002", ImVerb::Accept { session }) else {
        panic!()
    };
    assert_eq!(transcript.messages.len(), 3, "the whole of it");
    desk.say("1002", session, "here I am");
    for user in ["1000", "1001", "1002"] {
        assert_eq!(desk.texts(user, session).last().unwrap(), "here I am");
    }
    use ImStanding::Connected;
    let roster = [("1000", Connected), ("1001", Connected), ("1002", Connected)];
    let roster = roster.map(|(user, standing)| (user.to_owned(), standing));
    assert_eq!(standings(&desk.seen("1001", session).session), roster);
}

#[test]
fn of_three_one_leaves_and_the_others_go_on() {
    let mut desk = Desk::with(&["1000", "1001", "1002"]);
    let session = desk.connect("1000", "1001");
    desk.act("1000", add(session, "1002"));
    desk.act("1002", ImVerb::Accept { session });
    // The owner goes; it goes on without him.
    desk.act("1000", ImVerb::End { session });
    assert_eq!(desk.state("1000", session), ImState::Ended);
    assert_eq!(desk.state("1001", session), ImState::Connected);
    desk.say("1001", session, "he is gone");
    assert!(!desk.texts("1000", session).contains(&"he is gone".to_owned()));
    assert_eq!(desk.texts("1002", session).last().unwrap(), "he is gone");
    desk.act("1000", ImVerb::Done { session });
    desk.act("1002", ImVerb::End { session });
    assert_eq!(desk.state("1001", session), ImState::Ended, "of two either ends it");
}

#[test]
fn a_party_is_taken_out_by_who_may_and_can_come_back() {
    let mut desk = Desk::with(&["1000", "1001", "1002"]);
    let session = desk.connect("1000", "1001");
    desk.act("1001", add(session, "1002"));
    desk.act("1002", ImVerb::Accept { session });
    let view = desk.seen("1000", session).session;
    let (kate, bob) = (id_of(&view, "1000"), id_of(&view, "1002"));
    let drop = |party| ImVerb::Drop { session, party };
    assert!(matches!(desk.refusal("1002", drop(kate)), Refusal::Forbidden(_)));
    assert!(matches!(desk.refusal("1000", drop(PartyId(7))), Refusal::NotFound(_)));
    desk.act("1001", drop(bob));
    assert_eq!(desk.state("1002", session), ImState::Ended);
    let text = "wait".into();
    assert!(matches!(
        desk.refusal("1002", ImVerb::Send { session, text }),
        Refusal::Conflict(_)
    ));
    desk.act("1000", add(session, "1002"));
    desk.act("1002", ImVerb::Accept { session });
    assert_eq!(desk.state("1002", session), ImState::Connected);
    let again = desk.refusal("1000", add(session, "1002"));
    assert!(matches!(again, Refusal::Conflict(_)), "{again:?}");
}

#[test]
fn who_takes_the_place_of_another_may_take_out_whom_that_one_might() {
    let mut desk = Desk::with(&["1000", "1001", "1002", "1003"]);
    let session = desk.connect("1000", "1001");
    desk.act("1000", add(session, "1002"));
    desk.act("1002", ImVerb::Accept { session });
    let target = "1003".into();
    desk.act("1000", ImVerb::Transfer { session, target });
    desk.act("1003", ImVerb::Accept { session });
    let party = id_of(&desk.seen("1003", session).session, "1002");
    let drop = ImVerb::Drop { session, party };
    assert!(matches!(desk.refusal("1001", drop.clone()), Refusal::Forbidden(_)));
    desk.act("1003", drop);
    assert_eq!(desk.state("1002", session), ImState::Ended);
    assert_eq!(desk.state("1001", session), ImState::Connected);
}

#[test]
fn an_invitation_to_join_is_refused_or_taken_back_and_the_session_goes_on() {
    let mut desk = Desk::with(&["1000", "1001", "1002"]);
    let session = desk.connect("1000", "1001");
    desk.act("1000", add(session, "1002"));
    desk.act("1002", ImVerb::Reject { session });
    assert_eq!(desk.state("1000", session), ImState::Connected);
    assert!(desk.bar("1002").is_empty());
    desk.act("1000", add(session, "1002"));
    let invited = id_of(&desk.seen("1000", session).session, "1002");
    desk.act(
        "1000",
        ImVerb::Drop {
            session,
            party: invited,
        },
    );
    assert!(desk.bar("1002").is_empty());
    desk.act("1000", add(session, "1002"));
    desk.run_s(31);
    assert_eq!(desk.state("1000", session), ImState::Connected);
    assert_eq!(desk.refusal("1000", add(session, "1009")), Refusal::Unreachable(480));
}

#[test]
fn a_transfer_puts_another_in_ones_place_when_it_is_accepted() {
    let mut desk = Desk::with(&["1000", "1001", "1002"]);
    let session = desk.connect("1000", "1001");
    let transfer = |target: &str| ImVerb::Transfer {
        session,
        target: target.into(),
    };
    desk.act("1000", transfer("1002"));
    desk.act("1002", ImVerb::Reject { session });
    assert_eq!(
        desk.state("1000", session),
        ImState::Connected,
        "refused: it stays with who had it"
    );
    desk.act("1000", transfer("1002"));
    desk.say("1000", session, "Bob knows more");
    desk.act("1002", ImVerb::Accept { session });
    assert_eq!(desk.state("1000", session), ImState::Ended);
    assert_eq!(desk.state("1001", session), ImState::Connected);
    assert_eq!(desk.texts("1002", session), ["hello", "Bob knows more"]);
    let view = desk.seen("1001", session).session;
    assert_eq!(party(&view, "1000").standing, ImStanding::Transferred);
    desk.say("1002", session, "indeed");
    assert_eq!(desk.texts("1000", session).len(), 2, "no more of it");
}

#[test]
fn who_transfers_and_leaves_takes_the_invitation_along() {
    let mut desk = Desk::with(&["1000", "1001", "1002"]);
    let session = desk.connect("1000", "1001");
    let target = "1002".into();
    desk.act("1000", ImVerb::Transfer { session, target });
    desk.act("1000", ImVerb::End { session });
    assert!(desk.bar("1002").is_empty());
    assert_eq!(desk.state("1001", session), ImState::Ended);
}

#[test]
fn a_phone_takes_part_in_a_conference() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let bob = desk.phone("1002");
    let session = desk.connect("1000", "1001");
    desk.act("1000", add(session, "1002"));
    desk.run_s(1);
    desk.say("1001", session, "can you read this?");
    desk.run_s(1);
    let words = "(User 1000 brings you into a conversation with User 1001)";
    assert_eq!(desk.world.phones[bob].texts(), [words, "can you read this?"]);
    let sent = desk.world.message(bob, "1000", "yes");
    assert_eq!(desk.world.finish(bob, sent), 202);
    assert_eq!(desk.texts("1001", session).last().unwrap(), "yes");
    desk.act("1001", ImVerb::End { session });
    desk.run_s(1);
    assert_eq!(desk.world.phones[bob].texts().last().unwrap(), "(User 1001 left)");
}

#[test]
fn who_was_asked_twice_in_vain_closes_one_window() {
    let mut desk = Desk::with(&["1000", "1001", "1002"]);
    let session = desk.connect("1000", "1001");
    for _ in 0..2 {
        let target = "1002".into();
        desk.act("1000", ImVerb::Add { session, target });
        desk.run_s(31);
    }
    desk.act("1000", ImVerb::End { session });
    for user in ["1000", "1001", "1002"] {
        desk.act(user, ImVerb::Done { session });
    }
    assert_eq!(desk.figure("im_sessions"), 0);
}

#[test]
fn who_left_and_is_asked_back_in_vain_still_has_the_window_of_what_he_took_part_in() {
    let mut desk = Desk::with(&["1000", "1001", "1002"]);
    let session = desk.connect("1000", "1001");
    desk.act("1000", add(session, "1002"));
    desk.act("1002", ImVerb::Accept { session });
    desk.act("1001", ImVerb::End { session });
    desk.act("1000", add(session, "1001"));
    desk.act("1001", ImVerb::Reject { session });
    assert_eq!(desk.texts("1001", session), ["hello"]);
    desk.act("1000", ImVerb::End { session });
    for user in ["1000", "1001", "1002"] {
        desk.act(user, ImVerb::Done { session });
    }
    assert_eq!(desk.figure("im_sessions"), 0);
}
