//! Writing messages: one growing buffer, fields in the order given, Content-Length last.

use crate::{Message, Method, Name};
use bytes::Bytes;

/// Writes one message into one buffer.
#[derive(Debug)]
pub struct Writer {}

impl Writer {
    /// `METHOD uri SIP/2.0`.
    #[must_use]
    pub fn request(method: Method, uri: &[u8]) -> Writer {
        let _ = (method, uri);
        todo!()
    }
    /// `SIP/2.0 status reason`, then Via values, From, To (with `to_tag` added if it has none and status is not 100),
    /// Call-ID and CSeq copied from the request (RFC 3261 section 8.2.6). Top Via gets `received` and `rport` of `source`
    /// (section 18.2.1, RFC 3581).
    #[must_use]
    pub fn response(
        request: &Message,
        status: u16,
        reason: &str,
        to_tag: &str,
        source: std::net::SocketAddr,
    ) -> Writer {
        let _ = (request, status, reason, to_tag, source);
        todo!()
    }
    /// Adds `Name: value`.
    #[must_use]
    pub fn header(self, name: Name, value: impl AsRef<[u8]>) -> Writer {
        let _ = (name, value.as_ref());
        todo!()
    }
    /// Adds a header whose name is not a known one.
    #[must_use]
    pub fn header_named(self, name: &str, value: impl AsRef<[u8]>) -> Writer {
        let _ = (name, value.as_ref());
        todo!()
    }
    /// Adds Content-Type, Content-Length, the empty line and the body.
    #[must_use]
    pub fn body(self, content_type: &str, body: &[u8]) -> Bytes {
        let _ = (content_type, body);
        todo!()
    }
    /// Adds `Content-Length: 0` and the empty line.
    #[must_use]
    pub fn finish(self) -> Bytes {
        todo!()
    }
}
