//! Every codec to every other, and what they do with loss and silence.

use super::*;
use crate::goertzel::level_dbm0;
use crate::tone::{Tone, ToneGenerator};

const CODECS: [Codec; 7] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::Opus,
    Codec::L16(8_000),
    Codec::L16(16_000),
    Codec::L16(48_000),
];

fn encoder(codec: Codec, parameters: &OpusParameters) -> Encoder {
    Encoder::new(codec, Rate::Full, parameters).unwrap()
}

/// Packets of 20 ms with a tone.
fn packets(codec: Codec, hz: f32, count: usize, parameters: &OpusParameters) -> Vec<Vec<u8>> {
    let mut encoder = encoder(codec, parameters);
    let mut tone = ToneGenerator::new(&Tone::steady(hz, -10.0), encoder.rate().hz());
    let mut frame = vec![0; encoder.rate().frame()];
    let next = |_| {
        tone.fill(&mut frame);
        let mut packet = Vec::new();
        encoder.encode(&frame, &mut packet);
        packet
    };
    (0..count).map(next).collect()
}

#[test]
fn a_tone_comes_back_from_every_codec_at_its_level() {
    for codec in CODECS {
        let mut decoder = Decoder::new(codec, Rate::Full).unwrap();
        let mut heard = Vec::new();
        for packet in packets(codec, 1000.0, 50, &OpusParameters::default()) {
            let before = heard.len();
            assert!(decoder.decode(&packet, &mut heard));
            assert_eq!(heard.len() - before, decoder.rate().frame(), "{codec:?}");
            assert_eq!(decoder.samples(&packet), decoder.rate().frame(), "{codec:?}");
        }
        let hz = decoder.rate().hz();
        let level = level_dbm0(&heard[heard.len() / 2..], 1000.0, hz);
        assert!((level + 10.0).abs() < 0.7, "{codec:?}: {level}");
    }
}

#[test]
fn opus_is_decoded_straight_at_the_rate_asked_for() {
    for rate in [Rate::Narrow, Rate::Wide, Rate::Full] {
        let mut decoder = Decoder::new(Codec::Opus, rate).unwrap();
        let mut heard = Vec::new();
        for packet in packets(Codec::Opus, 1000.0, 50, &OpusParameters::default()) {
            decoder.decode(&packet, &mut heard);
        }
        assert_eq!((decoder.rate(), heard.len()), (rate, 50 * rate.frame()));
        let level = level_dbm0(&heard[heard.len() / 2..], 1000.0, rate.hz());
        assert!((level + 10.0).abs() < 0.7, "{rate:?}: {level}");
    }
}

#[test]
fn in_band_fec_brings_back_a_lost_packet_and_concealment_alone_does_not() {
    // The tone begins in the lost packet, so that nothing before it can be continued.
    let fec = OpusParameters {
        in_band_fec: true,
        max_playback_rate: 16_000,
        ..OpusParameters::default()
    };
    let lost_level = |use_next: bool| {
        let mut encoder = Encoder::new(Codec::Opus, Rate::Wide, &fec).unwrap();
        let mut voice = voice(16_000);
        let mut decoder = Decoder::new(Codec::Opus, Rate::Wide).unwrap();
        let (mut frame, mut all) = (vec![0; 320], Vec::new());
        for n in 0..40 {
            frame.fill(0);
            if n >= 30 {
                frame.iter_mut().for_each(|sample| *sample = voice());
            }
            let mut packet = Vec::new();
            encoder.encode(&frame, &mut packet);
            all.push(packet);
        }
        let mut heard = Vec::new();
        all[..31]
            .iter()
            .for_each(|packet| assert!(decoder.decode(packet, &mut heard)));
        heard.clear();
        let next = Some(&all[32][..]).filter(|_| use_next);
        assert!(decoder.conceal(next, 320, &mut heard));
        assert_eq!(heard.len(), 320);
        heard.iter().map(|&s| f64::from(s) * f64::from(s)).sum::<f64>()
    };
    let (with, without) = (lost_level(true), lost_level(false));
    assert!(with > 1.3 * without, "{with} against {without}");
}

