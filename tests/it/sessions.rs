//! Sessions of instant messages between pages and real softphones, in every combination, with connections that break and a
//! switch that is killed in the middle.

use crate::support::baresip::{Account, Baresip, Speech};
use crate::support::node::{Setup, TestNode, node};
use crate::support::page::Page;
use crate::support::served::Served;
use crate::support::{figure, http, log_in, wait_for};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// A registered softphone of one of the shipped users, which writes to `peer`.
fn phone(sip: SocketAddr, user: &str, peer: &str) -> Baresip {
    Baresip::start(&Account {
        user,
        password: &format!("demo-{user}"),
        server: sip,
        tone_hz: 440.0,
        answers: false,
        writes_to: peer,
        speech: Speech::PLAIN,
    })
    .registered()
}

/// Opens a session and says the first thing; its id.
fn invite(page: &mut Page, target: &str, text: &str) -> Value {
    let opened = page.does(&json!({ "command": "im-open", "target": target }));
    assert_eq!(opened["session"]["state"], "not-connected", "{opened}");
    let session = opened["session"]["id"].clone();
    say(page, &session, text);
    session
}

fn say(page: &mut Page, session: &Value, text: &str) {
    let said = page.does(&json!({ "command": "im-send", "session": session, "text": text }));
    assert_eq!(said["message"]["text"], text, "{said}");
}

fn does(page: &mut Page, verb: &str, session: &Value) -> Value {
    page.does(&json!({ "command": verb, "session": session }))
}

/// Waits until the session is in this state.
fn becomes(page: &mut Page, state: &str) -> Value {
    loop {
        let changed = page.expect("im-changed");
        if changed["session"]["state"] == state {
            return changed;
        }
    }
}

