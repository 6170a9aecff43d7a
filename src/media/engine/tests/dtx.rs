//! Opus without packets in silence, both ways (RFC 6716 section 2.1.9, RFC 7587 section 3.1.3).

use super::device::*;
use super::*;
use crate::codec::OpusParameters;

/// A listener that wants no packets in silence, and two who talk or do not.
fn thrifty() -> Scene {
    let devices = (1..3).map(|n| Device::new(n, PCMU, -15.0)).collect();
    let mut scene = Scene::new(devices, Matrix::Everyone);
    scene.devices[1].silence(true);
    let mut listener = Device::new(0, OPUS, -15.0);
    listener.silence(true);
    let (leg, address) = (listener.leg, listener.address.clone());
    scene.join(listener, &[]);
    let opus = OpusParameters {
        dtx: true,
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
    scene
}

#[test]
fn silence_costs_few_packets_and_the_tone_after_it_begins_a_spurt_in_its_time() {
    let mut scene = thrifty();
    scene.run(2_000);
    scene.devices[0].silence(true);
    scene.run(2_000);
    let before = scene.devices[2].headers.len();
    scene.run(4_000);
    let silent = scene.devices[2].headers.len() - before;
    // One for each 400 ms, in which the encoder says again how silence sounds.
    assert!(
        (5..=15).contains(&silent),
        "{silent} packets in four seconds of silence"
    );
    let (sent, heard) = (scene.devices[2].headers.len(), scene.devices[2].heard.len());
    scene.devices[0].silence(false);
    scene.run(1_000);
    let device = &scene.devices[2];
    let spurt = &device.headers[sent..];
    assert!((47..=51).contains(&spurt.len()), "{}", spurt.len());
    assert!(spurt[..2].iter().any(|header| header.marker), "a spurt of talk begins");
    assert!(spurt[2..].iter().all(|header| !header.marker));
    assert!((device.level_of(scene.devices[0].hz) + 15.0).abs() < 1.0);
    assert!(device.heard.len() - heard >= 47 * 960);
    for pair in device.headers.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!(step.is_multiple_of(960) && (960..=48_000).contains(&step), "{step}");
    }
    // Timestamps have told the time all along.
    let (first, last) = (&device.headers[5], device.headers.last().unwrap());
    let units = last.timestamp.wrapping_sub(first.timestamp);
    assert!((i64::from(units) - 48 * 8_900).abs() < 48 * 60, "{units}");
}

/// What an encoder of a device makes of a tone and of silence, a packet each 20 ms, down to the single byte of silence.
struct Speaker {
    encoder: opus::Encoder,
    tone: crate::tone::ToneGenerator,
    header: RtpHeader,
    sends: Short,
    short: usize,
    was_short: bool,
}

/// Which packets of one or two bytes a device sends.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Short {
    All,
    /// The first in a row: it says that silence begins.
    First,
    None,
}

impl Speaker {
    fn new(sends: Short) -> Speaker {
        let mut encoder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).unwrap();
        encoder.set_dtx(true).unwrap();
        Speaker {
            encoder,
            tone: crate::tone::ToneGenerator::new(&Tone::steady(425.0, -15.0), 48_000),
            header: RtpHeader {
                marker: false,
                pt: OPUS.pt_in,
                sequence: 65_400,
                timestamp: u32::MAX - 100_000,
                ssrc: 5,
                payload: 12..12,
            },
            sends,
            short: 0,
            was_short: false,
        }
    }

    fn next(&mut self, talks: bool) -> Option<Vec<u8>> {
        let mut samples = [0; 960];
        if talks {
            self.tone.fill(&mut samples);
        }
        let mut payload = [0; 1_000];
        let length = self.encoder.encode(&samples, &mut payload).unwrap();
        let header = self.header.to_bytes();
        self.header.timestamp = self.header.timestamp.wrapping_add(960);
        let is_short = length <= 2;
        self.short += usize::from(is_short);
        let is_first = !std::mem::replace(&mut self.was_short, is_short);
        let is_sent = !is_short || self.sends == Short::All || self.sends == Short::First && is_first;
        if !is_sent {
            return None;
        }
        self.header.sequence = self.header.sequence.wrapping_add(1);
        Some([&header[..], &payload[..length]].concat())
    }

    /// Speaks, or is silent, for so many milliseconds into a scene whose first device only listens.
    fn go_on(&mut self, scene: &mut Scene, talks: bool, ms: u64) {
        let (port, address) = (scene.devices[0].port, scene.devices[0].address.clone());
        for _ in 0..ms / 20 {
            if let Some(bytes) = self.next(talks) {
                scene.worker.rtp(Mono(scene.now), port, &address, &bytes);
            }
            scene.run(20);
        }
    }
}

#[test]
fn the_short_packets_of_a_device_are_rest_and_what_it_says_after_them_is_whole() {
    for sends in [Short::All, Short::First, Short::None] {
        let mut devices = vec![
            Device::new(0, OPUS, -15.0),
            Device::new(1, PCMU, -15.0),
            Device::new(2, PCMU, -15.0),
        ];
        devices.iter_mut().for_each(Device::send_nothing);
        let mut scene = Scene::new(devices, Matrix::Everyone);
        let mut speaker = Speaker::new(sends);
        for _ in 0..3 {
            speaker.go_on(&mut scene, true, 1_000);
            let spoken = scene.devices[1].last_ms(400);
            assert!((level_dbm0(spoken, 425.0, 8_000) + 15.0).abs() < 1.0);
            let short = speaker.short;
            speaker.go_on(&mut scene, false, 3_000);
            assert!(speaker.short - short > 90, "{}", speaker.short - short);
            let silent = scene.devices[1].last_ms(2_000);
            assert!(level_dbm0(silent, 425.0, 8_000) < -60.0);
            assert!(silent.iter().all(|sample| sample.unsigned_abs() < 100));
        }
        let stats = scene.worker.stats(scene.devices[0].leg);
        // Where nothing came, the next packet has said that nothing was missing.
        assert_eq!((stats.late, stats.lost, stats.concealed), (0, 0, 0), "{sends:?}");
        scene.devices[1].heard.clear();
        speaker.go_on(&mut scene, true, 2_000);
        // Once it has begun, nothing is missing.
        let (low, high) = scene.devices[1].steadiness(425.0, 100);
        assert!(low > -17.0 && high < -13.5, "{sends:?}: {low} to {high}");
        scene.devices[1].assert_gapless();
    }
}
