//! Recorders and ears: what legs send, and are sent, apart from who hears it.
//!
//! A tap is a decoder of its own beside whatever the room does with a leg's packets: a relay stays a relay, and a leg may
//! change rooms under it.

use super::Engine;
use super::input::{Input, Treatment};
use super::leg::{Feed, Leg};
use super::recorder::{MAX_RECORDINGS, Of, Recorder};
use super::room::Hears;
use crate::codec::best_rate;
use crate::ear::{Ear, Heard};
use crate::event::{Event, LegSound, Way};
use crate::file::FileOrder;
use crate::plan::{Format, LegId, Rate};
use crate::record::{Recorded, Recording, RecordingId, Side, StartRecord};
use crate::rtp::RtpHeader;
use clock::Mono;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// So long a leg is listened to before somebody who asks is told.
const LISTEN: Duration = Duration::from_millis(600);

/// So long ears stay open after somebody has asked: who asks again gets more than half a second.
const ATTENTION: Duration = Duration::from_secs(10);

/// Questions that may wait; beyond, they are answered with what is there.
const MAX_INSPECTIONS: usize = 64;

/// Highest rate of a recording: what speech has, at a third of what Opus could.
const MAX_RATE: Rate = Rate::Wide;

/// Silence too is recorded as it was.
const AS_IT_IS: Treatment = Treatment {
    gated: false,
    exact: false,
};

/// Everything that listens.
#[derive(Default)]
pub(super) struct Listeners {
    recorders: BTreeMap<RecordingId, Recorder>,
    pub orders: VecDeque<FileOrder>,
    /// Slots of legs with a tap.
    tapped: Vec<usize>,
    /// Ears are open on these legs until then.
    ears: BTreeMap<LegId, Mono>,
    inspections: Vec<Inspection>,
}

struct Inspection {
    token: u64,
    legs: Vec<LegId>,
    due: Mono,
}

/// A decoder for one direction of a leg.
pub(super) struct Tap {
    input: Input,
    rate: Rate,
    ear: Option<Ear>,
    wanted: bool,
}

impl Tap {
    fn new(rate: Rate) -> Box<Tap> {
        let input = Input::new(rate);
        let (ear, wanted) = (None, false);
        Box::new(Tap {
            input,
            rate,
            ear,
            wanted,
        })
    }

    pub fn push(&mut self, now: Mono, header: &RtpHeader, format: Format, payload: &[u8]) {
        if !payload.is_empty() {
            self.input.push(now, header, format, payload);
        }
    }

    fn advance(&mut self) {
        self.input.advance(AS_IT_IS);
        if let Some(ear) = &mut self.ear {
            ear.hear(self.input.frame());
        }
    }
}

impl Listeners {
    /// Ticks are needed.
    pub fn listen(&self) -> bool {
        !self.tapped.is_empty()
    }

    pub fn next_due(&self) -> Option<Mono> {
        self.inspections.iter().map(|inspection| inspection.due).min()
    }

    /// A block of a recording came back.
    pub fn on_written(&mut self, recording: RecordingId, block: Vec<i16>) {
        if let Some(recorder) = self.recorders.get_mut(&recording) {
            recorder.on_written(block);
        }
    }
}

impl Engine {
    /// Begins to record. What cannot be is said to have ended at once.
    pub(super) fn start_record(&mut self, start: StartRecord) -> Option<()> {
        let StartRecord { recording, name, of } = start;
        let recorders = &mut self.listeners.recorders;
        if recorders.contains_key(&recording) || recorders.len() >= MAX_RECORDINGS {
            return self.refuse_record(recording, "too many recordings, or one of this name");
        }
        let known = |leg: &LegId| self.leg_slots.contains_key(leg);
        let (of, channels) = match of {
            Recorded::Leg(leg) => (
                Of::Legs([(leg, Side::Left)].into_iter().filter(|(leg, _)| known(leg)).collect()),
                1,
            ),
            Recorded::Sides(legs) => (Of::Legs(legs.into_iter().filter(|(leg, _)| known(leg)).collect()), 2),
            Recorded::Room(room) if self.room_slots.contains_key(&room) => (Of::Room(room), 1),
            Recorded::Room(_) => return self.refuse_record(recording, "no such room"),
        };
        let rate = self.rate_of(&of);
        let recorder = Recorder::new(recording, of, channels, rate);
        if recorder.is_orphan() {
            return self.refuse_record(recording, "nobody is there");
        }
        self.listeners.orders.push_back(recorder.create(name));
        self.listeners.recorders.insert(recording, recorder);
        self.retap();
        Some(())
    }

