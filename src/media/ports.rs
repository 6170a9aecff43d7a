//! The pool of RTP ports the workers have bound, handed out by call control. Every operation is O(1) amortised.
//!
//! Control never names a port that is not open: workers bind ahead and say so, the pool asks for more when it runs low,
//! and a freed port rests before reuse so that late packets of the old call do not reach the next one.

use crate::plan::WorkerId;
use clock::Mono;
use std::collections::VecDeque;
use std::time::Duration;

/// One RTP port, even, with its RTCP port above it, and the worker that reads it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Where legs on this port, and therefore their rooms, must live.
    pub worker: WorkerId,
    /// The RTP port.
    pub number: u16,
}

/// No port is free: answer 503.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct NoPort;

impl std::fmt::Display for NoPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no RTP port is free")
    }
}

impl std::error::Error for NoPort {}

/// How a pool behaves.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// How long a freed port rests.
    pub rest: Duration,
    /// Ask a worker for more when fewer than this many of its ports are ready or asked for, or fewer than half of the last
    /// bunch.
    pub low_water: u16,
    /// How many to ask for at once. Twice as many as the last time, if that was within [`HASTE`]: calls come so fast then that
    /// a small bunch would be gone before it is there.
    pub bunch: u16,
}

/// What each worker binds ahead at least, if there are so many in all: rooms cannot choose another one for their further legs.
const AHEAD_EACH: u16 = 256;

impl PoolConfig {
    /// For so many workers, which are to have so many ports ahead in all.
    #[must_use]
    pub fn of(workers: u16, ahead: u16, rest: Duration) -> PoolConfig {
        let bunch = (ahead / workers.max(1)).max(AHEAD_EACH.min(ahead)).max(1);
        let low_water = bunch.div_ceil(2);
        PoolConfig { rest, low_water, bunch }
    }
}

/// The ports of every worker: ready, in use, or resting.
#[derive(Debug)]
pub struct PortPool {
    config: PoolConfig,
    shelves: Vec<Shelf>,
}

/// A worker that had no port to give is left alone for so long. It may have lacked only descriptors, which come back.
pub const RETRY: Duration = Duration::from_secs(30);

/// Bunches grow while they are used up in this time.
const HASTE: Duration = Duration::from_secs(1);

/// So many times the usual is as large as a bunch grows: a worker binds 4,096 within some 50 ms, and what is bound first can be
/// used first.
const GROWTH: u16 = 4;

/// One worker's ports. At most 32,768 exist per address, which bounds both queues.
#[derive(Debug, Default)]
struct Shelf {
    ready: VecDeque<u16>,
    resting: VecDeque<(Mono, u16)>,
    in_use: usize,
    /// So many were asked for and are not there yet.
    asked: usize,
    /// The last bunch asked for, and when.
    last: (Option<Mono>, u16),
    exhausted: Option<Mono>,
}

impl PortPool {
    /// An empty pool for this many workers (at least one).
    #[must_use]
    pub fn new(workers: u16, config: PoolConfig) -> PortPool {
        PortPool {
            config,
            shelves: (0..workers.max(1)).map(|_| Shelf::default()).collect(),
        }
    }

    /// A port of the worker with the fewest ports in use: for the first leg of a room.
    ///
    /// # Errors
    /// Nothing is ready at any worker.
    pub fn take_any(&mut self, now: Mono) -> Result<Port, NoPort> {
        let rest = self.config.rest;
        let ready = self.shelves.iter_mut().enumerate().filter_map(|(at, shelf)| {
            shelf.wake(now, rest);
            (!shelf.ready.is_empty()).then_some((shelf.in_use, at))
        });
        let (_, least) = ready.min().ok_or(NoPort)?;
        self.take(now, WorkerId(u16::try_from(least).map_err(|_| NoPort)?))
    }

    /// A port of this worker: for further legs of its rooms.
    ///
    /// # Errors
    /// Nothing is ready at this worker.
    pub fn take(&mut self, now: Mono, worker: WorkerId) -> Result<Port, NoPort> {
        let rest = self.config.rest;
        let shelf = self.shelves.get_mut(usize::from(worker.0)).ok_or(NoPort)?;
        shelf.wake(now, rest);
        let number = shelf.ready.pop_front().ok_or(NoPort)?;
        shelf.in_use += 1;
        Ok(Port { worker, number })
    }

