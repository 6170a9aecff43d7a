//! What goes no further, and how it is said.

use super::*;
use crate::Command;

fn refused(lab: &mut Lab, kate: &mut Handset, to: &str, extra: &str, status: u16) -> Message {
    let kates = kate.invite_with(lab, to, extra, Some(&sdp(7000, &[0])));
    let refusal = kate.expect(lab, status);
    kate.ack_failure(lab, &kates, &refusal);
    refusal
}

#[test]
fn a_proxy_asks_with_407_and_never_twice_for_what_it_knows() {
    let (mut lab, mut kate, jim) = pair();
    let uri = "sip:1001@example.com";
    let mut dialog = kate.new_dialog(uri, uri);
    kate.send_in(&mut lab, &mut dialog, Method::Message, "", Some(("text/plain", "x")));
    let challenge = kate.expect(&mut lab, 407);
    assert!(challenge.header(Name::ProxyAuthenticate).is_some());
    assert!(challenge.header(Name::WwwAuthenticate).is_none());
    jim.expect_nothing(&mut lab);
    // What the switch answers itself it asks for as server.
    let mut dialog = kate.new_dialog("sip:9196@example.com", "sip:9196@example.com");
    kate.send_in(&mut lab, &mut dialog, Method::Invite, "", None);
    kate.expect(&mut lab, 401);
}

#[test]
fn extensions_asked_of_proxies_are_refused_and_those_asked_of_phones_are_passed_on() {
    let (mut lab, mut kate, jim) = pair();
    let refusal = refused(&mut lab, &mut kate, "1001", "Proxy-Require: foo, bar\r\n", 420);
    assert_eq!(values(&refusal, Name::Unsupported), ["foo", "bar"]);
    kate.invite_with(&mut lab, "1001", "Require: teleport\r\n", Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert_eq!(header(&invite, Name::Require), "teleport");
}

#[test]
fn nobody_there_and_nobody_known_are_told_apart_only_after_credentials() {
    let (mut lab, mut kate, _) = pair();
    refused(&mut lab, &mut kate, "1005", "", 480);
    refused(&mut lab, &mut kate, "1099", "", 404);
    let mut stranger = Handset::new("1099", 6500);
    for to in ["1001", "1005", "1099"] {
        let uri = format!("sip:{to}@example.com");
        let mut dialog = stranger.new_dialog(&uri, &uri);
        stranger.send_in(&mut lab, &mut dialog, Method::Invite, "", None);
        stranger.expect(&mut lab, 407);
    }
    lab.assert_clean();
}

#[test]
fn a_route_beyond_us_that_we_did_not_record_is_refused() {
    let (mut lab, mut kate, jim) = pair();
    let preloaded = "Route: <sip:127.0.0.1:5060;lr>\r\n";
    kate.invite_with(&mut lab, "1001", preloaded, Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert!(invite.header(Name::Route).is_none(), "ours is taken off");
    let beyond = format!("{preloaded}Route: <sip:203.0.113.9;lr>\r\n");
    refused(&mut lab, &mut kate, "1001", &beyond, 403);
    jim.expect_nothing(&mut lab);
}

#[test]
fn who_does_not_want_to_be_disturbed_is_not_and_a_forward_is_followed() {
    let (mut lab, mut kate, mut jim) = pair();
    dial_code(&mut lab, &mut jim, "*78");
    refused(&mut lab, &mut kate, "1001", "", 486);
    dial_code(&mut lab, &mut jim, "*79");
    let ann = Handset::registered(&mut lab, "1002", 6200);
    dial_code(&mut lab, &mut jim, "*721002");
    kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let invite = ann.expect_request(&mut lab, Method::Invite);
    assert_eq!(invite.request_uri(), ann.contact().as_bytes());
    jim.expect_nothing(&mut lab);
}

#[test]
fn a_phone_that_says_nothing_is_given_up_and_a_message_to_it_without_a_word() {
    let (mut lab, mut kate, jim) = pair();
    let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    lab.pass_s(32);
    let refusal = kate.expect(&mut lab, 408);
    kate.ack_failure(&mut lab, &kates, &refusal);
    let uri = "sip:1001@example.com";
    let mut dialog = kate.new_dialog(uri, uri);
    let credentials = kate.credentials(Method::Message, uri);
    kate.send_in(
        &mut lab,
        &mut dialog,
        Method::Message,
        &credentials,
        Some(("text/plain", "x")),
    );
    lab.pass_s(40);
    // RFC 4320 section 4.2: a 408 would come when she has given up.
    kate.expect_nothing(&mut lab);
    let copies = std::iter::from_fn(|| jim.take(&mut lab))
        .filter(|m| m.method() == Method::Message)
        .count();
    assert_eq!(copies, 11, "Timer E");
    lab.assert_clean();
}

#[test]
fn a_switch_that_drains_passes_no_new_call_on_and_lets_those_there_go_on() {
    let (mut lab, mut kate, jim, mut kates, _) = up();
    lab.ask(Command::Drain { limit_s: 60 });
    refused(&mut lab, &mut kate, "1001", "", 503);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    let bye = jim.expect_request(&mut lab, Method::Bye);
    jim.reply(&mut lab, &bye, 200, None);
    kate.expect(&mut lab, 200);
}

#[test]
fn a_scheme_that_nobody_knows_is_refused_by_a_proxy_too() {
    let (mut lab, mut kate, _) = pair();
    for uri in ["soap.beep://192.0.2.103:3002", "tel:1001", "sips:1001@example.com"] {
        let mut dialog = kate.new_dialog(uri, "sip:1001@example.com");
        kate.send_in(&mut lab, &mut dialog, Method::Message, "", None);
        kate.expect(&mut lab, 416);
    }
}

#[test]
fn a_sips_uri_is_passed_on_under_tls_only_and_its_dialog_stays_there() {
    let mut config = config();
    let mut listener = config.listeners[0].clone();
    listener.transport = sip::Transport::Tls;
    config.listeners.push(listener);
    let mut lab = Lab::with(config);
    let mut kate = Handset::secured("1000", 6000, "sips");
    kate.register(&mut lab);
    let plain = Handset::registered(&mut lab, "1001", 6100);
    let kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    let refusal = kate.expect(&mut lab, 480);
    assert_eq!(header(&refusal, Name::Warning), "380 tandem \"SIPS Not Allowed\"");
    kate.ack_failure(&mut lab, &kates, &refusal);
    let mut jim = Handset::secured("1001", 6200, "sips");
    jim.register(&mut lab);
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
    plain.expect_nothing(&mut lab);
    let invite = jim.expect_request(&mut lab, Method::Invite);
    let routes = values(&invite, Name::RecordRoute);
    assert!(
        !routes.is_empty() && routes.iter().all(|route| route.starts_with("<sips:")),
        "{routes:?}"
    );
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    jim.expect_request(&mut lab, Method::Ack);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    jim.expect_request(&mut lab, Method::Bye);
}
