//! What the disk itself takes: one small write and `fdatasync` after the other, with nothing else in between.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the loop runs.
const TIME: Duration = Duration::from_secs(3);
/// About what a stored message adds to a log.
const PIECE: [u8; 1024] = [b'x'; 1024];

/// The columns of one run behind its label, for an operation named `Fsync`.
pub fn measure(directory: &Path) -> String {
    let path = directory.join("floor");
    let mut file = std::fs::File::create(&path).expect("a file on the server's disk");
    let mut times: Vec<u128> = Vec::with_capacity(100_000);
    let began = Instant::now();
    while began.elapsed() < TIME {
        let at = Instant::now();
        file.write_all(&PIECE).expect("room on the server's disk");
        file.sync_data().expect("a disk that works");
        times.push(at.elapsed().as_micros());
    }
    let seconds = began.elapsed().as_secs_f64();
    std::fs::remove_file(&path).expect("the file is ours");
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let count = times.len();
    format!(
        "Fsync\t{seconds:.2}\t{count}\t0\t{:.0}\t{}\t{}\t0\t0\t0\t0",
        count as f64 / seconds,
        at(0.5),
        at(0.99)
    )
}
