//! What waits for the writer: two lanes, and what could not be written.

use crate::behind::Behind;
use crate::kept::Kept;
use crate::{Health, Refused};
use clock::{Mono, System};
use model::{StoreError, StoreOp};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Most operations of either lane in one transaction: enough that the `fsync` costs little for each, and few enough that the
/// first of them waits some tens of milliseconds at most.
const LANE_PER_BATCH: usize = 2_048;

/// How long call records wait for others, to be written with them: a fraction of what a restart takes, whose loss they share.
const COMPANY: Duration = Duration::from_millis(20);

/// How long after a failed commit what nobody waits for is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Where threads leave operations for the writer.
pub(crate) struct Queue {
    clock: System,
    lanes: Mutex<Lanes>,
    wake: Condvar,
}

#[derive(Default)]
struct Lanes {
    kept: Kept,
    /// When the first of `kept` came.
    kept_since: Mono,
    behind: Behind,
    /// Writes without a token whose commit failed.
    again: Kept,
    /// Set by a failed commit: when `again`, the bindings and a probe are due. A commit that works resets it.
    retry_at: Option<Mono>,
    /// How many of the first operations ever put into `kept` are on the disk, or can never be.
    settled: u64,
    closing: bool,
    /// The writer is gone.
    dead: bool,
    health: Health,
}

/// What the writer carries out in one transaction: operations, and for each the tokens that wait for it. An empty one is a
/// probe of a store that failed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Batch {
    pub(crate) ops: Vec<StoreOp>,
    pub(crate) tokens: Vec<Vec<u64>>,
    /// How many of them, the last ones, are about bindings.
    pub(crate) bindings: usize,
}

impl Batch {
    fn push(&mut self, op: StoreOp, tokens: Vec<u64>) {
        self.ops.push(op);
        self.tokens.push(tokens);
    }
}

/// What became of a batch that was committed.
#[derive(Debug)]
pub(crate) struct Done {
    /// Operations carried out.
    pub(crate) operations: usize,
    /// Operations that failed alone.
    pub(crate) failed: usize,
    /// How many were about bindings.
    pub(crate) bindings: usize,
    /// Whether anything was written.
    pub(crate) wrote: bool,
    /// When it was begun.
    pub(crate) began: Mono,
}

impl Queue {
    pub(crate) fn new() -> Queue {
        Queue {
            clock: System::start(),
            lanes: Mutex::default(),
            wake: Condvar::new(),
        }
    }

    pub(crate) fn push(&self, token: Option<u64>, op: StoreOp) -> Result<(), Refused> {
        let now = self.now();
        let mut lanes = self.lanes();
        let due_at = lanes.due_at();
        let result = lanes.push(now, token, op);
        // A binding queued during a rest wakes nobody.
        if lanes.due_at() != due_at {
            self.wake.notify_one();
        }
        result
    }

