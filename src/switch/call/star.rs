//! Star codes: what a user switches by dialling, answered with two beeps.

use super::setup::Asked;
use super::{Calls, Failure, State};
use crate::agent::Agents;
use crate::arena::Key;
use crate::config::stars::StarCode;
use crate::core::{Core, Cx};
use crate::interaction::Interaction;
use crate::route::{self, Dialler, Target};
use crate::users::UserIndex;
use media::sdp::SessionDescription;
use media::tone::Tone;
use model::{EndReason, EndedBy, UserSettings};
use sip::{Name, Reply};
use smallvec::SmallVec;

impl Calls {
    /// The caller dialled a star code.
    pub(super) fn dial_star(
        &mut self,
        cx: &mut Cx<'_>,
        key: Key<Interaction>,
        asked: &Asked,
        offer: Option<&SessionDescription>,
    ) -> Result<(), Failure> {
        let dialled = self
            .interactions
            .get(key)
            .map(|call| call.dialled.clone())
            .unwrap_or_default();
        let (code, number) = cx.core.config.stars.dialled(&dialled).ok_or_else(|| Failure::of(404))?;
        let Some(caller) = self.caller_of(key) else {
            return Ok(());
        };
        let user = asked.caller.user().ok_or_else(|| Failure::of(404))?;
        switch(cx, user, code, number)?;
        self.seat_caller(cx, key, (caller, None), asked.flow, offer)?;
        self.serve(cx, caller, Target::Done, offer.is_some())
    }

    /// The beeps are over: there is no more to hear.
    pub(super) fn on_beeped(&mut self, cx: &mut Cx<'_>, key: Key<Interaction>) {
        if matches!(self.state(key), Some(State::Service(Target::Done))) {
            let headers = super::ending::reason_header(EndReason::Normal);
            self.end(cx, key, EndedBy::Switch, EndReason::Normal, &headers);
        }
    }
}

/// Two short beeps: it is done.
pub(super) fn done() -> Tone {
    Tone {
        cadence_ms: SmallVec::from_slice(&[120, 120]),
        repeat: Some(2),
        ..Tone::steady(800.0, -16.0)
    }
}

/// Sets what the code says.
fn switch(cx: &mut Cx<'_>, user: UserIndex, code: StarCode, number: &str) -> Result<(), Failure> {
    let aor = cx.core.users[user].aor.clone();
    let target = match code.takes_number() {
        true => Some(forward_target(cx.core, user, number)?),
        false => None,
    };
    let change: fn(&mut UserSettings, Option<Box<str>>) = match code {
        StarCode::DoNotDisturbOn => |s, _| s.do_not_disturb = true,
        StarCode::DoNotDisturbOff => |s, _| s.do_not_disturb = false,
        StarCode::ForwardAlwaysOn | StarCode::ForwardAlwaysOff => |s, to| s.forward_always = to,
        StarCode::ForwardBusyOn | StarCode::ForwardBusyOff => |s, to| s.forward_busy = to,
        StarCode::ForwardNoAnswerOn | StarCode::ForwardNoAnswerOff => |s, to| s.forward_no_answer = to,
        StarCode::CallWaitingOn => |s, _| s.call_waiting = Some(true),
        StarCode::CallWaitingOff => |s, _| s.call_waiting = Some(false),
        StarCode::AgentLogin | StarCode::AgentLogout | StarCode::AgentReady | StarCode::AgentNotReady => {
            return Agents::dial(cx, &aor, code).map_err(|_| Failure::of(403));
        }
    };
    cx.core.set(&aor, |settings| change(settings, target));
    Ok(())
}

/// Forwards go to other users of ours, and to numbers outside that the forwarder may dial: whoever calls him calls there at
/// his expense (S7).
fn forward_target(core: &Core, user: UserIndex, number: &str) -> Result<Box<str>, Failure> {
    if number.is_empty() {
        return Err(Failure::of(484));
    }
    match route::target_for(core, Dialler::User(user), number) {
        Target::User(target) if target != user => Ok(number.into()),
        Target::Trunk(_) => Ok(number.into()),
        Target::Nobody(404) => Err(Failure::of(404)),
        _ => {
            let why = "399 tandem \"calls can be forwarded to others whom you may call\"";
            let reply = Reply::new(403).header(Name::Warning, why);
            Err(Failure::new(reply, EndReason::Declined))
        }
    }
}
