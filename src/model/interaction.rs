//! Interactions as agents, supervisors and the API see them: who takes part, who hears whom, and what belongs to the case.

use crate::view::is_shown;
use crate::{Aor, InteractionId, LegId, PartyId};
use clock::Wall;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// An interaction, or a consultation, which is one with a `parent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InteractionView {
    /// It stays the same through transfers and conferences.
    pub id: InteractionId,
    /// The interaction that this one is a consultation of, or grew out of.
    pub parent: Option<InteractionId>,
    /// What it goes over.
    pub medium: Medium,
    /// How far it is.
    pub state: InteractionState,
    /// Who is responsible for it.
    pub owner: Option<PartyId>,
    /// What was dialled.
    #[schema(value_type = String)]
    pub dialled: Box<str>,
    /// When it was asked for.
    #[serde(with = "crate::wall")]
    #[schema(value_type = i64)]
    pub started_at: Wall,
    /// When the second party answered.
    #[serde(with = "crate::wall::option")]
    #[schema(value_type = Option<i64>)]
    pub answered_at: Option<Wall>,
    /// Who takes part, in the order of coming; hidden supervisors only in views for supervisors.
    pub parties: Vec<PartyView>,
    /// Consultations, transfers and invitations under way, oldest first.
    pub consultations: Vec<InteractionId>,
    /// Why this side call was made, if it is one.
    pub purpose: Option<Purpose>,
    /// Key and value, as attached: at most [`CASE_DATA_MAX`] pairs.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    pub case_data: BTreeMap<Box<str>, Box<str>>,
    /// It is being recorded.
    pub recording: bool,
    /// What happened to it, oldest first: the last [`HISTORY_MAX`] events.
    pub history: Vec<HistoryView>,
}

impl InteractionView {
    /// Whether this user takes part.
    #[must_use]
    pub fn includes(&self, user: &Aor) -> bool {
        self.parties.iter().any(|party| party.user.as_ref() == Some(user))
    }

    /// Some of it is not for everybody who takes part.
    #[must_use]
    pub fn hides(&self) -> bool {
        let party = |party: &PartyView| party.shown_to.is_some();
        self.parties.iter().any(party) || self.history.iter().any(|event| event.shown_to.is_some())
    }

    /// As this user is shown it.
    #[must_use]
    pub fn seen_by(mut self, user: &Aor) -> InteractionView {
        self.parties.retain(|party| is_shown(party.shown_to.as_ref(), user));
        self.history.retain(|event| is_shown(event.shown_to.as_ref(), user));
        self
    }
}

/// One who takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartyView {
    /// Names the party in verbs; never reused.
    pub id: PartyId,
    /// The user, if one of ours.
    pub user: Option<Aor>,
    /// As shown to others: `"Name" <number>`.
    #[schema(value_type = String)]
    pub shown: Box<str>,
    /// How far.
    pub state: PartyState,
    /// What kind of party.
    pub role: PartyRole,
    /// Has put the call on hold.
    pub holds: bool,
    /// Nobody attends: hears the music.
    pub held: bool,
    /// Nobody hears this party.
    pub muted: bool,
    /// This party hears nobody.
    pub deaf: bool,
    /// Those who, by a mute of their own, do not hear this party.
    pub unheard_by: Vec<PartyId>,
    /// The devices.
    pub legs: Vec<LegId>,
    /// A supervisor who is heard by the agent at most: shown only to these, and to who oversees all. `None`: to everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_to: Option<Vec<Aor>>,
}

/// How far an interaction is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InteractionState {
    /// Somebody is being called.
    Ringing,
    /// The parties talk, or are on hold.
    Up,
    /// The last farewells are said.
    Ending,
}

/// How far a party is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PartyState {
    /// Its devices ring.
    Ringing,
    /// It takes part.
    Up,
    /// It is in another room of the same interaction: in a consultation, while the others wait.
    Away,
}

/// What kind of party.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PartyRole {
    /// Hears and is heard.
    Member,
    /// A supervisor who hears all and is heard by nobody.
    Listen,
    /// A supervisor who hears all and is heard by one agent.
    Whisper,
    /// A supervisor who takes part.
    Barge,
}

/// What a consultation goes over, and what an agent is ready for.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Medium {
    /// Speech.
    #[default]
    Voice,
    /// Instant messages.
    Im,
}

impl Medium {
    /// All of them, in their order.
    pub const ALL: [Medium; 2] = [Medium::Voice, Medium::Im];
}

/// Why a side call is made.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To talk to the target while the contact waits.
    Consult,
    /// The target takes the place of who transfers.
    Transfer,
    /// The target joins.
    Join,
    /// A supervisor's own phone is called, to listen, whisper or barge in.
    Supervise,
    /// A colleague's or supervisor's own phone is called, to take over.
    TakeOver,
}

/// One event of an interaction's past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HistoryView {
    /// When.
    #[serde(with = "crate::wall")]
    #[schema(value_type = i64)]
    pub at: Wall,
    /// Who did it, as shown; empty: the switch.
    #[schema(value_type = String)]
    pub who: Box<str>,
    /// What: a verb's name or `joined`, `left`, `refused`.
    #[schema(value_type = String)]
    pub what: Box<str>,
    /// To whom, or with what outcome.
    #[schema(value_type = String)]
    pub detail: Box<str>,
    /// As [`PartyView::shown_to`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_to: Option<Vec<Aor>>,
}

/// What came of a verb that took its time, told to whoever watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerbOutcome {
    /// The interaction it was about.
    pub interaction: InteractionId,
    /// Who asked, if a user of ours.
    pub by: Option<Aor>,
    /// The verb's name, as [`HistoryView::what`].
    #[schema(value_type = String)]
    pub verb: Box<str>,
    /// The client's id of the command; empty for a gesture.
    #[schema(value_type = String)]
    pub client: Box<str>,
    /// 200: done. Any other SIP status says why it came to nothing: then everything is as it was, but a contact that was put
    /// on hold for it stays on hold until the agent resumes (R109).
    pub status: u16,
    /// Of a transfer whose target is busy, absent, does not answer or declines: whose mailbox the contact may be sent to
    /// instead (R110), if there are mailboxes, which `/api/v1/me` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub voicemail: Option<Box<str>>,
}

/// Most pairs of case data: a form of a business application has some dozens of fields.
pub const CASE_DATA_MAX: usize = 64;
/// Longest key of case data, in bytes.
pub const CASE_KEY_MAX: usize = 64;
/// Longest value of case data, in bytes: a short text. With all pairs it is 68 KiB an interaction.
pub const CASE_VALUE_MAX: usize = 1_024;
/// Events of the past that are kept: what a day of transfers makes. Older ones are forgotten first.
pub const HISTORY_MAX: usize = 64;
