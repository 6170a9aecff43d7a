//! Instant messages that wait for their reader.

use crate::{Aor, MessageId};
use clock::Wall;
use serde::{Deserialize, Serialize};

/// A MESSAGE accepted with 202 and not yet delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMessage {
    /// Rises in the order of acceptance: delivery goes in this order for each target.
    pub id: MessageId,
    /// Whom it is for.
    pub to: Aor,
    /// Who sent it, authenticated.
    pub from: Aor,
    /// The sender's display name, free of control characters; may be empty.
    pub from_display: Box<str>,
    /// Call-ID of the sender's MESSAGE: with `cseq`, `from` and `to` it tells a retry from a new message.
    pub call_id: Box<str>,
    /// CSeq number of the sender's MESSAGE.
    pub cseq: u32,
    /// Content-Type as received.
    pub content_type: Box<str>,
    /// The body, as received.
    pub body: Vec<u8>,
    /// When it was accepted: the Date of the delivered MESSAGE.
    #[serde(with = "crate::wall")]
    pub accepted_at: Wall,
    /// When it is given up.
    #[serde(with = "crate::wall")]
    pub expires_at: Wall,
}
