//! What happens in the switch, for those who watch.

use crate::{Aor, CallView, InteractionId, InteractionView, LegId, RegistrationView, VerbOutcome};
use clock::Wall;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that happened. In JSON it carries its name: `{"event": "call-changed", "call": {...}}`. Each tells the whole
/// present state of what it is about, so that who missed some is right again with the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A contact was bound, or is reached another way than before. A mere refresh is not told.
    Registered {
        /// The binding as it is now.
        registration: RegistrationView,
    },
    /// A contact is bound no longer.
    Unregistered {
        /// Whose.
        aor: Aor,
        /// Its contact URI.
        #[schema(value_type = String)]
        contact: Box<str>,
    },
    /// A call began.
    CallStarted {
        /// As it is now.
        call: CallView,
    },
    /// Something that [`CallView`] shows changed.
    CallChanged {
        /// As it is now.
        call: CallView,
        /// Users who were in it before this change and are not now.
        left: Vec<Aor>,
    },
    /// A call is over: its legs may still say goodbye, but nobody hears anybody.
    CallEnded {
        /// As it was last.
        call: CallView,
        /// Users who were in it to the end and whose legs are forgotten already.
        left: Vec<Aor>,
    },
    /// An interaction or consultation began.
    InteractionStarted {
        /// As it is now.
        interaction: InteractionView,
    },
    /// Something that [`InteractionView`] shows changed: a party came, went, holds, is muted; case data; its history.
    InteractionChanged {
        /// As it is now.
        interaction: InteractionView,
        /// Users who were in it before this change and are not now.
        left: Vec<Aor>,
    },
    /// An interaction or consultation is over.
    InteractionEnded {
        /// As it was last.
        interaction: InteractionView,
        /// Users who were in it to the end and are not in this view.
        left: Vec<Aor>,
    },
    /// What came of a verb that took its time: a transfer, a consultation, an invitation.
    Verb {
        /// With the client's id of the command.
        outcome: VerbOutcome,
    },
    /// Somebody in a room that mixes began or ceased to speak.
    Talking {
        /// In which call.
        call: InteractionId,
        /// By which leg.
        leg: LegId,
        /// Who, if one of our users.
        user: Option<Aor>,
        /// Speaks now.
        talking: bool,
    },
    /// No new calls are taken from now on.
    Draining,
    /// A new configuration is in force: users, roles and passwords may be others.
    Reloaded,
}

impl Event {
    /// Whether this is any business of `user`: what an agent is told. Supervisors are told everything.
    #[must_use]
    pub fn concerns(&self, user: &Aor) -> bool {
        match self {
            Event::Registered { registration } => registration.aor == *user,
            Event::Unregistered { aor, .. } => aor == user,
            Event::CallStarted { call } => call.includes(user),
            Event::CallChanged { call, left } | Event::CallEnded { call, left } => {
                call.includes(user) || left.contains(user)
            }
            Event::InteractionStarted { interaction } => interaction.includes(user),
            Event::InteractionChanged { interaction, left } | Event::InteractionEnded { interaction, left } => {
                interaction.includes(user) || left.contains(user)
            }
            Event::Verb { outcome } => outcome.by.as_ref() == Some(user),
            Event::Talking { user: who, .. } => who.as_ref() == Some(user),
            Event::Draining | Event::Reloaded => true,
        }
    }
}

/// An event with its place among all events of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Occurrence {
    /// Rises by one from event to event; also above all numbers given before a restart, unless the wall clock was put back.
    pub seq: u64,
    /// When.
    #[serde(with = "crate::wall")]
    #[schema(value_type = i64)]
    pub at: Wall,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// Everything that events keep up to date, at one moment: events with a higher number than `seq` apply to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// Number of the last event that is already in it.
    pub seq: u64,
    /// Who is bound where.
    pub registrations: Vec<RegistrationView>,
    /// Calls that ring or talk.
    pub calls: Vec<CallView>,
    /// Interactions and consultations.
    pub interactions: Vec<InteractionView>,
}
