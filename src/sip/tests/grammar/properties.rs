//! Properties of reading and writing.

use crate::messages::{Parts, damage, parts};
use bytes::Bytes;
use proptest::prelude::*;
use sip::{Malformed, Message, Method, Name, Splice, Writer};

fn read(bytes: Vec<u8>) -> Message {
    Message::parse(Bytes::from(bytes)).unwrap()
}

/// Written field by field from what was read.
fn rewritten(m: &Message) -> Bytes {
    let writer = if m.is_request() {
        Writer::request_named(m.method_bytes(), m.request_uri())
    } else {
        Writer::status_line(m.status(), std::str::from_utf8(m.reason()).unwrap())
    };
    let fields = m.fields().filter(|(name, ..)| *name != Name::ContentLength);
    fields
        .fold(writer, |w, (_, name, value)| {
            w.header_named(std::str::from_utf8(name).unwrap(), value)
        })
        .finish_with(m.body_bytes())
}

fn means(m: &Message, parts: &Parts) {
    assert_eq!(m.method(), Method::from_bytes(parts.method.as_bytes()));
    assert_eq!((m.call_id(), m.cseq()), (parts.call_id.as_bytes(), parts.cseq));
    assert_eq!(m.from_tag(), parts.from_tag.as_bytes());
    assert_eq!(m.to_tag(), parts.to_tag.as_deref().unwrap_or_default().as_bytes());
    assert_eq!(m.from().unwrap().uri().unwrap().as_bytes(), parts.from.as_bytes());
    assert_eq!(m.to().unwrap().uri().unwrap().as_bytes(), parts.to.as_bytes());
    assert_eq!(m.values(Name::Via).count(), parts.vias.len());
    assert_eq!(m.branch(), format!("z9hG4bK{}", parts.vias[0].1).as_bytes());
    assert_eq!(
        (m.header(Name::Subject), m.body_bytes()),
        (Some(parts.subject.as_bytes()), &parts.body[..])
    );
}

/// Everything that can be asked of a message, whatever state it is in: nothing may panic.
fn ask_everything(m: &Message) {
    let _ = (
        m.method_bytes(),
        m.request_uri(),
        m.reason(),
        m.call_id(),
        m.from_tag(),
        m.to_tag(),
        m.branch(),
    );
    let _ = (
        m.via(),
        m.from().map(|a| a.display_name()),
        m.to(),
        m.max_forwards(),
        m.expires(),
        m.uri().is_ok(),
    );
    for &(name, ..) in Name::KNOWN {
        let _ = (
            m.header(name),
            m.values(name).count(),
            m.addresses(name).filter(Result::is_ok).count(),
        );
    }
    let _ = (m.fields().count(), m.body(), m.content_type(), m.cseq_header());
    let _ = Splice::of(m)
        .received("192.0.2.1:1".parse().unwrap())
        .remove_first(Name::Via)
        .decrement_max_forwards()
        .finish();
    let _ = Writer::response(m, 400, "x", "t", "192.0.2.1:1".parse().unwrap()).finish();
}

proptest! {
    #[test]
    fn a_message_means_what_it_was_made_of(parts in parts()) {
        let request = read(parts.request());
        means(&request, &parts);
        prop_assert_eq!(request.request_uri(), parts.request_uri.as_bytes());
        means(&read(parts.response()), &parts);
    }

    #[test]
    fn what_was_written_reads_the_same(parts in parts()) {
        for bytes in [parts.request(), parts.response()] {
            let message = read(bytes);
            let again = rewritten(&message);
            means(&read(again.to_vec()), &parts);
            prop_assert_eq!(rewritten(&read(again.to_vec())), again);
        }
    }

    #[test]
    fn forwarding_without_changes_is_the_identity(parts in parts()) {
        let bytes = parts.request();
        prop_assert_eq!(Splice::of(&read(bytes.clone())).finish(), bytes);
    }

    #[test]
    fn a_response_belongs_to_its_request(parts in parts()) {
        let request = read(parts.request());
        let source = "192.0.2.9:5099".parse().unwrap();
        let response = Message::parse(Writer::response(&request, 486, "Busy Here", "fresh", source).finish()).unwrap();
        prop_assert_eq!((response.call_id(), response.cseq()), (request.call_id(), request.cseq()));
        prop_assert_eq!((response.branch(), response.from_tag()), (request.branch(), request.from_tag()));
        prop_assert_eq!(response.to_tag(), parts.to_tag.as_deref().unwrap_or("fresh").as_bytes());
        prop_assert_eq!(response.via().unwrap().received(), Some(source.ip()));
        prop_assert_eq!(response.values(Name::Via).count(), request.values(Name::Via).count());
    }

    #[test]
    fn no_damage_makes_it_panic_or_contradict_itself(parts in parts(), damages in prop::collection::vec(damage(), 1..6)) {
        let mut bytes = parts.request();
        damages.iter().for_each(|d| d.apply(&mut bytes));
        match Message::parse(Bytes::from(bytes)) {
            Ok(message) => {
                ask_everything(&message);
                // What was taken once is taken again, and is the same.
                let again = Message::parse(Splice::of(&message).finish()).unwrap();
                prop_assert_eq!((again.call_id(), again.cseq(), again.branch()), (message.call_id(), message.cseq(), message.branch()));
                prop_assert_eq!(again.body_bytes(), message.body_bytes());
            }
            Err(Malformed::Answer { message, .. }) => ask_everything(&message),
            Err(Malformed::Drop(_)) => {}
        }
    }

    #[test]
    fn no_answer_carries_a_line_its_request_did_not_have(parts in parts(), damages in prop::collection::vec(damage(), 1..6)) {
        let mut bytes = parts.request();
        damages.iter().for_each(|d| d.apply(&mut bytes));
        if let Err(Malformed::Answer { message, status, reason }) = Message::parse(Bytes::from(bytes)) {
            let answer = Writer::response(&message, status, reason, "t", "192.0.2.1:1".parse().unwrap()).finish();
            let once = [Name::From, Name::To, Name::CallId, Name::CSeq];
            let copied = message.lines(Name::Via).count() + once.iter().filter(|n| message.header(**n).is_some()).count();
            // Status line, copied lines, Content-Length, the empty line.
            prop_assert_eq!(answer.windows(2).filter(|w| w == b"\r\n").count(), copied + 3);
            prop_assert_eq!(answer.iter().filter(|b| **b == b'\n' || **b == b'\r').count(), 2 * (copied + 3));
        }
    }
}

#[test]
fn a_message_cut_at_any_byte_is_refused_and_not_misread() {
    let whole = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/data/torture/3.1.1.01-odd-spelling.sip"
    ))
    .unwrap();
    for cut in 0..whole.len() {
        let Err(refused) = Message::parse(Bytes::copy_from_slice(&whole[..cut])) else {
            panic!("cut at {cut}")
        };
        if let Malformed::Answer { message, .. } = refused {
            ask_everything(&message);
        }
    }
}
