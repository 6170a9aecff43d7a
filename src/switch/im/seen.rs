//! Texts of sessions that were said while nobody's page was open, and went to phones: where one device is enough for a reader,
//! what he has seen at a page since is not sent to his phones any more.

use super::letter::Letter;
use super::{Im, Question};
use crate::config::Copies;
use crate::core::Cx;
use model::{Aor, MessageId, StoreOp, StoredMessage};

/// The texts of a session up to one of them.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    to: Aor,
    call_id: Box<str>,
    until: u32,
}

impl Im {
    /// A user has seen all texts of a session up to one. His phones know that by this Call-ID and CSeq.
    pub(super) fn on_seen(&mut self, cx: &mut Cx<'_>, to: &Aor, (call_id, until): (Box<str>, u32)) {
        if cx.core.config.im.copies != Copies::User {
            return;
        }
        let Some(reader) = self.readers.get(to) else { return };
        let (has_queue, under_way) = (reader.stored > 0, reader.under_way().collect::<Vec<u64>>());
        for number in under_way {
            let letter = self.deliveries.get(&number).map(|one| &one.letter);
            let is_its =
                |letter: &Letter| letter.of_session().is_some() && letter.call_id == call_id && letter.cseq <= until;
            if letter.is_some_and(is_its) {
                self.take_back(cx, number);
                self.on_taken(cx, number, "");
            }
        }
        // Also what the store was asked for just now, because one of these is over.
        let is_seen = |message: &StoredMessage| message.call_id == call_id && message.cseq <= until;
        let trays = self
            .readers
            .get_mut(to)
            .into_iter()
            .flat_map(|reader| &mut reader.trays);
        trays.for_each(|tray| tray.run.pass_all(is_seen));
        if has_queue {
            let to = to.clone();
            self.forget_seen(cx, Seen { to, call_id, until });
        }
    }

    fn forget_seen(&mut self, cx: &mut Cx<'_>, seen: Seen) {
        let Seen { to, call_id, until } = seen.clone();
        self.ask(
            cx.core,
            StoreOp::ForgetTexts { to, call_id, until },
            Question::Seen(seen),
        );
    }

    /// They are off the disk.
    pub(super) fn on_seen_forgotten(&mut self, cx: &mut Cx<'_>, seen: Seen, gone: &[(MessageId, Aor)]) {
        for (id, to) in gone {
            tracing::info!(%to, message = %id, "stored text was seen at a page");
            self.uncount(to, *id);
        }
        if gone.len() >= StoreOp::EXPIRED_AT_ONCE {
            self.forget_seen(cx, seen);
        }
    }
}
