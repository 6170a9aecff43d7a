//! Lists (RFC 4662): one subscription to the state of many. What can be asked for as a list is a group, for its agents, and
//! [`CONTACTS`], for whom users.toml says that the user who asks has as contacts. Of each on it the watcher is told what a
//! subscription of its own would tell, and nothing if that would be refused (decision 0032).
//!
//! The first document and every refresh name all on the list; those between only whom something is new of. What does not
//! fit into one document follows in the next.

use super::package::{Package, States, Told};
use super::{Watched, xml};
use crate::agent::group::{Team, members, team};
use crate::core::{Core, Cx, aor_uri};
use crate::presence::rights;
use crate::users::UserIndex;
use model::Aor;
use sip::{Body, Message, Name, Reply};
use std::fmt::Write;

/// The address at which every user has a list of their own. No user and no group may have it as theirs.
pub const CONTACTS: &str = "contacts";
/// The extension.
pub(crate) const OPTION: &str = "eventlist";
/// What a list is told in.
pub(super) const MEDIA_TYPE: &str = "multipart/related";
/// The part of it that says what the others are.
const RLMI: &str = "application/rlmi+xml";

/// Most on one list. With this many the part that names them all takes some 20 KiB, and fits with [`MAX_DOCUMENTS`] into a
/// datagram. As many as keys on the phone of a switchboard.
pub(super) const MAX_ENTRIES: usize = 200;
/// Bytes of documents in one NOTIFY, beside the first: some 25 of them.
const MAX_DOCUMENTS: usize = 16 << 10;

/// Who is on a list, and what the watcher knows of each.
#[derive(Debug, Default)]
pub(super) struct Entries {
    all: Vec<Entry>,
    /// Where to begin to look for news, so that those at the end have their turn too.
    next: usize,
}

#[derive(Debug)]
struct Entry {
    aor: Aor,
    name: Box<str>,
    /// `None`: this watcher may not.
    watched: Option<Watched>,
    told: Told,
}

/// Whether a request takes a list for an answer.
#[must_use]
pub(super) fn is_taken(request: &Message) -> bool {
    let mut named = [Name::Supported, Name::Require]
        .into_iter()
        .flat_map(|name| request.values(name));
    named.any(|tag| tag.eq_ignore_ascii_case(OPTION.as_bytes()))
}

/// Whether this address can be asked for as a list.
#[must_use]
pub(super) fn is_one(core: &Core, package: Package, dialled: &str) -> bool {
    let is_told_of_each = matches!(package, Package::Presence | Package::Dialog);
    is_told_of_each && (dialled == CONTACTS || core.config.groups.named(dialled).is_some())
}

/// Who wants it has to take it as a list (RFC 4662 section 4.1).
#[must_use]
pub(super) fn not_alone() -> Reply {
    Reply::new(421).header(Name::Require, OPTION)
}

/// One's own list, or a group whose agents this watcher may watch.
pub(super) fn admit(core: &Core, package: Package, watcher: UserIndex, name: &str) -> Result<Watched, Reply> {
    if name != CONTACTS {
        let settings = core.config.subscriptions;
        let audience = match package {
            Package::Dialog => settings.watch_calls,
            _ => settings.watch_presence,
        };
        let group = rights::watched_group(core, audience, &core.users[watcher], name)?;
        if members(core, Team::Group(group)).count() > MAX_ENTRIES {
            return Err(Reply::new(403).reason("List Is Too Long"));
        }
    }
    Ok(Watched::List(package, name.into()))
}

