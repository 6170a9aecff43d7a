//! What the API and the command line show. JSON names follow the field.

use crate::{Aor, EndReason, InteractionId, LegId, Transport};
use clock::Wall;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use utoipa::ToSchema;

/// One row of `registrations list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegistrationView {
    /// Whose.
    pub aor: Aor,
    /// Contact URI.
    #[schema(value_type = String)]
    pub contact: Box<str>,
    /// How it is reached.
    pub transport: Transport,
    /// Where its packets come from.
    #[schema(value_type = String)]
    pub source: SocketAddr,
    /// Preference, 0 to 1000 thousandths.
    pub q: u16,
    /// Seconds until it ends.
    pub expires_s: u64,
    /// User-Agent header.
    #[schema(value_type = String)]
    pub user_agent: Box<str>,
    /// False: it gave no answer when it was asked whether it is there (`[registrar] qualify`), and is not called.
    pub answers: bool,
}

/// One row of `bans list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BanView {
    /// An IPv4 address, or an IPv6 network of 64 bits.
    #[schema(value_type = String)]
    pub source: Box<str>,
    /// `auth-failed`, `auth-limited`, `identity-mismatch`, `scanner`, `malformed`, or `operator`.
    #[schema(value_type = String)]
    pub why: Box<str>,
    /// Seconds until it ends.
    pub expires_s: u64,
    /// Packets dropped so far.
    pub dropped: u64,
}

/// One row of `calls list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallView {
    /// The call.
    pub id: InteractionId,
    /// When it began.
    #[serde(with = "crate::wall")]
    #[schema(value_type = i64)]
    pub started_at: Wall,
    /// When it was answered.
    #[serde(with = "crate::wall::option")]
    #[schema(value_type = Option<i64>)]
    pub answered_at: Option<Wall>,
    /// `ringing`, `answered` or `ending`.
    #[schema(value_type = String)]
    pub state: Box<str>,
    /// Its legs, the caller's first.
    pub legs: Vec<LegView>,
}

/// Whether something with this `shown_to` is shown to a user who oversees nothing.
#[must_use]
pub fn is_shown(shown_to: Option<&Vec<Aor>>, user: &Aor) -> bool {
    shown_to.is_none_or(|users| users.contains(user))
}

impl CallView {
    /// Some of it is not for everybody who takes part.
    #[must_use]
    pub fn hides(&self) -> bool {
        self.legs.iter().any(|leg| leg.shown_to.is_some())
    }

    /// As this user is shown it.
    #[must_use]
    pub fn seen_by(mut self, user: &Aor) -> CallView {
        self.legs.retain(|leg| is_shown(leg.shown_to.as_ref(), user));
        self
    }

    /// Whether one of its legs is a device of this user.
    #[must_use]
    pub fn includes(&self, user: &Aor) -> bool {
        self.legs.iter().any(|leg| leg.user.as_ref() == Some(user))
    }
}

/// One leg of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LegView {
    /// The leg.
    pub id: LegId,
    /// The user, if one of ours.
    pub user: Option<Aor>,
    /// The other end's URI.
    #[schema(value_type = String)]
    pub uri: Box<str>,
    /// SIP Call-ID.
    #[schema(value_type = String)]
    pub call_id: Box<str>,
    /// `calling`, `ringing`, `up`, `ended`.
    #[schema(value_type = String)]
    pub state: Box<str>,
    /// Negotiated codec; empty if none yet.
    #[schema(value_type = String)]
    pub codec: Box<str>,
    /// Our RTP port; 0 if none.
    pub rtp_port: u16,
    /// Why it ended, once it has.
    pub reason: Option<EndReason>,
    /// A supervisor who is heard by the agent at most: shown only to these, and to who oversees all. `None`: to everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_to: Option<Vec<Aor>>,
}

