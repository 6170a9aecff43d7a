//! Verbs by command: who asks, for which party, and what is answered. A phone's gesture ends in the same verbs. The verbs
//! themselves stand in [`super::hold`], [`super::consult`], [`super::members`], [`super::supervise`].

use super::outcome::mailbox_instead;
use super::{Calls, State};
use crate::arena::Key;
use crate::core::{Core, Cx};
use crate::interaction::{Asker, Interaction};
use crate::{ACTS_REMEMBERED, Act, Acted, Answer, By, RecordWish, Refusal, Verb};
use model::{PartyId, Purpose};
use std::collections::VecDeque;

/// Who carries out a verb, and where.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    /// The interaction or consultation.
    pub(super) call: Key<Interaction>,
    /// The party that acts; none for a supervisor or operator who takes no part.
    pub(super) party: Option<PartyId>,
    /// May do more than a party may.
    pub(super) rules: bool,
    /// Whose phone rings when a supervisor is to hear something.
    pub(super) user: Option<model::Aor>,
}

/// What a verb did.
pub(super) enum Did {
    /// All of it, to this call.
    Done(Key<Interaction>),
    /// Somebody is being called, by this side call.
    Began(Key<Interaction>),
}

/// The answers to the last commands that had a client's id.
#[derive(Debug, Default)]
pub(super) struct Remembered(VecDeque<(By, Box<str>, Answer)>);

/// Or why not; then nothing has changed.
pub(super) type Outcome = Result<Did, Refusal>;

impl Calls {
    /// Carries out a verb, or refuses it and changes nothing. A command that comes again is answered as before.
    pub(super) fn act(&mut self, cx: &mut Cx<'_>, act: &Act) -> Answer {
        if let Some(answer) = self.acts.answer_to(&act.by, &act.client) {
            return answer;
        }
        let outcome = self.actor(cx, act).and_then(|actor| self.perform(cx, &actor, act));
        let answer = match outcome {
            Ok(did) => self.answer_of(&did),
            Err(refusal) => Answer::Refused(refusal),
        };
        self.acts.keep(&act.by, &act.client, &answer);
        answer
    }

    pub(super) fn answer_of(&self, did: &Did) -> Answer {
        let (done, key) = match did {
            Did::Done(key) => (true, key),
            Did::Began(key) => (false, key),
        };
        match self.interaction_view(*key) {
            Some(view) => Answer::Acted(Box::new(Acted { done, view })),
            // The verb ended it, and nothing is left.
            None => Answer::Done(1),
        }
    }

    /// Who acts on what. A user takes part, or may do more than others.
    fn actor(&self, cx: &Cx<'_>, act: &Act) -> Result<Actor, Refusal> {
        let id = act.verb.interaction();
        let unknown = || Refusal::NotFound(format!("interaction {id}").into());
        let (call, interaction) = self.find(id).ok_or_else(unknown)?;
        let (party, rules, user) = match &act.by {
            By::User(user) => {
                let mut own = interaction
                    .parties
                    .iter()
                    .filter(|party| party.user.as_ref() == Some(user));
                let rules = cx
                    .core
                    .users
                    .named(user.user())
                    .is_some_and(crate::config::User::supervises);
                (own.next().map(|party| party.id), rules, Some(user.clone()))
            }
            By::Operator(party) => (party.or(interaction.owner), true, None),
        };
        match party.is_some() || rules {
            true => Ok(Actor {
                call,
                party,
                rules,
                user,
            }),
            // That it exists is not everybody's business.
            false => Err(unknown()),
        }
    }

    fn perform(&mut self, cx: &mut Cx<'_>, actor: &Actor, act: &Act) -> Outcome {
        let asked = Asker {
            verb: act.verb.name(),
            client: act.client.clone(),
            user: actor.user.clone(),
            ..Asker::default()
        };
        match &act.verb {
            Verb::Hold { .. } => self.hold(cx, actor, true),
            Verb::Resume { .. } => self.hold(cx, actor, false),
            Verb::Toggle { .. } => self.toggle(cx, actor),
            Verb::Consult { target, medium, .. } => self.consult(cx, actor, target, *medium, asked),
            Verb::EndConsult { .. } => self.end_consult(cx, actor),
            Verb::CompleteTransfer { .. } => self.complete(cx, actor, Purpose::Transfer, asked),
            Verb::CompleteConference { .. } => self.complete(cx, actor, Purpose::Join, asked),
            Verb::InstantTransfer { target, .. } => {
                let outcome = self.call_for(cx, actor, Purpose::Transfer, target, asked);
                outcome.map_err(|refusal| offering_voicemail(cx.core, target, refusal))
            }
            Verb::InstantConference { target, .. } | Verb::Add { target, .. } => {
                self.call_for(cx, actor, Purpose::Join, target, asked)
            }
            Verb::Drop { party, .. } => self.drop_party(cx, actor, *party),
            Verb::Leave { .. } => self.leave_call(cx, actor),
            Verb::Mute {
                party,
                listener,
                mute,
                on,
                ..
            } => self.mute(cx, actor, (*party, *listener), *mute, *on),
            Verb::Supervise { party, mode, .. } => self.supervise(cx, actor, *party, *mode, asked),
            Verb::TakeOver { .. } => self.take_over(cx, actor, asked),
            Verb::Record { on, .. } => self.tape(cx, actor, *on),
            // There are no mailboxes: as if nobody were there.
            Verb::SendToVoicemail { .. } => Err(Refusal::Unreachable(480)),
            Verb::SetCaseData { key, value, .. } => self.set_case_data(cx, actor, key, value),
        }
    }

