//! Interactions: who takes part, who hears whom, and what belongs to the case.

use super::{Answered, ask, interaction, unexpected};
use crate::access::Caller;
use crate::{ApiError, Code, Context};
use axum::Json;
use axum::extract::{Path, State};
use model::InteractionView;
use serde::Serialize;
use switch::{Answer, Command};
use utoipa::ToSchema;

/// Interactions and consultations.
#[derive(Serialize, ToSchema)]
pub(crate) struct Interactions {
    interactions: Vec<InteractionView>,
}

/// The interactions of now; an agent's are those they take part in.
#[utoipa::path(get, path = "/api/v1/interactions", tag = "interactions",
    responses((status = 200, description = "The oldest first.", body = Interactions)))]
pub(crate) async fn list(caller: Caller, State(context): State<Context>) -> Answered<Interactions> {
    let interactions = views(&context, &caller, Command::Interactions(None)).await?;
    Ok(Json(Interactions { interactions }))
}

/// One interaction or consultation.
#[utoipa::path(get, path = "/api/v1/interactions/{id}", tag = "interactions",
    params(("id" = String, Path, description = "i-0123456789abcdef")),
    responses((status = 200, description = "As it is now.", body = InteractionView)))]
pub(crate) async fn show(
    caller: Caller,
    State(context): State<Context>,
    Path(id): Path<String>,
) -> Answered<InteractionView> {
    let id = interaction(&id)?;
    let found = views(&context, &caller, Command::Interactions(Some(id))).await?.pop();
    found
        .map(Json)
        .ok_or_else(|| ApiError::new(Code::NotFound, format!("no interaction {id}")))
}

async fn views(context: &Context, caller: &Caller, command: Command) -> Result<Vec<InteractionView>, ApiError> {
    match ask(context, command).await? {
        Answer::Interactions(mut views) => {
            if let Some(user) = caller.scope() {
                views.retain(|view| view.includes(user));
                views = views.into_iter().map(|view| view.seen_by(user)).collect();
            }
            Ok(views)
        }
        other => Err(unexpected(&other)),
    }
}
