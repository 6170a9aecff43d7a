//! Two sessions with a network between them; and one that calls a peer made of text, for forks.

use super::*;
use crate::draft::Reply;
use crate::endpoint::Owner;
use crate::link::{A, B, Link, Random, Side, flow, local};
use crate::{Method, Name, Output, Tag};
use bytes::Bytes;

fn word(text: &'static str) -> Option<Body> {
    Some(Body {
        content_type: "text/plain".into(),
        content: Bytes::from_static(text.as_bytes()),
    })
}

fn none() -> Headers {
    Headers::new()
}

/// `A` calls `B`.
fn call(link: &mut Link, offer: Option<Body>) -> u64 {
    call_from(link, A, offer)
}

fn call_from(link: &mut Link, side: Side, offer: Option<Body>) -> u64 {
    call_with(link, side, offer, false, none())
}

/// A call of somebody who takes reliable responses.
fn call_reliably(link: &mut Link, offer: Option<Body>) -> u64 {
    call_with(link, A, offer, true, none())
}

fn call_with(link: &mut Link, side: Side, offer: Option<Body>, reliable: bool, headers: Headers) -> u64 {
    let user = &mut link.users[side];
    let owner = user.new_owner();
    let invitation = Invitation {
        destination: Destination::Flow(flow(side)),
        uri: "sip:b@192.0.2.2".into(),
        from: "<sip:a@example.com>".into(),
        to: "<sip:b@example.com>".into(),
        local: Local {
            expiry: user.expiry,
            ..local(side)
        },
        headers,
        max_forwards: 70,
        offer,
        reliable,
    };
    let session = Session::connect(link.now, Owner(owner), invitation, &mut user.endpoint, &mut user.out);
    user.sessions.insert(owner, session);
    link.settle();
    owner
}

impl Link {
    fn progress(&mut self, side: Side, status: u16) {
        self.with(side, 1, |s, now, e, out| s.progress(now, Reply::new(status), e, out))
            .unwrap();
    }

    fn progress_reliably(&mut self, side: Side, body: Option<Body>) {
        let reply = Reply {
            body,
            ..Reply::new(183)
        };
        self.with(side, 1, |s, now, e, out| s.progress_reliably(now, reply, e, out))
            .unwrap();
    }

    fn accept(&mut self, side: Side, body: Option<Body>) {
        self.with(side, 1, |s, now, e, out| s.accept(now, &none(), body, e, out))
            .unwrap();
    }

    fn modify(&mut self, side: Side, offer: Option<Body>) -> Result<(), Refused> {
        self.with(side, 1, |s, now, e, out| s.modify(now, &none(), offer, e, out))
    }

    fn update(&mut self, side: Side, offer: Option<Body>) -> Result<(), Refused> {
        self.with(side, 1, |s, now, e, out| s.update(now, &none(), offer, e, out))
    }

    fn answer(&mut self, side: Side, body: Option<Body>) {
        self.with(side, 1, |s, now, e, out| s.answer(now, &none(), body, e, out))
            .unwrap();
    }

    fn ack(&mut self, side: Side, body: Option<Body>) {
        self.with(side, 1, |s, now, e, out| s.ack(now, body, e, out)).unwrap();
    }

    fn close(&mut self, side: Side) {
        let reason = none().with(Name::Reason, "Q.850;cause=16");
        self.with(side, 1, |s, now, e, out| s.close(now, &reason, e, out));
    }

    /// A call that is up, 100 ms old, with nothing told.
    fn up() -> Link {
        let mut link = Link::new(1);
        call(&mut link, word("offer"));
        link.at(20).accept(B, word("answer"));
        link.at(100);
        assert_eq!(link.told(A), ["answered answer false"]);
        assert_eq!(link.told(B), ["acked -"]);
        link.log.clear();
        link
    }
}

// ---- making a call ----

#[test]
fn a_call_is_made_answered_and_ended_by_the_caller() {
    let mut link = Link::new(1);
    call(&mut link, word("offer"));
    link.at(20).progress(B, 180);
    link.at(1_000).accept(B, word("answer"));
    link.at(2_000);
    assert_eq!(link.told(A), ["progress 180 0", "answered answer false"]);
    assert_eq!(link.told(B), ["acked -"]);
    link.close(A);
    link.at(3_000);
    assert_eq!(link.told(A), ["ended Local"]);
    assert_eq!(link.told(B), ["ended Bye"]);
    assert_eq!(link.sent(A), ["INVITE 1", "ACK 1", "BYE 2"]);
    assert_eq!(
        link.sent(B),
        ["100 INVITE 1", "180 INVITE 1", "200 INVITE 1", "200 BYE 2"]
    );
    link.ends();
}

#[test]
fn the_callee_ends_a_call_with_a_reason() {
    let mut link = Link::up();
    link.close(B);
    link.at(1_000);
    let ended = &link.users[A].told[0].1;
    assert!(
        matches!(ended, Event::Ended { cause: Cause::Bye, message: Some(bye) } if bye.header(Name::Reason) == Some(b"Q.850;cause=16")),
        "{ended:?}"
    );
    assert_eq!(link.told(B), ["ended Local"]);
    link.ends();
}

