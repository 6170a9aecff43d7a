//! What the shell tells the switch.

use crate::{Act, By, Config, ImAct, Look, Originate, SetAgent, Token};
use bytes::Bytes;
use model::{Aor, InteractionId, MessageId, SessionId, StoreReply};
use sip::Flow;
use std::net::IpAddr;
use std::time::Duration;

/// One closed enum: everything that can happen to a switch, apart from time passing.
#[derive(Debug)]
pub enum Input {
    /// A UDP datagram, or one message cut from a stream.
    Datagram {
        /// Where it came from.
        flow: Flow,
        /// The bytes.
        bytes: Bytes,
    },
    /// A message for which [`crate::Switch::admit`] said that it is to be refused.
    Unheard {
        /// Where it came from.
        flow: Flow,
        /// The bytes.
        bytes: Bytes,
    },
    /// A stream is open: accepted, or the answer to [`crate::Output::Connect`], whose token it then carries.
    Opened {
        /// The new flow.
        flow: Flow,
        /// Token of the Connect, if we opened it.
        token: Option<Token>,
    },
    /// A stream is gone, and with it what had been sent on it and not read.
    Closed {
        /// Which.
        flow: Flow,
    },
    /// Bytes could not be sent on this flow (a full queue, ICMP, a stream that is gone).
    SendFailed {
        /// Which.
        flow: Flow,
    },
    /// A Connect came to nothing.
    ConnectFailed {
        /// Its token.
        token: Token,
    },
    /// What the DNS said to a Resolve, or would have said: without an answer it is empty.
    Resolved {
        /// Its token.
        token: Token,
        /// The records.
        found: sip::locate::Found,
    },
    /// The store's answer.
    Stored {
        /// Token of the [`crate::Output::Store`].
        token: Token,
        /// What it said.
        reply: StoreReply,
    },
    /// Something happened in the media plane.
    Media(media::Event),
    /// An operator or the API wants something; answered by [`crate::Notice::Answer`] with the same token.
    Command {
        /// Joins it to its answer.
        token: Token,
        /// What.
        command: Command,
    },
    /// New configuration, already checked as a whole. Registrations and calls go on.
    Reload(Box<Config>),
}

