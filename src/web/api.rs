//! `/api/v1`: one handler a verb. Each asks the switch or the store and shows what came back.

use crate::{ApiError, Code, Context, Reloaded};
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use model::{Aor, CallView, Cdr, InteractionId, LegSoundView, RegistrationView, StatusView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use switch::{Answer, Command, RecordWish};

pub(crate) type Answered<T> = Result<Json<T>, ApiError>;

pub(crate) fn router() -> Router<Context> {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/registrations", get(registrations))
        .route(
            "/api/v1/registrations/{user}",
            get(registrations_of).delete(drop_registration),
        )
        .route("/api/v1/calls", get(calls))
        .route("/api/v1/calls/{id}", get(call).delete(hangup))
        .route("/api/v1/calls/{id}/media", get(call_media))
        .route("/api/v1/calls/{id}/record", put(record))
        .route("/api/v1/routes/test", get(route_test))
        .route("/api/v1/reload", post(reload))
        .route("/api/v1/drain", post(drain))
        .route("/api/v1/trace", put(trace))
        .route("/api/v1/cdrs", get(cdrs))
        .route("/api/v1/im/queue", get(im_queue))
        .merge(crate::rooms::router())
        .fallback(|| async { ApiError::new(Code::NotFound, "there is nothing at this address") })
        .method_not_allowed_fallback(|| async { ApiError::new(Code::MethodNotAllowed, "not with this method") })
}

async fn status(State(context): State<Context>) -> Answered<StatusView> {
    match ask(&context, Command::Status).await? {
        Answer::Status(status) => Ok(Json(*status)),
        other => Err(unexpected(&other)),
    }
}

/// `{"registrations": [...]}`.
#[derive(Serialize)]
struct Registrations {
    registrations: Vec<RegistrationView>,
}

async fn registrations(State(context): State<Context>) -> Answered<Registrations> {
    list_registrations(&context, None).await
}

async fn registrations_of(State(context): State<Context>, Path(user): Path<String>) -> Answered<Registrations> {
    let aor = aor(&context, &user)?;
    list_registrations(&context, Some(aor)).await
}

async fn list_registrations(context: &Context, aor: Option<Aor>) -> Answered<Registrations> {
    match ask(context, Command::Registrations(aor)).await? {
        Answer::Registrations(registrations) => Ok(Json(Registrations { registrations })),
        other => Err(unexpected(&other)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichContact {
    contact: Option<Box<str>>,
}

async fn drop_registration(
    State(context): State<Context>,
    Path(user): Path<String>,
    query: Result<Query<WhichContact>, QueryRejection>,
) -> Answered<Done> {
    let aor = aor(&context, &user)?;
    let contact = query?.0.contact;
    done(&context, Command::DropRegistration { aor, contact }).await
}

/// `{"calls": [...]}`.
#[derive(Serialize)]
struct Calls {
    calls: Vec<CallView>,
}

async fn calls(State(context): State<Context>) -> Answered<Calls> {
    list_calls(&context, Command::Calls).await
}

async fn call(State(context): State<Context>, Path(id): Path<String>) -> Answered<CallView> {
    let id = interaction(&id)?;
    let found = list_calls(&context, Command::Call(id)).await?.0.calls.pop();
    found
        .map(Json)
        .ok_or_else(|| ApiError::new(Code::NotFound, format!("no call {id}")))
}

async fn list_calls(context: &Context, command: Command) -> Answered<Calls> {
    match ask(context, command).await? {
        Answer::Calls(calls) => Ok(Json(Calls { calls })),
        other => Err(unexpected(&other)),
    }
}

async fn hangup(State(context): State<Context>, Path(id): Path<String>) -> Answered<Done> {
    done(&context, Command::Hangup(interaction(&id)?)).await
}

/// `{"legs": [...]}`: how each leg does, and what is heard on it.
#[derive(Serialize)]
struct CallMedia {
    legs: Vec<LegSoundView>,
}

async fn call_media(State(context): State<Context>, Path(id): Path<String>) -> Answered<CallMedia> {
    match ask(&context, Command::Inspect(interaction(&id)?)).await? {
        Answer::Media(legs) => Ok(Json(CallMedia { legs })),
        other => Err(unexpected(&other)),
    }
}

/// `{"state": "on"}`, or `off`, or `pause`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordBody {
    state: RecordState,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RecordState {
    On,
    Off,
    Pause,
}

async fn record(State(context): State<Context>, Path(id): Path<String>, body: Bytes) -> Answered<Done> {
    let call = interaction(&id)?;
    let wish = match read::<RecordBody>(&body)?.state {
        RecordState::On => RecordWish::On,
        RecordState::Off => RecordWish::Off,
        RecordState::Pause => RecordWish::Pause,
    };
    done(&context, Command::Record { call, wish }).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteQuestion {
    from: Box<str>,
    to: Box<str>,
}

/// `{"route": "..."}`.
#[derive(Serialize)]
struct Route {
    route: Box<str>,
}

async fn route_test(
    State(context): State<Context>,
    query: Result<Query<RouteQuestion>, QueryRejection>,
) -> Answered<Route> {
    let RouteQuestion { from, to } = query?.0;
    match ask(&context, Command::RouteTest { from, to }).await? {
        Answer::Route(route) => Ok(Json(Route { route })),
        other => Err(unexpected(&other)),
    }
}

async fn reload(State(context): State<Context>) -> Answered<Reloaded> {
    let reloaded = tokio::task::spawn_blocking(move || context.node.reload()).await;
    match reloaded.map_err(|_| ApiError::unavailable("reading the configuration"))? {
        Ok(reloaded) => Ok(Json(reloaded)),
        Err(problems) => {
            let message = "the configuration has problems; nothing was changed".to_owned();
            Err(ApiError {
                code: Code::BadConfiguration,
                message,
                problems,
            })
        }
    }
}

/// How long calls may go on; the setting of switch.toml is used by SIGTERM.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DrainWish {
    limit_s: u32,
}

async fn drain(State(context): State<Context>, body: Bytes) -> Result<(StatusCode, Json<Done>), ApiError> {
    let DrainWish { limit_s } = read(&body)?;
    let done = done(&context, Command::Drain { limit_s }).await?;
    Ok((StatusCode::ACCEPTED, done))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceWish {
    on: bool,
}

async fn trace(State(context): State<Context>, body: Bytes) -> Answered<Done> {
    let TraceWish { on } = read(&body)?;
    done(&context, Command::Trace(on)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CdrQuestion {
    /// At most so many, 1 to 1000; 100 if not given.
    limit: Option<u32>,
    /// Only records kept before the one with this `seq`: the next page.
    before: Option<u64>,
    /// Only legs of this call.
    call: Option<InteractionId>,
}

/// A record with its place in the listing.
#[derive(Serialize)]
struct CdrLine {
    seq: u64,
    #[serde(flatten)]
    cdr: Cdr,
}

/// `{"cdrs": [...]}`, the latest first.
#[derive(Serialize)]
struct Cdrs {
    cdrs: Vec<CdrLine>,
}

async fn cdrs(State(context): State<Context>, query: Result<Query<CdrQuestion>, QueryRejection>) -> Answered<Cdrs> {
    let question = query?.0;
    let limit = question.limit.unwrap_or(100).clamp(1, 1_000);
    let rows = read_store(context, move |reader| match question.call {
        Some(call) => reader.cdrs_of(call),
        None => reader.cdrs(limit, question.before),
    });
    let line = |row: store::CdrRow| CdrLine {
        seq: row.seq,
        cdr: row.cdr,
    };
    Ok(Json(Cdrs {
        cdrs: rows.await?.into_iter().map(line).collect(),
    }))
}

/// Messages that wait for one user.
#[derive(Serialize)]
struct Waiting {
    aor: Aor,
    messages: u64,
}

/// `{"queue": [...]}`.
#[derive(Serialize)]
struct Queue {
    queue: Vec<Waiting>,
}

async fn im_queue(State(context): State<Context>) -> Answered<Queue> {
    let waiting = read_store(context, store::Reader::waiting_by_user).await?;
    let queue = waiting
        .into_iter()
        .map(|(aor, messages)| Waiting { aor, messages })
        .collect();
    Ok(Json(Queue { queue }))
}

/// `{"done": 1}`: how many things were touched.
#[derive(Serialize)]
pub(crate) struct Done {
    done: u64,
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
fn aor(context: &Context, user: &str) -> Result<Aor, ApiError> {
    let (user, domain) = match user.rsplit_once('@') {
        Some((user, domain)) => (user, domain.into()),
        None => (user, context.node.domain()),
    };
    if user.is_empty() || user.len() > 256 {
        return Err(ApiError::bad("expected an extension"));
    }
    Ok(Aor::new(user, &domain))
}

fn interaction(id: &str) -> Result<InteractionId, ApiError> {
    id.parse().map_err(|wrong: String| ApiError::bad(wrong))
}
