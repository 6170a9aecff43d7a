//! Writing messages: one growing buffer, fields in the order given, Content-Length last.

use crate::header::{Via, lex};
use crate::{Message, Method, Name};
use bytes::{Bytes, BytesMut};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

/// Writes one message into one buffer.
///
/// No value can add a line: control characters in what is passed become spaces, and in copied fields folding does.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    overload: Option<Overload>,
}

/// What those are told who ask in their Via how loaded we are (RFC 7339 section 4).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Overload {
    /// Of a hundred requests that would begin something, so many are not to be sent.
    pub percent: u8,
    /// For so long; nought: send as ever.
    pub validity_ms: u32,
    /// Rises with each new value: seconds and milliseconds since some beginning.
    pub at_ms: u64,
}

/// Holds a response and most requests without growing.
const CAPACITY: usize = 1024;

/// Memory for responses: each is written into one buffer that is used again, and kept in a chunk behind the one before.
/// Most live equally long (RFC 3261 section 17.2.2, Timer J), so chunks are given back whole, and neither writing nor
/// forgetting a response walks the heap.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    buffer: Vec<u8>,
    chunk: BytesMut,
    /// Told in every response to those who ask.
    pub(crate) overload: Option<Overload>,
}

/// Some seventy responses. One that is kept for long keeps so much; larger ones than a part of it get their own memory.
const CHUNK: usize = 32 * 1024;

impl Pages {
    /// An empty writer, in the buffer. The buffer comes back with [`Pages::keep`].
    pub(crate) fn writer(&mut self) -> Writer {
        let mut out = std::mem::take(&mut self.buffer);
        out.clear();
        let overload = self.overload;
        Writer { out, overload }
    }

    /// What was written, as shared bytes.
    pub(crate) fn keep(&mut self, written: Vec<u8>) -> Bytes {
        if written.len() > CHUNK / 8 {
            return shared(written);
        }
        if self.chunk.capacity() - self.chunk.len() < written.len() {
            self.chunk = BytesMut::with_capacity(CHUNK);
        }
        self.chunk.extend_from_slice(&written);
        self.buffer = written;
        self.chunk.split().freeze()
    }
}

impl Writer {
    /// `METHOD uri SIP/2.0`.
    #[must_use]
    pub fn request(method: Method, uri: &[u8]) -> Writer {
        Writer::request_named(method.as_str().as_bytes(), uri)
    }

    /// The same for a method that is not a known one.
    #[must_use]
    pub fn request_named(method: &[u8], uri: &[u8]) -> Writer {
        let mut out = Vec::with_capacity(CAPACITY);
        push_clean(&mut out, method);
        out.push(b' ');
        // A space would end the URI.
        out.extend(uri.iter().filter(|b| !b.is_ascii_control() && **b != b' '));
        out.extend_from_slice(b" SIP/2.0\r\n");
        Writer::of(out)
    }

    /// `SIP/2.0 status reason` and nothing else.
    #[must_use]
    pub fn status_line(status: u16, reason: &str) -> Writer {
        let out = Vec::with_capacity(CAPACITY);
        Writer::of(out).first_line(status, reason)
    }

    fn of(out: Vec<u8>) -> Writer {
        let overload = None;
        Writer { out, overload }
    }

    fn first_line(mut self, status: u16, reason: &str) -> Writer {
        self.out.extend_from_slice(b"SIP/2.0 ");
        push_number(&mut self.out, u64::from(status));
        self.out.push(b' ');
        push_clean(&mut self.out, reason.as_bytes());
        self.end_line();
        self
    }

    /// `SIP/2.0 status reason`, then Via values, From, To (with `to_tag` added if it has none and status is not 100),
    /// Call-ID and CSeq copied from the request (RFC 3261 section 8.2.6). Top Via gets `received` and `rport` of `source`
    /// (section 18.2.1, RFC 3581). A 100 copies Timestamp too. What a malformed request lacks is left out.
    #[must_use]
    pub fn response(request: &Message, status: u16, reason: &str, to_tag: &str, source: SocketAddr) -> Writer {
        let out = Vec::with_capacity(CAPACITY);
        Writer::of(out).answering(request, status, reason, to_tag, source)
    }

