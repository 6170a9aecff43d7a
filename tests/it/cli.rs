//! The command line as an operator uses it: the real binary against a node in this process.

use crate::support::node;
use crate::support::node::{Setup, TestNode};
use crate::support::page::Page;
use crate::support::raw::Raw;
use crate::support::served::{TANDEM, tandem, text};
use crate::support::talk::Talk;
use crate::support::wait_for;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs a command against the socket of `node`.
fn ask(node: &TestNode, arguments: &[&str]) -> Output {
    let mut command = Command::new(TANDEM);
    command
        .args(arguments)
        .arg("--socket")
        .arg(node.socket())
        .arg("--config")
        .arg(node.directory());
    command.stdin(Stdio::null()).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    text(&output.stdout)
}

fn err(output: &Output) -> String {
    text(&output.stderr)
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&out(output)).unwrap()
}

#[test]
fn lists_are_tables_for_people_and_json_for_programs() {
    let node = node();
    let registrations = ask(&node, &["registrations", "list"]);
    assert_eq!(
        (code(&registrations), out(&registrations).as_str()),
        (0, "nobody is registered\n")
    );
    assert_eq!(
        json(&ask(&node, &["registrations", "list", "--json"])),
        json!({ "registrations": [] })
    );
    assert_eq!(out(&ask(&node, &["calls", "list"])), "no calls\n");
    assert_eq!(json(&ask(&node, &["--json", "calls", "list"])), json!({ "calls": [] }));
    assert_eq!(out(&ask(&node, &["im", "queue"])), "no messages wait\n");
    assert_eq!(out(&ask(&node, &["im", "list"])), "no sessions\n");
    assert_eq!(out(&ask(&node, &["calls", "why"])), "no record of such a call\n");
}

#[test]
fn messages_that_wait_are_listed_and_dropped() {
    let node = node();
    let mut alice = crate::support::raw::Raw::new(node.sip(), "1000");
    let mut message = alice.request("MESSAGE", "1001").body("text/plain", "between us");
    assert_eq!(alice.ask(&mut message).status(), 202);
    let listed = out(&ask(&node, &["im", "queue", "1001"]));
    assert!(listed.contains("1000@") && listed.contains("text/plain"), "{listed}");
    assert!(!listed.contains("between us"), "{listed}");
    let id = listed
        .split_whitespace()
        .find(|word| word.starts_with("m-"))
        .unwrap()
        .to_owned();
    let dropped = ask(&node, &["im", "drop", "1001", &id]);
    assert_eq!((code(&dropped), out(&dropped).as_str()), (0, "1 message dropped\n"));
    assert_eq!(code(&ask(&node, &["im", "drop", "1001", &id])), 1, "it is gone");
    assert_eq!(
        out(&ask(&node, &["im", "drop", "1001", "--all"])),
        "0 messages dropped\n"
    );
    assert_eq!(out(&ask(&node, &["im", "queue", "1001"])), "no messages wait\n");
}

#[test]
fn a_session_is_listed_ended_found_exported_and_erased_by_the_command_line() {
    let node = Setup::new().set("im.keep_transcripts=true").start();
    let [mut kate, mut jim] = ["1000", "1001"].map(|user| Page::of_messages(node.http(), user).0);
    let opened = kate.does(&json!({ "command": "im-open", "target": "1001", "text": "The violin is ready" }));
    let id = opened["message"]["session"].as_str().unwrap();
    let listed = out(&ask(&node, &["im", "list"]));
    assert!(
        listed.contains(&format!("{id}  establishing  1         1000@")),
        "{listed}"
    );
    assert!(listed.contains("1001@127.0.0.1 (invited)"), "{listed}");
    assert!(!listed.contains("violin"), "what is said is shown to nobody: {listed}");
    jim.expect("im-invited");
    jim.does(&json!({ "command": "im-accept", "session": id }));
    let listed = out(&ask(&node, &["im", "list"]));
    assert!(
        listed.contains(" connected ") && !listed.contains("(invited)"),
        "{listed}"
    );

    let ended = ask(&node, &["im", "end", id]);
    assert_eq!((code(&ended), out(&ended).as_str()), (0, "ended\n"), "{}", err(&ended));
    assert_eq!(code(&ask(&node, &["im", "end", id])), 1, "it has ended");
    for page in [&mut kate, &mut jim] {
        while page.expect("im-changed")["session"]["state"] != "ended" {}
        page.does(&json!({ "command": "im-done", "session": id }));
    }
    let found = wait_for("the transcript", || {
        let found = out(&ask(&node, &["transcripts", "search", "violin", "--user", "1001"]));
        found.contains(id).then_some(found)
    });
    assert!(found.contains("1000, 1001") && !found.contains("violin"), "{found}");
    let nothing = ask(&node, &["transcripts", "search", "trumpet"]);
    assert_eq!(out(&nothing), "no transcripts\n");
    let exported = out(&ask(&node, &["transcripts", "export", id]));
    assert!(exported.contains(": The violin is ready\n"), "{exported}");
    assert_eq!(out(&ask(&node, &["transcripts", "erase", id])), "erased\n");
    assert_eq!(out(&ask(&node, &["transcripts", "list"])), "no transcripts\n");
    assert_eq!(code(&ask(&node, &["transcripts", "export", id])), 1, "it is gone");
}

