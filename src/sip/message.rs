//! One scan of the bytes finds the spans of start line, header fields and body; typed views are parsed when asked.

use crate::header::{CSeq, Invalid, NameAddr, Noted, Value, Via, lex};
use crate::transaction::key::Key;
use crate::{Method, Name, Uri};
use bytes::Bytes;
use smallvec::SmallVec;
use std::ops::{Deref, DerefMut};

/// Largest message: spans are 16 bits wide, and a UDP datagram cannot be larger.
pub const MAX_MESSAGE: usize = u16::MAX as usize;

/// Most header fields. Real messages have 10 to 40; the index by name is one byte each, with 255 for "none".
pub const MAX_HEADERS: usize = u8::MAX as usize;

/// Longest header line with its continuation lines: several times the longest that real identity tokens need.
pub const MAX_HEADER_LINE: usize = 8 * 1024;

/// A request or response whose framing and mandatory fields are sound.
///
/// Header values are given as received: trimmed of outer white space, inner folding kept. What was read of it lies in a box:
/// on its way through queues and rooms a message is moved a dozen times.
#[derive(Clone, Debug)]
pub struct Message(Box<Parts>);

/// What was read of a [`Message`]: shared bytes, and spans of them.
#[derive(Clone, Debug)]
pub struct Parts {
    pub(crate) bytes: Bytes,
    pub(crate) start: Start,
    /// Where the header fields begin, behind the start line.
    pub(crate) head: u16,
    /// Where the body begins, behind the empty line.
    pub(crate) body: u16,
    pub(crate) cseq: u32,
    pub(crate) method: Method,
    pub(crate) method_span: Span,
    pub(crate) from_tag: Span,
    pub(crate) to_tag: Span,
    /// No value is folded and no NUL stands in the header: what is copied can go as it is.
    pub(crate) is_plain: bool,
    /// What the check has read of the top Via, From and To, so that nobody reads it again; none before, and where they
    /// are broken.
    pub(crate) via: Option<ViaPlace>,
    pub(crate) from: Option<AddressPlace>,
    pub(crate) to: Option<AddressPlace>,
    /// The transaction it is in, once the endpoint has found out.
    pub(crate) transaction: Option<Key>,
    pub(crate) first: [u8; Name::COUNT],
    pub(crate) fields: SmallVec<[Field; 32]>,
}

impl Deref for Message {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Message {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

/// A piece of the message.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub at: u16,
    pub len: u16,
}

/// Where the pieces of a [`Via`] stand.
#[derive(Copy, Clone, Debug)]
pub(crate) struct ViaPlace {
    pub protocol: Span,
    pub host: Span,
    pub port: Option<u16>,
    pub params: Span,
    pub noted: Noted<Span>,
}

/// Where the pieces of a [`NameAddr`] stand; the tag has its own place.
#[derive(Copy, Clone, Debug)]
pub(crate) struct AddressPlace {
    pub display: Span,
    pub uri: Span,
    pub params: Span,
}

/// One header field: eight bytes. Its line ends where the next one, or the empty line, begins.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Field {
    pub name_at: u16,
    pub name_len: u8,
    pub name: Name,
    pub value: Span,
}

/// The start line.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Start {
    Request { uri: Span },
    Response { status: u16, reason: Span },
}

/// What [`Message::first`] holds for a name that is not there.
pub(crate) const NONE: u8 = u8::MAX;

/// Why bytes are not a message, and what may be said about it.
#[derive(Clone, Debug)]
pub enum Malformed {
    /// Not SIP, or a response or ACK that is broken: say nothing (RFC 3261 sections 16.11, 18.1.2; RFC 4475).
    Drop(&'static str),
    /// A broken request that has a Via, and so can be answered.
    Answer {
        /// 400, 413 or 505.
        status: u16,
        /// Reason phrase: what was wrong.
        reason: &'static str,
        /// What could be read, for copying into the answer: any of From, To, Call-ID, CSeq may be missing or broken, and
        /// so may the Via. Good for [`Writer::response`](crate::Writer::response) and for logs, for nothing else.
        message: Box<Message>,
    },
}

impl Message {
    pub(crate) fn of(parts: Parts) -> Message {
        Message(Box::new(parts))
    }

    /// Reads one datagram, or one message cut from a stream by [`crate::frame`](crate). A Content-Length shorter than the
    /// datagram cuts the rest off; a longer one is an error; none on UDP means the body runs to the end.
    pub fn parse(bytes: Bytes) -> Result<Message, Malformed> {
        let (mut message, fault) = crate::scan::scan(bytes)?;
        match fault.or(crate::validate::check(&mut message).err()) {
            None => Ok(message),
            Some(fault) => Err(message.malformed(fault)),
        }
    }

