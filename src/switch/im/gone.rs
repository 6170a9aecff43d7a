//! Messages of which all devices have their copies: off the disk, or passed over until they are.

use super::{Im, Question};
use crate::core::Cx;
use model::{Aor, MessageId, StoreOp, StoreReply};

/// Messages of one reader that the store could not forget, the oldest given up first: what a device takes while a disk fails for
/// a few minutes. One too many costs a second delivery.
const MAX_GONE: usize = 64;

impl Im {
    /// All who were to get a stored message have it, or nobody is to get it any more.
    pub(super) fn forget_message(&mut self, cx: &mut Cx<'_>, to: &Aor, id: MessageId) {
        self.ask_to_forget(cx, to, id);
        self.uncount(to, id);
    }

    fn ask_to_forget(&mut self, cx: &mut Cx<'_>, to: &Aor, id: MessageId) {
        let question = Question::Gone(to.clone(), id);
        self.ask(cx.core, StoreOp::DeleteMessage(id), question);
    }

    /// The store has forgotten it, or cannot now: then it is left to it, and it is asked again each minute whether it has.
    pub(super) fn on_gone(&mut self, cx: &mut Cx<'_>, to: &Aor, id: MessageId, reply: &StoreReply) {
        let StoreReply::Failed(why) = reply else {
            if let Some(reader) = self.readers.get_mut(to) {
                reader.gone.retain(|gone| *gone != id);
            }
            return self.forget_if_idle(to);
        };
        cx.core.tally.store_failures += 1;
        tracing::error!(%to, message = %id, %why, "delivered message not forgotten yet");
        let reader = self.readers.entry(to.clone()).or_default();
        if !reader.gone.contains(&id) {
            cx.core.store(StoreOp::DeleteMessage(id));
            reader.gone.push_back(id);
        }
        if reader.gone.len() > MAX_GONE {
            reader.gone.pop_front();
        }
    }

    /// Before it is counted what waits: these do not.
    pub(super) fn ask_for_gone(&mut self, cx: &mut Cx<'_>) {
        let of_reader = |(to, reader): (&Aor, &super::Reader)| {
            let gone = reader.gone.iter().map(|id| (to.clone(), *id));
            gone.collect::<Vec<_>>()
        };
        let mut gone: Vec<(Aor, MessageId)> = self.readers.iter().flat_map(of_reader).collect();
        gone.sort_unstable();
        for (to, id) in gone {
            self.ask_to_forget(cx, &to, id);
        }
    }
}
