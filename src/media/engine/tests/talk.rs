//! Who is said to talk, and when.

use super::device::*;
use super::*;

/// What is said of the first of three devices that talks and is silent for so many milliseconds in turn, and when.
fn said_of(turns: &[u64]) -> Vec<(u64, bool)> {
    let devices = (0..3).map(|n| Device::new(n, PCMU, -20.0)).collect();
    let mut scene = Scene::new(devices, Matrix::Everyone);
    scene.devices[1..].iter_mut().for_each(|device| device.silence(true));
    let leg = scene.devices[0].leg;
    let mut said = Vec::new();
    for (turn, ms) in turns.iter().enumerate() {
        scene.devices[0].silence(turn % 2 == 1);
        for _ in 0..ms / 20 {
            scene.run(20);
            let now = scene.now / 1_000_000;
            for event in scene.worker.events.drain(..) {
                match event {
                    Event::Talking { leg: who, talking } if who == leg => said.push((now, talking)),
                    Event::Talking { .. } => panic!("{event:?} of who is silent"),
                    _ => {}
                }
            }
        }
    }
    said
}

/// A packet is mixed one or two ticks after it was sent, and the end of words is kept for 300 ms.
fn assert_said(said: &[(u64, bool)], expected: &[(u64, bool)]) {
    assert_eq!(said.len(), expected.len(), "{said:?}");
    for (&(at, talking), &(from, wanted)) in said.iter().zip(expected) {
        assert_eq!(talking, wanted, "{said:?}");
        assert!((from..=from + 40).contains(&at), "{said:?}, not {from}");
    }
}

#[test]
fn who_talks_is_said_at_the_first_word_and_300_ms_after_the_last() {
    let said = said_of(&[1_000, 1_000, 600, 1_000]);
    assert_said(&said, &[(20, true), (1_300, false), (2_020, true), (2_900, false)]);
}

#[test]
fn a_pause_between_words_is_none_in_talk() {
    let said = said_of(&[500, 260, 500, 260, 500, 1_000]);
    assert_said(&said, &[(20, true), (2_320, false)]);
}
