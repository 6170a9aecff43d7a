//! A load generator for sound: members of rooms, or pairs, each with a paced 20 ms stream (PCMU or Opus) and a tone of its own;
//! it checks what comes back and reads what the server spent. `floor` is the server that does nothing but receive and send:
//! what no server of as many sockets can go below, in each way the kernel has for it. Loopback only, bounded in count and
//! time. `scripts/compare` runs both.
//!
//! One line of tab-separated figures per run:
//! `label members talkers seconds cpu_ms_per_member_s deficit_% late_% gaps heard_% false_heard delay_p50_ms delay_p99_ms load_cpu_% rss_kib_per_member
//! anon_kib_per_member`
#![allow(missing_docs)]
#![allow(clippy::print_stdout, clippy::unwrap_used)] // a command-line tool of the bench

mod ear;
mod floor;
mod mmsg;
mod server;
mod setup;
mod stream;
#[path = "../load/text.rs"]
#[allow(dead_code)]
mod text;
mod uring;

use clap::{Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// Given by cargo bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum What {
    /// Receives and sends back on so many sockets; prints `INDEX ADDRESS` of each.
    Floor {
        #[arg(long)]
        legs: usize,
        #[arg(long, value_enum, default_value_t = floor::Way::Tick)]
        way: floor::Way,
    },
    /// Members, streams, checks, figures.
    Load(Load),
}

/// What is set up and measured.
#[derive(Parser)]
pub struct Load {
    #[arg(long, default_value = "")]
    label: String,
    /// SIP server. Without it `--setup` finds the addresses.
    #[arg(long)]
    sip: Option<SocketAddr>,
    /// A command that reads `INDEX IP:PORT` of our side on its standard input and writes the same of the server's.
    #[arg(long)]
    setup: Option<String>,
    #[arg(long, default_value = "tandem.test")]
    domain: String,
    #[arg(long, default_value_t = 100)]
    members: usize,
    /// Members of one room; 0: all are in one.
    #[arg(long, default_value_t = 0)]
    room_size: usize,
    /// Extension of the first room; the others follow.
    #[arg(long, default_value_t = 3000)]
    room: u32,
    /// Pairs instead of rooms: member 2n calls member 2n+1.
    #[arg(long)]
    pairs: bool,
    /// What members speak.
    #[arg(long, value_enum, default_value_t = Codec::Pcmu)]
    codec: Codec,
    /// So many members of each room talk; 0: all. The others send silence.
    #[arg(long, default_value_t = 0)]
    talkers: usize,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Processes of the server, for CPU and memory.
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
}

/// A codec of the load's streams.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    /// PCMU at 8 kHz.
    Pcmu,
    /// Opus at 48 kHz.
    Opus,
}

impl Load {
    /// Members of one room, or of one pair.
    fn size(&self) -> usize {
        match (self.pairs, self.room_size) {
            (true, _) => 2,
            (false, 0) => self.members,
            (false, size) => size,
        }
    }

    fn talks(&self, member: usize) -> bool {
        self.talkers == 0 || member % self.size() < self.talkers
    }

    fn talkers_in_room(&self) -> usize {
        if self.talkers == 0 {
            self.size()
        } else {
            self.talkers.min(self.size())
        }
    }
}

fn main() {
    match Arguments::parse().what {
        None => println!("sound: nothing to do without a command; see scripts/compare"),
        Some(What::Floor { legs, way }) => floor::serve(legs, way),
        Some(What::Load(load)) => run(&load),
    }
}

fn run(load: &Load) {
    assert!(
        load.members <= 10_000 && load.seconds <= 120 && load.members >= 2,
        "the load is bounded"
    );
    let mut streams = stream::Streams::new(load);
    let empty = server::Usage::of(&load.pid);
    let held = setup::begin(load, &mut streams);
    let settled = streams.run(load, 4, false);
    let (before, own) = (server::Usage::of(&load.pid), server::Usage::of(&[std::process::id()]));
    let heard = streams.run(load, load.seconds, true);
    let (after, mine) = (server::Usage::of(&load.pid), server::Usage::of(&[std::process::id()]));
    setup::end(held);
    drop(settled);
    let report = ear::report(load, &heard);
    let seconds = heard.elapsed.as_secs_f64();
    let members = load.members as f64;
    println!(
        "{}\t{}\t{}\t{seconds:.1}\t{:.4}\t{:.3}\t{:.3}\t{}\t{:.1}\t{}\t{:.1}\t{:.1}\t{:.0}\t{:.1}\t{:.1}",
        load.label,
        load.members,
        load.talkers_in_room(),
        (after.cpu_ns - before.cpu_ns) as f64 / 1e6 / members / seconds,
        report.deficit_percent,
        report.late_percent,
        report.gaps,
        report.heard_percent,
        report.false_heard,
        report.delay_p50_ms,
        report.delay_p99_ms,
        (mine.cpu_ns - own.cpu_ns) as f64 / 1e7 / seconds,
        after.rss_kib.saturating_sub(empty.rss_kib) as f64 / members,
        after.anon_kib.saturating_sub(empty.anon_kib) as f64 / members,
    );
}
