//! The sockets of a worker, found by their ports.

use super::line::{Course, Line};
use rustix::net::RecvFlags;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Instant;

/// Kernel buffer of one socket: 64 KiB hold more than a second of one phone's packets, and bound what a flood can fill.
const BUFFER: usize = 64 * 1024;

/// Expedited forwarding (RFC 3246) in the DS field, as networks that know voice expect.
const EXPEDITED: u32 = 46 << 2;

/// In the number that epoll knows a socket by, above its port: it is one of the second address, it is a line.
const SECOND: u64 = 1 << 16;
const LINE: u64 = 1 << 17;

/// The pairs that are bound, found by their number. `None` where somebody else holds the port.
pub(super) struct Pairs {
    pub(super) first: u32,
    pub(super) pairs: Vec<Option<Pair>>,
}

pub(super) struct Pair {
    own: Sides,
    /// The same numbers on the second address.
    second: Option<Sides>,
    is_ipv4: bool,
    pub(super) state: State,
    /// How many calls it has had: what still comes over lines of an earlier one is not for the present one.
    pub(super) call: u32,
}

struct Sides {
    rtp: Ear,
    rtcp: Ear,
}

/// One socket. Epoll goes on telling of it after its call, so that the next call on it need not ask for that; until a packet
/// comes meanwhile.
pub(super) struct Ear {
    pub(super) socket: UdpSocket,
    pub(super) is_watched: bool,
    /// To the device it speaks with, once that is always the same.
    pub(super) line: Option<Line>,
    pub(super) course: Course,
}

/// Which socket.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) port: u16,
    pub(super) is_second: bool,
    pub(super) is_line: bool,
}

pub(super) enum State {
    Shut,
    Held(VecDeque<Kept>),
    Open,
}

/// A packet that came before its leg.
pub(super) struct Kept {
    pub(super) at: Instant,
    pub(super) peer: SocketAddr,
    pub(super) bytes: Box<[u8]>,
}

impl Pairs {
    pub(super) fn get_mut(&mut self, port: u16) -> Option<&mut Pair> {
        let at = u32::from(port).checked_sub(self.first)? / 2;
        self.pairs.get_mut(at as usize)?.as_mut()
    }

    pub(super) fn get(&self, port: u16) -> Option<&Pair> {
        let at = u32::from(port).checked_sub(self.first)? / 2;
        self.pairs.get(at as usize)?.as_ref()
    }

    /// True for the even port of a pair that is held.
    pub(super) fn is_held(&self, port: u16) -> bool {
        let held = |pair: &Pair| matches!(pair.state, State::Held(_));
        port.is_multiple_of(2) && self.get(port).is_some_and(held)
    }

    pub(super) fn is_shut(&self, port: u16) -> bool {
        self.get(port).is_some_and(|pair| matches!(pair.state, State::Shut))
    }

    /// Those of RTP on every pair.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + use<> {
        let end = self.first + 2 * self.pairs.len() as u32;
        let ports = (self.first..end).step_by(2).filter_map(|port| u16::try_from(port).ok());
        ports.flat_map(|port| [false, true].map(|is_second| Place::own(port, is_second)))
    }

    pub(super) fn call(&self, port: u16) -> u32 {
        self.get(port).map_or(0, |pair| pair.call)
    }

    /// What comes to this port is for somebody: the RTCP port of a pair that is held is not yet.
    pub(super) fn takes(&self, port: u16) -> bool {
        match self.get(port).map(|pair| &pair.state) {
            Some(State::Open) => true,
            Some(State::Held(_)) => port.is_multiple_of(2),
            Some(State::Shut) | None => false,
        }
    }

    /// RTP's socket for an even port, RTCP's for an odd one.
    pub(super) fn ear_mut(&mut self, place: Place) -> Option<&mut Ear> {
        let pair = self.get_mut(place.port)?;
        let sides = match place.is_second {
            true => pair.second.as_mut()?,
            false => &mut pair.own,
        };
        Some(if place.port.is_multiple_of(2) {
            &mut sides.rtp
        } else {
            &mut sides.rtcp
        })
    }

    /// The socket of a port that can send to this address.
    pub(super) fn towards(&mut self, port: u16, to: SocketAddr) -> Option<(Place, &mut Ear)> {
        let is_second = self.get(port)?.is_ipv4 != to.is_ipv4();
        let place = Place::own(port, is_second);
        Some((place, self.ear_mut(place)?))
    }
}

