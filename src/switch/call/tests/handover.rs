//! Contacts that go where nobody answers but the switch, or between calls that began apart: at one media worker or at two.

use super::stage::{ANN, BOSS, CUSTOMER, JIM, KATE, Stage};
use super::*;
use crate::config::conference::{Pin, RoomSettings};
use crate::{Act, Answer, By, Command, Input, Refusal, Verb};
use model::{InteractionId, RoomView};

fn room(stage: &mut Stage, name: &str) -> RoomView {
    match stage.lab.ask(Command::Room(name.into())) {
        Answer::Rooms(mut rooms) => rooms.remove(0),
        other => panic!("{other:?}"),
    }
}

fn transfer(interaction: InteractionId, target: &str) -> Verb {
    let target = target.into();
    Verb::InstantTransfer { interaction, target }
}

fn refer_replacing(stage: &mut Stage, line: usize, other: usize) {
    let replaces = stage.escaped(KATE, other);
    let refer_to = format!("Refer-To: <sip:x@example.com?Replaces={replaces}>\r\n");
    stage.request(KATE, line, Method::Refer, &refer_to, None);
}

/// A switch with two media workers.
fn on_two_workers() -> Stage {
    let mut config = stage::config();
    config.media.workers = 2;
    Stage::with(config)
}

#[test]
fn with_two_held_calls_each_can_go_to_whom_was_asked_about_the_other() {
    // Lines of Kate: the customer, Ann, and Jim whom she asks.
    for (from, replaced, joined, stays) in [
        (0, 2, CUSTOMER, ANN),
        (2, 0, CUSTOMER, ANN),
        (1, 2, ANN, CUSTOMER),
        (2, 1, ANN, CUSTOMER),
        (0, 1, CUSTOMER, JIM),
        (1, 0, CUSTOMER, JIM),
    ] {
        let (mut stage, first) = Stage::talking();
        stage.reinvite(KATE, 0, Method::Invite, "sendonly");
        let second = stage.call(ANN, KATE);
        stage.reinvite(KATE, 1, Method::Invite, "sendonly");
        stage.dial(KATE, "1001");
        stage.answer(JIM);
        let asked = stage.newest();
        assert_eq!(
            stage.view(asked).parent,
            Some(second),
            "asked about whom she spoke to last"
        );
        refer_replacing(&mut stage, from, replaced);
        let case = format!("REFER on {from} with Replaces of {replaced}");
        assert_eq!(stage.notified(KATE).last().unwrap(), "SIP/2.0 200 OK", "{case}");
        let other = if stays == JIM { ANN } else { JIM };
        let number = |who| ["1000", "1005", "1001", "1002"][who];
        assert_eq!(stage.hears(joined), [number(other)], "{case}");
        assert_eq!(stage.hears(other), [number(joined)], "{case}");
        // The third is still hers.
        assert!(stage.is_in_a_call(KATE) && stage.is_in_a_call(stays), "{case}");
        assert_eq!(
            stage.actors[KATE].dialogs.iter().filter(|line| !line.over).count(),
            1,
            "{case}"
        );
        let _ = first;
        stage.end();
    }
}

#[test]
fn what_is_escaped_in_a_refer_to_is_read_once() {
    let (mut stage, _) = Stage::talking();
    stage.reinvite(KATE, 0, Method::Invite, "sendonly");
    stage.actors[KATE].phone.mark = "%41%";
    stage.dial(KATE, "1001");
    stage.answer(JIM);
    refer_replacing(&mut stage, 0, 1);
    assert_eq!(stage.notified(KATE).last().unwrap(), "SIP/2.0 200 OK");
    assert_eq!(stage.hears(CUSTOMER), ["1001"]);
    stage.end();
}