#[test]
fn people_are_found_with_what_they_can_take_by_the_command_line() {
    let node = node();
    let mut bob = Raw::new(node.sip(), "1001");
    assert_eq!(bob.register(3_600), 200);
    let found = out(&ask(&node, &["directory", "search", "bob"]));
    let line = found.lines().find(|line| line.starts_with("1001 ")).unwrap();
    assert!(line.contains("Bob Demo") && line.ends_with("  call"), "{found}");
    let groups = out(&ask(&node, &["directory", "search", "--kind", "group", "--limit", "1"]));
    assert!(groups.lines().nth(1).unwrap().contains(" group "), "{groups}");
    let nobody = ask(&node, &["directory", "search", "zebra"]);
    assert_eq!(out(&nobody), "nobody is found\n");
}

#[test]
fn status_tells_how_it_is() {
    let node = node();
    let status = ask(&node, &["status"]);
    assert_eq!(code(&status), 0, "{}", err(&status));
    assert!(out(&status).contains("\nregistrations     0\n"), "{}", out(&status));
    assert_eq!(json(&ask(&node, &["status", "--json"]))["calls"], json!(0));
}

#[test]
fn what_does_not_exist_is_refused_with_1() {
    let node = node();
    for arguments in [
        ["calls", "hangup", "i-0000000000000001"],
        ["calls", "show", "i-0000000000000001"],
    ] {
        let refused = ask(&node, &arguments);
        assert_eq!(code(&refused), 1, "{arguments:?} {}", out(&refused));
        assert!(!err(&refused).is_empty());
    }
    assert_eq!(code(&ask(&node, &["calls", "hangup", "no-such-form"])), 1);
}

#[test]
fn usage_is_2_and_no_server_is_3() {
    let setup = Setup::new();
    assert_eq!(code(&tandem(&setup, &["frobnicate"])), 2);
    assert_eq!(code(&tandem(&setup, &["trace", "maybe"])), 2);
    let nobody = tandem(&setup, &["status"]);
    assert_eq!(code(&nobody), 3);
    assert!(err(&nobody).contains("no switch answers at"), "{}", err(&nobody));
}

#[test]
fn routes_are_told_without_a_call() {
    let node = node();
    let echo = ask(&node, &["route", "test", "1000", "9196"]);
    assert_eq!(code(&echo), 0, "{}", err(&echo));
    assert!(out(&echo).contains("echo"), "{}", out(&echo));
}

#[test]
fn trace_and_drain_are_switched() {
    let node = node();
    assert_eq!(code(&ask(&node, &["trace", "on"])), 0);
    assert_eq!(code(&ask(&node, &["trace", "off"])), 0);
    assert_eq!(code(&ask(&node, &["drain", "--limit", "1"])), 0);
    assert_eq!(json(&ask(&node, &["status", "--json"]))["state"], json!("draining"));
}

