//! A thousand watchers of one agent: how long after a change each of them has its NOTIFY.
//!
//! They sit at a socket for each of 18 users, each with a thread that waits for what comes and answers it. Between two changes
//! there is more time than a watcher is to rest, so what is measured is the fan-out and not the configured interval.

use crate::api::Api;
use crate::support::PATIENCE;
use crate::support::node::Setup;
use crate::support::raw::{Raw, text};
use crate::support::served::Served;
use crate::support::talk::{Side, invite};
use serde_json::json;
use sip::Method;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// All demo users but the agent and one more.
const USERS: std::ops::Range<u32> = 1002..1020;
/// Subscriptions of each: 1,008 in all.
const EACH: usize = 56;
/// Longer than `notify_interval`, so that the next change is told at once.
const QUIET: Duration = Duration::from_millis(700);

/// Makes a change; the moment before.
type Change = Box<dyn FnMut(usize) -> Instant>;

/// What stands in each document about a change, and in none before it.
fn sign(package: &str, number: usize) -> &'static str {
    match (package, number % 2) {
        ("presence", 0) => "<note>meal</note>",
        ("presence", _) => "<note>meeting</note>",
        (_, 0) => "direction=\"initiator\"",
        (_, _) => "<state>terminated</state>",
    }
}

/// Prints a line about `changes` changes of state.
pub fn run(package: &str, changes: usize) {
    let served = Served::start(Setup::new().set("switch.log.level=warn"));
    let mut agent = Raw::new(served.sip(), "1001");
    assert_eq!(agent.register(3_600), 200);
    let mut watchers: Vec<Watchers> = USERS.map(|user| Watchers::open(&served, user, package)).collect();
    let mut change: Change = match package {
        "presence" => says(&served),
        _ => calls(agent),
    };
    // The first ones warm caches, and are not counted.
    let mut times = Vec::new();
    for number in 0..changes + 4 {
        std::thread::sleep(QUIET);
        let arrived = one_change(&mut watchers, sign(package, number), || change(number));
        if number >= 4 {
            times.extend(arrived);
        }
    }
    crate::tell(package, times);
}

/// Makes the change and waits until all know of it; how long each has waited.
fn one_change(watchers: &mut [Watchers], sign: &str, change: impl FnOnce() -> Instant) -> Vec<Duration> {
    std::thread::scope(|scope| {
        let waiting: Vec<_> = watchers
            .iter_mut()
            .map(|watchers| scope.spawn(|| watchers.wait_for(sign)))
            .collect();
        let since = change();
        let arrived = waiting.into_iter().flat_map(|waiting| waiting.join().unwrap());
        arrived.map(|at| at.duration_since(since)).collect()
    })
}

/// The agent says by HTTP to be on one break after another.
fn says(served: &Served) -> Change {
    let mut api = Api::open(served.http());
    Box::new(move |number| {
        let reason = ["meal", "meeting"][number % 2];
        let said = api.send(
            "PUT",
            "/api/v1/agents/1001",
            &json!({ "state": "not-ready", "reason": reason }),
        );
        api.answer();
        said
    })
}

/// The agent calls the echo, and in the next change hangs up.
fn calls(mut agent: Raw) -> Change {
    let rtp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = agent.server();
    let mut call: Option<Side> = None;
    Box::new(move |_| match call.take() {
        None => {
            let mut request = invite(&mut agent, "9196", &rtp);
            let said = Instant::now();
            let answer = agent.ask(&mut request);
            assert_eq!(answer.status(), 200);
            let side = Side::calling(Raw::new(server, "1001"), rtp.try_clone().unwrap(), &request, &answer);
            agent.send_bytes(&agent.print(&side.request("ACK", request.cseq), ""));
            call = Some(side);
            said
        }
        Some(side) => {
            let bye = side.request("BYE", 50);
            let said = Instant::now();
            agent.send_bytes(&agent.print(&bye, ""));
            assert_eq!(agent.final_answer(&bye).status(), 200);
            said
        }
    })
}

/// Watchers at one socket.
struct Watchers {
    phone: Raw,
}

impl Watchers {
    fn open(served: &Served, user: u32, package: &str) -> Watchers {
        let mut phone = Raw::new(served.sip(), &user.to_string());
        assert_eq!(phone.register(3_600), 200);
        for _ in 0..EACH {
            subscribe(&mut phone, package);
        }
        Watchers { phone }
    }

    /// Answers what comes until each watcher was told `sign`; when each was.
    fn wait_for(&mut self, sign: &str) -> Vec<Instant> {
        let mut told: Vec<(Vec<u8>, Instant)> = Vec::with_capacity(EACH);
        while told.len() < EACH {
            let notify = self.phone.receive_within(PATIENCE).expect("a NOTIFY");
            let at = Instant::now();
            self.phone.answer(&notify, "200 OK", "", "", "");
            let is_new = told.iter().all(|(id, _)| id != notify.call_id());
            if is_new && text(notify.body_bytes()).contains(sign) {
                told.push((notify.call_id().to_vec(), at));
            }
        }
        told.into_iter().map(|(_, at)| at).collect()
    }
}

/// Asks until it is granted and the first NOTIFY has come.
fn subscribe(phone: &mut Raw, package: &str) {
    let mut request = phone
        .request("SUBSCRIBE", "1001")
        .header(&format!("Event: {package}"))
        .header("Expires: 3600");
    phone.send(&request);
    let (mut granted, mut told) = (false, false);
    while !(granted && told) {
        let message = phone.receive_within(PATIENCE).expect("a subscription and its state");
        match message.status() {
            0 => {
                assert_eq!(message.method(), Method::Notify);
                phone.answer(&message, "200 OK", "", "", "");
                told |= message.call_id() == request.call_id.as_bytes();
            }
            401 if message.cseq() == request.cseq => {
                phone.learn(&message);
                request.again();
                phone.send(&request);
            }
            200 => granted = true,
            status => assert!(status < 200 || status == 401, "{status}"),
        }
    }
}
