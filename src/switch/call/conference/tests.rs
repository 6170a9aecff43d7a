//! Stories of conference rooms: who dials in, who hears whom, and who is turned away.

use crate::call::tests::handset::{Dialog, Handset, sdp};
use crate::call::tests::lab::{Lab, config};
use crate::config::Config;
use crate::config::conference::{Pin, RoomSettings};
use crate::{Answer, Command, Input, Notice, RecordWish};
use media::plan::{Matrix, Rate, Recorded};
use media::{Event, LegId, Plan, RoomId};
use model::{EndReason, RoomMemberView, RoomView};
use sip::{Message, Method, Name};
use std::time::Duration;

/// A phone in a call to a room.
struct Caller {
    phone: Handset,
    dialog: Dialog,
    /// Its RTP port.
    port: u16,
}

impl Caller {
    /// Dials and is answered.
    fn dial(lab: &mut Lab, user: &str, port: u16, room: &str) -> Caller {
        let mut phone = Handset::registered(lab, user, port);
        let mut dialog = phone.invite(lab, room, Some(&sdp(port, &[0, 8, 101])));
        let ok = phone.expect(lab, 200);
        phone.ack(lab, &mut dialog, &ok, None);
        Caller { phone, dialog, port }
    }

    fn leg(&self, lab: &Lab) -> LegId {
        lab.studio.towards(self.port).expect("a leg in the engine").leg
    }

    fn press(&self, lab: &mut Lab, keys: &str) {
        let leg = self.leg(lab);
        for digit in keys.chars() {
            let duration = Duration::from_millis(100);
            lab.input(Input::Media(dtmf(leg, digit, duration)));
        }
    }

    fn hang_up(&mut self, lab: &mut Lab) {
        self.phone.send_in(lab, &mut self.dialog, Method::Bye, "", None);
        self.phone.expect(lab, 200);
    }

    fn told_bye(&self, lab: &mut Lab) -> Message {
        let bye = self.phone.expect_request(lab, Method::Bye);
        self.phone.reply(lab, &bye, 200, None);
        bye
    }
}

fn dtmf(leg: LegId, digit: char, duration: Duration) -> Event {
    Event::Dtmf {
        leg,
        digit,
        duration,
        by: media::DtmfBy::Packets,
        passed_on: false,
    }
}

/// Dials and is refused: status and Warning.
fn refused(lab: &mut Lab, user: &str, port: u16, room: &str) -> (u16, String) {
    let mut phone = Handset::registered(lab, user, port);
    let dialog = phone.invite(lab, room, Some(&sdp(port, &[0])));
    let refusal = phone.next(lab);
    phone.ack_failure(lab, &dialog, &refusal);
    let warning = refusal.header(Name::Warning).unwrap_or_default();
    (refusal.status(), String::from_utf8_lossy(warning).into_owned())
}

fn with(settings: RoomSettings) -> Lab {
    let mut config: Config = config();
    config.conferences.default = settings;
    Lab::with(config)
}

fn rooms(lab: &mut Lab) -> Vec<RoomView> {
    match lab.ask(Command::Rooms) {
        Answer::Rooms(rooms) => rooms,
        other => panic!("{other:?}"),
    }
}

/// The members of the only room: state, moderator, muted, deaf, talking.
fn members(lab: &mut Lab) -> Vec<RoomMemberView> {
    rooms(lab).remove(0).members
}

fn states(lab: &mut Lab) -> Vec<String> {
    members(lab).iter().map(|member| member.state.to_string()).collect()
}

/// Where the engine has a leg now.
fn place(lab: &Lab, leg: LegId) -> RoomId {
    let moves = lab.studio.plans.iter().rev();
    let mut moved = moves.filter_map(|plan| match plan {
        Plan::MoveLeg { leg: moved, room } if *moved == leg => Some(*room),
        Plan::OpenLeg(open) if open.leg == leg => Some(open.room),
        _ => None,
    });
    moved.next().expect("the leg is somewhere")
}

