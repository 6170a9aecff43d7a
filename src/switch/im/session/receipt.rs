//! How far the texts have come with each party: pages are told by events, phones that asked by notifications (RFC 5438). A page
//! says by a command what it took and showed; a phone takes by its 2xx, and says that it shows by a notification, if it takes
//! envelopes.

use super::Sessions;
use crate::core::Cx;
use crate::im::Im;
use crate::im::imdn::Wish;
use crate::im::letter::Letter;
use model::{Aor, Event, ImMessage, ImStanding, PartyId, SessionId};
use sip::body::imdn::{Mark, Report};
use std::ops::RangeInclusive;

/// Messages of a session whose senders are told what becomes of them; of older ones nobody is told more.
const MAX_ASKED: usize = 256;

/// What tells a phone's text from others, should it come again.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    to: Aor,
    from: Aor,
    call_id: Box<str>,
    cseq: u32,
    /// All of this as a hash.
    pub(super) request: u64,
}

impl Origin {
    pub(super) fn of(letter: &Letter) -> Origin {
        Origin {
            to: letter.to.clone(),
            from: letter.from.clone(),
            call_id: letter.call_id.clone(),
            cseq: letter.cseq,
            request: letter.short_name(),
        }
    }
}

/// Something for the room of messages, or for the phone of a sender who asked.
#[derive(Debug)]
pub(super) enum News {
    /// His phone is told 202.
    Accepted(Origin),
    /// He said this, and it goes to these.
    Said { sender: Aor, wish: Wish, readers: Vec<Aor> },
    /// A user has seen the texts of a session at a page, up to this one; his phones know it by this Call-ID and CSeq.
    Seen { user: Aor, name: (Box<str>, u32) },
    /// This became of it with one of them.
    Became {
        sender: Aor,
        reader: Aor,
        imdn_id: Box<str>,
        mark: Mark,
    },
}

/// What devices that are asked to tell when they show a text call it.
pub(in crate::im) fn text_name((session, seq): (SessionId, u64)) -> Box<str> {
    format!("{session}.{seq}").into()
}

/// The text that is called so.
pub(in crate::im) fn text_of(name: &str) -> Option<(SessionId, u64)> {
    let (session, seq) = name.split_once('.')?;
    Some((session.parse().ok()?, seq.parse().ok()?))
}

impl Sessions {
    /// A phone has said this and wants to hear of it; it goes to all who are in the session.
    pub(super) fn note_asked(&mut self, message: &ImMessage, wish: &Wish) {
        let Some(entry) = self.all.get_mut(&message.session) else {
            return;
        };
        let view = entry.session.view();
        let others = view.parties.iter().filter(|party| party.id != message.from);
        let readers: Vec<Aor> = others
            .filter(|party| party.standing.is_in())
            .map(|party| party.user.clone())
            .collect();
        let Some(sender) = view.party(message.from).map(|party| party.user.clone()) else {
            return;
        };
        entry.asked.insert(message.seq, wish.imdn_id.clone());
        if entry.asked.len() > MAX_ASKED {
            entry.asked.pop_first();
        }
        let wish = wish.clone();
        self.news.push(News::Said { sender, wish, readers });
    }

    /// A page of a party says that everything up to `delivered` has come, and up to `displayed` was shown.
    pub(super) fn advance(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId, delivered: u64, displayed: u64) {
        let Some(before) = self.marks(id, who) else { return };
        // From the beginning: where the marks stand may be on disk, and not what was to be told of them when the switch died.
        self.note_marks(id, who, 1..=delivered.max(displayed), Mark::Delivered);
        self.note_marks(id, who, 1..=displayed, Mark::Displayed);
        if let Some(entry) = self.all.get_mut(&id) {
            entry.session.on_read(who, delivered, displayed);
        }
        self.tell_moved(cx, id, who, before);
    }

    /// This text has come to a phone of a party, and was shown there too. Of those before it that says nothing.
    pub(super) fn on_came(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId, seq: u64, displayed: bool) {
        let Some(before) = self.marks(id, who) else { return };
        self.note_marks(id, who, seq..=seq, Mark::Delivered);
        if displayed {
            self.note_marks(id, who, seq..=seq, Mark::Displayed);
        }
        if let Some(entry) = self.all.get_mut(&id) {
            entry.session.on_came(who, seq, displayed);
        }
        self.tell_moved(cx, id, who, before);
    }

