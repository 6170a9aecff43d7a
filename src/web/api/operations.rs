//! The node as a whole.

use super::{Answered, Done, ask, done, read, unexpected};
use crate::access::{Admin, Supervisor};
use crate::{ApiError, Code, Context, Reloaded};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use model::StatusView;
use serde::{Deserialize, Serialize};
use switch::{Answer, Command};
use utoipa::{IntoParams, ToSchema};

/// How the node is doing. Supervisors.
#[utoipa::path(get, path = "/api/v1/status", tag = "operations",
    responses((status = 200, description = "Figures of now.", body = StatusView)))]
pub(crate) async fn status(_: Supervisor, State(context): State<Context>) -> Answered<StatusView> {
    match ask(&context, Command::Status).await? {
        Answer::Status(status) => Ok(Json(*status)),
        other => Err(unexpected(&other)),
    }
}

/// Read the configuration again, all or nothing. Admins.
#[utoipa::path(post, path = "/api/v1/reload", tag = "operations",
    responses((status = 200, description = "What changed.", body = Reloaded)))]
pub(crate) async fn reload(_: Admin, State(context): State<Context>) -> Answered<Reloaded> {
    let node = context.node.clone();
    let reloaded = tokio::task::spawn_blocking(move || node.reload()).await;
    match reloaded.map_err(|_| ApiError::unavailable("reading the configuration"))? {
        Ok(reloaded) => Ok(Json(reloaded)),
        Err(problems) => {
            let message = "the configuration has problems; nothing was changed".to_owned();
            Err(ApiError {
                problems,
                ..ApiError::new(Code::BadConfiguration, message)
            })
        }
    }
}

/// How a drain goes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainWish {
    /// How many seconds calls may go on; the setting of switch.toml is used by SIGTERM.
    limit_s: u32,
}

/// Take no new calls from now on. Admins.
#[utoipa::path(post, path = "/api/v1/drain", tag = "operations", request_body = DrainWish,
    responses((status = 202, description = "Calls that go on still.", body = Done)))]
pub(crate) async fn drain(
    _: Admin,
    State(context): State<Context>,
    body: Bytes,
) -> Result<(StatusCode, Json<Done>), ApiError> {
    let DrainWish { limit_s } = read(&body)?;
    let done = done(&context, Command::Drain { limit_s }).await?;
    Ok((StatusCode::ACCEPTED, done))
}

/// Whether to trace.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TraceWish {
    on: bool,
}

/// Write every SIP message to the log, or stop that. Admins.
#[utoipa::path(put, path = "/api/v1/trace", tag = "operations", request_body = TraceWish,
    responses((status = 200, description = "It is so.", body = Done)))]
pub(crate) async fn trace(_: Admin, State(context): State<Context>, body: Bytes) -> Answered<Done> {
    let TraceWish { on } = read(&body)?;
    done(&context, Command::Trace(on)).await
}

/// A call that is only thought.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RouteQuestion {
    /// Calling extension.
    #[param(value_type = String)]
    from: Box<str>,
    /// What is dialled.
    #[param(value_type = String)]
    to: Box<str>,
}

/// What would be done.
#[derive(Serialize, ToSchema)]
pub(crate) struct Route {
    /// In words.
    #[schema(value_type = String)]
    route: Box<str>,
}

/// What the dial plan would do, without a call. Admins.
#[utoipa::path(get, path = "/api/v1/routes/test", tag = "operations", params(RouteQuestion),
    responses((status = 200, description = "What would be done.", body = Route)))]
pub(crate) async fn route_test(
    _: Admin,
    State(context): State<Context>,
    query: Result<Query<RouteQuestion>, QueryRejection>,
) -> Answered<Route> {
    let RouteQuestion { from, to } = query?.0;
    match ask(&context, Command::RouteTest { from, to }).await? {
        Answer::Route(route) => Ok(Json(Route { route })),
        other => Err(unexpected(&other)),
    }
}
