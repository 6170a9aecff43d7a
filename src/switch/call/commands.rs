//! What operators ask of calls.

use super::ending::reason_header;
use super::{Calls, Leg, State, cdr, common_timer};
use super::{TIMER_DRAIN, TIMER_DRAINED};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::Interaction;
use crate::{Answer, Command, Notice, Output, Refusal, Token, route};
use model::{Aor, CallView, EndReason, EndedBy, InteractionId, LegView};
use std::time::Duration;

/// After the drain limit each call has been told to end; this long for the BYEs to be answered.
const FAREWELL: Duration = Duration::from_secs(4);

impl Calls {
    /// `Calls`, `Call`, `Hangup`, `RouteTest` and `Drain`: each is answered with [`crate::core::Core::tell`] or `refuse`.
    /// `Drain` is answered by the switch; calls see to [`crate::Notice::Drained`].
    pub(crate) fn handle_command(&mut self, cx: &mut Cx<'_>, token: Token, command: Command) {
        match command {
            Command::Calls => {
                let views = self.views();
                cx.core.tell(token, Answer::Calls(views));
            }
            Command::Call(id) => match self.find(id) {
                Some((_, interaction)) => {
                    let views = vec![self.view(interaction)];
                    cx.core.tell(token, Answer::Calls(views));
                }
                None => cx.core.refuse(token, unknown(id)),
            },
            Command::Hangup(id) => match self.find(id).map(|(key, _)| key) {
                Some(key) => {
                    self.hang_up(cx, key, EndReason::Operator);
                    cx.core.tell(token, Answer::Done(1));
                }
                None => cx.core.refuse(token, unknown(id)),
            },
            Command::Interactions(id) => match (self.interaction_views(id), id) {
                (views, Some(id)) if views.is_empty() => cx.core.refuse(token, unknown(id)),
                (views, _) => cx.core.tell(token, Answer::Interactions(views)),
            },
            Command::Act(act) => {
                let answer = self.act(cx, &act);
                cx.core.tell(token, answer);
            }
            Command::Originate(wanted) => {
                let answer = self.originate(cx, &wanted);
                cx.core.tell(token, answer);
            }
            Command::Record { call, wish } => match self.find(call).map(|(key, _)| key) {
                Some(key) => self.record_call(cx, token, key, wish),
                None => cx.core.refuse(token, unknown(call)),
            },
            Command::Inspect(id) => match self.find(id).map(|(key, _)| key) {
                Some(key) => self.inspect(cx, token, key),
                None => cx.core.refuse(token, unknown(id)),
            },
            Command::RouteTest { from, to } => match cx.core.users.find(&from) {
                Some(user) => {
                    let route = route::explain(cx.core, user, &to);
                    cx.core.tell(token, Answer::Route(route.into()));
                }
                None => cx.core.refuse(token, Refusal::NotFound(format!("user {from}").into())),
            },
            Command::Drain { limit_s } => self.drain(cx, Duration::from_secs(limit_s.into())),
            _ => cx
                .core
                .refuse(token, Refusal::Conflict("this is not about calls".into())),
        }
    }

    /// Ends a call from our side.
    pub(super) fn hang_up(&mut self, cx: &mut Cx<'_>, key: Key<Interaction>, reason: EndReason) {
        let headers = reason_header(reason);
        if let Some(State::Ringing(_) | State::Routing) = self.state(key) {
            let status = match reason {
                EndReason::Internal => 500,
                EndReason::Shutdown => 503,
                _ => 480,
            };
            let reply = sip::Reply::new(status).headers(&headers);
            let failure = super::Failure::new(reply, reason);
            return self.fail(cx, key, EndedBy::Switch, failure);
        }
        self.end(cx, key, EndedBy::Switch, reason, &headers);
    }

    /// Waits for the last call to end, but no longer than the limit.
    fn drain(&mut self, cx: &mut Cx<'_>, limit: Duration) {
        if let Some(alarm) = self.draining.take() {
            cx.core.endpoint.cancel_timer(alarm);
        }
        let alarm = cx
            .core
            .endpoint
            .set_timer(cx.now.mono + limit, common_timer(), TIMER_DRAIN);
        self.draining = Some(alarm);
        self.on_forgotten(cx);
    }

    /// The limit is over: all calls that are left end now.
    pub(super) fn on_drain_limit(&mut self, cx: &mut Cx<'_>) {
        let alarm = cx
            .core
            .endpoint
            .set_timer(cx.now.mono + FAREWELL, common_timer(), TIMER_DRAINED);
        self.draining = Some(alarm);
        let calls: Vec<_> = self.interactions.iter().map(|(key, _)| key).collect();
        for key in calls {
            self.hang_up(cx, key, EndReason::Shutdown);
        }
        self.on_forgotten(cx);
    }

    /// Some device has not answered its BYE; it is not waited for.
    pub(super) fn on_drained(&mut self, cx: &mut Cx<'_>) {
        if self.draining.take().is_some() {
            cx.core.outputs.push_back(Output::Notice(Notice::Drained));
        }
    }

    /// A call that is not over, by its id.
    pub(super) fn find(&self, id: InteractionId) -> Option<(Key<Interaction>, &Interaction)> {
        self.interactions
            .iter()
            .find(|(_, interaction)| interaction.id == id && !matches!(interaction.call.state, State::Over))
    }

    /// All calls, oldest first.
    pub(super) fn views(&self) -> Vec<CallView> {
        let mut views: Vec<_> = self.interactions.iter().map(|(_, call)| self.view(call)).collect();
        views.sort_by_key(|view| (view.started_at, view.id));
        views
    }

    pub(super) fn view(&self, interaction: &Interaction) -> CallView {
        let state = match interaction.call.state {
            State::Routing | State::Ringing(_) => "ringing",
            State::Bridged(_) | State::Service(_) => "answered",
            State::Over => "ending",
        };
        let of = |party| {
            let shown_to = self.shown_to(interaction, party);
            let legs = party.legs.iter().filter_map(|&key| self.legs.get(key));
            legs.map(move |leg| leg_view(leg, shown_to.clone()))
        };
        CallView {
            id: interaction.id,
            started_at: interaction.started_at,
            answered_at: interaction.answered_at,
            state: state.into(),
            legs: interaction.parties.iter().flat_map(of).collect(),
        }
    }
}

fn leg_view(leg: &Leg, shown_to: Option<Vec<Aor>>) -> LegView {
    let sound = leg.sound.as_ref();
    LegView {
        id: leg.id,
        user: leg.user.clone(),
        uri: leg.uri.clone(),
        call_id: leg.session.call_id().into(),
        state: leg.stage_name().into(),
        codec: cdr::codec(sound.map(|sound| &sound.negotiation)),
        rtp_port: sound.map_or(0, |sound| sound.port.number),
        reason: leg.end_reason(),
        shown_to,
    }
}

fn unknown(id: InteractionId) -> Refusal {
    Refusal::NotFound(format!("call {id}").into())
}
