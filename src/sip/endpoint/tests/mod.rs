//! The endpoint against a peer made of text, in virtual time.

mod client;
mod failover;
mod properties;
mod server;

use super::*;
use crate::Transport;
use crate::draft::Body;
use bytes::Bytes;

/// Not random at all, but never the same twice.
#[derive(Default)]
pub(crate) struct Counting(u64);

impl Tokens for Counting {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0
    }
}

struct Bench {
    endpoint: Endpoint,
    out: Vec<Output>,
    now: Mono,
}

const OWNER: Owner = Owner(7);

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn udp(peer: &str) -> Flow {
    Flow {
        transport: Transport::Udp,
        local: address("192.0.2.1:5060"),
        peer: address(peer),
        connection: 0,
    }
}

fn tcp(peer: &str, connection: u64) -> Flow {
    Flow {
        transport: Transport::Tcp,
        connection,
        ..udp(peer)
    }
}

const PEER: &str = "198.51.100.9:5060";
const LOCAL: &str = "192.0.2.1:5060";

impl Bench {
    fn new() -> Bench {
        let listeners = [Transport::Udp, Transport::Tcp, Transport::Tls].map(|transport| (transport, address(LOCAL)));
        let config = Config {
            listeners: listeners.into(),
            ..Config::default()
        };
        let endpoint = Endpoint::new(config, Box::new(Counting::default()));
        Bench {
            endpoint,
            out: Vec::new(),
            now: Mono(0),
        }
    }

    /// Time passes up to `ms`; every deadline is met on the way.
    fn at(&mut self, ms: u64) -> &mut Bench {
        let until = Mono(ms * 1_000_000);
        while let Some(due) = self.endpoint.poll_timeout().filter(|due| *due <= until) {
            self.now = due.max(self.now);
            self.endpoint.handle_timeout(self.now, &mut self.out);
        }
        self.now = until;
        self.endpoint.audit().unwrap();
        self
    }

    fn receive(&mut self, flow: Flow, text: &str) -> &mut Bench {
        match Message::parse(Bytes::from(text.replace('\n', "\r\n"))) {
            Ok(message) => self.endpoint.handle_message(self.now, flow, message, &mut self.out),
            Err(malformed) => self.endpoint.handle_malformed(self.now, flow, malformed, &mut self.out),
        }
        self.endpoint.audit().unwrap();
        self
    }

    /// What was sent since last asked: start lines.
    fn sent(&mut self) -> Vec<String> {
        self.messages()
            .iter()
            .map(|(_, text)| text.lines().next().unwrap().to_owned())
            .collect()
    }

    fn messages(&mut self) -> Vec<(Flow, String)> {
        let (sent, rest) = std::mem::take(&mut self.out)
            .into_iter()
            .partition(|o| matches!(o, Output::Transmit { .. }));
        self.out = rest;
        let text = |o| match o {
            Output::Transmit { flow, bytes } => (flow, String::from_utf8(bytes.to_vec()).unwrap()),
            _ => unreachable!(),
        };
        sent.into_iter().map(text).collect()
    }

    /// The one event there is.
    fn event(&mut self) -> Event {
        let events = self.events();
        assert_eq!(events.len(), 1, "{events:?}");
        events.into_iter().next().unwrap()
    }

    fn events(&mut self) -> Vec<Event> {
        let (events, rest) = std::mem::take(&mut self.out)
            .into_iter()
            .partition(|o| matches!(o, Output::Event(_)));
        self.out = rest;
        let event = |o| match o {
            Output::Event(event) => event,
            _ => unreachable!(),
        };
        events.into_iter().map(event).collect()
    }

    fn connecting(&mut self) -> (Connecting, Transport, SocketAddr) {
        let at = self
            .out
            .iter()
            .position(|o| matches!(o, Output::Connect { .. }))
            .expect("nothing connects");
        match self.out.remove(at) {
            Output::Connect {
                token, transport, peer, ..
            } => (token, transport, peer),
            _ => unreachable!(),
        }
    }

