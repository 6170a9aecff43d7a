//! Subscriptions (RFC 6665) to the one package there is so far: `message-summary` (RFC 3842), each user to their own
//! mailbox, which holds nothing yet. Phones ask at registration, and ask without end when refused.

use crate::core::{Cx, aor_uri};
use crate::room::Room;
use crate::users::UserIndex;
use ahash::RandomState;
use hashbrown::HashMap;
use model::Aor;
use sip::endpoint::Event;
use sip::event::{Event as Said, Grant, Lifetimes, Notifier};
use sip::invite::Match;
use sip::{Body, Flow, Message, Name, Owner, Reply};
use std::collections::VecDeque;

/// The packages there are, for Allow-Events.
pub(crate) const ALLOW_EVENTS: &str = PACKAGE;
const PACKAGE: &str = "message-summary";
const MEDIA_TYPE: &str = "application/simple-message-summary";
/// A phone that restarts without unsubscribing leaves one behind; more than a user has devices is old ones.
const MAX_PER_USER: usize = 16;
/// Seconds. A mailbox lamp may be refreshed as seldom as a registration.
const LIFETIMES: Lifetimes = Lifetimes {
    min: 60,
    default: 3_600,
    max: 86_400,
};

/// All subscriptions of the switch.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    /// By number: the owner number, never used again.
    alive: HashMap<u64, Subscription, RandomState>,
    /// Oldest first.
    by_user: HashMap<Aor, VecDeque<u64>, RandomState>,
    last_number: u64,
}

#[derive(Debug)]
struct Subscription {
    user: Aor,
    notifier: Notifier,
}

impl Subscriptions {
    /// No subscription.
    #[must_use]
    pub(crate) fn new(core: &crate::core::Core) -> Subscriptions {
        Subscriptions {
            alive: HashMap::with_hasher(core.hasher.clone()),
            by_user: HashMap::with_hasher(core.hasher.clone()),
            last_number: 0,
        }
    }

    /// A SUBSCRIBE from outside of any dialog whose sender is known.
    pub(crate) fn handle_subscribe(&mut self, cx: &mut Cx<'_>, user: UserIndex, flow: Flow, request: &Message) {
        let aor = cx.core.users[user].aor.clone();
        if let Some(refusal) = self.refusal(cx, &aor, request) {
            return cx.core.answer(cx.now, flow, request, &refusal);
        }
        self.make_room(cx, &aor);
        self.last_number += 1;
        let grant = Grant {
            contact: cx.core.contact(aor.user(), flow.transport, flow.local),
            lifetimes: LIFETIMES,
            state: Some(summary(&aor)),
        };
        let (core, owner) = (&mut *cx.core, Room::Subscription.owner(self.last_number));
        let made = Notifier::accept(
            cx.now.mono,
            owner,
            flow,
            request,
            grant,
            &mut core.endpoint,
            &mut core.effects,
        );
        if let Some(notifier) = made {
            self.by_user.entry(aor.clone()).or_default().push_back(self.last_number);
            self.alive
                .insert(self.last_number, Subscription { user: aor, notifier });
        }
    }

    fn refusal(&self, cx: &mut Cx<'_>, user: &Aor, request: &Message) -> Option<Reply> {
        let event = request
            .header(Name::Event)
            .and_then(|event| sip::header::Event::parse(event).ok());
        if event.is_none_or(|event| event.package() != PACKAGE.as_bytes()) {
            return Some(Reply::new(489).header(Name::AllowEvents, ALLOW_EVENTS));
        }
        // S6: a user may watch their own mailbox and no other.
        if cx.core.dialled(request).is_some_and(|dialled| dialled != user.user()) {
            return Some(Reply::new(403));
        }
        if !accepts_summary(request) {
            return Some(Reply::new(406).header(Name::Accept, MEDIA_TYPE));
        }
        (self.alive.len() >= cx.core.config.limits.max_subscriptions).then(|| cx.core.overloaded())
    }