#[test]
fn a_delayed_offer_is_answered_in_the_ack() {
    let mut link = Link::new(1);
    call(&mut link, None);
    link.at(20).accept(B, word("offer"));
    link.at(100);
    assert_eq!(link.told(A), ["answered offer true"]);
    assert_eq!(link.modify(A, word("x")), Err(Refused::Pending));
    link.at(700);
    assert_eq!(link.told(B), [""; 0]);
    link.ack(A, word("answer"));
    link.at(800);
    assert_eq!(link.told(B), ["acked answer"]);
    link.close(A);
    link.ends();
}

#[test]
fn an_offer_that_nobody_answers_is_declined_before_the_other_side_gives_up() {
    let mut link = Link::new(1);
    call(&mut link, None);
    link.at(20).accept(B, word("offer"));
    link.at(28_029);
    assert_eq!(link.told(A), ["answered offer true"]);
    assert_eq!(link.told(B), [""; 0]);
    link.at(29_000);
    assert_eq!(link.times(A, "ACK"), [28_030]);
    assert_eq!(link.told(A), ["ended NoAck"]);
    assert_eq!(link.told(B), ["acked no offer", "ended Bye"]);
    link.ends();
}

#[test]
fn an_offer_that_was_asked_for_again_and_finds_no_answer_is_declined_likewise() {
    let mut link = Link::up();
    link.modify(A, None).unwrap();
    link.at(200).answer(B, word("full"));
    link.at(29_000);
    assert_eq!(link.told(A), ["answer full true", "ended NoAck"]);
    assert_eq!(link.told(B), ["offer -", "answer no full false", "ended Bye"]);
    link.ends();
}

#[test]
fn a_refusal_ends_both_sides() {
    let mut link = Link::new(1);
    call(&mut link, word("offer"));
    link.at(20);
    link.with(B, 1, |s, now, e, out| s.reject(now, Reply::new(486), e, out))
        .unwrap();
    link.at(1_000);
    assert_eq!(link.told(A), ["rejected 486", "ended Rejected"]);
    assert_eq!(link.told(B), ["ended Local"]);
    assert_eq!(link.sent(A), ["INVITE 1", "ACK 1"]);
    link.ends();
}

#[test]
fn nobody_answers_the_invite() {
    let mut link = Link::new(1);
    link.network.loss = 1_000;
    call(&mut link, word("offer"));
    link.at(32_000);
    assert_eq!(link.told(A), ["rejected 408", "ended Rejected"]);
    link.ends();
}

#[test]
fn ringing_is_said_again_every_minute() {
    let mut link = Link::new(1);
    call(&mut link, word("offer"));
    link.at(20).progress(B, 180);
    link.at(130_000);
    assert_eq!(link.times(B, "180"), [20, 60_020, 120_020]);
    link.close(A);
    link.ends();
}

// ---- CANCEL ----

#[test]
fn the_caller_gives_up_while_it_rings() {
    let mut link = Link::new(1);
    call(&mut link, word("offer"));
    link.at(20).progress(B, 180);
    link.at(1_000).close(A);
    link.at(2_000);
    assert_eq!(link.told(A), ["progress 180 0", "rejected 487", "ended Local"]);
    assert_eq!(link.told(B), ["ended Cancelled"]);
    assert_eq!(
        link.sent(B),
        ["100 INVITE 1", "180 INVITE 1", "200 CANCEL 1", "487 INVITE 1"]
    );
    link.ends();
}

#[test]
fn a_cancel_that_meets_the_answer_becomes_a_bye() {
    let mut link = Link::new(1);
    call(&mut link, word("offer"));
    link.at(20).progress(B, 180);
    link.at(1_000).accept(B, word("answer"));
    link.close(A);
    link.at(2_000);
    assert_eq!(link.told(A), ["progress 180 0", "ended Local"]);
    assert_eq!(link.told(B), ["acked -", "ended Bye"]);
    assert_eq!(link.sent(A), ["INVITE 1", "CANCEL 1", "ACK 1", "BYE 2"]);
    link.ends();
}

#[test]
fn a_cancel_that_meets_an_offer_declines_it_in_the_ack() {
    let mut link = Link::new(1);
    call(&mut link, None);
    link.at(20).progress(B, 180);
    link.at(1_000).accept(B, word("offer"));
    link.close(A);
    link.at(2_000);
    assert_eq!(link.told(A), ["progress 180 0", "ended Local"]);
    assert_eq!(link.told(B), ["acked no offer", "ended Bye"]);
    link.ends();
}

#[test]
fn a_call_closed_before_anything_came_back_is_cancelled_as_soon_as_it_may() {
    let mut link = Link::new(1);
    call(&mut link, word("offer"));
    link.close(A);
    assert_eq!(link.sent(A), ["INVITE 1"]);
    link.at(100);
    assert_eq!(link.told(A), ["rejected 487", "ended Local"]);
    assert_eq!(link.told(B), ["ended Cancelled"]);
    link.ends();
}

// ---- reliable provisional responses ----

