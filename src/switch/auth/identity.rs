//! Whom a request claims to be from, and whether that is who sent it (S10).

use crate::config::User;
use crate::core::Core;
use sip::header::NameAddr;
use sip::{Flow, Message, Name, Uri};

/// Whether From names a user of ours, real or not: then the sender is asked to prove it.
#[must_use]
pub(crate) fn claims_local_identity(core: &Core, flow: Flow, request: &Message) -> bool {
    let from = request.header(Name::From).and_then(|from| NameAddr::parse(from).ok());
    from.and_then(|from| from.uri().ok())
        .is_some_and(|uri| is_ours(core, flow, &uri))
}

/// Whether From and every asserted or preferred identity are this user.
#[must_use]
pub(crate) fn is_identity_of(core: &Core, flow: Flow, request: &Message, user: &User) -> bool {
    let claims = [Name::From, Name::PAssertedIdentity, Name::PPreferredIdentity];
    claims
        .into_iter()
        .flat_map(|name| request.values(name))
        .all(|value| names(core, flow, value, user))
}

/// Whether a header value names this user: its URI is `sip:extension@` one of our hosts, or `tel:extension`.
#[must_use]
pub(crate) fn names(core: &Core, flow: Flow, value: &[u8], user: &User) -> bool {
    let address = NameAddr::parse(value).ok();
    address.and_then(|address| address.uri().ok()).is_some_and(|uri| {
        let is_extension = uri
            .user_unescaped()
            .is_some_and(|name| *name == *user.aor.user().as_bytes());
        is_extension && (uri.scheme() == sip::uri::Scheme::Tel || is_ours(core, flow, &uri))
    })
}

fn is_ours(core: &Core, flow: Flow, uri: &Uri<'_>) -> bool {
    uri.is_sip() && core.is_local(uri.host(), flow)
}
