//! The members' streams: each sends its second of sound over and over, 20 ms a packet, at its own phase.

use crate::mmsg::{self, Inbox, Packet};
use crate::{Codec, Load, ear};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Samples of 8 kHz in a packet.
pub const FRAME: usize = 160;
const TICK: Duration = Duration::from_millis(20);
/// Our sockets; members share them, because it is the server that is measured. Neighbours in phase share one.
const SOCKETS: usize = 32;
/// Members whose sound is kept and looked at.
pub const LISTENERS: usize = 12;

/// A packet that came: when, its sequence number, and its payload if its member is one that listens.
pub struct Came {
    pub at: Instant,
    pub sequence: u16,
}

/// What a member received in a run.
#[derive(Default)]
pub struct Received {
    pub packets: Vec<Came>,
    /// The payload of each packet, for listeners.
    pub payloads: Vec<Box<[u8]>>,
}

/// What a run gave.
pub struct Heard {
    pub elapsed: Duration,
    pub members: Vec<Received>,
    /// When marker packets went out, by member that sent them.
    pub marks: Vec<(usize, Instant)>,
    pub listeners: Vec<usize>,
}

struct Member {
    remote: Option<SocketAddrV4>,
    /// One second.
    payloads: Vec<Box<[u8]>>,
    codec: Codec,
    sent: u32,
    ssrc: u32,
}

pub struct Streams {
    sockets: Vec<UdpSocket>,
    members: Vec<Member>,
    /// Which member a port of the server belongs to.
    of_port: Vec<u32>,
    inbox: Inbox,
}

impl Streams {
    pub fn new(load: &Load) -> Streams {
        let sockets = (0..SOCKETS.min(load.members)).map(|_| bind()).collect();
        let members = (0..load.members)
            .map(|at| Member {
                remote: None,
                payloads: ear::payloads(load, at),
                codec: load.codec,
                sent: 0,
                ssrc: 0x5eed_0000 + at as u32,
            })
            .collect();
        Streams {
            sockets,
            members,
            of_port: vec![u32::MAX; 65_536],
            inbox: Inbox::new(),
        }
    }

    fn socket_of(&self, member: usize) -> usize {
        member * self.sockets.len() / self.members.len()
    }

    /// Where a member receives.
    pub fn local(&self, member: usize) -> SocketAddrV4 {
        match self.sockets[self.socket_of(member)].local_addr() {
            Ok(std::net::SocketAddr::V4(v4)) => v4,
            _ => unreachable!("bound to IPv4 loopback"),
        }
    }

    /// Where a member sends.
    pub fn connect(&mut self, member: usize, remote: SocketAddrV4) {
        assert!(remote.ip().is_loopback(), "load goes to loopback only");
        self.of_port[usize::from(remote.port())] = member as u32;
        self.members[member].remote = Some(remote);
    }

    /// Streams for so long; keeps what came if `keep`.
    pub fn run(&mut self, load: &Load, seconds: u64, keep: bool) -> Heard {
        let began = Instant::now();
        let mut heard = Heard {
            elapsed: Duration::ZERO,
            members: (0..load.members).map(|_| Received::default()).collect(),
            marks: Vec::new(),
            listeners: ear::listeners(load),
        };
        for tick in 0..seconds * 50 {
            self.tick(began + TICK * tick as u32, &mut heard, keep);
        }
        heard.elapsed = began.elapsed();
        heard
    }

    /// One packet of every member, in 20 slices of a millisecond.
    fn tick(&mut self, begins: Instant, heard: &mut Heard, keep: bool) {
        const SLICES: usize = 20;
        for slice in 0..SLICES {
            let until = begins + TICK * slice as u32 / SLICES as u32;
            while Instant::now() < until {
                if self.receive(heard, keep) == 0 {
                    self.wait(until);
                }
            }
            let part = |n: usize| n * self.members.len() / SLICES;
            self.send(part(slice)..part(slice + 1), heard, keep);
            self.receive(heard, keep);
        }
    }

    fn wait(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(Duration::from_micros(500)));
    }

    fn send(&mut self, members: std::ops::Range<usize>, heard: &mut Heard, keep: bool) {
        let mut batch: Vec<(SocketAddrV4, Packet)> = Vec::with_capacity(members.len());
        let mut socket = None;
        for at in members {
            let own = self.socket_of(at);
            if socket.is_some_and(|before| before != own) {
                mmsg::send(&self.sockets[socket.unwrap_or(own)], &batch);
                batch.clear();
            }
            socket = Some(own);
            let (packet, is_mark) = self.members[at].packet();
            if let Some(to) = self.members[at].remote {
                batch.push((to, packet));
            }
            if is_mark && keep && ear::marks(at) {
                heard.marks.push((at, Instant::now()));
            }
        }
        if let Some(socket) = socket {
            mmsg::send(&self.sockets[socket], &batch);
        }
    }

    fn receive(&mut self, heard: &mut Heard, keep: bool) -> usize {
        let mut count = 0;
        for socket in &self.sockets {
            loop {
                let n = self.inbox.receive(socket);
                let at = Instant::now();
                for i in 0..n {
                    let (from, packet) = self.inbox.datagram(i);
                    let member = self.of_port[usize::from(from.port())];
                    if keep && member != u32::MAX && packet.len() > 12 {
                        note(heard, member as usize, at, packet);
                    }
                }
                count += n;
                if n < mmsg::BATCH {
                    break;
                }
            }
        }
        count
    }
}

fn note(heard: &mut Heard, member: usize, at: Instant, packet: &[u8]) {
    let sequence = u16::from_be_bytes([packet[2], packet[3]]);
    let received = &mut heard.members[member];
    received.packets.push(Came { at, sequence });
    if heard.listeners.contains(&member) {
        received.payloads.push(packet[12..].into());
    }
}

impl Member {
    /// The next packet, and whether it is the first of the loop, which carries a marker's burst.
    fn packet(&mut self) -> (Packet, bool) {
        let (pt, step) = match self.codec {
            Codec::Pcmu => (0, 160),
            Codec::Opus => (107, 960),
        };
        let at = self.sent as usize % self.payloads.len();
        let mut header = [0; 12];
        header[0] = 0x80;
        header[1] = if self.sent == 0 { 0x80 | pt } else { pt };
        header[2..4].copy_from_slice(&(self.sent as u16).to_be_bytes());
        header[4..8].copy_from_slice(&self.sent.wrapping_mul(step).to_be_bytes());
        header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        self.sent += 1;
        (Packet::new(&header, &self.payloads[at]), at == 0)
    }
}

#[allow(unsafe_code)]
fn bind() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let size: libc::c_int = 8 << 20;
    for option in [
        libc::SO_RCVBUFFORCE,
        libc::SO_SNDBUFFORCE,
        libc::SO_RCVBUF,
        libc::SO_SNDBUF,
    ] {
        // SAFETY: the descriptor is open and the value is a c_int that outlives the call. A refusal leaves the default.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const size).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            );
        }
    }
    socket
}
