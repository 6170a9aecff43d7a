//! Calls for help: to numbers whose rule says `emergency = true`, from where a phone is registered. They are refused neither
//! because it is late, nor because somebody calls too often, nor because there are many calls. Anybody can write such a number into
//! a request, and forge an address; so from elsewhere it is a call like any other, and what is spared has bounds of its own.

use crate::config::trunks::INTERNAL;
use crate::core::Core;
use crate::route::dialplan;
use sip::{Flow, Message, Method, Uri, peek};

/// Calls for help beyond the limit of calls: more than one house makes at once, little beside the usual 2,000.
pub(crate) const CALLS: usize = 64;
/// Transactions for them beyond the limit of transactions: some for each of those calls.
pub(super) const TRANSACTIONS: usize = 1_024;

/// Whether this is one. Only asked when something else would be refused.
#[must_use]
pub(crate) fn is_emergency(core: &Core, flow: &Flow, request: &Message) -> bool {
    let is_call = request.method() == Method::Invite;
    let is_known = || core.admission.knows(flow) || core.admission.exempts(flow.peer.ip());
    is_call && is_known() && core.dialled(request).is_some_and(|dialled| is_for_help(core, &dialled))
}

/// Whether a datagram of a registered phone begins like one. Only asked when it would be dropped unread.
#[must_use]
pub(super) fn seems_emergency(core: &Core, datagram: &[u8]) -> bool {
    let Some((Method::Invite, uri)) = peek::request_line(datagram) else {
        return false;
    };
    let dialled = Uri::parse(uri).ok().and_then(|uri| core.meant_by(&uri));
    dialled.is_some_and(|dialled| is_for_help(core, &dialled))
}

fn is_for_help(core: &Core, dialled: &str) -> bool {
    dialplan::rule(&core.config.dialplan, INTERNAL, dialled).is_some_and(|rule| rule.is_emergency)
}
