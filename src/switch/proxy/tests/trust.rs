//! Who is believed when a request is passed on: nobody but a trunk of our trust domain (RFC 3325, S10).

use super::*;
use crate::config::Outside;
use crate::config::trunks::{CallerId, Dial, Peer, To, Trunk};
use sip::locate::{Found, Question, Service, Srv};
use sip::{Transport, Uri};
use std::net::SocketAddr;
use std::sync::Arc;

fn carrier_at() -> SocketAddr {
    ([203, 0, 113, 5], 5070).into()
}

fn with_trunk(is_trusted: bool) -> (Lab, Handset, Handset, Handset) {
    with_trunk_as(is_trusted, |_| {})
}

/// 0... leads to a carrier by proxy, for everybody; from there 555 is 1001's number.
fn with_trunk_as(is_trusted: bool, change: impl FnOnce(&mut Trunk)) -> (Lab, Handset, Handset, Handset) {
    let mut config = config();
    config.trunks = vec![Trunk {
        name: "carrier".into(),
        to: To::Addresses(vec![Peer {
            transport: Transport::Udp,
            address: carrier_at(),
        }]),
        sources: vec![carrier_at().ip(), [203, 0, 113, 6].into()],
        dial: Arc::new(Dial {
            context: "incoming".into(),
            rights: vec![],
        }),
        caller_id: CallerId::Prefix("+4930555".into()),
        is_trusted,
        mode: Mode::Proxy,
        asks_load: false,
    }];
    change(&mut config.trunks[0]);
    let outside = Outside {
        trunk: "carrier".into(),
        strip: 1,
        prepend: "+49".into(),
    };
    let mut out = Rule::new(Pattern::Prefix("0".into()), Action::Trunk(outside));
    out.mode = Mode::Proxy;
    let mut reached = Rule::new(Pattern::Exact("555".into()), Action::User(Some("1001".into())));
    reached.contexts = vec!["incoming".into()];
    reached.mode = Mode::Proxy;
    config.dialplan.splice(0..0, [out, reached]);
    for listener in &mut config.listeners {
        listener.local = ([192, 0, 2, 1], 5060).into();
    }
    let mut lab = Lab::with(config);
    let phone = |lab: &mut Lab, user: &str, port| {
        let mut phone = Handset::new(user, port);
        phone.flow.local = ([192, 0, 2, 1], 5060).into();
        phone.register(lab);
        phone
    };
    let (kate, jim) = (phone(&mut lab, "1000", 6000), phone(&mut lab, "1001", 6100));
    let mut carrier = Handset::new("+491701", 0);
    (carrier.flow.peer, carrier.flow.local) = (carrier_at(), ([192, 0, 2, 1], 5060).into());
    (lab, kate, jim, carrier)
}

const CLAIMS: &str = "P-Asserted-Identity: <sip:1000@example.com>\r\nRemote-Party-ID: <sip:1009@example.com>\r\n\
                      Diversion: <sip:1009@example.com>\r\nX-Evil: 1\r\n";