#[test]
fn a_reliable_response_is_repeated_until_its_prack_and_a_2xx_waits_for_it() {
    let mut link = Link::new(1);
    let mut pracks = 0;
    link.network.drop = Box::new(move |_, what| {
        what == "PRACK 2" && {
            pracks += 1;
            pracks <= 2
        }
    });
    call_reliably(&mut link, word("offer"));
    link.at(20).progress_reliably(B, word("early"));
    link.accept(B, word("early"));
    link.at(1_520);
    assert_eq!(link.times(B, "183"), [20, 520, 1_520]);
    assert_eq!(link.times(B, "200 INVITE"), [0; 0]);
    link.at(3_000);
    assert_eq!(link.times(A, "PRACK"), [30, 530, 1_530]);
    assert_eq!(link.times(B, "200"), [1_540, 1_540], "to the PRACK, then to the INVITE");
    assert_eq!(link.told(A), ["progress 183 0 early", "answered early false"], "once");
    assert_eq!(link.told(B), ["pracked -", "acked -"]);
    link.close(A);
    link.ends();
}

#[test]
fn a_caller_who_never_acknowledges_a_reliable_response_gets_504() {
    let mut link = Link::new(1);
    link.network.drop = Box::new(|_, what| what.starts_with("PRACK"));
    call_reliably(&mut link, word("offer"));
    link.at(20).progress_reliably(B, word("early"));
    link.at(33_000);
    assert_eq!(link.times(B, "183"), [20, 520, 1_520, 3_520, 7_520, 15_520, 31_520]);
    assert_eq!(link.told(B), ["ended NoAck"]);
    assert_eq!(link.told(A), ["progress 183 0 early", "rejected 504", "ended Rejected"]);
    link.ends();
}

#[test]
fn one_reliable_response_is_on_its_way_at_a_time() {
    let mut link = Link::new(1);
    call_reliably(&mut link, word("offer"));
    link.at(20).progress_reliably(B, None);
    link.progress_reliably(B, word("early"));
    assert_eq!(link.times(B, "183"), [20]);
    link.at(200);
    assert_eq!(link.times(B, "183"), [20, 40]);
    assert_eq!(link.told(A), ["progress 183 0", "progress 183 0 early"]);
    link.accept(B, None);
    link.at(300);
    assert_eq!(link.told(A), ["answered  false"]);
    link.close(A);
    link.ends();
}

#[test]
fn a_reliable_offer_is_answered_in_the_prack() {
    let mut link = Link::new(1);
    call_reliably(&mut link, None);
    link.at(20).progress_reliably(B, word("offer"));
    link.at(100);
    assert_eq!(link.told(A), ["progress 183 0 offer"]);
    link.with(A, 1, |s, now, e, out| s.prack(now, word("answer"), e, out))
        .unwrap();
    link.at(200);
    assert_eq!(link.told(B), ["pracked answer"]);
    link.accept(B, None);
    link.at(300);
    assert_eq!(link.told(A), ["answered  false"]);
    assert_eq!(link.told(B), ["acked -"]);
    link.close(B);
    link.ends();
}

#[test]
fn who_requires_reliable_responses_gets_all_of_them_so_and_who_does_not_know_them_none() {
    let mut link = Link::new(1);
    let headers = none().with(Name::Require, "100rel");
    call_with(&mut link, A, word("offer"), true, headers);
    link.at(20).progress(B, 180);
    link.at(100);
    assert_eq!(link.times(A, "PRACK").len(), 1);
    link.close(A);
    link.ends();
    let mut link = Link::new(1);
    call(&mut link, word("offer"));
    link.at(20).progress_reliably(B, word("early"));
    link.at(100);
    assert_eq!(link.times(A, "PRACK").len(), 0);
    assert_eq!(link.told(A), ["progress 183 0 early"]);
    link.close(A);
    link.ends();
}

#[test]
fn what_was_agreed_reliably_can_be_changed_before_the_answer() {
    for asks in [A, B] {
        let mut link = Link::new(1);
        call_reliably(&mut link, word("offer"));
        link.at(20).progress_reliably(B, word("early"));
        assert_eq!(link.update(B, word("x")), Err(Refused::Pending), "no PRACK yet");
        link.at(100);
        link.told(A);
        link.told(B);
        link.update(asks, word("hold")).unwrap();
        link.at(200);
        assert_eq!(link.told(1 - asks), ["offer hold"]);
        link.answer(1 - asks, word("held"));
        link.at(300);
        assert_eq!(link.told(asks), ["answer held false"]);
        link.accept(B, None);
        link.at(400).close(A);
        link.ends();
    }
}

// ---- session timers ----

fn timed(interval_s: u64, least_s: u64) -> Option<Expiry> {
    let s = std::time::Duration::from_secs;
    Some(Expiry {
        interval: s(interval_s),
        least: s(least_s),
    })
}

fn timed_call(a: Option<Expiry>, b: Option<Expiry>) -> Link {
    let mut link = Link::new(1);
    (link.users[A].expiry, link.users[B].expiry) = (a, b);
    call(&mut link, word("offer"));
    link.at(1_000);
    link.accept(B, word("answer"));
    link.at(2_000);
    link.told(A);
    link.told(B);
    link
}

