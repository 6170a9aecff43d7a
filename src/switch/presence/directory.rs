//! Lines of the directory: whom somebody found, how they are, and what they can take now (R017 to R023). Searching is the
//! shell's business; here is what only the switch knows.

use super::{rights, view};
use crate::agent::group::{self, Team, team};
use crate::agent::{self, ready};
use crate::call::Calls;
use crate::config::{Role, User};
use crate::core::Cx;
use crate::{Answer, By, Token};
use model::{
    AgentStatus, Aor, DeviceState, DirectoryEntry, InteractionId, Medium, PresenceView, TargetAction, TargetKind,
};

/// Who is asked about, by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Who asks.
    pub by: By,
    /// Targets in the order of the answer: extensions, numbers of groups, `skill:...`. What there is not is left out.
    pub targets: Vec<Box<str>>,
    /// What can be done with them about this interaction of who asks; `None`: about none.
    pub interaction: Option<InteractionId>,
    /// Whom who asks consults just now comes first, asked for or not.
    pub consulted_first: bool,
}

/// Answers with a line for each.
pub(crate) fn look(cx: &mut Cx<'_>, calls: &Calls, token: Token, look: &Look) {
    let asker = match &look.by {
        By::User(user) => cx.core.users.named(user.user()),
        By::Operator(_) => None,
    };
    let consulted = asker
        .map(|asker| calls.consultations_of(&asker.aor))
        .unwrap_or_default();
    let question = Question {
        cx,
        calls,
        asker,
        consulted: &consulted,
        about: look.interaction.is_some(),
    };
    let first = consulted
        .iter()
        .filter(|_| look.consulted_first)
        .map(|(_, user)| user.user());
    let mut entries: Vec<DirectoryEntry> = Vec::new();
    for target in first.chain(look.targets.iter().map(|target| &**target)) {
        if entries.iter().all(|entry| *entry.target != *target) {
            entries.extend(question.entry(target));
        }
    }
    cx.core.tell(token, Answer::Directory(entries));
}

struct Question<'a, 'c> {
    cx: &'a Cx<'c>,
    calls: &'a Calls,
    /// `None`: the operator.
    asker: Option<&'a User>,
    consulted: &'a [(InteractionId, Aor)],
    about: bool,
}

impl Question<'_, '_> {
    fn entry(&self, target: &str) -> Option<DirectoryEntry> {
        match (self.cx.core.users.named(target), team(self.cx.core, target)) {
            (Some(user), _) => Some(self.user(user)),
            (None, Some(team)) => Some(self.team(team)),
            (None, None) => None,
        }
    }

    fn user(&self, user: &User) -> DirectoryEntry {
        let presence = view(self.cx, self.calls, user);
        let audience = self.cx.core.config.subscriptions.watch_presence;
        let sees = |asker: &User| asker.supervises() || rights::sees(self.cx.core, audience, asker, user);
        let is_seen = self.asker.is_none_or(sees);
        let consultation = self.consulted.iter().find(|(_, consulted)| *consulted == user.aor);
        let mut actions = match self.asker.is_some_and(|asker| asker.aor == user.aor) {
            true => Vec::new(),
            // What somebody can take tells how they are.
            false => self.actions(
                !is_seen || takes_calls(user, &presence),
                !is_seen || takes_messages(user, &presence),
            ),
        };
        if consultation.is_some() {
            actions = vec![TargetAction::CompleteTransfer, TargetAction::CompleteConference];
        }
        DirectoryEntry {
            kind: kind(user),
            target: user.aor.user().into(),
            name: user.name.clone(),
            email: user.email.clone(),
            skills: user.skills.clone(),
            presence: Some(presence).filter(|_| is_seen),
            group: None,
            actions,
            consultation: consultation.map(|(id, _)| *id),
        }
    }

    /// Calls to groups are not built yet, so only messages are offered.
    fn team(&self, team: Team<'_>) -> DirectoryEntry {
        // As of users: what a group can take tells how its agents are.
        let is_seen = self.sees_team(team);
        let takes_im = !is_seen || ready(self.cx, team, Medium::Im) > 0;
        let (kind, target, name, skills) = match team {
            Team::Group(group) => (TargetKind::Group, group.number.clone(), group.name.clone(), Vec::new()),
            Team::Skill(skill) => (
                TargetKind::Skill,
                group::skill_target(skill),
                skill.into(),
                vec![skill.into()],
            ),
        };
        DirectoryEntry {
            kind,
            target,
            name,
            email: "".into(),
            skills,
            presence: None,
            group: match team {
                Team::Group(group) if is_seen => Some(agent::group_view(self.cx, group)),
                Team::Group(_) | Team::Skill(_) => None,
            },
            actions: self.actions(false, takes_im),
            consultation: None,
        }
    }

    fn sees_team(&self, team: Team<'_>) -> bool {
        let audience = self.cx.core.config.subscriptions.watch_presence;
        let sees = |asker: &User| match team {
            _ if asker.supervises() => true,
            Team::Group(group) => rights::sees_group(audience, asker, group),
            Team::Skill(_) => rights::sees_skill(audience, asker),
        };
        self.asker.is_none_or(sees)
    }

    /// In the order of a menu. A consultation, transfer or conference needs something to be about.
    fn actions(&self, takes_calls: bool, takes_messages: bool) -> Vec<TargetAction> {
        use TargetAction::{Call, Conference, ConsultIm, ConsultVoice, Im, Transfer};
        let may_write = self.asker.is_none_or(|asker| asker.im);
        let (voice, im): (&[TargetAction], _) = match self.about {
            true => (&[ConsultVoice, Transfer, Conference], ConsultIm),
            false => (&[Call], Im),
        };
        let voice = voice.iter().copied().filter(|_| takes_calls);
        let mut actions: Vec<TargetAction> = voice
            .chain(takes_messages.then_some(im).filter(|_| may_write))
            .collect();
        actions.sort();
        actions
    }
}

fn kind(user: &User) -> TargetKind {
    match user {
        user if user.is_agent() => TargetKind::Agent,
        user if user.roles.contains(&Role::Supervisor) => TargetKind::Supervisor,
        _ => TargetKind::User,
    }
}

/// A phone is there, nobody talks on it, and nobody is not to be disturbed. Agents who work are to be ready for it (R002); one
/// who is logged off is a user like others.
fn takes_calls(user: &User, presence: &PresenceView) -> bool {
    let status = presence.voice.as_ref().map(|channel| channel.state);
    let works = |status| {
        matches!(
            status,
            AgentStatus::NotReady | AgentStatus::AfterCall | AgentStatus::Busy
        )
    };
    let is_free = presence.device == DeviceState::Idle && !presence.do_not_disturb && !presence.hides;
    is_free && !(user.is_agent() && status.is_some_and(works))
}

/// Something shows messages, and who works as an agent has a place for one more (R002, R007).
fn takes_messages(user: &User, presence: &PresenceView) -> bool {
    match &presence.im {
        Some(channel) => channel.state == AgentStatus::Ready,
        None => user.im && presence.device != DeviceState::Offline,
    }
}
