//! Calls of a phone: made, taken, refused, held, ended.

use super::client::Purpose;
use super::{Cx, DOMAIN, Do, Phone, T1, TIMEOUT, Timer};
use crate::text::{Request, Text};
use clock::Mono;
use std::time::Duration;

/// What a caller means to do.
#[derive(Clone, Debug)]
pub struct CallPlan {
    /// What is dialled.
    pub dialled: String,
    /// Give up after this, if nobody has answered.
    pub patience: Option<Duration>,
    /// Hang up this long after the answer.
    pub talk: Duration,
    /// Hold this long after the answer.
    pub hold: Option<Duration>,
    /// INVITE without a description; the answer goes with ACK.
    pub is_offerless: bool,
}

/// One call.
pub struct Call {
    is_caller: bool,
    stage: Stage,
    began: Mono,
    call_id: String,
    /// Our From with its tag.
    local: String,
    /// Their address, with its tag once there is a dialog.
    remote: String,
    /// Where requests in the dialog go.
    target: String,
    cseq: u32,
    remote_cseq: u32,
    /// The transaction of the INVITE: client branch of a caller, server key of a callee.
    invite: String,
    rings: bool,
    wants_cancel: bool,
    rtp: u16,
    version: u32,
    plan: CallPlan,
    is_holding: bool,
    /// Our re-INVITE that is under way.
    offering: Option<String>,
    /// Our 2xx holds an offer, whose answer the ACK has to bring.
    owed: bool,
    /// The ACK brought no answer.
    is_mute: bool,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// INVITE sent or received, no final answer yet.
    Inviting,
    /// CANCEL sent.
    Cancelling,
    Up,
    /// BYE sent.
    Leaving,
    Over,
}

/// What a call does at its time.
#[derive(Copy, Clone, Debug)]
pub enum Act {
    Cancel,
    Answer,
    HangUp,
    Hold,
    Resume,
    /// No final answer may take longer.
    Limit,
    Forget,
}

impl Call {
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Leaving | Stage::Over)
    }

    pub fn rtp(&self) -> u16 {
        self.rtp
    }
}

// A caller.

impl Phone {
    /// Makes a call.
    pub fn call(&mut self, cx: &mut Cx<'_>, plan: CallPlan) {
        let call_id = self.name("call");
        let remote = format!("<sip:{}@{DOMAIN}>", plan.dialled);
        let target = format!("sip:{}@{DOMAIN}", plan.dialled);
        let tag = self.name("c");
        let local = format!("\"Phone {}\" <{}>;tag={tag}", self.index, self.uri());
        let mut call = self.new_call(cx, true, call_id.clone(), (local, remote, target), plan);
        call.cseq = 1;
        let offer = (!call.plan.is_offerless).then(|| self.description(&mut call, None, "sendrecv"));
        let request = self.in_call(&mut call, "INVITE", offer);
        if let Some(patience) = call.plan.patience {
            cx.out
                .push(Do::After(patience, Timer::Act(call_id.clone(), Act::Cancel)));
        }
        let limit = cx.settings.longest_setup;
        cx.out.push(Do::After(limit, Timer::Act(call_id.clone(), Act::Limit)));
        call.invite = self.request(cx, request, Purpose::Invite(call_id.clone()));
        self.calls.insert(call_id, call);
        cx.ledger.count("calls");
    }

    fn new_call(
        &mut self,
        cx: &Cx<'_>,
        is_caller: bool,
        call_id: String,
        (local, remote, target): (String, String, String),
        plan: CallPlan,
    ) -> Call {
        // Even ports, and none twice in a life.
        let rtp = 10_000 + u16::try_from(2 * (self.fresh() % 20_000)).unwrap_or(0);
        Call {
            is_caller,
            stage: Stage::Inviting,
            began: cx.now,
            call_id,
            local,
            remote,
            target,
            cseq: 0,
            remote_cseq: 0,
            invite: String::new(),
            rings: false,
            wants_cancel: false,
            rtp,
            version: 0,
            plan,
            is_holding: false,
            offering: None,
            owed: false,
            is_mute: false,
        }
    }

