//! RTP and RTCP (RFC 3550) on the wire and per stream.

pub mod feedback;
pub mod header;
pub mod key_press;
pub mod latch;
pub mod outgoing;
pub mod rtcp;
pub mod source;

pub use header::RtpHeader;
