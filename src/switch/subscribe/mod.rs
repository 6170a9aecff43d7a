//! Subscriptions (RFC 6665): who watches what, and when they are told. What can be watched, by whom, and how it is
//! written, is one file a package: [`package`] lists them. To add one, name it there and write its file.
//!
//! Whatever changes something that may be watched says so with [`crate::core::Core::touch`], as often as it likes; when
//! the step is done [`Subscriptions::on_changed`] tells the watchers, each at most once in the configured interval.

mod conference;
mod dialog;
mod keep;
mod mailbox;
mod package;
mod presence;
mod registration;
mod table;
#[cfg(test)]
mod tests;
mod xml;

pub(crate) use package::{ALLOW_EVENTS, States, Watched, states};

use crate::core::Cx;
use crate::room::Room;
use crate::sips;
use crate::users::UserIndex;
use clock::Mono;
use model::{Aor, StoreOp};
use package::{Package, Told};
use sip::endpoint::{Alarm, Event};
use sip::event::{Event as Said, Grant, Notifier};
use sip::invite::Match;
use sip::{Flow, Message, Name, Owner, Reply};
use table::Table;

/// Kind of the timer that ends the rest between two NOTIFYs; the notifier's own timers have 0.
const TIMER_PACE: u32 = 1;

/// All subscriptions of the switch.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    table: Table,
}

/// One device that watches one thing.
#[derive(Debug)]
struct Subscription {
    /// Whose device.
    user: Aor,
    watched: Watched,
    notifier: Notifier,
    /// What it has been told.
    told: Told,
    /// No NOTIFY before.
    rests_until: Mono,
    /// While it rests and has news to come.
    alarm: Option<Alarm>,
}

/// Whether what a SUBSCRIBE asks for is what the switch knows itself.
#[must_use]
pub(crate) fn serves(request: &Message) -> bool {
    let event = request.header(Name::Event);
    let event = event.and_then(|event| sip::header::Event::parse(event).ok());
    event.is_some_and(|event| Package::named(event.package()).is_some())
}

impl Subscriptions {
    /// No subscription.
    #[must_use]
    pub(crate) fn new(core: &crate::core::Core) -> Subscriptions {
        Subscriptions {
            table: Table::new(core.hasher.clone()),
        }
    }

    /// A SUBSCRIBE from outside of any dialog whose sender is known.
    pub(crate) fn handle_subscribe(
        &mut self,
        cx: &mut Cx<'_>,
        states: &States<'_>,
        user: UserIndex,
        flow: Flow,
        request: &Message,
    ) {
        let (package, watched) = match self.admit(cx, states, user, request) {
            Ok(admitted) => admitted,
            Err(refusal) => return cx.core.answer(cx.now, flow, request, &refusal),
        };
        let aor = cx.core.users[user].aor.clone();
        self.make_room(cx, &aor);
        let number = self.table.next_number();
        let mut told = Told::default();
        let mut contact = cx.core.contact(&watched.address(), flow.transport, flow.local);
        if sips::is_due(flow, request) {
            contact = sips::raised(&contact);
        }
        let grant = Grant {
            contact,
            lifetimes: package.lifetimes(),
            state: watched.state(cx, states, &aor, &mut told, true),
        };
        let (core, owner) = (&mut *cx.core, Room::Subscription.owner(number));
        let (endpoint, effects) = (&mut core.endpoint, &mut core.effects);
        let Some(mut notifier) = Notifier::accept(cx.now.mono, owner, flow, request, grant, endpoint, effects) else {
            return;
        };
        if package.is_numbered() {
            notifier.forget_state();
        }
        let rests_until = cx.now.mono + cx.core.config.subscriptions.notify_interval;
        let subscription = Subscription {
            user: aor,
            watched,
            notifier,
            told,
            rests_until,
            alarm: None,
        };
        self.table.insert(number, subscription);
        self.keep(cx, number);
    }

    /// What is to be watched, if that is allowed.
    fn admit(
        &self,
        cx: &mut Cx<'_>,
        states: &States<'_>,
        user: UserIndex,
        request: &Message,
    ) -> Result<(Package, Watched), Reply> {
        let event = request.header(Name::Event);
        let event = event.and_then(|event| sip::header::Event::parse(event).ok());
        let package = event
            .and_then(|event| Package::named(event.package()))
            .ok_or_else(|| Reply::new(489).header(Name::AllowEvents, ALLOW_EVENTS))?;
        let dialled = cx.core.dialled(request);
        let watched = package.admit(cx.core, states, user, dialled.as_deref())?;
        if !accepts(request, package.media_type()) {
            return Err(Reply::new(406).header(Name::Accept, package.media_type()));
        }
        if self.table.len() >= cx.core.config.limits.max_subscriptions {
            return Err(cx.core.overloaded());
        }
        Ok((package, watched))
    }

    /// The oldest of a user who has very many goes.
    fn make_room(&mut self, cx: &mut Cx<'_>, user: &Aor) {
        let per_user = cx.core.config.subscriptions.per_user;
        let Some(number) = self.table.oldest_beyond(user, per_user) else {
            return;
        };
        self.end(cx, number, "deactivated");
    }

