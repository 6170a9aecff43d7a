//! Numbers outside: by which trunk, at what address, as which number; and which trunk a request came from.

use super::{Device, Devices, Dialler, rule_for};
use crate::config::trunks::{Peer, To, Trunk};
use crate::config::{Action, Config, Outside, Pattern, Rule};
use crate::core::Core;
use sip::endpoint::{Alternative, Asked};
use sip::locate::Service;
use sip::uri::escape_user;
use sip::{Destination, Transport};
use smallvec::smallvec;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

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

/// The trunk that is known by name, and for which this address stands in the record of a dialog.
#[must_use]
pub(crate) fn trunk_by_name(core: &Core, stand_in: SocketAddr) -> Option<(&Trunk, &Arc<Service>)> {
    core.config.trunks.iter().find_map(|trunk| match &trunk.to {
        To::Name(service) if trunk.stand_in() == stand_in => Some((trunk, service)),
        _ => None,
    })
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

/// Who is asked how loaded he is, and which numbers he is called by all the same (RFC 7339).
#[must_use]
pub(crate) fn asked(config: &Config) -> Asked {
    let trunks = || config.trunks.iter().filter(|trunk| trunk.asks_load);
    let name = |trunk: &Trunk| match &trunk.to {
        To::Name(service) => Some(service.clone()),
        To::Addresses(_) => None,
    };
    let for_help = config.dialplan.iter().filter(|rule| rule.is_emergency);
    let number = |rule: &Rule| match (&rule.action, &rule.matches) {
        (Action::Trunk(outside), Pattern::Exact(dialled)) => Some(number_outside(outside, dialled)),
        _ => None,
    };
    Asked {
        addresses: trunks().flat_map(|trunk| &trunk.sources).copied().collect(),
        names: trunks().filter_map(name).collect(),
        spared: for_help.filter_map(number).collect(),
    }
}

/// The way to a number outside: the addresses of its trunk to which a listener of ours speaks, or its name.
#[must_use]
pub(crate) fn way_outside(core: &Core, trunk: TrunkIndex, number: &str) -> Devices {
    let device = |destination, contact: String| Device {
        destination,
        contact: contact.into(),
        path: "".into(),
        q: 1_000,
        aor: None,
    };
    let peers = match &trunk.of(core).to {
        To::Addresses(peers) => peers,
        To::Name(service) => {
            let (transport, uri) = (service.usual_transport(), uri_of_name(number, service));
            let named = |local| Destination::Service {
                service: service.clone(),
                local,
                only: None,
            };
            let local = listener_for(core, transport, |_| true);
            return local.map(|local| device(named(local), uri)).into_iter().collect();
        }
    };
    let way = |peer: &Peer| Some((address_of(core, peer)?, uri_outside(number, peer)));
    let mut ways: Vec<_> = peers.iter().filter_map(way).collect();
    if ways.len() < 2 {
        return ways.pop().map(|(way, uri)| device(way, uri)).into_iter().collect();
    }
    let first = ways[0].1.clone();
    let alternative = |(destination, uri): (Destination, String)| Alternative {
        destination,
        uri: uri.into_bytes().into(),
        route: Box::default(),
    };
    let ways = ways.into_iter().map(alternative).collect();
    smallvec![device(Destination::AnyOf(ways), first)]
}

fn address_of(core: &Core, peer: &Peer) -> Option<Destination> {
    let ip = peer.address.ip();
    let fits = |local: SocketAddr| local.is_ipv4() == ip.is_ipv4() && (!local.ip().is_loopback() || ip.is_loopback());
    Some(Destination::Address {
        transport: peer.transport,
        local: listener_for(core, peer.transport, fits)?,
        peer: peer.address,
    })
}

/// The Request-URI for a number at a peer.
fn uri_outside(number: &str, peer: &Peer) -> String {
    let (user, parameter) = (escape_user(number.as_bytes()), parameter(peer.transport));
    format!("sip:{user}@{}{parameter}", peer.address)
}

/// The same where it is known by name: what the operator has said, and no more (RFC 3263 section 4).
fn uri_of_name(number: &str, service: &Service) -> String {
    let user = escape_user(number.as_bytes());
    let port = service.port.map_or_else(String::new, |port| format!(":{port}"));
    let parameter = match service.transport {
        Some(Transport::Udp) => ";transport=udp",
        Some(transport) => parameter(transport),
        None => "",
    };
    format!("sip:{user}@{}{port}{parameter}", service.host)
}

fn parameter(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "",
        Transport::Tcp => ";transport=tcp",
        Transport::Tls => ";transport=tls",
        Transport::Ws | Transport::Wss => ";transport=ws",
    }
}

/// The first listener of ours of this transport that fits; one on loopback is the last resort.
fn listener_for(core: &Core, transport: Transport, fits: impl Fn(SocketAddr) -> bool) -> Option<SocketAddr> {
    let listeners = core
        .config
        .listeners
        .iter()
        .filter(|listener| listener.transport == transport);
    let mut fitting: Vec<SocketAddr> = listeners
        .map(|listener| listener.local)
        .filter(|local| fits(*local))
        .collect();
    fitting.sort_by_key(|local| local.ip().is_loopback());
    fitting.first().copied()
}
