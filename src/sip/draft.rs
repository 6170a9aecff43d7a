//! Messages on their way out: what the user of the transaction layer decides, before the layer adds its own.
//!
//! A [`Draft`] is a request without Via; [`crate::Endpoint`] adds Via (and so the transaction) when it sends it. A
//! [`Reply`] is what a response says beside what it copies from its request.

use crate::{Message, Method, Name};
use bytes::Bytes;
use std::borrow::Cow;

/// Room for the lines of most replies, taken at once.
const ROOM: usize = 160;

/// Header lines in the order added. Line breaks inside a value become spaces, so no value can add a header of its own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    lines: Vec<u8>,
}

impl Headers {
    /// No headers.
    #[must_use]
    pub fn new() -> Headers {
        Headers::default()
    }

    /// Adds `Name: value`. For [`Name::Other`] use [`Headers::named`].
    #[must_use]
    pub fn with(mut self, name: Name, value: impl AsRef<[u8]>) -> Headers {
        self.add(name, value);
        self
    }

    /// Adds a header whose name is not a known one.
    #[must_use]
    pub fn named(mut self, name: &str, value: impl AsRef<[u8]>) -> Headers {
        self.add_named(name, value);
        self
    }

    /// Adds `Name: value` in place.
    pub fn add(&mut self, name: Name, value: impl AsRef<[u8]>) {
        self.add_named(name.as_str(), value);
    }

    /// Adds a header whose name is not a known one, in place.
    pub fn add_named(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.write_named(name, |lines| lines.extend_from_slice(value.as_ref()));
    }

    /// Adds a header whose value `write` appends, and nothing else, to what it is given.
    pub fn write(&mut self, name: Name, write: impl FnOnce(&mut Vec<u8>)) {
        self.write_named(name.as_str(), write);
    }

    fn write_named(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.lines.reserve(ROOM);
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
        let from = self.lines.len();
        write(&mut self.lines);
        for byte in &mut self.lines[from..] {
            if matches!(*byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.lines.extend_from_slice(b"\r\n");
    }

    /// Adds all of `other` behind these.
    pub fn append(&mut self, other: &Headers) {
        self.lines.extend_from_slice(&other.lines);
    }

    /// The lines, each ended by CRLF.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.lines
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        String::from_utf8_lossy(&self.lines).fmt(f)
    }
}

/// A message body with its Content-Type. This crate does not look inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Content-Type, e.g. `application/sdp`.
    pub content_type: Cow<'static, str>,
    /// The bytes.
    pub content: Bytes,
}

impl Body {
    /// An `application/sdp` body.
    #[must_use]
    pub fn sdp(content: impl Into<Bytes>) -> Body {
        Body {
            content_type: Cow::Borrowed("application/sdp"),
            content: content.into(),
        }
    }

    /// The body of a message that was received; `None` if it is empty.
    #[must_use]
    pub fn of(message: &Message) -> Option<Body> {
        let content = message.body();
        let content_type = message.header(Name::ContentType).unwrap_or(b"application/octet-stream");
        let content_type = match content_type {
            b"application/sdp" => Cow::Borrowed("application/sdp"),
            other => Cow::Owned(String::from_utf8_lossy(other).into_owned()),
        };
        (!content.is_empty()).then_some(Body { content_type, content })
    }
}

/// A request before it has a Via.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its method.
    pub method: Method,
    /// Request-URI.
    pub uri: Vec<u8>,
    /// Everything but Via, Content-Type and Content-Length.
    pub headers: Headers,
    /// Body, if any.
    pub body: Option<Body>,
}

impl Draft {
    /// A request outside any dialog with its mandatory headers and `Max-Forwards: 70`. `from` has its tag (see
    /// [`crate::Endpoint::new_tag`]); `to` has none.
    #[must_use]
    pub fn new(method: Method, uri: impl AsRef<[u8]>, from: &str, to: &str, call_id: &str, cseq: u32) -> Draft {
        let headers = Headers::new()
            .with(Name::MaxForwards, "70")
            .with(Name::From, from)
            .with(Name::To, to)
            .with(Name::CallId, call_id)
            .with(Name::CSeq, format!("{cseq} {}", method.as_str()));
        Draft {
            method,
            uri: uri.as_ref().to_vec(),
            headers,
            body: None,
        }
    }

    /// Adds `Name: value`.
    #[must_use]
    pub fn header(mut self, name: Name, value: impl AsRef<[u8]>) -> Draft {
        self.headers.add(name, value);
        self
    }

    /// Adds many headers.
    #[must_use]
    pub fn headers(mut self, more: &Headers) -> Draft {
        self.headers.append(more);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Draft {
        self.body = Some(body);
        self
    }
}

/// A response before it has what it copies from its request (Via, From, To, Call-ID, CSeq).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Status code, 100 to 699.
    pub status: u16,
    /// Reason phrase.
    pub reason: Cow<'static, str>,
    /// To-tag; if none is given the endpoint makes one: a random one for a transaction, a keyed hash without one.
    pub to_tag: Option<Tag>,
    /// Further headers.
    pub headers: Headers,
    /// Body, if any.
    pub body: Option<Body>,
}

impl Reply {
    /// A response with the reason phrase of RFC 3261 section 21 (or the RFC that adds the status).
    #[must_use]
    pub fn new(status: u16) -> Reply {
        Reply {
            status,
            reason: Cow::Borrowed(reason(status)),
            to_tag: None,
            headers: Headers::new(),
            body: None,
        }
    }

    /// Another reason phrase.
    #[must_use]
    pub fn reason(mut self, text: impl Into<Cow<'static, str>>) -> Reply {
        self.reason = text.into();
        self
    }

    /// Adds `Name: value`.
    #[must_use]
    pub fn header(mut self, name: Name, value: impl AsRef<[u8]>) -> Reply {
        self.headers.add(name, value);
        self
    }

    /// Adds many headers.
    #[must_use]
    pub fn headers(mut self, more: &Headers) -> Reply {
        self.headers.append(more);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Reply {
        self.body = Some(body);
        self
    }
}

/// A From- or To-tag of ours: 64 random bits, written as 16 hexadecimal digits (RFC 3261 section 19.3 asks for 32).
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub u64);

impl Tag {
    /// Reads a tag that `Display` wrote; `None` for anything else, which then is not one of ours.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Tag> {
        if text.len() != 16 {
            return None;
        }
        text.iter()
            .try_fold(0u64, |tag, &digit| {
                let value = match digit {
                    b'0'..=b'9' => digit - b'0',
                    b'a'..=b'f' => digit - b'a' + 10,
                    _ => return None,
                };
                Some(tag << 4 | u64::from(value))
            })
            .map(Tag)
    }
}

impl Tag {
    /// As text, in a buffer of the caller.
    pub(crate) fn write(self, digits: &mut [u8; 16]) -> &str {
        for (i, digit) in digits.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(self.0 >> (60 - 4 * i)) as usize & 15];
        }
        std::str::from_utf8(digits).unwrap_or_default()
    }
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The usual reason phrase of a status.
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        199 => "Early Dialog Terminated",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        430 => "Flow Failed",
        439 => "First Hop Lacks Outbound Support",
        440 => "Max-Breadth Exceeded",
        469 => "Bad Info Package",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        494 => "Security Agreement Required",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        555 => "Push Notification Service Not Supported",
        580 => "Precondition Failure",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        _ => match status / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}
