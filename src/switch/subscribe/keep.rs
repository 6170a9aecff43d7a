//! Subscriptions outlive a restart: written down when they are granted and refreshed, taken up at the start, and told the
//! whole state, for all calls are over. So a lamp is right a moment after the restart, and not when its phone refreshes.
//!
//! Only those over UDP: a stream ends with the process, and a phone that loses it registers and subscribes anew. What is no
//! longer allowed, or has run out, is forgotten; its phone is told 481 when it refreshes, and subscribes anew (RFC 6665
//! section 4.1.2.2).

use super::package::{Package, Told};
use super::{States, Subscription, Subscriptions, list};
use crate::core::{Core, Cx};
use crate::registrar;
use crate::room::Room;
use model::{KeptSubscription, StoreOp};
use sip::draft::Tag;
use sip::event::{Kept, Notifier};
use sip::{Flow, Transport, dialog, header};
use std::time::Duration;

/// Less than this lies between two NOTIFYs only where a refresh asks for one, and then the subscription is written anew:
/// the shortest interval that can be configured. So the time that has passed bounds what was sent since; of a list each entry may
/// have been told at once besides.
const SHORTEST_INTERVAL_MS: u64 = 100;

/// Before the name of what is watched as a list.
const LIST: &str = "list:";

/// Between the NOTIFYs to two restored subscriptions: five hundred a second do not stop anybody else.
const SPREAD: Duration = Duration::from_millis(2);

impl Subscriptions {
    /// Writes a subscription down. What is not text, which no phone sends, is not kept.
    pub(super) fn keep(&self, cx: &mut Cx<'_>, number: u64) {
        let Some(one) = self.table.get(number) else { return };
        let kept = one.notifier.kept(cx.now.mono);
        if kept.dialog.flow.transport == Transport::Udp
            && let Some(record) = record(cx, one, &kept)
        {
            cx.core.store(StoreOp::PutSubscription(Box::new(record)));
        }
    }

    /// Takes up what was before the restart.
    pub(crate) fn restore(&mut self, cx: &mut Cx<'_>, states: &States<'_>, stored: Vec<KeptSubscription>) {
        let total = stored.len();
        let mut place = 0;
        for kept in stored {
            let tag = kept.tag;
            match self.restore_one(cx, states, kept, SPREAD * place) {
                Some(()) => place += 1,
                None => cx.core.store(StoreOp::DeleteSubscription(tag)),
            }
        }
        tracing::info!(stored = total, restored = place, "subscriptions restored");
    }

    fn restore_one(
        &mut self,
        cx: &mut Cx<'_>,
        states: &States<'_>,
        kept: KeptSubscription,
        rest: Duration,
    ) -> Option<()> {
        let left = cx.now.wall.until(kept.expires_at);
        let user = cx.core.users.find(kept.user.user())?;
        let event = header::Event::parse(kept.event.as_bytes()).ok()?;
        let package = Package::named(event.package())?;
        let (address, is_list) = match kept.resource.strip_prefix(LIST) {
            Some(list) => (list, true),
            None => (&*kept.resource, false),
        };
        let watched = package.admit(cx.core, states, user, (Some(address), is_list)).ok()?;
        let room = self.table.len() < cx.core.config.limits.max_subscriptions;
        let flow = flow(cx.core, &kept).filter(|_| !left.is_zero() && room)?;
        let number = self.table.next_number();
        let passed = u64::try_from(kept.kept_at.until(cx.now.wall).as_millis()).unwrap_or(0);
        let at_once = if is_list { list::MAX_ENTRIES as u64 } else { 0 };
        let skip = u32::try_from(8 + at_once + passed / SHORTEST_INTERVAL_MS).unwrap_or(u32::MAX);
        let version = kept.version.saturating_add(skip);
        let lifetimes = package.lifetimes();
        let left = left.min(Duration::from_secs(lifetimes.max.into()));
        let owner = Room::Subscription.owner(number);
        let (kept_user, address) = (kept.user.clone(), address.into());
        let mut notifier = notifier_parts(kept, flow, left);
        notifier.requires = watched.requires();
        let endpoint = &mut cx.core.endpoint;
        let notifier = Notifier::restore(cx.now.mono, owner, notifier, (lifetimes, skip), endpoint);
        let mut told = Told::of(cx.core, states, user, &watched);
        told.go_on(version);
        let subscription = Subscription {
            user: kept_user,
            address,
            watched,
            notifier,
            told,
            rests_until: cx.now.mono + rest,
            alarm: None,
            waits: false,
            is_doubted: false,
        };
        self.table.insert(number, subscription);
        self.tell(cx, states, number, true);
        Some(())
    }
}

/// Datagrams find their way back through the same listener, if it is still there.
fn flow(core: &Core, kept: &KeptSubscription) -> Option<Flow> {
    let (local, peer) = (kept.endpoint.local, kept.endpoint.peer);
    let mut listeners = core.config.listeners.iter();
    let is_there = listeners.any(|l| l.transport == Transport::Udp && l.local == local);
    (is_there && kept.endpoint.transport == model::Transport::Udp).then_some(Flow {
        transport: Transport::Udp,
        local,
        peer,
        connection: 0,
    })
}

fn record(cx: &Cx<'_>, one: &Subscription, kept: &Kept) -> Option<KeptSubscription> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(Box::from);
    let routes: Vec<&str> = kept
        .dialog
        .routes
        .iter()
        .map(|route| std::str::from_utf8(route))
        .collect::<Result<_, _>>()
        .ok()?;
    Some(KeptSubscription {
        tag: kept.tag.0,
        user: one.user.clone(),
        event: kept.package.as_str().into(),
        resource: match one.watched.is_list() {
            true => format!("{LIST}{}", one.address).into(),
            false => one.address.clone(),
        },
        contact: kept.contact.as_str().into(),
        call_id: text(&kept.dialog.call_id)?,
        remote_tag: text(&kept.dialog.remote_tag)?,
        local: text(&kept.dialog.local)?,
        remote: text(&kept.dialog.remote)?,
        routes: routes.join("\n").into(),
        target: text(&kept.dialog.target)?,
        local_cseq: kept.dialog.local_cseq,
        remote_cseq: kept.dialog.remote_cseq,
        secure: kept.dialog.secure,
        endpoint: registrar::endpoint(kept.dialog.flow),
        version: one.told.next_free(),
        kept_at: cx.now.wall,
        expires_at: cx.now.wall + kept.left,
    })
}

fn notifier_parts(kept: KeptSubscription, flow: Flow, left: Duration) -> Kept {
    let bytes = |text: Box<str>| text.into_string().into_bytes();
    let routes = kept.routes.lines().map(|route| route.as_bytes().to_vec());
    Kept {
        tag: Tag(kept.tag),
        package: kept.event.into(),
        contact: kept.contact.into(),
        dialog: dialog::Kept {
            routes: routes.collect(),
            call_id: bytes(kept.call_id),
            remote_tag: bytes(kept.remote_tag),
            local: bytes(kept.local),
            remote: bytes(kept.remote),
            target: bytes(kept.target),
            local_cseq: kept.local_cseq,
            remote_cseq: kept.remote_cseq,
            secure: kept.secure,
            flow,
        },
        left,
        requires: None,
    }
}
