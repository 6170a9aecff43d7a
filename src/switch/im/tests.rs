//! Messages seen from outside, in virtual time.

mod bodies;
mod copies;
mod discard;
mod names;
pub(super) mod notices;
mod policy;
mod retry;

use crate::Command;
use crate::core::cx;
use crate::im::{Fate, Guise, Post};
use crate::room::Room;
use crate::testing::{OnMessage, World, config};
use clock::Mono;
use model::{Aor, StoreError};
use sip::{Body, Headers, Message, Method, Name, Transport};
use std::time::Duration;

/// Kate (1000) and Jim (1001), registered.
fn pair() -> (World, usize, usize) {
    let mut world = World::new(config(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    assert_eq!((world.register(kate), world.register(jim)), (200, 200));
    (world, kate, jim)
}

fn stored(world: &World) -> Vec<String> {
    let text = |message: &model::StoredMessage| String::from_utf8_lossy(&message.body).into_owned();
    world.store.messages.values().map(text).collect()
}

fn figure(world: &World, name: &str) -> u64 {
    world
        .switch
        .counters()
        .values
        .iter()
        .find(|value| value.0 == name)
        .unwrap()
        .1
}

fn texts(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!("text {n}")).collect()
}

/// Nothing of it is left in the switch.
fn assert_quiet(world: &mut World) {
    world.run(Duration::from_secs(40));
    assert_eq!(world.switch.audit(), Ok(()));
    assert_eq!(figure(world, "messages_under_way"), 0);
    assert_eq!(figure(world, "messages_waiting"), world.store.messages.len() as u64);
}

#[test]
fn a_message_reaches_every_device_and_its_sender_hears_200() {
    let (mut world, kate, desk) = pair();
    let soft = world.phone("1001");
    world.register(soft);
    let sent = world.message(kate, "1001", "hello");
    assert_eq!(world.finish(kate, sent), 200);
    world.run_ms(10);
    assert_eq!(
        (world.phones[desk].texts(), world.phones[soft].texts()),
        (vec!["hello".into()], vec!["hello".into()])
    );
    assert!(world.store.messages.is_empty());
    assert_quiet(&mut world);
}

#[test]
fn what_a_device_gets_is_from_the_sender_and_dated() {
    let mut settings = config();
    settings.im.types = vec!["*/*".into()];
    let mut world = World::new(settings, 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    assert_eq!((world.register(kate), world.register(jim)), (200, 200));
    let body = b"bin\0ary\r\n\r\n\xff".to_vec();
    let number = world.with(kate, |phone, now| {
        phone.message(now, "1001", "application/x-odd; a=\"b;c\"", &body)
    });
    assert_eq!(world.finish(kate, number), 200);
    let got = &world.phones[jim].taken[0].1;
    assert_eq!(got.body(), body);
    assert_eq!(
        got.header(Name::ContentType),
        Some(&b"application/x-odd; a=\"b;c\""[..])
    );
    let from = String::from_utf8_lossy(got.header(Name::From).unwrap()).into_owned();
    assert!(from.starts_with("\"User 1000\" <sip:1000@example.com>;tag="), "{from}");
    assert_eq!(got.header(Name::To), Some(&b"<sip:1001@example.com>"[..]));
    assert_eq!(got.request_uri(), b"sip:1001@127.0.0.1:20001");
    assert!(got.header(Name::Date).unwrap().starts_with(b"Thu, 01 Jan 2026 00:00:0"));
    assert_ne!(got.call_id(), world.phones[kate].answer(number).unwrap().call_id());
    assert!(got.header(Name::Authorization).is_none());
}

#[test]
fn an_unknown_reader_is_404_and_one_without_device_is_stored() {
    let (mut world, kate, _) = pair();
    let sent = world.message(kate, "4711", "x");
    assert_eq!(world.finish(kate, sent), 404);
    let sent = world.message(kate, "1005", "for later");
    assert_eq!(world.finish(kate, sent), 202);
    assert_eq!(stored(&world), ["for later"]);
    assert_quiet(&mut world);
}

#[test]
fn the_202_waits_for_the_disk() {
    let (mut world, kate, _) = pair();
    world.store.delay = Duration::from_millis(700);
    let sent = world.message(kate, "1005", "x");
    world.run_ms(600);
    assert_eq!(world.status(kate, sent), None);
    world.run_ms(200);
    assert_eq!(world.status(kate, sent), Some(202));
}

#[test]
fn a_store_that_fails_is_told_truthfully() {
    let (mut world, kate, _) = pair();
    for why in [
        StoreError::Full,
        StoreError::Io,
        StoreError::Busy,
        StoreError::Locked,
        StoreError::Corrupt,
    ] {
        world.store.failing = Some(why);
        let sent = world.message(kate, "1005", "x");
        assert_eq!(world.finish(kate, sent), 503, "{why}");
        assert!(
            world.phones[kate]
                .answer(sent)
                .unwrap()
                .header(Name::RetryAfter)
                .is_some()
        );
    }
    world.store.failing = None;
    let sent = world.message(kate, "1005", "x");
    assert_eq!(world.finish(kate, sent), 202);
    assert_quiet(&mut world);
}

#[test]
fn without_storing_an_absent_reader_is_480() {
    let mut settings = config();
    settings.im.store = false;
    let mut world = World::new(settings, 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    world.register(kate);
    world.register(jim);
    let sent = world.message(kate, "1005", "x");
    assert_eq!(world.finish(kate, sent), 480);
    world.phones[jim].on_message = OnMessage::Ignore;
    let begun = world.now.mono;
    let sent = world.message(kate, "1001", "x");
    assert_eq!(world.finish(kate, sent), 480);
    assert_eq!(world.now.mono.since(begun).as_millis() / 100, 79);
    assert_quiet(&mut world);
}

#[test]
fn stored_messages_come_in_order_when_their_reader_registers() {
    let (mut world, kate, _) = pair();
    for text in texts(0..40) {
        let sent = world.message(kate, "1005", &text);
        assert_eq!(world.finish(kate, sent), 202);
    }
    world.restart();
    let late = world.phone("1005");
    assert_eq!(world.register(late), 200);
    world.run(Duration::from_secs(2));
    assert_eq!(world.phones[late].texts(), texts(0..40));
    assert!(world.store.messages.is_empty());
    assert_quiet(&mut world);
    let sent = world.message(kate, "1005", "now");
    assert_eq!(world.finish(kate, sent), 200);
}

#[test]
fn the_next_stored_message_goes_only_after_the_one_before() {
    let (mut world, kate, _) = pair();
    for text in texts(0..3) {
        world.message(kate, "1005", &text);
        world.run_ms(10);
    }
    world.network.delay = Duration::from_millis(100);
    let late = world.phone("1005");
    world.register(late);
    world.run(Duration::from_secs(3));
    let times: Vec<Mono> = world.phones[late].taken.iter().map(|(at, _)| *at).collect();
    assert_eq!(times.len(), 3);
    assert!(times[1].since(times[0]).as_millis() >= 200 && times[2].since(times[1]).as_millis() >= 200);
}

#[test]
fn a_stored_message_keeps_the_date_of_its_acceptance() {
    let (mut world, kate, _) = pair();
    let sent = world.message(kate, "1005", "x");
    world.finish(kate, sent);
    world.run(Duration::from_secs(3_600));
    let late = world.phone("1005");
    world.register(late);
    world.run_ms(100);
    let date = world.phones[late].taken[0].1.header(Name::Date).unwrap().to_vec();
    assert!(
        date.starts_with(b"Thu, 01 Jan 2026 00:00:0"),
        "{}",
        String::from_utf8_lossy(&date)
    );
}

/// The rule of 8 seconds, with a device that swallows everything.
#[test]
fn a_dead_device_does_not_hide_the_truth() {
    let (mut world, kate, jim) = pair();
    world.phones[jim].is_dead = true;
    let begun = world.now.mono;
    let sent = world.message(kate, "1001", "anybody?");
    world.run_ms(7_850);
    assert_eq!((world.status(kate, sent), stored(&world).len()), (None, 0));
    world.run_ms(100);
    assert_eq!((world.status(kate, sent), stored(&world).len()), (Some(202), 1));
    assert!(world.now.mono.since(begun) < Duration::from_secs(8));
    world.run(Duration::from_secs(40));
    assert_eq!(world.switch.audit(), Ok(()));
    assert_eq!(stored(&world), ["anybody?"]);
}

#[test]
fn a_device_that_takes_it_late_takes_it_off_the_disk() {
    let (mut world, kate, jim) = pair();
    world.phones[jim].on_message = OnMessage::Ignore;
    let sent = world.message(kate, "1001", "slow");
    world.run_ms(8_100);
    assert_eq!((world.status(kate, sent), stored(&world).len()), (Some(202), 1));
    world.phones[jim].on_message = OnMessage::Take;
    world.run_ms(5_000);
    assert_eq!(
        (world.phones[jim].texts(), stored(&world).len()),
        (vec!["slow".into()], 0)
    );
    assert_quiet(&mut world);
    assert_eq!(world.phones[jim].texts(), ["slow"], "once");
}

#[test]
fn a_device_that_answers_after_it_was_given_up_gets_no_second_copy() {
    let (mut world, kate, jim) = pair();
    world.phones[jim].on_message = OnMessage::Ignore;
    world.message(kate, "1001", "slow");
    world.run_ms(31_200);
    world.phones[jim].on_message = OnMessage::Take;
    // The last copy goes at 31.5 s, nobody waits for an answer after 32 s, and the next try is at 47 s.
    world.network.delay = Duration::from_secs(1);
    world.run_ms(1_700);
    assert_eq!((world.phones[jim].texts().len(), stored(&world).len()), (1, 1));
    world.network.delay = Duration::from_millis(1);
    world.run_ms(1_000);
    assert!(stored(&world).is_empty(), "the late 200 counts");
    world.run(Duration::from_secs(60));
    assert_eq!(world.phones[jim].texts(), ["slow"]);
    assert_quiet(&mut world);
}

#[test]
fn a_late_answer_recalls_the_copy_that_is_on_its_way_again() {
    let (mut world, kate, jim) = pair();
    world.phones[jim].on_message = OnMessage::Ignore;
    world.message(kate, "1001", "first");
    world.run_ms(31_200);
    world.phones[jim].on_message = OnMessage::Take;
    world.network.delay = Duration::from_secs(9);
    world.message(kate, "1001", "second");
    // The copy of 31.5 s is answered at 49.5 s, when the next try is under way.
    world.run_ms(20_000);
    assert_eq!(stored(&world), ["second"]);
    world.network.delay = Duration::from_millis(1);
    world.run(Duration::from_secs(120));
    assert!(stored(&world).is_empty());
    assert_quiet(&mut world);
}

#[test]
fn a_device_that_takes_it_while_the_disk_writes_wins() {
    let (mut world, kate, jim) = pair();
    world.phones[jim].is_dead = true;
    world.store.delay = Duration::from_secs(5);
    let sent = world.message(kate, "1001", "race");
    world.run_ms(8_100);
    world.phones[jim].is_dead = false;
    assert_eq!(world.finish(kate, sent), 200);
    assert_quiet(&mut world);
    assert_eq!(
        (world.phones[jim].texts(), stored(&world).len()),
        (vec!["race".into()], 0)
    );
}

#[test]
fn what_a_dead_device_missed_comes_when_it_is_back() {
    let (mut world, kate, jim) = pair();
    world.phones[jim].is_dead = true;
    for text in texts(0..5) {
        world.message(kate, "1001", &text);
        world.run_ms(3_000);
    }
    world.run(Duration::from_secs(60));
    world.phones[jim].is_dead = false;
    world.with(jim, |phone, _| phone.reboot());
    assert_eq!(world.register(jim), 200);
    world.run(Duration::from_secs(20));
    assert_eq!(world.phones[jim].texts(), texts(0..5));
    assert_quiet(&mut world);
    assert!(stored(&world).is_empty());
}

#[test]
fn a_dead_device_is_tried_again_without_a_register() {
    let (mut world, kate, jim) = pair();
    world.phones[jim].is_dead = true;
    world.message(kate, "1001", "later");
    world.run(Duration::from_secs(50));
    world.phones[jim].is_dead = false;
    world.run(Duration::from_secs(60));
    assert_eq!(world.phones[jim].texts(), ["later"]);
    assert!(stored(&world).is_empty());
}

#[test]
fn a_new_device_gets_at_once_what_an_old_one_swallows() {
    let (mut world, kate, jim) = pair();
    world.phones[jim].is_dead = true;
    world.message(kate, "1001", "to whom?");
    world.run_ms(9_000);
    let soft = world.phone("1001");
    world.register(soft);
    world.run_ms(1_000);
    assert_eq!(world.phones[soft].texts(), ["to whom?"]);
    assert!(stored(&world).is_empty());
    assert_quiet(&mut world);
}

#[test]
fn one_sender_is_never_overtaken_by_itself() {
    let (mut world, kate, jim) = pair();
    world.network.faults.loss = 300;
    world.network.faults.reordering = 500;
    world.network.faults.duplication = 100;
    let mut sent = Vec::new();
    // Which number each message was given, in the order of acceptance, by its name on the wire.
    let mut accepted_as = std::collections::BTreeMap::new();
    for ms in 0..64_200 {
        if ms % 70 == 0 && sent.len() < 60 {
            sent.push(world.message(kate, "1001", &format!("text {}", sent.len())));
        }
        world.run_ms(1);
        for delivery in world.switch.im.deliveries.values() {
            accepted_as.insert(delivery.letter.name(), delivery.letter.id);
        }
    }
    world.network.faults = Default::default();
    world.register(jim);
    world.run(Duration::from_secs(600));
    // A message may have been lost between sender and switch; the sender knows then.
    let accepted: Vec<String> = texts(0..60)
        .into_iter()
        .zip(&sent)
        .filter(|(_, number)| matches!(world.status(kate, **number), Some(200 | 202)))
        .map(|(text, _)| text)
        .collect();
    assert!(accepted.len() > 30, "{}", accepted.len());
    let mut seen = std::collections::BTreeSet::new();
    let taken = world.phones[jim].taken.iter().map(|(_, message)| {
        let call_id = std::str::from_utf8(message.call_id()).unwrap();
        accepted_as[call_id.split('@').next().unwrap()]
    });
    let first_copies: Vec<model::MessageId> = taken.filter(|id| seen.insert(*id)).collect();
    assert!(first_copies.is_sorted() && first_copies.len() >= accepted.len());
    let texts = world.phones[jim].texts();
    assert!(
        accepted.iter().all(|text| texts.contains(text)),
        "nothing accepted is lost"
    );
    assert!(stored(&world).is_empty());
    assert_quiet(&mut world);
}

#[test]
fn a_new_message_does_not_overtake_stored_ones() {
    let (mut world, kate, jim) = pair();
    world.phones[jim].is_dead = true;
    world.message(kate, "1001", "first");
    world.run_ms(8_100);
    world.phones[jim].is_dead = false;
    world.phones[jim].on_message = OnMessage::Ignore;
    let sent = world.message(kate, "1001", "second");
    assert_eq!(world.finish(kate, sent), 202, "behind the first");
    assert_eq!(stored(&world), ["first", "second"]);
    world.phones[jim].on_message = OnMessage::Take;
    world.run(Duration::from_secs(60));
    assert_eq!(world.phones[jim].texts(), ["first", "second"]);
}

/// What is with a device when it is stored may lie before what a run of the queue has loaded already.
#[test]
fn a_run_of_the_queue_waits_for_what_is_with_a_device_and_came_before() {
    let (mut world, kate, jim) = pair();
    let ann = world.phone("1002");
    world.register(ann);
    let (take, ignore) = (OnMessage::Take, OnMessage::Ignore);
    world.phones[jim].on_message = ignore;
    world.message(ann, "1001", "ann 1");
    world.run_ms(4_200);
    world.message(kate, "1001", "kate 1");
    world.run_ms(100);
    world.message(ann, "1001", "ann 2");
    world.run_ms(7_150);
    world.store.delay = Duration::from_secs(1);
    // Ann's first one is taken as it comes again at 11.5 s: the run begins, and the disk is slow.
    world.phones[jim].on_message = take;
    world.run_ms(150);
    // Kate's comes again at 11.7 s and 15.7 s; at 12.1 s it is stored.
    world.phones[jim].on_message = ignore;
    world.run_ms(600);
    world.phones[jim].on_message = take;
    world.message(kate, "1001", "kate 2");
    world.run_ms(3_300);
    assert_eq!(world.phones[jim].texts(), ["ann 1", "ann 2"]);
    world.run_ms(6_000);
    assert_eq!(world.phones[jim].texts(), ["ann 1", "ann 2", "kate 1", "kate 2"]);
    assert_quiet(&mut world);
}

#[test]
fn a_queue_goes_out_while_more_is_written_than_the_disk_takes_at_a_time() {
    let (mut world, kate, _) = pair();
    for n in 0..3 {
        let sent = world.message(kate, "1005", &format!("text {n}"));
        assert_eq!(world.finish(kate, sent), 202);
    }
    let writers: Vec<usize> = (2..5).map(|n| world.phone(&format!("100{n}"))).collect();
    writers.iter().for_each(|writer| {
        world.register(*writer);
    });
    world.store.delay = Duration::from_millis(100);
    let ann = world.phone("1005");
    world.register(ann);
    for turn in 0..40 {
        world.message(writers[turn % 3], "1005", "more");
        world.run_ms(50);
    }
    assert_eq!(world.phones[ann].texts()[..3], texts(0..3));
}

#[test]
fn messages_of_others_do_not_wait_for_a_slow_one() {
    let (mut world, kate, jim) = pair();
    let ann = world.phone("1002");
    world.register(ann);
    world.phones[jim].on_message = OnMessage::Ignore;
    world.message(kate, "1001", "swallowed");
    world.run_ms(600);
    world.phones[jim].on_message = OnMessage::Take;
    let sent = world.message(ann, "1001", "from ann");
    world.run_ms(50);
    assert_eq!(world.status(ann, sent), Some(200));
}

#[test]
fn the_best_refusal_is_told() {
    for (desk_says, soft_says, told) in [
        (415, 415, 415),
        (486, 415, 486),
        (405, 603, 603),
        (501, 413, 413),
        (404, 405, 405),
    ] {
        let (mut world, kate, desk) = pair();
        let soft = world.phone("1001");
        world.register(soft);
        world.phones[desk].on_message = OnMessage::Refuse(desk_says);
        world.phones[soft].on_message = OnMessage::Refuse(soft_says);
        let sent = world.message(kate, "1001", "x");
        assert_eq!(world.finish(kate, sent), told);
        let answer = world.phones[kate].answer(sent).unwrap();
        assert_eq!(answer.header(Name::Accept).is_some(), told == 415);
        assert!(stored(&world).is_empty());
        assert_quiet(&mut world);
    }
}

#[test]
fn one_device_that_takes_it_is_enough() {
    let (mut world, kate, desk) = pair();
    let soft = world.phone("1001");
    world.register(soft);
    world.phones[desk].on_message = OnMessage::Refuse(603);
    let sent = world.message(kate, "1001", "x");
    assert_eq!(world.finish(kate, sent), 200);
    assert_quiet(&mut world);
}

#[test]
fn a_device_that_is_unable_now_leaves_the_message_on_disk() {
    for status in [404, 403, 408, 480, 481, 500, 503, 401, 407, 302] {
        let (mut world, kate, jim) = pair();
        world.phones[jim].on_message = OnMessage::Refuse(status);
        let sent = world.message(kate, "1001", "later");
        assert_eq!(world.finish(kate, sent), 202, "{status}");
        world.phones[jim].on_message = OnMessage::Take;
        world.run(Duration::from_secs(30));
        assert_eq!(
            (world.phones[jim].texts(), stored(&world).len()),
            (vec!["later".into()], 0),
            "{status}"
        );
    }
}

#[test]
fn a_message_that_is_refused_for_ever_does_not_hold_up_the_queue() {
    let (mut world, kate, _) = pair();
    let late = world.phone("1005");
    for text in texts(0..3) {
        let sent = world.message(kate, "1005", &text);
        world.finish(kate, sent);
    }
    world.phones[late].on_message = OnMessage::Refuse(415);
    world.register(late);
    world.run(Duration::from_secs(1));
    assert_eq!(world.phones[late].requests.len(), 3, "each was tried once");
    world.run(Duration::from_secs(300));
    assert_eq!(world.phones[late].requests.len(), 3, "and not again");
    assert_eq!(stored(&world).len(), 3);
    world.phones[late].on_message = OnMessage::Take;
    let sent = world.message(kate, "1005", "plain");
    assert_eq!(world.finish(kate, sent), 200, "what comes new is not behind them");
    let soft = world.phone("1005");
    world.register(soft);
    world.run(Duration::from_secs(1));
    assert_eq!(world.phones[soft].texts(), texts(0..3), "another device gets them");
    assert_quiet(&mut world);
}

#[test]
fn a_message_that_a_device_chokes_on_is_passed_over_in_the_end() {
    let (mut world, kate, _) = pair();
    let late = world.phone("1005");
    for text in texts(0..2) {
        let sent = world.message(kate, "1005", &text);
        world.finish(kate, sent);
    }
    world.phones[late].on_message = OnMessage::Refuse(500);
    world.register(late);
    let tried = |world: &World| world.phones[late].requests.len();
    world.run_until(Duration::from_secs(7_200), |world| tried(world) == 8);
    world.phones[late].on_message = OnMessage::Take;
    world.register(late);
    world.run(Duration::from_secs(1_000));
    world.register(late);
    world.run(Duration::from_secs(2_000));
    let mut got = world.phones[late].texts();
    got.sort();
    assert_eq!(got, texts(0..2));
    assert!(stored(&world).is_empty());
}

#[test]
fn messages_too_old_are_given_up() {
    let mut settings = config();
    settings.im.keep = Duration::from_secs(600);
    let mut world = World::new(settings, 1);
    let kate = world.phone("1000");
    world.register(kate);
    let sent = world.message(kate, "1005", "old");
    world.finish(kate, sent);
    let headers = Headers::new().with(Name::Expires, "100");
    let body = Body {
        content_type: "text/plain".into(),
        content: "older".into(),
    };
    let number = world.with(kate, |phone, now| {
        phone.request(now, Method::Message, "1005", headers, Some(body))
    });
    assert_eq!(world.finish(kate, number), 202);
    world.run(Duration::from_secs(200));
    assert_eq!(stored(&world), ["old"]);
    world.run(Duration::from_secs(500));
    assert!(stored(&world).is_empty());
    assert_eq!(
        (
            figure(&world, "messages_waiting"),
            figure(&world, "messages_expired_total")
        ),
        (0, 2)
    );
    let late = world.phone("1005");
    world.register(late);
    world.run_ms(100);
    assert!(world.phones[late].texts().is_empty());
}

#[test]
fn what_means_nothing_later_is_never_stored() {
    let (mut world, kate, _) = pair();
    let headers = Headers::new().with(Name::Expires, "0");
    let body = Body {
        content_type: "text/plain".into(),
        content: "now or never".into(),
    };
    let number = world.with(kate, |phone, now| {
        phone.request(now, Method::Message, "1005", headers, Some(body))
    });
    assert_eq!(world.finish(kate, number), 480);
    assert!(stored(&world).is_empty());
    assert_quiet(&mut world);
}

#[test]
fn size_and_type_have_limits() {
    let (mut world, kate, jim) = pair();
    let large = vec![b'x'; 16_384];
    let number = world.with(kate, |phone, now| phone.message(now, "1001", "text/plain", &large));
    assert_eq!(world.finish(kate, number), 200);
    assert_eq!(world.phones[jim].taken[0].1.body(), large);
    let number = world.with(kate, |phone, now| {
        phone.message(now, "1001", "text/plain", &[b'x'; 16_385])
    });
    assert_eq!(world.finish(kate, number), 413);
    let warning = world.phones[kate].answer(number).unwrap().header(Name::Warning);
    assert_eq!(warning, Some(&b"399 example.com \"at most 16384 bytes\""[..]));
    let zipped = Headers::new().with(Name::ContentEncoding, "gzip");
    let body = Body {
        content_type: "text/plain".into(),
        content: "zip".into(),
    };
    let number = world.with(kate, |phone, now| {
        phone.request(now, Method::Message, "1001", zipped, Some(body))
    });
    assert_eq!(world.finish(kate, number), 415);
    assert_eq!(
        world.phones[kate].answer(number).unwrap().header(Name::AcceptEncoding),
        Some(&b"identity"[..])
    );
    let number = world.with(kate, |phone, now| {
        phone.request(now, Method::Message, "1001", Headers::new(), None)
    });
    assert_eq!(world.finish(kate, number), 200, "an empty one says something too");
}

#[test]
fn a_user_without_the_right_cannot_send() {
    let mut settings = config();
    settings.users[0].im = false;
    let mut world = World::new(settings, 1);
    let (kate, jim) = (world.phone("1000"), world.phone("1001"));
    world.register(kate);
    world.register(jim);
    let sent = world.message(kate, "1001", "x");
    assert_eq!(world.finish(kate, sent), 403);
    let sent = world.message(jim, "1000", "but may read");
    assert_eq!(world.finish(jim, sent), 200);
}

#[test]
fn a_queue_that_is_full_says_when_to_come_again() {
    let mut settings = config();
    settings.im.max_per_user = 3;
    settings.im.max_total = 5;
    let mut world = World::new(settings, 1);
    let kate = world.phone("1000");
    world.register(kate);
    let mut send = |to: &str| {
        let sent = world.message(kate, to, to);
        let status = world.finish(kate, sent);
        assert_eq!(
            world.phones[kate]
                .answer(sent)
                .unwrap()
                .header(Name::RetryAfter)
                .is_some(),
            status == 480
        );
        status
    };
    assert_eq!(
        [send("1005"), send("1005"), send("1005"), send("1005")],
        [202, 202, 202, 480]
    );
    assert_eq!([send("1006"), send("1006"), send("1006")], [202, 202, 480]);
}

#[test]
fn a_message_to_oneself_arrives() {
    let (mut world, kate, _) = pair();
    let sent = world.message(kate, "1000", "note");
    assert_eq!(world.finish(kate, sent), 200);
    assert_eq!(world.phones[kate].texts(), ["note"]);
}

#[test]
fn numbers_that_read_nothing_say_so() {
    let (mut world, kate, _) = pair();
    for (to, told) in [("9196", 405), ("9197", 405)] {
        let sent = world.message(kate, to, "x");
        assert_eq!(world.finish(kate, sent), told, "{to}");
        let allow = world.phones[kate].answer(sent).unwrap().header(Name::Allow).unwrap();
        assert!(!String::from_utf8_lossy(allow).contains("MESSAGE"));
    }
}

#[test]
fn a_large_message_takes_the_way_the_device_registered() {
    let mut world = World::new(config(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone_over("1001", Transport::Tcp));
    world.register(kate);
    world.register(jim);
    let text = "long ".repeat(600);
    let sent = world.message(kate, "1001", &text);
    assert_eq!(world.finish(kate, sent), 200);
    assert_eq!(world.phones[jim].texts(), [text.as_str()]);
    let sent = world.message(jim, "1000", &text);
    assert_eq!(world.finish(jim, sent), 200);
    assert_eq!(world.phones[kate].texts(), [text]);
}

#[test]
fn a_stream_that_breaks_under_a_message_leaves_it_on_disk() {
    let mut world = World::new(config(), 1);
    let (kate, jim) = (world.phone("1000"), world.phone_over("1001", Transport::Tcp));
    world.register(kate);
    world.register(jim);
    world.phones[jim].on_message = OnMessage::Ignore;
    let sent = world.message(kate, "1001", "x");
    world.run_ms(100);
    world.disconnect(jim);
    world.phones[jim].on_message = OnMessage::Take;
    assert_eq!(world.finish(kate, sent), 202);
    world.connect(jim);
    world.register(jim);
    world.run_ms(100);
    assert_eq!(world.phones[jim].texts(), ["x"]);
    assert!(stored(&world).is_empty());
}

#[test]
fn a_retransmitted_message_is_one_message() {
    let (mut world, kate, jim) = pair();
    world.network.faults.loss = 400;
    let sent = world.message(kate, "1001", "once");
    world.finish(kate, sent);
    world.network.faults = Default::default();
    world.run(Duration::from_secs(120));
    assert_eq!(world.phones[jim].texts(), ["once"]);
}

/// What a test may count on at a kill: all that was answered 202 is there, in order; the one in flight perhaps twice.
#[test]
fn a_kill_at_any_moment_loses_nothing_and_keeps_the_order() {
    for kill_ms in (0..400).step_by(7) {
        let mut world = World::new(config(), kill_ms + 1);
        let kate = world.phone("1000");
        world.register(kate);
        world.store.delay = Duration::from_millis(3);
        let mut sent = Vec::new();
        for text in texts(0..20) {
            sent.push(world.message(kate, "1005", &text));
            world.run_ms(4);
        }
        let late = world.phone("1005");
        world.with(late, |phone, now| phone.register(now, 3_600));
        world.run_ms(kill_ms);
        world.restart();
        world.register(late);
        world.run(Duration::from_secs(60));
        let mut got = world.phones[late].texts();
        got.dedup();
        let acknowledged = sent
            .iter()
            .filter(|number| world.status(kate, **number) == Some(202))
            .count();
        assert_eq!(acknowledged, 20);
        assert_eq!(got, texts(0..20), "killed after {kill_ms} ms");
        assert!(stored(&world).is_empty());
        assert_eq!(world.switch.audit(), Ok(()));
    }
}

#[test]
fn ids_rise_over_restarts() {
    let (mut world, kate, _) = pair();
    for round in 0..3 {
        let sent = world.message(kate, "1005", &round.to_string());
        world.finish(kate, sent);
        world.restart();
    }
    assert_eq!(stored(&world), ["0", "1", "2"]);
}

#[test]
fn a_stored_repeat_is_told_by_its_call_id() {
    let (mut world, kate, _) = pair();
    let late = world.phone("1005");
    let sent = world.message(kate, "1005", "x");
    world.finish(kate, sent);
    world.phones[late].on_message = OnMessage::Refuse(480);
    world.register(late);
    world.run(Duration::from_secs(1));
    world.phones[late].on_message = OnMessage::Take;
    world.run(Duration::from_secs(60));
    let ids: Vec<&[u8]> = world.phones[late].requests.iter().map(Message::call_id).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn nothing_is_sent_to_a_dropped_registration() {
    let (mut world, kate, jim) = pair();
    world.command(Command::DropRegistration {
        aor: Aor::new("1001", "example.com"),
        contact: None,
    });
    let sent = world.message(kate, "1001", "x");
    assert_eq!(world.finish(kate, sent), 202);
    assert!(world.phones[jim].requests.is_empty());
}

#[test]
fn a_store_that_cannot_be_read_is_asked_again() {
    let (mut world, kate, _) = pair();
    let sent = world.message(kate, "1005", "x");
    world.finish(kate, sent);
    world.store.failing = Some(StoreError::Io);
    let late = world.phone("1005");
    world.register(late);
    world.run(Duration::from_secs(1));
    world.store.failing = None;
    world.run(Duration::from_secs(30));
    assert_eq!(world.phones[late].texts(), ["x"]);
    assert_quiet(&mut world);
}

#[test]
fn a_long_chain_behind_a_dead_device_ends_well() {
    let (mut world, kate, jim) = pair();
    world.phones[jim].is_dead = true;
    let sent: Vec<u64> = texts(0..400)
        .iter()
        .map(|text| world.message(kate, "1001", text))
        .collect();
    world.run(Duration::from_secs(10));
    assert!(sent.iter().all(|number| world.status(kate, *number) == Some(202)));
    assert_eq!(stored(&world), texts(0..400));
    world.phones[jim].is_dead = false;
    world.with(jim, |phone, _| phone.reboot());
    world.register(jim);
    world.run(Duration::from_secs(60));
    assert_eq!(world.phones[jim].texts(), texts(0..400));
    assert_quiet(&mut world);
}

/// A panic costs the message that was being worked on, and nothing else.
#[test]
fn after_a_panic_the_next_message_arrives() {
    for (verb, told) in [("attempt", 200), ("take", 500)] {
        let (mut world, kate, jim) = pair();
        world.recovers = true;
        world.switch.panic_in(verb);
        let sent = world.message(kate, "1001", "unlucky");
        assert_eq!(world.finish(kate, sent), told, "{verb}");
        assert_eq!(world.switch.audit(), Ok(()), "{verb}");
        assert_eq!(figure(&world, "recoveries_total"), 1, "{verb}");
        let sent = world.message(kate, "1001", "next");
        assert_eq!(world.finish(kate, sent), 200, "{verb}");
        world.run(Duration::from_secs(60));
        assert_eq!(world.phones[jim].texts().last().unwrap(), "next", "{verb}");
        assert_quiet(&mut world);
    }
}

#[test]
fn a_panic_after_the_commit_loses_nothing() {
    let (mut world, kate, _) = pair();
    world.recovers = true;
    world.switch.panic_in("keep");
    let sent = world.message(kate, "1005", "kept");
    world.finish(kate, sent);
    assert_eq!(world.switch.audit(), Ok(()));
    let late = world.phone("1005");
    world.register(late);
    world.run(Duration::from_secs(60));
    assert_eq!(world.phones[late].texts(), ["kept"]);
    assert_quiet(&mut world);
}

#[test]
fn a_panic_in_the_queue_stops_it_only_for_a_while() {
    for verb in ["take", "load"] {
        let (mut world, kate, _) = pair();
        for text in texts(0..3) {
            let sent = world.message(kate, "1005", &text);
            world.finish(kate, sent);
        }
        let late = world.phone("1005");
        world.recovers = true;
        world.switch.panic_in(verb);
        world.register(late);
        world.run_ms(100);
        assert_eq!(world.switch.audit(), Ok(()), "{verb}");
        world.run(Duration::from_secs(60));
        let mut got = world.phones[late].texts();
        got.dedup();
        assert_eq!(got, texts(0..3), "{verb}");
        assert_quiet(&mut world);
    }
}

#[test]
fn a_store_that_cannot_be_read_at_the_start_is_asked_until_it_can() {
    let (mut world, kate, _) = pair();
    let late = world.phone("1005");
    let sent = world.message(kate, "1005", "x");
    world.finish(kate, sent);
    world.store.failing = Some(StoreError::Io);
    world.restart();
    world.run(Duration::from_secs(12));
    world.store.failing = None;
    assert_eq!(world.register(late), 200);
    world.run(Duration::from_secs(6));
    assert_eq!(world.phones[late].texts(), ["x"]);
    let views = world.command(Command::Registrations(None));
    assert!(matches!(views, crate::Answer::Registrations(views) if views.len() == 3));
    assert_quiet(&mut world);
}

/// A room of the switch sends a text, for Kate to Jim.
fn post(world: &mut World, keeps: bool, guise: Option<Guise>) {
    let post = Post {
        from: Aor::new("1000", "example.com"),
        from_display: "Kate".into(),
        to: Aor::new("1001", "example.com"),
        content_type: "text/plain".into(),
        body: "of the switch".into(),
        guise,
        keeps,
        text: None,
        owner: Some(Room::Switch.owner(7)),
    };
    world.drive(|switch, now| {
        switch.im.post(cx!(switch, now), post);
        switch.settle(now);
    });
}

/// What the owner has heard since.
fn heard(world: &mut World) -> Vec<Fate> {
    let all = std::mem::take(&mut world.switch.core.unheard);
    all.into_iter()
        .inspect(|outcome| assert_eq!(outcome.owner, Room::Switch.owner(7)))
        .map(|outcome| outcome.what)
        .collect()
}

fn contact(world: &World, phone: usize) -> Box<str> {
    world.phones[phone].contact().into()
}

#[test]
fn a_room_that_sends_a_message_hears_which_device_took_it() {
    let (mut world, _, desk) = pair();
    let soft = world.phone("1001");
    world.register(soft);
    world.phones[desk].on_message = OnMessage::Refuse(415);
    world.network.delay = Duration::from_millis(20);
    post(&mut world, true, None);
    world.run(Duration::from_secs(1));
    let (desk, soft) = (contact(&world, desk), contact(&world, soft));
    let refused = Fate::Refused {
        contact: desk,
        status: 415,
    };
    let taken = Fate::Taken { contact: soft };
    assert_eq!(heard(&mut world), [refused, taken, Fate::Delivered]);
    assert_quiet(&mut world);
}

#[test]
fn a_room_that_sends_a_message_hears_why_nobody_has_it() {
    let (mut world, _, jim) = pair();
    let contact = contact(&world, jim);
    world.phones[jim].on_message = OnMessage::Refuse(603);
    post(&mut world, true, None);
    world.run(Duration::from_secs(1));
    let refused = Fate::Refused {
        contact: contact.clone(),
        status: 603,
    };
    assert_eq!(heard(&mut world), [refused, Fate::Failed { status: 603 }]);
    world.phones[jim].on_message = OnMessage::Ignore;
    post(&mut world, false, None);
    world.run(Duration::from_secs(40));
    assert_eq!(heard(&mut world), [Fate::Failed { status: 480 }]);
    world.phones[jim].on_message = OnMessage::Refuse(480);
    post(&mut world, true, None);
    world.run(Duration::from_secs(1));
    let refused = Fate::Refused { contact, status: 480 };
    assert_eq!(heard(&mut world), [refused, Fate::Stored]);
    world.store.failing = Some(StoreError::Full);
    post(&mut world, true, None);
    world.run_ms(100);
    assert_eq!(heard(&mut world), [Fate::Failed { status: 503 }]);
}

#[test]
fn a_message_of_a_room_looks_as_the_room_wants_and_keeps_the_order() {
    let (mut world, kate, jim) = pair();
    world.network.delay = Duration::from_millis(10);
    let sent = world.message(kate, "1001", "before");
    world.run_ms(11);
    for cseq in [3, 4] {
        let guise = Guise {
            call_id: "im-7f3a@example.com".into(),
            cseq,
            tag: "abc".into(),
            headers: Headers::new().named("X-IM-Session", "7f3a"),
        };
        post(&mut world, true, Some(guise));
    }
    assert_eq!(world.finish(kate, sent), 200);
    world.run(Duration::from_secs(1));
    let got: Vec<&Message> = world.phones[jim].taken.iter().map(|(_, message)| message).collect();
    assert_eq!(got.len(), 3);
    assert_eq!([got[1].cseq(), got[2].cseq()], [3, 4]);
    assert!(
        got[1..]
            .iter()
            .all(|message| message.call_id() == b"im-7f3a@example.com")
    );
    assert!(got[1..].iter().all(|message| message.from_tag() == b"abc"));
    assert_eq!(got[2].header_named("X-IM-Session"), Some(&b"7f3a"[..]));
}
