//! io_uring under the lines of a worker (decision 0052): receiving goes on by itself into buffers that the kernel picks, and what is
//! sent leaves with the next wait, so that a look at all lines of a busy worker is one system call.
#![allow(unsafe_code)] // the kernel reads and writes memory that is named by address

use super::line::Line;
use super::pairs::Place;
use io_uring::types::{BufRingEntry, CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use media::engine::PACKET_BUFFER;
use slab::Slab;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Buffers for what comes at most, a power of two: two looks of a worker with 5,000 phones. What finds none waits in its socket.
const BUFFERS: u16 = 512;
/// As many to begin with, and more with each wait in which they were too few: pages never written to take no memory.
const FIRST: u16 = 128;
const MORE: u16 = 64;
/// Bytes of each: one more than a packet may have, so that what is too long can be told.
const SIZE: usize = PACKET_BUFFER + 16;
/// The only group of buffers.
const GROUP: u16 = 1;
/// Entries of the submission queue: packets that leave in one system call.
const ENTRIES: u32 = 512;
/// Completions that have room: all buffers, and a failure of each packet sent meanwhile. What has none waits in the kernel.
const COMPLETIONS: u32 = 2_048;
/// Bytes of packets that wait to be sent: some 190 of telephone quality.
const OUTGOING: usize = 32 * 1024;
/// Completions handled after one wait at most: while they are, more come, and the worker has other things to do.
const AT_ONCE: usize = 2 * BUFFERS as usize;
/// Completions nobody waits to see come together: the time of the wait is to be slept through.
pub(super) const MANY: usize = BUFFERS as usize;

/// The kernel lets go of all sockets within microseconds of being asked; if not within this, the buffers stay its own for good.
const LETTING_GO: Duration = Duration::from_millis(100);

/// How long to sleep where epoll cannot be waited for at the moment.
const AGAIN: Duration = Duration::from_millis(5);

/// What a completion is known by: the place of a line among the armed, or one of these; the first together with the key of a place.
const SENT: u64 = 1 << 32;
const POLLED: u64 = 2 << 32;
const CANCELLED: u64 = 3 << 32;

pub(super) struct Ring {
    ring: IoUring,
    /// Given up before they are freed, in `drop`.
    buffers: Buffers,
    armed: Slab<Armed>,
    /// Packets to send. Its memory does not move.
    outgoing: Vec<u8>,
    /// Lines to be closed when what is queued has been submitted.
    closing: Vec<Line>,
    came: VecDeque<cqueue::Entry>,
    /// Of them may be handled before the next wait.
    left: usize,
    /// There were too few buffers since the last wait.
    is_short: bool,
    /// What is to be said besides the last packet.
    also: Option<Came>,
    /// The ring tells when epoll has something.
    is_polling: bool,
    /// The kernel had no memory for what it had to tell: nothing is known for certain any more.
    has_lost: bool,
}

/// A line whose packets come through the ring.
struct Armed {
    place: Place,
    /// The call of its port that it belongs to.
    call: u32,
    peer: SocketAddr,
    /// It is no longer its port's, and goes when the kernel has let go of it.
    retired: Option<Line>,
}

/// What becomes of packets that are still on their way over a line.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// The call goes on.
    Taken,
    /// The call is over, and the port may have another one.
    Dropped,
}

/// What the ring tells.
pub(super) enum Came {
    /// A packet is in the buffer; it was longer if the length is more than that has.
    Packet {
        place: Place,
        call: u32,
        peer: SocketAddr,
        length: usize,
    },
    /// This line is armed no longer.
    Ended { place: Place, call: u32, slot: usize },
    /// So is this one, which its port no longer has.
    Retired { place: Place, call: u32, line: Line },
    /// Epoll has something to tell.
    Others,
    /// A packet could not be sent, and the kernel's number for that.
    SendFailed { place: Place, why: i32 },
}

