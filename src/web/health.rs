//! What everyone may see: whether the node lives, whether it takes calls, and its figures.

use crate::{Context, Figure, State, figures};
use axum::Router;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

pub(crate) fn router() -> Router<Context> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
}

/// 200 while the switch answers: its thread runs. Anything else is a reason to restart the process.
async fn healthz(extract::State(context): extract::State<Context>) -> impl IntoResponse {
    match context.node.command(switch::Command::Status).await {
        Some(_) => (StatusCode::OK, "ok\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the switch does not answer\n"),
    }
}

/// 200 while new calls are taken.
async fn readyz(extract::State(context): extract::State<Context>) -> impl IntoResponse {
    match context.node.state() {
        State::Running => (StatusCode::OK, "ready\n"),
        State::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}

async fn metrics(extract::State(context): extract::State<Context>) -> impl IntoResponse {
    let mut figures = context.node.figures().await;
    figures.extend(context.figures());
    let text = figures::render(&figures);
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
}

impl Context {
    /// What the API itself holds.
    fn figures(&self) -> [Figure; 3] {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        [
            Figure::gauge("websockets", count(self.places.taken())),
            Figure::gauge("api_tokens", count(self.tokens.len())),
            Figure::counter("http_refused", self.strangers.refused()),
        ]
    }
}
