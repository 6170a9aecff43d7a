//! Sessions of instant messages: who takes part, how far it is, and what was said. The same data is shown, told and kept.

use crate::{Aor, InteractionId, PartyId, SessionId};
use clock::Wall;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A conversation in text of two or more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImSession {
    /// Names it; on the wire in `X-IM-Session`.
    pub id: SessionId,
    /// How far it is. What one party is to be shown stands with the party.
    pub state: ImState,
    /// Why it ended.
    pub end: Option<ImEnd>,
    /// Who ended it, if a party did.
    pub ended_by: Option<PartyId>,
    /// Who began it.
    pub owner: PartyId,
    /// Whom it was opened to: as dialled.
    #[schema(value_type = String)]
    pub target: Box<str>,
    /// The interaction that it is a consultation about.
    pub consult: Option<ImConsult>,
    /// The roster, in the order of coming; also who declined, did not answer, or left.
    pub parties: Vec<ImParty>,
    /// When it was opened.
    #[serde(with = "crate::wall")]
    #[schema(value_type = i64)]
    pub opened_at: Wall,
    /// When the second party was connected.
    #[serde(with = "crate::wall::option")]
    #[schema(value_type = Option<i64>)]
    pub connected_at: Option<Wall>,
    /// When it ended.
    #[serde(with = "crate::wall::option")]
    #[schema(value_type = Option<i64>)]
    pub ended_at: Option<Wall>,
    /// Number of the last message; 0 before the first.
    pub last_seq: u64,
}

/// What a consultation in text is about. Its target may read it and change nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImConsult {
    /// The interaction that owns it.
    pub interaction: InteractionId,
    /// The other parties of it, as shown: the contact.
    #[schema(value_type = Vec<String>)]
    pub contacts: Vec<Box<str>>,
    /// What is attached to the case.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    pub case_data: BTreeMap<Box<str>, Box<str>>,
    /// The consultation by voice that it became, or has beside it.
    pub voice: Option<InteractionId>,
}

/// How far a session is.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImState {
    /// Nothing was sent yet; or, for who is invited, nothing was accepted yet.
    NotConnected,
    /// The first message has gone, and nobody has accepted.
    Establishing,
    /// Two at least take part.
    Connected,
    /// Nothing can be sent any more.
    Ended,
}

/// Why a session ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImEnd {
    /// A party ended it, or all but one left.
    Ended,
    /// Who began it took the invitation back.
    Withdrawn,
    /// Who was invited said no.
    Rejected,
    /// Who was invited did not answer in time.
    NoAnswer,
    /// No device of who was invited could be reached.
    Unreachable,
    /// The devices of who was invited take no messages.
    CannotIm,
    /// Nobody said anything for very long.
    Idle,
}

/// One who takes part, or was asked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImParty {
    /// Names the party in commands.
    pub id: PartyId,
    /// The user.
    pub user: Aor,
    /// As shown to others: `"Name" <number>`.
    #[schema(value_type = String)]
    pub shown: Box<str>,
    /// What became of it.
    pub standing: ImStanding,
    /// The state of the session to be shown to this party.
    pub state: ImState,
    /// Takes part by a plain phone: texts go there.
    pub by_phone: bool,
    /// Has closed the window: the session is no business of theirs any more.
    pub done: bool,
    /// Who invited the party; none for who began it.
    pub invited_by: Option<PartyId>,
    /// A transfer: whose place the party takes.
    pub replaces: Option<PartyId>,
    /// The group that was asked for, when the party was hunted in it.
    #[schema(value_type = Option<String>)]
    pub group: Option<Box<str>>,
    /// All messages up to this one were taken by a device of theirs.
    pub delivered: u64,
    /// All messages up to this one have been displayed.
    pub displayed: u64,
    /// A phone that was brought in gets what was said after this one.
    #[serde(default)]
    pub since: u64,
    /// Who has left sees nothing after this one.
    pub until: Option<u64>,
}

/// What became of a party.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImStanding {
    /// Asked, and has not answered.
    Invited,
    /// Takes part.
    Connected,
    /// Said no.
    Rejected,
    /// Did not answer in time. The messages stay to be read until they are displayed.
    NoAnswer,
    /// No device could be reached.
    Unreachable,
    /// The devices take no messages.
    CannotIm,
    /// Was asked, and is not any more.
    Withdrawn,
    /// Took part and went.
    Left,
    /// Was taken out.
    Dropped,
    /// Gave its place to another one.
    Transferred,
}

