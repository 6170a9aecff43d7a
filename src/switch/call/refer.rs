//! REFER inside a call (RFC 3515): a blind transfer, an attended one where Refer-To has Replaces (RFC 3891, 5589), and in a
//! conference an invitation, or a farewell by `method=BYE` (RFC 4579). The device hears by NOTIFY what comes of it.

use super::act::Actor;
use super::{Calls, LegKey, State};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::{Asker, Interaction, Refer};
use crate::route::{self, Target};
use crate::{By, Originate, Refusal};
use model::{EndedBy, PartyId, Purpose};
use sip::endpoint::ServerId;
use sip::header::{NameAddr, Replaces};
use sip::{Body, Headers, Message, Method, Name, Reply};
use std::borrow::Cow;

/// Longest Refer-To that is looked at: a URI with Replaces in it takes a few hundred bytes.
const REFER_TO_MAX: usize = 1_024;

/// What a Refer-To asks for.
struct ReferTo {
    /// The user part: whom.
    target: String,
    /// The dialog that is to be replaced.
    replaces: Option<Vec<u8>>,
    /// `method=BYE`.
    is_farewell: bool,
}

impl Calls {
    /// A device asks for a transfer or an invitation; the final reply if it is not begun.
    pub(super) fn on_refer(
        &mut self,
        cx: &mut Cx<'_>,
        key: LegKey,
        server: ServerId,
        message: &Message,
    ) -> Option<Reply> {
        let refer_to = match self.refer_to(cx, key, message) {
            Ok(refer_to) => refer_to,
            Err(status) => return Some(Reply::new(status)),
        };
        let seat = self.seat_of(key);
        let in_room = seat.is_some_and(|(call, _)| matches!(self.state(call), Some(State::Service(Target::Room))));
        let Some((call, by)) = seat.filter(|(call, _)| in_room || self.is_up(*call)) else {
            return Some(Reply::new(491));
        };
        // What the transferor may not dial he may not have others dial (S7).
        let dialler = self.party_dials(cx.core, call, by);
        let denied = |dialler| route::target_for(cx.core, dialler, &refer_to.target) == Target::Nobody(403);
        if refer_to.replaces.is_none() && !refer_to.is_farewell && dialler.is_none_or(denied) {
            return Some(Reply::new(403));
        }
        let silent = message
            .header(Name::ReferSub)
            .is_some_and(|value| value.eq_ignore_ascii_case(b"false"));
        let refer = Refer {
            leg: key,
            id: message.cseq(),
            silent,
        };
        // RFC 3515 section 2.4.2: 202 says that it is being tried; the NOTIFYs say the rest.
        let mut accepted = Reply::new(202);
        if silent {
            accepted = accepted.header(Name::ReferSub, "false");
        }
        if let Some(leg) = self.legs.get_mut(key) {
            leg.respond(cx, server, accepted);
        }
        self.notify_refer(cx, refer, &Reply::new(100), false);
        if in_room {
            if let Err(status) = self.refer_to_room(cx, key, &refer_to, refer) {
                self.notify_refer(cx, refer, &Reply::new(status), true);
            }
            return None;
        }
        let verb = self.verb_of(call, &refer_to);
        if let Err(status) = self.refer(cx, (call, by), &refer_to, (verb, refer)) {
            let asked = asker(verb, refer);
            self.tell_outcome(cx, (call, by), asked, &refer_to.target, status);
        }
        None
    }

    fn refer(
        &mut self,
        cx: &mut Cx<'_>,
        (call, by): (Key<Interaction>, PartyId),
        to: &ReferTo,
        (verb, refer): (&'static str, Refer),
    ) -> Result<(), u16> {
        let asked = asker(verb, refer);
        let actor = Actor {
            call,
            party: Some(by),
            rules: false,
            user: None,
        };
        if to.is_farewell {
            self.dismiss(cx, call, by, &to.target)?;
            self.notify_refer(cx, refer, &Reply::new(200), true);
            return Ok(());
        }
        let purpose = match verb {
            "instant-transfer" | "complete-transfer" => Purpose::Transfer,
            _ => Purpose::Join,
        };
        let outcome = match &to.replaces {
            Some(replaces) => return self.refer_replaces(cx, actor, purpose, replaces, asked),
            None => self.call_for(cx, &actor, purpose, &to.target, asked),
        };
        outcome.map(|_| ()).map_err(|refusal| status_of(&refusal))
    }

    /// The verb that a REFER says: in a conference another one.
    fn verb_of(&self, call: Key<Interaction>, to: &ReferTo) -> &'static str {
        let is_conference = self.present(call).len() > 2;
        match (&to.replaces, is_conference) {
            _ if to.is_farewell => "drop",
            (Some(_), false) => "complete-transfer",
            (Some(_), true) => "complete-conference",
            (None, false) => "instant-transfer",
            (None, true) => "add",
        }
    }

