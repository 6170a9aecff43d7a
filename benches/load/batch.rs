//! One UDP socket, many datagrams per system call (recvmmsg, sendmmsg).
#![allow(unsafe_code)] // the two system calls have no safe wrapper in std

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

/// Datagrams per system call: more brings nothing on loopback.
const BATCH: usize = 64;
/// The load is made of messages far smaller than this.
const LARGEST: usize = 4096;

/// A connected batch socket on loopback.
pub struct Batch {
    socket: UdpSocket,
    received: Vec<[u8; LARGEST]>,
    lengths: [usize; BATCH],
    queued: Vec<Vec<u8>>,
    used: usize,
    /// Datagrams handed to the kernel.
    pub sent: u64,
}

impl Batch {
    /// Binds to `local` and talks to `peer` only.
    pub fn connect(local: SocketAddr, peer: SocketAddr) -> io::Result<Batch> {
        let socket = UdpSocket::bind(local)?;
        let size: libc::c_int = 8 << 20;
        for option in [
            libc::SO_RCVBUFFORCE,
            libc::SO_SNDBUFFORCE,
            libc::SO_RCVBUF,
            libc::SO_SNDBUF,
        ] {
            // SAFETY: the descriptor is open and the value is a c_int that outlives the call. A refusal leaves the default.
            unsafe {
                libc::setsockopt(
                    socket.as_raw_fd(),
                    libc::SOL_SOCKET,
                    option,
                    (&raw const size).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                );
            }
        }
        socket.connect(peer)?;
        socket.set_nonblocking(true)?;
        Ok(Batch {
            socket,
            received: vec![[0; LARGEST]; BATCH],
            lengths: [0; BATCH],
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
        let mut parts: [libc::iovec; BATCH] =
            // SAFETY: an iovec of zeros is a valid empty one.
            unsafe { zeroed() };
        let mut headers: [libc::mmsghdr; BATCH] =
            // SAFETY: an mmsghdr of zeros is a valid empty one.
            unsafe { zeroed() };
        for i in 0..BATCH {
            parts[i] = libc::iovec {
                iov_base: self.received[i].as_mut_ptr().cast(),
                iov_len: LARGEST,
            };
            headers[i].msg_hdr.msg_iov = &raw mut parts[i];
            headers[i].msg_hdr.msg_iovlen = 1;
        }
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: BATCH headers point at live iovecs, which point at live buffers of LARGEST bytes.
        let n = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as u32,
                flags,
                std::ptr::null_mut(),
            )
        };
        let n = usize::try_from(n).unwrap_or_default();
        for (length, header) in self.lengths.iter_mut().zip(&headers[..n]) {
            *length = header.msg_len as usize;
        }
        n
    }

    /// The i-th datagram of the last batch, copied out of the way of `push`.
    pub fn datagram(&self, i: usize, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(&self.received[i][..self.lengths[i]]);
    }
}
