//! Lookups against a table.

use super::*;
use std::collections::BTreeMap;

/// A DNS: name and type, and what it says.
#[derive(Default)]
struct Table {
    records: BTreeMap<String, Found>,
    asked: Vec<String>,
}

fn key(question: &Question) -> String {
    match question {
        Question::Naptr(name) => format!("NAPTR {name}"),
        Question::Srv(name) => format!("SRV {name}"),
        Question::Address(name) => format!("A {name}"),
    }
}

impl Table {
    fn naptr(mut self, name: &str, records: &[(u16, u16, &str, &str)]) -> Table {
        let record = |&(order, preference, service, replacement): &(u16, u16, &str, &str)| Naptr {
            order,
            preference,
            service: service.into(),
            replacement: replacement.into(),
        };
        let found = Found::Naptr(records.iter().map(record).collect());
        self.records.insert(format!("NAPTR {name}"), found);
        self
    }

    fn srv(mut self, name: &str, records: &[(u16, u16, u16, &str)]) -> Table {
        let record = |&(priority, weight, port, target): &(u16, u16, u16, &str)| Srv {
            priority,
            weight,
            port,
            target: target.into(),
        };
        let found = Found::Srv(records.iter().map(record).collect());
        self.records.insert(format!("SRV {name}"), found);
        self
    }

    fn address(mut self, name: &str, addresses: &[&str]) -> Table {
        let found = Found::Address(addresses.iter().map(|ip| ip.parse().unwrap()).collect());
        self.records.insert(format!("A {name}"), found);
        self
    }

    fn answer(&mut self, question: &Question) -> Found {
        self.asked.push(key(question));
        let nothing = match question {
            Question::Naptr(_) => Found::Naptr(Vec::new()),
            Question::Srv(_) => Found::Srv(Vec::new()),
            Question::Address(_) => Found::Address(Vec::new()),
        };
        self.records.get(&key(question)).cloned().unwrap_or(nothing)
    }

    /// Where a request to this URI goes: `udp 192.0.2.1:5060`.
    fn locate(&mut self, uri: &str, seed: u64) -> Vec<String> {
        let service = Service::of(&Uri::parse(uri.as_bytes()).unwrap()).unwrap();
        let speaks = [Transport::Udp, Transport::Tcp, Transport::Tls];
        let (mut lookup, mut step) = Lookup::start(service, &speaks);
        let mut state = seed;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 11
        };
        loop {
            match step {
                Step::Done(targets) => {
                    let text = |t: &Target| format!("{} {}", t.transport.as_str().to_lowercase(), t.peer);
                    return targets.iter().map(text).collect();
                }
                Step::Ask(questions) => {
                    // In the other order: nobody says which answer comes first.
                    let answers = questions.iter().rev().filter_map(|question| {
                        let found = self.answer(question);
                        lookup.handle(question, found, &mut random)
                    });
                    step = answers.last().expect("the last answer ends the round");
                }
            }
        }
    }
}

#[test]
fn an_address_is_where_it_says_and_nothing_is_asked() {
    let mut dns = Table::default();
    assert_eq!(dns.locate("sip:192.0.2.1", 1), ["udp 192.0.2.1:5060"]);
    assert_eq!(
        dns.locate("sip:[2001:db8::1]:5070;transport=tcp", 1),
        ["tcp [2001:db8::1]:5070"]
    );
    assert_eq!(dns.locate("sips:192.0.2.1", 1), ["tls 192.0.2.1:5061"]);
    assert_eq!(dns.locate("sip:example.com;maddr=192.0.2.9", 1), ["udp 192.0.2.9:5060"]);
    assert!(dns.asked.is_empty());
}

#[test]
fn naptr_says_how_and_srv_says_where() {
    let mut dns = Table::default()
        .naptr(
            "example.com",
            &[
                (60, 50, "SIP+D2U", "_sip._udp.example.com"),
                (50, 50, "SIPS+D2T", "_sips._tcp.example.com"),
                (50, 40, "SIP+D2W", "_sip._ws.example.com"),
                (90, 50, "SIP+D2T", "_sip._tcp.example.com"),
            ],
        )
        .srv("_sips._tcp.example.com", &[(1, 0, 5061, "a.example.com")])
        .srv(
            "_sip._udp.example.com",
            &[(2, 0, 5070, "b.example.com"), (1, 0, 5060, "a.example.com")],
        )
        .address("a.example.com", &["192.0.2.1"])
        .address("b.example.com", &["192.0.2.2", "2001:db8::2"]);
    let expected = [
        "tls 192.0.2.1:5061",
        "udp 192.0.2.1:5060",
        "udp 192.0.2.2:5070",
        "udp [2001:db8::2]:5070",
    ];
    assert_eq!(dns.locate("sip:kate@Example.COM.", 1), expected);
    assert_eq!(dns.locate("sips:kate@example.com", 1), expected[..1]);
}

