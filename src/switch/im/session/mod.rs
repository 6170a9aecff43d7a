//! Sessions of instant messages (R030 to R089): a conversation that is offered, accepted or refused, held and ended, between
//! people at websockets and people with plain phones, in every combination.
//!
//! [`machine::Session`] is what a session is. Here is how people are reached. A user is *aware* while one of their websockets
//! says that it shows messages ([`aware`]): then an invitation waits for a click there, and their phones are left alone until
//! it is accepted. Without such a websocket a phone's 2xx is all the acceptance there is. What is said is on disk before its
//! sender hears so, and goes to the others after that, in one order for all.

mod aware;
mod heard;
mod hunt;
mod invite;
mod keep;
pub(crate) mod machine;
mod phone;
mod receipt;
mod say;
#[cfg(test)]
mod tests;
mod typing;
mod verbs;

use crate::agent::Lease;
use crate::core::{Core, Cx};
use crate::room::Room;
use crate::{Answer, Refusal, Token};
use ahash::RandomState;
use aware::Aware;
use clock::{Mono, Now};
use hashbrown::HashMap;
use machine::Session;
use model::{
    Aor, Event, ImEnd, ImSession, ImStanding, ImState, ImTranscript, InteractionId, PartyId, SessionId, StoreReply,
};
use phone::Line;
use receipt::{News, Origin};
use sip::endpoint::{Alarm, Event as SipEvent, ServerId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Sessions in one user's bar, the ended ones that were not closed with them: tabs that nobody could find anything in.
const MAX_PER_USER: usize = 64;
/// Sessions in all: with some kilobytes each, tens of megabytes; a thousand agents have ten each.
const MAX_SESSIONS: usize = 10_000;
/// How often old sessions are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// A session in which nobody says anything for so long has been forgotten: half a day.
const IDLE: Duration = Duration::from_secs(12 * 3_600);
/// One that ended so long ago is closed for who has not closed it: a week of leave.
const UNCLOSED: Duration = Duration::from_secs(7 * 86_400);

/// Timers of [`Room::Session`]: the kind in the upper half, the party's place in the lower one.
mod timer {
    pub(super) const SWEEP: u32 = 0;
    pub(super) const INVITATION: u32 = 1 << 16;
    pub(super) const TYPING: u32 = 2 << 16;
    /// To invite whom a session was opened to before the restart.
    pub(super) const CALL: u32 = 3 << 16;
}

/// All sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    all: BTreeMap<SessionId, Entry>,
    /// Those in the bar of each user.
    by_user: HashMap<Aor, BTreeSet<SessionId>, RandomState>,
    aware: Aware,
    /// What the store was asked.
    questions: HashMap<Token, keep::Question, RandomState>,
    /// Texts for phones that wait to be posted.
    due: BTreeSet<(SessionId, PartyId)>,
    /// Who writes, or no more, and whose phones are to show it.
    typing: Vec<(Aor, Aor, bool)>,
    /// What senders who asked are to hear.
    news: Vec<News>,
    /// What phones said before the restart, and may say again.
    heard: heard::Heard,
}

/// A session, and what is under way in it.
#[derive(Debug)]
struct Entry {
    session: Session,
    /// As it was told and kept last.
    told: Option<ImSession>,
    /// The store has it.
    is_kept: bool,
    /// Messages that the store was asked to keep.
    pending: u32,
    /// By phone.
    lines: BTreeMap<PartyId, Line>,
    /// Until the invitation is over.
    invitations: BTreeMap<PartyId, Alarm>,
    /// Who writes.
    typing: BTreeMap<PartyId, Writing>,
    /// Messages whose sender's phone asked to hear of them, and what it calls them.
    asked: BTreeMap<u64, Box<str>>,
    /// When somebody last said or did something.
    active_at: Mono,
}

/// That somebody writes.
#[derive(Debug)]
struct Writing {
    /// Until when it holds.
    alarm: Alarm,
    /// When phones were told last.
    shown_at: Mono,
}

/// Who waits to hear that something was said.
#[derive(Debug)]
enum Waiter {
    /// A command.
    Command(Token),
    /// A phone's MESSAGE, and what tells it from others.
    Phone(ServerId, Origin),
}

impl Waiter {
    /// A hash of the phone's request; 0 for none.
    fn request(&self) -> u64 {
        match self {
            Waiter::Command(_) => 0,
            Waiter::Phone(_, origin) => origin.request,
        }
    }
}

pub(super) use receipt::{text_name, text_of};

type Did = Result<Answer, Refusal>;