#[test]
fn the_caller_refreshes_when_half_of_the_interval_is_over() {
    let mut link = timed_call(timed(1_800, 90), timed(600, 90));
    link.at(1_000_000);
    assert_eq!(link.times(A, "UPDATE"), [301_010, 601_030, 901_050]);
    assert_eq!(link.times(B, "UPDATE"), [0; 0]);
    assert_eq!((link.told(A).len(), link.told(B).len()), (0, 0), "nobody needs to know");
    link.close(A);
    link.ends();
}

#[test]
fn a_session_that_is_not_refreshed_ends_on_both_sides() {
    let mut link = timed_call(timed(600, 90), timed(600, 90));
    link.network.loss = 1_000;
    link.at(332_000);
    assert_eq!(link.told(A), [""; 0]);
    link.at(334_000);
    assert_eq!(link.told(A), ["ended Gone"], "the refresh was not answered");
    link.at(568_000);
    assert_eq!(link.told(B), [""; 0]);
    link.at(570_000);
    assert_eq!(link.told(B), ["ended Gone"], "32 s before the end");
    link.ends();
}

#[test]
fn a_phone_without_update_is_refreshed_by_an_offer_that_changes_nothing() {
    let mut link = timed_call(timed(600, 90), timed(600, 90));
    link.users[A].sessions.get_mut(&1).unwrap().allowed = None;
    link.at(301_100);
    assert_eq!(link.told(B), ["offer offer"]);
    link.answer(B, word("answer"));
    link.at(310_000);
    assert_eq!(link.told(A), [""; 0]);
    assert_eq!(link.times(A, "INVITE 2").len(), 1);
    link.close(B);
    link.ends();
}

#[test]
fn too_short_a_life_is_refused_and_asked_for_longer() {
    let mut link = timed_call(timed(100, 90), timed(1_800, 300));
    assert_eq!(link.sent(B)[..2], ["422 INVITE 1", "100 INVITE 2"]);
    assert_eq!(link.sent(A), ["INVITE 1", "ACK 1", "INVITE 2", "ACK 2"]);
    link.at(400_000);
    assert_eq!(link.times(A, "UPDATE"), [151_010, 301_030]);
    link.close(A);
    link.ends();
}

#[test]
fn who_knows_no_session_timers_is_refreshed_by_who_does() {
    for (a, b, who, other) in [(None, timed(600, 90), B, A), (timed(600, 90), None, A, B)] {
        let mut link = timed_call(a, b);
        link.at(1_000_000);
        assert_eq!([link.told(A), link.told(B)].concat(), [""; 0]);
        let minutes: Vec<u64> = link.times(who, "UPDATE").iter().map(|ms| ms / 60_000).collect();
        assert_eq!(minutes, [5, 10, 15]);
        assert_eq!(link.times(other, "UPDATE"), [0u64; 0]);
        link.close(A);
        link.ends();
    }
}

// ---- ACK and 2xx ----

#[test]
fn a_lost_ack_is_sent_again_for_the_repeated_answer() {
    let mut link = Link::new(1);
    let mut acks = 0;
    link.network.drop = Box::new(move |_, what| {
        what == "ACK 1" && {
            acks += 1;
            acks <= 2
        }
    });
    call(&mut link, word("offer"));
    link.at(20).accept(B, word("answer"));
    link.at(10_000);
    assert_eq!(link.times(B, "200 INVITE"), [20, 520, 1_520]);
    assert_eq!(link.times(A, "ACK"), [30, 530, 1_530]);
    assert_eq!(link.told(A), ["answered answer false"]);
    assert_eq!(link.told(B), ["acked -"]);
    link.close(A);
    link.ends();
}