    /// The watcher is told that it ends, and why (RFC 6665 section 4.1.3).
    fn end(&mut self, cx: &mut Cx<'_>, number: u64, reason: &str) {
        let Some(mut one) = self.table.remove(number) else {
            return;
        };
        let core = &mut *cx.core;
        core.store(StoreOp::DeleteSubscription(one.notifier.tag().0));
        let (endpoint, effects) = (&mut core.endpoint, &mut core.effects);
        one.notifier.terminate(cx.now.mono, reason, endpoint, effects);
        if let Some(alarm) = one.alarm {
            core.endpoint.cancel_timer(alarm);
        }
    }

    /// Whose a request inside a dialog of this number is.
    pub(crate) fn matches(&self, number: u64, flow: Flow, message: &Message) -> Match {
        self.table
            .get(number)
            .map_or(Match::No, |one| one.notifier.matches(flow, message))
    }

    /// Whether this subscription is that user's.
    pub(crate) fn is_of(&self, number: u64, user: &Aor) -> bool {
        self.table.get(number).is_some_and(|one| one.user == *user)
    }

    /// An event of the transaction layer.
    pub(crate) fn handle_event(&mut self, cx: &mut Cx<'_>, states: &States<'_>, number: u64, event: Event) {
        let Some(one) = self.table.get_mut(number) else { return };
        if matches!(event, Event::Timer { kind: TIMER_PACE, .. }) {
            one.alarm = None;
            return self.tell(cx, states, number, false);
        }
        let core = &mut *cx.core;
        one.notifier
            .handle_event(cx.now.mono, event, &mut core.endpoint, &mut core.effects);
    }

    /// What a subscription says.
    pub(crate) fn handle_said(&mut self, cx: &mut Cx<'_>, states: &States<'_>, owner: Owner, said: Said) {
        let Some((_, number)) = Room::of(owner) else { return };
        cx.core.midst_of("notify");
        match said {
            Said::Refreshed { .. } => self.on_refreshed(cx, states, number),
            Said::Told => self.tell(cx, states, number, false),
            Said::Ended(_) => self.forget(cx, number),
            Said::Notified { .. } => {}
        }
    }

    /// A refresh is answered with the whole state at once (RFC 6665 section 4.2.1.2), unless a NOTIFY is under way.
    fn on_refreshed(&mut self, cx: &mut Cx<'_>, states: &States<'_>, number: u64) {
        let Some(one) = self.table.get_mut(number) else { return };
        one.rests_until = cx.now.mono;
        self.tell(cx, states, number, true);
        self.keep(cx, number);
    }

    /// These things may have changed.
    pub(crate) fn on_changed(&mut self, cx: &mut Cx<'_>, states: &States<'_>, changed: impl Iterator<Item = Watched>) {
        for watched in changed {
            for number in self.table.watchers(&watched) {
                self.tell(cx, states, number, false);
            }
            // Whoever comes or goes is present in another way.
            if let Watched::Presence(aor) = watched {
                for number in self.table.watchers(&Watched::Registration(aor)) {
                    self.tell(cx, states, number, false);
                }
            }
        }
    }

    /// Tells a watcher what it does not know: now, when its rest is over, or when it has answered the NOTIFY before.
    fn tell(&mut self, cx: &mut Cx<'_>, states: &States<'_>, number: u64, whole: bool) {
        let Some(one) = self.table.get_mut(number) else { return };
        one.told.owes_whole |= whole;
        if one.watched.is_over(cx.core, states, &one.user) {
            return self.end(cx, number, "noresource");
        }
        if one.alarm.is_some() || one.notifier.is_busy() {
            return;
        }
        if cx.now.mono < one.rests_until {
            if one.watched.has_news(cx, states, &one.told) {
                let owner = Room::Subscription.owner(number);
                one.alarm = Some(cx.core.endpoint.set_timer(one.rests_until, owner, TIMER_PACE));
            }
            return;
        }
        let whole = std::mem::take(&mut one.told.owes_whole);
        let Some(state) = one.watched.state(cx, states, &one.user, &mut one.told, whole) else {
            return;
        };
        one.rests_until = cx.now.mono + cx.core.config.subscriptions.notify_interval;
        let core = &mut *cx.core;
        one.notifier
            .notify(cx.now.mono, Some(state), &mut core.endpoint, &mut core.effects);
        if one.watched.package().is_numbered() {
            one.notifier.forget_state();
        }
    }

    /// A panic was caught while an event of this subscription was handled.
    pub(crate) fn recover(&mut self, cx: &mut Cx<'_>, number: u64) {
        self.forget(cx, number);
    }

    /// Subscriptions in force.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Checks that all tables agree.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub(crate) fn audit(&self) -> Result<(), String> {
        self.table.audit()
    }

    fn forget(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(one) = self.table.remove(number) else { return };
        cx.core.store(StoreOp::DeleteSubscription(one.notifier.tag().0));
        if let Some(alarm) = one.alarm {
            cx.core.endpoint.cancel_timer(alarm);
        }
    }
}

/// Without Accept the package's own type is meant (RFC 6665 section 5.4.5).
fn accepts(request: &Message, media_type: &str) -> bool {
    let mut values = request.values(Name::Accept).peekable();
    let takes = |value: &[u8]| {
        let accepted = value.split(|byte| *byte == b';').next();
        let accepted = accepted.unwrap_or_default().trim_ascii();
        [media_type, "application/*", "*/*"]
            .iter()
            .any(|known| accepted.eq_ignore_ascii_case(known.as_bytes()))
    };
    values.peek().is_none() || values.any(takes)
}
