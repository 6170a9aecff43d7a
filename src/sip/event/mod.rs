//! The event usage (RFC 6665): subscriptions, for any package and any body.
//!
//! [`Notifier`] is the side that has the state and sends NOTIFY, [`Subscriber`] the side that asks and receives. Who
//! holds many of them bounds them; one costs a dialog and one timer.

use crate::draft::{Body, Headers};
use crate::endpoint::{self, Destination, Endpoint, Owner};
use crate::invite::Match;
use crate::output::Sink;
use crate::{Flow, Message};
use clock::Mono;

/// What a subscription tells its owner.
#[derive(Debug)]
pub enum Event {
    /// Notifier: the subscriber refreshed: 200 was sent, call [`Notifier::notify`] now.
    Refreshed {
        /// The SUBSCRIBE.
        message: Message,
    },
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
    /// Expires: 0 from the subscriber.
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

/// Bounds of a subscription's life, seconds.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Shorter ones are refused with 423; 0 always means unsubscribe or fetch.
    pub min: u32,
    /// If the subscriber does not say.
    pub default: u32,
    /// Longer ones are shortened.
    pub max: u32,
}

/// What a notifier grants.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Our Contact.
    pub contact: String,
    /// Bounds of its life.
    pub lifetimes: Lifetimes,
    /// The state now.
    pub state: Option<Body>,
}

/// The side that has the state.
#[derive(Debug)]
pub struct Notifier {
    owner: Owner,
}

#[allow(unused_variables, clippy::todo)]
impl Notifier {
    /// Takes a SUBSCRIBE from outside of any dialog: 200 with Expires, and at once the NOTIFY with the state (RFC 6665
    /// section 4.2.1.2). After a fetch (Expires 0) [`Event::Ended`] follows. `None`: it was refused (423, 400).
    pub fn accept(
        now: Mono,
        owner: Owner,
        flow: Flow,
        subscribe: &Message,
        grant: Grant,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Option<Notifier> {
        todo!()
    }

    /// Sends the new state.
    pub fn notify(&mut self, now: Mono, state: Option<Body>, endpoint: &mut Endpoint, out: &mut impl Sink) {
        todo!()
    }

    /// Ends it: `reason` as in Subscription-State, e.g. `deactivated`, `noresource`, `rejected`.
    pub fn terminate(&mut self, now: Mono, reason: &str, endpoint: &mut Endpoint, out: &mut impl Sink) {
        todo!()
    }

    /// Takes an event of the endpoint whose owner is this subscription: SUBSCRIBE, responses to NOTIFY, timers.
    pub fn handle_event(&mut self, now: Mono, event: endpoint::Event, endpoint: &mut Endpoint, out: &mut impl Sink) {
        todo!()
    }

    /// Whose this request inside the dialog is: as [`crate::invite::Session::matches`].
    #[must_use]
    pub fn matches(&self, flow: Flow, message: &Message) -> Match {
        todo!()
    }

    /// Its owner.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// The event package with its parameters, as the subscriber wrote it.
    #[must_use]
    pub fn package(&self) -> &str {
        todo!()
    }
}

/// What a subscription to be made needs.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Where the SUBSCRIBE goes.
    pub destination: Destination,
    /// Request-URI.
    pub uri: String,
    /// From without tag.
    pub from: String,
    /// To without tag.
    pub to: String,
    /// Our Contact.
    pub contact: String,
    /// Event package, e.g. `presence`.
    pub package: String,
    /// How long, seconds.
    pub expires: u32,
    /// Accept and the like.
    pub headers: Headers,
}

/// The side that asks.
#[derive(Debug)]
pub struct Subscriber {
    owner: Owner,
}

#[allow(unused_variables, clippy::todo)]
impl Subscriber {
    /// Sends SUBSCRIBE, and refreshes it until the end.
    pub fn subscribe(
        now: Mono,
        owner: Owner,
        subscription: Subscription,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Subscriber {
        todo!()
    }

    /// Sends SUBSCRIBE with Expires 0; [`Event::Ended`] follows its last NOTIFY.
    pub fn unsubscribe(&mut self, now: Mono, endpoint: &mut Endpoint, out: &mut impl Sink) {
        todo!()
    }

    /// Takes an event of the endpoint whose owner is this subscription.
    pub fn handle_event(&mut self, now: Mono, event: endpoint::Event, endpoint: &mut Endpoint, out: &mut impl Sink) {
        todo!()
    }

    /// Whose this request inside the dialog is: as [`crate::invite::Session::matches`].
    #[must_use]
    pub fn matches(&self, flow: Flow, message: &Message) -> Match {
        todo!()
    }

    /// Its owner.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner
    }
}
