//! Both directions of every suite against each other, and against what may happen on the way.

use super::*;
use crate::rtp::RtpHeader;
use proptest::prelude::*;

/// Bytes from hexadecimal digits.
pub fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn master(suite: Suite) -> MasterKey {
    let mut n = 0x0123_4567_89ab_cdef_u64;
    MasterKey::generate(suite, &mut || {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        n
    })
}

fn pair(suite: Suite) -> (Sender, Receiver) {
    let key = master(suite);
    (Sender::new(&key).unwrap(), Receiver::new(&key).unwrap())
}

fn packet(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let header = RtpHeader {
        marker: false,
        pt: 0,
        sequence,
        timestamp: u32::from(sequence) * 160,
        ssrc,
        payload: 12..12,
    };
    [&header.to_bytes()[..], payload].concat()
}

fn protect(sender: &mut Sender, plain: &[u8]) -> Vec<u8> {
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + MAX_GROWTH, 0);
    let length = sender.protect_rtp(&mut buffer, plain.len()).unwrap();
    buffer.truncate(length);
    buffer
}

fn open(receiver: &mut Receiver, sent: &[u8]) -> Result<Vec<u8>, Rejected> {
    let mut copy = sent.to_vec();
    receiver.open_rtp(&mut copy).map(|length| copy[..length].to_vec())
}

#[test]
fn every_suite_carries_sound_over_three_rollovers_with_loss_and_reordering() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let mut held: Option<(Vec<u8>, Vec<u8>)> = None;
        for n in (65_000u32..262_200).filter(|n| n % 7 == 0 || n % 65_536 > 65_500 || n % 65_536 < 40) {
            let plain = packet(9, n as u16, &n.to_be_bytes());
            let sent = protect(&mut sender, &plain);
            assert_ne!(sent[12..16], plain[12..16], "{suite:?}");
            if n % 5 == 0 {
                held.get_or_insert((plain, sent));
                continue;
            }
            assert_eq!(open(&mut receiver, &sent), Ok(plain), "{suite:?} {n}");
            if let Some((plain, sent)) = held.take() {
                assert_eq!(open(&mut receiver, &sent), Ok(plain), "{suite:?} late before {n}");
            }
        }
    }
}

#[test]
fn a_stream_that_is_first_heard_after_rollovers_is_understood() {
    for suite in Suite::ALL {
        let (mut sender, _) = pair(suite);
        let mut late = Receiver::new(&master(suite)).unwrap();
        for n in (0..0x3_0010u32).filter(|n| n % 16_384 == 0 || *n > 0x3_0000) {
            let plain = packet(9, n as u16, b"sound");
            let sent = protect(&mut sender, &plain);
            if n <= 0x3_0000 {
                continue;
            }
            assert!(late.is_authentic(&sent), "{suite:?} {n}");
            let mut forged = sent.clone();
            *forged.last_mut().unwrap() ^= 1;
            assert_eq!(open(&mut late, &forged), Err(Rejected::Forged));
            assert_eq!(open(&mut late, &sent), Ok(plain), "{suite:?} {n}");
            assert_eq!(open(&mut late, &sent), Err(Rejected::Replayed));
        }
    }
}

#[test]
fn forged_damaged_and_repeated_packets_change_nothing() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let first = protect(&mut sender, &packet(9, 1, b"first"));
        let second = protect(&mut sender, &packet(9, 2, b"second"));
        assert!(open(&mut receiver, &first).is_ok());
        for at in 0..second.len() {
            let mut damaged = second.clone();
            damaged[at] ^= 1;
            assert!(open(&mut receiver, &damaged).is_err(), "{suite:?} byte {at}");
        }
        // A hundred in a row, as in CVE-2021-41105, and some far ahead in number.
        for n in 0..100 {
            let plain = packet(9, 30_000 + n, &[7; 40]);
            assert_eq!(open(&mut receiver, &plain), Err(Rejected::Forged));
        }
        for length in 0..second.len() {
            assert!(open(&mut receiver, &second[..length]).is_err());
        }
        assert_eq!(open(&mut receiver, &first), Err(Rejected::Replayed));
        assert!(receiver.is_authentic(&second));
        assert_eq!(
            open(&mut receiver, &second).map(|plain| plain[12..].to_vec()),
            Ok(b"second".to_vec())
        );
        assert!(!receiver.is_authentic(&second));
    }
}

