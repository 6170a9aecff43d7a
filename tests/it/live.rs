//! What a page sees: it logs in, watches over the websocket while phones register and call, and commands. And call records as
//! CSV, each once, whatever happens to the node.

use crate::support::node::{Setup, TestNode, node};
use crate::support::page::Page;
use crate::support::phone::Phone;
use crate::support::raw::Raw;
use crate::support::served::Served;
use crate::support::talk::{Side, Talk, invite};
use crate::support::{http, log_in, wait_for};
use serde_json::{Value, json};
use std::net::UdpSocket;

#[test]
fn a_page_watches_a_call_from_registration_to_its_end_and_ends_it_by_command() {
    let node = node();
    let mut page = Page::open(&node, "1000", None);
    page.expect("snapshot");
    let [kate, jim] = ["1000", "1001"].map(|user| {
        let mut phone = Raw::new(node.sip(), user);
        assert_eq!(phone.register(3_600), 200);
        phone
    });
    assert_eq!(page.expect("registered")["registration"]["aor"], "1000@127.0.0.1");
    let mut colleague = Page::open(&node, "1001", None);
    assert_eq!(
        colleague.expect("snapshot")["registrations"].as_array().unwrap().len(),
        1
    );
    let mut stranger = Page::open(&node, "1002", None);
    stranger.expect("snapshot");

    let talk = Talk::between(kate, jim, "1001");
    let started = page.expect("call-started");
    let call = started["call"]["id"].clone();
    assert_eq!(colleague.expect("call-started")["call"]["id"], call);
    loop {
        let changed = page.expect("call-changed");
        if changed["call"]["state"] == "answered" {
            break;
        }
    }
    let before = page.seq;
    drop(page);

    // Whose call it is not is told neither of it nor by it.
    let hangup = json!({ "command": "hangup", "interaction": call });
    assert_eq!(stranger.command("s", &hangup)["problem"]["code"], "not-found");
    let done = colleague.command("c1", &hangup);
    assert_eq!(done["answer"]["done"], 1, "{done}");
    assert_eq!(
        colleague.command("c1", &hangup)["answer"]["done"],
        1,
        "the same again: the same answer"
    );
    assert_eq!(
        colleague.command("c2", &hangup)["problem"]["code"],
        "not-found",
        "it is over"
    );

    // The page that was away is told what it missed.
    let mut back = Page::open(&node, "1000", Some(before));
    assert_eq!(back.expect("call-ended")["call"]["id"], call);
    talk.caller.phone.expect("BYE", |m| m.method() == sip::Method::Bye);
}

/// A user's phone is in a conference room.
fn enters(node: &TestNode, user: &str, room: &str) -> Side {
    let mut phone = Raw::new(node.sip(), user);
    assert_eq!(phone.register(3_600), 200);
    let rtp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let request = invite(&mut phone, room, &rtp);
    phone.send(&request);
    let answer = phone.expect("200", |m| m.status() == 200 && m.cseq() == request.cseq);
    let side = Side::calling(phone, rtp, &request, &answer);
    let ack = side.request("ACK", request.cseq);
    side.phone.send_bytes(&side.phone.print(&ack, ""));
    side
}

/// The next events of rooms, each with its number, up to and with the first that `is_last` knows.
fn told(page: &mut Page, is_last: impl Fn(&Value) -> bool) -> Vec<(u64, Value)> {
    let mut events = Vec::new();
    loop {
        let message = page.take();
        let is_room = message["event"].as_str().is_some_and(|name| name.starts_with("room-"));
        if !is_room {
            continue;
        }
        events.push((message["seq"].as_u64().unwrap(), message));
        if events.last().is_some_and(|(_, event)| is_last(event)) {
            return events;
        }
    }
}

#[test]
fn what_happened_in_a_room_while_a_page_was_away_is_told_once_when_it_is_back() {
    let node = node();
    let supervisor = log_in(&node, "1005");
    let asks = |method: &str, path: &str, body: &Value| {
        let (status, answer) = http(node.http(), method, path, Some(&supervisor), body);
        assert_eq!(status, 200, "{answer}");
    };
    // This one stays, and knows everything.
    let mut witness = Page::open(&node, "1005", None);
    witness.expect("snapshot");
    let mut page = Page::open(&node, "1005", None);
    page.expect("snapshot");
    let is_inside = |user: &'static str| {
        move |event: &Value| {
            let member = &event["member"];
            event["event"] == "room-member"
                && member["state"] == "inside"
                && member["user"].as_str().is_some_and(|aor| aor.starts_with(user))
        }
    };
    let kate = enters(&node, "1000", "3000");
    let mut known = told(&mut witness, is_inside("1000"));
    let mut read = told(&mut page, is_inside("1000"));

    // Its connection breaks again and again: as somebody comes, in the midst of what it is told, and when all have gone.
    let before = page.seq;
    drop(page);
    let jim = enters(&node, "1001", "3000");
    known.extend(told(&mut witness, is_inside("1001")));
    asks("PATCH", "/api/v1/rooms/3000", &json!({ "locked": true }));
    asks("PATCH", "/api/v1/rooms/3000/members/2", &json!({ "muted": true }));
    known.extend(told(&mut witness, |event| event["member"]["muted"] == true));
    let mut page = Page::open(&node, "1005", Some(before));
    read.extend(told(&mut page, |event| event["event"] == "room-locked"));

    let before = page.seq;
    drop(page);
    let mut page = Page::open(&node, "1005", Some(before));
    read.extend(told(&mut page, |event| event["member"]["muted"] == true));
    let before = page.seq;
    drop(page);
    assert_eq!(jim.ask("BYE", 900), 200);
    known.extend(told(&mut witness, |event| event["event"] == "room-left"));
    assert_eq!(kate.ask("BYE", 900), 200);
    known.extend(told(&mut witness, |event| event["event"] == "room-ended"));
    let mut page = Page::open(&node, "1005", Some(before));
    read.extend(told(&mut page, |event| event["event"] == "room-ended"));

    let names: Vec<_> = known
        .iter()
        .map(|(_, event)| event["event"].as_str().unwrap())
        .collect();
    assert!(known.is_sorted_by(|one, other| one.0 < other.0), "{names:?}");
    for expected in ["room-started", "room-locked", "room-member", "room-left", "room-ended"] {
        assert!(names.contains(&expected), "{names:?}");
    }
    assert_eq!(read, known, "nothing is lost, nothing told twice");
}

