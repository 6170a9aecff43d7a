//! Reading and writing an INVITE as phones send it and a REGISTER with credentials; digest; triage; timers. Prints first how
//! many allocations each takes.
#![allow(missing_docs, unsafe_code, clippy::unwrap_used, clippy::print_stdout)]

use bytes::Bytes;
use clock::Mono;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sip::digest::{Algorithm, Question, ha1};
use sip::header::Auth;
use sip::timers::Wheel;
use sip::{Message, Method, Name, Splice, Uri, Writer, frame, peek};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is left to the system's allocator; the count has no part in it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// 1,242 bytes, 17 header fields.
fn invite() -> Bytes {
    let sdp = "v=0\r\no=- 3967208312 3967208312 IN IP4 192.0.2.31\r\ns=softphone\r\nc=IN IP4 192.0.2.31\r\nt=0 0\r\n\
        m=audio 40044 RTP/AVP 96 9 8 0 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1;maxplaybackrate=48000\r\n\
        a=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\na=rtcp:40045 IN IP4 192.0.2.31\r\n";
    let head = "INVITE sip:1001@tandem.example;transport=udp SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.31:5062;rport;branch=z9hG4bKPj3f5b2c7d9e1a4f60b8c2d4e6f8a0b1c2\r\n\
        Max-Forwards: 70\r\n\
        From: \"Ada Lovelace\" <sip:1000@tandem.example>;tag=9a8b7c6d5e4f40312a1b2c3d4e5f6071\r\n\
        To: <sip:1001@tandem.example>\r\n\
        Contact: \"Ada Lovelace\" <sip:1000@192.0.2.31:5062;ob>;+sip.instance=\"<urn:uuid:0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9>\"\r\n\
        Call-ID: 5d4c3b2a-1908-4f7e-a6d5-c4b3a2918070\r\n\
        CSeq: 21543 INVITE\r\n\
        Route: <sip:tandem.example:5060;transport=udp;lr>\r\n\
        Allow: PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS\r\n\
        Supported: replaces, 100rel, timer, norefersub, outbound\r\n\
        Session-Expires: 1800\r\n\
        Min-SE: 90\r\n\
        User-Agent: SoftphoneOfSomeMaker/7.3.1 (Debian GNU/Linux)\r\n\
        P-Preferred-Identity: <sip:1000@tandem.example>\r\n\
        Content-Type: application/sdp\r\n";
    let message = Bytes::from(format!("{head}Content-Length: {}\r\n\r\n{sdp}", sdp.len()));
    println!("INVITE of {} bytes", message.len());
    message
}

fn register() -> Bytes {
    let message = Bytes::from_static(
        b"REGISTER sip:tandem.example SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.31:5062;rport;branch=z9hG4bKPj0f1e2d3c4b5a69788796a5b4c3d2e1f0\r\n\
        Max-Forwards: 70\r\n\
        From: <sip:1000@tandem.example>;tag=0f1e2d3c4b5a6978\r\n\
        To: <sip:1000@tandem.example>\r\n\
        Call-ID: 8f7e6d5c-4b3a-2918-0706-f5e4d3c2b1a0\r\n\
        CSeq: 1207 REGISTER\r\n\
        User-Agent: SoftphoneOfSomeMaker/7.3.1\r\n\
        Contact: <sip:1000@192.0.2.31:5062;ob>\r\n\
        Expires: 300\r\n\
        Authorization: Digest username=\"1000\", realm=\"tandem.example\", \
        nonce=\"00c5a1f20000312b5f6e7d8c9bab0a1b2c3d4e5f60718293a4b5c6d7\", uri=\"sip:tandem.example\", \
        response=\"0123456789abcdef0123456789abcdef\", algorithm=MD5, cnonce=\"a1b2c3d4e5f60718\", qop=auth, nc=00000003\r\n\
        Content-Length:  0\r\n\r\n",
    );
    println!("REGISTER of {} bytes", message.len());
    message
}

fn source() -> SocketAddr {
    "192.0.2.31:5062".parse().unwrap()
}

fn response(request: &Message) -> Bytes {
    Writer::response(request, 200, "OK", "f00dfeedf00dfeed", source())
        .header(Name::Contact, "<sip:1000@192.0.2.31:5062;ob>;expires=300")
        .header(Name::Server, "Tandem")
        .finish()
}