#[test]
fn each_stream_under_a_key_has_its_own_rollover_and_the_oldest_makes_room() {
    let (mut sender, mut receiver) = pair(Suite::AesCm128HmacSha1_80);
    for ssrc in 1..=20 {
        for sequence in [65_535, 0, 1] {
            let plain = packet(ssrc, sequence, b"sound");
            let sent = protect(&mut sender, &plain);
            assert_eq!(open(&mut receiver, &sent), Ok(plain));
        }
    }
}

#[test]
fn a_number_is_never_used_twice_under_a_key() {
    let (mut sender, _) = pair(Suite::AeadAes128Gcm);
    let plain = packet(9, 1, b"once");
    protect(&mut sender, &plain);
    let mut buffer = [plain, vec![0; MAX_GROWTH]].concat();
    assert_eq!(sender.protect_rtp(&mut buffer, 16), None);
    let (mut sender, _) = pair(Suite::AeadAes128Gcm);
    assert_eq!(
        sender.protect_rtp(&mut buffer[..16 + 15], 16),
        None,
        "no room for the tag"
    );
}

#[test]
fn reports_are_encrypted_signed_and_taken_once() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = pair(suite);
        let mut plain = [0; crate::rtp::rtcp::MAX_COMPOUND];
        let length = crate::rtp::rtcp::write(&mut plain, 9, None, None, 7);
        let mut sent = [plain.to_vec(), vec![0; MAX_GROWTH]].concat();
        let sent_length = sender.protect_rtcp(&mut sent, length).unwrap();
        sent.truncate(sent_length);
        assert_ne!(sent[8..length], plain[8..length]);
        let mut clear = sent.clone();
        let word = if let Suite::AeadAes128Gcm | Suite::AeadAes256Gcm = suite {
            sent.len() - 4
        } else {
            length
        };
        clear[word] &= 0x7f;
        assert_eq!(
            receiver.open_rtcp(&mut clear),
            Err(Rejected::Forged),
            "the E bit is signed"
        );
        let mut copy = sent.clone();
        assert_eq!(receiver.open_rtcp(&mut copy), Ok(length), "{suite:?}");
        assert_eq!(copy[..length], plain[..length]);
        assert_eq!(receiver.open_rtcp(&mut sent), Err(Rejected::Replayed));
        assert_eq!(receiver.open_rtcp(&mut plain[..length]), Err(Rejected::Forged));
    }
}

#[test]
fn keys_show_in_no_debug_text() {
    let key = MasterKey::new(Suite::AesCm128HmacSha1_80, &[0x41; 30]).unwrap();
    let pair = KeyPair {
        ours: key.clone(),
        theirs: key,
    };
    let text = format!("{pair:?}");
    assert!(
        !text.contains("65") && !text.contains("41") && !text.contains("AAAA"),
        "{text}"
    );
    assert!(MasterKey::new(Suite::AesCm128HmacSha1_80, &[0; 29]).is_none());
    assert!(MasterKey::new(Suite::AeadAes256Gcm, &[0; 46]).is_none());
}

proptest! {
    #[test]
    fn survives_anything(bytes in proptest::collection::vec(any::<u8>(), 0..120), suite in 0usize..4, first: bool) {
        let (mut sender, mut receiver) = pair(Suite::ALL[suite]);
        let mut bytes = bytes;
        if let (true, Some(byte)) = (first, bytes.first_mut()) {
            *byte = 0x80 | *byte & 0x1f;
        }
        let _ = receiver.is_authentic(&bytes);
        prop_assert!(receiver.open_rtp(&mut bytes.clone()).is_err());
        prop_assert!(receiver.open_rtcp(&mut bytes.clone()).is_err());
        let length = bytes.len();
        bytes.resize(length + MAX_GROWTH, 0);
        let _ = sender.protect_rtp(&mut bytes.clone(), length);
        let _ = sender.protect_rtcp(&mut bytes, length);
    }
}
