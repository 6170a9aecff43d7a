//! Envelopes, notifications and who is typing.

use super::{assert_quiet, pair, stored};
use crate::testing::{OnMessage, World, config};
use crate::{Command, Notice};
use model::Event;
use sip::body::composing::Composing;
use sip::body::cpim::Cpim;
use sip::body::imdn::{self, Mark, Marks, Report};
use sip::{Headers, Message, Method, Name};
use std::time::Duration;

pub(in crate::im) const CPIM: &str = "message/cpim";
pub(in crate::im) const COMPOSING: &str = "application/im-iscomposing+xml";

/// A text in an envelope that asks to be told all that becomes of it.
pub(in crate::im) fn envelope(id: &str, text: &str) -> Vec<u8> {
    let all = Marks::NONE
        .with(Mark::Delivered)
        .with(Mark::Displayed)
        .with(Mark::Failed);
    let cpim = Cpim {
        from: Some("<sip:1000@example.com>".into()),
        to: Some("<sip:1001@example.com>".into()),
        date: Some("2026-01-01T00:00:00Z".into()),
        message_id: Some(id.into()),
        wants: all,
        content_type: Some("text/plain;charset=utf-8".into()),
        is_notification: false,
        body: text.as_bytes(),
    };
    cpim.write().to_vec()
}

/// A device says what became of a message, in an envelope.
pub(in crate::im) fn report(id: &str, mark: Mark) -> Vec<u8> {
    let xml = imdn::write(id, "2026-01-01T00:00:00Z", "sip:1001@example.com", mark);
    let cpim = Cpim {
        from: Some("<sip:1001@example.com>".into()),
        to: Some("<sip:1000@example.com>".into()),
        message_id: Some("of-the-report".into()),
        // What must not be answered.
        wants: Marks::NONE.with(Mark::Delivered),
        content_type: Some(imdn::MEDIA_TYPE.into()),
        is_notification: true,
        body: xml.as_bytes(),
        ..Cpim::default()
    };
    cpim.write().to_vec()
}

pub(in crate::im) fn send(world: &mut World, from: usize, to: &str, content_type: &str, body: &[u8]) -> u16 {
    let number = world.with(from, |phone, now| phone.message(now, to, content_type, body));
    world.finish(from, number)
}

/// The notifications a phone got: of which message, and what.
pub(in crate::im) fn told(world: &World, phone: usize) -> Vec<(String, Mark)> {
    let mut all = Vec::new();
    for (_, message) in &world.phones[phone].taken {
        if message.header(Name::ContentType) != Some(CPIM.as_bytes()) {
            continue;
        }
        let cpim = Cpim::parse(message.body_bytes()).unwrap();
        if cpim.content_type.as_deref() == Some(imdn::MEDIA_TYPE) {
            assert!(cpim.is_notification && cpim.wants == Marks::NONE);
            let report = Report::parse(cpim.body).unwrap();
            all.push((report.message_id.into(), report.mark.unwrap()));
        }
    }
    all
}

fn watch(world: &mut World) {
    world.command(Command::Snapshot {
        scope: None,
        user: None,
    });
    world.notices.clear();
}

/// What those who watch heard since, of messages and typing.
fn events(world: &mut World) -> Vec<String> {
    let mut seen = Vec::new();
    for notice in std::mem::take(&mut world.notices) {
        let Notice::Event(occurrence) = notice else { continue };
        match occurrence.event {
            Event::MessageChanged { from, to, state, .. } => {
                seen.push(format!("{} {} {state:?}", from.user(), to.user()))
            }
            Event::Composing { from, to, composing } => {
                let what = if composing { "types" } else { "rests" };
                seen.push(format!("{} {} {what}", from.user(), to.user()));
            }
            _ => {}
        }
    }
    seen
}

