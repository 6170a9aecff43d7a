//! The queue of what must be kept as it came: messages, call records and questions about them.

use model::StoreOp;
use std::collections::VecDeque;

/// Most operations queued: three seconds of 5,000 messages each. More would only make senders wait for a refusal.
const MAX: usize = 16_384;

/// Most bytes queued, since one message may have 64 kB.
const MAX_BYTES: usize = 64 << 20;

/// Messages and questions leave a quarter of the room to what must not be refused, or a delivered message is delivered again
/// and a call leaves no record.
const MAX_REFUSABLE: usize = MAX / 4 * 3;
const MAX_BYTES_REFUSABLE: usize = MAX_BYTES / 4 * 3;

/// First in, first out.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    entries: VecDeque<(StoreOp, Option<u64>)>,
    bytes: usize,
    /// How many of them are not to wait for company.
    urgent: usize,
    /// How many were ever queued, and taken.
    pushed: u64,
    popped: u64,
}

impl Kept {
    /// Queues `op`, or gives it back when the queue is full.
    pub(crate) fn push(&mut self, token: Option<u64>, op: StoreOp) -> Result<(), Box<StoreOp>> {
        let (max, max_bytes) = match op {
            StoreOp::DeleteMessage(_)
            | StoreOp::TakeMessage { .. }
            | StoreOp::PutReceipt(_)
            | StoreOp::DeleteReceipt(_)
            | StoreOp::PutCdr(_)
            | StoreOp::EndCdr { .. }
            | StoreOp::PutRecording(_)
            | StoreOp::CloseSession { .. } => (MAX, MAX_BYTES),
            _ => (MAX_REFUSABLE, MAX_BYTES_REFUSABLE),
        };
        let bytes = footprint(&op);
        if self.entries.len() >= max || self.bytes + bytes > max_bytes {
            return Err(Box::new(op));
        }
        self.bytes += bytes;
        self.urgent += usize::from(is_urgent(&op, token));
        self.entries.push_back((op, token));
        self.pushed += 1;
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Option<(StoreOp, Option<u64>)> {
        let (op, token) = self.entries.pop_front()?;
        self.bytes -= footprint(&op);
        self.urgent -= usize::from(is_urgent(&op, token));
        self.popped += 1;
        Some((op, token))
    }

    /// How many were ever queued, and how many of the first of them were taken.
    pub(crate) fn progress(&self) -> (u64, u64) {
        (self.pushed, self.popped)
    }

    /// Something in it is not to wait for company.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent > 0
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Call records, for which nobody waits, may lie for a moment: each call has four of them, and one commit for each would wake the writer
/// and the disk as often.
fn is_urgent(op: &StoreOp, token: Option<u64>) -> bool {
    token.is_some() || !matches!(op, StoreOp::PutCdr(_) | StoreOp::OpenCdr(_) | StoreOp::EndCdr { .. })
}

/// About how many bytes of memory an operation takes: its texts, and 256 for all the rest.
pub(crate) fn footprint(op: &StoreOp) -> usize {
    256 + match op {
        StoreOp::PutBinding(b) => {
            b.key.0.len() + b.contact.len() + b.params.len() + b.call_id.len() + b.path.len() + b.user_agent.len()
        }
        StoreOp::AppendMessage(m) => {
            let owed: usize = m.owed.iter().map(|device| device.len()).sum();
            m.from_display.len() + m.call_id.len() + m.content_type.len() + m.body.len() + m.imdn_id.len() + owed
        }
        StoreOp::TakeMessage { device, .. } => device.len(),
        StoreOp::ForgetTexts { call_id, .. } => call_id.len(),
        StoreOp::DropMessages { except, .. } => size_of_val(except.as_slice()),
        StoreOp::PutDevice(d) => d.key.len(),
        StoreOp::PutReceipt(r) => r.imdn_id.len(),
        StoreOp::PutCdr(c) | StoreOp::OpenCdr(c) | StoreOp::LeaveCdr(c) => {
            c.caller.len() + c.callee.len() + c.call_id.len() + c.codec.len()
        }
        StoreOp::PutRecording(r) => r.name.len() + r.error.as_ref().map_or(0, |error| error.len()),
        StoreOp::PutSessionMessage(m) => m.shown.len() + m.text.len(),
        StoreOp::PutSession(kept) | StoreOp::CloseSession { kept, .. } => {
            let case = kept.session.consult.iter().flat_map(|consult| &consult.case_data);
            let asked: usize = kept.asked.iter().map(|one| 16 + one.imdn_id.len()).sum();
            kept.session.parties.len() * 256 + asked + case.map(|(key, value)| key.len() + value.len()).sum::<usize>()
        }
        StoreOp::PutSubscription(s) => {
            let dialog = s.call_id.len() + s.remote_tag.len() + s.local.len() + s.remote.len() + s.routes.len();
            dialog + s.event.len() + s.resource.len() + s.contact.len() + s.target.len()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use model::MessageId;

    #[test]
    fn gives_back_in_order() {
        let mut kept = Kept::default();
        for id in 1..=3 {
            kept.push(Some(id), StoreOp::DeleteMessage(MessageId(id))).unwrap();
        }
        let tokens: Vec<_> = std::iter::from_fn(|| kept.pop()).map(|(_, token)| token).collect();
        assert_eq!(tokens, [Some(1), Some(2), Some(3)]);
        assert_eq!(kept.bytes, 0);
    }

    #[test]
    fn refuses_messages_before_deletions_and_records() {
        let mut kept = Kept::default();
        let mut id = 0;
        while kept.push(None, samples::append(id)).is_ok() {
            id += 1;
        }
        assert_eq!(id as usize, MAX_REFUSABLE);
        kept.push(None, StoreOp::DeleteMessage(MessageId(1))).unwrap();
        kept.push(None, samples::put_cdr(1)).unwrap();
        while kept.push(None, StoreOp::DeleteMessage(MessageId(1))).is_ok() {}
        assert_eq!(kept.len(), MAX);
        kept.push(None, samples::put_cdr(2)).unwrap_err();
    }

    #[test]
    fn is_bounded_in_bytes_too() {
        let mut kept = Kept::default();
        let mut messages = 0;
        while kept.push(None, samples::append_of(messages, 65_000)).is_ok() {
            messages += 1;
        }
        assert!(
            (700..800).contains(&messages),
            "{messages} messages of 65,000 bytes in 48 MiB"
        );
        while kept.pop().is_some() {}
        kept.push(None, samples::append_of(1, 65_000)).unwrap();
    }
}
