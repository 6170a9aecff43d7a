//! Consultations: who hears whom, change between them, and what becomes of them.

use super::stage::{ANN, CUSTOMER, JIM, KATE, Stage, aor};
use super::*;
use crate::{Answer, By, Command, Look, Refusal, Verb};
use media::Plan;
use media::plan::Sound;
use media::tone::{Country, Progress, Tone};
use model::{InteractionId, Medium, PartyState};

pub(super) fn consult(stage: &mut Stage, interaction: InteractionId, target: &str) -> InteractionId {
    let (target, medium) = (target.into(), Medium::Voice);
    let acted = stage.act(
        KATE,
        Verb::Consult {
            interaction,
            target,
            medium,
        },
    );
    assert!(!acted.done);
    acted.view.id
}

/// The customer talks to Kate, who asks Jim.
pub(super) fn consulting() -> (Stage, InteractionId, InteractionId) {
    let (mut stage, id) = Stage::talking();
    let consultation = consult(&mut stage, id, "1001");
    stage.answer(JIM);
    (stage, id, consultation)
}

#[test]
fn a_consultation_is_private_and_its_phone_knows_one_call() {
    let (mut stage, id) = Stage::talking();
    let consultation = consult(&mut stage, id, "1001");
    assert_eq!(
        (stage.hears(KATE), stage.hears(CUSTOMER)),
        (vec!["tone".into()], vec!["music".into()])
    );
    assert_eq!(
        header(&stage.actors[JIM].ringing[0], Name::From)
            .split(';')
            .next()
            .unwrap(),
        "\"User 1000\" <sip:1000@example.com>"
    );
    let told = stage.actors[JIM].ringing[0]
        .header_named("X-Interaction-Id")
        .unwrap()
        .to_vec();
    assert_eq!(String::from_utf8(told).unwrap(), id.to_string());
    stage.answer(JIM);
    assert_eq!(
        (stage.hears(KATE), stage.hears(JIM), stage.hears(CUSTOMER)),
        (vec!["1001".into()], vec!["1000".into()], vec!["music".into()])
    );
    assert_eq!(stage.actors[KATE].dialogs.len(), 1);
    assert_eq!(stage.view(id).consultations, [consultation]);
    assert_eq!(stage.party(id, KATE).state, PartyState::Away);
    assert_eq!(stage.outcomes(), [("consult".to_owned(), 200)]);
    stage.end();
}

#[test]
fn toggle_changes_between_the_two_and_resume_names_one() {
    let (mut stage, id, consultation) = consulting();
    for (verb, kate, customer, jim) in [
        (Verb::Toggle { interaction: id }, "1005", "1000", "music"),
        (
            Verb::Toggle {
                interaction: consultation,
            },
            "1001",
            "music",
            "1000",
        ),
        (Verb::Resume { interaction: id }, "1005", "1000", "music"),
        (
            Verb::Resume {
                interaction: consultation,
            },
            "1001",
            "music",
            "1000",
        ),
    ] {
        stage.act(KATE, verb);
        assert_eq!(
            (stage.hears(KATE), stage.hears(CUSTOMER), stage.hears(JIM)),
            (vec![kate.into()], vec![customer.into()], vec![jim.into()])
        );
    }
    stage.end();
}

#[test]
fn the_end_of_a_consultation_resumes_the_contact_whoever_ends_it() {
    for by in ["kate", "jim", "jims phone"] {
        let (mut stage, id, consultation) = consulting();
        match by {
            "kate" => drop(stage.act(KATE, Verb::EndConsult { consultation })),
            "jim" => drop(stage.act(JIM, Verb::EndConsult { consultation })),
            _ => stage.hang_up(JIM, 0),
        }
        assert!(!stage.is_in_a_call(JIM), "{by}");
        assert_eq!(
            (stage.hears(KATE), stage.hears(CUSTOMER)),
            (vec!["1005".into()], vec!["1000".into()]),
            "{by}"
        );
        assert!(stage.view(id).consultations.is_empty());
        stage.end();
    }
}

