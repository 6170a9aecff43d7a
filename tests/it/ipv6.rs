//! IPv6 on real sockets, by every transport: phones of both families register, write to each other and speak with each other.

use crate::support::baresip::{Account, Baresip, Speech};
use crate::support::node::{Setup, TestNode};
use crate::support::phone::Phone;
use crate::support::raw::{Raw, text};
use crate::support::talk::Talk;
use crate::support::{http, log_in, wait_for};
use serde_json::{Value, json};
use sip::{Method, Name, Transport};
use std::net::SocketAddr;

fn start() -> TestNode {
    let listen = "switch.listen=udp://127.0.0.1:0,tcp://127.0.0.1:0,udp://[::1]:0,tcp://[::1]:0";
    Setup::new()
        .set(listen)
        .set("switch.media.address=127.0.0.1")
        .set("switch.media.second_address=::1")
        .start()
}

/// Where the node listens over UDP in one of the families.
fn at(node: &TestNode, is_six: bool) -> SocketAddr {
    let all = &node.node().addresses().sip;
    let of_it =
        |(transport, at): &&(sip::Transport, SocketAddr)| *transport == sip::Transport::Udp && at.is_ipv6() == is_six;
    all.iter().find(of_it).unwrap().1
}

fn phone(node: &TestNode, user: &str, is_six: bool) -> Raw {
    let mut phone = Raw::new(at(node, is_six), user);
    assert_eq!(phone.at().is_ipv6(), is_six);
    assert_eq!(phone.register(600), 200);
    phone
}

#[test]
fn phones_of_both_families_write_and_speak_to_each_other() {
    let node = start();
    for (caller_six, callee_six) in [(true, true), (true, false), (false, true)] {
        let (mut kate, jim) = (phone(&node, "1000", caller_six), phone(&node, "1001", callee_six));

        let message = kate.request("MESSAGE", "1001").body("text/plain", "hello");
        kate.send(&message);
        let came = jim.expect("the MESSAGE", |m| m.is_request() && m.method() == Method::Message);
        assert_eq!(came.body_bytes(), b"hello");
        assert_eq!(text(came.header(Name::Via).unwrap()).contains("UDP [::1]:"), callee_six);
        jim.answer(&came, "200 OK", "j", "", "");
        assert_eq!(kate.final_answer(&message).status(), 200);

        let mut talk = Talk::between(kate, jim, "1001");
        assert_eq!(talk.caller.towards.is_ipv6(), caller_six, "an address it can speak to");
        assert_eq!(talk.callee.towards.is_ipv6(), callee_six);
        let (mut heard, mut told) = (0, 0);
        wait_for("sound both ways", || {
            talk.caller.speak(0x11);
            talk.callee.speak(0x22);
            heard += talk.callee.heard().iter().filter(|mark| **mark == 0x11).count();
            told += talk.caller.heard().iter().filter(|mark| **mark == 0x22).count();
            (heard >= 10 && told >= 10).then_some(())
        });
        let goes = std::thread::scope(|scope| {
            let bye = scope.spawn(|| {
                let bye = talk
                    .callee
                    .phone
                    .expect("the BYE", |m| m.is_request() && m.method() == Method::Bye);
                talk.callee.phone.answer(&bye, "200 OK", "j", "", "");
            });
            let status = talk.caller.ask("BYE", 10);
            bye.join().unwrap();
            status
        });
        assert_eq!(goes, 200);
        // The next phones of these users are others.
        assert_eq!(
            (talk.caller.phone.register(0), talk.callee.phone.register(0)),
            (200, 200)
        );
    }
}

