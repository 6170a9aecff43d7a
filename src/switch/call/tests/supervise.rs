//! Supervisors: whom they hear, who hears them, where they go along, and what is recorded of them.

use super::consult::{consult, consulting};
use super::stage::{ANN, BOSS, CUSTOMER, JIM, KATE, Stage};
use super::*;
use crate::{Act, Answer, By, Command, Refusal, Supervision, Verb};
use model::{InteractionId, Medium, PartyId};

#[test]
fn a_supervisor_listens_whispers_and_barges_in_without_a_new_call() {
    for way in ["command", "star code"] {
        let (mut stage, id) = Stage::talking();
        let supervise = |mode| Verb::Supervise {
            interaction: id,
            party: None,
            mode,
        };
        match way {
            "command" => {
                assert!(!stage.act(BOSS, supervise(Supervision::Listen)).done);
                stage.answer(BOSS);
            }
            _ => stage.dial(BOSS, "*01000"),
        }
        let heard = |stage: &Stage| (stage.hears(KATE), stage.hears(CUSTOMER), stage.hears(BOSS));
        let both = || vec!["1000".to_owned(), "1005".to_owned()];
        assert_eq!(
            heard(&stage),
            (vec!["1005".into()], vec!["1000".into()], both()),
            "{way}"
        );
        stage.act(BOSS, supervise(Supervision::Whisper));
        assert_eq!(
            heard(&stage),
            (vec!["1005".into(), "1009".into()], vec!["1000".into()], both())
        );
        stage.act(BOSS, supervise(Supervision::Barge));
        assert_eq!(stage.hears(CUSTOMER), ["1000", "1009"]);
        stage.act(BOSS, supervise(Supervision::Listen));
        assert_eq!(heard(&stage), (vec!["1005".into()], vec!["1000".into()], both()));
        stage.hang_up(BOSS, 0);
        assert_eq!(stage.hears(KATE), ["1005"]);
        stage.end();
    }
}

#[test]
fn a_supervisor_turns_to_another_agent_and_whispers_to_nobody_outside() {
    let (mut stage, id, consultation) = consulting();
    stage.act(KATE, Verb::CompleteConference { consultation });
    stage.dial(BOSS, "*11000");
    let [jim, customer, boss] = [JIM, CUSTOMER, BOSS].map(|who| stage.party_id(id, who));
    let supervise = |of, mode| Verb::Supervise {
        interaction: id,
        party: Some(of),
        mode,
    };
    assert!(stage.hears(KATE).contains(&"1009".to_owned()));
    stage.act(BOSS, supervise(jim, Supervision::Whisper));
    let hear_boss = |stage: &Stage| {
        let hears = |who: &usize| stage.hears(*who).contains(&"1009".to_owned());
        [KATE, JIM, CUSTOMER].into_iter().filter(hears).collect::<Vec<_>>()
    };
    assert_eq!(hear_boss(&stage), [JIM]);
    super::races::outside(&mut stage, CUSTOMER);
    let refusal = stage.refused(BOSS, supervise(customer, Supervision::Whisper));
    assert!(matches!(refusal, Refusal::Conflict(_)), "{refusal:?}");
    let refusal = stage.refused(BOSS, supervise(boss, Supervision::Listen));
    assert!(matches!(refusal, Refusal::Conflict(_)), "{refusal:?}");
    assert_eq!(hear_boss(&stage), [JIM], "nothing has changed");
    // He goes with whom he watches now.
    stage.act(JIM, Verb::Leave { interaction: id });
    assert!(!stage.is_in_a_call(BOSS));
    stage.end();
}

#[test]
fn a_supervisor_goes_where_the_agent_goes_and_whispers_only_to_him() {
    let (mut stage, id) = Stage::talking();
    stage.dial(BOSS, "*11000");
    let consultation = consult(&mut stage, id, "1001");
    stage.answer(JIM);
    assert_eq!(stage.hears(BOSS), ["1000", "1001"]);
    assert_eq!(
        (stage.hears(JIM), stage.hears(CUSTOMER)),
        (vec!["1000".into()], vec!["music".into()])
    );
    assert_eq!(stage.hears(KATE), ["1001", "1009"]);
    stage.act(KATE, Verb::CompleteConference { consultation });
    assert_eq!(stage.hears(BOSS), ["1000", "1001", "1005"]);
    assert_eq!(stage.hears(CUSTOMER), ["1000", "1001"]);
    stage.act(KATE, Verb::Leave { interaction: id });
    assert!(!stage.is_in_a_call(BOSS));
    stage.end();
}

