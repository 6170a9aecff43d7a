//! Parties with plain phones: each has one Call-ID and a rising CSeq for all that a session sends there, so that a trace shows
//! a conversation as one flow; the next text goes when the fate of the one before is known. The CSeq of a text follows from its
//! number in the session: sent again after a restart it bears the same name.

use super::Sessions;
use super::receipt::News;
use crate::core::Cx;
use crate::im::letter::SESSION;
use crate::im::{Fate, Guise, Im, Outcome, Post};
use crate::room::Room;
use model::{Aor, Event, ImFailure, ImMessage, ImParty, ImStanding, ImState, MessageId, PartyId, SessionId};
use sip::Headers;
use sip::body::composing::{self, Composing};
use std::collections::VecDeque;

/// Texts that wait for the phones of one party: what is written while one is on its way. More are said to have failed.
const MAX_WAITING: usize = 256;

/// CSeqs from one text to the next; words of the switch take those between. No session lives long enough for 8 million texts.
const STRIDE: u32 = 256;
/// Words that were said after the CSeq was kept last are fewer than this.
const UNKEPT: u32 = 64;

/// The way to one party's phones.
#[derive(Debug)]
pub(super) struct Line {
    call_id: Box<str>,
    tag: Box<str>,
    cseq: u32,
    /// The number of the last text whose fate is known, or that is not for this line.
    settled: u64,
    waiting: VecDeque<Parcel>,
    /// With the devices.
    flight: Option<(MessageId, Parcel)>,
}

/// A text for a phone.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub(super) from: Aor,
    pub(super) display: Box<str>,
    pub(super) text: Box<str>,
    /// The message it is; none: a word of the switch about the session.
    pub(super) seq: Option<u64>,
}

impl Line {
    pub(super) fn new(cx: &mut Cx<'_>, id: SessionId, party: PartyId, (cseq, settled): (u32, u64)) -> Line {
        Line {
            call_id: call_id(cx, id, party),
            tag: cx.core.endpoint.new_tag().to_string().into(),
            cseq,
            settled,
            waiting: VecDeque::new(),
            flight: None,
        }
    }

    /// The same after a restart.
    pub(super) fn resume(cx: &mut Cx<'_>, id: SessionId, party: PartyId, (cseq, settled): (u32, u64)) -> Line {
        Line::new(cx, id, party, (last_word(cseq).min(cseq + UNKEPT), settled))
    }

    /// The CSeq of what goes next.
    fn next_cseq(&mut self, parcel: &Parcel) -> u32 {
        let cseq = match parcel.seq {
            Some(seq) => cseq_of(seq),
            None => last_word(self.cseq).min(self.cseq + 1),
        };
        self.cseq = self.cseq.max(cseq);
        cseq
    }

    /// Nothing waits and nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.flight.is_none()
    }

    pub(super) fn cseq(&self) -> u32 {
        self.cseq
    }

    pub(super) fn settled(&self) -> u64 {
        self.settled
    }
}

fn call_id(cx: &Cx<'_>, id: SessionId, party: PartyId) -> Box<str> {
    let place = party.0 & 0xffff_ffff;
    format!("im-{:014x}-{place:08x}@{}", id.0, cx.core.config.domain).into()
}

/// The CSeq of a text. Fits: see [`STRIDE`].
fn cseq_of(seq: u64) -> u32 {
    u32::try_from(seq).unwrap_or(u32::MAX).min(i32::MAX as u32 / STRIDE) * STRIDE
}

/// The last CSeq before that of the next text.
fn last_word(cseq: u32) -> u32 {
    cseq - cseq % STRIDE + STRIDE - 1
}

impl Parcel {
    pub(super) fn message(message: &ImMessage, from: &ImParty) -> Parcel {
        Parcel {
            from: from.user.clone(),
            display: crate::text::split_shown(&from.shown).0.into(),
            text: message.text.clone(),
            seq: Some(message.seq),
        }
    }

    /// `(Jim declined)`, from the address of whom it is about.
    pub(super) fn word(about: &ImParty, text: String) -> Parcel {
        Parcel {
            from: about.user.clone(),
            display: crate::text::split_shown(&about.shown).0.into(),
            text: text.into(),
            seq: None,
        }
    }
}

/// How a party is called in a word to phones.
pub(super) fn name_of(party: &ImParty) -> String {
    let (name, number) = crate::text::split_shown(&party.shown);
    if name.is_empty() { number.to_owned() } else { name }
}