    /// The rate that the best of them speaks at.
    fn rate_of(&self, of: &Of) -> Rate {
        let slots = |leg: &LegId| self.leg_slots.get(leg).copied();
        let best = match of {
            Of::Legs(legs) => legs
                .iter()
                .filter_map(|(leg, _)| slots(leg))
                .map(|slot| self.legs[slot].tap_rate())
                .max(),
            Of::Room(room) => {
                let room = self.room_slots.get(room).map(|&slot| &self.rooms[slot]);
                let members = room.into_iter().flat_map(|room| room.members.iter());
                members.map(|&(_, slot)| self.legs[slot].tap_rate()).max()
            }
        };
        best.unwrap_or_default()
    }

    fn refuse_record(&mut self, recording: RecordingId, why: &str) -> Option<()> {
        let result = Recording {
            error: Some(why.into()),
            ..Recording::default()
        };
        let result = Box::new(result);
        self.events.push_back(Event::Recorded { recording, result });
        None
    }

    pub(super) fn record_leg(&mut self, recording: RecordingId, leg: LegId, side: Option<Side>) -> Option<()> {
        let known = self.leg_slots.contains_key(&leg);
        let recorder = self.listeners.recorders.get_mut(&recording)?;
        let done = (known || side.is_none()) && recorder.set_side(leg, side);
        self.end_orphans();
        self.retap();
        done.then_some(())
    }

    pub(super) fn pause_record(&mut self, recording: RecordingId, paused: bool) -> Option<()> {
        let recorder = self.listeners.recorders.get_mut(&recording)?;
        recorder.paused = paused;
        recorder.flush(&mut self.listeners.orders);
        Some(())
    }

    pub(super) fn stop_record(&mut self, recording: RecordingId) -> Option<()> {
        let recorder = self.listeners.recorders.remove(&recording)?;
        recorder.finish(&mut self.listeners.orders);
        self.retap();
        Some(())
    }

    /// A leg has gone from this engine.
    pub(super) fn unrecord_leg(&mut self, leg: LegId) {
        self.listeners.ears.remove(&leg);
        for recorder in self.listeners.recorders.values_mut() {
            recorder.set_side(leg, None);
        }
        self.end_orphans();
        self.retap();
    }

    /// Recordings of a room, and of legs that have all left, end by themselves.
    pub(super) fn end_orphans(&mut self) {
        let rooms = &self.room_slots;
        let ends = |recorder: &Recorder| match recorder.of {
            Of::Room(room) => !rooms.contains_key(&room),
            Of::Legs(_) => recorder.is_orphan(),
        };
        let orphans: Vec<RecordingId> = self
            .listeners
            .recorders
            .values()
            .filter(|r| ends(r))
            .map(|r| r.id)
            .collect();
        for recording in orphans {
            self.stop_record(recording);
        }
    }

    /// Opens ears on legs; the answer follows when they have heard something.
    pub(super) fn inspect(&mut self, now: Mono, token: u64, mut legs: Vec<LegId>) -> Option<()> {
        legs.retain(|leg| self.leg_slots.contains_key(leg));
        let ears = &mut self.listeners.ears;
        let fresh = legs
            .iter()
            .filter(|leg| ears.insert(**leg, now + ATTENTION).is_none())
            .count()
            > 0;
        let waits = fresh && self.listeners.inspections.len() < MAX_INSPECTIONS;
        let due = if waits { now + LISTEN } else { now };
        self.retap();
        self.listeners.inspections.push(Inspection { token, legs, due });
        self.answer_inspections(now);
        Some(())
    }

    pub(super) fn answer_inspections(&mut self, now: Mono) {
        while let Some(at) = self
            .listeners
            .inspections
            .iter()
            .position(|inspection| inspection.due <= now)
        {
            let Inspection { token, legs, .. } = self.listeners.inspections.swap_remove(at);
            let legs = legs.into_iter().filter_map(|leg| self.leg_sound(leg)).collect();
            self.events.push_back(Event::Inspected { token, legs });
        }
    }

    fn leg_sound(&mut self, id: LegId) -> Option<LegSound> {
        let slot = *self.leg_slots.get(&id)?;
        let way = self.way(slot);
        let leg = &mut self.legs[slot];
        let tell = |tap: &mut Option<Box<Tap>>| {
            let ear = tap.as_mut().and_then(|tap| tap.ear.as_mut());
            ear.map_or_else(Heard::default, Ear::tell)
        };
        Some(LegSound {
            leg: id,
            way,
            stats: leg.stats(),
            received: tell(&mut leg.tap),
            sent: tell(&mut leg.sent_tap),
        })
    }

    /// How what a leg is sent is made now.
    fn way(&self, slot: usize) -> Way {
        let leg = &self.legs[slot];
        match (leg.feed, self.rooms[leg.room].hears(leg.id)) {
            (Feed::Nothing, _) => Way::Nothing,
            (Feed::Relay, _) => Way::Relay,
            (Feed::Mix, Hears::Only(_)) => Way::Transcode,
            (Feed::Mix, _) => Way::Mix,
        }
    }

