//! What users have set by their phones: kept in memory, written behind.

use crate::core::Core;
use crate::subscribe::Watched;
use model::{Aor, StoreOp, UserSettings};
use std::collections::BTreeMap;

/// The settings of all who have set something. As many as there are users: only they can.
#[derive(Debug, Default)]
pub(crate) struct Settings(BTreeMap<Aor, UserSettings>);

impl Settings {
    /// What this user has set; `None`: nothing.
    #[must_use]
    pub(crate) fn of(&self, user: &Aor) -> Option<&UserSettings> {
        self.0.get(user)
    }

    /// From the store. What was set meanwhile is newer.
    pub(crate) fn restore(&mut self, stored: Vec<UserSettings>) {
        for settings in stored {
            self.0.entry(settings.aor.clone()).or_insert(settings);
        }
    }
}

impl Core {
    /// Changes what a user has set, and writes it down.
    pub(crate) fn set(&mut self, user: &Aor, change: impl FnOnce(&mut UserSettings)) {
        let new = || UserSettings::of(user.clone());
        let settings = self.settings.0.entry(user.clone()).or_insert_with(new);
        change(settings);
        let settings = Box::new(settings.clone());
        self.store(StoreOp::PutUserSettings(settings));
        self.touch(Watched::Presence(user.clone()));
        self.touch(Watched::Dialogs(user.clone()));
    }
}
