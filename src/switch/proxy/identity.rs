//! Who may say who calls (RFC 3325, S10): a trunk of our trust domain may; what anybody else asserts is taken out, of requests
//! and of responses, and so are headers that only switches write.

use crate::call::{Identity, is_private};
use crate::core::Core;
use crate::route::{Dialler, TrunkIndex};
use sip::{Name, Splice};

/// What nobody outside of the trust domain may assert: RFC 3325 section 9, RFC 5806, and what came before them.
const ASSERTIONS: [Name; 5] = [
    Name::PAssertedIdentity,
    Name::PPreferredIdentity,
    Name::RemotePartyId,
    Name::Diversion,
    Name::HistoryInfo,
];

/// Whether what this sender asserts is believed.
pub(super) fn trusts(core: &Core, dialler: Dialler) -> bool {
    match dialler {
        Dialler::User(_) => false,
        Dialler::Trunk(trunk) => trunk.of(core).is_trusted,
    }
}

/// A request from `dialler` on its way to a trunk, or to a device of ours.
pub(super) fn of_request<'m>(
    core: &Core,
    mut splice: Splice<'m>,
    dialler: Dialler,
    trunk: Option<TrunkIndex>,
) -> Splice<'m> {
    let request = splice.message();
    let is_told = trunk.is_some_and(|trunk| trunk.of(core).is_trusted);
    splice = believed(splice, trusts(core, dialler), is_told);
    let (Dialler::User(user), Some(trunk)) = (dialler, trunk) else {
        return splice;
    };
    // Only a trusted trunk is told, with the wish for privacy as it stands.
    let identity = Identity::of_caller(core, user, request).towards(core, Some(trunk));
    match identity.asserted {
        Some(asserted) => splice.append(Name::PAssertedIdentity, asserted.into_bytes()),
        None => splice,
    }
}

/// A message without what its sender may not assert; and, on its way out of the trust domain, without what its sender asked
/// us to keep to ourselves (sections 7 and 9.1).
pub(super) fn believed(mut splice: Splice<'_>, is_trusted: bool, is_told: bool) -> Splice<'_> {
    let message = splice.message();
    match (is_trusted, is_told) {
        (true, false) if is_private(message) => return splice.remove(Name::PAssertedIdentity),
        (true, _) => return splice,
        (false, _) => {}
    }
    for name in ASSERTIONS {
        if message.header(name).is_some() {
            splice = splice.remove(name);
        }
    }
    for (name, text, _) in message.fields() {
        let is_private = name == Name::Other && text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"x-"));
        if let (true, Ok(text)) = (is_private, std::str::from_utf8(text)) {
            splice = splice.remove_named(text);
        }
    }
    splice
}
