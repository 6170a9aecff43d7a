//! What agents say of themselves and supervisors of them: ready, not ready, logged in and out. By API, websocket and star code.

use super::{Agents, account, group, may_use, said};
use crate::call::Calls;
use crate::config::User;
use crate::config::groups::{Group, Members};
use crate::config::stars::StarCode;
use crate::core::{Core, Cx};
use crate::subscribe::Watched;
use crate::{Answer, By, Command, Refusal, Token, presence};
use clock::Wall;
use group::Team;
use model::{AgentStatus, Aor, GroupView, Medium, PresenceView, Said, Willing};

/// What somebody says of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAgent {
    /// Who: the agent, a supervisor, or an operator.
    pub by: By,
    /// Of whom.
    pub user: Aor,
    /// Of which medium; `None`: of all that the account has.
    pub medium: Option<Medium>,
    /// What.
    pub willing: Willing,
    /// Why not ready: one of the configured reasons, or empty.
    pub reason: Box<str>,
}

impl Agents {
    /// Answers a command about agents and groups.
    pub(crate) fn handle_command(cx: &mut Cx<'_>, calls: &Calls, token: Token, command: Command) {
        match command {
            Command::SetAgent(set) => Agents::handle_set(cx, calls, token, &set),
            Command::Agents { user, by } => {
                let views = agents(cx, calls, user.as_ref());
                let views = views
                    .into_iter()
                    .filter(|view| may_see(cx.core, &by, &view.aor))
                    .collect();
                cx.core.tell(token, Answer::Agents(views));
            }
            Command::Look(look) => presence::directory::look(cx, calls, token, &look),
            // A group that one may not see is told like one that does not exist.
            Command::Groups { number, by } => match groups(cx, number.as_deref(), &by) {
                groups if groups.is_empty() && number.is_some() => {
                    let what = format!("no group {}", number.unwrap_or_default());
                    cx.core.refuse(token, Refusal::NotFound(what.into()));
                }
                groups => cx.core.tell(token, Answer::Groups(groups)),
            },
            _ => {}
        }
    }

    fn handle_set(cx: &mut Cx<'_>, calls: &Calls, token: Token, set: &SetAgent) {
        if let Err(refusal) = allowed(cx.core, set).and_then(|()| say(cx, set)) {
            return cx.core.refuse(token, refusal);
        }
        // What follows from it is to be in the answer.
        super::refresh(cx, calls, &set.user);
        let views = agents(cx, calls, Some(&set.user));
        cx.core.tell(token, Answer::Agents(views));
    }

    /// The user dialled a star code for agents: it is for all media.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn dial(cx: &mut Cx<'_>, user: &Aor, code: StarCode) -> Result<(), Refusal> {
        let logged_off = |medium| said(cx.core, user, medium).is_none_or(|said| said.willing == Willing::LoggedOff);
        let willing = match code {
            // Who is logged in already stays as he is.
            StarCode::AgentLogin if !Medium::ALL.into_iter().all(logged_off) => return Ok(()),
            StarCode::AgentLogin | StarCode::AgentReady => Willing::Ready,
            StarCode::AgentNotReady => Willing::NotReady,
            _ => Willing::LoggedOff,
        };
        let set = SetAgent {
            by: By::User(user.clone()),
            user: user.clone(),
            medium: None,
            willing,
            reason: "".into(),
        };
        say(cx, &set)
    }
}

/// Agents say of themselves, supervisors of everybody.
fn allowed(core: &Core, set: &SetAgent) -> Result<(), Refusal> {
    let may = match &set.by {
        By::Operator(_) => true,
        By::User(by) => *by == set.user || core.users.named(by.user()).is_some_and(User::supervises),
    };
    may.then_some(())
        .ok_or_else(|| Refusal::Forbidden("an agent sets their own state only".into()))
}

/// Who oversees all sees all; others as the configuration says.
fn may_see(core: &Core, by: &By, watched: &Aor) -> bool {
    let By::User(by) = by else { return true };
    let pair = core.users.named(by.user()).zip(core.users.named(watched.user()));
    pair.is_some_and(|(by, watched)| {
        let audience = core.config.subscriptions.watch_presence;
        by.supervises() || presence::rights::sees(core, audience, by, watched)
    })
}

/// The same of a group.
fn may_see_group(core: &Core, by: &By, group: &Group) -> bool {
    let By::User(by) = by else { return true };
    let audience = core.config.subscriptions.watch_presence;
    let sees = |by: &User| by.supervises() || presence::rights::sees_group(audience, by, group);
    core.users.named(by.user()).is_some_and(sees)
}

