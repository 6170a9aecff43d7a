//! Requests of a phone and what comes of them (RFC 3261 section 17.1).

use super::{Cx, Do, Phone, T1, T2, TIMEOUT, Timer};
use crate::text::{Request, Text};
use bytes::Bytes;
use clock::Mono;
use std::time::Duration;

/// Challenges one request may meet: a stale nonce, and a switch that has started anew.
const MAX_TRIES: u8 = 4;

/// What a request is for.
#[derive(Clone, Debug)]
pub enum Purpose {
    Register,
    Letter(String),
    /// Begins the call of this Call-ID.
    Invite(String),
    /// Changes the call of this Call-ID.
    Reinvite(String),
    Bye(String),
    /// Nobody minds what the answer is, only that there is one.
    Any,
}

/// One request under way, or just answered.
pub struct Client {
    pub request: Request,
    purpose: Purpose,
    pub bytes: Bytes,
    began: Mono,
    interval: Duration,
    provisional: bool,
    /// Status and To-tag of the final answer.
    outcome: Option<(u16, String)>,
    /// What each copy of the final answer to an INVITE is answered.
    ack: Option<Bytes>,
    tries: u8,
}

impl Client {
    fn is_invite(&self) -> bool {
        self.request.method == "INVITE"
    }
}

impl Phone {
    /// Sends a request; its branch.
    pub fn request(&mut self, cx: &mut Cx<'_>, request: Request, purpose: Purpose) -> String {
        self.send_request(cx, request, purpose, 1)
    }

    fn send_request(&mut self, cx: &mut Cx<'_>, request: Request, purpose: Purpose, tries: u8) -> String {
        let branch = self.name("z9hG4bK");
        let credentials = self.credentials(&request);
        let bytes = request.bytes(self.address, &branch, &credentials);
        self.begin(cx, branch, request, purpose, bytes, tries)
    }

    /// CANCEL has the branch of the INVITE it cancels (section 9.1).
    pub fn cancel(&mut self, cx: &mut Cx<'_>, branch: &str) {
        let Some(invite) = self.clients.get(branch) else { return };
        let request = Request {
            method: "CANCEL",
            more: String::new(),
            body: None,
            ..invite.request.clone()
        };
        let bytes = request.bytes(self.address, branch, "");
        self.begin(cx, format!("{branch} CANCEL"), request, Purpose::Any, bytes, MAX_TRIES);
    }

    fn begin(
        &mut self,
        cx: &mut Cx<'_>,
        key: String,
        request: Request,
        purpose: Purpose,
        bytes: Bytes,
        tries: u8,
    ) -> String {
        cx.out.push(Do::Send(bytes.clone()));
        cx.out.push(Do::After(T1, Timer::Resend(key.clone())));
        cx.out.push(Do::After(TIMEOUT, Timer::GiveUp(key.clone())));
        let client = Client {
            request,
            purpose,
            bytes,
            began: cx.now,
            interval: T1,
            provisional: false,
            outcome: None,
            ack: None,
            tries,
        };
        self.clients.insert(key.clone(), client);
        key
    }

    fn credentials(&mut self, request: &Request) -> String {
        let name = self.extension();
        let Some((line, count)) = &mut self.nonce else {
            return String::new();
        };
        *count += 1;
        let Ok(challenge) = sip::digest::Challenge::parse(line.as_bytes()) else {
            return String::new();
        };
        let (method, uri) = (request.method.as_bytes(), request.uri.as_bytes());
        let value = challenge.credentials(&name, &self.ha1, method, uri, "c0ffee", *count);
        format!("Authorization: {}\r\n", String::from_utf8_lossy(&value))
    }

    /// Timers A and E.
    pub fn resend(&mut self, cx: &mut Cx<'_>, key: &str) {
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if client.outcome.is_some() || (client.is_invite() && client.provisional) {
            return;
        }
        client.interval *= 2;
        if !client.is_invite() {
            client.interval = if client.provisional {
                T2
            } else {
                client.interval.min(T2)
            };
        }
        cx.out.push(Do::Send(client.bytes.clone()));
        cx.out.push(Do::After(client.interval, Timer::Resend(key.to_owned())));
    }

    /// Timers B and F. An INVITE that rings has no limit here: see [`super::call::Act::Limit`].
    pub fn give_up(&mut self, cx: &mut Cx<'_>, key: &str) {
        let Some(client) = self.clients.get(key) else { return };
        if client.outcome.is_some() || (client.is_invite() && client.provisional) {
            return;
        }
        // The switch does not repeat its 2xx to a re-INVITE when a BYE has come after it: the timer ends that one.
        let is_void = matches!(&client.purpose, Purpose::Reinvite(call) if self.is_over(call));
        if !is_void && !cx.ledger.is_excused(client.began) {
            let what = format!("no answer to {}", client.request.method);
            cx.ledger.violated(cx.now, &client.request.call_id, &what);
        }
        cx.ledger
            .count(&format!("{} unanswered (crash)", client.request.method));
        let purpose = client.purpose.clone();
        self.clients.remove(key);
        self.on_final(cx, key, purpose, None);
    }

