//! Requests to a phone (RFC 3261 section 17.2).

use super::{Cx, Do, Phone, T1, T2, TIMEOUT, Timer};
use crate::text::{self, Text};
use bytes::Bytes;
use clock::Mono;
use std::time::Duration;

/// One request of the switch.
pub struct Server {
    request: Text,
    last: Option<Bytes>,
    status: u16,
    began: Mono,
    acknowledged: bool,
    interval: Duration,
}

impl Phone {
    pub fn handle_request(&mut self, cx: &mut Cx<'_>, request: &Text) {
        let method = request.start.split(' ').next().unwrap_or("");
        if method == "ACK" {
            return self.handle_ack(cx, request);
        }
        let key = format!("{} {method}", request.branch());
        if let Some(server) = self.servers.get(&key) {
            cx.out.extend(server.last.clone().map(Do::Send));
            return;
        }
        let server = Server {
            request: request.clone(),
            last: None,
            status: 0,
            began: cx.now,
            acknowledged: false,
            interval: T1,
        };
        self.servers.insert(key.clone(), server);
        match method {
            "INVITE" if request.to_tag().is_empty() => self.on_invite(cx, &key, request),
            "INVITE" => self.on_reinvite(cx, &key, request),
            "CANCEL" => self.on_cancel(cx, &key, request),
            "BYE" => self.on_bye(cx, &key, request),
            "UPDATE" => self.on_update(cx, &key, request),
            "MESSAGE" => self.on_letter(cx, &key),
            "NOTIFY" | "OPTIONS" | "INFO" => self.respond(cx, &key, 200, "", None),
            _ => self.respond(cx, &key, 405, "Allow: INVITE, ACK, BYE, CANCEL, MESSAGE\r\n", None),
        }
    }

    /// Answers a request. A final answer to INVITE is sent again until the ACK comes.
    pub fn respond(
        &mut self,
        cx: &mut Cx<'_>,
        key: &str,
        status: u16,
        more: &str,
        body: Option<&(&'static str, String)>,
    ) {
        let tag = format!("t{}-{}", self.index, self.life);
        let Some(server) = self.servers.get_mut(key) else {
            return;
        };
        let bytes = text::response(&server.request, status, &tag, more, body);
        server.last = Some(bytes.clone());
        server.status = status;
        cx.out.push(Do::Send(bytes));
        if status >= 200 {
            cx.out.push(Do::After(TIMEOUT, Timer::Drop(key.to_owned())));
            if key.ends_with(" INVITE") {
                cx.out.push(Do::After(T1, Timer::Again(key.to_owned())));
            }
        }
    }

    /// Timer G, and section 13.3.1.4 for 2xx.
    pub fn answer_again(&mut self, cx: &mut Cx<'_>, key: &str) {
        let Some(server) = self.servers.get_mut(key).filter(|server| !server.acknowledged) else {
            return;
        };
        server.interval = (server.interval * 2).min(T2);
        cx.out.extend(server.last.clone().map(Do::Send));
        cx.out.push(Do::After(server.interval, Timer::Again(key.to_owned())));
    }

    /// Timers H and J.
    pub fn drop_server(&mut self, cx: &mut Cx<'_>, key: &str) {
        let Some(server) = self.servers.remove(key) else { return };
        if server.acknowledged || !key.ends_with(" INVITE") {
            return;
        }
        let call_id = server.request.call_id();
        // An offer in a 2xx is answered by the caller's ACK. Should the caller be gone, the switch and this phone give up
        // in the same moment.
        let is_late_offer = server.status < 300 && server.request.body.is_empty();
        if is_late_offer {
            cx.ledger.count("late offer without ACK");
        } else if !cx.ledger.is_excused(server.began) {
            let what = format!("no ACK to {}", server.status);
            cx.ledger.violated(cx.now, call_id, &what);
        }
        if server.status < 300 {
            self.hang_up(cx, call_id);
        }
    }

    fn handle_ack(&mut self, cx: &mut Cx<'_>, ack: &Text) {
        let key = format!("{} INVITE", ack.branch());
        if let Some(server) = self.servers.get_mut(&key) {
            server.acknowledged = true;
            return;
        }
        let is_its = |server: &&mut Server| {
            server.request.method() == "INVITE"
                && server.request.call_id() == ack.call_id()
                && server.request.cseq() == ack.cseq()
        };
        let Some(server) = self.servers.values_mut().find(is_its) else {
            return cx.ledger.count("stray ACK");
        };
        let first = !std::mem::replace(&mut server.acknowledged, true);
        if first {
            self.on_acknowledged(cx, ack);
        }
    }

    fn on_cancel(&mut self, cx: &mut Cx<'_>, key: &str, cancel: &Text) {
        let invite = format!("{} INVITE", cancel.branch());
        let Some(server) = self.servers.get(&invite) else {
            return self.respond(cx, key, 481, "", None);
        };
        let answered = server.status >= 200;
        self.respond(cx, key, 200, "", None);
        if !answered {
            self.respond(cx, &invite, 487, "", None);
            self.on_cancelled(cx, cancel.call_id());
        }
    }

    /// The request is yet without a final answer.
    pub fn awaits_answer(&self, key: &str) -> bool {
        self.servers.get(key).is_some_and(|server| server.status < 200)
    }

    /// The dialog is over: a 2xx that was on its way to open or change it is of no use any more.
    pub fn stop_answering(&mut self, call_id: &str) {
        let its = self
            .servers
            .values_mut()
            .filter(|server| server.request.call_id() == call_id);
        its.filter(|server| (200..300).contains(&server.status))
            .for_each(|server| server.acknowledged = true);
    }

    /// The request of this transaction.
    pub fn request_of(&self, key: &str) -> Option<Text> {
        self.servers.get(key).map(|server| server.request.clone())
    }

    /// A re-INVITE or INVITE before the one of this CSeq has no ACK yet.
    pub fn awaits_other_ack(&self, call_id: &str, cseq: u32) -> bool {
        self.servers.values().any(|server| {
            let request = &server.request;
            request.method() == "INVITE"
                && request.call_id() == call_id
                && request.cseq() < cseq
                && !server.acknowledged
        })
    }

    /// A final answer is yet without its ACK.
    pub fn awaits_ack(&self, call_id: &str) -> bool {
        let is_open = |server: &Server| server.request.method() == "INVITE" && !server.acknowledged;
        self.servers
            .values()
            .any(|server| server.request.call_id() == call_id && is_open(server))
    }
}
