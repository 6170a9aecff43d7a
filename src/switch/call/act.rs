//! Verbs by command: who asks, for which party, and what is answered. A phone's gesture ends in the same verbs.

use super::ending::reason_header;
use super::side::Wish;
use super::{Calls, State};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::{Asker, Interaction, Role};
use crate::{ACTS_REMEMBERED, Act, Acted, Answer, By, Mute, RecordWish, Refusal, Supervision, Verb};
use model::{EndReason, EndedBy, Medium, PartyId, Purpose};
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

type Outcome = Result<Did, Refusal>;

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
            Verb::InstantTransfer { target, .. } => self.call_for(cx, actor, Purpose::Transfer, target, asked),
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

    // The verbs.

    pub(super) fn hold(&mut self, cx: &mut Cx<'_>, actor: &Actor, on: bool) -> Outcome {
        let by = self.member(actor)?;
        if on {
            self.set_holds(actor.call, by, true);
            self.plumb(cx, actor.call);
        } else {
            self.turn_to(cx, actor.call, by);
        }
        self.write_down(cx, actor, if on { "hold" } else { "resume" }, "");
        Ok(Did::Done(actor.call))
    }

    fn toggle(&mut self, cx: &mut Cx<'_>, actor: &Actor) -> Outcome {
        let by = self.member(actor)?;
        let root = self.parent_of(actor.call).unwrap_or(actor.call);
        let mut others: Vec<_> = self
            .sides_of(root)
            .into_iter()
            .filter(|&side| self.is_up(side))
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

    fn consult(&mut self, cx: &mut Cx<'_>, actor: &Actor, target: &str, medium: Medium, asked: Asker) -> Outcome {
        if medium == Medium::Im {
            return Err(conflict("a consultation by messages begins with a message"));
        }
        let by = self.member(actor)?;
        let parent = self.parent_of(actor.call).unwrap_or(actor.call);
        let side = self.aside_for(cx, parent, by, Purpose::Consult, target, asked)?;
        self.turn_to(cx, side, by);
        self.write_down(cx, actor, "consult", target);
        Ok(Did::Began(side))
    }

    fn end_consult(&mut self, cx: &mut Cx<'_>, actor: &Actor) -> Outcome {
        let Some(parent) = self.parent_of(actor.call) else {
            return Err(conflict("this is no consultation"));
        };
        let by = self
            .interactions
            .get(actor.call)
            .and_then(|call| Some(call.side.as_ref()?.by));
        self.hang_up(cx, actor.call, EndReason::Normal);
        if let Some(by) = by.filter(|_| self.is_up(parent)) {
            self.turn_to(cx, parent, by);
        }
        self.write_down(
            cx,
            &Actor {
                call: parent,
                ..actor.clone()
            },
            "end-consult",
            "",
        );
        Ok(Did::Done(parent))
    }

    /// A consultation becomes a transfer or a conference: at once, or when its target answers.
    pub(super) fn complete(&mut self, cx: &mut Cx<'_>, actor: &Actor, purpose: Purpose, asked: Asker) -> Outcome {
        let side = actor.call;
        let parent = self
            .parent_of(side)
            .ok_or_else(|| conflict("this is no consultation"))?;
        let served = self.interactions.get(side).and_then(|side| side.side.as_ref());
        let Some(by) = served
            .filter(|served| served.purpose == Purpose::Consult)
            .map(|served| served.by)
        else {
            return Err(conflict("this is no consultation"));
        };
        if actor.party != Some(by) && !actor.rules {
            return Err(Refusal::Forbidden("only who consulted can do this".into()));
        }
        if self.others(parent, by).is_empty() {
            return Err(conflict("there is nobody to speak to"));
        }
        self.fits(side, parent)?;
        if let Some(served) = self.interactions.get_mut(side).and_then(|side| side.side.as_mut()) {
            (served.purpose, served.asked) = (purpose, asked);
        }
        if !self.is_up(side) {
            self.drop_line(cx, side, by, purpose);
            return Ok(Did::Began(side));
        }
        if purpose == Purpose::Join {
            self.turn_to(cx, parent, by);
        }
        self.on_side_up(cx, side);
        Ok(Did::Done(parent))
    }

    /// Who consulted does not wait for the target by the line any more: he is with the contact (conference), or on hold
    /// until the transfer is done.
    fn drop_line(&mut self, cx: &mut Cx<'_>, side: Key<Interaction>, by: PartyId, purpose: Purpose) {
        let Some(parent) = self.parent_of(side) else { return };
        if let Some(party) = self.interactions.get_mut(side).and_then(|side| side.party_mut(by)) {
            party.line = None;
        }
        match purpose {
            Purpose::Join => self.turn_to(cx, parent, by),
            _ => self.plumb(cx, parent),
        }
    }

    /// Somebody is called who takes one's place, or joins.
    pub(super) fn call_for(
        &mut self,
        cx: &mut Cx<'_>,
        actor: &Actor,
        purpose: Purpose,
        target: &str,
        asked: Asker,
    ) -> Outcome {
        let by = self.member(actor)?;
        let verb = asked.verb;
        if self.others(actor.call, by).is_empty() {
            return Err(conflict("there is nobody to speak to"));
        }
        if self.parent_of(actor.call).is_some() {
            return Err(conflict("a consultation is completed, not transferred"));
        }
        let side = self.aside_for(cx, actor.call, by, purpose, target, asked)?;
        if purpose == Purpose::Transfer {
            self.set_holds(actor.call, by, true);
            self.plumb(cx, actor.call);
        }
        self.write_down(cx, actor, verb, target);
        Ok(Did::Began(side))
    }

    fn drop_party(&mut self, cx: &mut Cx<'_>, actor: &Actor, id: PartyId) -> Outcome {
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

    fn leave_call(&mut self, cx: &mut Cx<'_>, actor: &Actor) -> Outcome {
        let by = actor
            .party
            .filter(|_| self.is_up(actor.call))
            .ok_or_else(|| conflict("no part is taken in it"))?;
        self.write_down(cx, actor, "leave", "");
        self.part(cx, actor.call, by, EndedBy::Peer);
        Ok(Did::Done(actor.call))
    }

    fn mute(
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
        self.plumb(cx, actor.call);
        self.write_down(cx, actor, if on { "mute" } else { "unmute" }, "");
        Ok(Did::Done(actor.call))
    }

    /// A supervisor who is there already changes how he takes part (R133); else his phone is called.
    fn supervise(
        &mut self,
        cx: &mut Cx<'_>,
        actor: &Actor,
        of: Option<PartyId>,
        mode: Supervision,
        mut asked: Asker,
    ) -> Outcome {
        if !actor.rules {
            return Err(Refusal::Forbidden("this needs the role of a supervisor".into()));
        }
        let interaction = self.interactions.get_mut(actor.call).ok_or_else(gone)?;
        let of = of.or(interaction.owner).ok_or_else(|| conflict("the call is not up"))?;
        if interaction.party(of).is_none() {
            return Err(Refusal::NotFound(format!("party {of}").into()));
        }
        let there = actor.party.and_then(|id| interaction.party_mut(id));
        match there.map(|party| &mut party.role) {
            Some(Role::Supervisor { mode: now, .. }) => {
                *now = mode;
                self.write_down(cx, actor, mode.name(), "");
                // Who barged in was one of two, perhaps.
                self.on_left(cx, actor.call, EndReason::Normal, &reason_header(EndReason::Normal));
                Ok(Did::Done(actor.call))
            }
            Some(Role::Member) => Err(conflict("who takes part cannot supervise")),
            None => {
                asked.supervision = Some((mode, of));
                self.call_own_phone(cx, actor, of, Purpose::Supervise, asked)
            }
        }
    }

    /// A supervisor takes the place of the owner.
    fn take_over(&mut self, cx: &mut Cx<'_>, actor: &Actor, asked: Asker) -> Outcome {
        if !actor.rules {
            return Err(Refusal::Forbidden("this needs the role of a supervisor".into()));
        }
        let interaction = self
            .interactions
            .get_mut(actor.call)
            .filter(|call| matches!(call.call.state, State::Bridged(_)));
        let interaction = interaction.ok_or_else(|| conflict("the call is not up"))?;
        let owner = interaction.owner.ok_or_else(|| conflict("the call has no owner"))?;
        if actor.party == Some(owner) && actor.user.is_some() {
            return Err(conflict("the call is yours"));
        }
        let there = actor
            .party
            .filter(|&id| id != owner)
            .and_then(|id| interaction.party_mut(id));
        match there {
            Some(party) => {
                party.role = Role::Member;
                interaction.owner = actor.party;
                self.write_down(cx, actor, "take-over", "");
                self.part(cx, actor.call, owner, EndedBy::Other);
                Ok(Did::Done(actor.call))
            }
            None => self.call_own_phone(cx, actor, owner, Purpose::TakeOver, asked),
        }
    }

    /// The phones of who asks ring, on behalf of a party that he is to hear or to replace.
    fn call_own_phone(
        &mut self,
        cx: &mut Cx<'_>,
        actor: &Actor,
        of: PartyId,
        purpose: Purpose,
        asked: Asker,
    ) -> Outcome {
        let user = actor
            .user
            .as_ref()
            .ok_or_else(|| conflict("an operator has no phone to be called"))?;
        if !self.is_up(actor.call) || self.parent_of(actor.call).is_some() {
            return Err(conflict("the call is not up"));
        }
        let extension = user.user().to_owned();
        let side = self.aside_for(cx, actor.call, of, purpose, &extension, asked)?;
        Ok(Did::Began(side))
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

    // The bricks.

    fn aside_for(
        &mut self,
        cx: &mut Cx<'_>,
        parent: Key<Interaction>,
        by: PartyId,
        purpose: Purpose,
        target: &str,
        asked: Asker,
    ) -> Result<Key<Interaction>, Refusal> {
        let wish = Wish {
            parent,
            by,
            purpose,
            target,
            asked,
        };
        let side = self.call_aside(cx, wish).map_err(Refusal::Unreachable)?;
        self.midst_of("aside");
        Ok(side)
    }

    /// The acting party, which must converse in a call that is up.
    fn member(&self, actor: &Actor) -> Result<PartyId, Refusal> {
        let present = self.present(actor.call);
        let by = actor.party.filter(|id| present.contains(id));
        by.filter(|_| self.is_up(actor.call))
            .ok_or_else(|| conflict("the call is not up, or no part is taken in it"))
    }

    pub(super) fn is_up(&self, call: Key<Interaction>) -> bool {
        matches!(self.state(call), Some(State::Bridged(_)))
    }

    /// Legs meet only at one media worker.
    pub(super) fn fits(&self, side: Key<Interaction>, parent: Key<Interaction>) -> Result<(), Refusal> {
        let worker = |key| {
            self.interactions
                .get(key)
                .and_then(|call: &Interaction| call.call.worker)
        };
        match worker(side) == worker(parent) {
            true => Ok(()),
            false => Err(conflict("the two calls live at different media workers")),
        }
    }

    /// For the history.
    fn write_down(&mut self, cx: &Cx<'_>, actor: &Actor, what: &str, detail: &str) {
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

fn conflict(why: impl Into<Box<str>>) -> Refusal {
    Refusal::Conflict(why.into())
}

/// It has ended meanwhile.
fn gone() -> Refusal {
    Refusal::NotFound("the interaction is over".into())
}
