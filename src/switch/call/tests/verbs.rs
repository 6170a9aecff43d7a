//! Each verb by each way there is to say it.

use super::stage::{ANN, BOSS, CUSTOMER, JIM, KATE, Stage, aor};
use super::*;
use crate::{Answer, By, Command, Look, Mute, Refusal, Verb};
use model::{InteractionId, InteractionState, Medium, PartyState};

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
fn hold_by_command_gives_the_contact_music_and_resume_takes_it_away() {
    let (mut stage, interaction) = Stage::talking();
    assert_eq!(
        (stage.hears(KATE), stage.hears(CUSTOMER)),
        (vec!["1005".into()], vec!["1000".into()])
    );
    stage.act(KATE, Verb::Hold { interaction });
    assert_eq!(
        (stage.hears(KATE), stage.hears(CUSTOMER)),
        (vec![], vec!["music".into()])
    );
    assert!(stage.party(interaction, KATE).holds && stage.party(interaction, CUSTOMER).held);
    stage.act(KATE, Verb::Hold { interaction });
    stage.act(KATE, Verb::Resume { interaction });
    assert_eq!(
        (stage.hears(KATE), stage.hears(CUSTOMER)),
        (vec!["1005".into()], vec!["1000".into()])
    );
    stage.end();
}

#[test]
fn by_setting_who_is_held_hears_nothing() {
    let mut config = super::stage::config();
    config.calls.hold = crate::config::HoldMode::Silence;
    let mut stage = Stage::with(config);
    let interaction = stage.call(CUSTOMER, KATE);
    stage.act(KATE, Verb::Hold { interaction });
    assert_eq!((stage.hears(KATE), stage.hears(CUSTOMER)), (vec![], vec![]));
    assert!(stage.party(interaction, CUSTOMER).held);
    stage.reinvite(KATE, 0, Method::Invite, "sendonly");
    assert_eq!(stage.hears(CUSTOMER), [""; 0]);
    stage.reinvite(KATE, 0, Method::Invite, "sendrecv");
    stage.act(KATE, Verb::Resume { interaction });
    assert_eq!(stage.hears(CUSTOMER), ["1000"]);
    stage.end();
}

#[test]
fn hold_by_the_phone_is_the_same_and_the_other_phone_hears_of_it_only_as_music() {
    for method in [Method::Invite, Method::Update] {
        for direction in ["sendonly", "inactive"] {
            let (mut stage, interaction) = Stage::talking();
            assert_eq!(stage.reinvite(KATE, 0, method, direction), 200);
            let answered = body(stage.actors[KATE].replies.last().unwrap());
            let expected = if direction == "sendonly" {
                "recvonly"
            } else {
                "inactive"
            };
            assert!(answered.contains(&format!("a={expected}\r\n")), "{answered}");
            assert_eq!(stage.hears(CUSTOMER), ["music"]);
            assert!(stage.actors[CUSTOMER].got.is_empty());
            assert!(stage.party(interaction, KATE).holds);
            assert_eq!(stage.reinvite(KATE, 0, method, "sendrecv"), 200);
            assert_eq!(
                (stage.hears(KATE), stage.hears(CUSTOMER)),
                (vec!["1005".into()], vec!["1000".into()])
            );
            stage.end();
        }
    }
}

#[test]
fn what_a_phone_holds_in_one_form_it_resumes_in_the_other() {
    use Method::{Invite, Update};
    for who in [KATE, CUSTOMER] {
        let other = if who == KATE { CUSTOMER } else { KATE };
        for (hold, resume) in [(Update, Invite), (Invite, Update)] {
            for direction in ["sendonly", "inactive"] {
                let (mut stage, interaction) = Stage::talking();
                let talk = [who, other].map(|who| stage.hears(who));
                assert_eq!(stage.reinvite(who, 0, hold.clone(), direction), 200);
                assert!(stage.party(interaction, who).holds && stage.party(interaction, other).held);
                assert_eq!(stage.hears(other), ["music"]);
                assert_eq!(stage.reinvite(who, 0, resume.clone(), "sendrecv"), 200);
                let answer = body(stage.actors[who].replies.last().unwrap());
                assert!(answer.contains("a=sendrecv\r\n"), "{answer}");
                assert!(!stage.party(interaction, who).holds && !stage.party(interaction, other).held);
                assert_eq!([who, other].map(|who| stage.hears(who)), talk);
                assert!(stage.actors[other].got.is_empty(), "the other phone is told nothing");
                stage.end();
            }
        }
    }
}

