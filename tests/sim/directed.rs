//! One fault, one test: what a bad moment does to one call or one message.

use crate::director::{finish, long_call, quiet};
use crate::world::World;
use model::{Cdr, EndReason};
use std::time::Duration;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The records by reason, after everything has ended.
fn reasons(world: &World) -> Vec<EndReason> {
    let mut reasons: Vec<EndReason> = world.store.cdrs().map(|cdr: &Cdr| cdr.reason).collect();
    reasons.sort_by_key(|reason| *reason as usize);
    reasons
}

#[test]
fn a_phone_that_vanishes_in_a_call_ends_it_by_media_timeout() {
    let mut world = quiet(2, "a_phone_that_vanishes_in_a_call_ends_it_by_media_timeout");
    world.settings.talk_at_least = secs(3_600);
    world.call(0, long_call(1));
    world.run_for(secs(10));
    assert_eq!((world.figure("calls"), world.figure("rtp_ports")), (1, 2));
    world.vanish(1);
    world.run_for(secs(55));
    assert_eq!(world.figure("rtp_ports"), 2, "60 s are not over");
    world.run_for(secs(80));
    assert_eq!((world.figure("calls"), world.figure("rtp_ports")), (0, 0));
    assert_eq!(reasons(&world), [EndReason::MediaTimeout, EndReason::MediaTimeout]);
    finish(&mut world);
}

#[test]
fn a_phone_that_vanishes_while_it_rings_is_no_answer() {
    let mut world = quiet(2, "a_phone_that_vanishes_while_it_rings_is_no_answer");
    world.settings.ignore = 1_000;
    world.call(0, long_call(1));
    world.run_for(secs(2));
    world.vanish(1);
    world.run_for(secs(60));
    assert_eq!(world.ledger.counted("invite 480"), 1);
    assert_eq!(reasons(&world), [EndReason::NoAnswer, EndReason::NoAnswer]);
    finish(&mut world);
}

#[test]
fn a_phone_that_is_gone_but_bound_is_told_within_the_limit() {
    let mut world = quiet(2, "a_phone_that_is_gone_but_bound_is_told_within_the_limit");
    world.vanish(1);
    world.call(0, long_call(1));
    world.run_for(secs(60));
    let told = world.ledger.counted("invite 480") + world.ledger.counted("invite 408");
    assert_eq!(told, 1, "{:?}", world.ledger.figures);
    finish(&mut world);
}

#[test]
fn a_message_to_a_black_hole_is_stored_after_eight_seconds_and_delivered_once() {
    let mut world = quiet(
        2,
        "a_message_to_a_black_hole_is_stored_after_eight_seconds_and_delivered_once",
    );
    world.vanish(1);
    world.with_phone(0, |phone, cx| phone.write(cx, 1));
    world.run_for(Duration::from_millis(7_900));
    assert_eq!(world.ledger.counted("message 202"), 0);
    world.run_for(Duration::from_millis(300));
    assert_eq!(world.ledger.counted("message 202"), 1);
    world.appear(1);
    world.run_for(secs(5));
    assert_eq!(world.store.messages().count(), 0);
    finish(&mut world);
}

#[test]
fn a_hundred_messages_for_one_who_is_away_arrive_in_order() {
    let mut world = quiet(3, "a_hundred_messages_for_one_who_is_away_arrive_in_order");
    world.with_phone(2, |phone, cx| phone.unregister(cx));
    world.run_for(secs(1));
    world.vanish(2);
    for _ in 0..50 {
        for sender in [0, 1] {
            world.with_phone(sender, |phone, cx| phone.write(cx, 2));
        }
    }
    world.run_for(secs(60));
    assert_eq!(world.ledger.counted("message 202"), 100);
    assert_eq!(world.store.messages().count(), 100);
    world.crash(secs(1));
    world.run_for(secs(3));
    world.appear(2);
    world.run_for(secs(60));
    assert_eq!(world.store.messages().count(), 0);
    finish(&mut world);
}

#[test]
fn a_store_that_fails_is_never_hidden_behind_202() {
    let mut world = quiet(2, "a_store_that_fails_is_never_hidden_behind_202");
    world.with_phone(1, |phone, cx| phone.unregister(cx));
    world.run_for(secs(1));
    world.store.failing = 1_000;
    world.with_phone(0, |phone, cx| phone.write(cx, 1));
    world.run_for(secs(15));
    assert_eq!(world.ledger.counted("message 503"), 1, "{:?}", world.ledger.figures);
    world.store.failing = 0;
    finish(&mut world);
}

#[test]
fn a_wall_clock_that_jumps_an_hour_expires_nothing_early() {
    let mut world = quiet(4, "a_wall_clock_that_jumps_an_hour_expires_nothing_early");
    world.settings.talk_at_least = secs(600);
    world.call(0, long_call(1));
    world.run_for(secs(10));
    for ahead in [3_600_000, -3_600_000] {
        world.wall_ahead = ahead;
        world.run_for(secs(5));
        assert_eq!((world.figure("registrations"), world.figure("calls")), (4, 1));
    }
    world.with_phone(2, |phone, cx| phone.write(cx, 3));
    world.run_for(secs(1));
    assert_eq!(world.ledger.counted("message 200"), 1);
    world.wall_ahead = 0;
    world.run_for(secs(700));
    finish(&mut world);
}

#[test]
fn a_registration_outlives_a_crash_and_not_its_expiry() {
    let mut world = quiet(2, "a_registration_outlives_a_crash_and_not_its_expiry");
    world.crash(secs(1));
    world.run_for(secs(2));
    assert_eq!(world.figure("registrations"), 2);
    world.call(0, long_call(1));
    world.run_for(secs(10));
    assert_eq!(world.ledger.counted("invite 200"), 1);
    world.vanish(0);
    world.vanish(1);
    world.run_for(secs(125));
    assert_eq!(world.figure("registrations"), 0);
    finish(&mut world);
}
