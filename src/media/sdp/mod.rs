//! SDP (RFC 8866) and offer/answer (RFC 3264).
//!
//! The model keeps what a switch that anchors media can use: it never forwards a description, it writes its own. So
//! order within attributes and streams is kept; lines that only people read (`i=`, `u=`, `e=`, `p=`, `r=`, `z=`, `k=`) are
//! checked and dropped.

mod crypto;
mod format;
mod offer_answer;
mod parse;
mod print;

pub use crypto::{SrtpPolicy, SrtpUse};
pub use format::SdpFormat;
pub use offer_answer::{Agreed, AgreedFormat, Local, Negotiation, OfferAnswerError, decline};
pub use parse::{SdpError, SdpErrorKind};

use std::fmt;
use std::net::IpAddr;

/// Longest description read: a UDP datagram's worth of streams with room to spare.
pub const MAX_SIZE: usize = 16 * 1024;
/// Most `m=` lines: browsers in conferences use about ten.
pub const MAX_STREAMS: usize = 16;
/// Most `a=` lines in the whole description: a browser offer holds about 150.
pub const MAX_ATTRIBUTES: usize = 256;
/// Most payload formats of one stream: there are 128 payload types.
pub const MAX_FORMATS: usize = 128;

/// A session description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionDescription {
    /// `o=`
    pub origin: Origin,
    /// `s=`
    pub name: Box<str>,
    /// `c=` of the session, for streams that have none.
    pub connection: Option<Connection>,
    /// `a=` of the session.
    pub attributes: Vec<Attribute>,
    /// `m=` and what follows each.
    pub streams: Vec<Stream>,
}

/// `o=`: who made the description, and which version it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `-` when the maker has no user name.
    pub username: Box<str>,
    /// Digits; kept as text, because makers use more than 64 bits.
    pub session_id: Box<str>,
    /// Digits; rises when the description changes.
    pub version: Box<str>,
    /// Where it was made.
    pub address: Address,
}

/// `c=`: where media goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The address without multicast TTL and count.
    pub address: Address,
}

/// An `IN IP4` or `IN IP6` address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A literal.
    Ip(IpAddr),
    /// A host name, which nobody here resolves, with the address family that was given for it (`IP4`, `IP6`).
    Name {
        /// The line said IP6.
        v6: bool,
        /// The name.
        host: Box<str>,
    },
}

impl Address {
    /// The literal, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Ip(ip) => Some(*ip),
            Address::Name { .. } => None,
        }
    }
}

/// `a=name` or `a=name:value`. Its `Debug` does not show keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Case counts (RFC 8866 section 5.13).
    pub name: Box<str>,
    /// What follows the colon.
    pub value: Option<Box<str>>,
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.as_deref().unwrap_or_default();
        let shown = if &*self.name == "crypto" { "***" } else { value };
        write!(f, "a={}:{shown}", self.name)
    }
}

impl Attribute {
    /// `a=name`
    #[must_use]
    pub fn flag(name: &str) -> Attribute {
        Attribute {
            name: name.into(),
            value: None,
        }
    }

    /// `a=name:value`
    #[must_use]
    pub fn value(name: &str, value: impl Into<Box<str>>) -> Attribute {
        Attribute {
            name: name.into(),
            value: Some(value.into()),
        }
    }
}

/// One `m=` line and the lines under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// `audio`, `video`, `image`, ...
    pub kind: Box<str>,
    /// 0 refuses or ends the stream.
    pub port: u16,
    /// Number of ports after the slash; 1 if absent.
    pub port_count: u16,
    /// `RTP/AVP`, `RTP/SAVP`, `udptl`, ...
    pub protocol: Box<str>,
    /// Payload types for RTP, else whatever the protocol defines.
    pub formats: Vec<Box<str>>,
    /// `c=` of the stream.
    pub connection: Option<Connection>,
    /// `a=` of the stream.
    pub attributes: Vec<Attribute>,
}

impl Stream {
    /// The value of the first attribute of this name (empty for a flag).
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        find(&self.attributes, name)
    }
}

impl SessionDescription {
    /// The value of the first session attribute of this name (empty for a flag).
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        find(&self.attributes, name)
    }

    /// Where a stream's media goes: its own `c=`, else that of the session.
    #[must_use]
    pub fn address_of<'a>(&'a self, stream: &'a Stream) -> Option<&'a Address> {
        stream
            .connection
            .as_ref()
            .or(self.connection.as_ref())
            .map(|connection| &connection.address)
    }

    /// The direction of a stream as its maker sees it: its own attribute, else the session's, else sendrecv.
    #[must_use]
    pub fn direction_of(&self, stream: &Stream) -> Direction {
        direction(&stream.attributes)
            .or_else(|| direction(&self.attributes))
            .unwrap_or_default()
    }
}

fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|attribute| &*attribute.name == name)?;
    Some(found.value.as_deref().unwrap_or(""))
}

fn direction(attributes: &[Attribute]) -> Option<Direction> {
    attributes
        .iter()
        .find_map(|attribute| Direction::from_name(&attribute.name))
}

/// Which way media flows, as the maker of a description sees it (RFC 3264 section 5.1).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// Only from the maker: it holds the other side, or plays to it.
    SendOnly,
    /// Only to the maker.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// From what the maker does.
    #[must_use]
    pub fn new(sends: bool, receives: bool) -> Direction {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// The maker sends.
    #[must_use]
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// The maker receives.
    #[must_use]
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The same as the other side sees it.
    #[must_use]
    pub fn reversed(self) -> Direction {
        Direction::new(self.receives(), self.sends())
    }

    /// What both allow.
    #[must_use]
    pub fn and(self, other: Direction) -> Direction {
        Direction::new(self.sends() && other.sends(), self.receives() && other.receives())
    }

    /// The attribute's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    fn from_name(name: &str) -> Option<Direction> {
        [
            Direction::SendRecv,
            Direction::SendOnly,
            Direction::RecvOnly,
            Direction::Inactive,
        ]
        .into_iter()
        .find(|direction| direction.name() == name)
    }
}

#[cfg(test)]
mod tests;
