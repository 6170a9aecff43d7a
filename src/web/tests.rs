//! The server over its real sockets, with a node that only remembers what it was asked.

use crate::{Asked, Figure, Limits, Node, Reloaded, Server, State};
use model::{InteractionId, StatusView};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use switch::config::Role;
use switch::{Answer, Command, Refusal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<Command>>,
    logins: Mutex<u32>,
    deaf: bool,
}

const CALL: InteractionId = InteractionId(0x0123_4567_89ab_cdef);

impl Node for Fake {
    fn command(&self, command: Command) -> Asked<Option<Answer>> {
        let answer = match &command {
            Command::Status => Answer::Status(Box::new(StatusView {
                calls: 2,
                ..StatusView::default()
            })),
            Command::Hangup(id) if *id != CALL => Answer::Refused(Refusal::NotFound("no such call".into())),
            Command::Registrations(_) => Answer::Registrations(Vec::new()),
            Command::Calls | Command::Call(_) => Answer::Calls(Vec::new()),
            Command::RouteTest { to, .. } => Answer::Route(format!("to {to}").into()),
            _ => Answer::Done(1),
        };
        self.asked.lock().unwrap().push(command);
        let deaf = self.deaf;
        Box::pin(async move {
            if deaf {
                std::future::pending().await
            } else {
                Some(answer)
            }
        })
    }

    fn figures(&self) -> Asked<Vec<Figure>> {
        Box::pin(async { vec![Figure::gauge("calls", 2)] })
    }

    fn state(&self) -> State {
        State::Draining
    }

    fn reload(&self) -> Result<Reloaded, Vec<String>> {
        Err(vec!["users.toml:1:2: wrong".to_owned()])
    }

    fn login(&self, user: &str, password: &str) -> Option<Vec<Role>> {
        *self.logins.lock().unwrap() += 1;
        match (user, password) {
            ("1000", "right") => Some(vec![Role::Admin]),
            ("1001", "right") => Some(vec![Role::Agent]),
            _ => None,
        }
    }

    fn domain(&self) -> Box<str> {
        "example.org".into()
    }
}

struct Subject {
    node: Arc<Fake>,
    tcp: SocketAddr,
    unix: PathBuf,
    server: Server,
    _directory: tempfile::TempDir,
}

impl Subject {
    async fn start(node: Fake, limits: Limits) -> Subject {
        let directory = tempfile::tempdir().unwrap();
        let unix = directory.path().join("sock");
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = Arc::new(node);
        let reader = store::Store::open("memory:", |_, _| {}).unwrap().reader().unwrap();
        Subject {
            tcp: tcp.local_addr().unwrap(),
            server: Server::start(
                Some(tcp),
                UnixListener::bind(&unix).unwrap(),
                node.clone(),
                reader,
                limits,
            ),
            node,
            unix,
            _directory: directory,
        }
    }

    /// Over the Unix socket.
    async fn local(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        exchange(UnixStream::connect(&self.unix).await.unwrap(), method, path, "", body).await
    }

    /// Over TCP, with further header lines.
    async fn public(&self, method: &str, path: &str, headers: &str) -> (u16, String) {
        exchange(TcpStream::connect(self.tcp).await.unwrap(), method, path, headers, "").await
    }
}

/// One request on a connection of its own: the status, and all that came back.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String) {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

fn json_of(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn credentials(user: &str, password: &str) -> String {
    use base64::Engine;
    let pair = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {pair}\r\n")
}

#[tokio::test]
async fn the_unix_socket_carries_every_question() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let (status, answer) = s.local("GET", "/api/v1/status", "").await;
    assert_eq!((status, &json_of(&answer)["calls"]), (200, &json!(2)));
    assert_eq!(s.local("GET", "/api/v1/registrations/1000", "").await.0, 200);
    let drop = "/api/v1/registrations/1000%40a.b?contact=sip%3Ax";
    assert_eq!(json_of(&s.local("DELETE", drop, "").await.1), json!({"done": 1}));
    assert_eq!(s.local("DELETE", &format!("/api/v1/calls/{CALL}"), "").await.0, 200);
    let (_, answer) = s.local("GET", "/api/v1/routes/test?from=1000&to=%2A97", "").await;
    assert_eq!(json_of(&answer), json!({"route": "to *97"}));
    assert_eq!(s.local("POST", "/api/v1/drain", "{\"limit_s\": 5}").await.0, 202);
    assert_eq!(s.local("PUT", "/api/v1/trace", "{\"on\": true}").await.0, 200);
    assert_eq!(
        json_of(&s.local("GET", "/api/v1/cdrs", "").await.1),
        json!({"cdrs": []})
    );
    assert_eq!(
        json_of(&s.local("GET", "/api/v1/im/queue", "").await.1),
        json!({"queue": []})
    );
    let aor = |user, domain| model::Aor::new(user, domain);
    let expected = [
        Command::Status,
        Command::Registrations(Some(aor("1000", "example.org"))),
        Command::DropRegistration {
            aor: aor("1000", "a.b"),
            contact: Some("sip:x".into()),
        },
        Command::Hangup(CALL),
        Command::RouteTest {
            from: "1000".into(),
            to: "*97".into(),
        },
        Command::Drain { limit_s: 5 },
        Command::Trace(true),
    ];
    assert_eq!(*s.node.asked.lock().unwrap(), expected);
}

