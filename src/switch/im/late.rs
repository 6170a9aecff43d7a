//! Copies of stored messages that a device did not answer in time, and may answer yet: its 2xx then counts, or the reader
//! would get the message again with the next try.

use super::{Im, Stage};
use crate::core::Cx;
use ahash::RandomState;
use hashbrown::HashMap;
use model::{Aor, MessageId, StoreOp};
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Deliveries whose late answers are known, the oldest forgotten first. The transaction layer passes late answers on for 32 s:
/// so many deliveries do not fail in that time on one node, and one too many costs a second delivery.
const MAX_LATE: usize = 16_384;

/// Deliveries that came to nothing and may still turn out well.
#[derive(Debug)]
pub(super) struct Late {
    deliveries: HashMap<u64, (Aor, MessageId), RandomState>,
    of_message: HashMap<MessageId, SmallVec<[u64; 2]>, RandomState>,
    order: VecDeque<u64>,
}

impl Late {
    pub(super) fn new(hasher: &RandomState) -> Late {
        Late {
            deliveries: HashMap::with_hasher(hasher.clone()),
            of_message: HashMap::with_hasher(hasher.clone()),
            order: VecDeque::new(),
        }
    }

    fn insert(&mut self, number: u64, to: Aor, id: MessageId) {
        self.deliveries.insert(number, (to, id));
        self.of_message.entry(id).or_default().push(number);
        self.order.push_back(number);
        if self.order.len() > MAX_LATE
            && let Some(oldest) = self.order.pop_front()
            && let Some((_, id)) = self.deliveries.remove(&oldest)
            && let Some(numbers) = self.of_message.get_mut(&id)
        {
            numbers.retain(|number| *number != oldest);
            if numbers.is_empty() {
                self.of_message.remove(&id);
            }
        }
    }

    /// The message is not stored any more.
    pub(super) fn forget(&mut self, id: MessageId) {
        for number in self.of_message.remove(&id).unwrap_or_default() {
            self.deliveries.remove(&number);
        }
    }

    fn find(&self, number: u64) -> Option<(Aor, MessageId)> {
        self.deliveries.get(&number).cloned()
    }
}

impl Im {
    /// This delivery of a stored message ends without having been taken.
    pub(super) fn expect_late(&mut self, number: u64) {
        if let Some(delivery) = self.deliveries.get(&number)
            && delivery.stage == Stage::Kept
        {
            let (to, id) = (delivery.letter.to.clone(), delivery.letter.id);
            self.late.insert(number, to, id);
        }
    }

    /// A device took a message that had been given up for this time. It is off the queue; a copy that is with devices again
    /// counts as taken, too.
    pub(super) fn on_taken_late(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some((to, id)) = self.late.find(number) else { return };
        tracing::info!(%to, message = %id, "message delivered, as a device says late");
        let again = self.readers.get(&to).and_then(|reader| reader.run.sending());
        let is_same = |number: &u64| self.deliveries.get(number).is_some_and(|one| one.letter.id == id);
        if let Some(again) = again.filter(is_same) {
            return self.on_taken(cx, again);
        }
        cx.core.tally.messages_forwarded += 1;
        if let Some(reader) = self.readers.get_mut(&to) {
            reader.run.pass(id);
        }
        cx.core.store(StoreOp::DeleteMessage(id));
        self.uncount(&to, id);
        // A device is well again.
        self.kick(cx, &to);
    }
}
