//! Channels into a thread that sleeps in epoll: whoever puts something in rings a bell, and the sleeper hears it.

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use tokio::sync::mpsc;

/// Rings the bell. Cheap to clone and to ring: only the first ring since the last hearing is a system call.
#[derive(Clone, Debug)]
pub struct Bell {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    event: OwnedFd,
    rung: AtomicBool,
}

impl Bell {
    /// A silent bell.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn new() -> io::Result<Bell> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Bell {
            inner: Arc::new(Inner {
                event,
                rung: AtomicBool::new(false),
            }),
        })
    }

    /// Makes the file descriptor readable. Call it after putting something in, never before.
    pub fn ring(&self) {
        if !self.inner.rung.swap(true, SeqCst) {
            // It can only fail when the count is at its end, and then the descriptor is readable anyway.
            let _ = write(&self.inner.event, &1u64.to_ne_bytes());
        }
    }

    /// Silences the bell. Call it when the descriptor is readable, before looking into the channels.
    pub fn hear(&self) {
        // In this order: a ring after the read but before the store makes no call, yet what it announces is already in
        // its channel. The other way round, such a ring would be read away and all later ones be silent.
        let _ = read(&self.inner.event, &mut [0u8; 8]);
        self.inner.rung.store(false, SeqCst);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.event.as_fd()
    }
}

/// The sending end of a bounded channel into a sleeping thread.
#[derive(Debug)]
pub struct Post<T> {
    sender: mpsc::Sender<T>,
    bell: Bell,
}

/// Why something was not taken; it is handed back.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused<T> {
    /// As much waits as may.
    Full(T),
    /// The receiver has ended.
    Gone(T),
}

/// A channel for at most `bound` things; its receiver is polled with `try_recv` after `bell` was heard.
#[must_use]
pub fn channel<T>(bound: usize, bell: &Bell) -> (Post<T>, mpsc::Receiver<T>) {
    let (sender, receiver) = mpsc::channel(bound.max(1));
    (
        Post {
            sender,
            bell: bell.clone(),
        },
        receiver,
    )
}

impl<T> Post<T> {
    /// Puts something in and rings, or hands it back. For threads that must not wait.
    ///
    /// # Errors
    /// The channel is full, or nobody receives any more.
    pub fn offer(&self, thing: T) -> Result<(), Refused<T>> {
        self.offer_quietly(thing)?;
        self.bell.ring();
        Ok(())
    }

    /// Puts something in, or hands it back. Whoever has put in several things rings once for all of them.
    ///
    /// # Errors
    /// As [`Post::offer`].
    pub(crate) fn offer_quietly(&self, thing: T) -> Result<(), Refused<T>> {
        self.sender.try_send(thing).map_err(|e| match e {
            mpsc::error::TrySendError::Full(thing) => Refused::Full(thing),
            mpsc::error::TrySendError::Closed(thing) => Refused::Gone(thing),
        })
    }

    /// Puts something in and rings, waiting in line for a place.
    ///
    /// # Errors
    /// Nobody receives any more.
    pub async fn put(&self, thing: T) -> Result<(), Refused<T>> {
        self.sender.send(thing).await.map_err(|e| Refused::Gone(e.0))?;
        self.bell.ring();
        Ok(())
    }

    /// Puts something in and rings, waiting for a place. For threads of their own, never inside tokio.
    ///
    /// # Errors
    /// Nobody receives any more.
    pub fn put_blocking(&self, thing: T) -> Result<(), Refused<T>> {
        self.sender.blocking_send(thing).map_err(|e| Refused::Gone(e.0))?;
        self.bell.ring();
        Ok(())
    }
}

impl<T> Clone for Post<T> {
    fn clone(&self) -> Post<T> {
        Post {
            sender: self.sender.clone(),
            bell: self.bell.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoll::{Epoll, Interest, Ready};
    use std::time::Duration;

    #[test]
    fn no_message_is_left_lying_when_many_threads_ring() {
        let bell = Bell::new().unwrap();
        let epoll = Epoll::new().unwrap();
        epoll.add(&bell, 7, Interest::Read).unwrap();
        let (post, mut receiver) = channel(20_000, &bell);
        for _ in 0..4 {
            let post = post.clone();
            std::thread::spawn(move || (0..5_000).for_each(|n| post.offer(n).unwrap()));
        }
        let (mut got, mut ready) = (0, Vec::new());
        while got < 20_000 {
            epoll.wait(&mut ready, Some(Duration::from_secs(5))).unwrap();
            assert_eq!(
                ready,
                [Ready {
                    key: 7,
                    readable: true,
                    writable: false,
                    error: false
                }],
                "nothing woke us"
            );
            bell.hear();
            got += std::iter::from_fn(|| receiver.try_recv().ok()).count();
        }
    }

    #[test]
    fn a_full_channel_hands_back_what_it_cannot_take() {
        let (post, mut receiver) = channel(1, &Bell::new().unwrap());
        assert_eq!(post.offer(1), Ok(()));
        assert_eq!(post.offer(2), Err(Refused::Full(2)));
        assert_eq!(receiver.try_recv(), Ok(1));
        drop(receiver);
        assert_eq!(post.offer(3), Err(Refused::Gone(3)));
    }
}
