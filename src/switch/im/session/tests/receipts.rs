//! How far texts have come, with pages and phones on both sides.

use super::*;
use crate::im::tests::notices::{CPIM, envelope, report, send, told};
use crate::testing::OnMessage;
use sip::body::cpim::Cpim;
use sip::body::imdn::{Mark, Marks};
use sip::{Message, Method};

/// Delivered and displayed, of a party.
fn marks(desk: &mut Desk, by: &str, session: SessionId, of: &str) -> (u64, u64) {
    let party = party(&desk.seen(by, session).session, of);
    (party.delivered, party.displayed)
}

/// What the envelope that came last calls the text in it, and whether it asks only to be told when that is shown.
fn last_envelope(desk: &Desk, phone: usize) -> (String, String) {
    let message: &Message = &desk.world.phones[phone].taken.last().unwrap().1;
    assert_eq!(message.header(Name::ContentType), Some(CPIM.as_bytes()));
    let cpim = Cpim::parse(message.body_bytes()).unwrap();
    assert_eq!(cpim.wants, Marks::NONE.with(Mark::Displayed));
    let text = String::from_utf8(cpim.body.to_vec()).unwrap();
    (cpim.message_id.unwrap().into(), text)
}

fn say(phone: usize, desk: &mut Desk, to: &str, id: &str, text: &str) {
    assert_eq!(send(&mut desk.world, phone, to, CPIM, &envelope(id, text)), 202);
    desk.run_s(1);
}

fn of(id: &str, mark: Mark) -> (String, Mark) {
    (id.to_owned(), mark)
}

#[test]
fn a_page_says_that_a_text_has_come_and_later_that_it_was_displayed() {
    let mut desk = Desk::with(&["1000", "1001"]);
    let session = desk.connect("1000", "1001");
    let seq = desk.say("1000", session, "read this").seq;
    let displayed = false;
    desk.act(
        "1001",
        ImVerb::Read {
            session,
            seq,
            displayed,
        },
    );
    assert_eq!(marks(&mut desk, "1000", session, "1001"), (2, 0));
    desk.forget_told();
    desk.act("1001", read(session, 1));
    assert_eq!(marks(&mut desk, "1000", session, "1001"), (2, 1));
    let events = desk.told("1000");
    assert!(
        matches!(
            events[..],
            [Event::ImRead {
                delivered: 2,
                displayed: 1,
                ..
            }]
        ),
        "{events:?}"
    );
    // The mark of who wrote it is beyond doubt.
    assert_eq!(marks(&mut desk, "1001", session, "1000"), (2, 2));
}

#[test]
fn a_phone_that_takes_envelopes_moves_the_marks_when_it_shows_a_text() {
    let mut desk = Desk::with(&["1000"]);
    let jim = desk.phone_that_takes("1001", CPIM);
    let session = desk.invite("1000", "1001", "hello");
    desk.run_s(1);
    let (name, text) = last_envelope(&desk, jim);
    assert_eq!(
        (text.as_str(), marks(&mut desk, "1000", session, "1001")),
        ("hello", (1, 0))
    );
    desk.say("1000", session, "another");
    desk.run_s(1);
    let (second, _) = last_envelope(&desk, jim);
    desk.forget_told();
    for (name, mark, expected) in [
        (&name, Mark::Displayed, (2, 1)),
        (&name, Mark::Displayed, (2, 1)),
        (&second, Mark::Delivered, (2, 1)),
        (&second, Mark::Failed, (2, 1)),
        (&second, Mark::Displayed, (2, 2)),
    ] {
        assert_eq!(send(&mut desk.world, jim, "1000", CPIM, &report(name, mark)), 200);
        assert_eq!(marks(&mut desk, "1000", session, "1001"), expected);
    }
    assert_eq!(desk.told("1000").len(), 2, "each once");
    // Nobody else can say it, nor anything of a text of another session.
    let ann = desk.phone("1002");
    desk.say("1000", session, "a third");
    desk.run_s(1);
    let (third, _) = last_envelope(&desk, jim);
    for (phone, to, name) in [
        (ann, "1000", third.clone()),
        (jim, "1002", third),
        (jim, "1000", format!("{}.3", SessionId(1))),
    ] {
        let report = report(&name, Mark::Displayed);
        assert_eq!(send(&mut desk.world, phone, to, CPIM, &report), 200);
    }
    assert_eq!(marks(&mut desk, "1000", session, "1001"), (3, 2));
}

