//! Agents and presence over real sockets: what is said by HTTP or websocket is told to softphones, pages and the command line, and
//! the other way round.

use crate::support::baresip::{Account, Baresip, Speech};
use crate::support::node::{Setup, TestNode, node};
use crate::support::page::Page;
use crate::support::raw::{Raw, Request, text};
use crate::support::served::Served;
use crate::support::{http, log_in, wait_for};
use serde_json::{Value, json};
use sip::{Message, Method, Name};
use std::net::SocketAddr;

fn registered(sip: SocketAddr, user: &str) -> Raw {
    let mut phone = Raw::new(sip, user);
    assert_eq!(phone.register(3_600), 200);
    phone
}

/// A SUBSCRIBE that is not sent yet.
fn subscribe(phone: &mut Raw, package: &str, whom: &str) -> Request {
    let request = phone.request("SUBSCRIBE", whom);
    request.header(&format!("Event: {package}")).header("Expires: 600")
}

/// The next NOTIFY of a subscription, answered.
fn told(phone: &Raw, subscription: &Request) -> Message {
    let is_it = |m: &Message| m.method() == Method::Notify && m.call_id() == subscription.call_id.as_bytes();
    let notify = phone.expect("a NOTIFY", |m| m.is_request() && is_it(m));
    phone.answer(&notify, "200 OK", "", "", "");
    notify
}

/// What stands between two marks of a document.
fn part(notify: &Message, from: &str, to: &str) -> String {
    let document = text(notify.body_bytes());
    let rest = document.split_once(from).map_or("", |(_, rest)| rest);
    rest.split(to).next().unwrap_or_default().to_owned()
}

fn note(notify: &Message) -> String {
    part(notify, "<note>", "<")
}

/// Waits until what a watcher is told says this.
fn becomes(phone: &Raw, subscription: &Request, expected: &str) {
    while note(&told(phone, subscription)) != expected {}
}

/// The next change of this user's presence that a page is told, in a word.
fn changed(page: &mut Page, aor: &str) -> String {
    loop {
        let event = page.expect("presence-changed");
        if event["presence"]["aor"] == aor {
            return event["presence"]["text"].as_str().unwrap().to_owned();
        }
    }
}

fn agents_list(node: &TestNode) -> String {
    let binary = env!("CARGO_BIN_EXE_tandem");
    let mut command = std::process::Command::new(binary);
    command.args(["agents", "list", "--socket"]).arg(node.socket());
    let output = command.arg("--config").arg(node.directory()).output().unwrap();
    text(&output.stdout)
}

#[test]
fn what_an_agent_says_reaches_softphones_pages_and_the_command_line() {
    let node = node();
    let (mut kate, _jim) = (registered(node.sip(), "1000"), registered(node.sip(), "1001"));
    let (mut agent, mut group) = (
        subscribe(&mut kate, "presence", "1001"),
        subscribe(&mut kate, "presence", "2000"),
    );
    assert_eq!(kate.ask(&mut agent).status(), 200);
    assert_eq!(note(&told(&kate, &agent)), "logged off");
    assert_eq!(kate.ask(&mut group).status(), 200);
    assert_eq!(note(&told(&kate, &group)), "0 available");

    let mut watcher = Page::open(&node, "1002", None);
    let snapshot = watcher.expect("snapshot");
    let texts: Vec<&Value> = snapshot["presence"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["text"])
        .collect();
    assert_eq!(texts, ["logged off"; 4], "{snapshot}");
    let mut page = Page::open(&node, "1001", None);
    page.expect("snapshot");
    let said = page.does(&json!({ "command": "set-agent-state", "state": "ready" }));
    assert_eq!(said["voice"]["state"], "ready", "{said}");
    becomes(&kate, &agent, "ready");
    becomes(&kate, &group, "1 available");
    while changed(&mut watcher, "1001@127.0.0.1") != "ready" {}
    let listed = agents_list(&node);
    assert!(
        listed
            .lines()
            .any(|line| line.starts_with("1001") && line.contains("ready")),
        "{listed}"
    );

    // Another page of the agent, and a supervisor by HTTP, while the watcher's connection is lost.
    let before = watcher.seq;
    drop(watcher);
    let token = log_in(&node, "1005");
    let meal = json!({ "state": "not-ready", "reason": "meal" });
    let (status, answer) = http(node.http(), "PUT", "/api/v1/agents/1001", Some(&token), &meal);
    assert_eq!((status, &answer["text"]), (200, &json!("meal")), "{answer}");
    becomes(&kate, &agent, "meal");
    becomes(&kate, &group, "0 available");
    let stranger = log_in(&node, "1002");
    let (status, problem) = http(node.http(), "PUT", "/api/v1/agents/1001", Some(&stranger), &meal);
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{problem}");
    let tea = json!({ "state": "not-ready", "reason": "tea" });
    let (status, problem) = http(node.http(), "PUT", "/api/v1/agents/1001", Some(&token), &tea);
    assert_eq!(status, 409, "{problem}");

    let mut back = Page::open(&node, "1002", Some(before));
    assert_eq!(changed(&mut back, "1001@127.0.0.1"), "meal", "what it missed");
    let again = page.does(&json!({ "command": "set-agent-state", "state": "logged-off" }));
    assert_eq!(again["text"], "logged off");
    while changed(&mut back, "1001@127.0.0.1") != "logged off" {}
}

