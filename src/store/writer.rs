//! The one thread that writes.

use crate::Faults;
use crate::backend::{Backend, is_read, writes};
use crate::queue::{Batch, Done, Queue};
use clock::Mono;
use model::{StoreError, StoreOp, StoreReply};
use std::sync::Arc;

/// Takes a token and its reply.
pub(crate) type OnReply = Box<dyn FnMut(u64, StoreReply) + Send>;

pub(crate) struct Writer {
    queue: Arc<Queue>,
    backend: Box<dyn Backend>,
    faults: Faults,
    on_reply: OnReply,
    failing: Option<StoreError>,
}

impl Writer {
    pub(crate) fn new(queue: Arc<Queue>, backend: Box<dyn Backend>, faults: Faults, on_reply: OnReply) -> Writer {
        Writer {
            queue,
            backend,
            faults,
            on_reply,
            failing: None,
        }
    }

    /// Until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let _gone = Gone(self.queue.clone());
        while let Some(batch) = self.queue.next_batch() {
            self.write(batch);
        }
        self.backend.close();
    }

    fn write(&mut self, batch: Batch) {
        let began = self.queue.now();
        match self.transact(&batch.ops) {
            Ok(replies) => self.on_commit(batch, replies, began),
            Err(why) => self.on_failure(batch, why),
        }
    }

    fn transact(&mut self, ops: &[StoreOp]) -> Result<Vec<StoreReply>, StoreError> {
        let faults = &self.faults;
        self.backend.transact(ops, &mut || faults.check())
    }

    /// The batch is on disk, but for the operations that failed alone. If that was for want of room or of a working disk, those
    /// for which nobody waits are kept for another try.
    fn on_commit(&mut self, batch: Batch, replies: Vec<StoreReply>, began: Mono) {
        let wrote = writes(&batch.ops);
        let failures = replies.iter().filter_map(failure);
        let (failed, outage) = (failures.clone().count(), failures.clone().find(|why| may_pass(*why)));
        let operations = replies.len() - failed;
        self.queue.on_success(&Done {
            operations,
            failed,
            bindings: batch.bindings,
            wrote,
            began,
        });
        if let Some(why) = outage {
            let stranded =
                |(tokens, reply): (&Vec<u64>, &StoreReply)| tokens.is_empty() && failure(reply).is_some_and(may_pass);
            let stranded: Vec<_> = batch.tokens.iter().zip(&replies).map(stranded).collect();
            let again = batch
                .ops
                .into_iter()
                .zip(stranded)
                .filter(|(op, stranded)| *stranded && !is_read(op));
            self.queue.on_failure(why, 0, again.map(|(op, _)| op));
            self.tell_failure(why);
        } else if wrote {
            self.tell_recovery();
        }
        self.reply(batch.tokens, replies);
    }

    /// Nothing of the batch is on disk. Its questions are asked again alone, for a full disk can be read; its writes are
    /// answered with the failure, or kept for another try when nobody waits for an answer.
    fn on_failure(&mut self, batch: Batch, why: StoreError) {
        self.tell_failure(why);
        let (reads, writes): (Vec<_>, Vec<_>) =
            batch.ops.into_iter().zip(batch.tokens).partition(|(op, _)| is_read(op));
        let (again, answered): (Vec<_>, Vec<_>) = writes.into_iter().partition(|(_, tokens)| tokens.is_empty());
        self.queue
            .on_failure(why, answered.len(), again.into_iter().map(|(op, _)| op));
        for (_, tokens) in answered {
            self.reply(vec![tokens], vec![StoreReply::Failed(why)]);
        }
        let (reads, tokens): (Vec<_>, Vec<_>) = reads.into_iter().unzip();
        if !reads.is_empty() {
            let replies = self.transact(&reads);
            self.reply(
                tokens,
                replies.unwrap_or_else(|why| vec![StoreReply::Failed(why); reads.len()]),
            );
        }
    }

    fn reply(&mut self, tokens: Vec<Vec<u64>>, replies: Vec<StoreReply>) {
        for (tokens, reply) in tokens.into_iter().zip(replies) {
            let Some((last, earlier)) = tokens.split_last() else {
                continue;
            };
            for token in earlier {
                (self.on_reply)(*token, reply.clone());
            }
            (self.on_reply)(*last, reply);
        }
    }

    /// Once for each outage: how often it fails depends on what peers send.
    fn tell_failure(&mut self, why: StoreError) {
        if self.failing.replace(why) != Some(why) {
            tracing::error!(error = %why, "the store cannot write; it keeps trying");
        }
    }

    fn tell_recovery(&mut self) {
        if self.failing.take().is_some() {
            tracing::info!("the store writes again");
        }
    }
}

fn failure(reply: &StoreReply) -> Option<StoreError> {
    match reply {
        StoreReply::Failed(why) => Some(*why),
        _ => None,
    }
}

/// Whether the same operation may succeed later.
fn may_pass(why: StoreError) -> bool {
    matches!(why, StoreError::Full | StoreError::Io | StoreError::Locked)
}

/// Says that the writer is gone, also when it panicked: otherwise operations would gather without anyone to take them.
struct Gone(Arc<Queue>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.on_writer_gone();
    }
}
