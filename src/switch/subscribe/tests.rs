//! Phones that watch: what they are told, when, and what they are refused.

mod ends;
mod lists;
mod random;

use crate::config::conference::Pin;
use crate::config::{Audience, Role};
use crate::testing::{OnInvite, World, config};
use crate::{Act, Answer, By, Command, Mute, Supervision, Verb};
use model::Aor;
use sip::header::SubscriptionState;
use sip::{Headers, Message, Method, Name};
use std::time::Duration;

fn wishes(package: &str, expires_s: u32) -> Headers {
    Headers::new()
        .with(Name::Event, package)
        .with(Name::Expires, expires_s.to_string())
        .with(Name::Contact, "<sip:1000@127.0.0.1:20000>")
}

/// SUBSCRIBE to a mailbox; the final response.
fn subscribe(world: &mut World, phone: usize, to: &str, headers: Headers) -> Message {
    let number = world.with(phone, |phone, now| {
        phone.request(now, Method::Subscribe, to, headers, None)
    });
    world.finish(phone, number);
    world.run_ms(20);
    world.phones[phone].answer(number).expect("an answer comes").clone()
}

fn kate() -> (World, usize) {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    world.register(kate);
    (world, kate)
}

fn alive(world: &World) -> u64 {
    figure(world, "subscriptions")
}

fn figure(world: &World, name: &str) -> u64 {
    let counters = world.switch.counters();
    counters.values.iter().find(|value| value.0 == name).unwrap().1
}

fn states(world: &World, phone: usize) -> Vec<String> {
    let notifies = world.phones[phone]
        .requests
        .iter()
        .filter(|request| request.method() == Method::Notify);
    notifies
        .map(|notify| {
            let state = SubscriptionState::parse(notify.header(Name::SubscriptionState).unwrap()).unwrap();
            let reason = String::from_utf8_lossy(state.reason().unwrap_or_default()).into_owned();
            format!("{} {reason}", String::from_utf8_lossy(state.state()))
                .trim()
                .to_owned()
        })
        .collect()
}