    /// The oldest of a user who has very many goes.
    fn make_room(&mut self, cx: &mut Cx<'_>, user: &Aor) {
        let Some(numbers) = self
            .by_user
            .get_mut(user)
            .filter(|numbers| numbers.len() >= MAX_PER_USER)
        else {
            return;
        };
        let oldest = numbers.pop_front().and_then(|number| self.alive.remove(&number));
        if let Some(mut oldest) = oldest {
            let core = &mut *cx.core;
            oldest
                .notifier
                .terminate(cx.now.mono, "deactivated", &mut core.endpoint, &mut core.effects);
        }
    }

    /// Whose a request inside a dialog of this number is.
    pub(crate) fn matches(&self, number: u64, flow: Flow, message: &Message) -> Match {
        self.alive
            .get(&number)
            .map_or(Match::No, |one| one.notifier.matches(flow, message))
    }

    /// Whether this subscription is that user's.
    pub(crate) fn is_of(&self, number: u64, user: &Aor) -> bool {
        self.alive.get(&number).is_some_and(|one| one.user == *user)
    }

    /// An event of the transaction layer.
    pub(crate) fn handle_event(&mut self, cx: &mut Cx<'_>, number: u64, event: Event) {
        let Some(one) = self.alive.get_mut(&number) else { return };
        let core = &mut *cx.core;
        one.notifier
            .handle_event(cx.now.mono, event, &mut core.endpoint, &mut core.effects);
    }

    /// What a subscription says.
    pub(crate) fn handle_said(&mut self, cx: &mut Cx<'_>, owner: Owner, said: Said) {
        let Some((_, number)) = Room::of(owner) else { return };
        cx.core.midst_of("notify");
        match said {
            Said::Refreshed { .. } => {
                let Some(one) = self.alive.get_mut(&number) else { return };
                let (core, state) = (&mut *cx.core, Some(summary(&one.user)));
                one.notifier
                    .notify(cx.now.mono, state, &mut core.endpoint, &mut core.effects);
            }
            Said::Ended(_) => self.forget(number),
            Said::Notified { .. } => {}
        }
    }

    /// A panic was caught while an event of this subscription was handled.
    pub(crate) fn recover(&mut self, number: u64) {
        self.forget(number);
    }

    /// Subscriptions in force.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.alive.len()
    }

    /// Checks that both tables agree.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let listed: usize = self.by_user.values().map(VecDeque::len).sum();
        let alive = self.alive.len();
        (listed == alive)
            .then_some(())
            .ok_or_else(|| format!("subscriptions: {alive} alive, {listed} listed"))
    }

    fn forget(&mut self, number: u64) {
        let Some(one) = self.alive.remove(&number) else { return };
        let Some(numbers) = self.by_user.get_mut(&one.user) else {
            return;
        };
        numbers.retain(|other| *other != number);
        if numbers.is_empty() {
            self.by_user.remove(&one.user);
        }
    }
}

/// RFC 3842 section 3.5: an empty mailbox.
fn summary(user: &Aor) -> Body {
    let account = aor_uri(user);
    let text = format!("Messages-Waiting: no\r\nMessage-Account: {account}\r\nVoice-Message: 0/0 (0/0)\r\n");
    Body {
        content_type: MEDIA_TYPE.into(),
        content: text.into(),
    }
}

