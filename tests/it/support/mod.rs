//! What integration tests share: a node in this process ([`node`]), the real binary ([`served`]), patience.

pub mod baresip;
pub mod dice;
pub mod dns;
pub mod node;
pub mod page;
pub mod phone;
pub mod raw;
pub mod served;
pub mod talk;
pub mod tape;
pub mod tone;

pub use node::node;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Longer than anything on loopback takes, also on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer: for things outside of this process, which give no other sign.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Says loudly that a test was not run; `scripts/test` counts these lines.
#[allow(dead_code)] // for tests that need what not every machine has
pub fn skipped(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
}

/// One figure of `/metrics`, for example `tandem_calls`.
pub fn figure(http: SocketAddr, name: &str) -> f64 {
    let text = http_get(http, "/metrics").1;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} in\n{text}")).parse().unwrap()
}

/// One GET over TCP: the status and the body.
pub fn http_get(at: SocketAddr, path: &str) -> (u16, String) {
    http_get_with(at, path, "")
}

/// The same with further header lines, each with its CRLF.
pub fn http_get_with(at: SocketAddr, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{headers}\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default();
    (answer[9..12].parse().unwrap(), body)
}

/// One request over TCP: the status, and the JSON that came back.
pub fn http(
    at: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &serde_json::Value,
) -> (u16, serde_json::Value) {
    let mut stream = TcpStream::connect(at).unwrap();
    let bearer = token
        .map(|token| format!("Authorization: Bearer {token}\r\n"))
        .unwrap_or_default();
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n{bearer}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let json = answer.split_once("\r\n\r\n").unwrap().1;
    (
        answer[9..12].parse().unwrap(),
        serde_json::from_str(json).unwrap_or_default(),
    )
}

/// The token of a user of the shipped configuration.
pub fn log_in(node: &node::TestNode, user: &str) -> String {
    let body = serde_json::json!({ "user": user, "password": format!("demo-{user}") });
    let (status, answer) = http(node.http(), "POST", "/api/v1/login", None, &body);
    assert_eq!(status, 200, "{answer}");
    answer["token"].as_str().unwrap().to_owned()
}
