//! What the operating system says about this process, and what we ask of it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use web::Figure;

/// Allows as many file descriptors as the system lets us have: every call takes four, two more when it lasts, every TCP phone one.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Wants no huge pages: one that is hardly used is resident as a whole all the same (decision 0038).
pub fn refuse_huge_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!(%error, "memory comes in huge pages where the system likes");
    }
}

/// File descriptors that we may have once the limit is raised.
pub(crate) fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Memory, threads and descriptors, as `/proc` shows them; what cannot be read is left out.
pub(crate) fn figures() -> Vec<Figure> {
    let found = [
        ("process_resident_memory_bytes", status("VmRSS:").map(|kib| kib * 1024)),
        ("process_threads", status("Threads:")),
        ("process_open_fds", open_descriptors()),
        ("process_max_fds", getrlimit(Resource::Nofile).current),
    ];
    found
        .into_iter()
        .filter_map(|(name, value)| Some(Figure::gauge(name, value?)))
        .collect()
}

fn status(key: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn open_descriptors() -> Option<u64> {
    // The directory being read is one of them.
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some(count.saturating_sub(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let figures = figures();
        assert_eq!(figures.len(), 4, "{figures:?}");
        assert!(figures.iter().all(|figure| figure.value > 0), "{figures:?}");
    }
}
