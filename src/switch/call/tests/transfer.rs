//! Transfers: at once and after a consultation, by command and by REFER, and what is told and recorded of them.

use super::consult::{consult, consulting};
use super::stage::{ANN, CUSTOMER, JIM, KATE, Stage, aor};
use super::*;
use crate::{Answer, By, Command, Notice, Refusal, SetAgent, Verb};
use model::{InteractionId, Medium};

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
fn who_hands_a_contact_on_hears_the_target_ring_until_it_answers_or_he_turns_back_and_a_tone_if_it_does_not() {
    let of_kate = |stage: &Stage| (stage.hears(KATE), stage.hears(CUSTOMER));
    let tone = || (vec!["tone".into()], vec!["music".into()]);
    let ways: [fn(&mut Stage, InteractionId); 2] = [
        |stage, id| {
            let target = "1001".into();
            stage.act(
                KATE,
                Verb::InstantTransfer {
                    interaction: id,
                    target,
                },
            );
        },
        |stage, id| {
            let consultation = consult(stage, id, "1001");
            stage.act(KATE, Verb::CompleteTransfer { consultation });
        },
    ];
    for hand_on in ways {
        let (mut stage, id) = Stage::talking();
        hand_on(&mut stage, id);
        assert_eq!(of_kate(&stage), tone());
        stage.answer(JIM);
        assert!(!stage.is_in_a_call(KATE));
        assert_eq!(stage.hears(CUSTOMER), ["1001"]);
        stage.end();

        let (mut stage, id) = Stage::talking();
        hand_on(&mut stage, id);
        stage.refuse(JIM, 486);
        assert_eq!(of_kate(&stage), tone(), "busy");
        stage.end_tones();
        assert_eq!(of_kate(&stage), (vec![], vec!["music".into()]));
        stage.end();

        let (mut stage, id) = Stage::talking();
        hand_on(&mut stage, id);
        stage.act(KATE, Verb::Resume { interaction: id });
        assert_eq!(of_kate(&stage), (vec!["1005".into()], vec!["1000".into()]));
        stage.refuse(JIM, 486);
        assert_eq!(of_kate(&stage), (vec!["1005".into()], vec!["1000".into()]));
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

/// The outcome that was told last: status, and whose mailbox may be offered.
fn told(stage: &Stage) -> (u16, Option<&str>) {
    let mut outcomes = stage.lab.notices.iter().filter_map(|notice| match notice {
        Notice::Verb(outcome) => Some((outcome.status, outcome.voicemail.as_deref())),
        _ => None,
    });
    outcomes.next_back().expect("an outcome")
}

/// Kate transfers the contact: what she is told at once, if it comes to nothing at once.
fn transfers(stage: &mut Stage, way: &str, interaction: InteractionId, target: &str) -> Option<Refusal> {
    let refer_to = format!("Refer-To: <sip:{target}@example.com>\r\n");
    let target = target.into();
    match way {
        "command" => match stage.ask(KATE, Verb::InstantTransfer { interaction, target }) {
            Answer::Refused(refusal) => return Some(refusal),
            answer => assert!(matches!(answer, Answer::Acted(acted) if !acted.done)),
        },
        _ => stage.request(KATE, 0, Method::Refer, &refer_to, None),
    }
    None
}

#[test]
fn a_transfer_to_who_is_absent_leaves_the_contact_where_it_was_and_offers_voicemail() {
    for way in ["command", "refer"] {
        for held in [true, false] {
            let (mut stage, interaction) = Stage::talking();
            if held {
                stage.act(KATE, Verb::Hold { interaction });
            }
            let refusal = transfers(&mut stage, way, interaction, "1008");
            match way {
                "command" => {
                    let (status, voicemail) = (480, "1008".into());
                    assert_eq!(refusal, Some(Refusal::NotTransferred { status, voicemail }));
                }
                _ => {
                    let notified = stage.notified(KATE);
                    assert_eq!(notified.last().unwrap(), "SIP/2.0 480 Temporarily Unavailable");
                    assert_eq!(told(&stage), (480, Some("1008")));
                }
            }
            // Who was on hold stays so until she resumes (R109); else she talks on.
            let heard = if held { "music" } else { "1000" };
            assert_eq!(stage.hears(CUSTOMER), [heard], "{way}");
            stage.pass_s(120);
            assert_eq!(stage.hears(CUSTOMER), [heard], "{way}");
            stage.act(KATE, Verb::Resume { interaction });
            assert_eq!(stage.hears(CUSTOMER), ["1000"]);
            stage.end();
        }
    }
}

#[test]
fn who_is_not_ready_may_decline_a_transfer_and_the_contact_stays_on_hold_and_is_offered_voicemail() {
    for way in ["command", "refer"] {
        for status in [486, 603, 480] {
            let (mut stage, interaction) = Stage::talking();
            let not_ready = SetAgent {
                by: By::User(aor(JIM)),
                user: aor(JIM),
                willing: model::Willing::NotReady,
                medium: Some(Medium::Voice),
                reason: "meal".into(),
            };
            let answer = stage.lab.ask(Command::SetAgent(Box::new(not_ready)));
            assert!(matches!(answer, Answer::Agents(_)), "{answer:?}");
            assert_eq!(transfers(&mut stage, way, interaction, "1001"), None);
            match status {
                480 => stage.pass_s(61),
                status => stage.refuse(JIM, status),
            }
            assert_eq!(told(&stage), (status, Some("1001")), "{way}");
            assert_eq!(stage.hears(CUSTOMER), ["music"]);
            stage.pass_s(120);
            assert_eq!(stage.hears(CUSTOMER), ["music"]);
            stage.act(KATE, Verb::Resume { interaction });
            assert_eq!(stage.hears(CUSTOMER), ["1000"]);
            stage.end();
        }
    }
}

#[test]
fn voicemail_is_offered_for_transfers_to_users_that_come_to_nothing_and_for_nothing_else() {
    let (mut stage, interaction) = Stage::talking();
    // A group has no mailbox.
    assert_eq!(
        transfers(&mut stage, "command", interaction, "2000"),
        Some(Refusal::Unreachable(480))
    );
    assert_eq!(transfers(&mut stage, "refer", interaction, "2000"), None);
    assert_eq!(told(&stage), (480, None));
    let target = "1001".into();
    stage.act(KATE, Verb::InstantConference { interaction, target });
    stage.refuse(JIM, 486);
    assert_eq!(told(&stage), (486, None));
    transfers(&mut stage, "command", interaction, "1001");
    stage.answer(JIM);
    assert_eq!(told(&stage), (200, None));
    stage.end();
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

/// Somebody switches something by a star code, and hears that it is done.
fn sets(stage: &mut Stage, who: usize, code: &str) {
    stage.dial(who, code);
    stage.end_tones();
    assert!(!stage.is_in_a_call(who));
}

#[test]
fn who_does_not_want_to_be_disturbed_is_busy_for_whatever_he_is_called_for() {
    let (mut stage, interaction) = Stage::talking();
    sets(&mut stage, JIM, "*78");
    let target = || "1001".into();
    let medium = Medium::Voice;
    let (status, voicemail) = (486, target());
    for (verb, refusal) in [
        (
            Verb::Consult {
                interaction,
                target: target(),
                medium,
            },
            Refusal::Unreachable(486),
        ),
        (
            Verb::InstantConference {
                interaction,
                target: target(),
            },
            Refusal::Unreachable(486),
        ),
        (
            Verb::InstantTransfer {
                interaction,
                target: target(),
            },
            Refusal::NotTransferred { status, voicemail },
        ),
    ] {
        assert_eq!(stage.refused(KATE, verb), refusal);
    }
    transfers(&mut stage, "refer", interaction, "1001");
    assert_eq!(told(&stage), (486, Some("1001")));
    assert!(stage.actors[JIM].ringing.is_empty());
    assert_eq!(stage.hears(CUSTOMER), ["1000"]);
    sets(&mut stage, JIM, "*79");
    transfers(&mut stage, "refer", interaction, "1001");
    stage.answer(JIM);
    stage.end();
}

#[test]
fn whoever_is_called_for_an_interaction_has_his_calls_forwarded_as_he_has_set() {
    for code in ["*721002", "*901002", "*921002"] {
        for way in ["command", "refer", "consult"] {
            let (mut stage, interaction) = Stage::talking();
            sets(&mut stage, JIM, code);
            match way {
                "consult" => {
                    consult(&mut stage, interaction, "1001");
                }
                way => assert_eq!(transfers(&mut stage, way, interaction, "1001"), None),
            }
            match code {
                "*901002" => stage.refuse(JIM, 486),
                "*921002" => stage.pass_s(61),
                _ => {}
            }
            assert!(stage.actors[JIM].ringing.is_empty(), "{code}");
            stage.answer(ANN);
            assert_eq!(told(&stage), (200, None), "{code} by {way}");
            let talks = if way == "consult" { KATE } else { CUSTOMER };
            assert_eq!(stage.hears(talks), ["1002"], "{code} by {way}");
            stage.assert_sense();
            stage.end();
        }
    }
}
