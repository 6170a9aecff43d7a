//! Who is not listened to.

use super::{Answered, Done, ask, done, read, unexpected};
use crate::access::Admin;
use crate::{ApiError, Context};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use model::BanView;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;
use switch::{Answer, Command};
use utoipa::ToSchema;

/// The longest ban: whoever is to be kept out longer belongs in the firewall.
const MAX_S: u64 = 30 * 86_400;

/// Sources that are banned now.
#[derive(Serialize, ToSchema)]
pub(crate) struct BanList {
    bans: Vec<BanView>,
}

/// Who is not listened to. Admins.
#[utoipa::path(get, path = "/api/v1/bans", tag = "bans",
    responses((status = 200, description = "Who is free first comes first.", body = BanList)))]
pub(crate) async fn list(_: Admin, State(context): State<Context>) -> Answered<BanList> {
    match ask(&context, Command::Bans).await? {
        Answer::Bans(bans) => Ok(Json(BanList { bans })),
        other => Err(unexpected(&other)),
    }
}

/// Whom to ban.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BanWish {
    /// An address; of IPv6 its network of 64 bits is meant.
    #[schema(value_type = String)]
    address: IpAddr,
    /// For so many seconds, 30 days at most.
    for_s: u64,
}

/// Listen to a source no longer, also where phones are registered there. Admins.
#[utoipa::path(post, path = "/api/v1/bans", tag = "bans", request_body = BanWish,
    responses((status = 200, description = "It is banned.", body = Done)))]
pub(crate) async fn add(_: Admin, State(context): State<Context>, body: Bytes) -> Answered<Done> {
    let BanWish { address, for_s } = read(&body)?;
    if !(1..=MAX_S).contains(&for_s) {
        return Err(ApiError::bad("for_s is from 1 second to 30 days"));
    }
    let time = Duration::from_secs(for_s);
    done(&context, Command::Ban { address, time }).await
}

/// Listen to a source again. Admins.
#[utoipa::path(delete, path = "/api/v1/bans/{source}", tag = "bans",
    params(("source" = String, Path, description = "As the list shows it, or an address in it.")),
    responses((status = 200, description = "It is banned no longer.", body = Done)))]
pub(crate) async fn lift(_: Admin, State(context): State<Context>, Path(source): Path<String>) -> Answered<Done> {
    let address = source.strip_suffix("/64").unwrap_or(&source).parse();
    let address = address.map_err(|_| ApiError::bad("expected an address"))?;
    done(&context, Command::LiftBan(Some(address))).await
}

/// Listen to everybody again. Admins.
#[utoipa::path(delete, path = "/api/v1/bans", tag = "bans",
    responses((status = 200, description = "How many bans ended.", body = Done)))]
pub(crate) async fn lift_all(_: Admin, State(context): State<Context>) -> Answered<Done> {
    done(&context, Command::LiftBan(None)).await
}
