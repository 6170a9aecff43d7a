//! Which room deals with what: inputs from the shell, then the effects that follow, until nothing is left to do.

use crate::admission;
use crate::agent::Agents;
use crate::auth::Asks;
use crate::core::{Core, cx};
use crate::proxy::Passage;
use crate::room::Room;
use crate::subscribe::states;
use crate::users::UserIndex;
use crate::{Input, Output, Switch, Token, presence};
use bytes::Bytes;
use clock::Now;
use model::StoreReply;
use sip::endpoint::{Connecting, Event, Resolving};
use sip::invite::Match;
use sip::{Flow, Message, Owner, Reply, Transport};

impl Switch {
    /// One input, up to the effects it causes.
    pub(crate) fn take(&mut self, now: Now, input: Input) {
        let Some(input) = self.hold(input) else { return };
        match input {
            Input::Datagram { flow, bytes } => self.on_bytes(now, flow, bytes),
            Input::Unheard { flow, bytes } => self.refuse(flow, bytes),
            Input::Opened { flow, token } => self.on_opened(now, flow, token),
            Input::ConnectFailed { token } => {
                let Core { endpoint, effects, .. } = &mut self.core;
                endpoint.handle_connect_failed(now.mono, Connecting(token), effects);
            }
            Input::Resolved { token, found } => {
                let Core { endpoint, effects, .. } = &mut self.core;
                endpoint.handle_resolved(now.mono, Resolving(token), found, effects);
            }
            Input::Closed { flow } => self.on_closed(now, flow),
            Input::SendFailed { flow } => tracing::debug!(peer = %flow.peer, "could not send"),
            Input::Stored { token, reply } => self.on_stored(now, token, reply),
            Input::Media(event) => self.calls.handle_media(cx!(self, now), event),
            Input::Command { token, command } => self.on_command(now, token, command),
            Input::Reload(config) => {
                self.core.reload(*config);
                self.auth.on_reload(&self.core);
                self.registrar.on_reload(&mut self.core);
                self.agents.on_reload(&mut self.core);
                self.calls.on_reload(cx!(self, now));
                self.subscriptions.on_reload(cx!(self, now));
                self.core.announce(|| model::Event::Reloaded);
            }
        }
    }

    /// Works through what transactions and sessions want done, and what that causes, until nothing is left.
    pub(crate) fn settle(&mut self, now: Now) {
        loop {
            self.carry_out(now);
            self.calls.note_changes(&mut self.core);
            let mut changed = std::mem::take(&mut self.core.changed);
            if changed.is_empty() {
                return;
            }
            Agents::on_changed(cx!(self, now), &self.calls, &mut changed);
            self.subscriptions
                .on_changed(cx!(self, now), &states!(self), changed.into_iter());
        }
    }

    fn carry_out(&mut self, now: Now) {
        loop {
            self.carry_out_effects(now);
            if self.sessions.post(cx!(self, now), &mut self.im) {
                continue;
            }
            let Some(outcome) = self.core.outcomes.pop_front() else {
                break;
            };
            self.core.working = Some(outcome.owner);
            self.on_outcome(now, outcome);
        }
        self.core.working = None;
        if self.core.is_watched() {
            self.calls.announce(cx!(self, now));
        }
    }

    fn carry_out_effects(&mut self, now: Now) {
        while let Some(effect) = self.core.effects.pop_front() {
            match effect {
                sip::Output::Transmit { flow, bytes } => self.transmit(flow, bytes),
                sip::Output::Connect {
                    token,
                    transport,
                    local,
                    peer,
                    name,
                } => self.core.outputs.push_back(Output::Connect {
                    token: token.0,
                    transport,
                    local,
                    peer,
                    name,
                }),
                sip::Output::Resolve { token, question } => {
                    let token = token.0;
                    self.core.outputs.push_back(Output::Resolve { token, question });
                }
                sip::Output::Event(event) => self.on_event(now, event),
                sip::Output::Session { owner, event } => {
                    self.core.working = Some(owner);
                    self.calls.handle_session(cx!(self, now), owner, event);
                }
                sip::Output::Subscription { owner, event } => {
                    self.core.working = Some(owner);
                    self.subscriptions
                        .handle_said(cx!(self, now), &states!(self), owner, event);
                }
            }
        }
    }

    /// What came of a message that a room has sent. A room that sends none hears nothing.
    fn on_outcome(&mut self, now: Now, outcome: crate::im::Outcome) {
        match Room::of(outcome.owner) {
            Some((Room::Session, number)) => self.sessions.on_outcome(cx!(self, now), number, &outcome),
            Some((Room::Im, _)) => self.im.handle_outcome(cx!(self, now), &outcome),
            Some((Room::Call | Room::Subscription | Room::Registrar | Room::Switch | Room::Agent | Room::Proxy, _))
            | None => {
                tracing::debug!(message = %outcome.message, what = ?outcome.what, "outcome of a message");
                #[cfg(test)]
                self.core.unheard.push(outcome);
            }
        }
    }

