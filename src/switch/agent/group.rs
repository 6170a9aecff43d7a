//! Groups of agents, and who of them is next.

use super::Agents;
use crate::config::User;
use crate::config::groups::{Group, Members};
use crate::core::Core;
use model::{AgentStatus, Aor, Medium};

/// Before a skill that is written where a number is: `skill:german`.
const SKILL: &str = "skill:";

/// Whom one can hunt among.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Team<'a> {
    /// The agents of a group.
    Group(&'a Group),
    /// All agents with this skill.
    Skill(&'a str),
}

/// What a dialled text names: a group by its number, or a skill that some agent has (`skill:german`).
#[must_use]
pub(crate) fn team<'a>(core: &'a Core, dialled: &'a str) -> Option<Team<'a>> {
    if let Some(skill) = dialled.strip_prefix(SKILL) {
        let known = core.users.iter().any(|user| has_skill(user, skill));
        return known.then_some(Team::Skill(skill));
    }
    core.config.groups.named(dialled).map(Team::Group)
}

/// What is dialled for a skill.
#[must_use]
pub(crate) fn skill_target(skill: &str) -> Box<str> {
    format!("{SKILL}{skill}").into()
}

/// The member who can be given something of this medium and has been idle longest; of those idle equally long the first of
/// the list. Nobody of `past`: those who did not take it.
#[must_use]
pub(crate) fn hunt(core: &Core, agents: &Agents, team: Team<'_>, medium: Medium, past: &[Aor]) -> Option<Aor> {
    let ready = members(core, team).filter(|user| {
        let status = agents.status(&user.aor, medium);
        status == AgentStatus::Ready && !past.contains(&user.aor)
    });
    let longest = ready.min_by_key(|user| agents.idle_since(&user.aor, medium));
    longest.map(|user| user.aor.clone())
}

/// Its agents, in the order of the list.
pub(crate) fn members<'a>(core: &'a Core, team: Team<'a>) -> Box<dyn Iterator<Item = &'a User> + 'a> {
    let with = |skill: &'a str| {
        core.users
            .iter()
            .filter(move |user| user.is_agent() && has_skill(user, skill))
    };
    match team {
        Team::Skill(skill) => Box::new(with(skill)),
        Team::Group(group) => match &group.members {
            Members::Skill(skill) => Box::new(with(skill)),
            Members::List(list) => {
                let listed = list.iter().filter_map(|extension| core.users.named(extension));
                Box::new(listed.filter(|user| user.is_agent()))
            }
        },
    }
}

/// The groups a user is in.
pub(crate) fn groups_of<'a>(core: &'a Core, user: &'a User) -> impl Iterator<Item = &'a Group> {
    core.config.groups.list.iter().filter(|group| is_in(user, group))
}

/// Whether a user is one of the agents of a group.
#[must_use]
pub(crate) fn is_in(user: &User, group: &Group) -> bool {
    user.is_agent()
        && match &group.members {
            Members::Skill(skill) => has_skill(user, skill),
            Members::List(list) => list.iter().any(|member| **member == *user.aor.user()),
        }
}

/// Whether two users are in one group.
#[must_use]
pub(crate) fn share_group(core: &Core, one: &User, other: &User) -> bool {
    groups_of(core, one).any(|group| groups_of(core, other).any(|theirs| theirs.number == group.number))
}

fn has_skill(user: &User, skill: &str) -> bool {
    user.is_agent() && user.skills.iter().any(|known| **known == *skill)
}
