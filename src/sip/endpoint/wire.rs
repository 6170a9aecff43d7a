//! The bytes of requests and responses: what the TU decided, and around it what the transaction layer adds.

use super::core::{DEFAULT_PORT, SentBy};
use crate::draft::{Body, Draft, Headers, Reply, Tag};
use crate::header::Via;
use crate::print::Pages;
use crate::{Flow, Message, Method, Name, Splice, Transport, Writer};
use bytes::Bytes;
use std::io::Write;
use std::net::SocketAddr;

/// The branch of a Via of ours: where the transaction is, and 64 random bits that no one else knows.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    pub index: u32,
    pub random: u64,
}

impl Branch {
    /// Reads a branch that `push_via` wrote, with a mark or without; `None` is none of ours.
    pub fn parse(branch: &[u8]) -> Option<Branch> {
        let digits = branch
            .strip_prefix(crate::header::MAGIC_COOKIE)
            .filter(|d| d.len() == PLAIN || d.len() == MARKED)?;
        let index = u32::from_str_radix(std::str::from_utf8(&digits[..8]).ok()?, 16).ok()?;
        Some(Branch {
            index,
            random: Tag::parse(&digits[8..PLAIN])?.0,
        })
    }
}

/// Digits of a branch: index and random bits, and with a mark.
const PLAIN: usize = 24;
const MARKED: usize = PLAIN + 16;

/// The mark of a branch of ours that has one.
pub(super) fn mark(branch: &[u8]) -> Option<u64> {
    let digits = branch.strip_prefix(crate::header::MAGIC_COOKIE)?;
    let mark = digits.get(PLAIN..).filter(|_| digits.len() == MARKED)?;
    Some(Tag::parse(mark)?.0)
}

/// Above this a request to a UDP address goes over TCP (RFC 3261 section 18.1.1: 200 bytes below the usual MTU).
pub(super) const LARGEST_DATAGRAM: usize = 1_300;

/// A request with our Via on top.
pub(super) fn request(
    draft: &Draft,
    transport: Transport,
    sent_by: SentBy<'_>,
    branch: Branch,
    asks_load: bool,
) -> Bytes {
    let body = draft.body.as_ref().map_or(&b""[..], |b| &b.content);
    let mut out = Vec::with_capacity(256 + draft.uri.len() + draft.headers.as_bytes().len() + body.len());
    out.extend_from_slice(draft.method.as_str().as_bytes());
    out.push(b' ');
    // White space would end the URI, and a line break the line.
    out.extend(draft.uri.iter().filter(|b| !b.is_ascii_control() && **b != b' '));
    out.extend_from_slice(b" SIP/2.0\r\n");
    push_via(&mut out, transport, sent_by, branch, (None, asks_load));
    out.extend_from_slice(draft.headers.as_bytes());
    push_body(&mut out, draft.body.as_ref());
    Bytes::from(out)
}

/// Whoever is asked for his load is told that we know how to heed it (RFC 7339 section 4.1).
fn push_via(
    out: &mut Vec<u8>,
    transport: Transport,
    sent_by: SentBy<'_>,
    branch: Branch,
    (mark, asks_load): (Option<u64>, bool),
) {
    out.extend_from_slice(b"Via: SIP/2.0/");
    out.extend_from_slice(transport.as_str().as_bytes());
    // Writing into a Vec cannot fail.
    let _ = write!(out, " {sent_by};branch=z9hG4bK");
    let mut digits = [0; 16];
    out.extend_from_slice(&Tag(u64::from(branch.index)).write(&mut digits).as_bytes()[8..]);
    for number in std::iter::once(branch.random).chain(mark) {
        out.extend_from_slice(Tag(number).write(&mut digits).as_bytes());
    }
    let load: &[u8] = if asks_load { b";oc;oc-algo=\"loss\"" } else { b"" };
    out.extend_from_slice(b";rport");
    out.extend_from_slice(load);
    out.extend_from_slice(b"\r\n");
}

