//! Whom a request claims to be from, and whether that is who sent it (S10).

use crate::config::User;
use crate::core::Core;
use sip::header::NameAddr;
use sip::{Flow, Message, Name, Uri};
use std::borrow::Cow;

/// The user of ours, real or not, that From names: its sender is asked to prove it. `None`: somebody from outside.
#[must_use]
pub(crate) fn claimed<'m>(core: &Core, flow: Flow, request: &'m Message) -> Option<Cow<'m, [u8]>> {
    let uri = request.from().ok()?.uri().ok()?;
    is_ours(core, flow, &uri).then(|| uri.user_unescaped().unwrap_or_default())
}

/// Whether every asserted or preferred identity is this user.
#[must_use]
pub(crate) fn asserts_only(core: &Core, flow: Flow, request: &Message, user: &User) -> bool {
    let asserted = request.values(Name::PAssertedIdentity);
    let mut all = asserted.chain(request.values(Name::PPreferredIdentity));
    all.all(|value| names(core, flow, value, user))
}

/// Whether a header value names this user: its URI is `sip:extension@` one of our hosts, or `tel:extension`.
#[must_use]
pub(crate) fn names(core: &Core, flow: Flow, value: &[u8], user: &User) -> bool {
    let address = NameAddr::parse(value).ok();
    let uri = address.and_then(|address| address.uri().ok());
    uri.is_some_and(|uri| is_user(core, flow, &uri, user))
}

/// Whether a URI is this user's: `sip:extension@` one of our hosts, or `tel:extension`.
#[must_use]
pub(crate) fn is_user(core: &Core, flow: Flow, uri: &Uri<'_>, user: &User) -> bool {
    let is_extension = uri
        .user_unescaped()
        .is_some_and(|name| *name == *user.aor.user().as_bytes());
    is_extension && (uri.scheme() == sip::uri::Scheme::Tel || is_ours(core, flow, uri))
}

fn is_ours(core: &Core, flow: Flow, uri: &Uri<'_>) -> bool {
    uri.is_sip() && core.is_local(uri.host(), flow)
}
