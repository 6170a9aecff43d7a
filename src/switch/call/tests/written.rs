//! What the history of an interaction says: each verb leaves its entry, with who did it and to whom.

use super::consult::consult;
use super::stage::{ANN, BOSS, CUSTOMER, JIM, KATE, Stage};
use super::*;
use crate::{Mute, Supervision, Verb};
use model::{InteractionId, PartyId};

/// A verb is carried out.
type Deed = fn(&mut Stage, InteractionId);

/// What is written, by whom, with which detail; and what was done.
type Row = (&'static str, usize, &'static str, Deed);

fn table() -> Vec<Row> {
    vec![
        ("hold", KATE, "", |stage, interaction| {
            drop(stage.act(KATE, Verb::Hold { interaction }))
        }),
        ("hold", CUSTOMER, "", |stage, _| {
            stage.reinvite(CUSTOMER, 0, Method::Invite, "sendonly");
        }),
        ("resume", KATE, "", |stage, interaction| {
            stage.act(KATE, Verb::Hold { interaction });
            stage.act(KATE, Verb::Resume { interaction });
        }),
        ("resume", CUSTOMER, "", |stage, _| {
            stage.reinvite(CUSTOMER, 0, Method::Invite, "sendonly");
            stage.reinvite(CUSTOMER, 0, Method::Update, "sendrecv");
        }),
        ("toggle", KATE, "", |stage, interaction| {
            consults(stage, interaction);
            stage.act(KATE, Verb::Toggle { interaction });
        }),
        ("consult", KATE, "1001", |stage, interaction| {
            consults(stage, interaction);
        }),
        ("consult", KATE, "1001: 486", |stage, interaction| {
            consult(stage, interaction, "1001");
            stage.refuse(JIM, 486);
        }),
        ("consult", KATE, "9196", |stage, interaction| {
            let (target, medium) = ("9196".into(), model::Medium::Voice);
            stage.act(
                KATE,
                Verb::Consult {
                    interaction,
                    target,
                    medium,
                },
            );
        }),
        ("end-consult", KATE, "", |stage, interaction| {
            let consultation = consults(stage, interaction);
            stage.act(KATE, Verb::EndConsult { consultation });
        }),
        ("complete-transfer", KATE, "1001", |stage, interaction| {
            let consultation = consults(stage, interaction);
            stage.act(KATE, Verb::CompleteTransfer { consultation });
        }),
        ("instant-transfer", KATE, "1001", |stage, interaction| {
            let target = "1001".into();
            stage.act(KATE, Verb::InstantTransfer { interaction, target });
            stage.answer(JIM);
        }),
        ("instant-transfer", KATE, "1001: 603", |stage, interaction| {
            let target = "1001".into();
            stage.act(KATE, Verb::InstantTransfer { interaction, target });
            stage.refuse(JIM, 603);
        }),
        ("instant-transfer", KATE, "1001", |stage, _| {
            stage.request(KATE, 0, Method::Refer, "Refer-To: <sip:1001@example.com>\r\n", None);
            stage.answer(JIM);
        }),
        ("instant-transfer", KATE, "1008: 480", |stage, _| {
            stage.request(KATE, 0, Method::Refer, "Refer-To: <sip:1008@example.com>\r\n", None);
        }),
        ("instant-transfer", KATE, "9664", |stage, interaction| {
            let target = "9664".into();
            stage.act(KATE, Verb::InstantTransfer { interaction, target });
        }),
        ("complete-conference", KATE, "1001", |stage, interaction| {
            confers(stage, interaction)
        }),
        ("joined", JIM, "", |stage, interaction| confers(stage, interaction)),
        ("instant-conference", KATE, "1001", |stage, interaction| {
            let target = "1001".into();
            stage.act(KATE, Verb::InstantConference { interaction, target });
            stage.answer(JIM);
        }),
        ("add", KATE, "1002", |stage, interaction| {
            confers(stage, interaction);
            let target = "1002".into();
            stage.act(KATE, Verb::Add { interaction, target });
            stage.answer(ANN);
        }),
        ("drop", KATE, JIMS, |stage, interaction| {
            confers(stage, interaction);
            let party = stage.party_id(interaction, JIM);
            stage.act(KATE, Verb::Drop { interaction, party });
        }),
        ("drop", KATE, JIMS, |stage, interaction| {
            confers(stage, interaction);
            stage.request(
                KATE,
                0,
                Method::Refer,
                "Refer-To: <sip:1001@example.com;method=BYE>\r\n",
                None,
            );
        }),
        ("leave", KATE, "", |stage, interaction| {
            confers(stage, interaction);
            stage.act(KATE, Verb::Leave { interaction });
        }),
        ("mute", KATE, JIMS, |stage, interaction| {
            let jim = |stage: &mut Stage| stage.party_id(interaction, JIM);
            mutes(stage, interaction, jim, true);
        }),
        ("unmute", KATE, JIMS, |stage, interaction| {
            let jim = |stage: &mut Stage| stage.party_id(interaction, JIM);
            mutes(stage, interaction, jim, false);
        }),
        ("monitor", BOSS, "", |stage, interaction| {
            supervises(stage, interaction, Supervision::Listen)
        }),
        ("whisper", BOSS, "", |stage, interaction| {
            supervises(stage, interaction, Supervision::Whisper)
        }),
        ("barge", BOSS, "", |stage, interaction| {
            supervises(stage, interaction, Supervision::Barge)
        }),
        ("monitor", BOSS, "", |stage, _| stage.dial(BOSS, "*01000")),
        ("take-over", BOSS, "", |stage, interaction| {
            stage.dial(BOSS, "*01000");
            stage.act(BOSS, Verb::TakeOver { interaction });
        }),
        ("take-over", BOSS, "", |stage, interaction| {
            stage.act(BOSS, Verb::TakeOver { interaction });
            stage.answer(BOSS);
        }),
        ("record", KATE, "", |stage, interaction| {
            drop(stage.act(KATE, Verb::Record { interaction, on: true }))
        }),
        ("record-end", KATE, "", |stage, interaction| {
            stage.act(KATE, Verb::Record { interaction, on: true });
            stage.act(KATE, Verb::Record { interaction, on: false });
        }),
        ("set-case-data", KATE, "order", |stage, interaction| {
            let (key, value) = ("order".into(), "77".into());
            stage.act(
                KATE,
                Verb::SetCaseData {
                    interaction,
                    key,
                    value,
                },
            );
        }),
    ]
}

