//! What operators see of the registrar and may do to it.

use super::{Bound, Registrar};
use crate::core::Core;
use clock::Now;
use model::{Aor, Event, RegistrationView};
use std::time::Duration;

impl Registrar {
    /// The bindings in force of one user, or of all by address of record.
    #[must_use]
    pub(crate) fn views(&self, now: Now, aor: Option<&Aor>) -> Vec<RegistrationView> {
        let mut views: Vec<RegistrationView> = match aor {
            Some(aor) => self
                .in_force(aor, now)
                .into_iter()
                .map(|bound| bound.view(now))
                .collect(),
            None => {
                let all = self.records.iter().flat_map(|(_, record)| &record.bindings);
                all.filter(|bound| bound.deadline > now.mono)
                    .map(|bound| bound.view(now))
                    .collect()
            }
        };
        views.sort_by(|a, b| (&a.aor, &a.contact).cmp(&(&b.aor, &b.contact)));
        views
    }

    /// Tells those who watch how a contact is reached now.
    pub(super) fn announce(&self, core: &mut Core, now: Now, index: u32, place: usize) {
        let bound = &self.records[index as usize].bindings[place];
        core.announce(|| Event::Registered {
            registration: bound.view(now),
        });
    }

    /// Removes the bindings of a user, or the one with this contact URI; how many.
    pub(crate) fn drop_bindings(&mut self, core: &mut Core, aor: &Aor, contact: Option<&str>) -> u64 {
        self.note_unbound(aor, contact.map(|contact| (None, contact)));
        let mut dropped = 0;
        while let Some(index) = self.find(aor) {
            let is_meant = |bound: &Bound| contact.is_none_or(|contact| contact == &*bound.binding.contact);
            let Some(place) = self.records[index as usize].bindings.iter().position(is_meant) else {
                break;
            };
            self.remove(core, index, place);
            dropped += 1;
        }
        dropped
    }
}

impl Registrar {
    /// New users are in force: nobody keeps the bindings of one who is gone.
    pub(crate) fn on_reload(&mut self, core: &mut Core) {
        let is_gone = |aor: &Aor| core.users.named(aor.user()).is_none_or(|user| user.aor != *aor);
        let gone = self
            .records
            .iter()
            .map(|(_, record)| &record.aor)
            .filter(|aor| is_gone(aor));
        for aor in gone.cloned().collect::<Vec<Aor>>() {
            self.drop_bindings(core, &aor, None);
        }
    }
}

impl Bound {
    fn view(&self, now: Now) -> RegistrationView {
        let binding = &self.binding;
        RegistrationView {
            aor: binding.aor.clone(),
            contact: binding.contact.clone(),
            transport: binding.endpoint.transport,
            source: binding.endpoint.peer,
            q: binding.q,
            expires_s: seconds(self.deadline.since(now.mono)),
            user_agent: binding.user_agent.clone(),
            answers: !self.is_silent,
        }
    }
}

/// Whole seconds, rounded up: what is in force never shows as 0.
#[must_use]
pub(super) fn seconds(left: Duration) -> u64 {
    left.as_secs() + u64::from(left.subsec_nanos() > 0)
}