/// Who is on it now.
#[must_use]
pub(super) fn entries(core: &Core, states: &States<'_>, watcher: UserIndex, package: Package, name: &str) -> Entries {
    let entry = |target: &str| {
        let user = core.users.named(target);
        let group = team(core, target).filter(|_| user.is_none());
        let aor = Aor::new(target, &core.config.domain);
        let name = match (user, group) {
            (Some(user), _) => user.name.clone(),
            (None, Some(Team::Group(group))) => group.name.clone(),
            _ => "".into(),
        };
        let watched = package.admit_one(core, states, watcher, Some(target)).ok();
        let told = Told {
            owes_whole: watched.is_some(),
            ..Told::default()
        };
        Entry {
            aor,
            name,
            watched,
            told,
        }
    };
    let group = core.config.groups.named(name).filter(|_| name != CONTACTS);
    let all = match group {
        Some(group) => members(core, Team::Group(group))
            .map(|user| entry(user.aor.user()))
            .collect(),
        None => {
            let contacts = core.users[watcher].contacts.iter();
            contacts.take(MAX_ENTRIES).map(|target| entry(target)).collect()
        }
    };
    Entries { all, next: 0 }
}

impl Entries {
    /// What is watched of those whom the watcher may watch.
    pub(super) fn watched(&self) -> impl Iterator<Item = &Watched> {
        self.all.iter().filter_map(|entry| entry.watched.as_ref())
    }

    /// The same are on both, with the same names and rights.
    #[must_use]
    pub(super) fn is_like(&self, other: &Entries) -> bool {
        let shown = |list: &Entries| {
            let shown = |entry: &Entry| (entry.aor.clone(), entry.name.clone(), entry.watched.clone());
            list.all.iter().map(shown).collect::<Vec<_>>()
        };
        shown(self) == shown(other)
    }

    /// The list is that one from now on. Numbers of documents about who stays rise on.
    pub(super) fn become_like(&mut self, now: Entries) {
        let before = std::mem::replace(self, now);
        for old in before.all {
            if let Some(entry) = self.all.iter_mut().find(|entry| entry.aor == old.aor) {
                entry.told.version = old.told.version;
            }
        }
    }

    pub(super) fn go_on(&mut self, version: u32) {
        for entry in &mut self.all {
            entry.told.version = version;
        }
    }

    /// No document about any of them has had this number, nor a higher one.
    #[must_use]
    pub(super) fn next_free(&self) -> u32 {
        self.all.iter().map(|entry| entry.told.version).max().unwrap_or(0)
    }

    /// The watcher was promised all of them, and has not had all.
    #[must_use]
    pub(super) fn is_behind(&self) -> bool {
        self.all.iter().any(|entry| entry.told.owes_whole)
    }
}

/// Whether anything is new of anybody on it.
pub(super) fn has_news(cx: &Cx<'_>, states: &States<'_>, watcher: &Aor, told: &Told) -> bool {
    let mut all = told.list.iter().flat_map(|list| &list.all);
    all.any(|entry| {
        let watched = entry.watched.as_ref();
        watched.is_some_and(|watched| watched.has_news(cx, states, watcher, &entry.told))
    })
}

/// One document in the body.
struct Part {
    /// Whose.
    entry: usize,
    body: Body,
}

/// RFC 4662 section 5. `whole`: all on it are named.
pub(super) fn document(
    cx: &Cx<'_>,
    states: &States<'_>,
    (name, watcher): (&str, &Aor),
    told: &mut Told,
    whole: bool,
) -> Option<Body> {
    let version = told.next_version();
    let list = told.list.as_mut()?;
    if whole {
        let watched = list.all.iter_mut().filter(|entry| entry.watched.is_some());
        watched.for_each(|entry| entry.told.owes_whole = true);
    }
    let parts = news(cx, states, watcher, list);
    let mark = cx.core.hasher.hash_one((name, watcher, version));
    let domain = &cx.core.config.domain;
    let content_id = |part: &Part| format!("{}.{mark:016x}@{domain}", part.entry);
    let main = format!("list.{mark:016x}@{domain}");
    // Nobody else knows the mark, so no document can break out of its part.
    let boundary = format!("list-{mark:016x}");
    let mut text = String::new();
    let rlmi = Rlmi {
        uri: aor_uri(&Aor::new(name, domain)),
        name: cx.core.config.groups.named(name).map_or("", |group| &group.name),
        version,
        whole,
    };
    write_part(&mut text, &boundary, (&main, RLMI), |text| {
        rlmi.write(text, list, &parts, content_id)
    });
    for part in &parts {
        write_part(
            &mut text,
            &boundary,
            (&content_id(part), &part.body.content_type),
            |text| {
                text.push_str(&String::from_utf8_lossy(&part.body.content));
            },
        );
    }
    let _ = write!(text, "--{boundary}--\r\n");
    Some(Body {
        content_type: format!("{MEDIA_TYPE};type=\"{RLMI}\";start=\"<{main}>\";boundary=\"{boundary}\"").into(),
        content: text.into(),
    })
}

