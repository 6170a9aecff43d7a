//! Conference rooms with somebody in them.

use super::{Answered, Done, ask, done, read, unexpected};
use crate::access::Supervisor;
use crate::{ApiError, Code, Context};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use model::RoomView;
use serde::{Deserialize, Serialize};
use switch::{Answer, Command};
use utoipa::ToSchema;

/// Rooms with somebody in them.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rooms {
    rooms: Vec<RoomView>,
}

/// The rooms of now. Supervisors.
#[utoipa::path(get, path = "/api/v1/rooms", tag = "rooms",
    responses((status = 200, description = "Those with somebody in them.", body = Rooms)))]
pub(crate) async fn list(_: Supervisor, State(context): State<Context>) -> Answered<Rooms> {
    let rooms = views(&context, Command::Rooms).await?;
    Ok(Json(Rooms { rooms }))
}

/// One room with its members. Supervisors.
#[utoipa::path(get, path = "/api/v1/rooms/{room}", tag = "rooms",
    params(("room" = String, Path, description = "What is dialled.")),
    responses((status = 200, description = "As it is now.", body = RoomView)))]
pub(crate) async fn show(
    _: Supervisor,
    State(context): State<Context>,
    Path(room): Path<String>,
) -> Answered<RoomView> {
    let found = views(&context, Command::Room(room.as_str().into())).await?.pop();
    found
        .map(Json)
        .ok_or_else(|| ApiError::new(Code::NotFound, format!("nobody is in a room {room:?}")))
}

async fn views(context: &Context, command: Command) -> Result<Vec<RoomView>, ApiError> {
    match ask(context, command).await? {
        Answer::Rooms(rooms) => Ok(rooms),
        other => Err(unexpected(&other)),
    }
}

/// Whether others may come in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockWish {
    locked: bool,
}

/// Let nobody in any more, but moderators by name; or open it again. Supervisors.
#[utoipa::path(patch, path = "/api/v1/rooms/{room}", tag = "rooms", request_body = LockWish,
    params(("room" = String, Path, description = "What is dialled.")),
    responses((status = 200, description = "It is so.", body = Done)))]
pub(crate) async fn lock(
    _: Supervisor,
    State(context): State<Context>,
    Path(room): Path<String>,
    body: Bytes,
) -> Answered<Done> {
    let LockWish { locked } = read(&body)?;
    done(
        &context,
        Command::RoomLock {
            room: room.into(),
            locked,
        },
    )
    .await
}

/// End the calls of all members. Supervisors.
#[utoipa::path(delete, path = "/api/v1/rooms/{room}", tag = "rooms",
    params(("room" = String, Path, description = "What is dialled.")),
    responses((status = 200, description = "How many calls end.", body = Done)))]
pub(crate) async fn drop_all(
    _: Supervisor,
    State(context): State<Context>,
    Path(room): Path<String>,
) -> Answered<Done> {
    done(
        &context,
        Command::RoomDrop {
            room: room.into(),
            member: None,
        },
    )
    .await
}

/// End the call of a member. Supervisors.
#[utoipa::path(delete, path = "/api/v1/rooms/{room}/members/{member}", tag = "rooms",
    params(("room" = String, Path, description = "What is dialled."), ("member" = String, Path, description = "The member's number in the room.")),
    responses((status = 200, description = "How many calls end.", body = Done)))]
pub(crate) async fn drop_member(
    _: Supervisor,
    State(context): State<Context>,
    Path((room, member)): Path<(String, String)>,
) -> Answered<Done> {
    let member = Some(number(&member)?);
    done(
        &context,
        Command::RoomDrop {
            room: room.into(),
            member,
        },
    )
    .await
}

/// What is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MuteWish {
    /// Nobody hears the member.
    muted: Option<bool>,
    /// The member hears nobody.
    deaf: Option<bool>,
}

/// Make a member unheard, or deaf, or no more. Supervisors.
#[utoipa::path(patch, path = "/api/v1/rooms/{room}/members/{member}", tag = "rooms", request_body = MuteWish,
    params(("room" = String, Path, description = "What is dialled."), ("member" = String, Path, description = "The member's number in the room.")),
    responses((status = 200, description = "It is so.", body = Done)))]
pub(crate) async fn mute(
    _: Supervisor,
    State(context): State<Context>,
    Path((room, member)): Path<(String, String)>,
    body: Bytes,
) -> Answered<Done> {
    let member = number(&member)?;
    let MuteWish { muted, deaf } = read(&body)?;
    let command = Command::RoomMute {
        room: room.into(),
        member,
        muted,
        deaf,
    };
    done(&context, command).await
}

fn number(member: &str) -> Result<u32, ApiError> {
    member
        .parse()
        .map_err(|_| ApiError::bad("a member is named by its number in the room"))
}
