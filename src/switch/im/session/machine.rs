//! One session of messages, as a machine: Not Connected, Establishing, Connected, Ended. It knows who is asked, who takes
//! part and what was said; how people are reached is the business of its room.

use clock::Wall;
use model::{
    Aor, ImConsult, ImEnd, ImMessage, ImParty, ImSession, ImStanding, ImState, ImTranscript, PartyId, SessionId,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Messages held in memory for one session: what a page shows. Older ones are in the store until the session is closed.
pub(crate) const MAX_MESSAGES: usize = model::StoreOp::SESSION_MESSAGES as usize;
/// And no more than so many bytes of text: with the most sessions of a user, 16 MiB.
pub(crate) const MAX_BYTES: usize = 256 << 10;
/// Entries in the roster, with all who came and went: more than anybody can follow, and what a hunt may try.
pub(crate) const MAX_PARTIES: usize = 32;

/// Messages of one party remembered to have come behind one that has not; of more only the last ones are.
const MAX_BEYOND: usize = 256;

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    view: ImSession,
    messages: VecDeque<ImMessage>,
    bytes: usize,
    beyond: BTreeMap<PartyId, Beyond>,
}

/// What has come to a party behind something that has not: what was said while a page was there goes to the page, and before it
/// says that it has that the next one may go to a phone.
#[derive(Debug, Default)]
struct Beyond {
    delivered: BTreeSet<u64>,
    displayed: BTreeSet<u64>,
}

/// A new party.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) id: PartyId,
    pub(crate) user: Aor,
    pub(crate) shown: Box<str>,
    pub(crate) by_phone: bool,
}

/// Why somebody is asked to take part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// By whom; none: began it.
    pub(crate) by: Option<PartyId>,
    /// Takes this place when he accepts.
    pub(crate) replaces: Option<PartyId>,
    /// Was found in this group.
    pub(crate) group: Option<Box<str>>,
}

impl Session {
    /// One that is opened and in which nothing was said: Not Connected.
    #[must_use]
    pub(crate) fn open(
        id: SessionId,
        owner: Newcomer,
        target: Box<str>,
        consult: Option<ImConsult>,
        now: Wall,
    ) -> Session {
        let mut session = Session {
            view: ImSession {
                id,
                state: ImState::NotConnected,
                end: None,
                ended_by: None,
                owner: owner.id,
                target,
                consult,
                parties: Vec::new(),
                opened_at: now,
                connected_at: None,
                ended_at: None,
                last_seq: 0,
            },
            messages: VecDeque::new(),
            bytes: 0,
            beyond: BTreeMap::new(),
        };
        session.come(owner, Asked::default(), ImStanding::Connected);
        session
    }

    /// One that was kept.
    #[must_use]
    pub(crate) fn restore(view: ImSession, messages: Vec<ImMessage>) -> Session {
        let mut session = Session {
            view,
            messages: VecDeque::new(),
            bytes: 0,
            beyond: BTreeMap::new(),
        };
        let last = messages.last().map_or(0, |message| message.seq);
        session.view.last_seq = session.view.last_seq.max(last);
        for message in messages {
            session.push(message);
        }
        session
    }

    /// As it is.
    pub(crate) fn view(&self) -> &ImSession {
        &self.view
    }

    pub(crate) fn state(&self) -> ImState {
        self.view.state
    }

    /// The case of a consultation, which its parent changes.
    pub(crate) fn consult_mut(&mut self) -> Option<&mut ImConsult> {
        self.view.consult.as_mut()
    }

    pub(crate) fn party_mut(&mut self, id: PartyId) -> Option<&mut ImParty> {
        self.view.parties.iter_mut().find(|party| party.id == id)
    }

    /// Parties that take part.
    pub(crate) fn connected(&self) -> impl Iterator<Item = &ImParty> {
        self.with(ImStanding::Connected)
    }

    /// Parties that are asked.
    pub(crate) fn invited(&self) -> impl Iterator<Item = &ImParty> {
        self.with(ImStanding::Invited)
    }

