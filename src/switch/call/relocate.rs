//! A leg goes to another media worker. Legs hear each other only at one worker, and which one is chosen when a call begins
//! (decisions/0014): calls that began apart and are joined later may live at two. Then the device is offered a port of the
//! other worker; when it has agreed it is heard there, and what waited for that is done. If it does not agree nothing has
//! changed.

use super::room::{Engine, leg_id};
use super::{Calls, LegKey, State, TIMER_FORMER, leg_timer};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::Interaction;
use media::{LegStats, Plan, Port, WorkerId};
use model::{EndReason, Purpose};
use sip::endpoint::Alarm;
use smallvec::SmallVec;
use std::time::Duration;

/// A worker that has not closed a leg by then never will.
const LINGER: Duration = Duration::from_secs(2);

/// Where a leg was before: the engine owes the figures, and the port is ours until then.
#[derive(Debug)]
pub(crate) struct Former {
    pub(super) port: Port,
    alarm: Alarm,
}

impl Calls {
    /// The worker that a leg lives at.
    pub(super) fn worker_of(&self, key: LegKey) -> Option<WorkerId> {
        Some(self.legs.get(key)?.sound.as_ref()?.port.worker)
    }

    /// Legs of a side call that are to meet those of its parent, and live elsewhere.
    pub(super) fn strays(&self, side: Key<Interaction>) -> SmallVec<[LegKey; 2]> {
        let parent = self
            .parent_of(side)
            .and_then(|parent| self.interactions.get(parent)?.call.worker);
        let by = self
            .interactions
            .get(side)
            .and_then(|side| Some(side.side.as_ref()?.by));
        let (Some(worker), Some(by)) = (parent, by) else {
            return SmallVec::new();
        };
        let parties = self.interactions.get(side).into_iter().flat_map(|side| &side.parties);
        let coming = parties.filter(|party| party.id != by);
        let devices = coming.filter_map(|party| self.answering(party));
        devices.filter(|&leg| self.worker_of(leg) != Some(worker)).collect()
    }

    /// Asks the devices of a side call's strays to go where its parent lives. False, and nothing is asked, if one cannot.
    pub(super) fn call_strays(&mut self, cx: &mut Cx<'_>, side: Key<Interaction>) -> bool {
        let worker = self
            .parent_of(side)
            .and_then(|parent| self.interactions.get(parent)?.call.worker);
        let strays = self.strays(side);
        worker.is_some_and(|worker| self.call_all_over(cx, &strays, worker))
    }

    /// Asks devices to go to another worker. False, and nothing is asked, if one cannot be.
    pub(super) fn call_all_over(&mut self, cx: &mut Cx<'_>, legs: &[LegKey], worker: WorkerId) -> bool {
        let are_ready = legs.iter().all(|&leg| self.prepare_to_go(cx, leg, worker));
        // The first that does not ask shows that none can be asked; what others were asked is not taken back.
        let asked = are_ready && legs.iter().all(|&leg| self.offer_again(cx, leg));
        if !asked {
            legs.iter().for_each(|&leg| self.stay(cx, leg));
        }
        asked
    }

    /// Offers a device a port of another worker. False if it cannot be asked now.
    pub(super) fn call_over(&mut self, cx: &mut Cx<'_>, key: LegKey, worker: WorkerId) -> bool {
        self.call_all_over(cx, &[key], worker)
    }

    /// The port of the other worker is there to be offered. False if the device cannot be asked now.
    fn prepare_to_go(&mut self, cx: &mut Cx<'_>, key: LegKey, worker: WorkerId) -> bool {
        let ready = |leg: &super::Leg| leg.is_up() && !leg.session.offer_pending() && !leg.is_moving();
        if !self.legs.get(key).is_some_and(ready) {
            return false;
        }
        let Ok(port) = self.take_port(cx, Some(worker)) else {
            return false;
        };
        // Its picture is not taken along; the devices may agree on one again when they talk to each other alone.
        self.admit_video(cx, key, false);
        let Some(sound) = self.sound_mut(key) else { return false };
        sound.next = Some(port);
        sound.negotiation.move_to(port.number);
        true
    }

    /// A leg that was asked to go elsewhere stays where it is.
    pub(super) fn stay(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let Some(sound) = self.sound_mut(key) else { return };
        let Some(port) = sound.next.take() else { return };
        sound.negotiation.rollback();
        sound.negotiation.move_to(sound.port.number);
        cx.core.media(port.worker, Plan::ReleasePort { port: port.number });
        self.ports.give_back(cx.now.mono, port);
    }

