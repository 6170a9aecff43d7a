//! One scan of the bytes finds the spans of start line, header fields and body; typed views are parsed when asked.

use crate::{Method, Name};
use bytes::Bytes;

/// A request or response whose framing and mandatory fields are sound. Cheap to clone (shared bytes, inline spans).
///
/// Header values are given as received: trimmed of outer white space, inner folding kept.
#[derive(Clone, Debug)]
pub struct Message {}

/// Why bytes are not a message, and what may be said about it.
#[derive(Clone, Debug)]
pub enum Malformed {
    /// Not SIP, or a response or ACK that is broken: say nothing (RFC 3261 sections 16.11, 18.1.2; RFC 4475).
    Drop(&'static str),
    /// A broken request that can still be answered: Via, From, To, Call-ID, CSeq could be read well enough to copy.
    Answer {
        /// 400, 505 and the like.
        status: u16,
        /// Reason phrase: what was wrong.
        reason: &'static str,
        /// What could be read, for copying into the answer.
        message: Box<Message>,
    },
}

impl Message {
    /// Reads one datagram, or one message cut from a stream by [`crate::frame`](crate). A Content-Length shorter than the
    /// datagram cuts the rest off; a longer one is an error; none on UDP means the body runs to the end.
    pub fn parse(bytes: Bytes) -> Result<Message, Malformed> {
        let _ = bytes;
        todo!()
    }
    /// True for a request.
    #[must_use]
    pub fn is_request(&self) -> bool {
        todo!()
    }
    /// The request's method, or the CSeq method of a response.
    #[must_use]
    pub fn method(&self) -> Method {
        todo!()
    }
    /// Its text, also when it is [`Method::Other`].
    #[must_use]
    pub fn method_bytes(&self) -> &[u8] {
        todo!()
    }
    /// Request-URI as received; empty for a response.
    #[must_use]
    pub fn request_uri(&self) -> &[u8] {
        todo!()
    }
    /// Status code; 0 for a request.
    #[must_use]
    pub fn status(&self) -> u16 {
        todo!()
    }
    /// Reason phrase; empty for a request.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        todo!()
    }
    /// The first field of that name.
    #[must_use]
    pub fn header(&self, name: Name) -> Option<&[u8]> {
        let _ = name;
        todo!()
    }
    /// The first field with that name, for names that are not known.
    #[must_use]
    pub fn header_named(&self, name: &str) -> Option<&[u8]> {
        let _ = name;
        todo!()
    }
    /// Every value of that name over all its lines, comma-separated lists taken apart (quotes and `<>` respected).
    pub fn values(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let _ = name;
        std::iter::empty()
    }
    /// All fields in order: known name or `Other`, name as written, value.
    pub fn fields(&self) -> impl Iterator<Item = (Name, &[u8], &[u8])> {
        std::iter::empty()
    }
    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &[u8] {
        todo!()
    }
    /// CSeq number.
    #[must_use]
    pub fn cseq(&self) -> u32 {
        todo!()
    }
    /// Tag of From; empty if none (RFC 2543).
    #[must_use]
    pub fn from_tag(&self) -> &[u8] {
        todo!()
    }
    /// Tag of To; empty if none.
    #[must_use]
    pub fn to_tag(&self) -> &[u8] {
        todo!()
    }
    /// The body as sent.
    #[must_use]
    pub fn body(&self) -> Bytes {
        todo!()
    }
    /// All bytes as received.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        todo!()
    }
}
