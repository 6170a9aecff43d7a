//! What is said: kept first, then given to everybody in one order.

use super::keep::{Question, Said};
use super::machine::{Asked, Newcomer, Session};
use super::phone::{Parcel, name_of};
use super::receipt::{News, Origin};
use super::{Did, Entry, Sessions, Waiter, conflict};
use crate::agent::group;
use crate::core::Cx;
use crate::im::imdn::Wish;
use crate::im::letter::Letter;
use crate::room::Room;
use crate::{Answer, Refusal, Token};
use model::{Aor, Event, ImEnd, ImMessage, ImParty, ImStanding, ImState, PartyId, SessionId, StoreOp, StoreReply};
use sip::{Flow, Message, Name, Reply};

/// Messages of one session that the disk has not yet: who writes faster is asked to wait.
const MAX_PENDING: u32 = 64;
/// After this a phone whose message found no room may try again.
const RETRY_AFTER_S: u32 = 10;

impl Sessions {
    /// A command to say something. Answered when it is on disk.
    pub(super) fn say(
        &mut self,
        cx: &mut Cx<'_>,
        token: Token,
        id: SessionId,
        who: PartyId,
        text: &str,
    ) -> Result<(), Refusal> {
        check(text, cx.core.config.im.max_size)?;
        self.may_say(cx, id, who)?;
        self.keep_said(cx, id, who, text, (None, Waiter::Command(token)));
        Ok(())
    }

    /// Whether this party can say something now; before the first message also whether it would reach anybody.
    fn may_say(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId) -> Result<(), Refusal> {
        let entry = self.all.get(&id).ok_or_else(super::gone)?;
        let view = entry.session.view();
        let standing = view.party(who).map(|party| party.standing);
        match view.state {
            // R046; as SIP would say: 481.
            ImState::Ended => return Err(conflict("the session has ended")),
            _ if standing != Some(ImStanding::Connected) => {
                return Err(conflict("accept the invitation first, if it still stands"));
            }
            ImState::NotConnected => {
                let target = view.target.clone();
                self.reach(cx, id, &target)?;
            }
            ImState::Establishing | ImState::Connected => {}
        }
        match self.all.get(&id).is_some_and(|entry| entry.pending < MAX_PENDING) {
            true => Ok(()),
            false => Err(Refusal::Unavailable("too much is being written at once".into())),
        }
    }

    fn keep_said(
        &mut self,
        cx: &mut Cx<'_>,
        id: SessionId,
        who: PartyId,
        text: &str,
        (wish, waiter): (Option<Wish>, Waiter),
    ) {
        let request = waiter.request();
        let Some(entry) = self.all.get_mut(&id) else { return };
        let shown = entry.session.view().party(who).map(|party| party.shown.clone());
        let message = ImMessage {
            session: id,
            seq: entry.session.next_seq(),
            at: cx.now.wall,
            from: who,
            shown: shown.unwrap_or_default(),
            text: text.into(),
            failed: Vec::new(),
            request,
        };
        entry.pending += 1;
        entry.active_at = cx.now.mono;
        if !entry.is_kept {
            entry.is_kept = true;
            self.save(cx, id);
        }
        let op = StoreOp::PutSessionMessage(Box::new(message.clone()));
        self.ask(cx, op, Question::Say(Box::new(Said { message, wish, waiter })));
    }

