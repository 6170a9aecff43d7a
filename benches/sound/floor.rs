//! The floor: as many sockets, one packet in and one out of each in 20 ms, and nothing else, in every way the kernel has for it.
//! `tick` is the cheapest that waits for nobody and the measure of the others: it is what servers are compared with. It sends
//! with a delay of up to 20 ms, from connected sockets, to one peer each; a server that answers at once, to whoever comes, pays
//! for `calls`, `batches` or `uring`.

use crate::uring;
use clap::ValueEnum;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(20);
/// Reads a second packet from each socket once in so many ticks, so that a burst does not stay in the kernel for good.
const SWEEP: u64 = 25;

/// How packets are received and sent.
#[derive(Copy, Clone, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// All sockets in turn each 20 ms, by plain calls on connected sockets.
    Tick,
    /// epoll, and recvfrom and sendto of one packet.
    Calls,
    /// epoll, and recvmmsg and sendmmsg of what a socket has.
    Batches,
    /// io_uring: receiving goes on by itself, and what is sent goes with the next wait.
    Uring,
}

pub fn serve(legs: usize, way: Way) {
    let sockets: Vec<UdpSocket> = (0..legs).map(|_| bind()).collect();
    let mut out = std::io::stdout().lock();
    for (at, socket) in sockets.iter().enumerate() {
        writeln!(out, "{at} {}", socket.local_addr().unwrap()).unwrap();
    }
    writeln!(out, "ready").unwrap();
    out.flush().unwrap();
    match way {
        Way::Tick => by_tick(&sockets),
        Way::Calls => by_epoll(&sockets, one_call),
        Way::Batches => by_epoll(&sockets, one_batch),
        Way::Uring => uring::serve(&sockets),
    }
}

fn bind() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn by_tick(sockets: &[UdpSocket]) {
    let mut connected = vec![false; sockets.len()];
    let mut due = Instant::now() + TICK;
    for tick in 0u64.. {
        let reads = if tick.is_multiple_of(SWEEP) { 2 } else { 1 };
        for (socket, connected) in sockets.iter().zip(&mut connected) {
            (0..reads).for_each(|_| pass(socket, connected));
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += TICK;
    }
}

fn pass(socket: &UdpSocket, connected: &mut bool) {
    let mut packet = [0; 1_500];
    if !*connected {
        let Ok((_, peer)) = socket.peek_from(&mut packet) else {
            return;
        };
        *connected = socket.connect(peer).is_ok();
    }
    if let Ok(length) = socket.recv(&mut packet) {
        let _ = socket.send(&packet[..length]);
    }
}

fn by_epoll(sockets: &[UdpSocket], mut on_ready: impl FnMut(&UdpSocket)) {
    let epoll = net::epoll::Epoll::new().unwrap();
    for (at, socket) in sockets.iter().enumerate() {
        epoll.add(socket, at as u64, net::epoll::Interest::Read).unwrap();
    }
    let mut ready = Vec::new();
    loop {
        epoll.wait(&mut ready, None).unwrap();
        ready.iter().for_each(|ready| on_ready(&sockets[ready.key as usize]));
    }
}

fn one_call(socket: &UdpSocket) {
    let mut packet = [0; 1_500];
    if let Ok((length, peer)) = socket.recv_from(&mut packet) {
        let _ = socket.send_to(&packet[..length], peer);
    }
}

/// Packets taken from one socket at once.
const BATCH: usize = 8;

thread_local! {
    static INBOX: std::cell::RefCell<net::mmsg::Inbox<BATCH>> = std::cell::RefCell::new(net::mmsg::Inbox::new(2_048));
}

fn one_batch(socket: &UdpSocket) {
    use std::os::fd::AsFd;
    INBOX.with_borrow_mut(|inbox| {
        if inbox.receive(socket.as_fd()).is_err() {
            return;
        }
        let came: Vec<(SocketAddr, usize, usize)> = inbox.datagrams().map(|d| (d.peer, d.slot, d.length)).collect();
        let packets = came
            .iter()
            .map(|&(peer, slot, length)| (peer, &inbox.slot(slot)[..length]));
        let _ = net::mmsg::send::<BATCH>(socket.as_fd(), net::mmsg::Joining::Never, packets);
    });
}
