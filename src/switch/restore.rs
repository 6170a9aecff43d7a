//! The first moments: what was before the restart comes from the store, and what arrives meanwhile waits for it.

use crate::core::{Core, cx};
use crate::room::Room;
use crate::subscribe::states;
use crate::{Input, Switch, Token};
use clock::Now;
use model::{Binding, StoreOp, StoreReply};
use std::collections::VecDeque;
use std::time::Duration;

/// A store that takes longer, or fails for so long, does not keep the phones waiting: what it says later is still taken in.
const PATIENCE: Duration = Duration::from_secs(2);
/// Messages and commands held: what arrives in that time. Phones send again what is dropped; no command is.
const MAX_HELD: usize = 4_096;
/// Bindings taken in by one step: some hundred microseconds.
const BINDINGS_PER_STEP: usize = 128;
/// A store that failed is asked again after this while others wait for it.
const RETRY_SOON: Duration = Duration::from_millis(250);
/// The same when nobody waits any more.
const RETRY: Duration = Duration::from_secs(5);

/// Timers of [`Room::Switch`].
pub(crate) mod timer {
    /// Patience is over.
    pub(crate) const PATIENCE: u64 = 1;
    /// Ask for the bindings again.
    pub(crate) const BINDINGS: u64 = 2;
    /// Ask for the messages again.
    pub(crate) const MESSAGES: u64 = 3;
    /// Ask for the settings of users again.
    pub(crate) const SETTINGS: u64 = 4;
    /// Ask for the subscriptions again.
    pub(crate) const SUBSCRIPTIONS: u64 = 5;
    /// Ask for the sessions of messages again.
    pub(crate) const SESSIONS: u64 = 6;
    /// Ask for the devices again.
    pub(crate) const DEVICES: u64 = 7;
    /// Ask for the receipts again.
    pub(crate) const RECEIPTS: u64 = 8;
    /// More bindings are to be taken in.
    pub(crate) const MORE: u64 = 9;
}

/// What is asked of the store.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Bindings,
    Messages,
    Settings,
    Subscriptions,
    Sessions,
    Devices,
    Receipts,
}

/// What was asked of the store and not answered, and what waits for it.
#[derive(Debug)]
pub(crate) struct Restoring {
    questions: Vec<(Token, Wanted)>,
    /// Questions that failed and are to be asked again.
    failed: usize,
    /// What is left of the bindings.
    bindings: Option<std::vec::IntoIter<Binding>>,
    /// Answers that came meanwhile: what they are about rests on the bindings. One for each question.
    later: VecDeque<(Wanted, StoreReply)>,
    held: VecDeque<Input>,
    /// Patience was over while bindings were being taken in: nobody is served by half a registrar.
    is_urgent: bool,
    is_over: bool,
}

impl Restoring {
    /// Asks the store.
    #[must_use]
    pub(crate) fn new(core: &mut Core, now: Now) -> Restoring {
        core.endpoint
            .set_timer(now.mono + PATIENCE, Room::Switch.owner(timer::PATIENCE), 0);
        let mut restoring = Restoring {
            questions: Vec::new(),
            failed: 0,
            bindings: None,
            later: VecDeque::new(),
            held: VecDeque::new(),
            is_urgent: false,
            is_over: false,
        };
        restoring.ask(core, Wanted::Bindings);
        restoring.ask(core, Wanted::Messages);
        restoring.ask(core, Wanted::Settings);
        restoring.ask(core, Wanted::Subscriptions);
        restoring.ask(core, Wanted::Sessions);
        restoring.ask(core, Wanted::Devices);
        restoring.ask(core, Wanted::Receipts);
        restoring
    }

    fn ask(&mut self, core: &mut Core, wanted: Wanted) {
        let op = match wanted {
            Wanted::Bindings => StoreOp::LoadBindings,
            Wanted::Messages => StoreOp::CountMessages,
            Wanted::Settings => StoreOp::LoadUserSettings,
            Wanted::Subscriptions => StoreOp::LoadSubscriptions,
            Wanted::Sessions => StoreOp::LoadSessions,
            Wanted::Devices => StoreOp::LoadDevices,
            Wanted::Receipts => StoreOp::LoadReceipts,
        };
        self.questions.push((core.ask(Room::Switch, op), wanted));
    }

    fn ask_again(&mut self, core: &mut Core, wanted: Wanted) {
        self.failed -= 1;
        self.ask(core, wanted);
    }

    /// What an answer is to; it is asked no longer.
    fn take(&mut self, token: Token) -> Option<Wanted> {
        let place = self.questions.iter().position(|(asked, _)| *asked == token)?;
        Some(self.questions.remove(place).1)
    }
}

impl Switch {
    /// Keeps an input for later while the store has not answered; gives it back when it can be dealt with. A command waits
    /// too: who asks how things are is not to be told of a switch that has forgotten everything.
    pub(crate) fn hold(&mut self, input: Input) -> Option<Input> {
        let restoring = &mut self.restoring;
        let has_room = restoring.held.len() < MAX_HELD;
        match input {
            _ if restoring.is_over => Some(input),
            Input::Datagram { .. } | Input::Command { .. } if has_room => {
                restoring.held.push_back(input);
                None
            }
            Input::Datagram { .. } => {
                self.core.tally.held_dropped += 1;
                None
            }
            _ => Some(input),
        }
    }

