//! Many datagrams in one system call: recvmmsg and sendmmsg over memory that is reused; and many that are alike in one
//! packet on their way through the kernel (UDP_SEGMENT, UDP_GRO).

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The largest datagram UDP can carry.
pub const MAX_DATAGRAM: usize = 65_535;

/// An address as the kernel writes it, for both families: `sockaddr_in` has its port where `sockaddr_in6` has it, and
/// its address where that has the flow label, so one layout serves both and no cast is needed.
type Name = libc::sockaddr_in6;

/// Memory for one batch of up to `N` received datagrams.
pub struct Inbox<const N: usize> {
    memory: Box<[u8]>,
    stride: usize,
    slot: usize,
    names: [Name; N],
    lengths: [u32; N],
    segments: [u32; N],
    truncated: [bool; N],
    controls: Option<Box<[Control; N]>>,
    filled: usize,
}

/// Memory for one control message with a number in it, aligned as `cmsghdr` wants it.
type Control = [u64; 3];

/// One datagram of a batch.
#[derive(Debug)]
pub struct Received<'a> {
    /// Which slot it is in, for [`Inbox::slot`].
    pub slot: usize,
    /// Who sent it.
    pub peer: SocketAddr,
    /// The whole slot; the datagram is at its beginning.
    pub buffer: &'a mut [u8],
    /// How long the datagram is, as far as it fitted.
    pub length: usize,
    /// Several datagrams of one sender came as one, if this is less than `length`: each is so long, but the last may be
    /// shorter.
    pub segment: usize,
    /// It was longer than a slot and the rest is lost.
    pub truncated: bool,
}

impl<const N: usize> Inbox<N> {
    /// For datagrams of up to `slot` bytes each.
    #[must_use]
    pub fn new(slot: usize) -> Inbox<N> {
        // An odd number of cache lines apart, so that the slots' first bytes do not all fall into one cache set.
        let stride = (slot.div_ceil(64) | 1) * 64;
        Inbox {
            memory: vec![0; stride * N].into_boxed_slice(),
            stride,
            slot,
            names: [empty_name(); N],
            lengths: [0; N],
            segments: [0; N],
            truncated: [false; N],
            controls: None,
            filled: 0,
        }
    }

    /// For a socket with UDP_GRO on: what the kernel has joined is told apart by [`Received::segment`].
    #[must_use]
    pub fn expecting_joined(self) -> Inbox<N> {
        Inbox {
            controls: Some(Box::new([[0; 3]; N])),
            ..self
        }
    }

    /// Receives what waits, up to one batch, without blocking. Less than a whole batch means nothing more waits.
    ///
    /// # Errors
    /// What recvmmsg says; `WouldBlock` when nothing waits.
    #[allow(unsafe_code)]
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.filled = 0;
        // SAFETY: all-zero bytes are valid for these C structs of integers and pointers.
        let (mut headers, mut vectors): ([libc::mmsghdr; N], [libc::iovec; N]) = unsafe { mem::zeroed() };
        for (at, memory) in self.memory.chunks_exact_mut(self.stride).enumerate() {
            vectors[at] = libc::iovec {
                iov_base: memory.as_mut_ptr().cast(),
                iov_len: self.slot,
            };
            let header = &mut headers[at].msg_hdr;
            header.msg_name = (&raw mut self.names[at]).cast();
            header.msg_namelen = mem::size_of::<Name>() as u32;
            header.msg_iov = &raw mut vectors[at];
            header.msg_iovlen = 1;
            if let Some(controls) = &mut self.controls {
                header.msg_control = (&raw mut controls[at]).cast();
                header.msg_controllen = mem::size_of::<Control>() as _;
            }
        }
        // SAFETY: all N headers point to a name, a vector and maybe a control each that live through the call, every
        // vector to its own `slot` bytes of `memory`; no other reference to them is used while the kernel writes.
        let n = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                N as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        self.filled = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
        for (at, header) in headers.iter().enumerate().take(self.filled) {
            self.lengths[at] = header.msg_len.min(self.slot as u32);
            self.truncated[at] = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            self.segments[at] = joined_of(&header.msg_hdr).unwrap_or(self.lengths[at]);
        }
        Ok(self.filled)
    }

    /// The datagrams of the last [`Inbox::receive`].
    pub fn datagrams(&mut self) -> impl Iterator<Item = Received<'_>> {
        let size = self.slot;
        let lengths = self.lengths.iter().zip(&self.segments);
        let about = self.names.iter().zip(lengths).zip(&self.truncated);
        let slots = self
            .memory
            .chunks_exact_mut(self.stride)
            .zip(about)
            .enumerate()
            .take(self.filled);
        slots.filter_map(move |(slot, (memory, ((name, (&length, &segment)), &truncated)))| {
            let (peer, buffer) = (address(name)?, &mut memory[..size]);
            Some(Received {
                slot,
                peer,
                buffer,
                length: length as usize,
                segment: segment as usize,
                truncated,
            })
        })
    }

    /// What is in a slot now, for sending it on.
    #[must_use]
    pub fn slot(&self, slot: usize) -> &[u8] {
        &self.memory[slot * self.stride..][..self.slot]
    }
}

