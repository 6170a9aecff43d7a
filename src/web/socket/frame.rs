//! What goes over the websocket: one JSON object in each text message, told apart by its `type`.

use crate::error::Problem;
use crate::verbs::Wish;
use model::{Aor, Occurrence, Snapshot};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// From a client.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum FromClient {
    /// The first message of a client that did not show its token with the handshake.
    Login {
        /// From `POST /api/v1/login`.
        token: String,
    },
    /// A command. The same `id` again is answered as before and carried out once.
    Command {
        /// The client's own, 1 to 64 bytes; a UUID is good.
        id: String,
        #[serde(flatten)]
        wish: Wish,
    },
}

/// To a client.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum ToClient {
    /// The first message: who the client is, and whether what it missed follows (`resumed`) or a snapshot.
    Welcome {
        /// `extension@domain`; nobody's at the Unix socket.
        user: Option<Aor>,
        resumed: bool,
        /// The switch counts on this client to show invitations to sessions of messages: asked for with `im=true`, and the
        /// account may have them.
        im: bool,
    },
    /// Everything of now; events with higher numbers follow.
    Snapshot(Box<Snapshot>),
    /// Something happened. Written once for all clients by [`crate::watch`]; here for the description.
    #[allow(dead_code)]
    Event(Box<Occurrence>),
    /// What came of a command: `answer` or `problem`.
    Answer {
        /// The command's.
        id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        answer: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        problem: Option<Problem>,
    },
    /// A message of the client made no sense.
    Error { problem: Problem },
}

/// How a websocket ends, by its close code (RFC 6455 section 7.4): those from 4000 on are ours, after the HTTP status they
/// resemble.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// The peer is gone or says goodbye.
    Gone,
    /// 1001: the node stops.
    Stopping,
    /// 4401: no token in time, or not, or no longer, a good one.
    Unauthorized,
    /// 4408: the client does not answer pings.
    Silent,
    /// 4429: the client takes its events too slowly; it may come back with `resume`.
    Slow,
    /// 4503: the switch does not answer.
    Unavailable,
}

impl Close {
    /// Code and reason; `None` if there is nobody to tell.
    pub(crate) fn frame(self) -> Option<(u16, &'static str)> {
        match self {
            Close::Gone => None,
            Close::Stopping => Some((1001, "the node stops")),
            Close::Unauthorized => Some((4401, "log in")),
            Close::Silent => Some((4408, "no answer to pings")),
            Close::Slow => Some((4429, "too slow")),
            Close::Unavailable => Some((4503, "the switch does not answer")),
        }
    }
}