fn push_body(out: &mut Vec<u8>, body: Option<&Body>) {
    if let Some(body) = body {
        let _ = write!(
            out,
            "Content-Type: {}\r\n",
            body.content_type.replace(['\r', '\n'], " ")
        );
    }
    let content = body.map_or(&b""[..], |b| &b.content);
    let _ = write!(out, "Content-Length: {}\r\n\r\n", content.len());
    out.extend_from_slice(content);
}

/// A forwarded request, complete but for our Via (RFC 3261 section 16.6 step 8).
pub(super) fn forwarded(
    request: &Splice<'_>,
    transport: Transport,
    sent_by: SentBy<'_>,
    branch: Branch,
    mark_and_load: (Option<u64>, bool),
) -> Bytes {
    let mut out = Vec::with_capacity(request.room());
    request.write(&mut out, |out| push_via(out, transport, sent_by, branch, mark_and_load));
    Bytes::from(out)
}

/// A response of a branch that is passed on.
pub(super) fn passed(pages: &mut Pages, response: &Splice<'_>) -> Bytes {
    let mut out = pages.writer().end_early();
    response.write(&mut out, |_| ());
    pages.keep(out)
}

/// The same request for TCP because it is large; `UDP` and `TCP` in our Via are equally long.
pub(super) fn over_tcp(request: &Bytes) -> Bytes {
    with_transport(request, b"Via: SIP/2.0/TCP ")
}

/// The same request for UDP after all, because TCP was refused.
pub(super) fn over_udp(request: &Bytes) -> Bytes {
    with_transport(request, b"Via: SIP/2.0/UDP ")
}

fn with_transport(request: &Bytes, via: &[u8]) -> Bytes {
    let mut bytes = request.to_vec();
    // Ours is the first line after the start line, which cannot hold this text: there is no space in a URI.
    if let Some(at) = memchr::memmem::find(&bytes, b"\r\nVia: SIP/2.0/") {
        bytes[at + 2..at + 2 + via.len()].copy_from_slice(via);
    }
    Bytes::from(bytes)
}

/// The same request for another way: another Via of ours, and so another transaction. Its mark stays.
pub(super) fn with_via(request: &[u8], transport: Transport, sent_by: SentBy<'_>, branch: Branch) -> Bytes {
    let Some((from, to)) = our_via(request) else {
        return Bytes::copy_from_slice(request);
    };
    let old = Via::parse(&request[from + 5..to - 2]).ok();
    let asks_load = old.is_some_and(|via| via.params.has("oc"));
    let mark = old.and_then(|via| mark(via.branch()?));
    let mut out = Vec::with_capacity(request.len() + 64);
    out.extend_from_slice(&request[..from]);
    push_via(&mut out, transport, sent_by, branch, (mark, asks_load));
    out.extend_from_slice(&request[to..]);
    Bytes::from(out)
}

/// The same request from another listener; the branch stays.
pub(super) fn with_sent_by(request: &[u8], transport: Transport, sent_by: SentBy<'_>) -> Bytes {
    let via = our_via(request).and_then(|(from, to)| Via::parse(&request[from + 5..to - 2]).ok());
    match via.and_then(|via| Branch::parse(via.branch()?)) {
        Some(branch) => with_via(request, transport, sent_by, branch),
        None => Bytes::copy_from_slice(request),
    }
}

/// Our Via is the first one: where its line begins, and where the next line does.
fn our_via(request: &[u8]) -> Option<(usize, usize)> {
    let from = memchr::memmem::find(request, b"\r\nVia: SIP/2.0/")? + 2;
    let to = from + memchr::memmem::find(&request[from..], b"\r\n")? + 2;
    Some((from, to))
}

