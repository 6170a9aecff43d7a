//! How long it takes from a command to its sign on the wire, on an idle node over loopback: the real binary, a verb over HTTP on
//! a connection that is kept, and what a phone gets at its real socket.
//!
//! - `consult`: the INVITE at the colleague's phone.
//! - `resume`: the agent's phone holds by itself; the re-INVITE that offers it to speak again.
//! - `complete-conference`: the re-INVITE at the customer's phone, which talks to a conference from then on.
//! - `drop`: the re-INVITE at the customer's phone, which talks to the agent alone again.
//! - `presence`: from an agent's "not ready" to the NOTIFY at each of 1,000 watchers ([`watchers`]).
//! - `dialog`: from the INVITE or BYE of somebody to the NOTIFY at each of 1,000 lamps.
//!
//! One line each: `name times p50_us p99_us max_us`. `cargo bench --bench verbs -- [NAME] [COMMANDS]`: without a name all, `verbs` the
//! first four; 500 commands by default, and 40 changes with 1,000 watchers.
#![allow(missing_docs, dead_code, unused_imports, clippy::unwrap_used, clippy::print_stdout)] // a tool of the bench, on the support of the tests

#[path = "../../tests/it/support/mod.rs"]
mod support;

mod api;
mod watchers;

use api::Api;
use serde_json::{Value, json};
use sip::{Message, Method};
use std::net::UdpSocket;
use std::time::{Duration, Instant};
use support::node::Setup;
use support::raw::Raw;
use support::served::Served;
use support::talk::{Talk, sdp};

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let count = arguments.iter().find_map(|argument| argument.parse().ok());
    let names = || arguments.iter().filter(|argument| argument.parse::<usize>().is_err());
    let wanted = |name: &str| names().next().is_none() || names().any(|wanted| wanted == name);
    println!("name\ttimes\tp50_us\tp99_us\tmax_us");
    if wanted("verbs") {
        verbs(count.unwrap_or(500));
    }
    for package in ["presence", "dialog"].into_iter().filter(|package| wanted(package)) {
        watchers::run(package, count.unwrap_or(40));
    }
}

fn verbs(count: usize) {
    // Ports rest after each call: there are enough for all of them. Nobody speaks.
    let setup = Setup::new().set("switch.log.level=warn").set("switch.media.timeout=1h");
    let served = Served::start(setup.set("switch.media.ports=22000-32767"));
    let mut office = Office::open(&served);
    office.run(&["consult"], count, |office, took| took.push(office.consult()));
    office.run(&["resume"], count, |office, took| took.push(office.resume()));
    office.run(&["complete-conference", "drop"], count, |office, took| {
        took.extend(office.confer());
    });
}

/// `name times p50_us p99_us max_us`.
fn tell(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_micros();
    println!("{name}\t{}\t{}\t{}\t{}", times.len(), at(0.5), at(0.99), at(1.0));
}

