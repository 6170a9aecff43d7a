//! One UDP socket, many datagrams per system call (recvmmsg, sendmmsg).
#![allow(unsafe_code)] // the two system calls have no safe wrapper in std

use net::mmsg::{Inbox, MAX_DATAGRAM};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

/// Datagrams per system call: more brings nothing on loopback.
const BATCH: usize = 64;
/// A connected batch socket on loopback.
pub struct Batch {
    socket: UdpSocket,
    inbox: Inbox<BATCH>,
    /// Where each datagram of the last batch is: slot, beginning and end.
    received: Vec<(usize, usize, usize)>,
    queued: Vec<Vec<u8>>,
    used: usize,
    /// Datagrams handed to the kernel.
    pub sent: u64,
}

impl Batch {
    /// Binds to `local` and talks to `peer` only. `joined`: what it sends joined comes so (UDP_GRO); if not, the kernel cuts it on
    /// its way here, at the sender's expense.
    pub fn connect(local: SocketAddr, peer: SocketAddr, joined: bool) -> io::Result<Batch> {
        let socket = UdpSocket::bind(local)?;
        let size: libc::c_int = 8 << 20;
        let joined = libc::c_int::from(joined);
        for (level, option, value) in [
            (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, size),
            (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, size),
            (libc::SOL_SOCKET, libc::SO_RCVBUF, size),
            (libc::SOL_SOCKET, libc::SO_SNDBUF, size),
            (libc::SOL_UDP, libc::UDP_GRO, joined),
        ] {
            // SAFETY: the descriptor is open and the value is a c_int that outlives the call. A refusal leaves the default.
            unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    level,
                    option,
                    (&raw const value).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                );
            }
        }
        socket.connect(peer)?;
        socket.set_nonblocking(true)?;
        Ok(Batch {
            socket,
            inbox: Inbox::new(MAX_DATAGRAM).expecting_joined(),
            received: Vec::new(),
            queued: (0..BATCH).map(|_| Vec::with_capacity(2048)).collect(),
            used: 0,
            sent: 0,
        })
    }

    /// Our address.
    pub fn local(&self) -> SocketAddrV4 {
        match self.socket.local_addr() {
            Ok(SocketAddr::V4(v4)) => v4,
            _ => unreachable!("bound to IPv4 loopback"),
        }
    }

    /// Queues what `write` puts into an empty buffer; sends the batch when it is full.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let buffer = &mut self.queued[self.used];
        buffer.clear();
        write(buffer);
        self.used += 1;
        if self.used == BATCH {
            self.flush();
        }
    }

    /// Sends what is queued.
    pub fn flush(&mut self) {
        let mut from = 0;
        while from < self.used {
            match self.send_from(from) {
                0 => break,
                n => from += n,
            }
        }
        self.sent += from as u64;
        self.used = 0;
    }

    fn send_from(&mut self, from: usize) -> usize {
        let mut parts: [libc::iovec; BATCH] =
            // SAFETY: an iovec of zeros is a valid empty one.
            unsafe { zeroed() };
        let mut headers: [libc::mmsghdr; BATCH] =
            // SAFETY: an mmsghdr of zeros is a valid empty one.
            unsafe { zeroed() };
        let count = self.used - from;
        for i in 0..count {
            let buffer = &mut self.queued[from + i];
            parts[i] = libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            };
            headers[i].msg_hdr.msg_iov = &raw mut parts[i];
            headers[i].msg_hdr.msg_iovlen = 1;
        }
        // SAFETY: `count` headers point at live iovecs, which point at live buffers.
        let n = unsafe { libc::sendmmsg(self.socket.as_raw_fd(), headers.as_mut_ptr(), count as u32, 0) };
        usize::try_from(n).unwrap_or_default()
    }

    /// Waits up to `wait_ms` until one of them has something to read.
    pub fn wait(sockets: &[Batch], wait_ms: i32) {
        let ready = |batch: &Batch| libc::pollfd {
            fd: batch.socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let mut ready: Vec<libc::pollfd> = sockets.iter().map(ready).collect();
        // SAFETY: as many live pollfds as it is told.
        unsafe { libc::poll(ready.as_mut_ptr(), ready.len() as libc::nfds_t, wait_ms) };
    }

    /// Receives a batch without waiting; the number of datagrams.
    pub fn receive(&mut self) -> usize {
        self.received.clear();
        // An error is an answer that does not come: the operation fails by its time.
        let _ = self.inbox.receive(self.socket.as_fd());
        for datagram in self.inbox.datagrams() {
            let (slot, length, segment) = (datagram.slot, datagram.length, datagram.segment.max(1));
            let beginnings = (0..length).step_by(segment);
            self.received
                .extend(beginnings.map(|at| (slot, at, length.min(at + segment))));
        }
        self.received.len()
    }

    /// The i-th datagram of the last batch, copied out of the way of `push`.
    pub fn datagram(&self, i: usize, into: &mut Vec<u8>) {
        let (slot, begin, end) = self.received[i];
        into.clear();
        into.extend_from_slice(&self.inbox.slot(slot)[begin..end]);
    }
}
