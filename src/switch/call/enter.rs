//! INVITEs that go into a call that is there already: Replaces (RFC 3891), Join (RFC 3911), picking up what rings elsewhere,
//! and a supervisor's listen, whisper and barge by star code.

use super::ending::reason_header;
use super::setup::Asked;
use super::{Bridge, Calls, Failure, LegKey, State, body};
use crate::Supervision;
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::{Interaction, Role};
use crate::users::UserIndex;
use media::plan::Matrix;
use media::sdp::{Direction, SessionDescription};
use model::{EndReason, EndedBy, InteractionId, PartyId};
use sip::header::Replaces;
use sip::{Body, Headers, Message, Name};
use smallvec::SmallVec;

/// Where a new leg goes.
#[derive(Copy, Clone, Debug)]
pub(super) enum Entry {
    /// In the place of this leg, which is up.
    Instead(LegKey),
    /// It answers this call, which rings at others.
    PickUp(Key<Interaction>),
    /// Beside those who are there.
    Join(Key<Interaction>, Role),
}

impl Calls {
    /// The call that an INVITE is to enter; none: it begins one of its own.
    pub(super) fn entry(&self, cx: &Cx<'_>, key: Key<Interaction>, asked: &Asked) -> Result<Option<Entry>, Failure> {
        let of = |name| asked.invite.lines(name).collect::<SmallVec<[&[u8]; 1]>>();
        match (of(Name::Replaces).as_slice(), of(Name::Join).as_slice()) {
            ([], []) => match (asked.caller.user(), self.focus(key)) {
                (Some(user), Some((call, of))) => self.beside(cx, asked, user, (call, of)).map(Some),
                (Some(user), None) => self.star_code(cx, key, user),
                (None, _) => Ok(None),
            },
            // Into our calls only users of ours enter.
            ([value], []) => self.replaced(cx, inside(asked)?, value).map(Some),
            ([], [value]) => self.joined(cx, asked, inside(asked)?, value).map(Some),
            // RFC 3891 section 3, RFC 3911 section 4: one of them, once.
            _ => Err(Failure::of(400)),
        }
    }

    fn replaced(&self, cx: &Cx<'_>, caller: UserIndex, value: &[u8]) -> Result<Entry, Failure> {
        let replaces = Replaces::parse(value).map_err(|_| Failure::of(400))?;
        // Who has it from a lamp names the tags as the watched device sees them.
        let turned = Replaces {
            to_tag: replaces.from_tag,
            from_tag: replaces.to_tag,
            ..replaces
        };
        let found = self.own_dialog(cx, &replaces).or_else(|| self.own_dialog(cx, &turned));
        let (key, leg) = found.ok_or_else(|| Failure::of(481))?;
        let own = leg.user.as_ref() == Some(&cx.core.users[caller].aor);
        if leg.is_over() {
            return Err(Failure::of(603));
        }
        if leg.is_up() {
            return match (replaces.early_only, own) {
                (true, _) => Err(Failure::of(486)),
                (false, true) => Ok(Entry::Instead(key)),
                (false, false) => Err(Failure::of(403)),
            };
        }
        // An early dialog that the other side began is not replaced (RFC 3891 section 3); nor is there anybody yet to talk to
        // in a call whose owner is called first.
        if leg.direction == model::Direction::In || self.awaits_agent(leg.interaction) {
            return Err(Failure::of(481));
        }
        match own || cx.core.users[caller].picks_up() {
            true => Ok(Entry::PickUp(leg.interaction)),
            false => Err(Failure::of(403)),
        }
    }

    fn joined(&self, cx: &Cx<'_>, asked: &Asked, caller: UserIndex, value: &[u8]) -> Result<Entry, Failure> {
        let dialog = Replaces::parse(value).map_err(|_| Failure::of(400))?;
        let found = self.own_dialog(cx, &dialog).filter(|(_, leg)| leg.is_up());
        let (key, leg) = found.ok_or_else(|| Failure::of(481))?;
        let call = leg.interaction;
        let seat = self.seat_of(key).filter(|_| self.is_up(call));
        self.beside(cx, asked, caller, seat.ok_or_else(|| Failure::of(481))?)
    }

    /// The conference whose focus is dialled (RFC 4579 section 5.4), and its owner.
    fn focus(&self, key: Key<Interaction>) -> Option<(Key<Interaction>, PartyId)> {
        let id: InteractionId = self.interactions.get(key)?.dialled.parse().ok()?;
        let (call, interaction) = self.find(id)?;
        let is_focus = interaction.call.is_conference && self.is_up(call);
        Some((call, interaction.owner.filter(|_| is_focus)?))
    }

