//! Devices of readers that were there once: who they are, when they were last seen, and which bodies they take.
//!
//! With `im.copies = "device"` each of them gets a copy of its own, so each is remembered, and over a restart too. Otherwise
//! only those are that take more than plain text: nobody gets a body that he has not shown to take.

use super::{Im, Question};
use crate::config::Copies;
use crate::core::{Core, Cx, aor_uri};
use crate::room::Room;
use ahash::RandomState;
use clock::Wall;
use hashbrown::HashMap;
use model::{Aor, Binding, KnownDevice, StoreOp};
use sip::body::{composing, cpim};
use sip::{Draft, Flow, Message, Method, Name};
use smallvec::SmallVec;
use std::time::Duration;

/// Devices remembered for one user, the longest unseen forgotten first: more than anybody carries. A softphone without
/// `+sip.instance` that calls itself anew at each start would fill any number.
const MAX_DEVICES: usize = 8;
/// A device that is seen again is written down again after this: nobody needs it to the minute.
const SEEN_AGAIN: Duration = Duration::from_secs(86_400);
/// Devices being asked by OPTIONS at one time; more are not asked now.
const MAX_ASKED: usize = 1_024;

/// A body that only those get who take it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// RFC 3862.
    Envelope,
    /// RFC 3994.
    Composing,
}

/// What is known of the bodies a device takes: bits for yes, and 8 higher for no.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Takes(u32);

/// It has been asked by OPTIONS since it registered.
const ASKED: u32 = 1 << 16;

impl Kind {
    const ALL: [Kind; 2] = [Kind::Envelope, Kind::Composing];

    fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The kind that a Content-Type names.
    pub(super) fn of(content_type: &str) -> Option<Kind> {
        Kind::ALL
            .into_iter()
            .find(|kind| sip::body::is(content_type, kind.media_type()))
    }

    fn media_type(self) -> &'static str {
        match self {
            Kind::Envelope => cpim::MEDIA_TYPE,
            Kind::Composing => composing::MEDIA_TYPE,
        }
    }
}

impl Takes {
    pub(super) fn has(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }

    /// Neither yes nor no is known, and it has not been asked.
    fn is_open(self, kind: Kind) -> bool {
        self.0 & (kind.bit() | kind.bit() << 8 | ASKED) == 0
    }

    /// It has refused one.
    fn refuses(self, kind: Kind) -> bool {
        self.0 & kind.bit() << 8 != 0
    }

    fn set(&mut self, kind: Kind, takes: bool) {
        let (yes, no) = (kind.bit(), kind.bit() << 8);
        let (set, clear) = if takes { (yes, no) } else { (no, yes) };
        self.0 = self.0 & !clear | set;
    }
}

#[derive(Debug)]
struct Device {
    key: Box<str>,
    seen_at: Wall,
    takes: Takes,
}

/// All that are remembered.
#[derive(Debug)]
pub(super) struct Devices {
    known: HashMap<Aor, SmallVec<[Device; 1]>, RandomState>,
    /// Whom an OPTIONS of this number asks.
    asked: HashMap<u64, (Aor, Box<str>), RandomState>,
}

impl Devices {
    pub(super) fn new(hasher: &RandomState) -> Devices {
        Devices {
            known: HashMap::with_hasher(hasher.clone()),
            asked: HashMap::with_hasher(hasher.clone()),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.values().map(SmallVec::len).sum()
    }

    /// Which bodies this device takes.
    pub(super) fn takes(&self, aor: &Aor, key: &str) -> Takes {
        let device = self
            .known
            .get(aor)
            .and_then(|all| all.iter().find(|one| *one.key == *key));
        device.map_or(Takes::default(), |device| device.takes)
    }

    /// Those seen lately enough to be expected back.
    pub(super) fn expected(&self, aor: &Aor, now: Wall) -> impl Iterator<Item = &str> {
        let all = self.known.get(aor).into_iter().flatten();
        all.filter(move |device| device.seen_at + KnownDevice::REMEMBERED > now)
            .map(|device| &*device.key)
    }

    fn restore(&mut self, all: Vec<KnownDevice>) {
        for KnownDevice {
            aor,
            key,
            seen_at,
            takes,
        } in all
        {
            let devices = self.known.entry(aor).or_default();
            if !devices.iter().any(|device| device.key == key) {
                let takes = Takes(takes & !ASKED);
                devices.push(Device { key, seen_at, takes });
            }
        }
    }
}

impl Im {
    /// What was known before the restart.
    pub(crate) fn restore_devices(&mut self, all: Vec<KnownDevice>) {
        self.devices.restore(all);
    }

