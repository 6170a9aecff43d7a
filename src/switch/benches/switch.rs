//! What passes through the switch without sockets, store and media: REGISTER with a nonce that is known and with a full
//! challenge, a MESSAGE relayed, a call set up and torn down. Only the switch's own time counts: what its phones compute is
//! outside the measured spans. Prints first how many allocations each takes.
#![allow(
    missing_docs,
    unsafe_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods
)] // the clock and the allocator are measured here, not used by the switch

use bytes::Bytes;
use clock::{Mono, Now, Wall};
use criterion::{Criterion, criterion_group, criterion_main};
use model::{MessageId, StoreOp, StoreReply};
use sip::digest::{Challenge, Hex, ha1};
use sip::{Flow, Message, Name, Transport, Writer};
use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use switch::testing::{DOMAIN, config, password, user};
use switch::{Input, Output, Switch};

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

const USERS: usize = 10_000;
/// Between two messages: 100,000 a second.
const STEP: Duration = Duration::from_micros(10);
/// Requests that are under way together: the clock is read only twice for each lot.
const LOT: usize = 64;

/// A user's phone, as text.
struct Phone {
    name: String,
    peer: SocketAddr,
    ha1: Hex,
    challenge: Vec<u8>,
    count: u32,
    cseq: u32,
}

/// A switch with its phones, and the time it took.
struct Bench {
    switch: Switch,
    now: Now,
    phones: Vec<Phone>,
    local: SocketAddr,
    out: Vec<(SocketAddr, Bytes)>,
    events: Vec<media::Event>,
    last_port: u16,
    branch: u64,
    step: Duration,
    spent: Duration,
    allocations: u64,
}

impl Bench {
    fn new(users: usize) -> Bench {
        let mut config = config();
        config.users = (0..users).map(|n| user(&(10_000 + n).to_string())).collect();
        let now = Now {
            mono: Mono(1_000_000_000),
            wall: Wall(1_767_225_600_000),
        };
        let mut bench = Bench {
            switch: Switch::new(config, [1; 32], [2; 32], now),
            now,
            phones: (0..users).map(phone).collect(),
            local: "127.0.0.1:5060".parse().unwrap(),
            out: Vec::new(),
            events: Vec::new(),
            last_port: 16_384,
            branch: 0,
            step: STEP,
            spent: Duration::ZERO,
            allocations: 0,
        };
        bench.collect();
        let all: Vec<usize> = (0..users).collect();
        for lot in all.chunks(LOT) {
            bench.challenge(lot);
            bench.register(lot);
        }
        (bench.spent, bench.allocations) = (Duration::ZERO, 0);
        bench
    }

