//! Who is typing to whom (RFC 3994): taken from anyone, told to those who watch, and passed on to the devices that take such
//! notices. Never stored, never answered for.

use super::devices::{Kind, key_of};
use super::post::Post;
use super::{Im, timer};
use crate::core::Cx;
use crate::room::Room;
use ahash::RandomState;
use hashbrown::HashMap;
use model::{Aor, Event};
use sip::body::composing::{Composing, MEDIA_TYPE};
use sip::endpoint::Alarm;

/// Pairs of which one types to the other at one time; more are passed on, but nobody is told that they ceased.
const MAX_TYPING: usize = 65_536;

/// Who types to whom, until a notice, a message or the refresh time ends it.
#[derive(Debug)]
pub(super) struct Typing {
    pairs: HashMap<(Aor, Aor), (u64, Alarm), RandomState>,
    by_number: HashMap<u64, (Aor, Aor), RandomState>,
}

impl Typing {
    pub(super) fn new(hasher: &RandomState) -> Typing {
        Typing {
            pairs: HashMap::with_hasher(hasher.clone()),
            by_number: HashMap::with_hasher(hasher.clone()),
        }
    }

    fn end(&mut self, pair: &(Aor, Aor)) -> Option<Alarm> {
        let (number, alarm) = self.pairs.remove(pair)?;
        self.by_number.remove(&number);
        Some(alarm)
    }
}

impl Im {
    /// `from` types to `to`, or no longer: a device said so, or a room of the switch for a page.
    pub(crate) fn compose(&mut self, cx: &mut Cx<'_>, from: &Aor, to: &Aor, notice: &Composing) {
        let was_typing = self.cease(cx, from, to);
        if notice.is_active && self.typing.pairs.len() < MAX_TYPING {
            let number = self.next_number();
            let at = cx.now.mono + notice.refresh;
            let alarm = cx.core.endpoint.set_timer(at, Room::Im.owner(number), timer::COMPOSING);
            let pair = (from.clone(), to.clone());
            self.typing.pairs.insert(pair.clone(), (number, alarm));
            self.typing.by_number.insert(number, pair);
        }
        if was_typing != notice.is_active {
            announce(cx, from, to, notice.is_active);
        }
        self.pass_on(cx, from, to, notice);
    }

    /// A message has come: whoever wrote it does not type any more (section 3.2).
    pub(super) fn on_written(&mut self, cx: &mut Cx<'_>, from: &Aor, to: &Aor) {
        if !self.typing.pairs.is_empty() && self.cease(cx, from, to) {
            announce(cx, from, to, false);
        }
    }

    /// The refresh time is over without a word.
    pub(super) fn on_composing_over(&mut self, cx: &mut Cx<'_>, number: u64) {
        if let Some(pair) = self.typing.by_number.remove(&number) {
            self.typing.pairs.remove(&pair);
            announce(cx, &pair.0, &pair.1, false);
        }
    }

    fn cease(&mut self, cx: &mut Cx<'_>, from: &Aor, to: &Aor) -> bool {
        let alarm = self.typing.end(&(from.clone(), to.clone()));
        if let Some(alarm) = alarm {
            cx.core.endpoint.cancel_timer(alarm);
        }
        alarm.is_some()
    }

    /// To the devices that take it, if there is one.
    fn pass_on(&mut self, cx: &mut Cx<'_>, from: &Aor, to: &Aor, notice: &Composing) {
        let bindings = cx.registrar.bindings(to, cx.now);
        let takes = |key: &str| self.devices.takes(to, key).has(Kind::Composing);
        let is_of_use = bindings.iter().any(|bound| takes(key_of(&bound.binding)));
        drop(bindings);
        if !is_of_use {
            return;
        }
        let name = cx.core.users.named(from.user()).map(|user| user.name.clone());
        let post = Post {
            from: from.clone(),
            from_display: name.unwrap_or_default(),
            to: to.clone(),
            content_type: MEDIA_TYPE.into(),
            body: notice.write().into(),
            guise: None,
            keeps: false,
            text: None,
            owner: None,
        };
        self.post(cx, post);
    }
}

fn announce(cx: &mut Cx<'_>, from: &Aor, to: &Aor, composing: bool) {
    cx.core.announce(|| Event::Composing {
        from: from.clone(),
        to: to.clone(),
        composing,
    });
}
