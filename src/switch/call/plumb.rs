//! Who hears whom, carried out: from the parties and their flags follows in which room each leg is, which edges its room's
//! matrix has, and who hears music. Verbs change the model and call [`Calls::plumb`]; it tells the engine the difference.

use super::room::{Engine, leg_id, room_id};
use super::{Calls, LegKey, State};
use crate::Supervision;
use crate::arena::Key;
use crate::config::HoldMode;
use crate::core::Cx;
use crate::interaction::{Interaction, Party, Role};
use crate::subscribe::Watched;
use media::plan::{Audience, Edge, Gain, Matrix, Sound, Source};
use media::tone::{Progress, Tone};
use media::{Plan, PlayerId};
use model::{PartyId, Purpose};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};

/// What the engine was told of a room beyond its members.
#[derive(Debug, Default)]
pub(crate) struct Plumbed {
    /// Pairs that do not hear each other: from, to.
    mute: BTreeSet<(LegKey, LegKey)>,
    /// Who hears what beside the others.
    sounds: BTreeMap<LegKey, Heard>,
}

/// What a leg hears when nobody attends to it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Music, or silence by setting.
    Hold,
    /// The phone of whom he consults rings, or of whom he has handed the contact to.
    Ringback,
    /// That has come to nothing.
    Failure(Progress),
}

/// How long that is told: enough to know the tone, and then it is quiet for who thinks of what to do with the contact.
const FAILURE_MS: u32 = 5_000;

/// One leg in a room, with the party whose flags count there.
struct Seat<'p> {
    leg: LegKey,
    party: &'p Party,
}

impl Calls {
    /// Tells the engine how this interaction and its side calls are to be heard now.
    pub(super) fn plumb(&mut self, cx: &mut Cx<'_>, key: Key<Interaction>) {
        let mut rooms: SmallVec<[Key<Interaction>; 2]> = SmallVec::from_slice(&[key]);
        rooms.extend(self.parent_of(key));
        rooms.extend(self.sides_of(key));
        for &room in &rooms {
            self.move_legs(cx, room);
        }
        for &room in &rooms {
            self.plumb_room(cx, room);
            self.watch(cx, room);
        }
    }

    /// Brings each leg of a call into the room where it is to be.
    fn move_legs(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>) {
        for leg in self.legs_in(call) {
            let place = self.place_of(call, leg);
            self.move_leg(cx, leg, place);
        }
    }

    fn move_leg(&mut self, cx: &mut Cx<'_>, key: LegKey, place: Key<Interaction>) {
        let Some(leg) = self.legs.get_mut(key).filter(|leg| !leg.is_over()) else {
            return;
        };
        if leg.place == place {
            return;
        }
        let from = std::mem::replace(&mut leg.place, place);
        let open = leg.sound.as_ref().filter(|sound| matches!(sound.engine, Engine::Open));
        let worker = open.map(|sound| sound.port.worker);
        if let Some(worker) = worker {
            self.stop_sound(cx, from, key);
            self.go_from_service(cx, from, key);
            self.open_room(cx, place, Matrix::Everyone);
            cx.core.media(
                worker,
                Plan::MoveLeg {
                    leg: leg_id(key),
                    room: room_id(place),
                },
            );
            match self.legs.get(key).is_some_and(|leg| leg.place == leg.interaction) {
                true => self.record_newcomer(cx, key),
                false => self.record_absent(cx, key),
            }
            self.come_to_service(cx, place, key);
        }
        self.forget_seat(from, key);
    }

    /// Where a leg is to be: in the side call that its party hears by it, with the party it watches over, or at home. Who has
    /// barged in may consult, too.
    fn place_of(&self, home: Key<Interaction>, key: LegKey) -> Key<Interaction> {
        let Some(interaction) = self.interactions.get(home) else {
            return home;
        };
        let Some(party) = interaction.party_of(key).map(|at| &interaction.parties[at]) else {
            return home;
        };
        let own = self.foreground(home, key);
        let watched = || match party.role {
            Role::Supervisor { of, .. } => Some(self.place_of(home, self.answering(interaction.party(of)?)?)),
            Role::Member => None,
        };
        own.or_else(watched).unwrap_or(home)
    }

    /// The side call that a leg hears as a line, if its party is in one and not on hold there.
    fn foreground(&self, home: Key<Interaction>, key: LegKey) -> Option<Key<Interaction>> {
        let hears = |side: &Key<Interaction>| {
            let parties = self.interactions.get(*side).map(|side| &side.parties);
            parties.is_some_and(|parties| parties.iter().any(|party| party.line == Some(key) && !party.holds))
        };
        self.sides_of(home).into_iter().find(hears)
    }

    // One room.

