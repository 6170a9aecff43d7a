//! Trunks that are known by name, and peers that name others: where the DNS leads (RFC 3263), and whom it leads nowhere.

use super::lab::Lab;
use super::outside::{carrier, lab_with};
use super::{Handset, header, sdp, told_bye};
use crate::config::trunks::{Peer, To};
use sip::locate::{Found, Question, Service, Srv};
use sip::{Method, Name, Transport, Uri};
use std::net::SocketAddr;
use std::sync::Arc;

const NAME: &str = "sip.carrier.example";

fn at(last: u8) -> SocketAddr {
    ([203, 0, 113, last], 5060).into()
}

/// One of the carrier's machines.
fn machine(last: u8) -> Handset {
    let mut machine = carrier("x");
    machine.flow.peer = at(last);
    machine
}

fn address(name: &str, last: u8) -> (Question, Found) {
    (Question::Address(name.into()), Found::Address(vec![at(last).ip()]))
}

/// The carrier is its name: machine 11 serves it and, if that fails, 12; 20 is its edge, and 66 belongs to somebody else.
fn named() -> (Lab, Handset, Handset) {
    let (mut lab, kate, jim) = lab_with(|config| {
        let uri = format!("sip:{NAME}");
        let service = Service::of(&Uri::parse(uri.as_bytes()).unwrap()).unwrap();
        config.trunks[0].to = To::Name(Arc::new(service));
    });
    let srv = |priority, target: &str| Srv {
        priority,
        weight: 0,
        port: 5060,
        target: target.into(),
    };
    let servers = vec![srv(1, "a.carrier.example"), srv(2, "b.carrier.example")];
    lab.dns = vec![
        (Question::Srv(format!("_sip._udp.{NAME}").into()), Found::Srv(servers)),
        address("a.carrier.example", 11),
        address("b.carrier.example", 12),
        address("edge.carrier.example", 20),
        address("victim.example", 66),
    ];
    (lab, kate, jim)
}

/// Kate hangs up, and this machine is told.
fn ends(lab: &mut Lab, kate: &mut Handset, kates: &mut super::Dialog, machine: &Handset) {
    kate.send_in(lab, kates, Method::Bye, "", None);
    kate.expect(lab, 200);
    told_bye(lab, machine);
    assert_eq!(lab.waiting(at(66)), 0);
    lab.assert_clean();
}

#[test]
fn a_trunk_is_called_by_name_and_where_its_first_server_is_dead_the_second_has_the_call() {
    for is_silent in [true, false] {
        let (mut lab, mut kate, _) = named();
        let mut kates = kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0, 101])));
        let (first, mut second) = (machine(11), machine(12));
        let invite = first.expect_request(&mut lab, Method::Invite);
        assert_eq!(invite.request_uri(), b"sip:+49301234@sip.carrier.example");
        assert_eq!(header(&invite, Name::To), "<sip:+49301234@sip.carrier.example>");
        if is_silent {
            lab.pass_s(2);
        } else {
            first.reply(&mut lab, &invite, 503, None);
        }
        while first.take(&mut lab).is_some() {}
        let invite = second.expect_request(&mut lab, Method::Invite);
        // Its Contact is the name of all of them: the one that has the call is meant.
        second.host = Some(NAME);
        second.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0, 101])));
        second.expect_request(&mut lab, Method::Ack);
        let ok = kate.expect(&mut lab, 200);
        kate.ack(&mut lab, &mut kates, &ok, None);
        ends(&mut lab, &mut kate, &mut kates, &second);
        first.expect_nothing(&mut lab);
    }
}

#[test]
fn several_addresses_of_a_trunk_are_tried_one_after_the_other_and_a_dead_one_last_for_a_while() {
    let (mut lab, mut kate, _) = lab_with(|config| {
        let peer = |last| Peer {
            transport: Transport::Udp,
            address: at(last),
        };
        config.trunks[0].to = To::Addresses(vec![peer(11), peer(12)]);
    });
    let (first, second) = (machine(11), machine(12));
    kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0, 101])));
    let invite = first.expect_request(&mut lab, Method::Invite);
    assert_eq!(invite.request_uri(), b"sip:+49301234@203.0.113.11:5060");
    lab.pass_s(2);
    while first.take(&mut lab).is_some() {}
    let invite = second.expect_request(&mut lab, Method::Invite);
    assert_eq!(invite.request_uri(), b"sip:+49301234@203.0.113.12:5060");
    second.reply(&mut lab, &invite, 486, None);
    second.expect_request(&mut lab, Method::Ack);
    kate.expect(&mut lab, 486);
    kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0, 101])));
    first.expect_nothing(&mut lab);
    second.expect_request(&mut lab, Method::Invite);
}

