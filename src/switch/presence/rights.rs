//! Who may see what of whom.

use crate::agent::group;
use crate::config::groups::Group;
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
        found => Err(refusal(audience, watcher, found.is_some())),
    }
}

/// The group with this number, if this watcher may see how its agents are; answers as for users.
pub(crate) fn watched_group<'a>(
    core: &'a Core,
    audience: Audience,
    watcher: &User,
    number: &str,
) -> Result<&'a Group, Reply> {
    match core.config.groups.named(number) {
        Some(group) if sees_group(audience, watcher, group) => Ok(group),
        found => Err(refusal(audience, watcher, found.is_some())),
    }
}

fn refusal(audience: Audience, watcher: &User, exists: bool) -> Reply {
    let sees_all = match audience {
        Audience::Everyone => true,
        Audience::Supervisors | Audience::Group => watcher.supervises(),
        Audience::Nobody => false,
    };
    Reply::new(if sees_all && !exists { 404 } else { 403 })
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

/// Whether a user may see how the agents of a group are: all of them, and how many can be given something.
#[must_use]
pub(crate) fn sees_group(audience: Audience, watcher: &User, group: &Group) -> bool {
    match audience {
        Audience::Everyone => true,
        Audience::Supervisors => watcher.supervises(),
        Audience::Group => watcher.supervises() || group::is_in(watcher, group),
        Audience::Nobody => false,
    }
}

/// Whether a user may see the same of all agents with a skill, who are in different groups or in none.
#[must_use]
pub(crate) fn sees_skill(audience: Audience, watcher: &User) -> bool {
    match audience {
        Audience::Everyone => true,
        Audience::Supervisors | Audience::Group => watcher.supervises(),
        Audience::Nobody => false,
    }
}

/// Who may see a group, beside who oversees all; `None`: everybody.
#[must_use]
pub(crate) fn audience_of_group(core: &Core, group: &Group) -> Option<Insiders> {
    match core.config.subscriptions.watch_presence {
        Audience::Everyone => None,
        Audience::Supervisors | Audience::Nobody => Some(Insiders::default()),
        Audience::Group => {
            let inside = core.users.iter().filter(|user| group::is_in(user, group));
            Some(Insiders::new(inside.map(|user| user.aor.clone()).collect()))
        }
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