#[test]
fn both_sides_hold_and_each_takes_back_its_own() {
    let (mut stage, interaction) = Stage::talking();
    stage.reinvite(CUSTOMER, 0, Method::Invite, "sendonly");
    assert_eq!(stage.hears(KATE), ["music"]);
    stage.act(KATE, Verb::Hold { interaction });
    assert_eq!((stage.hears(KATE), stage.hears(CUSTOMER)), (vec![], vec![]));
    stage.act(KATE, Verb::Resume { interaction });
    assert_eq!(stage.hears(KATE), ["music"]);
    stage.reinvite(CUSTOMER, 0, Method::Invite, "sendrecv");
    assert_eq!(
        (stage.hears(KATE), stage.hears(CUSTOMER)),
        (vec!["1005".into()], vec!["1000".into()])
    );
    stage.end();
}

#[test]
fn a_phone_that_holds_is_asked_back_by_the_command() {
    let (mut stage, interaction) = Stage::talking();
    stage.reinvite(KATE, 0, Method::Invite, "sendonly");
    stage.act(KATE, Verb::Resume { interaction });
    assert_eq!(
        (stage.hears(KATE), stage.hears(CUSTOMER)),
        (vec!["1005".into()], vec!["1000".into()])
    );
    assert!(!stage.party(interaction, KATE).holds);
    stage.end();
}

