//! How a worker's packets come and go.

use super::RtpCounters;
use crate::epoll::{Epoll, Interest, Ready};
use crate::wake::Bell;
use media::Forward;
use media::engine::PACKET_BUFFER;
use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Range;
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

    /// Ceases to take what comes to a pair. It stays bound.
    fn shut(&mut self, port: u16);

    /// Sleeps until a packet comes, the bell rings or the time is over. Each packet is handed to `each` and what that
    /// says is sent on.
    fn wait(&mut self, limit: Option<Duration>, each: &mut Each<'_>) -> io::Result<()>;

    /// Sends one packet from our port.
    fn send(&mut self, port: u16, to: SocketAddr, packet: &[u8]);
}

/// Takes a packet: the port it came to, its sender, a buffer of [`PACKET_BUFFER`] bytes, and its length.
pub(super) type Each<'a> = dyn FnMut(u16, SocketAddr, &mut [u8], usize) -> Option<Forward> + 'a;

/// Looks at all sockets in one wait of a busy worker: each look takes one packet from a socket, and a phone sends one in 20 ms.
const LOOKS: u32 = 8;

/// Kernel buffer of one socket: 64 KiB hold more than a second of one phone's packets, and bound what a flood can fill.
const BUFFER: usize = 64 * 1024;

/// Packets thrown away at most when a port comes into use; more than its kernel buffer holds.
const MAX_STALE: usize = 512;

/// Packets kept of a port that is held: a device that answers may speak before its answer has found its way through us, some
/// hundred milliseconds at most. Of one that has spoken for longer only the end is of use, or a listener would lag behind.
const KEPT: usize = 16;

/// Older than this a kept packet is nobody's sound any more.
const KEPT_FOR: Duration = Duration::from_millis(500);

/// The bell's key in epoll; all others are port numbers, those of the second address with a mark.
const BELL: u64 = u64::MAX;
const SECOND: u64 = 1 << 16;

/// Expedited forwarding (RFC 3246) in the DS field, as networks that know voice expect.
const EXPEDITED: u32 = 46 << 2;

/// A busy worker sleeps so long before it looks again: waking up for each packet costs more than the packet (decision 0016).
const NAP: Duration = Duration::from_millis(1);

/// What makes a worker busy is looked at this often.
const PACE: Duration = Duration::from_millis(20);

/// Packets in that time from which on it naps: 64 phones that send.
const BUSY: u32 = 64;

/// Plain system calls: epoll, and one call for each packet in and out (decision 0016).
pub(super) struct Plain {
    address: IpAddr,
    /// Of the other family.
    second: Option<IpAddr>,
    /// Even ports not yet tried.
    untried: Range<u32>,
    pairs: Pairs,
    epoll: Epoll,
    bell: Bell,
    ready: Vec<Ready>,
    packet: Box<[u8; PACKET_BUFFER]>,
    pace: Pace,
    counters: Arc<RtpCounters>,
}

/// How many packets come.
struct Pace {
    since: Instant,
    came: u32,
    is_busy: bool,
    looked: Instant,
}

/// The pairs that are bound, found by their number. `None` where somebody else holds the port.
struct Pairs {
    first: u32,
    pairs: Vec<Option<Pair>>,
}

struct Pair {
    own: Sides,
    /// The same numbers on the second address.
    second: Option<Sides>,
    is_ipv4: bool,
    state: State,
}

struct Sides {
    rtp: Ear,
    rtcp: Ear,
}

