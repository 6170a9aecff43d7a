//! What a suite does to one packet, given its index: the only place that knows ciphers and tags.

use super::derive::{CounterMode, Label, session_key};
use super::keys::{MasterKey, Suite};
use aes::Aes128;
use aes::cipher::{Array, KeyInit};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::{Digest, Sha1};

/// The longest tag: GCM's.
pub(super) const MAX_TAG: usize = 16;

/// One direction's session keys for RTP or for RTCP.
pub(super) enum Cipher {
    /// AES in counter mode, then HMAC-SHA1 cut to `tag` bytes (RFC 3711 sections 4.1.1 and 4.2.1).
    CmSha1 {
        aes: Box<Aes128>,
        salt: [u8; 14],
        hmac: Box<Hmac>,
        tag: usize,
    },
    /// RFC 7714.
    Gcm { key: Box<LessSafeKey>, salt: [u8; 12] },
}

/// A packet's place in its stream: what makes its nonce.
#[derive(Copy, Clone)]
pub(super) struct Place {
    pub ssrc: u32,
    /// 48 bits for RTP, 31 for RTCP.
    pub index: u64,
}

impl Cipher {
    /// `None` only for a suite whose key has another length than its cipher wants, which [`MasterKey`] excludes.
    pub fn for_rtp(master: &MasterKey) -> Option<Cipher> {
        let tag = match master.suite() {
            Suite::AesCm128HmacSha1_32 => 4,
            _ => 10,
        };
        let labels = [Label::RtpEncryption, Label::RtpAuthentication, Label::RtpSalt];
        Cipher::new(master, labels, tag)
    }

    /// Tags of RTCP are never short (RFC 4568 section 6.2.2).
    pub fn for_rtcp(master: &MasterKey) -> Option<Cipher> {
        let labels = [Label::RtcpEncryption, Label::RtcpAuthentication, Label::RtcpSalt];
        Cipher::new(master, labels, 10)
    }

    fn new(master: &MasterKey, [encryption, authentication, salt]: [Label; 3], tag: usize) -> Option<Cipher> {
        let gcm = |key: UnboundKey| Cipher::Gcm {
            key: Box::new(LessSafeKey::new(key)),
            salt: session_key(master, salt),
        };
        match master.suite() {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 => Some(Cipher::CmSha1 {
                aes: Box::new(Aes128::new(&Array(session_key(master, encryption)))),
                salt: session_key(master, salt),
                hmac: Box::new(Hmac::new(&session_key(master, authentication))),
                tag,
            }),
            Suite::AeadAes128Gcm => {
                let key = session_key::<16>(master, encryption);
                UnboundKey::new(&AES_128_GCM, &key).ok().map(gcm)
            }
            Suite::AeadAes256Gcm => {
                let key = session_key::<32>(master, encryption);
                UnboundKey::new(&AES_256_GCM, &key).ok().map(gcm)
            }
        }
    }

    pub fn tag_len(&self) -> usize {
        match self {
            Cipher::CmSha1 { tag, .. } => *tag,
            Cipher::Gcm { .. } => MAX_TAG,
        }
    }

    /// Encrypts `packet[clear..]` and returns the tag over all of it. `rest` is what is authenticated but not sent here:
    /// the rollover counter, or the word with the index of SRTCP.
    pub fn seal(
        &self,
        packet: &mut [u8],
        clear: usize,
        place: Place,
        rest: [u8; 4],
        rtcp: bool,
    ) -> Option<[u8; MAX_TAG]> {
        match self {
            Cipher::CmSha1 { aes, salt, hmac, .. } => {
                aes.xor(cm_iv(salt, place), packet.get_mut(clear..)?);
                let mut tag = [0; MAX_TAG];
                tag[..10].copy_from_slice(&hmac.sign(packet, rest)[..10]);
                Some(tag)
            }
            Cipher::Gcm { key, salt } => {
                let (head, text) = packet.split_at_mut_checked(clear)?;
                let nonce = gcm_nonce(salt, place, rtcp);
                let tag = with_aad(head, rest, rtcp, |aad| {
                    key.seal_in_place_separate_tag(nonce, Aad::from(aad), text).ok()
                })?;
                tag.as_ref().try_into().ok()
            }
        }
    }

