//! REGISTER (RFC 3261 section 10.3). Either all of a request takes effect, or nothing.

use super::temporary::Temporary;
use super::view::seconds;
use super::{Bound, Registrar, alive, by_preference, endpoint, gruu, outbound};
use crate::auth;
use crate::config::Beyond;
use crate::core::Core;
use crate::sips;
use crate::text::push_number;
use crate::users::UserIndex;
use clock::{Now, Wall};
use model::{Aor, Binding, BindingKey};
use sip::header::NameAddr;
use sip::{Flow, Message, Name, Reply, Uri};
use smallvec::SmallVec;
use std::io::Write;
use std::time::Duration;

/// Contacts looked at in one request: more than any phone has lines.
const MAX_WISHES: usize = 16;
/// User-Agent is cut to this.
const MAX_USER_AGENT: usize = 128;

/// What came of a REGISTER.
pub(crate) struct Outcome {
    /// The final answer.
    pub(crate) reply: Reply,
    /// A binding was made or refreshed: messages may wait for it.
    pub(crate) is_bound: bool,
    /// A binding is new, or is reached another way than before.
    pub(crate) has_moved: bool,
}

/// What the request wants of one contact.
struct Wish<'m> {
    address: NameAddr<'m>,
    uri: Uri<'m>,
    /// It is a flow, and this is its name.
    flow: Option<BindingKey>,
    contact: &'m str,
    life: Duration,
    q: u16,
}

/// Why a REGISTER is refused.
pub(super) enum Refusal {
    Malformed(&'static str),
    OtherUser,
    TooBrief,
    OutOfOrder,
    TooMany,
    Full,
    /// The first proxy does not know how to keep a flow (RFC 5626 section 6).
    FirstHop,
    /// Path, and the device does not know of it (RFC 3327 section 5.3).
    PathUnknown,
}

/// A REGISTER and when, whence and for whom it came.
struct Asked<'m> {
    now: Now,
    flow: Flow,
    aor: Aor,
    request: &'m Message,
}

/// A place in the registrar: the record of the user, if there is one.
type Place = Option<u32>;

impl Registrar {
    /// A REGISTER whose sender is known and whose From is theirs.
    pub(crate) fn handle_register(
        &mut self,
        core: &mut Core,
        now: Now,
        user: UserIndex,
        flow: Flow,
        request: &Message,
    ) -> Outcome {
        let aor = core.users[user].aor.clone();
        let asked = Asked {
            now,
            flow,
            aor,
            request,
        };
        match self.register(core, user, &asked) {
            Ok(outcome) => outcome,
            Err(refusal) => Outcome {
                reply: refusal.reply(core),
                is_bound: false,
                has_moved: false,
            },
        }
    }

    fn register(&mut self, core: &mut Core, user: UserIndex, asked: &Asked<'_>) -> Result<Outcome, Refusal> {
        // Step 3: for whom. Nobody registers for others here.
        let to = asked.request.to().and_then(|to| to.uri());
        if !to.is_ok_and(|uri| uri.is_sip() && auth::is_user(core, asked.flow, &uri, &core.users[user])) {
            return Err(Refusal::OtherUser);
        }
        let mut place = self.find(&asked.aor);
        if asked.request.contact_is_star() {
            self.remove_all(core, place, asked)?;
            return Ok(Outcome {
                reply: self.reply(core, None, asked),
                is_bound: false,
                has_moved: false,
            });
        }
        let wishes = wishes(core, asked.request)?;
        // Nobody is reached under TLS who does not come so (RFC 5630 section 5.1).
        let is_secure = asked.flow.transport.is_secure();
        if !is_secure && wishes.iter().any(|wish| sips::is_sips(&wish.uri)) {
            return Err(Refusal::Malformed("SIPS Contact Without TLS"));
        }
        self.check(core, place, asked, &wishes)?;
        place = self.make_room(core, place, asked, &wishes);
        let mut has_moved = false;
        for wish in &wishes {
            if wish.life.is_zero() {
                self.note_unbound(&asked.aor, Some((wish.flow.as_ref(), wish.contact)));
            }
            let moves;
            (place, moves) = self.grant(core, place, asked, wish);
            has_moved |= moves;
        }
        let is_bound = wishes.iter().any(|wish| !wish.life.is_zero());
        let mut reply = self.reply(core, place, asked);
        if wishes.iter().any(|wish| wish.flow.is_some()) {
            outbound::confirm(&mut reply);
        }
        Ok(Outcome {
            reply,
            is_bound,
            has_moved,
        })
    }

