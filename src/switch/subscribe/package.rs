//! The event packages there are: what can be watched, by whom, and what a watcher is told.

use super::list::Entries;
use super::{conference, dialog, list, mailbox, presence, registration};
use crate::call::{Calls, Since};
use crate::core::{Core, Cx};
use crate::users::UserIndex;
use model::{Aor, InteractionId};
use sip::event::Lifetimes;
use sip::{Body, Reply};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;

/// The packages, for Allow-Events.
pub(crate) const ALLOW_EVENTS: &str = "message-summary, dialog, conference, presence, reg";

/// Seconds. A lamp may be refreshed as seldom as a registration.
const LIFETIMES: Lifetimes = Lifetimes {
    min: 60,
    default: 3_600,
    max: 86_400,
};

/// The rooms of the switch whose state can be watched. Packages read them and change nothing.
pub(crate) struct States<'a> {
    /// Calls and legs.
    pub(crate) calls: &'a Calls,
}

/// The states of `$switch`: its other fields stay free.
macro_rules! states {
    ($switch:ident) => {
        $crate::subscribe::States { calls: &$switch.calls }
    };
}
pub(crate) use states;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Watched {
    /// A user's mailbox.
    Mailbox(Aor),
    /// A user's calls.
    Dialogs(Aor),
    /// Who is in a conference room.
    Conference(Arc<str>),
    /// Who takes part in an interaction that became a conference.
    Members(InteractionId),
    /// Whether a user or a group can be reached, and what they do.
    Presence(Aor),
    /// By which devices a user is registered.
    Registration(Aor),
    /// This of all who are on a list: a group's number, or [`list::CONTACTS`].
    List(Package, Arc<str>),
}

/// One event package (RFC 6665 section 5).
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Package {
    /// RFC 3842.
    MessageSummary,
    /// RFC 4235.
    Dialog,
    /// RFC 4575.
    Conference,
    /// RFC 3856.
    Presence,
    /// RFC 3680.
    Registration,
}

/// What a watcher has been told, for packages that number or tell parts.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The whole state is to be told next, whether or not it is news.
    pub(super) owes_whole: bool,
    /// Number of the next document.
    pub(super) version: u32,
    /// What was named in the last document, each with how it was.
    pub(super) named: SmallVec<[(u64, u8); 2]>,
    /// Up to where the changes of a room.
    pub(super) since: Since,
    /// Who is on a list, and what was told of each.
    pub(super) list: Option<Box<Entries>>,
}

impl Told {
    /// Nothing yet.
    pub(super) fn of(core: &Core, states: &States<'_>, watcher: UserIndex, watched: &Watched) -> Told {
        let list = match watched {
            Watched::List(package, name) => Some(list::entries(core, states, watcher, *package, name)),
            _ => None,
        };
        Told {
            list: list.map(Box::new),
            ..Told::default()
        }
    }

    /// Begins to number above what was told before a restart.
    pub(super) fn go_on(&mut self, version: u32) {
        self.version = version;
        if let Some(list) = &mut self.list {
            list.go_on(version);
        }
    }

    /// No document has had this number, nor a higher one.
    pub(super) fn next_free(&self) -> u32 {
        let listed = self.list.as_ref().map_or(0, |list| list.next_free());
        self.version.max(listed)
    }

    /// Part of what is owed did not fit into one document: it follows as soon as that one is answered.
    pub(super) fn is_behind(&self) -> bool {
        self.list.as_ref().is_some_and(|list| list.is_behind())
    }

    /// The number of the document that is being written.
    pub(super) fn next_version(&mut self) -> u32 {
        let version = self.version;
        self.version += 1;
        version
    }
}

