//! `/api/v1`: one handler a verb. Each asks the switch or the store and shows what came back. A handler's arguments say who
//! may: [`Admin`](crate::access::Admin), [`Supervisor`](crate::access::Supervisor), or a
//! [`Caller`](crate::access::Caller), who is shown what concerns them.

pub(crate) mod agents;
pub(crate) mod bans;
pub(crate) mod calls;
pub(crate) mod im;
pub(crate) mod interactions;
pub(crate) mod operations;
pub(crate) mod records;
pub(crate) mod registrations;
pub(crate) mod rooms;

use crate::{ApiError, Code, Context, login, openapi};
use axum::Json;
use axum::body::Bytes;
use model::{Aor, InteractionId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use switch::{Answer, Command};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) type Answered<T> = Result<Json<T>, ApiError>;

/// Everything that needs a caller who is known.
pub(crate) fn router() -> OpenApiRouter<Context> {
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(login::me))
        .routes(routes!(login::logout))
        .routes(routes!(operations::status))
        .routes(routes!(operations::reload))
        .routes(routes!(operations::drain))
        .routes(routes!(operations::trace))
        .routes(routes!(operations::route_test))
        .routes(routes!(registrations::list))
        .routes(routes!(registrations::list_of, registrations::drop_of))
        .routes(routes!(bans::list, bans::add, bans::lift_all))
        .routes(routes!(bans::lift))
        .routes(routes!(calls::list, calls::originate))
        .routes(routes!(calls::show, calls::hangup))
        .routes(routes!(calls::media))
        .routes(routes!(calls::act))
        .routes(routes!(interactions::list))
        .routes(routes!(interactions::show))
        .routes(routes!(agents::list))
        .routes(routes!(agents::show, agents::set))
        .routes(routes!(agents::groups))
        .routes(routes!(agents::group))
        .routes(routes!(agents::directory))
        .routes(routes!(rooms::list))
        .routes(routes!(rooms::show, rooms::lock, rooms::drop_all))
        .routes(routes!(rooms::drop_member, rooms::mute))
        .routes(routes!(records::list))
        .routes(routes!(records::export))
        .routes(routes!(records::recordings))
        .routes(routes!(im::queue))
        .routes(routes!(im::queue_of, im::drop_queue))
        .routes(routes!(im::drop_message))
        .routes(routes!(im::sessions, im::open))
        .routes(routes!(im::session))
        .routes(routes!(im::act))
        .routes(routes!(im::transcripts))
        .routes(routes!(im::transcript, im::erase))
        .routes(routes!(im::export))
        .fallback(|| async { ApiError::new(Code::NotFound, "there is nothing at this address") })
}

/// How many things were touched.
#[derive(Serialize, ToSchema)]
pub(crate) struct Done {
    pub(crate) done: u64,
}

pub(crate) async fn done(context: &Context, command: Command) -> Answered<Done> {
    match ask(context, command).await? {
        Answer::Done(done) => Ok(Json(Done { done })),
        other => Err(unexpected(&other)),
    }
}

pub(crate) async fn ask(context: &Context, command: Command) -> Result<Answer, ApiError> {
    match context.node.command(command).await {
        Some(Answer::Refused(refusal)) => Err(refusal.into()),
        Some(answer) => Ok(answer),
        None => Err(ApiError::unavailable("the switch")),
    }
}

pub(crate) fn unexpected(answer: &Answer) -> ApiError {
    tracing::error!(?answer, "an answer that does not fit its command");
    ApiError::unavailable("the switch")
}

/// Reads the store on a thread that may wait for the disk.
async fn read_store<T: Send + 'static>(
    context: Context,
    read: impl FnOnce(&mut store::Reader) -> Result<T, model::StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let read = move || read(&mut context.reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(ApiError::new(
            Code::Unavailable,
            format!("the store cannot be read: {error}"),
        )),
        Err(_) => Err(ApiError::unavailable("the store")),
    }
}

pub(crate) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(ApiError::bad)
}

/// `1000` or `1000@domain`.
pub(crate) fn aor(context: &Context, user: &str) -> Result<Aor, ApiError> {
    let (user, domain) = match user.rsplit_once('@') {
        Some((user, domain)) => (user, domain.into()),
        None => (user, context.node.domain()),
    };
    if user.is_empty() || user.len() > 256 {
        return Err(ApiError::bad("expected an extension"));
    }
    Ok(Aor::new(user, &domain))
}

pub(crate) fn interaction(id: &str) -> Result<InteractionId, ApiError> {
    id.parse().map_err(|wrong: String| ApiError::bad(wrong))
}