#[test]
fn a_plain_phone_gets_what_is_in_the_envelope_and_its_sender_hears_once_that_it_was_delivered() {
    let (mut world, kate, jim) = pair();
    world.phones[jim].takes = vec!["text/plain"];
    watch(&mut world);
    assert_eq!(
        send(&mut world, kate, "1001", CPIM, &envelope("a1", "hello \u{1f44b}")),
        200
    );
    world.run(Duration::from_secs(1));
    assert_eq!(world.phones[jim].texts(), ["hello \u{1f44b}"]);
    let got = &world.phones[jim].taken[0].1;
    assert_eq!(got.header(Name::ContentType), Some(&b"text/plain;charset=utf-8"[..]));
    assert_eq!(told(&world, kate), [("a1".into(), Mark::Delivered)]);
    assert_eq!(events(&mut world), ["1000 1001 Delivered"]);
    let asked = world.phones[jim]
        .requests
        .iter()
        .filter(|m| m.method() == Method::Options)
        .count();
    assert_eq!(asked, 1, "it was asked whether it takes envelopes");
    assert_eq!(send(&mut world, kate, "1001", CPIM, &envelope("a2", "again")), 200);
    world.run(Duration::from_secs(1));
    let asked = world.phones[jim]
        .requests
        .iter()
        .filter(|m| m.method() == Method::Options)
        .count();
    assert_eq!((asked, world.phones[jim].texts().len()), (1, 2));
    assert_quiet(&mut world);
}

/// Both take envelopes: each has sent one.
fn acquainted(world: &mut World, kate: usize, jim: usize) {
    for (from, to) in [(kate, "1001"), (jim, "1000")] {
        let sent = world.with(from, |phone, now| {
            phone.message(now, to, CPIM, b"From: <sip:x@y>\r\n\r\n\r\nhi")
        });
        assert_eq!(world.finish(from, sent), 200);
    }
    world.run(Duration::from_secs(1));
    for phone in [kate, jim] {
        world.phones[phone].taken.clear();
        world.phones[phone].requests.clear();
    }
}

#[test]
fn a_device_that_takes_envelopes_says_when_a_message_is_shown_and_the_sender_hears_it_once() {
    let (mut world, kate, jim) = pair();
    acquainted(&mut world, kate, jim);
    watch(&mut world);
    assert_eq!(send(&mut world, kate, "1001", CPIM, &envelope("a1", "hello")), 200);
    world.run(Duration::from_secs(1));
    let got = world.phones[jim].taken[0].1.clone();
    let cpim = Cpim::parse(got.body_bytes()).unwrap();
    assert_eq!((cpim.message_id.as_deref(), cpim.body), (Some("a1"), &b"hello"[..]));
    assert_eq!(
        cpim.wants,
        Marks::NONE.with(Mark::Displayed),
        "the switch itself tells that it was delivered"
    );
    assert!(got.header_named("X-Message-Id").is_some_and(|id| id.starts_with(b"m-")));
    world.restart();
    for mark in [Mark::Delivered, Mark::Displayed, Mark::Displayed] {
        assert_eq!(send(&mut world, jim, "1000", CPIM, &report("a1", mark)), 200);
    }
    // One without envelope, and of a message that nobody sent.
    let bare = imdn::write("a1", "", "", Mark::Displayed);
    assert_eq!(send(&mut world, jim, "1000", imdn::MEDIA_TYPE, bare.as_bytes()), 200);
    assert_eq!(
        send(&mut world, jim, "1000", CPIM, &report("never", Mark::Displayed)),
        200
    );
    world.run(Duration::from_secs(1));
    let both = [("a1".into(), Mark::Delivered), ("a1".into(), Mark::Displayed)];
    assert_eq!(told(&world, kate), both);
    assert_eq!(told(&world, jim), [], "nobody is told of a notification");
    assert!(world.store.receipts.is_empty());
    assert_quiet(&mut world);
}

