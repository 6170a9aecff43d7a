//! The endpoint against a peer made of text, in virtual time.

use super::*;
use crate::draft::Body;
use bytes::Bytes;

/// Not random at all, but never the same twice.
#[derive(Default)]
pub(crate) struct Counting(u64);

impl Tokens for Counting {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0
    }
}

struct Bench {
    endpoint: Endpoint,
    out: Vec<Output>,
    now: Mono,
}

const OWNER: Owner = Owner(7);

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn udp(peer: &str) -> Flow {
    Flow {
        transport: Transport::Udp,
        local: address("192.0.2.1:5060"),
        peer: address(peer),
        connection: 0,
    }
}

fn tcp(peer: &str, connection: u64) -> Flow {
    Flow {
        transport: Transport::Tcp,
        connection,
        ..udp(peer)
    }
}

const PEER: &str = "198.51.100.9:5060";

impl Bench {
    fn new() -> Bench {
        let endpoint = Endpoint::new(Config::default(), Box::new(Counting::default()));
        Bench {
            endpoint,
            out: Vec::new(),
            now: Mono(0),
        }
    }

    /// Time passes up to `ms`; every deadline is met on the way.
    fn at(&mut self, ms: u64) -> &mut Bench {
        let until = Mono(ms * 1_000_000);
        while let Some(due) = self.endpoint.poll_timeout().filter(|due| *due <= until) {
            self.now = due.max(self.now);
            self.endpoint.handle_timeout(self.now, &mut self.out);
        }
        self.now = until;
        self.endpoint.audit().unwrap();
        self
    }

    fn receive(&mut self, flow: Flow, text: &str) -> &mut Bench {
        match Message::parse(Bytes::from(text.replace('\n', "\r\n"))) {
            Ok(message) => self.endpoint.handle_message(self.now, flow, message, &mut self.out),
            Err(malformed) => self.endpoint.handle_malformed(self.now, flow, malformed, &mut self.out),
        }
        self.endpoint.audit().unwrap();
        self
    }

    /// What was sent since last asked: start lines.
    fn sent(&mut self) -> Vec<String> {
        self.messages()
            .iter()
            .map(|(_, text)| text.lines().next().unwrap().to_owned())
            .collect()
    }

    fn messages(&mut self) -> Vec<(Flow, String)> {
        let (sent, rest) = std::mem::take(&mut self.out)
            .into_iter()
            .partition(|o| matches!(o, Output::Transmit { .. }));
        self.out = rest;
        let text = |o| match o {
            Output::Transmit { flow, bytes } => (flow, String::from_utf8(bytes.to_vec()).unwrap()),
            _ => unreachable!(),
        };
        sent.into_iter().map(text).collect()
    }

    /// The one event there is.
    fn event(&mut self) -> Event {
        let events = self.events();
        assert_eq!(events.len(), 1, "{events:?}");
        events.into_iter().next().unwrap()
    }

    fn events(&mut self) -> Vec<Event> {
        let (events, rest) = std::mem::take(&mut self.out)
            .into_iter()
            .partition(|o| matches!(o, Output::Event(_)));
        self.out = rest;
        let event = |o| match o {
            Output::Event(event) => event,
            _ => unreachable!(),
        };
        events.into_iter().map(event).collect()
    }

    fn connecting(&mut self) -> (Connecting, Transport, SocketAddr) {
        let at = self
            .out
            .iter()
            .position(|o| matches!(o, Output::Connect { .. }))
            .expect("nothing connects");
        match self.out.remove(at) {
            Output::Connect {
                token, transport, peer, ..
            } => (token, transport, peer),
            _ => unreachable!(),
        }
    }

    /// The request that came up.
    fn request(&mut self) -> Message {
        match self.event() {
            Event::Request { message, .. } => message,
            other => panic!("{other:?}"),
        }
    }

    fn accept(&mut self, text: &str) -> ServerId {
        let message = self.receive(udp(PEER), text).request();
        self.endpoint.accept(self.now, udp(PEER), message, OWNER, &mut self.out)
    }

    fn respond(&mut self, server: ServerId, status: u16) -> bool {
        let done = self
            .endpoint
            .respond(self.now, server, &Reply::new(status), &mut self.out);
        self.endpoint.audit().unwrap();
        done
    }

    fn send(&mut self, destination: Destination, draft: &Draft) -> ClientId {
        self.endpoint.send(self.now, destination, draft, OWNER, &mut self.out)
    }