    /// Step 6: `Contact: *` alone with `Expires: 0` removes all, unless one of them is newer than this request.
    fn remove_all(&mut self, core: &mut Core, place: Place, asked: &Asked<'_>) -> Result<(), Refusal> {
        if asked.request.expires() != Some(0) || asked.request.values(Name::Contact).count() != 1 {
            return Err(Refusal::Malformed("Contact * Needs Expires 0"));
        }
        if self
            .bound_at(place)
            .iter()
            .any(|bound| is_out_of_order(&bound.binding, asked.request))
        {
            return Err(Refusal::OutOfOrder);
        }
        self.drop_bindings(core, &asked.aor, None);
        Ok(())
    }

    fn bound_at(&self, place: Place) -> &[Bound] {
        place.map_or(&[], |index| &self.records[index as usize].bindings)
    }

    /// Step 7, before anything is changed: order, and room for what is new.
    fn check(&self, core: &Core, place: Place, asked: &Asked<'_>, wishes: &[Wish<'_>]) -> Result<(), Refusal> {
        let bindings = self.bound_at(place);
        let (mut new, mut gone) = (0, 0);
        for wish in wishes {
            let bound = bindings.iter().find(|bound| wish.is_for(&bound.binding));
            if bound.is_some_and(|bound| is_out_of_order(&bound.binding, asked.request)) {
                return Err(Refusal::OutOfOrder);
            }
            match bound {
                None if !wish.life.is_zero() => new += 1,
                Some(_) if wish.life.is_zero() => gone += 1,
                _ => {}
            }
        }
        let alive = bindings.iter().filter(|bound| bound.deadline > asked.now.mono).count();
        let most = core.config.registrar.max_contacts;
        let has_room = match core.config.registrar.beyond {
            Beyond::Refuse => alive + new <= most + gone,
            Beyond::RemoveOldest => new <= most,
        };
        if new > 0 && !has_room {
            return Err(Refusal::TooMany);
        }
        if new > 0 && self.count + new > core.config.limits.max_bindings {
            return Err(Refusal::Full);
        }
        Ok(())
    }

    /// Removes, where that is the operator's wish, as many bindings as there would be too many: of those the request does not
    /// speak of the ones that would end first, which have not been heard of for the longest time.
    fn make_room(&mut self, core: &mut Core, mut place: Place, asked: &Asked<'_>, wishes: &[Wish<'_>]) -> Place {
        if core.config.registrar.beyond != Beyond::RemoveOldest {
            return place;
        }
        while let Some(index) = place {
            let bindings = &self.records[index as usize].bindings;
            let wish_for = |bound: &Bound| wishes.iter().find(|wish| wish.is_for(&bound.binding));
            let is_new = |wish: &&Wish<'_>| !bindings.iter().any(|bound| wish.is_for(&bound.binding));
            let new = wishes.iter().filter(|wish| !wish.life.is_zero()).filter(is_new).count();
            let stays = |bound: &&Bound| wish_for(bound).is_none_or(|wish| !wish.life.is_zero());
            if new == 0 || bindings.iter().filter(stays).count() + new <= core.config.registrar.max_contacts {
                break;
            }
            let others = bindings
                .iter()
                .enumerate()
                .filter(|(_, bound)| wish_for(bound).is_none());
            let Some((oldest, bound)) = others.min_by_key(|(_, bound)| bound.deadline) else {
                break;
            };
            tracing::info!(aor = %asked.aor, contact = &*bound.binding.contact, "contact unbound: a new one takes its place");
            let was_last = bindings.len() == 1;
            self.remove(core, index, oldest);
            place = place.filter(|_| !was_last);
        }
        place
    }

    /// Makes, refreshes or removes one binding. The record is where it was, new, or gone with its last binding; true if a
    /// device is reached that was not, or another way than before.
    fn grant(&mut self, core: &mut Core, place: Place, asked: &Asked<'_>, wish: &Wish<'_>) -> (Place, bool) {
        core.midst_of("register");
        let number = self
            .bound_at(place)
            .iter()
            .position(|bound| wish.is_for(&bound.binding));
        match (place, number) {
            (Some(index), Some(number)) if wish.life.is_zero() => {
                let call_id = text(asked.request.call_id());
                tracing::info!(aor = %asked.aor, contact = wish.contact, call_id, "contact unbound");
                let was_last = self.bound_at(place).len() == 1;
                self.remove(core, index, number);
                (place.filter(|_| !was_last), false)
            }
            (Some(index), Some(number)) => (place, self.refresh(core, asked, wish, (index, number))),
            _ if wish.life.is_zero() => (place, false),
            _ => (Some(self.bind(core, asked, wish)), true),
        }
    }

    fn bind(&mut self, core: &mut Core, asked: &Asked<'_>, wish: &Wish<'_>) -> u32 {
        let Asked {
            now,
            flow,
            aor,
            request,
        } = asked;
        let call_id = text(request.call_id());
        tracing::info!(%aor, contact = wish.contact, peer = %flow.peer, call_id, "contact bound");
        let key = wish.flow.clone();
        let binding = Binding {
            aor: aor.clone(),
            key: key.unwrap_or_else(|| BindingKey(wish.contact.into())),
            contact: wish.contact.into(),
            params: wish.params().into(),
            q: wish.q,
            call_id: call_id.into(),
            cseq: request.cseq(),
            expires_at: now.wall + wish.life,
            created_at: now.wall,
            path: path(request).into(),
            user_agent: user_agent(request).into(),
            endpoint: endpoint(*flow),
        };
        let deadline = now.mono + wish.life;
        let index = self.insert(
            core,
            Bound {
                silent_at: alive::silent_at(&binding, *now),
                binding,
                refreshed: now.mono,
                deadline,
                connection: Some(flow.connection),
                is_dirty: false,
                is_silent: false,
            },
        );
        self.arm_round(core, *now);
        let number = self.records[index as usize].bindings.len() - 1;
        self.save(core, index, number);
        self.announce(core, *now, index, number);
        index
    }

    /// The hot path: a phone that comes back as it was costs no allocation here. True if it comes another way.
    fn refresh(&mut self, core: &mut Core, asked: &Asked<'_>, wish: &Wish<'_>, (index, number): (u32, usize)) -> bool {
        let Asked { now, flow, request, .. } = asked;
        let bound = &mut self.records[index as usize].bindings[number];
        let (was_on, was_watched) = (bound.flow(), bound.is_watched());
        let has_moved = was_on != Some(*flow);
        let mut has_changed = bound.binding.endpoint != endpoint(*flow);
        (bound.connection, bound.binding.endpoint) = (Some(flow.connection), endpoint(*flow));
        has_changed |= set(&mut bound.binding.contact, wish.contact);
        has_changed |= set(&mut bound.binding.params, &wish.params());
        has_changed |= set(&mut bound.binding.path, &path(request));
        has_changed |= set(&mut bound.binding.user_agent, user_agent(request));
        has_changed |= std::mem::replace(&mut bound.binding.q, wish.q) != wish.q;
        has_changed |= std::mem::replace(&mut bound.is_silent, false);
        set(&mut bound.binding.call_id, text(request.call_id()));
        bound.binding.cseq = request.cseq();
        bound.binding.expires_at = now.wall + wish.life;
        bound.deadline = now.mono + wish.life;
        bound.refreshed = now.mono;
        bound.silent_at = alive::silent_at(&bound.binding, *now);
        if has_moved || was_watched != bound.is_watched() {
            self.link(index, Some(*flow));
            self.watch(core, index, number);
            self.unwatch(index, was_on);
        }
        self.rearm(core, index);
        self.arm_round(core, *now);
        if has_changed {
            self.save(core, index, number);
            self.announce(core, *now, index, number);
        } else {
            self.save_soon(core, *now, index, number);
        }
        has_moved
    }

    /// Step 8: 200 with all bindings in force and how long they last.
    fn reply(&mut self, core: &Core, place: Place, asked: &Asked<'_>) -> Reply {
        let Asked { now, request, .. } = *asked;
        let mut reply = Reply::new(200);
        let temporary = gruu::is_wanted(request).then_some(&core.temporary);
        for bound in by_preference(self.bound_at(place), now) {
            reply
                .headers
                .write(Name::Contact, |line| bound.write_contact(now, temporary, line));
        }
        // RFC 3327 section 5.3: so the device knows who stands between.
        for path in request.lines(Name::Path) {
            reply.headers.add(Name::Path, path);
        }
        // RFC 3608 section 6.3.
        for route in &core.config.registrar.service_route {
            reply.headers.add(Name::ServiceRoute, &**route);
        }
        reply.headers.add(Name::Date, self.date.text(now.wall));
        reply
    }
}

