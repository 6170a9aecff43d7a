//! Video beside the sound: two devices that agree on it see each other while they talk to each other alone.

use super::*;
use media::plan::Codec;

const VIDEO: &str = "RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=rtcp-fb:* nack pli\r\n";

/// A phone with a camera on the port two above that of its sound.
fn seen(port: u16, text: &str) -> String {
    format!("{text}m=video {} {VIDEO}", port + 2)
}

fn video_port(text: impl AsRef<str>) -> u16 {
    let line = text
        .as_ref()
        .lines()
        .find_map(|line| line.strip_prefix("m=video "))
        .expect("video");
    line.split(' ').next().unwrap().parse().unwrap()
}

/// A call with video that is up; our ports for it towards Kate and Jim.
fn up() -> (Up, u16, u16) {
    let (mut lab, mut kate, jim) = pair();
    let mut kates = kate.invite(&mut lab, "1001", Some(&seen(7000, &sdp(7000, &[0]))));
    let invite = jim.expect_request(&mut lab, Method::Invite);
    assert!(body(&invite).contains("a=rtcp-fb:* nack pli\r\n"), "{}", body(&invite));
    jim.reply(&mut lab, &invite, 200, Some(&seen(7100, &sdp(7100, &[0]))));
    jim.expect_request(&mut lab, Method::Ack);
    let ok = kate.expect(&mut lab, 200);
    kate.ack(&mut lab, &mut kates, &ok, None);
    let jims = jim.dialog_of(&invite);
    let ports = (video_port(body(&ok)), video_port(body(&invite)));
    let up = Up {
        lab,
        kate,
        jim,
        kates,
        jims,
    };
    (up, ports.0, ports.1)
}

#[test]
fn two_devices_with_video_see_each_other() {
    let (up, kates, jims) = up();
    let (kate, jim) = (
        up.lab.studio.towards(7002).unwrap(),
        up.lab.studio.towards(7102).unwrap(),
    );
    assert_eq!((kate.port, jim.port), (kates, jims));
    assert_eq!(kate.room, jim.room);
    assert_ne!(kate.room, up.lab.studio.towards(7000).unwrap().room);
    assert!(kate.media.video && matches!(kate.media.formats[0].codec, Codec::Other { clock: 90_000, .. }));
    assert_eq!(kate.latch, up.lab.studio.towards(7000).unwrap().latch);
    assert_eq!(kate.media_timeout, None);
    up.end();
}

#[test]
fn on_hold_nobody_sees_and_a_later_offer_brings_video_back() {
    let (mut up, ..) = up();
    let offer = |up: &mut Up, text: &str| {
        let offer = Some(("application/sdp", text));
        up.kate.send_in(&mut up.lab, &mut up.kates, Method::Invite, "", offer);
    };
    let answered = |up: &mut Up| {
        let ok = up.kate.expect(&mut up.lab, 200);
        up.kate.ack(&mut up.lab, &mut up.kates, &ok, None);
        video_port(body(&ok))
    };
    offer(&mut up, &seen(7000, &hold(7000, &[0])));
    assert_eq!(answered(&mut up), 0);
    assert!(up.lab.studio.towards(7002).is_none() && up.lab.studio.towards(7102).is_none());
    offer(&mut up, &seen(7000, &sdp(7000, &[0])));
    assert_eq!(answered(&mut up), 0, "the end of a hold is answered here");
    offer(&mut up, &seen(7000, &sdp(7000, &[0])));
    let invite = up.jim.expect_request(&mut up.lab, Method::Invite);
    assert_ne!(video_port(body(&invite)), 0);
    let answer = seen(7100, &sdp(7100, &[0]));
    up.jim.reply(&mut up.lab, &invite, 200, Some(&answer));
    up.jim.expect_request(&mut up.lab, Method::Ack);
    assert_ne!(answered(&mut up), 0);
    assert!(up.lab.studio.towards(7002).is_some() && up.lab.studio.towards(7102).is_some());
    up.end();
}
