//! The committed corpora of the fuzz targets, through the very functions the fuzzer calls, and a few thousand damaged
//! copies of them.

#[path = "../../../../fuzz/sip_targets.rs"]
mod targets;

use crate::messages::damage;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use std::path::Path;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 8] = [
    ("bodies", targets::bodies),
    ("message", targets::message),
    ("uri", targets::uri),
    ("headers", targets::headers),
    ("frame", targets::frame),
    ("digest", targets::digest),
    ("peek", targets::peek),
    ("stun", targets::stun),
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn every_file_of_the_corpora_passes() {
    for (name, run) in TARGETS {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has a corpus");
        corpus.iter().for_each(|input| run(input));
    }
}

#[test]
fn damaged_copies_pass_too() {
    for (name, run) in TARGETS {
        let inputs = prop::sample::select(corpus(name));
        let strategy = (inputs, prop::collection::vec(damage(), 1..8));
        // The same in every run; scripts/soak runs the fuzzer itself.
        let rng = TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
        let config = Config {
            cases: 1_000,
            failure_persistence: None,
            ..Config::default()
        };
        TestRunner::new_with_rng(config, rng)
            .run(&strategy, |(mut input, damages)| {
                damages.iter().for_each(|d| d.apply(&mut input));
                run(&input);
                Ok(())
            })
            .unwrap();
    }
}
