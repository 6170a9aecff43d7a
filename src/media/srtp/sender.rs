//! Packets to a device: encrypted and signed in place.

use super::cipher::{Cipher, Place};
use super::keys::MasterKey;
use super::replay::Window;
use super::{INDEX, rtcp_ssrc};
use crate::rtp::header::{PacketId, payload_start};

/// One direction's keys and its rollover counter, which live as long as the key: whatever feeds the stream.
pub struct Sender {
    rtp: Cipher,
    rtcp: Cipher,
    window: Window,
    ssrc: Option<u32>,
    rtcp_index: u32,
}

impl Sender {
    /// Nothing sent yet. `None` is for keys that no suite has.
    #[must_use]
    pub fn new(master: &MasterKey) -> Option<Sender> {
        Some(Sender {
            rtp: Cipher::for_rtp(master)?,
            rtcp: Cipher::for_rtcp(master)?,
            window: Window::default(),
            ssrc: None,
            rtcp_index: 0,
        })
    }

    /// Protects the RTP packet in the first `length` bytes; its new length. `None`: it was no RTP, there was no room for
    /// the tag, or its number was used before, and nothing may be sent.
    pub fn protect_rtp(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        let packet = buffer.get_mut(..length)?;
        let (id, clear) = (PacketId::read(packet)?, payload_start(packet)?);
        if self.ssrc.replace(id.ssrc) != Some(id.ssrc) {
            self.window = Window::default();
        }
        let index = self.window.index_of(id.sequence)?;
        if self.window.is_replay(index) || length + self.rtp.tag_len() > buffer.len() {
            return None;
        }
        let place = Place { ssrc: id.ssrc, index };
        let rollover = (index >> 16) as u32;
        let packet = buffer.get_mut(..length)?;
        let tag = self.rtp.seal(packet, clear, place, rollover.to_be_bytes(), false)?;
        self.window.accept(index);
        Some(append(buffer, length, &tag[..self.rtp.tag_len()]))
    }

    /// Protects the RTCP compound in the first `length` bytes; its new length.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        let ssrc = rtcp_ssrc(buffer.get(..length)?)?;
        // RFC 3711 section 9.2: a key is good for 2^31 of them; at one in five seconds that is three centuries.
        let index = self.rtcp_index.checked_add(1).filter(|index| index & ENCRYPTED == 0)?;
        let word = (ENCRYPTED | index).to_be_bytes();
        let room = self.rtcp.tag_len() + INDEX;
        if length + room > buffer.len() {
            return None;
        }
        let place = Place {
            ssrc,
            index: u64::from(index),
        };
        let tag = self.rtcp.seal(buffer.get_mut(..length)?, 8, place, word, true)?;
        self.rtcp_index = index;
        let tag = &tag[..self.rtcp.tag_len()];
        // RFC 7714 section 9 has the index last, RFC 3711 section 3.4 the tag.
        let (first, second) = match self.rtcp {
            Cipher::CmSha1 { .. } => (&word[..], tag),
            Cipher::Gcm { .. } => (tag, &word[..]),
        };
        let length = append(buffer, length, first);
        Some(append(buffer, length, second))
    }
}

/// The E bit of SRTCP, above the index: what follows the first eight bytes is encrypted.
pub(super) const ENCRYPTED: u32 = 1 << 31;

/// The caller has made sure of the room.
fn append(buffer: &mut [u8], length: usize, bytes: &[u8]) -> usize {
    let end = length + bytes.len();
    if let Some(place) = buffer.get_mut(length..end) {
        place.copy_from_slice(bytes);
    }
    end
}