    /// Gives the switch messages from their peers and takes what it says, on the clock.
    fn put(&mut self, messages: Vec<(SocketAddr, Bytes)>) {
        let mut outputs = Vec::with_capacity(4 * messages.len());
        let (begun, allocated) = (cpu_time(), ALLOCATIONS.load(Ordering::Relaxed));
        for (peer, bytes) in messages {
            self.now.mono = self.now.mono + self.step;
            let flow = Flow {
                transport: Transport::Udp,
                local: self.local,
                peer,
                connection: 0,
            };
            if self.switch.poll_timeout().is_some_and(|due| due <= self.now.mono) {
                self.switch.handle_timeout(self.now);
            }
            self.switch.handle_input(self.now, Input::Datagram { flow, bytes });
            while let Some(output) = self.switch.poll_output() {
                outputs.push(output);
            }
        }
        self.spent += cpu_time() - begun;
        self.allocations += ALLOCATIONS.load(Ordering::Relaxed) - allocated;
        self.obey(outputs);
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.switch.poll_output()).collect()
    }

    fn collect(&mut self) {
        let outputs = self.drain();
        self.obey(outputs);
    }

    /// The shell's part: an empty store, a media engine that always can.
    fn obey(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Transmit { flow, bytes } => self.out.push((flow.peer, bytes)),
                Output::Store { token: Some(token), op } => {
                    let reply = match op {
                        StoreOp::LoadBindings => StoreReply::Bindings(Vec::new()),
                        StoreOp::CountMessages => StoreReply::Waiting {
                            per_user: Vec::new(),
                            last_id: MessageId(0),
                        },
                        _ => StoreReply::Done,
                    };
                    self.switch.handle_input(self.now, Input::Stored { token, reply });
                }
                Output::Media(worker, media::Plan::BindPorts { count }) => {
                    let ports = (0..count).map(|n| self.last_port + 2 * n).collect();
                    self.last_port += 2 * count;
                    self.events.push(media::Event::PortsBound { worker, ports });
                }
                Output::Media(_, media::Plan::CloseLeg { leg }) => {
                    self.events.push(media::Event::LegClosed {
                        leg,
                        port: 0,
                        stats: Box::default(),
                    });
                }
                _ => {}
            }
        }
        if let Some(event) = self.events.pop() {
            self.switch.handle_input(self.now, Input::Media(event));
            self.collect();
        }
    }

    /// A request of phone `n`, with credentials if it has a nonce.
    fn request(&mut self, n: usize, method: &str, uri: &str, more: &str, body: &str) -> Bytes {
        self.branch += 1;
        let phone = &mut self.phones[n];
        phone.cseq += 1;
        phone.count += 1;
        let (name, peer, cseq, branch) = (&phone.name, phone.peer, phone.cseq, self.branch);
        let mut text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {peer};rport;branch=z9hG4bK{branch:016x}\r\nMax-Forwards: 70\r\n\
             From: <sip:{name}@{DOMAIN}>;tag=f{branch}\r\nTo: <{}>\r\nCall-ID: {method}-{}@{peer}\r\n\
             CSeq: {cseq} {method}\r\nUser-Agent: bench/1.0\r\n{more}",
            if method == "REGISTER" {
                format!("sip:{name}@{DOMAIN}")
            } else {
                uri.to_owned()
            },
            if method == "REGISTER" { 0 } else { branch },
        );
        if !phone.challenge.is_empty() {
            let challenge = Challenge::parse(&phone.challenge).unwrap();
            let value = challenge.credentials(
                name,
                &phone.ha1,
                method.as_bytes(),
                uri.as_bytes(),
                "0a4f113b",
                phone.count,
            );
            text += &format!("Authorization: {}\r\n", String::from_utf8(value).unwrap());
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        text.into()
    }

    fn register_text(&mut self, n: usize) -> Bytes {
        let (name, peer) = (self.phones[n].name.clone(), self.phones[n].peer);
        self.request(
            n,
            "REGISTER",
            "sip:example.com",
            &format!("Contact: <sip:{name}@{peer}>\r\nExpires: 3600\r\n"),
            "",
        )
    }

    /// All of these phones send REGISTER and are let in.
    fn register(&mut self, lot: &[usize]) {
        for answer in self.registers(lot) {
            assert_eq!(answer.status(), 200);
        }
    }

    /// All of these phones send REGISTER; the answers.
    fn registers(&mut self, lot: &[usize]) -> Vec<Message> {
        let texts = lot
            .iter()
            .map(|n| (self.phones[*n].peer, self.register_text(*n)))
            .collect();
        self.put(texts);
        let answers: Vec<(SocketAddr, Bytes)> = std::mem::take(&mut self.out);
        assert_eq!(answers.len(), lot.len());
        answers
            .into_iter()
            .map(|(_, bytes)| Message::parse(bytes).unwrap())
            .collect()
    }

    /// All of these phones send REGISTER without credentials and keep the challenge.
    fn challenge(&mut self, lot: &[usize]) {
        for n in lot {
            self.phones[*n].challenge.clear();
        }
        for (n, answer) in lot.iter().zip(self.registers(lot)) {
            let line = answer.header(Name::WwwAuthenticate).expect("a challenge").to_vec();
            (self.phones[*n].challenge, self.phones[*n].count) = (line, 0);
        }
    }

    /// Takes out the message to `n` for which something holds.
    fn take(&mut self, n: usize, holds: impl Fn(&Message) -> bool) -> Message {
        let peer = self.phones[n].peer;
        let parsed = |bytes: &Bytes| Message::parse(bytes.clone()).unwrap();
        let place = self
            .out
            .iter()
            .position(|(to, bytes)| *to == peer && holds(&parsed(bytes)));
        let place = place.unwrap_or_else(|| panic!("not among {:?}", self.out));
        parsed(&self.out.remove(place).1)
    }

    /// What phone `n` answers to a request.
    fn response(&self, n: usize, request: &Message, status: u16, body: &str) -> (SocketAddr, Bytes) {
        let peer = self.phones[n].peer;
        let writer = Writer::response(request, status, "Fine", "to-tag", self.local);
        let writer = writer.header(Name::Contact, format!("<sip:{}@{peer}>", self.phones[n].name));
        (
            peer,
            if body.is_empty() {
                writer.finish()
            } else {
                writer.body("application/sdp", body.as_bytes())
            },
        )
    }

    /// Each of these phones sends a MESSAGE to the next one, which takes it.
    fn message(&mut self, lot: &[usize]) {
        let mut texts = Vec::new();
        for n in lot {
            let uri = format!("sip:{}@{DOMAIN}", self.phones[(n + 1) % self.phones.len()].name);
            let text = self.request(
                *n,
                "MESSAGE",
                &uri,
                "Content-Type: text/plain\r\n",
                "Hello, are you there? It is me.",
            );
            texts.push((self.phones[*n].peer, text));
        }
        self.put(texts);
        let relayed = std::mem::take(&mut self.out);
        assert_eq!(relayed.len(), lot.len());
        let taken = lot.iter().zip(relayed).map(|(n, (_, bytes))| {
            let message = Message::parse(bytes).unwrap();
            assert!(message.is_request());
            self.response((n + 1) % self.phones.len(), &message, 200, "")
        });
        let taken = taken.collect();
        self.put(taken);
        assert!(self.out.iter().all(|(_, bytes)| bytes.starts_with(b"SIP/2.0 200 ")) && self.out.len() == lot.len());
        self.out.clear();
    }

    fn call(&mut self, from: usize, to: usize) {
        let uri = format!("sip:{}@{DOMAIN}", self.phones[to].name);
        let peer = self.phones[from].peer;
        let more = format!(
            "Contact: <sip:{}@{peer}>\r\nContent-Type: application/sdp\r\n",
            self.phones[from].name
        );
        let invite = self.request(from, "INVITE", &uri, &more, SDP);
        self.put(vec![(peer, invite.clone())]);
        let relayed = self.take(to, Message::is_request);
        self.put(vec![
            self.response(to, &relayed, 180, ""),
            self.response(to, &relayed, 200, SDP),
        ]);
        let answer = self.take(from, |m| m.status() == 200);
        let (ack, bye) = (
            self.inside(&invite, &answer, "ACK"),
            self.inside(&invite, &answer, "BYE"),
        );
        self.put(vec![(peer, ack), (peer, bye)]);
        let bye = self.take(to, |m| m.method() == sip::Method::Bye);
        self.put(vec![self.response(to, &bye, 200, "")]);
        self.out.clear();
    }

    /// A request of the caller inside the dialog that `answer` to `invite` made.
    fn inside(&self, invite: &Bytes, answer: &Message, method: &str) -> Bytes {
        let invite = Message::parse(invite.clone()).unwrap();
        let text = |message: &Message, name| String::from_utf8_lossy(message.header(name).unwrap()).into_owned();
        let uri = text(answer, Name::Contact).trim_matches(['<', '>']).to_owned();
        let cseq = invite.cseq() + u32::from(method == "BYE");
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch=z9hG4bK{method}{:016x}\r\nMax-Forwards: 70\r\n\
             From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n",
            self.phones[0].peer,
            self.branch,
            text(&invite, Name::From),
            text(answer, Name::To),
            text(&invite, Name::CallId),
        )
        .into()
    }
}