/// One socket. Epoll goes on telling of it after its call, so that the next call on it need not ask for that; until a packet
/// comes meanwhile.
struct Ear {
    socket: UdpSocket,
    is_watched: bool,
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
        (address, second): (IpAddr, Option<IpAddr>),
        ports: Range<u32>,
        bell: &Bell,
        counters: Arc<RtpCounters>,
    ) -> io::Result<Plain> {
        let epoll = Epoll::new()?;
        epoll.add(bell, BELL, Interest::Read)?;
        Ok(Plain {
            address,
            second,
            pairs: Pairs {
                first: ports.start,
                pairs: Vec::new(),
            },
            untried: ports,
            epoll,
            bell: bell.clone(),
            ready: Vec::new(),
            packet: Box::new([0; PACKET_BUFFER]),
            pace: Pace::new(Instant::now()),
            counters,
        })
    }

    /// Binds the next pair that nobody else has; `None` when the range or the descriptors are used up.
    fn bind_next(&mut self) -> Option<u16> {
        loop {
            let port = u16::try_from(self.untried.start)
                .ok()
                .filter(|_| !self.untried.is_empty())?;
            let bound = Pair::bind(self.address, self.second, port);
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

    /// Reads one packet from a port and sends it on where `each` says so. What is left over is ready again at the next look.
    fn read(&mut self, port: u16, is_second: bool, each: &mut Each<'_>) {
        let Some((length, peer)) = self.receive(port, is_second) else {
            return;
        };
        if !self.pairs.takes(port) {
            self.counters.stale.one();
            return self.unwatch(port, is_second);
        }
        self.counters.packets_in.one();
        self.pace.came += 1;
        if length > PACKET_BUFFER {
            self.counters.truncated.one();
        } else if self.pairs.is_held(port) {
            self.keep(port, peer, length);
        } else if let Some(Forward { port, to, range }) = each(port, peer, &mut self.packet[..], length) {
            self.send_one(port, to, &self.packet[range]);
        }
    }

    /// The next packet of a port: its length, which may be more than was room for, and its sender.
    fn receive(&mut self, port: u16, is_second: bool) -> Option<(usize, SocketAddr)> {
        let socket = self.pairs.socket(port, is_second)?;
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let (_, length, peer) = rustix::net::recvfrom(socket, &mut self.packet[..], flags).ok()?;
        Some((length, SocketAddr::try_from(peer?).ok()?))
    }

    /// Keeps the packet just read for the leg to come.
    fn keep(&mut self, port: u16, peer: SocketAddr, length: usize) {
        let Some(State::Held(kept)) = self.pairs.get_mut(port).map(|pair| &mut pair.state) else {
            return;
        };
        if kept.len() >= KEPT {
            kept.pop_front();
            self.counters.stale.one();
        }
        kept.push_back(Kept {
            at: Instant::now(),
            peer,
            bytes: self.packet[..length].into(),
        });
    }

    /// Sends a packet. What the kernel does not take at once is lost, as late sound would be.
    fn send_one(&self, port: u16, to: SocketAddr, packet: &[u8]) {
        let Some(socket) = self.pairs.socket_towards(port, to) else {
            return;
        };
        match socket.send_to(packet, to) {
            Ok(_) => self.counters.packets_out.one(),
            Err(_) => self.counters.send_failed.one(),
        }
    }

    /// Throws away what waits on a port that comes into use, and has epoll tell of it from now on.
    fn prepare(&mut self, port: u16) {
        for (is_second, mark) in [(false, 0), (true, SECOND)] {
            self.discard(port, is_second);
            let Some(ear) = self.pairs.ear_mut(port, is_second).filter(|ear| !ear.is_watched) else {
                continue;
            };
            match self.epoll.add(&ear.socket, u64::from(port) | mark, Interest::Read) {
                Ok(()) => ear.is_watched = true,
                Err(e) => tracing::error!(port, error = %e, "cannot watch a port"),
            }
        }
    }

    /// What comes to a port that is in no use is the kernel's to drop: a flood there must not keep us busy.
    fn unwatch(&mut self, port: u16, is_second: bool) {
        let Some(ear) = self.pairs.ear_mut(port, is_second) else {
            return;
        };
        ear.is_watched = false;
        if let Err(e) = self.epoll.remove(&ear.socket) {
            tracing::error!(port, error = %e, "cannot leave a port unwatched");
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
                self.send_one(to.port, to.to, &buffer[to.range]);
            }
        }
    }

    fn discard(&mut self, port: u16, is_second: bool) {
        let mut left = 0..MAX_STALE;
        while left.next().is_some() && self.receive(port, is_second).is_some() {
            self.counters.stale.one();
        }
    }
}

impl Pace {
    fn new(now: Instant) -> Pace {
        Pace {
            since: now,
            came: 0,
            is_busy: false,
            looked: now,
        }
    }

    /// How long to sleep before looking at the sockets.
    fn nap(&mut self, now: Instant, limit: Option<Duration>) -> Option<Duration> {
        let past = now.duration_since(self.since);
        if past >= PACE {
            // A pause makes it idle, however many came before.
            self.is_busy = self.came >= BUSY && past < 4 * PACE;
            (self.since, self.came) = (now, 0);
        }
        let nap = NAP.saturating_sub(now.duration_since(self.looked));
        let nap = nap.min(limit.unwrap_or(NAP));
        (self.is_busy && !nap.is_zero()).then_some(nap)
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
        self.prepare(port);
        self.set(port, State::Held(VecDeque::new()));
        self.counters.ports_in_use.add(1);
    }

