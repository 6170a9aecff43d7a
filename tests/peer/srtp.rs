//! Another implementation of SRTP encrypts for us and decrypts what we encrypted, over rollovers and both ways.

use media::srtp::{MAX_GROWTH, MasterKey, Receiver, Sender, Suite};
use proptest::prelude::*;
use rtc_crypto::providers::AwsLcRsCrypto;
use rtc_srtp::context::Context;
use rtc_srtp::protection_profile::ProtectionProfile;

fn profile(suite: Suite) -> ProtectionProfile {
    match suite {
        Suite::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Suite::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    }
}

fn context(suite: Suite, master: &[u8]) -> Context {
    let (key, salt) = master.split_at(suite.key_len());
    Context::new(key, salt, profile(suite), None, None, &AwsLcRsCrypto).unwrap()
}

/// An RTP packet with CSRCs and an extension as the bits ask.
fn packet(first: u8, sequence: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | first & 0x13, 111];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend([1, 2, 3, 4]);
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend(vec![7; 4 * usize::from(first & 3)]);
    if first & 0x10 != 0 {
        bytes.extend([0xbe, 0xde, 0, 1, 0x10, 9, 0, 0]);
    }
    bytes.extend(payload);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_decrypts_what_the_other_encrypted(
        suite in 0usize..4, master in proptest::collection::vec(any::<u8>(), 44), first: u8, start: u16, ssrc: u32,
        steps in proptest::collection::vec(1u16..2_000, 1..60), payload in proptest::collection::vec(any::<u8>(), 1..200),
    ) {
        let suite = Suite::ALL[suite];
        let master = &master[..suite.master_len()];
        let key = MasterKey::new(suite, master).unwrap();
        let (mut sender, mut receiver) = (Sender::new(&key).unwrap(), Receiver::new(&key).unwrap());
        let (mut theirs, mut back) = (context(suite, master), context(suite, master));
        let mut sequence = start;
        for step in steps {
            let plain = packet(first, sequence, ssrc, &payload);
            let mut ours = [&plain[..], &[0; MAX_GROWTH]].concat();
            let length = sender.protect_rtp(&mut ours, plain.len()).unwrap();
            prop_assert_eq!(&theirs.decrypt_rtp(&ours[..length]).unwrap()[..], &plain[..]);
            let mut sent = back.encrypt_rtp(&plain).unwrap().to_vec();
            prop_assert_eq!(&sent[..], &ours[..length]);
            let length = receiver.open_rtp(&mut sent).unwrap();
            prop_assert_eq!(&sent[..length], &plain[..]);
            sequence = sequence.wrapping_add(step);
        }
    }

    #[test]
    fn each_decrypts_the_reports_of_the_other(
        suite in 0usize..4, master in proptest::collection::vec(any::<u8>(), 44), ssrc: u32, count in 1usize..20,
    ) {
        let suite = Suite::ALL[suite];
        let master = &master[..suite.master_len()];
        let key = MasterKey::new(suite, master).unwrap();
        let (mut sender, mut receiver) = (Sender::new(&key).unwrap(), Receiver::new(&key).unwrap());
        let (mut theirs, mut back) = (context(suite, master), context(suite, master));
        let mut plain = vec![0; 200];
        let length = media::rtp::rtcp::write(&mut plain, ssrc, None, None, 7);
        plain.truncate(length);
        for _ in 0..count {
            let mut ours = [&plain[..], &[0; MAX_GROWTH]].concat();
            let length = sender.protect_rtcp(&mut ours, plain.len()).unwrap();
            prop_assert_eq!(&theirs.decrypt_rtcp(&ours[..length]).unwrap()[..], &plain[..]);
            let mut sent = back.encrypt_rtcp(&plain).unwrap().to_vec();
            let length = receiver.open_rtcp(&mut sent).unwrap();
            prop_assert_eq!(&sent[..length], &plain[..]);
        }
    }
}
