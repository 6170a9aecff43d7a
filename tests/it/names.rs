//! A trunk that is known by name: a real DNS says where it is, or says nothing.

use crate::support::dns::{self, Zone};
use crate::support::node::{Setup, TestNode};
use crate::support::phone::Phone;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Whoever dials 0 first calls outside, by the trunk of that name.
fn start(dns: SocketAddr) -> TestNode {
    let setup = Setup::new().set(&format!("switch.dns.servers={dns}"));
    let plan = std::fs::read_to_string(setup.directory().join("dialplan.toml")).unwrap();
    let rule = "[[rule]]\nprefix = \"0\"\naction = \"trunk\"\ntrunk = \"carrier\"\nright = \"\"\n\n";
    setup
        .file(
            "dialplan.toml",
            &plan.replacen("[[rule]]", &format!("{rule}[[rule]]"), 1),
        )
        .file(
            "trunks.toml",
            "[carrier]\nhost = \"sip.carrier.test\"\ncontext = \"incoming\"\n",
        )
        .start()
}

fn registered(node: &TestNode, user: &str) -> Phone {
    let mut phone = Phone::new(node.sip(), user);
    assert_eq!(phone.register().status(), 200);
    phone
}

#[test]
fn a_trunk_is_found_by_its_name_and_its_second_server_has_the_call_when_the_first_is_dead() {
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap();
    let carrier_socket = Phone::new(([127, 0, 0, 1], 9).into(), "carrier");
    let (first, second) = (dead.local_addr().unwrap().port(), carrier_socket.at().port());
    let servers = [(2, second, "b.carrier.test"), (1, first, "a.carrier.test")];
    let zone = Zone::default()
        .srv("_sip._udp.sip.carrier.test", &servers)
        .a("a.carrier.test", Ipv4Addr::LOCALHOST)
        .a("b.carrier.test", Ipv4Addr::LOCALHOST);
    let node = start(zone.serve());
    let carrier = carrier_socket.facing(node.sip());
    let mut kate = registered(&node, "1000");

    let calls = std::thread::spawn(move || (kate.call("0301234").status(), kate.call("0301234").status()));
    for _ in 0..2 {
        let mut invite = carrier.receive();
        while !invite.0.starts_with("INVITE ") {
            invite = carrier.receive();
        }
        assert!(
            invite.0.starts_with("INVITE sip:0301234@sip.carrier.test SIP/2.0"),
            "{}",
            invite.0
        );
        carrier.answer(&invite, 486);
    }
    assert_eq!(calls.join().unwrap(), (486, 486));
    // The first server was tried once: in the second call it would have come last.
    let mut tried = [0; 2_000];
    dead.set_nonblocking(true).unwrap();
    let length = dead.recv(&mut tried).unwrap();
    let branch = |text: &[u8]| String::from_utf8_lossy(text).split("branch=").nth(1).unwrap()[..30].to_owned();
    let first = branch(&tried[..length]);
    while let Ok(length) = dead.recv(&mut tried) {
        assert_eq!(branch(&tried[..length]), first, "repeated, and no other call");
    }
    assert!(node.metric("tandem_failovers_total") >= 1.0);
}

#[test]
fn a_dead_dns_ends_its_call_with_a_clear_answer_and_nobody_else_waits() {
    let (dns, _socket) = dns::dead();
    let node = start(dns);
    let mut kate = registered(&node, "1000");
    let mut jim = registered(&node, "1001");
    let is_over = Arc::new(AtomicBool::new(false));
    let over = is_over.clone();
    let outside = std::thread::spawn(move || {
        let begun = Instant::now();
        let answer = kate.call("0301234");
        over.store(true, Ordering::SeqCst);
        (answer.status(), begun.elapsed())
    });
    for _ in 0..20 {
        assert_eq!(jim.call("9999").status(), 404);
        assert_eq!(jim.register().status(), 200);
    }
    assert!(
        !is_over.load(Ordering::SeqCst),
        "forty answers in less time than a dead DNS takes"
    );
    let (status, took) = outside.join().unwrap();
    assert_eq!(status, 500);
    assert!(
        took < Duration::from_secs(12),
        "a transaction would have waited 32 s: {took:?}"
    );
    assert!(node.metric("tandem_dns_failed_total") >= 1.0);
}
