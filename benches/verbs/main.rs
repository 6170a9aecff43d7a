//! How long it takes from a command to its sign on the wire, on an idle node over loopback: the real binary, `consult` over HTTP
//! on a connection that is kept, and the INVITE at the real socket of the colleague's phone.
//!
//! One line: `name commands p50_us p99_us max_us`. `cargo bench --bench verbs -- [COMMANDS]`; 500 by default.
#![allow(missing_docs, dead_code, unused_imports, clippy::unwrap_used, clippy::print_stdout)] // a tool of the bench, on the support of the tests

#[path = "../../tests/it/support/mod.rs"]
mod support;

use serde_json::{Value, json};
use sip::{Message, Method};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use support::node::Setup;
use support::raw::Raw;
use support::served::Served;
use support::talk::Talk;

fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    // Ports rest after each call: there are enough for all of them.
    let setup = Setup::new().set("switch.log.level=warn");
    let served = Served::start(setup.set("switch.media.ports=22000-32767"));
    let mut office = Office::open(&served);
    office.run("consult", count.unwrap_or(500), Office::consult);
}

/// The customer talks to the agent, and a colleague can be called.
struct Office {
    api: Api,
    _talk: Talk,
    colleague: Raw,
    call: String,
}

impl Office {
    fn open(served: &Served) -> Office {
        let [customer, agent, colleague] = ["1005", "1001", "1002"].map(|user| {
            let mut phone = Raw::new(served.sip(), user);
            assert_eq!(phone.register(3_600), 200);
            phone
        });
        let talk = Talk::between(customer, agent, "1001");
        let http = served.ready.split("http=").nth(1).unwrap().trim().parse().unwrap();
        let mut api = Api::open(http);
        let calls = api.ask("GET", "/api/v1/calls", &Value::Null);
        let call = calls["calls"][0]["id"].as_str().unwrap().to_owned();
        Office {
            api,
            _talk: talk,
            colleague,
            call,
        }
    }

    fn run(&mut self, name: &str, count: usize, once: fn(&mut Office) -> Duration) {
        // The first ones warm caches, and are not counted.
        for _ in 0..20 {
            once(self);
        }
        let mut times: Vec<Duration> = (0..count).map(|_| once(self)).collect();
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_micros();
        println!("{name}\t{count}\t{}\t{}\t{}", at(0.5), at(0.99), at(1.0));
    }

    fn verb(&mut self, verb: &str, fields: &Value) -> Instant {
        let path = format!("/api/v1/calls/{}/{verb}", self.call);
        self.api.send("POST", &path, fields)
    }

    /// The colleague is called, and busy.
    fn consult(&mut self) -> Duration {
        let said = self.verb("consult", &json!({ "target": "1002" }));
        self.api.answer();
        let invite = expect(&self.colleague, Method::Invite);
        let took = said.elapsed();
        self.colleague.answer(&invite, "486 Busy Here", "c", "", "");
        expect(&self.colleague, Method::Ack);
        self.verb("resume", &Value::Null);
        self.api.answer();
        took
    }
}

fn expect(phone: &Raw, method: Method) -> Message {
    phone.expect(method.as_str(), |m| m.is_request() && m.method() == method)
}

/// One connection to the API, as the agent.
struct Api {
    stream: TcpStream,
    token: String,
    at: SocketAddr,
}

impl Api {
    fn open(at: SocketAddr) -> Api {
        let body = json!({ "user": "1001", "password": "demo-1001" });
        let (status, answer) = support::http(at, "POST", "/api/v1/login", None, &body);
        assert_eq!(status, 200, "{answer}");
        let stream = TcpStream::connect(at).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        Api {
            stream,
            token: answer["token"].as_str().unwrap().to_owned(),
            at,
        }
    }

    /// Sends a request; the moment before.
    fn send(&mut self, method: &str, path: &str, body: &Value) -> Instant {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.at,
            self.token,
            body.len()
        );
        let said = Instant::now();
        self.stream.write_all(request.as_bytes()).unwrap();
        said
    }

    /// The answer to what was sent.
    fn answer(&mut self) -> Value {
        let mut read = Vec::new();
        let mut buffer = [0; 16_384];
        loop {
            let text = String::from_utf8_lossy(&read).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length")
                        .then(|| value.trim().parse::<usize>().unwrap())
                });
                if body.len() >= length.unwrap_or(0) {
                    assert!(head.starts_with("HTTP/1.1 200"), "{text}");
                    return serde_json::from_str(body).unwrap_or_default();
                }
            }
            let length = self.stream.read(&mut buffer).unwrap();
            assert!(length > 0, "the API hung up: {text}");
            read.extend_from_slice(&buffer[..length]);
        }
    }

    fn ask(&mut self, method: &str, path: &str, body: &Value) -> Value {
        self.send(method, path, body);
        self.answer()
    }
}