    /// Up to where everything has come to a party, and was displayed there.
    fn marks(&self, id: SessionId, who: PartyId) -> Option<(u64, u64)> {
        let party = self.all.get(&id)?.session.view().party(who)?;
        Some((party.delivered, party.displayed))
    }

    fn tell_moved(&self, cx: &mut Cx<'_>, id: SessionId, who: PartyId, before: (u64, u64)) {
        if self.marks(id, who) != Some(before) {
            self.tell_marks(cx, id, who);
        }
    }

    /// These did not reach a party, and will not.
    pub(super) fn note_failed(&mut self, id: SessionId, who: PartyId, seqs: RangeInclusive<u64>) {
        self.note_marks(id, who, seqs, Mark::Failed);
    }

    fn note_marks(&mut self, id: SessionId, who: PartyId, seqs: RangeInclusive<u64>, mark: Mark) {
        let Some(entry) = self.all.get(&id).filter(|_| !seqs.is_empty()) else {
            return;
        };
        let view = entry.session.view();
        let Some(reader) = view.party(who).map(|party| &party.user) else {
            return;
        };
        for (seq, imdn_id) in entry.asked.range(seqs) {
            let message = entry.session.message(*seq);
            // What a device refused it does not get by taking a later one.
            let has_failed = |message: &&ImMessage| {
                mark != Mark::Failed && message.failed.iter().any(|failure| failure.party == who)
            };
            let Some(message) = message.filter(|message| message.from != who && !has_failed(message)) else {
                continue;
            };
            let Some(sender) = view.party(message.from) else {
                continue;
            };
            self.news.push(News::Became {
                sender: sender.user.clone(),
                reader: reader.clone(),
                imdn_id: imdn_id.clone(),
                mark,
            });
        }
    }

    /// Tells those who asked.
    pub(super) fn bring_news(&mut self, cx: &mut Cx<'_>, im: &mut Im) {
        for news in std::mem::take(&mut self.news) {
            match news {
                News::Accepted(Origin {
                    to,
                    from,
                    call_id,
                    cseq,
                    ..
                }) => im.note_accepted(cx, (&to, &from, &call_id, cseq), 202),
                News::Said { sender, wish, readers } => im.follow_text(cx, &sender, &wish, readers),
                News::Seen { user, name } => im.on_seen(cx, &user, name),
                News::Became {
                    sender,
                    reader,
                    imdn_id,
                    mark,
                } => im.mark_named(cx, &reader, &sender, &imdn_id, mark),
            }
        }
    }

    /// A device took a text that had been stored for it.
    pub(super) fn on_forwarded(&mut self, cx: &mut Cx<'_>, id: SessionId, to: &Aor, seq: u64) {
        let party = self.all.get(&id).and_then(|entry| entry.session.view().party_of(to));
        if let Some(who) = party.map(|party| party.id) {
            self.on_came(cx, id, who, seq, false);
            self.changed(cx, id);
        }
    }

    /// A phone of `reader` says what became of something that `sender` wrote; true if it was said in a session.
    pub(in crate::im) fn take_report(&mut self, cx: &mut Cx<'_>, reader: &Aor, sender: &Aor, report: &Report) -> bool {
        let Some((id, seq)) = text_of(&report.message_id) else {
            return false;
        };
        let Some(entry) = self.all.get(&id) else { return false };
        let view = entry.session.view();
        let message = entry.session.messages().iter().find(|message| message.seq == seq);
        let author = message.and_then(|message| view.party(message.from));
        let is_of_sender = author.is_some_and(|author| author.user == *sender);
        let party = view
            .party_of(reader)
            .filter(|party| is_of_sender && party.standing != ImStanding::Invited);
        let Some(who) = party.map(|party| party.id) else {
            return false;
        };
        match report.mark {
            Some(Mark::Delivered) => self.on_came(cx, id, who, seq, false),
            Some(Mark::Displayed) => self.on_came(cx, id, who, seq, true),
            // That no device took it the switch knows itself.
            Some(Mark::Failed) | None => {}
        }
        self.changed(cx, id);
        true
    }

    /// Tells how far the messages have come with a party.
    pub(super) fn tell_marks(&self, cx: &mut Cx<'_>, id: SessionId, who: PartyId) {
        let Some(entry) = self.all.get(&id) else { return };
        let Some(party) = entry.session.view().party(who) else {
            return;
        };
        let (delivered, displayed, to) = (party.delivered, party.displayed, entry.users());
        cx.core.announce(|| Event::ImRead {
            session: id,
            party: who,
            delivered,
            displayed,
            to,
        });
    }
}