impl Bound {
    fn write_contact(&self, now: Now, temporary: Option<&Temporary>, line: &mut Vec<u8>) {
        let Binding { contact, params, q, .. } = &self.binding;
        let left = seconds(self.deadline.since(now.mono));
        line.push(b'<');
        line.extend_from_slice(contact.as_bytes());
        line.push(b'>');
        line.extend_from_slice(params.as_bytes());
        if *q < 1_000 {
            // Writing to a Vec cannot fail.
            let _ = write!(line, ";q=0.{q:03}");
        }
        line.extend_from_slice(b";expires=");
        push_number(line, left);
        let Some(temporary) = temporary else { return };
        if let Some(gruu) = self.gruu() {
            let _ = write!(line, ";pub-gruu=\"{gruu}\"");
        }
        if let Some(gruu) = temporary.of(self, now.mono) {
            let _ = write!(line, ";temp-gruu=\"{gruu}\"");
        }
    }
}

impl Refusal {
    fn reply(&self, core: &mut Core) -> Reply {
        match self {
            Refusal::Malformed(why) => Reply::new(400).reason(*why),
            Refusal::OtherUser => Reply::new(403),
            Refusal::TooBrief => {
                let least = core.config.registrar.min_expires.as_secs();
                Reply::new(423).header(Name::MinExpires, least.to_string())
            }
            // Section 10.3 step 7 asks for a failure; 500 is what section 12.2.2 says to requests out of order.
            Refusal::OutOfOrder => Reply::new(500).reason("CSeq Out Of Order"),
            Refusal::TooMany => Reply::new(403).reason("Too Many Contacts"),
            Refusal::Full => core.overloaded(),
            Refusal::FirstHop => Reply::new(439).reason("First Hop Lacks Outbound Support"),
            Refusal::PathUnknown => Reply::new(420).header(Name::Unsupported, "path"),
        }
    }
}

