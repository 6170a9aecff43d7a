//! `/api/v1/ws`: what happens, as it happens, and commands, over one websocket (RFC 6455).
//!
//! A client shows its token in the handshake, as subprotocol `tandem.token.TOKEN` beside `tandem.v1` (a browser can set no
//! other header) or in `Authorization`, or in its first message; never in the URL, which proxies log. It is told all events
//! if it is a supervisor's, else those that concern its user. Nothing is kept for it: it reads from the ring of
//! [`crate::watch`], and one that falls behind is hung up on.

mod client;
pub(crate) mod frame;

use crate::access::{Caller, Peer, same_origin};
use crate::strangers::{Guest, Share};
use crate::{ApiError, Code, Context};
use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use client::Client;
use frame::Close;
use serde::Deserialize;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa::IntoParams;

/// Our subprotocol.
const PROTOCOL: &str = "tandem.v1";
/// Before a token in the list of subprotocols.
const TOKEN: &str = "tandem.token.";
/// A command is some hundred bytes; case data a kilobyte.
const MAX_MESSAGE: usize = 64 << 10;
/// Clients that have yet to show their token.
const MAX_STRANGERS: usize = 64;
/// Websockets of one user: pages in some tabs.
const PER_USER: usize = 16;
/// How long a stranger may take to show a token.
const LOGIN_WITHIN: Duration = Duration::from_secs(10);

/// Places for websockets.
pub(crate) struct Places {
    all: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    per_user: Arc<Mutex<HashMap<String, usize>>>,
    last_number: AtomicU64,
}

/// A taken place; dropping it gives it back.
pub(crate) struct Place {
    _all: OwnedSemaphorePermit,
    user: String,
    per_user: Arc<Mutex<HashMap<String, usize>>>,
}

impl Places {
    pub(crate) fn new(all: usize) -> Places {
        Places {
            all: Arc::new(Semaphore::new(all)),
            strangers: Arc::new(Semaphore::new(MAX_STRANGERS)),
            per_user: Arc::default(),
            last_number: AtomicU64::new(0),
        }
    }

    /// Names a websocket to the switch.
    pub(crate) fn next_number(&self) -> u64 {
        self.last_number.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Websockets of users who are logged in.
    pub(crate) fn taken(&self) -> usize {
        let per_user = self.per_user.lock().unwrap_or_else(PoisonError::into_inner);
        per_user.values().sum()
    }

    /// A place for one more of this user's websockets.
    fn take(&self, caller: &Caller) -> Result<Place, ApiError> {
        let full = |what| ApiError::new(Code::TooMany, what);
        let all = self.all.clone().try_acquire_owned();
        let all = all.map_err(|_| full("too many websockets"))?;
        let user = caller.user().map(ToString::to_string).unwrap_or_default();
        let mut per_user = self.per_user.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = per_user.entry(user.clone()).or_default();
        if *taken >= PER_USER {
            return Err(full("too many websockets of this user"));
        }
        *taken += 1;
        let per_user = self.per_user.clone();
        Ok(Place {
            _all: all,
            user,
            per_user,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut per_user = self.per_user.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = per_user.get_mut(&self.user) {
            *taken -= 1;
            if *taken == 0 {
                per_user.remove(&self.user);
            }
        }
    }
}

/// Who comes back.
#[derive(Clone, Copy, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Resume {
    /// Number of the last event or snapshot the client got: it is told what it missed, or gets a fresh snapshot.
    resume: Option<u64>,
    /// The client shows instant messages: while it is there, invitations to sessions wait for a click here, and the user's
    /// plain phones do not get them.
    #[serde(default)]
    im: bool,
}

/// Events and commands, live: a websocket.
///
/// The token is shown as subprotocol `tandem.token.TOKEN` beside `tandem.v1`, in `Authorization`, or in a first message
/// `{"type": "login", "token": "..."}` within ten seconds. Messages are schema `ToClient` and `FromClient`.
#[utoipa::path(get, path = "/api/v1/ws", tag = "live", params(Resume),
    responses((status = 101, description = "A websocket from here on.")))]
pub(crate) async fn connect(
    State(context): State<Context>,
    local: Option<Extension<Caller>>,
    peer: Option<Extension<Peer>>,
    guest: Option<Extension<Guest>>,
    question: Result<Query<Resume>, QueryRejection>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    let resume = question?.0;
    same_origin(&headers)?;
    let from = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.0);
    let upgrade = upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .protocols([PROTOCOL]);
    match shown(&context, local, &headers, from)? {
        Some(known) => {
            let place = context.places.take(&known.caller)?;
            Ok(upgrade.on_upgrade(move |socket| Client::new(socket, context, known, place).run(resume)))
        }
        None => {
            let full = || ApiError::new(Code::TooMany, "too many clients that are not logged in");
            let strangers = context.places.strangers.clone().try_acquire_owned();
            let its_own = guest.and_then(|Extension(guest)| guest.leave());
            let share = its_own.or_else(|| context.strangers.take(from)).ok_or_else(full)?;
            let place = (strangers.map_err(|_| full())?, share);
            Ok(upgrade.on_upgrade(move |socket| stranger(socket, context, place, resume)))
        }
    }
}

/// Who a client is, and its token if it has one: the token may end while the websocket lives.
pub(crate) struct Known {
    caller: Caller,
    token: Option<String>,
}

/// What the handshake says of who it is; `None`: nothing.
fn shown(
    context: &Context,
    local: Option<Extension<Caller>>,
    headers: &HeaderMap,
    from: IpAddr,
) -> Result<Option<Known>, ApiError> {
    if let Some(Extension(caller)) = local {
        return Ok(Some(Known { caller, token: None }));
    }
    let token = subprotocols(headers).find_map(|protocol| protocol.strip_prefix(TOKEN));
    if let Some(token) = token.or_else(|| crate::access::bearer(headers)) {
        let caller = Caller::User(context.bearer(token)?);
        let token = Some(token.to_owned());
        return Ok(Some(Known { caller, token }));
    }
    if headers.contains_key(header::AUTHORIZATION) {
        let caller = context.caller(headers, from)?;
        return Ok(Some(Known { caller, token: None }));
    }
    Ok(None)
}

fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let lists = lists.filter_map(|list: &HeaderValue| list.to_str().ok());
    lists.flat_map(|list| list.split(',').map(str::trim))
}

/// A client whose first message is to say who it is.
async fn stranger(mut socket: WebSocket, context: Context, place: (OwnedSemaphorePermit, Share), resume: Resume) {
    let known = tokio::time::timeout(LOGIN_WITHIN, client::login(&mut socket, &context)).await;
    drop(place);
    let place = match &known {
        Ok(Ok(known)) => context.places.take(&known.caller).ok(),
        _ => None,
    };
    match (known, place) {
        (Ok(Ok(known)), Some(place)) => Client::new(socket, context, known, place).run(resume).await,
        (Ok(Err(close)), _) => client::end(socket, close).await,
        (Ok(Ok(_)), None) => client::end(socket, Close::Slow).await,
        (Err(_), _) => client::end(socket, Close::Unauthorized).await,
    }
}
