//! The parser's half of RFC 4475: what must be read, answered or dropped before anyone above looks at a message.

use sip::{Malformed, Message};
use std::path::{Path, PathBuf};

/// `accept`, a status, or `discard`.
fn verdict(bytes: Vec<u8>) -> String {
    match Message::parse(bytes.into()) {
        Ok(_) => "accept".into(),
        Err(Malformed::Answer { status, .. }) => status.to_string(),
        Err(Malformed::Drop(_)) => "discard".into(),
    }
}

/// What the parser itself must say where the index speaks of the whole switch.
fn parser_level(must: &str, file: &str) -> Vec<&'static str> {
    match (must, file) {
        // A broken branch may be read and then matched the RFC 2543 way.
        ("accept|400", _) => vec!["accept", "400"],
        // Answered or dropped by what stands above the parser: 416, 420, 415, 401, 483, 200, 406, and the stray response.
        ("416" | "420" | "415" | "401" | "483" | "200" | "406", _) | (_, "bcast.dat") => vec!["accept"],
        ("accept", _) => vec!["accept"],
        ("discard", _) => vec!["discard"],
        ("505", _) => vec!["505"],
        // All "400|liberal" and "501|400": we choose 400, but for a Date nobody uses.
        (_, "baddate.dat") => vec!["accept"],
        _ => vec!["400"],
    }
}

/// `shared/torture` beside the repository, or beside a parent of it.
fn torture() -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .map(|dir| dir.join("shared/torture"))
        .find(|dir| dir.join("index.tsv").exists())
}

#[test]
fn reads_answers_or_drops_every_message_of_rfc_4475_as_the_index_asks() {
    let Some(dir) = torture() else {
        eprintln!("SKIPPED: ../shared/torture is not there; our own messages are checked in any case");
        return;
    };
    let index = std::fs::read_to_string(dir.join("index.tsv")).unwrap();
    let mut wrong = Vec::new();
    assert!(index.lines().count() > 40, "the index is whole");
    for line in index.lines().skip(1) {
        let columns: Vec<_> = line.split('\t').collect();
        let (file, must) = (columns[0], columns[3]);
        let said = verdict(std::fs::read(dir.join(file)).unwrap());
        if !parser_level(must, file).contains(&said.as_str()) {
            wrong.push(format!("{file}: must {must}, was {said}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
