//! REGISTER seen from outside, in virtual time.

use crate::testing::{World, config};
use crate::{Answer, Command, Refusal};
use model::{Aor, BindingKey, RegistrationView};
use sip::{Headers, Message, Name, Transport};
use std::time::Duration;

fn contacts(message: &Message) -> Vec<String> {
    message
        .values(Name::Contact)
        .map(|v| String::from_utf8_lossy(v).into_owned())
        .collect()
}

/// Sends REGISTER with these Contact values and perhaps Expires; the final response.
fn register(world: &mut World, phone: usize, contacts: &[&str], expires: Option<&str>) -> Message {
    let mut headers = Headers::new();
    for contact in contacts {
        headers.add(Name::Contact, contact);
    }
    if let Some(expires) = expires {
        headers.add(Name::Expires, expires);
    }
    let number = world.with(phone, |phone, now| phone.register_with(now, headers));
    world.finish(phone, number);
    world.phones[phone].answer(number).expect("an answer comes").clone()
}

fn registrations(world: &mut World) -> Vec<RegistrationView> {
    match world.command(Command::Registrations(None)) {
        Answer::Registrations(views) => views,
        other => panic!("{other:?}"),
    }
}

fn aor(extension: &str) -> Aor {
    Aor::new(extension, "example.com")
}

#[test]
fn a_registration_is_confirmed_with_what_is_left_of_it() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    let answer = register(&mut world, kate, &["<sip:1000@127.0.0.1:20000>;expires=300"], None);
    assert_eq!(contacts(&answer), ["<sip:1000@127.0.0.1:20000>;expires=300"]);
    assert_eq!(answer.header(Name::Date), Some(&b"Thu, 01 Jan 2026 00:00:00 GMT"[..]));
    world.run(Duration::from_millis(99_500));
    let query = register(&mut world, kate, &[], None);
    assert_eq!(
        (query.status(), contacts(&query)),
        (200, vec!["<sip:1000@127.0.0.1:20000>;expires=201".to_owned()])
    );
    assert_eq!(query.header(Name::Date), Some(&b"Thu, 01 Jan 2026 00:01:39 GMT"[..]));
}

#[test]
fn a_phone_that_vanished_is_gone_after_its_expiry() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    world.register_for(kate, 60);
    world.phones[kate].is_dead = true;
    world.run(Duration::from_secs(59));
    assert_eq!(registrations(&mut world).len(), 1);
    world.run(Duration::from_secs(2));
    assert_eq!(registrations(&mut world), []);
    assert!(world.store.bindings.is_empty());
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn a_refresh_keeps_one_binding_and_moves_its_end() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    for _ in 0..20 {
        assert_eq!(world.register_for(kate, 60), 200);
        world.run(Duration::from_secs(30));
    }
    let views = registrations(&mut world);
    assert_eq!((views.len(), views[0].expires_s), (1, 30));
    world.run(Duration::from_secs(31));
    assert_eq!(registrations(&mut world), []);
}

#[test]
fn a_shorter_refresh_ends_sooner() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    world.register_for(kate, 3_600);
    world.register_for(kate, 60);
    world.run(Duration::from_secs(61));
    assert_eq!(registrations(&mut world), []);
}

#[test]
fn a_jump_of_the_wall_clock_ends_nothing_early() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    world.register_for(kate, 600);
    world.jump_wall(Duration::from_secs(3_600));
    world.run(Duration::from_secs(1));
    assert_eq!(registrations(&mut world)[0].expires_s, 599);
    assert_eq!(world.register_for(kate, 600), 200, "the nonce is good too");
    assert_eq!(world.phones[kate].challenges.len(), 1);
}

#[test]
fn too_brief_is_refused_with_the_least_and_changes_nothing() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    let answer = register(
        &mut world,
        kate,
        &["<sip:a@127.0.0.1>;expires=120", "<sip:b@127.0.0.1>;expires=59"],
        None,
    );
    assert_eq!(
        (answer.status(), answer.header(Name::MinExpires)),
        (423, Some(&b"60"[..]))
    );
    assert_eq!(registrations(&mut world), []);
}

