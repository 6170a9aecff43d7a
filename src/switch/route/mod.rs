//! Where a call goes: the dial plan says what is meant, the registrar where it is.

pub(crate) mod best;
pub(crate) mod dialplan;

use crate::config::Action;
use crate::core::{Core, Cx};
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

/// A device of the user who is called.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// The way to it.
    pub(crate) destination: Destination,
    /// Its Contact.
    pub(crate) contact: Box<str>,
    /// Path of its registration, comma-joined; empty if none (RFC 3327).
    pub(crate) path: Box<str>,
}

/// The devices of a user, best q first.
pub(crate) type Devices = SmallVec<[Device; 2]>;

impl Device {
    /// Which of our listeners speaks to it, and where it is; for an address without an open stream the connection is 0.
    #[must_use]
    pub(crate) fn flow(&self) -> Flow {
        match self.destination {
            Destination::Flow(flow) => flow,
            Destination::Address { transport, local, peer } => Flow {
                transport,
                local,
                peer,
                connection: 0,
            },
        }
    }
}

/// What the dial plan makes of a dialled string (the unescaped user part of the Request-URI).
#[must_use]
pub(crate) fn target(core: &Core, dialled: &str) -> Target {
    if core.config.stars.dialled(dialled).is_some() {
        return Target::Star;
    }
    let Some(action) = dialplan::action(&core.config.dialplan, dialled) else {
        return Target::Nobody(404);
    };
    match action {
        Action::User(extension) => {
            let extension = extension.as_deref().unwrap_or(dialled);
            core.users.find(extension).map_or(Target::Nobody(404), Target::User)
        }
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

/// The name of the conference room that a dialled string means.
#[must_use]
pub(crate) fn room<'a>(core: &'a Core, dialled: &'a str) -> Option<&'a str> {
    match dialplan::action(&core.config.dialplan, dialled)? {
        Action::Room(name) => Some(name.as_deref().unwrap_or(dialled)),
        _ => None,
    }
}

/// The class of music that a dialled string means.
#[must_use]
pub(crate) fn music(core: &Core, dialled: &str) -> Arc<str> {
    match dialplan::action(&core.config.dialplan, dialled) {
        Some(Action::Music(Some(class))) => class.as_ref().into(),
        _ => media::sound::DEFAULT_MUSIC.into(),
    }
}

/// The same in words, for `tandem route test`.
#[must_use]
pub(crate) fn explain(core: &Core, dialled: &str) -> String {
    if let Some((code, number)) = core.config.stars.dialled(dialled) {
        return format!("star code {code:?} {number}").trim_end().to_owned();
    }
    let quoted = |kind: &str, name: &str| format!("{kind} {name:?}: answers 480");
    match dialplan::action(&core.config.dialplan, dialled) {
        None => "no rule matches: 404".to_owned(),
        Some(Action::User(extension)) => {
            let extension = extension.as_deref().unwrap_or(dialled);
            match core.users.named(extension) {
                Some(user) => format!("user {}", user.aor),
                None => format!("user {extension:?}: there is none, 404"),
            }
        }
        Some(Action::Echo) => "echo".to_owned(),
        Some(Action::Tone(hz)) => format!("tone of {hz} Hz"),
        Some(Action::Reject(status)) => format!("reject {status}"),
        Some(Action::Group(name)) => quoted("group", name),
        Some(Action::Room(name)) => format!("conference room {:?}", name.as_deref().unwrap_or(dialled)),
        Some(Action::Voicemail(name)) => quoted("voicemail", name),
        Some(Action::Music(_)) => format!("music of class {:?}", music(core, dialled)),
        Some(Action::Digits) => "reads back the keys that are pressed".to_owned(),
    }
}

/// Where a user can be reached now, best q first; all of them ring together. Not on the flow `except`: a device that calls
/// its own user does not ring itself.
#[must_use]
pub(crate) fn devices(cx: &Cx<'_>, aor: &Aor, except: Option<Flow>) -> Devices {
    let bindings = cx.registrar.bindings(aor, cx.now);
    bindings
        .iter()
        .filter_map(|bound| {
            let destination = bound
                .destination()
                .filter(|&way| except.map(Destination::Flow) != Some(way))?;
            Some(Device {
                destination,
                contact: bound.binding.contact.clone(),
                path: bound.binding.path.clone(),
            })
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
