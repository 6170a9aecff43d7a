//! Who is in a conversation and who is heard in it: drop, leave, mute.

use super::Calls;
use super::act::{Actor, Did, Outcome, conflict, gone};
use crate::core::Cx;
use crate::{Mute, Refusal};
use model::{EndedBy, PartyId};

impl Calls {
    pub(super) fn drop_party(&mut self, cx: &mut Cx<'_>, actor: &Actor, id: PartyId) -> Outcome {
        let interaction = self.interactions.get(actor.call).ok_or_else(gone)?;
        let Some(party) = interaction.party(id) else {
            return Err(Refusal::NotFound(format!("party {id}").into()));
        };
        let shown = party.shown.clone();
        if !actor.rules && interaction.owner != actor.party && actor.party != Some(id) {
            return Err(Refusal::Forbidden(
                "only the owner or a supervisor can drop somebody".into(),
            ));
        }
        if !self.is_up(actor.call) {
            return Err(conflict("the call is not up"));
        }
        self.write_down(cx, actor, "drop", &shown);
        self.part(cx, actor.call, id, EndedBy::Other);
        Ok(Did::Done(actor.call))
    }

    pub(super) fn leave_call(&mut self, cx: &mut Cx<'_>, actor: &Actor) -> Outcome {
        let by = actor
            .party
            .filter(|_| self.is_up(actor.call) || self.is_heard_by_line(actor.call))
            .ok_or_else(|| conflict("no part is taken in it"))?;
        self.write_down(cx, actor, "leave", "");
        self.part(cx, actor.call, by, EndedBy::Peer);
        Ok(Did::Done(actor.call))
    }

    pub(super) fn mute(
        &mut self,
        cx: &mut Cx<'_>,
        actor: &Actor,
        (id, listener): (PartyId, Option<PartyId>),
        mute: Mute,
        on: bool,
    ) -> Outcome {
        let interaction = self.interactions.get_mut(actor.call).ok_or_else(gone)?;
        let own = actor.party == Some(id) || listener.is_some() && actor.party == listener;
        if !own && !actor.rules && interaction.owner != actor.party {
            return Err(Refusal::Forbidden(
                "only the owner or a supervisor can mute others".into(),
            ));
        }
        let known = |id: PartyId| interaction.party(id).is_some();
        if let Some(unknown) = [Some(id), listener].into_iter().flatten().find(|&id| !known(id)) {
            return Err(Refusal::NotFound(format!("party {unknown}").into()));
        }
        let (speech, hearing) = (mute != Mute::Hearing, mute != Mute::Speech);
        match listener {
            Some(listener) => {
                let pairs = [((id, listener), speech), ((listener, id), hearing)];
                for (pair, _) in pairs.into_iter().filter(|(_, wanted)| *wanted) {
                    if on {
                        interaction.unheard.insert(pair);
                    } else {
                        interaction.unheard.remove(&pair);
                    }
                }
            }
            None => {
                if let Some(party) = interaction.party_mut(id) {
                    party.muted = if speech { on } else { party.muted };
                    party.deaf = if hearing { on } else { party.deaf };
                }
            }
        }
        let shown = interaction
            .party(id)
            .map(|party| party.shown.clone())
            .unwrap_or_default();
        self.plumb(cx, actor.call);
        self.write_down(cx, actor, if on { "mute" } else { "unmute" }, &shown);
        Ok(Did::Done(actor.call))
    }
}
