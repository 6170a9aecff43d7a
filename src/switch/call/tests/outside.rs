//! Calls from and to numbers outside, by a trunk that is known by its address: who may dial them, as whom, and who the
//! switch believes.

use super::lab::{self, Lab};
use super::stage::{CUSTOMER, JIM, KATE, Stage};
use super::{Handset, header, sdp, told_bye};
use crate::Verb;
use crate::config::trunks::{CallerId, Dial, Mode, Peer, To, Trunk};
use crate::config::{Action, Config, Outside, Pattern, Rule};
use sip::{Method, Name, Transport};
use std::net::SocketAddr;
use std::sync::Arc;

const CARRIER: &str = "203.0.113.5:5070";

fn dial(context: &str, rights: &[&str]) -> Arc<Dial> {
    Arc::new(Dial {
        context: context.into(),
        rights: rights.iter().map(|right| (*right).into()).collect(),
    })
}

/// A carrier at 203.0.113.5 behind a leading 0, for those with the right `outside`: 1000 has it. From there 555 is 1001's
/// number, and nothing else is to be had.
fn with(mut config: Config) -> Config {
    config.trunks = vec![Trunk {
        name: "carrier".into(),
        to: To::Addresses(vec![Peer {
            transport: Transport::Udp,
            address: address(),
        }]),
        sources: vec![address().ip(), [203, 0, 113, 6].into()],
        dial: dial("incoming", &[]),
        caller_id: CallerId::Prefix("+4930555".into()),
        is_trusted: true,
        mode: Mode::B2bua,
        asks_load: false,
    }];
    let outside = Outside {
        trunk: "carrier".into(),
        strip: 1,
        prepend: "+49".into(),
    };
    let mut out = Rule::new(Pattern::Prefix("0".into()), Action::Trunk(outside));
    out.right = Some("outside".into());
    let mut reached = Rule::new(Pattern::Exact("555".into()), Action::User(Some("1001".into())));
    reached.contexts = vec!["incoming".into()];
    config.dialplan.splice(0..0, [out, reached]);
    config.users[0].dial = dial("internal", &["outside"]);
    // The phones of the tests are on loopback's side of nothing.
    for listener in &mut config.listeners {
        listener.local = ([192, 0, 2, 1], 5060).into();
    }
    config
}

fn address() -> SocketAddr {
    CARRIER.parse().unwrap()
}

/// The carrier, which calls as this number.
pub(super) fn carrier(number: &str) -> Handset {
    let mut carrier = Handset::new(number, 0);
    carrier.flow.peer = address();
    carrier
}

pub(super) fn lab_with(change: impl FnOnce(&mut Config)) -> (Lab, Handset, Handset) {
    let mut config = with(lab::config());
    change(&mut config);
    let mut lab = Lab::with(config);
    let kate = Handset::registered(&mut lab, "1000", 6000);
    let jim = Handset::registered(&mut lab, "1001", 6100);
    (lab, kate, jim)
}

#[test]
fn a_user_with_the_right_calls_a_number_outside() {
    let (mut lab, mut kate, _) = lab_with(|_| {});
    let carrier = carrier("x");
    let mut kates = kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0, 101])));
    let invite = carrier.expect_request(&mut lab, Method::Invite);
    assert_eq!(invite.request_uri(), b"sip:+49301234@203.0.113.5:5070");
    assert_eq!(header(&invite, Name::To), "<sip:+49301234@203.0.113.5>");
    assert_eq!(invite.from().unwrap().uri_bytes, b"sip:+49305551000@example.com");
    assert_eq!(
        header(&invite, Name::PAssertedIdentity),
        "\"User 1000\" <sip:+49305551000@example.com>"
    );
    assert_eq!(invite.header(Name::Authorization), None);
    carrier.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0, 101])));
    carrier.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    told_bye(&mut lab, &carrier);
    lab.assert_clean();
}

#[test]
fn a_user_without_the_right_hears_403_and_nobody_is_called() {
    let (mut lab, _, mut jim) = lab_with(|_| {});
    let jims = jim.invite(&mut lab, "0301234", Some(&sdp(7000, &[0, 101])));
    let refusal = jim.expect(&mut lab, 403);
    jim.ack_failure(&mut lab, &jims, &refusal);
    carrier("x").expect_nothing(&mut lab);
    lab.assert_clean();
}

