//! Agents and their groups: groups.toml.

use std::time::Duration;

/// groups.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// In the order of their numbers.
    pub list: Vec<Group>,
    /// An agent who has been in a call is given nothing for so long; zero: is ready at once.
    pub wrap_up: Duration,
    /// Sessions of messages that one agent has at most; default 3.
    pub im_sessions: usize,
    /// What agents may give as reasons for not being ready.
    pub reasons: Vec<Box<str>>,
    /// Who is logged in.
    pub login: Login,
}

/// What makes an agent logged in who has never said anything.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Only their own command: page, API or star code.
    Command,
    /// A registered phone or an open page: they are ready until they say otherwise.
    Registration,
}

/// A group of agents with a number of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What is dialled.
    pub number: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Who is in it.
    pub members: Members,
    /// Who of them is next.
    pub strategy: Strategy,
}

/// Who is in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// These users.
    List(Vec<Box<str>>),
    /// Every agent with this skill.
    Skill(Box<str>),
}

/// Who of a group's agents is next.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Who has had nothing to do for the longest time.
    #[default]
    LongestIdle,
}

impl Default for Groups {
    fn default() -> Groups {
        let reasons = ["break", "meal", "meeting", "training", "away"];
        Groups {
            list: Vec::new(),
            wrap_up: Duration::ZERO,
            im_sessions: 3,
            reasons: reasons.map(Into::into).into(),
            login: Login::Command,
        }
    }
}

impl Groups {
    /// The group with this number.
    #[must_use]
    pub fn named(&self, number: &str) -> Option<&Group> {
        self.list.iter().find(|group| *group.number == *number)
    }
}