#[test]
fn what_a_phone_asserts_is_taken_out() {
    let (mut lab, mut kate, jim) = pair();
    kate.invite_with(&mut lab, "1001", CLAIMS, Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    for name in ["P-Asserted-Identity", "Remote-Party-ID", "Diversion", "X-Evil"] {
        assert_eq!(invite.header_named(name), None, "{name}");
    }
    // In answers too, and inside the dialog.
    jim.reply_with(&mut lab, &invite, 180, CLAIMS, None);
    assert_eq!(kate.expect(&mut lab, 180).header(Name::PAssertedIdentity), None);
}

#[test]
fn a_trusted_trunk_is_told_who_calls_and_believed_and_another_is_not() {
    for is_trusted in [true, false] {
        let (mut lab, mut kate, jim, mut carrier) = with_trunk(is_trusted);
        let mut kates = kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0])));
        let invite = carrier.expect_request(&mut lab, Method::Invite);
        assert_eq!(invite.request_uri(), b"sip:+49301234@203.0.113.5:5070");
        let told = if is_trusted {
            "\"User 1000\" <sip:+49305551000@example.com>"
        } else {
            ""
        };
        assert_eq!(header(&invite, Name::PAssertedIdentity), told);
        // It answers from another of its addresses, and is followed there.
        let contact = format!("<{}>", carrier.contact());
        let elsewhere = "<sip:+49301234@203.0.113.6:5090>";
        let extra = format!("P-Asserted-Identity: <sip:+49301234@carrier.example>\r\nX-Note: {contact}\r\n");
        carrier.reply_with(&mut lab, &invite, 200, &extra, Some(&sdp(7100, &[0])));
        let ok = kate.expect(&mut lab, 200);
        assert_eq!(ok.header(Name::PAssertedIdentity).is_some(), is_trusted);
        kate.ack(&mut lab, &mut kates, &ok, None);
        carrier.expect_request(&mut lab, Method::Ack);
        kates.target = elsewhere.trim_matches(['<', '>']).to_owned();
        kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
        let bye = lab.take(SocketAddr::from(([203, 0, 113, 6], 5090))).expect("the BYE");
        carrier.reply(&mut lab, &bye, 200, None);
        kate.expect(&mut lab, 200);

        let claims = "P-Asserted-Identity: \"Ada\" <sip:+491702@carrier.example>\r\nX-Note: 1\r\n";
        carrier.invite_with(&mut lab, "555", claims, Some(&sdp(7000, &[0])));
        let invite = jim.expect_request(&mut lab, Method::Invite);
        assert_eq!(invite.header(Name::PAssertedIdentity).is_some(), is_trusted);
        assert_eq!(invite.header_named("X-Note").is_some(), is_trusted);
    }
}

#[test]
fn who_wants_privacy_is_not_named_beyond_the_trust_domain() {
    for wish in ["id", "user", "header", "session;id"] {
        let (mut lab, mut kate, jim, mut carrier) = with_trunk(true);
        let claims = format!("P-Asserted-Identity: <sip:+491702@carrier.example>\r\nPrivacy: {wish}\r\n");
        carrier.invite_with(&mut lab, "555", &claims, Some(&sdp(7000, &[0])));
        let invite = jim.expect_request(&mut lab, Method::Invite);
        assert_eq!(invite.header(Name::PAssertedIdentity), None, "{wish}");
        assert_eq!(
            header(&invite, Name::Privacy),
            wish,
            "the next one is to know it as well"
        );
        // Nor who answers, nor inside of the dialog.
        let mut kates = kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0])));
        let invite = carrier.expect_request(&mut lab, Method::Invite);
        carrier.reply_with(&mut lab, &invite, 200, &claims, Some(&sdp(7100, &[0])));
        let ok = kate.expect(&mut lab, 200);
        assert_eq!(ok.header(Name::PAssertedIdentity), None, "{wish}");
        kate.ack(&mut lab, &mut kates, &ok, None);
        carrier.expect_request(&mut lab, Method::Ack);
        let mut theirs = carrier.dialog_of(&invite);
        carrier.send_in(&mut lab, &mut theirs, Method::Update, &claims, None);
        let update = kate.expect_request(&mut lab, Method::Update);
        assert_eq!(update.header(Name::PAssertedIdentity), None, "{wish}");
    }
}

#[test]
fn what_a_proxy_cannot_keep_private_goes_no_further_if_that_is_critical() {
    let (mut lab, mut kate, jim) = pair();
    for (wish, is_refused) in [
        ("header;critical", true),
        ("user; critical", true),
        ("id;critical", false),
    ] {
        let extra = format!("Privacy: {wish}\r\n");
        let kates = kate.invite_with(&mut lab, "1001", &extra, Some(&sdp(7000, &[0])));
        if is_refused {
            let refusal = kate.expect(&mut lab, 500);
            kate.ack_failure(&mut lab, &kates, &refusal);
            jim.expect_nothing(&mut lab);
        } else {
            jim.expect_request(&mut lab, Method::Invite);
        }
    }
}

