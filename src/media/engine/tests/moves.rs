//! Relay, transcoding and mixing turn into each other while a tone sounds, and the listener hears one tone.

use super::device::*;
use super::*;
use crate::codec::OpusParameters;

fn has_state(format: Format) -> bool {
    matches!(format.codec, Codec::G722 | Codec::Opus)
}

/// A packet too many or too few turns the tone's phase, and it all but vanishes from 40 ms of sound. Where a codec with state is
/// decoded and encoded once more or less than before, its own delay (1.4 ms, 6.5 ms) turns it too: there is neither hole
/// nor click then, but the loudness alone can tell.
fn assert_unbroken(scene: &Scene, listener: usize, talker: usize, what: &str) {
    let (there, here) = (&scene.devices[listener], &scene.devices[talker]);
    let ((low, high), tolerance) = match has_state(here.format) || has_state(there.format) {
        true => (there.loudness(300), 4.5),
        false => (there.steadiness(here.hz, 300), 1.5),
    };
    let names = (here.format.codec, there.format.codec);
    assert!(
        low > -15.0 - tolerance && high < -15.0 + tolerance,
        "{what} {names:?}: {low} to {high}"
    );
    there.assert_gapless();
}

#[test]
fn every_codec_is_turned_into_every_other_and_a_third_comes_and_goes_unnoticed() {
    for a in CODECS {
        for b in CODECS {
            let mut scene = Scene::new(
                vec![Device::new(0, a, -15.0), Device::new(1, b, -15.0)],
                Matrix::Everyone,
            );
            scene.run(600);
            assert_unbroken(&scene, 1, 0, "alone");
            let mut third = Device::new(2, PCMU, -15.0);
            third.silence(true);
            let leg = third.leg;
            scene.join(third, &[]);
            scene.run(600);
            assert_unbroken(&scene, 1, 0, "with a third");
            scene.apply(Plan::CloseLeg { leg });
            scene.run(600);
            assert_unbroken(&scene, 1, 0, "alone again");
            assert_unbroken(&scene, 0, 1, "the other way");
        }
    }
}

#[test]
fn a_device_that_changes_its_codec_is_heard_on() {
    for (before, after, listener) in [
        (PCMU, PCMA, PCMU),
        (PCMU, PCMA, G722),
        (G722, WIDE, PCMA),
        (G722, WIDE, G722),
    ] {
        let mut scene = Scene::new(vec![], Matrix::Everyone);
        scene.join(Device::new(0, before, -15.0), &[after]);
        scene.join(Device::new(1, listener, -15.0), &[]);
        scene.run(1_000);
        scene.devices[0].change_codec(after);
        scene.run(1_000);
        assert_unbroken_but_for_a_blend(&scene);
    }
}

#[test]
fn a_relay_becomes_a_mix_before_its_room_has_ticked() {
    let mut scene = Scene::new(vec![Device::new(0, OPUS, -15.0)], Matrix::Everyone);
    let mut listener = Device::new(1, OPUS, -15.0);
    listener.ticks_per_packet = 2;
    scene.join(listener, &[]);
    scene.run(200);
    let (leg, muted) = (scene.devices[0].leg, true);
    scene.apply(Plan::Restrict {
        leg,
        muted,
        deaf: false,
    });
    scene.run(1_000);
    let sent = scene.devices[1].headers.len();
    assert!((30..=36).contains(&sent), "ten relayed, and 25 of silence: {sent}");
}

/// Nothing is lost; G.722 takes some 40 ms to find its scale where a decoder or an encoder begins in mid-stream.
fn assert_unbroken_but_for_a_blend(scene: &Scene) {
    let stateful = scene
        .devices
        .iter()
        .any(|device| device.format == G722 || device.format == WIDE);
    let (low, high) = scene.devices[1].steadiness(scene.devices[0].hz, 300);
    assert!(high < -13.0 && (stateful || low > -17.0), "{low} to {high}");
    assert!((scene.level(1, 0) + 15.0).abs() < 0.5);
    scene.devices[1].assert_gapless();
}

#[test]
fn packets_of_any_length_go_in_and_come_out() {
    for (ms, codec) in [(40u8, PCMU), (60, PCMU), (40, G722), (60, PCMA), (40, WIDE)] {
        let mut scene = Scene::new(vec![], Matrix::Everyone);
        let mut long = Device::new(0, codec, -15.0);
        long.ticks_per_packet = usize::from(ms / 20);
        scene.join(long, &[]);
        scene.join(Device::new(1, FULL, -15.0), &[]);
        scene.run(2_000);
        let length = usize::from(ms) * if codec == WIDE { 32 } else { 8 };
        assert!(
            scene.devices[0].payloads.iter().all(|payload| payload.len() == length),
            "{ms} ms of {codec:?}"
        );
        assert_unbroken(&scene, 0, 1, "out");
        assert_unbroken(&scene, 1, 0, "in");
    }
}