#[test]
fn only_the_reader_can_say_that_a_message_was_shown() {
    let (mut world, kate, jim) = pair();
    let ann = world.phone("1002");
    world.register(ann);
    acquainted(&mut world, kate, jim);
    assert_eq!(send(&mut world, kate, "1001", CPIM, &envelope("a1", "hello")), 200);
    assert_eq!(send(&mut world, ann, "1000", CPIM, &report("a1", Mark::Displayed)), 200);
    world.run(Duration::from_secs(1));
    assert_eq!(told(&world, kate), [("a1".into(), Mark::Delivered)]);
}

#[test]
fn a_notification_waits_for_a_sender_who_is_away_over_a_restart() {
    let (mut world, kate, jim) = pair();
    acquainted(&mut world, kate, jim);
    assert_eq!(send(&mut world, kate, "1001", CPIM, &envelope("a1", "hello")), 200);
    world.run(Duration::from_secs(1));
    world.phones[kate].taken.clear();
    world.register_for(kate, 0);
    assert_eq!(send(&mut world, jim, "1000", CPIM, &report("a1", Mark::Displayed)), 200);
    world.run(Duration::from_secs(1));
    assert_eq!(world.store.messages.len(), 1);
    world.restart();
    world.register(kate);
    world.run(Duration::from_secs(1));
    assert_eq!(told(&world, kate), [("a1".into(), Mark::Displayed)]);
    assert!(stored(&world).is_empty());
    assert_quiet(&mut world);
}

#[test]
fn a_stored_message_keeps_its_envelope_and_what_was_asked() {
    let (mut world, kate, jim) = pair();
    acquainted(&mut world, kate, jim);
    world.register_for(jim, 0);
    assert_eq!(send(&mut world, kate, "1001", CPIM, &envelope("a1", "later")), 202);
    world.restart();
    world.register(jim);
    world.run(Duration::from_secs(1));
    let cpim = Cpim::parse(world.phones[jim].taken[0].1.body_bytes()).unwrap();
    assert_eq!((cpim.message_id.as_deref(), cpim.body), (Some("a1"), &b"later"[..]));
    assert_eq!(told(&world, kate), [("a1".into(), Mark::Delivered)]);
    assert_quiet(&mut world);
}

#[test]
fn who_asked_hears_that_a_message_was_given_up() {
    let (mut world, kate, _) = pair();
    watch(&mut world);
    let headers = Headers::new().with(Name::Expires, "100");
    let body = sip::Body {
        content_type: CPIM.into(),
        content: envelope("a1", "too late").into(),
    };
    let sent = world.with(kate, |phone, now| {
        phone.request(now, Method::Message, "1005", headers, Some(body))
    });
    assert_eq!(world.finish(kate, sent), 202);
    world.run(Duration::from_secs(200));
    assert_eq!(told(&world, kate), [("a1".into(), Mark::Failed)]);
    assert_eq!(events(&mut world), ["1000 1005 Stored", "1000 1005 Failed"]);
    assert!(world.store.receipts.is_empty());
    assert_quiet(&mut world);
}

#[test]
fn who_asked_hears_also_of_what_was_kept_for_as_long_as_can_be_and_given_up() {
    let (mut world, kate, _) = pair();
    assert_eq!(send(&mut world, kate, "1005", CPIM, &envelope("a1", "never")), 202);
    world.jump_wall(config().im.keep);
    world.run(Duration::from_secs(65));
    assert_eq!(told(&world, kate), [("a1".into(), Mark::Failed)]);
    assert!(stored(&world).is_empty() && world.store.receipts.is_empty());
    assert_quiet(&mut world);
}

