//! Where one side or both have a plain phone: the table of softphones.md.

use super::*;
use crate::testing::OnMessage;
use model::ImEnd;
use sip::Message;

fn named<'m>(message: &'m Message, name: &str) -> Option<&'m str> {
    let value = message.header_named(name)?;
    std::str::from_utf8(value).ok()
}

/// What a phone was shown, in order.
fn shown(desk: &Desk, phone: usize) -> Vec<String> {
    desk.world.phones[phone].texts()
}

#[test]
fn a_phone_that_takes_the_first_message_has_accepted() {
    let mut desk = Desk::with(&["1000"]);
    let jim = desk.phone("1001");
    let session = desk.invite("1000", "1001", "hello");
    desk.run_s(1);
    assert_eq!(desk.state("1000", session), ImState::Connected);
    assert_eq!(shown(&desk, jim), ["hello"]);
    assert!(party(&desk.seen("1000", session).session, "1001").by_phone);
    // What he answers belongs to the session.
    let sent = desk.world.message(jim, "1000", "hello yourself");
    assert_eq!(desk.world.finish(jim, sent), 202);
    assert_eq!(desk.texts("1000", session), ["hello", "hello yourself"]);
    assert_eq!(desk.bar("1000").len(), 1);
}

#[test]
fn all_texts_to_a_phone_are_one_flow() {
    let mut desk = Desk::with(&["1000"]);
    let jim = desk.phone("1001");
    let session = desk.invite("1000", "1001", "one");
    for text in ["two", "three"] {
        desk.say("1000", session, text);
    }
    desk.run_s(1);
    let taken: Vec<Message> = desk.world.phones[jim].taken.iter().map(|(_, m)| m.clone()).collect();
    assert_eq!(shown(&desk, jim), ["one", "two", "three"]);
    assert!(taken.iter().all(|message| message.call_id() == taken[0].call_id()));
    let cseqs: Vec<u32> = taken.iter().map(Message::cseq).collect();
    assert_eq!(cseqs, [256, 512, 768], "each follows from the number of its text");
    for message in &taken {
        assert_eq!(named(message, "X-IM-Session"), Some(&*session.to_string()));
        assert_eq!(named(message, "X-Interaction-Id"), None, "only for consultations");
        assert!(message.header(Name::Date).is_some());
        assert_eq!(
            message.header(Name::ContentType),
            Some(&b"text/plain;charset=UTF-8"[..])
        );
        let from = String::from_utf8_lossy(message.header(Name::From).unwrap()).into_owned();
        assert!(from.starts_with("\"User 1000\" <sip:1000@example.com>;tag="), "{from}");
    }
}

#[test]
fn what_a_phone_says_to_the_first_message_is_what_became_of_the_invitation() {
    for (status, end) in [
        (486, ImEnd::Rejected),
        (603, ImEnd::Rejected),
        (480, ImEnd::Unreachable),
        (405, ImEnd::CannotIm),
        (415, ImEnd::CannotIm),
        (501, ImEnd::CannotIm),
    ] {
        let mut desk = Desk::with(&["1000"]);
        let jim = desk.phone("1001");
        desk.world.phones[jim].on_message = OnMessage::Refuse(status);
        let session = desk.invite("1000", "1001", "hello");
        desk.run_s(1);
        let seen = desk.seen("1000", session).session;
        assert_eq!((seen.state, seen.end), (ImState::Ended, Some(end)), "{status}");
    }
}

#[test]
fn a_phone_that_says_nothing_cannot_be_reached() {
    let mut desk = Desk::with(&["1000"]);
    let jim = desk.phone("1001");
    desk.world.phones[jim].on_message = OnMessage::Ignore;
    let session = desk.invite("1000", "1001", "hello");
    desk.run_s(31);
    assert_eq!(desk.seen("1000", session).session.end, Some(ImEnd::Unreachable));
    assert!(desk.world.store.messages.is_empty(), "an invitation is for now");
}

