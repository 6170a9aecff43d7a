//! What voice, IM and chat share: who takes part, and by which devices; who is responsible; what belongs to the case. The
//! server owns the interaction; devices are its legs, and come and go.
//!
//! A consultation is an interaction of its own with a [`Side`]: its own room, parties and history, made for its parent. So is
//! a transfer or an invitation under way. A person has the same [`PartyId`] in both.

use crate::arena::Key;
use crate::call::{Call, LegKey};
use clock::Wall;
use media::tone::Progress;
use model::{
    Aor, CASE_DATA_MAX, CASE_KEY_MAX, CASE_VALUE_MAX, CdrLink, HISTORY_MAX, HistoryView, InteractionId, PartyId,
    Purpose,
};
use smallvec::{SmallVec, smallvec};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A conversation of the people in it, whatever devices and rooms it goes through.
#[derive(Debug)]
pub(crate) struct Interaction {
    /// Travels with it through transfers; never reused.
    pub(crate) id: InteractionId,
    /// What it was made for, also after that has ended.
    pub(crate) grew_from: Option<InteractionId>,
    /// And what for.
    pub(crate) grew_for: Option<Purpose>,
    /// While it serves another one.
    pub(crate) side: Option<Side>,
    /// When it was commanded on behalf of a user.
    pub(crate) originated: Option<Originated>,
    /// Who takes part, the one who called first.
    pub(crate) parties: SmallVec<[Party; 2]>,
    /// Who is responsible for it, once it is answered.
    pub(crate) owner: Option<PartyId>,
    /// Pairs of which the first is not heard by the second, beside what the parties themselves say.
    pub(crate) unheard: BTreeSet<(PartyId, PartyId)>,
    /// Who called first, fit to be shown.
    pub(crate) caller: Box<str>,
    /// What was dialled, fit to be shown.
    pub(crate) dialled: Box<str>,
    /// The room where they hear each other.
    pub(crate) call: Call,
    /// When it was asked for.
    pub(crate) started_at: Wall,
    /// When the second party answered.
    pub(crate) answered_at: Option<Wall>,
    /// What is attached to the case: at most [`CASE_DATA_MAX`] pairs.
    pub(crate) data: BTreeMap<Box<str>, Box<str>>,
    /// The last [`HISTORY_MAX`] events.
    pub(crate) history: VecDeque<HistoryView>,
}

/// What a side call is made for.
#[derive(Debug)]
pub(crate) struct Side {
    /// The interaction it serves, which lives as long.
    pub(crate) parent: Key<Interaction>,
    /// The party of both who wanted it.
    pub(crate) by: PartyId,
    /// What happens when its target answers.
    pub(crate) purpose: Purpose,
    /// Who hears of its end.
    pub(crate) asked: Asker,
}

/// A call that was commanded: first its owner's phones ring, then it goes where he would have dialled.
#[derive(Debug)]
pub(crate) struct Originated {
    /// Its owner.
    pub(crate) by: PartyId,
    /// Who hears what came of it.
    pub(crate) asked: Asker,
    /// The owner has not answered yet.
    pub(crate) awaits_owner: bool,
}

/// Who waits for the outcome of a side call, or of a commanded one.
#[derive(Debug, Default)]
pub(crate) struct Asker {
    /// The verb's name.
    pub(crate) verb: &'static str,
    /// The client's id of its command; empty for a gesture.
    pub(crate) client: Box<str>,
    /// The user who asked, if not the party that it is done for.
    pub(crate) user: Option<Aor>,
    /// The REFER that asked for it.
    pub(crate) refer: Option<Refer>,
    /// How the supervisor of [`Purpose::Supervise`] takes part, and whom he supervises.
    pub(crate) supervision: Option<(crate::Supervision, PartyId)>,
}

/// The implicit subscription of a REFER (RFC 3515 section 2.4.4).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refer {
    /// Whose device sent it.
    pub(crate) leg: LegKey,
    /// Its CSeq: the id of the subscription.
    pub(crate) id: u32,
    /// RFC 4488: `Refer-Sub: false`, no NOTIFY is wanted.
    pub(crate) silent: bool,
}

/// One person, or one service of the switch.
#[derive(Debug)]
pub(crate) struct Party {
    /// Names it in verbs.
    pub(crate) id: PartyId,
    /// The user, if one of ours.
    pub(crate) user: Option<Aor>,
    /// As shown to others: `"Name" <number>`.
    pub(crate) shown: Box<str>,
    /// For P-Asserted-Identity; none if the party asked for privacy.
    pub(crate) asserted: Option<Box<str>>,
    /// The devices: many while they ring, then the one that answered.
    pub(crate) legs: SmallVec<[LegKey; 1]>,
    /// In a side call: the parent's leg by which its party hears this one. A desk phone knows one call; the switch changes
    /// what it hears.
    pub(crate) line: Option<LegKey>,
    /// How it takes part.
    pub(crate) role: Role,
    /// Has put the others on hold.
    pub(crate) holds: bool,
    /// Is heard by nobody.
    pub(crate) muted: bool,
    /// Hears nobody.
    pub(crate) deaf: bool,
    /// By which it is told that its consultation has come to nothing, until it turns to something else or has heard it.
    pub(crate) tone: Option<Progress>,
}