impl Place {
    pub(super) const fn own(port: u16, is_second: bool) -> Place {
        Place {
            port,
            is_second,
            is_line: false,
        }
    }

    pub(super) fn line(self) -> Place {
        Place { is_line: true, ..self }
    }

    pub(super) fn key(self) -> u64 {
        let mark = |is: bool, mark: u64| if is { mark } else { 0 };
        u64::from(self.port) | mark(self.is_second, SECOND) | mark(self.is_line, LINE)
    }

    /// `None` if no socket has this key.
    pub(super) fn of_key(key: u64) -> Option<Place> {
        Some(Place {
            port: u16::try_from(key & !(SECOND | LINE)).ok()?,
            is_second: key & SECOND != 0,
            is_line: key & LINE != 0,
        })
    }
}

impl Ear {
    /// The length of the next packet, which may be more than there is room for, and its sender.
    pub(super) fn receive(&mut self, is_line: bool, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match (is_line, &mut self.line) {
            (false, _) => receive_from(&self.socket, buffer),
            (true, Some(line)) => line.receive(buffer),
            (true, None) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// A packet goes there; whether it is time for a line.
    pub(super) fn wants_line(&mut self, to: SocketAddr) -> bool {
        self.line_to(to).is_none() && self.course.is_steady(to)
    }

    /// The line, if it leads there.
    pub(super) fn line_to(&self, to: SocketAddr) -> Option<&Line> {
        self.line.as_ref().filter(|line| line.leads_to(to))
    }

    /// Sends a packet, over the line if it leads there.
    pub(super) fn send(&self, to: SocketAddr, packet: &[u8]) -> io::Result<usize> {
        if let Some(line) = self.line_to(to) {
            match line.socket().send(packet) {
                // Where nobody listened to an earlier packet (ICMP) the kernel says so instead of sending this one.
                Err(e) if e.kind() != io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
        }
        self.socket.send_to(packet, to)
    }
}

impl Sides {
    fn bind(address: IpAddr, port: u16) -> io::Result<Sides> {
        let ear = |port: u16| -> io::Result<Ear> {
            Ok(Ear {
                socket: bind((address, port).into(), Sharing::Refused)?,
                is_watched: false,
                line: None,
                course: Course::default(),
            })
        };
        Ok(Sides {
            rtp: ear(port)?,
            rtcp: ear(port + 1)?,
        })
    }
}

impl Pair {
    pub(super) fn bind(address: IpAddr, second: Option<IpAddr>, port: u16) -> io::Result<Pair> {
        Ok(Pair {
            own: Sides::bind(address, port)?,
            second: second.map(|second| Sides::bind(second, port)).transpose()?,
            is_ipv4: address.is_ipv4(),
            state: State::Shut,
            call: 0,
        })
    }
}

/// Whether another socket of ours may be bound to the same port.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    Refused,
    Allowed,
}

pub(super) fn bind(local: SocketAddr, sharing: Sharing) -> io::Result<UdpSocket> {
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
    socket.set_reuse_port(sharing == Sharing::Allowed)?;
    socket.bind(&local.into())?;
    Ok(socket.into())
}

/// The length of the next packet, which may be more than there is room for, and its sender.
pub(super) fn receive_from(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    let (_, length, peer) = rustix::net::recvfrom(socket, buffer, flags)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    Ok((length, peer.ok_or(io::ErrorKind::InvalidData)?))
}
