//! What people at websockets and operators ask of sessions.

use super::machine::{Asked, Newcomer, Session};
use super::phone::name_of;
use super::{Did, Sessions, conflict, gone};
use crate::call::Calls;
use crate::config::User;
use crate::core::Cx;
use crate::{Acted, Answer, By, Command, ImAct, ImVerb, Refusal, Token};
use model::{
    AgentStatus, Aor, Event, ImConsult, ImEnd, ImSession, ImStanding, ImState, InteractionId, InteractionView, Medium,
    PartyId, PartyRole, SessionId,
};

impl Sessions {
    /// `Im`, `ImSessions`, `ImErase` and `Aware`.
    pub(crate) fn handle_command(&mut self, cx: &mut Cx<'_>, calls: &mut Calls, token: Token, command: Command) {
        match command {
            Command::Im(act) => match self.act(cx, calls, token, *act) {
                Some(Ok(answer)) => cx.core.tell(token, answer),
                Some(Err(refusal)) => cx.core.refuse(token, refusal),
                None => {}
            },
            Command::ImSessions { user, session } => {
                let mut all = match &user {
                    Some(user) => self.transcripts(user),
                    None => self.listed(),
                };
                all.retain(|one| session.is_none_or(|wanted| one.session.id == wanted));
                match session {
                    Some(wanted) if all.is_empty() => cx.core.refuse(token, unknown(wanted)),
                    _ => cx.core.tell(token, Answer::Sessions(all)),
                }
            }
            Command::ImErase(id) if self.all.contains_key(&id) => {
                cx.core.refuse(token, conflict("the session is open"));
            }
            Command::ImErase(id) => self.erase(cx, token, id),
            Command::Aware { user, lease, on } => {
                let may = cx.core.users.named(user.user()).is_some_and(|user| user.im);
                match on && may {
                    true => {
                        self.aware.renew(&user, lease, cx.now);
                        cx.agents.open_page(cx.core, &user, lease);
                    }
                    false => {
                        self.aware.end(&user, lease);
                        cx.agents.close_page(cx.core, &user, lease);
                    }
                }
                cx.core.tell(token, Answer::Done(u64::from(on && may)));
            }
            _ => cx.core.refuse(token, conflict("this is not about messages")),
        }
    }

    /// Carries out a verb; `None`: the answer comes when the disk has it.
    fn act(&mut self, cx: &mut Cx<'_>, calls: &mut Calls, token: Token, act: ImAct) -> Option<Did> {
        let user = match &act.by {
            By::User(user) => user.clone(),
            By::Operator(_) => return Some(self.act_as_operator(cx, &act.verb)),
        };
        // R005: the channel is a capability of the account.
        if !cx.core.users.named(user.user()).is_some_and(|user| user.im) {
            return Some(Err(Refusal::Forbidden("this account has no instant messages".into())));
        }
        match act.verb {
            ImVerb::Open {
                target,
                interaction,
                text,
            } => self.open(cx, calls, token, &user, target, interaction, text),
            ImVerb::Send { session, text } => match self.own(&user, session) {
                Ok(who) => self.say(cx, token, session, who, &text).err().map(Err),
                Err(refusal) => Some(Err(refusal)),
            },
            verb => Some(self.perform(cx, calls, &user, &act.client, verb)),
        }
    }

    fn perform(&mut self, cx: &mut Cx<'_>, calls: &mut Calls, user: &Aor, client: &str, verb: ImVerb) -> Did {
        let id = verb.session().ok_or_else(gone)?;
        let who = self.own(user, id)?;
        match verb {
            ImVerb::Accept { .. } => self.accept(cx, id, who)?,
            ImVerb::Reject { .. } => self.reject(cx, id, who)?,
            ImVerb::End { .. } => self.end(cx, id, who)?,
            ImVerb::Done { .. } => return self.close(cx, id, who, user),
            ImVerb::Typing { on, .. } => {
                let on = on.then_some(super::typing::HOLDS);
                return self.on_typing(cx, id, who, on);
            }
            ImVerb::Read { seq, displayed, .. } => self.read(cx, id, who, seq, displayed),
            ImVerb::Add { target, .. } => self.bring_in(cx, id, who, &target, None)?,
            ImVerb::Transfer { target, .. } => self.bring_in(cx, id, who, &target, Some(who))?,
            ImVerb::Drop { party, .. } => self.take_out(cx, id, who, party)?,
            ImVerb::Voice { party, .. } => return self.call_by_voice(cx, calls, (id, who), party, (user, client)),
            ImVerb::Open { .. } | ImVerb::Send { .. } => return Err(gone()),
        }
        self.changed(cx, id);
        self.shown_to(id, user)
    }