    fn with(&self, standing: ImStanding) -> impl Iterator<Item = &ImParty> {
        self.view.parties.iter().filter(move |party| party.standing == standing)
    }

    /// Messages held.
    pub(crate) fn messages(&self) -> &VecDeque<ImMessage> {
        &self.messages
    }

    /// What a party may read: who is invited the first message (R061), who takes part everything, who left what was said
    /// till then. Who said no or was not asked to the end reads nothing, but who did not answer what was meant for them (C1).
    #[must_use]
    pub(crate) fn read_by(&self, party: &ImParty) -> Vec<ImMessage> {
        let all = self.messages.iter();
        match party.standing {
            ImStanding::Connected | ImStanding::NoAnswer => all.cloned().collect(),
            ImStanding::Invited => all.take(1).cloned().collect(),
            ImStanding::Left | ImStanding::Dropped | ImStanding::Transferred => {
                let until = party.until.unwrap_or(0);
                all.filter(|message| message.seq <= until).cloned().collect()
            }
            ImStanding::Rejected | ImStanding::Unreachable | ImStanding::CannotIm | ImStanding::Withdrawn => Vec::new(),
        }
    }

    /// The session with what a party may read of it.
    #[must_use]
    pub(crate) fn transcript_of(&self, party: &ImParty) -> ImTranscript {
        ImTranscript {
            session: self.view.clone(),
            messages: self.read_by(party),
        }
    }

    // What happens.

    /// Somebody is asked to take part. False if there were too many already.
    pub(crate) fn invite(&mut self, who: Newcomer, asked: Asked, now: Wall) -> bool {
        if self.view.parties.len() >= MAX_PARTIES || self.view.state == ImState::Ended {
            return false;
        }
        self.come(who, asked, ImStanding::Invited);
        if self.view.state == ImState::NotConnected {
            self.view.state = ImState::Establishing;
        }
        self.settle(now, ImEnd::Ended);
        true
    }

    /// Who was asked takes part; whose place was meant for him goes. False if he was not asked, or is not any more.
    pub(crate) fn accept(&mut self, id: PartyId, now: Wall) -> bool {
        let Some(party) = self.party_mut(id).filter(|party| party.standing == ImStanding::Invited) else {
            return false;
        };
        party.standing = ImStanding::Connected;
        let replaced = party.replaces;
        if let Some(replaced) = replaced {
            self.depart(replaced, ImStanding::Transferred);
        }
        self.settle(now, ImEnd::Ended);
        true
    }

    /// Who was asked does not take part. False if he was not asked.
    pub(crate) fn decline(&mut self, id: PartyId, standing: ImStanding, now: Wall) -> bool {
        let Some(party) = self.party_mut(id).filter(|party| party.standing == ImStanding::Invited) else {
            return false;
        };
        party.standing = standing;
        // An invitation refused leaves no window; one that nobody answered stays until it was displayed (C1).
        party.done = standing != ImStanding::NoAnswer;
        let end = match standing {
            ImStanding::Rejected => ImEnd::Rejected,
            ImStanding::NoAnswer => ImEnd::NoAnswer,
            ImStanding::CannotIm => ImEnd::CannotIm,
            ImStanding::Withdrawn => ImEnd::Withdrawn,
            _ => ImEnd::Unreachable,
        };
        self.settle(now, end);
        true
    }

    /// Somebody goes, or is taken out. The rest go on if there are two of them.
    pub(crate) fn leave(&mut self, id: PartyId, standing: ImStanding, now: Wall) -> bool {
        let left = self.depart(id, standing);
        if left {
            self.settle(
                now,
                if self.was_connected() {
                    ImEnd::Ended
                } else {
                    ImEnd::Withdrawn
                },
            );
            if self.view.state == ImState::Ended && self.view.ended_by.is_none() {
                self.view.ended_by = Some(id);
            }
        }
        left
    }

    /// All is over, whoever takes part.
    pub(crate) fn end(&mut self, by: Option<PartyId>, why: ImEnd, now: Wall) -> bool {
        if self.view.state == ImState::Ended {
            return false;
        }
        let why = match why {
            ImEnd::Ended if !self.was_connected() => ImEnd::Withdrawn,
            why => why,
        };
        self.view.ended_by = by;
        self.finish(why, now);
        true
    }