fn plays_to_all(lab: &Lab) -> usize {
    let to_all = |plan: &&Plan| {
        matches!(
            plan,
            Plan::Play {
                to: media::plan::Audience::Room,
                ..
            }
        )
    };
    lab.studio.plans.iter().filter(to_all).count()
}

#[test]
fn all_who_dial_a_room_are_in_one_media_room_and_it_goes_with_the_last() {
    let mut lab = with(RoomSettings {
        rate: Rate::Wide,
        ..RoomSettings::default()
    });
    let mut callers: Vec<Caller> = (0..3)
        .map(|n| Caller::dial(&mut lab, &format!("100{n}"), 7000 + 10 * n, "3000"))
        .collect();
    let other = Caller::dial(&mut lab, "1005", 7100, "3001");
    let opened = lab.studio.plans.iter().filter_map(|plan| match plan {
        Plan::OpenRoom {
            room,
            matrix: Matrix::Everyone,
            rate,
        } => Some((*room, *rate)),
        _ => None,
    });
    let opened: Vec<_> = opened.collect();
    assert_eq!(opened.len(), 2);
    for caller in &callers {
        assert_eq!((place(&lab, caller.leg(&lab)), Rate::Wide), opened[0]);
    }
    assert_eq!(place(&lab, other.leg(&lab)), opened[1].0);
    assert_eq!(plays_to_all(&lab), 4, "a tone for everyone who came");
    lab.switch.audit().unwrap();

    let shown = rooms(&mut lab);
    assert_eq!(
        (&*shown[0].name, shown[0].members.len(), shown[0].rate_hz),
        ("3000", 3, 16_000)
    );
    assert_eq!(&*shown[0].members[1].shown, "\"User 1001\" <1001>");
    callers[0].hang_up(&mut lab);
    assert_eq!(plays_to_all(&lab), 5, "and one for who left");
    assert_eq!(members(&mut lab).len(), 2);
    for caller in &mut callers[1..] {
        caller.hang_up(&mut lab);
    }
    assert_eq!(rooms(&mut lab).len(), 1);
    let mut other = other;
    other.hang_up(&mut lab);
    lab.assert_clean();
    assert!(
        lab.records
            .iter()
            .all(|cdr| cdr.reason == EndReason::Normal && !cdr.callee.is_empty())
    );
}

#[test]
fn a_room_without_tones_is_quiet_when_members_come_and_go() {
    let mut lab = with(RoomSettings {
        join_tone: false,
        leave_tone: false,
        ..RoomSettings::default()
    });
    let mut kate = Caller::dial(&mut lab, "1000", 7000, "3000");
    let mut jim = Caller::dial(&mut lab, "1001", 7010, "3000");
    kate.hang_up(&mut lab);
    jim.hang_up(&mut lab);
    assert_eq!(plays_to_all(&lab), 0);
}

#[test]
fn the_levels_of_members_are_controlled_where_the_room_says_so() {
    for wanted in [true, false] {
        let mut lab = with(RoomSettings {
            level_control: wanted,
            ..RoomSettings::default()
        });
        let kate = Caller::dial(&mut lab, "1000", 7000, "3000");
        let inside = place(&lab, kate.leg(&lab));
        let controls = |plan: &Plan| match plan {
            Plan::ControlLevel { room, leg: None, on } => *on && *room == inside,
            _ => false,
        };
        assert_eq!(lab.studio.plans.iter().any(controls), wanted);
    }
}