/// The customer talks to the agent, and a colleague can be called.
struct Office {
    api: Api,
    talk: Talk,
    colleague: Raw,
    colleagues_rtp: UdpSocket,
    call: String,
    /// Of the next re-INVITE of the agent's phone.
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
            colleagues_rtp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            call,
            cseq: 100,
        }
    }

    /// Each turn takes the times of these signs.
    fn run(&mut self, names: &[&str], count: usize, turn: fn(&mut Office, &mut Vec<Duration>)) {
        let mut warm = Vec::new();
        // The first ones warm caches, and are not counted.
        for _ in 0..20 {
            turn(self, &mut warm);
        }
        let mut took = Vec::new();
        for _ in 0..count {
            turn(self, &mut took);
        }
        for (at, name) in names.iter().enumerate() {
            tell(name, took.iter().skip(at).step_by(names.len()).copied().collect());
        }
    }

    fn verb(&mut self, verb: &str, about: &str, fields: &Value) -> Instant {
        let path = format!("/api/v1/calls/{about}/{verb}");
        self.api.send("POST", &path, fields)
    }

    /// The colleague is called, and busy.
    fn consult(&mut self) -> Duration {
        let call = self.call.clone();
        let said = self.verb("consult", &call, &json!({ "target": "1002" }));
        self.api.answer();
        let invite = expect(&self.colleague, Method::Invite);
        let took = said.elapsed();
        self.colleague.answer(&invite, "486 Busy Here", "c", "", "");
        expect(&self.colleague, Method::Ack);
        self.verb("resume", &call, &Value::Null);
        self.api.answer();
        took
    }

    /// The agent's phone has put the customer on hold, and is offered to speak again.
    fn resume(&mut self) -> Duration {
        self.cseq += 1;
        let agent = &self.talk.callee;
        let offer = sdp(agent.rtp.local_addr().unwrap()) + "a=sendonly\r\n";
        let hold = agent
            .request("INVITE", self.cseq)
            .header(&format!("Contact: {}", agent.phone.contact()))
            .body("application/sdp", &offer);
        agent.phone.send_bytes(&agent.phone.print(&hold, ""));
        let held = agent.phone.final_answer(&hold);
        assert_eq!(held.status(), 200);
        let ack = agent.request("ACK", self.cseq);
        agent.phone.send_bytes(&agent.phone.print(&ack, ""));
        let call = self.call.clone();
        let said = self.verb("resume", &call, &Value::Null);
        self.api.answer();
        let offer = expect(&self.talk.callee.phone, Method::Invite);
        let took = said.elapsed();
        let speaks = String::from_utf8_lossy(offer.body_bytes()).contains("a=sendrecv");
        assert!(speaks, "{offer:?}");
        agrees(&self.talk.callee.phone, &self.talk.callee.rtp, &offer);
        took
    }

    /// The colleague is consulted, comes into a conference, and is taken out of it.
    fn confer(&mut self) -> [Duration; 2] {
        let call = self.call.clone();
        self.verb("consult", &call, &json!({ "target": "1002" }));
        let consulted = self.api.answer();
        let side = consulted["interaction"]["id"].as_str().unwrap().to_owned();
        let invite = expect(&self.colleague, Method::Invite);
        agrees(&self.colleague, &self.colleagues_rtp, &invite);

        let said = self.verb("complete-conference", &side, &Value::Null);
        let confers = self.api.answer();
        let offer = expect(&self.talk.caller.phone, Method::Invite);
        let joined = said.elapsed();
        self.all_agree(offer);
        let offer = expect(&self.colleague, Method::Invite);
        agrees(&self.colleague, &self.colleagues_rtp, &offer);

        let parties = confers["interaction"]["parties"].as_array().unwrap();
        let is_colleague = |party: &&Value| party["user"].as_str().is_some_and(|user| user.starts_with("1002@"));
        let party = &parties.iter().find(is_colleague).unwrap()["id"];
        let said = self.verb("drop", &call, &json!({ "party": party }));
        self.api.answer();
        let offer = expect(&self.talk.caller.phone, Method::Invite);
        let left = said.elapsed();
        self.all_agree(offer);
        let bye = expect(&self.colleague, Method::Bye);
        self.colleague.answer(&bye, "200 OK", "", "", "");
        [joined, left]
    }

    /// The customer's phone takes this offer, and the agent's the one it gets.
    fn all_agree(&self, offer: Message) {
        let Talk { caller, callee } = &self.talk;
        agrees(&caller.phone, &caller.rtp, &offer);
        let offer = expect(&callee.phone, Method::Invite);
        agrees(&callee.phone, &callee.rtp, &offer);
    }
}

/// 200 and ACK.
fn agrees(phone: &Raw, rtp: &UdpSocket, offer: &Message) {
    let headers = format!("Contact: {}\r\nContent-Type: application/sdp\r\n", phone.contact());
    let answer = sdp(rtp.local_addr().unwrap());
    phone.answer(offer, "200 OK", "c", &headers, &answer);
    expect(phone, Method::Ack);
}

fn expect(phone: &Raw, method: Method) -> Message {
    phone.expect(method.as_str(), |m| m.is_request() && m.method() == method)
}
