//! Whatever happens, and whatever the user does.

use super::*;
use crate::Uri;
use crate::locate::{self, Question, Service};
use proptest::prelude::*;
use std::sync::Arc;

/// One thing that happens to an endpoint or that its user does.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    /// A request: method, branch, and the stream it comes on (0: UDP).
    Receive(usize, u8, u64),
    /// The user answers the newest server transactions: how far back, status.
    Respond(usize, u16),
    /// The user sends: method, where to.
    Send(usize, u8),
    /// The peer answers what was sent: how far back, status.
    Answered(usize, u16),
    Cancel(usize),
    Disown(usize),
    Abandon(usize),
    Connected(usize, bool),
    Closed(u64),
    Repeat(usize),
    /// The DNS answers: how far back, how many records.
    Resolved(usize, u16),
}

const METHODS: [(&str, Method); 4] = [
    ("INVITE", Method::Invite),
    ("MESSAGE", Method::Message),
    ("CANCEL", Method::Cancel),
    ("ACK", Method::Ack),
];

fn stream(connection: u64) -> Flow {
    if connection == 0 {
        udp(PEER)
    } else {
        tcp(PEER, connection)
    }
}

/// The same things on and on, with all that was ever given or sent still at hand.
struct Script {
    bench: Bench,
    servers: Vec<ServerId>,
    clients: Vec<ClientId>,
    sent: Vec<String>,
    connecting: Vec<Connecting>,
    resolving: Vec<(Resolving, Question)>,
}

