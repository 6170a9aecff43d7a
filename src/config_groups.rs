//! groups.toml: agents, and the groups they are in.

use crate::config_section::{At, Section, did_you_mean};
use crate::config_toml::Place;
use crate::config_users::{UserEntry, wrong_extension};
use std::time::Duration;
use switch::config::groups::{Group, Groups, Login, Members, Strategy};

/// Longest name of a group, and reason: what a display shows.
const SHOWN_MAX: usize = model::REASON_MAX;

/// What groups.toml says, and what the checks of the whole need to know.
pub(crate) struct GroupsFile {
    pub(crate) groups: Groups,
    /// Numbers and members with their places.
    named: Vec<(At<String>, Vec<At<String>>)>,
}

pub(crate) fn read(mut top: Section<'_>) -> GroupsFile {
    let mut groups = agents(top.inner("agents"));
    let mut named = Vec::new();
    for (number, section) in top.named() {
        let (group, members) = group(&number, section);
        groups.list.push(group);
        named.push((number, members));
    }
    GroupsFile { groups, named }
}

fn agents(mut section: Section<'_>) -> Groups {
    let (usual, minute) = (Groups::default(), Duration::from_secs(60));
    let reasons: Option<Vec<At<String>>> = section.read("reasons");
    Groups {
        list: Vec::new(),
        wrap_up: section.within("wrap_up", usual.wrap_up, Duration::ZERO..=60 * minute),
        im_sessions: section.within("im_sessions", usual.im_sessions, 1..=100),
        reasons: match reasons {
            Some(reasons) => reasons
                .iter()
                .filter_map(|reason| shown(&section, "reasons", reason))
                .collect(),
            None => usual.reasons,
        },
        login: section.or("login", Login::Command),
    }
}

/// A text for a display.
fn shown(section: &Section<'_>, key: &str, text: &At<String>) -> Option<Box<str>> {
    let length = text.value.chars().count();
    if (1..=SHOWN_MAX).contains(&length) {
        return Some(text.value.as_str().into());
    }
    section.problem(
        &text.place,
        format!("`{key}`: expected 1 to {SHOWN_MAX} characters, found {length}"),
    );
    None
}

fn group(number: &At<String>, mut section: Section<'_>) -> (Group, Vec<At<String>>) {
    if let Some(wrong) = wrong_extension(&number.value) {
        section.problem(&number.place, wrong.replace("an extension", "the number of a group"));
    }
    let name: Option<At<String>> = section.read("name");
    let name = name.and_then(|name| shown(&section, "name", &name));
    let listed: Option<Vec<At<String>>> = section.read("members");
    let skill: Option<String> = section.read("skill");
    section.later(&["wrap_up", "overflow", "music"], "calls to groups");
    let members = match (&listed, skill) {
        (Some(listed), None) => Members::List(listed.iter().map(|member| member.value.as_str().into()).collect()),
        (None, Some(skill)) => Members::Skill(skill.into()),
        _ => {
            let text = "who is in it? Add either members = [\"1001\"] or skill = \"german\"".to_owned();
            section.problem(&number.place, text);
            Members::List(Vec::new())
        }
    };
    let group = Group {
        number: number.value.as_str().into(),
        name: name.unwrap_or_else(|| number.value.as_str().into()),
        members,
        strategy: section.or("strategy", Strategy::LongestIdle),
    };
    (group, listed.unwrap_or_default())
}

impl GroupsFile {
    /// A number means one thing, and members are agents.
    pub(crate) fn check(&self, users: &[UserEntry], mut report: impl FnMut(&Place, String)) {
        let find = |extension: &str| users.iter().find(|entry| entry.user.aor.user() == extension);
        for (number, members) in &self.named {
            if find(&number.value).is_some() {
                report(
                    &number.place,
                    format!("{} is a user in users.toml already", number.value),
                );
            }
            for member in members {
                match find(&member.value) {
                    Some(entry) if entry.user.is_agent() => {}
                    Some(_) => {
                        let text = format!(
                            "user {} is no agent: add roles = [\"agent\"] in users.toml",
                            member.value
                        );
                        report(&member.place, text);
                    }
                    None => {
                        let hint = did_you_mean(&member.value, users.iter().map(|entry| entry.user.aor.user()));
                        report(&member.place, format!("no user {:?} in users.toml{hint}", member.value));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_section::Problems;
    use crate::config_toml::parse;
    use crate::config_users;

    fn read_text(text: &str, users: &str) -> (Groups, Vec<String>) {
        let mut syntax = Vec::new();
        let groups = parse(&"groups.toml".into(), text, &mut syntax);
        let users = parse(&"users.toml".into(), users, &mut syntax);
        let problems = Problems::new(syntax);
        let users = config_users::read(Section::new(users, &problems), "example.com", "example.com");
        let file = read(Section::new(groups, &problems));
        let mut found = Vec::new();
        file.check(&users, |place, text| found.push(format!("{place}: {text}")));
        found.extend(problems.into_inner().iter().map(ToString::to_string));
        found.sort();
        (file.groups, found)
    }

    const USERS: &str = "[1001]\npassword = \"x\"\nroles = [\"agent\"]\n[1002]\npassword = \"x\"\n";

    #[test]
    fn a_group_has_a_number_and_members_by_list_or_skill() {
        let text = "[agents]\nwrap_up = \"10s\"\nreasons = [\"tea\"]\nlogin = \"registration\"\n\
                    [2000]\nname = \"Support\"\nmembers = [\"1001\"]\n[2001]\nskill = \"german\"\n";
        let (groups, problems) = read_text(text, USERS);
        assert_eq!(problems, Vec::<String>::new());
        let support = groups.named("2000").unwrap();
        assert_eq!(
            (&*support.name, &support.members),
            ("Support", &Members::List(vec!["1001".into()]))
        );
        let german = groups.named("2001").unwrap();
        assert_eq!(
            (&*german.name, &german.members),
            ("2001", &Members::Skill("german".into()))
        );
        assert_eq!((groups.wrap_up.as_secs(), groups.login), (10, Login::Registration));
        assert_eq!(groups.reasons, ["tea".into()]);
        assert_eq!(read_text("", USERS).0, Groups::default());
    }

    #[test]
    fn mistakes_are_named() {
        let text = "[1001]\nskill = \"x\"\n[2000]\nmembers = [\"1002\", \"101\"]\n[2001]\nmembrs = []\n\
                    [2002]\nskill = \"x\"\nstrategy = \"random\"\nmusic = \"x\"\n[agents]\nim_sessions = 0\n";
        let (_, problems) = read_text(text, USERS);
        let expected = [
            "1001 is a user in users.toml already",
            "user 1002 is no agent: add roles = [\"agent\"] in users.toml",
            "no user \"101\" in users.toml (did you mean `1001`?)",
            "who is in it?",
            "unknown key `membrs` (did you mean `members`?)",
            "`strategy`: expected longest-idle, found \"random\"",
            "`music`: calls to groups is not built yet",
            "`im_sessions`: 0 is not between 1 and 100",
        ];
        for text in expected {
            assert!(
                problems.iter().any(|problem| problem.contains(text)),
                "{text}: {problems:#?}"
            );
        }
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    }
}
