//! `dialog` (RFC 4235): the lamps of desk phones, which show who of the others rings or talks.
//!
//! Every document is whole (`state="full"`): a user has a handful of calls. A call that has ended is named once more, as
//! `terminated`, because many phones put a lamp out only then. Call-IDs and tags are not told: who knows them could take
//! the call over (RFC 3891); pick-up has its own star code.

use super::package::{States, Told};
use super::{Watched, xml};
use crate::call::{DialogPhase, DialogView};
use crate::config::{Audience, Role};
use crate::core::{Core, aor_uri};
use crate::text::split_shown;
use crate::users::UserIndex;
use model::{Aor, Direction};
use sip::{Body, Reply};
use std::fmt::Write;

pub(super) const MEDIA_TYPE: &str = "application/dialog-info+xml";

/// Who may watch whom is a setting. A user who does not exist is as unknown to watchers as to callers.
pub(super) fn admit(core: &Core, watcher: UserIndex, dialled: Option<&str>) -> Result<Watched, Reply> {
    let own = &core.users[watcher].aor;
    let watched = match dialled {
        Some(dialled) => &core.users.named(dialled).ok_or_else(|| Reply::new(404))?.aor,
        None => own,
    };
    match sees(core, core.config.subscriptions.watch_calls, own, watched) {
        true => Ok(Watched::Dialogs(watched.clone())),
        false => Err(Reply::new(403)),
    }
}

fn sees(core: &Core, audience: Audience, watcher: &Aor, watched: &Aor) -> bool {
    let oversees = || {
        let user = core.users.named(watcher.user());
        user.is_some_and(|user| user.roles.contains(&Role::Supervisor) || user.roles.contains(&Role::Admin))
    };
    watcher == watched
        || match audience {
            Audience::Everyone => true,
            Audience::Supervisors => oversees(),
            Audience::Nobody => false,
        }
}

/// Whether a call began, went on or ended since.
pub(super) fn has_news(states: &States<'_>, user: &Aor, told: &Told) -> bool {
    let now = states
        .calls
        .dialogs_of(user)
        .map(|dialog| (dialog.id.0, dialog.phase as u8));
    let before = told.named.iter().copied().filter(|(_, phase)| *phase != ENDED);
    !now.eq(before)
}

const ENDED: u8 = DialogPhase::Terminated as u8;

/// RFC 4235 section 4.
pub(super) fn document(core: &Core, states: &States<'_>, user: &Aor, watcher: &Aor, told: &mut Told) -> Body {
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
        told.named.push((dialog.id.0, dialog.phase as u8));
        write_dialog(&mut text, core, &dialog, with_peers);
    }
    for (id, _) in before.into_iter().filter(|(_, phase)| *phase != ENDED) {
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
    let _ = write!(
        text,
        "<dialog id=\"{id:016x}\" direction=\"{direction}\"><state>{state}</state>"
    );
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

/// Who called whom, as the watched user's device sees it.
fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::In => "initiator",
        Direction::Out => "recipient",
    }
}