    /// The device has agreed to the other port: the engine forgets the leg where it was. True if it was on its way.
    pub(super) fn come_over(&mut self, cx: &mut Cx<'_>, key: LegKey) -> bool {
        if !self.legs.get(key).is_some_and(super::Leg::is_moving) {
            return false;
        }
        if let Some(place) = self.legs.get(key).map(|leg| leg.place) {
            self.stop_sound(cx, place, key);
            self.forget_seat(place, key);
        }
        self.record_absent(cx, key);
        self.hide(cx, key);
        let Some(leg) = self.legs.get_mut(key) else { return true };
        let Some(sound) = &mut leg.sound else { return true };
        let Some(next) = sound.next.take() else { return true };
        let port = std::mem::replace(&mut sound.port, next);
        let engine = std::mem::replace(&mut sound.engine, Engine::Idle);
        let video = sound.video.take();
        match engine {
            Engine::Open => {
                let at = cx.now.mono + LINGER;
                let alarm = cx.core.endpoint.set_timer(at, leg_timer(key), TIMER_FORMER);
                leg.former.push(Former { port, alarm });
                cx.core.media(port.worker, Plan::CloseLeg { leg: leg_id(key) });
            }
            // It has waited there in vain for others to come, unread.
            Engine::Idle | Engine::Closing(_) => {
                cx.core.media(port.worker, Plan::ReleasePort { port: port.number });
                self.ports.give_back(cx.now.mono, port);
            }
        }
        if let Some(video) = video {
            self.ports.give_back(cx.now.mono, video.port);
        }
        true
    }

    /// A leg has come to the worker it was called to: what waited for it is done.
    pub(super) fn on_came_over(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let Some(call) = self.legs.get(key).map(|leg| leg.interaction) else {
            return;
        };
        if self.is_sent(call) {
            return self.enter_service(cx, call);
        }
        if self.is_removing(call) {
            return self.on_moved(cx, call);
        }
        let Some(parent) = self.parent_of(call) else {
            return self.call_home(cx, key);
        };
        if !self.strays(call).is_empty() {
            return;
        }
        let waiting = self.legs_in(call);
        self.on_side_up(cx, call);
        for leg in waiting.into_iter().filter(|leg| *leg != key) {
            if self.listen(cx, leg) {
                self.plumb(cx, parent);
            }
        }
    }

    /// A device would not go elsewhere: who waits for it hears so, and all stays as it was.
    pub(super) fn on_stayed(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        self.stay(cx, key);
        let Some(call) = self.legs.get(key).map(|leg| leg.interaction) else {
            return;
        };
        match (self.is_sent(call), self.is_removing(call)) {
            (true, _) => self.send_back(cx, call, 488),
            (false, true) => self.give_up_removal(cx, call, 488),
            (false, false) => self.undo_completion(cx, call, 488),
        }
    }

    /// A side call whose completion failed is a consultation again.
    pub(super) fn undo_completion(&mut self, cx: &mut Cx<'_>, side: Key<Interaction>, status: u16) {
        self.outcome(cx, side, status);
        let (parent, home) = (
            self.parent_of(side),
            self.interactions.get(side).and_then(|side| side.call.worker),
        );
        if let Some(served) = self.interactions.get_mut(side).and_then(|side| side.side.as_mut()) {
            served.purpose = Purpose::Consult;
        }
        for leg in self.legs_in(side) {
            let is_away =
                home.is_some() && self.legs.get(leg).is_some_and(super::Leg::is_up) && self.worker_of(leg) != home;
            if let (true, Some(home)) = (is_away, home) {
                self.call_over(cx, leg, home);
            }
        }
        let reason = EndReason::Normal;
        let headers = super::ending::reason_header(reason);
        for call in [Some(side), parent].into_iter().flatten() {
            // Who asked for it may have gone meanwhile.
            if matches!(self.state(call), Some(State::Bridged(_))) && !self.goes_on(cx, call) {
                self.end(cx, call, model::EndedBy::Other, reason, &headers);
            }
        }
    }

    /// A device of this call is on its way to another worker.
    pub(super) fn is_moving(&self, call: Key<Interaction>) -> bool {
        let mut legs = self.legs_in(call).into_iter();
        legs.any(|leg| self.legs.get(leg).is_some_and(super::Leg::is_moving))
    }

    /// The engine has closed a leg at a port that it has left. True if it was one.
    pub(super) fn on_former_closed(&mut self, cx: &mut Cx<'_>, key: LegKey, port: u16, stats: &LegStats) -> bool {
        let Some(leg) = self.legs.get_mut(key) else {
            return false;
        };
        let Some(at) = leg.former.iter().position(|former| former.port.number == port) else {
            return false;
        };
        let former = leg.former.remove(at);
        let earlier = leg.earlier.take().unwrap_or_default();
        leg.earlier = Some(Box::new(stats.clone().after(&earlier)));
        cx.core.endpoint.cancel_timer(former.alarm);
        self.ports.give_back(cx.now.mono, former.port);
        true
    }

    /// Ports that a leg has left are given back, whatever the engine still has to say of them.
    pub(super) fn drop_former(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let former = self.legs.get_mut(key).map(|leg| std::mem::take(&mut leg.former));
        for former in former.into_iter().flatten() {
            cx.core.endpoint.cancel_timer(former.alarm);
            self.ports.give_back(cx.now.mono, former.port);
        }
    }
}