#[test]
fn a_plain_phone_gets_plain_text_and_no_question() {
    let mut desk = Desk::with(&["1000"]);
    let jim = desk.phone("1001");
    let session = desk.invite("1000", "1001", "hello");
    desk.run_s(1);
    assert_eq!(desk.world.phones[jim].texts(), ["hello"]);
    let methods: Vec<Method> = desk.world.phones[jim].requests.iter().map(Message::method).collect();
    assert_eq!(methods, [Method::Message]);
    // One that takes envelopes no more gets the text at once.
    let ann = desk.phone_that_takes("1002", CPIM);
    desk.world.phones[ann].takes = vec!["text/plain"];
    let target = "1002".into();
    desk.act("1000", ImVerb::Add { session, target });
    desk.run_s(1);
    desk.say("1000", session, "welcome");
    desk.run_s(1);
    assert_eq!(desk.world.phones[ann].texts().last().unwrap(), "welcome");
    assert_eq!(marks(&mut desk, "1000", session, "1002").0, 2);
}

#[test]
fn a_text_that_was_stored_for_a_phone_counts_when_it_takes_it() {
    let mut desk = Desk::with(&["1000"]);
    let jim = desk.phone_that_takes("1001", CPIM);
    let session = desk.invite("1000", "1001", "hello");
    desk.run_s(1);
    let (first, _) = last_envelope(&desk, jim);
    desk.world.register_for(jim, 0);
    desk.say("1000", session, "later");
    desk.run_s(1);
    assert_eq!(marks(&mut desk, "1000", session, "1001"), (1, 0));
    desk.world.register(jim);
    desk.run_s(1);
    assert_eq!(marks(&mut desk, "1000", session, "1001"), (2, 0));
    let (name, text) = last_envelope(&desk, jim);
    assert_eq!(text, "later");
    // Of the first one that says nothing.
    for (name, displayed) in [(name, 0), (first, 2)] {
        let report = report(&name, Mark::Displayed);
        assert_eq!(send(&mut desk.world, jim, "1000", CPIM, &report), 200);
        assert_eq!(marks(&mut desk, "1000", session, "1001"), (2, displayed));
    }
}

#[test]
fn a_text_that_a_phone_takes_after_it_was_stored_counts_too() {
    let mut desk = Desk::with(&["1000"]);
    let jim = desk.phone("1001");
    let session = desk.invite("1000", "1001", "hello");
    desk.run_s(1);
    desk.world.phones[jim].on_message = OnMessage::Ignore;
    desk.say("1000", session, "slow");
    desk.run_s(10);
    assert_eq!(marks(&mut desk, "1000", session, "1001"), (1, 0));
    desk.world.phones[jim].on_message = OnMessage::Take;
    desk.run_s(5);
    assert_eq!(marks(&mut desk, "1000", session, "1001"), (2, 0));
    assert_eq!(desk.world.phones[jim].texts(), ["hello", "slow"]);
}

#[test]
fn what_a_page_was_told_and_did_not_confirm_is_not_said_to_have_come_because_a_phone_took_what_followed() {
    let mut desk = Desk::with(&["1001"]);
    let kate = desk.phone_that_takes("1000", CPIM);
    let jim = desk.phone_that_takes("1001", CPIM);
    say(kate, &mut desk, "1001", "a1", "hello");
    let session = desk.bar("1001")[0].session.id;
    desk.act("1001", ImVerb::Accept { session });
    desk.get_up("1001");
    say(kate, &mut desk, "1001", "a2", "are you there?");
    assert_eq!(told(&desk.world, kate), [of("a2", Mark::Delivered)]);
    desk.sit_down("1001");
    assert_eq!(marks(&mut desk, "1001", session, "1001"), (0, 0));
    // Nor because he answers; all is told when his page says that it has it.
    desk.say("1001", session, "yes");
    desk.run_s(1);
    assert_eq!(told(&desk.world, kate).len(), 1);
    desk.act("1001", read(session, 3));
    desk.run_s(1);
    assert_eq!(marks(&mut desk, "1001", session, "1001"), (3, 3));
    let mut all = told(&desk.world, kate);
    all.sort();
    let mut expected = ["a1", "a2"]
        .map(|id| [of(id, Mark::Delivered), of(id, Mark::Displayed)])
        .concat();
    expected.sort();
    assert_eq!(all, expected);
    assert_eq!(desk.world.phones[jim].taken.len(), 1);
}

