//! SRTP and SRTCP (RFC 3711, RFC 7714), in place: a [`Sender`] for packets to a device, a [`Receiver`] for those from it.
//!
//! Keys come from the SDP (RFC 4568). A packet that fails its check is dropped and counted and changes nothing (S15).

mod cipher;
mod derive;
mod keys;
mod receiver;
mod replay;
mod sender;
#[cfg(test)]
mod tests;

pub use keys::{KeyPair, MAX_MASTER, MasterKey, Suite};
pub use receiver::{Receiver, Rejected};
pub use sender::Sender;

/// Bytes a packet may grow by: the longest tag, and the index of SRTCP.
pub const MAX_GROWTH: usize = cipher::MAX_TAG + INDEX;

/// Bytes of the index word of SRTCP.
const INDEX: usize = 4;

/// The maker of a compound, in its first packet.
fn rtcp_ssrc(compound: &[u8]) -> Option<u32> {
    let head = compound.first_chunk::<8>()?;
    (head[0] >> 6 == 2).then(|| u32::from_be_bytes([head[4], head[5], head[6], head[7]]))
}
