//! The event usage (RFC 6665): subscriptions, for any package and any body.
//!
//! [`Notifier`] is the side that has the state and sends NOTIFY, [`Subscriber`] the side that asks and receives. What a
//! package means, who may watch, and what the bodies say is their owner's business; so is how many there may be: one costs a
//! dialog, a timer and the body last sent.
//!
//! They are driven as [`crate::invite::Session`] is: every [`endpoint::Event`](crate::endpoint::Event) of their owner goes to
//! `handle_event`, requests inside the dialog after asking `matches`; what they have to say comes out as
//! [`Output::Subscription`](crate::Output::Subscription); after [`Event::Ended`] they can be dropped.

mod kept;
mod notifier;
mod publication;
mod subscriber;
#[cfg(test)]
mod tests;

pub use kept::Kept;
pub use notifier::{Grant, Lifetimes, Notifier};
pub use publication::{Entity, Publication, Publications, Publish};
pub use subscriber::{Subscriber, Subscription};

use crate::Message;

/// What a subscription tells its owner.
#[derive(Debug)]
pub enum Event {
    /// Notifier: the subscriber refreshed: 200 was sent, call [`Notifier::notify`] now.
    Refreshed {
        /// The SUBSCRIBE.
        message: Message,
    },
    /// Notifier: the subscriber has answered the NOTIFY under way, and no newer state waits: [`Notifier::is_busy`] is over.
    Told,
    /// Subscriber: a NOTIFY came; it has been answered 200.
    Notified {
        /// The NOTIFY.
        message: Message,
    },
    /// It is over and can be dropped; a notifier has sent the terminating NOTIFY, with the state last given, itself.
    Ended(End),
}

/// Why a subscription is over.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Expires: 0 from the subscriber: it unsubscribed, or wanted the state once.
    Unsubscribed,
    /// Not refreshed in time.
    Expired,
    /// The other side does not know it (481), refused it, or does not answer.
    Gone,
    /// We ended it.
    Local,
    /// Subscriber: the notifier ended it (`Subscription-State: terminated`).
    Terminated,
}
