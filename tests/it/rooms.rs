//! A conference of real softphones, and the operator beside it.

use crate::support::baresip::{Account, Baresip, Speech};
use crate::support::node::TestNode;
use crate::support::served::{TANDEM, text};
use crate::support::{http, log_in, node, wait_for};
use serde_json::json;
use std::process::Command;

/// Tones whose harmonics do not meet.
const TONES: [f64; 3] = [440.0, 620.0, 1_140.0];

fn phone(node: &TestNode, n: usize) -> Baresip {
    let user = format!("100{n}");
    let account = Account {
        user: &user,
        password: &format!("demo-{user}"),
        server: node.sip(),
        tone_hz: TONES[n],
        answers: false,
        writes_to: "1000",
        speech: Speech::PLAIN,
    };
    Baresip::start(&account).registered()
}

/// What `tandem` says to these words.
fn operator(node: &TestNode, words: &[&str]) -> String {
    let mut command = Command::new(TANDEM);
    command.args(words).arg("--socket").arg(node.socket());
    let output = command.arg("--config").arg(node.directory()).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn three_phones_in_a_room_hear_each_other_and_not_themselves() {
    let node = node();
    let mut phones: Vec<Baresip> = (0..3).map(|n| phone(&node, n)).collect();
    for phone in &mut phones {
        phone.dial(&format!("sip:3000@{}", node.sip()));
    }
    phones[0].hears_mix(&[TONES[1], TONES[2]], &[TONES[0]]);
    phones[1].hears_mix(&[TONES[0], TONES[2]], &[TONES[1]]);
    phones[2].hears_mix(&[TONES[0], TONES[1]], &[TONES[2]]);
    let room = node.get("/api/v1/rooms/3000");
    let members = room["members"].as_array().unwrap();
    assert!(members.iter().all(|member| member["talking"] == true), "{room:#}");
    let speakers = members.iter().filter(|member| member["speaker"] == true).count();
    assert_eq!(speakers, 1, "{room:#}");

    // Who is which member depends on whose INVITE came first.
    let user = |member: &serde_json::Value| member["user"].as_str().unwrap_or_default().to_owned();
    let first = members.iter().find(|member| user(member).starts_with("1000@")).unwrap();
    let id = first["id"].to_string();
    operator(&node, &["rooms", "mute", "3000", &id]);
    phones[1].hears_mix(&[TONES[2]], &[TONES[0], TONES[1]]);
    phones[0].hears_mix(&[TONES[1], TONES[2]], &[TONES[0]]);
    assert!(operator(&node, &["rooms", "list"]).contains("3000  3"));

    // The same and more by HTTP: heard again, and deaf; and the door.
    let token = log_in(&node, "1005");
    let patch = |path: String, wish: serde_json::Value| {
        let (status, answer) = http(node.http(), "PATCH", &path, Some(&token), &wish);
        assert_eq!(status, 200, "{answer}");
    };
    let of_room = "/api/v1/rooms/3000".to_owned();
    patch(
        format!("{of_room}/members/{id}"),
        json!({ "muted": false, "deaf": true }),
    );
    phones[1].hears_mix(&[TONES[0], TONES[2]], &[TONES[1]]);
    phones[0].hears_nothing();
    patch(of_room, json!({ "locked": true }));
    assert!(operator(&node, &["rooms", "list"]).contains("locked"));
    operator(&node, &["rooms", "lock", "3000", "--off"]);
    assert!(operator(&node, &["rooms", "list"]).contains("open"));

    operator(&node, &["rooms", "drop", "3000", &id]);
    phones[0].logged("session closed");
    phones[1].hears_mix(&[TONES[2]], &[TONES[0], TONES[1]]);
    phones[1].hang_up();
    phones[2].hang_up();
    wait_for("the end of the room", || {
        let rooms = node.get("/api/v1/rooms");
        (rooms["rooms"].as_array()?.is_empty()).then_some(())
    });
}