#[test]
fn a_call_from_the_trunk_is_asked_for_no_password_and_reaches_only_its_context() {
    let (mut lab, _, jim) = lab_with(|_| {});
    let mut carrier = carrier("+491701");
    carrier.password = "none".into();
    let mut theirs = carrier.invite(&mut lab, "555", Some(&sdp(7000, &[0, 101])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert_eq!(
        header(&invite, Name::PAssertedIdentity),
        "\"Fancy +491701\" <sip:+491701@example.com>"
    );
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0, 101])));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = carrier.expect(&mut lab, 200);
    carrier.ack(&mut lab, &mut theirs, &ok, None);
    // A carrier speaks from more than one address.
    carrier.flow.peer = SocketAddr::from(([203, 0, 113, 6], 5060));
    carrier.send_in(&mut lab, &mut theirs, Method::Bye, "", None);
    carrier.expect(&mut lab, 200);
    told_bye(&mut lab, &jim);
    carrier.flow.peer = address();
    for (number, status) in [("1001", 404), ("0301234", 404), ("*78", 404), ("9196", 404)] {
        let theirs = carrier.invite(&mut lab, number, Some(&sdp(7000, &[0, 101])));
        let refusal = carrier.expect(&mut lab, status);
        carrier.ack_failure(&mut lab, &theirs, &refusal);
    }
    lab.assert_clean();
}

#[test]
fn a_trunk_cannot_dial_out_by_a_trunk_unless_it_has_the_right() {
    let (mut lab, ..) = lab_with(|config| config.dialplan[0].contexts.push("incoming".into()));
    let mut carrier = carrier("+491701");
    let theirs = carrier.invite(&mut lab, "0301234", Some(&sdp(7000, &[0, 101])));
    let refusal = carrier.expect(&mut lab, 403);
    carrier.ack_failure(&mut lab, &theirs, &refusal);
    lab.assert_clean();
}

#[test]
fn whom_a_trunk_asserts_is_believed_only_if_it_is_trusted() {
    for (trusted, shown) in [
        (true, "\"Ada\" <sip:+491702@example.com>"),
        (false, "\"Fancy +491701\" <sip:+491701@example.com>"),
    ] {
        let (mut lab, _, jim) = lab_with(|config| config.trunks[0].is_trusted = trusted);
        let mut carrier = carrier("+491701");
        let asserted = "P-Asserted-Identity: \"Ada\" <sip:+491702@carrier.example>\r\n\
                        Remote-Party-ID: <sip:1000@example.com>\r\nX-Evil: 1\r\nDiversion: <sip:1000@example.com>\r\n";
        carrier.invite_with(&mut lab, "555", asserted, Some(&sdp(7000, &[0, 101])));
        let invite = jim.expect_request(&mut lab, Method::Invite);
        assert_eq!(header(&invite, Name::PAssertedIdentity), shown);
        for name in ["Remote-Party-ID", "X-Evil", "Diversion"] {
            assert_eq!(invite.header_named(name), None, "{name}");
        }
    }
}

#[test]
fn nobody_outside_looks_like_a_user_of_ours() {
    let (mut lab, _, jim) = lab_with(|_| {});
    carrier("1000").invite(&mut lab, "555", Some(&sdp(7000, &[0, 101])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert_eq!(
        header(&invite, Name::PAssertedIdentity),
        "\"Fancy 1000\" <sip:1000@203.0.113.5>"
    );
}

#[test]
fn who_wants_privacy_is_named_to_a_trusted_trunk_only_and_to_no_device() {
    for (trusted, told) in [(true, "\"User 1000\" <sip:+49305551000@example.com>"), (false, "")] {
        let (mut lab, mut kate, _) = lab_with(|config| config.trunks[0].is_trusted = trusted);
        kate.invite_with(&mut lab, "0301234", "Privacy: id\r\n", Some(&sdp(7000, &[0, 101])));
        let invite = carrier("x").expect_request(&mut lab, Method::Invite);
        assert_eq!(invite.from().unwrap().uri_bytes, b"sip:anonymous@anonymous.invalid");
        assert_eq!(header(&invite, Name::PAssertedIdentity), told);
        assert_eq!(header(&invite, Name::Privacy), if trusted { "id" } else { "" });
        assert!(!String::from_utf8_lossy(invite.bytes()).contains("Contact: <sip:1000@"));
    }
    let (mut lab, _, jim) = lab_with(|_| {});
    let asserted = "P-Asserted-Identity: <sip:+491702@carrier.example>\r\nPrivacy: id\r\n";
    carrier("anonymous").invite_with(&mut lab, "555", asserted, Some(&sdp(7000, &[0, 101])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert!(!String::from_utf8_lossy(invite.bytes()).contains("491702"));
    assert_eq!(invite.from().unwrap().uri_bytes, b"sip:anonymous@anonymous.invalid");
}

#[test]
fn a_challenge_from_outside_is_never_answered() {
    let (mut lab, mut kate, _) = lab_with(|_| {});
    let carrier = carrier("x");
    let kates = kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0, 101])));
    let invite = carrier.expect_request(&mut lab, Method::Invite);
    let challenge = "Proxy-Authenticate: Digest realm=\"example.com\", nonce=\"n\", qop=\"auth\"\r\n";
    carrier.reply_with(&mut lab, &invite, 407, challenge, None);
    carrier.expect_request(&mut lab, Method::Ack);
    let refusal = kate.expect(&mut lab, 480);
    assert_eq!(refusal.header(Name::ProxyAuthenticate), None);
    kate.ack_failure(&mut lab, &kates, &refusal);
    carrier.expect_nothing(&mut lab);
    lab.assert_clean();
}

