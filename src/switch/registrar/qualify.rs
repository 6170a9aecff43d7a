//! Whether contacts are still there: OPTIONS to each of them once in a while (RFC 3261 section 11). Any answer will do; one
//! whose question runs out is not called any more until it answers or registers again, or is unbound at once.
//!
//! The questions are spread evenly over the interval. There is a bound to their rate, so with very many contacts the
//! interval grows and the load does not.

use super::{Bound, Registrar};
use crate::config::Silent;
use crate::core::Core;
use crate::room::Room;
use clock::Now;
use model::{Aor, BindingKey};
use sip::endpoint::Event;
use sip::{Draft, Method, Name};
use slab::Slab;
use std::time::Duration;

/// The timer number beside that of the write-behind.
pub(super) const TICK: u32 = u32::MAX - 1;
/// Contacts are asked so often in small lots.
const EACH: Duration = Duration::from_millis(100);
/// Questions at once, so 1,280 a second.
const LOT: u64 = 128;
/// Questions that wait for their answer. A dead contact is given up after 32 s.
const MAX_OPEN: usize = 16_384;
/// Places of the slab looked at in one lot: it may have holes.
const PLACES: usize = 4_096;
/// Owner numbers above those of timers, which are 32 bits long, belong to questions.
const QUESTIONS: u64 = 1 << 32;

/// The round over all contacts.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// The place that is asked next.
    next: usize,
    /// Contact-milliseconds that have passed and for which nobody was asked yet.
    owed: u64,
    open: Slab<(Aor, BindingKey)>,
    is_armed: bool,
}

impl Registrar {
    /// Goes on, or begins, as long as contacts are to be asked and there are any.
    pub(super) fn arm_round(&mut self, core: &mut Core, now: Now) {
        let is_wanted = core.config.registrar.qualify.is_some() && self.count > 0;
        if is_wanted && !self.round.is_armed {
            self.round.is_armed = true;
            let owner = Room::Registrar.owner(u64::from(TICK));
            core.endpoint.set_timer(now.mono + EACH, owner, 0);
        }
    }

    /// Asks the next lot.
    pub(super) fn on_round(&mut self, core: &mut Core, now: Now) {
        self.round.is_armed = false;
        let Some(interval) = core.config.registrar.qualify else {
            return;
        };
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        self.round.owed += self.count as u64 * 100;
        let mut lot = (self.round.owed / interval_ms).min(LOT);
        self.round.owed = (self.round.owed - lot * interval_ms).min(interval_ms * LOT);
        for _ in 0..PLACES {
            if lot == 0 || self.round.open.len() >= MAX_OPEN {
                break;
            }
            lot = lot.saturating_sub(self.ask_next(core, now));
        }
        self.arm_round(core, now);
    }

    /// Asks all contacts of the next record; how many.
    fn ask_next(&mut self, core: &mut Core, now: Now) -> u64 {
        let place = self.round.next;
        self.round.next = if place >= self.places { 0 } else { place + 1 };
        let Some(record) = self.records.get(place) else {
            return 0;
        };
        let mut asked = 0;
        for bound in &record.bindings {
            let Some(destination) = bound.destination() else {
                continue;
            };
            let number = self.round.open.insert((record.aor.clone(), bound.binding.key.clone()));
            let draft = question(core, &record.aor, bound);
            let owner = Room::Registrar.owner(QUESTIONS | number as u64);
            let Core { endpoint, effects, .. } = core;
            endpoint.send(now.mono, destination, &draft, owner, effects);
            asked += 1;
        }
        asked
    }

    /// What came of a question; whose contact answers again.
    pub(crate) fn handle_event(&mut self, core: &mut Core, now: Now, number: u64, event: &Event) -> Option<Aor> {
        let is_there = match event {
            Event::Response { message, .. } if message.status() >= 200 => true,
            Event::Timeout { .. } | Event::SendFailed { .. } => false,
            _ => return None,
        };
        let place = usize::try_from(number & (QUESTIONS - 1)).unwrap_or(usize::MAX);
        let (aor, key) = self.round.open.try_remove(place)?;
        let index = self.find(&aor)?;
        let bindings = &mut self.records[index as usize].bindings;
        let place = bindings.iter().position(|bound| bound.binding.key == key)?;
        let was_silent = std::mem::replace(&mut bindings[place].is_silent, !is_there);
        if was_silent == is_there {
            let contact = &*bindings[place].binding.contact;
            tracing::info!(%aor, contact, is_there, "contact answers, or does not");
        }
        match core.config.registrar.silent {
            Silent::Remove if !is_there => self.remove(core, index, place),
            _ if was_silent == is_there => self.announce(core, now, index, place),
            _ => {}
        }
        (was_silent && is_there).then_some(aor)
    }

    /// Questions without an answer yet.
    #[must_use]
    pub(crate) fn questions(&self) -> usize {
        self.round.open.len()
    }
}

fn question(core: &mut Core, aor: &Aor, bound: &Bound) -> Draft {
    let us = format!("sip:{}", core.config.domain);
    let from = format!("<{us}>;tag={}", core.endpoint.new_tag());
    let to = format!("<{}>", crate::core::aor_uri(aor));
    let call_id = core.endpoint.new_call_id();
    let endpoint = &bound.binding.endpoint;
    let contact = core.contact("", super::transport(endpoint.transport), endpoint.local);
    let mut draft = Draft::new(Method::Options, bound.request_uri(), &from, &to, &call_id, 1);
    if !bound.binding.path.is_empty() {
        draft = draft.header(Name::Route, &*bound.binding.path);
    }
    draft
        .header(Name::Contact, contact)
        .header(Name::Accept, "application/sdp")
}