#[test]
fn the_directory_is_searched_by_http_and_websocket_with_what_can_be_done() {
    let node = node();
    let _phones = ["1001", "1002"].map(|user| registered(node.sip(), user));
    let mut page = Page::open(&node, "1001", None);
    page.expect("snapshot");
    page.does(&json!({ "command": "set-agent-state", "state": "ready" }));
    let token = log_in(&node, "1000");
    let found = |query: &str| {
        let (status, answer) = http(
            node.http(),
            "GET",
            &format!("/api/v1/directory?{query}"),
            Some(&token),
            &Value::Null,
        );
        assert_eq!(status, 200, "{answer}");
        answer["entries"].as_array().unwrap().clone()
    };
    let bob = &found("text=bob")[0];
    assert_eq!(
        (&bob["target"], &bob["presence"]["text"]),
        (&json!("1001"), &json!("ready"))
    );
    assert_eq!(bob["actions"], json!(["call", "im"]));
    let nobody = &found("text=1003")[0];
    assert_eq!(
        (&nobody["presence"]["text"], &nobody["actions"]),
        (&json!("logged off"), &json!([]))
    );
    let group = &found("text=support&kind=group")[0];
    assert_eq!(
        (&group["group"]["ready_voice"], &group["actions"]),
        (&json!(1), &json!(["im"]))
    );
    let mut targets: Vec<String> = found("text=german")
        .iter()
        .map(|one| one["target"].to_string())
        .collect();
    targets.sort();
    assert_eq!(targets, ["\"1002\"", "\"1003\"", "\"2001\"", "\"skill:german\""]);

    let mut asks = Page::open(&node, "1000", None);
    asks.expect("snapshot");
    let typed = asks.does(&json!({ "command": "search", "text": "bo", "kinds": ["agent"] }));
    assert_eq!(typed["entries"][0]["target"], "1001", "{typed}");
    page.does(&json!({ "command": "set-agent-state", "state": "not-ready", "reason": "meal" }));
    let typed = asks.does(&json!({ "command": "search", "text": "bob" }));
    assert_eq!(typed["entries"][0]["presence"]["text"], "meal", "{typed}");
    assert_eq!(typed["entries"][0]["actions"], json!([]));
}

