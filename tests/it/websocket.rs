//! SIP over websocket from end to end: pages at the HTTP port and at a listener of their own, desk phones over UDP.

use crate::support::node::{Setup, TestNode};
use crate::support::phone::{Message, Phone, secured};
use crate::support::wait_for;
use sip::Transport;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

fn start() -> TestNode {
    let listen = "switch.listen=udp://127.0.0.1:0,ws://127.0.0.1:0,wss://127.0.0.1:0";
    Setup::new().set(listen).start()
}

/// A page at the HTTP port.
fn page(node: &TestNode, user: &str) -> Phone {
    registered(page_at(node.http(), user))
}

fn page_at(http: SocketAddr, user: &str) -> Phone {
    Phone::page(&format!("ws://{http}/sip"), http, user)
}

fn desk_phone(node: &TestNode, user: &str) -> Phone {
    registered(Phone::new(node.sip(), user))
}

fn registered(mut phone: Phone) -> Phone {
    assert_eq!(phone.register().status(), 200);
    phone
}

/// A MESSAGE to a user of the switch: the answer.
fn write(phone: &mut Phone, to: &str, text: &str) -> Message {
    let uri = format!("sip:{to}@127.0.0.1");
    phone.ask(
        "MESSAGE",
        &uri,
        &format!("<{uri}>"),
        "Content-Type: text/plain\r\n",
        text,
    )
}

#[test]
fn pages_and_desk_phones_write_to_each_other() {
    let node = start();
    let (mut page, mut desk) = (page(&node, "1000"), desk_phone(&node, "1001"));
    let (page, answer) = std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let answer = write(&mut page, "1001", "from the page");
            (page, answer)
        });
        let message = desk.receive();
        assert!(message.0.ends_with("\r\n\r\nfrom the page"), "{message:?}");
        assert!(message.header("Via").starts_with("SIP/2.0/UDP "), "{message:?}");
        desk.accept(&message);
        writer.join().unwrap()
    });
    assert_eq!(answer.status(), 200);
    assert!(answer.header("Via").contains("1000.invalid;"), "{answer:?}");
    assert!(answer.header("Via").contains(";received=127.0.0.1"), "{answer:?}");
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || write(&mut desk, "1000", "from the desk").status());
        let message = page.receive();
        assert!(
            message
                .0
                .starts_with("MESSAGE sip:1000@1000.invalid;transport=ws SIP/2.0\r\n"),
            "{message:?}"
        );
        assert!(message.header("Via").starts_with("SIP/2.0/WS "), "{message:?}");
        page.accept(&message);
        assert_eq!(writer.join().unwrap(), 200);
    });
}

#[test]
fn a_page_is_called_and_calls() {
    let node = start();
    let (mut page, mut desk) = (page(&node, "1000"), desk_phone(&node, "1001"));
    let contact = format!("@{};transport=ws>", node.http());
    let desk = std::thread::scope(|scope| {
        let caller = scope.spawn(move || {
            assert_eq!(desk.call("1000").status(), 486);
            desk
        });
        let invite = page.receive();
        assert!(
            invite.0.starts_with("INVITE sip:1000@1000.invalid;transport=ws "),
            "{invite:?}"
        );
        assert!(invite.header("Contact").contains(&contact), "{invite:?}");
        page.answer(&invite, 486);
        let desk = caller.join().unwrap();
        assert!(page.receive().0.starts_with("ACK "));
        desk
    });
    let answer = page.call("9196");
    assert_eq!(answer.status(), 200);
    assert!(answer.header("Contact").contains(&contact), "{answer:?}");
    std::thread::scope(|scope| {
        let caller = scope.spawn(move || page.call("1001").status());
        let invite = desk.receive();
        assert!(invite.0.starts_with("INVITE sip:1001@"), "{invite:?}");
        desk.answer(&invite, 603);
        assert_eq!(caller.join().unwrap(), 603);
    });
}

#[test]
fn a_page_that_is_gone_is_not_bound_any_more() {
    let node = start();
    let at = node.node().addresses().sip[1];
    assert_eq!(at.0, Transport::Ws);
    let mut page = Phone::page(&format!("ws://{}", at.1), at.1, "1000");
    assert_eq!(page.register().status(), 200);
    assert_eq!(node.metric("tandem_registrations"), 1.0);
    drop(page);
    wait_for("the binding to go with its connection", || {
        (node.metric("tandem_registrations") == 0.0).then_some(())
    });
    assert_eq!(node.metric("tandem_tcp_websockets_total"), 1.0);
}

