//! PUBLISH (RFC 3903): what the devices of a user say of them. A user publishes for themself alone. It is one part of the state
//! that is shown: what we know ourselves, a call or a break, is not talked away by it.

use crate::core::{Core, Cx};
use crate::room::Room;
use crate::subscribe::{ALLOW_EVENTS, Watched};
use crate::users::UserIndex;
use ahash::RandomState;
use hashbrown::HashMap;
use model::Aor;
use sip::body::pidf::{self, Pidf};
use sip::draft::Tag;
use sip::endpoint::Alarm;
use sip::event::{Lifetimes, Publications, Publish};
use sip::{Flow, Message, Name, Reply};

/// Seconds. As subscriptions to it.
const LIFETIMES: Lifetimes = Lifetimes {
    min: 60,
    default: 3_600,
    max: 86_400,
};
/// Publications of one user: more than anybody has devices.
const PER_USER: usize = 8;
/// A document with all that RPID knows has some 2 KiB.
const MAX_SIZE: usize = 16 << 10;
/// Kind of the timers of publications, at owners of [`Room::Agent`].
pub(crate) const TIMER_PUBLISHED: u32 = 1;

/// All publications. Each user has a few at most, and only users have any.
#[derive(Debug)]
pub(crate) struct Published {
    by_user: HashMap<Aor, Publisher, RandomState>,
    /// Whose timer it is.
    numbers: HashMap<u64, Aor, RandomState>,
    last_number: u64,
}

#[derive(Debug)]
struct Publisher {
    number: u64,
    publications: Publications<Pidf>,
    alarm: Option<Alarm>,
}

impl Published {
    #[must_use]
    pub(crate) fn new(hasher: RandomState) -> Published {
        Published {
            by_user: HashMap::with_hasher(hasher.clone()),
            numbers: HashMap::with_hasher(hasher),
            last_number: 0,
        }
    }

    /// What the devices of a user publish, newest first.
    pub(super) fn of(&self, user: &Aor) -> impl Iterator<Item = &Pidf> {
        let publisher = self.by_user.get(user).into_iter();
        publisher.flat_map(|publisher| publisher.publications.contents())
    }

    /// How many publications there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.by_user
            .values()
            .map(|publisher| publisher.publications.len())
            .sum()
    }

    fn publisher(&mut self, user: &Aor) -> &mut Publisher {
        let Published {
            by_user,
            numbers,
            last_number,
        } = self;
        by_user.entry(user.clone()).or_insert_with(|| {
            *last_number += 1;
            numbers.insert(*last_number, user.clone());
            Publisher {
                number: *last_number,
                publications: Publications::default(),
                alarm: None,
            }
        })
    }
}

/// A PUBLISH whose sender is known.
pub(crate) fn handle_publish(cx: &mut Cx<'_>, user: UserIndex, flow: Flow, request: &Message) {
    let reply = publish(cx, user, request).unwrap_or_else(|refusal| refusal);
    cx.core.answer(cx.now, flow, request, &reply);
}

fn publish(cx: &mut Cx<'_>, user: UserIndex, request: &Message) -> Result<Reply, Reply> {
    let event = request.header(Name::Event);
    let event = event.and_then(|event| sip::header::Event::parse(event).ok());
    // Section 6 step 2: of all packages only this one is published.
    if event.is_none_or(|event| event.package() != b"presence") {
        return Err(Reply::new(489).header(Name::AllowEvents, ALLOW_EVENTS));
    }
    let aor = cx.core.users[user].aor.clone();
    // The same for users who exist and for others (S11).
    if cx.core.dialled(request).is_none_or(|dialled| *dialled != *aor.user()) {
        return Err(Reply::new(403));
    }
    let wish = Publish::read(request, LIFETIMES)?;
    let content = content(request)?;
    let tag = Tag(cx.core.random());
    let publisher = cx.core.published.publisher(&aor);
    let done = publisher
        .publications
        .publish(cx.now.mono, wish, content, (tag, PER_USER));
    settle(cx.core, &aor);
    done
}

/// What is published; none: what was is to go on.
fn content(request: &Message) -> Result<Option<Pidf>, Reply> {
    let body = request.body_bytes();
    if body.is_empty() {
        return Ok(None);
    }
    let kind = request.header(Name::ContentType).filter(|kind| !kind.is_empty());
    let kind = kind.ok_or_else(|| Reply::new(400).reason("Content-Type Is Missing"))?;
    if !sip::body::is(&String::from_utf8_lossy(kind), pidf::MEDIA_TYPE) {
        return Err(Reply::new(415).header(Name::Accept, pidf::MEDIA_TYPE));
    }
    if body.len() > MAX_SIZE {
        return Err(Reply::new(413));
    }
    Pidf::parse(body).map(Some).map_err(|why| {
        tracing::info!(why = why.0, "a presence document cannot be read");
        Reply::new(400).reason("Not a Presence Document")
    })
}

/// A timer of publications is due.
pub(crate) fn handle_timer(core: &mut Core, now: clock::Now, number: u64) {
    let Some(user) = core.published.numbers.get(&number).cloned() else {
        return;
    };
    let publisher = core.published.publisher(&user);
    publisher.alarm = None;
    publisher.publications.expire(now.mono);
    settle(core, &user);
}

/// The timer follows the publications, and who watches is told.
fn settle(core: &mut Core, user: &Aor) {
    let publisher = core.published.publisher(user);
    let (next, number) = (publisher.publications.next_end(), publisher.number);
    let old = publisher.alarm.take();
    if let Some(alarm) = old {
        core.endpoint.cancel_timer(alarm);
    }
    match next {
        Some(at) => {
            let alarm = core.endpoint.set_timer(at, Room::Agent.owner(number), TIMER_PUBLISHED);
            core.published.publisher(user).alarm = Some(alarm);
        }
        None => {
            core.published.by_user.remove(user);
            core.published.numbers.remove(&number);
        }
    }
    core.touch(Watched::Presence(user.clone()));
}