/// The same request for another contact of its device: another Request-URI, and other Routes in place of those it has.
pub(super) fn redirected(request: &[u8], uri: &[u8], route: &[u8]) -> Bytes {
    let end = memchr::memmem::find(request, b"\r\n\r\n").map_or(request.len(), |at| at + 2);
    let mut out = Vec::with_capacity(request.len() + uri.len() + route.len());
    for (number, line) in request[..end].split_inclusive(|byte| *byte == b'\n').enumerate() {
        match number {
            0 => {
                let method = line.split(|byte| *byte == b' ').next().unwrap_or_default();
                out.extend_from_slice(&[method, b" ", uri, b" SIP/2.0\r\n"].concat());
            }
            _ if line.starts_with(b"Route:") => {}
            _ => out.extend_from_slice(line),
        }
        if number == 1 && !route.is_empty() {
            out.extend_from_slice(&[b"Route: ", route, b"\r\n"].concat());
        }
    }
    out.extend_from_slice(&request[end..]);
    Bytes::from(out)
}

/// ACK to a refusal: the INVITE's Request-URI, Via, From, Call-ID, Route; the refusal's To (RFC 3261 section 17.1.1.3).
pub(super) fn ack(invite: &Message, refusal: &Message) -> Bytes {
    let to = refusal.header(Name::To).unwrap_or_default();
    hop_by_hop(Method::Ack, invite, to).finish()
}

/// CANCEL: as the INVITE, and To as well (section 9.1). `headers`: Reason.
pub(super) fn cancel(invite: &Message, headers: &Headers) -> Bytes {
    let to = invite.header(Name::To).unwrap_or_default();
    hop_by_hop(Method::Cancel, invite, to)
        .lines(headers.as_bytes())
        .finish()
}

fn hop_by_hop(method: Method, invite: &Message, to: &[u8]) -> Writer {
    let via = invite.values(Name::Via).next().unwrap_or_default();
    let mut writer = Writer::request(method, invite.request_uri()).header(Name::Via, via);
    for route in invite.values(Name::Route) {
        writer = writer.header(Name::Route, route);
    }
    writer
        .header(Name::MaxForwards, "70")
        .header(Name::From, invite.header(Name::From).unwrap_or_default())
        .header(Name::To, to)
        .header(Name::CallId, invite.call_id())
        .cseq(invite.cseq(), method.as_str().as_bytes())
}

/// A response. `tag` is for a To that has none.
pub(super) fn response(
    pages: &mut Pages,
    request: &Message,
    reply: &Reply,
    tag: Option<Tag>,
    source: SocketAddr,
) -> Bytes {
    let mut digits = [0; 16];
    let tag = tag.map_or("", |tag| tag.write(&mut digits));
    let writer = pages
        .writer()
        .answering(request, reply.status, &reply.reason, tag, source)
        .lines(reply.headers.as_bytes());
    pages.keep(match &reply.body {
        Some(body) => writer.header(Name::ContentType, &*body.content_type).end(&body.content),
        None => writer.end(b""),
    })
}

/// Where the responses to a request go (RFC 3261 section 18.2.2, RFC 3581 section 4).
#[derive(Copy, Clone, Debug)]
pub(super) struct Way {
    pub flow: Flow,
    /// Where to, if that was a stream and is gone: the source address, the port of sent-by.
    pub anew: SocketAddr,
}

impl Way {
    /// Over a stream: back on it. Over UDP with `rport`: to the source. Without: to the source address and the port of
    /// sent-by, if the sender knows its own address; if it does not (a name, or an address behind a NAT) that port means
    /// nothing to us and the source port is the better guess. `maddr` is not obeyed: it would aim our answers at others.
    pub fn back(flow: Flow, via: Option<&Via<'_>>) -> Way {
        let anew = SocketAddr::new(
            flow.peer.ip(),
            via.and_then(|v| v.port).unwrap_or(default_port(flow.transport)),
        );
        let symmetric = via.is_none_or(|via| via.rport().is_some() || via.ip() != Some(flow.peer.ip()));
        let peer = if flow.transport.is_reliable() || symmetric {
            flow.peer
        } else {
            anew
        };
        Way {
            flow: Flow { peer, ..flow },
            anew,
        }
    }
}

fn default_port(transport: Transport) -> u16 {
    if transport == Transport::Tls {
        DEFAULT_PORT + 1
    } else {
        DEFAULT_PORT
    }
}