/// What an operator or the API can ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Answered by [`crate::Answer::Status`].
    Status,
    /// Answered by [`crate::Answer::Registrations`]; `None` for everybody.
    Registrations(Option<Aor>),
    /// Removes all bindings of a user, or the one with this contact URI: [`crate::Answer::Done`] with how many.
    DropRegistration {
        /// Whose.
        aor: Aor,
        /// Only this contact.
        contact: Option<Box<str>>,
    },
    /// Who is not listened to: [`crate::Answer::Bans`].
    Bans,
    /// Listens to a source no longer, whoever it is: [`crate::Answer::Done`].
    Ban {
        /// Of IPv6 its /64.
        address: IpAddr,
        /// For so long.
        time: Duration,
    },
    /// Listens again to a source, or to all of them: [`crate::Answer::Done`] with how many.
    LiftBan(Option<IpAddr>),
    /// Answered by [`crate::Answer::Calls`].
    Calls,
    /// One call: [`crate::Answer::Calls`] with one element, or refused.
    Call(InteractionId),
    /// Ends a call with reason `operator`: [`crate::Answer::Done`].
    Hangup(InteractionId),
    /// All interactions and consultations, or one: [`crate::Answer::Interactions`].
    Interactions(Option<InteractionId>),
    /// A verb: [`crate::Answer::Acted`], or refused.
    Act(Box<Act>),
    /// A call on behalf of a user: [`crate::Answer::Acted`], or refused. What came of it is told as of a verb, with name `originate`.
    Originate(Box<Originate>),
    /// Conference rooms with somebody in them: [`crate::Answer::Rooms`].
    Rooms,
    /// One of them: [`crate::Answer::Rooms`] with one element, or refused.
    Room(Box<str>),
    /// What a member may do; `None` leaves it as it is: [`crate::Answer::Done`].
    RoomMute {
        /// The room's name.
        room: Box<str>,
        /// Which member.
        member: u32,
        /// Nobody hears the member.
        muted: Option<bool>,
        /// The member hears nobody.
        deaf: Option<bool>,
    },
    /// Ends the calls of a member, or of all, with reason `operator`: [`crate::Answer::Done`] with how many.
    RoomDrop {
        /// The room's name.
        room: Box<str>,
        /// Which member; `None`: all.
        member: Option<u32>,
    },
    /// Nobody may come in, but moderators by name; until the room is empty or opened again: [`crate::Answer::Done`].
    RoomLock {
        /// The room's name.
        room: Box<str>,
        /// Locked from now on, or open.
        locked: bool,
    },
    /// Records a call, or no longer: [`crate::Answer::Done`].
    Record {
        /// Which call.
        call: InteractionId,
        /// What is wanted.
        wish: RecordWish,
    },
    /// Listens to a call's legs for half a second: [`crate::Answer::Media`].
    Inspect(InteractionId),
    /// What the dial plan would do: [`crate::Answer::Route`].
    RouteTest {
        /// Calling user.
        from: Box<str>,
        /// What is dialled.
        to: Box<str>,
    },
    /// Agents by address, or one, as far as who asks may see them: [`crate::Answer::Agents`].
    Agents {
        /// Only this one.
        user: Option<Aor>,
        /// Who asks.
        by: By,
    },
    /// Lines of the directory: [`crate::Answer::Directory`].
    Look(Box<Look>),
    /// What is said of an agent: [`crate::Answer::Agents`] with the agent as it is then, or refused.
    SetAgent(Box<SetAgent>),
    /// Groups by number, or one, as far as who asks may see them: [`crate::Answer::Groups`], or refused.
    Groups {
        /// Only this one.
        number: Option<Box<str>>,
        /// Who asks.
        by: By,
    },
    /// Everything that events keep up to date: [`crate::Answer::Snapshot`]. From the first on, what happens is told by
    /// [`crate::Notice::Event`].
    Snapshot {
        /// Only what concerns this user.
        scope: Option<Aor>,
        /// Who asks: sessions of messages are shown to those in them alone.
        user: Option<Aor>,
    },
    /// Drops a message that waits for a user, or all of them but those that are with a device: [`crate::Answer::Done`] with how
    /// many, or refused.
    DropMessages {
        /// Who asks.
        by: By,
        /// For whom they wait.
        to: Aor,
        /// Only this one.
        id: Option<MessageId>,
    },
    /// A verb of a session of messages: [`crate::Answer::Session`], [`crate::Answer::Sent`], [`crate::Answer::Acted`],
    /// [`crate::Answer::Done`], or refused.
    Im(Box<ImAct>),
    /// Sessions of a user with what they may read; without a user all of them without a word: [`crate::Answer::Sessions`].
    ImSessions {
        /// Whose.
        user: Option<Aor>,
        /// Only this one.
        session: Option<SessionId>,
    },
    /// Erases the record of a closed session: [`crate::Answer::Done`] when it is in no file any more.
    ImErase(SessionId),
    /// A websocket of a user shows messages, still, or not any more: [`crate::Answer::Done`] with 1 if the user may have any.
    Aware {
        /// Whose.
        user: Aor,
        /// Names the websocket; never used again.
        lease: u64,
        /// It does.
        on: bool,
    },
    /// SIP trace on or off: [`crate::Answer::Done`].
    Trace(bool),
    /// No new calls from now on (503 with Retry-After); [`crate::Notice::Drained`] when the last one has ended, or all
    /// that are left are ended after the limit.
    Drain {
        /// How long calls may go on, in seconds.
        limit_s: u32,
    },
}

/// What is wanted of a recording.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum RecordWish {
    /// Begin, or go on after a pause.
    On,
    /// What is said from now on is not kept.
    Pause,
    /// End it.
    Off,
}
