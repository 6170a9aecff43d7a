//! A notifier and a subscriber with a network between them.

use super::*;
use crate::draft::{Body, Headers};
use crate::endpoint::{Destination, Owner};
use crate::link::{A, B, Link, Side, flow};
use bytes::Bytes;

fn word(text: &'static str) -> Option<Body> {
    Some(Body {
        content_type: "text/plain".into(),
        content: Bytes::from_static(text.as_bytes()),
    })
}

/// `A` asks `B`.
fn subscribe(link: &mut Link, expires: u32) -> u64 {
    let user = &mut link.users[A];
    let owner = user.new_owner();
    let subscription = Subscription {
        destination: Destination::Flow(flow(A)),
        uri: "sip:b@192.0.2.2".into(),
        from: "<sip:a@example.com>".into(),
        to: "<sip:b@example.com>".into(),
        contact: "<sip:a@192.0.2.1:5060>".into(),
        package: "message-summary;id=1".into(),
        expires,
        headers: Headers::new(),
    };
    let subscriber = Subscriber::subscribe(link.now, Owner(owner), subscription, &mut user.endpoint, &mut user.out);
    user.subscribers.insert(owner, subscriber);
    link.settle();
    owner
}

/// `B` takes the SUBSCRIBE that came; false if it is refused.
fn grant(link: &mut Link, state: Option<Body>) -> bool {
    let user = &mut link.users[B];
    let (flow, message) = user.subscribes.remove(0);
    let owner = user.new_owner();
    let grant = Grant {
        contact: "<sip:b@192.0.2.2:5060>".into(),
        lifetimes: Lifetimes {
            min: 60,
            default: 3_600,
            max: 7_200,
        },
        state,
        requires: None,
    };
    let accepted = Notifier::accept(
        link.now,
        Owner(owner),
        flow,
        &message,
        grant,
        &mut user.endpoint,
        &mut user.out,
    );
    let granted = accepted.is_some();
    user.notifiers.extend(accepted.map(|notifier| (owner, notifier)));
    link.settle();
    granted
}

fn notify(link: &mut Link, state: &'static str) {
    let user = &mut link.users[B];
    let notifier = user.notifiers.values_mut().next().unwrap();
    notifier.notify(link.now, word(state), &mut user.endpoint, &mut user.out);
    link.settle();
}

fn unsubscribe(link: &mut Link) {
    let user = &mut link.users[A];
    let subscriber = user.subscribers.values_mut().next().unwrap();
    subscriber.unsubscribe(link.now, &mut user.endpoint, &mut user.out);
    link.settle();
}

/// What a side was told since last asked.
fn notes(link: &mut Link, side: Side) -> Vec<String> {
    let header = |message: &Message| {
        let state = message.header(crate::Name::SubscriptionState).unwrap_or_default();
        String::from_utf8_lossy(&[state, b" ", message.body_bytes()].concat()).into_owned()
    };
    let short = |event| match event {
        Event::Refreshed { .. } => Some("refreshed".to_owned()),
        Event::Notified { message } => Some(header(&message)),
        Event::Ended(end) => Some(format!("{end:?}")),
        Event::Told => None,
    };
    link.users[side]
        .notes
        .drain(..)
        .filter_map(|(_, event)| short(event))
        .collect()
}

/// A subscription of an hour that has its first state.
fn watching() -> Link {
    let mut link = Link::new(1);
    subscribe(&mut link, 3_600);
    link.at(20);
    assert!(grant(&mut link, word("none")));
    link.at(100);
    assert_eq!(notes(&mut link, A), ["active;expires=3600 none"]);
    link.log.clear();
    link
}

#[test]
fn the_state_is_told_at_once_and_when_it_changes() {
    let mut link = watching();
    link.at(10_000);
    notify(&mut link, "one");
    link.at(10_100);
    assert_eq!(notes(&mut link, A), ["active;expires=3590 one"]);
    assert_eq!(link.sent(A), ["200 NOTIFY 2"]);
    unsubscribe(&mut link);
    link.at(11_000);
    assert_eq!(notes(&mut link, A), ["terminated;reason=timeout one", "Local"]);
    assert_eq!(notes(&mut link, B), ["Unsubscribed"]);
    link.ends();
}

#[test]
fn states_that_change_faster_than_answers_come_are_told_once() {
    let mut link = watching();
    for state in ["one", "two", "three"] {
        notify(&mut link, state);
    }
    link.at(1_000);
    assert_eq!(
        notes(&mut link, A),
        ["active;expires=3599 one", "active;expires=3599 three"]
    );
    unsubscribe(&mut link);
    link.ends();
}

#[test]
fn a_state_of_one_notify_is_not_in_the_last_one() {
    let mut link = watching();
    notify(&mut link, "part 7");
    let notifier = link.users[B].notifiers.values_mut().next().unwrap();
    assert!(notifier.is_busy());
    notifier.forget_state();
    link.at(1_000);
    assert!(!link.users[B].notifiers.values().next().unwrap().is_busy());
    unsubscribe(&mut link);
    link.at(2_000);
    let told = ["active;expires=3599 part 7", "terminated;reason=timeout ", "Local"];
    assert_eq!(notes(&mut link, A), told);
    link.ends();
}

