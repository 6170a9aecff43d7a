//! SIP over TLS: from the certificate of the first start to calls that find their phone over its connection.

use crate::support::node::{Setup, TestNode};
use crate::support::phone::{Message, Phone};
use crate::support::served::TANDEM;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

fn start() -> TestNode {
    let listen = "switch.listen=udp://127.0.0.1:0,tcp://127.0.0.1:0,tls://127.0.0.1:0";
    Setup::new().set(listen).start()
}

fn certificate(node: &TestNode) -> PathBuf {
    node.directory().join("tls/tandem.pem")
}

fn phone(node: &TestNode, user: &str) -> Phone {
    let mut phone = Phone::secured(node.tls(), user, &certificate(node)).unwrap();
    assert_eq!(phone.register().status(), 200);
    phone
}

/// A MESSAGE of this phone to 1001: the answer.
fn write(phone: &mut Phone, server: SocketAddr, text: &str) -> Message {
    let uri = format!("sip:1001@{server}");
    phone.ask(
        "MESSAGE",
        &uri,
        &format!("<{uri}>"),
        "Content-Type: text/plain\r\n",
        text,
    )
}

#[test]
fn the_first_start_makes_a_certificate_that_names_the_address_and_keeps_its_key_to_itself() {
    let node = start();
    let key = std::fs::metadata(node.directory().join("tls/tandem.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    Phone::secured(node.tls(), "1000", &certificate(&node)).unwrap();
}

#[test]
fn messages_and_calls_reach_a_phone_over_the_connection_it_registered_on() {
    let node = start();
    let phone = phone(&node, "1001");
    let mut other = Phone::new(node.sip(), "1000");
    assert_eq!(other.register().status(), 200);

    let writer = std::thread::spawn({
        let server = node.sip();
        move || {
            let answer = write(&mut other, server, "hello");
            (other, answer)
        }
    });
    let message = phone.receive();
    assert!(message.0.starts_with("MESSAGE sip:1001@"), "{message:?}");
    assert!(message.0.ends_with("\r\n\r\nhello"), "{message:?}");
    assert!(message.header("Via").starts_with("SIP/2.0/TLS "), "{message:?}");
    phone.accept(&message);
    let (mut other, answer) = writer.join().unwrap();
    assert!((200..300).contains(&answer.status()), "{answer:?}");

    let caller = std::thread::spawn(move || other.call("1001").status());
    let invite = phone.receive();
    assert!(invite.0.starts_with("INVITE sip:1001@"), "{invite:?}");
    let contact = format!("@{};transport=tls>", node.tls());
    assert!(invite.header("Contact").contains(&contact), "{invite:?}");
    phone.answer(&invite, 486);
    assert_eq!(caller.join().unwrap(), 486);
}

#[test]
fn a_call_from_a_phone_under_tls_is_ended_over_its_connection() {
    let node = start();
    let mut phone = phone(&node, "1000");
    let answer = phone.call("9196");
    assert_eq!(answer.status(), 200);
    let contact = format!("@{};transport=tls>", node.tls());
    assert!(answer.header("Contact").contains(&contact), "{answer:?}");
    let calls = node.get("/api/v1/calls");
    let id = calls["calls"][0]["id"].as_str().unwrap_or_else(|| panic!("{calls:#}"));
    let mut tandem = Command::new(TANDEM);
    tandem.args(["calls", "hangup", id, "--socket"]).arg(node.socket());
    assert!(tandem.status().unwrap().success());
    let bye = phone.receive();
    assert!(bye.0.starts_with("BYE sip:1000@"), "{bye:?}");
    phone.accept(&bye);
}

#[test]
fn a_reload_shows_new_certificates_and_keeps_connections() {
    let node = start();
    let mut old = phone(&node, "1000");
    let before = node.directory().join("before.pem");
    std::fs::copy(certificate(&node), &before).unwrap();
    let pair = net::tls::Pair {
        certificate: certificate(&node),
        key: node.directory().join("tls/tandem.key"),
    };
    net::tls::make_certificate(&pair, &["127.0.0.1".into()]).unwrap();
    let told = node.node().reload().unwrap();
    assert_eq!(told.changed, ["tls: certificates, for new connections"]);
    assert!(
        Phone::secured(node.tls(), "1001", &before).is_err(),
        "the old one is shown no more"
    );
    phone(&node, "1001");
    assert_eq!(old.register().status(), 200, "over the connection of before");
    assert_eq!(node.node().reload().unwrap().changed, Vec::<String>::new());

    std::fs::write(&pair.certificate, "no certificate").unwrap();
    let problems = node.node().reload().unwrap_err();
    assert!(
        problems[0].contains("tls/tandem.pem: no certificate in it"),
        "{problems:?}"
    );
    assert_eq!(old.register().status(), 200, "nothing has changed");
}
