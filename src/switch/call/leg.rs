//! One leg: the relation of one device to the switch. Its [`Session`] speaks SIP, its [`Sound`] is its place in the media
//! plane, its [`Stage`] is what the operator sees.

use super::relocate::Former;
use super::room::Sound;
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::Interaction;
use clock::Wall;
use media::LegStats;
use model::{Aor, CdrLink, Direction, EndReason, EndedBy, LegId};
use sip::endpoint::{Alarm, ClientId, ServerId};
use sip::invite::{Refused, Session};
use sip::{Body, Headers, Method, Reply};
use smallvec::SmallVec;
use std::net::IpAddr;

/// Names a leg.
pub(crate) type LegKey = Key<Leg>;

/// One device in one call.
#[derive(Debug)]
pub(crate) struct Leg {
    /// For records and views; never reused.
    pub(crate) id: LegId,
    /// Where it belongs.
    pub(crate) interaction: Key<Interaction>,
    /// Whose room it hears: its own, or that of a consultation.
    pub(crate) place: Key<Interaction>,
    /// Who called whom.
    pub(crate) direction: Direction,
    /// Whose device, if one of our users'.
    pub(crate) user: Option<Aor>,
    /// The trunk it is outside by.
    pub(crate) trunk: Option<Box<str>>,
    /// The device's URI: its Contact, or the caller's own.
    pub(crate) uri: Box<str>,
    /// Its INVITE dialog.
    pub(crate) session: Session,
    /// Its port and agreement, while it has a port.
    pub(crate) sound: Option<Sound>,
    /// Ports that it has left for one of another worker, until the engine has closed it there.
    pub(crate) former: SmallVec<[Former; 1]>,
    /// Its figures there.
    pub(crate) earlier: Option<Box<LegStats>>,
    /// How far it got.
    pub(crate) stage: Stage,
    /// INVITE received or sent.
    pub(crate) started_at: Wall,
    /// First 101 to 199.
    pub(crate) ringing_at: Option<Wall>,
    /// 2xx.
    pub(crate) answered_at: Option<Wall>,
    /// Final status of its INVITE; 0 before.
    pub(crate) status: u16,
    /// The store knows that it is up.
    pub(crate) is_kept: bool,
    /// Its 200 said something else than the provisional response before: the caller is to be told once he has acknowledged.
    pub(crate) renews: bool,
    /// The device itself has put the call on hold, by its session description.
    pub(crate) holds: bool,
    /// It is to be offered again to speak, as soon as it has done with what it is in the midst of.
    pub(crate) is_wanted_back: bool,
    /// What is tried again with it in a moment, by the kinds of the timers; each once.
    pub(super) again: SmallVec<[(u32, Alarm); 2]>,
    /// Whom the device was last told it talks to, if that changed since its INVITE.
    pub(crate) told: Option<Box<str>>,
    /// The side call it came from, by which it got into its interaction.
    pub(crate) link: Option<CdrLink>,
    /// To whom its party transferred the contact; empty: to nobody.
    pub(crate) transferred_to: Box<str>,
    /// Requests of other legs that this device has to answer.
    pub(crate) relayed: SmallVec<[Relayed; 1]>,
}

/// How far a leg got.
#[derive(Debug)]
pub(crate) enum Stage {
    /// INVITE, and no more.
    Calling,
    /// The device rings, or hears ringing.
    Ringing,
    /// Answered.
    Up,
    /// It has left its call; what is awaited are the farewells.
    Over(Over),
}

/// How a leg ended, and what is still to come before it can be forgotten.
#[derive(Debug)]
pub(crate) struct Over {
    /// When.
    pub(crate) at: Wall,
    /// Who ended it.
    pub(crate) by: EndedBy,
    /// Why.
    pub(crate) reason: EndReason,
    /// Its CDR is written.
    pub(crate) recorded: bool,
    /// Its session has nothing left to wait for.
    pub(crate) parted: bool,
}

/// A request of another leg, passed to this device.
#[derive(Debug)]
pub(crate) struct Relayed {
    /// Our request to this device.
    pub(crate) client: ClientId,
    /// Who asked.
    pub(crate) from: LegKey,
    /// What awaits the answer there.
    pub(crate) server: ServerId,
}