#[test]
fn the_held_party_hangs_up() {
    let (mut stage, interaction) = Stage::talking();
    stage.act(KATE, Verb::Hold { interaction });
    stage.hang_up(CUSTOMER, 0);
    assert!(!stage.is_in_a_call(KATE));
    stage.end();
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

#[test]
fn a_completed_transfer_joins_contact_and_target_and_both_displays_change() {
    let (mut stage, id, consultation) = consulting();
    stage.act(
        KATE,
        Verb::SetCaseData {
            interaction: id,
            key: "order".into(),
            value: "77".into(),
        },
    );
    stage.act(KATE, Verb::CompleteTransfer { consultation });
    assert!(!stage.is_in_a_call(KATE));
    assert_eq!(
        (stage.hears(CUSTOMER), stage.hears(JIM)),
        (vec!["1001".into()], vec!["1005".into()])
    );
    assert_eq!(stage.shown(CUSTOMER), "\"User 1001\" <sip:1001@example.com>");
    assert_eq!(stage.shown(JIM), "\"User 1005\" <sip:1005@example.com>");
    let view = stage.view(id);
    assert_eq!(&*view.case_data["order"], "77");
    assert_eq!(view.owner, Some(stage.party_id(id, JIM)));
    assert_eq!(stage.lab.figure("calls"), 1);
    stage.end();
}

#[test]
fn a_display_changes_by_update_where_the_phone_takes_it_and_else_by_an_offer() {
    for (takes, method) in [(true, Method::Update), (false, Method::Invite)] {
        let mut stage = Stage::new();
        for who in [CUSTOMER, JIM] {
            stage.actors[who].phone.allow = match takes {
                true => "INVITE, ACK, BYE, CANCEL, UPDATE",
                false => "INVITE, ACK, BYE, CANCEL",
            };
        }
        let id = stage.call(CUSTOMER, KATE);
        let consultation = consult(&mut stage, id, "1001");
        stage.answer(JIM);
        let before = [CUSTOMER, JIM].map(|who| stage.actors[who].got.len());
        stage.act(KATE, Verb::CompleteTransfer { consultation });
        for (who, before, party) in [(CUSTOMER, before[0], "called"), (JIM, before[1], "calling")] {
            let told = &stage.actors[who].got[before..];
            assert_eq!(told.len(), 1, "one request, and no other");
            assert_eq!(told[0].method(), method);
            assert_eq!(
                body(&told[0]).contains("m=audio"),
                !takes,
                "an offer only where it has to be"
            );
            let other = if who == CUSTOMER { "1001" } else { "1005" };
            let shown = format!("\"User {other}\" <sip:{other}@example.com>");
            assert_eq!(header(&told[0], Name::PAssertedIdentity), shown);
            let remote = format!("{shown};party={party};privacy=off;screen=yes");
            assert_eq!(header(&told[0], Name::RemotePartyId), remote);
        }
        stage.end();
    }
}

#[test]
fn a_transfer_that_is_completed_while_the_target_rings_is_done_when_it_answers() {
    let (mut stage, id) = Stage::talking();
    let consultation = consult(&mut stage, id, "1001");
    assert!(!stage.act(KATE, Verb::CompleteTransfer { consultation }).done);
    assert_eq!(stage.hears(CUSTOMER), ["music"]);
    stage.answer(JIM);
    assert!(!stage.is_in_a_call(KATE));
    assert_eq!(
        (stage.hears(CUSTOMER), stage.hears(JIM)),
        (vec!["1001".into()], vec!["1005".into()])
    );
    stage.end();
}

#[test]
fn an_instant_transfer_by_command_or_refer_ends_the_same() {
    for way in ["command", "refer", "refer without subscription"] {
        let (mut stage, id) = Stage::talking();
        match way {
            "command" => assert!(
                !stage
                    .act(
                        KATE,
                        Verb::InstantTransfer {
                            interaction: id,
                            target: "1001".into()
                        }
                    )
                    .done
            ),
            "refer" => stage.request(KATE, 0, Method::Refer, "Refer-To: <sip:1001@example.com>\r\n", None),
            _ => stage.request(
                KATE,
                0,
                Method::Refer,
                "Refer-To: sip:1001@example.com\r\nRefer-Sub: false\r\n",
                None,
            ),
        }
        assert_eq!(stage.hears(CUSTOMER), ["music"], "{way}");
        let from = header(&stage.actors[JIM].ringing[0], Name::PAssertedIdentity);
        assert_eq!(from, "\"User 1005\" <sip:1005@example.com>");
        stage.answer(JIM);
        assert!(!stage.is_in_a_call(KATE));
        assert_eq!(
            (stage.hears(CUSTOMER), stage.hears(JIM)),
            (vec!["1001".into()], vec!["1005".into()])
        );
        assert_eq!(stage.outcomes(), [("instant-transfer".to_owned(), 200)]);
        let notified = if way == "refer" {
            vec!["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]
        } else {
            vec![]
        };
        assert_eq!(stage.notified(KATE), notified);
        stage.end();
    }
}

#[test]
fn a_transfer_that_fails_leaves_the_contact_with_the_agent_on_hold() {
    for way in ["command", "refer"] {
        for failure in [486u16, 603, 480] {
            let (mut stage, id) = Stage::talking();
            match way {
                "command" => drop(stage.act(
                    KATE,
                    Verb::InstantTransfer {
                        interaction: id,
                        target: "1001".into(),
                    },
                )),
                _ => stage.request(KATE, 0, Method::Refer, "Refer-To: <sip:1001@example.com>\r\n", None),
            }
            match failure {
                480 => stage.pass_s(61),
                status => stage.refuse(JIM, status),
            }
            assert_eq!(stage.hears(CUSTOMER), ["music"]);
            assert_eq!(stage.outcomes(), [("instant-transfer".to_owned(), failure)]);
            if way == "refer" {
                assert_eq!(
                    stage.notified(KATE).last().unwrap().split(' ').nth(1),
                    Some(&*failure.to_string())
                );
            }
            stage.act(KATE, Verb::Resume { interaction: id });
            assert_eq!(
                (stage.hears(KATE), stage.hears(CUSTOMER)),
                (vec!["1005".into()], vec!["1000".into()])
            );
            stage.end();
        }
    }
}

#[test]
fn a_transferor_may_go_before_the_target_answers() {
    for answers in [true, false] {
        let (mut stage, _) = Stage::talking();
        stage.request(KATE, 0, Method::Refer, "Refer-To: <sip:1001@example.com>\r\n", None);
        stage.hang_up(KATE, 0);
        assert_eq!(stage.hears(CUSTOMER), ["music"]);
        if answers {
            stage.answer(JIM);
            assert_eq!(
                (stage.hears(CUSTOMER), stage.hears(JIM)),
                (vec!["1001".into()], vec!["1005".into()])
            );
        } else {
            stage.refuse(JIM, 486);
            assert!(!stage.is_in_a_call(CUSTOMER));
        }
        stage.end();
    }
}

#[test]
fn a_refer_that_leads_elsewhere_is_refused_and_the_call_goes_on() {
    for (refer_to, status) in [
        ("<sip:1001@elsewhere.example>", 403),
        ("<tel:+49301234>", 416),
        ("<sip:1001@example.com;method=MESSAGE>", 501),
        ("<sip:1001@example.com>, <sip:1002@example.com>", 400),
        ("nonsense", 400),
    ] {
        let (mut stage, _) = Stage::talking();
        stage.request(KATE, 0, Method::Refer, &format!("Refer-To: {refer_to}\r\n"), None);
        assert_eq!(stage.last_reply(KATE), status, "{refer_to}");
        assert_eq!(stage.hears(CUSTOMER), ["1000"]);
        stage.end();
    }
    let (mut stage, _) = Stage::talking();
    stage.request(KATE, 0, Method::Refer, "Refer-To: <sip:0190666@example.com>\r\n", None);
    assert_eq!(stage.notified(KATE).last().unwrap(), "SIP/2.0 404 Not Found");
    assert_eq!(stage.hears(CUSTOMER), ["1000"]);
    stage.end();
}

#[test]
fn a_second_call_while_the_first_is_held_is_a_consultation_and_refer_with_replaces_completes_it() {
    for order in [(0, 1), (1, 0)] {
        let (mut stage, id) = Stage::talking();
        stage.reinvite(KATE, 0, Method::Invite, "sendonly");
        stage.dial(KATE, "1001");
        let consultation = stage.newest();
        assert_eq!(stage.view(consultation).parent, Some(id));
        stage.answer(JIM);
        assert_eq!(
            (stage.hears(KATE), stage.hears(CUSTOMER), stage.hears(JIM)),
            (vec!["1001".into()], vec!["music".into()], vec!["1000".into()])
        );
        let replaces = stage.escaped(KATE, order.1);
        let refer_to = format!("Refer-To: <sip:1001@example.com?Replaces={replaces}>\r\n");
        stage.request(KATE, order.0, Method::Refer, &refer_to, None);
        assert!(!stage.is_in_a_call(KATE), "{order:?}");
        assert_eq!(stage.notified(KATE).last().unwrap(), "SIP/2.0 200 OK");
        assert_eq!(
            (stage.hears(CUSTOMER), stage.hears(JIM)),
            (vec!["1001".into()], vec!["1005".into()])
        );
        assert_eq!(stage.view(id).owner, Some(stage.party_id(id, JIM)));
        stage.end();
    }
}

#[test]
fn two_calls_that_began_apart_are_joined_by_refer_with_replaces() {
    let (mut stage, id) = Stage::talking();
    let second = stage.call(ANN, KATE);
    let replaces = stage.escaped(KATE, 1);
    stage.request(
        KATE,
        0,
        Method::Refer,
        &format!("Refer-To: <sip:x@example.com?Replaces={replaces}>\r\n"),
        None,
    );
    assert!(!stage.is_in_a_call(KATE));
    assert_eq!(
        (stage.hears(CUSTOMER), stage.hears(ANN)),
        (vec!["1002".into()], vec!["1005".into()])
    );
    assert!(stage.views().iter().all(|view| view.id == id || view.id != second));
    stage.end();
}

#[test]
fn refer_with_replaces_of_somebody_elses_dialog_is_told_481_by_notify() {
    let (mut stage, _) = Stage::talking();
    stage.call(ANN, JIM);
    for (who, line) in [(ANN, 0), (JIM, 0)] {
        let replaces = stage.escaped(who, line);
        stage.request(
            KATE,
            0,
            Method::Refer,
            &format!("Refer-To: <sip:x@example.com?Replaces={replaces}>\r\n"),
            None,
        );
        assert_eq!(
            stage.notified(KATE).last().unwrap(),
            "SIP/2.0 481 Call/Transaction Does Not Exist"
        );
    }
    assert_eq!(
        (stage.hears(CUSTOMER), stage.hears(ANN)),
        (vec!["1000".into()], vec!["1001".into()])
    );
    stage.end();
}

#[test]
fn an_instant_conference_lets_everybody_hear_everybody() {
    let (mut stage, id) = Stage::talking();
    assert!(
        !stage
            .act(
                KATE,
                Verb::InstantConference {
                    interaction: id,
                    target: "1001".into()
                }
            )
            .done
    );
    assert_eq!(stage.hears(CUSTOMER), ["1000"]);
    stage.answer(JIM);
    assert_eq!(stage.hears(KATE), ["1001", "1005"]);
    assert_eq!(stage.hears(CUSTOMER), ["1000", "1001"]);
    assert_eq!(stage.hears(JIM), ["1000", "1005"]);
    let contact = |stage: &Stage| header(stage.actors[CUSTOMER].got.last().unwrap(), Name::Contact);
    // At this address who takes part can be watched.
    let focus = contact(&stage);
    assert!(
        focus.starts_with(&format!("<sip:{id}@")) && focus.ends_with(";isfocus"),
        "{focus}"
    );
    stage.act(
        KATE,
        Verb::Add {
            interaction: id,
            target: "1002".into(),
        },
    );
    stage.answer(ANN);
    assert_eq!(stage.hears(ANN), ["1000", "1001", "1005"]);
    for who in [ANN, JIM] {
        stage.hang_up(who, 0);
    }
    assert!(
        contact(&stage).starts_with("<sip:1000@"),
        "two are left: {}",
        contact(&stage)
    );
    stage.end();
}

#[test]
fn a_consultation_becomes_a_conference_and_the_owner_may_leave_it() {
    let (mut stage, id, consultation) = consulting();
    stage.act(KATE, Verb::CompleteConference { consultation });
    assert_eq!(stage.hears(KATE), ["1001", "1005"]);
    assert_eq!(stage.hears(CUSTOMER), ["1000", "1001"]);
    assert_eq!(stage.view(id).owner, Some(stage.party_id(id, KATE)));
    stage.act(KATE, Verb::Leave { interaction: id });
    assert!(!stage.is_in_a_call(KATE));
    assert_eq!(
        (stage.hears(CUSTOMER), stage.hears(JIM)),
        (vec!["1001".into()], vec!["1005".into()])
    );
    assert_eq!(stage.view(id).owner, Some(stage.party_id(id, JIM)));
    assert_eq!(stage.shown(CUSTOMER), "\"User 1001\" <sip:1001@example.com>");
    stage.end();
}

#[test]
fn the_added_party_may_go_or_be_dropped_and_the_call_goes_on() {
    for way in ["bye", "drop", "refer bye"] {
        let (mut stage, id, consultation) = consulting();
        stage.act(KATE, Verb::CompleteConference { consultation });
        let party = stage.party_id(id, JIM);
        match way {
            "bye" => stage.hang_up(JIM, 0),
            "drop" => {
                assert!(matches!(
                    stage.refused(CUSTOMER, Verb::Drop { interaction: id, party }),
                    Refusal::Forbidden(_)
                ));
                stage.act(KATE, Verb::Drop { interaction: id, party });
            }
            _ => stage.request(
                KATE,
                0,
                Method::Refer,
                "Refer-To: <sip:1001@example.com;method=BYE>\r\n",
                None,
            ),
        }
        assert!(!stage.is_in_a_call(JIM), "{way}");
        assert_eq!(
            (stage.hears(KATE), stage.hears(CUSTOMER)),
            (vec!["1005".into()], vec!["1000".into()])
        );
        stage.end();
    }
}

#[test]
fn a_refer_to_the_focus_adds_a_party() {
    let (mut stage, id, consultation) = consulting();
    stage.act(KATE, Verb::CompleteConference { consultation });
    stage.request(KATE, 0, Method::Refer, "Refer-To: <sip:1002@example.com>\r\n", None);
    stage.answer(ANN);
    assert_eq!(stage.hears(ANN), ["1000", "1001", "1005"]);
    assert_eq!(stage.notified(KATE).last().unwrap(), "SIP/2.0 200 OK");
    assert_eq!(stage.view(id).parties.len(), 4);
    stage.end();
}

#[test]
fn mute_is_for_all_or_for_one_and_in_each_direction() {
    let (mut stage, id, consultation) = consulting();
    stage.act(KATE, Verb::CompleteConference { consultation });
    let (jim, customer) = (stage.party_id(id, JIM), stage.party_id(id, CUSTOMER));
    let mute = |party, listener, mute, on| Verb::Mute {
        interaction: id,
        party,
        listener,
        mute,
        on,
    };
    stage.act(KATE, mute(jim, None, Mute::Speech, true));
    assert_eq!(
        (stage.hears(CUSTOMER), stage.hears(JIM).len()),
        (vec!["1000".to_owned()], 2)
    );
    stage.act(KATE, mute(jim, None, Mute::Both, true));
    assert_eq!(stage.hears(JIM), Vec::<String>::new());
    stage.act(KATE, mute(jim, None, Mute::Both, false));
    stage.act(KATE, mute(jim, Some(customer), Mute::Speech, true));
    assert_eq!(
        (stage.hears(CUSTOMER), stage.hears(KATE), stage.hears(JIM).len()),
        (vec!["1000".into()], vec!["1001".into(), "1005".into()], 2)
    );
    assert_eq!(stage.party(id, JIM).unheard_by, [customer]);
    stage.act(KATE, mute(jim, Some(customer), Mute::Speech, false));
    assert_eq!(stage.hears(CUSTOMER).len(), 2);
    assert!(matches!(
        stage.refused(CUSTOMER, mute(jim, None, Mute::Speech, true)),
        Refusal::Forbidden(_)
    ));
    stage.act(JIM, mute(jim, None, Mute::Speech, true));
    assert_eq!(stage.hears(CUSTOMER), ["1000"]);
    stage.end();
}

#[test]
fn replaces_moves_a_call_to_another_phone_of_the_same_user() {
    let (mut stage, id) = Stage::talking();
    let replaces = stage.replaces(KATE, 0);
    let mut second = Handset::registered(&mut stage.lab, "1000", 6950);
    let mut dialog = second.invite_with(
        &mut stage.lab,
        "1005",
        &format!("Replaces: {replaces}\r\nRequire: replaces\r\n"),
        Some(&sdp(7950, &[0])),
    );
    let ok = second.expect(&mut stage.lab, 200);
    second.ack(&mut stage.lab, &mut dialog, &ok, None);
    stage.settle();
    assert!(!stage.is_in_a_call(KATE));
    assert_eq!(stage.hears(CUSTOMER), ["7950"]);
    assert_eq!(stage.view(id).parties.len(), 2);
    let update = second.expect_request(&mut stage.lab, Method::Update);
    assert_eq!(
        header(&update, Name::PAssertedIdentity),
        "\"User 1005\" <sip:1005@example.com>"
    );
    second.reply(&mut stage.lab, &update, 200, None);
    second.send_in(&mut stage.lab, &mut dialog, Method::Bye, "", None);
    second.expect(&mut stage.lab, 200);
    stage.settle();
    stage.end();
}

#[test]
fn replaces_of_a_wrong_dialog_gets_481_and_of_a_strangers_403() {
    let (mut stage, _) = Stage::talking();
    let real = stage.replaces(KATE, 0);
    for (value, status) in [
        ("nobody@x;to-tag=1;from-tag=2".to_owned(), 481),
        (real.replace("from-tag=", "from-tag=x"), 481),
        (real.clone(), 403),
        (format!("{real};early-only"), 486),
        ("broken".to_owned(), 400),
    ] {
        stage.dial_with(ANN, "1000", &format!("Replaces: {value}\r\n"));
        assert_eq!(stage.last_reply(ANN), status, "{value}");
    }
    for twice in [
        format!("Replaces: {real}\r\nJoin: {real}\r\n"),
        format!("Replaces: {real}\r\nReplaces: {real}\r\n"),
    ] {
        stage.dial_with(ANN, "1000", &twice);
        assert_eq!(stage.last_reply(ANN), 400);
    }
    assert_eq!(stage.hears(CUSTOMER), ["1000"]);
    stage.end();
}

#[test]
fn join_is_for_supervisors_and_those_who_take_part() {
    let (mut stage, _) = Stage::talking();
    let join = format!("Join: {}\r\n", stage.replaces(KATE, 0));
    stage.dial_with(ANN, "1000", &join);
    assert_eq!(stage.last_reply(ANN), 403);
    stage.dial_with(BOSS, "1000", &join);
    assert_eq!(stage.hears(CUSTOMER), ["1000", "1009"]);
    stage.end();
}

#[test]
fn the_focus_of_a_conference_is_dialled_by_those_who_may_join_it() {
    let (mut stage, id, consultation) = consulting();
    stage.dial(BOSS, &id.to_string());
    assert_eq!(stage.last_reply(BOSS), 404, "no conference yet");
    stage.act(KATE, Verb::CompleteConference { consultation });
    stage.dial(ANN, &id.to_string());
    assert_eq!(stage.last_reply(ANN), 403);
    stage.dial(BOSS, &id.to_string());
    assert_eq!(stage.hears(BOSS), ["1000", "1001", "1005"]);
    assert_eq!(stage.hears(CUSTOMER), ["1000", "1001", "1009"]);
    // A second device of hers.
    stage.dial(KATE, &id.to_string());
    assert!(stage.is_in_a_call(KATE));
    assert_eq!(stage.view(id).parties.len(), 5);
    stage.end();
}

#[test]
fn a_colleague_picks_up_what_rings_elsewhere() {
    let mut stage = Stage::new();
    stage.dial(CUSTOMER, "1000");
    stage.dial(JIM, "*81000");
    assert!(stage.actors[KATE].ringing.is_empty());
    assert_eq!(
        (stage.hears(CUSTOMER), stage.hears(JIM)),
        (vec!["1001".into()], vec!["1005".into()])
    );
    let id = stage.newest();
    assert_eq!(stage.view(id).state, InteractionState::Up);
    stage.dial(ANN, "*81000");
    assert_eq!(stage.last_reply(ANN), 480);
    stage.end();
}

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

#[test]
fn records_tell_who_was_consulted_and_to_whom_a_contact_was_transferred() {
    use model::{CdrLink, Purpose};
    let (mut stage, id, consultation) = consulting();
    stage.act(KATE, Verb::CompleteTransfer { consultation });
    stage.hang_up(CUSTOMER, 0);
    let record = |stage: &Stage, user: &str| {
        let of = |cdr: &&model::Cdr| cdr.user.as_ref().is_some_and(|aor| aor.user() == user);
        stage.lab.records.iter().find(of).cloned().unwrap()
    };
    let (kate, jim, customer) = (record(&stage, "1000"), record(&stage, "1001"), record(&stage, "1005"));
    assert_eq!((&*kate.transferred_to, kate.link), ("1001", None));
    let how = Purpose::Transfer;
    assert_eq!(
        jim.link,
        Some(CdrLink {
            interaction: consultation,
            how
        })
    );
    assert!([&kate, &jim, &customer].iter().all(|cdr| cdr.interaction == id));
    assert_eq!((&*customer.transferred_to, customer.link), ("", None));
    stage.end();
    let (mut stage, id, consultation) = consulting();
    stage.act(KATE, Verb::EndConsult { consultation });
    let how = Purpose::Consult;
    let jim = record(&stage, "1001");
    assert_eq!(
        (jim.interaction, jim.link),
        (consultation, Some(CdrLink { interaction: id, how }))
    );
    stage.end();
}

#[test]
fn replaces_of_a_dialog_that_has_just_ended_gets_603() {
    let (mut stage, _) = Stage::talking();
    let replaces = stage.replaces(KATE, 0);
    stage.actors[KATE].is_slow = true;
    // Her phone has not seen the BYE yet.
    stage.hang_up(CUSTOMER, 0);
    stage.dial_with(ANN, "1000", &format!("Replaces: {replaces}\r\n"));
    assert_eq!(stage.last_reply(ANN), 603);
    stage.slow(false);
    stage.end();
}

#[test]
fn what_rings_is_picked_up_by_replaces_with_the_tags_as_a_lamp_shows_them() {
    for order in ["ours", "the lamps"] {
        let mut stage = Stage::new();
        stage.dial(CUSTOMER, "1000");
        let invite = stage.actors[KATE].ringing[0].clone();
        let ours = invite.from().unwrap().tag().to_vec();
        let ours = String::from_utf8(ours).unwrap();
        let theirs = format!("1000-{}", stage.actors[KATE].phone.flow.peer.port());
        let (to, from) = if order == "ours" {
            (&ours, &theirs)
        } else {
            (&theirs, &ours)
        };
        let call_id = String::from_utf8_lossy(invite.call_id()).into_owned();
        let value = format!("Replaces: {call_id};to-tag={to};from-tag={from};early-only\r\n");
        stage.dial_with(JIM, "1000", &value);
        assert_eq!(stage.last_reply(JIM), 200, "{order}");
        assert!(stage.actors[KATE].ringing.is_empty());
        assert_eq!(
            (stage.hears(CUSTOMER), stage.hears(JIM)),
            (vec!["1001".into()], vec!["1005".into()])
        );
        stage.end();
    }
}

#[test]
fn the_target_of_a_transfer_is_told_who_referred_and_nobody_believes_the_refer() {
    for way in ["command", "refer"] {
        let (mut stage, interaction) = Stage::talking();
        match way {
            "command" => {
                let target = "1001".into();
                stage.act(KATE, Verb::InstantTransfer { interaction, target });
            }
            _ => stage.request(
                KATE,
                0,
                Method::Refer,
                "Refer-To: <sip:1001@example.com>\r\nReferred-By: <sip:ceo@example.com>\r\n",
                None,
            ),
        }
        let told = header(&stage.actors[JIM].ringing[0], Name::ReferredBy);
        assert_eq!(told, "\"User 1000\" <sip:1000@example.com>", "{way}");
        stage.answer(JIM);
        stage.end();
    }
}