    /// The store has it, or not.
    pub(super) fn on_kept(&mut self, cx: &mut Cx<'_>, said: Said, reply: &StoreReply) {
        let Said { message, wish, waiter } = said;
        let (id, who) = (message.session, message.from);
        let Some(entry) = self.all.get_mut(&id) else {
            return answer(cx, waiter, Err(super::gone()));
        };
        entry.pending = entry.pending.saturating_sub(1);
        let view = entry.session.view();
        let takes_part = view
            .party(who)
            .is_some_and(|party| party.standing == ImStanding::Connected);
        if let StoreReply::Failed(why) = reply {
            cx.core.tally.store_failures += 1;
            tracing::error!(session = %id, %why, "message of a session not kept");
            answer(cx, waiter, Err(Refusal::Unavailable(why.to_string().into())));
            return self.forget_if_unsaid(cx, id);
        }
        if view.state == ImState::Ended || !takes_part {
            answer(cx, waiter, Err(conflict("the session has ended")));
            return self.changed(cx, id);
        }
        let is_first = view.state == ImState::NotConnected;
        entry.session.say(message.clone());
        if let Waiter::Phone(_, origin) = &waiter {
            self.news.push(News::Accepted(origin.clone()));
        }
        answer(cx, waiter, Ok(Answer::Sent(Box::new(message.clone()))));
        self.stop_typing(cx, id, who);
        if let Some(wish) = wish.as_ref().filter(|_| !is_first) {
            self.note_asked(&message, wish);
        }
        self.hand_out(cx, &message);
        if is_first {
            self.call_target(cx, id, who);
            // Only now there is somebody whom it goes to.
            wish.iter().for_each(|wish| self.note_asked(&message, wish));
        }
        self.changed(cx, id);
    }

    /// A phone's first message that could not be kept began nothing.
    fn forget_if_unsaid(&mut self, cx: &mut Cx<'_>, id: SessionId) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        let owner = entry.session.view().owner;
        let by_phone = entry.session.view().party(owner).is_some_and(|party| party.by_phone);
        if entry.session.state() == ImState::NotConnected && by_phone && entry.pending == 0 {
            entry.session.close(owner);
        }
        self.changed(cx, id);
    }

    /// Everybody who takes part gets what was said.
    fn hand_out(&mut self, cx: &mut Cx<'_>, message: &ImMessage) {
        let Some(entry) = self.all.get(&message.session) else {
            return;
        };
        let to = entry.users();
        let said = message.clone();
        cx.core.announce(|| Event::ImMessage { message: said, to });
        let view = entry.session.view();
        let Some(from) = view.party(message.from) else { return };
        let others = view.parties.iter().filter(|party| party.user != from.user);
        let phones: Vec<PartyId> = others
            .filter(|party| self.goes_to_phones(cx, party))
            .map(|party| party.id)
            .collect();
        let parcel = Parcel::message(message, from);
        for party in phones {
            self.send_to_phones(cx, message.session, party, parcel.clone());
        }
    }

    // Words for phones.

    /// A word about a party to the phones of others.
    pub(super) fn tell_phones(
        &mut self,
        cx: &mut Cx<'_>,
        id: SessionId,
        about: &ImParty,
        to: impl Fn(&ImParty) -> bool,
        text: &str,
    ) {
        let Some(entry) = self.all.get(&id) else { return };
        let parties = entry.session.connected();
        let phones = parties.filter(|party| to(party) && self.goes_to_phones(cx, party));
        let phones: Vec<PartyId> = phones.map(|party| party.id).collect();
        for party in phones {
            self.send_to_phones(cx, id, party, Parcel::word(about, text.to_owned()));
        }
    }

    /// "(Kate ended the session)".
    pub(super) fn say_ended(&mut self, cx: &mut Cx<'_>, id: SessionId) {
        let Some(entry) = self.all.get(&id) else { return };
        let view = entry.session.view();
        let by = view
            .ended_by
            .or(Some(view.owner))
            .and_then(|id| view.party(id))
            .cloned();
        let Some(by) = by else { return };
        let text = match (view.end, view.ended_by) {
            (Some(ImEnd::Ended | ImEnd::Withdrawn), Some(_)) => format!("({} ended the session)", name_of(&by)),
            (Some(ImEnd::Ended | ImEnd::Idle), _) => "(the session has ended)".to_owned(),
            // Of a refused invitation its sender has been told.
            _ => return,
        };
        let others = entry
            .session
            .connected()
            .filter(|party| Some(party.id) != view.ended_by);
        let parties = others.filter(|party| self.goes_to_phones(cx, party));
        let phones: Vec<PartyId> = parties.map(|party| party.id).collect();
        for party in phones {
            self.send_to_phones(cx, id, party, Parcel::word(&by, text.clone()));
        }
    }

