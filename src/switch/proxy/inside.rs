//! Requests inside a dialog whose Record-Route is ours (RFC 3261 sections 16.4 and 16.12): our Route is taken off, and the
//! request goes to the other side that the record names. Nothing of the dialog is kept here, so a restart changes nothing.

use super::forward::{carried, without_credentials};
use super::identity::believed;
use super::seal::{Opened, Side};
use super::{Branch, Proxy, owner};
use crate::config::trunks::Trunk;
use crate::core::{Core, Cx};
use crate::route;
use clock::Mono;
use model::Aor;
use sip::header::NameAddr;
use sip::locate::Service;
use sip::{Destination, Flow, Message, Method, Name, Reply, Splice, Transport, Uri};
use smallvec::smallvec;
use std::net::SocketAddr;
use std::sync::Arc;

/// The dialog that a request's Route names.
#[derive(Debug)]
pub(crate) struct Passage {
    opened: Opened,
    /// So many Routes at the top are ours: two where the sides use different listeners.
    routes: usize,
    /// Our record came as the Request-URI: the hop before us routes strictly (section 16.4).
    is_strict: bool,
}

impl Passage {
    /// Who sent the request is who began the dialog.
    #[must_use]
    pub(super) fn is_by_caller(&self) -> bool {
        self.opened.by_caller
    }

    /// Whether a request comes from where the record has its sender: a stream is the same one, of a datagram the host counts,
    /// for phones use several ports. A trunk speaks from any of its addresses, and one that is known by name from those of
    /// its name.
    #[must_use]
    pub(crate) fn is_on(&self, core: &Core, flow: Flow) -> bool {
        let known = self.opened.from.flow;
        let is_known = match known.connection {
            0 => flow.peer.ip() == known.peer.ip(),
            _ => flow == known && !self.opened.is_old,
        };
        let is_trunk = || {
            route::trunk_by_name(core, known.peer).is_some()
                || route::trunk_at(core, known.peer.ip()).is_some_and(|trunk| trunk.of(core).is_at(flow.peer.ip()))
        };
        is_known || is_trunk()
    }
}

impl Proxy {
    /// The dialog through us in which a request is; `None` for all others, those with a record that was forged among them.
    #[must_use]
    pub(crate) fn passage(&self, core: &Core, request: &Message) -> Option<Passage> {
        let mut routes = request.values(Name::Route);
        let first = routes.next()?;
        let open = |record: &[u8]| {
            let tags = (request.from_tag(), request.to_tag());
            self.seal.open(&core.config.listeners, record, request.call_id(), tags)
        };
        let found = user_of(first).and_then(|record| Some((record, open(record)?)));
        if let Some((record, opened)) = found {
            let again = routes.next().and_then(user_of) == Some(record);
            return Some(Passage {
                opened,
                routes: 1 + usize::from(again),
                is_strict: false,
            });
        }
        let record = request.uri().ok()?.user()?;
        Some(Passage {
            opened: open(record)?,
            routes: 0,
            is_strict: true,
        })
    }

    /// Whether this is the user whose device has sent a request of a dialog, as the record has it.
    #[must_use]
    pub(crate) fn is_of(&self, passage: &Passage, user: &Aor) -> bool {
        passage.opened.from.owner == self.seal.owner(Some(user))
    }

    /// Whether it comes from a device of a user of ours.
    #[must_use]
    pub(crate) fn is_of_a_user(&self, passage: &Passage) -> bool {
        passage.opened.from.owner != self.seal.owner(None)
    }

