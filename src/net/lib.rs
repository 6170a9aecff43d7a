//! Sockets: UDP, TCP, TLS, websockets and the RTP workers. Moves bytes and knows framing; what they mean is the business of `sip`, `media`
//! and `switch`.
//!
//! [`udp`] and [`rtp`] are polled by threads that own their sockets; [`tcp`] runs on tokio and talks to the event loop
//! over a channel and a [`wake::Bell`]. A TLS connection is one of [`tcp`] after the handshake of [`tls`],
//! a websocket is one after the HTTP request of [`ws`]: a connection is anything that reads and writes bytes.

pub mod counters;
pub mod epoll;
pub mod files;
pub mod mmsg;
pub mod resolve;
pub mod rtp;
pub mod tcp;
pub mod tls;
pub mod udp;
pub mod wake;
pub mod ws;

use std::io;
use std::net::SocketAddr;

/// Via, Contact and SDP must name the address a peer reaches us at, and answers must leave from there: a wildcard does not
/// say which, so every address is listened on by itself.
fn refuse_wildcard(local: SocketAddr) -> io::Result<()> {
    if !local.ip().is_unspecified() {
        return Ok(());
    }
    let why =
        format!("{local}: a wildcard address cannot be written into Via and Contact: name each address to listen on");
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}