    /// [`Writer::response`] into the buffer there is.
    pub(crate) fn answering(
        self,
        request: &Message,
        status: u16,
        reason: &str,
        to_tag: &str,
        source: SocketAddr,
    ) -> Writer {
        let mut writer = self.first_line(status, reason);
        let mut top = request.via().map(|via| (via, source));
        for line in request.lines(Name::Via) {
            writer.copy_via(line, request.is_plain, top.take());
        }
        writer.copy_first(request, Name::From);
        writer.copy_to(request, if status == 100 { "" } else { to_tag });
        writer.copy_first(request, Name::CallId);
        writer.copy_first(request, Name::CSeq);
        if status == 100 {
            writer.copy_first(request, Name::Timestamp);
        }
        writer
    }

    /// Copies every line of Record-Route, in order: for responses that make a dialog (section 12.1.1).
    #[must_use]
    pub fn record_route(mut self, request: &Message) -> Writer {
        self.copy(request, Name::RecordRoute);
        self
    }

    /// Copies every line of that name as received.
    #[must_use]
    pub fn copied(mut self, from: &Message, name: Name) -> Writer {
        self.copy(from, name);
        self
    }

    /// Adds `Name: value`.
    #[must_use]
    pub fn header(mut self, name: Name, value: impl AsRef<[u8]>) -> Writer {
        self.name(name.as_str());
        push_clean(&mut self.out, value.as_ref());
        self.end_line();
        self
    }

    /// Adds a header whose name is not a known one; what cannot stand in a name is left out of it.
    #[must_use]
    pub fn header_named(mut self, name: &str, value: impl AsRef<[u8]>) -> Writer {
        self.out.extend(name.bytes().filter(|b| lex::is_token(*b)));
        self.out.extend_from_slice(b": ");
        push_clean(&mut self.out, value.as_ref());
        self.end_line();
        self
    }

    /// Adds `Name: number`.
    #[must_use]
    pub fn number(mut self, name: Name, value: u64) -> Writer {
        self.name(name.as_str());
        push_number(&mut self.out, value);
        self.end_line();
        self
    }

    /// Adds `Name: value` if there is a value.
    #[must_use]
    pub fn header_if(self, name: Name, value: Option<impl AsRef<[u8]>>) -> Writer {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// Adds whole lines, each ended by CRLF, as [`Headers`](crate::Headers) writes them.
    #[must_use]
    pub(crate) fn lines(mut self, lines: &[u8]) -> Writer {
        self.out.extend_from_slice(lines);
        self
    }

    /// Adds `CSeq: number METHOD`.
    #[must_use]
    pub fn cseq(mut self, number: u32, method: &[u8]) -> Writer {
        self.name("CSeq");
        push_number(&mut self.out, u64::from(number));
        self.out.push(b' ');
        push_clean(&mut self.out, method);
        self.end_line();
        self
    }

    /// Adds Content-Type, Content-Length, the empty line and the body.
    #[must_use]
    pub fn body(self, content_type: &str, body: &[u8]) -> Bytes {
        self.header(Name::ContentType, content_type).finish_with(body)
    }

    /// Adds `Content-Length: 0` and the empty line.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.finish_with(b"")
    }

    /// Adds Content-Length, the empty line and a body whose Content-Type has been written already.
    #[must_use]
    pub fn finish_with(self, body: &[u8]) -> Bytes {
        shared(self.end(body))
    }

    /// What has been written so far, for another to go on.
    pub(crate) fn end_early(self) -> Vec<u8> {
        self.out
    }

