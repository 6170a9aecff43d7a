//! Who may see what of whom.

use crate::agent::group;
use crate::config::{Audience, User};
use crate::core::Core;
use model::Insiders;
use sip::Reply;

/// The user with this extension, if this watcher may see them: 403 to who may not, whether or not there is such a user (S11);
/// 404 to who may see everybody.
pub(crate) fn watched<'a>(
    core: &'a Core,
    audience: Audience,
    watcher: &User,
    extension: &str,
) -> Result<&'a User, Reply> {
    match core.users.named(extension) {
        Some(user) if sees(core, audience, watcher, user) => Ok(user),
        None if audience == Audience::Everyone || watcher.supervises() => Err(Reply::new(404)),
        _ => Err(Reply::new(403)),
    }
}

/// Whether one user may see something of another.
#[must_use]
pub(crate) fn sees(core: &Core, audience: Audience, watcher: &User, watched: &User) -> bool {
    watcher.aor == watched.aor
        || match audience {
            Audience::Everyone => true,
            Audience::Supervisors => watcher.supervises(),
            Audience::Group => watcher.supervises() || group::share_group(core, watcher, watched),
            Audience::Nobody => false,
        }
}

/// Who may see a user's presence, beside the user and who oversees all; `None`: everybody.
#[must_use]
pub(crate) fn audience(core: &Core, user: &User) -> Option<Insiders> {
    match core.config.subscriptions.watch_presence {
        Audience::Everyone => None,
        Audience::Supervisors | Audience::Nobody => Some(Insiders::default()),
        Audience::Group => {
            let others = core.users.iter().filter(|other| group::share_group(core, user, other));
            Some(Insiders::new(others.map(|other| other.aor.clone()).collect()))
        }
    }
}
