//! SRTP between phones, with keys in the signalling (RFC 4568).

use super::*;
use crate::Config;
use media::sdp::SrtpUse;

const KEY: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";

fn keyed(port: u16) -> String {
    sdp(port, &[0, 101]).replace("RTP/AVP", "RTP/SAVP") + KEY
}

/// Keys may be spoken of over UDP; the callee is configured so.
fn settings(over_clear: bool, callee: SrtpUse) -> Config {
    let mut config = lab::config();
    config.media.sdes_over_clear = over_clear;
    config.users[1].srtp = callee;
    config
}

fn phones(config: Config) -> (Lab, Handset, Handset) {
    let mut lab = Lab::with(config);
    let kate = Handset::registered(&mut lab, "1000", 6000);
    let jim = Handset::registered(&mut lab, "1001", 6100);
    (lab, kate, jim)
}

#[test]
fn an_offer_of_keys_over_udp_is_refused_and_says_why() {
    let (mut lab, mut kate, jim) = phones(settings(false, SrtpUse::Off));
    for to in ["1001", "9196"] {
        kate.invite(&mut lab, to, Some(&keyed(7000)));
        let refusal = kate.expect(&mut lab, 488);
        let warning = header(&refusal, Name::Warning);
        assert_eq!(warning, "399 tandem \"keys for SRTP need encrypted signalling\"");
    }
    jim.expect_nothing(&mut lab);
    lab.assert_clean();
}

#[test]
fn each_phone_has_srtp_as_it_is_set_and_the_engine_has_the_keys_of_both() {
    for callee in [SrtpUse::Off, SrtpUse::Optional, SrtpUse::Required] {
        let (mut lab, mut kate, jim) = phones(settings(true, callee));
        let mut kates = kate.invite(&mut lab, "1001", Some(&keyed(7000)));
        let invite = jim.expect_request(&mut lab, Method::Invite);
        let offer = body(&invite);
        assert_eq!(offer.contains("RTP/SAVP"), callee == SrtpUse::Required, "{offer}");
        assert_eq!(offer.contains("a=crypto"), callee != SrtpUse::Off, "{offer}");
        let third = KEY.replace("crypto:1", "crypto:3");
        let answer = match callee {
            SrtpUse::Off => sdp(7100, &[0, 101]),
            SrtpUse::Optional => sdp(7100, &[0, 101]) + &third,
            SrtpUse::Required => keyed(7100).replace(KEY, &third),
        };
        jim.reply(&mut lab, &invite, 200, Some(&answer));
        jim.expect_request(&mut lab, Method::Ack);
        let ok = kate.expect(&mut lab, 200);
        assert!(body(&ok).contains("RTP/SAVP 0 101\r\n") && body(&ok).contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80"));
        kate.ack(&mut lab, &mut kates, &ok, None);
        let keys = |port| lab.studio.towards(port).expect("a leg").media.srtp.is_some();
        assert_eq!((keys(7000), keys(7100)), (true, callee != SrtpUse::Off));

        // An encrypted call does not fall back: the change is refused, and the call goes on as it was.
        kate.send_in(
            &mut lab,
            &mut kates,
            Method::Invite,
            "",
            Some(("application/sdp", &sdp(7000, &[0]))),
        );
        let refusal = kate.expect(&mut lab, 488);
        kate.ack_failure(&mut lab, &kates, &refusal);
        jim.expect_nothing(&mut lab);
        assert!(lab.studio.towards(7000).expect("a leg").media.srtp.is_some());
    }
}

#[test]
fn a_service_speaks_srtp_to_who_asks_for_it() {
    let (mut lab, mut kate, _) = phones(settings(true, SrtpUse::Off));
    let mut kates = kate.invite(&mut lab, "9196", Some(&keyed(7000)));
    let ok = kate.expect(&mut lab, 200);
    assert!(
        body(&ok).contains("RTP/SAVP") && body(&ok).contains("a=crypto:1 "),
        "{}",
        body(&ok)
    );
    kate.ack(&mut lab, &mut kates, &ok, None);
    assert!(lab.studio.towards(7000).expect("a leg").media.srtp.is_some());
}

#[test]
fn who_must_have_srtp_can_be_neither_called_nor_call_without() {
    let (mut lab, mut kate, mut jim) = phones(settings(false, SrtpUse::Required));
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    kate.expect(&mut lab, 488);
    jim.expect_nothing(&mut lab);
    jim.invite(&mut lab, "1000", Some(&sdp(7100, &[0])));
    let refusal = jim.expect(&mut lab, 488);
    assert_eq!(
        header(&refusal, Name::Warning),
        "399 tandem \"media must be encrypted\""
    );
    lab.assert_clean();
}