impl Leg {
    /// A leg whose INVITE has just come or gone.
    #[must_use]
    pub(crate) fn new(
        cx: &mut Cx<'_>,
        interaction: Key<Interaction>,
        (direction, user): (Direction, Option<Aor>),
        uri: Box<str>,
        session: Session,
    ) -> Leg {
        Leg {
            id: LegId(cx.core.random()),
            interaction,
            place: interaction,
            direction,
            user,
            trunk: None,
            uri,
            session,
            sound: None,
            former: SmallVec::new(),
            earlier: None,
            stage: Stage::Calling,
            started_at: cx.now.wall,
            ringing_at: None,
            answered_at: None,
            status: 0,
            is_kept: false,
            renews: false,
            is_wanted_back: false,
            again: SmallVec::new(),
            holds: false,
            told: None,
            link: None,
            transferred_to: "".into(),
            relayed: SmallVec::new(),
        }
    }

    /// Where its signalling comes from: media may come from there too (RFC 7362).
    #[must_use]
    pub(crate) fn host(&self) -> Option<IpAddr> {
        self.session.flow().map(|flow| flow.peer.ip())
    }

    /// It has left its call.
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }

    /// Its device has taken the call, or made it and was answered.
    #[must_use]
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up)
    }

    /// Its device has been asked to send its sound to another worker, and has not answered.
    #[must_use]
    pub(crate) fn is_moving(&self) -> bool {
        self.sound.as_ref().is_some_and(|sound| sound.next.is_some())
    }

    /// RTP ports that are its own.
    #[must_use]
    pub(crate) fn ports(&self) -> usize {
        let sound = self.sound.as_ref();
        let of = |sound: &Sound| 1 + usize::from(sound.next.is_some()) + usize::from(sound.video.is_some());
        sound.map_or(0, of) + self.former.len()
    }

    /// `calling`, `ringing`, `up`, `ended`.
    #[must_use]
    pub(crate) fn stage_name(&self) -> &'static str {
        match self.stage {
            Stage::Calling => "calling",
            Stage::Ringing => "ringing",
            Stage::Up => "up",
            Stage::Over(_) => "ended",
        }
    }

    /// Why it left, once it has.
    #[must_use]
    pub(crate) fn end_reason(&self) -> Option<EndReason> {
        match &self.stage {
            Stage::Over(over) => Some(over.reason),
            _ => None,
        }
    }

    /// First sign of ringing.
    pub(crate) fn on_ringing(&mut self, at: Wall) {
        if matches!(self.stage, Stage::Calling) {
            self.stage = Stage::Ringing;
        }
        self.ringing_at.get_or_insert(at);
    }

    /// 2xx received or sent.
    pub(crate) fn on_answered(&mut self, at: Wall) {
        self.stage = Stage::Up;
        self.status = 200;
        self.answered_at.get_or_insert(at);
    }

    // The session's verbs with what they need from the context. A refused verb means that the session has ended or that
    // the other side was quicker; its event is on the way and puts things right.

    /// 101 to 199; `reliably`: so that it arrives, if the caller knows how (RFC 3262).
    pub(crate) fn progress(&mut self, cx: &mut Cx<'_>, reply: Reply, reliably: bool) {
        let core = &mut *cx.core;
        let (now, endpoint, effects) = (cx.now.mono, &mut core.endpoint, &mut core.effects);
        let done = match reliably {
            true => self.session.progress_reliably(now, reply, endpoint, effects),
            false => self.session.progress(now, reply, endpoint, effects),
        };
        self.note("progress", done);
    }

    /// 200 to the INVITE.
    pub(crate) fn accept(&mut self, cx: &mut Cx<'_>, headers: &Headers, body: Option<Body>) {
        let core = &mut *cx.core;
        let done = self
            .session
            .accept(cx.now.mono, headers, body, &mut core.endpoint, &mut core.effects);
        self.note("accept", done);
    }

    /// 300 to 699 to the INVITE.
    pub(crate) fn reject(&mut self, cx: &mut Cx<'_>, reply: Reply) {
        self.status = reply.status;
        let core = &mut *cx.core;
        let done = self
            .session
            .reject(cx.now.mono, reply, &mut core.endpoint, &mut core.effects);
        self.note("reject", done);
    }

    /// The answer the device's 200, or its reliable provisional response, waits for.
    pub(crate) fn ack(&mut self, cx: &mut Cx<'_>, answer: Option<Body>) {
        let core = &mut *cx.core;
        let (now, endpoint, effects) = (cx.now.mono, &mut core.endpoint, &mut core.effects);
        let done = match self.session.is_confirmed() {
            true => self.session.ack(now, answer, endpoint, effects),
            false => self.session.prack(now, answer, endpoint, effects),
        };
        self.note("ack", done);
    }

    /// An offer to the device, or a request for one: UPDATE where asked for and possible, else re-INVITE.
    pub(crate) fn offer(&mut self, cx: &mut Cx<'_>, by: Method, offer: Option<Body>) -> Result<(), Refused> {
        self.offer_with(cx, by, &Headers::new(), offer)
    }

    /// The same with further headers.
    pub(crate) fn offer_with(
        &mut self,
        cx: &mut Cx<'_>,
        by: Method,
        headers: &Headers,
        offer: Option<Body>,
    ) -> Result<(), Refused> {
        let core = &mut *cx.core;
        let now = cx.now.mono;
        if by == Method::Update && offer.is_some() && self.session.allows(Method::Update) {
            return self
                .session
                .update(now, headers, offer, &mut core.endpoint, &mut core.effects);
        }
        self.session
            .modify(now, headers, offer, &mut core.endpoint, &mut core.effects)
    }

    /// Headers that the device is to know, by UPDATE; false if it takes none, or not now.
    pub(crate) fn inform(&mut self, cx: &mut Cx<'_>, headers: &Headers) -> bool {
        let core = &mut *cx.core;
        let done = self
            .session
            .update(cx.now.mono, headers, None, &mut core.endpoint, &mut core.effects);
        done.is_ok()
    }

    /// 200 to the device's re-INVITE or UPDATE.
    pub(crate) fn answer(&mut self, cx: &mut Cx<'_>, body: Option<Body>) {
        let core = &mut *cx.core;
        let done = self.session.answer(
            cx.now.mono,
            &Headers::new(),
            body,
            &mut core.endpoint,
            &mut core.effects,
        );
        self.note("answer", done);
    }

    /// Refuses the device's re-INVITE or UPDATE; all stays as it was.
    pub(crate) fn refuse(&mut self, cx: &mut Cx<'_>, reply: Reply) {
        let core = &mut *cx.core;
        let done = self
            .session
            .refuse(cx.now.mono, reply, &mut core.endpoint, &mut core.effects);
        self.note("refuse", done);
    }

    /// Another request in the dialog.
    pub(crate) fn request(
        &mut self,
        cx: &mut Cx<'_>,
        method: Method,
        headers: &Headers,
        body: Option<Body>,
    ) -> Result<ClientId, Refused> {
        let core = &mut *cx.core;
        self.session.request(
            cx.now.mono,
            method,
            headers,
            body,
            &mut core.endpoint,
            &mut core.effects,
        )
    }

    /// The answer to another request of the device.
    pub(crate) fn respond(&mut self, cx: &mut Cx<'_>, server: ServerId, reply: Reply) {
        let core = &mut *cx.core;
        self.session
            .respond(cx.now.mono, server, reply, &mut core.endpoint, &mut core.effects);
    }

    /// CANCEL, refusal or BYE, whatever fits.
    pub(crate) fn close(&mut self, cx: &mut Cx<'_>, headers: &Headers) {
        let core = &mut *cx.core;
        self.session
            .close(cx.now.mono, headers, &mut core.endpoint, &mut core.effects);
    }

    fn note(&self, verb: &'static str, done: Result<(), Refused>) {
        if let Err(why) = done {
            tracing::debug!(leg = %self.id, verb, ?why, "the session is ahead of us");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leg_and_its_call_take_no_more_memory_than_they_must() {
        let (leg, interaction) = (size_of::<Leg>(), size_of::<Interaction>());
        assert!(leg <= 1_400, "{leg} bytes");
        assert!(interaction <= 960, "{interaction} bytes");
    }
}
