//! Commits that fail on demand, so that tests need no broken disk.

use model::StoreError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A handle to the store's commits: clones speak of the same store. Every operation of a refused commit has been executed and
/// is rolled back, as with a disk that fails in its `fsync`.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    next: Option<StoreError>,
    every: Option<StoreError>,
}

impl Faults {
    /// The next commit fails, those after it do not.
    pub fn fail_next(&self, why: StoreError) {
        self.plan().next = Some(why);
    }

    /// Every commit fails until [`Faults::heal`].
    pub fn fail(&self, why: StoreError) {
        self.plan().every = Some(why);
    }

    /// Commits succeed again.
    pub fn heal(&self) {
        *self.plan() = Plan::default();
    }

    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let mut plan = self.plan();
        plan.next.take().or(plan.every).map_or(Ok(()), Err)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
