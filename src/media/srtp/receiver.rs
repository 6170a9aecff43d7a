//! Packets from a device: checked, then decrypted in place. What is not authentic changes nothing.

use super::cipher::{Cipher, MAX_TAG, Place};
use super::keys::MasterKey;
use super::replay::Window;
use super::sender::ENCRYPTED;
use super::{INDEX, rtcp_ssrc};
use crate::rtp::header::{PacketId, payload_start};
use smallvec::SmallVec;

/// Streams a device may send under one key. The state of the one silent for longest makes room for another.
const MAX_STREAMS: usize = 4;

/// Rollovers that a stream may have had before its first packet is opened here: the device sent while others rang too, or comes
/// from another worker. At 50 packets a second six hours; each costs a forger's first packet one more check.
const EARLIER_ROLLOVERS: u64 = 16;

/// Why a packet is dropped. It is counted, and the call goes on: anybody can send rubbish.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Not signed with the key, damaged, or no SRTP at all.
    Forged,
    /// It came before.
    Replayed,
}

/// One direction's keys, and what came under them.
pub struct Receiver {
    rtp: Cipher,
    rtcp: Cipher,
    /// The one heard last is the last.
    streams: SmallVec<[Stream; MAX_STREAMS]>,
}

#[derive(Copy, Clone, Default)]
struct Stream {
    ssrc: u32,
    rtp: Window,
    rtcp: Window,
}

/// A packet's place before its tag is checked.
struct Claim {
    place: Place,
    clear: usize,
    /// Bytes before the tag.
    end: usize,
    word: [u8; 4],
}

impl Claim {
    fn roll_over_to(&mut self, times: u64) {
        self.place.index = times << 16 | self.place.index & 0xffff;
        self.word = rollovers(self.place.index);
    }
}

