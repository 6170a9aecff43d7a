//! Instant messages: sessions, records of those that are over, and messages that wait.

use super::{Answered, Done, aor, ask, done, read_store, unexpected};
use crate::access::{Admin, Caller, Supervisor};
use crate::verbs::{self, Wish};
use crate::{ApiError, Code, Context};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use clock::Wall;
use model::{Aor, ImSession, ImTranscript, InteractionId, MessageId, SessionId, WaitingMessage, transcript_text};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{TranscriptQuery, TranscriptRow};
use switch::{Answer, By, Command};
use utoipa::{IntoParams, ToSchema};

/// Records on a page if the question does not say.
const PAGE: u32 = 100;
/// Most records on a page: one answer is about a megabyte.
const MAX_PAGE: u32 = 1_000;

/// Messages that wait for one user.
#[derive(Serialize, ToSchema)]
pub(crate) struct Waiting {
    aor: Aor,
    messages: u64,
}

/// Who has messages waiting.
#[derive(Serialize, ToSchema)]
pub(crate) struct Queue {
    queue: Vec<Waiting>,
}

/// For whom how many messages wait. Supervisors.
#[utoipa::path(get, path = "/api/v1/im/queue", tag = "messages",
    responses((status = 200, description = "By user; who has none is left out.", body = Queue)))]
pub(crate) async fn queue(_: Supervisor, State(context): State<Context>) -> Answered<Queue> {
    let waiting = read_store(context, store::Reader::waiting_by_user).await?;
    let queue = waiting
        .into_iter()
        .map(|(aor, messages)| Waiting { aor, messages })
        .collect();
    Ok(Json(Queue { queue }))
}

/// Messages that wait for one user.
#[derive(Serialize, ToSchema)]
pub(crate) struct UserQueue {
    messages: Vec<WaitingMessage>,
}

/// Which page of a queue.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct QueuePage {
    /// At most so many: 1 to 1000, else 100.
    limit: Option<u32>,
    /// Only those accepted after this one: the next page.
    #[param(value_type = Option<String>)]
    after: Option<MessageId>,
}

/// Which messages wait for a user; who wrote them and since when, not what they say. Admins.
#[utoipa::path(get, path = "/api/v1/im/queue/{user}", tag = "messages", params(
        ("user" = String, Path, description = "Extension, or extension@domain."), QueuePage),
    responses((status = 200, description = "The oldest first.", body = UserQueue)))]
pub(crate) async fn queue_of(
    _: Admin,
    State(context): State<Context>,
    Path(user): Path<String>,
    page: Result<Query<QueuePage>, QueryRejection>,
) -> Answered<UserQueue> {
    let (user, page) = (aor(&context, &user)?, page?.0);
    let limit = page.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let after = page.after.unwrap_or(MessageId(0));
    let messages = read_store(context, move |reader| reader.waiting_of(&user, after, limit)).await?;
    Ok(Json(UserQueue { messages }))
}

/// Drop all messages that wait for a user, but those that are with a device right now. Their senders are told, if they asked to
/// be. Admins.
#[utoipa::path(delete, path = "/api/v1/im/queue/{user}", tag = "messages",
    params(("user" = String, Path, description = "Extension, or extension@domain.")),
    responses((status = 200, description = "How many are gone.", body = Done)))]
pub(crate) async fn drop_queue(
    _: Admin,
    caller: Caller,
    State(context): State<Context>,
    Path(user): Path<String>,
) -> Answered<Done> {
    drop_messages(&context, &caller, &user, None).await
}

/// Drop one message that waits for a user. Its sender is told, if he asked to be. Admins.
#[utoipa::path(delete, path = "/api/v1/im/queue/{user}/{message}", tag = "messages", params(
        ("user" = String, Path, description = "Extension, or extension@domain."),
        ("message" = String, Path, description = "m-0123456789abcdef")),
    responses((status = 200, description = "It is gone.", body = Done)))]
pub(crate) async fn drop_message(
    _: Admin,
    caller: Caller,
    State(context): State<Context>,
    Path((user, message)): Path<(String, String)>,
) -> Answered<Done> {
    let message = message.parse().map_err(|wrong: String| ApiError::bad(wrong))?;
    drop_messages(&context, &caller, &user, Some(message)).await
}

async fn drop_messages(context: &Context, caller: &Caller, user: &str, id: Option<MessageId>) -> Answered<Done> {
    let to = aor(context, user)?;
    let by = caller.user().map_or(By::Operator(None), |user| By::User(user.clone()));
    done(context, Command::DropMessages { by, to, id }).await
}

