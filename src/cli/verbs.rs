//! `calls hold` and the other verbs: the questions and what is told of the answers.

use crate::CallsVerb;
use crate::client::escaped;
use crate::remote::word;
use crate::table::{shown, table};
use hyper::Method;
use model::{InteractionView, PartyView};
use serde_json::{Value, json};

/// For verbs that are done to a call.
pub(crate) fn question(verb: &CallsVerb) -> (Method, String) {
    let (id, name) = named(verb).unwrap_or_default();
    (Method::POST, format!("/api/v1/calls/{}/{name}", escaped(id)))
}

/// The call or consultation, and the verb's name in the API.
fn named(verb: &CallsVerb) -> Option<(&str, &'static str)> {
    Some(match verb {
        CallsVerb::Hold { id } => (id, "hold"),
        CallsVerb::Resume { id } => (id, "resume"),
        CallsVerb::Toggle { id } => (id, "toggle"),
        CallsVerb::Consult { id, .. } => (id, "consult"),
        CallsVerb::EndConsult { id } => (id, "end-consult"),
        CallsVerb::Transfer { id, target: Some(_) } => (id, "instant-transfer"),
        CallsVerb::Transfer { id, target: None } => (id, "complete-transfer"),
        CallsVerb::Conference { id, target: Some(_) } => (id, "instant-conference"),
        CallsVerb::Conference { id, target: None } => (id, "complete-conference"),
        CallsVerb::Add { id, .. } => (id, "add"),
        CallsVerb::Drop { id, .. } => (id, "drop"),
        CallsVerb::Leave { id } => (id, "leave"),
        CallsVerb::Monitor { id, .. } => (id, "monitor"),
        CallsVerb::Whisper { id, .. } => (id, "whisper"),
        CallsVerb::Barge { id, .. } => (id, "barge"),
        CallsVerb::TakeOver { id, .. } => (id, "take-over"),
        CallsVerb::Mute { id, .. } => (id, "mute"),
        CallsVerb::Voicemail { id, .. } => (id, "send-to-voicemail"),
        CallsVerb::Attach { id, .. } => (id, "set-case-data"),
        _ => return None,
    })
}

/// The other fields of the verb; `None` for what is none.
pub(crate) fn body(verb: &CallsVerb) -> Option<Value> {
    named(verb)?;
    Some(match verb {
        CallsVerb::Consult { target, .. }
        | CallsVerb::Add { target, .. }
        | CallsVerb::Voicemail { target, .. }
        | CallsVerb::Transfer {
            target: Some(target), ..
        }
        | CallsVerb::Conference {
            target: Some(target), ..
        } => json!({ "target": target }),
        CallsVerb::Drop { party, .. } => json!({ "party": party }),
        CallsVerb::Monitor { user, party, .. }
        | CallsVerb::Whisper { user, party, .. }
        | CallsVerb::Barge { user, party, .. } => match party {
            Some(party) => json!({ "user": user, "party": party }),
            None => json!({ "user": user }),
        },
        CallsVerb::TakeOver { user, .. } => json!({ "user": user }),
        CallsVerb::Mute {
            party,
            listener,
            off,
            direction,
            ..
        } => match listener {
            Some(listener) => json!({ "party": party, "on": !off, "mute": direction, "listener": listener }),
            None => json!({ "party": party, "on": !off, "mute": direction }),
        },
        CallsVerb::Attach { key, value, .. } => json!({ "key": key, "value": value }),
        _ => json!({}),
    })
}

/// What came of it; `None` if it has not the shape we know.
pub(crate) fn told(answer: &Value) -> Option<String> {
    let id = answer["interaction"]["id"].as_str().map(shown)?;
    let state = if answer["done"].as_bool()? { "done" } else { "under way" };
    Some(format!("{state}: {id}"))
}

/// Who takes part.
pub(crate) fn told_parties(interaction: &InteractionView) -> String {
    let row = |party: &PartyView| {
        [
            party.id.to_string(),
            party.shown.to_string(),
            word(&party.role),
            word(&party.state),
            flags(interaction, party),
        ]
    };
    let rows: Vec<_> = interaction.parties.iter().map(row).collect();
    table(["PARTY", "NAME", "ROLE", "STATE", "IS"], &rows, "nobody")
}

fn flags(interaction: &InteractionView, party: &PartyView) -> String {
    let flags = [
        (interaction.owner == Some(party.id), "owner"),
        (party.holds, "holding"),
        (party.held, "held"),
        (party.muted, "muted"),
        (party.deaf, "deaf"),
    ];
    let set: Vec<&str> = flags.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    set.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parties_are_a_table() {
        let party = |id: u32, name: &str| {
            json!({
                "id": format!("p-{id:016}"), "user": null, "shown": name, "state": "up", "role": "member", "holds": id == 1,
                "held": id == 2, "muted": false, "deaf": false, "unheard_by": [], "legs": [],
            })
        };
        let interaction = json!({
            "id": "i-0000000000000001", "parent": null, "medium": "voice", "state": "up", "owner": "p-0000000000000001",
            "dialled": "1001", "started_at": 0, "answered_at": 1, "parties": [party(1, "Kate"), party(2, "Jim")],
            "consultations": [], "purpose": null, "case_data": {}, "recording": false, "history": [],
        });
        let told = told_parties(&serde_json::from_value(interaction.clone()).unwrap());
        assert!(
            told.contains("p-0000000000000001  Kate  member  up     owner holding"),
            "{told}"
        );
        assert!(told.contains("p-0000000000000002  Jim   member  up     held"), "{told}");
        let acted = json!({ "done": false, "interaction": interaction });
        assert_eq!(super::told(&acted).unwrap(), "under way: i-0000000000000001");
    }
}