#[test]
fn a_contact_is_transferred_into_a_conference_room_by_command_and_by_refer() {
    for way in ["command", "refer"] {
        let (mut stage, id) = Stage::talking();
        stage.dial(BOSS, "3001");
        match way {
            "command" => assert!(stage.act(KATE, transfer(id, "3001")).done),
            _ => stage.request(KATE, 0, Method::Refer, "Refer-To: <sip:3001@example.com>\r\n", None),
        }
        assert!(!stage.is_in_a_call(KATE), "{way}");
        assert_eq!(
            (stage.hears(CUSTOMER), stage.hears(BOSS)),
            (vec!["1009".into()], vec!["1005".into()])
        );
        assert_eq!(stage.outcomes(), [("instant-transfer".to_owned(), 200)]);
        let members = room(&mut stage, "3001").members;
        assert_eq!(members.len(), 2);
        assert_eq!(members[1].call, Some(id), "it is the same interaction");
        if way == "refer" {
            assert_eq!(stage.notified(KATE), ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]);
        }
        // The device is told that it talks to a conference.
        let told = header(stage.actors[CUSTOMER].got.last().unwrap(), Name::Contact);
        assert!(told.ends_with(";isfocus"), "{told}");
        stage.hang_up(CUSTOMER, 0);
        assert_eq!(room(&mut stage, "3001").members.len(), 1);
        let kate = stage
            .lab
            .records
            .iter()
            .find(|cdr| cdr.user.as_ref().unwrap().user() == "1000");
        assert_eq!(&*kate.unwrap().transferred_to, "3001");
        stage.end();
    }
}

#[test]
fn a_contact_goes_into_a_room_although_somebody_else_was_to_take_it() {
    let (mut stage, id) = Stage::talking();
    stage.act(KATE, Verb::Hold { interaction: id });
    stage.act(KATE, transfer(id, "1001"));
    stage.dial(KATE, "3001");
    let consultation = *stage.view(id).consultations.last().expect("a second call");
    stage.hang_up(KATE, 0);
    assert!(stage.is_in_a_call(CUSTOMER), "Jim may still answer");
    let verb = Verb::CompleteTransfer { consultation };
    let act = Act {
        by: By::Operator(None),
        client: "".into(),
        verb,
    };
    let answer = stage.lab.ask(Command::Act(Box::new(act)));
    assert!(matches!(answer, Answer::Acted(_)), "{answer:?}");
    stage.settle();
    assert_eq!(room(&mut stage, "3001").members.len(), 1);
    assert!(stage.is_in_a_call(CUSTOMER) && !stage.is_in_a_call(KATE));
    stage.assert_sense();
    stage.end();
}

#[test]
fn a_contact_is_transferred_to_echo_tone_and_music() {
    for (number, heard) in [("9196", "itself"), ("9197", "tone"), ("9664", "music")] {
        let (mut stage, id) = Stage::talking();
        stage.act(KATE, transfer(id, number));
        assert!(!stage.is_in_a_call(KATE), "{number}");
        assert_eq!(stage.hears(CUSTOMER), [heard]);
        assert_eq!(stage.shown(CUSTOMER), format!("<sip:{number}@example.com>"));
        // It can be held and resumed there as by who dialled it.
        assert_eq!(stage.reinvite(CUSTOMER, 0, Method::Invite, "sendonly"), 200);
        assert_eq!(stage.reinvite(CUSTOMER, 0, Method::Invite, "sendrecv"), 200);
        stage.end();
    }
}

#[test]
fn keys_of_a_contact_that_was_sent_to_them_are_read_back() {
    let (mut stage, id) = Stage::talking();
    stage.act(KATE, transfer(id, "9198"));
    let info = "Content-Type: application/dtmf-relay\r\n";
    stage.request(
        CUSTOMER,
        0,
        Method::Info,
        "",
        Some(("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n")),
    );
    let _ = info;
    assert_eq!(stage.last_reply(CUSTOMER), 200);
    assert_eq!(stage.hears(CUSTOMER), ["tone"]);
    stage.end();
}

#[test]
fn who_is_in_a_room_vouches_for_the_contact_and_who_is_not_leaves_it_at_the_door() {
    let mut config = stage::config();
    let secret = RoomSettings {
        pin: Pin::new("1234"),
        ..RoomSettings::default()
    };
    config.conferences.rooms.push(("3001".into(), secret));
    // By Refer-To the number of the room: the contact has to enter the PIN itself.
    let mut stage = Stage::with(config.clone());
    let id = stage.call(CUSTOMER, KATE);
    stage.act(KATE, transfer(id, "3001"));
    assert_eq!(&*room(&mut stage, "3001").members[0].state, "pin");
    stage.end();
    // By Replaces of a call of Kate's that is in the room.
    let mut stage = Stage::with(config);
    stage.call(CUSTOMER, KATE);
    stage.reinvite(KATE, 0, Method::Invite, "sendonly");
    stage.dial(KATE, "3001");
    for key in "1234".chars() {
        let body = format!("Signal={key}\r\nDuration=160\r\n");
        stage.request(KATE, 1, Method::Info, "", Some(("application/dtmf-relay", &body)));
    }
    assert_eq!(&*room(&mut stage, "3001").members[0].state, "inside");
    refer_replacing(&mut stage, 0, 1);
    assert_eq!(stage.notified(KATE).last().unwrap(), "SIP/2.0 200 OK");
    assert!(!stage.is_in_a_call(KATE));
    let members = room(&mut stage, "3001").members;
    assert_eq!((members.len(), &*members[0].state), (1, "inside"));
    assert_eq!(members[0].user, Some(stage::aor(CUSTOMER)));
    stage.end();
}