/// One row of `rooms list`: a conference room with somebody in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomView {
    /// What is dialled.
    #[schema(value_type = String)]
    pub name: Box<str>,
    /// Highest sampling rate of its mix, in Hz.
    pub rate_hz: u32,
    /// When its first member came.
    #[serde(with = "crate::wall")]
    #[schema(value_type = i64)]
    pub started_at: Wall,
    /// Nobody may come in, but moderators by name.
    pub locked: bool,
    /// Most members.
    pub max_members: u64,
    /// In the order they came.
    pub members: Vec<RoomMemberView>,
}

/// One member of a conference room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoomMemberView {
    /// Names the member in the room; never reused while the room is open.
    pub id: u32,
    /// Its call.
    pub call: Option<InteractionId>,
    /// The user, if one of ours.
    pub user: Option<Aor>,
    /// As shown to others: `"Name" <number>`.
    #[schema(value_type = String)]
    pub shown: Box<str>,
    /// `arriving`, `pin`, `waiting` (for a moderator) or `inside`.
    #[schema(value_type = String)]
    pub state: Box<str>,
    /// Lets the others in, and may end it by leaving.
    pub moderator: bool,
    /// Nobody hears the member.
    pub muted: bool,
    /// The member hears nobody.
    pub deaf: bool,
    /// Speaks now. Known in rooms that mix: from three members on.
    pub talking: bool,
    /// The loudest of those who spoke last: whom a page shows large. Goes on in pauses; known from three members on.
    #[serde(default)]
    pub speaker: bool,
    /// When the member dialled in.
    #[serde(with = "crate::wall")]
    #[schema(value_type = i64)]
    pub came_at: Wall,
}

/// One leg of a call as its media is just now: for people and test tools who cannot listen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LegSoundView {
    /// The leg.
    pub leg: LegId,
    /// The user, if one of ours.
    pub user: Option<Aor>,
    /// The other end's URI.
    #[schema(value_type = String)]
    pub uri: Box<str>,
    /// Negotiated codec.
    #[schema(value_type = String)]
    pub codec: Box<str>,
    /// How what the device is sent is made: `relay` (another leg's packets as they came), `transcode` (of one leg), `mix`, or
    /// `nothing`.
    #[schema(value_type = String)]
    pub mode: Box<str>,
    /// RTP packets accepted from the device.
    pub packets_in: u64,
    /// RTP packets sent to the device.
    pub packets_out: u64,
    /// Packets of the device that never came.
    pub lost: u64,
    /// Packets that came a second time.
    pub duplicates: u64,
    /// Packets from elsewhere, dropped.
    pub strangers: u64,
    /// Interarrival jitter of the device's packets (RFC 3550 section 6.4.1).
    pub jitter_ms: f32,
    /// Packets of ours the device reports lost.
    pub remote_lost: u64,
    /// Jitter the device reports.
    pub remote_jitter_ms: f32,
    /// By the device's last report.
    pub round_trip_ms: Option<f32>,
    /// How the device sounds to us, 1 to 4.5 (ITU-T G.107).
    pub mos: Option<f32>,
    /// What the device sends.
    pub received: HeardView,
    /// What the device is sent.
    pub sent: HeardView,
}

/// What is heard on one direction of a leg.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HeardView {
    /// Mean level: 0 is a square wave at full scale, speech some -26; none if there was no sound.
    pub level_dbov: Option<f32>,
    /// Tones of the last three seconds, the loudest first.
    pub tones: Vec<HeardToneView>,
}

/// A tone that was heard.
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HeardToneView {
    /// Frequency.
    pub hz: f32,
    /// How loud.
    pub dbm0: f32,
    /// For how long in all.
    pub ms: u32,
    /// How long ago it was heard last.
    pub ago_ms: u32,
}

/// What `tandem status` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// Version of the program.
    #[schema(value_type = String)]
    pub version: Box<str>,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// `running` or `draining`.
    #[schema(value_type = String)]
    pub state: Box<str>,
    /// Bound contacts.
    pub registrations: u64,
    /// Calls up or ringing.
    pub calls: u64,
    /// SIP transactions alive.
    pub transactions: u64,
    /// Messages that wait for their reader.
    pub messages_waiting: u64,
    /// RTP ports in use.
    pub rtp_ports: u64,
}
