//! The floor by io_uring: each socket's receiving is armed once and goes on by itself, into buffers the kernel picks from a ring;
//! what is sent leaves with the next wait, so that a turn of many packets is one system call.
#![allow(unsafe_code)] // the kernel reads and writes memory that is named by address

use crate::floor::rest;
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

/// Bytes before the packet in a buffer where each packet comes with its address: the kernel's header, and the address.
const HEADER: usize = size_of::<[u32; 4]>();
const NAME: usize = size_of::<libc::sockaddr_in>();

/// Whom a socket speaks with.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Connected to the sender of its first packet.
    One,
    /// Whoever sends: an address goes with each packet both ways.
    Any,
}

pub fn serve(sockets: &[UdpSocket], peers: Peers, nap: Duration) {
    if peers == Peers::One {
        sockets.iter().for_each(connect);
    }
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(4 * u32::from(BUFFERS))
        .build(u32::from(BUFFERS))
        .expect("a kernel with io_uring, 6.1 or later");
    let mut buffers = Buffers::registered(&ring);
    // SAFETY: all-zero bytes are valid for this C struct.
    let mut form: libc::msghdr = unsafe { std::mem::zeroed() };
    form.msg_namelen = NAME as u32;
    for at in 0..sockets.len() {
        push(&mut ring, &receive(sockets, at, peers, &form));
    }
    let mut done: Vec<cqueue::Entry> = Vec::new();
    loop {
        if !nap.is_zero() {
            ring.submit().unwrap();
            rest(nap);
        }
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
                let send = answer(to, buffers.address(buffer), length, peers);
                push(&mut ring, &send.build().user_data(SENT | u64::from(buffer)));
            }
            if !cqueue::more(entry.flags()) {
                push(&mut ring, &receive(sockets, at, peers, &form));
            }
        }
    }
}

/// The same packet back.
fn answer(to: Fd, buffer: *const u8, length: u32, peers: Peers) -> opcode::Send {
    match peers {
        Peers::One => opcode::Send::new(to, buffer, length),
        Peers::Any => {
            let before = (HEADER + NAME) as u32;
            // SAFETY: the kernel wrote `length` bytes there: header, address and packet.
            let (name, packet) = unsafe { (buffer.add(HEADER), buffer.add(HEADER + NAME)) };
            opcode::Send::new(to, packet, length.saturating_sub(before))
                .dest_addr(name.cast())
                .dest_addr_len(NAME as u32)
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

fn receive(sockets: &[UdpSocket], at: usize, peers: Peers, form: &libc::msghdr) -> squeue::Entry {
    let from = Fd(sockets[at].as_raw_fd());
    let entry = match peers {
        Peers::One => opcode::RecvMulti::new(from, GROUP).build(),
        Peers::Any => opcode::RecvMsgMulti::new(from, std::ptr::from_ref(form), GROUP).build(),
    };
    entry.user_data(at as u64)
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