    /// Passes a request of a dialog on.
    pub(crate) fn handle_inside(&mut self, cx: &mut Cx<'_>, flow: Flow, request: Message, passage: &Passage) {
        self.figures.requests += 1;
        let way = check(&request).and_then(|()| way(cx.core, passage, &request));
        let destination = match way {
            Ok(destination) => destination,
            Err(reply) => {
                self.figures.refused += 1;
                return cx.core.answer(cx.now, flow, &request, &reply);
            }
        };
        let key = self.relays.next_key();
        cx.core.working = Some(owner(key));
        if request.method() == Method::Bye {
            self.on_bye(cx, &request, passage);
        }
        let Core {
            endpoint,
            effects,
            config,
            ..
        } = &mut *cx.core;
        let splice = passed(&config.security.realm, flow, &request, passage);
        let client = endpoint.forward(cx.now.mono, destination, &splice, 0, owner(key), effects);
        drop(splice);
        let branch = Branch {
            client,
            is_pending: true,
            is_trusted: passage.opened.to.is_trusted,
            stopped: None,
        };
        let is_invite = request.method() == Method::Invite;
        // How long a person thinks about an offer is between the two; only Timer C ends it.
        let rings_until = Mono(u64::MAX);
        self.open(
            cx,
            (flow, request),
            (is_invite, rings_until),
            smallvec![branch],
            (None, None),
        );
    }

    /// Passes the ACK of a 2xx on; what cannot go on is dropped, for nothing answers an ACK.
    pub(crate) fn handle_ack(&mut self, cx: &mut Cx<'_>, flow: Flow, ack: &Message, passage: &Passage) {
        self.figures.acks += 1;
        let has_hops = ack.max_forwards() != Some(0);
        let Some(destination) = way(cx.core, passage, ack).ok().filter(|_| has_hops) else {
            return;
        };
        let Core {
            endpoint,
            effects,
            config,
            ..
        } = &mut *cx.core;
        let splice = passed(&config.security.realm, flow, ack, passage);
        endpoint.forward_ack(cx.now.mono, destination, &splice, effects);
    }
}

/// Section 16.3 steps 3 and 5.
fn check(request: &Message) -> Result<(), Reply> {
    if request.max_forwards() == Some(0) {
        return Err(Reply::new(483));
    }
    match crate::admission::unsupported_by_proxy(request) {
        Some(reply) => Err(reply),
        None => Ok(()),
    }
}

/// As it goes on.
fn passed<'m>(realm: &str, flow: Flow, request: &'m Message, passage: &Passage) -> Splice<'m> {
    let splice = carried(request, flow);
    let splice = match passage.is_strict {
        true => recovered(splice),
        false => unrouted(splice, passage.routes),
    };
    let (from, to) = (&passage.opened.from, &passage.opened.to);
    believed(without_credentials(splice, realm), from.is_trusted, to.is_trusted)
}

/// Without our Routes.
fn unrouted(splice: Splice<'_>, ours: usize) -> Splice<'_> {
    let request = splice.message();
    let mut rest = request.values(Name::Route).skip(ours).peekable();
    match (ours, rest.peek()) {
        (_, None) => splice.remove(Name::Route),
        (1, Some(_)) => splice.remove_first(Name::Route),
        (_, Some(_)) => {
            let rest: Vec<&[u8]> = rest.collect();
            splice.replace(Name::Route, rest.join(&b", "[..]))
        }
    }
}

/// What a strict router did is undone: the last Route is the target.
fn recovered(splice: Splice<'_>) -> Splice<'_> {
    let request = splice.message();
    let mut routes: Vec<&[u8]> = others(request).collect();
    let target = routes.pop().and_then(|last| NameAddr::parse(last).ok());
    let splice = match target {
        Some(target) => splice.request_uri(target.uri_bytes),
        None => splice,
    };
    match routes.is_empty() {
        true => splice.remove(Name::Route),
        false => splice.replace(Name::Route, routes.join(&b", "[..])),
    }
}

/// The Routes without any of ours, where our record is the Request-URI.
fn others(request: &Message) -> impl Iterator<Item = &[u8]> {
    let record = request.uri().ok().and_then(|uri| uri.user());
    request
        .values(Name::Route)
        .filter(move |route| user_of(route) != record)
}

/// The URI that the request goes to next (section 16.6 step 6): the topmost Route that is left, or the target.
fn next_hop<'m>(request: &'m Message, passage: &Passage) -> Option<Uri<'m>> {
    let route = match passage.is_strict {
        true => others(request).next(),
        false => request.values(Name::Route).nth(passage.routes),
    };
    match route {
        Some(route) => NameAddr::parse(route).ok()?.uri().ok(),
        None => request.uri().ok(),
    }
}

