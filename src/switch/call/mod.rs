//! Calls: legs, and the rooms that join them. Every call is a room with a matrix of who hears whom; the server owns it,
//! devices are its legs.
//!
//! The switch gives [`Calls`] the INVITEs whose caller is known, and every event whose owner was made with
//! [`crate::room::Room::Call`]: a leg's session, or a timer of a leg or call.

mod act;
mod anchor;
mod announce;
mod audit;
mod body;
mod bridge;
mod cdr;
mod commands;
mod conference;
mod consult;
mod display;
mod divert;
mod dtmf;
mod ending;
mod enter;
mod family;
mod history;
mod hold;
mod identity;
mod leg;
mod legs;
mod line;
mod members;
mod originate;
mod outcome;
mod outside;
mod parties;
mod pickup;
mod plumb;
mod record;
mod refer;
mod relay;
mod relocate;
mod removal;
mod restore;
mod ring;
mod room;
mod sent;
mod service;
mod setup;
mod side;
mod star;
mod supervise;
#[cfg(test)]
pub(crate) mod tests;
mod video;
mod view;

pub(crate) use cdr::reason_of;
pub(crate) use conference::{MemberPlace, MemberView, Roster, Since};
pub(crate) use identity::{Identity, is_private, wishes};
pub(crate) use leg::{Leg, LegKey};
pub(crate) use legs::{DialogPhase, DialogView};

use crate::arena::{Arena, Key};
use crate::core::{Core, Cx};
use crate::interaction::Interaction;
use crate::room::Room;
use crate::route::Target;
use crate::subscribe::Watched;
use bridge::{Bridge, Exchange, Step};
use conference::Conferences;
use dtmf::Heard;
use leg::{Over, Relayed, Stage};
use legs::Legs;
use media::{PoolConfig, PortPool, WorkerId};
use model::EndReason;
use ring::Ringing;
use sip::endpoint::Alarm;
use sip::invite::Match;
use sip::{Flow, Headers, Message, Name, Owner, Reply};
use smallvec::SmallVec;
use std::time::Duration;

/// All calls of the switch.
#[derive(Debug)]
pub(crate) struct Calls {
    interactions: Arena<Interaction>,
    legs: Legs,
    ports: PortPool,
    conferences: Conferences,
    figures: cdr::Figures,
    /// What we say of ourselves in each dialog: Allow, Supported, User-Agent.
    manners: Headers,
    /// Agents are shown who listens or whispers to them.
    shows_supervisors: bool,
    /// Calls that are not over.
    active: usize,
    /// What those who watch were told of each call; `None`: nobody watches.
    told: Option<announce::Told>,
    listening: record::Listening,
    /// Answers to commands that may come again.
    acts: act::Remembered,
    /// While a drain lasts: its limit.
    draining: Option<Alarm>,
    /// The verb in whose midst a test wants a panic.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) panics_in: Option<&'static str>,
}

/// The voice of an interaction: its room, and what happens there.
#[derive(Debug, Default)]
pub(crate) struct Call {
    /// The media worker its legs live at, once one has a port.
    worker: Option<WorkerId>,
    /// The engine knows the room.
    open: bool,
    /// What the engine was told of the room.
    plumbed: plumb::Plumbed,
    /// Keys that a service reads back.
    keys: service::Keys,
    /// The contact is on its way to a service.
    sent: Option<Box<sent::Sent>>,
    /// All devices are on their way to another worker.
    removal: Option<Box<removal::Removal>>,
    /// The extension of the service that a contact was sent to, or that is consulted by a line.
    served: Option<sent::Served>,
    /// More than two have conversed: devices were told a focus, at which those who take part can be watched.
    is_conference: bool,
    /// Consultations, transfers and invitations made for this call, oldest first.
    sides: SmallVec<[Key<Interaction>; 2]>,
    state: State,
}

impl Call {
    /// An offer is under way from end to end.
    fn exchanges(&self) -> bool {
        matches!(&self.state, State::Bridged(bridge) if bridge.exchange.is_some())
    }
}

/// What happens in a call.
#[derive(Debug, Default)]
enum State {
    /// It is found out whom it is for.
    #[default]
    Routing,
    /// The callee's devices ring.
    Ringing(Ringing),
    /// Two devices hear each other.
    Bridged(Bridge),
    /// One device hears the switch.
    Service(Target),
    /// All legs have left; their farewells are awaited.
    Over,
}

