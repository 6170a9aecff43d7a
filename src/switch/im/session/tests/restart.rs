//! What is kept, and what goes on after a restart.

use super::*;
use model::StoreError;

/// The switch dies and comes back; the workspaces too.
fn restart(desk: &mut Desk, users: &[&str]) {
    desk.world.restart();
    let (scope, user) = (None, None);
    desk.world.command(Command::Snapshot { scope, user });
    users.iter().for_each(|user| desk.sit_down(user));
    assert_eq!(desk.world.switch.audit(), Ok(()));
}

#[test]
fn a_session_goes_on_after_a_restart_with_all_that_was_said() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.connect("1000", "1001");
    desk.say("1001", session, "two");
    restart(&mut desk, &["1000", "1001"]);
    assert_eq!(desk.state("1000", session), ImState::Connected);
    assert_eq!(desk.texts("1001", session), ["hello", "two"]);
    let said = desk.say("1000", session, "three");
    assert_eq!(said.seq, 3);
    desk.act("1001", ImVerb::End { session });
    restart(&mut desk, &["1000"]);
    assert_eq!(desk.state("1000", session), ImState::Ended, "not closed yet");
    for user in ["1000", "1001"] {
        desk.act(user, ImVerb::Done { session });
    }
    restart(&mut desk, &["1000"]);
    assert!(desk.bar("1000").is_empty());
}

#[test]
fn an_invitation_waits_on_after_a_restart_and_ends_in_time() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.invite("1000", "1001", "hello");
    restart(&mut desk, &["1000", "1001"]);
    assert_eq!(desk.texts("1001", session), ["hello"]);
    desk.run_s(31);
    assert_eq!(desk.state("1000", session), ImState::Ended);
    // A missed one is still there after another restart.
    restart(&mut desk, &["1001"]);
    assert_eq!(desk.texts("1001", session), ["hello"]);
}

/// Kate at a page has written "one" to Jim, who has a phone alone.
fn with_a_phone() -> (Desk, usize, SessionId) {
    let mut desk = Desk::with(&["1000"]);
    let jim = desk.phone("1001");
    let session = desk.invite("1000", "1001", "one");
    desk.run_s(1);
    (desk, jim, session)
}

#[test]
fn a_phone_gets_after_a_restart_what_it_had_not_taken_whatever_its_user_has_written_since() {
    for has_written in [false, true] {
        let (mut desk, jim, session) = with_a_phone();
        desk.world.phones[jim].on_message = crate::testing::OnMessage::Ignore;
        desk.say("1000", session, "two");
        desk.world.run_ms(500);
        if has_written {
            let sent = desk.world.message(jim, "1000", "his own");
            assert_eq!(desk.world.finish(jim, sent), 202);
        }
        restart(&mut desk, &["1000"]);
        desk.world.phones[jim].on_message = crate::testing::OnMessage::Take;
        desk.say("1000", session, "three");
        desk.run_s(20);
        assert_eq!(desk.world.phones[jim].texts(), ["one", "two", "three"]);
        let cseqs: Vec<u32> = desk.world.phones[jim].taken.iter().map(|(_, m)| m.cseq()).collect();
        assert!(cseqs.is_sorted(), "{cseqs:?}");
    }
}

#[test]
fn what_a_phone_had_no_answer_to_before_a_restart_is_heard_once() {
    let (mut desk, jim, session) = with_a_phone();
    // It is on disk, and nobody hears of it.
    desk.world.store.delay = Duration::from_secs(1);
    let sent = desk.world.message(jim, "1000", "two");
    desk.world.run_ms(400);
    assert_eq!(desk.world.status(jim, sent), None);
    desk.world.store.delay = Duration::ZERO;
    restart(&mut desk, &["1000"]);
    assert_eq!(desk.world.finish(jim, sent), 202);
    assert_eq!(desk.texts("1000", session), ["one", "two"]);
    // The same words later are said again.
    let sent = desk.world.message(jim, "1000", "two");
    assert_eq!(desk.world.finish(jim, sent), 202);
    assert_eq!(desk.texts("1000", session), ["one", "two", "two"]);
}