#[test]
fn requests_in_a_call_follow_the_names_in_the_carriers_contact_and_record_route() {
    for routes in ["", "Record-Route: <sip:edge.carrier.example:5060;lr>\r\n"] {
        let (mut lab, mut kate, _) = named();
        let mut kates = kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0, 101])));
        let mut first = machine(11);
        let invite = first.expect_request(&mut lab, Method::Invite);
        first.host = Some(if routes.is_empty() {
            "edge.carrier.example:5060"
        } else {
            "10.1.2.3"
        });
        first.reply_with(&mut lab, &invite, 200, routes, Some(&sdp(7100, &[0, 101])));
        let edge = machine(20);
        let ack = edge.expect_request(&mut lab, Method::Ack);
        assert_eq!(ack.values(Name::Route).count(), usize::from(!routes.is_empty()));
        let ok = kate.expect(&mut lab, 200);
        kate.ack(&mut lab, &mut kates, &ok, None);
        ends(&mut lab, &mut kate, &mut kates, &edge);
        first.expect_nothing(&mut lab);
    }
}

#[test]
fn a_name_in_a_call_that_leads_nowhere_leaves_the_call_where_the_carrier_is_heard() {
    let (mut lab, mut kate, _) = named();
    let mut kates = kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0, 101])));
    let mut first = machine(11);
    let invite = first.expect_request(&mut lab, Method::Invite);
    first.host = Some("nowhere.carrier.example");
    first.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0, 101])));
    first.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    ends(&mut lab, &mut kate, &mut kates, &first);
}

/// S25: a phone's word sends nobody anywhere.
#[test]
fn a_phone_that_names_others_is_spoken_to_where_it_is_heard() {
    let (mut lab, mut kate, _) = named();
    let mut jim = Handset::new("1002", 6300);
    jim.host = Some("victim.example");
    jim.register(&mut lab);
    let mut kates = kate.invite(&mut lab, "1002", Some(&sdp(7000, &[0, 101])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    let extra = "Record-Route: <sip:victim.example;lr>\r\n";
    jim.reply_with(&mut lab, &invite, 200, extra, Some(&sdp(7100, &[0, 101])));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    ends(&mut lab, &mut kate, &mut kates, &jim);
}

#[test]
fn a_dead_dns_costs_its_call_six_seconds_and_a_clear_refusal_and_no_other_call_anything() {
    let (mut lab, mut kate, mut jim) = named();
    lab.dns_is_dead = true;
    let outside = kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0, 101])));
    let mut jims = jim.invite(&mut lab, "1000", Some(&sdp(7200, &[0, 101])));
    let invite = kate.expect_request(&mut lab, Method::Invite);
    kate.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0, 101])));
    kate.expect_request(&mut lab, Method::Ack);
    let ok = jim.expect(&mut lab, 200);
    jim.ack(&mut lab, &mut jims, &ok, None);
    lab.pass_s(5);
    kate.expect_nothing(&mut lab);
    lab.pass_s(1);
    // 503 would say that the switch itself can do nothing (RFC 3261 section 16.7 step 6).
    let refusal = kate.expect(&mut lab, 500);
    kate.ack_failure(&mut lab, &outside, &refusal);
    jim.send_in(&mut lab, &mut jims, Method::Bye, "", None);
    jim.expect(&mut lab, 200);
    told_bye(&mut lab, &kate);
    lab.assert_clean();
}

#[test]
fn who_gives_up_while_a_name_is_looked_up_calls_nobody() {
    let (mut lab, mut kate, _) = named();
    lab.dns_is_dead = true;
    let kates = kate.invite(&mut lab, "0301234", Some(&sdp(7000, &[0, 101])));
    kate.cancel(&mut lab, &kates, "");
    kate.expect(&mut lab, 200);
    let refusal = kate.expect(&mut lab, 487);
    kate.ack_failure(&mut lab, &kates, &refusal);
    lab.pass_s(10);
    machine(11).expect_nothing(&mut lab);
    lab.assert_clean();
}

/// RFC 5626 section 4.3, and what every phone behind a NAT needs.
#[test]
fn in_a_call_both_phones_are_reached_over_their_flows_whatever_their_contacts_say() {
    let (mut lab, mut kate, mut jim) = named();
    (kate.host, jim.host) = (Some("10.9.8.7:5060;ob"), Some("203.0.113.66:5060"));
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0, 101])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0, 101])));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    let mut jims = jim.dialog_of(&invite);
    jim.send_in(&mut lab, &mut jims, Method::Bye, "", None);
    jim.expect(&mut lab, 200);
    let bye = told_bye(&mut lab, &kate);
    assert_eq!(bye.request_uri(), b"sip:1000@10.9.8.7:5060;ob");
    assert_eq!(lab.waiting(at(66)), 0);
    lab.assert_clean();
}