    /// After everything has had its time nothing is left.
    fn ends(&mut self) {
        self.at(self.now.millis() + 128_000 / 2);
        assert!(self.endpoint.is_idle(), "{:?}", self.endpoint);
    }
}

fn request(method: &str, branch: &str) -> String {
    let host = "phone.invalid:5060";
    format!(
        "{method} sip:b@example.com SIP/2.0\nVia: SIP/2.0/UDP {host};branch={branch};rport\nFrom: <sip:a@example.com>;tag=1\n\
         To: <sip:b@example.com>\nCall-ID: c1\nCSeq: 1 {method}\nMax-Forwards: 70\nContent-Length: 0\n\n"
    )
}

fn draft(method: Method) -> Draft {
    Draft::new(
        method,
        "sip:b@example.com",
        "<sip:a@example.com>;tag=1",
        "<sip:b@example.com>",
        "c1",
        1,
    )
}

/// A response to a request of ours that was sent.
fn response(sent: &str, status: u16) -> String {
    let keep = |l: &&str| {
        ["Via", "From", "To", "Call-ID", "CSeq"]
            .iter()
            .any(|n| l.starts_with(&format!("{n}:")))
    };
    let lines: Vec<&str> = sent.lines().filter(keep).collect();
    format!(
        "SIP/2.0 {status} X\n{}\nContent-Length: 0\n\n",
        lines.join("\n").replace("b@example.com>", "b@example.com>;tag=2")
    )
}

// ---- as a server ----

#[test]
fn a_new_request_costs_no_state_and_stateless_replies_have_one_tag() {
    let mut b = Bench::new();
    let mut tags = Vec::new();
    for _ in 0..2 {
        let message = b.receive(udp(PEER), &request("REGISTER", "z9hG4bK1")).request();
        b.endpoint.reply(udp(PEER), &message, &Reply::new(401), &mut b.out);
        let (flow, text) = b.messages().remove(0);
        assert_eq!(flow, udp(PEER));
        assert!(text.starts_with("SIP/2.0 401 Unauthorized\r\n"), "{text}");
        tags.push(text.lines().find(|l| l.starts_with("To:")).unwrap().to_owned());
    }
    assert!(tags[0].contains(";tag="));
    assert_eq!(tags[0], tags[1]);
    assert!(b.endpoint.is_idle());
}

#[test]
fn an_answer_is_repeated_for_retransmissions_until_timer_j() {
    let mut b = Bench::new();
    let message = b.receive(udp(PEER), &request("REGISTER", "z9hG4bK1")).request();
    b.endpoint
        .answer(b.now, udp(PEER), &message, &Reply::new(200), &mut b.out);
    let first = b.messages();
    assert_eq!(
        b.at(31_999)
            .receive(udp(PEER), &request("REGISTER", "z9hG4bK1"))
            .messages(),
        first
    );
    assert!(b.events().is_empty());
    assert_eq!(
        (
            b.endpoint.counters().servers_alive,
            b.endpoint.counters().retransmissions_absorbed
        ),
        (1, 1)
    );
    b.at(32_000);
    assert!(b.endpoint.is_idle());
    b.receive(udp(PEER), &request("REGISTER", "z9hG4bK1")).request();
}

#[test]
fn kept_answers_are_bounded_and_the_oldest_go_first() {
    let mut b = Bench::new();
    for n in 0..servers::MAX_COMPLETED + 10 {
        let text = request("OPTIONS", &format!("z9hG4bK{n}x"));
        let message = Message::parse(Bytes::from(text.replace('\n', "\r\n"))).unwrap();
        b.endpoint
            .answer(b.now, udp(PEER), &message, &Reply::new(200), &mut b.out);
        b.out.clear();
    }
    let counters = b.endpoint.counters();
    assert_eq!(
        (counters.servers_alive, counters.evicted),
        (servers::MAX_COMPLETED as u64, 10)
    );
    b.receive(udp(PEER), &request("OPTIONS", "z9hG4bK9x")).request();
    assert_eq!(
        b.receive(udp(PEER), &request("OPTIONS", "z9hG4bK10x")).sent(),
        ["SIP/2.0 200 OK"]
    );
    b.ends();
}