    fn transmit(&mut self, flow: Flow, bytes: Bytes) {
        self.core.tally.count_sent(&bytes);
        self.core.outputs.push_back(Output::Transmit { flow, bytes });
    }

    fn on_bytes(&mut self, now: Now, flow: Flow, bytes: Bytes) {
        self.core.tally.packets_in += 1;
        // Keep-alives: CRLF (RFC 5626 section 4.4.1) and the NULs some phones send.
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return self.registrar.on_alive(now, flow);
        }
        let stun = (flow.transport == Transport::Udp).then(|| sip::stun::answer(&bytes, flow.peer));
        if let Some(bytes) = stun.flatten() {
            self.registrar.on_alive(now, flow);
            return self.core.outputs.push_back(Output::Transmit { flow, bytes });
        }
        let Core {
            endpoint,
            effects,
            tally,
            ..
        } = &mut self.core;
        match Message::parse(bytes) {
            Ok(message) => {
                if message.is_request() {
                    tally.count_request(message.method());
                }
                endpoint.handle_message(now.mono, flow, message, effects);
            }
            Err(malformed) => {
                endpoint.handle_malformed(now.mono, flow, malformed, effects);
                admission::offend(&mut self.core, now, flow.peer.ip(), "malformed");
            }
        }
    }

    /// 503 and no trace of the request.
    fn refuse(&mut self, flow: Flow, bytes: Bytes) {
        if let Ok(request) = Message::parse(bytes)
            && request.is_request()
        {
            let reply = self.core.overloaded();
            self.core.reply(flow, &request, &reply);
        }
    }

    fn on_opened(&mut self, now: Now, flow: Flow, token: Option<Token>) {
        if token.is_none() && self.core.admission.stops(now.mono, &flow) {
            return self.core.outputs.push_back(Output::Close { flow });
        }
        let Core { endpoint, effects, .. } = &mut self.core;
        if let Some(token) = token {
            endpoint.handle_connected(now.mono, Connecting(token), flow, effects);
        }
    }

    fn on_closed(&mut self, now: Now, flow: Flow) {
        let Core { endpoint, effects, .. } = &mut self.core;
        endpoint.handle_closed(now.mono, flow, effects);
        self.registrar.on_closed(&mut self.core, flow);
        self.calls.on_closed(cx!(self, now), flow);
    }

    fn on_stored(&mut self, now: Now, token: Token, reply: StoreReply) {
        let owner = Owner(token);
        self.core.working = Some(owner);
        match Room::of(owner) {
            Some((Room::Call, _)) => self.calls.handle_stored(cx!(self, now), token, reply),
            Some((Room::Im, _)) => self.im.handle_stored(cx!(self, now), token, reply),
            Some((Room::Session, _)) => self.sessions.handle_stored(cx!(self, now), token, &reply),
            Some((Room::Switch, _)) => self.on_restored(now, token, reply),
            Some((Room::Subscription | Room::Registrar | Room::Agent | Room::Proxy, _)) | None => {}
        }
    }

    fn on_event(&mut self, now: Now, event: Event) {
        self.core.working = event.owner();
        // A Route of ours with a record in it: whatever its tags resemble, this is a dialog that goes through us.
        if let Event::Request { message, .. } | Event::Ack { message, .. } = &event
            && let Some(passage) = self.proxy.passage(&self.core, message)
        {
            return self.on_passage(now, event, &passage);
        }
        match event {
            Event::Request {
                flow,
                message,
                dialog: None,
                merged,
            } => self.on_request(now, flow, message, merged),
            Event::Request {
                flow,
                message,
                dialog: Some(owner),
                merged,
            } => {
                self.on_dialog_request(now, flow, message, owner, merged);
            }
            Event::Ack { dialog: None, .. } => {}
            other => self.on_owned(now, other),
        }
    }

    /// A request inside a dialog that is passed on.
    fn on_passage(&mut self, now: Now, event: Event, passage: &Passage) {
        match event {
            Event::Request { flow, message, .. } if self.may_pass(now, flow, &message, passage) => {
                self.proxy.handle_inside(cx!(self, now), flow, message, passage);
            }
            Event::Ack { flow, message, .. } => self.proxy.handle_ack(cx!(self, now), flow, &message, passage),
            _ => {}
        }
    }

    /// Whether a request inside a dialog through us is its sender's. From where the record has him it needs no credentials;
    /// from elsewhere he has to prove to be the user whose device it is, as in dialogs of our own.
    fn may_pass(&mut self, now: Now, flow: Flow, message: &Message, passage: &Passage) -> bool {
        if passage.is_on(&self.core, flow) {
            return true;
        }
        if !self.proxy.is_of_a_user(passage) {
            self.core.reply(flow, message, &Reply::new(481));
            return false;
        }
        match self
            .auth
            .authenticate(&mut self.core, now, flow, message, Asks::AsProxy)
        {
            Ok(user) if self.proxy.is_of(passage, &self.core.users[user].aor) => true,
            Ok(_) => {
                self.core.answer(now, flow, message, &Reply::new(481));
                false
            }
            Err(challenge) => {
                self.core.reply(flow, message, &challenge);
                false
            }
        }
    }

    /// An event whose owner is known and need not prove anything.
    fn on_owned(&mut self, now: Now, event: Event) {
        let Some(owner) = event.owner() else { return };
        match Room::of(owner) {
            Some((Room::Call, _)) => self.calls.handle_event(cx!(self, now), owner, event),
            Some((Room::Im, number)) => self.im.handle_event(cx!(self, now), number, event),
            Some((Room::Session, number)) => self.sessions.handle_event(cx!(self, now), number, &event),
            Some((Room::Subscription, number)) => {
                self.subscriptions
                    .handle_event(cx!(self, now), &states!(self), number, event);
            }
            Some((Room::Proxy, number)) => self.proxy.handle_event(cx!(self, now), number, event),
            Some((Room::Registrar, number)) if is_timer(&event) => {
                self.registrar.handle_timer(&mut self.core, now, number);
            }
            Some((Room::Registrar, number)) => {
                // Who has come back may have messages waiting.
                if let Some(aor) = self.registrar.handle_event(&mut self.core, now, number, &event) {
                    self.im.on_present(cx!(self, now), &aor, true);
                }
            }
            Some((Room::Switch, number)) if is_timer(&event) => self.on_restore_timer(now, number),
            Some((Room::Agent, number)) => match event {
                Event::Timer {
                    kind: presence::TIMER_PUBLISHED,
                    ..
                } => presence::handle_timer(&mut self.core, now, number),
                Event::Timer { .. } => self.agents.handle_timer(&mut self.core, number),
                _ => {}
            },
            Some((Room::Switch, _)) | None => {}
        }
    }

    /// A request that names one of our dialogs. From the dialog's own flow it needs no credentials; from elsewhere its
    /// sender has to prove to be the user whose device the dialog is with.
    fn on_dialog_request(&mut self, now: Now, flow: Flow, message: Message, owner: Owner, merged: bool) {
        let matched = match Room::of(owner) {
            Some((Room::Call, _)) => self.calls.matches(owner, flow, &message),
            Some((Room::Subscription, number)) => self.subscriptions.matches(number, flow, &message),
            _ => Match::No,
        };
        match matched {
            Match::Yes => self.on_owned(
                now,
                Event::Request {
                    flow,
                    message,
                    dialog: Some(owner),
                    merged,
                },
            ),
            Match::Foreign if self.is_of_trunk(owner, flow) => self.on_owned(
                now,
                Event::Request {
                    flow,
                    message,
                    dialog: Some(owner),
                    merged,
                },
            ),
            Match::Foreign => match self.authenticate(now, flow, &message) {
                Some(user) if self.is_of(owner, user) => {
                    self.on_owned(
                        now,
                        Event::Request {
                            flow,
                            message,
                            dialog: Some(owner),
                            merged,
                        },
                    );
                }
                Some(_) => self.core.answer(now, flow, &message, &Reply::new(481)),
                None => {}
            },
            Match::No => self.core.reply(flow, &message, &Reply::new(481)),
        }
    }

    /// Whether the dialog of `owner` is with the trunk that speaks from there.
    fn is_of_trunk(&self, owner: Owner, flow: Flow) -> bool {
        matches!(Room::of(owner), Some((Room::Call, _))) && self.calls.is_of_trunk(&self.core, owner, flow)
    }

    /// Whether the dialog of `owner` is with a device of this user.
    fn is_of(&self, owner: Owner, user: UserIndex) -> bool {
        let aor = &self.core.users[user].aor;
        match Room::of(owner) {
            Some((Room::Call, _)) => self.calls.is_of(owner, aor),
            Some((Room::Subscription, number)) => self.subscriptions.is_of(number, aor),
            _ => false,
        }
    }
}

fn is_timer(event: &Event) -> bool {
    matches!(event, Event::Timer { .. })
}
