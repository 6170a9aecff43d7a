//! Call records: pages of JSON, and CSV for spreadsheets.

use super::{Answered, aor, read_store};
use crate::access::{Caller, Supervisor};
use crate::{ApiError, Context};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::IntoResponse;
use clock::Wall;
use model::{CSV_HEADER, Cdr, InteractionId, RecordingRow, csv_row};
use serde::{Deserialize, Serialize};
use store::{CdrQuery, CdrRow};
use utoipa::{IntoParams, ToSchema};

/// Records on a page if the question does not say.
const PAGE: u32 = 100;
/// Most records on a page: one answer is some hundred kilobytes.
const MAX_PAGE: u32 = 1_000;
/// Most records in one CSV: some megabytes. The next part begins with `before` and the last number of this one.
const MAX_EXPORT: u32 = 10_000;

/// Which records.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CdrQuestion {
    /// At most so many: 1 to 1000, else 100; in a CSV 1 to 10000, else all of these.
    limit: Option<u32>,
    /// Only records kept before the one with this `seq`: the next page.
    before: Option<u64>,
    /// Only legs of this call.
    #[param(value_type = Option<String>)]
    call: Option<InteractionId>,
    /// Only legs of this user: extension, or extension@domain.
    user: Option<String>,
    /// Only legs that ended at this moment or later: milliseconds since 1970 UTC.
    since: Option<i64>,
    /// Only legs that ended before this moment: milliseconds since 1970 UTC.
    until: Option<i64>,
}

impl CdrQuestion {
    /// For the store; an agent asks for their own.
    fn query(&self, context: &Context, caller: &Caller) -> Result<CdrQuery, ApiError> {
        let asked = self.user.as_ref().map(|user| aor(context, user)).transpose()?;
        Ok(CdrQuery {
            call: self.call,
            user: caller.scope().cloned().or(asked),
            since: self.since.map(Wall),
            until: self.until.map(Wall),
            before: self.before,
        })
    }
}

/// A record with its place in the listing.
#[derive(Serialize, ToSchema)]
pub(crate) struct CdrLine {
    /// Rises in the order in which records were kept.
    seq: u64,
    #[serde(flatten)]
    cdr: Cdr,
}

/// Call records.
#[derive(Serialize, ToSchema)]
pub(crate) struct Cdrs {
    cdrs: Vec<CdrLine>,
}

/// Call records, one for each leg; an agent's are those of their own devices.
#[utoipa::path(get, path = "/api/v1/cdrs", tag = "records", params(CdrQuestion),
    responses((status = 200, description = "The latest first.", body = Cdrs)))]
pub(crate) async fn list(
    caller: Caller,
    State(context): State<Context>,
    question: Result<Query<CdrQuestion>, QueryRejection>,
) -> Answered<Cdrs> {
    let question = question?.0;
    let limit = question.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let query = question.query(&context, &caller)?;
    let rows = read_store(context, move |reader| reader.find_cdrs(&query, limit)).await?;
    let line = |CdrRow { seq, cdr }| CdrLine { seq, cdr };
    Ok(Json(Cdrs {
        cdrs: rows.into_iter().map(line).collect(),
    }))
}

/// The same as a CSV file (RFC 4180).
#[utoipa::path(get, path = "/api/v1/cdrs.csv", tag = "records", params(CdrQuestion),
    responses((status = 200, description = "A header line, then the latest first.", body = String, content_type = "text/csv")))]
pub(crate) async fn export(
    caller: Caller,
    State(context): State<Context>,
    question: Result<Query<CdrQuestion>, QueryRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let question = question?.0;
    let limit = question.limit.unwrap_or(MAX_EXPORT).clamp(1, MAX_EXPORT);
    let query = question.query(&context, &caller)?;
    let text = read_store(context, move |reader| {
        let rows = reader.find_cdrs(&query, limit)?;
        let lines = rows.iter().map(|row| csv_row(row.seq, &row.cdr));
        Ok(std::iter::once(CSV_HEADER.to_owned()).chain(lines).collect::<String>())
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"cdrs.csv\""),
    ];
    Ok((headers, text.await?))
}

/// Which recordings.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RecordingQuestion {
    /// At most so many: 1 to 1000, else 100.
    limit: Option<u32>,
    /// Only those of this call.
    #[param(value_type = Option<String>)]
    call: Option<InteractionId>,
}

/// Files of recorded sound.
#[derive(Serialize, ToSchema)]
pub(crate) struct Recordings {
    recordings: Vec<RecordingRow>,
}

/// What was recorded, and what is. The files themselves are in the directory of recordings.
#[utoipa::path(get, path = "/api/v1/recordings", tag = "records", params(RecordingQuestion),
    responses((status = 200, description = "The latest first; of one call the first first.", body = Recordings)))]
pub(crate) async fn recordings(
    _: Supervisor,
    State(context): State<Context>,
    question: Result<Query<RecordingQuestion>, QueryRejection>,
) -> Answered<Recordings> {
    let question = question?.0;
    let limit = question.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let rows = read_store(context, move |reader| match question.call {
        Some(call) => reader.recordings_of(call),
        None => reader.recordings(limit),
    });
    Ok(Json(Recordings {
        recordings: rows.await?,
    }))
}
