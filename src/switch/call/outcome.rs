//! What comes of a side call: its target answers, and its purpose is carried out; or it comes to nothing. Who asked for it
//! hears which.

use super::{Bridge, Calls, Failure, LegKey, State, body};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::{Asker, Interaction};
use crate::{Notice, Output};
use media::plan::Matrix;
use model::{EndedBy, Event, PartyId, Purpose, VerbOutcome};
use sip::{Message, Reply};

impl Calls {
    /// The target of a side call answered, or the callee of one whose caller's device had been answered before.
    pub(super) fn on_target_answered(
        &mut self,
        cx: &mut Cx<'_>,
        call: Key<Interaction>,
        key: LegKey,
        message: &Message,
    ) {
        if let Err(failure) = self.take_first_answer(key, message) {
            return self.fail(cx, call, EndedBy::Switch, failure);
        }
        if self.awaits_agent(call) {
            return self.call_target(cx, call, key);
        }
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        interaction.call.state = State::Bridged(Bridge::default());
        interaction.answered_at = Some(cx.now.wall);
        let originated = interaction.originated.is_some();
        if !originated {
            interaction.owner = interaction.parties.last().map(|party| party.id);
        }
        self.figures.answered += 1;
        self.open_room(cx, call, Matrix::Everyone);
        self.listen(cx, key);
        self.plumb(cx, call);
        self.on_side_up(cx, call);
        if originated {
            self.on_originated(cx, call);
        }
    }

    fn take_first_answer(&mut self, key: LegKey, message: &Message) -> Result<(), Failure> {
        let unusable = || Failure::of(488);
        let description = body::description(message).map_err(|_| unusable())?;
        let sound = self.sound_mut(key).ok_or_else(unusable)?;
        match description {
            Some(answer) => sound.negotiation.handle_answer(&answer).map_err(body::refusal),
            None if sound.negotiation.agreed().is_some() => Ok(()),
            None => Err(unusable()),
        }
    }

    /// A call is up: if it serves another, its purpose is carried out.
    pub(super) fn on_side_up(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        let Some(side) = self.interactions.get(call).and_then(|call| call.side.as_ref()) else {
            return;
        };
        match side.purpose {
            Purpose::Consult => {
                let parent = side.parent;
                self.outcome(cx, call, 200);
                self.plumb(cx, parent);
            }
            // Its target may have to come to where the others are first.
            _ if !self.strays(call).is_empty() => {
                if !self.call_strays(cx, call) {
                    self.undo_completion(cx, call, 488);
                }
            }
            Purpose::Transfer => self.carry_over(cx, call),
            Purpose::Join | Purpose::Supervise | Purpose::TakeOver => self.bring_in(cx, call),
        }
    }

    /// A side call comes to nothing: who asked for it hears why.
    pub(super) fn on_side_failed(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, status: u16) {
        if matches!(self.state(call), Some(State::Ringing(_) | State::Routing)) {
            self.outcome(cx, call, status);
        }
    }

    /// Tells who asked for a side call, or for a call on behalf of a user, what came of it; once.
    pub(super) fn outcome(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, status: u16) {
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        let (parent, by, asked) = match (&mut interaction.side, &mut interaction.originated) {
            (Some(side), _) => (side.parent, side.by, std::mem::take(&mut side.asked)),
            (None, Some(originated)) => (call, originated.by, std::mem::take(&mut originated.asked)),
            (None, None) => return,
        };
        let dialled = interaction.dialled.clone();
        self.tell_outcome(cx, (parent, by), asked, &dialled, status);
    }

    /// Tells who asked for something to be done to an interaction what came of it.
    pub(super) fn tell_outcome(
        &mut self,
        cx: &mut Cx<'_>,
        (call, by): (Key<Interaction>, PartyId),
        asked: Asker,
        dialled: &str,
        status: u16,
    ) {
        if let Some(refer) = asked.refer {
            self.notify_refer(cx, refer, &Reply::new(status), true);
        }
        let Some(interaction) = self.interactions.get_mut(call).filter(|_| !asked.verb.is_empty()) else {
            return;
        };
        let party = interaction.party(by);
        let (user, who) = party
            .map(|party| (party.user.clone(), party.shown.clone()))
            .unwrap_or_default();
        let user = asked.user.or(user);
        let detail = if status < 300 {
            dialled.to_owned()
        } else {
            format!("{dialled}: {status}")
        };
        // What supervisors do is written down when they are there.
        if asked.supervision.is_none() {
            interaction.note(cx.now.wall, &who, asked.verb, detail);
        }
        let outcome = VerbOutcome {
            interaction: interaction.id,
            by: user,
            verb: asked.verb.into(),
            client: asked.client,
            status,
        };
        cx.core.announce(|| Event::Verb {
            outcome: outcome.clone(),
        });
        cx.core
            .outputs
            .push_back(Output::Notice(Notice::Verb(Box::new(outcome))));
    }
}
