//! What a node has recorded.

use super::node::TestNode;
use super::{tone, wait_for};

/// The samples of its only recording, which has ended: those of the left channel and of the right.
pub fn channels(node: &TestNode) -> [Vec<i16>; 2] {
    wait_for("the recording's end", || {
        (node.metric("tandem_recordings_total") == 1.0).then_some(())
    });
    assert_eq!(node.metric("tandem_recordings_incomplete_total"), 0.0);
    let directory = node.directory().join("run/recordings");
    let files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    let mut wav = hound::WavReader::open(file).unwrap();
    assert_eq!((wav.spec().channels, wav.spec().sample_rate), (2, 8_000));
    let samples: Vec<i16> = wav.samples().map(Result::unwrap).collect();
    [0, 1].map(|n| samples.iter().skip(n).step_by(2).copied().collect())
}

/// One of these tones is heard in a channel and the others never are. A machine that is busy lets a phone send late, so one
/// half second has to be right.
pub fn assert_only(channel: &[i16], hz: f64, others: &[f64]) {
    let shares = |hz| {
        let parts = channel.chunks_exact(4_000);
        parts.map(|part| tone::share_at(part, 8_000, hz)).collect::<Vec<_>>()
    };
    let own = shares(hz);
    assert!(own.iter().any(|share| *share > 0.9), "{hz} Hz: {own:?}");
    for &other in others {
        let heard = shares(other);
        assert!(heard.iter().all(|share| *share < 0.02), "{other} Hz: {heard:?}");
    }
}

/// More than a second is recorded from now on.
pub fn a_second_more(node: &TestNode) {
    let recorded = || node.metric("tandem_files_recorded_bytes_total");
    let before = recorded();
    wait_for("a second on the tape", || {
        (recorded() > before + 48_000.0).then_some(())
    });
}
