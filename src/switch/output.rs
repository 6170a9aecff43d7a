//! What the switch asks of the shell.

use crate::{Acted, Token};
use bytes::Bytes;
use model::{
    BanView, CallView, DirectoryEntry, GroupView, ImMessage, ImTranscript, InteractionView, LegSoundView, Occurrence,
    PresenceView, RegistrationView, RoomView, Snapshot, StatusView, StoreOp, VerbOutcome,
};
use sip::locate::Question;
use sip::{Flow, Transport};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One closed enum: everything a switch can ask for.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit {
        /// Where.
        flow: Flow,
        /// One whole message.
        bytes: Bytes,
    },
    /// Open a stream: answered by Opened or ConnectFailed.
    Connect {
        /// Joins it to its answer.
        token: Token,
        /// Tcp (Tls, Ws, Wss later).
        transport: Transport,
        /// The listener whose address is to be the `local` of the new flow.
        local: SocketAddr,
        /// To whom.
        peer: SocketAddr,
        /// The name that a certificate there has to have (RFC 5922); `None`: the address.
        name: Option<Arc<str>>,
    },
    /// Ask the DNS, never for longer than two seconds: answered by Resolved.
    Resolve {
        /// Joins it to its answer.
        token: Token,
        /// What to ask.
        question: Question,
    },
    /// Close a stream.
    Close {
        /// Which.
        flow: Flow,
    },
    /// Close a stream on which nothing comes for so long, keep-alives included.
    Expect {
        /// Which.
        flow: Flow,
        /// How long.
        within: Duration,
    },
    /// Change what the media plane does: an order for one worker, the one that reads the ports of the room.
    Media(media::WorkerId, media::Plan),
    /// Write or read; with a token the reply is wanted.
    Store {
        /// Joins it to its reply; `None`: nobody waits.
        token: Option<Token>,
        /// What.
        op: StoreOp,
    },
    /// Tell the world.
    Notice(Notice),
}

/// What the switch has to say to others than SIP peers.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// The answer to a command.
    Answer {
        /// The command's token.
        token: Token,
        /// What came of it.
        answer: Answer,
    },
    /// What came of a verb that took its time.
    Verb(Box<VerbOutcome>),
    /// The last call has ended after [`crate::Command::Drain`].
    Drained,
    /// Something happened; told after the first [`crate::Command::Snapshot`], for nobody watches before.
    Event(Box<Occurrence>),
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is done; how many things it touched.
    Done(u64),
    /// For [`crate::Command::Status`].
    Status(Box<StatusView>),
    /// For [`crate::Command::Registrations`].
    Registrations(Vec<RegistrationView>),
    /// For [`crate::Command::Bans`]: who is free first comes first.
    Bans(Vec<BanView>),
    /// For [`crate::Command::Calls`] and [`crate::Command::Call`].
    Calls(Vec<CallView>),
    /// For [`crate::Command::Interactions`], oldest first.
    Interactions(Vec<InteractionView>),
    /// For [`crate::Command::Act`] and [`crate::Command::Originate`].
    Acted(Box<Acted>),
    /// For [`crate::Command::Snapshot`].
    Snapshot(Box<Snapshot>),
    /// For most of [`crate::ImVerb`]: the session as it is now.
    Session(Box<ImTranscript>),
    /// For [`crate::ImVerb::Send`]: it is on disk.
    Sent(Box<ImMessage>),
    /// For [`crate::Command::ImSessions`], oldest first.
    Sessions(Vec<ImTranscript>),
    /// For [`crate::Command::Rooms`] and [`crate::Command::Room`].
    Rooms(Vec<RoomView>),
    /// For [`crate::Command::Agents`] and [`crate::Command::SetAgent`], by address.
    Agents(Vec<PresenceView>),
    /// For [`crate::Command::Look`], in the order asked.
    Directory(Vec<DirectoryEntry>),
    /// For [`crate::Command::Groups`].
    Groups(Vec<GroupView>),
    /// For [`crate::Command::Inspect`]: legs that have sound.
    Media(Vec<LegSoundView>),
    /// For [`crate::Command::RouteTest`]: what would be done, in words.
    Route(Box<str>),
    /// Nothing was changed.
    Refused(Refusal),
}

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing.
    NotFound(Box<str>),
    /// It cannot be done now.
    Conflict(Box<str>),
    /// Who asks may not.
    Forbidden(Box<str>),
    /// Whom it needs cannot be reached: the SIP status that a call there gets.
    Unreachable(u16),
    /// The same of who should take a contact over, who may be sent to this user's mailbox instead (R110), if there are
    /// mailboxes.
    NotTransferred {
        /// The SIP status that a call there gets.
        status: u16,
        /// Whose mailbox.
        voicemail: Box<str>,
    },
    /// It cannot be done for now, through no fault of who asks: again later.
    Unavailable(Box<str>),
    /// A text is longer than so many bytes.
    TooLarge(usize),
}

/// Figures for `/metrics`. Gauges are what is now; the rest only rises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Name as on `/metrics` without the `tandem_` prefix, value, `true` for a gauge. In a fixed order.
    pub values: Vec<(&'static str, u64, bool)>,
    /// Requests received by method: `("INVITE", n)`, ...
    pub requests: Vec<(&'static str, u64)>,
    /// Responses sent by class: `("2xx", n)`, ...
    pub responses: Vec<(&'static str, u64)>,
}
