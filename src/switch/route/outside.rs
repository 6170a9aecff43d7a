//! Numbers outside: by which trunk, at what address, as which number; and which trunk a request came from.

use super::{Device, Devices, Dialler, rule_for};
use crate::config::trunks::{Peer, Trunk};
use crate::config::{Action, Outside};
use crate::core::Core;
use sip::uri::escape_user;
use sip::{Destination, Transport};
use smallvec::smallvec;
use std::net::{IpAddr, SocketAddr};

/// A trunk's place in the configuration; good until the next reload.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrunkIndex(u16);

impl TrunkIndex {
    /// The trunk.
    #[must_use]
    pub(crate) fn of(self, core: &Core) -> &Trunk {
        &core.config.trunks[usize::from(self.0)]
    }
}

/// The trunk of that name.
#[must_use]
pub(crate) fn trunk_named(core: &Core, name: &str) -> Option<TrunkIndex> {
    find(core, |trunk| *trunk.name == *name)
}

/// The trunk that a request from this address is from.
#[must_use]
pub(crate) fn trunk_at(core: &Core, source: IpAddr) -> Option<TrunkIndex> {
    find(core, |trunk| trunk.is_at(source))
}

fn find(core: &Core, fits: impl Fn(&Trunk) -> bool) -> Option<TrunkIndex> {
    let place = core.config.trunks.iter().position(fits)?;
    u16::try_from(place).ok().map(TrunkIndex)
}

/// The number that is called outside for what was dialled here.
#[must_use]
pub(super) fn number_outside(outside: &Outside, dialled: &str) -> Box<str> {
    let rest = dialled
        .char_indices()
        .nth(outside.strip)
        .map_or("", |(at, _)| &dialled[at..]);
    format!("{}{rest}", outside.prepend).into()
}

/// The number that he who dials calls outside; what he dialled, if he does not call outside by it.
#[must_use]
pub(crate) fn number_for(core: &Core, dialler: Dialler, dialled: &str) -> Box<str> {
    match rule_for(core, dialler, dialled).map(|rule| &rule.action) {
        Some(Action::Trunk(outside)) => number_outside(outside, dialled),
        _ => dialled.into(),
    }
}

/// The way to a number outside: the first peer of its trunk to which a listener of ours speaks.
#[must_use]
pub(crate) fn way_outside(core: &Core, trunk: TrunkIndex, number: &str) -> Devices {
    let reachable = |peer: &Peer| Some((*peer, listener_for(core, peer)?));
    let Some((peer, local)) = trunk.of(core).to.iter().find_map(reachable) else {
        return Devices::new();
    };
    let Peer { transport, address } = peer;
    smallvec![Device {
        destination: Destination::Address {
            transport,
            local,
            peer: address
        },
        contact: uri_outside(number, &peer).into(),
        path: "".into(),
        q: 1_000,
    }]
}

/// The Request-URI for a number at a peer.
fn uri_outside(number: &str, peer: &Peer) -> String {
    let parameter = match peer.transport {
        Transport::Udp => "",
        Transport::Tcp => ";transport=tcp",
        Transport::Tls => ";transport=tls",
        Transport::Ws | Transport::Wss => ";transport=ws",
    };
    format!("sip:{}@{}{parameter}", escape_user(number.as_bytes()), peer.address)
}

/// Our listener of the same transport and address family; one on loopback only for a peer there.
fn listener_for(core: &Core, peer: &Peer) -> Option<SocketAddr> {
    let (ip, mut listeners) = (peer.address.ip(), core.config.listeners.iter());
    let fits = |local: SocketAddr| local.is_ipv4() == ip.is_ipv4() && (!local.ip().is_loopback() || ip.is_loopback());
    let found = listeners.find(|listener| listener.transport == peer.transport && fits(listener.local));
    found.map(|listener| listener.local)
}