#[test]
fn an_agent_holds_and_resumes_by_http_and_a_colleague_is_told() {
    let node = node();
    let mut colleague = Page::open(&node, "1001", None);
    colleague.expect("snapshot");
    let [kate, jim] = ["1000", "1001"].map(|user| {
        let mut phone = Raw::new(node.sip(), user);
        assert_eq!(phone.register(3_600), 200);
        phone
    });
    let _talk = Talk::between(kate, jim, "1001");
    let call = loop {
        let changed = colleague.expect("call-changed");
        if changed["call"]["state"] == "answered" {
            break changed["call"]["id"].as_str().unwrap().to_owned();
        }
    };
    let token = log_in(&node, "1000");
    let holding = |page: &mut Page, holds: bool| loop {
        let changed = page.expect("interaction-changed");
        let parties = changed["interaction"]["parties"].as_array().unwrap().clone();
        if parties.iter().any(|party| party["holds"] == json!(true)) == holds {
            return;
        }
    };
    for (verb, holds) in [("hold", true), ("resume", false)] {
        let path = format!("/api/v1/calls/{call}/{verb}");
        let (status, answer) = http(node.http(), "POST", &path, Some(&token), &Value::Null);
        assert_eq!((status, &answer["done"]), (200, &json!(true)), "{verb}: {answer}");
        holding(&mut colleague, holds);
    }
    let path = format!("/api/v1/calls/{call}/hold");
    let stranger = log_in(&node, "1002");
    let (status, problem) = http(node.http(), "POST", &path, Some(&stranger), &Value::Null);
    assert_eq!((status, &problem["code"]), (404, &json!("not-found")), "{problem}");
}

#[test]
fn call_records_are_in_the_csv_once_each_also_across_kill_9() {
    let mut served = Served::start(Setup::new().set("switch.cdr.csv=true").set("switch.cdr.directory=cdr"));
    let mut calls = 0;
    for round in 0..3 {
        for _ in 0..3 {
            // Refused: a record is written at once.
            let mut phone = Phone::new(served.sip(), "1000");
            assert!(phone.call("1001").status() >= 400);
            calls += 1;
        }
        wait_for("the records in the store", || {
            let listed = served.tandem(&["calls", "why", "--json"]).stdout;
            let listed: Value = serde_json::from_slice(&listed).ok()?;
            (listed["cdrs"].as_array()?.len() == calls).then_some(())
        });
        if round == 1 {
            // Time to write them, some of them, or none: all the same.
            std::thread::park_timeout(std::time::Duration::from_millis(1_000));
        }
        served.kill();
        served = served.again();
    }
    let directory = served.directory().join("cdr");
    let numbers = || -> Vec<u64> {
        let mut files: Vec<_> = std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "csv"))
            .collect();
        files.sort();
        let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
        let lines: Vec<String> = texts
            .flat_map(|text| text.lines().skip(1).map(ToOwned::to_owned).collect::<Vec<_>>())
            .collect();
        lines
            .iter()
            .filter_map(|line| line.split_once(',')?.0.parse().ok())
            .collect()
    };
    let expected: Vec<u64> = (1..=calls as u64).collect();
    wait_for("all records in the files", || (numbers().len() >= calls).then_some(()));
    assert_eq!(numbers(), expected);
}

#[test]
fn a_call_that_was_up_when_the_node_was_killed_is_recorded_with_reason_restart() {
    let mut served = Served::start(Setup::new());
    let [kate, jim] = ["1000", "1001"].map(|user| {
        let mut phone = Raw::new(served.sip(), user);
        assert_eq!(phone.register(3_600), 200);
        phone
    });
    let _talk = Talk::between(kate, jim, "1001");
    let records = |served: &Served| -> Vec<Value> {
        let listed = served.tandem(&["calls", "why", "--json"]).stdout;
        let listed: Value = serde_json::from_slice(&listed).unwrap_or_default();
        listed["cdrs"].as_array().cloned().unwrap_or_default()
    };
    // The store works in order: when it has the record of a later call it knows of the one that is up.
    let mut phone = Phone::new(served.sip(), "1002");
    assert!(phone.call("1003").status() >= 400);
    wait_for("the record of the refused call", || {
        (records(&served).len() == 1).then_some(())
    });
    for _ in 0..2 {
        served.kill();
        served = served.again();
        wait_for("the records of the broken call", || {
            (records(&served).len() == 3).then_some(())
        });
    }
    let broken: Vec<Value> = records(&served)
        .into_iter()
        .filter(|cdr| cdr["reason"] == "restart")
        .collect();
    assert_eq!(broken.len(), 2, "{broken:#?}");
    assert!(
        broken
            .iter()
            .all(|cdr| cdr["ended_by"] == "switch" && !cdr["answered_at"].is_null())
    );
}
