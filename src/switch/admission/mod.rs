//! What every request from outside of all dialogs has to pass before anybody asks who sent it. Nothing here depends on
//! users, and nothing is kept of the request (S11, S13). `door` decides before a packet is read at all, from what is
//! remembered of its sender.

mod bans;
mod door;
mod emergency;
mod known;
mod load;
mod pace;
mod recent;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use bans::OPERATOR;
pub use door::Admit;
pub(crate) use door::{Admission, admit, ban, offend, user_may};
pub(crate) use emergency::{CALLS as EMERGENCY_CALLS, is_emergency};
pub(crate) use load::Load;

use crate::call::wishes;
use crate::config::trunks::Mode;
use crate::core::Core;
use crate::route::dialplan;
use crate::security;
use clock::Now;
use sip::uri::Scheme;
use sip::{Flow, Message, Method, Name, Reply, Transport, Uri};

/// Methods we take, for Allow.
pub(crate) const ALLOW: &str =
    "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, MESSAGE, SUBSCRIBE, PUBLISH, INFO, UPDATE, PRACK, REFER";
/// Extensions we speak, for Supported and for what Require may ask: RFC 3262, 4028, 3891, 3911, 4488, 3327, 5626, 5627,
/// 3323, 4662.
const SUPPORTED: [&str; 10] = [
    "100rel",
    "timer",
    "replaces",
    "join",
    "norefersub",
    "path",
    "outbound",
    "gruu",
    "privacy",
    crate::subscribe::EVENTLIST,
];
/// Option tags of one request that are looked at and listed in Unsupported.
const MAX_UNSUPPORTED: usize = 16;

/// Why this request goes no further, as the answer to it; `None` if it may.
#[must_use]
pub(crate) fn refusal(core: &mut Core, flow: Flow, request: &Message, merged: bool) -> Option<Reply> {
    if may_be_passed_on(core, request) {
        return refusal_by_proxy(core, flow, request);
    }
    refusal_by_switch(core, flow, request, merged)
}

/// What holds for a request that a rule may pass on (RFC 3261 section 16.3): its method and the extensions it asks of user
/// agents are not ours to judge, and a copy of it may come by another way.
fn refusal_by_proxy(core: &mut Core, flow: Flow, request: &Message) -> Option<Reply> {
    // Not by us: what we recorded is known by its Route.
    if !request.to_tag().is_empty() {
        return Some(Reply::new(481));
    }
    let Ok(uri) = request.uri() else {
        return Some(Reply::new(400).reason("Bad Request-URI"));
    };
    unsupported_scheme(flow, &uri)
        .or_else(|| too_many_hops(request))
        .or_else(|| (!core.is_local(uri.host(), flow)).then(|| Reply::new(403).reason("Domain Not Served Here")))
        .or_else(|| unsupported_by_proxy(request))
        .or_else(|| too_private(request))
        .or_else(|| is_overloaded(core, flow, request).then(|| core.overloaded()))
}

/// Whether a rule of the dial plan, for whomever it is there, passes on what is asked of its Request-URI. REGISTER and PUBLISH
/// are for the switch, and so are subscriptions to what it knows itself.
#[must_use]
pub(crate) fn may_be_passed_on(core: &Core, request: &Message) -> bool {
    let is_ours = match request.method() {
        Method::Register | Method::Publish | Method::Cancel | Method::Ack => true,
        Method::Subscribe => crate::subscribe::serves(request),
        _ => false,
    };
    let mut rules = core.config.dialplan.iter().filter(|rule| rule.mode == Mode::Proxy);
    if is_ours || rules.clone().next().is_none() {
        return false;
    }
    let dialled = core.dialled(request).unwrap_or_default();
    rules.any(|rule| dialplan::matches(&rule.matches, &dialled))
}

