//! Who is believed when a request is passed on: nobody but a trunk of our trust domain (RFC 3325, S10).

use super::*;
use crate::config::Outside;
use crate::config::trunks::{CallerId, Dial, Peer, Trunk};
use sip::Transport;
use std::net::SocketAddr;
use std::sync::Arc;

fn carrier_at() -> SocketAddr {
    ([203, 0, 113, 5], 5070).into()
}

/// 0... leads to a carrier by proxy, for everybody; from there 555 is 1001's number.
fn with_trunk(is_trusted: bool) -> (Lab, Handset, Handset, Handset) {
    let mut config = config();
    config.trunks = vec![Trunk {
        name: "carrier".into(),
        to: vec![Peer {
            transport: Transport::Udp,
            address: carrier_at(),
        }],
        sources: vec![carrier_at().ip(), [203, 0, 113, 6].into()],
        dial: Arc::new(Dial {
            context: "incoming".into(),
            rights: vec![],
        }),
        caller_id: CallerId::Prefix("+4930555".into()),
        is_trusted,
        mode: Mode::Proxy,
    }];
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
    let (mut lab, _, jim, mut carrier) = with_trunk(true);
    let claims = "P-Asserted-Identity: <sip:+491702@carrier.example>\r\nPrivacy: id\r\n";
    carrier.invite_with(&mut lab, "555", claims, Some(&sdp(7000, &[0])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert_eq!(invite.header(Name::PAssertedIdentity), None);
}
