//! We call: INVITE until its final response (RFC 3261 section 13.2).

use super::session::{Acked, Calling, Cx, Exchange, FIRST_CSEQ, Phase, Session};
use super::timer::least_of;
use super::{Cause, Event, Invitation};
use crate::dialog::Dialog;
use crate::draft::{Draft, Headers};
use crate::endpoint::{Endpoint, Owner};
use crate::output::Sink;
use crate::{Flow, Message, Method, Name};
use clock::Mono;
use smallvec::SmallVec;

/// More forks than this do not ring for one call; what comes from others is shown as from the first.
const MAX_FORKS: usize = 32;

impl Session {
    /// Sends an INVITE.
    pub fn connect(
        now: Mono,
        owner: Owner,
        invitation: Invitation,
        endpoint: &mut Endpoint,
        out: &mut impl Sink,
    ) -> Session {
        let (tag, call_id) = (endpoint.new_tag(), endpoint.new_call_id());
        let from = format!("{};tag={tag}", invitation.from);
        let draft = invite(&invitation, &from, &call_id, FIRST_CSEQ, 0);
        let invite = endpoint.send(now, invitation.destination.clone(), &draft, owner, out);
        endpoint.bind_dialog(tag, owner);
        let calling = Calling {
            invite,
            from: from.into_bytes(),
            uri: draft.uri,
            offered: draft.body.is_some(),
            closing: None,
            // One is the rule, and a dialog is large.
            forks: Vec::with_capacity(1),
            rseqs: Vec::new(),
            settled: None,
            owes_prack: None,
            // Only session timers have a refusal of which we learn something.
            invitation: invitation.local.expiry.map(|_| Box::new(invitation.clone())),
        };
        Session {
            owner,
            local: invitation.local,
            call_id,
            tag,
            is_caller: true,
            first_cseq: FIRST_CSEQ,
            allowed: None,
            phase: Phase::Calling(calling),
            exchange: Exchange::Idle,
            owes_ack: None,
            retry: None,
            unacked: None,
            acked: None,
            strangers: Vec::new(),
            farewell: None,
            refresh: None,
            least_s: 0,
            described: invitation.offer,
            requests: SmallVec::new(),
            plain_contact: None,
        }
    }

    pub(super) fn on_invite_response(&mut self, cx: &mut Cx<'_, impl Sink>, status: u16, got: Option<(Flow, Message)>) {
        match (status, got) {
            (..=100, _) => {}
            (101..200, Some((flow, message))) => self.on_progress(cx, flow, message),
            (200..300, Some((flow, message))) => self.on_success(cx, flow, message),
            (_, got) => self.on_refusal(cx, status, got.map(|(_, message)| message)),
        }
    }

    fn on_progress(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, message: Message) {
        self.learn(&message);
        let fork = self.fork_of(flow, &message);
        let Some((reliable, wants_answer)) = self.take_reliable(cx, fork, &message) else {
            return;
        };
        if !self.is_closing() {
            let event = Event::Progress {
                fork,
                message,
                reliable,
                wants_answer,
            };
            self.tell(cx, event);
        }
    }

    /// The early dialog of a provisional response, made if it is new (section 12.1).
    fn fork_of(&mut self, flow: Flow, message: &Message) -> u32 {
        let tag = self.tag;
        let Phase::Calling(calling) = &mut self.phase else {
            return 0;
        };
        if message.to_tag().is_empty() {
            return 0;
        }
        let known = calling
            .forks
            .iter()
            .position(|fork| fork.id().remote() == message.to_tag());
        let index = known.unwrap_or_else(|| {
            if calling.forks.len() >= MAX_FORKS {
                return 0;
            }
            let fork = Dialog::as_caller(flow, message, &calling.from, tag, &calling.uri);
            calling.forks.push(self.local.dialog(fork));
            calling.forks.len() - 1
        });
        u32::try_from(index).unwrap_or(0)
    }

    /// The first 2xx confirms its dialog and ends the other early ones (section 13.2.2.4).
    fn on_success(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, message: Message) {
        self.learn(&message);
        let tag = self.tag;
        let Phase::Calling(calling) = &mut self.phase else {
            return;
        };
        let known = calling
            .forks
            .iter()
            .position(|fork| fork.id().remote() == message.to_tag());
        let fork = known.unwrap_or(calling.forks.len());
        let mut dialog = match known {
            Some(fork) => calling.forks.swap_remove(fork),
            None => self
                .local
                .dialog(Dialog::as_caller(flow, &message, &calling.from, tag, &calling.uri)),
        };
        dialog.confirm(flow, &message);
        // Offer and answer may have been exchanged before, reliably, in this very fork.
        let settled = calling.settled.is_some() && calling.settled == known;
        let offered = calling.offered || settled;
        let (closing, invite) = (calling.closing.take(), calling.invite);
        self.phase = Phase::Talking(dialog);
        self.owe(cx, invite, &message, !offered);
        // It answered before our CANCEL reached it: the call is ended as any other (section 15).
        if let Some(headers) = closing {
            return self.leave(cx, &headers);
        }
        self.learn_expiry(cx, &message);
        if offered {
            self.acknowledge(cx, None);
        }
        let fork = u32::try_from(fork).unwrap_or(0);
        self.tell(
            cx,
            Event::Answered {
                fork,
                message,
                wants_answer: !offered,
            },
        );
    }