    /// Gives a port back; it is handed out again after its rest. Call it once per taken port.
    pub fn give_back(&mut self, now: Mono, port: Port) {
        if let Some(shelf) = self.shelves.get_mut(usize::from(port.worker.0)) {
            shelf.in_use = shelf.in_use.saturating_sub(1);
            shelf.resting.push_back((now, port.number));
        }
    }

    /// Takes note of [`crate::Event::PortsBound`]. Odd numbers are ignored: they are somebody's RTCP port.
    pub fn on_bound(&mut self, worker: WorkerId, ports: &[u16]) {
        if let Some(shelf) = self.shelves.get_mut(usize::from(worker.0)) {
            shelf.ready.extend(ports.iter().copied().filter(|port| port % 2 == 0));
            shelf.asked = shelf.asked.saturating_sub(ports.len());
        }
    }

    /// Takes note of [`crate::Event::PortsExhausted`]: the worker is asked again after [`RETRY`] only.
    pub fn on_exhausted(&mut self, now: Mono, worker: WorkerId) {
        if let Some(shelf) = self.shelves.get_mut(usize::from(worker.0)) {
            (shelf.exhausted, shelf.asked) = (Some(now), 0);
        }
    }

    /// The next worker that runs low, and how many ports to ask it for with [`crate::Plan::BindPorts`]; they come in several
    /// events.
    pub fn poll_want(&mut self, now: Mono) -> Option<(WorkerId, u16)> {
        let config = self.config;
        let low = self.shelves.iter_mut().position(|shelf| {
            shelf.wake(now, config.rest);
            let may_ask = shelf.exhausted.is_none_or(|since| now >= since + RETRY);
            may_ask && shelf.ready.len() + shelf.asked < usize::from(config.low_water.max(shelf.last.1 / 2))
        })?;
        let shelf = &mut self.shelves[low];
        let bunch = shelf.next_bunch(now, config.bunch);
        shelf.asked += usize::from(bunch);
        shelf.last = (Some(now), bunch);
        Some((WorkerId(u16::try_from(low).ok()?), bunch))
    }

    /// Ports in use now, for metrics and leak checks.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.in_use).sum()
    }
}

impl Shelf {
    fn next_bunch(&self, now: Mono, usual: u16) -> u16 {
        match self.last {
            (Some(asked), last) if now.since(asked) < HASTE => last.saturating_mul(2).min(usual.saturating_mul(GROWTH)),
            _ => usual,
        }
    }

