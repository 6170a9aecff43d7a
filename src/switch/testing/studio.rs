//! A media plane that keeps account instead of making sound.

use media::plan::{Audience, Edge, Gain, Sound, Source};
use media::{Event, LegId, LegMedia, LegSound, LegStats, OpenLeg, Plan, PlayerId, RoomId, Way, WorkerId};
use media::{Heard, HeardTone, Recorded, Recording, RecordingId, StartRecord};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the media workers were told.
#[derive(Debug, Default)]
pub struct Studio {
    /// All orders but those for ports, in order.
    pub plans: Vec<Plan>,
    /// Rooms that are open, with the worker they live at.
    rooms: Vec<(WorkerId, RoomId)>,
    legs: BTreeMap<u64, OpenLeg>,
    /// Recordings being made, with the legs in them.
    pub tapes: Vec<(RecordingId, Vec<LegId>)>,
    /// Named edges: room, who hears, who is heard.
    edges: BTreeMap<(RoomId, LegId, Source), Gain>,
    /// Sounds: room and player.
    players: BTreeMap<(RoomId, PlayerId), (Audience, Sound)>,
    ports_bound: u16,
    /// Which worker reads each port.
    workers: BTreeMap<u16, WorkerId>,
    /// So many ports exist; none for 8,192.
    pub port_limit: Option<u16>,
    /// It obeys, but says nothing: a worker that died.
    pub is_dead: bool,
}

/// The first RTP port.
const FIRST_PORT: u16 = 16_384;

/// What each leg's record says of packets.
pub const STATS: (u64, u64, u64) = (100, 99, 1);

impl Studio {
    /// Legs that are open.
    #[must_use]
    pub fn open_legs(&self) -> usize {
        if self.is_dead { 0 } else { self.legs.len() }
    }

    /// Their names.
    #[must_use]
    pub fn legs(&self) -> Vec<LegId> {
        self.legs.keys().map(|leg| LegId(*leg)).collect()
    }

    /// Rooms that are open.
    #[must_use]
    pub fn open_rooms(&self) -> usize {
        if self.is_dead { 0 } else { self.rooms.len() }
    }

    /// Their names.
    pub fn rooms(&self) -> impl Iterator<Item = RoomId> {
        self.rooms.iter().map(|(_, room)| *room)
    }

    /// The leg on this RTP port.
    #[must_use]
    pub fn on_port(&self, port: u16) -> Option<&OpenLeg> {
        self.legs.values().find(|leg| leg.port == port)
    }

    /// The leg whose device has its RTP at this port.
    #[must_use]
    pub fn towards(&self, port: u16) -> Option<&OpenLeg> {
        let remote = |leg: &&OpenLeg| leg.media.remote.is_some_and(|remote| remote.port() == port);
        self.legs.values().find(remote)
    }

    /// The worker of the leg whose device has its RTP at this port.
    #[must_use]
    pub fn worker_towards(&self, port: u16) -> Option<WorkerId> {
        self.workers.get(&self.towards(port)?.port).copied()
    }

