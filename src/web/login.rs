//! Logging in with SIP credentials: a token for what follows, so that the password is sent once.

use crate::access::{Caller, Peer, bearer, same_origin};
use crate::api::{Answered, Done, read};
use crate::{Capabilities, Context};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use model::Aor;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;
use switch::config::Role;
use utoipa::ToSchema;

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credentials {
    /// Extension.
    user: String,
    /// SIP password.
    password: String,
}

/// A login.
#[derive(Serialize, ToSchema)]
pub(crate) struct LoggedIn {
    /// For `Authorization: Bearer` and the websocket. Never put it into a URL.
    token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// Seconds it is good without being used.
    idle_s: u64,
    /// Seconds it is good in all.
    expires_in_s: u64,
    #[serde(flatten)]
    me: Me,
}

/// Who one is.
#[derive(Serialize, ToSchema)]
pub(crate) struct Me {
    /// `extension@domain`; nobody's at the Unix socket.
    user: Option<Aor>,
    /// Display name.
    name: Box<str>,
    /// `agent`, `supervisor`, `admin`.
    roles: Vec<&'static str>,
    /// What a page may offer.
    capabilities: Capabilities,
}

/// Log in with extension and SIP password.
///
/// Ten wrong passwords a minute from one address close the account to that address. Another password in users.toml ends
/// all tokens of the user.
#[utoipa::path(post, path = "/api/v1/login", tag = "login", security(()), request_body = Credentials,
    responses((status = 200, description = "Logged in.", body = LoggedIn)))]
pub(crate) async fn login(
    State(context): State<Context>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered<LoggedIn> {
    same_origin(&headers)?;
    let Credentials { user, password } = read(&body)?;
    // Over the Unix socket there is no address; guesses there count as one host's.
    let from = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.0);
    let account = context.password(from, &user, &password)?;
    let token = context.tokens.issue(Instant::now(), account.aor.clone(), account.stamp);
    let lives = context.tokens.lives();
    tracing::info!(user = %account.aor, %from, "logged in");
    Ok(Json(LoggedIn {
        token,
        token_type: "Bearer",
        idle_s: lives.idle.as_secs(),
        expires_in_s: lives.total.as_secs(),
        me: Me::of(&context, &Caller::User(account)),
    }))
}

/// End the token this request carries.
#[utoipa::path(post, path = "/api/v1/logout", tag = "login",
    responses((status = 200, description = "The token is good no longer; 0 if none was given.", body = Done)))]
pub(crate) async fn logout(State(context): State<Context>, headers: HeaderMap) -> Json<Done> {
    let token = bearer(&headers);
    if let Some(token) = token {
        context.tokens.revoke(token);
    }
    Json(Done {
        done: u64::from(token.is_some()),
    })
}

/// Who one is.
#[utoipa::path(get, path = "/api/v1/me", tag = "login",
    responses((status = 200, description = "The user behind these credentials.", body = Me)))]
pub(crate) async fn me(caller: Caller, State(context): State<Context>) -> Json<Me> {
    Json(Me::of(&context, &caller))
}

impl Me {
    fn of(context: &Context, caller: &Caller) -> Me {
        let capabilities = context.node.capabilities(caller.user());
        match caller {
            Caller::User(account) => Me {
                user: Some(account.aor.clone()),
                name: account.name.clone(),
                roles: account.roles.iter().copied().map(role_name).collect(),
                capabilities,
            },
            Caller::Operator => Me {
                user: None,
                name: "operator".into(),
                roles: vec!["admin"],
                capabilities,
            },
        }
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Agent => "agent",
        Role::Supervisor => "supervisor",
        Role::Admin => "admin",
    }
}
