//! Who may do what, what names may hold, and that everything ends. Numbers are those of the list of known attacks.

use crate::support::node::Setup;
use crate::support::raw::{Raw, text};
use crate::support::served::Served;
use crate::support::talk::{Side, Talk, invite, sdp};
use crate::support::wait_for;
use sip::{Method, Name};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// Users without a name of their own show the one their phone gives.
const NAMELESS: &str =
    "[1000]\npassword = \"demo-1000\"\n[1001]\npassword = \"demo-1001\"\n[1002]\npassword = \"demo-1002\"\n";

fn registered(served: &Served, user: &str) -> Raw {
    let mut phone = Raw::new(served.sip(), user);
    assert_eq!(phone.register(3600), 200);
    phone
}

#[test]
fn s5_a_message_without_the_right_password_goes_nowhere() {
    let served = Served::start(Setup::new());
    let reader = registered(&served, "1000");
    let mut nobody = Raw::new(served.sip(), "1001");
    for number in ["1000", "1002", "9999"] {
        let request = nobody.request("MESSAGE", number).body("text/plain", "no");
        nobody.send_bytes(&nobody.print(&request, ""));
        let answer = nobody.final_answer(&request);
        assert_eq!(answer.status(), 401, "also for a user who does not exist");
        nobody.learn(&answer);
        let wrong = nobody.credentials(&request).replace("response=\"", "response=\"0");
        let mut again = request.clone();
        again.again();
        nobody.send_bytes(&nobody.print(&again, &wrong));
        assert_eq!(nobody.final_answer(&again).status(), 401);
    }
    for name in [
        "tandem_messages_stored_total",
        "tandem_messages_delivered_total",
        "tandem_messages_waiting",
    ] {
        assert_eq!(served.metric(name), 0.0, "{name}");
    }
    assert!(reader.poll().is_none());
}

#[test]
fn s9_credentials_are_good_once_for_one_uri_and_for_a_while() {
    let served = Served::start(Setup::new().set("security.nonce_ttl=10s"));
    let mut phone = Raw::new(served.sip(), "1000");
    let mut request = phone.request("REGISTER", "").header("Expires: 600");
    phone.send(&request);
    phone.learn(&phone.final_answer(&request));
    let mut send = |phone: &Raw, uri: &str, count: u32| {
        request.again();
        let uri = if uri.is_empty() {
            request.uri.clone()
        } else {
            uri.to_owned()
        };
        let credentials = phone.credentials_for(&request, &uri, count);
        phone.send_bytes(&phone.print(&request, &credentials));
        let answer = phone.final_answer(&request);
        let challenge = answer.header(Name::WwwAuthenticate).map(text).unwrap_or_default();
        (answer.status(), challenge.to_lowercase().contains("stale=true"))
    };
    assert_eq!(
        send(&phone, "sip:1001@127.0.0.1", 1),
        (400, false),
        "credentials for another URI"
    );
    assert_eq!(send(&phone, "", 2), (200, false));
    assert_eq!(send(&phone, "", 2), (401, true), "the same count again");
    let mut count = 2;
    wait_for("the end of the nonce", || {
        count += 1;
        (send(&phone, "", count) == (401, true)).then_some(())
    });
}

