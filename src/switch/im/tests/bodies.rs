//! What a message may hold.

use super::{assert_quiet, pair, stored};
use crate::testing::{World, config};
use sip::Name;
use std::time::Duration;

const PARTS: &str =
    "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: text/html\r\n\r\n<b>hello</b>\r\n--b--\r\n";

fn send(world: &mut World, from: usize, to: &str, content_type: &str, body: &[u8]) -> u64 {
    let number = world.with(from, |phone, now| phone.message(now, to, content_type, body));
    world.finish(from, number);
    number
}

#[test]
fn text_of_all_scripts_arrives_byte_for_byte_live_and_stored() {
    let (mut world, kate, jim) = pair();
    let kind = "text/plain;charset=UTF-8";
    let texts = [
        "J\u{fc}rgen \u{5f20}\u{4f1f} \u{645}\u{631}\u{62d}\u{628}\u{627}",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{1f44d}\u{1f3fd} e\u{301}",
        "two\r\nlines\r\n\r\nand a NUL \0 end",
    ];
    for text in texts {
        let sent = send(&mut world, kate, "1001", kind, text.as_bytes());
        assert_eq!(world.status(kate, sent), Some(200));
        let sent = send(&mut world, kate, "1005", kind, text.as_bytes());
        assert_eq!(world.status(kate, sent), Some(202));
    }
    world.restart();
    let late = world.phone("1005");
    world.register(late);
    world.run(Duration::from_secs(1));
    for phone in [jim, late] {
        assert_eq!(world.phones[phone].texts(), texts);
        let kinds = world.phones[phone]
            .taken
            .iter()
            .map(|(_, m)| m.header(Name::ContentType));
        assert!(kinds.into_iter().all(|found| found == Some(kind.as_bytes())));
    }
    assert_quiet(&mut world);
}

#[test]
fn other_bodies_are_refused_with_what_is_taken_or_passed_on_by_setting() {
    let (mut world, kate, jim) = pair();
    for kind in ["text/html", "multipart/mixed; boundary=b", "image/png"] {
        let sent = send(&mut world, kate, "1001", kind, PARTS.as_bytes());
        assert_eq!(world.status(kate, sent), Some(415), "{kind}");
        let accept = world.phones[kate].answer(sent).unwrap().header(Name::Accept).unwrap();
        assert!(accept.starts_with(b"text/plain, message/cpim"), "{kind}");
    }
    assert!(world.phones[jim].requests.is_empty() && stored(&world).is_empty());
    let mut settings = config();
    settings.im.types = vec!["text/*".into(), "multipart/mixed".into()];
    world.reload(settings);
    for (kind, told) in [
        ("Text/HTML; charset=utf-8", 200),
        ("multipart/mixed; boundary=b", 200),
        ("multipart/related; boundary=b", 415),
        ("image/png", 415),
    ] {
        let sent = send(&mut world, kate, "1001", kind, PARTS.as_bytes());
        assert_eq!(world.status(kate, sent), Some(told), "{kind}");
    }
    assert_eq!(world.phones[jim].texts(), [PARTS, PARTS]);
    assert_quiet(&mut world);
}

/// S3: nothing that nests or repeats goes further than its bound.
#[test]
fn s3_bodies_that_nest_too_deep_or_have_too_many_parts_are_refused() {
    let mut settings = config();
    settings.im.types = vec!["*/*".into()];
    settings.im.max_size = 60_000;
    let mut world = World::new(settings, 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    world.register(kate);
    world.register(jim);
    let many = "--b\r\n\r\nx\r\n".repeat(1_000) + "--b--";
    let deep_xml = "<a>".repeat(10_000);
    let cpim = |content: &str| format!("From: <sip:a@b>\r\n\r\nContent-Type: {content}");
    let mut nested = "text/plain\r\n\r\nx".to_owned();
    for _ in 0..100 {
        nested = cpim(&format!("message/cpim\r\n\r\n{}", cpim(&nested)));
    }
    let composing = cpim(&format!("application/im-iscomposing+xml\r\n\r\n{deep_xml}"));
    for (kind, body) in [
        ("multipart/mixed; boundary=b", many.as_str()),
        ("multipart/mixed", PARTS),
        ("multipart/mixed; boundary=b", "--b\r\n"),
        ("message/cpim", &nested),
        ("message/cpim", "no envelope"),
        ("message/cpim", &composing),
        ("application/im-iscomposing+xml", &deep_xml),
        (
            "application/im-iscomposing+xml",
            "<!DOCTYPE x [<!ENTITY a \"b\">]><isComposing/>",
        ),
        ("message/imdn+xml", &deep_xml),
    ] {
        let sent = send(&mut world, kate, "1001", kind, body.as_bytes());
        assert_eq!(world.status(kate, sent), Some(400), "{kind}");
        assert!(world.phones[kate].answer(sent).unwrap().header(Name::Warning).is_some());
    }
    assert!(world.phones[jim].requests.is_empty());
    let sent = send(&mut world, kate, "1001", "text/plain", b"still there");
    assert_eq!(world.status(kate, sent), Some(200));
    assert_quiet(&mut world);
}
