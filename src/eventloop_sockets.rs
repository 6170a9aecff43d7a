//! The UDP sockets of the event loop and its sleep: one epoll over them and the bell.

use bytes::Bytes;
use clock::{Now, System};
use net::epoll::{Epoll, Interest, Ready};
use net::udp::{self, Flushed, Udp};
use net::wake::Bell;
use sip::{Flow, Transport};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Batches read from one socket per turn; what is left is read in the next, before anything new is handled.
const BATCHES_PER_TURN: usize = 16;

/// The bell's key in epoll; all others are places in the list of sockets.
const BELL: u64 = u64::MAX;

pub(crate) struct Sockets {
    epoll: Epoll,
    bell: Bell,
    ready: Vec<Ready>,
    list: Vec<Socket>,
}

struct Socket {
    udp: Udp,
    readable: bool,
    /// The kernel takes no more: wait until it does.
    blocked: bool,
}

impl Sockets {
    pub(crate) fn new(udp: Vec<Udp>, bell: &Bell) -> io::Result<Sockets> {
        let epoll = Epoll::new()?;
        epoll.add(bell, BELL, Interest::Read)?;
        for (key, udp) in (0..).zip(&udp) {
            epoll.add(udp, key, Interest::Read)?;
        }
        let socket = |udp| Socket {
            udp,
            readable: false,
            blocked: false,
        };
        Ok(Sockets {
            epoll,
            bell: bell.clone(),
            ready: Vec::new(),
            list: udp.into_iter().map(socket).collect(),
        })
    }

    /// Sleeps until a socket is ready, the bell rings or the time is over; true if it was the bell.
    pub(crate) fn wait(&mut self, limit: Duration) -> io::Result<bool> {
        let mut ready = std::mem::take(&mut self.ready);
        let slept = self.epoll.wait(&mut ready, Some(limit));
        let mut rung = false;
        for ready in &ready {
            if ready.key == BELL {
                self.bell.hear();
                rung = true;
            } else {
                self.on_ready(*ready);
            }
        }
        self.ready = ready;
        slept.map(|()| rung)
    }

    fn on_ready(&mut self, ready: Ready) {
        let place = usize::try_from(ready.key).unwrap_or(usize::MAX);
        let Some(socket) = self.list.get_mut(place) else { return };
        socket.readable |= ready.readable || ready.error;
        if ready.writable {
            socket.blocked = false;
            // It is in the set, so this cannot fail; should it, the loop would only turn more often.
            let _ = self.epoll.change(&socket.udp, ready.key, Interest::Read);
        }
        if ready.error {
            socket.udp.read_errors();
        }
    }

    /// Something is left to be read from the last turn.
    pub(crate) fn are_readable(&self) -> bool {
        self.list.iter().any(|socket| socket.readable)
    }

    /// Reads what waits and hands out each datagram with the moment it came.
    pub(crate) fn receive(&mut self, clock: System, mut each: impl FnMut(Now, Flow, Bytes)) -> io::Result<()> {
        for socket in self.list.iter_mut().filter(|socket| socket.readable) {
            let local = socket.udp.local();
            for _ in 0..BATCHES_PER_TURN {
                let since = clock.now();
                let waiting = socket
                    .udp
                    .receive(|peer, bytes| each(since, flow(local, peer), bytes))?;
                socket.readable = waiting == udp::Waiting::More;
                if !socket.readable {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The next datagram for a flow goes out at once, with those that are in line.
    pub(crate) fn is_batch_due(&self, flow: &Flow) -> bool {
        let socket = self.list.iter().find(|socket| socket.udp.local() == flow.local);
        socket.is_some_and(|socket| socket.udp.queued() + 1 >= udp::BATCH)
    }

    /// Puts a datagram in line; false if there is no socket for the flow.
    pub(crate) fn send(&mut self, flow: &Flow, bytes: Bytes) -> bool {
        let Some(place) = self.list.iter().position(|socket| socket.udp.local() == flow.local) else {
            return false;
        };
        self.list[place].udp.queue(flow.peer, bytes);
        if self.list[place].udp.queued() >= udp::BATCH {
            self.flush_one(place);
        }
        true
    }

    /// Sends what is in line.
    pub(crate) fn flush(&mut self) {
        (0..self.list.len()).for_each(|place| self.flush_one(place));
    }

    fn flush_one(&mut self, place: usize) {
        let socket = &mut self.list[place];
        if !socket.blocked && socket.udp.queued() > 0 && socket.udp.flush() == Flushed::Blocked {
            let waits = self.epoll.change(&socket.udp, place as u64, Interest::ReadWrite);
            socket.blocked = waits.is_ok();
        }
    }

    /// Flows on which something could not be sent since the last call.
    pub(crate) fn take_failed(&mut self) -> impl Iterator<Item = Flow> + '_ {
        self.list.iter_mut().flat_map(|socket| {
            let local = socket.udp.local();
            socket.udp.take_failed().map(move |peer| flow(local, peer))
        })
    }

    /// For a slow timer.
    pub(crate) fn count_kernel_drops(&mut self) {
        self.list.iter_mut().for_each(|socket| socket.udp.count_kernel_drops());
    }
}

fn flow(local: SocketAddr, peer: SocketAddr) -> Flow {
    Flow {
        transport: Transport::Udp,
        local,
        peer,
        connection: 0,
    }
}
