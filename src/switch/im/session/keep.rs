//! What is kept of sessions: open ones over a restart; closed ones as records, with their text where that is wanted (R049,
//! R340 to R343).

use super::machine::Session;
use super::phone::{Line, Parcel};
use super::{Entry, Sessions, Waiter, timer};
use crate::Token;
use crate::core::Cx;
use crate::im::imdn::Wish;
use crate::room::Room;
use model::{Event, ImAsked, ImMessage, ImState, KeptSession, PartyId, SessionId, StoreOp};
use std::time::Duration;

/// What the store was asked.
#[derive(Debug)]
pub(super) enum Question {
    /// To keep a message.
    Say(Box<Said>),
    /// To erase a record; the command that waits.
    Erase(Token),
}

/// A message on its way to the disk.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) message: ImMessage,
    /// What the phone that said it wants to hear of it.
    pub(super) wish: Option<Wish>,
    pub(super) waiter: Waiter,
}

/// After a restart pages are back in this time, as a rule.
const PAGES_COME: Duration = Duration::from_secs(5);

impl Sessions {
    pub(super) fn ask(&mut self, cx: &mut Cx<'_>, op: StoreOp, question: Question) {
        let token = cx.core.ask(Room::Session, op);
        self.questions.insert(token, question);
    }

    /// A session in which something was said outlives a restart.
    pub(super) fn save(&self, cx: &mut Cx<'_>, id: SessionId) {
        let Some(entry) = self.all.get(&id).filter(|entry| entry.is_kept) else {
            return;
        };
        let kept = Box::new(kept(entry));
        cx.core.store(StoreOp::PutSession(kept));
    }

    /// Erases the record of a closed session; answered when it is in no file any more.
    pub(crate) fn erase(&mut self, cx: &mut Cx<'_>, token: Token, id: SessionId) {
        self.ask(cx, StoreOp::EraseSession(id), Question::Erase(token));
    }

    /// Records that are too old go. Asked also where records are kept for ever: it is what empties the files of erased text.
    pub(super) fn expire_kept(&self, cx: &mut Cx<'_>) {
        let until = match cx.core.config.im.keep_records {
            Some(age) => cx.now.wall - age,
            None => clock::Wall(i64::MIN),
        };
        cx.core.store(StoreOp::ExpireSessions(until));
    }

    /// What was open before the restart goes on: invitations wait anew, phones get what they had not taken.
    pub(crate) fn restore(&mut self, cx: &mut Cx<'_>, all: Vec<(KeptSession, Vec<ImMessage>)>) {
        for (kept, messages) in all {
            let id = kept.session.id;
            if self.all.contains_key(&id) {
                continue;
            }
            let mut session = Session::restore(kept.session, messages);
            let told = Some(session.view().clone());
            match (session.state(), session.messages().is_empty()) {
                // What it was to begin with is not on disk.
                (ImState::NotConnected, true) => {
                    session.end(None, model::ImEnd::Withdrawn, cx.now.wall);
                    let owner = session.view().owner;
                    if session.view().party(owner).is_some_and(|party| party.by_phone) {
                        session.close(owner);
                    }
                }
                // It was said, and its sender may have heard so.
                (ImState::NotConnected, false) => {
                    let (at, owner) = (cx.now.mono + PAGES_COME, Room::Session.owner(id.0));
                    cx.core.endpoint.set_timer(at, owner, timer::CALL);
                }
                _ => {}
            }
            let entry = Entry {
                is_kept: true,
                told,
                asked: kept.asked.into_iter().map(|one| (one.seq, one.imdn_id)).collect(),
                ..Entry::new(session, cx.now.mono)
            };
            self.heard.know(cx.now, entry.session.messages());
            self.all.insert(id, entry);
            self.resume(cx, id, &kept.cseqs, &kept.settled);
        }
    }