    /// Waits for something to write. `None` once the queue is closed and empty.
    pub(crate) fn next_batch(&self) -> Option<Batch> {
        let mut lanes = self.lanes();
        loop {
            let now = self.now();
            match lanes.due_at() {
                Some(at) if at <= now => return Some(lanes.take(now)),
                None if lanes.closing => return None,
                Some(at) => lanes = self.wait(lanes, at.since(now)),
                None => lanes = self.wake.wait(lanes).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn wait<'a>(&self, lanes: MutexGuard<'a, Lanes>, time: Duration) -> MutexGuard<'a, Lanes> {
        self.wake
            .wait_timeout(lanes, time)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// A batch was carried out and committed.
    pub(crate) fn on_success(&self, done: &Done) {
        let now = self.now();
        let mut lanes = self.lanes();
        lanes.health.operations += done.operations as u64;
        lanes.health.failed += done.failed as u64;
        if done.wrote {
            lanes.health.commits += 1;
            lanes.health.failing = None;
            lanes.retry_at = None;
        }
        if done.bindings > 0 {
            lanes.behind.on_written(now, now.since(done.began));
        }
    }

    /// A commit failed: `again` are its writes for which nobody waits.
    pub(crate) fn on_failure(&self, why: StoreError, failed: usize, again: Vec<StoreOp>) {
        let now = self.now();
        let mut lanes = self.lanes();
        lanes.health.failing = Some(why);
        lanes.health.failed += failed as u64;
        lanes.retry_at = Some(now + RETRY_AFTER);
        lanes.put_all_back(again);
    }

    /// The writer holds no batch: what was taken and does not wait to be tried again has been dealt with.
    pub(crate) fn on_idle(&self) {
        let mut lanes = self.lanes();
        if lanes.again.len() == 0 && lanes.health.failing.is_none() {
            lanes.settled = lanes.kept.progress().1;
        }
    }

    /// How many operations were ever queued that are not about bindings, and how many of the first of them are on the disk.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let lanes = self.lanes();
        (lanes.kept.progress().0, lanes.settled)
    }

    /// Lets the writer empty the queue and end.
    pub(crate) fn close(&self) {
        self.lanes().closing = true;
        self.wake.notify_one();
    }

    /// The writer ends; if the queue was not closed, for a fault.
    pub(crate) fn on_writer_gone(&self) {
        let mut lanes = self.lanes();
        lanes.dead = true;
        if !lanes.closing {
            lanes.health.failing = Some(StoreError::Io);
        }
    }

    pub(crate) fn health(&self) -> Health {
        let lanes = self.lanes();
        Health {
            queued: lanes.len() as u64,
            coalesced: lanes.behind.coalesced(),
            ..lanes.health
        }
    }

    pub(crate) fn now(&self) -> Mono {
        self.clock.now().mono
    }

    /// A thread that panicked with the lock held has left whole operations: each change of the lanes is complete before
    /// anything that can panic.
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn push(&mut self, now: Mono, token: Option<u64>, op: StoreOp) -> Result<(), Refused> {
        if self.dead {
            return Err(Refused {
                op,
                why: StoreError::Io,
            });
        }
        let result = if is_about_bindings(&op) {
            self.behind.push(token, op)
        } else {
            if self.kept.len() == 0 {
                self.kept_since = now;
            }
            self.kept.push(token, op)
        };
        result.map_err(|op| {
            self.health.refused += 1;
            Refused {
                op: *op,
                why: StoreError::Busy,
            }
        })
    }

    /// Of two writes to one binding the later has to find its place first: then the earlier is needless.
    fn put_all_back(&mut self, failed: Vec<StoreOp>) {
        let (bindings, others): (Vec<_>, Vec<_>) = failed.into_iter().partition(is_about_bindings);
        others.into_iter().for_each(|op| self.put_back(op));
        bindings.into_iter().rev().for_each(|op| self.put_back(op));
    }

    fn put_back(&mut self, op: StoreOp) {
        let room = if self.closing {
            false
        } else if is_about_bindings(&op) {
            self.behind.put_back(op)
        } else {
            self.again.push(None, op).is_ok()
        };
        self.health.lost += u64::from(!room);
    }

    /// When [`Lanes::take`] has something to give, if ever.
    fn due_at(&self) -> Option<Mono> {
        if self.kept.is_urgent() || (self.closing && self.len() > 0) {
            return Some(Mono(0));
        }
        let records = (self.kept.len() > 0).then(|| self.kept_since + COMPANY);
        let others = match self.retry_at {
            Some(_) if self.closing => None,
            Some(at) => Some(at),
            None if self.again.len() > 0 => Some(Mono(0)),
            None => self.behind.due_at(),
        };
        [records, others].into_iter().flatten().min()
    }

    fn take(&mut self, now: Mono) -> Batch {
        let mut batch = Batch::default();
        let may_retry = self.closing || self.retry_at.is_none_or(|at| at <= now);
        if may_retry {
            take_kept(&mut self.again, &mut batch);
        }
        take_kept(&mut self.kept, &mut batch);
        if may_retry {
            self.take_bindings(now, &mut batch);
        }
        batch
    }

    fn take_bindings(&mut self, now: Mono, batch: &mut Batch) {
        for _ in 0..LANE_PER_BATCH {
            let next = if self.closing {
                self.behind.pop_first()
            } else {
                self.behind.pop(now)
            };
            let Some((op, tokens)) = next else { break };
            batch.push(op, tokens);
            batch.bindings += 1;
        }
    }

    fn len(&self) -> usize {
        self.kept.len() + self.behind.len() + self.again.len()
    }
}

fn take_kept(lane: &mut Kept, batch: &mut Batch) {
    for (op, token) in std::iter::from_fn(|| lane.pop()).take(LANE_PER_BATCH) {
        batch.push(op, token.into_iter().collect());
    }
}

fn is_about_bindings(op: &StoreOp) -> bool {
    matches!(
        op,
        StoreOp::PutBinding(_) | StoreOp::DeleteBinding { .. } | StoreOp::LoadBindings
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{append, put_binding, put_cdr};

    fn ms(ms: u64) -> Mono {
        Mono(ms * 1_000_000)
    }

    fn failed_at(at: Mono, lost: Vec<StoreOp>) -> Lanes {
        let mut lanes = Lanes {
            retry_at: Some(at + RETRY_AFTER),
            ..Lanes::default()
        };
        lanes.put_all_back(lost);
        lanes
    }

    #[test]
    fn an_empty_queue_is_never_due() {
        assert_eq!(Lanes::default().due_at(), None);
    }

    #[test]
    fn a_batch_takes_so_many_of_each_lane() {
        let mut lanes = Lanes::default();
        for n in 0..LANE_PER_BATCH as u64 + 10 {
            lanes.push(ms(0), Some(n), append(n)).unwrap();
            lanes.push(ms(0), None, put_binding(&n.to_string(), 1)).unwrap();
        }
        let batch = lanes.take(ms(0));
        assert_eq!((batch.ops.len(), batch.bindings), (2 * LANE_PER_BATCH, LANE_PER_BATCH));
        assert_eq!(batch.tokens[1], [1]);
        assert_eq!(batch.ops[LANE_PER_BATCH], put_binding("0", 1));
        let batch = lanes.take(ms(0));
        assert_eq!((batch.ops.len(), batch.bindings), (20, 10));
        assert_eq!(lanes.due_at(), None);
    }

    #[test]
    fn call_records_wait_for_company_and_leave_with_whatever_is_urgent() {
        let mut lanes = Lanes::default();
        for n in 0..3 {
            lanes.push(ms(100 + n), None, put_cdr(n)).unwrap();
        }
        assert_eq!(lanes.due_at(), Some(ms(100) + COMPANY));
        lanes.push(ms(105), Some(1), append(1)).unwrap();
        assert_eq!(lanes.due_at(), Some(ms(0)));
        assert_eq!(lanes.take(ms(105)).ops, [put_cdr(0), put_cdr(1), put_cdr(2), append(1)]);
        assert_eq!(lanes.due_at(), None);
        lanes.push(ms(200), Some(2), put_cdr(4)).unwrap();
        assert_eq!(lanes.due_at(), Some(ms(0)), "somebody waits for it");
    }

    #[test]
    fn what_failed_is_tried_again_after_a_second() {
        let mut lanes = failed_at(ms(5), vec![put_cdr(1), put_binding("alice", 1)]);
        assert_eq!(lanes.due_at(), Some(ms(1_005)));
        let batch = lanes.take(ms(1_005));
        assert_eq!(batch.ops, [put_cdr(1), put_binding("alice", 1)]);
    }

    #[test]
    fn of_two_failed_writes_to_a_binding_the_later_is_tried_again() {
        let mut lanes = failed_at(ms(5), vec![put_binding("alice", 1), put_binding("alice", 2)]);
        assert_eq!(lanes.take(ms(1_005)).ops, [put_binding("alice", 2)]);
    }

    #[test]
    fn new_messages_do_not_wait_for_the_retry_and_bring_nothing_else_along() {
        let mut lanes = failed_at(ms(5), vec![put_cdr(1), put_binding("alice", 1)]);
        lanes.push(ms(6), Some(1), append(1)).unwrap();
        lanes.push(ms(6), Some(2), put_binding("bob", 1)).unwrap();
        assert_eq!(lanes.due_at(), Some(ms(0)));
        assert_eq!(lanes.take(ms(6)).ops, [append(1)]);
        assert_eq!(lanes.due_at(), Some(ms(1_005)));
    }

    #[test]
    fn a_failed_store_without_work_is_probed() {
        let mut lanes = failed_at(ms(5), vec![]);
        assert_eq!(lanes.due_at(), Some(ms(1_005)));
        assert_eq!(lanes.take(ms(1_005)), Batch::default());
    }

    #[test]
    fn after_a_commit_that_works_the_rest_is_due_at_once() {
        let mut lanes = failed_at(ms(5), vec![put_cdr(1), put_binding("alice", 1)]);
        lanes.retry_at = None;
        assert_eq!(lanes.due_at(), Some(ms(0)));
        assert_eq!(lanes.take(ms(6)).ops.len(), 2);
    }

    #[test]
    fn closing_takes_everything_and_keeps_nothing_for_later() {
        let mut lanes = failed_at(ms(5), vec![put_cdr(1), put_binding("alice", 1)]);
        lanes.closing = true;
        lanes.push(ms(6), None, append(1)).unwrap();
        assert_eq!(lanes.take(ms(6)).ops.len(), 3);
        assert_eq!(lanes.due_at(), None);
        lanes.put_back(put_cdr(1));
        assert_eq!((lanes.len(), lanes.health.lost), (0, 1));
    }

    #[test]
    fn gives_up_what_has_no_room_to_wait_and_counts_it() {
        let mut lanes = failed_at(ms(5), vec![]);
        let mut kept = 0;
        while lanes.health.lost == 0 {
            lanes.put_back(put_cdr(kept));
            kept += 1;
        }
        assert_eq!(lanes.again.len() as u64, kept - 1);
        assert_eq!(lanes.again.pop().map(|(op, _)| op), Some(put_cdr(0)));
    }
}
