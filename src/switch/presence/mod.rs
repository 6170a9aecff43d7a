//! Presence: one state of a user, made of devices, calls, what they said as an agent and what their devices publish. What SIP
//! watchers, lamps and pages are shown are projections of it.

pub(crate) mod directory;
mod published;
pub(crate) mod rights;
#[cfg(test)]
mod tests;

pub(crate) use published::{Published, TIMER_PUBLISHED, handle_publish, handle_timer};

use crate::agent;
use crate::call::Calls;
use crate::config::User;
use crate::core::Cx;
use crate::text::printable;
use model::{AgentStatus, ChannelView, DeviceState, Medium, PresenceView};

/// What a user looks like to others now.
pub(crate) fn view(cx: &Cx<'_>, calls: &Calls, user: &User) -> PresenceView {
    let settings = cx.core.settings.of(&user.aor);
    let channel = |medium| agent::may_use(user, medium).then(|| cx.agents.view(cx.core, &user.aor, medium));
    let mut view = PresenceView {
        aor: user.aor.clone(),
        name: user.name.clone(),
        device: agent::device(cx, calls, &user.aor),
        do_not_disturb: settings.is_some_and(|settings| settings.do_not_disturb),
        voice: channel(Medium::Voice),
        im: channel(Medium::Im),
        note: "".into(),
        activity: "".into(),
        hides: false,
        text: "".into(),
    };
    add_published(cx, &mut view);
    view.text = text(&view).into();
    view
}

/// What the devices say. A device that publishes nothing is there if it is registered; who hides does so with all of them. Of
/// more publications than devices the newest count: baresip leaves one behind at its start that it never takes back.
fn add_published(cx: &Cx<'_>, view: &mut PresenceView) {
    let published = || cx.core.published.of(&view.aor);
    let devices = cx.registrar.bindings(&view.aor, cx.now).len().max(1);
    let newest = published().take(devices);
    let hides = newest.filter(|one| one.is_open == Some(false)).count() == devices;
    let note = published().map(|one| &one.note).find(|note| !note.is_empty());
    let note = note.cloned().unwrap_or_default();
    let activity = published().find_map(|one| one.activity.clone());
    view.hides = hides;
    view.note = printable(&note).into();
    view.activity = activity.unwrap_or_default();
}

/// What presence documents say of a user or group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Person {
    /// Can be reached (RFC 3863 section 4.1.4).
    pub(crate) is_open: bool,
    /// RPID activities by their element names (RFC 4480 section 3.2).
    pub(crate) activities: Vec<Box<str>>,
    /// For people.
    pub(crate) note: Box<str>,
}

/// One state as a presence document says it. Idle is open, not registered is closed, and so is an agent who is logged off,
/// whatever phones are there.
pub(crate) fn person(view: &PresenceView) -> Person {
    let is_logged_off = |channel: &ChannelView| channel.state == AgentStatus::LoggedOff;
    let channels = || [view.voice.as_ref(), view.im.as_ref()].into_iter().flatten();
    let is_agent = channels().next().is_some();
    let is_open = match view.device {
        DeviceState::InCall | DeviceState::Ringing => true,
        _ if is_agent => !channels().all(is_logged_off),
        device => device != DeviceState::Offline,
    };
    let is_open = is_open && !(view.hides && view.device != DeviceState::InCall);
    let note = match (&*view.note, &*view.text) {
        ("", text) => text.into(),
        (note, "ready" | "available") => note.into(),
        (note, text) => format!("{text}: {note}").into(),
    };
    let activity = activity(view).filter(|_| is_open);
    Person {
        is_open,
        activities: activity.map(Into::into).into_iter().collect(),
        note,
    }
}