impl Ring {
    /// For the thread that makes it, and no other.
    ///
    /// # Errors
    /// The kernel has none (before 6.1), or does not let us (containers often forbid it), or memory is short.
    pub(super) fn new() -> io::Result<Ring> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(ENTRIES)?;
        let mut ring = Ring {
            buffers: Buffers::registered(&ring)?,
            ring,
            armed: Slab::new(),
            outgoing: Vec::with_capacity(OUTGOING),
            closing: Vec::new(),
            came: VecDeque::new(),
            left: 0,
            is_short: false,
            also: None,
            is_polling: false,
            has_lost: false,
        };
        ring.enter_once()?;
        Ok(ring)
    }

    /// It may be allowed to make a ring and not to use it.
    fn enter_once(&mut self) -> io::Result<()> {
        self.push(&opcode::Nop::new().build())?;
        let mut entered = self.ring.submit_and_wait(1);
        while matches!(&entered, Err(e) if e.kind() == io::ErrorKind::Interrupted) {
            entered = self.ring.submit_and_wait(1);
        }
        entered?;
        self.ring.completion().for_each(drop);
        Ok(())
    }

    /// Whether there could be one. Asks in another thread: the kernel interrupts what a thread waits for when its ring is closed.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn probe() -> io::Result<()> {
        let probing = std::thread::Builder::new().spawn(|| Ring::new().map(drop))?;
        probing.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    }

    /// Receives what comes over a line from now on; gives what it is known by here.
    pub(super) fn arm(&mut self, place: Place, call: u32, line: &Line) -> io::Result<usize> {
        let slot = self.armed.insert(Armed {
            place,
            call,
            peer: line.peer(),
            retired: None,
        });
        let receive = opcode::RecvMulti::new(Fd(line.socket().as_raw_fd()), GROUP).build();
        match self.push(&receive.user_data(slot as u64)) {
            Ok(()) => Ok(slot),
            Err(e) => {
                self.armed.remove(slot);
                Err(e)
            }
        }
    }

    /// Ceases to receive over a line that its port no longer has.
    pub(super) fn retire(&mut self, slot: usize, line: Line, rest: Rest) {
        // What is queued names it by its descriptor.
        self.flush();
        if rest == Rest::Dropped
            && let Err(e) = line.desert()
        {
            tracing::error!(error = %e, "a socket keeps its device");
        }
        let Some(armed) = self.armed.get_mut(slot) else {
            return self.retire_ended(line, rest);
        };
        armed.retired = Some(line);
        let cancel = opcode::AsyncCancel::new(slot as u64).build();
        if let Err(e) = self.push(&cancel.user_data(CANCELLED)) {
            tracing::error!(error = %e, "a socket stays open");
        }
    }

    /// The ring has just ceased to receive over it by itself, and is about to say so.
    fn retire_ended(&mut self, line: Line, rest: Rest) {
        match self.also {
            Some(Came::Ended { place, call, .. }) if rest == Rest::Taken => {
                self.also = Some(Came::Retired { place, call, line });
            }
            _ => self.close(line),
        }
    }

    /// Queues a packet for the peer of a connected socket, which must not be closed before [`Ring::flush`].
    pub(super) fn send(&mut self, place: Place, socket: &UdpSocket, packet: &[u8]) -> io::Result<()> {
        // Room first: making it once the packet is copied would clear the copy away.
        if !self.has_room(packet.len()) {
            self.submit()?;
        }
        if !self.has_room(packet.len()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let at = self.outgoing.len();
        self.outgoing.extend_from_slice(packet);
        let queued = &self.outgoing[at..];
        let length = u32::try_from(queued.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let send = opcode::Send::new(Fd(socket.as_raw_fd()), queued.as_ptr(), length)
            .flags(libc::MSG_DONTWAIT) // done when it has been submitted, or never
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(SENT | place.key());
        self.push(&send)
    }

    /// Closes a line when nothing that is queued names it any more: its number may be another socket's at once.
    pub(super) fn close(&mut self, line: Line) {
        self.flush();
        if !self.outgoing.is_empty() {
            self.closing.push(line);
        }
    }

    fn has_room(&mut self, length: usize) -> bool {
        self.outgoing.len() + length <= OUTGOING && !self.ring.submission().is_full()
    }

    /// Sends what is queued.
    pub(super) fn flush(&mut self) {
        if !self.outgoing.is_empty()
            && let Err(e) = self.submit()
        {
            tracing::debug!(error = %e, "packets are not sent");
        }
    }

    fn submit(&mut self) -> io::Result<()> {
        let submitted = self.ring.submit();
        self.on_submitted(submitted)
    }

    /// Sends what is queued and sleeps until `want` completions have come, `others` has something or the time is over (`None`: no limit).
    pub(super) fn wait(&mut self, others: &impl AsFd, want: usize, limit: Option<Duration>) -> io::Result<()> {
        if self.has_lost {
            return Err(io::Error::from_raw_os_error(libc::EBADR));
        }
        let limit = if self.poll(others)? {
            limit
        } else {
            Some(limit.map_or(AGAIN, |limit| limit.min(AGAIN)))
        };
        self.left = AT_ONCE;
        if std::mem::take(&mut self.is_short) {
            self.buffers.grow(MORE);
        }
        let limit = if self.is_idle() { limit } else { Some(Duration::ZERO) };
        let time = limit.map(Timespec::from);
        let args = match &time {
            Some(time) => SubmitArgs::new().timespec(time),
            None => SubmitArgs::new(),
        };
        let flags = match self.ring.params().is_feature_no_iowait() {
            true => EnterFlags::NO_IOWAIT, // we wait for phones, and the machine is idle meanwhile
            false => EnterFlags::empty(),
        };
        let waited = self.ring.submitter().submit_with_args_and_flags(want, &args, flags);
        self.on_submitted(waited)
    }

    /// Has the ring tell of epoll; false if it cannot at the moment, for want of memory in the kernel.
    fn poll(&mut self, others: &impl AsFd) -> io::Result<bool> {
        if !self.is_polling {
            let poll = opcode::PollAdd::new(Fd(others.as_fd().as_raw_fd()), libc::POLLIN as u32).build();
            self.is_polling = match self.push(&poll.user_data(POLLED)) {
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
                pushed => pushed.is_ok(),
            };
        }
        Ok(self.is_polling)
    }

    fn is_idle(&self) -> bool {
        self.came.is_empty() && self.also.is_none()
    }

    /// What came next; `None` also when it is time for another wait. A packet is copied into the buffer.
    pub(super) fn next(&mut self, packet: &mut [u8; PACKET_BUFFER]) -> Option<Came> {
        loop {
            if let Some(also) = self.also.take() {
                return Some(also);
            }
            self.left = self.left.checked_sub(1)?;
            let entry = self.came.pop_front()?;
            match entry.user_data() {
                sent if sent >> 32 == SENT >> 32 => {
                    let why = -entry.result();
                    if let Some(place) = Place::of_key(sent ^ SENT) {
                        return Some(Came::SendFailed { place, why });
                    }
                }
                CANCELLED => {}
                POLLED => {
                    self.is_polling = false;
                    return Some(Came::Others);
                }
                slot => {
                    if let Some(came) = self.on_received(slot as usize, &entry, packet) {
                        return Some(came);
                    }
                }
            }
        }
    }

    fn on_received(&mut self, slot: usize, entry: &cqueue::Entry, packet: &mut [u8; PACKET_BUFFER]) -> Option<Came> {
        let length = usize::try_from(entry.result()).ok();
        self.is_short |= entry.result() == -libc::ENOBUFS;
        if let Some(buffer) = cqueue::buffer_select(entry.flags()) {
            self.buffers.take(buffer, length.unwrap_or_default(), packet);
        }
        let armed = self.armed.get(slot)?;
        let (place, call, peer) = (armed.place, armed.call, armed.peer);
        if !cqueue::more(entry.flags()) {
            self.also = Some(match self.armed.remove(slot).retired {
                Some(line) => Came::Retired { place, call, line },
                None => Came::Ended { place, call, slot },
            });
        }
        let length = length.filter(|_| cqueue::buffer_select(entry.flags()).is_some())?;
        Some(Came::Packet {
            place,
            call,
            peer,
            length,
        })
    }

    /// Has the kernel give up all it was asked for; whether it has.
    fn let_go(&mut self) -> bool {
        let until = Instant::now() + LETTING_GO;
        let all = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
        let mut asked = self.push(&all.user_data(CANCELLED));
        while asked.is_ok() && !self.armed.is_empty() && Instant::now() < until {
            let time = Timespec::from(LETTING_GO / 10);
            let waited = self
                .ring
                .submitter()
                .submit_with_args(1, &SubmitArgs::new().timespec(&time));
            asked = self.on_submitted(waited);
            for entry in self.came.drain(..).filter(|entry| !cqueue::more(entry.flags())) {
                self.armed.try_remove(entry.user_data() as usize);
            }
        }
        self.armed.is_empty()
    }

    fn on_submitted(&mut self, submitted: io::Result<usize>) -> io::Result<()> {
        if self.ring.submission().is_empty() {
            self.outgoing.clear();
            self.closing.clear();
        }
        self.came.extend(self.ring.completion());
        self.has_lost |= matches!(&submitted, Err(e) if e.raw_os_error() == Some(libc::EBADR));
        match submitted.map_err(|e| (e.raw_os_error(), e)) {
            Ok(_) | Err((Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN), _)) => Ok(()),
            Err((_, e)) => Err(e),
        }
    }

    #[cfg(test)]
    pub(super) fn lose(&mut self) {
        self.has_lost = true;
    }

    /// Queues an entry.
    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        for _ in 0..2 {
            // SAFETY: buffers of the ring live as long as it, and those of `outgoing` are neither moved nor cleared before the entry
            // has been submitted, which is when it is done with (MSG_DONTWAIT). Descriptors are closed only after a flush.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.submit()?;
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Drop for Ring {
    /// The end of a closed ring comes later: what it was asked for would go on writing into the buffers.
    fn drop(&mut self) {
        let has_let_go = self.armed.is_empty() || self.let_go();
        if has_let_go && self.ring.submitter().unregister_buf_ring(GROUP).is_ok() {
            self.buffers.is_registered = false;
        }
    }
}

/// Memory for packets, and the ring that tells the kernel which of it is free.
struct Buffers {
    memory: NonNull<u8>,
    entries: NonNull<BufRingEntry>,
    tail: u16,
    /// Those that take part.
    count: u16,
    /// The kernel may write there.
    is_registered: bool,
}

impl Buffers {
    fn registered(ring: &IoUring) -> io::Result<Buffers> {
        let mut buffers = Buffers {
            memory: zeroed(Buffers::memory()),
            entries: zeroed(Buffers::entries()).cast(),
            tail: 0,
            count: 0,
            is_registered: false,
        };
        // SAFETY: the memory is of pages, as large as so many entries, and not freed while it is registered.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(buffers.entries.as_ptr() as u64, BUFFERS, GROUP, 0)?;
        }
        buffers.is_registered = true;
        buffers.grow(FIRST);
        Ok(buffers)
    }

    fn grow(&mut self, by: u16) {
        let before = self.count;
        self.count = (before + by).min(BUFFERS);
        (before..self.count).for_each(|buffer| self.give(buffer));
    }

    fn memory() -> Layout {
        Layout::array::<[u8; SIZE]>(usize::from(BUFFERS)).expect("a constant")
    }

    fn entries() -> Layout {
        let layout = Layout::array::<BufRingEntry>(usize::from(BUFFERS)).and_then(|layout| layout.align_to(4_096));
        layout.expect("a constant")
    }

    /// Copies what the kernel has put into a buffer, and gives the buffer back.
    fn take(&mut self, buffer: u16, length: usize, packet: &mut [u8; PACKET_BUFFER]) {
        let length = length.min(packet.len());
        if buffer < BUFFERS {
            // SAFETY: within the memory, and not the kernel's since it has named it.
            let bytes = unsafe { std::slice::from_raw_parts(self.at(buffer), length) };
            packet[..length].copy_from_slice(bytes);
            self.give(buffer);
        }
    }

    fn at(&self, buffer: u16) -> *mut u8 {
        // SAFETY: callers name buffers below BUFFERS only.
        unsafe { self.memory.as_ptr().add(usize::from(buffer) * SIZE) }
    }

    fn give(&mut self, buffer: u16) {
        // SAFETY: the place is within the ring, and the kernel does not look at it before the tail has moved past it.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(usize::from(self.tail % BUFFERS));
            entry.set_addr(self.at(buffer) as u64);
            entry.set_len(SIZE as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        if self.is_registered {
            return tracing::error!("the kernel keeps the buffers of a ring");
        }
        // SAFETY: allocated with these layouts, and the kernel does not have them (any more).
        unsafe {
            dealloc(self.memory.as_ptr(), Buffers::memory());
            dealloc(self.entries.as_ptr().cast(), Buffers::entries());
        }
    }
}

// SAFETY: the memory belongs to the value alone.
unsafe impl Send for Buffers {}

fn zeroed(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout of ours is empty.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_ring_that_is_dropped_has_let_go_of_its_sockets_and_buffers() {
        for _ in 0..100 {
            let Some(mut ring) = ring() else { return };
            let (own, device) = (socket(), socket());
            let port = own.local_addr().unwrap();
            let line = Line::new(&own, None, device.local_addr().unwrap()).unwrap();
            ring.arm(Place::own(port.port(), false), 0, &line).unwrap();
            ring.wait(&socket(), 0, Some(Duration::ZERO)).unwrap();
            drop((ring, line, own));
            UdpSocket::bind(port).unwrap();
        }
    }

    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    /// `None` where the kernel gives none.
    fn ring() -> Option<Ring> {
        let ring = Ring::new();
        if let Err(refusal) = &ring {
            println!("SKIPPED: the kernel gives no io_uring: {refusal}");
        }
        ring.ok()
    }

    #[test]
    fn a_packet_that_finds_the_queue_full_arrives_as_it_was() {
        let Some(mut ring) = ring() else { return };
        let (ours, device) = (socket(), socket());
        ours.connect(device.local_addr().unwrap()).unwrap();
        for _ in 0..ENTRIES {
            ring.push(&opcode::Nop::new().build().user_data(CANCELLED)).unwrap();
        }
        assert!(ring.ring.submission().is_full() && ring.outgoing.is_empty());
        for packet in [b"first!", b"second", b"third!"] {
            ring.send(Place::own(0, false), &ours, packet).unwrap();
        }
        ring.flush();
        let mut buffer = [0; 6];
        for packet in [b"first!", b"second", b"third!"] {
            assert_eq!(device.recv(&mut buffer).unwrap(), 6);
            assert_eq!(&buffer, packet);
        }
    }
}
