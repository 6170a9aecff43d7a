//! When what waits is tried again, how long, and what there is room for.

use super::notices::{CPIM, envelope, told};
use super::{assert_quiet, pair, stored};
use crate::testing::{OnMessage, World, config};
use model::StoreError;
use sip::body::imdn::Mark;
use sip::{Body, Headers, Method, Name};
use std::collections::BTreeSet;
use std::time::Duration;

fn send(world: &mut World, from: usize, to: &str, (content_type, content): (&str, Vec<u8>), expires_s: u32) -> u64 {
    let headers = Headers::new().with(Name::Expires, expires_s.to_string());
    let body = Body {
        content_type: content_type.to_owned().into(),
        content: content.into(),
    };
    world.with(from, |phone, now| {
        phone.request(now, Method::Message, to, headers, Some(body))
    })
}

/// In which seconds from now a device is asked to take something, in so much time; a request that is repeated is one.
fn tries(world: &mut World, phone: usize, time_s: u64) -> Vec<u64> {
    let count = |world: &World| {
        let requests = world.phones[phone].requests.iter();
        let messages = requests.filter(|request| request.method() == Method::Message);
        let vias: BTreeSet<_> = messages.map(|request| request.header(Name::Via)).collect();
        vias.len()
    };
    let (begin, mut at) = (world.now.mono, Vec::new());
    let left = |world: &World| Duration::from_secs(time_s).saturating_sub(world.now.mono.since(begin));
    while world.run_until(left(world), |world| count(world) > at.len()) {
        at.push(world.now.mono.since(begin).as_secs());
    }
    at
}

#[test]
fn the_pauses_between_tries_double_up_to_a_quarter_of_an_hour_and_its_sender_hears_when_it_is_given_up() {
    // One try of a device that says nothing takes 32 s (Timer F).
    let silent = [0, 47, 109, 201, 353, 625, 1_137, 2_069, 3_001];
    // One that says each time that it is unable is asked eight times more.
    let unable = [0, 15, 45, 105, 225, 465, 945, 1_845, 2_745];
    for (on_message, expected) in [(OnMessage::Ignore, silent), (OnMessage::Refuse(503), unable)] {
        let (mut world, kate, jim) = pair();
        world.phones[jim].on_message = on_message;
        let sent = send(
            &mut world,
            kate,
            "1001",
            (CPIM, envelope("a1", "are you there?")),
            3_400,
        );
        assert_eq!(tries(&mut world, jim, 3_395), expected);
        assert_eq!((world.status(kate, sent), told(&world, kate)), (Some(202), vec![]));
        world.run(Duration::from_secs(65));
        assert_eq!(told(&world, kate), [("a1".into(), Mark::Failed)]);
        assert!(stored(&world).is_empty());
        assert_quiet(&mut world);
    }
}

#[test]
fn what_its_sender_is_told_that_nobody_has_is_not_repeated_to_a_device() {
    let (mut world, kate, jim) = pair();
    world.phones[jim].on_message = OnMessage::Ignore;
    let sent = world.message(kate, "1001", "are you there?");
    world.store.failing = Some(StoreError::Full);
    // Nobody answers in time, and the disk does not take it.
    assert_eq!(world.finish(kate, sent), 503);
    world.store.failing = None;
    world.phones[jim].on_message = OnMessage::Take;
    world.run(Duration::from_secs(60));
    assert_eq!(world.phones[jim].texts(), [""; 0]);
    assert_quiet(&mut world);
}

#[test]
fn what_expired_first_makes_room_where_too_much_waits_in_all() {
    let mut settings = config();
    settings.im.max_total = 3;
    let mut world = World::new(settings, 1);
    let kate = world.phone("1000");
    world.register(kate);
    let say = |world: &mut World, to: &str, expires_s| {
        let sent = send(world, kate, to, ("text/plain", to.into()), expires_s);
        let status = world.finish(kate, sent);
        let retry_after = world.phones[kate].answer(sent).unwrap().header(Name::RetryAfter);
        assert_eq!(retry_after, (status == 480).then_some(&b"60"[..]));
        world.run_ms(100);
        status
    };
    // What is too old is looked for each minute anyway: that is just over.
    world.run(Duration::from_secs(61));
    let first = [("1005", 20), ("1006", 5), ("1007", 500)].map(|(to, expires_s)| say(&mut world, to, expires_s));
    assert_eq!((first, say(&mut world, "1008", 500)), ([202; 3], 480), "for whomever");
    world.run(Duration::from_secs(10));
    assert_eq!(say(&mut world, "1008", 500), 480);
    assert_eq!(stored(&world), ["1005", "1007"], "it was full of what nobody gets");
    assert_eq!([say(&mut world, "1008", 500), say(&mut world, "1009", 500)], [202, 480]);
    world.run(Duration::from_secs(20));
    assert_eq!([say(&mut world, "1009", 500), say(&mut world, "1009", 500)], [480, 202]);
    assert_eq!(stored(&world), ["1007", "1008", "1009"]);
    assert_quiet(&mut world);
}
