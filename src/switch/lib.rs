//! What a switch does, as a value: bytes, media events, commands and time go in; datagrams, media plans, store operations
//! and notices come out. Nothing here waits, sleeps, locks or asks the clock; there is no async, SQL or HTTP.
//!
//! ```text
//! loop {
//!     switch.handle_input(now, input);
//!     while let Some(output) = switch.poll_output() { /* the shell carries it out */ }
//!     // sleep until switch.poll_timeout(), or an input; on the deadline:
//!     switch.handle_timeout(now);
//! }
//! ```
//!
//! Inside there are rooms: `auth`, `registrar`, `im`, `subscribe`, `call`. They do not know each other's state; what they
//! share is `core::Core`. The number that a transaction, dialog or timer carries says which room owns it (`room::Room`), and
//! `dispatch` brings each event there.

mod admission;
mod agent;
mod arena;
mod auth;
mod call;
mod command;
pub mod config;
mod core;
mod dispatch;
mod im;
mod input;
mod interaction;
mod output;
mod presence;
mod proxy;
mod registrar;
mod request;
mod restore;
mod room;
mod route;
mod security;
mod settings;
mod sips;
mod subscribe;
mod tally;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod text;
#[cfg(test)]
mod torture;
mod users;
mod verb;

pub use admission::Admit;
pub use agent::SetAgent;
pub use config::Config;
pub use im::verb::{ImAct, ImVerb};
pub use input::{Command, Input, RecordWish};
pub use output::{Answer, Counters, Notice, Output, Refusal};
pub use presence::directory::Look;
pub use subscribe::CONTACTS;
pub use verb::{ACTS_REMEMBERED, Act, Acted, By, Mute, Originate, Supervision, Verb};

use crate::core::{Core, cx};
use agent::Agents;
use auth::Auth;
use call::Calls;
use clock::{Mono, Now};
use im::Im;
use im::session::Sessions;
use proxy::Proxy;
use registrar::Registrar;
use restore::Restoring;
use room::Room;
use sip::Flow;
use sip::peek::Class;
use std::time::Duration;
use subscribe::Subscriptions;

/// A token joins a question in an [`Output`] to its answer in an [`Input`]. Never reused while the node runs.
pub type Token = u64;

/// The whole switch: one thread's work, no global state; two can live in one process.
pub struct Switch {
    core: Core,
    auth: Auth,
    registrar: Registrar,
    agents: Agents,
    im: Im,
    sessions: Sessions,
    subscriptions: Subscriptions,
    calls: Calls,
    proxy: Proxy,
    /// What the store has not said yet of what was before the restart.
    restoring: Restoring,
    started: Now,
}

impl Switch {
    /// A switch with nothing in it. `seed` feeds its generator of tags, branches and ids: from the operating system in a
    /// node, fixed in tests. `nonce_key` signs digest nonces and must survive a restart. The first outputs ask the store
    /// for bindings and waiting messages; what arrives before its answers waits for them, 2 s at most.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], nonce_key: [u8; 32], now: Now) -> Switch {
        let mut core = Core::new(config, seed, nonce_key);
        Switch {
            auth: Auth::new(&mut core, nonce_key),
            registrar: Registrar::new(&core),
            agents: Agents::new(&core),
            im: Im::new(&mut core, now),
            sessions: Sessions::new(&mut core, now),
            subscriptions: Subscriptions::new(&core),
            calls: Calls::new(&mut core, now),
            proxy: Proxy::new(&core, nonce_key),
            restoring: Restoring::new(&mut core, now),
            started: now,
            core,
        }
    }

    /// Decides about a packet before it is put in line, from its sender and its class ([`sip::peek::class`]). Costs some
    /// tens of nanoseconds: the datagram itself is looked at only when its sender sends too much.
    pub fn admit(&mut self, now: Now, flow: &Flow, class: Class, datagram: &[u8]) -> Admit {
        admission::admit(&mut self.core, now, flow, class, datagram)
    }

    /// How long the message that comes next has waited in line. Under overload new work is refused by it.
    pub fn note_delay(&mut self, waited: Duration) {
        self.core.waited = waited;
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        self.core.begin(now);
        self.take(now, input);
        self.settle(now);
    }

    /// The next thing for the shell to do; `None` when all is said.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.outputs.pop_front()
    }

    /// When [`Switch::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.core.endpoint.poll_timeout()
    }

    /// Runs what is due at `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        self.core.begin(now);
        self.core.endpoint.handle_timeout(now.mono, &mut self.core.effects);
        self.settle(now);
    }

    /// After a panic was caught in [`Switch::handle_input`] or [`Switch::handle_timeout`]: tears down the transaction,
    /// dialog and interaction that were being worked on (BYE to each leg, CDR reason `internal`). What was still to be done
    /// for others in the same step is done.
    pub fn recover(&mut self, now: Now) {
        self.core.begin(now);
        self.core.tally.recoveries += 1;
        let Some(owner) = self.core.working.take() else {
            return self.settle(now);
        };
        match Room::of(owner) {
            Some((Room::Call, _)) => self.calls.recover(cx!(self, now), owner),
            Some((Room::Im, number)) => self.im.recover(cx!(self, now), number),
            Some((Room::Subscription, number)) => self.subscriptions.recover(cx!(self, now), number),
            Some((Room::Session, number)) => self.sessions.recover(cx!(self, now), number),
            Some((Room::Proxy, number)) => self.proxy.recover(cx!(self, now), number),
            Some((Room::Registrar | Room::Switch | Room::Agent, _)) | None => {}
        }
        self.settle(now);
    }

    /// Checks the invariants: every leg belongs to a call, every port to a leg, every timer to something alive, and nobody is
    /// busy without a call.
    ///
    /// # Errors
    /// What is wrong, in words for the log.
    pub fn audit(&self) -> Result<(), String> {
        self.core.endpoint.audit()?;
        self.core.admission.audit()?;
        self.registrar.audit()?;
        self.im.audit()?;
        self.sessions.audit()?;
        self.subscriptions.audit()?;
        self.agents.audit(&self.calls)?;
        self.proxy.audit()?;
        self.calls.audit(&self.core.endpoint)
    }
}