/// What this thread has had of the processor: others on the machine do not count.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 30000 RTP/AVP 0 8\r\n";

fn phone(n: usize) -> Phone {
    let name = (10_000 + n).to_string();
    let [high, low] = u16::try_from(n).unwrap().to_be_bytes();
    Phone {
        peer: ([127, 1, high, low], 5062).into(),
        ha1: ha1(
            sip::digest::Algorithm::Md5,
            name.as_bytes(),
            DOMAIN.as_bytes(),
            password(&name).as_bytes(),
        ),
        name,
        challenge: Vec::new(),
        count: 0,
        cseq: 0,
    }
}

/// Lets the phones act in lots, at least so many; the switch's time for one, times `times`.
fn timed(bench: &mut Bench, times: u64, mut act: impl FnMut(&mut Bench, &[usize])) -> Duration {
    let size = LOT.min(bench.phones.len());
    bench.spent = Duration::ZERO;
    let lots = times.div_ceil(size as u64);
    for lot in 0..lots {
        let first = usize::try_from(lot).unwrap() * size;
        let lot: Vec<usize> = (first..first + size).map(|n| n % bench.phones.len()).collect();
        act(bench, &lot);
    }
    bench.spent.mul_f64(times as f64 / (lots * size as u64) as f64)
}

/// Counts allocations, and measures.
fn report(c: &mut Criterion, bench: &mut Bench, name: &str, act: impl Fn(&mut Bench, &[usize])) {
    timed(bench, 256, &act);
    bench.allocations = 0;
    timed(bench, 1_024, &act);
    println!("{name}: {:.1} allocations", bench.allocations as f64 / 1_024.0);
    c.bench_function(name, |b| b.iter_custom(|times| timed(bench, times, &act)));
    assert_eq!(bench.switch.audit(), Ok(()));
}