    /// A request of a call, with the next CSeq (but ACK and the first).
    fn in_call(&self, call: &mut Call, method: &'static str, body: Option<String>) -> Request {
        let first = method == "INVITE" && call.stage == Stage::Inviting;
        if method != "ACK" && !first {
            call.cseq += 1;
        }
        let update = self.update();
        Request {
            method,
            uri: call.target.clone(),
            from: call.local.clone(),
            to: call.remote.clone(),
            call_id: call.call_id.clone(),
            cseq: call.cseq,
            more: match method {
                "INVITE" => format!(
                    "Contact: {}\r\nAllow: INVITE, ACK, BYE, CANCEL, MESSAGE{update}\r\n",
                    self.contact()
                ),
                _ => String::new(),
            },
            body: body.map(|sdp| ("application/sdp", sdp)),
        }
    }

    pub fn on_invite_again(&mut self, _: &mut Cx<'_>, call: &str, branch: String) {
        if let Some(call) = self.calls.get_mut(call) {
            call.invite = branch;
            call.rings = false;
        }
    }

    pub fn on_reinvite_again(&mut self, call: &str, branch: String) {
        if let Some(call) = self.calls.get_mut(call) {
            call.offering = Some(branch);
        }
    }

    /// The next CSeq for a request that has to be sent again with credentials.
    pub fn next_call_cseq(&mut self, call: &str, before: u32) -> u32 {
        let Some(call) = self.calls.get_mut(call) else {
            return before + 1;
        };
        call.cseq = call.cseq.max(before) + 1;
        call.cseq
    }

    pub fn on_progress(&mut self, cx: &mut Cx<'_>, id: &str, status: u16) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.rings = true;
        if status == 180 || status == 183 {
            cx.ledger.count("ringing");
        }
        if call.wants_cancel && call.stage == Stage::Inviting {
            self.cancel_call(cx, id);
        }
    }

    /// Section 9.1: only after a provisional answer.
    fn cancel_call(&mut self, cx: &mut Cx<'_>, id: &str) {
        let Some(call) = self.calls.get_mut(id) else { return };
        call.wants_cancel = true;
        if call.stage == Stage::Inviting && call.rings {
            call.stage = Stage::Cancelling;
            let branch = call.invite.clone();
            self.cancel(cx, &branch);
        }
    }

    pub fn on_invite_answered(&mut self, cx: &mut Cx<'_>, key: &str, id: &str, answer: Option<&Text>) {
        let status = answer.map_or(408, Text::status);
        cx.ledger.count(&format!("invite {status}"));
        let Some(mut call) = self.calls.remove(id) else { return };
        let setup = cx.now.since(call.began);
        if setup > cx.settings.longest_setup && !cx.ledger.is_excused(call.began) {
            let what = format!("a final answer after {setup:?}");
            cx.ledger.violated(cx.now, id, &what);
        }
        match answer {
            Some(text) if status < 300 => self.on_answered(cx, key, &mut call, text),
            _ => self.end(cx, &mut call),
        }
        self.calls.insert(id.to_owned(), call);
    }

    fn on_answered(&mut self, cx: &mut Cx<'_>, key: &str, call: &mut Call, text: &Text) {
        call.remote = text.get("To").to_owned();
        call.target = text.target();
        let given_up = call.stage == Stage::Cancelling;
        call.stage = Stage::Up;
        let answer = if call.plan.is_offerless {
            let offer = self.read(cx, call, text).to_owned();
            Some(self.description(call, Some(text), reversed(&offer)))
        } else {
            self.read(cx, call, text);
            None
        };
        let mut ack = self.in_call(call, "ACK", answer);
        ack.cseq = self.cseq_of(key);
        self.acknowledge(cx, key, ack);
        if given_up || call.wants_cancel {
            return self.leave(cx, call);
        }
        self.talk(cx, call);
    }

    fn talk(&mut self, cx: &mut Cx<'_>, call: &Call) {
        let mut at = |after, act| cx.out.push(Do::After(after, Timer::Act(call.call_id.clone(), act)));
        at(call.plan.talk, Act::HangUp);
        if let Some(hold) = call.plan.hold {
            at(hold, Act::Hold);
        }
    }
}

// A callee.

