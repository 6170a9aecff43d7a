//! How a worker's packets come and go.

use super::board::Board;
use super::line::Line;
use super::pairs::{Kept, Pair, Pairs, Place, State};
use super::ring::{self, Came, Ring};
use super::{Io, RtpCounters};
use crate::epoll::{Epoll, Interest, Ready};
use crate::wake::Bell;
use media::Forward;
use media::engine::PACKET_BUFFER;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
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

/// Packets thrown away at most when a port comes into use; more than its kernel buffer holds.
const MAX_STALE: usize = 512;

/// Packets read at once of a line that is to be emptied. One with more stays with epoll: a flood must not have the buffers of others.
const WAITING: usize = 8;

/// Packets kept of a port that is held: a device that answers may speak before its answer has found its way through us, some
/// hundred milliseconds at most. Of one that has spoken for longer only the end is of use, or a listener would lag behind.
const KEPT: usize = 16;

/// Older than this a kept packet is nobody's sound any more.
const KEPT_FOR: Duration = Duration::from_millis(500);

/// The bell's key in epoll; all others are those of sockets.
const BELL: u64 = u64::MAX;

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
    board: Board,
    bell: Bell,
    /// What is still to be begun with.
    io: Io,
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

impl Plain {
    pub(super) fn new(
        (address, second): (IpAddr, Option<IpAddr>),
        ports: Range<u32>,
        (io, lines): (Io, usize),
        bell: &Bell,
        counters: Arc<RtpCounters>,
    ) -> io::Result<Plain> {
        let epoll = Epoll::new()?;
        epoll.add(bell, BELL, Interest::Read)?;
        let pairs = Pairs {
            first: ports.start,
            pairs: Vec::new(),
        };
        Ok(Plain {
            address,
            second,
            board: Board::new(pairs, epoll, lines, counters.clone()),
            untried: ports,
            bell: bell.clone(),
            io,
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
            self.board.pairs.pairs.push(bound.ok());
            if is_bound {
                return Some(port);
            }
        }
    }

    /// Reads one packet and sends it on where `each` says so. What is left over is ready again at the next look.
    fn read(&mut self, place: Place, each: &mut Each<'_>) {
        self.read_before(place, each);
        let reads = if self.is_to_be_emptied(place) { WAITING } else { 1 };
        for _ in 0..reads {
            match self.receive(place) {
                Ok((length, peer)) => self.take(place, length, peer, each),
                Err(_) => return self.board.arm(place),
            }
        }
    }

    /// What came to a port before it had its line goes before what comes over that.
    fn read_before(&mut self, place: Place, each: &mut Each<'_>) {
        let line = self.board.pairs.ear_mut(place).and_then(|ear| ear.line.as_mut());
        if !place.is_line || !line.is_some_and(|line| std::mem::take(&mut line.is_ahead)) {
            return;
        }
        let own = Place::own(place.port, place.is_second);
        for _ in 0..MAX_STALE {
            match self.receive(own) {
                Ok((length, peer)) => self.take(own, length, peer, each),
                Err(_) => return,
            }
        }
    }

    /// A line is emptied once, to know that all that comes is its device's, and before a ring goes on with it.
    fn is_to_be_emptied(&mut self, place: Place) -> bool {
        let has_ring = self.board.ring.is_some();
        let line = self.board.pairs.ear_mut(place).and_then(|ear| ear.line.as_ref());
        place.is_line && line.is_some_and(|line| has_ring || !line.is_settled())
    }

    /// The next packet of a socket: its length, which may be more than was room for, and its sender.
    fn receive(&mut self, place: Place) -> io::Result<(usize, SocketAddr)> {
        let ear = self.board.pairs.ear_mut(place).ok_or(io::ErrorKind::NotFound)?;
        ear.receive(place.is_line, &mut self.packet[..])
    }

    /// A packet has been read.
    fn take(&mut self, place: Place, length: usize, peer: SocketAddr, each: &mut Each<'_>) {
        let port = place.port;
        if !self.board.pairs.takes(port) {
            self.counters.stale.one();
            if !place.is_line {
                self.board.unwatch(place);
            }
            return;
        }
        self.counters.packets_in.one();
        self.pace.came += 1;
        if length > PACKET_BUFFER {
            self.counters.truncated.one();
        } else if self.board.pairs.is_held(port) {
            self.keep(port, peer, length);
        } else if let Some(Forward { port, to, range }) = each(port, peer, &mut self.packet[..], length) {
            self.board.send(port, to, &self.packet[range]);
        }
    }

    /// Keeps the packet just read for the leg to come.
    fn keep(&mut self, port: u16, peer: SocketAddr, length: usize) {
        let Some(State::Held(kept)) = self.board.pairs.get_mut(port).map(|pair| &mut pair.state) else {
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

    /// Throws away what waits on a port that comes into use, and has epoll tell of it from now on.
    fn prepare(&mut self, port: u16) {
        for is_second in [false, true] {
            let place = Place::own(port, is_second);
            self.discard(place);
            self.board.watch(place);
        }
    }

    /// A ring belongs to the thread that makes it.
    fn begin(&mut self) -> io::Result<()> {
        let wanted = std::mem::replace(&mut self.io, Io::Epoll);
        if wanted == Io::Epoll {
            return Ok(());
        }
        match Ring::new() {
            Ok(ring) => {
                self.board.ring = Some(ring);
                self.counters.uring_workers.add(1);
            }
            Err(e) if wanted == Io::Uring => return Err(e),
            Err(e) => tracing::info!(error = %e, "media goes by epoll: the kernel gives no io_uring"),
        }
        Ok(())
    }

    /// A ring that fails does not take the calls along.
    fn leave_ring(&mut self) {
        self.board.leave_ring();
        self.counters.uring_workers.sub(1);
    }

    /// Looks at what epoll tells of.
    fn look(&mut self, mut limit: Option<Duration>, each: &mut Each<'_>) -> io::Result<()> {
        let looks = if self.pace.is_busy { LOOKS } else { 1 };
        let mut ready = std::mem::take(&mut self.ready);
        let mut waited = Ok(());
        for _ in 0..looks {
            waited = self.board.epoll.wait(&mut ready, limit);
            for ready in &ready {
                match Place::of_key(ready.key) {
                    Some(place) => self.read(place, each),
                    None => self.bell.hear(),
                }
            }
            if ready.is_empty() || waited.is_err() {
                break;
            }
            limit = Some(Duration::ZERO);
        }
        self.ready = ready;
        waited
    }

    /// The same where lines are received from by a ring. A nap is slept there too.
    fn wait_on_ring(&mut self, nap: Option<Duration>, limit: Option<Duration>, each: &mut Each<'_>) -> io::Result<()> {
        let (want, limit) = match nap {
            Some(nap) => (ring::MANY, Some(nap)),
            None => (1, limit),
        };
        let Board { ring, epoll, .. } = &mut self.board;
        let Some(ring) = ring else {
            return Ok(());
        };
        if let Err(e) = ring.wait(epoll, want, limit) {
            tracing::error!(error = %e, "media goes by epoll from now on: io_uring fails");
            self.leave_ring();
            return Ok(());
        }
        while let Some(came) = self.board.ring.as_mut().and_then(|ring| ring.next(&mut self.packet)) {
            match came {
                Came::Packet { place, call, .. } if self.board.pairs.call(place.port) != call => {
                    self.counters.stale.one();
                }
                Came::Packet {
                    place, peer, length, ..
                } => self.take(place, length, peer, each),
                Came::Ended { place, slot, .. } => self.board.disarm(place, slot),
                Came::Retired { place, call, mut line } => {
                    if call == self.board.pairs.call(place.port) {
                        self.empty(place, &mut line, each);
                    }
                    self.board.close(line);
                }
                Came::Others => self.look(Some(Duration::ZERO), each)?,
                Came::SendFailed { place, why } => self.board.on_send_failed(place, why),
            }
        }
        Ok(())
    }

    /// Takes what is left in a line that is to be closed.
    fn empty(&mut self, place: Place, line: &mut Line, each: &mut Each<'_>) {
        for _ in 0..MAX_STALE {
            match line.receive(&mut self.packet[..]) {
                Ok((length, peer)) => self.take(place, length, peer, each),
                Err(_) => return,
            }
        }
    }

    #[cfg(test)]
    pub(super) fn lines_left(&self) -> usize {
        self.board.lines_left()
    }

    /// The kernel has lost something that a ring had to tell.
    #[cfg(test)]
    pub(super) fn break_ring(&mut self) {
        self.board.ring.iter_mut().for_each(Ring::lose);
    }

    #[cfg(test)]
    pub(super) fn is_settled(&mut self, port: u16) -> bool {
        let ear = self.board.pairs.ear_mut(Place::own(port, false)).unwrap();
        ear.line.as_ref().unwrap().is_settled()
    }

    #[cfg(test)]
    pub(super) fn line_peer(&mut self, port: u16) -> Option<SocketAddr> {
        let ear = self.board.pairs.ear_mut(Place::own(port, false)).unwrap();
        ear.line.as_ref().map(Line::peer)
    }

    #[cfg(test)]
    pub(super) fn line_socket(&mut self, port: u16) -> &std::net::UdpSocket {
        let ear = self.board.pairs.ear_mut(Place::own(port, false)).unwrap();
        ear.line.as_ref().unwrap().socket()
    }

    fn set(&mut self, port: u16, state: State) -> Option<State> {
        let pair = self.board.pairs.get_mut(port)?;
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
                self.board.send(to.port, to.to, &buffer[to.range]);
            }
        }
    }

    fn discard(&mut self, place: Place) {
        let mut left = 0..MAX_STALE;
        while left.next().is_some() && self.receive(place).is_ok() {
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
        if !self.board.pairs.is_shut(port) {
            return;
        }
        self.prepare(port);
        self.set(port, State::Held(VecDeque::new()));
        self.counters.ports_in_use.add(1);
    }

    fn open(&mut self, port: u16, each: &mut Each<'_>) {
        if self.board.pairs.is_shut(port) {
            self.prepare(port);
            self.counters.ports_in_use.add(1);
        }
        self.prepare(port + 1);
        if let Some(State::Held(kept)) = self.set(port, State::Open) {
            self.replay(port, kept, each);
        }
    }

    fn is_held(&self, port: u16) -> bool {
        self.board.pairs.is_held(port)
    }

    fn shut(&mut self, port: u16) {
        if !matches!(self.set(port, State::Shut), Some(State::Shut) | None) {
            self.counters.ports_in_use.sub(1);
            self.board.disconnect(port);
        }
    }

    fn wait(&mut self, limit: Option<Duration>, each: &mut Each<'_>) -> io::Result<()> {
        self.begin()?;
        let nap = self.pace.nap(Instant::now(), limit);
        let waited = if self.board.ring.is_some() {
            self.wait_on_ring(nap, limit, each)
        } else {
            if let Some(nap) = nap {
                std::thread::sleep(nap);
            }
            self.look(limit.map(|limit| limit.saturating_sub(nap.unwrap_or_default())), each)
        };
        self.pace.looked = Instant::now();
        waited
    }

    fn send(&mut self, port: u16, to: SocketAddr, packet: &[u8]) {
        self.board.send(port, to, packet);
    }
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
