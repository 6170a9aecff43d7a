//! Requests to names, and to devices with several flows: RFC 3263 section 4.3, RFC 5626 section 5.3.

use super::*;
use crate::locate::{Question, Service, Srv};
use crate::{Name, Uri};
use std::sync::Arc;

const A: &str = "203.0.113.1:5060";
const B: &str = "203.0.113.2:5060";

fn service(uri: &str) -> Destination {
    Destination::Service {
        service: Arc::new(Service::of(&Uri::parse(uri.as_bytes()).unwrap()).unwrap()),
        local: address(LOCAL),
        only: None,
    }
}

fn srv(priority: u16, target: &str) -> Srv {
    Srv {
        priority,
        weight: 0,
        port: 5060,
        target: target.into(),
    }
}

impl Bench {
    fn questions(&mut self) -> Vec<(Resolving, Question)> {
        let (asked, rest) = std::mem::take(&mut self.out)
            .into_iter()
            .partition(|output| matches!(output, Output::Resolve { .. }));
        self.out = rest;
        let question = |output| match output {
            Output::Resolve { token, question } => (token, question),
            _ => unreachable!(),
        };
        asked.into_iter().map(question).collect()
    }

    /// A DNS in which `a` and `b` serve example.net over UDP, `a` first.
    fn resolve(&mut self) -> &mut Bench {
        loop {
            let questions = self.questions();
            if questions.is_empty() {
                return self;
            }
            for (token, question) in questions {
                let found = match &question {
                    Question::Naptr(_) => Found::Naptr(Vec::new()),
                    Question::Srv(name) if &**name == "_sip._udp.example.net" => {
                        Found::Srv(vec![srv(2, "b.example.net"), srv(1, "a.example.net")])
                    }
                    Question::Srv(name) if &**name == "_sips._tcp.secure.example.net" => {
                        Found::Srv(vec![srv(1, "a.example.net")])
                    }
                    Question::Srv(_) => Found::Srv(Vec::new()),
                    Question::Address(name) if &**name == "a.example.net" => Found::Address(vec![address(A).ip()]),
                    Question::Address(name) if &**name == "b.example.net" => Found::Address(vec![address(B).ip()]),
                    Question::Address(_) => Found::Address(Vec::new()),
                };
                self.endpoint.handle_resolved(self.now, token, found, &mut self.out);
                self.endpoint.audit().unwrap();
            }
        }
    }

    /// The one message that was sent.
    fn one(&mut self) -> (SocketAddr, String) {
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "{messages:?}");
        let (flow, text) = messages.remove(0);
        (flow.peer, text)
    }
}

#[test]
fn a_request_to_a_name_waits_for_the_dns_and_goes_to_the_first_target() {
    let mut b = Bench::new();
    b.send(service("sip:example.net"), &draft(Method::Message));
    assert!(b.messages().is_empty());
    let (peer, text) = b.resolve().one();
    assert_eq!(peer, address(A));
    assert!(
        text.starts_with("MESSAGE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;"),
        "{text}"
    );
    b.receive(udp(A), &response(&text, 200)).event();
    b.ends();
}

#[test]
fn a_server_that_can_do_nothing_now_is_passed_over() {
    for method in [Method::Invite, Method::Message] {
        let mut b = Bench::new();
        let client = b.send(service("sip:example.net"), &draft(method));
        let (_, first) = b.resolve().one();
        b.receive(udp(A), &response(&first, 503));
        let mut sent = b.messages();
        if method == Method::Invite {
            assert!(sent.remove(0).1.starts_with("ACK "));
        }
        let (flow, second) = sent.remove(0);
        assert_eq!(flow.peer, address(B));
        let branch = |text: &str| text.split("branch=").nth(1).unwrap()[..30].to_owned();
        assert_ne!(branch(&first), branch(&second), "a transaction of its own");
        assert!(b.events().is_empty(), "the user hears nothing of it");
        // What the first one says yet is nobody's.
        b.receive(udp(A), &response(&first, 486));
        assert!(b.events().is_empty());
        match b.receive(udp(B), &response(&second, 503)).event() {
            Event::Response {
                client: told, message, ..
            } => assert_eq!((told, message.status()), (client, 503)),
            other => panic!("{other:?}"),
        }
        assert_eq!(b.endpoint.counters().failovers, 1);
        b.messages();
        b.ends();
    }
}

#[test]
fn a_server_that_says_nothing_has_two_seconds() {
    let mut b = Bench::new();
    b.send(service("sip:example.net"), &draft(Method::Invite));
    b.resolve().messages();
    b.at(1_999).messages();
    let (peer, text) = b.at(2_000).one();
    assert_eq!(peer, address(B));
    // The last one has the whole time.
    b.receive(udp(B), &response(&text, 100)).event();
    b.at(30_000);
    assert!(b.events().is_empty());
    // For a while the dead one comes last.
    b.send(service("sip:example.net"), &draft(Method::Message));
    assert_eq!(b.resolve().messages().last().unwrap().0.peer, address(B));
    b.at(33_000);
    b.out.clear();
    b.send(service("sip:example.net"), &draft(Method::Message));
    assert_eq!(b.resolve().messages().last().unwrap().0.peer, address(A));
    b.at(200_000);
}

