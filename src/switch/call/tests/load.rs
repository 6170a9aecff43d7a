//! What trunks say of their load, and what is then kept from them (RFC 7339).

use super::outside::{carrier, lab_with};
use super::*;
use crate::config::trunks::{Peer, To, Trunk};
use crate::config::{Action, Outside, Pattern, Rule};
use sip::locate::{Found, Question, Service, Srv};
use sip::{Transport, Uri};
use std::sync::Arc;

const NUMBER: &str = "0301234";

fn asking() -> (Lab, Handset, Handset) {
    asking_at(|_| {})
}

fn asking_at(place: impl FnOnce(&mut Trunk)) -> (Lab, Handset, Handset) {
    let (lab, kate, _) = lab_with(|config| {
        config.trunks[0].asks_load = true;
        place(&mut config.trunks[0]);
        let outside = Outside {
            trunk: "carrier".into(),
            strip: 0,
            prepend: "".into(),
        };
        let mut help = Rule::new(Pattern::Exact("112".into()), Action::Trunk(outside));
        help.is_emergency = true;
        config.dialplan.insert(0, help);
    });
    (lab, kate, carrier("x"))
}

/// Answers an INVITE, with this filled in for our question.
fn answer(lab: &mut Lab, carrier: &Handset, invite: &Message, status: u16, load: &str) {
    let text = String::from_utf8_lossy(invite.bytes()).replace(";oc;oc-algo=\"loss\"", load);
    let asked = Message::parse(text.into_bytes().into()).unwrap();
    let answer = (status == 200).then(|| sdp(7100, &[0, 101]));
    carrier.reply(lab, &asked, status, answer.as_deref());
    carrier.expect_request(lab, Method::Ack);
}

/// Whether a call reaches the carrier, who is busy and says this of his load; else the caller hears 500, as when the carrier itself says 503.
fn reaches(lab: &mut Lab, kate: &mut Handset, carrier: &Handset, number: &str, load: &str) -> bool {
    let kates = kate.invite(lab, number, Some(&sdp(7000, &[0, 101])));
    let invite = carrier.take(lab);
    if let Some(invite) = &invite {
        answer(lab, carrier, invite, 486, load);
    }
    let refusal = kate.expect(lab, if invite.is_some() { 486 } else { 500 });
    kate.ack_failure(lab, &kates, &refusal);
    invite.is_some()
}

#[test]
fn a_trunk_that_is_asked_gets_as_much_less_as_it_wants_and_for_as_long() {
    let (mut lab, mut kate, carrier) = asking();
    let half = ";oc=50;oc-algo=\"loss\";oc-validity=10000;oc-seq=2.5";
    assert!(reaches(&mut lab, &mut kate, &carrier, NUMBER, half));
    // An older word, and words that mean nothing to us, change nothing.
    let others = [
        ";oc=0;oc-seq=2.4",
        ";oc=0;oc-algo=\"rate\";oc-seq=9",
        ";oc=101;oc-seq=9",
        ";oc=x",
        "",
    ];
    let reached = (0..10).filter(|n| reaches(&mut lab, &mut kate, &carrier, NUMBER, others[n % others.len()]));
    assert_eq!(reached.count(), 5);
    assert!(reaches(&mut lab, &mut kate, &carrier, "112", ""), "a call for help");
    lab.pass_s(10);
    let reached = (0..5).filter(|_| reaches(&mut lab, &mut kate, &carrier, NUMBER, ""));
    assert_eq!(reached.count(), 5, "it has held long enough");
    assert_eq!(lab.figure("trunk_requests_held_back_total"), 5);
    assert_eq!(lab.figure("send_failures_total"), 0, "nothing has failed");
    // A validity of nought ends it at once.
    let none = ";oc=100;oc-algo=\"loss\";oc-validity=60000;oc-seq=3.0";
    assert!(reaches(&mut lab, &mut kate, &carrier, NUMBER, none));
    assert!(!reaches(&mut lab, &mut kate, &carrier, NUMBER, ""));
    assert!(reaches(
        &mut lab,
        &mut kate,
        &carrier,
        "112",
        ";oc=0;oc-validity=0;oc-seq=3.1"
    ));
    assert!(reaches(&mut lab, &mut kate, &carrier, NUMBER, ""));
    lab.assert_clean();
}

#[test]
fn the_later_word_of_a_trunk_counts_whatever_number_of_digits_it_has_or_none_at_all() {
    let none = ";oc=0;oc-validity=0";
    for (before, later, counts) in [
        ("10.15", ";oc-seq=10.2", true),
        ("10.2", ";oc-seq=10.15", false),
        ("10.000000000000000000015", ";oc-seq=10.1", true),
        ("10", ";oc-seq=10.0", true),
        ("10.5", ";oc-seq=10", false),
        ("10.5", "", true),
    ] {
        let (mut lab, mut kate, carrier) = asking();
        let all = format!(";oc=100;oc-algo=\"loss\";oc-validity=60000;oc-seq={before}");
        assert!(reaches(&mut lab, &mut kate, &carrier, NUMBER, &all));
        assert!(reaches(&mut lab, &mut kate, &carrier, "112", &format!("{none}{later}")));
        assert_eq!(
            reaches(&mut lab, &mut kate, &carrier, NUMBER, ""),
            counts,
            "{before}{later}"
        );
    }
}