    fn shown_to(&self, id: SessionId, user: &Aor) -> Did {
        match self.transcript(id, user) {
            Some(transcript) => Ok(Answer::Session(Box::new(transcript))),
            None => Ok(Answer::Done(1)),
        }
    }

    /// The party that a user is. That there is a session is nobody else's business.
    fn own(&self, user: &Aor, id: SessionId) -> Result<PartyId, Refusal> {
        let view = self.all.get(&id).map(|entry| entry.session.view());
        let party = view.and_then(|view| view.party_of(user)).filter(|party| !party.done);
        party.map(|party| party.id).ok_or_else(|| unknown(id))
    }

    /// An operator of the machine sees that there are sessions and can end them; what is said is no business of his.
    fn act_as_operator(&mut self, cx: &mut Cx<'_>, verb: &ImVerb) -> Did {
        let ImVerb::End { session } = *verb else {
            return Err(Refusal::Forbidden("an operator takes no part in sessions".into()));
        };
        let entry = self.all.get_mut(&session).ok_or_else(|| unknown(session))?;
        match entry.session.end(None, ImEnd::Ended, cx.now.wall) {
            true => self.changed(cx, session),
            false => return Err(conflict("the session has ended")),
        }
        Ok(Answer::Done(1))
    }

    // The verbs.

    /// A window is opened; nothing is sent (R030, R031). With a text, the first message is.
    #[allow(clippy::too_many_arguments)] // the fields of the verb
    fn open(
        &mut self,
        cx: &mut Cx<'_>,
        calls: &Calls,
        token: Token,
        user: &Aor,
        target: Box<str>,
        interaction: Option<InteractionId>,
        text: Option<Box<str>>,
    ) -> Option<Did> {
        let id = match self.open_window(cx, calls, user, target, interaction) {
            Ok(id) => id,
            Err(refusal) => return Some(Err(refusal)),
        };
        let Some(text) = text else {
            self.changed(cx, id);
            return Some(self.shown_to(id, user));
        };
        let who = self.all.get(&id).map(|entry| entry.session.view().owner)?;
        match self.say(cx, token, id, who, &text) {
            Ok(()) => {
                self.changed(cx, id);
                None
            }
            Err(refusal) => {
                // As if it had never been opened.
                self.all.remove(&id);
                self.index(id, user);
                Some(Err(refusal))
            }
        }
    }

    fn open_window(
        &mut self,
        cx: &mut Cx<'_>,
        calls: &Calls,
        user: &Aor,
        target: Box<str>,
        interaction: Option<InteractionId>,
    ) -> Result<SessionId, Refusal> {
        let consult = interaction
            .map(|parent| consult_about(calls, user, parent))
            .transpose()?;
        if target.is_empty() || target.len() > 256 {
            return Err(conflict("a target is an extension or number"));
        }
        if !self.make_room(cx, user) {
            return Err(conflict("too many sessions: close some that have ended"));
        }
        let known = cx.core.users.named(user.user()).ok_or_else(gone)?;
        let shown = super::say::shown(&known.name, user);
        let owner = Newcomer {
            id: PartyId(cx.core.random()),
            user: user.clone(),
            shown,
            by_phone: false,
        };
        let id = self.new_id(cx);
        let session = Session::open(id, owner, target.clone(), consult, cx.now.wall);
        self.insert(cx, session);
        // Who is not there now may be when the first message is sent; who can never be meant is said at once.
        match self.reach(cx, id, &target) {
            Ok(_) | Err(Refusal::Unreachable(480)) => Ok(id),
            Err(refusal) => {
                self.all.remove(&id);
                self.index(id, user);
                Err(refusal)
            }
        }
    }

    fn accept(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId) -> Result<(), Refusal> {
        match self.on_accepted(cx, id, who) {
            true => Ok(()),
            false => Err(conflict("there is no invitation any more")),
        }
    }

    fn reject(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId) -> Result<(), Refusal> {
        match self.on_declined(cx, id, who, ImStanding::Rejected) {
            true => Ok(()),
            false => Err(conflict("there is no invitation any more")),
        }
    }