    /// Who takes part may come with another device; a supervisor barges in, or listens if that is all he offers.
    fn beside(
        &self,
        cx: &Cx<'_>,
        asked: &Asked,
        caller: UserIndex,
        (call, of): (Key<Interaction>, PartyId),
    ) -> Result<Entry, Failure> {
        let user = &cx.core.users[caller];
        let parties = self.interactions.get(call).map(|call| &call.parties);
        let takes_part =
            parties.is_some_and(|parties| parties.iter().any(|party| party.user.as_ref() == Some(&user.aor)));
        match (takes_part, user.supervises()) {
            (true, _) => Ok(Entry::Join(call, Role::Member)),
            (false, true) => {
                let mode = if only_receives(&asked.invite) {
                    Supervision::Listen
                } else {
                    Supervision::Barge
                };
                Ok(Entry::Join(call, Role::Supervisor { of, mode }))
            }
            (false, false) => Err(Failure::of(403)),
        }
    }

    /// The leg of a dialog as its other side names it: our tag is the To-tag.
    fn own_dialog(&self, cx: &Cx<'_>, replaces: &Replaces<'_>) -> Option<(LegKey, &super::Leg)> {
        let (key, leg) = self.leg(cx.core.endpoint.owner_of(replaces.to_tag)?)?;
        let session = &leg.session;
        let fits = session.call_id().as_bytes() == replaces.call_id && session.has_remote_tag(replaces.from_tag);
        fits.then_some((key, leg))
    }

    /// `*8EXT`, `*0EXT`, `*1EXT`, `*2EXT`.
    fn star_code(&self, cx: &Cx<'_>, key: Key<Interaction>, caller: UserIndex) -> Result<Option<Entry>, Failure> {
        let dialled = self
            .interactions
            .get(key)
            .map_or("", |interaction| &interaction.dialled);
        let Some((code, extension)) = dialled.split_at_checked(2) else {
            return Ok(None);
        };
        let features = &cx.core.config.features;
        let mode = match code {
            code if code == &*features.pick_up => None,
            code if code == &*features.listen => Some(Supervision::Listen),
            code if code == &*features.whisper => Some(Supervision::Whisper),
            code if code == &*features.barge => Some(Supervision::Barge),
            _ => return Ok(None),
        };
        let Some(target) = cx.core.users.named(extension) else {
            return Ok(None);
        };
        let user = &cx.core.users[caller];
        let may = if mode.is_some() {
            user.supervises()
        } else {
            user.picks_up() || cx.core.config.stars.share_group(user.aor.user(), target.aor.user())
        };
        if !may {
            return Err(Failure::of(403));
        }
        let legs = self.legs.of_user(&target.aor);
        let found = match mode {
            None => legs
                .filter(|(_, leg)| !leg.is_up() && !leg.is_over() && leg.direction == model::Direction::Out)
                .find(|(_, leg)| !self.awaits_agent(leg.interaction))
                .map(|(_, leg)| Entry::PickUp(leg.interaction)),
            Some(mode) => legs.filter(|(_, leg)| leg.is_up()).find_map(|(key, _)| {
                let (call, of) = self.seat_of(key).filter(|(call, _)| self.is_up(*call))?;
                Some(Entry::Join(call, Role::Supervisor { of, mode }))
            }),
        };
        // Nothing rings there, nobody talks there.
        found.map(Some).ok_or_else(|| Failure::of(480))
    }

    /// The new leg enters. The interaction that was made for it ends unseen.
    pub(super) fn enter(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key<Interaction>,
        asked: &Asked,
        entry: Entry,
        offer: Option<&SessionDescription>,
    ) -> Result<(), Failure> {
        let target = match entry {
            Entry::Instead(leg) => self
                .legs
                .get(leg)
                .map(|leg| leg.interaction)
                .ok_or_else(|| Failure::of(481))?,
            Entry::PickUp(call) | Entry::Join(call, _) => call,
        };
        let leg = self.caller_of(key).ok_or_else(|| Failure::of(481))?;
        let worker = self.interactions.get(target).and_then(|target| target.call.worker);
        self.seat_caller(cx, key, (leg, worker), asked.flow, offer)?;
        let text = self.first_description(leg, offer.is_some())?;
        // Nothing is refused from here on.
        self.midst_of("enter");
        let id = self
            .interactions
            .get(key)
            .and_then(|call| Some(call.parties.first()?.id));
        let Some(id) = id else { return Ok(()) };
        self.accept_leg(cx, leg, &self.display_of(target, entry), text);
        self.adopt(cx, key, target, id);
        self.end(cx, key, EndedBy::Switch, EndReason::Normal, &Headers::new());
        self.settle_entry(cx, target, leg, id, entry);
        Ok(())
    }

    fn settle_entry(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, leg: LegKey, id: PartyId, entry: Entry) {
        match entry {
            Entry::Instead(old) => self.take_place(cx, call, leg, id, old),
            Entry::PickUp(call) => self.pick_up(cx, call, id),
            Entry::Join(call, role) => {
                self.seat_as(cx, call, id, role);
            }
        }
        // It may have ended: the caller of what was picked up could not be answered.
        let Some(home) = self.legs.get(leg).filter(|leg| leg.is_up()).map(|leg| leg.interaction) else {
            return;
        };
        self.open_room(cx, home, Matrix::Everyone);
        self.listen(cx, leg);
        if self.is_up(home) {
            self.settle_parties(cx, home);
        }
    }

