//! Many datagrams in one system call to and from many peers.
#![allow(unsafe_code)] // the two system calls have no safe wrapper in std

use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

/// Datagrams in one call.
pub const BATCH: usize = 64;
/// RTP with 20 ms of G.711 is 172 bytes.
pub const LARGEST: usize = 512;

/// A packet to be sent.
pub struct Packet {
    bytes: [u8; LARGEST],
    length: usize,
}

impl Packet {
    pub fn new(header: &[u8], payload: &[u8]) -> Packet {
        let (mut bytes, length) = ([0; LARGEST], header.len() + payload.len());
        bytes[..header.len()].copy_from_slice(header);
        bytes[header.len()..length].copy_from_slice(payload);
        Packet { bytes, length }
    }
}

/// A receive buffer for one batch.
pub struct Inbox {
    bytes: Box<[[u8; LARGEST]; BATCH]>,
    lengths: [usize; BATCH],
    from: [SocketAddrV4; BATCH],
}

impl Inbox {
    pub fn new() -> Inbox {
        Inbox {
            bytes: Box::new([[0; LARGEST]; BATCH]),
            lengths: [0; BATCH],
            from: [SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0); BATCH],
        }
    }

    /// What waits, without blocking; the number of datagrams.
    pub fn receive(&mut self, socket: &UdpSocket) -> usize {
        // SAFETY: all-zero bytes are valid for these C structs of integers and pointers.
        let (mut headers, mut vectors, mut names): (
            [libc::mmsghdr; BATCH],
            [libc::iovec; BATCH],
            [libc::sockaddr_in; BATCH],
        ) = unsafe { zeroed() };
        for i in 0..BATCH {
            vectors[i] = libc::iovec {
                iov_base: self.bytes[i].as_mut_ptr().cast(),
                iov_len: LARGEST,
            };
            let header = &mut headers[i].msg_hdr;
            header.msg_name = (&raw mut names[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_iov = &raw mut vectors[i];
            header.msg_iovlen = 1;
        }
        // SAFETY: BATCH headers point at live names and iovecs, which point at live buffers of LARGEST bytes.
        let n = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let n = usize::try_from(n).unwrap_or_default();
        for i in 0..n {
            self.lengths[i] = headers[i].msg_len as usize;
            let ip = Ipv4Addr::from(u32::from_be(names[i].sin_addr.s_addr));
            self.from[i] = SocketAddrV4::new(ip, u16::from_be(names[i].sin_port));
        }
        n
    }

    pub fn datagram(&self, i: usize) -> (SocketAddrV4, &[u8]) {
        (self.from[i], &self.bytes[i][..self.lengths[i]])
    }
}

/// Sends all of them in order; what the kernel refuses is left out.
pub fn send(socket: &UdpSocket, packets: &[(SocketAddrV4, Packet)]) {
    for packets in packets.chunks(BATCH) {
        // SAFETY: all-zero bytes are valid for these C structs of integers and pointers.
        let (mut headers, mut vectors, mut names): (
            [libc::mmsghdr; BATCH],
            [libc::iovec; BATCH],
            [libc::sockaddr_in; BATCH],
        ) = unsafe { zeroed() };
        for (i, (to, packet)) in packets.iter().enumerate() {
            names[i].sin_family = libc::AF_INET as u16;
            names[i].sin_port = to.port().to_be();
            names[i].sin_addr.s_addr = u32::from(*to.ip()).to_be();
            vectors[i] = libc::iovec {
                iov_base: packet.bytes.as_ptr().cast_mut().cast(),
                iov_len: packet.length,
            };
            let header = &mut headers[i].msg_hdr;
            header.msg_name = (&raw mut names[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_iov = &raw mut vectors[i];
            header.msg_iovlen = 1;
        }
        // SAFETY: the first `len` headers point at live names and iovecs, which point at slices the kernel only reads.
        unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), packets.len() as u32, 0) };
    }
}