#[test]
fn a_duplicated_answer_is_acknowledged_and_told_once() {
    let mut link = Link::new(1);
    link.network.duplication = 1_000;
    call(&mut link, word("offer"));
    link.at(20).accept(B, word("answer"));
    link.at(10_000);
    assert_eq!(link.told(A), ["answered answer false"]);
    assert_eq!(link.told(B), ["acked -"]);
    assert_eq!(link.times(A, "ACK"), [30, 30]);
    link.close(B);
    link.ends();
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_with_bye() {
    let mut link = Link::new(1);
    link.network.drop = Box::new(|_, what| what.starts_with("ACK"));
    call(&mut link, word("offer"));
    link.at(20).accept(B, word("answer"));
    link.at(32_019);
    let times = [
        20, 520, 1_520, 3_520, 7_520, 11_520, 15_520, 19_520, 23_520, 27_520, 31_520,
    ];
    assert_eq!(link.times(B, "200 INVITE"), times);
    link.at(33_000);
    assert_eq!(link.told(B), ["ended NoAck"]);
    assert_eq!(link.told(A), ["answered answer false", "ended Bye"]);
    link.ends();
}

#[test]
fn the_callee_says_bye_only_after_the_ack() {
    let mut link = Link::new(1);
    let mut acks = 0;
    link.network.drop = Box::new(move |_, what| {
        what == "ACK 1" && {
            acks += 1;
            acks <= 1
        }
    });
    call(&mut link, word("offer"));
    link.at(20).accept(B, word("answer"));
    link.close(B);
    link.at(539);
    assert_eq!(link.times(B, "BYE"), [0; 0]);
    link.at(1_000);
    assert_eq!(link.times(B, "BYE"), [540]);
    assert_eq!(link.told(B), ["acked -", "ended Local"]);
    link.ends();
}

// ---- re-INVITE and UPDATE ----

#[test]
fn either_side_changes_the_session() {
    let mut link = Link::up();
    for (asks, other) in [(A, B), (B, A)] {
        link.modify(asks, word("hold")).unwrap();
        assert_eq!(link.modify(asks, word("again")), Err(Refused::Pending));
        link.at(link.now.millis() + 50);
        assert_eq!(link.told(other), ["offer hold"]);
        assert_eq!(link.modify(other, word("again")), Err(Refused::Pending));
        link.answer(other, word("held"));
        link.at(link.now.millis() + 50);
        assert_eq!(link.told(asks), ["answer held false"]);
        assert_eq!(link.told(other), ["settled"]);
    }
    assert!(link.users.iter().all(|user| !user.sessions[&1].offer_pending()));
    link.close(A);
    link.ends();
}

#[test]
fn a_re_invite_without_offer_asks_for_one() {
    let mut link = Link::up();
    link.modify(A, None).unwrap();
    link.at(200);
    assert_eq!(link.told(B), ["offer -"]);
    link.answer(B, word("full"));
    link.at(300);
    assert_eq!(link.told(A), ["answer full true"]);
    assert_eq!(link.modify(B, word("x")), Err(Refused::Pending));
    link.ack(A, word("agreed"));
    link.at(400);
    assert_eq!(link.told(B), ["answer agreed false"]);
    link.close(B);
    link.ends();
}

#[test]
fn a_refused_offer_leaves_the_session_as_it_was() {
    let mut link = Link::up();
    link.modify(A, word("video")).unwrap();
    link.at(200);
    link.with(B, 1, |s, now, e, out| s.refuse(now, Reply::new(488), e, out))
        .unwrap();
    link.at(300);
    assert_eq!(link.told(A), ["refused 488"]);
    link.modify(A, word("audio")).unwrap();
    link.at(400).answer(B, word("fine"));
    link.at(500);
    assert_eq!(link.told(A), ["answer fine false"]);
    link.close(A);
    link.ends();
}

#[test]
fn offers_that_meet_are_tried_again_at_different_times() {
    let mut link = Link::up();
    link.modify(A, word("of a")).unwrap();
    link.modify(B, word("of b")).unwrap();
    link.at(2_150);
    assert_eq!((link.times(A, "491"), link.times(B, "491")), (vec![110], vec![110]));
    // The callee comes first.
    assert_eq!(link.told(A), ["offer of b"]);
    link.answer(A, word("to b"));
    link.at(6_000);
    assert_eq!(link.told(B), ["answer to b false", "offer of a"]);
    link.answer(B, word("to a"));
    link.at(6_100);
    assert_eq!(link.told(A), ["settled", "answer to a false"]);
    let of_b = link.times(B, "INVITE")[1];
    let of_a = link.times(A, "INVITE")[1];
    assert!(
        of_b < 2_120 + 1 && (120 + 2_100..=120 + 4_000).contains(&of_a),
        "{of_b} {of_a}"
    );
    link.close(A);
    link.ends();
}

#[test]
fn a_refused_offer_that_comes_again_is_refused_the_same_way() {
    let mut link = Link::up();
    let mut refusals = 0;
    link.network.drop = Box::new(move |_, what| {
        what.starts_with("491") && {
            refusals += 1;
            refusals <= 2
        }
    });
    link.modify(A, word("of a")).unwrap();
    link.modify(B, word("of b")).unwrap();
    link.at(1_900);
    let sent = [link.sent(A), link.sent(B)].concat();
    let refused = sent.iter().filter(|what| what.starts_with("491")).count();
    assert!(refused >= 4, "{sent:?}");
    assert!(!sent.iter().any(|what| what.starts_with("500")), "{sent:?}");
    link.close(A);
    link.ends();
}

#[test]
fn an_offer_during_theirs_is_put_off() {
    let mut link = Link::up();
    link.modify(A, word("one")).unwrap();
    link.at(200);
    link.update(B, None).unwrap_err();
    // A second INVITE of the same side, as a broken phone would send it.
    let user = &mut link.users[A];
    let session = user.sessions.get_mut(&1).unwrap();
    session.exchange = super::session::Exchange::Idle;
    session
        .modify(link.now, &none(), word("two"), &mut user.endpoint, &mut user.out)
        .unwrap();
    link.at(300);
    let refusal = link.sent(B);
    assert!(refusal.contains(&"500 INVITE 3".to_owned()), "{refusal:?}");
    link.answer(B, word("to one"));
    link.close(A);
    link.ends();
}

#[test]
fn a_dialog_they_do_not_know_is_over() {
    let mut link = Link::up();
    link.users[B]
        .endpoint
        .unbind_dialog(link.users[B].sessions[&1].local_tag());
    link.users[B].sessions.clear();
    link.modify(A, word("anyone")).unwrap();
    link.at(1_000);
    assert_eq!(link.told(A), ["refused 481", "ended Gone"]);
    assert_eq!(link.times(A, "BYE").len(), 1);
    link.ends();
}

#[test]
fn a_re_invite_nobody_answers_ends_the_session() {
    let mut link = Link::up();
    link.network.loss = 1_000;
    link.modify(A, word("anyone")).unwrap();
    link.at(32_100);
    assert_eq!(link.told(A), ["refused 408", "ended Gone"]);
    link.network.loss = 0;
    link.close(B);
    link.ends();
}

#[test]
fn a_re_invite_that_waits_for_ever_goes_with_its_session() {
    let mut link = Link::up();
    link.modify(A, word("hold")).unwrap();
    link.at(200);
    link.network.loss = 1_000;
    link.close(A);
    assert_eq!(link.times(A, "CANCEL").len(), 1);
    link.at(40_000);
    assert_eq!(link.told(A), ["refused 408", "ended Local"]);
    let counters = link.users[A].endpoint.counters();
    assert_eq!((counters.invite_clients_alive, counters.clients_alive), (0, 0));
}

#[test]
fn a_cancelled_re_invite_withdraws_its_offer() {
    let mut link = Link::up();
    link.modify(A, word("hold")).unwrap();
    link.at(200);
    let user = &mut link.users[A];
    let super::session::Exchange::Sent { client, .. } = user.sessions[&1].exchange else {
        panic!()
    };
    user.endpoint.cancel(link.now, client, &none(), &mut user.out);
    link.at(300);
    assert_eq!(link.told(B), ["offer hold", "withdrawn"]);
    assert_eq!(link.told(A), ["refused 487"]);
    link.modify(B, word("mine")).unwrap();
    link.at(400).answer(A, word("yours"));
    link.close(A);
    link.ends();
}

#[test]
fn update_changes_the_session_and_tells_identity() {
    let mut link = Link::up();
    link.update(A, word("offer")).unwrap();
    link.at(200);
    assert_eq!(link.told(B), ["offer offer"]);
    link.answer(B, word("fine"));
    link.at(300);
    assert_eq!(link.told(A), ["answer fine false"]);
    link.update(B, None).unwrap();
    link.at(400);
    assert_eq!(link.told(B), ["answer - false"]);
    assert_eq!(link.told(A), [""; 0]);
    assert_eq!(link.times(A, "ACK"), [0; 0]);
    link.close(A);
    link.ends();
}

#[test]
fn update_before_the_answer_has_no_offer() {
    let mut link = Link::new(1);
    call(&mut link, word("offer"));
    link.at(20);
    assert_eq!(link.update(B, None), Err(Refused::State));
    link.progress(B, 180);
    assert_eq!(link.update(B, word("offer")), Err(Refused::Pending));
    link.update(B, None).unwrap();
    link.at(100);
    assert_eq!(link.told(B), ["answer - false"]);
    link.accept(B, word("answer"));
    link.at(200).close(A);
    link.ends();
}

#[test]
fn update_is_not_sent_to_who_does_not_know_it() {
    let mut link = Link::new(1);
    call(&mut link, word("offer"));
    link.at(20);
    link.users[B].sessions.get_mut(&1).unwrap().allowed = None;
    link.accept(B, word("answer"));
    link.at(100);
    assert_eq!(link.update(B, None), Err(Refused::NotAllowed));
    link.close(A);
    link.ends();
}

// ---- other requests ----

#[test]
fn requests_of_others_are_passed_and_answered() {
    let mut link = Link::up();
    link.with(A, 1, |s, now, e, out| {
        s.request(now, Method::Info, &none(), word("digit"), e, out)
    })
    .unwrap();
    link.at(200);
    let Event::Request { server, .. } = link.users[B].told[0].1 else {
        panic!("{:?}", link.users[B].told)
    };
    assert_eq!(link.told(B), ["request INFO digit"]);
    link.with(B, 1, |s, now, e, out| s.respond(now, server, Reply::new(200), e, out));
    link.at(300);
    assert_eq!(link.told(A), ["response 200"]);
    let bye = link.with(A, 1, |s, now, e, out| {
        s.request(now, Method::Bye, &none(), None, e, out)
    });
    assert_eq!(bye, Err(Refused::State));
    link.close(A);
    link.ends();
}

#[test]
fn a_request_out_of_order_gets_500() {
    let mut link = Link::up();
    for _ in 0..2 {
        link.with(A, 1, |s, now, e, out| {
            s.request(now, Method::Info, &none(), word("digit"), e, out)
        })
        .unwrap();
    }
    link.network.delay = (1, 10);
    link.at(200);
    link.told(B);
    let late = text_request(&link, "INFO", 1, flow(A));
    deliver(&mut link, B, flow(B), &late);
    assert!(link.sent(B).contains(&"500 INFO 1".to_owned()));
    assert_eq!(link.told(B), [""; 0]);
    link.close(A);
    link.ends();
}

#[test]
fn a_bye_from_elsewhere_is_foreign_and_one_with_other_tags_is_unknown() {
    let mut link = Link::up();
    let session = &link.users[B].sessions[&1];
    let bye = Message::parse(Bytes::from(text_request(&link, "BYE", 9, flow(A)))).unwrap();
    let elsewhere = crate::Flow {
        peer: "203.0.113.66:5060".parse().unwrap(),
        ..flow(B)
    };
    assert_eq!(session.matches(flow(B), &bye), Match::Yes);
    assert_eq!(session.matches(elsewhere, &bye), Match::Foreign);
    let other = text_request(&link, "BYE", 9, flow(A))
        .replace("From: <sip:a@example.com>;tag=", "From: <sip:a@example.com>;tag=0");
    assert_eq!(
        session.matches(flow(B), &Message::parse(Bytes::from(other)).unwrap()),
        Match::No
    );
    // Once its sender is known, the dialog moves there.
    let event = crate::endpoint::Event::Request {
        flow: elsewhere,
        message: bye,
        dialog: Some(Owner(1)),
        merged: false,
    };
    link.users[B].sessions.get_mut(&1).unwrap().dialogs_mut()[0].set_flow(flow(B));
    let user = &mut link.users[B];
    user.sessions
        .get_mut(&1)
        .unwrap()
        .handle_event(link.now, event, &mut user.endpoint, &mut user.out);
    let sent = user.out.iter().find_map(|o| {
        if let Output::Transmit { flow, .. } = o {
            Some(flow.peer)
        } else {
            None
        }
    });
    assert_eq!(sent, Some(elsewhere.peer));
    user.out.retain(|o| !matches!(o, Output::Transmit { .. }));
    link.settle();
    link.close(A);
    link.ends();
}

/// A request of `A`'s in the call, written by hand.
fn text_request(link: &Link, method: &str, cseq: u32, from: crate::Flow) -> String {
    let (a, b) = (&link.users[A].sessions[&1], &link.users[B].sessions[&1]);
    format!(
        "{method} sip:user@192.0.2.2:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKhand{method}{cseq};rport\r\n\
         From: <sip:a@example.com>;tag={}\r\nTo: <sip:b@example.com>;tag={}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
        from.local,
        a.local_tag(),
        b.local_tag(),
        a.call_id()
    )
}

fn deliver(link: &mut Link, side: Side, flow: crate::Flow, text: &str) {
    let message = Message::parse(Bytes::from(text.to_owned())).unwrap();
    let user = &mut link.users[side];
    user.endpoint.handle_message(link.now, flow, message, &mut user.out);
    link.settle();
}

// ---- forks ----

#[test]
fn each_fork_has_its_early_dialog_and_only_one_of_two_answers_is_kept() {
    let mut link = Link::new(1);
    link.network.drop = Box::new(|_, _| true);
    call(&mut link, word("offer"));
    let response = |link: &Link, status: u16, tag: &str, via: &str| {
        let session = &link.users[A].sessions[&1];
        format!(
            "SIP/2.0 {status} X\r\nVia: {via}\r\nFrom: <sip:a@example.com>;tag={}\r\nTo: <sip:b@example.com>;tag={tag}\r\n\
             Call-ID: {}\r\nCSeq: 1 INVITE\r\nContact: <sip:{tag}@192.0.2.2:5060>\r\nContent-Length: 0\r\n\r\n",
            session.local_tag(),
            session.call_id()
        )
    };
    let via = last_via(&mut link);
    for (status, tag) in [
        (180, "x"),
        (183, "y"),
        (180, "x"),
        (200, "y"),
        (200, "z"),
        (200, "z"),
        (200, "y"),
    ] {
        let text = response(&link, status, tag, &via);
        deliver(&mut link, A, flow(A), &text);
    }
    assert_eq!(
        link.told(A),
        ["progress 180 0", "progress 183 1", "progress 180 0", "answered  false"]
    );
    assert_eq!(link.sent(A), ["INVITE 1", "ACK 1", "ACK 1", "BYE 2", "ACK 1", "ACK 1"]);
    assert_eq!(link.users[A].sessions[&1].remote_tag(), Some(&b"y"[..]));
    assert_eq!(link.users[A].sessions[&1].target(), Some(&b"sip:y@192.0.2.2:5060"[..]));
    link.close(A);
    link.ends();
}

#[test]
fn each_success_that_comes_after_the_end_is_acknowledged() {
    let mut link = Link::new(1);
    link.network.drop = Box::new(|_, _| true);
    call(&mut link, word("offer"));
    let via = last_via(&mut link);
    let (tag, call_id) = {
        let session = &link.users[A].sessions[&1];
        (session.local_tag(), session.call_id().to_owned())
    };
    let success = |tag_of_fork: &str| {
        format!(
            "SIP/2.0 200 OK\r\nVia: {via}\r\nFrom: <sip:a@example.com>;tag={tag}\r\nTo: <sip:b@example.com>;tag={tag_of_fork}\r\n\
             Call-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContact: <sip:y@192.0.2.2:5060>\r\nContent-Length: 0\r\n\r\n"
        )
    };
    deliver(&mut link, A, flow(A), &success("y"));
    let bye = format!(
        "BYE sip:user@192.0.2.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bKbye\r\n\
         From: <sip:b@example.com>;tag=y\r\nTo: <sip:a@example.com>;tag={tag}\r\nCall-ID: {call_id}\r\nCSeq: 7 BYE\r\n\
         Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    );
    deliver(&mut link, A, flow(A), &bye);
    assert_eq!(link.told(A), ["answered  false", "ended Bye"]);
    assert_eq!(link.sent(A), ["INVITE 1", "ACK 1", "200 BYE 7"]);
    for fork in ["y", "z", "z", "y"] {
        deliver(&mut link, A, flow(A), &success(fork));
    }
    assert_eq!(link.sent(A), ["ACK 1", "ACK 1", "BYE 2", "ACK 1", "ACK 1"]);
    // Timer M: 64*T1 after the first.
    link.at(33_000);
    link.sent(A);
    deliver(&mut link, A, flow(A), &success("y"));
    assert_eq!(link.sent(A), [""; 0]);
    link.ends();
}

/// The Via of the INVITE on its way: sent once more, because it never arrives.
fn last_via(link: &mut Link) -> String {
    let seen = std::rc::Rc::new(std::cell::RefCell::new(String::new()));
    let user = &mut link.users[A];
    user.endpoint.handle_timeout(clock::Mono(500_000_000), &mut user.out);
    for output in &user.out {
        if let Output::Transmit { bytes, .. } = output {
            let message = Message::parse(bytes.clone()).unwrap();
            *seen.borrow_mut() = String::from_utf8(message.header(Name::Via).unwrap().to_vec()).unwrap();
        }
    }
    user.out.clear();
    seen.take()
}

// ---- whatever happens ----

/// Both sides do random things over a bad network; then both close. Nothing may be left, and each session must have ended
/// exactly once.
fn storm(seed: u64) {
    let mut link = Link::new(seed);
    link.network.loss = 150;
    link.network.duplication = 100;
    link.network.delay = (5, 300);
    let mut random = Random(seed ^ 0xabcd);
    for user in &mut link.users {
        user.expiry = timed(90, 90).filter(|_| random.below(2) == 0);
    }
    let mut calls = 0;
    for _ in 0..60 {
        let (side, step) = (random.below(2) as usize, random.below(2_000));
        link.at(link.now.millis() + step);
        let owners: Vec<u64> = link.users[side].sessions.keys().copied().collect();
        if owners.is_empty() || random.below(10) == 0 {
            let offer = if random.below(2) == 0 { word("offer") } else { None };
            call_with(&mut link, side, offer, random.below(2) == 0, none());
            calls += 1;
            continue;
        }
        let owner = owners[random.below(owners.len() as u64) as usize];
        let body = if random.below(3) > 0 { word("body") } else { None };
        link.with(side, owner, |s, now, e, out| match random.below(13) {
            9 => drop(s.progress_reliably(
                now,
                Reply {
                    body,
                    ..Reply::new(183)
                },
                e,
                out,
            )),
            10 => drop(s.prack(now, body, e, out)),
            0 => drop(s.progress(now, Reply::new(183), e, out)),
            1 | 2 => drop(s.accept(now, &none(), body, e, out)),
            3 => drop(s.reject(now, Reply::new(486), e, out)),
            4 => drop(s.ack(now, body, e, out)),
            5 => drop(s.modify(now, &none(), body, e, out)),
            6 => drop(s.update(now, &none(), body, e, out)),
            7 => drop(s.answer(now, &none(), body, e, out)),
            8 => drop(s.refuse(now, Reply::new(488), e, out)),
            11 => drop(s.request(now, Method::Info, &none(), body, e, out)),
            _ => s.close(now, &none(), e, out),
        });
    }
    for side in [A, B, A, B] {
        for owner in link.users[side].sessions.keys().copied().collect::<Vec<_>>() {
            link.with(side, owner, |s, now, e, out| s.close(now, &none(), e, out));
        }
        // What is still on its way may begin a session yet.
        link.at(link.now.millis() + 33_000);
    }
    link.ends();
    assert!(calls > 0);
    for user in &link.users {
        let mut ended: Vec<u64> = user
            .told
            .iter()
            .filter(|(_, e)| matches!(e, Event::Ended { .. }))
            .map(|(o, _)| *o)
            .collect();
        let count = ended.len();
        ended.dedup();
        ended.sort_unstable();
        ended.dedup();
        assert_eq!(ended.len(), count, "a session ended twice");
        for (at, (owner, event)) in user.told.iter().enumerate() {
            let later = user.told[at + 1..].iter().any(|(o, _)| o == owner);
            assert!(
                !(later && matches!(event, Event::Ended { .. })),
                "told of {owner} after its end"
            );
        }
    }
}

#[test]
fn nothing_is_left_after_any_storm() {
    for seed in 0..150 {
        storm(seed);
    }
}

#[test]
fn a_tag_is_ours_only_in_the_form_we_write() {
    assert_eq!(Tag::parse(Tag(0x1234).to_string().as_bytes()), Some(Tag(0x1234)));
    assert_eq!(Tag::parse(b"000000000000123G"), None);
    assert_eq!(Tag::parse(b"00000000000012AB"), None);
    assert_eq!(Tag::parse(b"1234"), None);
}
