//! What agents and supervisors can do to an interaction: the verbs, as data. A command, a phone's gesture and the command
//! line all end in one of these, and each is a transaction: it succeeds wholly or leaves everything as it was.

use model::{Aor, InteractionId, InteractionView, Medium, PartyId};

/// One verb, with who asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Who.
    pub by: By,
    /// The client's own id of this command; the same again from the same asker is answered as before and done once. Empty:
    /// every time anew. At most 64 bytes count. Remembered for the last [`ACTS_REMEMBERED`] commands.
    pub client: Box<str>,
    /// What.
    pub verb: Verb,
}

/// A call on behalf of a user: his phones ring, showing the target; when he answers, the target is called as if he had
/// dialled it. One interaction, which he owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Originate {
    /// Who asks: the user himself, a supervisor, or an operator.
    pub by: By,
    /// The client's own id of this command, as [`Act::client`].
    pub client: Box<str>,
    /// Whose phones ring.
    pub user: Aor,
    /// Extension or number, as dialled.
    pub target: Box<str>,
}

/// Commands whose answers are kept for repetitions: a client repeats within seconds, and so many take longer.
pub const ACTS_REMEMBERED: usize = 1_024;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A user, authenticated: acts as the party that he is. Without role `supervisor` or `admin` only in interactions where
    /// he takes part.
    User(Aor),
    /// An operator: acts for this party, or for the owner of the interaction.
    Operator(Option<PartyId>),
}

/// What is to be done. `interaction` may also name a consultation, where the verb makes sense there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Puts the others on hold.
    Hold {
        /// Where.
        interaction: InteractionId,
    },
    /// Takes them off hold; a consultation that was in the foreground is held.
    Resume {
        /// Where.
        interaction: InteractionId,
    },
    /// Changes between the interaction and its consultation: the one that was heard is held.
    Toggle {
        /// The interaction or the consultation.
        interaction: InteractionId,
    },
    /// Holds the interaction and calls somebody to talk about it.
    Consult {
        /// About which.
        interaction: InteractionId,
        /// Extension or number, as dialled.
        target: Box<str>,
        /// By which medium.
        medium: Medium,
    },
    /// Ends a consultation, and resumes its interaction.
    EndConsult {
        /// Which.
        consultation: InteractionId,
    },
    /// The consulted party takes the place of the one who consulted; while it still rings, as soon as it answers.
    CompleteTransfer {
        /// Which.
        consultation: InteractionId,
    },
    /// Calls somebody who takes one's place when he answers; until then the contact is on hold.
    InstantTransfer {
        /// Of which.
        interaction: InteractionId,
        /// Extension or number, as dialled.
        target: Box<str>,
    },
    /// The consulted party joins the interaction.
    CompleteConference {
        /// Which.
        consultation: InteractionId,
    },
    /// Calls somebody who joins as soon as he answers.
    InstantConference {
        /// Which.
        interaction: InteractionId,
        /// Extension or number, as dialled.
        target: Box<str>,
    },
    /// As [`Verb::InstantConference`], in a conference that stands.
    Add {
        /// Which.
        interaction: InteractionId,
        /// Extension or number, as dialled.
        target: Box<str>,
    },
    /// Takes a party out; needs the right to do so: the owner, a supervisor, an operator.
    Drop {
        /// Where.
        interaction: InteractionId,
        /// Whom.
        party: PartyId,
    },
    /// Goes; the others stay if there are at least two.
    Leave {
        /// Where.
        interaction: InteractionId,
    },
    /// Who hears a party, and whom it hears.
    Mute {
        /// Where.
        interaction: InteractionId,
        /// Whom it is about.
        party: PartyId,
        /// Only this listener does not hear the party (and, with [`Mute::Both`], the other way round); `None`: all.
        listener: Option<PartyId>,
        /// Which direction.
        mute: Mute,
        /// Mute, or no more.
        on: bool,
    },
    /// A supervisor hears the interaction with the agent in it: by his phone that is called, or by the call he has there
    /// already.
    Supervise {
        /// Which.
        interaction: InteractionId,
        /// The agent; `None`: the owner.
        party: Option<PartyId>,
        /// How.
        mode: Supervision,
    },
    /// Takes the place of the owner, who leaves.
    TakeOver {
        /// Which.
        interaction: InteractionId,
    },
    /// Begins or ends a recording.
    Record {
        /// Of which.
        interaction: InteractionId,
        /// Record, or no more.
        on: bool,
    },
    /// Transfers the contact to a mailbox.
    SendToVoicemail {
        /// Which.
        interaction: InteractionId,
        /// Whose mailbox.
        target: Box<str>,
    },
    /// Attaches a value to the case; an empty one removes the key.
    SetCaseData {
        /// Which.
        interaction: InteractionId,
        /// At most [`model::CASE_KEY_MAX`] bytes.
        key: Box<str>,
        /// At most [`model::CASE_VALUE_MAX`] bytes.
        value: Box<str>,
    },
}

