//! Messages that an operator drops: off the disk, and who wrote them is told, if he asked to be.
//!
//! What a device has right now is left alone, since it may take it: its sender would hear that nobody got what somebody reads.

use super::{Im, Question, Reader};
use crate::core::Cx;
use crate::{Answer, By, Refusal, Token};
use model::{Aor, MessageId, StoreOp, StoreReply};

/// What an operator waits for.
#[derive(Debug)]
pub(super) struct Dropping {
    token: Token,
    to: Aor,
    id: Option<MessageId>,
    /// Gone so far.
    done: u64,
}

impl Im {
    /// Drops a message that waits for a user, or all that no device has.
    pub(crate) fn drop_messages(&mut self, cx: &mut Cx<'_>, token: Token, by: &By, to: Aor, id: Option<MessageId>) {
        let busy = self.busy(&to);
        if id.is_some_and(|id| busy.contains(&id)) {
            let why = "a device is being asked right now: again in half a minute";
            return cx.core.refuse(token, Refusal::Conflict(why.into()));
        }
        tracing::info!(?by, %to, message = ?id, "messages that wait are dropped");
        for tray in self
            .readers
            .get_mut(&to)
            .into_iter()
            .flat_map(|reader| &mut reader.trays)
        {
            match id {
                Some(id) => tray.run.pass(id),
                None => tray.run.void(),
            }
        }
        let done = 0;
        self.ask_to_drop(cx, Dropping { token, to, id, done }, busy);
    }

    /// Messages of this reader that are with a device, or on their way to the disk.
    fn busy(&self, to: &Aor) -> Vec<MessageId> {
        let reader = self.readers.get(to);
        let numbers = reader.into_iter().flat_map(Reader::under_way);
        let deliveries = numbers.filter_map(|number| self.deliveries.get(&number));
        deliveries.map(|delivery| delivery.letter.id).collect()
    }

    fn ask_to_drop(&mut self, cx: &mut Cx<'_>, dropping: Dropping, except: Vec<MessageId>) {
        let Dropping { to, id, .. } = &dropping;
        let (to, id) = (to.clone(), *id);
        self.ask(
            cx.core,
            StoreOp::DropMessages { to, id, except },
            Question::Drop(dropping),
        );
    }

    /// The store has dropped some.
    pub(super) fn on_dropped(&mut self, cx: &mut Cx<'_>, mut dropping: Dropping, reply: StoreReply) {
        let gone = match reply {
            StoreReply::Expired(gone) => gone,
            StoreReply::Failed(why) => {
                cx.core.tally.store_failures += 1;
                return self.on_not_dropped(cx, &dropping, &why.to_string());
            }
            _ => Vec::new(),
        };
        for (id, to) in &gone {
            tracing::info!(%to, message = %id, "stored message dropped");
            cx.core.tally.messages_dropped += 1;
            self.uncount(to, *id);
            self.mark_failed(cx, *id);
        }
        dropping.done += gone.len() as u64;
        if gone.len() >= StoreOp::EXPIRED_AT_ONCE {
            let busy = self.busy(&dropping.to);
            return self.ask_to_drop(cx, dropping, busy);
        }
        match (dropping.done, dropping.id) {
            (0, Some(id)) => cx.core.refuse(
                dropping.token,
                Refusal::NotFound(format!("no message {id} waits for {}", dropping.to).into()),
            ),
            (done, _) => cx.core.tell(dropping.token, Answer::Done(done)),
        }
    }

    /// They are there still, and go out like all others.
    fn on_not_dropped(&mut self, cx: &mut Cx<'_>, dropping: &Dropping, why: &str) {
        let reader = self.readers.get_mut(&dropping.to);
        for tray in reader.into_iter().flat_map(|reader| &mut reader.trays) {
            tray.run.look_again();
        }
        cx.core.refuse(dropping.token, Refusal::Unavailable(why.into()));
    }
}

impl Reader {
    /// Deliveries to this reader.
    pub(super) fn under_way(&self) -> impl Iterator<Item = u64> {
        let sent = self.trays.iter().filter_map(|tray| tray.run.sending());
        self.live.iter().copied().chain(sent)
    }
}