    fn open(&mut self, port: u16, each: &mut Each<'_>) {
        if self.pairs.is_shut(port) {
            self.prepare(port);
            self.counters.ports_in_use.add(1);
        }
        self.prepare(port + 1);
        if let Some(State::Held(kept)) = self.set(port, State::Open) {
            self.replay(port, kept, each);
        }
    }

    fn is_held(&self, port: u16) -> bool {
        self.pairs.is_held(port)
    }

    fn shut(&mut self, port: u16) {
        if !matches!(self.set(port, State::Shut), Some(State::Shut) | None) {
            self.counters.ports_in_use.sub(1);
        }
    }

    fn wait(&mut self, limit: Option<Duration>, each: &mut Each<'_>) -> io::Result<()> {
        let nap = self.pace.nap(Instant::now(), limit);
        if let Some(nap) = nap {
            std::thread::sleep(nap);
        }
        let mut limit = limit.map(|limit| limit.saturating_sub(nap.unwrap_or_default()));
        let looks = if self.pace.is_busy { LOOKS } else { 1 };
        let mut ready = std::mem::take(&mut self.ready);
        let mut waited = Ok(());
        for _ in 0..looks {
            waited = self.epoll.wait(&mut ready, limit);
            for ready in &ready {
                match u16::try_from(ready.key & !SECOND) {
                    Ok(port) => self.read(port, ready.key & SECOND != 0, each),
                    Err(_) => self.bell.hear(),
                }
            }
            if ready.is_empty() || waited.is_err() {
                break;
            }
            limit = Some(Duration::ZERO);
        }
        self.pace.looked = Instant::now();
        self.ready = ready;
        waited
    }

    fn send(&mut self, port: u16, to: SocketAddr, packet: &[u8]) {
        self.send_one(port, to, packet);
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

    /// What comes to this port is for somebody: the RTCP port of a pair that is held is not yet.
    fn takes(&self, port: u16) -> bool {
        match self.get(port).map(|pair| &pair.state) {
            Some(State::Open) => true,
            Some(State::Held(_)) => port.is_multiple_of(2),
            Some(State::Shut) | None => false,
        }
    }

    /// RTP's socket for an even port, RTCP's for an odd one.
    fn socket(&self, port: u16, is_second: bool) -> Option<&UdpSocket> {
        let pair = self.get(port)?;
        let sides = match is_second {
            true => pair.second.as_ref()?,
            false => &pair.own,
        };
        let ear = if port.is_multiple_of(2) {
            &sides.rtp
        } else {
            &sides.rtcp
        };
        Some(&ear.socket)
    }

    fn ear_mut(&mut self, port: u16, is_second: bool) -> Option<&mut Ear> {
        let pair = self.get_mut(port)?;
        let sides = match is_second {
            true => pair.second.as_mut()?,
            false => &mut pair.own,
        };
        Some(if port.is_multiple_of(2) {
            &mut sides.rtp
        } else {
            &mut sides.rtcp
        })
    }

    /// The one that can send to this address.
    fn socket_towards(&self, port: u16, to: SocketAddr) -> Option<&UdpSocket> {
        let is_second = self.get(port)?.is_ipv4 != to.is_ipv4();
        self.socket(port, is_second)
    }
}

impl Sides {
    fn bind(address: IpAddr, port: u16) -> io::Result<Sides> {
        let ear = |port: u16| -> io::Result<Ear> {
            Ok(Ear {
                socket: bind((address, port).into())?,
                is_watched: false,
            })
        };
        Ok(Sides {
            rtp: ear(port)?,
            rtcp: ear(port + 1)?,
        })
    }
}

impl Pair {
    fn bind(address: IpAddr, second: Option<IpAddr>, port: u16) -> io::Result<Pair> {
        Ok(Pair {
            own: Sides::bind(address, port)?,
            second: second.map(|second| Sides::bind(second, port)).transpose()?,
            is_ipv4: address.is_ipv4(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_many_packets_naps_between_looks_but_not_beyond_what_is_due() {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let mut pace = Pace::new(began);
        pace.came = 1_000;
        assert_eq!(pace.nap(at(1), None), None, "nobody knows yet");
        assert_eq!(pace.nap(at(20), None), None, "it has not looked for long");
        pace.looked = at(20);
        assert_eq!(pace.nap(at(20), None), Some(NAP));
        assert_eq!(pace.nap(at(20), Some(NAP / 4)), Some(NAP / 4));
        assert_eq!(pace.nap(at(20), Some(Duration::ZERO)), None);
        pace.looked = at(40);
        assert_eq!(pace.nap(at(40), None), None, "few have come since");
        pace.came = 1_000;
        assert_eq!(pace.nap(at(1_000), None), None, "nor after a pause");
    }
}