#[test]
fn without_naptr_every_transport_is_asked_for_and_without_srv_the_host() {
    let mut dns = Table::default()
        .srv("_sip._tcp.example.com", &[(1, 0, 5080, "a.example.com")])
        .address("a.example.com", &["192.0.2.1"])
        .address("plain.example.com", &["192.0.2.7"]);
    assert_eq!(dns.locate("sip:example.com", 1), ["tcp 192.0.2.1:5080"]);
    assert_eq!(dns.locate("sip:plain.example.com", 1), ["udp 192.0.2.7:5060"]);
    assert_eq!(dns.locate("sips:plain.example.com", 1), ["tls 192.0.2.7:5061"]);
    assert_eq!(dns.locate("sip:nowhere.example.com", 1), [""; 0]);
}

#[test]
fn a_port_means_that_only_addresses_are_asked_and_a_transport_that_naptr_is_not() {
    let mut dns = Table::default().address("example.com", &["192.0.2.1"]);
    assert_eq!(dns.locate("sip:example.com:5090", 1), ["udp 192.0.2.1:5090"]);
    assert_eq!(dns.asked, ["A example.com"]);
    dns.asked.clear();
    assert_eq!(dns.locate("sip:example.com;transport=tls", 1), ["tls 192.0.2.1:5061"]);
    assert_eq!(dns.asked, ["SRV _sips._tcp.example.com", "A example.com"]);
}

#[test]
fn a_service_that_is_said_not_to_be_there_is_not_looked_for_elsewhere() {
    let mut dns = Table::default()
        .srv("_sip._udp.example.com", &[(0, 0, 0, ".")])
        .address("example.com", &["192.0.2.1"]);
    assert_eq!(dns.locate("sip:example.com;transport=udp", 1), [""; 0]);
}

#[test]
fn weights_say_how_often_a_host_is_the_first() {
    let mut dns = Table::default()
        .srv(
            "_sip._udp.example.com",
            &[(1, 75, 1, "a"), (1, 25, 2, "a"), (1, 0, 3, "a"), (2, 100, 4, "a")],
        )
        .address("a", &["192.0.2.1"]);
    let mut first = [0; 5];
    for seed in 0..4_000u64 {
        let order = dns.locate(
            "sip:example.com;transport=udp",
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        );
        assert_eq!(order.len(), 4);
        assert!(order[3].ends_with(":4"), "a higher priority is last");
        let port: usize = order[0].rsplit(':').next().unwrap().parse().unwrap();
        first[port] += 1;
    }
    assert!((2_800..3_200).contains(&first[1]), "{first:?}");
    assert!((800..1_200).contains(&first[2]), "{first:?}");
    assert!(first[3] > 0 && first[3] < 120, "{first:?}");
}

#[test]
fn what_others_offer_is_bounded() {
    let many: Vec<(u16, u16, u16, &str)> = (0..500).map(|n| (n, 0, n, "a")).collect();
    let addresses = ["192.0.2.1"; 500];
    let mut dns = Table::default()
        .srv("_sip._udp.example.com", &many)
        .address("a", &addresses);
    assert_eq!(dns.locate("sip:example.com;transport=udp", 1).len(), MAX_TARGETS);
}

#[test]
fn what_cannot_be_reached_by_name_is_no_service() {
    for uri in [
        "tel:+15551234",
        "sip:example.com;transport=sctp",
        "sips:example.com;transport=udp",
    ] {
        assert_eq!(Service::of(&Uri::parse(uri.as_bytes()).unwrap()), None, "{uri}");
    }
    let long = format!("sip:{}.com", "a".repeat(300));
    assert_eq!(Service::of(&Uri::parse(long.as_bytes()).unwrap()), None);
}
