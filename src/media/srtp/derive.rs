//! Session keys from a master key (RFC 3711 section 4.3, RFC 6188 section 3 for 256 bits), and AES in counter mode.

use super::keys::MasterKey;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};

/// What a session key is for (RFC 3711 section 4.3.2).
#[derive(Copy, Clone, Debug)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// The first `N` bytes of the session key of this label. The key derivation rate is 0: one key for the whole session.
pub(super) fn session_key<const N: usize>(master: &MasterKey, label: Label) -> [u8; N] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(&master.salt());
    iv[7] ^= label as u8;
    let mut key = [0; N];
    match master.key().try_into() {
        Ok(short) => Aes128::new(&Array(short)).xor(iv, &mut key),
        Err(_) => {
            let mut long = [0; 32];
            long[..master.key().len()].copy_from_slice(master.key());
            Aes256::new(&Array(long)).xor(iv, &mut key);
        }
    }
    key
}

/// Counter mode as RFC 3711 section 4.1.1 uses it: the last two bytes of `iv` count blocks from 0.
pub(super) trait CounterMode {
    fn xor(&self, iv: [u8; 16], text: &mut [u8]);
}

/// Blocks encrypted together: the processor works on several at once.
const TOGETHER: usize = 8;

impl<C> CounterMode for C
where
    C: BlockCipherEncrypt<BlockSize = aes::cipher::consts::U16>,
{
    fn xor(&self, iv: [u8; 16], text: &mut [u8]) {
        let mut counter = 0u16;
        for chunk in text.chunks_mut(16 * TOGETHER) {
            let mut blocks = [Array(iv); TOGETHER];
            let needed = chunk.len().div_ceil(16);
            for block in &mut blocks[..needed] {
                block[14..].copy_from_slice(&counter.to_be_bytes());
                counter = counter.wrapping_add(1);
            }
            self.encrypt_blocks(&mut blocks[..needed]);
            let stream = blocks.iter().flatten();
            chunk.iter_mut().zip(stream).for_each(|(byte, key)| *byte ^= key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::Suite;
    use crate::srtp::tests::hex;

    #[test]
    fn derives_the_keys_of_rfc_3711_appendix_b_3() {
        let master = [
            hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
            hex("0EC675AD498AFEEBB6960B3AABE6"),
        ]
        .concat();
        let master = MasterKey::new(Suite::AesCm128HmacSha1_80, &master).unwrap();
        assert_eq!(
            session_key::<16>(&master, Label::RtpEncryption).to_vec(),
            hex("C61E7A93744F39EE10734AFE3FF7A087")
        );
        assert_eq!(
            session_key::<14>(&master, Label::RtpSalt).to_vec(),
            hex("30CBBC08863D8C85D49DB34A9AE1")
        );
        assert_eq!(
            session_key::<94>(&master, Label::RtpAuthentication)[..32].to_vec(),
            hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCE")
        );
    }

    #[test]
    fn makes_the_key_stream_of_rfc_3711_appendix_b_2() {
        let cipher = Aes128::new(&Array(hex("2B7E151628AED2A6ABF7158809CF4F3C").try_into().unwrap()));
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
        let mut stream = vec![0; 0xff02 * 16];
        cipher.xor(iv, &mut stream);
        let block = |n: usize| stream[16 * n..16 * n + 16].to_vec();
        assert_eq!(block(0), hex("E03EAD0935C95E80E166B16DD92B4EB4"));
        assert_eq!(block(1), hex("D23513162B02D0F72A43A2FE4A5F97AB"));
        assert_eq!(block(2), hex("41E95B3BB0A2E8DD477901E4FCA894C0"));
        assert_eq!(block(0xfeff), hex("EC8CDF7398607CB0F2D21675EA9EA1E4"));
        assert_eq!(block(0xff00), hex("362B7C3C6773516318A077D7FC5073AE"));
        assert_eq!(block(0xff01), hex("6A2CC3787889374FBEB4C81B17BA6C44"));
    }
}