#[tokio::test]
async fn every_error_has_the_same_shape() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    for (method, path, body, status, code) in [
        ("GET", "/api/v1/nothing", "", 404, "not-found"),
        ("GET", "/", "", 404, "not-found"),
        ("PATCH", "/api/v1/calls", "", 405, "method-not-allowed"),
        ("GET", "/api/v1/calls/x", "", 400, "bad-request"),
        ("GET", "/api/v1/calls/i-0000000000000000", "", 404, "not-found"),
        ("DELETE", "/api/v1/calls/i-0000000000000000", "", 404, "not-found"),
        ("GET", "/api/v1/routes/test?from=1", "", 400, "bad-request"),
        ("POST", "/api/v1/drain", "{\"limit\": 5}", 400, "bad-request"),
        ("PUT", "/api/v1/trace", "[[[[", 400, "bad-request"),
        ("POST", "/api/v1/reload", "", 422, "bad-configuration"),
    ] {
        let (got, answer) = s.local(method, path, body).await;
        let error = &json_of(&answer)["error"];
        assert_eq!(
            (got, error["code"].as_str()),
            (status, Some(code)),
            "{method} {path}: {answer}"
        );
        assert!(error["message"].is_string() && error["problems"].is_array(), "{answer}");
    }
}

#[tokio::test]
async fn tcp_shows_health_and_figures_to_everyone_and_the_rest_to_admins() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    assert_eq!(s.public("GET", "/healthz", "").await.0, 200);
    assert_eq!(s.public("GET", "/readyz", "").await.0, 503);
    let (status, answer) = s.public("GET", "/metrics", "").await;
    assert!(status == 200 && answer.contains("\ntandem_calls 2\n"), "{answer}");
    let (status, answer) = s.public("GET", "/api/v1/status", "").await;
    assert_eq!(status, 401);
    assert!(
        answer.to_lowercase().contains("\r\nwww-authenticate: basic realm="),
        "{answer}"
    );
    assert_eq!(s.public("GET", "/api/v1/nothing", "").await.0, 401);
    assert_eq!(
        s.public("GET", "/api/v1/status", &credentials("1000", "right")).await.0,
        200
    );
    assert_eq!(
        s.public("GET", "/api/v1/status", &credentials("1001", "right")).await.0,
        403
    );
    let foreign = credentials("1000", "right") + "Origin: http://evil.example\r\n";
    assert_eq!(s.public("GET", "/api/v1/status", &foreign).await.0, 403);
}

#[tokio::test]
async fn an_unknown_user_is_answered_like_a_wrong_password() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    let without_date = |answer: String| -> Vec<String> {
        answer
            .lines()
            .filter(|line| !line.to_lowercase().starts_with("date:"))
            .map(ToOwned::to_owned)
            .collect()
    };
    let known = s.public("GET", "/api/v1/status", &credentials("1000", "wrong")).await;
    let unknown = s.public("GET", "/api/v1/status", &credentials("9999", "wrong")).await;
    assert_eq!(without_date(known.1), without_date(unknown.1));
}

#[tokio::test]
async fn s12_guessing_stops_after_ten_wrong_passwords_for_an_account() {
    let s = Subject::start(Fake::default(), Limits::default()).await;
    for _ in 0..10 {
        assert_eq!(
            s.public("GET", "/api/v1/status", &credentials("1000", "wrong")).await.0,
            401
        );
    }
    let (status, answer) = s.public("GET", "/api/v1/status", &credentials("1000", "right")).await;
    assert_eq!(status, 429);
    assert!(answer.to_lowercase().contains("\r\nretry-after: 60"), "{answer}");
    assert_eq!(*s.node.logins.lock().unwrap(), 10, "the eleventh is not even looked at");
    assert_eq!(
        s.public("GET", "/api/v1/status", &credentials("1001", "right")).await.0,
        403
    );
}

#[tokio::test]
async fn what_is_too_large_or_too_slow_is_refused() {
    let short = Duration::from_millis(100);
    let limits = Limits {
        headers_within: short,
        answer_within: short,
        body: 1024,
        ..Limits::default()
    };
    let s = Subject::start(
        Fake {
            deaf: true,
            ..Fake::default()
        },
        limits,
    )
    .await;
    let (status, _) = s.local("PUT", "/api/v1/trace", &" ".repeat(2048)).await;
    assert_eq!(status, 413);
    let (status, answer) = s.local("GET", "/api/v1/status", "").await;
    assert_eq!(
        (status, &json_of(&answer)["error"]["code"]),
        (503, &json!("unavailable"))
    );
    let mut silent = TcpStream::connect(s.tcp).await.unwrap();
    silent.write_all(b"GET /healthz HT").await.unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), silent.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "a peer that never finishes its headers is hung up on");
}

#[tokio::test]
async fn a_full_house_makes_others_wait_and_stopping_ends_all() {
    let limits = Limits {
        connections: 1,
        ..Limits::default()
    };
    let s = Subject::start(Fake::default(), limits).await;
    let first = UnixStream::connect(&s.unix).await.unwrap();
    let waiting = s.local("GET", "/healthz", "");
    let mut waiting = Box::pin(waiting);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), &mut waiting)
            .await
            .is_err()
    );
    drop(first);
    assert_eq!(waiting.await.0, 200);
    let mut idle = UnixStream::connect(&s.unix).await.unwrap();
    s.server.stop().await;
    let ended = tokio::time::timeout(Duration::from_secs(10), idle.read(&mut [0]))
        .await
        .unwrap();
    assert!(
        !matches!(ended, Ok(1..)),
        "the end of the stream, or reset if it had not been accepted"
    );
}