#[test]
fn a_server_that_has_said_trying_is_waited_for() {
    let mut b = Bench::new();
    b.send(service("sip:example.net"), &draft(Method::Invite));
    let (_, text) = b.resolve().one();
    b.receive(udp(A), &response(&text, 100));
    b.at(20_000);
    assert!(b.messages().is_empty());
}

#[test]
fn a_cancelled_request_goes_nowhere_else() {
    let mut b = Bench::new();
    let client = b.send(service("sip:example.net"), &draft(Method::Invite));
    let (_, text) = b.resolve().one();
    b.endpoint.cancel(b.now, client, &Headers::new(), &mut b.out);
    match b.receive(udp(A), &response(&text, 503)).event() {
        Event::Response { message, .. } => assert_eq!(message.status(), 503),
        other => panic!("{other:?}"),
    }
    b.messages();
    b.ends();
}

#[test]
fn a_name_that_leads_nowhere_cannot_be_sent_to() {
    let mut b = Bench::new();
    b.send(service("sip:nowhere.example.net"), &draft(Method::Message));
    assert!(matches!(b.resolve().event(), Event::SendFailed { .. }));
    b.ends();
}

#[test]
fn a_dns_that_says_nothing_costs_six_seconds_and_nobody_else() {
    let mut b = Bench::new();
    b.send(service("sip:example.net"), &draft(Method::Invite));
    b.send(service("sip:example.net"), &draft(Method::Message));
    assert_eq!(b.questions().len(), 1, "one lookup for both");
    b.send(Destination::Flow(udp(PEER)), &draft(Method::Message));
    let (_, text) = b.one();
    b.receive(udp(PEER), &response(&text, 200)).event();
    b.at(5_999);
    assert!(b.events().is_empty());
    assert_eq!(b.at(6_000).events().len(), 2);
    b.ends();
}

#[test]
fn under_tls_the_certificate_is_to_be_for_the_name() {
    let mut b = Bench::new();
    b.send(service("sips:secure.example.net"), &draft(Method::Message));
    b.resolve();
    let connects: Vec<Output> = std::mem::take(&mut b.out);
    let [
        Output::Connect {
            token,
            transport,
            peer,
            name,
            ..
        },
    ] = &connects[..]
    else {
        panic!("{connects:?}");
    };
    assert_eq!(
        (*transport, peer.port(), name.as_deref()),
        (Transport::Tls, 5060, Some("secure.example.net"))
    );
    b.endpoint.handle_connect_failed(b.now, *token, &mut b.out);
    assert!(matches!(b.event(), Event::SendFailed { .. }));
    b.ends();
}

#[test]
fn an_ack_to_a_name_under_tls_is_for_that_name_too() {
    let mut b = Bench::new();
    let way = service("sips:secure.example.net");
    b.endpoint.send_ack(b.now, way, &draft(Method::Ack), &mut b.out);
    b.resolve();
    let connects: Vec<Output> = std::mem::take(&mut b.out);
    let [Output::Connect { token, name, .. }] = &connects[..] else {
        panic!("{connects:?}");
    };
    assert_eq!(name.as_deref(), Some("secure.example.net"));
    b.endpoint.handle_connect_failed(b.now, *token, &mut b.out);
    b.ends();
}

#[test]
fn a_stream_that_comes_too_late_is_of_no_use() {
    let mut b = Bench::new();
    b.send(service("sip:example.net;transport=tcp"), &draft(Method::Message));
    for (token, question) in b.questions() {
        assert_eq!(question, Question::Srv("_sip._tcp.example.net".into()));
        let found = Found::Srv(vec![srv(1, "a"), srv(2, "b")]);
        b.endpoint.handle_resolved(b.now, token, found, &mut b.out);
    }
    for (token, question) in b.questions() {
        let at = if question == Question::Address("a".into()) {
            A
        } else {
            B
        };
        b.endpoint
            .handle_resolved(b.now, token, Found::Address(vec![address(at).ip()]), &mut b.out);
    }
    let (first, _, peer) = b.connecting();
    assert_eq!(peer, address(A));
    b.at(2_000);
    let (second, _, peer) = b.connecting();
    assert_eq!(peer, address(B));
    b.endpoint.handle_connected(b.now, first, tcp(A, 1), &mut b.out);
    assert!(b.messages().is_empty());
    b.endpoint.handle_connect_failed(b.now, first, &mut b.out);
    b.endpoint.handle_connected(b.now, second, tcp(B, 2), &mut b.out);
    let (peer, text) = b.one();
    assert!(peer == address(B) && text.contains("\r\nVia: SIP/2.0/TCP "), "{text}");
    b.receive(tcp(B, 2), &response(&text, 200)).event();
    b.ends();
}