/// Why a call cannot be: what the caller is answered, and what is recorded.
#[derive(Debug)]
pub(crate) struct Failure {
    reply: Reply,
    reason: EndReason,
}

impl Failure {
    fn new(reply: Reply, reason: EndReason) -> Failure {
        Failure { reply, reason }
    }
}

// Owner numbers: a leg's key is its session's; with one of these bits it is a timer of ours.
const OF_CALL: u64 = 1 << 54;
const OF_LEG: u64 = 1 << 55;
const OF_ALL: u64 = OF_CALL | OF_LEG;

/// Of a call: nobody has answered.
const TIMER_RING: u32 = 1;
/// Of a leg: the engine has not said goodbye.
const TIMER_LINGER: u32 = 2;
/// Of a leg: its device is to be told again whom it talks to.
const TIMER_DISPLAY: u32 = 5;
/// Of a leg: the engine has not said goodbye where the leg was before.
const TIMER_FORMER: u32 = 6;
/// Of a leg: its device, which holds, is to be offered again to speak.
const TIMER_ASK_BACK: u32 = 7;
/// Of all calls: the limit of a drain.
const TIMER_DRAIN: u32 = 3;
/// Of all calls: the drain is over whatever is left.
const TIMER_DRAINED: u32 = 4;
/// Of all calls: forget old records.
const TIMER_RECORDS: u32 = 16;

/// How often old records are forgotten.
const RECORDS_INTERVAL: Duration = Duration::from_secs(60);

/// The owner of a leg's session.
fn leg_owner(leg: LegKey) -> Owner {
    Room::Call.owner(leg.pack())
}

/// The owner of a call's timers.
fn call_timer(call: Key<Interaction>) -> Owner {
    Room::Call.owner(call.pack() | OF_CALL)
}

/// The owner of a leg's timers.
fn leg_timer(leg: LegKey) -> Owner {
    Room::Call.owner(leg.pack() | OF_LEG)
}

/// The owner of timers for all calls.
fn common_timer() -> Owner {
    Room::Call.owner(OF_ALL)
}

impl Calls {
    /// No calls. The media workers are asked for their first ports.
    #[must_use]
    pub(crate) fn new(core: &mut Core, now: clock::Now) -> Calls {
        let media = core.config.media;
        let config = PoolConfig::of(media.workers, media.ports_ahead, media.port_rest);
        let mut ports = PortPool::new(media.workers, config);
        while let Some((worker, count)) = ports.poll_want(now.mono) {
            core.media(worker, media::Plan::BindPorts { count });
        }
        core.store(model::StoreOp::CloseOpenCdrs(now.wall));
        core.endpoint
            .set_timer(now.mono + RECORDS_INTERVAL, common_timer(), TIMER_RECORDS);
        Calls {
            interactions: Arena::default(),
            legs: Legs::new(core.hasher.clone()),
            ports,
            conferences: Conferences::default(),
            figures: cdr::Figures::default(),
            manners: manners(core),
            shows_supervisors: core.config.calls.show_supervisors,
            active: 0,
            told: None,
            listening: record::Listening::default(),
            acts: act::Remembered::default(),
            draining: None,
            #[cfg(any(test, feature = "testing"))]
            panics_in: None,
        }
    }

    /// Whose a request inside a dialog of this owner is. `No`: it gets 481; `Foreign`: it is challenged, and comes to
    /// [`Calls::handle_event`] only if its sender proves to be the leg's user ([`Calls::is_of`]).
    pub(crate) fn matches(&self, owner: Owner, flow: Flow, message: &Message) -> Match {
        match self.leg(owner) {
            Some((_, leg)) => leg.session.matches(flow, message),
            None => Match::No,
        }
    }

    /// An event of the transaction layer for a leg: requests in its dialog that match, ACK, CANCEL, responses,
    /// timeouts, timers.
    pub(crate) fn handle_event(&mut self, cx: &mut Cx<'_>, owner: Owner, event: sip::endpoint::Event) {
        let Some((_, number)) = Room::of(owner) else { return };
        if let (true, sip::endpoint::Event::Timer { kind, .. }) = (number & OF_ALL != 0, &event) {
            return self.on_timer(cx, number, *kind);
        }
        if let Some(leg) = self.legs.get_mut(Key::unpack(number)) {
            let core = &mut *cx.core;
            leg.session
                .handle_event(cx.now.mono, event, &mut core.endpoint, &mut core.effects);
        }
    }

