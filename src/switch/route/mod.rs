//! Where a call goes: the dial plan says what is meant, the registrar where it is.

pub(crate) mod best;
pub(crate) mod dialplan;
mod outside;

use outside::number_outside;
pub(crate) use outside::{TrunkIndex, asked, number_for, trunk_at, trunk_by_name, trunk_named, way_outside};

use crate::config::trunks::{Dial, INTERNAL, Mode};
use crate::config::{Action, Rule};
use crate::core::{Core, Cx};
use crate::registrar;
use crate::users::UserIndex;
use model::Aor;
use sip::{Destination, Flow, Message, Name};
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a dialled string means.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A user of ours, by all devices.
    User(UserIndex),
    /// A number outside: [`number_for`] says which.
    Trunk(TrunkIndex),
    /// Hear oneself.
    Echo,
    /// Hear a tone of so many Hz.
    Tone(u16),
    /// Hear music: [`music`] says which.
    Music,
    /// Hear the keys one presses.
    Digits,
    /// Talk to all others who dialled the same room: [`room`] says which.
    Room,
    /// A star code.
    Star,
    /// Hear that a star code has been obeyed.
    Done,
    /// Nobody: this status.
    Nobody(u16),
}

/// Who dials: it decides which rules of the dial plan there are, and which of them he may use.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dialler {
    /// A user of ours.
    User(UserIndex),
    /// Somebody outside.
    Trunk(TrunkIndex),
}

impl Dialler {
    /// The user, if it is one of ours.
    #[must_use]
    pub(crate) fn user(self) -> Option<UserIndex> {
        match self {
            Dialler::User(user) => Some(user),
            Dialler::Trunk(_) => None,
        }
    }

    /// The trunk's name, if it is somebody outside.
    #[must_use]
    pub(crate) fn trunk(self, core: &Core) -> Option<Box<str>> {
        match self {
            Dialler::User(_) => None,
            Dialler::Trunk(trunk) => Some(trunk.of(core).name.clone()),
        }
    }

    /// What he may dial.
    #[must_use]
    pub(crate) fn dial(self, core: &Core) -> &Dial {
        match self {
            Dialler::User(user) => &core.users[user].dial,
            Dialler::Trunk(trunk) => &trunk.of(core).dial,
        }
    }
}

/// Who is called in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Callee {
    /// A user of ours.
    User(UserIndex),
    /// This number, by this trunk.
    Outside(TrunkIndex, Box<str>),
}

/// A device of the user who is called.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// The way to it.
    pub(crate) destination: Destination,
    /// Its Contact.
    pub(crate) contact: Box<str>,
    /// Path of its registration, comma-joined; empty if none (RFC 3327).
    pub(crate) path: Box<str>,
    /// Preference in thousandths.
    pub(crate) q: u16,
    /// Whose it is; nobody's of ours outside.
    pub(crate) aor: Option<Aor>,
}

/// The devices of a user, best q first.
pub(crate) type Devices = SmallVec<[Device; 2]>;

impl Device {
    /// Which of our listeners speaks to it, and where it is; for an address without an open stream the connection is 0.
    #[must_use]
    pub(crate) fn flow(&self) -> Flow {
        self.destination.outlook()
    }
}

/// What the dial plan makes of a dialled string (the unescaped user part of the Request-URI) for users in general. Whether
/// this user may dial it, [`target_for`] says.
#[must_use]
pub(crate) fn target(core: &Core, dialled: &str) -> Target {
    meaning(core, INTERNAL, dialled).0
}

/// The same for him who dials: in his context, and 403 for what he has no right to.
#[must_use]
pub(crate) fn target_for(core: &Core, dialler: Dialler, dialled: &str) -> Target {
    let dial = dialler.dial(core);
    let (target, rule) = meaning(core, &dial.context, dialled);
    let right = rule.and_then(|rule| rule.right.as_ref());
    if right.is_some_and(|right| !dial.rights.contains(right)) {
        return Target::Nobody(403);
    }
    // Codes are settings of users.
    match (target, dialler) {
        (Target::Star, Dialler::Trunk(_)) => Target::Nobody(404),
        (target, _) => target,
    }
}

/// The rule by which a dialled string is understood; none for star codes.
#[must_use]
pub(crate) fn rule_for<'c>(core: &'c Core, dialler: Dialler, dialled: &str) -> Option<&'c Rule> {
    meaning(core, &dialler.dial(core).context, dialled).1
}

fn meaning<'c>(core: &'c Core, context: &str, dialled: &str) -> (Target, Option<&'c Rule>) {
    if core.config.stars.dialled(dialled).is_some() {
        return (Target::Star, None);
    }
    match dialplan::rule(&core.config.dialplan, context, dialled) {
        Some(rule) => (obeyed(core, &rule.action, dialled), Some(rule)),
        None => (Target::Nobody(404), None),
    }
}

fn obeyed(core: &Core, action: &Action, dialled: &str) -> Target {
    match action {
        Action::User(extension) => {
            let extension = extension.as_deref().unwrap_or(dialled);
            core.users.find(extension).map_or(Target::Nobody(404), Target::User)
        }
        Action::Trunk(outside) => trunk_named(core, &outside.trunk).map_or(Target::Nobody(404), Target::Trunk),
        Action::Echo => Target::Echo,
        Action::Tone(hz) => Target::Tone(*hz),
        Action::Reject(status) => Target::Nobody(*status),
        // Kinds of target that answer as absent people do.
        Action::Room(_) => Target::Room,
        Action::Music(_) => Target::Music,
        Action::Digits => Target::Digits,
        Action::Group(_) | Action::Voicemail(_) => Target::Nobody(480),
    }
}

