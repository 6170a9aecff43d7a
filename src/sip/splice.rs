//! Forwarding: the received bytes with the few changes a proxy makes (RFC 3261 section 16.6); every untouched byte stays.

use crate::draft::reason;
use crate::header::{Via, lex};
use crate::message::Field;
use crate::print::{push_clean, push_copy, push_number, push_stamped, shared};
use crate::{Message, Name};
use bytes::Bytes;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::net::SocketAddr;

/// Changes to a received message. Nothing is written until [`Splice::finish`].
///
/// Values passed in are cleaned as in [`Writer`](crate::Writer). A Content-Length is added where there was none, so that
/// the result can travel on any transport.
#[derive(Debug)]
pub struct Splice<'m> {
    message: &'m Message,
    request_uri: Option<Cow<'m, [u8]>>,
    status: Option<u16>,
    on_top: SmallVec<[(Name, Cow<'m, [u8]>); 3]>,
    at_end: SmallVec<[Added<'m>; 3]>,
    changes: SmallVec<[(Name, Change<'m>); 6]>,
    removed_named: SmallVec<[&'m str; 2]>,
    body: Option<Cow<'m, [u8]>>,
}

/// Name and value of a line.
type Added<'m> = (Cow<'static, str>, Cow<'m, [u8]>);

#[derive(Debug)]
enum Change<'m> {
    /// Takes away the first value, with its line if it was alone there.
    DropFirst,
    /// Puts this in the place of the first value.
    SetFirst(Cow<'m, [u8]>),
    /// Stamps the top Via.
    Received(SocketAddr),
    /// Takes away all lines.
    DropAll,
}

impl<'m> Splice<'m> {
    /// No change yet.
    #[must_use]
    pub fn of(message: &'m Message) -> Splice<'m> {
        Splice {
            message,
            request_uri: None,
            status: None,
            on_top: SmallVec::new(),
            at_end: SmallVec::new(),
            changes: SmallVec::new(),
            removed_named: SmallVec::new(),
            body: None,
        }
    }

    /// Another Request-URI (section 16.6 step 2).
    #[must_use]
    pub fn request_uri(mut self, uri: impl Into<Cow<'m, [u8]>>) -> Splice<'m> {
        self.request_uri = Some(uri.into());
        self
    }

    /// Another status, with its usual reason phrase (section 16.7 step 6).
    #[must_use]
    pub fn status(mut self, status: u16) -> Splice<'m> {
        self.status = Some(status);
        self
    }

    /// What is changed.
    #[must_use]
    pub fn message(&self) -> &'m Message {
        self.message
    }

    /// The status of the result; 0 for a request.
    #[must_use]
    pub fn final_status(&self) -> u16 {
        self.status.unwrap_or(self.message.status())
    }

    /// A line above all others: Via, Record-Route, Path, Route. The last one added is the topmost.
    #[must_use]
    pub fn prepend(mut self, name: Name, value: impl Into<Cow<'m, [u8]>>) -> Splice<'m> {
        self.on_top.push((name, value.into()));
        self
    }

    /// A line below all others.
    #[must_use]
    pub fn append(mut self, name: Name, value: impl Into<Cow<'m, [u8]>>) -> Splice<'m> {
        self.at_end.push((Cow::Borrowed(name.as_str()), value.into()));
        self
    }

    /// The same for a name that is not a known one; what cannot stand in a name is left out of it.
    #[must_use]
    pub fn append_named(mut self, name: &str, value: impl Into<Cow<'m, [u8]>>) -> Splice<'m> {
        let name = name
            .chars()
            .filter(|c| u8::try_from(*c).is_ok_and(lex::is_token))
            .collect();
        self.at_end.push((Cow::Owned(name), value.into()));
        self
    }

    /// Without the first value of that name: the top Via of a response, the Route that names us.
    #[must_use]
    pub fn remove_first(mut self, name: Name) -> Splice<'m> {
        self.changes.push((name, Change::DropFirst));
        self
    }

    /// Without any line of that name.
    #[must_use]
    pub fn remove(mut self, name: Name) -> Splice<'m> {
        self.changes.push((name, Change::DropAll));
        self
    }

    /// Without any line of a name that is not a known one.
    #[must_use]
    pub fn remove_named(mut self, name: &'m str) -> Splice<'m> {
        self.removed_named.push(name);
        self
    }

    /// This value in place of the first one; at the end if there was none.
    #[must_use]
    pub fn set_first(mut self, name: Name, value: impl Into<Cow<'m, [u8]>>) -> Splice<'m> {
        if self.message.header(name).is_none() {
            return self.append(name, value);
        }
        self.changes.push((name, Change::SetFirst(value.into())));
        self
    }

    /// This value in place of all lines of that name.
    #[must_use]
    pub fn replace(self, name: Name, value: impl Into<Cow<'m, [u8]>>) -> Splice<'m> {
        self.remove(name).append(name, value)
    }

    /// `received` and `rport` of the top Via, as the receiver of a request writes them (section 18.2.1, RFC 3581).
    #[must_use]
    pub fn received(mut self, source: SocketAddr) -> Splice<'m> {
        self.changes.push((Name::Via, Change::Received(source)));
        self
    }

    /// Max-Forwards one lower; 70 if there was none (section 16.6 step 3). Whoever forwards has refused 0 before.
    #[must_use]
    pub fn decrement_max_forwards(self) -> Splice<'m> {
        let next = self.message.max_forwards().map_or(70, |n| n.saturating_sub(1));
        let value = next.to_string().into_bytes();
        if self.message.header(Name::MaxForwards).is_some() {
            self.set_first(Name::MaxForwards, value)
        } else {
            self.append(Name::MaxForwards, value)
        }
    }

    /// Another body; Content-Length follows it, Content-Type does not.
    #[must_use]
    pub fn body(mut self, body: impl Into<Cow<'m, [u8]>>) -> Splice<'m> {
        self.body = Some(body.into());
        self
    }

    /// Writes the result.
    #[must_use]
    pub fn finish(self) -> Bytes {
        let mut out = Vec::with_capacity(self.room());
        self.write(&mut out, |_| ());
        shared(out)
    }

    /// More than the result takes, where nothing out of the usual is added.
    pub(crate) fn room(&self) -> usize {
        self.message.bytes.len() + 512
    }

    /// Appends the result; `first` adds whole lines above all others.
    pub(crate) fn write(&self, out: &mut Vec<u8>, first: impl FnOnce(&mut Vec<u8>)) {
        self.push_start_line(out);
        first(out);
        for (name, value) in self.on_top.iter().rev() {
            push_line(out, name.as_str(), value);
        }
        self.push_fields(out);
        for (name, value) in &self.at_end {
            push_line(out, name, value);
        }
        let body = self.body.as_deref().unwrap_or(self.message.body_bytes());
        if self.body.is_some() || self.message.header(Name::ContentLength).is_none() {
            push_length(out, body.len());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
    }

    fn push_start_line(&self, out: &mut Vec<u8>) {
        let line = &self.message.bytes[..usize::from(self.message.head)];
        match &self.request_uri {
            Some(uri) if self.message.is_request() => {
                out.extend_from_slice(self.message.method_bytes());
                out.push(b' ');
                out.extend(uri.iter().filter(|b| !b.is_ascii_control() && **b != b' '));
                out.extend_from_slice(b" SIP/2.0\r\n");
            }
            _ if self.status.is_some() && !self.message.is_request() => {
                let status = self.final_status();
                out.extend_from_slice(b"SIP/2.0 ");
                push_number(out, status.into());
                out.push(b' ');
                out.extend_from_slice(reason(status).as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            _ => out.extend_from_slice(line),
        }
    }

    /// Runs of unchanged lines are copied in one piece.
    fn push_fields(&self, out: &mut Vec<u8>) {
        let message = self.message;
        let mut copied = usize::from(message.head);
        let end_of_fields = usize::from(message.body).saturating_sub(2).max(copied);
        for (i, field) in message.fields.iter().enumerate() {
            if !self.touches(field) {
                continue;
            }
            let end = message
                .fields
                .get(i + 1)
                .map_or(end_of_fields, |next| usize::from(next.name_at));
            out.extend_from_slice(&message.bytes[copied..usize::from(field.name_at)]);
            self.push_changed(out, field, end);
            copied = end;
        }
        out.extend_from_slice(&message.bytes[copied..end_of_fields]);
    }

    fn touches(&self, field: &Field) -> bool {
        match field.name {
            Name::Other => {
                let name = self.message.name_of(field);
                self.removed_named
                    .iter()
                    .any(|n| n.as_bytes().eq_ignore_ascii_case(name))
            }
            Name::ContentLength if self.body.is_some() => true,
            name => self.changes.iter().any(|(n, _)| *n == name),
        }
    }

    fn push_changed(&self, out: &mut Vec<u8>, field: &Field, end: usize) {
        // Unknown names are only ever touched to be removed; the length of another body is written at the end.
        if field.name == Name::Other || field.name == Name::ContentLength && self.body.is_some() {
            return;
        }
        let is_first = self
            .message
            .first_field(field.name)
            .is_some_and(|f| f.name_at == field.name_at);
        let line = self.message.at(field.value);
        let cut = if field.name.is_list() {
            lex::comma(line).unwrap_or(line.len())
        } else {
            line.len()
        };
        let mut first: Cow<'_, [u8]> = Cow::Borrowed(&line[..cut]);
        let mut rest: &[u8] = &line[cut..];
        for (_, change) in self.changes.iter().filter(|(n, _)| *n == field.name) {
            match change {
                Change::DropAll => return,
                _ if !is_first => return out.extend_from_slice(&self.message.bytes[usize::from(field.name_at)..end]),
                Change::SetFirst(value) => first = Cow::Borrowed(value),
                Change::Received(source) => first = Cow::Owned(stamped(&first, *source)),
                Change::DropFirst if rest.is_empty() => return,
                Change::DropFirst => {
                    let after = lex::skip_lws(&rest[1..]);
                    let cut = lex::comma(after).unwrap_or(after.len());
                    (first, rest) = (Cow::Borrowed(&after[..cut]), &after[cut..]);
                }
            }
        }
        out.extend_from_slice(self.message.name_of(field));
        out.extend_from_slice(b": ");
        push_copy(out, &first, false);
        push_copy(out, rest, self.message.is_plain);
        out.extend_from_slice(b"\r\n");
    }
}

fn stamped(value: &[u8], source: SocketAddr) -> Vec<u8> {
    let value = lex::trim_end(value);
    let mut out = Vec::with_capacity(value.len() + 48);
    match Via::parse(value) {
        Ok(via) => push_stamped(&mut out, value, &via, source),
        Err(_) => out.extend_from_slice(value),
    }
    out
}

fn push_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    push_clean(out, value);
    out.extend_from_slice(b"\r\n");
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(b"Content-Length: ");
    push_number(out, length as u64);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "INVITE sip:bob@tandem.example SIP/2.0\r\n\
        Route: <sip:us.example;lr>,  <sip:next.example;lr>\r\n\
        Via:SIP/2.0/UDP ann.example;rport;branch=z9hG4bKa1\r\n\
        v : SIP/2.0/UDP 192.0.2.8;branch=z9hG4bK9z\r\n\
        Max-Forwards: 0070\r\n\
        x-ODD:   ;;,,\r\n\t folded  \r\n\
        f: <sip:ann@tandem.example>;tag=fa1\r\n\
        t: <sip:b%6Fb@tandem.example>\r\n\
        Call-ID: c1\r\n\
        CSeq: 7 INVITE\r\n\
        l: 4\r\n\r\n\0\r\nx";

    fn message(text: &str) -> Message {
        Message::parse(Bytes::from(text.to_owned())).unwrap()
    }

    fn lines(bytes: &Bytes) -> Vec<String> {
        String::from_utf8_lossy(bytes)
            .split("\r\n")
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn without_changes_it_is_the_identity() {
        let m = message(REQUEST);
        assert_eq!(Splice::of(&m).finish(), m.bytes());
    }

    #[test]
    fn changes_only_what_a_proxy_must() {
        let m = message(REQUEST);
        let out = Splice::of(&m)
            .request_uri(&b"sip:bob@192.0.2.77:5066"[..])
            .received("192.0.2.10:1024".parse().unwrap())
            .decrement_max_forwards()
            .remove_first(Name::Route)
            .prepend(Name::RecordRoute, &b"<sip:us.example;lr>"[..])
            .prepend(Name::Via, &b"SIP/2.0/UDP us.example;branch=z9hG4bKnew"[..])
            .finish();
        let expected = REQUEST
            .replace("sip:bob@tandem.example", "sip:bob@192.0.2.77:5066")
            .replace(
                "Route: <sip:us.example;lr>,  <sip:next.example;lr>\r\n",
                "Via: SIP/2.0/UDP us.example;branch=z9hG4bKnew\r\nRecord-Route: <sip:us.example;lr>\r\nRoute: <sip:next.example;lr>\r\n",
            )
            .replace("Via:SIP/2.0/UDP ann.example;rport;", "Via: SIP/2.0/UDP ann.example;rport=1024;")
            .replace("branch=z9hG4bKa1", "branch=z9hG4bKa1;received=192.0.2.10")
            .replace("0070", "69");
        assert_eq!(lines(&out), lines(&Bytes::from(expected)));
        assert!(Message::parse(out).is_ok());
    }

    #[test]
    fn another_status_brings_its_reason_phrase() {
        let m = message(
            "SIP/2.0 503 Too Much\r\nVia: SIP/2.0/UDP a\r\nVia: SIP/2.0/UDP b\r\nf: <sip:a@b>\r\nt: <sip:a@b>\r\n\
             i: c\r\nCSeq: 1 X\r\nl: 0\r\n\r\n",
        );
        let out = Splice::of(&m).status(500).remove_first(Name::Via).finish();
        assert_eq!(
            lines(&out)[..2],
            ["SIP/2.0 500 Server Internal Error", "Via: SIP/2.0/UDP b"]
        );
    }

    #[test]
    fn removing_the_last_value_removes_the_line() {
        let m = message(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\nVia: SIP/2.0/UDP b\r\nf: <sip:a@b>\r\nt: <sip:a@b>\r\n\
             i: c\r\nCSeq: 1 X\r\n\r\n",
        );
        let out = Splice::of(&m).remove_first(Name::Via).finish();
        assert_eq!(
            Message::parse(out).unwrap().values(Name::Via).collect::<Vec<_>>(),
            [b"SIP/2.0/UDP b"]
        );
    }

    #[test]
    fn headers_are_removed_replaced_and_added() {
        let m = message(REQUEST);
        let out = Splice::of(&m)
            .remove_named("X-Odd")
            .replace(Name::Route, &b"<sip:only.example;lr>"[..])
            .append(Name::PAssertedIdentity, &b"<sip:ann@tandem.example>\r\nX-Evil: 1"[..])
            .append_named("X-\r\nNew:", &b"1"[..])
            .finish();
        let m = Message::parse(out).unwrap();
        assert_eq!(m.header_named("x-odd"), None);
        assert_eq!(m.values(Name::Route).collect::<Vec<_>>(), [b"<sip:only.example;lr>"]);
        assert_eq!(m.header_named("X-New"), Some(&b"1"[..]));
        assert_eq!(m.header_named("X-Evil"), None);
    }

    #[test]
    fn another_body_brings_its_length() {
        let m = message(REQUEST);
        let out = Message::parse(Splice::of(&m).body(&b"longer body"[..]).finish()).unwrap();
        assert_eq!(
            (out.body_bytes(), out.values(Name::ContentLength).count()),
            (&b"longer body"[..], 1)
        );
    }

    #[test]
    fn a_missing_length_is_added() {
        let m = message(&REQUEST.replace("l: 4\r\n", ""));
        assert_eq!(
            Message::parse(Splice::of(&m).finish())
                .unwrap()
                .header(Name::ContentLength),
            Some(&b"4"[..])
        );
    }
}
