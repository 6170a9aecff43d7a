//! What the switch asks of the store, as data. The store batches: many operations, one commit.

use crate::{
    Aor, Binding, BindingKey, Cdr, EndedBy, ImMessage, KeptSession, KeptSubscription, KnownDevice, LegId, MessageId,
    Receipt, RecordingRow, SessionId, StoredMessage, UserSettings,
};
use clock::Wall;
use std::time::Duration;

/// One operation. Those on bindings take effect in the order given, and so do all others; between these two groups there is
/// no order. A reply means the effect is on disk. A write without a token is the store's own to bring home: if it fails it is
/// tried again until the disk takes it; a write with a token fails with [`StoreReply::Failed`] and is the asker's to repeat.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreOp {
    /// Inserts or replaces a binding by (aor, key).
    PutBinding(Box<Binding>),
    /// Removes a binding; none is no error.
    DeleteBinding {
        /// Whose.
        aor: Aor,
        /// Which.
        key: BindingKey,
    },
    /// All bindings, in the order (aor, created_at): [`StoreReply::Bindings`]. Asked once at start.
    LoadBindings,
    /// Keeps a message: [`StoreReply::Done`] once it is on disk. The same (to, from, call_id, cseq) twice is kept once, even
    /// when the first has been delivered meanwhile, and is answered [`StoreReply::Known`]: see [`StoreOp::ExpireMessages`]. An id that another message has is
    /// [`StoreError::Conflict`].
    AppendMessage(Box<StoredMessage>),
    /// The oldest `limit` messages for this device of `to` with an id above `after`, in rising order:
    /// [`StoreReply::Messages`]. See [`StoredMessage::is_for`].
    LoadMessages {
        /// Whom for.
        to: Aor,
        /// Which device; empty: whichever comes first.
        device: Box<str>,
        /// Only ids above this one; `MessageId(0)` for all.
        after: MessageId,
        /// At most so many.
        limit: u32,
    },
    /// Forgets a delivered message, but not yet that it came; none is no error.
    DeleteMessage(MessageId),
    /// A device took a message, or will not: it is owed it no more. When a device has it and no other is owed a copy the
    /// message is forgotten as by [`StoreOp::DeleteMessage`]. [`StoreReply::Left`]; none is no error.
    TakeMessage {
        /// Which.
        id: MessageId,
        /// Who.
        device: Box<str>,
        /// It took it; otherwise it refused it for good.
        has_it: bool,
    },
    /// Gives up messages that wait for `to`: this one, or all but `except`, the oldest first and at most
    /// [`StoreOp::EXPIRED_AT_ONCE`]; that they came stays known, as after [`StoreOp::DeleteMessage`]. [`StoreReply::Expired`]:
    /// which; when it names so many, ask again.
    DropMessages {
        /// Whose.
        to: Aor,
        /// Only this one.
        id: Option<MessageId>,
        /// These stay.
        except: Vec<MessageId>,
    },
    /// Forgets what waits for `to` of one conversation, as by [`StoreOp::DeleteMessage`]: the oldest first, and at most
    /// [`StoreOp::EXPIRED_AT_ONCE`]. [`StoreReply::Expired`]: which; when it names so many, ask again.
    ForgetTexts {
        /// Whose.
        to: Aor,
        /// Messages with this Call-ID,
        call_id: Box<str>,
        /// and a CSeq not above this one.
        until: u32,
    },
    /// Forgets messages that expired at or before this moment, at most [`StoreOp::EXPIRED_AT_ONCE`] of them, those that
    /// expired first: [`StoreReply::Expired`]; when it names so many, ask again. Also forgets which delivered messages came,
    /// [`StoreOp::RETRY_WINDOW`] after their acceptance. To be asked every minute or so.
    ExpireMessages(Wall),
    /// How many messages wait for whom (in the order of the targets), and the highest id ever given: [`StoreReply::Waiting`]. Asked once at start.
    CountMessages,
    /// Inserts or replaces a device by (aor, key).
    PutDevice(Box<KnownDevice>),
    /// Forgets a device and what it was owed; none is no error. [`StoreReply::Expired`]: the messages that nobody else
    /// waited for.
    ForgetDevice {
        /// Whose.
        aor: Aor,
        /// Which.
        key: Box<str>,
    },
    /// All of them, by (aor, key): [`StoreReply::Devices`]. Asked once at start.
    LoadDevices,
    /// Inserts or replaces a receipt by its message.
    PutReceipt(Box<Receipt>),
    /// Removes a receipt; none is no error.
    DeleteReceipt(MessageId),
    /// All of them, by id: [`StoreReply::Receipts`]. Asked once at start.
    LoadReceipts,
    /// Keeps a leg's record; the same leg twice is kept once.
    PutCdr(Box<Cdr>),
    /// Keeps what the record of a leg that is up would say if the switch died now; replaces what was kept of it before.
    /// [`StoreOp::PutCdr`] of the leg takes it away.
    OpenCdr(Box<Cdr>),
    /// What the record of a leg that is over says while its figures are still to come: its record if the process is killed before
    /// [`StoreOp::PutCdr`] of the leg. Nobody waits for it, and the database never has it.
    LeaveCdr(Box<Cdr>),
    /// The legs that were up when the switch died get their records: as kept, ended at this moment. Asked once at start. Calls
    /// that are passed on do not end with the switch ([`Cdr::outlives_the_switch`]).
    CloseOpenCdrs(Wall),
    /// A call that was passed on has ended: what is kept open of this leg becomes its record. Nothing is kept of it: no error.
    EndCdr {
        /// Whose.
        leg: LegId,
        /// When.
        at: Wall,
        /// Who hung up.
        by: EndedBy,
    },
    /// Of calls passed on and answered until the first moment nobody will say any more when they ended: they get their records,
    /// as kept and ended at the second. To be asked every minute or so.
    GiveUpCdrs {
        /// Answered no later.
        answered_until: Wall,
        /// Their end.
        at: Wall,
    },
    /// Inserts or replaces what a user has set.
    PutUserSettings(Box<UserSettings>),
    /// All of them, by AOR: [`StoreReply::UserSettings`]. Asked once at start.
    LoadUserSettings,
    /// Inserts or replaces a subscription by its tag.
    PutSubscription(Box<KeptSubscription>),
    /// Removes a subscription by its tag; none is no error.
    DeleteSubscription(u64),
    /// All of them, by tag: [`StoreReply::Subscriptions`]. Asked once at start.
    LoadSubscriptions,
    /// Inserts or replaces the row of a recording, by its name.
    PutRecording(Box<RecordingRow>),
    /// Inserts or replaces a session of messages that is open.
    PutSession(Box<KeptSession>),
    /// Keeps a message of a session: [`StoreReply::Done`] once it is on disk. The same number of a session twice is kept once.
    PutSessionMessage(Box<ImMessage>),
    /// All sessions that are open, by id, each with its last [`StoreOp::SESSION_MESSAGES`] messages:
    /// [`StoreReply::Sessions`]. Asked once at start.
    LoadSessions,
    /// A session is over and everybody has closed it: its record stays, its text only if `keep_text`, and then it can be
    /// searched.
    CloseSession {
        /// As it was last.
        kept: Box<KeptSession>,
        /// Else what was said is erased.
        keep_text: bool,
    },
    /// Erases a closed session, record and text, so that neither is in the files any more; none is no error.
    EraseSession(SessionId),
    /// Erases sessions that ended at or before this moment, at most [`StoreOp::SESSIONS_AT_ONCE`] of them, and makes sure that
    /// all text erased since the last time is in no file any more. To be asked every minute or so.
    ExpireSessions(Wall),
    /// Forgets records of legs that ended, and rows of recordings that began, at or before this moment: those among the
    /// [`StoreOp::CDRS_AT_ONCE`] oldest, and never the last record of a leg, so that numbers rise for ever. To be
    /// asked every minute or so.
    ExpireCdrs(Wall),
}