    /// A session whose first text had not been handed out goes on with that.
    pub(super) fn call_after_restart(&mut self, cx: &mut Cx<'_>, id: SessionId) {
        let session = self.all.get(&id).map(|entry| &entry.session);
        let first = session.filter(|session| session.state() == ImState::NotConnected);
        if let Some(from) = first.and_then(|session| Some(session.messages().front()?.from)) {
            self.call_target(cx, id, from);
            self.changed(cx, id);
        }
    }

    fn resume(&mut self, cx: &mut Cx<'_>, id: SessionId, cseqs: &[(PartyId, u32)], settled: &[(PartyId, u64)]) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        let view = entry.session.view();
        for (place, party) in view.parties.iter().enumerate() {
            if party.standing == model::ImStanding::Invited {
                let kind = timer::INVITATION + u32::try_from(place).unwrap_or(0);
                let due = cx.now.mono + cx.core.config.im.invitation_timeout;
                let alarm = cx.core.endpoint.set_timer(due, Room::Session.owner(id.0), kind);
                entry.invitations.insert(party.id, alarm);
            }
        }
        for (party, cseq) in cseqs {
            let known = settled.iter().find(|(of, _)| of == party).map(|(_, seq)| *seq);
            // Kept before there was such a number.
            let settled = known.or(view.party(*party).map(|party| party.delivered));
            let line = Line::resume(cx, id, *party, (*cseq, settled.unwrap_or(0)));
            entry.lines.insert(*party, line);
        }
        let users: Vec<_> = view.parties.iter().map(|party| party.user.clone()).collect();
        // A page may have come before the store had said what there is.
        let (session, left) = (view.clone(), Vec::new());
        cx.core.announce(|| Event::ImChanged { session, left });
        let untaken: Vec<(PartyId, Parcel)> = self.untaken(id).collect();
        for (party, parcel) in untaken {
            self.send_to_phones(cx, id, party, parcel);
        }
        for user in users {
            self.index(id, &user);
        }
        self.changed(cx, id);
    }

    /// What phones have not said that they have, also of a session that ended before they could. What somebody has seen at a
    /// page, or written, says nothing of his phone.
    fn untaken(&self, id: SessionId) -> impl Iterator<Item = (PartyId, Parcel)> {
        let entry = self.all.get(&id);
        entry.into_iter().flat_map(|entry| {
            let view = entry.session.view();
            let by_phone = view
                .parties
                .iter()
                .filter(|party| party.by_phone && (party.standing.is_in() || party.standing.was_in()));
            by_phone.flat_map(move |party| {
                let settled = entry.lines.get(&party.id).map_or(0, Line::settled);
                let (from, until) = (settled.max(party.since), party.until.unwrap_or(u64::MAX));
                let messages = entry.session.messages().iter();
                let new = messages
                    .filter(move |message| message.seq > from && message.seq <= until && message.from != party.id);
                new.filter_map(move |message| Some((party.id, Parcel::message(message, view.party(message.from)?))))
            })
        })
    }
}

fn kept(entry: &Entry) -> KeptSession {
    let lines = entry.lines.iter();
    let asked = entry.asked.iter().map(|(seq, imdn_id)| ImAsked {
        seq: *seq,
        imdn_id: imdn_id.clone(),
    });
    KeptSession {
        session: entry.session.view().clone(),
        cseqs: lines.clone().map(|(party, line)| (*party, line.cseq())).collect(),
        settled: lines.map(|(party, line)| (*party, line.settled())).collect(),
        asked: asked.collect(),
    }
}

/// Everybody has closed it: the record stays, the text where the site keeps transcripts. What colleagues write to each other
/// about a case belongs to the case while it is open and to nobody afterwards (R341).
pub(super) fn close(cx: &mut Cx<'_>, entry: &Entry) {
    let keep_text = cx.core.config.im.keep_transcripts && entry.session.view().consult.is_none();
    let kept = Box::new(kept(entry));
    cx.core.store(StoreOp::CloseSession { kept, keep_text });
}
