//! Sockets and bounds: how many connections, how long each step may take, how much a request may hold.

use crate::access::{Caller, Ends, Peer, known_only};
use crate::failures::Failures;
use crate::requests::Requests;
use crate::socket::Places;
use crate::strangers::{Guest, Strangers};
use crate::tokens::Tokens;
use crate::watch::Watch;
use crate::{ApiError, Asked, Code, Context, Lives, Node, api, health, login, openapi, sip, socket};
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use model::Occurrence;
use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tower_http::limit::RequestBodyLimitLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What one node spends on HTTP.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at one time on each door; more wait in the kernel.
    pub connections: usize,
    /// Of them, and of websockets, those from one IPv4 address or IPv6 /64 whose peer has not said who it is; more are
    /// closed. A quarter of all: an office behind one address, with six connections to a browser.
    pub strangers_per_address: usize,
    /// From the first byte of a connection, or the end of the last request, to the end of the next request's headers.
    pub headers_within: Duration,
    /// From the headers to the answer.
    pub answer_within: Duration,
    /// Bytes of a request's headers: a token and what browsers add are some kilobytes.
    pub headers: usize,
    /// Bytes of a request's body: no request of ours is a tenth of it.
    pub body: usize,
    /// Websockets at one time, beside the connections.
    pub websockets: usize,
    /// How long tokens are good.
    pub tokens: Lives,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 128,
            strangers_per_address: 32,
            headers_within: Duration::from_secs(10),
            answer_within: Duration::from_secs(10),
            headers: 32 * 1024,
            body: 64 * 1024,
            websockets: 1_000,
            tokens: Lives::default(),
        }
    }
}

/// A stream that carries HTTP.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The handshake of one who came to us, in its own time.
pub type Handshake = Arc<dyn Fn(TcpStream) -> Asked<io::Result<Box<dyn Stream>>> + Send + Sync>;

/// Where HTTP is spoken.
pub struct Listeners {
    /// With whoever may open this file.
    pub unix: UnixListener,
    /// With everybody.
    pub tcp: Option<TcpListener>,
    /// The same under TLS.
    pub tls: Option<(TcpListener, Handshake)>,
}

/// The running HTTP server.
pub struct Server {
    stop: watch::Sender<bool>,
    doors: Vec<JoinHandle<()>>,
    watch: JoinHandle<()>,
}

impl Server {
    /// Serves on these sockets until [`Server::stop`]. `events` is what the switch tells: a channel with room for
    /// [`crate::EVENTS_AHEAD`]. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(
        listeners: Listeners,
        node: Arc<dyn Node>,
        reader: store::Reader,
        events: mpsc::Receiver<Occurrence>,
        limits: Limits,
    ) -> Server {
        let (stop, stopping) = watch::channel(false);
        let context = Context {
            node,
            reader: Arc::new(Mutex::new(reader)),
            failures: Arc::new(Failures::new(Instant::now())),
            tokens: Arc::new(Tokens::new(limits.tokens)),
            requests: Arc::new(Requests::default()),
            watch: Arc::new(Watch::new()),
            places: Arc::new(Places::new(limits.websockets)),
            strangers: Arc::new(Strangers::new(limits.strangers_per_address)),
            stopping: stopping.clone(),
        };
        let watch = tokio::spawn(context.watch.clone().run(events));
        let local = Door::new(local_router(&context, &limits), limits, stopping.clone());
        let mut doors = vec![tokio::spawn(local.serve_unix(listeners.unix))];
        let public = |stopping| Door::new(public_router(&context, &limits), limits, stopping);
        if let Some(tcp) = listeners.tcp {
            let serving = public(stopping.clone()).serve_tcp(tcp, None, context.strangers.clone());
            doors.push(tokio::spawn(serving));
        }
        if let Some((tls, handshake)) = listeners.tls {
            let serving = public(stopping).serve_tcp(tls, Some(handshake), context.strangers.clone());
            doors.push(tokio::spawn(serving));
        }
        Server { stop, doors, watch }
    }

    /// Takes no new connection and lets each finish the request it is at, for at most two seconds.
    pub async fn stop(self) {
        self.watch.abort();
        let _ = self.stop.send(true);
        for mut door in self.doors {
            if tokio::time::timeout(Duration::from_secs(2), &mut door).await.is_err() {
                door.abort();
            }
        }
    }
}

/// Over the Unix socket: the file's mode has already asked who it is.
fn local_router(context: &Context, limits: &Limits) -> Router {
    let (api, known, open) = routers();
    let everything = known
        .merge(open)
        .merge(health::router())
        .merge(openapi::pages(api))
        .layer(axum::Extension(Caller::Operator));
    bounded(everything.with_state(context.clone()), limits)
}

/// Over TCP: figures and descriptions for everyone, the rest for those who are known.
fn public_router(context: &Context, limits: &Limits) -> Router {
    let (api, known, open) = routers();
    let known = known.layer(middleware::from_fn_with_state(context.clone(), known_only));
    let everything = known
        .merge(open)
        .merge(health::router())
        .merge(openapi::pages(api))
        .merge(sip::router());
    bounded(everything.with_state(context.clone()), limits)
}