#[test]
fn a_device_that_takes_envelopes_no_more_gets_the_text_at_once() {
    let (mut world, kate, jim) = pair();
    acquainted(&mut world, kate, jim);
    world.phones[jim].takes = vec!["text/plain"];
    assert_eq!(send(&mut world, kate, "1001", CPIM, &envelope("a1", "hello")), 200);
    assert_eq!(world.phones[jim].texts(), ["hello"]);
    assert_eq!(world.phones[jim].requests.len(), 2, "the envelope was refused");
    assert_eq!(send(&mut world, kate, "1001", CPIM, &envelope("a2", "again")), 200);
    assert_eq!(world.phones[jim].texts(), ["hello", "again"]);
    assert_eq!(world.phones[jim].requests.len(), 3, "and not tried again");
    assert_quiet(&mut world);
}

#[test]
fn who_registers_with_accept_or_answers_options_gets_envelopes() {
    let (mut world, kate, jim) = pair();
    let headers = Headers::new()
        .with(Name::Contact, format!("<{}>", world.phones[jim].contact()))
        .with(Name::Accept, "text/plain, Message/CPIM");
    world.with(jim, |phone, now| phone.register_with(now, headers));
    world.run_ms(100);
    assert_eq!(send(&mut world, kate, "1001", CPIM, &envelope("a1", "hello")), 200);
    let kind = |message: &Message| message.header(Name::ContentType).map(<[u8]>::to_vec);
    assert_eq!(kind(&world.phones[jim].taken[0].1).as_deref(), Some(CPIM.as_bytes()));
    let soft = world.phone("1001");
    world.phones[soft].takes = vec!["application/sdp", "text/plain", CPIM];
    world.register(soft);
    for id in ["a2", "a3"] {
        assert_eq!(send(&mut world, kate, "1001", CPIM, &envelope(id, "hello")), 200);
        world.run(Duration::from_secs(1));
    }
    let kinds: Vec<_> = world.phones[soft]
        .taken
        .iter()
        .map(|(_, message)| kind(message))
        .collect();
    assert_eq!(kinds[1].as_deref(), Some(CPIM.as_bytes()), "it was asked meanwhile");
    assert_eq!(kinds[0].as_deref(), Some(&b"text/plain;charset=utf-8"[..]));
}

pub(in crate::im) fn composing(is_active: bool) -> Vec<u8> {
    let notice = Composing {
        is_active,
        refresh: Duration::from_secs(60),
        content_type: None,
    };
    notice.write().into_bytes()
}

#[test]
fn typing_is_taken_from_anyone_told_and_given_only_to_who_takes_it() {
    let (mut world, kate, jim) = pair();
    let soft = world.phone("1001");
    world.register(soft);
    watch(&mut world);
    assert_eq!(send(&mut world, kate, "1001", COMPOSING, &composing(true)), 200);
    assert!(world.phones[jim].requests.is_empty() && world.phones[soft].requests.is_empty());
    assert_eq!(events(&mut world), ["1000 1001 types"]);
    // A device that sends such notices takes them.
    assert_eq!(send(&mut world, soft, "1000", COMPOSING, &composing(false)), 200);
    assert_eq!(events(&mut world), [""; 0], "who did not type does not cease");
    assert_eq!(send(&mut world, kate, "1001", COMPOSING, &composing(true)), 200);
    world.run_ms(100);
    assert_eq!(world.phones[soft].taken.len(), 1);
    let got = Composing::parse(world.phones[soft].taken[0].1.body_bytes()).unwrap();
    assert!(got.is_active && world.phones[jim].requests.is_empty());
    assert_eq!(events(&mut world), [""; 0], "a refresh is no news");
    assert_eq!(send(&mut world, kate, "1001", "text/plain", b"done"), 200);
    assert_eq!(events(&mut world), ["1000 1001 rests", "1000 1001 Delivered"]);
    assert_eq!(send(&mut world, kate, "1001", COMPOSING, &composing(true)), 200);
    world.run(Duration::from_secs(59));
    assert_eq!(events(&mut world), ["1000 1001 types"]);
    world.run(Duration::from_secs(2));
    assert_eq!(
        events(&mut world),
        ["1000 1001 rests"],
        "nothing was heard for the refresh time"
    );
    assert_quiet(&mut world);
}

