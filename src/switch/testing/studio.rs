//! A media plane that keeps account instead of making sound.

use media::plan::{Audience, Edge};
use media::{Event, LegId, LegMedia, LegSound, LegStats, OpenLeg, Plan, RoomId, WorkerId};
use media::{Heard, HeardTone, Recorded, Recording, RecordingId, StartRecord};
use std::collections::BTreeMap;

/// What the media workers were told.
#[derive(Debug, Default)]
pub struct Studio {
    /// All orders but those for ports, in order.
    pub plans: Vec<Plan>,
    /// Rooms that are open.
    rooms: Vec<RoomId>,
    legs: BTreeMap<u64, OpenLeg>,
    /// Recordings being made, with the legs in them.
    tapes: Vec<(RecordingId, Vec<LegId>)>,
    ports_bound: u16,
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

    /// Carries out an order.
    pub fn obey(&mut self, worker: WorkerId, plan: Plan) -> Vec<Event> {
        if let Plan::BindPorts { count } = plan {
            return vec![self.bind(worker, count)];
        }
        if let Plan::HoldPort { .. } | Plan::ReleasePort { .. } = plan {
            return vec![];
        }
        self.plans.push(plan.clone());
        match plan {
            Plan::OpenRoom { room, .. } => {
                assert!(!self.rooms.contains(&room), "a room is opened twice");
                self.rooms.push(room);
            }
            Plan::CloseRoom { room } => self.rooms.retain(|&other| other != room),
            Plan::OpenLeg(leg) => {
                assert!(self.rooms.contains(&leg.room), "a leg without a room");
                assert!(self.on_port(leg.port).is_none(), "two legs on one port");
                self.legs.insert(leg.leg.0, *leg);
            }
            Plan::UpdateLeg {
                leg,
                media,
                media_timeout,
            } => self.update(leg, media, media_timeout),
            Plan::CloseLeg { leg } => return self.close(leg),
            Plan::StartRecord(start) => self.record(*start),
            Plan::RecordLeg { recording, leg, side } => self.record_leg(recording, leg, side.is_some()),
            Plan::StopRecord { recording } => return self.stop_record(recording),
            Plan::Inspect { token, legs } => return vec![inspected(token, legs)],
            Plan::SetEdges { edges, .. } => {
                let in_room = |edge: &Edge| self.legs.contains_key(&edge.to.0);
                assert!(edges.iter().all(in_room), "an edge to a leg that is not there");
            }
            Plan::Play {
                to: Audience::Leg(leg), ..
            } => {
                assert!(self.legs.contains_key(&leg.0), "a sound for a leg that is not there");
            }
            _ => {}
        }
        vec![]
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

    fn bind(&mut self, worker: WorkerId, count: u16) -> Event {
        let left = self.port_limit.unwrap_or(8_192) - self.ports_bound;
        let first = self.ports_bound;
        self.ports_bound += count.min(left);
        let ports = (first..self.ports_bound).map(|n| FIRST_PORT + 2 * n).collect();
        match left {
            0 => Event::PortsExhausted { worker },
            _ => Event::PortsBound { worker, ports },
        }
    }

    fn update(&mut self, leg: LegId, media: LegMedia, media_timeout: Option<std::time::Duration>) {
        let known = self.legs.get_mut(&leg.0).expect("an update for a leg that is open");
        known.media = media;
        known.media_timeout = media_timeout;
    }

    fn close(&mut self, leg: LegId) -> Vec<Event> {
        assert!(self.legs.remove(&leg.0).is_some(), "a leg is closed twice");
        if self.is_dead {
            return vec![];
        }
        let (received, sent, lost) = STATS;
        let stats = Box::new(LegStats {
            received,
            sent,
            lost,
            ..LegStats::default()
        });
        let mut events = vec![Event::LegClosed { leg, stats }];
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

/// Every leg sends 400 Hz and is sent nothing.
fn inspected(token: u64, legs: Vec<LegId>) -> Event {
    let tone = HeardTone {
        hz: 400.04,
        dbm0: -16.0,
        ms: 512,
        ago_ms: 0,
    };
    let sound = |leg| LegSound {
        leg,
        stats: LegStats {
            received: 30,
            ..LegStats::default()
        },
        received: Heard {
            level_dbov: Some(-22.0),
            tones: vec![tone],
        },
        sent: Heard::default(),
    };
    let legs = legs.into_iter().map(sound).collect();
    Event::Inspected { token, legs }
}
