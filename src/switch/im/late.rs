//! Copies of stored messages that a device did not answer in time, and may answer yet: its 2xx then counts, or the reader
//! would get the message again with the next try.

use super::{Im, Stage, post};
use crate::core::Cx;
use ahash::RandomState;
use hashbrown::HashMap;
use model::{Aor, MessageId, SessionId};
use sip::body::imdn::Mark;
use sip::endpoint::ClientId;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// Deliveries whose late answers are known, the oldest forgotten first. The transaction layer passes late answers on for 32 s:
/// so many deliveries do not fail in that time on one node, and one too many costs a second delivery.
const MAX_LATE: usize = 16_384;

/// Deliveries that came to nothing and may still turn out well.
#[derive(Debug)]
pub(super) struct Late {
    deliveries: HashMap<u64, GivenUp, RandomState>,
    of_message: HashMap<MessageId, SmallVec<[u64; 2]>, RandomState>,
    order: VecDeque<u64>,
}

/// A delivery that was given up for the time being.
#[derive(Clone, Debug)]
struct GivenUp {
    from: Aor,
    to: Aor,
    id: MessageId,
    /// Call-ID and CSeq of its sender's request.
    origin: (Box<str>, u32),
    /// It is no notification.
    is_news: bool,
    /// The text of a session that it is.
    text: Option<(SessionId, u64)>,
    /// Who did not answer, by the key of the device where copies are counted.
    silent: SmallVec<[(ClientId, Box<str>); 1]>,
}

impl Late {
    pub(super) fn new(hasher: &RandomState) -> Late {
        Late {
            deliveries: HashMap::with_hasher(hasher.clone()),
            of_message: HashMap::with_hasher(hasher.clone()),
            order: VecDeque::new(),
        }
    }

    fn insert(&mut self, number: u64, one: GivenUp) {
        self.of_message.entry(one.id).or_default().push(number);
        self.deliveries.insert(number, one);
        self.order.push_back(number);
        if self.order.len() > MAX_LATE
            && let Some(oldest) = self.order.pop_front()
            && let Some(GivenUp { id, .. }) = self.deliveries.remove(&oldest)
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
}

impl Im {
    /// This delivery of a stored message ends without having been taken by those who did not answer.
    pub(super) fn expect_late(&mut self, number: u64) {
        if let Some(delivery) = self.deliveries.get(&number)
            && delivery.stage == Stage::Kept
            && !delivery.silent.is_empty()
        {
            let letter = &delivery.letter;
            let silent = delivery.silent.iter().map(|fork| (fork.client, fork.device.clone()));
            let one = GivenUp {
                from: letter.from.clone(),
                to: letter.to.clone(),
                id: letter.id,
                origin: (letter.call_id.clone(), letter.cseq),
                is_news: letter.kind().is_none(),
                text: letter.of_session(),
                silent: silent.collect(),
            };
            self.late.insert(number, one);
        }
    }

    /// A device took a message that had been given up for this time. It is off the queue; a copy that is with devices again
    /// counts as taken, too.
    pub(super) fn on_taken_late(&mut self, cx: &mut Cx<'_>, number: u64, client: ClientId) {
        let Some(GivenUp {
            from,
            to,
            id,
            origin,
            is_news,
            text,
            silent,
        }) = self.late.deliveries.get(&number).cloned()
        else {
            return;
        };
        let Some((_, device)) = silent.into_iter().find(|(asked, _)| *asked == client) else {
            return;
        };
        tracing::info!(%to, message = %id, "message delivered, as a device says late");
        let is_counted = cx.core.config.im.copies == crate::config::Copies::Device && !device.is_empty();
        let tray = if is_counted { &*device } else { "" };
        let sending = self.readers.get(&to).and_then(|reader| reader.sending(tray));
        let is_same = |number: &u64| self.deliveries.get(number).is_some_and(|one| one.letter.id == id);
        if let Some(again) = sending.filter(is_same) {
            return self.on_taken(cx, again, &device);
        }
        cx.core.tally.messages_forwarded += 1;
        if let Some(reader) = self.readers.get_mut(&to) {
            reader.tray(tray).run.pass(id);
        }
        if is_counted {
            self.ask_to_take(cx.core, (&to, id), device.clone(), true);
        } else {
            self.forget_message(cx, &to, id);
        }
        post::tell_session(cx, (text, id), &to, None);
        if is_news {
            self.mark(cx, (id, &from, &to), Mark::Delivered);
        }
        self.on_taken_from_store(cx, (id, (&to, &from, &origin.0, origin.1)), &device);
        // A device is well again.
        self.kick(cx, &to);
    }
}