    /// What a leg's session says.
    pub(crate) fn handle_session(&mut self, cx: &mut Cx<'_>, owner: Owner, event: sip::invite::Event) {
        use sip::invite::Event;
        let Some((key, _)) = self.leg(owner) else { return };
        match event {
            Event::Progress {
                message,
                reliable,
                wants_answer,
                ..
            } => self.on_progress(cx, key, &message, reliable, wants_answer),
            Event::Pracked { body: None } => {}
            Event::Pracked { body } => self.on_acked(cx, key, body.as_ref()),
            Event::Answered {
                message, wants_answer, ..
            } => self.on_answered(cx, key, &message, wants_answer),
            Event::Rejected { status, message } => self.on_rejected(cx, key, status, message),
            Event::Acked { body } => self.on_acked(cx, key, body.as_ref()),
            Event::Settled => self.on_settled(cx, key),
            Event::Offer { body, message } => self.on_offer(cx, key, body, &message),
            Event::Answer { body, wants_answer, .. } => self.on_answer(cx, key, body, wants_answer),
            Event::OfferRefused { status, message } => self.on_offer_refused(cx, key, status, message.as_ref()),
            Event::OfferWithdrawn => self.on_offer_withdrawn(key),
            Event::Request { server, message } => self.on_request(cx, key, server, &message),
            Event::Response { client, status, .. } => self.on_response(cx, key, client, status),
            Event::Ended { cause, message } => self.on_ended(cx, key, cause, message.as_ref()),
        }
    }

    /// Something happened in the media plane.
    pub(crate) fn handle_media(&mut self, cx: &mut Cx<'_>, event: media::Event) {
        use media::Event;
        match event {
            Event::PortsBound { worker, ports } => {
                self.ports.on_bound(worker, &ports);
                self.want_ports(cx);
            }
            Event::PortsExhausted { worker } => self.ports.on_exhausted(cx.now.mono, worker),
            Event::MediaTimeout { leg } => {
                self.on_silent(cx, Key::unpack(leg.0));
            }
            // Its port rests when its sound is closed too.
            Event::LegClosed { leg, .. } if video::is_video(leg) => {}
            Event::LegClosed { leg, port, stats } => {
                let key = Key::unpack(leg.0);
                if !self.on_former_closed(cx, key, port, &stats) {
                    self.on_leg_closed(cx, key, &stats);
                }
            }
            Event::Talking { leg, talking } => {
                self.on_talking(cx, Key::unpack(leg.0), talking);
                self.announce_talking(cx, Key::unpack(leg.0), talking);
            }
            Event::Dtmf {
                leg,
                digit,
                duration,
                by,
                passed_on,
            } => {
                let key = Key::unpack(leg.0);
                self.on_dtmf(cx, key, digit, duration, Heard::Sound { by, passed_on });
            }
            // The tones of those who come and go.
            Event::Played { room, .. } if conference::is_conference(room) => {}
            Event::Played { room, player } => self.on_played(cx, Key::unpack(room.0), player),
            Event::Recorded { recording, result } => self.on_recorded(cx, recording, &result),
            Event::Inspected { token, legs } => self.on_inspected(cx, token, &legs),
            // In the room of a call two speak, who know each other.
            Event::ActiveSpeaker { room, leg } if conference::is_conference(room) => {
                self.on_active_speaker(cx, Key::unpack(leg.0));
            }
            Event::Latched { .. } | Event::ActiveSpeaker { .. } => {}
        }
    }

    /// A timer of our own.
    fn on_timer(&mut self, cx: &mut Cx<'_>, number: u64, kind: u32) {
        match kind {
            TIMER_RING => self.on_no_answer(cx, Key::unpack(number)),
            TIMER_LINGER => self.on_leg_closed(cx, Key::unpack(number), &media::LegStats::default()),
            TIMER_FORMER => self.drop_former(cx, Key::unpack(number)),
            TIMER_DISPLAY | TIMER_ASK_BACK => self.on_again(cx, Key::unpack(number), kind),
            TIMER_DRAIN => self.on_drain_limit(cx),
            TIMER_DRAINED => self.on_drained(cx),
            TIMER_RECORDS => on_records_due(cx),
            conference::TIMER_PIN => self.on_pin_timeout(cx, Key::unpack(number)),
            _ => {}
        }
    }

