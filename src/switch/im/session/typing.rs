//! Who writes: a page says so by a command, a phone by a notice (RFC 3994). Pages are told by events, phones by notices, if
//! they take them.

use super::{Did, Entry, Sessions, Writing, gone, timer};
use crate::Answer;
use crate::core::Cx;
use crate::room::Room;
use model::{Aor, Event, ImState, PartyId, SessionId};
use sip::body::composing::{Composing, REFRESH_MIN};
use std::time::Duration;

/// RFC 3994 section 3.3: who has not written at a page for so long writes no more.
pub(super) const HOLDS: Duration = Duration::from_secs(15);

impl Sessions {
    /// A party writes, which holds for so long, or no more.
    pub(super) fn on_typing(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId, on: Option<Duration>) -> Did {
        let entry = self.all.get_mut(&id).ok_or_else(gone)?;
        let place = entry.session.view().parties.iter().position(|party| party.id == who);
        let is_in = entry.session.connected().any(|party| party.id == who);
        let open = matches!(entry.session.state(), ImState::Connected);
        let (Some(place), true, true) = (place, is_in, open) else {
            // While nobody is there nobody sees it.
            return Ok(Answer::Done(0));
        };
        let Some(holds) = on else {
            self.stop_typing(cx, id, who);
            return Ok(Answer::Done(1));
        };
        let kind = timer::TYPING + u32::try_from(place).unwrap_or(0);
        let endpoint = &mut cx.core.endpoint;
        let alarm = endpoint.set_timer(cx.now.mono + holds, Room::Session.owner(id.0), kind);
        let before = entry.typing.get(&who);
        let is_new = before.is_none();
        if let Some(before) = before {
            endpoint.cancel_timer(before.alarm);
        }
        // What phones were told holds for two minutes there: it is said again before that.
        let told = before.map(|before| before.shown_at);
        let shown_at = told.filter(|at| cx.now.mono.since(*at) < REFRESH_MIN);
        let is_shown = shown_at.is_some();
        let shown_at = shown_at.unwrap_or(cx.now.mono);
        entry.typing.insert(who, Writing { alarm, shown_at });
        if is_new {
            tell_typing(cx, entry, who, true);
        }
        if !is_shown {
            self.show_typing(cx, id, who, true);
        }
        Ok(Answer::Done(1))
    }

    /// A phone says that its user writes to somebody, or no more; true if the two are in a session.
    pub(in crate::im) fn take_composing(&mut self, cx: &mut Cx<'_>, from: &Aor, to: &Aor, notice: &Composing) -> bool {
        let Some((id, who)) = self.going_on(from, to) else {
            return false;
        };
        let on = notice.is_active.then_some(notice.refresh);
        // Who writes into a session that is over by now is told so when he sends it.
        let _ = self.on_typing(cx, id, who, on);
        true
    }

    pub(super) fn stop_typing(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        if let Some(writing) = entry.typing.remove(&who) {
            cx.core.endpoint.cancel_timer(writing.alarm);
            tell_typing(cx, entry, who, false);
            self.show_typing(cx, id, who, false);
        }
    }

    /// Who wrote has not for a while.
    pub(super) fn on_typed(&mut self, cx: &mut Cx<'_>, id: SessionId, place: u32) {
        let Some(entry) = self.all.get(&id) else { return };
        let party = entry.session.view().parties.get(place as usize);
        if let Some(who) = party.map(|party| party.id) {
            self.stop_typing(cx, id, who);
        }
    }

    /// To the phones of the others, if they take such notices.
    fn show_typing(&mut self, cx: &Cx<'_>, id: SessionId, who: PartyId, on: bool) {
        let Some(entry) = self.all.get(&id) else { return };
        let Some(from) = entry.session.view().party(who) else {
            return;
        };
        let others = entry.session.connected().filter(|party| party.user != from.user);
        let phones = others.filter(|party| self.goes_to_phones(cx, party));
        let typing: Vec<_> = phones
            .map(|party| (from.user.clone(), party.user.clone(), on))
            .collect();
        self.typing.extend(typing);
    }
}

fn tell_typing(cx: &mut Cx<'_>, entry: &Entry, party: PartyId, typing: bool) {
    let view = entry.session.view();
    let own = view.party(party).map(|party| party.user.clone());
    let to: Vec<Aor> = entry
        .users()
        .into_iter()
        .filter(|user| Some(user) != own.as_ref())
        .collect();
    let session = view.id;
    cx.core.announce(|| Event::ImTyping {
        session,
        party,
        typing,
        to,
    });
}