impl StoreOp {
    /// Most messages that one [`StoreOp::ExpireMessages`] gives up, so that neither its transaction nor its reply grows with
    /// the backlog.
    pub const EXPIRED_AT_ONCE: usize = 1_024;

    /// Most records that one [`StoreOp::ExpireCdrs`] looks at, so that its transaction does not grow with the backlog; asked
    /// each minute it keeps up with 80 calls a second, day and night.
    pub const CDRS_AT_ONCE: u32 = 10_000;

    /// Messages of each session that [`StoreOp::LoadSessions`] gives back: what a session has in memory.
    pub const SESSION_MESSAGES: u32 = 1_000;

    /// Most sessions that one [`StoreOp::ExpireSessions`] erases; asked each minute it keeps up with 16 a second.
    pub const SESSIONS_AT_ONCE: u32 = 1_024;

    /// How long a delivered message is still known, so that the sender's retransmission to a restarted switch is not taken
    /// for a new message: twice Timer F (RFC 3261 section 17.1.2.2).
    pub const RETRY_WINDOW: Duration = Duration::from_secs(64);
}

/// What the store says to an operation that had a token.
#[derive(Clone, Debug, PartialEq)]
pub enum StoreReply {
    /// It is on disk.
    Done,
    /// Answer to [`StoreOp::AppendMessage`]: it came before, and waits under this id; or it has been delivered.
    Known(Option<MessageId>),
    /// Answer to [`StoreOp::LoadBindings`].
    Bindings(Vec<Binding>),
    /// Answer to [`StoreOp::LoadMessages`].
    Messages(Vec<StoredMessage>),
    /// Answer to [`StoreOp::ExpireMessages`], [`StoreOp::DropMessages`] and [`StoreOp::ForgetTexts`]: what was given up.
    Expired(Vec<(MessageId, Aor)>),
    /// Answer to [`StoreOp::TakeMessage`]: devices that are still owed a copy, and one more while nobody has it.
    Left(u32),
    /// Answer to [`StoreOp::LoadDevices`].
    Devices(Vec<KnownDevice>),
    /// Answer to [`StoreOp::LoadReceipts`].
    Receipts(Vec<Receipt>),
    /// Answer to [`StoreOp::CountMessages`].
    Waiting {
        /// Messages per target.
        per_user: Vec<(Aor, u64)>,
        /// Highest id ever given, also of messages long deleted; 0 if none.
        last_id: MessageId,
    },
    /// Answer to [`StoreOp::LoadUserSettings`].
    UserSettings(Vec<UserSettings>),
    /// Answer to [`StoreOp::LoadSubscriptions`].
    Subscriptions(Vec<KeptSubscription>),
    /// Answer to [`StoreOp::LoadSessions`].
    Sessions(Vec<(KeptSession, Vec<ImMessage>)>),
    /// It did not happen; nothing of this operation is on disk.
    Failed(StoreError),
}

/// Why an operation failed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// No space left on the device.
    Full,
    /// Somebody else holds the database.
    Locked,
    /// The device or file system failed.
    Io,
    /// The store's queue is full: come again later.
    Busy,
    /// The stored data cannot be read.
    Corrupt,
    /// It contradicts what is stored: a fault of the asker.
    Conflict,
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StoreError::Full => "no space left",
            StoreError::Locked => "the database is locked",
            StoreError::Io => "the device failed",
            StoreError::Busy => "the store's queue is full",
            StoreError::Corrupt => "the stored data cannot be read",
            StoreError::Conflict => "it contradicts what is stored",
        })
    }
}

impl std::error::Error for StoreError {}