    /// What a REGISTER says of the device it is for.
    pub(super) fn on_device_registered(&mut self, cx: &mut Cx<'_>, aor: &Aor, is_new: bool, request: &Message) {
        let is_counted = cx.core.config.im.copies == Copies::Device;
        let says = request.header(Name::Accept).is_some();
        if !is_counted && !says {
            return;
        }
        let is_of_request =
            |binding: &Binding| *binding.call_id.as_bytes() == *request.call_id() && binding.cseq == request.cseq();
        let bindings = cx.registrar.bindings(aor, cx.now);
        let keys = bindings
            .iter()
            .map(|bound| &bound.binding)
            .filter(|one| is_of_request(one));
        let keys: SmallVec<[Box<str>; 2]> = keys.map(|binding| key_of(binding).into()).collect();
        drop(bindings);
        for key in keys {
            if is_counted {
                self.change_device(cx, aor, &key, |takes| takes.0 &= if is_new { !ASKED } else { !0 });
            }
            self.learn_list(cx, aor, &key, request);
        }
    }

    /// A user's device has sent a body of this kind: so it can read one, unless it has refused one. Some refuse what they
    /// send, and would refuse it again and again.
    pub(super) fn learn_from_sender(&mut self, cx: &mut Cx<'_>, aor: &Aor, flow: Flow, kind: Kind) {
        let bindings = cx.registrar.bindings(aor, cx.now);
        let sender = bindings
            .iter()
            .find(|bound| bound.destination() == Some(sip::Destination::Flow(flow)));
        let key: Option<Box<str>> = sender.map(|bound| key_of(&bound.binding).into());
        drop(bindings);
        let Some(key) = key else { return };
        if !self.devices.takes(aor, &key).refuses(kind) {
            self.learn(cx, aor, &key, kind, true);
        }
    }

    /// A device takes bodies of this kind, or not.
    pub(super) fn learn(&mut self, cx: &mut Cx<'_>, aor: &Aor, key: &str, kind: Kind, takes: bool) {
        let known = self.devices.takes(aor, key);
        if !known.has(kind) && takes || !known.refuses(kind) && !takes {
            self.change_device(cx, aor, key, |all| all.set(kind, takes));
            if takes {
                self.reconsider(cx, aor, key);
            }
        }
    }

    /// A list of what a device takes (RFC 3261 section 20.1). What is not on it may still be taken: lists are about calls as
    /// a rule.
    pub(super) fn learn_list(&mut self, cx: &mut Cx<'_>, aor: &Aor, key: &str, message: &Message) {
        for kind in Kind::ALL {
            if lists(message, kind.media_type()) {
                self.learn(cx, aor, key, kind, true);
            }
        }
    }

    /// Makes or changes what is known of a device, and writes it down where that is news.
    fn change_device(&mut self, cx: &mut Cx<'_>, aor: &Aor, key: &str, change: impl FnOnce(&mut Takes)) {
        let now = cx.now.wall;
        let devices = self.devices.known.entry(aor.clone()).or_default();
        let place = devices.iter().position(|device| *device.key == *key);
        let is_new = place.is_none();
        let place = place.unwrap_or(devices.len());
        if is_new {
            devices.push(Device {
                key: key.into(),
                seen_at: now,
                takes: Takes::default(),
            });
        }
        let device = &mut devices[place];
        let before = device.takes;
        change(&mut device.takes);
        let is_news = is_new || device.takes.0 & !ASKED != before.0 & !ASKED || device.seen_at + SEEN_AGAIN <= now;
        if is_news {
            device.seen_at = now;
            cx.core.store(StoreOp::PutDevice(Box::new(KnownDevice {
                aor: aor.clone(),
                key: key.into(),
                seen_at: now,
                takes: device.takes.0 & !ASKED,
            })));
        }
        if devices.len() > MAX_DEVICES {
            self.forget_longest_unseen(cx, aor);
        }
    }

    /// Of those that are not there now.
    fn forget_longest_unseen(&mut self, cx: &mut Cx<'_>, aor: &Aor) {
        let bindings = cx.registrar.bindings(aor, cx.now);
        let is_there = |device: &Device| bindings.iter().any(|bound| key_of(&bound.binding) == &*device.key);
        let Some(devices) = self.devices.known.get_mut(aor) else {
            return;
        };
        let away = devices.iter().enumerate().filter(|(_, device)| !is_there(device));
        let Some((place, _)) = away.min_by_key(|(_, device)| device.seen_at) else {
            return;
        };
        let key = devices.remove(place).key;
        tracing::info!(%aor, device = &*key, "device forgotten: the user has too many");
        let op = StoreOp::ForgetDevice { aor: aor.clone(), key };
        self.ask(cx.core, op, Question::Forget);
    }

