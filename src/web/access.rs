//! Who asks, and what they may. Over the Unix socket it is the operator of the machine. Over TCP it is a user: with a token
//! (`Authorization: Bearer`, see [`crate::login`]) or, for scripts, with extension and password (`Basic`). Wrong passwords
//! are limited for each account and address, and an unknown user is answered like a wrong password.

use crate::strangers::Guest;
use crate::watch::Scope;
use crate::{Account, ApiError, Code, Context};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use model::Aor;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;
use switch::config::Role;

/// The peer of a TCP connection, put into each of its requests by the server.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Both ends of a TCP connection, likewise.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Ends {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// It is under TLS.
    pub(crate) is_secure: bool,
}

/// Who asks. As an extractor: anybody who is known.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// At the Unix socket, whose file mode has asked who it is.
    Operator,
    /// Somebody of users.toml.
    User(Account),
}

impl Caller {
    /// Who it is, unless it is the operator.
    pub(crate) fn user(&self) -> Option<&Aor> {
        match self {
            Caller::Operator => None,
            Caller::User(account) => Some(&account.aor),
        }
    }

    /// Whose business it is shown and may touch: `None` for everybody's, else its own alone.
    pub(crate) fn scope(&self) -> Option<&Aor> {
        self.user().filter(|_| !self.is_supervisor())
    }

    /// Which events it is told: its own, or all that are not private to others.
    pub(crate) fn watches(&self) -> Scope {
        Scope {
            user: self.user().cloned(),
            all: self.is_supervisor(),
        }
    }

    pub(crate) fn is_supervisor(&self) -> bool {
        self.has(&[Role::Supervisor, Role::Admin])
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.has(&[Role::Admin])
    }

    fn has(&self, any_of: &[Role]) -> bool {
        match self {
            Caller::Operator => true,
            Caller::User(account) => account.roles.iter().any(|role| any_of.contains(role)),
        }
    }
}

/// An extractor: supervisors and admins only.
pub(crate) struct Supervisor;

/// An extractor: admins only.
pub(crate) struct Admin;

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, ApiError> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(unauthorized)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Supervisor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Supervisor, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        need(caller.is_supervisor(), Supervisor, "this needs the role supervisor")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Admin, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        need(caller.is_admin(), Admin, "this needs the role admin")
    }
}

fn need<T>(has: bool, proof: T, why: &str) -> Result<T, ApiError> {
    has.then_some(proof).ok_or_else(|| ApiError::new(Code::Forbidden, why))
}

/// Lets those through who are known, and says who they are.
pub(crate) async fn known_only(
    State(context): State<Context>,
    axum::Extension(peer): axum::Extension<Peer>,
    axum::Extension(guest): axum::Extension<Guest>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let caller = context.caller(request.headers(), peer.0)?;
    drop(guest.leave());
    if request.method().is_safe() {
        tracing::debug!(user = ?caller.user(), from = %peer.0, path = request.uri().path(), "http");
    } else {
        tracing::info!(user = ?caller.user(), from = %peer.0, method = %request.method(), path = request.uri().path(), "http");
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

impl Context {
    /// Who a request with these headers comes from.
    pub(crate) fn caller(&self, headers: &HeaderMap, from: IpAddr) -> Result<Caller, ApiError> {
        same_origin(headers)?;
        if let Some(token) = bearer(headers) {
            return self.bearer(token).map(Caller::User);
        }
        let (user, password) = basic(headers)?;
        self.password(from, &user, &password).map(Caller::User)
    }

    /// Whose a token is, if it is good and the password it was got with still stands.
    pub(crate) fn bearer(&self, token: &str) -> Result<Account, ApiError> {
        let (user, stamp) = self
            .tokens
            .user(Instant::now(), token)
            .ok_or_else(|| ApiError::new(Code::Unauthorized, "this token is not, or no longer, good: log in"))?;
        match self.node.account(&user).filter(|account| account.stamp == stamp) {
            Some(account) => Ok(account),
            None => {
                self.tokens.revoke(token);
                Err(ApiError::new(
                    Code::Unauthorized,
                    "the password has changed since: log in",
                ))
            }
        }
    }

    /// Whose extension and password these are.
    pub(crate) fn password(&self, from: IpAddr, user: &str, password: &str) -> Result<Account, ApiError> {
        if !self.failures.allows(Instant::now(), from, user) {
            let ip = from.to_canonical();
            let account = loggable(user);
            tracing::warn!(target: "security", "SECURITY event=auth-limited ip={ip} transport=HTTP account=\"{account}\"");
            let message = "too many wrong passwords from this address; wait a minute";
            return Err(ApiError::new(Code::TooManyFailures, message));
        }
        self.node.login(user, password).ok_or_else(|| {
            self.failures.on_wrong(Instant::now(), from, user);
            let ip = from.to_canonical();
            let account = loggable(user);
            tracing::warn!(target: "security", "SECURITY event=auth-failed ip={ip} transport=HTTP account=\"{account}\"");
            unauthorized()
        })
    }
}

/// A name for a log line: at most 64 characters, what could end a field or look like another line replaced by `?`.
fn loggable(account: &str) -> String {
    let shown = |c: char| {
        if c.is_ascii_graphic() && c != '"' && c != '\\' {
            c
        } else {
            '?'
        }
    };
    account.chars().take(64).map(shown).collect()
}

pub(crate) fn unauthorized() -> ApiError {
    ApiError::new(Code::Unauthorized, "a token, or extension and password, please")
}

/// A page of another site must not use the credentials that a browser remembers.
pub(crate) fn same_origin(headers: &HeaderMap) -> Result<(), ApiError> {
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

/// RFC 6750 section 2.1: `Bearer token`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    credentials(headers, "bearer")
}

/// RFC 7617: `Basic base64(user:password)`.
fn basic(headers: &HeaderMap) -> Result<(String, String), ApiError> {
    let encoded = credentials(headers, "basic");
    let decoded = encoded.and_then(|encoded| base64::prelude::BASE64_STANDARD.decode(encoded).ok());
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let pair = text.as_deref().and_then(|text| text.split_once(':'));
    pair.map(|(user, password)| (user.to_owned(), password.to_owned()))
        .ok_or_else(unauthorized)
}

fn credentials<'h>(headers: &'h HeaderMap, scheme: &str) -> Option<&'h str> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (said, credentials) = given.split_once(' ')?;
    said.eq_ignore_ascii_case(scheme).then_some(credentials.trim())
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
    fn a_token_is_found_after_its_scheme() {
        assert_eq!(bearer(&headers(&[(header::AUTHORIZATION, "bearer abc")])), Some("abc"));
        assert_eq!(bearer(&headers(&[(header::AUTHORIZATION, "Basic abc")])), None);
        assert_eq!(bearer(&headers(&[])), None);
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

    #[test]
    fn roles_are_steps() {
        let caller = |roles: &[Role]| {
            Caller::User(Account {
                aor: Aor::new("1000", "a"),
                name: "".into(),
                roles: roles.to_vec(),
                stamp: 0,
            })
        };
        let may = |caller: Caller| (caller.is_supervisor(), caller.is_admin(), caller.scope().is_some());
        assert_eq!(may(caller(&[])), (false, false, true));
        assert_eq!(may(caller(&[Role::Agent])), (false, false, true));
        assert_eq!(may(caller(&[Role::Supervisor])), (true, false, false));
        assert_eq!(may(caller(&[Role::Agent, Role::Admin])), (true, true, false));
        assert_eq!(may(Caller::Operator), (true, true, false));
    }
}