    fn plumb_room(&mut self, cx: &mut Cx<'_>, room: Key<Interaction>) {
        let Some(interaction) = self.interactions.get(room) else {
            return;
        };
        let call = &interaction.call;
        if call.is_conference {
            cx.core.touch(Watched::Members(interaction.id));
        }
        let (true, Some(worker)) = (call.open, call.worker) else {
            return;
        };
        let seats = self.seats(room, interaction);
        let mute = mutes(interaction, &seats);
        let sounds: BTreeMap<LegKey, Heard> = seats
            .iter()
            .filter_map(|seat| Some((seat.leg, self.heard(room, interaction, seat)?)))
            .collect();
        let present: SmallVec<[LegKey; 4]> = seats.iter().map(|seat| seat.leg).collect();
        let Some(interaction) = self.interactions.get_mut(room) else {
            return;
        };
        let before = std::mem::take(&mut interaction.call.plumbed);
        let both = |(from, to): &&(LegKey, LegKey)| present.contains(from) && present.contains(to);
        let open: Vec<_> = before
            .mute
            .difference(&mute)
            .filter(both)
            .map(|&pair| edge(pair, None))
            .collect();
        let shut = mute.difference(&before.mute).map(|&pair| edge(pair, Some(Gain::MUTE)));
        let edges: Vec<Edge> = open.into_iter().chain(shut).collect();
        if !edges.is_empty() {
            cx.core.media(
                worker,
                Plan::SetEdges {
                    room: room_id(room),
                    edges,
                },
            );
        }
        for (&leg, _) in before
            .sounds
            .iter()
            .filter(|(leg, heard)| sounds.get(leg) != Some(heard))
        {
            cx.core.media(
                worker,
                Plan::StopPlay {
                    room: room_id(room),
                    player: player_of(leg),
                },
            );
        }
        for (&leg, &heard) in sounds
            .iter()
            .filter(|(leg, heard)| before.sounds.get(leg) != Some(heard))
        {
            if let Some(sound) = sound_of(cx, heard) {
                let (room, player, to) = (room_id(room), player_of(leg), Audience::Leg(leg_id(leg)));
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
        }
        if let Some(interaction) = self.interactions.get_mut(room) {
            interaction.call.plumbed = Plumbed { mute, sounds };
        }
    }

    /// The legs whose sound the engine has in this room: the call's own, lines of the parent, supervisors that followed.
    fn seats<'p>(&'p self, room: Key<Interaction>, interaction: &'p Interaction) -> Vec<Seat<'p>> {
        let here = |key: &LegKey| {
            let leg = self.legs.get(*key).filter(|leg| leg.place == room && !leg.is_over());
            let leg = leg.filter(|_| !self.conferences.have_taken(*key, room));
            leg.and_then(|leg| leg.sound.as_ref())
                .is_some_and(|sound| matches!(sound.engine, Engine::Open))
        };
        let own = |party: &'p Party| {
            let legs = party.legs.iter().chain(&party.line).copied();
            legs.filter(here).map(move |leg| Seat { leg, party })
        };
        let mut seats: Vec<_> = interaction.parties.iter().flat_map(own).collect();
        let parent = self.parent_of(room).and_then(|parent| self.interactions.get(parent));
        let watchers = parent.into_iter().flat_map(|parent| &parent.parties);
        for party in watchers.filter(|party| matches!(party.role, Role::Supervisor { .. })) {
            for leg in party.legs.iter().copied().filter(here) {
                // Unless it is there by a line of its own.
                if !seats.iter().any(|seat| seat.leg == leg) {
                    seats.push(Seat { leg, party });
                }
            }
        }
        seats
    }

    fn heard(&self, room: Key<Interaction>, interaction: &Interaction, seat: &Seat<'_>) -> Option<Heard> {
        match interaction.call.state {
            State::Ringing(_) if self.legs.get(seat.leg).is_some_and(super::Leg::is_up) => Some(Heard::Ringback),
            State::Bridged(_) if self.is_held(room, seat.party.id) => Some(Heard::Hold),
            State::Bridged(_) if self.awaits_transfer(room, seat.party) => Some(Heard::Ringback),
            State::Bridged(_) if seat.party.holds => seat.party.tone.map(Heard::Failure),
            _ => None,
        }
    }

    /// Whether a party has handed the contact on and waits for whom it is to have: it has not turned back to the contact.
    pub(super) fn awaits_transfer(&self, call: Key<Interaction>, party: &Party) -> bool {
        let is_its = |side: Key<Interaction>| {
            let is_ringing = matches!(self.state(side), Some(State::Ringing(_)));
            let served = self.interactions.get(side).and_then(|side| side.side.as_ref());
            is_ringing && served.is_some_and(|side| side.purpose == Purpose::Transfer && side.by == party.id)
        };
        party.holds && self.sides_of(call).into_iter().any(is_its)
    }

    /// Whether nobody attends to a party: all the others have put the call on hold or are elsewhere.
    pub(super) fn is_held(&self, call: Key<Interaction>, id: PartyId) -> bool {
        let Some(interaction) = self.interactions.get(call) else {
            return false;
        };
        if !matches!(interaction.call.state, State::Bridged(_)) {
            return false;
        }
        let Some(party) = interaction.party(id).filter(|party| party.converses() && !party.holds) else {
            return false;
        };
        let attends =
            |other: &Party| other.id != party.id && other.converses() && !other.holds && !self.is_away(call, other);
        !interaction.parties.iter().any(attends)
    }

