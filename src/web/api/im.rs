//! Messages that wait.

use super::{Answered, read_store};
use crate::Context;
use crate::access::Supervisor;
use axum::Json;
use axum::extract::State;
use model::Aor;
use serde::Serialize;
use utoipa::ToSchema;

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