    /// A party has closed the window. False if that cannot be now: it takes part.
    pub(crate) fn close(&mut self, id: PartyId) -> bool {
        let over = matches!(self.view.state, ImState::Ended | ImState::NotConnected);
        let Some(party) = self.party_mut(id) else { return false };
        if !over && party.standing.is_in() {
            return false;
        }
        party.done = true;
        // Who was asked more than once has one window.
        let user = party.user.clone();
        let earlier = self.view.parties.iter_mut().filter(|other| other.user == user);
        earlier
            .filter(|other| over || !other.standing.is_in())
            .for_each(|other| other.done = true);
        true
    }

    /// Number of the next message.
    pub(crate) fn next_seq(&mut self) -> u64 {
        self.view.last_seq += 1;
        self.view.last_seq
    }

    /// Something was said. Its sender has it.
    pub(crate) fn say(&mut self, message: ImMessage) {
        let from = message.from;
        self.push(message);
        self.move_marks(from);
    }

    /// This message has come to a party, and was displayed there too.
    pub(crate) fn on_came(&mut self, who: PartyId, seq: u64, displayed: bool) {
        let beyond = self.beyond.entry(who).or_default();
        beyond.delivered.insert(seq);
        beyond.displayed.extend(displayed.then_some(seq));
        for one in [&mut beyond.delivered, &mut beyond.displayed] {
            if one.len() > MAX_BEYOND {
                one.pop_first();
            }
        }
        self.move_marks(who);
    }

    /// All messages up to these have come to a party, and were displayed there.
    pub(crate) fn on_read(&mut self, who: PartyId, delivered: u64, displayed: u64) {
        if let Some(party) = self.party_mut(who) {
            party.displayed = party.displayed.max(displayed);
            party.delivered = party.delivered.max(delivered).max(displayed);
            self.move_marks(who);
        }
    }

    /// The marks of a party go on over what it has, up to the first message that has not come to it.
    fn move_marks(&mut self, who: PartyId) {
        let Some(party) = self.view.party(who) else { return };
        let none = BTreeSet::new();
        let beyond = self.beyond.get(&who);
        let far = |mark: u64, came: &BTreeSet<u64>| {
            let has = |seq: &u64| came.contains(seq) || *seq <= party.since || self.is_by(who, *seq);
            let past = (mark + 1..=self.view.last_seq).take_while(|seq| has(seq) || self.has_failed(who, *seq));
            past.filter(has).last().unwrap_or(mark)
        };
        let delivered = far(party.delivered, beyond.map_or(&none, |beyond| &beyond.delivered));
        let displayed = far(party.displayed, beyond.map_or(&none, |beyond| &beyond.displayed));
        if let Some(beyond) = self.beyond.get_mut(&who) {
            beyond.delivered = beyond.delivered.split_off(&(delivered + 1));
            beyond.displayed = beyond.displayed.split_off(&(displayed + 1));
            if beyond.delivered.is_empty() && beyond.displayed.is_empty() {
                self.beyond.remove(&who);
            }
        }
        if let Some(party) = self.party_mut(who) {
            (party.delivered, party.displayed) = (delivered.max(displayed), displayed);
        }
    }

    /// The party said it itself.
    fn is_by(&self, who: PartyId, seq: u64) -> bool {
        self.message(seq).is_some_and(|message| message.from == who)
    }

    /// All know that it did not come to the party.
    fn has_failed(&self, who: PartyId, seq: u64) -> bool {
        let message = self.message(seq);
        message.is_some_and(|message| message.failed.iter().any(|failure| failure.party == who))
    }

    /// The message of this number, if it is held.
    pub(crate) fn message(&self, seq: u64) -> Option<&ImMessage> {
        let place = self.messages.partition_point(|message| message.seq < seq);
        self.messages.get(place).filter(|message| message.seq == seq)
    }

