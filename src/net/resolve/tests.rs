//! Against a DNS server on loopback that answers from a table.

use super::*;
use crate::wake::{self, Bell};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::mpsc::Receiver;

const NAPTR: u16 = 35;
const SRV: u16 = 33;
const A: u16 = 1;
const AAAA: u16 = 28;

/// Name, type, and the records' data.
type Zone = Vec<(&'static str, u16, Vec<Vec<u8>>)>;

fn name(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

fn srv_data(priority: u16, weight: u16, port: u16, target: &str) -> Vec<u8> {
    let numbers = [priority, weight, port].map(u16::to_be_bytes).concat();
    [numbers, name(target)].concat()
}

fn naptr_data(order: u16, preference: u16, flags: &str, service: &str, replacement: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
    let numbers = [order, preference].map(u16::to_be_bytes).concat();
    [numbers, text(flags), text(service), text(""), name(replacement)].concat()
}

/// Serves a zone on a thread of its own; `None`: receives and never answers. Counts what it was asked.
fn serve(zone: Option<Zone>) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 1_500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            count.fetch_add(1, Relaxed);
            if let Some(zone) = &zone {
                let _ = socket.send_to(&answer(zone, &buffer[..length]), peer);
            }
        }
    });
    (at, asked)
}

/// RFC 1035 section 4.1: the question back, and the records; NXDOMAIN if there are none.
fn answer(zone: &Zone, query: &[u8]) -> Vec<u8> {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let length = usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..at + 1 + length]).to_lowercase());
        at += length + 1;
    }
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let asked = labels.join(".");
    let found = zone.iter().find(|(name, of, _)| *name == asked && *of == kind);
    let records = found.map_or(&[][..], |(_, _, records)| records);
    let status = if records.is_empty() { 3 } else { 0 };
    let mut out = query[..2].to_vec();
    out.extend_from_slice(&[0x81, 0x80 | status, 0, 1]);
    out.extend_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0]);
    out.extend_from_slice(&query[12..at + 5]);
    for data in records {
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        out.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend_from_slice(data);
    }
    out
}

struct Bench {
    resolver: Resolver,
    counters: Arc<ResolveCounters>,
    answers: Receiver<Resolved>,
}

fn bench(server: SocketAddr, change: impl FnOnce(&mut ResolveSettings)) -> Bench {
    let mut settings = ResolveSettings {
        servers: vec![server],
        ..ResolveSettings::default()
    };
    change(&mut settings);
    let (post, answers) = wake::channel(1_000, &Bell::new().unwrap());
    let counters = Arc::<ResolveCounters>::default();
    let resolver = Resolver::new(Handle::current(), settings, counters.clone(), post);
    Bench {
        resolver,
        counters,
        answers,
    }
}

impl Bench {
    async fn next(&mut self) -> Resolved {
        let next = tokio::time::timeout(Duration::from_secs(5), self.answers.recv()).await;
        next.expect("an answer within five seconds").unwrap()
    }

    async fn ask(&mut self, question: Question) -> Found {
        self.resolver.ask(1, question);
        self.next().await.found
    }
}

fn zone() -> Zone {
    vec![
        (
            "example.net",
            NAPTR,
            vec![
                naptr_data(10, 20, "s", "SIP+D2U", "_sip._udp.example.net"),
                naptr_data(10, 30, "u", "E2U+sip", ""),
            ],
        ),
        (
            "_sip._udp.example.net",
            SRV,
            vec![
                srv_data(1, 2, 5070, "a.example.net"),
                srv_data(3, 4, 5080, "b.example.net"),
            ],
        ),
        ("a.example.net", A, vec![vec![192, 0, 2, 1]]),
        (
            "a.example.net",
            AAAA,
            vec![std::net::Ipv6Addr::LOCALHOST.octets().to_vec()],
        ),
    ]
}

#[tokio::test]
async fn records_of_every_kind_are_found() {
    let mut bench = bench(serve(Some(zone())).0, |_| {});
    let naptr = bench.ask(Question::Naptr("example.net".into())).await;
    let Found::Naptr(naptr) = naptr else {
        panic!("{naptr:?}")
    };
    assert_eq!(naptr.len(), 1, "only those for SIP: {naptr:?}");
    assert_eq!((naptr[0].order, naptr[0].preference), (10, 20));
    assert_eq!(
        (&*naptr[0].service, &*naptr[0].replacement),
        ("SIP+D2U", "_sip._udp.example.net")
    );
    let srv = bench.ask(Question::Srv("_sip._udp.example.net".into())).await;
    let Found::Srv(srv) = srv else { panic!("{srv:?}") };
    let numbers: Vec<_> = srv.iter().map(|s| (s.priority, s.weight, s.port, &*s.target)).collect();
    assert_eq!(numbers, [(1, 2, 5070, "a.example.net"), (3, 4, 5080, "b.example.net")]);
    let Found::Address(mut addresses) = bench.ask(Question::Address("a.example.net".into())).await else {
        panic!("no addresses");
    };
    addresses.sort();
    assert_eq!(
        addresses,
        ["192.0.2.1".parse::<std::net::IpAddr>().unwrap(), "::1".parse().unwrap()]
    );
    assert_eq!(bench.counters.answered.value(), 3);
}

#[tokio::test]
async fn what_is_not_there_is_not_asked_for_again_at_once() {
    let (server, asked) = serve(Some(zone()));
    let mut bench = bench(server, |_| {});
    let question = Question::Srv("_sip._udp.nowhere.example".into());
    assert_eq!(bench.ask(question.clone()).await, Found::Srv(Vec::new()));
    let before = asked.load(Relaxed);
    for _ in 0..20 {
        assert_eq!(bench.ask(question.clone()).await, Found::Srv(Vec::new()));
    }
    assert_eq!((asked.load(Relaxed), bench.counters.remembered.value()), (before, 20));
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_its_time_and_no_more() {
    let within = Duration::from_millis(300);
    let mut bench = bench(serve(None).0, |settings| settings.within = within);
    let begun = Instant::now();
    assert_eq!(
        bench.ask(Question::Naptr("example.net".into())).await,
        Found::Naptr(Vec::new())
    );
    assert!(begun.elapsed() >= within);
    assert_eq!(bench.counters.failed.value() + bench.counters.empty.value(), 1);
    assert_eq!(
        bench.ask(Question::Naptr("example.net".into())).await,
        Found::Naptr(Vec::new())
    );
    assert_eq!(bench.counters.remembered.value(), 1);
}

#[tokio::test]
async fn of_a_flood_of_questions_so_many_are_asked() {
    let mut bench = bench(serve(None).0, |settings| {
        settings.within = Duration::from_millis(300);
        settings.max_questions = 10;
    });
    for n in 0..50 {
        bench
            .resolver
            .ask(n, Question::Address(format!("h{n}.example.net").into()));
    }
    let mut tokens = Vec::new();
    for _ in 0..50 {
        tokens.push(bench.next().await.token);
    }
    tokens.sort_unstable();
    assert_eq!(tokens, (0..50).collect::<Vec<_>>());
    assert_eq!(bench.counters.refused.value(), 40);
}
