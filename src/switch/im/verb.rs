//! What can be done to sessions of messages: the verbs, as data.

use crate::By;
use model::{InteractionId, PartyId, SessionId};

/// One verb, with who asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImAct {
    /// Who. A user acts as the party that he is; an operator can only end a session.
    pub by: By,
    /// The client's own id of this command: what comes of [`ImVerb::Voice`] is told with it.
    pub client: Box<str>,
    /// What.
    pub verb: ImVerb,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImVerb {
    /// Opens a window to somebody; nothing is sent before the first message.
    Open {
        /// Extension or number, as dialled.
        target: Box<str>,
        /// A consultation about this interaction.
        interaction: Option<InteractionId>,
        /// The first message.
        text: Option<Box<str>>,
    },
    /// Says something; the first time that invites. [`crate::Answer::Sent`] when it is on disk.
    Send {
        /// Where.
        session: SessionId,
        /// What.
        text: Box<str>,
    },
    /// Takes an invitation.
    Accept {
        /// Whose.
        session: SessionId,
    },
    /// Refuses an invitation.
    Reject {
        /// Whose.
        session: SessionId,
    },
    /// Ends the session of two; leaves one of more.
    End {
        /// Which.
        session: SessionId,
    },
    /// Closes the window of a session that is over, was never begun, or was not accepted yet.
    Done {
        /// Which.
        session: SessionId,
    },
    /// Writes, or no more; holds for 15 s.
    Typing {
        /// Where.
        session: SessionId,
        /// Writes.
        on: bool,
    },
    /// Everything up to this message has come to a page.
    Read {
        /// Where.
        session: SessionId,
        /// Number of the message.
        seq: u64,
        /// And was displayed there.
        displayed: bool,
    },
    /// Asks somebody to join.
    Add {
        /// Where.
        session: SessionId,
        /// Extension or number, as dialled.
        target: Box<str>,
    },
    /// Takes a party out, or its invitation back.
    Drop {
        /// Where.
        session: SessionId,
        /// Whom.
        party: PartyId,
    },
    /// Asks somebody to take one's place.
    Transfer {
        /// Of which.
        session: SessionId,
        /// Extension or number, as dialled.
        target: Box<str>,
    },
    /// A consultation goes on by voice: the contact is held, the other one's phone rings. [`crate::Answer::Acted`].
    Voice {
        /// Which.
        session: SessionId,
        /// Whom to call; `None`: the first who is connected.
        party: Option<PartyId>,
    },
}

impl ImVerb {
    /// Its name in the API.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            ImVerb::Open { .. } => "im-open",
            ImVerb::Send { .. } => "im-send",
            ImVerb::Accept { .. } => "im-accept",
            ImVerb::Reject { .. } => "im-reject",
            ImVerb::End { .. } => "im-end",
            ImVerb::Done { .. } => "im-done",
            ImVerb::Typing { .. } => "im-typing",
            ImVerb::Read { .. } => "im-read",
            ImVerb::Add { .. } => "im-add",
            ImVerb::Drop { .. } => "im-drop",
            ImVerb::Transfer { .. } => "im-transfer",
            ImVerb::Voice { .. } => "im-voice",
        }
    }

    /// The session it is about; none for a new one.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        match *self {
            ImVerb::Open { .. } => None,
            ImVerb::Send { session, .. }
            | ImVerb::Accept { session }
            | ImVerb::Reject { session }
            | ImVerb::End { session }
            | ImVerb::Done { session }
            | ImVerb::Typing { session, .. }
            | ImVerb::Read { session, .. }
            | ImVerb::Add { session, .. }
            | ImVerb::Drop { session, .. }
            | ImVerb::Transfer { session, .. }
            | ImVerb::Voice { session, .. } => Some(session),
        }
    }
}
