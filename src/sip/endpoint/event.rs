//! What comes up, and what is counted.

use super::{ClientId, Owner, ServerId};
use crate::{Flow, Message};

/// What the transaction layer tells the TU.
#[derive(Debug)]
pub enum Event {
    /// A new request other than ACK and CANCEL. No transaction has been made for it.
    Request {
        /// Where it came from.
        flow: Flow,
        /// The request.
        message: Message,
        /// Owner of the dialog whose local tag is the To-tag, by [`super::Endpoint::bind_dialog`]. The dialog itself still
        /// has to check Call-ID and From-tag.
        dialog: Option<Owner>,
        /// The same request has come by another way (RFC 3261 section 8.2.2.2): 482, unless one is a proxy for it.
        merged: bool,
    },
    /// An ACK to a 2xx, or to nothing we know.
    Ack {
        /// Where it came from.
        flow: Flow,
        /// The ACK.
        message: Message,
        /// As in `Request`. `None`: forget it.
        dialog: Option<Owner>,
    },
    /// The INVITE of this transaction is cancelled; the CANCEL has been answered, the INVITE wants its 487.
    Cancel {
        /// The INVITE's transaction.
        server: ServerId,
        /// Its owner.
        owner: Owner,
        /// The CANCEL: it may carry Reason.
        message: Message,
    },
    /// A response to a request of ours. After a 2xx to INVITE more 2xx may follow: repeated, or of other forks.
    Response {
        /// Whose.
        client: ClientId,
        /// Its owner.
        owner: Owner,
        /// Where it came from.
        flow: Flow,
        /// The response.
        message: Message,
    },
    /// A 2xx to an INVITE of ours whose transaction is over: acknowledge again.
    StrayResponse {
        /// Owner of the dialog whose local tag is the From-tag.
        dialog: Owner,
        /// Where it came from.
        flow: Flow,
        /// The response.
        message: Message,
    },
    /// No final response in time (timers B and F, or after CANCEL): as if 408 had come.
    Timeout {
        /// Whose.
        client: ClientId,
        /// Its owner.
        owner: Owner,
    },
    /// The request could not be sent, or the stream broke before the final response: as if 503 had come.
    SendFailed {
        /// Whose.
        client: ClientId,
        /// Its owner.
        owner: Owner,
    },
    /// A timer set with [`super::Endpoint::set_timer`].
    Timer {
        /// Whose.
        owner: Owner,
        /// Which, in the owner's own numbers.
        kind: u32,
    },
}

impl Event {
    /// Who deals with it; `None`: a request from outside of all dialogs.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        match *self {
            Event::Request { dialog, .. } | Event::Ack { dialog, .. } => dialog,
            Event::StrayResponse { dialog, .. } => Some(dialog),
            Event::Cancel { owner, .. }
            | Event::Response { owner, .. }
            | Event::Timeout { owner, .. }
            | Event::SendFailed { owner, .. }
            | Event::Timer { owner, .. } => Some(owner),
        }
    }
}

/// What there is and what has happened, for metrics. `*_alive` rise and fall, the rest only rises.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// INVITE client transactions.
    pub invite_clients_alive: u64,
    /// Other client transactions.
    pub clients_alive: u64,
    /// INVITE server transactions.
    pub invite_servers_alive: u64,
    /// Other server transactions, completed ones included.
    pub servers_alive: u64,
    /// Dialogs bound.
    pub dialogs_alive: u64,
    /// Messages we sent again: requests and responses.
    pub retransmissions_sent: u64,
    /// Requests and responses that came again and went no further.
    pub retransmissions_absorbed: u64,
    /// Client transactions without final response in time.
    pub timeouts: u64,
    /// Client transactions whose request could not be sent.
    pub send_failures: u64,
    /// Requests that were kept from servers that want less of them (RFC 7339).
    pub held_back: u64,
    /// Requests that went another way because one failed.
    pub failovers: u64,
    /// Server transactions the TU left without final response, given up after 64*T1.
    pub unanswered: u64,
    /// Final responses to INVITE that were never acknowledged.
    pub unacknowledged: u64,
    /// Responses that belong to nothing of ours.
    pub strays: u64,
    /// Malformed messages: answered or dropped.
    pub malformed: u64,
    /// Completed transactions forgotten before their time because there were too many.
    pub evicted: u64,
}