#[test]
fn too_long_is_cut_and_nothing_asked_is_the_default() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    let answer = register(&mut world, kate, &["<sip:a@127.0.0.1>"], Some("999999"));
    assert_eq!(contacts(&answer), ["<sip:a@127.0.0.1>;expires=3600"]);
    let answer = register(&mut world, kate, &["<sip:b@127.0.0.1>"], Some("soon"));
    assert_eq!(contacts(&answer)[1], "<sip:b@127.0.0.1>;expires=3600");
    let answer = register(&mut world, kate, &["<sip:b@127.0.0.1>;expires=4294967296"], Some("60"));
    assert_eq!(contacts(&answer)[1], "<sip:b@127.0.0.1>;expires=3600");
}

#[test]
fn several_contacts_with_their_preference_come_best_first() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    let answer = register(
        &mut world,
        kate,
        &[
            "<sip:a@127.0.0.1>;q=0.2",
            "\"Desk\" <sip:b@127.0.0.1>;q=0.75;+sip.instance=\"<urn:uuid:1>\";expires=90",
        ],
        Some("120"),
    );
    assert_eq!(
        contacts(&answer),
        [
            "<sip:b@127.0.0.1>;+sip.instance=\"<urn:uuid:1>\";q=0.750;expires=90",
            "<sip:a@127.0.0.1>;q=0.200;expires=120"
        ]
    );
}

#[test]
fn one_contact_is_removed_and_the_others_stay() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    register(&mut world, kate, &["<sip:a@127.0.0.1>", "<sip:b@127.0.0.1>"], None);
    let answer = register(&mut world, kate, &["<sip:A@127.0.0.1>;expires=0"], None);
    assert_eq!(contacts(&answer).len(), 2, "user parts differ in case");
    let answer = register(&mut world, kate, &["<sip:a@127.0.0.1>;expires=0"], None);
    assert_eq!(contacts(&answer), ["<sip:b@127.0.0.1>;expires=3600"]);
    assert_eq!(world.store.bindings.len(), 1);
}

#[test]
fn a_star_removes_all_and_only_with_expires_0() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    register(&mut world, kate, &["<sip:a@127.0.0.1>", "<sip:b@127.0.0.1>"], None);
    assert_eq!(register(&mut world, kate, &["*"], None).status(), 400);
    assert_eq!(register(&mut world, kate, &["*"], Some("10")).status(), 400);
    assert_eq!(
        register(&mut world, kate, &["*", "<sip:c@127.0.0.1>"], Some("0")).status(),
        400
    );
    assert_eq!(registrations(&mut world).len(), 2);
    let answer = register(&mut world, kate, &["*"], Some("0"));
    assert_eq!((answer.status(), contacts(&answer)), (200, vec![]));
    assert!(world.store.bindings.is_empty());
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn equal_uris_are_one_binding_and_the_last_spelling_is_echoed() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    register(
        &mut world,
        kate,
        &["<sip:%61lice@HOST.example.com;transport=udp>"],
        None,
    );
    let answer = register(&mut world, kate, &["<sip:alice@host.EXAMPLE.com;Transport=UDP>"], None);
    assert_eq!(
        contacts(&answer),
        ["<sip:alice@host.EXAMPLE.com;Transport=UDP>;expires=3600"]
    );
    let answer = register(&mut world, kate, &["<sip:alice@host.example.com>"], None);
    assert_eq!(contacts(&answer).len(), 2, "transport matters if only one has it");
}

