//! The command line: what can be asked, and the client that asks it over the Unix socket of a running node.
//!
//! [`Arguments`] describes every verb. The node's binary carries out `serve`, `check`, `version` and `user` itself; all
//! others are questions to the HTTP API ([`run`]). This crate reads no configuration: it is told where the socket is.

mod agents;
mod arguments;
mod bans;
mod client;
mod directory;
mod exit;
mod im;
mod moment;
mod remote;
mod rooms;
mod table;
mod time;
mod transcripts;
mod verbs;

pub use arguments::{
    AgentState, AgentsVerb, Arguments, BansVerb, CallsVerb, DirectoryVerb, GroupsVerb, ImVerb, RecordState,
    RegistrationsVerb, RoomsVerb, RouteVerb, Serve, Switched, TranscriptFilter, TranscriptsVerb, UserVerb, Verb,
};
pub use client::{Client, Failure};
pub use exit::Exit;
pub use remote::{reload, run};