    fn tape(&mut self, cx: &mut Cx<'_>, actor: &Actor, on: bool) -> Outcome {
        let wish = if on { RecordWish::On } else { RecordWish::Off };
        self.set_recording(cx, actor.call, wish)?;
        self.write_down(cx, actor, if on { "record" } else { "record-end" }, "");
        Ok(Did::Done(actor.call))
    }

    fn set_case_data(&mut self, cx: &mut Cx<'_>, actor: &Actor, key: &str, value: &str) -> Outcome {
        let interaction = self.interactions.get_mut(actor.call).ok_or_else(gone)?;
        interaction.attach(key, value).map_err(conflict)?;
        self.write_down(cx, actor, "set-case-data", key);
        Ok(Did::Done(actor.call))
    }

    /// The acting party, which must converse in a call that is up.
    pub(super) fn member(&self, actor: &Actor) -> Result<PartyId, Refusal> {
        let by = self.attendant(actor);
        by.and_then(|by| self.is_up(actor.call).then_some(by).ok_or_else(takes_no_part))
    }

    /// The same, or it hears a service by its line.
    pub(super) fn attendant(&self, actor: &Actor) -> Result<PartyId, Refusal> {
        let present = self.present(actor.call);
        let by = actor.party.filter(|id| present.contains(id));
        by.filter(|_| self.is_up(actor.call) || self.is_heard_by_line(actor.call))
            .ok_or_else(takes_no_part)
    }

    pub(super) fn is_up(&self, call: Key<Interaction>) -> bool {
        matches!(self.state(call), Some(State::Bridged(_)))
    }

    /// For the history.
    pub(super) fn write_down(&mut self, cx: &Cx<'_>, actor: &Actor, what: &str, detail: &str) {
        let Some(interaction) = self.interactions.get_mut(actor.call) else {
            return;
        };
        let party = actor.party.and_then(|id| interaction.party(id));
        let own = || actor.user.as_ref().map_or("", |user| user.as_str()).into();
        let who: Box<str> = party.map_or_else(own, |party| party.shown.clone());
        interaction.note(cx.now.wall, &who, what, detail);
    }
}

impl Remembered {
    pub(super) fn answer_to(&self, asker: &By, id: &str) -> Option<Answer> {
        let same = |(by, client, _): &&(By, Box<str>, Answer)| **client == *id && by == asker;
        let found = self.0.iter().filter(|_| !id.is_empty()).find(same);
        found.map(|(_, _, answer)| answer.clone())
    }

    pub(super) fn keep(&mut self, by: &By, client: &str, answer: &Answer) {
        if client.is_empty() || client.len() > CLIENT_MAX {
            return;
        }
        if self.0.len() >= ACTS_REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((by.clone(), client.into(), answer.clone()));
    }
}

/// Longest id of a client's command that is remembered.
const CLIENT_MAX: usize = 64;

/// A transfer that its target does not take.
fn offering_voicemail(core: &Core, target: &str, refusal: Refusal) -> Refusal {
    let Refusal::Unreachable(status) = refusal else {
        return refusal;
    };
    match mailbox_instead(core, target, status) {
        Some(voicemail) => Refusal::NotTransferred { status, voicemail },
        None => refusal,
    }
}

fn takes_no_part() -> Refusal {
    conflict("the call is not up, or no part is taken in it")
}

/// It makes no sense now.
pub(super) fn conflict(why: impl Into<Box<str>>) -> Refusal {
    Refusal::Conflict(why.into())
}

/// It has ended meanwhile.
pub(super) fn gone() -> Refusal {
    Refusal::NotFound("the interaction is over".into())
}