#[test]
fn a_group_is_hidden_from_those_who_may_not_watch_it_by_every_way() {
    let node = Setup::new().set("switch.subscriptions.watch_presence=group").start();
    let (mut member, mut stranger) = (registered(node.sip(), "1001"), registered(node.sip(), "1010"));
    let [inside, outside] = ["1001", "1010"].map(|user| log_in(&node, user));
    let groups = |token| {
        let (status, answer) = http(node.http(), "GET", "/api/v1/groups", Some(token), &Value::Null);
        assert_eq!(status, 200, "{answer}");
        let numbers = answer["groups"].as_array().unwrap().iter();
        numbers
            .map(|group| group["number"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!((groups(&inside), groups(&outside).len()), (vec!["2000".to_owned()], 0));
    let status = |phone: &mut Raw| {
        let mut request = subscribe(phone, "presence", "2000");
        phone.ask(&mut request).status()
    };
    assert_eq!((status(&mut member), status(&mut stranger)), (200, 403));
    let mut page = Page::open(&node, "1010", None);
    let snapshot = page.expect("snapshot");
    assert_eq!(
        (&snapshot["groups"], &snapshot["presence"].as_array().unwrap().len()),
        (&json!([]), &1)
    );
}

#[test]
fn a_softphone_shows_when_another_comes_hides_and_is_gone() {
    let node = node();
    let phone = |user, peer| {
        let account = Account {
            user,
            password: &format!("demo-{user}"),
            server: node.sip(),
            tone_hz: 440.0,
            answers: false,
            writes_to: peer,
            speech: Speech::PLAIN,
        };
        Baresip::start_with_presence(&account).registered()
    };
    let (kate, mut jim) = (phone("1010", "1011"), phone("1011", "1010"));
    // baresip tells of changes, and not of what it is told first. Each publishes twice at its start: two documents, or one if
    // it had the answer to the first before it sent the second.
    wait_for("what is told first", || {
        let told = node.metric("tandem_notifies_total") >= 2.0 && node.metric("tandem_publications") >= 2.0;
        (told && node.metric("tandem_subscriptions_presence") == 2.0).then_some(())
    });
    jim.says_to_be_there(false);
    kate.shows_contact("Offline");
    jim.says_to_be_there(true);
    kate.shows_contact("Online");
    let client = cli::Client::new(&node.socket());
    let path = "/api/v1/registrations/1011";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(client.ask(hyper::Method::DELETE, path, None)).unwrap();
    kate.shows_contact("Offline");
    assert!(node.metric("tandem_publications") >= 1.0);
}

/// Status and names of the headers of what is said to a stranger.
fn refusal(answer: &Message) -> (u16, Vec<String>) {
    (
        answer.status(),
        answer.fields().map(|(_, name, _)| text(name)).collect(),
    )
}

#[test]
fn s6_s11_who_has_no_password_watches_and_publishes_nothing_and_learns_of_nobody() {
    let served = Served::start(Setup::new().set("security.max_failures=1000"));
    let document = "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:1000@x\"><tuple id=\"a\"><status>\
                    <basic>open</basic></status></tuple></presence>";
    for method in ["SUBSCRIBE", "PUBLISH"] {
        let mut seen = Vec::new();
        for (user, whom) in [
            ("1000", "1000"),
            ("1000", "1001"),
            ("1000", "4711"),
            ("4711", "1001"),
            ("4711", "4711"),
        ] {
            let mut guesser = Raw::new(served.sip(), user);
            guesser.password = "guess".to_owned();
            let mut request = guesser
                .request(method, whom)
                .header("Event: presence")
                .header("Expires: 600");
            if method == "PUBLISH" {
                request = request.body("application/pidf+xml", document);
            }
            let answer = guesser.ask(&mut request);
            assert_eq!(answer.status(), 401, "{method} by {user} of {whom}");
            seen.push(refusal(&answer));
        }
        assert!(seen.iter().all(|one| *one == seen[0]), "{method}: {seen:#?}");
    }
    for name in ["tandem_subscriptions", "tandem_publications", "tandem_notifies_total"] {
        assert_eq!(served.metric(name), 0.0, "{name}");
    }
}

#[test]
fn watchers_outlive_kill_9_and_are_told_with_higher_numbers() {
    let mut served = Served::start(Setup::new());
    let (mut kate, _jim) = (registered(served.sip(), "1000"), registered(served.sip(), "1001"));
    let mut requests = ["presence", "dialog"].map(|package| subscribe(&mut kate, package, "1001"));
    let before = requests.each_mut().map(|request| {
        assert_eq!(kate.ask(request).status(), 200);
        told(&kate, request)
    });
    assert_eq!(note(&before[0]), "logged off");
    wait_for("both on disk", || {
        (served.metric("tandem_subscriptions") == 2.0 && served.metric("tandem_store_queued") == 0.0).then_some(())
    });
    served.kill();
    let served = served.again();
    let after = requests.each_ref().map(|request| told(&kate, request));
    for (before, after) in before.iter().zip(&after) {
        assert!(after.cseq() > before.cseq(), "{} after {}", after.cseq(), before.cseq());
        assert!(text(after.header(Name::SubscriptionState).unwrap()).starts_with("active"));
    }
    let version = |notify: &Message| part(notify, "dialog-info\" version=\"", "\"").parse::<u32>().unwrap();
    assert!(version(&after[1]) > version(&before[1]));
    assert_eq!(served.metric("tandem_subscriptions"), 2.0);
    assert_eq!(served.metric("tandem_subscriptions_presence"), 1.0);
}

#[test]
fn a_softphone_watches_a_whole_group_by_one_subscription() {
    let node = node();
    let (mut kate, mut jim) = (registered(node.sip(), "1000"), registered(node.sip(), "1001"));
    let accept = "Accept: multipart/related, application/rlmi+xml, application/pidf+xml";
    let mut list = subscribe(&mut kate, "presence", "2000")
        .header("Supported: eventlist")
        .header(accept);
    let answer = kate.ask(&mut list);
    assert_eq!(
        (answer.status(), answer.header(Name::Require)),
        (200, Some(&b"eventlist"[..]))
    );
    let first = told(&kate, &list);
    assert!(
        text(first.header(Name::ContentType).unwrap()).starts_with("multipart/related;type=\"application/rlmi+xml\"")
    );
    let document = text(first.body_bytes());
    assert!(document.contains("version=\"0\" fullState=\"true\""), "{document}");
    assert_eq!(document.matches("<resource ").count(), 4, "{document}");
    let body = "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:1001@x\"><tuple id=\"a\"><status><basic>open</basic>\
                </status><note>Back at 3</note></tuple></presence>";
    let token = log_in(&node, "1001");
    let ready = json!({ "state": "ready" });
    assert_eq!(
        http(node.http(), "PUT", "/api/v1/agents/1001", Some(&token), &ready).0,
        200
    );
    let mut publish = jim
        .request("PUBLISH", "1001")
        .header("Event: presence")
        .body("application/pidf+xml", body);
    assert_eq!(jim.ask(&mut publish).status(), 200);
    loop {
        let document = text(told(&kate, &list).body_bytes());
        assert!(
            document.contains("fullState=\"false\"") && document.matches("<resource ").count() == 1,
            "{document}"
        );
        if document.contains("<note>Back at 3</note>") {
            break;
        }
    }
}
