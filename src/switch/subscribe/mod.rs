//! Subscriptions (RFC 6665): who watches what, and when they are told. What can be watched, by whom, and how it is
//! written, is one file a package: [`package`] lists them. To add one, name it there and write its file.
//!
//! Whatever changes something that may be watched says so with [`crate::core::Core::touch`], as often as it likes; when
//! the step is done [`Subscriptions::on_changed`] tells the watchers, each at most once in the configured interval. Where very
//! many watch one thing the others of the switch are not made to wait: [`AT_ONCE`].

mod conference;
mod dialog;
mod keep;
mod list;
mod mailbox;
mod package;
mod presence;
mod registration;
mod table;
#[cfg(test)]
mod tests;
mod xml;

pub use list::CONTACTS;
pub(crate) use list::OPTION as EVENTLIST;
pub(crate) use package::{ALLOW_EVENTS, Package, States, Watched, states};

use crate::core::Cx;
use crate::room::Room;
use crate::sips;
use crate::users::UserIndex;
use clock::Mono;
use model::{Aor, StoreOp};
use package::Told;
use sip::endpoint::{Alarm, Event};
use sip::event::{Event as Said, Grant, Notifier};
use sip::invite::Match;
use sip::{Flow, Message, Name, Owner, Reply};
use std::collections::VecDeque;
use std::time::Duration;
use table::Table;

/// Kind of the timer that ends the rest between two NOTIFYs; the notifier's own timers have 0.
const TIMER_PACE: u32 = 1;
/// Kind of the timer after which the next of those who wait are told; its number is nobody's.
const TIMER_NEXT: u32 = 2;

/// Watchers told in one go. To look at one and write a NOTIFY takes some 15 us, so this is the millisecond that nothing in the
/// switch is to exceed, and a thousand watchers of one thing are told within 16 ms.
const AT_ONCE: usize = 64;
/// Time for others between that and the next ones: the least there is, since what is due now is done now.
const BREATH: Duration = Duration::from_millis(1);

/// How long a device is to leave a subscription alone that had to make room for a newer one of its user. Devices that
/// took it up again at once (as after `deactivated`) would push each other out for ever.
const MAKES_ROOM: &str = "probation;retry-after=120";

/// All subscriptions of the switch.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    table: Table,
    /// Who is to be looked at, each once: as many as there are subscriptions.
    waiting: VecDeque<u64>,
    /// Until the next of them.
    breath: Option<Alarm>,
}

/// One device that watches one thing.
#[derive(Debug)]
struct Subscription {
    /// Whose device.
    user: Aor,
    /// What was dialled; of nothing, what that means. A room need not be called so.
    address: Box<str>,
    watched: Watched,
    notifier: Notifier,
    /// What it has been told.
    told: Told,
    /// No NOTIFY before.
    rests_until: Mono,
    /// While it rests and has news to come.
    alarm: Option<Alarm>,
    /// Is among those who wait.
    waits: bool,
    /// Users, groups or rights may be others since: whether it may go on is looked at when its turn comes.
    is_doubted: bool,
}

