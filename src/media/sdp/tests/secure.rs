//! SRTP in offer and answer.

use super::*;
use crate::srtp::{KeyPair, Suite};

fn leg(seed: u64, policy: SrtpPolicy) -> Negotiation {
    let mut leg = Negotiation::new(Local {
        address: "198.51.100.1".parse().unwrap(),
        port: 16384,
        session_id: seed,
    });
    let mut n = seed;
    leg.secure(policy, &mut || {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        n
    });
    leg
}

fn allowed(wanted: SrtpUse) -> SrtpPolicy {
    SrtpPolicy { allowed: true, wanted }
}

const CLEAR: SrtpPolicy = SrtpPolicy {
    allowed: false,
    wanted: SrtpUse::Off,
};

const KEY: &str = "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20";
const OTHER: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

fn secure(rest: &str) -> String {
    phone("192.0.2.1", &format!("m=audio 4000 RTP/SAVP 0\n{rest}"))
}

fn keys(leg: &Negotiation) -> Option<KeyPair> {
    leg.leg_media().unwrap().srtp.map(|keys| *keys)
}

#[test]
fn an_offer_of_keys_is_answered_with_one_line_of_its_own_tag_and_suite() {
    let mut leg = leg(1, allowed(SrtpUse::Off));
    let unknown = "a=crypto:1 F8_128_HMAC_SHA1_80 inline:x";
    leg.handle_offer(&parse(&secure(&format!("{unknown}\n{KEY}\n{OTHER}"))))
        .unwrap();
    let answer = leg.answer(&[Codec::Pcmu], Direction::SendRecv).unwrap().to_owned();
    assert!(answer.contains("m=audio 16384 RTP/SAVP 0\r\n"), "{answer}");
    assert_eq!(answer.matches("a=crypto").count(), 1);
    assert!(
        answer.contains("a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:"),
        "{answer}"
    );
    let pair = keys(&leg).unwrap();
    assert_eq!(pair.theirs.suite(), Suite::AesCm128HmacSha1_80);
    assert_ne!(pair.ours, pair.theirs);

    // The same offer again: the same answer, key and version. Then the device takes another key for itself: ours stays.
    leg.handle_offer(&parse(&secure(&format!("{unknown}\n{KEY}\n{OTHER}"))))
        .unwrap();
    assert_eq!(leg.answer(&[Codec::Pcmu], Direction::SendRecv).unwrap(), answer);
    let renewed = KEY.replace("WVNf", "YYYY");
    leg.handle_offer(&parse(&secure(&renewed))).unwrap();
    leg.answer(&[Codec::Pcmu], Direction::SendRecv).unwrap();
    let after = keys(&leg).unwrap();
    assert_eq!(after.ours, pair.ours);
    assert_ne!(after.theirs, pair.theirs);
}

#[test]
fn keys_are_refused_where_others_can_read_them_and_a_stream_without_usable_key_too() {
    let offer = parse(&secure(KEY));
    assert_eq!(leg(1, CLEAR).handle_offer(&offer), Err(OfferAnswerError::KeysInClear));
    for rest in [
        "",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:short",
        "a=crypto:1",
        "a=crypto",
    ] {
        let offered = leg(1, allowed(SrtpUse::Off)).handle_offer(&parse(&secure(rest)));
        assert_eq!(offered, Err(OfferAnswerError::NoKey), "{rest}");
    }
}

#[test]
fn of_two_streams_the_encrypted_one_is_taken_where_that_can_be() {
    let both = format!("m=audio 4000 RTP/SAVP 0\n{KEY}\nm=audio 4002 RTP/AVP 0");
    for (policy, lines) in [
        (
            allowed(SrtpUse::Off),
            ["m=audio 16384 RTP/SAVP 0", "m=audio 0 RTP/AVP 0"],
        ),
        (CLEAR, ["m=audio 0 RTP/SAVP 0", "m=audio 16384 RTP/AVP 0"]),
    ] {
        let mut leg = leg(1, policy);
        leg.handle_offer(&parse(&phone("192.0.2.1", &both))).unwrap();
        let answer = leg.answer(&[Codec::Pcmu], Direction::SendRecv).unwrap();
        assert_eq!(
            answer.lines().filter(|line| line.starts_with("m=")).collect::<Vec<_>>(),
            lines
        );
        // Our own offer later speaks of the same stream.
        let offer = leg.offer(&[Codec::Pcmu], Direction::SendRecv).unwrap();
        assert_eq!(
            offer.lines().filter(|line| line.starts_with("m=")).collect::<Vec<_>>(),
            lines
        );
        assert_eq!(offer.contains("a=crypto"), policy == allowed(SrtpUse::Off));
        leg.handle_answer(&parse(&phone("192.0.2.1", &both))).unwrap();
    }
}