impl Sessions {
    /// None. The store has been asked for those before: [`Sessions::restore`].
    #[must_use]
    pub(crate) fn new(core: &mut Core, now: Now) -> Sessions {
        core.endpoint
            .set_timer(now.mono + SWEEP, Room::Session.owner(0), timer::SWEEP);
        Sessions {
            all: BTreeMap::new(),
            by_user: HashMap::with_hasher(core.hasher.clone()),
            aware: Aware::new(core),
            questions: HashMap::with_hasher(core.hasher.clone()),
            due: BTreeSet::new(),
            typing: Vec::new(),
            news: Vec::new(),
            heard: heard::Heard::default(),
        }
    }

    /// A timer.
    pub(crate) fn handle_event(&mut self, cx: &mut Cx<'_>, number: u64, event: &SipEvent) {
        let SipEvent::Timer { kind, .. } = event else { return };
        let id = SessionId(number);
        match *kind {
            timer::SWEEP => self.sweep(cx),
            timer::CALL => self.call_after_restart(cx, id),
            kind if kind >= timer::TYPING => self.on_typed(cx, id, kind - timer::TYPING),
            kind => self.on_no_answer(cx, id, kind - timer::INVITATION),
        }
    }

    /// The store's answer.
    pub(crate) fn handle_stored(&mut self, cx: &mut Cx<'_>, token: Token, reply: &StoreReply) {
        match self.questions.remove(&token) {
            Some(keep::Question::Say(said)) => self.on_kept(cx, *said, reply),
            Some(keep::Question::Erase(command)) => match reply {
                StoreReply::Failed(why) => cx.core.refuse(command, Refusal::Unavailable(why.to_string().into())),
                _ => cx.core.tell(command, Answer::Done(1)),
            },
            None => {}
        }
    }

    /// Sessions in memory.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// What a user is shown of their sessions; the oldest first.
    #[must_use]
    pub(crate) fn transcripts(&self, user: &Aor) -> Vec<ImTranscript> {
        let own = self.by_user.get(user).into_iter().flatten();
        let mut all: Vec<ImTranscript> = own.filter_map(|id| self.transcript(*id, user)).collect();
        all.sort_by_key(|transcript| (transcript.session.opened_at, transcript.session.id));
        all
    }

    /// One session as this user may see it.
    fn transcript(&self, id: SessionId, user: &Aor) -> Option<ImTranscript> {
        let session = &self.all.get(&id)?.session;
        let party = session.view().party_of(user).filter(|party| !party.done)?;
        Some(session.transcript_of(party))
    }

    /// All sessions without a word of what was said: for operators.
    #[must_use]
    fn listed(&self) -> Vec<ImTranscript> {
        let bare = |entry: &Entry| ImTranscript {
            session: entry.session.view().clone(),
            messages: Vec::new(),
        };
        let mut all: Vec<ImTranscript> = self.all.values().map(bare).collect();
        all.sort_by_key(|transcript| (transcript.session.opened_at, transcript.session.id));
        all
    }

    /// The case of an interaction has changed: its consultations show it.
    pub(crate) fn on_case_changed(
        &mut self,
        cx: &mut Cx<'_>,
        interaction: InteractionId,
        data: &BTreeMap<Box<str>, Box<str>>,
    ) {
        let about: Vec<SessionId> = self.about(interaction).collect();
        for id in about {
            let consult = self.all.get_mut(&id).and_then(|entry| entry.session.consult_mut());
            if let Some(consult) = consult {
                consult.case_data.clone_from(data);
            }
            self.changed(cx, id);
        }
    }

    /// Whether this user is consulted about an interaction, so may read its case and change nothing (R076).
    #[must_use]
    pub(crate) fn is_consulted(&self, user: &Aor, interaction: InteractionId) -> bool {
        let own = self.by_user.get(user).into_iter().flatten();
        let mut sessions = own.filter_map(|id| self.all.get(id));
        sessions.any(|entry| {
            let consult = entry.session.view().consult.as_ref();
            consult.is_some_and(|consult| consult.interaction == interaction)
        })
    }

    fn about(&self, interaction: InteractionId) -> impl Iterator<Item = SessionId> {
        let is_about = move |entry: &Entry| {
            let consult = entry.session.view().consult.as_ref();
            consult.is_some_and(|consult| consult.interaction == interaction)
        };
        self.all
            .iter()
            .filter(move |(_, entry)| is_about(entry))
            .map(|(id, _)| *id)
    }

    // What follows a change.

