//! A MESSAGE from a user: what can be said at once, and otherwise which way it goes.

use super::devices::Kind;
use super::letter::Letter;
use super::session::Sessions;
use super::{Delivery, Im, timer};
use crate::agent::group;
use crate::core::Cx;
use crate::registrar;
use crate::room::Room;
use crate::route::{self, Target};
use crate::sips;
use crate::text::{loggable, printable};
use crate::users::UserIndex;
use bytes::Bytes;
use model::{Aor, MessageId};
use sip::body::composing::Composing;
use sip::body::cpim::Cpim;
use sip::body::imdn::{self, Marks, Report};
use sip::body::{Unreadable, composing, cpim, multipart};
use sip::{Flow, Message, Name, Owner, Reply};
use std::time::Duration;

/// The store has so long before the sender's time is over.
const COMMIT_TIME: Duration = Duration::from_millis(100);
/// What a sender waits before another try when too many messages wait.
const RETRY_AFTER_S: u32 = 60;
/// What is too old is given up at once when there is no room, but not more often than this.
const ROOM_INTERVAL: Duration = Duration::from_secs(1);
/// Longest name that a sender may give a message.
const MAX_IMDN_ID: usize = 256;

/// What a MESSAGE is.
enum Said {
    /// Something for a person.
    Letter(Letter),
    /// RFC 3994.
    Composing(Aor, Composing),
    /// RFC 5438.
    Report(Aor, Report),
}

/// What is inside a body, all envelopes taken off.
struct Content {
    content_type: Box<str>,
    body: Bytes,
    imdn_id: Box<str>,
    wants: Marks,
}

impl Im {
    /// A MESSAGE from outside of any dialog whose sender is known and whose From is theirs, with the CSeq under which it came
    /// first. What belongs to a session goes there.
    pub(crate) fn handle_message(
        &mut self,
        cx: &mut Cx<'_>,
        sessions: &mut Sessions,
        sender: (UserIndex, u32),
        flow: Flow,
        request: Message,
    ) {
        if let Some(letter) = self.letter_in(cx, sessions, sender, flow, &request)
            && !sessions.take_text(cx, flow, &request, &letter)
        {
            self.take(cx, flow, request, letter, None);
        }
    }

    /// The message for a person in this request; `None`: it was something else or refused, and is answered.
    fn letter_in(
        &mut self,
        cx: &mut Cx<'_>,
        sessions: &mut Sessions,
        (sender, cseq): (UserIndex, u32),
        flow: Flow,
        request: &Message,
    ) -> Option<Letter> {
        let from = cx.core.users[sender].aor.clone();
        match self.read(cx, (sender, cseq), flow, request) {
            Ok(Said::Letter(letter)) => match self.again(&letter) {
                Some(status) => {
                    tracing::info!(call_id = &*letter.call_id, status, "message came again");
                    cx.core.answer(cx.now, flow, request, &Reply::new(status));
                    None
                }
                None => Some(letter),
            },
            // The switch is what these are for: it has them.
            Ok(Said::Composing(to, notice)) => {
                cx.core.answer(cx.now, flow, request, &Reply::new(200));
                if !sessions.take_composing(cx, &from, &to, &notice) {
                    self.compose(cx, &from, &to, &notice);
                }
                self.settle(cx);
                None
            }
            Ok(Said::Report(to, report)) => {
                cx.core.answer(cx.now, flow, request, &Reply::new(200));
                if !sessions.take_report(cx, &from, &to, &report) {
                    self.on_report(cx, &from, &to, &report);
                }
                self.settle(cx);
                None
            }
            Err(reply) => {
                self.refuse(cx, flow, request, &reply);
                None
            }
        }
    }

    /// A message was accepted: should it come again it gets the same answer and has no second effect.
    pub(super) fn note_accepted(&mut self, cx: &Cx<'_>, name: (&Aor, &Aor, &str, u32), status: u16) {
        self.recent.note(cx.now.mono, name, status);
    }

    fn again(&self, letter: &Letter) -> Option<u16> {
        self.recent
            .status(&letter.to, &letter.from, &letter.call_id, letter.cseq)
    }

