//! What a packet and a tick cost: `cargo bench -p media`.

use clock::Mono;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use media::codec::resample::Resampler;
use media::codec::{Decoder, Encoder, OpusParameters};
use media::limiter::Limiter;
use media::mixer::{MixBuffer, Mixed, mix_once};
use media::plan::{Codec, Format, Latch, Matrix, Rate};
use media::rtp::RtpHeader;
use media::{Engine, EngineConfig, LegId, LegMedia, OpenLeg, Plan, RoomId};
use std::hint::black_box;
use std::net::SocketAddr;

fn phone(n: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 1024 + n as u16))
}

/// One room of so many PCMU legs; leg `n` has port `2 * n`.
fn room(members: usize) -> Engine {
    let mut state = 1u64;
    let random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state
    };
    let mut engine = Engine::new(EngineConfig::default(), Box::new(random));
    let room = RoomId(1);
    engine.apply(
        Mono(0),
        Plan::OpenRoom {
            room,
            matrix: Matrix::Everyone,
            rate: Rate::Narrow,
        },
    );
    for n in 0..members {
        let media = LegMedia {
            remote: Some(phone(n)),
            formats: [Format {
                pt_in: 0,
                pt_out: 0,
                codec: Codec::Pcmu,
            }]
            .into_iter()
            .collect(),
            ..LegMedia::default()
        };
        let (leg, port) = (LegId(n as u64), 2 * n as u16);
        let open = OpenLeg {
            leg,
            room,
            port,
            media,
            latch: Latch::SdpHost,
            media_timeout: None,
        };
        engine.apply(Mono(0), Plan::OpenLeg(Box::new(open)));
    }
    engine
}

fn packet(n: u32, loud: bool) -> Vec<u8> {
    let header = RtpHeader {
        marker: false,
        pt: 0,
        sequence: n as u16,
        timestamp: n.wrapping_mul(160),
        ssrc: 7,
        payload: 12..172,
    };
    let code = |i: u32| {
        if loud {
            0x10 | (i * 7 % 16) as u8 | (i as u8 & 1) << 7
        } else {
            0xff
        }
    };
    header.to_bytes().into_iter().chain((0..160).map(code)).collect()
}

fn relay(c: &mut Criterion) {
    let mut engine = room(2);
    let mut buffer = [0; 2048];
    let mut n = 0u32;
    c.bench_function("relay one packet", |b| {
        b.iter(|| {
            n += 1;
            buffer[..12].copy_from_slice(&packet_header(n));
            black_box(engine.handle_rtp(Mono(u64::from(n) * 20_000_000), 0, phone(0), &mut buffer, 172))
        });
    });
    c.bench_function("read a header", |b| {
        b.iter(|| RtpHeader::parse(black_box(&buffer[..172])))
    });
}

fn packet_header(n: u32) -> [u8; 12] {
    RtpHeader {
        marker: false,
        pt: 0,
        sequence: n as u16,
        timestamp: n.wrapping_mul(160),
        ssrc: 7,
        payload: 12..172,
    }
    .to_bytes()
}

/// Sums alone: all talk. What is too loud for 16 bit passes the limiter of each.
fn sums(c: &mut Criterion) {
    sums_of(c, "mix_once", |n| (n % 3) as i16 - 1);
    sums_of(c, "mix_once, too loud", |_| 20_000);
}

fn sums_of(c: &mut Criterion, name: &str, sample: impl Fn(usize) -> i16) {
    let mut group = c.benchmark_group(name);
    for members in [10usize, 100, 1_000, 10_000] {
        let frames: Vec<[i16; 160]> = (0..members).map(|n| [sample(n); 160]).collect();
        let mut buffer = MixBuffer::new(160);
        let mut limiters = vec![Limiter::default(); members + 1];
        group.throughput(Throughput::Elements(members as u64));
        group.bench_function(BenchmarkId::from_parameter(members), |b| {
            b.iter(|| {
                let talkers = frames.iter().map(|frame| &frame[..]).enumerate();
                mix_once(&mut buffer, 160, talkers, std::iter::empty(), |mixed| {
                    let (at, sum) = match mixed {
                        Mixed::All(sum) => (members, sum),
                        Mixed::Without(at, sum) => (at, sum),
                    };
                    black_box(sum.through(&mut limiters[at]));
                });
            });
        });
    }
    group.finish();
}

/// A whole tick: take a packet from each talker, buffer, decode, sum, encode, and write a packet for each member.
fn ticks(c: &mut Criterion) {
    let mut group = c.benchmark_group("tick");
    group.sample_size(20);
    for (members, talkers) in [(3, 3), (500, 500), (1_000, 5)] {
        let mut engine = room(members);
        let mut buffer = [0; 2048];
        let mut n = 0u32;
        group.throughput(Throughput::Elements(members as u64));
        group.bench_function(format!("{members} members, {talkers} talk"), |b| {
            b.iter(|| {
                n += 1;
                let now = Mono(u64::from(n) * 20_000_000);
                let loud = packet(n, true);
                for talker in 0..talkers {
                    buffer[..172].copy_from_slice(&loud);
                    engine.handle_rtp(now, 2 * talker as u16, phone(talker), &mut buffer, 172);
                }
                engine.handle_timeout(now);
                while let Some(sent) = engine.poll_transmit(&mut buffer) {
                    black_box(sent);
                }
                while engine.poll_event().is_some() {}
            });
        });
    }
    group.finish();
}

/// 20 ms of each codec at its own rate, both ways; Opus also at the lower rates a room may ask for.
fn codecs(c: &mut Criterion) {
    let mut group = c.benchmark_group("20 ms of");
    let plain = [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::L16(16_000)].map(|codec| (codec, Rate::Full));
    let opus = [Rate::Narrow, Rate::Wide, Rate::Full].map(|rate| (Codec::Opus, rate));
    for (codec, rate) in plain.into_iter().chain(opus) {
        let mut encoder = Encoder::new(codec, rate, &OpusParameters::default()).expect("transcoded");
        let mut decoder = Decoder::new(codec, rate).expect("transcoded");
        let wave = |n: usize| (8_000.0 * (n as f32 * 0.07).sin() + 2_000.0 * (n as f32 * 0.31).sin()) as i16;
        let frame: Vec<i16> = (0..encoder.rate().frame()).map(wave).collect();
        let (mut payload, mut samples) = (Vec::with_capacity(4_096), Vec::with_capacity(8_192));
        let hz = encoder.rate().hz();
        group.bench_function(format!("{codec:?} encoded at {hz} Hz"), |b| {
            b.iter(|| {
                payload.clear();
                encoder.encode(black_box(&frame), &mut payload);
            });
        });
        group.bench_function(format!("{codec:?} decoded at {hz} Hz"), |b| {
            b.iter(|| {
                samples.clear();
                decoder.decode(black_box(&payload), &mut samples)
            });
        });
    }
    for (from, to) in [
        (Rate::Narrow, Rate::Wide),
        (Rate::Narrow, Rate::Full),
        (Rate::Full, Rate::Narrow),
    ] {
        let mut resampler = Resampler::new(from, to).expect("another rate");
        let (frame, mut made) = (vec![1_000i16; from.frame()], vec![0; to.frame()]);
        group.bench_function(format!("samples from {} to {} Hz", from.hz(), to.hz()), |b| {
            b.iter(|| resampler.process(black_box(&frame), &mut made));
        });
    }
    group.finish();
}

criterion_group!(benches, relay, sums, ticks, codecs);
criterion_main!(benches);
