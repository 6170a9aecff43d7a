//! `conference` (RFC 4575): who is in a standing conference room, and who takes part in a call that became a conference. Of a
//! room the first document and every refresh is whole; between them documents are partial: users who came or changed, and users
//! who left. Of a call, which a few people are in, every document is whole.

use super::package::{States, Told};
use super::{Watched, xml};
use crate::call::{MemberPlace, MemberView, Roster, Since};
use crate::config::Role;
use crate::core::{Core, aor_uri};
use crate::route;
use crate::text::split_shown;
use crate::users::UserIndex;
use clock::Wall;
use model::{Aor, InteractionId, InteractionView, PartyRole, PartyState, PartyView};
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
    if let Some(id) = dialled.and_then(|dialled| dialled.parse::<InteractionId>().ok()) {
        let may = may_watch_members(core, states, &core.users[watcher].aor, id);
        // That it exists is not everybody's business.
        return may.then_some(Watched::Members(id)).ok_or_else(|| Reply::new(404));
    }
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
    let (name, number) = split_shown(member.shown);
    let shown = if name.is_empty() { number } else { &name };
    write_user(text, member.entity, shown, member.moderator.then_some("moderator"));
    let status = match member.place {
        MemberPlace::Door => "dialing-in",
        MemberPlace::Waiting => "pending",
        MemberPlace::Inside if member.muted => "muted-via-focus",
        MemberPlace::Inside => "connected",
    };
    write_endpoint(
        text,
        member.entity,
        status,
        (member.muted, member.deaf),
        Some(member.came_at),
    );
}

/// The beginning of a user, who has one endpoint.
fn write_user(text: &mut String, entity: &str, shown: &str, role: Option<&str>) {
    text.push_str("<user");
    xml::attribute(text, "entity", entity);
    text.push_str(" state=\"full\">");
    let _ = write!(text, "<display-text>{}</display-text>", xml::escaped(shown));
    if let Some(role) = role {
        let _ = write!(text, "<roles><entry>{role}</entry></roles>");
    }
}

/// The endpoint, and the end of its user. Who came at a time dialled in then.
fn write_endpoint(text: &mut String, entity: &str, status: &str, (muted, deaf): (bool, bool), came_at: Option<Wall>) {
    let direction = match (muted, deaf) {
        (false, false) => "sendrecv",
        (true, false) => "recvonly",
        (false, true) => "sendonly",
        (true, true) => "inactive",
    };
    text.push_str("<endpoint");
    xml::attribute(text, "entity", entity);
    let _ = write!(text, "><status>{status}</status>");
    if let Some(when) = came_at {
        let _ = write!(
            text,
            "<joining-method>dialed-in</joining-method><joining-info><when>{when}</when></joining-info>"
        );
    }
    let _ = write!(
        text,
        "<media id=\"1\"><type>audio</type><status>{direction}</status></media></endpoint></user>\r\n"
    );
}

// Calls that became conferences.

/// Those who converse in it, and who oversees all.
pub(super) fn may_watch_members(core: &Core, states: &States<'_>, watcher: &Aor, id: InteractionId) -> bool {
    let Some(view) = states.calls.interaction(id) else {
        return false;
    };
    let oversees = core
        .users
        .named(watcher.user())
        .is_some_and(crate::config::User::supervises);
    oversees || conversing(&view).any(|party| party.user.as_ref() == Some(watcher))
}

/// Who listens or whispers is shown to nobody here.
fn conversing(view: &InteractionView) -> impl Iterator<Item = &PartyView> {
    let converses = |party: &&PartyView| {
        matches!(party.role, PartyRole::Member | PartyRole::Barge) && party.state != PartyState::Ringing
    };
    view.parties.iter().filter(converses)
}

/// Whether anybody came, left, or was changed since.
pub(super) fn has_other_members(core: &Core, states: &States<'_>, id: InteractionId, told: &Told) -> bool {
    seen(core, &members_text(core, states, id)) != told.since.changes
}

/// RFC 4575 section 5, whole.
pub(super) fn members(core: &Core, states: &States<'_>, id: InteractionId, told: &mut Told) -> Body {
    let members = members_text(core, states, id);
    told.since = Since {
        number: id.0,
        changes: seen(core, &members),
    };
    let mut text = String::from(xml::HEAD);
    text.push_str("<conference-info xmlns=\"urn:ietf:params:xml:ns:conference-info\"");
    xml::attribute(
        &mut text,
        "entity",
        &aor_uri(&Aor::new(&id.to_string(), &core.config.domain)),
    );
    let _ = write!(text, " state=\"full\" version=\"{}\">\r\n", told.next_version());
    text.push_str(&members);
    text.push_str("</conference-info>\r\n");
    Body {
        content_type: MEDIA_TYPE.into(),
        content: text.into(),
    }
}

fn seen(core: &Core, text: &str) -> u64 {
    core.hasher.hash_one(text)
}

fn members_text(core: &Core, states: &States<'_>, id: InteractionId) -> String {
    let view = states.calls.interaction(id);
    let members: Vec<&PartyView> = view.iter().flat_map(conversing).collect();
    let mut text = format!(
        "<conference-state><user-count>{}</user-count><active>{}</active></conference-state>\r\n<users>\r\n",
        members.len(),
        view.is_some()
    );
    for (at, member) in members.iter().enumerate() {
        let is_second = members[..at].iter().any(|other| other.user == member.user);
        write_party(core, &mut text, member, is_second);
    }
    text.push_str("</users>\r\n");
    text
}

/// Who is not one of ours is named by the number he showed; a second one of the same address is made unique.
fn write_party(core: &Core, text: &mut String, party: &PartyView, is_second: bool) {
    let (name, number) = split_shown(&party.shown);
    let mut entity = match &party.user {
        Some(user) => aor_uri(user),
        None => aor_uri(&Aor::new(number, &core.config.domain)),
    };
    if is_second {
        let _ = write!(entity, ";party={}", party.id);
    }
    let status = match party {
        _ if party.held || party.holds => "on-hold",
        _ if party.muted => "muted-via-focus",
        _ => "connected",
    };
    write_user(text, &entity, if name.is_empty() { number } else { &name }, None);
    write_endpoint(text, &entity, status, (party.muted, party.deaf), None);
}