#[test]
fn short_and_odd_packets_are_made_where_they_are_wanted() {
    for (ptime_ms, maxptime_ms, codec, per_packet) in [
        (10, 0, PCMU, 80),
        (30, 0, PCMU, 240),
        (60, 40, PCMA, 320),
        (0, 10, G722, 80),
        (200, 0, PCMU, 480),
        (0, 0, FULL, 960),
    ] {
        let mut scene = Scene::new(
            vec![Device::new(0, codec, -15.0), Device::new(1, OPUS, -15.0)],
            Matrix::Everyone,
        );
        let media = LegMedia {
            ptime_ms,
            maxptime_ms,
            ..media(&scene.devices[0].address, &[codec])
        };
        let leg = scene.devices[0].leg;
        let media_timeout = None;
        scene.apply(Plan::UpdateLeg {
            leg,
            media,
            media_timeout,
        });
        scene.run(2_000);
        // What was sent before the update had 20 ms.
        let device = &scene.devices[0];
        assert!(
            device.payloads[2..].iter().all(|payload| payload.len() == per_packet),
            "{ptime_ms} {maxptime_ms}"
        );
        let (low, _) = device.steadiness(scene.devices[1].hz, 300);
        assert!(low > -19.0, "{ptime_ms} {maxptime_ms} {codec:?}: {low}");
        let bytes_per_unit = per_packet as u32 * 1000 / codec.codec.clock_rate();
        let steps = device.headers[3..]
            .windows(2)
            .map(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp));
        let ms = per_packet as u32 / if codec == FULL { 96 } else { 8 };
        assert!(
            steps
                .into_iter()
                .all(|step| step == codec.codec.clock_rate() / 1000 * ms),
            "{bytes_per_unit}"
        );
    }
}

#[test]
fn opus_is_sent_in_packets_of_the_length_that_was_asked_for() {
    for (ptime_ms, units) in [(10u8, 480u32), (20, 960), (40, 1_920), (60, 2_880)] {
        let mut scene = Scene::new(
            vec![Device::new(0, OPUS, -15.0), Device::new(1, PCMU, -15.0)],
            Matrix::Everyone,
        );
        let media = LegMedia {
            ptime_ms,
            ..media(&scene.devices[0].address, &[OPUS])
        };
        let (leg, media_timeout) = (scene.devices[0].leg, None);
        scene.apply(Plan::UpdateLeg {
            leg,
            media,
            media_timeout,
        });
        scene.run(2_000);
        let device = &scene.devices[0];
        let mut steps = device.headers[3..]
            .windows(2)
            .map(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp));
        assert!(steps.all(|step| step == units), "{ptime_ms}");
        let (low, _) = device.steadiness(scene.devices[1].hz, 300);
        assert!(low > -19.0, "{ptime_ms}: {low}");
    }
}

#[test]
fn each_listener_of_opus_is_sent_no_more_than_it_asked_for() {
    let mut scene = Scene::new(vec![Device::new(0, PCMU, -15.0)], Matrix::Everyone);
    for (n, limit) in [(1, 0), (2, 8_000)] {
        let mut listener = Device::new(n, OPUS, -15.0);
        listener.silence(true);
        let (leg, address) = (listener.leg, listener.address.clone());
        scene.join(listener, &[]);
        let opus = OpusParameters {
            max_average_bitrate: limit,
            ..OpusParameters::default()
        };
        let media = LegMedia {
            opus,
            ..media(&address, &[OPUS])
        };
        let media_timeout = None;
        scene.apply(Plan::UpdateLeg {
            leg,
            media,
            media_timeout,
        });
    }
    scene.run(6_000);
    let bits_a_second = |n: usize| {
        let payloads = &scene.devices[n].payloads;
        let last = &payloads[payloads.len() - 250..];
        last.iter().map(|payload| payload.len() * 8).sum::<usize>() / 5
    };
    assert!(bits_a_second(2) <= 8_800, "{}", bits_a_second(2));
    assert!(bits_a_second(1) > 10_000, "{}", bits_a_second(1));
    assert!((scene.level(2, 0) + 15.0).abs() < 2.0, "{}", scene.level(2, 0));
}

