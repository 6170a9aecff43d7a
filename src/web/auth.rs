//! Who may manage the switch over TCP: users with the role admin, by HTTP Basic with their SIP password. Wrong passwords
//! are limited for each account and address, and an unknown user is answered like a wrong password.

use crate::failures::Failures;
use crate::{ApiError, Code, Context};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use switch::config::Role;

/// The peer of a TCP connection, put into each of its requests by the server.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// What the guard of the TCP port needs.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) context: Context,
    pub(crate) failures: Arc<Failures>,
}

/// Lets admins through.
pub(crate) async fn admins_only(
    State(guard): State<Guard>,
    axum::Extension(peer): axum::Extension<Peer>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    same_origin(request.headers())?;
    let (user, password) = basic(request.headers())?;
    guard.check(peer.0, &user, &password)?;
    tracing::info!(?user, from = %peer.0, method = %request.method(), path = request.uri().path(), "http management");
    Ok(next.run(request).await)
}

impl Guard {
    fn check(&self, from: IpAddr, user: &str, password: &str) -> Result<(), ApiError> {
        if !self.failures.allows(Instant::now(), from, user) {
            let message = "too many wrong passwords from this address; wait a minute";
            return Err(ApiError::new(Code::TooManyFailures, message));
        }
        match self.context.node.login(user, password) {
            Some(roles) if roles.contains(&Role::Admin) => Ok(()),
            Some(_) => Err(ApiError::new(Code::Forbidden, "this needs the role admin")),
            None => {
                self.failures.on_wrong(Instant::now(), from, user);
                tracing::warn!(?user, %from, "http login failed");
                Err(unauthorized())
            }
        }
    }
}

fn unauthorized() -> ApiError {
    ApiError::new(
        Code::Unauthorized,
        "extension and password of a user with the role admin, please",
    )
}

/// A page of another site must not use the credentials that a browser remembers.
fn same_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let host = headers.get(header::HOST).map(|host| host.as_bytes());
    let origin = headers.get(header::ORIGIN).map(|origin| origin.as_bytes());
    let allowed = match origin {
        None => true,
        Some(origin) => {
            origin
                .splitn(2, |byte| *byte == b'/')
                .nth(1)
                .and_then(|rest| rest.strip_prefix(b"/"))
                == host
        }
    };
    allowed
        .then_some(())
        .ok_or_else(|| ApiError::new(Code::Forbidden, "not from a page of another site"))
}

/// RFC 7617: `Basic base64(user:password)`.
fn basic(headers: &HeaderMap) -> Result<(String, String), ApiError> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let encoded = given
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let decoded = encoded.and_then(|(_, encoded)| base64::prelude::BASE64_STANDARD.decode(encoded.trim()).ok());
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = text.as_deref().and_then(|text| text.split_once(':'));
    pair.map(|(user, password)| (user.to_owned(), password.to_owned()))
        .ok_or_else(unauthorized)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn basic_credentials_are_split_at_the_first_colon() {
        // base64 of "1000:a:b"
        let given = headers(&[(header::AUTHORIZATION, "basic MTAwMDphOmI=")]);
        assert_eq!(basic(&given).unwrap(), ("1000".to_owned(), "a:b".to_owned()));
        for wrong in ["Basic", "Basic !!", "Bearer MTAwMDphOmI=", "Basic MTAwMA=="] {
            assert!(basic(&headers(&[(header::AUTHORIZATION, wrong)])).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let host = (header::HOST, "127.0.0.1:8080");
        let with = |origin| same_origin(&headers(&[host.clone(), (header::ORIGIN, origin)])).is_ok();
        assert!(same_origin(&headers(std::slice::from_ref(&host))).is_ok());
        assert!(with("http://127.0.0.1:8080"));
        assert!(!with("http://evil.example"));
        assert!(!with("null"));
        assert!(!with("http://127.0.0.1:8080.evil.example"));
    }
}
