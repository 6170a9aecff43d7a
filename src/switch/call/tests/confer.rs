//! Conferences of a call: who comes, goes, is dropped and is heard.

use super::consult::consulting;
use super::stage::{ANN, CUSTOMER, JIM, KATE, Stage};
use super::*;
use crate::{Mute, Refusal, Verb};

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