#[test]
fn an_invite_gets_100_and_its_refusal_is_repeated_until_ack() {
    let mut b = Bench::new();
    let server = b.accept(&request("INVITE", "z9hG4bK1"));
    assert_eq!(b.sent(), ["SIP/2.0 100 Trying"]);
    assert_eq!(
        b.receive(udp(PEER), &request("INVITE", "z9hG4bK1")).sent(),
        ["SIP/2.0 100 Trying"]
    );
    assert!(b.respond(server, 486));
    assert_eq!(b.at(1_500).sent(), ["SIP/2.0 486 Busy Here"; 3]);
    b.receive(udp(PEER), &request("ACK", "z9hG4bK1"));
    assert_eq!(b.at(3_000).sent(), [""; 0]);
    assert!(b.events().is_empty());
    assert_eq!(b.at(6_500).endpoint.counters().invite_servers_alive, 0);
    assert!(!b.respond(server, 486));
    b.ends();
}

#[test]
fn only_the_user_repeats_a_success_and_gets_its_ack() {
    let mut b = Bench::new();
    let server = b.accept(&request("INVITE", "z9hG4bK1"));
    let tag = b.endpoint.new_tag();
    b.endpoint.bind_dialog(tag, OWNER);
    let ok = Reply {
        to_tag: Some(tag),
        ..Reply::new(200)
    };
    assert!(b.endpoint.respond(b.now, server, &ok, &mut b.out));
    assert_eq!(b.sent(), ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]);
    assert_eq!(
        b.at(20_000).receive(udp(PEER), &request("INVITE", "z9hG4bK1")).sent(),
        [""; 0]
    );
    b.endpoint.repeat(b.now, server, &mut b.out);
    assert_eq!(b.sent(), ["SIP/2.0 200 OK"]);
    let ack = request("ACK", "z9hG4bKother")
        .replace("To: <sip:b@example.com>", &format!("To: <sip:b@example.com>;tag={tag}"));
    assert!(matches!(
        b.receive(udp(PEER), &ack).event(),
        Event::Ack {
            dialog: Some(OWNER),
            ..
        }
    ));
    b.endpoint.unbind_dialog(tag);
    b.ends();
}

#[test]
fn a_slow_user_is_covered_by_100_when_rfc_4320_allows_it_and_given_up_in_the_end() {
    let mut b = Bench::new();
    let server = b.accept(&request("MESSAGE", "z9hG4bK1"));
    assert!(!b.respond(server, 180));
    assert_eq!(b.at(3_499).sent(), [""; 0]);
    assert_eq!(b.at(3_500).sent(), ["SIP/2.0 100 Trying"]);
    b.at(32_000);
    assert_eq!(
        (b.endpoint.counters().unanswered, b.endpoint.counters().servers_alive),
        (1, 0)
    );
    assert!(!b.respond(server, 200));
    b.ends();
}

#[test]
fn a_408_is_never_sent_to_a_non_invite() {
    let mut b = Bench::new();
    let server = b.accept(&request("MESSAGE", "z9hG4bK1"));
    assert!(b.respond(server, 408));
    assert_eq!(b.sent(), [""; 0]);
    assert!(b.endpoint.is_idle());
}

#[test]
fn a_cancel_is_answered_and_told_once() {
    let mut b = Bench::new();
    let server = b.accept(&request("INVITE", "z9hG4bK1"));
    b.sent();
    assert_eq!(
        b.receive(udp(PEER), &request("CANCEL", "z9hG4bK1")).sent(),
        ["SIP/2.0 200 OK"]
    );
    assert!(matches!(b.event(), Event::Cancel { server: s, owner: OWNER, .. } if s == server));
    assert_eq!(
        b.receive(udp(PEER), &request("CANCEL", "z9hG4bK1")).sent(),
        ["SIP/2.0 200 OK"]
    );
    assert!(b.events().is_empty());
    assert!(b.respond(server, 487));
    assert_eq!(
        b.receive(udp(PEER), &request("CANCEL", "z9hG4bK1")).sent(),
        ["SIP/2.0 487 Request Terminated", "SIP/2.0 200 OK"]
    );
    b.ends();
}

#[test]
fn a_cancel_for_nothing_or_from_elsewhere_gets_481() {
    let mut b = Bench::new();
    b.accept(&request("INVITE", "z9hG4bK1"));
    b.sent();
    let unknown = ["SIP/2.0 481 Call/Transaction Does Not Exist"];
    assert_eq!(b.receive(udp(PEER), &request("CANCEL", "z9hG4bK2")).sent(), unknown);
    assert_eq!(
        b.receive(udp("203.0.113.66:5060"), &request("CANCEL", "z9hG4bK1"))
            .sent(),
        unknown
    );
    assert!(b.events().is_empty());
}