impl Phone {
    pub fn on_invite(&mut self, cx: &mut Cx<'_>, key: &str, invite: &Text) {
        let id = invite.call_id().to_owned();
        if self.calls.contains_key(&id) {
            cx.ledger.violated(cx.now, &id, "a second INVITE begins the same call");
        }
        if !self.is_free() || cx.random.permille(cx.settings.busy) {
            return self.respond(cx, key, 486, "", None);
        }
        let plan = CallPlan {
            dialled: String::new(),
            patience: None,
            talk: cx.settings.talk_at_least + cx.random.millis(500, 12_000),
            hold: cx.random.permille(100).then(|| cx.random.millis(200, 4_000)),
            is_offerless: invite.body.is_empty(),
        };
        let local = format!("{};tag=t{}-{}", invite.get("To"), self.index, self.life);
        let (remote, target) = (invite.get("From").to_owned(), invite.target());
        let mut call = self.new_call(cx, false, id.clone(), (local, remote, target), plan);
        call.invite = key.to_owned();
        call.remote_cseq = invite.cseq();
        let limit = cx.settings.longest_setup;
        cx.out.push(Do::After(limit, Timer::Act(id.clone(), Act::Limit)));
        let contact = format!("Contact: {}\r\n", self.contact());
        if cx.random.permille(cx.settings.decline) {
            self.respond(cx, key, 603, "", None);
            self.end(cx, &mut call);
        } else {
            if cx.random.permille(cx.settings.early) && !call.plan.is_offerless {
                let answer = self.description(&mut call, Some(invite), "sendrecv");
                self.respond(cx, key, 183, &contact, Some(&("application/sdp", answer)));
            } else {
                self.respond(cx, key, 180, &contact, None);
            }
            if !cx.random.permille(cx.settings.ignore) {
                let (least, most) = cx.settings.answer;
                let after = cx.random.millis(least, most);
                cx.out.push(Do::After(after, Timer::Act(id.clone(), Act::Answer)));
            }
        }
        self.calls.insert(id, call);
    }

    fn answer(&mut self, cx: &mut Cx<'_>, id: &str) {
        let Some(mut call) = self.calls.remove(id) else { return };
        if call.stage == Stage::Inviting && self.awaits_answer(&call.invite) {
            let invite = self.request_of(&call.invite);
            let body = match &invite {
                Some(invite) if !invite.body.is_empty() => self.description(&mut call, Some(invite), "sendrecv"),
                _ => {
                    call.owed = true;
                    self.description(&mut call, None, "sendrecv")
                }
            };
            call.stage = Stage::Up;
            let contact = self.manners();
            let key = call.invite.clone();
            self.respond(cx, &key, 200, &contact, Some(&("application/sdp", body)));
            cx.ledger.count("answers");
        }
        self.calls.insert(id.to_owned(), call);
    }

    /// The first ACK of a 2xx of ours.
    pub fn on_acknowledged(&mut self, cx: &mut Cx<'_>, ack: &Text) {
        let Some(mut call) = self.calls.remove(ack.call_id()) else {
            return;
        };
        // Without the answer the call cannot be: a BYE has to follow at once.
        call.is_mute = std::mem::take(&mut call.owed) && ack.body.is_empty();
        if call.stage == Stage::Up && !call.is_caller && !call.rings {
            // Ringing says nothing to a callee: here it marks that the conversation has begun.
            call.rings = true;
            self.talk(cx, &call);
        }
        self.calls.insert(ack.call_id().to_owned(), call);
    }

    pub fn on_cancelled(&mut self, cx: &mut Cx<'_>, id: &str) {
        let Some(mut call) = self.calls.remove(id) else { return };
        cx.ledger.count("cancelled rings");
        self.end(cx, &mut call);
        self.calls.insert(id.to_owned(), call);
    }

    /// The call has ended, or is forgotten.
    pub fn is_over(&self, id: &str) -> bool {
        self.calls.get(id).is_none_or(Call::is_over)
    }

    /// Every third phone knows UPDATE (RFC 3311).
    fn update(&self) -> &'static str {
        if self.index.is_multiple_of(3) { ", UPDATE" } else { "" }
    }

    fn manners(&self) -> String {
        let update = self.update();
        format!(
            "Contact: {}\r\nAllow: INVITE, ACK, BYE, CANCEL, MESSAGE{update}\r\n",
            self.contact()
        )
    }
}

// In the call.

impl Phone {
    pub fn act(&mut self, cx: &mut Cx<'_>, id: &str, act: Act) {
        let Some(call) = self.calls.get(id) else { return };
        match act {
            Act::Cancel if call.stage == Stage::Inviting => self.cancel_call(cx, id),
            Act::Answer => self.answer(cx, id),
            Act::HangUp => self.hang_up(cx, id),
            Act::Hold => self.change(cx, id, true),
            Act::Resume => self.change(cx, id, false),
            Act::Limit => self.on_limit(cx, id),
            Act::Forget if call.is_over() => {
                self.calls.remove(id);
            }
            Act::Cancel | Act::Forget => {}
        }
    }

