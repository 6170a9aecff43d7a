//! `conference` (RFC 4575): who is in a standing conference room. The first document and every refresh is whole; between
//! them documents are partial: users who came or changed, and users who left.

use super::package::{States, Told};
use super::{Watched, xml};
use crate::call::{MemberPlace, MemberView, Roster, Since};
use crate::config::Role;
use crate::core::{Core, aor_uri};
use crate::route;
use crate::text::split_shown;
use crate::users::UserIndex;
use model::Aor;
use sip::{Body, Reply};
use std::fmt::Write;

pub(super) const MEDIA_TYPE: &str = "application/conference-info+xml";

/// Every user may watch a room that everybody may enter. A room with a PIN only those who are in it, its moderators,
/// supervisors and admins.
pub(super) fn admit(
    core: &Core,
    states: &States<'_>,
    watcher: UserIndex,
    dialled: Option<&str>,
) -> Result<Watched, Reply> {
    let room = dialled.and_then(|dialled| route::room(core, &core.users[watcher].dial.context, dialled));
    let room = room.ok_or_else(|| Reply::new(404))?;
    let (settings, user) = (core.config.conferences.of(room), &core.users[watcher]);
    let oversees = || user.roles.contains(&Role::Supervisor) || user.roles.contains(&Role::Admin);
    let moderates = || settings.moderators.iter().any(|name| **name == *user.aor.user());
    let may = settings.longest_pin() == 0 || oversees() || moderates() || states.calls.is_in_room(room, &user.aor);
    may.then(|| Watched::Conference(room.into()))
        .ok_or_else(|| Reply::new(403))
}

/// Whether anything changed since.
pub(super) fn has_news(states: &States<'_>, room: &str, told: &Told) -> bool {
    states.calls.roster_now(room) != told.since
}

/// RFC 4575 section 5. `whole`: not only what changed.
pub(super) fn document(core: &Core, states: &States<'_>, room: &str, told: &mut Told, whole: bool) -> Body {
    let since = if whole { Since::default() } else { told.since };
    let roster = states.calls.roster(room, since);
    told.since = roster.as_ref().map_or_else(Since::default, |roster| roster.now);
    let partial = roster.as_ref().is_some_and(|roster| roster.partial);
    let mut text = String::from(xml::HEAD);
    text.push_str("<conference-info xmlns=\"urn:ietf:params:xml:ns:conference-info\"");
    xml::attribute(&mut text, "entity", &aor_uri(&Aor::new(room, &core.config.domain)));
    let (state, version) = (if partial { "partial" } else { "full" }, told.next_version());
    let _ = write!(text, " state=\"{state}\" version=\"{version}\">\r\n");
    match roster {
        Some(roster) => write_roster(&mut text, &roster),
        None => {
            text.push_str("<conference-state><user-count>0</user-count><active>false</active></conference-state>\r\n")
        }
    }
    text.push_str("</conference-info>\r\n");
    Body {
        content_type: MEDIA_TYPE.into(),
        content: text.into(),
    }
}

fn write_roster(text: &mut String, roster: &Roster<'_>) {
    let (max, count, locked) = (roster.max_members, roster.count, roster.locked);
    let _ = write!(
        text,
        "<conference-description><maximum-user-count>{max}</maximum-user-count></conference-description>\r\n\
         <conference-state><user-count>{count}</user-count><active>true</active><locked>{locked}</locked></conference-state>\r\n"
    );
    let state = if roster.partial { " state=\"partial\"" } else { "" };
    let _ = write!(text, "<users{state}>\r\n");
    for member in &roster.members {
        write_member(text, member);
    }
    for entity in &roster.gone {
        text.push_str("<user");
        xml::attribute(text, "entity", entity);
        text.push_str(" state=\"deleted\"/>\r\n");
    }
    text.push_str("</users>\r\n");
}

/// Sections 5.6 to 5.8. Directions are those of the participant.
fn write_member(text: &mut String, member: &MemberView<'_>) {
    text.push_str("<user");
    xml::attribute(text, "entity", member.entity);
    text.push_str(" state=\"full\">");
    let (name, number) = split_shown(member.shown);
    let shown = if name.is_empty() { number } else { &name };
    let _ = write!(text, "<display-text>{}</display-text>", xml::escaped(shown));
    if member.moderator {
        text.push_str("<roles><entry>moderator</entry></roles>");
    }
    text.push_str("<endpoint");
    xml::attribute(text, "entity", member.entity);
    let status = match member.place {
        MemberPlace::Door => "dialing-in",
        MemberPlace::Waiting => "pending",
        MemberPlace::Inside if member.muted => "muted-via-focus",
        MemberPlace::Inside => "connected",
    };
    let direction = match (member.muted, member.deaf) {
        (false, false) => "sendrecv",
        (true, false) => "recvonly",
        (false, true) => "sendonly",
        (true, true) => "inactive",
    };
    let _ = write!(
        text,
        "><status>{status}</status><joining-method>dialed-in</joining-method><joining-info><when>{}</when></joining-info>\
         <media id=\"1\"><type>audio</type><status>{direction}</status></media></endpoint></user>\r\n",
        member.came_at
    );
}