    // From phones.

    /// A text that a phone sends: true if it belongs to a session, or begins one, and is dealt with.
    pub(in crate::im) fn take_text(&mut self, cx: &mut Cx<'_>, flow: Flow, request: &Message, letter: &Letter) -> bool {
        // To a group or a skill there are sessions only (R052).
        let is_for_team = group::team(cx.core, letter.to.user()).is_some();
        let Some(text) = plain_text(letter).filter(|text| !text.is_empty()) else {
            if is_for_team {
                cx.core.tally.messages_refused += 1;
                let reply = Reply::new(415).header(Name::Accept, "text/plain");
                cx.core.answer(cx.now, flow, request, &reply);
            }
            return is_for_team;
        };
        if self.heard.knows(cx.now.mono, || letter.short_name()) {
            tracing::info!(call_id = &*letter.call_id, "message came again after a restart");
            cx.core.answer(cx.now, flow, request, &Reply::new(202));
            return true;
        }
        let found = self.going_on(&letter.from, &letter.to);
        let place = match found {
            Some(place) => Some(place),
            None if is_for_team || self.aware.is(&letter.to, cx.now) && letter.to != letter.from => {
                let reply = || Reply::new(480).header(Name::RetryAfter, RETRY_AFTER_S.to_string());
                match self.begin_by_phone(cx, letter) {
                    Some(place) => Some(place),
                    None => {
                        cx.core.tally.messages_refused += 1;
                        cx.core.answer(cx.now, flow, request, &reply());
                        return true;
                    }
                }
            }
            None => None,
        };
        let Some((id, who)) = place else { return false };
        let core = &mut *cx.core;
        let owner = Room::Session.owner(id.0);
        let server = core
            .endpoint
            .accept(cx.now.mono, flow, request.clone(), owner, &mut core.effects);
        match self.may_say(cx, id, who) {
            Ok(()) => {
                let waiter = Waiter::Phone(server, Origin::of(letter));
                self.keep_said(cx, id, who, text, (Wish::of(letter), waiter));
            }
            Err(refusal) => {
                let waiter = Waiter::Phone(server, Origin::of(letter));
                answer(cx, waiter, Err(refusal));
                self.forget_if_unsaid(cx, id);
            }
        }
        true
    }

    /// The session in which these two are, the one in which somebody did something last.
    pub(super) fn going_on(&self, from: &Aor, to: &Aor) -> Option<(SessionId, PartyId)> {
        let own = self.by_user.get(from)?.iter();
        let found = own.filter_map(|id| {
            let entry = self.all.get(id)?;
            let view = entry.session.view();
            let sender = view
                .party_of(from)
                .filter(|party| party.standing == ImStanding::Connected)?;
            let is_there = view.party_of(to).is_some_and(|party| party.standing.is_in())
                || view.owner == sender.id && *view.target == *to.user();
            let goes_on = matches!(view.state, ImState::Establishing | ImState::Connected);
            (is_there && goes_on).then_some((entry.active_at, *id, sender.id))
        });
        found.max().map(|(_, id, party)| (id, party))
    }

    /// A phone's text to somebody with a workspace opens a session.
    fn begin_by_phone(&mut self, cx: &mut Cx<'_>, letter: &Letter) -> Option<(SessionId, PartyId)> {
        let target = cx.core.users.find(letter.to.user());
        let takes_texts = match target {
            Some(target) => cx.core.users[target].im && self.make_room(cx, &letter.to),
            None => group::team(cx.core, letter.to.user()).is_some(),
        };
        if !takes_texts || !self.make_room(cx, &letter.from) {
            return None;
        }
        let owner = Newcomer {
            id: PartyId(cx.core.random()),
            user: letter.from.clone(),
            shown: shown(&letter.from_display, &letter.from),
            by_phone: true,
        };
        let (id, who) = (self.new_id(cx), owner.id);
        let session = Session::open(id, owner, letter.to.user().into(), None, cx.now.wall);
        self.insert(cx, session);
        // A page of who writes hears of the session before it hears what is said in it.
        self.changed(cx, id);
        Some((id, who))
    }