#[test]
fn a_phone_learns_that_its_mailbox_is_empty() {
    let (mut world, kate) = kate();
    let answer = subscribe(&mut world, kate, "1000", wishes("message-summary", 600));
    assert_eq!((answer.status(), answer.expires()), (200, Some(600)));
    let notify = &world.phones[kate].requests[0];
    assert_eq!(
        notify.header(Name::ContentType),
        Some(&b"application/simple-message-summary"[..])
    );
    assert!(
        notify
            .body()
            .starts_with(b"Messages-Waiting: no\r\nMessage-Account: sip:1000@example.com\r\n")
    );
    assert_eq!((states(&world, kate), alive(&world)), (vec!["active".to_owned()], 1));
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn a_refresh_from_the_phone_itself_needs_no_password() {
    let (mut world, kate) = kate();
    let answer = subscribe(&mut world, kate, "1000", wishes("message-summary", 60));
    world.run(Duration::from_secs(50));
    world.phones[kate].reboot();
    let refresh = wishes("message-summary", 60);
    let number = world.with(kate, |p, now| {
        p.request_inside(now, Method::Subscribe, &answer, refresh)
    });
    assert_eq!(world.finish(kate, number), 200);
    world.run(Duration::from_secs(50));
    assert_eq!((states(&world, kate).len(), alive(&world)), (2, 1));
}

#[test]
fn a_request_inside_the_dialog_from_elsewhere_is_challenged() {
    let (mut world, kate) = kate();
    let jim = world.phone("1001");
    world.register(jim);
    let answer = subscribe(&mut world, kate, "1000", wishes("message-summary", 60));
    let end = wishes("message-summary", 0);
    world.phones[jim].reboot();
    world.phones[jim].password = "wrong".into();
    let number = world.with(jim, |p, now| {
        p.request_inside(now, Method::Subscribe, &answer, end.clone())
    });
    assert_eq!(world.finish(jim, number), 401);
    world.phones[jim].reboot();
    world.phones[jim].password = crate::testing::password("1001");
    let number = world.with(jim, |p, now| p.request_inside(now, Method::Subscribe, &answer, end));
    assert_eq!(world.finish(jim, number), 481, "another user");
    assert_eq!(alive(&world), 1);
}

#[test]
fn it_ends_when_not_refreshed_and_when_asked_to() {
    let (mut world, kate) = kate();
    subscribe(&mut world, kate, "1000", wishes("message-summary", 60));
    world.run(Duration::from_secs(62));
    assert_eq!(states(&world, kate), ["active", "terminated timeout"]);
    world.phones[kate].requests.clear();
    let answer = subscribe(&mut world, kate, "1000", wishes("message-summary", 60));
    let end = wishes("message-summary", 0);
    let number = world.with(kate, |p, now| p.request_inside(now, Method::Subscribe, &answer, end));
    assert_eq!(world.finish(kate, number), 200);
    world.run(Duration::from_secs(1));
    assert!(states(&world, kate).last().unwrap().starts_with("terminated"));
    assert_eq!(alive(&world), 0);
    world.run(Duration::from_secs(40));
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn a_phone_that_is_gone_leaves_nothing() {
    let (mut world, kate) = kate();
    world.with(kate, |phone, now| {
        phone.request(now, Method::Subscribe, "1000", wishes("message-summary", 3_600), None)
    });
    world.phones[kate].is_dead = true;
    world.run(Duration::from_secs(40));
    assert_eq!(alive(&world), 0);
}

#[test]
fn other_packages_mailboxes_and_formats_are_refused() {
    let (mut world, kate) = kate();
    let answer = subscribe(&mut world, kate, "1000", wishes("winfo", 60));
    assert_eq!(
        (answer.status(), answer.header(Name::AllowEvents)),
        (489, Some(super::ALLOW_EVENTS.as_bytes()))
    );
    let answer = subscribe(
        &mut world,
        kate,
        "1000",
        Headers::new().with(Name::Contact, "<sip:1000@127.0.0.1>"),
    );
    assert_eq!(answer.status(), 489);
    assert_eq!(
        subscribe(&mut world, kate, "1001", wishes("message-summary", 60)).status(),
        403
    );
    assert_eq!(
        subscribe(&mut world, kate, "4711", wishes("message-summary", 60)).status(),
        403
    );
    let odd = wishes("message-summary", 60).with(Name::Accept, "text/plain");
    assert_eq!(subscribe(&mut world, kate, "1000", odd).status(), 406);
    let answer = subscribe(&mut world, kate, "1000", wishes("message-summary", 59));
    assert_eq!(
        (answer.status(), answer.header(Name::MinExpires)),
        (423, Some(&b"60"[..]))
    );
    assert_eq!(alive(&world), 0);
}

#[test]
fn a_panic_costs_the_one_subscription() {
    let (mut world, kate) = kate();
    subscribe(&mut world, kate, "1000", wishes("message-summary", 60));
    let answer = subscribe(&mut world, kate, "1000", wishes("message-summary", 60));
    world.recovers = true;
    world.switch.panic_in("notify");
    let refresh = wishes("message-summary", 60);
    world.with(kate, |p, now| {
        p.request_inside(now, Method::Subscribe, &answer, refresh)
    });
    world.run(Duration::from_secs(10));
    assert_eq!((alive(&world), world.switch.audit()), (1, Ok(())));
}

#[test]
fn old_subscriptions_of_a_user_make_room_for_new_ones() {
    let (mut world, kate) = kate();
    for _ in 0..20 {
        assert_eq!(
            subscribe(&mut world, kate, "1000", wishes("message-summary", 600)).status(),
            200
        );
    }
    assert_eq!(alive(&world), 16);
    assert_eq!(
        states(&world, kate)
            .iter()
            .filter(|state| **state == "terminated probation")
            .count(),
        4
    );
    assert_eq!(world.switch.audit(), Ok(()));
}

/// The documents a phone was told since last asked, each as `version: id direction state peer; ...`, ids counted from 0
/// in the order they appeared.
fn lamps(world: &mut World, phone: usize, ids: &mut Vec<String>) -> Vec<String> {
    let requests = std::mem::take(&mut world.phones[phone].requests);
    let told = requests.iter().filter(|r| r.method() == Method::Notify);
    told.map(|notify| {
        assert_eq!(
            notify.header(Name::ContentType),
            Some(&b"application/dialog-info+xml"[..])
        );
        let text = String::from_utf8(notify.body().to_vec()).unwrap();
        assert!(
            text.contains(" state=\"full\" entity=\"sip:1001@example.com\">"),
            "{text}"
        );
        let dialogs: Vec<String> = text.split("<dialog ").skip(1).map(|dialog| lamp(dialog, ids)).collect();
        format!(
            "{}: {}",
            between(&text, "dialog-info\" version=\"", "\""),
            dialogs.join("; ")
        )
    })
    .collect()
}

fn lamp(dialog: &str, ids: &mut Vec<String>) -> String {
    let id = between(dialog, "id=\"", "\"").to_owned();
    let known = ids.iter().position(|other| *other == id);
    let number = known.unwrap_or_else(|| {
        ids.push(id);
        ids.len() - 1
    });
    let words = [
        between(dialog, "direction=\"", "\""),
        between(dialog, "<state>", "<"),
        between(dialog, "display=\"", "\""),
        between(dialog, ">sip:", "<"),
    ];
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    format!("{number} {}", words.join(" "))
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let rest = text.split_once(before).map_or("", |(_, rest)| rest);
    rest.split(after).next().unwrap_or_default()
}

/// Kate watches 1001; Jim, who is 1001, and Carol have phones.
fn watched() -> (World, usize, usize, usize) {
    let (mut world, kate) = kate();
    let (jim, carol) = (world.phone("1001"), world.phone("1002"));
    world.register(jim);
    world.register(carol);
    let answer = subscribe(&mut world, kate, "1001", wishes("dialog", 600));
    assert_eq!(answer.status(), 200);
    (world, kate, jim, carol)
}

#[test]
fn a_lamp_shows_ringing_talking_and_the_end() {
    let (mut world, kate, jim, carol) = watched();
    let ids = &mut Vec::new();
    assert_eq!(lamps(&mut world, kate, ids), ["0: "]);
    world.run_ms(600);
    world.phones[jim].on_invite = OnInvite::AnswerAfter(Duration::from_secs(3));
    let call = world.call(carol, "1001");
    world.run_ms(1_500);
    assert_eq!(
        lamps(&mut world, kate, ids),
        [
            "1: 0 recipient trying User 1002 1002@example.com",
            "2: 0 recipient early User 1002 1002@example.com"
        ]
    );
    world.run_ms(3_000);
    assert_eq!(
        lamps(&mut world, kate, ids),
        ["3: 0 recipient confirmed User 1002 1002@example.com"]
    );
    world.hang_up(carol, call);
    world.run_ms(1_000);
    assert_eq!(lamps(&mut world, kate, ids), ["4: 0 terminated"]);
    let call = world.call(jim, "9196");
    world.run_ms(1_000);
    assert_eq!(
        lamps(&mut world, kate, ids),
        ["5: 1 initiator confirmed 9196@example.com"]
    );
    world.hang_up(jim, call);
    world.run(Duration::from_secs(40));
    assert_eq!(lamps(&mut world, kate, ids), ["6: 1 terminated"]);
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn changes_within_the_interval_are_told_in_one_message() {
    let (mut world, kate, jim, _) = watched();
    world.run_ms(600);
    world.phones[kate].requests.clear();
    for _ in 0..5 {
        let call = world.call(jim, "9196");
        world.run_ms(40);
        world.hang_up(jim, call);
        world.run_ms(40);
    }
    world.run_ms(1_000);
    let told = lamps(&mut world, kate, &mut Vec::new());
    assert!((2..=4).contains(&told.len()), "{told:?}");
    assert!(
        told.last().unwrap().ends_with("terminated") || told.last().unwrap().ends_with(": "),
        "{told:?}"
    );
}

#[test]
fn a_refresh_brings_the_whole_state() {
    let (mut world, kate, jim, _) = watched();
    world.call(jim, "9196");
    world.run_ms(1_500);
    let ids = &mut Vec::new();
    let told = lamps(&mut world, kate, ids);
    assert_eq!(told.last().unwrap(), "1: 0 initiator confirmed 9196@example.com");
    let answer = world.phones[kate].answer(2).cloned();
    let answer = answer.expect("the answer to SUBSCRIBE");
    let refresh = wishes("dialog", 600);
    let number = world.with(kate, |p, now| {
        p.request_inside(now, Method::Subscribe, &answer, refresh)
    });
    assert_eq!(world.finish(kate, number), 200);
    world.run_ms(50);
    assert_eq!(
        lamps(&mut world, kate, ids),
        ["2: 0 initiator confirmed 9196@example.com"]
    );
}

#[test]
fn who_may_watch_whom_is_a_setting() {
    let mut config = config();
    config.subscriptions.watch_calls = Audience::Supervisors;
    config.users[2].roles.push(Role::Supervisor);
    config.subscriptions.watch_peers = Audience::Nobody;
    let mut world = World::new(config, 1);
    let (kate, jim, carol) = (world.phone("1000"), world.phone("1001"), world.phone("1002"));
    for phone in [kate, jim, carol] {
        world.register(phone);
    }
    let mut status = |phone, whom| subscribe(&mut world, phone, whom, wishes("dialog", 600)).status();
    assert_eq!(
        [status(kate, "1001"), status(jim, "1001"), status(carol, "1001")],
        [403, 200, 200]
    );
    assert_eq!(status(carol, "4711"), 404);
    world.phones[jim].requests.clear();
    world.phones[carol].requests.clear();
    world.run_ms(600);
    world.call(jim, "9196");
    world.run_ms(600);
    let ids = &mut Vec::new();
    assert_eq!(lamps(&mut world, carol, ids), ["1: 0 initiator confirmed"]);
    assert_eq!(
        lamps(&mut world, jim, ids),
        ["1: 0 initiator confirmed 9196@example.com"]
    );
}

/// The documents about room 3000 a phone was told since last asked: `version state count: user; ...`.
fn rosters(world: &mut World, phone: usize) -> Vec<String> {
    rosters_of(world, phone, "3000")
}

fn rosters_of(world: &mut World, phone: usize, focus: &str) -> Vec<String> {
    let requests = std::mem::take(&mut world.phones[phone].requests);
    let has_state = |r: &&Message| r.method() == Method::Notify && !r.body().is_empty();
    let told = requests.iter().filter(has_state);
    told.map(|notify| {
        let kind = notify.header(Name::ContentType);
        assert_eq!(kind, Some(&b"application/conference-info+xml"[..]));
        let text = String::from_utf8(notify.body().to_vec()).unwrap();
        assert!(
            text.contains(&format!(" entity=\"sip:{focus}@example.com\" state=")),
            "{text}"
        );
        let users: Vec<String> = text.split("<user ").skip(1).map(member).collect();
        let (version, state) = (between(&text, " version=\"", "\">"), between(&text, " state=\"", "\""));
        let version = version.rsplit("version=\"").next().unwrap();
        format!(
            "{version} {state} {}: {}",
            between(&text, "<user-count>", "<"),
            users.join("; ")
        )
    })
    .collect()
}

/// `1000 connected sendrecv`, or `1000 deleted`.
fn member(user: &str) -> String {
    let who = between(user, "sip:", "\"").replace("@example.com", "");
    if user.contains("state=\"deleted\"") {
        return format!("{who} deleted");
    }
    let words = [
        between(user, "><status>", "<"),
        between(user, "</type><status>", "<"),
        between(user, "<entry>", "<"),
    ];
    format!("{who} {}", words.join(" ").trim_end())
}

#[test]
fn a_roster_is_whole_at_first_and_then_tells_who_came_changed_and_left() {
    let mut config = config();
    config.conferences.default.moderators.push("1002".into());
    let mut world = World::new(config, 1);
    let phones = ["1000", "1001", "1002"].map(|user| world.phone(user));
    let [kate, jim, carol] = phones;
    for phone in phones {
        world.register(phone);
    }
    let answer = subscribe(&mut world, kate, "3000", wishes("conference", 600));
    assert_eq!(answer.status(), 200);
    assert_eq!(rosters(&mut world, kate), ["0 full 0: "]);
    world.run_ms(600);
    let jims = world.call(jim, "3000");
    world.run_ms(600);
    assert_eq!(rosters(&mut world, kate), ["1 full 1: 1001 connected sendrecv"]);
    let carols = world.call(carol, "3000");
    world.run_ms(600);
    assert_eq!(
        rosters(&mut world, kate),
        ["2 partial 2: 1002 connected sendrecv moderator"]
    );
    world.command(Command::RoomMute {
        room: "3000".into(),
        member: 1,
        muted: Some(true),
        deaf: None,
    });
    world.run_ms(600);
    assert_eq!(
        rosters(&mut world, kate),
        ["3 partial 2: 1001 muted-via-focus recvonly"]
    );
    world.hang_up(jim, jims);
    world.run_ms(600);
    assert_eq!(rosters(&mut world, kate), ["4 partial 1: 1001 deleted"]);

    let refresh = wishes("conference", 600);
    let number = world.with(kate, |p, now| {
        p.request_inside(now, Method::Subscribe, &answer, refresh)
    });
    world.finish(kate, number);
    world.run_ms(600);
    assert_eq!(
        rosters(&mut world, kate),
        ["5 full 1: 1002 connected sendrecv moderator"]
    );
    world.hang_up(carol, carols);
    world.run_ms(600);
    assert_eq!(rosters(&mut world, kate), ["6 full 0: "]);
}

#[test]
fn who_comes_and_goes_within_the_interval_is_told_in_one_document() {
    let (mut world, kate, jim, carol) = watched();
    world.phones[kate].requests.clear();
    subscribe(&mut world, kate, "3000", wishes("conference", 600));
    let stays = world.call(carol, "3000");
    for _ in 0..3 {
        let call = world.call(jim, "3000");
        world.run_ms(20);
        world.hang_up(jim, call);
        world.run_ms(20);
    }
    world.call(jim, "3000");
    world.run_ms(1_000);
    world.phones[kate]
        .requests
        .retain(|request| request.header(Name::ContentType) == Some(&b"application/conference-info+xml"[..]));
    let told = rosters(&mut world, kate);
    let last = told.last().unwrap();
    assert!(
        told.len() <= 4 && last.contains("1001 connected") && !last.contains("deleted"),
        "{told:?}"
    );
    world.hang_up(carol, stays);
}

#[test]
fn a_room_with_a_pin_is_watched_by_those_who_are_in_it_and_those_who_oversee() {
    let mut config = config();
    config.conferences.default.pin = Pin::new("4711");
    config.users[2].roles.push(Role::Supervisor);
    let mut world = World::new(config, 1);
    let (kate, carol) = (world.phone("1000"), world.phone("1002"));
    world.register(kate);
    world.register(carol);
    let mut status = |phone, room| subscribe(&mut world, phone, room, wishes("conference", 600)).status();
    assert_eq!(
        [status(kate, "3000"), status(carol, "3000"), status(carol, "9196")],
        [403, 200, 404]
    );
}

#[test]
fn lamps_go_on_after_a_restart_and_are_told_the_whole_state() {
    let (mut world, kate, jim, _) = watched();
    world.run_ms(600);
    world.call(jim, "9196");
    world.run_ms(600);
    let ids = &mut Vec::new();
    let before = lamps(&mut world, kate, ids);
    assert!(before.last().unwrap().contains("confirmed"), "{before:?}");
    let answer = world.phones[kate].answer(2).cloned().expect("the answer to SUBSCRIBE");
    world.restart();
    world.run_ms(500);
    let notify = world.phones[kate].requests.last().expect("a NOTIFY").clone();
    assert!(notify.cseq() > 8, "higher than before: {}", notify.cseq());
    let told = lamps(&mut world, kate, ids);
    let version = |line: &str| line.split(':').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(told.len(), 1);
    assert!(
        version(&told[0]) > version(before.last().unwrap()) && told[0].ends_with(": "),
        "{told:?}"
    );

    // It is the same dialog: the phone refreshes it without a password, and hears of changes.
    let refresh = wishes("dialog", 600);
    let number = world.with(kate, |p, now| {
        p.request_inside(now, Method::Subscribe, &answer, refresh)
    });
    assert_eq!(world.finish(kate, number), 200);
    world.run_ms(600);
    world.register(jim);
    world.phones[kate].requests.clear();
    world.call(jim, "9196");
    world.run_ms(600);
    assert!(lamps(&mut world, kate, ids)[0].contains("confirmed"));
    assert_eq!((alive(&world), world.switch.audit()), (1, Ok(())));
}

#[test]
fn what_has_run_out_or_is_no_longer_allowed_is_not_restored() {
    let (mut world, kate, ..) = watched();
    subscribe(&mut world, kate, "1000", wishes("message-summary", 60));
    assert_eq!(world.store.subscriptions.len(), 2);
    world.jump_wall(Duration::from_secs(61));
    world.restart();
    assert_eq!((alive(&world), world.store.subscriptions.len()), (1, 1));
    let mut closed = config();
    closed.subscriptions.watch_calls = Audience::Nobody;
    world.reload(closed);
    world.restart();
    assert_eq!((alive(&world), world.store.subscriptions.len()), (0, 0));
    let (mut world, kate, ..) = watched();
    let answer = world.phones[kate].answer(2).cloned().expect("the answer to SUBSCRIBE");
    let end = wishes("dialog", 0);
    let number = world.with(kate, |p, now| p.request_inside(now, Method::Subscribe, &answer, end));
    assert_eq!(world.finish(kate, number), 200);
    assert_eq!(world.store.subscriptions.len(), 0);
}

#[test]
fn who_takes_part_in_a_call_that_became_a_conference_is_told_to_those_in_it_until_they_leave() {
    let mut config = config();
    config.users[4].roles.push(Role::Supervisor);
    let mut world = World::new(config, 1);
    let phones = ["1010", "1000", "1001", "1004", "1005"].map(|user| world.phone(user));
    for phone in phones {
        world.register(phone);
    }
    let [customer, kate, jim, boss, stranger] = phones;
    let customers = world.call(customer, "1000");
    world.run_ms(3_000);
    let view = |world: &mut World| match world.command(Command::Interactions(None)) {
        Answer::Interactions(mut all) => all.remove(0),
        other => panic!("{other:?}"),
    };
    let interaction = view(&mut world).id;
    let act = |world: &mut World, user: &str, verb: Verb| {
        let (by, client) = (By::User(Aor::new(user, crate::testing::DOMAIN)), "".into());
        let answer = world.command(Command::Act(Box::new(Act { by, client, verb })));
        assert!(matches!(answer, Answer::Acted(_)), "{answer:?}");
        world.run_ms(3_000);
    };
    let target = "1001".into();
    act(&mut world, "1000", Verb::InstantConference { interaction, target });
    let focus = interaction.to_string();
    let mode = Supervision::Listen;
    let party = None;
    act(
        &mut world,
        "1004",
        Verb::Supervise {
            interaction,
            party,
            mode,
        },
    );
    let mut watch = |phone| {
        let answer = subscribe(&mut world, phone, &focus, wishes("conference", 600));
        answer.status()
    };
    assert_eq!([kate, jim, boss, stranger].map(&mut watch), [200, 200, 200, 404]);
    let all = "3: 1010 connected sendrecv; 1000 connected sendrecv; 1001 connected sendrecv";
    for phone in [kate, jim, boss] {
        let told = rosters_of(&mut world, phone, &focus);
        assert_eq!(
            told.last().unwrap(),
            &format!("0 full {all}"),
            "who listens is not shown"
        );
    }
    world.run_ms(600);
    let muted = view(&mut world).parties[2].id;
    act(
        &mut world,
        "1000",
        Verb::Mute {
            interaction,
            party: muted,
            listener: None,
            mute: Mute::Speech,
            on: true,
        },
    );
    act(&mut world, "1000", Verb::Hold { interaction });
    assert_eq!(
        rosters_of(&mut world, kate, &focus),
        [
            "1 full 3: 1010 connected sendrecv; 1000 connected sendrecv; 1001 muted-via-focus recvonly",
            "2 full 3: 1010 connected sendrecv; 1000 on-hold sendrecv; 1001 muted-via-focus recvonly",
        ]
    );
    world.phones[jim].requests.clear();
    let party = muted;
    act(&mut world, "1000", Verb::Drop { interaction, party });
    assert_eq!(
        states(&world, jim).last().unwrap(),
        "terminated noresource",
        "it is not his any more"
    );
    let told = rosters_of(&mut world, kate, &focus);
    assert!(told.last().unwrap().contains(" full 2: 1010 "), "{told:?}");
    world.hang_up(customer, customers);
    world.run_ms(3_000);
    for phone in [kate, boss] {
        assert_eq!(
            states(&world, phone).last().unwrap(),
            "terminated noresource",
            "it is over"
        );
    }
    assert_eq!(alive(&world), 0);
}

/// The bodies of the NOTIFYs a phone has had.
fn documents(world: &World, phone: usize) -> Vec<String> {
    let notifies = world.phones[phone].requests.iter();
    let notifies = notifies.filter(|request| request.method() == Method::Notify);
    notifies
        .map(|notify| String::from_utf8_lossy(notify.body_bytes()).into_owned())
        .collect()
}

#[test]
fn who_watches_the_own_registration_is_told_who_comes_and_goes_and_of_no_refresh() {
    let (mut world, kate) = kate();
    assert_eq!(subscribe(&mut world, kate, "1000", wishes("reg", 600)).status(), 200);
    let first = documents(&world, kate);
    assert_eq!(first.len(), 1);
    assert!(first[0].contains("version=\"0\" state=\"full\""), "{}", first[0]);
    assert!(
        first[0].contains("<registration aor=\"sip:1000@example.com\" id=\"r\" state=\"active\">"),
        "{}",
        first[0]
    );
    assert_eq!(first[0].matches("<contact ").count(), 1);
    let own = world.phones[kate].contact();
    assert!(first[0].contains(&format!("<uri>{own}</uri>")), "{}", first[0]);
    // A second device comes, refreshes and goes.
    let other = world.phone("1000");
    world.register(other);
    world.run(Duration::from_secs(5));
    world.register(other);
    world.run(Duration::from_secs(5));
    let number = world.with(other, |phone, now| {
        let gone = Headers::new().with(Name::Contact, format!("<{}>;expires=0", phone.contact()));
        phone.register_with(now, gone)
    });
    world.finish(other, number);
    world.run(Duration::from_secs(5));
    let all = documents(&world, kate);
    let contacts: Vec<_> = all
        .iter()
        .map(|document| document.matches("<contact ").count())
        .collect();
    assert_eq!(contacts, [1, 2, 1]);
    assert!(all[2].contains("version=\"2\""), "{}", all[2]);
}

#[test]
fn the_registration_of_others_is_for_administrators() {
    let mut config = config();
    config.users[2].roles.push(Role::Admin);
    let mut world = World::new(config, 1);
    let (kate, admin) = (world.phone("1000"), world.phone("1002"));
    world.register(kate);
    world.register(admin);
    for to in ["1002", "4711"] {
        assert_eq!(
            subscribe(&mut world, kate, to, wishes("reg", 600)).status(),
            403,
            "{to}"
        );
    }
    assert_eq!(subscribe(&mut world, admin, "4711", wishes("reg", 600)).status(), 404);
    assert_eq!(subscribe(&mut world, admin, "1003", wishes("reg", 600)).status(), 200);
    let nobody = documents(&world, admin);
    assert!(
        nobody[0].contains("state=\"init\">\r\n</registration>"),
        "{}",
        nobody[0]
    );
    let dave = world.phone("1003");
    world.register(dave);
    world.run(Duration::from_secs(5));
    assert!(documents(&world, admin)[1].contains("state=\"active\""));
}
