//! `reg` (RFC 3680): by which contacts a user is registered, as reginfo. For oneself, and for administrators: it tells where
//! somebody is.
//!
//! Every document is whole. A contact that was only refreshed is no news (section 4.7.1).

use super::package::Told;
use super::{Watched, xml};
use crate::config::Role;
use crate::core::{Core, Cx, aor_uri};
use crate::registrar::Bound;
use crate::users::UserIndex;
use model::Aor;
use sip::{Body, Reply};
use std::fmt::Write;

pub(super) const MEDIA_TYPE: &str = "application/reginfo+xml";

/// Who may not watch others hears the same whether they exist or not (S11).
pub(super) fn admit(core: &Core, watcher: UserIndex, dialled: Option<&str>) -> Result<Watched, Reply> {
    let watcher = &core.users[watcher];
    match dialled {
        None => Ok(Watched::Registration(watcher.aor.clone())),
        Some(own) if own == watcher.aor.user() => Ok(Watched::Registration(watcher.aor.clone())),
        Some(_) if !watcher.roles.contains(&Role::Admin) => Err(Reply::new(403)),
        Some(other) => match core.users.named(other) {
            Some(user) => Ok(Watched::Registration(user.aor.clone())),
            None => Err(Reply::new(404)),
        },
    }
}

/// Whether anything looks different.
pub(super) fn has_news(cx: &Cx<'_>, watched: &Aor, told: &Told) -> bool {
    told.named.first().map(|(seen, _)| *seen) != Some(seen(cx, &cx.registrar.in_force(watched, cx.now)))
}

/// Section 5.
pub(super) fn document(cx: &Cx<'_>, watched: &Aor, told: &mut Told) -> Body {
    let bindings = cx.registrar.in_force(watched, cx.now);
    let was_active = told.named.first().is_some_and(|(_, active)| *active > 0);
    let state = match (bindings.is_empty(), was_active) {
        (false, _) => "active",
        (true, true) => "terminated",
        (true, false) => "init",
    };
    told.named.clear();
    told.named.push((seen(cx, &bindings), u8::from(!bindings.is_empty())));
    let mut text = String::from(xml::HEAD);
    let version = told.next_version();
    let _ = write!(
        text,
        "<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"{version}\" state=\"full\">\r\n<registration"
    );
    xml::attribute(&mut text, "aor", &aor_uri(watched));
    xml::attribute(&mut text, "id", "r");
    xml::attribute(&mut text, "state", state);
    text.push_str(">\r\n");
    for bound in bindings {
        contact(cx, bound, &mut text);
    }
    text.push_str("</registration>\r\n</reginfo>\r\n");
    Body {
        content_type: MEDIA_TYPE.into(),
        content: text.into(),
    }
}

/// Section 5.3.
fn contact(cx: &Cx<'_>, bound: &Bound, text: &mut String) {
    let binding = &bound.binding;
    let registered = binding.created_at.until(cx.now.wall).as_secs();
    let left = bound.deadline.since(cx.now.mono).as_secs();
    // Writing to a String cannot fail.
    let _ = write!(text, "<contact id=\"c{:x}\"", cx.core.hasher.hash_one(&binding.key.0));
    let _ = write!(
        text,
        " state=\"active\" event=\"registered\" duration-registered=\"{registered}\" expires=\"{left}\" q=\"{}.{:03}\">",
        binding.q / 1_000,
        binding.q % 1_000
    );
    let _ = write!(text, "<uri>{}</uri>", xml::escaped(&binding.contact));
    if let Some(instance) = bound.instance() {
        let value = xml::escaped(&format!("\"{instance}\""));
        let _ = write!(text, "<unknown-param name=\"+sip.instance\">{value}</unknown-param>");
    }
    text.push_str("</contact>\r\n");
}

/// What of it is news when it changes.
fn seen(cx: &Cx<'_>, bindings: &[&Bound]) -> u64 {
    let told = |bound: &&Bound| {
        (
            bound.binding.key.0.clone(),
            bound.binding.contact.clone(),
            bound.binding.q,
        )
    };
    cx.core.hasher.hash_one(bindings.iter().map(told).collect::<Vec<_>>())
}
