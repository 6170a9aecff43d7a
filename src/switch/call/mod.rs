//! Calls: legs, and what joins them.
//!
//! The switch gives [`Calls`] the INVITEs whose caller is known, and every event whose owner was made with
//! [`crate::room::Room::Call`]. A leg's owner number is [`Room::Call`](crate::room::Room::Call)`.owner(n)` with `n` the
//! room's own: a slab key with a generation.

use crate::core::Cx;
use crate::users::UserIndex;
use crate::{Command, Refusal, Token};
use model::Aor;
use sip::invite::Match;
use sip::{Flow, Message, Owner};

/// All calls of the switch.
#[derive(Debug, Default)]
pub(crate) struct Calls {}

#[allow(clippy::unused_self, clippy::needless_pass_by_value)]
impl Calls {
    /// An INVITE from outside of any dialog, admitted (hops, Require, scheme, our domain) and its caller authenticated;
    /// From and P-Asserted-Identity are the caller's. No transaction has been made for it yet.
    pub(crate) fn handle_invite(&mut self, cx: &mut Cx<'_>, caller: UserIndex, flow: Flow, invite: Message) {
        let _ = caller;
        cx.core.reply(flow, &invite, &sip::Reply::new(480));
    }

    /// Whose a request inside a dialog of this owner is. `No`: it gets 481; `Foreign`: it is challenged, and comes to
    /// [`Calls::handle_event`] only if its sender proves to be the leg's user ([`Calls::is_of`]).
    pub(crate) fn matches(&self, owner: Owner, flow: Flow, message: &Message) -> Match {
        let _ = (owner, flow, message);
        Match::No
    }

    /// Whether the device of this leg is one of that user's.
    pub(crate) fn is_of(&self, owner: Owner, user: &Aor) -> bool {
        let _ = (owner, user);
        false
    }

    /// An event of the transaction layer for a leg: requests in its dialog that match, ACK, CANCEL, responses,
    /// timeouts, timers.
    pub(crate) fn handle_event(&mut self, cx: &mut Cx<'_>, owner: Owner, event: sip::endpoint::Event) {
        let _ = (cx, owner, event);
    }

    /// What a leg's session says.
    pub(crate) fn handle_session(&mut self, cx: &mut Cx<'_>, owner: Owner, event: sip::invite::Event) {
        let _ = (cx, owner, event);
    }

    /// Something happened in the media plane.
    pub(crate) fn handle_media(&mut self, cx: &mut Cx<'_>, event: media::Event) {
        let _ = (cx, event);
    }

    /// `Calls`, `Call`, `Hangup`, `RouteTest` and `Drain`: each is answered with [`crate::core::Core::tell`] or `refuse`.
    /// `Drain` is answered by the switch; calls see to [`crate::Notice::Drained`].
    pub(crate) fn handle_command(&mut self, cx: &mut Cx<'_>, token: Token, command: Command) {
        let _ = command;
        cx.core.refuse(token, Refusal::Conflict("there are no calls".into()));
    }

    /// The store answered a question asked for [`crate::room::Room::Call`].
    pub(crate) fn handle_stored(&mut self, cx: &mut Cx<'_>, token: Token, reply: model::StoreReply) {
        let _ = (cx, token, reply);
    }

    /// A stream is gone; the endpoint knows already.
    pub(crate) fn on_closed(&mut self, cx: &mut Cx<'_>, flow: Flow) {
        let _ = (cx, flow);
    }

    /// A new configuration is in force.
    pub(crate) fn on_reload(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }

    /// A panic was caught while an event of this owner was handled: ends its call with reason `internal`.
    pub(crate) fn recover(&mut self, cx: &mut Cx<'_>, owner: Owner) {
        let _ = (cx, owner);
    }

    /// Checks the invariants of legs, calls and ports.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub(crate) fn audit(&self) -> Result<(), String> {
        Ok(())
    }

    /// Adds its figures to those of `/metrics`: name, value, whether it is a gauge.
    pub(crate) fn count(&self, values: &mut Vec<(&'static str, u64, bool)>) {
        values.push(("calls", 0, true));
    }

    /// Calls up or ringing.
    pub(crate) fn len(&self) -> usize {
        0
    }

    /// RTP ports in use.
    pub(crate) fn rtp_ports(&self) -> usize {
        0
    }
}