    /// Of two, either ends the session for both (R045); of more, who ends it leaves, and the others go on.
    fn end(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId) -> Result<(), Refusal> {
        let entry = self.all.get_mut(&id).ok_or_else(gone)?;
        let standing = entry.session.view().party(who).map(|party| party.standing);
        match (entry.session.state(), standing) {
            (ImState::Ended, _) => return Err(conflict("the session has ended")),
            (ImState::NotConnected, _) => return Err(conflict("nothing was sent yet: `done` closes it")),
            (_, Some(ImStanding::Invited)) => return self.reject(cx, id, who),
            (_, Some(ImStanding::Connected)) => {}
            _ => return Err(conflict("no part is taken in it")),
        }
        self.stop_typing(cx, id, who);
        self.withdraw_of(cx, id, who);
        let Some(entry) = self.all.get_mut(&id) else {
            return Ok(());
        };
        if entry.session.connected().count() <= 2 {
            entry.session.end(Some(who), ImEnd::Ended, cx.now.wall);
        } else {
            entry.session.leave(who, ImStanding::Left, cx.now.wall);
            self.tell_left(cx, id, who, "left");
        }
        Ok(())
    }

    /// Closes the window (R047). Of what was never sent nobody hears (R048); an invitation under way is taken back.
    fn close(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId, user: &Aor) -> Did {
        let entry = self.all.get_mut(&id).ok_or_else(gone)?;
        if entry.session.state() == ImState::Establishing && entry.session.view().owner == who {
            entry.session.end(Some(who), ImEnd::Withdrawn, cx.now.wall);
        }
        if !entry.session.close(who) {
            return Err(conflict("end the session first"));
        }
        let user = user.clone();
        cx.core.announce(|| Event::ImClosed { session: id, user });
        self.changed(cx, id);
        Ok(Answer::Done(1))
    }

    /// Everything up to a message has come to a page, or was displayed there too.
    fn read(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId, seq: u64, displayed: bool) {
        let Some(entry) = self.all.get(&id) else { return };
        let last = entry.session.messages().back().map_or(0, |message| message.seq);
        let party = entry.session.view().party(who);
        if party.is_some_and(|party| party.standing != ImStanding::Invited) {
            let seq = seq.min(last);
            self.advance(cx, id, who, seq, if displayed { seq } else { 0 });
            if displayed {
                self.recall(cx, id, who, seq);
            }
        }
    }

    /// Somebody is asked to join, or to take the place of who asks.
    fn bring_in(
        &mut self,
        cx: &mut Cx<'_>,
        id: SessionId,
        who: PartyId,
        target: &str,
        replaces: Option<PartyId>,
    ) -> Result<(), Refusal> {
        let entry = self.all.get(&id).ok_or_else(gone)?;
        if entry.session.state() != ImState::Connected || !entry.session.connected().any(|party| party.id == who) {
            return Err(conflict("the session is not connected"));
        }
        let group = None;
        let by = Some(who);
        self.call(cx, id, target, Asked { by, replaces, group })
    }

    /// Takes a party out, or takes an invitation back: who owns the session, or who invited.
    fn take_out(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId, whom: PartyId) -> Result<(), Refusal> {
        let entry = self.all.get_mut(&id).ok_or_else(gone)?;
        let view = entry.session.view();
        let party = view
            .party(whom)
            .ok_or_else(|| Refusal::NotFound(format!("party {whom}").into()))?;
        let takes_part = view
            .party(who)
            .is_some_and(|party| party.standing == ImStanding::Connected);
        let may = |of: PartyId| stands_for(view, who, of);
        if !takes_part || !may(view.owner) && !party.invited_by.is_some_and(may) && whom != who {
            return Err(Refusal::Forbidden(
                "only who owns the session or invited somebody can drop them".into(),
            ));
        }
        match party.standing {
            ImStanding::Invited => {
                entry.session.decline(whom, ImStanding::Withdrawn, cx.now.wall);
            }
            ImStanding::Connected if whom == who => return self.end(cx, id, who),
            ImStanding::Connected => {
                self.stop_typing(cx, id, whom);
                self.withdraw_of(cx, id, whom);
                if let Some(entry) = self.all.get_mut(&id) {
                    entry.session.leave(whom, ImStanding::Dropped, cx.now.wall);
                }
                self.tell_left(cx, id, whom, "was taken out");
            }
            _ => return Err(conflict("that party takes no part")),
        }
        Ok(())
    }

