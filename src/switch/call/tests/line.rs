//! Consultations with what the switch answers itself, heard by the line of a phone that knows one call.

use super::stage::{BOSS, CUSTOMER, JIM, KATE, Stage, config};
use crate::config::conference::{Pin, RoomSettings, Waiting};
use crate::{Acted, Answer, Command, Input, Refusal, Verb};
use media::{DtmfBy, Event};
use model::{InteractionId, Medium, RoomView};
use std::time::Duration;

fn asks(interaction: InteractionId, target: &str) -> Verb {
    Verb::Consult {
        interaction,
        target: target.into(),
        medium: Medium::Voice,
    }
}

fn consult(stage: &mut Stage, interaction: InteractionId, target: &str) -> Acted {
    stage.act(KATE, asks(interaction, target))
}

fn hear(stage: &Stage) -> [Vec<String>; 2] {
    [stage.hears(KATE), stage.hears(CUSTOMER)]
}

fn heard(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn rooms(stage: &mut Stage) -> Vec<RoomView> {
    match stage.lab.ask(Command::Rooms) {
        Answer::Rooms(rooms) => rooms,
        other => panic!("{other:?}"),
    }
}

fn states(stage: &mut Stage) -> Vec<String> {
    let rooms = rooms(stage);
    let members = rooms.iter().flat_map(|room| &room.members);
    members.map(|member| member.state.to_string()).collect()
}

fn press(stage: &mut Stage, keys: &str) {
    let rtp = stage.actors[KATE].dialogs[0].rtp;
    let leg = stage.lab.studio.towards(rtp).expect("a leg").leg;
    for digit in keys.chars() {
        let (duration, by, passed_on) = (Duration::from_millis(100), DtmfBy::Packets, false);
        stage.lab.input(Input::Media(Event::Dtmf {
            leg,
            digit,
            duration,
            by,
            passed_on,
        }));
    }
    stage.settle();
}

fn with_room(settings: RoomSettings) -> Stage {
    let mut config = config();
    config.conferences.rooms.push(("3000".into(), settings));
    Stage::with(config)
}

#[test]
fn a_service_is_consulted_by_the_line_and_its_end_resumes_the_contact() {
    for (number, sound) in [("9196", "itself"), ("9197", "tone"), ("9664", "music")] {
        let (mut stage, id) = Stage::talking();
        let acted = consult(&mut stage, id, number);
        assert!(acted.done, "nobody has to answer at {number}");
        let consultation = acted.view.id;
        assert_eq!(hear(&stage), [heard(&[sound]), heard(&["music"])], "{number}");
        assert_eq!(stage.actors[KATE].dialogs.len(), 1, "the phone knows one call");
        assert_eq!(stage.view(id).consultations, [consultation]);
        for (verb, at_service) in [
            (Verb::Toggle { interaction: id }, false),
            (Verb::Toggle { interaction: id }, true),
            (Verb::Resume { interaction: id }, false),
            (
                Verb::Resume {
                    interaction: consultation,
                },
                true,
            ),
        ] {
            stage.act(KATE, verb);
            let expected = match at_service {
                true => [heard(&[sound]), heard(&["music"])],
                false => [heard(&["1005"]), heard(&["1000"])],
            };
            assert_eq!(hear(&stage), expected, "{number}");
        }
        stage.act(
            KATE,
            Verb::Hold {
                interaction: consultation,
            },
        );
        assert_eq!(hear(&stage), [heard(&[]), heard(&["music"])]);
        stage.act(KATE, Verb::EndConsult { consultation });
        assert_eq!(hear(&stage), [heard(&["1005"]), heard(&["1000"])]);
        assert!(stage.view(id).consultations.is_empty());
        stage.end();
    }
}

#[test]
fn a_contact_is_transferred_to_the_service_that_was_consulted() {
    let (mut stage, id) = Stage::talking();
    let consultation = consult(&mut stage, id, "9664").view.id;
    let joins = stage.refused(KATE, Verb::CompleteConference { consultation });
    assert!(matches!(joins, Refusal::Conflict(_)), "a service joins nobody");
    assert_eq!(stage.hears(KATE), ["music"], "and nothing has changed");
    stage.act(KATE, Verb::CompleteTransfer { consultation });
    assert!(!stage.is_in_a_call(KATE));
    assert_eq!(stage.hears(CUSTOMER), ["music"]);
    stage.hang_up(CUSTOMER, 0);
    stage.end();
}

#[test]
fn a_room_is_consulted_by_the_line_and_keeps_the_seat_while_she_hears_the_contact() {
    let (mut stage, id) = Stage::talking();
    stage.dial(JIM, "3001");
    let consultation = consult(&mut stage, id, "3001").view.id;
    assert_eq!(hear(&stage), [heard(&["1001"]), heard(&["music"])]);
    assert_eq!(stage.hears(JIM), ["1000"]);
    let members: Vec<_> = rooms(&mut stage)[0].members.clone();
    assert_eq!(members[1].call, Some(consultation));
    stage.act(KATE, Verb::Toggle { interaction: id });
    assert_eq!(hear(&stage), [heard(&["1005"]), heard(&["1000"])]);
    assert_eq!((stage.hears(JIM), states(&mut stage).len()), (vec![], 2));
    // What the room's operator does meanwhile is no matter of the contact's.
    let (room, member, muted, deaf) = ("3001".into(), members[1].id, Some(true), None);
    stage.lab.ask(Command::RoomMute {
        room,
        member,
        muted,
        deaf,
    });
    assert!(
        !matches!(stage.lab.studio.plans.last(), Some(media::Plan::Restrict { .. })),
        "the contact hears her still"
    );
    stage.act(KATE, Verb::Toggle { interaction: id });
    assert!(
        stage.lab.studio.plans.iter().rev().take(4).any(|plan| matches!(
            plan,
            media::Plan::Restrict {
                muted: true,
                deaf: false,
                ..
            }
        )),
        "and the room does not"
    );
    assert_eq!(stage.hears(KATE), ["1001"]);
    stage.act(KATE, Verb::CompleteTransfer { consultation });
    assert!(!stage.is_in_a_call(KATE));
    assert_eq!(
        (stage.hears(CUSTOMER), stage.hears(JIM)),
        (heard(&["1001"]), heard(&["1005"]))
    );
    stage.end();
}

#[test]
fn who_is_taken_out_of_the_room_talks_to_the_contact_again() {
    let (mut stage, id) = Stage::talking();
    consult(&mut stage, id, "3001");
    let (room, member) = ("3001".into(), Some(1));
    stage.lab.ask(Command::RoomDrop { room, member });
    stage.settle();
    assert_eq!(hear(&stage), [heard(&["1005"]), heard(&["1000"])]);
    assert_eq!(rooms(&mut stage), []);
    stage.end();
}

#[test]
fn a_room_that_ends_with_its_moderator_sends_the_line_home() {
    let mut stage = with_room(RoomSettings {
        moderators: vec!["1001".into()],
        end_with_moderator: true,
        ..RoomSettings::default()
    });
    let id = stage.call(CUSTOMER, KATE);
    stage.dial(JIM, "3000");
    consult(&mut stage, id, "3000");
    assert_eq!(stage.hears(KATE), ["1001"]);
    stage.hang_up(JIM, 0);
    assert_eq!(hear(&stage), [heard(&["1005"]), heard(&["1000"])]);
    stage.end();
}

#[test]
fn when_the_contact_goes_the_line_stays_in_the_room() {
    for turned_away in [false, true] {
        let (mut stage, id) = Stage::talking();
        stage.dial(JIM, "3001");
        consult(&mut stage, id, "3001");
        if turned_away {
            stage.act(KATE, Verb::Toggle { interaction: id });
        }
        stage.hang_up(CUSTOMER, 0);
        assert_eq!(
            (stage.hears(KATE), stage.hears(JIM)),
            (heard(&["1001"]), heard(&["1000"]))
        );
        stage.hang_up(KATE, 0);
        assert_eq!(states(&mut stage), ["inside"]);
        stage.end();
    }
}

#[test]
fn of_two_consultations_by_one_line_the_one_that_is_heard_outlives_the_contact() {
    let (mut stage, id) = Stage::talking();
    consult(&mut stage, id, "3001");
    consult(&mut stage, id, "1001");
    stage.answer(JIM);
    stage.hang_up(CUSTOMER, 0);
    assert_eq!(
        (stage.hears(KATE), stage.hears(JIM)),
        (heard(&["1001"]), heard(&["1000"]))
    );
    assert_eq!(rooms(&mut stage), [], "nobody is in the room any more");
    stage.end();
}

#[test]
fn who_hangs_up_at_a_service_hangs_up_on_the_contact_too() {
    for number in ["9196", "3001"] {
        let (mut stage, id) = Stage::talking();
        consult(&mut stage, id, number);
        stage.hang_up(KATE, 0);
        assert!(!stage.is_in_a_call(CUSTOMER));
        assert_eq!(rooms(&mut stage), []);
        stage.end();
    }
}

#[test]
fn a_pin_is_entered_by_the_line_and_waiting_goes_on_after_another_call() {
    let mut stage = with_room(RoomSettings {
        pin: Pin::new("4711"),
        moderators: vec!["1001".into()],
        wait_for_moderator: true,
        waiting: Waiting::Music,
        ..RoomSettings::default()
    });
    let id = stage.call(CUSTOMER, KATE);
    consult(&mut stage, id, "3000");
    assert_eq!(
        (states(&mut stage), stage.hears(KATE)),
        (heard(&["pin"]), heard(&["tone"]))
    );
    for _ in 0..2 {
        stage.act(KATE, Verb::Toggle { interaction: id });
    }
    assert_eq!(stage.hears(KATE), ["tone"], "she is asked again");
    press(&mut stage, "4711#");
    assert_eq!(
        (states(&mut stage), stage.hears(KATE)),
        (heard(&["waiting"]), heard(&["music"]))
    );
    stage.act(KATE, Verb::Toggle { interaction: id });
    press(&mut stage, "1");
    stage.dial(JIM, "3000");
    assert_eq!(states(&mut stage), ["inside", "inside"]);
    assert_eq!(
        hear(&stage),
        [heard(&["1005"]), heard(&["1000"])],
        "she talks to the contact"
    );
    stage.act(KATE, Verb::Toggle { interaction: id });
    assert_eq!(stage.hears(KATE), ["1001"]);
    stage.end();
}

#[test]
fn a_room_that_lets_nobody_in_leaves_everything_as_it_was() {
    let (mut stage, id) = Stage::talking();
    stage.dial(JIM, "3001");
    let (room, locked) = ("3001".into(), true);
    stage.lab.ask(Command::RoomLock { room, locked });
    assert_eq!(stage.refused(KATE, asks(id, "3001")), Refusal::Unreachable(403));
    assert_eq!(hear(&stage), [heard(&["1005"]), heard(&["1000"])]);
    assert!(stage.view(id).consultations.is_empty());
    consult(&mut stage, id, "3002");
    let second = stage.refused(KATE, asks(id, "3003"));
    assert!(matches!(second, Refusal::Conflict(_)), "one line is in one room");
    stage.end();
}

// Rooms at another media worker than the call.

/// The customer talks to Kate at one worker; the supervisor is in room 3001 at the other.
fn apart() -> (Stage, InteractionId) {
    let mut config = config();
    config.media.workers = 2;
    let mut stage = Stage::with(config);
    let id = stage.call(CUSTOMER, KATE);
    stage.dial(BOSS, "3001");
    assert_ne!(worker(&stage, CUSTOMER), worker(&stage, BOSS));
    (stage, id)
}

fn worker(stage: &Stage, who: usize) -> Option<media::WorkerId> {
    stage.lab.studio.worker_towards(stage.actors[who].dialogs[0].rtp)
}

#[test]
fn a_room_at_another_worker_is_heard_when_all_devices_have_gone_there() {
    let (mut stage, id) = apart();
    let (interaction, on) = (id, true);
    stage.act(KATE, Verb::Record { interaction, on });
    assert!(!consult(&mut stage, id, "3001").done);
    assert_eq!(stage.outcomes(), [("consult".to_owned(), 200)]);
    assert_eq!(
        [CUSTOMER, KATE].map(|who| worker(&stage, who)),
        [worker(&stage, BOSS); 2]
    );
    assert_eq!(hear(&stage), [heard(&["1009"]), heard(&["music"])]);
    assert_eq!(stage.hears(BOSS), ["1000"]);
    assert!(stage.view(id).recording);
    let consultation = stage.view(id).consultations[0];
    stage.act(KATE, Verb::Toggle { interaction: id });
    assert_eq!(hear(&stage), [heard(&["1005"]), heard(&["1000"])]);
    stage.act(KATE, Verb::Toggle { interaction: id });
    assert!(stage.act(KATE, Verb::CompleteTransfer { consultation }).done);
    assert_eq!(
        (stage.hears(CUSTOMER), stage.hears(BOSS)),
        (heard(&["1009"]), heard(&["1005"]))
    );
    stage.end();
}

#[test]
fn a_device_that_does_not_go_leaves_the_contact_on_hold_until_the_agent_resumes() {
    for stubborn in [KATE, CUSTOMER] {
        let (mut stage, id) = apart();
        let home = worker(&stage, CUSTOMER);
        stage.actors[stubborn].refuses = Some(488);
        assert!(!consult(&mut stage, id, "3001").done);
        assert_eq!(stage.outcomes(), [("consult".to_owned(), 488)]);
        stage.actors[stubborn].refuses = None;
        assert_eq!(
            [CUSTOMER, KATE].map(|who| worker(&stage, who)),
            [home; 2],
            "all are back"
        );
        assert_eq!(stage.hears(CUSTOMER), ["music"]);
        assert!(stage.view(id).consultations.is_empty());
        stage.act(KATE, Verb::Resume { interaction: id });
        assert_eq!(hear(&stage), [heard(&["1005"]), heard(&["1000"])]);
        stage.end();
    }
}

#[test]
fn while_devices_go_elsewhere_nothing_else_begins_and_who_leaves_ends_it() {
    for leaver in [KATE, CUSTOMER] {
        let (mut stage, id) = apart();
        stage.actors[CUSTOMER].is_slow = true;
        consult(&mut stage, id, "3001");
        assert_eq!(stage.refused(KATE, asks(id, "1001")), Refusal::Unreachable(491));
        assert_eq!(stage.refused(KATE, asks(id, "3001")), Refusal::Unreachable(491));
        stage.request_at_once(leaver, 0);
        stage.actors[CUSTOMER].is_slow = false;
        stage.settle();
        stage.pass_s(5);
        assert_eq!(stage.outcomes(), [("consult".to_owned(), 487)], "{leaver}");
        assert!(!stage.is_in_a_call(KATE) && !stage.is_in_a_call(CUSTOMER));
        stage.end();
    }
}

#[test]
fn a_room_that_ends_while_devices_are_on_the_way_begins_anew_with_who_comes() {
    let (mut stage, id) = apart();
    stage.actors[CUSTOMER].is_slow = true;
    consult(&mut stage, id, "3001");
    stage.hang_up(BOSS, 0);
    assert_eq!(rooms(&mut stage), []);
    stage.actors[CUSTOMER].is_slow = false;
    stage.settle();
    assert_eq!(stage.outcomes(), [("consult".to_owned(), 200)]);
    assert_eq!(states(&mut stage), ["inside"]);
    assert_eq!(stage.hears(CUSTOMER), ["music"]);
    stage.end();
}

#[test]
fn a_supervisor_of_who_consults_a_room_hears_nothing_of_it() {
    let (mut stage, id) = Stage::talking();
    stage.dial(JIM, "3001");
    consult(&mut stage, id, "3001");
    stage.dial(BOSS, "*01000");
    assert_eq!(stage.hears(BOSS), heard(&[]), "those in the room have not agreed");
    assert_eq!(
        (stage.hears(KATE), stage.hears(JIM)),
        (heard(&["1001"]), heard(&["1000"]))
    );
    stage.act(KATE, Verb::Toggle { interaction: id });
    assert_eq!(stage.hears(BOSS), ["1000", "1005"]);
    assert_eq!(hear(&stage), [heard(&["1005"]), heard(&["1000"])]);
    stage.act(KATE, Verb::Toggle { interaction: id });
    assert_eq!(stage.hears(BOSS), heard(&[]));
    stage.end();
}

#[test]
fn who_watched_over_an_agent_at_a_service_goes_with_the_contact() {
    for number in ["3001", "9196"] {
        let (mut stage, id) = Stage::talking();
        consult(&mut stage, id, number);
        stage.dial(BOSS, "*11000");
        stage.hang_up(CUSTOMER, 0);
        assert!(stage.is_in_a_call(KATE) && !stage.is_in_a_call(BOSS), "{number}");
        stage.hang_up(KATE, 0);
        stage.end();
    }
}