#[test]
fn a_cancel_after_the_answer_changes_nothing() {
    let mut b = Bench::new();
    let server = b.accept(&request("INVITE", "z9hG4bK1"));
    b.respond(server, 200);
    b.sent();
    assert_eq!(
        b.receive(udp(PEER), &request("CANCEL", "z9hG4bK1")).sent(),
        ["SIP/2.0 200 OK"]
    );
    assert!(b.events().is_empty());
    b.ends();
}

#[test]
fn a_copy_that_came_another_way_is_marked() {
    let mut b = Bench::new();
    let server = b.accept(&request("INVITE", "z9hG4bK1"));
    assert!(matches!(
        b.receive(udp(PEER), &request("INVITE", "z9hG4bK2")).event(),
        Event::Request { merged: true, .. }
    ));
    b.respond(server, 486);
    b.receive(udp(PEER), &request("ACK", "z9hG4bK1")).at(5_000);
    assert!(matches!(
        b.receive(udp(PEER), &request("INVITE", "z9hG4bK3")).event(),
        Event::Request { merged: false, .. }
    ));
}

#[test]
fn without_rport_the_answer_goes_to_the_port_of_sent_by_if_the_sender_knows_its_address() {
    for (sent_by, to) in [
        ("198.51.100.9:5080", "198.51.100.9:5080"),
        ("198.51.100.9", "198.51.100.9:5060"),
        ("192.168.1.4:5080", "198.51.100.9:40000"),
        ("198.51.100.9:5080;rport", "198.51.100.9:40000"),
    ] {
        let mut b = Bench::new();
        let text = request("OPTIONS", "z9hG4bK1")
            .replace("phone.invalid:5060", sent_by)
            .replace(";branch=z9hG4bK1;rport", ";branch=z9hG4bK1");
        let message = b.receive(udp("198.51.100.9:40000"), &text).request();
        b.endpoint
            .reply(udp("198.51.100.9:40000"), &message, &Reply::new(200), &mut b.out);
        assert_eq!(b.messages()[0].0.peer, address(to), "{sent_by}");
    }
}

#[test]
fn a_response_whose_stream_is_gone_goes_to_the_port_of_sent_by() {
    let mut b = Bench::new();
    let flow = tcp("198.51.100.9:40000", 5);
    let message = b.receive(flow, &request("INVITE", "z9hG4bK1")).request();
    let server = b.endpoint.accept(b.now, flow, message, OWNER, &mut b.out);
    b.sent();
    b.endpoint.handle_closed(b.now, flow, &mut b.out);
    assert!(b.respond(server, 486));
    let (token, transport, peer) = b.connecting();
    assert_eq!((transport, peer), (Transport::Tcp, address("198.51.100.9:5060")));
    b.endpoint.handle_connected(b.now, token, tcp(PEER, 6), &mut b.out);
    b.endpoint.handle_connected(b.now, token, tcp(PEER, 6), &mut b.out);
    let sent = b.messages();
    assert_eq!((sent.len(), sent[0].0.connection), (1, 6));
    b.ends();
}

#[test]
fn what_is_malformed_is_answered_without_state_or_dropped() {
    let mut b = Bench::new();
    b.receive(
        udp(PEER),
        &request("OPTIONS", "z9hG4bK1").replace("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"),
    );
    assert!(b.sent()[0].starts_with("SIP/2.0 400 "));
    b.receive(udp(PEER), "garbage\n\n");
    assert_eq!(b.sent(), [""; 0]);
    assert_eq!(b.endpoint.counters().malformed, 2);
    assert!(b.endpoint.is_idle());
}

// ---- as a client ----

#[test]
fn a_request_gets_our_via_and_its_response_comes_back() {
    let mut b = Bench::new();
    let client = b.send(
        Destination::Flow(udp(PEER)),
        &draft(Method::Options).body(Body::sdp("v=0\r\n")),
    );
    let (flow, text) = b.messages().remove(0);
    assert_eq!(flow, udp(PEER));
    assert!(
        text.starts_with("OPTIONS sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK"),
        "{text}"
    );
    assert!(
        text.ends_with("Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"),
        "{text}"
    );
    b.receive(udp(PEER), &response(&text, 200));
    assert!(
        matches!(b.event(), Event::Response { client: c, owner: OWNER, message, .. } if c == client && message.status() == 200)
    );
    b.receive(udp(PEER), &response(&text, 200));
    assert!(b.events().is_empty());
    assert_eq!(
        (
            b.endpoint.counters().retransmissions_absorbed,
            b.endpoint.counters().strays
        ),
        (1, 0)
    );
    b.ends();
}