    fn push(&mut self, message: ImMessage) {
        self.bytes += message.text.len();
        // The store says that it has them in the order of their numbers, but a message said again after a fault may come late.
        let place = self.messages.partition_point(|held| held.seq < message.seq);
        self.messages.insert(place, message);
        while self.messages.len() > MAX_MESSAGES || self.bytes > MAX_BYTES && self.messages.len() > 1 {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
    }

    /// A message did not reach somebody.
    pub(crate) fn on_failed(&mut self, seq: u64, failure: model::ImFailure) {
        if let Some(message) = self.messages.iter_mut().find(|message| message.seq == seq) {
            message.failed.push(failure);
            self.move_marks(failure.party);
        }
    }

    // The bricks.

    fn come(&mut self, who: Newcomer, asked: Asked, standing: ImStanding) {
        self.view.parties.push(ImParty {
            id: who.id,
            user: who.user,
            shown: who.shown,
            standing,
            state: ImState::NotConnected,
            by_phone: who.by_phone,
            done: false,
            invited_by: asked.by,
            replaces: asked.replaces,
            group: asked.group,
            delivered: 0,
            displayed: 0,
            since: 0,
            until: None,
        });
    }

    fn depart(&mut self, id: PartyId, standing: ImStanding) -> bool {
        let last = self.view.last_seq;
        let Some(party) = self
            .party_mut(id)
            .filter(|party| party.standing == ImStanding::Connected)
        else {
            return false;
        };
        (party.standing, party.until) = (standing, Some(last));
        true
    }

    fn was_connected(&self) -> bool {
        self.view.connected_at.is_some()
    }

    /// What the standings of the parties make of the state. `why`: if this ends it.
    fn settle(&mut self, now: Wall, why: ImEnd) {
        if matches!(self.view.state, ImState::Ended | ImState::NotConnected) {
            return self.show();
        }
        match (self.connected().count(), self.invited().count()) {
            (2.., _) => {
                self.view.state = ImState::Connected;
                self.view.connected_at.get_or_insert(now);
            }
            (1, 1..) => self.view.state = ImState::Establishing,
            _ => return self.finish(why, now),
        }
        self.show();
    }

    fn finish(&mut self, why: ImEnd, now: Wall) {
        let last = self.view.last_seq;
        (self.view.state, self.view.end, self.view.ended_at) = (ImState::Ended, Some(why), Some(now));
        for party in &mut self.view.parties {
            if party.standing == ImStanding::Invited {
                (party.standing, party.done) = (ImStanding::Withdrawn, true);
            }
            party.until = party.until.or(Some(last));
        }
        self.show();
    }

    /// The state as each party is to see it (conflict C4: who is asked sees Not Connected until he accepts).
    fn show(&mut self) {
        let state = self.view.state;
        for party in &mut self.view.parties {
            party.state = match (state, party.standing) {
                (ImState::Ended, _) => ImState::Ended,
                (_, ImStanding::Invited) => ImState::NotConnected,
                (state, ImStanding::Connected) => state,
                _ => ImState::Ended,
            };
        }
    }

    /// Checks what must always be so.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let (connected, invited) = (self.connected().count(), self.invited().count());
        let id = self.view.id;
        let wrong = |what: &str| {
            Err(format!(
                "im session {id}: {what}, {connected} connected, {invited} invited"
            ))
        };
        match self.view.state {
            _ if self.view.parties.is_empty() => wrong("nobody in it"),
            ImState::NotConnected if connected != 1 || invited > 0 => wrong("not connected"),
            ImState::Establishing if connected != 1 || invited == 0 => wrong("establishing"),
            ImState::Connected if connected < 2 => wrong("connected"),
            ImState::Ended if invited > 0 || self.view.ended_at.is_none() || self.view.end.is_none() => wrong("ended"),
            _ if self.messages.iter().map(|message| message.text.len()).sum::<usize>() != self.bytes => {
                wrong("bytes miscounted")
            }
            _ if !self.messages.iter().is_sorted_by(|a, b| a.seq < b.seq) => wrong("messages out of order"),
            _ => Ok(()),
        }
    }
}