impl Package {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Package; 5] = [
        Package::MessageSummary,
        Package::Dialog,
        Package::Conference,
        Package::Presence,
        Package::Registration,
    ];

    /// By its name in Event.
    pub(super) fn named(name: &[u8]) -> Option<Package> {
        match name {
            b"message-summary" => Some(Package::MessageSummary),
            b"dialog" => Some(Package::Dialog),
            b"conference" => Some(Package::Conference),
            b"presence" => Some(Package::Presence),
            b"reg" => Some(Package::Registration),
            _ => None,
        }
    }

    /// The type of its documents.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Package::MessageSummary => mailbox::MEDIA_TYPE,
            Package::Dialog => dialog::MEDIA_TYPE,
            Package::Conference => conference::MEDIA_TYPE,
            Package::Presence => presence::MEDIA_TYPE,
            Package::Registration => registration::MEDIA_TYPE,
        }
    }

    /// How long a subscription may last.
    pub(super) fn lifetimes(self) -> Lifetimes {
        match self {
            Package::MessageSummary
            | Package::Dialog
            | Package::Conference
            | Package::Presence
            | Package::Registration => LIFETIMES,
        }
    }

    /// What `watcher` wants to watch, if he may; as a list where that is what he takes and it is one.
    pub(super) fn admit(
        self,
        core: &Core,
        states: &States<'_>,
        watcher: UserIndex,
        (dialled, takes_lists): (Option<&str>, bool),
    ) -> Result<Watched, Reply> {
        match dialled.filter(|dialled| list::is_one(core, self, dialled)) {
            Some(name) if takes_lists => list::admit(core, self, watcher, name),
            Some(list::CONTACTS) => Err(list::not_alone()),
            _ => self.admit_one(core, states, watcher, dialled),
        }
    }

    /// The same of what is no list.
    pub(super) fn admit_one(
        self,
        core: &Core,
        states: &States<'_>,
        watcher: UserIndex,
        dialled: Option<&str>,
    ) -> Result<Watched, Reply> {
        match self {
            Package::MessageSummary => mailbox::admit(core, watcher, dialled),
            Package::Dialog => dialog::admit(core, watcher, dialled),
            Package::Conference => conference::admit(core, states, watcher, dialled),
            Package::Presence => presence::admit(core, watcher, dialled),
            Package::Registration => registration::admit(core, watcher, dialled),
        }
    }
}

impl Watched {
    pub(super) fn package(&self) -> Package {
        match self {
            Watched::Mailbox(_) => Package::MessageSummary,
            Watched::Dialogs(_) => Package::Dialog,
            Watched::Conference(_) | Watched::Members(_) => Package::Conference,
            Watched::Presence(_) => Package::Presence,
            Watched::Registration(_) => Package::Registration,
            Watched::List(package, _) => *package,
        }
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self, Watched::List(..))
    }

    /// Its documents are numbered, or tell parts: each is good for one NOTIFY.
    pub(super) fn is_numbered(&self) -> bool {
        match self {
            Watched::Mailbox(_) | Watched::Presence(_) => false,
            Watched::Dialogs(_)
            | Watched::Conference(_)
            | Watched::Members(_)
            | Watched::Registration(_)
            | Watched::List(..) => true,
        }
    }

    /// The extension by which it is told (RFC 4662).
    pub(super) fn requires(&self) -> Option<&'static str> {
        self.is_list().then_some(list::OPTION)
    }

    /// User part of its address.
    pub(super) fn address(&self) -> Cow<'_, str> {
        match self {
            Watched::Mailbox(aor) | Watched::Dialogs(aor) | Watched::Presence(aor) | Watched::Registration(aor) => {
                aor.user().into()
            }
            Watched::Conference(name) | Watched::List(_, name) => (&**name).into(),
            Watched::Members(id) => id.to_string().into(),
        }
    }

    /// Whether there is nothing more to be told to this watcher, ever.
    pub(super) fn is_over(&self, core: &Core, states: &States<'_>, watcher: &Aor) -> bool {
        match self {
            Watched::Members(id) => !conference::may_watch_members(core, states, watcher, *id),
            _ => false,
        }
    }

    /// What the watcher is told now; `None` if that is no news to him, and `whole` was not asked for.
    pub(super) fn state(
        &self,
        cx: &Cx<'_>,
        states: &States<'_>,
        watcher: &Aor,
        told: &mut Told,
        whole: bool,
    ) -> Option<Body> {
        if !whole && !self.has_news(cx, states, watcher, told) {
            return None;
        }
        match self {
            Watched::Mailbox(aor) => Some(mailbox::summary(aor)),
            Watched::Dialogs(aor) => Some(dialog::document(cx, states, aor, watcher, told)),
            Watched::Conference(room) => Some(conference::document(cx.core, states, room, told, whole)),
            Watched::Members(id) => Some(conference::members(cx.core, states, *id, told)),
            Watched::Presence(aor) => Some(presence::document(cx, states, aor, told)),
            Watched::Registration(aor) => Some(registration::document(cx, aor, told)),
            Watched::List(_, name) => list::document(cx, states, (name, watcher), told, whole),
        }
    }

    /// Whether the watcher does not know everything.
    pub(super) fn has_news(&self, cx: &Cx<'_>, states: &States<'_>, watcher: &Aor, told: &Told) -> bool {
        told.owes_whole
            || match self {
                Watched::Mailbox(_) => false,
                Watched::Dialogs(aor) => dialog::has_news(cx, states, aor, watcher, told),
                Watched::Conference(room) => conference::has_news(states, room, told),
                Watched::Members(id) => conference::has_other_members(cx.core, states, *id, told),
                Watched::Presence(aor) => presence::has_news(cx, states, aor, told),
                Watched::Registration(aor) => registration::has_news(cx, aor, told),
                Watched::List(..) => list::has_news(cx, states, watcher, told),
            }
    }
}