#[test]
fn responses_that_are_not_ours_are_dropped_and_counted() {
    let mut b = Bench::new();
    b.send(Destination::Flow(udp(PEER)), &draft(Method::Options));
    let text = b.messages().remove(0).1;
    let good = response(&text, 200);
    for bad in [
        good.replace("192.0.2.1:5060", "203.0.113.5:5060"),
        good.replace("\nFrom:", "\nVia: SIP/2.0/UDP other;branch=z9hG4bK0\nFrom:"),
        good.replace("OPTIONS", "MESSAGE"),
        good.replace("branch=z9hG4bK0", "branch=z9hG4bK1"),
        good.replace("branch=z9hG4bK", "branch="),
    ] {
        assert_ne!(bad, good);
        b.receive(udp(PEER), &bad);
    }
    assert!(b.events().is_empty());
    assert_eq!(b.endpoint.counters().strays, 5);
    b.receive(udp(PEER), &good).event();
    b.ends();
}

#[test]
fn nobody_answers() {
    let mut b = Bench::new();
    let client = b.send(Destination::Flow(udp(PEER)), &draft(Method::Message));
    assert_eq!(b.at(31_999).sent().len(), 11);
    assert!(matches!(b.at(32_000).event(), Event::Timeout { client: c, owner: OWNER } if c == client));
    assert_eq!(b.endpoint.counters().timeouts, 1);
    assert!(b.endpoint.is_idle());
}

#[test]
fn a_refused_invite_is_acknowledged_hop_by_hop() {
    let mut b = Bench::new();
    b.send(
        Destination::Flow(udp(PEER)),
        &draft(Method::Invite).header(crate::Name::Route, "<sip:p.example.com;lr>"),
    );
    let invite = b.messages().remove(0).1;
    b.receive(udp(PEER), &response(&invite, 486));
    assert!(matches!(b.event(), Event::Response { .. }));
    let ack = b.messages().remove(0).1;
    assert!(ack.starts_with("ACK sip:b@example.com SIP/2.0\r\n"), "{ack}");
    for line in ["Via:", "From:", "Call-ID:", "Route:"].map(|n| invite.lines().find(|l| l.starts_with(n)).unwrap()) {
        assert!(ack.contains(line), "{line} in {ack}");
    }
    assert!(
        ack.contains("To: <sip:b@example.com>;tag=2\r\n") && ack.contains("CSeq: 1 ACK\r\n"),
        "{ack}"
    );
    b.receive(udp(PEER), &response(&invite, 486));
    assert_eq!(b.sent(), ["ACK sip:b@example.com SIP/2.0"]);
    assert!(b.events().is_empty());
    b.ends();
}

#[test]
fn a_cancel_waits_for_a_provisional_response() {
    let mut b = Bench::new();
    let client = b.send(Destination::Flow(udp(PEER)), &draft(Method::Invite));
    let invite = b.messages().remove(0).1;
    let reason = Headers::new().with(crate::Name::Reason, "SIP;cause=200;text=\"Call completed elsewhere\"");
    b.endpoint.cancel(b.now, client, &reason, &mut b.out);
    b.endpoint.cancel(b.now, client, &Headers::new(), &mut b.out);
    assert_eq!(b.at(400).sent(), [""; 0]);
    b.receive(udp(PEER), &response(&invite, 180))
        .receive(udp(PEER), &response(&invite, 183));
    let sent = b.messages();
    assert_eq!(sent.len(), 1);
    let cancel = &sent[0].1;
    let via = |text: &str| text.lines().find(|l| l.starts_with("Via:")).unwrap().to_owned();
    assert!(
        cancel.starts_with("CANCEL sip:b@example.com SIP/2.0\r\n") && cancel.contains("Reason: SIP;cause=200"),
        "{cancel}"
    );
    assert_eq!(via(cancel), via(&invite));
    assert_eq!(b.at(900).sent(), ["CANCEL sip:b@example.com SIP/2.0"]);
    b.receive(udp(PEER), &response(cancel, 200))
        .receive(udp(PEER), &response(&invite, 487));
    let statuses: Vec<u16> = b
        .events()
        .iter()
        .map(|e| {
            if let Event::Response { message, .. } = e {
                message.status()
            } else {
                0
            }
        })
        .collect();
    assert_eq!(statuses, [180, 183, 487]);
    assert_eq!(b.sent(), ["ACK sip:b@example.com SIP/2.0"]);
    b.ends();
}