#[test]
fn an_acknowledgement_to_a_name_finds_its_way_too() {
    let mut b = Bench::new();
    let ack = draft(Method::Ack);
    b.endpoint.send_ack(b.now, service("sip:example.net"), &ack, &mut b.out);
    let (peer, text) = b.resolve().one();
    assert!(peer == address(A) && text.starts_with("ACK "), "{text}");
    b.endpoint
        .send_ack(b.now, service("sip:nowhere.example.net"), &ack, &mut b.out);
    assert!(b.resolve().messages().is_empty());
    b.ends();
}

#[test]
fn a_flow_that_failed_is_passed_over_with_the_contact_of_the_next() {
    let way = |peer: &str, uri: &str, route: &str| crate::endpoint::Alternative {
        destination: Destination::Flow(udp(peer)),
        uri: uri.as_bytes().into(),
        route: route.as_bytes().into(),
    };
    let ways = [
        way(A, "sip:b@one.invalid", "<sip:edge1.example.com;lr;ob>"),
        way(
            B,
            "sip:b@two.invalid",
            "<sip:edge2.example.com;lr;ob>, <sip:p.example.com;lr>",
        ),
    ];
    let mut b = Bench::new();
    let first = draft(Method::Invite).header(Name::Route, "<sip:edge1.example.com;lr;ob>");
    b.send(Destination::AnyOf(ways.into()), &first);
    let (peer, text) = b.one();
    assert_eq!(peer, address(A));
    b.receive(udp(A), &response(&text, 430));
    let mut sent = b.messages();
    assert!(sent.remove(0).1.starts_with("ACK "));
    let (flow, text) = sent.remove(0);
    assert_eq!(flow.peer, address(B));
    assert!(text.starts_with("INVITE sip:b@two.invalid SIP/2.0\r\n"), "{text}");
    assert_eq!(text.matches("\r\nRoute: ").count(), 1, "{text}");
    assert!(
        text.contains("\r\nRoute: <sip:edge2.example.com;lr;ob>, <sip:p.example.com;lr>\r\n"),
        "{text}"
    );
    b.receive(udp(B), &response(&text, 486)).event();
    b.messages();
    b.ends();
}

fn either(first: Destination, second: Destination) -> Destination {
    Destination::AnyOf([first, second].map(Alternative::as_written).into())
}

fn at(peer: &str) -> Destination {
    Destination::Address {
        transport: Transport::Udp,
        local: address(LOCAL),
        peer: address(peer),
    }
}

#[test]
fn of_the_servers_of_a_name_the_one_that_was_heard_goes_on() {
    for heard in [A, B] {
        let mut b = Bench::new();
        b.send(
            either(service("sip:example.net"), Destination::Flow(udp(heard))),
            &draft(Method::Bye),
        );
        let (peer, text) = b.resolve().one();
        assert_eq!(peer, address(heard));
        b.receive(udp(heard), &response(&text, 200)).event();
        b.endpoint.send_ack(
            b.now,
            either(service("sip:example.net"), Destination::Flow(udp(heard))),
            &draft(Method::Ack),
            &mut b.out,
        );
        assert_eq!(b.resolve().one().0, address(heard));
        b.ends();
    }
}

#[test]
fn a_name_that_leads_nowhere_leaves_the_flow() {
    let mut b = Bench::new();
    let elsewhere = "203.0.113.77:5060";
    let way = || either(service("sip:nowhere.example"), Destination::Flow(udp(elsewhere)));
    b.send(way(), &draft(Method::Bye));
    let (peer, text) = b.resolve().one();
    assert_eq!(peer, address(elsewhere));
    b.receive(udp(elsewhere), &response(&text, 200)).event();
    b.endpoint.send_ack(b.now, way(), &draft(Method::Ack), &mut b.out);
    assert_eq!(b.resolve().one().0, address(elsewhere));
    b.ends();
}

#[test]
fn who_may_only_name_the_own_host_is_followed_nowhere_else() {
    let only = |only: &str| match service("sip:example.net") {
        Destination::Service { service, local, .. } => Destination::Service {
            service,
            local,
            only: Some(address(only).ip()),
        },
        other => other,
    };
    let mut b = Bench::new();
    b.send(only(B), &draft(Method::Message));
    let (peer, text) = b.resolve().one();
    assert_eq!(peer, address(B));
    b.receive(udp(B), &response(&text, 200)).event();
    b.send(only("198.51.100.200:5060"), &draft(Method::Message));
    assert!(b.resolve().messages().is_empty());
    assert!(matches!(b.event(), Event::SendFailed { .. }));
    b.ends();
}

#[test]
fn of_several_addresses_one_that_failed_comes_last_for_a_while() {
    let mut b = Bench::new();
    b.send(either(at(A), at(B)), &draft(Method::Message));
    assert_eq!(b.one().0, address(A));
    b.at(1_999).messages();
    let (peer, text) = b.at(2_000).one();
    assert_eq!(peer, address(B));
    b.receive(udp(B), &response(&text, 200)).event();
    b.send(either(at(A), at(B)), &draft(Method::Message));
    let (peer, text) = b.one();
    assert_eq!(peer, address(B));
    b.receive(udp(B), &response(&text, 200)).event();
    b.at(32_001);
    b.send(either(at(A), at(B)), &draft(Method::Message));
    assert_eq!(b.one().0, address(A));
}