    /// A member of a conference room invites a user into it, or, as its moderator, takes one out (RFC 4579 sections 5.5 and
    /// 5.11).
    fn refer_to_room(&mut self, cx: &mut Cx<'_>, key: LegKey, to: &ReferTo, refer: Refer) -> Result<(), u16> {
        let call = self.legs.get(key).map(|leg| leg.interaction).ok_or(481u16)?;
        if to.replaces.is_some() {
            return Err(488);
        }
        if to.is_farewell {
            self.dismiss_member(cx, key, &to.target)?;
            self.notify_refer(cx, refer, &Reply::new(200), true);
            return Ok(());
        }
        let target = route::target(cx.core, &to.target);
        let (Target::User(user), true) = (target, self.may_invite(key)) else {
            return Err(if self.may_invite(key) { 480 } else { 403 });
        };
        let by = self.legs.get(key).and_then(|leg| leg.user.clone()).ok_or(403u16)?;
        let wanted = Originate {
            by: By::User(by),
            client: "".into(),
            user: cx.core.users[user].aor.clone(),
            target: self.dialled_service(cx.core, call).1.into(),
        };
        let begun = self.begin_for(cx, &wanted, user, Some(refer));
        begun.map(|_| ()).map_err(|refusal| status_of(&refusal))
    }

    /// The transferor's two calls become one.
    fn refer_replaces(
        &mut self,
        cx: &mut Cx<'_>,
        actor: Actor,
        purpose: Purpose,
        replaces: &[u8],
        asked: Asker,
    ) -> Result<(), u16> {
        let other = self.dialog(cx, replaces).ok_or(481u16)?;
        let user = self
            .interactions
            .get(actor.call)
            .and_then(|call| call.party(actor.party?)?.user.clone());
        let own = self
            .legs
            .get(other)
            .is_some_and(|leg| leg.user == user && user.is_some());
        let (second, _) = self.seat_of(other).filter(|_| own).ok_or(481u16)?;
        let (parent, side) = self.parent_and_side(actor.call, second).ok_or(488u16)?;
        if !self.take_from_others(cx, (parent, side), user.as_ref()) {
            return Err(488);
        }
        let by = self.interactions.get(parent).and_then(|parent| {
            parent
                .parties
                .iter()
                .find(|party| party.user == user)
                .map(|party| party.id)
        });
        let by = by.ok_or(481u16)?;
        if self.parent_of(side).is_none() && !self.link(side, parent, by) {
            return Err(488);
        }
        let actor = Actor {
            call: side,
            party: Some(by),
            ..actor
        };
        self.complete(cx, &actor, purpose, asked)
            .map(|_| ())
            .map_err(|refusal| status_of(&refusal))
    }

    /// Which of two calls is the interaction, and which the consultation: as they were made; else the one that serves no other
    /// is the interaction, of two such the older.
    fn parent_and_side(
        &self,
        one: Key<Interaction>,
        other: Key<Interaction>,
    ) -> Option<(Key<Interaction>, Key<Interaction>)> {
        if one == other {
            return None;
        }
        let parent = |key| self.parent_of(key);
        if parent(one) == Some(other) || parent(other) == Some(one) {
            return Some(if parent(one) == Some(other) {
                (other, one)
            } else {
                (one, other)
            });
        }
        let began = |key: Key<Interaction>| self.interactions.get(key).map(|call| call.started_at);
        let rank = |key| (parent(key).is_some(), began(key));
        let (first, second) = if rank(other) < rank(one) {
            (other, one)
        } else {
            (one, other)
        };
        // A consultation has none of its own; only supervisors' phones may ring for it.
        let is_supervision = |side: &Key<Interaction>| {
            let side = self.interactions.get(*side).and_then(|side| side.side.as_ref());
            side.is_some_and(|side| matches!(side.purpose, Purpose::Supervise | Purpose::TakeOver))
        };
        let fits = |side: Key<Interaction>| self.sides_of(side).iter().all(is_supervision);
        match (fits(second), fits(first) && parent(second).is_none()) {
            (true, _) => Some((first, second)),
            (false, true) => Some((second, first)),
            (false, false) => None,
        }
    }

    /// A consultation that was made for another contact of the same user is free of it, to be completed with this one: who
    /// holds two calls and asks about the older may have been taken to ask about the newer.
    fn take_from_others(
        &mut self,
        cx: &mut Cx<'_>,
        (parent, side): (Key<Interaction>, Key<Interaction>),
        user: Option<&model::Aor>,
    ) -> bool {
        for call in [parent, side] {
            let Some(before) = self.parent_of(call).filter(|before| *before != parent) else {
                continue;
            };
            let interaction = self.interactions.get(call);
            let served = interaction.and_then(|call| call.side.as_ref());
            let by = served
                .filter(|served| served.purpose == Purpose::Consult)
                .map(|served| served.by);
            let own = interaction.zip(by).and_then(|(call, by)| call.party(by));
            if !own.is_some_and(|own| own.line.is_none() && own.user.as_ref() == user) {
                return false;
            }
            self.detach_side(before, call);
            if let Some(interaction) = self.interactions.get_mut(call) {
                interaction.side = None;
            }
            self.plumb(cx, before);
        }
        true
    }

