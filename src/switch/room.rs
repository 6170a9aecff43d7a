//! Who deals with an event: the room is written into the owner number that transactions, dialogs and timers carry.

use sip::endpoint::Owner;

/// The parts of the switch that own transactions, dialogs, timers and questions to the store.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// `call`: legs and calls.
    Call,
    /// `im`: deliveries and queues.
    Im,
    /// `subscribe`: subscriptions.
    Subscription,
    /// `im/session`: sessions of messages.
    Session,
    /// `registrar`: expiry, write-behind, restore.
    Registrar,
    /// The switch itself: housekeeping.
    Switch,
    /// `agent`: the end of after-call work.
    Agent,
    /// `proxy`: requests that are passed on.
    Proxy,
}

const ROOMS: [Room; 8] = [
    Room::Call,
    Room::Im,
    Room::Subscription,
    Room::Session,
    Room::Registrar,
    Room::Switch,
    Room::Agent,
    Room::Proxy,
];
const NUMBER_BITS: u32 = 56;

impl Room {
    /// The owner number of `number` in this room. Numbers keep to 56 bits; higher bits are cut off.
    #[must_use]
    pub(crate) fn owner(self, number: u64) -> Owner {
        Owner((self as u64) << NUMBER_BITS | number & ((1 << NUMBER_BITS) - 1))
    }

    /// The room and the room's own number of an owner; `None` for a number nobody gave out.
    #[must_use]
    pub(crate) fn of(owner: Owner) -> Option<(Room, u64)> {
        let room = ROOMS.get(usize::try_from(owner.0 >> NUMBER_BITS).ok()?)?;
        Some((*room, owner.0 & ((1 << NUMBER_BITS) - 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_leads_back_to_its_room() {
        for room in ROOMS {
            assert_eq!(Room::of(room.owner(77)), Some((room, 77)));
        }
        assert_eq!(Room::of(Owner(u64::MAX)), None);
    }
}
