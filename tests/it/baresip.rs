//! Two real softphones through a real node: what the first five minutes of a user look like.

use crate::support::baresip::{Account, Baresip, Speech};
use crate::support::node::TestNode;
use crate::support::{node, wait_for};

/// A registered phone of one of the shipped users, which writes to `peer`.
fn phone(node: &TestNode, user: &str, peer: &str, tone_hz: f64, answers: bool) -> Baresip {
    Baresip::start(&Account {
        user,
        password: &format!("demo-{user}"),
        server: node.sip(),
        tone_hz,
        answers,
        writes_to: peer,
        speech: Speech::PLAIN,
    })
    .registered()
}

#[test]
fn two_phones_register_and_hear_each_other_through_the_switch() {
    let node = node();
    let mut alice = phone(&node, "1000", "1001", 440.0, false);
    let bob = phone(&node, "1001", "1000", 660.0, true);
    assert_eq!(node.metric("tandem_registrations"), 2.0);

    alice.dial(&format!("sip:1001@{}", node.sip()));
    alice.hears(660.0);
    bob.hears(440.0);
    alice.hang_up();

    bob.logged("session closed");
    wait_for("the call's end", || (node.metric("tandem_calls") == 0.0).then_some(()));
    // A leg's record is written when the media plane has told its figures.
    let records = wait_for("a record for each leg", || {
        let records = node.get("/api/v1/cdrs");
        (records["cdrs"].as_array()?.len() == 2).then_some(records)
    });
    let legs = records["cdrs"].as_array().unwrap();
    assert!(legs.iter().all(|leg| leg["reason"] == "normal"), "{records:#}");
}

#[test]
fn two_phones_write_to_each_other_through_the_switch() {
    let node = node();
    let mut alice = phone(&node, "1000", "1001", 440.0, false);
    let mut bob = phone(&node, "1001", "1000", 660.0, false);

    alice.write("Are you free?");
    bob.logged("Are you free?");
    bob.write("In a minute.");
    alice.logged("In a minute.");
}

#[test]
fn a_phone_hears_itself_in_the_echo_and_the_tone_of_the_tone_service() {
    let node = node();
    let mut alice = phone(&node, "1000", "1001", 440.0, false);
    alice.dial(&format!("sip:9196@{}", node.sip()));
    alice.hears(440.0);
    alice.hang_up();
    drop(alice);

    let mut alice = phone(&node, "1000", "1001", 440.0, false);
    alice.dial(&format!("sip:9197@{}", node.sip()));
    alice.hears(1_004.0);
    alice.hang_up();
}

#[test]
fn a_message_to_a_phone_that_is_away_waits_for_its_return() {
    let node = node();
    let mut alice = phone(&node, "1000", "1001", 440.0, false);
    alice.write("Call me when you are back.");
    wait_for("the message in the store", || {
        (node.metric("tandem_messages_waiting") == 1.0).then_some(())
    });

    let bob = phone(&node, "1001", "1000", 660.0, false);
    bob.logged("Call me when you are back.");
    wait_for("the message's end", || {
        (node.metric("tandem_messages_waiting") == 0.0).then_some(())
    });
}

/// baresip reads text and nothing else: what its correspondent's phone adds to a text must not reach it.
#[test]
fn a_plain_phone_is_not_surprised_by_envelopes_and_typing() {
    let node = node();
    let bob = phone(&node, "1001", "1000", 660.0, false);
    let mut alice = crate::support::phone::Phone::new(node.sip(), "1000");
    assert_eq!(alice.register().status(), 200);
    let uri = format!("sip:1001@{}", node.sip());
    let composing = "<isComposing><state>active</state></isComposing>";
    let kind = "Content-Type: application/im-iscomposing+xml\r\n";
    assert_eq!(
        alice
            .ask("MESSAGE", &uri, &format!("<{uri}>"), kind, composing)
            .status(),
        200
    );
    let envelope = "From: <sip:1000@x>\r\nTo: <sip:1001@x>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: a1\r\n\
        imdn.Disposition-Notification: display\r\n\r\nContent-Type: text/plain\r\n\r\nOut of the envelope";
    for _ in 0..2 {
        let kind = "Content-Type: message/cpim\r\n";
        assert_eq!(
            alice.ask("MESSAGE", &uri, &format!("<{uri}>"), kind, envelope).status(),
            200
        );
    }
    bob.logged("Out of the envelope");
    let log = bob.log();
    assert!(!log.contains("isComposing") && !log.contains("imdn"), "{log}");
}