    /// A call that has no final answer by now hangs.
    fn on_limit(&mut self, cx: &mut Cx<'_>, id: &str) {
        let Some(mut call) = self.calls.remove(id) else { return };
        if matches!(call.stage, Stage::Inviting | Stage::Cancelling) {
            if !cx.ledger.is_excused(call.began) {
                cx.ledger
                    .violated(cx.now, id, "no final answer to an INVITE, or no CANCEL of it");
            }
            cx.ledger.count("call left hanging (crash)");
            if !call.is_caller {
                let key = call.invite.clone();
                self.respond(cx, &key, 480, "", None);
            } else if call.stage == Stage::Inviting {
                self.cancel(cx, &call.invite);
            }
            self.end(cx, &mut call);
        }
        self.calls.insert(id.to_owned(), call);
    }

    pub fn hang_up(&mut self, cx: &mut Cx<'_>, id: &str) {
        let Some(mut call) = self.calls.remove(id) else { return };
        if call.stage == Stage::Up {
            if call.is_mute {
                cx.ledger
                    .violated(cx.now, id, "an ACK without the answer it owes, and no BYE");
            }
            self.leave(cx, &mut call);
        }
        self.calls.insert(id.to_owned(), call);
    }

    fn leave(&mut self, cx: &mut Cx<'_>, call: &mut Call) {
        let bye = self.in_call(call, "BYE", None);
        call.stage = Stage::Leaving;
        self.request(cx, bye, Purpose::Bye(call.call_id.clone()));
    }

    pub fn on_bye_answered(&mut self, cx: &mut Cx<'_>, id: &str) {
        let Some(mut call) = self.calls.remove(id) else { return };
        self.end(cx, &mut call);
        self.calls.insert(id.to_owned(), call);
    }

    pub fn on_bye(&mut self, cx: &mut Cx<'_>, key: &str, bye: &Text) {
        let Some(mut call) = self.calls.remove(bye.call_id()) else {
            return self.respond(cx, key, 481, "", None);
        };
        self.respond(cx, key, 200, "", None);
        // Section 15.1.2: what is still open in the dialog is answered 487.
        if call.stage == Stage::Inviting && !call.is_caller && self.awaits_answer(&call.invite) {
            let invite = call.invite.clone();
            self.respond(cx, &invite, 487, "", None);
        }
        self.end(cx, &mut call);
        self.calls.insert(bye.call_id().to_owned(), call);
    }

    fn end(&mut self, cx: &mut Cx<'_>, call: &mut Call) {
        self.stop_answering(&call.call_id);
        if call.stage != Stage::Over {
            call.stage = Stage::Over;
            let after = TIMEOUT + T1;
            cx.out
                .push(Do::After(after, Timer::Act(call.call_id.clone(), Act::Forget)));
        }
    }

    /// Hold or resume.
    fn change(&mut self, cx: &mut Cx<'_>, id: &str, hold: bool) {
        let Some(mut call) = self.calls.remove(id) else { return };
        if call.stage == Stage::Up && call.offering.is_none() {
            if self.awaits_ack(id) {
                let act = if hold { Act::Hold } else { Act::Resume };
                cx.out.push(Do::After(T1, Timer::Act(id.to_owned(), act)));
            } else {
                call.is_holding = hold;
                let direction = if hold { "sendonly" } else { "sendrecv" };
                let offer = self.description(&mut call, None, direction);
                let request = self.in_call(&mut call, "INVITE", Some(offer));
                call.offering = Some(self.request(cx, request, Purpose::Reinvite(id.to_owned())));
            }
        }
        self.calls.insert(id.to_owned(), call);
    }

    pub fn on_reinvite_answered(&mut self, cx: &mut Cx<'_>, key: &str, id: &str, answer: Option<&Text>) {
        let Some(mut call) = self.calls.remove(id) else { return };
        let status = answer.map_or(408, Text::status);
        cx.ledger.count(&format!("reinvite {status}"));
        call.offering = None;
        let mut again = None;
        match answer {
            Some(text) if status < 300 => {
                self.read(cx, &call, text);
                let mut ack = self.in_call(&mut call, "ACK", None);
                ack.cseq = self.cseq_of(key);
                self.acknowledge(cx, key, ack);
                again = call.is_holding.then(|| cx.random.millis(500, 3_000));
            }
            // Section 14.1: who owns the Call-ID waits longer.
            Some(_) if status == 491 => {
                again = Some(if call.is_caller {
                    cx.random.millis(2_100, 4_000)
                } else {
                    cx.random.millis(0, 2_000)
                });
                call.is_holding = !call.is_holding;
            }
            Some(_) if status == 408 || status == 481 => {
                if call.stage == Stage::Up {
                    self.leave(cx, &mut call);
                }
            }
            _ => call.is_holding = !call.is_holding,
        }
        if let Some(after) = again {
            let act = if call.is_holding { Act::Resume } else { Act::Hold };
            cx.out.push(Do::After(after, Timer::Act(id.to_owned(), act)));
        }
        self.calls.insert(id.to_owned(), call);
    }

