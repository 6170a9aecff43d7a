//! Typed headers: views over the received bytes, parsed when asked for. Each `parse` takes one value as
//! [`Message::values`](crate::Message::values) yields it and checks all of its syntax.

mod address;
mod auth;
mod cseq;
mod date;
mod event;
pub(crate) mod lex;
mod list;
mod params;
mod reliability;
mod replaces;
mod retry_after;
mod session_timer;
mod value;
mod via;

pub use address::NameAddr;
pub use auth::{Auth, Picked};
pub use cseq::CSeq;
pub use date::write_date;
pub use event::{Event, SubscriptionState};
pub use lex::{List, quote, unquote};
pub use list::{delta_seconds, tokens};
pub use params::Params;
pub use reliability::RAck;
pub use replaces::Replaces;
pub use retry_after::RetryAfter;
pub use session_timer::SessionExpires;
pub use value::{Reason, Value};
pub(crate) use via::Noted;
pub(crate) use via::ip;
pub use via::{MAGIC_COOKIE, Via};

/// A value that does not follow its grammar: the text says what is wrong, for the log and the reason phrase.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub &'static str);

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Invalid {}
