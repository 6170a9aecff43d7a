//! The voice room of a call and its legs' places in it: ports, agreements, and the plans that carry them out.

use super::video::Video;
use super::{Calls, LegKey, TIMER_LINGER, leg_timer};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::Interaction;
use media::plan::{Audience, Codec, Edge, Gain, Latch, Matrix, Rate, Source};
use media::sdp::{Local, Negotiation, SrtpPolicy, SrtpUse};
use media::{LegId, LegStats, OpenLeg, Plan, PlayerId, Port, RoomId, WorkerId};
use model::Aor;
use sip::Transport;
use sip::endpoint::Alarm;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A leg's port, and what was agreed about it.
#[derive(Debug)]
pub(crate) struct Sound {
    /// Ours until it is given back to the pool.
    pub(crate) port: Port,
    /// The port of another worker that its device has been offered.
    pub(super) next: Option<Port>,
    /// Offer/answer with the device.
    pub(crate) negotiation: Negotiation,
    /// What the engine knows of it.
    pub(crate) engine: Engine,
    /// Its device may show something.
    pub(super) video: Option<Video>,
}

impl Sound {
    /// How SRTP is dealt with on this leg (RFC 4568 section 7: keys need signalling that others cannot read).
    pub(super) fn secure(&mut self, cx: &mut Cx<'_>, user: Option<&Aor>, transport: Transport) {
        let user = user.and_then(|aor| cx.core.users.named(aor.user()));
        let policy = SrtpPolicy {
            allowed: transport.is_secure() || cx.core.config.media.sdes_over_clear,
            wanted: user.map_or(SrtpUse::Off, |user| user.srtp),
        };
        self.negotiation.secure(policy, &mut || cx.core.random());
    }
}

/// What the media engine knows of a leg.
#[derive(Debug)]
pub(crate) enum Engine {
    /// Nothing.
    Idle,
    /// It reads the port.
    Open,
    /// It was told to close, and owes the figures. The alarm is for an engine that never says.
    Closing(Alarm),
}

/// An engine that has not said goodbye to a leg by then never will: the port must be back within 5 s (S23).
const LINGER: Duration = Duration::from_secs(2);

/// The one player in a room that serves a sound.
pub(super) const PLAYER: PlayerId = PlayerId(1);

/// The engine's name of a leg.
#[must_use]
pub(crate) fn leg_id(key: LegKey) -> LegId {
    LegId(key.pack())
}

/// The engine's name of a call's room.
#[must_use]
pub(crate) fn room_id(key: Key<Interaction>) -> RoomId {
    RoomId(key.pack())
}

impl Calls {
    /// Takes a port for a leg, at the worker of its room if that is known. `signalled` is our address as the device's
    /// signalling sees it, for SDP where no media address is configured.
    pub(super) fn reserve(
        &mut self,
        cx: &mut Cx<'_>,
        worker: Option<WorkerId>,
        signalled: Option<SocketAddr>,
    ) -> Result<Sound, media::NoPort> {
        let port = self.take_port(cx, worker)?;
        let local = Local {
            address: media_address(cx, signalled),
            port: port.number,
            // Many phones read the session id into 63 bits.
            session_id: cx.core.random() >> 2,
        };
        Ok(Sound {
            port,
            next: None,
            negotiation: Negotiation::new(local),
            engine: Engine::Idle,
            video: None,
        })
    }

    /// A port of this worker, or of any. A device may speak as soon as it has answered, and its packets overtake its answer:
    /// they are kept.
    pub(super) fn take_port(&mut self, cx: &mut Cx<'_>, worker: Option<WorkerId>) -> Result<Port, media::NoPort> {
        let taken = match worker {
            Some(worker) => self.ports.take(cx.now.mono, worker),
            None => self.ports.take_any(cx.now.mono),
        };
        self.want_ports(cx);
        let port = taken?;
        cx.core.media(port.worker, Plan::HoldPort { port: port.number });
        Ok(port)
    }

    /// Asks workers that run low for more ports.
    pub(super) fn want_ports(&mut self, cx: &mut Cx<'_>) {
        while let Some((worker, count)) = self.ports.poll_want(cx.now.mono) {
            cx.core.media(worker, Plan::BindPorts { count });
        }
    }

    /// Opens the call's room, once.
    pub(super) fn open_room(&mut self, cx: &mut Cx<'_>, key: Key<Interaction>, matrix: Matrix) {
        let Some(interaction) = self.interactions.get_mut(key) else {
            return;
        };
        let call = &mut interaction.call;
        if let (false, Some(worker)) = (call.open, call.worker) {
            call.open = true;
            let room = room_id(key);
            // Only as high as the members' devices need: the engine sees to that.
            let rate = Rate::Full;
            cx.core.media(worker, Plan::OpenRoom { room, matrix, rate });
        }
    }