#[test]
fn a_transfer_goes_by_the_dial_rights_of_who_transfers() {
    let mut stage = Stage::with(with(super::stage::config()));
    // The customer has no right to dial outside, and so cannot make Kate's side call there.
    stage.call(CUSTOMER, KATE);
    stage.request(
        CUSTOMER,
        0,
        Method::Refer,
        "Refer-To: <sip:0301234@example.com>\r\n",
        None,
    );
    assert_eq!(stage.last_reply(CUSTOMER), 403);
    assert_eq!(stage.lab.waiting(address()), 0);
    assert!(stage.is_in_a_call(KATE));
    // Kate may, and does.
    stage.request(KATE, 0, Method::Refer, "Refer-To: <sip:0301234@example.com>\r\n", None);
    let carrier = carrier("x");
    let invite = carrier.expect_request(&mut stage.lab, Method::Invite);
    assert_eq!(invite.request_uri(), b"sip:+49301234@203.0.113.5:5070");
    carrier.reply(&mut stage.lab, &invite, 200, Some(&sdp(7900, &[0, 101])));
    stage.settle();
    assert!(!stage.is_in_a_call(KATE));
    assert!(stage.is_in_a_call(CUSTOMER));
    assert_eq!(stage.notified(KATE).last().unwrap(), "SIP/2.0 200 OK");
    stage.hang_up(CUSTOMER, 0);
    while let Some(message) = carrier.take(&mut stage.lab) {
        if message.method() != Method::Ack && message.is_request() {
            carrier.reply(&mut stage.lab, &message, 200, None);
        }
    }
    stage.end();
}

#[test]
fn a_verb_of_a_user_without_the_right_calls_nobody() {
    let mut stage = Stage::with(with(super::stage::config()));
    let id = stage.call(CUSTOMER, JIM);
    let target = "0301234".into();
    let refusal = stage.refused(
        JIM,
        Verb::InstantTransfer {
            interaction: id,
            target,
        },
    );
    assert_eq!(refusal, crate::Refusal::Unreachable(403));
    assert_eq!(stage.lab.waiting(address()), 0);
    stage.end();
}

#[test]
fn a_forward_leads_outside_only_where_the_forwarder_may_dial() {
    let (mut lab, mut kate, mut jim) = lab_with(|_| {});
    let jims = jim.invite(&mut lab, "*720301234", Some(&sdp(7000, &[0, 101])));
    let refusal = jim.expect(&mut lab, 403);
    jim.ack_failure(&mut lab, &jims, &refusal);
    let mut kates = kate.invite(&mut lab, "*720301234", Some(&sdp(7000, &[0, 101])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    jim.invite(&mut lab, "1000", Some(&sdp(7000, &[0, 101])));
    let invite = carrier("x").expect_request(&mut lab, Method::Invite);
    assert_eq!(invite.request_uri(), b"sip:+49301234@203.0.113.5:5070");
}

#[test]
fn who_guesses_pins_from_outside_under_ever_other_numbers_is_turned_away() {
    let (mut lab, ..) = lab_with(|config| {
        let mut rule = Rule::new(Pattern::Exact("3000".into()), Action::Room(None));
        rule.contexts = vec!["incoming".into()];
        config.dialplan.insert(0, rule);
        config.conferences.default.pin = crate::config::conference::Pin::new("4711");
    });
    for call in 0..10 {
        let mut guesser = carrier(&format!("+49170{call}"));
        let mut theirs = guesser.invite(&mut lab, "3000", Some(&sdp(7000, &[0, 101])));
        let ok = guesser.expect(&mut lab, 200);
        guesser.ack(&mut lab, &mut theirs, &ok, None);
        let leg = lab.studio.towards(7000).expect("a leg in the engine").leg;
        for digit in "1111#2222#3333#".chars() {
            lab.input(crate::Input::Media(media::Event::Dtmf {
                leg,
                digit,
                duration: std::time::Duration::from_millis(100),
                by: media::DtmfBy::Packets,
                passed_on: false,
            }));
        }
        told_bye(&mut lab, &guesser);
        lab.pass_s(1);
    }
    let mut guesser = carrier("+491799");
    let theirs = guesser.invite(&mut lab, "3000", Some(&sdp(7000, &[0, 101])));
    let refusal = guesser.expect(&mut lab, 403);
    guesser.ack_failure(&mut lab, &theirs, &refusal);
    // A user is not concerned.
    let mut jim = Handset::registered(&mut lab, "1001", 6100);
    let mut jims = jim.invite(&mut lab, "3000", Some(&sdp(7000, &[0, 101])));
    let ok = jim.expect(&mut lab, 200);
    jim.ack(&mut lab, &mut jims, &ok, None);
    jim.send_in(&mut lab, &mut jims, Method::Bye, "", None);
    jim.expect(&mut lab, 200);
    lab.assert_clean();
}
