//! Several devices of one reader, with `im.copies = "user"` and `"device"`.

use super::notices::{self, CPIM, envelope, told};
use super::{assert_quiet, figure, stored, texts};
use crate::config::Copies;
use crate::testing::{OnMessage, World, config};
use model::StoreError;
use sip::body::imdn::Mark;
use sip::{Headers, Name};
use std::time::Duration;

/// Kate registered; the devices of Jim (1001) come by [`device`].
fn world(copies: Copies) -> (World, usize) {
    let mut settings = config();
    settings.im.copies = copies;
    let mut world = World::new(settings, 1);
    let kate = world.phone("1000");
    assert_eq!(world.register(kate), 200);
    (world, kate)
}

/// A device of Jim with this instance, at an address of its own.
fn device(world: &mut World, instance: &str) -> usize {
    let phone = world.phone("1001");
    world.phones[phone].contact_params = format!(";+sip.instance=\"<urn:x:{instance}>\"");
    assert_eq!(world.register(phone), 200);
    world.run_ms(50);
    phone
}

/// The same, and it refuses what it gets.
fn refusing(world: &mut World, instance: &str, status: u16) -> usize {
    let phone = world.phone("1001");
    world.phones[phone].contact_params = format!(";+sip.instance=\"<urn:x:{instance}>\"");
    world.phones[phone].on_message = OnMessage::Refuse(status);
    assert_eq!(world.register(phone), 200);
    world.run_ms(50);
    phone
}

fn all_do(world: &mut World, phones: [usize; 2], what: OnMessage) {
    for phone in phones {
        world.phones[phone].on_message = what;
    }
}

fn leave(world: &mut World, phone: usize) {
    assert_eq!(world.register_for(phone, 0), 200);
    world.phones[phone].is_dead = true;
}

fn send(world: &mut World, from: usize, text: &str) -> u16 {
    let sent = world.message(from, "1001", text);
    world.finish(from, sent)
}

fn owed(world: &World) -> Vec<Vec<Box<str>>> {
    world
        .store
        .messages
        .values()
        .map(|message| message.owed.clone())
        .collect()
}

