//! Who is in a room, as watchers see it (RFC 4575): everything, or what has changed since they were told last.

use super::super::Calls;
use super::{Member, Place};
use model::Aor;
use std::collections::VecDeque;

/// Who left lately is remembered for watchers who are told of parts; who missed more is told everything.
const GONE_MAX: usize = 64;

/// Who left, each with the room's count at that moment.
#[derive(Debug, Default)]
pub(super) struct Gone {
    lately: VecDeque<(Box<str>, u64)>,
    /// The count up to which leavers have been forgotten.
    forgotten: u64,
}

impl Gone {
    pub(super) fn push(&mut self, entity: Box<str>, changes: u64) {
        if self.lately.len() >= GONE_MAX
            && let Some((_, changes)) = self.lately.pop_front()
        {
            self.forgotten = changes;
        }
        self.lately.push_back((entity, changes));
    }
}

/// What a watcher knows of a room: the room's number and its count when he was told last. Another number, or 0: nothing.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Since {
    /// Which opening of the room.
    pub(crate) number: u64,
    /// Count of changes.
    pub(crate) changes: u64,
}

/// A room, or what is new in it.
#[derive(Debug)]
pub(crate) struct Roster<'a> {
    /// What the watcher will know when he is told this.
    pub(crate) now: Since,
    /// Not everything: `members` and `gone` are changes.
    pub(crate) partial: bool,
    /// Most that may be in it.
    pub(crate) max_members: usize,
    /// All who are inside.
    pub(crate) count: usize,
    pub(crate) locked: bool,
    /// In the order they came.
    pub(crate) members: Vec<MemberView<'a>>,
    /// Entities of those who left and are not back.
    pub(crate) gone: Vec<&'a str>,
}

/// How far a member has come.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum MemberPlace {
    /// Arrives, or enters a PIN.
    Door,
    /// Waits for a moderator.
    Waiting,
    /// Among the others.
    Inside,
}

/// One member.
#[derive(Debug)]
pub(crate) struct MemberView<'a> {
    /// A URI, unique in the room.
    pub(crate) entity: &'a str,
    /// As shown to others.
    pub(crate) shown: &'a str,
    pub(crate) moderator: bool,
    pub(crate) muted: bool,
    pub(crate) deaf: bool,
    pub(crate) place: MemberPlace,
    pub(crate) came_at: clock::Wall,
}

impl Calls {
    /// The room as it is, or what changed `since`; `None`: nobody is in it.
    pub(crate) fn roster(&self, room: &str, since: Since) -> Option<Roster<'_>> {
        let conference = self.conferences.open.get(room)?;
        let now = Since {
            number: conference.number,
            changes: conference.changes,
        };
        let partial = since.number == now.number && since.changes > 0 && since.changes >= conference.gone.forgotten;
        let news = |member: &&Member| !partial || member.changed > since.changes;
        let members = conference.members.iter().filter(news).map(view).collect();
        let left = conference.gone.lately.iter();
        let left = left.filter(|(_, changes)| partial && *changes > since.changes);
        let is_back = |entity: &str| conference.members.iter().any(|member| *member.entity == *entity);
        let left = left.map(|(entity, _)| &**entity).filter(|entity| !is_back(entity));
        Some(Roster {
            now,
            partial,
            max_members: conference.settings.max_members,
            count: conference.members.iter().filter(|member| member.is_inside()).count(),
            locked: conference.locked,
            members,
            gone: left.collect(),
        })
    }

    /// What a watcher would know if he were told now.
    pub(crate) fn roster_now(&self, room: &str) -> Since {
        let conference = self.conferences.open.get(room);
        conference.map_or_else(Since::default, |conference| Since {
            number: conference.number,
            changes: conference.changes,
        })
    }

    /// Whether a user is inside a room.
    pub(crate) fn is_in_room(&self, room: &str, user: &Aor) -> bool {
        let conference = self.conferences.open.get(room);
        conference.is_some_and(|conference| {
            let is_user = |member: &Member| member.is_inside() && member.user.as_ref() == Some(user);
            conference.members.iter().any(is_user)
        })
    }
}

fn view(member: &Member) -> MemberView<'_> {
    MemberView {
        entity: &member.entity,
        shown: &member.shown,
        moderator: member.moderator,
        muted: member.muted,
        deaf: member.deaf,
        place: match member.place {
            Place::Arriving | Place::Door(_) => MemberPlace::Door,
            Place::Waiting => MemberPlace::Waiting,
            Place::Inside => MemberPlace::Inside,
        },
        came_at: member.came_at,
    }
}
