//! What those who watch are told of calls: the difference between what was shown of a call and what is shown now, taken when
//! a step is done. So whatever changes a call need not know that it is watched.

use super::{Calls, LegKey, State};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::Interaction;
use model::{Aor, CallView, Event};
use std::collections::BTreeMap;

/// The last view told of each call that is not over, by its packed key. As many as there are calls.
pub(super) type Told = BTreeMap<u64, CallView>;

impl Calls {
    /// All calls that are not over, or those of one user, the oldest first. From now on changes are told.
    pub(crate) fn watched(&mut self, user: Option<&Aor>) -> Vec<CallView> {
        if self.told.is_none() {
            self.interactions.watch();
            self.legs.watch();
            let going_on = self.interactions.iter().filter(|(_, call)| !is_over(call));
            self.told = Some(going_on.map(|(key, call)| (key.pack(), self.view(call))).collect());
        }
        let told = self.told.iter().flat_map(Told::values);
        let mut views: Vec<CallView> = told
            .filter(|view| user.is_none_or(|user| view.includes(user)))
            .cloned()
            .collect();
        views.sort_by_key(|view| (view.started_at, view.id));
        views
    }

    /// Tells what the step that is done has changed.
    pub(crate) fn announce(&mut self, cx: &mut Cx<'_>) {
        let Some(mut told) = self.told.take() else { return };
        for key in self.touched() {
            let call = self.interactions.get(key);
            let goes_on = call.is_some_and(|call| !is_over(call));
            let (before, now) = (told.remove(&key.pack()), call.map(|call| self.view(call)));
            if let Some(event) = difference(before.as_ref(), now.clone(), goes_on) {
                cx.core.announce(|| event);
            }
            if let Some(view) = now.filter(|_| goes_on) {
                told.insert(key.pack(), view);
            }
        }
        self.told = Some(told);
    }

    /// Somebody began or ceased to speak.
    pub(super) fn announce_talking(&self, cx: &mut Cx<'_>, leg: LegKey, talking: bool) {
        let Some(leg) = self.legs.get(leg) else { return };
        let Some(call) = self.interactions.get(leg.interaction) else {
            return;
        };
        cx.core.announce(|| Event::Talking {
            call: call.id,
            leg: leg.id,
            user: leg.user.clone(),
            talking,
        });
    }

    fn touched(&mut self) -> Vec<Key<Interaction>> {
        let mut calls = self.interactions.take_touched();
        let legs = self.legs.take_touched();
        calls.extend(legs.into_iter().filter_map(|leg| Some(self.legs.get(leg)?.interaction)));
        calls.sort_unstable_by_key(|key| key.pack());
        calls.dedup();
        calls
    }
}

fn is_over(call: &Interaction) -> bool {
    matches!(call.call.state, State::Over)
}

/// What is to be told of a call that was shown as `before` and looks like `now`.
fn difference(before: Option<&CallView>, now: Option<CallView>, goes_on: bool) -> Option<Event> {
    match (before, now) {
        (None, Some(call)) if goes_on => Some(Event::CallStarted { call }),
        (Some(before), Some(call)) if goes_on => {
            let left = left(before, &call);
            (*before != call).then_some(Event::CallChanged { call, left })
        }
        (Some(before), now) => {
            let call = now.unwrap_or_else(|| before.clone());
            let left = left(before, &call);
            Some(Event::CallEnded { call, left })
        }
        (None, _) => None,
    }
}

/// Users who were in it and are not.
fn left(before: &CallView, now: &CallView) -> Vec<Aor> {
    let users = before.legs.iter().filter_map(|leg| leg.user.clone());
    let mut left: Vec<Aor> = users.filter(|user| !now.includes(user)).collect();
    left.sort();
    left.dedup();
    left
}
