//! Settings, and where requests go.

use crate::{Flow, Transport};
use std::net::SocketAddr;
use std::time::Duration;

/// Settings; the defaults are those of RFC 3261.
#[derive(Clone, Debug)]
pub struct Config {
    /// Round trip estimate, 500 ms.
    pub t1: Duration,
    /// Longest interval between retransmissions of non-INVITE requests and INVITE responses, 4 s.
    pub t2: Duration,
    /// How long a message stays in the network, 5 s.
    pub t4: Duration,
    /// What to write as sent-by for a listener whose own address peers cannot use: local address and `host[:port]`.
    /// All others write their address.
    pub sent_by: Vec<(SocketAddr, Box<str>)>,
}

impl Default for Config {
    fn default() -> Config {
        let ms = Duration::from_millis;
        Config {
            t1: ms(500),
            t2: ms(4_000),
            t4: ms(5_000),
            sent_by: Vec::new(),
        }
    }
}

/// Where a request goes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// On this flow, whatever the size.
    Flow(Flow),
    /// To this address. Over `Udp` a request of more than 1,300 bytes tries TCP first and comes back to UDP if TCP is
    /// refused (RFC 3261 section 18.1.1); over a stream an open connection is used or one is opened.
    Address {
        /// How.
        transport: Transport,
        /// From which listener.
        local: SocketAddr,
        /// To whom.
        peer: SocketAddr,
    },
}

impl Destination {
    /// The address it leads to.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        match *self {
            Destination::Flow(flow) => flow.peer,
            Destination::Address { peer, .. } => peer,
        }
    }

    pub(super) fn listener(&self) -> (Transport, SocketAddr) {
        match *self {
            Destination::Flow(flow) => (flow.transport, flow.local),
            Destination::Address { transport, local, .. } => (transport, local),
        }
    }
}
