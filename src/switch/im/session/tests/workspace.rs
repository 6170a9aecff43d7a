//! Between people at websockets.

use super::*;
use model::ImEnd;

#[test]
fn nothing_is_sent_before_the_first_message_and_done_tells_nobody() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.open("1000", "1001");
    assert_eq!(desk.state("1000", session), ImState::NotConnected);
    assert!(desk.bar("1001").is_empty() && desk.told("1001").is_empty());
    desk.act("1000", ImVerb::Done { session });
    assert!(desk.bar("1000").is_empty() && desk.told("1001").is_empty());
    assert_eq!(desk.figure("im_sessions"), 0);
    assert!(
        desk.world.store.closed.is_empty(),
        "nothing was, so nothing is recorded"
    );
}

#[test]
fn the_first_message_invites_and_acceptance_connects_both() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.invite("1000", "1001", "have you a minute?");
    assert_eq!(desk.state("1000", session), ImState::Establishing);
    let told = desk.told("1001");
    let Event::ImInvited { user, invitation } = &told[0] else {
        panic!("{told:?}")
    };
    assert_eq!(*user, aor("1001"));
    assert_eq!(&*invitation.messages[0].text, "have you a minute?");
    assert_eq!(&*invitation.messages[0].shown, "\"User 1000\" <1000>");
    assert_eq!(
        desk.state("1001", session),
        ImState::NotConnected,
        "until it is accepted"
    );

    desk.forget_told();
    desk.act("1001", ImVerb::Accept { session });
    for user in ["1000", "1001"] {
        assert_eq!(desk.state(user, session), ImState::Connected);
    }
    assert!(
        matches!(&desk.told("1000")[..], [Event::ImChanged { session, .. }] if session.state == ImState::Connected)
    );
    assert!(matches!(
        &desk.told("1001")[..],
        [Event::ImJoined { .. }, Event::ImChanged { .. }]
    ));
    desk.say("1001", session, "yes");
    assert_eq!(desk.texts("1000", session), ["have you a minute?", "yes"]);
}

#[test]
fn both_sides_see_the_same_messages_in_the_same_order_with_their_times() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.connect("1000", "1001");
    desk.forget_told();
    for n in 0..20 {
        desk.world.run_ms(7);
        desk.say(if n % 3 == 0 { "1001" } else { "1000" }, session, &format!("text {n}"));
    }
    let (kate, jim) = (desk.seen("1000", session).messages, desk.seen("1001", session).messages);
    assert_eq!(kate, jim);
    assert!(kate.is_sorted_by(|a, b| a.seq + 1 == b.seq && a.at <= b.at), "{kate:?}");
    let heard = |told: Vec<Event>| -> Vec<u64> {
        let messages = told.into_iter().filter_map(|event| match event {
            Event::ImMessage { message, .. } => Some(message.seq),
            _ => None,
        });
        messages.collect()
    };
    let told = heard(desk.told("1000"));
    assert_eq!((told.len(), &told), (20, &heard(desk.told("1001"))));
}

#[test]
fn messages_before_acceptance_are_shown_on_acceptance_in_order() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.invite("1000", "1001", "one");
    desk.say("1000", session, "two");
    desk.say("1000", session, "three");
    assert_eq!(desk.texts("1001", session), ["one"], "the invitation shows the first");
    assert!(
        !desk
            .told("1001")
            .iter()
            .any(|event| matches!(event, Event::ImMessage { .. }))
    );
    let Answer::Session(transcript) = desk.act("1001", ImVerb::Accept { session }) else {
        panic!()
    };
    let texts: Vec<&str> = transcript.messages.iter().map(|message| &*message.text).collect();
    assert_eq!(texts, ["one", "two", "three"]);
}

#[test]
fn a_refused_invitation_leaves_no_window_and_ends_the_senders() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.invite("1000", "1001", "hello");
    desk.act("1001", ImVerb::Reject { session });
    let seen = desk.seen("1000", session).session;
    assert_eq!((seen.state, seen.end), (ImState::Ended, Some(ImEnd::Rejected)));
    assert!(desk.bar("1001").is_empty());
    assert!(matches!(
        desk.refusal("1001", ImVerb::Accept { session }),
        Refusal::NotFound(_)
    ));
}

#[test]
fn an_invitation_that_nobody_answers_is_over_after_30_s_and_stays_to_be_read() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.invite("1000", "1001", "one");
    desk.say("1000", session, "two");
    desk.run_s(29);
    assert_eq!(desk.state("1000", session), ImState::Establishing);
    desk.run_s(2);
    let seen = desk.seen("1000", session).session;
    assert_eq!((seen.state, seen.end), (ImState::Ended, Some(ImEnd::NoAnswer)));
    // Conflict C1: the missed one stays in the bar, with its text, until it was displayed.
    assert_eq!(desk.texts("1001", session), ["one", "two"]);
    assert!(matches!(
        desk.refusal("1001", ImVerb::Accept { session }),
        Refusal::Conflict(_)
    ));
    desk.act("1001", read(session, 2));
    assert_eq!(party(&desk.seen("1000", session).session, "1001").displayed, 2);
    desk.act("1001", ImVerb::Done { session });
    assert!(desk.bar("1001").is_empty());
    assert_eq!(desk.figure("im_sessions"), 1, "its sender has not closed it");
}

#[test]
fn the_time_for_an_answer_is_a_setting() {
    let mut settings = config();
    settings.im.invitation_timeout = Duration::from_secs(5);
    let mut desk = Desk::new(settings);
    desk.sit_down("1000");
    desk.sit_down("1001");
    let session = desk.invite("1000", "1001", "hello");
    desk.run_s(6);
    assert_eq!(desk.state("1000", session), ImState::Ended);
}