    /// The same, unshared.
    pub(crate) fn end(mut self, body: &[u8]) -> Vec<u8> {
        self.name("Content-Length");
        push_number(&mut self.out, body.len() as u64);
        self.out.extend_from_slice(b"\r\n\r\n");
        self.out.extend_from_slice(body);
        self.out
    }

    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
    }

    fn end_line(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }

    fn copy(&mut self, from: &Message, name: Name) {
        for line in from.lines(name) {
            self.name(name.as_str());
            push_copy(&mut self.out, line, from.is_plain);
            self.end_line();
        }
    }

    /// Of a field that may be there once: in the answer to a request with several, they were the fault.
    fn copy_first(&mut self, from: &Message, name: Name) {
        if let Some(line) = from.header(name) {
            self.name(name.as_str());
            push_copy(&mut self.out, line, from.is_plain);
            self.end_line();
        }
    }

    fn copy_to(&mut self, request: &Message, tag: &str) {
        let Some(line) = request.header(Name::To) else { return };
        self.name("To");
        push_copy(&mut self.out, line, request.is_plain);
        if !tag.is_empty() && request.to().is_ok_and(|to| to.tag().is_empty()) {
            self.out.extend_from_slice(b";tag=");
            push_clean(&mut self.out, tag.as_bytes());
        }
        self.end_line();
    }

    /// `top`: this line begins with the top Via.
    fn copy_via(&mut self, line: &[u8], is_plain: bool, top: Option<(Via<'_>, SocketAddr)>) {
        self.name("Via");
        match top {
            Some((via, source)) => {
                let (first, rest) = line.split_at(lex::comma(line).unwrap_or(line.len()));
                let value = (lex::trim_end(first), is_plain);
                push_answered(&mut self.out, value, &via, source, self.overload);
                push_copy(&mut self.out, rest, is_plain);
            }
            None => push_copy(&mut self.out, line, is_plain),
        }
        self.end_line();
    }
}

/// Without the spare room: responses are kept for half a minute.
pub(crate) fn shared(mut out: Vec<u8>) -> Bytes {
    out.shrink_to_fit();
    Bytes::from(out)
}

/// Writes a Via with `received` and `rport` as the receiver must fill them in: `received` when sent-by is a name or another
/// address than the packet came from (section 18.2.1), or when `rport` was asked for; `rport` only then (RFC 3581 section
/// 4). Whatever the sender wrote there itself is replaced.
pub(crate) fn push_stamped(out: &mut Vec<u8>, value: &[u8], via: &Via<'_>, source: SocketAddr) {
    push_answered(out, (value, false), via, source, None);
}

/// The same, and what was asked for of our load (RFC 7339 section 4.2): `oc` without a value asks, and whoever understands the
/// loss algorithm, which all must, is told. Others are told nothing.
fn push_answered(
    out: &mut Vec<u8>,
    (value, is_plain): (&[u8], bool),
    via: &Via<'_>,
    source: SocketAddr,
    overload: Option<Overload>,
) {
    let overload = overload.filter(|_| via.noted().asks_load);
    let wants_rport = via.rport().is_some();
    let wants_received = wants_rport || via.ip() != Some(source.ip());
    if !wants_received && overload.is_none() && via.noted().received.is_none() {
        return push_copy(out, value, is_plain);
    }
    // Blanks before a comma belong to what was read, and not to the value.
    let params = lex::trim_end(via.params.as_bytes());
    let Some(params_at) = value.len().checked_sub(params.len()) else {
        return push_copy(out, value, is_plain);
    };
    push_copy(out, lex::trim_end(&value[..params_at]), is_plain);
    for (name, text) in via.params.iter() {
        let is_load = overload.is_some() && LOAD.iter().any(|ours| name.eq_ignore_ascii_case(ours));
        if name.eq_ignore_ascii_case(b"received") || is_load {
            continue;
        }
        out.push(b';');
        out.extend_from_slice(name);
        if name.eq_ignore_ascii_case(b"rport") {
            out.push(b'=');
            push_number(out, u64::from(source.port()));
        } else if let Some(text) = text {
            out.push(b'=');
            push_copy(out, text, is_plain);
        }
    }
    if wants_received {
        push_received(out, source);
    }
    if let Some(Overload {
        percent,
        validity_ms,
        at_ms,
    }) = overload
    {
        let (seconds, rest) = (at_ms / 1_000, at_ms % 1_000);
        // Writing into a Vec cannot fail.
        let _ = write!(
            out,
            ";oc={percent};oc-algo=\"loss\";oc-validity={validity_ms};oc-seq={seconds}.{rest:03}"
        );
    }
}

/// The parameters of RFC 7339.
const LOAD: [&[u8]; 4] = [b"oc", b"oc-algo", b"oc-validity", b"oc-seq"];

fn push_received(out: &mut Vec<u8>, source: SocketAddr) {
    out.extend_from_slice(b";received=");
    match source.ip().to_canonical() {
        IpAddr::V4(ip) => {
            for (i, octet) in ip.octets().into_iter().enumerate() {
                out.extend_from_slice(if i > 0 { b"." } else { b"" });
                push_number(out, u64::from(octet));
            }
        }
        IpAddr::V6(ip) => {
            // Writing into a Vec cannot fail.
            let _ = write!(out, "{ip}");
        }
    }
}

