//! The floor: as many sockets, one packet in and one out of each in 20 ms, and nothing else, in every way the kernel has for it.
//! `tick` is the cheapest that waits for nobody and the measure of the others: it is what servers are compared with. It sends
//! with a delay of up to 20 ms, from connected sockets, to one peer each; a server that answers at once, to whoever comes, pays
//! for one of the others.

use crate::uring;
use clap::ValueEnum;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(20);
/// As the switch does (decision 0016).
const NAP: Duration = Duration::from_millis(1);
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
    /// As `calls`, after a nap of a millisecond each time, so that many sockets are ready at once.
    Naps,
    /// As `naps`, each socket connected to its one peer.
    Connected,
    /// All sockets in turn each 20 ms, by recvfrom and sendto.
    Looks,
    /// io_uring: receiving goes on by itself, and what is sent goes with the next wait; connected sockets.
    Uring,
    /// As `uring`, after a nap each time.
    UringNaps,
    /// As `uring-naps`, each packet with its address both ways.
    UringMsg,
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
        Way::Tick => by_tick(&sockets, pass_connected()),
        Way::Looks => by_tick(&sockets, |_, socket| one_call(socket)),
        Way::Calls => by_epoll(&sockets, Duration::ZERO, |_, socket| one_call(socket)),
        Way::Batches => by_epoll(&sockets, Duration::ZERO, |_, socket| one_batch(socket)),
        Way::Naps => by_epoll(&sockets, NAP, |_, socket| one_call(socket)),
        Way::Connected => by_epoll(&sockets, NAP, pass_connected()),
        Way::Uring => uring::serve(&sockets, uring::Peers::One, Duration::ZERO),
        Way::UringNaps => uring::serve(&sockets, uring::Peers::One, NAP),
        Way::UringMsg => uring::serve(&sockets, uring::Peers::Any, NAP),
    }
}

fn bind() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn by_tick(sockets: &[UdpSocket], mut pass: impl FnMut(usize, &UdpSocket)) {
    let mut due = Instant::now() + TICK;
    for tick in 0u64.. {
        let reads = if tick.is_multiple_of(SWEEP) { 2 } else { 1 };
        for (at, socket) in sockets.iter().enumerate() {
            (0..reads).for_each(|_| pass(at, socket));
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += TICK;
    }
}

/// Plain calls on sockets that are connected to the sender of their first packet.
fn pass_connected() -> impl FnMut(usize, &UdpSocket) {
    let mut connected: Vec<bool> = Vec::new();
    move |at, socket| {
        if connected.len() <= at {
            connected.resize(at + 1, false);
        }
        pass(socket, &mut connected[at]);
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

fn by_epoll(sockets: &[UdpSocket], nap: Duration, mut on_ready: impl FnMut(usize, &UdpSocket)) {
    let epoll = net::epoll::Epoll::new().unwrap();
    for (at, socket) in sockets.iter().enumerate() {
        epoll.add(socket, at as u64, net::epoll::Interest::Read).unwrap();
    }
    let mut ready = Vec::new();
    loop {
        rest(nap);
        epoll.wait(&mut ready, None).unwrap();
        ready
            .iter()
            .for_each(|ready| on_ready(ready.key as usize, &sockets[ready.key as usize]));
    }
}

/// Sleeps, if that is wanted.
pub fn rest(nap: Duration) {
    if !nap.is_zero() {
        std::thread::sleep(nap);
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