#[test]
fn who_speaks_is_shown_and_told_until_another_does() {
    let mut lab = Lab::new();
    let callers: Vec<Caller> = (0..3)
        .map(|n| Caller::dial(&mut lab, &format!("100{n}"), 7000 + 10 * n, "3000"))
        .collect();
    let (scope, user) = (None, None);
    lab.ask(Command::Snapshot { scope, user });
    let inside = place(&lab, callers[0].leg(&lab));
    let speakers = |lab: &mut Lab| members(lab).iter().map(|member| member.speaker).collect::<Vec<_>>();
    assert_eq!(speakers(&mut lab), [false; 3]);
    for (n, shown) in [
        (1, [false, true, false]),
        (1, [false, true, false]),
        (2, [false, false, true]),
    ] {
        let (room, leg) = (inside, callers[n].leg(&lab));
        lab.input(Input::Media(Event::ActiveSpeaker { room, leg }));
        assert_eq!(speakers(&mut lab), shown);
    }
    let told = lab.notices.iter().filter_map(|notice| match notice {
        Notice::Event(occurrence) => match &occurrence.event {
            model::Event::RoomMember { member, .. } => Some((member.id, member.speaker)),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(2, true), (2, false), (3, true)]);
}

#[test]
fn the_call_of_a_member_is_recorded_as_its_room_until_it_leaves() {
    let mut lab = with_pins();
    let mut kate = Caller::dial(&mut lab, "1000", 7000, "3000");
    let call = members(&mut lab)[0].call.expect("a call");
    let record = |lab: &mut Lab, wish| assert_eq!(lab.ask(Command::Record { call, wish }), Answer::Done(1));
    let recorded = |lab: &Lab| {
        let of = |plan: &Plan| match plan {
            Plan::StartRecord(start) => Some(start.of.clone()),
            _ => None,
        };
        lab.studio.plans.iter().rev().find_map(of).expect("a recording")
    };
    record(&mut lab, RecordWish::On);
    assert!(matches!(recorded(&lab), Recorded::Sides(_)), "at the door it is alone");
    record(&mut lab, RecordWish::Off);
    let mut jim = Caller::dial(&mut lab, "1001", 7010, "3000");
    jim.press(&mut lab, "987654");
    kate.press(&mut lab, "4711#");
    record(&mut lab, RecordWish::On);
    assert_eq!(recorded(&lab), Recorded::Room(place(&lab, jim.leg(&lab))));
    kate.hang_up(&mut lab);
    assert_eq!(members(&mut lab).len(), 1, "the room goes on");
    let ended = lab.recordings.last().and_then(|row| row.ended_at);
    assert!(ended.is_some(), "and is not recorded any more");
    jim.hang_up(&mut lab);
    lab.assert_clean();
}

#[test]
fn the_answer_says_that_we_are_the_focus() {
    let mut lab = Lab::new();
    let mut phone = Handset::registered(&mut lab, "1000", 6000);
    phone.invite(&mut lab, "3000", Some(&sdp(7000, &[0])));
    let ok = phone.expect(&mut lab, 200);
    let contact = String::from_utf8_lossy(ok.header(Name::Contact).unwrap()).into_owned();
    assert!(
        contact.contains("sip:3000@") && contact.ends_with(";isfocus"),
        "{contact}"
    );
}

#[test]
fn a_caller_without_offer_comes_in_with_his_answer() {
    let mut lab = Lab::new();
    let mut phone = Handset::registered(&mut lab, "1000", 6000);
    let mut dialog = phone.invite(&mut lab, "3000", None);
    let ok = phone.expect(&mut lab, 200);
    assert_eq!(states(&mut lab), ["arriving"]);
    phone.ack(&mut lab, &mut dialog, &ok, Some(&sdp(7000, &[0])));
    assert_eq!(states(&mut lab), ["inside"]);
}

#[test]
fn a_full_room_is_busy_a_locked_one_forbidden_and_moderators_come_in() {
    let mut lab = with(RoomSettings {
        max_members: 2,
        moderators: vec!["1009".into()],
        ..RoomSettings::default()
    });
    let mut kate = Caller::dial(&mut lab, "1000", 7000, "3000");
    let lock = |locked| Command::RoomLock {
        room: "3000".into(),
        locked,
    };
    assert_eq!(lab.ask(lock(true)), Answer::Done(1));
    assert!(rooms(&mut lab)[0].locked);
    let locked = (403, "399 tandem \"the conference room is locked\"".to_owned());
    assert_eq!(refused(&mut lab, "1001", 7010, "3000"), locked);
    let mut moderator = Caller::dial(&mut lab, "1009", 7020, "3000");
    lab.ask(lock(false));
    let full = (486, "399 tandem \"the conference room is full\"".to_owned());
    assert_eq!(refused(&mut lab, "1001", 7030, "3000"), full);
    kate.hang_up(&mut lab);
    let mut jim = Caller::dial(&mut lab, "1001", 7040, "3000");
    jim.hang_up(&mut lab);
    moderator.hang_up(&mut lab);
    lab.assert_clean();
}

#[test]
fn there_are_only_so_many_rooms() {
    let mut config = config();
    config.conferences.max_rooms = 1;
    let mut lab = Lab::with(config);
    let mut kate = Caller::dial(&mut lab, "1000", 7000, "3000");
    assert_eq!(refused(&mut lab, "1001", 7010, "3001").0, 503);
    kate.hang_up(&mut lab);
    let mut jim = Caller::dial(&mut lab, "1001", 7020, "3001");
    jim.hang_up(&mut lab);
    lab.assert_clean();
}

fn pins() -> RoomSettings {
    RoomSettings {
        pin: Pin::new("4711"),
        moderator_pin: Pin::new("987654"),
        wait_for_moderator: true,
        end_with_moderator: true,
        ..RoomSettings::default()
    }
}

fn with_pins() -> Lab {
    with(pins())
}

#[test]
fn members_enter_their_pin_and_wait_for_the_moderator_who_ends_it() {
    let mut lab = with_pins();
    let kate = Caller::dial(&mut lab, "1000", 7000, "3000");
    assert_eq!(states(&mut lab), ["pin"]);
    let lobby = place(&lab, kate.leg(&lab));
    kate.press(&mut lab, "99*4711#");
    assert_eq!(states(&mut lab), ["waiting"]);
    assert_eq!(place(&lab, kate.leg(&lab)), lobby);
    let mut jim = Caller::dial(&mut lab, "1001", 7010, "3000");
    assert_ne!(place(&lab, jim.leg(&lab)), lobby);
    jim.press(&mut lab, "987654");
    assert_eq!(states(&mut lab), ["inside", "inside"], "the longest PIN needs no #");
    assert_eq!(place(&lab, jim.leg(&lab)), place(&lab, kate.leg(&lab)));
    let views = members(&mut lab);
    assert_eq!([views[0].moderator, views[1].moderator], [false, true]);

    jim.hang_up(&mut lab);
    kate.told_bye(&mut lab);
    assert_eq!(rooms(&mut lab), []);
    lab.assert_clean();
}

#[test]
fn a_room_ends_with_the_last_of_its_moderators_where_that_is_set_and_with_no_other() {
    for ends in [true, false] {
        let mut lab = with(RoomSettings {
            moderators: vec!["1000".into(), "1001".into()],
            end_with_moderator: ends,
            ..RoomSettings::default()
        });
        let mut kate = Caller::dial(&mut lab, "1000", 7000, "3000");
        let mut jim = Caller::dial(&mut lab, "1001", 7010, "3000");
        let mut zoe = Caller::dial(&mut lab, "1002", 7020, "3000");
        kate.hang_up(&mut lab);
        assert_eq!(states(&mut lab), ["inside"; 2], "the other moderator is there");
        jim.hang_up(&mut lab);
        match ends {
            true => drop(zoe.told_bye(&mut lab)),
            false => {
                assert_eq!(states(&mut lab), ["inside"]);
                zoe.hang_up(&mut lab);
            }
        }
        assert_eq!(rooms(&mut lab), []);
        lab.assert_clean();
    }
}

#[test]
fn a_lock_keeps_out_who_has_not_passed_the_door_and_nobody_else() {
    let mut lab = with(RoomSettings {
        moderators: vec!["1009".into()],
        ..pins()
    });
    let waiting = Caller::dial(&mut lab, "1000", 7000, "3000");
    waiting.press(&mut lab, "4711#");
    let at_door = Caller::dial(&mut lab, "1001", 7010, "3000");
    let with_key = Caller::dial(&mut lab, "1002", 7020, "3000");
    let mut late = Handset::registered(&mut lab, "1003", 7030);
    let mut lates = late.invite(&mut lab, "3000", None);
    let ok = late.expect(&mut lab, 200);
    assert_eq!(states(&mut lab), ["waiting", "pin", "pin", "arriving"]);
    let (room, locked) = ("3000".into(), true);
    lab.ask(Command::RoomLock { room, locked });
    at_door.press(&mut lab, "4711#");
    at_door.told_bye(&mut lab);
    with_key.press(&mut lab, "987654");
    with_key.told_bye(&mut lab);
    late.ack(&mut lab, &mut lates, &ok, Some(&sdp(7030, &[0])));
    let bye = late.expect_request(&mut lab, Method::Bye);
    late.reply(&mut lab, &bye, 200, None);
    assert_eq!(states(&mut lab), ["waiting"], "who waits has passed the door");
    let reasons: Vec<_> = lab.records.iter().map(|cdr| cdr.reason).collect();
    assert_eq!(reasons, [EndReason::Declined; 3]);
    let mut moderator = Caller::dial(&mut lab, "1009", 7040, "3000");
    assert_eq!(states(&mut lab), ["inside", "inside"]);
    moderator.hang_up(&mut lab);
    waiting.told_bye(&mut lab);
    lab.assert_clean();
}

#[test]
fn wrong_pins_end_the_call_and_then_close_the_door() {
    let mut lab = with_pins();
    for round in 0..4 {
        let kate = Caller::dial(&mut lab, "1000", 7000 + 10 * round, "3000");
        kate.press(&mut lab, "1111#");
        assert_eq!(states(&mut lab), ["pin"]);
        kate.press(&mut lab, "2222#3333#");
        kate.told_bye(&mut lab);
        lab.pass_s(1);
    }
    let barred = (403, "399 tandem \"too many wrong PINs\"".to_owned());
    assert_eq!(refused(&mut lab, "1000", 7100, "3000"), barred);
    let jim = Caller::dial(&mut lab, "1001", 7110, "3000");
    jim.press(&mut lab, "4711#");
    assert_eq!(states(&mut lab), ["waiting"], "others are not concerned");
    lab.pass_s(601);
    let kate = Caller::dial(&mut lab, "1000", 7120, "3000");
    kate.press(&mut lab, "4711#");
    assert_eq!(states(&mut lab), ["waiting", "waiting"]);
    lab.ask(Command::RoomDrop {
        room: "3000".into(),
        member: None,
    });
    for caller in [&kate, &jim] {
        caller.told_bye(&mut lab);
    }
    lab.assert_clean();
}

#[test]
fn who_presses_no_key_is_not_kept_at_the_door() {
    let mut lab = with_pins();
    let kate = Caller::dial(&mut lab, "1000", 7000, "3000");
    lab.pass_s(19);
    assert_eq!(states(&mut lab), ["pin"]);
    lab.pass_s(2);
    kate.told_bye(&mut lab);
    lab.assert_clean();
    assert_eq!(lab.records[0].reason, EndReason::Declined);
}

#[test]
fn a_pin_stands_in_no_record_or_plan() {
    let mut lab = with_pins();
    let kate = Caller::dial(&mut lab, "1000", 7000, "3000");
    kate.press(&mut lab, "4711#");
    let settings = format!("{:?}", config().conferences);
    let plans = format!("{:?} {settings}", lab.studio.plans);
    assert!(!plans.contains("4711"), "{plans}");
    lab.ask(Command::RoomDrop {
        room: "3000".into(),
        member: Some(1),
    });
    kate.told_bye(&mut lab);
    assert!(!format!("{:?} {:?}", lab.records, lab.stored).contains("4711"));
}

#[test]
fn operators_mute_deafen_and_drop_members() {
    let mut lab = Lab::new();
    let kate = Caller::dial(&mut lab, "1000", 7000, "3000");
    let mut jim = Caller::dial(&mut lab, "1001", 7010, "3000");
    let mute = |member, muted, deaf| Command::RoomMute {
        room: "3000".into(),
        member,
        muted,
        deaf,
    };
    assert_eq!(lab.ask(mute(1, Some(true), None)), Answer::Done(1));
    assert_eq!(lab.ask(mute(1, None, Some(true))), Answer::Done(1));
    let leg = kate.leg(&lab);
    let last = lab.studio.plans.last().cloned();
    assert_eq!(
        last,
        Some(Plan::Restrict {
            leg,
            muted: true,
            deaf: true
        })
    );
    lab.input(Input::Media(Event::Talking { leg, talking: true }));
    let views = members(&mut lab);
    assert_eq!((views[0].muted, views[0].deaf, views[0].talking), (true, true, false));
    lab.ask(mute(1, Some(false), Some(false)));
    assert!(members(&mut lab)[0].talking);
    assert!(matches!(lab.ask(mute(9, None, None)), Answer::Refused(_)));
    let drop = |member| Command::RoomDrop {
        room: "3000".into(),
        member,
    };
    assert_eq!(lab.ask(drop(Some(1))), Answer::Done(1));
    let bye = kate.told_bye(&mut lab);
    assert!(String::from_utf8_lossy(bye.header(Name::Reason).unwrap()).contains("operator"));
    assert_eq!(members(&mut lab).len(), 1);
    assert!(matches!(lab.ask(Command::Room("3007".into())), Answer::Refused(_)));
    jim.hang_up(&mut lab);
    lab.assert_clean();
}

#[test]
fn a_hold_in_a_room_and_a_phone_that_vanishes_leave_the_others_alone() {
    let mut lab = Lab::new();
    let mut kate = Caller::dial(&mut lab, "1000", 7000, "3000");
    let jim = Caller::dial(&mut lab, "1001", 7010, "3000");
    let hold = crate::call::tests::handset::hold(7000, &[0]);
    let (phone, dialog) = (&mut kate.phone, &mut kate.dialog);
    phone.send_in(&mut lab, dialog, Method::Invite, "", Some(("application/sdp", &hold)));
    let held = phone.expect(&mut lab, 200);
    phone.ack(&mut lab, dialog, &held, None);
    assert_eq!(states(&mut lab), ["inside", "inside"]);
    let leg = jim.leg(&lab);
    lab.input(Input::Media(Event::MediaTimeout { leg }));
    jim.told_bye(&mut lab);
    assert_eq!(members(&mut lab).len(), 1);
    kate.hang_up(&mut lab);
    lab.assert_clean();
}

#[test]
fn a_hundred_members_come_and_go() {
    let mut config = config();
    config.users = (1000..1100).map(|n| crate::testing::user(&n.to_string())).collect();
    let mut lab = Lab::with(config);
    let mut callers: Vec<Caller> = (0..100)
        .map(|n| Caller::dial(&mut lab, &format!("{}", 1000 + n), 7000 + 10 * n, "3200"))
        .collect();
    assert_eq!(states(&mut lab).iter().filter(|state| *state == "inside").count(), 100);
    lab.switch.audit().unwrap();
    for caller in &mut callers {
        caller.hang_up(&mut lab);
    }
    lab.assert_clean();
}
