//! A SIP load generator: thousands of users on one UDP socket, digest, closed loop (a window of operations in flight) or
//! open loop (a rate). Loopback only, bounded in count and time. `scripts/compare` runs it against Tandem and a peer.
//!
//! One line of tab-separated figures per run, microseconds of CPU per operation:
//! `label op seconds done failed rate p50_us p99_us server_cpu_us load_cpu_us server_rss_kib bytes_each`
//!
//! `stored` is about the disk: with `--disk DIR` the same run measures what a bare `fdatasync` takes there.
//!
//! `bytes_each` is what the server's memory grew by: per user while they registered, or with `--op hold` per call that is
//! up. `--scale 1000,10000,...` registers more and more users with one server and measures cached REGISTER at each size;
//! its second column is `Scale:SIZE`.
#![allow(missing_docs)]
#![allow(clippy::print_stdout, clippy::unwrap_used)] // a command-line tool of the bench

mod batch;
mod floor;
mod run;
mod text;

use clap::{Parser, ValueEnum};
use std::net::SocketAddr;

/// What is measured.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub enum Op {
    /// REGISTER, 401, REGISTER, 200.
    Register,
    /// REGISTER with a known nonce, 200.
    Cached,
    /// MESSAGE with a known nonce to another registered user, 200 by that user.
    Message,
    /// MESSAGE with a known nonce to a user who is away, 202 by the server when it is on its disk. Half of the users send to
    /// the other half.
    Stored,
    /// INVITE 100 180 200 ACK BYE 200 through the server, no media.
    Call,
    /// As many calls as the window, all up at the same time, then hung up: set up per second, and memory for each.
    Hold,
}

#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value = "127.0.0.1:5060")]
    target: SocketAddr,
    #[arg(long, default_value = "127.0.0.1:0")]
    local: SocketAddr,
    #[arg(long, default_value = "tandem.test")]
    domain: String,
    #[arg(long, value_enum)]
    op: Op,
    /// Users 100000, 100001, ...; password demo-EXTENSION.
    #[arg(long, default_value_t = 1_000)]
    users: usize,
    /// Operations in flight (closed loop).
    #[arg(long, default_value_t = 128)]
    window: usize,
    /// Operations begun per second (open loop); 0 for closed loop.
    #[arg(long, default_value_t = 0)]
    rate: u64,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Sockets of ours, so addresses to which the server answers; each user has one of them.
    #[arg(long, default_value_t = 1)]
    sockets: usize,
    /// What the server sends joined (UDP_SEGMENT) is taken joined, as by a network card that cuts such packets itself; if not, the
    /// kernel cuts it on its way here, at the server's expense.
    #[arg(long)]
    joined: bool,
    /// Numbers of users to register one after the other, instead of `users`.
    #[arg(long, value_delimiter = ',')]
    scale: Vec<usize>,
    /// Processes of the server, for CPU and memory.
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    /// A directory on the server's disk: what a bare loop of write and fdatasync takes there is printed first, as op
    /// `Fsync`, for one write after the other.
    #[arg(long)]
    disk: Option<std::path::PathBuf>,
    #[arg(long, default_value = "tandem")]
    label: String,
    /// What the operation is called in the figures, instead of its own name: the server may treat it in more than one way.
    #[arg(long)]
    name: Option<String>,
    /// Given by cargo bench.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    if !std::env::args().any(|a| a == "--op") {
        println!("load: nothing to do without --op; see scripts/compare");
        return;
    }
    let a = Arguments::parse();
    assert!(
        a.target.ip().is_loopback() && a.local.ip().is_loopback(),
        "load goes to loopback only"
    );
    let users = a.scale.iter().copied().max().unwrap_or(a.users);
    assert!(
        a.seconds <= 120.0 && users <= 1_000_000 && a.window <= 16_384 && (1..=64).contains(&a.sockets),
        "the load is bounded"
    );
    if let Some(disk) = &a.disk {
        println!("{}\t{}", a.label, floor::measure(disk));
    }
    let mut run = run::Run::new(&a.domain, users, (a.sockets, a.joined), a.local, a.target);
    let empty = server(&a.pid).1;
    if a.scale.is_empty() {
        run.register_first(if a.op == Op::Stored { users / 2 } else { users });
        let grown = server(&a.pid).1.saturating_sub(empty);
        let name = a.name.clone().unwrap_or_else(|| format!("{:?}", a.op));
        measure(&a, &mut run, a.op, &name, grown, users);
    }
    for &size in &a.scale {
        run.register_first(size);
        let grown = server(&a.pid).1.saturating_sub(empty);
        measure(&a, &mut run, Op::Cached, &format!("Scale:{size}"), grown, size);
    }
}

/// One line of figures. `grown`: KiB by which the server's memory has grown for `users` who registered.
fn measure(a: &Arguments, run: &mut run::Run, op: Op, name: &str, grown: u64, users: usize) {
    let before = server(&a.pid);
    let own = cpu_us(std::process::id());
    let mut up = before.1;
    let result = run.measure(op, a.window, a.rate, a.seconds, || up = server(&a.pid).1);
    let after = server(&a.pid);
    let done = result.done.max(1) as f64;
    let (grown, each) = if op == Op::Hold {
        (up.saturating_sub(before.1), result.done.max(1))
    } else {
        (grown, users.max(1) as u64)
    };
    println!(
        "{}\t{name}\t{:.2}\t{}\t{}\t{:.0}\t{}\t{}\t{:.2}\t{:.2}\t{}\t{}",
        a.label,
        result.seconds,
        result.done,
        result.failed,
        result.done as f64 / result.seconds,
        result.percentile(0.5),
        result.percentile(0.99),
        (after.0 - before.0) as f64 / done,
        (cpu_us(std::process::id()) - own) as f64 / done,
        after.1,
        grown * 1024 / each,
    );
    for (why, n) in &result.oddities {
        eprintln!("{}: {n} x {why}", a.label);
    }
}

/// CPU time in microseconds and resident memory in KiB over all processes of the server.
fn server(pids: &[u32]) -> (u64, u64) {
    pids.iter()
        .fold((0, 0), |(cpu, rss), &pid| (cpu + cpu_us(pid), rss + rss_kib(pid)))
}

/// User and system time of a process; the kernel counts in 10 ms ticks.
fn cpu_us(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    fields
        .skip(11)
        .take(2)
        .filter_map(|f| f.parse::<u64>().ok())
        .sum::<u64>()
        * 10_000
}

/// Resident memory, where several processes share it each with its part.
fn rss_kib(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find(|l| l.starts_with("Pss:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}