/// Steps 6 and 7: what the request wants, each contact with its own or the common or the default life.
fn wishes<'m>(core: &Core, request: &'m Message) -> Result<SmallVec<[Wish<'m>; 2]>, Refusal> {
    let registrar = &core.config.registrar;
    let common = request.expires().map(|s| Duration::from_secs(s.into()));
    let mut wishes = SmallVec::<[Wish<'m>; 2]>::new();
    outbound::check_path(request)?;
    for address in request.addresses(Name::Contact) {
        let address = address.map_err(|wrong| Refusal::Malformed(wrong.0))?;
        let own = address.expires().map(|s| Duration::from_secs(s.into()));
        let wanted = own.or(common).unwrap_or(registrar.default_expires);
        if !wanted.is_zero() && wanted < registrar.min_expires {
            return Err(Refusal::TooBrief);
        }
        if wishes.len() == MAX_WISHES {
            return Err(Refusal::TooMany);
        }
        wishes.push(Wish::new(request, address, wanted.min(registrar.max_expires))?);
    }
    let is_kept = |wish: &&Wish<'_>| !wish.life.is_zero();
    if wishes.iter().any(|wish| wish.flow.is_some()) {
        outbound::check(request, wishes.iter().filter(is_kept).count())?;
    }
    Ok(wishes)
}

impl<'m> Wish<'m> {
    fn new(request: &Message, address: NameAddr<'m>, life: Duration) -> Result<Wish<'m>, Refusal> {
        let uri = address.uri().map_err(|wrong| Refusal::Malformed(wrong.0))?;
        if !uri.is_sip() {
            return Err(Refusal::Malformed("Contact Is No SIP URI"));
        }
        let contact = std::str::from_utf8(address.uri_bytes).map_err(|_| Refusal::Malformed("Contact Is Not UTF-8"))?;
        let flow = outbound::key(request, &address);
        Ok(Wish {
            address,
            uri,
            flow,
            contact,
            life,
            q: address.q().unwrap_or(1_000),
        })
    }

    /// Whether a binding is the one meant: the same text, as nearly always, or equal URIs (section 19.1.4); of flows the
    /// same one, whatever its contact is now.
    fn is_for(&self, binding: &Binding) -> bool {
        is_meant(binding, self.flow.as_ref(), self.contact, Some(&self.uri))
    }

    /// The header parameters to be echoed: all as written, but q, expires and what only the registrar may say (RFC 5627
    /// section 5.1).
    fn params(&self) -> std::borrow::Cow<'m, str> {
        let all = self.address.params;
        if all.as_bytes().is_empty() {
            return "".into();
        }
        let mut kept = String::new();
        for (name, value) in all.iter() {
            let is_ours = [&b"q"[..], b"expires", b"pub-gruu", b"temp-gruu"];
            if is_ours.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
                continue;
            }
            kept.push(';');
            kept.push_str(text(name));
            if let Some(value) = value {
                kept.push('=');
                kept.push_str(text(value));
            }
        }
        kept.into()
    }
}