#[test]
fn typing_to_who_is_away_is_not_stored_and_a_refusal_is_not_repeated() {
    let (mut world, kate, jim) = pair();
    assert_eq!(send(&mut world, kate, "1005", COMPOSING, &composing(true)), 200);
    assert!(world.store.messages.is_empty());
    assert_eq!(send(&mut world, jim, "1000", COMPOSING, &composing(true)), 200);
    // It sends them and refuses them, as some do.
    world.phones[jim].takes = vec!["text/plain"];
    for _ in 0..5 {
        assert_eq!(send(&mut world, kate, "1001", COMPOSING, &composing(true)), 200);
        world.run(Duration::from_secs(1));
    }
    assert_eq!(world.phones[jim].requests.len(), 1);
    assert!(world.store.messages.is_empty());
    world.run(Duration::from_secs(130));
    assert_quiet(&mut world);
}

#[test]
fn a_message_again_by_another_way_has_no_second_effect() {
    let (mut world, kate, jim) = pair();
    let id = ("one-and-the-same", 7);
    for to in ["1001", "1005"] {
        let first = world.with(kate, |phone, now| phone.message_as(now, id, to, "once"));
        let told = world.finish(kate, first);
        world.run(Duration::from_secs(5));
        let again = world.with(kate, |phone, now| phone.message_as(now, id, to, "once"));
        assert_eq!(world.finish(kate, again), told);
    }
    // After a restart the store still knows what it has kept.
    world.restart();
    assert_eq!(send(&mut world, kate, "1001", "text/plain", b"fresh credentials"), 200);
    let again = world.with(kate, |phone, now| phone.message_as(now, id, "1005", "once"));
    assert_eq!(world.finish(kate, again), 202);
    let late = world.phone("1005");
    world.register(late);
    world.run(Duration::from_secs(2));
    assert_eq!(world.phones[jim].texts(), ["once", "fresh credentials"]);
    assert_eq!(world.phones[late].texts(), ["once"]);
    assert_quiet(&mut world);
}

#[test]
fn a_device_that_says_when_to_come_again_is_heeded() {
    let (mut world, kate, jim) = pair();
    world.phones[jim].on_message = OnMessage::Refuse(503);
    world.phones[jim].retry_after_s = Some(200);
    assert_eq!(send(&mut world, kate, "1001", "text/plain", b"later"), 202);
    world.run(Duration::from_secs(1));
    let tried = world.phones[jim].requests.len();
    world.phones[jim].on_message = OnMessage::Take;
    world.run(Duration::from_secs(190));
    assert_eq!(world.phones[jim].requests.len(), tried);
    world.run(Duration::from_secs(20));
    assert_eq!(world.phones[jim].texts(), ["later"]);
    assert_quiet(&mut world);
}

#[test]
fn what_is_too_old_makes_room_for_what_is_new() {
    let mut settings = config();
    settings.im.max_per_user = 2;
    let mut world = World::new(settings, 1);
    let kate = world.phone("1000");
    world.register(kate);
    let send_for = |world: &mut World, seconds: &str| {
        let headers = Headers::new().with(Name::Expires, seconds);
        let body = sip::Body {
            content_type: "text/plain".into(),
            content: "x".into(),
        };
        let sent = world.with(kate, |phone, now| {
            phone.request(now, Method::Message, "1005", headers, Some(body))
        });
        world.finish(kate, sent)
    };
    world.run(Duration::from_secs(61));
    assert_eq!(
        [
            send_for(&mut world, "5"),
            send_for(&mut world, "500"),
            send_for(&mut world, "500")
        ],
        [202, 202, 480]
    );
    world.run(Duration::from_secs(10));
    assert_eq!(
        send_for(&mut world, "500"),
        480,
        "full, and what is too old is given up"
    );
    world.run_ms(100);
    assert_eq!(send_for(&mut world, "500"), 202);
}
