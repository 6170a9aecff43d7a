//! What the user of the endpoint sees as a server.

use super::*;

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
fn a_late_answer_is_kept_as_one_given_at_once() {
    let mut b = Bench::new();
    let server = b.accept(&request("MESSAGE", "z9hG4bK1"));
    assert!(b.at(1_000).respond(server, 200));
    let first = b.messages();
    assert_eq!(
        b.at(32_999)
            .receive(udp(PEER), &request("MESSAGE", "z9hG4bK1"))
            .messages(),
        first
    );
    // A copy by another way (section 8.2.2.2) is known as long.
    let copy = request("MESSAGE", "z9hG4bK2");
    assert!(matches!(
        b.receive(udp(PEER), &copy).event(),
        Event::Request { merged: true, .. }
    ));
    assert!(!b.respond(server, 486));
    assert_eq!(b.endpoint.audit(), Ok(()));
    assert!(b.at(33_000).endpoint.is_idle());
    assert!(matches!(
        b.receive(udp(PEER), &copy).event(),
        Event::Request { merged: false, .. }
    ));
}

#[test]
fn a_request_is_answered_once() {
    let mut b = Bench::new();
    let message = b.receive(udp(PEER), &request("OPTIONS", "z9hG4bK1")).request();
    for _ in 0..2 {
        b.endpoint
            .answer(b.now, udp(PEER), &message, &Reply::new(200), &mut b.out);
    }
    assert_eq!(b.sent(), ["SIP/2.0 200 OK"]);
    assert_eq!(b.endpoint.audit(), Ok(()));
    b.ends();
}

#[test]
fn kept_answers_are_bounded_and_the_oldest_go_first() {
    let mut b = Bench::new();
    for n in 0..servers::MAX_KEPT + 10 {
        let text = request("OPTIONS", &format!("z9hG4bK{n}x"));
        let message = Message::parse(Bytes::from(text.replace('\n', "\r\n"))).unwrap();
        b.endpoint
            .answer(b.now, udp(PEER), &message, &Reply::new(200), &mut b.out);
        b.out.clear();
    }
    let counters = b.endpoint.counters();
    assert_eq!(
        (counters.servers_alive, counters.evicted),
        (servers::MAX_KEPT as u64, 10)
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
fn a_success_that_has_its_ack_is_not_kept() {
    let mut b = Bench::new();
    let server = b.accept(&request("INVITE", "z9hG4bK1"));
    b.endpoint.settle(server);
    assert!(b.respond(server, 200));
    assert_eq!(b.sent(), ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]);
    b.endpoint.repeat(b.now, server, &mut b.out);
    assert_eq!(b.sent(), ["SIP/2.0 200 OK"]);
    b.endpoint.settle(server);
    b.endpoint.repeat(b.now, server, &mut b.out);
    assert_eq!(b.sent(), [""; 0]);
    assert_eq!(
        b.at(20_000).receive(udp(PEER), &request("INVITE", "z9hG4bK1")).sent(),
        [""; 0],
        "it is no new one"
    );
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
