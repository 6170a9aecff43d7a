//! The bodies of the `sip` fuzz targets: called by the fuzzer with what it invents, and by the tests of the `sip` crate with
//! the committed corpora. A panic is a finding.

use bytes::Bytes;
use sip::body::{composing::Composing, cpim::Cpim, imdn, multipart, pidf};
use sip::header::{Auth, CSeq, Event, List, NameAddr, Params, RAck, Reason, Replaces, RetryAfter};
use sip::header::{SessionExpires, SubscriptionState, Value, Via, delta_seconds, tokens, unquote};
use sip::{Malformed, Message, Name, Splice, Uri, Writer, digest, frame, peek, stun};
use std::net::SocketAddr;

const SOURCE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 5060);

/// Reads a datagram, asks everything of it, answers it, forwards it, and reads the results.
pub fn message(input: &[u8]) {
    match Message::parse(Bytes::copy_from_slice(input)) {
        Ok(message) => sound(&message),
        Err(Malformed::Answer {
            message,
            status,
            reason,
        }) => {
            let answer = Writer::response(&message, status, reason, "t", SOURCE).finish();
            assert!(answer.starts_with(b"SIP/2.0 "));
        }
        Err(Malformed::Drop(_)) => {}
    }
}

fn sound(message: &Message) {
    assert!(message.via().is_some() && message.from().is_ok() && message.to().is_ok());
    for &(name, ..) in Name::KNOWN {
        for value in message.values(name) {
            let _ = NameAddr::parse(value).map(|a| a.display_name());
        }
    }
    let forwarded = Splice::of(message)
        .received(SOURCE)
        .decrement_max_forwards()
        .remove_first(Name::Route)
        .prepend(Name::Via, &b"SIP/2.0/UDP us;branch=z9hG4bKx"[..])
        .finish();
    // With our Via on top it may have grown beyond the largest message.
    if forwarded.len() < 60_000 && message.fields().count() < 250 {
        let forwarded = Message::parse(forwarded).expect("what was read can be forwarded");
        assert_eq!(
            (forwarded.call_id(), forwarded.cseq()),
            (message.call_id(), message.cseq())
        );
        assert_eq!(forwarded.body_bytes(), message.body_bytes());
        assert_eq!(
            forwarded.values(Name::Via).count(),
            message.values(Name::Via).count() + 1
        );
    }
    if message.is_request() {
        let answer = Message::parse(Writer::response(message, 200, "OK", "t", SOURCE).finish());
        let answer = answer.expect("what was read can be answered");
        assert_eq!(
            (answer.call_id(), answer.branch()),
            (message.call_id(), message.branch())
        );
        assert!(!answer.to_tag().is_empty());
    }
}

/// Reads a URI; its key and comparison hold together.
pub fn uri(input: &[u8]) {
    let _ = sip::uri::unescape(input);
    let Ok(uri) = Uri::parse(input) else { return };
    assert!(uri.equals(&uri));
    let key = uri.key();
    if uri.is_sip() {
        let again = Uri::parse(uri.without_headers()).expect("a part of it is one too");
        assert_eq!(again.host(), uri.host());
        assert!(uri.headers_bytes().is_empty() || key != again.key());
    }
    let _ = (
        uri.ip(),
        uri.user_unescaped(),
        uri.header("Replaces"),
        uri.params().iter().count(),
    );
}

/// Reads one value as each of the typed headers.
pub fn headers(input: &[u8]) {
    let _ = Via::parse(input).map(|v| (v.branch(), v.received(), v.rport(), v.ttl(), v.maddr(), v.transport()));
    let _ = NameAddr::parse(input).map(|a| (a.display_name(), a.uri().is_ok(), a.q(), a.expires()));
    let _ = (
        CSeq::parse(input),
        RAck::parse(input),
        SessionExpires::parse(input),
        delta_seconds(input),
    );
    let _ = Auth::parse(input).map(|a| a.iter().count());
    let _ = Auth::parse_info(input).map(|a| a.text("nextnonce"));
    let _ = Event::parse(input).map(|e| (e.package().len(), e.id()));
    let _ = SubscriptionState::parse(input).map(|s| (s.expires(), s.reason(), s.retry_after()));
    let _ = Replaces::parse(input).map(|r| r.early_only);
    let _ = RetryAfter::parse(input).map(|r| r.seconds);
    let _ = Reason::parse(input).map(|r| (r.cause(), r.text()));
    let _ = Value::parse(input).map(|v| v.is("application/sdp"));
    let _ = (tokens(input).filter(Result::is_ok).count(), unquote(input));
    if let Ok(params) = Params::parse(input) {
        params.iter().for_each(|(name, _)| assert!(!name.is_empty()));
    }
    assert!(List::new(input).map(<[u8]>::len).sum::<usize>() <= input.len());
}

