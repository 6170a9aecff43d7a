//! Bodies of MESSAGE that say something about messages: envelopes (RFC 3862), notifications (RFC 5438), who is typing
//! (RFC 3994), the shape of multipart bodies (RFC 2046), and of PUBLISH what a device says of its user (RFC 3863). Each reader has a bound for whatever its input can make grow.

pub mod composing;
pub mod cpim;
pub mod imdn;
pub mod multipart;
pub mod pidf;
pub mod xml;

/// Why a body cannot be read, in words for a log line.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub &'static str);

/// `text/plain` of `text/plain; charset=utf-8`.
#[must_use]
pub fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Whether a Content-Type names this media type.
#[must_use]
pub fn is(content_type: &str, wanted: &str) -> bool {
    media_type(content_type).eq_ignore_ascii_case(wanted)
}
