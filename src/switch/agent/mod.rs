//! Agents: who can be given what. One state for each agent and medium (`state`), groups and who of them is next (`group`),
//! and what the API and star codes ask for (`command`).
//!
//! States follow from what was said, what is registered and what goes on; they are looked at anew when a step is done and one
//! of these may have changed ([`Agents::on_changed`]).

mod command;
pub(crate) mod group;
mod state;
#[cfg(test)]
mod tests;

pub use command::SetAgent;
pub(crate) use command::{group_view, ready, shown};
pub(crate) use state::Lease;

use crate::call::{Calls, DialogPhase};
use crate::config::User;
use crate::config::groups::Login;
use crate::core::{Core, Cx};
use crate::presence;
use crate::room::Room;
use crate::subscribe::Watched;
use ahash::RandomState;
use clock::{Mono, Wall};
use hashbrown::HashMap;
use model::{AgentStatus, Aor, ChannelView, DeviceState, Event, Medium, Said, Willing};
use smallvec::SmallVec;
use state::{Channel, Grounds, Wrap};
use std::collections::{BTreeMap, BTreeSet};

/// All agents of the switch: as many as users with the role.
#[derive(Debug)]
pub(crate) struct Agents {
    known: HashMap<Aor, Agent, RandomState>,
    /// Open pages by user: one each, by the number their websocket was given.
    pages: BTreeMap<Aor, SmallVec<[u64; 1]>>,
    /// What was told of users and groups to those who watch, as a number that another look would have changed.
    told: HashMap<Aor, u64, RandomState>,
    /// Whose after-call work a timer ends.
    wraps: BTreeMap<u64, (Aor, Medium)>,
    last_wrap: u64,
}

/// One agent.
#[derive(Debug, Default)]
struct Agent {
    /// By [`Medium`].
    channels: [Channel; Medium::ALL.len()],
}

impl Agents {
    /// Nobody.
    #[must_use]
    pub(crate) fn new(core: &Core) -> Agents {
        Agents {
            known: HashMap::with_hasher(core.hasher.clone()),
            pages: BTreeMap::new(),
            told: HashMap::with_hasher(core.hasher.clone()),
            wraps: BTreeMap::new(),
            last_wrap: 0,
        }
    }

    /// How an agent is in a medium; logged off if the user is none.
    #[must_use]
    pub(crate) fn status(&self, user: &Aor, medium: Medium) -> AgentStatus {
        self.channel(user, medium).map(Channel::status).unwrap_or_default()
    }

    /// Since when an agent has nothing to do, if that is so.
    fn idle_since(&self, user: &Aor, medium: Medium) -> (Mono, Wall) {
        self.channel(user, medium).map(Channel::idle_since).unwrap_or_default()
    }

    /// One medium of an agent, as others see it.
    #[must_use]
    pub(crate) fn view(&self, core: &Core, user: &Aor, medium: Medium) -> ChannelView {
        let channel = self.channel(user, medium);
        channel
            .map(|channel| channel.view(said(core, user, medium)))
            .unwrap_or_default()
    }

    fn channel(&self, user: &Aor, medium: Medium) -> Option<&Channel> {
        Some(&self.known.get(user)?.channels[medium as usize])
    }

    /// Whether a page of this user is open.
    #[must_use]
    pub(crate) fn has_page(&self, user: &Aor) -> bool {
        self.pages.contains_key(user)
    }

    /// The sessions of messages that this user takes part in or is invited to now, and no others. To be told whenever one may
    /// have begun or ended; told twice is no harm.
    pub(crate) fn hold_sessions(&mut self, core: &mut Core, user: &Aor, live: impl Iterator<Item = Lease>) {
        let live: SmallVec<[Lease; 2]> = live.collect();
        let now = self.channel(user, Medium::Im).map(Channel::leases).unwrap_or_default();
        if core.users.named(user.user()).is_none_or(|user| !user.is_agent()) || now == &*live {
            return;
        }
        self.known.entry(user.clone()).or_default().channels[Medium::Im as usize].hold(live);
        core.touch(Watched::Presence(user.clone()));
    }

    /// These things may have changed in the step that is done: looks at the agents they belong to anew, adds what that
    /// changes, and tells those who watch.
    pub(crate) fn on_changed(cx: &mut Cx<'_>, calls: &Calls, changed: &mut BTreeSet<Watched>) {
        let with_calls = changed.iter().filter_map(|watched| match watched {
            Watched::Dialogs(user) => Some(Watched::Presence(user.clone())),
            _ => None,
        });
        let with_calls: Vec<Watched> = with_calls.collect();
        changed.extend(with_calls);
        let looked_at = |watched: &Watched| match watched {
            Watched::Presence(user) => Some(user.clone()),
            _ => None,
        };
        for user in changed.iter().filter_map(looked_at).collect::<Vec<_>>() {
            refresh(cx, calls, &user);
        }
        changed.append(&mut cx.core.changed);
        if cx.core.is_watched() {
            changed
                .iter()
                .filter_map(looked_at)
                .for_each(|user| announce(cx, calls, &user));
        }
    }

