//! Peers outside (carriers, other switches), and who may dial whom.

use sip::Transport;
use sip::locate::Service;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// One peer of trunks.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trunk {
    /// How rules and records name it.
    pub name: Box<str>,
    /// Where calls to it go.
    pub to: To,
    /// Requests from these addresses are the trunk's; nobody there is asked for a password.
    pub sources: Vec<IpAddr>,
    /// What it may dial at ours.
    pub dial: Arc<Dial>,
    /// As whom our users call there.
    pub caller_id: CallerId,
    /// Belongs to our trust domain (RFC 3325): its P-Asserted-Identity is believed, and it is told ours.
    pub is_trusted: bool,
    /// It is asked for its load, and what it says is heeded (RFC 7339).
    pub asks_load: bool,
    /// How its calls go through us, those from it too; a rule may say otherwise.
    pub mode: Mode,
}

/// Where a trunk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// At these addresses, the most wanted first: the next where one says nothing, says 503 or cannot be reached. At least one.
    Addresses(Vec<Peer>),
    /// Where the DNS says that this name is served (RFC 3263).
    Name(Arc<Service>),
}

/// One address of a trunk.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// How.
    pub transport: Transport,
    /// Its address.
    pub address: SocketAddr,
}

/// The number a trunk sees calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerId {
    /// The caller's own extension.
    Extension,
    /// This before the extension.
    Prefix(Box<str>),
    /// Always this.
    Number(Box<str>),
}

/// How a call goes through the switch.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The switch is party to the call: two legs, anchored media, all verbs.
    #[default]
    B2bua,
    /// The switch passes messages on (RFC 3261 section 16); media goes past it.
    Proxy,
}

/// What somebody may dial. Shared: most users may dial the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Which rules of the dial plan there are for him.
    pub context: Box<str>,
    /// Which rules with a right of their own he may use.
    pub rights: Vec<Box<str>>,
}

/// The context of users and rules that name none.
pub const INTERNAL: &str = "internal";

impl Default for Dial {
    fn default() -> Dial {
        Dial {
            context: INTERNAL.into(),
            rights: Vec::new(),
        }
    }
}

impl Trunk {
    /// What its own numbers stand before in URIs: its name, or the address of its first peer.
    #[must_use]
    pub fn host(&self) -> String {
        let peers = match &self.to {
            To::Name(service) => return service.host.to_string(),
            To::Addresses(peers) => peers,
        };
        let peer = peers.first().map(|peer| peer.address);
        peer.map_or_else(String::new, |address| match address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        })
    }

    /// The address that stands for it in the records of dialogs if it is known by name: one that nobody has (RFC 1122 section
    /// 3.2.1.3), made of its own name, so that it is found again when the configuration has changed.
    #[must_use]
    pub(crate) fn stand_in(&self) -> SocketAddr {
        let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let [a, b, c, high, low, ..] = self.name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv).to_be_bytes();
        (IpAddr::from([0, a, b, c]), u16::from_be_bytes([high, low])).into()
    }

    /// Whether a URI with this host speaks of it, or of a machine of its own.
    #[must_use]
    pub(crate) fn owns(&self, host: &[u8]) -> bool {
        let To::Name(service) = &self.to else { return false };
        let (host, own) = (host.to_ascii_lowercase(), service.host.as_bytes());
        let before = host.strip_suffix(own);
        before.is_some_and(|before| before.is_empty() || before.ends_with(b"."))
    }

    /// Whether a request from this address is the trunk's.
    #[must_use]
    pub fn is_at(&self, source: IpAddr) -> bool {
        self.sources.contains(&source)
    }
}

impl CallerId {
    /// What is shown for a user with this extension.
    #[must_use]
    pub fn of(&self, extension: &str) -> String {
        match self {
            CallerId::Extension => extension.to_owned(),
            CallerId::Prefix(prefix) => format!("{prefix}{extension}"),
            CallerId::Number(number) => number.to_string(),
        }
    }
}
