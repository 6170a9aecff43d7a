//! Ends, foreseen and not: ports come back, records are written once, nothing is left.

use super::*;
use media::Event;
use sip::Transport;
use std::time::Duration;

#[test]
fn the_records_and_the_figures_say_how_it_sounded() {
    let Up {
        mut lab,
        mut kate,
        mut kates,
        ..
    } = up();
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    for record in &lab.records {
        let quality = record.quality;
        assert_eq!((quality.jitter_ms, quality.round_trip_ms), (7, Some(42)));
        assert_eq!(quality.mos_hundredths, Some(436));
    }
    let figures = [
        "leg_packets_lost_total",
        "leg_round_trip_ms_total",
        "legs_with_mos_total",
        "legs_poor_total",
    ];
    assert_eq!(figures.map(|name| lab.figure(name)), [2, 84, 2, 0]);
}

#[test]
fn a_200_without_ack_is_repeated_for_32_seconds_and_then_both_sides_are_told() {
    let (mut lab, kate, jim, _, invite) = ringing();
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    jim.expect_request(&mut lab, Method::Ack);
    kate.expect(&mut lab, 200);
    let began = lab.now.mono;
    lab.pass_s(31);
    let repeats: Vec<u64> = std::iter::from_fn(|| kate.take(&mut lab))
        .map(|ok| u64::from(ok.status()))
        .collect();
    assert_eq!(repeats, [200; 9], "at 0.5, 1.5, 3.5, 7.5, 11.5 ... 27.5 s");
    jim.expect_nothing(&mut lab);
    lab.pass_s(1);
    told_bye(&mut lab, &jim);
    assert_eq!(lab.now.mono.since(began), Duration::from_secs(32));
    assert_eq!(reasons(&lab), [EndReason::SignallingTimeout; 2]);
    while kate.take(&mut lab).is_some() {}
    lab.assert_clean();
}

#[test]
fn a_phone_that_answers_no_bye_holds_no_port_and_its_record_is_written_at_once() {
    let Up {
        mut lab,
        mut kate,
        jim,
        mut kates,
        ..
    } = up();
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    jim.expect_request(&mut lab, Method::Bye);
    assert_eq!(
        (lab.records.len(), lab.figure("rtp_ports"), lab.figure("calls")),
        (2, 0, 0)
    );
    assert_eq!(lab.figure("legs"), 1, "its farewell is awaited");
    lab.pass_s(32);
    assert_eq!(lab.figure("legs"), 0);
    while jim.take(&mut lab).is_some() {}
    lab.assert_clean();
}

#[test]
fn silence_ends_the_call() {
    let Up { mut lab, kate, jim, .. } = up();
    let leg = lab.studio.towards(7100).expect("jim").leg;
    lab.input(crate::Input::Media(Event::MediaTimeout { leg }));
    for phone in [&kate, &jim] {
        let bye = told_bye(&mut lab, phone);
        assert!(header(&bye, Name::Reason).contains("Media timeout"));
    }
    assert_eq!(reasons(&lab), [EndReason::MediaTimeout; 2]);
    lab.assert_clean();
}

#[test]
fn a_media_worker_that_says_nothing_costs_no_port() {
    let Up {
        mut lab,
        mut kate,
        jim,
        mut kates,
        ..
    } = up();
    lab.studio.is_dead = true;
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    told_bye(&mut lab, &jim);
    assert_eq!((lab.figure("rtp_ports"), lab.records.len()), (2, 0));
    lab.pass_s(2);
    assert_eq!((lab.figure("rtp_ports"), lab.records.len()), (0, 2));
    lab.assert_clean();
}