/// A direction of silence.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Mute {
    /// The party is not heard.
    Speech,
    /// The party does not hear.
    Hearing,
    /// Neither.
    Both,
}

/// How a supervisor takes part.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Supervision {
    /// Hears all, is heard by nobody.
    Listen,
    /// Hears all, is heard by the agent alone.
    Whisper,
    /// Hears and is heard.
    Barge,
}

/// What came of a verb that was not refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Acted {
    /// True: done. False: somebody is being called; [`crate::Notice::Verb`] and [`model::Event::Verb`] say what came of it, with the client's id.
    pub done: bool,
    /// The interaction as it is now. For [`Verb::Consult`] the consultation.
    pub view: InteractionView,
}

impl Verb {
    /// Its name on the command line, in the API and in the history.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Verb::Hold { .. } => "hold",
            Verb::Resume { .. } => "resume",
            Verb::Toggle { .. } => "toggle",
            Verb::Consult { .. } => "consult",
            Verb::EndConsult { .. } => "end-consult",
            Verb::CompleteTransfer { .. } => "complete-transfer",
            Verb::InstantTransfer { .. } => "instant-transfer",
            Verb::CompleteConference { .. } => "complete-conference",
            Verb::InstantConference { .. } => "instant-conference",
            Verb::Add { .. } => "add",
            Verb::Drop { .. } => "drop",
            Verb::Leave { .. } => "leave",
            Verb::Mute { .. } => "mute",
            Verb::Supervise { mode, .. } => mode.name(),
            Verb::TakeOver { .. } => "take-over",
            Verb::Record { .. } => "record",
            Verb::SendToVoicemail { .. } => "send-to-voicemail",
            Verb::SetCaseData { .. } => "set-case-data",
        }
    }

    /// The interaction or consultation it is about.
    #[must_use]
    pub fn interaction(&self) -> InteractionId {
        match self {
            Verb::Hold { interaction }
            | Verb::Resume { interaction }
            | Verb::Toggle { interaction }
            | Verb::Consult { interaction, .. }
            | Verb::InstantTransfer { interaction, .. }
            | Verb::InstantConference { interaction, .. }
            | Verb::Add { interaction, .. }
            | Verb::Drop { interaction, .. }
            | Verb::Leave { interaction }
            | Verb::Mute { interaction, .. }
            | Verb::Supervise { interaction, .. }
            | Verb::TakeOver { interaction }
            | Verb::Record { interaction, .. }
            | Verb::SendToVoicemail { interaction, .. }
            | Verb::SetCaseData { interaction, .. } => *interaction,
            Verb::EndConsult { consultation }
            | Verb::CompleteTransfer { consultation }
            | Verb::CompleteConference { consultation } => *consultation,
        }
    }
}

impl Supervision {
    /// `monitor`, `whisper`, `barge`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Supervision::Listen => "monitor",
            Supervision::Whisper => "whisper",
            Supervision::Barge => "barge",
        }
    }
}
