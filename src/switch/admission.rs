//! What every request from outside of all dialogs has to pass before anybody asks who sent it. Nothing here depends on
//! users, and nothing is kept (S11, S13).

use crate::core::Core;
use sip::uri::Scheme;
use sip::{Flow, Message, Method, Name, Reply, Transport};

/// Methods we take, for Allow.
pub(crate) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, MESSAGE, SUBSCRIBE, INFO, UPDATE";
/// Extensions we speak, for Supported and for what Require may ask: none yet.
const SUPPORTED: [&str; 0] = [];
/// Option tags of one request that are looked at and listed in Unsupported.
const MAX_UNSUPPORTED: usize = 16;

/// Why this request goes no further, as the answer to it; `None` if it may.
#[must_use]
pub(crate) fn refusal(core: &mut Core, flow: Flow, request: &Message, merged: bool) -> Option<Reply> {
    let method = request.method();
    // RFC 3261 section 12.2.2: a dialog we do not know. Some phones leave a To-tag in REGISTER; it means nothing there.
    if !request.to_tag().is_empty() && method != Method::Register || belongs_in_a_dialog(method) {
        return Some(Reply::new(481));
    }
    if method == Method::Other {
        return Some(Reply::new(501).header(Name::Allow, ALLOW));
    }
    unsupported_scheme(flow, request)
        .or_else(|| registers_no_sip_uri(request))
        .or_else(|| unsupported_extension(request))
        .or_else(|| too_many_hops(request))
        .or_else(|| (!is_for_us(core, flow, request)).then(|| Reply::new(403).reason("Domain Not Served Here")))
        // Section 8.2.2.2: the same request has come by another way.
        .or_else(|| merged.then(|| Reply::new(482)))
        .or_else(|| is_overloaded(core).then(|| core.overloaded()))
}

/// Whether an OPTIONS asks what the switch itself can do: answered to anybody.
#[must_use]
pub(crate) fn is_to_the_switch(request: &Message) -> bool {
    request.uri().is_ok_and(|uri| uri.user().is_none())
}

/// The 200 to OPTIONS (RFC 3261 section 11.2).
#[must_use]
pub(crate) fn capabilities(core: &Core) -> Reply {
    Reply::new(200)
        .header(Name::Allow, ALLOW)
        .header(Name::Accept, "application/sdp, text/plain")
        .header(Name::AcceptEncoding, "identity")
        .header(Name::AcceptLanguage, "en")
        .header(Name::AllowEvents, crate::subscribe::ALLOW_EVENTS)
        .header(Name::Supported, SUPPORTED.join(", "))
        .header(Name::Server, &*core.config.product)
}

/// Methods that mean nothing without a dialog (RFC 3261 section 15, 3262, 3311, 6086).
fn belongs_in_a_dialog(method: Method) -> bool {
    matches!(method, Method::Bye | Method::Prack | Method::Update | Method::Info)
}

/// Section 8.2.2.1. `sips:` promises TLS on every hop.
fn unsupported_scheme(flow: Flow, request: &Message) -> Option<Reply> {
    let is_secure = matches!(flow.transport, Transport::Tls | Transport::Wss);
    match request.uri().map(|uri| uri.scheme()) {
        Ok(Scheme::Sip) => None,
        Ok(Scheme::Sips) if is_secure => None,
        Ok(_) => Some(Reply::new(416)),
        Err(_) => Some(Reply::new(400).reason("Bad Request-URI")),
    }
}

/// Section 10.3 step 5: an address of record of another scheme is none of ours (RFC 4475 section 3.3.4).
fn registers_no_sip_uri(request: &Message) -> Option<Reply> {
    let is_sip = request.to().and_then(|to| to.uri()).is_ok_and(|uri| uri.is_sip());
    (request.method() == Method::Register && !is_sip).then(|| Reply::new(400).reason("To Is No SIP URI"))
}

/// Section 8.2.2.3. What asks proxies asks us too: a request through us is answered by us first.
fn unsupported_extension(request: &Message) -> Option<Reply> {
    let required = [Name::Require, Name::ProxyRequire]
        .into_iter()
        .flat_map(|name| request.values(name));
    let is_known = |tag: &[u8]| {
        SUPPORTED
            .iter()
            .any(|known: &&str| known.as_bytes().eq_ignore_ascii_case(tag))
    };
    let unknown: Vec<&[u8]> = required.filter(|tag| !is_known(tag)).take(MAX_UNSUPPORTED).collect();
    (!unknown.is_empty()).then(|| Reply::new(420).header(Name::Unsupported, unknown.join(&b", "[..])))
}

/// Section 16.3 step 3. Not for what ends here: REGISTER, and OPTIONS to the switch.
fn too_many_hops(request: &Message) -> Option<Reply> {
    let ends_here = match request.method() {
        Method::Register => true,
        Method::Options => is_to_the_switch(request),
        _ => false,
    };
    (!ends_here && request.max_forwards() == Some(0)).then(|| Reply::new(483))
}

/// We serve one domain, and relay for nobody.
fn is_for_us(core: &Core, flow: Flow, request: &Message) -> bool {
    request.uri().is_ok_and(|uri| core.is_local(uri.host(), flow))
}

fn is_overloaded(core: &Core) -> bool {
    usize::try_from(core.transactions()).unwrap_or(usize::MAX) >= core.config.limits.max_transactions
}