/// Why a request that is not passed on goes no further.
#[must_use]
pub(crate) fn refusal_by_switch(core: &mut Core, flow: Flow, request: &Message, merged: bool) -> Option<Reply> {
    let method = request.method();
    // RFC 3261 section 12.2.2: a dialog we do not know. Some phones leave a To-tag in REGISTER; it means nothing there.
    if !request.to_tag().is_empty() && method != Method::Register || belongs_in_a_dialog(method) {
        return Some(Reply::new(481));
    }
    if method == Method::Other {
        return Some(Reply::new(501).header(Name::Allow, ALLOW));
    }
    let Ok(uri) = request.uri() else {
        return Some(Reply::new(400).reason("Bad Request-URI"));
    };
    unsupported_scheme(flow, &uri)
        .or_else(|| unsupported_extension(request))
        .or_else(|| too_many_hops(request))
        // We serve one domain, and relay for nobody.
        .or_else(|| (!core.is_local(uri.host(), flow)).then(|| Reply::new(403).reason("Domain Not Served Here")))
        // Section 8.2.2.2: the same request has come by another way.
        .or_else(|| merged.then(|| Reply::new(482)))
        .or_else(|| is_overloaded(core, flow, request).then(|| core.overloaded()))
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
fn unsupported_scheme(flow: Flow, uri: &Uri<'_>) -> Option<Reply> {
    let is_secure = matches!(flow.transport, Transport::Tls | Transport::Wss);
    let is_fine = uri.scheme() == Scheme::Sip || uri.scheme() == Scheme::Sips && is_secure;
    (!is_fine).then(|| Reply::new(416))
}

/// The answer to a request whose From is none of our users: the same whomever it is for. An address of record of another
/// scheme cannot be registered anywhere (section 10.3 step 5; RFC 4475 section 3.3.4).
#[must_use]
pub(crate) fn from_outside(request: &Message) -> Reply {
    let is_sip = request.to().and_then(|to| to.uri()).is_ok_and(|uri| uri.is_sip());
    if request.method() == Method::Register && !is_sip {
        return Reply::new(400).reason("To Is No SIP URI");
    }
    Reply::new(403)
}

/// Section 8.2.2.3. What asks proxies asks us too: a request through us is answered by us first.
#[must_use]
pub(crate) fn unsupported_extension(request: &Message) -> Option<Reply> {
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

/// Section 16.3 step 5: no extension of proxies is known here.
#[must_use]
pub(crate) fn unsupported_by_proxy(request: &Message) -> Option<Reply> {
    let required: Vec<&[u8]> = request.values(Name::ProxyRequire).take(MAX_UNSUPPORTED).collect();
    (!required.is_empty()).then(|| Reply::new(420).header(Name::Unsupported, required.join(&b", "[..])))
}

/// RFC 3323 section 5: a proxy can keep an assertion to itself, and no more; who calls that too little is not to be passed on.
fn too_private(request: &Message) -> Option<Reply> {
    let asks = ["user", "header", "session"];
    let is_critical = wishes(request, "critical") && asks.iter().any(|wish| wishes(request, wish));
    is_critical.then(|| Reply::new(500).reason("Privacy Service Unavailable"))
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

/// Whether new work is refused now: there is too much of it, or it has waited so long that what is to come would wait too
/// long (RFC 7339's measure: the delay of the queue). Phones that refresh their registration or call for help are never sent
/// away.
fn is_overloaded(core: &mut Core, flow: Flow, request: &Message) -> bool {
    let (transactions, most) = (core.transactions(), core.config.limits.max_transactions);
    let are_there = |most: usize| usize::try_from(transactions).unwrap_or(usize::MAX) >= most;
    let is_refresh = || request.method() == Method::Register && core.admission.knows(&flow);
    let is_late = core.waited > core.config.limits.queue_delay && !is_refresh();
    let is_refused = match are_there(most) || is_late {
        true => are_there(most + emergency::TRANSACTIONS) || !is_emergency(core, &flow, request),
        false => false,
    };
    load::note(core, is_refused);
    is_refused
}

/// Whether a request comes from a tool that looks for victims, and says so: it gets no answer, and its source is banned.
/// Who shows credentials is judged by those.
#[must_use]
pub(crate) fn is_scanner(core: &mut Core, now: Now, flow: Flow, request: &Message) -> bool {
    let abuse = &core.config.security.abuse;
    if core.admission.exempts(flow.peer.ip()) || request.header(Name::Authorization).is_some() {
        return false;
    }
    let says = |name| request.header(name).is_some_and(|value| abuse.is_scanner(value));
    if !says(Name::UserAgent) && !says(Name::From) {
        return false;
    }
    let time = abuse.ban_for;
    core.tally.scanners += 1;
    security::event(core, now, "scanner", flow, b"", request);
    ban(core, now, flow.peer.ip(), "scanner", time);
    true
}