/// Whom a port that others can reach asks for: no demo passwords.
const USERS: &str = "[1000]\npassword = \"secret\"\n[1001]\npassword = \"secret\"\n";

#[test]
fn what_is_passed_on_between_a_page_at_the_http_port_and_a_phone_comes_back_through_the_switch() {
    let proxied = "[[rule]]\nmatch = \"_10XX\"\naction = \"user\"\nmode = \"proxy\"\n";
    // Bound to a wildcard of one family and of both, what is told is the address that accepted the page.
    for listen in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
        let setup = Setup::new().set(&format!("switch.http.listen={listen}"));
        let setup = setup.file("users.toml", USERS).file("groups.toml", "");
        let node = setup.file("dialplan.toml", proxied).start();
        let http = SocketAddr::from(([127, 0, 0, 1], node.http().port()));
        let phones = [page_at(http, "1000"), Phone::new(node.sip(), "1001")];
        let [mut page, desk] = phones.map(|phone| registered(phone.password("secret")));
        std::thread::scope(|scope| {
            let caller = scope.spawn(move || page.call("1001").status());
            let invite = desk.receive();
            let routes: Vec<&str> = invite.headers("Record-Route").collect();
            assert_eq!(routes.len(), 2, "{invite:?}");
            assert!(routes[0].contains(&format!("@{};lr", node.sip())), "{invite:?}");
            assert!(routes[1].contains(&format!("@{http};transport=ws;lr")), "{invite:?}");
            desk.answer(&invite, 486);
            assert_eq!(caller.join().unwrap(), 486);
        });
    }
}

/// A node whose HTTP port is there under TLS as well: the port, and the certificate to be believed.
fn start_under_tls() -> (TestNode, SocketAddr, PathBuf) {
    let node = Setup::new().set("switch.http.listen_tls=127.0.0.1:0").start();
    let https = node.node().addresses().https.unwrap();
    let certificate = node.directory().join("tls/tandem.pem");
    (node, https, certificate)
}

#[test]
fn pages_at_the_http_port_call_and_are_called_under_tls() {
    let (node, https, certificate) = start_under_tls();
    let desk = desk_phone(&node, "1001");
    let mut page = Phone::secured_page(&format!("wss://{https}/sip"), https, "1000", &certificate);
    assert_eq!(page.register().status(), 200);
    let answer = page.call("9196");
    assert_eq!(answer.status(), 200);
    assert!(answer.header("Via").starts_with("SIP/2.0/WSS "), "{answer:?}");
    assert!(
        answer.header("Contact").contains(&format!("@{https};transport=ws")),
        "{answer:?}"
    );
    let mut desk = std::thread::scope(|scope| {
        let caller = scope.spawn(move || page.call("1001").status());
        let invite = desk.receive();
        assert!(invite.0.starts_with("INVITE sip:1001@"), "{invite:?}");
        desk.answer(&invite, 603);
        assert_eq!(caller.join().unwrap(), 603);
        desk
    });
    assert!(desk.receive().0.starts_with("ACK "));
    let page = Phone::secured_page(&format!("wss://{https}/sip"), https, "1002", &certificate);
    let mut page = page;
    assert_eq!(page.register().status(), 200);
    std::thread::scope(|scope| {
        let caller = scope.spawn(move || desk.call("1002").status());
        let invite = page.receive();
        assert!(invite.header("Via").starts_with("SIP/2.0/WSS "), "{invite:?}");
        page.answer(&invite, 486);
        assert_eq!(caller.join().unwrap(), 486);
    });
}

#[test]
fn the_http_port_under_tls_shows_the_certificates_of_sip_and_speaks_to_nobody_without_them() {
    let (node, https, certificate) = start_under_tls();
    let ask = |stream: &mut dyn Answering| {
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = ask(&mut secured(https, &certificate).unwrap());
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!ask(&mut TcpStream::connect(https).unwrap()).contains("HTTP/1.1"));
    // Those of a reload are shown to the next one.
    let before = node.directory().join("before.pem");
    std::fs::copy(&certificate, &before).unwrap();
    let pair = net::tls::Pair {
        certificate: certificate.clone(),
        key: node.directory().join("tls/tandem.key"),
    };
    net::tls::make_certificate(&pair, &["127.0.0.1".into()]).unwrap();
    node.node().reload().unwrap();
    assert!(secured(https, &before).is_err());
    assert!(secured(https, &certificate).is_ok());
}

trait Answering: Read + Write {}

impl<S: Read + Write> Answering for S {}
