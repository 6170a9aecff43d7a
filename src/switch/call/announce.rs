//! What those who watch are told of calls and interactions: the difference between what was shown and what is shown now,
//! taken when a step is done. So whatever changes a call need not know that it is watched.

use super::{Calls, LegKey, State};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::Interaction;
use model::{Aor, CallView, Event, InteractionView};
use std::collections::BTreeMap;

/// What was told last of each call that is not over, by its packed key. As many as there are calls.
pub(super) type Told = BTreeMap<u64, Shown>;

/// The two sides of what is told: the legs of a call, and the people in it.
#[derive(Debug)]
pub(super) struct Shown {
    call: CallView,
    interaction: InteractionView,
}

impl Calls {
    /// All calls that are not over, or those of one user, the oldest first. From now on changes are told.
    pub(crate) fn watched(&mut self, user: Option<&Aor>) -> Vec<CallView> {
        if self.told.is_none() {
            self.interactions.watch();
            self.legs.watch();
            let going_on = self.interactions.iter().filter(|(_, call)| !is_over(call));
            let shown = going_on.filter_map(|(key, _)| Some((key.pack(), self.shown_now(key)?)));
            self.told = Some(shown.collect());
        }
        let told = self.told.iter().flat_map(Told::values).map(|shown| &shown.call);
        let meant = told.filter(|view| user.is_none_or(|user| view.includes(user)));
        let mut views: Vec<CallView> = meant.cloned().collect();
        views.sort_by_key(|view| (view.started_at, view.id));
        views
    }

    /// The same as interactions; after [`Calls::watched`].
    pub(crate) fn watched_interactions(&self, user: Option<&Aor>) -> Vec<InteractionView> {
        let told = self.told.iter().flat_map(Told::values).map(|shown| &shown.interaction);
        let meant = told.filter(|view| user.is_none_or(|user| view.includes(user)));
        let mut views: Vec<InteractionView> = meant.cloned().collect();
        views.sort_by_key(|view| (view.started_at, view.id));
        views
    }

    /// Tells what the step that is done has changed.
    pub(crate) fn announce(&mut self, cx: &mut Cx<'_>) {
        let Some(mut told) = self.told.take() else { return };
        for key in self.touched() {
            let goes_on = self.interactions.get(key).is_some_and(|call| !is_over(call));
            let (before, now) = (told.remove(&key.pack()), self.shown_now(key));
            for event in differences(before, now.as_ref(), goes_on).into_iter().flatten() {
                cx.core.announce(|| event);
            }
            if let Some(shown) = now.filter(|_| goes_on) {
                told.insert(key.pack(), shown);
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

    fn shown_now(&self, key: Key<Interaction>) -> Option<Shown> {
        Some(Shown {
            call: self.view(self.interactions.get(key)?),
            interaction: self.interaction_view(key)?,
        })
    }

    /// What may look different now: what was touched, and what it is a side of.
    fn touched(&mut self) -> Vec<Key<Interaction>> {
        let mut calls = self.interactions.take_touched();
        let legs = self.legs.take_touched().into_iter();
        calls.extend(legs.filter_map(|leg| Some(self.legs.get(leg)?.interaction)));
        let sides = calls
            .iter()
            .filter_map(|&key| self.interactions.get(key)?.side.as_ref());
        let parents: Vec<_> = sides.map(|side| side.parent).collect();
        calls.extend(parents);
        calls.sort_unstable_by_key(|key| key.pack());
        calls.dedup();
        calls
    }
}

fn is_over(call: &Interaction) -> bool {
    matches!(call.call.state, State::Over)
}

/// What is to be told of a call that was shown as `before` and looks like `now`: of its legs, and of the people in it.
fn differences(before: Option<Shown>, now: Option<&Shown>, goes_on: bool) -> [Option<Event>; 2] {
    let (call_before, interaction_before) = before.map(|shown| (shown.call, shown.interaction)).unzip();
    let (call, interaction) = now.map(|shown| (&shown.call, &shown.interaction)).unzip();
    [
        of_call(call_before, call, goes_on),
        of_interaction(interaction_before, interaction, goes_on),
    ]
}

fn of_call(before: Option<CallView>, now: Option<&CallView>, goes_on: bool) -> Option<Event> {
    let users = |view: &CallView| view.legs.iter().filter_map(|leg| leg.user.clone()).collect::<Vec<_>>();
    match (before, now.cloned()) {
        (None, Some(call)) if goes_on => Some(Event::CallStarted { call }),
        (Some(before), Some(call)) if goes_on => {
            let left = left(users(&before), |user| call.includes(user));
            (before != call).then_some(Event::CallChanged { call, left })
        }
        (Some(before), now) => {
            let users = users(&before);
            let call = now.unwrap_or(before);
            let left = left(users, |user| call.includes(user));
            Some(Event::CallEnded { call, left })
        }
        (None, _) => None,
    }
}

fn of_interaction(before: Option<InteractionView>, now: Option<&InteractionView>, goes_on: bool) -> Option<Event> {
    let users = |view: &InteractionView| view.parties.iter().filter_map(|p| p.user.clone()).collect::<Vec<_>>();
    match (before, now.cloned()) {
        (None, Some(interaction)) if goes_on => Some(Event::InteractionStarted { interaction }),
        (Some(before), Some(interaction)) if goes_on => {
            let left = left(users(&before), |user| interaction.includes(user));
            (before != interaction).then_some(Event::InteractionChanged { interaction, left })
        }
        (Some(before), now) => {
            let users = users(&before);
            let interaction = now.unwrap_or(before);
            let left = left(users, |user| interaction.includes(user));
            Some(Event::InteractionEnded { interaction, left })
        }
        (None, _) => None,
    }
}

/// Those who were in it and are not.
fn left(mut users: Vec<Aor>, is_in_it: impl Fn(&Aor) -> bool) -> Vec<Aor> {
    users.retain(|user| !is_in_it(user));
    users.sort();
    users.dedup();
    users
}