#[test]
fn a_cancel_that_nobody_heeds_ends_the_invite_after_64_t1() {
    let mut b = Bench::new();
    let client = b.send(Destination::Flow(udp(PEER)), &draft(Method::Invite));
    let invite = b.messages().remove(0).1;
    b.receive(udp(PEER), &response(&invite, 180)).event();
    b.endpoint.cancel(b.now, client, &Headers::new(), &mut b.out);
    assert!(matches!(b.at(32_000).event(), Event::Timeout { .. }));
    assert!(b.endpoint.is_idle());
}

#[test]
fn a_success_after_the_transaction_goes_to_its_dialog() {
    let mut b = Bench::new();
    let tag = b.endpoint.new_tag();
    let from = format!("<sip:a@example.com>;tag={tag}");
    let invite = Draft::new(
        Method::Invite,
        "sip:b@example.com",
        &from,
        "<sip:b@example.com>",
        "c1",
        1,
    );
    b.send(Destination::Flow(udp(PEER)), &invite);
    let text = b.messages().remove(0).1;
    b.receive(udp(PEER), &response(&text, 200)).event();
    b.receive(udp(PEER), &response(&text, 200)).event();
    b.at(32_000).receive(udp(PEER), &response(&text, 200));
    assert!(b.events().is_empty());
    b.endpoint.bind_dialog(tag, OWNER);
    assert!(matches!(
        b.receive(udp(PEER), &response(&text, 200)).event(),
        Event::StrayResponse { dialog: OWNER, .. }
    ));
    b.endpoint.unbind_dialog(tag);
    b.ends();
}

#[test]
fn a_large_request_goes_over_tcp_or_if_that_is_refused_over_udp() {
    let to = Destination::Address {
        transport: Transport::Udp,
        local: address("192.0.2.1:5060"),
        peer: address(PEER),
    };
    let large = draft(Method::Message).body(Body {
        content_type: "text/plain".into(),
        content: vec![b'x'; 1_300].into(),
    });
    let mut b = Bench::new();
    b.send(to, &large);
    let (token, transport, peer) = b.connecting();
    assert_eq!((transport, peer), (Transport::Tcp, address(PEER)));
    b.endpoint.handle_connected(b.now, token, tcp(PEER, 3), &mut b.out);
    let (flow, text) = b.messages().remove(0);
    assert!(
        flow.connection == 3 && text.contains("\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;"),
        "{text}"
    );
    b.receive(flow, &response(&text, 200)).event();
    assert!(b.endpoint.is_idle());

    b.send(to, &large);
    let (token, ..) = b.connecting();
    b.endpoint.handle_connect_failed(b.now, token, &mut b.out);
    let (flow, text) = b.messages().remove(0);
    assert!(
        flow == udp(PEER) && text.contains("\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;"),
        "{text}"
    );
    b.receive(flow, &response(&text, 200)).event();

    b.send(Destination::Flow(udp(PEER)), &large);
    assert_eq!(b.messages().len(), 1, "a known flow is used whatever the size");
    b.ends();
}

#[test]
fn a_stream_that_cannot_be_had_or_breaks_is_told_at_once() {
    let mut b = Bench::new();
    let to = Destination::Address {
        transport: Transport::Tcp,
        local: address("192.0.2.1:5060"),
        peer: address(PEER),
    };
    b.send(to, &draft(Method::Message));
    let (token, ..) = b.connecting();
    b.endpoint.handle_connect_failed(b.now, token, &mut b.out);
    assert!(matches!(b.event(), Event::SendFailed { .. }));

    for _ in 0..3 {
        b.send(Destination::Flow(tcp(PEER, 4)), &draft(Method::Message));
    }
    let answered = b.messages().remove(1).1;
    b.receive(tcp(PEER, 4), &response(&answered, 200)).event();
    b.endpoint.handle_closed(b.now, tcp(PEER, 4), &mut b.out);
    assert!(matches!(
        b.events()[..],
        [Event::SendFailed { .. }, Event::SendFailed { .. }]
    ));
    b.send(Destination::Flow(tcp(PEER, 4)), &draft(Method::Message));
    assert!(matches!(b.event(), Event::SendFailed { .. }));
    assert!(b.endpoint.is_idle());
}