/// Two servers of the trunk, by their addresses and by a name.
fn servers() -> [(Lab, Handset, [Handset; 2]); 2] {
    let server = |last| {
        let mut server = carrier("x");
        server.flow.peer = ([203, 0, 113, last], 5070).into();
        server
    };
    let servers = [server(5), server(6)];
    let (lab, kate, _) = asking_at(|trunk| {
        let peers = servers.each_ref().map(|server| Peer {
            transport: Transport::Udp,
            address: server.flow.peer,
        });
        trunk.to = To::Addresses(peers.into());
    });
    let by_address = (lab, kate, servers);
    let (mut lab, kate, _) = asking_at(|trunk| {
        let name = Uri::parse(b"sip:carrier.example").unwrap();
        trunk.to = To::Name(Arc::new(Service::of(&name).unwrap()));
        trunk.sources.clear();
    });
    let found = ["a", "b"].map(|target| Srv {
        priority: if target == "a" { 1 } else { 2 },
        weight: 0,
        port: 5070,
        target: target.into(),
    });
    let address = |name: &str, last| {
        (
            Question::Address(name.into()),
            Found::Address(vec![[203, 0, 113, last].into()]),
        )
    };
    lab.dns = vec![
        (
            Question::Srv("_sip._udp.carrier.example".into()),
            Found::Srv(found.into()),
        ),
        address("a", 5),
        address("b", 6),
    ];
    [by_address, (lab, kate, [server(5), server(6)])]
}

#[test]
fn what_one_server_of_a_trunk_does_not_want_goes_to_the_next_one_and_what_none_wants_nowhere() {
    for (mut lab, mut kate, [first, second]) in servers() {
        // It is turned away, and its word counts; the second has the call.
        let kates = kate.invite(&mut lab, NUMBER, Some(&sdp(7000, &[0, 101])));
        let invite = first.expect_request(&mut lab, Method::Invite);
        let half = ";oc=50;oc-algo=\"loss\";oc-validity=10000;oc-seq=9.0";
        answer(&mut lab, &first, &invite, 503, half);
        let invite = second.expect_request(&mut lab, Method::Invite);
        assert!(header(&invite, Name::Via).contains(";oc;oc-algo"));
        answer(&mut lab, &second, &invite, 486, "");
        let refusal = kate.expect(&mut lab, 486);
        kate.ack_failure(&mut lab, &kates, &refusal);
        // It is asked last for half a minute; what it said holds for as long as it said.
        let mut seen = |lab: &mut Lab, load: &str| {
            let kates = kate.invite(lab, NUMBER, Some(&sdp(7000, &[0, 101])));
            let places = [&first, &second].map(|server| {
                let invite = server.take(lab)?;
                answer(lab, server, &invite, 486, load);
                Some(())
            });
            let status = if places == [None, None] { 500 } else { 486 };
            let refusal = kate.expect(lab, status);
            kate.ack_failure(lab, &kates, &refusal);
            places.map(|place| place.is_some())
        };
        // The clocks of two servers have nothing to do with each other.
        let all = ";oc=100;oc-algo=\"loss\";oc-validity=9000;oc-seq=1.0";
        assert_eq!(seen(&mut lab, all), [false, true]);
        let taken: Vec<_> = (0..4).map(|_| seen(&mut lab, "")).collect();
        let by_first = taken.iter().filter(|places| **places == [true, false]).count();
        assert_eq!((by_first, taken.contains(&[false, true])), (2, false), "{taken:?}");
        lab.pass_s(10);
        assert_eq!(seen(&mut lab, ""), [false, true]);
        // One that was turned away went on; what was held back has not failed.
        let figures = ["send_failures_total", "failovers_total"].map(|name| lab.figure(name));
        assert_eq!(figures, [0, 1]);
        lab.assert_clean();
    }
}

#[test]
fn what_belongs_to_a_call_goes_to_a_trunk_that_wants_nothing_new() {
    let (mut lab, mut kate, carrier) = asking();
    let mut kates = kate.invite(&mut lab, NUMBER, Some(&sdp(7000, &[0, 101])));
    let invite = carrier.expect_request(&mut lab, Method::Invite);
    answer(
        &mut lab,
        &carrier,
        &invite,
        200,
        ";oc=100;oc-algo=\"loss\";oc-validity=60000;oc-seq=1.0",
    );
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    assert!(!reaches(&mut lab, &mut kate, &carrier, NUMBER, ""));
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    told_bye(&mut lab, &carrier);
    lab.assert_clean();
}

#[test]
fn a_trunk_that_is_not_asked_is_not_heeded() {
    let (mut lab, mut kate, _) = lab_with(|_| {});
    let carrier = carrier("x");
    kate.invite(&mut lab, NUMBER, Some(&sdp(7000, &[0, 101])));
    let invite = carrier.expect_request(&mut lab, Method::Invite);
    let via = header(&invite, Name::Via);
    assert!(!via.contains("oc"), "{via}");
    let text = String::from_utf8_lossy(invite.bytes()).replace(";rport\r\n", ";rport;oc=100;oc-validity=60000\r\n");
    let asked = Message::parse(text.into_bytes().into()).unwrap();
    carrier.reply(&mut lab, &asked, 486, None);
    carrier.expect_request(&mut lab, Method::Ack);
    kate.expect(&mut lab, 486);
    assert!(reaches(&mut lab, &mut kate, &carrier, NUMBER, ""));
}