    fn refuse(&mut self, cx: &mut Cx<'_>, flow: Flow, request: &Message, reply: &Reply) {
        cx.core.tally.messages_refused += 1;
        tracing::info!(
            call_id = loggable(request.call_id()),
            status = reply.status,
            "message refused"
        );
        cx.core.answer(cx.now, flow, request, reply);
    }

    /// What the request is, if we can take it.
    fn read(
        &mut self,
        cx: &mut Cx<'_>,
        (sender, cseq): (UserIndex, u32),
        flow: Flow,
        request: &Message,
    ) -> Result<Said, Reply> {
        let user = &cx.core.users[sender];
        if !user.im {
            return Err(Reply::new(403));
        }
        let limit = cx.core.config.im.max_size;
        if request.body_bytes().len() > limit {
            return Err(warned(cx, 413, &format!("at most {limit} bytes")));
        }
        let (from, name) = (user.aor.clone(), user.name.clone());
        let content_type = content_type(request)?;
        let to = recipient(cx, request)?;
        if let Some(kind) = Kind::of(content_type) {
            self.learn_from_sender(cx, &from, flow, kind);
        }
        let content = match content(cx, content_type, request)? {
            Inside::Content(content) => content,
            Inside::Composing(notice) => return Ok(Said::Composing(to, notice)),
            Inside::Report(report) => return Ok(Said::Report(to, report)),
        };
        let named = registrar::gruu::named(cx.core, request);
        if named.is_some() && cx.registrar.meant(&to, named.as_deref(), cx.now).is_empty() {
            return Err(Reply::new(480));
        }
        // It is not kept: where a device will come from next, nobody can promise.
        let is_secure = sips::is_asked(request);
        if is_secure
            && !cx
                .registrar
                .meant(&to, named.as_deref(), cx.now)
                .iter()
                .any(|bound| bound.is_secure())
        {
            return Err(sips::no_way());
        }
        let now = cx.now.wall;
        let wish = request
            .expires()
            .map_or(Duration::MAX, |s| Duration::from_secs(s.into()));
        Ok(Said::Letter(Letter {
            id: MessageId(0),
            to,
            from,
            from_display: if name.is_empty() { display_name(request) } else { name },
            call_id: String::from_utf8_lossy(request.call_id()).into(),
            cseq,
            content_type: content.content_type,
            body: content.body,
            accepted_at: now,
            expires_at: now + wish.min(cx.core.config.im.keep),
            named,
            is_transient: wish.is_zero() || is_secure,
            is_secure,
            guise: None,
            imdn_id: content.imdn_id,
            wants: content.wants,
        }))
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
        self.on_written(cx, &letter.from, &letter.to);
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
        self.follow(cx, &letter);
        let due = cx.now.mono + cx.core.config.im.answer_within.saturating_sub(COMMIT_TIME);
        let mut delivery = Delivery::new(letter);
        delivery.owner = owner;
        let of = Room::Im.owner(number);
        delivery.alarm = Some(cx.core.endpoint.set_timer(due, of, timer::ANSWER));
        self.deliveries.insert(number, delivery);
        self.readers.entry(to.clone()).or_default().live.push_back(number);
        if is_first || self.has_queue_for_all(cx, &to) {
            self.due.push_back(number);
        }
        (number, id)
    }

    /// Bounds: for one reader, so that nobody's absence fills the store, and in all.
    pub(super) fn no_room(&mut self, cx: &mut Cx<'_>, to: &Aor) -> Option<Reply> {
        let config = &cx.core.config.im;
        let waiting = self
            .readers
            .get(to)
            .map_or(0, |reader| reader.live.len() + reader.stored);
        let is_full = waiting >= config.max_per_user || self.deliveries.len() + self.stored >= config.max_total;
        if is_full && self.made_room_at.is_none_or(|at| at + ROOM_INTERVAL <= cx.now.mono) {
            self.made_room_at = Some(cx.now.mono);
            self.give_up_old(cx);
        }
        is_full.then(|| Reply::new(480).header(Name::RetryAfter, RETRY_AFTER_S.to_string()))
    }