#[test]
fn somebody_who_is_nowhere_gets_no_invitation_and_its_sender_480() {
    let mut desk = Desk::with(&["1000"]);
    let session = desk.open("1000", "1005");
    let text: Box<str> = "hello".into();
    let why = desk.refusal(
        "1000",
        ImVerb::Send {
            session,
            text: text.clone(),
        },
    );
    assert_eq!(why, Refusal::Unreachable(480));
    assert_eq!(desk.state("1000", session), ImState::NotConnected, "to be tried again");
    desk.sit_down("1005");
    desk.act("1000", ImVerb::Send { session, text });
    assert_eq!(desk.state("1000", session), ImState::Establishing);
}

#[test]
fn a_phones_first_message_is_an_invitation_at_a_workspace() {
    let mut desk = Desk::with(&["1001"]);
    let (kate, desk_phone) = (desk.phone("1000"), desk.phone("1001"));
    let sent = desk.world.message(kate, "1001", "hello");
    assert_eq!(desk.world.finish(kate, sent), 202, "at once: nobody waits for a human");
    let bar = desk.bar("1001");
    let session = bar[0].session.id;
    assert_eq!(&*bar[0].messages[0].text, "hello");
    assert_eq!(desk.state("1001", session), ImState::NotConnected);
    desk.run_s(1);
    assert_eq!(shown(&desk, desk_phone), [] as [&str; 0], "only the workspace decides");
    desk.act("1001", ImVerb::Accept { session });
    desk.say("1001", session, "hello Kate");
    desk.run_s(1);
    assert_eq!(shown(&desk, kate), ["hello Kate"]);
    let sent = desk.world.message(kate, "1001", "and another");
    assert_eq!(desk.world.finish(kate, sent), 202);
    assert_eq!(desk.texts("1001", session), ["hello", "hello Kate", "and another"]);
    desk.run_s(1);
    assert_eq!(
        shown(&desk, desk_phone),
        [] as [&str; 0],
        "no copies, as the setting says"
    );
}

#[test]
fn a_phone_is_told_by_text_that_its_invitation_was_declined_or_not_answered() {
    let mut desk = Desk::with(&["1001"]);
    let kate = desk.phone("1000");
    let sent = desk.world.message(kate, "1001", "hello");
    desk.world.finish(kate, sent);
    let session = desk.bar("1001")[0].session.id;
    desk.act("1001", ImVerb::Reject { session });
    desk.run_s(1);
    assert_eq!(shown(&desk, kate), ["(User 1001 declined)"]);
    let from = &desk.world.phones[kate].taken[0].1;
    let from = String::from_utf8_lossy(from.header(Name::From).unwrap()).into_owned();
    assert!(from.contains("<sip:1001@example.com>"), "{from}");
    assert_eq!(desk.figure("im_sessions"), 0, "who has a phone has no window to close");

    let sent = desk.world.message(kate, "1001", "again");
    desk.world.finish(kate, sent);
    desk.run_s(31);
    assert_eq!(shown(&desk, kate)[1], "(no answer)");
}

#[test]
fn a_phone_is_told_that_the_session_was_ended_and_its_next_message_opens_another() {
    let mut desk = Desk::with(&["1001"]);
    let kate = desk.phone("1000");
    let sent = desk.world.message(kate, "1001", "hello");
    desk.world.finish(kate, sent);
    let first = desk.bar("1001")[0].session.id;
    desk.act("1001", ImVerb::Accept { session: first });
    desk.act("1001", ImVerb::End { session: first });
    desk.run_s(1);
    assert_eq!(shown(&desk, kate), ["(User 1001 ended the session)"]);
    let sent = desk.world.message(kate, "1001", "one more thing");
    assert_eq!(desk.world.finish(kate, sent), 202);
    let bar = desk.bar("1001");
    assert_eq!((bar.len(), bar[0].session.state), (2, ImState::Ended));
    assert_eq!(bar[1].session.state, ImState::Establishing);
}