#[test]
fn who_must_have_srtp_gets_no_clear_rtp_and_is_offered_none() {
    let mut leg = leg(1, allowed(SrtpUse::Required));
    let clear = parse(&phone("192.0.2.1", "m=audio 4000 RTP/AVP 0"));
    assert_eq!(leg.handle_offer(&clear), Err(OfferAnswerError::ClearRefused));
    let offer = leg.offer(&[Codec::Pcmu], Direction::SendRecv).unwrap().to_owned();
    assert!(offer.contains("RTP/SAVP 0"), "{offer}");
    assert_eq!(offer.matches("a=crypto").count(), 4);
    assert_eq!(leg.handle_answer(&clear), Err(OfferAnswerError::NoAudio));
    assert_eq!(leg.handle_answer(&parse(&secure(""))), Err(OfferAnswerError::NoKey));
    assert_eq!(
        leg.handle_answer(&parse(&secure(OTHER))),
        Err(OfferAnswerError::NoKey),
        "tag 1 is another suite"
    );
    leg.handle_answer(&parse(&secure(KEY))).unwrap();
    assert!(offer.contains(&format!("a=crypto:3 {}", Suite::AesCm128HmacSha1_80.name())));
    assert!(keys(&leg).is_some());
}

#[test]
fn an_optional_offer_may_be_answered_in_clear_and_a_required_one_needs_signalling_that_allows_it() {
    for (answer, encrypted) in [("", false), (KEY, true)] {
        let mut leg = leg(1, allowed(SrtpUse::Optional));
        let offer = leg.offer(&[Codec::Pcmu], Direction::SendRecv).unwrap().to_owned();
        assert!(
            offer.contains("RTP/AVP 0") && offer.contains("a=crypto:1 AEAD_AES_256_GCM"),
            "{offer}"
        );
        let answer = phone("192.0.2.1", &format!("m=audio 4000 RTP/AVP 0\n{answer}"));
        leg.handle_answer(&parse(&answer)).unwrap();
        assert_eq!(keys(&leg).is_some(), encrypted);
    }
    let policy = SrtpPolicy {
        allowed: false,
        wanted: SrtpUse::Required,
    };
    let offer = leg(1, policy)
        .offer(&[Codec::Pcmu], Direction::SendRecv)
        .map(str::to_owned);
    assert_eq!(offer, Err(OfferAnswerError::KeysInClear));
    let policy = SrtpPolicy {
        allowed: false,
        wanted: SrtpUse::Optional,
    };
    let offer = leg(1, policy)
        .offer(&[Codec::Pcmu], Direction::SendRecv)
        .map(str::to_owned);
    assert!(!offer.unwrap().contains("crypto"));
}

#[test]
fn an_encrypted_call_never_falls_back() {
    let mut leg = leg(1, allowed(SrtpUse::Off));
    leg.handle_offer(&parse(&secure(KEY))).unwrap();
    leg.answer(&[Codec::Pcmu], Direction::SendRecv).unwrap();
    let before = keys(&leg);
    let clear = parse(&phone("192.0.2.1", "m=audio 4000 RTP/AVP 0"));
    assert_eq!(leg.handle_offer(&clear), Err(OfferAnswerError::ClearRefused));
    let offer = leg.offer(&[Codec::Pcmu], Direction::SendRecv).unwrap().to_owned();
    assert!(
        offer.contains("RTP/SAVP 0") && offer.matches("a=crypto").count() == 1,
        "{offer}"
    );
    assert!(
        offer.contains("a=crypto:3 AES_CM_128_HMAC_SHA1_80"),
        "the key in use: {offer}"
    );
    assert!(leg.handle_answer(&clear).is_err());
    leg.rollback();
    assert_eq!(keys(&leg), before);
}

#[test]
fn an_encrypted_leg_and_a_clear_one_are_offered_and_answered_each_in_its_own_way() {
    let (mut a, mut b) = (leg(1, allowed(SrtpUse::Off)), leg(2, allowed(SrtpUse::Off)));
    a.handle_offer(&parse(&secure(KEY))).unwrap();
    let offer = b.relay_offer(&a).unwrap().to_owned();
    assert!(offer.contains("RTP/AVP 0") && !offer.contains("crypto"), "{offer}");
    b.handle_answer(&parse(&phone("192.0.2.2", "m=audio 5000 RTP/AVP 0")))
        .unwrap();
    let answer = a.relay_answer(&b).unwrap();
    assert!(
        answer.contains("RTP/SAVP 0") && answer.contains("a=crypto:3 "),
        "{answer}"
    );
    assert!(keys(&a).is_some() && keys(&b).is_none());
}

#[test]
fn no_debug_text_shows_a_key() {
    let mut leg = leg(1, allowed(SrtpUse::Required));
    let offer = parse(&secure(KEY));
    leg.handle_offer(&offer).unwrap();
    let answer = leg.answer(&[Codec::Pcmu], Direction::SendRecv).unwrap().to_owned();
    let at = answer.find("inline:").unwrap() + 7;
    let ours = &answer[at..at + 20];
    let text = format!("{offer:?} {leg:?} {:?}", leg.leg_media());
    assert!(!text.contains("WVNfX19z") && !text.contains(ours), "{text}");
}
