//! What the user of the endpoint sees as a client.

use super::*;

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
fn what_is_abandoned_is_not_repeated_and_its_answer_belongs_to_nothing() {
    let mut b = Bench::new();
    let client = b.send(Destination::Flow(udp(PEER)), &draft(Method::Message));
    let request = b.messages().remove(0).1;
    assert_eq!(b.at(500).sent().len(), 1);
    b.endpoint.abandon(client);
    assert_eq!(b.at(40_000).sent(), [""; 0]);
    b.receive(udp(PEER), &response(&request, 200));
    assert!(b.events().is_empty());
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
    b.send(to.clone(), &large);
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
fn what_was_not_heard_of_goes_over_another_stream_once_if_we_opened_the_one_that_broke() {
    let mut b = Bench::new();
    let to = Destination::Address {
        transport: Transport::Tcp,
        local: address("192.0.2.1:5060"),
        peer: address(PEER),
    };
    b.send(to, &draft(Method::Message));
    let (token, ..) = b.connecting();
    b.endpoint.handle_connected(b.now, token, tcp(PEER, 4), &mut b.out);
    b.send(Destination::Flow(tcp(PEER, 4)), &draft(Method::Invite));
    b.send(Destination::Flow(tcp(PEER, 4)), &draft(Method::Invite));
    let sent = b.messages();
    b.receive(tcp(PEER, 4), &response(&sent[2].1, 180)).event();
    b.endpoint.handle_closed(b.now, tcp(PEER, 4), &mut b.out);
    // The one that rings may have been acted upon.
    let (failed, connects): (Vec<_>, Vec<_>) = std::mem::take(&mut b.out)
        .into_iter()
        .partition(|output| matches!(output, Output::Event(Event::SendFailed { .. })));
    assert_eq!((failed.len(), connects.len()), (1, 2), "{connects:?}");
    for (connection, output) in (5..).zip(connects) {
        let Output::Connect { token, peer, .. } = output else {
            panic!("{output:?}")
        };
        assert_eq!(peer, address(PEER));
        b.endpoint
            .handle_connected(b.now, token, tcp(PEER, connection), &mut b.out);
    }
    let again = b.messages();
    let texts = |list: &[(Flow, String)]| list.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&again), texts(&sent[..2]), "the same transactions");
    b.endpoint.handle_closed(b.now, tcp(PEER, 5), &mut b.out);
    assert!(matches!(b.event(), Event::SendFailed { .. }), "once");
    b.receive(tcp(PEER, 6), &response(&again[1].1, 486)).event();
    b.ends();
}

#[test]
fn an_answer_after_the_timeout_is_told_to_who_heeds_it() {
    for heeds in [true, false] {
        let mut b = Bench::new();
        let client = b.send(Destination::Flow(udp(PEER)), &draft(Method::Message));
        if heeds {
            b.endpoint.heed_late(client);
        }
        let text = b.messages().remove(0).1;
        assert!(matches!(b.at(32_000).event(), Event::Timeout { .. }));
        b.at(40_000).receive(udp(PEER), &response(&text, 100));
        b.receive(udp(PEER), &response(&text, 200));
        b.receive(udp(PEER), &response(&text, 200));
        assert_eq!(b.events().len(), usize::from(heeds));
        assert!(b.endpoint.is_idle());
    }
}

#[test]
fn nobody_waits_for_a_late_answer_for_ever() {
    let mut b = Bench::new();
    let client = b.send(Destination::Flow(udp(PEER)), &draft(Method::Message));
    b.endpoint.heed_late(client);
    b.at(32_000).events();
    assert!(!b.at(63_999).endpoint.is_idle());
    assert!(b.at(64_000).endpoint.is_idle());
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
        &crate::Splice::of(&message),
        7,
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

#[test]
fn a_forwarded_invite_is_cancelled_with_one_via() {
    let mut b = Bench::new();
    let message = b.receive(udp(PEER), &request("INVITE", "z9hG4bK1")).request();
    let to = udp("203.0.113.5:5060");
    let splice = crate::Splice::of(&message);
    let client = b
        .endpoint
        .forward(b.now, Destination::Flow(to), &splice, 7, OWNER, &mut b.out);
    let invite = b.messages().remove(0).1;
    b.receive(to, &response(&invite, 180));
    b.endpoint.cancel(b.now, client, &Headers::new(), &mut b.out);
    let cancel = b.messages().remove(0).1;
    assert_eq!(cancel.matches("Via:").count(), 1, "{cancel}");
    b.receive(to, &response(&cancel, 200));
    assert_eq!(
        (b.endpoint.counters().strays, b.endpoint.counters().clients_alive),
        (0, 1)
    );
    assert_eq!(b.at(5_000).endpoint.counters().clients_alive, 0);
    b.receive(to, &response(&invite, 487));
    b.ends();
}

#[test]
fn a_request_is_known_by_the_mark_of_our_via_when_it_comes_back() {
    let mut b = Bench::new();
    let message = b.receive(udp(PEER), &request("INVITE", "z9hG4bK1")).request();
    assert!(!b.endpoint.has_passed(&message, 7));
    let to = Destination::Flow(udp("203.0.113.5:5060"));
    let splice = crate::Splice::of(&message);
    b.endpoint.forward(b.now, to, &splice, 7, OWNER, &mut b.out);
    let text = b.messages().remove(0).1;
    let back = crate::Message::parse(bytes::Bytes::from(text)).unwrap();
    assert!(b.endpoint.has_passed(&back, 7) && !b.endpoint.has_passed(&back, 8));
}

#[test]
fn a_passed_response_has_lost_our_via_and_a_success_is_not_repeated_by_us() {
    let mut b = Bench::new();
    let message = b.receive(udp(PEER), &request("INVITE", "z9hG4bK1")).request();
    let to = udp("203.0.113.5:5060");
    b.endpoint.forward(
        b.now,
        Destination::Flow(to),
        &crate::Splice::of(&message),
        7,
        OWNER,
        &mut b.out,
    );
    let invite = b.messages().remove(0).1;
    let server = b.endpoint.accept(b.now, udp(PEER), message, OWNER, &mut b.out);
    b.messages();
    b.receive(to, &response(&invite, 200));
    let Event::Response { message: ok, .. } = b.event() else {
        panic!("the 200")
    };
    let passed = crate::Splice::of(&ok).remove_first(crate::Name::Via);
    for _ in 0..2 {
        assert!(b.endpoint.pass(b.now, server, &passed, &mut b.out));
        let text = b.messages().remove(0).1;
        assert_eq!(text.matches("Via:").count(), 1, "{text}");
    }
    assert!(b.at(31_999).messages().is_empty());
    b.ends();
}
