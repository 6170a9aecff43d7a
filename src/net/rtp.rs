//! The media workers: threads that move RTP between sockets and a [`media::Engine`] of their own.
//!
//! Plans come in through a bounded channel with a bell; packets through epoll; events go up through another channel. A
//! worker never touches a file and waits for nothing else. All rooms of one interaction live on one worker, because a
//! room's ports are that worker's.

mod board;
mod file_desk;
mod line;
mod pairs;
mod ring;
mod sockets;
#[cfg(test)]
mod tests;
mod worker;

use crate::counters;
use crate::files::Files;
use crate::wake::{self, Bell, Post, Refused};
use clock::System;
use file_desk::FileDesk;
use media::{Engine, EngineConfig, Event, Plan, WorkerId};
use sockets::Plain;
use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread::JoinHandle;
use worker::{Channels, Worker};

counters! {
    /// What the media workers did, all of them together.
    RtpCounters, "rtp_" {
        /// RTP and RTCP packets received on ports in use.
        packets_in,
        /// Packets handed to the kernel. With io_uring it says later which of them it refuses: those count here too.
        packets_out,
        /// Packets the kernel refused: its buffer was full, or there is no way to the peer.
        send_failed,
        /// Longer than any RTP we speak, and dropped.
        truncated,
        /// Packets of an earlier call, or of nobody, thrown away when a port came into use.
        stale,
        /// Packets to a port on which there is no leg any more.
        unexpected,
        /// Plans that named something unknown.
        ignored_plans,
        /// Port pairs bound.
        ports_bound gauge,
        /// Port pairs in use.
        ports_in_use gauge,
        /// Ports with a socket of their own for the one device they speak with.
        ports_connected gauge,
        /// Workers whose packets go by io_uring.
        uring_workers gauge,
        /// Ticks of 20 ms that were mixed more than 5 ms late: the machine is too busy, and listeners may hear it.
        late_ticks,
        /// Frames of prompts and music that were silent because the disk was slow.
        starved,
        /// Events to call control that were lost because it did not take them.
        events_dropped,
        /// Panics caught.
        panics,
    }
}

/// Plans that may wait for a worker. One call is about ten, so this is a burst of hundreds of calls.
const PLANS: usize = 8_192;

/// Blocks from the file thread that may wait for a worker, which takes all at every turn.
const NEWS: usize = 1_024;

/// What workers are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpSettings {
    /// Address the sockets are bound to.
    pub address: IpAddr,
    /// An address of the other family, on which every pair is bound too, under the same numbers.
    pub second: Option<IpAddr>,
    /// Ports that may be bound; RTP takes even ones, RTCP the odd one above.
    pub ports: RangeInclusive<u16>,
    /// How many threads; at least one.
    pub workers: u16,
    /// How packets move between us and the kernel.
    pub io: Io,
    /// Sockets at most that are connected to one device each, beside those of the ports. They save work and cost a file descriptor.
    pub lines: usize,
    /// Worker n runs on core `cores[n % len]`; empty: where the system likes.
    pub cores: Vec<usize>,
}

/// How packets move between a worker and the kernel (decision 0052).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Io {
    /// By io_uring where the kernel lets us, else by epoll.
    #[default]
    Auto,
    /// By epoll and a system call for each packet.
    Epoll,
    /// By io_uring, or not at all.
    Uring,
}

/// Gives the random numbers of one engine: a CSPRNG seeded by the operating system in a node.
pub type Random = Box<dyn FnMut() -> u64 + Send>;

/// All media workers. Dropping it ends them.
pub struct Workers {
    workers: Vec<Running>,
    /// Ends after them.
    _files: Files,
}

