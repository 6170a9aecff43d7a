//! Verbs by command: who asks, for which party, and what is answered.

use super::Calls;
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::Interaction;
use crate::{Act, Acted, Answer, By, Refusal, Verb};
use model::PartyId;

/// A verb that can be carried out: where, and as whom.
#[derive(Copy, Clone, Debug)]
pub(super) struct Actor {
    /// The interaction or consultation.
    pub(super) call: Key<Interaction>,
    /// The party that acts; none for a supervisor or operator who takes no part.
    pub(super) party: Option<PartyId>,
}

impl Calls {
    /// Carries out a verb, or refuses it and changes nothing.
    pub(super) fn act(&mut self, cx: &mut Cx<'_>, act: &Act) -> Answer {
        let outcome = self.actor(cx, act).and_then(|actor| self.perform(cx, actor, act));
        match outcome {
            Ok(acted) => Answer::Acted(Box::new(acted)),
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    /// Who acts on what. A user takes part, or may do more than others.
    fn actor(&self, cx: &Cx<'_>, act: &Act) -> Result<Actor, Refusal> {
        let id = act.verb.interaction();
        let unknown = || Refusal::NotFound(format!("interaction {id}").into());
        let (call, interaction) = self.find(id).ok_or_else(unknown)?;
        let party = match &act.by {
            By::User(user) => interaction
                .parties
                .iter()
                .find(|party| party.user.as_ref() == Some(user))
                .map(|party| party.id),
            By::Operator(party) => party.or(interaction.owner),
        };
        let may_all = match &act.by {
            By::User(user) => cx
                .core
                .users
                .named(user.user())
                .is_some_and(crate::config::User::supervises),
            By::Operator(_) => true,
        };
        match party.is_some() || may_all {
            true => Ok(Actor { call, party }),
            // That it exists is not everybody's business.
            false => Err(unknown()),
        }
    }

    fn perform(&mut self, cx: &mut Cx<'_>, actor: Actor, act: &Act) -> Result<Acted, Refusal> {
        match &act.verb {
            Verb::SetCaseData { key, value, .. } => {
                let who = self.shown(actor);
                let interaction = self.interactions.get_mut(actor.call).ok_or_else(gone)?;
                interaction
                    .attach(key, value)
                    .map_err(|why| Refusal::Conflict(why.into()))?;
                interaction.note(cx.now.wall, &who, act.verb.name(), &**key);
            }
            _ => return Err(Refusal::Conflict("not in this state".into())),
        }
        let view = self.interaction_view(actor.call).ok_or_else(gone)?;
        Ok(Acted { done: true, view })
    }

    /// Who acts, for the history.
    fn shown(&self, actor: Actor) -> Box<str> {
        let interaction = self.interactions.get(actor.call);
        let party = interaction.and_then(|interaction| interaction.party(actor.party?));
        party.map(|party| party.shown.clone()).unwrap_or_default()
    }
}

/// It has ended meanwhile.
fn gone() -> Refusal {
    Refusal::NotFound("the interaction is over".into())
}