#[test]
fn either_side_ends_it_and_nothing_can_be_said_afterwards() {
    for (one, other) in [("1000", "1001"), ("1001", "1000")] {
        let mut desk = Desk::with(&["1000", "1001"]);
        let session = desk.connect("1000", "1001");
        desk.forget_told();
        desk.act(one, ImVerb::End { session });
        assert!(matches!(&desk.told(other)[..], [Event::ImChanged { session, .. }] if session.state == ImState::Ended));
        let seen = desk.seen(other, session).session;
        assert_eq!((seen.end, seen.ended_by), (Some(ImEnd::Ended), Some(id_of(&seen, one))));
        for user in [one, other] {
            let text = "late".into();
            let why = desk.refusal(user, ImVerb::Send { session, text });
            assert_eq!(why, Refusal::Conflict("the session has ended".into()));
        }
        assert!(matches!(
            desk.refusal(other, ImVerb::End { session }),
            Refusal::Conflict(_)
        ));
        assert_eq!(desk.texts(other, session), ["hello"], "the text can still be read");
    }
}

#[test]
fn only_after_the_done_of_both_a_session_is_forgotten() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.connect("1000", "1001");
    assert_eq!(
        desk.refusal("1000", ImVerb::Done { session }),
        Refusal::Conflict("end the session first".into())
    );
    desk.act("1000", ImVerb::End { session });
    desk.act("1000", ImVerb::Done { session });
    assert!(desk.bar("1000").is_empty());
    assert_eq!(desk.state("1001", session), ImState::Ended);
    desk.act("1001", ImVerb::Done { session });
    assert_eq!(desk.figure("im_sessions"), 0);
    assert!(desk.world.store.sessions.is_empty());
}

#[test]
fn done_before_acceptance_takes_the_invitation_back() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.invite("1000", "1001", "hello");
    desk.forget_told();
    desk.act("1000", ImVerb::Done { session });
    let told = desk.told("1001");
    assert!(
        matches!(&told[..], [Event::ImChanged { left, .. }] if *left == [aor("1000"), aor("1001")]),
        "{told:?}"
    );
    assert!(desk.bar("1001").is_empty());
    assert_eq!(desk.figure("im_sessions"), 0);
}

#[test]
fn several_sessions_at_once_between_the_same_people_are_kept_apart() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let (first, second) = (desk.connect("1000", "1001"), desk.connect("1000", "1001"));
    let third = desk.invite("1001", "1000", "back");
    desk.say("1000", first, "in the first");
    desk.say("1001", second, "in the second");
    assert_eq!(desk.texts("1001", first), ["hello", "in the first"]);
    assert_eq!(desk.texts("1000", second), ["hello", "in the second"]);
    desk.act("1000", ImVerb::End { session: first });
    assert_eq!(desk.state("1001", second), ImState::Connected);
    assert_eq!(desk.state("1000", third), ImState::NotConnected);
    assert_eq!(desk.bar("1001").len(), 3);
}

#[test]
fn who_is_not_in_it_learns_nothing() {
    let mut desk = Desk::with(&["1000", "1001", "1002"]);
    let session = desk.connect("1000", "1001");
    desk.say("1000", session, "between us");
    assert!(desk.bar("1002").is_empty() && desk.told("1002").is_empty());
    let text = "let me in".into();
    for verb in [
        ImVerb::Send { session, text },
        ImVerb::Accept { session },
        ImVerb::End { session },
        ImVerb::Done { session },
        read(session, 1),
        ImVerb::Typing { session, on: true },
        ImVerb::Add {
            session,
            target: "1002".into(),
        },
    ] {
        assert!(matches!(desk.refusal("1002", verb), Refusal::NotFound(_)));
    }
    // The operator of the machine sees that there is one, and not what is said.
    let (user, only) = (None, Some(session));
    let Answer::Sessions(listed) = desk.world.command(Command::ImSessions { user, session: only }) else {
        panic!()
    };
    assert!(listed[0].messages.is_empty());
    assert_eq!(desk.texts("1001", session), ["hello", "between us"]);
}

#[test]
fn typing_is_told_and_ends_by_itself_or_with_the_message() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.connect("1000", "1001");
    let typing = |desk: &mut Desk| -> Vec<bool> {
        let told = desk.told("1001").into_iter().filter_map(|event| match event {
            Event::ImTyping { typing, .. } => Some(typing),
            _ => None,
        });
        told.collect()
    };
    desk.act("1000", ImVerb::Typing { session, on: true });
    desk.run_s(10);
    desk.act("1000", ImVerb::Typing { session, on: true });
    desk.run_s(10);
    assert_eq!(typing(&mut desk), [true], "a refresh is not told");
    desk.run_s(6);
    assert_eq!(typing(&mut desk), [true, false], "15 s after the last word");
    desk.act("1000", ImVerb::Typing { session, on: true });
    desk.say("1000", session, "done");
    assert_eq!(typing(&mut desk), [true, false, true, false]);
    assert!(
        !desk
            .told("1000")
            .iter()
            .any(|event| matches!(event, Event::ImTyping { .. }))
    );
}

#[test]
fn what_was_displayed_is_told_to_the_others() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.connect("1000", "1001");
    let said = desk.say("1000", session, "read this");
    desk.forget_told();
    desk.act("1001", read(session, 99));
    let told = desk.told("1000");
    let Event::ImRead { displayed, .. } = told[0] else {
        panic!("{told:?}")
    };
    assert_eq!(displayed, said.seq, "no more than there is");
    desk.forget_told();
    desk.act("1001", read(session, 1));
    assert!(desk.told("1000").is_empty(), "marks only rise");
}