#[test]
fn a_trunk_that_wants_nothing_new_is_passed_nothing_on() {
    let (mut lab, mut kate, _, carrier) = with_trunk_as(false, |trunk| trunk.asks_load = true);
    let kates = kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0])));
    let invite = carrier.expect_request(&mut lab, Method::Invite);
    let load = ";oc=100;oc-algo=\"loss\";oc-validity=5000;oc-seq=1.0";
    let text = String::from_utf8_lossy(invite.bytes()).replace(";oc;oc-algo=\"loss\"", load);
    carrier.reply(&mut lab, &Message::parse(text.into_bytes().into()).unwrap(), 486, None);
    carrier.expect_request(&mut lab, Method::Ack);
    rejected(&mut lab, &kate, &kates, 486);
    let kates = kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0])));
    rejected(&mut lab, &kate, &kates, 500);
    carrier.expect_nothing(&mut lab);
    lab.pass_s(5);
    kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0])));
    carrier.expect_request(&mut lab, Method::Invite);
}

/// The carrier is known by name: two servers, of which the first can do nothing now.
#[test]
fn a_proxied_call_goes_to_the_servers_of_a_name_and_its_dialog_to_machines_of_that_name_only() {
    let name = Uri::parse(b"sip:carrier.example").unwrap();
    let service = Arc::new(Service::of(&name).unwrap());
    let (mut lab, mut kate, _, mut carrier) = with_trunk_as(false, |trunk| trunk.to = To::Name(service));
    let at = |last: u8| SocketAddr::from(([203, 0, 113, last], 5060));
    let address = |name: &str, last| (Question::Address(name.into()), Found::Address(vec![at(last).ip()]));
    let srv = |priority, target: &str| Srv {
        priority,
        weight: 0,
        port: 5060,
        target: target.into(),
    };
    let servers = vec![srv(1, "a.carrier.example"), srv(2, "b.carrier.example")];
    lab.dns = vec![
        (Question::Srv("_sip._udp.carrier.example".into()), Found::Srv(servers)),
        address("a.carrier.example", 11),
        address("b.carrier.example", 12),
        address("host.elsewhere.example", 66),
    ];
    let mut kates = kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0])));
    carrier.flow.peer = at(11);
    let invite = carrier.expect_request(&mut lab, Method::Invite);
    assert_eq!(invite.request_uri(), b"sip:+49301234@carrier.example");
    carrier.reply(&mut lab, &invite, 503, None);
    carrier.expect_request(&mut lab, Method::Ack);
    carrier.flow.peer = at(12);
    let invite = carrier.expect_request(&mut lab, Method::Invite);
    // Its Contact is a machine of its own, by name, and so the ACK goes there.
    carrier.host = Some("b.carrier.example:5060");
    carrier.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    carrier.expect_request(&mut lab, Method::Ack);
    // What a phone makes of the target leads it nowhere else: the call's own name is looked up.
    kates.target = "sip:+49301234@host.elsewhere.example".to_owned();
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    let bye = carrier.expect_request(&mut lab, Method::Bye);
    assert_eq!(lab.waiting(at(66)), 0);
    carrier.reply(&mut lab, &bye, 200, None);
    kate.expect(&mut lab, 200);
    // And the carrier's own requests in a dialog reach the phone.
    let mut kates = kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0])));
    let invite = carrier.expect_request(&mut lab, Method::Invite);
    carrier.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    carrier.expect_request(&mut lab, Method::Ack);
    let mut theirs = carrier.dialog_of(&invite);
    carrier.send_in(&mut lab, &mut theirs, Method::Bye, "", None);
    kate.expect_request(&mut lab, Method::Bye);
}
