//! SIP over UDP in batches: one system call receives up to 64 datagrams, one sends as many.

use crate::counters;
use crate::mmsg::{self, Inbox, Joining, MAX_DATAGRAM};
use bytes::{Bytes, BytesMut};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

/// Datagrams in one system call: beyond this the cost of the call itself no longer shows.
pub const BATCH: usize = 64;

/// Received datagrams are carved from chunks of this size, so a message kept for long keeps at most its neighbours in so
/// much memory; larger ones than half of it get memory of their own.
const CHUNK: usize = 8 * 1024;

/// So many batches that could not leave joined, and it is the machine, not one path.
const MAX_REFUSALS: u32 = 64;

counters! {
    /// What the SIP sockets did, all of them together.
    UdpCounters, "udp_" {
        /// Datagrams received.
        datagrams_in,
        /// Datagrams handed to the kernel.
        datagrams_out,
        /// Bytes received.
        bytes_in,
        /// Bytes handed to the kernel.
        bytes_out,
        /// Empty lines sent to keep a NAT binding open (RFC 5626 section 4.4.1 is for streams; phones do it on UDP too).
        keepalives,
        /// Times that datagrams to one peer could not leave joined as one, and went each by itself.
        joining_refused,
        /// Longer than the receive buffer, and dropped.
        truncated,
        /// Dropped, oldest first, because the kernel took no more and the backlog was full.
        backlog_dropped,
        /// Refused by the kernel, or reported undeliverable by ICMP.
        send_failed,
        /// Dropped by the network device's queue, as on any lossy path.
        device_dropped,
        /// Dropped by the kernel because we did not read fast enough.
        kernel_dropped,
    }
}

/// How a socket is set up.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct UdpSettings {
    /// Wanted size of the kernel's receive buffer in bytes: what may wait while the loop is busy. Default 8 MiB.
    pub receive_buffer: usize,
    /// Wanted size of the kernel's send buffer in bytes. Default 4 MiB.
    pub send_buffer: usize,
    /// Longer datagrams are dropped and counted. Default 65,535: nothing is longer.
    pub max_datagram: usize,
    /// Datagrams that may wait while the kernel takes none. Default 8,192: a tenth of a second at full rate.
    pub backlog: usize,
    /// Bytes that may wait likewise. Default 16 MiB.
    pub backlog_bytes: usize,
}

impl Default for UdpSettings {
    fn default() -> UdpSettings {
        UdpSettings {
            receive_buffer: 8 << 20,
            send_buffer: 4 << 20,
            max_datagram: MAX_DATAGRAM,
            backlog: 8_192,
            backlog_bytes: 16 << 20,
        }
    }
}

/// One bound SIP socket.
pub struct Udp {
    socket: UdpSocket,
    local: SocketAddr,
    inbox: Inbox<BATCH>,
    arena: BytesMut,
    max_datagram: usize,
    backlog: Backlog,
    joining: Joining,
    refusals: u32,
    kernel_dropped: u32,
    counters: Arc<UdpCounters>,
}

/// What [`Udp::receive`] found.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing more.
    Nothing,
    /// A whole batch came, so more may wait.
    More,
}

/// What [`Udp::flush`] left.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// All was sent.
    All,
    /// The kernel takes no more now: flush again when the socket is writable.
    Blocked,
}

impl Udp {
    /// Binds a socket.
    ///
    /// # Errors
    /// What the system says, and [`io::ErrorKind::InvalidInput`] for a wildcard address: Via and Contact must name the
    /// address a peer reaches us at, and answers must leave from there, so each address is listened on by itself.
    pub fn bind(local: SocketAddr, settings: UdpSettings, counters: Arc<UdpCounters>) -> io::Result<Udp> {
        crate::refuse_wildcard(local)?;
        let socket = Socket::new(
            Domain::for_address(local),
            Type::DGRAM.nonblocking(),
            Some(Protocol::UDP),
        )?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        report_unreachable(&socket, local)?;
        enlarge(&socket, &settings);
        socket.bind(&local.into())?;
        let inbox = inbox(&socket, settings.max_datagram);
        let socket = UdpSocket::from(socket);
        Ok(Udp {
            local: socket.local_addr()?,
            socket,
            inbox,
            arena: BytesMut::with_capacity(CHUNK),
            max_datagram: settings.max_datagram,
            backlog: Backlog::new(settings.backlog, settings.backlog_bytes),
            joining: Joining::Alike,
            refusals: 0,
            kernel_dropped: 0,
            counters,
        })
    }