    pub fn on_reinvite(&mut self, cx: &mut Cx<'_>, key: &str, invite: &Text) {
        let Some(mut call) = self.calls.remove(invite.call_id()) else {
            return self.respond(cx, key, 481, "", None);
        };
        let status = self.judge(&mut call, invite);
        if status != 200 {
            self.respond(
                cx,
                key,
                status,
                if status == 500 { "Retry-After: 1\r\n" } else { "" },
                None,
            );
        } else {
            let body = if invite.body.is_empty() {
                call.owed = true;
                let direction = if call.is_holding { "sendonly" } else { "sendrecv" };
                self.description(&mut call, None, direction)
            } else {
                let direction = self.read(cx, &call, invite).to_owned();
                self.description(&mut call, Some(invite), reversed(&direction))
            };
            call.target = invite.target();
            let manners = self.manners();
            self.respond(cx, key, 200, &manners, Some(&("application/sdp", body)));
        }
        self.calls.insert(invite.call_id().to_owned(), call);
    }

    pub fn on_update(&mut self, cx: &mut Cx<'_>, key: &str, update: &Text) {
        let Some(mut call) = self.calls.remove(update.call_id()) else {
            return self.respond(cx, key, 481, "", None);
        };
        let status = self.judge(&mut call, update);
        let manners = self.manners();
        if status == 200 && !update.body.is_empty() {
            let direction = self.read(cx, &call, update).to_owned();
            let body = self.description(&mut call, Some(update), reversed(&direction));
            self.respond(cx, key, 200, &manners, Some(&("application/sdp", body)));
        } else {
            self.respond(cx, key, status, &manners, None);
        }
        self.calls.insert(update.call_id().to_owned(), call);
    }

    /// Whether an offer in the dialog can be taken now (sections 12.2.2 and 14.2).
    fn judge(&self, call: &mut Call, request: &Text) -> u16 {
        if call.is_over() {
            return 481;
        }
        if request.cseq() <= call.remote_cseq {
            return 500;
        }
        call.remote_cseq = request.cseq();
        match call.stage {
            _ if call.offering.is_some() => 491,
            Stage::Inviting | Stage::Cancelling => 500,
            _ if self.awaits_other_ack(&call.call_id, request.cseq()) => 500,
            _ => 200,
        }
    }
}

// Descriptions.

impl Phone {
    /// A description: an offer, or the answer to what stands in `offer`.
    fn description(&self, call: &mut Call, offer: Option<&Text>, direction: &str) -> String {
        call.version += 1;
        let ip = self.address.ip();
        let offered = offer.and_then(|text| formats(&text.body));
        let formats = match offered {
            Some(formats) if formats.contains(&"0") => "0",
            Some(_) => "8",
            None => "0 8",
        };
        format!(
            "v=0\r\no=- {} {} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP {formats}\r\na={direction}\r\n",
            call.rtp, call.version, call.rtp
        )
    }

    /// Reads the switch's description: there has to be one, with one stream of sound to a port of its own. Its direction.
    fn read<'t>(&self, cx: &mut Cx<'_>, call: &Call, text: &'t Text) -> &'t str {
        let port = text.body.lines().find_map(|line| line.strip_prefix("m=audio "));
        let port: u16 = port.and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0);
        if port == 0 || formats(&text.body).is_none() {
            cx.ledger
                .violated(cx.now, &call.call_id, "no usable description where one has to be");
        }
        let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
        let mut lines = text.body.lines().filter_map(|line| line.strip_prefix("a="));
        lines.rfind(|line| directions.contains(line)).unwrap_or("sendrecv")
    }
}

fn formats(sdp: &str) -> Option<Vec<&str>> {
    let line = sdp.lines().find_map(|line| line.strip_prefix("m=audio "))?;
    Some(line.split(' ').skip(2).collect())
}

fn reversed(direction: &str) -> &'static str {
    match direction {
        "sendonly" => "recvonly",
        "recvonly" => "sendonly",
        "inactive" => "inactive",
        _ => "sendrecv",
    }
}
