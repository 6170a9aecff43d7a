//! Everything that comes out of the transaction layer and the usages above it, in one closed enum.

use crate::endpoint::{Connecting, Event, Owner, Resolving};
use crate::locate::Question;
use crate::{Flow, Transport, event, invite};
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// What [`crate::Endpoint`], [`invite::Session`] and the [`event`] usages want done, in the order they want it.
#[derive(Debug)]
pub enum Output {
    /// Send one whole message.
    Transmit {
        /// Where.
        flow: Flow,
        /// The message.
        bytes: Bytes,
    },
    /// Open a stream, or name one that is open: answered by [`crate::Endpoint::handle_connected`] or
    /// [`crate::Endpoint::handle_connect_failed`]. Several for one peer may be answered with one flow.
    Connect {
        /// Joins it to its answer.
        token: Connecting,
        /// A reliable one.
        transport: Transport,
        /// The listener whose address is to be the `local` of the new flow.
        local: SocketAddr,
        /// To whom.
        peer: SocketAddr,
        /// Under TLS the certificate has to be for this name (RFC 5922 section 7.1); `None`: for the address.
        name: Option<Arc<str>>,
    },
    /// Ask the DNS: answered by [`crate::Endpoint::handle_resolved`], soon, whatever comes of it.
    Resolve {
        /// Joins it to its answer.
        token: Resolving,
        /// What to ask.
        question: Question,
    },
    /// For the transaction user: give it to the session or subscription that its owner names, or deal with it.
    Event(Event),
    /// A session has something to say.
    Session {
        /// Which.
        owner: Owner,
        /// What.
        event: invite::Event,
    },
    /// A subscription has something to say.
    Subscription {
        /// Which.
        owner: Owner,
        /// What.
        event: event::Event,
    },
}

/// Where outputs go: the caller's queue.
pub trait Sink {
    /// Takes one output.
    fn push(&mut self, output: Output);
}

impl Sink for Vec<Output> {
    fn push(&mut self, output: Output) {
        Vec::push(self, output);
    }
}

impl Sink for VecDeque<Output> {
    fn push(&mut self, output: Output) {
        self.push_back(output);
    }
}