#[test]
fn odd_contacts_are_echoed_as_they_came() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    let answer = register(
        &mut world,
        kate,
        &[
            "sip:a%00b@127.0.0.1;unknown",
            "<sip:c@127.0.0.1;unknown>",
            "<sip:d@127.0.0.1?Route=%3Csip:x.example.com%3E>",
            "<sip:e%00@127.0.0.1>",
            "<sip:e%00%00@127.0.0.1>",
        ],
        None,
    );
    assert_eq!(
        contacts(&answer),
        [
            "<sip:a%00b@127.0.0.1>;unknown;expires=3600",
            "<sip:c@127.0.0.1;unknown>;expires=3600",
            "<sip:d@127.0.0.1?Route=%3Csip:x.example.com%3E>;expires=3600",
            "<sip:e%00@127.0.0.1>;expires=3600",
            "<sip:e%00%00@127.0.0.1>;expires=3600",
        ]
    );
}

#[test]
fn contacts_that_are_no_sip_uris_are_refused() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    for contact in ["<tel:+49301234>", "<isbn:2983792873>", "<http://example.com>"] {
        assert_eq!(register(&mut world, kate, &[contact], None).status(), 400, "{contact}");
    }
    assert_eq!(registrations(&mut world), []);
}

#[test]
fn the_number_of_contacts_is_limited() {
    let mut settings = config();
    settings.registrar.max_contacts = 2;
    let mut world = World::new(settings, 1);
    let kate = world.phone("1000");
    register(&mut world, kate, &["<sip:a@127.0.0.1>"], None);
    let answer = register(&mut world, kate, &["<sip:b@127.0.0.1>", "<sip:c@127.0.0.1>"], None);
    assert_eq!(answer.status(), 403);
    assert_eq!(registrations(&mut world).len(), 1);
    let answer = register(
        &mut world,
        kate,
        &["<sip:a@127.0.0.1>;expires=0", "<sip:b@127.0.0.1>", "<sip:c@127.0.0.1>"],
        None,
    );
    assert_eq!(contacts(&answer).len(), 2, "one goes as two come");
}

#[test]
fn where_the_oldest_makes_room_a_new_device_always_gets_in() {
    let mut config = config();
    config.registrar.max_contacts = 2;
    config.registrar.beyond = crate::config::Beyond::RemoveOldest;
    let mut world = World::new(config, 1);
    let kate = world.phone("1000");
    for (contact, bound) in [
        ("<sip:a@127.0.0.1>", vec!["a"]),
        ("<sip:b@127.0.0.1>", vec!["a", "b"]),
        // Heard again, so it is not the oldest any more.
        ("<sip:a@127.0.0.1>", vec!["a", "b"]),
        ("<sip:c@127.0.0.1>", vec!["a", "c"]),
        ("<sip:d@127.0.0.1>", vec!["c", "d"]),
    ] {
        assert_eq!(register(&mut world, kate, &[contact], None).status(), 200);
        let views = registrations(&mut world);
        let seen: Vec<&str> = views.iter().map(|view| &view.contact[4..5]).collect();
        assert_eq!(seen, bound);
        world.run(Duration::from_secs(10));
    }
    let three = ["<sip:e@127.0.0.1>", "<sip:f@127.0.0.1>", "<sip:g@127.0.0.1>"];
    assert_eq!(register(&mut world, kate, &three, None).status(), 403);
    let two = ["<sip:e@127.0.0.1>", "<sip:f@127.0.0.1>"];
    assert_eq!(contacts(&register(&mut world, kate, &two, None)).len(), 2);
    assert_eq!((world.store.bindings.len(), world.switch.audit()), (2, Ok(())));
}

#[test]
fn the_number_of_bindings_in_all_is_limited() {
    let mut settings = config();
    settings.limits.max_bindings = 2;
    let mut world = World::new(settings, 1);
    let phones: Vec<usize> = ["1000", "1001", "1002"].map(|user| world.phone(user)).into();
    assert_eq!(
        phones.iter().map(|p| world.register(*p)).collect::<Vec<_>>(),
        [200, 200, 503]
    );
    assert_eq!(world.register(phones[0]), 200, "a refresh needs no room");
}