/// How a party takes part.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Hears and is heard.
    Member,
    /// Watches over one of the others, and goes where he goes.
    Supervisor {
        /// Whom.
        of: PartyId,
        /// How.
        mode: crate::Supervision,
    },
}

impl Party {
    /// A member with these devices.
    #[must_use]
    pub(crate) fn new(id: PartyId, user: Option<Aor>, shown: Box<str>, legs: SmallVec<[LegKey; 1]>) -> Party {
        Party {
            id,
            user,
            shown,
            asserted: None,
            legs,
            line: None,
            role: Role::Member,
            holds: false,
            muted: false,
            deaf: false,
            tone: None,
        }
    }

    /// Takes part in the conversation: not a supervisor who only listens or whispers.
    #[must_use]
    pub(crate) fn converses(&self) -> bool {
        match self.role {
            Role::Member => true,
            Role::Supervisor { mode, .. } => mode == crate::Supervision::Barge,
        }
    }
}

impl Interaction {
    /// What begins with this party.
    #[must_use]
    pub(crate) fn new(id: InteractionId, first: Party, dialled: Box<str>, now: Wall) -> Interaction {
        Interaction {
            id,
            grew_from: None,
            grew_for: None,
            side: None,
            originated: None,
            caller: first.shown.clone(),
            parties: smallvec![first],
            owner: None,
            unheard: BTreeSet::new(),
            dialled,
            call: Call::default(),
            started_at: now,
            answered_at: None,
            data: BTreeMap::new(),
            history: VecDeque::new(),
        }
    }

    /// What it was made for, as its legs' records say.
    #[must_use]
    pub(crate) fn made_for(&self) -> Option<CdrLink> {
        let (interaction, how) = self.grew_from.zip(self.grew_for)?;
        Some(CdrLink { interaction, how })
    }

    /// All devices, the caller's first.
    pub(crate) fn legs(&self) -> impl Iterator<Item = LegKey> + '_ {
        self.parties.iter().flat_map(|party| party.legs.iter().copied())
    }

    /// The party a device belongs to.
    #[must_use]
    pub(crate) fn party_of(&self, leg: LegKey) -> Option<usize> {
        self.parties.iter().position(|party| party.legs.contains(&leg))
    }

    /// The party with this id.
    #[must_use]
    pub(crate) fn party(&self, id: PartyId) -> Option<&Party> {
        self.parties.iter().find(|party| party.id == id)
    }

    /// The party with this id.
    pub(crate) fn party_mut(&mut self, id: PartyId) -> Option<&mut Party> {
        self.parties.iter_mut().find(|party| party.id == id)
    }

    /// A party has another id from now on, as it is known in what this serves: whatever names it does so by that.
    pub(crate) fn call_anew(&mut self, before: PartyId, now: PartyId) {
        let renamed = |id: PartyId| if id == before { now } else { id };
        self.owner = self.owner.map(renamed);
        let unheard = std::mem::take(&mut self.unheard).into_iter();
        self.unheard = unheard.map(|(from, to)| (renamed(from), renamed(to))).collect();
        for party in &mut self.parties {
            party.id = renamed(party.id);
            if let Role::Supervisor { of, .. } = &mut party.role {
                *of = renamed(*of);
            }
        }
    }

    /// A device is gone for good.
    pub(crate) fn remove(&mut self, leg: LegKey) {
        for party in &mut self.parties {
            party.legs.retain(|&mut other| other != leg);
        }
    }

    /// Attaches a value to the case; an empty one removes the key.
    ///
    /// # Errors
    /// Which bound it would break.
    pub(crate) fn attach(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        let shown = |text: &str| !text.chars().any(char::is_control);
        if key.is_empty() || key.len() > CASE_KEY_MAX || !shown(key) {
            return Err("a key of case data is 1 to 64 bytes of text");
        }
        if value.len() > CASE_VALUE_MAX {
            return Err("a value of case data is at most 1024 bytes");
        }
        if value.is_empty() {
            self.data.remove(key);
            return Ok(());
        }
        if !self.data.contains_key(key) && self.data.len() >= CASE_DATA_MAX {
            return Err("an interaction has at most 64 pairs of case data");
        }
        self.data.insert(key.into(), value.into());
        Ok(())
    }

    /// Writes down what happened.
    pub(crate) fn note(&mut self, at: Wall, who: &str, what: &str, detail: impl Into<Box<str>>) {
        self.note_for(at, who, what, detail, None);
    }

    /// The same, shown only to these and to who oversees all.
    pub(crate) fn note_for(
        &mut self,
        at: Wall,
        who: &str,
        what: &str,
        detail: impl Into<Box<str>>,
        shown_to: Option<Vec<Aor>>,
    ) {
        if self.history.len() >= HISTORY_MAX {
            self.history.pop_front();
        }
        self.history.push_back(HistoryView {
            at,
            who: who.into(),
            what: what.into(),
            detail: detail.into(),
            shown_to,
        });
    }
}
