//! Key presses between devices that take them in different ways.

use super::*;
use media::{DtmfBy, Event, LegId, Plan};
use std::time::Duration;

/// The engine heard a key of the device whose RTP is at this port.
fn pressed(lab: &mut Lab, port: u16, digit: char, by: DtmfBy, passed_on: bool) {
    let leg = lab.studio.towards(port).expect("a leg").leg;
    let duration = Duration::from_millis(120);
    lab.input(crate::Input::Media(Event::Dtmf {
        leg,
        digit,
        duration,
        by,
        passed_on,
    }));
}

/// What the engine was told to press towards a leg.
fn dialled(lab: &Lab, leg: LegId) -> String {
    let to_leg = |plan: &Plan| match plan {
        Plan::SendDtmf { leg: to, digits, .. } if *to == leg => Some(digits.to_string()),
        _ => None,
    };
    lab.studio.plans.iter().filter_map(to_leg).collect()
}

#[test]
fn a_key_press_by_info_becomes_packets_for_a_phone_that_takes_them() {
    let mut up = up();
    let key = ("application/dtmf", "7");
    up.kate.send_in(&mut up.lab, &mut up.kates, Method::Info, "", Some(key));
    up.kate.expect(&mut up.lab, 200);
    up.jim.expect_nothing(&mut up.lab);
    let jims = up.lab.studio.towards(7100).expect("jim").leg;
    assert_eq!(dialled(&up.lab, jims), "7");
    up.end();
}

#[test]
fn packets_become_an_info_for_a_phone_without_them_and_tones_where_it_takes_none() {
    let mut up = up_without_keys();
    pressed(&mut up.lab, 7000, '#', DtmfBy::Packets, false);
    let info = up.jim.expect_request(&mut up.lab, Method::Info);
    assert_eq!(body(&info), "Signal=#\r\nDuration=120\r\n");
    up.jim.reply(&mut up.lab, &info, 200, None);
    up.kate.expect_nothing(&mut up.lab);
    up.end();

    let (mut lab, mut kate, mut jim) = pair();
    jim.allow = "INVITE, ACK, CANCEL, BYE";
    let mut kates = kate.invite(&mut lab, "1001", Some(&sdp(7000, &[0, 101])));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    jim.reply(&mut lab, &invite, 200, Some(&sdp(7100, &[0])));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    pressed(&mut lab, 7000, '3', DtmfBy::Packets, false);
    jim.expect_nothing(&mut lab);
    let jims = lab.studio.towards(7100).expect("jim").leg;
    assert_eq!(dialled(&lab, jims), "3");
}

#[test]
fn what_the_engine_passed_on_or_the_other_hears_anyway_is_not_sent_twice() {
    let mut up = up();
    pressed(&mut up.lab, 7000, '1', DtmfBy::Packets, true);
    let jims = up.lab.studio.towards(7100).expect("jim").leg;
    assert_eq!(dialled(&up.lab, jims), "");
    pressed(&mut up.lab, 7000, '2', DtmfBy::Tones, false);
    assert_eq!(
        dialled(&up.lab, jims),
        "2",
        "he takes packets and does not listen for tones"
    );
    up.end();

    let mut up = up_without_keys();
    pressed(&mut up.lab, 7000, '2', DtmfBy::Tones, false);
    up.jim.expect_nothing(&mut up.lab);
    let jims = up.lab.studio.towards(7100).expect("jim").leg;
    assert_eq!(dialled(&up.lab, jims), "");
    up.end();
}

#[test]
fn tones_in_the_sound_are_listened_for_where_that_is_wanted_and_no_packets_were_agreed() {
    for (wanted, offered, listens) in [(true, &[0u8][..], true), (true, &[0, 101], false), (false, &[0], false)] {
        let mut config = lab::config();
        config.media.inband_dtmf = wanted;
        let mut lab = Lab::with(config);
        let mut kate = Handset::registered(&mut lab, "1000", 6000);
        let mut kates = kate.invite(&mut lab, "9198", Some(&sdp(7000, offered)));
        let ok = kate.expect(&mut lab, 200);
        kate.ack(&mut lab, &mut kates, &ok, None);
        assert_eq!(lab.studio.towards(7000).expect("a leg").media.inband_dtmf, listens);
        pressed(&mut lab, 7000, '5', DtmfBy::Tones, false);
        let plays = |plan: &Plan| matches!(plan, Plan::Play { .. });
        assert!(lab.studio.plans.iter().any(plays), "it is read back");
    }
}