#[test]
fn a_device_that_was_away_gets_nothing_that_another_has_read() {
    let (mut world, kate) = world(Copies::User);
    let (_, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    leave(&mut world, soft);
    assert_eq!(send(&mut world, kate, "read at the desk"), 200);
    let soft = device(&mut world, "soft");
    world.run(Duration::from_secs(5));
    assert!(world.phones[soft].texts().is_empty());
    assert_quiet(&mut world);
}

#[test]
fn each_known_device_gets_a_copy_when_it_comes_back() {
    let (mut world, kate) = world(Copies::Device);
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    leave(&mut world, soft);
    for text in texts(0..3) {
        assert_eq!(send(&mut world, kate, &text), 200, "the desk has it");
    }
    assert_eq!(world.phones[desk].texts(), texts(0..3));
    assert_eq!(owed(&world), vec![vec![Box::from("<urn:x:soft>")]; 3]);
    world.restart();
    let soft = device(&mut world, "soft");
    world.run(Duration::from_secs(5));
    assert_eq!(
        world.phones[soft].texts(),
        texts(0..3),
        "in order, from another address"
    );
    assert_eq!(world.phones[desk].texts(), texts(0..3), "once");
    assert!(stored(&world).is_empty());
    assert_quiet(&mut world);
}

#[test]
fn nothing_is_written_when_all_known_devices_take_a_message_at_once() {
    let (mut world, kate) = world(Copies::Device);
    let devices = [device(&mut world, "desk"), device(&mut world, "soft")];
    world.store.failing = Some(StoreError::Io);
    assert_eq!(send(&mut world, kate, "to all"), 200);
    for phone in devices {
        assert_eq!(world.phones[phone].texts(), ["to all"]);
    }
    world.store.failing = None;
    assert!(stored(&world).is_empty());
    assert_quiet(&mut world);
}

#[test]
fn the_copy_of_a_slow_device_is_on_disk_before_the_sender_hears_200() {
    let (mut world, kate) = world(Copies::Device);
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    world.phones[soft].on_message = OnMessage::Ignore;
    let sent = world.message(kate, "1001", "slow");
    world.run_ms(450);
    assert_eq!((world.phones[desk].texts().len(), world.status(kate, sent)), (1, None));
    world.run_ms(150);
    assert_eq!(world.status(kate, sent), Some(200));
    assert_eq!(owed(&world), [[Box::from("<urn:x:soft>")]]);
    world.phones[soft].on_message = OnMessage::Take;
    world.run(Duration::from_secs(5));
    assert_eq!(world.phones[soft].texts(), ["slow"]);
    assert!(stored(&world).is_empty());
    world.run(Duration::from_secs(100));
    assert_eq!(world.phones[soft].texts(), ["slow"], "once");
    assert_quiet(&mut world);
}

#[test]
fn what_waits_for_a_device_is_not_overtaken_by_what_comes_new() {
    let (mut world, kate) = world(Copies::Device);
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    world.phones[soft].is_dead = true;
    let mut sent = Vec::new();
    for text in texts(0..4) {
        sent.push(world.message(kate, "1001", &text));
        world.run(Duration::from_secs(2));
    }
    let statuses: Vec<_> = sent.iter().map(|number| world.status(kate, *number)).collect();
    assert_eq!(statuses, [Some(200); 4]);
    world.phones[soft].is_dead = false;
    for text in texts(4..8) {
        sent.push(world.message(kate, "1001", &text));
        world.run(Duration::from_secs(20));
    }
    world.run(Duration::from_secs(100));
    assert_eq!(world.phones[desk].texts(), texts(0..8));
    assert_eq!(world.phones[soft].texts(), texts(0..8));
    let statuses: Vec<_> = sent.iter().map(|number| world.status(kate, *number)).collect();
    assert_eq!(statuses, [Some(200); 8]);
    assert!(stored(&world).is_empty());
    assert_quiet(&mut world);
}

#[test]
fn what_nobody_has_goes_to_each_known_device_and_to_one_that_is_new() {
    let (mut world, kate) = world(Copies::Device);
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    leave(&mut world, desk);
    leave(&mut world, soft);
    assert_eq!(send(&mut world, kate, "anybody?"), 202);
    let tablet = device(&mut world, "tablet");
    world.run(Duration::from_secs(1));
    assert_eq!(world.phones[tablet].texts(), ["anybody?"]);
    let other = device(&mut world, "other");
    world.run(Duration::from_secs(1));
    assert!(world.phones[other].texts().is_empty(), "somebody has it");
    for instance in ["soft", "desk"] {
        assert_eq!(stored(&world), ["anybody?"]);
        let phone = device(&mut world, instance);
        world.run(Duration::from_secs(1));
        assert_eq!(world.phones[phone].texts(), ["anybody?"], "{instance}");
    }
    assert!(stored(&world).is_empty());
    assert_quiet(&mut world);
}

#[test]
fn a_device_that_is_away_is_owed_what_another_refuses() {
    let (mut world, kate) = world(Copies::Device);
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    world.phones[desk].on_message = OnMessage::Refuse(603);
    leave(&mut world, soft);
    assert_eq!(send(&mut world, kate, "for the soft one"), 202);
    assert_eq!(owed(&world).len(), 1);
    world.phones[desk].on_message = OnMessage::Take;
    let soft = device(&mut world, "soft");
    world.run(Duration::from_secs(1));
    assert_eq!(world.phones[soft].texts(), ["for the soft one"]);
    world.phones[desk].on_message = OnMessage::Refuse(603);
    world.phones[soft].on_message = OnMessage::Refuse(486);
    assert_eq!(send(&mut world, kate, "nobody wants it"), 603);
    world.run(Duration::from_secs(60));
    assert_eq!(stored(&world).len(), usize::from(!stored(&world).is_empty()));
    assert_eq!(world.switch.audit(), Ok(()));
}

#[test]
fn a_store_that_fails_costs_the_others_their_copy_and_nobody_the_truth() {
    let (mut world, kate) = world(Copies::Device);
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    leave(&mut world, soft);
    world.store.failing = Some(StoreError::Full);
    assert_eq!(send(&mut world, kate, "x"), 200, "the desk has it");
    assert_eq!(world.phones[desk].texts(), ["x"]);
    world.phones[desk].on_message = OnMessage::Ignore;
    assert_eq!(send(&mut world, kate, "y"), 503, "nobody has it");
    world.store.failing = None;
    world.phones[desk].on_message = OnMessage::Take;
    world.run(Duration::from_secs(60));
    assert_quiet(&mut world);
}

#[test]
fn a_device_unseen_for_longest_is_forgotten_with_what_it_was_owed() {
    let (mut world, kate) = world(Copies::Device);
    let first = device(&mut world, "0");
    leave(&mut world, first);
    let desk = device(&mut world, "desk");
    assert_eq!(send(&mut world, kate, "x"), 200);
    assert_eq!(stored(&world), ["x"]);
    for instance in 1..8 {
        let phone = device(&mut world, &instance.to_string());
        leave(&mut world, phone);
    }
    world.run(Duration::from_secs(1));
    assert!(stored(&world).is_empty(), "nobody else was owed it");
    let of_jim = world.store.devices.keys().filter(|(aor, _)| aor.user() == "1001");
    assert_eq!(of_jim.count(), 8);
    assert_eq!(world.phones[desk].texts(), ["x"]);
    world.jump_wall(Duration::from_secs(31 * 86_400));
    assert_eq!(send(&mut world, kate, "a month later"), 200);
    assert!(stored(&world).is_empty(), "nobody is expected back after a month");
    assert_quiet(&mut world);
}

#[test]
fn a_reload_from_one_way_to_the_other_loses_nothing() {
    for (before, after) in [(Copies::User, Copies::Device), (Copies::Device, Copies::User)] {
        let (mut world, kate) = world(before);
        let desk = device(&mut world, "desk");
        leave(&mut world, desk);
        for text in texts(0..3) {
            assert_eq!(send(&mut world, kate, &text), 202);
        }
        let mut settings = config();
        settings.im.copies = after;
        world.reload(settings);
        let desk = device(&mut world, "desk");
        world.run(Duration::from_secs(5));
        assert_eq!(world.phones[desk].texts(), texts(0..3), "{before:?}");
        assert!(stored(&world).is_empty(), "{before:?}");
        assert_eq!(figure(&world, "messages_waiting"), 0, "{before:?}");
        assert_quiet(&mut world);
    }
}

/// What a test may count on at a kill: each device has all that was acknowledged, in order; the one in flight perhaps twice.
#[test]
fn a_kill_at_any_moment_loses_no_copy_and_keeps_the_order() {
    for kill_ms in (0..400).step_by(23) {
        let (mut world, kate) = world(Copies::Device);
        let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
        leave(&mut world, soft);
        world.store.delay = Duration::from_millis(3);
        let sent: Vec<u64> = texts(0..10)
            .iter()
            .map(|text| {
                let number = world.message(kate, "1001", text);
                world.run_ms(15);
                number
            })
            .collect();
        let soft = world.phone("1001");
        world.phones[soft].contact_params = ";+sip.instance=\"<urn:x:soft>\"".into();
        world.with(soft, |phone, now| phone.register(now, 3_600));
        world.run_ms(kill_ms);
        world.restart();
        for phone in [desk, soft] {
            world.with(phone, |phone, _| phone.reboot());
            world.register(phone);
        }
        world.run(Duration::from_secs(60));
        let acknowledged: Vec<String> = texts(0..10)
            .into_iter()
            .zip(&sent)
            .filter(|(_, number)| matches!(world.status(kate, **number), Some(200 | 202)))
            .map(|(text, _)| text)
            .collect();
        for phone in [desk, soft] {
            let mut got = world.phones[phone].texts();
            got.dedup();
            got.retain(|text| acknowledged.contains(text));
            assert_eq!(got, acknowledged, "killed after {kill_ms} ms");
        }
        assert!(stored(&world).is_empty());
        assert_eq!(world.switch.audit(), Ok(()));
    }
}

#[test]
fn a_notification_is_owed_to_those_devices_alone_that_take_it() {
    let (mut world, _) = world(Copies::Device);
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    let sent = notices::send(&mut world, soft, "1000", CPIM, &envelope("a1", "hello"));
    assert_eq!(sent, 200);
    world.run(Duration::from_secs(1));
    assert_eq!(told(&world, soft), [("a1".into(), Mark::Delivered)]);
    assert!(world.phones[desk].taken.is_empty());
    assert!(
        owed(&world).is_empty(),
        "nothing waits for a desk phone that never takes it"
    );
    assert_quiet(&mut world);
}

/// Kate has written "to both"; the desk phone has it, and the copy of the softphone waits: in its queue, or while it is also with
/// the softphone, which says nothing.
fn a_copy_is_kept(is_late: bool) -> (World, usize, usize) {
    let (mut world, kate) = world(Copies::Device);
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    match is_late {
        false => leave(&mut world, soft),
        true => world.phones[soft].on_message = OnMessage::Ignore,
    }
    assert_eq!(send(&mut world, kate, "to both"), 200);
    (world, kate, desk)
}

#[test]
fn a_copy_that_its_device_refuses_for_good_has_come_to_an_end() {
    for is_late in [false, true] {
        let (mut world, kate, desk) = a_copy_is_kept(is_late);
        let soft = refusing(&mut world, "soft", 415);
        // Its old address is asked, too.
        world.run(Duration::from_secs(120));
        assert_eq!(world.phones[desk].texts(), ["to both"]);
        assert!(owed(&world).is_empty(), "{is_late}");
        leave(&mut world, soft);
        let soft = device(&mut world, "soft");
        assert_eq!(send(&mut world, kate, "later"), 200);
        world.run(Duration::from_secs(1));
        assert_eq!(world.phones[soft].texts(), ["later"]);
        assert_quiet(&mut world);
    }
}

#[test]
fn a_device_that_is_busy_gets_the_copy_that_waits_for_it_a_while_later() {
    for is_late in [false, true] {
        let (mut world, _, desk) = a_copy_is_kept(is_late);
        let soft = refusing(&mut world, "soft", 486);
        world.run(Duration::from_secs(10));
        assert_eq!(owed(&world), [[Box::from("<urn:x:soft>")]]);
        world.phones[soft].on_message = OnMessage::Take;
        world.run(Duration::from_secs(60));
        let all = [desk, soft].map(|phone| world.phones[phone].texts());
        assert_eq!(all, [["to both"], ["to both"]]);
        assert!(owed(&world).is_empty());
        assert_quiet(&mut world);
    }
}

#[test]
fn what_all_refuse_after_its_sender_was_told_202_waits_for_another_device_alone() {
    for copies in [Copies::User, Copies::Device] {
        let (mut world, kate) = world(copies);
        let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
        let devices = [desk, soft];
        all_do(&mut world, devices, OnMessage::Ignore);
        assert_eq!(send(&mut world, kate, "one"), 202);
        all_do(&mut world, devices, OnMessage::Refuse(415));
        world.run(Duration::from_secs(20));
        all_do(&mut world, devices, OnMessage::Take);
        assert_eq!(send(&mut world, kate, "two"), 200, "it holds up nothing");
        for phone in devices {
            leave(&mut world, phone);
        }
        let devices = ["desk", "soft"].map(|instance| device(&mut world, instance));
        world.run(Duration::from_secs(60));
        assert_eq!(send(&mut world, kate, "three"), 200);
        world.run(Duration::from_secs(1));
        for phone in devices {
            assert_eq!(
                world.phones[phone].texts(),
                ["three"],
                "not behind what was later: {copies:?}"
            );
        }
        assert_eq!(stored(&world), ["one"]);
        let tablet = device(&mut world, "tablet");
        world.run(Duration::from_secs(1));
        assert_eq!(world.phones[tablet].texts(), ["one"]);
        assert!(stored(&world).is_empty(), "{copies:?}");
        assert_quiet(&mut world);
    }
}

#[test]
fn what_all_are_too_busy_for_is_owed_to_each_of_them_also_when_one_has_it() {
    let (mut world, kate) = world(Copies::Device);
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    all_do(&mut world, [desk, soft], OnMessage::Ignore);
    assert_eq!(send(&mut world, kate, "one"), 202);
    all_do(&mut world, [desk, soft], OnMessage::Refuse(486));
    world.run(Duration::from_secs(8));
    world.phones[soft].on_message = OnMessage::Take;
    leave(&mut world, desk);
    world.run(Duration::from_secs(60));
    assert_eq!(world.phones[soft].texts(), ["one"]);
    let desk = device(&mut world, "desk");
    world.run(Duration::from_secs(1));
    assert_eq!(world.phones[desk].texts(), ["one"]);
    assert!(owed(&world).is_empty());
    assert_quiet(&mut world);
}

#[test]
fn what_no_device_takes_yet_comes_to_the_first_that_says_it_does() {
    for copies in [Copies::User, Copies::Device] {
        let (mut world, kate) = world(copies);
        let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
        leave(&mut world, desk);
        assert_eq!(send(&mut world, kate, "one"), 200);
        // Not one of those that are registered: nobody knows one that takes envelopes.
        let other = world.phone("1001");
        let sent = notices::send(&mut world, other, "1000", CPIM, &envelope("a1", "hello"));
        assert_eq!(sent, 200);
        world.run(Duration::from_secs(60));
        assert_eq!(told(&world, soft), []);
        let contact = format!("<{}>;+sip.instance=\"<urn:x:soft>\"", world.phones[soft].contact());
        let headers = Headers::new().with(Name::Contact, contact).with(Name::Accept, CPIM);
        world.with(soft, |phone, now| phone.register_with(now, headers));
        world.run(Duration::from_secs(1));
        assert_eq!(told(&world, soft), [("a1".into(), Mark::Delivered)], "{copies:?}");
        assert_quiet(&mut world);
    }
}

#[test]
fn how_much_waits_is_set_right_each_minute_and_what_had_been_forgotten_goes_out() {
    let (mut world, kate) = world(Copies::Device);
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    leave(&mut world, soft);
    assert_eq!(send(&mut world, kate, "one"), 200);
    let (id, message) = world.store.messages.pop_first().unwrap();
    leave(&mut world, desk);
    world.run(Duration::from_secs(65));
    assert_eq!(figure(&world, "messages_waiting"), 0);
    let soft = device(&mut world, "soft");
    world.store.messages.insert(id, message);
    world.run(Duration::from_secs(65));
    assert_eq!(world.phones[soft].texts(), ["one"]);
    assert_eq!(figure(&world, "messages_waiting"), 0);
    assert_quiet(&mut world);
}

#[test]
fn a_copy_that_a_device_took_while_the_disk_failed_is_off_the_disk_when_it_is_well() {
    let (mut world, kate) = world(Copies::Device);
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    leave(&mut world, soft);
    world.phones[desk].on_message = OnMessage::Ignore;
    let sent = world.message(kate, "1001", "one");
    // It is stored for the one that is away; the other one takes it, and the disk fails.
    world.run_ms(300);
    world.phones[desk].on_message = OnMessage::Take;
    world.store.failing = Some(StoreError::Io);
    assert_eq!(world.finish(kate, sent), 200);
    world.store.failing = None;
    let soft = device(&mut world, "soft");
    world.run(Duration::from_secs(5));
    let all = [desk, soft].map(|phone| world.phones[phone].texts());
    assert_eq!(all, [["one"], ["one"]]);
    assert!(owed(&world).is_empty());
    // How much waits is counted once a minute.
    world.run(Duration::from_secs(60));
    assert_quiet(&mut world);
}

#[test]
fn a_copy_that_a_device_took_before_the_disk_said_that_it_had_not_kept_it_is_counted_once() {
    let (mut world, kate) = world(Copies::Device);
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    leave(&mut world, soft);
    world.store.delay = Duration::from_millis(200);
    world.store.failing = Some(StoreError::Io);
    let sent = world.message(kate, "1001", "one");
    let limit = Duration::from_secs(1);
    assert!(world.run_until(limit, |world| !world.phones[desk].taken.is_empty()));
    // What is asked from now on works.
    world.store.failing = None;
    assert_eq!(world.finish(kate, sent), 200);
    world.run(Duration::from_secs(1));
    assert_eq!((figure(&world, "messages_waiting"), owed(&world).len()), (1, 1));
    let soft = device(&mut world, "soft");
    world.run(Duration::from_secs(1));
    assert_eq!(world.phones[soft].texts(), ["one"]);
    assert_quiet(&mut world);
}

#[test]
fn nothing_is_stored_for_nobody_when_one_took_it_one_refused_it_and_an_old_address_is_silent() {
    let (mut world, kate) = world(Copies::Device);
    let old = device(&mut world, "desk");
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    world.phones[old].is_dead = true;
    world.phones[soft].on_message = OnMessage::Refuse(488);
    assert_eq!(send(&mut world, kate, "one"), 200);
    world.run(Duration::from_secs(60));
    assert_eq!(world.phones[desk].texts(), ["one"]);
    assert!(owed(&world).is_empty());
    assert_quiet(&mut world);
}

#[test]
fn what_a_device_takes_from_the_store_is_counted_off_once_while_another_copy_of_it_is_under_way() {
    let (mut world, kate) = world(Copies::Device);
    let old = device(&mut world, "desk");
    let (_, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    world.phones[old].is_dead = true;
    leave(&mut world, soft);
    for text in texts(0..2) {
        assert_eq!(send(&mut world, kate, &text), 200);
    }
    let soft = world.phone("1001");
    world.phones[soft].contact_params = ";+sip.instance=\"<urn:x:soft>\"".into();
    world.with(soft, |phone, now| phone.register(now, 600));
    for _ in 0..200 {
        world.run_ms(1);
        let waiting = figure(&world, "messages_waiting");
        assert!(
            waiting >= stored(&world).len() as u64,
            "{waiting} of {:?}",
            stored(&world)
        );
    }
    assert_eq!(world.phones[soft].texts(), texts(0..2));
    assert_quiet(&mut world);
}

#[test]
fn an_envelope_that_tells_that_its_device_takes_them_comes_once() {
    let (mut world, kate) = world(Copies::Device);
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    leave(&mut world, desk);
    let ann = world.phone("1002");
    assert_eq!(world.register(ann), 200);
    let contact = format!("<{}>;+sip.instance=\"<urn:x:soft>\"", world.phones[soft].contact());
    let headers = Headers::new().with(Name::Contact, contact).with(Name::Accept, CPIM);
    world.with(soft, |phone, now| phone.register_with(now, headers));
    world.run_ms(50);
    world.phones[soft].on_message = OnMessage::Ignore;
    // What is sent again after half a second is refused, and then taken.
    for (phone, name, on_message) in [(kate, "a1", OnMessage::Ignore), (ann, "a2", OnMessage::Refuse(415))] {
        world.phones[soft].on_message = OnMessage::Ignore;
        let body = envelope(name, name);
        world.with(phone, |phone, now| phone.message(now, "1001", CPIM, &body));
        world.run_ms(250);
        world.phones[soft].on_message = on_message;
    }
    world.run_ms(150);
    world.phones[soft].on_message = OnMessage::Take;
    world.run(Duration::from_secs(2));
    let all = world.phones[soft].texts();
    let second = all.iter().filter(|text| text.contains("a2")).count();
    assert_eq!(second, 1, "{all:?}");
    assert_quiet(&mut world);
}

#[test]
fn what_the_disk_could_not_forget_when_a_device_took_it_does_not_come_again() {
    let (mut world, kate) = world(Copies::Device);
    let desk = device(&mut world, "desk");
    world.phones[desk].on_message = OnMessage::Ignore;
    assert_eq!(send(&mut world, kate, "one"), 202);
    let (id, message) = world.store.messages.first_key_value().unwrap();
    let kept = (*id, message.clone());
    world.store.failing = Some(StoreError::Io);
    world.phones[desk].on_message = OnMessage::Take;
    world.run(Duration::from_secs(5));
    assert_eq!(world.phones[desk].texts(), ["one"]);
    world.store.failing = None;
    world.run_ms(10);
    // It takes its time.
    world.store.messages.insert(kept.0, kept.1.clone());
    let soft = device(&mut world, "soft");
    assert_eq!(send(&mut world, kate, "two"), 200);
    world.store.messages.insert(kept.0, kept.1);
    world.run(Duration::from_secs(130));
    let all = [desk, soft].map(|phone| world.phones[phone].texts());
    assert_eq!(all, [vec!["one", "two"], vec!["two"]]);
    assert!(stored(&world).is_empty());
    assert_quiet(&mut world);
}

#[test]
fn what_had_been_forgotten_is_found_also_while_something_is_stored_for_others() {
    let (mut world, kate) = world(Copies::Device);
    let (_, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    leave(&mut world, soft);
    assert_eq!(send(&mut world, kate, "one"), 200);
    let (id, message) = world.store.messages.pop_first().unwrap();
    world.run(Duration::from_secs(65));
    let soft = device(&mut world, "soft");
    world.store.messages.insert(id, message);
    world.store.delay = Duration::from_secs(1);
    let since = world.now.mono;
    let began = clock::Mono(1_000_000_000);
    // The store is asked two minutes after the start.
    world.run(Duration::from_millis(120_500).saturating_sub(since.since(began)));
    world.message(kate, "1005", "for somebody else");
    world.run(Duration::from_secs(10));
    assert_eq!(world.phones[soft].texts(), ["one"]);
    assert_quiet(&mut world);
}

#[test]
fn a_refused_copy_that_the_store_has_forgotten_since_blocks_nothing() {
    let (mut world, kate) = world(Copies::Device);
    let (desk, soft) = (device(&mut world, "desk"), device(&mut world, "soft"));
    world.phones[desk].on_message = OnMessage::Refuse(503);
    assert_eq!(send(&mut world, kate, "one"), 200, "the soft phone has it");
    world.run(Duration::from_secs(1));
    // The next try is the last, and the disk fails.
    world.phones[desk].on_message = OnMessage::Refuse(488);
    let limit = Duration::from_secs(60);
    let asked = |world: &World| world.phones[desk].requests.len();
    let before = asked(&world);
    assert!(world.run_until(limit, |world| asked(world) > before));
    world.store.failing = Some(StoreError::Io);
    world.run_ms(100);
    world.store.failing = None;
    world.phones[desk].on_message = OnMessage::Refuse(503);
    assert_eq!(send(&mut world, kate, "two"), 200);
    world.run(Duration::from_secs(70));
    world.phones[desk].on_message = OnMessage::Take;
    world.run(Duration::from_secs(1_000));
    assert_eq!(world.phones[desk].texts(), ["two"]);
    assert_eq!(world.phones[soft].texts(), ["one", "two"]);
    assert_quiet(&mut world);
}