    fn malformed(self, fault: Fault) -> Malformed {
        // An ACK is never answered, nor is a response; without any Via there is nobody to answer.
        let answerable = self.is_request() && self.method != Method::Ack && self.header(Name::Via).is_some();
        if !answerable {
            return Malformed::Drop(fault.reason);
        }
        Malformed::Answer {
            status: fault.status,
            reason: fault.reason,
            message: Box::new(self),
        }
    }

    /// True for a request.
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The request's method, or the CSeq method of a response.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Its text, also when it is [`Method::Other`].
    #[must_use]
    pub fn method_bytes(&self) -> &[u8] {
        self.at(self.method_span)
    }

    /// Request-URI as received; empty for a response.
    #[must_use]
    pub fn request_uri(&self) -> &[u8] {
        match self.start {
            Start::Request { uri } => self.at(uri),
            Start::Response { .. } => b"",
        }
    }

    /// Request-URI taken apart; it was checked when the message was read, so only a response has none.
    pub fn uri(&self) -> Result<Uri<'_>, Invalid> {
        Uri::parse(self.request_uri())
    }

    /// Status code; 0 for a request.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.start {
            Start::Request { .. } => 0,
            Start::Response { status, .. } => status,
        }
    }

    /// Reason phrase; empty for a request.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        match self.start {
            Start::Request { .. } => b"",
            Start::Response { reason, .. } => self.at(reason),
        }
    }

    /// The first field of that name.
    #[must_use]
    pub fn header(&self, name: Name) -> Option<&[u8]> {
        self.first_field(name).map(|field| self.at(field.value))
    }

    /// The first field with that name, for names that are not known.
    #[must_use]
    pub fn header_named(&self, name: &str) -> Option<&[u8]> {
        match Name::from_bytes(name.as_bytes()) {
            Name::Other => self
                .fields()
                .find(|(_, n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
                .map(|(_, _, v)| v),
            known => self.header(known),
        }
    }

    /// Every line of that name as it is, in order: for headers that are no lists, such as Authorization.
    pub fn lines(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.fields_of(name).map(|field| self.at(field.value))
    }

    /// Every value of that name over all its lines, comma-separated lists taken apart (quotes and `<>` respected) where
    /// [`Name::is_list`] says so. An empty place between commas is an empty value; a wholly empty line has none.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let lines = self.lines(name).filter(|line| !line.is_empty());
        lines.flat_map(move |line| lex::values(line, name.is_list()))
    }

    /// All fields in order: known name or `Other`, name as written, value.
    pub fn fields(&self) -> impl Iterator<Item = (Name, &[u8], &[u8])> {
        self.fields.iter().map(|f| (f.name, self.name_of(f), self.at(f.value)))
    }

    /// Top Via; `None` only in a [`Malformed::Answer`].
    #[must_use]
    pub fn via(&self) -> Option<Via<'_>> {
        match self.via {
            Some(place) => Some(Via::checked(
                self.at(place.protocol),
                self.at(place.host),
                place.port,
                self.at(place.params),
                place.noted.map(|span| self.at(span)),
            )),
            None => self.values(Name::Via).next().and_then(|v| Via::parse(v).ok()),
        }
    }

    /// Branch of the top Via; empty if none (RFC 2543).
    #[must_use]
    pub fn branch(&self) -> &[u8] {
        let branch = self.via.and_then(|place| place.noted.branch);
        self.at(branch.unwrap_or_default())
    }

    /// From; fails only in a [`Malformed::Answer`], as do the next ones.
    pub fn from(&self) -> Result<NameAddr<'_>, Invalid> {
        self.party(self.from, self.from_tag, Name::From)
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr<'_>, Invalid> {
        self.party(self.to, self.to_tag, Name::To)
    }

    fn party(&self, place: Option<AddressPlace>, tag: Span, name: Name) -> Result<NameAddr<'_>, Invalid> {
        let Some(place) = place else {
            return self.address(name);
        };
        let (display, uri, params) = (self.at(place.display), self.at(place.uri), self.at(place.params));
        Ok(NameAddr::checked(display, uri, params, self.at(tag)))
    }

    /// The one value of a header such as Refer-To, Referred-By, P-Asserted-Identity (the first); an error if missing.
    pub fn address(&self, name: Name) -> Result<NameAddr<'_>, Invalid> {
        let value = self.values(name).next().ok_or(Invalid("header missing"))?;
        NameAddr::parse(value)
    }

    /// All values of an address list: Contact, Route, Record-Route, Path, P-Asserted-Identity. A Contact of `*` is an
    /// error here: ask [`Message::contact_is_star`] first.
    pub fn addresses(&self, name: Name) -> impl Iterator<Item = Result<NameAddr<'_>, Invalid>> {
        self.values(name).map(NameAddr::parse)
    }

    /// True for `Contact: *` (RFC 3261 section 10.2.2).
    #[must_use]
    pub fn contact_is_star(&self) -> bool {
        self.header(Name::Contact) == Some(b"*")
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &[u8] {
        self.header(Name::CallId).unwrap_or_default()
    }

    /// CSeq number.
    #[must_use]
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// Tag of From; empty if none (RFC 2543).
    #[must_use]
    pub fn from_tag(&self) -> &[u8] {
        self.at(self.from_tag)
    }

    /// Tag of To; empty if none.
    #[must_use]
    pub fn to_tag(&self) -> &[u8] {
        self.at(self.to_tag)
    }

    /// Max-Forwards; `None` if missing or above 255, which counts as missing (RFC 4475 section 3.1.2.4).
    #[must_use]
    pub fn max_forwards(&self) -> Option<u8> {
        self.header(Name::MaxForwards)
            .and_then(lex::digits)
            .and_then(|n| u8::try_from(n).ok())
    }

    /// Expires in seconds; too large is the largest, broken or missing is none.
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        self.header(Name::Expires).and_then(lex::seconds)
    }

    /// Content-Type.
    #[must_use]
    pub fn content_type(&self) -> Option<Value<'_>> {
        self.header(Name::ContentType).and_then(|v| Value::parse(v).ok())
    }

    /// CSeq as it stands.
    pub fn cseq_header(&self) -> Result<CSeq<'_>, Invalid> {
        CSeq::parse(self.header(Name::CSeq).unwrap_or_default())
    }

    /// True if a list of tokens (Supported, Require, Allow) over all its lines holds `token`. Option tags compare without
    /// case, as tokens do (section 7.3.1); methods are upper case everywhere.
    #[must_use]
    pub fn lists(&self, name: Name, token: &str) -> bool {
        self.values(name).any(|v| v.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The body as sent.
    #[must_use]
    pub fn body(&self) -> Bytes {
        self.bytes.slice(usize::from(self.body)..)
    }

    /// The same, borrowed.
    #[must_use]
    pub fn body_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.body)..]
    }

    /// All bytes as received, from the start line to the end of the body.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// A piece of this message's bytes as shared bytes: keeps the datagram alive, copies nothing. `piece` must come from
    /// this message.
    #[must_use]
    pub fn share(&self, piece: &[u8]) -> Bytes {
        if piece.is_empty() {
            Bytes::new()
        } else {
            self.bytes.slice_ref(piece)
        }
    }

    pub(crate) fn at(&self, span: Span) -> &[u8] {
        &self.bytes[usize::from(span.at)..usize::from(span.at) + usize::from(span.len)]
    }

    /// Where `piece`, a slice of this message's bytes, stands.
    pub(crate) fn span_of(&self, piece: &[u8]) -> Span {
        let at = (piece.as_ptr() as usize).wrapping_sub(self.bytes.as_ptr() as usize);
        let end = at.saturating_add(piece.len());
        if piece.is_empty() || end > self.bytes.len() {
            return Span::default();
        }
        span(at, end)
    }

    pub(crate) fn name_of(&self, field: &Field) -> &[u8] {
        self.at(Span {
            at: field.name_at,
            len: u16::from(field.name_len),
        })
    }

    pub(crate) fn first_field(&self, name: Name) -> Option<&Field> {
        let at = *self.first.get(name as usize)?;
        self.fields.get(usize::from(at))
    }

    fn fields_of(&self, name: Name) -> impl Iterator<Item = &Field> {
        let from = match self.first.get(name as usize) {
            Some(&at) => usize::from(at),
            None => 0,
        };
        self.fields.iter().skip(from).filter(move |f| f.name == name)
    }
}

/// Offsets fit: a message is at most [`MAX_MESSAGE`] long.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn span(at: usize, end: usize) -> Span {
    debug_assert!(at <= end && end <= MAX_MESSAGE);
    Span {
        at: at as u16,
        len: (end - at) as u16,
    }
}

/// What a broken request is answered.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub status: u16,
    pub reason: &'static str,
}

impl From<Invalid> for Fault {
    fn from(invalid: Invalid) -> Fault {
        Fault {
            status: 400,
            reason: invalid.0,
        }
    }
}

#[cfg(test)]
mod tests;
