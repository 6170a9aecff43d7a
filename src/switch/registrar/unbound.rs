//! Who was unbound before the store had told all: what it tells of them afterwards is out of date.

use super::{Registrar, register};
use ahash::RandomState;
use hashbrown::HashMap;
use model::{Aor, Binding, BindingKey};
use sip::Uri;
use smallvec::SmallVec;

/// Bindings of one user that are noted one by one, as many as one REGISTER names. Of a user who unbinds more than that in the
/// first seconds nothing stored is taken in; what is there registers again.
const MAX_EACH: usize = 16;

/// By user: there are no more than are configured.
#[derive(Debug)]
pub(super) struct Unbound(HashMap<Aor, Which, RandomState>);

#[derive(Debug)]
enum Which {
    All,
    /// Flows or, where there is none, contacts.
    Some(SmallVec<[(Option<BindingKey>, Box<str>); 1]>),
}

impl Unbound {
    pub(super) fn new(hasher: &RandomState) -> Unbound {
        Unbound(HashMap::with_hasher(hasher.clone()))
    }

    /// Whether this binding was unbound.
    pub(super) fn has(&self, binding: &Binding) -> bool {
        match self.0.get(&binding.aor) {
            None => false,
            Some(Which::All) => true,
            Some(Which::Some(all)) => all.iter().any(|(flow, contact)| {
                let uri = Uri::parse(contact.as_bytes()).ok();
                register::is_meant(binding, flow.as_ref(), contact, uri.as_ref())
            }),
        }
    }
}

impl Registrar {
    /// All bindings of a user are unbound, or the one of this flow or contact.
    pub(super) fn note_unbound(&mut self, aor: &Aor, one: Option<(Option<&BindingKey>, &str)>) {
        let Some(Unbound(users)) = &mut self.unbound else {
            return;
        };
        let which = users.entry(aor.clone()).or_insert_with(|| Which::Some(SmallVec::new()));
        match (&mut *which, one) {
            (Which::All, _) => {}
            (Which::Some(noted), Some((flow, contact))) if noted.len() < MAX_EACH => {
                noted.push((flow.cloned(), contact.into()));
            }
            _ => *which = Which::All,
        }
    }
}
