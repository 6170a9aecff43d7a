//! Who can be reached where.

use super::{Answered, Done, aor, ask, done, unexpected};
use crate::access::{Admin, Caller};
use crate::{ApiError, Code, Context};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use model::{Aor, RegistrationView};
use serde::{Deserialize, Serialize};
use switch::{Answer, Command};
use utoipa::{IntoParams, ToSchema};

/// Bound contacts.
#[derive(Serialize, ToSchema)]
pub(crate) struct Registrations {
    registrations: Vec<RegistrationView>,
}

/// Everybody's contacts; an agent's are their own.
#[utoipa::path(get, path = "/api/v1/registrations", tag = "registrations",
    responses((status = 200, description = "By user, then contact.", body = Registrations)))]
pub(crate) async fn list(caller: Caller, State(context): State<Context>) -> Answered<Registrations> {
    registrations(&context, caller.scope().cloned()).await
}

/// One user's contacts.
#[utoipa::path(get, path = "/api/v1/registrations/{user}", tag = "registrations",
    params(("user" = String, Path, description = "Extension, or extension@domain.")),
    responses((status = 200, description = "By contact; none if not registered.", body = Registrations)))]
pub(crate) async fn list_of(
    caller: Caller,
    State(context): State<Context>,
    Path(user): Path<String>,
) -> Answered<Registrations> {
    let aor = aor(&context, &user)?;
    if caller.scope().is_some_and(|own| *own != aor) {
        return Err(ApiError::new(Code::Forbidden, "an agent sees their own registrations"));
    }
    registrations(&context, Some(aor)).await
}

async fn registrations(context: &Context, aor: Option<Aor>) -> Answered<Registrations> {
    match ask(context, Command::Registrations(aor)).await? {
        Answer::Registrations(registrations) => Ok(Json(Registrations { registrations })),
        other => Err(unexpected(&other)),
    }
}

/// Which of a user's contacts.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WhichContact {
    /// Only this contact URI; else all.
    #[param(value_type = Option<String>)]
    contact: Option<Box<str>>,
}

/// Remove contacts of a user; their phones come back when they register again. Admins.
#[utoipa::path(delete, path = "/api/v1/registrations/{user}", tag = "registrations",
    params(("user" = String, Path, description = "Extension, or extension@domain."), WhichContact),
    responses((status = 200, description = "How many were removed.", body = Done)))]
pub(crate) async fn drop_of(
    _: Admin,
    State(context): State<Context>,
    Path(user): Path<String>,
    query: Result<Query<WhichContact>, QueryRejection>,
) -> Answered<Done> {
    let aor = aor(&context, &user)?;
    let contact = query?.0.contact;
    done(&context, Command::DropRegistration { aor, contact }).await
}