/// One message of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImMessage {
    /// Of which session.
    pub session: SessionId,
    /// Rises within it; the same for all parties, who see messages in this order.
    pub seq: u64,
    /// When it was accepted.
    #[serde(with = "crate::wall")]
    #[schema(value_type = i64)]
    pub at: Wall,
    /// Who said it.
    pub from: PartyId,
    /// As shown: `"Name" <number>`.
    #[schema(value_type = String)]
    pub shown: Box<str>,
    /// What.
    #[schema(value_type = String)]
    pub text: Box<str>,
    /// Parties whose devices refused it, with the SIP status.
    pub failed: Vec<ImFailure>,
    /// A hash of the phone's request that brought it, 0 for a page's: kept, so that the same request after a restart is known.
    #[serde(skip)]
    pub request: u64,
}

/// A party that a message did not reach.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImFailure {
    /// Which.
    pub party: PartyId,
    /// What its devices said; 480 when there is none, 408 when none answered.
    pub status: u16,
}

/// A session with what one party may read of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImTranscript {
    /// The session.
    pub session: ImSession,
    /// Messages in their order: who is invited sees the first one; who takes part all that are kept in memory.
    pub messages: Vec<ImMessage>,
}

/// A session as it is kept: over restarts while it is open, as a record afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSession {
    /// As it was last.
    pub session: ImSession,
    /// CSeq of the last MESSAGE to each party that has phones.
    pub cseqs: Vec<(PartyId, u32)>,
    /// The number of the last text to each of them whose fate is known: the later ones are sent again after a restart.
    #[serde(default)]
    pub settled: Vec<(PartyId, u64)>,
    /// Messages whose sender's phone asked to be told what becomes of them.
    #[serde(default)]
    pub asked: Vec<ImAsked>,
}

/// A message of a session whose sender's phone wants to hear what becomes of it (RFC 5438).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImAsked {
    /// Its number.
    pub seq: u64,
    /// What the phone calls it.
    pub imdn_id: Box<str>,
}

impl ImSession {
    /// The party with this id.
    #[must_use]
    pub fn party(&self, id: PartyId) -> Option<&ImParty> {
        self.parties.iter().find(|party| party.id == id)
    }

    /// The party that a user is: the one who takes part before those who do not any more, and of these one whose window is open.
    #[must_use]
    pub fn party_of(&self, user: &Aor) -> Option<&ImParty> {
        let own = || self.parties.iter().rev().filter(|party| party.user == *user);
        let present = own().find(|party| party.standing.is_in());
        present
            .or_else(|| own().find(|party| !party.done))
            .or_else(|| own().next())
    }

    /// Whether it is any business of this user: takes or took part, and has not closed the window.
    #[must_use]
    pub fn concerns(&self, user: &Aor) -> bool {
        self.party_of(user).is_some_and(|party| !party.done)
    }

    /// Whether this user takes part now.
    #[must_use]
    pub fn includes(&self, user: &Aor) -> bool {
        self.party_of(user)
            .is_some_and(|party| party.standing == ImStanding::Connected)
    }

    /// Whether everybody has closed the window.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.parties.iter().all(|party| party.done)
    }
}

impl ImStanding {
    /// Takes part or may yet.
    #[must_use]
    pub fn is_in(self) -> bool {
        matches!(self, ImStanding::Invited | ImStanding::Connected)
    }

    /// Took part and went.
    #[must_use]
    pub fn was_in(self) -> bool {
        matches!(self, ImStanding::Left | ImStanding::Dropped | ImStanding::Transferred)
    }

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ImStanding::Invited => "invited",
            ImStanding::Connected => "connected",
            ImStanding::Rejected => "rejected",
            ImStanding::NoAnswer => "no-answer",
            ImStanding::Unreachable => "unreachable",
            ImStanding::CannotIm => "cannot-im",
            ImStanding::Withdrawn => "withdrawn",
            ImStanding::Left => "left",
            ImStanding::Dropped => "dropped",
            ImStanding::Transferred => "transferred",
        }
    }
}

impl ImState {
    /// As people say it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ImState::NotConnected => "not-connected",
            ImState::Establishing => "establishing",
            ImState::Connected => "connected",
            ImState::Ended => "ended",
        }
    }
}

impl KeptSession {
    /// As text for a store.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What [`KeptSession::to_json`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_json(text: &str) -> Option<KeptSession> {
        serde_json::from_str(text).ok()
    }
}

/// A transcript as plain text, for people: a line for the session, one for each party, then the messages.
#[must_use]
pub fn transcript_text(session: &ImSession, messages: &[ImMessage]) -> String {
    let mut text = format!("session {} opened {}\n", session.id, session.opened_at);
    for party in &session.parties {
        text += &format!("party {} {}\n", party.shown, party.standing.name());
    }
    for message in messages {
        // A message of many lines stays one entry: what follows is set in.
        let said = message.text.replace("\r\n", "\n").replace('\n', "\n    ");
        text += &format!("[{}] {}: {said}\n", message.at, message.shown);
    }
    if let Some(at) = session.ended_at {
        text += &format!("session ended {at}\n");
    }
    text
}