    /// Whether a party of this call is heard in another room for now, or has no device up.
    pub(super) fn is_away(&self, call: Key<Interaction>, party: &Party) -> bool {
        let here = |key: &LegKey| self.legs.get(*key).is_some_and(|leg| leg.is_up() && leg.place == call);
        !party.legs.iter().chain(&party.line).any(here)
    }

    // The bricks.

    /// The side calls of an interaction, oldest first.
    pub(super) fn sides_of(&self, key: Key<Interaction>) -> SmallVec<[Key<Interaction>; 2]> {
        self.interactions
            .get(key)
            .map(|interaction| interaction.call.sides.clone())
            .unwrap_or_default()
    }

    /// What a side call serves.
    pub(super) fn parent_of(&self, key: Key<Interaction>) -> Option<Key<Interaction>> {
        Some(self.interactions.get(key)?.side.as_ref()?.parent)
    }

    /// A leg leaves a room or ends: what was said about it there is forgotten, as in the engine.
    pub(super) fn forget_seat(&mut self, room: Key<Interaction>, key: LegKey) {
        let Some(interaction) = self.interactions.get_mut(room) else {
            return;
        };
        let plumbed = &mut interaction.call.plumbed;
        plumbed.mute.retain(|&(from, to)| from != key && to != key);
        plumbed.sounds.remove(&key);
    }

    /// A player has come to its end: if it told a party that its consultation has come to nothing, that has been heard.
    pub(super) fn on_told(&mut self, cx: &mut Cx<'_>, call: Key<Interaction>, player: PlayerId) {
        let parties = self.interactions.get_mut(call).map(|call| &mut call.parties);
        let told = |party: &&mut Party| party.tone.is_some() && party.legs.iter().any(|leg| player_of(*leg) == player);
        if let Some(party) = parties.into_iter().flatten().find(told) {
            party.tone = None;
            self.plumb(cx, call);
        }
    }

    /// The sound that a leg hears in its room ends.
    pub(super) fn stop_sound(&mut self, cx: &mut Cx<'_>, room: Key<Interaction>, key: LegKey) {
        let Some(interaction) = self.interactions.get_mut(room) else {
            return;
        };
        let (was, worker) = (interaction.call.plumbed.sounds.remove(&key), interaction.call.worker);
        if let (Some(_), Some(worker)) = (was, worker) {
            cx.core.media(
                worker,
                Plan::StopPlay {
                    room: room_id(room),
                    player: player_of(key),
                },
            );
        }
    }
}

/// The pairs of seats that do not hear each other. Who has nothing special to it costs nothing.
fn mutes(interaction: &Interaction, seats: &[Seat<'_>]) -> BTreeSet<(LegKey, LegKey)> {
    let mut mute = BTreeSet::new();
    let named = |id: PartyId| interaction.unheard.iter().any(|&(from, to)| from == id || to == id);
    for seat in seats
        .iter()
        .filter(|seat| is_special(seat.party) || named(seat.party.id))
    {
        for other in seats.iter().filter(|other| other.leg != seat.leg) {
            for (from, to) in [(seat, other), (other, seat)] {
                if !hears(interaction, from.party, to.party) {
                    mute.insert((from.leg, to.leg));
                }
            }
        }
    }
    mute
}

fn is_special(party: &Party) -> bool {
    party.holds || party.muted || party.deaf || party.role != Role::Member
}

fn hears(interaction: &Interaction, from: &Party, to: &Party) -> bool {
    if from.holds || to.holds || from.muted || to.deaf || interaction.unheard.contains(&(from.id, to.id)) {
        return false;
    }
    match from.role {
        Role::Member => true,
        Role::Supervisor { of, mode } => match mode {
            Supervision::Listen => false,
            Supervision::Whisper => to.id == of,
            Supervision::Barge => true,
        },
    }
}

fn edge((from, to): (LegKey, LegKey), gain: Option<Gain>) -> Edge {
    Edge {
        from: Source::Leg(leg_id(from)),
        to: leg_id(to),
        gain,
    }
}

/// Each leg has its own player, so that two who are held begin and end for themselves.
fn player_of(key: LegKey) -> PlayerId {
    PlayerId(key.pack())
}

/// What that sounds like; nothing, by setting.
fn sound_of(cx: &Cx<'_>, heard: Heard) -> Option<Sound> {
    let tone = |progress| Tone::progress(cx.core.config.media.tones, progress);
    match (heard, cx.core.config.calls.hold) {
        (Heard::Hold, HoldMode::Silence) => None,
        (Heard::Hold, HoldMode::Music | HoldMode::Pass) => Some(Sound::hold_music()),
        (Heard::Ringback, _) => Some(Sound::Tone(tone(Progress::Ringback))),
        (Heard::Failure(progress), _) => Some(Sound::Tone(for_a_while(tone(progress)))),
    }
}

/// As often as fits into [`FAILURE_MS`].
fn for_a_while(tone: Tone) -> Tone {
    let once: u32 = tone.cadence_ms.iter().map(|&ms| u32::from(ms)).sum();
    let times = FAILURE_MS.checked_div(once).unwrap_or(0).max(1);
    Tone {
        repeat: u16::try_from(times).ok(),
        ..tone
    }
}
