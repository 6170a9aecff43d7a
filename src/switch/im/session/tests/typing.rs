//! Who writes, from pages and phones to pages and phones.

use super::*;
use crate::im::tests::notices::{COMPOSING, composing, send};
use sip::body::composing::Composing;

/// What this page was told of typing since: of whom, and whether he writes.
fn told(desk: &mut Desk, user: &str, session: SessionId) -> Vec<(String, bool)> {
    let view = desk.seen(user, session).session;
    let events = desk.told(user).into_iter().filter_map(|event| match event {
        Event::ImTyping { party, typing, .. } => Some((view.party(party)?.user.user().to_owned(), typing)),
        _ => None,
    });
    let told = events.collect();
    desk.forget_told();
    told
}

/// The notices this phone has got since: from whom, and whether he writes.
fn shown(desk: &mut Desk, phone: usize) -> Vec<(String, bool)> {
    let taken = std::mem::take(&mut desk.world.phones[phone].taken);
    let notices = taken.iter().filter_map(|(_, message)| {
        let from = message.from().unwrap().uri_bytes.to_vec();
        let from = String::from_utf8(from).unwrap();
        let user = from.trim_start_matches("sip:").split('@').next().unwrap().to_owned();
        let notice = Composing::parse(message.body_bytes()).ok()?;
        Some((user, notice.is_active))
    });
    notices.collect()
}

fn typing(session: SessionId, on: bool) -> ImVerb {
    ImVerb::Typing { session, on }
}

#[test]
fn typing_at_a_page_is_shown_by_phones_that_take_such_notices() {
    let mut desk = Desk::with(&["1000"]);
    let plain = desk.phone("1001");
    let session = desk.invite("1000", "1001", "hello");
    desk.run_s(1);
    desk.act("1000", typing(session, true));
    desk.run_s(1);
    assert_eq!(
        desk.world.phones[plain].texts(),
        ["hello"],
        "a phone that never spoke of it gets none"
    );
    // One that sends such a notice takes them.
    assert_eq!(send(&mut desk.world, plain, "1000", COMPOSING, &composing(true)), 200);
    shown(&mut desk, plain);
    desk.act("1000", typing(session, false));
    desk.act("1000", typing(session, true));
    desk.run_s(1);
    let kate = |on| ("1000".to_owned(), on);
    assert_eq!(shown(&mut desk, plain).last(), Some(&kate(true)));
    // It holds for two minutes there: who goes on is shown again in time.
    for _ in 0..8 {
        desk.act("1000", typing(session, true));
        desk.run_s(10);
    }
    assert_eq!(shown(&mut desk, plain), [kate(true)]);
    desk.run_s(10);
    assert_eq!(shown(&mut desk, plain), [kate(false)]);
}

#[test]
fn who_types_at_a_phone_is_shown_at_the_pages_and_phones_of_the_session() {
    let mut desk = Desk::with(&["1000"]);
    let (jim, ann) = (desk.phone("1001"), desk.phone_that_takes("1002", COMPOSING));
    let session = desk.invite("1000", "1001", "hello");
    desk.run_s(1);
    let target = "1002".into();
    desk.act("1000", ImVerb::Add { session, target });
    desk.run_s(1);
    shown(&mut desk, ann);
    desk.forget_told();
    let of_jim = |on| ("1001".to_owned(), on);
    assert_eq!(send(&mut desk.world, jim, "1000", COMPOSING, &composing(true)), 200);
    desk.run_s(1);
    assert_eq!(told(&mut desk, "1000", session), [of_jim(true)]);
    assert_eq!(shown(&mut desk, ann), [of_jim(true)]);
    // The phone said for how long that holds.
    desk.run_s(55);
    assert_eq!(told(&mut desk, "1000", session), []);
    desk.run_s(5);
    assert_eq!(
        (told(&mut desk, "1000", session), shown(&mut desk, ann)),
        (vec![of_jim(false)], vec![of_jim(false)])
    );
    // A text ends it, for pages and phones.
    assert_eq!(send(&mut desk.world, jim, "1000", COMPOSING, &composing(true)), 200);
    let sent = desk.world.message(jim, "1000", "here it is");
    assert_eq!(desk.world.finish(jim, sent), 202);
    desk.run_s(1);
    assert_eq!(told(&mut desk, "1000", session), [of_jim(true), of_jim(false)]);
    assert_eq!(shown(&mut desk, ann), [of_jim(true), of_jim(false)]);
    // And so does a notice; nobody hears of his own.
    for on in [true, false] {
        assert_eq!(send(&mut desk.world, jim, "1002", COMPOSING, &composing(on)), 200);
    }
    desk.run_s(1);
    assert_eq!(told(&mut desk, "1000", session), [of_jim(true), of_jim(false)]);
    assert_eq!(shown(&mut desk, jim), []);
}

#[test]
fn who_types_to_somebody_with_whom_there_is_no_session_is_told_as_ever() {
    let mut desk = Desk::with(&["1000"]);
    let jim = desk.phone("1001");
    assert_eq!(send(&mut desk.world, jim, "1000", COMPOSING, &composing(true)), 200);
    let is_told = desk.world.notices.iter().any(|notice| {
        matches!(notice, Notice::Event(told) if matches!(told.event, Event::Composing { composing: true, .. }))
    });
    assert!(is_told && desk.bar("1000").is_empty());
    // Nor is an invitation that nobody accepted a session yet.
    let sent = desk.world.message(jim, "1000", "are you there?");
    assert_eq!(desk.world.finish(jim, sent), 202);
    let session = desk.bar("1000")[0].session.id;
    desk.forget_told();
    assert_eq!(send(&mut desk.world, jim, "1000", COMPOSING, &composing(true)), 200);
    assert_eq!(told(&mut desk, "1000", session), []);
}