    /// What was said is there again after a restart, or users and groups are others: everybody is looked at.
    pub(crate) fn on_reload(&mut self, core: &mut Core) {
        let agents = core.users.iter().filter(|user| user.is_agent());
        let now: Vec<Aor> = agents.map(|user| user.aor.clone()).collect();
        let before: Vec<Aor> = self.known.keys().cloned().collect();
        for user in now.into_iter().chain(before) {
            core.touch(Watched::Presence(user));
        }
    }

    /// The time for what is left to do after a call is over.
    pub(crate) fn handle_timer(&mut self, core: &mut Core, number: u64) {
        let Some((user, medium)) = self.wraps.remove(&number) else {
            return;
        };
        if let Some(agent) = self.known.get_mut(&user) {
            agent.channels[medium as usize].unwrap_up();
        }
        core.touch(Watched::Presence(user));
    }

    /// A page of a user was opened.
    pub(crate) fn open_page(&mut self, core: &mut Core, user: &Aor, page: u64) {
        let pages = self.pages.entry(user.clone()).or_default();
        if !pages.contains(&page) {
            pages.push(page);
        }
        core.touch(Watched::Presence(user.clone()));
    }

    /// It is closed, or its connection lost.
    pub(crate) fn close_page(&mut self, core: &mut Core, user: &Aor, page: u64) {
        let Some(pages) = self.pages.get_mut(user) else { return };
        pages.retain(|other| *other != page);
        if pages.is_empty() {
            self.pages.remove(user);
        }
        core.touch(Watched::Presence(user.clone()));
    }

    /// After-call work ends before its time.
    fn end_wrap(&mut self, core: &mut Core, user: &Aor, medium: Medium) {
        let Some(agent) = self.known.get_mut(user) else { return };
        if let Some(wrap) = agent.channels[medium as usize].unwrap_up() {
            core.endpoint.cancel_timer(wrap.alarm);
            self.wraps.remove(&wrap.number);
        }
    }

    /// Checks that every lease by voice is a leg that lives, and every timer an agent's.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub(crate) fn audit(&self, calls: &Calls) -> Result<(), String> {
        for (user, agent) in &self.known {
            let live = voice_leases(calls, user);
            let held = agent.channels[Medium::Voice as usize].leases();
            if held != &*live {
                return Err(format!("agents: {user} holds {held:?}, there is {live:?}"));
            }
        }
        let wrapping = self.known.values().flat_map(|agent| &agent.channels);
        let wrapping = wrapping.filter_map(Channel::wrapping).count();
        if wrapping != self.wraps.len() {
            return Err(format!("agents: {wrapping} wrap up, {} timers", self.wraps.len()));
        }
        Ok(())
    }
}

/// How a user's devices are.
#[must_use]
pub(crate) fn device(cx: &Cx<'_>, calls: &Calls, user: &Aor) -> DeviceState {
    let legs = calls
        .dialogs_of(user)
        .map(|dialog| match (dialog.phase, dialog.direction) {
            (DialogPhase::Trying | DialogPhase::Early, model::Direction::Out) => DeviceState::Ringing,
            _ => DeviceState::InCall,
        });
    legs.max()
        .unwrap_or_else(|| match cx.registrar.bindings(user, cx.now).is_empty() {
            true => DeviceState::Offline,
            false => DeviceState::Idle,
        })
}

/// From now on changes are told: how agents, groups and those are who are in calls is known. Of others everything that can
/// change first is news.
fn begin_to_tell(cx: &mut Cx<'_>, calls: &Calls) {
    if !cx.agents.told.is_empty() {
        return;
    }
    let agents = cx
        .core
        .users
        .iter()
        .filter(|user| user.is_agent())
        .map(|user| user.aor.clone());
    let domain = &cx.core.config.domain;
    let groups = cx
        .core
        .config
        .groups
        .list
        .iter()
        .map(|group| Aor::new(&group.number, domain));
    let subjects: Vec<Aor> = agents.chain(groups).chain(calls.users().cloned()).collect();
    for subject in subjects {
        if let Some((seen, _)) = news(cx, calls, &subject) {
            cx.agents.told.insert(subject, seen);
        }
    }
}

/// Tells those who watch, if they do not know.
fn announce(cx: &mut Cx<'_>, calls: &Calls, subject: &Aor) {
    if let Some((seen, event)) = news(cx, calls, subject)
        && cx.agents.told.insert(subject.clone(), seen) != Some(seen)
    {
        cx.core.announce(|| event);
    }
}