fn texts(transcript: &Value) -> Vec<&str> {
    let messages = transcript["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|message| message["text"].as_str().unwrap())
        .collect()
}

/// Waits for this text.
fn hears(page: &mut Page, text: &str) {
    while page.expect("im-message")["message"]["text"] != text {}
}

/// Waits until so many messages were said in one of the sessions.
fn said(node: &TestNode, count: u64) {
    wait_for("what is said", || {
        let listed = node.get("/api/v1/im/sessions");
        let sessions = listed["sessions"].as_array().unwrap();
        let is_it = |one: &Value| one["session"]["last_seq"] == count;
        sessions.iter().any(is_it).then_some(())
    });
}

/// The page and the phones of one node.
fn pages(node: &TestNode) -> [Page; 2] {
    ["1000", "1001"].map(|user| Page::of_messages(node.http(), user).0)
}

#[test]
fn two_pages_hold_a_session_and_one_that_was_away_gets_what_it_missed() {
    let node = node();
    let [mut kate, mut jim] = pages(&node);
    // Jim has two tabs: both show the invitation, and when one takes it the other shows the session.
    let (mut tab, _) = Page::of_messages(node.http(), "1001");
    let session = invite(&mut kate, "1001", "Have you a minute?");
    for page in [&mut jim, &mut tab] {
        let invited = page.expect("im-invited");
        assert_eq!(texts(&invited["invitation"]), ["Have you a minute?"]);
    }
    does(&mut jim, "im-accept", &session);
    assert_eq!(tab.expect("im-joined")["transcript"]["session"]["id"], session);
    becomes(&mut kate, "connected");
    say(&mut jim, &session, "Yes");
    assert_eq!(kate.expect("im-message")["message"]["text"], "Yes");

    // Kate's connection breaks in the middle.
    let before = kate.seq;
    drop(kate);
    say(&mut jim, &session, "Are you there?");
    say(&mut jim, &session, "Hello?");
    let mut kate = Page::back(node.http(), "1000", before);
    assert_eq!(kate.expect("im-message")["message"]["text"], "Are you there?");
    assert_eq!(kate.expect("im-message")["message"]["seq"], 4);
    say(&mut kate, &session, "Back again");
    let listed = node.get("/api/v1/im/sessions")["sessions"][0].clone();
    assert_eq!(
        (&listed["session"]["id"], &listed["messages"]),
        (&session, &json!([])),
        "for the operator"
    );
    loop {
        if jim.expect("im-message")["message"]["text"] == "Back again" {
            break;
        }
    }
    // A page that comes without knowing anything is shown all of it.
    let (_, snapshot) = Page::of_messages(node.http(), "1000");
    let all = ["Have you a minute?", "Yes", "Are you there?", "Hello?", "Back again"];
    assert_eq!(texts(&snapshot["sessions"][0]), all);

    does(&mut kate, "im-end", &session);
    becomes(&mut jim, "ended");
    let late = json!({ "command": "im-send", "session": session, "text": "late" });
    assert_eq!(jim.command("late", &late)["problem"]["code"], "conflict");
    does(&mut kate, "im-done", &session);
    does(&mut jim, "im-done", &session);
    wait_for("the end of the session", || {
        (node.metric("tandem_im_sessions") == 0.0).then_some(())
    });
}

#[test]
fn a_page_writes_to_a_softphone_and_it_answers() {
    let node = node();
    let (mut kate, _) = Page::of_messages(node.http(), "1000");
    let mut bob = phone(node.sip(), "1001", "1000");
    let session = invite(&mut kate, "1001", "Are you free?");
    becomes(&mut kate, "connected");
    bob.logged("Are you free?");
    bob.write("In a minute.");
    hears(&mut kate, "In a minute.");
    // Her connection breaks, and what he writes meanwhile is there when she is back.
    let before = kate.seq;
    drop(kate);
    bob.write("Or now, if you like.");
    said(&node, 3);
    let mut kate = Page::back(node.http(), "1000", before);
    hears(&mut kate, "Or now, if you like.");
    say(&mut kate, &session, "Thank you.");
    bob.logged("Thank you.");
    does(&mut kate, "im-end", &session);
    bob.logged("(Alice Demo ended the session)");
}

#[test]
fn a_softphone_writes_to_a_page_and_is_told_what_became_of_it() {
    let node = Setup::new().set("im.invitation_timeout=1s").start();
    let (mut jim, _) = Page::of_messages(node.http(), "1001");
    let mut alice = phone(node.sip(), "1000", "1001");
    alice.write("Are you free?");
    let invited = jim.expect("im-invited");
    assert_eq!(texts(&invited["invitation"]), ["Are you free?"]);
    let session = invited["invitation"]["session"]["id"].clone();
    does(&mut jim, "im-reject", &session);
    alice.logged("(Bob Demo declined)");

    alice.write("Really not?");
    let missed = jim.expect("im-invited")["invitation"]["session"]["id"].clone();
    alice.logged("(no answer)");
    let (_, snapshot) = Page::of_messages(node.http(), "1001");
    let first = &snapshot["sessions"][0];
    assert_eq!((&first["session"]["id"], texts(first)), (&missed, vec!["Really not?"]));

    alice.write("One last time.");
    let session = jim.expect("im-invited")["invitation"]["session"]["id"].clone();
    does(&mut jim, "im-accept", &session);
    say(&mut jim, &session, "Here I am.");
    alice.logged("Here I am.");
    // In the middle his connection breaks.
    let before = jim.seq;
    drop(jim);
    alice.write("Are you gone?");
    said(&node, 3);
    let mut jim = Page::back(node.http(), "1001", before);
    hears(&mut jim, "Are you gone?");
    say(&mut jim, &session, "Here I am again.");
    alice.logged("Here I am again.");
    does(&mut jim, "im-end", &session);
    alice.logged("(Bob Demo ended the session)");
}

#[test]
fn two_softphones_write_as_ever_beside_pages_of_others() {
    let node = node();
    let (mut carol, _) = Page::of_messages(node.http(), "1002");
    let mut alice = phone(node.sip(), "1000", "1001");
    let bob = phone(node.sip(), "1001", "1000");
    alice.write("Just between us.");
    bob.logged("Just between us.");
    assert_eq!(node.metric("tandem_im_sessions"), 0.0);
    // Nothing of it was told to the page before what follows.
    let session = carol.does(&json!({ "command": "im-open", "target": "1000" }));
    assert_eq!(session["session"]["state"], "not-connected");
}

#[test]
fn two_softphones_talk_in_a_session_whose_page_comes_and_goes() {
    let node = node();
    let (mut carol, _) = Page::of_messages(node.http(), "1002");
    let (mut alice, mut bob) = (phone(node.sip(), "1000", "1001"), phone(node.sip(), "1001", "1000"));
    let session = invite(&mut carol, "1000", "You two should talk.");
    becomes(&mut carol, "connected");
    let add = json!({ "command": "im-add", "session": session, "target": "1001" });
    carol.does(&add);
    bob.logged("brings you into a conversation with Alice Demo");
    alice.write("Hello, Bob.");
    bob.logged("Hello, Bob.");
    hears(&mut carol, "Hello, Bob.");
    // Her connection breaks; the two go on.
    let before = carol.seq;
    drop(carol);
    bob.write("Where has Carol gone?");
    alice.logged("Where has Carol gone?");
    said(&node, 3);
    let mut carol = Page::back(node.http(), "1002", before);
    hears(&mut carol, "Where has Carol gone?");
    say(&mut carol, &session, "I am here.");
    alice.logged("I am here.");
    bob.logged("I am here.");
    does(&mut carol, "im-end", &session);
    bob.logged("(Carol Demo left)");
}

#[test]
fn a_session_is_transferred_to_a_softphone_and_a_page_is_added_while_a_page_comes_and_goes() {
    let node = node();
    let [mut kate, mut jim] = pages(&node);
    let mut bob = phone(node.sip(), "1002", "1001");
    let session = invite(&mut kate, "1001", "It is about the violin.");
    jim.expect("im-invited");
    does(&mut jim, "im-accept", &session);
    becomes(&mut kate, "connected");
    // His connection breaks; meanwhile she hands him over to somebody with a softphone.
    let before = jim.seq;
    drop(jim);
    kate.does(&json!({ "command": "im-transfer", "session": session, "target": "1002" }));
    bob.logged("brings you into a conversation with Bob Demo");
    let place = |session: &Value, user: &str| {
        let parties = session["parties"].as_array().unwrap().iter();
        parties.rev().find(|party| party["user"] == user).unwrap().clone()
    };
    while place(&kate.expect("im-changed")["session"], "1000@127.0.0.1")["standing"] != "transferred" {}
    bob.write("I know violins.");
    said(&node, 2);
    let mut jim = Page::back(node.http(), "1001", before);
    hears(&mut jim, "I know violins.");
    say(&mut jim, &session, "It has no strings.");
    bob.logged("It has no strings.");

    // He brings her back; this time her connection breaks.
    let target = json!({ "command": "im-add", "session": session, "target": "1000" });
    jim.does(&target);
    kate.expect("im-invited");
    does(&mut kate, "im-accept", &session);
    let before = kate.seq;
    drop(kate);
    bob.write("Strings are here.");
    said(&node, 4);
    let mut kate = Page::back(node.http(), "1000", before);
    hears(&mut kate, "Strings are here.");
    let read = json!({ "command": "im-read", "session": session, "seq": 4 });
    let joined = kate.does(&read);
    let of_kate = place(&joined["session"], "1000@127.0.0.1");
    jim.does(&json!({ "command": "im-drop", "session": session, "party": of_kate["id"] }));
    while place(&kate.expect("im-changed")["session"], "1000@127.0.0.1")["standing"] != "dropped" {}
    bob.logged("(Alice Demo was taken out)");
    say(&mut jim, &session, "Now we two.");
    bob.logged("Now we two.");
}

#[test]
fn a_session_goes_on_when_the_switch_is_killed_in_the_middle() {
    let mut served = Served::start(Setup::new());
    let http = served.http();
    let (mut kate, _) = Page::of_messages(http, "1000");
    let (mut jim, _) = Page::of_messages(http, "1001");
    let session = invite(&mut kate, "1001", "Before the storm");
    jim.expect("im-invited");
    does(&mut jim, "im-accept", &session);
    say(&mut jim, &session, "I hear thunder");
    let bob = phone(served.sip(), "1002", "1000");
    let add = json!({ "command": "im-add", "session": session, "target": "1002" });
    kate.does(&add);
    bob.logged("brings you into a conversation with Bob Demo");
    // A registration is written behind: one that is lost with the switch would come again in an hour.
    wait_for("an idle store", || {
        (figure(http, "tandem_store_queued") == 0.0).then_some(())
    });
    served.kill();
    let served = served.again();
    let (mut kate, snapshot) = Page::of_messages(served.http(), "1000");
    let shown = &snapshot["sessions"][0];
    assert_eq!(shown["session"]["state"], "connected");
    assert_eq!(texts(shown), ["Before the storm", "I hear thunder"]);
    say(&mut kate, &session, "It is over");
    bob.logged("It is over");
    let (mut jim, _) = Page::of_messages(served.http(), "1001");
    does(&mut jim, "im-end", &session);
    bob.logged("(Bob Demo left)");
}

#[test]
fn kept_transcripts_are_searched_exported_and_erased() {
    let node = Setup::new().set("im.keep_transcripts=true").start();
    let [mut kate, mut jim] = pages(&node);
    let session = invite(&mut kate, "1001", "The violin is ready");
    jim.expect("im-invited");
    does(&mut jim, "im-accept", &session);
    does(&mut kate, "im-end", &session);
    does(&mut kate, "im-done", &session);
    does(&mut jim, "im-done", &session);
    let found = wait_for("the transcript", || {
        let found = node.get("/api/v1/im/transcripts?text=violin");
        let found = found["transcripts"].as_array()?.clone();
        found.into_iter().next()
    });
    assert_eq!(found["session"]["id"], session);
    let id = session.as_str().unwrap();
    let whole = node.get(&format!("/api/v1/im/transcripts/{id}"));
    assert_eq!(texts(&whole), ["The violin is ready"]);
    let open = node.get("/api/v1/im/sessions")["sessions"].clone();
    assert_eq!(open, json!([]), "it is not open any more");
    let path = format!("/api/v1/im/transcripts/{id}");
    for (user, expected) in [("1001", 403), ("1000", 200)] {
        let token = log_in(&node, user);
        let (status, answer) = http(node.http(), "DELETE", &path, Some(&token), &Value::Null);
        assert_eq!(status, expected, "{answer}");
    }
    assert!(
        node.get("/api/v1/im/transcripts")["transcripts"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}
