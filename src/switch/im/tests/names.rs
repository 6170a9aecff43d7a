//! What devices know a message by: the same name however often its sender has to say it.

use super::{assert_quiet, figure, pair, stored};
use crate::testing::{OnMessage, World};
use model::StoreError;
use sip::{Message, Method};
use std::time::Duration;

/// The names under which a phone was sent messages.
fn names(world: &World, phone: usize) -> Vec<String> {
    let requests = world.phones[phone].requests.iter();
    let messages = requests.filter(|request| request.method() == Method::Message);
    messages
        .map(|message: &Message| String::from_utf8_lossy(message.call_id()).into_owned())
        .collect()
}

#[test]
fn a_message_that_a_device_may_have_taken_before_a_crash_comes_again_under_its_name() {
    let (mut world, kate, jim) = pair();
    // It has it, and its answer does not come.
    world.phones[jim].on_message = OnMessage::Ignore;
    let sent = world.message(kate, "1001", "hello");
    world.run_ms(400);
    let before = names(&world, jim);
    assert_eq!((before.len(), world.status(kate, sent)), (1, None));
    world.restart();
    world.phones[jim].on_message = OnMessage::Take;
    // Her credentials are stale now, so it comes with another CSeq.
    let challenges = world.phones[kate].challenges.len();
    assert_eq!(world.finish(kate, sent), 200);
    assert_eq!(world.phones[kate].challenges.len(), challenges + 1);
    assert_eq!(
        (world.phones[jim].texts(), names(&world, jim)),
        (vec!["hello".into()], vec![before[0].clone(); 2])
    );
    assert_quiet(&mut world);
}

#[test]
fn a_message_that_was_stored_before_a_crash_is_stored_once() {
    let (mut world, kate, _) = pair();
    // It is on disk, and nobody hears of it.
    world.store.delay = Duration::from_secs(1);
    let sent = world.message(kate, "1005", "hello");
    world.run_ms(400);
    assert_eq!((stored(&world).len(), world.status(kate, sent)), (1, None));
    world.store.delay = Duration::ZERO;
    world.restart();
    assert_eq!(world.finish(kate, sent), 202);
    assert_eq!(stored(&world), ["hello"]);
    let ann = world.phone("1005");
    world.register(ann);
    world.run(Duration::from_secs(1));
    assert_eq!(
        (world.phones[ann].texts(), names(&world, ann).len()),
        (vec!["hello".into()], 1)
    );
    assert_quiet(&mut world);
}

/// Kate has written to Ann (1005), who is away; it is on disk when the switch dies, and Kate has no answer.
fn stored_without_answer(world: &mut World, kate: usize) -> u64 {
    world.store.delay = Duration::from_secs(1);
    let sent = world.message(kate, "1005", "hello");
    world.run_ms(400);
    assert_eq!((stored(world).len(), world.status(kate, sent)), (1, None));
    world.store.delay = Duration::ZERO;
    world.restart();
    sent
}

#[test]
fn who_writes_again_after_a_crash_does_not_hear_that_nobody_has_it_because_the_disk_failed_once() {
    let (mut world, kate, _) = pair();
    let sent = stored_without_answer(&mut world, kate);
    world.store.failing = Some(StoreError::Busy);
    world.store.delay = Duration::from_secs(1);
    // One try has failed.
    let limit = Duration::from_secs(10);
    assert!(world.run_until(limit, |world| figure(world, "store_failures_total") > 0));
    assert_eq!(world.status(kate, sent), None);
    world.store.failing = None;
    assert_eq!(world.finish(kate, sent), 202);
    assert_eq!(stored(&world), ["hello"]);
    assert_quiet(&mut world);
}

#[test]
fn after_a_crash_a_disk_that_fails_again_and_again_cannot_say_what_was_kept_before() {
    let (mut world, kate, _) = pair();
    let sent = stored_without_answer(&mut world, kate);
    world.run(Duration::from_millis(10));
    world.store.failing = Some(StoreError::Busy);
    assert_eq!(world.finish(kate, sent), 503);
    assert_eq!(figure(&world, "store_failures_total"), 3);
    // Long after the start nothing of before can come again.
    world.run(Duration::from_secs(64));
    let sent = world.message(kate, "1005", "later");
    assert_eq!(
        (world.finish(kate, sent), figure(&world, "store_failures_total")),
        (503, 4)
    );
}

#[test]
fn who_writes_again_what_a_device_took_from_the_store_since_hears_200_whatever_the_disk_does() {
    let (mut world, kate, _) = pair();
    let sent = stored_without_answer(&mut world, kate);
    world.phones[kate].is_dead = true;
    let ann = world.phone("1005");
    world.register(ann);
    world.run_ms(500);
    assert_eq!(
        (world.phones[ann].texts(), stored(&world).len()),
        (vec!["hello".into()], 0)
    );
    world.phones[ann].on_message = OnMessage::Refuse(486);
    world.store.failing = Some(StoreError::Full);
    world.phones[kate].is_dead = false;
    assert_eq!(world.finish(kate, sent), 200);
    assert_eq!(names(&world, ann).len(), 1, "it is not asked again");
}

#[test]
fn who_has_written_again_hears_200_when_a_device_takes_it_from_the_store_meanwhile() {
    let mut settings = crate::testing::config();
    settings.im.copies = crate::config::Copies::Device;
    let mut world = World::new(settings, 1);
    let kate = world.phone("1000");
    world.register(kate);
    let sent = stored_without_answer(&mut world, kate);
    world.phones[kate].is_dead = true;
    let ann = world.phone("1005");
    world.phones[ann].on_message = OnMessage::Ignore;
    world.register(ann);
    world.run_ms(100);
    assert_eq!(names(&world, ann).len(), 1, "from the store");
    // Behind it comes what Kate says again, and the disk takes its time.
    world.store.delay = Duration::from_secs(20);
    world.phones[kate].is_dead = false;
    world.run(Duration::from_secs(6));
    assert_eq!(
        (world.status(kate, sent), figure(&world, "messages_under_way")),
        (None, 2)
    );
    world.phones[ann].on_message = OnMessage::Take;
    world.run(Duration::from_secs(5));
    assert_eq!(world.status(kate, sent), Some(200));
    let mut names = names(&world, ann);
    names.dedup();
    assert_eq!(names.len(), 1, "once");
}

#[test]
fn the_same_words_said_twice_are_two_messages() {
    let (mut world, kate, jim) = pair();
    for caches in [true, false] {
        world.phones[kate].caches_nonce = caches;
        // One Call-ID with rising CSeq for a conversation, as some phones have it.
        for cseq in [1, 11, 12, 13] {
            let id = (if caches { "a" } else { "b" }, cseq);
            let sent = world.with(kate, |phone, now| phone.message_as(now, id, "1001", "ok"));
            assert_eq!(world.finish(kate, sent), 200);
        }
    }
    let mut names = names(&world, jim);
    names.sort();
    names.dedup();
    assert_eq!((world.phones[jim].texts().len(), names.len()), (8, 8));
}