/// Step 7: with the same Call-ID, CSeq has to rise.
/// Whether a binding is the one of this flow or, if there is none, with this contact; `uri` is what the contact says.
pub(super) fn is_meant(binding: &Binding, flow: Option<&BindingKey>, contact: &str, uri: Option<&Uri<'_>>) -> bool {
    match flow {
        Some(flow) => return binding.key == *flow,
        None if outbound::is_flow(&binding.key) => return false,
        None => {}
    }
    let is_equal = |uri: &Uri<'_>| Uri::parse(binding.contact.as_bytes()).is_ok_and(|bound| bound.equals(uri));
    *binding.contact == *contact || uri.is_some_and(is_equal)
}

fn is_out_of_order(binding: &Binding, request: &Message) -> bool {
    *binding.call_id.as_bytes() == *request.call_id() && request.cseq() <= binding.cseq
}

/// Puts `new` in place if it differs.
fn set(place: &mut Box<str>, new: &str) -> bool {
    let differs = **place != *new;
    if differs {
        *place = new.into();
    }
    differs
}

/// Bytes that are text; nothing, if they are not.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Path values in order, comma-joined (RFC 3327).
fn path(request: &Message) -> std::borrow::Cow<'_, str> {
    let mut values = request.values(Name::Path).map(text);
    let Some(first) = values.next() else { return "".into() };
    values.fold(first.into(), |all, next| {
        std::borrow::Cow::Owned(format!("{all}, {next}"))
    })
}

/// User-Agent cut to length; control characters make it unfit to be shown, so it is left out then.
fn user_agent(request: &Message) -> &str {
    let whole = text(request.header(Name::UserAgent).unwrap_or_default());
    let end = (0..=whole.len().min(MAX_USER_AGENT))
        .rev()
        .find(|&end| whole.is_char_boundary(end))
        .unwrap_or(0);
    let cut = &whole[..end];
    if cut.chars().any(char::is_control) { "" } else { cut }
}

/// The value of Date, made once a second.
#[derive(Debug, Default)]
pub(super) struct Date {
    second: Option<i64>,
    text: String,
}

impl Date {
    fn text(&mut self, now: Wall) -> &str {
        let second = now.0.div_euclid(1_000);
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = sip::header::write_date(now);
        }
        &self.text
    }
}