#[test]
fn who_barged_in_consults_by_his_line_and_is_in_two_calls_no_more() {
    for (target, heard) in [("1001", vec!["1001"]), ("9196", vec!["itself"]), ("3001", vec![])] {
        let (mut stage, id) = Stage::talking();
        stage.dial(BOSS, "*21000");
        let both = vec!["1000", "1005"];
        assert_eq!(stage.hears(BOSS), both);
        let (interaction, target, medium) = (id, target.into(), Medium::Voice);
        stage.act(
            BOSS,
            Verb::Consult {
                interaction,
                target,
                medium,
            },
        );
        if heard == ["1001"] {
            stage.answer(JIM);
            assert_eq!(stage.hears(JIM), ["1009"]);
        }
        let hear = |stage: &Stage| [BOSS, KATE, CUSTOMER].map(|who| stage.hears(who));
        assert_eq!(hear(&stage), [heard.clone(), vec!["1005"], vec!["1000"]]);
        stage.act(BOSS, Verb::Toggle { interaction });
        assert_eq!(hear(&stage), [both, vec!["1005", "1009"], vec!["1000", "1009"]]);
        stage.act(BOSS, Verb::Toggle { interaction });
        stage.hang_up(CUSTOMER, 0);
        assert_eq!(hear(&stage), [heard, vec!["music"], vec![]]);
        stage.hang_up(KATE, 0);
        stage.end();
    }
}

#[test]
fn an_agent_may_not_supervise() {
    let (mut stage, id) = Stage::talking();
    let verb = Verb::Supervise {
        interaction: id,
        party: None,
        mode: Supervision::Listen,
    };
    assert!(matches!(stage.refused(JIM, verb), Refusal::NotFound(_)));
    stage.dial(JIM, "*01000");
    assert_eq!(stage.last_reply(JIM), 403);
    assert_eq!(stage.hears(KATE), ["1005"]);
    stage.end();
}

#[test]
fn a_supervisor_takes_over() {
    for listening in [true, false] {
        let (mut stage, id) = Stage::talking();
        if listening {
            stage.dial(BOSS, "*01000");
        }
        stage.act(BOSS, Verb::TakeOver { interaction: id });
        if !listening {
            stage.answer(BOSS);
        }
        assert!(!stage.is_in_a_call(KATE));
        assert_eq!(
            (stage.hears(CUSTOMER), stage.hears(BOSS)),
            (vec!["1009".into()], vec!["1005".into()])
        );
        assert_eq!(stage.view(id).owner, Some(stage.party_id(id, BOSS)));
        assert_eq!(stage.shown(CUSTOMER), "\"User 1009\" <sip:1009@example.com>");
        stage.end();
    }
}

#[test]
fn who_barges_in_or_takes_over_is_recorded_from_then_on_and_who_whispers_no_more() {
    let (mut stage, interaction) = Stage::talking();
    stage.dial(BOSS, "*01000");
    stage.act(KATE, Verb::Record { interaction, on: true });
    let on_tape = |stage: &Stage| stage.lab.studio.tapes[0].1.len();
    let supervise = |mode| Verb::Supervise {
        interaction,
        party: None,
        mode,
    };
    assert_eq!(on_tape(&stage), 2);
    for (mode, legs) in [
        (Supervision::Barge, 3),
        (Supervision::Whisper, 2),
        (Supervision::Barge, 3),
        (Supervision::Listen, 2),
    ] {
        stage.act(BOSS, supervise(mode));
        assert_eq!(on_tape(&stage), legs, "{mode:?}");
    }
    stage.act(BOSS, Verb::TakeOver { interaction });
    assert!(!stage.is_in_a_call(KATE));
    let boss = stage
        .lab
        .studio
        .towards(stage.actors[BOSS].dialogs[0].rtp)
        .map(|leg| leg.leg);
    assert!(stage.lab.studio.tapes[0].1.contains(&boss.expect("a leg")));
    stage.end();
}

#[test]
fn a_supervisor_goes_along_with_whom_he_watches_when_a_consultation_is_completed() {
    for purpose in ["transfer", "conference"] {
        for (code, mode) in [("*01001", Supervision::Listen), ("*11001", Supervision::Whisper)] {
            let (mut stage, interaction, consultation) = consulting();
            stage.dial(BOSS, code);
            assert_eq!(stage.hears(BOSS), ["1000", "1001"]);
            let verb = match purpose {
                "transfer" => Verb::CompleteTransfer { consultation },
                _ => Verb::CompleteConference { consultation },
            };
            stage.act(KATE, verb);
            let is_whispered_to = mode == Supervision::Whisper;
            match purpose {
                "transfer" => {
                    assert_eq!(stage.hears(BOSS), ["1001", "1005"]);
                    assert_eq!(stage.hears(CUSTOMER), ["1001"]);
                }
                _ => {
                    assert_eq!(stage.hears(BOSS), ["1000", "1001", "1005"]);
                    assert_eq!(stage.hears(CUSTOMER), ["1000", "1001"]);
                }
            }
            assert_eq!(stage.hears(JIM).contains(&"1009".into()), is_whispered_to);
            // Further changes need no new call.
            let (party, mode) = (None, Supervision::Barge);
            stage.act(
                BOSS,
                Verb::Supervise {
                    interaction,
                    party,
                    mode,
                },
            );
            assert!(stage.hears(CUSTOMER).contains(&"1009".into()));
            stage.end();
        }
    }
}