    /// Carries out an order.
    pub fn obey(&mut self, worker: WorkerId, plan: Plan) -> Vec<Event> {
        if let Plan::BindPorts { count } = plan {
            return self.bind(worker, count);
        }
        if let Plan::HoldPort { .. } | Plan::ReleasePort { .. } = plan {
            return vec![];
        }
        self.plans.push(plan.clone());
        match plan {
            Plan::OpenRoom { room, .. } => {
                assert!(
                    self.rooms.iter().all(|(_, known)| *known != room),
                    "a room is opened twice"
                );
                self.rooms.push((worker, room));
            }
            Plan::CloseRoom { room } => {
                assert!(
                    self.legs.values().all(|leg| leg.room != room),
                    "a room is closed with legs in it"
                );
                assert!(self.is_at(worker, room), "a room is closed where it is not");
                self.rooms.retain(|&(_, other)| other != room);
                self.edges.retain(|&(other, ..), _| other != room);
                self.players.retain(|&(other, _), _| other != room);
            }
            Plan::MoveLeg { leg, room } => {
                assert!(self.is_at(worker, room), "a leg is moved to no room");
                self.assert_at(worker, leg);
                self.forget_edges(leg);
                self.legs.get_mut(&leg.0).expect("a leg that is open is moved").room = room;
            }
            Plan::StopPlay { room, player } => drop(self.players.remove(&(room, player))),
            Plan::OpenLeg(leg) => {
                assert!(self.is_at(worker, leg.room), "a leg without a room");
                assert_eq!(self.workers.get(&leg.port), Some(&worker), "the port of another worker");
                assert!(!self.legs.contains_key(&leg.leg.0), "a leg is opened twice");
                assert!(self.on_port(leg.port).is_none(), "two legs on one port");
                self.legs.insert(leg.leg.0, *leg);
            }
            Plan::UpdateLeg {
                leg,
                media,
                media_timeout,
            } => {
                self.assert_at(worker, leg);
                self.update(leg, media, media_timeout);
            }
            Plan::CloseLeg { leg } => {
                self.assert_at(worker, leg);
                return self.close(leg);
            }
            Plan::StartRecord(start) => self.record(*start),
            Plan::RecordLeg { recording, leg, side } => self.record_leg(recording, leg, side.is_some()),
            Plan::StopRecord { recording } => return self.stop_record(recording),
            Plan::Inspect { token, legs } => return vec![inspected(token, legs)],
            Plan::SetEdges { room, edges } => {
                assert!(self.is_at(worker, room), "edges in a room that is elsewhere");
                edges.iter().for_each(|edge| self.set_edge(room, edge));
            }
            Plan::Play {
                room,
                player,
                sound,
                to,
            } => {
                if let Audience::Leg(leg) = to {
                    let there = self.legs.get(&leg.0).is_some_and(|leg| leg.room == room);
                    assert!(there, "a sound for a leg that is not there");
                }
                self.players.insert((room, player), (to, sound));
            }
            _ => {}
        }
        vec![]
    }

    /// Tones that do not sound for ever come to their end.
    pub fn end_tones(&mut self) -> Vec<Event> {
        let ends = |sound: &Sound| matches!(sound, Sound::Tone(tone) if tone.repeat.is_some());
        let all = std::mem::take(&mut self.players);
        let (ended, left) = all.into_iter().partition(|(_, (_, sound))| ends(sound));
        self.players = left;
        let ended: BTreeMap<(RoomId, PlayerId), _> = ended;
        let played = |(room, player)| Event::Played { room, player };
        ended.into_keys().map(played).collect()
    }

    fn is_at(&self, worker: WorkerId, room: RoomId) -> bool {
        self.rooms.contains(&(worker, room))
    }

    fn assert_at(&self, worker: WorkerId, leg: LegId) {
        let port = self.legs.get(&leg.0).map(|leg| leg.port);
        let home = port.and_then(|port| self.workers.get(&port));
        assert!(
            home.is_none_or(|home| *home == worker),
            "the leg lives at another worker"
        );
    }

    fn record(&mut self, start: StartRecord) {
        let legs = match start.of {
            Recorded::Leg(leg) => vec![leg],
            Recorded::Sides(sides) => sides.iter().map(|(leg, _)| *leg).collect(),
            Recorded::Room(_) => Vec::new(),
        };
        assert!(
            legs.iter().all(|leg| self.legs.contains_key(&leg.0)),
            "a recording of a stranger"
        );
        self.tapes.push((start.recording, legs));
    }

    fn record_leg(&mut self, recording: RecordingId, leg: LegId, joins: bool) {
        for (_, legs) in self.tapes.iter_mut().filter(|(known, _)| *known == recording) {
            legs.retain(|known| *known != leg);
            legs.extend(joins.then_some(leg));
        }
    }

    fn stop_record(&mut self, recording: RecordingId) -> Vec<Event> {
        let known = self.tapes.iter().any(|(known, _)| *known == recording);
        self.tapes.retain(|(known, _)| *known != recording);
        let result = Box::new(Recording::default());
        if known {
            vec![Event::Recorded { recording, result }]
        } else {
            vec![]
        }
    }

    fn set_edge(&mut self, room: RoomId, edge: &Edge) {
        let in_room = |leg: LegId| self.legs.get(&leg.0).is_some_and(|leg| leg.room == room);
        assert!(in_room(edge.to), "an edge to a leg that is not there");
        if let Source::Leg(from) = edge.from {
            assert!(in_room(from), "an edge from a leg that is not there");
        }
        match edge.gain {
            Some(gain) => drop(self.edges.insert((room, edge.to, edge.from), gain)),
            None => drop(self.edges.remove(&(room, edge.to, edge.from))),
        }
    }

    fn forget_edges(&mut self, leg: LegId) {
        self.edges
            .retain(|&(_, to, from), _| to != leg && from != Source::Leg(leg));
    }