fn written_invite(body: &[u8]) -> Bytes {
    Writer::request(Method::Invite, b"sip:1001@192.0.2.44:5066;ob")
        .header(
            Name::Via,
            "SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK0011223344556677",
        )
        .header(Name::MaxForwards, "69")
        .header(
            Name::From,
            "\"Ada Lovelace\" <sip:1000@tandem.example>;tag=0011223344556677",
        )
        .header(Name::To, "<sip:1001@tandem.example>")
        .header(Name::CallId, "0011223344556677-8899aabbccddeeff")
        .cseq(1, b"INVITE")
        .header(Name::Contact, "<sip:tandem@192.0.2.1:5060>")
        .header(
            Name::Allow,
            "INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO, UPDATE, REFER, NOTIFY",
        )
        .header(Name::Supported, "replaces, timer")
        .header(Name::PAssertedIdentity, "\"Ada Lovelace\" <sip:1000@tandem.example>")
        .body("application/sdp", body)
}

fn forwarded(request: &Message) -> Bytes {
    Splice::of(request)
        .request_uri(&b"sip:1001@192.0.2.44:5066;ob"[..])
        .received(source())
        .decrement_max_forwards()
        .remove_first(Name::Route)
        .prepend(Name::RecordRoute, &b"<sip:192.0.2.1;lr>"[..])
        .prepend(
            Name::Via,
            &b"SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK0011223344556677"[..],
        )
        .finish()
}

/// Credentials of a REGISTER against an HA1, without the nonce's own check.
fn checked(request: &Message, ha1: &[u8]) -> bool {
    let auth = Auth::parse(request.header(Name::Authorization).unwrap()).unwrap();
    let text = |name: &str| auth.text(name).unwrap();
    let question = Question {
        algorithm: Algorithm::from_name(auth.get("algorithm")).unwrap(),
        nonce: &text("nonce"),
        nc: &text("nc"),
        cnonce: &text("cnonce"),
        method: request.method_bytes(),
        uri: &text("uri"),
    };
    question.is_answer(ha1, &text("response"))
}

fn allocations(what: &str, run: impl Fn()) {
    run();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    run();
    println!("{what}: {} allocations", ALLOCATIONS.load(Ordering::Relaxed) - before);
}

fn benches(c: &mut Criterion) {
    let (invite, register) = (invite(), register());
    let (parsed_invite, parsed_register) = (
        Message::parse(invite.clone()).unwrap(),
        Message::parse(register.clone()).unwrap(),
    );
    let ha1 = ha1(Algorithm::Md5, b"1000", b"tandem.example", b"secret");
    let body = parsed_invite.body();
    allocations("parse INVITE", || drop(black_box(Message::parse(invite.clone()))));
    allocations("parse REGISTER", || drop(black_box(Message::parse(register.clone()))));
    allocations("print 200 to REGISTER", || drop(black_box(response(&parsed_register))));
    allocations("print INVITE", || drop(black_box(written_invite(&body))));
    allocations("forward INVITE", || drop(black_box(forwarded(&parsed_invite))));
    allocations("check digest", || {
        assert!(!black_box(checked(&parsed_register, ha1.as_bytes())))
    });

    let mut g = c.benchmark_group("sip");
    g.throughput(Throughput::Elements(1));
    g.bench_function("parse_invite", |b| {
        b.iter(|| Message::parse(black_box(invite.clone())).unwrap().cseq())
    });
    g.bench_function("parse_register", |b| {
        b.iter(|| Message::parse(black_box(register.clone())).unwrap().cseq())
    });
    g.bench_function("print_register_200", |b| {
        b.iter(|| response(black_box(&parsed_register)))
    });
    g.bench_function("print_invite", |b| b.iter(|| written_invite(black_box(&body))));
    g.bench_function("forward_invite", |b| b.iter(|| forwarded(black_box(&parsed_invite))));
    g.bench_function("check_digest_md5", |b| {
        b.iter(|| checked(black_box(&parsed_register), ha1.as_bytes()))
    });
    g.bench_function("peek_register", |b| b.iter(|| peek::class(black_box(&register))));
    g.bench_function("peek_invite", |b| b.iter(|| peek::class(black_box(&invite))));
    g.bench_function("frame_invite", |b| {
        let mut framer = frame::Framer::new();
        b.iter(|| {
            framer.feed(black_box(&invite));
            framer.poll_frame().unwrap()
        });
    });
    g.bench_function("uri_key", |b| {
        b.iter(|| {
            Uri::parse(black_box(b"sip:1000@192.0.2.31:5062;transport=udp;ob"))
                .unwrap()
                .key()
        })
    });
    g.bench_function("timer_insert_cancel_among_a_million", |b| {
        let mut wheel = Wheel::new();
        let mut now = 0u64;
        for i in 0..1_000_000u64 {
            wheel.insert(Mono(i * 32_000), i);
        }
        b.iter(|| {
            now += 7_919;
            let id = wheel.insert(Mono(now * 1_000_000 % 32_000_000_000), now);
            wheel.cancel(black_box(id))
        });
    });
    g.finish();
}

criterion_group!(grammar, benches);
criterion_main!(grammar);