    /// The new device is the party's, and the old one leaves.
    fn take_place(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, new: LegKey, id: PartyId, old: LegKey) {
        let held = self.legs.get(old).is_some_and(|leg| leg.holds);
        for side in self.sides_of(call) {
            let parties = self
                .interactions
                .get_mut(side)
                .into_iter()
                .flat_map(|side| &mut side.parties);
            parties
                .filter(|party| party.line == Some(old))
                .for_each(|party| party.line = Some(new));
        }
        if let Some(interaction) = self.interactions.get_mut(call) {
            interaction.parties.retain(|party| party.id != id);
            if let Some(at) = interaction.party_of(old) {
                let party = &mut interaction.parties[at];
                party.legs.push(new);
                party.holds &= !held;
            }
        }
        self.leave(
            cx,
            old,
            EndedBy::Switch,
            EndReason::AnsweredElsewhere,
            &reason_header(EndReason::Normal),
        );
    }

    /// Somebody else answers what rings.
    fn pick_up(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, by: PartyId) {
        let waits = |caller: &LegKey| self.legs.get(*caller).is_some_and(|leg| !leg.is_up());
        let caller = self.caller_of(call).filter(waits);
        if let Some(ringing) = self.ringing(call)
            && let Some(alarm) = ringing.alarm.take()
        {
            cx.core.endpoint.cancel_timer(alarm);
        }
        let picked = self.legs_of_party(call, by);
        let headers = reason_header(EndReason::AnsweredElsewhere);
        for key in self.callees(call).into_iter().filter(|key| !picked.contains(key)) {
            self.leave(cx, key, EndedBy::Other, EndReason::AnsweredElsewhere, &headers);
        }
        let Some(interaction) = self.interactions.get_mut(call) else {
            return;
        };
        let party = interaction.party(by);
        let asserted = party.and_then(|party| party.asserted.clone());
        let who = party.map(|party| party.shown.clone()).unwrap_or_default();
        interaction.call.state = State::Bridged(Bridge::default());
        interaction.answered_at = Some(cx.now.wall);
        interaction.owner = Some(by);
        interaction.note(cx.now.wall, &who, "pick-up", "");
        self.figures.answered += 1;
        self.open_room(cx, call, Matrix::Everyone);
        if let Some(caller) = caller {
            let asserted =
                asserted.map_or_else(Headers::new, |who| Headers::new().with(Name::PAssertedIdentity, &*who));
            let offered = self
                .sound_mut(caller)
                .is_some_and(|sound| sound.negotiation.owes_answer());
            match self.first_description(caller, offered) {
                Ok(text) => {
                    self.accept_leg(cx, caller, &asserted, text);
                    self.listen(cx, caller);
                }
                Err(failure) => {
                    if let Some(leg) = self.legs.get_mut(caller) {
                        leg.reject(cx, failure.reply);
                    }
                    self.leave(cx, caller, EndedBy::Switch, failure.reason, &Headers::new());
                    return self.on_left(cx, call, failure.reason, &reason_header(failure.reason));
                }
            }
        }
        self.on_side_up(cx, call);
    }

    /// 200 to a device that called.
    fn accept_leg(&mut self, cx: &mut Cx<'_>, key: LegKey, headers: &Headers, text: Body) {
        if let Some(leg) = self.legs.get_mut(key) {
            leg.on_answered(cx.now.wall);
            leg.accept(cx, headers, Some(text));
        }
    }

    /// Our own answer to the first offer of a device, or our offer; what it was told in a 183 is said again.
    fn first_description(&mut self, key: LegKey, offered: bool) -> Result<Body, Failure> {
        let negotiation = &self.sound_mut(key).ok_or_else(Failure::congested)?.negotiation;
        if let (true, Some(text)) = (negotiation.agreed().is_some(), negotiation.local_description()) {
            return Ok(body::sdp(text));
        }
        self.own_description(key, offered)
    }

    /// Whom the device that enters is shown.
    fn display_of(&self, call: Key<Interaction>, entry: Entry) -> Headers {
        let interaction = self.interactions.get(call);
        let other = match entry {
            Entry::PickUp(_) => interaction.and_then(|call| call.parties.first()),
            _ => None,
        };
        let asserted = other.and_then(|party| party.asserted.as_deref());
        asserted.map_or_else(Headers::new, |who| Headers::new().with(Name::PAssertedIdentity, who))
    }
}

fn inside(asked: &Asked) -> Result<UserIndex, Failure> {
    asked.caller.user().ok_or_else(|| Failure::of(403))
}

/// An offer to listen only.
fn only_receives(invite: &Message) -> bool {
    let offer = body::description(invite).ok().flatten();
    offer.is_some_and(|offer| {
        offer
            .streams
            .iter()
            .all(|stream| offer.direction_of(stream) == Direction::RecvOnly)
    })
}

impl crate::config::User {
    /// May take calls that ring at others.
    fn picks_up(&self) -> bool {
        !self.roles.is_empty()
    }
}
