//! Calls, and what can be done to them.

use super::{Answered, Done, ask, done, interaction, unexpected};
use crate::access::Caller;
use crate::verbs::{self, ActView, Wish};
use crate::{ApiError, Code, Context};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use model::{CallView, InteractionId, LegSoundView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use switch::{Answer, Command};
use utoipa::ToSchema;

/// Calls that ring or talk.
#[derive(Serialize, ToSchema)]
pub(crate) struct Calls {
    calls: Vec<CallView>,
}

/// The calls of now; an agent's are those they take part in.
#[utoipa::path(get, path = "/api/v1/calls", tag = "calls",
    responses((status = 200, description = "The oldest first.", body = Calls)))]
pub(crate) async fn list(caller: Caller, State(context): State<Context>) -> Answered<Calls> {
    let mut calls = views(&context, Command::Calls).await?;
    calls.retain(|call| concerns(&caller, call));
    let calls = calls.into_iter().map(|call| seen(&caller, call)).collect();
    Ok(Json(Calls { calls }))
}

/// The call that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCall {
    /// Extension or number, as dialled.
    #[schema(value_type = String)]
    target: Box<str>,
    /// Whose phone rings first: extension or extension@domain; else one's own.
    #[schema(value_type = Option<String>)]
    user: Option<Box<str>>,
}

/// Begin a call on behalf of a user: their phone rings, showing the target; when they answer, the target is called as if they
/// had dialled it.
///
/// Users for themselves; supervisors for everybody. The event `verb` with name `originate` says what came of it. With the
/// header `Idempotency-Key` the same request again is answered as before and carried out once.
#[utoipa::path(post, path = "/api/v1/calls", tag = "calls",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 64 bytes, the client's own.")),
    request_body = NewCall,
    responses((status = 200, description = "The phone rings.", body = ActView)))]
pub(crate) async fn originate(
    caller: Caller,
    State(context): State<Context>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered<Value> {
    let NewCall { target, user } = super::read(&body)?;
    verbs::by_http(context, caller, &headers, Wish::Originate { target, user }).await
}

/// One call with its legs.
#[utoipa::path(get, path = "/api/v1/calls/{id}", tag = "calls",
    params(("id" = String, Path, description = "i-0123456789abcdef")),
    responses((status = 200, description = "As it is now.", body = CallView)))]
pub(crate) async fn show(caller: Caller, State(context): State<Context>, Path(id): Path<String>) -> Answered<CallView> {
    let call = found(&context, &caller, interaction(&id)?).await?;
    Ok(Json(seen(&caller, call)))
}

/// As the caller is shown it.
fn seen(caller: &Caller, call: CallView) -> CallView {
    match caller.scope() {
        Some(user) => call.seen_by(user),
        None => call,
    }
}

/// The call, if it is any business of the caller.
async fn found(context: &Context, caller: &Caller, id: InteractionId) -> Result<CallView, ApiError> {
    let call = views(context, Command::Call(id)).await?.pop();
    call.filter(|call| concerns(caller, call))
        .ok_or_else(|| ApiError::new(Code::NotFound, format!("no call {id}")))
}

async fn views(context: &Context, command: Command) -> Result<Vec<CallView>, ApiError> {
    match ask(context, command).await? {
        Answer::Calls(calls) => Ok(calls),
        other => Err(unexpected(&other)),
    }
}

fn concerns(caller: &Caller, call: &CallView) -> bool {
    caller.scope().is_none_or(|user| call.includes(user))
}

/// End a call. Who takes part, or a supervisor.
#[utoipa::path(delete, path = "/api/v1/calls/{id}", tag = "calls",
    params(("id" = String, Path, description = "i-0123456789abcdef")),
    responses((status = 200, description = "It ends.", body = Done)))]
pub(crate) async fn hangup(caller: Caller, State(context): State<Context>, Path(id): Path<String>) -> Answered<Done> {
    let call = interaction(&id)?;
    may_touch(&context, &caller, call).await?;
    done(&context, Command::Hangup(call)).await
}

/// How each leg does, and what is heard on it.
#[derive(Serialize, ToSchema)]
pub(crate) struct CallMedia {
    legs: Vec<LegSoundView>,
}

/// How the legs of a call do, and what is heard on them. Who takes part, or a supervisor.
#[utoipa::path(get, path = "/api/v1/calls/{id}/media", tag = "calls",
    params(("id" = String, Path, description = "i-0123456789abcdef")),
    responses((status = 200, description = "Legs that have sound.", body = CallMedia)))]
pub(crate) async fn media(
    caller: Caller,
    State(context): State<Context>,
    Path(id): Path<String>,
) -> Answered<CallMedia> {
    let call = interaction(&id)?;
    may_touch(&context, &caller, call).await?;
    match ask(&context, Command::Inspect(call)).await? {
        Answer::Media(legs) => Ok(Json(CallMedia { legs })),
        other => Err(unexpected(&other)),
    }
}

/// Refuses who neither takes part in a call nor is a supervisor.
pub(crate) async fn may_touch(context: &Context, caller: &Caller, call: InteractionId) -> Result<(), ApiError> {
    if caller.scope().is_some() {
        found(context, caller, call).await?;
    }
    Ok(())
}

/// Carry out a verb: `hold`, `resume`, `toggle`, `consult`, `end-consult`, `complete-transfer`, `instant-transfer`,
/// `complete-conference`, `instant-conference`, `add`, `drop`, `leave`, `mute`, `monitor`, `whisper`, `barge`, `take-over`,
/// `record`, `send-to-voicemail`, `set-case-data`.
///
/// The body holds the other fields of the command of that name (schema `Wish`), and may be left out if there are none. An
/// agent acts in interactions where they take part; a supervisor in all. With the header `Idempotency-Key` the same request
/// again is answered as before and carried out once.
#[utoipa::path(post, path = "/api/v1/calls/{id}/{verb}", tag = "calls",
    params(
        ("id" = String, Path, description = "Of the interaction; of the consultation for `end-consult`, `complete-transfer` and `complete-conference`."),
        ("verb" = String, Path, description = "Which."),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 bytes, the client's own."),
    ),
    request_body(content = Option<Value>, description = "The other fields of the command."),
    responses((status = 200, description = "Done, or begun.", body = ActView)))]
pub(crate) async fn act(
    caller: Caller,
    State(context): State<Context>,
    Path((id, verb)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered<Value> {
    let target = verbs::subject(&verb).ok_or_else(|| ApiError::new(Code::NotFound, format!("no verb {verb}")))?;
    let wish = verbs::named(&body, [("command", verb), (target, id)])?;
    verbs::by_http(context, caller, &headers, wish).await
}