    /// Freed ports wait in the order they were freed, so only the front can be due.
    fn wake(&mut self, now: Mono, rest: Duration) {
        while let Some(&(freed, number)) = self.resting.front() {
            if now < freed + rest {
                break;
            }
            self.resting.pop_front();
            self.ready.push_back(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: WorkerId = WorkerId(0);

    fn secs(s: u64) -> Mono {
        Mono(s * 1_000_000_000)
    }

    fn pool() -> PortPool {
        let mut pool = PortPool::new(
            1,
            PoolConfig {
                rest: Duration::from_secs(2),
                low_water: 2,
                bunch: 3,
            },
        );
        pool.on_bound(W, &[16384, 16386, 16387]);
        pool
    }

    #[test]
    fn hands_out_even_ports_that_are_bound_and_then_none() {
        let mut pool = pool();
        assert_eq!(pool.take_any(secs(0)).unwrap().number, 16384);
        assert_eq!(pool.take(secs(0), W).unwrap().number, 16386);
        assert_eq!(pool.take_any(secs(0)), Err(NoPort));
        assert_eq!(pool.in_use(), 2);
    }

    #[test]
    fn a_freed_port_rests_two_seconds() {
        let mut pool = pool();
        let first = pool.take(secs(0), W).unwrap();
        pool.take(secs(0), W).unwrap();
        pool.give_back(secs(1), first);
        assert_eq!(pool.take(secs(2), W), Err(NoPort));
        assert_eq!(pool.take(secs(3), W), Ok(first));
    }

    #[test]
    fn asks_for_more_once_when_running_low_and_not_at_once_after_exhaustion() {
        let mut pool = pool();
        assert_eq!(pool.poll_want(secs(0)), None);
        pool.take(secs(0), W).unwrap();
        assert_eq!(pool.poll_want(secs(0)), Some((W, 3)));
        assert_eq!(pool.poll_want(secs(0)), None);
        pool.on_bound(W, &[16388, 16390, 16392]);
        for _ in 0..3 {
            pool.take(secs(1), W).unwrap();
        }
        assert_eq!(pool.poll_want(secs(1)), Some((W, 3)));
        pool.on_exhausted(secs(1), W);
        assert_eq!(pool.poll_want(secs(30)), None);
        assert_eq!(pool.poll_want(secs(31)), Some((W, 3)), "descriptors may be free again");
        assert_eq!(pool.poll_want(secs(60)), None);
        pool.on_exhausted(secs(60), W);
        assert_eq!(pool.poll_want(secs(89)), None);
    }

    #[test]
    fn bunches_grow_while_they_are_used_up_at_once() {
        let mut pool = PortPool::new(1, PoolConfig::of(1, 1_024, Duration::ZERO));
        let (mut number, mut asked) = (0, Vec::new());
        for millisecond in 0..4 {
            let now = Mono(millisecond * 1_000_000);
            let (worker, count) = pool.poll_want(now).unwrap();
            asked.push(count);
            let ports: Vec<u16> = (0..count).map(|n| number + 2 * n).collect();
            number += 2 * count;
            pool.on_bound(worker, &ports);
            while pool.shelves[0].ready.len() >= usize::from(count / 2) {
                pool.take(now, W).unwrap();
            }
        }
        assert_eq!(asked, [1_024, 2_048, 4_096, 4_096]);
        let (_, count) = pool.poll_want(secs(2)).unwrap();
        assert_eq!(count, 1_024, "later it is as before");
    }

    /// Four thousand calls, 3,000 a second, on one worker that binds 32 pairs in a millisecond and half of the time
    /// does something else.
    #[test]
    fn a_burst_of_calls_always_finds_a_port_that_is_bound() {
        let mut pool = PortPool::new(1, PoolConfig::of(1, 1_024, Duration::from_secs(2)));
        let (mut unbound, mut next) = (0_u16, 0_u16);
        let mut serve = |pool: &mut PortPool, now: Mono| {
            while let Some((_, count)) = pool.poll_want(now) {
                unbound += count;
            }
            let ports: Vec<u16> = (0..unbound.min(32)).map(|n| next + 2 * n).collect();
            (unbound, next) = (unbound - ports.len() as u16, next + 2 * ports.len() as u16);
            pool.on_bound(W, &ports);
        };
        for ms in 0..100 {
            serve(&mut pool, Mono(ms * 1_000_000));
        }
        for _ in 0..128 {
            pool.take(secs(1), W).unwrap();
        }
        for call in 128..8_000_u64 {
            let now = secs(1) + Duration::from_micros(call * 333 / 2);
            if call.is_multiple_of(12) {
                serve(&mut pool, now);
            }
            assert!(pool.take(now, W).is_ok(), "port {call}");
        }
    }

    #[test]
    fn the_first_leg_goes_to_the_least_loaded_worker() {
        let mut pool = PortPool::new(2, PoolConfig::of(2, 1_024, Duration::ZERO));
        pool.on_bound(WorkerId(0), &[16384, 16386]);
        pool.on_bound(WorkerId(1), &[16388, 16390]);
        let one = pool.take_any(secs(0)).unwrap();
        assert_ne!(pool.take_any(secs(0)).unwrap().worker, one.worker);
    }

    #[test]
    fn strange_workers_are_refused_without_panic() {
        let mut pool = pool();
        assert_eq!(pool.take(secs(0), WorkerId(9)), Err(NoPort));
        pool.give_back(
            secs(0),
            Port {
                worker: WorkerId(9),
                number: 4,
            },
        );
        pool.on_bound(WorkerId(9), &[2]);
    }
}