/// How a user or group is now, and a number that is another one when that is.
fn news(cx: &Cx<'_>, calls: &Calls, subject: &Aor) -> Option<(u64, Event)> {
    let (core, hasher) = (&*cx.core, &cx.core.hasher);
    if let Some(user) = core.users.named(subject.user()) {
        let presence = presence::view(cx, calls, user);
        let (seen, audience) = (hasher.hash_one(&presence), presence::rights::audience(core, user));
        return Some((seen, Event::PresenceChanged { presence, audience }));
    }
    let settings = core.config.groups.named(subject.user())?;
    let (group, audience) = (
        group_view(cx, settings),
        presence::rights::audience_of_group(core, settings),
    );
    Some((hasher.hash_one(&group), Event::GroupChanged { group, audience }))
}

/// Looks at one agent anew; touches the groups whose number of ready agents may be another.
fn refresh(cx: &mut Cx<'_>, calls: &Calls, user: &Aor) {
    let Some(account) = account(cx.core, user) else {
        return forget(cx, user);
    };
    let groups: SmallVec<[Aor; 2]> = group::groups_of(cx.core, account)
        .map(|group| Aor::new(&group.number, &cx.core.config.domain))
        .collect();
    let agent = cx.agents.known.entry(user.clone()).or_default();
    let is_over = agent.channels[Medium::Voice as usize].hold(voice_leases(calls, user));
    if is_over {
        wrap_up(cx, user);
    }
    if settle(cx, user) {
        // Lamps show breaks too.
        cx.core.touch(Watched::Dialogs(user.clone()));
        for group in groups {
            cx.core.touch(Watched::Presence(group));
        }
    }
}

/// The agent's channels follow their grounds; whether that changed one.
fn settle(cx: &mut Cx<'_>, user: &Aor) -> bool {
    let has_device = !cx.registrar.bindings(user, cx.now).is_empty();
    let has_page = cx.agents.has_page(user);
    let settings = cx.core.settings.of(user);
    let Some(agent) = cx.agents.known.get_mut(user) else {
        return false;
    };
    let mut is_changed = false;
    for medium in Medium::ALL {
        let grounds = Grounds {
            said: settings.and_then(|settings| settings.said(medium)),
            unsaid: unsaid(cx.core, user, medium),
            is_reachable: match medium {
                Medium::Voice => has_device,
                Medium::Im => has_device || has_page,
            },
            capacity: match medium {
                Medium::Voice => 1,
                Medium::Im => cx.core.config.groups.im_sessions,
            },
        };
        is_changed |= agent.channels[medium as usize].settle(cx.now, grounds);
    }
    is_changed
}

/// What an agent is who never said anything.
fn unsaid(core: &Core, user: &Aor, medium: Medium) -> Willing {
    let may = account(core, user).is_some_and(|account| may_use(account, medium));
    match core.config.groups.login {
        Login::Registration if may => Willing::Ready,
        _ => Willing::LoggedOff,
    }
}

/// Whether the account has this medium at all (R005).
#[must_use]
pub(crate) fn may_use(account: &User, medium: Medium) -> bool {
    account.is_agent() && (medium != Medium::Im || account.im)
}

/// A call that somebody had answered is over.
fn wrap_up(cx: &mut Cx<'_>, user: &Aor) {
    let time = cx.core.config.groups.wrap_up;
    if time.is_zero() {
        return;
    }
    cx.agents.end_wrap(cx.core, user, Medium::Voice);
    cx.agents.last_wrap += 1;
    let number = cx.agents.last_wrap;
    let owner = Room::Agent.owner(number);
    let alarm = cx.core.endpoint.set_timer(cx.now.mono + time, owner, 0);
    if let Some(agent) = cx.agents.known.get_mut(user) {
        cx.agents.wraps.insert(number, (user.clone(), Medium::Voice));
        agent.channels[Medium::Voice as usize].wrap(Wrap { number, alarm });
    }
}

/// The user is no agent, or no longer.
fn forget(cx: &mut Cx<'_>, user: &Aor) {
    if cx.agents.known.contains_key(user) {
        for medium in Medium::ALL {
            cx.agents.end_wrap(cx.core, user, medium);
        }
        cx.agents.known.remove(user);
    }
}

/// The agent with this address.
fn account<'a>(core: &'a Core, user: &Aor) -> Option<&'a User> {
    let account = core.users.named(user.user())?;
    (account.is_agent() && account.aor == *user).then_some(account)
}

/// The legs of a user that are not over.
fn voice_leases(calls: &Calls, user: &Aor) -> SmallVec<[Lease; 2]> {
    let leases = calls.dialogs_of(user).map(|dialog| Lease {
        of: dialog.id.0,
        is_up: dialog.phase == DialogPhase::Confirmed,
    });
    leases.collect()
}

/// What a user said as an agent.
fn said<'a>(core: &'a Core, user: &Aor, medium: Medium) -> Option<&'a Said> {
    core.settings.of(user)?.said(medium)
}