    /// Tells and keeps what has changed in a session, and forgets it when nobody needs it any more.
    fn changed(&mut self, cx: &mut Cx<'_>, id: SessionId) {
        self.note_end(cx, id);
        let Some(entry) = self.all.get_mut(&id) else { return };
        let view = entry.session.view();
        let before = entry.told.as_ref();
        if before.is_none_or(|before| differs(before, view)) {
            let left = before.map(|before| parted(before, view)).unwrap_or_default();
            let session = view.clone();
            cx.core.announce(|| Event::ImChanged { session, left });
        }
        let users: Vec<Aor> = view.parties.iter().map(|party| party.user.clone()).collect();
        if entry.told.as_ref() != Some(view) {
            entry.told = Some(view.clone());
            self.save(cx, id);
        }
        for user in users {
            self.index(id, &user);
            self.hold_agent(cx, &user);
        }
        self.forget_if_done(cx, id);
    }

    /// What an agent has to do with messages: sessions that go on, and invitations that wait.
    fn hold_agent(&self, cx: &mut Cx<'_>, user: &Aor) {
        let own = self.by_user.get(user).into_iter().flatten();
        let live = own.filter_map(|id| {
            let view = self.all.get(id)?.session.view();
            let party = view.party_of(user).filter(|party| party.standing.is_in())?;
            let goes_on = matches!(view.state, ImState::Establishing | ImState::Connected);
            goes_on.then_some(Lease {
                of: id.0,
                is_up: party.standing == ImStanding::Connected && view.connected_at.is_some(),
            })
        });
        let live: Vec<Lease> = live.collect();
        cx.agents.hold_sessions(cx.core, user, live.into_iter());
    }

