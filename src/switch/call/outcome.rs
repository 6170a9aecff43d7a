//! What comes of a side call: its target answers, and its purpose is carried out; or it comes to nothing. Who asked for it
//! hears which.

use super::identity::Identity;
use super::{Bridge, Calls, Failure, LegKey, State, body};
use crate::arena::Key;
use crate::core::{Core, Cx};
use crate::interaction::{Asker, Interaction};
use crate::route::{self, Callee, Target};
use crate::{Notice, Output};
use media::plan::Matrix;
use media::tone::Progress;
use model::{Aor, EndedBy, Event, PartyId, Purpose, VerbOutcome};
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
            self.tell_by_tone(call, status);
            self.outcome(cx, call, status);
        }
    }

    /// Who waits for whom he consults by the line of his one call, or for whom he has handed the contact to, is told what his
    /// phone would tell him of a call of its own.
    fn tell_by_tone(&mut self, side: Key<Interaction>, status: u16) {
        let tone = match status {
            // He gave up himself, or there is nobody to consult about.
            487 => return,
            486 | 600 | 603 => Progress::Busy,
            _ => Progress::Congestion,
        };
        let served = self.interactions.get(side).and_then(|side| side.side.as_ref());
        let Some((parent, by, purpose)) = served.map(|served| (served.parent, served.by, served.purpose)) else {
            return;
        };
        let party = self.interactions.get(parent).and_then(|parent| parent.party(by));
        let hears_it = match purpose {
            Purpose::Consult => self.is_heard(side),
            _ => party.is_some_and(|party| self.awaits_transfer(parent, party)),
        };
        if !hears_it {
            return;
        }
        if let Some(party) = self
            .interactions
            .get_mut(parent)
            .and_then(|parent| parent.party_mut(by))
        {
            party.tone = Some(tone);
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
        let (owner, shown) = party
            .map(|party| (party.user.clone(), party.shown.clone()))
            .unwrap_or_default();
        let user = asked.user.or_else(|| owner.clone());
        // A supervisor, whose own phone was called on behalf of somebody.
        let supervisor = user.as_ref().filter(|user| owner.as_ref() != Some(user));
        let who = supervisor.map_or(shown, |user| shown_of(cx.core, user));
        let is_transfer = ["instant-transfer", "complete-transfer"].contains(&asked.verb);
        let voicemail = mailbox_instead(cx.core, dialled, status).filter(|_| is_transfer);
        let detail = match (status < 300, supervisor) {
            (true, None) => dialled.to_owned(),
            (true, Some(_)) => String::new(),
            (false, _) => format!("{dialled}: {status}"),
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
            voicemail,
        };
        cx.core.announce(|| Event::Verb {
            outcome: outcome.clone(),
        });
        cx.core
            .outputs
            .push_back(Output::Notice(Notice::Verb(Box::new(outcome))));
    }
}

/// A user as others are shown him.
fn shown_of(core: &Core, user: &Aor) -> Box<str> {
    let known = core.users.find(user.user());
    known.map_or_else(
        || user.as_str().into(),
        |user| Identity::of_called(core, &Callee::User(user)).shown,
    )
}

/// Whose mailbox a contact may be offered when the way to this target comes to nothing: that of a user of ours who is busy,
/// absent, does not answer or declines (R110).
pub(super) fn mailbox_instead(core: &Core, dialled: &str, status: u16) -> Option<Box<str>> {
    match (route::target(core, dialled), status) {
        (Target::User(user), 408 | 480 | 486 | 600 | 603) => Some(core.users[user].aor.user().into()),
        _ => None,
    }
}