/// Without Accept the package's own type is meant (RFC 3842 section 3.4).
fn accepts_summary(request: &Message) -> bool {
    let mut values = request.values(Name::Accept).peekable();
    let takes = |value: &[u8]| {
        let media_type = value
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        [MEDIA_TYPE, "application/*", "*/*"]
            .iter()
            .any(|known| media_type.eq_ignore_ascii_case(known.as_bytes()))
    };
    values.peek().is_none() || values.any(takes)
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, config};
    use sip::header::SubscriptionState;
    use sip::{Headers, Message, Method, Name};
    use std::time::Duration;

    fn wishes(package: &str, expires_s: u32) -> Headers {
        Headers::new()
            .with(Name::Event, package)
            .with(Name::Expires, expires_s.to_string())
            .with(Name::Contact, "<sip:1000@127.0.0.1:20000>")
    }

    /// SUBSCRIBE to a mailbox; the final response.
    fn subscribe(world: &mut World, phone: usize, to: &str, headers: Headers) -> Message {
        let number = world.with(phone, |phone, now| {
            phone.request(now, Method::Subscribe, to, headers, None)
        });
        world.finish(phone, number);
        world.run_ms(20);
        world.phones[phone].answer(number).expect("an answer comes").clone()
    }

    fn kate() -> (World, usize) {
        let mut world = World::new(config(), 1);
        let kate = world.phone("1000");
        world.register(kate);
        (world, kate)
    }

    fn alive(world: &World) -> u64 {
        world
            .switch
            .counters()
            .values
            .iter()
            .find(|value| value.0 == "subscriptions")
            .unwrap()
            .1
    }

    fn states(world: &World, phone: usize) -> Vec<String> {
        let notifies = world.phones[phone]
            .requests
            .iter()
            .filter(|request| request.method() == Method::Notify);
        notifies
            .map(|notify| {
                let state = SubscriptionState::parse(notify.header(Name::SubscriptionState).unwrap()).unwrap();
                let reason = String::from_utf8_lossy(state.reason().unwrap_or_default()).into_owned();
                format!("{} {reason}", String::from_utf8_lossy(state.state()))
                    .trim()
                    .to_owned()
            })
            .collect()
    }

    #[test]
    fn a_phone_learns_that_its_mailbox_is_empty() {
        let (mut world, kate) = kate();
        let answer = subscribe(&mut world, kate, "1000", wishes("message-summary", 600));
        assert_eq!((answer.status(), answer.expires()), (200, Some(600)));
        let notify = &world.phones[kate].requests[0];
        assert_eq!(
            notify.header(Name::ContentType),
            Some(&b"application/simple-message-summary"[..])
        );
        assert!(
            notify
                .body()
                .starts_with(b"Messages-Waiting: no\r\nMessage-Account: sip:1000@example.com\r\n")
        );
        assert_eq!((states(&world, kate), alive(&world)), (vec!["active".to_owned()], 1));
        assert_eq!(world.switch.audit(), Ok(()));
    }

    #[test]
    fn a_refresh_from_the_phone_itself_needs_no_password() {
        let (mut world, kate) = kate();
        let answer = subscribe(&mut world, kate, "1000", wishes("message-summary", 60));
        world.run(Duration::from_secs(50));
        world.phones[kate].reboot();
        let refresh = wishes("message-summary", 60);
        let number = world.with(kate, |p, now| {
            p.request_inside(now, Method::Subscribe, &answer, refresh)
        });
        assert_eq!(world.finish(kate, number), 200);
        world.run(Duration::from_secs(50));
        assert_eq!((states(&world, kate).len(), alive(&world)), (2, 1));
    }

    #[test]
    fn a_request_inside_the_dialog_from_elsewhere_is_challenged() {
        let (mut world, kate) = kate();
        let jim = world.phone("1001");
        world.register(jim);
        let answer = subscribe(&mut world, kate, "1000", wishes("message-summary", 60));
        let end = wishes("message-summary", 0);
        world.phones[jim].reboot();
        world.phones[jim].password = "wrong".into();
        let number = world.with(jim, |p, now| {
            p.request_inside(now, Method::Subscribe, &answer, end.clone())
        });
        assert_eq!(world.finish(jim, number), 401);
        world.phones[jim].reboot();
        world.phones[jim].password = crate::testing::password("1001");
        let number = world.with(jim, |p, now| p.request_inside(now, Method::Subscribe, &answer, end));
        assert_eq!(world.finish(jim, number), 481, "another user");
        assert_eq!(alive(&world), 1);
    }

    #[test]
    fn it_ends_when_not_refreshed_and_when_asked_to() {
        let (mut world, kate) = kate();
        subscribe(&mut world, kate, "1000", wishes("message-summary", 60));
        world.run(Duration::from_secs(62));
        assert_eq!(states(&world, kate), ["active", "terminated timeout"]);
        world.phones[kate].requests.clear();
        let answer = subscribe(&mut world, kate, "1000", wishes("message-summary", 60));
        let end = wishes("message-summary", 0);
        let number = world.with(kate, |p, now| p.request_inside(now, Method::Subscribe, &answer, end));
        assert_eq!(world.finish(kate, number), 200);
        world.run(Duration::from_secs(1));
        assert!(states(&world, kate).last().unwrap().starts_with("terminated"));
        assert_eq!(alive(&world), 0);
        world.run(Duration::from_secs(40));
        assert_eq!(world.switch.audit(), Ok(()));
    }

    #[test]
    fn a_phone_that_is_gone_leaves_nothing() {
        let (mut world, kate) = kate();
        world.with(kate, |phone, now| {
            phone.request(now, Method::Subscribe, "1000", wishes("message-summary", 3_600), None)
        });
        world.phones[kate].is_dead = true;
        world.run(Duration::from_secs(40));
        assert_eq!(alive(&world), 0);
    }

    #[test]
    fn other_packages_mailboxes_and_formats_are_refused() {
        let (mut world, kate) = kate();
        let answer = subscribe(&mut world, kate, "1000", wishes("presence", 60));
        assert_eq!(
            (answer.status(), answer.header(Name::AllowEvents)),
            (489, Some(&b"message-summary"[..]))
        );
        let answer = subscribe(
            &mut world,
            kate,
            "1000",
            Headers::new().with(Name::Contact, "<sip:1000@127.0.0.1>"),
        );
        assert_eq!(answer.status(), 489);
        assert_eq!(
            subscribe(&mut world, kate, "1001", wishes("message-summary", 60)).status(),
            403
        );
        assert_eq!(
            subscribe(&mut world, kate, "4711", wishes("message-summary", 60)).status(),
            403
        );
        let odd = wishes("message-summary", 60).with(Name::Accept, "text/plain");
        assert_eq!(subscribe(&mut world, kate, "1000", odd).status(), 406);
        let answer = subscribe(&mut world, kate, "1000", wishes("message-summary", 59));
        assert_eq!(
            (answer.status(), answer.header(Name::MinExpires)),
            (423, Some(&b"60"[..]))
        );
        assert_eq!(alive(&world), 0);
    }

    #[test]
    fn a_panic_costs_the_one_subscription() {
        let (mut world, kate) = kate();
        subscribe(&mut world, kate, "1000", wishes("message-summary", 60));
        let answer = subscribe(&mut world, kate, "1000", wishes("message-summary", 60));
        world.recovers = true;
        world.switch.panic_in("notify");
        let refresh = wishes("message-summary", 60);
        world.with(kate, |p, now| {
            p.request_inside(now, Method::Subscribe, &answer, refresh)
        });
        world.run(Duration::from_secs(10));
        assert_eq!((alive(&world), world.switch.audit()), (1, Ok(())));
    }

    #[test]
    fn old_subscriptions_of_a_user_make_room_for_new_ones() {
        let (mut world, kate) = kate();
        for _ in 0..20 {
            assert_eq!(
                subscribe(&mut world, kate, "1000", wishes("message-summary", 600)).status(),
                200
            );
        }
        assert_eq!(alive(&world), 16);
        assert_eq!(
            states(&world, kate)
                .iter()
                .filter(|state| state.starts_with("terminated"))
                .count(),
            4
        );
        assert_eq!(world.switch.audit(), Ok(()));
    }
}