impl Script {
    fn step(&mut self, step: &Step) {
        let b = &mut self.bench;
        match *step {
            Step::Wait(ms) => drop(b.at(b.now.millis() + ms)),
            Step::Receive(method, branch, connection) => {
                b.receive(
                    stream(connection),
                    &request(METHODS[method].0, &format!("z9hG4bK{branch}")),
                );
            }
            Step::Respond(back, status) => {
                if let Some(server) = newest(&self.servers, back) {
                    b.respond(server, status);
                }
            }
            Step::Send(method, to) => {
                let local = address("192.0.2.1:5060");
                let transport = if to == 3 { Transport::Tcp } else { Transport::Udp };
                let to = match to {
                    0..3 => Destination::Flow(stream(to.into())),
                    5 => Destination::Service {
                        service: Arc::new(Service::of(&Uri::parse(b"sip:example.net").unwrap()).unwrap()),
                        local,
                        only: None,
                    },
                    6 => Destination::AnyOf(
                        [1, 0, 2]
                            .map(|connection| Alternative {
                                destination: Destination::Flow(stream(connection)),
                                uri: b"sip:b@device.invalid"[..].into(),
                                route: b"<sip:edge.example.com;lr>"[..].into(),
                            })
                            .into(),
                    ),
                    _ => Destination::Address {
                        transport,
                        local,
                        peer: address(PEER),
                    },
                };
                let client = b.send(to, &draft(METHODS[method % 2].1));
                self.clients.push(client);
            }
            Step::Answered(back, status) => {
                if let Some(text) = newest(&self.sent, back) {
                    b.receive(udp(PEER), &response(&text, status));
                }
            }
            Step::Cancel(back) => {
                if let Some(client) = newest(&self.clients, back) {
                    b.endpoint.cancel(b.now, client, &Headers::new(), &mut b.out);
                }
            }
            Step::Disown(back) => drop(newest(&self.clients, back).map(|client| b.endpoint.disown(client))),
            Step::Abandon(back) => drop(newest(&self.clients, back).map(|client| b.endpoint.abandon(client))),
            Step::Connected(back, fine) => match newest(&self.connecting, back) {
                Some(token) if fine => b.endpoint.handle_connected(b.now, token, tcp(PEER, 9), &mut b.out),
                Some(token) => b.endpoint.handle_connect_failed(b.now, token, &mut b.out),
                None => {}
            },
            Step::Resolved(back, records) => {
                if let Some((token, question)) = newest(&self.resolving, back) {
                    b.endpoint
                        .handle_resolved(b.now, token, found(&question, records), &mut b.out);
                }
            }
            Step::Closed(connection) => b.endpoint.handle_closed(b.now, stream(connection), &mut b.out),
            Step::Repeat(back) => {
                if let Some(server) = newest(&self.servers, back) {
                    b.endpoint.repeat(b.now, server, &mut b.out);
                }
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        let b = &mut self.bench;
        for output in std::mem::take(&mut b.out) {
            match output {
                Output::Transmit { bytes, .. } if !bytes.starts_with(b"SIP/2.0") => {
                    self.sent.push(String::from_utf8(bytes.to_vec()).unwrap());
                }
                Output::Connect { token, .. } => self.connecting.push(token),
                Output::Resolve { token, question } => self.resolving.push((token, question)),
                Output::Event(Event::Request { flow, message, .. }) => {
                    self.servers
                        .push(b.endpoint.accept(b.now, flow, message, OWNER, &mut b.out));
                }
                _ => {}
            }
        }
        b.out.retain(|o| !matches!(o, Output::Transmit { .. }));
        b.endpoint.audit().unwrap();
    }
}

fn found(question: &Question, records: u16) -> Found {
    match question {
        Question::Naptr(_) => Found::Naptr(Vec::new()),
        Question::Srv(_) => {
            let srv = |priority| locate::Srv {
                priority,
                weight: 0,
                port: 5060 + priority,
                target: "a.example.net".into(),
            };
            Found::Srv((0..records).map(srv).collect())
        }
        Question::Address(_) => Found::Address(vec![address(PEER).ip(); records.into()]),
    }
}

fn newest<T: Clone>(all: &[T], back: usize) -> Option<T> {
    all.get(all.len().checked_sub(back + 1)?).cloned()
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![
        Just(100u16),
        Just(180),
        Just(200),
        Just(408),
        Just(430),
        Just(486),
        Just(503)
    ];
    prop_oneof![
        (0u64..20_000).prop_map(Step::Wait),
        (0usize..4, 0u8..4, 0u64..3).prop_map(|(m, b, c)| Step::Receive(m, b, c)),
        (0usize..4, status.clone()).prop_map(|(n, s)| Step::Respond(n, s)),
        (0usize..2, 0u8..7).prop_map(|(m, to)| Step::Send(m, to)),
        (0usize..4, status).prop_map(|(n, s)| Step::Answered(n, s)),
        (0usize..4).prop_map(Step::Cancel),
        (0usize..4).prop_map(Step::Disown),
        (0usize..4).prop_map(Step::Abandon),
        (0usize..3, any::<bool>()).prop_map(|(n, fine)| Step::Connected(n, fine)),
        (1u64..3).prop_map(Step::Closed),
        (0usize..4).prop_map(Step::Repeat),
        (0usize..3, 0u16..3).prop_map(|(n, records)| Step::Resolved(n, records)),
    ]
}

proptest! {
    /// The user's part is to answer every INVITE and to cancel what it no longer wants; then everything ends.
    #[test]
    fn nothing_is_left_two_lifetimes_after_the_last_word(steps in proptest::collection::vec(step(), 1..60)) {
        let (servers, clients, sent, connecting, resolving) = Default::default();
        let mut script = Script { bench: Bench::new(), servers, clients, sent, connecting, resolving };
        for step in &steps {
            script.step(step);
        }
        for back in 0..script.servers.len() {
            script.step(&Step::Respond(back, 500));
        }
        for back in 0..script.clients.len() {
            script.step(&Step::Cancel(back));
        }
        script.bench.at(script.bench.now.millis() + 2 * 32_000);
        prop_assert!(script.bench.endpoint.is_idle(), "{:?}", script.bench.endpoint);
    }
}