    /// Checks `tag` and decrypts `packet[clear..]`; false leaves the packet spoilt.
    pub fn open(&self, packet: &mut [u8], clear: usize, tag: &[u8], place: Place, rest: [u8; 4], rtcp: bool) -> bool {
        match self {
            Cipher::CmSha1 { aes, salt, hmac, .. } => {
                let right = is_equal(&hmac.sign(packet, rest)[..tag.len()], tag);
                match packet.get_mut(clear..).filter(|_| right) {
                    Some(text) => aes.xor(cm_iv(salt, place), text),
                    None => return false,
                }
                true
            }
            Cipher::Gcm { key, salt } => {
                let Some((head, text)) = packet.split_at_mut_checked(clear) else {
                    return false;
                };
                let nonce = gcm_nonce(salt, place, rtcp);
                with_aad(head, rest, rtcp, |aad| {
                    key.open_in_place_separate_tag(nonce, Aad::from(aad), tag, text).is_ok()
                })
            }
        }
    }
}

/// RFC 3711 section 4.1.1: salt, SSRC and index above the block counter.
fn cm_iv(salt: &[u8; 14], place: Place) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    xor(&mut iv[4..8], &place.ssrc.to_be_bytes());
    xor(&mut iv[8..14], &place.index.to_be_bytes()[2..]);
    iv
}

/// RFC 7714 sections 8.1 and 9.1: RTP has SSRC, rollover counter and sequence number behind two zeros; RTCP has two more
/// zeros and 31 bits of index.
fn gcm_nonce(salt: &[u8; 12], place: Place, rtcp: bool) -> Nonce {
    let mut nonce = *salt;
    xor(&mut nonce[2..6], &place.ssrc.to_be_bytes());
    let index = place.index.to_be_bytes();
    match rtcp {
        true => xor(&mut nonce[8..12], &index[4..]),
        false => xor(&mut nonce[6..12], &index[2..]),
    }
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 7714 sections 8.2 and 9.2: the header of RTP; eight bytes and the index word of RTCP.
fn with_aad<T>(head: &[u8], rest: [u8; 4], rtcp: bool, work: impl FnOnce(&[u8]) -> T) -> T {
    if !rtcp {
        return work(head);
    }
    let mut aad = [0; 12];
    let length = head.len().min(8);
    aad[..length].copy_from_slice(&head[..length]);
    aad[8..].copy_from_slice(&rest);
    work(&aad)
}

fn xor(into: &mut [u8], with: &[u8]) {
    into.iter_mut().zip(with).for_each(|(byte, other)| *byte ^= other);
}

/// In a time that does not tell where they differ.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// HMAC-SHA1 (RFC 2104) with the key's blocks hashed once and for all.
pub(super) struct Hmac {
    inner: Sha1,
    outer: Sha1,
}

impl Hmac {
    fn new(key: &[u8; 20]) -> Hmac {
        let padded = |with: u8| {
            let mut block = [with; 64];
            xor(&mut block, key);
            Sha1::new_with_prefix(block)
        };
        Hmac {
            inner: padded(0x36),
            outer: padded(0x5c),
        }
    }

    fn sign(&self, packet: &[u8], rest: [u8; 4]) -> [u8; 20] {
        let inner = self.inner.clone().chain_update(packet).chain_update(rest).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::tests::hex;

    #[test]
    fn signs_as_rfc_2202_says() {
        let hmac = Hmac::new(&[0x0b; 20]);
        assert_eq!(
            hmac.sign(b"Hi T", *b"here").to_vec(),
            hex("b617318655057264e28bc0b6fb378c8ef146be00")
        );
    }

    /// RFC 7714 section 16.1.1, with the session key and salt it gives.
    #[test]
    fn seals_and_opens_the_packet_of_rfc_7714() {
        let key = UnboundKey::new(&AES_128_GCM, &hex("000102030405060708090a0b0c0d0e0f")).unwrap();
        let salt = hex("517569642070726f2071756f").try_into().unwrap();
        let cipher = Cipher::Gcm {
            key: Box::new(LessSafeKey::new(key)),
            salt,
        };
        let head = hex("8040f17b8041f8d35501a0b2");
        let text = hex("47616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573");
        let mut packet = [head.clone(), text.clone()].concat();
        let place = Place {
            ssrc: 0x5501_a0b2,
            index: 0xf17b,
        };
        let tag = cipher.seal(&mut packet, 12, place, [0; 4], false).unwrap();
        assert_eq!(
            packet[12..].to_vec(),
            hex("f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833")
        );
        assert_eq!(tag.to_vec(), hex("899d7f27beb16a9152cf765ee4390cce"));
        assert!(cipher.open(&mut packet, 12, &tag, place, [0; 4], false));
        assert_eq!(packet[12..].to_vec(), text);
    }
}