#[test]
fn between_phones_a_message_is_a_message() {
    let mut desk = Desk::with(&[]);
    let (kate, jim) = (desk.phone("1000"), desk.phone("1001"));
    let sent = desk.world.message(kate, "1001", "hello");
    assert_eq!(desk.world.finish(kate, sent), 200, "a device took it");
    desk.run_s(1);
    assert_eq!(shown(&desk, jim), ["hello"]);
    assert_eq!(desk.figure("im_sessions"), 0);
    assert!(desk.world.phones[jim].taken[0].1.header_named("X-IM-Session").is_none());
}

#[test]
fn a_workspace_that_is_closed_leaves_its_user_to_the_phone() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let jim = desk.phone("1001");
    desk.get_up("1001");
    let session = desk.invite("1000", "1001", "hello");
    desk.run_s(1);
    assert_eq!(
        (desk.state("1000", session), shown(&desk, jim)),
        (ImState::Connected, vec!["hello".to_owned()])
    );
    // And one that is lost without a word, when its lease runs out.
    desk.act("1000", ImVerb::End { session });
    desk.run_s(1);
    desk.sit_down("1001");
    let session = desk.invite("1000", "1001", "still there?");
    desk.run_s(1);
    assert_eq!(desk.state("1000", session), ImState::Establishing);
    desk.run_s(71);
    desk.sit_down("1000");
    let session = desk.invite("1000", "1001", "and now?");
    desk.run_s(1);
    assert_eq!(desk.state("1000", session), ImState::Connected);
}

#[test]
fn in_mid_session_what_is_said_to_a_closed_workspace_goes_to_the_phone() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let jim = desk.phone("1001");
    let session = desk.connect("1000", "1001");
    desk.say("1000", session, "at your desk");
    desk.get_up("1001");
    desk.say("1000", session, "on the way");
    desk.run_s(1);
    assert_eq!(shown(&desk, jim), ["on the way"]);
    desk.sit_down("1001");
    desk.say("1000", session, "back again");
    desk.run_s(1);
    assert_eq!(shown(&desk, jim), ["on the way"]);
    assert_eq!(
        desk.texts("1001", session),
        ["hello", "at your desk", "on the way", "back again"]
    );
}

#[test]
fn phones_get_copies_after_acceptance_where_that_is_wanted() {
    let mut settings = config();
    settings.im.copy_to_phones = true;
    settings.im.tell_joined = true;
    let mut desk = Desk::new(settings);
    desk.sit_down("1001");
    let (kate, jim) = (desk.phone("1000"), desk.phone("1001"));
    let sent = desk.world.message(kate, "1001", "hello");
    desk.world.finish(kate, sent);
    desk.run_s(1);
    assert_eq!(shown(&desk, jim), [] as [&str; 0]);
    let session = desk.bar("1001")[0].session.id;
    desk.act("1001", ImVerb::Accept { session });
    desk.run_s(1);
    assert_eq!(
        (shown(&desk, jim), shown(&desk, kate)),
        (vec!["hello".into()], vec!["(User 1001 joined)".into()])
    );
}

#[test]
fn a_text_that_the_phone_refuses_in_mid_session_is_said_to_have_failed() {
    let mut desk = Desk::with(&["1000"]);
    let jim = desk.phone("1001");
    let session = desk.invite("1000", "1001", "hello");
    desk.run_s(1);
    desk.world.phones[jim].on_message = OnMessage::Refuse(413);
    let said = desk.say("1000", session, "a long one");
    desk.run_s(1);
    let seen = desk.seen("1000", session);
    assert_eq!(seen.session.state, ImState::Connected);
    let failed = &seen.messages[1].failed;
    assert_eq!((failed[0].party, failed[0].status), (id_of(&seen.session, "1001"), 413));
    assert!(
        desk.told("1000")
            .iter()
            .any(|event| matches!(event, Event::ImFailed { seq, .. } if *seq == said.seq))
    );
    assert_eq!(party(&seen.session, "1001").delivered, 1);
}

