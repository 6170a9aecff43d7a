//! The door to SIP over websocket (RFC 7118): the HTTP request that asks for one, and whose pages may ask. What comes after
//! the 101 is a connection of [`crate::tcp`], in [`frame`]s.

pub(crate) mod frame;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use sha1::{Digest, Sha1};
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// The subprotocol (RFC 7118 section 4).
const PROTOCOL: &str = "sip";

/// What RFC 6455 section 1.3 mixes into the key, so that only who speaks websocket can answer.
const MIXED_IN: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of a request's headers: cookies of a page on the same host are some kilobytes.
const MAX_HEADERS: usize = 16 * 1024;

/// Whose pages may open a websocket, besides those of the host that is asked for it. Who is no page says no Origin, and may.
/// Cheap to clone; all clones share it.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<RwLock<Vec<String>>>);

impl Origins {
    /// From now on these, as `https://phone.example`; `*` stands for all.
    pub fn put(&self, origins: Vec<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = origins;
    }

    /// A browser says truly whose page asks (RFC 6454): so a stranger's page cannot use the place in the network of who
    /// looks at it (S22).
    fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let own = origin.split_once("://").map(|(_, host)| without_port(host));
        let listed = self.0.read().unwrap_or_else(PoisonError::into_inner);
        own.is_some() && own == host.map(without_port)
            || listed.iter().any(|one| one == "*" || one.eq_ignore_ascii_case(origin))
    }
}

/// `[::1]:8080` is `[::1]`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Reads one HTTP request and answers it, within `within`. If the answer is 101 the bytes are whose it is that has asked
/// [`hyper::upgrade::on`].
pub(crate) async fn receive<S>(
    stream: S,
    within: Duration,
    answer: impl Fn(Request<Incoming>) -> Response<String>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let mut answer = answer(request);
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            answer
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(within)
        .max_buf_size(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let done = tokio::time::timeout(within, connection).await;
    done.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        .map_err(io::Error::other)
}

/// The 101 to a request that may have what it asks for; else the refusal, with the reason as text.
#[allow(clippy::result_large_err)] // both are answers
pub(crate) fn welcome<B>(request: &Request<B>, origins: &Origins) -> Result<Response<String>, Response<String>> {
    let headers = request.headers();
    let key = match headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes) {
        Some(key) if asks_for_a_websocket(request) && is_key(key) => key,
        _ => {
            return Err(refusal(
                StatusCode::UPGRADE_REQUIRED,
                "SIP over websocket (RFC 7118) is spoken here",
            ));
        }
    };
    if headers.get(SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes) != Some(b"13") {
        return Err(refusal(
            StatusCode::UPGRADE_REQUIRED,
            "websocket version 13 is spoken here",
        ));
    }
    // RFC 7118 section 4. The answer repeats it letter by letter.
    if !items(headers, &SEC_WEBSOCKET_PROTOCOL).any(|item| item == PROTOCOL) {
        return Err(refusal(
            StatusCode::BAD_REQUEST,
            "Sec-WebSocket-Protocol has to name sip",
        ));
    }
    if !origins.allow(headers) {
        return Err(refusal(StatusCode::FORBIDDEN, "not from a page of another site"));
    }
    Ok(accepted(key))
}

/// The refusal for want of room.
pub(crate) fn no_place() -> Response<String> {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "too many connections")
}

/// RFC 6455 section 4.2.1.
fn asks_for_a_websocket<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::GET
        && request.version() >= Version::HTTP_11
        && headers.contains_key(HOST)
        && has(headers, &UPGRADE, "websocket")
        && has(headers, &CONNECTION, "upgrade")
}

/// Whether a list header names this.
fn has(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(wanted))
}

fn items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> + use<'h> {
    let lists = headers.get_all(name).into_iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}

/// 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    BASE64_STANDARD.decode(key).is_ok_and(|key| key.len() == 16)
}

fn accepted(key: &[u8]) -> Response<String> {
    let digest = Sha1::new().chain_update(key).chain_update(MIXED_IN).finalize();
    let mut answer = Response::new(String::new());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    if let Ok(proof) = HeaderValue::from_str(&BASE64_STANDARD.encode(digest)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, proof);
    }
    answer
}

fn refusal(status: StatusCode, why: &str) -> Response<String> {
    let mut answer = Response::new(format!("{why}\n"));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    if status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    answer
}