    /// The phones of those who stay, and of who went, are told.
    fn tell_left(&mut self, cx: &mut Cx<'_>, id: SessionId, whom: PartyId, how: &str) {
        let Some(entry) = self
            .all
            .get(&id)
            .filter(|entry| entry.session.state() != ImState::Ended)
        else {
            return;
        };
        let Some(party) = entry.session.view().party(whom).cloned() else {
            return;
        };
        let text = format!("({} {how})", name_of(&party));
        self.tell_phones(cx, id, &party, |_| true, &text);
        let by_phone = party.by_phone && !self.aware.is(&party.user, cx.now);
        if by_phone && let Some(entry) = self.all.get_mut(&id) {
            entry.session.close(whom);
        }
    }

    /// A consultation goes on by voice: the contact is put on hold, the other one's phone rings, and the session stays
    /// (R085 to R089).
    fn call_by_voice(
        &mut self,
        cx: &mut Cx<'_>,
        calls: &mut Calls,
        (id, who): (SessionId, PartyId),
        party: Option<PartyId>,
        (user, client): (&Aor, &str),
    ) -> Did {
        let entry = self.all.get(&id).ok_or_else(gone)?;
        let view = entry.session.view();
        let consult = view.consult.as_ref();
        let interaction = consult.map(|consult| consult.interaction);
        let interaction = interaction.ok_or_else(|| conflict("this is no consultation about a call"))?;
        let takes_part = entry.session.connected().any(|party| party.id == who);
        if !takes_part || !stands_for(view, who, view.owner) {
            return Err(Refusal::Forbidden("only who consults can call".into()));
        }
        let mut others = entry.session.connected().filter(|other| other.id != who);
        let target = others.find(|other| party.is_none_or(|wanted| other.id == wanted));
        let target = target.map(|target| target.user.clone());
        let target = target.ok_or_else(|| conflict("nobody is connected who could be called"))?;
        drop(others);
        takes_voice(cx, &target)?;
        let voice = calls.consult_by_voice(cx, interaction, user, target.user(), client)?;
        if let Some(consult) = self.all.get_mut(&id).and_then(|entry| entry.session.consult_mut()) {
            consult.voice = Some(voice);
        }
        self.changed(cx, id);
        let view = calls.interaction(voice).ok_or_else(gone)?;
        Ok(Answer::Acted(Box::new(Acted { done: false, view })))
    }
}

/// What a consultation shows of its interaction, in which who consults must take part.
fn consult_about(calls: &Calls, user: &Aor, interaction: InteractionId) -> Result<ImConsult, Refusal> {
    let view = calls.interaction(interaction);
    let view: InteractionView = view
        .filter(|view| view.includes(user))
        .ok_or_else(|| Refusal::NotFound(format!("interaction {interaction}").into()))?;
    let is_other = |party: &&model::PartyView| party.user.as_ref() != Some(user) && party.role == PartyRole::Member;
    let others = view.parties.iter().filter(is_other);
    Ok(ImConsult {
        // A consultation from within a consultation is about the same case.
        interaction: view.purpose.and(view.parent).unwrap_or(view.id),
        contacts: others.map(|party| party.shown.clone()).collect(),
        case_data: view.case_data,
        voice: None,
    })
}

/// Agents are to be ready for voice to be called out of a consultation by messages (R089): that they write tells nothing of
/// it. Users who are no agents say nothing of the kind.
fn takes_voice(cx: &Cx<'_>, target: &Aor) -> Result<(), Refusal> {
    let is_agent = cx.core.users.named(target.user()).is_some_and(User::is_agent);
    match cx.agents.status(target, Medium::Voice) {
        _ if !is_agent => Ok(()),
        AgentStatus::Ready => Ok(()),
        AgentStatus::Busy => Err(Refusal::Unreachable(486)),
        AgentStatus::LoggedOff | AgentStatus::NotReady | AgentStatus::AfterCall => Err(Refusal::Unreachable(480)),
    }
}

/// Whether a party is this one, or has taken its place by a transfer, and so may do what that one might.
fn stands_for(view: &ImSession, who: PartyId, of: PartyId) -> bool {
    let replaced = || view.party(who).and_then(|party| party.replaces);
    who == of || replaced().is_some_and(|replaced| stands_for(view, replaced, of))
}

fn unknown(id: SessionId) -> Refusal {
    Refusal::NotFound(format!("session {id}").into())
}