#[test]
fn what_a_session_was_to_begin_with_before_a_restart_begins_it_or_leaves_nothing() {
    for is_on_disk in [true, false] {
        let mut desk = Desk::with(&["1001"]);
        let kate = desk.phone("1000");
        desk.world.store.delay = Duration::from_secs(1);
        let sent = desk.world.message(kate, "1001", "hello");
        desk.world.run_ms(400);
        if !is_on_disk {
            desk.world.store.said.clear();
        }
        desk.world.store.delay = Duration::ZERO;
        restart(&mut desk, &["1001"]);
        assert_eq!(desk.world.finish(kate, sent), 202);
        desk.run_s(6);
        let bar = desk.bar("1001");
        let [session] = &*bar else { panic!("{bar:?}") };
        assert_eq!(session.session.state, ImState::Establishing);
        assert_eq!(desk.texts("1001", session.session.id), ["hello"]);
        assert_eq!(desk.figure("im_sessions"), 1);
    }
}

/// The disk has the text, and not yet who was asked.
#[test]
fn a_phone_that_was_asked_before_a_restart_knows_the_text_again() {
    let mut desk = Desk::with(&["1000"]);
    let jim = desk.phone("1001");
    let session = desk.invite("1000", "1001", "hello");
    desk.run_s(1);
    let kept = desk.world.store.sessions.get_mut(&session).expect("kept");
    kept.session.parties.truncate(1);
    kept.session.state = ImState::NotConnected;
    kept.session.connected_at = None;
    restart(&mut desk, &["1000"]);
    desk.run_s(10);
    let names = |desk: &Desk| {
        let taken = desk.world.phones[jim].taken.iter();
        let name = |m: &sip::Message| (String::from_utf8_lossy(m.call_id()).into_owned(), m.cseq());
        taken.map(|(_, message)| name(message)).collect::<Vec<_>>()
    };
    let names = names(&desk);
    assert_eq!((names.len(), names.first()), (2, names.last()));
    assert_eq!(desk.state("1000", session), ImState::Connected);
}

#[test]
fn what_the_disk_does_not_have_was_not_said() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.connect("1000", "1001");
    desk.world.store.failing = Some(StoreError::Full);
    desk.forget_told();
    let text = "lost".into();
    let why = desk.refusal("1000", ImVerb::Send { session, text });
    assert!(matches!(why, Refusal::Unavailable(_)), "{why:?}");
    assert!(desk.told("1001").is_empty());
    desk.world.store.failing = None;
    desk.say("1000", session, "kept");
    assert_eq!(desk.texts("1001", session), ["hello", "kept"]);
}

#[test]
fn a_phones_message_is_202_only_when_it_is_on_disk() {
    let mut desk = Desk::with(&["1001"]);
    let kate = desk.phone("1000");
    desk.world.store.delay = Duration::from_millis(300);
    let sent = desk.world.message(kate, "1001", "hello");
    desk.world.run_ms(200);
    assert_eq!(desk.world.status(kate, sent), None);
    assert!(desk.bar("1001").is_empty());
    desk.world.run_ms(200);
    assert_eq!(desk.world.status(kate, sent), Some(202));
    assert_eq!(desk.bar("1001").len(), 1);

    desk.world.store.failing = Some(StoreError::Io);
    let other = desk.phone("1002");
    let sent = desk.world.message(other, "1001", "lost");
    assert_eq!(desk.world.finish(other, sent), 503);
    desk.world.store.failing = None;
    desk.run_s(1);
    assert_eq!((desk.bar("1001").len(), desk.figure("im_sessions")), (1, 1));
}

