//! `transcripts ...`: records of sessions of messages, and what is kept of their text.

use crate::client::{escaped, query};
use crate::remote::read;
use crate::table::table;
use crate::{TranscriptFilter, TranscriptsVerb};
use hyper::Method;
use model::{ImSession, ImTranscript, transcript_text};
use serde_json::Value;

pub(crate) fn question(verb: &TranscriptsVerb) -> (Method, String) {
    let all = "/api/v1/im/transcripts";
    let one = |session: &String| format!("{all}/{}", escaped(session));
    match verb {
        TranscriptsVerb::List(filter) => (Method::GET, format!("{all}{}", filtered(filter, None))),
        TranscriptsVerb::Search { words, filter } => {
            (Method::GET, format!("{all}{}", filtered(filter, Some(words.join(" ")))))
        }
        TranscriptsVerb::Export { session } => (Method::GET, one(session)),
        TranscriptsVerb::Erase { session } => (Method::DELETE, one(session)),
    }
}

fn filtered(filter: &TranscriptFilter, text: Option<String>) -> String {
    query([
        ("limit", Some(filter.limit.to_string())),
        ("user", filter.user.clone()),
        ("interaction", filter.about.clone()),
        ("before", filter.before.map(|before| before.to_string())),
        ("since", filter.since.map(|at| at.to_string())),
        ("until", filter.until.map(|at| at.to_string())),
        ("text", text),
    ])
}

/// The answer in words; `None` if it has not the shape we know.
pub(crate) fn told(verb: &TranscriptsVerb, answer: &Value) -> Option<String> {
    match verb {
        TranscriptsVerb::List(_) | TranscriptsVerb::Search { .. } => told_list(answer),
        TranscriptsVerb::Export { .. } => {
            let ImTranscript { session, messages } = read(answer)?;
            Some(transcript_text(&session, &messages).trim_end().to_owned())
        }
        TranscriptsVerb::Erase { .. } => Some("erased".to_owned()),
    }
}

fn told_list(answer: &Value) -> Option<String> {
    let row = |line: &Value| {
        let session: ImSession = read(&line["session"])?;
        let parties: Vec<&str> = session.parties.iter().map(|party| party.user.user()).collect();
        let about = session.consult.as_ref().map(|about| about.interaction.to_string());
        Some([
            line["seq"].as_u64()?.to_string(),
            session.id.to_string(),
            session.opened_at.to_string(),
            parties.join(", "),
            session.last_seq.to_string(),
            if line["has_text"].as_bool()? { "kept" } else { "" }.to_owned(),
            about.unwrap_or_default(),
        ])
    };
    let rows: Option<Vec<_>> = answer["transcripts"].as_array()?.iter().map(row).collect();
    let columns = ["NUMBER", "SESSION", "OPENED", "PARTIES", "MESSAGES", "TEXT", "ABOUT"];
    Some(table(columns, &rows?, "no transcripts"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    fn verb(line: &str) -> TranscriptsVerb {
        match crate::Arguments::parse_from(format!("tandem {line}").split(' ')).verb {
            crate::Verb::Transcripts(verb) => verb,
            other => panic!("{other:?}"),
        }
    }

    fn session() -> Value {
        let party = |n: u32, user: &str| {
            json!({
                "id": format!("p-{n:016}"), "user": format!("{user}@a"), "shown": user, "standing": "connected", "state": "ended",
                "by_phone": false, "done": true, "invited_by": null, "replaces": null, "group": null, "delivered": 1,
                "displayed": 1, "since": 0, "until": null,
            })
        };
        json!({
            "id": "s-0000000000000007", "state": "ended", "end": "ended", "ended_by": null, "owner": "p-0000000000000001",
            "target": "1001", "consult": null, "parties": [party(1, "1000"), party(2, "1001")], "opened_at": 0,
            "connected_at": 1_000, "ended_at": 2_000, "last_seq": 1,
        })
    }

    #[test]
    fn records_are_a_table_without_what_was_said() {
        let line = json!({ "seq": 3, "has_text": true, "session": session() });
        let told = told(&verb("transcripts list"), &json!({ "transcripts": [line] })).unwrap();
        let row = "3       s-0000000000000007  1970-01-01T00:00:00.000Z  1000, 1001  1         kept  -";
        assert!(told.ends_with(row), "{told}");
    }

    #[test]
    fn an_exported_transcript_is_a_line_for_each_message() {
        let message = json!({
            "session": "s-0000000000000007", "seq": 1, "at": 1_000, "from": "p-0000000000000001", "shown": "1000",
            "text": "The violin\nis ready", "failed": [],
        });
        let whole = json!({ "session": session(), "messages": [message] });
        let told = told(&verb("transcripts export s-7"), &whole).unwrap();
        assert!(
            told.contains("\n[1970-01-01T00:00:01.000Z] 1000: The violin\n    is ready\n"),
            "{told}"
        );
    }

    #[test]
    fn a_search_needs_words_and_a_page_has_its_bound() {
        for line in [
            "transcripts search",
            "transcripts list --limit 0",
            "transcripts list --since yesterday",
            "transcripts erase",
        ] {
            let parsed = crate::Arguments::try_parse_from(format!("tandem {line}").split(' '));
            assert!(parsed.is_err(), "{line}");
        }
    }
}