#[test]
fn who_answers_one_of_two_phones_is_supervised_there_and_shown_there_whom_he_talks_to() {
    let mut stage = Stage::new();
    // The phone that was there first rings too, and never confirms that it has stopped.
    let mut silent = Handset::registered(&mut stage.lab, "1001", 6950);
    std::mem::swap(&mut stage.actors[JIM].phone, &mut silent);
    let id = stage.call(CUSTOMER, JIM);
    stage.dial(BOSS, "*01001");
    assert_eq!(stage.hears(BOSS), ["1001", "1005"]);
    let verb = Verb::Consult {
        interaction: id,
        target: "1002".into(),
        medium: Medium::Voice,
    };
    let consultation = stage.act(JIM, verb).view.id;
    stage.answer(ANN);
    assert_eq!(stage.hears(BOSS), ["1001", "1002"]);
    stage.act(JIM, Verb::CompleteConference { consultation });
    let contact = header(stage.actors[JIM].got.last().unwrap(), Name::Contact);
    assert!(contact.ends_with(";isfocus"), "{contact}");
    stage.end();
}

fn supervise(interaction: InteractionId, party: Option<PartyId>, mode: Supervision) -> Verb {
    Verb::Supervise {
        interaction,
        party,
        mode,
    }
}

#[test]
fn who_is_in_a_consultation_is_supervised_by_command_as_by_star_code() {
    for (mode, star) in [
        (Supervision::Listen, "*0"),
        (Supervision::Whisper, "*1"),
        (Supervision::Barge, "*2"),
    ] {
        for (whom, extension) in [(KATE, "1000"), (JIM, "1001")] {
            let heard = ["star code", "command"].map(|way| {
                let (mut stage, _, consultation) = consulting();
                let party = Some(stage.party_id(consultation, whom));
                match way {
                    "command" => {
                        assert!(!stage.act(BOSS, supervise(consultation, party, mode)).done);
                        stage.answer(BOSS);
                    }
                    _ => stage.dial(BOSS, &format!("{star}{extension}")),
                }
                stage.assert_sense();
                let heard = [KATE, JIM, CUSTOMER, BOSS].map(|who| stage.hears(who));
                stage.end();
                heard
            });
            assert_eq!(heard[0], heard[1], "{star}{extension}");
            assert_eq!(heard[0][2], ["music"], "the contact hears nothing of it");
        }
    }
}

#[test]
fn a_supervisor_who_went_along_changes_his_mode_by_the_consultation_that_he_hears() {
    let (mut stage, id) = Stage::talking();
    stage.dial(BOSS, "*01000");
    let consultation = consult(&mut stage, id, "1001");
    stage.answer(JIM);
    let whisper = supervise(consultation, None, Supervision::Whisper);
    assert!(stage.act(BOSS, whisper).done, "no new call");
    assert_eq!(stage.hears(KATE), ["1001", "1009"]);
    assert_eq!(stage.hears(JIM), ["1000"]);
    assert_eq!(stage.actors[BOSS].dialogs.len(), 1);
    // The same for him by an operator.
    let boss = stage.party_id(id, BOSS);
    let act = Act {
        by: By::Operator(Some(boss)),
        client: "".into(),
        verb: supervise(consultation, None, Supervision::Barge),
    };
    let answer = stage.lab.ask(Command::Act(Box::new(act)));
    assert!(matches!(answer, Answer::Acted(ref acted) if acted.done), "{answer:?}");
    assert_eq!(stage.hears(JIM), ["1000", "1009"]);
    stage.end();
}

#[test]
fn a_supervisors_phone_that_rings_for_a_consultation_rings_on_when_that_is_completed() {
    for purpose in ["transfer", "conference"] {
        let (mut stage, interaction, consultation) = consulting();
        stage.act(BOSS, supervise(consultation, None, Supervision::Listen));
        let verb = match purpose {
            "transfer" => Verb::CompleteTransfer { consultation },
            _ => Verb::CompleteConference { consultation },
        };
        stage.act(KATE, verb);
        stage.answer(BOSS);
        let expected: &[&str] = match purpose {
            "transfer" => &["1001", "1005"],
            _ => &["1000", "1001", "1005"],
        };
        assert_eq!(stage.hears(BOSS), expected, "{purpose}");
        assert_eq!(stage.party(interaction, BOSS).role, model::PartyRole::Listen);
        stage.assert_sense();
        stage.end();
    }
}