#[test]
fn an_end_while_the_disk_is_busy_refuses_what_was_being_said() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.connect("1000", "1001");
    desk.world.store.delay = Duration::from_millis(500);
    let act = |user: &str, verb| {
        let (by, client) = (By::User(aor(user)), "".into());
        Command::Im(Box::new(ImAct { by, client, verb }))
    };
    let text = "on its way".into();
    let send = act("1000", ImVerb::Send { session, text });
    let token = 1_000_000;
    desk.world.input(crate::Input::Command { token, command: send });
    desk.act("1001", ImVerb::End { session });
    desk.run_s(1);
    let refused = desk.world.notices.iter().any(|notice| {
        matches!(
            notice,
            Notice::Answer {
                token: 1_000_000,
                answer: Answer::Refused(Refusal::Conflict(_))
            }
        )
    });
    assert!(refused);
    assert_eq!(desk.texts("1001", session), ["hello"]);
}

#[test]
fn the_text_is_forgotten_when_all_have_closed_it_unless_the_site_keeps_it() {
    for keeps in [false, true] {
        let mut settings = config();
        settings.im.keep_transcripts = keeps;
        let mut desk = Desk::new(settings);
        desk.sit_down("1000");
        desk.sit_down("1001");
        let session = desk.connect("1000", "1001");
        assert_eq!(desk.world.store.said.len(), 1, "while it is open");
        desk.act("1000", ImVerb::End { session });
        desk.act("1000", ImVerb::Done { session });
        desk.act("1001", ImVerb::Done { session });
        let store = &desk.world.store;
        assert_eq!((store.closed.len(), store.said.len()), (1, usize::from(keeps)));
    }
}

#[test]
fn a_phone_that_was_brought_in_does_not_get_after_a_restart_what_was_said_before() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let ann = desk.phone("1002");
    let session = desk.connect("1000", "1001");
    let target = "1002".into();
    desk.act("1000", ImVerb::Add { session, target });
    desk.run_s(1);
    desk.world.phones[ann].on_message = crate::testing::OnMessage::Ignore;
    desk.say("1000", session, "welcome");
    desk.world.run_ms(500);
    desk.world.phones[ann].taken.clear();
    restart(&mut desk, &["1000", "1001"]);
    desk.world.phones[ann].on_message = crate::testing::OnMessage::Take;
    desk.run_s(1);
    assert_eq!(desk.world.phones[ann].texts(), ["welcome"]);
}

#[test]
fn what_was_said_before_somebody_left_waits_for_his_phone_also_after_a_restart() {
    let (mut desk, jim, session) = with_a_phone();
    desk.sit_down("1002");
    let target = "1002".into();
    desk.act("1000", ImVerb::Add { session, target });
    desk.act("1002", ImVerb::Accept { session });
    desk.run_s(1);
    desk.world.phones[jim].on_message = crate::testing::OnMessage::Ignore;
    desk.say("1000", session, "two");
    desk.sit_down("1001");
    desk.act("1001", ImVerb::End { session });
    desk.world.register_for(jim, 0);
    restart(&mut desk, &["1000", "1002"]);
    desk.run_s(60);
    desk.world.phones[jim].on_message = crate::testing::OnMessage::Take;
    assert_eq!(desk.world.register(jim), 200);
    desk.run_s(1);
    assert_eq!(desk.world.phones[jim].texts().last().unwrap(), "two");
}

#[test]
fn what_was_said_before_the_end_reaches_a_phone_after_a_restart() {
    let mut desk = Desk::with(&["1000"]);
    let jim = desk.phone("1001");
    let session = desk.invite("1000", "1001", "one");
    desk.run_s(1);
    desk.world.phones[jim].on_message = crate::testing::OnMessage::Ignore;
    desk.say("1000", session, "two");
    desk.act("1000", ImVerb::End { session });
    desk.act("1000", ImVerb::Done { session });
    desk.world.run_ms(500);
    restart(&mut desk, &["1000"]);
    desk.world.phones[jim].on_message = crate::testing::OnMessage::Take;
    desk.run_s(1);
    assert_eq!(desk.world.phones[jim].texts(), ["one", "two"]);
    assert_eq!(desk.figure("im_sessions"), 0);
}