    /// Closes the ears nobody asks any more.
    pub(super) fn close_ears(&mut self, now: Mono) {
        let before = self.listeners.ears.len();
        self.listeners.ears.retain(|_, until| *until > now);
        if self.listeners.ears.len() != before {
            self.retap();
        }
    }

    /// Gives each leg the taps that somebody wants, and takes away the others. To be called when a recorder or an ear comes
    /// or goes, or a leg changes its room.
    pub(super) fn retap(&mut self) {
        let Engine { listeners, legs, .. } = self;
        if listeners.recorders.is_empty() && listeners.ears.is_empty() && listeners.tapped.is_empty() {
            return;
        }
        let tapped = std::mem::take(&mut listeners.tapped);
        for &slot in &tapped {
            if let Some(leg) = legs.get_mut(slot) {
                leg.taps().for_each(|tap| tap.wanted = false);
            }
        }
        let mut wanted: Vec<usize> = Vec::with_capacity(tapped.len() + 1);
        for recorder in listeners.recorders.values() {
            match &recorder.of {
                Of::Legs(legs) => wanted.extend(legs.iter().filter_map(|(leg, _)| self.leg_slots.get(leg))),
                Of::Room(room) => {
                    let room = self.room_slots.get(room).map(|&slot| &self.rooms[slot]);
                    wanted.extend(
                        room.into_iter()
                            .flat_map(|room| room.members.iter().map(|&(_, slot)| slot)),
                    );
                }
            }
        }
        for &slot in &wanted {
            let rate = legs[slot].tap_rate();
            legs[slot].tap.get_or_insert_with(|| Tap::new(rate)).wanted = true;
        }
        for leg in listeners.ears.keys() {
            let Some(&slot) = self.leg_slots.get(leg) else { continue };
            let leg = &mut legs[slot];
            let rate = leg.tap_rate();
            for tap in [&mut leg.tap, &mut leg.sent_tap] {
                let tap = tap.get_or_insert_with(|| Tap::new(rate));
                tap.ear.get_or_insert_with(|| Ear::new(tap.rate));
                tap.wanted = true;
            }
            wanted.push(slot);
        }
        for &slot in &tapped {
            if let Some(leg) = legs.get_mut(slot) {
                leg.tap.take_if(|tap| !tap.wanted);
                leg.sent_tap.take_if(|tap| !tap.wanted);
                if !listeners.ears.contains_key(&leg.id) {
                    leg.taps().for_each(|tap| tap.ear = None);
                }
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        listeners.tapped = wanted;
        self.schedule_ticks();
    }

    /// The next 20 ms of all who are listened to; `steps` is more than one after ticks were left out.
    pub(super) fn listen(&mut self, steps: u32) {
        let Engine {
            listeners,
            legs,
            rooms,
            leg_slots,
            room_slots,
            ..
        } = self;
        for &slot in &listeners.tapped {
            legs[slot].taps().for_each(Tap::advance);
        }
        for recorder in listeners.recorders.values_mut().filter(|recorder| !recorder.paused) {
            let frame = |slot: usize| legs[slot].tap.as_deref().map(|tap| (tap.rate, tap.input.frame()));
            recorder.record(&mut listeners.orders, steps, |of, add| match of {
                Of::Legs(sides) => {
                    for &(leg, side) in sides {
                        let sound = leg_slots.get(&leg).and_then(|&slot| frame(slot));
                        sound.into_iter().for_each(|(rate, frame)| add(leg, side, rate, frame));
                    }
                }
                Of::Room(room) => {
                    let Some(&room) = room_slots.get(room) else { return };
                    let room = &rooms[room];
                    for &(leg, slot) in room.members.iter().filter(|(leg, _)| !room.is_muted(*leg)) {
                        let sound = frame(slot);
                        sound
                            .into_iter()
                            .for_each(|(rate, frame)| add(leg, Side::Left, rate, frame));
                    }
                }
            });
        }
    }
}

#[cfg(test)]
impl Engine {
    /// When the next tick is due.
    pub(crate) fn next_tick_for_tests(&self) -> Option<Mono> {
        self.next_tick
    }
}

#[cfg(test)]
impl Listeners {
    /// No recording of legs, no ear, no tap. A room is recorded on without members.
    pub fn is_deaf(&self) -> bool {
        let of_legs = |recorder: &Recorder| matches!(recorder.of, Of::Legs(_));
        let recorders = !self.recorders.values().any(of_legs);
        recorders && self.tapped.is_empty() && self.ears.is_empty()
    }
}

impl Leg {
    /// The rate its best codec has, as far as recordings go.
    fn tap_rate(&self) -> Rate {
        let rates = self.media.formats.iter().filter_map(|format| best_rate(format.codec));
        rates.max().unwrap_or_default().min(MAX_RATE)
    }

    fn taps(&mut self) -> impl Iterator<Item = &mut Tap> {
        [&mut self.tap, &mut self.sent_tap]
            .into_iter()
            .filter_map(|tap| tap.as_deref_mut())
    }
}