impl Sessions {
    /// Whether what is said goes to this party's phones: it takes part by them, has nothing else, or its phones get copies.
    pub(super) fn goes_to_phones(&self, cx: &Cx<'_>, party: &ImParty) -> bool {
        let by_phone = party.by_phone || !self.aware.is(&party.user, cx.now);
        match party.standing {
            ImStanding::Connected => by_phone || cx.core.config.im.copy_to_phones,
            // A phone that has not taken the first text gets the others behind it.
            ImStanding::Invited => party.by_phone,
            _ => false,
        }
    }

    /// A text for the phones of a party. It goes when the switch has done what it is at: [`Sessions::post`].
    pub(super) fn send_to_phones(&mut self, cx: &mut Cx<'_>, id: SessionId, party: PartyId, parcel: Parcel) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        let before = parcel.seq.unwrap_or(1) - 1;
        let new_line = || Line::new(cx, id, party, (0, before));
        let line = entry.lines.entry(party).or_insert_with(new_line);
        if line.waiting.len() >= MAX_WAITING {
            return self.on_fate(cx, id, party, &parcel, 480);
        }
        line.waiting.push_back(parcel);
        self.due.insert((id, party));
    }

    /// A party has seen all texts up to this one at a page: his phones, which got them while there was none, need not have
    /// them. Who takes part by phone, or is to have copies there, gets all there.
    pub(super) fn recall(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId, seq: u64) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        let Some(party) = entry.session.view().party(who) else {
            return;
        };
        if party.by_phone || cx.core.config.im.copy_to_phones {
            return;
        }
        let user = party.user.clone();
        if let Some(line) = entry.lines.get_mut(&who) {
            line.waiting
                .retain(|parcel| parcel.seq.is_none_or(|number| number > seq));
        }
        let name = (call_id(cx, id, who), cseq_of(seq));
        self.news.push(News::Seen { user, name });
    }

    /// Posts what is due. True if anything was.
    pub(crate) fn post(&mut self, cx: &mut Cx<'_>, im: &mut Im) -> bool {
        let any = !self.due.is_empty() || !self.typing.is_empty() || !self.news.is_empty();
        self.bring_news(cx, im);
        for (from, to, is_active) in std::mem::take(&mut self.typing) {
            let notice = Composing {
                is_active,
                refresh: composing::REFRESH,
                content_type: None,
            };
            im.compose(cx, &from, &to, &notice);
        }
        for (id, party) in std::mem::take(&mut self.due) {
            self.post_next(cx, im, id, party);
        }
        any
    }

    fn post_next(&mut self, cx: &mut Cx<'_>, im: &mut Im, id: SessionId, who: PartyId) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        let view = entry.session.view();
        let (Some(party), Some(line)) = (view.party(who), entry.lines.get_mut(&who)) else {
            return;
        };
        if line.flight.is_some() {
            return;
        }
        let Some(parcel) = line.waiting.pop_front() else { return };
        let cseq = line.next_cseq(&parcel);
        let mut headers = Headers::new().named(SESSION, id.to_string());
        if let Some(consult) = &view.consult {
            headers.add_named("X-Interaction-Id", consult.interaction.to_string());
        }
        let guise = Guise {
            call_id: line.call_id.clone(),
            cseq,
            tag: line.tag.clone(),
            headers,
        };
        let post = Post {
            from: parcel.from.clone(),
            from_display: parcel.display.clone(),
            to: party.user.clone(),
            content_type: "text/plain;charset=UTF-8".into(),
            body: parcel.text.as_bytes().to_vec().into(),
            guise: Some(guise),
            // An invitation is for now; what was said is kept for a phone that is away for a moment, also of who has gone
            // since; a word about the session means nothing later.
            keeps: parcel.seq.is_some() && (party.standing == ImStanding::Connected || party.standing.was_in()),
            text: parcel.seq.map(|seq| (id, seq)),
            owner: Some(Room::Session.owner(id.0)),
        };
        // Before it is posted: its fate may be known at once.
        line.flight = Some((MessageId(0), parcel));
        let message = im.post(cx, post);
        if let Some((flying, _)) = self
            .all
            .get_mut(&id)
            .and_then(|entry| entry.lines.get_mut(&who)?.flight.as_mut())
        {
            *flying = message;
        }
    }

    /// What came of a text.
    pub(crate) fn on_outcome(&mut self, cx: &mut Cx<'_>, number: u64, outcome: &Outcome) {
        let id = SessionId(number);
        let status = match outcome.what {
            Fate::Delivered => 200,
            Fate::Stored => 202,
            Fate::Failed { status } => status,
            Fate::Forwarded { ref to, seq } => return self.on_forwarded(cx, id, to, seq),
            Fate::Returned { ref to, seq, status } => return self.on_returned(cx, id, to, (seq, status)),
            Fate::Taken { .. } | Fate::Refused { .. } | Fate::Silent { .. } => return,
        };
        let Some(entry) = self.all.get_mut(&id) else { return };
        let flying = |line: &Line| {
            line.flight
                .as_ref()
                .is_some_and(|(message, _)| *message == outcome.message)
        };
        let Some((&party, line)) = entry.lines.iter_mut().find(|(_, line)| flying(line)) else {
            return;
        };
        let Some((_, parcel)) = line.flight.take() else { return };
        line.settled = line.settled.max(parcel.seq.unwrap_or(0));
        self.due.insert((id, party));
        self.on_fate(cx, id, party, &parcel, status);
        self.changed(cx, id);
    }

    /// 200: a phone has it, which is all the acceptance there is; 202: it waits for one; else none has it.
    fn on_fate(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId, parcel: &Parcel, status: u16) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        let Some(party) = entry.session.view().party(who) else {
            return;
        };
        let is_invited = party.standing == ImStanding::Invited;
        match (status, parcel.seq) {
            (200, seq) => {
                if let Some(seq) = seq {
                    self.on_came(cx, id, who, seq, false);
                }
                if is_invited {
                    self.on_accepted(cx, id, who);
                }
            }
            (202, _) => {}
            (status, _) if is_invited => {
                if let Some(line) = entry.lines.get_mut(&who) {
                    line.waiting.clear();
                }
                self.on_declined(cx, id, who, standing_of(status));
            }
            (status, Some(seq)) => self.on_undelivered(cx, id, seq, ImFailure { party: who, status }),
            (_, None) => {}
        }
    }

    /// The phones of a party refuse for good what was stored for them.
    fn on_returned(&mut self, cx: &mut Cx<'_>, id: SessionId, to: &Aor, (seq, status): (u64, u16)) {
        let party = self.all.get(&id).and_then(|entry| entry.session.view().party_of(to));
        if let Some(party) = party.map(|party| party.id) {
            self.on_undelivered(cx, id, seq, ImFailure { party, status });
            self.changed(cx, id);
        }
    }

    fn on_undelivered(&mut self, cx: &mut Cx<'_>, id: SessionId, seq: u64, failure: ImFailure) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        entry.session.on_failed(seq, failure);
        self.note_failed(id, failure.party, seq..=seq);
        let Some(entry) = self.all.get(&id) else { return };
        let to = entry.users();
        cx.core.announce(|| Event::ImFailed {
            session: id,
            seq,
            failure,
            to,
        });
        let view = entry.session.view();
        let from = entry.session.messages().iter().find(|message| message.seq == seq);
        let sender = from.and_then(|message| view.party(message.from)).cloned();
        let about = view.party(failure.party).cloned();
        if let (Some(sender), Some(about), true) = (sender, about, view.state != ImState::Ended)
            && sender.by_phone
        {
            let word = Parcel::word(&about, format!("(not delivered to {})", name_of(&about)));
            self.send_to_phones(cx, id, sender.id, word);
        }
    }
}

/// What the refusal of a first text means.
fn standing_of(status: u16) -> ImStanding {
    match status {
        486 | 600 | 603 => ImStanding::Rejected,
        405 | 406 | 415 | 488 | 501 => ImStanding::CannotIm,
        _ => ImStanding::Unreachable,
    }
}

impl super::Entry {
    /// Who is told what goes on among those who take part: also who took part to the end and has the window open.
    pub(super) fn users(&self) -> Vec<Aor> {
        let view = self.session.view();
        let parties = self.session.connected().filter(|party| !party.done);
        let mut users: Vec<Aor> = parties.map(|party| party.user.clone()).collect();
        // Who missed an invitation shows it in all tabs until it is displayed.
        let missed = view
            .parties
            .iter()
            .filter(|party| party.standing == ImStanding::NoAnswer && !party.done);
        users.extend(missed.map(|party| party.user.clone()));
        users.sort();
        users.dedup();
        users
    }
}
