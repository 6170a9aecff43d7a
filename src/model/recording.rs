//! What was recorded.

use crate::InteractionId;
use clock::Wall;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One file of recorded sound. Written when the recording begins, and again when it has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordingRow {
    /// The file's name without `.wav`; the row's key.
    #[schema(value_type = String)]
    pub name: Box<str>,
    /// The call.
    pub interaction: InteractionId,
    /// When it began.
    #[serde(with = "crate::wall")]
    #[schema(value_type = i64)]
    pub started_at: Wall,
    /// When its file was closed; none while it goes on, and for ever if the node ended with it.
    #[serde(with = "crate::wall::option")]
    #[schema(value_type = Option<i64>)]
    pub ended_at: Option<Wall>,
    /// Milliseconds of sound in the file.
    pub length_ms: u64,
    /// Milliseconds that are not in the file although they should be: 0 if it is complete.
    pub missing_ms: u64,
    /// Size of the file.
    pub bytes: u64,
    /// The first thing that went wrong.
    #[schema(value_type = Option<String>)]
    pub error: Option<Box<str>>,
}