#[test]
fn a_kept_subscription_goes_on_after_a_restart() {
    let mut link = watching();
    let (owner, notifier) = link.users[B].notifiers.pop_first().unwrap();
    let kept = notifier.kept(link.now);
    assert_eq!(kept.left.as_secs(), 3_599);
    let lifetimes = Lifetimes {
        min: 60,
        default: 60,
        max: 60,
    };
    let user = &mut link.users[B];
    let restored = Notifier::restore(link.now, Owner(owner), kept, (lifetimes, 10), &mut user.endpoint);
    user.notifiers.insert(owner, restored);
    notify(&mut link, "after");
    link.at(200);
    assert_eq!(notes(&mut link, A), ["active;expires=3599 after"]);
    assert_eq!(link.sent(A), ["200 NOTIFY 12"]);
    unsubscribe(&mut link);
    link.at(400);
    assert_eq!(notes(&mut link, B), ["Unsubscribed"]);
}

#[test]
fn the_subscriber_refreshes_in_time() {
    let mut link = watching();
    link.at(3_240_500);
    assert_eq!(link.times(A, "SUBSCRIBE"), [3_240_030]);
    assert_eq!(notes(&mut link, B), ["refreshed"]);
    notify(&mut link, "same");
    link.at(3_241_000);
    assert_eq!(notes(&mut link, A), ["active;expires=3599 same"]);
    unsubscribe(&mut link);
    link.ends();
}

#[test]
fn a_subscriber_that_vanished_is_forgotten_when_its_time_is_over() {
    let mut link = watching();
    link.network.loss = 1_000;
    link.at(3_600_020);
    assert_eq!(notes(&mut link, B), ["Expired"]);
    assert_eq!(link.times(B, "NOTIFY").len(), 1);
    link.ends();
    assert_eq!(notes(&mut link, A), ["Expired"]);
}

#[test]
fn a_subscriber_that_does_not_answer_is_forgotten() {
    let mut link = watching();
    link.network.loss = 1_000;
    notify(&mut link, "one");
    link.at(32_200);
    assert_eq!(notes(&mut link, B), ["Gone"]);
    link.users[A].subscribers.clear();
    let tags = link.users[A].endpoint.counters().dialogs_alive;
    assert_eq!(tags, 1);
}

#[test]
fn a_subscriber_that_knows_nothing_of_it_is_forgotten() {
    let mut link = watching();
    link.users[A].subscribers.clear();
    notify(&mut link, "one");
    link.at(200);
    assert_eq!(notes(&mut link, B), ["Gone"]);
    assert!(link.users[B].endpoint.counters().dialogs_alive == 0);
}

#[test]
fn a_fetch_gets_the_state_once() {
    let mut link = Link::new(1);
    subscribe(&mut link, 0);
    link.at(20);
    assert!(grant(&mut link, word("now")));
    link.at(100);
    assert_eq!(notes(&mut link, A), ["terminated;reason=timeout now", "Terminated"]);
    assert_eq!(notes(&mut link, B), ["Unsubscribed"]);
    link.ends();
}

#[test]
fn too_short_a_life_is_refused_and_asked_for_longer() {
    let mut link = Link::new(1);
    subscribe(&mut link, 10);
    link.at(20);
    assert!(!grant(&mut link, None));
    assert_eq!(link.sent(B), ["423 SUBSCRIBE 1"]);
    link.at(40);
    assert!(grant(&mut link, None));
    link.at(100);
    assert_eq!(notes(&mut link, A), ["active;expires=60 "]);
    unsubscribe(&mut link);
    link.ends();
}

#[test]
fn nobody_grants_it() {
    let mut link = Link::new(1);
    link.network.loss = 1_000;
    subscribe(&mut link, 60);
    link.at(32_000);
    assert_eq!(notes(&mut link, A), ["Gone"]);
    link.ends();
}

#[test]
fn who_unsubscribes_before_the_first_answer_does_so_after_it() {
    let mut link = Link::new(1);
    subscribe(&mut link, 3_600);
    unsubscribe(&mut link);
    assert_eq!(link.sent(A), ["SUBSCRIBE 1"]);
    link.at(20);
    assert!(grant(&mut link, word("now")));
    link.at(200);
    assert_eq!(link.sent(A).iter().filter(|what| *what == "SUBSCRIBE 2").count(), 1);
    assert_eq!(notes(&mut link, B), ["Unsubscribed"]);
    assert_eq!(notes(&mut link, A).last().map(String::as_str), Some("Local"));
    link.ends();
}

#[test]
fn the_notifier_ends_it_with_a_reason() {
    let mut link = watching();
    let user = &mut link.users[B];
    let notifier = user.notifiers.values_mut().next().unwrap();
    notifier.terminate(link.now, "noresource", &mut user.endpoint, &mut user.out);
    link.at(200);
    assert_eq!(notes(&mut link, A), ["terminated;reason=noresource ", "Terminated"]);
    assert_eq!(notes(&mut link, B), ["Local"]);
    link.ends();
}

#[test]
fn another_package_in_the_same_dialog_is_refused() {
    let mut link = watching();
    let subscriber = link.users[A].subscribers.values_mut().next().unwrap();
    subscriber.subscription.package = "message-summary;id=2".into();
    unsubscribe(&mut link);
    link.at(200);
    assert_eq!(link.sent(B), ["489 SUBSCRIBE 2"]);
    assert_eq!(notes(&mut link, A), ["Local"]);
}

#[test]
fn nothing_is_left_after_a_bad_network() {
    for seed in 0..60 {
        let mut link = Link::new(seed);
        link.network.loss = 200;
        link.network.duplication = 200;
        link.network.delay = (5, 400);
        subscribe(&mut link, 100);
        for step in 1..20 {
            link.at(step * 7_000);
            if !link.users[B].subscribes.is_empty() {
                grant(&mut link, word("state"));
            }
            if !link.users[B].notifiers.is_empty() {
                notify(&mut link, "state");
            }
        }
        if !link.users[A].subscribers.is_empty() {
            unsubscribe(&mut link);
        }
        link.at(link.now.millis() + 110_000);
        link.ends();
    }
}