/// Cuts a stream, whole and in pieces whose sizes the first byte gives: both must find the same messages.
pub fn frame(input: &[u8]) {
    let Some((&size, stream)) = input.split_first() else {
        return;
    };
    assert_eq!(
        frames(stream, stream.len().max(1)),
        frames(stream, usize::from(size).max(1))
    );
}

fn frames(stream: &[u8], size: usize) -> (Vec<frame::Frame>, bool) {
    let (mut framer, mut frames) = (frame::Framer::new(), Vec::new());
    for piece in stream.chunks(size) {
        framer.feed(piece);
        loop {
            match framer.poll_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(broken) => {
                    let _ = broken.answer("t", SOURCE);
                    return (frames, true);
                }
            }
        }
    }
    (frames, false)
}

/// Reads a challenge and answers it.
pub fn digest(input: &[u8]) {
    let Ok(challenge) = digest::Challenge::parse(input) else {
        return;
    };
    let ha1 = digest::ha1(challenge.algorithm, b"1000", &challenge.realm, b"secret");
    let value = challenge.credentials("1000", &ha1, b"REGISTER", b"sip:tandem.example", "c", 1);
    let auth = Auth::parse(&value).expect("our own credentials can be read");
    assert_eq!(auth.text("username").as_deref(), Some(&b"1000"[..]));
}

/// Sorts a datagram; what the parser takes is not sorted as garbage.
pub fn peek(input: &[u8]) {
    let class = peek::class(input);
    let _ = (
        peek::status(input),
        peek::branch(input),
        peek::has_to_tag(input),
        peek::method(input),
    );
    let sound = Message::parse(Bytes::copy_from_slice(input)).ok();
    if let Some(message) = sound.filter(|message| message.method_bytes().len() < 60) {
        assert!(!matches!(class, peek::Class::Garbage | peek::Class::KeepAlive));
        let line = message.is_request().then(|| (message.method(), message.request_uri()));
        assert_eq!(peek::request_line(input), line);
    }
}

/// Reads any bytes as each of the bodies that MESSAGE may have; what was read is written and read again.
pub fn bodies(input: &[u8]) {
    let (kind, body) = input.split_at(input.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1));
    let kind = String::from_utf8_lossy(kind);
    let _ = multipart::check(kind.trim(), body);
    if let Ok(cpim) = Cpim::parse(body) {
        let again = cpim.write();
        let again = Cpim::parse(&again).expect("what was read can be written");
        assert_eq!((again.body, again.is_notification), (cpim.body, cpim.is_notification));
        assert_eq!(again.message_id, cpim.message_id);
    }
    if let Ok(report) = imdn::Report::parse(body) {
        let mark = report.mark.unwrap_or(imdn::Mark::Delivered);
        let again = imdn::write(&report.message_id, "", "", mark);
        let again = imdn::Report::parse(again.as_bytes()).expect("what was read can be written");
        assert_eq!(again.mark, Some(mark));
    }
    if let Ok(composing) = Composing::parse(body) {
        let again = Composing::parse(composing.write().as_bytes()).expect("what was read can be written");
        assert_eq!(again.is_active, composing.is_active);
    }
    if let Ok(read) = pidf::Pidf::parse(body) {
        assert!(read.note.chars().count() <= pidf::NOTE_MAX && !read.note.contains(char::is_control));
    }
}

/// Reads a datagram as STUN; what is answered is the same request told where it came from, and is no SIP.
pub fn stun(input: &[u8]) {
    let sixes = SocketAddr::new(std::net::IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 5060);
    for (source, length) in [(SOURCE, 32), (sixes, 44)] {
        let Some(answer) = stun::answer(input, source) else {
            continue;
        };
        assert_eq!(answer.len(), length);
        assert_eq!((&answer[..2], &answer[4..20]), (&[1, 1][..], &input[4..20]));
        assert!(Message::parse(Bytes::copy_from_slice(input)).is_err());
    }
}
