//! RFC 3261 and friends: grammar, transactions, dialogs, the INVITE and event usages.
//!
//! Knows no SDP (bodies are bytes with a Content-Type), no socket, no clock (time comes in as [`clock::Mono`]), no
//! randomness of its own (a [`Tokens`] generator is passed in) and no database.

pub mod body;
pub mod dialog;
pub mod digest;
pub mod draft;
pub mod endpoint;
pub mod event;
pub mod flow;
pub mod frame;
pub mod header;
pub mod invite;
#[cfg(test)]
mod link;
pub mod locate;
pub mod message;
pub mod method;
pub mod name;
pub mod output;
pub mod peek;
pub mod print;
mod scan;
pub mod splice;
mod step;
pub mod stun;
pub mod timers;
mod transaction;
pub mod uri;
mod uri_eq;
mod validate;

pub use draft::{Body, Draft, Headers, Reply, Tag};
pub use endpoint::{Destination, Endpoint, Owner};
pub use flow::{Flow, Transport};
pub use header::Invalid;
pub use message::{Malformed, Message};
pub use method::Method;
pub use name::Name;
pub use output::{Output, Sink};
pub use print::{Overload, Writer};
pub use splice::Splice;
pub use uri::Uri;

/// Where identifiers come from: a CSPRNG seeded by the operating system in the node, a fixed seed in tests.
pub trait Tokens {
    /// 64 fresh random bits.
    fn next_u64(&mut self) -> u64;
}