#[test]
fn whom_an_agent_consults_now_comes_first_in_the_directory() {
    let first = |stage: &mut Stage, interaction| {
        let look = Look {
            by: By::User(aor(KATE)),
            targets: vec!["1003".into(), "1001".into()],
            interaction: Some(interaction),
            consulted_first: true,
        };
        match stage.lab.ask(Command::Look(Box::new(look))) {
            Answer::Directory(mut entries) => (entries.len(), entries.remove(0)),
            other => panic!("{other:?}"),
        }
    };
    let (mut stage, id) = Stage::talking();
    assert_eq!(&*first(&mut stage, id).1.target, "1003", "nobody is consulted");
    let consultation = consult(&mut stage, id, "1001");
    for rings in [true, false] {
        let (count, entry) = first(&mut stage, id);
        assert_eq!(
            (count, &*entry.target, entry.consultation),
            (2, "1001", Some(consultation))
        );
        use model::TargetAction::{CompleteConference, CompleteTransfer};
        assert_eq!(entry.actions, [CompleteTransfer, CompleteConference], "rings: {rings}");
        if rings {
            stage.answer(JIM);
        }
    }
    stage.act(KATE, Verb::CompleteConference { consultation });
    assert_eq!(first(&mut stage, id).1.consultation, None, "he is no longer consulted");
    stage.end();
}

#[test]
fn a_refused_consultation_leaves_the_contact_on_hold_until_the_agent_resumes() {
    for status in [486, 603, 480] {
        let (mut stage, id) = Stage::talking();
        consult(&mut stage, id, "1001");
        stage.refuse(JIM, status);
        stage.end_tones();
        assert_eq!(
            (stage.hears(KATE), stage.hears(CUSTOMER)),
            (vec![], vec!["music".into()])
        );
        assert_eq!(
            stage.outcomes(),
            [("consult".to_owned(), if status == 603 { 603 } else { status })]
        );
        stage.act(KATE, Verb::Resume { interaction: id });
        assert_eq!(
            (stage.hears(KATE), stage.hears(CUSTOMER)),
            (vec!["1005".into()], vec!["1000".into()])
        );
        stage.end();
    }
}

/// The tone that somebody was played last.
fn played(stage: &Stage) -> Tone {
    let mut plans = stage.lab.studio.plans.iter().rev();
    let tone = plans.find_map(|plan| match plan {
        Plan::Play {
            sound: Sound::Tone(tone),
            ..
        } => Some(tone.clone()),
        _ => None,
    });
    tone.expect("a tone")
}

#[test]
fn who_consults_hears_busy_or_congestion_for_some_seconds_when_it_comes_to_nothing() {
    for (status, progress) in [
        (486, Progress::Busy),
        (600, Progress::Busy),
        (603, Progress::Busy),
        (480, Progress::Congestion),
        // Nobody answers.
        (0, Progress::Congestion),
    ] {
        let (mut stage, id) = Stage::talking();
        consult(&mut stage, id, "1001");
        match status {
            0 => stage.pass_s(61),
            status => stage.refuse(JIM, status),
        }
        let told = if status == 0 { 480 } else { status };
        assert_eq!(stage.outcomes(), [("consult".to_owned(), told)], "at once");
        assert_eq!(
            (stage.hears(KATE), stage.hears(CUSTOMER)),
            (vec!["tone".into()], vec!["music".into()])
        );
        let (tone, expected) = (played(&stage), Tone::progress(Country::default(), progress));
        assert_eq!(
            (&tone.hz, &tone.cadence_ms),
            (&expected.hz, &expected.cadence_ms),
            "{status}"
        );
        let lasts_ms = tone.cadence_ms.iter().sum::<u16>() * tone.repeat.unwrap();
        assert!((4_000..=5_000).contains(&lasts_ms), "{lasts_ms}");
        stage.end_tones();
        assert_eq!(
            (stage.hears(KATE), stage.hears(CUSTOMER)),
            (vec![], vec!["music".into()])
        );
        stage.assert_sense();
        stage.end();
    }
}

