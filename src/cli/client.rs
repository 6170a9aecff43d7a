//! One request over the Unix socket.

use crate::Exit;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// Longest answer that is read: thousands of calls with their legs.
const MAX_ANSWER: usize = 64 << 20;
/// A local server that takes longer than this is not well.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks a node through its socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why a request came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody answers at the socket.
    NoServer(String),
    /// The server said no.
    Refused {
        /// The code of the API's error.
        code: String,
        /// For people.
        message: String,
        /// One line for each problem of a configuration.
        problems: Vec<String>,
    },
}

impl Failure {
    /// How a command ends that failed so.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Failure::NoServer(_) => Exit::NoServer,
            Failure::Refused { .. } => Exit::Refused,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::NoServer(why) => f.write_str(why),
            Failure::Refused { message, problems, .. } => {
                problems.iter().try_for_each(|problem| writeln!(f, "{problem}"))?;
                f.write_str(message)
            }
        }
    }
}

impl std::error::Error for Failure {}

impl Client {
    /// For the node behind this socket.
    #[must_use]
    pub fn new(socket: &Path) -> Client {
        Client {
            socket: socket.to_owned(),
        }
    }

    /// Sends one request and reads the JSON that comes back. Must run on a tokio runtime with IO and time.
    ///
    /// # Errors
    /// Nobody answers, or the answer is an error.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        match tokio::time::timeout(PATIENCE, self.exchange(method, path, body)).await {
            Ok(Ok((status, body))) => read(status, &body),
            Ok(Err(error)) => Err(self.no_server(&error)),
            Err(_) => Err(self.no_server(&"it does not answer")),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Bytes), AnyError> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "tandem")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let bytes = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await?
            .to_bytes();
        connection.abort();
        Ok((status, bytes))
    }

    fn no_server(&self, why: &dyn std::fmt::Display) -> Failure {
        Failure::NoServer(format!("no switch answers at {}: {why}", self.socket.display()))
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn read(status: u16, body: &[u8]) -> Result<Value, Failure> {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    match (status, json) {
        (200..=299, Some(json)) => Ok(json),
        (_, json) => Err(refused(status, json.as_ref())),
    }
}

fn refused(status: u16, json: Option<&Value>) -> Failure {
    let text = |key| {
        json.and_then(|problem| problem.get(key))
            .and_then(Value::as_str)
            .map(ToOwned::to_owned)
    };
    let lines = json
        .and_then(|problem| problem.get("problems"))
        .and_then(Value::as_array);
    Failure::Refused {
        code: text("code").unwrap_or_else(|| status.to_string()),
        message: text("detail").unwrap_or_else(|| format!("the switch answered {status}")),
        problems: lines
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(ToOwned::to_owned)
            .collect(),
    }
}

/// Escapes what may not stand in a path segment or query value (RFC 3986 section 2.3).
pub(crate) fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// What is asked for behind the `?` of an address; what is `None` is left out.
pub(crate) fn query<const N: usize>(asked: [(&str, Option<String>); N]) -> String {
    let given = asked.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let fields: Vec<String> = given
        .map(|(name, value)| format!("{name}={}", escaped(value)))
        .collect();
    format!("?{}", fields.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_url_cannot_hold_is_escaped() {
        assert_eq!(escaped("*97/?é"), "%2A97%2F%3F%C3%A9");
        assert_eq!(escaped("1000@a-b.c"), "1000%40a-b.c");
    }

    #[test]
    fn an_error_of_the_api_is_shown_with_its_problems() {
        let body = br#"{"code":"bad-configuration","detail":"no","problems":["f:1:2: x"]}"#;
        let failure = read(422, body).unwrap_err();
        assert_eq!(failure.to_string(), "f:1:2: x\nno");
        assert_eq!(failure.exit(), Exit::Refused);
    }

    #[test]
    fn an_answer_that_is_no_json_is_refused() {
        assert_eq!(read(502, b"<html>").unwrap_err().to_string(), "the switch answered 502");
    }
}