/// Pulses through two resonances that grow louder: near enough to speech for the encoder to choose SILK, which has FEC.
fn voice(rate: u32) -> impl FnMut() -> i16 {
    let (mut n, mut y) = (0u32, [0.0f32; 2]);
    move || {
        n += 1;
        let pulse = if n % (rate / 120) == 0 {
            4000.0 + n as f32 * 4.0
        } else {
            0.0
        };
        let next = pulse + 1.86 * y[0] - 0.95 * y[1];
        y = [next, y[0]];
        next.clamp(-20_000.0, 20_000.0) as i16
    }
}

#[test]
fn opus_keeps_to_the_bitrate_and_the_silence_the_far_end_asked_for() {
    let bits = |parameters: &OpusParameters| {
        let mut encoder = encoder(Codec::Opus, parameters);
        let mut voice = voice(encoder.rate().hz());
        let mut frame = vec![0; encoder.rate().frame()];
        let mut out = Vec::new();
        for _ in 0..100 {
            frame.iter_mut().for_each(|sample| *sample = voice());
            encoder.encode(&frame, &mut out);
        }
        out.len() * 8 / 2
    };
    let low = OpusParameters::read("maxaveragebitrate=12000; cbr=1");
    assert!((11_000..=12_400).contains(&bits(&low)), "{}", bits(&low));
    assert!(bits(&OpusParameters::default()) > 20_000);

    let silent = |parameters: &OpusParameters| {
        let mut encoder = encoder(Codec::Opus, parameters);
        let frame = vec![0; encoder.rate().frame()];
        let made = |_: &i32| {
            let mut out = Vec::new();
            encoder.encode(&frame, &mut out);
            !out.is_empty()
        };
        (0..100).filter(made).count()
    };
    assert_eq!(silent(&OpusParameters::default()), 100);
    assert!(silent(&OpusParameters::read("usedtx=1")) < 50);
}

#[test]
fn parameters_of_opus_are_read_and_rubbish_is_ignored() {
    let read = OpusParameters::read(
        "maxplaybackrate=16000;useinbandfec=1 ; stereo=0;usedtx=1;cbr=0;x;y=z;maxaveragebitrate=99999999",
    );
    let wanted = OpusParameters {
        max_playback_rate: 16_000,
        in_band_fec: true,
        dtx: true,
        ..OpusParameters::default()
    };
    assert_eq!((read, read.best_rate()), (wanted, Rate::Wide));
    assert_eq!(OpusParameters::read(""), OpusParameters::default());
    let narrow = Encoder::new(Codec::Opus, Rate::Full, &OpusParameters::read("maxplaybackrate=8000")).unwrap();
    assert_eq!(narrow.rate(), Rate::Narrow);
}

#[test]
fn no_payload_breaks_a_decoder() {
    let mut state = 7u32;
    for codec in CODECS {
        let mut decoder = Decoder::new(codec, Rate::Wide).unwrap();
        for length in 0..300 {
            let payload: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            let mut out = Vec::new();
            decoder.decode(&payload, &mut out);
            assert!(out.len() <= 16_000 * 120 / 1000, "{codec:?}");
            decoder.conceal(Some(&payload), 320, &mut out);
        }
    }
}

#[test]
fn what_can_be_transcoded_is_what_has_a_decoder_and_an_encoder() {
    assert!(transcoded().iter().all(|&codec| can_transcode(codec)));
    let others = [
        Codec::ComfortNoise(8_000),
        Codec::TelephoneEvent(8_000),
        Codec::L16(44_100),
    ];
    for codec in CODECS.into_iter().chain(others) {
        let both = (
            Decoder::new(codec, Rate::Full),
            Encoder::new(codec, Rate::Full, &OpusParameters::default()),
        );
        assert_eq!(can_transcode(codec), both.0.is_some() && both.1.is_some(), "{codec:?}");
    }
}
