//! A request from outside of all dialogs: admission, who sent it, then what it wants.

use crate::config::trunks::Mode;
use crate::core::cx;
use crate::registrar::gruu;
use crate::route::{self, Dialler, Target, TrunkIndex};
use crate::subscribe::states;
use crate::users::UserIndex;
use crate::{Switch, admission, auth, presence, security};
use clock::Now;
use sip::{Flow, Message, Method, Name, Reply};

impl Switch {
    /// Until its sender is known, a request is answered without keeping anything of it.
    pub(crate) fn on_request(&mut self, now: Now, flow: Flow, request: Message, merged: bool) {
        if admission::is_scanner(&mut self.core, now, flow, &request) {
            return;
        }
        if let Some(refusal) = admission::refusal(&mut self.core, flow, &request, merged) {
            return self.core.reply(flow, &request, &refusal);
        }
        if request.method() == Method::Options && admission::is_to_the_switch(&request) {
            let reply = admission::capabilities(&self.core);
            return self.core.reply(flow, &request, &reply);
        }
        // A trunk is known by its address. Phones behind the same one register, and so are asked for their passwords.
        if let Some(trunk) =
            route::trunk_at(&self.core, flow.peer.ip()).filter(|_| request.method() != Method::Register)
        {
            return self.on_trunk(now, flow, request, trunk);
        }
        // Callers from outside without a trunk: one answer for all of them.
        let Some(claimed) = auth::claimed(&self.core, flow, &request) else {
            return self.core.reply(flow, &request, &admission::from_outside(&request));
        };
        let Some(user) = self.authenticate(now, flow, &request) else {
            return;
        };
        // From here on answers are kept for retransmissions: the nonce count of this request is spent.
        let account = &self.core.users[user];
        let is_own = *claimed == *account.aor.user().as_bytes();
        if !is_own || !auth::asserts_only(&self.core, flow, &request, account) {
            return self.on_mismatch(now, flow, &request, user);
        }
        let may = admission::user_may(&mut self.core, now.mono, &flow, user);
        if !may && !admission::is_emergency(&self.core, &flow, &request) {
            // Without a trace: a user who goes too fast is not to fill the memory of answers.
            let reply = self.core.overloaded();
            return self.core.reply(flow, &request, &reply);
        }
        self.on_authenticated(now, flow, request, user);
    }

    /// A request from a peer outside that is known by its address.
    fn on_trunk(&mut self, now: Now, flow: Flow, request: Message, trunk: TrunkIndex) {
        let dialler = Dialler::Trunk(trunk);
        let Some(request) = self.pass_on(now, flow, request, dialler) else {
            return;
        };
        match request.method() {
            Method::Invite if !accepts_sdp(&request) => self.core.answer(now, flow, &request, &no_sdp()),
            Method::Invite => self.calls.handle_invite(cx!(self, now), dialler, flow, request),
            Method::Options => {
                let reply = self.options_for(now, flow, &request, dialler);
                self.core.answer(now, flow, &request, &reply);
            }
            Method::Notify => self.core.answer(now, flow, &request, &Reply::new(481)),
            _ => self.core.answer(now, flow, &request, &Reply::new(403)),
        }
    }

    /// The password is right, and the sender says to be somebody else (S10).
    fn on_mismatch(&mut self, now: Now, flow: Flow, request: &Message, user: UserIndex) {
        let account = self.core.users[user].aor.clone();
        let name = account.user().as_bytes();
        security::event(&mut self.core, now, "identity-mismatch", flow, name, request);
        admission::offend(&mut self.core, now, flow.peer.ip(), "identity-mismatch");
        self.core.answer(now, flow, request, &Reply::new(403));
    }

    /// Who sent this request, proven; `None`: it has been answered.
    pub(crate) fn authenticate(&mut self, now: Now, flow: Flow, request: &Message) -> Option<UserIndex> {
        let asks = match admission::may_be_passed_on(&self.core, request) {
            true => auth::Asks::AsProxy,
            false => auth::Asks::AsServer,
        };
        let proof = self.auth.authenticate(&mut self.core, now, flow, request, asks);
        proof.map_err(|reply| self.core.reply(flow, request, &reply)).ok()
    }