/// A REGISTER as bytes with credentials made for it, from the address of the phone.
fn crafted(world: &mut World, phone: usize, call_id: &str, cseq: u32, contact: &str) -> u16 {
    let headers = Headers::new().with(Name::Contact, contact);
    world.with(phone, |phone, now| phone.register_as(now, call_id, cseq, headers));
    world.run_ms(20);
    let last = world.phones[phone].last_status();
    last.expect("an answer comes")
}

#[test]
fn an_older_request_of_the_same_phone_changes_nothing() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    assert_eq!(world.register(kate), 200);
    assert_eq!(
        crafted(&mut world, kate, "one", 10, "<sip:a@127.0.0.1>;expires=100"),
        200
    );
    assert_eq!(crafted(&mut world, kate, "one", 9, "<sip:a@127.0.0.1>;expires=0"), 500);
    assert_eq!(crafted(&mut world, kate, "one", 10, "<sip:a@127.0.0.1>;expires=0"), 500);
    assert_eq!(registrations(&mut world).len(), 2);
    assert_eq!(
        crafted(&mut world, kate, "other", 1, "<sip:a@127.0.0.1>;expires=200"),
        200,
        "another Call-ID: a reboot"
    );
    assert_eq!(
        crafted(&mut world, kate, "other", 2, "<sip:a@127.0.0.1>;expires=0"),
        200
    );
    assert_eq!(registrations(&mut world).len(), 1);
}

#[test]
fn nobody_registers_for_somebody_else() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    for other in ["sip:1001@example.com", "sip:1000@elsewhere.example", "tel:1000"] {
        let number = world.with(kate, |phone, now| phone.register_to(now, other));
        assert_eq!(world.finish(kate, number), 403, "{other}");
    }
    assert_eq!(registrations(&mut world), []);
}