    /// Asks a device by OPTIONS (RFC 3261 section 11) whether it takes bodies of this kind, if that is not known: not for
    /// the message at hand, but for the next.
    pub(super) fn ask_device(&mut self, cx: &mut Cx<'_>, aor: &Aor, key: &str, kind: Kind) {
        if !self.devices.takes(aor, key).is_open(kind) || self.devices.asked.len() >= MAX_ASKED {
            return;
        }
        let bindings = cx.registrar.bindings(aor, cx.now);
        let bound = bindings.iter().find(|bound| key_of(&bound.binding) == key);
        let way = bound.and_then(|bound| Some((bound.destination()?, bound.request_uri().to_vec())));
        drop(bindings);
        let Some((destination, uri)) = way else { return };
        self.change_device(cx, aor, key, |takes| takes.0 |= ASKED);
        let number = self.next_number();
        let draft = options(cx.core, aor, uri);
        let (owner, core) = (Room::Im.owner(number), &mut *cx.core);
        core.endpoint
            .send(cx.now.mono, destination, &draft, owner, &mut core.effects);
        self.devices.asked.insert(number, (aor.clone(), key.into()));
    }

    /// The answer to such a question, or that there is none; whether it was one.
    pub(super) fn on_device_answer(&mut self, cx: &mut Cx<'_>, number: u64, answer: Option<&Message>) -> bool {
        let Some((aor, key)) = self.devices.asked.remove(&number) else {
            return false;
        };
        if let Some(answer) = answer.filter(|answer| answer.status() < 300) {
            self.learn_list(cx, &aor, &key, answer);
        }
        true
    }
}

/// `+sip.instance` of a Contact (RFC 5626 section 4.1), or the Contact URI where there is none.
#[must_use]
pub(super) fn key_of(binding: &Binding) -> &str {
    const NAME: &str = ";+sip.instance=";
    let params = &*binding.params;
    let found = params
        .as_bytes()
        .windows(NAME.len())
        .position(|window| window.eq_ignore_ascii_case(NAME.as_bytes()));
    let value = found.map(|at| &params[at + NAME.len()..]);
    // A quoted value may hold semicolons.
    let end = |value: &str| match value.strip_prefix('"') {
        Some(rest) => rest.find('"').map_or(value.len(), |end| end + 2),
        None => value.find(';').unwrap_or(value.len()),
    };
    let instance = value.map(|value| value[..end(value)].trim_matches('"'));
    instance.filter(|id| !id.is_empty()).unwrap_or(&binding.contact)
}

/// Whether Accept names this media type; a wildcard says nothing about bodies that few know.
fn lists(message: &Message, media_type: &str) -> bool {
    let mut values = message.values(Name::Accept).take(32);
    values.any(|value| std::str::from_utf8(value).is_ok_and(|value| sip::body::is(value, media_type)))
}

fn options(core: &mut Core, aor: &Aor, uri: Vec<u8>) -> Draft {
    let from = format!("<sip:{}>;tag={}", core.config.domain, core.endpoint.new_tag());
    let call_id = core.endpoint.new_call_id();
    let to = format!("<{}>", aor_uri(aor));
    Draft::new(Method::Options, uri, &from, &to, &call_id, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(params: &str) -> Binding {
        Binding {
            aor: Aor::new("1000", "example.com"),
            key: model::BindingKey("k".into()),
            contact: "sip:1000@192.0.2.1".into(),
            params: params.into(),
            q: 1_000,
            call_id: "c".into(),
            cseq: 1,
            expires_at: Wall(0),
            created_at: Wall(0),
            path: "".into(),
            user_agent: "".into(),
            endpoint: model::Endpoint {
                transport: model::Transport::Udp,
                local: ([127, 0, 0, 1], 5060).into(),
                peer: ([127, 0, 0, 1], 5061).into(),
            },
        }
    }

    #[test]
    fn a_device_is_known_by_its_instance_or_its_contact() {
        for (params, key) in [
            ("", "sip:1000@192.0.2.1"),
            (";x=1", "sip:1000@192.0.2.1"),
            (";+sip.instance=\"<urn:uuid:1;2>\";reg-id=1", "<urn:uuid:1;2>"),
            (";a;+SIP.Instance=\"<u>\"", "<u>"),
            (";+sip.instance=bare;b", "bare"),
            (";+sip.instance=\"open", "open"),
            (";+sip.instance=\"\"", "sip:1000@192.0.2.1"),
        ] {
            assert_eq!(key_of(&binding(params)), key, "{params}");
        }
    }

    #[test]
    fn what_a_device_takes_is_yes_no_or_open() {
        let mut takes = Takes::default();
        assert!(takes.is_open(Kind::Envelope) && !takes.has(Kind::Envelope));
        takes.set(Kind::Envelope, false);
        assert!(!takes.is_open(Kind::Envelope) && takes.is_open(Kind::Composing));
        takes.set(Kind::Envelope, true);
        assert!(takes.has(Kind::Envelope) && !takes.has(Kind::Composing));
    }
}
