//! A SIP load generator: thousands of users on one UDP socket, digest, closed loop (a window of operations in flight) or
//! open loop (a rate). Loopback only, bounded in count and time. `scripts/compare` runs it against Tandem and a peer.
//!
//! One line of tab-separated figures per run:
//! `label op seconds done failed rate p50_us p99_us server_cpu_us load_cpu_us server_rss_kib`
#![allow(missing_docs)]
#![allow(clippy::print_stdout, clippy::unwrap_used)] // a command-line tool of the bench

mod batch;
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
    /// INVITE 100 180 200 ACK BYE 200 through the server, no media.
    Call,
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
    /// Processes of the server, for CPU and memory.
    #[arg(long, value_delimiter = ',')]
    pid: Vec<u32>,
    #[arg(long, default_value = "tandem")]
    label: String,
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
    assert!(
        a.seconds <= 120.0 && a.users <= 1_000_000 && a.window <= 8_192,
        "the load is bounded"
    );
    let mut run = run::Run::new(&a.domain, a.users, a.local, a.target);
    run.register_all();
    let before = server(&a.pid);
    let own = cpu_us(std::process::id());
    let result = run.measure(a.op, a.window, a.rate, a.seconds);
    let after = server(&a.pid);
    let done = result.done.max(1) as f64;
    println!(
        "{}\t{:?}\t{:.2}\t{}\t{}\t{:.0}\t{}\t{}\t{:.2}\t{:.2}\t{}",
        a.label,
        a.op,
        result.seconds,
        result.done,
        result.failed,
        result.done as f64 / result.seconds,
        result.percentile(0.5),
        result.percentile(0.99),
        (after.0 - before.0) as f64 / done,
        (cpu_us(std::process::id()) - own) as f64 / done,
        after.1,
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

fn rss_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}