#[test]
fn softphones_hear_each_other_over_ipv6_and_across_families() {
    let node = start();
    let softphone = |user: &str, is_six, tone_hz, answers| {
        Baresip::start(&Account {
            user,
            password: &format!("demo-{user}"),
            server: at(&node, is_six),
            tone_hz,
            answers,
            writes_to: "1001",
            speech: Speech::PLAIN,
        })
        .registered()
    };
    for (first, caller_six, callee_six) in [(1000, true, true), (1002, true, false)] {
        let [caller, callee] = [first, first + 1].map(|user| user.to_string());
        let mut alice = softphone(&caller, caller_six, 440.0, false);
        let bob = softphone(&callee, callee_six, 660.0, true);
        alice.dial(&format!("sip:{callee}@{}", at(&node, caller_six)));
        alice.hears(660.0);
        bob.hears(440.0);
        alice.hang_up();
    }
}

/// A node that speaks IPv6 alone, by every way there is.
fn start_six() -> TestNode {
    let listen = "switch.listen=udp://[::1]:0,tcp://[::1]:0,tls://[::1]:0,ws://[::1]:0";
    Setup::new()
        .set(listen)
        .set("switch.http.listen=[::1]:0")
        .set("switch.media.address=::1")
        .start()
}

/// A phone that has registered over this transport.
fn phone_over(node: &TestNode, user: &str, (transport, at): (Transport, SocketAddr)) -> Phone {
    let mut phone = match transport {
        Transport::Tcp => Phone::over_tcp(at, user),
        Transport::Tls => Phone::secured(at, user, &node.directory().join("tls/tandem.pem")).unwrap(),
        Transport::Ws => Phone::page(&format!("ws://{at}"), at, user),
        other => panic!("{other:?}"),
    };
    assert!(phone.at().is_ipv6());
    assert_eq!(phone.register().status(), 200);
    phone
}

/// A desk phone over UDP writes to this one and calls it, and this one calls a number of the switch.
fn is_served(desk: &mut Phone, (phone, user): (&mut Phone, &str), via: &str) {
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let uri = format!("sip:{user}@127.0.0.1");
            let plain = "Content-Type: text/plain\r\n";
            let told = desk.ask("MESSAGE", &uri, &format!("<{uri}>"), plain, "hello").status();
            (told, desk.call(user).status())
        });
        let message = phone.receive();
        assert!(message.0.ends_with("\r\n\r\nhello"), "{message:?}");
        let top = message.header("Via").to_owned();
        assert!(top.starts_with(&format!("SIP/2.0/{via} [::1]:")), "{message:?}");
        phone.accept(&message);
        let invite = phone.receive();
        assert!(invite.header("Contact").contains("@[::1]:"), "{invite:?}");
        assert!(invite.0.contains("\r\nc=IN IP6 ::1\r\n"), "{invite:?}");
        phone.answer(&invite, 486);
        assert_eq!(writer.join().unwrap(), (200, 486));
    });
    assert!(phone.receive().0.starts_with("ACK "));
    assert_eq!(phone.call("9196").status(), 200);
}

#[test]
fn phones_are_reached_over_ipv6_by_tcp_tls_and_websocket() {
    let node = start_six();
    let mut desk = Phone::new(node.sip(), "1000");
    assert_eq!(desk.register().status(), 200);
    let streams = &node.node().addresses().sip[1..];
    for (way, user) in streams.iter().zip(["1001", "1002", "1003"]) {
        let mut phone = phone_over(&node, user, *way);
        is_served(&mut desk, (&mut phone, user), way.0.as_str());
    }
    let mut page = Phone::page(&format!("ws://{}/sip", node.http()), node.http(), "1004");
    assert_eq!(page.register().status(), 200);
    is_served(&mut desk, (&mut page, "1004"), "WS");
}

#[test]
fn the_http_port_serves_its_api_over_ipv6() {
    let node = start_six();
    assert!(node.http().is_ipv6());
    let token = log_in(&node, "1001");
    let (status, me) = http(node.http(), "GET", "/api/v1/me", Some(&token), &Value::Null);
    assert_eq!((status, &me["user"]), (200, &json!("1001@127.0.0.1")));
}
