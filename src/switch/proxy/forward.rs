//! One request to one target (RFC 3261 section 16.6): the bytes as they came, with what a proxy has to change.

use super::best::is_of;
use super::identity;
use super::seal::{Seal, Side};
use super::{Branch, owner};
use crate::arena::Key;
use crate::config::trunks::To;
use crate::core::{Core, Cx};
use crate::route::{Device, Dialler, TrunkIndex};
use crate::sips;
use sip::{Flow, Message, Method, Name, Splice, Transport};

/// A request that is passed on, as it came.
#[derive(Clone, Debug)]
pub(super) struct Onward {
    pub(super) request: Message,
    /// Where it came from.
    pub(super) source: Flow,
    /// Who sent it.
    pub(super) dialler: Dialler,
    /// The trunk its targets belong to.
    pub(super) trunk: Option<TrunkIndex>,
    /// For finding loops.
    pub(super) mark: u64,
    /// Max-Breadth of each branch (RFC 5393 section 5.3.3).
    pub(super) breadth: usize,
}

impl Onward {
    /// Sends it to one target.
    pub(super) fn send(&self, cx: &mut Cx<'_>, seal: &Seal, target: &Device, relay: Key<super::Relay>) -> Branch {
        let core = &mut *cx.core;
        let is_trusted = self.trunk.is_some_and(|trunk| trunk.of(core).is_trusted);
        let mut splice = carried(&self.request, self.source)
            .request_uri(target.contact.as_bytes())
            .remove(Name::Route)
            .set_first(Name::MaxBreadth, self.breadth.to_string().into_bytes());
        if !target.path.is_empty() {
            splice = splice.prepend(Name::Route, target.path.as_bytes());
        }
        splice = without_credentials(splice, &core.config.security.realm);
        splice = identity::of_request(core, splice, self.dialler, self.trunk);
        if makes_dialog(self.request.method()) {
            let callee = Side {
                flow: self.outlook(core, target),
                is_trusted,
                owner: seal.owner(target.aor.as_ref()),
            };
            splice = self.recorded(core, seal, splice, callee);
        }
        let Core { endpoint, effects, .. } = core;
        let client = endpoint.forward(
            cx.now.mono,
            target.destination.clone(),
            &splice,
            self.mark,
            owner(relay),
            effects,
        );
        Branch {
            client,
            is_pending: true,
            is_trusted,
            stopped: None,
        }
    }

    /// With our Record-Route (step 4): one for both sides, or where listeners or transports differ one for each, so that each
    /// side is told an address it can reach (RFC 5658).
    fn recorded<'m>(&self, core: &Core, seal: &Seal, splice: Splice<'m>, callee: Side) -> Splice<'m> {
        let user = match self.dialler {
            Dialler::User(user) => Some(&core.users[user].aor),
            Dialler::Trunk(_) => None,
        };
        let caller = Side {
            flow: self.source,
            is_trusted: self.trusts_sender(core),
            owner: seal.owner(user),
        };
        let out = callee.flow;
        let (call_id, tag) = (self.request.call_id(), self.request.from_tag());
        let Some(record) = seal.close(&core.config.listeners, (caller, callee), call_id, tag) else {
            return splice;
        };
        let differs = (self.source.transport, self.source.local) != (out.transport, out.local);
        let is_secure = sips::is_asked(&self.request);
        let value = |flow: Flow| record_route(core, &record, flow, is_secure);
        let splice = splice.prepend(Name::RecordRoute, value(self.source));
        match differs {
            true => splice.prepend(Name::RecordRoute, value(out)),
            false => splice,
        }
    }

    /// The way that the record names; of a trunk that is known by name, which one it is.
    fn outlook(&self, core: &Core, target: &Device) -> Flow {
        let flow = target.flow();
        match self
            .trunk
            .map(|trunk| trunk.of(core))
            .filter(|trunk| matches!(trunk.to, To::Name(_)))
        {
            Some(trunk) => Flow {
                peer: trunk.stand_in(),
                ..flow
            },
            None => flow,
        }
    }

    fn trusts_sender(&self, core: &Core) -> bool {
        identity::trusts(core, self.dialler)
    }
}

/// What is changed of every request that is passed on, in a dialog or not: the stamp of its topmost Via (section 18.2.1), its
/// hops (step 3).
pub(super) fn carried(request: &Message, source: Flow) -> Splice<'_> {
    Splice::of(request).received(source.peer).decrement_max_forwards()
}

/// Credentials for our realm were for us (section 22.3); they would only help others to guess.
pub(super) fn without_credentials<'m>(mut splice: Splice<'m>, realm: &str) -> Splice<'m> {
    let request = splice.message();
    for name in [Name::Authorization, Name::ProxyAuthorization] {
        if request.lines(name).any(|line| is_of(line, realm)) {
            splice = splice.remove(name);
            for line in request.lines(name).filter(|line| !is_of(line, realm)) {
                splice = splice.append(name, line);
            }
        }
    }
    splice
}

/// Requests in whose dialogs we stay: those that begin one, and any that we do not know.
fn makes_dialog(method: Method) -> bool {
    matches!(
        method,
        Method::Invite | Method::Subscribe | Method::Refer | Method::Notify | Method::Other
    )
}

/// `<sip:RECORD@us;lr>` as this side reaches us; `<sips:...>` in a dialog of such URIs.
fn record_route(core: &Core, record: &[u8], flow: Flow, is_secure: bool) -> Vec<u8> {
    let scheme: &[u8] = if is_secure { b"<sips:" } else { b"<sip:" };
    let parameter = match flow.transport {
        Transport::Udp => "",
        Transport::Tls if is_secure => "",
        Transport::Tcp => ";transport=tcp",
        Transport::Tls => ";transport=tls",
        Transport::Ws | Transport::Wss => ";transport=ws",
    };
    let host = core.endpoint.sent_by(flow.local);
    let mut value = Vec::with_capacity(record.len() + host.len() + 32);
    for piece in [scheme, record, b"@", host.as_bytes(), parameter.as_bytes(), b";lr>"] {
        value.extend_from_slice(piece);
    }
    value
}
