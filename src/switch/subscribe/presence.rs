//! `presence` (RFC 3856): whether a user can be reached, and what they do, as PIDF (RFC 3863) with activities (RFC 4480). Of a
//! group: whether one of its agents can be given something, and how many.
//!
//! Every document is whole and says what is so now; it bears no number, so one that came and went meanwhile is not missed.

use super::package::{States, Told};
use super::{Watched, xml};
use crate::agent::group::{Team, team};
use crate::core::{Core, Cx, aor_uri};
use crate::presence::{self, Person, rights};
use crate::users::UserIndex;
use model::{Aor, Medium};
use sip::{Body, Reply};
use std::fmt::Write;

pub(super) const MEDIA_TYPE: &str = "application/pidf+xml";

/// Who may watch whom is a setting (S6). Who may not is told the same of users who exist and of others (S11).
pub(super) fn admit(core: &Core, watcher: UserIndex, dialled: Option<&str>) -> Result<Watched, Reply> {
    let watcher = &core.users[watcher];
    let Some(dialled) = dialled else {
        return Ok(Watched::Presence(watcher.aor.clone()));
    };
    let audience = core.config.subscriptions.watch_presence;
    if let (None, Some(Team::Group(group))) = (core.users.named(dialled), team(core, dialled)) {
        let group = rights::watched_group(core, audience, watcher, &group.number)?;
        return Ok(Watched::Presence(Aor::new(&group.number, &core.config.domain)));
    }
    rights::watched(core, audience, watcher, dialled).map(|user| Watched::Presence(user.aor.clone()))
}

/// Whether anything looks different.
pub(super) fn has_news(cx: &Cx<'_>, states: &States<'_>, watched: &Aor, told: &Told) -> bool {
    let seen = told.named.first().map(|(seen, _)| *seen);
    seen != Some(cx.core.hasher.hash_one(person(cx, states, watched)))
}

/// RFC 3863 section 4.
pub(super) fn document(cx: &Cx<'_>, states: &States<'_>, watched: &Aor, told: &mut Told) -> Body {
    let person = person(cx, states, watched);
    told.named.clear();
    told.named.push((cx.core.hasher.hash_one(&person), 0));
    Body {
        content_type: MEDIA_TYPE.into(),
        content: write(&aor_uri(watched), &person).into(),
    }
}

/// What is told of a user or a group; of neither, if it is no longer in the configuration, nothing but that.
fn person(cx: &Cx<'_>, states: &States<'_>, watched: &Aor) -> Person {
    match (cx.core.users.named(watched.user()), team(cx.core, watched.user())) {
        (Some(user), _) => presence::person(&presence::view(cx, states.calls, user)),
        (None, Some(team)) => {
            let ready = |medium| crate::agent::ready(cx, team, medium);
            let available = ready(Medium::Voice).max(ready(Medium::Im));
            Person {
                is_open: available > 0,
                activities: Vec::new(),
                note: format!("{available} available").into(),
            }
        }
        (None, None) => Person::default(),
    }
}

fn write(entity: &str, person: &Person) -> String {
    let mut text = String::from(xml::HEAD);
    text.push_str(
        "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" \
         xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\"",
    );
    xml::attribute(&mut text, "entity", entity);
    let (basic, contact) = (if person.is_open { "open" } else { "closed" }, xml::escaped(entity));
    let _ = write!(
        text,
        ">\r\n<tuple id=\"now\"><status><basic>{basic}</basic></status><contact>{contact}</contact></tuple>\r\n"
    );
    let note = xml::escaped(&person.note);
    if !note.is_empty() {
        let _ = write!(text, "<note>{note}</note>\r\n");
    }
    // RFC 4480 section 3.2: what the person does stands in the person (RFC 4479), whatever the device.
    text.push_str("<dm:person id=\"person\">");
    if !person.activities.is_empty() {
        text.push_str("<rpid:activities>");
        for activity in &person.activities {
            let _ = write!(text, "<rpid:{activity}/>");
        }
        text.push_str("</rpid:activities>");
    }
    if !note.is_empty() {
        let _ = write!(text, "<dm:note>{note}</dm:note>");
    }
    text.push_str("</dm:person>\r\n</presence>\r\n");
    text
}
