//! IPv6 on real sockets: phones of both families register, write to each other and speak with each other.

use crate::support::baresip::{Account, Baresip, Speech};
use crate::support::node::{Setup, TestNode};
use crate::support::raw::{Raw, text};
use crate::support::talk::Talk;
use crate::support::wait_for;
use sip::{Method, Name};
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
