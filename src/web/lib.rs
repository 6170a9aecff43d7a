//! HTTP API and metrics; sends commands, gets notices, never builds a SIP message.
//!
//! Two doors lead to the same rooms. The Unix socket belongs to the operator of the machine: its file mode decides who may
//! come in. The TCP port shows `/healthz`, `/readyz`, `/metrics`, `/openapi.json` and `/docs` to everyone who reaches it, and
//! `/api/v1` to users: what each may is said by the arguments of the handlers (`access`). What happens is told over a
//! websocket (`socket`) out of one ring for all (`watch`).

mod access;
mod api;
mod directory;
mod error;
mod failures;
mod figures;
mod health;
mod login;
mod openapi;
mod requests;
mod server;
mod sip;
mod socket;
mod strangers;
#[cfg(test)]
mod tests;
mod tokens;
mod verbs;
mod watch;

pub use axum::http;
pub use directory::Listed;
pub use error::{ApiError, Code, Problem};
pub use figures::Figure;
pub use server::{Handshake, Limits, Listeners, Server, Stream};
pub use tokens::Lives;
pub use watch::EVENTS_AHEAD;

use model::Aor;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use switch::config::Role;
use switch::{Answer, Command};

/// An answer that comes later.
pub type Asked<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the API needs of the node it runs in.
pub trait Node: Send + Sync + 'static {
    /// Puts a command to the switch; `None` when the switch is gone or does not come round to it.
    fn command(&self, command: Command) -> Asked<Option<Answer>>;

    /// Every figure for `/metrics`, taken now.
    fn figures(&self) -> Asked<Vec<Figure>>;

    /// What the node is at.
    fn state(&self) -> State;

    /// Reads the configuration again and puts it to use, all or nothing. Blocks on files.
    ///
    /// # Errors
    /// Every problem in it, as `file:line:column: problem`.
    fn reload(&self) -> Result<Reloaded, Vec<String>>;

    /// The user with this extension if the password is theirs, else `None`. Takes the same work whether or not the user
    /// exists.
    fn login(&self, user: &str, password: &str) -> Option<Account>;

    /// The user as the configuration in force has them.
    fn account(&self, user: &Aor) -> Option<Account>;

    /// A request for SIP over websocket (RFC 7118) that came to the HTTP server, on this connection from `peer` to `local`, under
    /// TLS or not: the answer. After a 101 the connection is the node's. A node that speaks no SIP has nothing there.
    fn sip_websocket(
        &self,
        _: http::Request<()>,
        (_local, _peer): (SocketAddr, SocketAddr),
        _is_secure: bool,
    ) -> http::Response<String> {
        let mut nothing = http::Response::new(String::new());
        *nothing.status_mut() = http::StatusCode::NOT_FOUND;
        nothing
    }

    /// Whom and what the directory knows.
    fn listed(&self) -> Arc<Vec<Listed>>;

    /// What a user may and how the switch is set up, as far as pages need to know (R009); `None`: the operator.
    fn capabilities(&self, user: Option<&Aor>) -> Capabilities;

    /// The domain of every AOR: the API takes an extension where it means `extension@domain`.
    fn domain(&self) -> Box<str>;
}

/// A user of users.toml, as the API needs to know them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `extension@domain`.
    pub aor: Aor,
    /// Display name.
    pub name: Box<str>,
    /// What they may.
    pub roles: Vec<Role>,
    /// Another one means that the password is another one.
    pub stamp: u64,
}

/// What a page may offer its user.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Capabilities {
    /// May send instant messages.
    pub im: bool,
    /// Works as an agent by these media.
    pub agent_media: Vec<model::Medium>,
    /// May watch over others and set their states.
    pub supervises: bool,
    /// What may be given as reason for not being ready.
    #[schema(value_type = Vec<String>)]
    pub not_ready_reasons: Vec<Box<str>>,
    /// After a call an agent is given nothing for so many seconds.
    pub wrap_up_s: u64,
    /// Sessions of messages an agent has at most.
    pub im_sessions: usize,
    /// Who is not there gets messages later.
    pub offline_messages: bool,
    /// Largest message in bytes.
    pub message_max: usize,
    /// The text of closed sessions is kept.
    pub keeps_transcripts: bool,
    /// How others are is shown: to everybody, or only to some.
    pub presence_of_others: bool,
    /// How many of a group are ready is shown.
    pub group_availability: bool,
    /// A party can be taken out of a conference.
    pub drop_from_conference: bool,
    /// A call can be transferred to a mailbox.
    pub transfer_to_voicemail: bool,
}

/// What a node is at.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Takes calls.
    Running,
    /// Takes no new calls.
    Draining,
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Reloaded {
    /// In words, one line each; empty if nothing changed.
    pub changed: Vec<String>,
    /// Settings that differ from the running ones and need a restart.
    pub restart: Vec<String>,
}

/// What every handler has at hand.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) node: Arc<dyn Node>,
    /// One reader for all requests: listings are rare, and the lock keeps them to one thread of reading.
    pub(crate) reader: Arc<Mutex<store::Reader>>,
    pub(crate) failures: Arc<failures::Failures>,
    pub(crate) tokens: Arc<tokens::Tokens>,
    pub(crate) requests: Arc<requests::Requests>,
    pub(crate) watch: Arc<watch::Watch>,
    pub(crate) places: Arc<socket::Places>,
    pub(crate) strangers: Arc<strangers::Strangers>,
    /// Turns true when the node stops.
    pub(crate) stopping: tokio::sync::watch::Receiver<bool>,
}
