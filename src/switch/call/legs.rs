//! All legs, found by key and by user. Whose calls began, went on or ended in a step is known when the step is done, so that
//! nothing that changes a leg has to say so.

use super::{Leg, LegKey, Stage};
use crate::arena::Arena;
use ahash::RandomState;
use hashbrown::HashMap;
use model::{Aor, Direction, LegId};
use smallvec::SmallVec;
use std::ops::{Deref, DerefMut};

/// An arena of legs with an index of their users.
#[derive(Debug)]
pub(crate) struct Legs {
    arena: Arena<Leg>,
    by_user: HashMap<Aor, SmallVec<[LegKey; 2]>, RandomState>,
    /// What was lent for change in this step, some of it more than once.
    touched: Vec<LegKey>,
    /// Users who have a leg less than before this step.
    bereft: Vec<Aor>,
}

/// How far a dialog got, as watchers are told (RFC 4235 section 3.7.1).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum DialogPhase {
    /// INVITE and no more.
    Trying,
    /// It rings.
    Early,
    /// Answered.
    Confirmed,
    /// Over.
    Terminated,
}

/// One leg as watchers see it.
#[derive(Copy, Clone, Debug)]
pub(crate) struct DialogView<'a> {
    /// Which.
    pub(crate) id: LegId,
    /// `In`: the watched user called.
    pub(crate) direction: Direction,
    /// How far it got.
    pub(crate) phase: DialogPhase,
    /// The other side as the watched user is shown it: `"Name" <number>`, or just a number.
    pub(crate) peer: &'a str,
    /// Call-ID, our tag, and that of the watched device, once it has one: what a Replaces names.
    pub(crate) ids: Option<(&'a str, sip::draft::Tag, &'a [u8])>,
}

impl Legs {
    /// No legs. Users' names are compared with a keyed hash.
    #[must_use]
    pub(crate) fn new(hasher: RandomState) -> Legs {
        Legs {
            arena: Arena::default(),
            by_user: HashMap::with_hasher(hasher),
            touched: Vec::new(),
            bereft: Vec::new(),
        }
    }

    /// As [`Arena::insert`].
    pub(crate) fn insert(&mut self, leg: Leg) -> LegKey {
        let user = leg.user.clone();
        let key = self.arena.insert(leg);
        self.touch(key);
        if let Some(user) = user {
            self.by_user.entry(user).or_default().push(key);
        }
        key
    }

    /// As [`Arena::remove`].
    pub(crate) fn remove(&mut self, key: LegKey) -> Option<Leg> {
        let leg = self.arena.remove(key)?;
        if let Some(user) = &leg.user
            && let Some(keys) = self.by_user.get_mut(user)
        {
            keys.retain(|&mut other| other != key);
            if keys.is_empty() {
                self.by_user.remove(user);
            }
            self.bereft.push(user.clone());
        }
        Some(leg)
    }

    /// As [`Arena::get_mut`].
    pub(crate) fn get_mut(&mut self, key: LegKey) -> Option<&mut Leg> {
        self.touch(key);
        self.arena.get_mut(key)
    }

    /// As [`Arena::pair_mut`].
    pub(crate) fn pair_mut(&mut self, one: LegKey, other: LegKey) -> Option<(&mut Leg, &mut Leg)> {
        self.touch(one);
        self.touch(other);
        self.arena.pair_mut(one, other)
    }

    /// The devices of a user that are in calls, the oldest first; some may be leaving.
    pub(crate) fn of_user<'a>(&'a self, user: &Aor) -> impl Iterator<Item = (LegKey, &'a Leg)> + use<'a> {
        let keys = self.by_user.get(user).map(SmallVec::as_slice).unwrap_or_default();
        keys.iter().filter_map(|&key| Some((key, self.arena.get(key)?)))
    }

    /// Those of this step that are up, and that nobody has kept yet.
    pub(crate) fn risen(&self) -> SmallVec<[LegKey; 2]> {
        let mut risen: SmallVec<[LegKey; 2]> = SmallVec::new();
        for &key in &self.touched {
            let is_new = self.arena.get(key).is_some_and(|leg| leg.is_up() && !leg.is_kept);
            if is_new && !risen.contains(&key) {
                risen.push(key);
            }
        }
        risen
    }

    /// Whose calls may have changed since the last time.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = Aor> + '_ {
        let Legs {
            arena, touched, bereft, ..
        } = self;
        let changed = touched.drain(..).filter_map(|key| arena.get(key)?.user.clone());
        changed.chain(bereft.drain(..))
    }

    fn touch(&mut self, key: LegKey) {
        if self.touched.last() != Some(&key) {
            self.touched.push(key);
        }
    }
}

impl Deref for Legs {
    type Target = Arena<Leg>;
    fn deref(&self) -> &Arena<Leg> {
        &self.arena
    }
}

impl DerefMut for Legs {
    fn deref_mut(&mut self) -> &mut Arena<Leg> {
        &mut self.arena
    }
}

impl super::Calls {
    /// Users with a device in a call.
    pub(crate) fn users(&self) -> impl Iterator<Item = &Aor> {
        self.legs.by_user.keys()
    }

    /// The calls of a user, by device, the oldest first; those that are over left out.
    pub(crate) fn dialogs_of<'a>(&'a self, user: &Aor) -> impl Iterator<Item = DialogView<'a>> + use<'a> {
        let living = self.legs.of_user(user).filter(|(_, leg)| !leg.is_over());
        living.map(|(key, leg)| DialogView {
            id: leg.id,
            direction: leg.direction,
            phase: phase(leg),
            peer: self.peer_shown(key, leg).unwrap_or_default(),
            ids: leg
                .session
                .remote_tag()
                .map(|theirs| (leg.session.call_id(), leg.session.local_tag(), theirs)),
        })
    }

    /// The other side of a leg's call: the first other party, or what was dialled.
    fn peer_shown(&self, key: LegKey, leg: &Leg) -> Option<&str> {
        let call = self.interactions.get(leg.interaction)?;
        let own = call.party_of(key)?;
        let mut others = call.parties.iter().enumerate().filter(|(at, _)| *at != own);
        match others.next() {
            Some((_, other)) => Some(&other.shown),
            None => Some(&call.dialled),
        }
    }
}

fn phase(leg: &Leg) -> DialogPhase {
    match leg.stage {
        Stage::Calling => DialogPhase::Trying,
        Stage::Ringing => DialogPhase::Early,
        Stage::Up => DialogPhase::Confirmed,
        Stage::Over(_) => DialogPhase::Terminated,
    }
}