/// Where it goes: the way that the record names. The URI only says which port there, or at a trunk which of its addresses: it
/// is the word of a peer, and nobody is sent to third parties by it (S25).
fn way(core: &Core, passage: &Passage, request: &Message) -> Result<Destination, Reply> {
    let Side { flow, .. } = passage.opened.to;
    let uri = next_hop(request, passage);
    if let Some((trunk, service)) = route::trunk_by_name(core, flow.peer) {
        return Ok(way_by_name(trunk, service, flow, uri.as_ref()));
    }
    let transport = uri.and_then(|uri| transport_of(&uri)).unwrap_or(flow.transport);
    let named = uri.and_then(|uri| Some(SocketAddr::new(uri.ip()?, uri.port().unwrap_or(usual_port(transport)))));
    let named = named.filter(|named| transport == flow.transport && is_there(core, flow, *named));
    if flow.transport == Transport::Udp {
        let peer = named.unwrap_or(flow.peer);
        return Ok(Destination::Flow(Flow { peer, ..flow }));
    }
    let is_open = flow.connection != 0 && !passage.opened.is_old && !core.endpoint.is_closed(&flow);
    if is_open {
        return Ok(Destination::Flow(flow));
    }
    // RFC 5626 section 5.3.1: a flow that we did not open cannot be had again.
    let peer = match flow.connection {
        0 => Some(named.unwrap_or(flow.peer)),
        _ => named,
    };
    match (flow.transport, peer) {
        (Transport::Tcp | Transport::Tls, Some(peer)) => Ok(Destination::Address {
            transport: flow.transport,
            local: flow.local,
            peer,
        }),
        _ => Err(Reply::new(430)),
    }
}

/// To a trunk that is known by name: to the machine of its own that the URI names, or to one that the DNS names for it.
fn way_by_name(trunk: &Trunk, service: &Arc<Service>, flow: Flow, uri: Option<&Uri<'_>>) -> Destination {
    let peer = uri.and_then(|uri| {
        let transport = transport_of(uri).unwrap_or(flow.transport);
        let address = SocketAddr::new(uri.ip()?, uri.port().unwrap_or(usual_port(transport)));
        (transport == flow.transport && trunk.is_at(address.ip())).then_some(address)
    });
    if let Some(peer) = peer {
        let Flow { transport, local, .. } = flow;
        return Destination::Address { transport, local, peer };
    }
    let named = uri.filter(|uri| trunk.owns(uri.host())).and_then(Service::of);
    Destination::Service {
        service: named.map_or_else(|| service.clone(), Arc::new),
        local: flow.local,
        only: None,
    }
}

/// At the host where that side was, or another address of the same trunk.
fn is_there(core: &Core, flow: Flow, named: SocketAddr) -> bool {
    let trunk = || route::trunk_at(core, flow.peer.ip());
    named.ip() == flow.peer.ip() || trunk().is_some_and(|trunk| trunk.of(core).is_at(named.ip()))
}

fn transport_of(uri: &Uri<'_>) -> Option<Transport> {
    let name = uri.param("transport")?;
    [Transport::Udp, Transport::Tcp, Transport::Tls]
        .into_iter()
        .find(|known| known.as_str().as_bytes().eq_ignore_ascii_case(name))
}

fn usual_port(transport: Transport) -> u16 {
    match transport {
        Transport::Tls | Transport::Wss => 5061,
        Transport::Udp | Transport::Tcp | Transport::Ws => 5060,
    }
}

fn user_of(route: &[u8]) -> Option<&[u8]> {
    NameAddr::parse(route).ok()?.uri().ok()?.user()
}
