//! Who is asked to take part, and what they answer.
//!
//! Who is aware answers by a click; others by what their phones say to the first text (softphones.md, "Who decides on an
//! invitation").

use super::machine::{Asked, MAX_PARTIES, Newcomer};
use super::phone::{Parcel, name_of};
use super::{Sessions, conflict, timer};
use crate::Refusal;
use crate::core::Cx;
use crate::room::Room;
use crate::users::UserIndex;
use model::{Event, ImParty, ImStanding, ImState, PartyId, SessionId};

/// Made of session and place: who was asked before a crash and is asked again after it is the same to his phones, which know
/// texts by their Call-ID. SplitMix64, so that no two of a session are alike.
fn party_id(id: SessionId, place: usize) -> PartyId {
    // Sessions have 56 bits.
    let mixed = (id.0 ^ (place as u64) << 56).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    PartyId(mixed ^ (mixed >> 31))
}

impl Sessions {
    /// Asks whoever is dialled to take part. Nothing has changed if it cannot be done.
    pub(super) fn call(&mut self, cx: &mut Cx<'_>, id: SessionId, dialled: &str, asked: Asked) -> Result<(), Refusal> {
        let (user, group) = self.reach(cx, id, dialled)?;
        self.ask_user(cx, id, user, Asked { group, ..asked })
    }

    /// Asks a user.
    pub(super) fn ask_user(
        &mut self,
        cx: &mut Cx<'_>,
        id: SessionId,
        user: UserIndex,
        asked: Asked,
    ) -> Result<(), Refusal> {
        let user = &cx.core.users[user];
        let (aor, shown) = (user.aor.clone(), super::say::shown(&user.name, &user.aor));
        if !self.make_room(cx, &aor) {
            return Err(Refusal::Unreachable(486));
        }
        let place = self.all.get(&id).map_or(0, |entry| entry.session.view().parties.len());
        let who = Newcomer {
            id: party_id(id, place),
            by_phone: !self.aware.is(&aor, cx.now),
            user: aor,
            shown,
        };
        let (party, by_phone, inviter) = (who.id, who.by_phone, asked.by);
        let entry = self.all.get_mut(&id).ok_or_else(super::gone)?;
        let was_connected = entry.session.view().connected_at.is_some();
        if !entry.session.invite(who, asked, cx.now.wall) {
            return Err(conflict(format!("a session has at most {MAX_PARTIES} parties")));
        }
        let said = entry.session.messages().back().map_or(0, |message| message.seq);
        if let Some(party) = entry.session.party_mut(party).filter(|_| by_phone && was_connected) {
            // A word is all that such a phone gets of what was said before.
            party.since = said;
        }
        entry.active_at = cx.now.mono;
        let kind = timer::INVITATION + u32::try_from(place).unwrap_or(0);
        let due = cx.now.mono + cx.core.config.im.invitation_timeout;
        let alarm = cx.core.endpoint.set_timer(due, Room::Session.owner(id.0), kind);
        entry.invitations.insert(party, alarm);
        if by_phone {
            self.offer_to_phones(cx, id, party, inviter, was_connected);
        } else {
            self.offer(cx, id, party);
        }
        self.changed(cx, id);
        Ok(())
    }

    /// All clients of a user show an invitation: the first message, and the case of a consultation (R061).
    fn offer(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId) {
        let Some(entry) = self.all.get(&id) else { return };
        let Some(party) = entry.session.view().party(who) else {
            return;
        };
        let (user, invitation) = (party.user.clone(), entry.session.transcript_of(party));
        cx.core.announce(|| Event::ImInvited { user, invitation });
    }

    /// Phones get what was said; who is brought into a conversation that goes on gets a word about that.
    fn offer_to_phones(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId, by: Option<PartyId>, goes_on: bool) {
        let Some(entry) = self.all.get(&id) else { return };
        let view = entry.session.view();
        let inviter = by.and_then(|by| view.party(by)).cloned();
        let parcels: Vec<Parcel> = match inviter.filter(|_| goes_on) {
            Some(inviter) => {
                let others = entry.session.connected().filter(|party| party.id != inviter.id);
                let others: Vec<String> = others.map(name_of).collect();
                let text = format!(
                    "({} brings you into a conversation with {})",
                    name_of(&inviter),
                    others.join(", ")
                );
                vec![Parcel::word(&inviter, text)]
            }
            None => {
                let said = entry.session.messages().iter();
                said.filter_map(|message| Some(Parcel::message(message, view.party(message.from)?)))
                    .collect()
            }
        };
        for parcel in parcels {
            self.send_to_phones(cx, id, who, parcel);
        }
    }