    fn on_refusal(&mut self, cx: &mut Cx<'_, impl Sink>, status: u16, message: Option<Message>) {
        let closing = self.is_closing();
        if status == 422 && !closing && self.ask_longer(cx, message.as_ref()) {
            return;
        }
        let status = if closing && message.is_none() { 487 } else { status };
        self.tell(
            cx,
            Event::Rejected {
                status,
                message: message.clone(),
            },
        );
        self.end(cx, if closing { Cause::Local } else { Cause::Rejected }, message);
    }

    /// The INVITE once more with the life that a 422 wants (RFC 4028 section 7.3); false if it wants nothing new.
    fn ask_longer(&mut self, cx: &mut Cx<'_, impl Sink>, refusal: Option<&Message>) -> bool {
        let least_s = refusal.and_then(least_of).unwrap_or(0);
        let Phase::Calling(calling) = &mut self.phase else {
            return false;
        };
        let Some(invitation) = calling.invitation.as_ref().filter(|_| least_s > self.least_s) else {
            return false;
        };
        self.least_s = least_s;
        self.first_cseq += 1;
        let from = String::from_utf8_lossy(&calling.from).into_owned();
        let draft = invite(invitation, &from, &self.call_id, self.first_cseq, least_s);
        calling.invite = cx
            .endpoint
            .send(cx.now, invitation.destination.clone(), &draft, self.owner, cx.out);
        calling.forks.clear();
        calling.rseqs.clear();
        (calling.settled, calling.owes_prack) = (None, None);
        true
    }

    fn is_closing(&self) -> bool {
        matches!(&self.phase, Phase::Calling(calling) if calling.closing.is_some())
    }

    /// A 2xx to an INVITE of ours that came before: its ACK was lost and is sent again. Or of another fork that answered as
    /// well: it is acknowledged and ended, since one call has two sides (section 13.2.2.4).
    pub(super) fn on_success_again(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, message: &Message) {
        if message.method() != Method::Invite || !(200..300).contains(&message.status()) {
            return;
        }
        let (Phase::Talking(dialog) | Phase::Leaving(super::session::Leaving { dialog, .. })) = &self.phase else {
            return;
        };
        let (same, cseq) = (dialog.id().remote() == message.to_tag(), message.cseq());
        match self.acked.as_deref() {
            Some(Acked { cseq: last, draft, .. }) if same && cseq == *last => cx.send_ack(dialog, draft),
            Some(Acked { cseq: last, .. }) if same && cseq < *last => cx.send_ack(dialog, &dialog.ack(cseq)),
            _ if !same && self.is_caller && cseq == self.first_cseq => self.turn_away(cx, flow, message),
            _ => {}
        }
    }

    fn turn_away(&mut self, cx: &mut Cx<'_, impl Sink>, flow: Flow, message: &Message) {
        let known = self.strangers.iter().any(|tag| **tag == *message.to_tag());
        if !known && self.strangers.len() >= MAX_FORKS {
            return;
        }
        let from = message.header(Name::From).unwrap_or_default();
        let mut stranger = Dialog::as_caller(
            flow,
            message,
            from,
            self.tag,
            message.header(Name::To).unwrap_or_default(),
        );
        if self.local.heeds_names {
            stranger.heed_names();
        }
        cx.send_ack(&stranger, &stranger.ack(message.cseq()));
        if !known {
            self.strangers.push(message.to_tag().into());
            let bye = stranger.request(Method::Bye).headers(&self.local.headers);
            let bye = cx.send(&stranger, &bye, self.owner);
            cx.endpoint.disown(bye);
        }
    }
}

fn invite(invitation: &Invitation, from: &str, call_id: &str, cseq: u32, least_s: u32) -> Draft {
    let mut headers = Headers::new()
        .with(Name::MaxForwards, invitation.max_forwards.to_string())
        .with(Name::From, from)
        .with(Name::To, &invitation.to)
        .with(Name::CallId, call_id)
        .with(Name::CSeq, format!("{cseq} INVITE"))
        .with(Name::Contact, &invitation.local.contact);
    headers.append(&invitation.local.extensions());
    if let Some(expiry) = invitation.local.expiry {
        expiry.ask(least_s, &mut headers);
    }
    if invitation.reliable {
        headers.add(Name::Supported, "100rel");
    }
    let draft = Draft {
        method: Method::Invite,
        uri: invitation.uri.clone().into_bytes(),
        headers,
        body: None,
    };
    let draft = draft.headers(&invitation.local.headers).headers(&invitation.headers);
    Draft {
        body: invitation.offer.clone(),
        ..draft
    }
}