#[test]
fn s10_nobody_is_shown_as_another() {
    let served = Served::start(Setup::new().file("users.toml", NAMELESS).file("groups.toml", ""));
    let (mut liar, reader) = (registered(&served, "1001"), registered(&served, "1000"));
    let victim = "<sip:1002@127.0.0.1>";
    let mut spoofed = liar.request("MESSAGE", "1000").body("text/plain", "no");
    spoofed.from = format!("{victim};tag=x");
    assert_eq!(liar.ask(&mut spoofed).status(), 403);
    let mut asserted = liar.request("MESSAGE", "1000").body("text/plain", "no");
    asserted = asserted.header(&format!("P-Asserted-Identity: {victim}"));
    assert_eq!(liar.ask(&mut asserted).status(), 403);
    let mut smuggled = liar.request("MESSAGE", "1000").body("text/plain", "no");
    smuggled = smuggled.header(&format!("P-Asserted-Identity\u{1}: {victim}"));
    assert_eq!(liar.ask(&mut smuggled).status(), 400);
    let server = liar.server();
    let names = [
        "Bob\u{1}\u{7f}",
        "Bob \u{202e}1002",
        "Bob\\\"> <sip:1002@x",
        "Bob\r\n X-Y: z",
        "Bob\rTo: y",
        "Bob\0",
    ];
    for name in names {
        let mut request = liar.request("MESSAGE", "1000").body("text/plain", "hello");
        request.from = format!("\"{name}\" <sip:1001@{server}>;tag=x");
        liar.send(&request);
        // It is delivered under the right identity and without control characters, or refused.
        let arrived = wait_for("an end", || {
            // A refusal repeats the From as it came, which nobody need be able to read.
            if liar.poll_bytes().is_some_and(|answer| answer.starts_with(b"SIP/2.0 4")) {
                return Some(Err(()));
            }
            reader.poll().filter(sip::Message::is_request).map(Ok)
        });
        let Ok(arrived) = arrived else { continue };
        reader.answer(&arrived, "200 OK", "r", "", "");
        let from = arrived.from().unwrap();
        assert!(
            text(arrived.header(Name::From).unwrap()).contains("<sip:1001@"),
            "{arrived:?}"
        );
        let shown = from.display_name();
        let is_bad = |c: char| c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}');
        assert!(!shown.contains(is_bad), "{shown:?}");
        assert!(!text(arrived.bytes()).contains("1002@127"), "{arrived:?}");
    }
    assert_eq!(served.metric("tandem_panics_total"), 0.0);
}

#[test]
fn s18_s19_text_is_text_whatever_it_looks_like() {
    const HOSTILE: [&str; 9] = [
        "${x}",
        "`id`",
        "$(id)",
        "' OR 1=1; --",
        "'); DROP TABLE message; --",
        "<img src=x onerror=alert(1)>",
        "../../etc/passwd",
        "%00%0d%0a",
        "{{7*7}}",
    ];
    let node = Setup::new()
        .file("users.toml", NAMELESS)
        .file("groups.toml", "")
        .start();
    let (mut writer, mut reader) = (Raw::new(node.sip(), "1001"), Raw::new(node.sip(), "1000"));
    let mut other = Raw::new(node.sip(), "1002");
    let server = node.sip();
    for hostile in HOSTILE {
        let mut request = writer.request("MESSAGE", "1000").body("text/plain", hostile);
        request.from = format!("\"{hostile}\" <sip:1001@{server}>;tag=x");
        assert_eq!(writer.ask(&mut request).status(), 202, "{hostile}");
        // A Call-ID may hold quotes and brackets, but no blank (RFC 3261 section 25.1): answered or refused.
        let mut named = other.request("OPTIONS", "");
        named.uri = format!("sip:{server}");
        named.to = format!("<sip:{server}>");
        named.call_id = hostile.replace(' ', "/");
        other.send(&named);
    }
    assert_eq!(node.metric("tandem_messages_waiting"), HOSTILE.len() as f64);
    assert!(node.get("/api/v1/im/queue").to_string().contains("1000@"));
    assert_eq!(reader.register(3600), 200);
    for hostile in HOSTILE {
        let message = reader.expect("the message", sip::Message::is_request);
        assert_eq!(text(message.body_bytes()), hostile);
        assert_eq!(message.from().unwrap().display_name(), hostile);
        reader.answer(&message, "200 OK", "r", "", "");
    }
    wait_for("an empty queue", || {
        (node.metric("tandem_messages_waiting") == 0.0).then_some(())
    });
    assert_eq!(node.metric("tandem_panics_total"), 0.0);
}

/// Nothing of any call is left, at most 5 s after its end.
fn all_is_given_back(served: &Served, fds: f64, how: &str) {
    let ended = Instant::now();
    for name in [
        "tandem_calls",
        "tandem_legs",
        "tandem_dialogs",
        "tandem_rtp_ports",
        "tandem_rtp_ports_in_use",
    ] {
        wait_for(&format!("{name} to be 0 after {how}"), || {
            (served.metric(name) == 0.0).then_some(())
        });
    }
    wait_for(&format!("the descriptors after {how}"), || {
        (served.metric("tandem_process_open_fds") <= fds).then_some(())
    });
    assert!(ended.elapsed() < Duration::from_secs(5), "{how}: {:?}", ended.elapsed());
}