#[test]
fn a_text_that_waits_and_that_the_phone_refuses_when_it_is_back_has_failed_and_is_not_behind_later_ones() {
    for is_late in [false, true] {
        let mut desk = Desk::with(&["1000"]);
        let jim = desk.phone("1001");
        let session = desk.invite("1000", "1001", "hello");
        desk.run_s(1);
        assert_eq!(desk.state("1000", session), ImState::Connected);
        match is_late {
            // From the store.
            false => desk.world.phones[jim].is_dead = true,
            // The first time, after it was stored.
            true => desk.world.phones[jim].on_message = OnMessage::Ignore,
        }
        let refused = desk.say("1000", session, "a picture").seq;
        desk.run_s(10);
        desk.world.phones[jim].is_dead = false;
        desk.world.phones[jim].on_message = OnMessage::Refuse(415);
        desk.forget_told();
        desk.run_s(60);
        let told = desk.told("1000");
        let failed = told.iter().filter_map(|event| match event {
            Event::ImFailed { seq, failure, .. } => Some((*seq, failure.status)),
            _ => None,
        });
        assert_eq!(failed.collect::<Vec<_>>(), [(refused, 415)], "{is_late}");
        assert!(desk.world.store.messages.is_empty());
        desk.world.phones[jim].on_message = OnMessage::Take;
        desk.say("1000", session, "a word");
        desk.run_s(1);
        let soft = desk.phone("1001");
        desk.run_s(60);
        assert_eq!(desk.world.phones[jim].texts(), ["hello", "a word"]);
        assert!(desk.world.phones[soft].texts().is_empty());
        desk.world.restart();
        desk.world.register(jim);
        desk.run_s(60);
        assert_eq!(desk.world.phones[jim].texts(), ["hello", "a word"]);
    }
}

#[test]
fn a_text_of_a_phone_that_comes_again_is_said_once() {
    let mut desk = Desk::with(&["1001"]);
    let kate = desk.phone("1000");
    for _ in 0..2 {
        let id = ("one-and-the-same", 7);
        let sent = desk
            .world
            .with(kate, |phone, now| phone.message_as(now, id, "1001", "once"));
        assert_eq!(desk.world.finish(kate, sent), 202);
        desk.run_s(5);
    }
    let session = desk.bar("1001")[0].session.id;
    desk.act("1001", ImVerb::Accept { session });
    assert_eq!(
        (desk.bar("1001").len(), desk.texts("1001", session)),
        (1, vec!["once".to_owned()])
    );
}

#[test]
fn what_is_no_plain_text_goes_past_the_workspace_to_the_phones() {
    let mut desk = Desk::with(&["1001"]);
    let mut settings = crate::testing::config();
    settings.im.types = vec!["*/*".into()];
    desk.world.reload(settings);
    let (kate, jim) = (desk.phone("1000"), desk.phone("1001"));
    let number = desk.world.with(kate, |phone, now| {
        phone.message(now, "1001", "application/x-odd", b"data")
    });
    assert_eq!(desk.world.finish(kate, number), 200);
    desk.run_s(1);
    assert_eq!(shown(&desk, jim), ["data"]);
    assert!(desk.bar("1001").is_empty());
}

#[test]
fn every_phone_of_a_user_gets_the_invitation_and_the_first_answer_counts() {
    let mut desk = Desk::with(&["1000"]);
    let (one, two) = (desk.phone("1001"), desk.phone("1001"));
    desk.world.phones[one].on_message = OnMessage::Refuse(486);
    let session = desk.invite("1000", "1001", "hello");
    desk.run_s(1);
    assert_eq!(desk.state("1000", session), ImState::Connected);
    assert_eq!(shown(&desk, two), ["hello"]);
}