    /// Takes the party with this number out of a conference (RFC 4579 section 5.11).
    fn dismiss(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, by: PartyId, target: &str) -> Result<(), u16> {
        let interaction = self.interactions.get(call).ok_or(481u16)?;
        let named = interaction
            .parties
            .iter()
            .find(|party| party.user.as_ref().is_some_and(|user| user.user() == target));
        let id = named.map(|party| party.id).ok_or(404u16)?;
        if interaction.owner != Some(by) && id != by {
            return Err(403);
        }
        let shown = |id| {
            interaction
                .party(id)
                .map(|party| party.shown.clone())
                .unwrap_or_default()
        };
        let (who, whom) = (shown(by), shown(id));
        if let Some(interaction) = self.interactions.get_mut(call) {
            interaction.note(cx.now.wall, &who, "drop", whom);
        }
        self.part(cx, call, id, EndedBy::Other);
        Ok(())
    }

    /// What a REFER asks for, if this device may ask it.
    fn refer_to(&self, cx: &Cx<'_>, key: LegKey, message: &Message) -> Result<ReferTo, u16> {
        let mut values = message.lines(Name::ReferTo);
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(400);
        };
        if value.len() > REFER_TO_MAX {
            return Err(413);
        }
        let address = NameAddr::parse(value).map_err(|_| 400u16)?;
        let uri = address.uri().map_err(|_| 400u16)?;
        if !uri.is_sip() {
            return Err(416);
        }
        let flow = self.legs.get(key).and_then(|leg| leg.session.flow()).ok_or(481u16)?;
        // Nobody is sent elsewhere on our account (S7).
        if !cx.core.is_local(uri.host(), flow) {
            return Err(403);
        }
        let user = uri.user_unescaped().unwrap_or(Cow::Borrowed(b""));
        let target = String::from_utf8(user.into_owned()).map_err(|_| 400u16)?;
        if target.len() > super::setup::DIALLED_MAX || target.chars().any(char::is_control) {
            return Err(400);
        }
        let method = uri.param("method").unwrap_or(b"INVITE");
        if !method.eq_ignore_ascii_case(b"INVITE") && !method.eq_ignore_ascii_case(b"BYE") {
            return Err(501);
        }
        Ok(ReferTo {
            target,
            replaces: uri.header("Replaces").map(Cow::into_owned),
            is_farewell: method.eq_ignore_ascii_case(b"BYE"),
        })
    }

    /// The leg of the dialog that a Replaces in a Refer-To names; the tags in either order, as transferors differ in whose
    /// side they see it from.
    fn dialog(&self, cx: &Cx<'_>, value: &[u8]) -> Option<LegKey> {
        let replaces = Replaces::parse(value).ok()?;
        let either = [
            (replaces.to_tag, replaces.from_tag),
            (replaces.from_tag, replaces.to_tag),
        ];
        either.into_iter().find_map(|(local, remote)| {
            let (key, leg) = self.leg(cx.core.endpoint.owner_of(local)?)?;
            let session = &leg.session;
            let fits = session.call_id().as_bytes() == replaces.call_id && session.has_remote_tag(remote);
            fits.then_some(key)
        })
    }

    /// The call that a device hears, and which party it is there.
    pub(super) fn seat_of(&self, key: LegKey) -> Option<(Key<Interaction>, PartyId)> {
        let leg = self.legs.get(key).filter(|leg| !leg.is_over())?;
        let interaction = self.interactions.get(leg.interaction)?;
        Some((leg.interaction, interaction.parties[interaction.party_of(key)?].id))
    }

    /// Says to the device what has come of its REFER so far (RFC 3515 section 2.4.4).
    pub(super) fn notify_refer(&mut self, cx: &mut Cx<'_>, refer: Refer, status: &Reply, last: bool) {
        let Some(leg) = self
            .legs
            .get_mut(refer.leg)
            .filter(|leg| !leg.is_over() && !refer.silent)
        else {
            return;
        };
        let state = if last {
            "terminated;reason=noresource"
        } else {
            "active;expires=60"
        };
        let headers = Headers::new()
            .with(Name::Event, format!("refer;id={}", refer.id))
            .with(Name::SubscriptionState, state);
        let content = format!("SIP/2.0 {} {}\r\n", status.status, status.reason).into();
        let content_type = Cow::Borrowed("message/sipfrag;version=2.0");
        let _ = leg.request(cx, Method::Notify, &headers, Some(Body { content_type, content }));
    }
}

/// A device hears of the outcome by NOTIFY.
fn asker(verb: &'static str, refer: Refer) -> Asker {
    Asker {
        verb,
        refer: Some(refer),
        ..Asker::default()
    }
}

/// What a device is told of a verb that was refused.
pub(super) fn status_of(refusal: &Refusal) -> u16 {
    match refusal {
        Refusal::NotFound(_) => 404,
        Refusal::Conflict(_) => 488,
        Refusal::Forbidden(_) => 403,
        Refusal::Unreachable(status) | Refusal::NotTransferred { status, .. } => *status,
        Refusal::Unavailable(_) => 503,
        Refusal::TooLarge(_) => 413,
    }
}
