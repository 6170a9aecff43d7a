//! The invariants of calls: every leg belongs to a call and every call has legs, every port to a leg, and no count is off.

use super::room::Engine;
#[cfg(any(test, feature = "testing"))]
use super::room::room_id;
use super::{
    Calls, Leg, LegKey, OF_ALL, OF_CALL, OF_LEG, Stage, State, TIMER_ASK_BACK, TIMER_DISPLAY, TIMER_FORMER,
    TIMER_LINGER,
};
use crate::arena::Key;
use crate::interaction::Interaction;
use crate::room::Room;
#[cfg(any(test, feature = "testing"))]
use media::RoomId;
use sip::Owner;
use sip::endpoint::Endpoint;

impl Calls {
    /// Checks the invariants of legs, calls and ports.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub(crate) fn audit(&self, endpoint: &Endpoint) -> Result<(), String> {
        self.interactions
            .iter()
            .try_for_each(|(key, call)| self.audit_call(call).and_then(|()| self.audit_family(key, call)))?;
        self.legs.iter().try_for_each(|(key, _)| self.audit_leg(key))?;
        self.audit_conferences()?;
        endpoint
            .alarms()
            .try_for_each(|(owner, kind)| self.audit_alarm(owner, kind))?;
        let over = |call: &Interaction| matches!(call.call.state, State::Over);
        let active = self.interactions.iter().filter(|(_, call)| !over(call)).count();
        if active != self.active {
            return Err(format!("{active} calls are active, {} were counted", self.active));
        }
        let ports: usize = self.legs.iter().map(|(_, leg)| leg.ports()).sum();
        if ports != self.ports.in_use() {
            return Err(format!("{ports} legs have a port, {} are in use", self.ports.in_use()));
        }
        Ok(())
    }

    fn audit_call(&self, call: &Interaction) -> Result<(), String> {
        let mut living = 0;
        for key in call.legs() {
            let leg = self
                .legs
                .get(key)
                .ok_or_else(|| format!("call {} has a leg that is gone", call.id))?;
            living += usize::from(!leg.is_over());
        }
        let by_line = call.parties.iter().any(|party| party.line.is_some());
        match (&call.call.state, living) {
            (State::Over, 0) | (State::Routing | State::Service(_), 1) | (State::Bridged(_), 1..) => {}
            (State::Ringing(_), 1..) => {}
            // A service that is heard by a line of the parent.
            (State::Service(_), 0) if by_line => {}
            (state, living) => return Err(format!("call {} has {living} legs in {state:?}", call.id)),
        }
        match call.legs().next() {
            Some(_) => Ok(()),
            None if by_line => Ok(()),
            None => Err(format!("call {} has no legs and is not forgotten", call.id)),
        }
    }

    /// Side calls and what they serve know each other; lines are living legs of the parent; nobody waits for nobody.
    fn audit_family(&self, key: Key<Interaction>, call: &Interaction) -> Result<(), String> {
        let is_over = matches!(call.call.state, State::Over);
        let wrong = |what: &str| Err(format!("call {} {what}", call.id));
        if is_over && (call.side.is_some() || !call.call.sides.is_empty() || call.call.open) {
            return wrong("is over, and has a room, a side call or a parent");
        }
        for &side in &call.call.sides {
            if self.parent_of(side) != Some(key) {
                return wrong("has a side call that does not know it");
            }
        }
        if let Some(side) = &call.side {
            let parent = self.interactions.get(side.parent);
            if parent.is_none_or(|parent| !parent.call.sides.contains(&key)) {
                return wrong("serves a call that does not know it");
            }
        }
        for line in call.parties.iter().filter_map(|party| party.line) {
            let home = self
                .legs
                .get(line)
                .filter(|leg| !leg.is_over())
                .map(|leg| leg.interaction);
            if home.is_none() || home != call.side.as_ref().map(|side| side.parent) {
                return wrong("is heard by a line that is not there");
            }
        }
        if call.call.removal.is_some() && !self.is_moving(key) {
            return wrong("waits for devices to go elsewhere, and none is on its way");
        }
        if let State::Bridged(bridge) = &call.call.state {
            let lives = |key| self.legs.get(key).is_some_and(|leg| !leg.is_over());
            if bridge
                .exchange
                .is_some_and(|exchange| !lives(exchange.by) || !lives(exchange.with))
            {
                return wrong("has an exchange with a device that is gone");
            }
            let on_the_way = !call.call.sides.is_empty() || self.is_moving(key);
            if self.present(key).len() < 2 && !on_the_way {
                return wrong("has one party who waits for nobody");
            }
        }
        Ok(())
    }

    /// A timer that is set is one that somebody waits for.
    fn audit_alarm(&self, owner: Owner, kind: u32) -> Result<(), String> {
        let Some((Room::Call, number)) = Room::of(owner) else {
            return Ok(());
        };
        let is_awaited = match number & OF_ALL {
            OF_ALL => true,
            OF_CALL => matches!(self.state(Key::unpack(number)), Some(State::Ringing(_))),
            OF_LEG => self.legs.get(Key::unpack(number)).is_some_and(|leg| awaits(leg, kind)),
            // Of its session.
            _ => self.legs.get(Key::unpack(number)).is_some(),
        };
        match is_awaited {
            true => Ok(()),
            false => Err(format!("a timer of kind {kind} that nobody waits for")),
        }
    }

    /// The kinds of timers that are set for calls and legs.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn alarms(endpoint: &Endpoint) -> Vec<u32> {
        let of_one = |owner| matches!(Room::of(owner), Some((Room::Call, number)) if number & OF_ALL != OF_ALL);
        let alarms = endpoint.alarms().filter(|(owner, _)| of_one(*owner));
        alarms.map(|(_, kind)| kind).collect()
    }

    /// The rooms that the media plane was told to open, with what each is for.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn rooms_in_use(&self) -> Vec<(RoomId, String)> {
        let calls = self.interactions.iter().filter(|(_, call)| call.call.open);
        let mut rooms: Vec<_> = calls.map(|(key, call)| (room_id(key), purpose_of(call))).collect();
        rooms.extend(self.standing_rooms());
        rooms
    }

    fn audit_leg(&self, key: LegKey) -> Result<(), String> {
        let Some(leg) = self.legs.get(key) else { return Ok(()) };
        let call = self.interactions.get(leg.interaction);
        if call.is_none_or(|call| call.party_of(key).is_none()) {
            return Err(format!("leg {} belongs to no call", leg.id));
        }
        let at_home = leg.place == leg.interaction || self.parent_of(leg.place) == Some(leg.interaction);
        if !leg.is_over() && !at_home {
            return Err(format!("leg {} is heard in a strange room", leg.id));
        }
        match &leg.stage {
            Stage::Over(over) if over.recorded && leg.sound.is_some() => {
                Err(format!("leg {} is recorded and has a port", leg.id))
            }
            Stage::Over(over) if over.recorded && over.parted => Err(format!("leg {} should be forgotten", leg.id)),
            _ => Ok(()),
        }
    }
}

/// Whether a leg has set a timer of this kind.
fn awaits(leg: &Leg, kind: u32) -> bool {
    match kind {
        TIMER_LINGER => leg
            .sound
            .as_ref()
            .is_some_and(|sound| matches!(sound.engine, Engine::Closing(_))),
        TIMER_FORMER => !leg.former.is_empty(),
        TIMER_DISPLAY | TIMER_ASK_BACK => leg.again.iter().any(|(waits, _)| *waits == kind),
        _ => !leg.is_over(),
    }
}

/// What a call and its room are there for.
#[cfg(any(test, feature = "testing"))]
fn purpose_of(call: &Interaction) -> String {
    let id = call.id;
    match (&call.side, &call.call.state) {
        (_, State::Over) => String::new(),
        (Some(side), _) => format!("{:?} {id}", side.purpose),
        (None, State::Service(service)) => format!("call {id} of {service:?}"),
        (None, _) => format!("call {id}"),
    }
}
