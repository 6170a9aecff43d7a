//! Who may say who calls (RFC 3325, S10): a trunk of our trust domain may; what anybody else asserts is taken out, of requests
//! and of responses, and so are headers that only switches write.

use crate::call::Identity;
use crate::core::Core;
use crate::route::{Dialler, TrunkIndex};
use sip::{Message, Name, Splice};

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
    if !trusts(core, dialler) {
        splice = believed(splice, false);
    } else if trunk.is_none_or(|trunk| !trunk.of(core).is_trusted) && wants_privacy(request) {
        // Section 7: beyond the trust domain nobody learns it.
        splice = splice.remove(Name::PAssertedIdentity);
    }
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

/// A message without what its sender may not assert.
pub(super) fn believed(mut splice: Splice<'_>, is_trusted: bool) -> Splice<'_> {
    if is_trusted {
        return splice;
    }
    let message = splice.message();
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

/// Section 9.3.
fn wants_privacy(request: &Message) -> bool {
    request.lines(Name::Privacy).any(|line| {
        line.split(|&b| b == b';')
            .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"id"))
    })
}
