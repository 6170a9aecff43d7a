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

pub mod config;
mod input;
mod output;

pub use config::Config;
pub use input::{Command, Input};
pub use output::{Answer, Counters, Deadline, Notice, Output, Refusal};

use clock::Now;

/// A token joins a question in an [`Output`] to its answer in an [`Input`]. Never reused while the node runs.
pub type Token = u64;

/// The whole switch: one thread's work, no global state; two can live in one process.
pub struct Switch {
    outputs: std::collections::VecDeque<Output>,
}

impl Switch {
    /// A switch with nothing in it. `seed` feeds its generator of tags, branches and ids: from the operating system in a
    /// node, fixed in tests. `nonce_key` signs digest nonces and must survive a restart. The first outputs ask the store
    /// for bindings and waiting messages.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], nonce_key: [u8; 32], now: Now) -> Switch {
        let _ = (config, seed, nonce_key, now);
        Switch {
            outputs: std::collections::VecDeque::new(),
        }
    }

    /// Takes one input.
    pub fn handle_input(&mut self, now: Now, input: Input) {
        let _ = (now, input);
    }

    /// The next thing for the shell to do; `None` when all is said.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Switch::handle_timeout`] wants to be called, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Deadline> {
        None
    }

    /// Runs what is due at `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        let _ = now;
    }

    /// Figures for `/metrics`.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    /// After a panic was caught in [`Switch::handle_input`] or [`Switch::handle_timeout`]: tears down the transaction,
    /// dialog and interaction that were being worked on (BYE to each leg, CDR reason `internal`).
    pub fn recover(&mut self, now: Now) {
        let _ = now;
    }

    /// Checks the invariants: every leg belongs to a call, every port to a leg, every timer to something alive.
    ///
    /// # Errors
    /// What is wrong, in words for the log.
    pub fn audit(&self) -> Result<(), String> {
        Ok(())
    }
}