/// What is new, as much as fits, beginning with who had to wait last time.
fn news(cx: &Cx<'_>, states: &States<'_>, watcher: &Aor, list: &mut Entries) -> Vec<Part> {
    let (count, first) = (list.all.len(), list.next);
    let (mut parts, mut size) = (Vec::new(), 0);
    for place in 0..count {
        let place = (first + place) % count;
        if size >= MAX_DOCUMENTS {
            list.next = place;
            break;
        }
        let entry = &mut list.all[place];
        let Some(watched) = &entry.watched else { continue };
        let whole = std::mem::take(&mut entry.told.owes_whole);
        if let Some(body) = watched.state(cx, states, watcher, &mut entry.told, whole) {
            size += body.content.len();
            parts.push(Part { entry: place, body });
        }
    }
    parts
}

fn write_part(text: &mut String, boundary: &str, (id, media_type): (&str, &str), content: impl FnOnce(&mut String)) {
    let _ = write!(
        text,
        "--{boundary}\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <{id}>\r\nContent-Type: {media_type};charset=\"UTF-8\"\r\n\r\n"
    );
    content(text);
    text.push_str("\r\n");
}

/// The part that says whose the others are.
struct Rlmi<'a> {
    uri: String,
    name: &'a str,
    version: u32,
    whole: bool,
}

impl Rlmi<'_> {
    /// Section 5.1.
    fn write(&self, text: &mut String, list: &Entries, parts: &[Part], content_id: impl Fn(&Part) -> String) {
        let (version, whole) = (self.version, self.whole);
        text.push_str(xml::HEAD);
        text.push_str("<list xmlns=\"urn:ietf:params:xml:ns:rlmi\"");
        xml::attribute(text, "uri", &self.uri);
        let _ = write!(text, " version=\"{version}\" fullState=\"{whole}\">\r\n");
        if !self.name.is_empty() {
            let _ = write!(text, "<name>{}</name>\r\n", xml::escaped(self.name));
        }
        for (place, entry) in list.all.iter().enumerate() {
            let part = parts.iter().find(|part| part.entry == place);
            if part.is_some() || whole {
                self.write_entry(text, entry, part.map(&content_id));
            }
        }
        text.push_str("</list>\r\n");
    }

    /// Sections 5.3 to 5.5. Who may not be watched is on the list and told nothing of; of others without a document it follows.
    fn write_entry(&self, text: &mut String, entry: &Entry, document: Option<String>) {
        text.push_str("<resource");
        xml::attribute(text, "uri", &aor_uri(&entry.aor));
        text.push('>');
        if !entry.name.is_empty() {
            let _ = write!(text, "<name>{}</name>", xml::escaped(&entry.name));
        }
        match (&entry.watched, document) {
            (None, _) => text.push_str("<instance id=\"1\" state=\"terminated\" reason=\"rejected\"/>"),
            (Some(_), Some(id)) => {
                text.push_str("<instance id=\"1\" state=\"active\"");
                xml::attribute(text, "cid", &id);
                text.push_str("/>");
            }
            (Some(_), None) => {}
        }
        text.push_str("</resource>\r\n");
    }
}
