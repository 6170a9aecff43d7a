//! Settings, and where requests go.

use crate::locate::Service;
use crate::{Flow, Transport};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
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
    /// Where we listen, the preferred listener first: what is sent to a name leaves from one of them.
    pub listeners: Vec<(Transport, SocketAddr)>,
    /// A target that says nothing for so long, not even 100, is given up if there is another one. 2 s.
    pub patience: Duration,
    /// Timers for which there is room from the start: to make room for very many takes long.
    pub timers: usize,
}

impl Default for Config {
    fn default() -> Config {
        let ms = Duration::from_millis;
        Config {
            t1: ms(500),
            t2: ms(4_000),
            t4: ms(5_000),
            sent_by: Vec::new(),
            listeners: Vec::new(),
            patience: ms(2_000),
            timers: 0,
        }
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// To whoever serves a name (RFC 3263): the first target, and the next one where that says nothing, says 503 or cannot
    /// be reached.
    Service {
        /// What the URI says.
        service: Arc<Service>,
        /// From this listener, if it speaks the transport that is found.
        local: SocketAddr,
        /// Only to targets at this address: who is heard there, and is trusted no further, named the service (S25).
        only: Option<IpAddr>,
    },
    /// By the first of these ways, and by the next one where that fails: flows of one device (RFC 5626 section 5.3, status
    /// 430), the addresses of a peer, a name and the flow on which its owner was heard. The request is written for the first.
    /// At least one.
    AnyOf(Arc<[Alternative]>),
}

/// One way of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// Where it leads.
    pub destination: Destination,
    /// What a request that goes there has as Request-URI; empty: what it was written with, and its Route.
    pub uri: Box<[u8]>,
    /// And as Route; empty for none.
    pub route: Box<[u8]>,
}

impl Alternative {
    /// The request goes there as it was written.
    #[must_use]
    pub fn as_written(destination: Destination) -> Alternative {
        Alternative {
            destination,
            uri: Box::default(),
            route: Box::default(),
        }
    }
}

impl Destination {
    /// What is known of the way before it is gone: for an address without an open stream the connection is 0, for a name
    /// the peer is the address of nobody.
    #[must_use]
    pub fn outlook(&self) -> Flow {
        match self {
            Destination::Flow(flow) => *flow,
            Destination::Address { transport, local, peer } => Flow {
                transport: *transport,
                local: *local,
                peer: *peer,
                connection: 0,
            },
            Destination::Service { service, local, .. } => Flow {
                transport: service.usual_transport(),
                local: *local,
                peer: nobody(*local),
                connection: 0,
            },
            Destination::AnyOf(ways) => ways[0].destination.outlook(),
        }
    }

    /// The address it leads to; that of nobody, if that has to be looked up.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.outlook().peer
    }

    /// Whatever of it is taken, it is a way under TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        match self {
            Destination::Flow(flow) => flow.transport.is_secure(),
            Destination::Address { transport, .. } => transport.is_secure(),
            Destination::Service { service, .. } => service.usual_transport().is_secure(),
            Destination::AnyOf(ways) => ways.iter().all(|way| way.destination.is_secure()),
        }
    }

    pub(super) fn listener(&self) -> (Transport, SocketAddr) {
        let Flow { transport, local, .. } = self.outlook();
        (transport, local)
    }
}

/// The unspecified address of a family.
fn nobody(like: SocketAddr) -> SocketAddr {
    let ip = match like {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    SocketAddr::new(ip, 0)
}
