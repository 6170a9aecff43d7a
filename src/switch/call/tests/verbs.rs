//! What is so of commands whatever their verb, and recordings by command.

use super::consult::consult;
use super::stage::{BOSS, JIM, KATE, Stage};
use super::*;
use crate::{Refusal, Verb};

#[test]
fn a_recording_goes_on_with_the_contact_and_is_deaf_to_consultations_and_whispers() {
    use media::Plan;
    let (mut stage, interaction) = Stage::talking();
    stage.act(KATE, Verb::Record { interaction, on: true });
    assert!(stage.view(interaction).recording);
    stage.dial(BOSS, "*11000");
    let changes = |stage: &Stage| {
        let legs = stage.lab.studio.plans.iter().filter_map(|plan| match plan {
            Plan::RecordLeg { side, .. } => Some(side.is_some()),
            _ => None,
        });
        legs.collect::<Vec<_>>()
    };
    assert!(changes(&stage).is_empty());
    let consultation = consult(&mut stage, interaction, "1001");
    stage.answer(JIM);
    assert!(!changes(&stage).is_empty() && !changes(&stage).contains(&true));
    stage.act(KATE, Verb::CompleteTransfer { consultation });
    assert!(stage.view(interaction).recording);
    assert_eq!(changes(&stage).last(), Some(&true));
    stage.act(JIM, Verb::Record { interaction, on: false });
    assert!(!stage.view(interaction).recording);
    stage.end();
}

#[test]
fn a_command_that_comes_again_is_answered_as_before() {
    let (mut stage, id) = Stage::talking();
    let act = |client: &str| {
        let verb = Verb::InstantConference {
            interaction: id,
            target: "1001".into(),
        };
        let by = crate::By::User(stage::aor(KATE));
        crate::Command::Act(Box::new(crate::Act {
            by,
            client: client.into(),
            verb,
        }))
    };
    let first = stage.lab.ask(act("one"));
    assert_eq!(stage.lab.ask(act("one")), first);
    stage.settle();
    assert_eq!(stage.actors[JIM].ringing.len(), 1);
    stage.end();
}

#[test]
fn a_strangers_command_finds_nothing() {
    let (mut stage, id) = Stage::talking();
    assert!(matches!(
        stage.refused(JIM, Verb::Hold { interaction: id }),
        Refusal::NotFound(_)
    ));
    assert_eq!(
        stage.refused(
            KATE,
            Verb::SendToVoicemail {
                interaction: id,
                target: "1001".into()
            }
        ),
        Refusal::Unreachable(480)
    );
    assert!(matches!(
        stage.refused(KATE, Verb::Toggle { interaction: id }),
        Refusal::Conflict(_)
    ));
    assert!(matches!(
        stage.refused(KATE, Verb::EndConsult { consultation: id }),
        Refusal::Conflict(_)
    ));
    stage.end();
}
