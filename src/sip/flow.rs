//! Where a message came from and where its answer goes.

use std::net::SocketAddr;

/// How messages travel. `Tls`, `Ws` and `Wss` are streams too.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams (RFC 3261 section 18).
    Udp,
    /// A stream.
    Tcp,
    /// A stream under TLS.
    Tls,
    /// A websocket (RFC 7118).
    Ws,
    /// A websocket under TLS.
    Wss,
}

impl Transport {
    /// Reliable transports need no retransmission: timers A, E, G are off and D, I, J, K are zero.
    #[must_use]
    pub fn is_reliable(self) -> bool {
        self != Transport::Udp
    }

    /// Under TLS.
    #[must_use]
    pub fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// As written in Via: `UDP`, `TCP`, `TLS`, `WS`, `WSS`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }
}

/// A way to one peer: for UDP a pair of addresses, for streams one connection. Plain and small: copied with each message.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// How.
    pub transport: Transport,
    /// Our side: what we write into Via and Contact.
    pub local: SocketAddr,
    /// The other side as the socket saw it.
    pub peer: SocketAddr,
    /// Which connection, never reused while the node runs; 0 for datagrams.
    pub connection: u64,
}
