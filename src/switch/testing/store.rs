//! A store in memory that keeps its promises, and fails when a test wants it to.

use super::tables::Tables;
use clock::{Mono, Now};
use model::{StoreError, StoreOp, StoreReply};
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// What lasts over a restart of the switch.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Tables,
    /// Every operation fails with this while it is set; writes that nobody waits for are done afterwards.
    pub failing: Option<StoreError>,
    /// Replies take so long.
    pub delay: Duration,
    /// Nothing is answered, and nothing takes effect, while it is set.
    pub is_hung: bool,
    replies: VecDeque<(Mono, u64, StoreReply)>,
    /// Failed writes that nobody waits for.
    undone: Vec<StoreOp>,
}

impl MemoryStore {
    /// Carries out an operation at once; its reply comes after the delay.
    pub(super) fn push(&mut self, now: Now, token: Option<u64>, op: StoreOp) {
        if self.is_hung {
            return;
        }
        self.catch_up();
        match (self.failing, token) {
            (Some(_), None) => self.undone.push(op),
            (None, None) => drop(self.tables.apply(op)),
            (Some(why), Some(token)) => self.reply(now, token, StoreReply::Failed(why)),
            (None, Some(token)) => {
                let reply = self.tables.apply(op);
                self.reply(now, token, reply);
            }
        }
    }

    fn reply(&mut self, now: Now, token: u64, reply: StoreReply) {
        self.replies.push_back((now.mono + self.delay, token, reply));
    }

    fn catch_up(&mut self) {
        if self.failing.is_none() {
            for op in std::mem::take(&mut self.undone) {
                self.tables.apply(op);
            }
        }
    }

    pub(super) fn next(&self) -> Option<Mono> {
        self.replies.front().map(|&(at, _, _)| at)
    }

    pub(super) fn pop(&mut self, now: Now) -> Option<(u64, StoreReply)> {
        self.catch_up();
        self.next().filter(|at| *at <= now.mono)?;
        self.replies.pop_front().map(|(_, token, reply)| (token, reply))
    }

    /// The switch that asked is gone.
    pub(super) fn forget_questions(&mut self) {
        self.replies.clear();
    }
}

impl Deref for MemoryStore {
    type Target = Tables;
    fn deref(&self) -> &Tables {
        &self.tables
    }
}

impl DerefMut for MemoryStore {
    fn deref_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }
}
