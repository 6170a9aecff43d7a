//! `directory search ...`: who can be reached, how they are, and what they can take now.

use crate::DirectoryVerb;
use crate::client::query;
use crate::remote::{read, word};
use crate::table::table;
use model::{DirectoryEntry, GroupView};
use serde_json::Value;

pub(crate) fn question(verb: &DirectoryVerb) -> String {
    let DirectoryVerb::Search {
        words,
        kind,
        about,
        limit,
    } = verb;
    let asked = query([
        ("limit", Some(limit.to_string())),
        ("text", Some(words.join(" "))),
        ("kind", kind.clone()),
        ("interaction", about.clone()),
    ]);
    format!("/api/v1/directory{asked}")
}

/// The answer in words; `None` if it has not the shape we know.
pub(crate) fn told(answer: &Value) -> Option<String> {
    let entries: Vec<DirectoryEntry> = read(&answer["entries"])?;
    let rows: Vec<_> = entries.iter().map(row).collect();
    let columns = ["TARGET", "KIND", "NAME", "E-MAIL", "SKILLS", "IS", "CAN TAKE"];
    let found = table(columns, &rows, "nobody is found");
    Some(match answer["more"].as_bool()? {
        true => format!("{found}\nand more"),
        false => found,
    })
}

fn row(entry: &DirectoryEntry) -> [String; 7] {
    let is = match (&entry.presence, &entry.group) {
        (Some(presence), _) => presence.text.to_string(),
        (None, Some(group)) => ready(group),
        (None, None) => String::new(),
    };
    let actions: Vec<String> = entry.actions.iter().map(word).collect();
    [
        entry.target.to_string(),
        word(&entry.kind),
        entry.name.to_string(),
        entry.email.to_string(),
        entry.skills.join(" "),
        is,
        actions.join(" "),
    ]
}

fn ready(group: &GroupView) -> String {
    let members = group.members.len();
    format!(
        "{} of {members} ready, {} for messages",
        group.ready_voice, group.ready_im
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_is_found_is_shown_with_what_they_can_take() {
        let kate = json!({
            "kind": "agent", "target": "1001", "name": "Kate", "email": "kate@example.com", "skills": ["german"],
            "presence": {
                "aor": "1001@a", "name": "Kate", "device": "idle", "do_not_disturb": false, "note": "", "activity": "",
                "hides": false, "text": "available", "voice": null, "im": null,
            },
            "group": null, "actions": ["consult-voice", "transfer"], "consultation": null,
        });
        let group = json!({
            "kind": "group", "target": "2000", "name": "Support", "email": "", "skills": [], "presence": null,
            "group": {
                "number": "2000", "name": "Support", "skill": null, "members": ["1001@a", "1002@a"], "ready_voice": 1,
                "ready_im": 2, "next_voice": "1001@a", "next_im": null,
            },
            "actions": [], "consultation": null,
        });
        let told = told(&json!({ "entries": [kate, group], "more": true })).unwrap();
        let words = |line: usize| {
            told.lines()
                .nth(line)
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            words(1),
            "1001 agent Kate kate@example.com german available consult-voice transfer"
        );
        assert_eq!(words(2), "2000 group Support - - 1 of 2 ready, 2 for messages -");
        assert_eq!(words(3), "and more");
    }
}