fn rollovers(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

impl Receiver {
    /// Nothing received yet. `None` is for keys that no suite has.
    #[must_use]
    pub fn new(master: &MasterKey) -> Option<Receiver> {
        Some(Receiver {
            rtp: Cipher::for_rtp(master)?,
            rtcp: Cipher::for_rtcp(master)?,
            streams: SmallVec::new(),
        })
    }

    /// Opens an SRTP packet in place; the length of the RTP packet it was.
    ///
    /// # Errors
    /// [`Rejected`]; the packet may be spoilt.
    pub fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, Rejected> {
        let claim = self.read_rtp(packet)?;
        self.stream_mut(claim.place.ssrc).rtp.accept(claim.place.index);
        Ok(claim.end)
    }

    /// Whether a packet is authentic and new, without taking note of it: before its source is believed.
    #[must_use]
    pub fn is_authentic(&self, packet: &[u8]) -> bool {
        let mut copy = [0; crate::engine::PACKET_BUFFER];
        let Some(copy) = copy.get_mut(..packet.len()) else {
            return false;
        };
        copy.copy_from_slice(packet);
        self.read_rtp(copy).is_ok()
    }

    /// Opens an SRTCP packet in place; the length of the compound it was. One that is signed but not encrypted is refused:
    /// nobody agrees to that with us.
    ///
    /// # Errors
    /// [`Rejected`]; the packet may be spoilt.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Rejected> {
        let claim = self.check_rtcp(packet)?;
        self.stream_mut(claim.place.ssrc).rtcp.accept(claim.place.index);
        Ok(claim.end)
    }

    /// As [`Receiver::is_authentic`], for SRTCP.
    #[must_use]
    pub fn is_authentic_report(&self, packet: &[u8]) -> bool {
        let mut copy = [0; crate::engine::PACKET_BUFFER];
        let Some(copy) = copy.get_mut(..packet.len()) else {
            return false;
        };
        copy.copy_from_slice(packet);
        self.check_rtcp(copy).is_ok()
    }

    fn check_rtcp(&self, packet: &mut [u8]) -> Result<Claim, Rejected> {
        let claim = self.claim_rtcp(packet).ok_or(Rejected::Forged)?;
        if self.stream(claim.place.ssrc).rtcp.is_replay(claim.place.index) {
            return Err(Rejected::Replayed);
        }
        let (text, tag) = self.split_rtcp(packet, &claim);
        if !self.rtcp.open(
            text,
            claim.clear,
            &tag[..self.rtcp.tag_len()],
            claim.place,
            claim.word,
            true,
        ) {
            return Err(Rejected::Forged);
        }
        Ok(claim)
    }

    /// Checks and decrypts. Nobody tells how often the numbers of a stream have rolled over (RFC 3711 section 3.3.1 leaves it to
    /// signalling): of a new one it is found by trying.
    fn read_rtp(&self, packet: &mut [u8]) -> Result<Claim, Rejected> {
        let mut claim = self.claim_rtp(packet)?;
        if !self.stream(claim.place.ssrc).rtp.is_new() {
            self.check_rtp(packet, &claim)?;
            return Ok(claim);
        }
        let mut buffer = [0; crate::engine::PACKET_BUFFER];
        let copy = buffer.get_mut(..packet.len()).ok_or(Rejected::Forged)?;
        for rollovers in 0..=EARLIER_ROLLOVERS {
            claim.roll_over_to(rollovers);
            copy.copy_from_slice(packet);
            if self.check_rtp(copy, &claim).is_ok() {
                packet.copy_from_slice(copy);
                return Ok(claim);
            }
        }
        Err(Rejected::Forged)
    }

    fn claim_rtp(&self, packet: &[u8]) -> Result<Claim, Rejected> {
        let read = || {
            let end = packet.len().checked_sub(self.rtp.tag_len())?;
            let (id, clear) = (PacketId::read(packet)?, payload_start(&packet[..end])?);
            let index = self.stream(id.ssrc).rtp.index_of(id.sequence)?;
            let (place, word) = (Place { ssrc: id.ssrc, index }, rollovers(index));
            (clear <= end).then_some(Claim {
                place,
                clear,
                end,
                word,
            })
        };
        let claim = read().ok_or(Rejected::Forged)?;
        match self.stream(claim.place.ssrc).rtp.is_replay(claim.place.index) {
            true => Err(Rejected::Replayed),
            false => Ok(claim),
        }
    }

    fn check_rtp(&self, packet: &mut [u8], claim: &Claim) -> Result<(), Rejected> {
        let (text, tag) = packet.split_at_mut(claim.end);
        let right = self.rtp.open(text, claim.clear, tag, claim.place, claim.word, false);
        right.then_some(()).ok_or(Rejected::Forged)
    }

    fn claim_rtcp(&self, packet: &[u8]) -> Option<Claim> {
        let end = packet
            .len()
            .checked_sub(self.rtcp.tag_len() + INDEX)
            .filter(|&end| end >= 8)?;
        let word = match self.rtcp {
            Cipher::CmSha1 { .. } => &packet[end..],
            Cipher::Gcm { .. } => &packet[end + MAX_TAG..],
        };
        let word = *word.first_chunk::<4>()?;
        let index = u32::from_be_bytes(word);
        let place = Place {
            ssrc: rtcp_ssrc(packet)?,
            index: u64::from(index & !ENCRYPTED),
        };
        (index & ENCRYPTED != 0).then_some(Claim {
            place,
            clear: 8,
            end,
            word,
        })
    }

    /// The compound, and its tag out of the way of the index.
    fn split_rtcp<'a>(&self, packet: &'a mut [u8], claim: &Claim) -> (&'a mut [u8], [u8; MAX_TAG]) {
        let at = match self.rtcp {
            Cipher::CmSha1 { .. } => claim.end + INDEX,
            Cipher::Gcm { .. } => claim.end,
        };
        let length = self.rtcp.tag_len();
        let mut tag = [0; MAX_TAG];
        tag[..length].copy_from_slice(&packet[at..at + length]);
        (&mut packet[..claim.end], tag)
    }

    /// What is known of a stream; of a new one nothing.
    fn stream(&self, ssrc: u32) -> Stream {
        let known = self.streams.iter().rev().find(|stream| stream.ssrc == ssrc);
        known.copied().unwrap_or(Stream {
            ssrc,
            ..Stream::default()
        })
    }

    /// The stream of an authentic packet.
    fn stream_mut(&mut self, ssrc: u32) -> &mut Stream {
        match self.streams.iter().position(|stream| stream.ssrc == ssrc) {
            Some(at) => self.streams[at..].rotate_left(1),
            None => {
                if self.streams.len() == MAX_STREAMS {
                    self.streams.remove(0);
                }
                self.streams.push(Stream {
                    ssrc,
                    ..Stream::default()
                });
            }
        }
        let last = self.streams.len() - 1; // one was found or pushed
        &mut self.streams[last]
    }
}
