//! What a server's processes have used.

use std::fs;

/// CPU time so far and resident memory.
#[derive(Copy, Clone, Default)]
pub struct Usage {
    pub cpu_ns: u64,
    /// `VmRSS`: with pages of the program's file that were read for the first time.
    pub rss_kib: u64,
    /// `RssAnon`: without.
    pub anon_kib: u64,
}

impl Usage {
    /// Over all threads of these processes. The scheduler's own figure (ns) where the kernel shows it, else ticks of 10 ms.
    pub fn of(pids: &[u32]) -> Usage {
        pids.iter().fold(Usage::default(), |sum, &pid| Usage {
            cpu_ns: sum.cpu_ns + cpu_ns(pid),
            rss_kib: sum.rss_kib + resident_kib(pid, "VmRSS:"),
            anon_kib: sum.anon_kib + resident_kib(pid, "RssAnon:"),
        })
    }
}

fn cpu_ns(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let exact: Option<u64> = tasks
        .map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum();
    exact.filter(|&ns| ns > 0).unwrap_or_else(|| ticks(pid) * 10_000_000)
}

fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    fields.skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum()
}

fn resident_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}
