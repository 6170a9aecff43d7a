//! A MESSAGE from a user: what can be said at once, and otherwise which way it goes.

use super::letter::Letter;
use super::session::Sessions;
use super::{Delivery, Im, Reader, timer};
use crate::core::Cx;
use crate::room::Room;
use crate::route::{self, Target};
use crate::text::{loggable, printable};
use crate::users::UserIndex;
use model::{Aor, MessageId};
use sip::{Flow, Message, Name, Owner, Reply};
use std::time::Duration;

/// The store has so long before the sender's time is over.
const COMMIT_TIME: Duration = Duration::from_millis(100);
/// What a sender waits before another try when too many messages wait.
const RETRY_AFTER_S: u32 = 60;

impl Im {
    /// A MESSAGE from outside of any dialog whose sender is known and whose From is theirs.
    /// What belongs to a session goes there.
    pub(crate) fn handle_message(
        &mut self,
        cx: &mut Cx<'_>,
        sessions: &mut Sessions,
        sender: UserIndex,
        flow: Flow,
        request: Message,
    ) {
        match self.read(cx, sender, &request) {
            Ok(letter) if sessions.take_text(cx, flow, &request, &letter) => {}
            Ok(letter) => drop(self.take(cx, flow, request, letter, None)),
            Err(reply) => self.refuse(cx, flow, &request, &reply),
        }
    }

    pub(super) fn refuse(&mut self, cx: &mut Cx<'_>, flow: Flow, request: &Message, reply: &Reply) {
        cx.core.tally.messages_refused += 1;
        tracing::info!(
            call_id = loggable(request.call_id()),
            status = reply.status,
            "message refused"
        );
        cx.core.answer(cx.now, flow, request, reply);
    }

    /// The message, if we can take it.
    pub(super) fn read(&mut self, cx: &mut Cx<'_>, sender: UserIndex, request: &Message) -> Result<Letter, Reply> {
        let user = &cx.core.users[sender];
        if !user.im {
            return Err(Reply::new(403));
        }
        if request.body_bytes().len() > cx.core.config.im.max_size {
            return Err(Reply::new(413));
        }
        let content_type = content_type(request)?;
        let to = recipient(cx, request)?;
        let now = cx.now.wall;
        let wish = request
            .expires()
            .map_or(Duration::MAX, |s| Duration::from_secs(s.into()));
        let display = if user.name.is_empty() {
            display_name(request)
        } else {
            user.name.clone()
        };
        Ok(Letter {
            id: MessageId(0),
            to,
            from: user.aor.clone(),
            from_display: display,
            call_id: String::from_utf8_lossy(request.call_id()).into(),
            cseq: request.cseq(),
            content_type: content_type.into(),
            body: request.body(),
            accepted_at: now,
            expires_at: now + wish.min(cx.core.config.im.keep),
            is_transient: wish.is_zero() || is_composing(content_type),
            guise: None,
        })
    }

    /// Sends it to the devices, or puts it behind what waits, if there is room. `owner` hears what comes of it.
    pub(super) fn take(
        &mut self,
        cx: &mut Cx<'_>,
        flow: Flow,
        request: Message,
        letter: Letter,
        owner: Option<Owner>,
    ) -> Option<MessageId> {
        if let Some(reply) = self.no_room(cx, &letter.to) {
            self.refuse(cx, flow, &request, &reply);
            return None;
        }
        let (number, id) = self.admit(cx, letter, owner);
        let core = &mut *cx.core;
        if let Some(delivery) = self.deliveries.get_mut(&number) {
            let (of, out) = (Room::Im.owner(number), &mut core.effects);
            delivery.sender = Some(core.endpoint.accept(cx.now.mono, flow, request, of, out));
        }
        self.settle(cx);
        Some(id)
    }

    /// Puts a message among those under way: it is due, or waits behind an earlier one of its sender.
    pub(super) fn admit(&mut self, cx: &mut Cx<'_>, mut letter: Letter, owner: Option<Owner>) -> (u64, MessageId) {
        letter.id = self.next_id(cx.now.wall);
        let is_first = !self.has_earlier(&letter.to, &letter.from);
        let (number, id, to) = (self.next_number(), letter.id, letter.to.clone());
        let due = cx.now.mono + cx.core.config.im.answer_within.saturating_sub(COMMIT_TIME);
        let mut delivery = Delivery::new(letter);
        delivery.owner = owner;
        let of = Room::Im.owner(number);
        delivery.alarm = Some(cx.core.endpoint.set_timer(due, of, timer::ANSWER));
        self.deliveries.insert(number, delivery);
        self.readers.entry(to.clone()).or_default().live.push_back(number);
        if is_first || self.readers.get(&to).is_some_and(Reader::has_queue) {
            self.due.push_back(number);
        }
        (number, id)
    }

    /// Bounds: for one reader, so that nobody's absence fills the store, and in all.
    pub(super) fn no_room(&self, cx: &Cx<'_>, to: &Aor) -> Option<Reply> {
        let config = &cx.core.config.im;
        let waiting = self
            .readers
            .get(to)
            .map_or(0, |reader| reader.live.len() + reader.stored);
        let is_full = waiting >= config.max_per_user || self.deliveries.len() + self.stored >= config.max_total;
        is_full.then(|| Reply::new(480).header(Name::RetryAfter, RETRY_AFTER_S.to_string()))
    }

    /// Whether an earlier message of this sender to this reader is not finished.
    fn has_earlier(&self, to: &Aor, from: &Aor) -> bool {
        let live = self.readers.get(to).into_iter().flat_map(|reader| &reader.live);
        live.filter_map(|number| self.deliveries.get(number))
            .any(|delivery| delivery.letter.from == *from)
    }
}

/// Content-Type of a body; anything that says what it is goes through unopened. Encodings do not: the store keeps none.
fn content_type(request: &Message) -> Result<&str, Reply> {
    if request
        .values(Name::ContentEncoding)
        .any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
    {
        return Err(Reply::new(415).header(Name::AcceptEncoding, "identity"));
    }
    match request.content_type() {
        Some(_) => {
            let text = std::str::from_utf8(request.header(Name::ContentType).unwrap_or_default());
            text.map_err(|_| Reply::new(400).reason("Bad Content-Type"))
        }
        None if request.body_bytes().is_empty() => Ok(""),
        None => Err(Reply::new(400).reason("Body Without Content-Type")),
    }
}

/// RFC 3994: a state of the moment, of no use later.
fn is_composing(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/im-iscomposing+xml")
}

/// From's display name, as it may be shown.
fn display_name(request: &Message) -> Box<str> {
    let name = request.from().map(|from| from.display_name()).unwrap_or_default();
    printable(&name).into()
}

/// Whom the Request-URI names, by the dial plan as for calls. What is there but reads nothing says so.
fn recipient(cx: &Cx<'_>, request: &Message) -> Result<Aor, Reply> {
    let dialled = cx.core.dialled(request).unwrap_or_default();
    match route::target(cx.core, &dialled) {
        Target::User(user) => Ok(cx.core.users[user].aor.clone()),
        Target::Echo
        | Target::Tone(_)
        | Target::Music
        | Target::Digits
        | Target::Room
        | Target::Star
        | Target::Done => Err(Reply::new(405).header(Name::Allow, "INVITE, ACK, BYE, CANCEL, OPTIONS")),
        // Carriers take calls.
        Target::Trunk(_) => Err(Reply::new(405).header(Name::Allow, "INVITE, ACK, BYE, CANCEL, OPTIONS")),
        Target::Nobody(status) => Err(Reply::new(status)),
    }
}