#[test]
fn a_locked_room_a_group_and_a_star_code_take_no_contact_and_nothing_has_changed() {
    let (mut stage, id) = Stage::talking();
    stage.dial(BOSS, "3001");
    let (room, locked) = ("3001".into(), true);
    stage.lab.ask(Command::RoomLock { room, locked });
    for (target, status) in [("3001", 403), ("2000", 480), ("*78", 480), ("900", 603), ("4711", 404)] {
        assert_eq!(
            stage.refused(KATE, transfer(id, target)),
            Refusal::Unreachable(status),
            "{target}"
        );
        assert_eq!(
            (stage.hears(KATE), stage.hears(CUSTOMER)),
            (vec!["1005".into()], vec!["1000".into()])
        );
        let refer_to = format!("Refer-To: <sip:{target}@example.com>\r\n");
        stage.request(KATE, 0, Method::Refer, &refer_to, None);
        let told = stage.notified(KATE).pop().unwrap();
        assert_eq!(told.split(' ').nth(1), Some(&*status.to_string()), "{target}");
        assert_eq!(
            (stage.hears(KATE), stage.hears(CUSTOMER)),
            (vec!["1005".into()], vec!["1000".into()])
        );
    }
    stage.end();
}

#[test]
fn a_conference_is_not_sent_to_a_service() {
    let (mut stage, id) = Stage::talking();
    stage.act(
        KATE,
        Verb::InstantConference {
            interaction: id,
            target: "1001".into(),
        },
    );
    stage.answer(JIM);
    assert!(matches!(
        stage.refused(KATE, transfer(id, "9196")),
        Refusal::Conflict(_)
    ));
    assert_eq!(stage.hears(CUSTOMER).len(), 2);
    stage.end();
}

/// The customer talks to Kate at one worker, and Kate to Jim at the other.
fn apart() -> (Stage, InteractionId, InteractionId) {
    let mut stage = on_two_workers();
    let first = stage.call(CUSTOMER, KATE);
    stage.call(ANN, JIM);
    stage.dial(KATE, "1001");
    stage.answer(JIM);
    let second = stage.newest();
    stage.hang_up(ANN, 0);
    let home = |stage: &Stage, who: usize, line: usize| {
        let rtp = stage.actors[who].dialogs[line].rtp;
        stage.lab.studio.worker_towards(rtp)
    };
    assert_ne!(home(&stage, KATE, 0), home(&stage, KATE, 1));
    (stage, first, second)
}

#[test]
fn calls_at_two_workers_are_joined_where_the_contact_is() {
    for (from, replaced) in [(0, 1), (1, 0)] {
        let (mut stage, first, _) = apart();
        stage.act(
            KATE,
            Verb::Record {
                interaction: first,
                on: true,
            },
        );
        refer_replacing(&mut stage, from, replaced);
        assert!(!stage.is_in_a_call(KATE));
        assert_eq!(stage.notified(KATE).last().unwrap(), "SIP/2.0 200 OK");
        assert_eq!(
            (stage.hears(CUSTOMER), stage.hears(JIM)),
            (vec!["1001".into()], vec!["1005".into()])
        );
        assert!(stage.view(first).recording);
        assert_eq!(stage.view(first).owner, Some(stage.party_id(first, JIM)));
        stage.hang_up(CUSTOMER, 0);
        let jim = stage
            .lab
            .records
            .iter()
            .rev()
            .find(|cdr| cdr.user == Some(stage::aor(JIM)))
            .unwrap();
        // The figures of both workers.
        assert_eq!(jim.packets, (200, 198, 2));
        stage.end();
    }
}

#[test]
fn a_device_that_does_not_go_to_the_other_worker_leaves_all_as_it_was() {
    for status in [488, 491, 500] {
        let (mut stage, first, second) = apart();
        stage.actors[JIM].refuses = Some(status);
        refer_replacing(&mut stage, 0, 1);
        // Who answers 491 is asked again, and again says so.
        stage.pass_s(20);
        stage.actors[JIM].refuses = None;
        let told = stage.notified(KATE).pop().unwrap();
        if status != 491 {
            assert_eq!(told, "SIP/2.0 488 Not Acceptable Here", "{status}");
        }
        assert_eq!(stage.view(second).parent, Some(first));
        assert!(stage.is_in_a_call(KATE) && stage.is_in_a_call(CUSTOMER) && stage.is_in_a_call(JIM));
        stage.end();
    }
}