    /// The store answered a question asked for [`crate::room::Room::Call`]: none is asked.
    pub(crate) fn handle_stored(&mut self, cx: &mut Cx<'_>, token: crate::Token, reply: model::StoreReply) {
        let _ = (cx, token, reply);
    }

    /// A stream is gone; the endpoint knows already. A call lives on: its device may come back on another (RFC 5626), and
    /// if it does not, its media or the next request ends it.
    pub(crate) fn on_closed(&mut self, cx: &mut Cx<'_>, flow: Flow) {
        let _ = (cx, flow);
    }

    /// A new configuration is in force.
    pub(crate) fn on_reload(&mut self, cx: &mut Cx<'_>) {
        self.manners = manners(cx.core);
        self.shows_supervisors = cx.core.config.calls.show_supervisors;
    }

    /// Tells [`Core::touch`] whose calls this step has changed.
    pub(crate) fn note_changes(&mut self, core: &mut Core) {
        self.keep_risen(core);
        for user in self.legs.take_changed() {
            core.touch(Watched::Dialogs(user));
        }
    }

    /// A place in the midst of a verb where a test can have a panic.
    fn midst_of(&mut self, verb: &'static str) {
        #[cfg(any(test, feature = "testing"))]
        if self.panics_in.take_if(|wanted| *wanted == verb).is_some() {
            panic!("a panic in the midst of {verb}, as the test wants it");
        }
        let _ = verb;
    }

    /// A panic was caught while an event of this owner was handled: ends its call with reason `internal`.
    pub(crate) fn recover(&mut self, cx: &mut Cx<'_>, owner: Owner) {
        let Some((_, number)) = Room::of(owner) else { return };
        let call = match number & OF_ALL {
            OF_ALL => None,
            OF_CALL => Some(Key::unpack(number)),
            _ => self.legs.get(Key::unpack(number)).map(|leg| leg.interaction),
        };
        if let Some(call) = call {
            self.end_broken(cx, call);
        }
    }

    /// Adds its figures to those of `/metrics`: name, value, whether it is a gauge.
    pub(crate) fn count(&self, values: &mut Vec<(&'static str, u64, bool)>) {
        let gauge = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        values.push(("calls", gauge(self.active), true));
        values.push(("legs", gauge(self.legs.len()), true));
        values.push(("rtp_ports", gauge(self.ports.in_use()), true));
        self.figures.write(values);
    }

    /// Calls up or ringing.
    pub(crate) fn len(&self) -> usize {
        self.active
    }

    /// RTP ports in use.
    pub(crate) fn rtp_ports(&self) -> usize {
        self.ports.in_use()
    }

    /// The leg whose session has this owner.
    fn leg(&self, owner: Owner) -> Option<(LegKey, &Leg)> {
        let (room, number) = Room::of(owner)?;
        let key = Key::unpack(number);
        let leg = self.legs.get(key)?;
        (room == Room::Call && number & OF_ALL == 0).then_some((key, leg))
    }

    fn state(&self, call: Key<Interaction>) -> Option<&State> {
        self.interactions.get(call).map(|interaction| &interaction.call.state)
    }

    /// The leg that began the call, while it is not forgotten.
    fn caller_of(&self, call: Key<Interaction>) -> Option<LegKey> {
        self.interactions.get(call)?.parties.first()?.legs.first().copied()
    }
}

/// Records that are too old by the clock on the wall are forgotten.
fn on_records_due(cx: &mut Cx<'_>) {
    let next = cx.now.mono + RECORDS_INTERVAL;
    cx.core.endpoint.set_timer(next, common_timer(), TIMER_RECORDS);
    if let Some(keep) = cx.core.config.calls.keep_records {
        cx.core.store(model::StoreOp::ExpireCdrs(cx.now.wall - keep));
    }
    crate::proxy::give_up(cx);
}

/// What goes into every request and 2xx of a session.
fn manners(core: &Core) -> Headers {
    Headers::new()
        .with(Name::Allow, relay::ALLOW)
        .with(Name::Supported, relay::SUPPORTED)
        .with(Name::UserAgent, &*core.config.product)
}