#[test]
fn s23_every_port_comes_back_however_a_call_ends() {
    let served = Served::start(
        Setup::new()
            .set("switch.media.timeout=5s")
            .set("switch.media.port_rest=0s"),
    );
    let (mut caller, callee) = (registered(&served, "1000"), registered(&served, "1001"));
    let fds = served.metric("tandem_process_open_fds");
    let rtp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..100 {
        let mut request = invite(&mut caller, "9196", &rtp);
        let answer = caller.ask(&mut request);
        assert_eq!(answer.status(), 200, "call {number}");
        let side = Side::calling(
            Raw::new(served.sip(), "1000"),
            rtp.try_clone().unwrap(),
            &request,
            &answer,
        );
        caller.send_bytes(&caller.print(&side.request("ACK", request.cseq), ""));
        let bye = side.request("BYE", request.cseq + 1);
        caller.send_bytes(&caller.print(&bye, ""));
        assert_eq!(caller.final_answer(&bye).status(), 200);
        if number % 20 == 19 {
            all_is_given_back(&served, fds, "BYE");
        }
    }
    for _ in 0..5 {
        let request = invite(&mut caller, "1001", &rtp);
        caller.send(&request);
        let rings = callee.expect("the INVITE", |m| m.is_request() && m.method() == Method::Invite);
        callee.answer(
            &rings,
            "180 Ringing",
            "b",
            &format!("Contact: {}\r\n", callee.contact()),
            "",
        );
        caller.expect("180", |m| m.status() == 180);
        let cancel = sip_cancel(&request);
        caller.send_bytes(&caller.print(&cancel, ""));
        let headers = format!("Contact: {}\r\nContent-Type: application/sdp\r\n", callee.contact());
        callee.answer(&rings, "200 OK", "b", &headers, &sdp(rtp.local_addr().unwrap()));
        caller.final_answer(&request);
        callee.accept_until("the BYE or CANCEL", |m| {
            matches!(m.method(), Method::Bye | Method::Cancel)
        });
    }
    callee.accept_until_quiet();
    all_is_given_back(&served, fds, "CANCEL against 200");
    let request = invite(&mut caller, "1001", &rtp);
    caller.send(&request);
    let rings = callee.expect("the INVITE", |m| m.is_request() && m.method() == Method::Invite);
    callee.answer(&rings, "486 Busy Here", "b", "", "");
    assert_eq!(caller.final_answer(&request).status(), 486);
    all_is_given_back(&served, fds, "busy");
    let talk = Talk::between(caller, callee, "1001");
    drop(talk);
    wait_for("the end of a call that is silent", || {
        (served.metric("tandem_calls_ended_media_timeout_total") == 1.0).then_some(())
    });
    assert_eq!(served.metric("tandem_rtp_ports_in_use"), 0.0);
    assert_eq!(served.metric("tandem_panics_total"), 0.0);
}

/// CANCEL of an INVITE: its branch and CSeq (RFC 3261 section 9.1).
fn sip_cancel(invite: &crate::support::raw::Request) -> crate::support::raw::Request {
    crate::support::raw::Request {
        method: "CANCEL".to_owned(),
        headers: String::new(),
        body: String::new(),
        ..invite.clone()
    }
}

#[test]
fn s24_what_comes_after_the_end_is_refused() {
    let served = Served::start(Setup::new());
    let talk = Talk::between(registered(&served, "1000"), registered(&served, "1001"), "1001");
    assert_eq!(talk.caller.ask("BYE", 10), 200);
    for (cseq, method) in (11..).zip(["INVITE", "UPDATE", "BYE", "INFO", "REFER", "CANCEL", "PRACK"]) {
        let status = talk.caller.ask(method, cseq);
        assert!((400..500).contains(&status), "{method}: {status}");
    }
    talk.caller
        .phone
        .send_bytes(&talk.caller.phone.print(&talk.caller.request("ACK", 30), ""));
    for name in ["tandem_calls", "tandem_rtp_ports_in_use", "tandem_panics_total"] {
        assert_eq!(served.metric(name), 0.0, "{name}");
    }
}
