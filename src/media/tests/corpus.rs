//! Replays the committed fuzz corpora, and what little damage makes of them, on the stable compiler.

#![allow(clippy::unwrap_used)] // a test

#[path = "../../../fuzz/media_targets.rs"]
mod targets;

use proptest::prelude::*;
use std::path::Path;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 4] = [
    ("sdp", targets::sdp),
    ("rtp", targets::rtp),
    ("rtcp", targets::rtcp),
    ("srtp", targets::srtp),
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

#[test]
fn replays_every_corpus() {
    for (name, run) in TARGETS {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has a corpus");
        corpus.iter().for_each(|input| run(input));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn survives_a_damaged_corpus(
        target in 0..TARGETS.len(), file: prop::sample::Index, cut: prop::sample::Index,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let (name, run) = TARGETS[target];
        let corpus = corpus(name);
        let mut input = file.get(&corpus).clone();
        damage.iter().for_each(|(at, byte)| *at.get_mut(&mut input) = *byte);
        run(&input);
        run(&input[..cut.index(input.len() + 1)]);
    }
}