    /// The address it is bound to, with the true port.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Receives one batch without blocking and hands out each datagram with its sender. Datagrams of line ends only
    /// (keep-alives) and cut ones are counted and go no further.
    ///
    /// # Errors
    /// When the socket itself is broken.
    pub fn receive(&mut self, mut each: impl FnMut(SocketAddr, Bytes)) -> io::Result<Waiting> {
        let received = match self.inbox.receive(self.socket.as_fd()) {
            Ok(received) => received,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Waiting::Nothing),
            Err(e) if is_fatal(&e) => return Err(e),
            // An ICMP error of an earlier send is reported once this way; its details are in the error queue.
            Err(_) => return Ok(Waiting::More),
        };
        let (mut datagrams, mut total) = (0, 0);
        for joined in self.inbox.datagrams() {
            total += joined.length as u64;
            for bytes in pieces(&joined.buffer[..joined.length], joined.segment) {
                datagrams += 1;
                if joined.truncated || bytes.len() > self.max_datagram {
                    self.counters.truncated.one();
                } else if is_keepalive(bytes) {
                    self.counters.keepalives.one();
                } else {
                    each(joined.peer, keep(&mut self.arena, bytes));
                }
            }
        }
        self.counters.datagrams_in.add(datagrams);
        self.counters.bytes_in.add(total);
        Ok(if received == BATCH {
            Waiting::More
        } else {
            Waiting::Nothing
        })
    }

    /// Puts a datagram in line for the next [`Udp::flush`]. If the line is full its oldest is dropped, and told by
    /// [`Udp::take_failed`].
    pub fn queue(&mut self, peer: SocketAddr, bytes: Bytes) {
        let dropped = self.backlog.push(peer, bytes);
        self.counters.backlog_dropped.add(dropped);
    }

    /// Datagrams in line.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.backlog.line.len()
    }

    /// Sends what is in line until the kernel takes no more.
    pub fn flush(&mut self) -> Flushed {
        let mut refused = false;
        while !self.backlog.line.is_empty() {
            match self.send_batch() {
                Ok(sent) => {
                    self.on_sent(sent);
                    refused = false;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Flushed::Blocked,
                // The first refusal may be the ICMP error of an earlier datagram: only a second one is about this one.
                Err(_) if !refused => refused = true,
                Err(e) => {
                    self.on_refused(&e);
                    refused = false;
                }
            }
        }
        Flushed::All
    }

    /// What the kernel will not cut (IPsec on the way, a path of small packets) goes each by itself; after a while of that
    /// joining is not tried any more.
    fn send_batch(&mut self) -> io::Result<usize> {
        match self.send_some(self.joining) {
            Err(e) if self.joining == Joining::Alike && is_about_joining(&e) => {
                let sent = self.send_some(Joining::Never)?;
                self.counters.joining_refused.one();
                self.refusals += 1;
                if self.refusals >= MAX_REFUSALS {
                    self.joining = Joining::Never;
                    tracing::info!(local = %self.local, error = %e, "datagrams are not joined any more");
                }
                Ok(sent)
            }
            done => done,
        }
    }

    fn send_some(&self, joining: Joining) -> io::Result<usize> {
        let batch = self.backlog.line.iter().map(|(peer, bytes)| (*peer, &bytes[..]));
        mmsg::send::<BATCH>(self.socket.as_fd(), joining, batch)
    }

    /// Reads the error queue: call it when the socket shows an error condition.
    pub fn read_errors(&mut self) {
        // The kernel bounds its queue by the receive buffer; a batch at a time is enough, the condition stays.
        for _ in 0..BATCH {
            let Some(entry) = mmsg::take_undelivered(self.socket.as_fd()) else {
                return;
            };
            if let Some(peer) = entry {
                self.counters.send_failed.one();
                self.backlog.fail(peer);
            }
        }
    }

    /// Peers to whom something could not be sent since the last call.
    pub fn take_failed(&mut self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.backlog.failed.drain(..)
    }

    /// Counts what the kernel has dropped since the last call; for a slow timer.
    pub fn count_kernel_drops(&mut self) {
        if let Some(drops) = kernel_drops(self.socket.as_fd()) {
            self.counters
                .kernel_dropped
                .add(u64::from(drops.wrapping_sub(self.kernel_dropped)));
            self.kernel_dropped = drops;
        }
    }

    fn on_sent(&mut self, sent: usize) {
        let bytes: usize = (0..sent).map(|_| self.backlog.pop().1.len()).sum();
        self.counters.datagrams_out.add(sent as u64);
        self.counters.bytes_out.add(bytes as u64);
    }

    fn on_refused(&mut self, why: &io::Error) {
        let (peer, bytes) = self.backlog.pop();
        // With error reporting on, a full device queue is told too. That is loss, which retransmission repairs.
        if why.raw_os_error() == Some(libc::ENOBUFS) {
            self.counters.device_dropped.one();
            return;
        }
        self.counters.send_failed.one();
        tracing::debug!(%peer, bytes = bytes.len(), error = %why, "datagram refused");
        self.backlog.fail(peer);
    }
}

impl AsFd for Udp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What waits to be sent, oldest first, and who has lost something.
struct Backlog {
    line: VecDeque<(SocketAddr, Bytes)>,
    bytes: usize,
    max: usize,
    max_bytes: usize,
    failed: Vec<SocketAddr>,
}

