//! Instant messages that wait for their reader.

use crate::{Aor, MessageId};
use clock::Wall;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

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
    /// A device has it: of all others only those in `owed` are to get it.
    #[serde(default)]
    pub is_taken: bool,
    /// Devices that are to get a copy of their own, each by [`KnownDevice::key`].
    #[serde(default)]
    pub owed: Vec<Box<str>>,
    /// What its sender calls it, to be told what becomes of it (RFC 5438); may be empty.
    #[serde(default)]
    pub imdn_id: Box<str>,
    /// What its sender wants to hear, as a set of [`Receipt::wants`].
    #[serde(default)]
    pub wants: u8,
}

impl StoredMessage {
    /// Whether this device is to get it; the empty name stands for whichever comes first.
    #[must_use]
    pub fn is_for(&self, device: &str) -> bool {
        !self.is_taken || self.owed.iter().any(|owed| **owed == *device)
    }

    /// A device took it, or will not; how many are still to get it, and whoever comes first while nobody has it.
    pub fn take(&mut self, device: &str, has_it: bool) -> usize {
        self.is_taken |= has_it;
        self.owed.retain(|owed| **owed != *device);
        self.owed.len() + usize::from(!self.is_taken)
    }
}

/// A message that waits for its reader, as operators are shown it: what it says is nobody else's business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingMessage {
    /// Which; rises in the order of acceptance.
    pub id: MessageId,
    /// Who wrote it.
    pub from: Aor,
    /// When it was accepted.
    #[serde(with = "crate::wall")]
    #[schema(value_type = i64)]
    pub accepted_at: Wall,
    /// When it is given up.
    #[serde(with = "crate::wall")]
    #[schema(value_type = i64)]
    pub expires_at: Wall,
    /// Content-Type of its body.
    #[schema(value_type = String)]
    pub content_type: Box<str>,
    /// Length of its body.
    pub bytes: u64,
    /// A device has it; those in `owed` are still to get it.
    pub is_taken: bool,
    /// Devices that are to get a copy of their own, by name.
    #[schema(value_type = Vec<String>)]
    pub owed: Vec<Box<str>>,
}

/// What became of a message.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MessageState {
    /// It is on disk and waits for a device of its reader.
    Stored,
    /// A device of the reader took it.
    Delivered,
    /// The reader has seen it: a device said so.
    Displayed,
    /// Nobody will get it.
    Failed,
}

/// A device of a user that was there once, and is expected to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownDevice {
    /// Whose.
    pub aor: Aor,
    /// `+sip.instance` of its Contact, or the Contact URI of a device that has none.
    pub key: Box<str>,
    /// When it registered, to the day or so.
    pub seen_at: Wall,
    /// Which bodies it takes, as far as that is known: bits that only `switch` understands.
    pub takes: u32,
}

/// What has become of a message whose sender wants to hear of it (RFC 5438): 1 delivered, 2 displayed, 4 failed, as sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The message.
    pub id: MessageId,
    /// Who sent it, and is told.
    pub sender: Aor,
    /// Who reads it.
    pub reader: Aor,
    /// What the sender calls it.
    pub imdn_id: Box<str>,
    /// What the sender wants to hear.
    pub wants: u8,
    /// What has happened.
    pub seen: u8,
    /// What the sender has been told.
    pub told: u8,
    /// When the message was accepted.
    pub accepted_at: Wall,
    /// When nobody waits for more.
    pub expires_at: Wall,
}

impl KnownDevice {
    /// A device that was not seen for so long is forgotten, with what waited for it.
    pub const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);
}