#[test]
fn bindings_survive_a_restart_and_still_end_in_time() {
    let mut world = World::new(config(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    world.register_for(kate, 120);
    world.register_for(jim, 600);
    world.run(Duration::from_secs(60));
    world.restart();
    let views = registrations(&mut world);
    assert_eq!(views.iter().map(|view| view.expires_s).collect::<Vec<_>>(), [60, 540]);
    let sent = world.message(kate, "1001", "still there");
    assert_eq!(world.finish(kate, sent), 200);
    assert_eq!(world.phones[jim].texts(), ["still there"]);
    world.run(Duration::from_secs(61));
    assert_eq!(registrations(&mut world).len(), 1);
    assert_eq!(world.store.bindings.len(), 1);
}

#[test]
fn what_ran_out_while_the_switch_was_down_is_not_restored() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    world.register_for(kate, 120);
    world.jump_wall(Duration::from_secs(121));
    world.restart();
    assert_eq!(registrations(&mut world), []);
    assert!(world.store.bindings.is_empty());
}

#[test]
fn what_is_unbound_before_the_store_answers_is_not_restored() {
    let mut world = World::new(config(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    let (desk, soft) = (world.phone("1002"), world.phone("1002"));
    for phone in [kate, jim, desk, soft] {
        world.register(phone);
    }
    world.store.delay = Duration::from_secs(3);
    world.restart();
    world.run_ms(2_500);
    assert_eq!(registrations(&mut world), [], "the store has said nothing");
    let all = Headers::new().with(Name::Contact, "*").with(Name::Expires, "0");
    world.with(kate, |phone, now| phone.register_as(now, "other", 1, all));
    world.run_ms(20);
    assert_eq!(world.phones[kate].last_status(), Some(200));
    assert_eq!(world.register_for(desk, 0), 200);
    world.run(Duration::from_secs(1));
    let views = registrations(&mut world);
    let users: Vec<&str> = views.iter().map(|view| view.aor.user()).collect();
    assert_eq!(users, ["1001", "1002"]);
    let left = &world.phones[soft].contact();
    assert!(left.contains(&*views[1].contact), "{} stays", views[1].contact);
    assert_eq!(world.store.bindings.len(), 2, "nor after the next restart");
}

#[test]
fn bindings_of_users_who_are_gone_are_not_restored() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    world.register(kate);
    let mut fewer = config();
    fewer.users.remove(0);
    world.store.is_hung = true;
    world.reload(fewer);
    world.store.is_hung = false;
    assert_eq!((registrations(&mut world), world.store.bindings.len()), (vec![], 1));
    world.restart();
    assert_eq!((registrations(&mut world), world.store.bindings.len()), (vec![], 0));
}

#[test]
fn a_reload_ends_the_bindings_of_users_who_are_gone_and_no_others() {
    let mut world = World::new(config(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    world.register(kate);
    world.register(jim);
    let mut fewer = config();
    fewer.users.remove(0);
    world.reload(fewer);
    let left = registrations(&mut world);
    assert_eq!((left.len(), left[0].aor.user()), (1, "1001"));
    assert_eq!(world.store.bindings.len(), 1);
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn a_refresh_is_written_behind_within_seconds() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    world.register_for(kate, 600);
    assert_eq!(world.store.bindings_written, 1);
    world.run(Duration::from_secs(100));
    for _ in 0..50 {
        world.register_for(kate, 600);
    }
    assert_eq!(world.store.bindings_written, 1);
    world.run(Duration::from_secs(11));
    assert_eq!(world.store.bindings_written, 2, "fifty refreshes are one write");
    world.restart();
    let left = registrations(&mut world)[0].expires_s;
    assert!((580..600).contains(&left), "{left}");
}

#[test]
fn a_phone_that_moved_is_written_at_once() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    world.register(kate);
    world.phones[kate].contact_params = ";+sip.instance=\"<urn:uuid:2>\"".into();
    world.register(kate);
    assert_eq!(world.store.bindings_written, 2);
    let stored = world.store.bindings.values().next().unwrap();
    assert_eq!(&*stored.params, ";+sip.instance=\"<urn:uuid:2>\"");
}

#[test]
fn a_drain_leaves_nothing_unwritten() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    world.register(kate);
    world.run(Duration::from_secs(100));
    world.register(kate);
    world.command(Command::Drain { limit_s: 1 });
    assert_eq!(world.store.bindings_written, 2);
}

#[test]
fn requests_before_the_store_has_answered_wait_for_it() {
    let mut world = World::new(config(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    world.register(kate);
    world.register(jim);
    world.store.delay = Duration::from_millis(800);
    world.restart();
    let sent = world.message(kate, "1001", "early");
    world.run_ms(500);
    assert_eq!(world.status(kate, sent), None);
    world.run_ms(500);
    assert_eq!(world.status(kate, sent), Some(200));
}

#[test]
fn commands_before_the_store_has_answered_wait_for_it() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    world.register(kate);
    world.store.delay = Duration::from_millis(800);
    world.restart();
    let asked = world.now.mono;
    let Answer::Registrations(views) = world.ask(Command::Registrations(None)) else {
        panic!("no registrations")
    };
    assert_eq!(views.len(), 1, "nobody is told that the switch knows no one");
    assert!(world.now.mono.since(asked) >= Duration::from_millis(700));
}

#[test]
fn a_store_that_never_answers_stops_nobody() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    world.store.is_hung = true;
    world.restart();
    assert_eq!(world.register(kate), 200);
    assert_eq!(registrations(&mut world).len(), 1);
}

#[test]
fn what_registers_before_a_late_store_answers_is_not_overwritten() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    world.register_for(kate, 100);
    world.store.delay = Duration::from_secs(5);
    world.restart();
    assert_eq!(world.register_for(kate, 3_000), 200);
    world.run(Duration::from_secs(6));
    let views = registrations(&mut world);
    assert_eq!(views.len(), 1);
    assert!(views[0].expires_s > 2_900);
}

#[test]
fn requests_go_the_way_the_register_came() {
    let mut world = World::new(config(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    world.register(kate);
    let behind_nat = "<sip:1001@192.168.7.7:5060>;expires=600";
    assert_eq!(register(&mut world, jim, &[behind_nat], None).status(), 200);
    let sent = world.message(kate, "1001", "through");
    assert_eq!(world.finish(kate, sent), 200);
    let request = &world.phones[jim].requests[0];
    assert_eq!(request.request_uri(), b"sip:1001@192.168.7.7:5060");
}

#[test]
fn a_broken_stream_leaves_the_contact_address() {
    let mut world = World::new(config(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone_over("1001", Transport::Tcp));
    world.register(kate);
    assert_eq!(world.register(jim), 200);
    world.disconnect(jim);
    let sent = world.message(kate, "1001", "again");
    assert_eq!(world.finish(kate, sent), 200);
    assert_eq!(
        world.phones[jim].texts(),
        ["again"],
        "the switch opened a stream to the phone's address"
    );
}

#[test]
fn s25_a_broken_stream_never_sends_us_to_third_parties() {
    let mut world = World::new(config(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone_over("1001", Transport::Tcp));
    world.register(kate);
    let elsewhere = "<sip:1001@10.0.0.1:22;transport=tcp>;expires=600";
    assert_eq!(register(&mut world, jim, &[elsewhere], None).status(), 200);
    world.disconnect(jim);
    let sent = world.message(kate, "1001", "kept");
    assert_eq!(world.finish(kate, sent), 202, "nobody can be reached: stored");
}

#[test]
fn operators_see_and_drop_registrations() {
    let mut world = World::new(config(), 1);
    let (jim, kate) = (world.phone("1001"), world.phone("1000"));
    world.register(jim);
    world.register(kate);
    let users: Vec<String> = registrations(&mut world)
        .iter()
        .map(|view| view.aor.user().to_owned())
        .collect();
    assert_eq!(users, ["1000", "1001"]);
    let drop = |world: &mut World, contact: Option<&str>| {
        world.command(Command::DropRegistration {
            aor: aor("1000"),
            contact: contact.map(Into::into),
        })
    };
    assert!(matches!(
        drop(&mut world, Some("sip:none")),
        Answer::Refused(Refusal::NotFound(_))
    ));
    assert_eq!(drop(&mut world, Some("sip:1000@127.0.0.1:20001")), Answer::Done(1));
    assert!(matches!(drop(&mut world, None), Answer::Refused(Refusal::NotFound(_))));
    assert_eq!(registrations(&mut world).len(), 1);
    assert!(
        !world
            .store
            .bindings
            .contains_key(&(aor("1000"), BindingKey("sip:1000@127.0.0.1:20001".into())))
    );
}

#[test]
fn the_user_agent_shows_without_control_characters() {
    let mut world = World::new(config(), 1);
    let kate = world.phone("1000");
    let headers = Headers::new()
        .with(Name::Contact, "<sip:a@127.0.0.1>")
        .with(Name::UserAgent, "Phone/1 é ".repeat(30));
    let number = world.with(kate, |phone, now| phone.register_with(now, headers));
    assert_eq!(world.finish(kate, number), 200);
    let shown = registrations(&mut world)[0].user_agent.clone();
    assert!(shown.starts_with("Phone/1 é") && shown.len() <= 128 && shown.len() > 120);
}

#[test]
fn two_thousand_phones_come_and_go() {
    let mut settings = config();
    settings.users = (0..2_000).map(|n| crate::testing::user(&n.to_string())).collect();
    let mut world = World::new(settings, 1);
    let phones: Vec<usize> = (0..2_000).map(|n| world.phone(&n.to_string())).collect();
    for phone in &phones {
        world.with(*phone, |phone, now| {
            phone.register(now, 60 + now.mono.millis() as u32 % 100)
        });
    }
    world.run(Duration::from_secs(10));
    assert_eq!(registrations(&mut world).len(), 2_000);
    assert_eq!(world.switch.audit(), Ok(()));
    world.run(Duration::from_secs(160));
    assert_eq!(registrations(&mut world).len(), 0);
    assert!(world.store.bindings.is_empty());
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn after_a_panic_phones_register_as_before() {
    let mut world = World::new(config(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    world.recovers = true;
    world.switch.panic_in("register");
    assert_eq!(
        (world.register(kate), world.register(jim)),
        (200, 200),
        "the repeated request gets in"
    );
    assert_eq!(world.switch.audit(), Ok(()));
}

/// Contacts are asked each minute.
fn asking(silent: crate::config::Silent) -> crate::Config {
    let mut config = config();
    config.registrar.qualify = Some(Duration::from_secs(60));
    config.registrar.silent = silent;
    config
}

#[test]
fn a_contact_that_does_not_answer_is_not_called_until_it_is_back() {
    let mut world = World::new(asking(crate::config::Silent::Mark), 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    world.register(kate);
    world.register(jim);
    world.run(Duration::from_secs(70));
    assert!(registrations(&mut world).iter().all(|view| view.answers));
    world.phones[jim].is_dead = true;
    world.run(Duration::from_secs(100));
    let views = registrations(&mut world);
    assert_eq!(views.iter().map(|view| view.answers).collect::<Vec<_>>(), [true, false]);
    let sent = world.message(kate, "1001", "are you there?");
    world.run_ms(200);
    assert_eq!(
        world.status(kate, sent),
        Some(202),
        "kept at once, nobody is waited for"
    );
    world.phones[jim].is_dead = false;
    world.run(Duration::from_secs(65));
    assert_eq!(world.phones[jim].texts(), ["are you there?"]);
    assert!(registrations(&mut world).iter().all(|view| view.answers));
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn a_contact_that_does_not_answer_can_be_unbound() {
    let mut world = World::new(asking(crate::config::Silent::Remove), 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    world.register(kate);
    world.register(jim);
    world.phones[jim].is_dead = true;
    world.run(Duration::from_secs(100));
    let views = registrations(&mut world);
    assert_eq!(views.iter().map(|view| view.aor.user()).collect::<Vec<_>>(), ["1000"]);
    assert_eq!(world.store.bindings.len(), 1);
}

#[test]
fn a_refresh_is_a_sign_of_life() {
    let mut world = World::new(asking(crate::config::Silent::Mark), 1);
    let jim = world.phone("1001");
    world.register(jim);
    world.phones[jim].is_dead = true;
    world.run(Duration::from_secs(100));
    assert!(!registrations(&mut world)[0].answers);
    world.phones[jim].is_dead = false;
    world.register(jim);
    assert!(registrations(&mut world)[0].answers);
}

#[test]
fn contacts_are_asked_evenly_and_never_too_many_at_once() {
    let mut config = asking(crate::config::Silent::Mark);
    config.registrar.qualify = Some(Duration::from_secs(10));
    let mut world = World::new(config, 1);
    let phones: Vec<usize> = (1000..1020).map(|n| world.phone(&n.to_string())).collect();
    for &phone in &phones {
        world.register(phone);
    }
    let asked = |world: &World| -> Vec<usize> {
        let options = |phone: &usize| {
            let requests = world.phones[*phone].requests.iter();
            requests
                .filter(|request| request.method() == sip::Method::Options)
                .count()
        };
        phones.iter().map(options).collect()
    };
    world.run(Duration::from_secs(5));
    let half: usize = asked(&world).iter().sum();
    assert!((8..=12).contains(&half), "{half} of 20 in half of the time");
    world.run(Duration::from_secs(45));
    assert!(
        asked(&world).iter().all(|count| (4..=6).contains(count)),
        "{:?}",
        asked(&world)
    );
}
