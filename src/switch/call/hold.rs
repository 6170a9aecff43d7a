//! Hold, resume, and the change between an interaction and its consultations.

use super::Calls;
use super::act::{Actor, Did, Outcome, conflict};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::Interaction;

impl Calls {
    pub(super) fn hold(&mut self, cx: &mut Cx<'_>, actor: &Actor, on: bool) -> Outcome {
        let by = self.attendant(actor)?;
        if on {
            self.set_holds(actor.call, by, true);
            self.plumb(cx, actor.call);
        } else {
            self.turn_to(cx, actor.call, by);
        }
        self.write_down(cx, actor, if on { "hold" } else { "resume" }, "");
        Ok(Did::Done(actor.call))
    }

    pub(super) fn toggle(&mut self, cx: &mut Cx<'_>, actor: &Actor) -> Outcome {
        let by = self.attendant(actor)?;
        let root = self.parent_of(actor.call).unwrap_or(actor.call);
        let mut others: Vec<_> = self
            .sides_of(root)
            .into_iter()
            .filter(|&side| self.is_up(side) || self.is_heard_by_line(side))
            .collect();
        others.insert(0, root);
        let attends = |call: &Key<Interaction>| {
            let party = self.interactions.get(*call).and_then(|call| call.party(by));
            party.is_some_and(|party| !party.holds)
        };
        let heard = others.iter().position(attends);
        if others.len() < 2 {
            return Err(conflict("there is no consultation to change to"));
        }
        let next = heard.map_or(0, |heard| (heard + 1) % others.len());
        self.turn_to(cx, others[next], by);
        self.write_down(cx, actor, "toggle", "");
        Ok(Did::Done(others[next]))
    }
}