/// What a snapshot shows: agents whom a user may see, and the user; `None`: all agents. And the groups likewise.
pub(crate) fn shown(cx: &mut Cx<'_>, calls: &Calls, user: Option<&Aor>) -> (Vec<PresenceView>, Vec<GroupView>) {
    super::begin_to_tell(cx, calls);
    let mut views = agents(cx, calls, None);
    let by = user.map_or(By::Operator(None), |user| By::User(user.clone()));
    views.retain(|view| may_see(cx.core, &by, &view.aor));
    if let Some(user) = user {
        let own = cx.core.users.named(user.user()).filter(|own| !own.is_agent());
        views.extend(own.map(|own| presence::view(cx, calls, own)));
    }
    (views, groups(cx, None, &by))
}

/// Takes down what was said.
fn say(cx: &mut Cx<'_>, set: &SetAgent) -> Result<(), Refusal> {
    let account =
        account(cx.core, &set.user).ok_or_else(|| Refusal::NotFound(format!("{} is no agent", set.user).into()))?;
    let known = &cx.core.config.groups.reasons;
    if set.willing == Willing::NotReady && !set.reason.is_empty() && !known.contains(&set.reason) {
        let why = format!("the reason is to be one of: {}", known.join(", "));
        return Err(Refusal::Conflict(why.into()));
    }
    if set.medium.is_some_and(|medium| !may_use(account, medium)) {
        return Err(Refusal::Forbidden("this account may not use this medium".into()));
    }
    let media = Medium::ALL.into_iter();
    let media: Vec<Medium> = media
        .filter(|medium| set.medium.is_none_or(|wanted| wanted == *medium) && may_use(account, *medium))
        .collect();
    for &medium in &media {
        cx.agents.end_wrap(cx.core, &set.user, medium);
    }
    let since = cx.now.wall;
    cx.core.set(&set.user, |settings| {
        for &medium in &media {
            let said = Said {
                willing: set.willing,
                reason: reason(set),
                since: unchanged_since(settings.said(medium), set).unwrap_or(since),
            };
            settings.say(medium, said);
        }
    });
    cx.core.touch(Watched::Presence(set.user.clone()));
    Ok(())
}

fn reason(set: &SetAgent) -> Box<str> {
    match set.willing {
        Willing::NotReady => set.reason.clone(),
        _ => "".into(),
    }
}

/// Who says the same again has been so since the first time.
fn unchanged_since(before: Option<&Said>, set: &SetAgent) -> Option<Wall> {
    let before = before.filter(|said| said.willing == set.willing && said.reason == reason(set))?;
    Some(before.since)
}

/// All agents by address, or one.
fn agents(cx: &Cx<'_>, calls: &Calls, user: Option<&Aor>) -> Vec<PresenceView> {
    let all = cx.core.users.iter().filter(|account| account.is_agent());
    let meant = all.filter(|account| user.is_none_or(|user| account.aor == *user));
    let mut views: Vec<PresenceView> = meant.map(|account| presence::view(cx, calls, account)).collect();
    views.sort_by(|a, b| a.aor.cmp(&b.aor));
    views
}

/// All groups that one may see, or one of them.
fn groups(cx: &Cx<'_>, number: Option<&str>, by: &By) -> Vec<GroupView> {
    let all = cx.core.config.groups.list.iter();
    let meant = all.filter(|group| number.is_none_or(|number| *group.number == *number));
    let meant = meant.filter(|group| may_see_group(cx.core, by, group));
    meant.map(|group| group_view(cx, group)).collect()
}

/// A group as it is now.
pub(crate) fn group_view(cx: &Cx<'_>, group: &Group) -> GroupView {
    let team = Team::Group(group);
    GroupView {
        number: group.number.clone(),
        name: group.name.clone(),
        skill: match &group.members {
            Members::Skill(skill) => Some(skill.clone()),
            Members::List(_) => None,
        },
        members: group::members(cx.core, team).map(|user| user.aor.clone()).collect(),
        ready_voice: ready(cx, team, Medium::Voice),
        ready_im: ready(cx, team, Medium::Im),
        next_voice: group::hunt(cx.core, cx.agents, team, Medium::Voice, &[]),
        next_im: group::hunt(cx.core, cx.agents, team, Medium::Im, &[]),
    }
}

/// How many of a team can be given something of this medium now.
pub(crate) fn ready(cx: &Cx<'_>, team: Team<'_>, medium: Medium) -> u32 {
    let members = group::members(cx.core, team);
    let ready = members.filter(|user| cx.agents.status(&user.aor, medium) == AgentStatus::Ready);
    u32::try_from(ready.count()).unwrap_or(u32::MAX)
}
