//! A packet and a tick allocate nothing once the buffers have their size.

#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout)] // counting needs an allocator of our own

use clock::Mono;
use media::codec::{Encoder, OpusParameters};
use media::plan::{Codec, Format, Latch, Matrix, Rate};
use media::rtp::RtpHeader;
use media::{Engine, EngineConfig, LegId, LegMedia, OpenLeg, Plan, RoomId};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        LIVE_BYTES.with(|bytes| bytes.set(bytes.get() + layout.size().cast_signed()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE_BYTES.with(|bytes| bytes.set(bytes.get() - layout.size().cast_signed()));
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

fn phone(n: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4000 + n))
}

/// A room of so many members; member `n` speaks `codec(n)`.
fn room_of(members: u16, rate: Rate, codec: impl Fn(u16) -> Codec) -> Engine {
    rooms_of(1, members, rate, codec)
}

/// The same with so many rooms, in each so many members.
fn rooms_of(rooms: u16, members: u16, rate: Rate, codec: impl Fn(u16) -> Codec) -> Engine {
    let mut state = 1u64;
    let random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state
    };
    let mut engine = Engine::new(EngineConfig::default(), Box::new(random));
    for room in 0..rooms {
        let (room, matrix) = (RoomId(u64::from(room)), Matrix::Everyone);
        engine.apply(Mono(0), Plan::OpenRoom { room, matrix, rate });
    }
    for n in 0..rooms * members {
        let room = RoomId(u64::from(n / members));
        let media = LegMedia {
            remote: Some(phone(n)),
            remote_rtcp: Some(phone(n + 500)),
            formats: [Format {
                pt_in: 0,
                pt_out: 0,
                codec: codec(n),
            }]
            .into_iter()
            .collect(),
            ..LegMedia::default()
        };
        let (leg, port) = (LegId(u64::from(n)), 2 * n);
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

fn room(members: u16) -> Engine {
    room_of(members, Rate::Narrow, |_| Codec::Pcmu)
}

/// Everybody talks for some turns; returns how many packets left.
fn talk(engine: &mut Engine, members: u16, turns: std::ops::Range<u32>) -> usize {
    let mut buffer = [0x10u8; 2048];
    let mut sent = 0;
    for n in turns {
        let now = Mono(u64::from(n) * 20_000_000);
        for member in 0..members {
            let (sequence, timestamp) = (n as u16, n * 160);
            let header = RtpHeader {
                marker: false,
                pt: 0,
                sequence,
                timestamp,
                ssrc: 7,
                payload: 12..172,
            };
            buffer[..12].copy_from_slice(&header.to_bytes());
            // One packet in fifty is lost, so that concealment runs too.
            if (n + u32::from(member)) % 50 != 0 {
                sent += usize::from(
                    engine
                        .handle_rtp(now, 2 * member, phone(member), &mut buffer, 172)
                        .is_some(),
                );
            }
        }
        while engine.poll_timeout().is_some_and(|due| due <= now) {
            engine.handle_timeout(now);
            sent += std::iter::from_fn(|| engine.poll_transmit(&mut buffer)).count();
        }
        while engine.poll_event().is_some() {}
    }
    sent
}

#[test]
fn the_count_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn a_relayed_packet_allocates_nothing() {
    let mut engine = room(2);
    talk(&mut engine, 2, 1..500);
    let mut sent = 0;
    let count = allocations(|| sent = talk(&mut engine, 2, 500..2_000));
    assert!(sent > 2_900, "{sent}");
    assert_eq!(count, 0);
}

#[test]
fn a_tick_allocates_nothing() {
    let mut engine = room(50);
    talk(&mut engine, 50, 1..500);
    let mut sent = 0;
    let count = allocations(|| sent = talk(&mut engine, 50, 500..1_000));
    assert!(sent > 24_900, "{sent}");
    assert_eq!(count, 0);
}

/// Codecs of every kind of state and rate. Payloads are what the codec makes of a tone.
fn mixed(n: u16) -> Codec {
    [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus, Codec::L16(16_000)][usize::from(n % 5)]
}

/// As `talk`, with payloads of each member's own codec; member 0 pauses every second, so that encoders change.
fn talk_mixed(
    engine: &mut Engine,
    members: u16,
    encoders: &mut (Vec<u8>, Vec<Encoder>),
    turns: std::ops::Range<u32>,
) -> usize {
    let mut buffer = [0u8; 2048];
    let mut payload = std::mem::take(&mut encoders.0);
    let mut sent = 0;
    for turn in turns {
        let now = Mono(u64::from(turn) * 20_000_000);
        for member in 0..members {
            let encoder = &mut encoders.1[usize::from(member)];
            let mut frame = [0i16; 960];
            let loud = member != 0 || turn % 50 < 25;
            if loud {
                frame
                    .iter_mut()
                    .enumerate()
                    .for_each(|(at, sample)| *sample = ((at % 40) as i16 - 20) * 200);
            }
            payload.clear();
            encoder.encode(&frame[..encoder.rate().frame()], &mut payload);
            let units = mixed(member).clock_rate() / 50;
            let header = RtpHeader {
                marker: false,
                pt: 0,
                sequence: turn as u16,
                timestamp: turn * units,
                ssrc: 7,
                payload: 12..12 + payload.len(),
            };
            buffer[..12].copy_from_slice(&header.to_bytes());
            buffer[12..12 + payload.len()].copy_from_slice(&payload);
            if (turn + u32::from(member)) % 50 != 0 {
                engine.handle_rtp(now, 2 * member, phone(member), &mut buffer, 12 + payload.len());
            }
        }
        while engine.poll_timeout().is_some_and(|due| due <= now) {
            engine.handle_timeout(now);
            sent += std::iter::from_fn(|| engine.poll_transmit(&mut buffer)).count();
        }
        while engine.poll_event().is_some() {}
    }
    encoders.0 = payload;
    sent
}

#[test]
fn a_tick_of_every_codec_allocates_nothing() {
    let mut engine = room_of(6, Rate::Full, mixed);
    let opus = OpusParameters::default();
    let encoder = |n| Encoder::new(mixed(n), Rate::Full, &opus).unwrap();
    let mut encoders = (Vec::with_capacity(4096), (0..6).map(encoder).collect());
    talk_mixed(&mut engine, 6, &mut encoders, 1..500);
    let mut sent = 0;
    let count = allocations(|| sent = talk_mixed(&mut engine, 6, &mut encoders, 500..800));
    assert!(sent > 1_750, "{sent}");
    assert_eq!(count, 0);
}

/// Bytes that each member of so many rooms has of the engine, after a while of talk.
fn bytes_of_a_member(rooms: u16, members: u16) -> isize {
    let before = LIVE_BYTES.with(Cell::get);
    let empty = room(0);
    let engine_alone = LIVE_BYTES.with(Cell::get) - before;
    drop(empty);
    let all = rooms * members;
    let mut engine = rooms_of(rooms, members, Rate::Narrow, |_| Codec::Pcmu);
    talk(&mut engine, all, 1..400);
    let bytes = LIVE_BYTES.with(Cell::get) - before - engine_alone;
    let each = bytes / all as isize;
    println!("{each} bytes for a member of {rooms} rooms of {members}");
    each
}

#[test]
fn a_member_of_a_conference_in_g711_takes_less_than_5_6_kib_of_the_engine_and_so_does_one_of_three() {
    for (rooms, members) in [(1, 200), (66, 3)] {
        let each = bytes_of_a_member(rooms, members);
        // Of the 16 KiB that it may take of the process (decision 0050).
        assert!(each <= 5_700, "{each} bytes");
        assert!(each > 1024, "{each} bytes cannot be all");
    }
}