    /// What the device at this RTP port hears: the RTP ports of others in rising order, and `music`, `tone` for sounds.
    #[must_use]
    pub fn hears(&self, port: u16) -> Vec<String> {
        let Some(listener) = self.towards(port) else {
            return vec![];
        };
        if !listener.media.direction.sends() {
            return vec![];
        }
        let (room, to) = (listener.room, listener.leg);
        let unmuted = |from: LegId| {
            !self
                .edges
                .get(&(room, to, Source::Leg(from)))
                .is_some_and(|gain| gain.is_mute())
        };
        let others = self
            .legs
            .values()
            .filter(|leg| leg.room == room && leg.leg != to && unmuted(leg.leg));
        let mut heard: Vec<String> = others
            .filter(|leg| leg.media.direction.receives())
            .filter_map(|leg| Some(leg.media.remote?.port().to_string()))
            .collect();
        let itself = self.edges.get(&(room, to, Source::Leg(to)));
        if itself.is_some_and(|gain| !gain.is_mute()) {
            heard.push("itself".to_owned());
        }
        let sounds = self
            .players
            .iter()
            .filter(|((at, _), (who, _))| *at == room && *who == Audience::Leg(to));
        heard.extend(sounds.map(|(_, (_, sound))| match sound {
            Sound::Music(_) => "music".to_owned(),
            _ => "tone".to_owned(),
        }));
        heard
    }

    fn bind(&mut self, worker: WorkerId, count: u16) -> Vec<Event> {
        let left = self.port_limit.unwrap_or(8_192).saturating_sub(self.ports_bound);
        let first = self.ports_bound;
        self.ports_bound += count.min(left);
        let ports: Vec<u16> = (first..self.ports_bound).map(|n| FIRST_PORT + 2 * n).collect();
        self.workers.extend(ports.iter().map(|port| (*port, worker)));
        let bound = (!ports.is_empty()).then_some(Event::PortsBound { worker, ports });
        let exhausted = (count > left).then_some(Event::PortsExhausted { worker });
        bound.into_iter().chain(exhausted).collect()
    }

    fn update(&mut self, leg: LegId, media: LegMedia, media_timeout: Option<std::time::Duration>) {
        let known = self.legs.get_mut(&leg.0).expect("an update for a leg that is open");
        known.media = media;
        known.media_timeout = media_timeout;
    }

    fn close(&mut self, leg: LegId) -> Vec<Event> {
        let port = self.legs.remove(&leg.0).expect("a leg is closed once").port;
        self.forget_edges(leg);
        if self.is_dead {
            return vec![];
        }
        let (received, sent, lost) = STATS;
        let stats = Box::new(LegStats {
            received,
            sent,
            lost,
            jitter: Duration::from_millis(7),
            round_trip: Some(Duration::from_millis(42)),
            mos: Some(4.36),
            ..LegStats::default()
        });
        let mut events = vec![Event::LegClosed { leg, port, stats }];
        // A recording ends with its last leg.
        let tapes: Vec<_> = self
            .tapes
            .iter()
            .filter(|(_, legs)| legs == &[leg])
            .map(|(tape, _)| *tape)
            .collect();
        self.tapes
            .iter_mut()
            .for_each(|(_, legs)| legs.retain(|known| *known != leg));
        tapes.into_iter().for_each(|tape| events.extend(self.stop_record(tape)));
        events
    }
}

/// Figures of a leg, no two alike: one that is told in place of another is seen.
pub fn figures() -> LegStats {
    LegStats {
        received: 30,
        sent: 31,
        lost: 2,
        duplicates: 3,
        strangers: 4,
        remote_lost: 5,
        jitter: Duration::from_micros(6_500),
        remote_jitter: Duration::from_micros(7_200),
        round_trip: Some(Duration::from_micros(48_300)),
        mos: Some(4.1),
        ..LegStats::default()
    }
}

/// Every leg sends 400 Hz and is sent 600 Hz.
fn inspected(token: u64, legs: Vec<LegId>) -> Event {
    let heard = |hz, level| Heard {
        level_dbov: Some(level),
        tones: vec![HeardTone {
            hz,
            dbm0: level + 6.0,
            ms: 512,
            ago_ms: 20,
        }],
    };
    let sound = |leg| LegSound {
        leg,
        way: Way::Relay,
        stats: figures(),
        received: heard(400.04, -22.0),
        sent: heard(600.0, -25.0),
    };
    let legs = legs.into_iter().map(sound).collect();
    Event::Inspected { token, legs }
}