    /// Whether an earlier message of this sender to this reader is not finished.
    fn has_earlier(&self, to: &Aor, from: &Aor) -> bool {
        let live = self.readers.get(to).into_iter().flat_map(|reader| &reader.live);
        live.filter_map(|number| self.deliveries.get(number))
            .any(|delivery| delivery.letter.from == *from && !delivery.is_released)
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

/// What a body holds.
enum Inside {
    Content(Content),
    Composing(Composing),
    Report(Report),
}

/// Takes the envelope off and looks at what is inside: what is for the switch itself, and whether the rest is passed on.
fn content(cx: &Cx<'_>, content_type: &str, request: &Message) -> Result<Inside, Reply> {
    if !sip::body::is(content_type, cpim::MEDIA_TYPE) {
        return inside(cx, content_type, request.body(), "".into(), Marks::NONE);
    }
    let cpim = Cpim::parse(request.body_bytes()).map_err(|why| unreadable(cx, why))?;
    let content_type = cpim.content_type.as_deref().unwrap_or("text/plain");
    if sip::body::is(content_type, cpim::MEDIA_TYPE) {
        return Err(unreadable(cx, Unreadable("an envelope in an envelope")));
    }
    let imdn_id = cpim.message_id.as_deref().unwrap_or_default();
    if imdn_id.len() > MAX_IMDN_ID {
        return Err(unreadable(cx, Unreadable("imdn.Message-ID is too long")));
    }
    // No notification about a notification (RFC 5438 section 10).
    let wants = if cpim.is_notification { Marks::NONE } else { cpim.wants };
    inside(cx, content_type, request.share(cpim.body), imdn_id.into(), wants)
}

fn inside(cx: &Cx<'_>, content_type: &str, body: Bytes, imdn_id: Box<str>, wants: Marks) -> Result<Inside, Reply> {
    if sip::body::is(content_type, composing::MEDIA_TYPE) {
        let notice = Composing::parse(&body).map_err(|why| unreadable(cx, why))?;
        return Ok(Inside::Composing(notice));
    }
    if sip::body::is(content_type, imdn::MEDIA_TYPE) {
        let report = Report::parse(&body).map_err(|why| unreadable(cx, why))?;
        return Ok(Inside::Report(report));
    }
    if !content_type.is_empty() && !cx.core.config.im.passes(content_type) {
        return Err(Reply::new(415).header(Name::Accept, accept(cx)));
    }
    if multipart::is_multipart(content_type) {
        multipart::check(content_type, &body).map_err(|why| unreadable(cx, why))?;
    }
    Ok(Inside::Content(Content {
        content_type: content_type.into(),
        body,
        imdn_id,
        wants,
    }))
}

/// What is taken, for a 415.
fn accept(cx: &Cx<'_>) -> String {
    let own = [cpim::MEDIA_TYPE, imdn::MEDIA_TYPE, composing::MEDIA_TYPE];
    let types = cx.core.config.im.types.iter().map(|one| &**one);
    types.chain(own).collect::<Vec<_>>().join(", ")
}

fn unreadable(cx: &Cx<'_>, why: Unreadable) -> Reply {
    warned(cx, 400, why.0)
}

/// A refusal that says why to who reads traces (RFC 3261 section 20.43).
fn warned(cx: &Cx<'_>, status: u16, why: &str) -> Reply {
    Reply::new(status).header(Name::Warning, format!("399 {} \"{why}\"", cx.core.config.domain))
}

/// From's display name, as it may be shown.
fn display_name(request: &Message) -> Box<str> {
    let name = request.from().map(|from| from.display_name()).unwrap_or_default();
    printable(&name).into()
}

/// Whom the Request-URI names, by the dial plan as for calls. What is there but reads nothing says so.
fn recipient(cx: &Cx<'_>, request: &Message) -> Result<Aor, Reply> {
    let dialled = cx.core.dialled(request).unwrap_or_default();
    // One of its members is found when the session begins.
    if group::team(cx.core, &dialled).is_some() {
        return Ok(Aor::new(&dialled, &cx.core.config.domain));
    }
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