#[test]
fn whoever_goes_while_a_device_is_on_its_way_leaves_no_port_behind() {
    for who in [KATE, CUSTOMER, JIM] {
        let (mut stage, ..) = apart();
        stage.actors[JIM].is_dead = true;
        refer_replacing(&mut stage, 0, 1);
        stage.actors[JIM].is_dead = who != JIM;
        let lines = stage.actors[who].dialogs.len();
        for line in 0..lines {
            if stage.actors[who].dialogs[line].is_up() {
                stage.hang_up(who, line);
            }
        }
        stage.pass_s(70);
        if who == JIM {
            // There is nobody any more to be transferred to: the contact is still Kate's.
            assert_eq!(stage.notified(KATE).last().unwrap(), "SIP/2.0 487 Request Terminated");
            assert_eq!(stage.hears(CUSTOMER), ["1000"]);
            stage.hang_up(CUSTOMER, 0);
        }
        assert_eq!(stage.lab.figure("calls"), 0, "{who}");
        stage.actors[JIM].is_dead = false;
        stage.actors.iter_mut().for_each(|actor| actor.dialogs.clear());
        stage.lab.assert_clean();
    }
}

#[test]
fn a_contact_goes_to_a_room_of_another_worker() {
    for answers in [true, false] {
        let mut stage = on_two_workers();
        let id = stage.call(CUSTOMER, KATE);
        stage.act(
            KATE,
            Verb::Record {
                interaction: id,
                on: true,
            },
        );
        stage.dial(BOSS, "3001");
        let rtp = |stage: &Stage, who: usize| stage.actors[who].dialogs[0].rtp;
        let worker = |stage: &Stage, who| stage.lab.studio.worker_towards(rtp(stage, who));
        assert_ne!(worker(&stage, CUSTOMER), worker(&stage, BOSS));
        stage.actors[CUSTOMER].refuses = (!answers).then_some(488);
        assert!(!stage.act(KATE, transfer(id, "3001")).done);
        let status = if answers { 200 } else { 488 };
        assert_eq!(stage.outcomes(), [("instant-transfer".to_owned(), status)]);
        assert_eq!(stage.is_in_a_call(KATE), !answers);
        if answers {
            assert_eq!(
                (stage.hears(CUSTOMER), stage.hears(BOSS)),
                (vec!["1009".into()], vec!["1005".into()])
            );
            assert!(stage.view(id).recording);
            let anew = stage.lab.studio.plans.iter().rev().find_map(|plan| match plan {
                media::Plan::StartRecord(start) => Some(start.of.clone()),
                _ => None,
            });
            assert!(matches!(anew, Some(media::plan::Recorded::Room(_))), "{anew:?}");
        } else {
            assert_eq!(stage.hears(CUSTOMER), ["music"], "until Kate resumes");
            stage.act(KATE, Verb::Resume { interaction: id });
            assert_eq!(stage.hears(CUSTOMER), ["1000"]);
        }
        stage.actors[CUSTOMER].refuses = None;
        stage.end();
    }
}

#[test]
fn a_supervisor_is_shown_to_who_oversees_and_by_setting_to_the_agent_but_never_to_the_contact() {
    use model::{InteractionView, PartyRole};
    for shown in [false, true] {
        let mut config = stage::config();
        config.calls.show_supervisors = shown;
        let mut stage = Stage::with(config);
        let id = stage.call(CUSTOMER, KATE);
        stage.dial(BOSS, "*01000");
        let sees = |view: &InteractionView, who: usize| {
            let view = view.clone().seen_by(&stage::aor(who));
            let there = view.parties.iter().any(|party| party.role == PartyRole::Listen);
            let told = view.history.iter().any(|event| &*event.what == "monitor");
            assert_eq!(there, told);
            there
        };
        let view = stage.view(id);
        assert_eq!(view.parties.len(), 3, "who oversees sees all");
        assert_eq!(
            (sees(&view, KATE), sees(&view, CUSTOMER), sees(&view, BOSS)),
            (shown, false, true)
        );
        let Answer::Calls(calls) = stage.lab.ask(Command::Call(id)) else {
            panic!()
        };
        let legs = |who| calls[0].clone().seen_by(&stage::aor(who)).legs.len();
        assert_eq!((legs(KATE), legs(CUSTOMER)), (2 + usize::from(shown), 2));
        let mode = crate::Supervision::Barge;
        stage.act(
            BOSS,
            Verb::Supervise {
                interaction: id,
                party: None,
                mode,
            },
        );
        let view = stage.view(id).seen_by(&stage::aor(CUSTOMER));
        assert_eq!(view.parties.len(), 3, "who takes part is seen by all");
        stage.end();
    }
}