    /// Passes a request on if the dial plan says so of what he dials; otherwise the switch has it, if it can.
    fn pass_on(&mut self, now: Now, flow: Flow, request: Message, dialler: Dialler) -> Option<Message> {
        if !admission::may_be_passed_on(&self.core, &request) {
            return Some(request);
        }
        let dialled = self.core.dialled(&request).unwrap_or_default();
        if route::rule_for(&self.core, dialler, &dialled).is_some_and(|rule| rule.mode == Mode::Proxy) {
            drop(dialled);
            self.proxy.handle_request(cx!(self, now), dialler, flow, request);
            return None;
        }
        drop(dialled);
        match admission::refusal_by_switch(&mut self.core, flow, &request, false) {
            Some(refusal) => {
                self.core.answer(now, flow, &request, &refusal);
                None
            }
            None => Some(request),
        }
    }

    fn on_authenticated(&mut self, now: Now, flow: Flow, request: Message, user: UserIndex) {
        let Some(request) = self.pass_on(now, flow, request, Dialler::User(user)) else {
            return;
        };
        match request.method() {
            Method::Register => self.on_register(now, flow, &request, user),
            Method::Invite if !accepts_sdp(&request) => self.core.answer(now, flow, &request, &no_sdp()),
            Method::Invite => self
                .calls
                .handle_invite(cx!(self, now), Dialler::User(user), flow, request),
            Method::Message => {
                let cseq = self.auth.first_cseq(&request);
                self.im
                    .handle_message(cx!(self, now), &mut self.sessions, (user, cseq), flow, request);
            }
            Method::Subscribe => {
                self.subscriptions
                    .handle_subscribe(cx!(self, now), &states!(self), user, flow, &request)
            }
            Method::Publish => presence::handle_publish(cx!(self, now), user, flow, &request),
            Method::Options => {
                let reply = self.options_for(now, flow, &request, Dialler::User(user));
                self.core.answer(now, flow, &request, &reply);
            }
            method => self.core.answer(now, flow, &request, &outside_of_dialogs(method)),
        }
    }

    fn on_register(&mut self, now: Now, flow: Flow, request: &Message, user: UserIndex) {
        let outcome = self.registrar.handle_register(&mut self.core, now, user, flow, request);
        self.core.answer(now, flow, request, &outcome.reply);
        if outcome.is_bound {
            self.core.admission.know(&flow);
            let aor = self.core.users[user].aor.clone();
            self.im.on_registered(cx!(self, now), &aor, outcome.has_moved, request);
        }
    }

    /// OPTIONS to a user: what a call there would meet (RFC 3261 section 11.2), answered by the switch.
    fn options_for(&self, now: Now, flow: Flow, request: &Message, dialler: Dialler) -> Reply {
        let dialled = self.core.dialled(request);
        let named = || self.core.users.named(dialled.as_deref()?);
        let user = match dialler {
            Dialler::User(_) => named(),
            Dialler::Trunk(_) => match route::target_for(&self.core, dialler, dialled.as_deref().unwrap_or_default()) {
                Target::User(user) => Some(&self.core.users[user]),
                _ => None,
            },
        };
        match user {
            None => Reply::new(404),
            Some(user)
                if self
                    .registrar
                    .meant(&user.aor, gruu::named(&self.core, request).as_deref(), now)
                    .is_empty() =>
            {
                Reply::new(480)
            }
            Some(user) => admission::capabilities(&self.core).header(
                Name::Contact,
                self.core.contact(user.aor.user(), flow.transport, flow.local),
            ),
        }
    }
}

/// RFC 3261 section 20.1: an answer without session description would be no use to anybody (RFC 4475 section 3.3.15).
fn accepts_sdp(invite: &Message) -> bool {
    let mut values = invite.values(Name::Accept).peekable();
    let takes = |value: &[u8]| {
        let media_type = value
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        let known: [&[u8]; 3] = [b"application/sdp", b"application/*", b"*/*"];
        known.iter().any(|known| media_type.eq_ignore_ascii_case(known))
    };
    values.peek().is_none() || values.any(takes)
}

fn no_sdp() -> Reply {
    Reply::new(406).header(Name::Accept, "application/sdp")
}

/// What is left of the methods whose sender is asked for credentials.
fn outside_of_dialogs(method: Method) -> Reply {
    match method {
        // RFC 6665 section 4.1.3: no subscription of ours.
        Method::Notify => Reply::new(481),
        // A transfer is asked for inside the call that is to be transferred (S7).
        Method::Refer => Reply::new(403),
        _ => Reply::new(405).header(Name::Allow, admission::ALLOW),
    }
}
