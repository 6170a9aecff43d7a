//! Who may send what.

use super::{assert_quiet, pair};
use crate::testing::{World, config};
use sip::Message;
use std::time::Duration;

/// A body of each kind that a MESSAGE can have.
const BODIES: [(&str, &str); 5] = [
    ("text/plain", "hello"),
    (
        "message/cpim",
        "From: <sip:x@y>\r\n\r\nContent-Type: text/plain\r\n\r\nhello",
    ),
    (
        "application/im-iscomposing+xml",
        "<isComposing><state>active</state></isComposing>",
    ),
    ("message/imdn+xml", "<imdn><message-id>a</message-id></imdn>"),
    ("text/html", "<b>hello</b>"),
];

/// Sends a MESSAGE as it is from an address that is no phone's; its answer.
fn raw(world: &mut World, from: &str, to: &str, content_type: &str, body: &str) -> Message {
    let number = world.strangers.len();
    let text = format!(
        "MESSAGE sip:{to}@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.9:5070;branch=z9hG4bK-{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{from}>;tag=1\r\nTo: <sip:{to}@example.com>\r\nCall-ID: raw-{number}\r\n\
         CSeq: 1 MESSAGE\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    world.send_raw(([127, 0, 0, 9], 5070).into(), text.into_bytes());
    world.run_ms(50);
    let (_, _, answer) = world.strangers.last().expect("an answer").clone();
    assert_eq!(world.strangers.len(), number + 1, "one answer");
    Message::parse(answer).unwrap()
}

fn assert_nothing_came(world: &mut World, phones: &[usize]) {
    for phone in phones {
        assert!(world.phones[*phone].requests.is_empty());
    }
    assert!(world.store.messages.is_empty() && world.store.receipts.is_empty() && world.store.devices.is_empty());
    assert_quiet(world);
}

#[test]
fn r008_a_message_from_outside_opens_nothing() {
    let (mut world, kate, jim) = pair();
    for (content_type, body) in BODIES {
        for to in ["1001", "1005", "4711", "9196"] {
            let answer = raw(&mut world, "ann@elsewhere.org", to, content_type, body);
            assert_eq!(answer.status(), 403, "{content_type} to {to}");
        }
    }
    assert_nothing_came(&mut world, &[kate, jim]);
}

#[test]
fn r005_without_the_right_nothing_of_a_message_gets_through() {
    let mut settings = config();
    settings.users[0].im = false;
    settings.im.types = vec!["*/*".into()];
    let mut world = World::new(settings, 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    world.register(kate);
    world.register(jim);
    for (content_type, body) in BODIES {
        for to in ["1001", "1005", "4711"] {
            let number = world.with(kate, |phone, now| phone.message(now, to, content_type, body.as_bytes()));
            assert_eq!(world.finish(kate, number), 403, "{content_type} to {to}");
        }
    }
    assert_nothing_came(&mut world, &[jim]);
}

/// S5: a MESSAGE without, or with wrong, credentials reaches nobody.
#[test]
fn s5_nothing_of_a_message_without_credentials_gets_through() {
    let (mut world, kate, jim) = pair();
    let thief = world.phone("1000");
    world.phones[thief].password = "guessed".into();
    for (content_type, body) in BODIES {
        let answer = raw(&mut world, "1000@example.com", "1001", content_type, body);
        assert_eq!(answer.status(), 401, "{content_type}");
        let number = world.with(thief, |phone, now| {
            phone.message(now, "1005", content_type, body.as_bytes())
        });
        assert_eq!(world.finish(thief, number), 401, "{content_type}");
        world.run(Duration::from_secs(70));
    }
    assert_nothing_came(&mut world, &[kate, jim]);
}

/// S11: whoever has not proven who he is learns nothing of who there is.
#[test]
fn s11_a_message_to_a_real_and_to_an_unknown_user_is_answered_alike() {
    let (mut world, _, _) = pair();
    let names = |message: &Message| -> Vec<Vec<u8>> { message.fields().map(|(_, name, _)| name.to_vec()).collect() };
    for (content_type, body) in BODIES {
        let real = raw(&mut world, "1000@example.com", "1001", content_type, body);
        for (from, to) in [("1000", "4711"), ("4711", "1001"), ("4711", "4712")] {
            let other = raw(&mut world, &format!("{from}@example.com"), to, content_type, body);
            assert_eq!(
                (other.status(), names(&other)),
                (real.status(), names(&real)),
                "{from} to {to}"
            );
        }
    }
}