#[test]
fn both_hang_up_at_once() {
    let Up {
        mut lab,
        mut kate,
        mut jim,
        mut kates,
        mut jims,
    } = up();
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    jim.send_in(&mut lab, &mut jims, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    jim.expect_request(&mut lab, Method::Bye);
    jim.expect(&mut lab, 200);
    lab.pass_s(4);
    assert_eq!(lab.figure("legs"), 0);
    lab.assert_clean();
}

#[test]
fn after_the_end_nothing_is_known_of_the_call() {
    let Up {
        mut lab,
        mut kate,
        jim,
        mut kates,
        ..
    } = up();
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    told_bye(&mut lab, &jim);
    for method in [Method::Invite, Method::Update, Method::Info, Method::Bye] {
        kate.send_in(
            &mut lab,
            &mut kates,
            method,
            "",
            Some(("application/sdp", &sdp(7000, &[0]))),
        );
        kate.expect(&mut lab, 481);
    }
    lab.assert_clean();
}

#[test]
fn a_change_after_our_bye_is_refused() {
    let Up {
        mut lab,
        mut kate,
        mut jim,
        mut kates,
        mut jims,
    } = up();
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    jim.expect_request(&mut lab, Method::Bye);
    for method in [Method::Invite, Method::Update, Method::Info] {
        jim.send_in(
            &mut lab,
            &mut jims,
            method,
            "",
            Some(("application/sdp", &sdp(7100, &[0]))),
        );
        jim.expect(&mut lab, 481);
    }
    lab.assert_clean();
}

#[test]
fn nothing_a_stranger_says_inside_a_call_reaches_it() {
    let Up {
        mut lab,
        kate,
        jim,
        mut kates,
        jims,
    } = up();
    let mut mallory = Handset::new("1005", 6600);
    let methods = [
        Method::Bye,
        Method::Invite,
        Method::Update,
        Method::Info,
        Method::Refer,
        Method::Notify,
        Method::Message,
        Method::Prack,
        Method::Cancel,
        Method::Options,
    ];
    for knows_tags in [true, false] {
        for method in methods {
            let mut dialog = kates.clone();
            if !knows_tags {
                // Sixty-four bits of chance are not guessed.
                dialog.remote = dialog.remote.replace("tag=", "tag=0");
            }
            let offer = sdp(6666, &[0]);
            let body = (method == Method::Invite).then_some(("application/sdp", &*offer));
            mallory.send_in(&mut lab, &mut dialog, method, "", body);
            kates.cseq = dialog.cseq;
            let answer = mallory.next(&mut lab);
            let refused = if knows_tags { [401, 481] } else { [481, 481] };
            assert!(refused.contains(&answer.status()), "{method:?}: {}", answer.status());
            assert_eq!(lab.figure("calls"), 1, "{method:?}");
        }
    }
    kate.expect_nothing(&mut lab);
    jim.expect_nothing(&mut lab);
    Up {
        lab,
        kate,
        jim,
        kates,
        jims,
    }
    .end();
}

#[test]
fn a_stranger_cannot_end_a_call_though_he_knows_its_tags() {
    let Up {
        mut lab,
        kate,
        jim,
        mut kates,
        jims,
    } = up();
    let mut mallory = Handset::new("1005", 6600);
    let bye = mallory.request(&mut kates, Method::Bye, "", None);
    mallory.send(&mut lab, bye);
    mallory.expect(&mut lab, 401);
    assert_eq!(lab.figure("calls"), 1);
    // Nor by being somebody else.
    mallory.register(&mut lab);
    let credentials = mallory.credentials(Method::Bye, &kates.target.clone());
    let bye = mallory.request(&mut kates, Method::Bye, &credentials, None);
    mallory.send(&mut lab, bye);
    mallory.expect(&mut lab, 481);
    assert_eq!(lab.figure("calls"), 1);
    Up {
        lab,
        kate,
        jim,
        kates,
        jims,
    }
    .end();
}

#[test]
fn a_request_inside_a_call_from_another_connection_is_asked_for_credentials() {
    for transport in [Transport::Tcp, Transport::Tls, Transport::Ws] {
        let mut lab = Lab::new();
        let mut kate = Handset::new("1000", 6000);
        (kate.flow.transport, kate.flow.connection) = (transport, 5);
        kate.register(&mut lab);
        let jim = Handset::registered(&mut lab, "1001", 6100);
        let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
        let invite = jim.expect_request(&mut lab, Method::Invite);
        jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
        jim.expect_request(&mut lab, Method::Ack);
        let ok = kate.expect(&mut lab, 200);
        kate.ack(&mut lab, &mut kates, &ok, None);
        // The same host and port, even: a connection is what its number says.
        let own = std::mem::replace(&mut kate.flow.connection, 6);
        for method in [Method::Bye, Method::Invite, Method::Update, Method::Refer, Method::Info] {
            kate.send_in(&mut lab, &mut kates, method, "", None);
            kate.expect(&mut lab, 401);
            assert_eq!(lab.figure("calls"), 1, "{method:?}");
        }
        jim.expect_nothing(&mut lab);
        kate.flow.connection = own;
        kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
        kate.expect(&mut lab, 200);
        let bye = jim.expect_request(&mut lab, Method::Bye);
        jim.reply(&mut lab, &bye, 200, None);
        lab.assert_clean();
    }
}

#[test]
fn a_phone_whose_address_changed_may_hang_up_once_it_has_proved_who_it_is() {
    let Up {
        mut lab,
        mut kate,
        jim,
        mut kates,
        ..
    } = up();
    kate.flow.peer.set_port(6001);
    let credentials = kate.credentials(Method::Bye, &kates.target.clone());
    kate.send_in(&mut lab, &mut kates, Method::Bye, &credentials, None);
    kate.expect(&mut lab, 200);
    told_bye(&mut lab, &jim);
    lab.assert_clean();
}

#[test]
fn a_port_rests_before_it_is_used_again() {
    let Up {
        mut lab,
        mut kate,
        jim,
        mut kates,
        ..
    } = up();
    let used = [7000, 7100].map(|port| lab.studio.towards(port).expect("a leg").port);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    told_bye(&mut lab, &jim);
    let mut offered = vec![];
    for _ in 0..40 {
        kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0])));
        offered.push(audio_port(&jim.expect_request(&mut lab, Method::Invite)));
    }
    assert!(offered.iter().all(|port| !used.contains(port)));
}

#[test]
fn a_leg_that_is_up_is_known_to_the_store_until_it_has_its_record() {
    let (mut lab, mut kate, jim, mut kates, invite) = ringing();
    assert!(lab.open.is_empty(), "nobody has answered");
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    let kept: Vec<_> = lab
        .open
        .values()
        .map(|cdr| (cdr.reason, cdr.answered_at.is_some()))
        .collect();
    assert_eq!(kept, [(EndReason::Restart, true); 2]);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    told_bye(&mut lab, &jim);
    lab.assert_clean();
}