impl Backlog {
    fn new(max: usize, max_bytes: usize) -> Backlog {
        Backlog {
            line: VecDeque::new(),
            bytes: 0,
            max: max.max(1),
            max_bytes,
            failed: Vec::new(),
        }
    }

    /// Appends; gives how many of the oldest were dropped to make room.
    fn push(&mut self, peer: SocketAddr, bytes: Bytes) -> u64 {
        let mut dropped = 0;
        while !self.line.is_empty() && (self.line.len() >= self.max || self.bytes + bytes.len() > self.max_bytes) {
            let (peer, _) = self.pop();
            self.fail(peer);
            dropped += 1;
        }
        self.bytes += bytes.len();
        self.line.push_back((peer, bytes));
        dropped
    }

    fn pop(&mut self) -> (SocketAddr, Bytes) {
        let (peer, bytes) = self.line.pop_front().expect("only called when something is in line");
        self.bytes -= bytes.len();
        (peer, bytes)
    }

    /// Notes a failure. The loop reads these after each flush; a peer beyond the bound learns by its timers.
    fn fail(&mut self, peer: SocketAddr) {
        if self.failed.len() < self.max {
            self.failed.push(peer);
        }
    }
}

/// Memory for a batch. Where the kernel joins what one peer sends, a slot has to hold whatever it may join.
fn inbox(socket: &Socket, max_datagram: usize) -> Inbox<BATCH> {
    if set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok() {
        return Inbox::new(MAX_DATAGRAM).expecting_joined();
    }
    Inbox::new(max_datagram.clamp(1, MAX_DATAGRAM))
}

/// The datagrams of a slot: one, which may be empty, or several that came joined.
fn pieces(slot: &[u8], segment: usize) -> impl Iterator<Item = &[u8]> {
    let empty = slot.is_empty().then_some(slot);
    empty.into_iter().chain(slot.chunks(segment.max(1)))
}

/// Copies a datagram into shared memory, without an allocation of its own unless it is large.
fn keep(arena: &mut BytesMut, datagram: &[u8]) -> Bytes {
    if datagram.len() > CHUNK / 2 {
        return Bytes::copy_from_slice(datagram);
    }
    // A chunk that nobody keeps a part of any more is used again; otherwise this starts the next one.
    arena.reserve(datagram.len());
    arena.extend_from_slice(datagram);
    arena.split().freeze()
}

/// RFC 3261 section 7.5: line ends before a message are ignored; a datagram of nothing else only keeps a NAT open.
fn is_keepalive(datagram: &[u8]) -> bool {
    datagram.len() <= 4 && datagram.iter().all(|&b| matches!(b, b'\r' | b'\n' | b' ' | 0))
}

/// Errors the kernel has for a batch it cannot cut; each has other causes too, which then show again.
fn is_about_joining(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO | libc::EOPNOTSUPP)
    )
}

/// Errors that tell about the socket itself. All others pass: anybody can make up an ICMP message, and the kernel has an
/// error for each of its codes.
fn is_fatal(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT | libc::EINVAL)
    )
}

/// Asks the kernel to keep ICMP errors with the address they are about.
fn report_unreachable(socket: &Socket, local: SocketAddr) -> io::Result<()> {
    if local.is_ipv4() {
        set_option(socket, libc::SOL_IP, libc::IP_RECVERR, 1)
    } else {
        set_option(socket, libc::SOL_IPV6, libc::IPV6_RECVERR, 1)
    }
}

/// Asks for large kernel buffers, beyond the system's limit where we may. What was granted is logged if it is less.
fn enlarge(socket: &Socket, settings: &UdpSettings) {
    let receive = libc::c_int::try_from(settings.receive_buffer).unwrap_or(libc::c_int::MAX);
    if set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, receive).is_err() {
        let _ = socket.set_recv_buffer_size(settings.receive_buffer);
    }
    let _ = socket.set_send_buffer_size(settings.send_buffer);
    let granted = socket.recv_buffer_size().unwrap_or(0);
    if granted < settings.receive_buffer {
        tracing::info!(
            granted,
            wanted = settings.receive_buffer,
            "small receive buffer: raise net.core.rmem_max"
        );
    }
}

#[allow(unsafe_code)]
fn set_option(socket: &Socket, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: these options take an int; pointer and length are those of `value`, which lives through the call.
    let done = unsafe {
        let length = size_of_val(&value) as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length)
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Datagrams the kernel has dropped on this socket because its buffer was full.
#[allow(unsafe_code)]
fn kernel_drops(socket: BorrowedFd<'_>) -> Option<u32> {
    const DROPS: usize = 8; // SK_MEMINFO_DROPS of linux/sock_diag.h, the last of nine
    let mut figures = [0u32; DROPS + 1];
    let mut length = size_of_val(&figures) as libc::socklen_t;
    // SAFETY: SO_MEMINFO writes at most `length` bytes, which is the size of `figures`.
    let done = unsafe {
        let into = figures.as_mut_ptr().cast();
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            into,
            &raw mut length,
        )
    };
    (done == 0).then_some(figures[DROPS])
}

#[cfg(test)]
mod tests;