    pub fn handle_response(&mut self, cx: &mut Cx<'_>, text: &Text) {
        let key = match text.method() {
            "CANCEL" => format!("{} CANCEL", text.branch()),
            _ => text.branch().to_owned(),
        };
        let Some(client) = self.clients.get_mut(&key) else {
            return cx.ledger.count("stray response");
        };
        let status = text.status();
        if status < 200 {
            client.provisional = true;
            if let Purpose::Invite(call) = client.purpose.clone() {
                self.on_progress(cx, &call, status);
            }
            return;
        }
        let outcome = (status, text.to_tag().to_owned());
        match &client.outcome {
            None => client.outcome = Some(outcome),
            Some(before) => {
                let same = if client.is_invite() {
                    *before == outcome
                } else {
                    before.0 == status
                };
                // A repeated request asks a switch that has come back who it is from; its sender has the first answer.
                let began = Mono(cx.now.0.saturating_sub(TIMEOUT.as_nanos() as u64));
                if !same && (status == 401 || before.0 == 401) && cx.ledger.is_excused(began) {
                    cx.ledger.count("challenges to what was answered before a crash");
                } else if !same {
                    let what = format!("two final answers to one {}: {before:?}, {outcome:?}", text.method());
                    cx.ledger.violated(cx.now, text.call_id(), &what);
                }
                cx.out.extend(client.ack.clone().map(Do::Send));
                return;
            }
        }
        cx.out.push(Do::After(TIMEOUT, Timer::Forget(key.clone())));
        self.on_outcome(cx, &key, text);
    }

    /// The first final answer to a request.
    fn on_outcome(&mut self, cx: &mut Cx<'_>, key: &str, text: &Text) {
        let address = self.address;
        let Some(client) = self.clients.get_mut(key) else {
            return;
        };
        if client.is_invite() && text.status() >= 300 {
            // Section 17.1.1.3: the ACK of a refusal belongs to the transaction.
            let ack = Request {
                method: "ACK",
                to: text.get("To").to_owned(),
                more: String::new(),
                body: None,
                ..client.request.clone()
            };
            let ack = ack.bytes(address, key, "");
            client.ack = Some(ack.clone());
            cx.out.push(Do::Send(ack));
        }
        let (purpose, tries, began) = (client.purpose.clone(), client.tries, client.began);
        if text.status() == 401 && tries < MAX_TRIES {
            let request = client.request.clone();
            return self.try_again(cx, request, purpose, tries, text);
        }
        if text.status() == 401 && !cx.ledger.is_excused(began) {
            let what = format!("{} is challenged again and again", text.method());
            cx.ledger.violated(cx.now, text.call_id(), &what);
        }
        self.on_final(cx, key, purpose, Some(text));
    }

    fn try_again(&mut self, cx: &mut Cx<'_>, mut request: Request, purpose: Purpose, tries: u8, text: &Text) {
        cx.ledger.count(&format!("challenge {}", text.method()));
        self.nonce = Some((text.get("WWW-Authenticate").to_owned(), 0));
        request.cseq = self.next_cseq(&purpose, request.cseq);
        let branch = self.send_request(cx, request, purpose.clone(), tries + 1);
        match purpose {
            Purpose::Invite(call) => self.on_invite_again(cx, &call, branch),
            Purpose::Reinvite(call) => self.on_reinvite_again(&call, branch),
            _ => {}
        }
    }

    fn next_cseq(&mut self, purpose: &Purpose, before: u32) -> u32 {
        match purpose {
            Purpose::Register => {
                self.registration.1 += 1;
                self.registration.1
            }
            Purpose::Invite(call) | Purpose::Reinvite(call) | Purpose::Bye(call) => self.next_call_cseq(call, before),
            _ => before + 1,
        }
    }

    /// What becomes of it; `None`: no answer came.
    fn on_final(&mut self, cx: &mut Cx<'_>, key: &str, purpose: Purpose, answer: Option<&Text>) {
        match purpose {
            Purpose::Register => self.on_registered(cx, answer),
            Purpose::Letter(id) => self.on_letter_answered(cx, &id, answer),
            Purpose::Invite(call) => self.on_invite_answered(cx, key, &call, answer),
            Purpose::Reinvite(call) => self.on_reinvite_answered(cx, key, &call, answer),
            Purpose::Bye(call) => self.on_bye_answered(cx, &call),
            Purpose::Any => {}
        }
    }

    /// ACK of a 2xx, for it and each copy of it (section 13.2.2.4).
    pub fn acknowledge(&mut self, cx: &mut Cx<'_>, key: &str, ack: Request) {
        let branch = self.name("z9hG4bK");
        let bytes = ack.bytes(self.address, &branch, "");
        if let Some(client) = self.clients.get_mut(key) {
            client.ack = Some(bytes.clone());
        }
        cx.out.push(Do::Send(bytes));
    }

    /// CSeq of a request under way.
    pub fn cseq_of(&self, key: &str) -> u32 {
        self.clients.get(key).map_or(0, |client| client.request.cseq)
    }
}