    /// Tells the engine what was agreed with a leg's device last; the first time the leg enters its room, and the answer
    /// is `true`. Until the call is answered nobody has to send, so nobody is silent.
    pub(super) fn listen(&mut self, cx: &mut Cx<'_>, key: LegKey) -> bool {
        let media_timeout = Some(cx.core.config.media.timeout);
        let inband = cx.core.config.media.inband_dtmf;
        let is_key = |codec| matches!(codec, Codec::TelephoneEvent(_));
        // Who waits at another worker for the others to come there too is heard when they have.
        let place = self.legs.get(key).and_then(|leg| self.interactions.get(leg.place));
        let worker = place.and_then(|place| place.call.worker);
        let Some(leg) = self.legs.get_mut(key) else {
            return false;
        };
        let media_timeout = media_timeout.filter(|_| leg.is_up());
        let (room, host) = (room_id(leg.place), leg.host());
        let Some(sound) = &mut leg.sound else { return false };
        let Some(mut media) = sound.negotiation.leg_media() else {
            return false;
        };
        media.inband_dtmf = inband && !media.formats.iter().any(|format| is_key(format.codec));
        let leg = leg_id(key);
        let plan = match sound.engine {
            Engine::Idle if worker.is_some_and(|worker| worker != sound.port.worker) => return false,
            Engine::Idle => Plan::OpenLeg(Box::new(OpenLeg {
                leg,
                room,
                port: sound.port.number,
                media,
                latch: host.map_or(Latch::SdpHost, Latch::Host),
                media_timeout,
            })),
            Engine::Open => Plan::UpdateLeg {
                leg,
                media,
                media_timeout,
            },
            Engine::Closing(_) => return false,
        };
        let enters = matches!(sound.engine, Engine::Idle);
        sound.engine = Engine::Open;
        cx.core.media(sound.port.worker, plan);
        if enters {
            self.record_newcomer(cx, key);
        }
        self.show(cx, key, true);
        enters
    }

    /// The leg hears itself.
    pub(super) fn echo(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let Some((room, worker)) = self.place(key) else { return };
        let edge = Edge {
            from: Source::Leg(leg_id(key)),
            to: leg_id(key),
            gain: Some(Gain::UNITY),
        };
        let edges = vec![edge];
        cx.core.media(worker, Plan::SetEdges { room, edges });
    }

    /// The leg hears a sound.
    pub(super) fn play(&mut self, cx: &mut Cx<'_>, key: LegKey, sound: media::plan::Sound) {
        let Some((room, worker)) = self.place(key) else { return };
        let to = Audience::Leg(leg_id(key));
        let player = PLAYER;
        cx.core.media(
            worker,
            Plan::Play {
                room,
                player,
                sound,
                to,
            },
        );
    }

    fn place(&self, key: LegKey) -> Option<(RoomId, WorkerId)> {
        let leg = self.legs.get(key)?;
        Some((room_id(leg.place), leg.sound.as_ref()?.port.worker))
    }

    /// The leg needs its port no more. True if that is all; false if the engine's figures are still to come.
    pub(super) fn silence(&mut self, cx: &mut Cx<'_>, key: LegKey) -> bool {
        if let Some(place) = self.legs.get(key).map(|leg| leg.place) {
            self.stop_sound(cx, place, key);
            self.forget_seat(place, key);
        }
        self.hide(cx, key);
        self.stay(cx, key);
        let Some(leg) = self.legs.get_mut(key) else { return true };
        let Some(sound) = &mut leg.sound else { return true };
        match sound.engine {
            Engine::Idle => {
                if let Some(sound) = leg.sound.take() {
                    self.release(cx, &sound);
                }
                self.drop_former(cx, key);
                true
            }
            Engine::Open => {
                let owner = leg_timer(key);
                let alarm = cx.core.endpoint.set_timer(cx.now.mono + LINGER, owner, TIMER_LINGER);
                sound.engine = Engine::Closing(alarm);
                cx.core.media(sound.port.worker, Plan::CloseLeg { leg: leg_id(key) });
                false
            }
            Engine::Closing(_) => false,
        }
    }

    /// Gives back the ports of a leg whose sound the engine has never read.
    pub(super) fn release(&mut self, cx: &mut Cx<'_>, sound: &Sound) {
        let port = sound.port;
        cx.core.media(port.worker, Plan::ReleasePort { port: port.number });
        self.give_back(cx, sound);
    }

    fn give_back(&mut self, cx: &Cx<'_>, sound: &Sound) {
        let video = sound.video.as_ref().map(|video| video.port);
        for port in video.into_iter().chain([sound.port]) {
            self.ports.give_back(cx.now.mono, port);
        }
    }

    /// Closes the room of a call that is over. Its legs have been closed before.
    pub(super) fn close_room(&mut self, cx: &mut Cx<'_>, key: Key<Interaction>) {
        let Some(interaction) = self.interactions.get_mut(key) else {
            return;
        };
        let call = &mut interaction.call;
        if let (true, Some(worker)) = (std::mem::take(&mut call.open), call.worker) {
            let room = room_id(key);
            cx.core.media(worker, Plan::CloseRoom { room });
        }
    }

    /// The engine has closed a leg: its record can be written and its port rests.
    pub(super) fn on_leg_closed(&mut self, cx: &mut Cx<'_>, key: LegKey, stats: &LegStats) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let Some(sound) = leg.sound.take() else { return };
        if let Engine::Closing(alarm) = sound.engine {
            cx.core.endpoint.cancel_timer(alarm);
        }
        self.give_back(cx, &sound);
        self.drop_former(cx, key);
        let earlier = self.legs.get_mut(key).and_then(|leg| leg.earlier.take());
        let stats = stats.clone().after(&earlier.unwrap_or_default());
        self.record(cx, key, Some(&sound.negotiation), &stats);
        self.forget(cx, key);
    }
}

/// The address written into SDP: the configured one of the family in which the device talks to us, or the one the device's signalling reached us at.
fn media_address(cx: &Cx<'_>, signalled: Option<SocketAddr>) -> IpAddr {
    let media = &cx.core.config.media;
    let told = |(local, advertised): (IpAddr, Option<IpAddr>)| advertised.unwrap_or(local);
    let fits = |(local, _): &(IpAddr, _)| signalled.is_some_and(|signalled| signalled.is_ipv4() == local.is_ipv4());
    if let Some(second) = media.second.filter(fits) {
        return told(second);
    }
    let configured = told((media.local, media.advertised));
    match signalled {
        Some(signalled) if configured.is_unspecified() => signalled.ip(),
        _ => configured,
    }
}
