//! `/api/v1/rooms`: conference rooms with somebody in them.

use crate::api::{Answered, Done, ask, done, read, unexpected};
use crate::{ApiError, Code, Context};
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::{delete, get};
use axum::{Json, Router};
use model::RoomView;
use serde::{Deserialize, Serialize};
use switch::{Answer, Command};

pub(crate) fn router() -> Router<Context> {
    Router::new()
        .route("/api/v1/rooms", get(rooms))
        .route("/api/v1/rooms/{room}", get(room).patch(lock).delete(drop_all))
        .route("/api/v1/rooms/{room}/members/{member}", delete(drop_member).patch(mute))
}

/// `{"rooms": [...]}`.
#[derive(Serialize)]
struct Rooms {
    rooms: Vec<RoomView>,
}

async fn rooms(State(context): State<Context>) -> Answered<Rooms> {
    list(&context, Command::Rooms).await
}

async fn room(State(context): State<Context>, Path(room): Path<Box<str>>) -> Answered<RoomView> {
    let found = list(&context, Command::Room(room.clone())).await?.0.rooms.pop();
    found
        .map(Json)
        .ok_or_else(|| ApiError::new(Code::NotFound, format!("nobody is in a room {room:?}")))
}

async fn list(context: &Context, command: Command) -> Answered<Rooms> {
    match ask(context, command).await? {
        Answer::Rooms(rooms) => Ok(Json(Rooms { rooms })),
        other => Err(unexpected(&other)),
    }
}

/// `{"locked": true}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockWish {
    locked: bool,
}

async fn lock(State(context): State<Context>, Path(room): Path<Box<str>>, body: Bytes) -> Answered<Done> {
    let LockWish { locked } = read(&body)?;
    done(&context, Command::RoomLock { room, locked }).await
}

async fn drop_all(State(context): State<Context>, Path(room): Path<Box<str>>) -> Answered<Done> {
    done(&context, Command::RoomDrop { room, member: None }).await
}

async fn drop_member(State(context): State<Context>, Path((room, member)): Path<(Box<str>, String)>) -> Answered<Done> {
    let member = Some(number(&member)?);
    done(&context, Command::RoomDrop { room, member }).await
}

/// What is left out stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MuteWish {
    /// Nobody hears the member.
    muted: Option<bool>,
    /// The member hears nobody.
    deaf: Option<bool>,
}

async fn mute(
    State(context): State<Context>,
    Path((room, member)): Path<(Box<str>, String)>,
    body: Bytes,
) -> Answered<Done> {
    let member = number(&member)?;
    let MuteWish { muted, deaf } = read(&body)?;
    let command = Command::RoomMute {
        room,
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
