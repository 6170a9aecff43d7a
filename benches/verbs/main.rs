//! How long it takes from a command to its sign on the wire, on an idle node over loopback: the real binary, a command over HTTP on a connection that is kept, real
//! sockets of phones. Three signs:
//!
//! - `resume`: the agent's own phone had put the call on hold; it gets the re-INVITE that takes it back.
//! - `consult`: the colleague's phone gets its INVITE.
//! - `drop`: a conference becomes a call of two; the contact's phone, the far one, gets the re-INVITE that says so.
//!
//! One line each: `name commands p50_us p99_us max_us`. `cargo bench --bench verbs -- [COMMANDS]`; 500 of each by default.
#![allow(missing_docs, dead_code, clippy::unwrap_used, clippy::print_stdout)] // a tool of the bench, on the support of the tests

#[path = "../../tests/it/support/mod.rs"]
mod support;

use serde_json::{Value, json};
use sip::{Message, Method, Name};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use support::node::Setup;
use support::raw::Raw;
use support::served::Served;
use support::talk::{Talk, sdp};

fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let served = Served::start(Setup::new().set("switch.log.level=warn"));
    let mut office = Office::open(&served);
    office.run("resume", count.unwrap_or(500), Office::resume);
    office.run("consult", count.unwrap_or(500), Office::consult);
    office.run("drop", count.unwrap_or(500), Office::drop_colleague);
}

/// The customer talks to the agent, and a colleague can be called.
struct Office {
    api: Api,
    talk: Talk,
    colleague: Raw,
    call: String,
    rtp: UdpSocket,
    cseq: u32,
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
            talk,
            colleague,
            call,
            rtp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            cseq: 100,
        }
    }

    fn run(&mut self, name: &str, count: usize, once: fn(&mut Office) -> Duration) {
        // The first ones warm caches, and are not counted.
        (0..20).for_each(|_| drop(once(self)));
        let mut times: Vec<Duration> = (0..count).map(|_| once(self)).collect();
        times.sort_unstable();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_micros();
        println!("{name}\t{count}\t{}\t{}\t{}", at(0.5), at(0.99), at(1.0));
    }

    fn verb(&mut self, verb: &str, fields: &Value) -> Instant {
        let path = format!("/api/v1/calls/{}/{verb}", self.call);
        self.api.send("POST", &path, fields)
    }

    /// The agent's phone holds, and is taken back by command.
    fn resume(&mut self) -> Duration {
        self.cseq += 1;
        let agent = &self.talk.callee;
        let mut hold = agent.request("INVITE", self.cseq);
        let offer = sdp(agent.rtp.local_addr().unwrap()) + "a=sendonly\r\n";
        hold.headers = format!("Contact: {}\r\n", agent.phone.contact());
        let hold = hold.body("application/sdp", &offer);
        agent.phone.send_bytes(&agent.phone.print(&hold, ""));
        assert_eq!(agent.phone.final_answer(&hold).status(), 200);
        agent
            .phone
            .send_bytes(&agent.phone.print(&agent.request("ACK", self.cseq), ""));
        let said = self.verb("resume", &Value::Null);
        let invite = expect(&self.talk.callee.phone, Method::Invite);
        let took = said.elapsed();
        self.api.answer();
        accept(&self.talk.callee.phone, &invite, &self.talk.callee.rtp);
        expect(&self.talk.callee.phone, Method::Ack);
        took
    }

    /// The colleague is called, and busy.
    fn consult(&mut self) -> Duration {
        let said = self.verb("consult", &json!({ "target": "1002" }));
        let invite = expect(&self.colleague, Method::Invite);
        let took = said.elapsed();
        self.api.answer();
        self.colleague.answer(&invite, "486 Busy Here", "c", "", "");
        expect(&self.colleague, Method::Ack);
        self.verb("resume", &Value::Null);
        self.api.answer();
        took
    }

    /// The colleague joins, and is dropped again.
    fn drop_colleague(&mut self) -> Duration {
        self.verb("instant-conference", &json!({ "target": "1002" }));
        self.api.answer();
        let invite = expect(&self.colleague, Method::Invite);
        accept(&self.colleague, &invite, &self.rtp);
        expect(&self.colleague, Method::Ack);
        self.both_take_an_offer();
        let view = self
            .api
            .ask("GET", &format!("/api/v1/interactions/{}", self.call), &Value::Null);
        let parties = view["parties"].as_array().unwrap();
        let added = parties
            .iter()
            .find(|party| party["user"].as_str().unwrap().starts_with("1002"));
        let said = self.verb("drop", &json!({ "party": added.unwrap()["id"] }));
        let offer = expect(&self.talk.caller.phone, Method::Invite);
        let took = said.elapsed();
        self.api.answer();
        accept(&self.talk.caller.phone, &offer, &self.talk.caller.rtp);
        expect(&self.talk.caller.phone, Method::Ack);
        self.agent_takes_an_offer();
        let bye = expect(&self.colleague, Method::Bye);
        self.colleague.answer(&bye, "200 OK", "", "", "");
        took
    }

    fn both_take_an_offer(&mut self) {
        let offer = expect(&self.talk.caller.phone, Method::Invite);
        accept(&self.talk.caller.phone, &offer, &self.talk.caller.rtp);
        expect(&self.talk.caller.phone, Method::Ack);
        self.agent_takes_an_offer();
    }

    fn agent_takes_an_offer(&mut self) {
        let offer = expect(&self.talk.callee.phone, Method::Invite);
        accept(&self.talk.callee.phone, &offer, &self.talk.callee.rtp);
        expect(&self.talk.callee.phone, Method::Ack);
    }
}

fn expect(phone: &Raw, method: Method) -> Message {
    phone.expect(method.as_str(), |m| m.is_request() && m.method() == method)
}

/// 200 with an answer of PCMU.
fn accept(phone: &Raw, invite: &Message, rtp: &UdpSocket) {
    let headers = format!("Contact: {}\r\nContent-Type: application/sdp\r\n", phone.contact());
    let tag = if invite.header(Name::To).is_some() {
        "colleague"
    } else {
        ""
    };
    phone.answer(invite, "200 OK", tag, &headers, &sdp(rtp.local_addr().unwrap()));
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