/// A million bindings run out, one after the other or all at one moment: what each costs, store operations included, and the
/// longest step.
fn expiry(how: &str, apart: Duration) {
    const BINDINGS: usize = 1_000_000;
    let mut config = config();
    config.limits.max_bindings = BINDINGS;
    let aor = |n: usize| model::Aor::new(&(1_000_000 + n).to_string(), DOMAIN);
    let template = user("1000");
    config.users = (0..BINDINGS)
        .map(|n| switch::config::User {
            aor: aor(n),
            ..template.clone()
        })
        .collect();
    let mut now = Now {
        mono: Mono(1_000_000_000),
        wall: Wall(1_767_225_600_000),
    };
    let mut switch = Switch::new(config, [1; 32], [2; 32], now);
    let bindings = (0..BINDINGS).map(|n| binding(aor(n), now.wall + Duration::from_secs(60) + apart * n as u32));
    let mut bindings = Some(bindings.collect());
    while let Some(output) = switch.poll_output() {
        if let Output::Store {
            token: Some(token),
            op: StoreOp::LoadBindings,
        } = output
        {
            let reply = StoreReply::Bindings(bindings.take().unwrap_or_default());
            switch.handle_input(now, Input::Stored { token, reply });
        }
    }
    if apart.is_zero() {
        restore(&mut switch, now, BINDINGS);
    }
    let (begun, mut longest, mut deleted) = (cpu_time(), Duration::ZERO, 0);
    while deleted < BINDINGS {
        let due = switch.poll_timeout().expect("more ends").max(now.mono);
        let step = cpu_time();
        now = Now {
            mono: due,
            wall: now.wall + due.since(now.mono),
        };
        switch.handle_timeout(now);
        while let Some(output) = switch.poll_output() {
            deleted += usize::from(matches!(
                output,
                Output::Store {
                    op: StoreOp::DeleteBinding { .. },
                    ..
                }
            ));
        }
        longest = longest.max(cpu_time() - step);
    }
    let each = (cpu_time() - begun).as_nanos() / BINDINGS as u128;
    println!("expiry of {BINDINGS} bindings {how}: {each} ns each, the longest step {longest:?}");
}

/// What is left of so many bindings that the store had is taken in: what each costs, and the longest step.
fn restore(switch: &mut Switch, now: Now, bindings: usize) {
    let (begun, mut longest) = (cpu_time(), Duration::ZERO);
    while switch.poll_timeout().is_some_and(|due| due <= now.mono) {
        let step = cpu_time();
        switch.handle_timeout(now);
        while switch.poll_output().is_some() {}
        longest = longest.max(cpu_time() - step);
    }
    let each = (cpu_time() - begun).as_nanos() / bindings as u128;
    println!("{bindings} stored bindings: {each} ns each, the longest step {longest:?}");
}

fn binding(aor: model::Aor, expires_at: Wall) -> model::Binding {
    let contact: Box<str> = format!("sip:{}@127.0.0.1:5062", aor.user()).into();
    model::Binding {
        aor,
        key: model::BindingKey(contact.clone()),
        contact,
        params: "".into(),
        q: 1_000,
        call_id: "0123456789abcdef".into(),
        cseq: 1,
        expires_at,
        created_at: Wall(0),
        path: "".into(),
        user_agent: "bench".into(),
        endpoint: model::Endpoint {
            transport: model::Transport::Udp,
            local: "127.0.0.1:5060".parse().unwrap(),
            peer: "127.0.0.1:5062".parse().unwrap(),
        },
    }
}

fn benches(c: &mut Criterion) {
    expiry("within an hour", Duration::from_micros(3_540));
    expiry("at once", Duration::ZERO);
    let mut bench = Bench::new(USERS);
    // A nonce lives 300 s: 30 million messages here, more than a run has.
    report(c, &mut bench, "REGISTER, nonce known", Bench::register);
    report(c, &mut bench, "REGISTER, full challenge", |bench, lot| {
        bench.challenge(lot);
        bench.register(lot);
    });
    let all: Vec<usize> = (0..USERS).collect();
    all.chunks(LOT).for_each(|lot| bench.challenge(lot));
    report(c, &mut bench, "MESSAGE relayed", Bench::message);
    let mut bench = Bench::new(2);
    bench.challenge(&[0, 1]);
    // Ports rest for seconds after a call.
    bench.step = Duration::from_micros(200);
    report(c, &mut bench, "call set up and torn down", |bench, lot| {
        let spent = bench.spent;
        // A nonce lives for 1,500,000 steps, a registration for 18,000,000.
        bench.challenge(&[0]);
        bench.spent = spent;
        for _ in lot {
            bench.call(0, 1);
        }
    });
}

criterion_group!(all, benches);
criterion_main!(all);