/// Sessions of messages.
#[derive(Serialize, ToSchema)]
pub(crate) struct ImSessions {
    sessions: Vec<ImTranscript>,
}

/// One's own sessions, with what was said; the operator of the machine sees all of them, without a word.
#[utoipa::path(get, path = "/api/v1/im/sessions", tag = "messages",
    responses((status = 200, description = "The oldest first.", body = ImSessions)))]
pub(crate) async fn sessions(caller: Caller, State(context): State<Context>) -> Answered<ImSessions> {
    let sessions = views(&context, &caller, None).await?;
    Ok(Json(ImSessions { sessions }))
}

/// One session. Who takes no part gets 404, whatever their role.
#[utoipa::path(get, path = "/api/v1/im/sessions/{id}", tag = "messages",
    params(("id" = String, Path, description = "s-0123456789abcdef")),
    responses((status = 200, description = "As it is now.", body = ImTranscript)))]
pub(crate) async fn session(
    caller: Caller,
    State(context): State<Context>,
    Path(id): Path<String>,
) -> Answered<ImTranscript> {
    let id = session_id(&id)?;
    let found = views(&context, &caller, Some(id)).await?.pop();
    found.map(Json).ok_or_else(|| unknown(id))
}

async fn views(context: &Context, caller: &Caller, session: Option<SessionId>) -> Result<Vec<ImTranscript>, ApiError> {
    let user = caller.user().cloned();
    match ask(context, Command::ImSessions { user, session }).await? {
        Answer::Sessions(sessions) => Ok(sessions),
        other => Err(unexpected(&other)),
    }
}

/// The session that is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSession {
    /// Extension or number, as dialled: a user, or a group.
    #[schema(value_type = String)]
    target: Box<str>,
    /// A consultation about this interaction, in which one takes part.
    interaction: Option<InteractionId>,
    /// The first message.
    #[schema(value_type = Option<String>)]
    text: Option<Box<str>>,
}

/// Open a session. Nobody hears of it before the first message.
///
/// With `text` it is sent at once, and the answer is the message; else the session. With the header `Idempotency-Key` the same
/// request again is answered as before and carried out once.
#[utoipa::path(post, path = "/api/v1/im/sessions", tag = "messages",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 64 bytes, the client's own.")),
    request_body = NewSession,
    responses((status = 200, description = "It is open.", body = Value)))]
pub(crate) async fn open(
    caller: Caller,
    State(context): State<Context>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered<Value> {
    let NewSession {
        target,
        interaction,
        text,
    } = super::read(&body)?;
    let wish = Wish::ImOpen {
        target,
        interaction,
        text,
    };
    verbs::by_http(context, caller, &headers, wish).await
}

/// Carry out a verb: `send`, `accept`, `reject`, `end`, `done`, `typing`, `read`, `add`, `drop`, `transfer`, `voice`.
///
/// The body holds the other fields of the command of that name with `im-` before it (schema `Wish`), and may be left out if
/// there are none. With the header `Idempotency-Key` the same request again is answered as before and carried out once.
#[utoipa::path(post, path = "/api/v1/im/sessions/{id}/{verb}", tag = "messages",
    params(
        ("id" = String, Path, description = "s-0123456789abcdef"),
        ("verb" = String, Path, description = "Which."),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 64 bytes, the client's own."),
    ),
    request_body(content = Option<Value>, description = "The other fields of the command."),
    responses((status = 200, description = "Done: the session as it is now; for `send` the message.", body = Value)))]