    /// What an end, or the end of an invitation, brings with it.
    fn note_end(&mut self, cx: &mut Cx<'_>, id: SessionId) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        let is_asked = |party: &PartyId| {
            let party = entry.session.view().party(*party);
            party.is_some_and(|party| party.standing == ImStanding::Invited)
        };
        let over: Vec<PartyId> = entry.invitations.keys().copied().filter(|id| !is_asked(id)).collect();
        for party in over {
            if let Some(alarm) = entry.invitations.remove(&party) {
                cx.core.endpoint.cancel_timer(alarm);
            }
        }
        let was_over = entry.told.as_ref().is_none_or(|told| told.state == ImState::Ended);
        if entry.session.state() != ImState::Ended || was_over {
            return;
        }
        for writing in std::mem::take(&mut entry.typing).into_values() {
            cx.core.endpoint.cancel_timer(writing.alarm);
        }
        self.say_ended(cx, id);
        self.close_phones(cx, id);
    }

    /// Who takes part by phone alone has no window to close.
    fn close_phones(&mut self, cx: &Cx<'_>, id: SessionId) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        let parties = entry.session.view().parties.iter();
        let by_phone = parties.filter(|party| party.by_phone && !self.aware.is(&party.user, cx.now));
        let by_phone: Vec<PartyId> = by_phone.map(|party| party.id).collect();
        for party in by_phone {
            entry.session.close(party);
        }
    }

    /// A user's bar has this session, or has not.
    fn index(&mut self, id: SessionId, user: &Aor) {
        let has = self
            .all
            .get(&id)
            .is_some_and(|entry| entry.session.view().concerns(user));
        if has {
            self.by_user.entry(user.clone()).or_default().insert(id);
        } else if let Some(own) = self.by_user.get_mut(user) {
            own.remove(&id);
            if own.is_empty() {
                self.by_user.remove(user);
            }
        }
    }

    /// Only after everybody's Done (R047), and when the last word is with the phones.
    fn forget_if_done(&mut self, cx: &mut Cx<'_>, id: SessionId) {
        let is_done = self.all.get(&id).is_some_and(|entry| {
            let is_quiet = entry.lines.values().all(Line::is_idle) && entry.pending == 0;
            entry.session.view().is_done() && is_quiet
        });
        if is_done {
            self.forget(cx, id);
        }
    }

    fn forget(&mut self, cx: &mut Cx<'_>, id: SessionId) {
        let Some(entry) = self.all.remove(&id) else { return };
        if entry.is_kept {
            keep::close(cx, &entry);
        }
        let typing = entry.typing.into_values().map(|writing| writing.alarm);
        let alarms = entry.invitations.into_values().chain(typing);
        alarms.for_each(|alarm| cx.core.endpoint.cancel_timer(alarm));
        for party in &entry.session.view().parties {
            self.index(id, &party.user);
            self.hold_agent(cx, &party.user);
        }
    }

    /// Ends what has been forgotten by those in it, and closes what they left open.
    fn sweep(&mut self, cx: &mut Cx<'_>) {
        cx.core
            .endpoint
            .set_timer(cx.now.mono + SWEEP, Room::Session.owner(0), timer::SWEEP);
        for (user, lease) in self.aware.expire(cx.now) {
            cx.agents.close_page(cx.core, &user, lease);
        }
        self.expire_kept(cx);
        let old = |entry: &Entry, age| cx.now.mono.since(entry.active_at) >= age;
        let idle: Vec<SessionId> = self
            .all
            .iter()
            .filter(|(_, entry)| entry.session.state() != ImState::Ended && old(entry, IDLE))
            .map(|(id, _)| *id)
            .collect();
        let unclosed: Vec<SessionId> = self
            .all
            .iter()
            .filter(|(_, entry)| entry.session.state() == ImState::Ended && old(entry, UNCLOSED))
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            if let Some(entry) = self.all.get_mut(&id) {
                entry.session.end(None, ImEnd::Idle, cx.now.wall);
            }
            self.changed(cx, id);
        }
        for id in unclosed {
            self.close_for_all(cx, id);
        }
    }

    fn close_for_all(&mut self, cx: &mut Cx<'_>, id: SessionId) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        let parties: Vec<PartyId> = entry.session.view().parties.iter().map(|party| party.id).collect();
        for party in parties {
            entry.session.close(party);
        }
        self.changed(cx, id);
    }

    /// Room for one more session in this user's bar: of those that are over the oldest goes.
    fn make_room(&mut self, cx: &mut Cx<'_>, user: &Aor) -> bool {
        let full = |sessions: &Sessions| sessions.by_user.get(user).map_or(0, BTreeSet::len) >= MAX_PER_USER;
        if full(self) {
            let own = self.by_user.get(user).into_iter().flatten();
            let over = own.filter_map(|id| Some((self.all.get(id)?.session.view().ended_at?, *id)));
            if let Some((_, oldest)) = over.min() {
                let party = self
                    .all
                    .get(&oldest)
                    .and_then(|entry| entry.session.view().party_of(user));
                let party = party.map(|party| party.id);
                if let (Some(party), Some(entry)) = (party, self.all.get_mut(&oldest)) {
                    entry.session.close(party);
                }
                self.changed(cx, oldest);
            }
        }
        !full(self) && self.all.len() < MAX_SESSIONS
    }

    /// A panic was caught while something of this session was handled: it ends.
    pub(crate) fn recover(&mut self, cx: &mut Cx<'_>, number: u64) {
        let id = SessionId(number);
        if let Some(entry) = self.all.get_mut(&id) {
            entry.session.end(None, ImEnd::Ended, cx.now.wall);
            self.changed(cx, id);
        }
    }

    /// Checks that sessions, bars and lines agree.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub(crate) fn audit(&self) -> Result<(), String> {
        for (id, entry) in &self.all {
            entry.session.audit()?;
            let view = entry.session.view();
            let in_bar = |user: &Aor| self.by_user.get(user).is_some_and(|own| own.contains(id));
            if let Some(party) = view
                .parties
                .iter()
                .find(|party| in_bar(&party.user) != view.concerns(&party.user))
            {
                return Err(format!("im session {id}: the bar of {} is wrong", party.user));
            }
            let asked: BTreeSet<PartyId> = entry.session.invited().map(|party| party.id).collect();
            if !entry.invitations.keys().copied().eq(asked.iter().copied()) {
                return Err(format!("im session {id}: an invitation without end"));
            }
        }
        let indexed = self.by_user.values().flatten();
        match indexed.into_iter().find(|id| !self.all.contains_key(*id)) {
            Some(id) => Err(format!("im session {id}: in a bar and forgotten")),
            None => Ok(()),
        }
    }
}

/// Whether two views differ in more than the numbers of messages, which have events of their own.
fn differs(before: &ImSession, now: &ImSession) -> bool {
    let plain = |session: &ImSession| {
        let mut session = session.clone();
        session.last_seq = 0;
        for party in &mut session.parties {
            (party.delivered, party.displayed) = (0, 0);
        }
        session
    };
    plain(before) != plain(now)
}

/// Whose business it was and is not any more.
fn parted(before: &ImSession, now: &ImSession) -> Vec<Aor> {
    let users = before.parties.iter().map(|party| &party.user);
    let mut gone: Vec<Aor> = users
        .filter(|user| before.concerns(user) && !now.concerns(user))
        .cloned()
        .collect();
    gone.sort();
    gone.dedup();
    gone
}

fn conflict(why: impl Into<Box<str>>) -> Refusal {
    Refusal::Conflict(why.into())
}

/// It is over and forgotten.
fn gone() -> Refusal {
    Refusal::NotFound("the session is over".into())
}
