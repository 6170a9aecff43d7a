//! Records of calls that are passed on (decision 0039). Who called whom and what came of it is known when the INVITE has its
//! answer; that an answered call has ended is known when its BYE passes, and between the two only the store remembers it.

use super::best::Refusal;
use super::inside::Passage;
use super::seal::Seal;
use super::{Proxy, Relay, Stage};
use crate::call::{Identity, reason_of};
use crate::core::Cx;
use crate::route::Dialler;
use crate::text::loggable;
use clock::Wall;
use model::{Aor, Cdr, Direction, EndReason, EndedBy, InteractionId, LegId, Quality, StoreOp};
use sip::{Message, Method};
use std::time::Duration;

/// After so long a call of which no BYE has passed is over, whatever became of it: its phones have gone.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// What the records of a call will say.
#[derive(Debug)]
pub(super) struct Ticket {
    /// The user who calls, and what others are shown of the caller.
    user: Option<Aor>,
    caller: Box<str>,
    /// What was dialled, and the user whose phones ring.
    dialled: Box<str>,
    pub(super) callee: Option<Aor>,
    call_id: Box<str>,
    /// The records of the call if it is answered: what its BYE says too.
    number: u64,
    started_at: Wall,
    ringing_at: Option<Wall>,
}

/// The two sides of a call: its records have neighbouring numbers.
fn leg(number: u64, direction: Direction) -> LegId {
    match direction {
        Direction::In => LegId(number),
        Direction::Out => LegId(number ^ 1),
    }
}

impl Ticket {
    /// Of an INVITE that begins a call.
    pub(super) fn of(cx: &Cx<'_>, seal: &Seal, dialler: Dialler, request: &Message) -> Option<Box<Ticket>> {
        if request.method() != Method::Invite {
            return None;
        }
        let identity = match dialler {
            Dialler::User(user) => Identity::of_caller(cx.core, user, request),
            Dialler::Trunk(trunk) => Identity::of_stranger(cx.core, trunk, request),
        };
        let dialled = cx.core.dialled(request).unwrap_or_default();
        Some(Box::new(Ticket {
            user: dialler.user().map(|user| cx.core.users[user].aor.clone()),
            caller: identity.shown,
            dialled: loggable(dialled.as_bytes()).into(),
            callee: None,
            call_id: loggable(request.call_id()).into(),
            number: seal.number(request.call_id(), request.from_tag()),
            started_at: cx.now.wall,
            ringing_at: None,
        }))
    }

    /// It rings.
    pub(super) fn note_ringing(&mut self, now: Wall) {
        self.ringing_at.get_or_insert(now);
    }

    fn cdr(&self, direction: Direction, number: u64, end: (Wall, EndedBy, EndReason), status: u16) -> Cdr {
        let (ended_at, ended_by, reason) = end;
        Cdr {
            interaction: InteractionId(number),
            leg: leg(number, direction),
            direction,
            user: match direction {
                Direction::In => self.user.clone(),
                Direction::Out => self.callee.clone(),
            },
            caller: self.caller.clone(),
            callee: self.dialled.clone(),
            call_id: self.call_id.clone(),
            started_at: self.started_at,
            ringing_at: self.ringing_at,
            answered_at: None,
            ended_at,
            ended_by,
            reason,
            status,
            codec: "".into(),
            packets: (0, 0, 0),
            quality: Quality::default(),
            link: None,
            transferred_to: "".into(),
        }
    }

    /// The call is up: what its records say if nobody ever hangs up.
    pub(super) fn answered(self, cx: &mut Cx<'_>, status: u16) {
        let now = cx.now.wall;
        for direction in [Direction::In, Direction::Out] {
            let end = (now, EndedBy::Switch, EndReason::SignallingTimeout);
            let cdr = Cdr {
                answered_at: Some(now),
                ..self.cdr(direction, self.number, end, status)
            };
            cx.core.store(StoreOp::OpenCdr(Box::new(cdr)));
        }
    }

    /// It came to nothing. The caller may try again in the same dialog, so this record has a number of its own.
    pub(super) fn refused(self, cx: &mut Cx<'_>, status: u16, (by, reason): (EndedBy, EndReason)) {
        let number = cx.core.random();
        let cdr = self.cdr(Direction::In, number, (cx.now.wall, by, reason), status);
        cx.core.store(StoreOp::PutCdr(Box::new(cdr)));
    }
}

impl Relay {
    /// What became of a call that nobody has taken.
    pub(super) fn outcome(&self) -> (EndedBy, EndReason) {
        match (self.stage, self.best.as_ref().map(|best| &best.refusal)) {
            (Stage::Cancelled, _) => (EndedBy::Peer, EndReason::Cancelled),
            (_, Some(Refusal::Said(message))) => (EndedBy::Other, reason_of(message.status())),
            // Ours, when it had rung long enough.
            (_, Some(Refusal::Lost(480))) => (EndedBy::Switch, EndReason::NoAnswer),
            (_, Some(Refusal::Lost(status))) => (EndedBy::Switch, reason_of(*status)),
            (_, None) => (EndedBy::Switch, EndReason::Unreachable),
        }
    }
}

impl Proxy {
    /// Somebody hangs up. A BYE that comes again finds nothing to end.
    pub(super) fn on_bye(&self, cx: &mut Cx<'_>, bye: &Message, passage: &Passage) {
        let by_caller = passage.is_by_caller();
        let tag = if by_caller { bye.from_tag() } else { bye.to_tag() };
        let number = self.seal.number(bye.call_id(), tag);
        for direction in [Direction::In, Direction::Out] {
            let by = match (direction == Direction::In) == by_caller {
                true => EndedBy::Peer,
                false => EndedBy::Other,
            };
            let (leg, at) = (leg(number, direction), cx.now.wall);
            cx.core.store(StoreOp::EndCdr { leg, at, by });
        }
    }
}

/// Once a minute: records that would stay open for ever.
pub(crate) fn give_up(cx: &mut Cx<'_>) {
    let (answered_until, at) = (cx.now.wall - LONGEST, cx.now.wall);
    cx.core.store(StoreOp::GiveUpCdrs { answered_until, at });
}
