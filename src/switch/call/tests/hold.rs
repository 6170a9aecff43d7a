//! Hold and resume, by command and by phones of either side.

use super::stage::{CUSTOMER, KATE, Stage};
use super::*;
use crate::Verb;

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
                assert_eq!(stage.reinvite(who, 0, hold, direction), 200);
                assert!(stage.party(interaction, who).holds && stage.party(interaction, other).held);
                assert_eq!(stage.hears(other), ["music"]);
                assert_eq!(stage.reinvite(who, 0, resume, "sendrecv"), 200);
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
