//! How a worker's packets come and go.

use super::RtpCounters;
use crate::epoll::{Epoll, Interest, Ready};
use crate::mmsg::{self, Inbox, Joining};
use crate::wake::Bell;
use media::Forward;
use media::engine::PACKET_BUFFER;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The back end of a worker; one on io_uring would be the second.
pub(super) trait Sockets {
    /// Binds up to `count` more pairs of ports; gives the even ones. Fewer means that no more can be bound.
    fn bind(&mut self, count: u16) -> Vec<u16>;

    /// A pair will be in use soon: throws away what has come so far, and keeps the latest packets of what comes now.
    fn hold(&mut self, port: u16);

    /// Begins to read a pair: what was kept while it was held comes first. Without a hold, what came before is thrown away.
    fn open(&mut self, port: u16, each: &mut Each<'_>);

    /// Whether a pair is held and not yet open.
    fn is_held(&self, port: u16) -> bool;

    /// Ceases to read a pair. It stays bound.
    fn shut(&mut self, port: u16);

    /// Sleeps until a packet comes, the bell rings or the time is over. Each packet is handed to `each` and what that
    /// says is sent on.
    fn wait(&mut self, limit: Option<Duration>, each: &mut Each<'_>) -> io::Result<()>;

    /// Sends one packet from our port.
    fn send(&mut self, port: u16, to: SocketAddr, packet: &[u8]);
}

/// Takes a packet: the port it came to, its sender, a buffer of [`PACKET_BUFFER`] bytes, and its length.
pub(super) type Each<'a> = dyn FnMut(u16, SocketAddr, &mut [u8], usize) -> Option<Forward> + 'a;

/// Packets read from one socket in one call. A phone sends one in 20 ms; more come after a pause of the network.
const BATCH: usize = 8;

/// Kernel buffer of one socket: 64 KiB hold more than a second of one phone's packets, and bound what a flood can fill.
const BUFFER: usize = 64 * 1024;

/// Batches thrown away at most when a port comes into use; more than its kernel buffer holds.
const STALE_BATCHES: usize = 64;

/// Packets kept of a port that is held: a device that answers may speak before its answer has found its way through us, some
/// hundred milliseconds at most. Of one that has spoken for longer only the end is of use, or a listener would lag behind.
const KEPT: usize = 16;

/// Older than this a kept packet is nobody's sound any more.
const KEPT_FOR: Duration = Duration::from_millis(500);

/// The bell's key in epoll; all others are port numbers.
const BELL: u64 = u64::MAX;

/// Expedited forwarding (RFC 3246) in the DS field, as networks that know voice expect.
const EXPEDITED: u32 = 46 << 2;

/// Plain system calls: epoll, recvmmsg and sendmmsg.
pub(super) struct Plain {
    address: IpAddr,
    /// Even ports not yet tried.
    untried: Range<u32>,
    pairs: Pairs,
    epoll: Epoll,
    bell: Bell,
    ready: Vec<Ready>,
    inbox: Inbox<BATCH>,
    onward: Vec<(usize, Forward)>,
    counters: Arc<RtpCounters>,
}

/// The pairs that are bound, found by their number. `None` where somebody else holds the port.
struct Pairs {
    first: u32,
    pairs: Vec<Option<Pair>>,
}

struct Pair {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    state: State,
}

enum State {
    Shut,
    Held(VecDeque<Kept>),
    Open,
}

/// A packet that came before its leg.
struct Kept {
    at: Instant,
    peer: SocketAddr,
    bytes: Box<[u8]>,
}

impl Plain {
    pub(super) fn new(
        address: IpAddr,
        ports: Range<u32>,
        bell: &Bell,
        counters: Arc<RtpCounters>,
    ) -> io::Result<Plain> {
        let epoll = Epoll::new()?;
        epoll.add(bell, BELL, Interest::Read)?;
        Ok(Plain {
            address,
            pairs: Pairs {
                first: ports.start,
                pairs: Vec::new(),
            },
            untried: ports,
            epoll,
            bell: bell.clone(),
            ready: Vec::new(),
            inbox: Inbox::new(PACKET_BUFFER),
            onward: Vec::with_capacity(BATCH),
            counters,
        })
    }

    /// Binds the next pair that nobody else has; `None` when the range or the descriptors are used up.
    fn bind_next(&mut self) -> Option<u16> {
        loop {
            let port = u16::try_from(self.untried.start)
                .ok()
                .filter(|_| !self.untried.is_empty())?;
            let bound = Pair::bind(self.address, port);
            if let Err(e) = &bound {
                tracing::warn!(port, error = %e, "cannot bind a port for media");
                if e.kind() != io::ErrorKind::AddrInUse {
                    return None;
                }
            }
            self.untried.start += 2;
            let is_bound = bound.is_ok();
            self.pairs.pairs.push(bound.ok());
            if is_bound {
                return Some(port);
            }
        }
    }

    /// Reads one batch from a port and sends on what `each` says. What is left over is ready again at the next wait.
    fn read(&mut self, port: u16, each: &mut Each<'_>) {
        let Some(socket) = self.pairs.socket(port) else { return };
        let Ok(received) = self.inbox.receive(socket.as_fd()) else {
            return;
        };
        self.counters.packets_in.add(received as u64);
        if self.pairs.is_held(port) {
            return self.keep(port);
        }
        // A panic in `each` leaves what was noted of the batch before: its slots hold other packets now.
        self.onward.clear();
        for packet in self.inbox.datagrams() {
            if packet.truncated {
                self.counters.truncated.one();
            } else if let Some(forward) = each(port, packet.peer, packet.buffer, packet.length) {
                self.onward.push((packet.slot, forward));
            }
        }
        for run in self.onward.chunk_by(|(_, a), (_, b)| a.port == b.port) {
            let packet = |(slot, to): &(usize, Forward)| (to.to, &self.inbox.slot(*slot)[to.range.clone()]);
            self.send_run(run[0].1.port, run.len(), |at| packet(&run[at]));
        }
    }

    /// Keeps the batch just read for the leg to come.
    fn keep(&mut self, port: u16) {
        let Some(State::Held(kept)) = self.pairs.get_mut(port).map(|pair| &mut pair.state) else {
            return;
        };
        let at = Instant::now();
        for packet in self.inbox.datagrams().filter(|packet| !packet.truncated) {
            if kept.len() >= KEPT {
                kept.pop_front();
                self.counters.stale.one();
            }
            kept.push_back(Kept {
                at,
                peer: packet.peer,
                bytes: packet.buffer[..packet.length].into(),
            });
        }
    }

    /// Sends `count` packets from one port in order. What the kernel does not take at once is lost, as late sound would be.
    fn send_run<'a>(&'a self, port: u16, count: usize, packet: impl Fn(usize) -> (SocketAddr, &'a [u8])) {
        let Some(socket) = self.pairs.socket(port) else { return };
        let mut next = 0;
        while next < count {
            match mmsg::send::<BATCH>(socket.as_fd(), Joining::Never, (next..count).map(&packet)) {
                Ok(sent) => {
                    self.counters.packets_out.add(sent as u64);
                    next += sent.max(1);
                }
                Err(_) => {
                    self.counters.send_failed.one();
                    next += 1;
                }
            }
        }
    }

    fn watch(&mut self, port: u16, rtcp: bool) {
        let Some(pair) = self.pairs.get_mut(port) else { return };
        let (socket, key) = if rtcp {
            (&pair.rtcp, port + 1)
        } else {
            (&pair.rtp, port)
        };
        if let Err(e) = self.epoll.add(socket, key.into(), Interest::Read) {
            tracing::error!(port = key, error = %e, "cannot watch a port");
        }
    }

    fn set(&mut self, port: u16, state: State) -> Option<State> {
        let pair = self.pairs.get_mut(port)?;
        Some(std::mem::replace(&mut pair.state, state))
    }

    /// Hands out what was kept, as if it came now.
    fn replay(&mut self, port: u16, kept: VecDeque<Kept>, each: &mut Each<'_>) {
        let mut buffer = [0; PACKET_BUFFER];
        for packet in kept {
            if packet.at.elapsed() > KEPT_FOR {
                self.counters.stale.one();
                continue;
            }
            let length = packet.bytes.len();
            buffer[..length].copy_from_slice(&packet.bytes);
            if let Some(to) = each(port, packet.peer, &mut buffer, length) {
                self.send_run(to.port, 1, |_| (to.to, &buffer[to.range.clone()]));
            }
        }
    }

    /// Throws away what waits on a port that comes into use.
    fn discard(&mut self, port: u16) {
        let Some(socket) = self.pairs.socket(port) else { return };
        for _ in 0..STALE_BATCHES {
            match self.inbox.receive(socket.as_fd()) {
                Ok(stale) => self.counters.stale.add(stale as u64),
                Err(_) => return,
            }
        }
    }
}

impl Sockets for Plain {
    fn bind(&mut self, count: u16) -> Vec<u16> {
        let bound: Vec<u16> = (0..count).map_while(|_| self.bind_next()).collect();
        self.counters.ports_bound.add(bound.len() as u64);
        bound
    }

    fn hold(&mut self, port: u16) {
        if !self.pairs.is_shut(port) {
            return;
        }
        self.discard(port);
        self.set(port, State::Held(VecDeque::new()));
        self.counters.ports_in_use.add(1);
        self.watch(port, false);
    }

    fn open(&mut self, port: u16, each: &mut Each<'_>) {
        self.discard(port + 1);
        match self.set(port, State::Open) {
            Some(State::Shut) => {
                self.discard(port);
                self.counters.ports_in_use.add(1);
                self.watch(port, false);
                self.watch(port, true);
            }
            Some(State::Held(kept)) => {
                self.watch(port, true);
                self.replay(port, kept, each);
            }
            Some(State::Open) | None => {}
        }
    }

    fn is_held(&self, port: u16) -> bool {
        self.pairs.is_held(port)
    }

    fn shut(&mut self, port: u16) {
        let Some(state) = self.set(port, State::Shut) else {
            return;
        };
        let Some(pair) = self.pairs.get(port) else { return };
        let watched: &[&UdpSocket] = match state {
            State::Shut => return,
            State::Held(_) => &[&pair.rtp],
            State::Open => &[&pair.rtp, &pair.rtcp],
        };
        self.counters.ports_in_use.sub(1);
        for &socket in watched {
            if let Err(e) = self.epoll.remove(socket) {
                tracing::error!(port, error = %e, "cannot leave a port unwatched");
            }
        }
    }

    fn wait(&mut self, limit: Option<Duration>, each: &mut Each<'_>) -> io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        let waited = self.epoll.wait(&mut ready, limit);
        for ready in &ready {
            match u16::try_from(ready.key) {
                Ok(port) => self.read(port, each),
                Err(_) => self.bell.hear(),
            }
        }
        self.ready = ready;
        waited
    }

    fn send(&mut self, port: u16, to: SocketAddr, packet: &[u8]) {
        self.send_run(port, 1, |_| (to, packet));
    }
}

impl Pairs {
    fn get_mut(&mut self, port: u16) -> Option<&mut Pair> {
        let at = u32::from(port).checked_sub(self.first)? / 2;
        self.pairs.get_mut(at as usize)?.as_mut()
    }

    fn get(&self, port: u16) -> Option<&Pair> {
        let at = u32::from(port).checked_sub(self.first)? / 2;
        self.pairs.get(at as usize)?.as_ref()
    }

    /// True for the even port of a pair that is held.
    fn is_held(&self, port: u16) -> bool {
        let held = |pair: &Pair| matches!(pair.state, State::Held(_));
        port.is_multiple_of(2) && self.get(port).is_some_and(held)
    }

    fn is_shut(&self, port: u16) -> bool {
        self.get(port).is_some_and(|pair| matches!(pair.state, State::Shut))
    }

    /// RTP's socket for an even port, RTCP's for an odd one.
    fn socket(&self, port: u16) -> Option<&UdpSocket> {
        let pair = self.get(port)?;
        Some(if port.is_multiple_of(2) { &pair.rtp } else { &pair.rtcp })
    }
}

impl Pair {
    fn bind(address: IpAddr, port: u16) -> io::Result<Pair> {
        Ok(Pair {
            rtp: bind((address, port).into())?,
            rtcp: bind((address, port + 1).into())?,
            state: State::Shut,
        })
    }
}

fn bind(local: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(local),
        Type::DGRAM.nonblocking(),
        Some(Protocol::UDP),
    )?;
    let marked = if local.is_ipv4() {
        socket.set_tos_v4(EXPEDITED)
    } else {
        socket.set_tclass_v6(EXPEDITED)
    };
    if let Err(e) = marked.and(socket.set_recv_buffer_size(BUFFER)) {
        tracing::debug!(error = %e, "cannot set options of a media socket");
    }
    socket.bind(&local.into())?;
    Ok(socket.into())
}
