//! Who may, how much, and what becomes of what is forgotten.

use super::super::machine::{MAX_BYTES, MAX_MESSAGES, MAX_PARTIES};
use super::super::{MAX_PER_USER, UNCLOSED};
use super::*;
use model::ImEnd;

#[test]
fn who_has_no_messages_has_no_sessions() {
    let mut settings = config();
    settings.users[1].im = false;
    let mut desk = Desk::new(settings);
    desk.sit_down("1000");
    let answer = desk.world.command(Command::Aware {
        user: aor("1001"),
        lease: 1,
        on: true,
    });
    assert_eq!(answer, Answer::Done(0), "not counted on");
    let open = |target: &str| ImVerb::Open {
        target: target.into(),
        interaction: None,
        text: None,
    };
    assert!(matches!(desk.refusal("1001", open("1000")), Refusal::Forbidden(_)));
    assert!(matches!(desk.refusal("1000", open("1001")), Refusal::Forbidden(_)));
    assert_eq!(desk.refusal("1000", open("4711")), Refusal::Unreachable(404));
    assert_eq!(desk.refusal("1000", open("9196")), Refusal::Unreachable(405));
    assert!(matches!(desk.refusal("1000", open("1000")), Refusal::Conflict(_)));
    assert!(matches!(desk.refusal("1000", open("")), Refusal::Conflict(_)));
    assert!(desk.bar("1000").is_empty(), "and nothing is left of it");
}

#[test]
fn a_message_is_some_text_and_not_too_much() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.connect("1000", "1001");
    let send = |text: &str| ImVerb::Send {
        session,
        text: text.into(),
    };
    assert_eq!(
        desk.refusal("1000", send(&"x".repeat(16_385))),
        Refusal::TooLarge(16_384)
    );
    assert!(matches!(desk.refusal("1000", send("")), Refusal::Conflict(_)));
    assert!(matches!(desk.refusal("1000", send("a\0b")), Refusal::Conflict(_)));
    let odd = "émoji 👩‍👩‍👧 \u{202e}rtl\r\nsecond line";
    desk.say("1000", session, odd);
    assert_eq!(desk.texts("1001", session)[1], odd);
}

#[test]
fn a_long_session_is_bounded_in_memory_and_goes_on() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.connect("1000", "1001");
    let long = "x".repeat(16_384);
    for _ in 0..20 {
        desk.say("1000", session, &long);
    }
    let bytes: usize = desk.texts("1001", session).iter().map(String::len).sum();
    assert!(bytes <= MAX_BYTES && bytes > MAX_BYTES / 2, "{bytes}");
    for n in 0..MAX_MESSAGES + 5 {
        desk.say("1000", session, &n.to_string());
    }
    let messages = desk.seen("1001", session).messages;
    assert_eq!(messages.len(), MAX_MESSAGES);
    assert_eq!(messages.last().unwrap().seq, 21 + MAX_MESSAGES as u64 + 5);
}

#[test]
fn a_full_bar_takes_no_more_but_lets_the_oldest_ended_one_go() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let sessions: Vec<SessionId> = (0..MAX_PER_USER).map(|_| desk.open("1000", "1001")).collect();
    let open = ImVerb::Open {
        target: "1001".into(),
        interaction: None,
        text: None,
    };
    assert!(matches!(desk.refusal("1000", open.clone()), Refusal::Conflict(_)));
    let other = desk.phone("1002");
    let sent = desk.world.message(other, "1000", "hello");
    assert_eq!(desk.world.finish(other, sent), 480, "nor from outside");
    desk.say("1000", sessions[0], "hello");
    desk.act("1001", ImVerb::Reject { session: sessions[0] });
    desk.act("1000", open);
    let bar = desk.bar("1000");
    assert_eq!(bar.len(), MAX_PER_USER);
    assert!(bar.iter().all(|one| one.session.id != sessions[0]));
}

#[test]
fn a_roster_is_bounded() {
    let mut desk = Desk::with(&["1000", "1001", "1002"]);
    let session = desk.connect("1000", "1001");
    let target: Box<str> = "1002".into();
    for _ in 2..MAX_PARTIES {
        let target = target.clone();
        desk.act("1000", ImVerb::Add { session, target });
        desk.act("1002", ImVerb::Reject { session });
    }
    assert!(matches!(
        desk.refusal("1000", ImVerb::Add { session, target }),
        Refusal::Conflict(_)
    ));
}

#[test]
fn what_everybody_has_forgotten_ends_and_is_closed_by_itself() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.connect("1000", "1001");
    let unsent = desk.open("1000", "1001");
    desk.run_s(12 * 3_600 + 61);
    let seen = desk.seen("1000", session).session;
    assert_eq!((seen.state, seen.end), (ImState::Ended, Some(ImEnd::Idle)));
    assert_eq!(desk.state("1000", unsent), ImState::Ended);
    desk.world.run(UNCLOSED);
    desk.run_s(61);
    assert_eq!(desk.figure("im_sessions"), 0);
    assert!(desk.bar("1000").is_empty());
}

#[test]
fn an_operator_ends_a_session_and_does_nothing_else() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.connect("1000", "1001");
    let act = |desk: &mut Desk, verb| {
        let (by, client) = (By::Operator(None), "".into());
        desk.world.ask(Command::Im(Box::new(ImAct { by, client, verb })))
    };
    let text = "I am the operator".into();
    let said = act(&mut desk, ImVerb::Send { session, text });
    assert!(matches!(said, Answer::Refused(Refusal::Forbidden(_))));
    assert_eq!(act(&mut desk, ImVerb::End { session }), Answer::Done(1));
    assert_eq!(desk.state("1000", session), ImState::Ended);
    assert!(matches!(
        act(&mut desk, ImVerb::End { session }),
        Answer::Refused(Refusal::Conflict(_))
    ));
    let open = desk.world.command(Command::ImErase(session));
    assert!(
        matches!(open, Answer::Refused(Refusal::Conflict(_))),
        "not while it is open"
    );
}

#[test]
fn messages_from_outside_the_domain_open_nothing() {
    let mut desk = Desk::with(&["1001"]);
    let request = "MESSAGE sip:1001@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKx\r\n\
        From: <sip:mallory@elsewhere.example>;tag=1\r\nTo: <sip:1001@example.com>\r\nCall-ID: out\r\nCSeq: 1 MESSAGE\r\n\
        Max-Forwards: 70\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
    desk.world.send_raw("192.0.2.9:5060".parse().unwrap(), request);
    let answer = String::from_utf8_lossy(&desk.world.strangers[0].2).into_owned();
    assert!(answer.starts_with("SIP/2.0 403 "), "{answer}");
    assert!(desk.bar("1001").is_empty());
}