#[test]
fn a_supervisors_phone_stops_ringing_with_the_consultation_and_not_with_the_contact() {
    let (mut stage, _, consultation) = consulting();
    stage.act(BOSS, supervise(consultation, None, Supervision::Listen));
    stage.act(KATE, Verb::EndConsult { consultation });
    assert!(stage.actors[BOSS].ringing.is_empty());
    assert_eq!(stage.outcomes().last(), Some(&("monitor".to_owned(), 487)));
    stage.end();
    let (mut stage, _, consultation) = consulting();
    stage.act(BOSS, supervise(consultation, None, Supervision::Listen));
    stage.hang_up(CUSTOMER, 0);
    stage.answer(BOSS);
    assert_eq!(stage.hears(BOSS), ["1000", "1001"]);
    stage.end();
}

#[test]
fn a_supervisor_takes_over_from_who_is_consulted() {
    let (mut stage, interaction, consultation) = consulting();
    assert!(
        !stage
            .act(
                BOSS,
                Verb::TakeOver {
                    interaction: consultation
                }
            )
            .done
    );
    stage.answer(BOSS);
    assert!(!stage.is_in_a_call(JIM));
    assert_eq!(
        (stage.hears(KATE), stage.hears(BOSS)),
        (vec!["1009".into()], vec!["1000".into()])
    );
    assert_eq!(stage.hears(CUSTOMER), ["music"]);
    stage.act(KATE, Verb::CompleteTransfer { consultation });
    assert_eq!(stage.hears(CUSTOMER), ["1009"]);
    assert_eq!(stage.view(interaction).owner, Some(stage.party_id(interaction, BOSS)));
    stage.end();
}

#[test]
fn who_watches_an_agent_in_a_call_of_its_own_goes_along_when_that_becomes_a_conference() {
    let (mut stage, interaction) = Stage::talking();
    stage.reinvite(KATE, 0, Method::Invite, "sendonly");
    stage.dial(KATE, "1001");
    stage.answer(JIM);
    let consultation = stage.newest();
    let kate = Some(stage.party_id(consultation, KATE));
    stage.act(BOSS, supervise(consultation, kate, Supervision::Listen));
    stage.answer(BOSS);
    assert_eq!(stage.hears(BOSS), ["1000", "1001"]);
    stage.act(KATE, Verb::CompleteConference { consultation });
    assert_eq!(stage.hears(BOSS), ["1000", "1001", "1005"]);
    assert_eq!(stage.party(interaction, BOSS).role, model::PartyRole::Listen);
    stage.assert_sense();
    stage.end();
}

#[test]
fn who_watches_the_colleague_of_a_call_that_becomes_a_consultation_goes_on_with_him() {
    for rings in [true, false] {
        let (mut stage, first) = Stage::talking();
        let second = stage.call(ANN, KATE);
        let ann = Some(stage.party_id(second, ANN));
        stage.act(BOSS, supervise(second, ann, Supervision::Listen));
        if !rings {
            stage.answer(BOSS);
        }
        let to = format!(
            "Refer-To: <sip:1002@example.com?Replaces={}>\r\n",
            stage.escaped(KATE, 1)
        );
        stage.request(KATE, 0, Method::Refer, &to, None);
        assert!(!stage.is_in_a_call(KATE), "rings: {rings}");
        if rings {
            stage.answer(BOSS);
        }
        assert_eq!(stage.hears(BOSS), ["1002", "1005"], "rings: {rings}");
        assert_eq!(stage.party(first, BOSS).role, model::PartyRole::Listen);
        stage.end();
    }
}

#[test]
fn a_supervisors_phone_stops_ringing_when_whom_it_rings_for_has_gone() {
    for verb in ["monitor", "take-over"] {
        let (mut stage, interaction) = Stage::talking();
        match verb {
            "monitor" => stage.act(BOSS, supervise(interaction, None, Supervision::Listen)),
            _ => stage.act(BOSS, Verb::TakeOver { interaction }),
        };
        let target = "1001".into();
        stage.act(KATE, Verb::InstantTransfer { interaction, target });
        assert_eq!(stage.actors[BOSS].ringing.len(), 1);
        stage.answer(JIM);
        assert!(stage.actors[BOSS].ringing.is_empty(), "{verb}");
        assert_eq!(stage.outcomes().last(), Some(&(verb.to_owned(), 487)));
        assert_eq!(stage.hears(CUSTOMER), ["1001"]);
        stage.assert_sense();
        stage.end();
    }
}
