//! Extensions that the switch answers itself.

use super::*;
use crate::Input;
use media::Plan;
use media::plan::{Audience, Matrix, Sound, Source};

#[test]
fn the_echo_hears_itself() {
    let mut lab = Lab::new();
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let mut kates = kate.invite(&mut lab, "9196", Some(&sdp(7000, &[18, 8, 0, 101])));
    let ok = kate.expect(&mut lab, 200);
    assert!(body(&ok).contains("RTP/AVP 8 101\r\n"), "{}", body(&ok));
    kate.ack(&mut lab, &mut kates, &ok, None);
    let leg = lab.studio.towards(7000).expect("a leg").leg;
    let echoes = |plan: &Plan| match plan {
        Plan::SetEdges { edges, .. } => edges.iter().any(|edge| edge.from == Source::Leg(leg) && edge.to == leg),
        _ => false,
    };
    assert!(lab.studio.plans.iter().any(echoes));
    assert!(matches!(
        lab.studio.plans[0],
        Plan::OpenRoom {
            matrix: Matrix::Nobody,
            ..
        }
    ));

    let offer = hold(7000, &[8]);
    kate.send_in(
        &mut lab,
        &mut kates,
        Method::Invite,
        "",
        Some(("application/sdp", &offer)),
    );
    let held = kate.expect(&mut lab, 200);
    assert!(body(&held).contains("a=recvonly\r\n"), "{}", body(&held));
    kate.ack(&mut lab, &mut kates, &held, None);
    assert!(lab.studio.towards(7000).expect("a leg").media.on_hold);

    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    kate.expect(&mut lab, 200);
    assert_eq!(reasons(&lab), [EndReason::Normal]);
    assert_eq!(&*lab.records[0].codec, "PCMA/8000");
    lab.assert_clean();
}

#[test]
fn a_tone_plays_to_its_caller() {
    let mut lab = Lab::new();
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let mut kates = kate.invite(&mut lab, "9197", None);
    let ok = kate.expect(&mut lab, 200);
    assert!(body(&ok).contains("RTP/AVP 0 8 9 107 101\r\n"), "{}", body(&ok));
    kate.ack(&mut lab, &mut kates, &ok, Some(&sdp(7000, &[0])));
    assert!(lab.studio.towards(7000).is_some());
    assert!(lab.studio.plans.iter().any(|plan| matches!(plan, Plan::Play { .. })));
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    lab.assert_clean();
}

#[test]
fn a_caller_who_never_describes_himself_is_not_kept() {
    let mut lab = Lab::new();
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let mut kates = kate.invite(&mut lab, "9196", None);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    told_bye(&mut lab, &kate);
    assert_eq!(reasons(&lab), [EndReason::NoCommonCodec]);
    lab.assert_clean();
}

#[test]
fn a_service_needs_a_codec_of_ours() {
    let mut lab = Lab::new();
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    kate.invite(&mut lab, "9196", Some(&sdp(7000, &[18])));
    let refusal = kate.expect(&mut lab, 488);
    assert_eq!(header(&refusal, Name::Warning), "305 tandem \"no common codec\"");
    lab.assert_clean();
}

#[test]
fn a_reinvite_without_offer_gets_ours() {
    let mut lab = Lab::new();
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let mut kates = kate.invite(&mut lab, "9196", Some(&sdp(7000, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    kate.send_in(&mut lab, &mut kates, Method::Invite, "", None);
    let offer = kate.expect(&mut lab, 200);
    assert!(body(&offer).contains("m=audio"));
    kate.ack(&mut lab, &mut kates, &offer, Some(&sdp(7002, &[8])));
    let leg = lab.studio.towards(7002).expect("moved");
    assert_eq!(leg.media.formats[0].codec, media::plan::Codec::Pcma);
}

#[test]
fn a_key_press_by_info_is_taken() {
    let mut lab = Lab::new();
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let mut kates = kate.invite(&mut lab, "9196", Some(&sdp(7000, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    kate.send_in(
        &mut lab,
        &mut kates,
        Method::Info,
        "",
        Some(("application/dtmf-relay", "Signal=1\r\n")),
    );
    kate.expect(&mut lab, 200);
    kate.send_in(
        &mut lab,
        &mut kates,
        Method::Message,
        "",
        Some(("text/plain", "anybody?")),
    );
    kate.expect(&mut lab, 480);
}

#[test]
fn music_plays_to_its_caller() {
    let mut lab = Lab::new();
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let mut kates = kate.invite(&mut lab, "9664", Some(&sdp(7000, &[0])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    let leg = lab.studio.towards(7000).unwrap().leg;
    let plays = |plan: &Plan| match plan {
        Plan::Play { sound, to, .. } => *sound == Sound::hold_music() && *to == Audience::Leg(leg),
        _ => false,
    };
    assert!(lab.studio.plans.iter().any(plays));
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    lab.assert_clean();
}

#[test]
fn keys_are_read_back_each_once_and_in_order() {
    let mut lab = Lab::new();
    let mut kate = Handset::registered(&mut lab, "1000", 6000);
    let mut kates = kate.invite(&mut lab, "9198", Some(&sdp(7000, &[0, 101])));
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    let leg = lab.studio.towards(7000).unwrap().leg;
    let press = |lab: &mut Lab, digit| {
        lab.input(Input::Media(media::Event::Dtmf {
            leg,
            digit,
            duration: std::time::Duration::from_millis(100),
            by: media::DtmfBy::Packets,
            passed_on: false,
        }));
    };
    let last = |lab: &Lab| {
        lab.studio.plans.iter().rev().find_map(|plan| match plan {
            Plan::Play {
                room, player, sound, ..
            } => Some((*room, *player, sound.clone())),
            _ => None,
        })
    };
    assert_eq!(last(&lab), None);
    press(&mut lab, '4');
    let (room, player, sound) = last(&lab).unwrap();
    assert_eq!(sound, Sound::digits("4"));
    press(&mut lab, '2');
    press(&mut lab, '#');
    assert_eq!(last(&lab).unwrap().2, Sound::digits("4"), "one after the other");
    lab.input(Input::Media(media::Event::Played { room, player }));
    assert_eq!(last(&lab).unwrap().2, Sound::digits("2#"));
    let played = lab.studio.plans.len();
    lab.input(Input::Media(media::Event::Played { room, player }));
    assert_eq!(lab.studio.plans.len(), played);
    kate.send_in(&mut lab, &mut kates, Method::Bye, "", None);
    lab.assert_clean();
}