/// The length of each datagram but the last, where the kernel has joined several (UDP_GRO).
#[allow(unsafe_code)]
fn joined_of(header: &libc::msghdr) -> Option<u32> {
    // SAFETY: the kernel has filled the control memory of `header` up to msg_controllen, and the CMSG functions stay in
    // it; the data of this message is an int, which UDP_GRO's control memory has room for.
    let segment = unsafe {
        let control = libc::CMSG_FIRSTHDR(&raw const *header).as_ref()?;
        ((control.cmsg_level, control.cmsg_type) == (libc::SOL_UDP, libc::UDP_GRO))
            .then(|| std::ptr::read_unaligned(libc::CMSG_DATA(control).cast::<libc::c_int>()))
    };
    u32::try_from(segment?).ok().filter(|segment| *segment > 0)
}

/// Whether neighbours of one length to one peer may leave as one (UDP_SEGMENT): the way through the kernel, most of what a
/// datagram costs, is then gone once for all of them.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Joining {
    /// Each by itself.
    Never,
    /// Joined where they are alike.
    Alike,
}

/// Datagrams joined into one, at most: the kernel's own bound since 4.18 (now 128).
const MAX_JOINED: usize = 64;
/// Bytes joined into one: below what fits into an IP packet.
const MAX_JOINED_BYTES: usize = 65_000;
/// A longer datagram goes alone: it may need fragments, and joined ones may not.
const MAX_SEGMENT: usize = 1_400;

/// What is joined so far in the header that is being filled.
struct Joined {
    peer: SocketAddr,
    segment: usize,
    count: usize,
    bytes: usize,
    /// A shorter one was the last.
    is_closed: bool,
}

impl Joined {
    fn new(peer: SocketAddr, length: usize) -> Joined {
        Joined {
            peer,
            segment: length,
            count: 1,
            bytes: length,
            is_closed: length == 0 || length > MAX_SEGMENT,
        }
    }

    fn takes(&mut self, peer: SocketAddr, length: usize) -> bool {
        let fits = self.count < MAX_JOINED && self.bytes + length <= MAX_JOINED_BYTES;
        let takes = !self.is_closed && fits && length > 0 && length <= self.segment && peer == self.peer;
        if takes {
            self.count += 1;
            self.bytes += length;
            self.is_closed = length < self.segment;
        }
        takes
    }
}

/// Sends the first `N` of these datagrams without blocking; how many the kernel took, from the first on.
///
/// # Errors
/// Why the first one, or those joined with it, was refused.
#[allow(unsafe_code)]
pub fn send<'a, const N: usize>(
    socket: BorrowedFd<'_>,
    joining: Joining,
    datagrams: impl Iterator<Item = (SocketAddr, &'a [u8])>,
) -> io::Result<usize> {
    // SAFETY: all-zero bytes are valid for these C structs of integers and pointers.
    let (mut headers, mut vectors): ([libc::mmsghdr; N], [libc::iovec; N]) = unsafe { mem::zeroed() };
    let mut names = [empty_name(); N];
    let mut controls: [Control; N] = [[0; 3]; N];
    let mut counts = [0; N];
    let mut joined: Option<Joined> = None;
    let mut used = 0;
    for (at, (peer, bytes)) in datagrams.take(N).enumerate() {
        // The kernel only reads through iov_base here; the C type has no const.
        vectors[at] = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        if let Some(joined) = joined.as_mut().filter(|_| joining == Joining::Alike)
            && joined.takes(peer, bytes.len())
        {
            let header = &mut headers[used - 1].msg_hdr;
            header.msg_iovlen += 1;
            counts[used - 1] += 1;
            if counts[used - 1] == 2 {
                write_segment(header, &mut controls[used - 1], joined.segment);
            }
            continue;
        }
        let header = &mut headers[used].msg_hdr;
        header.msg_namelen = write_name(&mut names[used], peer);
        header.msg_name = (&raw mut names[used]).cast();
        header.msg_iov = &raw mut vectors[at];
        header.msg_iovlen = 1;
        counts[used] = 1;
        joined = Some(Joined::new(peer, bytes.len()));
        used += 1;
    }
    // SAFETY: the first `used` headers point to a name, vectors one behind the other and maybe a control that live through
    // the call, and every vector to a slice borrowed for 'a, which the kernel only reads.
    let n = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            used as u32,
            libc::MSG_DONTWAIT,
        )
    };
    let sent = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
    Ok(counts[..sent].iter().sum())
}

/// Asks the kernel to cut what `header` points to into datagrams of this length.
#[allow(unsafe_code)]
fn write_segment(header: &mut libc::msghdr, control: &mut Control, segment: usize) {
    const LENGTH: u32 = mem::size_of::<u16>() as u32;
    header.msg_control = control.as_mut_ptr().cast();
    // SAFETY: `control` is aligned and as large as a header with this data (24 bytes), which is what msg_controllen says,
    // so CMSG_FIRSTHDR gives its beginning and CMSG_DATA a place inside.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(LENGTH) as _;
        let message = libc::CMSG_FIRSTHDR(&raw const *header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(LENGTH) as _;
        // At most MAX_SEGMENT.
        std::ptr::write_unaligned(libc::CMSG_DATA(message).cast::<u16>(), segment as u16);
    }
}

