//! Messages that an operator drops.

use super::notices::{CPIM, envelope, send, told};
use super::{assert_quiet, figure, pair, stored};
use crate::testing::{OnMessage, World, config};
use crate::{Answer, By, Command, Refusal};
use model::{Aor, MessageId, StoreError};
use sip::body::imdn::Mark;
use std::time::Duration;

fn aor(user: &str) -> Aor {
    Aor::new(user, crate::testing::DOMAIN)
}

fn discard(world: &mut World, user: &str, id: Option<MessageId>) -> Answer {
    let (by, to) = (By::Operator(None), aor(user));
    world.ask(Command::DropMessages { by, to, id })
}

fn ids(world: &World) -> Vec<MessageId> {
    world.store.messages.keys().copied().collect()
}

#[test]
fn one_message_that_waits_is_dropped_and_its_sender_hears_that_it_failed() {
    let (mut world, kate, _) = pair();
    for id in ["a1", "a2"] {
        assert_eq!(send(&mut world, kate, "1005", CPIM, &envelope(id, id)), 202);
    }
    let first = ids(&world)[0];
    assert_eq!(discard(&mut world, "1005", Some(first)), Answer::Done(1));
    world.run(Duration::from_secs(1));
    assert_eq!(told(&world, kate), [("a1".into(), Mark::Failed)]);
    assert!(matches!(
        discard(&mut world, "1005", Some(first)),
        Answer::Refused(Refusal::NotFound(_))
    ));
    assert_eq!(
        (
            figure(&world, "messages_waiting"),
            figure(&world, "messages_dropped_total")
        ),
        (1, 1)
    );
    assert_eq!(figure(&world, "im_receipts"), 1, "of the other one");
    let ann = world.phone("1005");
    world.register(ann);
    world.run(Duration::from_secs(1));
    assert_eq!(world.phones[ann].texts(), ["a2"]);
    assert_quiet(&mut world);
}

#[test]
fn all_that_waits_is_dropped_but_what_a_device_is_asked_to_take() {
    let (mut world, kate, _) = pair();
    for text in ["one", "two", "three"] {
        let sent = world.message(kate, "1005", text);
        assert_eq!(world.finish(kate, sent), 202);
    }
    let ann = world.phone("1005");
    world.phones[ann].on_message = OnMessage::Ignore;
    world.register(ann);
    world.run_ms(100);
    let first = ids(&world)[0];
    assert!(matches!(
        discard(&mut world, "1005", Some(first)),
        Answer::Refused(Refusal::Conflict(_))
    ));
    assert_eq!(discard(&mut world, "1005", None), Answer::Done(2));
    assert_eq!(stored(&world), ["one"]);
    world.phones[ann].on_message = OnMessage::Take;
    world.run(Duration::from_secs(60));
    assert_eq!(
        (world.phones[ann].texts(), stored(&world).len()),
        (vec!["one".to_owned()], 0)
    );
    assert_eq!(discard(&mut world, "1005", None), Answer::Done(0));
    assert_quiet(&mut world);
}

#[test]
fn nothing_is_sent_that_is_being_dropped() {
    let (mut world, kate, _) = pair();
    for text in ["one", "two"] {
        let sent = world.message(kate, "1005", text);
        assert_eq!(world.finish(kate, sent), 202);
    }
    // The store was asked for them when the order comes.
    let ann = world.phone("1005");
    world.store.delay = Duration::from_millis(200);
    world.register(ann);
    assert_eq!(discard(&mut world, "1005", None), Answer::Done(2));
    world.run(Duration::from_secs(2));
    assert!(world.phones[ann].taken.is_empty());
    assert_quiet(&mut world);
}

#[test]
fn what_the_disk_does_not_drop_goes_out_like_all_others() {
    let mut settings = config();
    settings.im.copies = crate::config::Copies::Device;
    let mut world = World::new(settings, 1);
    let (kate, ann) = (world.phone("1000"), world.phone("1005"));
    world.register(kate);
    world.register(ann);
    world.register_for(ann, 0);
    let sent = world.message(kate, "1005", "one");
    assert_eq!(world.finish(kate, sent), 202);
    world.store.failing = Some(StoreError::Locked);
    assert!(matches!(
        discard(&mut world, "1005", None),
        Answer::Refused(Refusal::Unavailable(_))
    ));
    world.store.failing = None;
    world.register(ann);
    world.run(Duration::from_secs(1));
    assert_eq!(world.phones[ann].texts(), ["one"]);
    assert_quiet(&mut world);
}