/// What a user does, by RPID's name for it.
fn activity(view: &PresenceView) -> Option<&str> {
    match view.device {
        DeviceState::InCall => return Some("on-the-phone"),
        DeviceState::Ringing => return Some("busy"),
        DeviceState::Idle | DeviceState::Offline if view.do_not_disturb => return Some("busy"),
        DeviceState::Idle | DeviceState::Offline => {}
    }
    if wraps_up(view) {
        return Some("busy");
    }
    let published = Some(&*view.activity).filter(|activity| !activity.is_empty());
    match overall(view) {
        None | Some(AgentStatus::Ready | AgentStatus::LoggedOff) => published.map(known_activity),
        Some(AgentStatus::Busy | AgentStatus::AfterCall) => Some("busy"),
        Some(AgentStatus::NotReady) => Some(known_activity(reason(view).unwrap_or_default())),
    }
}

/// Reasons that RPID has an element for; all others are being away.
fn known_activity(reason: &str) -> &str {
    const KNOWN: [&str; 15] = [
        "appointment",
        "breakfast",
        "dinner",
        "holiday",
        "in-transit",
        "lunch",
        "meal",
        "meeting",
        "presentation",
        "sleeping",
        "travel",
        "vacation",
        "working",
        "busy",
        "on-the-phone",
    ];
    KNOWN.into_iter().find(|known| *known == reason).unwrap_or("away")
}

/// Does not want to be disturbed, is on a break, or has something left to do; and does not talk just now.
pub(crate) fn is_absent(view: &PresenceView) -> bool {
    let talks = matches!(view.device, DeviceState::InCall | DeviceState::Ringing);
    let rests = || wraps_up(view) || overall(view) == Some(AgentStatus::NotReady);
    !talks && (view.do_not_disturb || rests())
}

/// Does what is left to do after a call. As while it lasted that is what others are to know, whatever messages could be taken.
fn wraps_up(view: &PresenceView) -> bool {
    let voice = view.voice.as_ref();
    voice.is_some_and(|voice| voice.state == AgentStatus::AfterCall)
}

/// The most that one of an agent's media is good for.
fn overall(view: &PresenceView) -> Option<AgentStatus> {
    let channels = [view.voice.as_ref(), view.im.as_ref()].into_iter().flatten();
    channels.map(|channel| channel.state).max()
}

fn reason(view: &PresenceView) -> Option<&str> {
    let channels = [view.voice.as_ref(), view.im.as_ref()].into_iter().flatten();
    let mut reasons = channels.map(|channel| &*channel.reason);
    reasons.find(|reason| !reason.is_empty())
}

/// In a word or two.
fn text(view: &PresenceView) -> &str {
    match view.device {
        DeviceState::InCall => return "on the phone",
        DeviceState::Ringing => return "ringing",
        DeviceState::Idle | DeviceState::Offline if view.do_not_disturb => return "do not disturb",
        DeviceState::Idle | DeviceState::Offline => {}
    }
    let Some(voice) = &view.voice else {
        return match view.device {
            DeviceState::Offline => "not registered",
            _ if view.hides => "not available",
            _ => says(view, "available"),
        };
    };
    match (voice.state, view.im.as_ref().map(|im| im.state)) {
        (AgentStatus::Ready, Some(AgentStatus::Ready) | None) => says(view, "ready"),
        (AgentStatus::Ready, _) => "ready for calls",
        (AgentStatus::AfterCall, _) => "after-call work",
        (_, Some(AgentStatus::Ready)) => "ready for messages",
        (voice, im) => match voice.max(im.unwrap_or_default()) {
            AgentStatus::NotReady => reason(view).unwrap_or("not ready"),
            AgentStatus::AfterCall => "after-call work",
            AgentStatus::Busy => "busy",
            AgentStatus::LoggedOff | AgentStatus::Ready => "logged off",
        },
    }
}

/// What a device published, where we know nothing better.
fn says<'a>(view: &'a PresenceView, otherwise: &'a str) -> &'a str {
    if view.activity.is_empty() {
        otherwise
    } else {
        &view.activity
    }
}
