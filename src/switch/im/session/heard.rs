//! Texts of phones that were on disk when the switch died, and whose senders had no answer: they are said again, and were
//! said.

use clock::{Mono, Now};
use model::{ImMessage, StoreOp};
use std::collections::BTreeSet;

/// Their requests, while they may come again. Nothing is added after the restart, and what one session keeps is bounded.
#[derive(Debug, Default)]
pub(super) struct Heard {
    requests: BTreeSet<u64>,
    until: Mono,
}

impl Heard {
    /// What a session has kept.
    pub(super) fn know<'m>(&mut self, now: Now, messages: impl IntoIterator<Item = &'m ImMessage>) {
        let recent = |message: &&ImMessage| message.request != 0 && message.at + StoreOp::RETRY_WINDOW > now.wall;
        let recent = messages.into_iter().filter(recent);
        self.requests.extend(recent.map(|message| message.request));
        self.until = now.mono + StoreOp::RETRY_WINDOW;
    }

    /// Whether this is one of them.
    pub(super) fn knows(&mut self, now: Mono, request: impl FnOnce() -> u64) -> bool {
        if self.until <= now {
            self.requests.clear();
        }
        !self.requests.is_empty() && self.requests.contains(&request())
    }
}
