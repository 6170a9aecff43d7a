//! What devices know a message by: the same name however often its sender has to say it.

use super::{assert_quiet, pair, stored};
use crate::testing::{OnMessage, World};
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
