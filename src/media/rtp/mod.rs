//! RTP and RTCP (RFC 3550) on the wire and per stream.

pub mod feedback;
pub mod header;
pub mod key_press;
pub mod latch;
pub mod outgoing;
pub mod rtcp;
pub mod source;

pub use header::RtpHeader;

/// Clock units in so many nanoseconds. Once or twice for each packet, so not in 128 bits.
fn units_in(nanos: u64, clock: u32) -> u64 {
    let (seconds, rest, clock) = (nanos / 1_000_000_000, nanos % 1_000_000_000, u64::from(clock));
    seconds.wrapping_mul(clock).wrapping_add(rest * clock / 1_000_000_000)
}
