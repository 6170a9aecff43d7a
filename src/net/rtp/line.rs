//! A second socket of a port, connected to the one device that the port speaks with: the kernel then neither looks up the way nor
//! copies addresses for each packet (decision 0052). Whoever else sends to the port is heard on the port's own socket as before.

use super::pairs::{self, Sharing, receive_from};
use rustix::net::RecvFlags;
use socket2::SockRef;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Packets in a row to one address after which a port is connected to it: a second of sound, so that a short call costs no socket more.
pub(super) const STEADY: u8 = 50;

/// A stranger's packet that the kernel was about to put into a line when it was connected has been put there by then.
const SETTLING: Duration = Duration::from_millis(10);

/// A device nobody listens at any more is sent to without a ring for so long: each word of that (ICMP) costs a packet in a ring.
const DEAF: Duration = Duration::from_secs(1);

pub(super) struct Line {
    socket: UdpSocket,
    peer: SocketAddr,
    connected: Instant,
    /// Until when no ring sends over it.
    deaf_until: Option<Instant>,
    /// All that waits is the peer's. Before, a packet of somebody else may have come first.
    is_settled: bool,
    /// Older packets of the peer may wait on the port's own socket.
    pub(super) is_ahead: bool,
    /// What its packets are known by in a ring, if they come through one.
    pub(super) slot: Option<usize>,
}

/// Where a port sends to.
#[derive(Default)]
pub(super) struct Course {
    to: Option<SocketAddr>,
    /// Packets in a row, up to [`STEADY`].
    run: u8,
}

impl Course {
    /// One more packet goes there; whether so many have that it is time for a line.
    pub(super) fn is_steady(&mut self, to: SocketAddr) -> bool {
        self.run = if self.to == Some(to) { self.run + 1 } else { 1 };
        self.to = Some(to);
        let is_steady = self.run >= STEADY;
        if is_steady {
            // If it comes to nothing, a second passes before it is tried again.
            self.run = 0;
        }
        is_steady
    }
}

impl Line {
    /// A line of the port that `own` is bound to, and the line before if there is one.
    pub(super) fn new(own: &UdpSocket, before: Option<&Line>, peer: SocketAddr) -> io::Result<Line> {
        let mut line = Line::bound(own, before, peer)?;
        line.connect(peer)?;
        Ok(line)
    }

    fn bound(own: &UdpSocket, before: Option<&Line>, peer: SocketAddr) -> io::Result<Line> {
        let local = own.local_addr()?;
        // Only while we bind: nobody is to share the port afterwards, not even another process of ours.
        let share = |shares: bool| {
            let mut bound = [Some(own), before.map(Line::socket)].into_iter().flatten();
            bound.try_for_each(|socket| SockRef::from(socket).set_reuse_port(shares))
        };
        let socket = share(true).and_then(|()| pairs::bind(local, Sharing::Allowed));
        share(false)?;
        let socket = socket?;
        SockRef::from(&socket).set_reuse_port(false)?;
        Ok(Line {
            socket,
            peer,
            connected: Instant::now(),
            deaf_until: None,
            is_settled: false,
            is_ahead: true,
            slot: None,
        })
    }

    /// To this device from now on. What came before is not lost.
    pub(super) fn connect(&mut self, peer: SocketAddr) -> io::Result<()> {
        (self.is_settled, self.is_ahead) = (false, true);
        self.socket.connect(peer)?;
        (self.peer, self.connected, self.deaf_until) = (peer, Instant::now(), None);
        Ok(())
    }

    /// To nobody: what its device sends from now on comes to the port's own socket, while the kernel has not let go of this one.
    pub(super) fn desert(&self) -> io::Result<()> {
        self.socket.connect(self.socket.local_addr()?)
    }

    pub(super) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn leads_to(&self, to: SocketAddr) -> bool {
        self.peer == to
    }

    /// The kernel has said instead of sending a packet that nobody listens.
    pub(super) fn on_refused(&mut self) {
        self.deaf_until = Some(Instant::now() + DEAF);
    }

    /// It was refused of late.
    pub(super) fn is_deaf(&self) -> bool {
        self.deaf_until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// The length of the next packet, which may be more than there is room for, and its sender.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        if self.is_settled {
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            let (_, length) = rustix::net::recv(&self.socket, buffer, flags)?;
            return Ok((length, self.peer));
        }
        let received = receive_from(&self.socket, buffer);
        let is_empty = matches!(&received, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        self.is_settled = is_empty && self.connected.elapsed() >= SETTLING;
        received
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_to_a_line_before_it_was_connected_keeps_its_sender() {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let (own, device) = (bind(), bind());
        let (port, peer) = (own.local_addr().unwrap(), device.local_addr().unwrap());
        let strangers: Vec<UdpSocket> = (0..20).map(|_| bind()).collect();
        let say = |who: &UdpSocket| {
            who.send_to(&who.local_addr().unwrap().port().to_be_bytes(), port)
                .unwrap();
        };
        let mut line = Line::bound(&own, None, peer).unwrap();
        strangers.iter().for_each(say);
        line.connect(peer).unwrap();
        strangers.iter().for_each(say);
        say(&device);
        let mut buffer = [0; 2];
        let mut came = Vec::new();
        line.connected = Instant::now() + SETTLING;
        while let Ok((_, from)) = line.receive(&mut buffer) {
            assert_eq!(from.port(), u16::from_be_bytes(buffer));
            came.push(from);
        }
        assert_eq!(came.len(), 21);
        assert_eq!(came.last(), Some(&peer));
        assert!(!line.is_settled(), "a packet may still be on its way into it");
        line.connected = Instant::now().checked_sub(SETTLING).unwrap();
        assert!(line.receive(&mut buffer).is_err() && line.is_settled());
        strangers.iter().chain([&device]).for_each(say);
        assert_eq!(line.receive(&mut buffer).unwrap(), (2, peer));
        assert!(line.receive(&mut buffer).is_err());
        assert_eq!(
            std::iter::from_fn(|| own.recv_from(&mut buffer).ok()).count(),
            61 - came.len()
        );
    }

    #[test]
    fn a_port_is_steady_after_a_second_of_packets_to_one_address() {
        let [here, there]: [SocketAddr; 2] = ["192.0.2.1:4000", "192.0.2.1:4002"].map(|a| a.parse().unwrap());
        let mut course = Course::default();
        let mut steady = |to, packets: u8| (0..packets).filter(|_| course.is_steady(to)).count();
        assert_eq!(steady(here, STEADY - 1), 0);
        assert_eq!(steady(there, 1), 0);
        assert_eq!(steady(here, STEADY - 1), 0);
        assert_eq!(steady(here, 1), 1);
        assert_eq!(steady(here, STEADY - 1), 0, "not again at once");
        assert_eq!(steady(here, 1), 1);
    }
}