struct Running {
    plans: Option<Post<Plan>>,
    bell: Bell,
    /// It was given plans and not yet woken.
    sleeps: bool,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// Starts the threads. They bind no port before [`Plan::BindPorts`] asks for it. `random` is called once per worker.
    ///
    /// # Errors
    /// The address cannot be bound, is a wildcard, or the system gives no descriptor or thread.
    pub fn start(
        settings: &RtpSettings,
        engine: EngineConfig,
        mut random: impl FnMut(WorkerId) -> Random,
        clock: System,
        events: &Post<Event>,
        files: Files,
        counters: &Arc<RtpCounters>,
    ) -> io::Result<Workers> {
        for address in [Some(settings.address), settings.second].into_iter().flatten() {
            crate::refuse_wildcard((address, 0).into())?;
            std::net::UdpSocket::bind((address, 0))?;
        }
        if settings.io == Io::Uring {
            ring::Ring::probe()?;
        }
        let count = settings.workers.max(1);
        let start = |n: u16| {
            let (id, bell) = (WorkerId(n), Bell::new()?);
            let (plans, inbox) = wake::channel(PLANS, &bell);
            let (news, from_files) = wake::channel(NEWS, &bell);
            let channels = Channels {
                plans: inbox,
                events: events.clone(),
                files: FileDesk::new(files.door(id, news), from_files),
            };
            let sockets = Plain::new(
                (settings.address, settings.second),
                share(&settings.ports, n, count),
                (settings.io, settings.lines / usize::from(count)),
                &bell,
                counters.clone(),
            )?;
            let engine = Engine::new(engine, random(id));
            let worker = Worker::new(id, engine, sockets, clock, channels, counters.clone());
            let core = settings
                .cores
                .get(usize::from(n) % settings.cores.len().max(1))
                .copied();
            let thread = std::thread::Builder::new().name(format!("media-{n}")).spawn(move || {
                pin(core);
                worker.run();
            })?;
            Ok(Running {
                plans: Some(plans),
                bell,
                sleeps: false,
                thread: Some(thread),
            })
        };
        Ok(Workers {
            workers: (0..count).map(start).collect::<io::Result<_>>()?,
            _files: files,
        })
    }

    /// How many workers there are.
    #[must_use]
    pub fn count(&self) -> u16 {
        u16::try_from(self.workers.len()).unwrap_or(u16::MAX)
    }

    /// A worker whose thread has ended, which none does before these are dropped unless it failed: its calls are mute.
    #[must_use]
    pub fn ended(&self) -> Option<WorkerId> {
        let has_ended = |running: &Running| running.thread.as_ref().is_none_or(JoinHandle::is_finished);
        let at = self.workers.iter().position(has_ended)?;
        u16::try_from(at).ok().map(WorkerId)
    }

    /// Gives a worker an order; never waits. The worker sees it at the latest after [`Workers::wake`]: to be called when there
    /// is nothing more to say for now, since each time may cost a change of threads.
    ///
    /// # Errors
    /// Hands the plan back: the worker's queue is full, or there is no such worker (any more).
    #[allow(clippy::result_large_err)] // a plan is moved in and, rarely, out again: boxing it would cost more
    pub fn submit(&mut self, worker: WorkerId, plan: Plan) -> Result<(), Refused<Plan>> {
        let Some(running) = self.workers.get_mut(usize::from(worker.0)) else {
            return Err(Refused::Gone(plan));
        };
        running.sleeps = true;
        match &running.plans {
            Some(plans) => plans.offer_quietly(plan),
            None => Err(Refused::Gone(plan)),
        }
    }

    /// Wakes the workers that were given orders.
    pub fn wake(&mut self) {
        for running in self.workers.iter_mut().filter(|running| running.sleeps) {
            running.sleeps = false;
            running.bell.ring();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for running in &mut self.workers {
            running.plans = None; // the end of its channel is a worker's end
            running.bell.ring();
        }
        for thread in self.workers.iter_mut().filter_map(|running| running.thread.take()) {
            // Its panics have been caught and counted; there is nothing more to learn here.
            let _ = thread.join();
        }
    }
}

/// The part of the range that worker `n` of `count` has to itself: whole pairs, first port even.
fn share(ports: &RangeInclusive<u16>, n: u16, count: u16) -> std::ops::Range<u32> {
    let first = u32::from(*ports.start()).next_multiple_of(2);
    let pairs = (u32::from(*ports.end()) + 1).saturating_sub(first) / 2;
    let cut = |n: u16| first + pairs * u32::from(n) / u32::from(count) * 2;
    cut(n)..cut(n + 1)
}

fn pin(core: Option<usize>) {
    if let Some(id) = core
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        tracing::warn!(core = id, "cannot run a media worker on this core only");
    }
}
