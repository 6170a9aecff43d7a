//! HTTP API and metrics; sends commands, gets notices, never builds a SIP message.
//!
//! Two doors lead to the same rooms. The Unix socket belongs to the operator of the machine: its file mode decides who may
//! come in. The TCP port shows `/healthz`, `/readyz` and `/metrics` to everyone who reaches it, and `/api/v1` only to users
//! with the role admin.

mod api;
mod auth;
mod error;
mod failures;
mod figures;
mod health;
mod rooms;
mod server;
#[cfg(test)]
mod tests;

pub use error::{ApiError, Code};
pub use figures::Figure;
pub use server::{Limits, Server};

use std::future::Future;
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

    /// The roles of the user with this extension if the password is theirs, else `None`. Takes the same work whether or
    /// not the user exists.
    fn login(&self, user: &str, password: &str) -> Option<Vec<Role>>;

    /// The domain of every AOR: the API takes an extension where it means `extension@domain`.
    fn domain(&self) -> Box<str>;
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
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
}
