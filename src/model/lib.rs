//! Plain data everyone shares: ids, bindings, messages, call records, store operations and the views that the API shows.
//!
//! Nothing here acts. Times are [`clock::Wall`], written as milliseconds since 1970 UTC.

mod agent;
mod binding;
mod cdr;
mod csv;
mod directory;
mod event;
mod id;
mod im;
mod interaction;
mod kept;
mod recording;
mod session;
mod store;
mod view;
mod wall;

pub use agent::{AgentStatus, ChannelView, DeviceState, GroupView, PresenceView, REASON_MAX, Said, Willing};
pub use binding::{Aor, Binding, BindingKey, Endpoint, Transport};
pub use cdr::{Cdr, CdrLink, Direction, EndReason, EndedBy, Quality};
pub use csv::{CSV_HEADER, csv_row};
pub use directory::{DirectoryEntry, TargetAction, TargetKind};
pub use event::{Event, Insiders, Occurrence, Snapshot};
pub use id::{InteractionId, LegId, MessageId, PartyId, RoomId, SessionId};
pub use im::{KnownDevice, MessageState, Receipt, StoredMessage, WaitingMessage};
pub use interaction::{
    CASE_DATA_MAX, CASE_KEY_MAX, CASE_VALUE_MAX, HISTORY_MAX, HistoryView, InteractionState, InteractionView, Medium,
    PartyRole, PartyState, PartyView, Purpose, VerbOutcome,
};
pub use kept::{KeptSubscription, UserSettings};
pub use recording::RecordingRow;
pub use session::{
    ImAsked, ImConsult, ImEnd, ImFailure, ImMessage, ImParty, ImSession, ImStanding, ImState, ImTranscript,
    KeptSession, transcript_text,
};
pub use store::{StoreError, StoreOp, StoreReply};
pub use view::{
    BanView, CallView, HeardToneView, HeardView, LegSoundView, LegView, RegistrationView, RoomMemberView, RoomView,
    StatusView,
};
