//! Call detail records: one row per leg.

use crate::{Aor, InteractionId, LegId, Purpose};
use clock::Wall;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who called whom on this leg.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The device called the switch.
    In,
    /// The switch called the device.
    Out,
}

/// Who ended a leg.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndedBy {
    /// The device of this leg.
    Peer,
    /// The other side of the call.
    Other,
    /// The switch: a timer, an operator, a fault.
    Switch,
}

/// Why a leg ended, in the operator's words.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// BYE after an answer.
    Normal,
    /// The caller gave up before an answer.
    Cancelled,
    /// 486 or 600.
    Busy,
    /// Nobody answered in time.
    NoAnswer,
    /// 603 and other refusals.
    Declined,
    /// Nobody is registered, or no such user.
    Unreachable,
    /// Another device of the same user answered.
    AnsweredElsewhere,
    /// Neither RTP nor RTCP arrived for the configured time.
    MediaTimeout,
    /// A device did not answer a request inside the dialog.
    SignallingTimeout,
    /// Offer and answer did not meet: 488.
    NoCommonCodec,
    /// Loop or too many hops: 482, 483.
    Loop,
    /// No port or other resource: 503.
    Congestion,
    /// An operator hung it up.
    Operator,
    /// The node was told to stop.
    Shutdown,
    /// The node had ended while the call was up.
    Restart,
    /// A fault of the switch itself.
    Internal,
}

/// One leg's record, written when the leg ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cdr {
    /// The call it belongs to.
    pub interaction: InteractionId,
    /// The leg; the record's key.
    pub leg: LegId,
    /// Who called whom.
    pub direction: Direction,
    /// The user of this leg's device, if it is one of ours.
    pub user: Option<Aor>,
    /// From as shown to this leg: display name and number, `"Name" <user>`.
    #[schema(value_type = String)]
    pub caller: Box<str>,
    /// What was dialled.
    #[schema(value_type = String)]
    pub callee: Box<str>,
    /// SIP Call-ID of the leg's dialog.
    #[schema(value_type = String)]
    pub call_id: Box<str>,
    /// INVITE received or sent.
    #[serde(with = "crate::wall")]
    #[schema(value_type = i64)]
    pub started_at: Wall,
    /// First 180 or 183.
    #[serde(with = "crate::wall::option")]
    #[schema(value_type = Option<i64>)]
    pub ringing_at: Option<Wall>,
    /// 2xx.
    #[serde(with = "crate::wall::option")]
    #[schema(value_type = Option<i64>)]
    pub answered_at: Option<Wall>,
    /// The end.
    #[serde(with = "crate::wall")]
    #[schema(value_type = i64)]
    pub ended_at: Wall,
    /// Who ended it.
    pub ended_by: EndedBy,
    /// Why.
    pub reason: EndReason,
    /// Final SIP status of the INVITE.
    pub status: u16,
    /// Negotiated audio codec, for example `PCMU/8000`; empty if none.
    #[schema(value_type = String)]
    pub codec: Box<str>,
    /// RTP packets received from and sent to the device, and lost on the way in.
    #[schema(value_type = Vec<u64>)]
    pub packets: (u64, u64, u64),
    /// How it sounded.
    #[serde(default)]
    pub quality: Quality,
    /// The interaction that this leg's was made for, or that the leg came from by a transfer or into a conference.
    #[serde(default)]
    pub link: Option<CdrLink>,
    /// To whom this leg transferred its contact, as dialled; empty if it did not.
    #[serde(default)]
    #[schema(value_type = String)]
    pub transferred_to: Box<str>,
}

impl Cdr {
    /// Of what is kept of a leg that is up: its call goes on when the switch dies, for it is passed on, and the reason is the one
    /// it ends with if nobody ever says that it has ended.
    #[must_use]
    pub fn outlives_the_switch(&self) -> bool {
        self.reason != EndReason::Restart
    }
}

/// Another interaction that a record has to do with.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CdrLink {
    /// Which.
    pub interaction: InteractionId,
    /// How.
    pub how: Purpose,
}

/// How a leg sounded, as its packets and RTCP told.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quality {
    /// Interarrival jitter of the device's packets at the end (RFC 3550 section 6.4.1).
    pub jitter_ms: u32,
    /// Packets of ours that the device reported lost.
    pub remote_lost: u64,
    /// Jitter of our packets that the device reported last.
    pub remote_jitter_ms: u32,
    /// By the device's last report that allowed to compute it.
    pub round_trip_ms: Option<u32>,
    /// How the device sounded to us, 100 to 450 hundredths of a mean opinion score (ITU-T G.107); none before sound came.
    pub mos_hundredths: Option<u16>,
}