/// What the plan does with a dialled string in a context.
fn action<'c>(core: &'c Core, context: &str, dialled: &str) -> Option<&'c Action> {
    dialplan::rule(&core.config.dialplan, context, dialled).map(|rule| &rule.action)
}

/// The name of the conference room that a dialled string means in a context.
#[must_use]
pub(crate) fn room<'a>(core: &'a Core, context: &str, dialled: &'a str) -> Option<&'a str> {
    match action(core, context, dialled)? {
        Action::Room(name) => Some(name.as_deref().unwrap_or(dialled)),
        _ => None,
    }
}

/// The class of music that a dialled string means in a context.
#[must_use]
pub(crate) fn music(core: &Core, context: &str, dialled: &str) -> Arc<str> {
    match action(core, context, dialled) {
        Some(Action::Music(Some(class))) => class.as_ref().into(),
        _ => media::sound::DEFAULT_MUSIC.into(),
    }
}

/// The same in words, for `tandem route test`.
#[must_use]
pub(crate) fn explain(core: &Core, user: UserIndex, dialled: &str) -> String {
    let rule = rule_for(core, Dialler::User(user), dialled);
    let denied = target_for(core, Dialler::User(user), dialled) == Target::Nobody(403);
    let right = rule.and_then(|rule| rule.right.as_deref()).filter(|_| denied);
    if let Some(right) = right {
        return format!("reject 403: {} lacks the right {right:?}", core.users[user].aor);
    }
    let proxied = rule.is_some_and(|rule| rule.mode == Mode::Proxy);
    let how = if proxied { ", by proxy" } else { "" };
    in_words(core, rule.map(|rule| &rule.action), dialled) + how
}

fn in_words(core: &Core, action: Option<&Action>, dialled: &str) -> String {
    if let Some((code, number)) = core.config.stars.dialled(dialled) {
        return format!("star code {code:?} {number}").trim_end().to_owned();
    }
    let quoted = |kind: &str, name: &str| format!("{kind} {name:?}: answers 480");
    match action {
        None => "no rule matches: 404".to_owned(),
        Some(Action::User(extension)) => {
            let extension = extension.as_deref().unwrap_or(dialled);
            match core.users.named(extension) {
                Some(user) => format!("user {}", user.aor),
                None => format!("user {extension:?}: there is none, 404"),
            }
        }
        Some(Action::Trunk(outside)) => format!(
            "number {:?} by trunk {:?}",
            number_outside(outside, dialled),
            outside.trunk
        ),
        Some(Action::Echo) => "echo".to_owned(),
        Some(Action::Tone(hz)) => format!("tone of {hz} Hz"),
        Some(Action::Reject(status)) => format!("reject {status}"),
        Some(Action::Group(name)) => {
            let number = name.as_deref().unwrap_or(dialled);
            quoted("group", number)
        }
        Some(Action::Room(name)) => format!("conference room {:?}", name.as_deref().unwrap_or(dialled)),
        Some(Action::Voicemail(name)) => quoted("voicemail", name),
        Some(Action::Music(class)) => format!(
            "music of class {:?}",
            class.as_deref().unwrap_or(media::sound::DEFAULT_MUSIC)
        ),
        Some(Action::Digits) => "reads back the keys that are pressed".to_owned(),
    }
}

/// Where a user can be reached now, best q first; all of them ring together. Not on the flow `except`: a device that calls
/// its own user does not ring itself. Only the one that `named` is, if the caller has dialled a device (RFC 5627).
#[must_use]
pub(crate) fn devices(cx: &Cx<'_>, aor: &Aor, except: Option<Flow>, named: Option<&[u8]>) -> Devices {
    let except = except.map(Destination::Flow);
    let meant = cx.registrar.meant(aor, named, cx.now);
    let bindings = meant.into_iter().filter_map(|bound| {
        let destination = bound.destination().filter(|way| except.as_ref() != Some(way))?;
        Some((bound, destination))
    });
    registrar::by_device(bindings)
        .into_iter()
        .map(|(bound, destination)| Device {
            destination,
            contact: String::from_utf8_lossy(bound.request_uri()).into(),
            path: bound.binding.path.clone(),
            q: bound.binding.q,
            aor: Some(bound.binding.aor.clone()),
        })
        .collect()
}

/// Whether a request has passed this switch before: one of its Vias is ours (RFC 3261 section 16.3 step 4). A switch that
/// answered such a call would call itself until the hops run out.
#[must_use]
pub(crate) fn has_looped(core: &Core, request: &Message) -> bool {
    let ours = |via: &[u8]| {
        sip::header::Via::parse(via).is_ok_and(|via| {
            let Some(ip) = via.ip() else { return false };
            let address = SocketAddr::new(ip, via.port.unwrap_or(5060));
            let mut listeners = core.config.listeners.iter();
            listeners.any(|listener| listener.advertised.unwrap_or(listener.local) == address)
        })
    };
    request.values(Name::Via).any(ours)
}
