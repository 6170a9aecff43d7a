//! The floor by io_uring: each socket's receiving is armed once and goes on by itself, into buffers the kernel picks from a ring;
//! what is sent leaves with the next wait, so that a turn of many packets is one system call.
#![allow(unsafe_code)] // the kernel reads and writes memory that is named by address

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::alloc::{Layout, alloc_zeroed};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Buffers the kernel may fill; more than come in one turn.
const BUFFERS: u16 = 8_192;
/// Bytes of each.
const SIZE: usize = 512;
const GROUP: u16 = 1;
/// In what a completion is known by: it was sent, and the rest is its buffer. Else it was received, and the rest is the socket.
const SENT: u64 = 1 << 32;

pub fn serve(sockets: &[UdpSocket]) {
    sockets.iter().for_each(connect);
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(4 * u32::from(BUFFERS))
        .build(u32::from(BUFFERS))
        .expect("a kernel with io_uring, 6.1 or later");
    let mut buffers = Buffers::registered(&ring);
    for at in 0..sockets.len() {
        push(&mut ring, &receive(sockets, at));
    }
    let mut done: Vec<cqueue::Entry> = Vec::new();
    loop {
        ring.submit_and_wait(1).unwrap();
        done.clear();
        done.extend(ring.completion());
        for entry in &done {
            if entry.user_data() & SENT != 0 {
                buffers.give_back(entry.user_data() as u16);
                continue;
            }
            let at = entry.user_data() as usize;
            if let (Some(buffer), Ok(length)) = (cqueue::buffer_select(entry.flags()), u32::try_from(entry.result())) {
                let to = Fd(sockets[at].as_raw_fd());
                let send = opcode::Send::new(to, buffers.address(buffer), length);
                push(&mut ring, &send.build().user_data(SENT | u64::from(buffer)));
            }
            if !cqueue::more(entry.flags()) {
                push(&mut ring, &receive(sockets, at));
            }
        }
    }
}

/// Waits for the first packet and keeps to its sender.
fn connect(socket: &UdpSocket) {
    loop {
        match socket.peek_from(&mut [0; SIZE]) {
            Ok((_, peer)) => return socket.connect(peer).unwrap(),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn receive(sockets: &[UdpSocket], at: usize) -> squeue::Entry {
    let from = Fd(sockets[at].as_raw_fd());
    opcode::RecvMulti::new(from, GROUP).build().user_data(at as u64)
}

fn push(ring: &mut IoUring, entry: &squeue::Entry) {
    // SAFETY: what the entry names lives as long as the program: sockets, and buffers that are given back after their use.
    while unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit().unwrap();
    }
}

/// Memory for packets, and the ring that tells the kernel which of it is free.
struct Buffers {
    memory: *mut u8,
    entries: *mut BufRingEntry,
    tail: u16,
}

impl Buffers {
    fn registered(ring: &IoUring) -> Buffers {
        let pages = |size: usize| {
            let layout = Layout::from_size_align(size, 4_096).unwrap();
            // SAFETY: the size is not zero.
            unsafe { alloc_zeroed(layout) }
        };
        let mut buffers = Buffers {
            memory: pages(usize::from(BUFFERS) * SIZE),
            entries: pages(usize::from(BUFFERS) * size_of::<BufRingEntry>()).cast(),
            tail: 0,
        };
        // SAFETY: the memory is of pages, as large as so many entries, and never freed.
        let registered = unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(buffers.entries as u64, BUFFERS, GROUP, 0)
        };
        registered.unwrap();
        (0..BUFFERS).for_each(|buffer| buffers.give_back(buffer));
        buffers
    }

    fn address(&self, buffer: u16) -> *const u8 {
        // SAFETY: the kernel names no buffer that it was not given.
        unsafe { self.memory.add(usize::from(buffer) * SIZE) }
    }

    fn give_back(&mut self, buffer: u16) {
        // SAFETY: the place is within the ring, and the kernel does not look at it before the tail has moved past it.
        unsafe {
            let entry = &mut *self.entries.add(usize::from(self.tail % BUFFERS));
            entry.set_addr(self.address(buffer) as u64);
            entry.set_len(SIZE as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.entries).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}
