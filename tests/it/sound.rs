//! What is recorded, played and measured, with real softphones.

use crate::support::baresip::{Account, Baresip, Speech};
use crate::support::node::TestNode;
use crate::support::{node, tape, tone, wait_for};
use serde_json::{Value, json};

fn phone(node: &TestNode, user: &str, tone_hz: f64, answers: bool) -> Baresip {
    Baresip::start(&Account {
        user,
        password: &format!("demo-{user}"),
        server: node.sip(),
        tone_hz,
        answers,
        writes_to: "1001",
        speech: Speech::PLAIN,
    })
    .registered()
}

/// The id of the only call, once it is answered.
fn call(node: &TestNode) -> String {
    wait_for("an answered call", || {
        let calls = node.get("/api/v1/calls");
        let call = calls["calls"].get(0).filter(|call| call["state"] == "answered")?;
        call["id"].as_str().map(str::to_owned)
    })
}

fn record(node: &TestNode, call: &str, state: &str) {
    let path = format!("/api/v1/calls/{call}/record");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let client = cli::Client::new(&node.socket());
    let wish = json!({ "state": state });
    runtime
        .block_on(client.ask(hyper::Method::POST, &path, Some(&wish)))
        .unwrap();
}

/// The loudest tone of one direction of a leg, in Hz.
fn loudest(leg: &Value, direction: &str) -> f64 {
    leg[direction]["tones"][0]["hz"].as_f64().unwrap_or(0.0)
}

#[test]
fn a_recorded_call_has_each_phones_tone_in_its_own_channel_and_the_api_hears_both() {
    let node = node();
    let mut alice = phone(&node, "1000", 440.0, false);
    let bob = phone(&node, "1001", 660.0, true);
    alice.dial(&format!("sip:1001@{}", node.sip()));
    alice.hears(660.0);
    bob.hears(440.0);

    let id = call(&node);
    record(&node, &id, "on");
    // By the time the API has listened twice, more than a second is recorded.
    for _ in 0..2 {
        let legs = wait_for("what both legs send", || {
            let media = node.get(&format!("/api/v1/calls/{id}/media"));
            (loudest(&media["legs"][0], "received") > 0.0).then(|| media["legs"].clone())
        });
        for (leg, hz, other) in [(0, 440.0, 660.0), (1, 660.0, 440.0)] {
            assert!((loudest(&legs[leg], "received") - hz).abs() < 5.0, "{legs:#}");
            assert!((loudest(&legs[leg], "sent") - other).abs() < 5.0, "{legs:#}");
            assert!(legs[leg]["packets_in"].as_u64().unwrap() > 20);
            assert_eq!(legs[leg]["codec"], "PCMU/8000");
        }
    }
    tape::a_second_more(&node);
    alice.hears(660.0);
    alice.hang_up();
    let [left, right] = tape::channels(&node);
    tape::assert_only(&left, 440.0, &[660.0]);
    tape::assert_only(&right, 660.0, &[440.0]);
}

#[test]
fn music_on_hold_plays_a_file_of_the_operator_as_it_is_and_the_own_tune_without() {
    let node = node();
    let mut alice = phone(&node, "1000", 440.0, false);
    alice.dial(&format!("sip:9664@{}", node.sip()));
    wait_for("the tune", || {
        let (heard, _) = alice.heard();
        let last = &heard[heard.len().saturating_sub(8_000)..];
        (last.iter().filter(|sample| sample.unsigned_abs() > 300).count() > 4_000).then_some(())
    });
    alice.hang_up();
    drop(alice);

    let music = node.directory().join("moh/soft");
    std::fs::create_dir_all(&music).unwrap();
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 44_100,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(music.join("a.wav"), spec).unwrap();
    for sample in tone::sine(44_100, 523.0, 5.0) {
        file.write_sample(sample).unwrap();
        file.write_sample(sample).unwrap();
    }
    file.finalize().unwrap();
    let plan = "[[rule]]\nmatch = \"9664\"\naction = \"music\"\nclass = \"soft\"\n";
    std::fs::write(node.directory().join("dialplan.toml"), plan).unwrap();
    node.node().reload().unwrap();
    let mut alice = phone(&node, "1000", 440.0, false);
    alice.dial(&format!("sip:9664@{}", node.sip()));
    alice.hears(523.0);
    alice.hang_up();
}
