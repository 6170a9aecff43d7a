//! Waiting for many descriptors at once: epoll, level-triggered.

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Events taken in one wait; what is left over comes with the next.
const EVENTS: usize = 256;

/// A set of descriptors, each with a key of the caller's.
pub struct Epoll {
    set: OwnedFd,
}

/// What to wait for. Error conditions are always reported.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read.
    Read,
    /// Something to read, or room to write.
    ReadWrite,
}

/// A descriptor that is ready.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The key it was added with.
    pub key: u64,
    /// Something is to be read.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// An error is pending.
    pub error: bool,
}

impl Epoll {
    /// An empty set.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn new() -> io::Result<Epoll> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Epoll { set })
    }

    /// Adds a descriptor. It leaves the set when it is closed.
    ///
    /// # Errors
    /// The descriptor is in the set already, or the system's limit is reached.
    pub fn add(&self, what: impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(
            &self.set,
            what,
            epoll::EventData::new_u64(key),
            interest.flags(),
        )?)
    }

    /// Changes what a descriptor of the set is waited for.
    ///
    /// # Errors
    /// It is not in the set.
    pub fn change(&self, what: impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(
            &self.set,
            what,
            epoll::EventData::new_u64(key),
            interest.flags(),
        )?)
    }

    /// Waits for a descriptor no longer.
    ///
    /// # Errors
    /// It is not in the set.
    pub fn remove(&self, what: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.set, what)?)
    }

    /// Sleeps until something is ready or the time is over (`None`: no limit), and puts what is ready into `ready`.
    ///
    /// # Errors
    /// The set itself is broken. A signal ends the sleep early and is no error.
    pub fn wait(&self, ready: &mut Vec<Ready>, limit: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); EVENTS];
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        match epoll::wait(&self.set, &mut events, limit.as_ref()) {
            Ok((events, _)) => ready.extend(events.iter().map(Ready::from_event)),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        match self {
            Interest::Read => epoll::EventFlags::IN,
            Interest::ReadWrite => epoll::EventFlags::IN | epoll::EventFlags::OUT,
        }
    }
}

impl Ready {
    fn from_event(event: &epoll::Event) -> Ready {
        let (flags, data) = (event.flags, event.data);
        Ready {
            key: data.u64(),
            readable: flags.contains(epoll::EventFlags::IN),
            writable: flags.contains(epoll::EventFlags::OUT),
            error: flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP),
        }
    }
}