#[test]
fn a_stream_that_never_opens_times_out() {
    let mut b = Bench::new();
    let to = Destination::Address {
        transport: Transport::Tcp,
        local: address("192.0.2.1:5060"),
        peer: address(PEER),
    };
    b.send(to, &draft(Method::Message));
    let (token, ..) = b.connecting();
    assert!(matches!(b.at(32_000).event(), Event::Timeout { .. }));
    b.endpoint.handle_connected(b.now, token, tcp(PEER, 4), &mut b.out);
    assert!(b.messages().is_empty() && b.endpoint.is_idle());
}

#[test]
fn a_forwarded_request_has_our_via_above_the_others() {
    let mut b = Bench::new();
    let message = b.receive(udp(PEER), &request("MESSAGE", "z9hG4bK1")).request();
    b.endpoint.forward(
        b.now,
        Destination::Flow(udp("203.0.113.5:5060")),
        &message,
        OWNER,
        &mut b.out,
    );
    let text = b.messages().remove(0).1;
    let vias: Vec<&str> = text.lines().filter(|l| l.starts_with("Via:")).collect();
    assert!(vias.len() == 2 && vias[0].contains("192.0.2.1:5060"), "{text}");
    b.receive(udp("203.0.113.5:5060"), &response(&text, 200));
    assert!(matches!(b.event(), Event::Response { message, .. } if message.values(crate::Name::Via).count() == 2));
    b.ends();
}

// ---- ids and timers ----

#[test]
fn an_id_never_names_another_transaction() {
    let mut b = Bench::new();
    let first = b.accept(&request("MESSAGE", "z9hG4bK1"));
    b.respond(first, 408);
    let second = b.accept(&request("MESSAGE", "z9hG4bK2"));
    assert_eq!(first.index, second.index);
    assert!(!b.respond(first, 200));
    assert!(b.endpoint.request(first).is_none() && b.endpoint.request(second).is_some());
    assert!(b.respond(second, 200));
}

#[test]
fn timers_of_the_user_fire_once_unless_cancelled() {
    let mut b = Bench::new();
    let ms = |ms: u64| Mono(ms * 1_000_000);
    b.endpoint.set_timer(ms(100), OWNER, 1);
    let cancelled = b.endpoint.set_timer(ms(100), OWNER, 2);
    b.endpoint.cancel_timer(cancelled);
    assert!(b.at(99).events().is_empty());
    assert!(matches!(b.at(100).event(), Event::Timer { owner: OWNER, kind: 1 }));
    b.endpoint.cancel_timer(cancelled);
    assert!(b.endpoint.is_idle());
}

#[test]
fn no_value_of_the_user_can_add_a_line() {
    let mut b = Bench::new();
    let evil = "x\r\nVia: SIP/2.0/UDP evil\r\n\r\n";
    let body = Body {
        content_type: format!("text/plain{evil}").into(),
        content: Bytes::from_static(b"x"),
    };
    b.send(
        Destination::Flow(udp(PEER)),
        &draft(Method::Message).header(crate::Name::Subject, evil).body(body),
    );
    let text = b.messages().remove(0).1;
    assert_eq!(
        Message::parse(Bytes::from(text))
            .unwrap()
            .values(crate::Name::Via)
            .count(),
        1
    );
}

// ---- whatever happens ----

/// One thing that happens to an endpoint or that its user does.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// A request: method, branch, and the stream it comes on (0: UDP).
    Receive(usize, u8, u64),
    /// The user answers the newest server transactions: how far back, status.
    Respond(usize, u16),
    /// The user sends: method, where to.
    Send(usize, u8),
    /// The peer answers what was sent: how far back, status.
    Answered(usize, u16),
    Cancel(usize),
    Disown(usize),
    Connected(usize, bool),
    Closed(u64),
    Repeat(usize),
}

const METHODS: [(&str, Method); 4] = [
    ("INVITE", Method::Invite),
    ("MESSAGE", Method::Message),
    ("CANCEL", Method::Cancel),
    ("ACK", Method::Ack),
];

fn stream(connection: u64) -> Flow {
    if connection == 0 {
        udp(PEER)
    } else {
        tcp(PEER, connection)
    }
}

/// The same things on and on, with all that was ever given or sent still at hand.
struct Script {
    bench: Bench,
    servers: Vec<ServerId>,
    clients: Vec<ClientId>,
    sent: Vec<String>,
    connecting: Vec<Connecting>,
}