#[test]
fn what_the_agent_does_next_ends_the_tone_and_it_does_not_come_again() {
    let failed = || {
        let (mut stage, id) = Stage::talking();
        consult(&mut stage, id, "1001");
        stage.refuse(JIM, 486);
        (stage, id)
    };
    for way in ["command", "phone"] {
        let (mut stage, interaction) = failed();
        match way {
            "command" => drop(stage.act(KATE, Verb::Resume { interaction })),
            _ => {
                stage.reinvite(KATE, 0, Method::Invite, "sendonly");
                stage.reinvite(KATE, 0, Method::Invite, "sendrecv");
            }
        }
        assert_eq!(
            (stage.hears(KATE), stage.hears(CUSTOMER)),
            (vec!["1005".into()], vec!["1000".into()])
        );
        stage.act(KATE, Verb::Hold { interaction });
        assert_eq!(stage.hears(KATE), [""; 0], "{way}");
        stage.end();
    }
    let (mut stage, interaction) = failed();
    let consultation = consult(&mut stage, interaction, "1002");
    stage.answer(ANN);
    assert_eq!(stage.hears(KATE), ["1002"]);
    stage.act(
        KATE,
        Verb::Hold {
            interaction: consultation,
        },
    );
    assert_eq!(stage.hears(KATE), [""; 0]);
    stage.end();
    let (mut stage, _) = failed();
    stage.hang_up(CUSTOMER, 0);
    assert!(!stage.is_in_a_call(KATE));
    stage.end();
}

#[test]
fn who_does_not_wait_for_whom_he_consults_hears_no_tone() {
    let (mut stage, interaction) = Stage::talking();
    consult(&mut stage, interaction, "1001");
    stage.act(KATE, Verb::Resume { interaction });
    stage.refuse(JIM, 486);
    assert_eq!(stage.hears(KATE), ["1005"]);
    stage.act(KATE, Verb::Hold { interaction });
    assert_eq!(stage.hears(KATE), [""; 0]);
    stage.end();
    // Her phone is told 486 of a second call, and plays what it likes.
    let (mut stage, _) = Stage::talking();
    stage.reinvite(KATE, 0, Method::Invite, "sendonly");
    stage.dial(KATE, "1001");
    stage.refuse(JIM, 486);
    assert_eq!((stage.last_reply(KATE), stage.hears_in_all(KATE)), (486, vec![]));
    stage.end();
}

#[test]
fn a_consultation_with_nobody_there_changes_nothing() {
    let (mut stage, id) = Stage::talking();
    for (target, status) in [("1008", 480), ("4711", 404), ("2000", 480), ("900", 603)] {
        let verb = Verb::Consult {
            interaction: id,
            target: target.into(),
            medium: Medium::Voice,
        };
        assert_eq!(stage.refused(KATE, verb), Refusal::Unreachable(status), "{target}");
        assert_eq!(stage.hears(CUSTOMER), ["1000"]);
    }
    stage.end();
}

#[test]
fn when_the_contact_goes_the_consultation_lives_on() {
    for answered in [true, false] {
        let (mut stage, id) = Stage::talking();
        let consultation = consult(&mut stage, id, "1001");
        if answered {
            stage.answer(JIM);
        }
        stage.hang_up(CUSTOMER, 0);
        assert!(stage.is_in_a_call(KATE));
        if !answered {
            stage.answer(JIM);
        }
        assert_eq!(
            (stage.hears(KATE), stage.hears(JIM)),
            (vec!["1001".into()], vec!["1000".into()])
        );
        assert_eq!(stage.view(consultation).parent, Some(id));
        stage.hang_up(KATE, 0);
        assert!(!stage.is_in_a_call(JIM));
        stage.end();
    }
}