impl Subscription {
    /// What it watches, and each on it if that is a list.
    fn all_watched(&self) -> impl Iterator<Item = &Watched> {
        let listed = self.told.list.as_ref().into_iter().flat_map(|list| list.watched());
        std::iter::once(&self.watched).chain(listed)
    }
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
            waiting: VecDeque::new(),
            breath: None,
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
        let (address, watched) = match self.admit(cx, states, user, request) {
            Ok(admitted) => admitted,
            Err(refusal) => return cx.core.answer(cx.now, flow, request, &refusal),
        };
        let aor = cx.core.users[user].aor.clone();
        let number = self.table.next_number();
        let mut told = Told::of(cx.core, states, user, &watched);
        let mut contact = cx.core.contact(&watched.address(), flow.transport, flow.local);
        if sips::is_due(flow, request) {
            contact = sips::raised(&contact);
        }
        let grant = Grant {
            contact,
            lifetimes: watched.package().lifetimes(),
            state: watched.state(cx, states, &aor, &mut told, true),
            requires: watched.requires(),
        };
        let (core, owner) = (&mut *cx.core, Room::Subscription.owner(number));
        let (endpoint, effects) = (&mut core.endpoint, &mut core.effects);
        let Some(mut notifier) = Notifier::accept(cx.now.mono, owner, flow, request, grant, endpoint, effects) else {
            return;
        };
        core.tally.notifies += 1;
        if watched.is_numbered() {
            notifier.forget_state();
        }
        let rests_until = cx.now.mono + rest(cx.core, &told);
        let subscription = Subscription {
            user: aor.clone(),
            address,
            watched,
            notifier,
            told,
            rests_until,
            alarm: None,
            waits: false,
            is_doubted: false,
        };
        self.table.insert(number, subscription);
        // A fetch is over when this step is.
        if request.expires() != Some(0) {
            self.keep(cx, number);
            self.make_room(cx, &aor);
        }
    }

    /// What is to be watched, if that is allowed.
    fn admit(
        &self,
        cx: &mut Cx<'_>,
        states: &States<'_>,
        user: UserIndex,
        request: &Message,
    ) -> Result<(Box<str>, Watched), Reply> {
        let event = request.header(Name::Event);
        let event = event.and_then(|event| sip::header::Event::parse(event).ok());
        let package = event
            .and_then(|event| Package::named(event.package()))
            .ok_or_else(|| Reply::new(489).header(Name::AllowEvents, ALLOW_EVENTS))?;
        // RFC 3261 section 8.1.1.8: where NOTIFYs are sent.
        let contact = request.address(Name::Contact);
        if !contact.is_ok_and(|contact| contact.uri().is_ok_and(|uri| uri.is_sip())) {
            return Err(Reply::new(400).reason("Contact Is No SIP URI"));
        }
        let dialled = cx.core.dialled(request);
        let watched = package.admit(cx.core, states, user, (dialled.as_deref(), list::is_taken(request)))?;
        let wanted = match watched.is_list() {
            true => list::MEDIA_TYPE,
            false => package.media_type(),
        };
        if !accepts(request, wanted) {
            return Err(Reply::new(406).header(Name::Accept, wanted));
        }
        if self.table.len() >= cx.core.config.limits.max_subscriptions {
            return Err(cx.core.overloaded());
        }
        let address = dialled.unwrap_or_else(|| watched.address());
        Ok((address.into(), watched))
    }

    /// The oldest of a user who has very many goes.
    fn make_room(&mut self, cx: &mut Cx<'_>, user: &Aor) {
        let per_user = cx.core.config.subscriptions.per_user;
        if let Some(number) = self.table.oldest_beyond(user, per_user) {
            self.end(cx, number, MAKES_ROOM);
        }
    }

    /// The watcher is told that it ends, and why (RFC 6665 section 4.1.3).
    fn end(&mut self, cx: &mut Cx<'_>, number: u64, reason: &str) {
        let Some(mut one) = self.table.remove(number) else {
            return;
        };
        let core = &mut *cx.core;
        core.tally.notifies += 1;
        core.tally.subscriptions_ended += 1;
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
        if matches!(event, Event::Timer { kind: TIMER_NEXT, .. }) {
            self.breath = None;
            return self.tell_waiting(cx, states);
        }
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

    /// A refresh is answered with the whole state at once (RFC 6665 section 4.2.1.2), unless a NOTIFY is under way; and with
    /// the end, if this may no longer be watched.
    fn on_refreshed(&mut self, cx: &mut Cx<'_>, states: &States<'_>, number: u64) {
        if let Err(reason) = self.renew(cx, states, number) {
            return self.end(cx, number, reason);
        }
        let Some(one) = self.table.get_mut(number) else { return };
        one.rests_until = cx.now.mono;
        self.tell(cx, states, number, true);
        self.keep(cx, number);
    }

    /// These things may have changed.
    pub(crate) fn on_changed(&mut self, cx: &mut Cx<'_>, states: &States<'_>, changed: impl Iterator<Item = Watched>) {
        for watched in changed {
            // Whoever comes or goes is present in another way.
            let registration = match &watched {
                Watched::Presence(aor) => Some(Watched::Registration(aor.clone())),
                _ => None,
            };
            for watched in std::iter::once(watched).chain(registration) {
                for number in self.table.watchers(&watched).collect::<Vec<_>>() {
                    self.put_in_line(number);
                }
            }
        }
        self.tell_waiting(cx, states);
    }

    /// Users, groups and rights may be others: each is looked at again, when what follows from that is known.
    pub(crate) fn on_reload(&mut self, cx: &mut Cx<'_>) {
        for number in self.table.numbers() {
            if let Some(one) = self.table.get_mut(number) {
                one.is_doubted = true;
            }
            self.put_in_line(number);
        }
        self.take_breath(cx);
    }

    fn put_in_line(&mut self, number: u64) {
        let one = self.table.get_mut(number).filter(|one| !one.waits);
        if let Some(one) = one {
            one.waits = true;
            self.waiting.push_back(number);
        }
    }

    /// Looks at the first of those who wait, unless that was just done.
    fn tell_waiting(&mut self, cx: &mut Cx<'_>, states: &States<'_>) {
        if self.breath.is_some() {
            return;
        }
        for _ in 0..AT_ONCE {
            let Some(number) = self.waiting.pop_front() else { return };
            let Some(one) = self.table.get_mut(number) else {
                continue;
            };
            one.waits = false;
            cx.core.working = Some(Room::Subscription.owner(number));
            match std::mem::take(&mut one.is_doubted) {
                true => self.look_again(cx, states, number),
                false => self.tell(cx, states, number, false),
            }
        }
        self.take_breath(cx);
    }

    fn take_breath(&mut self, cx: &mut Cx<'_>) {
        if self.breath.is_none() && !self.waiting.is_empty() {
            let owner = Room::Subscription.owner(0);
            self.breath = Some(cx.core.endpoint.set_timer(cx.now.mono + BREATH, owner, TIMER_NEXT));
        }
    }

    fn look_again(&mut self, cx: &mut Cx<'_>, states: &States<'_>, number: u64) {
        match self.renew(cx, states, number) {
            Ok(()) => self.tell(cx, states, number, false),
            Err(reason) => self.end(cx, number, reason),
        }
    }

    /// What is watched may still be watched by this user; and a list has those on it who are on it now.
    ///
    /// # Errors
    /// Why not, as RFC 6665 section 4.1.3 calls it.
    fn renew(&mut self, cx: &mut Cx<'_>, states: &States<'_>, number: u64) -> Result<(), &'static str> {
        let Some(one) = self.table.get(number) else {
            return Ok(());
        };
        let user = cx.core.users.find(one.user.user()).ok_or("rejected")?;
        let (package, is_list) = (one.watched.package(), one.watched.is_list());
        let watched = package.admit(cx.core, states, user, (Some(&one.address), is_list));
        match watched {
            Err(refusal) if refusal.status == 404 => Err("noresource"),
            Ok(watched) if watched == one.watched => {
                self.renew_list(cx, states, (number, user));
                Ok(())
            }
            // What was a list is none any more, or a user has become a group.
            Ok(_) => Err("noresource"),
            Err(_) => Err("rejected"),
        }
    }

    fn renew_list(&mut self, cx: &mut Cx<'_>, states: &States<'_>, (number, user): (u64, UserIndex)) {
        let Some(one) = self.table.get(number) else { return };
        let (Watched::List(package, name), Some(before)) = (&one.watched, &one.told.list) else {
            return;
        };
        let now = list::entries(cx.core, states, user, *package, name);
        if !before.is_like(&now) {
            self.table.change(number, |one| {
                if let Some(list) = &mut one.told.list {
                    list.become_like(now);
                }
                // Who is no longer on it is told by a list without them (RFC 4662 section 4.6).
                one.told.owes_whole = true;
            });
            self.keep(cx, number);
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
            if one.watched.has_news(cx, states, &one.user, &one.told) {
                let owner = Room::Subscription.owner(number);
                one.alarm = Some(cx.core.endpoint.set_timer(one.rests_until, owner, TIMER_PACE));
            }
            return;
        }
        let whole = std::mem::take(&mut one.told.owes_whole);
        let Some(state) = one.watched.state(cx, states, &one.user, &mut one.told, whole) else {
            return;
        };
        one.rests_until = cx.now.mono + rest(cx.core, &one.told);
        let core = &mut *cx.core;
        core.tally.notifies += 1;
        one.notifier
            .notify(cx.now.mono, Some(state), &mut core.endpoint, &mut core.effects);
        if one.watched.is_numbered() {
            one.notifier.forget_state();
        }
    }

    /// A panic was caught while an event of this subscription was handled.
    pub(crate) fn recover(&mut self, cx: &mut Cx<'_>, number: u64) {
        self.forget(cx, number);
    }

    /// Figures for `/metrics`.
    pub(crate) fn count(&self, values: &mut Vec<(&'static str, u64, bool)>) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let of = |package| count(self.table.of(package));
        values.extend([
            ("subscriptions", count(self.table.len()), true),
            ("subscriptions_mailbox", of(Package::MessageSummary), true),
            ("subscriptions_dialog", of(Package::Dialog), true),
            ("subscriptions_conference", of(Package::Conference), true),
            ("subscriptions_registration", of(Package::Registration), true),
            ("subscriptions_presence", of(Package::Presence), true),
            ("subscriptions_to_lists", count(self.table.lists()), true),
            ("watchers_waiting", count(self.waiting.len()), true),
        ]);
    }

    /// Checks that all tables agree, and that nobody waits for nothing.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub(crate) fn audit(&self) -> Result<(), String> {
        self.table.audit()?;
        let is_moved_on = self.waiting.is_empty() || self.breath.is_some();
        is_moved_on
            .then_some(())
            .ok_or_else(|| format!("subscriptions: {} wait and nothing moves them on", self.waiting.len()))
    }

    fn forget(&mut self, cx: &mut Cx<'_>, number: u64) {
        let Some(one) = self.table.remove(number) else { return };
        cx.core.store(StoreOp::DeleteSubscription(one.notifier.tag().0));
        if let Some(alarm) = one.alarm {
            cx.core.endpoint.cancel_timer(alarm);
        }
    }
}

/// How long after a document there is none: not at all while part of what was owed did not fit into it.
fn rest(core: &crate::core::Core, told: &Told) -> Duration {
    match told.is_behind() {
        true => Duration::ZERO,
        false => core.config.subscriptions.notify_interval,
    }
}

/// Without Accept the package's own type is meant (RFC 6665 section 5.4.5), or a list where lists are taken.
fn accepts(request: &Message, media_type: &str) -> bool {
    let mut values = request.values(Name::Accept).peekable();
    let takes = |value: &[u8]| {
        let accepted = value.split(|byte| *byte == b';').next();
        let accepted = accepted.unwrap_or_default().trim_ascii();
        let group = media_type.split_once('/').map_or("", |(group, _)| group);
        let is_any_of = |group: &str| {
            accepted
                .strip_suffix(b"/*")
                .is_some_and(|of| of.eq_ignore_ascii_case(group.as_bytes()))
        };
        accepted == b"*/*" || accepted.eq_ignore_ascii_case(media_type.as_bytes()) || is_any_of(group)
    };
    values.peek().is_none() || values.any(takes)
}