#[test]
fn the_outcome_of_supervision_is_told_to_the_supervisor_and_not_to_the_agent() {
    use crate::Notice;
    let (mut stage, id) = Stage::talking();
    let mode = crate::Supervision::Listen;
    stage.act(
        BOSS,
        Verb::Supervise {
            interaction: id,
            party: None,
            mode,
        },
    );
    assert!(stage.view(id).consultations.is_empty(), "it is nobody's consultation");
    stage.answer(BOSS);
    let told = stage.lab.notices.iter().filter_map(|notice| match notice {
        Notice::Verb(outcome) => outcome.by.clone(),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [stage::aor(BOSS)]);
    stage.end();
}

#[test]
fn what_happens_in_a_conference_room_is_told_with_a_snapshot_before() {
    use crate::Notice;
    use model::Event;
    let mut stage = Stage::new();
    let snapshot = |stage: &mut Stage, user: Option<usize>| {
        let (scope, user) = (user.map(stage::aor), None);
        match stage.lab.ask(Command::Snapshot { scope, user }) {
            Answer::Snapshot(snapshot) => *snapshot,
            other => panic!("{other:?}"),
        }
    };
    assert!(snapshot(&mut stage, None).rooms.is_empty());
    stage.dial(KATE, "3001");
    stage.dial(JIM, "3001");
    stage.lab.ask(Command::RoomLock {
        room: "3001".into(),
        locked: true,
    });
    let (muted, deaf) = (Some(true), None);
    stage.lab.ask(Command::RoomMute {
        room: "3001".into(),
        member: 2,
        muted,
        deaf,
    });
    let legs = stage.lab.studio.legs();
    for talking in [true, false] {
        stage
            .lab
            .input(Input::Media(media::Event::Talking { leg: legs[0], talking }));
    }
    let rooms = snapshot(&mut stage, None).rooms;
    assert_eq!((rooms.len(), rooms[0].members.len(), rooms[0].locked), (1, 2, true));
    assert_eq!(snapshot(&mut stage, Some(JIM)).rooms.len(), 1);
    assert!(snapshot(&mut stage, Some(ANN)).rooms.is_empty(), "she is in no room");
    stage.hang_up(KATE, 0);
    stage.hang_up(JIM, 0);
    let events = stage.lab.notices.iter().filter_map(|notice| match notice {
        Notice::Event(occurrence) => Some(&occurrence.event),
        _ => None,
    });
    let (kate, jim, ann) = (stage::aor(KATE), stage::aor(JIM), stage::aor(ANN));
    let told: Vec<String> = events
        .filter_map(|event| {
            assert!(!matches!(event, Event::RoomMember { .. }) || !event.concerns(&ann));
            let who = [&kate, &jim].map(|user| event.concerns(user));
            Some(match event {
                Event::RoomStarted { room, .. } => format!("{} begins {who:?}", room.name),
                Event::RoomMember { member, .. } => {
                    let flags = [(member.muted, " muted"), (member.talking, " talks")];
                    let flags: String = flags.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
                    format!("{} {}{flags}", member.id, member.state)
                }
                Event::RoomLocked { locked, .. } => format!("locked {locked}"),
                Event::RoomLeft { member, .. } => format!("{} left {who:?}", member.id),
                Event::RoomEnded { .. } => "ends".to_owned(),
                _ => return None,
            })
        })
        .collect();
    let expected = [
        "3001 begins [true, false]",
        "1 arriving",
        "1 inside",
        "2 arriving",
        "2 inside",
        "locked true",
        "2 inside muted",
        "1 inside talks",
        "1 inside",
        "1 left [true, true]",
        "2 left [false, true]",
        "ends",
    ];
    assert_eq!(told, expected);
    stage.end();
}

#[test]
fn a_consultation_by_messages_becomes_one_by_voice_and_the_contact_is_held() {
    let (mut stage, id) = Stage::talking();
    let now = stage.lab.now;
    let consult = |stage: &mut Stage, user: usize, target: &str| {
        let switch = &mut stage.lab.switch;
        let cx = crate::core::cx!(switch, now);
        let began = switch
            .calls
            .consult_by_voice(cx, id, &stage::aor(user), target, &format!("im-{target}"));
        stage.lab.input(Input::SendFailed {
            flow: stage.actors[ANN].phone.flow,
        });
        stage.settle();
        began
    };
    assert_eq!(
        consult(&mut stage, KATE, "1008"),
        Err(Refusal::Unreachable(480)),
        "nobody is there"
    );
    assert!(
        matches!(consult(&mut stage, JIM, "1002"), Err(Refusal::NotFound(_))),
        "it is not his"
    );
    assert_eq!(stage.hears(CUSTOMER), ["1000"], "nothing has changed");
    let consultation = consult(&mut stage, KATE, "1001").unwrap();
    assert_eq!(
        (stage.hears(KATE), stage.hears(CUSTOMER)),
        (vec!["tone".into()], vec!["music".into()])
    );
    stage.answer(JIM);
    assert_eq!(
        (stage.hears(KATE), stage.hears(JIM)),
        (vec!["1001".into()], vec!["1000".into()])
    );
    assert_eq!(stage.view(consultation).parent, Some(id));
    stage.end();
}

#[test]
fn a_refer_to_the_focus_of_a_room_calls_a_user_in_and_its_moderator_takes_one_out() {
    let mut config = stage::config();
    let moderated = RoomSettings {
        moderators: vec!["1009".into()],
        ..RoomSettings::default()
    };
    config.conferences.rooms.push(("3001".into(), moderated));
    let mut stage = Stage::with(config);
    stage.dial(KATE, "3001");
    stage.dial(BOSS, "3001");
    let refer = |stage: &mut Stage, who: usize, to: &str| {
        stage.request(who, 0, Method::Refer, &format!("Refer-To: <sip:{to}>\r\n"), None);
        stage.notified(who).last().cloned().unwrap_or_default()
    };
    assert_eq!(refer(&mut stage, KATE, "1001@example.com"), "SIP/2.0 100 Trying");
    let from = header(&stage.actors[JIM].ringing[0], Name::PAssertedIdentity);
    assert_eq!(from, "<sip:3001@example.com>");
    stage.answer(JIM);
    assert_eq!(stage.notified(KATE).last().unwrap(), "SIP/2.0 200 OK");
    assert_eq!(stage.hears(JIM), ["1000", "1009"]);
    assert_eq!(room(&mut stage, "3001").members.len(), 3);
    for (to, status) in [
        ("4711@example.com", "480"),
        ("1008@example.com", "480"),
        ("9196@example.com", "480"),
    ] {
        assert_eq!(refer(&mut stage, KATE, to).split(' ').nth(1), Some(status), "{to}");
    }
    assert_eq!(
        refer(&mut stage, KATE, "1001@example.com;method=BYE").split(' ').nth(1),
        Some("403")
    );
    assert_eq!(
        refer(&mut stage, BOSS, "1002@example.com;method=BYE").split(' ').nth(1),
        Some("404")
    );
    assert_eq!(refer(&mut stage, BOSS, "1001@example.com;method=BYE"), "SIP/2.0 200 OK");
    assert!(!stage.is_in_a_call(JIM));
    let (name, locked) = ("3001".into(), true);
    stage.lab.ask(Command::RoomLock { room: name, locked });
    assert_eq!(
        refer(&mut stage, KATE, "1001@example.com").split(' ').nth(1),
        Some("403")
    );
    assert_eq!(room(&mut stage, "3001").members.len(), 2);
    stage.end();
}

#[test]
fn a_user_is_called_into_a_room_or_to_a_service_by_command() {
    for (target, heard) in [("3001", "1009"), ("9664", "music"), ("9196", "itself")] {
        let mut stage = Stage::new();
        stage.dial(BOSS, "3001");
        let wanted = crate::Originate {
            by: crate::By::User(stage::aor(KATE)),
            client: "".into(),
            user: stage::aor(KATE),
            target: target.into(),
        };
        assert!(matches!(
            stage.lab.ask(Command::Originate(Box::new(wanted))),
            Answer::Acted(_)
        ));
        stage.settle();
        stage.answer(KATE);
        assert_eq!(stage.hears(KATE), [heard], "{target}");
        assert_eq!(stage.outcomes(), [("originate".to_owned(), 200)]);
        stage.end();
    }
}