pub(crate) async fn act(
    caller: Caller,
    State(context): State<Context>,
    Path((id, verb)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answered<Value> {
    if !verbs::is_of_sessions(&verb) {
        return Err(ApiError::new(Code::NotFound, format!("no verb {verb}")));
    }
    let wish = verbs::named(&body, [("command", format!("im-{verb}")), ("session", id)])?;
    verbs::by_http(context, caller, &headers, wish).await
}

/// Which records of sessions.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TranscriptQuestion {
    /// At most so many: 1 to 1000, else 100.
    limit: Option<u32>,
    /// Only those closed before the one with this `seq`: the next page.
    before: Option<u64>,
    /// Only those in whose text all these words stand in one message. Only where transcripts are kept.
    text: Option<Box<str>>,
    /// Only those of this user: extension, or extension@domain. Admins; others are shown their own.
    user: Option<String>,
    /// Only consultations about this interaction. Admins.
    #[param(value_type = Option<String>)]
    interaction: Option<InteractionId>,
    /// Only those that ended at this moment or later: milliseconds since 1970 UTC.
    since: Option<i64>,
    /// Only those that ended before this moment: milliseconds since 1970 UTC.
    until: Option<i64>,
}

impl TranscriptQuestion {
    /// For the store. Who is no admin asks for their own; consultations are nobody's own (R341, R342).
    fn query(self, context: &Context, caller: &Caller) -> Result<TranscriptQuery, ApiError> {
        let asked = self.user.as_ref().map(|user| aor(context, user)).transpose()?;
        let own = caller.user().filter(|_| !caller.is_admin()).cloned();
        Ok(TranscriptQuery {
            user: own.or(asked),
            interaction: self.interaction,
            text: self.text,
            since: self.since.map(Wall),
            until: self.until.map(Wall),
            before: self.before,
        })
    }
}

/// The record of a session that is over.
#[derive(Serialize, ToSchema)]
pub(crate) struct TranscriptLine {
    /// Rises in the order of closing.
    seq: u64,
    /// What was said is kept.
    has_text: bool,
    session: ImSession,
}

/// Records of sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct Transcripts {
    transcripts: Vec<TranscriptLine>,
}

/// Records of sessions that everybody has closed: one's own; for admins all. Consultations are in nobody's own.
#[utoipa::path(get, path = "/api/v1/im/transcripts", tag = "messages", params(TranscriptQuestion),
    responses((status = 200, description = "The last one first.", body = Transcripts)))]
pub(crate) async fn transcripts(
    caller: Caller,
    State(context): State<Context>,
    question: Result<Query<TranscriptQuestion>, QueryRejection>,
) -> Answered<Transcripts> {
    let question = question?.0;
    let limit = question.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let query = question.query(&context, &caller)?;
    let rows = read_store(context, move |reader| reader.transcripts(&query, limit)).await?;
    let line = |TranscriptRow { seq, has_text, session }| TranscriptLine { seq, has_text, session };
    let transcripts = rows.into_iter().map(line).collect();
    Ok(Json(Transcripts { transcripts }))
}

/// One record with what is kept of its text.
#[utoipa::path(get, path = "/api/v1/im/transcripts/{id}", tag = "messages",
    params(("id" = String, Path, description = "s-0123456789abcdef")),
    responses((status = 200, description = "The session and its messages.", body = ImTranscript)))]
pub(crate) async fn transcript(
    caller: Caller,
    State(context): State<Context>,
    Path(id): Path<String>,
) -> Answered<ImTranscript> {
    kept(&context, &caller, session_id(&id)?).await.map(Json)
}

/// The same as plain text, for people.
#[utoipa::path(get, path = "/api/v1/im/transcripts/{id}/text", tag = "messages",
    params(("id" = String, Path, description = "s-0123456789abcdef")),
    responses((status = 200, description = "A line for each message.", body = String, content_type = "text/plain")))]
pub(crate) async fn export(
    caller: Caller,
    State(context): State<Context>,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let id = session_id(&id)?;
    let ImTranscript { session, messages } = kept(&context, &caller, id).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{id}.txt\""),
        ),
    ];
    Ok((headers, transcript_text(&session, &messages)))
}

async fn kept(context: &Context, caller: &Caller, id: SessionId) -> Result<ImTranscript, ApiError> {
    let found = read_store(context.clone(), move |reader| reader.transcript(id)).await?;
    let may = |session: &ImSession| match caller.user() {
        Some(user) if !caller.is_admin() => session.consult.is_none() && session.party_of(user).is_some(),
        _ => true,
    };
    found.filter(|found| may(&found.session)).ok_or_else(|| unknown(id))
}

/// Erase a record and its text: afterwards neither is in any file. Admins.
#[utoipa::path(delete, path = "/api/v1/im/transcripts/{id}", tag = "messages",
    params(("id" = String, Path, description = "s-0123456789abcdef")),
    responses((status = 200, description = "It is gone.", body = Done)))]
pub(crate) async fn erase(_: Admin, State(context): State<Context>, Path(id): Path<String>) -> Answered<Done> {
    done(&context, Command::ImErase(session_id(&id)?)).await
}

fn session_id(id: &str) -> Result<SessionId, ApiError> {
    id.parse().map_err(|wrong: String| ApiError::bad(wrong))
}

fn unknown(id: SessionId) -> ApiError {
    ApiError::new(Code::NotFound, format!("no session {id}"))
}