    /// Somebody takes part from now on.
    pub(super) fn on_accepted(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId) -> bool {
        let Some(entry) = self.all.get_mut(&id) else {
            return false;
        };
        if !entry.session.accept(who, cx.now.wall) {
            return false;
        }
        entry.active_at = cx.now.mono;
        let Some(party) = entry.session.view().party(who).cloned() else {
            return false;
        };
        let (user, transcript) = (party.user.clone(), entry.session.transcript_of(&party));
        cx.core.announce(|| Event::ImJoined { user, transcript });
        if !party.by_phone && cx.core.config.im.copy_to_phones {
            self.copy_to_phones(cx, id, &party);
        }
        if cx.core.config.im.tell_joined {
            self.tell_phones(
                cx,
                id,
                &party,
                |other| other.id != who,
                &format!("({} joined)", name_of(&party)),
            );
        }
        true
    }

    /// The phones of who accepted elsewhere get what was said, if they are to have copies.
    fn copy_to_phones(&mut self, cx: &mut Cx<'_>, id: SessionId, party: &ImParty) {
        let Some(entry) = self.all.get(&id) else { return };
        let view = entry.session.view();
        let others = entry
            .session
            .messages()
            .iter()
            .filter(|message| message.from != party.id);
        let parcels: Vec<Parcel> = others
            .filter_map(|message| Some(Parcel::message(message, view.party(message.from)?)))
            .collect();
        for parcel in parcels {
            self.send_to_phones(cx, id, party.id, parcel);
        }
    }

    /// Who was asked does not take part: the next one of his group is asked, or the one who invited is told.
    pub(super) fn on_declined(&mut self, cx: &mut Cx<'_>, id: SessionId, who: PartyId, standing: ImStanding) -> bool {
        let Some(party) = self
            .all
            .get(&id)
            .and_then(|entry| entry.session.view().party(who))
            .cloned()
        else {
            return false;
        };
        if party.standing != ImStanding::Invited {
            return false;
        }
        let hunts_on = standing != ImStanding::Withdrawn && self.hunt_on(cx, id, &party);
        let Some(entry) = self.all.get_mut(&id) else {
            return false;
        };
        entry.session.decline(who, standing, cx.now.wall);
        entry.active_at = cx.now.mono;
        // Who did not answer in time may read it later.
        if standing != ImStanding::NoAnswer {
            self.note_failed(id, who, party.delivered + 1..=u64::MAX);
        }
        let Some(entry) = self.all.get(&id) else { return false };
        if !hunts_on {
            let name = name_of(&party);
            let text = match standing {
                ImStanding::Rejected => format!("({name} declined)"),
                ImStanding::NoAnswer => "(no answer)".to_owned(),
                ImStanding::CannotIm => format!("({name} cannot take messages)"),
                _ => format!("({name} cannot be reached)"),
            };
            let inviter = party.invited_by.unwrap_or(entry.session.view().owner);
            self.tell_phones(cx, id, &party, |other| other.id == inviter, &text);
        }
        true
    }

    /// The time for an answer is over.
    pub(super) fn on_no_answer(&mut self, cx: &mut Cx<'_>, id: SessionId, place: u32) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        let Some(party) = entry.session.view().parties.get(place as usize) else {
            return;
        };
        let (who, by_phone) = (party.id, party.by_phone);
        entry.invitations.remove(&who);
        let standing = if by_phone {
            ImStanding::Unreachable
        } else {
            ImStanding::NoAnswer
        };
        self.on_declined(cx, id, who, standing);
        self.changed(cx, id);
    }

    /// Takes back the invitations that a party made.
    pub(super) fn withdraw_of(&mut self, cx: &mut Cx<'_>, id: SessionId, by: PartyId) {
        let Some(entry) = self.all.get_mut(&id) else { return };
        if entry.session.state() == ImState::Ended {
            return;
        }
        let asked = entry.session.invited().filter(|party| party.replaces == Some(by));
        let asked: Vec<PartyId> = asked.map(|party| party.id).collect();
        for party in asked {
            entry.session.decline(party, ImStanding::Withdrawn, cx.now.wall);
        }
    }
}
