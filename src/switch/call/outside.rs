//! Calls from and to numbers outside: in whose name a call is dialled, and whose a request in a dialog with a trunk is.

use super::Calls;
use crate::arena::Key;
use crate::core::Core;
use crate::interaction::Interaction;
use crate::route::{self, Dialler};
use model::{Aor, PartyId};
use sip::{Flow, Owner};

impl Calls {
    /// Who dialled a call; `None` if the configuration does not know him any more.
    pub(super) fn dialler_of(&self, core: &Core, call: Key<Interaction>) -> Option<Dialler> {
        let first = self.interactions.get(call)?.parties.first()?.id;
        self.party_dials(core, call, first)
    }

    /// In whose name a side call was dialled.
    pub(super) fn asker_dials(&self, core: &Core, call: Key<Interaction>) -> Option<Dialler> {
        let side = self.interactions.get(call)?.side.as_ref()?;
        self.party_dials(core, side.parent, side.by)
    }

    /// In whose name a party of a call dials; `None` if the configuration does not know him any more.
    pub(super) fn party_dials(&self, core: &Core, call: Key<Interaction>, party: PartyId) -> Option<Dialler> {
        let party = self.interactions.get(call)?.party(party)?;
        if let Some(user) = &party.user {
            return core.users.find(user.user()).map(Dialler::User);
        }
        let mut legs = party.legs.iter().chain(&party.line);
        let trunk = legs.find_map(|leg| self.legs.get(*leg)?.trunk.as_deref())?;
        route::trunk_named(core, trunk).map(Dialler::Trunk)
    }

    /// Whether the device of this leg is one of that user's.
    pub(crate) fn is_of(&self, owner: Owner, user: &Aor) -> bool {
        self.leg(owner).is_some_and(|(_, leg)| leg.user.as_ref() == Some(user))
    }

    /// Whether a leg's other side is the trunk that this flow comes from: carriers speak from more than one address.
    pub(crate) fn is_of_trunk(&self, core: &Core, owner: Owner, flow: Flow) -> bool {
        let trunk = self.leg(owner).and_then(|(_, leg)| leg.trunk.as_deref());
        let trunk = trunk.and_then(|name| route::trunk_named(core, name));
        trunk.is_some_and(|trunk| trunk.of(core).is_at(flow.peer.ip()))
    }
}