/// Takes one entry off the socket's error queue: whom the failed datagram was for, where an ICMP message says that it
/// cannot be delivered; `Some(None)` for entries of other kinds, `None` when the queue is empty.
#[allow(unsafe_code)]
pub fn take_undelivered(socket: BorrowedFd<'_>) -> Option<Option<SocketAddr>> {
    let mut name = empty_name();
    let mut control = [0u64; 32]; // aligned as cmsghdr wants it; an entry takes about 80 bytes
    // SAFETY: all-zero bytes are valid for this C struct.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = mem::size_of::<Name>() as u32;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = mem::size_of_val(&control) as _;
    // SAFETY: `header` points to `name` and `control` with their true sizes, both alive through the call; no vector.
    let n = unsafe {
        libc::recvmsg(
            socket.as_raw_fd(),
            &raw mut header,
            libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT,
        )
    };
    if n < 0 {
        return None;
    }
    // SAFETY: the kernel has filled `header` with control messages inside `control`; the CMSG functions walk within
    // msg_controllen, and an error message's data begins with a whole sock_extended_err.
    let undeliverable = unsafe {
        let mut found = false;
        let mut control = libc::CMSG_FIRSTHDR(&raw const header);
        while !control.is_null() {
            if matches!(
                ((*control).cmsg_level, (*control).cmsg_type),
                (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR)
            ) {
                let error: libc::sock_extended_err = std::ptr::read_unaligned(libc::CMSG_DATA(control).cast());
                found = is_unreachable(error.ee_origin, error.ee_type, error.ee_code);
            }
            control = libc::CMSG_NXTHDR(&raw const header, control);
        }
        found
    };
    Some(address(&name).filter(|_| undeliverable))
}

/// RFC 3261 section 18.4: unreachable and parameter problem are reported; source quench, time exceeded and too big are not.
fn is_unreachable(origin: u8, kind: u8, code: u8) -> bool {
    match origin {
        libc::SO_EE_ORIGIN_ICMP => (kind == 3 && code != 4) || kind == 12,
        libc::SO_EE_ORIGIN_ICMP6 => kind == 1 || kind == 4,
        _ => false,
    }
}

fn empty_name() -> Name {
    Name {
        sin6_family: 0,
        sin6_port: 0,
        sin6_flowinfo: 0,
        sin6_addr: libc::in6_addr { s6_addr: [0; 16] },
        sin6_scope_id: 0,
    }
}

fn address(name: &Name) -> Option<SocketAddr> {
    let port = u16::from_be(name.sin6_port);
    match i32::from(name.sin6_family) {
        libc::AF_INET => Some((Ipv4Addr::from(name.sin6_flowinfo.to_ne_bytes()), port).into()),
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Writes an address; gives the length of its family's struct.
fn write_name(name: &mut Name, peer: SocketAddr) -> u32 {
    name.sin6_port = peer.port().to_be();
    match peer {
        SocketAddr::V4(v4) => {
            name.sin6_family = libc::AF_INET as u16;
            name.sin6_flowinfo = u32::from_ne_bytes(v4.ip().octets());
            mem::size_of::<libc::sockaddr_in>() as u32
        }
        SocketAddr::V6(v6) => {
            name.sin6_family = libc::AF_INET6 as u16;
            name.sin6_addr.s6_addr = v6.ip().octets();
            name.sin6_scope_id = v6.scope_id();
            mem::size_of::<libc::sockaddr_in6>() as u32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_survive_the_kernels_layout() {
        for text in [
            "127.0.0.2:5060",
            "255.1.2.3:65535",
            "[2001:db8::7]:5061",
            "[fe80::1%3]:5062",
        ] {
            let peer: SocketAddr = text.parse().unwrap();
            let mut name = empty_name();
            write_name(&mut name, peer);
            assert_eq!(address(&name), Some(peer));
        }
        assert_eq!(address(&empty_name()), None);
    }

    #[test]
    fn tells_unreachable_from_what_passes() {
        let icmp = libc::SO_EE_ORIGIN_ICMP;
        assert!(is_unreachable(icmp, 3, 3), "port unreachable");
        assert!(!is_unreachable(icmp, 3, 4), "fragmentation needed");
        assert!(!is_unreachable(icmp, 11, 0), "time exceeded");
        assert!(
            is_unreachable(libc::SO_EE_ORIGIN_ICMP6, 1, 4),
            "port unreachable, version 6"
        );
        assert!(!is_unreachable(libc::SO_EE_ORIGIN_ICMP6, 2, 0), "packet too big");
        assert!(!is_unreachable(libc::SO_EE_ORIGIN_LOCAL, 3, 3), "our own");
    }
}
