//! Who has a websocket that shows messages. Each one has a lease here, which ends with it: told when it closes, and by itself
//! when it is not renewed, should that be lost.

use crate::core::Core;
use ahash::RandomState;
use clock::{Mono, Now};
use hashbrown::HashMap;
use model::Aor;
use smallvec::SmallVec;
use std::time::Duration;

/// A websocket renews its lease with each ping, every 20 s: two may be lost.
const LEASE: Duration = Duration::from_secs(70);

/// All leases.
#[derive(Debug)]
pub(super) struct Aware(HashMap<Aor, SmallVec<[Lease; 1]>, RandomState>);

#[derive(Debug)]
struct Lease {
    number: u64,
    until: Mono,
}

impl Aware {
    pub(super) fn new(core: &Core) -> Aware {
        Aware(HashMap::with_hasher(core.hasher.clone()))
    }

    /// A websocket of this user is there, still or from now on.
    pub(super) fn renew(&mut self, user: &Aor, number: u64, now: Now) {
        let leases = self.0.entry(user.clone()).or_default();
        let until = now.mono + LEASE;
        match leases.iter_mut().find(|lease| lease.number == number) {
            Some(lease) => lease.until = until,
            None => leases.push(Lease { number, until }),
        }
    }

    /// A websocket is gone.
    pub(super) fn end(&mut self, user: &Aor, number: u64) {
        if let Some(leases) = self.0.get_mut(user) {
            leases.retain(|lease| lease.number != number);
            if leases.is_empty() {
                self.0.remove(user);
            }
        }
    }

    /// Whether this user sees invitations as such.
    #[must_use]
    pub(super) fn is(&self, user: &Aor, now: Now) -> bool {
        let mut leases = self.0.get(user).into_iter().flatten();
        leases.any(|lease| lease.until > now.mono)
    }

    /// Forgets leases that ran out: whose they were, and their numbers.
    pub(super) fn expire(&mut self, now: Now) -> Vec<(Aor, u64)> {
        let mut over = Vec::new();
        self.0.retain(|user, leases| {
            let ran_out = leases.iter().filter(|lease| lease.until <= now.mono);
            over.extend(ran_out.map(|lease| (user.clone(), lease.number)));
            leases.retain(|lease| lease.until > now.mono);
            !leases.is_empty()
        });
        over.sort();
        over
    }
}
