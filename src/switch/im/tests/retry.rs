//! When what waits is tried again, how long, and what there is room for.

use super::notices::{CPIM, envelope, told};
use super::{assert_quiet, pair, stored};
use crate::testing::{OnMessage, World};
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
