//! The stored copy of the bindings: written behind, read once at start.
//!
//! What changes how a phone is reached is written at once; a refresh, which only moves the end, within seconds, and many
//! refreshes of one binding in that time as one. A crash in between restores the binding with the end it had before.

use super::{Bound, Registrar, alive};
use crate::core::Core;
use crate::room::Room;
use clock::Now;
use model::{Binding, StoreOp};
use std::collections::VecDeque;
use std::time::Duration;

/// The timer number that no record has: a slab of bindings never grows so far.
pub(super) const FLUSH: u32 = u32::MAX;
/// A phone that refreshes twice within this is written once.
const DELAY: Duration = Duration::from_secs(10);
/// Between two lots, so that the store is never flooded and no step takes long.
const PAUSE: Duration = Duration::from_millis(10);
/// Records in a lot: about 0.1 ms to copy.
const LOT: usize = 128;

/// Records that wait to be written, in the order they became dirty. Bounded by the number of records: each is in it once.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    dirty: VecDeque<u32>,
    is_armed: bool,
}

impl Registrar {
    /// Writes a binding now.
    pub(super) fn save(&mut self, core: &mut Core, index: u32, place: usize) {
        let bound = &mut self.records[index as usize].bindings[place];
        bound.is_dirty = false;
        core.store(StoreOp::PutBinding(Box::new(bound.binding.clone())));
    }

    /// Writes a binding soon.
    pub(super) fn save_soon(&mut self, core: &mut Core, now: Now, index: u32, place: usize) {
        let record = &mut self.records[index as usize];
        record.bindings[place].is_dirty = true;
        if !record.is_dirty {
            record.is_dirty = true;
            self.backlog.dirty.push_back(index);
        }
        self.arm(core, now, DELAY);
    }

    fn arm(&mut self, core: &mut Core, now: Now, after: Duration) {
        if !self.backlog.is_armed {
            self.backlog.is_armed = true;
            core.endpoint
                .set_timer(now.mono + after, Room::Registrar.owner(u64::from(FLUSH)), 0);
        }
    }

    /// Writes a lot, and comes back for the next.
    pub(super) fn flush(&mut self, core: &mut Core, now: Now) {
        self.backlog.is_armed = false;
        self.write(core, LOT);
        if !self.backlog.dirty.is_empty() {
            self.arm(core, now, PAUSE);
        }
    }

    /// Writes all that waits: before the node stops.
    pub(crate) fn flush_all(&mut self, core: &mut Core) {
        self.write(core, usize::MAX);
    }

    fn write(&mut self, core: &mut Core, limit: usize) {
        let lot = self.backlog.dirty.len().min(limit);
        for index in self.backlog.dirty.drain(..lot) {
            // A record that has gone since, or come anew in its place, has nothing dirty or is due soon anyway.
            let Some(record) = self.records.get_mut(index as usize) else {
                continue;
            };
            record.is_dirty = false;
            for bound in record.bindings.iter_mut().filter(|bound| bound.is_dirty) {
                bound.is_dirty = false;
                core.store(StoreOp::PutBinding(Box::new(bound.binding.clone())));
            }
        }
    }

    /// Takes in some of what was stored before the restart. What has run out since, belongs to a user who is gone, or was reached
    /// through a connection alone, or was unbound in the meantime, is removed from the store; what has registered anew stays as it
    /// is.
    pub(crate) fn restore(&mut self, core: &mut Core, now: Now, stored: impl Iterator<Item = Binding>) {
        for binding in stored {
            core.midst_of("restore");
            let left = now.wall.until(binding.expires_at);
            if left.is_zero()
                || core
                    .users
                    .named(binding.aor.user())
                    .is_none_or(|user| user.aor != binding.aor)
                || self.unbound.as_ref().is_some_and(|unbound| unbound.has(&binding)) && !self.is_bound(&binding)
            {
                core.store(StoreOp::DeleteBinding {
                    aor: binding.aor,
                    key: binding.key,
                });
            } else if !self.is_bound(&binding) && self.count < core.config.limits.max_bindings {
                // No phone counts on more than the longest life we grant: a wall clock that was wrong cannot keep it longer.
                let deadline = now.mono + left.min(core.config.registrar.max_expires);
                let connection = restored_connection(core, &binding);
                let bound = Bound {
                    silent_at: alive::silent_at(&binding, now),
                    binding,
                    refreshed: now.mono,
                    deadline,
                    connection,
                    is_dirty: false,
                    is_silent: false,
                };
                if bound.connection.is_none() && bound.ends_with_connection() {
                    let Binding { aor, key, .. } = bound.binding;
                    core.store(StoreOp::DeleteBinding { aor, key });
                    continue;
                }
                if let Some(flow) = bound.flow() {
                    core.admission.know(&flow);
                }
                let index = self.insert(core, bound);
                self.announce(core, now, index, self.records[index as usize].bindings.len() - 1);
            }
        }
    }

    /// All of it has been taken in.
    pub(crate) fn on_restored(&mut self, core: &mut Core, now: Now) {
        self.unbound = None;
        self.arm_round(core, now);
        tracing::info!(bound = self.count, "bindings restored");
    }

    fn is_bound(&self, binding: &Binding) -> bool {
        let record = self.find(&binding.aor).map(|index| &self.records[index as usize]);
        record.is_some_and(|record| record.bindings.iter().any(|bound| bound.binding.key == binding.key))
    }
}

/// Datagrams find their way back through the same listener, if it is still there; a stream is gone.
fn restored_connection(core: &Core, binding: &Binding) -> Option<u64> {
    let model::Endpoint { transport, local, .. } = binding.endpoint;
    let transport = super::transport(transport);
    let is_there = core
        .config
        .listeners
        .iter()
        .any(|l| l.transport == transport && l.local == local);
    (transport == sip::Transport::Udp && is_there).then_some(0)
}
