//! `dialog` (RFC 4235): the lamps of desk phones, which show who of the others rings or talks.
//!
//! Every document is whole (`state="full"`): a user has a handful of calls. A call that has ended is named once more, as
//! `terminated`, because many phones put a lamp out only then. Call-ID and tags go to those who may also see with whom somebody
//! talks: they name the call in a Replaces to pick it up (RFC 3891), and who may do that is asked again there.

use super::package::{States, Told};
use super::{Watched, xml};
use crate::call::{DialogPhase, DialogView};
use crate::config::Audience;
use crate::core::{Core, Cx, aor_uri};
use crate::presence::{self, rights};
use crate::text::split_shown;
use crate::users::UserIndex;
use model::{Aor, Direction};
use sip::{Body, Reply};
use std::fmt::Write;

pub(super) const MEDIA_TYPE: &str = "application/dialog-info+xml";

/// Who may watch whom is a setting (S6). Who may not is told the same of users who exist and of others (S11).
pub(super) fn admit(core: &Core, watcher: UserIndex, dialled: Option<&str>) -> Result<Watched, Reply> {
    let own = &core.users[watcher];
    let watched = match dialled {
        Some(dialled) => rights::watched(core, core.config.subscriptions.watch_calls, own, dialled)?,
        None => own,
    };
    Ok(Watched::Dialogs(watched.aor.clone()))
}

fn sees(core: &Core, audience: Audience, watcher: &Aor, watched: &Aor) -> bool {
    let pair = core.users.named(watcher.user()).zip(core.users.named(watched.user()));
    pair.is_some_and(|(watcher, watched)| rights::sees(core, audience, watcher, watched))
}

/// Whether a call began, went on or ended since, or the lamp shows something else, or the watcher may see more of it or less.
pub(super) fn has_news(cx: &Cx<'_>, states: &States<'_>, user: &Aor, watcher: &Aor, told: &Told) -> bool {
    let with_peers = sees(cx.core, cx.core.config.subscriptions.watch_peers, watcher, user);
    let now = states.calls.dialogs_of(user).map(|dialog| entry(&dialog, with_peers));
    let now = now.chain(stand_in(cx, states, user, watcher).map(|shown| shown.entry(cx)));
    let before = told.named.iter().copied().filter(|entry| !is_over(*entry));
    !now.eq(before)
}

/// What is remembered of a call that was told: its phase, and whether its other side was told.
fn entry(dialog: &DialogView<'_>, with_peers: bool) -> (u64, u8) {
    (dialog.id.0, dialog.phase as u8 | u8::from(with_peers) << 4)
}

fn is_over((_, how): (u64, u8)) -> bool {
    how & 0xf == DialogPhase::Terminated as u8
}

/// What stands where calls would, while there are none: who does not want to be disturbed, or is on a break, is engaged as far
/// as lamps can say it (decision 0022). Not a number of ours: no call can be taken over by it.
/// With the reason, if the watcher may see it.
struct StandIn(Box<str>);

impl StandIn {
    fn entry(&self, cx: &Cx<'_>) -> (u64, u8) {
        (cx.core.hasher.hash_one(&self.0), DialogPhase::Confirmed as u8)
    }
}

fn stand_in(cx: &Cx<'_>, states: &States<'_>, user: &Aor, watcher: &Aor) -> Option<StandIn> {
    let account = cx.core.users.named(user.user())?;
    let settings = cx.core.config.subscriptions;
    let view = settings
        .lamps_show_breaks
        .then(|| presence::view(cx, states.calls, account))?;
    presence::is_absent(&view).then(|| match sees(cx.core, settings.watch_presence, watcher, user) {
        true => StandIn(view.text),
        false => StandIn("".into()),
    })
}

/// RFC 4235 section 4.
pub(super) fn document(cx: &Cx<'_>, states: &States<'_>, user: &Aor, watcher: &Aor, told: &mut Told) -> Body {
    let core = &*cx.core;
    let mut text = String::from(xml::HEAD);
    let version = told.next_version();
    let _ = write!(
        text,
        "<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"{version}\" state=\"full\""
    );
    xml::attribute(&mut text, "entity", &aor_uri(user));
    text.push_str(">\r\n");
    let with_peers = sees(core, core.config.subscriptions.watch_peers, watcher, user);
    let before = std::mem::take(&mut told.named);
    for dialog in states.calls.dialogs_of(user) {
        told.named.push(entry(&dialog, with_peers));
        write_dialog(&mut text, core, &dialog, with_peers);
    }
    if let Some(shown) = stand_in(cx, states, user, watcher) {
        let entry = shown.entry(cx);
        told.named.push(entry);
        write_stand_in(&mut text, user, entry.0, &shown.0);
    }
    for (id, _) in before.into_iter().filter(|entry| !is_over(*entry)) {
        if told.named.iter().all(|(other, _)| *other != id) {
            let _ = write!(text, "<dialog id=\"{id:016x}\"><state>terminated</state></dialog>\r\n");
        }
    }
    text.push_str("</dialog-info>\r\n");
    Body {
        content_type: MEDIA_TYPE.into(),
        content: text.into(),
    }
}

fn write_dialog(text: &mut String, core: &Core, dialog: &DialogView<'_>, with_peers: bool) {
    let (id, direction) = (dialog.id.0, direction(dialog.direction));
    let state = match dialog.phase {
        DialogPhase::Trying => "trying",
        DialogPhase::Early => "early",
        DialogPhase::Confirmed => "confirmed",
        DialogPhase::Terminated => "terminated",
    };
    let _ = write!(text, "<dialog id=\"{id:016x}\"");
    // RFC 4235 section 4.1.1: as the watched device sees it. A lamp that may pick up names it in a Replaces.
    if let Some((call_id, ours, theirs)) = dialog.ids.filter(|_| with_peers) {
        xml::attribute(text, "call-id", call_id);
        xml::attribute(text, "local-tag", &String::from_utf8_lossy(theirs));
        xml::attribute(text, "remote-tag", &ours.to_string());
    }
    let _ = write!(text, " direction=\"{direction}\"><state>{state}</state>");
    if with_peers && !dialog.peer.is_empty() {
        let (name, number) = split_shown(dialog.peer);
        text.push_str("<remote><identity");
        if !name.is_empty() {
            xml::attribute(text, "display", &name);
        }
        let uri = aor_uri(&Aor::new(number, &core.config.domain));
        let _ = write!(text, ">{}</identity></remote>", xml::escaped(&uri));
    }
    text.push_str("</dialog>\r\n");
}

/// A dialog without another party; phones with a display show the name of this side.
fn write_stand_in(text: &mut String, user: &Aor, id: u64, why: &str) {
    let _ = write!(text, "<dialog id=\"{id:016x}\"><state>confirmed</state>");
    if !why.is_empty() {
        text.push_str("<local><identity");
        xml::attribute(text, "display", why);
        let _ = write!(text, ">{}</identity></local>", xml::escaped(&aor_uri(user)));
    }
    text.push_str("</dialog>\r\n");
}

/// Who called whom, as the watched user's device sees it.
fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "initiator",
        Direction::Out => "recipient",
    }
}