const JIMS: &str = "\"User 1001\" <1001>";

fn consults(stage: &mut Stage, interaction: InteractionId) -> InteractionId {
    let consultation = consult(stage, interaction, "1001");
    stage.answer(JIM);
    consultation
}

fn confers(stage: &mut Stage, interaction: InteractionId) {
    let consultation = consults(stage, interaction);
    stage.act(KATE, Verb::CompleteConference { consultation });
}

fn mutes(stage: &mut Stage, interaction: InteractionId, whom: impl Fn(&mut Stage) -> PartyId, on: bool) {
    confers(stage, interaction);
    let (party, listener, mute) = (whom(stage), None, Mute::Both);
    stage.act(
        KATE,
        Verb::Mute {
            interaction,
            party,
            listener,
            mute,
            on,
        },
    );
}

fn supervises(stage: &mut Stage, interaction: InteractionId, mode: Supervision) {
    let party = None;
    stage.act(
        BOSS,
        Verb::Supervise {
            interaction,
            party,
            mode,
        },
    );
    stage.answer(BOSS);
}

#[test]
fn every_verb_is_written_down_with_who_did_it() {
    for (at, (what, who, detail, deed)) in table().into_iter().enumerate() {
        let (mut stage, interaction) = Stage::talking();
        deed(&mut stage, interaction);
        let history = stage.view(interaction).history;
        let by = ["1000", "1005", "1001", "1002", "1009"][who];
        let is_it = |entry: &&model::HistoryView| {
            *entry.what == *what && entry.who.contains(by) && *entry.detail == *detail && entry.at <= stage.lab.now.wall
        };
        assert!(
            history.iter().any(|entry| is_it(&entry)),
            "row {at}, {what}: {history:#?}"
        );
        stage.end();
    }
}

#[test]
fn what_was_refused_is_not_written_down() {
    let (mut stage, interaction) = Stage::talking();
    let before = stage.view(interaction).history;
    let target = || "1008".into();
    for verb in [
        Verb::SendToVoicemail {
            interaction,
            target: target(),
        },
        Verb::InstantTransfer {
            interaction,
            target: target(),
        },
        Verb::Add {
            interaction,
            target: target(),
        },
        Verb::Toggle { interaction },
        Verb::Record { interaction, on: false },
    ] {
        stage.refused(KATE, verb);
    }
    assert_eq!(stage.view(interaction).history, before);
    stage.end();
}
