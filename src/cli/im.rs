//! `im ...`: sessions of messages, and messages that wait.

use crate::ImVerb;
use crate::client::escaped;
use crate::remote::{counted, read};
use crate::table::table;
use hyper::Method;
use model::WaitingMessage;
use serde_json::Value;

pub(crate) fn question(verb: &ImVerb) -> (Method, String) {
    let queue = "/api/v1/im/queue";
    match verb {
        ImVerb::List => (Method::GET, "/api/v1/im/sessions".to_owned()),
        ImVerb::End { session } => (Method::POST, format!("/api/v1/im/sessions/{}/end", escaped(session))),
        ImVerb::Queue { user: None } => (Method::GET, queue.to_owned()),
        ImVerb::Queue { user: Some(user) } => (Method::GET, format!("{queue}/{}?limit=1000", escaped(user))),
        ImVerb::Drop {
            user, message: None, ..
        } => (Method::DELETE, format!("{queue}/{}", escaped(user))),
        ImVerb::Drop {
            user,
            message: Some(message),
            ..
        } => (
            Method::DELETE,
            format!("{queue}/{}/{}", escaped(user), escaped(message)),
        ),
    }
}

pub(crate) fn told(verb: &ImVerb, answer: &Value) -> Option<String> {
    match verb {
        ImVerb::List => told_sessions(answer),
        ImVerb::End { .. } => Some("ended".to_owned()),
        ImVerb::Queue { user: None } => told_queue(answer),
        ImVerb::Queue { user: Some(_) } => told_waiting(answer),
        ImVerb::Drop { .. } => Some(format!("{} dropped", counted(answer["done"].as_u64()?, "message"))),
    }
}

/// One line for each session: who is in it, and how.
fn told_sessions(answer: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |line: &Value| {
        let session = &line["session"];
        let who = |party: &Value| match party["standing"].as_str() {
            Some("connected") => text(&party["user"]),
            standing => format!("{} ({})", text(&party["user"]), standing.unwrap_or_default()),
        };
        let parties: Vec<String> = session["parties"].as_array().into_iter().flatten().map(who).collect();
        let about = text(&session["consult"]["interaction"]);
        let messages = session["last_seq"].to_string();
        [
            text(&session["id"]),
            text(&session["state"]),
            messages,
            parties.join(", "),
            about,
        ]
    };
    let rows: Vec<_> = answer["sessions"].as_array()?.iter().map(row).collect();
    let columns = ["SESSION", "STATE", "MESSAGES", "PARTIES", "ABOUT"];
    Some(table(columns, &rows, "no sessions"))
}

fn told_queue(answer: &Value) -> Option<String> {
    let row = |line: &Value| {
        let aor = line["aor"].as_str().unwrap_or_default().to_owned();
        [aor, line["messages"].to_string()]
    };
    let rows: Vec<_> = answer["queue"].as_array()?.iter().map(row).collect();
    Some(table(["USER", "MESSAGES"], &rows, "no messages wait"))
}

/// One line for each message: whose it is, since when it waits and for how long; with copies of their own which devices lack it.
fn told_waiting(answer: &Value) -> Option<String> {
    let waiting: Vec<WaitingMessage> = read(&answer["messages"])?;
    let row = |message: &WaitingMessage| {
        [
            message.id.to_string(),
            message.from.to_string(),
            message.accepted_at.to_string(),
            message.expires_at.to_string(),
            message.bytes.to_string(),
            message.content_type.to_string(),
            message.owed.join(" "),
        ]
    };
    let rows: Vec<_> = waiting.iter().map(row).collect();
    let columns = ["MESSAGE", "FROM", "ACCEPTED", "UNTIL", "BYTES", "TYPE", "OWED TO"];
    Some(table(columns, &rows, "no messages wait"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    fn verb(line: &str) -> ImVerb {
        match crate::Arguments::parse_from(format!("tandem {line}").split(' ')).verb {
            crate::Verb::Im(verb) => verb,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn messages_that_wait_are_shown_without_their_text() {
        let message = json!({
            "id": "m-0000000000000007", "from": "1000@a", "accepted_at": 0, "expires_at": 60_000,
            "content_type": "text/plain", "bytes": 5, "is_taken": true, "owed": ["<urn:uuid:1>"],
        });
        let told = told(&verb("im queue 1001"), &json!({ "messages": [message] })).unwrap();
        assert!(told.contains("m-0000000000000007  1000@a"), "{told}");
        assert!(told.contains("<urn:uuid:1>"), "{told}");
    }

    #[test]
    fn dropping_needs_a_message_or_the_word_for_all() {
        let dropped = super::told(&verb("im drop 1001 m-1"), &json!({ "done": 1 })).unwrap();
        assert_eq!(dropped, "1 message dropped");
        for line in ["im drop 1001", "im drop 1001 m-1 --all"] {
            let parsed = crate::Arguments::try_parse_from(format!("tandem {line}").split(' '));
            assert!(parsed.is_err(), "{line}");
        }
    }
}
