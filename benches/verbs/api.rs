//! The HTTP API on one connection that is kept, as the agent 1001.

use crate::support;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// One connection to the API, as the agent.
pub struct Api {
    stream: TcpStream,
    token: String,
    at: SocketAddr,
}

impl Api {
    pub fn open(at: SocketAddr) -> Api {
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
    pub fn send(&mut self, method: &str, path: &str, body: &Value) -> Instant {
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
    pub fn answer(&mut self) -> Value {
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

    pub fn ask(&mut self, method: &str, path: &str, body: &Value) -> Value {
        self.send(method, path, body);
        self.answer()
    }
}
