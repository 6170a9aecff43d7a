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
        self.queue.on_idle();
    }

    fn transact(&mut self, ops: &[StoreOp]) -> Result<Vec<StoreReply>, StoreError> {
        let faults = &self.faults;
        self.backend.transact(ops, &mut || faults.check())
    }

    /// The batch is on disk, but for the operations that failed alone. If that was for want of room or of a working disk, those
    /// for which nobody waits are kept for another try.
    fn on_commit(&mut self, batch: Batch, replies: Vec<StoreReply>, began: Mono) {
        let failures = replies.iter().filter_map(failure);
        let (failed, outage) = (failures.clone().count(), failures.clone().find(|why| may_pass(*why)));
        let done = Done {
            operations: replies.len() - failed,
            failed,
            bindings: batch.bindings,
            wrote: writes(&batch.ops),
            began,
        };
        self.queue.on_success(&done);
        if let Some(why) = outage {
            self.queue
                .on_failure(why, 0, stranded(batch.ops, &batch.tokens, &replies));
            self.tell_failure(why);
        } else if done.wrote {
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
        let again = again.into_iter().map(|(op, _)| op).collect();
        self.queue.on_failure(why, answered.len(), again);
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

/// The writes that failed, may succeed later, and for which nobody waits.
fn stranded(ops: Vec<StoreOp>, tokens: &[Vec<u64>], replies: &[StoreReply]) -> Vec<StoreOp> {
    let all = ops.into_iter().zip(tokens).zip(replies);
    let stranded =
        all.filter(|((op, tokens), reply)| tokens.is_empty() && !is_read(op) && failure(reply).is_some_and(may_pass));
    stranded.map(|((op, _), _)| op).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Gate;
    use crate::samples::{append, load, put_binding, put_cdr};
    use std::sync::mpsc::{Receiver, channel};

    /// Answers each operation as `script` says, and notes what it was asked.
    struct Scripted<F> {
        script: F,
        asked: Arc<std::sync::Mutex<Vec<StoreOp>>>,
    }

    impl<F: FnMut(&StoreOp) -> StoreReply + Send> Backend for Scripted<F> {
        fn transact(&mut self, ops: &[StoreOp], gate: &mut Gate<'_>) -> Result<Vec<StoreReply>, StoreError> {
            self.asked.lock().unwrap().extend_from_slice(ops);
            if writes(ops) {
                gate()?;
            }
            Ok(ops.iter().map(&mut self.script).collect())
        }
    }

    struct Desk {
        writer: Writer,
        asked: Arc<std::sync::Mutex<Vec<StoreOp>>>,
        replies: Receiver<(u64, StoreReply)>,
    }

    fn desk(script: impl FnMut(&StoreOp) -> StoreReply + Send + 'static) -> Desk {
        let (sender, replies) = channel();
        let asked = Arc::default();
        let backend = Scripted {
            script,
            asked: Arc::clone(&asked),
        };
        let on_reply = Box::new(move |token, reply| _ = sender.send((token, reply)));
        let writer = Writer::new(Arc::new(Queue::new()), Box::new(backend), Faults::default(), on_reply);
        Desk { writer, asked, replies }
    }

    impl Desk {
        fn submit(&self, token: Option<u64>, op: StoreOp) {
            self.writer.queue.push(token, op).unwrap();
        }

        /// Writes one batch; returns what the backend was asked for.
        fn step(&mut self) -> Vec<StoreOp> {
            let batch = self.writer.queue.next_batch().unwrap();
            self.writer.write(batch);
            std::mem::take(&mut *self.asked.lock().unwrap())
        }
    }

    #[test]
    fn an_operation_that_finds_no_room_is_repeated_if_nobody_waits_for_it() {
        let mut room = false;
        let mut desk = desk(move |op| match op {
            StoreOp::PutCdr(_) | StoreOp::PutBinding(_) if !room => StoreReply::Failed(StoreError::Full),
            _ => {
                room = true;
                StoreReply::Done
            }
        });
        desk.submit(None, put_cdr(1));
        desk.submit(Some(1), put_cdr(2));
        desk.submit(None, put_binding("alice", 1));
        assert_eq!(desk.step().len(), 3);
        assert_eq!(
            desk.replies.try_iter().collect::<Vec<_>>(),
            [(1, StoreReply::Failed(StoreError::Full))]
        );
        assert_eq!(desk.writer.queue.health().failing, Some(StoreError::Full));
        desk.submit(Some(2), append(1));
        assert_eq!(desk.step(), [append(1)]);
        assert_eq!(desk.writer.queue.health().failing, None);
        assert_eq!(desk.step()[0], put_cdr(1));
        assert_eq!(desk.writer.queue.health().lost, 0);
    }

    #[test]
    fn an_operation_that_can_never_succeed_is_not_repeated() {
        let mut desk = desk(|op| match op {
            StoreOp::PutCdr(_) => StoreReply::Failed(StoreError::Conflict),
            _ => StoreReply::Done,
        });
        desk.submit(None, put_cdr(1));
        desk.step();
        assert_eq!(desk.writer.queue.health().failing, None);
        assert_eq!(desk.writer.queue.health().queued, 0);
        assert_eq!(desk.writer.queue.health().failed, 1);
    }

    #[test]
    fn questions_of_a_failed_batch_are_asked_again_without_its_writes() {
        let mut desk = desk(|op| match op {
            StoreOp::LoadMessages { .. } => StoreReply::Messages(vec![]),
            _ => StoreReply::Done,
        });
        desk.writer.faults.fail_next(StoreError::Io);
        desk.submit(Some(1), append(1));
        desk.submit(Some(2), load("bob"));
        assert_eq!(desk.step(), [append(1), load("bob"), load("bob")]);
        let replies: Vec<_> = desk.replies.try_iter().collect();
        assert_eq!(
            replies,
            [
                (1, StoreReply::Failed(StoreError::Io)),
                (2, StoreReply::Messages(vec![]))
            ]
        );
        assert_eq!(
            desk.writer.queue.health().failing,
            Some(StoreError::Io),
            "reading proves no disk sound"
        );
    }
}
