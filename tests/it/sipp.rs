//! SIPp against a real node: the scenarios of `tests/sipp`, which run against any other server with `tests/sipp/run`.

use crate::support::node::Setup;
use crate::support::node::TestNode;
use crate::support::page::Page;
use serde_json::json;
use std::process::Command;

/// Runs cases of `tests/sipp/run`; its output is shown where one fails.
fn sipp(node: &TestNode, cases: &[&str]) {
    sipp_with(node, cases, &[]);
}

/// The same with more of its settings.
fn sipp_with(node: &TestNode, cases: &[&str], settings: &[(&str, &str)]) {
    let run = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sipp/run");
    let output = Command::new(run)
        .arg(node.sip().to_string())
        .args(cases)
        .env("RING_S", "10")
        .envs(settings.iter().copied())
        .output()
        .expect("bash");
    let said = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{why}");
}

#[test]
fn registers_with_the_right_password_only() {
    sipp(&Setup::new().start(), &["register", "wrong_password"]);
}

#[test]
fn sets_up_and_ends_calls_from_either_side() {
    sipp(
        &Setup::new().start(),
        &["call", "called_party_hangs_up", "echo", "tone"],
    );
}

#[test]
fn passes_calls_on_as_a_proxy() {
    let rule = "[[rule]]\nmatch = \"_10XX\"\naction = \"user\"\nmode = \"proxy\"\n";
    let node = Setup::new()
        .file("dialplan.toml", rule)
        .set("switch.calls.ring_timeout=2s")
        .start();
    let cases = [
        "call",
        "called_party_hangs_up",
        "cancel",
        "busy",
        "declined",
        "no_answer",
        "message",
        "unavailable",
        "no_hops",
        "no_breadth",
        "fork",
        "fork_serial",
    ];
    sipp_with(&node, &cases, &[("ASKS", "407")]);
}

#[test]
fn tells_the_caller_why_a_call_came_to_nothing() {
    sipp(
        &Setup::new().start(),
        &[
            "cancel",
            "busy",
            "declined",
            "unavailable",
            "unknown",
            "fork",
            "no_hops",
        ],
    );
}

#[test]
fn gives_up_ringing_when_nobody_answers() {
    sipp(
        &Setup::new().set("switch.calls.ring_timeout=2s").start(),
        &["no_answer"],
    );
}

#[test]
fn holds_and_resumes_in_each_form() {
    sipp(&Setup::new().start(), &["hold", "hold_update"]);
}

#[test]
fn transfers_by_refer_and_tells_by_notify_what_came_of_it() {
    let node = Setup::new().set("switch.calls.ring_timeout=2s").start();
    sipp(
        &node,
        &[
            "transfer",
            "transfer_busy",
            "transfer_declined",
            "transfer_no_answer",
            "transfer_attended",
        ],
    );
}

#[test]
fn refuses_transfers_to_elsewhere_and_the_place_of_a_dialog_that_is_not_there() {
    sipp(&Setup::new().start(), &["refer_elsewhere", "replaces_unknown"]);
}

#[test]
fn makes_a_conference_by_join_and_invites_to_it_by_refer_to_the_focus() {
    sipp(&Setup::new().start(), &["conference"]);
}

#[test]
fn brings_messages_at_once_or_later() {
    sipp(
        &Setup::new().start(),
        &[
            "message_both_ways",
            "message_offline",
            "message_two_devices",
            "message_two_devices_one_declines",
        ],
    );
}

#[test]
fn brings_each_device_its_copy_when_it_comes_back() {
    let node = Setup::new().set("im.copies=device").start();
    sipp(&node, &["message_offline_each_device"]);
}

#[test]
fn gives_each_device_the_body_that_it_takes() {
    sipp(&Setup::new().start(), &["message_envelope", "message_envelope_refused"]);
}

#[test]
fn tells_a_phone_by_text_that_a_page_declined_or_did_not_answer() {
    let node = Setup::new().set("im.invitation_timeout=1s").start();
    let (mut page, _) = Page::of_messages(node.http(), "1001");
    sipp(&node, &["message_page_no_answer"]);
    page.expect("im-invited");
    let declines = std::thread::spawn(move || {
        let session = page.expect("im-invited")["invitation"]["session"]["id"].clone();
        page.does(&json!({ "command": "im-reject", "session": session }));
    });
    sipp(&node, &["message_page_declines"]);
    declines.join().unwrap();
}

#[test]
fn brings_a_message_to_who_is_ready_of_a_group_or_a_skill() {
    let node = Setup::new().set("groups.agents.login=registration").start();
    sipp(
        &node,
        &[
            "message_group_nobody",
            "message_group",
            "message_skill",
            "message_group_nobody",
        ],
    );
}

#[test]
fn tells_the_sender_why_a_message_came_to_nothing() {
    sipp(
        &Setup::new().start(),
        &[
            "message_declined",
            "message_not_readable",
            "message_html",
            "message_wrong_password",
        ],
    );
}

#[test]
fn tells_who_watches_of_registration_publication_and_calls() {
    sipp(&Setup::new().start(), &["presence", "dialog"]);
}

#[test]
fn answers_a_fetch_takes_publications_and_refuses_what_it_should() {
    sipp(&Setup::new().start(), &["fetch", "subscribe_refused", "publish"]);
}

#[test]
fn asks_for_the_right_password_whatever_the_method() {
    sipp(
        &Setup::new().start(),
        &[
            "wrong_password",
            "message_wrong_password",
            "wrong_password_invite",
            "wrong_password_subscribe",
            "wrong_password_publish",
            "wrong_password_refer",
            "wrong_password_options",
            "wrong_password_notify",
        ],
    );
}

#[test]
fn transfers_to_a_number_outside_for_who_may_dial_it_and_for_nobody_else() {
    let outside = std::net::UdpSocket::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
    let setup = Setup::new();
    let read = |name: &str| std::fs::read_to_string(setup.directory().join(name)).unwrap();
    let rule = "[[rule]]\nprefix = \"0\"\naction = \"trunk\"\ntrunk = \"carrier\"\nstrip = 1\n\n";
    let plan = read("dialplan.toml").replacen("[[rule]]", &format!("{rule}[[rule]]"), 1);
    let admin = "roles = [\"admin\"]";
    let users = read("users.toml").replacen(admin, &format!("{admin}\nrights = [\"outside\"]"), 1);
    let trunk = format!("[carrier]\naddress = [\"udp://{outside}\"]\ncontext = \"incoming\"\n");
    let node = setup
        .file("dialplan.toml", &plan)
        .file("users.toml", &users)
        .file("trunks.toml", &trunk)
        .start();
    sipp_with(
        &node,
        &["transfer_outside", "transfer_outside_forbidden"],
        &[("OUTSIDE", &outside.to_string())],
    );
}
