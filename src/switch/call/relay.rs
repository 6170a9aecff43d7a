//! Requests inside a dialog that are not the session's own: INFO and MESSAGE go to the other device and its answer
//! comes back, but a key press becomes packets where the other takes them ([`super::dtmf`]); what the switch does not do inside a call is refused.

use super::{Calls, LegKey, Relayed};
use crate::core::Cx;
use crate::route::best;
use sip::endpoint::{ClientId, ServerId};
use sip::{Body, Headers, Message, Method, Name, Reply};
use smallvec::SmallVec;

/// What a device may send us: Allow.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, UPDATE, PRACK, REFER";

/// Extensions that a session has.
pub(crate) const SUPPORTED: &str = "replaces, join, norefersub";

/// Requests a device may owe answers to at one time. A key press takes a round trip; nobody presses faster.
const RELAYED_MAX: usize = 16;

/// Longest INFO body that is passed on: DTMF and hook flash take a few dozen bytes.
const INFO_MAX: usize = 4 * 1024;

impl Calls {
    /// A request in a leg's dialog.
    pub(super) fn on_request(&mut self, cx: &mut Cx<'_>, key: LegKey, server: ServerId, message: &Message) {
        let is_over = self.legs.get(key).is_none_or(super::Leg::is_over);
        let reply = match (crate::admission::unsupported_extension(message), message.method()) {
            _ if is_over => Some(Reply::new(481)),
            (Some(reply), _) => Some(reply),
            (None, Method::Info | Method::Message) => self.pass_request(cx, key, server, message),
            (None, Method::Refer) => self.on_refer(cx, key, server, message),
            (None, method) => Some(own_reply(method)),
        };
        if let (Some(reply), Some(leg)) = (reply, self.legs.get_mut(key)) {
            leg.respond(cx, server, reply);
        }
    }

    /// Passes a request to the other device; the reply, if it gets none from there.
    fn pass_request(&mut self, cx: &mut Cx<'_>, key: LegKey, server: ServerId, message: &Message) -> Option<Reply> {
        let method = message.method();
        let size = message.body().len();
        let fits = match method {
            Method::Info => size <= INFO_MAX,
            _ => size <= cx.core.config.im.max_size,
        };
        if !fits {
            return Some(Reply::new(413));
        }
        if method == Method::Message && !self.may_write(cx, key) {
            return Some(Reply::new(403));
        }
        if method == Method::Info && self.take_info_key(cx, key, message) {
            return Some(Reply::new(200));
        }
        let Some(other) = self.partner(key) else {
            // What is no key press has no use for a service; text has no reader.
            return Some(Reply::new(if method == Method::Info { 200 } else { 480 }));
        };
        let leg = self.legs.get_mut(other)?;
        if leg.relayed.len() >= RELAYED_MAX {
            return Some(Reply::new(500).header(Name::RetryAfter, "1"));
        }
        match leg.request(cx, method, &passed_headers(message), Body::of(message)) {
            Ok(client) => {
                let from = key;
                leg.relayed.push(Relayed { client, from, server });
                None
            }
            Err(_) => Some(Reply::new(480)),
        }
    }

    /// Users without the right to send messages have it in no dialog either (R005).
    fn may_write(&self, cx: &Cx<'_>, key: LegKey) -> bool {
        let user = self.legs.get(key).and_then(|leg| leg.user.as_ref());
        user.and_then(|aor| cx.core.users.named(aor.user()))
            .is_none_or(|user| user.im)
    }

    /// The other device has answered.
    pub(super) fn on_response(&mut self, cx: &mut Cx<'_>, key: LegKey, client: ClientId, status: u16) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let Some(place) = leg.relayed.iter().position(|relayed| relayed.client == client) else {
            return;
        };
        let Relayed { from, server, .. } = leg.relayed.remove(place);
        let status = if status < 300 {
            status
        } else {
            best::told_to_caller(status)
        };
        if let Some(asker) = self.legs.get_mut(from) {
            asker.respond(cx, server, Reply::new(status));
        }
    }

    /// A leg leaves: what its device still owes is answered for it, and what it waits for will not come (RFC 3261 section
    /// 15.1.2), so that no transaction waits for nothing.
    pub(super) fn drop_relayed(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let call = self.legs.get(key).map(|leg| leg.interaction);
        let Some(interaction) = call.and_then(|call| self.interactions.get(call)) else {
            return;
        };
        let mut waiting: SmallVec<[(LegKey, ServerId); 2]> = SmallVec::new();
        for owing in interaction.legs() {
            let Some(leg) = self.legs.get_mut(owing) else { continue };
            leg.relayed.retain(|relayed| {
                let over = owing == key || relayed.from == key;
                waiting.extend(over.then_some((relayed.from, relayed.server)));
                !over
            });
        }
        for (from, server) in waiting {
            if let Some(asker) = self.legs.get_mut(from) {
                asker.respond(cx, server, Reply::new(487));
            }
        }
    }
}

/// What the switch itself says to other requests inside a call.
fn own_reply(method: Method) -> Reply {
    match method {
        Method::Options => Reply::new(200)
            .header(Name::Allow, ALLOW)
            .header(Name::Accept, "application/sdp"),
        // RFC 6665 sections 4.1.3 and 7.2.1: no package here, and no subscription of ours.
        Method::Subscribe => Reply::new(489).header(Name::AllowEvents, crate::subscribe::ALLOW_EVENTS),
        Method::Notify => Reply::new(481),
        _ => Reply::new(405).header(Name::Allow, ALLOW),
    }
}

/// Headers that say what the body means.
fn passed_headers(message: &Message) -> Headers {
    let mut headers = Headers::new();
    for name in [Name::InfoPackage, Name::ContentDisposition] {
        if let Some(value) = message.header(name).filter(|value| value.len() <= 200) {
            headers.add(name, value);
        }
    }
    headers
}
