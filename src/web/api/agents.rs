//! Agents, their groups, and the directory.

use super::{Answered, aor, ask, read, unexpected};
use crate::access::Caller;
use crate::verbs::{self, Wish};
use crate::{ApiError, Code, Context, directory};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use model::{Aor, DirectoryEntry, GroupView, InteractionId, Medium, PresenceView, TargetKind, Willing};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use switch::{Answer, By, Command, Look};
use utoipa::{IntoParams, ToSchema};

/// Lines of an answer if the question does not say.
const PAGE: usize = 20;
/// Most lines of an answer: a page shows some dozen.
const MAX_PAGE: usize = 100;

/// Agents, as who asks may see them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Agents {
    agents: Vec<PresenceView>,
}

/// All agents whom one may see.
#[utoipa::path(get, path = "/api/v1/agents", tag = "agents",
    responses((status = 200, description = "By address.", body = Agents)))]
pub(crate) async fn list(caller: Caller, State(context): State<Context>) -> Answered<Agents> {
    let agents = views(&context, &caller, None).await?;
    Ok(Json(Agents { agents }))
}

/// One agent.
#[utoipa::path(get, path = "/api/v1/agents/{user}", tag = "agents",
    params(("user" = String, Path, description = "Extension, or extension@domain.")),
    responses((status = 200, description = "As it is now.", body = PresenceView)))]
pub(crate) async fn show(
    caller: Caller,
    State(context): State<Context>,
    Path(user): Path<String>,
) -> Answered<PresenceView> {
    let user = aor(&context, &user)?;
    let found = views(&context, &caller, Some(user.clone())).await?.pop();
    // Whom one may not see is told like one who does not exist.
    found
        .map(Json)
        .ok_or_else(|| ApiError::new(Code::NotFound, format!("no agent {user}")))
}

async fn views(context: &Context, caller: &Caller, user: Option<Aor>) -> Result<Vec<PresenceView>, ApiError> {
    match ask(context, Command::Agents { user, by: by(caller) }).await? {
        Answer::Agents(views) => Ok(views),
        other => Err(unexpected(&other)),
    }
}

fn by(caller: &Caller) -> By {
    caller.user().map_or(By::Operator(None), |user| By::User(user.clone()))
}

/// What is said of an agent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentWish {
    state: Willing,
    /// Of which medium; else of all that the account has.
    #[serde(default)]
    medium: Option<Medium>,
    /// Why not ready: one of `not_ready_reasons` of `/api/v1/me`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    reason: Box<str>,
}

/// Say that an agent is ready, not ready or logged off. Agents for themselves; supervisors for all.
#[utoipa::path(put, path = "/api/v1/agents/{user}", tag = "agents", request_body = AgentWish,
    params(("user" = String, Path, description = "Extension, or extension@domain.")),
    responses((status = 200, description = "The agent as it is then.", body = PresenceView)))]
pub(crate) async fn set(
    caller: Caller,
    State(context): State<Context>,
    Path(user): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let AgentWish { state, medium, reason } = read(&body)?;
    let wish = Wish::SetAgentState {
        user: Some(user.into()),
        state,
        medium,
        reason,
    };
    verbs::by_http(context, caller, &headers, wish).await
}

/// Groups of agents.
#[derive(Serialize, ToSchema)]
pub(crate) struct Groups {
    groups: Vec<GroupView>,
}

/// Groups whose agents one may see, and how many of them can be given something now.
#[utoipa::path(get, path = "/api/v1/groups", tag = "agents",
    responses((status = 200, description = "By number.", body = Groups)))]
pub(crate) async fn groups(caller: Caller, State(context): State<Context>) -> Answered<Groups> {
    let groups = group_views(&context, &caller, None).await?;
    Ok(Json(Groups { groups }))
}

/// One group.
#[utoipa::path(get, path = "/api/v1/groups/{group}", tag = "agents",
    params(("group" = String, Path, description = "Its number.")),
    responses((status = 200, description = "As it is now.", body = GroupView)))]
pub(crate) async fn group(
    caller: Caller,
    State(context): State<Context>,
    Path(group): Path<String>,
) -> Answered<GroupView> {
    let number = Some(group.as_str().into());
    let found = group_views(&context, &caller, number).await?.pop();
    found
        .map(Json)
        .ok_or_else(|| ApiError::new(Code::NotFound, format!("no group {group}")))
}

async fn group_views(context: &Context, caller: &Caller, number: Option<Box<str>>) -> Result<Vec<GroupView>, ApiError> {
    match ask(context, Command::Groups { number, by: by(caller) }).await? {
        Answer::Groups(views) => Ok(views),
        other => Err(unexpected(&other)),
    }
}

/// Who is looked for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Search {
    /// Parts of a name, number, e-mail, skill or group; all words have to be found. Empty or absent: everything.
    #[serde(default)]
    text: String,
    /// Only this kind.
    kind: Option<TargetKind>,
    /// What is offered is about this interaction: consult, transfer, conference. Whom one consults about something just now
    /// comes first while nothing is typed.
    #[param(value_type = Option<String>)]
    interaction: Option<String>,
    /// Lines of the answer; 20 if absent, 100 at most.
    limit: Option<usize>,
}

/// Lines of the directory.
#[derive(Serialize, ToSchema)]
pub(crate) struct Directory {
    /// Best first.
    entries: Vec<DirectoryEntry>,
    /// More would fit.
    more: bool,
}

/// Find people, groups and skills as one types, with how they are and what they can take now.
#[utoipa::path(get, path = "/api/v1/directory", tag = "agents", params(Search),
    responses((status = 200, description = "What fits best first.", body = Directory)))]
pub(crate) async fn directory(
    caller: Caller,
    State(context): State<Context>,
    query: Result<Query<Search>, QueryRejection>,
) -> Answered<Directory> {
    let Search {
        text,
        kind,
        interaction,
        limit,
    } = query?.0;
    let interaction = interaction.map(|id| super::interaction(&id)).transpose()?;
    let kinds = kind.into_iter().collect();
    search(&context, &caller, (text, kinds), interaction, limit)
        .await
        .map(Json)
}

/// The same for a page over its websocket.
pub(crate) async fn search(
    context: &Context,
    caller: &Caller,
    (text, kinds): (String, Vec<TargetKind>),
    interaction: Option<InteractionId>,
    limit: Option<usize>,
) -> Result<Directory, ApiError> {
    let limit = limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) || text.chars().count() > directory::TEXT_MAX {
        let (page, longest) = (MAX_PAGE, directory::TEXT_MAX);
        return Err(ApiError::bad(format!(
            "limit is from 1 to {page}, and a text has up to {longest} characters"
        )));
    }
    let consulted_first = text.trim().is_empty() && interaction.is_some();
    let list = context.node.listed();
    let found = move || {
        let (found, more) = directory::search(&list, &text, &kinds, limit);
        (found.into_iter().map(|one| one.target.clone()).collect(), more)
    };
    let found = tokio::task::spawn_blocking(found).await;
    let (targets, more) = found.map_err(|_| ApiError::unavailable("the directory"))?;
    let look = Look {
        by: by(caller),
        targets,
        interaction,
        consulted_first,
    };
    match ask(context, Command::Look(Box::new(look))).await? {
        Answer::Directory(entries) => Ok(Directory { entries, more }),
        other => Err(unexpected(&other)),
    }
}
