//! Names: of transactions, of what waits for a stream, of timers, of whoever deals with an event.

use crate::timers::TimerId;

/// The TU's number for whoever deals with an event: a call, a registration, a delivery.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

/// A server transaction. Never names another one, also after reuse of its place.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// A client transaction. Never names another one, also after reuse of its place.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Joins [`crate::Output::Resolve`] to its answer.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resolving(pub u64);

/// Joins [`crate::Output::Connect`] to its answer.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connecting(pub u64);

/// What a [`Connecting`] is for.
pub(super) enum Purpose {
    /// A client transaction that waits for its way, and which of its tries that is.
    Client(ClientId, u8),
    /// A message without transaction.
    Parcel(u64),
}

impl ClientId {
    /// Generations are 31 bits, so that an id and a mark fit into a [`Connecting`].
    pub(super) const GENERATIONS: u32 = u32::MAX >> 1;
    /// Places are 24 bits of a [`Connecting`], more than there are transactions; the rest tells one try from the next.
    const PLACES: u32 = u32::MAX >> 8;
}

impl Connecting {
    const PARCEL: u64 = 1 << 63;

    pub(super) fn client(id: ClientId, attempt: u8) -> Connecting {
        let place = u64::from(attempt) << 24 | u64::from(id.index & ClientId::PLACES);
        Connecting(u64::from(id.generation) << 32 | place)
    }

    pub(super) fn parcel(id: u64) -> Connecting {
        Connecting(Connecting::PARCEL | id)
    }

    #[allow(clippy::cast_possible_truncation)] // the halves of what `client` put together
    pub(super) fn purpose(self) -> Purpose {
        match self.0 & Connecting::PARCEL {
            0 => Purpose::Client(
                ClientId {
                    index: self.0 as u32 & ClientId::PLACES,
                    generation: (self.0 >> 32) as u32,
                },
                (self.0 >> 24) as u8,
            ),
            _ => Purpose::Parcel(self.0 & !Connecting::PARCEL),
        }
    }
}

/// A timer of the TU.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub struct Alarm(pub(super) TimerId);
