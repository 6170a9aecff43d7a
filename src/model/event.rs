//! What happens in the switch, for those who watch.

use crate::{
    Aor, CallView, GroupView, ImFailure, ImMessage, ImSession, ImTranscript, InteractionId, InteractionView, LegId,
    MessageId, MessageState, PartyId, PresenceView, RegistrationView, RoomMemberView, RoomView, SessionId, VerbOutcome,
};
use clock::Wall;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Users who are told of something, shared by all events about it.
pub type Insiders = Arc<Vec<Aor>>;

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
    /// Something became of a message; what it says is never told.
    MessageChanged {
        /// Our name of it.
        id: MessageId,
        /// Who sent it.
        from: Aor,
        /// Who reads it.
        to: Aor,
        /// What.
        state: MessageState,
    },
    /// A user began or ceased to type to another (RFC 3994).
    Composing {
        /// Who types.
        from: Aor,
        /// To whom.
        to: Aor,
        /// Types now.
        composing: bool,
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
    /// The first member of a conference room dialled in.
    RoomStarted {
        /// As it is now.
        room: RoomView,
        /// Who is in it: those who are told.
        #[serde(skip)]
        audience: Insiders,
    },
    /// A room was locked or opened.
    RoomLocked {
        /// Which.
        #[schema(value_type = String)]
        room: Box<str>,
        /// Nobody may come in, but moderators by name.
        locked: bool,
        /// Who is in it.
        #[serde(skip)]
        audience: Insiders,
    },
    /// A member came, came further in, was muted, made deaf or freed of that, began or ceased to speak, or is the speaker now or no
    /// longer.
    RoomMember {
        /// In which room.
        #[schema(value_type = String)]
        room: Box<str>,
        /// As it is now.
        member: RoomMemberView,
        /// Who is in it.
        #[serde(skip)]
        audience: Insiders,
    },
    /// A member left.
    RoomLeft {
        /// Which room.
        #[schema(value_type = String)]
        room: Box<str>,
        /// As it was last.
        member: RoomMemberView,
        /// Who was in it.
        #[serde(skip)]
        audience: Insiders,
    },
    /// Nobody is in a room any more.
    RoomEnded {
        /// Which.
        #[schema(value_type = String)]
        room: Box<str>,
        /// Who was in it last.
        #[serde(skip)]
        audience: Insiders,
    },
    /// A user is invited to a session of messages: to be shown with accept and reject. Told to this user alone.
    ImInvited {
        /// Who.
        user: Aor,
        /// The session with its first message, and the case if it is a consultation.
        invitation: ImTranscript,
    },
    /// A user takes part in a session from now on. Told to this user alone, by all their clients: an invitation shown there
    /// is to be taken away.
    ImJoined {
        /// Who.
        user: Aor,
        /// All that was said before.
        transcript: ImTranscript,
    },
    /// Something that [`ImSession`] shows changed, apart from the numbers of messages. Told to its parties alone.
    ImChanged {
        /// As it is now.
        session: ImSession,
        /// Users whose business it was before this change and is not now.
        left: Vec<Aor>,
    },
    /// Something was said. Told to who takes part.
    ImMessage {
        /// What.
        message: ImMessage,
        /// Who is told.
        to: Vec<Aor>,
    },
    /// A message did not reach a party.
    ImFailed {
        /// In which session.
        session: SessionId,
        /// Which message.
        seq: u64,
        /// Whom it did not reach, and why.
        failure: ImFailure,
        /// Who is told.
        to: Vec<Aor>,
    },
    /// How far the messages have come with a party.
    ImRead {
        /// In which session.
        session: SessionId,
        /// Whose marks.
        party: PartyId,
        /// All messages up to this one were taken.
        delivered: u64,
        /// All messages up to this one have been displayed.
        displayed: u64,
        /// Who is told.
        to: Vec<Aor>,
    },
    /// A party writes, or has ceased to.
    ImTyping {
        /// In which session.
        session: SessionId,
        /// Who.
        party: PartyId,
        /// Writes now; it is told again when that ends.
        typing: bool,
        /// Who is told.
        to: Vec<Aor>,
    },
    /// A user has closed the window of a session: gone from the list.
    ImClosed {
        /// Which.
        session: SessionId,
        /// Whose.
        user: Aor,
    },
    /// A user looks different to others: devices, calls, what they said as an agent, what their devices publish.
    PresenceChanged {
        /// As it is now.
        presence: PresenceView,
        /// Who may see it, beside the user and who oversees all; `None`: everybody.
        #[serde(skip)]
        audience: Option<Insiders>,
    },
    /// A group has another number of agents who can be given something, another next one, or others in it.
    GroupChanged {
        /// As it is now.
        group: GroupView,
        /// Who may see it, beside who oversees all; `None`: everybody.
        #[serde(skip)]
        audience: Option<Insiders>,
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
            Event::MessageChanged { from, to, .. } | Event::Composing { from, to, .. } => from == user || to == user,
            Event::PresenceChanged { presence, audience } => {
                presence.aor == *user || audience.as_ref().is_none_or(|audience| audience.contains(user))
            }
            Event::GroupChanged { audience, .. } => audience.as_ref().is_none_or(|audience| audience.contains(user)),
            Event::Talking { user: who, .. } => who.as_ref() == Some(user),
            Event::RoomStarted { audience, .. }
            | Event::RoomLocked { audience, .. }
            | Event::RoomMember { audience, .. }
            | Event::RoomLeft { audience, .. }
            | Event::RoomEnded { audience, .. } => audience.contains(user),
            Event::ImInvited { user: who, .. }
            | Event::ImJoined { user: who, .. }
            | Event::ImClosed { user: who, .. } => who == user,
            Event::ImChanged { session, left } => session.concerns(user) || left.contains(user),
            Event::ImMessage { to, .. }
            | Event::ImFailed { to, .. }
            | Event::ImRead { to, .. }
            | Event::ImTyping { to, .. } => to.contains(user),
            Event::Draining | Event::Reloaded => true,
        }
    }

    /// The event as a user is told it who oversees nothing, where that differs: without supervisors who are hidden, and of
    /// those who left only whether it was he.
    #[must_use]
    pub fn seen_by(&self, user: &Aor) -> Option<Event> {
        let others = |left: &[Aor]| left.iter().any(|aor| aor != user);
        let differs = match self {
            Event::CallStarted { call } => call.hides(),
            Event::CallChanged { call, left } | Event::CallEnded { call, left } => call.hides() || others(left),
            Event::InteractionStarted { interaction } => interaction.hides(),
            Event::InteractionChanged { interaction, left } | Event::InteractionEnded { interaction, left } => {
                interaction.hides() || others(left)
            }
            _ => false,
        };
        if !differs {
            return None;
        }
        let own = |left: &[Aor]| left.iter().filter(|aor| *aor == user).cloned().collect::<Vec<_>>();
        let mut seen = self.clone();
        match &mut seen {
            Event::CallStarted { call } => *call = call.clone().seen_by(user),
            Event::CallChanged { call, left } | Event::CallEnded { call, left } => {
                (*call, *left) = (call.clone().seen_by(user), own(left));
            }
            Event::InteractionStarted { interaction } => *interaction = interaction.clone().seen_by(user),
            Event::InteractionChanged { interaction, left } | Event::InteractionEnded { interaction, left } => {
                (*interaction, *left) = (interaction.clone().seen_by(user), own(left));
            }
            _ => {}
        }
        Some(seen)
    }

    /// Whether only whom it concerns is told, whatever role others have: what people write to each other.
    #[must_use]
    pub fn is_private(&self) -> bool {
        matches!(
            self,
            Event::ImInvited { .. }
                | Event::ImJoined { .. }
                | Event::ImChanged { .. }
                | Event::ImMessage { .. }
                | Event::ImFailed { .. }
                | Event::ImRead { .. }
                | Event::ImTyping { .. }
                | Event::ImClosed { .. }
        )
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
    /// Conference rooms with somebody in them; for who oversees nothing, those he is in.
    #[serde(default)]
    pub rooms: Vec<RoomView>,
    /// Sessions of messages in which the one who asks takes or took part, with what they may read.
    pub sessions: Vec<ImTranscript>,
    /// Agents, as far as who asks may see them, and who asks.
    #[serde(default)]
    pub presence: Vec<PresenceView>,
    /// Groups of agents, as far as who asks may see them.
    #[serde(default)]
    pub groups: Vec<GroupView>,
}

impl Snapshot {
    /// As a user is told it who oversees nothing.
    #[must_use]
    pub fn seen_by(mut self, user: &Aor) -> Snapshot {
        self.calls = self.calls.into_iter().map(|call| call.seen_by(user)).collect();
        let interactions = self.interactions.into_iter();
        self.interactions = interactions.map(|view| view.seen_by(user)).collect();
        self
    }
}