impl Script {
    fn step(&mut self, step: &Step) {
        let b = &mut self.bench;
        match *step {
            Step::Wait(ms) => drop(b.at(b.now.millis() + ms)),
            Step::Receive(method, branch, connection) => {
                b.receive(
                    stream(connection),
                    &request(METHODS[method].0, &format!("z9hG4bK{branch}")),
                );
            }
            Step::Respond(back, status) => {
                if let Some(server) = newest(&self.servers, back) {
                    b.respond(server, status);
                }
            }
            Step::Send(method, to) => {
                let local = address("192.0.2.1:5060");
                let transport = if to == 3 { Transport::Tcp } else { Transport::Udp };
                let to = match to {
                    0..3 => Destination::Flow(stream(to.into())),
                    _ => Destination::Address {
                        transport,
                        local,
                        peer: address(PEER),
                    },
                };
                let client = b.send(to, &draft(METHODS[method % 2].1));
                self.clients.push(client);
            }
            Step::Answered(back, status) => {
                if let Some(text) = newest(&self.sent, back) {
                    b.receive(udp(PEER), &response(&text, status));
                }
            }
            Step::Cancel(back) => {
                if let Some(client) = newest(&self.clients, back) {
                    b.endpoint.cancel(b.now, client, &Headers::new(), &mut b.out);
                }
            }
            Step::Disown(back) => drop(newest(&self.clients, back).map(|client| b.endpoint.disown(client))),
            Step::Connected(back, fine) => match newest(&self.connecting, back) {
                Some(token) if fine => b.endpoint.handle_connected(b.now, token, tcp(PEER, 9), &mut b.out),
                Some(token) => b.endpoint.handle_connect_failed(b.now, token, &mut b.out),
                None => {}
            },
            Step::Closed(connection) => b.endpoint.handle_closed(b.now, stream(connection), &mut b.out),
            Step::Repeat(back) => {
                if let Some(server) = newest(&self.servers, back) {
                    b.endpoint.repeat(b.now, server, &mut b.out);
                }
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        let b = &mut self.bench;
        for output in std::mem::take(&mut b.out) {
            match output {
                Output::Transmit { bytes, .. } if !bytes.starts_with(b"SIP/2.0") => {
                    self.sent.push(String::from_utf8(bytes.to_vec()).unwrap());
                }
                Output::Connect { token, .. } => self.connecting.push(token),
                Output::Event(Event::Request { flow, message, .. }) => {
                    self.servers
                        .push(b.endpoint.accept(b.now, flow, message, OWNER, &mut b.out));
                }
                _ => {}
            }
        }
        b.out.retain(|o| !matches!(o, Output::Transmit { .. }));
        b.endpoint.audit().unwrap();
    }
}

fn newest<T: Clone>(all: &[T], back: usize) -> Option<T> {
    all.get(all.len().checked_sub(back + 1)?).cloned()
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    fn step() -> impl Strategy<Value = Step> {
        let status = prop_oneof![Just(100u16), Just(180), Just(200), Just(408), Just(486)];
        prop_oneof![
            (0u64..20_000).prop_map(Step::Wait),
            (0usize..4, 0u8..4, 0u64..3).prop_map(|(m, b, c)| Step::Receive(m, b, c)),
            (0usize..4, status.clone()).prop_map(|(n, s)| Step::Respond(n, s)),
            (0usize..2, 0u8..5).prop_map(|(m, to)| Step::Send(m, to)),
            (0usize..4, status).prop_map(|(n, s)| Step::Answered(n, s)),
            (0usize..4).prop_map(Step::Cancel),
            (0usize..4).prop_map(Step::Disown),
            (0usize..3, any::<bool>()).prop_map(|(n, fine)| Step::Connected(n, fine)),
            (1u64..3).prop_map(Step::Closed),
            (0usize..4).prop_map(Step::Repeat),
        ]
    }

    proptest! {
        /// The user's part is to answer every INVITE and to cancel what it no longer wants; then everything ends.
        #[test]
        fn nothing_is_left_two_lifetimes_after_the_last_word(steps in proptest::collection::vec(step(), 1..60)) {
            let (servers, clients, sent, connecting) = Default::default();
            let mut script = Script { bench: Bench::new(), servers, clients, sent, connecting };
            for step in &steps {
                script.step(step);
            }
            for back in 0..script.servers.len() {
                script.step(&Step::Respond(back, 500));
            }
            for back in 0..script.clients.len() {
                script.step(&Step::Cancel(back));
            }
            script.bench.at(script.bench.now.millis() + 2 * 32_000);
            prop_assert!(script.bench.endpoint.is_idle(), "{:?}", script.bench.endpoint);
        }
    }
}
