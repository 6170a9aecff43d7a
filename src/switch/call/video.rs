//! Video beside the sound of a call: two devices that agree on it are joined in a room of its own, which only relays. It lives
//! in a plain call of two: while one holds, is elsewhere or consulted, or others listen, nobody sees anything, and what we
//! offer then has no video. A recorded call may not agree on any.

use super::room::{Engine, Sound};
use super::{Calls, LegKey};
use crate::arena::Key;
use crate::core::Cx;
use crate::interaction::Interaction;
use media::plan::{Latch, LegMedia, Matrix, Rate};
use media::{LegId, OpenLeg, Plan, Port, RoomId};
use smallvec::SmallVec;

/// A leg's video.
#[derive(Debug)]
pub(crate) struct Video {
    /// Ours until the leg ends.
    pub(crate) port: Port,
    /// The leg that it is relayed to and from.
    with: Option<LegKey>,
}

/// Names of the engine's rooms and legs for video have this bit; keys pack into fewer.
const VIDEO: u64 = 1 << 63;

/// Whether the engine means the video of a leg and not its sound.
#[must_use]
pub(super) fn is_video(leg: LegId) -> bool {
    leg.0 & VIDEO != 0
}

fn video_leg(key: LegKey) -> LegId {
    LegId(key.pack() | VIDEO)
}

fn video_room(one: LegKey, other: LegKey) -> RoomId {
    RoomId(one.pack().min(other.pack()) | VIDEO)
}

impl Calls {
    /// Whether the devices of a call may agree on video: two parties, nobody consulted, no recording.
    pub(super) fn may_see(&self, call: Key<Interaction>) -> bool {
        let is_plain = |interaction: &Interaction| {
            let members = interaction.parties.iter().all(|party| party.line.is_none());
            members && interaction.parties.len() <= 2 && interaction.side.is_none() && interaction.call.sides.is_empty()
        };
        self.interactions.get(call).is_some_and(is_plain) && !self.listening.records(call)
    }

    /// Prepares two legs for an offer that goes from one to the other: each has a port for video if the device that offers
    /// asks for it and the call may have it.
    pub(super) fn prepare_video(&mut self, cx: &mut Cx<'_>, from: LegKey, to: LegKey) {
        let call = self.legs.get(from).map(|leg| leg.interaction);
        let may = call.is_some_and(|call| self.may_see(call));
        let asks = self.sound_mut(from).is_some_and(|sound| sound.negotiation.asks_video());
        for key in [from, to] {
            self.admit_video(cx, key, may && asks);
        }
    }

    /// Gives a leg a port for video, or says that it may have none now. Without a free port there is no video.
    pub(super) fn admit_video(&mut self, cx: &mut Cx<'_>, key: LegKey, may: bool) {
        if let Some(sound) = self.legs.get_mut(key).and_then(|leg| leg.sound.as_mut()) {
            lend(&mut self.ports, cx, sound, may);
        }
        self.want_ports(cx);
    }

    /// The same for a leg that is yet to be.
    pub(super) fn admit_newcomer(&mut self, cx: &mut Cx<'_>, sound: &mut Sound, may: bool) {
        lend(&mut self.ports, cx, sound, may);
        self.want_ports(cx);
    }

    /// Joins or parts the video of these legs as their calls are now.
    pub(super) fn watch(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        let Some(interaction) = self.interactions.get(call) else {
            return;
        };
        let has_video = |key: &LegKey| {
            let sound = self.legs.get(*key).and_then(|leg| leg.sound.as_ref());
            sound.is_some_and(|sound| sound.video.is_some())
        };
        let legs: SmallVec<[LegKey; 4]> = interaction.legs().filter(has_video).collect();
        legs.into_iter().for_each(|key| self.show(cx, key, false));
    }

    /// Joins the video of a leg with that of whom it talks to, or parts them; `anew`: its device has agreed to something.
    pub(super) fn show(&mut self, cx: &mut Cx<'_>, key: LegKey, anew: bool) {
        let with = self.watches(key);
        if self.seen_by(key) == with {
            if let (Some(_), true, Some((port, media, _))) = (with, anew, self.agreed_video(key)) {
                let (leg, media_timeout) = (video_leg(key), None);
                let plan = Plan::UpdateLeg {
                    leg,
                    media,
                    media_timeout,
                };
                cx.core.media(port.worker, plan);
            }
            return;
        }
        self.hide(cx, key);
        if let Some(with) = with {
            self.hide(cx, with);
            self.join_video(cx, key, with);
        }
    }

    /// Nobody sees what this leg's device sends any more.
    pub(super) fn hide(&mut self, cx: &mut Cx<'_>, key: LegKey) {
        let Some(video) = self.video_mut(key) else { return };
        let (worker, with) = (video.port.worker, video.with.take());
        let Some(with) = with else { return };
        if let Some(video) = self.video_mut(with) {
            video.with = None;
        }
        for key in [key, with] {
            cx.core.media(worker, Plan::CloseLeg { leg: video_leg(key) });
        }
        let room = video_room(key, with);
        cx.core.media(worker, Plan::CloseRoom { room });
    }

    fn join_video(&mut self, cx: &mut Cx<'_>, one: LegKey, other: LegKey) {
        let (Some(first), Some(second)) = (self.agreed_video(one), self.agreed_video(other)) else {
            return;
        };
        let (room, worker) = (video_room(one, other), first.0.worker);
        let (matrix, rate) = (Matrix::Everyone, Rate::Narrow);
        cx.core.media(worker, Plan::OpenRoom { room, matrix, rate });
        for (key, with, (port, media, latch)) in [(one, other, first), (other, one, second)] {
            let open = OpenLeg {
                leg: video_leg(key),
                room,
                port: port.number,
                media,
                latch,
                // Whoever sends no picture still talks.
                media_timeout: None,
            };
            cx.core.media(worker, Plan::OpenLeg(Box::new(open)));
            if let Some(video) = self.video_mut(key) {
                video.with = Some(with);
            }
        }
    }

    /// Whom a leg sees and is seen by, as things are: both have agreed to video, and talk to each other alone.
    fn watches(&self, key: LegKey) -> Option<LegKey> {
        let with = self.plain_peer(key)?;
        let worker = |key: LegKey| Some(self.agreed_video(key)?.0.worker);
        (worker(key)? == worker(with)?).then_some(with)
    }

    fn seen_by(&self, key: LegKey) -> Option<LegKey> {
        self.legs.get(key)?.sound.as_ref()?.video.as_ref()?.with
    }

    /// Port, agreement and latching of a leg's video, while its sound is open.
    fn agreed_video(&self, key: LegKey) -> Option<(Port, LegMedia, Latch)> {
        let leg = self.legs.get(key)?;
        let sound = leg
            .sound
            .as_ref()
            .filter(|sound| matches!(sound.engine, Engine::Open))?;
        let latch = leg.host().map_or(Latch::SdpHost, Latch::Host);
        Some((sound.video.as_ref()?.port, sound.negotiation.video_media()?, latch))
    }

    fn video_mut(&mut self, key: LegKey) -> Option<&mut Video> {
        self.sound_mut(key)?.video.as_mut()
    }
}

/// A port stays with its leg, so that the next offer names the same.
fn lend(ports: &mut media::PortPool, cx: &Cx<'_>, sound: &mut Sound, may: bool) {
    if may && sound.video.is_none() {
        let port = ports.take(cx.now.mono, sound.port.worker).ok();
        sound.video = port.map(|port| Video { port, with: None });
    }
    let port = sound.video.as_ref().filter(|_| may).map(|video| video.port.number);
    sound.negotiation.take_video(port);
}