    /// A session comes into being.
    pub(super) fn insert(&mut self, cx: &mut Cx<'_>, session: Session) {
        let (id, user) = (session.view().id, session.view().parties[0].user.clone());
        self.all.insert(id, Entry::new(session, cx.now.mono));
        self.index(id, &user);
    }

    pub(super) fn new_id(&self, cx: &mut Cx<'_>) -> SessionId {
        loop {
            // The owner numbers of timers have 56 bits; 0 is the room's own.
            let id = SessionId(cx.core.random() >> 8);
            if id.0 != 0 && !self.all.contains_key(&id) {
                return id;
            }
        }
    }

    /// The first message has been said: whoever the session was opened to is invited.
    pub(super) fn call_target(&mut self, cx: &mut Cx<'_>, id: SessionId, by: PartyId) {
        let Some(entry) = self.all.get(&id) else { return };
        let target = entry.session.view().target.clone();
        let asked = Asked::default();
        if self.call(cx, id, &target, Asked { by: Some(by), ..asked }).is_err()
            && let Some(entry) = self.all.get_mut(&id)
        {
            // Whoever was there a moment ago is gone.
            entry.session.end(None, ImEnd::Unreachable, cx.now.wall);
        }
    }
}

impl Entry {
    pub(super) fn new(session: Session, now: clock::Mono) -> Entry {
        Entry {
            session,
            told: None,
            is_kept: false,
            pending: 0,
            lines: std::collections::BTreeMap::new(),
            invitations: std::collections::BTreeMap::new(),
            typing: std::collections::BTreeMap::new(),
            asked: std::collections::BTreeMap::new(),
            active_at: now,
        }
    }
}

/// Answers who said something.
fn answer(cx: &mut Cx<'_>, waiter: Waiter, did: Did) {
    match (waiter, did) {
        (Waiter::Command(token), Ok(answer)) => cx.core.tell(token, answer),
        (Waiter::Command(token), Err(refusal)) => cx.core.refuse(token, refusal),
        (Waiter::Phone(server, _), did) => {
            let reply = match did {
                Ok(_) => Reply::new(202),
                Err(Refusal::Unavailable(_)) => cx.core.overloaded(),
                Err(Refusal::Unreachable(status)) => Reply::new(status),
                // The session ended while the disk was busy: the next message begins another one.
                Err(_) => Reply::new(480).header(Name::RetryAfter, RETRY_AFTER_S.to_string()),
            };
            match reply.status {
                202 => cx.core.tally.messages_stored += 1,
                _ => cx.core.tally.messages_refused += 1,
            }
            let core = &mut *cx.core;
            core.endpoint.respond(cx.now.mono, server, &reply, &mut core.effects);
        }
    }
}

/// The text of a phone's message, if it is plain text in UTF-8.
fn plain_text(letter: &Letter) -> Option<&str> {
    let mut parts = letter.content_type.split(';').map(str::trim);
    if !parts.next().unwrap_or_default().eq_ignore_ascii_case("text/plain") {
        return None;
    }
    std::str::from_utf8(&letter.body)
        .ok()
        .filter(|text| !text.contains('\0'))
}

/// A text that can be sent: something, and not too much.
fn check(text: &str, max_size: usize) -> Result<(), Refusal> {
    if text.is_empty() || text.contains('\0') {
        return Err(conflict("a message is some text"));
    }
    if text.len() > max_size {
        return Err(Refusal::TooLarge(max_size));
    }
    Ok(())
}

/// `"Name" <number>`.
pub(super) fn shown(name: &str, user: &Aor) -> Box<str> {
    match name.is_empty() {
        true => user.user().into(),
        false => crate::text::name_addr(name, user.user()).into(),
    }
}
