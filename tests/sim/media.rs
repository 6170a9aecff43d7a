//! The media plane as the switch sees it: ports, rooms and legs. It obeys plans and objects to those that make no sense.

use media::{Event, LegStats, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// What one worker holds.
#[derive(Debug, Default)]
pub struct MediaPlane {
    bound: BTreeSet<u16>,
    /// Ports that legs to come will have.
    held: BTreeSet<u16>,
    next_port: u16,
    rooms: BTreeSet<media::RoomId>,
    legs: BTreeMap<media::LegId, Leg>,
    /// Most legs at one time.
    pub peak: usize,
}

#[derive(Debug)]
struct Leg {
    room: media::RoomId,
    port: u16,
    remote: Option<SocketAddr>,
    timeout: Option<Duration>,
    should_send: bool,
    /// How long nothing came.
    silent: Duration,
    /// Rises with each agreement, so that an old check of the silence knows that it is old.
    version: u32,
}

/// What follows from a plan.
#[derive(Debug)]
pub enum Effect {
    /// Tell the switch soon.
    Say(Event),
    /// Look after so long whether the device sends.
    Listen(Duration, media::LegId, u32),
}

/// How closely silence is measured.
const LISTEN_EVERY: Duration = Duration::from_secs(2);
const RANGE: std::ops::Range<u16> = 16_384..32_768;

impl MediaPlane {
    /// Carries out a plan; an error says why it cannot be.
    pub fn obey(&mut self, worker: media::WorkerId, plan: Plan) -> Result<Option<Effect>, String> {
        match plan {
            Plan::BindPorts { count } => return Ok(Some(Effect::Say(self.bind(worker, count)))),
            Plan::HoldPort { port } => {
                if !self.held.insert(port) {
                    return Err(format!("port {port} held twice"));
                }
            }
            Plan::ReleasePort { port } => {
                if !self.held.remove(&port) {
                    return Err(format!("port {port} released, and was not held"));
                }
            }
            Plan::OpenRoom { room, .. } => {
                if !self.rooms.insert(room) {
                    return Err(format!("{room:?} opened twice"));
                }
            }
            Plan::CloseRoom { room } => {
                if !self.rooms.remove(&room) {
                    return Err(format!("{room:?} closed, and was not open"));
                }
                if let Some((leg, _)) = self.legs.iter().find(|(_, leg)| leg.room == room) {
                    return Err(format!("{room:?} closed with {leg:?} in it"));
                }
            }
            Plan::OpenLeg(open) => return self.open(*open).map(Some),
            Plan::UpdateLeg {
                leg,
                media,
                media_timeout,
            } => return self.update(leg, &media, media_timeout),
            Plan::CloseLeg { leg } => {
                let closed = self.legs.remove(&leg);
                let port = closed.ok_or_else(|| format!("{leg:?} closed, and was not open"))?.port;
                let stats = Box::new(LegStats::default());
                return Ok(Some(Effect::Say(Event::LegClosed { leg, port, stats })));
            }
            Plan::MoveLeg { leg, room } => {
                let moved = self
                    .legs
                    .get_mut(&leg)
                    .ok_or_else(|| format!("{leg:?} moved, and is not open"))?;
                moved.room = room;
            }
            Plan::Restrict { leg, .. } | Plan::SendDtmf { leg, .. } | Plan::SetDtmf { leg, .. } => {
                self.legs
                    .get(&leg)
                    .ok_or_else(|| format!("{leg:?} restricted or dialled, and is not open"))?;
            }
            // Who is recorded or listened to notices nothing, and may have gone.
            Plan::StartRecord(_) | Plan::RecordLeg { .. } | Plan::PauseRecord { .. } => {}
            Plan::StopRecord { .. } | Plan::Inspect { .. } => {}
            Plan::SetEdges { room, .. }
            | Plan::Play { room, .. }
            | Plan::StopPlay { room, .. }
            | Plan::ControlLevel { room, .. } => {
                if !self.rooms.contains(&room) {
                    return Err(format!("{room:?} is not open"));
                }
            }
        }
        Ok(None)
    }

    fn bind(&mut self, worker: media::WorkerId, count: u16) -> Event {
        let from = self.next_port.max(RANGE.start);
        let ports: Vec<u16> = (from..RANGE.end).step_by(2).take(usize::from(count)).collect();
        let Some(last) = ports.last() else {
            return Event::PortsExhausted { worker };
        };
        self.next_port = last + 2;
        self.bound.extend(&ports);
        Event::PortsBound { worker, ports }
    }

    fn open(&mut self, open: media::OpenLeg) -> Result<Effect, String> {
        let media::OpenLeg { leg, room, port, .. } = open;
        if !self.rooms.contains(&room) {
            return Err(format!("{leg:?} opened in {room:?}, which is not open"));
        }
        if !self.bound.contains(&port) {
            return Err(format!("{leg:?} opened on port {port}, which is not bound"));
        }
        if let Some((other, _)) = self.legs.iter().find(|(_, other)| other.port == port) {
            return Err(format!("{leg:?} opened on port {port}, which {other:?} has"));
        }
        if !self.held.remove(&port) {
            return Err(format!("{leg:?} opened on port {port}, which was not held for it"));
        }
        let state = Leg {
            room,
            port,
            remote: open.media.remote,
            timeout: open.media_timeout,
            should_send: should_send(&open.media),
            silent: Duration::ZERO,
            version: 0,
        };
        if self.legs.insert(leg, state).is_some() {
            return Err(format!("{leg:?} opened twice"));
        }
        self.peak = self.peak.max(self.legs.len());
        Ok(Effect::Listen(
            open.media_timeout.unwrap_or(Duration::from_secs(1)),
            leg,
            0,
        ))
    }

    fn update(
        &mut self,
        id: media::LegId,
        media: &media::LegMedia,
        timeout: Option<Duration>,
    ) -> Result<Option<Effect>, String> {
        let leg = self
            .legs
            .get_mut(&id)
            .ok_or_else(|| format!("{id:?} updated, and is not open"))?;
        leg.version += 1;
        leg.remote = media.remote;
        leg.timeout = timeout;
        leg.should_send = should_send(media);
        leg.silent = Duration::ZERO;
        Ok(Some(Effect::Listen(LISTEN_EVERY, id, leg.version)))
    }

    /// The time to listen is over: what follows, if the device at the leg's address does not send.
    pub fn listened(&mut self, id: media::LegId, version: u32, sends: impl Fn(SocketAddr) -> bool) -> Option<Effect> {
        let leg = self.legs.get_mut(&id).filter(|leg| leg.version == version)?;
        if !leg.should_send || leg.remote.is_some_and(sends) {
            leg.silent = Duration::ZERO;
        } else {
            leg.silent += LISTEN_EVERY;
        }
        match leg.timeout {
            Some(timeout) if leg.silent >= timeout => Some(Effect::Say(Event::MediaTimeout { leg: id })),
            _ => Some(Effect::Listen(LISTEN_EVERY, id, version)),
        }
    }

    /// Open legs and rooms.
    pub fn open_now(&self) -> (usize, usize) {
        (self.legs.len(), self.rooms.len())
    }
}

/// The device was asked for sound and holds nobody.
fn should_send(media: &media::LegMedia) -> bool {
    media.direction.receives() && !media.on_hold
}
