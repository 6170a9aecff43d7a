//! Sockets and bounds: how many connections, how long each step may take, how much a request may hold.

use crate::auth::{Guard, Peer, admins_only};
use crate::failures::Failures;
use crate::{ApiError, Code, Context, Node, api, health};
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tower_http::limit::RequestBodyLimitLayer;

/// What one node spends on HTTP.
#[derive(Copy, Clone, Debug)]
pub struct Limits {
    /// Connections at one time on each door; more wait in the kernel.
    pub connections: usize,
    /// From the first byte of a connection, or the end of the last request, to the end of the next request's headers.
    pub headers_within: Duration,
    /// From the headers to the answer.
    pub answer_within: Duration,
    /// Bytes of a request's body: no request of ours is a tenth of it.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 128,
            headers_within: Duration::from_secs(10),
            answer_within: Duration::from_secs(10),
            body: 64 * 1024,
        }
    }
}

/// The running HTTP server.
pub struct Server {
    stop: watch::Sender<bool>,
    doors: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves on these sockets until [`Server::stop`]. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(
        tcp: Option<TcpListener>,
        unix: UnixListener,
        node: Arc<dyn Node>,
        reader: store::Reader,
        limits: Limits,
    ) -> Server {
        let context = Context {
            node,
            reader: Arc::new(Mutex::new(reader)),
        };
        let (stop, stopping) = watch::channel(false);
        let local = Door::new(local_router(&context, &limits), limits, stopping.clone());
        let mut doors = vec![tokio::spawn(local.serve_unix(unix))];
        if let Some(tcp) = tcp {
            let public = Door::new(public_router(&context, &limits), limits, stopping);
            doors.push(tokio::spawn(public.serve_tcp(tcp)));
        }
        Server { stop, doors }
    }

    /// Takes no new connection and lets each finish the request it is at, for at most two seconds.
    pub async fn stop(self) {
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
    bounded(
        health::router().merge(api::router()).with_state(context.clone()),
        limits,
    )
}

/// Over TCP: figures for everyone, the rest for admins.
fn public_router(context: &Context, limits: &Limits) -> Router {
    let failures = Arc::new(Failures::new(Instant::now()));
    let guard = Guard {
        context: context.clone(),
        failures,
    };
    let api = api::router().layer(middleware::from_fn_with_state(guard, admins_only));
    bounded(api.merge(health::router()).with_state(context.clone()), limits)
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

/// Nothing here is a page: no browser may guess otherwise, keep it, or show it in a frame.
async fn plain_data(mut response: Response) -> Response {
    let fixed: [(HeaderName, &'static str); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n").into_response();
    }
    response
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
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

    async fn serve_tcp(mut self, listener: TcpListener) {
        while let Some((place, (stream, address))) = self.next(|| listener.accept()).await {
            self.connection(place, stream, Some(address.ip()));
        }
        self.finish().await;
    }

    async fn serve_unix(mut self, listener: UnixListener) {
        while let Some((place, (stream, _))) = self.next(|| listener.accept()).await {
            self.connection(place, stream, None);
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

    /// Serves one connection in a task of its own.
    fn connection(
        &self,
        place: OwnedSemaphorePermit,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Option<IpAddr>,
    ) {
        let router = match peer {
            Some(peer) => self.router.clone().layer(axum::Extension(Peer(peer))),
            None => self.router.clone(),
        };
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.headers_within)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let mut stopping = self.stopping.clone();
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => {}
                () = stopped(&mut stopping) => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop(place);
        });
    }

    /// Waits until every connection has ended.
    async fn finish(self) {
        let all = u32::try_from(self.limits.connections).unwrap_or(u32::MAX);
        let _ = self.places.acquire_many(all).await;
    }
}
