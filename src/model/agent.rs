//! Agents and presence: what an agent said, and what of it and of the devices is shown to others.

use crate::{Aor, Medium};
use clock::Wall;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an agent wants in one medium; kept over a restart. What is shown of it also depends on what is real: see
/// [`AgentStatus`].
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Willing {
    /// Does not work.
    LoggedOff,
    /// Works, and is to be given nothing: a break, a meeting.
    NotReady,
    /// Takes what comes.
    Ready,
}

/// What an agent said last of a medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// What.
    pub willing: Willing,
    /// Why not ready; may be empty.
    pub reason: Box<str>,
    /// When.
    #[serde(with = "crate::wall")]
    pub since: Wall,
}

/// How an agent is in one medium.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AgentStatus {
    /// Does not work, or cannot be reached: no device is registered and no page is open.
    #[default]
    LoggedOff,
    /// Is to be given nothing: see [`ChannelView::reason`].
    NotReady,
    /// Does what is left to do after a call.
    AfterCall,
    /// Has as much as one can have: a call, or so many sessions.
    Busy,
    /// Can be given something.
    Ready,
}

/// One medium of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct ChannelView {
    /// How it is.
    pub state: AgentStatus,
    /// Why not ready; else empty.
    #[schema(value_type = String)]
    pub reason: Box<str>,
    /// Since when.
    #[serde(with = "crate::wall")]
    #[schema(value_type = i64)]
    pub since: Wall,
    /// Calls or sessions that ring or go on.
    pub engaged: u32,
}

/// How a user's devices are.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceState {
    /// None is registered.
    #[default]
    Offline,
    /// One is registered, and there is no call.
    Idle,
    /// One rings.
    Ringing,
    /// One is in a call, or calls.
    InCall,
}

/// What others see of a user: device, agent and what the user's own devices publish, in one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct PresenceView {
    /// Whose.
    pub aor: Aor,
    /// Display name.
    #[schema(value_type = String)]
    pub name: Box<str>,
    /// The devices.
    pub device: DeviceState,
    /// Calls are refused.
    pub do_not_disturb: bool,
    /// As an agent by voice; none: no agent.
    pub voice: Option<ChannelView>,
    /// As an agent by instant message; none: no agent, or one who may not use it.
    pub im: Option<ChannelView>,
    /// What a device of the user published for people to read; may be empty.
    #[schema(value_type = String)]
    pub note: Box<str>,
    /// What a device of the user published that they do, by RFC 4480's name, e.g. `away`; may be empty.
    #[schema(value_type = String)]
    pub activity: Box<str>,
    /// All devices publish that they are not to be reached.
    pub hides: bool,
    /// All of it in a word or two, as the SIP packages say it too: `ready`, `on the phone`, `meal`, `logged off`.
    #[schema(value_type = String)]
    pub text: Box<str>,
}

impl PresenceView {
    /// One medium, if the user is an agent in it.
    #[must_use]
    pub fn channel(&self, medium: Medium) -> Option<&ChannelView> {
        match medium {
            Medium::Voice => self.voice.as_ref(),
            Medium::Im => self.im.as_ref(),
        }
    }
}

/// A group of agents.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub struct GroupView {
    /// What is dialled.
    #[schema(value_type = String)]
    pub number: Box<str>,
    /// Its name.
    #[schema(value_type = String)]
    pub name: Box<str>,
    /// The skill that makes an agent a member, if not a list does.
    #[schema(value_type = Option<String>)]
    pub skill: Option<Box<str>>,
    /// Its agents, in order.
    pub members: Vec<Aor>,
    /// How many can be given a call now.
    pub ready_voice: u32,
    /// How many can be given a session of messages now.
    pub ready_im: u32,
    /// Who is next to be given a call.
    pub next_voice: Option<Aor>,
    /// Who is next to be given a session of messages.
    pub next_im: Option<Aor>,
}

/// Longest reason or note, in characters: what fits on a phone's display.
pub const REASON_MAX: usize = 64;
