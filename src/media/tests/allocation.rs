//! A packet and a tick allocate nothing once the buffers have their size.

#![allow(unsafe_code, clippy::unwrap_used)] // counting needs an allocator of our own

use clock::Mono;
use media::plan::{Codec, Format, Latch, Matrix, Rate};
use media::rtp::RtpHeader;
use media::{Engine, EngineConfig, LegId, LegMedia, OpenLeg, Plan, RoomId};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
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

fn room(members: u16) -> Engine {
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
            remote_rtcp: Some(phone(n + 500)),
            formats: [Format {
                pt_in: 0,
                pt_out: 0,
                codec: Codec::Pcmu,
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