#[test]
fn check_reports_every_problem_with_its_place() {
    let setup = Setup::new();
    let good = tandem(&setup, &["check"]);
    assert_eq!(code(&good), 0, "{}", err(&good));
    assert!(out(&good).contains("20 users"), "{}", out(&good));
    let setup = setup.file("im.toml", "stroe = true\nkeep = 7\n");
    let bad = tandem(&setup, &["check"]);
    let file = setup.directory().join("im.toml").display().to_string();
    let expected =
        format!("{file}:1:1: unknown key `stroe` (did you mean `store`?)\n{file}:2:8: `keep`: expected a time");
    assert_eq!(code(&bad), 1);
    assert!(err(&bad).starts_with(&expected), "{}", err(&bad));
    assert_eq!(
        json(&tandem(&setup, &["check", "--json"]))["problems"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let serve = tandem(&setup, &["serve"]);
    assert_eq!((code(&serve), err(&serve)), (1, err(&bad)));
}

#[test]
fn serve_refuses_demo_passwords_where_others_can_reach_it() {
    let setup = Setup::new().set("switch.http.listen=0.0.0.0:0");
    let refused = tandem(&setup, &["serve"]);
    assert_eq!(code(&refused), 1);
    assert!(
        err(&refused).contains("demo passwords") && err(&refused).contains("tandem user passwd"),
        "{}",
        err(&refused)
    );
}

#[test]
fn reload_says_what_changed_or_what_is_wrong() {
    let node = node();
    assert_eq!(out(&ask(&node, &["reload"])), "nothing changed\n");
    let users = std::fs::read_to_string(node.directory().join("users.toml")).unwrap();
    std::fs::write(
        node.directory().join("users.toml"),
        users.clone() + "[2042]\npassword = \"x\"\n",
    )
    .unwrap();
    assert_eq!(out(&ask(&node, &["reload"])), "users.toml: added 2042\n");
    std::fs::write(node.directory().join("users.toml"), users + "[2043]\n").unwrap();
    let refused = ask(&node, &["reload"]);
    assert_eq!(code(&refused), 1);
    assert!(
        err(&refused).contains("users.toml") && err(&refused).contains("no `password`"),
        "{}",
        err(&refused)
    );
}

#[test]
fn users_are_added_given_passwords_and_removed_while_it_runs() {
    let node = node();
    let add = [
        "user",
        "add",
        "1042",
        "--name",
        "Ada",
        "--role",
        "admin",
        "--generate",
        "--json",
    ];
    let added = ask(&node, &add);
    assert_eq!(code(&added), 0, "{}", err(&added));
    let added = json(&added);
    assert_eq!(added["applied"], json!(true));
    let password = added["password"].as_str().unwrap();
    let text = std::fs::read_to_string(node.directory().join("users.toml")).unwrap();
    assert!(
        !text.contains(password) && text.contains("# One table for each extension."),
        "{text}"
    );
    assert_eq!(code(&ask(&node, &add)), 1, "there is one already");
    let listed = json(&ask(&node, &["user", "list", "--json"]));
    let ada = json!({ "extension": "1042", "name": "Ada", "roles": ["admin"] });
    assert!(listed["users"].as_array().unwrap().contains(&ada), "{listed}");
    assert_eq!(
        out(&ask(&node, &["user", "remove", "1042"])),
        "users.toml: removed 1042\n"
    );
    assert_eq!(code(&ask(&node, &["user", "remove", "1042"])), 1);
}

#[test]
fn a_password_is_read_from_standard_input() {
    let setup = Setup::new();
    let mut child = Command::new(TANDEM)
        .args(["user", "passwd", "1001", "--config"])
        .arg(setup.directory())
        .args(["--set", "switch.store.directory=run"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"my own\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0);
    assert!(out(&output).contains("no switch is running"), "{}", out(&output));
    let config = setup.source().load().unwrap();
    let expected = tandem::config::ha1(switch::config::Algorithm::Md5, "1001", "127.0.0.1", "my own");
    assert_eq!(config.switch.users[1].ha1_md5.as_deref(), Some(expected.as_str()));
}

#[test]
fn version_is_told_without_a_configuration() {
    let output = Command::new(TANDEM)
        .args(["version", "--config", "/nonexistent"])
        .output()
        .unwrap();
    assert_eq!(out(&output), format!("tandem {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_call_is_held_resumed_muted_and_left_by_the_command_line() {
    let node = node();
    let [kate, jim] = ["1000", "1001"].map(|user| {
        let mut phone = Raw::new(node.sip(), user);
        assert_eq!(phone.register(3_600), 200);
        phone
    });
    let talk = Talk::between(kate, jim, "1001");
    let calls = json(&ask(&node, &["calls", "list", "--json"]));
    let call = calls["calls"][0]["id"].as_str().unwrap();
    let parties = || out(&ask(&node, &["calls", "parties", call]));
    for (verb, sign) in [
        ("hold", "owner holding"),
        ("resume", "owner\n"),
        ("hold", "held"),
        ("resume", "owner\n"),
    ] {
        let said = ask(&node, &["calls", verb, call]);
        assert_eq!(
            (code(&said), out(&said)),
            (0, format!("done: {call}\n")),
            "{}",
            err(&said)
        );
        assert!(parties().contains(sign), "{verb}: {}", parties());
    }
    let table = parties();
    let owner = table.lines().find(|line| line.contains("owner")).unwrap();
    let owner = owner.split(' ').next().unwrap();
    assert_eq!(
        code(&ask(&node, &["calls", "mute", call, owner, "--direction", "both"])),
        0
    );
    assert!(parties().contains("owner muted deaf"), "{}", parties());
    assert_eq!(
        code(&ask(
            &node,
            &["calls", "mute", call, owner, "--direction", "both", "--off"]
        )),
        0
    );
    let refused = ask(&node, &["calls", "toggle", call]);
    assert_eq!(code(&refused), 1);
    assert!(err(&refused).contains("no consultation"), "{}", err(&refused));
    assert_eq!(code(&ask(&node, &["calls", "leave", call])), 0);
    for side in [&talk.caller, &talk.callee] {
        side.phone.expect("BYE", |m| m.method() == sip::Method::Bye);
    }
}
