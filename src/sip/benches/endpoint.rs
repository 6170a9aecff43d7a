//! Transactions per second and core: what the demultiplexer adds to parsing and printing.

use bytes::Bytes;
use clock::Mono;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sip::endpoint::{Config, Event};
use sip::{Body, Destination, Draft, Endpoint, Flow, Message, Method, Name, Output, Owner, Reply, Tokens, Transport};
use std::hint::black_box;

/// SplitMix64.
struct Random(u64);

impl Tokens for Random {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 31)
    }
}

fn flow(peer: &str) -> Flow {
    let address = |text: &str| text.parse().expect("an address");
    Flow {
        transport: Transport::Udp,
        local: address("192.0.2.1:5060"),
        peer: address(peer),
        connection: 0,
    }
}

fn request(method: &str, n: u64, body: &str) -> Bytes {
    Bytes::from(format!(
        "{method} sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.9:5060;branch=z9hG4bK{n:016x};rport\r\n\
         Max-Forwards: 70\r\nFrom: \"Kate\" <sip:1001@example.com>;tag=a{n:x}\r\nTo: <sip:1001@example.com>\r\n\
         Call-ID: {n:x}@198.51.100.9\r\nCSeq: 1 {method}\r\nContact: <sip:1001@198.51.100.9:5060>;expires=3600\r\n\
         User-Agent: bench\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// The time between two messages at 100,000 per second.
const STEP: u64 = 10_000;

/// REGISTER: parsed, taken, answered 200; the answer is kept.
fn register(c: &mut Criterion) {
    let mut endpoint = Endpoint::new(Config::default(), Box::new(Random(1)));
    let mut out = Vec::new();
    let (mut n, mut now) = (0, Mono(0));
    let mut group = c.benchmark_group("endpoint");
    group.throughput(Throughput::Elements(1));
    group.bench_function("register_answered", |b| {
        b.iter_batched(
            || {
                n += 1;
                request("REGISTER", n, "")
            },
            |bytes| {
                now.0 += STEP;
                let message = Message::parse(bytes).expect("sound");
                endpoint.handle_message(now, flow("198.51.100.9:5060"), message, &mut out);
                for output in std::mem::take(&mut out) {
                    if let Output::Event(Event::Request { flow, message, .. }) = output {
                        let contact = message.header(Name::Contact).unwrap_or_default();
                        let reply = Reply::new(200).header(Name::Contact, contact);
                        endpoint.answer(now, flow, &message, &reply, &mut out);
                    }
                }
                endpoint.handle_timeout(now, &mut out);
                black_box(out.drain(..).count())
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// MESSAGE: parsed, taken, sent on with headers of our own, answered, and the answer passed back.
fn message(c: &mut Criterion) {
    let mut endpoint = Endpoint::new(Config::default(), Box::new(Random(1)));
    let (mut out, mut work) = (Vec::new(), Vec::new());
    let (mut n, mut now) = (0, Mono(0));
    let mut group = c.benchmark_group("endpoint");
    group.throughput(Throughput::Elements(1));
    group.bench_function("message_relayed", |b| {
        b.iter_batched(
            || {
                n += 1;
                request("MESSAGE", n, "Hello over there, can you take this customer?")
            },
            |bytes| {
                now.0 += STEP * 2;
                let message = Message::parse(bytes).expect("sound");
                endpoint.handle_message(now, flow("198.51.100.9:5060"), message, &mut out);
                let mut server = None;
                while !out.is_empty() {
                    std::mem::swap(&mut out, &mut work);
                    for output in work.drain(..) {
                        match output {
                            Output::Event(Event::Request {
                                flow: from, message, ..
                            }) => {
                                let draft = relayed(&message);
                                server = Some(endpoint.accept(now, from, message, Owner(1), &mut out));
                                let to = Destination::Flow(flow("198.51.100.10:5060"));
                                endpoint.send(now, to, &draft, Owner(1), &mut out);
                            }
                            Output::Transmit { flow, bytes } if flow.peer.ip() != server_ip() => {
                                let answer = answered(&bytes);
                                endpoint.handle_message(now, flow, answer, &mut out);
                            }
                            Output::Event(Event::Response { .. }) => {
                                let server = server.take().expect("a request came first");
                                endpoint.respond(now, server, &Reply::new(200), &mut out);
                            }
                            other => drop(black_box(other)),
                        }
                    }
                }
                endpoint.handle_timeout(now, &mut out);
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn server_ip() -> std::net::IpAddr {
    flow("198.51.100.9:5060").peer.ip()
}

fn relayed(message: &Message) -> Draft {
    let from = "\"Kate\" <sip:1001@example.com>;tag=0123456789abcdef";
    Draft::new(
        Method::Message,
        "sip:1002@198.51.100.10:5060",
        from,
        "<sip:1002@example.com>",
        "0123456789abcdef",
        1,
    )
    .header(Name::UserAgent, "bench")
    .body(Body {
        content_type: "text/plain".into(),
        content: message.body(),
    })
}

/// What the other phone says.
fn answered(request: &Bytes) -> Message {
    let request = Message::parse(request.clone()).expect("ours");
    let source = flow("192.0.2.1:5060").peer;
    let bytes = sip::Writer::response(&request, 200, "OK", "b1", source).finish();
    Message::parse(bytes).expect("ours")
}

criterion_group!(benches, register, message);
criterion_main!(benches);
