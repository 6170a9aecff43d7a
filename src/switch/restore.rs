//! The first moments: what was before the restart comes from the store, and what arrives meanwhile waits for it.

use crate::core::{Core, cx};
use crate::room::Room;
use crate::{Input, Switch, Token};
use clock::Now;
use model::{StoreOp, StoreReply};
use std::collections::VecDeque;
use std::time::Duration;

/// A store that takes longer does not keep the phones waiting: what it says later is still taken in.
const PATIENCE: Duration = Duration::from_secs(2);
/// Messages held: what phones send in that time; they send again what is dropped.
const MAX_HELD: usize = 4_096;
/// The timer of [`Room::Switch`].
pub(crate) const RESTORE: u64 = 1;

/// What is asked of the store, and what waits for its answers.
#[derive(Debug)]
pub(crate) struct Restoring {
    questions: Vec<Token>,
    held: VecDeque<Input>,
    is_over: bool,
}

impl Restoring {
    /// Asks the store.
    #[must_use]
    pub(crate) fn new(core: &mut Core, now: Now) -> Restoring {
        core.endpoint
            .set_timer(now.mono + PATIENCE, Room::Switch.owner(RESTORE), 0);
        let questions = vec![
            core.ask(Room::Switch, StoreOp::LoadBindings),
            core.ask(Room::Switch, StoreOp::CountMessages),
        ];
        Restoring {
            questions,
            held: VecDeque::new(),
            is_over: false,
        }
    }
}

impl Switch {
    /// Keeps an input for later while the store has not answered; gives it back when it can be dealt with.
    pub(crate) fn hold(&mut self, input: Input) -> Option<Input> {
        match &mut self.restoring {
            Some(restoring) if !restoring.is_over && matches!(input, Input::Datagram { .. }) => {
                if restoring.held.len() < MAX_HELD {
                    restoring.held.push_back(input);
                } else {
                    self.core.tally.held_dropped += 1;
                }
                None
            }
            _ => Some(input),
        }
    }

    /// One of the two answers.
    pub(crate) fn on_restored(&mut self, now: Now, token: Token, reply: StoreReply) {
        match reply {
            StoreReply::Bindings(bindings) => self.registrar.restore(&mut self.core, now, bindings),
            StoreReply::Waiting { per_user, last_id } => self.im.restore(per_user, last_id),
            StoreReply::Failed(why) => {
                self.core.tally.store_failures += 1;
                tracing::error!(%why, "what was stored cannot be read: starting without it");
            }
            _ => {}
        }
        let Some(restoring) = &mut self.restoring else { return };
        restoring.questions.retain(|question| *question != token);
        if restoring.questions.is_empty() {
            self.im.on_restored(cx!(self, now));
            self.release(now);
            self.restoring = None;
        }
    }

    /// Goes on without the store's answers, or with them.
    pub(crate) fn release(&mut self, now: Now) {
        let Some(restoring) = &mut self.restoring else { return };
        restoring.is_over = true;
        for input in std::mem::take(&mut restoring.held) {
            self.take(now, input);
            self.settle(now);
        }
    }

    /// Patience is over.
    pub(crate) fn on_restore_overdue(&mut self, now: Now) {
        if self.restoring.as_ref().is_some_and(|restoring| !restoring.is_over) {
            tracing::error!("the store does not answer: going on without what it holds");
            self.release(now);
        }
    }
}