    /// The request that came up.
    fn request(&mut self) -> Message {
        match self.event() {
            Event::Request { message, .. } => message,
            other => panic!("{other:?}"),
        }
    }

    fn accept(&mut self, text: &str) -> ServerId {
        let message = self.receive(udp(PEER), text).request();
        self.endpoint.accept(self.now, udp(PEER), message, OWNER, &mut self.out)
    }

    fn respond(&mut self, server: ServerId, status: u16) -> bool {
        let done = self
            .endpoint
            .respond(self.now, server, &Reply::new(status), &mut self.out);
        self.endpoint.audit().unwrap();
        done
    }

    fn send(&mut self, destination: Destination, draft: &Draft) -> ClientId {
        self.endpoint.send(self.now, destination, draft, OWNER, &mut self.out)
    }

    /// After everything has had its time nothing is left.
    fn ends(&mut self) {
        self.at(self.now.millis() + 128_000 / 2);
        assert!(self.endpoint.is_idle(), "{:?}", self.endpoint);
    }
}

fn request(method: &str, branch: &str) -> String {
    let host = "phone.invalid:5060";
    format!(
        "{method} sip:b@example.com SIP/2.0\nVia: SIP/2.0/UDP {host};branch={branch};rport\nFrom: <sip:a@example.com>;tag=1\n\
         To: <sip:b@example.com>\nCall-ID: c1\nCSeq: 1 {method}\nMax-Forwards: 70\nContent-Length: 0\n\n"
    )
}

fn draft(method: Method) -> Draft {
    Draft::new(
        method,
        "sip:b@example.com",
        "<sip:a@example.com>;tag=1",
        "<sip:b@example.com>",
        "c1",
        1,
    )
}

/// A response to a request of ours that was sent.
fn response(sent: &str, status: u16) -> String {
    let keep = |l: &&str| {
        ["Via", "From", "To", "Call-ID", "CSeq"]
            .iter()
            .any(|n| l.starts_with(&format!("{n}:")))
    };
    let lines: Vec<&str> = sent.lines().filter(keep).collect();
    format!(
        "SIP/2.0 {status} X\n{}\nContent-Length: 0\n\n",
        lines.join("\n").replace("b@example.com>", "b@example.com>;tag=2")
    )
}

// ---- ids and timers ----

#[test]
fn an_id_never_names_another_transaction() {
    let mut b = Bench::new();
    let first = b.accept(&request("MESSAGE", "z9hG4bK1"));
    b.respond(first, 408);
    let second = b.accept(&request("MESSAGE", "z9hG4bK2"));
    assert_eq!(first.index, second.index);
    assert!(!b.respond(first, 200));
    assert!(b.endpoint.request(first).is_none() && b.endpoint.request(second).is_some());
    assert!(b.respond(second, 200));
}

#[test]
fn timers_of_the_user_fire_once_unless_cancelled() {
    let mut b = Bench::new();
    let ms = |ms: u64| Mono(ms * 1_000_000);
    b.endpoint.set_timer(ms(100), OWNER, 1);
    let cancelled = b.endpoint.set_timer(ms(100), OWNER, 2);
    b.endpoint.cancel_timer(cancelled);
    assert!(b.at(99).events().is_empty());
    assert!(matches!(b.at(100).event(), Event::Timer { owner: OWNER, kind: 1 }));
    b.endpoint.cancel_timer(cancelled);
    assert!(b.endpoint.is_idle());
}

#[test]
fn no_value_of_the_user_can_add_a_line() {
    let mut b = Bench::new();
    let evil = "x\r\nVia: SIP/2.0/UDP evil\r\n\r\n";
    let body = Body {
        content_type: format!("text/plain{evil}").into(),
        content: Bytes::from_static(b"x"),
    };
    b.send(
        Destination::Flow(udp(PEER)),
        &draft(Method::Message).header(crate::Name::Subject, evil).body(body),
    );
    let text = b.messages().remove(0).1;
    assert_eq!(
        Message::parse(Bytes::from(text))
            .unwrap()
            .values(crate::Name::Via)
            .count(),
        1
    );
}