/// A value that came from inside: control characters become spaces, so that none can end the line.
pub(crate) fn push_clean(out: &mut Vec<u8>, value: &[u8]) {
    // Without an early end the compiler checks many bytes at once.
    if !value.iter().fold(false, |found, b| found | is_control(*b)) {
        out.extend_from_slice(value);
    } else {
        out.extend(value.iter().map(|&b| if is_control(b) { b' ' } else { b }));
    }
}

fn is_control(b: u8) -> bool {
    b < 0x20 && b != b'\t' || b == 0x7f
}

/// A value that came in a message: folding becomes spaces; other control characters stay, since they stood in a quoted pair
/// or the sender will want back what it sent. NUL stays only as such a pair. `is_plain`: there is nothing of the kind in it, as
/// the message it is from says of all its values.
pub(crate) fn push_copy(out: &mut Vec<u8>, value: &[u8], is_plain: bool) {
    if is_plain || memchr::memchr3(b'\r', b'\n', 0, value).is_none() {
        return out.extend_from_slice(value);
    }
    let mut before = 0;
    for &b in value {
        out.push(if matches!(b, b'\r' | b'\n') || b == 0 && before != b'\\' {
            b' '
        } else {
            b
        });
        before = b;
    }
}

pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    if number < 100 {
        let (tens, ones) = (number as u8 / 10, number as u8 % 10);
        if tens > 0 {
            out.push(b'0' + tens);
        }
        return out.push(b'0' + ones);
    }
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "MESSAGE sip:bob@tandem.example SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.10:5062;rport;branch=z9hG4bKa1, SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKa0\r\n\
        Via: SIP/2.0/UDP 192.0.2.8;branch=z9hG4bK9z\r\n\
        f: \"Ann\" <sip:ann@tandem.example>\r\n ;tag=fa1\r\n\
        To: <sip:bob@tandem.example>\r\n\
        Record-Route: <sip:p1.example;lr>\r\n\
        Record-Route: <sip:p2.example;lr>\r\n\
        Timestamp: 54\r\n\
        Call-ID: c1\r\n\
        CSeq: 7 MESSAGE\r\n\r\n";

    fn request(text: &str) -> Message {
        Message::parse(Bytes::from(text.to_owned())).unwrap()
    }

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    fn answer(text: &str, status: u16) -> Bytes {
        Writer::response(&request(text), status, "OK", "tt", "192.0.2.10:1024".parse().unwrap()).finish()
    }

    #[test]
    fn a_response_copies_what_the_standard_says() {
        assert_eq!(
            text(&answer(REQUEST, 200)),
            "SIP/2.0 200 OK\r\n\
             Via: SIP/2.0/UDP 192.0.2.10:5062;rport=1024;branch=z9hG4bKa1;received=192.0.2.10, SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKa0\r\n\
             Via: SIP/2.0/UDP 192.0.2.8;branch=z9hG4bK9z\r\n\
             From: \"Ann\" <sip:ann@tandem.example>   ;tag=fa1\r\n\
             To: <sip:bob@tandem.example>;tag=tt\r\n\
             Call-ID: c1\r\n\
             CSeq: 7 MESSAGE\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn trying_has_no_tag_but_the_timestamp() {
        let trying = answer(REQUEST, 100);
        assert!(text(&trying).contains("To: <sip:bob@tandem.example>\r\n"));
        assert!(text(&trying).contains("Timestamp: 54\r\n"));
    }

    #[test]
    fn blanks_before_the_comma_after_the_top_via_are_no_part_of_it() {
        for blanks in [" ", "\t \t", &" ".repeat(100)] {
            let spaced = REQUEST.replacen("z9hG4bKa1,", &format!("z9hG4bKa1{blanks},"), 1);
            let expected = "Via: SIP/2.0/UDP 192.0.2.10:5062;rport=1024;branch=z9hG4bKa1;received=192.0.2.10";
            assert!(text(&answer(&spaced, 200)).contains(expected), "{blanks:?}");
        }
    }

    #[test]
    fn a_tag_that_is_there_stays() {
        let tagged = REQUEST.replace("bob@tandem.example>\r\n", "bob@tandem.example>;tag=old\r\n");
        assert!(text(&answer(&tagged, 200)).contains("To: <sip:bob@tandem.example>;tag=old\r\n"));
    }

    #[test]
    fn received_is_written_when_the_packet_came_from_elsewhere() {
        let plain = REQUEST.replace(";rport;", ";");
        assert!(text(&answer(&plain, 200)).contains("Via: SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bKa1, "));
        let elsewhere = plain.replace("192.0.2.10:5062", "ann-laptop.example");
        assert!(text(&answer(&elsewhere, 200)).contains("ann-laptop.example;branch=z9hG4bKa1;received=192.0.2.10, "));
    }

    #[test]
    fn what_the_sender_wrote_as_received_does_not_survive() {
        let forged = REQUEST.replace(";rport;", ";received=203.0.113.9;rport=99;");
        let answer = answer(&forged, 200);
        assert!(!text(&answer).contains("203.0.113.9"));
        assert!(text(&answer).contains(";rport=1024;"));
    }

    #[test]
    fn no_value_can_add_a_line() {
        let evil = "x\r\nVia: SIP/2.0/UDP evil\r\n\r\nbody\0";
        let message = Writer::request(Method::Message, b"sip:a@b\r\nX: y")
            .header(Name::Subject, evil)
            .header_named("X-Note", evil)
            .header_named("X: 1\r\nY", "z")
            .finish();
        assert_eq!(text(&message).matches("\r\n").count(), 6);
        assert!(text(&message).contains("\r\nX1Y: z\r\n"));
        let reason = Writer::status_line(200, evil).finish();
        assert_eq!(text(&reason).matches("\r\n").count(), 3);
    }

    #[test]
    fn a_broken_request_is_answered_with_what_it_had() {
        let poor = "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKx\r\nCSeq: 1 INVITE\r\n\r\n";
        let Err(crate::Malformed::Answer {
            message,
            status,
            reason,
        }) = Message::parse(Bytes::from_static(poor.as_bytes()))
        else {
            panic!()
        };
        let answer = Writer::response(&message, status, reason, "tt", "192.0.2.95:5060".parse().unwrap()).finish();
        assert_eq!(
            text(&answer),
            "SIP/2.0 400 Missing From\r\nVia: SIP/2.0/UDP 192.0.2.95;branch=z9hG4bKx\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn record_route_is_copied_in_order() {
        let r = request(REQUEST);
        let ok = Writer::response(&r, 200, "OK", "t", "192.0.2.10:1".parse().unwrap())
            .record_route(&r)
            .finish();
        assert!(text(&ok).contains("Record-Route: <sip:p1.example;lr>\r\nRecord-Route: <sip:p2.example;lr>\r\n"));
    }

    #[test]
    fn a_body_brings_type_and_length() {
        let m = Writer::request(Method::Invite, b"sip:a@b")
            .cseq(4, b"INVITE")
            .body("application/sdp", b"v=0\r\n");
        assert_eq!(
            text(&m),
            "INVITE sip:a@b SIP/2.0\r\nCSeq: 4 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
        );
    }

    #[test]
    fn who_asks_for_our_load_is_told_and_nobody_else() {
        let via = |more: &str| {
            let text = format!(
                "OPTIONS sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1{more}\r\nFrom: <sip:a@h>;tag=1\r\n\
                 To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            );
            let mut pages = Pages {
                overload: Some(Overload {
                    percent: 20,
                    validity_ms: 1_500,
                    at_ms: 12_034,
                }),
                ..Pages::default()
            };
            let source = "192.0.2.1:5060".parse().unwrap();
            let written = pages
                .writer()
                .answering(&request(&text), 200, "OK", "t", source)
                .end(b"");
            let answer = Message::parse(written.into()).unwrap();
            String::from_utf8_lossy(answer.header(Name::Via).unwrap()).into_owned()
        };
        assert_eq!(via(""), "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1");
        assert_eq!(
            via(";oc;oc-algo=\"loss,rate\";keep"),
            "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;keep;oc=20;oc-algo=\"loss\";oc-validity=1500;oc-seq=12.034"
        );
    }
}