/// The description of the API, the handlers that need to know who asks, and those that find out themselves.
pub(crate) fn routers() -> (OpenApi, Router<Context>, Router<Context>) {
    let open = OpenApiRouter::new()
        .routes(routes!(login::login))
        .routes(routes!(socket::connect));
    let (known, mut api) = api::router().split_for_parts();
    let (open, open_api) = open.split_for_parts();
    api.merge(open_api);
    let known =
        known.method_not_allowed_fallback(|| async { ApiError::new(Code::MethodNotAllowed, "not with this method") });
    (openapi::finish(api), known, open)
}

fn bounded(router: Router, limits: &Limits) -> Router {
    let within = limits.answer_within;
    router
        .layer(RequestBodyLimitLayer::new(limits.body))
        .layer(middleware::from_fn(move |request, next| {
            answer_within(within, request, next)
        }))
        .layer(middleware::map_response(plain_data))
}

async fn answer_within(within: Duration, request: Request, next: Next) -> Response {
    let late = |_| ApiError::new(Code::Unavailable, "this took too long").into_response();
    tokio::time::timeout(within, next.run(request))
        .await
        .unwrap_or_else(late)
}

/// Nothing here is a page, unless it has said so itself: no browser may guess otherwise, keep it, or show it in a frame.
async fn plain_data(mut response: Response) -> Response {
    let fixed: [(HeaderName, &'static str); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ];
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        response = ApiError::new(Code::TooLarge, "the body is too large").into_response();
    }
    for (name, value) in fixed {
        let headers = response.headers_mut();
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Comes when the server stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn accepted<T, F>(places: Arc<Semaphore>, accept: impl Fn() -> F) -> Option<(OwnedSemaphorePermit, T)>
where
    F: Future<Output = io::Result<T>>,
{
    let place = places.acquire_owned().await.ok()?;
    loop {
        match accept().await {
            Ok(accepted) => return Some((place, accepted)),
            // Out of descriptors, or a peer that left already: come again, but do not spin.
            Err(error) => {
                tracing::warn!(%error, "http accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// One connection, from its first request to its end.
async fn serve(stream: impl Stream + 'static, router: Router, limits: Limits, mut stopping: watch::Receiver<bool>) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers_within)
        .max_buf_size(limits.headers)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// One listening socket and its connections.
struct Door {
    router: Router,
    limits: Limits,
    places: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

impl Door {
    fn new(router: Router, limits: Limits, stopping: watch::Receiver<bool>) -> Door {
        let places = Arc::new(Semaphore::new(limits.connections));
        Door {
            router,
            limits,
            places,
            stopping,
        }
    }

    /// Every stream begins with the handshake, if there is one.
    async fn serve_tcp(mut self, listener: TcpListener, handshake: Option<Handshake>, strangers: Arc<Strangers>) {
        while let Some((place, (stream, peer))) = self.next(|| listener.accept()).await {
            // A connection that has no address any more is over.
            let Ok(local) = stream.local_addr() else { continue };
            let Some(share) = strangers.take(peer.ip()) else {
                continue;
            };
            let guest = Guest::new(share);
            let router = self.router.clone().layer(axum::Extension(Peer(peer.ip())));
            let is_secure = handshake.is_some();
            let router = router.layer(axum::Extension(Ends { local, peer, is_secure }));
            let router = router.layer(axum::Extension(guest.clone()));
            match &handshake {
                Some(handshake) => self.connection(place, handshake(stream), router, Some(guest)),
                None => self.connection(place, ready(Ok(stream)), router, Some(guest)),
            }
        }
        self.finish().await;
    }

    async fn serve_unix(mut self, listener: UnixListener) {
        while let Some((place, (stream, _))) = self.next(|| listener.accept()).await {
            self.connection(place, ready(Ok(stream)), self.router.clone(), None);
        }
        self.finish().await;
    }

    /// The next connection, once there is a place for it; `None` when the server stops.
    async fn next<T, F>(&mut self, accept: impl Fn() -> F) -> Option<(OwnedSemaphorePermit, T)>
    where
        F: Future<Output = io::Result<T>>,
    {
        tokio::select! {
            next = accepted(self.places.clone(), accept) => next,
            () = stopped(&mut self.stopping) => None,
        }
    }

    /// Serves one connection in a task of its own, as soon as it can carry bytes.
    fn connection<S: Stream + 'static>(
        &self,
        place: OwnedSemaphorePermit,
        opening: impl Future<Output = io::Result<S>> + Send + 'static,
        router: Router,
        guest: Option<Guest>,
    ) {
        let (limits, stopping) = (self.limits, self.stopping.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(limits.headers_within, opening).await {
                Ok(Ok(stream)) => serve(stream, router, limits, stopping).await,
                failed => tracing::debug!(error = ?failed.err(), "http: no handshake"),
            }
            drop((place, guest.and_then(|guest| guest.leave())));
        });
    }

    /// Waits until every connection has ended.
    async fn finish(self) {
        let all = u32::try_from(self.limits.connections).unwrap_or(u32::MAX);
        let _ = self.places.acquire_many(all).await;
    }
}