    /// An answer of the store. One that failed is asked for again.
    pub(crate) fn on_restored(&mut self, now: Now, token: Token, reply: StoreReply) {
        let Some(wanted) = self.restoring.take(token) else {
            return;
        };
        if self.restoring.bindings.is_some() {
            return self.restoring.later.push_back((wanted, reply));
        }
        self.take_in(now, wanted, reply);
        self.release_if_complete(now);
    }

    fn take_in(&mut self, now: Now, wanted: Wanted, reply: StoreReply) {
        match reply {
            StoreReply::Bindings(bindings) => {
                self.restoring.bindings = Some(bindings.into_iter());
                self.take_in_bindings(now);
            }
            StoreReply::Waiting { per_user, last_id } => self.im.restore(per_user, last_id),
            StoreReply::Subscriptions(all) => self.subscriptions.restore(cx!(self, now), &states!(self), all),
            StoreReply::Sessions(all) => self.sessions.restore(cx!(self, now), all),
            StoreReply::UserSettings(settings) => {
                self.core.settings.restore(settings);
                self.agents.on_reload(&mut self.core);
            }
            StoreReply::Devices(all) => self.im.restore_devices(all),
            StoreReply::Receipts(all) => self.im.restore_receipts(cx!(self, now), all),
            StoreReply::Failed(why) => {
                self.core.tally.store_failures += 1;
                tracing::error!(%why, "what was stored cannot be read yet");
                let number = match wanted {
                    Wanted::Bindings => timer::BINDINGS,
                    Wanted::Messages => timer::MESSAGES,
                    Wanted::Settings => timer::SETTINGS,
                    Wanted::Subscriptions => timer::SUBSCRIPTIONS,
                    Wanted::Sessions => timer::SESSIONS,
                    Wanted::Devices => timer::DEVICES,
                    Wanted::Receipts => timer::RECEIPTS,
                };
                self.restoring.failed += 1;
                let pause = if self.restoring.is_over { RETRY } else { RETRY_SOON };
                self.core
                    .endpoint
                    .set_timer(now.mono + pause, Room::Switch.owner(number), 0);
            }
            _ => {}
        }
    }

    /// The next of the bindings; after the last of them the answers that came meanwhile. Messages have their turn between.
    fn take_in_bindings(&mut self, now: Now) {
        // Set before anything is done: after a panic it goes on with the next.
        let more = Room::Switch.owner(timer::MORE);
        let more = self.core.endpoint.set_timer(now.mono, more, 0);
        if let Some(bindings) = &mut self.restoring.bindings {
            let lot = bindings.by_ref().take(BINDINGS_PER_STEP);
            self.registrar.restore(&mut self.core, now, lot);
            if bindings.len() > 0 {
                return;
            }
            self.restoring.bindings = None;
            self.registrar.on_restored(&mut self.core, now);
        }
        while let Some((wanted, reply)) = self.restoring.later.pop_front() {
            self.take_in(now, wanted, reply);
        }
        self.core.endpoint.cancel_timer(more);
    }

    fn release_if_complete(&mut self, now: Now) {
        let restoring = &self.restoring;
        let is_complete = restoring.questions.is_empty() && restoring.failed == 0 && restoring.bindings.is_none();
        if is_complete {
            self.im.on_restored(cx!(self, now));
            self.release(now);
        } else if restoring.is_urgent && restoring.bindings.is_none() {
            self.release(now);
        }
    }

    /// Goes on without the store's answers, or with them.
    fn release(&mut self, now: Now) {
        (self.restoring.is_over, self.restoring.is_urgent) = (true, false);
        for input in std::mem::take(&mut self.restoring.held) {
            self.take(now, input);
            self.settle(now);
        }
    }

    /// A timer of [`Room::Switch`].
    pub(crate) fn on_restore_timer(&mut self, now: Now, number: u64) {
        match number {
            timer::PATIENCE if self.restoring.bindings.is_some() => self.restoring.is_urgent = !self.restoring.is_over,
            timer::PATIENCE if !self.restoring.is_over => {
                tracing::error!("the store does not answer: going on without what it holds");
                self.release(now);
            }
            timer::MORE => {
                self.take_in_bindings(now);
                self.release_if_complete(now);
            }
            timer::BINDINGS => self.restoring.ask_again(&mut self.core, Wanted::Bindings),
            timer::SESSIONS => self.restoring.ask_again(&mut self.core, Wanted::Sessions),
            timer::SUBSCRIPTIONS => self.restoring.ask_again(&mut self.core, Wanted::Subscriptions),
            timer::DEVICES => self.restoring.ask_again(&mut self.core, Wanted::Devices),
            timer::RECEIPTS => self.restoring.ask_again(&mut self.core, Wanted::Receipts),
            timer::SETTINGS => self.restoring.ask_again(&mut self.core, Wanted::Settings),
            timer::MESSAGES => self.restoring.ask_again(&mut self.core, Wanted::Messages),
            _ => {}
        }
    }
}
