//! The directory: whom one can reach, how they are, and what they can take now.

use crate::{GroupView, InteractionId, PresenceView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What kind of target.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// A user who works as an agent.
    Agent,
    /// A user who oversees others.
    Supervisor,
    /// Any other user.
    User,
    /// A group of agents.
    Group,
    /// All agents with a skill.
    Skill,
}

/// What can be done with a target now.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetAction {
    /// Call them.
    Call,
    /// Send them an instant message.
    Im,
    /// Consult them about the interaction, by voice.
    ConsultVoice,
    /// Consult them about the interaction, by instant message.
    ConsultIm,
    /// Transfer the interaction to them at once.
    Transfer,
    /// Let them join the interaction at once.
    Conference,
    /// They take the interaction over from who consults them.
    CompleteTransfer,
    /// They join the interaction about which they are consulted.
    CompleteConference,
}

/// One line of the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DirectoryEntry {
    /// What it is.
    pub kind: TargetKind,
    /// What is dialled, and what commands take as `target`: an extension, the number of a group, `skill:german`.
    #[schema(value_type = String)]
    pub target: Box<str>,
    /// Display name.
    #[schema(value_type = String)]
    pub name: Box<str>,
    /// May be empty.
    #[schema(value_type = String)]
    pub email: Box<str>,
    /// Of an agent.
    #[schema(value_type = Vec<String>)]
    pub skills: Vec<Box<str>>,
    /// Of a user whom who asks may watch.
    pub presence: Option<PresenceView>,
    /// Of a group: who of it is ready.
    pub group: Option<GroupView>,
    /// What they can take now, in the order of a menu; empty: nothing.
    pub actions: Vec<TargetAction>,
    /// The consultation of who asks in which this one takes part.
    pub consultation: Option<InteractionId>,
}
