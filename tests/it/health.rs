//! What monitoring sees, and that management over TCP is for admins.

use crate::support::raw::Raw;
use crate::support::{http_get, http_get_with, node, wait_for};
use switch::{Answer, Command};

#[test]
fn a_node_starts_answers_and_stops() {
    let node = node();
    let addresses = node.node().addresses();
    assert_eq!(addresses.sip.len(), 2);
    assert_eq!(addresses.sip[0].1, addresses.sip[1].1, "UDP and TCP on one port");
    let shown = addresses.to_string();
    assert_eq!(shown, format!("sip=udp:{0},tcp:{0} http={1}", node.sip(), node.http()));
    assert_eq!(http_get(node.http(), "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(http_get(node.http(), "/readyz").0, 200);
}

#[test]
fn two_nodes_live_in_one_process() {
    let (one, other) = (node(), node());
    assert_ne!(one.sip(), other.sip());
    assert_eq!(http_get(other.http(), "/healthz").0, 200);
    drop(other);
    assert_eq!(http_get(one.http(), "/healthz").0, 200);
}

#[test]
fn metrics_show_the_process_the_loop_and_the_store() {
    let node = node();
    let (status, text) = http_get(node.http(), "/metrics");
    assert_eq!(status, 200);
    for name in [
        "tandem_build_info{version=",
        "tandem_uptime_seconds ",
        "tandem_panics_total 0",
        "tandem_process_resident_memory_bytes ",
        "tandem_process_open_fds ",
        "tandem_store_failing 0",
        "tandem_loop_turns_total ",
        "tandem_udp_datagrams_in_total ",
        "tandem_tcp_connections ",
        "tandem_rtp_ports_in_use ",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} in\n{text}");
    }
    assert!(node.metric("tandem_process_open_fds") > 3.0);
}

#[test]
fn draining_shows_as_not_ready_but_healthy() {
    let node = node();
    let answer = node.node().command(Command::Drain { limit_s: 1 });
    assert!(matches!(answer, Some(Answer::Done(_))), "{answer:?}");
    assert_eq!(http_get(node.http(), "/readyz").0, 503);
    assert_eq!(http_get(node.http(), "/healthz").0, 200);
}

#[test]
fn management_over_tcp_wants_an_admin() {
    let node = node();
    let basic = |credentials| format!("Authorization: Basic {credentials}\r\n");
    assert_eq!(http_get(node.http(), "/api/v1/status").0, 401);
    // 1000:demo-1000 is an admin, 1001:demo-1001 is none, 1000:demo-1001 is wrong.
    assert_eq!(
        http_get_with(node.http(), "/api/v1/status", &basic("MTAwMDpkZW1vLTEwMDA=")).0,
        200
    );
    assert_eq!(
        http_get_with(node.http(), "/api/v1/status", &basic("MTAwMTpkZW1vLTEwMDE=")).0,
        403
    );
    assert_eq!(
        http_get_with(node.http(), "/api/v1/status", &basic("MTAwMDpkZW1vLTEwMDE=")).0,
        401
    );
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let setup = crate::support::node::Setup::new().set(&format!("switch.listen=udp://{at}"));
    let error = tandem::Node::start(setup.source().load().unwrap())
        .err()
        .unwrap()
        .to_string();
    assert!(error.starts_with(&format!("udp://{at}: ")), "{error}");
}

#[test]
fn a_second_switch_in_the_same_directory_is_refused() {
    let first = node();
    let setup = crate::support::node::Setup::new();
    let directory = format!("switch.store.directory={}", first.directory().join("run").display());
    let error = tandem::Node::start(setup.set(&directory).source().load().unwrap())
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("another switch runs"), "{error}");
}

#[test]
fn a_registered_phone_that_keeps_its_way_open_by_stun_is_told_where_it_is() {
    let node = node();
    let mut phone = Raw::new(node.sip(), "1000");
    assert_eq!(phone.register(600), 200);
    // RFC 5389 section 6: a Binding request without attributes.
    let request = [
        0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    ];
    let answer = wait_for("the answer to STUN", || {
        phone.send_bytes(&request);
        phone.poll_bytes()
    });
    assert_eq!((&answer[..2], &answer[4..20]), (&[1, 1][..], &request[4..]));
    let port = u16::from_be_bytes([answer[26], answer[27]]) ^ 0x2112;
    assert_eq!(port, phone.at().port());
}
