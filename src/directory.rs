//! What the API needs to know of the configuration: whom the directory knows, and what a user may.

use model::{Aor, Medium, TargetKind};
use std::collections::BTreeSet;
use switch::config::groups::Members;
use switch::config::{Audience, Config, Role, User};
use web::{Capabilities, Listed};

/// Users, groups, and skills that an agent has.
pub(crate) fn listed(config: &Config) -> Vec<Listed> {
    let users = config.users.iter().map(|user| Listed {
        target: user.aor.user().into(),
        kind: match user {
            user if user.is_agent() => TargetKind::Agent,
            user if user.roles.contains(&Role::Supervisor) => TargetKind::Supervisor,
            _ => TargetKind::User,
        },
        name: user.name.clone(),
        email: user.email.clone(),
        words: user.skills.iter().cloned().chain(groups_of(config, user)).collect(),
    });
    let groups = config.groups.list.iter().map(|group| Listed {
        target: group.number.clone(),
        kind: TargetKind::Group,
        name: group.name.clone(),
        email: "".into(),
        words: Vec::new(),
    });
    let skills: BTreeSet<&Box<str>> = config
        .users
        .iter()
        .filter(|user| user.is_agent())
        .flat_map(|user| &user.skills)
        .collect();
    let skills = skills.into_iter().map(|skill| Listed {
        target: format!("skill:{skill}").into(),
        kind: TargetKind::Skill,
        name: skill.clone(),
        email: "".into(),
        words: Vec::new(),
    });
    users.chain(groups).chain(skills).collect()
}

/// Names of the groups somebody is in.
fn groups_of<'c>(config: &'c Config, user: &'c User) -> impl Iterator<Item = Box<str>> + 'c {
    let groups = config.groups.list.iter().filter(|_| user.is_agent());
    let is_in = |members: &Members| match members {
        Members::List(list) => list.iter().any(|member| **member == *user.aor.user()),
        Members::Skill(skill) => user.skills.contains(skill),
    };
    groups
        .filter(move |group| is_in(&group.members))
        .map(|group| group.name.clone())
}

pub(crate) fn capabilities(config: &Config, user: Option<&Aor>) -> Capabilities {
    let account = user.and_then(|user| config.users.iter().find(|known| known.aor == *user));
    let im = account.is_some_and(|account| account.im);
    let agent = account.filter(|account| account.is_agent());
    let media = Medium::ALL.into_iter().filter(|medium| *medium != Medium::Im || im);
    let supervises = user.is_none() || account.is_some_and(User::supervises);
    Capabilities {
        im,
        agent_media: media.filter(|_| agent.is_some()).collect(),
        supervises,
        not_ready_reasons: config.groups.reasons.clone(),
        wrap_up_s: config.groups.wrap_up.as_secs(),
        im_sessions: config.groups.im_sessions,
        offline_messages: config.im.store,
        message_max: config.im.max_size,
        keeps_transcripts: config.im.keep_transcripts,
        presence_of_others: supervises || config.subscriptions.watch_presence == Audience::Everyone,
        group_availability: supervises
            || match config.subscriptions.watch_presence {
                Audience::Everyone => true,
                Audience::Group => account.is_some_and(|account| groups_of(config, account).next().is_some()),
                Audience::Supervisors | Audience::Nobody => false,
            },
        drop_from_conference: true,
        transfer_to_voicemail: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use switch::config::groups::{Group, Strategy};
    use switch::testing;

    /// What a user of the test configuration may be offered after `change`.
    fn offered(user: Option<&str>, change: impl FnOnce(&mut Config)) -> Capabilities {
        let mut config = testing::config();
        config.users[1].roles.push(Role::Agent);
        config.users[2].roles.push(Role::Supervisor);
        config.groups.list.push(Group {
            number: "2000".into(),
            name: "Support".into(),
            members: Members::List(vec!["1001".into()]),
            strategy: Strategy::LongestIdle,
        });
        change(&mut config);
        let user = user.map(|user| Aor::new(user, testing::DOMAIN));
        capabilities(&config, user.as_ref())
    }

    #[test]
    fn users_are_listed_with_mail_skills_and_groups_and_so_are_groups_and_skills() {
        let mut config = testing::config();
        config.users.truncate(4);
        for (user, skills) in [(1, vec![]), (2, vec!["german", "billing"])] {
            config.users[user].roles.push(Role::Agent);
            config.users[user].skills = skills.into_iter().map(Into::into).collect();
        }
        config.users[3].roles.push(Role::Supervisor);
        config.users[3].skills = vec!["dutch".into()];
        let group = |number: &str, name: &str, members| Group {
            number: number.into(),
            name: name.into(),
            members,
            strategy: Strategy::LongestIdle,
        };
        let list = Members::List(vec!["1001".into(), "1003".into()]);
        config.groups.list = vec![
            group("2000", "Support", list),
            group("2001", "Deutsch", Members::Skill("german".into())),
        ];
        let line = |one: &Listed| {
            let words: Vec<&str> = one.words.iter().map(|word| &**word).collect();
            let (kind, words) = (one.kind, words.join(" "));
            format!("{} {kind:?} {} <{}> {words}", one.target, one.name, one.email)
        };
        let lines: Vec<String> = listed(&config).iter().map(line).collect();
        let expected = [
            "1000 User User 1000 <1000@example.com> ",
            "1001 Agent User 1001 <1001@example.com> Support",
            "1002 Agent User 1002 <1002@example.com> german billing Deutsch",
            // A skill of who is no agent is nobody's to ask for, but tells who it is.
            "1003 Supervisor User 1003 <1003@example.com> dutch",
            "2000 Group Support <> ",
            "2001 Group Deutsch <> ",
            "skill:billing Skill billing <> ",
            "skill:german Skill german <> ",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_may_be_offered_follows_from_the_configuration() {
        let agent = offered(Some("1001"), |_| {});
        assert_eq!(agent.agent_media, Medium::ALL);
        assert!(agent.im && !agent.supervises && agent.presence_of_others && agent.group_availability);
        let mute = offered(Some("1001"), |config| config.users[1].im = false);
        assert_eq!((mute.im, mute.agent_media), (false, vec![Medium::Voice]));
        let user = offered(Some("1003"), |config| {
            config.groups.reasons = vec!["tea".into()];
            config.im.store = false;
        });
        assert_eq!(
            (user.agent_media.len(), user.not_ready_reasons),
            (0, vec!["tea".into()])
        );
        assert!(!user.offline_messages);
    }

    #[test]
    fn how_many_of_a_group_are_ready_is_offered_to_who_may_see_it() {
        let seen = |user, audience| {
            let offered = offered(user, |config| config.subscriptions.watch_presence = audience);
            offered.group_availability
        };
        let of = |audience| [Some("1001"), Some("1002"), Some("1003"), None].map(|user| seen(user, audience));
        assert_eq!(of(Audience::Everyone), [true; 4]);
        assert_eq!(of(Audience::Group), [true, true, false, true]);
        assert_eq!(of(Audience::Nobody), [false, true, false, true]);
    }
}