#[test]
fn a_phone_hears_that_its_text_came_to_a_page_and_was_displayed() {
    let mut desk = Desk::with(&["1001"]);
    let kate = desk.phone("1000");
    say(kate, &mut desk, "1001", "a1", "are you free?");
    let session = desk.bar("1001")[0].session.id;
    assert_eq!(told(&desk.world, kate), []);
    desk.act("1001", ImVerb::Accept { session });
    let displayed = false;
    desk.act(
        "1001",
        ImVerb::Read {
            session,
            seq: 1,
            displayed,
        },
    );
    desk.run_s(1);
    assert_eq!(told(&desk.world, kate), [of("a1", Mark::Delivered)]);
    say(kate, &mut desk, "1001", "a2", "hello?");
    desk.world.restart();
    desk.sit_down("1001");
    desk.act("1001", read(session, 2));
    desk.act("1001", read(session, 2));
    desk.run_s(1);
    let all = [
        of("a1", Mark::Delivered),
        of("a1", Mark::Displayed),
        of("a2", Mark::Delivered),
        of("a2", Mark::Displayed),
    ];
    let mut heard = told(&desk.world, kate);
    heard.sort();
    assert_eq!(heard, all);
    assert_eq!((desk.world.store.receipts.len(), desk.figure("im_receipts")), (0, 0));
    // Who asks for nothing hears nothing.
    let sent = desk.world.message(kate, "1001", "no matter");
    assert_eq!(desk.world.finish(kate, sent), 202);
    desk.act("1001", read(session, 3));
    desk.run_s(1);
    assert_eq!(told(&desk.world, kate).len(), 4);
}

#[test]
fn a_phone_hears_that_nobody_got_its_invitation_unless_it_can_still_be_read() {
    for (verb, expected) in [(Some("reject"), vec![of("a1", Mark::Failed)]), (None, vec![])] {
        let mut desk = Desk::with(&["1001"]);
        let kate = desk.phone("1000");
        say(kate, &mut desk, "1001", "a1", "are you free?");
        let session = desk.bar("1001")[0].session.id;
        match verb {
            Some(_) => drop(desk.act("1001", ImVerb::Reject { session })),
            None => desk.run_s(31),
        }
        desk.run_s(1);
        assert_eq!(told(&desk.world, kate), expected);
        if verb.is_none() {
            desk.act("1001", read(session, 1));
            desk.run_s(1);
            let both = [of("a1", Mark::Delivered), of("a1", Mark::Displayed)];
            assert_eq!(told(&desk.world, kate), both);
        }
    }
}

#[test]
fn a_phone_hears_of_each_other_phone_and_page_of_the_session() {
    let mut desk = Desk::with(&["1002"]);
    let (kate, jim) = (desk.phone("1000"), desk.phone_that_takes("1001", CPIM));
    let session = desk.invite("1002", "1000", "hello");
    desk.run_s(1);
    let target = "1001".into();
    desk.act("1002", ImVerb::Add { session, target });
    desk.run_s(1);
    say(kate, &mut desk, "1001", "a1", "to all of you");
    assert_eq!(last_envelope(&desk, jim).1, "to all of you");
    assert_eq!(
        told(&desk.world, kate),
        [of("a1", Mark::Delivered)],
        "the phone took it"
    );
    let (name, _) = last_envelope(&desk, jim);
    assert_eq!(
        send(&mut desk.world, jim, "1000", CPIM, &report(&name, Mark::Displayed)),
        200
    );
    desk.run_s(1);
    assert_eq!(told(&desk.world, kate).len(), 2);
    assert_eq!(marks(&mut desk, "1002", session, "1001"), (2, 2));
    desk.act("1002", read(session, 2));
    desk.run_s(1);
    let mut heard = told(&desk.world, kate);
    heard.sort();
    let twice = [Mark::Delivered, Mark::Delivered, Mark::Displayed, Mark::Displayed];
    assert_eq!(heard, twice.map(|mark| of("a1", mark)));
    // What a phone refuses has failed, and does not come with the next one that it takes.
    desk.world.phones[jim].on_message = OnMessage::Refuse(413);
    say(kate, &mut desk, "1001", "a2", "too long");
    desk.world.phones[jim].on_message = OnMessage::Take;
    say(kate, &mut desk, "1001", "a3", "short");
    let of_two: Vec<_> = told(&desk.world, kate)
        .into_iter()
        .filter(|(id, _)| id == "a2")
        .collect();
    assert_eq!(of_two, [of("a2", Mark::Failed)]);
    let of_three: Vec<_> = told(&desk.world, kate)
        .into_iter()
        .filter(|(id, _)| id == "a3")
        .collect();
    assert_eq!(of_three, [of("a3", Mark::Delivered)]);
}
