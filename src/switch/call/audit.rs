//! The invariants of calls: every leg belongs to a call and every call has legs, every port to a leg, and no count is off.

use super::{Calls, LegKey, Stage, State};
use crate::interaction::Interaction;

impl Calls {
    /// Checks the invariants of legs, calls and ports.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub(crate) fn audit(&self) -> Result<(), String> {
        self.interactions
            .iter()
            .try_for_each(|(_, call)| self.audit_call(call))?;
        self.legs.iter().try_for_each(|(key, _)| self.audit_leg(key))?;
        self.audit_conferences()?;
        let over = |call: &Interaction| matches!(call.call.state, State::Over);
        let active = self.interactions.iter().filter(|(_, call)| !over(call)).count();
        if active != self.active {
            return Err(format!("{active} calls are active, {} were counted", self.active));
        }
        let ports = self.legs.iter().filter(|(_, leg)| leg.sound.is_some()).count();
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
        match (&call.call.state, living) {
            (State::Over, 0) | (State::Routing | State::Service(_), 1) | (State::Bridged(_), 1..) => {}
            (State::Ringing(_), 1..) => {}
            (state, living) => return Err(format!("call {} has {living} legs in {state:?}", call.id)),
        }
        match call.legs().next() {
            Some(_) => Ok(()),
            None => Err(format!("call {} has no legs and is not forgotten", call.id)),
        }
    }

    fn audit_leg(&self, key: LegKey) -> Result<(), String> {
        let Some(leg) = self.legs.get(key) else { return Ok(()) };
        let call = self.interactions.get(leg.interaction);
        if call.is_none_or(|call| call.party_of(key).is_none()) {
            return Err(format!("leg {} belongs to no call", leg.id));
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
