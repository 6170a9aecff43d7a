//! A member agrees to another codec while its room mixes: it hears and is heard on, and the others notice nothing.

use super::device::*;
use super::*;

fn agree(scene: &mut Scene, at: usize, format: Format) {
    let device = &mut scene.devices[at];
    device.renegotiate(format);
    let (leg, media_timeout) = (device.leg, Some(Duration::from_secs(60)));
    let media = media(&device.address, &[format, keys(101, 101)]);
    scene.apply(Plan::UpdateLeg {
        leg,
        media,
        media_timeout,
    });
}

/// One stream in which no number is left out; timestamps go on by a packet each, in the clock that holds.
fn assert_one_stream(device: &Device) {
    for pair in device.headers.windows(2) {
        assert_eq!(pair[1].ssrc, pair[0].ssrc);
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        let clock = |pt| if pt == OPUS.pt_out { 960 } else { 160 };
        let length = clock(pair[1].pt);
        assert!(
            step == length || pair[0].pt != pair[1].pt && step <= 2 * length,
            "{step}"
        );
    }
}

/// Two tones of -15 dBm0 sound all the time. Where the codec of the listener or the rate of the room changes, encoders and
/// decoders begin anew: that is a blend of a tenth of a second at most, with neither hole nor crack in it.
fn assert_no_more_than_a_blend(device: &Device, what: &str) {
    let per_ms = device.hz_of_samples() as usize / 1_000;
    let mut off = 0;
    for window in device.heard.windows(20 * per_ms).step_by(5 * per_ms) {
        let power = window.iter().map(|&s| f32::from(s).powi(2)).sum::<f32>() / window.len() as f32;
        let level = 10.0 * (power.max(0.01) * 2.0 / (22_302.0 * 22_302.0)).log10();
        assert!((-22.0..-9.5).contains(&level), "{what}: {level}");
        off += usize::from((level + 12.0).abs() > 1.2);
    }
    assert!(off <= 20, "{what}: {} ms are not as loud as the rest", 5 * off);
}

#[test]
fn a_member_goes_from_codec_to_codec_and_back_and_the_others_hear_a_blend_at_most() {
    let devices = vec![
        Device::new(0, PCMU, -15.0),
        Device::new(1, PCMU, -15.0),
        Device::new(2, OPUS, -15.0),
    ];
    let mut scene = Scene::new(devices, Matrix::Everyone);
    scene.run(1_000);
    for format in [G722, OPUS, PCMU] {
        scene.devices[1..].iter_mut().for_each(|device| device.heard.clear());
        agree(&mut scene, 0, format);
        // Long enough for the room to take the rate it needs now, though nobody pauses.
        scene.run(4_000);
        for (listener, talker) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            let level = scene.level(listener, talker);
            let wanted = (level + 15.0).abs() < 1.6;
            assert!(wanted, "{format:?}: {listener} hears {talker} at {level}");
        }
        for listener in [1, 2] {
            let device = &scene.devices[listener];
            assert_no_more_than_a_blend(device, &format!("{format:?}, {listener}"));
            device.assert_gapless();
        }
    }
    assert_one_stream(&scene.devices[0]);
}

#[test]
fn the_rate_of_a_room_rises_and_falls_with_its_members_and_who_stays_hears_a_blend_at_most() {
    let rate = |scene: &Scene| scene.worker.engine.rooms.iter().next().unwrap().1.mix.rate;
    let devices = vec![
        Device::new(0, PCMU, -15.0),
        Device::new(1, PCMA, -15.0),
        Device::new(2, PCMU, -15.0),
        Device::new(3, OPUS, -15.0),
    ];
    let mut scene = Scene::new(devices, Matrix::Everyone);
    // The first two talk without a pause, the other two listen.
    scene.devices[2..].iter_mut().for_each(|device| device.silence(true));
    scene.run(1_000);
    assert_eq!(rate(&scene), Rate::Narrow);
    let newcomer = |n, format| {
        let mut device = Device::new(n, format, -15.0);
        device.silence(true);
        device
    };
    let (wide, full) = (newcomer(4, G722), newcomer(5, OPUS));
    let (wide_leg, full_leg) = (wide.leg, full.leg);
    let mut comes = [Some(wide), Some(full), None, None].into_iter();
    for (goes, wanted) in [
        (None, Rate::Wide),
        (None, Rate::Full),
        (Some(full_leg), Rate::Wide),
        (Some(wide_leg), Rate::Narrow),
    ] {
        scene.devices.iter_mut().for_each(|device| device.heard.clear());
        if let Some(device) = comes.next().flatten() {
            scene.join(device, &[]);
        }
        if let Some(leg) = goes {
            scene.devices.retain(|device| device.leg != leg);
            scene.apply(Plan::CloseLeg { leg });
        }
        scene.run(4_000);
        assert_eq!(rate(&scene), wanted);
        for listener in [2, 3] {
            let device = &scene.devices[listener];
            assert_no_more_than_a_blend(device, &format!("{wanted:?}, {listener}"));
            device.assert_gapless();
        }
        assert!((scene.level(0, 1) + 15.0).abs() < 1.6 && (scene.level(1, 0) + 15.0).abs() < 1.6);
    }
}
