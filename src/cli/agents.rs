//! `agents ...` and `groups ...`: the questions and what is told of the answers.

use crate::client::escaped;
use crate::remote::read;
use crate::table::{shown, table};
use crate::{AgentState, AgentsVerb, GroupsVerb};
use hyper::Method;
use model::{AgentStatus, ChannelView, GroupView, PresenceView};
use serde_json::{Value, json};

pub(crate) fn question(verb: &AgentsVerb) -> (Method, String) {
    let one = |user: &str| format!("/api/v1/agents/{}", escaped(user));
    match verb {
        AgentsVerb::List { user: None } => (Method::GET, "/api/v1/agents".to_owned()),
        AgentsVerb::List { user: Some(user) } => (Method::GET, one(user)),
        AgentsVerb::Set { user, .. } => (Method::PUT, one(user)),
    }
}

pub(crate) fn body(verb: &AgentsVerb) -> Option<Value> {
    let AgentsVerb::Set {
        state, medium, reason, ..
    } = verb
    else {
        return None;
    };
    let state = match state {
        AgentState::Ready => "ready",
        AgentState::NotReady => "not-ready",
        AgentState::LoggedOff => "logged-off",
    };
    let mut body = json!({ "state": state });
    if let Some(medium) = medium {
        body["medium"] = json!(medium);
    }
    if let Some(reason) = reason {
        body["reason"] = json!(reason);
    }
    Some(body)
}

/// The answer in words; `None` if it has not the shape we know.
pub(crate) fn told(verb: &AgentsVerb, answer: &Value) -> Option<String> {
    match verb {
        AgentsVerb::List { user: None } => Some(told_agents(&read::<Vec<PresenceView>>(&answer["agents"])?)),
        AgentsVerb::List { user: Some(_) } | AgentsVerb::Set { .. } => Some(told_agents(&[read(answer)?])),
    }
}

fn told_agents(agents: &[PresenceView]) -> String {
    let row = |agent: &PresenceView| {
        [
            agent.aor.user().to_owned(),
            shown(&agent.name),
            shown(&agent.text),
            agent.voice.as_ref().map(channel).unwrap_or_default(),
            agent.im.as_ref().map(channel).unwrap_or_default(),
            shown(&agent.note),
        ]
    };
    let rows: Vec<_> = agents.iter().map(row).collect();
    table(["AGENT", "NAME", "IS", "VOICE", "IM", "NOTE"], &rows, "no agents")
}

/// `not-ready meal`, `busy (2)`.
fn channel(channel: &ChannelView) -> String {
    let state = serde_json::to_value(channel.state).ok();
    let state = state.as_ref().and_then(Value::as_str).unwrap_or_default();
    match channel.state {
        AgentStatus::NotReady => format!("{state} {}", shown(&channel.reason)).trim_end().to_owned(),
        AgentStatus::Busy | AgentStatus::Ready if channel.engaged > 0 => format!("{state} ({})", channel.engaged),
        _ => state.to_owned(),
    }
}

pub(crate) fn group_question(verb: &GroupsVerb) -> (Method, String) {
    match verb {
        GroupsVerb::List { group: None } => (Method::GET, "/api/v1/groups".to_owned()),
        GroupsVerb::List { group: Some(group) } => (Method::GET, format!("/api/v1/groups/{}", escaped(group))),
    }
}

/// The answer in words; `None` if it has not the shape we know.
pub(crate) fn told_groups(verb: &GroupsVerb, answer: &Value) -> Option<String> {
    let groups = match verb {
        GroupsVerb::List { group: None } => read::<Vec<GroupView>>(&answer["groups"])?,
        GroupsVerb::List { group: Some(_) } => vec![read(answer)?],
    };
    let row = |group: &GroupView| {
        let next = group.next_voice.as_ref().or(group.next_im.as_ref());
        [
            shown(&group.number),
            shown(&group.name),
            group.members.len().to_string(),
            group.ready_voice.to_string(),
            group.ready_im.to_string(),
            next.map(|next| next.user().to_owned()).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    Some(table(
        ["GROUP", "NAME", "AGENTS", "READY", "READY IM", "NEXT"],
        &rows,
        "no groups",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arguments, Verb};
    use clap::Parser;

    fn verb(line: &str) -> Verb {
        Arguments::try_parse_from(format!("tandem {line}").split(' '))
            .unwrap()
            .verb
    }

    #[test]
    fn what_is_said_of_an_agent_is_put() {
        let Verb::Agents(verb) = verb("agents set 1001 not-ready --medium im --reason meal") else {
            panic!("another verb")
        };
        assert_eq!(question(&verb), (Method::PUT, "/api/v1/agents/1001".to_owned()));
        assert_eq!(
            body(&verb),
            Some(json!({ "state": "not-ready", "medium": "im", "reason": "meal" }))
        );
        assert!(Arguments::try_parse_from(["tandem", "agents", "set", "1001", "away"]).is_err());
    }

    #[test]
    fn agents_and_groups_are_tables() {
        let channel = |state: &str, reason: &str, engaged: u32| json!({ "state": state, "reason": reason, "since": 0, "engaged": engaged });
        let agent = json!({
            "aor": "1001@a", "name": "Kate", "device": "in-call", "do_not_disturb": false, "note": "", "activity": "",
            "hides": false, "text": "on the phone", "voice": channel("busy", "", 1), "im": channel("not-ready", "meal", 0),
        });
        let Verb::Agents(list) = verb("agents list") else {
            panic!("another verb")
        };
        let told = told(&list, &json!({ "agents": [agent] })).unwrap();
        assert!(
            told.contains("1001   Kate  on the phone  busy (1)  not-ready meal"),
            "{told}"
        );
        let Verb::Groups(list) = verb("groups list 2000") else {
            panic!("another verb")
        };
        assert_eq!(group_question(&list).1, "/api/v1/groups/2000");
        let group = json!({
            "number": "2000", "name": "Support", "skill": null, "members": ["1001@a", "1002@a"], "ready_voice": 1,
            "ready_im": 2, "next_voice": "1002@a", "next_im": null,
        });
        let told = told_groups(&list, &group).unwrap();
        assert!(told.contains("2000   Support  2       1      2         1002"), "{told}");
    }
}