#[test]
fn comfort_noise_is_sent_in_silence_to_those_who_understand_it_and_words_after_it_are_whole() {
    let mut scene = Scene::new(vec![], Matrix::Everyone);
    scene.join(Device::new(0, PCMU, -15.0), &[NOISE]);
    scene.join(Device::new(1, OPUS, -15.0), &[]);
    scene.run(500);
    scene.devices[1].silence(true);
    scene.run(4_000);
    let before = scene.devices[0].headers.len();
    scene.run(2_000);
    let quiet = &scene.devices[0].headers[before..];
    assert!(
        quiet.len() <= 3 && quiet.iter().all(|header| header.pt == 13),
        "{}",
        quiet.len()
    );
    scene.devices[1].silence(false);
    let (heard, sent) = (scene.devices[0].heard.len(), scene.devices[0].headers.len());
    scene.run(1_000);
    let device = &scene.devices[0];
    let spurt = device.headers[sent..].iter().find(|header| header.pt == 0).unwrap();
    assert!(spurt.marker, "a spurt of talk begins");
    assert!(device.heard.len() - heard > 7_000);
    // Timestamps have told the time all along.
    let (first, last) = (&device.headers[5], device.headers.last().unwrap());
    let units = last.timestamp.wrapping_sub(first.timestamp);
    assert!((units as i64 - 8 * 7_400).abs() < 8 * 60, "{units}");
}

#[test]
fn comfort_noise_that_comes_is_heard_at_its_level_and_never_in_a_conference() {
    for third in [false, true] {
        let devices = vec![Device::new(0, PCMU, -15.0), Device::new(1, WIDE, -15.0)];
        let mut scene = Scene::new(devices, Matrix::Everyone);
        let (leg, media_timeout) = (scene.devices[0].leg, None);
        let media = media(&scene.devices[0].address, &[PCMU, NOISE]);
        scene.apply(Plan::UpdateLeg {
            leg,
            media,
            media_timeout,
        });
        if third {
            let mut device = Device::new(2, PCMU, -15.0);
            device.silence(true);
            scene.join(device, &[]);
        }
        scene.devices[1].silence(true);
        scene.run(500);
        // The device stops sending after one packet of comfort noise, 50 dB below overload.
        let header = RtpHeader {
            marker: false,
            pt: 13,
            sequence: 65_500u16.wrapping_add(25),
            timestamp: (u32::MAX - 20_000).wrapping_add(25 * 160),
            ssrc: 20_000,
            payload: 12..12,
        };
        let noise = [&header.to_bytes()[..], &[50]].concat();
        let (port, address) = (scene.devices[0].port, scene.devices[0].address.clone());
        scene.net = Box::new(|_| Vec::new());
        scene.worker.rtp(Mono(scene.now), port, &address, &noise);
        scene.run(1_000);
        let level = crate::codec::noise::level_of(scene.devices[1].last_ms(400));
        if third {
            assert!(level > 90, "{level}");
        } else {
            assert!(level.abs_diff(50) <= 3, "{level}");
        }
    }
}

#[test]
fn after_the_answer_tone_of_a_fax_nothing_is_concealed() {
    for (hz, is_fax) in [(2_100.0, true), (2_000.0, false)] {
        let device = Device::with_tone(0, PCMU, hz, -12.0);
        let mut scene = Scene::new(vec![device, Device::new(1, PCMA, -90.0)], Matrix::Everyone);
        scene.run(1_000);
        lose_one_in_twenty(&mut scene);
        scene.run(2_000);
        assert_eq!(scene.worker.stats(scene.devices[0].leg).concealed == 0, is_fax);
        assert!((scene.devices[1].level_of(hz) + 12.0).abs() < 2.0);
    }
}

#[test]
fn the_answer_tone_of_a_modem_is_known_though_its_phase_turns() {
    let mut modem = Device::with_tone(0, PCMU, 2_100.0, -12.0);
    modem.turn_phase_each(450);
    let mut scene = Scene::new(vec![modem, Device::new(1, PCMA, -90.0)], Matrix::Everyone);
    scene.run(1_500);
    lose_one_in_twenty(&mut scene);
    scene.run(2_000);
    assert_eq!(scene.worker.stats(scene.devices[0].leg).concealed, 0);
}

#[test]
fn after_a_fax_a_stream_that_begins_anew_is_sound_again() {
    let device = Device::with_tone(0, PCMU, 2_100.0, -12.0);
    let mut scene = Scene::new(vec![device, Device::new(1, PCMA, -90.0)], Matrix::Everyone);
    scene.run(1_000);
    let concealed = |scene: &Scene| scene.worker.stats(scene.devices[0].leg).concealed;
    lose_one_in_twenty(&mut scene);
    // The answer tone ends, and the fax goes on in what is no tone.
    scene.devices[0].change_tone(1_725.0);
    scene.run(2_000);
    assert_eq!(concealed(&scene), 0, "while its stream goes on, it is a fax");
    scene.devices[0].change_ssrc();
    scene.run(2_000);
    assert!((3..=6).contains(&concealed(&scene)), "{}", concealed(&scene));
}

fn lose_one_in_twenty(scene: &mut Scene) {
    let mut n = 0;
    scene.net = Box::new(move |_| {
        n += 1;
        if n % 20 == 7 { Vec::new() } else { vec![0] }
    });
}
