//! What voice, IM and chat share: who takes part, and by which devices. The server owns the interaction; devices are its
//! legs, and come and go.

use crate::call::{Call, LegKey};
use clock::Wall;
use model::InteractionId;
use smallvec::SmallVec;

/// A conversation of the people in it, whatever devices and rooms it goes through.
#[derive(Debug)]
pub(crate) struct Interaction {
    /// Travels with it through transfers; never reused.
    pub(crate) id: InteractionId,
    /// Who takes part, the one who called first.
    pub(crate) parties: SmallVec<[Party; 2]>,
    /// What was dialled, fit to be shown.
    pub(crate) dialled: Box<str>,
    /// The room where they hear each other.
    pub(crate) call: Call,
    /// When it was asked for.
    pub(crate) started_at: Wall,
    /// When the second party answered.
    pub(crate) answered_at: Option<Wall>,
}

/// One person, or one service of the switch.
#[derive(Debug)]
pub(crate) struct Party {
    /// As shown to others: `"Name" <number>`.
    pub(crate) shown: Box<str>,
    /// The devices: many while they ring, then the one that answered.
    pub(crate) legs: SmallVec<[LegKey; 1]>,
}

impl Interaction {
    /// All devices, the caller's first.
    pub(crate) fn legs(&self) -> impl Iterator<Item = LegKey> + '_ {
        self.parties.iter().flat_map(|party| party.legs.iter().copied())
    }

    /// The party a device belongs to.
    #[must_use]
    pub(crate) fn party_of(&self, leg: LegKey) -> Option<usize> {
        self.parties.iter().position(|party| party.legs.contains(&leg))
    }

    /// A device is gone for good.
    pub(crate) fn remove(&mut self, leg: LegKey) {
        for party in &mut self.parties {
            party.legs.retain(|&mut other| other != leg);
        }
    }
}
